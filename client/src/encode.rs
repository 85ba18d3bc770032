//! Requests into bytes.

use spoor::{Consent, Event, Json, TrackRequest, TraitOperations};
use std::borrow::Cow;

/// Appends a request that stands alone: a whole body.
pub fn alone(out: &mut Vec<u8>, request: &TrackRequest) {
    field(out, 2, &payload(request));
}

/// Appends an item of a list or of a stream.
pub fn item(out: &mut Vec<u8>, request: &TrackRequest) {
    field(out, 1, &payload(request));
}

/// A request without the frame around it. Its origin is said by the path, and its user agent by the context, where it is
/// put if it is not there.
#[must_use]
pub fn payload(request: &TrackRequest) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + request.events.len() * 256);
    text(&mut out, 1, request.source.as_deref());
    id(&mut out, 2, request.session.as_deref());
    id(&mut out, 4, request.profile.as_deref());
    if let Some(time) = request.sent_at {
        number(&mut out, 6, micros(time));
    }
    text(&mut out, 7, context(request).as_deref());
    if request.profile_less {
        number(&mut out, 8, 1);
    }
    for one in &request.events {
        field(&mut out, 9, &event(one));
    }
    out
}

fn context(request: &TrackRequest) -> Option<Cow<'_, str>> {
    let sent = request.context.as_ref();
    let Some(agent) = &request.user_agent else { return sent.map(|json| Cow::Borrowed(json.as_str())) };
    let mut members = match sent.map(Json::to_value) {
        Some(serde_json::Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    let named = ["user_agent", "userAgent"].iter().find_map(|name| members.get(*name)?.as_str());
    if named == Some(agent.as_str()) {
        return sent.map(|json| Cow::Borrowed(json.as_str()));
    }
    members.insert("user_agent".to_owned(), agent.as_str().into());
    Some(Cow::Owned(serde_json::Value::Object(members).to_string()))
}

fn event(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    id(&mut out, 1, event.id.as_deref());
    text(&mut out, 3, Some(&event.event_type));
    if let Some(time) = event.time {
        number(&mut out, 4, micros(time));
    }
    text(&mut out, 5, event.properties.as_ref().map(Json::as_str));
    text(&mut out, 6, event.context.as_ref().map(Json::as_str));
    for (namespace, value) in &event.identifiers {
        pair(&mut out, 7, namespace, value);
    }
    if event.traits != TraitOperations::default() {
        field(&mut out, 8, &traits(&event.traits));
    }
    for (purpose, answer) in &event.consents {
        let mut entry = Vec::new();
        text(&mut entry, 1, Some(purpose));
        number(&mut entry, 2, if *answer == Consent::Granted { 1 } else { 2 });
        field(&mut out, 9, &entry);
    }
    out
}

fn traits(traits: &TraitOperations) -> Vec<u8> {
    let mut out = Vec::new();
    let TraitOperations { set, set_once, unset, add, append, remove } = traits;
    let pairs = |out: &mut Vec<u8>, number, list: &[(String, Json)]| {
        for (name, value) in list {
            pair(out, number, name, value.as_str());
        }
    };
    pairs(&mut out, 1, set);
    pairs(&mut out, 2, set_once);
    for name in unset {
        text(&mut out, 3, Some(name));
    }
    pairs(&mut out, 4, add);
    pairs(&mut out, 5, append);
    pairs(&mut out, 6, remove);
    out
}

fn micros(time: spoor::Timestamp) -> u64 {
    u64::try_from(time.0).unwrap_or_default()
}

fn pair(out: &mut Vec<u8>, number: u64, name: &str, value: &str) {
    let mut entry = Vec::with_capacity(name.len() + value.len() + 4);
    text(&mut entry, 1, Some(name));
    text(&mut entry, 2, Some(value));
    field(out, number, &entry);
}

/// An id: a UUID in its usual form as 16 bytes in the field after `number`, anything else as text.
fn id(out: &mut Vec<u8>, number: u64, id: Option<&str>) {
    let Some(id) = id else { return };
    match uuid::Uuid::try_parse(id) {
        Ok(uuid) if uuid.to_string() == id => field(out, number + 1, uuid.as_bytes()),
        _ => text(out, number, Some(id)),
    }
}

fn text(out: &mut Vec<u8>, number: u64, text: Option<&str>) {
    if let Some(text) = text {
        field(out, number, text.as_bytes());
    }
}

/// Bytes with their length before them: wire type 2.
fn field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A number: wire type 0.
fn number(out: &mut Vec<u8>, number: u64, value: u64) {
    varint(out, number << 3);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let bits = (value & 0x7f).to_le_bytes()[0];
        value >>= 7;
        if value == 0 {
            out.push(bits);
            return;
        }
        out.push(bits | 0x80);
    }
}
