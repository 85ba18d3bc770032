//! What a person does to who is who.

use super::resolve::Verdict;
use super::{BlockedRow, Device, DeviceKey, Fragment, Identifier, Input, LinkRow, LinkTo, Model, State};
use spoor::ids::EventSeq;
use spoor::limits::{ID_MAX_BYTES, IDENTIFIER_MAX_BYTES, NAME_MAX_BYTES};
use spoor::model::Link;
use spoor::settings::Merges;
use spoor::{Act, ActError, ActReply, ProfileSize, Rejection, Timestamp};

/// What an act does while it is done: the links, and the fragments whose profiles it is about.
#[derive(Debug, Default)]
struct Doing {
    fragments: Vec<usize>,
    removed: Vec<usize>,
    added: Vec<usize>,
    merge: Option<String>,
    /// Of the two profiles that became one: a fragment of the other, and their primary ids.
    joined: Option<(usize, Vec<String>)>,
    /// The id of the device that it made.
    created: Option<String>,
    /// The place in the log since which the profiles were one, where they are parted.
    one_since: Option<u64>,
}

fn no(code: &'static str, field: &str) -> Rejection {
    Rejection::new(code, field, "the model says no")
}

fn conflict(code: &'static str, field: &str) -> ActError {
    ActError::Conflict(no(code, field))
}

fn missing(code: &'static str, field: &str) -> ActError {
    ActError::NotFound(no(code, field))
}

impl Model {
    /// Does an act that was received at `received`, or with `dry_run` says what it would do.
    ///
    /// # Errors
    /// Why not; nothing was changed then.
    pub fn act(&mut self, act: &Act, dry_run: bool, received: Timestamp) -> Result<ActReply, ActError> {
        let mut after = self.clone();
        after.sequence += 1;
        let stamp = after.stamp(received);
        let mut doing = after.perform(act, stamp)?;
        after.note_carriers();
        doing.fragments.sort_unstable();
        doing.fragments.dedup();
        // All fragments of the profiles that it is about, as these were before.
        let members: Vec<usize> = doing
            .fragments
            .iter()
            .filter(|&&own| own < self.fragments.len())
            .flat_map(|&own| self.person(own))
            .collect();
        let (sizes, sizes_after) = (self.sizes(&members), after.sizes(&members));
        let parted = sizes_after.len() > sizes.len();
        let not_retaken = match doing.one_since.filter(|_| parted) {
            Some(since) => self.not_retaken(&members, since),
            None => Vec::new(),
        };
        let reply = ActReply {
            seq: (!dry_run).then_some(EventSeq(after.sequence)),
            merge: after.merge_made().filter(|_| !dry_run),
            removed: after.shown_links(&doing.removed),
            // Of a device that is still to be made nobody knows the id.
            added: match doing.created {
                Some(_) if dry_run => Vec::new(),
                _ => after.shown_links(&doing.added),
            },
            created: doing.created.filter(|_| !dry_run),
            before: sizes,
            after: sizes_after,
            not_retaken,
        };
        if !dry_run {
            after.inputs.push(Input::Act { stamp, received, act: act.clone() });
            *self = after;
        }
        Ok(reply)
    }

    fn perform(&mut self, act: &Act, stamp: Timestamp) -> Result<Doing, ActError> {
        match act {
            Act::Undo { merge, keep_apart } => self.undo(merge, *keep_apart, stamp),
            Act::Merge { profile, other, force } => self.merge_by_hand(profile, other, *force, stamp),
            Act::Detach { profile, identifier } => self.detach(profile, identifier, stamp),
            Act::Attach { profile, identifier } => self.attach(profile, identifier, stamp),
            Act::Decide { quarantine, approve } => self.decide(quarantine, *approve, stamp),
            Act::Block { identifier } => self.block(identifier, stamp),
            Act::Unblock { identifier } => self.unblock(identifier, stamp),
            Act::Handover { profile } => self.hand_over(profile, stamp),
        }
    }

    fn undo(&mut self, merge: &str, keep_apart: bool, stamp: Timestamp) -> Result<Doing, ActError> {
        let found = self.merges.iter().position(|row| row.id == merge);
        let at = found.ok_or_else(|| missing("merge_unknown", "merge"))?;
        let [one, other] = self.merges[at].ends;
        let link = self.merges[at].link;
        let holds =
            self.links[link].state == State::Holds && self.links[link].came <= self.merges[at].sequence;
        if self.merges[at].undone || !holds && !self.same_person(one, other) {
            return Err(conflict("merge_undone", "merge"));
        }
        let mut doing = Doing {
            fragments: vec![one, other],
            one_since: Some(self.merges[at].sequence),
            ..Doing::default()
        };
        if holds {
            doing.removed.push(link);
            self.links[link].state = State::Cut;
        }
        if self.same_person(one, other) {
            for link in self.fewest_links(one, other) {
                doing.removed.push(link);
                self.links[link].state = State::Cut;
            }
        }
        self.merges[at].undone = true;
        if keep_apart {
            self.guards.push([one, other]);
        }
        for [a, b] in self.merges[at].lifted.clone() {
            if !self.same_person(a, b) {
                self.guards.push([a, b]);
                doing.fragments.extend([a, b]);
            }
        }
        let (ends, identifier) = match &self.links[link].to {
            LinkTo::Identifier(identifier) => ([one, other], Some(identifier.to_string())),
            LinkTo::Fragment { .. } => ([one.min(other), one.max(other)], None),
        };
        let profiles = ends.map(|end| self.primary_id(end)).to_vec();
        for fragment in ends {
            self.note(stamp, "undone", fragment, |row| {
                row.identifier.clone_from(&identifier);
                row.merge = Some(merge.to_owned());
                row.profiles.clone_from(&profiles);
            });
        }
        Ok(doing)
    }

    fn merge_by_hand(
        &mut self,
        profile: &str,
        other: &str,
        force: bool,
        stamp: Timestamp,
    ) -> Result<Doing, ActError> {
        let (one, two) = (self.fragment_named(profile, "profile")?, self.fragment_named(other, "other")?);
        if self.same_person(one, two) {
            return Err(conflict("same_profile", "other"));
        }
        let (a, b) = (self.person(one), self.person(two));
        if self.kept_apart(&a, &b) && !force {
            return Err(conflict("kept_apart", "other"));
        }
        let between =
            |[x, y]: &[usize; 2]| (a.contains(x) && b.contains(y)) || (a.contains(y) && b.contains(x));
        let (lifted, others) = self.guards.iter().partition(|guard| between(guard));
        self.guards = others;
        if !force && self.two_unique_values(&a, &b) {
            return Err(conflict("unique_conflict", "other"));
        }
        let profiles = vec![self.primary_id(one), self.primary_id(two)];
        if let Some(row) = self.direct_row(one, two) {
            self.links[row].state = State::Suspended;
        }
        let link = self.direct_link(one, two, "hand", stamp).expect("its cut was lifted");
        // Nobody vouches more for a link than who makes it by hand.
        self.links[link].verified = true;
        self.hold(link);
        let merge = self.merged(link, [one, two]);
        if let Some(merge) = self.merges.last_mut() {
            merge.lifted = lifted;
        }
        self.note(stamp, "merged", one, |row| {
            row.other = Some(two);
            row.merge = Some(merge.clone());
            row.profiles = profiles;
        });
        Ok(Doing { fragments: vec![one, two], added: vec![link], merge: Some(merge), ..Doing::default() })
    }

    fn detach(&mut self, profile: &str, identifier: &str, stamp: Timestamp) -> Result<Doing, ActError> {
        let fragment = self.fragment_named(profile, "profile")?;
        let identifier = self.identifier_named(identifier)?;
        let person = self.person(fragment);
        let own = |row: &usize| {
            let link = &self.links[*row];
            link.state == State::Holds && link.is_of(&identifier) && person.contains(&link.fragment)
        };
        let removed: Vec<usize> = (0..self.links.len()).filter(own).collect();
        let since = removed.iter().map(|&row| self.links[row].came).min();
        if removed.is_empty() {
            return Err(missing("identifier_unknown", "identifier"));
        }
        for &row in &removed {
            self.links[row].state = State::Cut;
        }
        for &row in &removed {
            let fragment = self.links[row].fragment;
            self.note(stamp, "detached", fragment, |row| row.identifier = Some(identifier.to_string()));
        }
        Ok(Doing { fragments: vec![fragment], removed, one_since: since, ..Doing::default() })
    }

    fn attach(&mut self, profile: &str, identifier: &str, stamp: Timestamp) -> Result<Doing, ActError> {
        let fragment = self.fragment_named(profile, "profile")?;
        let identifier = self.identifier_named(identifier)?;
        if self.is_blocked(&identifier) {
            return Err(conflict("blocked", "identifier"));
        }
        if let Some(row) = self.link_row(fragment, &identifier)
            && self.links[row].state != State::Holds
        {
            self.links[row].state = State::Suspended;
            self.quarantined
                .iter_mut()
                .filter(|entry| entry.link == row)
                .for_each(|entry| entry.decided = true);
        }
        let attach_only = self.attach_only(&identifier.namespace, Merges::Always, true);
        let verdict = self.verdict(fragment, &identifier, attach_only, None);
        let joining = attach_only.is_none();
        let doing = self.carry_out_by_hand(fragment, &identifier, verdict, (true, joining), stamp)?;
        self.note_link_by_hand(stamp, "attached", fragment, (&identifier, &doing));
        Ok(doing)
    }

    /// Does what the rules say of a link that a person made or approved, or says why not.
    fn carry_out_by_hand(
        &mut self,
        fragment: usize,
        identifier: &Identifier,
        verdict: Verdict,
        (verified, joining): (bool, bool),
        time: Timestamp,
    ) -> Result<Doing, ActError> {
        let mut doing = Doing { fragments: vec![fragment], ..Doing::default() };
        match verdict {
            Verdict::Known | Verdict::KnownStill | Verdict::Attach(_) => {
                doing.added.push(self.write_link(fragment, identifier, verified, joining, time));
            }
            Verdict::Merge(other) => {
                doing.fragments.push(other[0]);
                doing.joined = Some((other[0], vec![self.primary_id(fragment), self.primary_id(other[0])]));
                doing.merge = Some(self.merge_by(fragment, identifier, verified, time));
                doing.added.extend(self.link_row(fragment, identifier));
            }
            Verdict::Switch => return Err(conflict("unique_conflict", "identifier")),
            Verdict::Refuse(code) | Verdict::Quarantine(code) => return Err(conflict(code, "identifier")),
        }
        Ok(doing)
    }

    fn decide(&mut self, quarantine: &str, approve: bool, stamp: Timestamp) -> Result<Doing, ActError> {
        let found = self.quarantined.iter().position(|entry| entry.id == quarantine);
        let at = found.ok_or_else(|| missing("quarantine_unknown", "quarantine"))?;
        let entry = self.quarantined[at].clone();
        if entry.decided {
            return Err(conflict("quarantine_decided", "quarantine"));
        }
        let link = self.links[entry.link].clone();
        let LinkTo::Identifier(identifier) = link.to else { panic!("no direct link waits") };
        self.quarantined[at].decided = true;
        let doing = if approve {
            if self.is_blocked(&identifier) {
                return Err(conflict("blocked", "quarantine"));
            }
            let attach_only = if link.joining { None } else { Some("attach_only") };
            let verdict = self.verdict(link.fragment, &identifier, attach_only, Some(entry.code));
            let how = (link.verified, link.joining);
            self.carry_out_by_hand(link.fragment, &identifier, verdict, how, stamp)?
        } else {
            self.links[entry.link].state = State::Rejected;
            Doing { fragments: vec![link.fragment], ..Doing::default() }
        };
        let kind = if approve { "approved" } else { "rejected" };
        self.note_link_by_hand(stamp, kind, link.fragment, (&identifier, &doing));
        Ok(doing)
    }

    fn note_link_by_hand(
        &mut self,
        stamp: Timestamp,
        kind: &'static str,
        fragment: usize,
        (identifier, doing): (&Identifier, &Doing),
    ) {
        self.note(stamp, kind, fragment, |row| {
            row.identifier = Some(identifier.to_string());
            row.merge.clone_from(&doing.merge);
            if let Some((other, profiles)) = &doing.joined {
                (row.other, row.profiles) = (Some(*other), profiles.clone());
            }
        });
    }

    fn block(&mut self, identifier: &str, stamp: Timestamp) -> Result<Doing, ActError> {
        let identifier = self.identifier_named(identifier)?;
        if self.is_blocked(&identifier) {
            return Err(conflict("blocked_already", "identifier"));
        }
        let was = self.primary_ids();
        let mut doing = Doing::default();
        for row in 0..self.links.len() {
            let link = &mut self.links[row];
            if link.state == State::Holds && link.is_of(&identifier) {
                link.state = State::Suspended;
                doing.fragments.push(link.fragment);
                doing.removed.push(row);
            }
        }
        doing.one_since = doing.removed.iter().map(|&row| self.links[row].came).min();
        let sequence = self.sequence;
        self.blocked.push(BlockedRow { identifier: identifier.clone(), sequence, at: stamp });
        for fragment in 0..self.fragments.len() {
            let Some((by, before)) = self.fragments[fragment].switched.clone() else { continue };
            if by == identifier && !self.same_person(fragment, before) {
                let (a, b) = (self.person(fragment), self.person(before));
                if self.kept_apart(&a, &b) || self.two_unique_values(&a, &b) {
                    continue;
                }
                if let Some(link) = self.direct_link(fragment, before, "device", stamp) {
                    self.hold(link);
                    self.merged(link, [fragment, before]);
                    doing.fragments.extend([fragment, before]);
                    doing.added.push(link);
                    let device = self.fragments[fragment].device;
                    if self.devices[device].holder == fragment {
                        self.devices[device].holder = self.given_back(before);
                    }
                }
            }
        }
        self.note_of_value(stamp, "blocked", (&identifier, &was), &doing.fragments);
        Ok(doing)
    }

    fn unblock(&mut self, identifier: &str, stamp: Timestamp) -> Result<Doing, ActError> {
        let identifier = self.identifier_named(identifier)?;
        if !self.blocked.iter().any(|row| row.identifier == identifier) {
            return Err(conflict("not_blocked", "identifier"));
        }
        self.blocked.retain(|row| row.identifier != identifier);
        let was = self.primary_ids();
        let mut doing = Doing::default();
        let mut parted = Vec::new();
        for fragment in 0..self.fragments.len() {
            let Some((by, before)) = self.fragments[fragment].switched.clone() else { continue };
            if let Some(row) = self.gives_back(fragment, before).filter(|_| by == identifier) {
                self.links[row].state = State::Suspended;
                doing.fragments.extend([fragment, before]);
                doing.removed.push(row);
                parted.push((fragment, before));
            }
        }
        let mut suspended: Vec<usize> = (0..self.links.len())
            .filter(|&row| self.links[row].state == State::Suspended && self.links[row].is_of(&identifier))
            .collect();
        suspended.sort_by_key(|&row| self.links[row].order);
        for row in suspended {
            let fragment = self.links[row].fragment;
            let (own, owner) = (self.person(fragment), self.owner(&identifier));
            let other = owner.filter(|_| self.links[row].joining).unwrap_or_default();
            let values = self.values(&[&own]).remove(&identifier.namespace).unwrap_or_default();
            let another = self.is_unique(&identifier.namespace)
                && values.iter().any(|value| *value != identifier.value);
            let apart =
                other != own && (self.kept_apart(&own, &other) || self.two_unique_values(&own, &other));
            if !another && !apart {
                // It counts from when it came, whatever was blocked since.
                self.links[row].state = State::Holds;
                if !other.is_empty() && other != own {
                    let carrier = self.carriers.iter().find(|(known, _)| *known == identifier);
                    let carrier = carrier.map_or(fragment, |(_, carrier)| *carrier);
                    self.merged(row, [fragment, carrier]);
                }
                self.note_carriers();
                doing.added.push(row);
            } else {
                self.links[row].state = State::Cut;
                doing.removed.push(row);
            }
            doing.fragments.push(fragment);
        }
        for (fragment, before) in parted {
            let device = self.fragments[fragment].device;
            let holder = self.devices[device].holder;
            let holds =
                self.link_row(fragment, &identifier).is_some_and(|row| self.links[row].state == State::Holds);
            if holds
                && holder == self.given_back(before)
                && self.said_last(fragment) >= self.said_last(holder)
            {
                self.devices[device].holder = fragment;
            }
        }
        self.note_of_value(stamp, "unblocked", (&identifier, &was), &doing.fragments);
        Ok(doing)
    }

    /// A device that nobody has seen, beside whoever holds the one that is named by an id of ours.
    fn hand_over(&mut self, profile: &str, stamp: Timestamp) -> Result<Doing, ActError> {
        let unknown = || missing("profile_unknown", "profile");
        let named = self.fragment_by_id(profile.trim()).map_err(|_| unknown())?;
        let device = self.fragments[named].device;
        let brought = matches!(self.devices[device].key, DeviceKey::Client { .. });
        if brought && self.devices[device].first == named {
            return Err(unknown());
        }
        self.devices[device].provisional = false;
        let holder = self.devices[device].holder;
        let profiles = self.primary_id(holder);
        let id = self.draw("profile");
        let (device, made) = (self.devices.len(), self.fragments.len());
        self.devices.push(Device { key: DeviceKey::Drawn, provisional: false, holder: made, first: made });
        self.fragments.push(Fragment { device, id: id.clone(), created_at: stamp, switched: None });
        self.note(stamp, "created", made, |_| {});
        let link = self.direct_link(holder, made, "handover", stamp).expect("it is the first between them");
        self.hold(link);
        let merge = self.merged(link, [holder, made]);
        self.note(stamp, "handed_over", holder, |row| {
            row.other = Some(made);
            row.merge = Some(merge.clone());
            row.profiles = vec![profiles, id.clone()];
        });
        let created = Some(id);
        Ok(Doing {
            fragments: vec![holder],
            added: vec![link],
            merge: Some(merge),
            created,
            ..Doing::default()
        })
    }

    /// The first merge that the act made which is being done.
    fn merge_made(&self) -> Option<String> {
        let here = self.merges.iter().find(|merge| merge.sequence == self.sequence);
        here.map(|merge| merge.id.clone())
    }

    /// Of each fragment the primary id of its profile.
    fn primary_ids(&self) -> Vec<String> {
        (0..self.fragments.len()).map(|of| self.primary_id(of)).collect()
    }

    /// Notes an act on a value of each fragment that it is about, and each merge that it made at one end of it.
    fn note_of_value(
        &mut self,
        stamp: Timestamp,
        kind: &'static str,
        (identifier, was): (&Identifier, &[String]),
        fragments: &[usize],
    ) {
        let first = self.happened.len();
        for (place, &fragment) in fragments.iter().enumerate() {
            if !fragments[..place].contains(&fragment) {
                self.note(stamp, kind, fragment, |row| row.identifier = Some(identifier.to_string()));
            }
        }
        let made = self.merges.iter().filter(|merge| merge.sequence == self.sequence);
        for merge in made {
            let [mut one, mut other] = merge.ends;
            if matches!(self.links[merge.link].to, LinkTo::Fragment { .. }) {
                // Of a device, who held it before comes first.
                (one, other) = (other, one);
            }
            let rows = &mut self.happened[first..];
            let free = |of: usize| rows.iter().position(|row| row.fragment == of && row.merge.is_none());
            if let Some(at) = free(one).or_else(|| free(other)) {
                let row = &mut rows[at];
                row.other = Some(if row.fragment == one { other } else { one });
                row.merge = Some(merge.id.clone());
                row.profiles = vec![was[one].clone(), was[other].clone()];
            }
        }
    }

    /// The place in the log that said last who a fragment is.
    fn said_last(&self, fragment: usize) -> u64 {
        let of = |link: &&LinkRow| link.fragment == fragment && matches!(link.to, LinkTo::Identifier(_));
        self.links.iter().filter(of).map(|link| link.last).max().unwrap_or(0)
    }

    fn fragment_named(&self, id: &str, field: &str) -> Result<usize, ActError> {
        use spoor::model::ReadError;
        let id = id.trim();
        let bare = id.split_once(':').map_or(id, |(_, bare)| bare);
        if id.is_empty() || bare.len() > ID_MAX_BYTES {
            let code = if id.is_empty() { "id_empty" } else { "id_too_long" };
            return Err(ActError::Rejected(no(code, field)));
        }
        self.fragment_by_id(id).map_err(|error| match error {
            ReadError::AmbiguousId { .. } => conflict("ambiguous_id", field),
            _ => missing("not_found", field),
        })
    }

    fn identifier_named(&self, text: &str) -> Result<Identifier, ActError> {
        self.parsed(text).map_err(|code| ActError::Rejected(no(code, "identifier")))
    }

    /// An identifier from `namespace:value`, of no source.
    pub(super) fn parsed(&self, text: &str) -> Result<Identifier, &'static str> {
        let (namespace, value) = text.split_once(':').ok_or("identifier_invalid")?;
        let (namespace, value) = (namespace.trim(), value.trim());
        if namespace.len() > NAME_MAX_BYTES {
            return Err("name_too_long");
        }
        if value.len() > IDENTIFIER_MAX_BYTES {
            return Err("value_too_long");
        }
        self.read(namespace, value, None)
    }

    fn shown_links(&self, rows: &[usize]) -> Vec<Link> {
        rows.iter().map(|&row| self.shown_link(row)).collect()
    }

    /// The profiles of some fragments, oldest first.
    fn sizes(&self, fragments: &[usize]) -> Vec<ProfileSize> {
        let mut people: Vec<Vec<usize>> = Vec::new();
        for &fragment in fragments {
            let person = self.person(fragment);
            if !people.contains(&person) {
                people.push(person);
            }
        }
        people.sort();
        people
            .iter()
            .map(|person| {
                let counters = self.counters(&self.events_of(person));
                ProfileSize {
                    primary_id: self.fragments[person[0]].id.clone(),
                    ids: person.len() as u64,
                    sessions: counters.sessions,
                    events: counters.events,
                }
            })
            .collect()
    }

    /// What was decided of these fragments since, and would come out otherwise without what is taken away.
    fn not_retaken(&self, fragments: &[usize], since: u64) -> Vec<EventSeq> {
        let stands = |kind: &str, code: Option<&str>| {
            matches!(kind, "switched" | "quarantined")
                || kind == "refused" && matches!(code, Some("unique_conflict" | "kept_apart"))
        };
        let mut places: Vec<u64> = self
            .happened
            .iter()
            .filter(|row| {
                // A switch is a matter of both people.
                let from = row.before.filter(|_| row.kind == "switched");
                let concerned = |of: usize| fragments.contains(&of);
                row.sequence > since
                    && (concerned(row.fragment) || from.is_some_and(concerned))
                    && stands(row.kind, row.code)
            })
            .map(|row| row.sequence)
            .collect();
        places.dedup();
        places.into_iter().map(EventSeq).collect()
    }
}
