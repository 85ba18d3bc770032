//! What happened, as those who follow a store read it: one [`Change`] for each position of the log, plain data.
//!
//! A change says the same for ever: it names what was so at its position, whatever became of it since. Positions are
//! without gaps, so that a follower sees for itself that it missed nothing.

use crate::ids::EventSeq;
use crate::model::StoredEvent;
use crate::reply::LinkReply;
use crate::request::{Consent, TraitOperations};
use crate::time::Timestamp;

/// All that happened at one position of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The position.
    pub seq: EventSeq,
    /// When it was received, or done.
    pub at: Timestamp,
    /// What it is.
    pub happened: Happened,
    /// Ids of the profiles that it made: new devices, and new fragments of a device where somebody else sat down.
    pub created: Vec<String>,
    /// Merges that it made, in order.
    pub merges: Vec<Merged>,
    /// Of what a person decided, and of links that expired: all profiles that it joined or parted, as they are after
    /// it.
    pub profiles: Vec<ProfileIds>,
    /// Sessions that the server had made from inactivity and that a late event showed to be one.
    pub sessions_joined: Vec<SessionsJoined>,
    /// The rules of identity, as JSON, if they are others from here on; empty for those that hold when nothing is
    /// declared.
    pub rules: Option<Box<str>>,
}

/// What took a position of the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// An event was stored.
    Event(Box<EventStored>),
    /// A session fell silent. A later event of it opens it again.
    SessionEnded(SessionEnded),
    /// A person decided who is who.
    Act(Acted),
    /// Nobody said some links again in time.
    LinksExpired(Vec<ExpiredLink>),
}

/// A stored event with what it brought and what became of that.
#[derive(Debug, Clone, PartialEq)]
pub struct EventStored {
    /// The event; its session as it was called then.
    pub event: StoredEvent,
    /// Trait operations that were accepted.
    pub traits: TraitOperations,
    /// Consents that were accepted: purpose and answer.
    pub consents: Vec<(String, Consent)>,
    /// What became of its identifiers.
    pub links: Vec<LinkReply>,
    /// Whether the client ended its session with it.
    pub ends_session: bool,
}

/// A session that fell silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEnded {
    /// Its id.
    pub session: String,
    /// Name of the source that opened it.
    pub source: String,
    /// Id of the fragment that it began with; `None` if it began without one.
    pub profile: Option<String>,
    /// Event time of its last event.
    pub last_seen: Timestamp,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acted {
    /// The word of a profile's history for it, such as `undone`.
    pub kind: &'static str,
    /// As it was asked for.
    pub act: crate::act::Act,
}

/// A link that expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredLink {
    /// Id of the fragment that carried it.
    pub profile: String,
    /// `namespace:value`.
    pub identifier: String,
}

/// Two profiles became one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The id by which it is undone.
    pub merge: String,
    /// The primary ids of the two as they were before.
    pub profiles: [String; 2],
    /// The primary id that both have from here on: the older of the two.
    pub primary_id: String,
}

/// The ids of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileIds {
    /// Its primary id.
    pub primary_id: String,
    /// All of them, the oldest first.
    pub ids: Vec<String>,
}

/// Two sessions that are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionsJoined {
    /// The id that is another name of the other from here on.
    pub session: String,
    /// The session that stays.
    pub into: String,
}
