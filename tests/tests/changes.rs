//! The stream of changes: complete, in order, the same for ever, and enough to know who is who.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use serde_json::Value;
use spoor::settings::{ProfileIds, Sessions, SourceSettings};
use spoor::{Act, Engine, Event, Settings, Timestamp, TrackRequest};
use spoor_server::http::{Server, serve_store};
use spoor_server::protocol::{change, write};
use spoor_server::settings::Configuration;
use spoor_tests::crowd::{self, Crowd, Manner};
use spoor_tests::history::{self, Dice};
use spoor_tests::scenario::{BEGIN, Player, Step};
use spoor_tests::subscription::Subscription;
use spoor_tests::target::{Embedded, Maker, Target};
use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PAGE: &str = include_str!("../../docs/changes.md");
const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// Changes after a position as the stream writes them, read in pages of so many.
fn lines(engine: &Engine, mut after: u64, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let changes = engine.snapshot().unwrap().changes_after(after, limit).unwrap();
        let Some(last) = changes.last() else { return lines };
        after = last.seq.0;
        let texts =
            changes.iter().map(|found| String::from_utf8(write::line(&change::change(found))).unwrap());
        lines.extend(texts.map(|line| line.trim_end().to_owned()));
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn seq(line: &str) -> u64 {
    parsed(line)["seq"].as_u64().unwrap()
}

/// A change has the members that the description of the interface names, and no others.
fn assert_described(change: &Value, schema: &Value, schemas: &Value) {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    let schema = name.map_or(schema, |name| &schemas[name]);
    if let (Some(items), Some(found)) = (schema.get("items"), change.as_array()) {
        found.iter().for_each(|item| assert_described(item, items, schemas));
    }
    let Some(described) = schema["properties"].as_object() else { return };
    let found = change.as_object().unwrap_or_else(|| panic!("{change}"));
    for (name, member) in found {
        assert_described(
            member,
            described.get(name).unwrap_or_else(|| panic!("{name} of {change}")),
            schemas,
        );
    }
    for needed in schema["required"].as_array().unwrap() {
        assert!(found.contains_key(needed.as_str().unwrap()), "{needed} of {change}");
    }
}

#[test]
fn changes_are_what_the_description_says() {
    let document = spoor_server::openapi::document();
    let schemas = &document["components"]["schemas"];
    for line in pasts().flat_map(|past| past.live) {
        assert_described(&parsed(&line), &schemas["Change"], schemas);
    }
}

/// Every position from `first` on, once and in order.
fn assert_without_gaps(lines: &[String], first: u64) {
    for (line, expected) in lines.iter().zip(first..) {
        assert_eq!(seq(line), expected);
    }
}

/// Acts of every kind, on what there is.
fn random_act(dice: &mut Dice, lines: &[String]) -> Act {
    let (some, any) = (parsed(dice.pick::<String>(lines)), parsed(dice.pick::<String>(lines)));
    let profile = |of: &Value| of["event"]["profile"].as_str().unwrap_or("nobody").to_owned();
    let mut links = lines.iter().rev().flat_map(|line| {
        let links = parsed(line)["links"].as_array().cloned().unwrap_or_default();
        links.into_iter().filter_map(|link| link["identifier"].as_str().map(str::to_owned))
    });
    let identifier = links.next().unwrap_or_else(|| "email:ada@example.com".to_owned());
    let merges = lines.iter().flat_map(|line| parsed(line)["merges"].as_array().cloned().unwrap_or_default());
    let merges: Vec<String> = merges.filter_map(|of| of["merge"].as_str().map(str::to_owned)).collect();
    match dice.below(8) {
        0 | 1 if !merges.is_empty() => {
            Act::Undo { merge: dice.pick(&merges).clone(), keep_apart: dice.percent(50) }
        }
        2 => Act::Detach { profile: profile(&some), identifier },
        3 => {
            let identifier = format!("email:by-hand-{}@example.com", dice.below(3));
            Act::Attach { profile: profile(&some), identifier }
        }
        4 => Act::Block { identifier },
        5 => {
            let blocked = lines.iter().rev().map(|line| parsed(line)).find(|of| of["kind"] == "blocked");
            let blocked = blocked.and_then(|of| of["act"]["identifier"].as_str().map(str::to_owned));
            Act::Unblock { identifier: blocked.unwrap_or(identifier) }
        }
        6 => Act::Handover { profile: profile(&some) },
        _ => Act::Merge { profile: profile(&some), other: profile(&any), force: true },
    }
}

/// A store with a past, and each change of it as it was read when it had just happened.
struct Past {
    engine: Engine,
    dir: PathBuf,
    settings: Settings,
    live: Vec<String>,
    /// What keeps the directory.
    _keeper: Box<dyn Any>,
}

impl Past {
    fn of(store: &Embedded, settings: Settings, keeper: impl FnOnce() -> Box<dyn Any>) -> Self {
        let (engine, dir) = (store.engine().clone(), store.directory().to_owned());
        Self { engine, dir, settings, live: Vec::new(), _keeper: keeper() }
    }

    fn follow(&mut self) {
        let after = self.live.len() as u64;
        self.live.extend(lines(&self.engine, after, 100));
    }
}

/// People who may all turn out to be one, or who do not, and acts of every kind.
fn lived(seed: u64, requests: usize) -> Past {
    let mut settings = crowd::settings();
    // An id stands for one device only, so that a follower may go by it.
    for source in settings.sources.values_mut() {
        source.ids = Some("one".to_owned());
    }
    let mut store = Embedded::new(&settings, BEGIN);
    let manner = Manner { shared_values: seed.is_multiple_of(2), forgetful: true, ..Manner::default() };
    let mut past = Past::of(&store, settings, || Box::new(()));
    let mut dice = Dice::new(seed);
    for (number, request) in (1..).zip(Crowd::new(seed, manner).requests(requests)) {
        // What a rule refuses is not what this is about.
        let _ = store.track(&request);
        if number % 10 == 0 && !past.live.is_empty() {
            let _ = store.act(&random_act(&mut dice, &past.live), false);
        }
        if number % 40 == 0 {
            store.set_clock(Timestamp(BEGIN.0 + i64::from(number) * DAY_US));
        }
        past.follow();
    }
    past._keeper = Box::new(store);
    past
}

thread_local! {
    /// What a history made is played on: a maker is a plain function.
    static MADE: RefCell<Option<Past>> = const { RefCell::new(None) };
}

/// A random history, which meets every rule: switches, sessions that a late event joins, quarantine.
fn played(seed: u64, requests: usize) -> Past {
    let maker: Maker = |settings, now| {
        let store = Embedded::new(settings, now);
        MADE.set(Some(Past::of(&store, settings.clone(), || Box::new(()))));
        Box::new(store)
    };
    let settings = history::settings();
    let mut player = Player::new(maker, &settings);
    let mut past = MADE.take().unwrap();
    for step in history::history(seed, requests) {
        // The store that is followed stays open.
        if !matches!(step, Step::Reopen | Step::Crash) {
            player.step(&step);
            past.follow();
        }
    }
    past._keeper = Box::new(player);
    past
}

/// What chance seldom makes: a late event between two sessions of the server's, and somebody else who sits down and is
/// known already.
fn arranged() -> Past {
    let minutes = |minutes: i64| Some(Timestamp(BEGIN.0 + minutes * 60_000_000));
    let quiet = SourceSettings {
        profile_ids: ProfileIds::Client,
        sessions: Sessions::Inactivity,
        ..SourceSettings::default()
    };
    let settings = Settings { sources: [("quiet".to_owned(), quiet)].into(), ..Settings::default() };
    let mut store = Embedded::new(&settings, minutes(0).unwrap());
    let mut past = Past::of(&store, settings, || Box::new(()));
    let steps = [
        ("ada-1", -100, "u-1"),
        ("ada-1", -50, "u-1"),
        ("ada-1", -75, "u-1"),
        ("eve-1", -40, "u-2"),
        ("ada-1", -10, "u-2"),
    ];
    for (number, (profile, minute, user)) in (0..).zip(steps) {
        let event = Event {
            id: Some(format!("m-{number}")),
            event_type: "t".to_owned(),
            time: minutes(minute),
            identifiers: vec![("user_id".to_owned(), user.to_owned())],
            ..Event::default()
        };
        let source = Some("quiet".to_owned());
        let request = TrackRequest {
            source,
            profile: Some(profile.to_owned()),
            events: vec![event],
            ..TrackRequest::default()
        };
        store.track(&request).unwrap();
        past.follow();
    }
    past._keeper = Box::new(store);
    past
}

fn pasts() -> impl Iterator<Item = Past> {
    let random = (1..=4).map(|seed| lived(seed, 120)).chain((1..=8).map(|seed| played(seed, 80)));
    random.chain([arranged()])
}

/// The same log in another place, where there is no index.
fn rebuilt(dir: &Path, settings: &Settings) -> Vec<String> {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("log")).unwrap();
    for file in std::fs::read_dir(dir.join("log")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join("log").join(file.file_name())).unwrap();
    }
    let engine = Engine::open(copy.path(), settings.clone()).unwrap();
    let rebuilt = lines(&engine, 0, 64);
    engine.close().unwrap();
    rebuilt
}

#[test]
fn a_change_says_the_same_for_ever() {
    let mut seen = String::new();
    for Past { engine, dir, settings, live, _keeper } in pasts() {
        assert_without_gaps(&live, 1);
        assert_eq!(engine.status().position, live.len() as u64);
        assert_eq!(lines(&engine, 0, 7), live, "later, in short pages");
        engine.checkpoint().unwrap();
        assert_eq!(lines(&engine, 0, 1_000), live, "from the index");
        engine.close().unwrap();
        let engine = Engine::open(&dir, settings.clone()).unwrap();
        assert_eq!(lines(&engine, 0, 64), live, "opened again");
        engine.close().unwrap();
        assert_eq!(rebuilt(&dir, &settings), live, "rebuilt");
        seen.extend(live);
    }
    for kind in ["event", "session_ended", "merged", "undone", "detached", "attached", "blocked", "unblocked"]
    {
        assert!(seen.contains(&format!("\"kind\":\"{kind}\"")), "{kind} did not happen");
    }
    for outcome in ["merged", "switched", "quarantined", "refused"] {
        assert!(seen.contains(&format!("\"outcome\":\"{outcome}\"")), "nothing was {outcome}");
    }
    assert!(seen.contains("\"rules\":{"), "no rules were told");
    assert!(seen.contains("\"sessions_joined\":["), "no sessions turned out to be one");
    assert!(seen.contains("\"ends_session\":true"), "no client ended a session");
}

/// Who is one profile, as a follower knows it that has nothing but changes: ids by primary id.
#[derive(Default)]
struct Followed(BTreeMap<String, BTreeSet<String>>);

impl Followed {
    fn take(&mut self, line: &str) {
        let change = parsed(line);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        for id in list(&change["created"]) {
            self.0.insert(text(&id), [text(&id)].into());
        }
        let profiles = list(&change["profiles"]);
        if profiles.is_empty() {
            for merge in list(&change["merges"]) {
                let sides = merge["profiles"].as_array().unwrap();
                let of = |side: &Value| text(side);
                let mut both = self.0.remove(&of(&sides[0])).unwrap_or_else(|| panic!("{line}"));
                both.extend(self.0.remove(&of(&sides[1])).unwrap_or_else(|| panic!("{line}")));
                self.0.insert(text(&merge["primary_id"]), both);
            }
        }
        for profile in &profiles {
            let ids: BTreeSet<String> = list(&profile["ids"]).iter().map(text).collect();
            self.0.retain(|_, others| others.is_disjoint(&ids));
        }
        for profile in &profiles {
            let ids = list(&profile["ids"]).iter().map(text).collect();
            self.0.insert(text(&profile["primary_id"]), ids);
        }
    }
}

#[test]
fn a_follower_knows_who_is_who() {
    let (mut joined, mut parted) = (0, 0);
    for Past { engine, live, _keeper, .. } in pasts() {
        let mut followed = Followed::default();
        for line in &live {
            followed.take(line);
            parted +=
                usize::from(parsed(line)["profiles"].as_array().is_some_and(|profiles| profiles.len() > 1));
        }
        for (primary, ids) in &followed.0 {
            let snapshot = engine.snapshot().unwrap();
            let profile = snapshot.profile(primary).unwrap_or_else(|error| panic!("{primary}: {error}"));
            assert_eq!(&profile.primary_id, primary);
            assert_eq!(&profile.ids.into_iter().collect::<BTreeSet<_>>(), ids);
            joined += usize::from(ids.len() > 1);
        }
        assert_eq!(engine.status().profiles, followed.0.len() as u64);
    }
    assert!(joined > 4 && parted > 5, "{joined} profiles of several ids, {parted} acts that parted some");
}

fn served(engine: &Engine) -> (Server, String) {
    let mut configuration = Configuration::default();
    configuration.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = serve_store(&configuration, Arc::new(engine.clone()), "test".to_owned()).unwrap();
    let address = server.address().to_string();
    (server, address)
}

fn subscribe(address: &str, query: &str) -> Subscription {
    let subscription = Subscription::open(address, &format!("/api/v1/changes?{query}"), "").unwrap();
    assert_eq!(subscription.status, 200, "{}", subscription.head);
    subscription
}

fn store_in_background(engine: &Engine, seed: u64, requests: usize) -> std::thread::JoinHandle<()> {
    let engine = engine.clone();
    std::thread::spawn(move || {
        for request in Crowd::new(seed, Manner::default()).requests(requests) {
            let _ = engine.track(request);
        }
    })
}

#[test]
fn a_subscriber_that_is_killed_a_hundred_times_sees_every_change_once_and_in_order() {
    let store = Embedded::new(&crowd::settings(), BEGIN);
    let (server, address) = served(store.engine());
    let writing = store_in_background(store.engine(), 7, 600);
    let mut dice = Dice::new(7);
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..100 {
        let mut subscription = subscribe(&address, &format!("after={}", seen.len()));
        for _ in 0..dice.below(12) {
            match subscription.line().unwrap() {
                Some(line) if line.is_empty() => {}
                Some(line) => seen.push(line),
                None => panic!("an endless stream ended"),
            }
            if writing.is_finished() && seen.len() as u64 == store.engine().status().position {
                break;
            }
        }
        // Dropped in the middle of what it was sent.
    }
    writing.join().unwrap();
    seen.extend(subscribe(&address, &format!("after={}&until_now=true", seen.len())).rest().unwrap());
    assert_without_gaps(&seen, 1);
    assert!(seen.len() > 500, "{}", seen.len());
    assert_eq!(seen, lines(store.engine(), 0, 100));
    server.shutdown().unwrap();
}

#[test]
fn many_follow_at_once_and_one_that_does_not_read_holds_up_nobody() {
    let store = Embedded::new(&crowd::settings(), BEGIN);
    let (server, address) = served(store.engine());
    let idle = subscribe(&address, "");
    let followers: Vec<_> = (0..12)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || {
                let mut subscription = subscribe(&address, "limit=300");
                let mut lines = Vec::new();
                while let Some(line) = subscription.line().unwrap() {
                    lines.extend((!line.is_empty()).then_some(line));
                }
                lines
            })
        })
        .collect();
    store_in_background(store.engine(), 3, 400).join().unwrap();
    let expected = lines(store.engine(), 0, 1_000);
    assert!(expected.len() > 300, "{}", expected.len());
    for follower in followers {
        assert_eq!(follower.join().unwrap(), expected[..300]);
    }
    drop(idle);
    server.shutdown().unwrap();
}

fn event(session: &str, id: &str, properties: &str) -> TrackRequest {
    let properties = Some(spoor::Json::parse(properties).unwrap());
    let event = Event { id: Some(id.to_owned()), event_type: "t".to_owned(), properties, ..Event::default() };
    TrackRequest { session: Some(session.to_owned()), events: vec![event], ..TrackRequest::default() }
}

#[test]
fn server_sent_events_resume_where_the_browser_was() {
    let store = Embedded::new(&Settings::default(), BEGIN);
    let (server, address) = served(store.engine());
    for number in 0..5 {
        store.engine().track(event("s", &format!("m-{number}"), "{\"a\":\n1}")).unwrap();
    }
    let headers = "accept: text/event-stream\r\nlast-event-id: 2\r\n";
    let target = "/api/v1/changes?after=0&until_now=true";
    let subscription = Subscription::open(&address, target, headers).unwrap();
    assert!(subscription.head.contains("content-type: text/event-stream\r\n"), "{}", subscription.head);
    assert!(subscription.head.contains("cache-control: no-store\r\n"));
    let all = subscription.rest().unwrap();
    let expected = lines(store.engine(), 2, 10);
    assert_eq!(all[0], "retry: 1000");
    assert_eq!(all.len(), 1 + 2 * expected.len(), "{all:?}");
    for (pair, line) in all[1..].chunks(2).zip(&expected) {
        assert_eq!(pair[0], format!("id: {}", seq(line)));
        assert_eq!(pair[1], format!("data: {line}"));
    }
    server.shutdown().unwrap();
}

#[test]
fn a_stream_ends_where_it_was_asked_to() {
    let store = Embedded::new(&Settings::default(), BEGIN);
    let (server, address) = served(store.engine());
    assert_eq!(subscribe(&address, "until_now=true").rest().unwrap(), Vec::<String>::new());
    // Large enough that one read does not take all.
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(500_000));
    for number in 0..6 {
        store.engine().track(event("s", &format!("m-{number}"), &large)).unwrap();
    }
    let all = subscribe(&address, "until_now=true").rest().unwrap();
    assert_without_gaps(&all, 1);
    assert_eq!(all.len(), 6);
    assert_eq!(subscribe(&address, "until_now=true&limit=4").rest().unwrap(), all[..4]);
    assert_eq!(subscribe(&address, "after=4&until_now=true").rest().unwrap(), all[4..]);

    let mut ahead = Subscription::open(&address, "/api/v1/changes?after=7", "").unwrap();
    assert_eq!(ahead.status, 409);
    assert!(ahead.line().is_err(), "not a stream");

    // An endless one is ended by the server's stop, one with an end that it has not come to is broken off.
    let (mut endless, mut limited) = (subscribe(&address, "after=5"), subscribe(&address, "limit=7"));
    assert_eq!(endless.line().unwrap().as_ref(), all.last());
    for line in &all {
        assert_eq!(limited.line().unwrap().as_ref(), Some(line));
    }
    server.shutdown().unwrap();
    assert_eq!(endless.line().unwrap(), None);
    assert_eq!(limited.line().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_stream_on_which_nothing_happens_gives_signs_of_life() {
    let store = Embedded::new(&Settings::default(), BEGIN);
    let (server, address) = served(store.engine());
    let mut subscription = subscribe(&address, "");
    assert_eq!(subscription.line().unwrap().as_deref(), Some(""));
    server.shutdown().unwrap();
}

/// Whether `found` is what the page shows, where `…` stands for anything.
fn same(shown: &Value, found: &Value) -> bool {
    match (shown, found) {
        (Value::String(any), _) if any == "…" => true,
        (Value::Array(shown), Value::Array(found)) => {
            shown.len() == found.len() && shown.iter().zip(found).all(|(shown, found)| same(shown, found))
        }
        (Value::Object(shown), Value::Object(found)) => {
            shown.len() == found.len()
                && shown.iter().all(|(name, shown)| found.get(name).is_some_and(|found| same(shown, found)))
        }
        _ => shown == found,
    }
}

#[test]
fn the_page_shows_what_happens() {
    let mut store = Embedded::new(&Settings::default(), BEGIN);
    let blocks = |kind: &str| {
        let begin = format!("```{kind}\n");
        let blocks = PAGE.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap());
        blocks.map(str::to_owned).collect::<Vec<_>>()
    };
    for request in blocks("json track") {
        let request = spoor_tests::target::wire::read_request(&request).unwrap();
        store.track(&request).unwrap();
    }
    store.act(&Act::Undo { merge: "m2-0".to_owned(), keep_apart: false }, false).unwrap();
    store.set_clock(Timestamp(BEGIN.0 + DAY_US));
    let found = lines(store.engine(), 0, 10);
    let shown: Vec<Value> = blocks("json change").iter().map(|text| parsed(text)).collect();
    assert_eq!(shown.len(), 4);
    for (shown, found) in shown.iter().zip(&found) {
        assert!(same(shown, &parsed(found)), "shown: {shown}\nfound: {found}");
    }
}
