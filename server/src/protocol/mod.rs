//! Between bytes and plain data: requests in, answers out. Knows no connection and no store.

pub mod act;
pub mod change;
pub mod compact;
pub mod handover;
pub mod identity;
pub mod json;
pub mod keys;
pub mod public;
pub mod request;
pub mod write;

mod walk;
