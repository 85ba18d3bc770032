//! The suite and the load generator, tiny: they run, count right, and tell what is missing. The figures mean nothing.
#![expect(clippy::unwrap_used, reason = "a test: a panic is its report")]

use spoor::core::agents::Agents;
use spoor_benches::book::{Book, Verdict};
use spoor_benches::load::protocol::Protocol;
use spoor_benches::load::{Pace, Plan, Target, Version, run as send};
use spoor_benches::page::html;
use spoor_benches::postgres;
use spoor_benches::servers::{Inside, Kind};
use spoor_benches::suite::{Options, Size, Variant, run};
use spoor_benches::traffic::{Shape, Traffic, settings};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// They measure, so they run one after the other.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // What parses user agents is made once in a process, and takes longer than what is measured here.
    Agents::default().packed("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0");
    turn
}

fn tiny(dir: &std::path::Path) -> Options {
    Options {
        warm_up: Duration::from_millis(50),
        duration: Duration::from_millis(400),
        half_duration: Duration::from_millis(800),
        embedded_events: 2_000,
        // Small enough for a checkpoint or two.
        overlay_bytes: 1 << 20,
        connections: 8,
        batch_connections: 2,
        batch: 20,
        shape: Shape { seed: 5, sessions: 200, ..Shape::default() },
        stored_events: 3_000,
        reads_per_s: 100.0,
        read_ids: 100,
        program: Some(env!("CARGO_BIN_EXE_spoor-measured").into()),
        ..Options::new(Size::Small, dir)
    }
}

fn check_entries(book: &Book) {
    assert!(book.failed.is_empty(), "{:?}", book.failed);
    for entry in &book.entries {
        assert!(entry.counts.stored > 0, "{}", entry.name);
        assert_eq!(entry.counts.failed, 0, "{}", entry.name);
        assert!(!entry.durability.is_empty() && entry.events_per_s > 0.0, "{}", entry.name);
    }
}

fn check_reads(book: &Book) {
    for variant in [Variant::Reading, Variant::Memory] {
        let reads = book.entry(variant.key()).unwrap().reads.as_ref().unwrap();
        // All ids are those of profiles that are there.
        assert_eq!(reads.failed, 0, "{}", book.text());
        assert!(reads.reads_per_s > 0.0 && reads.latency.p99_us > 0, "{}", book.text());
    }
    assert!(book.entry(Variant::HalfFilled.key()).unwrap().reads.is_none());
    assert!(book.text().contains("reads/s, p50") && html(book).contains(": reads</td>"));
}

fn check_long(book: &Book) {
    let growth = book.entry(Variant::Growth.key()).unwrap();
    assert!(growth.counts.stored >= 3_000 && growth.points.len() >= 2, "{growth:?}");
    for key in ["first_rate", "last_rate", "opened_killed", "opened_stopped"] {
        assert!(growth.figure(key).is_some_and(|value| value > 0.0), "{key}: {growth:?}");
    }
    let memory = book.entry(Variant::Memory.key()).unwrap();
    let mib = |key| memory.figure(key).unwrap();
    assert!(mib("idle_mib") > 1.0 && mib("most_mib") > mib("idle_mib"), "{}", book.text());
    assert_eq!(mib("limit_mib").round(), 256.0 + 1.0 + 122.0);
    assert!(book.text().contains("fresh, idle") && html(book).contains("<h2>Figures</h2>"));
}

#[test]
fn the_suite_measures_everything_and_compares_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = 0;
    // Without some that differ from others in a number only: each start of PostgreSQL takes seconds.
    let left_out = [
        Variant::AppendBatch,
        Variant::PostgresBatchFew,
        Variant::SqliteBatch,
        Variant::RedbBatch,
        Variant::RedbThousand,
    ];
    let only: Vec<_> = Variant::ALL.into_iter().filter(|variant| !left_out.contains(variant)).collect();
    let _turn = turn();
    let options = Options { only, ..tiny(dir.path()) };
    let book = run(&options, &mut |_| told += 1).unwrap();
    check_entries(&book);
    let without = if postgres::find().is_ok() { 0 } else { 2 };
    let wanted = options.only.len() - without;
    assert_eq!((told, book.entries.len()), (wanted, wanted));
    assert_eq!(book.left_out.is_empty(), without == 0);
    let mut measured = book.ratios.iter().filter_map(|ratio| ratio.value);
    assert!(measured.all(|value| value > 0.0), "{}", book.text());
    // Processor time is counted in ticks, of which so short a run may have none.
    let rates = book.ratios.iter().filter(|ratio| ratio.value.is_some() && !ratio.name.contains("CPU"));
    assert_eq!(rates.count(), if without == 0 { 25 } else { 23 }, "{}", book.text());
    let unknown = book.ratios.iter().filter(|ratio| ratio.verdict == Some(Verdict::NotMeasured));
    assert_eq!(unknown.count(), without, "{}", book.text());
    let half = book.entry(Variant::Half.key()).unwrap();
    assert!(half.sync.as_ref().unwrap().p99_us > 0);
    check_reads(&book);
    check_long(&book);
    let page = html(&book);
    assert!(page.contains("<svg") && page.matches("<polyline").count() > 20);
    // Nothing is fetched from elsewhere.
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files were left");
}

#[test]
fn the_rows_can_begin_with_events_the_same_for_each() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let only = vec![Variant::Spoor, Variant::Parse, Variant::Postgres, Variant::Sqlite, Variant::Redb];
    let options = Options { only, preload_events: 1_500, ..tiny(dir.path()) };
    let book = run(&options, &mut |_| ()).unwrap();
    check_entries(&book);
    assert!(book.title.ends_with(", 1500 events stored before"), "{}", book.title);
    for entry in &book.entries {
        let wanted = if entry.key == Variant::Parse.key() { 0 } else { 1_500 };
        assert_eq!(entry.settings["stored_before"], wanted, "{}", entry.name);
    }
    assert!(book.entries.len() >= 4);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files were left");
}

#[test]
fn half_of_a_rate_is_measured_with_what_it_is_half_of_and_what_is_missing_is_said() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let options = Options { only: vec![Variant::Half], ..tiny(dir.path()) };
    let book = run(&options, &mut |_| ()).unwrap();
    let keys: Vec<&str> = book.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, [Variant::Spoor.key(), Variant::Half.key()]);
    // Nobody asked for what might be missing.
    assert!(book.left_out.is_empty(), "{:?}", book.left_out);
    let program = Some(dir.path().join("nothing-here"));
    let options = Options { only: vec![Variant::Memory], program, ..tiny(dir.path()) };
    let book = run(&options, &mut |_| ()).unwrap();
    assert!(book.entries.is_empty() && book.failed[0].contains("nothing-here"), "{:?}", book.failed);
    assert!(book.text().contains("128 MB") && book.text().contains("not measured"), "{}", book.text());
}

fn load(version: Version, streams: usize, pace: Pace, batch: usize, gathered: bool) {
    load_by(Protocol::Json, version, streams, pace, batch, gathered);
}

fn load_by(protocol: Protocol, version: Version, streams: usize, pace: Pace, batch: usize, gathered: bool) {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let server = Inside::start(Kind::Spoor, dir.path(), &settings(5_000)).unwrap();
    let target = Target::Http { address: server.address().unwrap(), version, protocol };
    let plan = Plan {
        connections: 3,
        streams,
        pace,
        batch,
        gathered,
        threads: 2,
        duration: Duration::from_millis(800),
        ..Plan::new(target)
    };
    let traffic =
        Traffic::parts(Shape { seed: 6, sessions: 30, ..Shape::default() }, plan.clients()).unwrap();
    let (measured, traffic) = send(&plan, traffic, &mut ()).unwrap();
    assert_eq!(measured.counts.failed, 0);
    assert!(measured.counts.stored > 0 && measured.counts.requests > 0);
    assert_eq!(measured.latency.len(), measured.counts.requests);
    // What was answered in the measured stretch is in the store, and at most what was in flight at its end besides.
    let events = server.store().unwrap().status().events;
    let in_flight = (plan.clients() * batch) as u64;
    assert!((measured.counts.stored..=measured.counts.stored + in_flight).contains(&events), "{events}");
    // The traffic can go on, and everybody has learnt who they are.
    let (again, _) = send(&plan, traffic, &mut ()).unwrap();
    assert!(again.counts.stored > 0);
    if let Pace::Open { requests_per_s } = pace {
        let due = requests_per_s * measured.seconds;
        assert!((measured.counts.requests as f64 - due).abs() <= due / 2.0, "{:?}", measured.counts);
    }
    server.stop().unwrap();
}

#[test]
fn http_1_in_a_closed_loop() {
    load(Version::One, 1, Pace::Closed, 1, false);
}

#[test]
fn http_2_with_several_streams_in_an_open_loop() {
    load(Version::Two, 4, Pace::Open { requests_per_s: 200.0 }, 1, false);
}

#[test]
fn arrays_of_many_sessions() {
    load(Version::One, 1, Pace::Closed, 5, false);
}

#[test]
fn many_events_of_one_session() {
    load(Version::Two, 1, Pace::Closed, 20, true);
}

#[test]
fn the_compact_form_over_both_versions() {
    load_by(Protocol::Binary, Version::One, 1, Pace::Closed, 5, false);
    load_by(Protocol::Binary, Version::Two, 2, Pace::Closed, 1, false);
}

#[test]
fn streams_that_clients_share() {
    load_by(Protocol::Stream, Version::One, 3, Pace::Closed, 1, false);
    load_by(Protocol::Stream, Version::One, 1, Pace::Open { requests_per_s: 200.0 }, 4, true);
}

#[test]
fn a_load_on_nobody_fails_and_says_so() {
    let target =
        Target::Http { address: ([127, 0, 0, 1], 9).into(), version: Version::One, protocol: Protocol::Json };
    let plan = Plan { connections: 4, threads: 3, ..Plan::new(target) };
    let traffic = Traffic::parts(Shape { seed: 6, sessions: 4, ..Shape::default() }, 4).unwrap();
    assert!(send(&plan, traffic, &mut ()).is_err());
}
