//! The messages of client libraries that were made for other services: bodies in, [`spoor::TrackRequest`]s out, and
//! what their senders expect for an answer. docs/clients.md says what each call becomes.
//!
//! Pure: knows no connection, no key and no store. Called by the HTTP routes alone.
//!
//! The rule for all of it: read loosely what libraries write loosely (a number where an id is text, an empty list
//! where PHP means an object, unknown members), and name what cannot be taken by the member of *their* message.

pub mod segment;
pub mod tracardi;

mod form;
mod member;
