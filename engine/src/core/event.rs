//! Stores one event of a request: its repeat, its time, its part, its traits and consents.

use super::choose::{Choice, Sent};
use super::decide::Decider;
use super::decision::{Effect, EventEffect, LinkCode, LinkResult, tie_of};
use super::outcome::{EventOutcome, SessionName, SessionOutcome};
use super::prepare::CommandEvent;
use super::repeats::Repeat;
use super::root::fragment_row;
use super::rows::{NameKind, ProfileAt, RepeatScope};
use super::session::{day_of, sessions_near};
use super::traits::{Order, TraitOperation};
use super::view::State;
use crate::error::Error;
use crate::ids::{AgentNo, ConsentNo, EventSeq, FragmentNo, PartNo, SessionNo, TraitNo, TypeNo};
use crate::limits::{CLOCK_TOLERANCE_MS, FRAGMENT_MAX_CONSENTS, FUTURE_TOLERANCE_MS};
use crate::reply::EventStatus;
use crate::request::{Consent, Event};
use crate::settings::TraitKind;
use crate::time::Timestamp;
use std::sync::Arc;

/// The event type by which a client ends its session.
pub const SESSION_END: &str = "session-end";

/// Microseconds in a millisecond.
const MILLI_US: i64 = 1_000;

/// Where an event's trait operations go, and their place in the order of event time.
#[derive(Clone, Copy)]
struct Place {
    fragment: FragmentNo,
    time: Timestamp,
    tie: u64,
    seq: EventSeq,
}

/// What an event's operations came to.
#[derive(Default)]
struct Accepted {
    traits: Vec<(TraitNo, u16, TraitOperation)>,
    consents: Vec<(ConsentNo, Consent)>,
    refused: Vec<(String, &'static str)>,
}

/// Whether a code says that the value, as it was sent, identifies nobody: it depends on no other profile.
const fn lies_in_value(code: LinkCode) -> bool {
    use LinkCode::{Junk, ProfileLess, TwoValues, UnknownNamespace, Unlinkable};
    matches!(code, ProfileLess | UnknownNamespace | Junk | Unlinkable | TwoValues)
}

impl<S: State> Decider<'_, S> {
    pub(super) fn store(
        &mut self,
        index: usize,
        choice: Choice,
        by_id: &Sent,
        found: Option<(RepeatScope, Repeat)>,
    ) -> Result<(EventOutcome, Choice), Error> {
        let command = self.command;
        let (Some(event), Some(parsed)) = (command.request.events.get(index), command.events.get(index))
        else {
            return Err(super::apply::missing("event"));
        };
        // In a session that is still to be opened there are no repeats.
        let is_new = choice.session.is_some_and(|chosen| chosen.session.is_none());
        let (scope, found) = match found {
            Some((scope, found)) => (Some(scope), found),
            None if is_new => (None, Repeat::New { step: Some(0), reused: false }),
            None => {
                let scope = self.scope_of(&choice, by_id, index)?;
                (Some(scope), self.find_repeat(scope, index)?)
            }
        };
        let (step, reused) = match found {
            Repeat::Stored(first) => return Ok((self.repeat_outcome(first, by_id)?, choice)),
            Repeat::New { step, reused } => (step, reused),
        };
        let (time, clamped) = self.event_time(event, index);
        let (mut choice, links) = match parsed.identifiers.as_slice() {
            [] => (choice, Vec::new()),
            _ => self.identify(index, choice, time)?,
        };
        self.settle_public(&choice, &links)?;
        let (part, session) = self.place(&mut choice, time)?;
        let scope = match scope {
            Some(scope) => scope,
            None => self.scope_of(&choice, by_id, index)?,
        };
        let accepted = self.accept(event, parsed, choice.profile, time)?;
        let event_type = match command.names.event_types.get(index) {
            Some(Some(no)) => TypeNo(*no),
            _ => TypeNo(self.name(NameKind::EventType, &event.event_type)?),
        };
        let agent = match (&command.agent, command.names.agent) {
            (None, _) => AgentNo(0),
            (Some(_), Some(no)) => AgentNo(no),
            (Some(packed), None) => AgentNo(self.name(NameKind::Agent, packed)?),
        };
        if !links.is_empty() {
            let fragment = choice.profile.map(|at| at.fragment);
            self.emit(Effect::Identified { fragment, results: links.clone() })?;
        }
        (self.merges, self.quarantined) = (0, 0);
        self.emit(Effect::Event(EventEffect {
            index: u16::try_from(index).unwrap_or(u16::MAX),
            part,
            event_type,
            time,
            id_hash: parsed.id_hash,
            repeat: step.map(|step| (scope.code(), step)),
            flags: self.flags(&event.event_type),
            value: parsed.value,
            agent,
            traits: accepted.traits,
            consents: accepted.consents,
        }))?;
        let seq = self.state.counters().seq;
        let session = session.unwrap_or(SessionOutcome { name: SessionName::Implicit(seq), created: true });
        let mut warnings = Vec::new();
        if reused {
            warnings.push("event_id_reused");
        }
        if clamped {
            warnings.push("time_clamped");
        }
        let outcome = EventOutcome {
            seq,
            status: EventStatus::Stored,
            session: Some(session),
            profile: choice.profile.map(|at| self.profile_outcome(at)).transpose()?,
            links: self.link_outcomes(links)?,
            refused: accepted.refused,
            warnings,
        };
        Ok((outcome, choice))
    }

    /// A device of a public source is somebody's once a value was sent there that could be linked, whatever became of
    /// it: whether its session is later joined to another device must not show what did.
    fn settle_public(&mut self, choice: &Choice, links: &[LinkResult]) -> Result<(), Error> {
        let told = links.iter().any(|link| !link.code.is_some_and(lies_in_value));
        if let (false, true, Some(at)) = (self.command.source.secret, told, choice.profile) {
            self.settle(fragment_row(self.state, at.fragment)?.device)?;
        }
        Ok(())
    }

    /// The scope under which the event is noted: session and device are there by now.
    fn scope_of(&self, choice: &Choice, by_id: &Sent, index: usize) -> Result<RepeatScope, Error> {
        let sent = match choice.profile {
            Some(at) if at.reason == crate::reply::Reason::Sent => {
                let device = fragment_row(self.state, at.fragment)?.device;
                Sent::Known { device, fragment: at.fragment, provisional: false, by_key: false }
            }
            _ => by_id.clone(),
        };
        let session = choice.session.and_then(|chosen| chosen.session);
        Ok(self.scope(session, &sent, index).unwrap_or_else(|| self.content_scope(index)))
    }

    fn flags(&self, event_type: &str) -> u8 {
        let source = &self.command.source;
        let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
        flag(source.page_views.contains(event_type), EventEffect::PAGE_VIEW)
            | flag(source.conversions.contains(event_type), EventEffect::CONVERSION)
            | flag(event_type == SESSION_END, EventEffect::SESSION_END)
    }

    /// What is added to the sender's times: nothing, unless its clock is wrong by more than the network explains.
    pub(super) fn clock_correction_us(&self) -> i64 {
        let request = &self.command.request;
        match request.sent_at {
            Some(sent_at) if !request.origin.is_import() => {
                let wrong_ms = self.stamp.received.millis() - sent_at.millis();
                if wrong_ms.abs() > CLOCK_TOLERANCE_MS { wrong_ms * MILLI_US } else { 0 }
            }
            _ => 0,
        }
    }

    /// The event's time, and whether it lay too far in the future. The position in the request goes into
    /// the microseconds where the sender has none, so that events of one millisecond keep their order.
    pub(super) fn event_time(&self, event: &Event, index: usize) -> (Timestamp, bool) {
        let position = i64::try_from(index).unwrap_or(0);
        let received = Timestamp(self.stamp.received.0 + position);
        let Some(time) = event.time else { return (received, false) };
        let position = if time.0 % MILLI_US == 0 { position.min(MILLI_US - 1) } else { 0 };
        let time = time.0.saturating_add(self.clock_correction_us()).saturating_add(position).max(0);
        if time > received.0.saturating_add(FUTURE_TOLERANCE_MS * MILLI_US) {
            return (received, true);
        }
        (Timestamp(time), false)
    }

    /// The part that an event goes to, and the session to name in the reply if it is not an implicit one.
    fn place(
        &mut self,
        choice: &mut Choice,
        time: Timestamp,
    ) -> Result<(Option<PartNo>, Option<SessionOutcome>), Error> {
        let fragment = choice.profile.map(|at| at.fragment);
        if let Some(chosen) = &mut choice.session {
            let part = self.part_of(chosen, fragment)?;
            let created = chosen.created;
            let id = self.command.request.session.as_deref().unwrap_or_default();
            return Ok((Some(part), Some(SessionOutcome { name: SessionName::Id(id.into()), created })));
        }
        let Some(at) = choice.profile else { return Ok((None, None)) };
        if self.command.source.by_inactivity {
            let (part, session) = self.place_by_inactivity(at, time)?;
            return Ok((Some(part), Some(session)));
        }
        if let Some(part) = fragment_row(self.state, at.fragment)?.implicit_part {
            return Ok((Some(part), None));
        }
        let part = self.state.counters().part.next();
        self.emit(Effect::ImplicitPart { part, fragment: at.fragment })?;
        Ok((Some(part), None))
    }

    /// 1. No session within reach: a new one. 2. One: that one. 3. More: the event bridges them; the oldest stays.
    fn place_by_inactivity(
        &mut self,
        at: ProfileAt,
        time: Timestamp,
    ) -> Result<(PartNo, SessionOutcome), Error> {
        let source = self.source_no()?;
        let timeout_ms = i64::from(self.command.source.timeout_ms);
        let near = sessions_near(self.state, at.fragment, source, time, timeout_ms)?;
        let session = match near.split_first() {
            None => {
                let id = self.draw_id().to_string();
                self.open_session(&id, true, Some(at.fragment))?.0
            }
            Some((kept, others)) => {
                for alias in others {
                    self.emit(Effect::Bridge { kept: *kept, alias: *alias })?;
                }
                *kept
            }
        };
        self.note_day(at.fragment, source, session, time)?;
        let row = self.state.sessions(&session)?.ok_or_else(|| super::apply::missing("session"))?;
        let created = row.created >= self.first_seq;
        Ok((row.first.part, SessionOutcome { name: SessionName::Id(row.id.clone()), created }))
    }

    fn note_day(
        &mut self,
        fragment: FragmentNo,
        source: crate::ids::SourceNo,
        session: SessionNo,
        time: Timestamp,
    ) -> Result<(), Error> {
        let day = day_of(time);
        let gap = self.state.gaps(&super::rows::GapKey { fragment, source, day })?;
        if gap.is_none_or(|gap| !gap.0.contains(&session)) {
            self.emit(Effect::Gap { fragment, source, day, session })?;
        }
        Ok(())
    }

    /// Which of the event's operations count. A refusal never fails the event.
    fn accept(
        &mut self,
        event: &Event,
        parsed: &CommandEvent,
        profile: Option<ProfileAt>,
        time: Timestamp,
    ) -> Result<Accepted, Error> {
        let mut accepted = Accepted::default();
        let Some(at) = profile else {
            let traits = parsed.traits.iter().map(|of| format!("traits.{}.{}", of.member, of.name));
            let consents = event.consents.iter().map(|(purpose, _)| format!("consents.{purpose}"));
            accepted.refused = traits.chain(consents).map(|path| (path, "profile_less")).collect();
            accepted.refused.dedup();
            return Ok(accepted);
        };
        if !parsed.traits.is_empty() {
            let seq = self.state.counters().seq.next();
            let tie = tie_of(parsed.id_hash);
            let place = Place { fragment: at.fragment, time, tie, seq };
            self.accept_traits(parsed, place, &mut accepted)?;
        }
        if !event.consents.is_empty() {
            self.accept_consents(event, at.fragment, &mut accepted)?;
        }
        Ok(accepted)
    }

    /// Tries each operation on a copy of what the fragment holds, so that its limits decide.
    fn accept_traits(
        &mut self,
        parsed: &CommandEvent,
        place: Place,
        accepted: &mut Accepted,
    ) -> Result<(), Error> {
        let held = self.state.traits(&place.fragment)?;
        let mut trial = held.map(Arc::unwrap_or_clone).unwrap_or_default();
        for (index, of) in parsed.traits.iter().enumerate() {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let verdict = match &of.operation {
                Ok(operation) => self.trait_no(&of.name, operation)?.and_then(|no| {
                    let order = Order { time: place.time, tie: place.tie, seq: place.seq, index };
                    trial.try_apply(no, order, operation)?;
                    Ok((no, index, operation.clone()))
                }),
                Err(code) => Err(if self.conflicts(&of.name, of.kind())? { "trait_kind" } else { *code }),
            };
            match verdict {
                Ok(operation) => accepted.traits.push(operation),
                Err(code) => {
                    let path = format!("traits.{}.{}", of.member, of.name);
                    if accepted.refused.last().is_none_or(|(last, _)| *last != path) {
                        accepted.refused.push((path, code));
                    }
                }
            }
        }
        Ok(())
    }

    /// The number of a trait, if the operation is of its kind; the first operation gives the kind.
    fn trait_no(
        &mut self,
        name: &str,
        operation: &TraitOperation,
    ) -> Result<Result<TraitNo, &'static str>, Error> {
        let kind = operation.kind();
        if self.conflicts(name, kind)? {
            return Ok(Err("trait_kind"));
        }
        match self.known_name(NameKind::Trait, name)? {
            Some((no, _)) => Ok(Ok(TraitNo(no))),
            None => Ok(Ok(TraitNo(self.give_name(NameKind::Trait, name, Some(kind))?))),
        }
    }

    /// Whether a trait is of another kind: by its first operation, or as declared.
    fn conflicts(&self, name: &str, kind: TraitKind) -> Result<bool, Error> {
        let given = match self.known_name(NameKind::Trait, name)? {
            Some((_, given)) => given,
            None => self.registry.traits.get(name).and_then(|of| of.kind),
        };
        Ok(given.is_some_and(|given| given != kind))
    }

    fn accept_consents(
        &mut self,
        event: &Event,
        fragment: FragmentNo,
        accepted: &mut Accepted,
    ) -> Result<(), Error> {
        let held = self.state.consents(&fragment)?;
        for (purpose, consent) in &event.consents {
            let count = held.as_ref().map_or(0, |held| held.0.len()) + accepted.consents.len();
            let known = match self.known_name(NameKind::Consent, purpose)? {
                Some((no, _)) => held.as_ref().is_some_and(|held| held.0.get(ConsentNo(no)).is_some()),
                None => false,
            };
            if !known && count >= FRAGMENT_MAX_CONSENTS {
                accepted.refused.push((format!("consents.{purpose}"), "consent_limit"));
                continue;
            }
            let no = ConsentNo(self.name(NameKind::Consent, purpose)?);
            accepted.consents.push((no, *consent));
        }
        Ok(())
    }
}
