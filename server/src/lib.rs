//! The server.
pub mod limits;
pub mod protocol;
