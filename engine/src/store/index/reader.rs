//! Reads: one state of the index, as some checkpoint left it, for as long as anybody holds it.
//!
//! It never waits for a checkpoint and no checkpoint waits for it. While it lives, the pages that later
//! checkpoints replace are not used again and the file grows, so nobody may hold one for long.
//!
//! redb panics at some pages that were changed outside it, in the middle of a read. Here that becomes
//! [`Error::Damaged`], since neither a caller's thread nor the writer may die of a bad disk.

use std::fmt;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::{
    Database, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTableMetadata, TableDefinition,
    Value,
};

use super::faults;
use super::tables::{
    ABOUT, ABOUT_META, AnyBytes, ItemKey, NumberKey, PairKey, RepeatKey, RepeatValue, Shape, TableId,
    TripleKey,
};
use crate::error::Error;

/// A state of the index. Cheap to clone; may be used from many threads.
#[derive(Clone)]
pub struct IndexReader(Arc<Inner>);

struct Inner {
    path: Arc<Path>,
    about: ReadOnlyTable<&'static str, AnyBytes>,
    tables: Vec<Opened>,
}

enum Opened {
    Bytes(ReadOnlyTable<AnyBytes, AnyBytes>),
    Numbered(ReadOnlyTable<NumberKey, AnyBytes>),
    Paired(ReadOnlyTable<PairKey, AnyBytes>),
    Items(ReadOnlyTable<ItemKey, ()>),
    Triples(ReadOnlyTable<TripleKey, ()>),
    Repeats(ReadOnlyTable<RepeatKey, RepeatValue>),
}

/// Does `$body` with the table, whatever its shape.
macro_rules! in_table {
    ($opened:expr, $table:ident => $body:expr) => {
        match $opened {
            Opened::Bytes($table) => $body,
            Opened::Numbered($table) => $body,
            Opened::Paired($table) => $body,
            Opened::Items($table) => $body,
            Opened::Triples($table) => $body,
            Opened::Repeats($table) => $body,
        }
    };
}

/// Which end of a range comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The smallest key first.
    Ascending,
    /// The greatest key first.
    Descending,
}

/// The rows of a range, read as they are asked for. Holds the state it reads. Ends after an error.
pub struct Rows {
    rows: Option<Box<dyn Iterator<Item = Result<Row, Error>> + Send>>,
    path: Arc<Path>,
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

impl Iterator for Rows {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.as_mut()?;
        let next = guarded(&self.path, || rows.next().transpose()).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.rows = None;
        }
        next
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}

impl fmt::Debug for IndexReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexReader").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl IndexReader {
    /// The last state of `database`; `fault` puts redb's errors into our words.
    pub(super) fn begin(
        path: Arc<Path>,
        database: &Database,
        fault: impl Fn(redb::Error) -> Error,
    ) -> Result<Self, Error> {
        let open = || {
            let transaction = database.begin_read()?;
            let about = transaction.open_table(ABOUT)?;
            let tables = TableId::ALL.iter().map(|table| Opened::open(*table, &transaction));
            Ok((about, tables.collect::<Result<_, redb::Error>>()?))
        };
        let (about, tables) = guarded(&path, || open().map_err(fault))?;
        Ok(Self(Arc::new(Inner { path, about, tables })))
    }

    /// What the checkpoint that made this state was given as its meta; none before the first.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Damaged`], or [`Error::Closed`] after the index was closed.
    pub fn meta(&self) -> Result<Option<Vec<u8>>, Error> {
        self.about(ABOUT_META)
    }

    pub(super) fn about(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        guarded(&self.0.path, || {
            let guard = self.0.about.get(key).map_err(|error| self.fault(error))?;
            Ok(guard.map(|guard| guard.value().to_vec()))
        })
    }

    /// Calls `read` with the value of a key, and returns what it returns; nothing if there is no such row.
    ///
    /// # Errors
    /// As [`IndexReader::meta`]; [`Error::Io`] with `InvalidInput` if the key is not as wide as the
    /// table's keys are.
    pub fn get<R>(
        &self,
        table: TableId,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, Error> {
        in_table!(self.table(table)?, table => self.get_in(table, key, read))
    }

    /// The value of a key of [`TableId::Repeats`].
    ///
    /// # Errors
    /// As [`IndexReader::meta`].
    pub fn repeat(&self, key: u128) -> Result<Option<u64>, Error> {
        let Opened::Repeats(table) = self.table(TableId::Repeats)? else { return Ok(None) };
        guarded(&self.0.path, || {
            let guard = table.get(&key.to_be_bytes()).map_err(|error| self.fault(error))?;
            Ok(guard.map(|guard| u64::from_be_bytes(*guard.value())))
        })
    }

    /// The rows with keys from `from`, inclusive, to `to`, exclusive, or to the end of the table. Bounds
    /// may be of any length, so that a prefix of a key is one.
    ///
    /// # Errors
    /// As [`IndexReader::meta`], here and from each row.
    pub fn range(&self, table: TableId, from: &[u8], to: Option<&[u8]>, order: Order) -> Result<Rows, Error> {
        if to.is_some_and(|to| from >= to) {
            return Ok(Rows { rows: None, path: self.0.path.clone() });
        }
        in_table!(self.table(table)?, table => self.range_in(table, from, to, order))
    }

    /// Number of rows. Costs one read.
    ///
    /// # Errors
    /// As [`IndexReader::meta`].
    pub fn length(&self, table: TableId) -> Result<u64, Error> {
        let table = self.table(table)?;
        let length = || in_table!(table, table => table.len());
        guarded(&self.0.path, || length().map_err(|error| self.fault(error)))
    }

    fn table(&self, table: TableId) -> Result<&Opened, Error> {
        let opened = self.0.tables.get(table as usize);
        opened.ok_or_else(|| faults::unusable(&self.0.path, "a table is missing"))
    }

    fn get_in<K: Key, V: Value, R>(
        &self,
        table: &ReadOnlyTable<K, V>,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, Error> {
        let key = fitted::<K>(&self.0.path, "a key", key)?;
        guarded(&self.0.path, || {
            let guard = table.get(key).map_err(|error| self.fault(error))?;
            Ok(guard.map(|guard| read(V::as_bytes(&guard.value()).as_ref())))
        })
    }

    fn range_in<K: Key + Send, V: Value + Send>(
        &self,
        table: &ReadOnlyTable<K, V>,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
    ) -> Result<Rows, Error> {
        let from = bound::<K>(from, Bound::Included, Bound::Excluded);
        let to = to.map_or(Bound::Unbounded, |to| bound::<K>(to, Bound::Excluded, Bound::Included));
        let bounds = (from.as_ref().map(|key| K::from_bytes(key)), to.as_ref().map(|key| K::from_bytes(key)));
        let range = || table.range::<K::SelfType<'_>>(bounds).map_err(|error| self.fault(error));
        let rows = guarded(&self.0.path, range)?;
        let path = self.0.path.clone();
        let owned = move |row: Result<(redb::AccessGuard<'_, K>, redb::AccessGuard<'_, V>), _>| {
            let (key, value) =
                row.map_err(|error: redb::StorageError| faults::running(&path)(error.into()))?;
            let key = K::as_bytes(&key.value()).as_ref().to_vec();
            Ok((key, V::as_bytes(&value.value()).as_ref().to_vec()))
        };
        let rows: Box<dyn Iterator<Item = _> + Send> = match order {
            Order::Ascending => Box::new(rows.map(owned)),
            Order::Descending => Box::new(rows.rev().map(owned)),
        };
        Ok(Rows { rows: Some(rows), path: self.0.path.clone() })
    }

    fn fault(&self, error: redb::StorageError) -> Error {
        faults::running(&self.0.path)(error.into())
    }
}

impl Opened {
    fn open(table: TableId, transaction: &ReadTransaction) -> Result<Self, redb::Error> {
        let name = table.name();
        Ok(match table.shape() {
            Shape::Bytes => Self::Bytes(transaction.open_table(TableDefinition::new(name))?),
            Shape::Numbered => Self::Numbered(transaction.open_table(TableDefinition::new(name))?),
            Shape::Paired => Self::Paired(transaction.open_table(TableDefinition::new(name))?),
            Shape::Items => Self::Items(transaction.open_table(TableDefinition::new(name))?),
            Shape::Triples => Self::Triples(transaction.open_table(TableDefinition::new(name))?),
            Shape::Repeats => Self::Repeats(transaction.open_table(TableDefinition::new(name))?),
        })
    }
}

/// What `read` gives; a panic in it is a damaged page. Nothing that `read` touches is used for writing, and
/// redb's locks say themselves when a thread died holding them.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(faults::damaged(path)))
}

/// `bytes` as a key or value of redb; those of a fixed width must have it.
pub(super) fn fitted<'a, T: Value>(
    path: &Path,
    what: &str,
    bytes: &'a [u8],
) -> Result<T::SelfType<'a>, Error> {
    match T::fixed_width() {
        Some(width) if width != bytes.len() => Err(faults::misfit(path, what, bytes.len(), width)),
        _ => Ok(T::from_bytes(bytes)),
    }
}

/// A bound of any length, as one of the table's width.
///
/// `exact` is the kind of bound wanted. A shorter one is filled up with zeros: among keys of the full
/// width that changes nothing. A longer one lies just behind the key it begins with, so that this key
/// falls on the other side: `behind`.
fn bound<K: Value>(
    bytes: &[u8],
    exact: fn(Vec<u8>) -> Bound<Vec<u8>>,
    behind: fn(Vec<u8>) -> Bound<Vec<u8>>,
) -> Bound<Vec<u8>> {
    let mut key = bytes.to_vec();
    let Some(width) = K::fixed_width() else { return exact(key) };
    key.resize(width, 0);
    if bytes.len() > width { behind(key) } else { exact(key) }
}
