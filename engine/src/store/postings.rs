//! Events of a part as chunks of bytes: written once, never rewritten.
//!
//! Key: part, first sequence number; both u64 big-endian. Value, all integers LEB128:
//!
//! ```text
//! count | first time, micros | then per event: seq delta | type | time delta, zigzag: millis, then micros within, doubled, + 1 for a page view
//! ```
//!
//! Deltas are to the event before; the first event's are to the key's sequence number and the first time.

use super::codec::KeyBytes;
use crate::core::rows::Posting;
use crate::error::Error;
use crate::ids::{EventSeq, PartNo, TypeNo};
use crate::time::Timestamp;
use std::path::Path;

/// Most events in one chunk.
pub const CHUNK_MAX_EVENTS: usize = 512;

const MILLI_US: i64 = 1_000;

/// Key of the chunk of `part` whose first event is `first`.
#[must_use]
pub fn chunk_key(part: PartNo, first: EventSeq) -> Vec<u8> {
    let mut key = part.key_bytes();
    key.extend_from_slice(&first.0.to_be_bytes());
    key
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 128")]
    out.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// The bytes of a chunk. Events must be in order of sequence numbers.
#[must_use]
pub fn encode_chunk(events: &[Posting]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + events.len() * 6);
    write_number(&mut out, events.len() as u64);
    let Some(first) = events.first() else { return out };
    write_number(&mut out, zigzag(first.time.0));
    let (mut seq, mut time) = (first.seq.0, first.time.0);
    for event in events {
        write_number(&mut out, event.seq.0.wrapping_sub(seq));
        write_number(&mut out, u64::from(event.event_type.0));
        // Most times are whole milliseconds, or a few micros beyond: two small numbers beat one large.
        write_number(&mut out, zigzag(event.time.0.div_euclid(MILLI_US) - time.div_euclid(MILLI_US)));
        let micros = event.time.0.rem_euclid(MILLI_US).cast_unsigned();
        write_number(&mut out, (micros << 1) | u64::from(event.page_view));
        (seq, time) = (event.seq.0, event.time.0);
    }
    out
}

/// The events of a chunk.
///
/// # Errors
/// [`Error::Damaged`] if the bytes are no chunk.
pub fn decode_chunk(first: EventSeq, bytes: &[u8], path: &Path) -> Result<Vec<Posting>, Error> {
    decode(first, bytes).ok_or_else(|| Error::Damaged {
        path: path.to_owned(),
        offset: 0,
        reason: "not a chunk of postings".to_owned(),
    })
}

fn decode(first: EventSeq, mut bytes: &[u8]) -> Option<Vec<Posting>> {
    let bytes = &mut bytes;
    let count = usize::try_from(read_number(bytes)?).ok()?;
    // Each event takes four bytes at least.
    let mut events = Vec::with_capacity(count.min(bytes.len() / 4 + 1));
    if count == 0 {
        return Some(events);
    }
    let (mut seq, mut time) = (first.0, unzigzag(read_number(bytes)?));
    for _ in 0..count {
        seq = seq.checked_add(read_number(bytes)?)?;
        let event_type = TypeNo(u32::try_from(read_number(bytes)?).ok()?);
        let millis = time.div_euclid(MILLI_US).checked_add(unzigzag(read_number(bytes)?))?;
        let last = read_number(bytes)?;
        let (micros, page_view) = ((last >> 1).cast_signed(), last & 1 == 1);
        time = millis.checked_mul(MILLI_US)?.checked_add(micros)?;
        events.push(Posting { seq: EventSeq(seq), event_type, time: Timestamp(time), page_view });
    }
    bytes.is_empty().then_some(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_come_back(steps in prop::collection::vec((0_u64..1 << 40, any::<u32>(), 0_i64..1 << 55, any::<bool>()), 0..40)) {
            let mut seq = 1;
            let events: Vec<Posting> = steps.iter().map(|(step, event_type, time, page_view)| {
                seq += step;
                Posting {
                    seq: EventSeq(seq),
                    event_type: TypeNo(*event_type),
                    time: Timestamp(*time),
                    page_view: *page_view,
                }
            }).collect();
            let first = events.first().map_or(EventSeq(0), |event| event.seq);
            let chunk = encode_chunk(&events);
            prop_assert_eq!(decode_chunk(first, &chunk, Path::new("x")).unwrap(), events);
        }

        #[test]
        fn any_bytes_are_an_error_at_worst(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode_chunk(EventSeq(1), &bytes, Path::new("x"));
        }
    }
}
