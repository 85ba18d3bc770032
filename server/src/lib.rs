//! Spoor as a server: HTTP, settings and the command line over the engine.
//!
//! In the order in which bytes pass: [`settings`] say what holds, [`http`] takes connections and bodies,
//! [`protocol`] makes plain data of them, [`vendors`] of what the client libraries of other services send, [`store`] is
//! what the engine is asked; [`openapi`] describes it all for programs, and [`webhooks`] pass on what happens. [`command`]
//! is what a person types.
//! Nothing here decides what a request means: that is the engine's.
//!
//! A server in one's own process, on a port that is free:
//!
//! ```no_run
//! let mut configuration = spoor_server::settings::Configuration::default();
//! configuration.server.listen = ([127, 0, 0, 1], 0).into();
//! let server = spoor_server::http::serve(&configuration)?;
//! println!("http://{}", server.address());
//! server.shutdown()?;
//! # Ok::<(), spoor_server::http::ServeError>(())
//! ```

pub mod limits;
pub mod settings;

pub mod access;

pub mod protocol;

pub mod vendors;

pub mod store;

pub mod http;

mod tls;

pub mod webhooks;

pub mod openapi;

pub mod command;
