//! The messages of the HTTP interface as the tests read and write them, apart from the server's own code.

mod identity;

pub use identity::{
    read_act_reply, read_blocked, read_explanation, read_history_entry, read_link, read_quarantined,
    write_act,
};

use identity::{read_link_replies, read_profile_identifiers};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use spoor::ids::EventSeq;
use spoor::model::{Page, Profile, ProfileCounters, Session, SessionCounters, SessionProfile, StoredEvent};
use spoor::{
    Consent, Event, EventReply, EventStatus, Json, ProfileReply, Reason, Reply, SessionReply, Timestamp,
    TrackRequest, TraitOperations,
};
use std::fmt;
use std::marker::PhantomData;

/// Reads one request, such as a line of an import.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn read_request(text: &str) -> Result<TrackRequest, String> {
    let wire: Request = serde_json::from_str(text).map_err(|error| error.to_string())?;
    wire.plain()
}

/// The members of an object in the order written.
#[derive(Debug, Clone)]
pub(crate) struct Members<T>(pub(crate) Vec<(String, T)>);

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    source: Option<String>,
    session: Option<String>,
    profile: Option<String>,
    sent_at: Option<String>,
    context: Option<Box<RawValue>>,
    #[serde(default)]
    profile_less: bool,
    events: Vec<WireEvent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEvent {
    id: Option<String>,
    #[serde(rename = "type")]
    event_type: String,
    time: Option<String>,
    properties: Option<Box<RawValue>>,
    context: Option<Box<RawValue>>,
    #[serde(default)]
    identifiers: Members<String>,
    #[serde(default)]
    traits: WireTraits,
    #[serde(default)]
    consents: Members<WireConsent>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WireTraits {
    set: Members<Box<RawValue>>,
    set_once: Members<Box<RawValue>>,
    unset: Vec<String>,
    add: Members<Box<RawValue>>,
    append: Members<Box<RawValue>>,
    remove: Members<Box<RawValue>>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum WireConsent {
    Granted,
    Refused,
}

fn raw(value: Option<Box<RawValue>>) -> Result<Option<Json>, String> {
    value.map(|raw| Json::parse(raw.get()).map_err(|fault| fault.message)).transpose()
}

fn raws(members: Members<Box<RawValue>>) -> Result<Vec<(String, Json)>, String> {
    let read = |(name, value): (String, Box<RawValue>)| match Json::parse(value.get()) {
        Ok(json) => Ok((name, json)),
        Err(fault) => Err(fault.message),
    };
    members.0.into_iter().map(read).collect()
}

fn time(text: Option<String>) -> Result<Option<Timestamp>, String> {
    text.map(|text| Timestamp::parse(&text).ok_or_else(|| format!("no time: {text}"))).transpose()
}

impl Request {
    fn plain(self) -> Result<TrackRequest, String> {
        let context = raw(self.context)?;
        let agent =
            context.as_ref().and_then(|json| json.to_value()["user_agent"].as_str().map(str::to_owned));
        Ok(TrackRequest {
            source: self.source,
            session: self.session,
            profile: self.profile,
            sent_at: time(self.sent_at)?,
            context,
            user_agent: agent,
            profile_less: self.profile_less,
            origin: spoor::Origin::Live,
            events: self.events.into_iter().map(WireEvent::plain).collect::<Result<_, _>>()?,
        })
    }
}

impl WireEvent {
    fn plain(self) -> Result<Event, String> {
        let answer = |(name, consent)| match consent {
            WireConsent::Granted => (name, Consent::Granted),
            WireConsent::Refused => (name, Consent::Refused),
        };
        Ok(Event {
            id: self.id,
            event_type: self.event_type,
            time: time(self.time)?,
            properties: raw(self.properties)?,
            context: raw(self.context)?,
            identifiers: self.identifiers.0,
            traits: TraitOperations {
                set: raws(self.traits.set)?,
                set_once: raws(self.traits.set_once)?,
                unset: self.traits.unset,
                add: raws(self.traits.add)?,
                append: raws(self.traits.append)?,
                remove: raws(self.traits.remove)?,
            },
            consents: self.consents.0.into_iter().map(answer).collect(),
        })
    }
}

/// Writes a request as it goes over the wire. The user agent travels in the context.
#[must_use]
pub fn write_request(request: &TrackRequest) -> String {
    let mut out = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    };
    let mut context = request.context.as_ref().map(Json::to_value);
    if let Some(agent) = &request.user_agent {
        context.get_or_insert_with(|| json!({}))["user_agent"] = json!(agent);
    }
    put("source", request.source.as_ref().map(|text| json!(text)));
    put("session", request.session.as_ref().map(|text| json!(text)));
    put("profile", request.profile.as_ref().map(|text| json!(text)));
    put("sent_at", request.sent_at.map(|time| json!(exact(time))));
    put("context", context);
    put("profile_less", request.profile_less.then_some(json!(true)));
    put("events", Some(request.events.iter().map(write_event).collect()));
    Value::Object(out).to_string()
}

fn write_event(event: &Event) -> Value {
    let traits = &event.traits;
    let pairs = |pairs: &[(String, Json)]| -> Value {
        Value::Object(pairs.iter().map(|(name, json)| (name.clone(), json.to_value())).collect())
    };
    let consent = |(name, answer): &(String, Consent)| {
        (name.clone(), json!(if *answer == Consent::Granted { "granted" } else { "refused" }))
    };
    let mut out = json!({
        "type": event.event_type,
        "identifiers": event.identifiers.iter().map(|(name, value)| (name.clone(), json!(value)))
            .collect::<Map<_, _>>(),
        "traits": {
            "set": pairs(&traits.set), "set_once": pairs(&traits.set_once), "unset": traits.unset,
            "add": pairs(&traits.add), "append": pairs(&traits.append), "remove": pairs(&traits.remove),
        },
        "consents": event.consents.iter().map(consent).collect::<Map<_, _>>(),
    });
    if let Some(id) = &event.id {
        out["id"] = json!(id);
    }
    if let Some(time) = event.time {
        out["time"] = json!(exact(time));
    }
    if let Some(properties) = &event.properties {
        out["properties"] = properties.to_value();
    }
    if let Some(context) = &event.context {
        out["context"] = context.to_value();
    }
    out
}

/// A time with its microseconds, which the engine's own form leaves out.
pub(super) fn exact(time: Timestamp) -> String {
    let shown = time.to_string();
    let micros = time.0.rem_euclid(1_000);
    if micros == 0 { shown } else { format!("{}{micros:03}Z", shown.trim_end_matches('Z')) }
}

/// The codes of the engine are static; those of a reply are made so. There are few of them.
pub(crate) fn code(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn codes(list: &Value) -> Vec<&'static str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(code).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text is missing: {value}")).to_owned()
}

fn maybe(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number is missing: {value}"))
}

fn stamp(value: &Value) -> Timestamp {
    Timestamp::parse(&text(value)).unwrap_or_else(|| panic!("a time is missing: {value}"))
}

fn maybe_stamp(value: &Value) -> Option<Timestamp> {
    (!value.is_null()).then(|| stamp(value))
}

fn json_of(value: &Value) -> Option<Json> {
    if value.is_null() { None } else { Json::from_value(value).ok() }
}

fn session_reply(value: &Value) -> Option<SessionReply> {
    (!value.is_null()).then(|| SessionReply {
        id: text(&value["id"]),
        created: value["created"].as_bool().unwrap_or_default(),
    })
}

/// Reads the reply to a tracking request.
#[must_use]
pub fn read_reply(value: &Value) -> Reply {
    let reasons = [Reason::Created, Reason::Sent, Reason::Recovered, Reason::SessionOwner];
    let profile = &value["profile"];
    Reply {
        profile: (!profile.is_null()).then(|| ProfileReply {
            id: text(&profile["id"]),
            primary_id: text(&profile["primary_id"]),
            reason: *reasons
                .iter()
                .find(|reason| profile["reason"] == reason.as_str())
                .unwrap_or_else(|| panic!("an unknown reason: {profile}")),
            created: profile["created"].as_bool().unwrap_or_default(),
        }),
        session: session_reply(&value["session"]),
        events: value["events"].as_array().into_iter().flatten().map(event_reply).collect(),
        warnings: codes(&value["warnings"]),
    }
}

fn event_reply(value: &Value) -> EventReply {
    let status = if value["status"] == "duplicate" { EventStatus::Duplicate } else { EventStatus::Stored };
    let refused = value["refused"].as_array().into_iter().flatten();
    let path_and_code = |entry: &Value| {
        let path = maybe(&entry["path"]).or_else(|| maybe(&entry["field"])).unwrap_or_default();
        (path, code(&text(&entry["code"])))
    };
    EventReply {
        id: text(&value["id"]),
        seq: EventSeq(number(&value["seq"])),
        status,
        session: session_reply(&value["session"]),
        profile: maybe(&value["profile"]).or_else(|| maybe(&value["profile"]["id"])),
        links: read_link_replies(&value["links"]),
        refused: refused.map(path_and_code).collect(),
        warnings: codes(&value["warnings"]),
    }
}

/// Reads a profile.
#[must_use]
pub fn read_profile(value: &Value) -> Profile {
    let counters = &value["counters"];
    let consent = |(name, answer): (&String, &Value)| {
        (name.clone(), if answer == "granted" { Consent::Granted } else { Consent::Refused })
    };
    Profile {
        id: text(&value["id"]),
        primary_id: text(&value["primary_id"]),
        ids: value["ids"].as_array().into_iter().flatten().map(text).collect(),
        fragments: value["fragments"]
            .as_u64()
            .unwrap_or_else(|| value["ids"].as_array().map_or(0, |ids| ids.len() as u64)),
        identifiers: read_profile_identifiers(&value["identifiers"]),
        traits: value["traits"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), Json::from_value(value).ok()?)))
            .collect(),
        consents: value["consents"].as_object().into_iter().flatten().map(consent).collect(),
        counters: ProfileCounters {
            events: number(&counters["events"]),
            sessions: number(&counters["sessions"]),
            implicit_sessions: number(&counters["implicit_sessions"]),
            page_views: number(&counters["page_views"]),
        },
        created_at: stamp(&value["created_at"]),
        first_seen: maybe_stamp(&value["first_seen"]),
        last_seen: maybe_stamp(&value["last_seen"]),
    }
}

/// Reads a session.
#[must_use]
pub fn read_session(value: &Value) -> Session {
    let counters = &value["counters"];
    let profile = &value["profile"];
    Session {
        id: text(&value["id"]),
        source: text(&value["source"]),
        profile: (!profile.is_null())
            .then(|| SessionProfile { id: text(&profile["id"]), primary_id: text(&profile["primary_id"]) }),
        started_at: stamp(&value["started_at"]),
        last_seen: stamp(&value["last_seen"]),
        ended_at: maybe_stamp(&value["ended_at"]),
        duration_ms: number(&value["duration_ms"]),
        counters: SessionCounters {
            events: number(&counters["events"]),
            page_views: number(&counters["page_views"]),
            conversions: number(&counters["conversions"]),
        },
        value: (!value["value"].is_null())
            .then(|| maybe(&value["value"]).unwrap_or_else(|| value["value"].to_string())),
        entry_page: maybe(&value["entry_page"]),
        exit_page: maybe(&value["exit_page"]),
        bounce: value["bounce"].as_bool().unwrap_or_default(),
        referrer: maybe(&value["referrer"]),
        utm: value["utm"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        device: maybe(&value["device"]),
        os: maybe(&value["os"]),
        browser: maybe(&value["browser"]),
        shared: value["shared"].as_bool().unwrap_or_default(),
    }
}

/// Reads a stored event.
#[must_use]
pub fn read_event(value: &Value) -> StoredEvent {
    StoredEvent {
        seq: EventSeq(number(&value["seq"])),
        id: text(&value["id"]),
        event_type: text(&value["type"]),
        time: stamp(&value["time"]),
        received_at: stamp(&value["received_at"]),
        source: text(&value["source"]),
        session: maybe(&value["session"]).unwrap_or_else(|| text(&value["session"]["id"])),
        profile: maybe(&value["profile"]).or_else(|| maybe(&value["profile"]["id"])),
        properties: json_of(&value["properties"]),
        context: json_of(&value["context"]),
        event_context: json_of(&value["event_context"]),
        identifiers: value["identifiers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
    }
}

/// Reads a page of anything.
#[must_use]
pub fn read_page<T>(value: &Value, item: fn(&Value) -> T) -> Page<T> {
    Page {
        items: value["items"].as_array().into_iter().flatten().map(item).collect(),
        cursor: maybe(&value["cursor"]),
    }
}
