//! Sealed segments: the bytes of one, and reading it.
//!
//! Reads only; `seal` writes them. Decompressing never allocates more than `FRAME_MAX_BYTES`.

use super::block::Block;
use super::bytes::{Take, put_varint};
use super::checksum::{Keys, SegmentKey};
use super::pack::{pack, unpack};
use super::segment::FileName;
use crate::error::Error;
use crate::limits::FRAME_MAX_BYTES;
use crate::store::disk::{Disk, DiskFile};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of the foot of a sealed segment.
pub(super) const FOOTER_BYTES: usize = 104;
const MAGIC: u64 = u64::from_le_bytes(*b"SPOOREND");
const VERSION: u64 = 1;
const BLOCK_HEADER_BYTES: usize = 16;
const ENCODING_PLAIN: u32 = 0;
/// `pack`, then lz4; the length is that in between.
const ENCODING_PACKED_LZ4: u32 = 1;

/// The foot of a sealed segment. It is written when everything before it is synced and compared with its source,
/// so that a file with a foot is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) segment: u64,
    pub(super) generation: u32,
    pub(super) first_seq: u64,
    pub(super) next_seq: u64,
    /// Where its last frame ended when it was open, and that frame's checksum.
    pub(super) end_offset: u64,
    pub(super) chain_end: u64,
    /// Checksum of the last frame of the segment before.
    pub(super) chain_before: u64,
    pub(super) index_offset: u64,
    pub(super) index_bytes: u64,
    pub(super) index_checksum: u64,
}

impl Footer {
    pub(super) fn encode(&self, keys: &Keys) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        let numbers = [
            MAGIC,
            VERSION,
            self.segment,
            u64::from(self.generation),
            self.first_seq,
            self.next_seq,
            self.end_offset,
            self.chain_end,
            self.chain_before,
            self.index_offset,
            self.index_bytes,
            self.index_checksum,
        ];
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&keys.segment(self.segment).chained(MAGIC, &bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], name: FileName, keys: &Keys) -> Option<Self> {
        let mut take = Take(bytes.get(16..)?);
        let footer = Self {
            segment: take.u64()?,
            generation: u32::try_from(take.u64()?).ok()?,
            first_seq: take.u64()?,
            next_seq: take.u64()?,
            end_offset: take.u64()?,
            chain_end: take.u64()?,
            chain_before: take.u64()?,
            index_offset: take.u64()?,
            index_bytes: take.u64()?,
            index_checksum: take.u64()?,
        };
        let named = footer.segment == name.segment && footer.generation == name.generation;
        let sane = named && 0 < footer.first_seq && footer.first_seq < footer.next_seq;
        (sane && footer.encode(keys) == bytes).then_some(footer)
    }
}

/// Reads the foot of a file; `None` if it has none that is whole.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn read_footer(
    disk: &dyn Disk,
    path: &Path,
    name: FileName,
    keys: &Keys,
) -> Result<Option<Footer>, Error> {
    let file = disk.open(path, false).map_err(Error::io(path))?;
    let length = file.length().map_err(Error::io(path))?;
    let Some(at) = length.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
    let mut bytes = [0; FOOTER_BYTES];
    let read = file.read_at(&mut bytes, at).map_err(Error::io(path))?;
    let footer = bytes.get(..read).and_then(|bytes| Footer::decode(bytes, name, keys));
    Ok(footer.filter(|footer| footer.index_offset.checked_add(footer.index_bytes) == Some(at)))
}

/// A sealed segment. Its file and index are opened when they are needed, since there may be thousands.
#[derive(Debug)]
pub(super) struct SealedSegment {
    pub(super) name: FileName,
    pub(super) path: PathBuf,
    pub(super) footer: Footer,
    pub(super) keys: Keys,
}

/// Where the blocks of a sealed segment lie, with the file open.
#[derive(Debug)]
pub(super) struct BlockIndex {
    file: Arc<dyn DiskFile>,
    /// First number and offset of each block, then of what follows the last.
    places: Vec<(u64, u64)>,
}

impl BlockIndex {
    /// The block that covers `seq`.
    pub(super) fn find(&self, seq: u64) -> Option<usize> {
        let after = self.places.partition_point(|place| place.0 <= seq);
        (after < self.places.len()).then_some(after.checked_sub(1)?)
    }

    /// Bytes it takes in memory. The open file counts as 64 KiB, so that a cache of the usual size does not
    /// use up the files that a process may open.
    pub(super) fn memory_bytes(&self) -> usize {
        (64 << 10) + self.places.len() * size_of::<(u64, u64)>()
    }
}

impl SealedSegment {
    fn key(&self) -> SegmentKey {
        self.keys.segment(self.footer.segment)
    }

    /// Opens the file and reads where its blocks lie.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`].
    pub(super) fn load_index(&self, disk: &dyn Disk) -> Result<BlockIndex, Error> {
        let file = disk.open(&self.path, false).map_err(Error::io(&self.path))?;
        let at = self.footer.index_offset;
        let size = usize::try_from(self.footer.index_bytes).ok().filter(|size| *size <= FRAME_MAX_BYTES);
        let mut bytes = vec![0; size.ok_or_else(|| self.damaged(at, "the block index has no such size"))?];
        let read = file.read_at(&mut bytes, at).map_err(Error::io(&self.path))?;
        let right = read == bytes.len() && self.key().chained(at, &bytes) == self.footer.index_checksum;
        let places = if right { self.decode_index(&bytes) } else { None };
        let places = places.ok_or_else(|| self.damaged(at, "the block index is not what was written"))?;
        Ok(BlockIndex { file, places })
    }

    fn decode_index(&self, bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
        let mut take = Take(bytes);
        let (mut seq, mut offset) = (self.footer.first_seq, 0u64);
        let mut places = vec![(seq, offset)];
        while !take.0.is_empty() {
            seq = seq.checked_add(take.varint().filter(|seqs| *seqs > 0)?)?;
            offset = offset.checked_add(take.varint()?)?;
            places.push((seq, offset));
        }
        (seq == self.footer.next_seq && offset == self.footer.index_offset).then_some(places)
    }

    /// Reads every block: each must be what was written.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`].
    pub(super) fn verify_blocks(&self, disk: &dyn Disk) -> Result<(), Error> {
        let index = self.load_index(disk)?;
        (1..index.places.len()).try_for_each(|next| self.read_block(&index, next - 1).map(|_| ()))
    }

    /// Reads and decodes one block.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`].
    pub(super) fn read_block(&self, index: &BlockIndex, ordinal: usize) -> Result<Block, Error> {
        let place = index.places.get(ordinal).zip(index.places.get(ordinal + 1));
        let Some((&(seq, at), &(next_seq, end))) = place else {
            return Err(self.damaged(0, "there is no such block"));
        };
        let size = usize::try_from(end - at).ok().filter(|size| *size <= FRAME_MAX_BYTES);
        let mut stored = vec![0; size.ok_or_else(|| self.damaged(at, "a block is too large"))?];
        let read = index.file.read_at(&mut stored, at).map_err(Error::io(&self.path))?;
        let stored = stored.get(..read).unwrap_or_default();
        let block = decode_block(stored, seq, self.key());
        let block = block.and_then(|bytes| Block::from_sealed(bytes, seq, next_seq));
        block.ok_or_else(|| self.damaged(at, "a block is not what was written"))
    }

    fn damaged(&self, offset: u64, reason: &str) -> Error {
        Error::Damaged { path: self.path.clone(), offset, reason: reason.to_owned() }
    }
}

/// Puts blocks into the form that is stored. Keeps its memory from block to block.
#[derive(Debug, Default)]
pub(super) struct BlockEncoder {
    packed: Vec<u8>,
    stored: Vec<u8>,
}

impl BlockEncoder {
    /// The bytes of a block as stored: compressed, unless that makes it larger.
    pub(super) fn encode(&mut self, plain: &[u8], seq: u64, key: SegmentKey) -> Option<&[u8]> {
        pack(plain, &mut self.packed);
        let out = &mut self.stored;
        out.clear();
        out.resize(BLOCK_HEADER_BYTES + lz4_flex::block::get_maximum_output_size(self.packed.len()), 0);
        let compressed = lz4_flex::block::compress_into(&self.packed, out.get_mut(BLOCK_HEADER_BYTES..)?);
        // Packing makes bytes that are not text longer: such a block might not be read back.
        let small = self.packed.len() <= FRAME_MAX_BYTES;
        let compressed = compressed.ok().filter(|compressed| small && *compressed < plain.len());
        let (encoding, length) = match compressed {
            Some(compressed) => {
                out.truncate(BLOCK_HEADER_BYTES + compressed);
                (ENCODING_PACKED_LZ4, self.packed.len())
            }
            None => {
                out.truncate(BLOCK_HEADER_BYTES);
                out.extend_from_slice(plain);
                (ENCODING_PLAIN, plain.len())
            }
        };
        out.get_mut(8..12)?.copy_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        out.get_mut(12..16)?.copy_from_slice(&encoding.to_le_bytes());
        let checksum = key.chained(seq, out.get(8..)?);
        out.get_mut(..8)?.copy_from_slice(&checksum.to_le_bytes());
        Some(&self.stored)
    }
}

fn decode_block(stored: &[u8], seq: u64, key: SegmentKey) -> Option<Vec<u8>> {
    let mut take = Take(stored);
    if take.u64()? != key.chained(seq, take.0) {
        return None;
    }
    let length = take.u32()? as usize;
    let encoding = take.u32()?;
    match encoding {
        ENCODING_PLAIN => (take.0.len() == length).then(|| take.0.to_vec()),
        ENCODING_PACKED_LZ4 if length <= FRAME_MAX_BYTES => {
            let mut packed = vec![0; length];
            let written = lz4_flex::block::decompress_into(take.0, &mut packed).ok()?;
            if written == length { unpack(&packed, FRAME_MAX_BYTES) } else { None }
        }
        _ => None,
    }
}

/// Adds a block to the bytes of the index.
pub(super) fn put_index_entry(index: &mut Vec<u8>, seqs: u64, stored_bytes: u64) {
    put_varint(index, seqs);
    put_varint(index, stored_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_a_block_is_total(bytes in prop::collection::vec(any::<u8>(), 0..200), next in 2u64..400) {
            if let Some(block) = Block::from_sealed(bytes, 1, next) {
                prop_assert_eq!(block.next_seq(), next);
            }
        }

        #[test]
        fn a_block_comes_back_and_a_changed_one_does_not(
            plain in prop::collection::vec(0u8..4, 0..3000), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let key = Keys::new(7).segment(3);
            let mut stored = BlockEncoder::default().encode(&plain, 5, key).unwrap().to_vec();
            prop_assert_eq!(decode_block(&stored, 5, key), Some(plain));
            prop_assert_eq!(decode_block(&stored, 6, key), None);
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            prop_assert_eq!(decode_block(&stored, 5, key), None);
        }
    }
}
