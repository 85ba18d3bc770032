//! The compact form: the same requests and answers as in JSON, in the encoding of Protocol Buffers.
//!
//! docs/protocol.md says each byte of it. What is accepted, and with which code it is not, is the same as in JSON;
//! properties, contexts and the values of traits are JSON text here too, so that they are checked once and carried
//! as they are.

pub mod frames;
pub mod read;
pub mod write;

mod wire;

/// What `Content-Type` and `Accept` call it.
pub const MEDIA_TYPE: &str = "application/vnd.spoor.v1";

/// The first byte of a request in a list or a stream: field 1 of the message that the body is.
pub const ITEM: u8 = 0x0a;
/// The first byte of a request that stands alone: field 2.
pub const ALONE: u8 = 0x12;
