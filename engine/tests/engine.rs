//! The engine from outside: what a program that embeds it sees.

use spoor::model::{PageRequest, ReadError};
use spoor::settings::{ProfileIds, SourceSettings};
use spoor::{Engine, Environment, Error, Event, Settings, TrackError, TrackRequest};

fn event(id: &str, event_type: &str) -> Event {
    Event { id: Some(id.to_owned()), event_type: event_type.to_owned(), ..Event::default() }
}

fn request(session: &str, events: Vec<Event>) -> TrackRequest {
    TrackRequest { session: Some(session.to_owned()), events, ..TrackRequest::default() }
}

#[test]
fn a_first_visit_a_repeat_a_lost_id_and_every_kind_of_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Settings::default()).unwrap();
    let first = engine.track(request("s-1", vec![event("m-1", "page-view")])).unwrap();
    let profile = first.profile.unwrap();
    assert!(profile.created && first.session.unwrap().created);
    let again = engine.track(request("s-1", vec![event("m-1", "page-view")])).unwrap();
    assert_eq!(again.events[0].status.as_str(), "duplicate");
    assert_eq!(again.profile.unwrap().id, profile.id);
    let lost = engine.track(request("s-1", vec![event("m-2", "page-view")])).unwrap();
    assert_eq!(lost.profile.unwrap().reason.as_str(), "recovered");
    let before = engine.check().unwrap();
    assert_eq!(before.faults, Vec::<String>::new());
    engine.abandon();

    let engine = Engine::open(dir.path(), Settings::default()).unwrap();
    assert_eq!(engine.check().unwrap().store_digest, before.store_digest, "after a kill");
    engine.close().unwrap();
    let engine = Engine::open(dir.path(), Settings::default()).unwrap();
    assert_eq!(engine.check().unwrap().store_digest, before.store_digest, "after a clean stop");
    let snapshot = engine.snapshot().unwrap();
    let read = snapshot.profile(&profile.id).unwrap();
    assert_eq!((read.counters.events, read.counters.sessions, read.counters.page_views), (2, 1, 2));
    let events = snapshot.profile_events(&profile.id, &PageRequest::default()).unwrap();
    let ids: Vec<_> = events.items.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["m-2", "m-1"], "newest first");
    drop(snapshot);
    engine.close().unwrap();

    std::fs::remove_file(dir.path().join("index.redb")).unwrap();
    let engine = Engine::open(dir.path(), Settings::default()).unwrap();
    let after = engine.check().unwrap();
    assert_eq!((after.store_digest, after.faults), (before.store_digest, vec![]), "without an index");
    engine.close().unwrap();
}

#[test]
fn a_trusted_source_brings_its_ids_and_a_late_first_request_is_joined() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    let shop = SourceSettings { profile_ids: ProfileIds::Client, ..SourceSettings::default() };
    settings.sources.insert("shop".to_owned(), shop);
    let engine = Engine::open(dir.path(), settings).unwrap();
    let shop = |profile: Option<&str>, id: &str| TrackRequest {
        source: Some("shop".to_owned()),
        profile: profile.map(str::to_owned),
        ..request("s-1", vec![event(id, "page-view")])
    };
    let early = engine.track(shop(None, "m-1")).unwrap().profile.unwrap();
    let named = engine.track(shop(Some("ada"), "m-2")).unwrap().profile.unwrap();
    assert_eq!((named.id.as_str(), &named.primary_id), ("ada", &early.id));
    let status = engine.status();
    assert_eq!((status.fragments, status.profiles, status.sessions), (2, 1, 1));
    let profile = engine.snapshot().unwrap().profile("ada").unwrap();
    assert_eq!(profile.counters.sessions, 1, "a session counts once");
    assert_eq!(profile.ids, [early.id, "ada".to_owned()]);
    assert_eq!(engine.check().unwrap().faults, Vec::<String>::new());
    engine.close().unwrap();
}

#[test]
fn a_cursor_is_good_for_the_question_that_it_answered() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Settings::default()).unwrap();
    let mut profile = None;
    for session in ["s-1", "s-2"] {
        let events = ["m-1", "m-2"].map(|id| event(id, "page-view")).into();
        let sent = TrackRequest { profile: profile.clone(), ..request(session, events) };
        profile = engine.track(sent).unwrap().profile.map(|profile| profile.id);
    }
    let (profile, snapshot) = (profile.unwrap(), engine.snapshot().unwrap());
    let page = |cursor: Option<&String>, event_type: Option<&str>| PageRequest {
        limit: 1,
        cursor: cursor.cloned(),
        event_type: event_type.map(str::to_owned),
        ..PageRequest::default()
    };
    let first = snapshot.profile_events(&profile, &page(None, None)).unwrap();
    let cursor = first.cursor.as_ref();
    let second = snapshot.profile_events(&profile, &page(cursor, None)).unwrap();
    assert_ne!(first.items, second.items);
    let larger = PageRequest { limit: 9, ..page(cursor, None) };
    assert_eq!(
        snapshot.profile_events(&profile, &larger).unwrap().items.len(),
        3,
        "another limit is no other list"
    );
    let refusals = [
        snapshot.profile_sessions(&profile, &page(cursor, None)).map(drop),
        snapshot.session_events("s-1", &page(cursor, None)).map(drop),
        snapshot.profile_events(&profile, &page(cursor, Some("page-view"))).map(drop),
        snapshot.profile_events(&profile, &page(cursor, Some("never-seen"))).map(drop),
        snapshot.profile_events(&profile, &page(Some(&"1-1".to_owned()), None)).map(drop),
    ];
    for refusal in refusals {
        let Err(ReadError::Rejected(rejection)) = refusal else { panic!("{refusal:?}") };
        assert_eq!(rejection.code, "cursor_invalid");
    }
}

/// Somebody writes over the index while it is open. Whoever reads or writes is told, and no thread dies unheard.
#[test]
fn a_damaged_index_fails_reads_and_stops_writing() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.store.cache_bytes = 0;
    let engine = Engine::open(dir.path(), settings.clone()).unwrap();
    for session in 0..2_000 {
        engine.track(request(&format!("s-{session}"), vec![event("m", "page-view")])).unwrap();
    }
    let before = engine.check().unwrap();
    engine.checkpoint().unwrap();
    let index = std::fs::OpenOptions::new().write(true).open(dir.path().join("index.redb")).unwrap();
    for page in 1..index.metadata().unwrap().len() / 4_096 {
        index.write_all_at(&[0x5a; 4_096], page * 4_096).unwrap();
    }
    let read = engine.snapshot().unwrap().session("s-7");
    assert!(matches!(read, Err(ReadError::Failed(Error::Damaged { .. }))), "{read:?}");
    let written = engine.track(request("s-8", vec![event("n", "page-view")]));
    assert!(matches!(written, Err(TrackError::Failed(_))), "{written:?}");
    assert!(engine.failure().is_some_and(|reason| reason.contains("index.redb")));
    assert!(engine.close().is_err());
    drop(engine);
    Engine::rebuild(dir.path(), settings.clone(), Environment::default()).unwrap();
    let engine = Engine::open(dir.path(), settings).unwrap();
    assert_eq!(engine.check().unwrap().store_digest, before.store_digest, "nothing is lost");
}
