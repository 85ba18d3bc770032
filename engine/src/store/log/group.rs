//! The group that the writer fills and then appends as one frame.
//!
//! Holds the bytes as they will lie in the file, so that appending copies nothing.

use super::bytes::Take;
use super::checksum::{Keys, SegmentKey};
use super::frame::{FRAME_HEADER_BYTES, RECORD_HEADER_BYTES, finish_frame, record_header};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::ids::EventSeq;
use crate::limits::FRAME_MAX_BYTES;
use std::fmt;

/// Where the records begin in the buffer: the heads of a segment and of a frame are put before them.
const RECORDS_AT: usize = SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES;

/// Records that will be durable together or not at all. Made by `Log::group`, used again after `clear`.
pub struct Group {
    keys: Keys,
    buffer: Vec<u8>,
    places: Vec<Place>,
    events: u32,
}

/// Where a record of the group lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Numbers that the records before it take.
    before: u32,
    seqs: u32,
    /// Its head, from the first record's head on.
    at: usize,
}

/// A record of a group that is still being filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupRecord<'a> {
    /// The first number it will have.
    pub first_seq: EventSeq,
    /// How many numbers it takes.
    pub seqs: u32,
    /// What was pushed.
    pub bytes: &'a [u8],
}

/// The record does not fit into a frame of [`FRAME_MAX_BYTES`]; the group is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupFull;

impl fmt::Display for GroupFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record does not fit into one frame of the log")
    }
}

impl std::error::Error for GroupFull {}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("events", &self.events).field("bytes", &self.bytes()).finish()
    }
}

impl Group {
    pub(super) fn new(keys: Keys) -> Self {
        Self { keys, buffer: vec![0; RECORDS_AT], places: Vec::new(), events: 0 }
    }

    /// Adds a record, the concatenation of `parts`, that takes `seqs` sequence numbers (0 counts as 1,
    /// since every record takes one).
    ///
    /// # Errors
    /// [`GroupFull`]; the group is as it was.
    pub fn push(&mut self, seqs: u32, parts: &[&[u8]]) -> Result<(), GroupFull> {
        let seqs = seqs.max(1);
        let length = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.len()));
        let head_at = self.buffer.len();
        let end = length.and_then(|length| length.checked_add(head_at + RECORD_HEADER_BYTES));
        let fits = end.is_some_and(|end| end - SEGMENT_HEADER_BYTES <= FRAME_MAX_BYTES);
        let Some(events) = self.events.checked_add(seqs).filter(|_| fits) else { return Err(GroupFull) };
        self.buffer.resize(head_at + RECORD_HEADER_BYTES, 0);
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        let (_, record) = self.buffer.split_at_mut(head_at);
        let (room, bytes) = record.split_at_mut(RECORD_HEADER_BYTES);
        room.copy_from_slice(&record_header(&self.keys, seqs, bytes).ok_or(GroupFull)?);
        self.places.push(Place { before: self.events, seqs, at: head_at - RECORDS_AT });
        self.events = events;
        Ok(())
    }

    /// Sequence numbers that its records take.
    #[must_use]
    pub const fn events(&self) -> u32 {
        self.events
    }

    /// Bytes of its records.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.buffer.len() - RECORDS_AT
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Empties it, keeping its memory for the next group.
    pub fn clear(&mut self) {
        self.buffer.truncate(RECORDS_AT);
        self.places.clear();
        self.events = 0;
    }

    /// The record that will cover `seq` if the group begins with `first`: what the log does not hold yet.
    #[must_use]
    pub fn record(&self, first: EventSeq, seq: EventSeq) -> Option<GroupRecord<'_>> {
        let ahead = u32::try_from(seq.0.checked_sub(first.0)?).ok()?;
        let index = self.places.partition_point(|place| place.before <= ahead).checked_sub(1)?;
        let place = self.places.get(index).filter(|place| ahead - place.before < place.seqs)?;
        let mut take = Take(self.buffer.get(RECORDS_AT + place.at..)?);
        let length = take.u32()?;
        let bytes = take.0.get(RECORD_HEADER_BYTES - 4..)?.get(..length as usize)?;
        Some(GroupRecord { first_seq: EventSeq(first.0 + u64::from(place.before)), seqs: place.seqs, bytes })
    }

    /// First number and place (from the first record on) of each record, if the group begins with `first`.
    pub(super) fn places(&self, first: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.places.iter().map(move |place| (first + u64::from(place.before), place.at as u64))
    }

    /// The frame to write and its checksum; with the segment's head before it if it is the first there.
    pub(super) fn finish(
        &mut self,
        head: Option<&SegmentHeader>,
        first_seq: u64,
        key: SegmentKey,
        previous: u64,
    ) -> Option<(&[u8], u64)> {
        let (room, frame) = self.buffer.split_at_mut_checked(SEGMENT_HEADER_BYTES)?;
        let checksum = finish_frame(frame, first_seq, self.events, key, previous)?;
        match head {
            Some(head) => {
                room.copy_from_slice(&head.encode(&self.keys));
                Some((&self.buffer, checksum))
            }
            None => Some((self.buffer.get(SEGMENT_HEADER_BYTES..)?, checksum)),
        }
    }
}
