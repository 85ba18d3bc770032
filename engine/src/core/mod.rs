//! What decides: pure functions from what is known and what was said to what follows.
//!
//! Nothing in here names a file, a table, a thread, a clock or a source of randomness.

pub mod agent;
pub mod consents;
pub mod decimal;
pub mod normalize;
pub mod page;
pub mod traits;

/// The longest beginning of `text` that has at most `bytes_max` bytes and ends between two characters.
fn truncated(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}
