//! A disk in memory that fails at a chosen operation and can lose power.
//!
//! What was not synced when the power goes is there or not, write by write and sector by sector.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::store::disk::{Disk, DiskFile, DiskLock};

const SECTOR_BYTES: usize = 512;

#[derive(Debug, Clone, Default)]
pub(super) struct FaultyDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<BTreeMap<PathBuf, Arc<Mutex<Content>>>>,
    durable_names: Mutex<BTreeMap<PathBuf, Arc<Mutex<Content>>>>,
    operations: AtomicU64,
    /// Number of the operation that fails; 0 for none.
    fails_at: AtomicU64,
    /// Whether all later ones fail too.
    for_ever: bool,
    /// Whether a sync says that it synced and does nothing.
    lies: bool,
}

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug)]
struct FaultyFile {
    disk: Arc<Shared>,
    content: Arc<Mutex<Content>>,
}

impl FaultyDisk {
    pub(super) fn failing_at(operation: u64, for_ever: bool) -> Self {
        Self(Arc::new(Shared { fails_at: AtomicU64::new(operation), for_ever, ..Shared::default() }))
    }

    pub(super) fn lying() -> Self {
        Self(Arc::new(Shared { lies: true, ..Shared::default() }))
    }

    pub(super) fn operations(&self) -> u64 {
        self.0.operations.load(Ordering::Relaxed)
    }

    /// What another process finds after this one was killed now.
    pub(super) fn after_kill(&self) -> Self {
        let names =
            self.0.names.lock().iter().map(|(name, file)| (name.clone(), file.lock().clone())).collect();
        Self::holding(names)
    }

    /// What is found after the power went now.
    pub(super) fn after_power_cut(&self, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let names = if random.random() { self.0.names.lock() } else { self.0.durable_names.lock() };
        let cut = names.iter().map(|(name, file)| (name.clone(), file.lock().cut(&mut random))).collect();
        Self::holding(cut)
    }

    fn holding(files: BTreeMap<PathBuf, Content>) -> Self {
        let disk = Self::default();
        *disk.0.names.lock() =
            files.into_iter().map(|(name, content)| (name, Arc::new(Mutex::new(content)))).collect();
        *disk.0.durable_names.lock() = disk.0.names.lock().clone();
        disk
    }
}

impl Shared {
    fn operate(&self) -> io::Result<()> {
        let number = self.operations.fetch_add(1, Ordering::Relaxed) + 1;
        let fails_at = self.fails_at.load(Ordering::Relaxed);
        if fails_at > 0 && (number == fails_at || self.for_ever && number > fails_at) {
            return Err(io::Error::other("the disk failed"));
        }
        Ok(())
    }
}

impl Content {
    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Length(length) => bytes.resize(*length, 0),
            Change::Write(offset, written) => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
        }
    }

    fn change(&mut self, change: Change) {
        Self::apply(&mut self.now, &change);
        self.unsynced.push(change);
    }

    fn cut(&self, random: &mut SmallRng) -> Self {
        let mut left = self.synced.clone();
        let kept_of_ten = random.random_range(0..=10);
        for change in &self.unsynced {
            match change {
                Change::Length(_) if random.random() => Self::apply(&mut left, change),
                Change::Length(_) => {}
                Change::Write(offset, written) => {
                    for (number, sector) in written.chunks(SECTOR_BYTES).enumerate() {
                        if random.random_range(0..10) < kept_of_ten {
                            let at = offset + number * SECTOR_BYTES;
                            Self::apply(&mut left, &Change::Write(at, sector.to_vec()));
                        }
                    }
                }
            }
        }
        Self { now: left.clone(), synced: left, unsynced: Vec::new() }
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.0.operate()?;
        let mut names = self.0.names.lock();
        let content = match (names.get(path), create) {
            (Some(_), true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, false) => return Err(io::ErrorKind::NotFound.into()),
            (Some(content), false) => content.clone(),
            (None, true) => names.entry(path.to_owned()).or_default().clone(),
        };
        Ok(Arc::new(FaultyFile { disk: self.0.clone(), content }))
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        self.0.operate()
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        self.0.operate()?;
        Ok(self.0.names.lock().keys().map(|path| path.display().to_string()).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.operate()?;
        let mut names = self.0.names.lock();
        let content = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.operate()?;
        self.0.names.lock().remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.0.operate()?;
        *self.0.durable_names.lock() = self.0.names.lock().clone();
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn DiskLock>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.operate()?;
        let content = self.content.lock();
        let rest = content.now.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.operate()?;
        self.content.lock().change(Change::Write(offset as usize, bytes.to_vec()));
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.operate()?;
        Ok(self.content.lock().now.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.operate()?;
        self.content.lock().change(Change::Length(length as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operate()?;
        if self.disk.lies {
            return Ok(());
        }
        let mut content = self.content.lock();
        content.synced = content.now.clone();
        content.unsynced.clear();
        Ok(())
    }
}
