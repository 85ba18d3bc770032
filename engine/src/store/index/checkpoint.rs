//! Writes: the rows of one checkpoint, inside its transaction.
//!
//! Rows that come in the order of their keys and lie beyond the end of their table, as those with dense
//! numbers do, go in through a cursor that fills each page once; the others are put in one by one.

use std::path::Path;

use redb::{CursorError, Key, ReadableTable, Table, TableDefinition, Value, WriteTransaction};

use super::faults;
use super::reader::{IndexReader, fitted};
use super::tables::{self, RepeatKey, RepeatValue, Shape, TableId, as_shape};
use crate::error::Error;

/// Writes the rows of a checkpoint. Nothing is durable or visible before the checkpoint is done.
pub struct CheckpointWriter<'index> {
    pub(super) path: &'index Path,
    pub(super) transaction: &'index WriteTransaction,
    pub(super) old: &'index IndexReader,
    /// The first error, which the caller of the checkpoint may not have handed on.
    pub(super) failed: Option<Error>,
}

impl std::fmt::Debug for CheckpointWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl CheckpointWriter<'_> {
    /// Puts rows, or takes away those without a value. Best in ascending order of keys, all rows of a
    /// table in one call; any order gives the same table. Of rows with the same key the last counts.
    ///
    /// # Errors
    /// Any error here makes the checkpoint fail, even if it is not handed on.
    pub fn write<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        table: TableId,
        rows: impl IntoIterator<Item = (K, Option<V>)>,
    ) -> Result<(), Error> {
        let rows = rows.into_iter();
        as_shape!(table.shape(), K, V => self.write_as::<K, V, _, _>(table, rows))
    }

    /// Puts rows into [`TableId::Repeats`]; as [`CheckpointWriter::write`].
    ///
    /// # Errors
    /// As [`CheckpointWriter::write`].
    pub fn write_repeats(&mut self, rows: impl IntoIterator<Item = (u128, u64)>) -> Result<(), Error> {
        let rows = rows.into_iter().map(|(key, value)| (key.to_be_bytes(), Some(value.to_be_bytes())));
        self.write_as::<RepeatKey, RepeatValue, _, _>(TableId::Repeats, rows)
    }

    /// The state before this checkpoint: it does not see what was written here.
    #[must_use]
    pub const fn old(&self) -> &IndexReader {
        self.old
    }

    fn write_as<K: Key + 'static, V: Value + 'static, KB: AsRef<[u8]>, VB: AsRef<[u8]>>(
        &mut self,
        table: TableId,
        rows: impl Iterator<Item = (KB, Option<VB>)>,
    ) -> Result<(), Error> {
        let definition = TableDefinition::<K, V>::new(table.name());
        let written = match self.transaction.open_table(definition) {
            Ok(table) => TableWriter { path: self.path, table }.write(rows),
            Err(error) => Err(faults::running(self.path)(error.into())),
        };
        written.inspect_err(|error| {
            self.failed.get_or_insert_with(|| error.clone());
        })
    }
}

struct TableWriter<'index, K: Key + 'static, V: Value + 'static> {
    path: &'index Path,
    table: Table<'index, K, V>,
}

impl<K: Key + 'static, V: Value + 'static> TableWriter<'_, K, V> {
    fn write<KB: AsRef<[u8]>, VB: AsRef<[u8]>>(
        mut self,
        mut rows: impl Iterator<Item = (KB, Option<VB>)>,
    ) -> Result<(), Error> {
        let mut last = self.last_key()?;
        let mut row = rows.next();
        while let Some((key, value)) = row {
            let is_beyond = last.as_deref().is_none_or(|last| K::compare(key.as_ref(), last).is_gt());
            row = match value {
                Some(value) if is_beyond => {
                    let ended_by = self.append(key, value, &mut rows)?;
                    last = self.last_key()?;
                    ended_by
                }
                Some(value) => {
                    self.insert(key.as_ref(), value.as_ref())?;
                    rows.next()
                }
                None => {
                    self.remove(key.as_ref())?;
                    rows.next()
                }
            };
        }
        Ok(())
    }

    /// Appends rows at the end of the table for as long as they ascend and have values. Returns the first
    /// that does not.
    fn append<KB: AsRef<[u8]>, VB: AsRef<[u8]>>(
        &mut self,
        key: KB,
        value: VB,
        rows: &mut impl Iterator<Item = (KB, Option<VB>)>,
    ) -> Result<Option<(KB, Option<VB>)>, Error> {
        let path = self.path;
        let fault = |error: redb::StorageError| faults::running(path)(error.into());
        let mut cursor =
            self.table.upper_bound_mut(std::ops::Bound::<K::SelfType<'_>>::Unbounded).map_err(fault)?;
        let mut row = Some((key, Some(value)));
        while let Some((key, Some(value))) = &row {
            let put = cursor.insert_before(
                fitted::<K>(path, "a key", key.as_ref())?,
                fitted::<V>(path, "a value", value.as_ref())?,
            );
            match put {
                Ok(()) => row = rows.next(),
                Err(CursorError::UnorderedKey) => break,
                Err(error) => return Err(faults::running(path)(error.into())),
            }
        }
        cursor.close().map_err(fault)?;
        Ok(row)
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let key = fitted::<K>(self.path, "a key", key)?;
        let value = fitted::<V>(self.path, "a value", value)?;
        self.table.insert(key, value).map(drop).map_err(|error| faults::running(self.path)(error.into()))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Error> {
        let key = fitted::<K>(self.path, "a key", key)?;
        self.table.remove(key).map(drop).map_err(|error| faults::running(self.path)(error.into()))
    }

    fn last_key(&self) -> Result<Option<Vec<u8>>, Error> {
        let last = self.table.last().map_err(|error| faults::running(self.path)(error.into()))?;
        Ok(last.map(|(key, _)| K::as_bytes(&key.value()).as_ref().to_vec()))
    }
}
