//! Rewrites one open segment as a sealed one.
//!
//! The order, and what a stop after each step leaves:
//!
//! 1. blocks and index are written and synced: a file without a foot, which the next opening removes;
//! 2. the file is compared with the open segment, record by record;
//! 3. the foot is written and synced: a whole file, if its name is still there;
//! 4. the directory is synced: from here on both files are there, and the higher generation counts.
//!
//! The caller then publishes it, and unlinks the open one.

use super::block::BlockDraft;
use super::checksum::{SegmentKey, half};
use super::frame::{Frames, RawRecord};
use super::pace::{Pace, PacedFile};
use super::sealed::{BlockEncoder, Footer, SealedSegment, put_index_entry};
use super::segment::{FIRST_FRAME_AT, FileName, Kind, OpenSegment};
use crate::error::Error;
use crate::limits::{BLOCK_MAX_BYTES, BLOCK_MAX_EVENTS};
use crate::store::disk::Disk;
use std::path::Path;
use std::sync::Arc;

/// Seals `segment`, which nobody appends to any more. `None` if the work was stopped.
///
/// # Errors
/// [`Error::Io`]; [`Error::Damaged`] if the open segment is not what was appended, or the new one not a copy.
pub(super) fn seal(
    disk: &dyn Disk,
    dir: &Path,
    segment: &OpenSegment,
    pace: &Pace,
) -> Result<Option<SealedSegment>, Error> {
    let generation = segment.name.generation + 1;
    let name = FileName { segment: segment.header.segment, generation, kind: Kind::Sealed };
    let path = dir.join(name.to_string());
    let file = disk.open(&path, true).map_err(Error::io(&path))?;
    let paced = PacedFile::new(file, &path, pace);
    let mut writer = Writer::new(paced, segment.key(), segment.header.first_seq);
    let Some(footer) = write(&mut writer, segment, generation)? else { return Ok(None) };
    let sealed = SealedSegment { name, path: path.clone(), footer, keys: segment.keys };
    if !verify(disk, &sealed, segment, pace)? || !writer.file.write(&footer.encode(&segment.keys))? {
        return Ok(None);
    }
    writer.file.sync()?;
    disk.sync_dir(dir).map_err(Error::io(dir))?;
    Ok(Some(sealed))
}

/// Writes a sealed segment anew, as the next generation, from what can be read of it. For one whose source is
/// still there: its own sync may have failed, and the system may show bytes that are in its memory only. A sync
/// that is tried again would save none of them.
///
/// # Errors
/// [`Error::Io`]; [`Error::Damaged`] if it is not what was written.
pub(super) fn seal_again(
    disk: &dyn Disk,
    dir: &Path,
    sealed: &SealedSegment,
) -> Result<SealedSegment, Error> {
    let name = FileName { generation: sealed.name.generation + 1, ..sealed.name };
    let path = dir.join(name.to_string());
    let pace = Pace::default();
    pace.hurry();
    let from = disk.open(&sealed.path, false).map_err(Error::io(&sealed.path))?;
    let file = disk.open(&path, true).map_err(Error::io(&path))?;
    let mut to = PacedFile::new(file, &path, &pace);
    let end = sealed.footer.index_offset + sealed.footer.index_bytes;
    let mut piece = vec![0; BLOCK_MAX_BYTES];
    while to.offset() < end {
        let length = usize::try_from(end - to.offset()).unwrap_or(usize::MAX).min(piece.len());
        let Some(room) = piece.get_mut(..length) else { break };
        let read = from.read_at(room, to.offset()).map_err(Error::io(&sealed.path))?;
        if read < length {
            let reason = "this sealed segment ends before its foot".to_owned();
            return Err(Error::Damaged { path: sealed.path.clone(), offset: to.offset(), reason });
        }
        to.write(room)?;
    }
    to.sync()?;
    let footer = Footer { generation: name.generation, ..sealed.footer };
    let copy = SealedSegment { name, path: path.clone(), footer, keys: sealed.keys };
    copy.verify_blocks(disk)?;
    to.write(&footer.encode(&sealed.keys))?;
    to.sync()?;
    disk.sync_dir(dir).map_err(Error::io(dir))?;
    Ok(copy)
}

/// Calls `each` with every record of the segment, and, at the last one of a frame, the frame's checksum.
/// `false` if it did at some point.
fn for_each_record(
    segment: &OpenSegment,
    mut each: impl FnMut(RawRecord<'_>, Option<u32>) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let (end, key) = (segment.end(), segment.key());
    let start = (FIRST_FRAME_AT, segment.header.first_seq, segment.header.chain(&segment.keys));
    let mut frames = Frames::new(&segment.file, &segment.path, &segment.keys, key, start);
    while frames.offset < end.offset {
        let at = frames.offset;
        let damaged = || Error::Damaged {
            path: segment.path.clone(),
            offset: at,
            reason: "a frame that was synced is no longer what it was".to_owned(),
        };
        let frame = frames.next()?.ok_or_else(damaged)?;
        let mut records = frame.records().peekable();
        while let Some(record) = records.next() {
            let ends = records.peek().is_none().then(|| half(frame.header.checksum));
            if !each(record.ok_or_else(damaged)?, ends)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Writes everything but the foot, and syncs it. `None` if the work was stopped.
fn write(writer: &mut Writer<'_>, segment: &OpenSegment, generation: u32) -> Result<Option<Footer>, Error> {
    let whole = for_each_record(segment, |record, ends| writer.push(record, ends))?;
    if !whole || !writer.flush()? {
        return Ok(None);
    }
    let end = segment.end();
    let index_offset = writer.file.offset();
    let footer = Footer {
        segment: segment.header.segment,
        generation,
        first_seq: segment.header.first_seq,
        next_seq: writer.seq,
        end_offset: end.offset,
        chain_end: end.checksum,
        chain_before: segment.header.chain_before,
        index_offset,
        index_bytes: writer.index.len() as u64,
        index_checksum: writer.key.chained(index_offset, &writer.index),
    };
    if !writer.file.write(&writer.index)? {
        return Ok(None);
    }
    writer.file.sync()?;
    Ok(Some(footer))
}

/// Whether every record is the same; `false` if the work was stopped.
fn verify(
    disk: &dyn Disk,
    sealed: &SealedSegment,
    segment: &OpenSegment,
    pace: &Pace,
) -> Result<bool, Error> {
    let index = sealed.load_index(disk)?;
    let differs = |seq: u64| Error::Damaged {
        path: sealed.path.clone(),
        offset: 0,
        reason: format!("the copy of record {seq} is not what it was copied from"),
    };
    let mut seq = segment.header.first_seq;
    let mut block = None;
    let mut at = 0;
    let whole = for_each_record(segment, |record, ends| {
        if block.is_none() {
            let ordinal = index.find(seq).ok_or_else(|| differs(seq))?;
            block = Some(Arc::new(sealed.read_block(&index, ordinal)?));
            at = 0;
        }
        let copy = block.as_ref().and_then(|block| block.record(at)).ok_or_else(|| differs(seq))?;
        let same = copy.first_seq().0 == seq && copy.seqs() == record.seqs && copy.frame() == ends;
        if !same || copy.bytes() != record.bytes {
            return Err(differs(seq));
        }
        at += 1;
        seq = copy.next_seq().0;
        if block.as_ref().is_some_and(|block| block.next_seq() == seq) {
            block = None;
        }
        Ok(!pace.stopped())
    })?;
    if whole && seq != sealed.footer.next_seq {
        return Err(differs(seq));
    }
    Ok(whole)
}

struct Writer<'a> {
    file: PacedFile<'a>,
    key: SegmentKey,
    index: Vec<u8>,
    draft: BlockDraft,
    /// The first number of the block that is being filled.
    seq: u64,
    plain: Vec<u8>,
    encoder: BlockEncoder,
}

impl<'a> Writer<'a> {
    fn new(file: PacedFile<'a>, key: SegmentKey, seq: u64) -> Self {
        let (draft, encoder) = (BlockDraft::default(), BlockEncoder::default());
        Self { file, key, index: Vec::new(), draft, seq, plain: Vec::new(), encoder }
    }

    fn push(&mut self, record: RawRecord<'_>, ends: Option<u32>) -> Result<bool, Error> {
        let events = self.draft.seqs() + u64::from(record.seqs);
        let bytes = self.draft.bytes() + record.bytes.len();
        let full = events > BLOCK_MAX_EVENTS as u64 || bytes > BLOCK_MAX_BYTES;
        if full && !self.flush()? {
            return Ok(false);
        }
        self.draft.push(record.seqs, record.bytes, ends);
        Ok(true)
    }

    /// Writes the block; `false` if the work was stopped.
    fn flush(&mut self) -> Result<bool, Error> {
        if self.draft.is_empty() {
            return Ok(true);
        }
        let seqs = self.draft.seqs();
        self.draft.take(&mut self.plain);
        let Some(stored) = self.encoder.encode(&self.plain, self.seq, self.key) else {
            return Err(Error::Closed { reason: "a block of the log is too large to be sealed".into() });
        };
        put_index_entry(&mut self.index, seqs, stored.len() as u64);
        self.seq += seqs;
        self.file.write(stored)
    }
}
