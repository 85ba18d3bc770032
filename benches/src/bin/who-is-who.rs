//! What identity costs: merges into profiles of all sizes, one profile of very many fragments, and input of which
//! much says who it was.
//!
//! ```sh
//! who-is-who merge --largest 10000000      # the time of a merge and of its undoing, by events of the larger side
//! who-is-who crowd --fragments 100000      # linking, reading and undoing in one profile, and what others wait
//! who-is-who share --events 1000000        # the rate where every fifth event links, beside the same without
//! ```

use clap::{Parser, Subcommand};
use crossbeam_channel::unbounded;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use spoor::settings::NamespaceSettings;
use spoor::{Act, Answer, Engine, Event, Reply, Settings, TrackError, TrackRequest};
use spoor_benches::usage::Usage;
use spoor_benches::{Fault, report};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests in flight where a store is filled.
const IN_FLIGHT: usize = 1_000;
/// Events in one request where one profile is filled.
const BATCH: u64 = 1_000;
/// Merges of each size that are timed.
const MERGES: usize = 200;
/// Requests of others, a second, while one profile is worked on.
const OTHERS_PER_SECOND: u32 = 1_000;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// The time of a merge when the larger side has 10, 1,000, 100,000 and the largest number of events.
    Merge {
        /// Events of the largest profile.
        #[arg(long, default_value_t = 1_000_000)]
        largest: u64,
    },
    /// One profile of very many fragments.
    Crowd {
        /// How many.
        #[arg(long, default_value_t = 100_000)]
        fragments: u64,
        /// Merges in it that are undone.
        #[arg(long, default_value_t = 10)]
        undos: usize,
    },
    /// The rate where every fifth event links, beside the same events without identifiers.
    Share {
        /// Events of each of the four runs.
        #[arg(long, default_value_t = 500_000)]
        events: u64,
        /// Events of a device. The fewer, the more of the links are the first of their device: of ten, two thirds;
        /// of 23, as the shop in `tests/data` has, a quarter.
        #[arg(long, default_value_t = 23)]
        events_per_device: u64,
    },
}

fn main() -> Result<(), Fault> {
    match Options::parse().mode {
        Mode::Merge { largest } => merge(largest),
        Mode::Crowd { fragments, undos } => crowd(fragments, undos),
        Mode::Share { events, events_per_device } => share(events, events_per_device),
    }
}

fn open() -> Result<(Engine, tempfile::TempDir), Fault> {
    let dir = tempfile::tempdir()?;
    let mut settings = Settings::default();
    let member = NamespaceSettings { fragments_max: u32::MAX, ..NamespaceSettings::default() };
    settings.identifiers.insert("member".to_owned(), member);
    Ok((Engine::open(dir.path(), settings)?, dir))
}

fn request(session: String, events: u64, identifier: Option<(&str, String)>) -> TrackRequest {
    let event = |index: u64| Event {
        event_type: "page-view".to_owned(),
        identifiers: identifier
            .iter()
            .filter(|_| index == 0)
            .map(|(namespace, value)| ((*namespace).to_owned(), value.clone()))
            .collect(),
        ..Event::default()
    };
    TrackRequest {
        session: Some(session),
        events: (0..events).map(event).collect(),
        ..TrackRequest::default()
    }
}

/// Stores requests with many in flight; `told` is given each answer.
fn store(
    engine: &Engine,
    requests: impl Iterator<Item = TrackRequest>,
    count: u64,
    mut told: impl FnMut(Reply),
) -> Result<(), Fault> {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec}")?;
    let bar = ProgressBar::new(count).with_style(style);
    let (sender, answers) = unbounded::<Result<Answer, TrackError>>();
    let mut waiting = 0;
    for request in requests {
        let sender = sender.clone();
        // The receiver lives until all is answered.
        engine.submit(request, move |answer| drop(sender.send(answer)));
        waiting += 1;
        if waiting == IN_FLIGHT {
            told(answers.recv()??.reply());
            waiting -= 1;
        }
        bar.inc(1);
    }
    for _ in 0..waiting {
        told(answers.recv()??.reply());
    }
    bar.finish_and_clear();
    Ok(())
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

fn merge(largest: u64) -> Result<(), Fault> {
    let (engine, _dir) = open()?;
    let sizes = [10, 1_000, 100_000, largest];
    for (place, size) in sizes.iter().enumerate() {
        let batches = size.div_ceil(BATCH);
        let requests = (0..batches).map(|batch| {
            let member = (batch == 0).then(|| ("member", format!("large-{place}")));
            request(format!("large-{place}"), BATCH.min(size - batch * BATCH), member)
        });
        store(&engine, requests, batches, |_| {})?;
    }
    engine.checkpoint()?;
    let mut times: Vec<[Histogram<u64>; 2]> = Vec::new();
    for _ in sizes {
        times.push([Histogram::new(3)?, Histogram::new(3)?]);
    }
    // By turns, so that what else the machine does meets all sizes alike.
    for turn in 0..MERGES {
        for (place, [merging, undoing]) in times.iter_mut().enumerate() {
            let session = format!("small-{place}-{turn}");
            engine.track(request(session.clone(), 10, Some(("email", format!("{session}@shop.example")))))?;
            let joining = request(session, 1, Some(("member", format!("large-{place}"))));
            let begun = Instant::now();
            let reply = engine.track(joining)?;
            merging.record(micros(begun.elapsed()))?;
            let merge = reply.events.first().and_then(|event| event.links.first()?.merge.clone());
            let merge = merge.ok_or("the two did not merge")?;
            let begun = Instant::now();
            engine.act(Act::Undo { merge, keep_apart: false }, false)?;
            undoing.record(micros(begun.elapsed()))?;
        }
    }
    println!("{:>14} {:>16} {:>16}", "events", "merge, median ms", "undo, median ms");
    for (size, [merging, undoing]) in sizes.iter().zip(&times) {
        let median = |times: &Histogram<u64>| millis(times.value_at_quantile(0.5));
        println!("{size:>14} {:>16.3} {:>16.3}", median(merging), median(undoing));
    }
    engine.close()?;
    Ok(())
}

fn crowd(fragments: u64, undos: usize) -> Result<(), Fault> {
    let (engine, _dir) = open()?;
    let one = |no: u64| request(format!("device-{no}"), 1, Some(("user_id", "crowd".to_owned())));
    let mut merges = Vec::new();
    let mut some_id = String::new();
    store(&engine, (0..fragments).map(one), fragments, |reply| {
        let merge = reply.events.first().and_then(|event| event.links.first()?.merge.clone());
        if merges.len() < undos {
            merges.extend(merge);
        }
        some_id = reply.profile.map(|profile| profile.id).unwrap_or_default();
    })?;
    engine.checkpoint()?;
    println!("{fragments} fragments in {} profiles", engine.status().profiles);
    let mut linking = Histogram::<u64>::new(3)?;
    let mut reading = Histogram::<u64>::new(3)?;
    for no in 0..MERGES as u64 {
        let begun = Instant::now();
        engine.track(one(fragments + no))?;
        linking.record(micros(begun.elapsed()))?;
        let begun = Instant::now();
        let profile = engine.snapshot()?.profile(&some_id).map_err(|error| format!("{error:?}"))?;
        reading.record(micros(begun.elapsed()))?;
        if profile.fragments != fragments + no + 1 {
            return Err(format!("the profile has {} fragments", profile.fragments).into());
        }
    }
    let print = |name: &str, times: &Histogram<u64>| {
        let at = |quantile| millis(times.value_at_quantile(quantile));
        println!("{name:<34} p50 {:>9.3} ms  p99 {:>9.3} ms  max {:>9.3} ms", at(0.5), at(0.99), at(1.0));
    };
    print("linking one more", &linking);
    print("reading it", &reading);
    let quiet = others(&engine, || {
        std::thread::sleep(Duration::from_secs(10));
        Ok(())
    })?;
    print("others, meanwhile nothing", &quiet);
    let mut undoing = Histogram::<u64>::new(3)?;
    let disturbed = others(&engine, || {
        for merge in merges.drain(..) {
            let begun = Instant::now();
            engine.act(Act::Undo { merge, keep_apart: false }, false)?;
            undoing.record(micros(begun.elapsed()))?;
        }
        Ok(())
    })?;
    print("undoing a merge in it", &undoing);
    print("others, meanwhile undoing", &disturbed);
    engine.close()?;
    Ok(())
}

/// How long requests of other people take while `work` goes on, from when they were due.
fn others(engine: &Engine, work: impl FnOnce() -> Result<(), Fault>) -> Result<Histogram<u64>, Fault> {
    let done = Arc::new(AtomicBool::new(false));
    let (engine, stop) = (engine.clone(), Arc::clone(&done));
    let sender = std::thread::spawn(move || -> Result<Histogram<u64>, String> {
        let mut times = Histogram::<u64>::new(3).map_err(|error| error.to_string())?;
        let (answered, answers) = unbounded();
        let begun = Instant::now();
        let mut sent = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            let due = Duration::from_secs(1) * sent / OTHERS_PER_SECOND;
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let answered = answered.clone();
            engine.submit(request(format!("other-{}", sent % 1_000), 1, None), move |answer| {
                let _ = answered.send((begun.elapsed().saturating_sub(due), answer.is_ok()));
            });
            sent += 1;
        }
        for _ in 0..sent {
            let (took, stored) = answers.recv().map_err(|error| error.to_string())?;
            times.record(micros(took)).map_err(|error| error.to_string())?;
            if !stored {
                return Err("a request was not stored".to_owned());
            }
        }
        Ok(times)
    });
    let worked = work();
    done.store(true, Ordering::Relaxed);
    let times = sender.join().map_err(|_| "the other thread panicked")??;
    worked.map(|()| times)
}

fn share(events: u64, events_per_device: u64) -> Result<(), Fault> {
    /// Devices that send at once (a prime, so that each links in its turn), and how many of them one person has.
    const DEVICES: u64 = 19_997;
    const DEVICES_PER_PERSON: u64 = 3;
    let run = |links: bool| -> Result<f64, Fault> {
        let (engine, _dir) = open()?;
        let one = |no: u64| {
            let device = (no * 7_919) % DEVICES + no / (DEVICES * events_per_device) * DEVICES;
            let email = ("email", format!("person-{}@shop.example", device / DEVICES_PER_PERSON));
            request(format!("device-{device}"), 1, Some(email).filter(|_| links && no.is_multiple_of(5)))
        };
        let before = Usage::now()?;
        store(&engine, (0..events).map(one), events, |_| {})?;
        engine.checkpoint()?;
        let spent = Usage::now()?.since(&before);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let count = events as f64;
        let rate = count / spent.seconds;
        let status = engine.status();
        println!(
            "{:<28} {rate:>9.0} events/s, {} fragments in {} profiles",
            if links { "every fifth event links" } else { "no identifiers" },
            status.fragments,
            status.profiles
        );
        let result = report::Result::new("    CPU us an event", events, &spent, 0, 0);
        print!("{}", report::threads(&[result]));
        engine.close()?;
        Ok(rate)
    };
    let (without, with) = (run(false)?, run(true)?);
    let (with_again, without_again) = (run(true)?, run(false)?);
    println!("ratio {:.2}", (with + with_again) / (without + without_again));
    Ok(())
}
