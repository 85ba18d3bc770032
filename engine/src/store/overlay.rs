//! What changed since the last checkpoint, in memory: generations of rows stamped with their position.
//!
//! The writer puts rows with stamps beyond the published position; nobody sees them until the position
//! moves. A row keeps older values only as long as a snapshot, or the published position, may ask for
//! them. A generation is *active* (the writer puts into it) and then *frozen* (a checkpoint writes it to the
//! index). It knows nothing of the index or of what rows mean.

use super::shards::Shards;
use crate::core::rows::{ListKey, Posting, RepeatKey};
use crate::ids::{EventSeq, FragmentNo, PartNo, SessionNo};
use hashbrown::hash_map::RawEntryMut;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a row has elsewhere, texts and lists, on average, in bytes.
const ROW_ELSEWHERE_BYTES: usize = 32;

/// How much more memory a process grows by than the sizes of rows come to, in tenths: room in lists and maps, sizes that
/// the allocator rounds up to, and what it keeps between them. Measured on the benchmarks' traffic: decision 14.
const TAKEN_BEYOND_OF_TEN: usize = 7;
const TEN: usize = 10;

/// What goes before each shared value, in bytes: how many share it.
const SHARED_BYTES: usize = 16;

/// Keys that a table tells apart by its sketch, at least: more make it less use and no harm.
const SKETCH_KEYS: usize = 16 << 10;

/// The same of repeat keys, of which there is one for each event.
const REPEATS_SKETCH_KEYS: usize = 256 << 10;

/// Bits of hashes. Most look-ups are of what did not change since the last checkpoint: a bit says so, without a
/// lock and a search.
#[derive(Debug)]
struct Sketch(Box<[AtomicU64]>);

impl Sketch {
    /// Four bits a key, of which there are a power of two.
    fn new(keys: usize) -> Self {
        Self((0..keys / 16).map(|_| AtomicU64::new(0)).collect())
    }

    fn place(&self, hash: u64) -> (Option<&AtomicU64>, u64) {
        let word = usize::try_from(hash >> 32).unwrap_or(0) & self.0.len().wrapping_sub(1);
        (self.0.get(word), 1 << (hash & 63))
    }

    /// Notes a key. Whoever is told of the position at which it came sees the bit.
    fn note(&self, hash: u64) {
        if let (Some(word), bit) = self.place(hash) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// `false`: it was not noted.
    fn may_hold(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        word.is_none_or(|word| word.load(Ordering::Relaxed) & bit != 0)
    }
}

/// The newest value of a key, and the one before it: no more, unless a snapshot lives.
#[derive(Debug)]
struct Cell<R> {
    newest: Stamped<R>,
    before: Option<Stamped<R>>,
    /// Newest last.
    oldest: Vec<Stamped<R>>,
}

/// A value and the position at which it came.
#[derive(Debug)]
struct Stamped<R> {
    stamp: u64,
    row: Arc<R>,
}

impl<R> Stamped<R> {
    /// Takes another value's place, in its memory if nobody else looks at it.
    fn replace(&mut self, stamp: u64, row: R) {
        self.stamp = stamp;
        match Arc::get_mut(&mut self.row) {
            Some(own) => *own = row,
            None => self.row = Arc::new(row),
        }
    }
}

impl<R> Cell<R> {
    fn new(stamp: u64, row: R) -> Self {
        Self { newest: Stamped { stamp, row: Arc::new(row) }, before: None, oldest: Vec::new() }
    }

    /// The value as of position `at`.
    fn get(&self, at: u64) -> Option<&Arc<R>> {
        let mut values = std::iter::once(&self.newest).chain(&self.before).chain(self.oldest.iter().rev());
        values.find(|value| value.stamp <= at).map(|value| &value.row)
    }

    /// Puts a newer value; see [`Keyed::put`].
    fn put(&mut self, stamp: u64, row: R, horizon: Horizon) {
        if self.newest.stamp > horizon.published {
            self.newest.replace(stamp, row);
            return;
        }
        let Some(before) = &mut self.before else {
            let newest = Stamped { stamp, row: Arc::new(row) };
            self.before = Some(std::mem::replace(&mut self.newest, newest));
            return;
        };
        // What was newest is what is published, or older.
        std::mem::swap(&mut self.newest, before);
        if before.stamp <= horizon.oldest_live {
            self.oldest.clear();
            self.newest.replace(stamp, row);
            return;
        }
        let newest = Stamped { stamp, row: Arc::new(row) };
        let second = std::mem::replace(&mut self.newest, newest);
        self.oldest.push(second);
        let seen = self.oldest.partition_point(|value| value.stamp <= horizon.oldest_live);
        self.oldest.drain(..seen.saturating_sub(1));
    }
}

/// One table of rows by key.
#[derive(Debug)]
pub struct Keyed<K, R> {
    shards: Shards<K, Cell<R>>,
    sketch: Sketch,
    entries: AtomicUsize,
}

impl<K: Hash + Eq + Clone, R> Keyed<K, R> {
    fn new() -> Self {
        Self { shards: Shards::new(), sketch: Sketch::new(SKETCH_KEYS), entries: AtomicUsize::new(0) }
    }

    /// The value as of position `at`.
    pub fn get(&self, key: &K, at: u64) -> Option<Arc<R>> {
        let hash = self.shards.hash(key);
        if !self.sketch.may_hold(hash) {
            return None;
        }
        let shard = self.shards.part(hash).read();
        let (_, cell) = shard.raw_entry().from_key_hashed_nocheck(hash, key)?;
        cell.get(at).cloned()
    }

    /// Puts a value that came at `stamp`. Values that neither position `published` nor `oldest_live` nor one
    /// between can ask for are let go. Returns whether the key is new here.
    pub fn put(&self, key: K, row: R, stamp: u64, horizon: Horizon) -> bool {
        let hash = self.shards.hash(&key);
        let mut shard = self.shards.part(hash).write();
        match shard.raw_entry_mut().from_key_hashed_nocheck(hash, &key) {
            RawEntryMut::Occupied(entry) => {
                entry.into_mut().put(stamp, row, horizon);
                false
            }
            RawEntryMut::Vacant(entry) => {
                entry.insert_hashed_nocheck(hash, key, Cell::new(stamp, row));
                self.sketch.note(hash);
                self.entries.fetch_add(1, Ordering::Relaxed);
                true
            }
        }
    }

    /// Keys and newest values, for a frozen generation.
    pub fn newest(&self) -> Vec<(K, Arc<R>)> {
        let mut rows = Vec::with_capacity(self.length());
        for shard in self.shards.parts() {
            rows.extend(shard.read().iter().map(|(key, cell)| (key.clone(), Arc::clone(&cell.newest.row))));
        }
        rows
    }

    /// Number of keys.
    pub fn length(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Estimated bytes of a row: a map has three places for two rows, and most have a value before the newest.
    const fn row_bytes() -> usize {
        let places = (size_of::<K>() + size_of::<Cell<R>>() + 1) * 3 / 2;
        places + 2 * (size_of::<R>() + SHARED_BYTES) + ROW_ELSEWHERE_BYTES
    }
}

/// Positions that may still be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Horizon {
    /// The published one; what is stamped beyond it nobody has seen.
    pub published: u64,
    /// That of the oldest live snapshot, or the published one.
    pub oldest_live: u64,
}

/// Lists that only grow, by key.
#[derive(Debug)]
pub struct Lists<K, I> {
    shards: Shards<K, Vec<I>>,
    items: AtomicUsize,
}

impl<K: Hash + Eq + Copy, I: Clone> Lists<K, I> {
    fn new() -> Self {
        Self { shards: Shards::new(), items: AtomicUsize::new(0) }
    }

    fn part(&self, key: &K) -> &parking_lot::RwLock<super::shards::Map<K, Vec<I>>> {
        self.shards.part(self.shards.hash(key))
    }

    /// Adds an item at the end.
    pub fn push(&self, key: K, item: I) {
        self.part(&key).write().entry(key).or_default().push(item);
        self.items.fetch_add(1, Ordering::Relaxed);
    }

    /// The items of a key.
    pub fn get(&self, key: &K) -> Vec<I> {
        self.part(key).read().get(key).cloned().unwrap_or_default()
    }

    /// All keys with their items.
    pub fn all(&self) -> Vec<(K, Vec<I>)> {
        let mut lists = Vec::new();
        for shard in self.shards.parts() {
            lists.extend(shard.read().iter().map(|(key, items)| (*key, items.clone())));
        }
        lists
    }

    /// Number of items under all keys.
    pub fn length(&self) -> usize {
        self.items.load(Ordering::Relaxed)
    }
}

macro_rules! generation {
    ($($(#[$doc:meta])* $get:ident, $put:ident: $key:ty => $row:ty, $id:ident;)*) => {
        /// All that changed between two checkpoints.
        #[derive(Debug)]
        pub struct Generation {
            $($(#[$doc])* pub $get: Keyed<$key, $row>,)*
            /// Events by repeat key.
            pub repeats: RepeatMap,
            /// Events of parts, in order of sequence numbers.
            pub postings: Lists<PartNo, Posting>,
            /// Further parts of sessions, with the stamp at which they came.
            pub session_parts: Lists<SessionNo, (u64, PartNo)>,
            /// Lists of numbers, with the stamp at which an item came.
            pub lists: Lists<ListKey, (u64, u64)>,
            /// Parts of fragments that have a row in this generation.
            pub touched_parts: Lists<FragmentNo, PartNo>,
            /// Milliseconds since 1970 at which sessions are to be looked at.
            pub due: Mutex<BTreeSet<(u64, SessionNo)>>,
            /// Entries of older generations, or of the index, that were looked at.
            pub due_done: Mutex<BTreeSet<(u64, SessionNo)>>,
        }

        impl Generation {
            /// An empty generation.
            #[must_use]
            pub fn new() -> Self {
                Self {
                    $($get: Keyed::new(),)*
                    repeats: RepeatMap::new(),
                    postings: Lists::new(),
                    session_parts: Lists::new(),
                    lists: Lists::new(),
                    touched_parts: Lists::new(),
                    due: Mutex::default(),
                    due_done: Mutex::default(),
                }
            }

            /// What it takes in memory, in bytes, estimated from the number of rows.
            #[must_use]
            pub fn bytes(&self) -> usize {
                let asked_for = 0 $(+ self.$get.length() * Keyed::<$key, $row>::row_bytes())*
                    + self.repeats.length() * 40
                    + self.postings.length() * 40
                    + self.lists.length() * 48
                    + self.touched_parts.length() * 32;
                asked_for + asked_for / TEN * TAKEN_BEYOND_OF_TEN
            }
        }
    };
}
crate::for_each_table!(generation);

impl Default for Generation {
    fn default() -> Self {
        Self::new()
    }
}

/// Positions of events by repeat key. An entry never changes: its position is its stamp.
#[derive(Debug)]
pub struct RepeatMap {
    shards: Shards<RepeatKey, EventSeq>,
    sketch: Sketch,
    entries: AtomicUsize,
}

impl RepeatMap {
    fn new() -> Self {
        let sketch = Sketch::new(REPEATS_SKETCH_KEYS);
        Self { shards: Shards::new(), sketch, entries: AtomicUsize::new(0) }
    }

    /// The event of a key, if it is no later than `at`.
    pub fn get(&self, key: RepeatKey, at: u64) -> Option<EventSeq> {
        let hash = self.shards.hash(&key);
        if !self.sketch.may_hold(hash) {
            return None;
        }
        let shard = self.shards.part(hash).read();
        let (_, seq) = shard.raw_entry().from_key_hashed_nocheck(hash, &key)?;
        (seq.0 <= at).then_some(*seq)
    }

    /// Notes an event.
    pub fn put(&self, key: RepeatKey, seq: EventSeq) {
        let hash = self.shards.hash(&key);
        let mut shard = self.shards.part(hash).write();
        shard.raw_entry_mut().from_key_hashed_nocheck(hash, &key).or_insert(key, seq);
        self.sketch.note(hash);
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// All of them.
    pub fn all(&self) -> Vec<(u128, u64)> {
        let mut rows = Vec::with_capacity(self.length());
        for shard in self.shards.parts() {
            rows.extend(shard.read().iter().map(|(key, seq)| (key.as_u128(), seq.0)));
        }
        rows
    }

    /// Number of entries.
    pub fn length(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every position from 1 on sees.
    fn seen(table: &Keyed<u64, u64>, to: u64) -> Vec<Option<u64>> {
        (1..=to).map(|at| table.get(&7, at).map(|row| *row)).collect()
    }

    #[test]
    fn a_value_stays_as_long_as_a_position_can_ask_for_it() {
        let table = Keyed::new();
        let horizon = |published, oldest_live| Horizon { published, oldest_live };
        assert!(table.put(7, 10, 2, horizon(0, 0)), "the first of its key");
        assert!(!table.put(7, 11, 3, horizon(0, 0)), "nobody has seen the first");
        assert_eq!(seen(&table, 4), [None, None, Some(11), Some(11)]);
        // A snapshot lives at 3, and goes on living.
        for (stamp, published) in [(4, 3), (5, 4), (6, 5), (7, 6)] {
            table.put(7, 10 * stamp, stamp, horizon(published, 3));
        }
        let all = [None, None, Some(11), Some(40), Some(50), Some(60), Some(70), Some(70)];
        assert_eq!(seen(&table, 8), all);
        // The next lives at 5, and then none does.
        table.put(7, 80, 8, horizon(7, 5));
        let from_five = [None, None, None, None, Some(50), Some(60), Some(70), Some(80)];
        assert_eq!(seen(&table, 8), from_five);
        table.put(7, 90, 9, horizon(8, 8));
        let (gone, kept) = ([None; 7], [Some(80), Some(90)]);
        assert_eq!(seen(&table, 9), [&gone[..], &kept].concat());
    }

    #[test]
    fn a_sketch_forgets_nothing_and_tells_most_of_the_rest() {
        let keyed: Keyed<u64, u64> = Keyed::new();
        for key in 0..SKETCH_KEYS as u64 {
            keyed.sketch.note(keyed.shards.hash(&key));
        }
        let held = |key: &u64| keyed.sketch.may_hold(keyed.shards.hash(key));
        assert!((0..SKETCH_KEYS as u64).all(|key| held(&key)));
        let strangers = 1 << 40..(1 << 40) + 10_000_u64;
        let mistaken = strangers.filter(held).count();
        assert!(mistaken < 3_000, "{mistaken} of 10,000");
        assert!(!Sketch::new(1_024).may_hold(7));
    }

    #[test]
    fn memory_is_not_used_again_while_somebody_looks_at_it() {
        let table = Keyed::new();
        let horizon = |at| Horizon { published: at, oldest_live: at };
        table.put(7, 10, 1, horizon(0));
        let held = table.get(&7, 1).unwrap();
        for stamp in 2..5 {
            table.put(7, 10 * stamp, stamp, horizon(stamp - 1));
        }
        assert_eq!((*held, *table.get(&7, 4).unwrap()), (10, 40));
    }
}
