//! The real server in a process of its own, spoken to over HTTP.
//!
//! The binary is the one that `SPOOR_BIN` names, or the one that was built beside the tests. It has the
//! machine's clock, so that scenarios that move the time are not for it.

use super::wire::{self, code, read_page};
use super::{Need, Target};
use serde_json::Value;
use spoor::model::{CheckReport, Page, PageRequest, Profile, ReadError, Session, StoredEvent};
use spoor::settings::{Keys, Normalizer, ProfileIds, Sessions};
use spoor::{Rejection, Reply, Settings, Timestamp, TrackRequest};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the server may take until it serves.
const READY_MAX: Duration = Duration::from_secs(20);

/// A server and its directory.
#[derive(Debug)]
pub struct Http {
    directory: TempDir,
    address: String,
    child: Option<Child>,
}

impl Http {
    /// One with an empty store. The time is not used: the server has its own.
    #[must_use]
    pub fn make(settings: &Settings, _: Timestamp) -> Box<dyn Target> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("spoor.toml"), configuration(settings))
            .expect("a file of settings");
        let mut new = Self { directory, address: String::new(), child: None };
        new.start();
        Box::new(new)
    }

    fn start(&mut self) {
        // The port is free now; that somebody takes it before the server does is possible and shows at once.
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        self.address = format!("127.0.0.1:{port}");
        let child = Command::new(binary())
            .arg("serve")
            .arg("--data")
            .arg(self.directory.path().join("data"))
            .arg("--listen")
            .arg(&self.address)
            .arg("--config")
            .arg(self.directory.path().join("spoor.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server's binary");
        self.child = Some(child);
        let begun = Instant::now();
        while self.ask("GET", "/readyz", "").is_none_or(|(status, _)| status != 200) {
            assert!(begun.elapsed() < READY_MAX, "the server does not serve");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the process; `gently` lets it close its store.
    fn stop(&mut self, gently: bool) {
        let Some(mut child) = self.child.take() else { return };
        if gently {
            let asked = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
            assert!(asked.is_ok_and(|status| status.success()), "asking the server to stop");
        } else {
            child.kill().expect("killing the server");
        }
        child.wait().expect("the end of the server");
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

impl Drop for Http {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // What is left to do with a process that is already gone does not matter here.
            drop(child.kill());
            drop(child.wait());
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

fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SPOOR_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("the path of this test");
    test.ancestors().nth(2).expect("the build directory").join("spoor")
}

fn rejection(body: &Value) -> Rejection {
    Rejection {
        code: code(body["code"].as_str().unwrap_or_default()),
        message: body["message"].as_str().unwrap_or_default().to_owned(),
        field: body["field"].as_str().map(str::to_owned),
    }
}

/// The settings as an operator writes them.
fn configuration(settings: &Settings) -> String {
    let mut out = String::new();
    for (name, source) in &settings.sources {
        out += &format!("[sources.{name:?}]\n");
        if let Some(ids) = &source.ids {
            out += &format!("ids = {ids:?}\n");
        }
        if let Some(country) = &source.default_country {
            out += &format!("default_country = {country:?}\n");
        }
        let keys = if source.keys == Keys::Public { "public" } else { "secret" };
        let makers = if source.profile_ids == ProfileIds::Client { "client" } else { "server" };
        let sessions = if source.sessions == Sessions::Inactivity { "inactivity" } else { "client" };
        out += &format!("keys = {keys:?}\nprofile_ids = {makers:?}\nsessions = {sessions:?}\n");
        out += &format!("server = {}\nconversions = {:?}\n", source.server, source.conversions);
        out += &format!("page_views = {:?}\n", source.page_views);
        out += &format!("inactivity_timeout = \"{}ms\"\n", source.inactivity_timeout_ms);
    }
    for (name, namespace) in &settings.identifiers {
        let normalize = match namespace.normalize {
            Normalizer::Email => "email",
            Normalizer::Phone => "phone",
            Normalizer::Text => "text",
        };
        out += &format!("[identifiers.{name:?}]\nnormalize = {normalize:?}\n");
        out += &format!("priority = {}\nunique = {}\n", namespace.priority, namespace.unique);
    }
    for (name, settings) in &settings.traits {
        out += &format!("[traits.{name:?}]\npolicy = \"{:?}\"\n", settings.policy).to_lowercase();
        if let Some(kind) = settings.kind {
            out += &format!("kind = \"{kind:?}\"\n").to_lowercase();
        }
    }
    out
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

impl Target for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn lacks(&self, need: Need) -> bool {
        matches!(need, Need::Clock | Need::Import)
    }

    fn track(&mut self, request: &TrackRequest) -> Result<Reply, Rejection> {
        let sent = wire::write_request(request);
        let (status, body) = self.send("/api/v1/track", &sent);
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

    fn set_clock(&mut self, _: Timestamp) {
        panic!("the server has the machine's clock")
    }

    fn reopen(&mut self) {
        self.stop(true);
        self.start();
    }

    fn crash(&mut self) {
        self.stop(false);
        self.start();
    }

    fn check(&mut self) -> Option<CheckReport> {
        None
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
}
