//! The one table of our own routes: how each is found, what call it is, and how it is described. Whatever is missing of a
//! new one does not compile; docs/access.md and the description for programs are made from here.
//!
//! A `GET` can be asked as `HEAD` too. Statuses that any call may have stand in [`EVERYWHERE`](super::operation).

use super::operation::{Answer, Body, Operation, Parameter, Place};
use super::route::{Maker, Route};
use super::{ActCall, Call, KeyRoute, Read};
use crate::http::changes::Following;
use crate::http::errors::Problem;
use crate::http::parameters::Parameters;
use crate::protocol::act::Unread;
use spoor::Act;
use spoor::limits::PAGE_MAX_ITEMS;

const fn route(method: &'static str, path: &'static str, call: Maker, about: Operation) -> Route {
    Route { method, path, call, about }
}

/// An act of which path and query say all.
fn whole(act: Act, of: &mut Parameters) -> Result<Call, Problem> {
    Ok(Call::Act { act: ActCall::Whole(act), dry_run: of.flag("dry_run")? })
}

/// An act of which the body says the rest.
fn in_body(unread: Unread, of: &mut Parameters) -> Result<Call, Problem> {
    Ok(Call::Act { act: ActCall::InBody(unread), dry_run: of.flag("dry_run")? })
}

/// A piece of the log.
fn slice(of: &mut Parameters) -> Result<(u64, usize), Problem> {
    Ok((of.after()?, of.limit()?.unwrap_or(PAGE_MAX_ITEMS)))
}

const fn of_path(name: &'static str, says: &'static str) -> Parameter {
    Parameter { name, place: Place::Path, needed: true, schema: "Id", says }
}

const fn query(name: &'static str, schema: &'static str, says: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, needed: false, schema, says }
}

const fn needed(name: &'static str, schema: &'static str, says: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, needed: true, schema, says }
}

const PROFILE: Parameter = of_path("id", "Any id of the profile, or `space:id`");
const SESSION: Parameter = of_path("id", "The session's id, or `space:id`");
const IDENTIFIER: Parameter = of_path("identifier", "`namespace:value`");
const AT: Parameter = query("at", "Time", "As it was known at this time of receipt");
const UNTIL: Parameter = query("until", "Time", "Only what happened up to this event time");
const LIMIT: Parameter = query("limit", "Limit", "At most so many items");
const CURSOR: Parameter = query("cursor", "Cursor", "From the answer before");
const TYPE: Parameter = query("type", "Name", "Only events of this type");
const FROM: Parameter = query("from", "Time", "Only what happened at or after this time");
const TO: Parameter = query("to", "Time", "Only what happened before this time");
const AFTER: Parameter = query("after", "Position", "Only what comes after this position of the log");
const ORIGIN: Parameter = query("origin", "Origin", "`import`: this is history, and no clock is corrected");
const DRY_RUN: Parameter = query("dry_run", "Flag", "`true`: only say what it would do");

const TRACKING: &str = "Tracking";
const PROFILES: &str = "Profiles and sessions";
const ACTS: &str = "Who is who";
const LOG: &str = "The log";
const OPERATORS: &str = "For operators";

const OF_AN_ID: &[u16] = &[404, 409];
const OF_A_PAST: &[u16] = &[404, 409, 422];
const OF_AN_ACT: &[u16] = &[403, 404, 408, 409, 413, 415, 422];

const fn read(
    id: &'static str,
    group: &'static str,
    says: &'static str,
    parameters: &'static [Parameter],
    answer: Answer,
    refused: &'static [u16],
) -> Operation {
    Operation { id, group, says, parameters, body: Body::None, answer, refused }
}

const fn act(
    id: &'static str,
    says: &'static str,
    parameters: &'static [Parameter],
    body: Body,
) -> Operation {
    let answer = Answer::Json("ActReply");
    Operation { id, group: ACTS, says, parameters, body, answer, refused: OF_AN_ACT }
}

/// All of them; the one that is called most stands first. Groups are shown in the order in which they first come.
pub(crate) const ROUTES: &[Route] = &[
    route(
        "POST",
        "/api/v1/track",
        |_, of| Ok(Call::Track(of.origin()?)),
        Operation {
            id: "track",
            group: TRACKING,
            says: "Stores a request, or each of an array; durable and visible when it is answered.",
            parameters: &[ORIGIN],
            body: Body::Either("TrackBody"),
            answer: Answer::Either("TrackAnswer"),
            refused: &[403, 408, 413, 415, 422],
        },
    ),
    route(
        "POST",
        "/api/v1/stream",
        |_, of| Ok(Call::Stream(of.origin()?)),
        Operation {
            id: "stream",
            group: TRACKING,
            says: "Stores requests without end, each answered in its order.",
            parameters: &[ORIGIN],
            body: Body::Compact,
            answer: Answer::Compact,
            refused: &[403, 415],
        },
    ),
    route(
        "GET",
        "/api/v1/profiles",
        |_, of| Ok(Call::Read(Read::ProfileOf(of.needed("identifier")?, of.as_of()?))),
        read(
            "profile_of_identifier",
            PROFILES,
            "The profile that has an identifier.",
            &[needed("identifier", "Identifier", "`namespace:value`"), AT, UNTIL],
            Answer::Json("Profile"),
            OF_A_PAST,
        ),
    ),
    route(
        "GET",
        "/api/v1/profiles/{id}",
        |ids, of| Ok(Call::Read(Read::Profile(ids.take(), of.as_of()?))),
        read(
            "profile",
            PROFILES,
            "A profile, by any of its ids.",
            &[PROFILE, AT, UNTIL],
            Answer::Json("Profile"),
            OF_A_PAST,
        ),
    ),
    route(
        "GET",
        "/api/v1/profiles/{id}/events",
        |ids, of| Ok(Call::Read(Read::ProfileEvents(ids.take(), of.events_page()?))),
        read(
            "profile_events",
            PROFILES,
            "Its events, newest first.",
            &[PROFILE, LIMIT, CURSOR, TYPE, FROM, TO],
            Answer::PageOf("Event"),
            OF_AN_ID,
        ),
    ),
    route(
        "GET",
        "/api/v1/profiles/{id}/sessions",
        |ids, of| Ok(Call::Read(Read::ProfileSessions(ids.take(), of.page()?))),
        read(
            "profile_sessions",
            PROFILES,
            "Its sessions, newest first.",
            &[PROFILE, LIMIT, CURSOR, FROM, TO],
            Answer::PageOf("Session"),
            OF_AN_ID,
        ),
    ),
    route(
        "GET",
        "/api/v1/profiles/{id}/links",
        |ids, of| Ok(Call::Read(Read::ProfileLinks(ids.take(), of.plain_page()?))),
        read(
            "profile_links",
            PROFILES,
            "Which identifiers it has, and which events said so.",
            &[PROFILE, LIMIT, CURSOR],
            Answer::PageOf("Link"),
            OF_AN_ID,
        ),
    ),
    route(
        "GET",
        "/api/v1/profiles/{id}/history",
        |ids, of| Ok(Call::Read(Read::ProfileHistory(ids.take(), of.plain_page()?))),
        read(
            "profile_history",
            PROFILES,
            "What happened to who it is, newest first.",
            &[PROFILE, LIMIT, CURSOR],
            Answer::PageOf("HistoryEntry"),
            OF_AN_ID,
        ),
    ),
    route(
        "GET",
        "/api/v1/sessions/{id}",
        |ids, _| Ok(Call::Read(Read::Session(ids.take()))),
        read(
            "session",
            PROFILES,
            "A session and its numbers.",
            &[SESSION],
            Answer::Json("Session"),
            OF_AN_ID,
        ),
    ),
    route(
        "GET",
        "/api/v1/sessions/{id}/events",
        |ids, of| Ok(Call::Read(Read::SessionEvents(ids.take(), of.events_page()?))),
        read(
            "session_events",
            PROFILES,
            "Its events, newest first.",
            &[SESSION, LIMIT, CURSOR, TYPE, FROM, TO],
            Answer::PageOf("Event"),
            OF_AN_ID,
        ),
    ),
    route(
        "GET",
        "/api/v1/explain",
        |_, of| Ok(Call::Read(Read::Explain { from: of.needed("from")?, to: of.needed("to")? })),
        read(
            "explain",
            ACTS,
            "How two ids are joined, and what would part them.",
            &[needed("from", "Id", "An id of a profile"), needed("to", "Id", "Another")],
            Answer::Json("Explanation"),
            OF_AN_ID,
        ),
    ),
    route(
        "POST",
        "/api/v1/merges",
        |_, of| in_body(Unread::Merge, of),
        act("merge", "Makes one profile of two.", &[DRY_RUN], Body::Json("MergeBody")),
    ),
    route(
        "DELETE",
        "/api/v1/merges/{id}",
        |ids, of| {
            let keep_apart = of.flag("keep_apart")?;
            whole(Act::Undo { merge: ids.take(), keep_apart }, of)
        },
        act(
            "undo",
            "Takes a merge back.",
            &[
                of_path("id", "The merge's id"),
                query("keep_apart", "Flag", "`true`: for good, whatever link there is"),
                DRY_RUN,
            ],
            Body::None,
        ),
    ),
    route(
        "POST",
        "/api/v1/profiles/{id}/identifiers",
        |ids, of| in_body(Unread::Attach { profile: ids.take() }, of),
        act(
            "attach",
            "Gives a profile an identifier, also one that was taken from it.",
            &[PROFILE, DRY_RUN],
            Body::Json("IdentifierBody"),
        ),
    ),
    route(
        "DELETE",
        "/api/v1/profiles/{id}/identifiers/{identifier}",
        |ids, of| whole(Act::Detach { profile: ids.take(), identifier: ids.take() }, of),
        act("detach", "Takes an identifier from a profile.", &[PROFILE, IDENTIFIER, DRY_RUN], Body::None),
    ),
    route(
        "GET",
        "/api/v1/quarantine",
        |_, of| Ok(Call::Read(Read::Quarantine(of.plain_page()?))),
        read(
            "quarantine",
            ACTS,
            "The links that wait for a decision, newest first.",
            &[LIMIT, CURSOR],
            Answer::PageOf("QuarantinedLink"),
            &[],
        ),
    ),
    route(
        "POST",
        "/api/v1/quarantine/{id}",
        |ids, of| in_body(Unread::Decide { quarantine: ids.take() }, of),
        act(
            "decide",
            "Decides a link that waits.",
            &[of_path("id", "The entry's id"), DRY_RUN],
            Body::Json("DecisionBody"),
        ),
    ),
    route(
        "GET",
        "/api/v1/blocked",
        |_, of| Ok(Call::Read(Read::Blocked(of.plain_page()?))),
        read(
            "blocked",
            ACTS,
            "The values that were blocked by hand and are so still, the latest first.",
            &[LIMIT, CURSOR],
            Answer::PageOf("BlockedValue"),
            &[],
        ),
    ),
    route(
        "POST",
        "/api/v1/blocked",
        |_, of| in_body(Unread::Block, of),
        act(
            "block",
            "Suspends all links of a value: it identifies nobody from now on.",
            &[DRY_RUN],
            Body::Json("IdentifierBody"),
        ),
    ),
    route(
        "DELETE",
        "/api/v1/blocked/{identifier}",
        |ids, of| whole(Act::Unblock { identifier: ids.take() }, of),
        act("unblock", "Restores the links of a blocked value.", &[IDENTIFIER, DRY_RUN], Body::None),
    ),
    route(
        "GET",
        "/api/v1/changes",
        |_, of| {
            Ok(Call::Changes(Following {
                after: of.after()?,
                limit: of.limit()?,
                until_now: of.flag("until_now")?,
            }))
        },
        read(
            "changes",
            LOG,
            "All that happened, in order and without gaps, and what happens next.",
            &[
                AFTER,
                LIMIT,
                query("until_now", "Flag", "`true`: only what has happened by now"),
                Parameter {
                    name: "Last-Event-ID",
                    place: Place::Header,
                    needed: false,
                    schema: "Position",
                    says: "Goes before `after`: what a browser sends when it connects again",
                },
            ],
            Answer::Stream("Change"),
            &[409],
        ),
    ),
    route(
        "GET",
        "/api/v1/events",
        |_, of| {
            let (after, limit) = slice(of)?;
            Ok(Call::Read(Read::Events { after, limit }))
        },
        read(
            "events",
            LOG,
            "All events in the order of the log.",
            &[AFTER, LIMIT],
            Answer::PageOf("Event"),
            &[],
        ),
    ),
    route(
        "GET",
        "/api/v1/requests",
        |_, of| {
            let (after, limit) = slice(of)?;
            Ok(Call::Read(Read::Requests { after, limit }))
        },
        read(
            "requests",
            LOG,
            "All requests in the order of the log, each whole.",
            &[AFTER, LIMIT],
            Answer::PageOf("LoggedRequest"),
            &[],
        ),
    ),
    route(
        "GET",
        "/api/v1/keys",
        |_, _| Ok(Call::Keys(KeyRoute::List)),
        read("keys", OPERATORS, "Who may call.", &[], Answer::PageOf("Key"), &[]),
    ),
    route(
        "POST",
        "/api/v1/keys",
        |_, _| Ok(Call::Keys(KeyRoute::Add)),
        Operation {
            id: "add_key",
            group: OPERATORS,
            says: "Makes a key, and tells its text this once. With the first one every call needs a key.",
            parameters: &[],
            body: Body::Json("NewKey"),
            answer: Answer::Json("Key"),
            refused: &[408, 409, 413, 415, 422],
        },
    ),
    route(
        "DELETE",
        "/api/v1/keys/{id}",
        |ids, _| Ok(Call::Keys(KeyRoute::Revoke(ids.take()))),
        Operation {
            id: "revoke_key",
            group: OPERATORS,
            says: "Revokes a key, from now on.",
            parameters: &[of_path("id", "The key's id")],
            body: Body::None,
            answer: Answer::Json("Key"),
            refused: &[404, 422],
        },
    ),
    route(
        "GET",
        "/api/v1/status",
        |_, _| Ok(Call::Status),
        read("status", OPERATORS, "The store in numbers.", &[], Answer::Json("Status"), &[]),
    ),
    route(
        "GET",
        "/api/v1/check",
        |_, _| Ok(Call::Read(Read::Check)),
        read(
            "check",
            OPERATORS,
            "Verifies the whole store, and reads all of it.",
            &[],
            Answer::Json("CheckReport"),
            &[],
        ),
    ),
    route(
        "GET",
        "/healthz",
        |_, _| Ok(Call::Health),
        read("health", OPERATORS, "The process lives.", &[], Answer::Json("State"), &[]),
    ),
    route(
        "GET",
        "/readyz",
        |_, _| Ok(Call::Ready),
        read("ready", OPERATORS, "Requests are taken.", &[], Answer::Json("State"), &[]),
    ),
    route(
        "GET",
        "/metrics",
        |_, _| Ok(Call::Metrics),
        read(
            "metrics",
            OPERATORS,
            "What Prometheus reads.",
            &[],
            Answer::Text("application/openmetrics-text"),
            &[],
        ),
    ),
    route(
        "GET",
        "/openapi.json",
        |_, _| Ok(Call::OpenApi),
        read("openapi", OPERATORS, "This document.", &[], Answer::Json("Anything"), &[]),
    ),
    route(
        "GET",
        "/spoor.js",
        |_, _| Ok(Call::Tracker),
        read("tracker", TRACKING, "The tracker for pages.", &[], Answer::Text("text/javascript"), &[]),
    ),
    route(
        "GET",
        "/docs",
        |_, _| Ok(Call::Docs),
        read("docs", OPERATORS, "This document as a page.", &[], Answer::Text("text/html"), &[]),
    ),
];

#[cfg(test)]
mod tests {
    use super::super::route::{Ids, is_id};
    use super::*;

    #[test]
    fn each_call_takes_the_ids_of_its_path_and_no_path_is_two() {
        for Route { method, path, call, about } in ROUTES {
            let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
            let query: Vec<_> =
                about.parameters.iter().filter(|of| of.place == Place::Query && of.needed).collect();
            let query: Vec<_> = query.iter().map(|of| format!("{}=a", of.name)).collect();
            let mut parameters = Parameters::parse(&query.join("&")).unwrap();
            let mut ids = Ids::of(path, &segments);
            call(&mut ids, &mut parameters).unwrap();
            assert_eq!(ids.take(), "", "{method} {path}: an id is left");
            let named = segments.iter().filter(|name| is_id(name)).count();
            let described = about.parameters.iter().filter(|of| of.place == Place::Path).count();
            assert_eq!(described, named, "{method} {path}");
            let there: Vec<_> = ROUTES.iter().filter(|route| route.is_at(&segments)).collect();
            assert!(there.iter().all(|route| route.path == *path), "{path}");
            assert_eq!(there.iter().filter(|route| route.method == *method).count(), 1, "{method} {path}");
        }
    }
}
