//! The state in its layers: active generation over frozen generation over base.
//!
//! [`Layers`] answers a look-up as of a position. [`Version`] is what is published: layers and position.
//! [`Staging`] is the writer's: it sees what nobody else sees yet, and puts rows.

use super::base::Base;
use super::committer::Landed;
use super::log::{Group, LogReader};
use super::overlay::{Generation, Horizon};
use super::postings::{chunk_key, decode_chunk};
use super::record::RecordView;
use crate::core::person::Prepared;
use crate::core::repeats::event_at;
use crate::core::rows::{Counters, ListKey, ListKind, Posting, RepeatKey};
use crate::core::view::{KnownEvent, State, View};
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, PartNo, SessionNo};
use crate::store::base::Born;
use crate::store::codec::KeyBytes;
use crate::store::index::{Order, TableId};
use std::path::Path;
use std::sync::Arc;

/// Generations over a base.
#[derive(Debug, Clone)]
pub struct Layers {
    /// What the writer puts into.
    pub active: Arc<Generation>,
    /// What a checkpoint is writing, if one is.
    pub frozen: Option<Arc<Generation>>,
    /// What the last checkpoint left.
    pub base: Arc<Base>,
}

macro_rules! layers {
    ($($(#[$doc:meta])* $get:ident, $put:ident: $key:ty => $row:ty, $id:ident;)*) => {
        impl Layers {
            $(
                fn $get(&self, key: &$key, at: u64) -> Result<Option<Arc<$row>>, Error> {
                    if let Some(row) = self.active.$get.get(key, at) {
                        return Ok(Some(row));
                    }
                    if let Some(row) = self.frozen.as_ref().and_then(|frozen| frozen.$get.get(key, at)) {
                        return Ok(Some(row));
                    }
                    self.base.$get(key)
                }
            )*
        }

        impl View for Version {
            $(
                fn $get(&self, key: &$key) -> Result<Option<Arc<$row>>, Error> {
                    self.layers.$get(key, self.counters.seq.0)
                }
            )*

            fn session_parts(&self, session: SessionNo) -> Result<Vec<PartNo>, Error> {
                self.layers.session_parts(session, self.counters.seq.0)
            }

            fn list(&self, key: ListKey, max: usize) -> Result<Vec<u64>, Error> {
                self.layers.list(key, self.counters.seq.0, max)
            }

            fn repeat(&self, key: RepeatKey) -> Result<Option<EventSeq>, Error> {
                self.layers.repeat(key, self.counters.seq.0, false)
            }

            fn known_event(&self, seq: EventSeq) -> Result<Option<KnownEvent>, Error> {
                known_event(&self.log, seq, &self.path)
            }

            fn counters(&self) -> Counters {
                self.counters
            }
        }

        impl View for Staging {
            $(
                fn $get(&self, key: &$key) -> Result<Option<Arc<$row>>, Error> {
                    self.layers.$get(key, u64::MAX)
                }
            )*

            fn session_parts(&self, session: SessionNo) -> Result<Vec<PartNo>, Error> {
                self.layers.session_parts(session, u64::MAX)
            }

            fn list(&self, key: ListKey, max: usize) -> Result<Vec<u64>, Error> {
                self.layers.list(key, u64::MAX, max)
            }

            fn repeat(&self, key: RepeatKey) -> Result<Option<EventSeq>, Error> {
                self.layers.repeat(key, u64::MAX, self.absent_below == Some(key))
            }

            fn known_event(&self, seq: EventSeq) -> Result<Option<KnownEvent>, Error> {
                match self.group.record(self.group_first, seq) {
                    Some(record) => event_of(record.bytes, record.first_seq, seq, &self.path).map(Some),
                    // What is on its way; what nobody stored is not waited for.
                    None if seq < self.group_first => {
                        self.landed.wait(seq)?;
                        known_event(&self.log, seq, &self.path)
                    }
                    None => Ok(None),
                }
            }

            fn counters(&self) -> Counters {
                self.counters
            }
        }

        impl State for Staging {
            $(
                fn $put(&mut self, key: $key, row: $row) {
                    self.$put(key, row);
                }
            )*

            fn put_repeat(&mut self, key: RepeatKey, seq: EventSeq) {
                self.layers.active.repeats.put(key, seq);
            }

            fn add_posting(&mut self, part: PartNo, posting: Posting) {
                self.layers.active.postings.push(part, posting);
            }

            fn add_session_part(&mut self, session: SessionNo, part: PartNo) {
                self.layers.active.session_parts.push(session, (self.stamp, part));
            }

            fn add_to_list(&mut self, key: ListKey, item: u64) {
                self.layers.active.lists.push(key, (self.stamp, item));
            }

            fn touch_part(&mut self, fragment: FragmentNo, part: PartNo) {
                if self.put_was_new {
                    self.layers.active.touched_parts.push(fragment, part);
                }
            }

            fn add_due(&mut self, due_ms: u64, session: SessionNo) {
                self.layers.active.due.lock().insert((due_ms, session));
            }

            fn prepared(&mut self, root: FragmentNo) -> Option<Prepared> {
                let place = self.prepared.iter().position(|prepared| prepared.root == root)?;
                Some(self.prepared.remove(place))
            }

            fn put_counters(&mut self, counters: Counters) {
                self.counters = counters;
            }
        }
    };
}
crate::for_each_table!(layers);

macro_rules! plain_puts {
    ($($(#[$doc:meta])* $get:ident, $put:ident: $key:ty => $row:ty, $id:ident;)*) => {
        impl Staging {
            $(
                fn $put(&mut self, key: $key, row: $row) {
                    self.put_was_new = self.layers.active.$get.put(key, row, self.stamp, self.horizon);
                }
            )*
        }
    };
}
crate::for_each_table!(plain_puts);

impl Layers {
    /// `absent_below`: the base is known not to have it.
    fn repeat(&self, key: RepeatKey, at: u64, absent_below: bool) -> Result<Option<EventSeq>, Error> {
        if let Some(seq) = self.active.repeats.get(key, at) {
            return Ok(Some(seq));
        }
        if let Some(seq) = self.frozen.as_ref().and_then(|frozen| frozen.repeats.get(key, at)) {
            return Ok(Some(seq));
        }
        if absent_below { Ok(None) } else { self.base.repeat(key) }
    }

    /// Further parts of a session as of position `at`, sorted: the index keeps them so, and a session may absorb a
    /// younger one before an older, so that the order of arrival would be lost with the next checkpoint.
    fn session_parts(&self, session: SessionNo, at: u64) -> Result<Vec<PartNo>, Error> {
        let mut parts = Vec::new();
        let prefix = session.key_bytes();
        let end = session.next().key_bytes();
        for row in self.base.reader().range(TableId::SessionParts, &prefix, Some(&end), Order::Ascending)? {
            parts.push(PartNo(number_at(&row?.0, 8)));
        }
        for generation in self.frozen.iter().chain([&self.active]) {
            let added = generation.session_parts.get(&session);
            parts.extend(added.iter().filter(|(stamp, _)| *stamp <= at).map(|(_, part)| *part));
        }
        parts.sort_unstable();
        Ok(parts)
    }

    /// The first items of a list as of position `at`, sorted.
    fn list(&self, key: ListKey, at: u64, max: usize) -> Result<Vec<u64>, Error> {
        let mut items = Vec::new();
        if !key.born_after(&self.base.counters) {
            let (table, from, to) = listed(key);
            for row in self.base.reader().range(table, &from, Some(&to), Order::Ascending)?.take(max) {
                items.push(number_at(&row?.0, from.len() - size_of::<u64>()));
            }
        }
        for generation in self.frozen.iter().chain([&self.active]) {
            let added = generation.lists.get(&key);
            items.extend(added.iter().filter(|(stamp, _)| *stamp <= at).map(|(_, item)| *item));
        }
        items.sort_unstable();
        items.dedup();
        items.truncate(max);
        Ok(items)
    }

    /// The events of a part up to position `at`, in order of sequence numbers.
    ///
    /// # Errors
    /// [`Error`] if the index could not be read.
    pub fn postings(&self, part: PartNo, at: u64) -> Result<Vec<Posting>, Error> {
        let mut events = Vec::new();
        let (from, to) = (chunk_key(part, EventSeq(0)), chunk_key(part.next(), EventSeq(0)));
        for row in self.base.reader().range(TableId::Postings, &from, Some(&to), Order::Ascending)? {
            let (key, value) = row?;
            events.extend(decode_chunk(EventSeq(number_at(&key, 8)), &value, self.base.path())?);
        }
        for generation in self.frozen.iter().chain([&self.active]) {
            events.extend(generation.postings.get(&part).into_iter().filter(|event| event.seq.0 <= at));
        }
        Ok(events)
    }
}

/// Where the index has the items of a list: the keys from the first to the second end with them.
fn listed(key: ListKey) -> (TableId, Vec<u8>, Vec<u8>) {
    let (table, prefix) = match key.kind {
        // The keys of a fragment's links say it already.
        ListKind::Identifiers => (TableId::Links, FragmentNo(key.of).key_bytes()),
        _ => (TableId::Lists, key.key_bytes()),
    };
    let with = |item: u64| [&prefix[..], &item.to_be_bytes()].concat();
    (table, with(0), with(u64::MAX))
}

/// The big-endian u64 at byte `from` of a key; 0 if the key is too short.
#[must_use]
pub fn number_at(key: &[u8], from: usize) -> u64 {
    key.get(from..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// What readers see: everything up to one position.
#[derive(Debug, Clone)]
pub struct Version {
    /// The rows.
    pub layers: Layers,
    /// The numbers; `seq` is the position.
    pub counters: Counters,
    /// The records.
    pub log: LogReader,
    /// Where they are, for messages.
    pub path: Arc<Path>,
}

/// What the writer sees: everything, the group that it is filling included.
#[derive(Debug)]
pub struct Staging {
    /// The rows.
    pub layers: Layers,
    /// The numbers.
    pub counters: Counters,
    /// The records.
    pub log: LogReader,
    /// Where they are, for messages.
    pub path: Arc<Path>,
    /// The records that are not in the log yet.
    pub group: Group,
    /// How far the log is durable, while a group is in flight.
    pub landed: Arc<Landed>,
    /// Sequence number of the first of them.
    pub group_first: EventSeq,
    /// First sequence number of the record that is being applied.
    pub stamp: u64,
    /// Which older values are still needed.
    pub horizon: Horizon,
    /// Persons that the act that is being applied leaves, worked out beforehand.
    pub prepared: Vec<Prepared>,
    /// Whether the row that was put last is the first of its key in the active generation.
    pub put_was_new: bool,
    /// A repeat key that the base does not have.
    pub absent_below: Option<RepeatKey>,
}

fn known_event(log: &LogReader, seq: EventSeq, path: &Path) -> Result<Option<KnownEvent>, Error> {
    match log.record(seq)? {
        Some(record) => event_of(record.bytes(), record.first_seq(), seq, path).map(Some),
        None => Ok(None),
    }
}

fn event_of(bytes: &[u8], first_seq: EventSeq, seq: EventSeq, path: &Path) -> Result<KnownEvent, Error> {
    let damaged = || Error::Damaged {
        path: path.to_owned(),
        offset: 0,
        reason: format!("position {} is no event", seq.0),
    };
    let record = RecordView::parse(bytes, path)?;
    let decision = record.decision(path)?;
    let place = usize::try_from(seq.0.saturating_sub(first_seq.0)).map_err(|_| damaged())?;
    let (event, links) = event_at(&decision.effects, place).ok_or_else(damaged)?;
    let request = record.command(path)?.ok_or_else(damaged)?;
    let sent = request.events.get(usize::from(event.index)).ok_or_else(damaged)?;
    Ok(KnownEvent {
        id: sent.id.as_deref().unwrap_or_default().into(),
        event_type: sent.event_type.as_str().into(),
        part: event.part,
        links: links.to_vec(),
    })
}
