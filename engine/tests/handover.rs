//! A device that hands itself over to another site: one record, which says the same live, rebuilt, decided again, to
//! those who follow, and of the past.
#![expect(clippy::unwrap_used, reason = "a test: a panic is its report")]

use spoor::change::Happened;
use spoor::model::{AsOf, LinkEnds, ReadError};
use spoor::{
    Act, ActError, Engine, Environment, Event, EventSeq, ManualClock, Settings, Timestamp, TrackRequest,
};
use std::path::Path;
use std::sync::Arc;

const BEGIN: Timestamp = Timestamp(1_767_261_600_000_000);
const MINUTE_US: i64 = 60_000_000;

fn open(dir: &Path, now: Timestamp) -> Engine {
    let clock = Arc::new(ManualClock::new(now));
    Engine::open_with(dir, Settings::default(), Environment { clock, ..Environment::default() }).unwrap()
}

fn track(engine: &Engine, session: &str, profile: Option<&str>) -> String {
    let event = Event { event_type: "look".to_owned(), time: Some(BEGIN), ..Event::default() };
    let request = TrackRequest {
        session: Some(session.to_owned()),
        profile: profile.map(str::to_owned),
        events: vec![event],
        ..TrackRequest::default()
    };
    engine.track(request).unwrap().profile.unwrap().id
}

fn handover(profile: &str) -> Act {
    Act::Handover { profile: profile.to_owned() }
}

fn digest(engine: &Engine) -> String {
    let report = engine.check().unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!(engine.decide_again().unwrap(), None);
    report.store_digest
}

#[test]
fn it_is_the_same_whenever_and_however_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), BEGIN);
    let shop = track(&engine, "s-1", None);
    engine.close().unwrap();

    // A minute later.
    let engine = open(dir.path(), Timestamp(BEGIN.0 + MINUTE_US));
    let done = engine.act(handover(&format!(" {} ", shop.to_uppercase())), false).unwrap();
    let (blog, merge) = (done.created.unwrap(), done.merge.unwrap());
    assert_eq!((done.seq, merge.as_str()), (Some(EventSeq(2)), "m2-0"));
    assert!(matches!(
        &done.added[0].ends,
        LinkEnds::Profiles { profile, other, kind: "handover" } if (profile, other) == (&shop, &blog)
    ));
    assert_eq!(track(&engine, "t-1", Some(&blog)), blog);
    let live = digest(&engine);

    let changes = engine.snapshot().unwrap().changes_after(1, 1).unwrap();
    let Happened::Act(acted) = &changes[0].happened else { panic!("{changes:?}") };
    assert_eq!((acted.kind, &acted.act), ("handed_over", &handover(&format!(" {} ", shop.to_uppercase()))));
    assert_eq!((&changes[0].created, changes[0].merges.len()), (&vec![blog.clone()], 1));
    assert_eq!(changes[0].merges[0].profiles, [shop.clone(), blog.clone()]);
    assert_eq!(changes[0].profiles[0].ids, [shop.clone(), blog.clone()]);

    // As it was known before, and since.
    let snapshot = engine.snapshot().unwrap();
    let ids_at = |id: &str, at: i64| {
        let as_of = AsOf { at: Some(Timestamp(at)), until: None };
        snapshot.profile_as_of(id, as_of).map(|profile| profile.ids)
    };
    assert_eq!(ids_at(&shop, BEGIN.0 + 1).unwrap(), std::slice::from_ref(&shop));
    assert!(matches!(ids_at(&blog, BEGIN.0 + 1), Err(ReadError::NotFound)));
    assert_eq!(ids_at(&blog, BEGIN.0 + 2 * MINUTE_US).unwrap(), [shop.clone(), blog.clone()]);
    drop(snapshot);

    // By other rules it would be handed over too, and nothing sent with its id would be lost.
    let mut rules = Settings::default();
    rules.identifiers.get_mut("email").unwrap().unique = true;
    let preview = engine.preview_rules(&rules, 10).unwrap();
    assert_eq!((preview.profiles_before, preview.profiles_after, preview.acts_left_out), (1, 1, 0));
    assert_eq!((preview.ids_only_before, preview.ids_only_after), (0, 0));

    // Killed; with an index and without one.
    engine.abandon();
    let engine = open(dir.path(), Timestamp(BEGIN.0 + 2 * MINUTE_US));
    assert_eq!(digest(&engine), live);
    assert_eq!(engine.snapshot().unwrap().changes_after(1, 1).unwrap(), changes);
    engine.close().unwrap();
    std::fs::remove_file(dir.path().join("index.redb")).unwrap();
    let engine = open(dir.path(), Timestamp(BEGIN.0 + 2 * MINUTE_US));
    assert_eq!(digest(&engine), live);

    // Undone, each keeps its own.
    let undone = engine.act(Act::Undo { merge, keep_apart: false }, false).unwrap();
    assert_eq!((undone.removed.len(), undone.after.len(), undone.created), (1, 2, None));
    let snapshot = engine.snapshot().unwrap();
    for id in [&shop, &blog] {
        let profile = snapshot.profile(id).unwrap();
        assert_eq!((profile.ids, profile.counters.events), (vec![id.clone()], 1));
    }
    digest(&engine);
}

#[test]
fn a_preview_names_no_id_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), BEGIN);
    let shop = track(&engine, "s-1", None);
    let before = digest(&engine);
    let preview = engine.act(handover(&shop), true).unwrap();
    assert_eq!((preview.seq, preview.created, preview.merge), (None, None, None));
    assert_eq!((preview.added, preview.before[0].ids, preview.after[0].ids), (Vec::new(), 1, 2));
    assert_eq!(digest(&engine), before);
    for odd in ["", "nobody", "default:1001", "01900000-0000-7000-8000-000000000001", &"x".repeat(10_000)] {
        let refused = engine.act(handover(odd), false);
        assert!(
            matches!(&refused, Err(ActError::NotFound(no)) if no.code == "profile_unknown"),
            "{odd}: {refused:?}"
        );
    }
    assert_eq!(digest(&engine), before);
    // Each time another.
    let made: Vec<_> = (0..3).map(|_| engine.act(handover(&shop), false).unwrap().created.unwrap()).collect();
    let mut ids = engine.snapshot().unwrap().profile(&shop).unwrap().ids;
    ids.remove(0);
    assert_eq!(ids, made);
    assert!(made[0] != made[1] && made[1] != made[2]);
}
