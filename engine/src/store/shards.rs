//! A hash map in parts, each under a lock of its own, so that readers and the writer rarely meet. A lock is
//! held for one look-up or one change, never for more.

use hashbrown::HashMap;
use parking_lot::RwLock;
use std::hash::{BuildHasher, Hash};

/// How keys are hashed: with a seed of the process, so that nobody outside can make keys collide.
pub type Hasher = hashbrown::DefaultHashBuilder;

/// One part.
pub type Map<K, V> = HashMap<K, V, Hasher>;

/// Number of parts.
const SHARDS: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Shards<K, V> {
    hasher: Hasher,
    parts: Box<[RwLock<Map<K, V>>]>,
}

impl<K: Hash + Eq, V> Shards<K, V> {
    /// No entries.
    pub fn new() -> Self {
        let hasher = Hasher::default();
        let parts = (0..SHARDS).map(|_| RwLock::new(Map::with_hasher(hasher.clone()))).collect();
        Self { hasher, parts }
    }

    /// The hash of a key: of a part's own, too.
    pub fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The part where keys of that hash are.
    pub fn part(&self, hash: u64) -> &RwLock<Map<K, V>> {
        // The map itself uses the upper and the lowest bits.
        let at = usize::try_from((hash >> 20) % SHARDS as u64).unwrap_or(0);
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        &self.parts[at]
    }

    /// All parts.
    pub fn parts(&self) -> impl Iterator<Item = &RwLock<Map<K, V>>> {
        self.parts.iter()
    }
}

impl<K: Hash + Eq, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self::new()
    }
}
