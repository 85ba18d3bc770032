//! Who is who in small worlds, exhaustively: every sequence of up to four steps, decided in memory, after each of them
//! compared with the model and looked at by itself.
//!
//! Up to three devices and four identifiers, of which an event brings none, one or two. `SPOOR_WORLD_EVENTS` says how
//! long sequences get (4). Where a step may be more than an event, and in the variants, they are one shorter.
#![expect(clippy::panic, clippy::expect_used, reason = "a test: a panic is its report")]

use spoor::Settings;
use spoor::core::person::person_of;
use spoor::core::root::{fragment_row, members_of, root_of};
use spoor::core::rows::LinkKey;
use spoor::core::view::{State, View};
use spoor::ids::{FragmentNo, IdentifierNo};
use spoor::settings::{Merges, NamespaceSettings, ProfileIds, SourceSettings};
use spoor_tests::world::{Letter, Place, Shape, World, faults};
use std::collections::BTreeSet;

const STEPS: usize = 4;

fn steps_max() -> usize {
    std::env::var("SPOOR_WORLD_EVENTS").map_or(STEPS, |text| text.parse().expect("a number"))
}

/// One source; `shy` may only attach.
fn settings() -> Settings {
    let source = |merges| SourceSettings {
        ids: Some("app".to_owned()),
        profile_ids: ProfileIds::Client,
        merges,
        ..SourceSettings::default()
    };
    let sources = [("app", source(Merges::Always)), ("shy", source(Merges::Never))];
    let sources = sources.into_iter().map(|(name, source)| (name.to_owned(), source)).collect();
    Settings { sources, ..Settings::default() }
}

fn shape(identifiers: &[(&'static str, &'static str)]) -> Shape {
    Shape {
        settings: settings(),
        sources: vec!["app"],
        devices: 3,
        identifiers: identifiers.to_vec(),
        in_order: true,
        undo: false,
        look: |_| {},
    }
}

/// Two users and two addresses: where conflicts and switches are. What is known first sorts first.
fn users_and_addresses() -> Shape {
    shape(&[("user_id", "u"), ("user_id", "v"), ("email", "a@x.example"), ("email", "b@x.example")])
}

/// Four values of a namespace that is not unique: nothing ever stands in the way.
fn addresses() -> Shape {
    shape(&["a@x.example", "b@x.example", "c@x.example", "d@x.example"].map(|value| ("email", value)))
}

/// Walks a world; of four steps the number of sequences is known.
fn walk(shape: Shape, steps_max: usize, expected: (usize, u64)) {
    let begun = std::time::Instant::now();
    let sequences = World::new(shape, steps_max).walk();
    eprintln!("{sequences} sequences of up to {steps_max} steps in {:?}", begun.elapsed());
    if steps_max == expected.0 {
        assert_eq!(sequences, expected.1);
    }
}

#[test]
fn two_users_and_two_addresses() {
    walk(users_and_addresses(), steps_max(), (4, 71_872));
}

/// Values of one event are decided in their order, so that what is known later may as well sort first.
#[test]
fn two_users_and_two_addresses_that_sort_the_other_way() {
    let mut shape = users_and_addresses();
    shape.identifiers.swap(2, 3);
    walk(shape, steps_max() - 1, (3, 2_474));
}

/// Where nothing stands in the way, people are what was said connects, in whatever order it was said.
fn look_for_what_was_said(place: &Place) {
    let mut groups: Vec<(BTreeSet<usize>, BTreeSet<usize>)> = Vec::new();
    for letter in &place.path {
        let Letter::Event { device, identifiers, .. } = letter else { panic!("{letter:?}") };
        let mut group = (BTreeSet::from([*device]), identifiers.iter().copied().collect::<BTreeSet<_>>());
        groups.retain(|(devices, said)| {
            let apart = devices.is_disjoint(&group.0) && said.is_disjoint(&group.1);
            if !apart {
                group.0.extend(devices);
                group.1.extend(said);
            }
            apart
        });
        groups.push(group);
    }
    // Devices come in order of number, and each is one fragment.
    let device = |fragment: FragmentNo| usize::try_from(fragment.0).expect("small") - 1;
    let roots = (1..=place.state.counters().fragment.0).map(FragmentNo);
    let people = roots.map(|no| root_of(&place.state, no).expect("a root"));
    let members = people.map(|root| members_of(&place.state, root).expect("members"));
    let people: BTreeSet<BTreeSet<usize>> =
        members.map(|members| members.into_iter().map(device).collect()).collect();
    let said: BTreeSet<BTreeSet<usize>> = groups.into_iter().map(|(devices, _)| devices).collect();
    assert_eq!(people, said, "after {:#?}", place.path);
}

#[test]
fn four_addresses() {
    let shape = Shape { look: look_for_what_was_said, ..addresses() };
    walk(shape, steps_max() - 1, (3, 680));
}

/// Values of which a profile may have one, and two fragments carry each: quarantine, and what it leaves.
#[test]
fn values_within_limits() {
    let mut shape = shape(&[("user_id", "u"), ("user_id", "v"), ("card", "1"), ("card", "2")]);
    let card = NamespaceSettings { values_per_profile: 1, fragments_max: 2, ..NamespaceSettings::default() };
    shape.settings.identifiers.insert("card".to_owned(), card);
    shape.in_order = false;
    walk(shape, steps_max() - 1, (3, 6_908));
}

/// A source that joins, and one that only attaches.
#[test]
fn links_that_only_attach() {
    let mut shape = shape(&[("user_id", "u"), ("user_id", "v"), ("email", "a@x.example")]);
    shape.sources.push("shy");
    walk(shape, steps_max() - 1, (3, 6_864));
}

/// The same with fewer of all, and one step further: back to somebody whom an attached link alone knows.
#[test]
fn switches_that_only_attach() {
    let mut shape = shape(&[("user_id", "u"), ("user_id", "v")]);
    shape.sources.push("shy");
    shape.devices = 2;
    walk(shape, steps_max(), (4, 13_795));
}

/// Each merge may be undone as soon as it is there, with a guard and without, and things go on.
#[test]
fn merges_that_are_undone() {
    let mut shape = shape(&[("user_id", "u"), ("user_id", "v"), ("email", "a@x.example")]);
    shape.undo = true;
    walk(shape, steps_max(), (4, 22_380));
}

fn event(device: usize, identifiers: &[usize]) -> Letter {
    Letter::Event { source: "app", device, identifiers: identifiers.to_vec() }
}

/// Three devices, of which the first two are one person by an address.
fn merged(world: &World) -> Place {
    let mut place = world.begin();
    for letter in [event(0, &[0, 2]), event(1, &[2]), event(2, &[1])] {
        world.step(&mut place, &letter);
    }
    place
}

/// Faults can be seen: of parents, of what is kept at a root, of owners, and of what is counted.
#[test]
fn a_state_that_does_not_hold_together_is_seen() {
    let world = World::new(users_and_addresses(), 0);
    let sound = merged(&world).state;
    let [one, other, apart] = [1, 2, 3].map(FragmentNo);
    assert_eq!(root_of(&sound, other).expect("a root"), root_of(&sound, one).expect("a root"));
    let seen = |damage: &dyn Fn(&mut spoor::core::memory::MemoryState)| {
        let mut state = sound.clone();
        damage(&mut state);
        faults(&state, &settings()).len()
    };
    assert_eq!(seen(&|_| {}), 0);
    assert!(
        seen(&|state| {
            let mut row = (*fragment_row(state, other).expect("a row")).clone();
            row.parent = None;
            state.put_fragments(other, row);
        }) > 0
    );
    assert!(
        seen(&|state| {
            let mut row = (*person_of(state, one).expect("a person")).clone();
            row.identifiers.pop();
            state.put_persons(one, row);
        }) > 0
    );
    assert!(
        seen(&|state| {
            let mut row = *state.person_tallies(&one).expect("memory").expect("counters");
            row.events += 1;
            state.put_person_tallies(one, row);
        }) > 0
    );
    assert!(
        seen(&|state| {
            let no = IdentifierNo(1);
            let mut row = (*state.identifiers(&no).expect("memory").expect("an identifier")).clone();
            row.owner = Some(apart);
            state.put_identifiers(no, row);
        }) > 0
    );
    assert!(
        seen(&|state| {
            let key = LinkKey { fragment: one, identifier: IdentifierNo(1) };
            let mut row = (*state.links(&key).expect("memory").expect("a link")).clone();
            row.standing = spoor::core::rows::Standing::Cut;
            state.put_links(key, row);
        }) > 0
    );
}
