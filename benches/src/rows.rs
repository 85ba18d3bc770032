//! The bytes that we log, as rows of redb and nothing else: one table, keys in order, one thread.

use crate::Fault;
use crate::usage::{Spent, Usage};
use redb::{Database, Durability, TableDefinition};
use std::path::Path;

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

/// A database of records.
#[derive(Debug)]
pub struct Rows {
    database: Database,
    next: u64,
}

impl Rows {
    /// Makes it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(path: &Path) -> Result<Self, Fault> {
        Ok(Self { database: Database::create(path)?, next: 1 })
    }

    /// Inserts `records`, `group` of them in each durable commit.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn append(&mut self, records: &[Vec<u8>], group: usize) -> Result<Spent, Fault> {
        let before = Usage::now()?;
        for records in records.chunks(group.max(1)) {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            {
                let mut events = transaction.open_table(EVENTS)?;
                for record in records {
                    events.insert(self.next, record.as_slice())?;
                    self.next += 1;
                }
            }
            transaction.commit()?;
        }
        Ok(Usage::now()?.since(&before))
    }
}
