//! Which session and which profile: the table of the rules, row by row.

use super::{Device, DeviceKey, Fragment, Identifier, Model, SessionRow};
use spoor::limits::SESSION_MAX_OTHER_PROFILES;
use spoor::settings::{Keys, ProfileIds, Sessions};
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
    pub(super) fragment: Option<usize>,
    pub(super) reason: Reason,
}

/// When something is decided, and when it happened.
#[derive(Debug, Clone, Copy)]
struct At {
    stamp: Timestamp,
    time: Timestamp,
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
    pub(super) fragments: Vec<usize>,
    pub(super) sessions: Vec<usize>,
    pub(super) warnings: Vec<&'static str>,
}

impl Made {
    pub(super) fn warn(&mut self, code: &'static str) {
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
        let mut named: Vec<(u32, Identifier)> = Vec::new();
        for brought in self.brought(request, event) {
            if let (Ok(identifier), Some(settings)) =
                (brought.identifier, self.settings.identifiers.get(&brought.namespace))
                // An act must not move a user's events to another device: they would not be found again.
                && !self.is_blocked_by_settings(&identifier)
            {
                named.push((settings.priority, identifier));
            }
        }
        named.sort();
        let (_, identifier) = named.into_iter().next()?;
        Some(DeviceKey::Stands { source: source.to_owned(), identifier })
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
            let by_id = || self.by_drawn_id(id).map(|fragment| self.fragments[fragment].device);
            match by_key.or_else(by_id) {
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

    /// Finds or makes session and fragment for an event that is about to be stored.
    pub(super) fn choose(
        &mut self,
        request: &TrackRequest,
        key: Option<&DeviceKey>,
        stamp: Timestamp,
        time: Timestamp,
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
            return Chosen { session, fragment: None, reason: Reason::Created };
        }
        if let Sent::Known(device) = sent {
            // From here on its id has been sent; the session's own device is judged as it was before.
            self.devices[device].provisional = false;
        }
        let Some((row, new)) = row else {
            let (fragment, reason) = self.take(&sent, false, stamp, made);
            let by_silence = self.source(&source).sessions == Sessions::Inactivity;
            let session = if by_silence { ChosenSession::ByInactivity } else { ChosenSession::Implicit };
            return Chosen { session, fragment: Some(fragment), reason };
        };
        // A device is provisional if a session came without any profile id.
        let bare = sent == Sent::Nothing;
        let (fragment, reason) = match self.sessions[row].current {
            None => self.take(&sent, bare, stamp, made),
            Some(_) if new => self.take(&sent, bare, stamp, made),
            Some(current) => {
                let owner = self.given_back(current);
                self.meet(&source, row, owner, &sent);
                if self.sessions[row].shared {
                    made.warn("session_shared");
                    self.take(&sent, bare, stamp, made)
                } else {
                    let by_id = self.sent(request, None);
                    let by_key = key.is_some() && matches!(by_id, Sent::Nothing | Sent::Unknown);
                    let trusted = by_key || self.source(&source).profile_ids == ProfileIds::Client;
                    let at = At { stamp, time };
                    self.of_session(row, owner, &sent, trusted, at, made)
                }
            }
        };
        let given_back = self.sessions[row]
            .current
            .is_some_and(|current| current != fragment && self.given_back(current) == fragment);
        self.open_part(row, fragment, given_back);
        Chosen { session: ChosenSession::Row(row), fragment: Some(fragment), reason }
    }

    /// Gives a fragment a part of a session, if it has none; a new part is the current one, another if told so.
    pub(super) fn open_part(&mut self, row: usize, fragment: usize, make_current: bool) {
        let session = &mut self.sessions[row];
        let new = !session.parts.contains(&fragment);
        if new {
            session.parts.push(fragment);
        }
        if new || make_current {
            session.current = Some(fragment);
        }
    }

    /// The rows of the table in which the session is known and has a fragment.
    fn of_session(
        &mut self,
        row: usize,
        owner: usize,
        sent: &Sent,
        trusted: bool,
        at: At,
        made: &mut Made,
    ) -> (usize, Reason) {
        if matches!(sent, Sent::Nothing | Sent::Unknown) {
            return (owner, Reason::Recovered);
        }
        let (fragment, _) = self.take(sent, false, at.stamp, made);
        let device = self.fragments[owner].device;
        if self.fragments[fragment].device == device {
            self.open_part(row, fragment, true);
            return (fragment, Reason::Sent);
        }
        let same = self.same_person(fragment, owner);
        if self.devices[device].provisional && !same && self.join_by_session(owner, fragment, at) {
            self.open_part(row, fragment, true);
            return (fragment, Reason::Sent);
        }
        if trusted {
            self.open_part(row, fragment, true);
            return (fragment, Reason::Sent);
        }
        if same {
            return (owner, Reason::Sent);
        }
        made.warn("profile_mismatch");
        (owner, Reason::SessionOwner)
    }

    /// Joins a provisional device's fragment to the one that was sent, if nothing stands in the way.
    fn join_by_session(&mut self, provisional: usize, sent: usize, at: At) -> bool {
        let (a, b) = (self.person(provisional), self.person(sent));
        if self.kept_apart(&a, &b) || self.two_unique_values(&a, &b) {
            return false;
        }
        let Some(link) = self.direct_link(provisional, sent, "session", at.time) else { return false };
        let profiles = vec![self.primary_id(provisional), self.primary_id(sent)];
        self.hold(link);
        let merge = self.merged(link, [provisional, sent]);
        self.note(at.stamp, "merged", provisional, |row| {
            row.other = Some(sent);
            row.merge = Some(merge);
            row.profiles = profiles;
        });
        true
    }

    /// Counts the known people other than its own that a session meets; the fourth shows that it is shared.
    fn meet(&mut self, source: &str, row: usize, owner: usize, sent: &Sent) {
        let Sent::Known(device) = *sent else { return };
        // A public source's answers show when a session is shared, and must not show who is one person.
        let public = self.source(source).keys == Keys::Public;
        let counted_for = |fragment: usize| {
            if public { self.fragments[fragment].device } else { self.person(fragment)[0] }
        };
        let own = counted_for(owner);
        let own_device = self.fragments[owner].device;
        let holder = self.devices[device].holder;
        let newcomer = counted_for(holder);
        if own_device == device || own == newcomer || self.devices[own_device].provisional {
            return;
        }
        if self.sessions[row].met.iter().any(|&met| counted_for(met) == newcomer) {
            return;
        }
        let mut others: Vec<usize> = Vec::new();
        for other in self.sessions[row].met.iter().copied().chain([holder]).map(counted_for) {
            if !others.contains(&other) && other != own {
                others.push(other);
            }
        }
        let shared = others.len() > SESSION_MAX_OTHER_PROFILES;
        self.sessions[row].met.push(holder);
        self.sessions[row].shared |= shared;
    }

    /// The holder of the device that was sent, made if its source may name it, or of a new one.
    fn take(&mut self, sent: &Sent, provisional: bool, stamp: Timestamp, made: &mut Made) -> (usize, Reason) {
        let (key, reason) = match sent {
            Sent::Known(device) => return (self.devices[*device].holder, Reason::Sent),
            Sent::New(key) => (key.clone(), Reason::Sent),
            Sent::Nothing | Sent::Unknown => (DeviceKey::Drawn, Reason::Created),
        };
        let id = match &key {
            DeviceKey::Client { id, .. } => id.clone(),
            DeviceKey::Drawn | DeviceKey::Stands { .. } => self.draw("profile"),
        };
        let (device, fragment) = (self.devices.len(), self.fragments.len());
        self.devices.push(Device { key, provisional, holder: fragment, first: fragment });
        self.fragments.push(Fragment { device, id, created_at: stamp, switched: None });
        self.note(stamp, "created", fragment, |_| {});
        made.fragments.push(fragment);
        (fragment, reason)
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
