//! Blocking a value and letting it be again: its links are suspended, and what they joined comes apart; they come
//! back in their places.
//!
//! A part of planning acts. A fragment that a switch made because of the value goes back to whom the device had been
//! taken from, and leaves again when the value is one again.

use super::acts::{Done, Planner, refuse};
use super::apply::missing;
use super::decision::{Effect, Ends, JoinCause, LinkCode, LinkResult};
use super::graph::{link_row, links_of};
use super::identifiers::CommandIdentifier;
use super::person::person_of;
use super::root::fragment_row;
use super::rows::{DirectKind, LinkKey, NameKind, PairKey, Standing};
use super::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, IdentifierNo};
use crate::reply::LinkOutcome;

impl<V: View> Planner<'_, '_, V> {
    pub(super) fn block(&mut self, identifier: &CommandIdentifier) -> Done {
        match identifier.fault {
            None => {}
            Some(LinkCode::Blocked) => {
                return Ok(refuse("blocked_already", "the settings block it already"));
            }
            Some(code) => return Ok(refuse(code.as_str(), "the value identifies nobody as it is")),
        }
        let no = self.decider.number_identifier(identifier)?;
        if self.decider.state.identifiers(&no)?.ok_or_else(|| missing("identifier"))?.blocked.is_some() {
            return Ok(refuse("blocked_already", "the value is blocked already"));
        }
        self.decider.emit(Effect::Blocked { identifier: no, blocked: true })?;
        let carriers = self.carriers(no, Standing::holds)?;
        let fragments: Vec<FragmentNo> = carriers.iter().map(|(fragment, _)| *fragment).collect();
        self.touched.extend(&fragments);
        for (fragment, standing) in carriers {
            let ends = Ends::Identifier(LinkKey { fragment, identifier: no });
            self.loosen(ends, Standing::Suspended(standing == Standing::Joins))?;
        }
        self.regroup(&fragments)?;
        // Whatever has become of their links since: they were made because of the value.
        for (fragment, _) in self.carriers(no, |_| true)? {
            self.rejoin(fragment, no)?;
        }
        Ok(Ok(()))
    }

    /// A fragment that was made because of a value that nobody is known by any more goes back to whom it was taken
    /// from.
    fn rejoin(&mut self, fragment: FragmentNo, identifier: IdentifierNo) -> Result<(), Error> {
        let Some(before) = self.switched_by(fragment, identifier)? else { return Ok(()) };
        if self.root(before)? == self.root(fragment)? {
            return Ok(());
        }
        let time = self.decider.stamp.received;
        if self.decider.join_directly(before, fragment, DirectKind::Device, time)? {
            self.touched.extend([before, fragment]);
            self.added.push(Ends::Pair(PairKey::of(before, fragment)));
            if self.holder_beside(fragment)? == fragment {
                self.hold(self.decider.given_back(before)?)?;
            }
        }
        Ok(())
    }

    /// The fragment that holds the device of one.
    fn holder_beside(&self, fragment: FragmentNo) -> Result<FragmentNo, Error> {
        let device = fragment_row(self.decider.state, fragment)?.device;
        Ok(self.decider.state.devices(&device)?.ok_or_else(|| missing("device"))?.holder)
    }

    /// A fragment holds its device from here on.
    fn hold(&mut self, fragment: FragmentNo) -> Result<(), Error> {
        let device = fragment_row(self.decider.state, fragment)?.device;
        self.decider.emit(Effect::Holder { device, fragment })
    }

    /// The fragment that held the device, of one that a switch made because of this very value. Other values of the
    /// event may have been linked to it at the same position.
    fn switched_by(
        &self,
        fragment: FragmentNo,
        identifier: IdentifierNo,
    ) -> Result<Option<FragmentNo>, Error> {
        let state = &self.decider.state;
        let made = fragment_row(*state, fragment)?;
        let link = link_row(*state, Ends::Identifier(LinkKey { fragment, identifier }))?;
        if made.after.is_none() || link.first_seq != made.created {
            return Ok(None);
        }
        let key = &state.identifiers(&identifier)?.ok_or_else(|| missing("identifier"))?.key;
        let namespace = state.texts(&(NameKind::Namespace, key.namespace.0))?;
        let namespace = &namespace.ok_or_else(|| missing("name"))?.text;
        let by = |result: &LinkResult| {
            result.outcome == LinkOutcome::Switched
                && result.namespace == *namespace
                && result.value == key.value
        };
        let switched = self.decider.known_event(made.created)?.links.iter().any(by);
        Ok(made.after.filter(|_| switched))
    }

    /// Takes back that a fragment went to whom the device had been taken from.
    fn leave(&mut self, fragment: FragmentNo, before: FragmentNo) -> Result<bool, Error> {
        let pair = PairKey::of(before, fragment);
        if !self.decider.state.directs(&pair)?.is_some_and(|row| row.gives_back()) {
            return Ok(false);
        }
        self.touched.extend([before, fragment]);
        self.loosen(Ends::Pair(pair), Standing::Suspended(true))?;
        Ok(true)
    }

    /// A fragment whose value is restored holds its device again, unless somebody was known since at the one that
    /// got it, or it was given to a third.
    fn return_device(&mut self, link: LinkKey, before: FragmentNo) -> Result<(), Error> {
        let row = link_row(self.decider.state, Ends::Identifier(link))?;
        let holder = self.holder_beside(link.fragment)?;
        let got_it = holder == self.decider.given_back(before)?;
        if row.standing.holds() && got_it && self.said_last(link.fragment)? >= self.said_last(holder)? {
            self.hold(link.fragment)?;
        }
        Ok(())
    }

    /// The position that said last who a fragment is.
    fn said_last(&self, fragment: FragmentNo) -> Result<EventSeq, Error> {
        let links = links_of(self.decider.state, fragment)?;
        let identifiers = links.iter().filter(|(ends, _)| matches!(ends, Ends::Identifier(_)));
        Ok(identifiers.map(|(_, row)| row.last_seq).max().unwrap_or_default())
    }

    /// Links come back in the order in which they first joined. One that something decided since stands in the way
    /// of stays cut.
    pub(super) fn unblock(&mut self, identifier: IdentifierNo) -> Done {
        if self.decider.state.identifiers(&identifier)?.is_none_or(|row| row.blocked.is_none()) {
            return Ok(refuse("not_blocked", "the value is not blocked"));
        }
        self.decider.emit(Effect::Blocked { identifier, blocked: false })?;
        let mut suspended = Vec::new();
        let mut parted = Vec::new();
        for (fragment, standing) in self.carriers(identifier, |_| true)? {
            if let Some(before) = self.switched_by(fragment, identifier)?
                && self.leave(fragment, before)?
            {
                parted.push((fragment, before));
            }
            if let Standing::Suspended(joins) = standing {
                let ends = Ends::Identifier(LinkKey { fragment, identifier });
                suspended.push((link_row(self.decider.state, ends)?.order, fragment, joins));
                self.touched.push(fragment);
            }
        }
        suspended.sort_unstable();
        if !parted.is_empty() {
            self.regroup(&parted.iter().map(|(fragment, _)| *fragment).collect::<Vec<_>>())?;
        }
        let mut joined = Vec::new();
        for (_, fragment, joins) in suspended {
            if self.unsuspend(LinkKey { fragment, identifier }, joins)? && joins {
                joined.push(fragment);
            }
        }
        // They are in their old places among the links: whoever is joined by them is as if they had never gone.
        if !joined.is_empty() {
            self.regroup(&joined)?;
        }
        for (fragment, before) in parted {
            self.return_device(LinkKey { fragment, identifier }, before)?;
        }
        Ok(Ok(()))
    }

    /// Restores a link if nothing stands in the way; returns whether it did.
    fn unsuspend(&mut self, key: LinkKey, joins: bool) -> Result<bool, Error> {
        let LinkKey { fragment, identifier } = key;
        let root = self.root(fragment)?;
        let carrier = self.decider.state.identifiers(&identifier)?.and_then(|row| row.owner);
        let owner =
            carrier.map(|owner| self.root(owner)).transpose()?.filter(|owner| joins && *owner != root);
        let person = person_of(self.decider.state, root)?;
        let mut stands =
            self.decider.is_unique(identifier)? && self.decider.has_another_value(&person, identifier)?;
        if let Some(owner) = owner {
            self.touched.push(owner);
            let other = person_of(self.decider.state, owner)?;
            stands |=
                self.decider.guarded(&person, owner)? || self.decider.share_no_unique(&person, &other)?;
        }
        if stands {
            self.loosen(Ends::Identifier(key), Standing::Cut)?;
            return Ok(false);
        }
        self.added.push(Ends::Identifier(key));
        self.decider.emit(Effect::Restore { fragment, identifier, joins })?;
        if let Some(owner) = owner {
            let carrier = carrier.unwrap_or(owner);
            self.decider.unite(root, owner, JoinCause::Link { link: key, carrier })?;
        }
        Ok(true)
    }
}
