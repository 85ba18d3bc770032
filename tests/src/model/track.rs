//! Storing a request's events and answering.

use super::accept::accept;
use super::choose::{Chosen, ChosenSession, Made, Sent};
use super::resolve::Moment;
use super::{DeviceKey, EventRow, Input, Model, Place, Scope};
use spoor::limits::{CLOCK_TOLERANCE_MS, FUTURE_TOLERANCE_MS};
use spoor::settings::{Keys, ProfileIds};
use spoor::{
    Event, EventReply, EventSeq, EventStatus, LinkOutcome, LinkReply, ProfileReply, Reason, Rejection, Reply,
    SessionReply, Timestamp, TrackRequest,
};

/// Reasons that lie in what was sent.
const FAULTS: [&str; 5] = ["profile_less", "unknown_namespace", "junk", "unlinkable", "two_values"];

/// Where one event of a request ended up.
struct Outcome {
    row: usize,
    reply: EventReply,
}

impl Model {
    /// Stores a request that was received at `received`, or says why not.
    ///
    /// # Errors
    /// The rejection; nothing was changed then.
    pub fn track(&mut self, as_sent: &TrackRequest, received: Timestamp) -> Result<Reply, Rejection> {
        let request = accept(&self.settings, as_sent)?;
        let mut made = Made { after: self.sequence, ..Made::default() };
        let mut choices: Vec<(Option<DeviceKey>, Chosen)> = Vec::new();
        let mut outcomes: Vec<Outcome> = Vec::new();
        let offset_us = clock_offset_us(&request, received);
        let mut stored = false;
        let mut first_stamp = None;
        for (position, event) in request.events.iter().enumerate() {
            // Whoever sends an id that is known speaks of that device, whatever else its events carry.
            let by_id = matches!(self.sent(&request, None), Sent::Known(_) | Sent::New(_));
            let key = self.backend_key(&request, event).filter(|_| !by_id);
            let scope = self.scope(&request, key.as_ref(), event);
            if let Some(row) = self.first_of(&scope, event) {
                outcomes.push(Outcome { row, reply: self.duplicate(row) });
                continue;
            }
            stored = true;
            self.sequence += 1;
            let stamp = self.stamp(received);
            if first_stamp.is_none() {
                first_stamp = Some(stamp);
            }
            let time = event_time(event, position, stamp, offset_us);
            // A request is decided once; what a backend says of its users, once for each event.
            let decided = choices.iter().rfind(|(of, _)| of.is_none() && key.is_none()).cloned();
            let chosen = match decided {
                Some((_, chosen)) => chosen,
                None => self.choose(&request, key.as_ref(), stamp, time.0, &mut made),
            };
            let scope = self.scope(&request, key.as_ref(), event);
            // Somebody else may sit there; it was found all the same.
            choices.push((key.clone(), chosen.clone()));
            let (outcome, chosen) = self.store(&request, event, scope, chosen, stamp, time, &mut made);
            choices.push((key.clone(), chosen));
            outcomes.push(outcome);
        }
        if stored && offset_us != 0 {
            made.warnings.push("clock_corrected");
        }
        if let Some(stamp) = first_stamp {
            self.inputs.push(Input::Request { stamp, received, request: as_sent.clone() });
        }
        Ok(self.reply(&request, outcomes, &choices, &made))
    }

    fn scope(&self, request: &TrackRequest, key: Option<&DeviceKey>, event: &Event) -> Scope {
        let source = request.source.clone().unwrap_or_default();
        if let Some(id) = &request.session {
            return Scope::Session { space: self.space(&source), id: id.clone() };
        }
        match self.sent(request, key) {
            Sent::Known(device) => Scope::Device(device),
            Sent::New(key) => Scope::Key(key),
            // Who names nobody is known by what they say.
            Sent::Unknown | Sent::Nothing => Scope::Content(Box::new(TrackRequest {
                source: request.source.clone(),
                profile: request.profile.clone().filter(|_| !request.profile_less),
                profile_less: request.profile_less,
                context: request.context.clone(),
                events: vec![event.clone()],
                ..TrackRequest::default()
            })),
        }
    }

    /// The stored event that this one repeats.
    fn first_of(&self, scope: &Scope, event: &Event) -> Option<usize> {
        let id = event.id.as_ref()?;
        self.events.iter().position(|known| {
            known.scope == *scope && known.id == *id && known.sent.event_type == event.event_type
        })
    }

    #[expect(clippy::too_many_arguments, reason = "all that an event row is made of")]
    fn store(
        &mut self,
        request: &TrackRequest,
        event: &Event,
        scope: Scope,
        mut chosen: Chosen,
        stamp: Timestamp,
        time: (Timestamp, bool),
        made: &mut Made,
    ) -> (Outcome, Chosen) {
        let source = request.source.clone().unwrap_or_default();
        let (time, clamped) = time;
        let mut warnings = Vec::new();
        if clamped {
            warnings.push("time_clamped");
        }
        let reused = |known: &EventRow| {
            event.id.is_some() && known.scope == scope && Some(&known.id) == event.id.as_ref()
        };
        if self.events.iter().any(reused) {
            warnings.push("event_id_reused");
        }
        let id = event.id.clone().unwrap_or_else(|| self.draw("event"));
        let brought = self.brought(request, event);
        let moment = Moment { stamp, time, event: Some(&id) };
        let before = chosen.fragment;
        let known = self.fragments.len();
        let identified = self.identify(&mut chosen.fragment, &brought, moment);
        self.note_carriers();
        self.end_provisional(&source, before, &identified.links);
        // Whatever was made for this event came with it.
        for row in self.happened.iter_mut().filter(|row| row.sequence == self.sequence) {
            row.event = Some(id.clone());
        }
        made.fragments.extend(known..self.fragments.len());
        if identified.switched {
            made.warn("profile_switched");
            if let (ChosenSession::Row(row), Some(fragment)) = (chosen.session, chosen.fragment) {
                self.open_part(row, fragment, true);
            }
        }
        identified.warnings.iter().for_each(|warning| made.warn(warning));
        let place = match (chosen.session, chosen.fragment) {
            (ChosenSession::Row(row), _) => Place::Session(row),
            (ChosenSession::ByInactivity, Some(fragment)) => {
                let (row, new) = self.place_by_inactivity(&source, fragment, time, stamp);
                if new {
                    made.sessions.push(row);
                }
                Place::Session(row)
            }
            _ => Place::Implicit,
        };
        let mut refused = Vec::new();
        let operations = self.take_traits(chosen.fragment, event, &mut refused);
        let consents = self.take_consents(chosen.fragment, event, &mut refused);
        refused.dedup();
        let reply = EventReply {
            id: id.clone(),
            seq: EventSeq(self.sequence),
            status: EventStatus::Stored,
            session: None,
            profile: None,
            links: identified.links.clone(),
            refused,
            warnings,
        };
        self.events.push(EventRow {
            sequence: self.sequence,
            scope,
            place,
            fragment: chosen.fragment,
            time,
            received: stamp,
            source,
            user_agent: request.user_agent.clone(),
            request_context: request.context.clone(),
            sent: event.clone(),
            id,
            operations,
            consents,
            links: identified.links,
        });
        if let Place::Session(row) = place {
            self.note_event(row, &event.event_type, time, stamp);
        }
        (Outcome { row: self.events.len() - 1, reply }, chosen)
    }

    /// An identifier shows that a device is somebody's, unless its source says so of every device.
    fn end_provisional(&mut self, source: &str, fragment: Option<usize>, links: &[LinkReply]) {
        let trusted = self.source(source).profile_ids == ProfileIds::Client;
        let public = self.source(source).keys == Keys::Public;
        let told = |link: &LinkReply| match link.outcome {
            // What became of a sound value must not show in what becomes of the device.
            LinkOutcome::Refused => public && !link.code.is_some_and(|code| FAULTS.contains(&code)),
            LinkOutcome::Quarantined => public,
            _ => true,
        };
        if let Some(fragment) = fragment
            && !trusted
            && links.iter().any(told)
        {
            self.devices[self.fragments[fragment].device].provisional = false;
        }
    }

    fn duplicate(&self, row: usize) -> EventReply {
        EventReply {
            id: self.events[row].id.clone(),
            seq: EventSeq(self.events[row].sequence),
            status: EventStatus::Duplicate,
            session: None,
            profile: None,
            links: self.events[row].links.clone(),
            refused: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn reply(
        &self,
        request: &TrackRequest,
        outcomes: Vec<Outcome>,
        choices: &[(Option<DeviceKey>, Chosen)],
        made: &Made,
    ) -> Reply {
        let sessions: Vec<SessionReply> =
            outcomes.iter().map(|outcome| self.session_reply(outcome.row, made)).collect();
        let profiles: Vec<Option<usize>> =
            outcomes.iter().map(|outcome| self.named(request, self.events[outcome.row].fragment?)).collect();
        let own_session = sessions.iter().any(|session| session.id != sessions[0].id);
        let own_profile = profiles.iter().any(|profile| *profile != profiles[0]);
        let profile = outcomes.last().and_then(|outcome| {
            let key = request.events.last().and_then(|event| self.backend_key(request, event));
            self.profile_reply(request, key.as_ref(), self.events[outcome.row].fragment?, choices, made)
        });
        let session = sessions.last().cloned();
        let events = outcomes
            .into_iter()
            .zip(sessions.into_iter().zip(profiles))
            .zip(&request.events)
            .map(|((outcome, (session, profile)), event)| {
                let mut reply = outcome.reply;
                if self.brings_too_many(request, event) {
                    reply.warnings.push("identifiers_max");
                }
                let profile = profile.filter(|_| own_profile).map(|told| self.fragments[told].id.clone());
                EventReply { session: own_session.then_some(session), profile, ..reply }
            })
            .collect();
        Reply { profile, session, events, warnings: made.warnings.clone() }
    }

    fn session_reply(&self, event: usize, made: &Made) -> SessionReply {
        match self.events[event].place {
            Place::Session(row) => {
                SessionReply { id: self.sessions[row].id.clone(), created: made.sessions.contains(&row) }
            }
            Place::Implicit => SessionReply {
                id: format!("implicit:{}", self.events[event].sequence),
                created: self.events[event].sequence > made.after,
            },
        }
    }

    fn profile_reply(
        &self,
        request: &TrackRequest,
        key: Option<&DeviceKey>,
        fragment: usize,
        choices: &[(Option<DeviceKey>, Chosen)],
        made: &Made,
    ) -> Option<ProfileReply> {
        let decided = choices.iter().rev().find(|(_, chosen)| chosen.fragment == Some(fragment));
        let device = self.fragments[fragment].device;
        let reason = match (decided, self.sent(request, key)) {
            (Some((_, chosen)), _) => chosen.reason,
            // A repeat of something stored earlier: how its profile would be found now.
            (None, Sent::Known(sent))
                if sent == device || self.same_person(self.devices[sent].holder, fragment) =>
            {
                Reason::Sent
            }
            (None, Sent::Known(_)) => Reason::SessionOwner,
            (None, _) => Reason::Recovered,
        };
        let told = self.named(request, fragment)?;
        Some(ProfileReply {
            id: self.fragments[told].id.clone(),
            primary_id: self.primary_id(fragment),
            reason,
            created: made.fragments.contains(&told),
        })
    }

    /// The fragment that an answer names for an event's own: of a public source, the one that the device was made with.
    fn named(&self, request: &TrackRequest, fragment: usize) -> Option<usize> {
        let public = self.source(request.source.as_deref()?).keys == Keys::Public;
        Some(if public { self.devices[self.fragments[fragment].device].first } else { fragment })
    }
}

/// What is added to the sender's times, in microseconds; 0 unless its clock is wrong beyond the network's share.
fn clock_offset_us(request: &TrackRequest, received: Timestamp) -> i64 {
    match request.sent_at {
        Some(sent_at) if !request.origin.is_import() => {
            let offset_us = received.0 - sent_at.0;
            if offset_us.abs() > CLOCK_TOLERANCE_MS * 1_000 { offset_us } else { 0 }
        }
        _ => 0,
    }
}

/// The time of an event, and whether it was moved back to its receipt.
fn event_time(event: &Event, position: usize, stamp: Timestamp, offset_us: i64) -> (Timestamp, bool) {
    let Some(Timestamp(mut time_us)) = event.time else { return (stamp, false) };
    if time_us % 1_000 == 0 {
        time_us += i64::try_from(position).expect("a request has at most a thousand events");
    }
    let time = Timestamp((time_us + offset_us).max(0));
    if time.0 > stamp.0 + FUTURE_TOLERANCE_MS * 1_000 { (stamp, true) } else { (time, false) }
}
