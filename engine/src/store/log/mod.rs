//! The event log: an append-only sequence of records, which the whole state of a store is a function of.
//!
//! It knows nothing of what a record means: a record is bytes, and the number of sequence numbers that it
//! takes. One owner appends groups of records; any number of readers read them, on any thread; two threads
//! in the background prepare the next segment and seal the full ones. All files go through [`Disk`].
//!
//! # Files
//!
//! ```text
//! log/store                      the store's id, the seed of all checksums
//! log/000000000001-0001.sealed   segment 1, generation 1: compressed blocks, never changed
//! log/000000000002-0000.open     segment 2, generation 0: frames, appended
//! log/000000000003-0000.open     segment 3, prepared: only zeros
//! ```
//!
//! Of several generations of a segment the highest that is whole counts; the others are removed at opening.
//! A log that was closed in order has sealed segments only, and opens by reading their feet.
//!
//! # An open segment
//!
//! ```text
//! 0       8         16         32        40          48             56         64
//! +-------+---------+----------+---------+-----------+--------------+----------+-------+-------+--------+
//! | magic | version | store id | segment | first seq | chain before | checksum | frame | frame | zeros… |
//! +-------+---------+----------+---------+-----------+--------------+----------+-------+-------+--------+
//!
//! a frame: one group, written at once and synced before the next one is written
//! 0          8           16               20     24         28             32
//! +----------+-----------+----------------+------+----------+--------------+--------+--------+
//! | checksum | first seq | payload length | seqs | encoding | header check | record | record…|
//! +----------+-----------+----------------+------+----------+--------------+--------+--------+
//!
//! a record
//! 0        4      8       12
//! +--------+------+-------+-------+
//! | length | seqs | check | bytes |
//! +--------+------+-------+-------+
//! ```
//!
//! A frame's checksum is seeded with the store's id, the segment and the checksum before it: that of the
//! frame before, or of the segment's head, which holds the last checksum of the segment before ("chain
//! before"). So the frames of a log are one chain. The header check is seeded with store and segment only,
//! so that a later frame can be recognised when the chain is broken. The record check lets a reader trust a
//! record without reading its whole frame. All numbers are little-endian.
//!
//! # A sealed segment
//!
//! ```text
//! +-------+--------+-----------------------------------+------+
//! | block | block… | per block: seqs, length (varints) | foot |
//! +-------+--------+-----------------------------------+------+
//!
//! a block                                  the foot, 13 numbers of 8 bytes
//! 0          8        12         16        magic, version, segment, generation, first seq, next seq,
//! +----------+--------+----------+------+  end offset and checksum of the last frame, chain before,
//! | checksum | length | encoding | data |  index offset, length and checksum, checksum of the foot
//! +----------+--------+----------+------+
//! ```
//!
//! The data is compressed with lz4 after ids are packed (`pack.rs`), unless that would make it larger. What
//! is inside a block is drawn in `block.rs`.

mod block;
mod bytes;
mod cache;
mod checksum;
mod frame;
mod group;
mod identity;
mod opening;
mod pace;
mod pack;
mod prepare;
mod reader;
mod seal;
mod sealed;
mod sealer;
mod segment;
mod shared;

pub use block::Record;
pub use group::{Group, GroupFull, GroupRecord};
pub use reader::LogReader;

use crate::error::Error;
use crate::ids::EventSeq;
use crate::limits::{FRAME_MAX_BYTES, LOG_CACHE_BYTES, SEGMENT_BYTES, SEGMENT_FIRST_BYTES};
use crate::store::disk::Disk;
use bincode::{Decode, Encode};
use checksum::Keys;
use frame::FRAME_HEADER_BYTES;
use opening::Opened;
use prepare::{Preparation, Prepared};
use sealer::Sealer;
use segment::{FIRST_FRAME_AT, FileName, OpenSegment, SegmentHeader};
use shared::{Segment, Shared};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// How a log is opened.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The size that segments grow to, in bytes. The first ones of an opening are smaller.
    pub segment_bytes: u64,
    /// Decoded blocks and block indexes that are kept in memory, in bytes.
    pub cache_bytes: usize,
    /// The id of the store if this opening makes it: a random number. Otherwise ignored.
    pub new_store_id: u128,
}

impl LogOptions {
    /// The usual sizes.
    #[must_use]
    pub const fn new(new_store_id: u128) -> Self {
        Self { segment_bytes: SEGMENT_BYTES, cache_bytes: LOG_CACHE_BYTES, new_store_id }
    }
}

/// The end of a frame. Names a place in one very log: its checksum depends on everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct LogPosition {
    /// The segment that the frame is in.
    pub segment: u64,
    /// Where the frame ends in that segment's open file, in bytes.
    pub offset: u64,
    /// The frame's checksum.
    pub checksum: u64,
    /// The first number after it.
    pub next_seq: EventSeq,
}

impl LogPosition {
    /// Before the first frame of all.
    fn start(keys: &Keys) -> Self {
        Self { segment: 0, offset: 0, checksum: keys.root(), next_seq: EventSeq(1) }
    }
}

/// The writer's end of the log. There is one.
///
/// Dropping it stops the threads and leaves the files as they are, as after a kill: nothing acknowledged is
/// lost, and the next opening does the rest. [`Log::close`] leaves the directory small and quick to open.
pub struct Log {
    shared: Arc<Shared>,
    sealer: Sealer,
    end: LogPosition,
    active: Option<Active>,
    next: Option<Preparation>,
    next_capacity: u64,
    segment_bytes: u64,
    /// Why nothing is accepted any more.
    failed: Option<Arc<str>>,
}

/// The segment that is appended to.
struct Active {
    segment: Arc<OpenSegment>,
    capacity: u64,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Log");
        fields.field("dir", &self.shared.dir).field("end", &self.end).field("failed", &self.failed);
        fields.finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log in `dir`, making it if there is none. `known` is the position that the index was built
    /// to: a log that ends before it is damaged. A frame that was being written when the power went, and that
    /// nobody was told of, is dropped.
    ///
    /// Costs one short read for each segment; after an unclean stop also reading and sealing the segments
    /// that were not sealed.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`], and then nothing was changed.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: &LogOptions,
        known: Option<&LogPosition>,
    ) -> Result<Self, Error> {
        let Opened { shared, end, unsealed } = opening::open(disk, dir, options, known)?;
        let sealer = Sealer::start(Arc::clone(&shared))?;
        for segment in unsealed {
            sealer.submit(segment);
        }
        Ok(Self {
            shared,
            sealer,
            end,
            active: None,
            next: None,
            next_capacity: SEGMENT_FIRST_BYTES.min(options.segment_bytes),
            segment_bytes: options.segment_bytes,
            failed: None,
        })
    }

    /// An empty group for this log.
    #[must_use]
    pub fn group(&self) -> Group {
        Group::new(self.shared.keys)
    }

    /// The end of the last frame.
    #[must_use]
    pub const fn position(&self) -> LogPosition {
        self.end
    }

    /// Whether `position` is the end of a frame of this very log.
    ///
    /// # Errors
    /// As [`LogReader::confirms`].
    pub fn confirms(&self, position: &LogPosition) -> Result<bool, Error> {
        self.reader().confirms(position)
    }

    /// A reader.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    /// Appends a group as one frame. When this returns, its records are durable, and visible to readers; they
    /// begin with the `next_seq` of the position before. An empty group changes nothing.
    ///
    /// # Errors
    /// [`Error::Indeterminate`] if writing or syncing failed: the group is there after the next opening,
    /// whole, or it is not. Any other error: nothing of it was written. After an error every further call
    /// is refused with [`Error::Closed`]: a failed sync is never tried again.
    pub fn append(&mut self, group: &mut Group) -> Result<LogPosition, Error> {
        if let Some(reason) = &self.failed {
            return Err(Error::Closed { reason: Arc::clone(reason) });
        }
        if group.is_empty() {
            return Ok(self.end);
        }
        let result = self.append_frame(group);
        if let Err(error) = &result {
            self.failed = Some(error.to_string().into());
        }
        result
    }

    fn append_frame(&mut self, group: &mut Group) -> Result<LogPosition, Error> {
        if let Some(failure) = self.sealer.failure() {
            return Err(Error::Closed { reason: failure.to_string().into() });
        }
        let (active, fresh) = self.room_for(FRAME_HEADER_BYTES + group.bytes())?;
        let (segment, capacity) = (Arc::clone(&active.segment), active.capacity);
        let (keys, first_seq) = (self.shared.keys, self.end.next_seq.0);
        let (head, at, previous) = if fresh {
            (Some(&segment.header), 0, segment.header.chain(&keys))
        } else {
            (None, self.end.offset, self.end.checksum)
        };
        let too_large = || Error::Closed { reason: "a group is larger than a frame may be".into() };
        let next_seq = first_seq.checked_add(u64::from(group.events())).ok_or_else(too_large)?;
        let written = group.finish(head, first_seq, segment.key(), previous).ok_or_else(too_large)?;
        let (bytes, checksum) = written;
        let offset = at + bytes.len() as u64;
        segment.file.write_at(bytes, at).and_then(|()| segment.file.sync()).map_err(|error| {
            Error::Indeterminate { reason: format!("{}: {error}", segment.path.display()).into() }
        })?;
        let number = segment.header.segment;
        self.end = LogPosition { segment: number, offset, checksum, next_seq: EventSeq(next_seq) };
        segment.publish(offset - group.bytes() as u64, group.places(first_seq), self.end);
        if fresh {
            self.shared.publish(Segment::Open(segment));
        }
        // Half a segment ahead: early enough, and a store that is hardly used never prepares a second one.
        if self.next.is_none() && offset >= capacity / 2 {
            // The frame is durable whatever comes of this; if it fails, the next segment's first frame tells.
            let _ = self.prepare(number + 1);
        }
        Ok(self.end)
    }

    /// The segment that the next frame goes to, and whether it would be the first frame there.
    fn room_for(&mut self, frame_bytes: usize) -> Result<(&Active, bool), Error> {
        let needed = self.end.offset + frame_bytes as u64;
        if self.active.as_ref().is_some_and(|active| needed > active.capacity) {
            self.roll();
        }
        let fresh = self.active.is_none();
        if fresh {
            self.active = Some(self.begin_segment()?);
        }
        self.active
            .as_ref()
            .map(|active| (active, fresh))
            .ok_or_else(|| Error::Closed { reason: "there is no segment to append to".into() })
    }

    fn begin_segment(&mut self) -> Result<Active, Error> {
        let number = self.end.segment + 1;
        if self.next.is_none() {
            self.prepare(number)?;
        }
        let Some(next) = self.next.take() else {
            return Err(Error::Closed { reason: "no segment was prepared".into() });
        };
        let Prepared { name, path, file, capacity } = next.take(&self.shared.dir)?;
        let (first_seq, chain_before) = (self.end.next_seq.0, self.end.checksum);
        let header = SegmentHeader { segment: number, first_seq, chain_before };
        let segment = Arc::new(OpenSegment::new(name, path, file, header, self.shared.keys));
        Ok(Active { segment, capacity })
    }

    fn prepare(&mut self, segment: u64) -> Result<(), Error> {
        let disk = Arc::clone(&self.shared.disk);
        self.next = Some(Preparation::start(disk, &self.shared.dir, segment, self.next_capacity)?);
        self.next_capacity = self.next_capacity.saturating_mul(4).min(self.segment_bytes);
        Ok(())
    }

    /// Ends the segment that is appended to, if there is one, and has it sealed in the background.
    pub fn roll(&mut self) {
        if let Some(active) = self.active.take() {
            self.sealer.submit(active.segment);
        }
    }

    /// Waits until every segment that has ended is sealed.
    ///
    /// # Errors
    /// What sealing failed of. Nothing acknowledged is lost by it.
    pub fn wait_sealed(&self) -> Result<(), Error> {
        self.sealer.wait_idle()
    }

    /// Seals everything and removes what was prepared. The next opening reads feet only.
    ///
    /// # Errors
    /// What went wrong now or, as [`Error::Closed`], before. Nothing acknowledged is lost by it.
    pub fn close(mut self) -> Result<LogPosition, Error> {
        if let Some(reason) = &self.failed {
            return Err(Error::Closed { reason: Arc::clone(reason) });
        }
        self.roll();
        self.wait_sealed()?;
        if let Some(next) = self.next.take() {
            let name = FileName::open(self.end.segment + 1).to_string();
            next.abandon(&*self.shared.disk, &self.shared.dir.join(name))?;
        }
        self.shared.disk.sync_dir(&self.shared.dir).map_err(Error::io(&self.shared.dir))?;
        Ok(self.end)
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of the tests are small")]
mod tests;

const _: () = assert!(FIRST_FRAME_AT < FRAME_MAX_BYTES as u64);
