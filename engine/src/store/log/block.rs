//! Blocks: the piece of the log that is read, decoded and cached at once, and the records in it.
//!
//! A block of a sealed segment, before compression:
//!
//! ```text
//! +---------+----------------------------------------------------+----------------------+
//! | records | for each: length, 2 * seqs + ends, [frame checksum] | their bytes, in order |
//! +---------+----------------------------------------------------+----------------------+
//!   varint    varint  varint             u32, only if `ends` = 1
//! ```
//!
//! `ends` says that the record was the last of its frame, whose checksum (its low half) stays on record,
//! so that a position in the log can be confirmed when its frames are gone.

use super::bytes::{Take, put_varint};
use super::checksum::{Keys, SegmentKey};
use super::frame::{FRAME_HEADER_BYTES, FrameHeader, take_record};
use crate::ids::EventSeq;
use std::fmt;
use std::sync::Arc;

/// Decoded records that follow each other.
pub(super) struct Block {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    seq: u64,
    seqs: u32,
    start: usize,
    length: usize,
    frame: Option<u32>,
}

/// A record of the log. Cheap to clone; keeps the block that it lies in alive (some 64 KiB, or its own size).
#[derive(Clone)]
pub struct Record {
    block: Arc<Block>,
    entry: Entry,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Record");
        fields.field("first_seq", &self.entry.seq).field("seqs", &self.entry.seqs);
        fields.field("length", &self.entry.length).finish_non_exhaustive()
    }
}

impl Record {
    /// The first number that it takes.
    #[must_use]
    pub const fn first_seq(&self) -> EventSeq {
        EventSeq(self.entry.seq)
    }

    /// How many numbers it takes, at least 1.
    #[must_use]
    pub const fn seqs(&self) -> u32 {
        self.entry.seqs
    }

    /// The first number of the record after it.
    #[must_use]
    pub const fn next_seq(&self) -> EventSeq {
        EventSeq(self.entry.seq + self.entry.seqs as u64)
    }

    /// What was appended.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.block.bytes.get(self.entry.start..self.entry.start + self.entry.length).unwrap_or_default()
    }

    /// The low half of its frame's checksum, if it is the last of the frame and the segment is sealed.
    pub(super) const fn frame(&self) -> Option<u32> {
        self.entry.frame
    }
}

impl Block {
    /// The record at `index`, in order.
    pub(super) fn record(self: &Arc<Self>, index: usize) -> Option<Record> {
        Some(Record { block: Arc::clone(self), entry: *self.entries.get(index)? })
    }

    /// The place of the record that covers `seq`.
    pub(super) fn find(&self, seq: u64) -> Option<usize> {
        let index = self.entries.partition_point(|entry| entry.seq <= seq).checked_sub(1)?;
        let entry = self.entries.get(index)?;
        (seq - entry.seq < u64::from(entry.seqs)).then_some(index)
    }

    /// The number after its last record.
    pub(super) fn next_seq(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.seq + u64::from(entry.seqs))
    }

    /// Bytes it takes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    /// Records as they lie in an open segment, frames and all: `bytes` begin with a record whose first number
    /// is `seq`, and whose frame ends after `frame_rest`. `None` if anything is not as it was written.
    pub(super) fn from_frames(
        bytes: Vec<u8>,
        mut seq: u64,
        frame_rest: usize,
        keys: &Keys,
        key: SegmentKey,
    ) -> Option<Self> {
        let mut entries = Vec::new();
        let mut take = Take(&bytes);
        let mut frame_end = frame_rest;
        while !take.0.is_empty() {
            let at = bytes.len() - take.0.len();
            if at == frame_end {
                let header = FrameHeader::decode(take.slice(FRAME_HEADER_BYTES)?, key)?;
                frame_end = at + header.frame_bytes();
                if header.first_seq != seq {
                    return None;
                }
                continue;
            }
            let record = take_record(&mut take, keys)?;
            let start = bytes.len() - take.0.len() - record.bytes.len();
            let length = record.bytes.len();
            entries.push(Entry { seq, seqs: record.seqs, start, length, frame: None });
            seq = seq.checked_add(u64::from(record.seqs))?;
        }
        Some(Self { bytes, entries })
    }

    /// A block of a sealed segment, decompressed, that holds the numbers from `seq` to before `next_seq`.
    /// `None` if it is not one.
    pub(super) fn from_sealed(bytes: Vec<u8>, mut seq: u64, next_seq: u64) -> Option<Self> {
        let mut take = Take(&bytes);
        let count = usize::try_from(take.varint()?).ok()?;
        // Each entry takes two bytes at least, so a wrong count cannot make this large.
        if count > bytes.len() / 2 {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        let mut start = 0usize;
        for _ in 0..count {
            let length = usize::try_from(take.varint()?).ok()?;
            let shape = take.varint()?;
            let seqs = u32::try_from(shape >> 1).ok().filter(|seqs| *seqs > 0)?;
            let frame = if shape & 1 == 1 { Some(take.u32()?) } else { None };
            entries.push(Entry { seq, seqs, start, length, frame });
            seq = seq.checked_add(u64::from(seqs))?;
            start = start.checked_add(length)?;
        }
        let payload_at = bytes.len() - take.0.len();
        if start != take.0.len() || seq != next_seq {
            return None;
        }
        for entry in &mut entries {
            entry.start += payload_at;
        }
        Some(Self { bytes, entries })
    }
}

/// A block of a sealed segment that is being filled.
#[derive(Debug, Default)]
pub(super) struct BlockDraft {
    table: Vec<u8>,
    bytes: Vec<u8>,
    records: u64,
    seqs: u64,
}

impl BlockDraft {
    pub(super) fn push(&mut self, seqs: u32, bytes: &[u8], frame: Option<u32>) {
        put_varint(&mut self.table, bytes.len() as u64);
        put_varint(&mut self.table, u64::from(seqs) << 1 | u64::from(frame.is_some()));
        if let Some(checksum) = frame {
            self.table.extend_from_slice(&checksum.to_le_bytes());
        }
        self.bytes.extend_from_slice(bytes);
        self.records += 1;
        self.seqs += u64::from(seqs);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) const fn seqs(&self) -> u64 {
        self.seqs
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Puts the block together in `out` and empties this.
    pub(super) fn take(&mut self, out: &mut Vec<u8>) {
        out.clear();
        put_varint(out, self.records);
        out.append(&mut self.table);
        out.append(&mut self.bytes);
        self.records = 0;
        self.seqs = 0;
    }
}
