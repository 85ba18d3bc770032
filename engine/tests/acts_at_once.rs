//! What people decide while others decide and events come: each act is done on what holds when it is done, or not at
//! all. The store stays sound, and nothing fails for want of something that another took away or made.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: a panic is its report")]

use spoor::settings::{NamespaceSettings, ProfileIds, SourceSettings};
use spoor::{Act, ActError, Engine, Environment, Event, Settings, TrackRequest};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

fn settings() -> Settings {
    let mut settings = Settings::default();
    let source = SourceSettings { profile_ids: ProfileIds::Client, ..SourceSettings::default() };
    settings.sources.insert("shop".to_owned(), source);
    settings.identifiers.insert("card".to_owned(), NamespaceSettings::default());
    settings
}

fn say(engine: &Engine, device: usize, card: usize) {
    let event = Event {
        event_type: "sign-in".to_owned(),
        identifiers: vec![("card".to_owned(), format!("c-{card}"))],
        ..Event::default()
    };
    let request = TrackRequest {
        source: Some("shop".to_owned()),
        profile: Some(format!("d-{device}")),
        events: vec![event],
        ..TrackRequest::default()
    };
    engine.track(request).unwrap();
}

/// Does an act; returns whether it was done. What the state does not allow is an answer, what the store could not do
/// is none.
fn act(engine: &Engine, act: Act) -> bool {
    match engine.act(act, false) {
        Ok(_) => true,
        Err(ActError::Failed(error)) => panic!("{error}"),
        Err(_) => false,
    }
}

fn block(card: usize) -> Act {
    Act::Block { identifier: format!("card:c-{card}") }
}

fn unblock(card: usize) -> Act {
    Act::Unblock { identifier: format!("card:c-{card}") }
}

/// Runs all at the same moment.
fn at_once(count: usize, run: impl Fn(usize) + Sync) {
    let barrier = Barrier::new(count);
    std::thread::scope(|scope| {
        for number in 0..count {
            let (barrier, run) = (&barrier, &run);
            scope.spawn(move || {
                barrier.wait();
                run(number);
            });
        }
    });
}

/// Sound, and the same from the log.
fn sound(dir: &std::path::Path, engine: Engine) {
    let report = engine.check().unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    engine.close().unwrap();
    Engine::rebuild(dir, settings(), Environment::default()).unwrap();
    let engine = Engine::open(dir, settings()).unwrap();
    let again = engine.check().unwrap();
    assert_eq!((again.faults, again.store_digest), (Vec::new(), report.store_digest));
    engine.close().unwrap();
}

#[test]
fn a_value_is_blocked_while_it_is_said_for_the_first_time() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), settings()).unwrap();
    for round in 0..60 {
        at_once(4, |number| match number {
            0 => assert!(act(&engine, block(round)), "nobody else blocks it"),
            number => say(&engine, 10 * round + number, if number == 3 { round + 1_000 } else { round }),
        });
        // Whichever came first, nobody has it now.
        let wanted = format!("card:c-{round}");
        assert!(engine.snapshot().unwrap().profile_of_identifier(&wanted, Default::default()).is_err());
    }
    sound(dir.path(), engine);
}

#[test]
fn of_two_who_do_the_same_one_did_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), settings()).unwrap();
    for round in 0..60 {
        if round % 2 == 1 {
            say(&engine, round, round);
            say(&engine, round + 1_000, round);
        }
        for what in [block, unblock] {
            let done = AtomicUsize::new(0);
            at_once(2, |_| {
                done.fetch_add(usize::from(act(&engine, what(round))), Ordering::Relaxed);
            });
            assert_eq!(done.load(Ordering::Relaxed), 1, "round {round}");
        }
    }
    sound(dir.path(), engine);
}

#[test]
fn many_act_and_many_say_who_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), settings()).unwrap();
    (0..20).for_each(|device| say(&engine, device, device % 7));
    at_once(8, |number| {
        for turn in 0..400 {
            let (device, card) = ((turn * 13 + number * 5) % 20, (turn * 7 + number * 3) % 9);
            let profile = format!("d-{device}");
            let identifier = format!("card:c-{card}");
            match (turn + number) % 8 {
                0 => _ = act(&engine, Act::Detach { profile, identifier }),
                1 => _ = act(&engine, Act::Attach { profile, identifier }),
                2 => _ = act(&engine, block(card)),
                3 => _ = act(&engine, unblock(card)),
                4 => {
                    let other = format!("d-{}", (device + 1) % 20);
                    _ = act(&engine, Act::Merge { profile, other, force: turn % 2 == 0 });
                }
                5 => {
                    // Whatever merge stands at some recent place.
                    let position = engine.status().position;
                    let merge = format!("m{}-0", position.saturating_sub(turn as u64 % 5));
                    _ = act(&engine, Act::Undo { merge, keep_apart: turn % 3 == 0 });
                }
                _ => say(&engine, device, card),
            }
        }
    });
    sound(dir.path(), engine);
}
