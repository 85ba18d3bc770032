//! A small client of Spoor. It speaks the compact form over HTTP/1.1, on one connection, and waits where it must: no
//! async runtime, no TLS, no retries.
//!
//! [`Connection`] sends one request, or a list, and waits for the answer. [`stream`] opens an endless request: its two
//! halves are for two threads, since answers must be read while requests are written. Each can show a key.
//!
//! ```no_run
//! use spoor::{Event, TrackRequest};
//! use spoor_client::{Answer, stream};
//!
//! let event = Event { event_type: "page-view".to_owned(), ..Event::default() };
//! let request = TrackRequest { session: Some("s-1".to_owned()), events: vec![event], ..TrackRequest::default() };
//! let (mut sender, mut receiver) = stream("127.0.0.1:8420")?;
//! sender.send(&request)?;
//! sender.finish()?;
//! while let Some(answer) = receiver.receive()? {
//!     match answer {
//!         Answer::Reply(reply) => println!("{:?}", reply.profile),
//!         Answer::Error(error) => println!("{} {}", error.code, error.message),
//!         Answer::End { index, error } => println!("from {index} on nothing was taken: {}", error.message),
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`encode`] and [`decode`] are written from docs/protocol.md alone, and share no code with the server: each is a test
//! of the other, and an example for other languages.

pub mod encode;

pub mod decode;

mod connection;
mod streaming;

pub use connection::{Connection, Refused};
pub use decode::{Answer, AnswerError, EventResult, Link, ProfileResult, Refusal, Reply, SessionResult};
pub use streaming::{Receiver, Sender, stream, stream_with_key};

/// What `Content-Type` calls the form.
pub const MEDIA_TYPE: &str = "application/vnd.spoor.v1";
