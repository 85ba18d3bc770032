//! The payload of `POST /track` as a request; docs/clients.md has the table.

use super::event_type;
use crate::vendors::form::json_of;
use crate::vendors::member::{self, Raw};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use spoor::{Event, Json, Rejection, TrackRequest};

/// What a payload asks for.
#[derive(Debug)]
pub struct Payload {
    /// The source that it names.
    pub source: String,
    /// What the store is asked, without its source.
    pub request: TrackRequest,
    /// What was not taken as it was said.
    pub warnings: Vec<&'static str>,
}

/// The option `saveEvents` was false.
const EVENTS_NOT_SAVED: &str = "events_not_saved";
/// A time could not be read; the event has the time of receipt.
const TIME_IGNORED: &str = "time_ignored";

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    source: Raw<'a>,
    #[serde(borrow)]
    session: Raw<'a>,
    #[serde(borrow)]
    profile: Raw<'a>,
    #[serde(borrow)]
    context: Raw<'a>,
    #[serde(borrow)]
    events: Raw<'a>,
    #[serde(borrow)]
    options: Raw<'a>,
    #[serde(borrow)]
    profile_less: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
}

/// The options that mean something here. What is neither `true` nor `false` is refused, where Tracardi does what it
/// would without: who asks for something not to be kept must not be misunderstood.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options<'a> {
    #[serde(borrow)]
    save_session: Raw<'a>,
    #[serde(borrow)]
    save_events: Raw<'a>,
    #[serde(borrow)]
    save_profile: Raw<'a>,
}

#[derive(Deserialize)]
struct EventMembers<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    properties: Raw<'a>,
    #[serde(borrow)]
    context: Raw<'a>,
    #[serde(borrow)]
    time: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Times<'a> {
    #[serde(borrow)]
    create: Raw<'a>,
    #[serde(borrow)]
    insert: Raw<'a>,
}

/// Reads a payload. `profile_less` is what the query says, which goes before what the body does.
///
/// # Errors
/// [`Rejection`] that names the member of the payload.
pub fn read(bytes: &[u8], profile_less: Option<bool>) -> Result<Payload, Rejection> {
    let text = json_of(bytes)?;
    let members: Members<'_> = member::message(&text)?;
    let Some(source) = id_of(members.source, "source")? else {
        return Err(Rejection::new("member_missing", "source.id", "a payload names its source"));
    };
    let options: Options<'_> = part(members.options, "options")?;
    let context = member::object(members.context, "context")?;
    let saved =
        |raw, name: &str| member::flag(raw, &format!("options.{name}")).map(|said| said.unwrap_or(true));
    let save_session = saved(options.save_session, "saveSession")?;
    let save_events = saved(options.save_events, "saveEvents")?;
    let save_profile = saved(options.save_profile, "saveProfile")?;
    let mut warnings = Vec::new();
    let mut events = Vec::new();
    for (index, raw) in member::list(members.events, "events")?.unwrap_or_default().into_iter().enumerate() {
        events.push(event(raw, index, &mut warnings)?);
    }
    if !save_events {
        warnings.push(EVENTS_NOT_SAVED);
        events.clear();
    }
    let session = id_of(members.session, "session")?.filter(|_| save_session);
    let said_less = member::flag(members.profile_less, "profile_less")?.unwrap_or(false);
    let sent_less = profile_less.unwrap_or(said_less);
    let request = TrackRequest {
        session,
        profile: id_of(members.profile, "profile")?,
        user_agent: context.as_ref().and_then(user_agent),
        context,
        profile_less: sent_less || !save_profile,
        events,
        ..TrackRequest::default()
    };
    Ok(Payload { source, request, warnings })
}

/// An object in the payload; absent, `null` and an empty list are one without members.
fn part<'a, T: Deserialize<'a> + Default>(raw: Raw<'a>, field: &str) -> Result<T, Rejection> {
    match raw {
        Some(raw) if member::object(Some(raw), field)?.is_some() => {
            member::message(raw.get()).map_err(|fault| member::within(fault, field))
        }
        _ => Ok(T::default()),
    }
}

fn id_of(raw: Raw<'_>, field: &str) -> Result<Option<String>, Rejection> {
    let named: Named<'_> = part(raw, field)?;
    member::text(named.id, &format!("{field}.id"))
}

fn event(raw: &RawValue, index: usize, warnings: &mut Vec<&'static str>) -> Result<Event, Rejection> {
    let at = format!("events[{index}]");
    let inside = |fault| member::within(fault, &at);
    let members: EventMembers<'_> = member::message(raw.get()).map_err(inside)?;
    let kind = member::text(members.kind, "type").map_err(inside)?;
    Ok(Event {
        id: member::text(members.id, "id").map_err(inside)?,
        event_type: event_type(&kind.unwrap_or_default()),
        time: time(members.time).unwrap_or_else(|| {
            warnings.push(TIME_IGNORED);
            None
        }),
        properties: member::object(members.properties, "properties").map_err(inside)?,
        context: member::object(members.context, "context").map_err(inside)?,
        ..Event::default()
    })
}

/// When the event happened, by its sender; `None` if what it says is no time, as one client writes it.
fn time(raw: Raw<'_>) -> Option<Option<spoor::Timestamp>> {
    let times: Times<'_> = part(raw, "time").ok()?;
    let said = times.create.or(times.insert);
    member::time(said, "time").ok()
}

/// The user agent where Tracardi's tracker puts it, or where other contexts have it.
fn user_agent(context: &Json) -> Option<String> {
    let context = context.to_value();
    let deep = context.pointer("/browser/local/browser/userAgent");
    let found = [deep, context.get("userAgent"), context.get("user_agent")].into_iter().flatten();
    found.filter_map(Value::as_str).map(str::trim).find(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &str) -> String {
        match read(body.as_bytes(), None) {
            Ok(Payload { request, warnings, .. }) => {
                let ids = [request.session, request.profile].map(|id| id.unwrap_or("-".to_owned()));
                let types: Vec<_> = request.events.iter().map(|event| event.event_type.as_str()).collect();
                let less = if request.profile_less { " profile-less" } else { "" };
                format!("{} {}{less} {types:?} {warnings:?}", ids[0], ids[1])
            }
            Err(rejection) => format!("{} {}", rejection.code, rejection.field.unwrap_or_default()),
        }
    }

    #[test]
    fn a_payload_becomes_a_request() {
        for (rest, expected) in [
            (
                r#""session":{"id":" s "},"profile":{"id":"p"},"events":[{"type":" Page View "}]"#,
                r#"s p ["page-view"] []"#,
            ),
            (r#""session":null,"profile":null,"events":[]"#, "- - [] []"),
            (r#""session":{},"profile":{"id":""}"#, "- - [] []"),
            (
                r#""session":{"id":5},"events":[{"type":"a"}],"options":{"saveSession":false}"#,
                r#"- - ["a"] []"#,
            ),
            (
                r#""session":{"id":"s"},"events":[{"type":"a"}],"options":{"saveProfile":false}"#,
                r#"s - profile-less ["a"] []"#,
            ),
            (
                r#""session":{"id":"s"},"events":[{"type":"a"}],"options":{"saveEvents":false,"saveSession":null}"#,
                r#"s - [] ["events_not_saved"]"#,
            ),
            (r#""profile_less":true,"events":[{"type":"a"}]"#, r#"- - profile-less ["a"] []"#),
            (
                r#""events":[{"type":"a","time":{"insert":"datetime.now()"}}]"#,
                r#"- - ["a"] ["time_ignored"]"#,
            ),
            (r#""events":[{"type":"a","time":"2026"}]"#, r#"- - ["a"] ["time_ignored"]"#),
            (r#""events":[{"type":"a"},{"type":5,"properties":[1]}]"#, "not_an_object events[1].properties"),
            (r#""events":[{"type":["a"]}]"#, "wrong_type events[0].type"),
            (r#""options":{"saveSession":"no"}"#, "wrong_type options.saveSession"),
            (r#""options":{"saveProfile":"false"}"#, "wrong_type options.saveProfile"),
            (r#""options":{"saveEvents":0}"#, "wrong_type options.saveEvents"),
            (r#""profile_less":"yes""#, "wrong_type profile_less"),
            (r#""events":{"type":"a"}"#, "wrong_type events"),
            (r#""events":[["a"]]"#, "wrong_type events[0]"),
            (r#""session":["s"]"#, "not_an_object session"),
            (r#""session":"s""#, "not_an_object session"),
            (r#""session":{"id":{}}"#, "wrong_type session.id"),
        ] {
            let body = format!(r#"{{"source":{{"id":"web"}},{rest}}}"#);
            assert_eq!(told(&body), expected, "{body}");
        }
        assert_eq!(told(r#"{"source":{}}"#), "member_missing source.id");
        assert_eq!(told("[]"), "wrong_type ");
        assert_eq!(told("{"), "json_invalid ");
    }

    #[test]
    fn the_query_goes_before_the_body() {
        let body = r#"{"source":{"id":"web"},"profile_less":true}"#;
        assert!(!read(body.as_bytes(), Some(false)).unwrap().request.profile_less);
        assert!(read(body.as_bytes(), None).unwrap().request.profile_less);
    }

    #[test]
    fn times_and_agent_are_found_where_the_tracker_puts_them() {
        let body = r#"{"source":{"id":"web"},
            "context":{"browser":{"local":{"browser":{"userAgent":"Agent/1"}}}},
            "events":[{"type":"a","time":{"create":"2026-01-31T09:30:00.250Z","insert":"2026-01-31T09:31:00Z"},
                       "context":{"page":{"url":"/shoes"}},"properties":{"a":1},"tags":["x"]}]}"#;
        let request = read(body.as_bytes(), None).unwrap().request;
        assert_eq!(request.user_agent.as_deref(), Some("Agent/1"));
        let event = &request.events[0];
        assert_eq!(event.time.unwrap().to_string(), "2026-01-31T09:30:00.250Z");
        assert_eq!(event.context.as_ref().unwrap().as_str(), r#"{"page":{"url":"/shoes"}}"#);
        assert_eq!(event.properties.as_ref().unwrap().as_str(), r#"{"a":1}"#);
    }
}
