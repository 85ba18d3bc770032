//! One request from its compact form: the payload of a frame in, [`TrackRequest`] out.
//!
//! This file owns the numbers of the fields. Fields that it does not know are passed over, as unknown members of JSON
//! are; a member that stands twice is refused, as a key that does is. Texts are copied once, into the request that the
//! engine keeps.

use super::super::json::user_agent;
use super::super::walk::{Seen, without_position};
use super::wire::{Field, Fields, Once, Read, Within, fault};
use spoor::limits::{
    EVENT_MAX_CONSENTS, EVENT_MAX_IDENTIFIERS, EVENT_MAX_TRAIT_OPERATIONS, REQUEST_MAX_EVENTS,
};
use spoor::{Consent, Event, Json, Rejection, Timestamp, TrackRequest, TraitOperations};
use std::borrow::Cow;

/// Reads one request.
///
/// # Errors
/// [`Rejection`] with the code that JSON has for the same fault, or `binary_invalid`.
pub fn request(payload: &[u8]) -> Result<TrackRequest, Rejection> {
    Ok(read_request(payload)?)
}

fn read_request(payload: &[u8]) -> Read<TrackRequest> {
    let mut request = TrackRequest::default();
    let mut once = Once::default();
    let mut fields = Fields::of(payload);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => request.source = Some(text(&field, &mut once, 1, "source")?),
            2 | 3 => request.session = Some(id(&field, &mut once, 2, "session")?),
            4 | 5 => request.profile = Some(id(&field, &mut once, 4, "profile")?),
            6 => request.sent_at = Some(time(&field, &mut once, 6, "sent_at")?),
            7 => request.context = object(&field, &mut once, 7, "context")?,
            8 => {
                once.mark(8, "profile_less")?;
                request.profile_less = field.number_value().within("profile_less")? != 0;
            }
            9 => {
                let index = request.events.len();
                bounded(index, REQUEST_MAX_EVENTS, "too_many_events").within("events")?;
                request.events.push(event(&field).within_item("events", index)?);
            }
            _ => {}
        }
    }
    request.user_agent = request.context.as_ref().and_then(user_agent);
    Ok(request)
}

/// Without a type the text is empty, which the engine refuses by name.
fn event(field: &Field<'_>) -> Read<Event> {
    let mut event = Event::default();
    let mut once = Once::default();
    let mut identifiers = Seen::default();
    let mut purposes = Seen::default();
    let mut fields = Fields::of(field.bytes()?);
    while let Some(field) = fields.next()? {
        match field.number {
            1 | 2 => event.id = Some(id(&field, &mut once, 1, "id")?),
            3 => event.event_type = text(&field, &mut once, 3, "type")?,
            4 => event.time = Some(time(&field, &mut once, 4, "time")?),
            5 => event.properties = object(&field, &mut once, 5, "properties")?,
            6 => event.context = object(&field, &mut once, 6, "context")?,
            7 => {
                bounded(event.identifiers.len(), EVENT_MAX_IDENTIFIERS, "too_many_identifiers")
                    .within("identifiers")?;
                event.identifiers.push(identifier(&field, &mut identifiers).within("identifiers")?);
            }
            8 => {
                once.mark(8, "traits")?;
                event.traits = traits(&field).within("traits")?;
            }
            9 => {
                bounded(event.consents.len(), EVENT_MAX_CONSENTS, "too_many_consents").within("consents")?;
                event.consents.push(consent(&field, &mut purposes).within("consents")?);
            }
            _ => {}
        }
    }
    Ok(event)
}

/// Refused here already, and not only by the engine, so that a few bytes cannot ask for much memory.
fn bounded(count: usize, most: usize, code: &'static str) -> Read<()> {
    if count < most { Ok(()) } else { fault(code, format!("at most {most}")) }
}

fn identifier<'a>(field: &Field<'a>, seen: &mut Seen<'a>) -> Read<(String, String)> {
    let (namespace, value) = entry(field, seen)?;
    let value = value.map_or(Ok(""), |value| value.text()).within(namespace)?;
    Ok((namespace.to_owned(), value.to_owned()))
}

fn consent<'a>(field: &Field<'a>, seen: &mut Seen<'a>) -> Read<(String, Consent)> {
    let (purpose, answer) = entry(field, seen)?;
    let answer = answer.map_or(Ok(0), |answer| answer.number_value()).within(purpose)?;
    let answer = match answer {
        1 => Consent::Granted,
        2 => Consent::Refused,
        _ => return fault("consent_invalid", "a consent is 1 (granted) or 2 (refused)").within(purpose),
    };
    Ok((purpose.to_owned(), answer))
}

/// A name, and the field of what stands under it.
fn entry<'a>(field: &Field<'a>, seen: &mut Seen<'a>) -> Read<(&'a str, Option<Field<'a>>)> {
    let mut name = "";
    let mut value = None;
    let mut once = Once::default();
    let mut fields = Fields::of(field.bytes()?);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => {
                once.mark(1, "name")?;
                name = field.text()?;
            }
            2 => {
                once.mark(2, "value")?;
                value = Some(field);
            }
            _ => {}
        }
    }
    if !seen.add(Cow::Borrowed(name)) {
        return fault("json_duplicate_key", "this key stands twice in one object").within(name);
    }
    Ok((name, value))
}

/// The operations in the order of their fields, 1 to 6; `unset` is 3.
const OPERATIONS: [&str; 6] = ["set", "set_once", "unset", "add", "append", "remove"];

fn traits(field: &Field<'_>) -> Read<TraitOperations> {
    let mut traits = TraitOperations::default();
    let mut seen: [Seen<'_>; OPERATIONS.len()] = Default::default();
    let mut count = 0;
    let mut fields = Fields::of(field.bytes()?);
    while let Some(field) = fields.next()? {
        let index = usize::try_from(field.number).ok().and_then(|number| number.checked_sub(1));
        let Some(index) = index else { continue };
        let (Some(name), Some(seen)) = (OPERATIONS.get(index), seen.get_mut(index)) else { continue };
        bounded(count, EVENT_MAX_TRAIT_OPERATIONS, "too_many_traits")?;
        count += 1;
        let list = match *name {
            "set" => &mut traits.set,
            "set_once" => &mut traits.set_once,
            "add" => &mut traits.add,
            "append" => &mut traits.append,
            "remove" => &mut traits.remove,
            _ => {
                let index = traits.unset.len();
                traits.unset.push(field.text().within_item(name, index)?.to_owned());
                continue;
            }
        };
        list.push(trait_value(&field, seen).within(name)?);
    }
    Ok(traits)
}

fn trait_value<'a>(field: &Field<'a>, seen: &mut Seen<'a>) -> Read<(String, Json)> {
    let (name, value) = entry(field, seen)?;
    let value = match value {
        Some(value) => json(&value).within(name)?,
        None => return fault("json_invalid", "a trait without a value").within(name),
    };
    Ok((name.to_owned(), value))
}

fn text(field: &Field<'_>, once: &mut Once, number: u32, name: &str) -> Read<String> {
    once.mark(number, name)?;
    Ok(field.text().within(name)?.to_owned())
}

/// An id: text in the field `number`, a UUID in the one after it.
fn id(field: &Field<'_>, once: &mut Once, number: u32, name: &str) -> Read<String> {
    once.mark(number, name)?;
    if field.number == u64::from(number) {
        return Ok(field.text().within(name)?.to_owned());
    }
    field.uuid().within(name)
}

/// The latest time that JSON can say, the last of the year 9999, in microseconds.
const TIME_MAX_US: i64 = spoor::limits::TIME_MAX_MS * 1_000 + 999;

fn time(field: &Field<'_>, once: &mut Once, number: u32, name: &str) -> Read<Timestamp> {
    once.mark(number, name)?;
    let micros = field.number_value().within(name)?;
    match i64::try_from(micros) {
        Ok(micros) if micros <= TIME_MAX_US => Ok(Timestamp(micros)),
        _ => {
            fault("time_invalid", "not a time: microseconds between 1970 and 9999 are expected").within(name)
        }
    }
}

/// JSON text, checked as the JSON reader checks it.
fn json(field: &Field<'_>) -> Read<Json> {
    Json::parse(field.text()?).or_else(|wrong| fault(wrong.code, without_position(&wrong.message)))
}

fn object(field: &Field<'_>, once: &mut Once, number: u32, name: &str) -> Read<Option<Json>> {
    once.mark(number, name)?;
    match json(field).within(name)? {
        json if json.is_null() => Ok(None),
        json if json.is_object() => Ok(Some(json)),
        _ => fault("not_an_object", "must be a JSON object").within(name),
    }
}
