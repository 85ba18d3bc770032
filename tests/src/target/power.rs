//! A disk that can be switched off: what a killed process leaves behind is what it wrote until then.

use spoor::store::disk::{Disk, DiskFile, DiskLock, RealDisk};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The machine's disk behind a switch. Once off, nothing gets through any more, so that a store that is
/// dropped afterwards cannot close itself properly.
#[derive(Debug, Clone)]
pub(super) struct Switched {
    on: Arc<AtomicBool>,
}

impl Switched {
    pub(super) fn new() -> Self {
        Self { on: Arc::new(AtomicBool::new(true)) }
    }

    pub(super) fn switch_off(&self) {
        self.on.store(false, Ordering::SeqCst);
    }

    fn through(&self) -> io::Result<()> {
        if self.on.load(Ordering::SeqCst) { Ok(()) } else { Err(io::Error::other("switched off")) }
    }
}

#[derive(Debug)]
struct SwitchedFile {
    file: Arc<dyn DiskFile>,
    switch: Switched,
}

impl Disk for Switched {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.through()?;
        Ok(Arc::new(SwitchedFile { file: RealDisk.open(path, create)?, switch: self.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.through()?;
        RealDisk.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.through()?;
        RealDisk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.through()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.through()?;
        RealDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.through()?;
        RealDisk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.through()?;
        RealDisk.lock(path)
    }
}

impl DiskFile for SwitchedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.switch.through()?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.switch.through()?;
        self.file.write_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.switch.through()?;
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.switch.through()?;
        self.file.set_length(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.switch.through()?;
        self.file.sync()
    }
}
