//! What holds for any history: the order of arrival leaves no trace, nor does a merge that was taken back, and the
//! past is what a store knew that saw no more.
//!
//! `SPOOR_PROMISES` says how many random histories of each kind (8), `SPOOR_PROMISES_SEED` where to begin (1).
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test: a panic is its report")]

use spoor::model::{AsOf, Profile};
use spoor::{Act, ActError, Engine, Timestamp, TrackRequest};
use spoor_tests::crowd::{Asked, Crowd, Manner, SLIP, settings};
use spoor_tests::history::{self, Dice, history};
use spoor_tests::orders::{Grouping, Order, import, shortened};
use spoor_tests::scenario::{BEGIN, Player, Step, write_step};
use spoor_tests::target::{Embedded, Target};
use std::collections::BTreeMap;

const REQUESTS: usize = 40;
const ORDERS: u64 = 3;

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let begin = number("SPOOR_PROMISES_SEED", 1);
    begin..begin + number("SPOOR_PROMISES", 8)
}

/// What a profile is, in words that the order of arrival does not change: no ids that were drawn, and identifiers
/// without times, since of a repeat the first counts.
fn told(profile: &Profile) -> String {
    let identifiers: Vec<String> =
        profile.identifiers.iter().map(|of| format!("{}:{}", of.namespace, of.value)).collect();
    let counters = profile.counters;
    let seen = [profile.first_seen, profile.last_seen].map(|time| time.map(Timestamp::millis));
    format!("{identifiers:?} {:?} {counters:?} {seen:?}", profile.traits)
}

/// All profiles of a store, by the names that lead to them.
fn known(engine: &Engine, asked: &Asked) -> BTreeMap<String, String> {
    let snapshot = engine.snapshot().expect("a snapshot");
    let mut known = BTreeMap::new();
    for device in &asked.devices {
        known.insert(
            device.clone(),
            snapshot.profile(device).as_ref().map_or_else(|error| format!("{error:?}"), told),
        );
    }
    for identifier in &asked.identifiers {
        let found = snapshot.profile_of_identifier(identifier, AsOf::default());
        // Where several have it, the error names them by their ids.
        known.insert(identifier.clone(), found.as_ref().map_or_else(|_| "nobody's own".to_owned(), told));
    }
    for session in &asked.sessions {
        let found = snapshot.session(session).expect("a session that was sent");
        let person = found.profile.map(|profile| told(&snapshot.profile(&profile.id).expect("its profile")));
        known.insert(session.clone(), format!("{:?} {:?} {person:?}", found.counters, found.duration_ms));
    }
    known
}

/// Shows only what differs.
fn assert_same(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>, of: &str) {
    let names = one.keys().chain(other.keys()).filter(|name| one.get(*name) != other.get(*name));
    let differ: Vec<String> =
        names.map(|name| format!("{name}\n  {:?}\n  {:?}", one.get(name), other.get(name))).collect();
    assert!(differ.is_empty(), "{of}:\n{}", differ.join("\n"));
}

/// Whether somebody has several devices.
fn joined(engine: &Engine, asked: &Asked) -> bool {
    let snapshot = engine.snapshot().expect("a snapshot");
    asked.devices.iter().any(|id| snapshot.profile(id).is_ok_and(|profile| profile.fragments > 1))
}

/// The content digest, what is known, and whether somebody has several devices, of an order in a store of its own.
fn stored(requests: &[TrackRequest], order: Order) -> (String, BTreeMap<String, String>, bool) {
    let dir = tempfile::tempdir().expect("a directory");
    let report = import(dir.path(), &settings(), &order.of(requests), &mut |_| {}).expect("sound requests");
    assert_eq!(report.faults, Vec::<String>::new(), "{order}");
    let engine = Engine::open(dir.path(), settings()).expect("the store again");
    let asked = Asked::of(requests);
    (report.content_digest, known(&engine, &asked), joined(&engine, &asked))
}

#[test]
fn the_order_of_arrival_leaves_no_trace() {
    let mut merged = 0;
    for seed in seeds() {
        let manner = Manner {
            shared_values: seed.is_multiple_of(2),
            forgetful: seed.is_multiple_of(3),
            crowded_times: seed.is_multiple_of(4),
            ..Manner::default()
        };
        let requests = Crowd::new(seed, manner).requests(REQUESTS);
        let groupings = if manner.crowded_times { &[Grouping::Sent][..] } else { &Grouping::ALL };
        let sent = Order { grouping: Grouping::Sent, seed: 0 };
        let first = stored(&requests, sent);
        merged += u64::from(first.2);
        for order in (1..=ORDERS).flat_map(|order| groupings.iter().map(move |of| (*of, order))) {
            let order = Order { grouping: order.0, seed: seed * 1_000 + order.1 };
            let other = stored(&requests, order);
            if other.0 != first.0 {
                let rest =
                    shortened(&settings(), requests, [sent, order], &mut |_| {}).expect("sound requests");
                let rest: Vec<String> = order
                    .of(&rest)
                    .into_iter()
                    .map(|request| write_step(&Step::Track(Box::new(request))))
                    .collect();
                panic!("seed {seed}, {manner:?}, {order}:\n{}", rest.join("\n\n"));
            }
            assert_same(&first.1, &other.1, &format!("seed {seed}, {manner:?}, {order}"));
        }
    }
    assert!(merged > 0, "nobody had two devices");
}

/// A store whose clock goes on with each step.
struct World {
    store: Embedded,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        Self { store: Embedded::new(&settings(), BEGIN), now: BEGIN }
    }

    fn later(&mut self) {
        self.now = Timestamp(self.now.0 + 1_000_000);
        self.store.set_clock(self.now);
    }

    /// Stores a request; returns the id of the profile that it went to, and the merge that a slip made.
    fn send(&mut self, request: &TrackRequest) -> (Option<String>, Option<String>) {
        self.later();
        let reply = self.store.track(request).expect("a sound request");
        let mut links = reply.events.iter().flat_map(|event| &event.links);
        let slip = links.find(|link| link.identifier.starts_with(SLIP) && link.merge.is_some());
        (reply.profile.map(|profile| profile.id), slip.and_then(|link| link.merge.clone()))
    }

    fn act(&mut self, act: &Act) -> Result<Option<String>, ActError> {
        self.later();
        self.store.act(act, false).map(|reply| reply.merge)
    }
}

/// Two people who were taken for one, and the merge that did it.
struct Mistake {
    people: [usize; 2],
    merge: String,
}

/// A crowd in two worlds: in one, people are taken for each other for a while.
struct Twins {
    crowd: Crowd,
    sent: Vec<TrackRequest>,
    mistaken: World,
    never: World,
    /// Mistakes that stand.
    mistakes: Vec<Mistake>,
    /// People between whom a guard stands.
    apart: Vec<[usize; 2]>,
    repented: usize,
}

impl Twins {
    fn new(seed: u64) -> Self {
        let manner =
            Manner { nothing_unique: true, crowded_times: seed.is_multiple_of(2), ..Manner::default() };
        Self {
            crowd: Crowd::new(seed, manner),
            sent: Vec::new(),
            mistaken: World::new(),
            never: World::new(),
            mistakes: Vec::new(),
            apart: Vec::new(),
            repented: 0,
        }
    }

    fn somebody(&mut self) -> usize {
        let count = self.crowd.len() as u64;
        usize::try_from(self.crowd.dice().below(count)).expect("small")
    }

    /// Sends a request in both worlds; returns the profile in each.
    fn send(&mut self, request: TrackRequest) -> [Option<String>; 2] {
        let profiles = [self.mistaken.send(&request).0, self.never.send(&request).0];
        self.sent.push(request);
        profiles
    }

    /// Everybody who is taken for one with somebody.
    fn taken_for(&self, person: usize) -> Vec<usize> {
        let mut reached = vec![person];
        let mut next = 0;
        while let Some(&person) = reached.get(next) {
            next += 1;
            for [one, other] in self.mistakes.iter().map(|mistake| mistake.people) {
                let to = if one == person { other } else { one };
                if (one == person || other == person) && !reached.contains(&to) {
                    reached.push(to);
                }
            }
        }
        reached
    }

    /// Takes two people for one who are not yet: by hand, or because one brings what the other has brought.
    fn mistake(&mut self) {
        let people = [self.somebody(), self.somebody()];
        let [left, right] = people.map(|person| self.taken_for(person));
        let guarded = |[one, other]: &[usize; 2]| {
            left.contains(one) && right.contains(other) || left.contains(other) && right.contains(one)
        };
        if left.contains(&people[1]) || self.apart.iter().any(guarded) {
            return;
        }
        let [request, mut theirs] = people.map(|person| self.crowd.request_of(person));
        if request.profile_less || theirs.profile_less {
            return;
        }
        let slip = (SLIP.to_owned(), format!("x-{}", self.sent.len()));
        theirs.events[0].identifiers.push(slip.clone());
        let shy = [&request, &theirs].iter().any(|request| request.source.as_deref() == Some("shy"));
        let by_hand = shy || self.crowd.dice().percent(50);
        let [their_id, _] = self.send(theirs);
        let merge = if by_hand {
            let [profile, _] = self.send(request);
            let ids = [profile, their_id].map(|id| id.expect("a profile"));
            let [profile, other] = ids;
            self.never.later();
            self.mistaken.act(&Act::Merge { profile, other, force: false }).expect("two people")
        } else {
            let mut with_slip = request.clone();
            with_slip.events[0].identifiers.push(slip);
            self.never.send(&request);
            self.sent.push(request);
            self.mistaken.send(&with_slip).1
        };
        self.mistakes.push(Mistake { people, merge: merge.expect("a merge") });
    }

    /// Takes back one of the mistakes.
    fn repent(&mut self) {
        if self.mistakes.is_empty() {
            return;
        }
        let count = self.mistakes.len() as u64;
        let at = usize::try_from(self.crowd.dice().below(count)).expect("small");
        let Mistake { people, merge } = self.mistakes.swap_remove(at);
        let keep_apart = self.crowd.dice().percent(30);
        self.mistaken.act(&Act::Undo { merge, keep_apart }).expect("a merge to undo");
        self.never.later();
        self.apart.extend(keep_apart.then_some(people));
        self.repented += 1;
    }

    /// The same act in both worlds, on what somebody has said.
    fn act(&mut self) {
        let person = self.somebody();
        let request = self.crowd.request_of(person);
        let said = request.events.iter().flat_map(|event| &event.identifiers).next();
        let Some(identifier) = said.map(|(namespace, value)| format!("{namespace}:{value}")) else { return };
        let which = self.crowd.dice().below(4);
        let [Some(one), Some(other)] = self.send(request) else { return };
        let act = |profile| match which {
            0 | 1 => Act::Detach { profile, identifier: identifier.clone() },
            2 => Act::Block { identifier: identifier.clone() },
            _ => Act::Unblock { identifier: identifier.clone() },
        };
        let done = [self.mistaken.act(&act(one)).is_ok(), self.never.act(&act(other)).is_ok()];
        assert_eq!(done[0], done[1], "{:?}", act(String::new()));
    }

    /// All that is known in the one world and in the other.
    fn told(&self) -> [BTreeMap<String, String>; 2] {
        let asked = Asked::of(&self.sent);
        [&self.mistaken, &self.never].map(|world| {
            let mut told = known(world.store.engine(), &asked);
            told.extend(consents(world.store.engine(), &asked));
            told
        })
    }

    fn step(&mut self) {
        match self.crowd.dice().below(100) {
            0..15 => self.mistake(),
            15..27 => self.repent(),
            27..35 => self.act(),
            35..37 => {
                self.mistaken.store.reopen();
                self.never.store.reopen();
            }
            _ => {
                let request = self.crowd.request();
                self.send(request);
            }
        }
    }
}

#[test]
fn a_merge_that_was_taken_back_leaves_no_trace() {
    let (mut repented, mut mistaken_at_last) = (0, 0);
    for seed in seeds() {
        let mut twins = Twins::new(seed);
        for _ in 0..REQUESTS {
            twins.step();
        }
        if !twins.mistakes.is_empty() {
            let [mistaken, never] = twins.told();
            mistaken_at_last += u64::from(mistaken != never);
        }
        while !twins.mistakes.is_empty() {
            twins.repent();
        }
        repented += twins.repented;
        for world in [&mut twins.mistaken, &mut twins.never] {
            let faults = world.store.check().expect("a report").faults;
            assert_eq!(faults, Vec::<String>::new(), "seed {seed}");
        }
        let [mistaken, never] = twins.told();
        assert_same(&mistaken, &never, &format!("seed {seed}"));
    }
    assert!(repented > 0 && mistaken_at_last > 0, "nobody was taken for somebody else");
}

/// Consents and numbers of fragments, by the names that lead to them.
fn consents(engine: &Engine, asked: &Asked) -> BTreeMap<String, String> {
    let snapshot = engine.snapshot().expect("a snapshot");
    let told =
        |profile: Profile| format!("{:?} {} {:?}", profile.consents, profile.fragments, profile.created_at);
    let mut known = BTreeMap::new();
    for device in &asked.devices {
        known.insert(
            format!("consents of {device}"),
            snapshot.profile(device).map_or_else(|_| "nobody".to_owned(), told),
        );
    }
    for session in &asked.sessions {
        let profile = snapshot.session(session).expect("a session that was sent").profile;
        let profile = profile.map(|profile| told(snapshot.profile(&profile.id).expect("its profile")));
        known.insert(format!("consents of {session}"), format!("{profile:?}"));
    }
    known
}

/// By what a random history may be asked for profiles: identifiers, and ids that lead to one now.
fn names_in(target: &mut dyn Target) -> (Vec<String>, Vec<String>) {
    let values = ["user_id:u-#", "email:u#@example.com", "card:c-#", "seat:t-#", "sworn:s-#", "noted:n-#"];
    let numbered = |of: &str| (0..5).map(|count| of.replace('#', &count.to_string())).collect::<Vec<_>>();
    let identifiers: Vec<String> = values.iter().flat_map(|of| numbered(of)).collect();
    let mut ids = numbered("store:c-#");
    for session in ["web:s-#", "store:s-#", "quiet:s-#", "backend:s-#"].iter().flat_map(|of| numbered(of)) {
        let found = target.session(&session).ok().and_then(|session| session.profile);
        ids.extend(found.map(|profile| profile.id));
    }
    for identifier in &identifiers {
        let found = target.profile_of_identifier(identifier, AsOf::default());
        ids.extend(found.into_iter().flat_map(|profile| profile.ids));
    }
    ids.sort();
    ids.dedup();
    (identifiers, ids)
}

/// What a store knows of these, as of a time; until the middle of what happened, too.
fn answers(
    target: &mut dyn Target,
    (identifiers, ids): &(Vec<String>, Vec<String>),
    at: Option<Timestamp>,
) -> Vec<String> {
    let mut answers = Vec::new();
    for until in [None, Some(Timestamp(BEGIN.0 - 3_600_000_000))] {
        let as_of = AsOf { at, until };
        for id in ids {
            answers.push(format!("{id} {:?}", target.profile_as_of(id, as_of)));
        }
        for identifier in identifiers {
            answers.push(format!("{identifier} {:?}", target.profile_of_identifier(identifier, as_of)));
        }
    }
    answers
}

/// What a store answers of a time is what it answered then.
#[test]
fn the_past_is_what_was_known() {
    let mut changed = 0;
    for seed in seeds() {
        let mut steps = history(seed, REQUESTS);
        let end = steps.iter().rposition(|step| matches!(step, Step::Track(_))).expect("requests") + 1;
        steps.truncate(end);
        let mut player = Player::new(Embedded::make, &history::settings());
        let mut known = Vec::new();
        let (mut now, mut dice) = (BEGIN, Dice::new(seed));
        for step in steps {
            if let Step::Later(pause_us) = step {
                if now > BEGIN && dice.percent(10) {
                    // Just before the next thing is received.
                    let at = Timestamp(now.0 + pause_us - 1_000);
                    let names = names_in(player.target());
                    let then = answers(player.target(), &names, None);
                    known.push((at, names, then));
                }
                now = Timestamp(now.0 + pause_us);
            }
            player.step(&step);
        }
        for (at, names, then) in known {
            let told = answers(player.target(), &names, Some(at));
            for (told, then) in told.iter().zip(&then) {
                assert_eq!(told, then, "seed {seed}, at {at:?}");
            }
            changed += u64::from(answers(player.target(), &names, None) != then);
        }
    }
    assert!(changed > 0, "nothing ever changed");
}
