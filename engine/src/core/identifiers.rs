//! The identifiers that an event brings: sent with it, or found in it by an identification point; normalised, and
//! in the order in which they are decided.
//!
//! Called when a request is prepared, on the caller's thread. What the libraries made of a value is recorded with the
//! decision, so that a newer library changes no history.

use super::decision::LinkCode;
use super::normalize::{JUNK, normalize};
use super::sources::{Namespace, Registry, Source};
use crate::ids::NamespaceNo;
use crate::limits::IDENTIFIER_MAX_BYTES;
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

/// The identifiers of an event: unique namespaces first, each group by priority, then by name, then by value.
#[must_use]
pub fn identifiers_of(
    event: &Event,
    request: &TrackRequest,
    source: &Source,
    registry: &Registry,
) -> Vec<CommandIdentifier> {
    let mut found: Vec<CommandIdentifier> = Vec::new();
    for (namespace, value) in &event.identifiers {
        add(&mut found, registry, source, namespace, value, source.secret);
    }
    for point in registry.points_of(&event.event_type, &source.name) {
        for (namespace, path) in &point.identifiers {
            for value in values_at(event, request, path) {
                add(&mut found, registry, source, namespace, &value, source.secret || point.verified);
            }
        }
    }
    let rank = |of: &CommandIdentifier| match registry.namespaces.get(&*of.namespace) {
        Some(namespace) => (!namespace.unique, namespace.priority),
        None => (true, u32::MAX),
    };
    found.sort_by(|one, other| {
        (rank(one), &one.namespace, &one.value).cmp(&(rank(other), &other.namespace, &other.value))
    });
    found
}

fn add(
    found: &mut Vec<CommandIdentifier>,
    registry: &Registry,
    source: &Source,
    namespace: &str,
    raw: &str,
    verified: bool,
) {
    let identifier = identifier(registry, namespace, raw, source.default_country.as_deref(), verified);
    let same = found
        .iter_mut()
        .find(|other| other.namespace == identifier.namespace && other.value == identifier.value);
    match same {
        Some(other) => other.verified |= verified,
        None => found.push(identifier),
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

/// The values at a path: a text or a number is one, of a list each item.
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
        Some(Value::Array(items)) => items.iter().filter_map(text_of).collect(),
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
        Value::Number(number) => number.to_string(),
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
