//! Decides: which session, which profile, what an event changes. Pure: it knows no file, thread, clock or
//! random source, and sees the store through [`view::View`] only.

// What a decision is made of.
pub mod agent;
pub mod agents;
pub mod consents;
pub mod decimal;
pub mod normalize;
pub mod page;
pub mod traits;

// The state, and what changes it.
pub mod apply;
pub mod decision;
pub mod graph;
pub mod numbers;
pub mod person;
mod regroup;
pub mod root;
pub mod rows;
pub mod session;
pub mod view;

// From a request, or an act, to its effects.
pub mod acts;
mod blocking;
mod choose;
pub mod decide;
mod event;
mod expiry;
pub mod identifiers;
mod identity;
mod lookup;
pub mod names;
pub mod outcome;
pub mod prepare;
pub mod repeats;
pub mod silence;
pub mod sources;
pub mod warm;

// The same without a store.
pub mod memory;
pub mod scratch;

/// The longest beginning of `text` that has at most `bytes_max` bytes and ends between two characters.
fn truncated(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}
