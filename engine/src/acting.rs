//! Acts from words to effects and back: what an act names is looked up in a version, and what it did is put into
//! words.

use crate::act::{Act, ActError, ActReply, ProfileSize};
use crate::core::acts::{Deed, Plan, Refusal, Size};
use crate::core::decision::{Decision, Effect, Ends, JoinCause, LinkResult};
use crate::core::graph::link_row;
use crate::core::identifiers::{CommandIdentifier, identifier};
use crate::core::root::{root_of, some_members_of};
use crate::core::rows::{IdentifierKey, LinkKey, ListKey, ListKind, NameKey, NameKind};
use crate::core::view::View;
use crate::error::{Error, Rejection};
use crate::ids::{EventSeq, FragmentNo, IdentifierNo, NamespaceNo};
use crate::limits::{ID_MAX_BYTES, IDENTIFIER_MAX_BYTES, NAME_MAX_BYTES, PROFILE_MAX_IDS};
use crate::model::ReadError;
use crate::read::Snapshot;
use crate::settings::Merges;
use crate::store::record::RecordView;
use crate::words::{key_text, merge_id, numbers_of_id};
use std::collections::BTreeSet;

/// Places of decisions that an undo does not retake, at most so many.
const NOT_RETAKEN_MAX: usize = 1_000;

fn not_found(code: &'static str, field: &str, message: impl Into<String>) -> ActError {
    ActError::NotFound(Rejection::new(code, field, message))
}

impl ActError {
    /// Why the rules do not allow an act, with the member that is at fault.
    pub(crate) fn refused(act: &Act, refusal: Refusal) -> Self {
        let field = match act {
            Act::Undo { .. } => "merge",
            Act::Merge { .. } => "other",
            Act::Handover { .. } => "profile",
            Act::Decide { .. } => "quarantine",
            Act::Detach { .. } | Act::Attach { .. } | Act::Block { .. } | Act::Unblock { .. } => "identifier",
        };
        let resolved = matches!(act, Act::Attach { .. } | Act::Decide { .. } | Act::Block { .. });
        let reason = resolved.then(|| reason(refusal.code)).flatten();
        let rejection = Rejection::new(refusal.code, field, reason.unwrap_or(refusal.message));
        match refusal.code {
            "identifier_unknown" => Self::NotFound(rejection),
            code if VALUE_FAULTS.contains(&code) => Self::Rejected(rejection),
            _ => Self::Conflict(rejection),
        }
    }
}

/// Codes that say of a value that it cannot be one, whoever has what.
const VALUE_FAULTS: [&str; 3] = ["unknown_namespace", "junk", "unlinkable"];

/// What stands in the way of an identifier, in words.
fn reason(code: &str) -> Option<&'static str> {
    Some(match code {
        "unknown_namespace" => "the settings declare no such namespace",
        "junk" => "the value identifies nobody: it is one that is typed for want of another",
        "unlinkable" => "the value cannot be read as one of its namespace",
        "blocked" => "the value is blocked",
        "kept_apart" => "a person told this profile and the one that has the value apart",
        "unique_conflict" => "the profile would have two values of a unique namespace",
        "values_per_profile" => "the profile has as many values of a namespace as it may",
        "fragments_max" => "as many ids carry the value as may",
        _ => return None,
    })
}

/// What a value itself is refused for, if it is.
fn value_fault(identifier: &CommandIdentifier) -> Option<Rejection> {
    let code = identifier.fault?.as_str();
    let fault = VALUE_FAULTS.contains(&code).then(|| reason(code)).flatten()?;
    Some(Rejection::new(code, "identifier", fault))
}

impl Snapshot {
    /// What an act names, looked up.
    pub(crate) fn deed(&self, act: &Act) -> Result<Deed, ActError> {
        Ok(match act {
            Act::Undo { merge, keep_apart } => {
                let unknown = || not_found("merge_unknown", "merge", format!("there is no merge {merge:?}"));
                let (seq, cause) = self.join_of(merge)?.ok_or_else(unknown)?;
                let undone = self.is_undone(merge, &cause, seq)?;
                let (first, decision) = self.decision_at(seq)?.ok_or_else(unknown)?;
                let lifted = effects_at(&decision, first, seq).filter_map(|effect| match effect {
                    Effect::Guard { one, other, stands: false } => Some((*one, *other)),
                    _ => None,
                });
                Deed::Undo { cause, seq, undone, keep_apart: *keep_apart, lifted: lifted.collect() }
            }
            Act::Merge { profile, other, force } => Deed::Merge {
                one: self.fragment_for(profile, "profile")?,
                other: self.fragment_for(other, "other")?,
                force: *force,
            },
            Act::Detach { profile, identifier } => Deed::Detach {
                fragment: self.fragment_for(profile, "profile")?,
                identifier: self.known_identifier(identifier)?,
            },
            Act::Attach { profile, identifier } => Deed::Attach {
                fragment: self.fragment_for(profile, "profile")?,
                identifier: self.parsed_identifier(identifier)?,
            },
            Act::Decide { quarantine, approve } => {
                let (link, identifier, source_merges) = self.quarantined(quarantine)?;
                Deed::Decide { link, identifier, source_merges, approve: *approve }
            }
            Act::Block { identifier } => Deed::Block { identifier: self.parsed_identifier(identifier)? },
            Act::Unblock { identifier } => Deed::Unblock { identifier: self.blocked_identifier(identifier)? },
            Act::Handover { .. } => {
                let found = Deed::of_handover(self.version()?, act)?;
                found.ok_or_else(|| not_found("profile_unknown", "profile", "no device has this id"))?
            }
        })
    }

    /// The position of a merge, and what it came from.
    pub(crate) fn join_of(&self, merge: &str) -> Result<Option<(EventSeq, JoinCause)>, Error> {
        let Some((seq, place)) = numbers_of_id(merge, 'm') else { return Ok(None) };
        let Some((first, decision)) = self.decision_at(seq)? else { return Ok(None) };
        let mut joins = effects_at(&decision, first, seq).filter_map(|effect| match effect {
            Effect::Join { cause, .. } => Some(cause.clone()),
            _ => None,
        });
        Ok(joins.nth(usize::from(place)).map(|cause| (seq, cause)))
    }

    /// Whether a merge was undone: what ended the time of its link was an act that named it.
    fn is_undone(&self, merge: &str, cause: &JoinCause, seq: EventSeq) -> Result<bool, Error> {
        let version = self.version()?;
        let ends = match cause {
            JoinCause::Link { link, .. } => Ends::Identifier(*link),
            JoinCause::Direct(pair) => Ends::Pair(*pair),
        };
        let row = link_row(version, ends)?;
        let span = row.spans.iter().find(|span| span.from <= seq && span.to.is_none_or(|to| to > seq));
        let Some(ended) = span.and_then(|span| span.to) else { return Ok(false) };
        let Some(record) = version.log.record(ended)? else { return Ok(false) };
        let act = RecordView::parse(record.bytes(), &version.path)?.act(&version.path)?;
        Ok(matches!(act, Some(Act::Undo { merge: of, .. }) if of == merge))
    }

    fn fragment_for(&self, id: &str, field: &str) -> Result<FragmentNo, ActError> {
        let id = id.trim();
        let bare = id.split_once(':').map_or(id, |(_, bare)| bare);
        if id.is_empty() {
            return Err(ActError::Rejected(Rejection::new("id_empty", field, "empty once trimmed")));
        }
        if bare.len() > ID_MAX_BYTES {
            let message = format!("{} bytes; at most {ID_MAX_BYTES}", bare.len());
            return Err(ActError::Rejected(Rejection::new("id_too_long", field, message)));
        }
        self.fragment_of(id).map_err(|error| match error {
            ReadError::NotFound => not_found("not_found", field, format!("nothing has the id {id:?}")),
            ReadError::AmbiguousId { candidates } => {
                let message = format!("{id:?} names several: {}", candidates.join(", "));
                ActError::Conflict(Rejection::new("ambiguous_id", field, message))
            }
            ReadError::Rejected(rejection) => ActError::Rejected(rejection),
            ReadError::Failed(error) => ActError::Failed(error),
        })
    }

    /// `namespace:value`, normalised as of no source.
    pub(crate) fn parsed_identifier(&self, text: &str) -> Result<CommandIdentifier, ActError> {
        let malformed = || {
            let message = format!("{text:?} is not namespace:value");
            ActError::Rejected(Rejection::new("identifier_invalid", "identifier", message))
        };
        let (namespace, value) = text.split_once(':').ok_or_else(malformed)?;
        let (namespace, value) = (namespace.trim(), value.trim());
        for (code, bytes, max) in [
            ("name_too_long", namespace.len(), NAME_MAX_BYTES),
            ("value_too_long", value.len(), IDENTIFIER_MAX_BYTES),
        ] {
            if bytes > max {
                let message = format!("{bytes} bytes; at most {max}");
                return Err(ActError::Rejected(Rejection::new(code, "identifier", message)));
            }
        }
        Ok(identifier(&self.shared().registry, namespace, value, None, true))
    }

    fn known_identifier(&self, text: &str) -> Result<IdentifierNo, ActError> {
        let parsed = self.parsed_identifier(text)?;
        match self.identifier_no(&parsed.namespace, &parsed.value)? {
            Some(no) => Ok(no),
            None => Err(match value_fault(&parsed) {
                Some(fault) => ActError::Rejected(fault),
                None => not_found("identifier_unknown", "identifier", format!("nobody has {text:?}")),
            }),
        }
    }

    /// One that an act blocked; whether it is so still is decided later.
    fn blocked_identifier(&self, text: &str) -> Result<IdentifierNo, ActError> {
        let parsed = self.parsed_identifier(text)?;
        if let Some(no) = self.identifier_no(&parsed.namespace, &parsed.value)? {
            return Ok(no);
        }
        if let Some(fault) = value_fault(&parsed) {
            return Err(ActError::Rejected(fault));
        }
        let message = match parsed.fault {
            Some(_) => "the settings block the value, and no act",
            None => "the value is not blocked",
        };
        Err(ActError::Conflict(Rejection::new("not_blocked", "identifier", message)))
    }

    /// The number of the identifier that a read names.
    pub(crate) fn identifier_read(&self, text: &str) -> Result<IdentifierNo, ReadError> {
        let parsed = self.parsed_identifier(text).map_err(|error| match error {
            ActError::NotFound(_) => ReadError::NotFound,
            ActError::Conflict(rejection) | ActError::Rejected(rejection) => ReadError::Rejected(rejection),
            ActError::Failed(error) => ReadError::Failed(error),
        })?;
        match (self.identifier_no(&parsed.namespace, &parsed.value)?, value_fault(&parsed)) {
            (Some(no), _) => Ok(no),
            (None, Some(fault)) => Err(ReadError::Rejected(fault)),
            (None, None) => Err(ReadError::NotFound),
        }
    }

    /// The number of an identifier.
    pub(crate) fn identifier_no(&self, namespace: &str, value: &str) -> Result<Option<IdentifierNo>, Error> {
        let version = self.version()?;
        let name = NameKey { kind: NameKind::Namespace, text: namespace.into() };
        let Some(row) = version.names(&name)? else { return Ok(None) };
        let key = IdentifierKey { namespace: NamespaceNo(row.no), value: value.into() };
        Ok(version.identifier_nos(&key)?.map(|no| *no))
    }

    /// The link of a quarantine entry.
    fn quarantined(&self, id: &str) -> Result<(LinkKey, CommandIdentifier, Merges), ActError> {
        let unknown = || not_found("quarantine_unknown", "quarantine", format!("there is no entry {id:?}"));
        let (seq, place) = numbers_of_id(id, 'q').ok_or_else(unknown)?;
        let decision = self.decision_at(seq)?.ok_or_else(unknown)?;
        let mut entries = effects_at(&decision.1, decision.0, seq).filter_map(|effect| match effect {
            Effect::Quarantine { fragment, identifier, verified, .. } => {
                Some((LinkKey { fragment: *fragment, identifier: *identifier }, *verified))
            }
            _ => None,
        });
        let (link, verified) = entries.nth(usize::from(place)).ok_or_else(unknown)?;
        if link_row(self.version()?, Ends::Identifier(link))?.entry != Some((seq, place)) {
            let message = "the link was decided, and held back again since: under another id";
            return Err(ActError::Conflict(Rejection::new("quarantine_decided", "quarantine", message)));
        }
        let (namespace, value) = self.identifier_name(link.identifier)?;
        let found = CommandIdentifier { namespace, value, fault: None, verified, namespace_no: None };
        Ok((link, found, self.source_merges(seq)?))
    }

    /// Whether what the source of an event said may join, by the settings of now.
    fn source_merges(&self, seq: EventSeq) -> Result<Merges, Error> {
        let version = self.version()?;
        let Some(record) = version.log.record(seq)? else { return Ok(Merges::Always) };
        let request = RecordView::parse(record.bytes(), &version.path)?.command(&version.path)?;
        let source = request.and_then(|request| {
            self.shared().registry.source(request.source.as_deref()).map(|source| source.merges)
        });
        Ok(source.unwrap_or_default())
    }

    /// Namespace and value of an identifier.
    pub(crate) fn identifier_name(&self, no: IdentifierNo) -> Result<(Box<str>, Box<str>), Error> {
        let version = self.version()?;
        let row = version.identifiers(&no)?.ok_or_else(|| crate::core::apply::missing("identifier"))?;
        let namespace = self.text(NameKind::Namespace, row.key.namespace.0)?;
        Ok((Box::from(&*namespace), row.key.value.clone()))
    }

    /// The decision of the record that holds a position, and the first position of that record.
    pub(crate) fn decision_at(&self, seq: EventSeq) -> Result<Option<(EventSeq, Decision)>, Error> {
        let version = self.version()?;
        if seq.0 == 0 || seq > version.counters.seq {
            return Ok(None);
        }
        let Some(record) = version.log.record(seq)? else { return Ok(None) };
        let view = RecordView::parse(record.bytes(), &version.path)?;
        Ok(Some((record.first_seq(), view.decision(&version.path)?)))
    }

    /// What an act did, or would do, in words.
    pub(crate) fn act_reply(
        &self,
        plan: &Plan,
        seq: Option<EventSeq>,
        not_retaken: Vec<EventSeq>,
    ) -> Result<ActReply, Error> {
        let links = |ends: &mut dyn Iterator<Item = &Ends>| {
            ends.map(|ends| self.link(*ends)).collect::<Result<Vec<_>, _>>()
        };
        let sizes = |sizes: &[Size]| sizes.iter().map(|size| self.size(size)).collect::<Result<Vec<_>, _>>();
        Ok(ActReply {
            seq,
            merge: seq.filter(|_| plan.merged).map(|seq| merge_id(seq, 0)),
            created: seq.and_then(|_| device_made(&plan.decision)),
            removed: links(&mut plan.removed.iter())?,
            // What is only planned has no row yet.
            added: if seq.is_some() {
                links(&mut plan.added.iter().map(|(ends, _)| ends))?
            } else {
                self.planned_links(plan)?
            },
            before: sizes(&plan.before)?,
            after: sizes(&plan.after)?,
            not_retaken,
        })
    }

    fn size(&self, size: &Size) -> Result<ProfileSize, Error> {
        Ok(ProfileSize {
            primary_id: self.fragment_id(size.oldest)?,
            ids: size.fragments,
            sessions: size.tally.sessions + size.tally.implicit_sessions,
            events: size.tally.events,
        })
    }

    /// Decisions of conflicts and limits in persons that come apart, since the links that are taken away joined; as
    /// they are before that.
    ///
    /// `done` is the position of the act, of which this snapshot knows; `None` of a preview.
    pub(crate) fn not_retaken(
        &self,
        act: &Act,
        plan: &Plan,
        done: Option<EventSeq>,
    ) -> Result<Vec<EventSeq>, Error> {
        let parts = matches!(act, Act::Undo { .. } | Act::Detach { .. } | Act::Block { .. });
        if !parts || plan.after.len() <= plan.before.len() {
            return Ok(Vec::new());
        }
        let version = self.version()?;
        let since = match act {
            Act::Undo { merge, .. } => numbers_of_id(merge, 'm').map(|(seq, _)| seq),
            _ => {
                let begun =
                    |ends: &Ends| link_row(version, *ends).map(|row| row.spans.last().map(|span| span.since));
                let begun = plan.removed.iter().map(begun).collect::<Result<Vec<_>, _>>()?;
                begun.into_iter().flatten().min()
            }
        };
        let since = since.unwrap_or(version.counters.seq);
        let mut members = BTreeSet::new();
        // Of what was one before, all is in one part or another afterwards.
        for size in &plan.after {
            members.extend(some_members_of(version, root_of(version, size.oldest)?, PROFILE_MAX_IDS)?);
        }
        let mut places = Vec::new();
        for member in &members {
            places.extend(version.list(ListKey { kind: ListKind::History, of: member.0 }, usize::MAX)?);
        }
        places.retain(|place| *place > since.0 && done.is_none_or(|done| *place < done.0));
        places.sort_unstable();
        places.dedup();
        places.truncate(NOT_RETAKEN_MAX);
        let mut stand = Vec::new();
        for place in places.into_iter().map(EventSeq) {
            let Some((first, decision)) = self.decision_at(place)? else { continue };
            let concerns = |fragment: &Option<FragmentNo>, result: &LinkResult| {
                let of = fragment.is_some_and(|fragment| members.contains(&fragment));
                let from = result.from.is_some_and(|from| members.contains(&from));
                result.is_decided_at(place) && (of || from)
            };
            let mut effects = effects_at(&decision, first, place);
            let stands = effects.any(|effect| match effect {
                Effect::Identified { fragment, results } => {
                    results.iter().any(|result| concerns(fragment, result))
                }
                _ => false,
            });
            if stands {
                stand.push(place);
            }
        }
        Ok(stand)
    }
}

/// The id of the device that an act made.
fn device_made(decision: &Decision) -> Option<String> {
    decision.effects.iter().find_map(|effect| match effect {
        Effect::Device { key, .. } => Some(key_text(key)),
        _ => None,
    })
}

/// The effects of a decision that belong to one position.
pub(crate) fn effects_at(
    decision: &Decision,
    first: EventSeq,
    seq: EventSeq,
) -> impl Iterator<Item = &Effect> {
    let mut at = first;
    decision.effects.iter().filter(move |effect| {
        let here = at == seq;
        if effect.takes_seq() {
            at = at.next();
        }
        here
    })
}
