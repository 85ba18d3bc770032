//! A disk in memory that loses power, and fails, on request: what the store's promises are tried on.
//!
//! It keeps what a real one may keep and no more. What was written but not synced survives a power cut in
//! any part, down to single sectors; a name that was made, changed or removed survives without
//! [`Disk::sync_dir`] or not, each for itself; a sync that failed loses what it should have saved, and a
//! later sync does not bring it back. Two liberties: directories themselves are durable at once, and a
//! rename is atomic.

use super::{Disk, DiskFile, DiskLock, parent};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a power cut keeps or loses as a whole, in bytes.
const SECTOR_BYTES: usize = 512;

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// What happens at a chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// That operation fails, and the next ones succeed.
    Fails,
    /// That operation and all later ones fail.
    FailsForGood,
    /// The power goes while it is under way: it may have been done in part, and all later ones fail.
    PowerCut,
}

/// One thing to try: a fault at one operation, and how the machine ends after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Number of the operation.
    pub operation: u64,
    /// What happens there.
    pub fault: Fault,
    /// Chooses what is left afterwards: see [`SimDisk::after`].
    pub seed: u64,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at operation {}, seed {}", self.fault, self.operation, self.seed)
    }
}

impl Trial {
    /// Each of some faults at each of some operations, with each of so many seeds.
    pub fn all(
        operations: impl IntoIterator<Item = u64>,
        faults: &[Fault],
        seeds: u64,
    ) -> impl Iterator<Item = Self> {
        operations.into_iter().flat_map(move |operation| {
            let of = move |fault: &Fault| {
                let fault = *fault;
                (0..seeds).map(move |seed| Self { operation, fault, seed: seed * 1_001 + operation })
            };
            faults.iter().flat_map(of)
        })
    }

    /// Does `work` on an empty disk until it is done or meets the fault; returns what it returned, and the disk as
    /// the machine finds it when it comes up again.
    pub fn run<T>(self, work: impl FnOnce(&Arc<dyn Disk>) -> T) -> (T, SimDisk) {
        let disk = SimDisk::new();
        disk.fault_at(self.operation, self.fault);
        let done = work(&disk.shared());
        (done, disk.after(self.fault, self.seed))
    }
}

#[derive(Default)]
struct State {
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
}

#[derive(Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(PathBuf, usize),
    Remove(PathBuf),
    Rename { from: PathBuf, to: PathBuf, file: usize },
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("SimDisk").field("files", &state.names.len()).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many operations were asked for so far, failed ones too.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Has the operation with this number (see [`SimDisk::operations`], which it comes after) fail.
    pub fn fault_at(&self, operation: u64, fault: Fault) {
        self.state.lock().fault = Some((operation, fault));
    }

    /// The disk as the machine finds it after a power cut now; `seed` chooses what survives of all that was
    /// not synced. Every operation on this disk fails from now on.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let mut state = self.state.lock();
        state.dead = true;
        let mut chance = Chance::new(seed);
        let mut names = state.durable_names.clone();
        for change in &state.pending_names {
            if chance.survives() {
                change.apply(&mut names);
            }
        }
        let files: Vec<_> =
            state.files.iter().map(|file| File::settled(file.survivor(&mut chance))).collect();
        let survivor = State {
            files,
            durable_names: names.clone(),
            names,
            dirs: state.dirs.clone(),
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(survivor)) }
    }

    /// The disk as another process finds it after a kill: the machine itself went on, and everything that
    /// was written is there, durable or not. Every operation on this disk fails from now on.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = self.state.lock();
        let survivor = std::mem::take(&mut *state);
        state.dead = true;
        let alive = State { locks: BTreeSet::new(), dead: false, fault: None, ..survivor };
        Self { state: Arc::new(Mutex::new(alive)) }
    }

    /// What is left when the machine comes up again after a fault: its power went, or after a failure the process
    /// was ended and the machine went on, or its power went in the end, as `seed` says.
    #[must_use]
    pub fn after(&self, fault: Fault, seed: u64) -> Self {
        let went_on = fault != Fault::PowerCut && seed.is_multiple_of(2);
        if went_on { self.kill() } else { self.power_cut(seed) }
    }

    /// The same disk, as the store takes it.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    fn act<T>(&self, action: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.act_or(action, |_| {})
    }

    /// One operation. `broken` is what it leaves behind if the chosen fault hits it.
    fn act_or<T>(
        &self,
        action: impl FnOnce(&mut State) -> io::Result<T>,
        broken: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        state.operations += 1;
        if state.dead {
            return Err(io::Error::other("the power is off"));
        }
        match state.fault {
            Some((at, fault)) if state.operations > at => {
                state.fault = state.fault.filter(|_| fault != Fault::Fails);
                if fault == Fault::PowerCut {
                    // It was under way: all of it is pending, none of it is durable.
                    let _ = action(&mut state);
                    state.dead = true;
                } else {
                    broken(&mut state);
                }
                Err(io::Error::other("simulated fault"))
            }
            _ => action(&mut state),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Set(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
        }
    }

    fn concerns(&self, dir: &Path) -> bool {
        let (Self::Set(path, _) | Self::Remove(path) | Self::Rename { to: path, .. }) = self;
        parent(path) == dir
    }
}

impl File {
    fn settled(bytes: Vec<u8>) -> Self {
        Self { live: bytes.clone(), durable: bytes, pending: Vec::new() }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// The bytes after a power cut.
    fn survivor(&self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::Write { offset, bytes: written } => {
                    let mut at = *offset;
                    for sector in written.chunk_by_sector(*offset) {
                        if chance.survives() {
                            write(&mut bytes, at, sector);
                        }
                        at += sector.len();
                    }
                }
                Change::Length(_) if chance.survives() => change.apply(&mut bytes),
                Change::Length(_) => {}
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(to, *offset, bytes),
            Self::Length(length) => to.resize(*length, 0),
        }
    }
}

fn write(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    if let Some(room) = to.get_mut(offset..end) {
        room.copy_from_slice(bytes);
    }
}

trait BySector {
    /// Pieces that end where sectors end, given where the first begins.
    fn chunk_by_sector(&self, offset: usize) -> impl Iterator<Item = &[u8]>;
}

impl BySector for [u8] {
    fn chunk_by_sector(&self, offset: usize) -> impl Iterator<Item = &[u8]> {
        let first = (SECTOR_BYTES - offset % SECTOR_BYTES).min(self.len());
        let (head, rest) = self.split_at(first);
        std::iter::once(head).chain(rest.chunks(SECTOR_BYTES))
    }
}

/// Decides what survives: everything, nothing, or each piece for itself, as the seed says.
struct Chance {
    state: u64,
    in_256: u64,
}

impl Chance {
    fn new(seed: u64) -> Self {
        let mut chance = Self { state: seed, in_256: 0 };
        chance.in_256 = match chance.next() % 5 {
            0 => 0,
            1 => 256,
            2 => 8,
            3 => 248,
            _ => 128,
        };
        chance
    }

    /// SplitMix64, by Sebastiano Vigna: https://prng.di.unimi.it/splitmix64.c
    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    const fn survives(&mut self) -> bool {
        self.next() % 256 < self.in_256
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.act(|state| {
            let known = state.names.get(path).copied();
            match (known, create) {
                (Some(number), false) => Ok(number),
                (Some(_), true) => Err(io::ErrorKind::AlreadyExists.into()),
                (None, true) if state.dirs.contains(&parent(path)) => {
                    let number = state.files.len();
                    state.files.push(File::default());
                    state.names.insert(path.to_owned(), number);
                    state.pending_names.push(NameChange::Set(path.to_owned(), number));
                    Ok(number)
                }
                (None, _) => Err(io::ErrorKind::NotFound.into()),
            }
        })?;
        Ok(Arc::new(SimFile { disk: self.clone(), number }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.act(|state| {
            state.dirs.extend(path.ancestors().map(Path::to_owned));
            Ok(())
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.act(|state| {
            let inside = state.names.keys().filter(|path| parent(path) == dir);
            Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.act(|state| {
            let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), file);
            let (from, to) = (from.to_owned(), to.to_owned());
            state.pending_names.push(NameChange::Rename { from, to, file });
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.act(|state| {
            state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
            state.pending_names.push(NameChange::Remove(path.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.act(|state| {
            // A cut in the middle of this is one that keeps some of the changes: they stay pending then.
            if state.fault.is_some_and(|(at, fault)| state.operations > at && fault == Fault::PowerCut) {
                return Ok(());
            }
            let pending = std::mem::take(&mut state.pending_names);
            let (done, later): (Vec<_>, Vec<_>) =
                pending.into_iter().partition(|change| change.concerns(dir));
            for change in done {
                change.apply(&mut state.durable_names);
            }
            state.pending_names = later;
            Ok(())
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.act(|state| {
            if !state.locks.insert(path.to_owned()) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        })?;
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state.lock().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    number: usize,
}

impl SimFile {
    fn change(&self, change: Change) -> io::Result<()> {
        self.disk.act(|state| {
            let file = state.files.get_mut(self.number).ok_or(io::ErrorKind::NotFound)?;
            file.change(change);
            Ok(())
        })
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = position(offset)?;
        self.disk.act(|state| {
            let file = state.files.get(self.number).ok_or(io::ErrorKind::NotFound)?;
            let there = file.live.get(offset..).unwrap_or_default();
            let length = there.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..length), there.get(..length)) {
                to.copy_from_slice(from);
            }
            Ok(length)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write { offset: position(offset)?, bytes: bytes.to_vec() })
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.act(|state| {
            let file = state.files.get(self.number).ok_or(io::ErrorKind::NotFound)?;
            Ok(file.live.len() as u64)
        })
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.change(Change::Length(position(length)?))
    }

    fn sync(&self) -> io::Result<()> {
        let number = self.number;
        self.disk.act_or(
            |state| {
                let cut =
                    state.fault.is_some_and(|(at, fault)| state.operations > at && fault == Fault::PowerCut);
                let file = state.files.get_mut(number).ok_or(io::ErrorKind::NotFound)?;
                if !cut {
                    file.sync();
                }
                Ok(())
            },
            |state| {
                if let Some(file) = state.files.get_mut(number) {
                    // The system forgets what it could not save, and shows it as if it were there.
                    file.pending.clear();
                }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(disk: &SimDisk, name: &str) -> Arc<dyn DiskFile> {
        disk.create_dir_all(Path::new("/d")).unwrap();
        disk.open(&Path::new("/d").join(name), true).unwrap()
    }

    fn read(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
        let file = disk.open(&Path::new("/d").join(name), false).ok()?;
        let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_is_synced_survives_every_cut() {
        for seed in 0..50 {
            let disk = SimDisk::new();
            let a = file(&disk, "a");
            a.write_at(&[7; 2000], 100).unwrap();
            a.sync().unwrap();
            disk.sync_dir(Path::new("/d")).unwrap();
            a.write_at(&[8; 10], 5000).unwrap();
            let bytes = read(&disk.power_cut(seed), "a").unwrap();
            assert_eq!(bytes[100..2100], [7; 2000]);
            assert!(a.sync().is_err());
        }
    }

    #[test]
    fn what_is_not_synced_survives_in_any_part() {
        let outcomes: BTreeSet<_> = (0..300)
            .map(|seed| {
                let disk = SimDisk::new();
                let a = file(&disk, "a");
                disk.sync_dir(Path::new("/d")).unwrap();
                a.write_at(&[1; 1024], 256).unwrap();
                read(&disk.power_cut(seed), "a").unwrap()
            })
            .collect();
        // The write touches three sectors: all eight subsets are seen.
        assert_eq!(outcomes.len(), 8);
    }

    #[test]
    fn names_survive_only_by_luck_without_a_sync_of_the_directory() {
        let found: BTreeSet<_> = (0..100)
            .map(|seed| {
                let disk = SimDisk::new();
                let a = file(&disk, "a");
                a.sync().unwrap();
                disk.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
                let after = disk.power_cut(seed);
                (read(&after, "a").is_some(), read(&after, "b").is_some())
            })
            .collect();
        assert_eq!(found.len(), 3, "neither, the old or the new name; {found:?}");
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next() {
        let disk = SimDisk::new();
        let a = file(&disk, "a");
        disk.sync_dir(Path::new("/d")).unwrap();
        a.write_at(b"lost", 0).unwrap();
        disk.fault_at(disk.operations(), Fault::Fails);
        assert!(a.sync().is_err());
        a.sync().unwrap();
        assert_eq!(read(&disk, "a").unwrap(), b"lost");
        for seed in 0..20 {
            assert_eq!(read(&disk.clone_durable(seed), "a").unwrap(), b"");
        }
    }

    impl SimDisk {
        /// What a cut would leave, without the cut.
        fn clone_durable(&self, seed: u64) -> Self {
            let after = self.power_cut(seed);
            self.state.lock().dead = false;
            after
        }
    }

    #[test]
    fn a_lock_admits_one() {
        let disk = SimDisk::new();
        let path = Path::new("/d/lock");
        let lock = disk.lock(path).unwrap();
        assert_eq!(disk.lock(path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        assert!(disk.lock(path).is_ok());
    }

    #[test]
    fn a_kill_keeps_everything_written() {
        let disk = SimDisk::new();
        file(&disk, "a").write_at(b"here", 0).unwrap();
        let after = disk.kill();
        assert_eq!(read(&after, "a").unwrap(), b"here");
        assert_eq!(read(&disk, "a"), None);
    }
}
