//! What tests of the tracker share: a server with a website in front of it, and what happens on a visit.

use crate::browser::{Browser, Tab};
use crate::connection::Connection;
use crate::site::Site;
use serde_json::Value;
use spoor::settings::{Keys, SourceSettings};
use spoor_server::http::{Server, serve};
use spoor_server::settings::Configuration;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One browser at a time: each takes as much of a machine as a test may.
static ONE: Mutex<()> = Mutex::new(());

/// How long the server may take to hear of what a page that is gone has sent.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// Whether events wait in the page's local storage, as the page is asked.
pub const WAITING: &str = "Object.keys(localStorage).some((key) => key.includes('.queue.'))";

/// A server, a website in front of it, and a directory for a browser.
#[derive(Debug)]
pub struct World {
    /// The website.
    pub site: Site,
    /// The server behind it.
    pub server: Server,
    /// Where browsers keep what they keep.
    pub browser: TempDir,
    _store: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl World {
    /// One whose sources are `web`, a public one, and `shop`, a trusted one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts a server")]
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same, with settings changed.
    pub fn with(change: impl FnOnce(&mut Configuration)) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let store = tempfile::tempdir().expect("a sound answer");
        let mut configuration =
            Configuration { data_dir: store.path().join("data"), ..Configuration::default() };
        configuration.server.listen = "127.0.0.1:0".parse().expect("a sound answer");
        let sources = &mut configuration.engine.sources;
        sources.insert("web".to_owned(), SourceSettings { keys: Keys::Public, ..SourceSettings::default() });
        sources.insert("shop".to_owned(), SourceSettings::default());
        change(&mut configuration);
        let server = serve(&configuration).expect("a sound answer");
        let site = Site::open(server.address()).expect("a sound answer");
        site.put("/", &html("data-source='web'", ""));
        site.put("/shop", &html("data-source='shop'", ""));
        site.put("/elsewhere", "<!doctype html><title>Elsewhere</title>");
        Self { site, server, browser: tempfile::tempdir().expect("a sound answer"), _store: store, _one: one }
    }

    /// A browser that keeps what the one before it kept.
    #[must_use]
    pub fn browser(&self) -> Browser {
        Browser::start(self.browser.path())
    }

    /// What the server answers to a read.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        let mut connection = Connection::open(&self.server.address().to_string()).expect("a sound answer");
        let (status, body) = connection.ask("GET", path, "").expect("a sound answer");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("a sound answer")
    }

    /// The profile that has this id.
    #[must_use]
    pub fn profile(&self, id: &Value) -> Value {
        self.get(&format!("/api/v1/profiles/{}", id.as_str().expect("a profile id")))
    }

    /// All events that are stored, in the order of the log.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.get("/api/v1/events?after=0")["items"].as_array().expect("a sound answer").clone()
    }

    /// Their types.
    #[must_use]
    pub fn types(&self) -> Vec<String> {
        self.events().iter().map(|event| event["type"].as_str().expect("a sound answer").to_owned()).collect()
    }

    /// Waits until so many events are stored, and no more.
    pub fn arrived(&self, count: usize) -> Vec<Value> {
        let until = Instant::now() + ARRIVAL_MAX;
        while self.events().len() < count && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let events = self.events();
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }

    /// Waits until the site has seen so many requests to track.
    pub fn wait_for_attempts(&self, count: usize) {
        let until = Instant::now() + ARRIVAL_MAX;
        while self.site.tracked().len() < count {
            assert!(Instant::now() < until, "{:#?}", self.site.tracked());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A page with the tracker, which has these attributes, and a body.
#[must_use]
pub fn html(attributes: &str, body: &str) -> String {
    format!("<!doctype html><title>Shop</title><script src='/spoor.js' {attributes}></script>{body}")
}

/// Different values of a member of events.
#[must_use]
pub fn different<'a>(events: &'a [Value], member: &str) -> BTreeSet<&'a str> {
    events.iter().map(|event| event[member].as_str().unwrap_or("none")).collect()
}

/// Waits until nothing waits in the page's queue, and says which ids it has.
#[expect(clippy::must_use_candidate, reason = "it may be only waited for")]
pub fn delivered(tab: &Tab) -> Value {
    tab.run("spoor.flush()");
    tab.wait_for(&format!("!{WAITING}"));
    tab.run("spoor.ids()")
}

/// Goes to a page, and waits as above.
#[expect(clippy::must_use_candidate, reason = "it may be only waited for")]
pub fn visit(tab: &Tab, address: &str) -> Value {
    tab.go(address);
    delivered(tab)
}
