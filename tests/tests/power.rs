//! Power cuts and I/O errors under the whole engine: what was acknowledged is there, and nothing is half there.
//!
//! A small history is played on a disk in memory that is told at which operation to fail. Segments and generations
//! are so small that freezing, checkpoints, new segments and sealing happen all the time. Then the store is opened on
//! what the disk kept, and compared with what its clients were told.
//!
//! `SPOOR_POWER_RUNS` says at how many operations of a history each kind of fault is tried (25), `SPOOR_POWER_SEED`
//! which history it is (1).
#![expect(clippy::panic, clippy::expect_used, reason = "a test: a panic is its report")]

use spoor::settings::StoreSettings;
use spoor::store::disk::Disk;
use spoor::store::disk::altered::Altered;
use spoor::store::disk::sim::{Fault, SimDisk, Trial};
use spoor::{
    Engine, Environment, Error, Event, EventStatus, Json, ManualClock, Reply, Settings, Timestamp,
    TrackError, TrackRequest, TraitOperations,
};
use spoor_tests::history::Dice;
use spoor_tests::scenario::BEGIN;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DIR: &str = "/store";
const LOG_DIR: &str = "/store/log";
/// What a sync takes at least.
const SYNC: Duration = Duration::from_micros(300);
/// Steps of a history.
const STEPS: usize = 70;
/// Requests that are sent again when a store is verified.
const SENT_AGAIN_MAX: usize = 12;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn settings() -> Settings {
    let store = StoreSettings { overlay_bytes: 0, segment_bytes: 16 << 10, ..StoreSettings::default() };
    Settings { store, ..Settings::default() }
}

/// What a client was told of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// That it is stored, at these positions.
    Acknowledged(Vec<u64>),
    /// That nothing of it was written.
    Refused,
    /// That it may be stored or not.
    Unknown,
}

/// A client: what it sends, and what it was told.
struct Client {
    dice: Dice,
    clock: Arc<ManualClock>,
    requests: Vec<(TrackRequest, Fate)>,
    profiles: Vec<String>,
    events: u64,
}

/// Whether a history came to its end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Played,
    Failed,
}

impl Client {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            clock: Arc::new(ManualClock::new(BEGIN)),
            requests: Vec::new(),
            profiles: Vec::new(),
            events: 0,
        }
    }

    fn open(&self, disk: &Arc<dyn Disk>) -> Result<Engine, Error> {
        Engine::open_with(DIR, settings(), self.environment(disk))
    }

    /// Syncs of the log take their time, so that requests are decided meanwhile.
    fn environment(&self, disk: &Arc<dyn Disk>) -> Environment {
        let slow = Altered::new(Arc::clone(disk), Path::new(LOG_DIR), |file| {
            std::thread::sleep(SYNC);
            file.sync()
        });
        Environment { disk: slow, clock: self.clock.clone(), seed: None }
    }

    fn request(&mut self) -> TrackRequest {
        let session = (self.dice.below(4) > 0).then(|| format!("s-{}", self.dice.below(6)));
        let known = self.dice.below(self.profiles.len() as u64 * 2 + 1);
        let profile = usize::try_from(known).ok().and_then(|known| self.profiles.get(known)).cloned();
        let events = (0..=self.dice.below(5)).map(|_| self.event()).collect();
        TrackRequest { session, profile, events, ..TrackRequest::default() }
    }

    fn event(&mut self) -> Event {
        self.events += 1;
        let filling = "x".repeat(usize::try_from(self.dice.below(600)).expect("small"));
        let event_type = match self.events % 3 {
            0 => "page-view",
            1 => "click",
            _ => "session-end",
        };
        let json = |text: String| Json::parse(&text).expect("JSON");
        Event {
            id: Some(format!("e-{}", self.events)),
            event_type: event_type.to_owned(),
            time: Some(Timestamp(BEGIN.0 + i64::try_from(self.dice.below(1_000_000_000)).expect("small"))),
            properties: Some(json(format!("{{\"filling\":\"{filling}\"}}"))),
            traits: TraitOperations {
                set: vec![("last".to_owned(), json(self.events.to_string()))],
                add: vec![("sum".to_owned(), json("1".to_owned()))],
                ..TraitOperations::default()
            },
            ..Event::default()
        }
    }

    /// Plays a history until its end, or until the store takes nothing any more.
    fn play(&mut self, disk: &Arc<dyn Disk>) -> Result<End, String> {
        let Ok(mut engine) = self.open(disk) else { return Ok(End::Failed) };
        for _ in 0..STEPS {
            let done = match self.dice.below(20) {
                0..2 => engine.checkpoint(),
                2 => {
                    self.clock.advance_ms(31 * 60 * 1_000);
                    engine.tick().map(|_| ())
                }
                3 if self.dice.below(3) == 0 => {
                    let closed = engine.close();
                    let opened = self.open(disk);
                    match (closed, opened) {
                        (_, Ok(opened)) => engine = opened,
                        (Err(_), Err(_)) | (Ok(()), Err(_)) => return Ok(End::Failed),
                    }
                    Ok(())
                }
                4 => self.send_again(&engine)?,
                5..10 => self.send_at_once(&engine)?,
                _ => self.send_new(&engine)?,
            };
            if let Err(error) = done {
                let said = self.must_be_closed(&engine, &error);
                engine.abandon();
                return said.map(|()| End::Failed);
            }
        }
        let closed = engine.close();
        Ok(if closed.is_ok() { End::Played } else { End::Failed })
    }

    fn send_new(&mut self, engine: &Engine) -> Result<Result<(), Error>, String> {
        self.clock.advance_ms(1_000);
        let request = self.request();
        let (fate, result) = self.fate(engine.track(request.clone()))?;
        self.requests.push((request, fate));
        Ok(result)
    }

    /// What an answer to a new request tells.
    fn fate(&mut self, answer: Result<Reply, TrackError>) -> Result<(Fate, Result<(), Error>), String> {
        Ok(match answer {
            Ok(reply) => {
                if reply.events.iter().any(|event| event.status != EventStatus::Stored) {
                    return Err(format!("new events came as repeats: {reply:?}"));
                }
                self.profiles.extend(reply.profile.map(|profile| profile.id));
                (Fate::Acknowledged(reply.events.iter().map(|event| event.seq.0).collect()), Ok(()))
            }
            Err(TrackError::Failed(error)) if error.nothing_written() => (Fate::Refused, Err(error)),
            Err(TrackError::Failed(error)) => (Fate::Unknown, Err(error)),
            Err(TrackError::Rejected(rejection)) => return Err(format!("a sound request: {rejection}")),
        })
    }

    /// Sends some requests without waiting between them: some are decided while others are synced.
    fn send_at_once(&mut self, engine: &Engine) -> Result<Result<(), Error>, String> {
        self.clock.advance_ms(1_000);
        let requests: Vec<_> = (0..2 + self.dice.below(8)).map(|_| self.request()).collect();
        let (sender, answers) = std::sync::mpsc::channel();
        for (index, request) in requests.iter().enumerate() {
            let sender = sender.clone();
            engine.submit(request.clone(), move |answer| {
                sender.send((index, answer.map(|answer| answer.reply()))).expect("somebody waits");
            });
        }
        drop(sender);
        let mut answers: Vec<_> = answers.iter().collect();
        answers.sort_by_key(|(index, _)| *index);
        if answers.len() != requests.len() {
            return Err(format!("{} requests had {} answers", requests.len(), answers.len()));
        }
        let mut result = Ok(());
        for (request, (_, answer)) in requests.into_iter().zip(answers) {
            let (fate, told) = self.fate(answer)?;
            self.requests.push((request, fate));
            result = result.and(told);
        }
        Ok(result)
    }

    /// Sends an acknowledged request again, as a client does that did not hear the answer.
    fn send_again(&mut self, engine: &Engine) -> Result<Result<(), Error>, String> {
        let at = self.dice.below(self.requests.len() as u64 + 1);
        let picked = usize::try_from(at).ok().and_then(|at| self.requests.get(at));
        let Some((request, Fate::Acknowledged(seqs))) = picked else { return Ok(Ok(())) };
        repeat(engine, request, seqs)
    }

    /// After an error everybody is told so, and why.
    fn must_be_closed(&mut self, engine: &Engine, error: &Error) -> Result<(), String> {
        let known = matches!(error, Error::Indeterminate { .. } | Error::Closed { .. } | Error::Io { .. });
        if !known {
            return Err(format!("an unexpected kind of error: {error:?}"));
        }
        if engine.failure().is_none_or(|reason| reason.is_empty()) {
            return Err(format!("it failed ({error}) and does not say why"));
        }
        let request = self.request();
        match engine.track(request.clone()) {
            Err(TrackError::Failed(Error::Closed { .. })) => {
                self.requests.push((request, Fate::Refused));
                Ok(())
            }
            other => Err(format!("it failed ({error}) and still answers {other:?}")),
        }
    }

    /// Opens what a disk kept and compares it with what was told. What was left open is known afterwards.
    fn verify(&mut self, disk: &Arc<dyn Disk>) -> Result<(), String> {
        let engine = self.open(disk).map_err(|error| format!("opening: {error}"))?;
        let verified = self.verify_open(&engine);
        let digest = verified.and_then(|()| digest(&engine));
        engine.abandon();
        let digest = digest?;
        Engine::rebuild(DIR, settings(), self.environment(disk))
            .map_err(|error| format!("rebuild: {error}"))?;
        let engine = self.open(disk).map_err(|error| format!("opening after a rebuild: {error}"))?;
        let rebuilt = self::digest(&engine);
        engine.close().map_err(|error| format!("closing: {error}"))?;
        if rebuilt? == digest { Ok(()) } else { Err("a rebuild gives another state".to_owned()) }
    }

    fn verify_open(&mut self, engine: &Engine) -> Result<(), String> {
        let snapshot = engine.snapshot().map_err(|error| format!("a snapshot: {error}"))?;
        let events = snapshot.events_after(0, usize::MAX).map_err(|error| format!("reading: {error}"))?;
        let mut stored: BTreeMap<String, u64> = BTreeMap::new();
        for event in events {
            if let Some(first) = stored.insert(event.id, event.seq.0) {
                return Err(format!("the event at {first} is stored again at {}", event.seq.0));
            }
        }
        for (request, fate) in &mut self.requests {
            settle(request, fate, &mut stored)?;
        }
        if !stored.is_empty() {
            return Err(format!("nobody sent {stored:?}"));
        }
        let every = self.requests.len().div_ceil(SENT_AGAIN_MAX).max(1);
        for (request, fate) in self.requests.iter().step_by(every) {
            if let Fate::Acknowledged(seqs) = fate {
                repeat(engine, request, seqs)?.map_err(|error| format!("sending again: {error}"))?;
            }
        }
        Ok(())
    }
}

/// Compares what is stored of a request with what its client was told.
fn settle(request: &TrackRequest, fate: &mut Fate, stored: &mut BTreeMap<String, u64>) -> Result<(), String> {
    let ids: Vec<&str> = request.events.iter().filter_map(|event| event.id.as_deref()).collect();
    let found: Vec<u64> = ids.iter().filter_map(|id| stored.remove(*id)).collect();
    let told = fate.clone();
    let wrong = || Err(format!("{ids:?} was {told:?} and is stored at {found:?}"));
    if !found.is_sorted_by(|one, next| one + 1 == *next) {
        return wrong();
    }
    match &told {
        Fate::Acknowledged(seqs) if *seqs != found => return wrong(),
        Fate::Acknowledged(_) => {}
        Fate::Refused if !found.is_empty() => return wrong(),
        Fate::Refused => {}
        Fate::Unknown if found.is_empty() => *fate = Fate::Refused,
        Fate::Unknown if found.len() != ids.len() => return wrong(),
        // It was shown to a reader, and must stay.
        Fate::Unknown => *fate = Fate::Acknowledged(found),
    }
    Ok(())
}

fn repeat(engine: &Engine, request: &TrackRequest, seqs: &[u64]) -> Result<Result<(), Error>, String> {
    match engine.track(request.clone()) {
        Ok(reply) => {
            let same = reply.events.iter().map(|event| event.seq.0).eq(seqs.iter().copied());
            let repeats = reply.events.iter().all(|event| event.status == EventStatus::Duplicate);
            if same && repeats { Ok(Ok(())) } else { Err(format!("at {seqs:?}, sent again: {reply:?}")) }
        }
        Err(TrackError::Failed(error)) => Ok(Err(error)),
        Err(TrackError::Rejected(rejection)) => Err(format!("sent again: {rejection}")),
    }
}

/// The store digest of a store that is sound and decides as it did.
fn digest(engine: &Engine) -> Result<String, String> {
    let report = engine.check().map_err(|error| format!("checking: {error}"))?;
    let again = engine.decide_again().map_err(|error| format!("deciding again: {error}"))?;
    match (report.faults.as_slice(), again) {
        ([], None) => Ok(report.store_digest),
        (faults, again) => Err(format!("not sound: {faults:?}; decided again: {again:?}")),
    }
}

/// Plays the history of `seed` with a fault at an operation, verifies what is left, goes on with another fault soon
/// after opening, and verifies again. Returns whether the first one ended it.
fn run(seed: u64, trial: Trial) -> Result<End, String> {
    let mut client = Client::new(seed);
    let Trial { operation, fault, .. } = trial;
    let (end, mut disk) = trial.run(|disk| client.play(disk));
    let end = end?;
    // Opening is cut too, and begins again.
    disk.fault_at(operation % 97, fault);
    if client.verify(&disk.shared()).is_err() {
        disk = disk.after(fault, operation / 2);
        client.verify(&disk.shared())?;
    }
    disk = disk.after(fault, operation / 3);
    disk.fault_at(100 + operation % 701, fault);
    client.play(&disk.shared())?;
    client.verify(&disk.after(fault, operation / 5).shared())?;
    Ok(end)
}

/// Operations that a history takes when nothing fails.
fn operations(seed: u64) -> u64 {
    let disk = SimDisk::new();
    let mut client = Client::new(seed);
    assert_eq!(client.play(&disk.shared()), Ok(End::Played));
    let operations = disk.operations();
    client.verify(&disk.shared()).expect("a history without a fault");
    operations
}

fn everywhere(fault: Fault) {
    let seed = number("SPOOR_POWER_SEED", 1);
    let runs = number("SPOOR_POWER_RUNS", 25);
    let operations = operations(seed);
    let mut failed = 0;
    for trial in Trial::all((0..runs).map(|run_number| operations * run_number / runs), &[fault], 1) {
        match run(seed, trial) {
            Ok(end) => failed += u64::from(end == End::Failed),
            Err(reason) => panic!("history {seed}, {trial}: {reason}"),
        }
    }
    eprintln!("{fault:?}: {failed} of {runs} runs were ended by it; {operations} operations");
    assert!(failed * 2 > runs, "{fault:?} ended {failed} of {runs} runs: most of them tried nothing");
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    everywhere(Fault::PowerCut);
}

#[test]
fn a_failing_operation_is_told_and_loses_nothing_acknowledged() {
    everywhere(Fault::Fails);
}

#[test]
fn a_disk_that_fails_for_good_is_told_and_loses_nothing_acknowledged() {
    everywhere(Fault::FailsForGood);
}

/// What the histories are made for does happen in them.
#[test]
fn histories_reach_every_part_of_the_store() {
    let disk = SimDisk::new();
    let mut client = Client::new(number("SPOOR_POWER_SEED", 1));
    assert_eq!(client.play(&disk.shared()), Ok(End::Played));
    let names = disk.list(Path::new(LOG_DIR)).expect("a log");
    assert!(names.iter().filter(|name| name.ends_with(".sealed")).count() > 3, "{names:?}");
    let engine = client.open(&disk.shared()).expect("opening");
    let status = engine.status();
    assert!(status.checkpoint_position > 0 && status.sessions > 3, "{status:?}");
    assert!(status.events < status.position, "no session ended by silence: {status:?}");
    engine.close().expect("closing");
}

/// The proof that these tests can fail: without syncs they must.
#[test]
fn a_disk_that_lies_is_caught() {
    let seed = number("SPOOR_POWER_SEED", 1);
    let caught = (1..=8).filter(|turn| {
        let disk = SimDisk::new();
        disk.fault_at(turn * 60, Fault::PowerCut);
        // The index is synced: a redb file that never was is beyond what redb can tell from a sound one.
        let lying = Altered::new(disk.shared(), Path::new(LOG_DIR), |_| Ok(()));
        let mut client = Client::new(seed);
        let played = client.play(&(lying as Arc<dyn Disk>));
        played.and_then(|_| client.verify(&disk.power_cut(*turn).shared())).is_err()
    });
    let caught = caught.count();
    assert!(caught >= 4, "{caught} of 8 histories on a disk that never syncs were found out");
}
