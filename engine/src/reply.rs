//! What a tracking request is answered with, as plain data. Durable and visible when it arrives.

use crate::ids::EventSeq;

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The profile of the last event; `None` for a profile-less request and for one without events.
    pub profile: Option<ProfileReply>,
    /// The session of the last event; `None` for a request without events.
    pub session: Option<SessionReply>,
    /// One result per event, in the order sent.
    pub events: Vec<EventReply>,
    /// Codes, such as `profile_unknown`; docs/protocol.md lists them.
    pub warnings: Vec<&'static str>,
}

/// The profile that a request was stored under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileReply {
    /// This device's id: keep it. Of a public source always the one that the device was made with, since another
    /// would tell that somebody else is known to sit there.
    pub id: String,
    /// The person's id: that of the oldest fragment.
    pub primary_id: String,
    /// How the profile was found.
    pub reason: Reason,
    /// Whether this request made the device.
    pub created: bool,
}

/// How a profile was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nothing known was sent: a new device.
    Created,
    /// By the profile id, or the device key, that was sent.
    Sent,
    /// By the session: the device had lost its id.
    Recovered,
    /// By the session, though a known id of another person was sent.
    SessionOwner,
}

impl Reason {
    /// As it is written in a reply.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Sent => "sent",
            Self::Recovered => "recovered",
            Self::SessionOwner => "session_owner",
        }
    }
}

/// The session that a request was stored under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionReply {
    /// The client's id; `implicit:SEQ` for a session made because none was sent.
    pub id: String,
    /// Whether this request made it.
    pub created: bool,
}

/// The result for one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventReply {
    /// The sender's id, or the one drawn for it.
    pub id: String,
    /// Its sequence number; for a duplicate that of the first.
    pub seq: EventSeq,
    /// Stored now, or before.
    pub status: EventStatus,
    /// Its own session, where the events of one request have different ones.
    pub session: Option<SessionReply>,
    /// Its own profile id, where the events of one request have different ones.
    pub profile: Option<String>,
    /// What became of each identifier.
    pub links: Vec<LinkReply>,
    /// Trait and consent operations that were not accepted: path and code. The event is stored.
    pub refused: Vec<(String, &'static str)>,
    /// Codes that concern this event alone, such as `event_id_reused`.
    pub warnings: Vec<&'static str>,
}

/// Whether an event was stored by this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStatus {
    /// Now.
    Stored,
    /// Before; nothing was changed.
    Duplicate,
}

impl EventStatus {
    /// As it is written in a reply.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
        }
    }
}

/// What became of one identifier of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkReply {
    /// Namespace and normalised value, `email:ada@example.com`; the value as sent where it could not be read.
    pub identifier: String,
    /// The outcome.
    pub outcome: LinkOutcome,
    /// The reason, where there is one to give: of `refused` and `quarantined` always.
    pub code: Option<&'static str>,
    /// Of `merged`, and of `switched` where the new fragment joined somebody: the id by which it is undone.
    pub merge: Option<String>,
    /// Of `merged` and `switched`: the primary ids of the two profiles as they were before, this one's first.
    pub profiles: Vec<String>,
    /// Of `quarantined`: the id by which it is decided.
    pub quarantine: Option<String>,
}

/// What became of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum LinkOutcome {
    /// The profile has it now.
    Attached,
    /// The profile had it already.
    Known,
    /// Another profile had it: the two are one now.
    Merged,
    /// Somebody else sits at the device: the event went to that person's fragment.
    Switched,
    /// It identifies nobody, or must not join; see the code.
    Refused,
    /// A limit stands in the way; it waits for a decision.
    Quarantined,
}

impl LinkOutcome {
    /// As it is written in a reply.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Known => "known",
            Self::Merged => "merged",
            Self::Switched => "switched",
            Self::Refused => "refused",
            Self::Quarantined => "quarantined",
        }
    }
}
