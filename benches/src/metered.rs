//! A disk that counts: what the engine reads, writes and syncs, by kind of file.

use crate::Fault;
use crate::measure::{histogram, micros};
use hdrhistogram::Histogram;
use spoor::store::disk::{Disk, DiskFile, DiskLock, RealDisk};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The machine's file system, counted.
#[derive(Debug, Default)]
pub struct MeteredDisk {
    frames: Arc<Meter>,
    prepared: Arc<Meter>,
    sealed: Arc<Meter>,
    index: Arc<Meter>,
    other: Arc<Meter>,
}

impl MeteredDisk {
    /// One on which each sync of a segment takes so much longer, as on a slower disk.
    #[must_use]
    pub fn slower(by: Duration) -> Self {
        let frames = Arc::new(Meter { slower: by, ..Meter::default() });
        Self { frames, ..Self::default() }
    }
}

#[derive(Debug, Default)]
struct Meter {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    syncs: AtomicU64,
    sync_ns: AtomicU64,
    /// Times of the syncs since [`MeteredDisk::forget_sync_times`], in microseconds.
    sync_times: Mutex<Option<Histogram<u64>>>,
    /// Added to each sync.
    slower: Duration,
}

/// What was done to one kind of file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    /// Calls that read.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Calls that wrote.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Time that they took, in nanoseconds.
    pub sync_ns: u64,
}

impl Traffic {
    /// What was done after `before`.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            read_bytes: self.read_bytes - before.read_bytes,
            writes: self.writes - before.writes,
            written_bytes: self.written_bytes - before.written_bytes,
            syncs: self.syncs - before.syncs,
            sync_ns: self.sync_ns - before.sync_ns,
        }
    }
}

impl Meter {
    fn traffic(&self) -> Traffic {
        Traffic {
            reads: self.reads.load(Relaxed),
            read_bytes: self.read_bytes.load(Relaxed),
            writes: self.writes.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            sync_ns: self.sync_ns.load(Relaxed),
        }
    }
}

impl MeteredDisk {
    /// What was done so far: to segments that are appended to, to segments while they are zeroed ahead (from
    /// the thread that does so), to sealed segments, to the index, to anything else.
    #[must_use]
    pub fn traffic(&self) -> [(&'static str, Traffic); 5] {
        [
            ("frames", self.frames.traffic()),
            ("zeroing", self.prepared.traffic()),
            ("sealing", self.sealed.traffic()),
            ("index", self.index.traffic()),
            ("other", self.other.traffic()),
        ]
    }

    /// Begins to note how long each sync of the log takes.
    ///
    /// # Errors
    /// As [`histogram`].
    pub fn forget_sync_times(&self) -> Result<(), Fault> {
        let times = Some(histogram()?);
        *self.frames.sync_times.lock().map_err(|_| "a thread panicked")? = times;
        Ok(())
    }

    /// How long the syncs of the log took since [`MeteredDisk::forget_sync_times`].
    ///
    /// # Errors
    /// If that was not called.
    pub fn sync_times(&self) -> Result<Histogram<u64>, Fault> {
        let times = self.frames.sync_times.lock().map_err(|_| "a thread panicked")?;
        times.clone().ok_or_else(|| "they were not noted".into())
    }

    fn meter(&self, path: &Path) -> [Arc<Meter>; 2] {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let meters = if name.contains(".open") {
            [&self.frames, &self.prepared]
        } else if name.contains(".sealed") {
            [&self.sealed; 2]
        } else if name.contains(".redb") {
            [&self.index; 2]
        } else {
            [&self.other; 2]
        };
        meters.map(Arc::clone)
    }
}

impl Disk for MeteredDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, create)?;
        let [meter, preparing] = self.meter(path);
        Ok(Arc::new(MeteredFile { file, meter, preparing }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let begun = Instant::now();
        let result = RealDisk.sync_dir(dir);
        count_sync(&self.other, begun);
        result
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        RealDisk.lock(path)
    }
}

#[derive(Debug)]
struct MeteredFile {
    file: Arc<dyn DiskFile>,
    meter: Arc<Meter>,
    /// For what the thread does that prepares segments.
    preparing: Arc<Meter>,
}

impl MeteredFile {
    fn meter(&self) -> &Meter {
        let thread = std::thread::current();
        if thread.name().is_some_and(|name| name.starts_with("log-prepare")) {
            &self.preparing
        } else {
            &self.meter
        }
    }
}

fn count_sync(meter: &Meter, begun: Instant) {
    if let Ok(mut times) = meter.sync_times.lock()
        && let Some(times) = times.as_mut()
    {
        // It fails only beyond the bounds, which `micros` keeps.
        let _ = times.record(micros(begun.elapsed()));
    }
    meter.syncs.fetch_add(1, Relaxed);
    meter.sync_ns.fetch_add(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(0), Relaxed);
}

impl DiskFile for MeteredFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, offset)?;
        self.meter().reads.fetch_add(1, Relaxed);
        self.meter().read_bytes.fetch_add(read as u64, Relaxed);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.meter().writes.fetch_add(1, Relaxed);
        self.meter().written_bytes.fetch_add(bytes.len() as u64, Relaxed);
        self.file.write_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }

    fn sync(&self) -> io::Result<()> {
        let begun = Instant::now();
        let result = self.file.sync();
        let slower = self.meter().slower;
        if !slower.is_zero() {
            std::thread::sleep(slower);
        }
        count_sync(self.meter(), begun);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_file_has_its_own_count() {
        let dir = tempfile::tempdir().unwrap();
        let disk = MeteredDisk::default();
        let index = disk.open(&dir.path().join("index.redb"), true).unwrap();
        index.write_at(&[7; 10], 0).unwrap();
        index.sync().unwrap();
        assert_eq!(index.read_at(&mut [0; 4], 0).unwrap(), 4);
        let segment = disk.open(&dir.path().join("000000000001-0000.open"), true).unwrap();
        segment.write_at(&[7; 3], 0).unwrap();
        let traffic = disk.traffic();
        let (index, frames) = (traffic[3].1, traffic[0].1);
        assert_eq!((index.writes, index.written_bytes, index.syncs), (1, 10, 1));
        assert_eq!((index.reads, index.read_bytes), (1, 4));
        assert_eq!((frames.writes, frames.written_bytes, frames.syncs), (1, 3, 0));
        assert!(disk.sync_times().is_err());
        disk.forget_sync_times().unwrap();
        segment.sync().unwrap();
        assert_eq!(disk.sync_times().unwrap().len(), 1);
    }
}
