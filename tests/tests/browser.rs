//! The tracker in a real browser: the story of a device from its first visit on, and everything that stands in the way
//! of a page that wants to be heard.
//!
//! Needs Chromium (`apt-get install chromium`). The picture of the last test is in Cargo's folder for temporary files.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use base64::Engine as _;
use serde_json::{Value, json};
use spoor::settings::{Keys, SourceSettings};
use spoor_server::http::{Server, serve};
use spoor_server::settings::Configuration;
use spoor_server::settings::origins::Origins;
use spoor_tests::browser::{Browser, Tab};
use spoor_tests::connection::Connection;
use spoor_tests::site::{Site, Way};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One browser at a time: each takes as much of a machine as a test may.
static ONE: Mutex<()> = Mutex::new(());

/// How long the server may take to hear of what a page that is gone has sent.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

const WAITING: &str = "Object.keys(localStorage).some((key) => key.includes('.queue.'))";

/// A server, a website in front of it, and a directory for a browser.
struct World {
    site: Site,
    server: Server,
    browser: TempDir,
    _store: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Configuration)) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let store = tempfile::tempdir().unwrap();
        let mut configuration =
            Configuration { data_dir: store.path().join("data"), ..Configuration::default() };
        configuration.server.listen = "127.0.0.1:0".parse().unwrap();
        let sources = &mut configuration.engine.sources;
        sources.insert("web".to_owned(), SourceSettings { keys: Keys::Public, ..SourceSettings::default() });
        sources.insert("shop".to_owned(), SourceSettings::default());
        change(&mut configuration);
        let server = serve(&configuration).unwrap();
        let site = Site::open(server.address()).unwrap();
        site.put("/", &html("data-source='web'", ""));
        site.put("/shop", &html("data-source='shop'", ""));
        site.put("/elsewhere", "<!doctype html><title>Elsewhere</title>");
        Self { site, server, browser: tempfile::tempdir().unwrap(), _store: store, _one: one }
    }

    fn browser(&self) -> Browser {
        Browser::start(self.browser.path())
    }

    fn get(&self, path: &str) -> Value {
        let mut connection = Connection::open(&self.server.address().to_string()).unwrap();
        let (status, body) = connection.ask("GET", path, "").unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    fn profile(&self, id: &Value) -> Value {
        self.get(&format!("/api/v1/profiles/{}", id.as_str().expect("a profile id")))
    }

    /// All events that are stored, in the order of the log.
    fn events(&self) -> Vec<Value> {
        self.get("/api/v1/events?after=0")["items"].as_array().unwrap().clone()
    }

    fn types(&self) -> Vec<String> {
        self.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until so many events are stored.
    fn arrived(&self, count: usize) -> Vec<Value> {
        let until = Instant::now() + ARRIVAL_MAX;
        while self.events().len() < count && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let events = self.events();
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }

    fn wait_for_attempts(&self, count: usize) {
        let until = Instant::now() + ARRIVAL_MAX;
        while self.site.tracked().len() < count {
            assert!(Instant::now() < until, "{:#?}", self.site.tracked());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn html(attributes: &str, body: &str) -> String {
    format!("<!doctype html><title>Shop</title><script src='/spoor.js' {attributes}></script>{body}")
}

/// Different values of a member of events.
fn different<'a>(events: &'a [Value], member: &str) -> BTreeSet<&'a str> {
    events.iter().map(|event| event[member].as_str().unwrap_or("none")).collect()
}

/// Waits until nothing waits in the page's queue, and says which ids it has.
fn delivered(tab: &Tab) -> Value {
    tab.run("spoor.flush()");
    tab.wait_for(&format!("!{WAITING}"));
    tab.run("spoor.ids()")
}

fn visit(tab: &Tab, address: &str) -> Value {
    tab.go(address);
    delivered(tab)
}

#[test]
fn the_story_of_a_device() {
    let world = World::new();
    let browser = world.browser();
    let tab = browser.tab();

    // A first visit gets a profile id in local storage and a session in a cookie that ends with the browser's.
    let first = visit(&tab, &world.site.at("/"));
    assert_eq!(tab.run("localStorage.getItem('spoor.web.profile')"), first["profile"]);
    let cookies = tab.cookies();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    assert_eq!(cookies[0]["name"], "spoor_session_web");
    assert_eq!((&cookies[0]["value"], &cookies[0]["session"]), (&first["session"], &json!(true)));
    assert_eq!(world.profile(&first["profile"])["counters"]["page_views"], 1);

    // A reload keeps both.
    tab.reload();
    assert_eq!(delivered(&tab), first);
    let counters = &world.profile(&first["profile"])["counters"];
    assert_eq!((&counters["page_views"], &counters["sessions"]), (&json!(2), &json!(1)));

    // Whoever clears local storage within a session gets the profile id back.
    tab.run("localStorage.clear()");
    tab.reload();
    assert_eq!(delivered(&tab), first);
    tab.run("localStorage.clear()");
    tab.run("spoor.track('cleared')");
    assert_eq!(delivered(&tab), first);

    // Who closes the browser and comes back is the same device in a new session.
    browser.close();
    let browser = world.browser();
    let tab = browser.tab();
    let later = visit(&tab, &world.site.at("/"));
    assert_eq!(later["profile"], first["profile"]);
    assert_ne!(later["session"], first["session"]);
    let counters = &world.profile(&first["profile"])["counters"];
    assert_eq!((&counters["events"], &counters["sessions"]), (&json!(5), &json!(2)));
}

#[test]
fn two_browsers_that_log_in_with_one_address_are_one_profile() {
    let world = World::new();
    let browser = world.browser();
    let devices = [browser.stranger(), browser.stranger()];
    let mut ids = Vec::new();
    for tab in &devices {
        let before = visit(tab, &world.site.at("/"));
        tab.run("spoor.identify({ email: 'Ada@Example.com', plan: 'pro' })");
        assert_eq!(delivered(tab), before, "a device keeps its id");
        ids.push(before["profile"].clone());
    }
    assert_ne!(ids[0], ids[1]);
    for id in &ids {
        let profile = world.profile(id);
        assert_eq!(profile["primary_id"], ids[0]);
        assert_eq!(profile["ids"], json!(ids));
        assert_eq!(profile["traits"]["plan"], "pro");
        assert_eq!(profile["identifiers"][0]["value"], "ada@example.com");
        assert_eq!(profile["counters"]["events"], 4);
    }
}

#[test]
fn without_cookies_and_storage_each_event_is_a_session_of_one_device() {
    let world = World::new();
    let folder = world.browser.path().join("Default");
    std::fs::create_dir_all(&folder).unwrap();
    let blocked = json!({"profile": {"default_content_setting_values": {"cookies": 2}}});
    std::fs::write(folder.join("Preferences"), blocked.to_string()).unwrap();
    let browser = world.browser();
    let tab = browser.tab();

    tab.go(&world.site.at("/"));
    assert_eq!(tab.run("document.cookie = 'a=b', document.cookie"), "");
    assert_eq!(tab.run("(() => { try { return !localStorage } catch { return true } })()"), true);
    for name in ["one", "two", "three"] {
        tab.run(&format!("spoor.track('{name}')"));
        tab.run("spoor.flush()");
    }
    let ids = tab.run("spoor.ids()");
    assert_eq!(ids["session"], Value::Null);
    let events = world.arrived(4);
    assert_eq!(different(&events, "session").len(), 4);
    assert_eq!(different(&events, "profile"), BTreeSet::from([ids["profile"].as_str().unwrap()]));
    assert_eq!(world.profile(&ids["profile"])["counters"]["implicit_sessions"], 4);

    // The next page knows nothing of this one.
    tab.go(&world.site.at("/"));
    tab.run("spoor.flush()");
    assert_eq!(different(&world.arrived(5), "profile").len(), 2);
}

#[test]
fn without_cookies_alone_the_device_is_known_and_nothing_is_doubled() {
    let world = World::new();
    let browser = world.browser();
    let tab = browser.stranger();
    tab.before_each_page(
        "Object.defineProperty(Document.prototype, 'cookie', { get: () => '', set: () => {} })",
    );
    // Calls that come while the first is on its way wait for the profile id, also when the page is left.
    world.site.set(Way::Slow);
    tab.go(&world.site.at("/"));
    world.wait_for_attempts(1);
    tab.run("spoor.track('hasty')");
    tab.go(&world.site.at("/elsewhere"));
    world.site.set(Way::Open);
    let ids = visit(&tab, &world.site.at("/"));
    let events = world.arrived(3);
    assert_eq!(ids["session"], Value::Null);
    assert_eq!(different(&events, "session").len(), 3);

    // An answer that is lost doubles nothing.
    world.site.set(Way::AnswersLost);
    let before = world.site.tracked().len();
    tab.run("spoor.track('lost')");
    world.wait_for_attempts(before + 2);
    world.site.set(Way::Open);
    assert_eq!(delivered(&tab), ids);
    assert_eq!(world.arrived(4)[3]["profile"], ids["profile"]);
}

#[test]
fn ten_calls_on_a_first_page_make_one_profile() {
    let world = World::new();
    let browser = world.browser();
    let calls = "<script>for (let i = 0; i < 4; i++) spoor.track(`early-${i}`)</script>";
    world.site.put("/ten", &html("data-source='web'", calls));
    world.site.set(Way::Slow);

    let tab = browser.stranger();
    tab.go(&world.site.at("/ten"));
    for name in ["a", "b", "c", "d", "e"] {
        tab.run(&format!("spoor.track('{name}')"));
        std::thread::sleep(Duration::from_millis(300));
    }
    let ids = delivered(&tab);
    let events = world.arrived(10);
    assert_eq!(different(&events, "profile"), BTreeSet::from([ids["profile"].as_str().unwrap()]));
    assert_eq!(different(&events, "session"), BTreeSet::from([ids["session"].as_str().unwrap()]));
    let types: Vec<String> = world.types();
    assert_eq!(types, ["page-view", "early-0", "early-1", "early-2", "early-3", "a", "b", "c", "d", "e"]);

    // The same if the page is left at once; what it has not sent goes with it.
    let tab = browser.stranger();
    let before = world.site.tracked().len();
    tab.go(&world.site.at("/ten"));
    world.wait_for_attempts(before + 1);
    tab.run("for (const name of ['a', 'b', 'c', 'd', 'e']) spoor.track(name)");
    tab.go("about:blank");
    let events = world.arrived(20).split_off(10);
    assert_eq!(different(&events, "profile").len(), 1, "{events:#?}");
    assert_eq!(different(&events, "session").len(), 1);
    assert!(!different(&events, "profile").contains(ids["profile"].as_str().unwrap()));

    // And the same in two tabs.
    let tabs = [browser.tab(), browser.tab()];
    tabs.iter().for_each(|tab| tab.go(&world.site.at("/ten")));
    assert_eq!(delivered(&tabs[0]), delivered(&tabs[1]));
    let events = world.arrived(30).split_off(20);
    assert_eq!((different(&events, "profile").len(), different(&events, "session").len()), (1, 1));
}

#[test]
fn offline_and_back_loses_nothing_and_doubles_nothing() {
    let world = World::new();
    let browser = world.browser();
    let tab = browser.tab();
    let ids = visit(&tab, &world.site.at("/"));

    // Without a network.
    tab.set_offline(true);
    for name in ["a", "b", "c"] {
        tab.run(&format!("spoor.track('{name}')"));
        tab.run("spoor.flush()");
    }
    assert_eq!(tab.run(WAITING), true);
    tab.set_offline(false);
    assert_eq!(delivered(&tab), ids);
    assert_eq!(world.types(), ["page-view", "a", "b", "c"]);

    // The server hears it, and its answer does not come back.
    let before = world.site.tracked().len();
    world.site.set(Way::AnswersLost);
    tab.run("spoor.track('d')");
    tab.run("spoor.track('e')");
    world.wait_for_attempts(before + 3);
    world.site.set(Way::Open);
    assert_eq!(delivered(&tab), ids);
    assert_eq!(world.types(), ["page-view", "a", "b", "c", "d", "e"]);
    let sent = |attempt: usize| -> Value {
        let request: Value = serde_json::from_str(&world.site.tracked()[attempt]).unwrap();
        request["events"].clone()
    };
    assert_eq!(sent(before), sent(before + 1), "the same events with the same ids");

    // The server is not there; the tab is closed, and another opened.
    world.site.set(Way::Closed);
    tab.run("spoor.track('f')");
    tab.run("spoor.flush()");
    tab.close();
    let tab = browser.tab();
    world.site.set(Way::Open);
    assert_eq!(visit(&tab, &world.site.at("/")), ids);
    assert_eq!(world.types(), ["page-view", "a", "b", "c", "d", "e", "f", "page-view"]);
}

#[test]
fn a_server_that_is_busy_is_left_alone_and_no_stranger_is_believed() {
    let world = World::new();
    let browser = world.browser();
    let tab = browser.stranger();
    let ids = visit(&tab, &world.site.at("/"));

    world.site.set(Way::Busy);
    let before = world.site.tracked().len();
    tab.run("spoor.track('a')");
    world.wait_for_attempts(before + 1);
    let told = Instant::now();
    tab.run("spoor.track('b')");
    tab.run("spoor.flush()");
    world.wait_for_attempts(before + 2);
    assert!(told.elapsed() >= Duration::from_millis(900), "{:?}", told.elapsed());

    // A network that wants to be paid for says 200 to everything.
    world.site.set(Way::Captive);
    world.wait_for_attempts(before + 4);
    assert_eq!(tab.run(WAITING), true);
    world.site.set(Way::Open);
    assert_eq!(delivered(&tab), ids);
    assert_eq!(world.types(), ["page-view", "a", "b"]);
}

#[test]
fn what_is_refused_is_said_and_holds_nothing_up() {
    let world = World::new();
    let browser = world.browser();
    let tab = browser.stranger();
    visit(&tab, &world.site.at("/"));
    tab.run("spoor.track('a')");
    tab.run("let deep = {}; for (let i = 0; i < 40; i++) deep = { deep }; spoor.track('deep', deep)");
    tab.run("spoor.track('')");
    tab.run("spoor.track('b', { circular: window, self() {} })");
    tab.run("spoor.track('c', { when: new Date(), nothing: undefined })");
    delivered(&tab);
    assert_eq!(world.types(), ["page-view", "a", "c"]);
    let console = tab.console().join("\n");
    assert_eq!(console.matches("an event was refused").count(), 2, "{console}");
    assert_eq!(console.matches("an event was left out").count(), 1, "{console}");
    assert!(console.contains("json_too_deep") && console.contains("type_empty"), "{console}");
}

#[test]
fn views_of_one_page_are_page_views() {
    let world = World::new();
    let browser = world.browser();
    let tab = browser.stranger();
    tab.go(&world.site.at("/elsewhere"));
    tab.run(&format!("location.href = {:?}", world.site.at("/")));
    tab.wait_for("window.spoor && document.readyState === 'complete'");
    for script in [
        "history.pushState(null, '', '/shoes?size=9'); document.title = 'Shoes'",
        "history.replaceState({ filled: true }, '', '/shoes?size=9')",
        "location.hash = 'reviews'",
        "history.pushState(null, '', '/hats'); history.replaceState(null, '', '/caps'); document.title = 'Caps'",
        "history.back()",
    ] {
        tab.run(script);
        tab.run("new Promise((done) => setTimeout(done, 200))");
    }
    delivered(&tab);
    let views: Vec<[String; 3]> = world
        .events()
        .iter()
        .map(|event| {
            let of_page = |name: &str| event["properties"][name].as_str().unwrap_or("-").to_owned();
            ["path", "title", "referrer"].map(of_page)
        })
        .collect();
    let at = |path: &str| world.site.at(path);
    let expected = [
        ["/", "Shop", &at("/elsewhere")],
        ["/shoes", "Shoes", &at("/")],
        ["/hats", "Shoes", &at("/shoes?size=9")],
        ["/caps", "Caps", &at("/hats")],
        ["/shoes", "Caps", &at("/caps")],
    ];
    assert_eq!(views, expected.map(|view| view.map(str::to_owned)));
}

#[test]
fn before_consent_nothing_is_stored_and_nothing_sent() {
    let world = World::new();
    let browser = world.browser();
    let tab = browser.stranger();
    world.site.put("/asks", &html("data-source='web' data-consent='required'", ""));
    tab.go(&world.site.at("/asks"));
    tab.run("spoor.track('early', { step: 1 })");
    tab.run("spoor.flush()");
    tab.run("new Promise((done) => setTimeout(done, 500))");
    let nothing = "localStorage.length === 0 && document.cookie === ''";
    assert_eq!(tab.run(nothing), true);
    assert_eq!(world.site.tracked(), [""; 0]);

    tab.run("spoor.consent(true)");
    tab.run("spoor.consent({ marketing: true, profiling: 'refused' })");
    let ids = delivered(&tab);
    assert_eq!(world.types(), ["page-view", "early", "consent"]);
    let consents = &world.profile(&ids["profile"])["consents"];
    assert_eq!(consents, &json!({"marketing": "granted", "profiling": "refused"}));
    // The answer is remembered.
    assert_eq!(visit(&tab, &world.site.at("/asks")), ids);
    assert_eq!(world.events().len(), 4);

    tab.run("spoor.track('not sent yet'); spoor.consent(false)");
    tab.go(&world.site.at("/asks"));
    tab.run("spoor.track('later')");
    tab.run("spoor.flush()");
    assert_eq!(tab.run("Object.entries(localStorage)"), json!([["spoor.web.consent", "refused"]]));
    assert_eq!(tab.run("document.cookie"), "");
    assert_eq!(world.events().len(), 4);
}

#[test]
fn signals_of_privacy_hold_where_the_page_says_so() {
    let world = World::new();
    let browser = world.browser();
    let tab = browser.stranger();
    tab.before_each_page("Object.defineProperty(navigator, 'globalPrivacyControl', { get: () => true })");
    world.site.put("/respects", &html("data-source='web' data-privacy-signals='respect'", ""));
    tab.go(&world.site.at("/respects"));
    tab.run("spoor.track('unheard')");
    tab.run("spoor.flush()");
    assert_eq!(tab.run("localStorage.length === 0 && document.cookie === ''"), true);
    assert_eq!(world.site.tracked(), [""; 0]);
    // Who is asked and agrees has said more than the browser.
    tab.run("spoor.consent(true)");
    tab.run("spoor.track('heard')");
    delivered(&tab);
    assert_eq!(world.types(), ["heard"]);
    // A page that does not say so is not held back by it.
    let other = browser.stranger();
    other.before_each_page("Object.defineProperty(navigator, 'globalPrivacyControl', { get: () => true })");
    visit(&other, &world.site.at("/"));
    assert_eq!(world.types(), ["heard", "page-view"]);
}

#[test]
fn the_second_user_is_another_profile() {
    let world = World::new();
    let browser = world.browser();

    // Who logs out is forgotten here, also while answers are on their way.
    let tab = browser.stranger();
    world.site.set(Way::Slow);
    tab.go(&world.site.at("/"));
    tab.run("spoor.identify('u-1', { name: 'Ada' })");
    world.wait_for_attempts(1);
    tab.run("spoor.reset()");
    tab.run("spoor.identify('u-2', { name: 'Grace' })");
    world.site.set(Way::Open);
    let second = delivered(&tab);
    let events = world.arrived(3);
    assert_eq!(events[0]["profile"], events[1]["profile"]);
    assert_eq!(world.profile(&events[1]["profile"])["traits"], json!({"name": "Ada"}));
    assert_eq!(world.profile(&second["profile"])["traits"], json!({"name": "Grace"}));
    assert_eq!(events[2]["session"], second["session"]);
    assert_ne!(events[1]["session"], second["session"]);

    // Who does not is told apart by the server. A browser's key is not told; the page of a trusted source is.
    for (path, told) in [("/", false), ("/shop", true)] {
        let tab = browser.stranger();
        let source = if told { "shop" } else { "web" };
        let queue = format!("localStorage.getItem('spoor.{source}.profile')");
        let device = visit(&tab, &world.site.at(path));
        tab.run(&format!("spoor.identify('{source}-1')"));
        assert_eq!(delivered(&tab), device);
        tab.run(&format!("spoor.identify('{source}-2')"));
        let after = delivered(&tab);
        assert_eq!(after["profile"] != device["profile"], told, "{path}");
        assert_eq!(tab.run(&queue), after["profile"]);
        tab.run("spoor.track('whose')");
        delivered(&tab);
        let whose = world.events().pop().unwrap()["profile"].clone();
        let users = &world.profile(&whose)["identifiers"];
        assert_eq!(users[0]["value"], format!("{source}-2"), "{path}");
    }
}

#[test]
fn a_profile_id_that_the_server_does_not_know_is_replaced() {
    let world = World::new();
    let browser = world.browser();
    let tab = browser.stranger();
    tab.go(&world.site.at("/elsewhere"));
    tab.run("localStorage.setItem('spoor.web.profile', 'of-another-server')");
    let ids = visit(&tab, &world.site.at("/"));
    assert_ne!(ids["profile"], "of-another-server");
    assert_eq!(world.profile(&ids["profile"])["id"], ids["profile"]);
    tab.reload();
    assert_eq!(delivered(&tab), ids);
}

#[test]
fn the_session_of_another_device_takes_no_profile_id_away() {
    let world = World::new();
    let browser = world.browser();
    let tab = browser.stranger();
    // The second visit sends the id: before, the device might be anybody's.
    visit(&tab, &world.site.at("/shop"));
    let other = visit(&tab, &world.site.at("/shop"));
    let tab = browser.stranger();
    let ids = visit(&tab, &world.site.at("/shop"));
    let session = other["session"].as_str().unwrap();
    tab.run(&format!("document.cookie = 'spoor_session_shop={session}; Path=/'"));
    tab.run("spoor.track('in the session of the other')");
    assert_eq!(delivered(&tab), json!({"profile": ids["profile"], "session": session}));
    let stored = world.events().pop().unwrap();
    assert_eq!(stored["profile"], other["profile"], "the session's owner gets the event");
}

#[test]
fn calls_before_the_script_is_there_are_kept() {
    let world = World::new();
    let browser = world.browser();
    let tab = browser.stranger();
    let page = "<!doctype html><title>Shop</title><script>window.spoor = window.spoor || [];
        spoor.push(['track', 'early', { step: 1 }]); spoor.push(['nothing'])</script>
        <script async src='/spoor.js' data-source='web' data-pages='off'></script>";
    world.site.put("/early", page);
    tab.go(&world.site.at("/early"));
    tab.run("spoor.push(['track', 'late'])");
    delivered(&tab);
    assert_eq!(world.types(), ["early", "late"]);
}

#[test]
fn a_page_of_another_origin_shows_its_key_and_is_told_its_ids() {
    let world = World::with(|configuration| {
        configuration.origins.insert("web".to_owned(), Origins::Any);
    });
    let address = world.server.address();
    let body = r#"{"name": "the page", "right": "write", "source": "web"}"#;
    let (status, answer) =
        Connection::open(&address.to_string()).unwrap().ask("POST", "/api/v1/keys", body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let key = serde_json::from_str::<Value>(&answer).unwrap()["key"].clone();
    for (path, key) in [("/keyed", key.as_str().unwrap()), ("/wrong", "made-up")] {
        let script = format!("<script src='http://{address}/spoor.js' data-key='{key}'></script>");
        world.site.put(path, &format!("<!doctype html><title>Shop</title>{script}"));
    }
    let browser = world.browser();

    let tab = browser.stranger();
    let ids = visit(&tab, &world.site.at("/keyed"));
    tab.run("spoor.track('a')");
    assert_eq!(delivered(&tab), ids);
    let events = world.server.store().events_after(0, 10).unwrap();
    assert_eq!(events.len(), 2);
    for event in events {
        assert_eq!((event.source.as_str(), event.profile.as_deref()), ("web", ids["profile"].as_str()));
    }

    // A key that is wrong may be put right: nothing is given up for it.
    let tab = browser.stranger();
    tab.go(&world.site.at("/wrong"));
    tab.run("spoor.flush()");
    assert_eq!(tab.run(WAITING), true);
    assert_eq!(world.server.store().events_after(0, 10).unwrap().len(), 2);
}

/// What a reader can look at.
#[test]
fn the_example_page_shows_what_it_sends() {
    let world = World::new();
    world.site.put("/", include_str!("../browser/page.html"));
    let browser = world.browser();
    let tab = browser.stranger();
    tab.go(&world.site.at("/"));
    tab.wait_for("document.getElementById('profile').textContent.length === 36");
    // All but the last, which logs out.
    for button in 0..3 {
        tab.run(&format!("document.querySelectorAll('button')[{button}].click()"));
        tab.run("new Promise((done) => setTimeout(done, 100))");
        tab.run("spoor.flush()");
    }
    tab.wait_for("document.querySelectorAll('tbody tr').length === 4");
    let rows = tab.run("[...document.querySelectorAll('tbody tr')].map((row) => row.cells[1].textContent)");
    assert_eq!(rows, json!(["identify", "page-view", "purchase", "page-view"]));
    let picture = base64::prelude::BASE64_STANDARD.decode(tab.picture()).unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tracker.png");
    std::fs::write(&path, picture).unwrap();
}
