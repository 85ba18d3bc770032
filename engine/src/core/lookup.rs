//! What was sent, looked up: names, the session, what names the profile.

use super::apply::missing;
use super::choose::Sent;
use super::decide::Decider;
use super::root::fragment_row;
use super::rows::{DeviceKey, NameKey, NameKind, SessionKey, SessionRow};
use super::session::session_row;
use super::view::View;
use crate::error::Error;
use crate::ids::{DeviceNo, FragmentNo, ProfileKey, SessionNo, SourceNo, SpaceNo};
use crate::settings::TraitKind;
use std::sync::Arc;
use uuid::Uuid;

impl<S: View> Decider<'_, S> {
    /// The space's number, if anything was ever stored in it.
    pub(super) fn known_space(&self) -> Result<Option<SpaceNo>, Error> {
        if let Some(no) = self.command.names.space {
            return Ok(Some(SpaceNo(no)));
        }
        Ok(self.known_name(NameKind::Space, &self.command.source.space)?.map(|(no, _)| SpaceNo(no)))
    }

    pub(super) fn known_source(&self) -> Result<Option<SourceNo>, Error> {
        if let Some(no) = self.command.names.source {
            return Ok(Some(SourceNo(no)));
        }
        Ok(self.known_name(NameKind::Source, &self.command.source.name)?.map(|(no, _)| SourceNo(no)))
    }

    pub(super) fn known_name(
        &self,
        kind: NameKind,
        text: &str,
    ) -> Result<Option<(u32, Option<TraitKind>)>, Error> {
        let row = self.state.names(&NameKey { kind, text: text.into() })?;
        Ok(row.map(|row| (row.no, row.trait_kind)))
    }

    pub(super) fn find_session(&self) -> Result<Option<(SessionNo, Arc<SessionRow>)>, Error> {
        let (Some(id), Some(space)) = (self.command.request.session.as_deref(), self.known_space()?) else {
            return Ok(None);
        };
        if let Some(session) = self.command.names.session {
            return session_row(self.state, session).map(Some);
        }
        match self.state.session_ids(&SessionKey { space, id: id.into() })? {
            Some(session) => session_row(self.state, *session).map(Some),
            None => Ok(None),
        }
    }

    /// A trusted source's ids are its own first, then the server's; others name only the server's. `session` is
    /// the one that was sent: most often the profile id is that of its fragment, which saves the look-up.
    pub(super) fn find_profile(&self, session: Option<&(SessionNo, Arc<SessionRow>)>) -> Result<Sent, Error> {
        let Some(id) = self.command.request.profile.as_deref() else { return Ok(Sent::Nothing) };
        if let Some(fragment) = session.and_then(|(_, row)| row.current.fragment) {
            let row = fragment_row(self.state, fragment)?;
            if self.is_key(&row.key, id)? {
                return self.holder_at(row.device);
            }
        }
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

    /// Whether `id`, from this request's source, can mean nothing but `key`.
    fn is_key(&self, key: &ProfileKey, id: &str) -> Result<bool, Error> {
        Ok(match key {
            ProfileKey::Server(own) => {
                !self.command.source.trusted && Uuid::parse_str(id).is_ok_and(|id| id == *own)
            }
            ProfileKey::Client { space, id: own } => {
                self.command.source.trusted && **own == *id && self.known_space()? == Some(*space)
            }
        })
    }

    pub(super) fn holder_of(&self, fragment: FragmentNo) -> Result<Sent, Error> {
        self.holder_at(fragment_row(self.state, fragment)?.device)
    }

    fn holder_at(&self, device: DeviceNo) -> Result<Sent, Error> {
        let row = self.state.devices(&device)?.ok_or_else(|| missing("device"))?;
        let (fragment, provisional) = (row.holder, row.provisional);
        Ok(Sent::Known { device, fragment, provisional, by_key: false })
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
            let (device, fragment, provisional) = (*device, row.holder, row.provisional);
            return Ok(Sent::Known { device, fragment, provisional, by_key: true });
        }
        Ok(Sent::ToMakeFor { namespace, value })
    }

    /// Whether identifiers name the devices of this request's events.
    pub(super) fn names_devices(&self, sent: &Sent) -> bool {
        self.command.source.server
            && !self.command.request.profile_less
            && matches!(sent, Sent::Nothing | Sent::Unknown)
    }
}
