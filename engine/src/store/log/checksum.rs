//! Which secret each checksum of the log starts from.
//!
//! Every one depends on the store's id, which never leaves the store: bytes of another store, of
//! another segment, or sent by a client, never look like ours.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The seeds of one store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    store: u128,
    record: u64,
}

/// The seed of one segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentKey(u64);

impl Keys {
    pub(super) fn new(store: u128) -> Self {
        Self { store, record: xxh3_64_with_seed(&store.to_le_bytes(), u64::from_le_bytes(*b"record  ")) }
    }

    pub(super) const fn store(&self) -> u128 {
        self.store
    }

    /// What stands for "the previous frame" before the first frame of all.
    pub(super) fn root(&self) -> u64 {
        xxh3_64_with_seed(&self.store.to_le_bytes(), u64::from_le_bytes(*b"root    "))
    }

    pub(super) fn segment(&self, segment: u64) -> SegmentKey {
        SegmentKey(xxh3_64_with_seed(&self.store.to_le_bytes(), segment))
    }

    /// The check of one record of an open segment.
    pub(super) fn record(&self, seqs: u32, bytes: &[u8]) -> u32 {
        let shape = (u64::from(seqs) << 32) ^ bytes.len() as u64;
        half(xxh3_64_with_seed(bytes, self.record ^ shape))
    }
}

impl SegmentKey {
    /// The checksum of a frame, or of whatever follows `previous`.
    pub(super) fn chained(self, previous: u64, bytes: &[u8]) -> u64 {
        let mut seed = [0; 16];
        let (left, right) = seed.split_at_mut(8);
        left.copy_from_slice(&self.0.to_le_bytes());
        right.copy_from_slice(&previous.to_le_bytes());
        xxh3_64_with_seed(bytes, xxh3_64(&seed))
    }

    /// The check of a frame's header alone.
    pub(super) fn header(self, bytes: &[u8]) -> u32 {
        half(xxh3_64_with_seed(bytes, self.0))
    }
}

/// The low half of a checksum.
pub(super) const fn half(checksum: u64) -> u32 {
    (checksum & 0xffff_ffff) as u32
}
