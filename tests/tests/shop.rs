//! A stretch of a web shop's traffic: the engine and the model agree on it, and the order of arrival does not matter.
#![expect(clippy::expect_used, reason = "a test: a panic is its report")]

use spoor::model::PageRequest;
use spoor::{Settings, TrackRequest};
use spoor_tests::history::Dice;
use spoor_tests::orders::{Grouping, Order, import, shortened};
use spoor_tests::scenario::{PageOf, Player, Step};
use spoor_tests::shop::{devices, requests, sessions, settings};
use spoor_tests::target::{Embedded, Maker, Naive};
use std::collections::BTreeSet;

const ORDERS: u64 = 20;

/// What is known of every device and session in the end, without what depends on the order of arrival.
fn imported(maker: Maker, seed: u64) -> Player {
    let settings: Settings = settings();
    let mut player = Player::new(maker, &settings);
    let mut requests = requests();
    if seed > 0 {
        Dice::new(seed).shuffle(&mut requests);
    }
    for request in requests {
        player.target().track(&request).expect("the sample is sound");
    }
    player
}

fn contents(player: &mut Player) -> Vec<String> {
    let mut contents = Vec::new();
    for device in devices() {
        let profile = player.target().profile(&device).expect("a device of the sample");
        contents.push(format!(
            "{device} {:?} {:?} {:?} {:?} {:?} {}",
            profile.traits,
            profile.consents,
            profile.counters,
            profile.first_seen,
            profile.last_seen,
            profile.ids.len()
        ));
    }
    for id in sessions() {
        let mut session = player.target().session(&id).expect("a session of the sample");
        let profile = session.profile.take().expect("nothing is profile-less");
        // What a library reads in a user agent is not the model's business.
        (session.device, session.os, session.browser) = (None, None, None);
        contents.push(format!("{session:?} {}", profile.id));
    }
    contents
}

#[test]
fn the_sample_is_what_its_note_says() {
    let (requests, mut player) = (requests(), imported(Naive::make, 0));
    assert_eq!((requests.len(), sessions().len(), devices().len()), (315, 41, 40));
    assert_eq!(requests.iter().filter(|request| request.profile.is_none()).count(), 25);
    let fragments: usize =
        devices().iter().map(|device| player.target().profile(device).expect("a device").ids.len()).sum();
    assert_eq!(fragments, 41, "one device was provisional");
    let events: u64 = devices()
        .iter()
        .map(|device| player.target().profile(device).expect("a device").counters.events)
        .sum();
    assert_eq!(events, 311, "four redeliveries count once");
}

#[test]
fn the_order_of_arrival_does_not_matter_to_the_model() {
    let without_fragments = |mut player: Player| -> Vec<String> {
        // How many devices a person has depends on whether a request without an id overtook another.
        contents(&mut player)
            .iter()
            .map(|line| line.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
            .collect()
    };
    let expected = without_fragments(imported(Naive::make, 0));
    for seed in 1..=3 {
        assert_eq!(without_fragments(imported(Naive::make, seed)), expected, "order {seed}");
    }
}

#[test]
fn the_engine_and_the_model_agree_on_the_sample() {
    let (mut engine, mut model) = (imported(Embedded::make, 0), imported(Naive::make, 0));
    assert_eq!(contents(&mut engine), contents(&mut model));
    for device in devices() {
        let step = Step::Pages(PageOf::Events, device, PageRequest { limit: 20, ..PageRequest::default() });
        assert_eq!(engine.step(&step), model.step(&step));
    }
    engine.step(&Step::Reopen);
    assert_eq!(contents(&mut engine), contents(&mut model), "opened again");
}

fn digest(settings: &Settings, requests: &[TrackRequest], order: Order) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let report = import(dir.path(), settings, &order.of(requests), &mut |_| {}).expect("sound requests");
    assert_eq!(report.faults, Vec::<String>::new(), "{order}");
    report.content_digest
}

/// `spoor-orders` does the same with a file of any size.
#[test]
fn the_content_digest_does_not_depend_on_order_and_grouping() {
    let (settings, requests) = (settings(), requests());
    let orders = Order::all(&requests, ORDERS);
    let digests: BTreeSet<String> = orders.iter().map(|order| digest(&settings, &requests, *order)).collect();
    assert_eq!(digests.len(), 1);
    let joined = Grouping::Joined.of(requests.clone(), &mut Dice::new(1));
    assert!(joined.len() < 250, "{} requests of 315 were joined to {}", requests.len(), joined.len());
    let split = Grouping::Split.of(joined, &mut Dice::new(1));
    assert_eq!(split.len(), 315);
}

/// Where the order decides, by the rules, two orders are told apart, and the few requests that matter are found.
#[test]
fn an_order_that_matters_is_found_and_shortened() {
    let (settings, mut requests) = (settings(), requests());
    requests.truncate(20);
    for (session, operation) in [("x-1", 0), ("x-2", 1)] {
        let mut event = spoor::Event { event_type: "note".to_owned(), ..Default::default() };
        event.id = Some(format!("of {session}"));
        event.time = requests[0].events[0].time;
        let value = spoor::Json::parse(["7", "1"][operation]).expect("a number");
        let traits = &mut event.traits;
        [&mut traits.set, &mut traits.add][operation].push(("kind".to_owned(), value));
        let first = &requests[0];
        let session = Some(session.to_owned());
        requests.push(TrackRequest { session, events: vec![event], ..first.clone() });
    }
    let sent = Order { grouping: Grouping::Sent, seed: 0 };
    let of = |seed| Order { seed, ..sent };
    let other = (1..20)
        .map(of)
        .find(|order| digest(&settings, &requests, *order) != digest(&settings, &requests, sent));
    let other = other.expect("an order in which the counter comes first");
    let rest = shortened(&settings, requests, [sent, other], &mut |_| {}).expect("sound requests");
    let events: Vec<&str> = rest.iter().map(|request| request.events[0].event_type.as_str()).collect();
    assert!(rest.len() <= 8 && events.iter().filter(|event| **event == "note").count() == 2, "{events:?}");
}
