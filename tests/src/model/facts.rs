//! Traits and consents: which operations are accepted, and what they give for a person.

use super::decimal::Decimal;
use super::{EventRow, Model};
use serde_json::Value;
use spoor::limits::{FRAGMENT_MAX_CONSENTS, FRAGMENT_MAX_TRAITS};
use spoor::settings::{TraitKind, TraitPolicy};
use spoor::{Consent, Event, Json};

/// One accepted operation on one trait.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operation {
    /// `None` removes.
    Set(Option<Value>),
    SetOnce(Option<Value>),
    Add(Decimal),
    Append(Vec<Value>),
    Remove(Vec<Value>),
}

/// Path and code of what was not accepted.
pub(super) type Refused = Vec<(String, &'static str)>;

fn kind_of(operation: &str) -> TraitKind {
    match operation {
        "add" => TraitKind::Counter,
        "append" | "remove" => TraitKind::Collection,
        _ => TraitKind::Value,
    }
}

/// The operations of an event in the order in which they act: operation, name, value.
fn in_order(event: &Event) -> Vec<(&'static str, String, Option<Json>)> {
    let traits = &event.traits;
    let valued = |operation: &'static str, pairs: &[(String, Json)]| -> Vec<_> {
        pairs.iter().map(|(name, json)| (operation, name.trim().to_owned(), Some(json.clone()))).collect()
    };
    let unset = traits.unset.iter().map(|name| ("unset", name.trim().to_owned(), None)).collect();
    [
        valued("set", &traits.set),
        valued("set_once", &traits.set_once),
        unset,
        valued("add", &traits.add),
        valued("append", &traits.append),
        valued("remove", &traits.remove),
    ]
    .concat()
}

/// The items of an array, or the one item; `null` is none.
fn items(value: Value) -> Result<Vec<Value>, &'static str> {
    let items = match value {
        Value::Array(items) => items,
        item => vec![item],
    };
    if items.contains(&Value::Null) { Err("trait_value") } else { Ok(items) }
}

fn read(operation: &str, value: Option<Json>) -> Result<Operation, &'static str> {
    let Some(json) = value else { return Ok(Operation::Set(None)) };
    let value = without_nul(json.to_value());
    Ok(match operation {
        "set" => Operation::Set(Some(value).filter(|value| !value.is_null())),
        "set_once" => Operation::SetOnce(Some(value).filter(|value| !value.is_null())),
        "add" => Operation::Add(Decimal::read(json.as_str()).ok_or("trait_number")?),
        "append" => Operation::Append(items(value)?),
        _ => Operation::Remove(items(value)?),
    })
}

/// U+0000 becomes U+FFFD, in keys too.
fn without_nul(value: Value) -> Value {
    let text = |text: String| text.replace('\0', "\u{fffd}");
    match value {
        Value::String(string) => Value::String(text(string)),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (text(key), without_nul(value))).collect())
        }
        other => other,
    }
}

impl Model {
    /// Takes the trait operations of an event for a fragment; without one, refuses them.
    pub(super) fn take_traits(
        &mut self,
        fragment: Option<usize>,
        event: &Event,
        refused: &mut Refused,
    ) -> Vec<(String, Operation)> {
        let mut taken: Vec<(String, Operation)> = Vec::new();
        for (operation, name, value) in in_order(event) {
            let outcome = match fragment {
                None => Err("profile_less"),
                Some(fragment) => self.take_operation(fragment, operation, &name, value, &taken),
            };
            match outcome {
                Ok(accepted) => taken.push((name, accepted)),
                Err(code) => refused.push((format!("traits.{operation}.{name}"), code)),
            }
        }
        taken
    }

    fn take_operation(
        &mut self,
        fragment: usize,
        operation: &str,
        name: &str,
        value: Option<Json>,
        earlier: &[(String, Operation)],
    ) -> Result<Operation, &'static str> {
        let kind = kind_of(operation);
        let set = self.settings.traits.get(name).and_then(|settings| settings.kind);
        let first = self.kinds.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
        if set.or(first).is_some_and(|given| given != kind) {
            return Err("trait_kind");
        }
        let accepted = read(operation, value)?;
        let stored = self.events.iter().filter(|event| event.fragment == Some(fragment));
        let mut names: Vec<&str> = stored
            .flat_map(|event| &event.operations)
            .chain(earlier)
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.len() >= FRAGMENT_MAX_TRAITS && names.binary_search(&name).is_err() {
            return Err("trait_limit");
        }
        if first.is_none() {
            self.kinds.push((name.to_owned(), kind));
        }
        Ok(accepted)
    }

    /// Takes the consents of an event for a fragment; without one, refuses them.
    pub(super) fn take_consents(
        &self,
        fragment: Option<usize>,
        event: &Event,
        refused: &mut Refused,
    ) -> Vec<(String, Consent)> {
        let mut taken: Vec<(String, Consent)> = Vec::new();
        for (name, answer) in &event.consents {
            let name = name.trim().to_owned();
            let Some(fragment) = fragment else {
                refused.push((format!("consents.{name}"), "profile_less"));
                continue;
            };
            let stored = self.events.iter().filter(|event| event.fragment == Some(fragment));
            let mut names: Vec<&String> =
                stored.flat_map(|event| &event.consents).chain(&taken).map(|(name, _)| name).collect();
            names.sort_unstable();
            names.dedup();
            if names.len() >= FRAGMENT_MAX_CONSENTS && !names.contains(&&name) {
                refused.push((format!("consents.{name}"), "consent_limit"));
            } else {
                taken.push((name, *answer));
            }
        }
        taken
    }

    /// The traits of a person: all operations of all fragments, in the order of their events.
    pub(super) fn traits_of(&self, person: &[usize]) -> Vec<(String, Json)> {
        let mut events = self.events_of(person);
        events.sort_by_key(|event| event.order());
        let mut names: Vec<&String> =
            events.iter().flat_map(|event| &event.operations).map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        let mut traits = Vec::new();
        for name in names {
            let policy = self.settings.traits.get(name).map_or(TraitPolicy::Latest, |set| set.policy);
            let value = match policy {
                TraitPolicy::Latest => fold(&events, name).map(|(value, _)| value),
                _ => by_policy(policy, &events, name, person),
            };
            if let Some(json) = value.and_then(|value| Json::parse(&value.to_string()).ok()) {
                traits.push((name.clone(), json));
            }
        }
        traits
    }

    /// The consents of a person.
    ///
    /// Inside a fragment the later received answer holds. Between fragments a refusal stands until a grant that
    /// was received after it and after the join of the two.
    pub(super) fn consents_of(&self, person: &[usize]) -> Vec<(String, Consent)> {
        let events = self.events_of(person);
        let mut answers: Vec<(&str, usize, u64, Consent)> = Vec::new();
        for event in &events {
            let Some(fragment) = event.fragment else { continue };
            for (name, answer) in &event.consents {
                answers.push((name, fragment, event.sequence, *answer));
            }
        }
        let mut names: Vec<&str> = answers.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        let holds = |name: &str| {
            let refused = person.iter().any(|&fragment| {
                let own = answers.iter().rfind(|(known, of, ..)| *known == name && *of == fragment);
                let Some((_, _, at, Consent::Refused)) = own else { return false };
                !answers.iter().any(|(known, of, granted_at, answer)| {
                    *known == name
                        && *answer == Consent::Granted
                        && granted_at > at
                        && *granted_at > self.joined_at(fragment, *of)
                })
            });
            if refused { Consent::Refused } else { Consent::Granted }
        };
        names.iter().map(|name| ((*name).to_owned(), holds(name))).collect()
    }

    /// The events of a person, in order of arrival.
    pub(super) fn events_of(&self, person: &[usize]) -> Vec<&EventRow> {
        let of_person = |event: &&EventRow| event.fragment.is_some_and(|fragment| person.contains(&fragment));
        self.events.iter().filter(of_person).collect()
    }
}

/// What the operations on a trait give, and the place in the order of events of the one that gave it.
fn fold<'a>(events: &[&'a EventRow], name: &str) -> Option<(Value, &'a EventRow)> {
    let mut held: Option<(Value, &EventRow)> = None;
    let mut total: Option<(Decimal, &EventRow)> = None;
    let mut collection: Option<(Vec<Value>, &EventRow)> = None;
    for event in events {
        for (_, operation) in event.operations.iter().filter(|(known, _)| known == name) {
            match operation {
                Operation::Set(value) => held = value.clone().map(|value| (value, *event)),
                Operation::SetOnce(value) => {
                    if held.is_none() {
                        held = value.clone().map(|value| (value, *event));
                    }
                }
                Operation::Add(number) => {
                    let before = total.map_or(Decimal::default(), |(sum, _)| sum);
                    total = Some((before.plus(*number), event));
                }
                Operation::Append(new) => {
                    let (list, _) = collection.get_or_insert((Vec::new(), event));
                    for item in new {
                        // The latest append gives an item its place.
                        list.retain(|known| known != item);
                        list.push(item.clone());
                    }
                }
                Operation::Remove(gone) => {
                    let (list, _) = collection.get_or_insert((Vec::new(), event));
                    list.retain(|item| !gone.contains(item));
                }
            }
        }
    }
    if let Some((sum, event)) = total {
        return Some((serde_json::from_str(&sum.to_string()).ok()?, event));
    }
    // A collection without items is like a trait that was unset.
    let collection = collection.filter(|(list, _)| !list.is_empty());
    collection.map(|(list, event)| (Value::Array(list), event)).or(held)
}

/// A choice among what each fragment holds.
fn by_policy(policy: TraitPolicy, events: &[&EventRow], name: &str, person: &[usize]) -> Option<Value> {
    let mut held: Vec<(Value, &EventRow)> = Vec::new();
    for &fragment in person {
        let own: Vec<&EventRow> =
            events.iter().copied().filter(|event| event.fragment == Some(fragment)).collect();
        held.extend(fold(&own, name));
    }
    let latest = fold(events, name).map(|(value, _)| value);
    let numbers = || held.iter().filter_map(|(value, _)| value.as_f64().map(|number| (number, value)));
    let flags: Vec<bool> = held.iter().filter_map(|(value, _)| value.as_bool()).collect();
    match policy {
        TraitPolicy::Latest => latest,
        TraitPolicy::First => held.into_iter().min_by_key(|(_, event)| event.order()).map(|(value, _)| value),
        TraitPolicy::Max => {
            numbers().max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, value)| value.clone()).or(latest)
        }
        TraitPolicy::Min => {
            numbers().min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, value)| value.clone()).or(latest)
        }
        TraitPolicy::Any if !flags.is_empty() => Some(Value::Bool(flags.contains(&true))),
        TraitPolicy::All if !flags.is_empty() => Some(Value::Bool(!flags.contains(&false))),
        TraitPolicy::Any | TraitPolicy::All => latest,
    }
}
