//! The store's id: a random number in a small file, written once and seeding every checksum.
//!
//! ```text
//! 0        8           24          32
//! +--------+-----------+-----------+
//! | magic  | store id  | checksum  |   log/store
//! +--------+-----------+-----------+
//! ```

use super::bytes::Take;
use crate::error::Error;
use crate::store::disk::Disk;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

const NAME: &str = "store";
const DRAFT: &str = "store.tmp";
const MAGIC: u64 = u64::from_le_bytes(*b"SPOORID1");
const BYTES: usize = 32;

/// The id in `dir`; if there is none and `names` holds nothing else of a log, `fresh` becomes it, durably.
///
/// # Errors
/// [`Error::Io`]; [`Error::Damaged`] if the file is not what was written, or missing beside segments.
pub(super) fn open_or_create(
    disk: &dyn Disk,
    dir: &Path,
    names: &[String],
    segments: bool,
    fresh: u128,
) -> Result<u128, Error> {
    let path = dir.join(NAME);
    if names.iter().any(|name| name == NAME) {
        return read(disk, &path);
    }
    if segments {
        return Err(damaged(&path, "the store's id is missing, and there are segments"));
    }
    let draft = dir.join(DRAFT);
    if names.iter().any(|name| name == DRAFT) {
        disk.remove(&draft).map_err(Error::io(&draft))?;
    }
    let file = disk.open(&draft, true).map_err(Error::io(&draft))?;
    file.write_at(&encode(fresh), 0).and_then(|()| file.sync()).map_err(Error::io(&draft))?;
    disk.rename(&draft, &path).map_err(Error::io(&path))?;
    disk.sync_dir(dir).map_err(Error::io(dir))?;
    Ok(fresh)
}

fn read(disk: &dyn Disk, path: &Path) -> Result<u128, Error> {
    let file = disk.open(path, false).map_err(Error::io(path))?;
    // One byte more, so that a file that is too long shows.
    let mut bytes = [0; BYTES + 1];
    let read = file.read_at(&mut bytes, 0).map_err(Error::io(path))?;
    bytes.get(..read).and_then(decode).ok_or_else(|| damaged(path, "this is not the id of a store"))
}

fn encode(id: u128) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(&MAGIC.to_le_bytes());
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<u128> {
    let id = Take(bytes.get(8..)?).u128()?;
    (encode(id) == bytes).then_some(id)
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::Damaged { path: path.to_owned(), offset: 0, reason: reason.to_owned() }
}
