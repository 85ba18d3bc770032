//! Everything in one run: the server, the engine, and the same work done by others, on the same events, each durable
//! before it answers; and a table of what that comes to as ratios.

mod ratios;
mod variants;

pub use variants::Variant;

use crate::Fault;
use crate::book::{Book, Entry};
use crate::machine::Machine;
use crate::postgres;
use crate::traffic::Shape;
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long it takes, and how far its figures can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// A second for each variant: does it run, and is the order of things right?
    Small,
    /// Three rounds of 20 seconds each, and a minute at half load: some forty minutes in all.
    Full,
}

/// What a run of the suite may choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the stores are made, and removed; on the disk to be measured.
    pub dir: PathBuf,
    /// Only these; empty means all.
    pub only: Vec<Variant>,
    /// How often each is measured; the one in the middle counts.
    pub rounds: usize,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub duration: Duration,
    /// Measured at half load.
    pub half_duration: Duration,
    /// Events of the embedded variants, warm-up among them as half as many.
    pub embedded_events: u64,
    /// What changed since the last checkpoint, in memory, in bytes.
    pub overlay_bytes: usize,
    /// The traffic.
    pub shape: Shape,
    /// Sessions end after this much silence, in milliseconds; short, since a run packs a day into seconds.
    pub inactivity_ms: i64,
    /// Connections of the servers' variants with one event a request.
    pub connections: usize,
    /// Connections of those with [`Options::batch`] events a request.
    pub batch_connections: usize,
    /// Events a request of these.
    pub batch: usize,
}

impl Options {
    /// The usual ones of a size.
    #[must_use]
    pub fn new(size: Size, dir: &Path) -> Self {
        let full = Self {
            dir: dir.to_owned(),
            only: Vec::new(),
            rounds: 3,
            warm_up: Duration::from_secs(5),
            duration: Duration::from_secs(20),
            half_duration: Duration::from_secs(60),
            embedded_events: 1_000_000,
            overlay_bytes: spoor::settings::StoreSettings::default().overlay_bytes,
            shape: Shape::default(),
            inactivity_ms: 5_000,
            connections: 64,
            batch_connections: 16,
            batch: 100,
        };
        match size {
            Size::Full => full,
            Size::Small => Self {
                rounds: 1,
                warm_up: Duration::from_millis(300),
                duration: Duration::from_secs(1),
                half_duration: Duration::from_secs(2),
                embedded_events: 30_000,
                overlay_bytes: 4 << 20,
                ..full
            },
        }
    }

    fn wants(&self, variant: Variant) -> bool {
        self.only.is_empty() || self.only.contains(&variant)
    }
}

/// Runs it. `tell` is given each result as it comes.
///
/// # Errors
/// If one of ours fails. What is not installed is left out, and the report says so.
pub fn run(options: &Options, tell: &mut dyn FnMut(&Entry)) -> Result<Book, Fault> {
    let mut book = Book {
        title: format!(
            "Spoor beside others: {} rounds of {} s",
            options.rounds,
            options.duration.as_secs_f64()
        ),
        machine: Machine::here(&options.dir)?,
        entries: Vec::new(),
        ratios: Vec::new(),
        left_out: Vec::new(),
    };
    let postgres = postgres::find();
    if let Err(reason) = &postgres {
        book.left_out.push(reason.to_string());
    }
    let wanted = |variant: &Variant| {
        options.wants(*variant)
            && (postgres.is_ok() || !variant.takes_postgres())
            && *variant != Variant::Half
    };
    let variants: Vec<Variant> = Variant::ALL.into_iter().filter(wanted).collect();
    let mut rounds: Vec<Vec<Entry>> = variants.iter().map(|_| Vec::new()).collect();
    // Round by round, so that what the machine does meanwhile touches all of them.
    for _ in 0..options.rounds {
        for (variant, entries) in variants.iter().zip(&mut rounds) {
            let entry = variants::run(*variant, options, &book.machine, 0.0)
                .map_err(|error| format!("{}: {error}", variant.name(options)))?;
            tell(&entry);
            entries.push(entry);
        }
    }
    book.entries = rounds.into_iter().filter_map(Entry::middle).collect();
    if options.wants(Variant::Half)
        && let Some(full) = book.entry(Variant::Spoor.key())
    {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let half = full.counts.requests as f64 / full.seconds / 2.0;
        let entry = variants::run(Variant::Half, options, &book.machine, half)?;
        tell(&entry);
        book.entries.push(entry);
    }
    ratios::compare(&mut book);
    Ok(book)
}
