//! The identifiers that an event brings, read and put in order.

use super::{Identifier, Model};
use regex::Regex;
use serde_json::Value;
use spoor::core::normalize::normalize;
use spoor::limits::EVENT_MAX_IDENTIFIERS;
use spoor::settings::{IdentificationPoint, Keys, Merges, NamespaceSettings};
use spoor::{Event, Json, TrackRequest};

/// An identifier as an event brought it.
#[derive(Debug, Clone)]
pub(super) struct Brought {
    pub(super) namespace: String,
    /// As sent.
    pub(super) raw: String,
    /// Normalised, or why it identifies nobody.
    pub(super) identifier: Result<Identifier, &'static str>,
    pub(super) verified: bool,
    /// Why its link may not join, if it may not.
    pub(super) attach_only: Option<&'static str>,
}

impl Brought {
    /// How an answer names it.
    pub(super) fn shown(&self) -> String {
        match &self.identifier {
            Ok(identifier) => identifier.to_string(),
            Err(_) => format!("{}:{}", self.namespace, self.raw),
        }
    }
}

impl Model {
    /// What an event brings, each identifier once, in the order in which they are decided.
    pub(super) fn brought(&self, request: &TrackRequest, event: &Event) -> Vec<Brought> {
        self.brought_of_all(request, event).0
    }

    /// Whether an event's identification points find more than an event may bring.
    pub(super) fn brings_too_many(&self, request: &TrackRequest, event: &Event) -> bool {
        self.brought_of_all(request, event).1
    }

    /// What an event brings, and whether it would bring more.
    fn brought_of_all(&self, request: &TrackRequest, event: &Event) -> (Vec<Brought>, bool) {
        let source_name = request.source.as_deref().unwrap_or_default();
        let source = self.source(source_name);
        let vouched = source.keys == Keys::Secret;
        let mut said: Vec<(String, String, bool)> = event
            .identifiers
            .iter()
            .map(|(namespace, value)| (namespace.clone(), value.clone(), vouched))
            .collect();
        let mut found: Vec<(String, String, bool)> = Vec::new();
        for point in &self.settings.identification {
            if matches(&point.event, &event.event_type) && matches(&point.source, source_name) {
                found.extend(at_point(point, request, event, vouched));
            }
        }
        found.sort_by_key(|(namespace, ..)| self.rank(namespace));
        let mut too_many = found.len() > EVENT_MAX_IDENTIFIERS;
        found.truncate(EVENT_MAX_IDENTIFIERS);
        said.extend(found);
        let country = source.default_country.as_deref();
        let mut all: Vec<Brought> = Vec::new();
        for (namespace, raw, verified) in said {
            let identifier = self.read(&namespace, &raw, country);
            let same = |known: &&mut Brought| match (&known.identifier, &identifier) {
                (Ok(known), Ok(new)) => known == new,
                (Err(_), Err(_)) => known.namespace == namespace && known.raw == raw,
                _ => false,
            };
            match all.iter_mut().find(same) {
                Some(known) => known.verified |= verified,
                None => all.push(Brought { namespace, raw, identifier, verified, attach_only: None }),
            }
        }
        too_many |= all.len() > EVENT_MAX_IDENTIFIERS;
        all.truncate(EVENT_MAX_IDENTIFIERS);
        for brought in &mut all {
            brought.attach_only = self.attach_only(&brought.namespace, source.merges, brought.verified);
        }
        all.sort_by_key(|brought| {
            let value = match &brought.identifier {
                Ok(identifier) => identifier.value.clone(),
                Err(_) => brought.raw.clone(),
            };
            (self.rank(&brought.namespace), brought.namespace.clone(), value)
        });
        (all, too_many)
    }

    /// What is decided first has the lower one.
    fn rank(&self, namespace: &str) -> (bool, u32) {
        let settings = self.settings.identifiers.get(namespace);
        settings.map_or((true, u32::MAX), |settings| (!settings.unique, settings.priority))
    }

    /// The identifier that a value is, or why it identifies nobody.
    pub(super) fn read(
        &self,
        namespace: &str,
        raw: &str,
        country: Option<&str>,
    ) -> Result<Identifier, &'static str> {
        let Some(settings) = self.settings.identifiers.get(namespace) else {
            return Err("unknown_namespace");
        };
        let value = normalize(settings.normalize, raw, country)?;
        Ok(Identifier { namespace: namespace.to_owned(), value })
    }

    /// Whether the settings, or an act, say that an identifier identifies nobody.
    pub(super) fn is_blocked(&self, identifier: &Identifier) -> bool {
        self.blocked.iter().any(|row| row.identifier == *identifier)
            || self.is_blocked_by_settings(identifier)
    }

    /// Whether the settings say that it identifies nobody.
    pub(super) fn is_blocked_by_settings(&self, identifier: &Identifier) -> bool {
        let by_settings = |settings: &NamespaceSettings| {
            let same = |raw: &String| {
                normalize(settings.normalize, raw, None).is_ok_and(|blocked| blocked == identifier.value)
            };
            let matches = |pattern: &String| {
                Regex::new(pattern).expect("a pattern that the settings took").is_match(&identifier.value)
            };
            settings.blocked.iter().any(same) || settings.blocked_patterns.iter().any(matches)
        };
        self.settings.identifiers.get(&identifier.namespace).is_some_and(by_settings)
    }

    /// Why a link may not join, if it may not.
    pub(super) fn attach_only(
        &self,
        namespace: &str,
        source: Merges,
        verified: bool,
    ) -> Option<&'static str> {
        let of_namespace = self.settings.identifiers.get(namespace).map_or(Merges::Always, |set| set.merges);
        let either = |wanted: Merges| of_namespace == wanted || source == wanted;
        if either(Merges::Never) {
            Some("attach_only")
        } else if either(Merges::Verified) && !verified {
            Some("unverified")
        } else {
            None
        }
    }
}

fn matches(wanted: &str, name: &str) -> bool {
    wanted == "*" || wanted == name
}

fn at_point(
    point: &IdentificationPoint,
    request: &TrackRequest,
    event: &Event,
    vouched: bool,
) -> Vec<(String, String, bool)> {
    let mut said = Vec::new();
    for (namespace, path) in &point.identifiers {
        let Some((root, path)) = path.split_once('.') else { continue };
        let found = match root {
            "properties" => member(event.properties.as_ref(), path),
            "context" => {
                member(event.context.as_ref(), path).or_else(|| member(request.context.as_ref(), path))
            }
            "traits" => trait_at(&event.traits.set, path).or_else(|| trait_at(&event.traits.set_once, path)),
            _ => None,
        };
        let values = match found {
            Some(Value::Array(items)) => items,
            Some(value) => vec![value],
            None => Vec::new(),
        };
        for value in values {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) if !number.is_f64() => number.to_string(),
                _ => continue,
            };
            said.push((namespace.clone(), text, vouched || point.verified));
        }
    }
    said
}

fn member(json: Option<&Json>, path: &str) -> Option<Value> {
    let mut value = &json?.to_value();
    for name in path.split('.') {
        value = value.get(name)?;
    }
    (!value.is_null()).then(|| value.clone())
}

fn trait_at(operations: &[(String, Json)], path: &str) -> Option<Value> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let (_, json) = operations.iter().find(|(known, _)| known.trim() == name)?;
    match rest {
        Some(rest) => member(Some(json), rest),
        None => Some(json.to_value()).filter(|value| !value.is_null()),
    }
}
