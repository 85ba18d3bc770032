//! One person: what all fragments of a root give together, now.

use super::{Listing, Snapshot};
use crate::core::person::{consents_of, person_of, tally_of, traits_of};
use crate::core::root::{fragment_row, members_of, root_of, some_members_of};
use crate::core::rows::{LinkKey, ListKey, ListKind, NameKind, TallyRow, TraitsRow};
use crate::core::traits::{TraitState, shown_with_policy};
use crate::core::view::View;
use crate::error::Error;
use crate::ids::{ConsentNo, FragmentNo, IdentifierNo, TraitNo};
use crate::json::Json;
use crate::limits::PROFILE_MAX_IDS;
use crate::model::{
    Page, PageRequest, Profile, ProfileCounters, ProfileIdentifier, ReadError, Session, StoredEvent,
};
use crate::request::Consent;
use crate::settings::TraitPolicy;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Snapshot {
    /// The profile that any of its ids finds. Costs what the profile shows, however many fragments it has; a trait
    /// with a policy other than `latest` costs its fragments.
    ///
    /// # Errors
    /// [`ReadError::NotFound`]; [`ReadError::AmbiguousId`]; [`ReadError::Failed`].
    pub fn profile(&self, id: &str) -> Result<Profile, ReadError> {
        let fragment = self.fragment_of(id)?;
        Ok(self.profile_of(fragment)?)
    }

    pub(crate) fn profile_of(&self, fragment: FragmentNo) -> Result<Profile, Error> {
        let version = self.version()?;
        let root = root_of(version, fragment)?;
        let person = person_of(version, root)?;
        let mut shown = some_members_of(version, root, PROFILE_MAX_IDS)?;
        // The primary id and the one that was asked for are always among them.
        let mut missing = vec![person.oldest, fragment];
        missing.retain(|wanted| !shown.contains(wanted));
        missing.dedup();
        shown.truncate(PROFILE_MAX_IDS - missing.len());
        shown.append(&mut missing);
        shown.sort_unstable();
        let mut identifiers = Vec::with_capacity(person.identifiers.len());
        let shows_all = person.fragments <= shown.len() as u64;
        for no in &person.identifiers {
            identifiers.extend(self.identifier_of(*no, root, &shown, shows_all)?);
        }
        let facts = Facts {
            fragment,
            members: &shown,
            fragments: person.fragments,
            tally: tally_of(version, root)?,
            traits: self.traits_shown(root)?,
            consents: consents_of(version, root)?,
            identifiers,
        };
        self.profile_from(facts)
    }

    /// A profile from what is known of it.
    pub(super) fn profile_from(&self, facts: Facts<'_>) -> Result<Profile, Error> {
        let version = self.version()?;
        let oldest = facts.members.first().copied().unwrap_or(facts.fragment);
        let tally = facts.tally;
        let mut identifiers = facts.identifiers;
        identifiers.sort_by(|one, other| (&one.namespace, &one.value).cmp(&(&other.namespace, &other.value)));
        let mut consents = Vec::with_capacity(facts.consents.len());
        for (purpose, consent) in facts.consents {
            consents.push((self.text(NameKind::Consent, purpose.0)?.to_string(), consent));
        }
        consents.sort();
        Ok(Profile {
            id: self.fragment_id(facts.fragment)?,
            primary_id: self.fragment_id(oldest)?,
            ids: facts.members.iter().map(|member| self.fragment_id(*member)).collect::<Result<_, _>>()?,
            fragments: facts.fragments,
            identifiers,
            traits: facts.traits,
            consents,
            counters: ProfileCounters {
                events: tally.events,
                sessions: tally.sessions + tally.implicit_sessions,
                implicit_sessions: tally.implicit_sessions,
                page_views: tally.page_views,
            },
            created_at: fragment_row(version, oldest)?.created_at,
            first_seen: tally.first,
            last_seen: tally.last,
        })
    }

    /// An identifier of a person, and when its fragments were seen with it.
    ///
    /// One side is enough: those who carry the value, or the person's fragments, whichever are fewer. Where both are
    /// more than a profile lists, the first of each are asked, and the one that others join by: the times are theirs
    /// then, and the identifier is shown all the same.
    fn identifier_of(
        &self,
        identifier: IdentifierNo,
        root: FragmentNo,
        shown: &[FragmentNo],
        shows_all: bool,
    ) -> Result<Option<ProfileIdentifier>, Error> {
        let version = self.version()?;
        let of = ListKey { kind: ListKind::Carriers, of: identifier.0 };
        let carriers: Vec<_> = version.list(of, shown.len() + 1)?.into_iter().map(FragmentNo).collect();
        let mut seen = Seen::default();
        let few_carry_it = carriers.len() <= shown.len();
        if few_carry_it || !shows_all {
            for fragment in carriers {
                if root_of(version, fragment)? == root {
                    self.look(&mut seen, LinkKey { fragment, identifier })?;
                }
            }
        }
        if !few_carry_it {
            for fragment in shown {
                self.look(&mut seen, LinkKey { fragment: *fragment, identifier })?;
            }
        }
        if !few_carry_it && !shows_all {
            let row = version.identifiers(&identifier)?;
            if let Some(owner) = row.and_then(|row| row.owner)
                && root_of(version, owner)? == root
            {
                self.look(&mut seen, LinkKey { fragment: owner, identifier })?;
            }
            if seen.0.is_none() {
                self.look_until_found(&mut seen, identifier, root)?;
            }
        }
        let Some((first_seen, last_seen)) = seen.0 else { return Ok(None) };
        self.named_identifier(identifier, first_seen, last_seen).map(Some)
    }

    /// What a fragment's link to an identifier says, if it holds.
    fn look(&self, seen: &mut Seen, key: LinkKey) -> Result<(), Error> {
        if let Some(row) = self.version()?.links(&key)?
            && row.standing.holds()
        {
            let (first, last) = seen.0.unwrap_or((row.first_seen, row.last_seen));
            seen.0 = Some((first.min(row.first_seen), last.max(row.last_seen)));
        }
        Ok(())
    }

    /// Of a value that joins nobody, and is carried by fragments that are late among very many: one that stands is
    /// never left out.
    fn look_until_found(
        &self,
        seen: &mut Seen,
        identifier: IdentifierNo,
        root: FragmentNo,
    ) -> Result<(), Error> {
        let version = self.version()?;
        for fragment in members_of(version, root)? {
            self.look(seen, LinkKey { fragment, identifier })?;
            if seen.0.is_some() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn named_identifier(
        &self,
        identifier: IdentifierNo,
        first_seen: Timestamp,
        last_seen: Timestamp,
    ) -> Result<ProfileIdentifier, Error> {
        let (namespace, value) = self.identifier_name(identifier)?;
        Ok(ProfileIdentifier { namespace: namespace.into(), value: value.into(), first_seen, last_seen })
    }

    /// The policy of a trait.
    fn policy_of(&self, no: TraitNo) -> Result<(Arc<str>, TraitPolicy), Error> {
        let name = self.text(NameKind::Trait, no.0)?;
        let policy = self.shared().registry.traits.get(&*name).map(|settings| settings.policy);
        Ok((name, policy.unwrap_or_default()))
    }

    /// The traits of a person, by name.
    fn traits_shown(&self, root: FragmentNo) -> Result<Vec<(String, Json)>, Error> {
        let version = self.version()?;
        let Some(row) = traits_of(version, root)? else { return Ok(Vec::new()) };
        for (no, _) in &row.0 {
            if self.policy_of(*no)?.1 != TraitPolicy::Latest {
                let members = members_of(version, root)?;
                let rows =
                    members.iter().map(|member| version.traits(member)).collect::<Result<Vec<_>, _>>()?;
                return self.traits_of_rows(rows.iter().flatten().map(|row| &**row));
            }
        }
        self.traits_of_rows([&*row])
    }

    /// What the traits of some fragments give together, by name.
    pub(super) fn traits_of_rows<'a>(
        &self,
        rows: impl IntoIterator<Item = &'a TraitsRow>,
    ) -> Result<Vec<(String, Json)>, Error> {
        let mut states: BTreeMap<TraitNo, Vec<&TraitState>> = BTreeMap::new();
        for (no, state) in rows.into_iter().flat_map(|row| &row.0) {
            states.entry(*no).or_default().push(state);
        }
        let mut shown = Vec::with_capacity(states.len());
        for (no, states) in states {
            let (name, policy) = self.policy_of(no)?;
            if let Some(value) = shown_with_policy(&states, policy) {
                shown.push((name.to_string(), value));
            }
        }
        shown.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(shown)
    }

    /// The profile's events, newest first by event time.
    ///
    /// # Errors
    /// As [`Snapshot::profile`]; [`ReadError::Rejected`] for a limit or cursor that is not sound.
    pub fn profile_events(&self, id: &str, request: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        let listing = Listing::of("profile-events", id, request)?;
        let members = self.members(self.fragment_of(id)?)?;
        self.events_of_parts(self.parts_of_fragments(&members)?, listing)
    }

    /// The profile's sessions, newest first by last event; implicit ones are not listed.
    ///
    /// # Errors
    /// As [`Snapshot::profile_events`].
    pub fn profile_sessions(&self, id: &str, request: &PageRequest) -> Result<Page<Session>, ReadError> {
        let listing = Listing::of("profile-sessions", id, request)?;
        let members = self.members(self.fragment_of(id)?)?;
        self.sessions_of_fragments(&members, listing)
    }
}

/// The first and the last time at which something was seen, if it was.
#[derive(Debug, Default)]
struct Seen(Option<(Timestamp, Timestamp)>);

/// What is known of a profile, now or in a past.
pub(super) struct Facts<'a> {
    /// The fragment that was asked for.
    pub fragment: FragmentNo,
    /// Its fragments that are listed, oldest first.
    pub members: &'a [FragmentNo],
    /// How many there are.
    pub fragments: u64,
    /// Counters.
    pub tally: TallyRow,
    /// Traits, by name.
    pub traits: Vec<(String, Json)>,
    /// Consents.
    pub consents: Vec<(ConsentNo, Consent)>,
    /// Identifiers.
    pub identifiers: Vec<ProfileIdentifier>,
}
