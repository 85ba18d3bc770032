//! Sessions that fall silent by the thousand end a slice at a time: none is left out, and requests go on.
#![expect(clippy::unwrap_used, reason = "a test: a panic is its report")]

use spoor::{Engine, Environment, Event, ManualClock, Settings, Timestamp, TrackRequest};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BEGIN: Timestamp = Timestamp(1_790_000_000_000_000);
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// More than one record of session ends names, on either side of a checkpoint.
const HALF: usize = 1_300;

fn visit(engine: &Engine, session: usize) {
    let event = Event { event_type: "page-view".to_owned(), ..Event::default() };
    let session = Some(format!("s-{session}"));
    engine.track(TrackRequest { session, events: vec![event], ..TrackRequest::default() }).unwrap();
}

fn ended(engine: &Engine, sessions: usize) -> usize {
    let snapshot = engine.snapshot().unwrap();
    let ended_at = |session| snapshot.session(&format!("s-{session}")).unwrap().ended_at;
    (0..sessions).filter(|session| ended_at(*session).is_some()).count()
}

#[test]
fn all_of_them_end_while_requests_and_checkpoints_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(BEGIN));
    let environment = Environment { clock: clock.clone(), ..Environment::default() };
    let engine = Engine::open_with(dir.path(), Settings::default(), environment.clone()).unwrap();
    (0..HALF).for_each(|session| visit(&engine, session));
    engine.checkpoint().unwrap();
    (HALF..2 * HALF).for_each(|session| visit(&engine, session));
    assert_eq!(ended(&engine, 2 * HALF), 0);

    clock.advance_ms(DAY_MS);
    let (begun, mut later) = (Instant::now(), 2 * HALF);
    while ended(&engine, 2 * HALF) < 2 * HALF {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} ended", ended(&engine, 2 * HALF));
        visit(&engine, later);
        later += 1;
        if later % 5 == 0 {
            engine.checkpoint().unwrap();
        }
    }
    assert_eq!(engine.tick().unwrap(), 0, "each ends once, and who came later has not ended");
    assert_eq!(engine.decide_again().unwrap(), None);
    let before = engine.check().unwrap();
    assert_eq!(before.faults, Vec::<String>::new());
    engine.abandon();
    let engine = Engine::open_with(dir.path(), Settings::default(), environment).unwrap();
    assert_eq!(engine.check().unwrap().store_digest, before.store_digest, "after a kill");
    engine.close().unwrap();
}
