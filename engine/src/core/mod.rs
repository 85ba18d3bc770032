//! Decides: which session, which profile, what an event changes. Pure: it knows no file, thread, clock or
//! random source, and sees the store through [`view::View`] only.

// What a decision is made of.
pub mod decimal;
pub mod traits;
pub mod consents;
pub mod agent;
pub mod agents;
pub mod normalize;
pub mod page;

// The state, and what changes it.
pub mod rows;
pub mod view;
pub mod decision;
pub mod apply;
pub mod root;
pub mod session;

// From a request to its effects.
pub mod sources;
pub mod prepare;
pub mod decide;
mod choose;
mod event;
pub mod warm;
pub mod silence;

// The same without a store.
pub mod memory;

/// The longest beginning of `text` that has at most `bytes_max` bytes and ends between two characters.
fn truncated(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}
