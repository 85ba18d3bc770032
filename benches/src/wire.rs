//! A request as it goes over HTTP: only to know how many bytes of JSON a client sends for it.

use spoor::{Json, TrackRequest};
use std::fmt::Write as _;

/// Bytes of the request as JSON without blanks. The user agent is taken to stand in the context.
#[must_use]
pub fn json_bytes(request: &TrackRequest) -> usize {
    let mut out = String::with_capacity(1_024);
    out.push('{');
    text(&mut out, "source", request.source.as_deref());
    text(&mut out, "session", request.session.as_deref());
    text(&mut out, "profile", request.profile.as_deref());
    raw(&mut out, "context", request.context.as_ref());
    out.push_str("\"events\":[");
    for event in &request.events {
        out.push('{');
        text(&mut out, "id", event.id.as_deref());
        text(&mut out, "type", Some(&event.event_type));
        text(&mut out, "time", event.time.map(|time| time.to_string()).as_deref());
        raw(&mut out, "properties", event.properties.as_ref());
        if !event.identifiers.is_empty() {
            out.push_str("\"identifiers\":{");
            for (namespace, value) in &event.identifiers {
                text(&mut out, namespace, Some(value));
            }
            out.push_str("},");
        }
        if !event.traits.set.is_empty() {
            out.push_str("\"traits\":{\"set\":{");
            for (name, value) in &event.traits.set {
                raw(&mut out, name, Some(value));
            }
            out.push_str("}},");
        }
        out.push_str("},");
    }
    out.push_str("]}");
    // A comma was written after the last member of each object too.
    out.len() - out.matches(",}").count() - out.matches(",]").count()
}

fn text(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        // Writing to a string does not fail.
        let _ = write!(out, "{}:{},", serde_json::Value::from(name), serde_json::Value::from(value));
    }
}

fn raw(out: &mut String, name: &str, value: Option<&Json>) {
    if let Some(value) = value {
        let _ = write!(out, "{}:{value},", serde_json::Value::from(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spoor::{Event, Timestamp};

    #[test]
    fn counts_what_a_client_would_send() {
        let event = Event {
            id: Some("m-1".into()),
            event_type: "page-view".into(),
            time: Some(Timestamp(0)),
            identifiers: vec![("email".into(), "a@b.example".into())],
            ..Event::default()
        };
        let request =
            TrackRequest { session: Some("s".into()), events: vec![event], ..TrackRequest::default() };
        let sent = r#"{"session":"s","events":[{"id":"m-1","type":"page-view","time":"1970-01-01T00:00:00.000Z","identifiers":{"email":"a@b.example"}}]}"#;
        assert_eq!(json_bytes(&request), sent.len());
    }
}
