//! What a request must keep to before anything of it is written.

use spoor::limits::{
    EVENT_MAX_CONSENTS, EVENT_MAX_IDENTIFIERS, EVENT_MAX_TRAIT_OPERATIONS, ID_MAX_BYTES,
    IDENTIFIER_MAX_BYTES, NAME_MAX_BYTES, REQUEST_MAX_EVENTS, TRAIT_VALUE_MAX_BYTES,
};
use spoor::settings::DEFAULT_SOURCE;
use spoor::{Event, Json, Rejection, Settings, TrackRequest};

fn no(code: &'static str, field: impl Into<String>) -> Rejection {
    Rejection::new(code, field, "the model says no")
}

/// The request with its ids trimmed and its source named, or what is wrong with it.
pub(super) fn accept(settings: &Settings, request: &TrackRequest) -> Result<TrackRequest, Rejection> {
    let source = request.source.clone().unwrap_or_else(|| DEFAULT_SOURCE.to_owned());
    if !settings.sources.contains_key(&source) {
        return Err(no("unknown_source", "source"));
    }
    let session = id(request.session.as_deref(), "session")?;
    let profile = id(request.profile.as_deref(), "profile")?;
    object(request.context.as_ref(), "context")?;
    if request.events.len() > REQUEST_MAX_EVENTS {
        return Err(no("too_many_events", "events"));
    }
    let mut events = Vec::new();
    for (position, sent) in request.events.iter().enumerate() {
        events.push(event(sent, &format!("events[{position}]"))?);
    }
    Ok(TrackRequest { source: Some(source), session, profile, events, ..request.clone() })
}

fn id(sent: Option<&str>, field: &str) -> Result<Option<String>, Rejection> {
    match sent.map(str::trim) {
        Some("") => Err(no("id_empty", field)),
        Some(id) if id.len() > ID_MAX_BYTES => Err(no("id_too_long", field)),
        other => Ok(other.map(str::to_owned)),
    }
}

fn object(sent: Option<&Json>, field: &str) -> Result<(), Rejection> {
    match sent {
        Some(json) if !json.is_object() => Err(no("not_an_object", field)),
        _ => Ok(()),
    }
}

fn event(sent: &Event, field: &str) -> Result<Event, Rejection> {
    let id = id(sent.id.as_deref(), &format!("{field}.id"))?;
    let event_type = sent.event_type.trim().to_owned();
    if event_type.is_empty() {
        return Err(no("type_empty", format!("{field}.type")));
    }
    if event_type.len() > NAME_MAX_BYTES {
        return Err(no("name_too_long", format!("{field}.type")));
    }
    object(sent.properties.as_ref(), &format!("{field}.properties"))?;
    object(sent.context.as_ref(), &format!("{field}.context"))?;
    if sent.identifiers.len() > EVENT_MAX_IDENTIFIERS {
        return Err(no("too_many_identifiers", format!("{field}.identifiers")));
    }
    for (namespace, value) in &sent.identifiers {
        let twin = |(other, _): &(String, String)| other != namespace && other.trim() == namespace.trim();
        if sent.identifiers.iter().any(twin) {
            return Err(no("name_repeated", format!("{field}.identifiers")));
        }
        if value.len() > IDENTIFIER_MAX_BYTES {
            return Err(no("value_too_long", format!("{field}.identifiers.{namespace}")));
        }
    }
    once(&sent.consents, &format!("{field}.consents"))?;
    traits(sent, field)?;
    if sent.consents.len() > EVENT_MAX_CONSENTS {
        return Err(no("too_many_consents", format!("{field}.consents")));
    }
    Ok(Event { id, event_type, ..sent.clone() })
}

/// Refuses a list in which a name stands twice.
fn once<T>(list: &[(String, T)], field: &str) -> Result<(), Rejection> {
    for (place, (name, _)) in list.iter().enumerate() {
        if list[..place].iter().any(|(other, _)| other.trim() == name.trim()) {
            return Err(no("name_repeated", field));
        }
    }
    Ok(())
}

fn traits(sent: &Event, field: &str) -> Result<(), Rejection> {
    let traits = &sent.traits;
    let valued = [
        ("set", &traits.set),
        ("set_once", &traits.set_once),
        ("add", &traits.add),
        ("append", &traits.append),
        ("remove", &traits.remove),
    ];
    let count = traits.unset.len() + valued.iter().map(|(_, list)| list.len()).sum::<usize>();
    if count > EVENT_MAX_TRAIT_OPERATIONS {
        return Err(no("too_many_traits", format!("{field}.traits")));
    }
    for (operation, list) in valued {
        once(list, &format!("{field}.traits.{operation}"))?;
        for (name, value) in list {
            if value.as_str().len() > TRAIT_VALUE_MAX_BYTES {
                return Err(no("value_too_long", format!("{field}.traits.{operation}.{name}")));
            }
        }
    }
    Ok(())
}
