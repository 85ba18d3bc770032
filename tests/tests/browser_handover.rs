//! A visitor goes from one site to another: one profile, by a token in the address, and never a visitor who waits. In a
//! real browser: needs Chromium (`apt-get install chromium`).
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use serde_json::{Value, json};
use spoor_tests::browser::Tab;
use spoor_tests::connection::Connection;
use spoor_tests::site::{Site, Way};
use spoor_tests::visits::{World, delivered, html, visit};
use std::time::{Duration, Instant};

/// Two sites before one server. The shop is `127.0.0.1`, the blog `localhost`: neither sees what the other keeps.
struct Sites {
    world: World,
    blog: Site,
}

const QUERY: &str = "?a=1%202&flag&b=%C3%A4";

impl Sites {
    fn new() -> Self {
        let world = World::new();
        let blog = Site::open(world.server.address()).unwrap();
        let sites = Self { world, blog };
        sites.put("data-source='web'", "data-source='shop'");
        sites
    }

    /// A page on each that names the other, with these attributes beside.
    fn put(&self, shop: &str, blog: &str) {
        let host = |address: String| address.trim_start_matches("http://").to_owned();
        let hosts = [host(self.world.site.at("")), host(self.blog.elsewhere(""))].join(", ");
        let there = self.blog.elsewhere(&format!("/blog{QUERY}#part"));
        let links = format!(
            "<p><a id=there href='{there}'><b>The blog</b></a> <a id=other href='{there}' target=_blank>Beside</a> \
             <a id=here href='/elsewhere'>Here</a>"
        );
        self.world.site.put("/", &html(&format!("{shop} data-handover='{hosts}'"), &links));
        self.blog.put("/blog", &html(&format!("{blog} data-handover='{hosts}'"), ""));
    }

    fn asked(&self) -> usize {
        self.world.site.asked("POST /api/v1/handover").len()
    }

    fn accepted(&self) -> usize {
        self.blog.asked("POST /api/v1/handover/accept").len()
    }

    /// Waits until a token was asked for, and has come.
    fn token_is_there(&self, asked: usize) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.asked() < asked {
            assert!(Instant::now() < until, "no token was asked for");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(300));
    }

    /// The ids of the profile that has this one.
    fn ids(&self, of: &Value) -> Value {
        self.world.profile(of)["ids"].clone()
    }

    /// Whether a token came with a page, and what the page's address is.
    fn landed(&self, tab: &Tab) -> bool {
        tab.wait_for(
            "location.hostname === 'localhost' && document.readyState === 'complete' && window.spoor",
        );
        assert_eq!(tab.run("location.href"), self.blog.elsewhere(&format!("/blog{QUERY}#part")));
        let pages = self.blog.asked("GET /blog");
        let last = pages.last().unwrap();
        assert!(last.starts_with(&format!("GET /blog{QUERY}")), "{last}");
        last.contains("&spoor_handover=")
    }
}

/// Points at the middle of an element.
fn point(tab: &Tab, id: &str) -> Value {
    let at = tab.run(&format!(
        "(({{ x, y, width, height }}) => ({{ x: x + width / 2, y: y + height / 2 }}))\
         (document.getElementById('{id}').getBoundingClientRect())"
    ));
    mouse(tab, "mouseMoved", "none", &at);
    at
}

fn mouse(tab: &Tab, kind: &str, button: &str, at: &Value) {
    let event = json!({"type": kind, "x": at["x"], "y": at["y"], "button": button, "clickCount": 1});
    tab.call("Input.dispatchMouseEvent", &event);
}

fn press(tab: &Tab, button: &str, at: &Value) {
    mouse(tab, "mousePressed", button, at);
    mouse(tab, "mouseReleased", button, at);
}

#[test]
fn a_visitor_who_follows_a_link_is_one_profile_with_two_ids() {
    let sites = Sites::new();
    let browser = sites.world.browser();
    let tab = browser.tab();
    let shop = visit(&tab, &sites.world.site.at("/"));
    point(&tab, "here");
    let at = point(&tab, "there");
    sites.token_is_there(1);
    let href = "document.getElementById('there').getAttribute('href')";
    assert_eq!(tab.run(href), sites.blog.elsewhere(&format!("/blog{QUERY}#part")), "until it is clicked");
    press(&tab, "left", &at);
    assert!(sites.landed(&tab));
    let blog = delivered(&tab);
    assert_ne!(blog["profile"], shop["profile"]);
    assert_eq!(sites.ids(&shop["profile"]), json!([shop["profile"], blog["profile"]]));

    // Nobody was told of the token: no page view, no referrer, no bookmark.
    let events = sites.world.events();
    assert_eq!(events.len(), 2, "{events:#?}");
    assert!(!json!(events).to_string().contains("spoor_handover"), "{events:#?}");
    assert_eq!(events[1]["profile"], blog["profile"]);
    tab.reload();
    assert_eq!(delivered(&tab), blog);
    assert_eq!((sites.asked(), sites.accepted()), (1, 1));

    // It can be seen, and taken back.
    let links = sites.world.get(&format!("/api/v1/profiles/{}/links", blog["profile"].as_str().unwrap()));
    assert_eq!(links["items"][0]["kind"], "handover", "{links}");
    let history = sites.world.get(&format!("/api/v1/profiles/{}/history", shop["profile"].as_str().unwrap()));
    let kinds: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["handed_over", "created", "created"]);
    let merge = history["items"][0]["merge"].as_str().unwrap();
    let mut connection = Connection::open(&sites.world.server.address().to_string()).unwrap();
    let (status, _) = connection.ask("DELETE", &format!("/api/v1/merges/{merge}"), "").unwrap();
    assert_eq!(status, 200);
    assert_eq!(sites.ids(&shop["profile"]), json!([shop["profile"]]));
    assert_eq!(sites.ids(&blog["profile"]), json!([blog["profile"]]));
}

#[test]
fn whoever_is_known_where_they_come_to_stays_who_they_are() {
    let sites = Sites::new();
    let browser = sites.world.browser();
    let tab = browser.tab();
    let blog = visit(&tab, &sites.blog.elsewhere("/blog"));
    let shop = visit(&tab, &sites.world.site.at("/"));
    let at = point(&tab, "there");
    sites.token_is_there(1);
    press(&tab, "left", &at);
    assert!(sites.landed(&tab));
    assert_eq!(delivered(&tab), blog);
    assert_eq!(sites.ids(&shop["profile"]), json!([shop["profile"]]));

    // A session brings the device back: nobody is handed over there either.
    tab.run("localStorage.clear()");
    visit(&tab, &sites.world.site.at("/"));
    let at = point(&tab, "there");
    sites.token_is_there(2);
    press(&tab, "left", &at);
    assert!(sites.landed(&tab));
    assert_eq!(delivered(&tab), blog);
    assert_eq!(sites.accepted(), 0);
}

#[test]
fn a_token_is_good_for_one() {
    let sites = Sites::new();
    let browser = sites.world.browser();
    let tab = browser.tab();
    let shop = visit(&tab, &sites.world.site.at("/"));
    let there = sites.blog.elsewhere(&format!("/blog{QUERY}#part"));
    let address = tab.run(&format!("spoor.handover({there:?})"));
    let address = address.as_str().unwrap();
    assert!(address.contains("&spoor_handover=") && address.ends_with("#part"), "{address}");
    let (one, other) = (browser.stranger(), browser.stranger());
    let ids = [&one, &other].map(|tab| {
        tab.go(address);
        assert!(sites.landed(tab));
        delivered(tab)["profile"].clone()
    });
    assert_eq!(sites.accepted(), 2);
    assert_eq!(sites.ids(&shop["profile"]), json!([shop["profile"], ids[0]]));
    assert_eq!(sites.ids(&ids[1]), json!([ids[1]]));
    // Any text is taken for an address.
    for odd in ["", "mailto:ada@example.com#a", "/blog#?b"] {
        let carried = tab.run(&format!("spoor.handover({odd:?})"));
        let carried = carried.as_str().unwrap();
        assert!(carried.replace(carried_part(carried), "") == odd, "{odd}: {carried}");
    }
}

/// The token with its name, and the mark before it.
fn carried_part(address: &str) -> &str {
    let begin = address.find("?spoor_handover=").unwrap();
    address[begin..].split('#').next().unwrap()
}

#[test]
fn keys_other_buttons_and_other_tabs_carry_it_too() {
    let sites = Sites::new();
    let browser = sites.world.browser();
    let carry = |how: &dyn Fn(&Tab)| {
        let (tab, asked) = (browser.stranger(), sites.asked());
        let shop = visit(&tab, &sites.world.site.at("/"));
        let profiles = sites.blog.asked("POST /api/v1/handover/accept").len();
        tab.run("document.getElementById('here').focus()");
        how(&tab);
        let until = Instant::now() + Duration::from_secs(20);
        while sites.ids(&shop["profile"]).as_array().unwrap().len() < 2 {
            assert!(Instant::now() < until, "{:?} {:?}", sites.blog.asked("GET /blog"), sites.asked());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!((sites.asked(), sites.accepted()), (asked + 1, profiles + 1));
        let href =
            "document.getElementById('there') && document.getElementById('there').href.includes('spoor_')";
        assert_ne!(tab.run(href), true, "the link is as it was");
    };
    // The keyboard.
    carry(&|tab| {
        let asked = sites.asked();
        tab.run("document.getElementById('there').focus()");
        sites.token_is_there(asked + 1);
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13});
            tab.call("Input.dispatchKeyEvent", &event);
        }
    });
    // Another tab, as the link says or the visitor.
    for (id, button) in [("other", "left"), ("there", "middle")] {
        carry(&|tab| {
            let asked = sites.asked();
            let at = point(tab, id);
            sites.token_is_there(asked + 1);
            press(tab, button, &at);
        });
    }
}

#[test]
fn nobody_waits_for_a_server_that_does_not_answer() {
    let sites = Sites::new();
    let browser = sites.world.browser();

    // Where the visitor comes from.
    sites.world.site.set_handovers(Way::Closed);
    let tab = browser.stranger();
    let shop = visit(&tab, &sites.world.site.at("/"));
    let address = tab.run("spoor.handover('/blog')");
    assert_eq!(address, "/blog");
    let at = point(&tab, "there");
    press(&tab, "left", &at);
    assert!(!sites.landed(&tab));
    delivered(&tab);
    assert_eq!(sites.ids(&shop["profile"]), json!([shop["profile"]]));
    assert_eq!(sites.accepted(), 0);

    // Where they come to: it begins as any other visit, once.
    sites.world.site.set_handovers(Way::Open);
    for (way, ids) in
        [(Way::Closed, 1), (Way::Busy, 1), (Way::Captive, 1), (Way::AnswersLost, 2), (Way::Slow, 2)]
    {
        sites.blog.set_handovers(way);
        let (tab, asked, before) = (browser.stranger(), sites.asked(), sites.world.events().len());
        let shop = visit(&tab, &sites.world.site.at("/"));
        let at = point(&tab, "there");
        sites.token_is_there(asked + 1);
        press(&tab, "left", &at);
        assert!(sites.landed(&tab), "{way:?}");
        tab.run("spoor.track('read')");
        let blog = delivered(&tab);
        let known = sites.ids(&shop["profile"]);
        assert_eq!(known.as_array().unwrap().len(), ids, "{way:?}");
        // Of an answer that was lost there is a device, and nobody has it.
        let joined = known.as_array().unwrap().contains(&blog["profile"]);
        assert_eq!(joined, way == Way::Slow, "{way:?}");
        let events = sites.world.events();
        assert_eq!(events.len(), before + 3, "{way:?}");
        assert!(events[before + 1..].iter().all(|event| event["profile"] == blog["profile"]), "{way:?}");
    }
}

#[test]
fn without_consent_no_token_is_asked_for_and_none_is_used() {
    let sites = Sites::new();
    let browser = sites.world.browser();
    let required = "data-consent='required'";
    sites.put(&format!("data-source='web' {required}"), &format!("data-source='shop' {required}"));
    let tab = browser.tab();
    tab.go(&sites.world.site.at("/"));
    let at = point(&tab, "there");
    std::thread::sleep(Duration::from_millis(300));
    press(&tab, "left", &at);
    assert!(!sites.landed(&tab));
    assert_eq!(sites.asked(), 0);

    tab.go(&sites.world.site.at("/"));
    tab.run("spoor.consent(true)");
    let shop = delivered(&tab);
    let at = point(&tab, "there");
    sites.token_is_there(1);
    press(&tab, "left", &at);
    assert!(sites.landed(&tab));
    tab.run("spoor.flush()");
    tab.run("new Promise((done) => setTimeout(done, 500))");
    assert_eq!((sites.accepted(), tab.run("localStorage.length")), (0, json!(0)));
    // Within its minute it is good still.
    tab.run("spoor.consent(true)");
    let blog = delivered(&tab);
    assert_eq!(sites.ids(&shop["profile"]), json!([shop["profile"], blog["profile"]]));

    // Who takes it back on the way is not handed over.
    visit(&tab, &sites.world.site.at("/"));
    let at = point(&tab, "there");
    sites.token_is_there(2);
    tab.run("spoor.consent(false)");
    press(&tab, "left", &at);
    assert!(!sites.landed(&tab));
}

#[test]
fn a_privacy_signal_counts_here_too() {
    let sites = Sites::new();
    let browser = sites.world.browser();
    let respects = "data-privacy-signals='respect'";
    sites.put(&format!("data-source='web' {respects}"), &format!("data-source='shop' {respects}"));
    // A token of somebody else.
    sites.world.site.put("/plain", &html("data-source='web'", ""));
    let other = browser.stranger();
    visit(&other, &sites.world.site.at("/plain"));
    let address =
        other.run(&format!("spoor.handover({:?})", sites.blog.elsewhere(&format!("/blog{QUERY}#part"))));
    let tab = browser.stranger();
    tab.before_each_page("Object.defineProperty(navigator, 'globalPrivacyControl', { get: () => true })");
    tab.go(&sites.world.site.at("/"));
    point(&tab, "there");
    tab.go(address.as_str().unwrap());
    assert!(sites.landed(&tab));
    tab.run("spoor.flush()");
    assert_eq!((sites.asked(), sites.accepted()), (1, 0));
}
