//! One item as a request: the mapping, of which docs/clients.md has the table.

use super::{Call, Message, Shared};
use crate::vendors::member::{self, Raw};
use serde::Deserialize;
use serde_json::{Map, Value};
use spoor::limits::{ID_MAX_BYTES, IDENTIFIER_MAX_BYTES};
use spoor::{Event, Json, Origin, Rejection, TrackRequest};

/// The members that mean something here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    message_id: Raw<'a>,
    #[serde(borrow)]
    anonymous_id: Raw<'a>,
    #[serde(borrow)]
    user_id: Raw<'a>,
    #[serde(borrow)]
    previous_id: Raw<'a>,
    #[serde(borrow)]
    group_id: Raw<'a>,
    #[serde(borrow)]
    timestamp: Raw<'a>,
    #[serde(borrow)]
    original_timestamp: Raw<'a>,
    #[serde(borrow)]
    sent_at: Raw<'a>,
    #[serde(borrow)]
    event: Raw<'a>,
    #[serde(borrow)]
    name: Raw<'a>,
    #[serde(borrow)]
    category: Raw<'a>,
    #[serde(borrow)]
    properties: Raw<'a>,
    #[serde(borrow)]
    traits: Raw<'a>,
    #[serde(borrow)]
    context: Raw<'a>,
}

/// What a context says of the item, beside what is kept as it is.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContextMembers<'a> {
    #[serde(borrow)]
    session_id: Raw<'a>,
    #[serde(borrow)]
    user_agent: Raw<'a>,
    #[serde(borrow)]
    traits: Raw<'a>,
}

/// Reads an item. `call` is what the path says it is; in a batch its `type` does.
pub(super) fn read(call: Option<Call>, text: &str, shared: &Shared<'_>) -> Message {
    let item: Item<'_> = match member::message(text) {
        Ok(item) => item,
        Err(rejection) => return Message { id: None, call, request: Err(rejection) },
    };
    let id = match member::text(item.message_id, "messageId") {
        Ok(id) => id,
        Err(rejection) => return Message { id: None, call, request: Err(rejection) },
    };
    let call = match call.map_or_else(|| call_of(&item), Ok) {
        Ok(call) => call,
        Err(rejection) => return Message { id, call: None, request: Err(rejection) },
    };
    let request = request(call, &item, id.clone(), shared);
    Message { id, call: Some(call), request }
}

fn call_of(item: &Item<'_>) -> Result<Call, Rejection> {
    let Some(name) = member::text(item.kind, "type")? else {
        return Err(Rejection::new("member_missing", "type", "an item of a batch says what it is"));
    };
    Call::of_type(&name).ok_or_else(|| {
        Rejection::new("type_unknown", "type", "one of track, identify, page, screen, group, alias")
    })
}

fn request(
    call: Call,
    item: &Item<'_>,
    id: Option<String>,
    shared: &Shared<'_>,
) -> Result<TrackRequest, Rejection> {
    let Speaker { device, user } = speaker(call, item)?;
    let context = member::object(item.context.or(shared.context), "context")?;
    let said = match &context {
        Some(context) => {
            member::message(context.as_str()).map_err(|fault| member::within(fault, "context"))?
        }
        None => ContextMembers::default(),
    };
    let sent_at = match shared.sent_at {
        Some(_) => member::time(shared.sent_at, "sentAt")?,
        None => member::time(item.sent_at, "sentAt")?,
    };
    let mut event = Event { id, time: time(item)?, ..Event::default() };
    event.identifiers.extend(user.clone().map(|user| (USER.to_owned(), user)));
    describe(&mut event, call, item, &said)?;
    Ok(TrackRequest {
        session: session(&said, device.as_deref().or(user.as_deref()))?,
        profile: device,
        sent_at,
        user_agent: member::text(said.user_agent, "context.userAgent").unwrap_or_default(),
        context,
        origin: Origin::Library,
        events: vec![event],
        ..TrackRequest::default()
    })
}

/// The namespace of users' ids.
const USER: &str = "user_id";

/// Whose item it is.
struct Speaker {
    device: Option<String>,
    user: Option<String>,
}

/// An alias says that the device known as `previousId` is the user's: so the device speaks, by the name that it had.
///
/// One that names the same id twice says nothing, and is the user's alone: Segment's browser library fills in
/// `anonymousId` when it sends, which may be after a `reset`, and that device is not the user's any more.
fn speaker(call: Call, item: &Item<'_>) -> Result<Speaker, Rejection> {
    let user = member::text(item.user_id, "userId")?;
    let mut device = member::text(item.anonymous_id, "anonymousId")?;
    if call == Call::Alias {
        let previous = member::text(item.previous_id, "previousId")?;
        if user.is_none() {
            return Err(Rejection::new(
                "member_missing",
                "userId",
                "an alias names the user that somebody is",
            ));
        }
        device = if previous == user { None } else { previous.or(device) };
    }
    if device.is_none() && user.is_none() {
        let message = "an item names a device or a user: anonymousId, userId";
        return Err(Rejection::new("member_missing", "anonymousId", message));
    }
    Ok(Speaker { device, user })
}

fn time(item: &Item<'_>) -> Result<Option<spoor::Timestamp>, Rejection> {
    match item.timestamp {
        Some(_) => member::time(item.timestamp, "timestamp"),
        None => member::time(item.original_timestamp, "originalTimestamp"),
    }
}

/// A session groups the events of one device: libraries number sessions by the clock, so that two devices may have the
/// same. Where both names together are too long for an id, sessions come from inactivity.
fn session(said: &ContextMembers<'_>, of: Option<&str>) -> Result<Option<String>, Rejection> {
    let session = member::text(said.session_id, "context.sessionId")?;
    let id = session.zip(of).map(|(session, of)| format!("{session}@{of}"));
    Ok(id.filter(|id| id.len() <= ID_MAX_BYTES))
}

/// Type, properties, identifiers and traits.
fn describe(
    event: &mut Event,
    call: Call,
    item: &Item<'_>,
    said: &ContextMembers<'_>,
) -> Result<(), Rejection> {
    let properties = member::object(item.properties, "properties")?;
    match call {
        Call::Track | Call::Batch => {
            let name = member::text(item.event, "event")?;
            event.event_type = name.ok_or_else(|| missing("event", "a track call names what was done"))?;
            event.properties = properties;
        }
        Call::Page | Call::Screen => {
            let name = if call == Call::Page { "page-view" } else { "screen-view" };
            name.clone_into(&mut event.event_type);
            event.properties = titled(properties, item)?;
        }
        Call::Identify => {
            "identify".clone_into(&mut event.event_type);
            event.properties = properties;
            identify(event, item, said)?;
        }
        Call::Group => {
            "group".clone_into(&mut event.event_type);
            let group = member::text(item.group_id, "groupId")?;
            let group = group.ok_or_else(|| missing("groupId", "a group call names the group"))?;
            // What it says of the group is not the customer's: an address in it is the company's.
            let of_group = member::object(item.traits, "traits")?.map(|traits| traits.to_value());
            event.traits.set.push(("group_id".to_owned(), text(&group)?));
            event.properties = Some(object([("groupId", group.into()), ("traits", of_group.into())])?);
        }
        Call::Alias => {
            "alias".clone_into(&mut event.event_type);
            let [previous, user] = [(item.previous_id, "previousId"), (item.user_id, "userId")]
                .map(|(raw, name)| member::text(raw, name));
            event.properties = Some(object([("previousId", previous?.into()), ("userId", user?.into())])?);
        }
    }
    Ok(())
}

fn missing(field: &str, message: &str) -> Rejection {
    Rejection::new("member_missing", field, message)
}

/// The properties of a page or a screen, with its name and category, which stand beside them.
fn titled(properties: Option<Json>, item: &Item<'_>) -> Result<Option<Json>, Rejection> {
    let (name, category) = (member::text(item.name, "name")?, member::text(item.category, "category")?);
    if name.is_none() && category.is_none() {
        return Ok(properties);
    }
    let mut members = properties.as_ref().map(member::members).unwrap_or_default();
    for (member, text) in [("name", name), ("category", category)] {
        if let Some(text) = text {
            members.entry(member).or_insert_with(|| text.into());
        }
    }
    member::value(&Value::Object(members), "properties").map(Some)
}

/// The traits of an identify, which some libraries put into the context; those beside it go first. `email` and `phone`
/// are identifiers too.
fn identify(event: &mut Event, item: &Item<'_>, said: &ContextMembers<'_>) -> Result<(), Rejection> {
    let mut traits = Map::new();
    for (raw, field) in [(said.traits, "context.traits"), (item.traits, "traits")] {
        traits.extend(member::object(raw, field)?.as_ref().map(member::members).unwrap_or_default());
    }
    for namespace in ["email", "phone"] {
        let value = match traits.get(namespace) {
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => number.to_string(),
            _ => continue,
        };
        // One that is too long to be an address stays a trait; it is no reason to refuse all that was said.
        if !value.is_empty() && value.len() <= IDENTIFIER_MAX_BYTES {
            event.identifiers.push((namespace.to_owned(), value));
        }
    }
    for (name, value) in traits {
        let value = member::value(&value, "traits")?;
        event.traits.set.push((name, value));
    }
    Ok(())
}

fn text(text: &str) -> Result<Json, Rejection> {
    member::value(&text.into(), "groupId")
}

/// An object of what is there.
fn object<const N: usize>(members: [(&str, Value); N]) -> Result<Json, Rejection> {
    let there = members.into_iter().filter(|(_, value)| !value.is_null());
    let members: Map<String, Value> = there.map(|(name, value)| (name.to_owned(), value)).collect();
    member::value(&Value::Object(members), "traits")
}

#[cfg(test)]
mod tests {
    use super::super::{Messages, read as read_body};
    use super::*;

    /// The requests of a batch of one item, as text for comparison.
    fn told(item: &str) -> String {
        let body = format!(r#"{{"batch":[{item}],"sentAt":"2026-01-31T09:30:01Z"}}"#);
        let Messages { items, .. } = read_body(Call::Batch, body.as_bytes()).unwrap();
        match &items[0].request {
            Ok(request) => shown(request),
            Err(rejection) => format!("{} {}", rejection.code, rejection.field.as_deref().unwrap_or("-")),
        }
    }

    fn shown(request: &TrackRequest) -> String {
        let event = &request.events[0];
        let mut out = format!("{} of {}", event.event_type, request.profile.as_deref().unwrap_or("-"));
        for (namespace, value) in &event.identifiers {
            out += &format!(" {namespace}={value}");
        }
        for (name, value) in &event.traits.set {
            out += &format!(" set {name}={value}");
        }
        out + &event.properties.as_ref().map_or_else(String::new, |properties| format!(" {properties}"))
    }

    #[test]
    fn each_call_becomes_an_event() {
        for (item, expected) in [
            (
                r#"{"type":"track","anonymousId":"a","event":" Order Completed ","properties":{"n":1}}"#,
                r#"Order Completed of a {"n":1}"#,
            ),
            (r#"{"type":"track","userId":7,"event":"x"}"#, "x of - user_id=7"),
            (
                r#"{"type":"page","anonymousId":"a","name":"Home","category":"Docs","properties":{"url":"/","name":"h"}}"#,
                r#"page-view of a {"category":"Docs","name":"h","url":"/"}"#,
            ),
            (r#"{"type":"screen","anonymousId":"a","name":"Start"}"#, r#"screen-view of a {"name":"Start"}"#),
            (
                r#"{"type":"identify","anonymousId":"a","userId":"u",
                 "traits":{"email":"Ada@Example.com","phone":61412345678,"plan":"pro","age":null}}"#,
                r#"identify of a user_id=u email=Ada@Example.com phone=61412345678 set age=null set email="Ada@Example.com" set phone=61412345678 set plan="pro""#,
            ),
            (
                r#"{"type":"identify","anonymousId":"a","context":{"traits":{"email":"b@c.de","x":1}},"traits":{"x":2}}"#,
                r#"identify of a email=b@c.de set email="b@c.de" set x=2"#,
            ),
            (
                r#"{"type":"track","anonymousId":"a","event":"x","context":{"traits":{"email":"b@c.de"}}}"#,
                "x of a",
            ),
            (
                r#"{"type":"group","userId":"u","groupId":5,"traits":{"email":"info@shop.example"}}"#,
                r#"group of - user_id=u set group_id="5" {"groupId":"5","traits":{"email":"info@shop.example"}}"#,
            ),
            (
                r#"{"type":"alias","previousId":"a","userId":"u"}"#,
                r#"alias of a user_id=u {"previousId":"a","userId":"u"}"#,
            ),
            (
                r#"{"type":"alias","anonymousId":"b","previousId":"u","userId":"u"}"#,
                r#"alias of - user_id=u {"previousId":"u","userId":"u"}"#,
            ),
            (
                r#"{"type":"alias","previousId":"u","userId":"u"}"#,
                r#"alias of - user_id=u {"previousId":"u","userId":"u"}"#,
            ),
            (r#"{"type":"track","anonymousId":"","userId":null,"event":"x"}"#, "member_missing anonymousId"),
            (r#"{"type":"track","anonymousId":"a"}"#, "member_missing event"),
            (r#"{"type":"alias","anonymousId":"a"}"#, "member_missing userId"),
            (r#"{"type":"group","anonymousId":"a"}"#, "member_missing groupId"),
            (r#"{"type":"purge","anonymousId":"a"}"#, "type_unknown type"),
            (r#"{"anonymousId":"a"}"#, "member_missing type"),
            (r#"{"type":"track","anonymousId":["a"],"event":"x"}"#, "wrong_type anonymousId"),
            (
                r#"{"type":"track","anonymousId":"a","event":"x","timestamp":"soon"}"#,
                "time_invalid timestamp",
            ),
            (
                r#"{"type":"track","anonymousId":"a","event":"x","properties":[1]}"#,
                "not_an_object properties",
            ),
            (r#"{"type":"track","anonymousId":"a","anonymousId":"b","event":"x"}"#, "json_duplicate_key -"),
            ("5", "wrong_type -"),
        ] {
            assert_eq!(told(item), expected, "{item}");
        }
    }

    #[test]
    fn times_session_and_agent_are_found_where_libraries_put_them() {
        let body = r#"{"sentAt":"2026-01-31T09:30:01Z","batch":[
            {"type":"track","event":"x","anonymousId":"a","messageId":"m-1","sentAt":"2020-01-01T00:00:00Z",
             "originalTimestamp":"2026-01-31T09:30:00Z","context":{"sessionId":1769851800,"userAgent":"Agent/1"}},
            {"type":"track","event":"x","userId":"u","messageId":"m-2","timestamp":"2026-01-31T09:30:00.5+01:00",
             "context":{"sessionId":"s"}}]}"#;
        let messages = read_body(Call::Batch, body.as_bytes()).unwrap();
        let requests: Vec<_> = messages.items.iter().map(|item| item.request.clone().unwrap()).collect();
        let [first, second] = requests.as_slice() else { panic!("two items") };
        assert_eq!(first.session.as_deref(), Some("1769851800@a"));
        assert_eq!(first.user_agent.as_deref(), Some("Agent/1"));
        assert_eq!(first.sent_at.unwrap().to_string(), "2026-01-31T09:30:01.000Z", "of this attempt");
        assert_eq!(first.events[0].time.unwrap().to_string(), "2026-01-31T09:30:00.000Z");
        assert_eq!(first.events[0].id.as_deref(), Some("m-1"));
        assert_eq!(second.session.as_deref(), Some("s@u"));
        assert_eq!(second.events[0].time.unwrap().to_string(), "2026-01-31T08:30:00.500Z");
        assert!(requests.iter().all(|request| request.origin == Origin::Library));
    }

    #[test]
    fn a_session_that_is_too_long_with_its_device_is_left_out() {
        let device = "d".repeat(ID_MAX_BYTES);
        let item = format!(r#"{{"anonymousId":"{device}","event":"x","context":{{"sessionId":"s"}}}}"#);
        let messages = read_body(Call::Track, item.as_bytes()).unwrap();
        assert_eq!(messages.items[0].request.as_ref().unwrap().session, None);
    }
}
