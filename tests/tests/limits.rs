//! Bounds that are too large to be written out in a scenario.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test: a panic is its report")]

use spoor::limits::{
    AMBIGUOUS_MAX_IDS, EVENT_MAX_CONSENTS, EVENT_MAX_IDENTIFIERS, EVENT_MAX_TRAIT_OPERATIONS,
    FRAGMENT_MAX_CONSENTS, FRAGMENT_MAX_TRAITS, IDENTIFIER_MAX_BYTES, PROFILE_MAX_IDS, REQUEST_MAX_EVENTS,
    TRAIT_VALUE_MAX_BYTES,
};
use spoor::model::{AsOf, Profile, ReadError};
use spoor::settings::{Merges, NamespaceSettings};
use spoor::{Act, Consent, Event, Json, Reply, Settings, Timestamp, TrackRequest};
use spoor_tests::scenario::{BEGIN, Player};
use spoor_tests::target::{Embedded, Maker, Naive, Target};

fn event(fill: impl FnOnce(&mut Event)) -> Event {
    let mut event = Event { event_type: "t".to_owned(), ..Event::default() };
    fill(&mut event);
    event
}

fn request(session: &str, events: Vec<Event>) -> TrackRequest {
    TrackRequest { session: Some(session.to_owned()), events, ..TrackRequest::default() }
}

/// The code and the field of the rejection, or `accepted`.
fn answer(target: &mut dyn Target, event: Event) -> String {
    match target.track(&request("s-1", vec![event])) {
        Ok(_) => "accepted".to_owned(),
        Err(rejection) => format!("{} {}", rejection.code, rejection.field.unwrap_or_default()),
    }
}

fn names<T>(count: usize, value: impl Fn() -> T) -> Vec<(String, T)> {
    (0..count).map(|number| (format!("name-{number}"), value())).collect()
}

fn one() -> Json {
    Json::parse("1").expect("a number")
}

fn text(bytes: usize) -> Json {
    Json::parse(&format!("\"{}\"", "x".repeat(bytes - 2))).expect("a text")
}

/// What is refused is refused whole; what is just within the bound is not.
fn a_request_has_bounds(maker: Maker) {
    let mut player = Player::new(maker, &Settings::default());
    let target = player.target();
    let cases: [(&str, Event); 8] = [
        ("accepted", event(|event| event.identifiers = names(EVENT_MAX_IDENTIFIERS, || "v".to_owned()))),
        (
            "too_many_identifiers events[0].identifiers",
            event(|event| event.identifiers = names(EVENT_MAX_IDENTIFIERS + 1, || "v".to_owned())),
        ),
        ("accepted", event(|event| event.traits.set = names(EVENT_MAX_TRAIT_OPERATIONS, one))),
        (
            "too_many_traits events[0].traits",
            event(|event| {
                event.traits.set = names(EVENT_MAX_TRAIT_OPERATIONS, one);
                event.traits.unset = vec!["another".to_owned()];
            }),
        ),
        ("accepted", event(|event| event.consents = names(EVENT_MAX_CONSENTS, || Consent::Granted))),
        (
            "too_many_consents events[0].consents",
            event(|event| event.consents = names(EVENT_MAX_CONSENTS + 1, || Consent::Granted)),
        ),
        (
            "accepted",
            event(|event| event.traits.set = vec![("long".to_owned(), text(TRAIT_VALUE_MAX_BYTES))]),
        ),
        (
            "accepted",
            event(|event| event.identifiers = vec![("email".to_owned(), "v".repeat(IDENTIFIER_MAX_BYTES))]),
        ),
    ];
    for (expected, event) in cases {
        assert_eq!(answer(target, event), expected);
    }
    let long = [
        event(|event| event.traits.set = vec![("long".to_owned(), text(TRAIT_VALUE_MAX_BYTES + 1))]),
        event(|event| event.identifiers = vec![("email".to_owned(), "v".repeat(IDENTIFIER_MAX_BYTES + 1))]),
    ];
    for event in long {
        assert!(answer(target, event).starts_with("value_too_long events[0]."));
    }
    let many = vec![event(|_| ()); REQUEST_MAX_EVENTS + 1];
    let rejection = target.track(&request("s-2", many)).expect_err("one event too many");
    assert_eq!((rejection.code, rejection.field.as_deref()), ("too_many_events", Some("events")));
    assert!(target.session("s-2").is_err(), "nothing of it was written");
}

/// A fragment holds so many traits and consents; what goes beyond is refused by name, and the event is stored.
fn a_fragment_has_bounds(maker: Maker) {
    let mut player = Player::new(maker, &Settings::default());
    let target = player.target();
    let mut send = |events: Vec<Event>| -> Reply { target.track(&request("s-1", events)).expect("accepted") };
    let piece = 200;
    let all: Vec<(String, Json)> = names(FRAGMENT_MAX_TRAITS, one);
    let events = all.chunks(piece).map(|chunk| event(|event| event.traits.set = chunk.to_vec())).collect();
    assert!(send(events).events.iter().all(|event| event.refused.is_empty()));
    let known = ("name-7".to_owned(), one());
    let reply = send(vec![event(|event| event.traits.set = vec![known, ("new".to_owned(), one())])]);
    assert_eq!(reply.events[0].refused, [("traits.set.new".to_owned(), "trait_limit")]);

    let all: Vec<(String, Consent)> = names(FRAGMENT_MAX_CONSENTS, || Consent::Granted);
    let events = all.chunks(50).map(|chunk| event(|event| event.consents = chunk.to_vec())).collect();
    assert!(send(events).events.iter().all(|event| event.refused.is_empty()));
    let known = ("name-7".to_owned(), Consent::Refused);
    let reply = send(vec![event(|event| event.consents = vec![known, ("new".to_owned(), Consent::Granted)])]);
    assert_eq!(reply.events[0].refused, [("consents.new".to_owned(), "consent_limit")]);

    let profile = reply.profile.expect("a profile").id;
    let profile = target.profile(&profile).expect("it is there");
    assert_eq!((profile.traits.len(), profile.consents.len()), (FRAGMENT_MAX_TRAITS, FRAGMENT_MAX_CONSENTS));
    assert_eq!(
        profile.consents.iter().find(|(name, _)| name == "name-7").map(|(_, answer)| *answer),
        Some(Consent::Refused)
    );
}

/// One more device that has a value, seen at its own second; returns its id.
fn seen_with(target: &mut dyn Target, identifier: (&str, &str), second: usize) -> String {
    let time =
        Timestamp(BEGIN.0 - 10_000_000_000 + i64::try_from(second).expect("a small number") * 1_000_000);
    let of = (identifier.0.to_owned(), identifier.1.to_owned());
    let one = event(|event| (event.identifiers, event.time) = (vec![of], Some(time)));
    let reply = target.track(&request(&format!("{}-{second}", identifier.1), vec![one])).expect("accepted");
    reply.profile.expect("a profile").id
}

/// What a profile says of its only identifier is what the past says of it, from which nothing is left out.
fn shows_its_identifier(target: &mut dyn Target, id: &str) -> Profile {
    let now = target.profile(id).expect("it is there");
    let as_of = AsOf { at: Some(Timestamp(BEGIN.0 + 1_000_000_000)), until: None };
    let then = target.profile_as_of(id, as_of).expect("it was there");
    assert_eq!(now.identifiers.len(), 1, "{id} has one identifier");
    assert_eq!(now.identifiers, then.identifiers, "{id}");
    now
}

/// A value that very many had before, or have without being joined, is shown by whoever has it.
fn a_value_in_many_hands_is_shown(maker: Maker) {
    let mut settings = Settings::default();
    let attaches = NamespaceSettings { merges: Merges::Never, ..NamespaceSettings::default() };
    settings
        .identifiers
        .insert("shelf".to_owned(), NamespaceSettings { fragments_max: 1_000_000, ..attaches });
    let mut player = Player::new(maker, &settings);
    let target = player.target();
    let email = ("email", "old@x.example");
    let ids: Vec<String> = (0..PROFILE_MAX_IDS).map(|second| seen_with(target, email, second)).collect();
    shows_its_identifier(target, &ids[0]);
    let identifier = format!("{}:{}", email.0, email.1);
    let detach = Act::Detach { profile: ids[0].clone(), identifier: identifier.clone() };
    target.act(&detach, false).expect("detached");
    let id = seen_with(target, email, PROFILE_MAX_IDS);
    shows_its_identifier(target, &id);
    let found = target.profile_of_identifier(&identifier, AsOf::default()).expect("it has an owner");
    assert_eq!((found.id, found.identifiers.len()), (id, 1));

    let shelf = ("shelf", "a");
    let ids: Vec<String> = (0..=PROFILE_MAX_IDS).map(|second| seen_with(target, shelf, second)).collect();
    for id in [&ids[0], &ids[PROFILE_MAX_IDS]] {
        shows_its_identifier(target, id);
    }
    let several = target.profile_of_identifier("shelf:a", AsOf::default());
    let first = &ids[..AMBIGUOUS_MAX_IDS];
    assert!(matches!(several, Err(ReadError::AmbiguousId { candidates }) if candidates == first));
}

/// A person of very many devices shows each of its ids, when asked by it, and the identifier that joins them.
fn a_person_of_very_many_devices_is_shown(maker: Maker) {
    let mut player = Player::new(maker, &Settings::default());
    let target = player.target();
    let user = ("user_id", "ada");
    let ids: Vec<String> = (0..PROFILE_MAX_IDS + 100).map(|second| seen_with(target, user, second)).collect();
    for id in ids.iter().step_by(107).chain(ids.last()) {
        let profile = target.profile(id).expect("it is there");
        assert_eq!((&profile.id, &profile.primary_id), (id, &ids[0]));
        assert_eq!((profile.fragments, profile.ids.len()), (ids.len() as u64, PROFILE_MAX_IDS));
        assert_eq!(profile.ids[0], ids[0]);
        assert!(profile.ids.contains(id));
        assert_eq!(profile.identifiers.len(), 1);
        assert_eq!(Some(profile.identifiers[0].first_seen), profile.first_seen);
    }
}

/// A thousand events of one time keep their order.
fn a_request_keeps_its_order(maker: Maker) {
    let mut player = Player::new(maker, &Settings::default());
    let target = player.target();
    let value = |number: usize| Json::parse(&number.to_string()).expect("a number");
    let events = (0..REQUEST_MAX_EVENTS).map(|number| {
        event(|event| {
            event.id = Some(format!("e-{number}"));
            event.time = Some(Timestamp(BEGIN.0 - 1_000_000));
            event.traits.set = vec![("last".to_owned(), value(number))];
            event.traits.set_once = vec![("first".to_owned(), value(number))];
        })
    });
    let reply = target.track(&request("s-1", events.collect())).expect("accepted");
    let profile = target.profile(&reply.profile.expect("a profile").id).expect("it is there");
    let shown: Vec<String> = profile.traits.iter().map(|(name, json)| format!("{name} {json}")).collect();
    assert_eq!(shown, ["first 0", "last 999"]);
    let session = target.session("s-1").expect("it is there");
    assert_eq!((session.counters.events, session.duration_ms), (1_000, 0));
}

#[test]
fn the_model_keeps_the_bounds() {
    a_request_has_bounds(Naive::make);
    a_fragment_has_bounds(Naive::make);
    a_request_keeps_its_order(Naive::make);
}

#[test]
fn the_engine_keeps_the_bounds() {
    a_request_has_bounds(Embedded::make);
    a_fragment_has_bounds(Embedded::make);
    a_request_keeps_its_order(Embedded::make);
}

/// The model looks at every link of every fragment, which would take minutes here.
#[test]
fn the_engine_shows_identifiers_in_many_hands() {
    a_value_in_many_hands_is_shown(Embedded::make);
    a_person_of_very_many_devices_is_shown(Embedded::make);
}
