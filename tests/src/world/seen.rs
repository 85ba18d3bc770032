//! What is to be seen of a state in memory, in the words in which the model answers.
//!
//! It reads rows and decides nothing. Fragments go by the model's ids.

use spoor::core::acts::Size;
use spoor::core::decision::{Ends, LinkCode};
use spoor::core::graph::{link_row, links_of};
use spoor::core::memory::MemoryState;
use spoor::core::outcome::{EventOutcome, LinkTold, Outcome, SessionName, SessionOutcome};
use spoor::core::person::{consents_of, person_of, tally_of, traits_of};
use spoor::core::root::{fragment_row, members_of};
use spoor::core::rows::{LinkKey, NameKind, Standing};
use spoor::core::view::View;
use spoor::ids::{FragmentNo, IdentifierNo, ProfileKey};
use spoor::model::{Link, LinkEnds, LinkState, Profile, ProfileCounters, ProfileIdentifier};
use spoor::{EventReply, LinkReply, ProfileReply, ProfileSize, Reply, SessionReply, TrackRequest};
use std::collections::BTreeMap;

/// Reads a state.
pub(super) struct Reader<'a> {
    pub(super) state: &'a MemoryState,
    /// Ids of the fragments, in order of number.
    pub(super) ids: &'a [String],
}

impl Reader<'_> {
    fn id(&self, fragment: FragmentNo) -> String {
        self.ids[usize::try_from(fragment.0).expect("small") - 1].clone()
    }

    fn id_of_key(&self, key: &ProfileKey) -> String {
        let has_key = |no: &FragmentNo| fragment_row(self.state, *no).expect("a row").key == *key;
        let found = (1..=self.ids.len() as u64).map(FragmentNo).find(has_key);
        self.id(found.expect("a fragment of that id"))
    }

    fn text(&self, kind: NameKind, no: u32) -> String {
        self.state.texts(&(kind, no)).expect("memory").expect("a name").text.to_string()
    }

    fn identifier(&self, no: IdentifierNo) -> (String, String) {
        let row = self.state.identifiers(&no).expect("memory").expect("an identifier");
        (self.text(NameKind::Namespace, row.key.namespace.0), row.key.value.to_string())
    }

    /// The answer to a request of one event.
    pub(super) fn reply(&self, outcome: &Outcome, request: &TrackRequest) -> Reply {
        let events = outcome.events.iter().zip(&request.events);
        Reply {
            profile: outcome.profile.as_ref().map(|profile| ProfileReply {
                id: self.id_of_key(&profile.key),
                primary_id: self.id_of_key(&profile.primary),
                reason: profile.reason,
                created: profile.created,
            }),
            session: outcome.session.as_ref().map(session),
            events: events.map(|(event, sent)| self.event(event, sent.id.clone())).collect(),
            warnings: sorted(outcome.warnings.clone()),
        }
    }

    fn event(&self, event: &EventOutcome, id: Option<String>) -> EventReply {
        let link = |told: &LinkTold| {
            let result = &told.result;
            let sides = told.profiles.iter().flat_map(|(one, other)| [one, other]);
            LinkReply {
                identifier: format!("{}:{}", result.namespace, result.value),
                outcome: result.outcome,
                code: result.code.map(LinkCode::as_str),
                merge: result.merge.map(|place| format!("m{}-{place}", event.seq.0)),
                profiles: sides.map(|key| self.id_of_key(key)).collect(),
                quarantine: result.entry.map(|(seq, place)| format!("q{}-{place}", seq.0)),
            }
        };
        EventReply {
            id: id.unwrap_or_default(),
            seq: event.seq,
            status: event.status,
            session: event.session.as_ref().map(session),
            profile: event.profile.as_ref().map(|profile| self.id_of_key(&profile.key)),
            links: event.links.iter().map(link).collect(),
            refused: event.refused.clone(),
            warnings: event.warnings.clone(),
        }
    }

    /// The person of a root, by the id of its oldest fragment.
    pub(super) fn profile(&self, root: FragmentNo) -> Profile {
        let members = members_of(self.state, root).expect("members");
        let person = person_of(self.state, root).expect("a person");
        let tally = tally_of(self.state, root).expect("counters");
        let ids: Vec<String> = members.iter().map(|member| self.id(*member)).collect();
        Profile {
            id: ids[0].clone(),
            primary_id: self.id(person.oldest),
            ids,
            fragments: person.fragments,
            identifiers: self.identifiers(&members, &person.identifiers),
            traits: self.traits(root),
            consents: self.consents(root),
            counters: ProfileCounters {
                events: tally.events,
                sessions: tally.sessions + tally.implicit_sessions,
                implicit_sessions: tally.implicit_sessions,
                page_views: tally.page_views,
            },
            created_at: fragment_row(self.state, person.oldest).expect("a row").created_at,
            first_seen: tally.first,
            last_seen: tally.last,
        }
    }

    fn identifiers(&self, members: &[FragmentNo], held: &[IdentifierNo]) -> Vec<ProfileIdentifier> {
        let mut found = BTreeMap::new();
        for identifier in held {
            let mut links = Vec::new();
            for fragment in members {
                let key = LinkKey { fragment: *fragment, identifier: *identifier };
                let row = self.state.links(&key).expect("memory");
                links.extend(row.filter(|row| row.standing.holds()));
            }
            let first = links.iter().map(|row| row.first_seen).min().expect("a link that holds");
            let last = links.iter().map(|row| row.last_seen).max().expect("a link that holds");
            found.insert(self.identifier(*identifier), (first, last));
        }
        let identifier = |((namespace, value), (first_seen, last_seen))| ProfileIdentifier {
            namespace,
            value,
            first_seen,
            last_seen,
        };
        found.into_iter().map(identifier).collect()
    }

    fn traits(&self, root: FragmentNo) -> Vec<(String, spoor::Json)> {
        let row = traits_of(self.state, root).expect("traits");
        let mut traits: Vec<_> = row
            .iter()
            .flat_map(|row| &row.0)
            .filter_map(|(no, state)| Some((self.text(NameKind::Trait, no.0), state.shown()?)))
            .collect();
        traits.sort_by(|one, other| one.0.cmp(&other.0));
        traits
    }

    fn consents(&self, root: FragmentNo) -> Vec<(String, spoor::Consent)> {
        let consents = consents_of(self.state, root).expect("consents").into_iter();
        let mut consents: Vec<_> =
            consents.map(|(no, consent)| (self.text(NameKind::Consent, no.0), consent)).collect();
        consents.sort();
        consents
    }

    /// All links of the person of a root, sorted by what they join.
    pub(super) fn links(&self, root: FragmentNo) -> Vec<Link> {
        let mut all: Vec<Ends> = Vec::new();
        for member in members_of(self.state, root).expect("members") {
            all.extend(links_of(self.state, member).expect("its links").into_iter().map(|(ends, _)| ends));
        }
        all.sort();
        all.dedup();
        by_ends(all.into_iter().map(|ends| self.link(ends)).collect())
    }

    /// One link.
    pub(super) fn link(&self, ends: Ends) -> Link {
        let row = link_row(self.state, ends).expect("a link");
        let ends = match ends {
            Ends::Identifier(key) => {
                let (namespace, value) = self.identifier(key.identifier);
                LinkEnds::Identifier {
                    profile: self.id(key.fragment),
                    identifier: format!("{namespace}:{value}"),
                }
            }
            Ends::Pair(pair) => LinkEnds::Profiles {
                profile: self.id(pair.one),
                other: self.id(pair.other),
                kind: row.kind.expect("a direct link has a kind").as_str(),
            },
        };
        Link {
            ends,
            state: match row.standing {
                Standing::Joins => LinkState::Joined,
                Standing::Attaches => LinkState::Attached,
                Standing::Cut => LinkState::Cut,
                Standing::Suspended(_) => LinkState::Suspended,
                Standing::Quarantined(_) => LinkState::Quarantined,
                Standing::Rejected => LinkState::Rejected,
                Standing::Expired => LinkState::Expired,
            },
            verified: row.verified,
            first_seq: row.first_seq,
            last_seq: row.last_seq,
            first_seen: row.first_seen,
            last_seen: row.last_seen,
        }
    }

    /// How large persons are, oldest first.
    pub(super) fn sizes(&self, sizes: &[Size]) -> Vec<ProfileSize> {
        let mut sizes = sizes.to_vec();
        sizes.sort_by_key(|size| size.oldest);
        let size = |size: Size| ProfileSize {
            primary_id: self.id(size.oldest),
            ids: size.fragments,
            sessions: size.tally.sessions + size.tally.implicit_sessions,
            events: size.tally.events,
        };
        sizes.into_iter().map(size).collect()
    }
}

fn session(session: &SessionOutcome) -> SessionReply {
    let id = match &session.name {
        SessionName::Id(id) => id.to_string(),
        SessionName::Implicit(seq) => format!("implicit:{}", seq.0),
    };
    SessionReply { id, created: session.created }
}

/// Codes, whatever their order.
pub(super) fn sorted(mut codes: Vec<&'static str>) -> Vec<&'static str> {
    codes.sort_unstable();
    codes
}

/// Links by what they join.
pub(super) fn by_ends(mut links: Vec<Link>) -> Vec<Link> {
    links.sort_by_key(|link| match &link.ends {
        LinkEnds::Identifier { profile, identifier } => (profile.clone(), identifier.clone()),
        LinkEnds::Profiles { profile, other, .. } => (profile.clone(), other.clone()),
    });
    links
}
