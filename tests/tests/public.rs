//! A browser's key learns nothing of others: whatever is sent with it, in any order, the answers are alike whether or
//! not the addresses in it are a customer's.
//!
//! `SPOOR_PUBLIC` says how many random visitors try it (40).
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use serde_json::Value;
use spoor::settings::{Keys, NamespaceSettings, Sessions, SourceSettings};
use spoor::{Act, Event, Settings, Timestamp, TrackRequest};
use spoor_server::protocol::{public, write};
use spoor_tests::target::{Embedded, Target};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    /// One of `sides` numbers from 0.
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.throw(words.len() as u64)).unwrap()]
    }
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.sources.insert("backend".to_owned(), SourceSettings::default());
    let open =
        SourceSettings { keys: Keys::Public, ids: Some("open".to_owned()), ..SourceSettings::default() };
    settings
        .sources
        .insert("gaps".to_owned(), SourceSettings { sessions: Sessions::Inactivity, ..open.clone() });
    settings.sources.insert("open".to_owned(), open);
    // So small that a visitor gets to the limits.
    let few = |before: &NamespaceSettings| NamespaceSettings {
        values_per_profile: 2,
        fragments_max: 3,
        ..before.clone()
    };
    let email = few(&settings.identifiers["email"]);
    settings.identifiers.insert("email".to_owned(), email);
    settings
}

/// A store in which a customer has these values, and what a visitor with a browser's key has seen of it.
struct World {
    store: Box<dyn Target>,
    /// The profile ids that the visitor was told, in this order.
    told: Vec<String>,
}

/// What a visitor does; `profile` is the place of an id among those told, and so is that of a device which is handed
/// over before.
#[derive(Debug, Clone)]
struct Step {
    request: TrackRequest,
    profile: Option<usize>,
    handed_over: Option<usize>,
}

const START_MS: i64 = 1_767_261_600_000;

impl World {
    fn new(identifiers: &[[(&str, &str); 2]]) -> Self {
        let mut store = Embedded::make(&settings(), Timestamp((START_MS + 7_200_000) * 1_000));
        for (place, values) in identifiers.iter().enumerate() {
            let identifiers = values.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned()));
            let event = Event {
                id: Some(format!("c-{place}")),
                event_type: "t".to_owned(),
                time: Some(Timestamp(START_MS * 1_000)),
                identifiers: identifiers.collect(),
                ..Event::default()
            };
            let source = Some("backend".to_owned());
            store
                .track(&TrackRequest { source, events: vec![event], ..TrackRequest::default() })
                .expect("a customer");
        }
        Self { store, told: Vec::new() }
    }

    /// What the visitor is told, with the place of each profile id instead of the id.
    fn answer(&mut self, step: &Step) -> Value {
        if let Some(profile) = step.handed_over.and_then(|place| self.told.get(place).cloned()) {
            let done = self.store.act(&Act::Handover { profile }, false).expect("a device");
            self.told.push(done.created.expect("an id"));
        }
        let mut request = step.request.clone();
        let known = step.profile.and_then(|place| self.told.get(place).cloned());
        request.profile = known.or(request.profile);
        let audience = write::Audience::Public { sent_profile: request.profile.clone() };
        let reply = self.store.track(&request).expect("a sound request");
        let reply = public::told(reply, request.session.is_some());
        let mut told: Value = serde_json::from_slice(&write::text(&write::reply(&reply, &audience))).unwrap();
        if let Some(id) = told["profile"]["id"].as_str().map(str::to_owned) {
            let place = self.told.iter().position(|other| *other == id).unwrap_or_else(|| {
                self.told.push(id);
                self.told.len() - 1
            });
            told["profile"]["id"] = place.into();
        }
        told
    }
}

fn step(dice: &mut Dice, count: usize) -> Step {
    let events = (0..=dice.throw(2)).map(|_| {
        let mut identifiers = Vec::new();
        for (namespace, values) in [
            ("user_id", &["c1", "u1", "u2"][..]),
            ("email", &["cust@x.example", "second@x.example", "e1@x.example", "e2@x.example"]),
            ("phone", &["+61412345670", "+61412345677"]),
        ] {
            if dice.throw(3) == 0 {
                identifiers.push((namespace.to_owned(), dice.one_of(values).to_owned()));
            }
        }
        Event {
            id: Some(dice.throw(30).to_string()),
            event_type: dice.one_of(&["t", "page-view"]).to_owned(),
            time: Some(Timestamp((START_MS + i64::try_from(dice.throw(120)).unwrap() * 60_000) * 1_000)),
            identifiers,
            ..Event::default()
        }
    });
    let events = events.collect();
    let session = (dice.throw(3) > 0).then(|| format!("s-{}", dice.throw(3)));
    let profile = match dice.throw(4) {
        0 => None,
        _ => Some(usize::try_from(dice.throw(count as u64 + 1)).unwrap()),
    };
    let lost = (dice.throw(8) == 0).then(|| "undefined".to_owned());
    let source = Some(dice.one_of(&["open", "open", "gaps"]).to_owned());
    let handed_over = (dice.throw(8) == 0).then(|| usize::try_from(dice.throw(6)).unwrap());
    Step {
        handed_over,
        request: TrackRequest { source, session, profile: lost, events, ..TrackRequest::default() },
        profile,
    }
}

#[test]
fn a_visitor_cannot_tell_whose_an_address_is() {
    let visitors = std::env::var("SPOOR_PUBLIC").map_or(40, |text| text.parse().expect("a number"));
    for seed in 0..visitors {
        let mut dice = Dice(seed);
        let customer = [
            [("user_id", "c1"), ("email", "cust@x.example")],
            [("user_id", "c1"), ("phone", "+61412345670")],
            [("user_id", "c2"), ("email", "second@x.example")],
        ];
        let stranger = [
            [("user_id", "n1"), ("email", "n1@x.example")],
            [("user_id", "n1"), ("phone", "+61412345999")],
            [("user_id", "n2"), ("email", "n2@x.example")],
        ];
        let mut worlds = [World::new(&customer), World::new(&stranger)];
        let mut steps = Vec::new();
        for count in 0..40 {
            let step = step(&mut dice, count.min(6));
            steps.push(step.clone());
            let [one, other] = &mut worlds;
            let (told, otherwise) = (one.answer(&step), other.answer(&step));
            if told != otherwise {
                panic!("visitor {seed}: {told}\nor {otherwise}\nafter {steps:#?}");
            }
        }
    }
}
