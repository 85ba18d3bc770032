//! The genuine client libraries of other services, from their registries, against the server's binary, which is killed
//! while they send and started again: every message is stored exactly once, what a device did before its user was
//! known is the user's, and the next user is another person.
//!
//! Needs Node.js with npm, Python with venv, and Chromium: tests/clients/README.md.
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use serde_json::Value;
use spoor_tests::connection::Connection;
use spoor_tests::libraries::{self, Ended, finish, front};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How often each of the two people of the story looks around.
const STEPS: u64 = 150;
/// Their other messages: a page, two identifies, an alias, a group, a purchase.
const OTHERS: u64 = 6;
/// How long a story may take.
const STORY_MAX: Duration = Duration::from_secs(120);
/// How long the server is away.
const AWAY: Duration = Duration::from_millis(400);

/// Where the libraries are installed.
const BELOW: &str = env!("CARGO_TARGET_TMPDIR");

fn node() -> &'static Path {
    libraries::node(Path::new(BELOW))
}

fn python() -> &'static Path {
    libraries::python(Path::new(BELOW))
}

/// The server's process, always on one port, so that who sends finds it again.
struct Server {
    directory: TempDir,
    address: String,
    child: Option<Ended>,
}

impl Server {
    fn start() -> Self {
        // The port is free now; that somebody takes it before the server does is possible and shows at once.
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self { directory, address: format!("127.0.0.1:{port}"), child: None };
        server.again();
        server
    }

    fn again(&mut self) {
        let child = Command::new(env!("CARGO_BIN_EXE_spoor-under-test"))
            .args(["serve", "--listen", &self.address, "--data"])
            .arg(self.directory.path().join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(Ended(child.expect("the server's binary")));
        let begun = Instant::now();
        while self.ask("/readyz").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server does not serve");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL: nothing is closed, flushed or said.
    fn kill(&mut self) {
        let mut server = self.child.take().expect("a server");
        server.0.kill().and_then(|()| server.0.wait()).expect("the end of the server");
    }

    /// `None` while nobody listens.
    fn ask(&self, target: &str) -> Option<Value> {
        let (status, body) = Connection::open(&self.address).ok()?.ask("GET", target, "").ok()?;
        assert_eq!(status, 200, "{target}: {body}");
        Some(serde_json::from_str(&body).expect("JSON"))
    }

    fn read(&self, target: &str) -> Value {
        self.ask(target).expect("the server answers")
    }

    fn events(&self) -> Vec<Value> {
        match self.read("/api/v1/events?after=0&limit=1000")["items"].take() {
            Value::Array(events) => events,
            other => panic!("no list of events: {other}"),
        }
    }

    /// Waits until so many events are stored.
    fn wait_for(&self, events: u64, story: &mut Child) {
        let begun = Instant::now();
        while (self.events().len() as u64) < events {
            assert!(begun.elapsed() < STORY_MAX, "{} of {events} events came", self.events().len());
            assert_eq!(story.try_wait().expect("a child"), None, "the story ended before {events} events");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Lets a library tell the story by a script.
fn tell(there: &Path, program: &Path, script: &[&str]) {
    let mut server = Server::start();
    let mut story = Command::new(program)
        .args(script)
        .args([format!("http://{}", server.address), STEPS.to_string()])
        .current_dir(there)
        .stdin(Stdio::null())
        .spawn()
        .expect("a script");
    disturb(&mut server, &mut story);
    finish(story, STORY_MAX, &script.join(" "));
    check(&server);
}

/// Lets a library tell the story in a page.
fn tell_in_page(there: &Path, page: &str) {
    let mut server = Server::start();
    let (_front, address) = front(there, &server.address);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let browser = Command::new("chromium")
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .arg(format!("--user-data-dir={}", directory.path().display()))
        .arg(format!("http://{address}/pages/{page}?steps={STEPS}"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut story =
        Ended(browser.unwrap_or_else(|error| panic!("this test needs chromium in the path: {error}")));
    disturb(&mut server, &mut story.0);
    server.wait_for(2 * STEPS + OTHERS, &mut story.0);
    check(&server);
}

/// Kills the server in each half of the story; it is away for a while.
fn disturb(server: &mut Server, story: &mut Child) {
    for events in [STEPS / 2, STEPS + STEPS / 2] {
        server.wait_for(events, story);
        server.kill();
        std::thread::sleep(AWAY);
        server.again();
    }
}

/// What must be stored in the end, whatever library told it.
fn check(server: &Server) {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    // The devices of the two, as the library names them.
    let mut devices: BTreeMap<String, String> = BTreeMap::new();
    for event in server.events() {
        let name = event["type"].as_str().expect("a type");
        devices.insert(name.to_owned(), event["profile"].as_str().expect("a profile").to_owned());
        let number = event["properties"]["n"].as_u64().map_or(String::new(), |n| format!(" {n}"));
        *counts.entry(format!("{name}{number}")).or_default() += 1;
    }
    let steps = (0..STEPS).flat_map(|n| [format!("step {n}"), format!("other {n}")]);
    let others = ["page-view", "alias", "group", "bought"].map(str::to_owned);
    let mut expected: BTreeMap<String, u64> = steps.chain(others).map(|name| (name, 1)).collect();
    expected.insert("identify".to_owned(), 2);
    assert_eq!(counts, expected, "each message exactly once");

    let ada = server.read("/api/v1/profiles?identifier=user_id:u-1");
    let bob = server.read("/api/v1/profiles?identifier=user_id:u-2");
    assert_eq!(ada["counters"]["events"], STEPS + OTHERS - 1, "before and after she was known");
    assert_eq!(bob["counters"]["events"], STEPS + 1);
    assert_ne!(ada["primary_id"], bob["primary_id"]);
    let found = |target: &str| server.read(&format!("/api/v1/profiles{target}"))["primary_id"].clone();
    for (of, steps, email) in [(&ada, "step", "ada@example.com"), (&bob, "other", "bob@example.com")] {
        assert_eq!(found(&format!("/{}", devices[steps])), of["primary_id"], "{steps}");
        assert_eq!(found(&format!("?identifier=email:{email}")), of["primary_id"], "{email}");
    }
    assert_eq!((&ada["traits"]["plan"], &ada["traits"]["group_id"]), (&"pro".into(), &"g-1".into()));
    assert_eq!(bob["traits"]["plan"], Value::Null);
}

#[test]
fn segments_library_for_node() {
    tell(node(), Path::new("node"), &["segment.mjs"]);
}

#[test]
fn rudderstacks_library_for_node() {
    tell(node(), Path::new("node"), &["rudder.mjs"]);
}

#[test]
fn segments_library_for_python() {
    tell(python(), &python().join("venv/bin/python"), &["story.py", "segment"]);
}

#[test]
fn rudderstacks_library_for_python() {
    tell(python(), &python().join("venv/bin/python"), &["story.py", "rudderstack"]);
}

#[test]
fn segments_library_for_browsers() {
    tell_in_page(node(), "segment.html");
}

#[test]
fn rudderstacks_library_for_browsers() {
    tell_in_page(node(), "rudder.html");
}
