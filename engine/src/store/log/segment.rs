//! Segment files: their names, the head of an unsealed one, and its sparse index in memory.
//!
//! Reads what was appended; never writes.

use super::LogPosition;
use super::block::Block;
use super::bytes::Take;
use super::checksum::{Keys, SegmentKey};
use super::frame::FRAME_HEADER_BYTES;
use crate::error::Error;
use crate::limits::OPEN_BLOCK_BYTES;
use crate::store::disk::DiskFile;
use parking_lot::RwLock;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes before the first frame of a segment.
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;
const MAGIC: u64 = u64::from_le_bytes(*b"SPOORLOG");
const VERSION: u64 = 1;

/// Whether frames are appended to a file, or it holds compressed blocks and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Open,
    Sealed,
}

/// The name of a segment file: of several generations of one segment, the highest complete one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileName {
    pub(super) segment: u64,
    pub(super) generation: u32,
    pub(super) kind: Kind,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Open => "open",
            Kind::Sealed => "sealed",
        };
        write!(f, "{:012}-{:04}.{kind}", self.segment, self.generation)
    }
}

impl FileName {
    /// The name of the file that frames of `segment` are appended to.
    pub(super) const fn open(segment: u64) -> Self {
        Self { segment, generation: 0, kind: Kind::Open }
    }

    /// What the name says, if it is one of ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (numbers, kind) = name.split_once('.')?;
        let (segment, generation) = numbers.split_once('-')?;
        let kind = match kind {
            "open" => Kind::Open,
            "sealed" => Kind::Sealed,
            _ => return None,
        };
        let parsed = Self { segment: segment.parse().ok()?, generation: generation.parse().ok()?, kind };
        (parsed.to_string() == name).then_some(parsed)
    }
}

/// The head of an unsealed segment, written together with its first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) segment: u64,
    pub(super) first_seq: u64,
    /// Checksum of the last frame of the segment before.
    pub(super) chain_before: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self, keys: &Keys) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        for number in [MAGIC, VERSION] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&keys.store().to_le_bytes());
        for number in [self.segment, self.first_seq, self.chain_before] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&keys.segment(self.segment).chained(0, &bytes).to_le_bytes());
        let mut header = [0; SEGMENT_HEADER_BYTES];
        for (to, from) in header.iter_mut().zip(bytes) {
            *to = from;
        }
        header
    }

    /// The head of `segment`, if these bytes are one of this store.
    pub(super) fn decode(bytes: &[u8], segment: u64, keys: &Keys) -> Option<Self> {
        let mut take = Take(bytes.get(32..)?);
        let header = Self { segment: take.u64()?, first_seq: take.u64()?, chain_before: take.u64()? };
        let same = header.segment == segment && header.first_seq > 0;
        (same && header.encode(keys).as_slice() == bytes).then_some(header)
    }

    /// What the first frame follows: the checksum in the head.
    pub(super) fn chain(&self, keys: &Keys) -> u64 {
        self.encode(keys).last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// A segment whose frames lie as they were appended.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) name: FileName,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) header: SegmentHeader,
    pub(super) keys: Keys,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    marks: Vec<Mark>,
    end: LogPosition,
}

/// A record's place, kept for one record in every [`OPEN_BLOCK_BYTES`].
#[derive(Debug, Clone, Copy)]
struct Mark {
    seq: u64,
    offset: u64,
    frame_end: u64,
}

/// A block of an open segment.
pub(super) struct OpenBlock {
    pub(super) block: Block,
    /// Its place among the blocks.
    pub(super) ordinal: usize,
    /// Whether nothing will be added to it.
    pub(super) complete: bool,
}

impl OpenSegment {
    pub(super) fn new(
        name: FileName,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        header: SegmentHeader,
        keys: Keys,
    ) -> Self {
        let state = RwLock::new(State { marks: Vec::new(), end: LogPosition::default() });
        Self { name, path, file, header, keys, state }
    }

    pub(super) fn key(&self) -> SegmentKey {
        self.keys.segment(self.header.segment)
    }

    /// Makes a frame visible that is synced. `records` are their first numbers and places from `payload_at` on.
    pub(super) fn publish(
        &self,
        payload_at: u64,
        records: impl Iterator<Item = (u64, u64)>,
        end: LogPosition,
    ) {
        let mut state = self.state.write();
        let mut last = state.marks.last().map(|mark| mark.offset);
        for (seq, place) in records {
            let offset = payload_at + place;
            if last.is_none_or(|last| offset - last >= OPEN_BLOCK_BYTES) {
                state.marks.push(Mark { seq, offset, frame_end: end.offset });
                last = Some(offset);
            }
        }
        state.end = end;
    }

    /// The end of its last frame.
    pub(super) fn end(&self) -> LogPosition {
        self.state.read().end
    }

    /// The block that covers `seq`, which this segment holds.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`].
    pub(super) fn block(&self, seq: u64) -> Result<Option<OpenBlock>, Error> {
        let Some((mark, end, ordinal, complete)) = self.marks_around(seq) else { return Ok(None) };
        let length = usize::try_from(end - mark.offset).map_err(|_| self.damaged(mark.offset))?;
        let mut bytes = vec![0; length];
        let read = self.file.read_at(&mut bytes, mark.offset).map_err(Error::io(&self.path))?;
        let frame_rest = usize::try_from(mark.frame_end - mark.offset).unwrap_or(usize::MAX);
        let block = if read == length {
            Block::from_frames(bytes, mark.seq, frame_rest, &self.keys, self.key())
        } else {
            None
        };
        let block = block.ok_or_else(|| self.damaged(mark.offset))?;
        Ok(Some(OpenBlock { block, ordinal, complete }))
    }

    /// The place of the block that covers `seq`, if nothing will be added to it.
    pub(super) fn complete_block(&self, seq: u64) -> Option<usize> {
        self.marks_around(seq).and_then(|(_, _, ordinal, complete)| complete.then_some(ordinal))
    }

    /// The block that covers `seq`: its mark, where it ends, its place, whether it is complete.
    fn marks_around(&self, seq: u64) -> Option<(Mark, u64, usize, bool)> {
        let state = self.state.read();
        let after = state.marks.partition_point(|mark| mark.seq <= seq);
        let ordinal = after.checked_sub(1)?;
        let next = state.marks.get(after);
        let end = next.map_or(state.end.offset, |mark| mark.offset);
        Some((*state.marks.get(ordinal)?, end, ordinal, next.is_some()))
    }

    fn damaged(&self, offset: u64) -> Error {
        let reason = "a record that was written here is no longer what it was".to_owned();
        Error::Damaged { path: self.path.clone(), offset, reason }
    }
}

/// Where the first frame of a segment begins.
pub(super) const FIRST_FRAME_AT: u64 = SEGMENT_HEADER_BYTES as u64;
const _: () = assert!(SEGMENT_HEADER_BYTES > FRAME_HEADER_BYTES);
