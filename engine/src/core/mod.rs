//! What decides: pure functions from what is known and what was said to what follows.
//!
//! Nothing in here names a file, a table, a thread, a clock or a source of randomness.

pub mod consents;
pub mod decimal;
pub mod traits;
