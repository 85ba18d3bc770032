//! The collection interface of Tracardi: its `POST /track`, its `/collect` for webhooks, and a picture of one point.
//!
//! Its sessions and profiles are ours: ids of profiles are made by the server, a session brings a lost one back, an id
//! that nobody knows is not adopted. So a request of Tracardi's is a request like any other.

mod answer;
mod collect;
mod payload;

pub use answer::answer;
pub use collect::{Collected, PIXEL, body as collected_body, query as collected_query};
pub use payload::{Payload, read};

/// An event type as Tracardi keeps it: lower case, a hyphen for each blank.
fn event_type(text: &str) -> String {
    text.trim().to_lowercase().replace(char::is_whitespace, "-")
}
