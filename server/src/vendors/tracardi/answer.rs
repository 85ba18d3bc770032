//! A reply in Tracardi's shape.

use crate::protocol::write::{self, Audience};
use serde::Serialize;
use spoor::Reply;

/// What its clients look at: the ids of profile and session, either of which may be null. `events` names the events by
/// their ids, `task` is the place of the last one in the log.
#[must_use]
pub fn answer<'a>(
    reply: &'a Reply,
    audience: &'a Audience,
    not_taken: &'a [&'static str],
) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    struct Named<'a> {
        id: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Empty {}
    #[derive(Serialize)]
    struct Body<'a> {
        task: String,
        ux: [&'static str; 0],
        response: Empty,
        events: Vec<&'a str>,
        profile: Named<'a>,
        session: Named<'a>,
        errors: Vec<String>,
        warnings: Vec<&'static str>,
    }
    let refused = reply.events.iter().flat_map(|event| &event.refused);
    let of_events = reply.events.iter().flat_map(|event| &event.warnings).copied();
    let codes: Vec<&'static str> = reply.warnings.iter().copied().chain(of_events).collect();
    let mut warnings = write::warnings(&codes, matches!(audience, Audience::Public { .. }));
    warnings.extend(not_taken);
    Body {
        task: reply.events.last().map(|event| event.seq.0.to_string()).unwrap_or_default(),
        ux: [],
        response: Empty {},
        events: reply.events.iter().map(|event| event.id.as_str()).collect(),
        profile: Named { id: write::profile_id(reply, audience) },
        session: Named { id: reply.session.as_ref().map(|session| session.id.as_str()) },
        errors: refused.map(|(field, code)| format!("{field}: {code}")).collect(),
        warnings,
    }
}
