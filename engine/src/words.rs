//! Puts an outcome into words: the reply.

use crate::core::decision::LinkCode;
use crate::core::outcome::{EventOutcome, LinkTold, Outcome, SessionName, SessionOutcome};
use crate::core::prepare::Command;
use crate::ids::{EventSeq, ProfileKey};
use crate::reply::{EventReply, LinkReply, ProfileReply, Reply, SessionReply};

/// The reply to a request.
pub(crate) fn reply(command: &Command, outcome: &Outcome) -> Reply {
    let sent = command.request.events.iter().zip(&command.events);
    let events = outcome.events.iter().zip(sent);
    Reply {
        profile: outcome.profile.as_ref().map(|profile| ProfileReply {
            id: key_text(&profile.key),
            primary_id: key_text(&profile.primary),
            reason: profile.reason,
            created: profile.created,
        }),
        session: outcome.session.as_ref().map(session_reply),
        events: events
            .map(|(event, (sent, parsed))| event_reply(event, sent.id.as_deref(), parsed.identifiers_beyond))
            .collect(),
        warnings: outcome.warnings.clone(),
    }
}

fn event_reply(event: &EventOutcome, sent_id: Option<&str>, identifiers_beyond: bool) -> EventReply {
    let mut warnings = event.warnings.clone();
    // It follows from what was sent alone, and so is said of a repeat as well.
    if identifiers_beyond {
        warnings.push("identifiers_max");
    }
    EventReply {
        id: sent_id.unwrap_or_default().to_owned(),
        seq: event.seq,
        status: event.status,
        session: event.session.as_ref().map(session_reply),
        profile: event.profile.as_ref().map(|profile| key_text(&profile.key)),
        links: link_replies(event),
        refused: event.refused.clone(),
        warnings,
    }
}

fn link_replies(event: &EventOutcome) -> Vec<LinkReply> {
    let reply = |told: &LinkTold| {
        let result = &told.result;
        let quarantine = result.entry.map(|(seq, place)| quarantine_id(seq, place));
        let profiles = told.profiles.iter().flat_map(|(one, other)| [key_text(one), key_text(other)]);
        LinkReply {
            identifier: identifier_text(&result.namespace, &result.value),
            outcome: result.outcome,
            code: result.code.map(LinkCode::as_str),
            merge: result.merge.map(|merge| merge_id(event.seq, merge)),
            profiles: profiles.collect(),
            quarantine,
        }
    };
    event.links.iter().map(reply).collect()
}

/// An identifier as it is written: `namespace:value`.
pub(crate) fn identifier_text(namespace: &str, value: &str) -> String {
    format!("{namespace}:{value}")
}

/// The id of a merge.
pub(crate) fn merge_id(seq: EventSeq, merge: u16) -> String {
    format!("m{}-{merge}", seq.0)
}

/// The id of a quarantined link: how many of that position were quarantined before it.
pub(crate) fn quarantine_id(seq: EventSeq, place: u16) -> String {
    format!("q{}-{place}", seq.0)
}

/// The two numbers of such an id.
pub(crate) fn numbers_of_id(id: &str, letter: char) -> Option<(EventSeq, u16)> {
    let (seq, place) = id.strip_prefix(letter)?.split_once('-')?;
    let (seq, place): (u64, u16) = (seq.parse().ok()?, place.parse().ok()?);
    // One thing has one id: no sign, and no zeros before it.
    (format!("{letter}{seq}-{place}") == id).then_some((EventSeq(seq), place))
}

fn session_reply(session: &SessionOutcome) -> SessionReply {
    let id = match &session.name {
        SessionName::Id(id) => id.to_string(),
        SessionName::Implicit(seq) => format!("implicit:{}", seq.0),
    };
    SessionReply { id, created: session.created }
}

/// A profile id as its device knows it.
pub(crate) fn key_text(key: &ProfileKey) -> String {
    match key {
        // Without the formatting machinery: every reply does it.
        ProfileKey::Server(id) => id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned(),
        ProfileKey::Client { id, .. } => id.to_string(),
    }
}
