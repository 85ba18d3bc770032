//! Targets that are spoken to over HTTP, whatever runs behind the address.

use super::compact::{error_as_json, reply_as_json};
use super::wire::{self, code, read_page};
use super::{Need, Target};
use serde_json::Value;
use spoor::model::{
    AsOf, BlockedValue, CheckReport, Explanation, HistoryEntry, Link, Page, PageRequest, Profile,
    QuarantinedLink, ReadError, Session, StoredEvent,
};
use spoor::{Act, ActError, ActReply, Origin, Rejection, Reply, Timestamp, TrackRequest};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a server may take until it serves.
const READY_MAX: Duration = Duration::from_secs(20);

/// What runs behind an address.
pub(super) trait Backing {
    /// Which one it is, for messages.
    fn name(&self) -> &'static str;

    /// What it cannot do at all.
    fn lacks(&self, need: Need) -> bool;

    /// Starts on the store as it is, and returns the address.
    fn start(&mut self) -> String;

    /// Ends; `gently` lets it close its store.
    fn stop(&mut self, gently: bool);

    /// Sets the clock, and ends the sessions whose time has come.
    fn set_clock(&mut self, now: Timestamp);

    /// Verifies the store; `None` if it cannot be asked.
    fn check(&mut self) -> Option<CheckReport>;
}

/// A server, and its clients' side.
#[derive(Debug)]
pub(super) struct Http<B> {
    address: String,
    backing: B,
    /// Whether requests to track are sent in the compact form, and how many were.
    compact: Option<usize>,
}

impl<B: Backing> Http<B> {
    /// Starts a server.
    pub(super) fn start(mut backing: B) -> Self {
        let address = backing.start();
        let new = Self { address, backing, compact: None };
        new.wait_until_ready();
        new
    }

    /// Starts a server that is sent requests in the compact form: alone and in streams by turns.
    pub(super) fn start_compact(backing: B) -> Self {
        Self { compact: Some(0), ..Self::start(backing) }
    }

    fn track_compactly(&self, request: &TrackRequest, streamed: bool) -> Result<Reply, Rejection> {
        let answer = if streamed && request.origin == Origin::Live {
            self.stream_one(request)
        } else {
            let mut connection = spoor_client::Connection::open(&self.address).expect("a connection");
            let answer = connection.track(request).expect("the server answers");
            answer.map_err(|refused| refused.error)
        };
        match answer {
            Ok(reply) => Ok(wire::read_reply(&reply_as_json(&reply))),
            Err(error) => Err(rejection(&error_as_json(&error))),
        }
    }

    fn stream_one(&self, request: &TrackRequest) -> Result<spoor_client::Reply, spoor_client::AnswerError> {
        let (mut sender, mut receiver) = spoor_client::stream(&self.address).expect("a stream");
        sender.send(request).and_then(|()| sender.finish()).expect("the server listens");
        let answer = receiver.receive().expect("the server answers");
        assert_eq!(receiver.receive().expect("an end"), None);
        match answer.expect("one answer") {
            spoor_client::Answer::Reply(reply) => Ok(reply),
            spoor_client::Answer::Error(error) => Err(error),
            spoor_client::Answer::End { error, .. } => panic!("the stream ended: {error:?}"),
        }
    }

    fn again(&mut self, gently: bool) {
        self.backing.stop(gently);
        self.address = self.backing.start();
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        let begun = Instant::now();
        while self.ask("GET", "/readyz", "").is_none_or(|(status, _)| status != 200) {
            assert!(begun.elapsed() < READY_MAX, "the server does not serve");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// One exchange; `None` if nobody answers.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        Some((status, if chunked { joined(body) } else { body.to_owned() }))
    }

    fn read<T>(&self, path: &str, item: impl FnOnce(&Value) -> T) -> Result<T, ReadError> {
        let (status, body) = self.ask("GET", path, "").expect("the server answers");
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {status} {body}"));
        match (status, body["code"].as_str()) {
            (200, _) => Ok(item(&body)),
            (404, _) => Err(ReadError::NotFound),
            (409, Some("ambiguous_id")) => Err(ReadError::AmbiguousId { candidates: Vec::new() }),
            (400 | 422, _) => Err(ReadError::Rejected(rejection(&body))),
            _ => panic!("{path}: {status} {body}"),
        }
    }
}

/// The pieces of a chunked body.
fn joined(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        body.push_str(tail.get(..size).unwrap_or(tail));
        rest = tail.get(size + 2..).unwrap_or_default();
    }
    body
}

fn rejection(body: &Value) -> Rejection {
    Rejection {
        code: code(body["code"].as_str().unwrap_or_default()),
        message: body["message"].as_str().unwrap_or_default().to_owned(),
        field: body["field"].as_str().map(str::to_owned),
    }
}

/// A text as part of a path or a query.
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn query(page: &PageRequest) -> String {
    let mut members = Vec::new();
    if page.limit > 0 {
        members.push(format!("limit={}", page.limit));
    }
    let texts = [("cursor", page.cursor.clone()), ("type", page.event_type.clone())];
    let times =
        [("from", page.from), ("to", page.to)].map(|(name, time)| (name, time.map(|time| time.to_string())));
    for (name, value) in texts.into_iter().chain(times) {
        members.extend(value.map(|value| format!("{name}={}", encoded(&value))));
    }
    if members.is_empty() { String::new() } else { format!("?{}", members.join("&")) }
}

fn past(as_of: AsOf) -> String {
    let times = [("at", as_of.at), ("until", as_of.until)];
    let members = times.into_iter().filter_map(|(name, time)| {
        let time = wire::exact(time?);
        Some(format!("{name}={}", encoded(&time)))
    });
    members.collect::<Vec<_>>().join("&")
}

impl<B: Backing> Target for Http<B> {
    fn name(&self) -> &'static str {
        self.backing.name()
    }

    fn lacks(&self, need: Need) -> bool {
        // What a public source is told is less than what was decided.
        need == Need::Whole || self.backing.lacks(need)
    }

    fn track(&mut self, request: &TrackRequest) -> Result<Reply, Rejection> {
        if let Some(sent) = &mut self.compact {
            *sent += 1;
            let streamed = sent.is_multiple_of(2);
            return self.track_compactly(request, streamed);
        }
        let sent = wire::write_request(request);
        let path = match request.origin {
            Origin::Live | Origin::Library => "/api/v1/track",
            Origin::Import | Origin::LibraryImport => "/api/v1/track?origin=import",
        };
        let (status, body) = self.send(path, &sent);
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status} {body}"));
        match status {
            200 => Ok(wire::read_reply(&body)),
            400..=499 => Err(rejection(&body)),
            _ => panic!("tracking: {status} {body}"),
        }
    }

    fn send(&mut self, path: &str, body: &str) -> (u16, String) {
        self.ask("POST", path, body).expect("the server answers")
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.backing.set_clock(now);
    }

    fn reopen(&mut self) {
        self.again(true);
    }

    fn crash(&mut self) {
        self.again(false);
    }

    fn check(&mut self) -> Option<CheckReport> {
        self.backing.check()
    }

    fn profile(&mut self, id: &str) -> Result<Profile, ReadError> {
        self.read(&format!("/api/v1/profiles/{}", encoded(id)), wire::read_profile)
    }

    fn profile_events(&mut self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        let path = format!("/api/v1/profiles/{}/events{}", encoded(id), query(page));
        self.read(&path, |body| read_page(body, wire::read_event))
    }

    fn profile_sessions(&mut self, id: &str, page: &PageRequest) -> Result<Page<Session>, ReadError> {
        let path = format!("/api/v1/profiles/{}/sessions{}", encoded(id), query(page));
        self.read(&path, |body| read_page(body, wire::read_session))
    }

    fn session(&mut self, id: &str) -> Result<Session, ReadError> {
        self.read(&format!("/api/v1/sessions/{}", encoded(id)), wire::read_session)
    }

    fn session_events(&mut self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        let path = format!("/api/v1/sessions/{}/events{}", encoded(id), query(page));
        self.read(&path, |body| read_page(body, wire::read_event))
    }

    fn act(&mut self, act: &Act, dry_run: bool) -> Result<ActReply, ActError> {
        let (method, path, body) = wire::write_act(act, encoded);
        let parameters =
            [("dry_run", dry_run), ("keep_apart", matches!(act, Act::Undo { keep_apart: true, .. }))];
        let parameters: Vec<_> =
            parameters.iter().filter(|(_, set)| *set).map(|(name, _)| format!("{name}=true")).collect();
        let path = format!("/api/v1/{path}?{}", parameters.join("&"));
        let (status, body) = self.ask(method, &path, &body).expect("the server answers");
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {status} {body}"));
        match status {
            200 => Ok(wire::read_act_reply(&body)),
            404 => Err(ActError::NotFound(rejection(&body))),
            409 => Err(ActError::Conflict(rejection(&body))),
            400 | 422 => Err(ActError::Rejected(rejection(&body))),
            _ => panic!("{path}: {status} {body}"),
        }
    }

    fn profile_as_of(&mut self, id: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        self.read(&format!("/api/v1/profiles/{}?{}", encoded(id), past(as_of)), wire::read_profile)
    }

    fn profile_of_identifier(&mut self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        let path = format!("/api/v1/profiles?identifier={}&{}", encoded(identifier), past(as_of));
        self.read(&path, wire::read_profile)
    }

    fn profile_links(&mut self, id: &str, page: &PageRequest) -> Result<Page<Link>, ReadError> {
        let path = format!("/api/v1/profiles/{}/links{}", encoded(id), query(page));
        self.read(&path, |body| read_page(body, wire::read_link))
    }

    fn profile_history(&mut self, id: &str, page: &PageRequest) -> Result<Page<HistoryEntry>, ReadError> {
        let path = format!("/api/v1/profiles/{}/history{}", encoded(id), query(page));
        self.read(&path, |body| read_page(body, wire::read_history_entry))
    }

    fn quarantine(&mut self, page: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError> {
        let path = format!("/api/v1/quarantine{}", query(page));
        self.read(&path, |body| read_page(body, wire::read_quarantined))
    }

    fn blocked(&mut self, page: &PageRequest) -> Result<Page<BlockedValue>, ReadError> {
        let path = format!("/api/v1/blocked{}", query(page));
        self.read(&path, |body| read_page(body, wire::read_blocked))
    }

    fn explain(&mut self, from: &str, to: &str) -> Result<Explanation, ReadError> {
        let path = format!("/api/v1/explain?from={}&to={}", encoded(from), encoded(to));
        self.read(&path, wire::read_explanation)
    }
}
