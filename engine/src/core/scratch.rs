//! A state over another: what an act would change is tried here, and nowhere else.
//!
//! Reads fall through to the state below; what is put stays here. So an act is planned by the very code that
//! decides requests, on a snapshot and off the writer's thread, and a preview is a plan that is thrown away.

use super::rows::{Counters, ListKey, Posting, RepeatKey};
use super::view::{KnownEvent, State, View};
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, PartNo, SessionNo};
use std::collections::BTreeMap;
use std::sync::Arc;

macro_rules! scratch {
    ($($(#[$doc:meta])* $get:ident, $put:ident: $key:ty => $row:ty, $id:ident;)*) => {
        /// See the module.
        #[derive(Debug)]
        pub struct Scratch<'a, V> {
            below: &'a V,
            $($(#[$doc])* $get: BTreeMap<$key, Arc<$row>>,)*
            lists: BTreeMap<ListKey, Vec<u64>>,
            counters: Counters,
        }

        impl<'a, V: View> Scratch<'a, V> {
            /// As the state below.
            #[must_use]
            pub fn over(below: &'a V) -> Self {
                Self {
                    below,
                    $($get: BTreeMap::new(),)*
                    lists: BTreeMap::new(),
                    counters: below.counters(),
                }
            }
        }

        impl<V: View> View for Scratch<'_, V> {
            $(
                fn $get(&self, key: &$key) -> Result<Option<Arc<$row>>, Error> {
                    match self.$get.get(key) {
                        Some(row) => Ok(Some(Arc::clone(row))),
                        None => self.below.$get(key),
                    }
                }
            )*

            fn session_parts(&self, session: SessionNo) -> Result<Vec<PartNo>, Error> {
                self.below.session_parts(session)
            }

            fn list(&self, key: ListKey, max: usize) -> Result<Vec<u64>, Error> {
                let mut items = self.below.list(key, max)?;
                if let Some(added) = self.lists.get(&key) {
                    items.extend(added);
                    items.sort_unstable();
                    items.dedup();
                    items.truncate(max);
                }
                Ok(items)
            }

            fn repeat(&self, key: RepeatKey) -> Result<Option<EventSeq>, Error> {
                self.below.repeat(key)
            }

            fn known_event(&self, seq: EventSeq) -> Result<Option<KnownEvent>, Error> {
                self.below.known_event(seq)
            }

            fn counters(&self) -> Counters {
                self.counters
            }
        }

        impl<V: View> State for Scratch<'_, V> {
            $(
                fn $put(&mut self, key: $key, row: $row) {
                    self.$get.insert(key, Arc::new(row));
                }
            )*

            fn put_repeat(&mut self, _: RepeatKey, _: EventSeq) {
                // Acts store no events.
            }

            fn add_posting(&mut self, _: PartNo, _: Posting) {
                // The same.
            }

            fn add_session_part(&mut self, _: SessionNo, _: PartNo) {
                // The same.
            }

            fn add_to_list(&mut self, key: ListKey, item: u64) {
                self.lists.entry(key).or_default().push(item);
            }

            fn touch_part(&mut self, _: FragmentNo, _: PartNo) {
                // The same.
            }

            fn add_due(&mut self, _: u64, _: SessionNo) {
                // The same.
            }

            fn put_counters(&mut self, counters: Counters) {
                self.counters = counters;
            }
        }
    };
}
crate::for_each_table!(scratch);
