//! Checks a request and parses what decisions need of it, once, on the caller's thread.
//!
//! The request itself is kept as it came, but for blanks around ids; it is what the log stores.

use super::agents::Agents;
use super::decimal::Decimal;
use super::identifiers::{CommandIdentifier, identifiers_of};
use super::names::KnownNames;
use super::page::page_facts;
use super::sources::{Registry, Source};
use super::traits::{TraitOperation, without_nul};
use crate::error::Rejection;
use crate::json::Json;
use crate::limits::{
    EVENT_MAX_CONSENTS, EVENT_MAX_IDENTIFIERS, EVENT_MAX_TRAIT_OPERATIONS, ID_MAX_BYTES,
    IDENTIFIER_MAX_BYTES, NAME_MAX_BYTES, REQUEST_MAX_EVENTS, TRAIT_VALUE_MAX_BYTES,
};
use crate::request::{Event, TrackRequest};
use crate::settings::TraitKind;
use std::sync::Arc;

/// A request that is sound.
#[derive(Debug)]
pub struct Command {
    /// As received, ids trimmed.
    pub request: TrackRequest,
    /// Its source.
    pub source: Arc<Source>,
    /// Its user agent, parsed: device class, operating system and browser, parted by line feeds.
    pub agent: Option<Arc<str>>,
    /// What decisions need of each event.
    pub events: Vec<CommandEvent>,
    /// Numbers that were looked up before the request queued.
    pub names: KnownNames,
    /// Its bytes for the record, once it queues. They come back with the answer, so that the thread that asked
    /// for their memory frees it: memory that changes threads costs both.
    pub encoded: Vec<u8>,
}

impl Command {
    /// What stands for a request where a person acts: no events, and a source of its own.
    #[must_use]
    pub fn of_an_act() -> Self {
        let request = TrackRequest::default();
        let source = Arc::new(Source::of_an_act());
        Self {
            request,
            source,
            agent: None,
            events: Vec::new(),
            names: KnownNames::default(),
            encoded: Vec::new(),
        }
    }
}

/// What decisions need of an event, beside the event itself.
#[derive(Debug)]
pub struct CommandEvent {
    /// Hash of its id.
    pub id_hash: u64,
    /// Its trait operations in the order of their effect, each with its path.
    pub traits: Vec<CommandTrait>,
    /// Value, if it is a conversion that has one.
    pub value: Option<Decimal>,
    /// Its identifiers, in the order in which they are decided.
    pub identifiers: Vec<CommandIdentifier>,
    /// Whether identification points found more of them than an event may bring.
    pub identifiers_beyond: bool,
    /// In a `server` source, the identifier that names the device: namespace and normalised value.
    pub device_key: Option<(Box<str>, Box<str>)>,
}

/// One trait operation.
#[derive(Debug)]
pub struct CommandTrait {
    /// Trait.
    pub name: Box<str>,
    /// The member it stood in, such as `set`.
    pub member: &'static str,
    /// The operation; `Err` is the code with which it is refused.
    pub operation: Result<TraitOperation, &'static str>,
}

impl CommandTrait {
    /// The kind of trait that the operation is for.
    #[must_use]
    pub fn kind(&self) -> TraitKind {
        match self.member {
            "add" => TraitKind::Counter,
            "append" | "remove" => TraitKind::Collection,
            _ => TraitKind::Value,
        }
    }
}

/// Hash of an event id, the same in every store.
#[must_use]
pub fn id_hash(id: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(id.as_bytes())
}

/// Checks `request`. An event without an id gets one that `draw_id` draws.
///
/// # Errors
/// A [`Rejection`] that names the member at fault.
pub fn prepare(
    mut request: TrackRequest,
    registry: &Registry,
    agents: &Agents,
    draw_id: &mut dyn FnMut() -> uuid::Uuid,
) -> Result<Command, Rejection> {
    let source = registry.source_of(&request).cloned().ok_or_else(|| {
        let name = request.source.as_deref().unwrap_or(crate::settings::DEFAULT_SOURCE);
        Rejection::new("unknown_source", "source", format!("no source is named {name:?}"))
    })?;
    check_id(&mut request.session, "session")?;
    if request.profile_less {
        request.profile = None;
    }
    check_id(&mut request.profile, "profile")?;
    check_object(request.context.as_ref(), "context")?;
    if request.events.len() > REQUEST_MAX_EVENTS {
        let message = format!("{} events in one request; at most {REQUEST_MAX_EVENTS}", request.events.len());
        return Err(Rejection::new("too_many_events", "events", message));
    }
    let mut events = Vec::with_capacity(request.events.len());
    for (index, event) in request.events.iter_mut().enumerate() {
        events.push(prepare_event(event, index, &source, draw_id)?);
    }
    for (event, prepared) in request.events.iter().zip(&mut events) {
        let brought = identifiers_of(event, &request, &source, registry);
        prepared.identifiers = brought.identifiers;
        prepared.identifiers_beyond = brought.beyond;
        if source.server {
            prepared.device_key = device_key(&prepared.identifiers, registry);
        }
    }
    let agent = request.user_agent.as_deref().map(|text| agents.packed(text));
    Ok(Command { request, source, agent, events, names: KnownNames::default(), encoded: Vec::new() })
}

fn prepare_event(
    event: &mut Event,
    index: usize,
    source: &Source,
    draw_id: &mut dyn FnMut() -> uuid::Uuid,
) -> Result<CommandEvent, Rejection> {
    let at = |member: &str| format!("events[{index}].{member}");
    let id = event.id.get_or_insert_with(|| draw_id().to_string());
    trim(id);
    check_length(id, "id_empty", "id_too_long", ID_MAX_BYTES, || at("id"))?;
    let id_hash = id_hash(id);
    trim(&mut event.event_type);
    check_length(&event.event_type, "type_empty", "name_too_long", NAME_MAX_BYTES, || at("type"))?;
    check_object(event.properties.as_ref(), "properties").map_err(|fault| relocate(fault, index))?;
    check_object(event.context.as_ref(), "context").map_err(|fault| relocate(fault, index))?;
    check_blanks(|| at("identifiers"), &event.identifiers)?;
    trim_names(event);
    check_identifiers(event, &at)?;
    check_consents(event, &at)?;
    let traits = if event.traits == crate::request::TraitOperations::default() {
        Vec::new()
    } else {
        prepare_traits(event, &at)?
    };
    let conversion = source.conversions.contains(event.event_type.as_str());
    Ok(CommandEvent {
        id_hash,
        traits,
        value: conversion.then(|| page_facts(event.properties.as_ref(), None, None).value).flatten(),
        identifiers: Vec::new(),
        identifiers_beyond: false,
        device_key: None,
    })
}

fn relocate(mut fault: Rejection, index: usize) -> Rejection {
    fault.field = fault.field.map(|field| format!("events[{index}].{field}"));
    fault
}

fn trim(text: &mut String) {
    let trimmed = text.trim();
    if trimmed.len() != text.len() {
        *text = trimmed.to_owned();
    }
}

fn check_length(
    text: &str,
    empty: &'static str,
    too_long: &'static str,
    max_bytes: usize,
    field: impl Fn() -> String,
) -> Result<(), Rejection> {
    if text.is_empty() {
        return Err(Rejection::new(empty, field(), "must not be empty"));
    }
    if text.len() > max_bytes {
        let message = format!("{} bytes; at most {max_bytes}", text.len());
        return Err(Rejection::new(too_long, field(), message));
    }
    Ok(())
}

fn check_id(id: &mut Option<String>, field: &str) -> Result<(), Rejection> {
    let Some(id) = id else { return Ok(()) };
    trim(id);
    check_length(id, "id_empty", "id_too_long", ID_MAX_BYTES, || field.to_owned())
}

fn check_object(json: Option<&Json>, field: &str) -> Result<(), Rejection> {
    match json {
        Some(json) if !json.is_object() => {
            Err(Rejection::new("not_an_object", field, "must be a JSON object"))
        }
        _ => Ok(()),
    }
}

fn too_many(
    code: &'static str,
    field: impl Fn() -> String,
    count: usize,
    max: usize,
) -> Result<(), Rejection> {
    if count > max {
        return Err(Rejection::new(code, field(), format!("{count} of them; at most {max}")));
    }
    Ok(())
}

/// Of two values under one name one would be lost; names that differ in the blanks around them are one.
fn check_names<'a>(
    field: impl Fn() -> String,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), Rejection> {
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => {
            let name = pair.first().copied().unwrap_or_default();
            Err(Rejection::new("name_repeated", field(), format!("{name:?} stands there more than once")))
        }
        None => Ok(()),
    }
}

/// A namespace may have several values, under one name: not under names that differ in the blanks around them.
fn check_blanks(field: impl Fn() -> String, identifiers: &[(String, String)]) -> Result<(), Rejection> {
    let has_blanks = |name: &str| name.trim().len() != name.len();
    for (name, _) in identifiers.iter().filter(|(name, _)| has_blanks(name)) {
        if identifiers.iter().any(|(other, _)| other != name && other.trim() == name.trim()) {
            let message = format!("{:?} stands there more than once", name.trim());
            return Err(Rejection::new("name_repeated", field(), message));
        }
    }
    Ok(())
}

fn check_identifiers(event: &Event, at: &impl Fn(&str) -> String) -> Result<(), Rejection> {
    too_many("too_many_identifiers", || at("identifiers"), event.identifiers.len(), EVENT_MAX_IDENTIFIERS)?;
    for (namespace, value) in &event.identifiers {
        check_length(namespace, "name_empty", "name_too_long", NAME_MAX_BYTES, || at("identifiers"))?;
        if value.len() > IDENTIFIER_MAX_BYTES {
            let message = format!("{} bytes; at most {IDENTIFIER_MAX_BYTES}", value.len());
            return Err(Rejection::new("value_too_long", at(&format!("identifiers.{namespace}")), message));
        }
    }
    Ok(())
}

/// Blanks around a name are nobody's intention.
fn trim_names(event: &mut Event) {
    let traits = &mut event.traits;
    for list in
        [&mut traits.set, &mut traits.set_once, &mut traits.add, &mut traits.append, &mut traits.remove]
    {
        list.iter_mut().for_each(|(name, _)| trim(name));
    }
    traits.unset.iter_mut().for_each(trim);
    event.identifiers.iter_mut().for_each(|(namespace, _)| trim(namespace));
    event.consents.iter_mut().for_each(|(purpose, _)| trim(purpose));
}

fn check_consents(event: &Event, at: &impl Fn(&str) -> String) -> Result<(), Rejection> {
    too_many("too_many_consents", || at("consents"), event.consents.len(), EVENT_MAX_CONSENTS)?;
    check_names(|| at("consents"), event.consents.iter().map(|(purpose, _)| purpose))?;
    for (purpose, _) in &event.consents {
        check_length(purpose, "name_empty", "name_too_long", NAME_MAX_BYTES, || at("consents"))?;
    }
    Ok(())
}

/// The operations in the order of their effect: `set`, `set_once`, `unset`, `add`, `append`, `remove`, and
/// within each as sent; an array is appended or removed item by item.
fn prepare_traits(event: &Event, at: &impl Fn(&str) -> String) -> Result<Vec<CommandTrait>, Rejection> {
    let traits = &event.traits;
    let mut operations = Vec::new();
    for (member, list) in [
        ("set", &traits.set),
        ("set_once", &traits.set_once),
        ("add", &traits.add),
        ("append", &traits.append),
        ("remove", &traits.remove),
    ] {
        if member == "add" {
            for name in &traits.unset {
                check_length(name, "name_empty", "name_too_long", NAME_MAX_BYTES, || at("traits.unset"))?;
                push(&mut operations, name, "unset", Ok(TraitOperation::Unset));
            }
        }
        check_names(|| at(&format!("traits.{member}")), list.iter().map(|(name, _)| name))?;
        for (name, value) in list {
            let field = || at(&format!("traits.{member}.{name}"));
            check_length(name, "name_empty", "name_too_long", NAME_MAX_BYTES, || at("traits"))?;
            if value.as_str().len() > TRAIT_VALUE_MAX_BYTES {
                let message = format!("{} bytes; at most {TRAIT_VALUE_MAX_BYTES}", value.as_str().len());
                return Err(Rejection::new("value_too_long", field(), message));
            }
            parse_operation(&mut operations, name, member, value);
        }
    }
    too_many("too_many_traits", || at("traits"), operations.len(), EVENT_MAX_TRAIT_OPERATIONS)?;
    Ok(operations)
}

fn push(
    operations: &mut Vec<CommandTrait>,
    name: &str,
    member: &'static str,
    operation: Result<TraitOperation, &'static str>,
) {
    operations.push(CommandTrait { name: name.into(), member, operation });
}

fn parse_operation(operations: &mut Vec<CommandTrait>, name: &str, member: &'static str, value: &Json) {
    let value = without_nul(value.clone());
    match member {
        "set" if value.is_null() => push(operations, name, member, Ok(TraitOperation::Unset)),
        "set" => push(operations, name, member, Ok(TraitOperation::Set(value))),
        "set_once" if value.is_null() => {}
        "set_once" => push(operations, name, member, Ok(TraitOperation::SetOnce(value))),
        "add" => {
            let operation = Decimal::from_json(&value).map(TraitOperation::Add).ok_or("trait_number");
            push(operations, name, member, operation);
        }
        _ => {
            let items = items_of(value);
            if items.iter().any(Json::is_null) {
                return push(operations, name, member, Err("trait_value"));
            }
            for item in items {
                let operation = if member == "append" {
                    TraitOperation::Append(item)
                } else {
                    TraitOperation::Remove(item)
                };
                push(operations, name, member, Ok(operation));
            }
        }
    }
}

fn items_of(value: Json) -> Vec<Json> {
    match value.to_value() {
        serde_json::Value::Array(items) => {
            items.iter().filter_map(|item| Json::from_value(item).ok()).collect()
        }
        _ => vec![value],
    }
}

/// The identifier of the highest priority that can be linked.
fn device_key(identifiers: &[CommandIdentifier], registry: &Registry) -> Option<(Box<str>, Box<str>)> {
    let priority = |of: &&CommandIdentifier| registry.namespaces.get(&*of.namespace).map(|of| of.priority);
    let best = identifiers.iter().filter(|of| of.fault.is_none()).min_by_key(priority)?;
    Some((best.namespace.clone(), best.value.clone()))
}
