//! What is divided by what, and what is to come out.

use super::variants::Variant;
use crate::book::{Aim, Book, Entry, millis};
use crate::measure::Latency;

/// One event a request, of what the same server does that only parses.
const PARSE_AIM: f64 = 0.6;
/// The same with a hundred events a request.
const PARSE_BATCH_AIM: f64 = 0.45;
/// Of what PostgreSQL does, with one event and with a hundred.
const POSTGRES_AIM: f64 = 8.0;
/// Of the rate at which redb appends the bytes that the engine logs.
const ROWS_AIM: f64 = 0.5;
/// The time of a request alone, of that of the server that only appends.
const ALONE_AIM: f64 = 1.5;
/// The 99th percentile at half load, of that of the log's own syncs in the same stretch.
const SYNC_AIM: f64 = 5.0;
/// The 99.9th percentile at half load, in milliseconds.
const HALF_P999_AIM_MS: f64 = 100.0;
/// The compact form, of the same in JSON.
const BINARY_AIM: f64 = 1.3;
/// The 99th percentile of reads beside writes at half load, in milliseconds.
const READ_P99_AIM_MS: f64 = 5.0;
/// The rate of writes beside reads, of that without.
const WRITES_KEPT_AIM: f64 = 0.9;
/// The rate of the last million of a store that grows, of the first.
const GROWTH_AIM: f64 = 0.6;
/// Seconds that opening takes after a clean stop, and after a kill.
const OPENING_AIMS_S: (f64, f64) = (1.0, 5.0);
/// Memory of a server that was just made, in MB.
const IDLE_AIM_MB: f64 = 64.0;
/// A MiB in MB.
const MIB_IN_MB: f64 = 1.048_576;
/// The most memory that the server takes, of its cache, what changed, and 128 MB.
const MEMORY_AIM: f64 = 1.0;

/// A name, what came out, and what was to.
type Found = (&'static str, Option<f64>, Option<Aim>);

/// Fills in the ratios of `book`.
pub(super) fn compare(book: &mut Book) {
    let mut found = rates(book);
    found.extend(half(book));
    found.extend(reading(book));
    found.extend(long(book));
    found.extend(costs(book).map(|(name, value)| (name, value, None)));
    for (name, value, aim) in found {
        book.compare(name, value, aim);
    }
}

/// Rates, and the time of a request alone.
fn rates(book: &Book) -> Vec<Found> {
    let rate = |variant: Variant| book.entry(variant.key()).map(|entry| entry.events_per_s);
    let of = |one: Variant, other: Option<f64>| Some(rate(one)? / other?);
    let best = |one: Variant, other: Variant| {
        let rates = [rate(one), rate(other)].into_iter().flatten();
        rates.max_by(f64::total_cmp)
    };
    let (single, many, embedded) = (Variant::Spoor, Variant::SpoorBatch, Variant::Engine);
    vec![
        (
            "one event a request: of the server that only parses",
            of(single, rate(Variant::Parse)),
            Some(Aim::AtLeast(PARSE_AIM)),
        ),
        ("one event a request: of the server that only appends", of(single, rate(Variant::Append)), None),
        (
            "one event a request: of PostgreSQL, a call each",
            of(single, rate(Variant::Postgres)),
            Some(Aim::AtLeast(POSTGRES_AIM)),
        ),
        ("one event a request: of SQLite, a commit each", of(single, rate(Variant::Sqlite)), None),
        ("one event a request: of redb, 64 a commit", of(single, rate(Variant::Redb)), None),
        (
            "100 events a request: of the server that only parses",
            of(many, rate(Variant::ParseBatch)),
            Some(Aim::AtLeast(PARSE_BATCH_AIM)),
        ),
        ("100 events a request: of the server that only appends", of(many, rate(Variant::AppendBatch)), None),
        (
            "100 events a request: of PostgreSQL, 100 a call, the better of two",
            of(many, best(Variant::PostgresBatch, Variant::PostgresBatchFew)),
            Some(Aim::AtLeast(POSTGRES_AIM)),
        ),
        ("100 events a request: of SQLite, 100 a commit", of(many, rate(Variant::SqliteBatch)), None),
        ("100 events a request: of redb, 100 a commit", of(many, rate(Variant::RedbBatch)), None),
        (
            "100 events a request, binary: of the same in JSON",
            of(Variant::SpoorBinary, rate(many)),
            Some(Aim::AtLeast(BINARY_AIM)),
        ),
        (
            "embedded, 1,000 in flight: of redb appending the same bytes",
            of(embedded, rate(Variant::Rows)),
            Some(Aim::AtLeast(ROWS_AIM)),
        ),
        (
            "embedded, 1,000 in flight: of a plain file appending them",
            of(embedded, rate(Variant::Plain)),
            None,
        ),
        (
            "embedded, 1,000 in flight: of redb with its indexes, 1,000 a commit",
            of(embedded, rate(Variant::RedbThousand)),
            None,
        ),
        (
            "a request alone: p50, of the server that only appends",
            alone(book, |entry| entry.latency.as_ref().map(|latency| latency.p50_us)),
            Some(Aim::AtMost(ALONE_AIM)),
        ),
        (
            "a request alone: p99, of the server that only appends",
            alone(book, |entry| entry.latency.as_ref().map(|latency| latency.p99_us)),
            None,
        ),
    ]
}

/// How long one waits when half of what is possible is asked.
fn half(book: &Book) -> Vec<Found> {
    let half = book.entry(Variant::Half.key());
    vec![
        ("at half load: events a second, of those that were due", half_rate(book), None),
        (
            "at half load: p50, in milliseconds",
            half.and_then(|half| ms(half, |latency| latency.p50_us)),
            None,
        ),
        ("at half load: p99, of that of the log's syncs", half.and_then(syncs), Some(Aim::AtMost(SYNC_AIM))),
        (
            "at half load: p99.9, in milliseconds",
            half.and_then(|half| ms(half, |latency| latency.p999_us)),
            Some(Aim::AtMost(HALF_P999_AIM_MS)),
        ),
    ]
}

/// Processor time.
fn costs(book: &Book) -> [(&'static str, Option<f64>); 8] {
    let (single, many, embedded) = (Variant::Spoor, Variant::SpoorBatch, Variant::Engine);
    let cost = |variant: Variant| {
        let cost = book.entry(variant.key())?.cost.as_ref()?;
        Some(cost.server_us_per_event).filter(|us| *us > 0.0)
    };
    let costs = |one: Variant, other: Variant| Some(cost(one)? / cost(other)?);
    [
        ("one event a request: server CPU, of the one that only parses", costs(single, Variant::Parse)),
        ("one event a request: server CPU, of the one that only appends", costs(single, Variant::Append)),
        ("one event a request: PostgreSQL's CPU, of ours", costs(Variant::Postgres, single)),
        ("100 events a request: server CPU, of the one that only parses", costs(many, Variant::ParseBatch)),
        ("100 events a request: server CPU, of the one that only appends", costs(many, Variant::AppendBatch)),
        ("100 events a request: PostgreSQL's CPU, of ours", costs(Variant::PostgresBatch, many)),
        ("100 events a request, binary: server CPU, of the same in JSON", costs(Variant::SpoorBinary, many)),
        ("embedded, 1,000 in flight: CPU, of redb appending the same bytes", costs(embedded, Variant::Rows)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn alone(book: &Book, of: fn(&Entry) -> Option<u64>) -> Option<f64> {
    let time = |variant: Variant| book.entry(variant.key()).and_then(of);
    Some(time(Variant::SpoorAlone)? as f64 / time(Variant::AppendAlone)? as f64)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn syncs(entry: &Entry) -> Option<f64> {
    Some(entry.latency.as_ref()?.p99_us as f64 / entry.sync.as_ref()?.p99_us as f64)
}

fn ms(entry: &Entry, of: fn(&Latency) -> u64) -> Option<f64> {
    entry.latency.as_ref().map(|latency| millis(of(latency)))
}

/// The rate at half load, of half of the rate that it is half of.
fn half_rate(book: &Book) -> Option<f64> {
    let rate = |variant: Variant| book.entry(variant.key()).map(|entry| entry.events_per_s);
    Some(rate(Variant::Half)? / (rate(Variant::Spoor)? / 2.0))
}

/// What reads take while others write, and what those lose.
fn reading(book: &Book) -> [Found; 4] {
    let without = book.entry(Variant::HalfFilled.key());
    let with = book.entry(Variant::Reading.key());
    let read = |of: fn(&Latency) -> u64| {
        with.and_then(|entry| entry.reads.as_ref()).map(|reads| millis(of(&reads.latency)))
    };
    let of = |figure: fn(&Entry) -> Option<f64>| Some(figure(with?)? / figure(without?)?);
    [
        ("reads at half load: p50, in milliseconds", read(|latency| latency.p50_us), None),
        (
            "reads at half load: p99, in milliseconds",
            read(|latency| latency.p99_us),
            Some(Aim::AtMost(READ_P99_AIM_MS)),
        ),
        (
            "writes beside reads at half load: events a second, of those without",
            of(|entry| Some(entry.events_per_s)),
            Some(Aim::AtLeast(WRITES_KEPT_AIM)),
        ),
        (
            "writes beside reads at half load: p99, of that without",
            of(|entry| ms(entry, |latency| latency.p99_us)),
            None,
        ),
    ]
}

/// What a store that has grown costs.
fn long(book: &Book) -> [Found; 5] {
    let growth = |key| book.entry(Variant::Growth.key())?.figure(key);
    let memory = |key| book.entry(Variant::Memory.key())?.figure(key);
    let of = |one: Option<f64>, other: Option<f64>| Some(one? / other?);
    let limit = memory("limit_mib");
    [
        (
            "a store that grows: its last rate, of its first",
            of(growth("last_rate"), growth("first_rate")),
            Some(Aim::AtLeast(GROWTH_AIM)),
        ),
        (
            "a store that has grown: opening after a clean stop, in seconds",
            growth("opened_stopped"),
            Some(Aim::AtMost(OPENING_AIMS_S.0)),
        ),
        (
            "a store that has grown: opening after a kill, in seconds",
            growth("opened_killed"),
            Some(Aim::AtMost(OPENING_AIMS_S.1)),
        ),
        (
            "memory, fresh and idle: in MB",
            memory("idle_mib").map(|mib| mib * MIB_IN_MB),
            Some(Aim::AtMost(IDLE_AIM_MB)),
        ),
        (
            "memory under load: of cache, overlay and 128 MB",
            of(memory("most_mib"), limit),
            Some(Aim::AtMost(MEMORY_AIM)),
        ),
    ]
}
