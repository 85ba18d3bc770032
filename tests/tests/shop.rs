//! A stretch of a web shop's traffic: the engine and the model agree on it, and the order of arrival does not matter.
#![expect(clippy::expect_used, reason = "a test: a panic is its report")]

use spoor::Settings;
use spoor::model::PageRequest;
use spoor_tests::history::Dice;
use spoor_tests::scenario::{PageOf, Player, Step};
use spoor_tests::shop::{devices, requests, sessions, settings};
use spoor_tests::target::{Embedded, Maker, Naive};

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
#[ignore = "needs the engine's bodies"]
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

#[test]
#[ignore = "needs the engine's bodies"]
fn the_content_digest_does_not_depend_on_the_order_of_arrival() {
    let digest = |seed| {
        let report = imported(Embedded::make, seed).target().check().expect("the engine can check itself");
        assert_eq!(report.faults, Vec::<String>::new(), "order {seed}");
        report.content_digest
    };
    let expected = digest(0);
    for seed in 1..=ORDERS {
        assert_eq!(digest(seed), expected, "order {seed}");
    }
}
