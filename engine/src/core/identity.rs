//! Who an event says that it was: each of its identifiers attached, known, merged, switched, refused or quarantined.
//!
//! The rules, with their codes, are in docs/identity.md. The steps, for each identifier in turn:
//! 1. what identifies nobody is told and left; whoever has the value is looked up, and whether the two could be one;
//! 2. a unique namespace that they cannot share means that somebody else sits at the device: a switch;
//! 3. what was parted here by an act, or waits for a decision, is told and left;
//! 4. the others are refused by conflicts and guards, and quarantined by limits.
//!
//! An act by hand that gives a fragment an identifier goes the same way, with what stands in its way lifted.

use super::apply::missing;
use super::choose::{Choice, ChosenSession};
use super::decide::Decider;
use super::decision::{Effect, JoinCause, LinkCode, LinkResult};
use super::graph::larger;
use super::identifiers::CommandIdentifier;
use super::person::person_of;
use super::root::{fragment_row, root_of};
use super::rows::{
    DirectKind, IdentifierKey, IdentifierRow, Limit, LinkKey, ListKey, ListKind, NameKind, PairKey,
    PersonRow, ProfileAt, Standing,
};
use super::sources::Namespace;
use super::view::State;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, IdentifierNo, NamespaceNo, ProfileKey};
use crate::limits::DEVICE_MAX_SEATS;
use crate::reply::LinkOutcome;
use crate::settings::Merges;
use crate::time::Timestamp;
use std::sync::Arc;

/// What is lifted for an act by hand; nothing of it for an event.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lifted {
    /// What was decided of this very link: a cut, a rejection, and a quarantine if its limit stands no more.
    pub decided: bool,
    /// This limit.
    pub limit: Option<Limit>,
}

/// An identifier that identifies somebody, on its way to a fragment.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub identifier: &'a CommandIdentifier,
    pub settings: &'a Namespace,
    /// Whether what the source says may join.
    pub source_merges: Merges,
    /// Event time.
    pub time: Timestamp,
    pub lifted: Lifted,
    /// Whether a conflict may open another fragment of the device.
    pub may_switch: bool,
}

/// What one identifier came to.
#[derive(Debug)]
pub(super) struct Resolved {
    pub outcome: LinkOutcome,
    pub code: Option<LinkCode>,
    pub merge: Option<u16>,
    pub sides: Option<(FragmentNo, FragmentNo)>,
    /// The fragment that it went to.
    pub fragment: FragmentNo,
    /// Of a link in quarantine: see [`LinkResult::entry`].
    pub entry: Option<(EventSeq, u16)>,
}

/// What an earlier decision about a link says.
struct Told {
    outcome: LinkOutcome,
    code: LinkCode,
    entry: Option<(EventSeq, u16)>,
}

/// Whoever an identifier leads to.
struct Found {
    no: Option<IdentifierNo>,
    row: Option<Arc<IdentifierRow>>,
    /// The root of the profile that has it by a joining link.
    owner: Option<FragmentNo>,
}

impl Found {
    /// The fragment by which the owner has it.
    fn carrier(&self, owner: FragmentNo) -> FragmentNo {
        self.row.as_ref().and_then(|row| row.owner).unwrap_or(owner)
    }
}

impl<'a, S: State> Decider<'a, S> {
    /// Decides the identifiers of an event; returns where the event goes after that, and what is answered.
    pub(super) fn identify(
        &mut self,
        index: usize,
        mut choice: Choice,
        time: Timestamp,
    ) -> Result<(Choice, Vec<LinkResult>), Error> {
        let command = self.command;
        let registry = self.registry;
        let identifiers = command.events.get(index).map_or(&[][..], |event| &event.identifiers);
        let mut results = Vec::with_capacity(identifiers.len());
        let mut switched = false;
        for identifier in identifiers {
            let settings = registry.namespaces.get(&*identifier.namespace);
            let refuse = |code| refused(identifier, code);
            let (at, settings) = match (choice.profile, identifier.fault, settings) {
                (None, ..) => {
                    results.push(refuse(LinkCode::ProfileLess));
                    continue;
                }
                (_, Some(code), _) => {
                    results.push(refuse(code));
                    continue;
                }
                (_, _, None) => {
                    results.push(refuse(LinkCode::UnknownNamespace));
                    continue;
                }
                (Some(at), None, Some(settings)) => (at, settings),
            };
            if let Some(code) = self.one_of_several(identifier, identifiers, settings, at.fragment)? {
                results.push(refuse(code));
                continue;
            }
            let evidence = Evidence {
                identifier,
                settings,
                source_merges: command.source.merges,
                time,
                lifted: Lifted::default(),
                may_switch: !switched,
            };
            let resolved = self.resolve(at.fragment, evidence)?;
            if resolved.outcome == LinkOutcome::Switched {
                switched = true;
                choice = self.follow_switch(choice, resolved.fragment);
            }
            results.push(LinkResult {
                namespace: identifier.namespace.clone(),
                value: identifier.value.clone(),
                outcome: resolved.outcome,
                code: resolved.code,
                merge: resolved.merge,
                sides: resolved.sides,
                from: (resolved.outcome == LinkOutcome::Switched).then_some(at.fragment),
                entry: resolved.entry,
            });
        }
        Ok((choice, results))
    }

    /// The code of a value that is not the only one of its unique namespace in its event. What an act decided of the
    /// value or of this very link is told all the same.
    fn one_of_several(
        &self,
        identifier: &CommandIdentifier,
        identifiers: &[CommandIdentifier],
        settings: &Namespace,
        fragment: FragmentNo,
    ) -> Result<Option<LinkCode>, Error> {
        let same =
            |other: &&CommandIdentifier| other.fault.is_none() && other.namespace == identifier.namespace;
        if !settings.unique || identifiers.iter().filter(same).count() < 2 {
            return Ok(None);
        }
        let blocked = |found: &Found| found.row.as_ref().is_some_and(|row| row.blocked.is_some());
        let mut values = 0;
        for other in identifiers.iter().filter(same) {
            values += usize::from(!blocked(&self.find(other)?));
        }
        let found = self.find(identifier)?;
        if blocked(&found) || values < 2 {
            return Ok(None);
        }
        let told = self.told_before(fragment, &found, Lifted::default())?;
        Ok(Some(told.map_or(LinkCode::TwoValues, |told| told.code)))
    }

    /// The event, and the rest of its session, go to the fragment of whoever sits there now.
    fn follow_switch(&mut self, choice: Choice, fragment: FragmentNo) -> Choice {
        self.warn("profile_switched");
        let reason = choice.profile.map_or(crate::reply::Reason::Sent, |at| at.reason);
        let profile = ProfileAt { fragment, reason };
        self.chosen.push(profile);
        let follow = |chosen| ChosenSession { part: None, becomes_current: true, ..chosen };
        Choice { profile: Some(profile), session: choice.session.map(follow) }
    }

    /// Decides one identifier for a fragment.
    pub(super) fn resolve(&mut self, fragment: FragmentNo, of: Evidence<'_>) -> Result<Resolved, Error> {
        let plain =
            |outcome, code| Resolved { outcome, code, merge: None, sides: None, fragment, entry: None };
        let refuse = |code| plain(LinkOutcome::Refused, Some(code));
        let found = self.find(of.identifier)?;
        if found.row.as_ref().is_some_and(|row| row.blocked.is_some()) {
            return Ok(refuse(LinkCode::Blocked));
        }
        if of.settings.has_expired(of.time, self.stamp.received) {
            // It says nothing of now, and so writes nothing: whatever came first, the same is known.
            let holds = self.holds(fragment, &found)?;
            return Ok(if holds { plain(LinkOutcome::Known, None) } else { refuse(LinkCode::Expired) });
        }
        let root = root_of(self.state, fragment)?;
        let person = person_of(self.state, root)?;
        let (joins, why_not) = may_join(&of);
        let has = found.no.is_some_and(|no| person.identifiers.binary_search(&no).is_ok());
        let owner = found.owner.filter(|owner| joins && *owner != root);
        let other = owner.map(|owner| person_of(self.state, owner)).transpose()?;
        let told = self.told_before(fragment, &found, of.lifted)?;
        // What parted this link keeps the fragment from whoever has the value. It does not make what they do here
        // count for somebody else.
        if of.settings.unique
            && ((told.is_some() && other.is_some())
                || (!has && self.has_value_of(&person, &of)?)
                || self.cannot_be_one(&person, other.as_deref())?)
        {
            return self.conflict(fragment, &found, of);
        }
        if let Some(told) = told {
            return Ok(Resolved { entry: told.entry, ..plain(told.outcome, Some(told.code)) });
        }
        if has && other.is_none() {
            self.link(fragment, &found, of, joins)?;
            return Ok(plain(LinkOutcome::Known, None));
        }
        let Some((owner, other)) = owner.zip(other) else {
            if let Some(limit) = self.full(fragment, &person, None, &found, &of)? {
                return self.quarantine(fragment, &found, of, limit);
            }
            self.link(fragment, &found, of, joins)?;
            return Ok(plain(LinkOutcome::Attached, why_not));
        };
        if self.share_no_unique(&person, &other)? {
            return self.conflict(fragment, &found, of);
        }
        if self.guarded(&person, owner)? {
            return Ok(refuse(LinkCode::KeptApart));
        }
        if let Some(limit) = self.full(fragment, &person, Some(&other), &found, &of)? {
            return self.quarantine(fragment, &found, of, limit);
        }
        let no = self.link(fragment, &found, of, true)?;
        let link = LinkKey { fragment, identifier: no };
        let merge = self.unite(root, owner, JoinCause::Link { link, carrier: found.carrier(owner) })?;
        let sides = Some((person.oldest, other.oldest));
        Ok(Resolved { merge: Some(merge), sides, ..plain(LinkOutcome::Merged, None) })
    }

    /// Whether the link of a fragment to an identifier holds.
    fn holds(&self, fragment: FragmentNo, found: &Found) -> Result<bool, Error> {
        let Some(identifier) = found.no else { return Ok(false) };
        let row = self.state.links(&LinkKey { fragment, identifier })?;
        Ok(row.is_some_and(|row| row.standing.holds()))
    }

    /// What an earlier decision about this very link says.
    fn told_before(
        &self,
        fragment: FragmentNo,
        found: &Found,
        lifted: Lifted,
    ) -> Result<Option<Told>, Error> {
        let Some(identifier) = found.no else { return Ok(None) };
        let Some(row) = self.state.links(&LinkKey { fragment, identifier })? else { return Ok(None) };
        let refused = |code| Some(Told { outcome: LinkOutcome::Refused, code, entry: None });
        Ok(match row.standing {
            Standing::Cut if !lifted.decided => refused(LinkCode::Cut),
            Standing::Rejected if !lifted.decided => refused(LinkCode::Rejected),
            Standing::Suspended(_) => refused(LinkCode::Blocked),
            Standing::Quarantined(limit) if !lifted.decided && lifted.limit != Some(limit) => {
                Some(Told { outcome: LinkOutcome::Quarantined, code: limit.into(), entry: row.entry })
            }
            _ => None,
        })
    }

    /// Two values of a unique namespace cannot be one person.
    fn conflict(&mut self, fragment: FragmentNo, found: &Found, of: Evidence<'_>) -> Result<Resolved, Error> {
        if of.settings.unique && of.may_switch {
            return self.switch(fragment, found, of);
        }
        let code = Some(LinkCode::UniqueConflict);
        Ok(Resolved { outcome: LinkOutcome::Refused, code, merge: None, sides: None, fragment, entry: None })
    }

    /// Somebody else sits at the device: its fragment for that person, or a new one, holds it from here on.
    fn switch(&mut self, from: FragmentNo, found: &Found, of: Evidence<'_>) -> Result<Resolved, Error> {
        let device = fragment_row(self.state, from)?.device;
        let before = person_of(self.state, root_of(self.state, from)?)?.oldest;
        let (joins, why_not) = may_join(&of);
        let mut merge = None;
        let fragment = match self.seat(from, found, joins)? {
            Some(fragment) => {
                self.emit(Effect::Holder { device, fragment })?;
                // It may be theirs by another link, and this one have been parted.
                if self.told_before(fragment, found, Lifted::default())?.is_none() {
                    self.link(fragment, found, of, joins)?;
                } else if let Some(no) = found.no {
                    self.warn_of_many(no, of.settings)?;
                }
                fragment
            }
            None => {
                let key = ProfileKey::Server(self.draw_id());
                let fragment = self.state.counters().fragment.next();
                self.emit(Effect::Fragment { fragment, device, key })?;
                self.emit(Effect::Holder { device, fragment })?;
                let identifier = self.link(fragment, found, of, joins)?;
                if let Some(owner) = found.owner.filter(|_| joins) {
                    let link = LinkKey { fragment, identifier };
                    let cause = JoinCause::Link { link, carrier: found.carrier(owner) };
                    merge = Some(self.unite(fragment, owner, cause)?);
                }
                fragment
            }
        };
        let now = person_of(self.state, root_of(self.state, fragment)?)?.oldest;
        let sides = Some((before, now));
        Ok(Resolved { outcome: LinkOutcome::Switched, code: why_not, merge, sides, fragment, entry: None })
    }

    /// The device's fragment of the person who has a value, if there is one. By a link that may not join, it is else
    /// whoever has the value there by such a link too.
    fn seat(&self, from: FragmentNo, found: &Found, joins: bool) -> Result<Option<FragmentNo>, Error> {
        let Some(no) = found.no else { return Ok(None) };
        let device = fragment_row(self.state, from)?.device;
        let first = self.state.devices(&device)?.ok_or_else(|| missing("device"))?.first;
        let seats = self.state.list(ListKey { kind: ListKind::Seats, of: device.0 }, DEVICE_MAX_SEATS)?;
        let mut carrier = None;
        for seat in std::iter::once(first).chain(seats.into_iter().map(FragmentNo)) {
            if seat == from {
                continue;
            }
            let root = root_of(self.state, seat)?;
            if found.owner == Some(root) {
                return Ok(Some(seat));
            }
            if carrier.is_none() && person_of(self.state, root)?.identifiers.binary_search(&no).is_ok() {
                carrier = Some(seat);
            }
        }
        Ok(carrier.filter(|_| found.owner.is_none() || !joins))
    }

    fn quarantine(
        &mut self,
        fragment: FragmentNo,
        found: &Found,
        of: Evidence<'_>,
        limit: Limit,
    ) -> Result<Resolved, Error> {
        let identifier = self.identifier_no(found, of.identifier)?;
        let (verified, time) = (of.identifier.verified, of.time);
        let place = self.quarantined;
        self.quarantined += 1;
        self.emit(Effect::Quarantine { fragment, identifier, limit, place, verified, time })?;
        let entry = Some((self.state.counters().seq.next(), place));
        let code = Some(limit.into());
        Ok(Resolved { outcome: LinkOutcome::Quarantined, code, merge: None, sides: None, fragment, entry })
    }

    fn find(&self, identifier: &CommandIdentifier) -> Result<Found, Error> {
        let nothing = Found { no: None, row: None, owner: None };
        let Some(namespace) = self.namespace_no(identifier)? else { return Ok(nothing) };
        let key = IdentifierKey { namespace, value: identifier.value.clone() };
        let Some(no) = self.state.identifier_nos(&key)? else { return Ok(nothing) };
        let row = self.state.identifiers(&no)?.ok_or_else(|| missing("identifier"))?;
        let owner = row.owner.map(|owner| root_of(self.state, owner)).transpose()?;
        Ok(Found { no: Some(*no), row: Some(row), owner })
    }

    /// The number of an identifier's namespace, if it has one by now.
    fn namespace_no(&self, identifier: &CommandIdentifier) -> Result<Option<NamespaceNo>, Error> {
        if identifier.namespace_no.is_some() {
            return Ok(identifier.namespace_no);
        }
        let known = self.known_name(NameKind::Namespace, &identifier.namespace)?;
        Ok(known.map(|(no, _)| NamespaceNo(no)))
    }

    /// The number of an identifier, if it has one.
    pub(super) fn known_identifier(
        &self,
        identifier: &CommandIdentifier,
    ) -> Result<Option<IdentifierNo>, Error> {
        Ok(self.find(identifier)?.no)
    }

    /// The number of an identifier, given now if it has none.
    pub(super) fn number_identifier(
        &mut self,
        identifier: &CommandIdentifier,
    ) -> Result<IdentifierNo, Error> {
        let found = self.find(identifier)?;
        self.identifier_no(&found, identifier)
    }

    /// The number of an identifier, given now if it has none.
    fn identifier_no(
        &mut self,
        found: &Found,
        identifier: &CommandIdentifier,
    ) -> Result<IdentifierNo, Error> {
        if let Some(no) = found.no {
            return Ok(no);
        }
        let namespace = match identifier.namespace_no {
            Some(no) => no,
            None => NamespaceNo(self.name(NameKind::Namespace, &identifier.namespace)?),
        };
        let no = self.state.counters().identifier.next();
        self.emit(Effect::Identifier { no, namespace, value: identifier.value.clone() })?;
        Ok(no)
    }

    fn link(
        &mut self,
        fragment: FragmentNo,
        found: &Found,
        of: Evidence<'_>,
        joins: bool,
    ) -> Result<IdentifierNo, Error> {
        let identifier = self.identifier_no(found, of.identifier)?;
        let (verified, time) = (of.identifier.verified, of.time);
        self.emit(Effect::Link { fragment, identifier, joins, verified, time })?;
        if of.settings.unique {
            self.warn_of_many(identifier, of.settings)?;
        }
        if !self.command.source.trusted {
            let device = fragment_row(self.state, fragment)?.device;
            self.settle(device)?;
        }
        Ok(identifier)
    }

    /// Warns of a unique value that more fragments carry than its namespace is meant for.
    fn warn_of_many(&mut self, identifier: IdentifierNo, settings: &Namespace) -> Result<(), Error> {
        let row = self.state.identifiers(&identifier)?.ok_or_else(|| missing("identifier"))?;
        if row.links > settings.fragments_max {
            self.warn("fragments_max");
        }
        Ok(())
    }

    /// Whether a person has another value of an identifier's namespace.
    pub(super) fn has_another_value(
        &self,
        person: &PersonRow,
        identifier: IdentifierNo,
    ) -> Result<bool, Error> {
        let namespace = self.namespace_of(identifier)?;
        for no in &person.identifiers {
            if *no != identifier && self.namespace_of(*no)? == namespace {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a person has a value of the namespace.
    fn has_value_of(&self, person: &PersonRow, of: &Evidence<'_>) -> Result<bool, Error> {
        let Some(namespace) = self.namespace_no(of.identifier)? else { return Ok(false) };
        for no in &person.identifiers {
            if self.namespace_of(*no)? == namespace {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn namespace_of(&self, no: IdentifierNo) -> Result<NamespaceNo, Error> {
        Ok(self.state.identifiers(&no)?.ok_or_else(|| missing("identifier"))?.key.namespace)
    }

    /// Whether a profile may have one value only of an identifier's namespace.
    pub(super) fn is_unique(&mut self, identifier: IdentifierNo) -> Result<bool, Error> {
        let namespace = self.namespace_of(identifier)?;
        Ok(self.settings_of(namespace)?.is_some_and(|settings| settings.unique))
    }

    /// The settings of a namespace; `None` if it is not declared any more.
    pub(super) fn settings_of(&mut self, namespace: NamespaceNo) -> Result<Option<&'a Namespace>, Error> {
        if let Some((_, settings)) = self.namespaces.iter().find(|(no, _)| *no == namespace) {
            return Ok(*settings);
        }
        let row = self.state.texts(&(NameKind::Namespace, namespace.0))?;
        let settings = row.and_then(|row| self.registry.namespaces.get(&*row.text));
        self.namespaces.push((namespace, settings));
        Ok(settings)
    }

    /// The limit that a union, or one value more, would go beyond.
    fn full(
        &mut self,
        fragment: FragmentNo,
        person: &PersonRow,
        other: Option<&PersonRow>,
        found: &Found,
        of: &Evidence<'_>,
    ) -> Result<Option<Limit>, Error> {
        if of.settings.unique {
            return Ok(None);
        }
        if of.lifted.limit != Some(Limit::ValuesPerProfile)
            && self.too_many_values(person, other, found, of)?
        {
            return Ok(Some(Limit::ValuesPerProfile));
        }
        // Nobody is joined by a value that nobody has.
        if other.is_none() && may_join(of).0 {
            return Ok(None);
        }
        let mut carried = found.row.as_ref().map_or(0, |row| row.links);
        if let Some(identifier) = found.no {
            let own = self.state.links(&LinkKey { fragment, identifier })?;
            carried -= u64::from(own.is_some_and(|own| own.standing.holds())).min(carried);
        }
        let full = carried >= of.settings.fragments_max && of.lifted.limit != Some(Limit::FragmentsMax);
        Ok(full.then_some(Limit::FragmentsMax))
    }

    fn too_many_values(
        &mut self,
        person: &PersonRow,
        other: Option<&PersonRow>,
        found: &Found,
        of: &Evidence<'_>,
    ) -> Result<bool, Error> {
        let mut values: Vec<IdentifierNo> = person.identifiers.clone();
        values.extend(other.iter().flat_map(|other| &other.identifiers));
        values.sort_unstable();
        values.dedup();
        let is_more = found.no.is_none_or(|no| values.binary_search(&no).is_err());
        let mut counts: Vec<(NamespaceNo, usize)> = Vec::new();
        for no in values {
            let namespace = self.namespace_of(no)?;
            match counts.iter_mut().find(|(of, _)| *of == namespace) {
                Some((_, count)) => *count += 1,
                None => counts.push((namespace, 1)),
            }
        }
        let own = self.namespace_no(of.identifier)?;
        for (namespace, count) in counts {
            let more = usize::from(is_more && own == Some(namespace));
            let max = match self.settings_of(namespace)? {
                Some(settings) if !settings.unique => settings.values_per_profile,
                _ => continue,
            };
            // Without a union, only the namespace that grows is looked at.
            if count + more > max && (other.is_some() || more > 0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the union of two persons would hold two values of a unique namespace.
    pub(super) fn share_no_unique(&mut self, one: &PersonRow, other: &PersonRow) -> Result<bool, Error> {
        let mut unique: Vec<(NamespaceNo, IdentifierNo)> = Vec::new();
        for (person, is_second) in [(one, false), (other, true)] {
            for no in &person.identifiers {
                let namespace = self.namespace_of(*no)?;
                if !self.settings_of(namespace)?.is_some_and(|settings| settings.unique) {
                    continue;
                }
                if !is_second {
                    unique.push((namespace, *no));
                } else if unique.iter().any(|(of, held)| *of == namespace && held != no) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The same, where there is another.
    fn cannot_be_one(&mut self, one: &PersonRow, other: Option<&PersonRow>) -> Result<bool, Error> {
        other.map_or(Ok(false), |other| self.share_no_unique(one, other))
    }

    /// Whether a guard stands between a person and another root's.
    pub(super) fn guarded(&self, person: &PersonRow, other: FragmentNo) -> Result<bool, Error> {
        for (_, apart) in &person.guards {
            if root_of(self.state, *apart)? == other {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes one person of two roots; returns the number of the merge within its position.
    pub(super) fn unite(
        &mut self,
        one: FragmentNo,
        other: FragmentNo,
        cause: JoinCause,
    ) -> Result<u16, Error> {
        let size = |state: &S, root| -> Result<usize, Error> {
            Ok(usize::try_from(person_of(state, root)?.fragments).unwrap_or(usize::MAX))
        };
        let sizes = (size(self.state, one)?, size(self.state, other)?);
        let (parent, child) = larger((one, sizes.0), (other, sizes.1));
        self.emit(Effect::Join { child, parent, cause })?;
        let merge = self.merges;
        self.merges += 1;
        Ok(merge)
    }

    /// Joins two fragments by a direct link, if nothing stands between them; returns whether they are one now. `time`
    /// is that of the event or act that says so.
    pub(super) fn join_directly(
        &mut self,
        one: FragmentNo,
        other: FragmentNo,
        kind: DirectKind,
        time: Timestamp,
    ) -> Result<bool, Error> {
        let pair = PairKey::of(one, other);
        if self.state.directs(&pair)?.is_some_and(|row| row.standing == Standing::Cut) {
            return Ok(false);
        }
        let roots = (root_of(self.state, one)?, root_of(self.state, other)?);
        if roots.0 != roots.1 {
            let (left, right) = (person_of(self.state, roots.0)?, person_of(self.state, roots.1)?);
            if self.guarded(&left, roots.1)? || self.share_no_unique(&left, &right)? {
                return Ok(false);
            }
        }
        self.emit(Effect::Direct { one, other, kind, time })?;
        if roots.0 != roots.1 {
            self.unite(roots.0, roots.1, JoinCause::Direct(pair))?;
        }
        Ok(true)
    }
}

/// Whether a link may join, and the code if not.
fn may_join(of: &Evidence<'_>) -> (bool, Option<LinkCode>) {
    let mut code = None;
    for merges in [of.settings.merges, of.source_merges] {
        match merges {
            Merges::Never => return (false, Some(LinkCode::AttachOnly)),
            Merges::Verified if !of.identifier.verified => code = Some(LinkCode::Unverified),
            Merges::Verified | Merges::Always => {}
        }
    }
    (code.is_none(), code)
}

fn refused(identifier: &CommandIdentifier, code: LinkCode) -> LinkResult {
    LinkResult {
        namespace: identifier.namespace.clone(),
        value: identifier.value.clone(),
        outcome: LinkOutcome::Refused,
        code: Some(code),
        merge: None,
        sides: None,
        from: None,
        entry: None,
    }
}
