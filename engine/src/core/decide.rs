//! Decides a request: which session, which profile, what each event changes.
//!
//! Pure: state, command and stamp in, effects and outcome out. Each effect is applied as soon as it is
//! decided, so that the next step, and the next event of the request, sees it.
//!
//! The steps, in this order:
//! 1. look up what was sent: session, profile;
//! 2. find repeats; a request of nothing but repeats changes nothing;
//! 3. choose session and fragment, once per request (`choose.rs`);
//! 4. store each event (`event.rs`).

use super::apply::{apply, missing, same_person};
use super::choose::{Choice, Sent};
use super::decision::{Decision, Effect};
use super::prepare::Command;
use super::root::{fragment_row, oldest_of, root_of};
use super::rows::{DeviceKey, NameKey, NameKind, ProfileAt, RepeatKey, RepeatScope, SessionKey, SessionRow};
use super::session::session_row;
use super::sources::Registry;
use super::view::{KnownEvent, State, View};
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, ProfileKey, SessionNo, SourceNo, SpaceNo};
use crate::reply::{EventStatus, Reason};
use crate::settings::TraitKind;
use crate::time::Timestamp;
use std::sync::Arc;
use uuid::Uuid;

/// Events of one hash that are told apart within one scope; further ones are stored without protection
/// against repeats. Only ids made to collide get this far.
pub const REPEAT_STEPS: u8 = 8;

/// What a decision takes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Received; the event at index i is stamped i microseconds later.
    pub received: Timestamp,
    /// Random bits from which ids are drawn.
    pub entropy: u128,
}

/// What the request is answered with, beside what the sender knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Of the last event.
    pub profile: Option<ProfileOutcome>,
    /// Of the last event.
    pub session: Option<SessionOutcome>,
    /// One per event.
    pub events: Vec<EventOutcome>,
    /// Codes.
    pub warnings: Vec<&'static str>,
}

/// The profile of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileOutcome {
    /// The fragment's id.
    pub key: ProfileKey,
    /// The person's.
    pub primary: ProfileKey,
    /// How it was found.
    pub reason: Reason,
    /// Whether the device was made.
    pub created: bool,
}

/// The session of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOutcome {
    /// Its name.
    pub name: SessionName,
    /// Whether it was made.
    pub created: bool,
}

/// How a session is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionName {
    /// By its id.
    Id(Box<str>),
    /// By the event that is all there is in it.
    Implicit(EventSeq),
}

/// The result for one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventOutcome {
    /// Its place in the log, or that of the first.
    pub seq: EventSeq,
    /// Stored now, or before.
    pub status: EventStatus,
    /// Its session.
    pub session: Option<SessionOutcome>,
    /// Its profile.
    pub profile: Option<ProfileOutcome>,
    /// Operations not accepted: path within the event, and code.
    pub refused: Vec<(String, &'static str)>,
    /// Codes.
    pub warnings: Vec<&'static str>,
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
    chosen: Vec<ProfileAt>,
    draws: u64,
}

/// What was found of a repeat.
pub(super) enum Repeat {
    /// It is stored already, there.
    Stored(EventSeq),
    /// It is not; it can be noted so many steps from its hash. `reused` says that its id is known with
    /// another type.
    New { step: Option<u8>, reused: bool },
}

/// What looking for repeats came to.
#[derive(Debug)]
pub enum Lookup {
    /// There is nothing else in the request: it is answered.
    Repeats(Outcome),
    /// There is.
    New {
        /// The session that was sent, if it is known.
        session: Option<(SessionNo, Arc<SessionRow>)>,
    },
}

/// Answers a request of nothing but repeats, with session and profile as they are now.
///
/// # Errors
/// [`Error`] if the store could not be read.
pub fn answer_repeats<V: View>(
    view: &mut V,
    registry: &Registry,
    command: &Command,
) -> Result<Lookup, Error> {
    if command.events.is_empty() {
        return Ok(Lookup::Repeats(Outcome::default()));
    }
    let stamp = Stamp { received: Timestamp(0), entropy: 0 };
    let mut decider = Decider::new(view, registry, command, stamp);
    let (session, sent) = (decider.find_session()?, decider.find_profile()?);
    match decider.find_repeats(session.as_ref(), &sent)? {
        Some(firsts) => decider.answer_repeats(&firsts, &sent).map(Lookup::Repeats),
        None => Ok(Lookup::New { session }),
    }
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
    fn new(state: &'a mut S, registry: &'a Registry, command: &'a Command, stamp: Stamp) -> Self {
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
            draws: 0,
        }
    }

    fn outcome(&mut self, mut events: Vec<EventOutcome>) -> Outcome {
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

    pub(super) fn known_name(
        &self,
        kind: NameKind,
        text: &str,
    ) -> Result<Option<(u32, Option<TraitKind>)>, Error> {
        let row = self.state.names(&NameKey { kind, text: text.into() })?;
        Ok(row.map(|row| (row.no, row.trait_kind)))
    }

    /// The space's number, if anything was ever stored in it.
    fn known_space(&self) -> Result<Option<SpaceNo>, Error> {
        if let Some(no) = self.command.names.space {
            return Ok(Some(SpaceNo(no)));
        }
        Ok(self.known_name(NameKind::Space, &self.command.source.space)?.map(|(no, _)| SpaceNo(no)))
    }

    fn known_source(&self) -> Result<Option<SourceNo>, Error> {
        if let Some(no) = self.command.names.source {
            return Ok(Some(SourceNo(no)));
        }
        Ok(self.known_name(NameKind::Source, &self.command.source.name)?.map(|(no, _)| SourceNo(no)))
    }

    fn find_session(&self) -> Result<Option<(SessionNo, Arc<SessionRow>)>, Error> {
        let (Some(id), Some(space)) = (self.command.request.session.as_deref(), self.known_space()?) else {
            return Ok(None);
        };
        match self.state.session_ids(&SessionKey { space, id: id.into() })? {
            Some(session) => session_row(self.state, *session).map(Some),
            None => Ok(None),
        }
    }

    /// A trusted source's ids are its own first, then the server's; others name only the server's.
    fn find_profile(&self) -> Result<Sent, Error> {
        let Some(id) = self.command.request.profile.as_deref() else { return Ok(Sent::Nothing) };
        if self.command.source.trusted
            && let Some(space) = self.known_space()?
            && let Some(row) = self.state.client_ids(&id.into())?
            && let Some((_, fragment)) = row.0.iter().find(|(of, _)| *of == space)
        {
            return self.holder_of(*fragment);
        }
        if let Ok(uuid) = Uuid::parse_str(id)
            && let Some(fragment) = self.state.server_ids(&uuid)?
        {
            return self.holder_of(*fragment);
        }
        Ok(if self.command.source.trusted { Sent::ToMake } else { Sent::Unknown })
    }

    fn holder_of(&self, fragment: FragmentNo) -> Result<Sent, Error> {
        let device = fragment_row(self.state, fragment)?.device;
        let row = self.state.devices(&device)?.ok_or_else(|| missing("device"))?;
        Ok(Sent::Known { device, fragment: row.holder, by_key: false })
    }

    pub(super) fn find_repeat(&self, scope: RepeatScope, index: usize) -> Result<Repeat, Error> {
        let none = Repeat::New { step: None, reused: false };
        let (Some(event), Some(parsed)) =
            (self.command.request.events.get(index), self.command.events.get(index))
        else {
            return Ok(none);
        };
        let Some(id) = event.id.as_deref() else { return Ok(none) };
        let mut reused = false;
        for step in 0..REPEAT_STEPS {
            let key = RepeatKey { scope: scope.code(), hash: parsed.id_hash.wrapping_add(u64::from(step)) };
            let Some(seq) = self.state.repeat(key)? else {
                return Ok(Repeat::New { step: Some(step), reused });
            };
            let known = self.known_event(seq)?;
            if &*known.id == id {
                if *known.event_type == *event.event_type {
                    return Ok(Repeat::Stored(seq));
                }
                reused = true;
            }
        }
        Ok(Repeat::New { step: None, reused })
    }

    pub(super) fn profile_outcome(&self, at: ProfileAt) -> Result<ProfileOutcome, Error> {
        let row = fragment_row(self.state, at.fragment)?;
        let oldest = oldest_of(self.state, root_of(self.state, at.fragment)?)?;
        let primary = if oldest == at.fragment {
            row.key.clone()
        } else {
            fragment_row(self.state, oldest)?.key.clone()
        };
        Ok(ProfileOutcome {
            key: row.key.clone(),
            primary,
            reason: at.reason,
            created: row.created >= self.first_seq,
        })
    }

    pub(super) fn same_person(&self, one: FragmentNo, other: FragmentNo) -> Result<bool, Error> {
        same_person(self.state, one, other)
    }

    /// What names the profile of an event: the id that was sent with the request if it is known, else, in a
    /// `server` source, the event's identifier of the highest priority.
    pub(super) fn sent_for(&self, sent: &Sent, index: usize) -> Result<Sent, Error> {
        if !self.names_devices(sent) {
            return Ok(sent.clone());
        }
        let Some((namespace, value)) =
            self.command.events.get(index).and_then(|event| event.device_key.as_ref())
        else {
            return Ok(sent.clone());
        };
        let (namespace, value) = (namespace.clone(), value.clone());
        if let Some(source) = self.known_source()?
            && let key = (DeviceKey { source, namespace: namespace.clone(), value: value.clone() })
            && let Some(device) = self.state.device_keys(&key)?
        {
            let row = self.state.devices(&device)?.ok_or_else(|| missing("device"))?;
            return Ok(Sent::Known { device: *device, fragment: row.holder, by_key: true });
        }
        Ok(Sent::ToMakeFor { namespace, value })
    }

    /// Whether identifiers name the devices of this request's events.
    pub(super) fn names_devices(&self, sent: &Sent) -> bool {
        self.command.source.server
            && !self.command.request.profile_less
            && matches!(sent, Sent::Nothing | Sent::Unknown)
    }

    /// Where an event's id is unique: the first of these that was sent: session, profile id or device key,
    /// source. `None` where that is not there yet; once it is, the same rule gives the scope under which the
    /// event is noted. `by_id` is what the profile id alone leads to, `sent` what names this event's device.
    pub(super) fn scope(
        &self,
        session: Option<SessionNo>,
        by_id: &Sent,
        sent: &Sent,
    ) -> Result<Option<RepeatScope>, Error> {
        let request = &self.command.request;
        if request.session.is_some() {
            return Ok(session.map(RepeatScope::Session));
        }
        if *by_id == Sent::Unknown {
            let text = format!("{}\n{}", self.command.source.name, request.profile.as_deref().unwrap_or(""));
            return Ok(Some(RepeatScope::Foreign(super::prepare::id_hash(&text))));
        }
        Ok(match sent {
            Sent::Known { device, .. } => Some(RepeatScope::Device(*device)),
            Sent::ToMake | Sent::ToMakeFor { .. } => None,
            Sent::Unknown | Sent::Nothing => self.known_source()?.map(RepeatScope::Source),
        })
    }

    /// The firsts of a request of nothing but repeats.
    fn find_repeats(
        &self,
        session: Option<&(SessionNo, Arc<SessionRow>)>,
        by_id: &Sent,
    ) -> Result<Option<Vec<EventSeq>>, Error> {
        let mut firsts = Vec::with_capacity(self.command.events.len());
        for index in 0..self.command.events.len() {
            let sent = self.sent_for(by_id, index)?;
            let scope = self.scope(session.map(|(no, _)| *no), by_id, &sent)?;
            match scope.map(|scope| self.find_repeat(scope, index)).transpose()? {
                Some(Repeat::Stored(first)) => firsts.push(first),
                _ => return Ok(None),
            }
        }
        Ok(Some(firsts))
    }

    /// An event that is stored, perhaps by this very request.
    fn known_event(&self, seq: EventSeq) -> Result<KnownEvent, Error> {
        let Some(place) = seq.0.checked_sub(self.first_seq.0) else {
            return self.state.known_event(seq)?.ok_or_else(|| missing("first event"));
        };
        let mut events = self.effects.iter().filter_map(|effect| match effect {
            Effect::Event(event) => Some(event),
            _ => None,
        });
        let effect = usize::try_from(place).ok().and_then(|place| events.nth(place));
        let effect = effect.ok_or_else(|| missing("first event"))?;
        let sent = self.command.request.events.get(usize::from(effect.index));
        let sent = sent.ok_or_else(|| missing("first event"))?;
        Ok(KnownEvent {
            id: sent.id.as_deref().unwrap_or_default().into(),
            event_type: sent.event_type.as_str().into(),
            part: effect.part,
        })
    }

    fn answer_repeats(&mut self, firsts: &[EventSeq], by_id: &Sent) -> Result<Outcome, Error> {
        let mut events = Vec::with_capacity(firsts.len());
        for (index, first) in firsts.iter().enumerate() {
            let sent = self.sent_for(by_id, index)?;
            events.push(self.repeat_outcome(*first, &sent)?);
        }
        Ok(self.outcome(events))
    }

    /// The result for a repeat: the first's place, with session and profile as they are now. Its reason is how
    /// the profile would be found now, unless this request has just found it.
    pub(super) fn repeat_outcome(&self, first: EventSeq, sent: &Sent) -> Result<EventOutcome, Error> {
        let mut outcome = EventOutcome {
            seq: first,
            status: EventStatus::Duplicate,
            session: Some(SessionOutcome {
                name: SessionName::Implicit(first),
                created: first >= self.first_seq,
            }),
            profile: None,
            refused: Vec::new(),
            warnings: Vec::new(),
        };
        if let Some(session) = self.session_outcome(first)? {
            outcome.session = Some(session);
        }
        let Some(part) = self.known_event(first)?.part else { return Ok(outcome) };
        let part = self.state.parts(&part)?.ok_or_else(|| missing("part"))?;
        if let Some(fragment) = part.fragment {
            let at = match self.chosen.iter().rfind(|at| at.fragment == fragment) {
                Some(at) => *at,
                None => ProfileAt { fragment, reason: self.repeat_reason(fragment, sent)? },
            };
            outcome.profile = Some(self.profile_outcome(at)?);
        }
        Ok(outcome)
    }

    /// The session of a stored event as it is now; `None` if it is implicit.
    fn session_outcome(&self, seq: EventSeq) -> Result<Option<SessionOutcome>, Error> {
        let Some(part) = self.known_event(seq)?.part else { return Ok(None) };
        let part = self.state.parts(&part)?.ok_or_else(|| missing("part"))?;
        let Some(session) = part.session else { return Ok(None) };
        let (_, row) = session_row(self.state, session)?;
        let created = row.created >= self.first_seq;
        Ok(Some(SessionOutcome { name: SessionName::Id(row.id.clone()), created }))
    }

    fn repeat_reason(&self, fragment: FragmentNo, sent: &Sent) -> Result<Reason, Error> {
        let Sent::Known { fragment: known, .. } = sent else { return Ok(Reason::Recovered) };
        let same = self.same_person(*known, fragment)?;
        Ok(if same { Reason::Sent } else { Reason::SessionOwner })
    }
}

impl<S: State> Decider<'_, S> {
    fn run(&mut self) -> Result<Outcome, Error> {
        let session = self.find_session()?;
        let by_id = self.find_profile()?;
        if let Some(firsts) = self.find_repeats(session.as_ref(), &by_id)? {
            return self.answer_repeats(&firsts, &by_id);
        }
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
            let scope = self.scope(session.as_ref().map(|(no, _)| *no), &by_id, &sent)?;
            let found = scope.map(|scope| self.find_repeat(scope, index)).transpose()?;
            if let Some(Repeat::Stored(first)) = found {
                // An id that this request brought may be known by now.
                let sent = self.sent_for(&self.find_profile()?, index)?;
                events.push(self.repeat_outcome(first, &sent)?);
                continue;
            }
            let own = names_devices && sent != by_id;
            let choice = match &once {
                Some(choice) if !own => choice.clone(),
                _ => self.choose(session.clone(), &sent)?,
            };
            if own || once.is_none() {
                self.chosen.extend(choice.profile);
            }
            if !own {
                once = Some(choice.clone());
            }
            events.push(self.store(index, &choice, &by_id)?);
        }
        if self.effects.iter().any(|effect| matches!(effect, Effect::Bridge { .. })) {
            for event in &mut events {
                event.session = self.session_outcome(event.seq)?.or(event.session.take());
            }
        }
        Ok(self.outcome(events))
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
