//! Where a sequence of steps has led: both readings of the rules, after the same steps.
//!
//! It owns what is sent and done at each step. What the two then say is put side by side by `seen`.

use super::seen::{Reader, by_ends, sorted};
use super::{Letter, Shape};
use crate::model::Model;
use crate::scenario::BEGIN;
use spoor::core::acts::{Deed, Plan, plan};
use spoor::core::agents::Agents;
use spoor::core::decide::Stamp;
use spoor::core::decision::{Effect, Ends, JoinCause};
use spoor::core::graph::link_row;
use spoor::core::memory::MemoryState;
use spoor::core::prepare::prepare;
use spoor::core::root::root_of;
use spoor::core::sources::Registry;
use spoor::core::view::View;
use spoor::ids::{EventSeq, FragmentNo};
use spoor::model::PageRequest;
use spoor::{Act, ActError, ActReply, Consent, Event, Json, Reply, Settings, Timestamp, TrackRequest};
use std::collections::{BTreeMap, BTreeSet};

/// Event times, in seconds, by turn: not in the order of arrival.
const SECONDS: [i64; 6] = [30, 10, 40, 20, 50, 0];

/// See the module. A clone shares what did not change.
#[derive(Debug, Clone)]
pub struct Place {
    /// What the core has made of it.
    pub state: MemoryState,
    model: Model,
    /// The model's ids of the fragments, in order of number.
    ids: Vec<String>,
    merges: Vec<Merge>,
    /// Which merge was undone at a place in the log.
    undone: BTreeMap<EventSeq, String>,
    /// Identifiers that an event has brought.
    pub(super) brought: BTreeSet<usize>,
    /// Devices that an event came from.
    pub(super) devices: usize,
    /// The steps.
    pub path: Vec<Letter>,
}

#[derive(Debug, Clone)]
struct Merge {
    id: String,
    seq: EventSeq,
    cause: JoinCause,
}

impl Place {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            state: MemoryState::default(),
            model: Model::new(settings.clone()),
            ids: Vec::new(),
            merges: Vec::new(),
            undone: BTreeMap::new(),
            brought: BTreeSet::new(),
            devices: 0,
            path: Vec::new(),
        }
    }

    pub(super) fn has_merges(&self) -> bool {
        !self.merges.is_empty()
    }

    /// Takes a step in both, and compares the answers.
    pub(super) fn take(&mut self, letter: &Letter, shape: &Shape, registry: &Registry, agents: &Agents) {
        let turn = self.path.len();
        let received = Timestamp(BEGIN.0 + i64::try_from(turn).expect("small") * 1_000_000);
        let stamp = Stamp { received, entropy: turn as u128 };
        self.path.push(letter.clone());
        match letter {
            Letter::Event { source, device, identifiers } => {
                self.devices = self.devices.max(device + 1);
                self.brought.extend(identifiers);
                let identifiers = identifiers.iter().map(|at| shape.identifiers[*at]);
                let request = TrackRequest {
                    source: Some((*source).to_owned()),
                    profile: Some(format!("d{device}")),
                    events: vec![event(turn, identifiers)],
                    ..TrackRequest::default()
                };
                self.track(&request, stamp, registry, agents);
            }
            Letter::Undo { keep_apart } => self.undo(*keep_apart, stamp, registry),
        }
    }

    fn track(&mut self, request: &TrackRequest, stamp: Stamp, registry: &Registry, agents: &Agents) {
        let seq = self.state.counters().seq.next();
        let mut no_ids = || panic!("all ids are there");
        let command = prepare(request.clone(), registry, agents, &mut no_ids).expect("a sound request");
        let (decision, outcome, _) = self.state.decide(registry, &command, stamp).expect("deciding");
        let told = self.model.track(request, stamp.received).expect("a sound request");
        let fragments = self.state.counters().fragment.0;
        if fragments > self.ids.len() as u64 {
            self.ids.push(told.profile.clone().expect("nothing is profile-less").id);
        }
        assert_eq!(fragments, self.ids.len() as u64, "{:#?}", self.path);
        let here = self.reader().reply(&outcome, request);
        let told = Reply { warnings: sorted(told.warnings), ..told };
        assert_eq!(here, told, "the core and the model answer {:#?}", self.path);
        let causes = decision.effects.into_iter().filter_map(|effect| match effect {
            Effect::Join { cause, .. } => Some(cause),
            _ => None,
        });
        let merge = |(at, cause)| Merge { id: format!("m{}-{at}", seq.0), seq, cause };
        self.merges.extend(causes.enumerate().map(merge));
    }

    fn undo(&mut self, keep_apart: bool, stamp: Stamp, registry: &Registry) {
        let Merge { id, seq, cause } = self.merges.last().cloned().expect("a merge");
        let undone = self.was_undone(&id, seq, &cause);
        let deed = Deed::Undo { cause, seq, undone, keep_apart, lifted: Vec::new() };
        let planned = plan(&self.state, registry, &deed, stamp).expect("planning");
        let told = self.model.act(&Act::Undo { merge: id.clone(), keep_apart }, false, stamp.received);
        match (planned, told) {
            (Err(refusal), Err(ActError::Conflict(told))) => {
                assert_eq!(refusal.code, told.code, "{:#?}", self.path);
            }
            (Ok(plan), Ok(told)) => {
                self.state.apply(stamp.received, &plan.decision).expect("applying");
                self.undone.insert(self.state.counters().seq, id);
                self.compare_act(&plan, &told);
            }
            (here, told) => panic!("{here:?}, and the model: {told:?}, after {:#?}", self.path),
        }
    }

    /// Whether what ended the time of a merge's link was an act that named it.
    fn was_undone(&self, id: &str, seq: EventSeq, cause: &JoinCause) -> bool {
        let ends = match cause {
            JoinCause::Link { link, .. } => Ends::Identifier(*link),
            JoinCause::Direct(pair) => Ends::Pair(*pair),
        };
        let row = link_row(&self.state, ends).expect("its link");
        let mut spans = row.spans.iter().filter(|span| span.from <= seq);
        let ended = spans.find_map(|span| span.to.filter(|to| *to > seq));
        ended.and_then(|ended| self.undone.get(&ended)).is_some_and(|of| of == id)
    }

    fn compare_act(&self, plan: &Plan, told: &ActReply) {
        let reader = self.reader();
        let here = ActReply {
            seq: Some(self.state.counters().seq),
            merge: None,
            created: None,
            removed: by_ends(plan.removed.iter().map(|ends| reader.link(*ends)).collect()),
            added: by_ends(plan.added.iter().map(|(ends, _)| reader.link(*ends)).collect()),
            before: reader.sizes(&plan.before),
            after: reader.sizes(&plan.after),
            not_retaken: told.not_retaken.clone(),
        };
        let told = ActReply {
            removed: by_ends(told.removed.clone()),
            added: by_ends(told.added.clone()),
            ..told.clone()
        };
        assert_eq!(here, told, "the core and the model do {:#?}", self.path);
    }

    fn reader(&self) -> Reader<'_> {
        Reader { state: &self.state, ids: &self.ids }
    }

    /// Every person with all its links, in both.
    pub(super) fn compare(&self) {
        let reader = self.reader();
        let last = self.state.counters().fragment.0;
        for fragment in (1..=last).map(FragmentNo) {
            if root_of(&self.state, fragment).expect("a root") != fragment {
                continue;
            }
            let here = reader.profile(fragment);
            let told = self.model.profile(&here.id).expect("the model knows it");
            assert_eq!(here, told, "the core and the model know after {:#?}", self.path);
            let page = PageRequest { limit: 100, ..PageRequest::default() };
            let told = self.model.profile_links(&here.id, &page).expect("its links").items;
            assert_eq!(reader.links(fragment), by_ends(told), "links after {:#?}", self.path);
        }
        let events = self.path.iter().filter(|letter| matches!(letter, Letter::Event { .. })).count();
        assert_eq!(self.state.counters().events, events as u64, "{:#?}", self.path);
    }
}

/// An event of its own id and time, with something to be counted, something to be said last, and an answer.
fn event<'a>(turn: usize, identifiers: impl Iterator<Item = (&'a str, &'a str)>) -> Event {
    let mut event = Event {
        id: Some(format!("e-{turn}")),
        event_type: "t".to_owned(),
        time: Some(Timestamp(BEGIN.0 - 3_600_000_000 + SECONDS[turn % SECONDS.len()] * 1_000_000)),
        identifiers: identifiers.map(|(namespace, value)| (namespace.to_owned(), value.to_owned())).collect(),
        ..Event::default()
    };
    let number = |number: usize| Json::parse(&number.to_string()).expect("a number");
    event.traits.add.push(("count".to_owned(), number(1)));
    event.traits.set.push(("last".to_owned(), number(turn)));
    let answer = if turn.is_multiple_of(2) { Consent::Refused } else { Consent::Granted };
    event.consents.push(("mail".to_owned(), answer));
    event
}
