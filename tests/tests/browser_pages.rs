//! What stands in the way of a page that wants to be heard: broken lines, strangers in between, what cannot be sent, and
//! visitors who do not agree. In a real browser: needs Chromium (`apt-get install chromium`).
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use serde_json::{Value, json};
use spoor_tests::site::Way;
use spoor_tests::visits::{WAITING, World, delivered, html, visit};
use std::time::{Duration, Instant};

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
