//! A state on plain maps, for deciding without a store: deciding the log again, previews, tests.
//!
//! It owns its rows and nothing else: it knows no file, keeps no older values, and grows with what it was told.
//! Time does not pass in it: a session's silence is looked at by the writer of a store, and comes here as an
//! effect. Being a second, simple implementation of [`State`], it also shows that a decision depends on nothing
//! but what [`View`] offers.

use super::apply::apply;
use super::decide::{Stamp, decide};
use super::decision::{Decision, Effect};
use super::outcome::Outcome;
use super::prepare::Command;
use super::rows::{Counters, LinkKey, ListKey, Posting, RepeatKey};
use super::sources::Registry;
use super::view::{KnownEvent, State, View};
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, PartNo, SessionNo};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

macro_rules! memory {
    ($($(#[$doc:meta])* $get:ident, $put:ident: $key:ty => $row:ty, $id:ident;)*) => {
        /// See the module. A clone shares the rows until one of the two changes them.
        #[derive(Debug, Clone, Default)]
        pub struct MemoryState {
            $($(#[$doc])* $get: BTreeMap<$key, Arc<$row>>,)*
            repeats: BTreeMap<RepeatKey, EventSeq>,
            postings: BTreeMap<PartNo, Vec<Posting>>,
            session_parts: BTreeMap<SessionNo, BTreeSet<PartNo>>,
            lists: BTreeMap<ListKey, BTreeSet<u64>>,
            events: BTreeMap<EventSeq, KnownEvent>,
            counters: Counters,
        }

        impl View for MemoryState {
            $(
                fn $get(&self, key: &$key) -> Result<Option<Arc<$row>>, Error> {
                    Ok(self.$get.get(key).map(Arc::clone))
                }
            )*

            fn session_parts(&self, session: SessionNo) -> Result<Vec<PartNo>, Error> {
                Ok(self.session_parts.get(&session).into_iter().flatten().copied().collect())
            }

            fn list(&self, key: ListKey, max: usize) -> Result<Vec<u64>, Error> {
                let items = self.lists.get(&key).into_iter().flatten();
                Ok(items.take(max).copied().collect())
            }

            fn repeat(&self, key: RepeatKey) -> Result<Option<EventSeq>, Error> {
                Ok(self.repeats.get(&key).copied())
            }

            fn known_event(&self, seq: EventSeq) -> Result<Option<KnownEvent>, Error> {
                Ok(self.events.get(&seq).cloned())
            }

            fn counters(&self) -> Counters {
                self.counters
            }
        }

        impl State for MemoryState {
            $(
                fn $put(&mut self, key: $key, row: $row) {
                    self.$get.insert(key, Arc::new(row));
                }
            )*

            fn put_repeat(&mut self, key: RepeatKey, seq: EventSeq) {
                self.repeats.entry(key).or_insert(seq);
            }

            fn add_posting(&mut self, part: PartNo, posting: Posting) {
                self.postings.entry(part).or_default().push(posting);
            }

            fn add_session_part(&mut self, session: SessionNo, part: PartNo) {
                self.session_parts.entry(session).or_default().insert(part);
            }

            fn add_to_list(&mut self, key: ListKey, item: u64) {
                self.lists.entry(key).or_default().insert(item);
            }

            fn touch_part(&mut self, _: FragmentNo, _: PartNo) {
                // A fragment's parts are found by the reads of a store, and none are made here.
            }

            fn add_due(&mut self, _: u64, _: SessionNo) {
                // Nobody looks at the clock here.
            }

            fn put_counters(&mut self, counters: Counters) {
                self.counters = counters;
            }
        }
    };
}
crate::for_each_table!(memory);

impl MemoryState {
    /// Decides a request, applies what follows, and remembers its events, so that a later repeat finds them.
    /// Returns as [`decide`].
    ///
    /// # Errors
    /// [`Error`] if a row is not there that must be: the state was given effects of another one.
    pub fn decide(
        &mut self,
        registry: &Registry,
        command: &Command,
        stamp: Stamp,
    ) -> Result<(Decision, Outcome, bool), Error> {
        let first_seq = self.counters.seq.next();
        let decided = decide(self, registry, command, stamp)?;
        self.remember(command, &decided.0, first_seq);
        Ok(decided)
    }

    /// Applies a decision that was made without a request: session ends.
    ///
    /// # Errors
    /// As [`MemoryState::decide`].
    pub fn apply(&mut self, received: Timestamp, decision: &Decision) -> Result<(), Error> {
        decision.effects.iter().try_for_each(|effect| apply(self, received, effect))
    }

    /// All links of fragments to identifiers, whatever holds of them.
    #[must_use]
    pub fn link_keys(&self) -> Vec<LinkKey> {
        self.links.keys().copied().collect()
    }

    /// The events of a part, in order of sequence numbers.
    #[must_use]
    pub fn postings(&self, part: PartNo) -> &[Posting] {
        self.postings.get(&part).map_or(&[], Vec::as_slice)
    }

    /// Effects name events by number; a repeat is confirmed by id and type.
    fn remember(&mut self, command: &Command, decision: &Decision, first_seq: EventSeq) {
        let mut seq = first_seq;
        let mut links = Vec::new();
        for effect in &decision.effects {
            if let Effect::Identified { results, .. } = effect {
                links.clone_from(results);
            }
            let Effect::Event(event) = effect else { continue };
            let links = std::mem::take(&mut links);
            if let Some(sent) = command.request.events.get(usize::from(event.index)) {
                let id = sent.id.as_deref().unwrap_or_default().into();
                let event_type = sent.event_type.as_str().into();
                self.events.insert(seq, KnownEvent { id, event_type, part: event.part, links });
            }
            seq = seq.next();
        }
    }
}
