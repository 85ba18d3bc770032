//! What Spoor costs, beside other ways to do the same work: one run, the same events, all durable.

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use spoor::{Clock, Settings, SystemClock};
use spoor_benches::Fault;
use spoor_benches::embedded::{Client, making_ns};
use spoor_benches::grouped::{self, GroupStore};
use spoor_benches::logged::replay;
use spoor_benches::metered::MeteredDisk;
use spoor_benches::plain::PlainFile;
use spoor_benches::report::{Result as Measured, disks, ratios, table, threads};
use spoor_benches::rows::Rows;
use spoor_benches::simple::Simple;
use spoor_benches::traffic::{Shape, Traffic, settings};
use spoor_benches::usage::{Spent, Usage, file_bytes};
use spoor_benches::wire::json_bytes;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Requests made only to know what making them costs.
const MADE_REQUESTS: u32 = 200_000;

#[derive(Debug, Parser)]
#[command(
    about = "What Spoor costs, beside other ways to do the same work: one run, the same events, all durable"
)]
struct Options {
    /// Events to measure, at least; the warm-up comes before them.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// Events before the measured ones, at least; the engine also completes a checkpoint first.
    #[arg(long, default_value_t = 100_000)]
    warm_up: u64,
    /// Sessions that are active at once.
    #[arg(long, default_value_t = 4_000)]
    sessions: usize,
    /// The same seed makes the same traffic.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the stores are made, and removed; on the disk to be measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// What the engine keeps in memory of what changed since the last checkpoint, in MiB.
    #[arg(long)]
    overlay_mib: Option<usize>,
    /// After this much silence sessions end, in milliseconds; short, since a run packs a day into seconds.
    #[arg(long, default_value_t = 5_000)]
    inactivity_ms: i64,
    /// Added to each sync of the engine's log, in microseconds: what a slower disk would make of it.
    #[arg(long, default_value_t = 0)]
    slower_syncs_us: u64,
    /// Only these variants: a, b, c1000, c64, d1000, d64. The bytes of a and b are those that c1000 logs.
    #[arg(long, value_delimiter = ',', default_value = "c1000,a,b,c64,d1000,d64")]
    only: Vec<String>,
    /// Write the results there as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// As in the server's binary; all variants have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Fault> {
    let options = Options::parse();
    let dir = tempfile::tempdir_in(&options.dir)?;
    let mut run = Run { options, dir, results: Vec::new() };
    run.say_what_requests_are()?;
    for (variant, in_flight) in [("c1000", 1_000), ("c64", 64)] {
        if run.wants(variant) {
            run.embedded(variant, in_flight)?;
        }
    }
    for (variant, group) in [("d1000", 1_000), ("d64", 64)] {
        if run.wants(variant) {
            run.simple(variant, group)?;
        }
    }
    run.report()
}

struct Run {
    options: Options,
    dir: tempfile::TempDir,
    results: Vec<Measured>,
}

impl Run {
    fn wants(&self, variant: &str) -> bool {
        self.options.only.iter().any(|only| only == variant)
    }

    fn shape(&self) -> Shape {
        Shape { seed: self.options.seed, sessions: self.options.sessions, ..Shape::default() }
    }

    fn settings(&self) -> Settings {
        let mut settings = settings(self.options.inactivity_ms);
        if let Some(mib) = self.options.overlay_mib {
            settings.store.overlay_bytes = mib << 20;
        }
        settings
    }

    fn say_what_requests_are(&self) -> Result<(), Fault> {
        let mut traffic = Traffic::new(self.shape())?;
        let mean =
            (0..20_000).map(|_| json_bytes(&traffic.next(SystemClock.now()).0)).sum::<usize>() / 20_000;
        let making = making_ns(&mut traffic, MADE_REQUESTS)?;
        println!("one event a request, {mean} bytes of JSON each; making one takes the client {making} ns");
        Ok(())
    }

    fn embedded(&mut self, variant: &str, in_flight: u64) -> Result<(), Fault> {
        let path = self.dir.path().join(variant);
        let traffic = Traffic::new(self.shape())?;
        let disk = MeteredDisk::slower(Duration::from_micros(self.options.slower_syncs_us));
        let mut client = Client::open_on(disk, &path, self.settings(), traffic, in_flight)?;
        let name = format!("engine, {in_flight} in flight");
        let bar = bar(&name, self.options.warm_up + self.options.events);
        let stretch =
            client.steady(self.options.warm_up, self.options.events, |stored| bar.set_position(stored))?;
        client.settle()?;
        bar.finish_and_clear();
        client.engine.close()?;
        let mut result =
            Measured::new(&name, stretch.events, &stretch.spent, file_bytes(&path)?, stretch.rss_bytes);
        result.checkpoints = Some(stretch.checkpoints);
        result.overlay_bytes = Some((stretch.before.overlay_bytes, stretch.after.overlay_bytes));
        result.disk = stretch.disk;
        self.done(result);
        drop(client);
        if variant == "c1000" {
            self.bytes(&path)?;
        }
        std::fs::remove_dir_all(&path)?;
        Ok(())
    }

    /// The bytes that the store in `path` has logged, to a plain file and to rows.
    fn bytes(&mut self, path: &Path) -> Result<(), Fault> {
        if self.wants("a") {
            let file = self.dir.path().join("plain");
            let mut plain = PlainFile::create(&file)?;
            self.replayed("bytes to a plain file, 1000", path, |records| plain.append(records, 1_000))?;
            self.sized(&file)?;
        }
        if self.wants("b") {
            let file = self.dir.path().join("rows.redb");
            let mut rows = Rows::create(&file)?;
            self.replayed("bytes to redb rows, 1000", path, |records| rows.append(records, 1_000))?;
            drop(rows);
            self.sized(&file)?;
        }
        Ok(())
    }

    fn replayed(
        &mut self,
        name: &str,
        path: &Path,
        append: impl FnMut(&[Vec<u8>]) -> Result<Spent, Fault>,
    ) -> Result<(), Fault> {
        let bar = bar(name, self.options.events);
        let (warm_up, events) = (self.options.warm_up, self.options.events);
        let (events, spent) = replay(path, warm_up, events, append, |measured| bar.set_position(measured))?;
        bar.finish_and_clear();
        let rss = Usage::now()?.rss_bytes;
        self.done(Measured::new(name, events, &spent, 0, rss));
        Ok(())
    }

    /// Notes the size of the last variant's file, and removes it.
    fn sized(&mut self, file: &Path) -> Result<(), Fault> {
        if let Some(last) = self.results.last_mut() {
            last.file_bytes = file_bytes(file)?;
        }
        Ok(std::fs::remove_file(file)?)
    }

    fn simple(&mut self, variant: &str, group: usize) -> Result<(), Fault> {
        let path = self.dir.path().join(variant);
        let mut traffic = Traffic::new(self.shape())?;
        let mut simple = Simple::create(&path)?;
        let name = format!("simple layout in redb, {group} a commit");
        let bar = bar(&name, self.options.warm_up + self.options.events);
        let mut run = |simple: &mut Simple, events| {
            grouped::run(simple, &mut traffic, events, group, |stored| bar.set_position(stored))
        };
        run(&mut simple, self.options.warm_up)?;
        let (from, before) = (simple.stored(), Usage::now()?);
        run(&mut simple, self.options.events)?;
        let end = Usage::now()?;
        bar.finish_and_clear();
        let (events, spent) = (simple.stored() - from, end.since(&before));
        drop(simple);
        self.done(Measured::new(&name, events, &spent, file_bytes(&path)?, end.rss_bytes));
        std::fs::remove_file(&path)?;
        Ok(())
    }

    fn done(&mut self, result: Measured) {
        println!("{}: {:.0} events/s", result.name, result.events_per_s);
        self.results.push(result);
    }

    fn report(&self) -> Result<(), Fault> {
        println!("\n{}\n{}", table(&self.results), threads(&self.results));
        println!("{}", disks(&self.results));
        println!("each rate divided by each other, in the same order\n{}", ratios(&self.results));
        if let Some(file) = &self.options.json {
            std::fs::write(file, serde_json::to_string_pretty(&self.results)?)?;
        }
        Ok(())
    }
}

fn bar(name: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(name.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {per_sec}") {
        bar.set_style(style);
    }
    bar
}
