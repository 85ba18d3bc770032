//! Links that nobody says again in time expire, whatever else goes on: by themselves, by the thousand, from the index
//! and from memory, and for good.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test: a panic is its report")]

use spoor::change::{ExpiredLink, Happened};
use spoor::model::LinkState;
use spoor::settings::{NamespaceSettings, SourceSettings};
use spoor::{Engine, Environment, Event, ManualClock, Settings, Timestamp, TrackRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const BEGIN: Timestamp = Timestamp(1_790_000_000_000_000);
const HOUR_MS: u64 = 60 * 60 * 1_000;
/// More than one record takes away, on either side of a checkpoint.
const HALF: usize = 400;

fn settings(expires_after_ms: Option<u64>) -> Settings {
    let mut settings = Settings::default();
    let namespace = NamespaceSettings { expires_after_ms, ..NamespaceSettings::default() };
    settings.identifiers.insert("number".to_owned(), namespace);
    settings
}

/// A device in a session of its own says a number; its id.
fn say(engine: &Engine, session: &str, number: &str) -> String {
    let event = Event {
        event_type: "call".to_owned(),
        identifiers: vec![("number".to_owned(), number.to_owned())],
        ..Event::default()
    };
    let session = Some(session.to_owned());
    let request = TrackRequest { session, events: vec![event], ..TrackRequest::default() };
    engine.track(request).unwrap().profile.unwrap().id
}

fn expired(engine: &Engine, profiles: &[String]) -> usize {
    let snapshot = engine.snapshot().unwrap();
    let state = |id: &String| snapshot.profile_links(id, &Default::default()).unwrap().items[0].state;
    profiles.iter().filter(|id| state(id) == LinkState::Expired).count()
}

fn sound(engine: &Engine) -> String {
    let report = engine.check().unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    report.store_digest
}

#[test]
fn thousands_expire_from_memory_and_from_the_index_while_requests_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(BEGIN));
    let environment = Environment { clock: clock.clone(), ..Environment::default() };
    let open = || Engine::open_with(dir.path(), settings(Some(HOUR_MS)), environment.clone()).unwrap();
    let engine = open();
    // Two devices for each number: they are one person, half of them in the index.
    let mut devices = Vec::new();
    for number in 0..HALF {
        if number == HALF / 2 {
            engine.checkpoint().unwrap();
        }
        for device in ["a", "b"] {
            devices.push(say(&engine, &format!("{device}-{number}"), &format!("n-{number}")));
        }
    }
    assert_eq!(engine.status().profiles, HALF as u64);
    clock.advance_ms(30 * 60 * 1_000);
    // One of each tenth pair says it again, and so keeps its link alone.
    for number in (0..HALF).step_by(10) {
        say(&engine, &format!("a-{number}"), &format!("n-{number}"));
    }
    let kept = HALF.div_ceil(10);
    clock.advance_ms(31 * 60 * 1_000);

    // The persons change while they are planned: some say their number again, some only look round.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                let event = Event { event_type: "page-view".to_owned(), ..Event::default() };
                let session = Some(format!("b-{}", turn % HALF));
                let request = TrackRequest { session, events: vec![event], ..TrackRequest::default() };
                engine.track(request).unwrap();
                turn += 1;
            }
        });
        engine.tick().unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(expired(&engine, &devices), 2 * HALF - kept);
    assert_eq!(engine.status().profiles, 2 * HALF as u64, "each is alone");
    let before = engine.status().position;
    engine.tick().unwrap();
    assert_eq!(engine.status().position, before, "each expires once");
    assert_eq!(engine.decide_again().unwrap(), None);

    // They are told in order, each once, with what became of the profiles.
    let mut told: Vec<ExpiredLink> = Vec::new();
    let mut after = 0;
    loop {
        let changes = engine.snapshot().unwrap().changes_after(after, 500).unwrap();
        let Some(last) = changes.last() else { break };
        after = last.seq.0;
        for change in changes {
            if let Happened::LinksExpired(links) = change.happened {
                assert!(links.len() <= spoor::limits::EXPIRE_MAX_LINKS && !links.is_empty());
                let parted = change.profiles.iter().flat_map(|profile| &profile.ids);
                let parted: Vec<&String> = parted.collect();
                assert!(links.iter().all(|link| parted.contains(&&link.profile)));
                told.extend(links);
            }
        }
    }
    assert_eq!(told.len(), 2 * HALF - kept);
    told.sort_by(|one, other| one.profile.cmp(&other.profile));
    told.dedup();
    assert_eq!(told.len(), 2 * HALF - kept);

    let digest = sound(&engine);
    engine.abandon();
    let engine = open();
    assert_eq!(sound(&engine), digest, "after a kill");
    engine.close().unwrap();
    Engine::rebuild(dir.path(), settings(Some(HOUR_MS)), environment.clone()).unwrap();
    let engine = open();
    assert_eq!(sound(&engine), digest, "from the log");

    // Whoever says it again is one person again.
    assert_eq!(say(&engine, "a-1", "n-1"), devices[2]);
    assert_eq!(say(&engine, "b-1", "n-1"), devices[3]);
    assert_eq!(engine.snapshot().unwrap().profile(&devices[3]).unwrap().ids.len(), 2);
    sound(&engine);
    engine.close().unwrap();
}

#[test]
fn by_the_clock_of_the_machine_they_expire_by_themselves_and_also_those_from_before_the_setting() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), settings(None)).unwrap();
    let devices = [say(&engine, "a", "7"), say(&engine, "b", "7")];
    engine.close().unwrap();
    let engine = Engine::open(dir.path(), settings(Some(1_000))).unwrap();
    let begun = Instant::now();
    while expired(&engine, &devices) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "they hold still");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(engine.status().profiles, 2);
    // Whoever lets go of the last handle is not kept waiting, and the directory is free.
    drop(engine);
    let engine = Engine::open(dir.path(), settings(Some(1_000))).unwrap();
    sound(&engine);
    engine.close().unwrap();
}

#[test]
fn a_preview_of_rules_lets_links_expire_as_of_now() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(BEGIN));
    let environment = Environment { clock: clock.clone(), ..Environment::default() };
    let engine = Engine::open_with(dir.path(), settings(None), environment).unwrap();
    let mut pair = [say(&engine, "a", "7"), say(&engine, "b", "7")];
    pair.sort_unstable();
    clock.advance_ms(2 * 60 * 60 * 1_000);
    assert_eq!(engine.preview_rules(&settings(Some(3 * HOUR_MS)), 10).unwrap().parted_profiles, 0);
    let preview = engine.preview_rules(&settings(Some(HOUR_MS)), 10).unwrap();
    assert_eq!((preview.profiles_before, preview.profiles_after), (1, 2));
    assert_eq!(preview.parted, [pair.to_vec()]);
    assert_eq!(engine.status().profiles, 1, "nothing was changed");
    engine.close().unwrap();
}

#[test]
fn a_time_that_nobody_can_keep_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in [0, 999, spoor::limits::EXPIRY_MAX_MS + 1] {
        let error = Engine::open(dir.path(), settings(Some(wrong))).unwrap_err().to_string();
        assert!(error.contains("identifiers.number.expires_after"), "{error}");
    }
}

#[test]
fn what_is_said_of_long_ago_says_the_same_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(BEGIN));
    let environment = Environment { clock, ..Environment::default() };
    let engine = Engine::open_with(dir.path(), settings(Some(HOUR_MS)), environment).unwrap();
    let long_ago = Timestamp(BEGIN.0 - 9_000_000_000);
    let said = |session: &str, number: &str, times: [Option<Timestamp>; 2]| {
        for time in times {
            let identifiers = vec![("number".to_owned(), number.to_owned())];
            let event = Event { event_type: "call".to_owned(), time, identifiers, ..Event::default() };
            let session = Some(session.to_owned());
            engine.track(TrackRequest { session, events: vec![event], ..TrackRequest::default() }).unwrap();
        }
        let snapshot = engine.snapshot().unwrap();
        let wanted = format!("number:{number}");
        let found = snapshot.profile_of_identifier(&wanted, Default::default()).unwrap();
        (found.identifiers[0].first_seen.millis(), found.identifiers[0].last_seen.millis())
    };
    let now = (BEGIN.millis(), BEGIN.millis());
    assert_eq!(said("a", "n-1", [None, Some(long_ago)]), now);
    assert_eq!(said("b", "n-2", [Some(long_ago), None]), now);
    engine.close().unwrap();
}

#[test]
fn links_that_are_said_at_this_moment_do_not_disturb_the_sweep() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), settings(Some(1_000))).unwrap();
    // Said of just before they expire, by many at once, while each look takes what it finds.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                for turn in 0..300 {
                    let now = spoor::Clock::now(&spoor::SystemClock);
                    let time = Some(Timestamp(now.0 - 999_000));
                    let identifiers = vec![("number".to_owned(), format!("n-{}", turn % 50))];
                    let event =
                        Event { event_type: "call".to_owned(), time, identifiers, ..Event::default() };
                    let session = Some(format!("s-{thread}-{turn}"));
                    engine
                        .track(TrackRequest { session, events: vec![event], ..TrackRequest::default() })
                        .unwrap();
                }
            });
        }
        for _ in 0..100 {
            engine.tick().unwrap();
        }
    });
    assert_eq!(engine.failure(), None);
    sound(&engine);
    engine.close().unwrap();
}

#[test]
fn a_sweep_reads_the_index_slice_by_slice() {
    const PEOPLE: usize = 9_000;
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(BEGIN));
    let environment = Environment { clock: clock.clone(), ..Environment::default() };
    let mut settings = settings(Some(HOUR_MS));
    let backend = SourceSettings { server: true, ..SourceSettings::default() };
    settings.sources.insert("backend".to_owned(), backend);
    let engine = Engine::open_with(dir.path(), settings, environment).unwrap();
    for thousand in 0..PEOPLE / 1_000 {
        let said = |one: usize| Event {
            event_type: "call".to_owned(),
            identifiers: vec![("number".to_owned(), format!("n-{thousand}-{one}"))],
            ..Event::default()
        };
        let source = Some("backend".to_owned());
        let events = (0..1_000).map(said).collect();
        engine.track(TrackRequest { source, events, ..TrackRequest::default() }).unwrap();
    }
    engine.checkpoint().unwrap();
    clock.advance_ms(2 * 60 * 60 * 1_000);
    engine.tick().unwrap();
    let expired = engine.snapshot().unwrap().changes_after(PEOPLE as u64, 1_000).unwrap();
    let expired = expired.into_iter().map(|change| match change.happened {
        Happened::LinksExpired(links) => links.len(),
        _ => 0,
    });
    assert_eq!(expired.sum::<usize>(), PEOPLE);
    sound(&engine);
    engine.close().unwrap();
}
