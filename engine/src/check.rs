//! Verifies every invariant of a store and computes its two digests, on one version, by reading it once.
//!
//! *Store* digest: all rows by number, and all records, with sequence numbers and stamps. Equal after a
//! rebuild, a restore, and an import of nothing but repeats.
//!
//! *Content* digest: what was said, without numbers, stamps and ids that the server drew: profiles as sets of
//! sessions, events, traits and client-made ids. Equal for the same timed events in any order of arrival.
//! Consents are not in it, since inside a fragment the one received later wins. Its times are milliseconds, as
//! outside: the microseconds tell where in its request an event stood.

use crate::core::consents::profile_consents;
use crate::core::decision::{Effect, Ends, EventEffect};
use crate::core::graph::{Tree, edges_of, link_row, links_of};
use crate::core::numbers::Numbers;
use crate::core::person::{consents_of, person_of, sum_of, tally_of, traits_of};
use crate::core::root::{fragment_row, members_of, root_of};
use crate::core::rows::{
    Counters, LinkKey, ListKey, ListKind, Mark, NameKey, NameKind, PartRow, RepeatKey, SessionKey,
    SessionRow, Standing, TallyRow,
};
use crate::core::session::{parts_of, session_row};
use crate::core::traits::TraitState;
use crate::core::view::View;
use crate::error::Error;
use crate::ids::{
    DeviceNo, EventSeq, FragmentNo, IdentifierNo, PartNo, ProfileKey, SessionNo, SpaceNo, TraitNo,
};
use crate::model::{CheckReport, Status};
use crate::read::Snapshot;
use crate::request::TrackRequest;
use crate::store::codec::{encode, encode_into};
use crate::store::layers::Version;
use crate::store::record::RecordView;
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// Faults that are told one by one; of more only the number.
const FAULTS_MAX: usize = 100;

/// Checks a snapshot. `status` is repeated in the report.
pub(crate) fn check(snapshot: &Snapshot, status: Status) -> Result<CheckReport, Error> {
    let version = snapshot.version()?;
    let mut check = Check {
        snapshot,
        version,
        store: blake3::Hasher::new(),
        faults: Vec::new(),
        more_faults: 0,
        parts: Vec::new(),
    };
    check.store.update(&encode(&version.counters));
    check.log()?;
    check.names()?;
    check.sessions()?;
    check.fragments()?;
    check.identifiers()?;
    let content = check.content()?;
    let Check { store, mut faults, more_faults, .. } = check;
    if more_faults > 0 {
        faults.push(format!("and {more_faults} more"));
    }
    let store_digest = store.finalize().to_hex().to_string();
    Ok(CheckReport { status, store_digest, content_digest: content, faults })
}

struct Check<'a> {
    snapshot: &'a Snapshot,
    version: &'a Version,
    store: blake3::Hasher,
    faults: Vec<String>,
    more_faults: usize,
    /// By part number: what the log says of it.
    parts: Vec<PartSum>,
}

/// What the log says of one part.
#[derive(Debug, Clone, Copy, Default)]
struct PartSum {
    events: u64,
    page_views: u64,
    conversions: u64,
    /// Sum of hashes of positions: the list of postings must give the same.
    places: u64,
    /// Sum of hashes of what was said.
    content: u128,
}

impl Check<'_> {
    fn fault(&mut self, fault: impl FnOnce() -> String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault());
        } else {
            self.more_faults += 1;
        }
    }

    fn expect(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.fault(fault);
        }
    }

    /// Every record: without gaps, readable, and each event found again by its id.
    fn log(&mut self) -> Result<(), Error> {
        let parts = usize::try_from(self.version.counters.part.0).unwrap_or(usize::MAX);
        self.parts = vec![PartSum::default(); parts.saturating_add(1)];
        let mut next = EventSeq(1);
        for record in self.version.log.records_from(next) {
            let record = record?;
            if record.first_seq() > self.version.counters.seq {
                break;
            }
            self.expect(record.first_seq() == next, || format!("the log has a gap at position {}", next.0));
            next = record.first_seq();
            self.store.update(record.bytes());
            let view = RecordView::parse(record.bytes(), &self.version.path)?;
            let request = view.command(&self.version.path)?;
            for effect in view.decision(&self.version.path)?.effects {
                if let Effect::Event(event) = &effect {
                    self.event(next, event, request.as_ref())?;
                }
                if effect.takes_seq() {
                    next = next.next();
                }
            }
        }
        let end = self.version.counters.seq.next();
        self.expect(next == end, || format!("the log ends before {} and not before {}", next.0, end.0));
        Ok(())
    }

    fn event(
        &mut self,
        seq: EventSeq,
        event: &EventEffect,
        request: Option<&TrackRequest>,
    ) -> Result<(), Error> {
        let sent = request.and_then(|request| request.events.get(usize::from(event.index)));
        self.expect(sent.is_some(), || format!("event {} is not in its request", seq.0));
        if let Some((scope, step)) = event.repeat {
            let key = RepeatKey { scope, hash: event.id_hash.wrapping_add(u64::from(step)) };
            let found = self.version.repeat(key)?;
            self.expect(found == Some(seq), || format!("event {} is not found by its id", seq.0));
        }
        let Some(part) = event.part else { return Ok(()) };
        let content = match (request, sent) {
            (Some(request), Some(sent)) => {
                let source = request.source.as_deref().unwrap_or_default();
                let said = (source, event.time.millis(), &request.context, sent);
                xxhash_rust::xxh3::xxh3_128(&encode(&said))
            }
            _ => 0,
        };
        let at = usize::try_from(part.0).unwrap_or(usize::MAX);
        match self.parts.get_mut(at) {
            Some(sum) => {
                sum.events += 1;
                sum.page_views += u64::from(event.has(EventEffect::PAGE_VIEW));
                sum.conversions += u64::from(event.has(EventEffect::CONVERSION));
                sum.places = sum.places.wrapping_add(place_hash(seq));
                sum.content = sum.content.wrapping_add(content);
            }
            None => self.fault(|| format!("event {} is in part {}, which is not there", seq.0, part.0)),
        }
        Ok(())
    }

    fn names(&mut self) -> Result<(), Error> {
        for kind in NameKind::ALL {
            let last = self.version.counters.names.get(kind.index()).copied().unwrap_or(0);
            for no in 1..=last {
                let Some(text) = self.version.texts(&(kind, no))? else {
                    self.fault(|| format!("{kind:?} {no} has no name"));
                    continue;
                };
                let key = NameKey { kind, text: text.text.clone() };
                let back = self.version.names(&key)?;
                self.expect(back.is_some_and(|row| row.no == no), || {
                    format!("{kind:?} {no} is not found by its name")
                });
                encode_into_hasher(&mut self.store, &*text);
            }
        }
        Ok(())
    }

    fn sessions(&mut self) -> Result<(), Error> {
        for no in 1..=self.version.counters.session.0 {
            let session = SessionNo(no);
            let Some(row) = self.version.sessions(&session)? else {
                self.fault(|| format!("session {no} is not there"));
                continue;
            };
            encode_into_hasher(&mut self.store, &*row);
            let key = SessionKey { space: row.space, id: row.id.clone() };
            let back = self.version.session_ids(&key)?;
            self.expect(back.is_some_and(|back| *back == session), || {
                format!("session {no} is not found by its id")
            });
            if let Some(kept) = row.alias_of {
                self.expect(kept < session, || format!("session {no} is an alias of a younger one"));
            }
            self.session_parts(session, &row)?;
        }
        for no in 1..=self.version.counters.part.0 {
            self.part(PartNo(no))?;
        }
        Ok(())
    }

    fn session_parts(&mut self, session: SessionNo, row: &SessionRow) -> Result<(), Error> {
        let parts = parts_of(self.version, session, row)?;
        self.expect(parts.len() as u64 == u64::from(row.parts), || {
            format!("session {} has {} parts and says {}", session.0, parts.len(), row.parts)
        });
        self.expect(parts.contains(&row.current.part), || {
            format!("session {} goes on with a part of another", session.0)
        });
        for part in parts {
            self.store.update(&part.0.to_le_bytes());
        }
        Ok(())
    }

    fn part(&mut self, part: PartNo) -> Result<(), Error> {
        let Some(row) = self.version.parts(&part)? else {
            self.fault(|| format!("part {} is not there", part.0));
            return Ok(());
        };
        encode_into_hasher(&mut self.store, &*row);
        let postings = self.version.layers.postings(part, self.version.counters.seq.0)?;
        let places = postings.iter().fold(0_u64, |sum, event| sum.wrapping_add(place_hash(event.seq)));
        let said = self.part_sum(part);
        let holds = row.numbers.events == said.events
            && row.numbers.page_views == said.page_views
            && row.numbers.conversions == said.conversions
            && postings.len() as u64 == said.events
            && places == said.places;
        self.expect(holds, || format!("part {} does not count what the log says", part.0));
        let first = postings.iter().map(|event| event.time).min();
        let last = postings.iter().map(|event| event.time).max();
        let ends = (row.numbers.start.map(|mark| mark.time), row.numbers.last.map(|mark| mark.time));
        self.expect(ends == (first, last), || format!("part {} begins or ends elsewhere", part.0));
        for event in &postings {
            self.store.update(&event.seq.0.to_le_bytes());
            self.store.update(&event.event_type.0.to_le_bytes());
            self.store.update(&event.time.0.to_le_bytes());
        }
        Ok(())
    }

    fn part_sum(&self, part: PartNo) -> PartSum {
        let at = usize::try_from(part.0).unwrap_or(usize::MAX);
        self.parts.get(at).copied().unwrap_or_default()
    }

    fn fragments(&mut self) -> Result<(), Error> {
        let Counters { fragment: last, device: last_device, .. } = self.version.counters;
        for no in 1..=last_device.0 {
            let device = self.version.devices(&DeviceNo(no))?;
            let holder = device.as_ref().map(|device| self.version.fragments(&device.holder)).transpose()?;
            let belongs = holder.flatten().is_some_and(|holder| holder.device == DeviceNo(no));
            self.expect(belongs, || format!("device {no} is held by a fragment of another"));
            if let Some(device) = device {
                encode_into_hasher(&mut self.store, &*device);
            }
        }
        for no in 1..=last.0 {
            self.fragment(FragmentNo(no))?;
        }
        Ok(())
    }

    fn fragment(&mut self, fragment: FragmentNo) -> Result<(), Error> {
        let no = fragment.0;
        let Some(row) = self.version.fragments(&fragment)? else {
            self.fault(|| format!("fragment {no} is not there"));
            return Ok(());
        };
        let found = match &row.key {
            ProfileKey::Server(id) => self.version.server_ids(id)?.is_some_and(|found| *found == fragment),
            ProfileKey::Client { space, id } => {
                let spaces = self.version.client_ids(id)?;
                spaces.is_some_and(|spaces| spaces.0.contains(&(*space, fragment)))
            }
        };
        self.expect(found, || format!("fragment {no} is not found by its id"));
        let root = root_of(self.version, fragment)?;
        let members = members_of(self.version, root)?;
        self.expect(members.contains(&fragment), || format!("fragment {no} is not a member of its root"));
        encode_into_hasher(&mut self.store, &*row);
        let tally = self.version.tallies(&fragment)?.map(|tally| *tally).unwrap_or_default();
        encode_into_hasher(&mut self.store, &tally);
        self.tally(fragment, &tally)?;
        if row.parent.is_none() {
            self.person(fragment, &members)?;
        }
        for (ends, link) in links_of(self.version, fragment)? {
            encode_into_hasher(&mut self.store, &(ends, &*link));
        }
        if let Some(traits) = self.version.traits(&fragment)? {
            encode_into_hasher(&mut self.store, &*traits);
        }
        if let Some(consents) = self.version.consents(&fragment)? {
            encode_into_hasher(&mut self.store, &*consents);
        }
        Ok(())
    }

    /// What is kept at a root is what its fragments give, and the parents are those that the links give.
    fn person(&mut self, root: FragmentNo, members: &[FragmentNo]) -> Result<(), Error> {
        let person = person_of(self.version, root)?;
        encode_into_hasher(&mut self.store, &*person);
        let sum = sum_of(self.version, members)?;
        let oldest = members.first().copied().unwrap_or(root);
        let holds = person.fragments == members.len() as u64
            && person.oldest == oldest
            && person.identifiers == sum.identifiers
            && (members.len() == 1 || person.split_sessions == sum.split_sessions);
        self.expect(holds, || format!("the person of fragment {} is not what its fragments give", root.0));
        let tally = tally_of(self.version, root)?;
        self.expect(tally == sum.tally, || {
            format!(
                "the person of fragment {} counts {tally:?} and its fragments give {:?}",
                root.0, sum.tally
            )
        });
        let tree = Tree::of(&edges_of(self.version, members)?);
        for member in members {
            let (kept, given) = (fragment_row(self.version, *member)?.parent, tree.parent(*member));
            self.expect(kept == given, || {
                format!("fragment {} hangs under {kept:?}, and its links give {given:?}", member.0)
            });
        }
        let consents = consents_of(self.version, root)?;
        let mut states = Vec::new();
        for member in members {
            if let Some(row) = self.version.consents(member)? {
                states.push((*member, row));
            }
        }
        let states: Vec<_> = states.iter().map(|(member, row)| (*member, &row.0)).collect();
        let given = profile_consents(&states, |one, other| tree.joined(one, other));
        self.expect(consents == given, || {
            format!("the person of fragment {} answers {consents:?} and its fragments {given:?}", root.0)
        });
        self.traits(root, sum.traits)
    }

    /// Shown values are compared, and not states: of many `set_once`s those kept may differ.
    fn traits(&mut self, root: FragmentNo, given: BTreeMap<TraitNo, TraitState>) -> Result<(), Error> {
        let kept = traits_of(self.version, root)?.map(|row| row.0.clone()).unwrap_or_default();
        let shown = |(no, state): (TraitNo, TraitState)| Some((no, state.shown()?));
        let kept: Vec<_> = kept.into_iter().filter_map(shown).collect();
        let given: Vec<_> = given.into_iter().filter_map(shown).collect();
        self.expect(kept == given, || {
            format!("the person of fragment {} has other traits than its fragments", root.0)
        });
        Ok(())
    }

    /// Each identifier is found by its name, counts its links, and is had by somebody who carries it.
    fn identifiers(&mut self) -> Result<(), Error> {
        for no in 1..=self.version.counters.identifier.0 {
            let identifier = IdentifierNo(no);
            let Some(row) = self.version.identifiers(&identifier)? else {
                self.fault(|| format!("identifier {no} is not there"));
                continue;
            };
            encode_into_hasher(&mut self.store, &*row);
            let back = self.version.identifier_nos(&row.key)?;
            self.expect(back.is_some_and(|back| *back == identifier), || {
                format!("identifier {no} is not found by its value")
            });
            let mut holding = 0;
            let mut joining = Vec::new();
            for fragment in self.version.list(ListKey { kind: ListKind::Carriers, of: no }, usize::MAX)? {
                let fragment = FragmentNo(fragment);
                let link = link_row(self.version, Ends::Identifier(LinkKey { fragment, identifier }))?;
                holding += u64::from(link.standing.holds());
                if link.standing == Standing::Joins {
                    joining.push(fragment);
                }
            }
            let owned = match row.owner {
                Some(owner) => joining.contains(&owner),
                None => joining.is_empty(),
            };
            self.expect(owned && holding == row.links, || {
                format!(
                    "identifier {no} says {} links and owner {:?}, and has {holding}",
                    row.links, row.owner
                )
            });
        }
        Ok(())
    }

    /// A fragment's counters are the sum of its parts, and its list has each part once.
    fn tally(&mut self, fragment: FragmentNo, tally: &TallyRow) -> Result<(), Error> {
        let mut sum = TallyRow::default();
        let mut sessions = Vec::new();
        for listed in self.snapshot.parts_of_fragments(&[fragment])? {
            let listed = listed?;
            let Some(part) = self.version.parts(&listed.part)? else { continue };
            let owned = part.fragment == Some(fragment);
            self.expect(owned, || format!("fragment {} lists another's part", fragment.0));
            add_part(&mut sum, &part);
            if let Some(session) = part.session {
                sessions.push(session_row(self.version, session)?.0);
            }
        }
        sessions.sort_unstable();
        sessions.dedup();
        sum.sessions = sessions.len() as u64;
        self.expect(sum == *tally, || {
            format!("fragment {} counts {tally:?} and its parts give {sum:?}", fragment.0)
        });
        Ok(())
    }

    /// The content digest: that of all profiles and of all sessions without one, each a digest, sorted.
    fn content(&mut self) -> Result<String, Error> {
        let mut digests = Vec::new();
        for no in 1..=self.version.counters.fragment.0 {
            let root = self.version.fragments(&FragmentNo(no))?.filter(|row| row.parent.is_none());
            if root.is_some() {
                digests.push(self.profile_content(FragmentNo(no))?);
            }
        }
        for no in 1..=self.version.counters.part.0 {
            let part = self.version.parts(&PartNo(no))?;
            if let Some((part, session)) = part.and_then(|part| Some((part.clone(), part.session?)))
                && part.fragment.is_none()
            {
                let mut numbers = Numbers::default();
                numbers.add(&part.numbers);
                let sum = self.part_sum(PartNo(no));
                digests.push(self.session_content(session, &numbers, sum.content)?);
            }
        }
        digests.sort_unstable();
        let mut all = blake3::Hasher::new();
        for digest in digests {
            all.update(&digest);
        }
        Ok(all.finalize().to_hex().to_string())
    }

    fn profile_content(&self, root: FragmentNo) -> Result<[u8; 32], Error> {
        let members = members_of(self.version, root)?;
        let profile = self.snapshot.profile_of(root)?;
        let mut hash = blake3::Hasher::new();
        for id in self.client_ids(&members)? {
            encode_into_hasher(&mut hash, &id);
        }
        for (name, value) in &profile.traits {
            encode_into_hasher(&mut hash, &(name, value.as_str()));
        }
        let counters = profile.counters;
        let counted = (counters.events, counters.sessions, counters.implicit_sessions, counters.page_views);
        let seen = [profile.first_seen, profile.last_seen].map(|time| time.map(Timestamp::millis));
        encode_into_hasher(&mut hash, &(counted, seen));
        let mut sessions: BTreeMap<SessionNo, (Numbers, u128)> = BTreeMap::new();
        let mut implicit = 0_u128;
        for listed in self.snapshot.parts_of_fragments(&members)? {
            let part_no = listed?.part;
            let Some(part) = self.version.parts(&part_no)? else { continue };
            let content = self.part_sum(part_no).content;
            match part.session {
                Some(session) => {
                    let session = session_row(self.version, session)?.0;
                    let entry = sessions.entry(session).or_default();
                    entry.0.add(&part.numbers);
                    entry.1 = entry.1.wrapping_add(content);
                }
                None => implicit = implicit.wrapping_add(content),
            }
        }
        hash.update(&implicit.to_le_bytes());
        let mut digests = Vec::with_capacity(sessions.len());
        for (session, (numbers, content)) in &sessions {
            digests.push(self.session_content(*session, numbers, *content)?);
        }
        digests.sort_unstable();
        for digest in digests {
            hash.update(&digest);
        }
        Ok(*hash.finalize().as_bytes())
    }

    /// Ids that trusted sources brought, with their id space, sorted.
    fn client_ids(&self, members: &[FragmentNo]) -> Result<Vec<(String, String)>, Error> {
        let mut ids = Vec::new();
        for member in members {
            if let Some(row) = self.version.fragments(member)?
                && let ProfileKey::Client { space, id } = &row.key
            {
                ids.push((self.space_name(*space)?, id.to_string()));
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn space_name(&self, space: SpaceNo) -> Result<String, Error> {
        Ok(self.snapshot.text(NameKind::Space, space.0)?.to_string())
    }

    /// What a session is to one profile: the numbers of its parts there, and what was said in them.
    fn session_content(
        &self,
        session: SessionNo,
        numbers: &Numbers,
        content: u128,
    ) -> Result<[u8; 32], Error> {
        let (_, row) = session_row(self.version, session)?;
        let mut hash = blake3::Hasher::new();
        let id = (!row.made).then_some(&row.id);
        encode_into_hasher(&mut hash, &(self.space_name(row.space)?, id));
        let place = |mark: Option<Mark>| mark.map(|mark| (mark.time.millis(), mark.tie));
        let counted = (numbers.events, numbers.page_views, numbers.conversions, numbers.value);
        let marks = (place(numbers.start), place(numbers.last), place(numbers.entry), place(numbers.exit));
        let agent = self.snapshot.text(NameKind::Agent, numbers.agent.0)?;
        encode_into_hasher(&mut hash, &(counted, marks, place(numbers.end), &*agent));
        hash.update(&content.to_le_bytes());
        Ok(*hash.finalize().as_bytes())
    }
}

fn add_part(sum: &mut TallyRow, part: &PartRow) {
    let numbers = &part.numbers;
    sum.events += numbers.events;
    sum.page_views += numbers.page_views;
    if part.session.is_none() {
        sum.implicit_sessions += numbers.events;
    }
    let (start, last) = (numbers.start.map(|mark| mark.time), numbers.last.map(|mark| mark.time));
    sum.first = [sum.first, start].into_iter().flatten().min();
    sum.last = sum.last.max(last);
}

fn place_hash(seq: EventSeq) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&seq.0.to_le_bytes())
}

fn encode_into_hasher<T: bincode::Encode>(hash: &mut blake3::Hasher, value: &T) {
    let mut bytes = Vec::with_capacity(64);
    encode_into(&mut bytes, value);
    hash.update(&bytes);
}
