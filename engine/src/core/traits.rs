//! The fold of traits: from operations, in whatever order they arrive, to the value that is shown.
//!
//! Owns the state that one fragment keeps of one trait, what states of several fragments give together, and the
//! choice among them that a policy makes. Knows no names of traits and no limits on their number.
//!
//! The meaning is that of all operations applied one after the other in [`Order`]: `set` and `unset` replace,
//! `set_once` acts only where nothing is held, `add` adds, the last `append` or `remove` of an item decides whether
//! it is there. A state is the part of the history that a later arrival may still need, and no more, so that
//! applying is commutative, and fragments joined or parted lose nothing.

use crate::core::decimal::Decimal;
use crate::ids::EventSeq;
use crate::json::Json;
use crate::limits::{COLLECTION_MAX_ITEMS, TRAIT_MAX_SET_ONCES};
use crate::settings::{TraitKind, TraitPolicy};
use crate::time::Timestamp;
use bincode::{Decode, Encode};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where an operation stands among all others: by event time, then by what does not depend on arrival, then by
/// arrival. No two operations have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Order {
    /// Event time.
    pub time: Timestamp,
    /// Hash of the event id: orders events of one time alike wherever they arrive first.
    pub tie: u64,
    /// The event.
    pub seq: EventSeq,
    /// Place of the operation within the event.
    pub index: u16,
}

/// One operation on one trait.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum TraitOperation {
    /// Holds from here on; `null` is [`Self::Unset`].
    Set(Json),
    /// Holds from here on if nothing is held here; `null` does nothing.
    SetOnce(Json),
    /// Nothing is held from here on.
    Unset,
    /// Adds to a counter.
    Add(Decimal),
    /// Puts an item, or each item of an array, into a collection.
    Append(Json),
    /// Takes an item, or each item of an array, out of a collection.
    Remove(Json),
}

impl TraitOperation {
    /// The kind of trait that takes this operation.
    #[must_use]
    pub const fn kind(&self) -> TraitKind {
        match self {
            Self::Set(_) | Self::SetOnce(_) | Self::Unset => TraitKind::Value,
            Self::Add(_) => TraitKind::Counter,
            Self::Append(_) | Self::Remove(_) => TraitKind::Collection,
        }
    }
}

/// What one fragment, or several joined ones, keep of one trait.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum TraitState {
    /// Of `set`, `set_once` and `unset`.
    Value(ValueState),
    /// Of `add`.
    Counter(CounterState),
    /// Of `append` and `remove`.
    Collection(CollectionState),
}

impl TraitState {
    /// A trait that no operation has touched.
    #[must_use]
    pub fn new(kind: TraitKind) -> Self {
        match kind {
            TraitKind::Value => Self::Value(ValueState::default()),
            TraitKind::Counter => Self::Counter(CounterState::default()),
            TraitKind::Collection => Self::Collection(CollectionState::default()),
        }
    }

    /// The kind it was made with.
    #[must_use]
    pub const fn kind(&self) -> TraitKind {
        match self {
            Self::Value(_) => TraitKind::Value,
            Self::Counter(_) => TraitKind::Counter,
            Self::Collection(_) => TraitKind::Collection,
        }
    }

    /// Takes one operation, in any order of arrival, and says whether the state changed (an unchanged state needs
    /// no writing). Each operation must be given once: a counter adds it again.
    ///
    /// # Errors
    /// A code, and the state is as before: `trait_kind` (an operation of another kind), `trait_limit` (a collection
    /// is full, a counter at the end of its range), `trait_value` (`null` as an item of a collection).
    pub fn apply(&mut self, order: Order, operation: &TraitOperation) -> Result<bool, &'static str> {
        match (self, operation) {
            (Self::Value(state), TraitOperation::Set(value)) => {
                Ok(state.write(order, (!value.is_null()).then_some(value)))
            }
            (Self::Value(state), TraitOperation::Unset) => Ok(state.write(order, None)),
            (Self::Value(state), TraitOperation::SetOnce(value)) => Ok(state.write_once(order, value)),
            (Self::Counter(state), TraitOperation::Add(number)) => state.add(*number),
            (Self::Collection(state), TraitOperation::Append(items)) => state.change(order, items, true),
            (Self::Collection(state), TraitOperation::Remove(items)) => state.change(order, items, false),
            _ => Err("trait_kind"),
        }
    }

    /// Takes in what another fragment knows of the same trait: the result is the state of one fragment that was
    /// given the operations of both. Never refuses: a collection may grow beyond what one fragment may hold, and a
    /// counter stays at the end of its range. A state of another kind is left out.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Value(state), Self::Value(other)) => state.merge(other),
            (Self::Counter(state), Self::Counter(other)) => state.merge(other),
            (Self::Collection(state), Self::Collection(other)) => state.merge(other),
            _ => {}
        }
    }

    /// The value by all operations; `None` if nothing is held, the collection is empty or the counter was never
    /// added to.
    #[must_use]
    pub fn shown(&self) -> Option<Json> {
        match self {
            Self::Value(state) => state.held().map(|(_, value)| value.clone()),
            Self::Counter(state) => state.shown(),
            Self::Collection(state) => state.shown(),
        }
    }
}

/// The value of a profile: what the operations of all its fragments give together.
///
/// All states are of one trait and so of one kind; those of another kind than the first are left out.
#[must_use]
pub fn merged(states: &[&TraitState]) -> Option<TraitState> {
    let (first, rest) = states.split_first()?;
    let mut all = (*first).clone();
    for state in rest {
        all.merge(state);
    }
    Some(all)
}

/// The value of a profile under a policy. `states` are those of its fragments, in any order.
///
/// - `latest`: what all operations give together, so that an `unset` on one device removes what another had set.
///
/// The others choose among the values that each fragment shows by itself, so an `unset` removes only the value of
/// its own fragment. At a tie the value with the earliest operation is taken.
///
/// - `first`: the value whose operation is the earliest by [`Order`];
/// - `max`, `min`: the largest or smallest number; if none is a number, as `latest`;
/// - `any`: `true` if a value is `true`, else `false` if a value is `false`, else as `latest`;
/// - `all`: `false` if a value is `false`, else `true` if a value is `true`, else as `latest`.
///
/// A counter knows `max` and `min` (the largest or smallest sum of one fragment) and is summed otherwise.
/// Collections always unite.
#[must_use]
pub fn shown_with_policy(states: &[&TraitState], policy: TraitPolicy) -> Option<Json> {
    let chosen = match policy {
        TraitPolicy::Latest => None,
        TraitPolicy::First => held_values(states).into_iter().next(),
        TraitPolicy::Max => largest(states, |number| number),
        TraitPolicy::Min => largest(states, |number| Decimal(number.0.saturating_neg())),
        TraitPolicy::Any => boolean(states, "true").or_else(|| boolean(states, "false")),
        TraitPolicy::All => boolean(states, "false").or_else(|| boolean(states, "true")),
    };
    chosen.or_else(|| merged(states)?.shown())
}

/// The value that each fragment of a value trait shows, the earliest operation first.
fn held_values(states: &[&TraitState]) -> Vec<Json> {
    let mut held: Vec<_> = states
        .iter()
        .filter_map(|state| match state {
            TraitState::Value(state) => state.held(),
            TraitState::Counter(_) | TraitState::Collection(_) => None,
        })
        .collect();
    held.sort_by_key(|(order, _)| *order);
    held.into_iter().map(|(_, value)| value.clone()).collect()
}

/// The number with the greatest rank, the earliest at a tie.
fn largest(states: &[&TraitState], rank: impl Fn(Decimal) -> Decimal) -> Option<Json> {
    let counts = states.iter().filter_map(|state| match state {
        TraitState::Counter(state) => state.shown(),
        TraitState::Value(_) | TraitState::Collection(_) => None,
    });
    let mut chosen: Option<(Decimal, Json)> = None;
    for value in held_values(states).into_iter().chain(counts) {
        let Some(number) = Decimal::from_json(&value).map(&rank) else { continue };
        if chosen.as_ref().is_none_or(|(best, _)| number > *best) {
            chosen = Some((number, value));
        }
    }
    chosen.map(|(_, value)| value)
}

fn boolean(states: &[&TraitState], wanted: &str) -> Option<Json> {
    held_values(states).into_iter().find(|value| value.as_str() == wanted)
}

/// The state of a value: its last `set` or `unset`, and the `set_once`s after it.
///
/// Which operations may be forgotten? Let L be the last `set` or `unset` so far.
///
/// 1. Every `set`, `unset` and `set_once` before L is without effect for ever: whatever arrives, the last `set` or
///    `unset` of all is L or later, and what is shown depends on it and on the `set_once`s after it alone.
/// 2. No `set_once` S after L may be forgotten, not even one with the value of its neighbours: an `unset` just
///    before S and a `set_once` of another value just after S may still arrive, late or from another fragment, and
///    then S is what is shown. (Only inside one event can nothing arrive between two operations.) So a state that
///    is exact for everything that may come must grow with the number of `set_once`s, one by one.
///
/// Clients do send the same `set_once` with every event, so beyond [`TRAIT_MAX_SET_ONCES`] one is dropped for each
/// that arrives: the latest of those that stand between two of their own value, or else the last but one. The first
/// and the last are always kept. From this follows, beyond the limit too:
///
/// - whether anything is shown is always exact, since the last `set_once` is kept;
/// - what is shown is exact as long as no `set` or `unset` arrives late or is joined from another fragment, since
///   the first `set_once` is kept;
/// - it is exact whatever arrives if all `set_once`s of the trait give one value;
/// - otherwise a late `unset` may show a later `set_once` than the first after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct ValueState {
    /// The last `set` (with its value) or `unset` (without).
    last: Option<(Order, Option<Json>)>,
    /// The `set_once`s after it, by order.
    once: Vec<(Order, Json)>,
}

impl ValueState {
    /// The value that is held, and the operation that gave it.
    fn held(&self) -> Option<(Order, &Json)> {
        if let Some((order, Some(value))) = &self.last {
            return Some((*order, value));
        }
        self.once.first().map(|(order, value)| (*order, value))
    }

    fn write(&mut self, order: Order, value: Option<&Json>) -> bool {
        if self.last.as_ref().is_some_and(|(last, _)| *last >= order) {
            return false;
        }
        self.last = Some((order, value.cloned()));
        self.once.retain(|(once, _)| *once > order);
        true
    }

    fn write_once(&mut self, order: Order, value: &Json) -> bool {
        if value.is_null() || self.last.as_ref().is_some_and(|(last, _)| *last >= order) {
            return false;
        }
        let Err(place) = self.once.binary_search_by_key(&order, |(once, _)| *once) else { return false };
        self.once.insert(place, (order, value.clone()));
        if self.once.len() <= TRAIT_MAX_SET_ONCES {
            return true;
        }
        let dropped = self.least_missed();
        self.once.remove(dropped);
        dropped != place
    }

    /// Which `set_once` to drop: neither the first nor the last.
    fn least_missed(&self) -> usize {
        let between_equals = self.once.windows(3).rposition(|window| match window {
            [(_, before), (_, value), (_, after)] => before == value && value == after,
            _ => false,
        });
        between_equals.map_or(self.once.len().saturating_sub(2), |window| window + 1)
    }

    fn merge(&mut self, other: &Self) {
        if let Some((order, value)) = &other.last {
            self.write(*order, value.as_ref());
        }
        for (order, value) in &other.once {
            self.write_once(*order, value);
        }
    }
}

/// The state of a counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct CounterState {
    /// The exact sum.
    pub sum: Decimal,
    /// How many operations it is the sum of.
    pub operations: u64,
}

impl CounterState {
    fn add(&mut self, number: Decimal) -> Result<bool, &'static str> {
        self.sum = self.sum.checked_add(number).ok_or("trait_limit")?;
        self.operations = self.operations.saturating_add(1);
        Ok(true)
    }

    fn merge(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.operations = self.operations.saturating_add(other.operations);
    }

    /// A number, or the same digits as a string where JSON's readers would lose some of them (beyond 64 bits).
    fn shown(&self) -> Option<Json> {
        if self.operations == 0 {
            return None;
        }
        let text = self.sum.to_string();
        Json::parse(&text).or_else(|_| Json::parse(&format!("\"{text}\""))).ok()
    }
}

/// The state of a collection: of each item the last operation.
///
/// Items are compared by [`canonical`] form, and shown in the order of the `append` that put them there last.
/// Removed items are remembered, since an earlier `append` of theirs may arrive later. A fragment holds at most
/// [`COLLECTION_MAX_ITEMS`] items and remembers as many removed ones; beyond, the earliest removal is forgotten, and
/// an `append` of an unknown item that arrives later and is earlier than it is refused, so that nothing that was
/// removed comes back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct CollectionState {
    items: BTreeMap<Json, ItemState>,
    /// The latest removal that was forgotten.
    forgotten: Option<Order>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
struct ItemState {
    /// The last operation.
    order: Order,
    /// Place within the array of that operation.
    place: u32,
    /// Whether that operation was an `append`.
    present: bool,
}

impl CollectionState {
    /// All items of one operation, or none.
    fn change(&mut self, order: Order, items: &Json, present: bool) -> Result<bool, &'static str> {
        let mut items = items_of(items)?;
        if items.len() == 1
            && let Some(item) = items.pop()
        {
            return self.change_one(item, ItemState { order, place: 0, present });
        }
        let mut all = self.clone();
        let mut changed = false;
        for (place, item) in (0_u32..).zip(items) {
            changed |= all.change_one(item, ItemState { order, place, present })?;
        }
        *self = all;
        Ok(changed)
    }

    fn change_one(&mut self, item: Json, new: ItemState) -> Result<bool, &'static str> {
        let old = self.items.get(&item).copied();
        if old.is_some_and(|old| old.order >= new.order) {
            return Ok(false);
        }
        if old.is_none() && self.forgotten.is_some_and(|forgotten| forgotten >= new.order) {
            // It cannot be known whether the item was removed since. A removal this early is as good as forgotten.
            return if new.present { Err("trait_limit") } else { Ok(false) };
        }
        if new.present && !old.is_some_and(|old| old.present) && self.count(true) >= COLLECTION_MAX_ITEMS {
            return Err("trait_limit");
        }
        self.items.insert(item, new);
        if !new.present && self.count(false) > COLLECTION_MAX_ITEMS {
            self.forget_earliest_removal();
        }
        Ok(true)
    }

    fn count(&self, present: bool) -> usize {
        self.items.values().filter(|item| item.present == present).count()
    }

    fn forget_earliest_removal(&mut self) {
        let removed = self.items.iter().filter(|(_, item)| !item.present);
        let Some((item, state)) = removed.min_by_key(|(_, state)| **state) else { return };
        self.forgotten = self.forgotten.max(Some(state.order));
        let item = item.clone();
        self.items.remove(&item);
    }

    fn merge(&mut self, other: &Self) {
        for (item, new) in &other.items {
            let state = self.items.entry(item.clone()).or_insert(*new);
            if new.order > state.order {
                *state = *new;
            }
        }
        self.forgotten = self.forgotten.max(other.forgotten);
    }

    fn shown(&self) -> Option<Json> {
        let mut present: Vec<_> = self.items.iter().filter(|(_, state)| state.present).collect();
        if present.is_empty() {
            return None;
        }
        present.sort_by_key(|(_, state)| **state);
        let items: Vec<_> = present.into_iter().map(|(item, _)| item.as_str()).collect();
        Json::parse(&format!("[{}]", items.join(","))).ok()
    }
}

/// The items that an operation names, canonical, each once.
fn items_of(items: &Json) -> Result<Vec<Json>, &'static str> {
    let values = match items.to_value() {
        Value::Array(values) => values,
        value => vec![value],
    };
    let mut found: Vec<Json> = Vec::with_capacity(values.len());
    for value in &values {
        if value.is_null() {
            return Err("trait_value");
        }
        found.push(canonical_value(value).ok_or("trait_value")?);
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|item| seen.insert(item.clone()));
    Ok(found)
}

/// One text for all ways to write the same value: members sorted by key, no white space, escapes only where needed,
/// and one form for equal numbers (`1`, `1.0` and `10e-1`).
#[must_use]
pub fn canonical(json: &Json) -> Json {
    canonical_value(&json.to_value()).unwrap_or_else(|| json.clone())
}

fn canonical_value(value: &Value) -> Option<Json> {
    let mut text = String::new();
    write_canonical(value, &mut text);
    Json::parse(&text).ok()
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => text.push_str(&value.to_string()),
        Value::Number(number) => text.push_str(&canonical_number(number)),
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            // Sorted here and not by the map, whose order is a feature of the library that others may switch.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (place, (key, member)) in members.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_canonical(member, text);
            }
            text.push('}');
        }
    }
}

/// Numbers that a [`Decimal`] holds without rounding are written by it, others as the library does.
fn canonical_number(number: &serde_json::Number) -> String {
    let text = number.to_string();
    let decimal = Decimal::parse(&text).map(|decimal| decimal.to_string());
    match decimal {
        Some(decimal) if decimal.parse::<f64>().ok() == text.parse::<f64>().ok() => decimal,
        _ => text,
    }
}

/// The value with U+FFFD in the place of every U+0000, in strings and in keys: many stores that data is exported to
/// cannot hold the latter.
#[must_use]
pub fn without_nul(json: Json) -> Json {
    // In valid JSON the character occurs only as this escape.
    if !json.as_str().contains("\\u0000") {
        return json;
    }
    let text = replace_nul_escapes(json.as_str());
    Json::parse(&text)
        // Two keys may have become one: the later holds.
        .or_else(|_| Json::from_value(&serde_json::from_str(&text).unwrap_or_default()))
        .unwrap_or(json)
}

fn replace_nul_escapes(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        cleaned.push_str(before);
        if let Some(after) = after.strip_prefix("u0000") {
            cleaned.push('\u{FFFD}');
            rest = after;
            continue;
        }
        // The character behind a backslash belongs to it, above all another backslash.
        let mut characters = after.chars();
        cleaned.push('\\');
        cleaned.extend(characters.next());
        rest = characters.as_str();
    }
    cleaned.push_str(rest);
    cleaned
}

#[cfg(test)]
mod tests;
