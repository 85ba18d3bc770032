//! Rewrites the index: its rows, in the order of their keys, go into a new file that takes the place of the old.
//!
//! Random insertions leave pages half empty, and each checkpoint leaves free ones. The new file has full pages and
//! no free ones, nor anything that was ever removed: redb does not wipe what it frees. When that is worth it,
//! the caller knows.
//!
//! The new file is whole and synced before it gets the name, and the directory is synced after: whenever the
//! power goes, one of the two has the name, with the same rows. What is left of one half written is removed at
//! the next opening.

use std::path::Path;

use super::checkpoint::CheckpointWriter;
use super::reader::{IndexReader, Order};
use super::tables::{ABOUT_META, ABOUT_REWRITTEN, TableId};
use super::{Index, IndexOptions, PacedFile};
use super::{begin, create_tables, database, faults, put_about, remove_if_there, unfinished};
use crate::error::Error;
use crate::store::disk::{Disk, parent};

impl Index {
    /// The mark that the last [`Index::rewrite`] was given; 0 if there was none.
    ///
    /// # Errors
    /// [`Error`] if it cannot be read.
    pub fn rewritten(&self) -> Result<u64, Error> {
        let mark = self.reader()?.about(ABOUT_REWRITTEN)?;
        let mark = mark.and_then(|mark| Some(u64::from_le_bytes(mark.try_into().ok()?)));
        Ok(mark.unwrap_or(0))
    }

    /// Closes the index and puts a rewritten one in its place, durably; `mark` is kept in it. Reads all of it,
    /// and needs disk space for a second one meanwhile. Readers that still live get [`Error::Closed`].
    ///
    /// # Errors
    /// [`Error`] if it could not be read or written: then the old one is in its place, closed or as after a kill.
    pub fn rewrite(self, disk: &dyn Disk, options: IndexOptions, mark: u64) -> Result<(), Error> {
        let path = self.path.clone();
        let new = unfinished(&path);
        if let Err(error) = self.copy_to(disk, &new, options, mark) {
            // It may be what filled the disk.
            let _ = remove_if_there(disk, &new);
            let _ = self.close();
            return Err(error);
        }
        self.close()?;
        disk.rename(&new, &path).map_err(Error::io(&path))?;
        disk.sync_dir(&parent(&path)).map_err(Error::io(&path))
    }

    fn copy_to(&self, disk: &dyn Disk, new: &Path, options: IndexOptions, mark: u64) -> Result<(), Error> {
        let old = self.reader()?;
        remove_if_there(disk, new)?;
        let file = disk.open(new, true).map_err(Error::io(new))?;
        let fault = faults::running(new);
        let database = database(PacedFile::new(file, std::sync::Arc::default()), options)
            .map_err(|error| fault(error.into()))?;
        create_tables(&database, options.format).map_err(&fault)?;
        let transaction = begin(&database).map_err(&fault)?;
        let mut writer = CheckpointWriter { path: new, transaction: &transaction, old: &old, failed: None };
        for table in TableId::ALL {
            copy_table(&mut writer, &old, table)?;
        }
        if let Some(meta) = old.meta()? {
            put_about(&transaction, ABOUT_META, &meta).map_err(&fault)?;
        }
        put_about(&transaction, ABOUT_REWRITTEN, &mark.to_le_bytes()).map_err(&fault)?;
        transaction.commit().map_err(|error| fault(error.into()))?;
        database.close().map_err(|error| fault(error.into()))
    }
}

/// All rows ascend, so that each page is filled once and for all.
fn copy_table(writer: &mut CheckpointWriter<'_>, old: &IndexReader, table: TableId) -> Result<(), Error> {
    let mut failed = None;
    let rows = old.range(table, &[], None, Order::Ascending)?;
    let readable = rows.map_while(|row| row.map_err(|error| failed = Some(error)).ok());
    writer.write(table, readable.map(|(key, value)| (key, Some(value))))?;
    failed.map_or(Ok(()), Err)
}
