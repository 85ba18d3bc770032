//! What decisions are made from, and where they are put: two small traits.
//!
//! [`View`] is read only; [`State`] takes the effects. The core knows no more of the store than this.

use super::decision::LinkResult;
use super::person::Prepared;
use super::rows::{Counters, ListKey, Posting, RepeatKey};
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, PartNo, SessionNo};
use std::sync::Arc;

/// An event that is already stored, as far as finding a repeat needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEvent {
    /// Its id.
    pub id: Box<str>,
    /// Its type.
    pub event_type: Box<str>,
    /// The part it is in; `None` for a profile-less event without a session.
    pub part: Option<PartNo>,
    /// What became of its identifiers.
    pub links: Vec<LinkResult>,
}

macro_rules! view {
    ($($(#[$doc:meta])* $get:ident, $put:ident: $key:ty => $row:ty, $id:ident;)*) => {
        /// The state, to read. Each method is one look-up by key.
        pub trait View {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`Error`] if the store could not be read.
                fn $get(&self, key: &$key) -> Result<Option<Arc<$row>>, Error>;
            )*
            /// The parts of a session after its first, sorted.
            ///
            /// # Errors
            /// [`Error`] if the store could not be read.
            fn session_parts(&self, session: SessionNo) -> Result<Vec<PartNo>, Error>;
            /// The first items of a list, at most `max`, sorted.
            ///
            /// # Errors
            /// [`Error`] if the store could not be read.
            fn list(&self, key: ListKey, max: usize) -> Result<Vec<u64>, Error>;
            /// The event that holds a repeat key.
            ///
            /// # Errors
            /// [`Error`] if the store could not be read.
            fn repeat(&self, key: RepeatKey) -> Result<Option<EventSeq>, Error>;
            /// The stored event at a position.
            ///
            /// # Errors
            /// [`Error`] if the log could not be read.
            fn known_event(&self, seq: EventSeq) -> Result<Option<KnownEvent>, Error>;
            /// The last numbers given.
            fn counters(&self) -> Counters;
        }

        /// The state, to change. What is put is seen by the next look-up.
        pub trait State: View {
            $(
                /// Puts a row of the table of that name.
                fn $put(&mut self, key: $key, row: $row);
            )*
            /// Notes an event under its repeat key.
            fn put_repeat(&mut self, key: RepeatKey, seq: EventSeq);
            /// Adds an event to the list of its part.
            fn add_posting(&mut self, part: PartNo, posting: Posting);
            /// Adds a part to its session's list; the first is in the session's own row.
            fn add_session_part(&mut self, session: SessionNo, part: PartNo);
            /// Adds an item to a list; once more does nothing.
            fn add_to_list(&mut self, key: ListKey, item: u64);
            /// Notes that the row of a part of a fragment was put just now.
            fn touch_part(&mut self, fragment: FragmentNo, part: PartNo);
            /// Notes that a session's silence is to be looked at, at that millisecond since 1970.
            fn add_due(&mut self, due_ms: u64, session: SessionNo);
            /// What a person of a regrouping was worked out to be beforehand, if it was: the next of that root.
            fn prepared(&mut self, root: FragmentNo) -> Option<Prepared> {
                let _ = root;
                None
            }
            /// Puts the last numbers given.
            fn put_counters(&mut self, counters: Counters);
        }
    };
}
crate::for_each_table!(view);
