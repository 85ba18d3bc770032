//! The messages about who is who, as the tests read and write them.

use super::{code, maybe, number, stamp, text};
use serde_json::{Value, json};
use spoor::ids::EventSeq;
use spoor::model::{
    BlockedValue, Explanation, HistoryEntry, Link, LinkEnds, LinkState, ProfileIdentifier, QuarantinedLink,
};
use spoor::{Act, ActReply, LinkOutcome, LinkReply, ProfileSize};

const OUTCOMES: [LinkOutcome; 6] = [
    LinkOutcome::Attached,
    LinkOutcome::Known,
    LinkOutcome::Merged,
    LinkOutcome::Switched,
    LinkOutcome::Refused,
    LinkOutcome::Quarantined,
];

const STATES: [LinkState; 7] = [
    LinkState::Joined,
    LinkState::Attached,
    LinkState::Cut,
    LinkState::Suspended,
    LinkState::Quarantined,
    LinkState::Expired,
    LinkState::Rejected,
];

/// Method, path below `/api/v1/` and body of an act; `encoded` makes a segment of a text.
#[must_use]
pub fn write_act(act: &Act, encoded: fn(&str) -> String) -> (&'static str, String, String) {
    let post = |path: String, body: Value| ("POST", path, body.to_string());
    let delete = |path: String| ("DELETE", path, String::new());
    match act {
        Act::Undo { merge, .. } => delete(format!("merges/{}", encoded(merge))),
        Act::Merge { profile, other, force } => {
            post("merges".to_owned(), json!({"profile": profile, "other": other, "force": force}))
        }
        Act::Detach { profile, identifier } => {
            delete(format!("profiles/{}/identifiers/{}", encoded(profile), encoded(identifier)))
        }
        Act::Attach { profile, identifier } => {
            post(format!("profiles/{}/identifiers", encoded(profile)), json!({"identifier": identifier}))
        }
        Act::Decide { quarantine, approve } => {
            let decision = if *approve { "approve" } else { "reject" };
            post(format!("quarantine/{}", encoded(quarantine)), json!({"decision": decision}))
        }
        Act::Block { identifier } => post("blocked".to_owned(), json!({"identifier": identifier})),
        Act::Unblock { identifier } => delete(format!("blocked/{}", encoded(identifier))),
    }
}

fn list<T>(value: &Value, item: fn(&Value) -> T) -> Vec<T> {
    value.as_array().into_iter().flatten().map(item).collect()
}

fn seq(value: &Value) -> EventSeq {
    EventSeq(number(value))
}

/// Reads what became of the identifiers of an event; none if the event brought none.
#[must_use]
pub fn read_link_replies(value: &Value) -> Vec<LinkReply> {
    list(value, |link| LinkReply {
        identifier: text(&link["identifier"]),
        outcome: *OUTCOMES
            .iter()
            .find(|outcome| link["outcome"] == outcome.as_str())
            .unwrap_or_else(|| panic!("an unknown outcome: {link}")),
        code: link["code"].as_str().map(code),
        merge: maybe(&link["merge"]),
        profiles: list(&link["profiles"], text),
        quarantine: maybe(&link["quarantine"]),
    })
}

/// Reads the identifiers of a profile.
#[must_use]
pub fn read_profile_identifiers(value: &Value) -> Vec<ProfileIdentifier> {
    list(value, |identifier| ProfileIdentifier {
        namespace: text(&identifier["namespace"]),
        value: text(&identifier["value"]),
        first_seen: stamp(&identifier["first_seen"]),
        last_seen: stamp(&identifier["last_seen"]),
    })
}

/// Reads a link.
#[must_use]
pub fn read_link(value: &Value) -> Link {
    let profile = text(&value["profile"]);
    let ends = match text(&value["kind"]).as_str() {
        "identifier" => LinkEnds::Identifier { profile, identifier: text(&value["identifier"]) },
        kind => LinkEnds::Profiles { profile, other: text(&value["other"]), kind: code(kind) },
    };
    Link {
        ends,
        state: *STATES
            .iter()
            .find(|state| value["state"] == state.as_str())
            .unwrap_or_else(|| panic!("an unknown state: {value}")),
        verified: value["verified"].as_bool().unwrap_or_else(|| panic!("verified or not: {value}")),
        first_seq: seq(&value["first_seq"]),
        last_seq: seq(&value["last_seq"]),
        first_seen: stamp(&value["first_seen"]),
        last_seen: stamp(&value["last_seen"]),
    }
}

/// Reads an entry of a profile's history.
#[must_use]
pub fn read_history_entry(value: &Value) -> HistoryEntry {
    HistoryEntry {
        seq: seq(&value["seq"]),
        at: stamp(&value["at"]),
        kind: code(&text(&value["kind"])),
        profile: text(&value["profile"]),
        identifier: maybe(&value["identifier"]),
        code: value["code"].as_str().map(code),
        merge: maybe(&value["merge"]),
        profiles: list(&value["profiles"], text),
        event: maybe(&value["event"]),
    }
}

/// Reads a link in quarantine.
#[must_use]
pub fn read_quarantined(value: &Value) -> QuarantinedLink {
    QuarantinedLink {
        id: text(&value["id"]),
        profile: text(&value["profile"]),
        primary_id: text(&value["primary_id"]),
        identifier: text(&value["identifier"]),
        code: code(&text(&value["code"])),
        seq: seq(&value["seq"]),
        at: stamp(&value["at"]),
        other: maybe(&value["other"]),
    }
}

/// Reads a value that a person blocked.
#[must_use]
pub fn read_blocked(value: &Value) -> BlockedValue {
    BlockedValue {
        identifier: text(&value["identifier"]),
        seq: seq(&value["seq"]),
        at: stamp(&value["at"]),
        suspended: value["suspended"].as_u64().unwrap_or_else(|| panic!("a count: {value}")),
    }
}

/// Reads how two ids are joined.
#[must_use]
pub fn read_explanation(value: &Value) -> Explanation {
    Explanation {
        same: value["same"].as_bool().unwrap_or_else(|| panic!("the same or not: {value}")),
        chain: list(&value["chain"], read_link),
        cut_links: list(&value["cut_links"], read_link),
        cut_identifiers: (!value["cut_identifiers"].is_null()).then(|| list(&value["cut_identifiers"], text)),
    }
}

/// Reads what an act did.
#[must_use]
pub fn read_act_reply(value: &Value) -> ActReply {
    let size = |size: &Value| ProfileSize {
        primary_id: text(&size["primary_id"]),
        ids: number(&size["ids"]),
        sessions: number(&size["sessions"]),
        events: number(&size["events"]),
    };
    ActReply {
        seq: value["seq"].as_u64().map(EventSeq),
        merge: maybe(&value["merge"]),
        removed: list(&value["removed"], read_link),
        added: list(&value["added"], read_link),
        before: list(&value["before"], size),
        after: list(&value["after"], size),
        not_retaken: list(&value["not_retaken"], seq),
    }
}
