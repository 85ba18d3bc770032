//! Which session, which fragment: once per request.
//!
//! The table (docs/sessions-and-profiles.md has it with examples; "known" is found in the store):
//!
//! | session | profile sent | session used | fragment used | reason |
//! |---|---|---|---|---|
//! | none | none | one per event | a new device's | `created` |
//! | none | known | one per event | the device's holder | `sent` |
//! | none | unknown | one per event | a new device's | `created`, `profile_unknown` |
//! | unknown | none / known / unknown | made | as above | as above |
//! | known | none or unknown | that one | the session's | `recovered` |
//! | known | the same person | that one | the session's | `sent` |
//! | known | another person's | that one | the session's | `session_owner`, `profile_mismatch` |
//! | known, provisional | known | that one | the sent device's; the two are joined | `sent` |
//! | known, without a profile | none, unknown, known | that one, now bound | new, new, sent | |
//! | any | by a trusted source | that one, in a part of its own | the sent device's | `sent` |
//!
//! A shared session chooses nobody: it stands for none, with the warning `session_shared`. A fragment whose value is
//! blocked stands for the one that held the device before.

use super::apply::missing;
use super::decide::Decider;
use super::decision::Effect;
use super::root::{fragment_row, root_of};
use super::rows::{DeviceKey, DirectKind, PairKey, ProfileAt, SessionRow};
use super::session::part_for;
use super::view::State;
use crate::error::Error;
use crate::ids::{DeviceNo, FragmentNo, PartNo, ProfileKey, SessionNo};
use crate::limits::SESSION_MAX_OTHER_PROFILES;
use crate::reply::Reason;
use std::sync::Arc;

/// What the profile id that was sent leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// No id was sent.
    Nothing,
    /// It names nothing, and is not adopted.
    Unknown,
    /// A trusted source's id of a device that is still to be made.
    ToMake,
    /// The identifier of a `server` source's user, whose device is still to be made.
    ToMakeFor { namespace: Box<str>, value: Box<str> },
    /// A device, and its holder.
    Known {
        device: DeviceNo,
        fragment: FragmentNo,
        /// Whether nothing has confirmed the device yet.
        provisional: bool,
        /// Whether an identifier of a `server` source named it, and no id.
        by_key: bool,
    },
}

/// Where the events of a request go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// The fragment; `None` if profile-less.
    pub profile: Option<ProfileAt>,
    /// The session that was sent, and the part of it.
    pub session: Option<ChosenSession>,
}

/// A session that was sent. Its part is found, or opened, when it is known whose events go there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChosenSession {
    /// `None`: it is still to be opened.
    pub session: Option<SessionNo>,
    /// `None`: not looked for yet.
    pub part: Option<PartNo>,
    /// Whether the session goes on with that part.
    pub becomes_current: bool,
    /// Whether this request made it.
    pub created: bool,
}

impl<S: State> Decider<'_, S> {
    pub(super) fn choose(
        &mut self,
        session: Option<(SessionNo, Arc<SessionRow>)>,
        sent: &Sent,
    ) -> Result<Choice, Error> {
        let command = self.command;
        let sends_session = command.request.session.is_some();
        let created = session.as_ref().is_none_or(|(_, row)| row.created >= self.first_seq);
        let chosen =
            |session, becomes_current| ChosenSession { session, part: None, becomes_current, created };
        if command.request.profile_less {
            let known = session.map(|(session, _)| session);
            return Ok(Choice { profile: None, session: sends_session.then(|| chosen(known, false)) });
        }
        if !sends_session {
            return Ok(Choice { profile: Some(self.by_sent(sent, false)?), session: None });
        }
        let Some((session, row)) = session else {
            let profile = self.by_sent(sent, true)?;
            return Ok(Choice { profile: Some(profile), session: Some(chosen(None, false)) });
        };
        let (profile, becomes_current) = self.by_session(session, &row, sent)?;
        let session = Some(chosen(Some(session), becomes_current));
        Ok(Choice { profile: Some(profile), session })
    }

    /// The part of a chosen session for a fragment, opened now if there is none.
    pub(super) fn part_of(
        &mut self,
        chosen: &mut ChosenSession,
        fragment: Option<FragmentNo>,
    ) -> Result<PartNo, Error> {
        if let Some(part) = chosen.part {
            return Ok(part);
        }
        let part = match chosen.session {
            None => {
                let command = self.command;
                let id = command.request.session.as_deref().unwrap_or_default();
                let (session, part) = self.open_session(id, false, fragment)?;
                chosen.session = Some(session);
                part
            }
            Some(session) => {
                let row = self.state.sessions(&session)?.ok_or_else(|| missing("session"))?;
                let part = self.part_in(session, &row, fragment)?;
                if chosen.becomes_current && row.current.part != part {
                    self.emit(Effect::Current { session, part, fragment })?;
                }
                part
            }
        };
        chosen.part = Some(part);
        Ok(part)
    }

    /// The fragment where no session decides. A device made without an id in a session is provisional.
    fn by_sent(&mut self, sent: &Sent, in_session: bool) -> Result<ProfileAt, Error> {
        match sent {
            Sent::Known { device, fragment, provisional, .. } => {
                if *provisional {
                    self.settle(*device)?;
                }
                Ok(ProfileAt { fragment: *fragment, reason: Reason::Sent })
            }
            Sent::ToMake => {
                let command = self.command;
                let id = command.request.profile.as_deref().unwrap_or_default().into();
                let key = ProfileKey::Client { space: self.space_no()?, id };
                let fragment = self.make_device(key, false, None)?;
                Ok(ProfileAt { fragment, reason: Reason::Sent })
            }
            Sent::ToMakeFor { namespace, value } => {
                let source = self.source_no()?;
                let key = DeviceKey { source, namespace: namespace.clone(), value: value.clone() };
                let id = ProfileKey::Server(self.draw_id());
                let fragment = self.make_device(id, false, Some(key))?;
                Ok(ProfileAt { fragment, reason: Reason::Sent })
            }
            Sent::Unknown | Sent::Nothing => {
                let key = ProfileKey::Server(self.draw_id());
                let provisional = in_session && *sent == Sent::Nothing;
                let fragment = self.make_device(key, provisional, None)?;
                Ok(ProfileAt { fragment, reason: Reason::Created })
            }
        }
    }

    /// The fragment within a known session, and whether the session goes on with it.
    fn by_session(
        &mut self,
        session: SessionNo,
        row: &SessionRow,
        sent: &Sent,
    ) -> Result<(ProfileAt, bool), Error> {
        let Some(current) = row.current.fragment else {
            return Ok((self.by_sent(sent, true)?, true));
        };
        // The commonest case by far: the session's own device sends its own id.
        if let (false, Sent::Known { fragment, provisional: false, .. }) = (row.shared, sent)
            && *fragment == current
        {
            return Ok((ProfileAt { fragment: current, reason: Reason::Sent }, true));
        }
        let owner = self.given_back(current)?;
        let moves = owner != current;
        if self.meet(session, row, owner, sent)? {
            self.warn("session_shared");
            return Ok((self.by_sent(sent, true)?, false));
        }
        if matches!(sent, Sent::Nothing | Sent::Unknown) {
            return Ok((ProfileAt { fragment: owner, reason: Reason::Recovered }, moves));
        }
        let owner_device = fragment_row(self.state, owner)?.device;
        let profile = self.by_sent(sent, false)?;
        // Two people on one device: any of its ids leads to whoever holds it now.
        if owner_device == fragment_row(self.state, profile.fragment)?.device {
            return Ok((profile, true));
        }
        let by_key = matches!(sent, Sent::ToMakeFor { .. } | Sent::Known { by_key: true, .. });
        let trusted = self.command.source.trusted || by_key;
        let same = self.same_person(owner, profile.fragment)?;
        if !same && self.join_provisional(owner_device, owner, profile.fragment, session)? {
            return Ok((profile, true));
        }
        if trusted {
            return Ok((profile, true));
        }
        if same {
            return Ok((ProfileAt { fragment: owner, ..profile }, moves));
        }
        self.warn("profile_mismatch");
        Ok((ProfileAt { fragment: owner, reason: Reason::SessionOwner }, moves))
    }

    /// Where the events of a fragment go. While the value that a switch made it for is blocked, that is the fragment
    /// that held the device before, so that unblocking finds no visit of the one among the events of the other.
    pub(super) fn given_back(&self, fragment: FragmentNo) -> Result<FragmentNo, Error> {
        let mut at = fragment;
        while let Some(before) = fragment_row(self.state, at)?.after {
            let link = self.state.directs(&PairKey::of(before, at))?;
            if !link.is_some_and(|link| link.gives_back()) {
                break;
            }
            at = before;
        }
        Ok(at)
    }

    /// Joins a session's device to the one that was sent, if it was made only for want of an id and nothing stands
    /// between the two.
    fn join_provisional(
        &mut self,
        device: DeviceNo,
        fragment: FragmentNo,
        sent: FragmentNo,
        session: SessionNo,
    ) -> Result<bool, Error> {
        let joined = self.is_provisional(device)?
            && self.join_directly(fragment, sent, DirectKind::Session(session), self.chosen_at)?;
        if joined {
            self.settle(device)?;
        }
        Ok(joined)
    }

    /// Notes that a session met another known profile; returns whether it is shared by now. Its own is the
    /// one that it goes on with; a provisional one is nobody yet.
    fn meet(
        &mut self,
        session: SessionNo,
        row: &SessionRow,
        owner: FragmentNo,
        sent: &Sent,
    ) -> Result<bool, Error> {
        let (false, Sent::Known { device: sent, fragment, .. }) = (row.shared, sent) else {
            return Ok(row.shared);
        };
        let (own, newcomer) = (self.met_as(owner)?, self.met_as(*fragment)?);
        let device = fragment_row(self.state, owner)?.device;
        if device == *sent || own == newcomer || self.is_provisional(device)? {
            return Ok(false);
        }
        let mut others: Vec<u64> = Vec::new();
        for met in &row.met {
            let met = self.met_as(*met)?;
            if met == newcomer {
                return Ok(false);
            }
            if !others.contains(&met) && met != own {
                others.push(met);
            }
        }
        let shared = others.len() + 1 > SESSION_MAX_OTHER_PROFILES;
        self.emit(Effect::Met { session, fragment: *fragment, shared })?;
        Ok(shared)
    }

    /// Whom a session counts a fragment for: the person; from a public source the device, since whether a session is
    /// shared shows, and who is one person must not.
    fn met_as(&self, fragment: FragmentNo) -> Result<u64, Error> {
        Ok(if self.command.source.secret {
            root_of(self.state, fragment)?.0
        } else {
            fragment_row(self.state, fragment)?.device.0
        })
    }

    fn is_provisional(&self, device: DeviceNo) -> Result<bool, Error> {
        Ok(self.state.devices(&device)?.ok_or_else(|| missing("device"))?.provisional)
    }

    /// A device's id was sent: it is no longer provisional.
    pub(super) fn settle(&mut self, device: DeviceNo) -> Result<(), Error> {
        if self.state.devices(&device)?.is_some_and(|row| row.provisional) {
            self.emit(Effect::Settled { device })?;
        }
        Ok(())
    }

    pub(super) fn make_device(
        &mut self,
        key: ProfileKey,
        provisional: bool,
        device_key: Option<DeviceKey>,
    ) -> Result<FragmentNo, Error> {
        let counters = self.state.counters();
        let (device, fragment) = (counters.device.next(), counters.fragment.next());
        self.emit(Effect::Device { device, fragment, key, provisional, device_key })?;
        Ok(fragment)
    }

    /// Opens a session in the source's id space.
    pub(super) fn open_session(
        &mut self,
        id: &str,
        made: bool,
        fragment: Option<FragmentNo>,
    ) -> Result<(SessionNo, PartNo), Error> {
        let (space, source) = (self.space_no()?, self.source_no()?);
        let counters = self.state.counters();
        let (session, part) = (counters.session.next(), counters.part.next());
        let timeout_ms = self.command.source.timeout_ms;
        let id = id.into();
        self.emit(Effect::Session { session, space, source, id, made, part, fragment, timeout_ms })?;
        Ok((session, part))
    }

    /// The part of a session for a fragment, opened now if there is none.
    fn part_in(
        &mut self,
        session: SessionNo,
        row: &SessionRow,
        fragment: Option<FragmentNo>,
    ) -> Result<PartNo, Error> {
        if let Some(part) = part_for(self.state, session, row, fragment)? {
            return Ok(part);
        }
        let part = self.state.counters().part.next();
        let timeout_ms = self.command.source.timeout_ms;
        self.emit(Effect::Part { part, session, fragment, timeout_ms })?;
        Ok(part)
    }
}
