//! Bounds that are too large to be written out in a scenario.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test: a panic is its report")]

use spoor::limits::{
    EVENT_MAX_CONSENTS, EVENT_MAX_IDENTIFIERS, EVENT_MAX_TRAIT_OPERATIONS, FRAGMENT_MAX_CONSENTS,
    FRAGMENT_MAX_TRAITS, IDENTIFIER_MAX_BYTES, REQUEST_MAX_EVENTS, TRAIT_VALUE_MAX_BYTES,
};
use spoor::{Consent, Event, Json, Reply, Settings, TrackRequest};
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

/// A thousand events of one time keep their order.
fn a_request_keeps_its_order(maker: Maker) {
    let mut player = Player::new(maker, &Settings::default());
    let target = player.target();
    let value = |number: usize| Json::parse(&number.to_string()).expect("a number");
    let events = (0..REQUEST_MAX_EVENTS).map(|number| {
        event(|event| {
            event.id = Some(format!("e-{number}"));
            event.time = Some(spoor::Timestamp(BEGIN.0 - 1_000_000));
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
#[ignore = "needs the engine's bodies"]
fn the_engine_keeps_the_bounds() {
    a_request_has_bounds(Embedded::make);
    a_fragment_has_bounds(Embedded::make);
    a_request_keeps_its_order(Embedded::make);
}
