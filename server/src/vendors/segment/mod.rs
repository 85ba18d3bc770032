//! The HTTP interface of Segment, which the libraries of Segment and RudderStack and several others speak: batches and
//! single calls in, one request an item out, and the answers that they expect.

pub mod browser;

mod answer;
mod item;

pub use answer::{Refused, answer};

use super::form::json_of;
use super::member::{self, Raw};
use crate::limits::LIBRARY_BATCH_MAX_ITEMS;
use serde::Deserialize;
use spoor::{Rejection, TrackRequest};

/// A call, as its path names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Any number of items, each of which says what it is.
    Batch,
    /// Something that the customer did.
    Track,
    /// Who the customer is.
    Identify,
    /// A page that was seen.
    Page,
    /// A screen of an app that was seen.
    Screen,
    /// The company, team or the like that the customer belongs to.
    Group,
    /// Another id of the same customer.
    Alias,
}

impl Call {
    /// The call of a path's last segment, in its long or its short form.
    #[must_use]
    pub fn of_path(name: &str) -> Option<Self> {
        match name {
            "batch" | "b" => Some(Self::Batch),
            "t" => Some(Self::Track),
            "i" => Some(Self::Identify),
            "p" => Some(Self::Page),
            "s" => Some(Self::Screen),
            "g" => Some(Self::Group),
            "a" => Some(Self::Alias),
            name => Self::of_type(name),
        }
    }

    /// The call that an item of a batch is, by its `type`.
    fn of_type(name: &str) -> Option<Self> {
        match name {
            "track" => Some(Self::Track),
            "identify" => Some(Self::Identify),
            "page" => Some(Self::Page),
            "screen" => Some(Self::Screen),
            "group" => Some(Self::Group),
            "alias" => Some(Self::Alias),
            _ => None,
        }
    }
}

/// What a body holds.
#[derive(Debug)]
pub struct Messages {
    /// The key that stands in the body.
    pub write_key: Option<String>,
    /// The items in their order.
    pub items: Vec<Message>,
}

/// One item.
#[derive(Debug)]
pub struct Message {
    /// The id by which its sender knows it.
    pub id: Option<String>,
    /// The call that it is; `None` if it does not say so.
    pub call: Option<Call>,
    /// What the store is asked, without its source; or why nothing is.
    pub request: Result<TrackRequest, Rejection>,
}

/// What holds for all items of a body.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shared<'a> {
    #[serde(borrow)]
    write_key: Raw<'a>,
    #[serde(borrow)]
    sent_at: Raw<'a>,
    #[serde(borrow)]
    context: Raw<'a>,
    #[serde(borrow)]
    batch: Raw<'a>,
}

/// Reads a body.
///
/// # Errors
/// [`Rejection`] if nothing in it can be taken: it is not JSON, it is no batch where one is expected, or a batch of
/// more than [`LIBRARY_BATCH_MAX_ITEMS`]. An item that cannot be taken is told in its place.
pub fn read(call: Call, bytes: &[u8]) -> Result<Messages, Rejection> {
    let text = json_of(bytes)?;
    // What a single call says of itself stands in the item, which is the body.
    let shared: Shared<'_> = member::message(&text)?;
    let write_key = member::text(shared.write_key, "writeKey")?;
    if call != Call::Batch {
        let alone = Shared { sent_at: shared.sent_at, ..Shared::default() };
        return Ok(Messages { write_key, items: vec![item::read(Some(call), &text, &alone)] });
    }
    let Some(batch) = member::list(shared.batch, "batch")? else {
        return Err(Rejection::new("member_missing", "batch", "a batch has a list of items under this name"));
    };
    if batch.len() > LIBRARY_BATCH_MAX_ITEMS {
        let message = format!("{} items; at most {LIBRARY_BATCH_MAX_ITEMS}", batch.len());
        return Err(Rejection::new("array_too_long", "batch", message));
    }
    let items = batch.iter().map(|raw| item::read(None, raw.get(), &shared)).collect();
    Ok(Messages { write_key, items })
}
