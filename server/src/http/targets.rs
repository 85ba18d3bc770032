//! Method, path and body by which a client makes a call: what `routes.rs` reads, written. Only the calls that
//! commands make.

use super::routes::Read;
use crate::access::KeyCall;
use crate::protocol::keys;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use spoor::Act;
use spoor::model::{AsOf, PageRequest};

/// Path and query of a read.
#[must_use]
pub fn read(read: &Read) -> String {
    match read {
        Read::Profile(id, as_of) => with(format!("profiles/{}", escaped(id)), past(*as_of)),
        Read::ProfileOf(identifier, as_of) => {
            let identifier = ("identifier", Some(identifier.clone()));
            with("profiles".to_owned(), [identifier].into_iter().chain(past(*as_of)))
        }
        Read::ProfileEvents(id, request) => with(format!("profiles/{}/events", escaped(id)), page(request)),
        Read::ProfileSessions(id, request) => {
            with(format!("profiles/{}/sessions", escaped(id)), page(request))
        }
        Read::ProfileLinks(id, request) => with(format!("profiles/{}/links", escaped(id)), page(request)),
        Read::ProfileHistory(id, request) => with(format!("profiles/{}/history", escaped(id)), page(request)),
        Read::Explain { from, to } => {
            with("explain".to_owned(), [("from", Some(from.clone())), ("to", Some(to.clone()))])
        }
        Read::Quarantine(request) => with("quarantine".to_owned(), page(request)),
        Read::Blocked(request) => with("blocked".to_owned(), page(request)),
        Read::Session(id) => with(format!("sessions/{}", escaped(id)), []),
        Read::SessionEvents(id, request) => with(format!("sessions/{}/events", escaped(id)), page(request)),
        Read::Events { after, limit } => with("events".to_owned(), of_the_log(*after, *limit)),
        Read::Requests { after, limit } => with("requests".to_owned(), of_the_log(*after, *limit)),
        Read::Check => with("check".to_owned(), []),
    }
}

/// How an act is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActRequest {
    /// Path and query.
    pub target: String,
    /// The body of a POST; without one it is a DELETE.
    pub body: Option<Value>,
}

/// An act as a request.
#[must_use]
pub fn act(act: &Act, dry_run: bool) -> ActRequest {
    let (path, body) = match act {
        Act::Undo { merge, .. } => (format!("merges/{}", escaped(merge)), None),
        Act::Merge { profile, other, force } => {
            ("merges".to_owned(), Some(json!({"profile": profile, "other": other, "force": force})))
        }
        Act::Detach { profile, identifier } => {
            (format!("profiles/{}/identifiers/{}", escaped(profile), escaped(identifier)), None)
        }
        Act::Attach { profile, identifier } => {
            (format!("profiles/{}/identifiers", escaped(profile)), Some(json!({"identifier": identifier})))
        }
        Act::Decide { quarantine, approve } => {
            let decision = if *approve { "approve" } else { "reject" };
            (format!("quarantine/{}", escaped(quarantine)), Some(json!({"decision": decision})))
        }
        Act::Block { identifier } => ("blocked".to_owned(), Some(json!({"identifier": identifier}))),
        Act::Unblock { identifier } => (format!("blocked/{}", escaped(identifier)), None),
    };
    let keep_apart = matches!(act, Act::Undo { keep_apart: true, .. });
    let flag = |name, set: bool| (name, set.then(|| "true".to_owned()));
    ActRequest { target: with(path, [flag("dry_run", dry_run), flag("keep_apart", keep_apart)]), body }
}

/// What is asked of keys as a request: [`KeyCall::List`] is a GET.
#[must_use]
pub fn keys(call: &KeyCall) -> ActRequest {
    match call {
        KeyCall::List => ActRequest { target: with("keys".to_owned(), []), body: None },
        KeyCall::Add(new) => ActRequest { target: with("keys".to_owned(), []), body: Some(keys::body(new)) },
        KeyCall::Revoke { id } => {
            ActRequest { target: with(format!("keys/{}", escaped(id)), []), body: None }
        }
    }
}

type Parameter = (&'static str, Option<String>);

fn with(path: String, parameters: impl IntoIterator<Item = Parameter>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    match query.finish().as_str() {
        "" => format!("/api/v1/{path}"),
        query => format!("/api/v1/{path}?{query}"),
    }
}

fn past(as_of: AsOf) -> [Parameter; 2] {
    [("at", as_of.at.map(|time| time.to_string())), ("until", as_of.until.map(|time| time.to_string()))]
}

fn of_the_log(after: u64, limit: usize) -> [Parameter; 2] {
    [("after", Some(after.to_string())), ("limit", Some(limit.to_string()))]
}

fn page(request: &PageRequest) -> [Parameter; 5] {
    let PageRequest { limit, cursor, event_type, from, to } = request;
    [
        ("limit", (*limit > 0).then(|| limit.to_string())),
        ("cursor", cursor.clone()),
        ("type", event_type.clone()),
        ("from", from.map(|time| time.to_string())),
        ("to", to.map(|time| time.to_string())),
    ]
}

/// A text as a segment of a path.
fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::routes::{ActCall, Call, KeyRoute, find};
    use super::*;
    use crate::access::{NewKey, Right};
    use spoor::Timestamp;

    fn found(method: &str, target: &str) -> Call {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        find(&method.parse().unwrap(), path, query).unwrap().call
    }

    #[test]
    fn a_read_that_is_written_is_found_again() {
        let id = || "space:a/b ?&é".to_owned();
        let time = Timestamp::parse("2026-01-31T09:30:00.250Z");
        let as_of = AsOf { at: time, until: None };
        let some = PageRequest { limit: 5, cursor: Some("a+b".to_owned()), ..PageRequest::default() };
        let events =
            PageRequest { event_type: Some("page view".to_owned()), from: time, to: time, ..some.clone() };
        let reads = [
            Read::Profile(id(), as_of),
            Read::Profile(id(), AsOf { at: time, until: time }),
            Read::ProfileOf("email:a+b@c.example".to_owned(), as_of),
            Read::ProfileEvents(id(), events.clone()),
            Read::ProfileSessions(id(), some.clone()),
            Read::ProfileLinks(id(), some.clone()),
            Read::ProfileHistory(id(), PageRequest::default()),
            Read::Explain { from: id(), to: "b".to_owned() },
            Read::Quarantine(some.clone()),
            Read::Blocked(some),
            Read::Session(id()),
            Read::SessionEvents(id(), events),
            Read::Events { after: 7, limit: 9 },
            Read::Requests { after: 7, limit: 9 },
            Read::Check,
        ];
        for expected in reads {
            assert_eq!(found("GET", &read(&expected)), Call::Read(expected));
        }
    }

    #[test]
    fn a_change_of_keys_that_is_written_is_found_again() {
        let new = NewKey { name: "a".to_owned(), right: Right::Read };
        let revoke = KeyCall::Revoke { id: "a/b".to_owned() };
        for (call, method, expected) in [
            (KeyCall::List, "GET", KeyRoute::List),
            (KeyCall::Add(new), "POST", KeyRoute::Add),
            (revoke, "DELETE", KeyRoute::Revoke("a/b".to_owned())),
        ] {
            assert_eq!(found(method, &keys(&call).target), Call::Keys(expected));
        }
    }

    #[test]
    fn an_act_that_is_written_is_found_again() {
        let text = str::to_owned;
        let acts = [
            Act::Undo { merge: text("m7-0"), keep_apart: false },
            Act::Undo { merge: text("m7-0"), keep_apart: true },
            Act::Merge { profile: text("space:a"), other: text("b/c"), force: true },
            Act::Detach { profile: text("a/b"), identifier: text("email:ada@example.com") },
            Act::Attach { profile: text("a b"), identifier: text("phone:+61412345678") },
            Act::Decide { quarantine: text("q7-0"), approve: true },
            Act::Decide { quarantine: text("q7-0"), approve: false },
            Act::Block { identifier: text("email:info@shop.example") },
            Act::Unblock { identifier: text("email:a%b@shop.example") },
        ];
        for (expected, preview) in acts.iter().flat_map(|act| [(act, false), (act, true)]) {
            let ActRequest { target, body } = act(expected, preview);
            let method = if body.is_some() { "POST" } else { "DELETE" };
            let Call::Act { act, dry_run } = found(method, &target) else { panic!("{target}") };
            let read = match act {
                ActCall::Whole(act) => act,
                ActCall::InBody(unread) => {
                    crate::protocol::act::read(unread, body.unwrap().to_string().as_bytes()).unwrap()
                }
            };
            assert_eq!((&read, dry_run), (expected, preview), "{target}");
        }
    }
}
