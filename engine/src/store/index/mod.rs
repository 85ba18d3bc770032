//! The index: tables of bytes in one redb file, written by checkpoints, read through snapshots.
//!
//! Owns the file: how it is created, opened, written, paced and closed. It knows nothing of what rows
//! mean, and it is never the only place where anything stands: whatever is wrong with it, it can be
//! thrown away and rebuilt from the log. The engine's checkpoint thread writes it, readers hold an
//! [`IndexReader`] each.
//!
//! Invariants:
//! 1. A checkpoint is one transaction with its meta, so the rows are those of the log position in it.
//! 2. It is saved with its allocator state (redb's `quick_repair`), so that opening after a kill does not
//!    walk the file; and never without durability.
//! 3. After any error of a checkpoint nothing is written any more, until the index is opened again. The
//!    checkpoint that failed is then there whole, or not at all.

mod checkpoint;
mod faults;
mod paced;
mod reader;
mod rewrite;
mod tables;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers in these tests are small")]
mod tests;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use redb::{Database, TableDefinition, WriteTransaction};

pub use checkpoint::CheckpointWriter;
pub use paced::{Pace, Traffic};
pub use reader::{IndexReader, Order, Row, Rows};
pub use tables::{
    ITEM_KEY_BYTES, NUMBER_BYTES, PAIR_BYTES, REPEAT_KEY_BYTES, REPEAT_VALUE_BYTES, Shape, TRIPLE_BYTES,
    TableId,
};

use crate::error::Error;
use crate::store::disk::{Disk, parent};
use paced::{PacedFile, Slicing};
use tables::{ABOUT, ABOUT_FORMAT, ABOUT_META, as_shape};

/// How to open an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexOptions {
    /// Memory for pages read and pages to be written, in bytes.
    pub cache_bytes: usize,
    /// Number of the format of the rows. A file of another format is refused.
    pub format: u32,
    /// Whether to verify the checksum of every page, which reads the whole file. Without, a file that
    /// somebody else changed may be taken for good, or make redb panic.
    pub verify: bool,
}

/// The index file, open.
pub struct Index {
    database: Database,
    path: Arc<Path>,
    /// Why nothing may be written any more.
    poisoned: OnceLock<Arc<str>>,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("path", &self.path).field("poisoned", &self.poisoned).finish()
    }
}

impl Index {
    /// Opens the index at `path`, or creates an empty one, durably. Whoever calls holds the lock of the
    /// directory.
    ///
    /// # Errors
    /// [`Error::IndexUnusable`] if the file is damaged, none of ours, or of another format: then
    /// [`Index::remove`] it and rebuild. [`Error::Io`] if the disk fails.
    pub fn open(disk: &dyn Disk, path: &Path, options: IndexOptions, pace: Arc<Pace>) -> Result<Self, Error> {
        let file = match disk.open(path, false) {
            Ok(file) => {
                // A rewriting that was cut off left it.
                remove_if_there(disk, &unfinished(path))?;
                file
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(disk, path, options)?;
                disk.open(path, false).map_err(Error::io(path))?
            }
            Err(error) => return Err(Error::io(path)(error)),
        };
        if file.length().map_err(Error::io(path))? == 0 {
            // redb would make a new index of it, as if there had never been one.
            return Err(faults::unusable(path, "the file is empty"));
        }
        let database = database(PacedFile::new(file, pace), options)
            .map_err(|error| faults::opening(path)(error.into()))?;
        let index = Self { database, path: Arc::from(path), poisoned: OnceLock::new() };
        index.check_format(options.format)?;
        Ok(index)
    }

    /// The state that the last checkpoint left.
    ///
    /// # Errors
    /// [`Error::Closed`] after a failed checkpoint, else [`Error::Io`] or [`Error::Damaged`].
    pub fn reader(&self) -> Result<IndexReader, Error> {
        self.refuse_if_poisoned()?;
        self.read()
    }

    /// Writes what `fill` writes, together with `meta`, as one transaction. It is durable, and visible to
    /// readers made from now on, when this returns. Takes its time unless [`Pace::set_urgency`] says
    /// otherwise. A second one waits for the first.
    ///
    /// # Errors
    /// Whatever `fill` or the disk says. Nothing can be written any more after that; whether this
    /// checkpoint is there, whole, or not at all, shows when the index is opened again.
    pub fn checkpoint(
        &self,
        meta: &[u8],
        fill: impl FnOnce(&mut CheckpointWriter<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.refuse_if_poisoned()?;
        self.write(meta, fill).inspect_err(|error| {
            // Only the first reason counts.
            let _ = self.poisoned.set(Arc::from(format!("a checkpoint failed: {error}")));
        })
    }

    /// Closes the file, so that the next opening need not recover it. Checkpoints are durable without.
    /// Readers that still live get [`Error::Closed`].
    ///
    /// Free pages and half empty ones stay in it: [`Index::rewrite`] closes without them.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk fails, [`Error::Closed`] if it did before; no checkpoint that returned is
    /// lost by either.
    pub fn close(self) -> Result<(), Error> {
        let Self { database, path, .. } = self;
        // It reads pages, and redb panics at some that were changed outside.
        let close =
            AssertUnwindSafe(|| database.close().map_err(|error| faults::running(&path)(error.into())));
        catch_unwind(close).unwrap_or_else(|_| Err(faults::damaged(&path)))
    }

    /// Throws an index away, durably, and what was left of one half created. It must not be open.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
        remove_if_there(disk, path)?;
        remove_if_there(disk, &unfinished(path))?;
        disk.sync_dir(&parent(path)).map_err(Error::io(path))
    }

    fn read(&self) -> Result<IndexReader, Error> {
        IndexReader::begin(self.path.clone(), &self.database, faults::running(&self.path))
    }

    fn write(
        &self,
        meta: &[u8],
        fill: impl FnOnce(&mut CheckpointWriter<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let fault = faults::running(&self.path);
        let _slicing = Slicing::begin();
        let transaction = begin(&self.database).map_err(&fault)?;
        let old = self.read()?;
        let mut writer =
            CheckpointWriter { path: &self.path, transaction: &transaction, old: &old, failed: None };
        fill(&mut writer)?;
        if let Some(error) = writer.failed {
            return Err(error);
        }
        put_about(&transaction, ABOUT_META, meta).map_err(&fault)?;
        // Held any longer, it would keep the pages that this checkpoint replaces.
        drop(old);
        transaction.commit().map_err(|error| fault(error.into()))
    }

    fn check_format(&self, wanted: u32) -> Result<(), Error> {
        let fault = faults::opening(&self.path);
        let found = IndexReader::begin(self.path.clone(), &self.database, fault)?.about(ABOUT_FORMAT)?;
        if found.as_deref() == Some(wanted.to_le_bytes().as_slice()) {
            return Ok(());
        }
        Err(faults::unusable(&self.path, &format!("its format is {found:?}, not {wanted}")))
    }

    fn refuse_if_poisoned(&self) -> Result<(), Error> {
        match self.poisoned.get() {
            Some(reason) => Err(Error::Closed { reason: reason.clone() }),
            None => Ok(()),
        }
    }
}

/// Creates an index under another name and gives it its own when it is whole: redb refuses what a power
/// cut leaves of a file that it was just initialising.
fn create(disk: &dyn Disk, path: &Path, options: IndexOptions) -> Result<(), Error> {
    let unfinished = unfinished(path);
    remove_if_there(disk, &unfinished)?;
    let file = disk.open(&unfinished, true).map_err(Error::io(&unfinished))?;
    let fault = faults::running(&unfinished);
    let database =
        database(PacedFile::new(file, Arc::default()), options).map_err(|error| fault(error.into()))?;
    create_tables(&database, options.format).map_err(&fault)?;
    database.close().map_err(|error| fault(error.into()))?;
    disk.rename(&unfinished, path).map_err(Error::io(path))?;
    disk.sync_dir(&parent(path)).map_err(Error::io(path))
}

/// Every table is made at once, so that a reader always finds it.
fn create_tables(database: &Database, format: u32) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    for table in TableId::ALL {
        let name = table.name();
        as_shape!(table.shape(), K, V => {
            transaction.open_table(TableDefinition::<K, V>::new(name))?;
        });
    }
    put_about(&transaction, ABOUT_FORMAT, &format.to_le_bytes())?;
    Ok(transaction.commit()?)
}

fn database(file: PacedFile, options: IndexOptions) -> Result<Database, redb::DatabaseError> {
    Database::builder()
        .set_cache_size(options.cache_bytes)
        .set_check_integrity_on_open(options.verify)
        .create_with_backend(file)
}

fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn put_about(transaction: &WriteTransaction, key: &str, value: &[u8]) -> Result<(), redb::Error> {
    transaction.open_table(ABOUT)?.insert(key, value)?;
    Ok(())
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}
