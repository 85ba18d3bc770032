//! A bounded cache of decoded blocks and block indexes, with the second-chance rule: cheaper than exact
//! recency, and as good for blocks.

use super::block::Block;
use super::sealed::BlockIndex;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::collections::VecDeque;
use std::sync::Arc;

/// What is cached: a block of a segment's generation, or with `None` its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) segment: u64,
    pub(super) generation: u32,
    pub(super) block: Option<usize>,
}

#[derive(Clone)]
pub(super) enum Cached {
    Block(Arc<Block>),
    Index(Arc<BlockIndex>),
}

impl Cached {
    fn memory_bytes(&self) -> usize {
        match self {
            Self::Block(block) => block.memory_bytes(),
            Self::Index(index) => index.memory_bytes(),
        }
    }
}

struct Slot {
    value: Cached,
    bytes: usize,
    used: bool,
}

/// The cache. Holds at most `capacity` bytes of values.
pub(super) struct Cache {
    slots: HashMap<Key, Slot>,
    queue: VecDeque<Key>,
    bytes: usize,
    capacity: usize,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { slots: HashMap::new(), queue: VecDeque::new(), bytes: 0, capacity }
    }

    pub(super) fn get(&mut self, key: Key) -> Option<Cached> {
        let slot = self.slots.get_mut(&key)?;
        slot.used = true;
        Some(slot.value.clone())
    }

    /// Keeps `value`, if it is not larger than the whole cache.
    pub(super) fn put(&mut self, key: Key, value: Cached) {
        let bytes = value.memory_bytes();
        if bytes > self.capacity {
            return;
        }
        // Two readers may have decoded the same block: the first one stays.
        if let Entry::Vacant(vacant) = self.slots.entry(key) {
            vacant.insert(Slot { value, bytes, used: false });
            self.queue.push_back(key);
            self.bytes += bytes;
        }
        while self.bytes > self.capacity && self.evict_one() {}
    }

    fn evict_one(&mut self) -> bool {
        let Some(key) = self.queue.pop_front() else { return false };
        if let Entry::Occupied(mut slot) = self.slots.entry(key) {
            if std::mem::take(&mut slot.get_mut().used) {
                self.queue.push_back(key);
            } else {
                self.bytes -= slot.remove().bytes;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: usize) -> Cached {
        let mut plain = vec![1, 0, 2];
        plain.truncate(3);
        let mut draft = super::super::block::BlockDraft::default();
        draft.push(1, &vec![0; bytes], None);
        draft.take(&mut plain);
        Cached::Block(Arc::new(Block::from_sealed(plain, 1, 2).unwrap()))
    }

    const fn key(block: usize) -> Key {
        Key { segment: 1, generation: 0, block: Some(block) }
    }

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let mut cache = Cache::new(10_000);
        for number in 0..1_000 {
            cache.put(key(number), block(900));
            assert!(cache.bytes <= 10_000);
            assert_eq!(cache.slots.len(), cache.queue.len());
            assert!(cache.get(key(0)).is_some(), "used all the time, gone after {number}");
        }
        assert!(cache.get(key(1)).is_none());
        assert!(cache.slots.len() >= 8);
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept() {
        let mut cache = Cache::new(1_000);
        cache.put(key(0), block(100));
        cache.put(key(1), block(2_000));
        assert!(cache.get(key(0)).is_some());
        assert!(cache.get(key(1)).is_none());
    }
}
