//! What shows in long runs only: how the rate holds as the store grows, how long opening takes after a kill in
//! the middle of the load, and how long acknowledgements take while checkpoints and sealing go on.
//!
//! ```sh
//! long-runs fill --dir D --events 10000000    # ends by aborting itself under load, as a kill would
//! long-runs open --dir D                      # times the opening, then checks what is there
//! long-runs sizes --dir D                     # what the log and each table of the index take, of a closed store
//! long-runs latency --dir E --seconds 60      # open loop at half of the rate that it measures first
//! ```

use clap::{Parser, Subcommand};
use crossbeam_channel::unbounded;
use hdrhistogram::Histogram;
use redb::{ReadableDatabase, ReadableTableMetadata};
use spoor::{Answer, Clock, Engine, SystemClock, TrackError};
use spoor_benches::Fault;
use spoor_benches::embedded::Client;
use spoor_benches::growth;
use spoor_benches::traffic::{Device, Shape, Traffic, settings};
use spoor_benches::usage::resident;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Silence after which the sessions of the traffic end, in milliseconds.
const INACTIVITY_MS: i64 = 5_000;

/// Requests in flight where the client waits for answers.
const IN_FLIGHT: u64 = 1_000;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Stores events and says the rate of each million; then aborts itself with requests in flight.
    Fill {
        /// An empty directory.
        #[arg(long)]
        dir: PathBuf,
        /// Events to store.
        #[arg(long, default_value_t = 2_000_000)]
        events: u64,
    },
    /// Opens what `fill` left, and says how long that took.
    Open {
        /// The directory.
        #[arg(long)]
        dir: PathBuf,
    },
    /// What a closed store takes on disk: the log, and the index by table.
    Sizes {
        /// The directory.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Sends at a fixed rate and says how long acknowledgements took from when they were due.
    Latency {
        /// An empty directory.
        #[arg(long)]
        dir: PathBuf,
        /// Seconds at half the full rate.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// Events of the warm-up, which measures the full rate.
        #[arg(long, default_value_t = 500_000)]
        warm_up: u64,
    },
}

fn main() -> Result<(), Fault> {
    match Options::parse().mode {
        Mode::Fill { dir, events } => fill(&dir, events),
        Mode::Open { dir } => open(&dir),
        Mode::Sizes { dir } => sizes(&dir),
        Mode::Latency { dir, seconds, warm_up } => latency(&dir, seconds, warm_up),
    }
}

fn fill(dir: &Path, events: u64) -> Result<(), Fault> {
    const STEP: u64 = 1_000_000;
    let mut client = Client::open(dir, settings(INACTIVITY_MS), Traffic::new(Shape::default())?, IN_FLIGHT)?;
    growth::fill(&mut client, events, STEP, |step| {
        println!(
            "{:>11} events: {:>8.0} events/s, checkpoint at {}, overlay {} MiB, resident {} MiB",
            step.stored,
            step.events_per_s,
            step.status.checkpoint_position,
            step.status.overlay_bytes >> 20,
            step.resident_bytes >> 20
        );
    })?;
    std::process::abort();
}

fn open(dir: &Path) -> Result<(), Fault> {
    let (engine, opened) = growth::open(dir, &settings(INACTIVITY_MS))?;
    println!(
        "opened in {:.2} s: {} events, of which {} were after the last checkpoint; resident {} MiB",
        opened.took.as_secs_f64(),
        opened.status.events,
        opened.after_checkpoint(),
        resident(std::process::id())?.now_bytes >> 20
    );
    engine.close()?;
    let (engine, opened) = growth::open(dir, &settings(INACTIVITY_MS))?;
    println!("opened after a clean stop in {:.2} s", opened.took.as_secs_f64());
    engine.close()?;
    Ok(())
}

fn sizes(dir: &Path) -> Result<(), Fault> {
    const PAGE_BYTES: u64 = 4 << 10;
    let log: u64 = std::fs::read_dir(dir.join("log"))?
        .map(|entry| Ok(entry?.metadata()?.blocks() * 512))
        .sum::<Result<_, std::io::Error>>()?;
    let file = std::fs::metadata(dir.join("index.redb"))?;
    println!("log {log} bytes on disk; index {}, its length {}", file.blocks() * 512, file.len());
    let database = redb::ReadOnlyDatabase::open(dir.join("index.redb"))?;
    let transaction = database.begin_read()?;
    println!("table, rows, pages in KiB, stored in KiB, stored bytes a row, fill in per cent");
    let mut all = 0;
    for table in transaction.list_tables()? {
        let name = redb::TableHandle::name(&table).to_owned();
        let table = transaction.open_untyped_table(table)?;
        let (rows, stats) = (table.len()?, table.stats()?);
        let pages = (stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes()).max(1);
        all += pages;
        println!(
            "{name:>18} {rows:>9} {:>9} {:>9} {:>5} {:>3}",
            pages >> 10,
            stats.stored_bytes() >> 10,
            stats.stored_bytes() / rows.max(1),
            (stats.stored_bytes() + stats.metadata_bytes()) * 100 / pages
        );
    }
    println!("{} KiB in tables of {} pages", all >> 10, all / PAGE_BYTES);
    Ok(())
}

fn latency(dir: &Path, seconds: u64, warm_up: u64) -> Result<(), Fault> {
    let mut client = Client::open(dir, settings(INACTIVITY_MS), Traffic::new(Shape::default())?, IN_FLIGHT)?;
    let begun = Instant::now();
    client.run(warm_up, |_| {})?;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let full = client.stored as f64 / begun.elapsed().as_secs_f64();
    client.settle()?;
    let engine = client.engine.clone();
    drop(client);
    let checkpoints_before = engine.status().checkpoint_position;
    let histogram = paced(&engine, full / 2.0, Duration::from_secs(seconds))?;
    println!("full rate {full:.0} events/s; {} events at half of it, over {seconds} s", histogram.len());
    println!(
        "checkpoints moved from {checkpoints_before} to {}; sealing went on",
        engine.status().checkpoint_position
    );
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)]
    {
        let us = histogram.value_at_quantile(quantile);
        println!("{name:>7} {:>8}.{:03} ms", us / 1_000, us % 1_000);
    }
    engine.close()?;
    Ok(())
}

/// Sends at `rate`, whether answers come or not; times each answer from when its request was due, so that a
/// stall counts for all that would have been sent in it.
fn paced(engine: &Engine, rate: f64, length: Duration) -> Result<Histogram<u64>, Fault> {
    let mut histogram = Histogram::<u64>::new(3)?;
    let mut traffic = Traffic::new(Shape { seed: 2, ..Shape::default() })?;
    let (sender, answers) = unbounded::<(Device, Duration, Result<Answer, TrackError>)>();
    let begun = Instant::now();
    let (mut sent, mut answered) = (0_u64, 0_u64);
    loop {
        #[expect(clippy::cast_precision_loss, reason = "less than 2^52 requests")]
        let due = Duration::from_secs_f64(sent as f64 / rate);
        if due >= length {
            break;
        }
        // Asleep until then: a client that polls would take one of the cores from the engine.
        while let Some(left) = due.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            if let Ok(answer) = answers.recv_timeout(left) {
                take(answer, &mut traffic, &mut histogram, &mut answered)?;
            }
        }
        let (request, device) = traffic.next(SystemClock.now());
        let sender = sender.clone();
        engine.submit(request, move |answer| {
            let took = begun.elapsed().saturating_sub(due);
            // The receiver lives until all is answered.
            drop(sender.send((device, took, answer)));
        });
        sent += 1;
    }
    while answered < sent {
        take(answers.recv()?, &mut traffic, &mut histogram, &mut answered)?;
    }
    Ok(histogram)
}

fn take(
    (device, took, answer): (Device, Duration, Result<Answer, TrackError>),
    traffic: &mut Traffic,
    histogram: &mut Histogram<u64>,
    answered: &mut u64,
) -> Result<(), Fault> {
    *answered += 1;
    histogram.record(u64::try_from(took.as_micros())?)?;
    let reply = answer?.reply();
    if let Some(profile) = reply.profile
        && traffic.waits(device)
    {
        traffic.learn(device, &profile.id);
    }
    Ok(())
}
