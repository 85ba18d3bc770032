//! Who is who in a real browser: the story of a device from its first visit on, by itself and beside others.
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
use spoor_server::settings::origins::Origins;
use spoor_tests::connection::Connection;
use spoor_tests::site::Way;
use spoor_tests::visits::{WAITING, World, delivered, different, html, visit};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

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
