//! The bytes that a store of ours has logged, handed to others, to see what storing them costs without our work.

use crate::Fault;
use crate::usage::Spent;
use spoor::EventSeq;
use spoor::store::disk::RealDisk;
use spoor::store::log::{Log, LogOptions, Record};
use std::path::Path;
use std::sync::Arc;

/// Records that are made ready at once.
const CHUNK_RECORDS: usize = 200_000;

/// Hands the records of the closed store in `path` to `append`, first `warm_up` of them, then `events`, which count.
/// Reading them is not measured. Returns how many were measured, and what that took.
///
/// # Errors
/// If they cannot be read or written.
pub fn replay(
    path: &Path,
    warm_up: u64,
    events: u64,
    mut append: impl FnMut(&[Vec<u8>]) -> Result<Spent, Fault>,
    mut progress: impl FnMut(u64),
) -> Result<(u64, Spent), Fault> {
    let log = Log::open(Arc::new(RealDisk), &path.join("log"), &LogOptions::new(0), None)?;
    let mut records = log.reader().records_from(EventSeq(1));
    append(&chunk(&mut records, usize::try_from(warm_up)?)?)?;
    let (mut spent, mut measured) = (Spent::default(), 0);
    while measured < events {
        let left = usize::try_from(events - measured)?.min(CHUNK_RECORDS);
        let ready = chunk(&mut records, left)?;
        if ready.is_empty() {
            break;
        }
        spent.add(&append(&ready)?);
        measured += ready.len() as u64;
        progress(measured);
    }
    Ok((measured, spent))
}

fn chunk(
    records: &mut dyn Iterator<Item = Result<Record, spoor::Error>>,
    count: usize,
) -> Result<Vec<Vec<u8>>, Fault> {
    records.take(count).map(|record| Ok(record?.bytes().to_vec())).collect()
}
