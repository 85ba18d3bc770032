//! Import into a store that does what a test says: order, counting, rejections by line, overload, failure.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod fake;

use fake::{Fake, Mood};
use spoor_server::command::import::{StoreSink, Tally, import};
use spoor_server::command::lines::Lines;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

fn run(fake: &Arc<Fake>, text: &str) -> Result<Tally, String> {
    let mut lines = Lines::new(Cursor::new(text.to_owned().into_bytes()), None).unwrap();
    let sink = StoreSink::new(Arc::clone(fake) as _, Tally::new(None));
    import(&mut lines, sink, &AtomicBool::new(false)).map_err(|failed| format!("{failed:?}"))
}

fn sessions(fake: &Fake) -> Vec<String> {
    fake.seen().into_iter().filter_map(|request| request.session).collect()
}

#[test]
fn every_line_is_accounted_for() {
    let fake = Fake::new();
    let text = concat!(
        "{\"session\":\"a\",\"events\":[{\"type\":\"x\"},{\"type\":\"y\"}]}\n",
        "\n",
        "{\"session\":5}\n",
        "[{\"session\":\"b\"},{\"events\":7},{\"source\":\"nowhere\"}]\n",
        "not JSON\r\n",
        "{\"session\":\"c\",\"events\":[{\"type\":\"x\"}]}",
    );
    let tally = run(&fake, text).unwrap();
    assert_eq!((tally.requests, tally.stored, tally.duplicate, tally.rejected), (7, 3, 0, 4));
    let mut summary: Vec<_> = tally.summary().lines().map(str::to_owned).collect();
    // What the reader rejects may be counted before what the store does.
    summary.sort();
    assert_eq!(
        summary,
        [
            "  line 3: wrong_type (session): invalid type: integer `5`, expected text",
            "  line 4, request 1: wrong_type (events): invalid type: integer `7`, expected a list of events",
            "  line 4, request 2: unknown_source (source): no such source",
            "  line 5: json_invalid: expected ident at line 1 column 2",
            "7 requests: 3 events stored, 0 duplicate; 4 requests rejected",
        ]
    );
    assert!(fake.seen().iter().all(|request| request.origin == spoor::Origin::Import));
}

#[test]
fn more_than_can_be_under_way_arrives_in_order() {
    let fake = Fake::new();
    let text: String = (0..10_000).map(|n| format!("{{\"session\":\"{n}\"}}\n")).collect();
    let tally = run(&fake, &text).unwrap();
    assert_eq!((tally.requests, tally.rejected), (10_000, 0));
    assert_eq!(sessions(&fake), (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_finds_no_room_is_sent_again_before_what_follows() {
    let fake = Fake::new();
    fake.mood(Mood::OverloadedAfter(1));
    let soon = Arc::clone(&fake);
    let helper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        soon.mood(Mood::Sound);
    });
    let text = "{\"session\":\"a\"}\n[{\"session\":\"b\"},{\"session\":\"c\"}]\n{\"session\":\"d\"}\n";
    let tally = run(&fake, text).unwrap();
    helper.join().unwrap();
    assert_eq!((tally.requests, tally.rejected), (4, 0));
    let mut seen = sessions(&fake);
    assert!(seen.iter().filter(|id| *id == "b").count() > 1, "it was not turned away: {seen:?}");
    seen.dedup();
    assert_eq!(seen, ["a", "b", "c", "d"]);
}

#[test]
fn a_store_that_fails_ends_the_import_and_says_what_was_done() {
    for (mood, reason) in [(Mood::Closed, "closed"), (Mood::Indeterminate, "may or may not")] {
        let fake = Fake::new();
        fake.mood(mood);
        let failed = run(&fake, &"{}\n".repeat(20_000)).unwrap_err();
        assert!(failed.contains(reason) && failed.contains("0 events stored"), "{failed}");
        assert!(fake.seen().len() < 20_000, "it went on");
    }
}

#[test]
fn a_stopped_import_finishes_what_is_under_way() {
    let fake = Fake::new();
    let mut lines = Lines::new(Cursor::new(b"{}\n".to_vec()), None).unwrap();
    let sink = StoreSink::new(Arc::clone(&fake) as _, Tally::new(None));
    let tally = import(&mut lines, sink, &AtomicBool::new(true)).unwrap();
    assert_eq!((tally.requests, fake.seen().len()), (0, 0));
}
