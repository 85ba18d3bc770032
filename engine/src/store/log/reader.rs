//! Reading records, on any thread.

use super::LogPosition;
use super::block::{Block, Record};
use super::checksum::half;
use super::frame::Frames;
use super::sealed::SealedSegment;
use super::segment::{FIRST_FRAME_AT, OpenSegment};
use super::shared::{Segment, Shared};
use crate::error::Error;
use crate::ids::EventSeq;
use std::fmt;
use std::sync::Arc;

/// Reads what was appended. Cheap to clone; sees a frame as soon as it is synced, and never waits for the
/// writer. What was not yet acknowledged to anybody may be seen too.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

impl fmt::Debug for LogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl LogReader {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The record that covers `seq`; `None` if the log does not hold it. Costs at most one block, read and
    /// decoded, and that block's index if it is not in the cache.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`] if it is not what was appended.
    pub fn record(&self, seq: EventSeq) -> Result<Option<Record>, Error> {
        let Some(block) = self.shared.block(seq.0, true)? else { return Ok(None) };
        Ok(block.find(seq.0).and_then(|index| block.record(index)))
    }

    /// Whether `position` is the end of a frame of this very log. Costs one block in a sealed segment, and in
    /// an unsealed one the reading of its frames up to there.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`].
    pub fn confirms(&self, position: &LogPosition) -> Result<bool, Error> {
        if *position == LogPosition::start(&self.shared.keys) {
            return Ok(self.shared.first_seq() == 1);
        }
        let segments = self.shared.segments();
        let found = segments.binary_search_by_key(&position.segment, Segment::number).ok();
        match found.and_then(|at| segments.get(at)) {
            None => Ok(false),
            Some(Segment::Open(open)) => confirms_open(open, position),
            Some(Segment::Sealed(sealed)) => self.confirms_sealed(sealed, position),
        }
    }

    fn confirms_sealed(&self, sealed: &SealedSegment, position: &LogPosition) -> Result<bool, Error> {
        let (footer, next_seq) = (&sealed.footer, position.next_seq.0);
        if next_seq == footer.next_seq {
            return Ok(position.offset == footer.end_offset && position.checksum == footer.chain_end);
        }
        if next_seq <= footer.first_seq || next_seq > footer.next_seq || position.offset >= footer.end_offset
        {
            return Ok(false);
        }
        let block = self.shared.sealed_block(sealed, next_seq - 1, false)?;
        let record = block.find(next_seq - 1).and_then(|index| block.record(index));
        Ok(record.is_some_and(|record| {
            record.next_seq() == position.next_seq && record.frame() == Some(half(position.checksum))
        }))
    }

    /// All records in order, from the one that covers `seq` (or the first that is kept) to the end that the
    /// log has when it gets there. Ends after an error. Leaves the cache to the others.
    pub fn records_from(&self, seq: EventSeq) -> impl Iterator<Item = Result<Record, Error>> + use<> {
        let next = seq.0.max(self.shared.first_seq());
        Records { shared: Arc::clone(&self.shared), next, place: None, failed: false }
    }
}

fn confirms_open(open: &OpenSegment, position: &LogPosition) -> Result<bool, Error> {
    let end = open.end().offset.min(position.offset);
    let start = (FIRST_FRAME_AT, open.header.first_seq, open.header.chain(&open.keys));
    let mut frames = Frames::new(&open.file, &open.path, &open.keys, open.key(), start);
    while frames.offset < end && frames.next()?.is_some() {}
    let same = (frames.offset, frames.seq) == (position.offset, position.next_seq.0);
    Ok(same && frames.offset > FIRST_FRAME_AT && frames.chain == position.checksum)
}

struct Records {
    shared: Arc<Shared>,
    next: u64,
    place: Option<(Arc<Block>, usize)>,
    failed: bool,
}

impl Records {
    fn read(&mut self) -> Result<Option<Record>, Error> {
        if let Some((block, index)) = &mut self.place
            && let Some(record) = block.record(*index)
        {
            *index += 1;
            return Ok(Some(record));
        }
        let Some(block) = self.shared.block(self.next, false)? else { return Ok(None) };
        let Some(index) = block.find(self.next) else { return Ok(None) };
        let record = block.record(index);
        self.place = Some((block, index + 1));
        Ok(record)
    }
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.read() {
            Ok(record) => {
                let record = record?;
                self.next = record.next_seq().0;
                Some(Ok(record))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}
