//! What can be called: a row for each method of each route. Data only.
//!
//! A `get` can be asked as `HEAD` too. Statuses that any call may have stand in [`EVERYWHERE`].

/// One method of one route.
pub(super) struct Operation {
    /// In lower case.
    pub(super) method: &'static str,
    /// With `{names}` of its parameters.
    pub(super) path: &'static str,
    /// A name for programs.
    pub(super) id: &'static str,
    /// The heading under which it stands.
    pub(super) group: &'static str,
    /// One sentence for a person.
    pub(super) says: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Body,
    pub(super) answer: Answer,
    /// Statuses beside 200 and those of [`EVERYWHERE`].
    pub(super) refused: &'static [u16],
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

/// One parameter.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) needed: bool,
    /// The schema of it, by name.
    pub(super) schema: &'static str,
    pub(super) says: &'static str,
}

/// What is sent.
pub(super) enum Body {
    None,
    /// JSON of this schema.
    Json(&'static str),
    /// JSON of this schema, or the compact form of the same.
    Either(&'static str),
    /// The compact form only.
    Compact,
}

/// What comes back with 200.
pub(super) enum Answer {
    /// JSON of this schema.
    Json(&'static str),
    /// JSON of this schema, or the compact form of the same.
    Either(&'static str),
    /// A page of items of this schema.
    PageOf(&'static str),
    /// The compact form only.
    Compact,
    /// Items of this schema, line by line or as server-sent events.
    Stream(&'static str),
    /// Text of this kind.
    Text(&'static str),
}

/// Statuses that every call may have.
pub(super) const EVERYWHERE: &[u16] = &[400, 401, 403, 405, 421, 500, 503];

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
    path: &'static str,
    id: &'static str,
    group: &'static str,
    says: &'static str,
    parameters: &'static [Parameter],
    answer: Answer,
    refused: &'static [u16],
) -> Operation {
    Operation { method: "get", path, id, group, says, parameters, body: Body::None, answer, refused }
}

const fn act(
    method: &'static str,
    path: &'static str,
    id: &'static str,
    says: &'static str,
    parameters: &'static [Parameter],
    body: Body,
) -> Operation {
    let answer = Answer::Json("ActReply");
    Operation { method, path, id, group: ACTS, says, parameters, body, answer, refused: OF_AN_ACT }
}

/// All of them. Groups are shown in the order in which they first come.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "post",
        path: "/api/v1/track",
        id: "track",
        group: TRACKING,
        says: "Stores a request, or each of an array; durable and visible when it is answered.",
        parameters: &[ORIGIN],
        body: Body::Either("TrackBody"),
        answer: Answer::Either("TrackAnswer"),
        refused: &[403, 408, 413, 415, 422],
    },
    Operation {
        method: "post",
        path: "/api/v1/stream",
        id: "stream",
        group: TRACKING,
        says: "Stores requests without end, each answered in its order.",
        parameters: &[ORIGIN],
        body: Body::Compact,
        answer: Answer::Compact,
        refused: &[403, 415],
    },
    read(
        "/api/v1/profiles",
        "profile_of_identifier",
        PROFILES,
        "The profile that has an identifier.",
        &[needed("identifier", "Identifier", "`namespace:value`"), AT, UNTIL],
        Answer::Json("Profile"),
        OF_A_PAST,
    ),
    read(
        "/api/v1/profiles/{id}",
        "profile",
        PROFILES,
        "A profile, by any of its ids.",
        &[PROFILE, AT, UNTIL],
        Answer::Json("Profile"),
        OF_A_PAST,
    ),
    read(
        "/api/v1/profiles/{id}/events",
        "profile_events",
        PROFILES,
        "Its events, newest first.",
        &[PROFILE, LIMIT, CURSOR, TYPE, FROM, TO],
        Answer::PageOf("Event"),
        OF_AN_ID,
    ),
    read(
        "/api/v1/profiles/{id}/sessions",
        "profile_sessions",
        PROFILES,
        "Its sessions, newest first.",
        &[PROFILE, LIMIT, CURSOR, FROM, TO],
        Answer::PageOf("Session"),
        OF_AN_ID,
    ),
    read(
        "/api/v1/profiles/{id}/links",
        "profile_links",
        PROFILES,
        "Which identifiers it has, and which events said so.",
        &[PROFILE, LIMIT, CURSOR],
        Answer::PageOf("Link"),
        OF_AN_ID,
    ),
    read(
        "/api/v1/profiles/{id}/history",
        "profile_history",
        PROFILES,
        "What happened to who it is, newest first.",
        &[PROFILE, LIMIT, CURSOR],
        Answer::PageOf("HistoryEntry"),
        OF_AN_ID,
    ),
    read(
        "/api/v1/sessions/{id}",
        "session",
        PROFILES,
        "A session and its numbers.",
        &[SESSION],
        Answer::Json("Session"),
        OF_AN_ID,
    ),
    read(
        "/api/v1/sessions/{id}/events",
        "session_events",
        PROFILES,
        "Its events, newest first.",
        &[SESSION, LIMIT, CURSOR, TYPE, FROM, TO],
        Answer::PageOf("Event"),
        OF_AN_ID,
    ),
    read(
        "/api/v1/explain",
        "explain",
        ACTS,
        "How two ids are joined, and what would part them.",
        &[needed("from", "Id", "An id of a profile"), needed("to", "Id", "Another")],
        Answer::Json("Explanation"),
        OF_AN_ID,
    ),
    act("post", "/api/v1/merges", "merge", "Makes one profile of two.", &[DRY_RUN], Body::Json("MergeBody")),
    act(
        "delete",
        "/api/v1/merges/{id}",
        "undo",
        "Takes a merge back.",
        &[
            of_path("id", "The merge's id"),
            query("keep_apart", "Flag", "`true`: for good, whatever link there is"),
            DRY_RUN,
        ],
        Body::None,
    ),
    act(
        "post",
        "/api/v1/profiles/{id}/identifiers",
        "attach",
        "Gives a profile an identifier, also one that was taken from it.",
        &[PROFILE, DRY_RUN],
        Body::Json("IdentifierBody"),
    ),
    act(
        "delete",
        "/api/v1/profiles/{id}/identifiers/{identifier}",
        "detach",
        "Takes an identifier from a profile.",
        &[PROFILE, IDENTIFIER, DRY_RUN],
        Body::None,
    ),
    read(
        "/api/v1/quarantine",
        "quarantine",
        ACTS,
        "The links that wait for a decision, newest first.",
        &[LIMIT, CURSOR],
        Answer::PageOf("QuarantinedLink"),
        &[],
    ),
    act(
        "post",
        "/api/v1/quarantine/{id}",
        "decide",
        "Decides a link that waits.",
        &[of_path("id", "The entry's id"), DRY_RUN],
        Body::Json("DecisionBody"),
    ),
    read(
        "/api/v1/blocked",
        "blocked",
        ACTS,
        "The values that were blocked by hand and are so still, the latest first.",
        &[LIMIT, CURSOR],
        Answer::PageOf("BlockedValue"),
        &[],
    ),
    act(
        "post",
        "/api/v1/blocked",
        "block",
        "Suspends all links of a value: it identifies nobody from now on.",
        &[DRY_RUN],
        Body::Json("IdentifierBody"),
    ),
    act(
        "delete",
        "/api/v1/blocked/{identifier}",
        "unblock",
        "Restores the links of a blocked value.",
        &[IDENTIFIER, DRY_RUN],
        Body::None,
    ),
    read(
        "/api/v1/changes",
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
    read(
        "/api/v1/events",
        "events",
        LOG,
        "All events in the order of the log.",
        &[AFTER, LIMIT],
        Answer::PageOf("Event"),
        &[],
    ),
    read(
        "/api/v1/requests",
        "requests",
        LOG,
        "All requests in the order of the log, each whole.",
        &[AFTER, LIMIT],
        Answer::PageOf("LoggedRequest"),
        &[],
    ),
    read("/api/v1/keys", "keys", OPERATORS, "Who may call.", &[], Answer::PageOf("Key"), &[]),
    Operation {
        method: "post",
        path: "/api/v1/keys",
        id: "add_key",
        group: OPERATORS,
        says: "Makes a key, and tells its text this once. With the first one every call needs a key.",
        parameters: &[],
        body: Body::Json("NewKey"),
        answer: Answer::Json("Key"),
        refused: &[408, 409, 413, 415, 422],
    },
    Operation {
        method: "delete",
        path: "/api/v1/keys/{id}",
        id: "revoke_key",
        group: OPERATORS,
        says: "Revokes a key, from now on.",
        parameters: &[of_path("id", "The key's id")],
        body: Body::None,
        answer: Answer::Json("Key"),
        refused: &[404, 422],
    },
    read("/api/v1/status", "status", OPERATORS, "The store in numbers.", &[], Answer::Json("Status"), &[]),
    read(
        "/api/v1/check",
        "check",
        OPERATORS,
        "Verifies the whole store, and reads all of it.",
        &[],
        Answer::Json("CheckReport"),
        &[],
    ),
    read("/healthz", "health", OPERATORS, "The process lives.", &[], Answer::Json("State"), &[]),
    read("/readyz", "ready", OPERATORS, "Requests are taken.", &[], Answer::Json("State"), &[]),
    read(
        "/metrics",
        "metrics",
        OPERATORS,
        "What Prometheus reads.",
        &[],
        Answer::Text("application/openmetrics-text"),
        &[],
    ),
    read("/openapi.json", "openapi", OPERATORS, "This document.", &[], Answer::Json("Anything"), &[]),
    read(
        "/spoor.js",
        "tracker",
        TRACKING,
        "The tracker for pages.",
        &[],
        Answer::Text("text/javascript"),
        &[],
    ),
    read("/docs", "docs", OPERATORS, "This document as a page.", &[], Answer::Text("text/html"), &[]),
];
