//! Requests that are decided while the group before them is synced: what they see, when they are answered, what
//! readers see meanwhile, and what becomes of them if that sync fails.
#![cfg(feature = "sim")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test: a panic is its report")]

use spoor::store::disk::Disk;
use spoor::store::disk::altered::Altered;
use spoor::store::disk::sim::SimDisk;
use spoor::{
    Engine, Environment, Error, Event, EventStatus, Json, ManualClock, Reply, Settings, Timestamp,
    TrackError, TrackRequest, TraitOperations,
};
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const BEGIN: Timestamp = Timestamp(1_790_000_000_000_000);

/// Where the syncs of the log pass.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    shut: bool,
    fails: bool,
    /// How many may pass although it is shut.
    passes: usize,
    waiting: usize,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits until a sync stands before the gate.
    fn wait_for_one(&self) {
        let state = self.state.lock().unwrap();
        let nobody = |state: &mut GateState| state.waiting == 0 || state.passes > 0;
        let waited = self.changed.wait_timeout_while(state, Duration::from_secs(30), nobody).unwrap();
        assert!(!waited.1.timed_out(), "nobody syncs");
    }

    fn pass(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        while state.shut && state.passes == 0 {
            state = self.changed.wait(state).unwrap();
        }
        state.passes = state.passes.saturating_sub(1);
        state.waiting -= 1;
        self.changed.notify_all();
        if state.fails { Err(io::Error::other("no more syncs today")) } else { Ok(()) }
    }
}

type Answers = Receiver<Result<Reply, TrackError>>;

/// Opens the gate whatever becomes of a test: else its engine could not end.
struct Opener(Arc<Gate>);

impl Drop for Opener {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.shut = false;
        }
        self.0.changed.notify_all();
    }
}

struct Store {
    disk: Arc<dyn Disk>,
    gate: Arc<Gate>,
    engine: Engine,
    profile: String,
}

impl Store {
    /// One profile with one event, its session open and its trait `n` 1.
    fn new() -> Self {
        let gate = Arc::<Gate>::default();
        let disk: Arc<dyn Disk> = Altered::new(SimDisk::new().shared(), Path::new("/store/log"), {
            let gate = Arc::clone(&gate);
            move |file| gate.pass().and_then(|()| file.sync())
        });
        let engine = Self::open(&disk);
        let profile = engine.track(request("m-1")).unwrap().profile.unwrap().id;
        Self { disk, gate, engine, profile }
    }

    fn open(disk: &Arc<dyn Disk>) -> Engine {
        let (disk, clock) = (Arc::clone(disk), Arc::new(ManualClock::new(BEGIN)));
        let environment = Environment { disk, clock, seed: None };
        Engine::open_with("/store", Settings::default(), environment).unwrap()
    }

    fn submit(&self, request: TrackRequest) -> Answers {
        let (sender, answers) = channel();
        self.engine.submit(request, move |answer| sender.send(answer.map(|answer| answer.reply())).unwrap());
        answers
    }

    /// Events of the profile, and its trait `n`, as readers see them now.
    fn seen(&self) -> (u64, String) {
        let profile = self.engine.snapshot().unwrap().profile(&self.profile).unwrap();
        let (_, value) = profile.traits.into_iter().find(|(name, _)| name == "n").unwrap();
        (profile.counters.events, value.as_str().to_owned())
    }

    /// The events m-3 and m-4 stand before the gate, m-5 to m-8 were decided meanwhile, and m-3 came once more.
    fn two_groups(&self) -> (Vec<Answers>, Vec<Answers>, Answers) {
        let gate = &self.gate;
        gate.change(|gate| gate.shut = true);
        // One request alone is synced by the writer: what comes meanwhile is a group.
        let alone = self.submit(request("m-2"));
        gate.wait_for_one();
        let first: Vec<_> = ["m-3", "m-4"].map(|id| self.submit(request(id))).into();
        gate.change(|gate| gate.passes = 1);
        stored(&alone);
        gate.wait_for_one();
        let second = (5..9).map(|at| self.submit(request(&format!("m-{at}")))).collect();
        let again = self.submit(request("m-3"));
        // Time to decide them: with less, there is less to see, and nothing fails.
        std::thread::sleep(Duration::from_millis(200));
        (first, second, again)
    }
}

fn request(id: &str) -> TrackRequest {
    let number = Json::parse(id.trim_start_matches("m-")).unwrap();
    let traits = TraitOperations { set: vec![("n".to_owned(), number)], ..TraitOperations::default() };
    let event = Event { id: Some(id.to_owned()), event_type: "step".to_owned(), traits, ..Event::default() };
    TrackRequest { session: Some("s-1".to_owned()), events: vec![event], ..TrackRequest::default() }
}

fn stored(answers: &Answers) -> u64 {
    let reply = answers.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    assert_eq!(reply.events[0].status, EventStatus::Stored);
    reply.events[0].seq.0
}

fn nobody_was_answered<'a>(answers: impl IntoIterator<Item = &'a Answers>) {
    for answers in answers {
        assert_eq!(answers.try_recv().map(|_| ()), Err(TryRecvError::Empty), "before it was durable");
    }
}

#[test]
fn each_group_is_seen_and_answered_when_it_is_durable_and_not_before() {
    let store = Store::new();
    let gate = Arc::clone(&store.gate);
    let _opener = Opener(Arc::clone(&gate));
    let (first, second, again) = store.two_groups();
    nobody_was_answered(first.iter().chain(&second).chain([&again]));
    assert_eq!(store.seen(), (2, "2".to_owned()), "m-1 and m-2");

    gate.change(|gate| gate.passes = 1);
    let first: Vec<_> = first.iter().map(stored).collect();
    gate.wait_for_one();
    nobody_was_answered(second.iter().chain([&again]));
    assert_eq!(store.seen(), (4, "4".to_owned()), "and the first group, whatever was decided since");

    gate.change(|gate| gate.shut = false);
    let second: Vec<_> = second.iter().map(stored).collect();
    assert_eq!([first.clone(), second].concat(), (3..9).collect::<Vec<u64>>());
    let again = again.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    assert_eq!((again.events[0].status, again.events[0].seq.0), (EventStatus::Duplicate, first[0]));
    assert_eq!(store.seen(), (8, "8".to_owned()));

    let check = store.engine.check().unwrap();
    assert_eq!(check.faults, Vec::<String>::new());
    assert_eq!(store.engine.decide_again().unwrap(), None);
    store.engine.abandon();
    let engine = Store::open(&store.disk);
    assert_eq!(engine.check().unwrap().store_digest, check.store_digest);
    engine.close().unwrap();
}

#[test]
fn when_a_sync_fails_what_was_decided_meanwhile_fails_too_and_was_never_seen() {
    let store = Store::new();
    let gate = Arc::clone(&store.gate);
    let _opener = Opener(Arc::clone(&gate));
    let (first, second, again) = store.two_groups();
    gate.change(|gate| (gate.fails, gate.shut) = (true, false));
    for answers in first.iter().chain(&second).chain([&again]) {
        let answer = answers.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(matches!(answer, Err(TrackError::Failed(_))), "{answer:?}");
    }
    for answers in &first {
        assert_eq!(answers.try_recv().map(|_| ()), Err(TryRecvError::Disconnected), "one answer each");
    }
    assert!(store.engine.failure().is_some());
    let refused = store.engine.track(request("m-9"));
    assert!(matches!(refused, Err(TrackError::Failed(Error::Closed { .. }))), "{refused:?}");
    store.engine.abandon();

    gate.change(|gate| gate.fails = false);
    let engine = Store::open(&store.disk);
    // The first group was written and never synced: all of it is there, or nothing. The second was not.
    let events = engine.snapshot().unwrap().profile(&store.profile).unwrap().counters.events;
    assert!([2, 4].contains(&events), "{events}");
    assert_eq!(engine.check().unwrap().faults, Vec::<String>::new());
    engine.close().unwrap();
}

#[test]
fn a_checkpoint_and_a_close_wait_for_what_is_in_flight() {
    let store = Store::new();
    let gate = Arc::clone(&store.gate);
    let _opener = Opener(Arc::clone(&gate));
    let (first, second, _again) = store.two_groups();
    let opener = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        gate.change(|gate| gate.shut = false);
    });
    store.engine.checkpoint().unwrap();
    let digest = store.engine.check().unwrap().store_digest;
    store.engine.close().unwrap();
    opener.join().unwrap();
    assert!(first.iter().chain(&second).all(|answers| stored(answers) > 0));
    let engine = Store::open(&store.disk);
    assert_eq!(engine.check().unwrap().store_digest, digest);
    assert_eq!(engine.snapshot().unwrap().profile(&store.profile).unwrap().counters.events, 8);
    engine.close().unwrap();
}
