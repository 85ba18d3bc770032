//! Which session, which fragment: once per request.
//!
//! The table (docs/architecture.md repeats it for readers; "known" is found in the store):
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
//! A shared session chooses nobody: it stands for none, with the warning `session_shared`.

use super::apply::missing;
use super::decide::Decider;
use super::decision::{Effect, JoinCause};
use super::root::{fragment_row, members_of, root_of};
use super::rows::{DeviceKey, ProfileAt, SessionRow};
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
    /// A device, and its holder.
    Known { device: DeviceNo, fragment: FragmentNo },
}

/// Where the events of a request go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// The fragment; `None` if profile-less.
    pub profile: Option<ProfileAt>,
    /// The session that was sent, and the part of it.
    pub session: Option<ChosenSession>,
}

/// A session that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChosenSession {
    pub session: SessionNo,
    pub part: PartNo,
    pub created: bool,
}

impl Choice {
    pub(super) fn without_session(profile: ProfileAt) -> Self {
        Self { profile: Some(profile), session: None }
    }
}

impl<S: State> Decider<'_, S> {
    pub(super) fn choose(
        &mut self,
        session: Option<(SessionNo, Arc<SessionRow>)>,
        sent: &Sent,
    ) -> Result<Choice, Error> {
        let command = self.command;
        if command.request.profile_less {
            return self.choose_profile_less(session);
        }
        let Some(id) = command.request.session.as_deref() else {
            return Ok(Choice::without_session(self.by_sent(sent, false)?));
        };
        let Some((session, row)) = session else {
            let profile = self.by_sent(sent, true)?;
            let session = self.open_session(id, false, Some(profile.fragment))?;
            return Ok(Choice { profile: Some(profile), session: Some(session) });
        };
        let (profile, becomes_current) = self.by_session(session, &row, sent)?;
        let part = self.part_in(session, Some(profile.fragment))?;
        if becomes_current && row.current.part != part {
            self.emit(Effect::Current { session, part, fragment: Some(profile.fragment) })?;
        }
        let session = ChosenSession { session, part, created: false };
        Ok(Choice { profile: Some(profile), session: Some(session) })
    }

    fn choose_profile_less(
        &mut self,
        session: Option<(SessionNo, Arc<SessionRow>)>,
    ) -> Result<Choice, Error> {
        let command = self.command;
        let session = match (command.request.session.as_deref(), session) {
            (None, _) => None,
            (Some(id), None) => Some(self.open_session(id, false, None)?),
            (Some(_), Some((session, _))) => {
                let part = self.part_in(session, None)?;
                Some(ChosenSession { session, part, created: false })
            }
        };
        Ok(Choice { profile: None, session })
    }

    /// The fragment where no session decides. A device made without an id in a session is provisional.
    fn by_sent(&mut self, sent: &Sent, in_session: bool) -> Result<ProfileAt, Error> {
        match sent {
            Sent::Known { device, fragment } => {
                self.settle(*device)?;
                Ok(ProfileAt { fragment: *fragment, reason: Reason::Sent, created: false })
            }
            Sent::ToMake => {
                let command = self.command;
                let id = command.request.profile.as_deref().unwrap_or_default().into();
                let key = ProfileKey::Client { space: self.space_no()?, id };
                let fragment = self.make_device(key, false, None)?;
                Ok(ProfileAt { fragment, reason: Reason::Sent, created: true })
            }
            Sent::Unknown | Sent::Nothing => {
                if *sent == Sent::Unknown {
                    self.warn("profile_unknown");
                }
                let key = ProfileKey::Server(self.draw_id());
                let provisional = in_session && *sent == Sent::Nothing;
                let fragment = self.make_device(key, provisional, None)?;
                Ok(ProfileAt { fragment, reason: Reason::Created, created: true })
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
        let Some(owner) = row.current.fragment else {
            return Ok((self.by_sent(sent, true)?, true));
        };
        if row.shared {
            self.warn("session_shared");
            return Ok((self.by_sent(sent, false)?, false));
        }
        let recovered = ProfileAt { fragment: owner, reason: Reason::Recovered, created: false };
        match sent {
            Sent::Nothing => return Ok((recovered, false)),
            Sent::Unknown => {
                self.warn("profile_unknown");
                return Ok((recovered, false));
            }
            Sent::ToMake | Sent::Known { .. } => {}
        }
        let profile = self.by_sent(sent, true)?;
        let owner_device = fragment_row(self.state, owner)?.device;
        let device = fragment_row(self.state, profile.fragment)?.device;
        if self.command.source.trusted || device == owner_device {
            if device != owner_device && !self.join_provisional(owner_device, owner, profile.fragment, session)? {
                self.meet(session, row, profile.fragment)?;
            }
            return Ok((profile, true));
        }
        if self.same_person(owner, profile.fragment)? {
            return Ok((ProfileAt { fragment: owner, ..profile }, false));
        }
        if self.join_provisional(owner_device, owner, profile.fragment, session)? {
            return Ok((profile, true));
        }
        self.warn("profile_mismatch");
        if self.meet(session, row, profile.fragment)? {
            self.warn("session_shared");
        }
        Ok((ProfileAt { fragment: owner, reason: Reason::SessionOwner, created: false }, false))
    }

    /// Joins a session's device to the one that was sent, if it was made only for want of an id.
    fn join_provisional(
        &mut self,
        device: DeviceNo,
        fragment: FragmentNo,
        sent: FragmentNo,
        session: SessionNo,
    ) -> Result<bool, Error> {
        let provisional = self.state.devices(&device)?.ok_or_else(|| missing("device"))?.provisional;
        if provisional {
            self.settle(device)?;
            self.join(fragment, sent, JoinCause::Session(session))?;
        }
        Ok(provisional)
    }

    fn join(&mut self, one: FragmentNo, other: FragmentNo, cause: JoinCause) -> Result<(), Error> {
        let (one, other) = (root_of(self.state, one)?, root_of(self.state, other)?);
        if one == other {
            return Ok(());
        }
        // The root of fewer fragments ends; among equals the younger.
        let size = |state: &S, root| members_of(state, root).map(|members| members.len());
        let (one_size, other_size) = (size(self.state, one)?, size(self.state, other)?);
        let one_stays = (one_size, other.0) > (other_size, one.0);
        let (parent, child) = if one_stays { (one, other) } else { (other, one) };
        self.emit(Effect::Join { child, parent, cause })
    }

    /// Notes that a session met another known profile; returns whether it is shared by now.
    fn meet(&mut self, session: SessionNo, row: &SessionRow, fragment: FragmentNo) -> Result<bool, Error> {
        let owner = row.first.fragment.or(row.current.fragment);
        for known in owner.iter().chain(&row.met) {
            if self.same_person(*known, fragment)? {
                return Ok(row.shared);
            }
        }
        let shared = row.met.len() + 1 > SESSION_MAX_OTHER_PROFILES;
        self.emit(Effect::Met { session, fragment, shared })?;
        Ok(shared)
    }

    /// A device's id was sent: it is no longer provisional.
    fn settle(&mut self, device: DeviceNo) -> Result<(), Error> {
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
    ) -> Result<ChosenSession, Error> {
        let (space, source) = (self.space_no()?, self.source_no()?);
        let counters = self.state.counters();
        let (session, part) = (counters.session.next(), counters.part.next());
        let timeout_ms = self.command.source.timeout_ms;
        let id = id.into();
        self.emit(Effect::Session { session, space, source, id, made, part, fragment, timeout_ms })?;
        Ok(ChosenSession { session, part, created: true })
    }

    /// The part of a session for a fragment, opened now if there is none.
    fn part_in(&mut self, session: SessionNo, fragment: Option<FragmentNo>) -> Result<PartNo, Error> {
        let row = self.state.sessions(&session)?.ok_or_else(|| missing("session"))?;
        if let Some(part) = part_for(self.state, session, &row, fragment)? {
            return Ok(part);
        }
        let part = self.state.counters().part.next();
        let timeout_ms = self.command.source.timeout_ms;
        self.emit(Effect::Part { part, session, fragment, timeout_ms })?;
        Ok(part)
    }
}
