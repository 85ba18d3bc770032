//! Imports a file of requests in many random orders and groupings, each into a fresh store, and shows that the
//! content digest is one and the same: see [`spoor_tests::orders`].
//!
//! `spoor-orders --file F [--orders 20] [--source shop] [--shortened]`
//!
//! The file holds tracking requests as JSON lines, plain or gzip; the source is one that brings its own profile
//! ids. `--shortened` looks, if two orders differ, for the fewest requests that still do.
#![expect(clippy::print_stderr, reason = "a program for a person")]

use spoor::{Origin, Settings, TrackRequest};
use spoor_server::command::lines::{Line, Lines};
use spoor_server::protocol::json::{self, Body};
use spoor_tests::orders::{Order, import, shortened};
use spoor_tests::shop;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

struct Options {
    file: PathBuf,
    orders: u64,
    source: String,
    shortened: bool,
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { file: PathBuf::new(), orders: 20, source: "shop".to_owned(), shortened: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--shortened" {
            options.shortened = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--file" => options.file = PathBuf::from(value),
            "--orders" => options.orders = value.parse().map_err(|_| format!("{value:?} is no number"))?,
            "--source" => options.source = value,
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    if options.file.as_os_str().is_empty() {
        return Err("--file is missing".to_owned());
    }
    Ok(options)
}

fn read(file: &Path) -> Result<Vec<TrackRequest>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut lines = Lines::open(file).map_err(failed)?;
    let mut requests = Vec::new();
    while let Some((number, line)) = lines.next_line().map_err(failed)? {
        let Line::Whole(text) = line else { return Err(format!("line {number} is too long")) };
        let wrong = |rejection: spoor::Rejection| format!("line {number}: {}", rejection.message);
        match json::read(text).map_err(wrong)? {
            Body::One(request) => requests.push(*request),
            Body::Many(items) => {
                for item in items {
                    requests.push(item.map_err(wrong)?);
                }
            }
        }
    }
    Ok(requests.into_iter().map(|request| TrackRequest { origin: Origin::Import, ..request }).collect())
}

/// The settings of the sample, for a source of this name.
fn settings(source: &str) -> Settings {
    let mut settings = shop::settings();
    settings.sources = settings.sources.into_values().map(|of| (source.to_owned(), of)).collect();
    settings
}

/// Whether all orders gave one digest.
fn run(options: &Options) -> Result<bool, String> {
    let (requests, settings) = (read(&options.file)?, settings(&options.source));
    let orders = Order::all(&requests, options.orders);
    let events: usize = requests.iter().map(|request| request.events.len()).sum();
    eprintln!("{} requests, {events} events, {} orders", requests.len(), orders.len());
    let begun = Instant::now();
    let mut first: Option<(Order, String)> = None;
    for (number, order) in orders.iter().enumerate() {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let sent = order.of(&requests);
        let report = import(dir.path(), &settings, &sent, &mut |stored| {
            eprint!(
                "\r{:>4} s, {} of {}: {stored} requests",
                begun.elapsed().as_secs(),
                number + 1,
                orders.len()
            );
        })?;
        let digest = report.content_digest;
        eprintln!(
            "\r{:>4} s, {} of {}: {order}: {} requests, {} events, {digest}",
            begun.elapsed().as_secs(),
            number + 1,
            orders.len(),
            sent.len(),
            report.status.events,
        );
        if !report.faults.is_empty() {
            return Err(format!("{order}: the store is not sound: {:?}", report.faults));
        }
        let (reference, expected) = first.get_or_insert_with(|| (*order, digest.clone()));
        if *expected != digest {
            let differing = [*reference, *order];
            return told(options, &settings, requests, differing).map(|()| false);
        }
    }
    let digest = first.map(|(_, digest)| digest).unwrap_or_default();
    println!("{} orders of {events} events, one content digest: {digest}", orders.len());
    Ok(true)
}

fn told(
    options: &Options,
    settings: &Settings,
    requests: Vec<TrackRequest>,
    orders: [Order; 2],
) -> Result<(), String> {
    println!("these two differ: {}; {}", orders[0], orders[1]);
    if options.shortened {
        let rest = shortened(settings, requests, orders, &mut |left| eprint!("\r{left} requests left "))?;
        eprintln!();
        for request in rest {
            println!("{request:?}");
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("spoor-orders: {reason}");
            ExitCode::from(2)
        }
    }
}
