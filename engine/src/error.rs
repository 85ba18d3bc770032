//! The two kinds of "no".
//!
//! A [`Rejection`] is the domain's answer to a request that cannot be accepted: nothing was written.
//! An [`Error`] is operational and says whether the request may have happened. Our own bugs panic.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A request that is not accepted. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Stable code, such as `unknown_source`; listed in docs/protocol.md.
    pub code: &'static str,
    /// One sentence for a person.
    pub message: String,
    /// Path of the member that is at fault, such as `events[2].time`.
    pub field: Option<String>,
}

impl Rejection {
    /// A rejection that names the member at fault.
    #[must_use]
    pub fn new(code: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: Some(field.into()) }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{} ({}, {})", self.message, self.code, field),
            None => write!(f, "{} ({})", self.message, self.code),
        }
    }
}

/// An operational error.
#[derive(Debug, Clone)]
pub enum Error {
    /// The mailbox is full. Nothing was written; try again later.
    Overloaded,
    /// The engine was closed, or closed itself after a storage error. Nothing of this request was written.
    Closed {
        /// Why.
        reason: Arc<str>,
    },
    /// The sync failed while this request waited: it may or may not be there after the next opening.
    Indeterminate {
        /// What failed.
        reason: Arc<str>,
    },
    /// A file could not be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Stored bytes are not what was written: the disk or somebody else changed them.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The index cannot be used and must be rebuilt from the log; nothing is lost.
    IndexUnusable {
        /// Why.
        reason: String,
    },
    /// Another process has the directory open.
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The settings contradict themselves or the store.
    Settings {
        /// What and where.
        reason: String,
    },
    /// A snapshot was kept longer than it may be.
    SnapshotTooOld,
}

impl Error {
    /// An I/O error with its path.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source: Arc::new(source) }
    }

    /// Whether the request surely did not happen.
    #[must_use]
    pub const fn nothing_written(&self) -> bool {
        !matches!(self, Self::Indeterminate { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => f.write_str("too many requests are waiting; nothing was written, try again"),
            Self::Closed { reason } => write!(f, "the engine is closed: {reason}"),
            Self::Indeterminate { reason } => {
                write!(f, "the request may or may not have been written: {reason}")
            }
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Damaged { path, offset, reason } => {
                write!(f, "{} is damaged at byte {offset}: {reason}", path.display())
            }
            Self::IndexUnusable { reason } => write!(
                f,
                "the index cannot be used, and `spoor rebuild` makes it anew from the log, where nothing is lost: {reason}"
            ),
            Self::Locked { path } => write!(f, "{} is open in another process", path.display()),
            Self::Settings { reason } => write!(f, "settings: {reason}"),
            Self::SnapshotTooOld => f.write_str("the snapshot is older than a snapshot may get"),
        }
    }
}

impl std::error::Error for Error {}

/// Why a request was not stored.
#[derive(Debug, Clone)]
pub enum TrackError {
    /// The request is at fault; nothing was written.
    Rejected(Rejection),
    /// The store is; [`Error::nothing_written`] says what may have happened.
    Failed(Error),
}

impl From<Rejection> for TrackError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Error> for TrackError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for TrackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TrackError {}
