//! The bytes that we log, appended to a plain file: the least that durable storage of them can cost.

use crate::Fault;
use crate::usage::{Spent, Usage};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// A file that records are appended to.
#[derive(Debug)]
pub struct PlainFile {
    file: File,
    buffer: Vec<u8>,
}

impl PlainFile {
    /// Makes it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(path: &Path) -> Result<Self, Fault> {
        Ok(Self { file: File::create_new(path)?, buffer: Vec::new() })
    }

    /// Appends `records`, with their lengths, `group` of them at a time: one write and one `fdatasync` each.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&mut self, records: &[Vec<u8>], group: usize) -> Result<Spent, Fault> {
        let before = Usage::now()?;
        for records in records.chunks(group.max(1)) {
            self.buffer.clear();
            for record in records {
                self.buffer.extend_from_slice(&u32::try_from(record.len())?.to_le_bytes());
                self.buffer.extend_from_slice(record);
            }
            self.file.write_all(&self.buffer)?;
            self.file.sync_data()?;
        }
        Ok(Usage::now()?.since(&before))
    }
}
