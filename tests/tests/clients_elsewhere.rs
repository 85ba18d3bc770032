//! The genuine client libraries for browsers on a page of another origin than the server's, with keys, where the
//! settings name that page and where they do not: each message is stored once, or none is and the page goes on.
//!
//! Needs Node.js with npm, and Chromium: tests/clients/README.md.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test: a panic is its report")]

use serde_json::{Value, json};
use spoor::settings::{Keys, SourceSettings};
use spoor_server::http::{Server, serve};
use spoor_server::settings::Configuration;
use spoor_server::settings::origins::Origins;
use spoor_tests::browser::{Browser, Tab};
use spoor_tests::libraries::{self, Ended, front};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One browser at a time: each takes as much of a machine as a test may.
static ONE: Mutex<()> = Mutex::new(());

/// How long what was sent may take to be stored.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// Nobody listens there: what a page asks of its own origin by mistake is not answered by the server.
const NOWHERE: &str = "127.0.0.1:9";

/// A server with keys, and pages at `localhost`, which is another origin than its `127.0.0.1`.
struct Elsewhere {
    server: Server,
    pages: String,
    admin: String,
    /// That of the source `web`.
    key: String,
    tab: Tab,
    _browser: Browser,
    _front: Ended,
    _directory: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Elsewhere {
    /// One whose settings name the pages, or only others.
    fn new(is_named: bool) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let there = libraries::node(Path::new(env!("CARGO_TARGET_TMPDIR")));
        let (front, address) = front(there, NOWHERE);
        let pages = format!("http://{}", address.replace("127.0.0.1", "localhost"));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut configuration =
            Configuration { data_dir: directory.path().join("data"), ..Configuration::default() };
        configuration.server.listen = "127.0.0.1:0".parse().expect("an address");
        let sources = &mut configuration.engine.sources;
        sources.insert("web".to_owned(), SourceSettings { keys: Keys::Public, ..SourceSettings::default() });
        sources.insert("shop".to_owned(), SourceSettings::default());
        let named = if is_named { pages.clone() } else { "https://shop.example".to_owned() };
        configuration.origins.insert("web".to_owned(), Origins::Listed(vec![named]));
        let server = serve(&configuration).expect("a server");
        let add = |key: &str, body: Value| {
            let made = ask(&server, "POST", "/api/v1/keys", key, &body.to_string());
            made["key"].as_str().expect("a key").to_owned()
        };
        let admin = add("", json!({"name": "test", "right": "admin"}));
        let key = add(&admin, json!({"name": "pages", "right": "write", "source": "web"}));
        let kept = directory.path().join("browser");
        std::fs::create_dir(&kept).expect("a folder");
        let browser = Browser::start(&kept);
        let tab = browser.tab();
        Self {
            server,
            pages,
            admin,
            key,
            tab,
            _browser: browser,
            _front: front,
            _directory: directory,
            _one: one,
        }
    }

    /// Opens a page of `library` that sends `now` or `later`, by settings of its `own` or those that it fetches.
    fn visit(&self, library: &str, sending: &str, settings: &str) {
        let Self { pages, key, .. } = self;
        let server = self.server.address();
        self.tab.go(&format!(
            "{pages}/pages/{library}-elsewhere.html?server=http://{server}&key={key}&sending={sending}\
             &settings={settings}"
        ));
    }

    fn walk(&self, first: usize, count: usize) {
        self.tab.wait_for("window.library");
        self.tab.run(&format!("walk({first}, {count}).then(() => true)"));
    }

    /// Goes to another page, as people do: what waits is sent while the page goes.
    fn leave(&self) {
        self.tab.go(&format!("{}/pages/story.js", self.pages));
    }

    /// The numbers of the steps that are stored, in order of number.
    fn steps(&self) -> Vec<u64> {
        let page = ask(&self.server, "GET", "/api/v1/events?after=0&limit=1000", &self.admin, "");
        let events = page["items"].as_array().expect("a list of events").iter();
        let steps = events.filter(|event| event["type"] == "step").map(|event| {
            assert_eq!(event["source"], "web");
            event["properties"]["n"].as_u64().expect("a number")
        });
        let mut steps: Vec<u64> = steps.collect();
        steps.sort_unstable();
        steps
    }

    /// Waits until so many steps are stored, and looks that each is there once.
    fn assert_arrived(&self, count: usize) {
        let begun = Instant::now();
        while self.steps().len() < count && begun.elapsed() < ARRIVAL_MAX {
            std::thread::sleep(Duration::from_millis(20));
        }
        let expected: Vec<u64> = (0..count as u64).collect();
        assert_eq!(self.steps(), expected, "{:#?}", self.tab.console());
    }

    /// What refusals the server has counted for pages that are not named.
    fn refused(&self) -> u64 {
        let text = ask(&self.server, "GET", "/metrics", &self.admin, "");
        let text = text.as_str().expect("text");
        let line = text.lines().find(|line| line.starts_with("spoor_refusals_total{code=\"cross_origin\"}"));
        line.map_or(0, |line| line.rsplit(' ').next().expect("a value").parse().expect("a number"))
    }

    fn assert_page_is_well(&self) {
        assert_eq!(self.tab.run("window.uncaught"), json!([]), "{:#?}", self.tab.console());
    }
}

/// Asks the server with a key; the answer's JSON, or its text.
fn ask(server: &Server, method: &str, target: &str, key: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
    serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()))
}

/// A page that the settings name: settings fetched, events sent at once, others while the page goes.
fn each_message_is_stored_once(library: &str) {
    let elsewhere = Elsewhere::new(true);
    elsewhere.visit(library, "now", "fetched");
    elsewhere.walk(0, 20);
    elsewhere.assert_arrived(20);
    elsewhere.assert_page_is_well();
    elsewhere.visit(library, "later", "fetched");
    elsewhere.walk(20, 15);
    assert_eq!(elsewhere.steps().len(), 20, "nothing was to be sent yet");
    elsewhere.assert_page_is_well();
    elsewhere.leave();
    elsewhere.assert_arrived(35);
    // The library has kept nothing that it would send again.
    elsewhere.visit(library, "now", "fetched");
    elsewhere.walk(35, 1);
    elsewhere.assert_arrived(36);
    assert_eq!(elsewhere.refused(), 0);
}

/// A page that they do not name: nothing is stored, whether its library gets settings or not, and the page goes on.
fn nothing_is_stored_for_a_page_that_is_not_named(library: &str) {
    let elsewhere = Elsewhere::new(false);
    elsewhere.visit(library, "now", "fetched");
    let asked = "performance.getEntriesByType('resource').some(({ name }) => name.startsWith(server))";
    elsewhere.tab.wait_for(asked);
    if library == "segment" {
        elsewhere.tab.wait_for("window.failure");
    }
    elsewhere.assert_page_is_well();
    elsewhere.visit(library, "now", "own");
    elsewhere.walk(0, 3);
    elsewhere.assert_page_is_well();
    wait_until(|| elsewhere.refused() > 0);
    let before = elsewhere.refused();
    elsewhere.visit(library, "later", "own");
    elsewhere.walk(3, 3);
    elsewhere.assert_page_is_well();
    elsewhere.leave();
    wait_until(|| elsewhere.refused() > before);
    assert_eq!(elsewhere.steps(), Vec::<u64>::new());
}

fn wait_until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < ARRIVAL_MAX, "it does not come true");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn segments_library_sends_each_message_once() {
    each_message_is_stored_once("segment");
}

#[test]
fn rudderstacks_library_sends_each_message_once() {
    each_message_is_stored_once("rudder");
}

#[test]
fn segments_library_does_not_break_a_page_that_is_not_named() {
    nothing_is_stored_for_a_page_that_is_not_named("segment");
}

#[test]
fn rudderstacks_library_does_not_break_a_page_that_is_not_named() {
    nothing_is_stored_for_a_page_that_is_not_named("rudder");
}

#[test]
fn what_the_browser_asks_about_first_is_allowed_to_named_pages_only() {
    let named = Elsewhere::new(true);
    named.visit("segment", "now", "fetched");
    let answer = named.tab.run("compressed(0, 10)");
    assert_eq!((&answer[0], &answer[1]["accepted"]), (&json!(200), &json!(10)), "{answer}");
    named.assert_arrived(10);
    drop(named);
    let other = Elsewhere::new(false);
    other.visit("segment", "now", "own");
    let answer = other.tab.run("compressed(0, 10).catch((reason) => reason.name)");
    assert_eq!(answer, "TypeError", "the browser does not send it");
    assert_eq!(other.steps(), Vec::<u64>::new());
}
