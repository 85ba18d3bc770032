//! What has become of the requests of an import: numbers, and what was rejected.

use crate::command::CommandError;
use crate::limits::IMPORT_SHOWN_REJECTED;
use crate::protocol::write::{self, ErrorBody};
use serde::Serialize;
use spoor::EventStatus;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// A request on its way: line, and item if the line is an array.
pub(super) type Origination = (u64, Option<usize>);
/// A request that was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The line, from 1.
    pub(super) line: u64,
    /// Which request of it, from 0, if it is an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<usize>,
    #[serde(flatten)]
    pub(super) error: ErrorBody,
}

impl Rejected {
    pub(super) fn new(line: u64, item: Option<usize>, code: &str, message: impl Into<String>) -> Self {
        let error =
            ErrorBody { code: code.to_owned(), message: message.into(), field: None, retry_after_ms: None };
        Self { line, item, error }
    }

    fn text(&self) -> String {
        let item = self.item.map(|item| format!(", request {item}")).unwrap_or_default();
        let field = self.error.field.as_deref().map(|field| format!(" ({field})")).unwrap_or_default();
        format!("line {}{item}: {}{field}: {}", self.line, self.error.code, self.error.message)
    }
}

/// What has become of the requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that were answered.
    pub requests: u64,
    /// Events stored now.
    pub stored: u64,
    /// Events stored before.
    pub duplicate: u64,
    /// Requests that were not stored.
    pub rejected: u64,
    /// The first of them.
    pub shown: Vec<Rejected>,
    file: Option<BufWriter<File>>,
    /// What writing the file said first.
    file_error: Option<String>,
}

impl Tally {
    /// An empty tally, which writes what is rejected to `file`.
    #[must_use]
    pub fn new(file: Option<BufWriter<File>>) -> Self {
        Self { file, ..Self::default() }
    }

    pub(super) fn answered(&mut self, statuses: impl Iterator<Item = EventStatus>) {
        self.requests += 1;
        for status in statuses {
            match status {
                EventStatus::Stored => self.stored += 1,
                EventStatus::Duplicate => self.duplicate += 1,
            }
        }
    }

    pub(super) fn reject(&mut self, rejected: Rejected) {
        self.requests += 1;
        self.rejected += 1;
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&write::line(&rejected))
        {
            self.file_error.get_or_insert_with(|| error.to_string());
        }
        if self.shown.len() < IMPORT_SHOWN_REJECTED {
            self.shown.push(rejected);
        }
    }

    pub(super) fn numbers(&self) -> String {
        let Self { requests, stored, duplicate, rejected, .. } = self;
        format!(
            "{requests} requests: {stored} events stored, {duplicate} duplicate; {rejected} requests rejected"
        )
    }

    /// All of it, for a person.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut lines = vec![self.numbers()];
        lines.extend(self.shown.iter().map(|rejected| format!("  {}", rejected.text())));
        let more = self.rejected.saturating_sub(self.shown.len() as u64);
        if more > 0 {
            lines.push(format!("  and {more} more; --rejected FILE writes all"));
        }
        lines.join("\n")
    }

    /// Ends it: the file of what was rejected is whole, or an error says that it is not.
    pub(super) fn close(mut self, outcome: Result<(), String>) -> Result<Self, Failed> {
        if let Some(mut file) = self.file.take()
            && let Err(error) = file.flush()
        {
            self.file_error.get_or_insert_with(|| error.to_string());
        }
        let outcome = outcome.and(match &self.file_error {
            Some(error) => Err(format!("what was rejected cannot be written: {error}")),
            None => Ok(()),
        });
        match outcome {
            Ok(()) => Ok(self),
            Err(reason) => Err(Failed { reason, done: Some(self.summary()) }),
        }
    }
}

/// An import that came to nothing, and what it had done by then.
#[derive(Debug)]
pub struct Failed {
    reason: String,
    done: Option<String>,
}

impl Failed {
    pub(super) fn said(self, name: &Path) -> CommandError {
        if let Some(done) = &self.done {
            println!("{done}");
        }
        CommandError::Failed(format!("{}: {}", name.display(), self.reason))
    }
}
