//! Answers of the compact form as the JSON that stands for them.

use serde_json::{Map, Value, json};
use spoor_client::{Answer, AnswerError, EventResult, Link, Reply, SessionResult};

/// An answer as it would stand in the answer to an array; the end of a stream, which JSON has not, as an `end`.
#[must_use]
pub fn answer_as_json(answer: &Answer) -> Value {
    match answer {
        Answer::Reply(reply) => reply_as_json(reply),
        Answer::Error(error) => json!({ "error": error_as_json(error) }),
        Answer::End { index, error } => json!({ "end": {"index": index, "error": error_as_json(error)} }),
    }
}

/// A reply as its JSON.
#[must_use]
pub fn reply_as_json(reply: &Reply) -> Value {
    let profile = reply.profile.as_ref().map(|profile| {
        let mut members = Members::default();
        members.put("id", &profile.id);
        members.some("primary_id", profile.primary_id.as_ref());
        members.put("reason", profile.reason);
        members.put("created", profile.created);
        members.0
    });
    json!({
        "profile": profile,
        "session": reply.session.as_ref().map(session),
        "events": reply.events.iter().map(event).collect::<Vec<_>>(),
        "warnings": reply.warnings,
    })
}

/// Members of an object, of which some may be left out.
#[derive(Default)]
struct Members(Map<String, Value>);

impl Members {
    fn put(&mut self, name: &str, value: impl serde::Serialize) {
        self.0.insert(name.to_owned(), json!(value));
    }

    fn some(&mut self, name: &str, value: Option<impl serde::Serialize>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn list(&mut self, name: &str, items: Vec<Value>) {
        if !items.is_empty() {
            self.put(name, items);
        }
    }
}

fn session(session: &SessionResult) -> Value {
    json!({"id": session.id, "created": session.created})
}

fn event(event: &EventResult) -> Value {
    let mut members = Members::default();
    members.put("id", &event.id);
    members.put("seq", event.seq);
    members.put("status", event.status);
    members.some("session", event.session.as_ref().map(session));
    members.some("profile", event.profile.as_ref());
    members.list("links", event.links.iter().map(link).collect());
    let refusal = |refusal: &spoor_client::Refusal| json!({"field": refusal.field, "code": refusal.code});
    members.list("refused", event.refused.iter().map(refusal).collect());
    members.list("warnings", event.warnings.iter().map(|code| json!(code)).collect());
    Value::Object(members.0)
}

fn link(link: &Link) -> Value {
    let mut members = Members::default();
    members.put("identifier", &link.identifier);
    members.put("outcome", link.outcome);
    members.some("code", link.code.as_ref());
    members.some("merge", link.merge.as_ref());
    members.list("profiles", link.profiles.iter().map(|id| json!(id)).collect());
    members.some("quarantine", link.quarantine.as_ref());
    Value::Object(members.0)
}

/// An error as its JSON.
#[must_use]
pub fn error_as_json(error: &AnswerError) -> Value {
    let mut members = Members::default();
    members.put("code", &error.code);
    members.put("message", &error.message);
    members.some("field", error.field.as_ref());
    members.some("retry_after_ms", error.retry_after_ms);
    Value::Object(members.0)
}
