//! Between bytes and plain data: requests in, answers out. Knows no connection and no store.

pub mod act;
pub mod compact;
pub mod identity;
pub mod json;
pub mod keys;
pub mod public;
pub mod request;
pub mod write;

mod walk;
