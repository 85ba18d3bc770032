//! The server.
pub mod command;
pub mod http;
pub mod limits;
pub mod protocol;
pub mod settings;
pub mod store;
