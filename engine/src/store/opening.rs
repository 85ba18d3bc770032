//! Opens a store after any kind of stop: the index at position N, confirmed by the log, plus the decisions
//! after N. Replay applies decisions and never decides.
//!
//! 1. The lock admits one process.
//! 2. The index tells its position; without an index that can be used, everything is replayed.
//! 3. The log is opened; it must confirm the position, else the index is thrown away and made anew.
//! 4. The records after the position are applied; when they fill a generation (a rebuild), it is
//!    checkpointed on the way.

use super::base::Base;
use super::checkpoint::{Errand, Job, Leaving, Meta, write};
use super::committer::Committer;
use super::disk::{Disk, DiskLock};
use super::figures::Counting;
use super::index::{Index, IndexOptions, Pace};
use super::layers::{Staging, Version};
use super::log::{Log, LogOptions, Record};
use super::mailbox::{Message, Shared};
use super::overlay::Horizon;
use super::published::Published;
use super::record::RecordView;
use super::writer::{Progress, Writer, layers_over};
use crate::core::apply::apply;
use crate::core::rows::Counters;
use crate::core::sources::Registry;
use crate::error::Error;
use crate::limits::{
    GENERATION_MIN_BYTES, INDEX_REWRITE_MAX_EVENTS, INDEX_REWRITE_MIN_EVENTS, INDEX_REWRITE_NEW_SHARE,
    MAILBOX_MAX_REQUESTS,
};
use crate::settings::StoreSettings;
use crate::time::Clock;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// Number of the format of the index's rows. Raised with every change of a row, a key or a fold: an index of
/// another format is rebuilt from the log.
pub const INDEX_FORMAT: u32 = 5;

/// Share of the cache that rows at hand may take; the rest is the index's page cache.
const AT_HAND_SHARE: usize = 4;

/// Share of the page cache's memory that is not pages: redb counts their bytes, and keeps each of them, 4 KiB and a
/// counter before it, by itself, for which allocators take 5 KiB.
const PAGE_SLACK_SHARE: usize = 5;

/// What a store is opened with.
#[derive(Debug)]
pub struct Opening {
    /// The files.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The directory.
    pub dir: PathBuf,
    /// Sizes.
    pub settings: StoreSettings,
    /// Id of the store, if this makes it.
    pub new_store_id: u128,
}

/// A store whose threads run.
#[derive(Debug)]
pub struct Opened {
    /// What everyone shares.
    pub shared: Arc<Shared>,
    /// To the writer.
    pub mailbox: Sender<Message>,
    /// The threads, the writer's last.
    pub threads: Vec<JoinHandle<()>>,
    /// The hurry of checkpoints, and their traffic.
    pub pace: Arc<Pace>,
}

impl Opening {
    /// Opens, replays, and starts the threads.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Damaged`], [`Error::Io`].
    pub fn open(self, registry: Registry) -> Result<Opened, Error> {
        let lock = self.lock()?;
        let pace = Arc::new(Pace::new());
        let (index, staging, log) = self.recover(&pace)?;
        let version = Version {
            layers: staging.layers.clone(),
            counters: staging.counters,
            log: staging.log.clone(),
            path: Arc::clone(&staging.path),
        };
        let counting = Counting::new(version.counters.unions);
        let shared = Arc::new(Shared {
            published: Arc::new(Published::new(version)),
            failure: parking_lot::Mutex::default(),
            senders: std::sync::atomic::AtomicUsize::new(0),
            registry,
            clock: Arc::clone(&self.clock),
            counting,
        });
        let (mailbox, requests) = bounded(MAILBOX_MAX_REQUESTS);
        let (jobs, jobs_taken) = unbounded();
        let (bases_given, bases) = unbounded();
        let committer = Committer::start(log, Arc::clone(&staging.landed), Arc::clone(&shared))?;
        let writer = Writer {
            shared: Arc::clone(&shared),
            staging,
            committer,
            generation_bytes: self.generation_bytes(),
            pace: Arc::clone(&pace),
            mailbox: requests,
            jobs,
            bases,
            progress: Progress::default(),
        };
        let checkpoints = Checkpoints {
            index,
            at_hand_bytes: self.settings.cache_bytes / AT_HAND_SHARE,
            shared: Arc::clone(&shared),
            opening: self,
            lock,
        };
        let checkpoints = spawn("spoor-checkpoint", move || checkpoints.run(&jobs_taken, &bases_given))?;
        let writer = spawn("spoor-writer", move || writer.run())?;
        Ok(Opened { shared, mailbox, threads: vec![writer, checkpoints], pace })
    }

    /// Throws the index away and makes it anew from the log. Returns the numbers that it came to.
    ///
    /// # Errors
    /// As [`Opening::open`].
    pub fn rebuild(self) -> Result<Counters, Error> {
        let _lock = self.lock()?;
        Index::remove(&*self.disk, &self.index_path())?;
        let pace = Arc::new(Pace::new());
        let (index, staging, log) = self.recover(&pace)?;
        let counters = staging.counters;
        let events = staging.layers.base.counters.events;
        drop(staging);
        index.rewrite(&*self.disk, self.index_options(), events)?;
        log.close()?;
        Ok(counters)
    }

    /// Verifies the checksum of every page of the index, if there is one.
    ///
    /// # Errors
    /// [`Error::IndexUnusable`] if it is damaged; [`Error::Locked`], [`Error::Io`].
    pub fn verify_index(self) -> Result<(), Error> {
        let _lock = self.lock()?;
        match self.disk.open(&self.index_path(), false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            _ => {}
        }
        let options = IndexOptions { verify: true, ..self.index_options() };
        let verified = std::panic::catch_unwind(AssertUnwindSafe(|| {
            Index::open(&*self.disk, &self.index_path(), options, Arc::default())?.close()
        }));
        verified.unwrap_or_else(|_| Err(Error::IndexUnusable { reason: "it is damaged".into() }))
    }

    fn generation_bytes(&self) -> usize {
        (self.settings.overlay_bytes / 2).max(GENERATION_MIN_BYTES)
    }

    fn index_path(&self) -> PathBuf {
        self.dir.join("index.redb")
    }

    fn lock(&self) -> Result<Box<dyn DiskLock>, Error> {
        self.disk.create_dir_all(&self.dir).map_err(Error::io(&self.dir))?;
        let path = self.dir.join("lock");
        self.disk.lock(&path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Locked { path: self.dir.clone() },
            _ => Error::io(&path)(error),
        })
    }

    fn index_options(&self) -> IndexOptions {
        let pages_bytes = self.settings.cache_bytes - self.settings.cache_bytes / AT_HAND_SHARE;
        let cache_bytes = pages_bytes - pages_bytes / PAGE_SLACK_SHARE;
        IndexOptions { cache_bytes, format: INDEX_FORMAT, verify: false }
    }

    fn open_index(&self, pace: &Arc<Pace>) -> Result<Index, Error> {
        Index::open(&*self.disk, &self.index_path(), self.index_options(), Arc::clone(pace))
    }

    /// The index, with what it says of itself; a new one if it cannot be used.
    fn usable_index(&self, pace: &Arc<Pace>) -> Result<(Index, Option<Meta>), Error> {
        let path = self.index_path();
        // redb panics at some pages that were changed outside: there is no other way to hear of them.
        let found = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let index = self.open_index(pace)?;
            let meta = Meta::read(&index, &path)?;
            Ok((index, meta))
        }));
        let found = found.unwrap_or_else(|_| Err(Error::IndexUnusable { reason: "it is damaged".into() }));
        match found {
            Ok((index, None)) => Ok((index, None)),
            Ok((index, Some(meta))) if meta.position.is_some() => Ok((index, Some(meta))),
            Ok((index, Some(_))) => {
                drop(index);
                self.new_index(pace).map(|index| (index, None))
            }
            Err(Error::IndexUnusable { .. } | Error::Damaged { .. }) => {
                self.new_index(pace).map(|index| (index, None))
            }
            Err(error) => Err(error),
        }
    }

    fn new_index(&self, pace: &Arc<Pace>) -> Result<Index, Error> {
        Index::remove(&*self.disk, &self.index_path())?;
        self.open_index(pace)
    }

    fn recover(&self, pace: &Arc<Pace>) -> Result<(Index, Staging, Log), Error> {
        let (mut index, mut meta) = self.usable_index(pace)?;
        let log_dir = self.dir.join("log");
        let mut options = LogOptions::new(self.new_store_id);
        options.segment_bytes = self.settings.segment_bytes;
        let position = meta.as_ref().and_then(|meta| meta.position);
        let log = Log::open(Arc::clone(&self.disk), &log_dir, &options, position.as_ref())?;
        if let Some(position) = position
            && !log.confirms(&position)?
        {
            drop(index);
            index = self.new_index(pace)?;
            meta = None;
        }
        let counters = meta.map(|meta| meta.counters).unwrap_or_default();
        let base = self.base(&index, counters)?;
        let path: Arc<Path> = Arc::from(log_dir);
        let mut staging = Staging {
            layers: layers_over(base),
            counters,
            log: log.reader(),
            path,
            group: log.group(),
            landed: Arc::default(),
            group_first: counters.seq.next(),
            stamp: 0,
            // Nobody reads yet: rows are put in place.
            horizon: Horizon { published: 0, oldest_live: 0 },
            prepared: Vec::new(),
            put_was_new: false,
            absent_below: None,
        };
        self.replay(&index, &mut staging, &log, pace)?;
        Ok((index, staging, log))
    }

    fn base(&self, index: &Index, counters: Counters) -> Result<Base, Error> {
        let at_hand_bytes = self.settings.cache_bytes / AT_HAND_SHARE;
        Ok(Base::new(index.reader()?, counters, at_hand_bytes, &self.index_path()))
    }

    /// Applies what the index does not have. A generation that fills up is written at once; the last one of
    /// a rebuild too, so that the next opening need not begin anew.
    fn replay(&self, index: &Index, staging: &mut Staging, log: &Log, pace: &Arc<Pace>) -> Result<(), Error> {
        pace.set_urgency(Pace::URGENCY_MAX);
        let mut unconfirmed = false;
        for record in staging.log.records_from(staging.counters.seq.next()) {
            apply_record(staging, &record?)?;
            if staging.layers.active.bytes() >= 2 * self.generation_bytes() {
                self.checkpoint(index, staging, None)?;
                unconfirmed = true;
            }
        }
        let end = log.position();
        if staging.counters.seq.next() != end.next_seq {
            return Err(Error::Damaged {
                path: staging.path.to_path_buf(),
                offset: 0,
                reason: format!(
                    "replay came to position {} and the log ends before {}",
                    staging.counters.seq.0, end.next_seq.0
                ),
            });
        }
        if unconfirmed {
            self.checkpoint(index, staging, Some(end))?;
        }
        staging.group_first = staging.counters.seq.next();
        let seq = staging.counters.seq.0;
        staging.horizon = Horizon { published: seq, oldest_live: seq };
        pace.set_urgency(0);
        Ok(())
    }

    fn checkpoint(
        &self,
        index: &Index,
        staging: &mut Staging,
        position: Option<super::log::LogPosition>,
    ) -> Result<(), Error> {
        let frozen = std::mem::take(&mut staging.layers.active);
        let meta = Meta { position, counters: staging.counters };
        let job = Job { frozen, meta, base: Arc::clone(&staging.layers.base) };
        let base = write(index, &job, self.settings.cache_bytes / AT_HAND_SHARE)?;
        staging.layers.base = Arc::new(base);
        Ok(())
    }
}

fn apply_record(staging: &mut Staging, record: &Record) -> Result<(), Error> {
    let view = RecordView::parse(record.bytes(), &staging.path)?;
    let decision = view.decision(&staging.path)?;
    if record.first_seq() != staging.counters.seq.next() {
        return Err(Error::Damaged {
            path: staging.path.to_path_buf(),
            offset: 0,
            reason: format!("position {} follows {}", record.first_seq().0, staging.counters.seq.0),
        });
    }
    staging.stamp = record.first_seq().0;
    for effect in &decision.effects {
        apply(staging, view.stamp.received, effect)?;
    }
    Ok(())
}

/// The checkpoint thread: one job after the other, until the writer is gone. It holds the directory's lock,
/// since it is the last to touch a file.
struct Checkpoints {
    index: Index,
    at_hand_bytes: usize,
    shared: Arc<Shared>,
    opening: Opening,
    lock: Box<dyn DiskLock>,
}

impl Checkpoints {
    fn run(self, errands: &Receiver<Errand>, bases: &Sender<Result<Base, Error>>) {
        super::background::give_way();
        let mut leaving = Leaving::default();
        while let Some(errand) = leaving.meanwhile(errands) {
            let job = match errand {
                Errand::Write(job) => job,
                Errand::LetGo(base, generation) => {
                    leaving.add(base);
                    generation.into_iter().for_each(|generation| leaving.add(generation));
                    continue;
                }
            };
            let begun = Instant::now();
            let written = AssertUnwindSafe(|| write(&self.index, &job, self.at_hand_bytes));
            // As at opening: redb panics at pages that were changed outside.
            let damaged = || Error::IndexUnusable { reason: "a page of it is damaged".into() };
            let base = std::panic::catch_unwind(written).unwrap_or_else(|_| Err(damaged()));
            drop(job);
            if base.is_ok() {
                self.shared.counting.checkpointed(begun.elapsed());
            }
            if bases.send(base).is_err() {
                break;
            }
        }
        self.close();
    }

    /// Every checkpoint that returned is durable, and the index that the name leads to is sound whatever happens
    /// here: closing only spares the next opening some work, and the disk some space.
    fn close(self) {
        let Self { index, shared, opening, lock, .. } = self;
        let version = shared.published.current();
        // After a clean stop the index has everything. After any other, whoever opens the store is to have it soon.
        let is_whole = version.layers.base.counters.seq == version.counters.seq;
        let events = version.counters.events;
        drop((version, shared));
        let closed = std::panic::catch_unwind(AssertUnwindSafe(|| {
            if is_whole && index.rewritten().is_ok_and(|before| is_worth_rewriting(events, before)) {
                index.rewrite(&*opening.disk, opening.index_options(), events)
            } else {
                index.close()
            }
        }));
        drop(closed);
        drop(lock);
    }
}

/// Whether the pages of an index of so many events are worth filling, after it was done at `before` events.
const fn is_worth_rewriting(events: u64, before: u64) -> bool {
    let new = events.saturating_sub(before);
    events >= INDEX_REWRITE_MIN_EVENTS
        && events <= INDEX_REWRITE_MAX_EVENTS
        && new.saturating_mul(INDEX_REWRITE_NEW_SHARE) >= events
}

/// Starts a thread of the store.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| Error::Io { path: PathBuf::from(name), source: Arc::new(error) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::request::{Event, TrackRequest};
    use crate::settings::Settings;

    #[test]
    fn an_index_is_rewritten_when_a_quarter_of_it_is_new() {
        let least = INDEX_REWRITE_MIN_EVENTS;
        assert!(!is_worth_rewriting(0, 0) && !is_worth_rewriting(least - 1, 0));
        assert!(is_worth_rewriting(least, 0) && !is_worth_rewriting(least, least));
        assert!(!is_worth_rewriting(4 * least, 3 * least + 1) && is_worth_rewriting(4 * least, 3 * least));
        assert!(is_worth_rewriting(INDEX_REWRITE_MAX_EVENTS, 0));
        assert!(!is_worth_rewriting(INDEX_REWRITE_MAX_EVENTS + 1, 0));
    }

    fn store(engine: &Engine, events: u64) {
        for _ in 0..events / 1_000 {
            let event = Event { event_type: "click".to_owned(), ..Event::default() };
            engine.track(TrackRequest { events: vec![event; 1_000], ..TrackRequest::default() }).unwrap();
        }
    }

    fn rewritten(dir: &Path) -> u64 {
        let options = IndexOptions { cache_bytes: 1 << 20, format: INDEX_FORMAT, verify: true };
        Index::open(&super::super::disk::RealDisk, &dir.join("index.redb"), options, Arc::default())
            .unwrap()
            .rewritten()
            .unwrap()
    }

    #[test]
    fn a_clean_close_rewrites_the_index_and_a_kill_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Engine::open(dir.path(), Settings::default()).unwrap();
        let engine = open();
        store(&engine, INDEX_REWRITE_MIN_EVENTS);
        engine.abandon();
        assert_eq!(rewritten(dir.path()), 0);
        let engine = open();
        let before = engine.check().unwrap();
        engine.close().unwrap();
        assert_eq!(rewritten(dir.path()), INDEX_REWRITE_MIN_EVENTS);
        let engine = open();
        let after = engine.check().unwrap();
        assert_eq!(after.store_digest, before.store_digest);
        assert!(after.faults.is_empty());
        store(&engine, 2_000);
        engine.close().unwrap();
        assert_eq!(rewritten(dir.path()), INDEX_REWRITE_MIN_EVENTS, "too little is new");
        Engine::rebuild(dir.path(), Settings::default(), crate::Environment::default()).unwrap();
        open().close().unwrap();
        assert_eq!(rewritten(dir.path()), INDEX_REWRITE_MIN_EVENTS + 2_000);
    }
}
