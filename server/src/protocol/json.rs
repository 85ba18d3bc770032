//! Tracking requests from JSON: bytes in, [`TrackRequest`] out.
//!
//! This file owns what the members are called and of what type they are. How long an id may be, whether
//! a source exists and everything else that needs no JSON to be said is the engine's to check. Called by
//! the HTTP routes and by `spoor import`.
//!
//! The rules for all of it: unknown members are ignored, though they must be sound; `null` is the same as
//! absent; no key stands twice in one object; no number is beyond 64 bits. Reading is total: whatever the
//! bytes, the answer is a request or a [`Rejection`].

use super::walk::{AnyJson, Flag, IdentifierValue, JsonObject, Seen, Text, TextList, Time, Walk, reader};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use spoor::limits::ARRAY_MAX_REQUESTS;
use spoor::{Consent, Event, Json, Origin, Rejection, TrackRequest, TraitOperations};
use std::fmt;

/// What a body holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// One request.
    One(Box<TrackRequest>),
    /// An array of requests; one that cannot be read does not keep the others from being stored.
    Many(Vec<Result<TrackRequest, Rejection>>),
}

/// Reads a body: one request, or an array of at most [`ARRAY_MAX_REQUESTS`].
///
/// # Errors
/// [`Rejection`] if nothing in it can be accepted: it is not UTF-8 or not JSON, it is one request that
/// breaks a rule, or the array is too long.
pub fn read(bytes: &[u8]) -> Result<Body, Rejection> {
    let text = utf8(bytes)?;
    if !text.trim_start().starts_with('[') {
        return Ok(Body::One(Box::new(read_request(text)?)));
    }
    // Nearly always every item is sound, and one pass does. Only where one is not are they taken apart first.
    let sound = read_with(text, |walk, text| Requests(walk).deserialize(text));
    match sound {
        Ok(requests) => Ok(Body::Many(requests.into_iter().map(Ok).collect())),
        Err(rejection) if rejection.code == ARRAY_TOO_LONG => Err(rejection),
        Err(_) => Ok(Body::Many(split(text)?.into_iter().map(read_request).collect())),
    }
}

/// The text of a body.
///
/// # Errors
/// `utf8_invalid`.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Rejection> {
    std::str::from_utf8(bytes).map_err(|error| Rejection {
        code: "utf8_invalid",
        message: format!("the text is not UTF-8: byte {} begins no character", error.valid_up_to()),
        field: None,
    })
}

/// The items of a JSON array as text, without a look inside.
///
/// # Errors
/// [`Rejection`] if it is not an array, its syntax is broken, or it is too long.
pub fn split(text: &str) -> Result<Vec<&str>, Rejection> {
    read_with(text, |walk, text| RawItems(walk).deserialize(text))
}

const ARRAY_TOO_LONG: &str = "array_too_long";

type JsonText<'a, 't> = &'a mut serde_json::Deserializer<serde_json::de::StrRead<'t>>;

fn read_request(text: &str) -> Result<TrackRequest, Rejection> {
    read_with(text, |walk, text| RequestReader(walk).deserialize(text))
}

/// Reads all of `text`.
pub(super) fn read_with<'t, T, F>(text: &'t str, read: F) -> Result<T, Rejection>
where
    F: FnOnce(&Walk, JsonText<'_, 't>) -> serde_json::Result<T>,
{
    let walk = Walk::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    read(&walk, &mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| walk.rejection(&error))
}

reader! {
    /// An array of requests, all of them sound.
    Requests -> Vec<TrackRequest>, "an array of requests", {
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut requests = Vec::new();
            while let Some(request) = items.next_element_seed(RequestReader(self.0))? {
                if requests.len() == ARRAY_MAX_REQUESTS {
                    return Err(array_too_long(self.0, items));
                }
                requests.push(request);
            }
            Ok(requests)
        }
    }
}

reader! {
    /// An array of anything.
    RawItems -> Vec<&'de str>, "an array of requests", {
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::new();
            while let Some(raw) = items.next_element::<&RawValue>()? {
                if texts.len() == ARRAY_MAX_REQUESTS {
                    return Err(array_too_long(self.0, items));
                }
                texts.push(raw.get());
            }
            Ok(texts)
        }
    }
}

/// Reads the rest, so that broken syntax is named before length.
fn array_too_long<'de, A: SeqAccess<'de>>(walk: &Walk, mut items: A) -> A::Error {
    loop {
        match items.next_element::<IgnoredAny>() {
            Ok(Some(_)) => {}
            Ok(None) => {
                let message = format!("at most {ARRAY_MAX_REQUESTS} requests are accepted in one array");
                return walk.fail(ARRAY_TOO_LONG, message);
            }
            Err(error) => return error,
        }
    }
}

reader! {
    /// One request. Not `null`: there must be something to answer.
    RequestReader -> TrackRequest, "a request (an object)", {
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let Self(walk) = self;
            let mut request = TrackRequest::default();
            let mut seen = Seen::default();
            while let Some(name) = seen.next(walk, &mut members)? {
                match &*name {
                    "source" => request.source = walk.member(&mut members, &name, Text(walk))?,
                    "session" => request.session = walk.member(&mut members, &name, Text(walk))?,
                    "profile" => request.profile = walk.member(&mut members, &name, Text(walk))?,
                    "sent_at" => request.sent_at = walk.member(&mut members, &name, Time(walk))?,
                    "context" => request.context = walk.member(&mut members, &name, JsonObject(walk))?,
                    "library" => {
                        let library = walk.member(&mut members, &name, Flag(walk))?;
                        request.origin = if library { Origin::Library } else { Origin::Live };
                    }
                    "profile_less" => request.profile_less = walk.member(&mut members, &name, Flag(walk))?,
                    "events" => request.events = walk.member(&mut members, &name, Events(walk))?,
                    _ => drop(walk.member(&mut members, &name, AnyJson(walk))?),
                }
            }
            request.user_agent = request.context.as_ref().and_then(user_agent);
            Ok(request)
        }
    }
}

reader! {
    Events -> Vec<Event>, "a list of events", null Vec::new(), {
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut events = Vec::new();
            while let Some(event) = self.0.item(&mut items, events.len(), EventReader(self.0))? {
                events.push(event);
            }
            Ok(events)
        }
    }
}

reader! {
    /// One event. Without a type the text is empty, which the engine refuses by name.
    EventReader -> Event, "an event (an object)", {
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let Self(walk) = self;
            let mut event = Event::default();
            let mut seen = Seen::default();
            while let Some(name) = seen.next(walk, &mut members)? {
                match &*name {
                    "id" => event.id = walk.member(&mut members, &name, Text(walk))?,
                    "type" => {
                        event.event_type = walk.member(&mut members, &name, Text(walk))?.unwrap_or_default();
                    }
                    "time" => event.time = walk.member(&mut members, &name, Time(walk))?,
                    "properties" => event.properties = walk.member(&mut members, &name, JsonObject(walk))?,
                    "context" => event.context = walk.member(&mut members, &name, JsonObject(walk))?,
                    "identifiers" => event.identifiers = walk.member(&mut members, &name, Identifiers(walk))?,
                    "traits" => event.traits = walk.member(&mut members, &name, Traits(walk))?,
                    "consents" => event.consents = walk.member(&mut members, &name, Consents(walk))?,
                    _ => drop(walk.member(&mut members, &name, AnyJson(walk))?),
                }
            }
            Ok(event)
        }
    }
}

reader! {
    Identifiers -> Vec<(String, String)>, "an object of identifiers", null Vec::new(), {
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut identifiers = Vec::new();
            let mut seen = Seen::default();
            while let Some(namespace) = seen.next(self.0, &mut members)? {
                if let Some(value) = self.0.member(&mut members, &namespace, IdentifierValue(self.0))? {
                    identifiers.push((namespace.into_owned(), value));
                }
            }
            Ok(identifiers)
        }
    }
}

reader! {
    Traits -> TraitOperations, "an object of operations on traits", null TraitOperations::default(), {
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let Self(walk) = self;
            let mut traits = TraitOperations::default();
            let mut seen = Seen::default();
            while let Some(name) = seen.next(walk, &mut members)? {
                match &*name {
                    "set" => traits.set = walk.member(&mut members, &name, TraitValues(walk))?,
                    "set_once" => traits.set_once = walk.member(&mut members, &name, TraitValues(walk))?,
                    "unset" => traits.unset = walk.member(&mut members, &name, TextList(walk))?,
                    "add" => traits.add = walk.member(&mut members, &name, TraitValues(walk))?,
                    "append" => traits.append = walk.member(&mut members, &name, TraitValues(walk))?,
                    "remove" => traits.remove = walk.member(&mut members, &name, TraitValues(walk))?,
                    _ => drop(walk.member(&mut members, &name, AnyJson(walk))?),
                }
            }
            Ok(traits)
        }
    }
}

reader! {
    /// Name and value; a `null` is kept, since `set` takes it for the removal that it is.
    TraitValues -> Vec<(String, Json)>, "an object of traits", null Vec::new(), {
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut values = Vec::new();
            let mut seen = Seen::default();
            while let Some(name) = seen.next(self.0, &mut members)? {
                let value = self.0.member(&mut members, &name, AnyJson(self.0))?;
                values.push((name.into_owned(), value));
            }
            Ok(values)
        }
    }
}

reader! {
    Consents -> Vec<(String, Consent)>, "an object of consents", null Vec::new(), {
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut consents = Vec::new();
            let mut seen = Seen::default();
            while let Some(purpose) = seen.next(self.0, &mut members)? {
                if let Some(answer) = self.0.member(&mut members, &purpose, Answer(self.0))? {
                    consents.push((purpose.into_owned(), answer));
                }
            }
            Ok(consents)
        }
    }
}

reader! {
    Answer -> Option<Consent>, "\"granted\" or \"refused\"", null None, {
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            match text {
                "granted" => Ok(Some(Consent::Granted)),
                "refused" => Ok(Some(Consent::Refused)),
                _ => Err(self.0.fail("consent_invalid", "a consent is \"granted\" or \"refused\"")),
            }
        }
    }
}

/// The user agent that a context names. Contexts are free: one of another type is not our business.
pub(super) fn user_agent(context: &Json) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Names {
        user_agent: Option<serde_json::Value>,
        #[serde(rename = "userAgent")]
        camel: Option<serde_json::Value>,
    }
    // A look at the text keeps nearly all contexts from being read once more.
    if !context.as_str().contains("user_agent") && !context.as_str().contains("userAgent") {
        return None;
    }
    let names: Names = serde_json::from_str(context.as_str()).ok()?;
    [names.user_agent, names.camel].into_iter().flatten().find_map(|value| match value {
        serde_json::Value::String(text) if !text.trim().is_empty() => Some(text),
        _ => None,
    })
}
