//! What a request came to, for its answer: beside what the sender knows. It is not recorded.

use super::decision::LinkResult;
use crate::ids::{EventSeq, ProfileKey};
use crate::reply::{EventStatus, Reason};

/// What the request is answered with, beside what the sender knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Of the last event.
    pub profile: Option<ProfileOutcome>,
    /// Of the last event.
    pub session: Option<SessionOutcome>,
    /// One per event.
    pub events: Vec<EventOutcome>,
    /// Codes.
    pub warnings: Vec<&'static str>,
}

/// The profile of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileOutcome {
    /// The fragment's id.
    pub key: ProfileKey,
    /// The person's.
    pub primary: ProfileKey,
    /// How it was found.
    pub reason: Reason,
    /// Whether the device was made.
    pub created: bool,
}

/// The session of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOutcome {
    /// Its name.
    pub name: SessionName,
    /// Whether it was made.
    pub created: bool,
}

/// How a session is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionName {
    /// By its id.
    Id(Box<str>),
    /// By the event that is all there is in it.
    Implicit(EventSeq),
}

/// The result for one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventOutcome {
    /// Its place in the log, or that of the first.
    pub seq: EventSeq,
    /// Stored now, or before.
    pub status: EventStatus,
    /// Its session.
    pub session: Option<SessionOutcome>,
    /// Its profile.
    pub profile: Option<ProfileOutcome>,
    /// What became of its identifiers.
    pub links: Vec<LinkTold>,
    /// Operations not accepted: path within the event, and code.
    pub refused: Vec<(String, &'static str)>,
    /// Codes.
    pub warnings: Vec<&'static str>,
}

/// What is told of an identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTold {
    /// What was decided.
    pub result: LinkResult,
    /// Ids of the two profiles as they were before, this event's first.
    pub profiles: Option<(ProfileKey, ProfileKey)>,
}
