//! The index as one checkpoint left it, with the rows that were read from it lately.
//!
//! Rows here never change: the next checkpoint makes a new base. So what callers' threads look up before
//! they queue is at hand when the writer looks it up again.

use super::codec::{KeyBytes, decode};
use super::index::{IndexReader, TableId};
use super::shards::Shards;
use crate::core::rows::{
    Counters, DeviceKey, GapKey, IdentifierKey, LinkKey, ListKey, ListKind, NameKey, NameKind, PairKey,
    RepeatKey, SessionKey,
};
use crate::error::Error;
use crate::ids::{DeviceNo, EventSeq, FragmentNo, IdentifierNo, PartNo, SessionNo};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use uuid::Uuid;

/// Fewest rows at hand.
const ROWS_MIN: usize = 16;

/// What a row at hand costs, in bytes, about.
const ROW_BYTES: usize = 256;

/// Rows of one table that were read lately; absence is a row too.
#[derive(Debug)]
struct AtHand<K, R>(Shards<K, Option<Arc<R>>>);

impl<K: Hash + Eq + Clone, R> AtHand<K, R> {
    fn new() -> Self {
        Self(Shards::new())
    }

    fn get(&self, key: &K) -> Option<Option<Arc<R>>> {
        self.0.part(self.0.hash(key)).read().get(key).cloned()
    }

    /// Keeps a row; when all tables together hold too many, this part of this table is emptied first.
    fn keep(&self, key: &K, row: Option<Arc<R>>, held: &AtomicUsize, max: usize) {
        let mut shard = self.0.part(self.0.hash(key)).write();
        if held.load(Ordering::Relaxed) >= max {
            held.fetch_sub(shard.len(), Ordering::Relaxed);
            shard.clear();
        }
        if shard.insert(key.clone(), row).is_none() {
            held.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a key was given after a checkpoint, so that the index need not be asked.
pub trait Born {
    /// `false` if only the index can tell.
    fn born_after(&self, base: &Counters) -> bool;
}

macro_rules! born {
    ($($key:ty: |$self:ident, $base:ident| $after:expr;)*) => {$(
        impl Born for $key {
            fn born_after(&$self, $base: &Counters) -> bool {
                $after
            }
        }
    )*};
}
born! {
    SessionNo: |self, base| *self > base.session;
    PartNo: |self, base| *self > base.part;
    DeviceNo: |self, base| *self > base.device;
    FragmentNo: |self, base| *self > base.fragment;
    (SessionNo, FragmentNo): |self, base| self.0 > base.session || self.1 > base.fragment;
    (NameKind, u32): |self, base| base.names.get(self.0.index()).is_some_and(|last| self.1 > *last);
    GapKey: |self, base| self.fragment > base.fragment;
    NameKey: |self, base| base.names.get(self.kind.index()) == Some(&0);
    SessionKey: |self, base| base.session.0 == 0;
    Uuid: |self, base| base.fragment.0 == 0;
    Box<str>: |self, base| base.fragment.0 == 0;
    DeviceKey: |self, base| base.device.0 == 0;
    IdentifierNo: |self, base| *self > base.identifier;
    IdentifierKey: |self, base| base.identifier.0 == 0;
    LinkKey: |self, base| self.fragment > base.fragment || self.identifier > base.identifier;
    PairKey: |self, base| self.other > base.fragment;
    ListKey: |self, base| match self.kind {
        ListKind::Carriers => self.of > base.identifier.0,
        ListKind::Seats => self.of > base.device.0,
        ListKind::Quarantine | ListKind::Blocked => base.identifier.0 == 0,
        _ => self.of > base.fragment.0,
    };
    RepeatKey: |self, base| match self.scope >> 62 {
        0 => self.scope > base.session.0,
        1 => (self.scope & !(1 << 62)) > base.device.0,
        _ => base.events == 0,
    };
}

macro_rules! base {
    ($($(#[$doc:meta])* $get:ident, $put:ident: $key:ty => $row:ty, $id:ident;)*) => {
        #[derive(Debug)]
        struct Tables {
            $($get: AtHand<$key, $row>,)*
        }

        impl Tables {
            fn new() -> Self {
                Self { $($get: AtHand::new(),)* }
            }
        }

        impl Base {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`Error`] if the index could not be read.
                pub fn $get(&self, key: &$key) -> Result<Option<Arc<$row>>, Error> {
                    if key.born_after(&self.counters) {
                        return Ok(None);
                    }
                    if let Some(row) = self.tables.$get.get(key) {
                        return Ok(row);
                    }
                    let row = self.read::<$row>(TableId::$id, &key.key_bytes())?;
                    self.tables.$get.keep(key, row.clone(), &self.held, self.max_rows);
                    Ok(row)
                }
            )*
        }
    };
}
crate::for_each_table!(base);

/// One checkpoint's state.
pub struct Base {
    reader: IndexReader,
    /// The numbers as of the checkpoint.
    pub counters: Counters,
    tables: Tables,
    held: AtomicUsize,
    max_rows: usize,
    path: PathBuf,
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Base {
    /// The state that `reader` shows. `cache_bytes` bound the rows at hand.
    #[must_use]
    pub fn new(reader: IndexReader, counters: Counters, cache_bytes: usize, path: &Path) -> Self {
        Self {
            reader,
            counters,
            tables: Tables::new(),
            held: AtomicUsize::new(0),
            max_rows: (cache_bytes / ROW_BYTES).max(ROWS_MIN),
            path: path.to_owned(),
        }
    }

    fn read<R: bincode::Decode<()>>(&self, table: TableId, key: &[u8]) -> Result<Option<Arc<R>>, Error> {
        let decoded = self.reader.get(table, key, |bytes| decode::<R>(bytes, &self.path))?;
        decoded.transpose().map(|row| row.map(Arc::new))
    }

    /// The event of a repeat key.
    ///
    /// # Errors
    /// [`Error`] if the index could not be read.
    pub fn repeat(&self, key: RepeatKey) -> Result<Option<EventSeq>, Error> {
        if key.born_after(&self.counters) {
            return Ok(None);
        }
        Ok(self.reader.repeat(key.as_u128())?.map(EventSeq))
    }

    /// The index itself, for ranges.
    #[must_use]
    pub const fn reader(&self) -> &IndexReader {
        &self.reader
    }

    /// Where it is, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
