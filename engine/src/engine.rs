//! The handle: what a program that embeds Spoor holds.

use crate::act::{Act, ActError, ActReply};
use crate::check;
use crate::core::acts::{Deed, plan};
use crate::core::agents::Agents;
use crate::core::decide::Stamp;
use crate::core::names::Names;
use crate::core::outcome::Outcome;
use crate::core::prepare::{Command, prepare};
use crate::core::sources::Registry;
use crate::core::warm::{Found, Warmed, warm};
use crate::error::{Error, TrackError};
use crate::expiring;
use crate::ids::EventSeq;
use crate::limits::{ACT_MAX_ATTEMPTS, REQUEST_MAX_BYTES};
use crate::model::{CheckReport, Figures, RulesPreview, Status};
use crate::preview;
use crate::read::Snapshot;
use crate::redecide;
use crate::reply::Reply;
use crate::request::TrackRequest;
use crate::settings::Settings;
use crate::store::disk::{Disk, RealDisk};
use crate::store::mailbox::{ActJob, Acted, Done, Door, Message, TrackJob};
use crate::store::opening::{Opened, Opening, spawn};
use crate::store::record::{encode_act, encode_command};
use crate::time::{Clock, SystemClock};
use crate::{Rejection, words};
use crossbeam_channel::{Sender, TrySendError, bounded};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// A store that is open. Cheap to clone; it is closed by [`Engine::close`], or when the last clone goes.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    door: Door,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// While it is there, links expire by themselves.
    expiring: Mutex<Option<Sender<()>>>,
    agents: Agents,
    names: Names,
    warmed: Warmed,
    seeded: Option<Mutex<StdRng>>,
    dir: PathBuf,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}

/// What the engine takes from outside: files, the time, randomness.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The files.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// `Some` draws all ids from this seed, for tests; `None` from the system's random source.
    pub seed: Option<u64>,
}

impl Default for Environment {
    fn default() -> Self {
        Self { disk: Arc::new(RealDisk), clock: Arc::new(SystemClock), seed: None }
    }
}

/// The answer to a submitted request, not yet put into words: [`Answer::reply`] does that, off the writer's
/// thread.
#[derive(Debug)]
pub struct Answer {
    command: Box<Command>,
    outcome: Outcome,
}

impl Answer {
    /// The reply.
    #[must_use]
    pub fn reply(&self) -> Reply {
        words::reply(&self.command, &self.outcome)
    }
}

impl Engine {
    /// Opens the store in `dir`, making it if there is none. What was acknowledged before any kind of stop is
    /// there when this returns.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process has it; [`Error::Damaged`] if stored bytes were changed;
    /// [`Error::Settings`] if the settings contradict themselves; [`Error::Io`].
    pub fn open(dir: impl AsRef<Path>, settings: Settings) -> Result<Self, Error> {
        Self::open_with(dir, settings, Environment::default())
    }

    /// [`Engine::open`] with files, time and randomness of the caller's.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_with(
        dir: impl AsRef<Path>,
        settings: Settings,
        environment: Environment,
    ) -> Result<Self, Error> {
        let registry = Registry::new(&settings)?;
        let opening = opening(dir.as_ref(), &settings, &environment);
        let dir = opening.dir.clone();
        let expires = environment.clock.passes() && registry.expires_soonest_ms().is_some();
        let Opened { shared, mailbox, mut threads, pace: _ } = opening.open(registry)?;
        let door = Door { shared, mailbox };
        let mut expiring = None;
        if expires {
            let (stop, stopped) = bounded(0);
            let door = door.clone();
            threads.push(spawn("spoor-expiry", move || expiring::run(&door, &stopped))?);
            expiring = Some(stop);
        }
        let seeded = environment.seed.map(|seed| Mutex::new(StdRng::seed_from_u64(seed)));
        let inner = Inner {
            door,
            threads: Mutex::new(threads),
            expiring: Mutex::new(expiring),
            agents: Agents::default(),
            names: Names::default(),
            warmed: Warmed::default(),
            seeded,
            dir,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Stores a request and waits until it is durable and visible: whoever reads after this returns, sees it.
    /// A request of nothing but repeats changes nothing and is answered from the first.
    ///
    /// # Errors
    /// [`TrackError::Rejected`] if the request is at fault, and nothing was written;
    /// [`TrackError::Failed`] if the store is: [`Error::nothing_written`] says what may have happened.
    pub fn track(&self, request: TrackRequest) -> Result<Reply, TrackError> {
        let (sender, receiver) = bounded(1);
        // Nobody else receives, and there is room for the one answer.
        self.submit(request, move |answer| drop(sender.send(answer)));
        match receiver.recv() {
            Ok(answer) => answer.map(|answer| answer.reply()),
            Err(_) => Err(TrackError::Failed(self.inner.door.gone())),
        }
    }

    /// [`Engine::track`] without waiting: `done` is called once, on another thread, and must be quick. It may
    /// also be called before this returns: for a rejection, an overload, a repeat.
    pub fn submit<F>(&self, request: TrackRequest, done: F)
    where
        F: FnOnce(Result<Answer, TrackError>) + Send + 'static,
    {
        let inner = &*self.inner;
        let _sending = match inner.door.shared.sending() {
            Ok(sending) => sending,
            Err(error) => return done(Err(TrackError::Failed(error))),
        };
        let mut command = match inner.prepare(request) {
            Ok(command) => Box::new(command),
            Err(rejection) => return done(Err(TrackError::Rejected(rejection))),
        };
        let absent = match inner.look_up(&mut command) {
            Ok((Found::Repeats(outcome), _)) => return done(Ok(Answer { command, outcome })),
            Ok((Found::New { absent }, checkpoint)) => absent.map(|key| (key, checkpoint)),
            // The writer will meet the same and tell.
            Err(_) => None,
        };
        command.encoded = encode_command(&command.request);
        if command.encoded.len() > REQUEST_MAX_BYTES {
            return done(Err(TrackError::Rejected(too_large(command.encoded.len()))));
        }
        let done: Done = Box::new(move |result| {
            done(result.map(|(command, outcome)| Answer { command, outcome }));
        });
        let job = TrackJob { command, entropy: inner.entropy(), absent, done };
        match inner.door.mailbox.try_send(Message::Track(job)) {
            Ok(()) => {}
            Err(TrySendError::Full(message)) => refuse(message, Error::Overloaded),
            Err(TrySendError::Disconnected(message)) => refuse(message, inner.door.gone()),
        }
    }

    /// Does what a person decided about who is who, or tells what it would do (`dry_run`). Durable and visible on
    /// return.
    ///
    /// # Errors
    /// [`ActError`]; nothing was written unless it is [`ActError::Failed`].
    pub fn act(&self, act: Act, dry_run: bool) -> Result<ActReply, ActError> {
        let encoded = encode_act(&act);
        if encoded.len() > REQUEST_MAX_BYTES {
            return Err(ActError::Rejected(too_large(encoded.len())));
        }
        for attempt in 1.. {
            let snapshot = self.snapshot()?;
            let deed = snapshot.deed(&act)?;
            let mut made = None;
            if dry_run || deed.is_large() {
                let version = snapshot.version()?;
                // What is planned here draws no id that holds: that is done by the writer.
                let stamp = Stamp { received: self.inner.door.shared.clock.now(), entropy: 0 };
                let planned = plan(version, &self.inner.door.shared.registry, &deed, stamp)?;
                let plan = planned.map_err(|refusal| ActError::refused(&act, refusal))?;
                if dry_run {
                    let stand = snapshot.not_retaken(&act, &plan, None)?;
                    return Ok(snapshot.act_reply(&plan, None, stand)?);
                }
                made = Some(Box::new(plan));
            }
            let encoded = Some(encoded.clone());
            let entropy = if matches!(deed, Deed::Handover { .. }) { self.inner.entropy() } else { 0 };
            // Whoever is overtaken again and again is planned by the writer at last, while everyone waits.
            let insist = attempt >= ACT_MAX_ATTEMPTS;
            let acted = self.inner.door.ask(|done| {
                Message::Act(Box::new(ActJob { encoded, deed, entropy, plan: made, insist, done }))
            })?;
            match acted {
                Acted::Done(seq, plan) => {
                    let snapshot = self.snapshot()?;
                    let stand = snapshot.not_retaken(&act, &plan, Some(seq))?;
                    return Ok(snapshot.act_reply(&plan, Some(seq), stand)?);
                }
                Acted::Refused(refusal) => return Err(ActError::refused(&act, refusal)),
                Acted::Stale => {}
            }
        }
        Err(ActError::Failed(self.inner.door.gone()))
    }

    /// A snapshot of the present: everything acknowledged before this call.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        self.snapshot_for(false)
    }

    /// One for what reads the whole store, and so may take long.
    fn long_snapshot(&self) -> Result<Snapshot, Error> {
        self.snapshot_for(true)
    }

    fn snapshot_for(&self, for_ever: bool) -> Result<Snapshot, Error> {
        match self.inner.door.shared.closed() {
            Some(error) => Err(error),
            None => Ok(Snapshot::new(&self.inner.door.shared, for_ever)),
        }
    }

    /// Ends the sessions whose time has come by the clock, now rather than within the next second, and takes away the
    /// links that have expired. Returns how many sessions ended; durable on return.
    ///
    /// # Errors
    /// [`Error::Closed`], or what made the engine close.
    pub fn tick(&self) -> Result<u64, Error> {
        let ended = self.inner.door.ask(Message::Tick)?;
        expiring::sweep(&self.inner.door, None)?;
        Ok(ended)
    }

    /// Writes what changed to the index and waits for it.
    ///
    /// # Errors
    /// As [`Engine::tick`].
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.inner.door.ask(Message::Checkpoint)
    }

    /// Verifies every invariant and computes the two digests, on a snapshot of the present. Reads the whole
    /// store once.
    ///
    /// # Errors
    /// [`Error`] if something could not be read; what was read and is wrong stands in the report.
    pub fn check(&self) -> Result<CheckReport, Error> {
        let snapshot = self.long_snapshot()?;
        check::check(&snapshot, self.status())
    }

    /// Decides the whole log again, in memory, by the rules and settings of now, and compares: `None` if every
    /// decision comes out as it was recorded, else the position of the first request that does not. With the
    /// binary and settings that wrote the log anything but `None` is a bug; after a change of either it tells
    /// where the change begins to matter. Nothing is written, and nobody waits. Reads the log once, and keeps the
    /// rows of the whole state in memory meanwhile.
    ///
    /// # Errors
    /// [`Error`] if the log could not be read.
    pub fn decide_again(&self) -> Result<Option<EventSeq>, Error> {
        let snapshot = self.long_snapshot()?;
        redecide::decide_again(snapshot.version()?, &self.inner.door.shared.registry, &self.inner.agents)
    }

    /// What the rules of `settings` (sources, namespaces, identification points) would have made of all that is
    /// stored, had they held from the beginning; at most `listed_max` profiles are named each way. Rules are changed
    /// by opening the store with other settings, and decide only what comes after that. Nothing is written, and
    /// nobody waits. Reads the log once, and keeps the rows of the whole state in memory meanwhile.
    ///
    /// # Errors
    /// [`Error::Settings`] if the settings contradict themselves; [`Error`] if the log could not be read.
    pub fn preview_rules(&self, settings: &Settings, listed_max: usize) -> Result<RulesPreview, Error> {
        let registry = Registry::new(settings)?;
        let snapshot = self.long_snapshot()?;
        let now = self.inner.door.shared.clock.now();
        preview::preview(snapshot.version()?, &registry, &self.inner.agents, now, listed_max)
    }

    /// The state in numbers. Costs nothing.
    #[must_use]
    pub fn status(&self) -> Status {
        let version = self.inner.door.shared.published.current();
        let counters = &version.counters;
        let layers = &version.layers;
        let frozen = layers.frozen.as_ref().map_or(0, |frozen| frozen.bytes());
        Status {
            position: counters.seq.0,
            checkpoint_position: layers.base.counters.seq.0,
            events: counters.events,
            sessions: counters.session.0 - counters.bridged,
            fragments: counters.fragment.0,
            profiles: counters.fragment.0 - counters.unions,
            overlay_bytes: (layers.active.bytes() + frozen) as u64,
            mailbox_requests: self.inner.door.mailbox.len() as u64,
        }
    }

    /// What was counted of the work since opening. Costs nothing.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.inner.door.shared.counting.read()
    }

    /// Calls `listener` with the last position that readers see, each time that there is a new one, until it answers
    /// false or the engine closes. It is called by the thread that makes groups durable, before those who wait are
    /// answered: it must be quick, and ask nothing of the engine.
    pub fn on_published(&self, listener: impl Fn(EventSeq) -> bool + Send + Sync + 'static) {
        self.inner.door.shared.published.tell(Box::new(listener));
    }

    /// Why the engine takes nothing any more, if that is so.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<str>> {
        self.inner.door.shared.failure.lock().clone()
    }

    /// Finishes what was accepted, writes the index, seals the log, and lets go of the directory. Further
    /// calls are refused with [`Error::Closed`].
    ///
    /// # Errors
    /// [`Error`] if something could not be written; nothing acknowledged is lost by it.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.expiring.lock().take();
        let result = self.inner.door.ask(Message::Close);
        self.inner.join();
        result
    }

    /// Stops where it stands, as if the process had been killed, and lets go of the directory. For tests of
    /// what the next opening makes of it.
    #[doc(hidden)]
    pub fn abandon(&self) {
        // It may have stopped already.
        drop(self.inner.door.mailbox.send(Message::Abandon));
        self.inner.join();
    }

    /// Verifies the checksum of every page of the index of the closed store in `dir`, which reads all of it; opening
    /// looks only at what it needs, and [`Engine::check`] at what the rows say. Without an index all is well.
    ///
    /// # Errors
    /// [`Error::IndexUnusable`] if a page is damaged: [`Engine::rebuild`] makes it anew. [`Error::Locked`],
    /// [`Error::Io`].
    pub fn verify_index(
        dir: impl AsRef<Path>,
        settings: &Settings,
        environment: &Environment,
    ) -> Result<(), Error> {
        opening(dir.as_ref(), settings, environment).verify_index()
    }

    /// Throws the index of the closed store in `dir` away and makes it anew from the log.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn rebuild(dir: impl AsRef<Path>, settings: Settings, environment: Environment) -> Result<(), Error> {
        Registry::new(&settings)?;
        opening(dir.as_ref(), &settings, &environment).rebuild().map(|_| ())
    }
}

fn opening(dir: &Path, settings: &Settings, environment: &Environment) -> Opening {
    Opening {
        disk: Arc::clone(&environment.disk),
        clock: Arc::clone(&environment.clock),
        dir: dir.to_owned(),
        settings: settings.store.clone(),
        new_store_id: rand::rng().random(),
    }
}

fn too_large(bytes: usize) -> Rejection {
    Rejection {
        code: "request_too_large",
        message: format!("{bytes} bytes; a request takes at most {REQUEST_MAX_BYTES}"),
        field: None,
    }
}

fn refuse(message: Message, error: Error) {
    if let Message::Track(job) = message {
        (job.done)(Err(TrackError::Failed(error)));
    }
}

impl Inner {
    fn prepare(&self, request: TrackRequest) -> Result<Command, Rejection> {
        prepare(request, &self.door.shared.registry, &self.agents, &mut || {
            uuid::Builder::from_random_bytes(self.entropy().to_le_bytes()).into_uuid()
        })
    }

    /// What is found now, and what is not in the index of now.
    fn look_up(&self, command: &mut Command) -> Result<(Found, EventSeq), Error> {
        let version = self.door.shared.published.current();
        let checkpoint = &version.layers.base.counters;
        let found =
            warm(&*version, &self.door.shared.registry, &self.names, &self.warmed, checkpoint, command)?;
        Ok((found, checkpoint.seq))
    }

    fn entropy(&self) -> u128 {
        match &self.seeded {
            Some(rng) => rng.lock().random(),
            None => rand::rng().random(),
        }
    }

    fn join(&self) {
        self.expiring.lock().take();
        for thread in self.threads.lock().drain(..) {
            // A thread that panicked has said so on its own.
            drop(thread.join());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.expiring.get_mut().take();
        let threads = self.threads.get_mut();
        // The last clone may go with an answer, on the writer's own thread, which cannot wait for itself: it
        // finishes by itself when it finds that nobody can ask anything any more.
        let own = threads.iter().any(|thread| thread.thread().id() == std::thread::current().id());
        let (sender, _unheard) = bounded(1);
        if !own && !threads.is_empty() && self.door.mailbox.send(Message::Close(sender)).is_ok() {
            self.join();
        }
    }
}
