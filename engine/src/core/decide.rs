//! Decides a request: which session, which profile, what each event changes.
//!
//! Pure: state, command and stamp in, effects and outcome out. Each effect is applied as soon as it is
//! decided, so that the next step, and the next event of the request, sees it.
//!
//! The steps, in this order:
//! 1. look up what was sent: session, profile (`lookup.rs`);
//! 2. find repeats; a request of nothing but repeats changes nothing (`repeats.rs`);
//! 3. choose session and fragment, once per request (`choose.rs`);
//! 4. store each event (`event.rs`).

use super::apply::{apply, missing, same_person};
use super::choose::{Choice, Sent};
use super::decision::{Decision, Effect};
use super::outcome::{EventOutcome, Outcome, ProfileOutcome};
use super::prepare::Command;
use super::repeats::{Firsts, Repeat};
use super::root::{fragment_row, oldest_of, root_of};
use super::rows::{NameKind, ProfileAt};
use super::sources::{Namespace, Registry};
use super::view::{State, View};
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, NamespaceNo, SourceNo, SpaceNo};
use crate::settings::TraitKind;
use crate::time::Timestamp;
use uuid::Uuid;

/// What a decision takes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Received; the event at index i is stamped i microseconds later.
    pub received: Timestamp,
    /// Random bits from which ids are drawn.
    pub entropy: u128,
}

/// Decides `command` and applies what follows to `state`. Returns the decision, the outcome, and whether an
/// id was drawn from the stamp's entropy.
///
/// # Errors
/// [`Error`] if the store could not be read; `state` may then hold a part of the effects and must be
/// thrown away.
pub fn decide<S: State>(
    state: &mut S,
    registry: &Registry,
    command: &Command,
    stamp: Stamp,
) -> Result<(Decision, Outcome, bool), Error> {
    let mut decider = Decider::new(state, registry, command, stamp);
    let outcome = if command.events.is_empty() { Outcome::default() } else { decider.run()? };
    Ok((Decision { effects: decider.effects }, outcome, decider.draws > 0))
}

/// What one request's steps share.
pub(super) struct Decider<'a, S> {
    pub(super) state: &'a mut S,
    pub(super) registry: &'a Registry,
    pub(super) command: &'a Command,
    pub(super) stamp: Stamp,
    pub(super) effects: Vec<Effect>,
    pub(super) warnings: Vec<&'static str>,
    /// The number that the first event of this request gets.
    pub(super) first_seq: EventSeq,
    /// The profiles that this request's events went to.
    pub(super) chosen: Vec<ProfileAt>,
    /// Time of the event for which session and profile are chosen.
    pub(super) chosen_at: Timestamp,
    /// How many merges there were at the position of the next event.
    pub(super) merges: u16,
    /// How many links were quarantined at the position of the next event.
    pub(super) quarantined: u16,
    /// Settings of namespaces that were looked up.
    pub(super) namespaces: Vec<(NamespaceNo, Option<&'a Namespace>)>,
    draws: u64,
}

fn all_same<T: PartialEq>(events: &[EventOutcome], of: impl Fn(&EventOutcome) -> T) -> bool {
    match events.split_first() {
        Some((first, others)) if !others.is_empty() => {
            let first = of(first);
            others.iter().all(|event| of(event) == first)
        }
        _ => true,
    }
}

impl<'a, S: View> Decider<'a, S> {
    pub(super) fn new(state: &'a mut S, registry: &'a Registry, command: &'a Command, stamp: Stamp) -> Self {
        let first_seq = state.counters().seq.next();
        Self {
            state,
            registry,
            command,
            stamp,
            effects: Vec::new(),
            warnings: Vec::new(),
            first_seq,
            chosen: Vec::new(),
            chosen_at: stamp.received,
            merges: 0,
            quarantined: 0,
            namespaces: Vec::new(),
            draws: 0,
        }
    }

    pub(super) fn outcome(&mut self, mut events: Vec<EventOutcome>) -> Outcome {
        let profile = events.last().and_then(|event| event.profile.clone());
        let session = events.last().and_then(|event| event.session.clone());
        let name = |event: &EventOutcome| event.session.as_ref().map(|session| session.name.clone());
        if all_same(&events, name) {
            events.iter_mut().for_each(|event| event.session = None);
        }
        if all_same(&events, |event| event.profile.as_ref().map(|profile| profile.key.clone())) {
            events.iter_mut().for_each(|event| event.profile = None);
        }
        let mut warnings = std::mem::take(&mut self.warnings);
        let mut seen = Vec::new();
        warnings.retain(|code| {
            !seen.contains(code) && {
                seen.push(code);
                true
            }
        });
        Outcome { profile, session, events, warnings }
    }

    pub(super) fn warn(&mut self, code: &'static str) {
        self.warnings.push(code);
    }

    /// A new id: time-ordered, with 74 bits that depend on the stamp's entropy.
    pub(super) fn draw_id(&mut self) -> Uuid {
        self.draws += 1;
        let bits = xxhash_rust::xxh3::xxh3_128_with_seed(&self.stamp.entropy.to_le_bytes(), self.draws);
        let mut random = [0; 10];
        random.copy_from_slice(bits.to_le_bytes().first_chunk::<10>().unwrap_or(&[0; 10]));
        let ms = u64::try_from(self.stamp.received.millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
    }

    pub(super) fn profile_outcome(&self, at: ProfileAt) -> Result<ProfileOutcome, Error> {
        let row = fragment_row(self.state, at.fragment)?;
        let own = if self.command.source.secret {
            row.clone()
        } else {
            // That somebody else sits at the device now follows from who has which identifier. A browser that is
            // not to learn this has one id, whoever sits there.
            let device = self.state.devices(&row.device)?.ok_or_else(|| missing("device"))?;
            fragment_row(self.state, device.first)?
        };
        let primary = if row.is_alone() {
            row.key.clone()
        } else {
            let oldest = oldest_of(self.state, root_of(self.state, at.fragment)?)?;
            fragment_row(self.state, oldest)?.key.clone()
        };
        Ok(ProfileOutcome {
            key: own.key.clone(),
            primary,
            reason: at.reason,
            created: own.created >= self.first_seq,
        })
    }

    pub(super) fn same_person(&self, one: FragmentNo, other: FragmentNo) -> Result<bool, Error> {
        same_person(self.state, one, other)
    }
}

impl<S> Decider<'_, S> {
    /// Whether an id was drawn.
    pub(super) const fn drew(&self) -> bool {
        self.draws > 0
    }

    /// What was decided.
    pub(super) fn into_effects(self) -> Vec<Effect> {
        self.effects
    }
}

impl<S: State> Decider<'_, S> {
    fn run(&mut self) -> Result<Outcome, Error> {
        let session = self.find_session()?;
        let by_id = self.find_profile(session.as_ref())?;
        let mut first = match self.find_repeats(session.as_ref(), &by_id)? {
            Firsts::All(firsts) => return self.answer_repeats(&firsts, &by_id),
            Firsts::Some(first) => first,
        };
        self.note_rules()?;
        self.stamp_clock();
        if by_id == Sent::Unknown {
            self.warn("profile_unknown");
        }
        let names_devices = self.names_devices(&by_id);
        let mut events = Vec::with_capacity(self.command.events.len());
        // Decided once per request; what a backend says of its users, once per event.
        let mut once: Option<Choice> = None;
        let mut session = session;
        for index in 0..self.command.events.len() {
            let sent = if names_devices { self.sent_for(&by_id, index)? } else { by_id.clone() };
            if names_devices && index > 0 {
                session = self.find_session()?;
            }
            let scope = self.scope(session.as_ref().map(|(no, _)| *no), &sent, index);
            let found = match (first.take(), scope) {
                (Some(first), _) if index == 0 => Some(first),
                (_, scope) => scope.map(|scope| self.find_repeat(scope, index)).transpose()?,
            };
            if let Some(Repeat::Stored(first)) = found {
                // An id that this request brought may be known by now.
                let sent = self.sent_for(&self.find_profile(None)?, index)?;
                events.push(self.repeat_outcome(first, &sent)?);
                continue;
            }
            let own = names_devices && sent != by_id;
            let choice = match &once {
                Some(choice) if !own => choice.clone(),
                _ => {
                    if let Some(event) = self.command.request.events.get(index) {
                        self.chosen_at = self.event_time(event, index).0;
                    }
                    self.choose(session.clone(), &sent)?
                }
            };
            if own || once.is_none() {
                self.chosen.extend(choice.profile);
            }
            let (outcome, followed) = self.store(index, choice, &by_id, scope.zip(found))?;
            if !own {
                once = Some(followed);
            }
            events.push(outcome);
        }
        if self.effects.iter().any(|effect| matches!(effect, Effect::Bridge { .. })) {
            for event in &mut events {
                event.session = self.session_outcome(event.seq)?.or(event.session.take());
            }
        }
        Ok(self.outcome(events))
    }

    /// A change of the rules of identity is in the record of the first decision that is made by them.
    pub(super) fn note_rules(&mut self) -> Result<(), Error> {
        let (rules, hash) = &self.registry.rules;
        if self.state.counters().rules == *hash {
            return Ok(());
        }
        self.emit(Effect::Ruled(rules.clone()))
    }

    fn stamp_clock(&mut self) {
        if self.clock_correction_us() != 0 {
            self.warnings.push("clock_corrected");
        }
    }

    /// Applies an effect and keeps it for the record.
    pub(super) fn emit(&mut self, effect: Effect) -> Result<(), Error> {
        apply(self.state, self.stamp.received, &effect)?;
        self.effects.push(effect);
        Ok(())
    }

    /// The number of a name, given now if it has none.
    pub(super) fn name(&mut self, kind: NameKind, text: &str) -> Result<u32, Error> {
        match self.known_name(kind, text)? {
            Some((no, _)) => Ok(no),
            None => self.give_name(kind, text, None),
        }
    }

    pub(super) fn give_name(
        &mut self,
        kind: NameKind,
        text: &str,
        trait_kind: Option<TraitKind>,
    ) -> Result<u32, Error> {
        let no = self.state.counters().names.get(kind.index()).map_or(1, |last| last + 1);
        self.emit(Effect::Name { kind, no, text: text.into(), trait_kind })?;
        Ok(no)
    }

    pub(super) fn source_no(&mut self) -> Result<SourceNo, Error> {
        let command = self.command;
        match command.names.source {
            Some(no) => Ok(SourceNo(no)),
            None => Ok(SourceNo(self.name(NameKind::Source, &command.source.name)?)),
        }
    }

    pub(super) fn space_no(&mut self) -> Result<SpaceNo, Error> {
        let command = self.command;
        match command.names.space {
            Some(no) => Ok(SpaceNo(no)),
            None => Ok(SpaceNo(self.name(NameKind::Space, &command.source.space)?)),
        }
    }
}
