//! The version that readers get, and which older ones are still in use.
//!
//! One lock covers both, held for a pointer's copy: so no value is let go between a reader's taking a
//! version and its being counted. Another covers those who want to hear of a new position; they are called by the
//! thread that publishes, after it is there.

use super::layers::Version;
use super::overlay::Horizon;
use crate::error::Error;
use crate::ids::EventSeq;
use crate::limits::SNAPSHOT_MAX_AGE_MS;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Told the last position that readers see; says whether it wants to hear of the next. Quick, and asks nothing of the
/// store.
pub type Listener = Box<dyn Fn(EventSeq) -> bool + Send + Sync>;

/// See the module.
pub struct Published {
    inner: Mutex<Inner>,
    listeners: Mutex<Vec<Listener>>,
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Inner {
    version: Arc<Version>,
    live: BTreeMap<u64, Live>,
    next: u64,
}

#[derive(Debug)]
struct Live {
    position: u64,
    until: Option<Instant>,
}

/// A version in use. Its rows are kept until it is dropped, or too old.
#[derive(Debug)]
pub struct Pinned {
    version: Arc<Version>,
    published: Arc<Published>,
    ticket: u64,
    until: Option<Instant>,
}

impl Published {
    /// Begins with `version`.
    #[must_use]
    pub fn new(version: Version) -> Self {
        let inner = Inner { version: Arc::new(version), live: BTreeMap::new(), next: 0 };
        Self { inner: Mutex::new(inner), listeners: Mutex::default() }
    }

    /// Lets `listener` hear of each new position from now on.
    pub fn tell(&self, listener: Listener) {
        self.listeners.lock().push(listener);
    }

    /// The present version, for a short look: its rows may be let go at any time.
    #[must_use]
    pub fn current(&self) -> Arc<Version> {
        Arc::clone(&self.inner.lock().version)
    }

    /// The present version, kept for [`SNAPSHOT_MAX_AGE_MS`], or for ever.
    #[must_use]
    pub fn pin(self: &Arc<Self>, for_ever: bool) -> Pinned {
        let age = Duration::from_millis(SNAPSHOT_MAX_AGE_MS.unsigned_abs());
        let until = (!for_ever).then(|| Instant::now() + age);
        let mut inner = self.inner.lock();
        let ticket = inner.next;
        inner.next += 1;
        let version = Arc::clone(&inner.version);
        inner.live.insert(ticket, Live { position: version.counters.seq.0, until });
        drop(inner);
        Pinned { version, published: Arc::clone(self), ticket, until }
    }

    /// Shows `version` from now on; returns which positions may still be asked for.
    pub fn publish(&self, version: Version) -> Horizon {
        let version = Arc::new(version);
        let published = version.counters.seq.0;
        let mut inner = self.inner.lock();
        let before = std::mem::replace(&mut inner.version, version);
        let mut oldest_live = published;
        if !inner.live.is_empty() {
            let now = Instant::now();
            let live = inner.live.values().filter(|live| live.until.is_none_or(|until| now < until));
            oldest_live = live.map(|live| live.position).min().unwrap_or(published);
        }
        drop(inner);
        if published > before.counters.seq.0 {
            self.listeners.lock().retain(|listener| listener(EventSeq(published)));
        }
        // A base or a generation may go with it, which takes a while: not under the lock.
        drop(before);
        Horizon { published, oldest_live }
    }
}

impl Pinned {
    /// The version.
    ///
    /// # Errors
    /// [`Error::SnapshotTooOld`] after its time.
    pub fn version(&self) -> Result<&Version, Error> {
        match self.until {
            Some(until) if Instant::now() >= until => Err(Error::SnapshotTooOld),
            _ => Ok(&self.version),
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.published.inner.lock().live.remove(&self.ticket);
    }
}
