//! The bytes of a frame and of the records in it, and the walk over the frames of a file.
//!
//! Knows no directory and writes nothing. Whatever the bytes are, reading ends without a panic and
//! without allocating more than [`FRAME_MAX_BYTES`].

use super::bytes::Take;
use super::checksum::{Keys, SegmentKey};
use crate::error::Error;
use crate::limits::FRAME_MAX_BYTES;
use crate::store::disk::DiskFile;
use std::path::Path;
use std::sync::Arc;

/// Bytes before the records of a frame.
pub(super) const FRAME_HEADER_BYTES: usize = 32;
/// Bytes before the payload of a record.
pub(super) const RECORD_HEADER_BYTES: usize = 12;
/// The records as they are. Other encodings may be added.
const ENCODING_PLAIN: u32 = 0;
/// Where the checksummed part of a frame begins: after the checksum.
const CHECKED_FROM: usize = 8;
/// What a walk reads at once.
const WINDOW_BYTES: usize = 1 << 20;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) checksum: u64,
    pub(super) first_seq: u64,
    pub(super) payload_bytes: u32,
    pub(super) seqs: u32,
}

impl FrameHeader {
    /// The head of a frame, if `bytes` begin with one of this segment. Says nothing of its payload.
    pub(super) fn decode(bytes: &[u8], key: SegmentKey) -> Option<Self> {
        let checked = bytes.get(CHECKED_FROM..FRAME_HEADER_BYTES - 4)?;
        let mut take = Take(bytes);
        let checksum = take.u64()?;
        let first_seq = take.u64()?;
        let payload_bytes = take.u32()?;
        let seqs = take.u32()?;
        let encoding = take.u32()?;
        let fits = payload_bytes as usize <= FRAME_MAX_BYTES - FRAME_HEADER_BYTES;
        let sane = encoding == ENCODING_PLAIN && fits && seqs > 0 && first_seq > 0;
        (sane && take.u32()? == key.header(checked)).then_some(Self {
            checksum,
            first_seq,
            payload_bytes,
            seqs,
        })
    }

    /// Bytes of the whole frame.
    pub(super) const fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload_bytes as usize
    }
}

/// Fills in the head of `frame`, whose payload follows it, and returns its checksum.
pub(super) fn finish_frame(
    frame: &mut [u8],
    first_seq: u64,
    seqs: u32,
    key: SegmentKey,
    previous: u64,
) -> Option<u64> {
    let payload_bytes = u32::try_from(frame.len().checked_sub(FRAME_HEADER_BYTES)?).ok()?;
    let (head, _) = frame.split_first_chunk_mut::<FRAME_HEADER_BYTES>()?;
    let (_, fields) = head.split_first_chunk_mut::<CHECKED_FROM>()?;
    fields.get_mut(..8)?.copy_from_slice(&first_seq.to_le_bytes());
    fields.get_mut(8..12)?.copy_from_slice(&payload_bytes.to_le_bytes());
    fields.get_mut(12..16)?.copy_from_slice(&seqs.to_le_bytes());
    fields.get_mut(16..20)?.copy_from_slice(&ENCODING_PLAIN.to_le_bytes());
    let (checked, check) = fields.split_last_chunk_mut::<4>()?;
    check.copy_from_slice(&key.header(checked).to_le_bytes());
    let checksum = key.chained(previous, frame.get(CHECKED_FROM..)?);
    frame.first_chunk_mut::<CHECKED_FROM>()?.copy_from_slice(&checksum.to_le_bytes());
    Some(checksum)
}

/// One record as it lies in a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawRecord<'a> {
    pub(super) seqs: u32,
    pub(super) bytes: &'a [u8],
}

/// The head of the record with these bytes.
pub(super) fn record_header(keys: &Keys, seqs: u32, bytes: &[u8]) -> Option<[u8; RECORD_HEADER_BYTES]> {
    let length = u32::try_from(bytes.len()).ok()?;
    let mut header = [0; RECORD_HEADER_BYTES];
    let (front, check) = header.split_last_chunk_mut::<4>()?;
    let (left, right) = front.split_at_mut(4);
    left.copy_from_slice(&length.to_le_bytes());
    right.copy_from_slice(&seqs.to_le_bytes());
    check.copy_from_slice(&keys.record(seqs, bytes).to_le_bytes());
    Some(header)
}

/// The record at the front, if it is whole and right.
pub(super) fn take_record<'a>(take: &mut Take<'a>, keys: &Keys) -> Option<RawRecord<'a>> {
    let length = take.u32()?;
    let seqs = take.u32()?;
    let check = take.u32()?;
    let bytes = take.slice(length as usize)?;
    (seqs > 0 && check == keys.record(seqs, bytes)).then_some(RawRecord { seqs, bytes })
}

/// One frame whose checksum is right.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) header: FrameHeader,
    /// Where its records begin in the file.
    pub(super) payload_at: u64,
    payload: &'a [u8],
    keys: &'a Keys,
}

impl<'a> Frame<'a> {
    /// Its records, in order; `None` in the place of one that is not what was written.
    pub(super) fn records(&self) -> impl Iterator<Item = Option<RawRecord<'a>>> + use<'a> {
        let (mut take, keys) = (Take(self.payload), self.keys);
        std::iter::from_fn(move || {
            if take.0.is_empty() {
                return None;
            }
            let record = take_record(&mut take, keys);
            if record.is_none() {
                take.0 = &[];
            }
            Some(record)
        })
    }
}

/// The walk over the frames of one file, from the first, following the chain of checksums.
pub(super) struct Frames<'a> {
    window: Window<'a>,
    keys: &'a Keys,
    key: SegmentKey,
    /// Where the next frame begins.
    pub(super) offset: u64,
    /// Its first number.
    pub(super) seq: u64,
    /// The checksum it follows.
    pub(super) chain: u64,
}

impl<'a> Frames<'a> {
    pub(super) fn new(
        file: &'a Arc<dyn DiskFile>,
        path: &'a Path,
        keys: &'a Keys,
        key: SegmentKey,
        (offset, seq, chain): (u64, u64, u64),
    ) -> Self {
        Self { window: Window::new(file, path), keys, key, offset, seq, chain }
    }

    /// The next frame, or `None` where the chain ends: what lies there is not its continuation.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let head = self.window.bytes(self.offset, FRAME_HEADER_BYTES)?;
        let Some(header) = FrameHeader::decode(head, self.key).filter(|head| head.first_seq == self.seq)
        else {
            return Ok(None);
        };
        let Some(next_seq) = self.seq.checked_add(u64::from(header.seqs)) else { return Ok(None) };
        let frame = self.window.bytes(self.offset, header.frame_bytes())?;
        let checked = frame.get(CHECKED_FROM..).unwrap_or_default();
        let payload = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let whole = payload.len() == header.payload_bytes as usize;
        if !whole || self.key.chained(self.chain, checked) != header.checksum {
            return Ok(None);
        }
        let payload_at = self.offset + FRAME_HEADER_BYTES as u64;
        self.offset += header.frame_bytes() as u64;
        self.seq = next_seq;
        self.chain = header.checksum;
        Ok(Some(Frame { header, payload_at, payload, keys: self.keys }))
    }
}

/// What was written after the place where the chain of a file ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remains {
    /// Nothing: only zeros.
    Blank,
    /// Something, but no later frame: one frame that was being written.
    Torn,
    /// The head of a later frame, here: what came before it had been synced.
    LaterFrame(u64),
}

/// Looks at everything from `offset` on, where a frame that begins with `seq` would be next.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn remains(
    file: &Arc<dyn DiskFile>,
    path: &Path,
    key: SegmentKey,
    mut offset: u64,
    seq: u64,
) -> Result<Remains, Error> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let length = file.length().map_err(Error::io(path))?;
    let mut window = Window::new(file, path);
    let mut found = Remains::Blank;
    while offset < length {
        // A head may lie across the border of two pieces.
        let piece = window.bytes(offset, ZEROS.len() + FRAME_HEADER_BYTES - 1)?;
        let (own, _) = piece.split_at(piece.len().min(ZEROS.len()));
        if ZEROS.get(..own.len()) != Some(own) {
            found = Remains::Torn;
            if let Some(at) = later_head(piece, key, seq) {
                return Ok(Remains::LaterFrame(offset + at as u64));
            }
        }
        offset += ZEROS.len() as u64;
    }
    Ok(found)
}

/// A frame takes one number a byte at most, so a later head is not farther than this.
const LATER_MAX_SEQS: u64 = 1 << 36;

fn later_head(piece: &[u8], key: SegmentKey, seq: u64) -> Option<usize> {
    let later = |bytes: &[u8]| {
        let first_seq = bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        first_seq > seq && first_seq - seq < LATER_MAX_SEQS
    };
    // Nearly all places fall out by the number alone, before anything is hashed.
    let numbers = piece.get(CHECKED_FROM..)?.windows(size_of::<u64>()).enumerate();
    let mut places = numbers.filter(|(_, bytes)| later(bytes)).map(|(at, _)| at);
    places.find(|at| piece.get(*at..).is_some_and(|bytes| FrameHeader::decode(bytes, key).is_some()))
}

/// A file read in large pieces.
struct Window<'a> {
    file: &'a Arc<dyn DiskFile>,
    path: &'a Path,
    buffer: Vec<u8>,
    start: u64,
}

impl<'a> Window<'a> {
    fn new(file: &'a Arc<dyn DiskFile>, path: &'a Path) -> Self {
        Self { file, path, buffer: Vec::new(), start: 0 }
    }

    /// `length` bytes from `offset`, fewer only at the end of the file.
    fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8], Error> {
        let inside = self.position(offset).is_some_and(|at| self.buffer.len() - at >= length);
        if !inside {
            let left = self.file.length().map_err(Error::io(self.path))?.saturating_sub(offset);
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            self.buffer.resize(length.max(WINDOW_BYTES).min(left), 0);
            self.start = offset;
            let read = self.file.read_at(&mut self.buffer, offset).map_err(Error::io(self.path))?;
            self.buffer.truncate(read);
        }
        let rest = self.position(offset).and_then(|at| self.buffer.get(at..)).unwrap_or_default();
        Ok(rest.get(..length).unwrap_or(rest))
    }

    fn position(&self, offset: u64) -> Option<usize> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        (at <= self.buffer.len()).then_some(at)
    }
}
