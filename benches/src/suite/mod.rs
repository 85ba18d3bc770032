//! Everything in one run: the server, the engine, and the same work done by others, on the same events, each durable
//! before it answers; and a table of what that comes to as ratios.

mod variants;

mod stores;

mod runs;

mod long;

mod ratios;

pub use variants::Variant;

use crate::Fault;
use crate::book::{Book, Entry};
use crate::machine::Machine;
use crate::postgres;
use crate::servers::built_beside;
use crate::traffic::Shape;
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::time::Duration;
use stores::Stores;

/// How long it takes, and how far its figures can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// A second for each variant: does it run, and is the order of things right?
    Small,
    /// Three rounds of 20 seconds each, minutes at half load, and stores of ten million events: more than an hour in all.
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
    /// Measured of what runs once under load: at half load, and while memory is looked at.
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
    /// Events that the stores of the servers, PostgreSQL, SQLite and redb with its indexes hold before they are measured,
    /// the same for each.
    pub preload_events: u64,
    /// Events in the store of [`Variant::HalfFilled`], [`Variant::Reading`] and [`Variant::Memory`] before, and at
    /// the end of [`Variant::Growth`].
    pub stored_events: u64,
    /// Profiles read a second while others write.
    pub reads_per_s: f64,
    /// Connections of those who read.
    pub read_connections: usize,
    /// Profiles that are looked for, of which each read takes any.
    pub read_ids: usize,
    /// The binary of [`Variant::Memory`]; without, the one that was built beside this program.
    pub program: Option<PathBuf>,
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
            preload_events: 0,
            stored_events: 10_000_000,
            reads_per_s: 1_000.0,
            read_connections: 8,
            read_ids: 10_000,
            program: None,
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
                stored_events: 60_000,
                reads_per_s: 200.0,
                read_ids: 500,
                ..full
            },
        }
    }

    fn wants(&self, variant: Variant) -> bool {
        self.only.is_empty() || self.only.contains(&variant)
    }

    fn title(&self) -> String {
        let before = match self.preload_events {
            0 => String::new(),
            events => format!(", {events} events stored before"),
        };
        let Self { rounds, duration, .. } = self;
        format!("Spoor beside others: {rounds} rounds of {} s{before}", duration.as_secs_f64())
    }

    fn server_program(&self) -> Result<PathBuf, Fault> {
        self.program.clone().map_or_else(built_beside, Ok)
    }

    /// What can be measured here; what is wanted and cannot be is added to `left_out`, with the reason.
    fn variants(&self, left_out: &mut Vec<String>) -> Vec<Variant> {
        let half = Variant::ALL.into_iter().any(|variant| variant.is_half() && self.wants(variant));
        // Half of what is measured first.
        let wanted = |variant: &Variant| self.wants(*variant) || (half && *variant == Variant::Spoor);
        let mut variants: Vec<Variant> = Variant::ALL.into_iter().filter(wanted).collect();
        let mut leave_out = |why: Fault, which: fn(Variant) -> bool| {
            let names = variants.iter().filter(|variant| which(**variant)).map(|variant| variant.key());
            let names: Vec<&str> = names.collect();
            if !names.is_empty() {
                left_out.push(format!("{}: {why}", names.join(", ")));
            }
            variants.retain(|variant| !which(*variant));
        };
        if let Err(why) = postgres::find() {
            leave_out(why, Variant::takes_postgres);
        }
        if let Err(why) = self.server_program() {
            leave_out(why, |variant| variant == Variant::Memory);
        }
        variants
    }
}

/// Runs it. `tell` is given each result as it comes.
///
/// # Errors
/// If the machine cannot be looked at. What is not installed is left out, and what fails is noted, and the others go on:
/// the report says so.
pub fn run(options: &Options, tell: &mut dyn FnMut(&Entry)) -> Result<Book, Fault> {
    let book = Book {
        title: options.title(),
        machine: Machine::here(&options.dir)?,
        entries: Vec::new(),
        ratios: Vec::new(),
        left_out: Vec::new(),
        failed: Vec::new(),
    };
    let mut suite = Suite { options, book, stores: Stores::default(), tell };
    let variants = options.variants(&mut suite.book.left_out);
    let (last, first): (Vec<_>, Vec<_>) = variants.into_iter().partition(|variant| variant.runs_once());
    suite.rounds(&first);
    suite.once(&last);
    ratios::compare(&mut suite.book);
    Ok(suite.book)
}

/// A run.
struct Suite<'a> {
    options: &'a Options,
    book: Book,
    stores: Stores,
    tell: &'a mut dyn FnMut(&Entry),
}

impl Suite<'_> {
    /// Round by round, so that what the machine does meanwhile touches all of them.
    fn rounds(&mut self, variants: &[Variant]) {
        let mut rounds: Vec<Vec<Entry>> = variants.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.options.rounds {
            for (variant, entries) in variants.iter().zip(&mut rounds) {
                entries.extend(self.measure(*variant, 0.0));
            }
        }
        self.book.entries = rounds.into_iter().filter_map(Entry::middle).collect();
    }

    fn once(&mut self, variants: &[Variant]) {
        let half = self.book.entry(Variant::Spoor.key()).map(half_of);
        for variant in variants {
            if half.is_none() && variant.is_half() {
                let name = variant.name(self.options);
                self.book.left_out.push(format!("{name}: nobody knows of what it is half"));
            } else {
                let entry = self.measure(*variant, half.unwrap_or(0.0));
                self.book.entries.extend(entry);
            }
        }
    }

    /// Measures one, at the rate `half` if it is one of those. If it fails that is noted, once; there is no entry then.
    fn measure(&mut self, variant: Variant, half: f64) -> Option<Entry> {
        match runs::run(variant, self.options, &self.book.machine, &mut self.stores, half) {
            Ok(entry) => {
                (self.tell)(&entry);
                Some(entry)
            }
            Err(error) => {
                let reason = format!("{}: {error}", variant.name(self.options));
                if !self.book.failed.contains(&reason) {
                    self.book.failed.push(reason);
                }
                None
            }
        }
    }
}

/// Half of the requests that were answered a second.
#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn half_of(full: &Entry) -> f64 {
    full.counts.requests as f64 / full.seconds / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_here_is_left_out_and_named() {
        let only = vec![Variant::Memory, Variant::Half];
        let options = Options { only, ..Options::new(Size::Small, Path::new(".")) };
        let mut left_out = Vec::new();
        // Tests are built into a folder without the server's binary.
        assert_eq!(options.variants(&mut left_out), [Variant::Spoor, Variant::Half]);
        let [reason] = left_out.as_slice() else { panic!("{left_out:?}") };
        assert!(reason.starts_with("memory: ") && reason.contains("build it"), "{reason}");
        let options = Options { program: Some("here".into()), ..options };
        assert!(options.variants(&mut left_out).contains(&Variant::Memory));
        assert_eq!(left_out.len(), 1, "{left_out:?}");
    }
}
