//! A page that fires several requests at once before it has an id: one device, one session, every event once.
//!
//! `SPOOR_FIRST_HITS` says how often (20), `SPOOR_FIRST_HITS_AT_ONCE` how many requests meet (64).
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use serde_json::{Value, json};
use spoor::{Engine, Event, Settings, TrackRequest};
use spoor_server::settings::Configuration;
use spoor_tests::connection::Connection;
use spoor_tests::target::wire::read_reply;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Barrier};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// What one client does when all others do the same: sends its event, of that id in that session, and returns the
/// reply.
type Send = Box<dyn FnMut(&str, &str) -> spoor::Reply + std::marker::Send>;

/// How clients are made, and how the store behind them is looked at.
struct Place {
    clients: Vec<Send>,
    engine: Engine,
}

/// Has all clients send at the same moment.
fn at_once(clients: Vec<Send>, session: &str, id_of: fn(usize) -> String) -> (Vec<Send>, Vec<spoor::Reply>) {
    let barrier = Arc::new(Barrier::new(clients.len()));
    let threads: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(client, mut send)| {
            let (barrier, session, id) = (Arc::clone(&barrier), session.to_owned(), id_of(client));
            std::thread::spawn(move || {
                barrier.wait();
                let reply = send(&session, &id);
                (send, reply)
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().expect("a client")).unzip()
}

fn play(mut place: Place) {
    let of = place.clients.len() as u64;
    let mut people: BTreeSet<String> = BTreeSet::new();
    for turn in 0..number("SPOOR_FIRST_HITS", 20) {
        for same_id in [false, true] {
            let before = place.engine.status();
            let session = format!("s-{turn}-{same_id}");
            let id_of: fn(usize) -> String =
                if same_id { |_| "m".to_owned() } else { |client| format!("m-{client}") };
            let (clients, replies) = at_once(place.clients, &session, id_of);
            place.clients = clients;
            let stored = if same_id { 1 } else { of };
            let after = place.engine.status();
            let grown = (after.fragments - before.fragments, after.sessions - before.sessions);
            assert_eq!(grown, (1, 1), "devices and sessions made, {session}");
            assert_eq!(after.events - before.events, stored, "events stored, {session}");
            let profile = one_profile(&replies, stored);
            let known = place.engine.snapshot().expect("a snapshot").profile(&profile).expect("the profile");
            assert_eq!((known.counters.events, known.counters.sessions), (stored, 1), "{session}");
            assert_eq!(known.ids, std::slice::from_ref(&profile), "{session}");
            assert!(people.insert(profile), "two sessions have one profile");
        }
    }
    assert_eq!(place.engine.check().expect("checking").faults, Vec::<String>::new());
    assert_eq!(place.engine.decide_again().expect("deciding again"), None);
}

/// The one profile that all replies name; one of them made it, and so many events were stored.
fn one_profile(replies: &[spoor::Reply], stored: u64) -> String {
    let profiles: Vec<_> = replies.iter().filter_map(|reply| reply.profile.clone()).collect();
    assert_eq!(profiles.len(), replies.len());
    let ids: BTreeSet<_> = profiles.iter().map(|profile| profile.id.clone()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(
        profiles.iter().filter(|profile| profile.created).count(),
        1,
        "one reply says that it was made"
    );
    let sessions = replies.iter().filter_map(|reply| reply.session.as_ref());
    assert_eq!(sessions.filter(|session| session.created).count(), 1, "one reply made the session");
    let events: Vec<_> = replies.iter().flat_map(|reply| &reply.events).collect();
    let new = events.iter().filter(|event| event.status == spoor::EventStatus::Stored).count();
    assert_eq!(new as u64, stored);
    let places: BTreeSet<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(places.len() as u64, stored, "repeats name the place of the first");
    profiles[0].id.clone()
}

#[test]
fn first_hits_at_once_make_one_device_in_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = Engine::open(dir.path(), Settings::default()).expect("opening");
    let client = || -> Send {
        let engine = engine.clone();
        Box::new(move |session, id| {
            let event =
                Event { id: Some(id.to_owned()), event_type: "page-view".to_owned(), ..Event::default() };
            let session = Some(session.to_owned());
            engine
                .track(TrackRequest { session, events: vec![event], ..TrackRequest::default() })
                .expect("tracking")
        })
    };
    let clients = (0..number("SPOOR_FIRST_HITS_AT_ONCE", 64)).map(|_| client()).collect();
    play(Place { clients, engine: engine.clone() });
    engine.close().expect("closing");
}

#[test]
fn first_hits_at_once_make_one_device_over_http() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = Engine::open(dir.path(), Settings::default()).expect("opening");
    let mut configuration = Configuration::default();
    configuration.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let store = Arc::new(engine.clone());
    let server = spoor_server::http::serve_store(&configuration, store, "test".to_owned()).expect("a server");
    let address = server.address().to_string();
    let client = || -> Send {
        let mut connection = Connection::open(&address).expect("connecting");
        Box::new(move |session, id| {
            let body = json!({"session": session, "events": [{"id": id, "type": "page-view"}]}).to_string();
            let (status, answer) = connection.ask("POST", "/api/v1/track", &body).expect("an answer");
            assert_eq!(status, 200, "{answer}");
            let answer: Value = serde_json::from_str(&answer).expect("JSON");
            read_reply(&answer)
        })
    };
    let clients = (0..number("SPOOR_FIRST_HITS_AT_ONCE", 64)).map(|_| client()).collect();
    play(Place { clients, engine });
    server.shutdown().expect("stopping");
}
