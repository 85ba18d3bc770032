//! Prepares the next segment while the present one fills: a file of zeros, synced, its name synced.
//!
//! Overwriting blocks that are written already saves the file system's journal in every sync of the writer.

use super::pace::{Pace, PacedFile};
use super::segment::FileName;
use crate::error::Error;
use crate::store::background::give_way;
use crate::store::disk::{Disk, DiskFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// A file that frames may be written to.
pub(super) struct Prepared {
    pub(super) name: FileName,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) capacity: u64,
}

/// A segment that a thread is preparing. Dropping it stops the thread and leaves a blank file, which the
/// next opening removes.
pub(super) struct Preparation {
    thread: Option<JoinHandle<Result<Option<Prepared>, Error>>>,
    pace: Arc<Pace>,
}

impl Preparation {
    /// Starts to prepare `segment` in `dir`, `capacity` bytes large.
    ///
    /// # Errors
    /// [`Error::Io`] if there can be no thread.
    pub(super) fn start(disk: Arc<dyn Disk>, dir: &Path, segment: u64, capacity: u64) -> Result<Self, Error> {
        let pace = Arc::new(Pace::default());
        let (own_pace, own_dir) = (Arc::clone(&pace), dir.to_owned());
        let thread = Builder::new()
            .name("log-prepare".to_owned())
            .spawn(move || {
                give_way();
                prepare(&*disk, &own_dir, FileName::open(segment), capacity, &own_pace)
            })
            .map_err(Error::io(dir))?;
        Ok(Self { thread: Some(thread), pace })
    }

    /// No pauses from now on: the file is needed soon.
    pub(super) fn hurry(&self) {
        self.pace.hurry();
    }

    /// Waits for the file, without pauses.
    ///
    /// # Errors
    /// [`Error::Io`], also if the thread failed.
    pub(super) fn take(mut self, dir: &Path) -> Result<Prepared, Error> {
        self.pace.hurry();
        let thread = self.thread.take();
        let result = thread.map(JoinHandle::join);
        let lost = || Error::io(dir)(io::Error::other("the thread that prepares segments is gone"));
        result.and_then(Result::ok).ok_or_else(lost)??.ok_or_else(lost)
    }

    /// Stops, and removes the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn abandon(mut self, disk: &dyn Disk, path: &Path) -> Result<(), Error> {
        self.stop();
        match disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path)(error)),
            _ => Ok(()),
        }
    }

    fn stop(&mut self) {
        self.pace.stop();
        self.pace.hurry();
        if let Some(thread) = self.thread.take() {
            // Whatever came of it is no longer wanted.
            let _ = thread.join();
        }
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `None` if it was stopped.
fn prepare(
    disk: &dyn Disk,
    dir: &Path,
    name: FileName,
    capacity: u64,
    pace: &Pace,
) -> Result<Option<Prepared>, Error> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let path = dir.join(name.to_string());
    let file = disk.open(&path, true).map_err(Error::io(&path))?;
    let mut paced = PacedFile::new(Arc::clone(&file), &path, pace);
    while paced.offset() < capacity {
        if !paced.write(&ZEROS)? {
            return Ok(None);
        }
    }
    paced.sync()?;
    disk.sync_dir(dir).map_err(Error::io(dir))?;
    Ok(Some(Prepared { name, path, file, capacity }))
}
