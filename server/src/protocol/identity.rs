//! Answers about who is who: links, what happened to a profile, quarantine, explanations, acts. Plain data of the
//! engine in, something that can be written out. Owns the names of their members.

use super::write::Audience;
use serde::Serialize;
use spoor::model::{
    BlockedValue, Explanation, HistoryEntry, Link, LinkEnds, ProfileIdentifier, QuarantinedLink,
};
use spoor::{ActReply, LinkOutcome, LinkReply, ProfileSize};

/// What became of an identifier of an event.
#[derive(Serialize)]
pub(super) struct LinkReplyBody<'a> {
    pub(super) identifier: &'a str,
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) merge: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) profiles: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quarantine: Option<&'a str>,
}

/// Reasons that lie in what was sent and in the settings alone. All others tell of somebody else.
const REASONS_FOR_BROWSERS: [&str; 5] =
    ["profile_less", "unknown_namespace", "junk", "unlinkable", "two_values"];

/// A browser is told whether its value could be one, and nothing that depends on who else has it.
pub(super) fn link_reply<'a>(link: &'a LinkReply, audience: &Audience) -> LinkReplyBody<'a> {
    let LinkReply { identifier, outcome, code, merge, profiles, quarantine } = link;
    if matches!(audience, Audience::Public { .. }) {
        let code =
            code.filter(|code| *outcome == LinkOutcome::Refused && REASONS_FOR_BROWSERS.contains(code));
        let outcome = if code.is_some() { "refused" } else { "accepted" };
        return LinkReplyBody { identifier, outcome, code, merge: None, profiles: &[], quarantine: None };
    }
    LinkReplyBody {
        identifier,
        outcome: outcome.as_str(),
        code: *code,
        merge: merge.as_deref(),
        profiles,
        quarantine: quarantine.as_deref(),
    }
}

/// An identifier of a profile.
pub(super) fn profile_identifier(identifier: &ProfileIdentifier) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a> {
        namespace: &'a str,
        value: &'a str,
        first_seen: String,
        last_seen: String,
    }
    let ProfileIdentifier { namespace, value, first_seen, last_seen } = identifier;
    Body { namespace, value, first_seen: first_seen.to_string(), last_seen: last_seen.to_string() }
}

/// One link.
#[must_use]
pub fn link(link: &Link) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a> {
        kind: &'a str,
        profile: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        identifier: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        other: Option<&'a str>,
        state: &'static str,
        verified: bool,
        first_seq: u64,
        last_seq: u64,
        first_seen: String,
        last_seen: String,
    }
    let Link { ends, state, verified, first_seq, last_seq, first_seen, last_seen } = link;
    let (kind, profile, identifier, other) = match ends {
        LinkEnds::Identifier { profile, identifier } => {
            ("identifier", profile, Some(identifier.as_str()), None)
        }
        LinkEnds::Profiles { profile, other, kind } => (*kind, profile, None, Some(other.as_str())),
    };
    Body {
        kind,
        profile,
        identifier,
        other,
        state: state.as_str(),
        verified: *verified,
        first_seq: first_seq.0,
        last_seq: last_seq.0,
        first_seen: first_seen.to_string(),
        last_seen: last_seen.to_string(),
    }
}

/// Something that happened to who a profile is.
#[must_use]
pub fn history_entry(entry: &HistoryEntry) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a> {
        seq: u64,
        at: String,
        kind: &'static str,
        profile: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        identifier: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        merge: Option<&'a str>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        profiles: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<&'a str>,
    }
    let HistoryEntry { seq, at, kind, profile, identifier, code, merge, profiles, event } = entry;
    Body {
        seq: seq.0,
        at: at.to_string(),
        kind,
        profile,
        identifier: identifier.as_deref(),
        code: *code,
        merge: merge.as_deref(),
        profiles,
        event: event.as_deref(),
    }
}

/// A value that a person blocked.
#[must_use]
pub fn blocked(value: &BlockedValue) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a> {
        identifier: &'a str,
        seq: u64,
        at: String,
        suspended: u64,
    }
    let BlockedValue { identifier, seq, at, suspended } = value;
    Body { identifier, seq: seq.0, at: at.to_string(), suspended: *suspended }
}

/// A link that waits for a decision.
#[must_use]
pub fn quarantined(entry: &QuarantinedLink) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a> {
        id: &'a str,
        profile: &'a str,
        primary_id: &'a str,
        identifier: &'a str,
        code: &'static str,
        seq: u64,
        at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        other: Option<&'a str>,
    }
    let QuarantinedLink { id, profile, primary_id, identifier, code, seq, at, other } = entry;
    Body {
        id,
        profile,
        primary_id,
        identifier,
        code,
        seq: seq.0,
        at: at.to_string(),
        other: other.as_deref(),
    }
}

/// How two ids are joined.
#[must_use]
pub fn explanation(explanation: &Explanation) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a, L> {
        same: bool,
        chain: Vec<L>,
        cut_links: Vec<L>,
        cut_identifiers: Option<&'a [String]>,
    }
    let Explanation { same, chain, cut_links, cut_identifiers } = explanation;
    Body {
        same: *same,
        chain: chain.iter().map(link).collect(),
        cut_links: cut_links.iter().map(link).collect(),
        cut_identifiers: cut_identifiers.as_deref(),
    }
}

/// What an act did, or would do.
#[must_use]
pub fn act_reply(reply: &ActReply) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a, L> {
        seq: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        merge: Option<&'a str>,
        removed: Vec<L>,
        added: Vec<L>,
        before: Vec<Size<'a>>,
        after: Vec<Size<'a>>,
        not_retaken: Vec<u64>,
    }
    let ActReply { seq, merge, removed, added, before, after, not_retaken } = reply;
    Body {
        seq: seq.map(|seq| seq.0),
        merge: merge.as_deref(),
        removed: removed.iter().map(link).collect(),
        added: added.iter().map(link).collect(),
        before: before.iter().map(size).collect(),
        after: after.iter().map(size).collect(),
        not_retaken: not_retaken.iter().map(|seq| seq.0).collect(),
    }
}

#[derive(Serialize)]
struct Size<'a> {
    primary_id: &'a str,
    ids: u64,
    sessions: u64,
    events: u64,
}

fn size(size: &ProfileSize) -> Size<'_> {
    let ProfileSize { primary_id, ids, sessions, events } = size;
    Size { primary_id, ids: *ids, sessions: *sessions, events: *events }
}
