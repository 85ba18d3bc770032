//! A view for work that can wait: it rests between look-ups, so that whoever plans something large on a snapshot
//! leaves the processor to requests every half millisecond.
//!
//! A thread of less priority would not do: it may be put aside while it holds what the writer waits for. This one
//! rests where it holds nothing.

use crate::core::rows::{Counters, ListKey, RepeatKey};
use crate::core::view::{KnownEvent, View};
use crate::error::Error;
use crate::ids::{EventSeq, PartNo, SessionNo};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it goes on without a rest.
const WORK: Duration = Duration::from_micros(300);
/// How long it rests.
const REST: Duration = Duration::from_micros(300);
/// The clock is looked at once in so many look-ups.
const LOOK_UPS: u32 = 64;

/// See the module.
pub struct Resting<'a, V> {
    below: &'a V,
    look_ups: Cell<u32>,
    since: Cell<Instant>,
}

impl<'a, V: View> Resting<'a, V> {
    /// As the view below.
    pub fn over(below: &'a V) -> Self {
        Self { below, look_ups: Cell::new(0), since: Cell::new(Instant::now()) }
    }

    fn looked_up(&self) {
        let look_ups = self.look_ups.get() + 1;
        self.look_ups.set(look_ups % LOOK_UPS);
        if look_ups >= LOOK_UPS && self.since.get().elapsed() >= WORK {
            std::thread::sleep(REST);
            self.since.set(Instant::now());
        }
    }
}

macro_rules! resting {
    ($($(#[$doc:meta])* $get:ident, $put:ident: $key:ty => $row:ty, $id:ident;)*) => {
        impl<V: View> View for Resting<'_, V> {
            $(
                fn $get(&self, key: &$key) -> Result<Option<Arc<$row>>, Error> {
                    self.looked_up();
                    self.below.$get(key)
                }
            )*

            fn session_parts(&self, session: SessionNo) -> Result<Vec<PartNo>, Error> {
                self.looked_up();
                self.below.session_parts(session)
            }

            fn list(&self, key: ListKey, max: usize) -> Result<Vec<u64>, Error> {
                self.looked_up();
                self.below.list(key, max)
            }

            fn repeat(&self, key: RepeatKey) -> Result<Option<EventSeq>, Error> {
                self.looked_up();
                self.below.repeat(key)
            }

            fn known_event(&self, seq: EventSeq) -> Result<Option<KnownEvent>, Error> {
                self.looked_up();
                self.below.known_event(seq)
            }

            fn counters(&self) -> Counters {
                self.below.counters()
            }
        }
    };
}
crate::for_each_table!(resting);
