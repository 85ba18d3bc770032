//! Requests of client libraries that were made for another service: they name their devices themselves, whatever the
//! settings say of the source, and know of no session.
#![expect(clippy::unwrap_used, reason = "a test: a panic is its report")]

use spoor::settings::{Keys, SourceSettings};
use spoor::{Engine, Event, EventStatus, LinkOutcome, Origin, Reply, Settings, Timestamp, TrackRequest};

const BEGIN: Timestamp = Timestamp(1_790_000_000_000_000);
const MINUTE_US: i64 = 60_000_000;

/// An event of `device` so many minutes after the beginning, by the user `user`; either may be blank.
fn said(id: &str, device: &str, user: &str, minute: i64) -> TrackRequest {
    let identifiers = (!user.is_empty()).then(|| ("user_id".to_owned(), user.to_owned()));
    let event = Event {
        id: Some(id.to_owned()),
        event_type: "click".to_owned(),
        time: Some(Timestamp(BEGIN.0 + minute * MINUTE_US)),
        identifiers: identifiers.into_iter().collect(),
        ..Event::default()
    };
    let profile = (!device.is_empty()).then(|| device.to_owned());
    TrackRequest { profile, origin: Origin::Library, events: vec![event], ..TrackRequest::default() }
}

fn status(reply: &Reply) -> EventStatus {
    reply.events.first().unwrap().status
}

fn primary(reply: &Reply) -> String {
    reply.profile.clone().unwrap().primary_id
}

fn open(dir: &std::path::Path) -> Engine {
    let public = SourceSettings { keys: Keys::Public, ..SourceSettings::default() };
    let sources = [("default".to_owned(), SourceSettings::default()), ("web".to_owned(), public)];
    Engine::open(dir, Settings { sources: sources.into(), ..Settings::default() }).unwrap()
}

/// The log decided again gives the decisions that it holds, and every invariant holds.
fn sound(engine: &Engine) {
    assert_eq!(engine.decide_again().unwrap(), None);
    assert_eq!(engine.check().unwrap().faults, Vec::<String>::new());
}

#[test]
fn the_id_that_a_library_gives_a_device_is_that_devices() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let first = engine.track(said("m-1", "a-1", "", 0)).unwrap();
    assert_eq!(first.profile.clone().unwrap().id, "a-1");
    let second = engine.track(said("m-2", "a-1", "", 10)).unwrap();
    assert_eq!(second.session.unwrap().id, first.session.clone().unwrap().id, "no silence between them");
    let later = engine.track(said("m-3", "a-1", "", 100)).unwrap();
    assert_ne!(later.session.unwrap().id, first.session.clone().unwrap().id);
    let stranger = engine.track(said("m-1", "a-2", "", 0)).unwrap();
    assert_eq!(status(&stranger), EventStatus::Stored, "the same event id, on another device");
    assert_ne!(primary(&stranger), primary(&first));
    engine.abandon();
    let engine = open(dir.path());
    for (id, minute) in [("m-1", 0), ("m-2", 10), ("m-3", 100)] {
        assert_eq!(status(&engine.track(said(id, "a-1", "", minute)).unwrap()), EventStatus::Duplicate);
    }
    assert_eq!(engine.snapshot().unwrap().profile("a-1").unwrap().counters.events, 3);
    sound(&engine);
}

#[test]
fn a_user_is_one_person_with_a_device_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let by_server = engine.track(said("m-1", "", "u-1", 0)).unwrap();
    assert_eq!(status(&engine.track(said("m-1", "", "u-1", 0)).unwrap()), EventStatus::Duplicate);
    let again = engine.track(said("m-2", "", "u-1", 1)).unwrap();
    assert_eq!(again.profile.unwrap().id, by_server.profile.clone().unwrap().id, "one device for each user");
    engine.track(said("m-3", "a-1", "", 2)).unwrap();
    let known = engine.track(said("m-4", "a-1", "u-1", 3)).unwrap();
    assert_eq!(known.events.first().unwrap().links.first().unwrap().outcome, LinkOutcome::Merged);
    assert_eq!(primary(&known), primary(&by_server));
    assert_eq!(engine.snapshot().unwrap().profile("a-1").unwrap().counters.events, 4);
    sound(&engine);
}

#[test]
fn two_people_who_follow_each_other_on_one_device_stay_two() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let one = engine.track(said("m-1", "a-1", "u-1", 0)).unwrap();
    let other = engine.track(said("m-2", "a-1", "u-2", 1)).unwrap();
    assert_eq!(other.events.first().unwrap().links.first().unwrap().outcome, LinkOutcome::Switched);
    assert_ne!(primary(&other), primary(&one));
    assert_eq!(status(&engine.track(said("m-2", "a-1", "u-2", 1)).unwrap()), EventStatus::Duplicate);
    sound(&engine);
}

#[test]
fn a_session_never_chooses_whose_an_event_is() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let sent = |request: TrackRequest| TrackRequest { session: Some("s-1".to_owned()), ..request };
    let one = engine.track(sent(said("m-1", "a-1", "", 0))).unwrap();
    for (id, device, user) in [("m-2", "a-2", ""), ("m-3", "", "u-3")] {
        let other = engine.track(sent(said(id, device, user, 1))).unwrap();
        assert_ne!(primary(&other), primary(&one), "{id}");
        assert_eq!(other.session.unwrap().id, "s-1");
    }
    sound(&engine);
}

#[test]
fn a_public_key_names_devices_and_no_users() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let web = |request: TrackRequest| TrackRequest { source: Some("web".to_owned()), ..request };
    let device = engine.track(web(said("m-1", "a-1", "", 0))).unwrap();
    assert_eq!(device.profile.unwrap().id, "a-1");
    let one = engine.track(web(said("m-2", "", "u-1", 0))).unwrap();
    let two = engine.track(web(said("m-3", "", "u-1", 0))).unwrap();
    assert_ne!(one.profile.unwrap().id, two.profile.unwrap().id);
    assert_eq!(status(&engine.track(web(said("m-3", "", "u-1", 0))).unwrap()), EventStatus::Duplicate);
    sound(&engine);
}

#[test]
fn what_is_exported_is_imported_as_what_it_was() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = dirs.each_ref().map(|dir| open(dir.path()));
    for (id, user, minute) in [("m-1", "", 0), ("m-2", "u-1", 1), ("m-3", "u-2", 2)] {
        first.track(said(id, "a-1", user, minute)).unwrap();
    }
    for (_, request) in first.snapshot().unwrap().requests_after(0, 100).unwrap() {
        assert_eq!(request.origin, Origin::LibraryImport);
        second.track(request).unwrap();
    }
    let counted = |engine: &Engine| engine.snapshot().unwrap().profile("a-1").unwrap().counters;
    assert_eq!(counted(&second), counted(&first));
    assert_eq!(counted(&first).events, 2, "and the third is somebody else's");
}

/// Libraries and our own clients in one id space, in any order, with repeats: whatever comes, the store stays sound,
/// the log decided again says the same, and sending everything again stores nothing.
#[test]
fn libraries_and_other_clients_share_a_store() {
    for seed in 1..=8_u64 {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        let mut dice = seed;
        let mut roll = |bound: u64| {
            // The constants of Knuth's MMIX.
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % bound
        };
        let mut sent = Vec::new();
        for number in 0..150 {
            let device = ["", "a-1", "a-2", "a-3"][usize::try_from(roll(4)).unwrap()];
            let user = ["", "u-1", "u-2", "null"][usize::try_from(roll(4)).unwrap()];
            let mut request = said(&format!("m-{number}"), device, user, i64::try_from(roll(200)).unwrap());
            request.session = (roll(3) == 0).then(|| format!("s-{}", roll(4)));
            request.source = (roll(4) == 0).then(|| "web".to_owned());
            if roll(4) == 0 {
                (request.origin, request.profile) = (Origin::Live, None);
            }
            let reply = engine.track(request.clone()).unwrap();
            assert_eq!(status(&reply), EventStatus::Stored, "seed {seed}, {number}");
            sent.push((request, reply.events.first().unwrap().seq));
        }
        sound(&engine);
        engine.abandon();
        let engine = open(dir.path());
        for (request, seq) in sent {
            let again = engine.track(request.clone()).unwrap();
            let found = again.events.first().unwrap();
            assert_eq!((found.status, found.seq), (EventStatus::Duplicate, seq), "seed {seed}: {request:?}");
        }
        sound(&engine);
    }
}
