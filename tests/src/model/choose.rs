//! Which session and which profile: the table of the rules, row by row.

use super::{Device, DeviceKey, Join, Model, SessionRow};
use spoor::limits::SESSION_MAX_OTHER_PROFILES;
use spoor::settings::{NamespaceSettings, Normalizer, ProfileIds, Sessions};
use spoor::{Event, Reason, Timestamp, TrackRequest};

/// What was sent to name a profile, looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    Nothing,
    /// An id that is not adopted.
    Unknown,
    Known(usize),
    /// A name that its source is trusted with, not yet here.
    New(DeviceKey),
}

/// What was found for a request, or for one event of a backend.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) session: ChosenSession,
    pub(super) device: Option<usize>,
    pub(super) reason: Reason,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum ChosenSession {
    Row(usize),
    ByInactivity,
    Implicit,
}

/// What one request has made and said so far.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The last sequence number before this request.
    pub(super) after: u64,
    pub(super) devices: Vec<usize>,
    pub(super) sessions: Vec<usize>,
    pub(super) warnings: Vec<&'static str>,
}

impl Made {
    fn warn(&mut self, code: &'static str) {
        if !self.warnings.contains(&code) {
            self.warnings.push(code);
        }
    }
}

impl Model {
    /// The user of a backend whom an event speaks of: its identifier of the highest priority.
    pub(super) fn backend_key(&self, request: &TrackRequest, event: &Event) -> Option<DeviceKey> {
        let source = request.source.as_deref()?;
        if !self.source(source).server || request.profile_less {
            return None;
        }
        let country = self.source(source).default_country.as_deref();
        let mut named: Vec<(u32, &str, String)> = Vec::new();
        for (namespace, value) in &event.identifiers {
            let Some(settings) = self.settings.identifiers.get(namespace) else { continue };
            let value = comparable(settings, value, country);
            if !value.is_empty() {
                named.push((settings.priority, namespace, value));
            }
        }
        named.sort();
        let (_, namespace, value) = named.into_iter().next()?;
        Some(DeviceKey::Stands { source: source.to_owned(), namespace: namespace.to_owned(), value })
    }

    /// Looks up what names the profile: the id that was sent, else the user of the backend.
    pub(super) fn sent(&self, request: &TrackRequest, key: Option<&DeviceKey>) -> Sent {
        if request.profile_less {
            return Sent::Nothing;
        }
        let source = request.source.as_deref().unwrap_or_default();
        if let Some(id) = &request.profile {
            let trusted = self.source(source).profile_ids == ProfileIds::Client;
            let client = DeviceKey::Client { space: self.space(source), id: id.clone() };
            let by_key = self.devices.iter().position(|device| trusted && device.key == client);
            let known = by_key.or_else(|| self.devices.iter().position(|device| device.drawn_id(id)));
            match known {
                Some(device) => return Sent::Known(device),
                None if trusted => return Sent::New(client),
                None => {}
            }
        }
        match key {
            Some(key) => match self.devices.iter().position(|device| device.key == *key) {
                Some(device) => Sent::Known(device),
                None => Sent::New(key.clone()),
            },
            None if request.profile.is_some() => Sent::Unknown,
            None => Sent::Nothing,
        }
    }

    /// Finds or makes session and device for an event that is about to be stored.
    pub(super) fn choose(
        &mut self,
        request: &TrackRequest,
        key: Option<&DeviceKey>,
        stamp: Timestamp,
        made: &mut Made,
    ) -> Chosen {
        let source = request.source.clone().unwrap_or_default();
        let sent = self.sent(request, key);
        let untrusted_id = request.profile.is_some() && !request.profile_less;
        if untrusted_id && self.sent(request, None) == Sent::Unknown {
            made.warn("profile_unknown");
        }
        let row = request.session.as_deref().map(|id| self.session_row(&source, id, stamp, made));
        if request.profile_less {
            let session = row.map_or(ChosenSession::Implicit, |(row, _)| ChosenSession::Row(row));
            return Chosen { session, device: None, reason: Reason::Created };
        }
        if let Sent::Known(device) = sent {
            // From here on its id has been sent; the session's own device is judged as it was before.
            self.devices[device].provisional = false;
        }
        let Some((row, new)) = row else {
            let (device, reason) = self.take(&sent, false, stamp, made);
            let by_silence = self.source(&source).sessions == Sessions::Inactivity;
            let session = if by_silence { ChosenSession::ByInactivity } else { ChosenSession::Implicit };
            return Chosen { session, device: Some(device), reason };
        };
        // A device is provisional if a session came without any profile id.
        let bare = sent == Sent::Nothing;
        let (device, reason) = match self.sessions[row].current {
            None => self.take(&sent, bare, stamp, made),
            Some(_) if new => self.take(&sent, bare, stamp, made),
            Some(owner) => {
                self.meet(row, owner, &sent);
                if self.sessions[row].shared {
                    made.warn("session_shared");
                    self.take(&sent, bare, stamp, made)
                } else {
                    let trusted = key.is_some() || self.source(&source).profile_ids == ProfileIds::Client;
                    self.of_session(row, owner, &sent, trusted, stamp, made)
                }
            }
        };
        if !self.sessions[row].parts.contains(&device) {
            self.sessions[row].parts.push(device);
            self.sessions[row].current = Some(device);
        }
        Chosen { session: ChosenSession::Row(row), device: Some(device), reason }
    }

    /// The rows of the table in which the session is known and has a device.
    fn of_session(
        &mut self,
        row: usize,
        owner: usize,
        sent: &Sent,
        trusted: bool,
        stamp: Timestamp,
        made: &mut Made,
    ) -> (usize, Reason) {
        if matches!(sent, Sent::Nothing | Sent::Unknown) {
            return (owner, Reason::Recovered);
        }
        let (device, _) = self.take(sent, false, stamp, made);
        let same = self.same_person(device, owner);
        if self.devices[owner].provisional && !same {
            self.joins.push(Join { devices: [owner, device], sequence: self.sequence });
            self.sessions[row].current = Some(device);
            return (device, Reason::Sent);
        }
        if trusted {
            self.sessions[row].current = Some(device);
            return (device, Reason::Sent);
        }
        if same {
            return (owner, Reason::Sent);
        }
        made.warn("profile_mismatch");
        (owner, Reason::SessionOwner)
    }

    /// Counts the known people other than its own that a session meets; the fourth shows that it is shared.
    fn meet(&mut self, row: usize, owner: usize, sent: &Sent) {
        let Sent::Known(device) = *sent else { return };
        if self.same_person(device, owner) || self.devices[owner].provisional {
            return;
        }
        self.sessions[row].met.push(device);
        let mut people: Vec<usize> = Vec::new();
        for &met in &self.sessions[row].met {
            let oldest = self.person(met)[0];
            if !people.contains(&oldest) && !self.same_person(met, owner) {
                people.push(oldest);
            }
        }
        if people.len() > SESSION_MAX_OTHER_PROFILES {
            self.sessions[row].shared = true;
        }
    }

    /// The device that was sent, made if its source may name it, or a new one.
    fn take(&mut self, sent: &Sent, provisional: bool, stamp: Timestamp, made: &mut Made) -> (usize, Reason) {
        let (key, reason) = match sent {
            Sent::Known(device) => return (*device, Reason::Sent),
            Sent::New(key) => (key.clone(), Reason::Sent),
            Sent::Nothing | Sent::Unknown => (DeviceKey::Drawn, Reason::Created),
        };
        let id = match &key {
            DeviceKey::Client { id, .. } => id.clone(),
            DeviceKey::Drawn | DeviceKey::Stands { .. } => self.draw("profile"),
        };
        self.devices.push(Device { key, id, provisional, created_at: stamp });
        let device = self.devices.len() - 1;
        made.devices.push(device);
        (device, reason)
    }

    /// The session with a client's id, made if there is none, and whether it was made now.
    fn session_row(&mut self, source: &str, id: &str, stamp: Timestamp, made: &mut Made) -> (usize, bool) {
        let space = self.space(source);
        if let Some(row) = self.sessions.iter().position(|row| row.space == space && row.id == id) {
            return (self.resolve(row), false);
        }
        self.sessions.push(SessionRow::new(space, id.to_owned(), source.to_owned(), stamp));
        let row = self.sessions.len() - 1;
        made.sessions.push(row);
        (row, true)
    }
}

impl SessionRow {
    pub(super) fn new(space: String, id: String, source: String, stamp: Timestamp) -> Self {
        Self {
            space,
            id,
            source,
            parts: Vec::new(),
            current: None,
            met: Vec::new(),
            shared: false,
            ended_at: None,
            last_receipt: stamp,
            by_inactivity_of: None,
            alias_of: None,
        }
    }
}

impl Device {
    /// Whether the server drew this id for the device.
    pub(super) fn drawn_id(&self, id: &str) -> bool {
        !matches!(self.key, DeviceKey::Client { .. }) && self.id == id
    }
}

/// A value in the form in which two of its namespace are compared: as far as the tests go.
fn comparable(settings: &NamespaceSettings, value: &str, country: Option<&str>) -> String {
    let value = value.trim();
    match settings.normalize {
        Normalizer::Email => value.to_lowercase(),
        Normalizer::Text => value.to_owned(),
        Normalizer::Phone => {
            let digits: String = value.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
            match (digits.strip_prefix('0'), country) {
                (Some(national), Some("AU")) => format!("+61{national}"),
                _ => digits,
            }
        }
    }
}
