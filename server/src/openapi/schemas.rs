//! What goes in and comes back, as JSON Schema. What each member means stands in docs/protocol.md.

use serde_json::{Value, json};
use spoor::limits::{ARRAY_MAX_REQUESTS, ID_MAX_BYTES, NAME_MAX_BYTES, PAGE_MAX_ITEMS, REQUEST_MAX_EVENTS};

/// Every schema, by name.
pub(super) fn schemas() -> Value {
    let mut all = json!({});
    if let Some(members) = all.as_object_mut() {
        for part in [simple(), sent(), stored(), joined(), told(), changed()] {
            if let Value::Object(part) = part {
                members.extend(part);
            }
        }
    }
    all
}

fn of(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn list(name: &str) -> Value {
    json!({"type": "array", "items": of(name)})
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn simple() -> Value {
    let or_null = |kind: &str| json!({"type": [kind, "null"]});
    json!({
        "Anything": {"type": "object"},
        "Id": {"type": "string", "minLength": 1, "maxLength": ID_MAX_BYTES},
        "Name": {"type": "string", "minLength": 1, "maxLength": NAME_MAX_BYTES},
        "Time": {"type": "string", "format": "date-time", "examples": ["2026-01-31T09:30:00.250Z"]},
        "Identifier": {"type": "string", "pattern": "^[^:]+:.+$", "examples": ["email:ada@example.com"]},
        "Limit": {"type": "integer", "minimum": 1, "maximum": PAGE_MAX_ITEMS},
        "Position": {"type": "integer", "minimum": 0},
        "Cursor": text(),
        "Flag": {"type": "boolean"},
        "Origin": {"enum": ["live", "import"]},
        "State": object(&["status"], json!({"status": text()})),
        "Error": object(&["code", "message"], json!({
            "code": text(),
            "message": text(),
            "field": text(),
            "retry_after_ms": count()
        })),
        "NewKey": {
            "type": "object",
            "required": ["name", "right"],
            "properties": {
                "name": of("Name"),
                "right": {"enum": ["write", "read", "admin"]},
                "source": {"type": ["string", "null"], "description": "Of a write key: for which source it is"}
            },
            "additionalProperties": false
        },
        "Key": object(&["id", "name", "right", "created_at"], json!({
            "id": text(),
            "name": text(),
            "right": {"enum": ["write", "read", "admin"]},
            "source": text(),
            "created_at": of("Time"),
            "key": {"type": "string", "description": "Of a new one alone: what is shown to call"}
        })),
        "TextOrNull": or_null("string"),
        "ObjectOrNull": or_null("object")
    })
}

fn sent() -> Value {
    let named = json!({"type": ["object", "null"], "additionalProperties": {}});
    json!({
        "TrackBody": {"oneOf": [
            of("TrackRequest"),
            {"type": "array", "items": of("TrackRequest"), "maxItems": ARRAY_MAX_REQUESTS}
        ]},
        "TrackRequest": {"type": "object", "properties": {
            "source": of("TextOrNull"),
            "session": of("TextOrNull"),
            "profile": of("TextOrNull"),
            "sent_at": {"oneOf": [of("Time"), {"type": "null"}]},
            "context": of("ObjectOrNull"),
            "profile_less": {"type": ["boolean", "null"]},
            "events": {"type": ["array", "null"], "items": of("SentEvent"), "maxItems": REQUEST_MAX_EVENTS}
        }},
        "SentEvent": object(&["type"], json!({
            "id": of("TextOrNull"),
            "type": of("Name"),
            "time": {"oneOf": [of("Time"), {"type": "null"}]},
            "properties": of("ObjectOrNull"),
            "context": of("ObjectOrNull"),
            "identifiers": {"type": ["object", "null"], "additionalProperties": {"type": ["string", "integer", "null"]}},
            "traits": {"type": ["object", "null"], "properties": {
                "set": named, "set_once": named, "add": named, "append": named, "remove": named,
                "unset": {"type": ["array", "null"], "items": text()}
            }},
            "consents": {"type": ["object", "null"], "additionalProperties": {"enum": ["granted", "refused"]}}
        })),
        "MergeBody": closed(&["profile", "other"], json!({
            "profile": of("Id"), "other": of("Id"), "force": {"type": "boolean"}
        })),
        "IdentifierBody": closed(&["identifier"], json!({"identifier": of("Identifier")})),
        "DecisionBody": closed(&["decision"], json!({"decision": {"enum": ["approve", "reject"]}}))
    })
}

/// An act is refused with members that it does not have.
fn closed(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

fn stored() -> Value {
    json!({
        "TrackAnswer": {"oneOf": [
            of("TrackReply"),
            {"type": "array", "items": {"oneOf": [
                of("TrackReply"),
                object(&["error"], json!({"error": of("Error")}))
            ]}}
        ]},
        "TrackReply": object(&["profile", "session", "events", "warnings"], json!({
            "profile": {"oneOf": [{"type": "null"}, object(&["id", "reason", "created"], json!({
                "id": text(),
                "primary_id": text(),
                "reason": {"enum": ["created", "sent", "recovered", "session_owner"]},
                "created": {"type": "boolean"}
            }))]},
            "session": {"oneOf": [{"type": "null"}, of("SessionReply")]},
            "events": list("EventReply"),
            "warnings": {"type": "array", "items": text()}
        })),
        "SessionReply": object(&["id", "created"], json!({"id": text(), "created": {"type": "boolean"}})),
        "EventReply": object(&["id", "seq", "status"], json!({
            "id": text(),
            "seq": count(),
            "status": {"enum": ["stored", "duplicate"]},
            "session": of("SessionReply"),
            "profile": text(),
            "links": list("LinkReply"),
            "refused": {"type": "array", "items": object(&["field", "code"], json!({
                "field": text(), "code": text()
            }))},
            "warnings": {"type": "array", "items": text()}
        })),
        "LinkReply": object(&["identifier", "outcome"], json!({
            "identifier": text(),
            "outcome": {"enum": [
                "attached", "known", "merged", "switched", "refused", "quarantined", "accepted"
            ]},
            "code": text(),
            "merge": text(),
            "profiles": {"type": "array", "items": text()},
            "quarantine": text()
        }))
    })
}

fn joined() -> Value {
    json!({
        "Link": object(
            &["kind", "profile", "state", "verified", "first_seq", "last_seq", "first_seen", "last_seen"],
            json!({
                "kind": {"enum": ["identifier", "session", "hand", "device"]},
                "profile": text(),
                "identifier": text(),
                "other": text(),
                "state": {"enum": ["joined", "attached", "cut", "suspended", "quarantined", "rejected", "expired"]},
                "verified": {"type": "boolean"},
                "first_seq": count(),
                "last_seq": count(),
                "first_seen": of("Time"),
                "last_seen": of("Time")
            })
        ),
        "HistoryEntry": object(&["seq", "at", "kind", "profile"], json!({
            "seq": count(), "at": of("Time"), "kind": text(), "profile": text(), "identifier": text(),
            "code": text(), "merge": text(), "profiles": {"type": "array", "items": text()}, "event": text()
        })),
        "QuarantinedLink": object(&["id", "profile", "primary_id", "identifier", "code", "seq", "at"], json!({
            "id": text(), "profile": text(), "primary_id": text(), "identifier": text(), "code": text(),
            "seq": count(), "at": of("Time"), "other": text()
        })),
        "BlockedValue": object(&["identifier", "seq", "at", "suspended"], json!({
            "identifier": text(), "seq": count(), "at": of("Time"), "suspended": count()
        })),
        "Explanation": object(&["same", "chain", "cut_links", "cut_identifiers"], json!({
            "same": {"type": "boolean"},
            "chain": list("Link"),
            "cut_links": list("Link"),
            "cut_identifiers": {"type": ["array", "null"], "items": text()}
        })),
        "ActReply": object(&["seq", "removed", "added", "before", "after", "not_retaken"], json!({
            "seq": {"type": ["integer", "null"]},
            "merge": text(),
            "removed": list("Link"),
            "added": list("Link"),
            "before": list("ProfileSize"),
            "after": list("ProfileSize"),
            "not_retaken": {"type": "array", "items": count()}
        })),
        "ProfileSize": object(&["primary_id", "ids", "sessions", "events"], json!({
            "primary_id": text(), "ids": count(), "sessions": count(), "events": count()
        }))
    })
}

fn told() -> Value {
    let numbers = |names: &[&str]| {
        let properties = names.iter().map(|name| ((*name).to_owned(), count())).collect();
        object(names, Value::Object(properties))
    };
    let status = numbers(&[
        "position",
        "checkpoint_position",
        "events",
        "sessions",
        "fragments",
        "profiles",
        "overlay_bytes",
        "mailbox_requests",
    ]);
    json!({
        "Profile": object(
            &["id", "primary_id", "ids", "traits", "identifiers", "consents", "counters", "created_at"],
            json!({
                "id": text(),
                "primary_id": text(),
                "ids": {"type": "array", "items": text()},
                "fragments": count(),
                "traits": {"type": "object"},
                "identifiers": {"type": "array", "items": object(
                    &["namespace", "value", "first_seen", "last_seen"],
                    json!({
                        "namespace": text(), "value": text(), "first_seen": of("Time"), "last_seen": of("Time")
                    })
                )},
                "consents": {"type": "object", "additionalProperties": {"enum": ["granted", "refused"]}},
                "counters": numbers(&["events", "sessions", "implicit_sessions", "page_views"]),
                "created_at": of("Time"),
                "first_seen": {"oneOf": [of("Time"), {"type": "null"}]},
                "last_seen": {"oneOf": [of("Time"), {"type": "null"}]}
            })
        ),
        "Session": object(
            &["id", "source", "profile", "started_at", "last_seen", "duration_ms", "counters", "bounce"],
            json!({
                "id": text(),
                "source": text(),
                "profile": {"oneOf": [{"type": "null"}, object(&["id", "primary_id"], json!({
                    "id": text(), "primary_id": text()
                }))]},
                "started_at": of("Time"),
                "last_seen": of("Time"),
                "ended_at": of("Time"),
                "duration_ms": count(),
                "counters": numbers(&["events", "page_views", "conversions"]),
                "value": {"type": ["number", "string"]},
                "entry_page": text(),
                "exit_page": text(),
                "bounce": {"type": "boolean"},
                "referrer": text(),
                "utm": {"type": "object"},
                "device": text(),
                "os": text(),
                "browser": text(),
                "shared": {"type": "boolean"}
            })
        ),
        "Event": object(
            &["seq", "id", "type", "time", "received_at", "source", "session", "profile"],
            json!({
                "seq": count(),
                "id": text(),
                "type": text(),
                "time": of("Time"),
                "received_at": of("Time"),
                "source": text(),
                "session": text(),
                "profile": of("TextOrNull"),
                "properties": {"type": "object"},
                "context": {"type": "object"},
                "event_context": {"type": "object"},
                "identifiers": {"type": "object"}
            })
        ),
        "LoggedRequest": object(&["seq", "request"], json!({"seq": count(), "request": of("TrackRequest")})),
        "Status": {"allOf": [status, object(&["instance", "version"], json!({
            "instance": text(), "version": text()
        }))]},
        "CheckReport": object(&["sound", "faults", "store_digest", "content_digest", "status"], json!({
            "sound": {"type": "boolean"},
            "faults": {"type": "array", "items": text()},
            "store_digest": text(),
            "content_digest": text(),
            "status": status
        }))
    })
}

fn changed() -> Value {
    json!({
        "Change": object(&["seq", "at", "kind"], json!({
            "seq": count(),
            "at": of("Time"),
            "kind": {"enum": [
                "event", "session_ended", "merged", "undone", "detached", "attached", "approved", "rejected",
                "blocked", "unblocked", "links_expired"
            ]},
            "event": of("Event"),
            "traits": {"type": "object"},
            "consents": {"type": "object"},
            "links": list("LinkReply"),
            "ends_session": {"type": "boolean"},
            "session": object(&["id", "source", "profile", "last_seen"], json!({
                "id": text(), "source": text(), "profile": of("TextOrNull"), "last_seen": of("Time")
            })),
            "act": {"type": "object"},
            "expired": {"type": "array", "items": object(&["profile", "identifier"], json!({
                "profile": text(), "identifier": text()
            }))},
            "created": {"type": "array", "items": text()},
            "merges": {"type": "array", "items": object(&["merge", "profiles", "primary_id"], json!({
                "merge": text(), "profiles": {"type": "array", "items": text()}, "primary_id": text()
            }))},
            "profiles": {"type": "array", "items": object(&["primary_id", "ids"], json!({
                "primary_id": text(), "ids": {"type": "array", "items": text()}
            }))},
            "sessions_joined": {"type": "array", "items": object(&["session", "into"], json!({
                "session": text(), "into": text()
            }))},
            "rules": {"type": "object"}
        }))
    })
}
