//! Everything in one command: the server, the engine, and the same work done by others, and how they compare.

use clap::Parser;
use spoor_benches::Fault;
use spoor_benches::page::html;
use spoor_benches::suite::{Options, Size, Variant, run};
use std::path::PathBuf;
use std::time::Duration;

/// As in the server's binary; all variants in this process have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(about = "Spoor beside others: one run, the same events, each durable before it answers")]
struct Arguments {
    /// How long it takes, and how far its figures can be trusted.
    #[arg(long, value_enum, default_value = "small")]
    size: Size,
    /// Only these variants.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Variant>,
    /// Where the stores are made, and removed; on the disk to be measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// How often each is measured, instead of what the size says.
    #[arg(long)]
    rounds: Option<usize>,
    /// Measured of each, in seconds, instead of what the size says.
    #[arg(long)]
    seconds: Option<f64>,
    /// Events that the servers' stores, PostgreSQL, SQLite and redb with its indexes hold before they are measured, the
    /// same for each; each store is filled once, and copied.
    #[arg(long, default_value_t = 0)]
    preload: u64,
    /// Events in the store of the variants that ask how a grown one does, instead of what the size says.
    #[arg(long)]
    stored: Option<u64>,
    /// Profiles read a second beside writes at half load, instead of what the size says.
    #[arg(long)]
    reads: Option<f64>,
    /// The binary whose memory is looked at; without, the one that was built beside this program.
    #[arg(long)]
    program: Option<PathBuf>,
    /// The same seed makes the same traffic.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report there, as text, as JSON and as a page: NAME.txt, NAME.json, NAME.html.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> Result<(), Fault> {
    let arguments = Arguments::parse();
    let mut options = Options::new(arguments.size, &arguments.dir);
    options.only = arguments.only;
    options.rounds = arguments.rounds.unwrap_or(options.rounds).max(1);
    options.duration = arguments.seconds.map_or(options.duration, Duration::from_secs_f64);
    options.preload_events = arguments.preload;
    options.stored_events = arguments.stored.unwrap_or(options.stored_events).max(1);
    options.reads_per_s = arguments.reads.unwrap_or(options.reads_per_s);
    options.program = arguments.program;
    options.shape.seed = arguments.seed;
    let book = run(&options, &mut |entry| eprintln!("{}: {:.0} events/s", entry.name, entry.events_per_s))?;
    println!("{}", book.text());
    if let Some(out) = arguments.out {
        std::fs::write(out.with_extension("txt"), book.text())?;
        std::fs::write(out.with_extension("json"), serde_json::to_string_pretty(&book)?)?;
        std::fs::write(out.with_extension("html"), html(&book))?;
    }
    if !book.failed.is_empty() {
        return Err(book.failed.join("; ").into());
    }
    Ok(())
}
