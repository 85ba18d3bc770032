//! redb's errors in our words.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;

/// An error while the index is open.
pub(super) fn running(path: &Path) -> impl Fn(redb::Error) -> Error + '_ {
    move |error| match error {
        redb::Error::Io(source) => Error::io(path)(source),
        redb::Error::Corrupted(reason) => Error::Damaged { path: path.to_owned(), offset: 0, reason },
        redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::LockPoisoned(_) => {
            Error::Closed { reason: Arc::from(format!("{}: {error}", path.display())) }
        }
        error => Error::io(path)(io::Error::new(io::ErrorKind::InvalidInput, error.to_string())),
    }
}

/// An error while opening the index: whatever the file is at fault for, a rebuild mends.
pub(super) fn opening(path: &Path) -> impl Fn(redb::Error) -> Error + '_ {
    move |error| match error {
        redb::Error::Io(source) if !is_the_files_fault(&source) => Error::io(path)(source),
        error => unusable(path, &error.to_string()),
    }
}

/// redb panicked at a page.
pub(super) fn damaged(path: &Path) -> Error {
    let reason = "a page is damaged; `spoor rebuild` makes the index anew from the log".to_owned();
    Error::Damaged { path: path.to_owned(), offset: 0, reason }
}

/// The file cannot be used.
pub(super) fn unusable(path: &Path, reason: &str) -> Error {
    Error::IndexUnusable { reason: format!("{}: {reason}", path.display()) }
}

/// A key or value that does not fit its table: the caller is wrong, not the file.
pub(super) fn misfit(path: &Path, what: &str, bytes: usize, wanted: usize) -> Error {
    let message = format!("{what} of {bytes} bytes where the table has {wanted}");
    Error::io(path)(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// redb says so of a file that is cut short or is none of its own.
fn is_the_files_fault(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
