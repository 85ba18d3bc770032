//! What `spoor export --requests` writes is what was sent: read again, it is the same request, and imported into an
//! empty store it gives the same content.
#![expect(clippy::panic, clippy::expect_used, reason = "a test: a panic is its report")]

use spoor::{Engine, Origin, Settings, TrackRequest};
use spoor_server::protocol::json::{self, Body};
use spoor_server::protocol::{request, write};
use spoor_tests::history::history;
use spoor_tests::orders::import;
use spoor_tests::scenario::Step;
use spoor_tests::shop;
use std::path::Path;

/// Through JSON and back.
fn read_again(sent: &TrackRequest) -> TrackRequest {
    let line = write::line(&request::request(sent));
    match json::read(&line) {
        Ok(Body::One(read)) => TrackRequest { origin: sent.origin, ..*read },
        other => panic!("{}: {other:?}", String::from_utf8_lossy(&line)),
    }
}

#[test]
fn a_request_is_read_as_it_was_written() {
    let (mut count, mut from_header) = (0, 0);
    for seed in 0..40 {
        for step in history(seed, 50) {
            let Step::Track(mut sent) = step else { continue };
            if count % 3 == 0 {
                sent.user_agent.get_or_insert_with(|| "Reader/1.0".to_owned());
            }
            let read = read_again(&sent);
            let plain = |of: &TrackRequest| TrackRequest { context: None, ..of.clone() };
            assert_eq!(plain(&read), plain(&sent));
            count += 1;
            if read.context == sent.context {
                continue;
            }
            // The user agent of a header, and nothing else, was added to the context.
            from_header += 1;
            let mut members = read.context.expect("the user agent").to_value();
            assert_eq!(members["user_agent"].as_str().map(str::to_owned), sent.user_agent);
            let of = members.as_object_mut().expect("an object");
            of.remove("user_agent");
            let before = sent.context.map_or_else(|| serde_json::json!({}), |context| context.to_value());
            assert_eq!(members, before);
        }
    }
    assert!(count > 1_000 && from_header > 0, "{count} requests, {from_header} with an agent of a header");
}

/// The requests that a store would export, through JSON, page by page.
fn exported(dir: &Path, settings: &Settings) -> Vec<TrackRequest> {
    let engine = Engine::open(dir, settings.clone()).expect("opening");
    let snapshot = engine.snapshot().expect("a snapshot");
    let (mut requests, mut after) = (Vec::new(), 0);
    loop {
        let page = snapshot.requests_after(after, 50).expect("the log");
        let Some((last, _)) = page.last() else { return requests };
        after = last.0;
        requests.extend(page.iter().map(|(_, request)| read_again(request)));
    }
}

#[test]
fn what_is_exported_and_imported_has_the_same_content() {
    let (settings, requests) = (shop::settings(), shop::requests());
    let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    let first = import(dirs[0].path(), &settings, &requests, &mut |_| {}).expect("an import");
    let again = exported(dirs[0].path(), &settings);
    assert!(again.len() <= requests.len() && again.iter().all(|request| request.origin == Origin::Import));
    let second = import(dirs[1].path(), &settings, &again, &mut |_| {}).expect("an import");
    assert_eq!(second.content_digest, first.content_digest);
    assert_eq!(second.status.events, first.status.events);
}

/// A live request whose sender's clock is a day late, and one without a time: they keep the times that were found.
#[test]
fn times_are_those_that_were_found() {
    let (settings, dirs) = (shop::settings(), [0, 1].map(|_| tempfile::tempdir().expect("a directory")));
    let live = shop::requests().into_iter().take(5).map(|sent| {
        let mut sent = TrackRequest { origin: Origin::Live, ..sent };
        sent.sent_at = sent.events[0].time;
        sent
    });
    let mut live: Vec<TrackRequest> = live.collect();
    live[1].events[0].time = None;
    live[1].events[0].id = None;
    import(dirs[0].path(), &settings, &live, &mut |_| {}).expect("sound requests");
    let again = exported(dirs[0].path(), &settings);
    import(dirs[1].path(), &settings, &again, &mut |_| {}).expect("sound requests");
    let read = |dir: &Path| {
        let engine = Engine::open(dir, settings.clone()).expect("opening");
        let events = engine.snapshot().and_then(|snapshot| snapshot.events_after(0, 100)).expect("events");
        let told = events.iter().map(|event| (event.id.clone(), event.time, event.properties.clone()));
        told.collect::<Vec<_>>()
    };
    assert_eq!(read(dirs[1].path()), read(dirs[0].path()));
    assert_eq!(again.len(), 5);
}
