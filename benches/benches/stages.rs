//! What each stage of a request costs alone, on the traffic of a shop: decode, prepare, decide, encode, seal, overlay,
//! checkpoint, read. `cargo bench -p spoor-benches`; `cargo test` runs each once.
#![expect(clippy::expect_used, reason = "a bench: a panic is its report")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use spoor::core::agents::Agents;
use spoor::core::decide::Stamp;
use spoor::core::decision::Decision;
use spoor::core::memory::MemoryState;
use spoor::core::prepare::{Command, prepare};
use spoor::core::rows::RepeatKey;
use spoor::core::sources::Registry;
use spoor::ids::FragmentNo;
use spoor::model::AsOf;
use spoor::store::disk::RealDisk;
use spoor::store::index::{Index, IndexOptions, Pace, TableId};
use spoor::store::log::{Log, LogOptions};
use spoor::store::overlay::{Generation, Horizon};
use spoor::store::record::{Cause, RecordView, encode_command, encode_record};
use spoor::{Clock, Engine, EventSeq, SystemClock, Timestamp, TrackRequest};
use spoor_benches::load::protocol::Protocol;
use spoor_benches::traffic::{Shape, Traffic, settings};
use spoor_server::protocol::json::read;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests that a stage goes round.
const REQUESTS: usize = 2_000;
/// The same, as a number of events.
const EVENTS: u64 = REQUESTS as u64;

fn made(count: usize) -> Vec<TrackRequest> {
    let shape = Shape { sessions: 400, ..Shape::default() };
    let mut traffic = Traffic::new(shape).expect("traffic");
    let begin = SystemClock.now();
    (begin.0..).take(count).map(|time| traffic.next(Timestamp(time)).0).collect()
}

fn registry() -> Registry {
    Registry::new(&settings(30_000)).expect("sound settings")
}

fn commands(registry: &Registry) -> Vec<Command> {
    let agents = Agents::default();
    let mut draw = || Uuid::from_u128(rand::random());
    let ready = |request| prepare(request, registry, &agents, &mut draw).expect("a sound request");
    made(REQUESTS).into_iter().map(ready).collect()
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for batch in [1, 100] {
        let mut bytes = Vec::new();
        Protocol::Json.write(&made(batch), &mut bytes).expect("JSON");
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("JSON, {batch} a body"), |bencher| {
            bencher.iter(|| read(black_box(&bytes)).expect("a request"));
        });
    }
    group.finish();
}

fn check(criterion: &mut Criterion) {
    let (registry, agents, requests) = (registry(), Agents::default(), made(REQUESTS));
    let mut draw = || Uuid::from_u128(rand::random());
    let mut group = criterion.benchmark_group("prepare");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("requests", |bencher| {
        bencher.iter_batched(
            || requests.clone(),
            |requests| {
                for request in requests {
                    black_box(prepare(request, &registry, &agents, &mut draw)).expect("a sound request");
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn decide_all(registry: &Registry, commands: &[Command]) -> Vec<(Stamp, Decision, bool)> {
    let mut state = MemoryState::default();
    let decided = (SystemClock.now().0..).zip(commands).map(|(received, command)| {
        let stamp = Stamp { received: Timestamp(received), entropy: rand::random() };
        let (decision, _, drew) = state.decide(registry, command, stamp).expect("a decision");
        (stamp, decision, drew)
    });
    decided.collect()
}

fn decide(criterion: &mut Criterion) {
    let registry = registry();
    let commands = commands(&registry);
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("and apply, on plain maps, from empty", |bencher| {
        bencher.iter(|| decide_all(&registry, black_box(&commands)));
    });
    group.finish();
}

fn records() -> Vec<Vec<u8>> {
    let registry = registry();
    let decided = decide_all(&registry, &commands(&registry));
    let encoded = made(REQUESTS).into_iter().zip(decided).map(|(request, (stamp, decision, drew))| {
        let command = encode_command(&request);
        encode_record(&mut Vec::new(), stamp, drew, Cause::Request(&command), &decision).concat()
    });
    encoded.collect()
}

fn record(criterion: &mut Criterion) {
    let registry = registry();
    let decided = decide_all(&registry, &commands(&registry));
    let requests = made(REQUESTS);
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(EVENTS));
    let mut out = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            for (request, (stamp, decision, drew)) in requests.iter().zip(&decided) {
                let command = encode_command(request);
                black_box(encode_record(&mut out, *stamp, *drew, Cause::Request(&command), decision));
            }
        });
    });
    let (records, path) = (records(), Path::new("bench"));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for record in &records {
                let view = RecordView::parse(record, path).expect("a record");
                black_box((view.command(path).expect("a request"), view.decision(path).expect("a decision")));
            }
        });
    });
    group.finish();
}

/// A log with all records, in groups of 64.
fn log_of(records: &[Vec<u8>], dir: &Path) -> Log {
    let mut log = Log::open(Arc::new(RealDisk), dir, &LogOptions::new(1), None).expect("a log");
    let mut group = log.group();
    for records in records.chunks(64) {
        for record in records {
            group.push(1, &[record]).expect("room");
        }
        log.append(&mut group).expect("an append");
        group.clear();
    }
    log
}

fn block(criterion: &mut Criterion) {
    let records = records();
    let mut group = criterion.benchmark_group("block");
    group.sample_size(10);
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("seal a segment: compress, verify, write, sync", |bencher| {
        bencher.iter_batched(
            || {
                let dir = tempfile::tempdir().expect("a directory");
                let log = log_of(&records, dir.path());
                (dir, log)
            },
            |(dir, mut log)| {
                log.roll();
                log.wait_sealed().expect("sealed");
                (dir, log)
            },
            BatchSize::PerIteration,
        );
    });
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = log_of(&records, dir.path());
    log.roll();
    log.wait_sealed().expect("sealed");
    group.bench_function("read all records of a sealed segment", |bencher| {
        bencher.iter(|| log.reader().records_from(EventSeq(1)).filter(Result::is_ok).count());
    });
    group.finish();
}

fn overlay(criterion: &mut Criterion) {
    let horizon = Horizon { published: 0, oldest_live: 0 };
    let ids: Vec<Uuid> = (0..REQUESTS).map(|_| Uuid::from_u128(rand::random())).collect();
    let keys: Vec<RepeatKey> =
        ids.iter().map(|id| RepeatKey { scope: 7, hash: id.as_u64_pair().0 }).collect();
    let filled = || {
        let generation = Generation::new();
        for (number, (id, key)) in (1..).zip(ids.iter().zip(&keys)) {
            generation.server_ids.put(*id, FragmentNo(number), number, horizon);
            generation.repeats.put(*key, EventSeq(number));
        }
        generation
    };
    let mut group = criterion.benchmark_group("overlay");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("put a row and a repeat", |bencher| bencher.iter(filled));
    let generation = filled();
    group.bench_function("get a row and a repeat", |bencher| {
        bencher.iter(|| {
            for (id, key) in ids.iter().zip(&keys) {
                black_box(generation.server_ids.get(id, EVENTS).expect("a row"));
                black_box(generation.repeats.get(*key, EVENTS).expect("a repeat"));
            }
        });
    });
    group.finish();
}

fn checkpoint(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checkpoint");
    group.sample_size(10);
    group.throughput(Throughput::Elements(EVENTS));
    let pace = Arc::new(Pace::new());
    pace.set_urgency(Pace::URGENCY_MAX);
    let dir = tempfile::tempdir().expect("a directory");
    let options = IndexOptions { cache_bytes: 64 << 20, format: 1, verify: false };
    let index = Index::open(&RealDisk, &dir.path().join("index.redb"), options, pace).expect("an index");
    let mut number = 0_u64;
    group.bench_function("rows at the right edge and repeats, without pauses", |bencher| {
        bencher.iter(|| {
            let first = number;
            number += EVENTS;
            index
                .checkpoint(b"meta", |writer| {
                    let rows = (first..number).map(|key| (key.to_be_bytes(), Some([7_u8; 120])));
                    writer.write(TableId::Sessions, rows)?;
                    let mut repeats: Vec<(u128, u64)> = (first..number)
                        .map(|key| ((u128::from(key / 9) << 64) | u128::from(rand::random::<u64>()), key))
                        .collect();
                    repeats.sort_unstable();
                    writer.write_repeats(repeats)
                })
                .expect("a checkpoint");
        });
    });
    group.finish();
}

fn profile(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = Engine::open(dir.path(), settings(30_000)).expect("an engine");
    // All at once: each alone would wait for the disk.
    let (sender, answers) = std::sync::mpsc::channel();
    for request in made(REQUESTS) {
        let sender = sender.clone();
        engine.submit(request, move |answer| sender.send(answer).expect("a bench that waits"));
    }
    drop(sender);
    let replies: Vec<_> = answers.iter().map(|answer| answer.expect("stored").reply()).collect();
    assert_eq!(replies.len(), REQUESTS);
    let ids: Vec<String> = replies.into_iter().filter_map(|reply| Some(reply.profile?.id)).collect();
    let mut group = criterion.benchmark_group("read");
    group.bench_function("a profile, from memory", |bencher| {
        let mut ids = ids.iter().cycle();
        bencher.iter(|| {
            let snapshot = engine.snapshot().expect("a snapshot");
            snapshot.profile_as_of(ids.next().expect("an id"), AsOf::default()).expect("a profile")
        });
    });
    group.finish();
    engine.close().expect("a clean end");
}

criterion_group!(stages, decode, check, decide, record, block, overlay, checkpoint, profile);
criterion_main!(stages);
