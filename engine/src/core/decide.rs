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
use crate::ids::{DeviceNo, EventSeq, FragmentNo, ProfileKey, SessionNo, SourceNo, SpaceNo};
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

/// The outcome of a request of nothing but repeats, with session and profile as they are now; else `None`.
///
/// # Errors
/// [`Error`] if the store could not be read.
pub fn answer_repeats<V: View>(
    view: &mut V,
    registry: &Registry,
    command: &Command,
) -> Result<Option<Outcome>, Error> {
    if command.events.is_empty() {
        return Ok(Some(Outcome::default()));
    }
    let stamp = Stamp { received: Timestamp(0), entropy: 0 };
    let mut decider = Decider::new(view, registry, command, stamp);
    let (session, sent) = (decider.find_session()?, decider.find_profile()?);
    match decider.find_repeats(session.as_ref(), &sent)? {
        Some(firsts) => decider.answer_repeats(&firsts).map(Some),
        None => Ok(None),
    }
}

impl<'a, S: View> Decider<'a, S> {
    fn new(state: &'a mut S, registry: &'a Registry, command: &'a Command, stamp: Stamp) -> Self {
        Self { state, registry, command, stamp, effects: Vec::new(), warnings: Vec::new(), draws: 0 }
    }

    /// In a `server` source, an identifier names the device where neither session nor profile was sent.
    pub(super) fn names_devices(&self) -> bool {
        let request = &self.command.request;
        self.command.source.server
            && request.session.is_none()
            && request.profile.is_none()
            && !request.profile_less
    }

    fn outcome(&mut self, mut events: Vec<EventOutcome>) -> Outcome {
        let profile = events.last().and_then(|event| event.profile.clone());
        let session = events.last().and_then(|event| event.session.clone());
        let name = |event: &EventOutcome| event.session.as_ref().map(|session| session.name.clone());
        let key = |event: &EventOutcome| event.profile.as_ref().map(|profile| profile.key.clone());
        if events.len() == 1 || events.windows(2).all(|pair| name(&pair[0]) == name(&pair[1])) {
            events.iter_mut().for_each(|event| event.session = None);
        }
        if events.len() == 1 || events.windows(2).all(|pair| key(&pair[0]) == key(&pair[1])) {
            events.iter_mut().for_each(|event| event.profile = None);
        }
        let mut warnings = std::mem::take(&mut self.warnings);
        let mut seen = Vec::new();
        warnings.retain(|code| !seen.contains(code) && { seen.push(code); true });
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
        Ok(self.known_name(NameKind::Space, &self.command.source.space)?.map(|(no, _)| SpaceNo(no)))
    }

    fn known_source(&self) -> Result<Option<SourceNo>, Error> {
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
        Ok(Sent::Known { device, fragment: row.holder })
    }

    /// Where the request's event ids are unique; `None` where that is not there yet. After the choice the
    /// same rule gives the scope under which they are noted.
    pub(super) fn scope(
        &self,
        session: Option<SessionNo>,
        sent: &Sent,
        device: Option<DeviceNo>,
        index: usize,
    ) -> Result<Option<RepeatScope>, Error> {
        let request = &self.command.request;
        if request.session.is_some() {
            return Ok(session.map(RepeatScope::Session));
        }
        Ok(match sent {
            Sent::Known { device, .. } => Some(RepeatScope::Device(*device)),
            Sent::ToMake => device.map(RepeatScope::Device),
            Sent::Unknown => {
                let text = format!("{}\n{}", self.command.source.name, request.profile.as_deref().unwrap_or(""));
                Some(RepeatScope::Foreign(super::prepare::id_hash(&text)))
            }
            Sent::Nothing if self.names_devices() && self.key_of(index).is_some() => match device {
                Some(device) => Some(RepeatScope::Device(device)),
                None => self.known_device(index)?.map(RepeatScope::Device),
            },
            Sent::Nothing => self.known_source()?.map(RepeatScope::Source),
        })
    }

    /// The identifier that names an event's device: its own, or the first of the request.
    pub(super) fn key_of(&self, index: usize) -> Option<&'a (Box<str>, Box<str>)> {
        let events = &self.command.events;
        let own = events.get(index).and_then(|event| event.device_key.as_ref());
        own.or_else(|| events.iter().find_map(|event| event.device_key.as_ref()))
    }

    fn known_device(&self, index: usize) -> Result<Option<DeviceNo>, Error> {
        let (Some((namespace, value)), Some(source)) = (self.key_of(index), self.known_source()?) else {
            return Ok(None);
        };
        let key = DeviceKey { source, namespace: namespace.clone(), value: value.clone() };
        Ok(self.state.device_keys(&key)?.map(|device| *device))
    }

    /// The firsts of a request of nothing but repeats.
    fn find_repeats(
        &self,
        session: Option<&(SessionNo, Arc<SessionRow>)>,
        sent: &Sent,
    ) -> Result<Option<Vec<EventSeq>>, Error> {
        let mut firsts = Vec::with_capacity(self.command.events.len());
        for index in 0..self.command.events.len() {
            let scope = self.scope(session.map(|(no, _)| *no), sent, None, index)?;
            match scope.map(|scope| self.find_repeat(scope, index)).transpose()? {
                Some(Repeat::Stored(first)) => firsts.push(first),
                _ => return Ok(None),
            }
        }
        Ok(Some(firsts))
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

    fn known_event(&self, seq: EventSeq) -> Result<KnownEvent, Error> {
        self.state.known_event(seq)?.ok_or_else(|| missing("first event"))
    }

    fn answer_repeats(&mut self, firsts: &[EventSeq]) -> Result<Outcome, Error> {
        let mut events = Vec::with_capacity(firsts.len());
        for first in firsts {
            events.push(self.repeat_outcome(*first)?);
        }
        Ok(self.outcome(events))
    }

    /// The result for a repeat: the first's place, with session and profile as they are now.
    pub(super) fn repeat_outcome(&self, first: EventSeq) -> Result<EventOutcome, Error> {
        let mut outcome = EventOutcome {
            seq: first,
            status: EventStatus::Duplicate,
            session: Some(SessionOutcome { name: SessionName::Implicit(first), created: false }),
            profile: None,
            refused: Vec::new(),
            warnings: Vec::new(),
        };
        let Some(part) = self.known_event(first)?.part else { return Ok(outcome) };
        let part = self.state.parts(&part)?.ok_or_else(|| missing("part"))?;
        if let Some(session) = part.session {
            let (_, row) = session_row(self.state, session)?;
            let name = SessionName::Id(row.id.clone());
            outcome.session = Some(SessionOutcome { name, created: false });
        }
        if let Some(fragment) = part.fragment {
            outcome.profile = Some(self.profile_outcome(ProfileAt {
                fragment,
                reason: self.repeat_reason(),
                created: false,
            })?);
        }
        Ok(outcome)
    }

    fn repeat_reason(&self) -> Reason {
        let request = &self.command.request;
        if request.profile.is_some() || self.names_devices() {
            Reason::Sent
        } else if request.session.is_some() {
            Reason::Recovered
        } else {
            Reason::Created
        }
    }

    pub(super) fn profile_outcome(&self, at: ProfileAt) -> Result<ProfileOutcome, Error> {
        let row = fragment_row(self.state, at.fragment)?;
        let oldest = oldest_of(self.state, root_of(self.state, at.fragment)?)?;
        let primary =
            if oldest == at.fragment { row.key.clone() } else { fragment_row(self.state, oldest)?.key.clone() };
        Ok(ProfileOutcome { key: row.key.clone(), primary, reason: at.reason, created: at.created })
    }

    pub(super) fn same_person(&self, one: FragmentNo, other: FragmentNo) -> Result<bool, Error> {
        same_person(self.state, one, other)
    }

}

impl<S: State> Decider<'_, S> {
    fn run(&mut self) -> Result<Outcome, Error> {
        let session = self.find_session()?;
        let sent = self.find_profile()?;
        if let Some(firsts) = self.find_repeats(session.as_ref(), &sent)? {
            return self.answer_repeats(&firsts);
        }
        self.stamp_clock();
        let mut choice = None;
        if !self.names_devices() {
            choice = Some(self.choose(session, &sent)?);
        }
        let mut events = Vec::with_capacity(self.command.events.len());
        for index in 0..self.command.events.len() {
            let chosen = match &choice {
                Some(choice) => choice.clone(),
                None => self.choose_by_key(index)?,
            };
            events.push(self.store(index, &chosen, &sent)?);
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
        Ok(SourceNo(self.name(NameKind::Source, &command.source.name)?))
    }

    pub(super) fn space_no(&mut self) -> Result<SpaceNo, Error> {
        let command = self.command;
        Ok(SpaceNo(self.name(NameKind::Space, &command.source.space)?))
    }

    /// The choice for an event of a `server` source that names its device.
    fn choose_by_key(&mut self, index: usize) -> Result<Choice, Error> {
        let source = self.source_no()?;
        let Some((namespace, value)) = self.key_of(index) else {
            return self.choose(None, &Sent::Nothing);
        };
        let key = DeviceKey { source, namespace: namespace.clone(), value: value.clone() };
        if let Some(device) = self.state.device_keys(&key)? {
            let row = self.state.devices(&device)?.ok_or_else(|| missing("device"))?;
            return Ok(Choice::without_session(ProfileAt {
                fragment: row.holder,
                reason: Reason::Sent,
                created: false,
            }));
        }
        let id = ProfileKey::Server(self.draw_id());
        let fragment = self.make_device(id, false, Some(key))?;
        Ok(Choice::without_session(ProfileAt { fragment, reason: Reason::Sent, created: true }))
    }
}
