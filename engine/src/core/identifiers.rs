//! The identifiers that an event brings: sent with it, or found in it by an identification point; normalised, and
//! in the order in which they are decided.
//!
//! Called when a request is prepared, on the caller's thread. What the libraries made of a value is recorded with the
//! decision, so that a newer library changes no history.

use super::decision::LinkCode;
use super::normalize::{JUNK, normalize};
use super::sources::{Namespace, Registry, Source};
use crate::ids::NamespaceNo;
use crate::limits::{EVENT_MAX_IDENTIFIERS, IDENTIFIER_MAX_BYTES};
use crate::request::{Event, TrackRequest};
use serde_json::Value;
use std::borrow::Cow;

/// One identifier of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandIdentifier {
    /// Name of its namespace.
    pub namespace: Box<str>,
    /// Its normalised value; as sent if there is a fault.
    pub value: Box<str>,
    /// Why it identifies nobody.
    pub fault: Option<LinkCode>,
    /// Whether somebody vouches for it.
    pub verified: bool,
    /// Number of its namespace, if that was looked up before the request queued.
    pub namespace_no: Option<NamespaceNo>,
}

/// What an event brings.
#[derive(Debug, Default)]
pub struct Brought {
    /// At most [`EVENT_MAX_IDENTIFIERS`]: unique namespaces first, each group by priority, then by name, then by value.
    pub identifiers: Vec<CommandIdentifier>,
    /// Whether identification points found more than were taken.
    pub beyond: bool,
}

/// The identifiers of an event: those that were sent with it, then those that identification points find, in the
/// order in which namespaces are decided. Of what points find, at most [`EVENT_MAX_IDENTIFIERS`] values are looked
/// at: a list may hold any number, and each one costs.
#[must_use]
pub fn identifiers_of(
    event: &Event,
    request: &TrackRequest,
    source: &Source,
    registry: &Registry,
) -> Brought {
    let mut brought = Brought::default();
    for (namespace, value) in &event.identifiers {
        add(&mut brought, registry, source, namespace, value, source.secret);
    }
    let mut looked_at = 0;
    for (namespace, path, verified) in points_by_rank(event, source, registry) {
        let values = values_at(event, request, path);
        let room = EVENT_MAX_IDENTIFIERS - looked_at;
        brought.beyond |= values.len() > room;
        for value in values.iter().take(room) {
            looked_at += 1;
            add(&mut brought, registry, source, namespace, value, verified);
        }
    }
    brought.identifiers.sort_by(|one, other| {
        let key = |of: &CommandIdentifier| rank(registry, &of.namespace);
        (key(one), &one.namespace, &one.value).cmp(&(key(other), &other.namespace, &other.value))
    });
    brought
}

/// Where the identifiers of an event of this type may stand: namespace, path, and whether somebody vouches for what
/// is there. What decides first is looked at first, so that a long list of addresses leaves room for the user id.
fn points_by_rank<'a>(
    event: &'a Event,
    source: &'a Source,
    registry: &'a Registry,
) -> Vec<(&'a str, &'a str, bool)> {
    let mut points: Vec<(&str, &str, bool)> = Vec::new();
    for point in registry.points_of(&event.event_type, &source.name) {
        let verified = source.secret || point.verified;
        points.extend(
            point.identifiers.iter().map(|(namespace, path)| (namespace.as_str(), path.as_str(), verified)),
        );
    }
    points.sort_by_key(|(namespace, ..)| rank(registry, namespace));
    points
}

/// The order in which namespaces are decided, but for their names.
fn rank(registry: &Registry, namespace: &str) -> (bool, u32) {
    registry.namespaces.get(namespace).map_or((true, u32::MAX), |of| (!of.unique, of.priority))
}

fn add(
    brought: &mut Brought,
    registry: &Registry,
    source: &Source,
    namespace: &str,
    raw: &str,
    verified: bool,
) {
    let identifier = identifier(registry, namespace, raw, source.default_country.as_deref(), verified);
    let has_room = brought.identifiers.len() < EVENT_MAX_IDENTIFIERS;
    let same = brought
        .identifiers
        .iter_mut()
        .find(|other| other.namespace == identifier.namespace && other.value == identifier.value);
    match same {
        Some(other) => other.verified |= verified,
        None if has_room => brought.identifiers.push(identifier),
        None => brought.beyond = true,
    }
}

/// One identifier, normalised.
#[must_use]
pub fn identifier(
    registry: &Registry,
    namespace: &str,
    raw: &str,
    default_country: Option<&str>,
    verified: bool,
) -> CommandIdentifier {
    let fault = |code| CommandIdentifier {
        namespace: namespace.into(),
        value: raw.into(),
        fault: Some(code),
        verified,
        namespace_no: None,
    };
    let Some(settings) = registry.namespaces.get(namespace) else {
        return fault(LinkCode::UnknownNamespace);
    };
    match normalize(settings.normalize, raw, default_country) {
        Ok(value) if is_blocked(settings, &value) => {
            CommandIdentifier { value: value.into(), ..fault(LinkCode::Blocked) }
        }
        Ok(value) => CommandIdentifier {
            namespace: namespace.into(),
            value: value.into(),
            fault: None,
            verified,
            namespace_no: None,
        },
        Err(code) if code == JUNK => fault(LinkCode::Junk),
        Err(_) => fault(LinkCode::Unlinkable),
    }
}

fn is_blocked(namespace: &Namespace, value: &str) -> bool {
    namespace.blocked.contains(value) || namespace.blocked_patterns.is_match(value)
}

/// The values at a path: a text or an integer is one, of a list each item, up to one more than are ever looked at.
fn values_at(event: &Event, request: &TrackRequest, path: &str) -> Vec<String> {
    let Some((member, rest)) = path.split_once('.') else { return Vec::new() };
    let within = |json: Option<&crate::json::Json>| {
        json.map(crate::json::Json::to_value).and_then(|value| value_at(&value, rest).map(Cow::into_owned))
    };
    let value = match member {
        "properties" => within(event.properties.as_ref()),
        "context" => within(event.context.as_ref()).or_else(|| within(request.context.as_ref())),
        "traits" => trait_at(event, rest),
        _ => None,
    };
    match value {
        Some(Value::Array(items)) => {
            items.iter().filter_map(text_of).take(EVENT_MAX_IDENTIFIERS + 1).collect()
        }
        Some(value) => text_of(&value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A name with a dot in it is taken before a path.
fn value_at<'a>(value: &'a Value, path: &str) -> Option<Cow<'a, Value>> {
    if let Some(found) = value.get(path) {
        return Some(Cow::Borrowed(found));
    }
    let (member, rest) = path.split_once('.')?;
    value_at(value.get(member)?, rest)
}

fn trait_at(event: &Event, path: &str) -> Option<Value> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    for list in [&event.traits.set, &event.traits.set_once] {
        if let Some((_, json)) = list.iter().find(|(of, _)| of == path) {
            return Some(json.to_value());
        }
        let found = list.iter().find(|(of, _)| of == name);
        if let (Some((_, json)), Some(rest)) = (found, rest) {
            return value_at(&json.to_value(), rest).map(Cow::into_owned);
        }
    }
    None
}

/// Values beyond the bound of what is sent identify nobody; they are cut, and refused as unlinkable.
fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        // As where it is sent: what has a fraction, or lost its last digits, is nobody's number.
        Value::Number(number) if !number.is_f64() => number.to_string(),
        _ => return None,
    };
    if text.len() <= IDENTIFIER_MAX_BYTES {
        return Some(text);
    }
    let mut end = IDENTIFIER_MAX_BYTES + 1;
    while !text.is_char_boundary(end) {
        end += 1;
    }
    text.get(..end).map(ToOwned::to_owned)
}
