//! The server.
pub mod limits;
pub mod protocol;
pub mod settings;
