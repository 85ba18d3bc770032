//! What a person decides about who is who, as plain data: undo, link, detach, decide, block; and what a device asks for
//! that no event says: to be known again on another site.
//!
//! An act is one record of the log, like a request, and durable when it is answered.

use crate::error::{Error, Rejection};
use crate::ids::EventSeq;
use crate::model::Link;
use bincode::{Decode, Encode};
use std::fmt;

/// Something that is done to who is who: by a person, but for [`Act::Handover`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Act {
    /// Takes a merge back: its link is cut and, if the two are still joined, the fewest links that part them.
    Undo {
        /// The merge's id.
        merge: String,
        /// Whether the two must not become one again, by whatever link.
        keep_apart: bool,
    },
    /// Makes one profile of two. A guard between them goes; cuts of links stay.
    Merge {
        /// An id of one.
        profile: String,
        /// An id of the other.
        other: String,
        /// Even if each has a value of a unique namespace.
        force: bool,
    },
    /// Takes an identifier from a profile: all its links there are cut.
    Detach {
        /// An id of the profile.
        profile: String,
        /// `namespace:value`.
        identifier: String,
    },
    /// Gives a fragment an identifier, as an event would, and lifts the cut if there is one.
    Attach {
        /// The fragment's id.
        profile: String,
        /// `namespace:value`.
        identifier: String,
    },
    /// Decides a link in quarantine.
    Decide {
        /// Its id.
        quarantine: String,
        /// Approve: it is resolved anew without the limit that held it. Else it stays out for good.
        approve: bool,
    },
    /// Suspends all links of a value, now and from now on.
    Block {
        /// `namespace:value`.
        identifier: String,
    },
    /// Restores the links of a blocked value.
    Unblock {
        /// `namespace:value`.
        identifier: String,
    },
    /// Hands a device over to another site, where it is not known: makes a device, and a link of kind `handover` that
    /// joins it to whoever holds the one that is named. Undone like any merge.
    Handover {
        /// An id of the device, one that the server made.
        profile: String,
    },
}

/// What an act did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActReply {
    /// Its place in the log; `None` if nothing was done, since it was asked for a preview.
    pub seq: Option<EventSeq>,
    /// The merge that it made.
    pub merge: Option<String>,
    /// The id of the device that it made; `None` for a preview too, which draws none that would hold.
    pub created: Option<String>,
    /// The links that it took away.
    pub removed: Vec<Link>,
    /// The links that it made or restored.
    pub added: Vec<Link>,
    /// The profiles that it is about, as they were before.
    pub before: Vec<ProfileSize>,
    /// The same fragments, as they are after.
    pub after: Vec<ProfileSize>,
    /// Switches, refusals and quarantines decided while the profiles were one; they stand. Places in the log.
    pub not_retaken: Vec<EventSeq>,
}

/// How large a profile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileSize {
    /// Its primary id.
    pub primary_id: String,
    /// How many ids find it.
    pub ids: u64,
    /// Its sessions, implicit ones among them.
    pub sessions: u64,
    /// Its events.
    pub events: u64,
}

/// Why an act was not done. Nothing was written.
#[derive(Debug, Clone)]
pub enum ActError {
    /// Nothing has this id: the member at fault.
    NotFound(Rejection),
    /// The state does not allow it: undone already, kept apart, two values of a unique namespace.
    Conflict(Rejection),
    /// The act itself is not sound.
    Rejected(Rejection),
    /// The store failed; [`Error::nothing_written`] says what may have happened.
    Failed(Error),
}

impl From<Error> for ActError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for ActError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(rejection) | Self::Conflict(rejection) | Self::Rejected(rejection) => {
                write!(f, "{}: {}", rejection.code, rejection.message)
            }
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ActError {}
