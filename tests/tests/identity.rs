//! Who is who, under load, in any order, in small worlds, and against what is known from elsewhere.
//!
//! `SPOOR_WORLDS` says how many small worlds are tried (150), `SPOOR_WORLDS_SEED` where to begin (1).
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test: a panic is its report")]

use spoor::model::AsOf;
use spoor::settings::{ProfileIds, SourceSettings};
use spoor::{Act, Event, Json, LinkOutcome, Settings, Timestamp, TrackRequest};
use spoor_tests::history::{Dice, difference, shortened};
use spoor_tests::orders::{Grouping, Order, import};
use spoor_tests::scenario::{BEGIN, Step};
use spoor_tests::shop;
use spoor_tests::target::{Embedded, Maker, Naive, Target};
use spoor_tests::truth::{partition_of, people, people_truth};
use std::collections::{BTreeMap, BTreeSet};

/// A source that brings its own profile ids.
fn settings() -> Settings {
    let app = SourceSettings { profile_ids: ProfileIds::Client, ..SourceSettings::default() };
    Settings { sources: [("app".to_owned(), app)].into(), ..Settings::default() }
}

fn event(id: &str, seconds: i64, identifiers: &[(&str, &str)]) -> Event {
    let text = |(namespace, value): &(&str, &str)| ((*namespace).to_owned(), (*value).to_owned());
    let mut event = Event {
        id: Some(id.to_owned()),
        event_type: "t".to_owned(),
        time: Some(Timestamp(BEGIN.0 - 7_200_000_000 + seconds * 1_000_000)),
        identifiers: identifiers.iter().map(text).collect(),
        ..Event::default()
    };
    event.traits.add.push(("count".to_owned(), Json::parse("1").expect("a number")));
    event.traits.set.push((format!("of-{id}"), Json::parse("true").expect("a flag")));
    event
}

fn of_device(device: &str, events: Vec<Event>) -> TrackRequest {
    TrackRequest {
        source: Some("app".to_owned()),
        profile: Some(device.to_owned()),
        events,
        ..TrackRequest::default()
    }
}

/// Ten people log in by turns at one device: ten profiles, ten fragments there, and each event with its person.
fn take_turns(maker: Maker, turns: usize) {
    const PEOPLE: usize = 10;
    let mut target = maker(&settings(), BEGIN);
    let mut seen: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for turn in 0..turns {
        let person = turn * 7 % PEOPLE;
        let user = format!("user-{person}");
        let login = event(&format!("login-{turn}"), 1, &[("user_id", &user)]);
        let click = event(&format!("click-{turn}"), 2, &[]);
        let reply = target.track(&of_device("kiosk", vec![login, click])).expect("a sound request");
        let outcome = reply.events[0].links[0].outcome;
        let expected = if turn == 0 { LinkOutcome::Attached } else { LinkOutcome::Switched };
        assert_eq!(outcome, expected, "turn {turn}");
        seen.entry(person).or_default().insert(reply.profile.expect("a profile").id);
    }
    let fragments: BTreeSet<&String> = seen.values().flatten().collect();
    assert_eq!(fragments.len(), PEOPLE, "each has one fragment of the device, always the same");
    for fragment in fragments {
        let profile = target.profile(fragment).expect("a person");
        assert_eq!((profile.ids.len(), profile.counters.events), (1, (turns / PEOPLE * 2) as u64));
    }
    if let Some(report) = target.check() {
        assert_eq!(report.faults, Vec::<String>::new());
    }
}

#[test]
fn ten_people_at_one_device_are_ten_profiles() {
    take_turns(Embedded::make, 1_000);
    take_turns(Naive::make, 100);
}

/// Requests that link overlapping identifiers, all at once: one profile, no trait and no count lost.
#[test]
fn parallel_links_make_one_profile() {
    const REQUESTS: usize = 200;
    const THREADS: usize = 8;
    let store = Embedded::new(&settings(), BEGIN);
    let engine = store.engine();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in (thread..REQUESTS).step_by(THREADS) {
                    let (email, phone) = (
                        format!("a{}@x.example", number / 2),
                        format!("+614123450{:02}", number.div_ceil(2) % 100),
                    );
                    let said = event(&format!("e-{number}"), 1, &[("email", &email), ("phone", &phone)]);
                    engine.track(of_device(&format!("d-{number}"), vec![said])).expect("a sound request");
                }
            });
        }
    });
    let profile = engine.snapshot().expect("a snapshot").profile("d-0").expect("a profile");
    // Emails join pairs, phone numbers the next ones, and the last number is the first again; but twenty values of
    // a namespace is what a profile may have, so that longer chains stop there.
    let report = engine.check().expect("a check");
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!(profile.fragments, profile.counters.events);
    let all = (0..REQUESTS).map(|number| format!("d-{number}")).collect::<Vec<_>>();
    let groups = partition_of(engine, &all).expect("known devices");
    let snapshot = engine.snapshot().expect("a snapshot");
    for group in groups {
        let one = snapshot.profile(group.first().expect("a device")).expect("a profile");
        assert_eq!(one.counters.events, group.len() as u64, "no event lost");
        assert_eq!(one.traits.len(), group.len() + 1, "no trait lost");
        let count = one.traits.iter().find(|(name, _)| name == "count").map(|(_, json)| json.to_string());
        assert_eq!(count, Some(group.len().to_string()), "no count lost");
    }
}

/// The same with one address for all: every one of them joins.
#[test]
fn parallel_logins_of_one_person_make_one_profile() {
    const REQUESTS: usize = 200;
    let store = Embedded::new(&settings(), BEGIN);
    let engine = store.engine();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for number in (thread..REQUESTS).step_by(8) {
                    let email = format!("a{}@x.example", number % 10);
                    let said = event(&format!("e-{number}"), 1, &[("user_id", "ada"), ("email", &email)]);
                    engine.track(of_device(&format!("d-{number}"), vec![said])).expect("a sound request");
                }
            });
        }
    });
    let profile = engine.snapshot().expect("a snapshot").profile("d-17").expect("a profile");
    assert_eq!(profile.fragments, REQUESTS as u64);
    assert_eq!(profile.counters.events, REQUESTS as u64);
    assert_eq!(profile.traits.len(), REQUESTS + 1);
    assert_eq!(profile.identifiers.len(), 11);
    assert!(engine.check().expect("a check").faults.is_empty());
    assert_eq!(engine.decide_again().expect("deciding again"), None);
}

/// A page is seen, a backend signs somebody up, and the device says who that was (row E13): one person, whatever came
/// first, and nothing has to wait for anything.
#[test]
fn a_user_is_one_person_in_any_order_of_arrival() {
    let mut settings = settings();
    settings
        .sources
        .insert("backend".to_owned(), SourceSettings { server: true, ..SourceSettings::default() });
    let of_backend =
        |events| TrackRequest { source: Some("backend".to_owned()), events, ..TrackRequest::default() };
    let requests = [
        of_device("anonymous", vec![event("view", 1, &[])]),
        of_backend(vec![event("sign-up", 2, &[("user_id", "alice")])]),
        of_device("anonymous", vec![event("sign-in", 3, &[("user_id", "alice")])]),
    ];
    for maker in [Embedded::make as Maker, Naive::make] {
        let mut told = BTreeSet::new();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut target = maker(&settings, BEGIN);
            for at in order {
                target.track(&requests[at]).expect("a sound request");
            }
            let profile = target.profile("anonymous").expect("a profile");
            assert_eq!((profile.ids.len(), profile.counters.events), (2, 3), "{order:?}");
            let seen = (profile.first_seen, profile.last_seen);
            told.insert(format!("{:?} {:?} {seen:?}", profile.traits, profile.identifiers));
        }
        assert_eq!(told.len(), 1, "{told:?}");
    }
}

/// What a profile is, without what an act is allowed to leave behind.
fn content(target: &mut dyn Target, id: &str) -> String {
    let profile = target.profile(id).expect("a profile");
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        profile.ids,
        profile.traits,
        profile.consents,
        profile.counters,
        profile.first_seen,
        profile.last_seen
    )
}

/// Merged and undone is never merged, with what came in between; and the same identifier does not redo it.
#[test]
fn a_merge_that_is_undone_never_was() {
    for seed in 1..=20 {
        let mut dice = Dice::new(seed);
        let mut worlds = [Embedded::make(&settings(), BEGIN), Embedded::make(&settings(), BEGIN)];
        let mut requests: Vec<TrackRequest> = (0..12)
            .map(|number| {
                let device = ["a", "a2", "b", "b2"][usize::try_from(dice.below(4)).expect("small")];
                let email = if device.starts_with('a') { "a@x.example" } else { "b@x.example" };
                let named = [("email", email)];
                let identifiers = if number < 4 { &named[..] } else { &[] };
                let seconds = i64::try_from(dice.below(50)).expect("small");
                of_device(device, vec![event(&format!("e-{number}"), seconds, identifiers)])
            })
            .collect();
        for (number, device) in ["a", "a2", "b", "b2"].iter().enumerate() {
            let email = if device.starts_with('a') { "a@x.example" } else { "b@x.example" };
            requests
                .insert(0, of_device(device, vec![event(&format!("f-{number}"), 1, &[("email", email)])]));
        }
        let merging = 4 + usize::try_from(dice.below(10)).expect("small");
        requests.insert(merging, of_device("b", vec![event("merging", 9, &[("email", "a@x.example")])]));
        let mut merge = None;
        for (number, request) in requests.iter().enumerate() {
            let reply = worlds[0].track(request).expect("a sound request");
            let mut without = request.clone();
            if number == merging {
                merge = reply.events[0].links[0].merge.clone();
                without.events[0].identifiers.clear();
            }
            worlds[1].track(&without).expect("a sound request");
        }
        let undo = Act::Undo { merge: merge.expect("a merge"), keep_apart: false };
        worlds[0].act(&undo, false).expect("a merge to undo");
        let again = of_device("b", vec![event("again", 10, &[("email", "a@x.example")])]);
        let reply = worlds[0].track(&again).expect("a sound request");
        assert_eq!(reply.events[0].links[0].code, Some("cut"), "seed {seed}");
        let mut without = again;
        without.events[0].identifiers.clear();
        worlds[1].track(&without).expect("a sound request");
        for device in ["a", "a2", "b", "b2"] {
            let [with, never] = worlds.each_mut().map(|world| content(&mut **world, device));
            assert_eq!(with, never, "seed {seed}, device {device}");
        }
        assert_eq!(worlds[0].check().map(|report| report.faults), Some(Vec::new()));
    }
}

/// What was known at a time is what a store knows that saw nothing later.
#[test]
fn the_past_is_what_a_store_knew_that_saw_no_more() {
    let devices = ["a", "b", "c", "d"];
    for seed in 1..=10 {
        let mut dice = Dice::new(seed);
        let (mut whole, mut part) = (Embedded::make(&settings(), BEGIN), Embedded::make(&settings(), BEGIN));
        let mut merges: Vec<String> = Vec::new();
        let cut = dice.below(30);
        let mut at = None;
        for number in 0..30_u64 {
            let now = Timestamp(BEGIN.0 + i64::try_from(number).expect("small") * 1_000_000);
            if number == cut {
                at = Some(Timestamp(now.0 - 500_000));
            }
            whole.set_clock(now);
            if number < cut {
                part.set_clock(now);
            }
            if dice.below(5) == 0 && !merges.is_empty() {
                let merge =
                    merges.swap_remove(usize::try_from(dice.below(merges.len() as u64)).expect("small"));
                let undo = Act::Undo { merge, keep_apart: dice.below(2) == 0 };
                let done = whole.act(&undo, false).is_ok();
                if number < cut {
                    assert_eq!(part.act(&undo, false).is_ok(), done);
                }
                continue;
            }
            let device = devices[usize::try_from(dice.below(4)).expect("small")];
            let email = format!("{}@x.example", dice.below(3));
            let seconds = i64::try_from(dice.below(50)).expect("small");
            let request =
                of_device(device, vec![event(&format!("e-{number}"), seconds, &[("email", &email)])]);
            let reply = whole.track(&request).expect("a sound request");
            merges.extend(reply.events[0].links[0].merge.clone());
            if number < cut {
                part.track(&request).expect("a sound request");
            }
        }
        let as_of = AsOf { at, until: None };
        for reopened in [false, true] {
            if reopened {
                whole.reopen();
            }
            for device in devices {
                let then = whole.profile_as_of(device, as_of).map(|profile| format!("{profile:?}"));
                let known = part.profile(device).map(|profile| format!("{profile:?}"));
                assert_eq!(then.ok(), known.ok(), "seed {seed}, {device} at {at:?}, reopened {reopened}");
            }
        }
    }
}

/// The chain that is shown is one of links that hold, and the cut parts the two and nothing smaller does.
#[test]
fn an_explanation_is_true_and_minimal() {
    let mut explained = 0;
    for seed in 1..=20 {
        let mut dice = Dice::new(seed);
        let mut store = Embedded::make(&settings(), BEGIN);
        let mut edges: BTreeSet<(String, String)> = BTreeSet::new();
        for number in 0..14 {
            let (device, email) =
                (format!("d{}", dice.below(6)), format!("email:{}@x.example", dice.below(5)));
            let value = email.trim_start_matches("email:").to_owned();
            let request = of_device(&device, vec![event(&format!("e-{number}"), 1, &[("email", &value)])]);
            store.track(&request).expect("a sound request");
            edges.insert((device, email));
        }
        for other in 1..6 {
            let (from, to) = ("d0".to_owned(), format!("d{other}"));
            let Ok(explanation) = store.explain(&from, &to) else { continue };
            assert_eq!(explanation.same, connected(&edges, &from, &to), "seed {seed} {to}");
            if !explanation.same {
                assert!(explanation.chain.is_empty() && explanation.cut_links.is_empty());
                continue;
            }
            explained += 1;
            let ends = |link: &spoor::model::Link| match &link.ends {
                spoor::model::LinkEnds::Identifier { profile, identifier } => {
                    (profile.clone(), identifier.clone())
                }
                spoor::model::LinkEnds::Profiles { .. } => panic!("no direct link was made"),
            };
            let chain: Vec<_> = explanation.chain.iter().map(ends).collect();
            assert!(chain.iter().all(|edge| edges.contains(edge)), "seed {seed} {chain:?}");
            let mut at = from.clone();
            for pair in chain.chunks(2) {
                assert_eq!((&pair[0].0, &pair[0].1), (&at, &pair[1].1), "seed {seed} {chain:?}");
                at.clone_from(&pair[1].0);
            }
            assert_eq!(at, to, "seed {seed} {chain:?}");
            let cut: BTreeSet<_> = explanation.cut_links.iter().map(ends).collect();
            let rest = edges.difference(&cut).cloned().collect();
            assert!(!connected(&rest, &from, &to), "seed {seed} {cut:?}");
            assert!(!parted_by_fewer(&edges, cut.len() - 1, &from, &to), "seed {seed} {cut:?}");
            let gone = explanation.cut_identifiers.expect("identifiers alone join");
            let rest = edges.iter().filter(|(_, email)| !gone.contains(email)).cloned().collect();
            assert!(!connected(&rest, &from, &to), "seed {seed} {gone:?}");
        }
    }
    assert!(explained > 20, "only {explained} were one");
}

fn connected(edges: &BTreeSet<(String, String)>, from: &str, to: &str) -> bool {
    let mut reached: BTreeSet<&str> = [from].into();
    loop {
        let before = reached.len();
        for (device, email) in edges {
            if reached.contains(device.as_str()) || reached.contains(email.as_str()) {
                reached.extend([device.as_str(), email.as_str()]);
            }
        }
        if reached.len() == before {
            return reached.contains(to);
        }
    }
}

fn parted_by_fewer(edges: &BTreeSet<(String, String)>, count: usize, from: &str, to: &str) -> bool {
    if !connected(edges, from, to) {
        return true;
    }
    count > 0
        && edges.iter().any(|edge| {
            let mut rest = edges.clone();
            rest.remove(edge);
            parted_by_fewer(&rest, count - 1, from, to)
        })
}

/// A history of a small world: three devices, two users and two addresses, five events or undos.
fn small_world(dice: &mut Dice) -> Vec<Step> {
    const SAID: [&[(&str, &str)]; 8] = [
        &[("user_id", "u")],
        &[("user_id", "v")],
        &[("email", "a@x.example")],
        &[("email", "b@x.example")],
        &[("user_id", "u"), ("email", "a@x.example")],
        &[("user_id", "v"), ("email", "b@x.example")],
        &[("user_id", "u"), ("email", "b@x.example")],
        &[],
    ];
    let small = |dice: &mut Dice, bound| usize::try_from(dice.below(bound)).expect("small");
    let mut steps = Vec::new();
    for number in 0..5 {
        if dice.below(8) == 0 {
            steps.push(Step::Act(
                Act::Undo { merge: "m~1".to_owned(), keep_apart: dice.below(2) == 0 },
                false,
            ));
        }
        let device = ["d1", "d2", "d3"][small(dice, 3)];
        let said = event(&format!("e-{number}"), 1 + number, SAID[small(dice, 8)]);
        let mut request = of_device(device, vec![said]);
        request.session = (dice.below(3) == 0).then(|| "s-1".to_owned());
        if request.session.is_some() && dice.below(4) == 0 {
            request.profile = None;
        }
        steps.push(Step::Track(Box::new(request)));
    }
    for id in ["d1", "d2", "d3", "P1", "P2", "P3"] {
        steps.push(Step::Profile(id.to_owned(), AsOf::default()));
        steps.push(Step::Explain("d1".to_owned(), id.to_owned()));
    }
    steps.push(Step::Session("s-1".to_owned()));
    steps.push(Step::Check);
    steps
}

#[test]
fn small_worlds_are_decided_as_the_model_does() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let begin = number("SPOOR_WORLDS_SEED", 1);
    for seed in begin..begin + number("SPOOR_WORLDS", 150) {
        let steps = small_world(&mut Dice::new(seed));
        let makers: [Maker; 2] = [Embedded::make, Naive::make];
        if difference(&steps, &settings(), makers).is_some() {
            panic!("seed {seed}:\n{}", shortened(steps, &settings(), makers));
        }
    }
}

/// `spoor-truth` does the same with a file of any size.
#[test]
fn people_with_several_devices_are_who_they_are_known_to_be() {
    const ORDERS: u64 = 20;
    let (requests, truth) = (people(), people_truth());
    let devices: Vec<String> = truth.iter().flatten().cloned().collect();
    assert_eq!((requests.len(), devices.len(), truth.len()), (217, 66, 22));
    let mut digests = BTreeSet::new();
    for seed in 0..=ORDERS {
        let dir = tempfile::tempdir().expect("a directory");
        let sent = Order { grouping: Grouping::Sent, seed }.of(&requests);
        let report = import(dir.path(), &shop::settings(), &sent, &mut |_| {}).expect("sound requests");
        assert_eq!(report.faults, Vec::<String>::new());
        digests.insert(report.content_digest);
        let engine = spoor::Engine::open(dir.path(), shop::settings()).expect("the store again");
        assert_eq!(partition_of(&engine, &devices), Ok(truth.clone()), "order {seed}");
    }
    assert_eq!(digests.len(), 1, "one content, whatever the order");
}
