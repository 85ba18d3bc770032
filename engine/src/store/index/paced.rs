//! The file under redb: it spreads the writes of a checkpoint, so that the log beside it can sync.
//!
//! Both files share one disk. A checkpoint that hands the disk tens of megabytes and then syncs holds
//! every sync of the log, and so every acknowledgement, until all of it is written. Here each slice of
//! [`INDEX_SLICE_BYTES`] is synced as it is written, and then the disk is left alone for a while.
//!
//! Syncing more often than redb asks for never breaks its order of writes: it relies only on what was
//! written before a sync being durable after it. It knows nothing of pages, rows or transactions.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::limits::{INDEX_REST_FACTOR, INDEX_REST_MAX_MS, INDEX_REST_MIN_MS, INDEX_SLICE_BYTES};
use crate::store::disk::DiskFile;

/// How much of a hurry checkpoints are in, and what they have cost. Shared by the engine and the index.
#[derive(Debug, Default)]
pub struct Pace {
    urgency: AtomicU32,
    bytes_written: AtomicU64,
    syncs: AtomicU64,
    rested_us: AtomicU64,
}

/// What went to the disk for the index since the process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes written to the file.
    pub bytes_written: u64,
    /// Syncs, those of redb and those after slices.
    pub syncs: u64,
    /// Time that checkpoints left the disk to others, in microseconds.
    pub rested_us: u64,
}

impl Pace {
    /// The urgency at which checkpoints no longer pause.
    pub const URGENCY_MAX: u32 = 1_000;

    /// A pace without urgency.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the urgency, from 0 (rest fully after each slice) to [`Pace::URGENCY_MAX`] (do not rest);
    /// more counts as that. Takes effect with the next slice, at most [`INDEX_REST_MAX_MS`] later.
    pub fn set_urgency(&self, urgency: u32) {
        self.urgency.store(urgency.min(Self::URGENCY_MAX), Ordering::Relaxed);
    }

    /// The urgency last set.
    #[must_use]
    pub fn urgency(&self) -> u32 {
        self.urgency.load(Ordering::Relaxed)
    }

    /// What went to the disk so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            bytes_written: self.bytes_written.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            rested_us: self.rested_us.load(Ordering::Relaxed),
        }
    }

    /// How long to leave the disk alone after a slice whose sync took `sync`.
    ///
    /// In proportion to the sync, since that says how slow the disk is and how much others use it now.
    fn rest_after(&self, sync: Duration) -> Duration {
        let calm = Self::URGENCY_MAX - self.urgency();
        let shortest = Duration::from_millis(INDEX_REST_MIN_MS);
        let longest = Duration::from_millis(INDEX_REST_MAX_MS);
        (sync * INDEX_REST_FACTOR).clamp(shortest, longest) * calm / Self::URGENCY_MAX
    }

    fn rest(&self, sync: Duration) {
        let rest = self.rest_after(sync);
        if !rest.is_zero() {
            std::thread::sleep(rest);
            self.rested_us.fetch_add(u64::try_from(rest.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

thread_local! {
    /// Whether this thread is inside a checkpoint. Others may write too (redb lets a reader write out a
    /// buffered page when its cache is full), and a reader must not be made to wait.
    static IN_CHECKPOINT: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, what this thread writes is sliced and paced.
pub(super) struct Slicing(());

impl Slicing {
    pub(super) fn begin() -> Self {
        IN_CHECKPOINT.set(true);
        Self(())
    }
}

impl Drop for Slicing {
    fn drop(&mut self) {
        IN_CHECKPOINT.set(false);
    }
}

/// redb's storage over a [`DiskFile`].
pub(super) struct PacedFile {
    file: Arc<dyn DiskFile>,
    pace: Arc<Pace>,
    /// Held during a sync, so that nobody takes bytes for synced while they are being synced.
    unsynced: Mutex<Unsynced>,
}

#[derive(Default)]
struct Unsynced {
    /// Bytes written since the last sync.
    bytes: u64,
    /// Whether anything changed since the last sync: bytes or the length.
    any: bool,
    /// A sync failed: nothing is known of what was written, and no later sync can make it good.
    failed: bool,
}

impl PacedFile {
    pub(super) fn new(file: Arc<dyn DiskFile>, pace: Arc<Pace>) -> Self {
        Self { file, pace, unsynced: Mutex::default() }
    }

    fn sync(&self, unsynced: &mut Unsynced) -> io::Result<()> {
        if unsynced.failed {
            return Err(io::Error::other("an earlier sync of the index failed"));
        }
        if !unsynced.any {
            return Ok(());
        }
        self.pace.syncs.fetch_add(1, Ordering::Relaxed);
        let result = self.file.sync();
        *unsynced = Unsynced { failed: result.is_err(), ..Unsynced::default() };
        result
    }

    fn end_slice_if_full(&self) -> io::Result<()> {
        let begun = Instant::now();
        {
            let mut unsynced = self.unsynced.lock();
            if unsynced.bytes < INDEX_SLICE_BYTES {
                return Ok(());
            }
            self.sync(&mut unsynced)?;
        }
        self.pace.rest(begun.elapsed());
        Ok(())
    }
}

impl fmt::Debug for PacedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacedFile").field("file", &self.file).finish_non_exhaustive()
    }
}

impl redb::StorageBackend for PacedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.file.read_at(out, offset)? < out.len() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the index ends before the page"));
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_length(len)?;
        self.unsynced.lock().any = true;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(&mut self.unsynced.lock())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(data, offset)?;
        self.pace.bytes_written.fetch_add(data.len() as u64, Ordering::Relaxed);
        {
            let mut unsynced = self.unsynced.lock();
            unsynced.bytes += data.len() as u64;
            unsynced.any = true;
        }
        if IN_CHECKPOINT.get() { self.end_slice_if_full() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use redb::StorageBackend;

    use super::*;

    /// Counts what reaches it; `lost` is what a power cut would take now.
    #[derive(Debug, Default)]
    struct CountingFile {
        writes: AtomicU64,
        syncs: AtomicU64,
        lost: AtomicU64,
        lost_most: AtomicU64,
        fails: AtomicU32,
    }

    impl DiskFile for CountingFile {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }
        fn write_at(&self, bytes: &[u8], _: u64) -> io::Result<()> {
            self.writes.fetch_add(1, Ordering::Relaxed);
            let lost = self.lost.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
            self.lost_most.fetch_max(lost, Ordering::Relaxed);
            Ok(())
        }
        fn length(&self) -> io::Result<u64> {
            Ok(0)
        }
        fn set_length(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            self.syncs.fetch_add(1, Ordering::Relaxed);
            if self.fails.load(Ordering::Relaxed) > 0 {
                return Err(io::Error::other("the disk is gone"));
            }
            self.lost.store(0, Ordering::Relaxed);
            Ok(())
        }
    }

    fn paced() -> (Arc<CountingFile>, Arc<Pace>, PacedFile) {
        let file = Arc::new(CountingFile::default());
        let pace = Arc::new(Pace::new());
        (file.clone(), pace.clone(), PacedFile::new(file, pace))
    }

    const PAGE: [u8; 4096] = [7; 4096];
    const SLICE_PAGES: u64 = INDEX_SLICE_BYTES / PAGE.len() as u64;

    #[test]
    fn inside_a_checkpoint_each_slice_is_synced_and_followed_by_a_rest() {
        let (file, pace, paced) = paced();
        let slicing = Slicing::begin();
        for page in 0..SLICE_PAGES * 5 {
            paced.write(page * 4096, &PAGE).unwrap();
        }
        drop(slicing);
        assert_eq!(file.syncs.load(Ordering::Relaxed), 5);
        assert!(file.lost_most.load(Ordering::Relaxed) <= INDEX_SLICE_BYTES);
        let traffic = pace.traffic();
        assert_eq!((traffic.bytes_written, traffic.syncs), (INDEX_SLICE_BYTES * 5, 5));
        assert!(traffic.rested_us >= 5 * INDEX_REST_MIN_MS * 1_000, "{traffic:?}");
    }

    #[test]
    fn at_full_urgency_slices_are_synced_without_rest() {
        let (file, pace, paced) = paced();
        pace.set_urgency(Pace::URGENCY_MAX + 5);
        let _slicing = Slicing::begin();
        for page in 0..SLICE_PAGES * 2 {
            paced.write(page * 4096, &PAGE).unwrap();
        }
        assert_eq!(file.syncs.load(Ordering::Relaxed), 2);
        assert_eq!(pace.traffic().rested_us, 0);
    }

    #[test]
    fn urgency_shortens_the_rest_steadily() {
        let pace = Pace::new();
        let sync = Duration::from_millis(INDEX_REST_MAX_MS);
        let mut last = Duration::MAX;
        for urgency in [0, 250, 500, 750, 1_000] {
            pace.set_urgency(urgency);
            let rest = pace.rest_after(sync);
            assert!(rest < last, "{urgency}");
            last = rest;
        }
        assert_eq!(last, Duration::ZERO);
        pace.set_urgency(0);
        assert_eq!(pace.rest_after(Duration::from_secs(10)), Duration::from_millis(INDEX_REST_MAX_MS));
        assert_eq!(pace.rest_after(Duration::ZERO), Duration::from_millis(INDEX_REST_MIN_MS));
    }

    #[test]
    fn outside_a_checkpoint_nothing_is_synced_unasked() {
        let (file, _, paced) = paced();
        for page in 0..SLICE_PAGES * 3 {
            paced.write(page * 4096, &PAGE).unwrap();
        }
        assert_eq!(file.syncs.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_reader_that_writes_during_a_checkpoint_neither_syncs_nor_rests() {
        let (file, pace, paced) = paced();
        let _slicing = Slicing::begin();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for page in 0..SLICE_PAGES * 2 {
                    paced.write(page * 4096, &PAGE).unwrap();
                }
            });
        });
        assert_eq!(file.syncs.load(Ordering::Relaxed), 0);
        assert_eq!(pace.traffic().rested_us, 0);
        // The checkpoint's next write makes up for it.
        paced.write(0, &PAGE).unwrap();
        assert_eq!(file.lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_sync_asked_for_really_syncs_unless_nothing_changed_since_the_last() {
        let (file, _, paced) = paced();
        paced.sync_data().unwrap();
        assert_eq!(file.syncs.load(Ordering::Relaxed), 0);
        paced.write(0, b"x").unwrap();
        paced.sync_data().unwrap();
        paced.sync_data().unwrap();
        assert_eq!(file.syncs.load(Ordering::Relaxed), 1);
        paced.set_len(9).unwrap();
        paced.sync_data().unwrap();
        assert_eq!(file.syncs.load(Ordering::Relaxed), 2);
        assert_eq!(file.lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_failed_sync_is_never_taken_back() {
        let (file, _, paced) = paced();
        paced.write(0, b"x").unwrap();
        file.fails.store(1, Ordering::Relaxed);
        paced.sync_data().unwrap_err();
        file.fails.store(0, Ordering::Relaxed);
        paced.sync_data().unwrap_err();
        assert_eq!(file.syncs.load(Ordering::Relaxed), 1, "a sync after a failed one proves nothing");
    }
}
