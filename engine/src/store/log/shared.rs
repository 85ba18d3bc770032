//! What the writer, the readers and the background threads share: the set of segments and the cache.

use super::block::Block;
use super::cache::{Cache, Cached, Key};
use super::checksum::Keys;
use super::sealed::{BlockIndex, SealedSegment};
use super::segment::OpenSegment;
use crate::error::Error;
use crate::store::disk::Disk;
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::Arc;

/// A segment that holds records.
#[derive(Debug, Clone)]
pub(super) enum Segment {
    Open(Arc<OpenSegment>),
    Sealed(Arc<SealedSegment>),
}

impl Segment {
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Open(open) => open.header.segment,
            Self::Sealed(sealed) => sealed.footer.segment,
        }
    }

    /// The segment, if it is not sealed.
    pub(super) fn unsealed(&self) -> Option<Arc<OpenSegment>> {
        match self {
            Self::Open(open) => Some(Arc::clone(open)),
            Self::Sealed(_) => None,
        }
    }

    fn first_seq(&self) -> u64 {
        match self {
            Self::Open(open) => open.header.first_seq,
            Self::Sealed(sealed) => sealed.footer.first_seq,
        }
    }

    fn next_seq(&self) -> u64 {
        match self {
            Self::Open(open) => open.end().next_seq.0,
            Self::Sealed(sealed) => sealed.footer.next_seq,
        }
    }
}

pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) keys: Keys,
    segments: RwLock<Arc<Vec<Segment>>>,
    cache: Mutex<Cache>,
}

impl Shared {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        keys: Keys,
        segments: Vec<Segment>,
        cache_bytes: usize,
    ) -> Self {
        let segments = RwLock::new(Arc::new(segments));
        Self { disk, dir, keys, segments, cache: Mutex::new(Cache::new(cache_bytes)) }
    }

    /// All segments now, in order.
    pub(super) fn segments(&self) -> Arc<Vec<Segment>> {
        Arc::clone(&self.segments.read())
    }

    /// Puts a segment at the end, or in the place of the one with its number.
    pub(super) fn publish(&self, segment: Segment) {
        let mut segments = self.segments.write();
        let list = Arc::make_mut(&mut segments);
        match list.binary_search_by_key(&segment.number(), Segment::number) {
            Ok(at) => {
                if let Some(place) = list.get_mut(at) {
                    *place = segment;
                }
            }
            Err(at) => list.insert(at, segment),
        }
    }

    /// The first number that the log holds, or would hold.
    pub(super) fn first_seq(&self) -> u64 {
        self.segments.read().first().map_or(1, Segment::first_seq)
    }

    /// The block that covers `seq`, if the log holds it. `keep` puts it into the cache.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`].
    pub(super) fn block(&self, seq: u64, keep: bool) -> Result<Option<Arc<Block>>, Error> {
        let segments = self.segments();
        let after = segments.partition_point(|segment| segment.first_seq() <= seq);
        let segment = after.checked_sub(1).and_then(|at| segments.get(at));
        match segment.filter(|segment| seq < segment.next_seq()) {
            None => Ok(None),
            Some(Segment::Sealed(sealed)) => self.sealed_block(sealed, seq, keep).map(Some),
            Some(Segment::Open(open)) => self.open_block(open, seq, keep),
        }
    }

    fn open_block(&self, open: &OpenSegment, seq: u64, keep: bool) -> Result<Option<Arc<Block>>, Error> {
        let (segment, generation) = (open.header.segment, open.name.generation);
        if let Some(ordinal) = open.complete_block(seq) {
            let key = Key { segment, generation, block: Some(ordinal) };
            if let Some(Cached::Block(block)) = self.cache.lock().get(key) {
                return Ok(Some(block));
            }
        }
        let Some(read) = open.block(seq)? else { return Ok(None) };
        let block = Arc::new(read.block);
        if keep && read.complete {
            let key = Key { segment, generation, block: Some(read.ordinal) };
            self.cache.lock().put(key, Cached::Block(Arc::clone(&block)));
        }
        Ok(Some(block))
    }

    pub(super) fn sealed_block(
        &self,
        sealed: &SealedSegment,
        seq: u64,
        keep: bool,
    ) -> Result<Arc<Block>, Error> {
        let index = self.index(sealed)?;
        let ordinal = index.find(seq).unwrap_or(usize::MAX);
        let (segment, generation) = (sealed.name.segment, sealed.name.generation);
        let key = Key { segment, generation, block: Some(ordinal) };
        if let Some(Cached::Block(block)) = self.cache.lock().get(key) {
            return Ok(block);
        }
        let block = Arc::new(sealed.read_block(&index, ordinal)?);
        if keep {
            self.cache.lock().put(key, Cached::Block(Arc::clone(&block)));
        }
        Ok(block)
    }

    fn index(&self, sealed: &SealedSegment) -> Result<Arc<BlockIndex>, Error> {
        let key = Key { segment: sealed.name.segment, generation: sealed.name.generation, block: None };
        if let Some(Cached::Index(index)) = self.cache.lock().get(key) {
            return Ok(index);
        }
        let index = Arc::new(sealed.load_index(&*self.disk)?);
        self.cache.lock().put(key, Cached::Index(Arc::clone(&index)));
        Ok(index)
    }
}
