//! Answers as JSON: plain data of the engine in, text out. Owns every name that stands in an answer.
//!
//! Called by the HTTP routes and by the commands that print. What is a public source's to see is decided here
//! ([`Audience`]), since it is a matter of what is written and of nothing else.

use super::identity::{LinkReplyBody, link_reply, profile_identifier};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use spoor::model::{
    CheckReport, Page, Profile, ProfileCounters, Session, SessionCounters, Status, StoredEvent,
};
use spoor::{Consent, Json, ProfileReply, Reason, Rejection, Reply, SessionReply};

/// Who reads the reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// A source whose key is kept: all of it.
    Trusted,
    /// A browser, and whoever looks into it: what the device knows already, and nothing of other profiles.
    Public {
        /// The profile id that it sent.
        sent_profile: Option<String>,
    },
}

/// An error as it stands in an answer, and as `spoor import` reads it from a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable code; docs/protocol.md lists them.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    /// Path of the member that is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// When trying again makes sense, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl From<Rejection> for ErrorBody {
    fn from(rejection: Rejection) -> Self {
        let Rejection { code, message, field } = rejection;
        Self { code: code.to_owned(), message, field, retry_after_ms: None }
    }
}

/// What most replies to one event are shorter than, in bytes.
const ANSWER_BYTES: usize = 512;

/// Writes any answer. Ours always can be written: all keys are text.
#[must_use]
pub fn text<T: Serialize + ?Sized>(answer: &T) -> Vec<u8> {
    let mut text = Vec::with_capacity(ANSWER_BYTES);
    match serde_json::to_writer(&mut text, answer) {
        Ok(()) => text,
        Err(_) => b"null".to_vec(),
    }
}

/// Writes an answer on one line: whitespace inside the sender's own JSON is not kept.
#[must_use]
pub fn line<T: Serialize + ?Sized>(answer: &T) -> Vec<u8> {
    let mut line = text(answer);
    // Inside text JSON writes a line break as an escape, so that each one here stands between values.
    for byte in &mut line {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    line.push(b'\n');
    line
}

/// The reply to one request.
#[must_use]
pub fn reply<'a>(reply: &'a Reply, audience: &'a Audience) -> impl Serialize + use<'a> {
    reply_body(reply, audience)
}

/// What of a reply is written for this reader, in whichever form.
pub(super) fn reply_body<'a>(reply: &'a Reply, audience: &'a Audience) -> ReplyBody<'a> {
    let public = matches!(audience, Audience::Public { .. });
    ReplyBody {
        profile: reply.profile.as_ref().and_then(|profile| profile_reply(profile, audience)),
        session: reply.session.as_ref().map(session_reply),
        events: reply
            .events
            .iter()
            .map(|event| EventBody {
                id: &event.id,
                seq: event.seq.0,
                status: event.status.as_str(),
                session: event.session.as_ref().map(session_reply),
                profile: event.profile.as_deref().filter(|_| !public),
                links: event.links.iter().map(|link| link_reply(link, audience)).collect(),
                refused: event.refused.iter().map(|(field, code)| RefusedBody { field, code }).collect(),
                warnings: warnings(&event.warnings, public),
            })
            .collect(),
        warnings: warnings(&reply.warnings, public),
    }
}

/// Warnings that would tell a browser that there is somebody else.
const WARNINGS_OF_OTHERS: [&str; 4] =
    ["profile_mismatch", "session_shared", "profile_switched", "fragments_max"];

/// Codes as this reader gets them.
pub(crate) fn warnings(codes: &[&'static str], public: bool) -> Vec<&'static str> {
    codes.iter().copied().filter(|code| !(public && WARNINGS_OF_OTHERS.contains(code))).collect()
}

#[derive(Serialize)]
pub(super) struct ReplyBody<'a> {
    pub(super) profile: Option<ProfileReplyBody<'a>>,
    pub(super) session: Option<SessionReplyBody<'a>>,
    pub(super) events: Vec<EventBody<'a>>,
    pub(super) warnings: Vec<&'static str>,
}

#[derive(Serialize)]
pub(super) struct ProfileReplyBody<'a> {
    pub(super) id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) primary_id: Option<&'a str>,
    pub(super) reason: &'static str,
    pub(super) created: bool,
}

#[derive(Serialize)]
pub(super) struct SessionReplyBody<'a> {
    pub(super) id: &'a str,
    pub(super) created: bool,
}

#[derive(Serialize)]
pub(super) struct EventBody<'a> {
    pub(super) id: &'a str,
    pub(super) seq: u64,
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<SessionReplyBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) links: Vec<LinkReplyBody<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) refused: Vec<RefusedBody<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<&'static str>,
}

#[derive(Serialize)]
pub(super) struct RefusedBody<'a> {
    pub(super) field: &'a str,
    pub(super) code: &'static str,
}

fn session_reply(session: &SessionReply) -> SessionReplyBody<'_> {
    SessionReplyBody { id: &session.id, created: session.created }
}

/// A public device is told its own id: the one that it sent, also if the session turned out to be somebody else's, or
/// the device's events go to another person now.
/// The profile id that a reply tells this reader.
#[must_use]
pub fn profile_id<'a>(reply: &'a Reply, audience: &'a Audience) -> Option<&'a str> {
    reply.profile.as_ref().and_then(|profile| profile_reply(profile, audience)).map(|told| told.id)
}

fn profile_reply<'a>(profile: &'a ProfileReply, audience: &'a Audience) -> Option<ProfileReplyBody<'a>> {
    let ProfileReply { id, primary_id, reason, created } = profile;
    match (audience, reason) {
        (Audience::Trusted, _) => Some(ProfileReplyBody {
            id,
            primary_id: Some(primary_id),
            reason: reason.as_str(),
            created: *created,
        }),
        (Audience::Public { sent_profile }, Reason::Sent | Reason::SessionOwner) => {
            sent_profile.as_ref().map(|id| ProfileReplyBody {
                id,
                primary_id: None,
                reason: Reason::Sent.as_str(),
                created: false,
            })
        }
        (Audience::Public { .. }, _) => {
            Some(ProfileReplyBody { id, primary_id: None, reason: reason.as_str(), created: *created })
        }
    }
}

/// An error in the place of an item.
#[derive(Serialize)]
pub struct ItemError<'a> {
    /// The error.
    pub error: &'a ErrorBody,
}

/// The sender's JSON as it is.
fn raw<S: Serializer>(json: &Json, serializer: S) -> Result<S::Ok, S::Error> {
    match serde_json::from_str::<&RawValue>(json.as_str()) {
        Ok(raw) => raw.serialize(serializer),
        Err(_) => serializer.serialize_unit(),
    }
}

pub(super) struct RawJson<'a>(pub(super) &'a Json);

impl Serialize for RawJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw(self.0, serializer)
    }
}

/// Pairs as an object, in their order.
pub(super) struct Object<'a, V>(pub(super) &'a [(String, V)]);

impl<V> Object<'_, V> {
    fn write<S: Serializer, T: Serialize>(
        &self,
        serializer: S,
        value: fn(&V) -> T,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, item) in self.0 {
            map.serialize_entry(name, &value(item))?;
        }
        map.end()
    }
}

impl Serialize for Object<'_, Json> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, &RawJson(value))?;
        }
        map.end()
    }
}

impl Serialize for Object<'_, Consent> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write(serializer, |consent| match consent {
            Consent::Granted => "granted",
            Consent::Refused => "refused",
        })
    }
}

impl Serialize for Object<'_, String> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// One person.
#[must_use]
pub fn profile(profile: &Profile) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a, I> {
        id: &'a str,
        primary_id: &'a str,
        ids: &'a [String],
        /// Only where it is more than `ids` lists.
        #[serde(skip_serializing_if = "Option::is_none")]
        fragments: Option<u64>,
        traits: Object<'a, Json>,
        identifiers: Vec<I>,
        consents: Object<'a, Consent>,
        counters: Counters,
        created_at: String,
        first_seen: Option<String>,
        last_seen: Option<String>,
    }
    #[derive(Serialize)]
    struct Counters {
        events: u64,
        sessions: u64,
        implicit_sessions: u64,
        page_views: u64,
    }
    let ProfileCounters { events, sessions, implicit_sessions, page_views } = profile.counters;
    Body {
        id: &profile.id,
        primary_id: &profile.primary_id,
        ids: &profile.ids,
        fragments: Some(profile.fragments).filter(|fragments| *fragments > profile.ids.len() as u64),
        traits: Object(&profile.traits),
        identifiers: profile.identifiers.iter().map(profile_identifier).collect(),
        consents: Object(&profile.consents),
        counters: Counters { events, sessions, implicit_sessions, page_views },
        created_at: profile.created_at.to_string(),
        first_seen: profile.first_seen.map(|time| time.to_string()),
        last_seen: profile.last_seen.map(|time| time.to_string()),
    }
}

/// One session.
#[must_use]
pub fn session(session: &Session) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a> {
        id: &'a str,
        source: &'a str,
        profile: Option<Owner<'a>>,
        started_at: String,
        last_seen: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        ended_at: Option<String>,
        duration_ms: u64,
        counters: Counters,
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<Decimal<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        entry_page: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_page: Option<&'a str>,
        bounce: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        referrer: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        utm: Option<Object<'a, String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        os: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        browser: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        shared: bool,
    }
    #[derive(Serialize)]
    struct Owner<'a> {
        id: &'a str,
        primary_id: &'a str,
    }
    #[derive(Serialize)]
    struct Counters {
        events: u64,
        page_views: u64,
        conversions: u64,
    }
    let SessionCounters { events, page_views, conversions } = session.counters;
    Body {
        id: &session.id,
        source: &session.source,
        profile: session.profile.as_ref().map(|owner| Owner { id: &owner.id, primary_id: &owner.primary_id }),
        started_at: session.started_at.to_string(),
        last_seen: session.last_seen.to_string(),
        ended_at: session.ended_at.map(|time| time.to_string()),
        duration_ms: session.duration_ms,
        counters: Counters { events, page_views, conversions },
        value: session.value.as_deref().map(Decimal),
        entry_page: session.entry_page.as_deref(),
        exit_page: session.exit_page.as_deref(),
        bounce: session.bounce,
        referrer: session.referrer.as_deref(),
        utm: (!session.utm.is_empty()).then_some(Object(&session.utm)),
        device: session.device.as_deref(),
        os: session.os.as_deref(),
        browser: session.browser.as_deref(),
        shared: session.shared,
    }
}

/// A decimal number, written with the digits that it has.
struct Decimal<'a>(&'a str);

impl Serialize for Decimal<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Json::parse(self.0) {
            Ok(number) => raw(&number, serializer),
            Err(_) => serializer.serialize_str(self.0),
        }
    }
}

/// One stored event.
#[must_use]
pub fn event(event: &StoredEvent) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a> {
        seq: u64,
        id: &'a str,
        #[serde(rename = "type")]
        event_type: &'a str,
        time: String,
        received_at: String,
        source: &'a str,
        session: &'a str,
        profile: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        properties: Option<RawJson<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        context: Option<RawJson<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        event_context: Option<RawJson<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        identifiers: Option<Object<'a, String>>,
    }
    Body {
        seq: event.seq.0,
        id: &event.id,
        event_type: &event.event_type,
        time: event.time.to_string(),
        received_at: event.received_at.to_string(),
        source: &event.source,
        session: &event.session,
        profile: event.profile.as_deref(),
        properties: event.properties.as_ref().map(RawJson),
        context: event.context.as_ref().map(RawJson),
        event_context: event.event_context.as_ref().map(RawJson),
        identifiers: (!event.identifiers.is_empty()).then_some(Object(&event.identifiers)),
    }
}

/// A page, of which `item` writes each item.
pub fn page<'a, T, B: Serialize>(page: &'a Page<T>, item: fn(&'a T) -> B) -> impl Serialize + use<'a, T, B> {
    #[derive(Serialize)]
    struct Body<'a, B> {
        items: Vec<B>,
        cursor: Option<&'a str>,
    }
    Body { items: page.items.iter().map(item).collect(), cursor: page.cursor.as_deref() }
}

/// The state of the store in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of spoor::model::Status with its name")]
pub struct StatusBody {
    pub position: u64,
    pub checkpoint_position: u64,
    pub events: u64,
    pub sessions: u64,
    pub fragments: u64,
    pub profiles: u64,
    pub overlay_bytes: u64,
    pub mailbox_requests: u64,
}

impl From<Status> for StatusBody {
    fn from(status: Status) -> Self {
        let Status {
            position,
            checkpoint_position,
            events,
            sessions,
            fragments,
            profiles,
            overlay_bytes,
            mailbox_requests,
        } = status;
        Self {
            position,
            checkpoint_position,
            events,
            sessions,
            fragments,
            profiles,
            overlay_bytes,
            mailbox_requests,
        }
    }
}

/// What `check` found; also read back by the command line when it asks a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckBody {
    /// Whether every invariant holds.
    pub sound: bool,
    /// Those that do not.
    pub faults: Vec<String>,
    /// Digest over everything.
    pub store_digest: String,
    /// Digest over what was said.
    pub content_digest: String,
    /// The numbers.
    pub status: StatusBody,
}

impl From<CheckReport> for CheckBody {
    fn from(report: CheckReport) -> Self {
        let CheckReport { status, store_digest, content_digest, faults } = report;
        Self { sound: faults.is_empty(), faults, store_digest, content_digest, status: status.into() }
    }
}

/// Sound JSON with line breaks and indents, for a person.
#[must_use]
pub fn indented(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let (mut inside_text, mut escaped) = (false, false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if inside_text {
            out.push(c);
            inside_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        let next_closes = |next: Option<&char>| matches!(next, Some('}' | ']'));
        match c {
            '{' | '[' => {
                out.push(c);
                depth += 1;
                while rest.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if !next_closes(rest.peek()) {
                    break_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !out.ends_with(['{', '[']) {
                    break_line(&mut out, depth);
                }
                out.push(c);
            }
            ',' => {
                out.push(c);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => {
                inside_text = c == '"';
                out.push(c);
            }
        }
    }
    out
}

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indenting_changes_nothing_but_whitespace() {
        let text = r#"{"a":[1,{ },[ ]],"b\"{":"x, y: [\\","c":{"d":null}}"#;
        let expected = "{\n  \"a\": [\n    1,\n    {},\n    []\n  ],\n  \"b\\\"{\": \"x, y: [\\\\\",\n  \"c\": {\n    \"d\": null\n  }\n}";
        assert_eq!(indented(text), expected);
    }

    #[test]
    fn a_line_is_one_line() {
        let json = Json::parse("{\"a\":\n[1,\r\n2],\"b\":\"\\n\"}").unwrap();
        assert_eq!(line(&RawJson(&json)), b"{\"a\": [1,  2],\"b\":\"\\n\"}\n");
    }
}
