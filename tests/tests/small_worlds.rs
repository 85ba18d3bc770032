//! Every sequence of up to four requests of a small world, decided in memory and compared with the model.
//!
//! The world: an untrusted and a trusted source of one id space, the sessions none, s-1 and s-2, the profiles none,
//! that of the first device, and one that nobody knows. s-2 comes only after s-1, since otherwise the two only
//! change names. After each request the state must also hold together by itself.
//!
//! `SPOOR_WORLD_REQUESTS` says how long sequences get (4).
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use spoor::core::agents::Agents;
use spoor::core::decide::Stamp;
use spoor::core::memory::MemoryState;
use spoor::core::outcome::{EventOutcome, Outcome, SessionName};
use spoor::core::prepare::prepare;
use spoor::core::root::{fragment_row, members_of, root_of};
use spoor::core::session::{parts_of, session_row};
use spoor::core::sources::Registry;
use spoor::core::view::View;
use spoor::ids::{DeviceNo, FragmentNo, PartNo, ProfileKey, SessionNo};
use spoor::settings::{ProfileIds, SourceSettings};
use spoor::{Event, EventSeq, EventStatus, Reply, Settings, Timestamp, TrackRequest};
use spoor_tests::model::Model;
use spoor_tests::scenario::BEGIN;
use std::collections::BTreeSet;

const UNKNOWN: &str = "ghost";

fn settings() -> Settings {
    let space = Some("space".to_owned());
    let untrusted = SourceSettings { ids: space.clone(), ..SourceSettings::default() };
    let trusted = SourceSettings { ids: space, profile_ids: ProfileIds::Client, ..SourceSettings::default() };
    let sources = [("web", untrusted), ("shop", trusted)];
    let sources = sources.into_iter().map(|(name, source)| (name.to_owned(), source)).collect();
    Settings { sources, ..Settings::default() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nothing,
    First,
    Unknown,
}

/// A request of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Letter {
    source: &'static str,
    session: Option<&'static str>,
    profile: Sent,
    /// Whether its event has the id that others of this kind have, or one of its own.
    repeats: bool,
}

fn letters(repeats: &[bool]) -> Vec<Letter> {
    let mut letters = Vec::new();
    for source in ["web", "shop"] {
        for session in [None, Some("s-1"), Some("s-2")] {
            for profile in [Sent::Nothing, Sent::First, Sent::Unknown] {
                letters.extend(repeats.iter().map(|&repeats| Letter { source, session, profile, repeats }));
            }
        }
    }
    letters
}

/// What is the same for all sequences.
struct World {
    registry: Registry,
    agents: Agents,
    letters: Vec<Letter>,
    requests_max: usize,
    sequences: u64,
}

/// Both readings of the rules, after the same requests.
#[derive(Clone)]
struct Place {
    state: MemoryState,
    model: Model,
    /// Ids of profiles in order of appearance: here, and in the model.
    profiles: Vec<(String, String)>,
    path: Vec<Letter>,
}

impl World {
    fn new(requests_max: usize, repeats: &[bool]) -> Self {
        let registry = Registry::new(&settings()).expect("sound settings");
        Self { registry, agents: Agents::default(), letters: letters(repeats), requests_max, sequences: 0 }
    }

    fn walk(&mut self) -> u64 {
        let place = Place {
            state: MemoryState::default(),
            model: Model::new(settings()),
            profiles: Vec::new(),
            path: Vec::new(),
        };
        self.from(&place);
        self.sequences
    }

    fn from(&mut self, place: &Place) {
        if place.path.len() == self.requests_max {
            return;
        }
        let second_known = place.path.iter().any(|letter| letter.session == Some("s-1"));
        for index in 0..self.letters.len() {
            let letter = self.letters[index];
            let renamed = letter.session == Some("s-2") && !second_known;
            let no_first = letter.profile == Sent::First && place.profiles.is_empty();
            if renamed || no_first {
                continue;
            }
            let mut next = place.clone();
            next.path.push(letter);
            self.sequences += 1;
            self.step(&mut next, letter);
            self.from(&next);
        }
    }

    fn step(&self, place: &mut Place, letter: Letter) {
        let turn = place.path.len();
        let first = place.profiles.first().cloned();
        let profile = |of: fn(&(String, String)) -> &String| match letter.profile {
            Sent::Nothing => None,
            Sent::First => first.as_ref().map(|first| of(first).clone()),
            Sent::Unknown => Some(UNKNOWN.to_owned()),
        };
        let received = Timestamp(BEGIN.0 + i64::try_from(turn).expect("small") * 1_000_000);
        let here = request(letter, turn, profile(|ids| &ids.0));
        let there = request(letter, turn, profile(|ids| &ids.1));
        let command = prepare(here, &self.registry, &self.agents, &mut || panic!("all ids are there"))
            .expect("a sound request");
        let stamp = Stamp { received, entropy: turn as u128 };
        let first_seq = place.state.counters().seq.next();
        let (_, outcome, _) = place.state.decide(&self.registry, &command, stamp).expect("deciding");
        let reply = place.model.track(&there, received).expect("a sound request");
        place.compare(&outcome, &reply, first_seq);
        let faults = faults(&place.state);
        assert_eq!(faults, Vec::<String>::new(), "after {:#?}", place.path);
    }
}

fn request(letter: Letter, turn: usize, profile: Option<String>) -> TrackRequest {
    let id = if letter.repeats { "same".to_owned() } else { format!("e-{turn}") };
    let event_type = "page-view".to_owned();
    let event = Event { id: Some(id), event_type, time: Some(BEGIN), ..Event::default() };
    TrackRequest {
        source: Some(letter.source.to_owned()),
        session: letter.session.map(str::to_owned),
        profile,
        events: vec![event],
        ..TrackRequest::default()
    }
}

fn text_of(key: &ProfileKey) -> String {
    match key {
        ProfileKey::Server(id) => id.to_string(),
        ProfileKey::Client { id, .. } => id.to_string(),
    }
}

impl Place {
    /// Whether an id here and one of the model name the same: the nth that appeared.
    fn same(&mut self, here: &str, there: &str) -> bool {
        let known = self.profiles.iter().find(|(a, b)| a == here || b == there);
        match known {
            Some((a, b)) => a == here && b == there,
            None => {
                self.profiles.push((here.to_owned(), there.to_owned()));
                true
            }
        }
    }

    fn compare(&mut self, outcome: &Outcome, reply: &Reply, first_seq: EventSeq) {
        let profile = outcome.profile.as_ref().expect("nothing is profile-less");
        let told = reply.profile.as_ref().expect("nothing is profile-less");
        let device = self.same(&text_of(&profile.key), &told.id);
        let person = self.same(&text_of(&profile.primary), &told.primary_id);
        let session = outcome.session.as_ref().expect("there is one event");
        let session_told = reply.session.as_ref().expect("there is one event");
        let name = match &session.name {
            SessionName::Id(id) => id.to_string(),
            SessionName::Implicit(seq) => format!("implicit:{}", seq.0),
        };
        let [event]: &[EventOutcome; 1] = outcome.events.as_slice().try_into().expect("one event");
        let event_told = &reply.events[0];
        assert!(
            device
                && person
                && (profile.reason, profile.created) == (told.reason, told.created)
                && (&name, session.created) == (&session_told.id, session_told.created)
                && (event.seq, event.status) == (event_told.seq, event_told.status)
                && event.warnings == event_told.warnings
                && sorted(&outcome.warnings) == sorted(&reply.warnings),
            "{:#?}\nhere: {outcome:#?}\nthe model: {reply:#?}\n{:?}",
            self.path,
            self.profiles
        );
        let stored = u64::from(event.status == EventStatus::Stored);
        assert_eq!(self.state.counters().seq.0, first_seq.0 - 1 + stored, "{:#?}", self.path);
        let person = self.model.profile(&told.id).expect("the model knows it");
        let members = self.members(&profile.key);
        let tallies = members.iter().filter_map(|member| self.state.tallies(member).expect("memory"));
        let (events, page_views) =
            tallies.fold((0, 0), |sum, tally| (sum.0 + tally.events, sum.1 + tally.page_views));
        let counted = (events, page_views, members.len());
        let expected = (person.counters.events, person.counters.page_views, person.ids.len());
        assert_eq!(counted, expected, "numbers of {} after {:#?}", told.id, self.path);
    }

    fn members(&self, key: &ProfileKey) -> Vec<FragmentNo> {
        let last = self.state.counters().fragment.0;
        let has_key =
            |fragment: &FragmentNo| fragment_row(&self.state, *fragment).expect("a row").key == *key;
        let fragment = (1..=last).map(FragmentNo).find(has_key).expect("its fragment");
        let root = root_of(&self.state, fragment).expect("a root");
        members_of(&self.state, root).expect("its members")
    }
}

fn sorted(codes: &[&'static str]) -> BTreeSet<&'static str> {
    codes.iter().copied().collect()
}

/// What does not hold together in a state.
fn faults(state: &MemoryState) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |holds: bool, fault: String| {
        if !holds {
            faults.push(fault);
        }
    };
    let counters = state.counters();
    expect(counters.device.0 == counters.fragment.0, "a device has not one fragment".to_owned());
    let devices: BTreeSet<DeviceNo> = (1..=counters.fragment.0)
        .map(|no| fragment_row(state, FragmentNo(no)).expect("fragments are numbered without gaps").device)
        .collect();
    expect(devices.len() as u64 == counters.device.0, "two fragments are of one device".to_owned());
    let (mut events, mut in_fragments, mut roots) = (0, 0, 0);
    for no in 1..=counters.part.0 {
        let part = state.parts(&PartNo(no)).expect("memory").expect("parts are numbered without gaps");
        events += part.numbers.events;
        let posted = state.postings(PartNo(no)).len() as u64;
        expect(
            posted == part.numbers.events,
            format!("part {no} counts {} and lists {posted}", part.numbers.events),
        );
        if let Some(session) = part.session {
            let (session, row) = session_row(state, session).expect("its session");
            let parts = parts_of(state, session, &row).expect("its parts");
            expect(parts.contains(&PartNo(no)), format!("part {no} is not in its session"));
        }
    }
    expect(events == counters.events, format!("parts hold {events} of {} events", counters.events));
    for no in 1..=counters.fragment.0 {
        let fragment = FragmentNo(no);
        let root = root_of(state, fragment).expect("a root");
        roots += u64::from(root == fragment);
        let members = members_of(state, root).expect("members");
        expect(members.contains(&fragment), format!("fragment {no} is no member of its root"));
        let tally = state.tallies(&fragment).expect("memory").map(|tally| *tally).unwrap_or_default();
        in_fragments += tally.events;
        let own = (1..=counters.part.0).filter_map(|no| state.parts(&PartNo(no)).expect("memory"));
        let own = own.filter(|part| part.fragment == Some(fragment));
        let sum = own.fold((0, 0), |sum, part| {
            (sum.0 + part.numbers.events, sum.1 + u64::from(part.session.is_some()))
        });
        expect(sum == (tally.events, tally.sessions), format!("fragment {no} counts {tally:?}, not {sum:?}"));
    }
    expect(in_fragments == events, format!("fragments hold {in_fragments} of {events} events"));
    expect(roots == counters.fragment.0 - counters.unions, format!("{roots} roots"));
    for no in 1..=counters.session.0 {
        let row =
            state.sessions(&SessionNo(no)).expect("memory").expect("sessions are numbered without gaps");
        let parts = parts_of(state, SessionNo(no), &row).expect("its parts");
        expect(parts.len() as u64 == u64::from(row.parts), format!("session {no} miscounts its parts"));
        expect(parts.contains(&row.current.part), format!("session {no} goes on in another's part"));
        expect(row.created <= counters.seq, format!("session {no} was made by no event"));
    }
    faults
}

#[test]
fn every_short_sequence_is_decided_as_the_model_does() {
    let requests_max =
        std::env::var("SPOOR_WORLD_REQUESTS").map_or(4, |text| text.parse().expect("a number"));
    let sequences = World::new(requests_max, &[false]).walk();
    assert!(requests_max < 4 || sequences > 30_000, "{sequences} sequences");
}

#[test]
fn every_short_sequence_with_repeats_is_decided_as_the_model_does() {
    let sequences = World::new(3, &[false, true]).walk();
    assert!(sequences > 10_000, "{sequences} sequences");
}

/// The state's own faults can be seen.
#[test]
fn a_state_that_does_not_hold_together_is_seen() {
    use spoor::core::view::State;
    let mut world = World::new(1, &[false]);
    assert!(world.walk() > 5);
    let mut place = Place {
        state: MemoryState::default(),
        model: Model::new(settings()),
        profiles: Vec::new(),
        path: vec![Letter { source: "web", session: Some("s-1"), profile: Sent::Nothing, repeats: false }],
    };
    let letter = place.path[0];
    world.step(&mut place, letter);
    let part = place.state.parts(&PartNo(1)).expect("memory").expect("the first part");
    let mut counted_twice = (*part).clone();
    counted_twice.numbers.events = 2;
    place.state.put_parts(PartNo(1), counted_twice);
    assert_eq!(faults(&place.state).len(), 4, "{:?}", faults(&place.state));
}
