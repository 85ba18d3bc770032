//! Deciding a log again gives the same decisions, and a change of rules shows.
//!
//! Scenarios and histories look at it too: every check of the embedded target decides its log again.
#![expect(clippy::expect_used, reason = "a test: a panic is its report")]

use spoor::settings::{Sessions, SourceSettings};
use spoor::{Engine, Environment, EventSeq, ManualClock, Settings, Timestamp, TrackRequest};
use spoor_tests::scenario::BEGIN;
use spoor_tests::shop;
use std::path::Path;
use std::sync::Arc;

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

fn open(dir: &Path, settings: Settings, clock: &Arc<ManualClock>) -> Engine {
    let environment = Environment { clock: clock.clone(), seed: Some(1), ..Environment::default() };
    Engine::open_with(dir, settings, environment).expect("opening")
}

/// A store of the shop's sample, closed, in the middle of which all sessions ended by silence.
fn sample(dir: &Path) -> Arc<ManualClock> {
    let clock = Arc::new(ManualClock::new(BEGIN));
    let engine = open(dir, shop::settings(), &clock);
    let requests = shop::requests();
    let (first, second) = requests.split_at(requests.len() / 2);
    for request in first {
        engine.track(request.clone()).expect("the sample is sound");
    }
    clock.set(Timestamp(BEGIN.0 + DAY_US));
    assert!(engine.tick().expect("ending sessions") > 5, "records without a request are in the log");
    for request in second {
        engine.track(request.clone()).expect("the sample is sound");
    }
    assert_eq!(engine.decide_again().expect("deciding again"), None, "live");
    engine.close().expect("closing");
    clock
}

fn again(dir: &Path, settings: Settings, clock: &Arc<ManualClock>) -> Option<EventSeq> {
    let engine = open(dir, settings, clock);
    let found = engine.decide_again().expect("deciding again");
    engine.close().expect("closing");
    found
}

#[test]
fn the_same_rules_decide_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = sample(dir.path());
    assert_eq!(again(dir.path(), shop::settings(), &clock), None, "opened again");
    std::fs::remove_file(dir.path().join("index.redb")).expect("an index");
    assert_eq!(again(dir.path(), shop::settings(), &clock), None, "rebuilt");
}

/// Position of the first event for which `holds`.
fn first_seq(dir: &Path, clock: &Arc<ManualClock>, holds: impl Fn(&str) -> bool) -> Option<EventSeq> {
    let engine = open(dir, shop::settings(), clock);
    let events = engine.snapshot().and_then(|snapshot| snapshot.events_after(0, 1_000)).expect("events");
    engine.close().expect("closing");
    events.iter().find(|event| holds(&event.event_type)).map(|event| event.seq)
}

/// A change of settings, and the types of the events that it decides otherwise.
type Change = (&'static str, fn(&mut SourceSettings), fn(&str) -> bool);

#[test]
fn other_rules_show_where_they_begin_to_matter() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = sample(dir.path());
    let changes: [Change; 4] = [
        ("no page views", |shop| shop.page_views.clear(), |kind| kind == "page-view"),
        ("no conversions", |shop| shop.conversions.clear(), |kind| kind == "purchase"),
        ("another timeout", |shop| shop.inactivity_timeout_ms += 1, |_| true),
        ("another id space", |shop| shop.ids = Some("elsewhere".to_owned()), |_| true),
    ];
    for (name, change, concerns) in changes {
        let mut settings = shop::settings();
        change(settings.sources.get_mut("shop").expect("the one source"));
        let found = again(dir.path(), settings, &clock);
        assert!(found.is_some(), "{name}: nothing was noticed");
        assert_eq!(found, first_seq(dir.path(), &clock, concerns), "{name}");
    }
    let gone =
        Settings { sources: [("other".to_owned(), SourceSettings::default())].into(), ..shop::settings() };
    assert_eq!(again(dir.path(), gone, &clock), Some(EventSeq(1)), "a source that is no longer there");
    assert_eq!(again(dir.path(), shop::settings(), &clock), None, "asking changed nothing");
}

#[test]
fn ids_that_were_drawn_are_the_same_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = Settings::default();
    let source = SourceSettings { sessions: Sessions::Inactivity, ..SourceSettings::default() };
    settings.sources.insert("quiet".to_owned(), source);
    let clock = Arc::new(ManualClock::new(BEGIN));
    let engine = open(dir.path(), settings, &clock);
    for _ in 0..3 {
        let event = spoor::Event { event_type: "page-view".to_owned(), ..spoor::Event::default() };
        let request = TrackRequest {
            source: Some("quiet".to_owned()),
            events: vec![event.clone(), event],
            ..TrackRequest::default()
        };
        engine.track(request).expect("a sound request");
    }
    assert_eq!(engine.decide_again().expect("deciding again"), None);
    engine.close().expect("closing");
}
