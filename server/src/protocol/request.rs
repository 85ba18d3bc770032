//! Requests as JSON, as `spoor import` reads them: what was sent, member by member and in its order.

use super::json::user_agent;
use super::write::{Object, RawJson};
use serde::{Serialize, Serializer};
use spoor::{Consent, Event, EventSeq, Json, Timestamp, TrackRequest, TraitOperations};

/// A request with its last position in the log.
#[must_use]
pub fn logged(seq: EventSeq, sent: &TrackRequest) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<R> {
        seq: u64,
        request: R,
    }
    Body { seq: seq.0, request: request(sent) }
}

/// One request. The user agent that came in a header stands in the context, where an import looks for it.
#[must_use]
pub fn request(request: &TrackRequest) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        profile: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sent_at: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        context: Option<Context<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        profile_less: bool,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        library: bool,
        events: Vec<EventBody<'a>>,
    }
    Body {
        source: request.source.as_deref(),
        session: request.session.as_deref(),
        profile: request.profile.as_deref(),
        sent_at: request.sent_at.map(exact),
        context: context(request),
        profile_less: request.profile_less,
        library: request.origin.is_library(),
        events: request.events.iter().map(event).collect(),
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Context<'a> {
    Sent(RawJson<'a>),
    Agent { user_agent: &'a str },
    Both(serde_json::Map<String, serde_json::Value>),
}

fn context(request: &TrackRequest) -> Option<Context<'_>> {
    let sent = request.context.as_ref();
    match &request.user_agent {
        Some(agent) if sent.and_then(user_agent).as_ref() != Some(agent) => match sent.map(Json::to_value) {
            Some(serde_json::Value::Object(mut members)) => {
                members.insert("user_agent".to_owned(), agent.as_str().into());
                Some(Context::Both(members))
            }
            _ => Some(Context::Agent { user_agent: agent }),
        },
        _ => sent.map(RawJson).map(Context::Sent),
    }
}

#[derive(Serialize)]
struct EventBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<RawJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<RawJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identifiers: Option<Object<'a, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traits: Option<TraitsBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consents: Option<Consents<'a>>,
}

fn event(event: &Event) -> EventBody<'_> {
    let traits = &event.traits;
    EventBody {
        id: event.id.as_deref(),
        event_type: &event.event_type,
        time: event.time.map(exact),
        properties: event.properties.as_ref().map(RawJson),
        context: event.context.as_ref().map(RawJson),
        identifiers: (!event.identifiers.is_empty()).then_some(Object(&event.identifiers)),
        traits: (*traits != TraitOperations::default()).then(|| TraitsBody::of(traits)),
        consents: (!event.consents.is_empty()).then_some(Consents(&event.consents)),
    }
}

#[derive(Serialize)]
pub(super) struct TraitsBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<Object<'a, Json>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set_once: Option<Object<'a, Json>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unset: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    add: Option<Object<'a, Json>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    append: Option<Object<'a, Json>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove: Option<Object<'a, Json>>,
}

impl<'a> TraitsBody<'a> {
    pub(super) fn of(traits: &'a TraitOperations) -> Self {
        let some = |list: &'a [(String, Json)]| (!list.is_empty()).then_some(Object(list));
        Self {
            set: some(&traits.set),
            set_once: some(&traits.set_once),
            unset: &traits.unset,
            add: some(&traits.add),
            append: some(&traits.append),
            remove: some(&traits.remove),
        }
    }
}

pub(super) struct Consents<'a>(pub(super) &'a [(String, Consent)]);

impl Serialize for Consents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(purpose, answer)| {
            (purpose, if *answer == Consent::Granted { "granted" } else { "refused" })
        }))
    }
}

/// A time with the microseconds that a sender may have given it; answers leave them out.
fn exact(time: Timestamp) -> String {
    let shown = time.to_string();
    match time.0.rem_euclid(1_000) {
        0 => shown,
        micros => format!("{}{micros:03}Z", shown.trim_end_matches('Z')),
    }
}
