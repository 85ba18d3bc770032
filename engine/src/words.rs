//! Puts an outcome into words: the reply.

use crate::core::outcome::{EventOutcome, Outcome, SessionName, SessionOutcome};
use crate::core::prepare::Command;
use crate::ids::ProfileKey;
use crate::reply::{EventReply, ProfileReply, Reply, SessionReply};

/// The reply to a request.
pub(crate) fn reply(command: &Command, outcome: &Outcome) -> Reply {
    let events = outcome.events.iter().zip(&command.request.events);
    Reply {
        profile: outcome.profile.as_ref().map(|profile| ProfileReply {
            id: key_text(&profile.key),
            primary_id: key_text(&profile.primary),
            reason: profile.reason,
            created: profile.created,
        }),
        session: outcome.session.as_ref().map(session_reply),
        events: events.map(|(event, sent)| event_reply(event, sent.id.as_deref())).collect(),
        warnings: outcome.warnings.clone(),
    }
}

fn event_reply(event: &EventOutcome, sent_id: Option<&str>) -> EventReply {
    EventReply {
        id: sent_id.unwrap_or_default().to_owned(),
        seq: event.seq,
        status: event.status,
        session: event.session.as_ref().map(session_reply),
        profile: event.profile.as_ref().map(|profile| key_text(&profile.key)),
        refused: event.refused.clone(),
        warnings: event.warnings.clone(),
    }
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
