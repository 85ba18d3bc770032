//! What becomes of an identifier: attached, known, merged, switched, refused or quarantined.

use super::identify::Brought;
use super::{Fragment, Identifier, LinkRow, LinkTo, Model, Quarantined, State};
use spoor::{LinkOutcome, LinkReply, Timestamp};

/// When an event came, and when it happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) stamp: Timestamp,
    pub(super) time: Timestamp,
    pub(super) event: Option<&'a str>,
}

/// What the rules say of one identifier on one fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// The same, and nothing is written.
    KnownStill,
    /// The code says why its link does not join, if it does not.
    Attach(Option<&'static str>),
    Merge(Vec<usize>),
    Switch,
    Refuse(&'static str),
    Quarantine(&'static str),
}

/// What became of an event's identifiers.
#[derive(Debug, Default)]
pub(super) struct Identified {
    pub(super) links: Vec<LinkReply>,
    pub(super) switched: bool,
    pub(super) warnings: Vec<&'static str>,
}

impl Model {
    /// Decides the identifiers of an event one after the other; a switch changes the fragment that it goes to.
    pub(super) fn identify(
        &mut self,
        fragment: &mut Option<usize>,
        brought: &[Brought],
        moment: Moment<'_>,
    ) -> Identified {
        let mut identified = Identified::default();
        for one in brought {
            let before = *fragment;
            let reply = match (*fragment, &one.identifier) {
                (None, _) => refused(one, "profile_less"),
                (Some(_), Err(code)) => refused(one, code),
                (Some(_), Ok(identifier)) if self.is_blocked(identifier) => refused(one, "blocked"),
                (Some(own), Ok(identifier)) => {
                    let several = self.is_unique(&one.namespace) && self.several(brought, &one.namespace);
                    let verdict = self.verdict(own, identifier, one.attach_only, None);
                    let verdict = match verdict {
                        // What was decided of this fragment and identifier before goes first.
                        _ if several => {
                            self.told(own, identifier, None).unwrap_or(Verdict::Refuse("two_values"))
                        }
                        _ if self.says_too_late(identifier, moment) => self.said_too_late(own, identifier),
                        Verdict::Switch if identified.switched => Verdict::Refuse("unique_conflict"),
                        _ => verdict,
                    };
                    let (reply, now) = self.carry_out(own, one, identifier, &verdict, moment);
                    identified.switched |= verdict == Verdict::Switch;
                    *fragment = Some(now);
                    let settings = &self.settings.identifiers[&one.namespace];
                    let taken = reply.outcome != LinkOutcome::Refused;
                    if settings.unique
                        && taken
                        && self.carriers(identifier, None) > settings.fragments_max as usize
                    {
                        identified.warnings.push("fragments_max");
                    }
                    reply
                }
            };
            if let (Some(before), Some(own)) = (before, *fragment) {
                self.note_link(own, before, &reply, moment);
            }
            identified.links.push(reply);
        }
        identified.warnings.dedup();
        identified
    }

    /// Whether an event brings several values of a namespace that could each identify somebody.
    fn several(&self, brought: &[Brought], namespace: &str) -> bool {
        let usable = |one: &&Brought| {
            one.namespace == namespace
                && one.identifier.as_ref().is_ok_and(|identifier| !self.is_blocked(identifier))
        };
        brought.iter().filter(usable).count() > 1
    }

    /// What the rules say of an identifier that a fragment brings; `lifted` is a limit that does not count.
    pub(super) fn verdict(
        &self,
        fragment: usize,
        identifier: &Identifier,
        attach_only: Option<&'static str>,
        lifted: Option<&'static str>,
    ) -> Verdict {
        let person = self.person(fragment);
        let owner = self.owner(identifier);
        // Where somebody else has it, a link that only attached does not answer for one that may join.
        let other = owner.clone().filter(|owner| attach_only.is_none() && *owner != person);
        let known = owner.as_ref() == Some(&person) || other.is_none() && self.has(&person, identifier);
        let told = self.told(fragment, identifier, lifted);
        // Somebody sits here in another's place, whatever was decided of this very link.
        if !known && self.is_unique(&identifier.namespace) {
            let verdict = self.unique_verdict(&person, identifier, other.clone(), attach_only);
            if verdict == Verdict::Switch || told.is_some() && other.is_some() {
                return Verdict::Switch;
            }
        }
        if let Some(told) = told {
            return told;
        }
        if known {
            return Verdict::Known;
        }
        if self.is_unique(&identifier.namespace) {
            self.unique_verdict(&person, identifier, other, attach_only)
        } else {
            let limited = |code: &'static str| {
                let code = Some(code).filter(|code| lifted != Some(*code))?;
                self.is_limited(code, fragment, identifier, other.as_deref(), attach_only).then_some(code)
            };
            if let Some(other) = &other {
                if self.two_unique_values(&person, other) {
                    return Verdict::Refuse("unique_conflict");
                }
                if self.kept_apart(&person, other) {
                    return Verdict::Refuse("kept_apart");
                }
            }
            match limited("values_per_profile").or_else(|| limited("fragments_max")) {
                Some(code) => Verdict::Quarantine(code),
                None => other.map_or(Verdict::Attach(attach_only), Verdict::Merge),
            }
        }
    }

    /// What was decided of this very link before.
    fn told(
        &self,
        fragment: usize,
        identifier: &Identifier,
        lifted: Option<&'static str>,
    ) -> Option<Verdict> {
        let row = self.link_row(fragment, identifier)?;
        match self.links[row].state {
            State::Cut => Some(Verdict::Refuse("cut")),
            State::Rejected => Some(Verdict::Refuse("rejected")),
            State::Quarantined if lifted.is_none() => Some(Verdict::Quarantine(self.code_of(row))),
            _ => None,
        }
    }

    fn unique_verdict(
        &self,
        person: &[usize],
        identifier: &Identifier,
        other: Option<Vec<usize>>,
        attach_only: Option<&'static str>,
    ) -> Verdict {
        match other {
            Some(other) if self.two_unique_values(person, &other) => Verdict::Switch,
            Some(other) if self.kept_apart(person, &other) => Verdict::Refuse("kept_apart"),
            Some(other) => Verdict::Merge(other),
            None => {
                let values = self.values(&[person]);
                let own = values.get(&identifier.namespace);
                let another = own.is_some_and(|own| own.iter().any(|value| *value != identifier.value));
                if another { Verdict::Switch } else { Verdict::Attach(attach_only) }
            }
        }
    }

    /// Whether a limit of a namespace that is not unique stands in the way.
    fn is_limited(
        &self,
        code: &str,
        fragment: usize,
        identifier: &Identifier,
        other: Option<&[usize]>,
        attach_only: Option<&'static str>,
    ) -> bool {
        let person = self.person(fragment);
        let limit = |namespace: &str| {
            let settings = self.settings.identifiers.get(namespace);
            settings.filter(|settings| !settings.unique).map(|settings| settings.values_per_profile as usize)
        };
        match (code, other) {
            ("values_per_profile", Some(other)) => self
                .values(&[&person, other])
                .iter()
                .any(|(namespace, values)| limit(namespace).is_some_and(|max| values.len() > max)),
            ("values_per_profile", None) => {
                let mut values = self.values(&[&person]).remove(&identifier.namespace).unwrap_or_default();
                values.remove(&identifier.value);
                limit(&identifier.namespace).is_some_and(|max| values.len() >= max)
            }
            // Nobody is joined where nobody has the value; a link that only attaches is one more all the same.
            (_, None) if attach_only.is_none() => false,
            _ => {
                let max = self.settings.identifiers[&identifier.namespace].fragments_max as usize;
                self.carriers(identifier, Some(fragment)) >= max
            }
        }
    }

    /// Does what the rules say; returns the answer, and the fragment that the event goes to.
    fn carry_out(
        &mut self,
        fragment: usize,
        one: &Brought,
        identifier: &Identifier,
        verdict: &Verdict,
        moment: Moment<'_>,
    ) -> (LinkReply, usize) {
        let mut reply = LinkReply { identifier: identifier.to_string(), ..refused(one, "") };
        reply.code = None;
        let joining = one.attach_only.is_none();
        match verdict {
            Verdict::Known => {
                reply.outcome = LinkOutcome::Known;
                self.write_link(fragment, identifier, one.verified, joining, moment.time);
            }
            Verdict::KnownStill => reply.outcome = LinkOutcome::Known,
            Verdict::Attach(code) => {
                reply.outcome = LinkOutcome::Attached;
                reply.code = *code;
                self.write_link(fragment, identifier, one.verified, joining, moment.time);
            }
            Verdict::Merge(other) => {
                reply.outcome = LinkOutcome::Merged;
                reply.profiles = vec![self.primary_id(fragment), self.primary_id(other[0])];
                reply.merge = Some(self.merge_by(fragment, identifier, one.verified, moment.time));
            }
            Verdict::Switch => {
                reply.outcome = LinkOutcome::Switched;
                reply.code = one.attach_only;
                let now = self.switch(fragment, one, identifier, moment, &mut reply);
                return (reply, now);
            }
            Verdict::Refuse(code) => reply.code = Some(code),
            Verdict::Quarantine(code) => {
                reply.outcome = LinkOutcome::Quarantined;
                reply.code = Some(code);
                reply.quarantine = Some(self.quarantine_link(fragment, one, identifier, code, moment));
            }
        }
        (reply, fragment)
    }

    /// Writes the link that makes one profile of two; returns the merge's id.
    pub(super) fn merge_by(
        &mut self,
        fragment: usize,
        identifier: &Identifier,
        verified: bool,
        time: Timestamp,
    ) -> String {
        let carrier = self.carriers.iter().find(|(known, _)| known == identifier);
        let carrier = carrier.map_or(fragment, |(_, carrier)| *carrier);
        let link = self.write_link(fragment, identifier, verified, true, time);
        self.merged(link, [fragment, carrier])
    }

    /// Gives the device to somebody else's fragment: the one it had before, or a new one.
    fn switch(
        &mut self,
        fragment: usize,
        one: &Brought,
        identifier: &Identifier,
        moment: Moment<'_>,
        reply: &mut LinkReply,
    ) -> usize {
        let joining = one.attach_only.is_none();
        let device = self.fragments[fragment].device;
        let own: Vec<usize> =
            (0..self.fragments.len()).filter(|&own| self.fragments[own].device == device).collect();
        let owner = self.owner(identifier);
        let owners = own.iter().find(|&own| owner.as_ref().is_some_and(|owner| owner.contains(own)));
        let carriers = own.iter().find(|&&own| self.has(&self.person(own), identifier));
        let before = self.primary_id(fragment);
        let found = match (owners, &owner) {
            (Some(found), _) => Some(*found),
            (None, Some(_)) if joining => None,
            (None, _) => carriers.copied(),
        };
        if let Some(found) = found {
            reply.profiles = vec![before, self.primary_id(found)];
            let held_back = self.link_row(found, identifier).is_some_and(|row| {
                !matches!(self.links[row].state, State::Holds | State::Suspended | State::Expired)
            });
            if !held_back {
                self.write_link(found, identifier, one.verified, joining, moment.time);
            }
            self.devices[device].holder = found;
            return found;
        }
        let new = self.fragments.len();
        let id = self.draw("profile");
        let switched = Some((identifier.clone(), self.devices[device].holder));
        self.fragments.push(Fragment { device, id: id.clone(), created_at: moment.stamp, switched });
        self.note(moment.stamp, "created", new, |row| row.event = moment.event.map(str::to_owned));
        self.devices[device].holder = new;
        match owner.filter(|_| joining) {
            Some(owner) => {
                reply.profiles = vec![before, self.primary_id(owner[0])];
                reply.merge = Some(self.merge_by(new, identifier, one.verified, moment.time));
            }
            None => {
                reply.profiles = vec![before, id];
                self.write_link(new, identifier, one.verified, joining, moment.time);
            }
        }
        new
    }

    /// Writes that a fragment carries an identifier; returns the link.
    pub(super) fn write_link(
        &mut self,
        fragment: usize,
        identifier: &Identifier,
        verified: bool,
        joining: bool,
        time: Timestamp,
    ) -> usize {
        let row = self.row_for(fragment, identifier, verified, time);
        let link = &mut self.links[row];
        let held = std::mem::replace(&mut link.state, State::Holds) == State::Holds;
        if !held || joining && !link.joining {
            self.begin(row, joining);
        }
        row
    }

    /// The row of a link, seen once more.
    fn row_for(
        &mut self,
        fragment: usize,
        identifier: &Identifier,
        verified: bool,
        time: Timestamp,
    ) -> usize {
        let row = self.link_row(fragment, identifier).unwrap_or_else(|| {
            let to = LinkTo::Identifier(identifier.clone());
            self.links.push(LinkRow::new(fragment, to, self.sequence, time));
            self.links.len() - 1
        });
        let link = &mut self.links[row];
        link.verified |= verified;
        link.last = self.sequence;
        link.first_seen = link.first_seen.min(time);
        link.last_seen = link.last_seen.max(time);
        row
    }

    /// Puts a link into quarantine, or finds it there; returns the entry's id.
    fn quarantine_link(
        &mut self,
        fragment: usize,
        one: &Brought,
        identifier: &Identifier,
        code: &'static str,
        moment: Moment<'_>,
    ) -> String {
        let known = self.link_row(fragment, identifier);
        let known = self.quarantined.iter().find(|entry| Some(entry.link) == known && !entry.decided);
        if let Some(known) = known {
            return known.id.clone();
        }
        let row = self.row_for(fragment, identifier, one.verified, moment.time);
        self.links[row].joining = one.attach_only.is_none();
        self.links[row].state = State::Quarantined;
        let here = self.quarantined.iter().filter(|entry| entry.sequence == self.sequence).count();
        let id = format!("q{}-{here}", self.sequence);
        self.quarantined.push(Quarantined {
            id: id.clone(),
            link: row,
            code,
            sequence: self.sequence,
            at: moment.stamp,
            decided: false,
        });
        id
    }

    fn code_of(&self, row: usize) -> &'static str {
        let entry = self.quarantined.iter().rfind(|entry| entry.link == row);
        entry.expect("a link in quarantine has an entry").code
    }

    /// Of refusals those are noted that the state of that moment decided; of what was known before, nothing.
    fn note_link(&mut self, fragment: usize, before: usize, reply: &LinkReply, moment: Moment<'_>) {
        let noted = match reply.outcome {
            LinkOutcome::Known => false,
            LinkOutcome::Refused => matches!(reply.code, Some("unique_conflict" | "kept_apart")),
            LinkOutcome::Quarantined => self
                .quarantined
                .iter()
                .any(|row| row.sequence == self.sequence && Some(&row.id) == reply.quarantine.as_ref()),
            _ => true,
        };
        if !noted {
            return;
        }
        let merge = self.merges.iter().find(|row| Some(&row.id) == reply.merge.as_ref());
        let other = merge.map(|row| row.ends[1]);
        self.note(moment.stamp, reply.outcome.as_str(), fragment, |row| {
            row.other = other;
            row.before = Some(before);
            row.identifier = Some(reply.identifier.clone());
            row.code = reply.code;
            row.merge.clone_from(&reply.merge);
            row.profiles.clone_from(&reply.profiles);
            row.event = moment.event.map(str::to_owned);
        });
    }
}

fn refused(one: &Brought, code: &'static str) -> LinkReply {
    LinkReply {
        identifier: one.shown(),
        outcome: LinkOutcome::Refused,
        code: Some(code),
        merge: None,
        profiles: Vec::new(),
        quarantine: None,
    }
}
