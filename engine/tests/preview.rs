//! What other rules would have made of what is stored: told, and nothing changed.

#![expect(clippy::expect_used, reason = "a test: a panic is its report")]

use spoor::json::Json;
use spoor::settings::{IdentificationPoint, Merges, ProfileIds, SourceSettings};
use spoor::{Act, Engine, Event, Settings, TrackRequest};

/// A device in a session of its own says who uses it: by an address, and by a number in the properties. Its id.
fn tell(engine: &Engine, session: &str, email: &str, customer: &str) -> String {
    let properties = Json::parse(&format!("{{\"customer\":\"{customer}\"}}")).expect("JSON");
    let event = Event {
        id: Some(format!("{session}-1")),
        event_type: "sign-in".to_owned(),
        identifiers: vec![("email".to_owned(), email.to_owned())],
        properties: Some(properties),
        ..Event::default()
    };
    let request =
        TrackRequest { session: Some(session.to_owned()), events: vec![event], ..TrackRequest::default() };
    engine.track(request).expect("an answer").profile.expect("a profile").id
}

fn sorted<const N: usize>(ids: [&String; N]) -> Vec<String> {
    let mut ids = ids.map(Clone::clone);
    ids.sort_unstable();
    ids.into()
}

#[test]
fn other_rules_are_tried_on_all_that_is_stored_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Settings::default()).unwrap();
    let ada = tell(&engine, "s-1", "ada@example.com", "7");
    let ada_too = tell(&engine, "s-2", "ada@example.com", "8");
    let bob = tell(&engine, "s-3", "bob@example.com", "9");
    let bob_too = tell(&engine, "s-4", "robert@example.com", "9");
    let before = engine.check().unwrap();

    let same = engine.preview_rules(&Settings::default(), 10).unwrap();
    assert_eq!((same.events, same.profiles_before, same.profiles_after), (4, 3, 3));
    assert_eq!((same.joined, same.parted), (vec![], vec![]));
    assert_eq!((same.ids_only_before, same.ids_only_after, same.acts_left_out), (0, 0, 0));

    let mut changed = Settings::default();
    changed.identifiers.get_mut("email").unwrap().merges = Merges::Never;
    changed.identifiers.insert("customer".to_owned(), spoor::settings::NamespaceSettings::default());
    changed.identification.push(IdentificationPoint {
        event: "sign-in".to_owned(),
        source: "*".to_owned(),
        identifiers: [("customer".to_owned(), "properties.customer".to_owned())].into(),
        verified: false,
    });
    let preview = engine.preview_rules(&changed, 10).unwrap();
    assert_eq!((preview.profiles_before, preview.profiles_after), (3, 3));
    assert_eq!(preview.parted, [sorted([&ada, &ada_too])]);
    assert_eq!(preview.joined, [sorted([&bob, &bob_too])]);
    let unlisted = engine.preview_rules(&changed, 0).unwrap();
    assert_eq!((unlisted.joined_profiles, unlisted.joined), (1, vec![]));

    // What a person decided is left out, and said to be.
    engine.act(Act::Merge { profile: ada, other: bob, force: false }, false).unwrap();
    let preview = engine.preview_rules(&Settings::default(), 10).unwrap();
    assert_eq!((preview.profiles_before, preview.profiles_after, preview.acts_left_out), (2, 3, 1));
    assert_eq!(preview.parted_profiles, 1);

    // Rules that contradict themselves are refused; nothing of all this was written.
    let mut wrong = Settings::default();
    wrong.identification.push(IdentificationPoint {
        identifiers: [("nobody".to_owned(), "properties.customer".to_owned())].into(),
        ..changed.identification[0].clone()
    });
    assert!(engine.preview_rules(&wrong, 10).unwrap_err().to_string().contains("nobody"));
    assert_eq!(engine.status().events, before.status.events);
    assert_eq!(engine.decide_again().unwrap(), None);
    engine.close().unwrap();
}

#[test]
fn the_same_id_in_two_id_spaces_is_two_people() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    for name in ["app", "shop"] {
        let source = SourceSettings { profile_ids: ProfileIds::Client, ..SourceSettings::default() };
        settings.sources.insert(name.to_owned(), source);
    }
    let engine = Engine::open(dir.path(), settings.clone()).unwrap();
    for name in ["app", "shop"] {
        let event = Event { event_type: "t".to_owned(), ..Event::default() };
        let request = TrackRequest {
            source: Some(name.to_owned()),
            session: Some(format!("s-{name}")),
            profile: Some("1001".to_owned()),
            events: vec![event],
            ..TrackRequest::default()
        };
        engine.track(request).unwrap();
    }
    let preview = engine.preview_rules(&settings, 10).unwrap();
    assert_eq!((preview.profiles_before, preview.profiles_after), (2, 2));
    assert_eq!((preview.joined_profiles, preview.parted_profiles), (0, 0));
    engine.close().unwrap();
}
