//! A disk whose syncs go through a function: for tests of slow disks, of disks that lie, and of what happens
//! meanwhile.

use super::{Disk, DiskFile, DiskLock};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Called instead of a file's sync, with the file.
pub type Syncing = dyn Fn(&dyn DiskFile) -> io::Result<()> + Send + Sync;

/// See the module.
#[derive(Clone)]
pub struct Altered {
    disk: Arc<dyn Disk>,
    under: PathBuf,
    sync: Arc<Syncing>,
}

impl Altered {
    /// Another disk, where files under `under` are synced by `sync`.
    pub fn new(
        disk: Arc<dyn Disk>,
        under: &Path,
        sync: impl Fn(&dyn DiskFile) -> io::Result<()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { disk, under: under.to_owned(), sync: Arc::new(sync) })
    }
}

impl fmt::Debug for Altered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Altered")
            .field("disk", &self.disk)
            .field("under", &self.under)
            .finish_non_exhaustive()
    }
}

impl Disk for Altered {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, create)?;
        let sync = Arc::clone(&self.sync);
        Ok(if path.starts_with(&self.under) { Arc::new(AlteredFile { file, sync }) } else { file })
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }
}

struct AlteredFile {
    file: Arc<dyn DiskFile>,
    sync: Arc<Syncing>,
}

impl fmt::Debug for AlteredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlteredFile").field("file", &self.file).finish_non_exhaustive()
    }
}

impl DiskFile for AlteredFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }
    fn sync(&self) -> io::Result<()> {
        (self.sync)(&*self.file)
    }
}
