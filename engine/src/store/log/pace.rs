//! Writing in the background without holding up the writer's syncs: in slices, each synced, with a pause
//! after each. The sync of a large file would otherwise make every other sync on the disk wait.

use crate::error::Error;
use crate::limits::{PACED_PAUSE_MS, PACED_SLICE_BYTES};
use crate::store::disk::DiskFile;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the owner of a background thread tells it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    hurry: AtomicBool,
    stop: AtomicBool,
}

impl Pace {
    /// No pauses from now on: somebody waits.
    pub(super) fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// Pauses again.
    pub(super) fn relax(&self) {
        self.hurry.store(false, Ordering::Relaxed);
    }

    /// The work is no longer wanted.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn pause(&self) {
        if !self.hurry.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(PACED_PAUSE_MS));
        }
    }
}

/// A file that is written from its beginning to its end, at a pace.
pub(super) struct PacedFile<'a> {
    file: Arc<dyn DiskFile>,
    path: &'a Path,
    pace: &'a Pace,
    buffer: Vec<u8>,
    /// Bytes written before those in the buffer.
    written: u64,
}

impl<'a> PacedFile<'a> {
    pub(super) fn new(file: Arc<dyn DiskFile>, path: &'a Path, pace: &'a Pace) -> Self {
        Self { file, path, pace, buffer: Vec::with_capacity(PACED_SLICE_BYTES), written: 0 }
    }

    /// Where the next byte goes.
    pub(super) const fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds `bytes`. `false` if the work was stopped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<bool, Error> {
        while !bytes.is_empty() {
            let room = PACED_SLICE_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == PACED_SLICE_BYTES {
                self.sync()?;
                self.pace.pause();
                if self.pace.stopped() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Makes everything durable that was added.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        self.file
            .write_at(&self.buffer, self.written)
            .and_then(|()| self.file.sync())
            .map_err(Error::io(self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
