//! Imports a file of requests and compares which devices are one profile with a truth: see [`spoor_tests::truth`].
//!
//! `spoor-truth --file F --truth T [--orders 1]`
//!
//! The file holds tracking requests as JSON lines, plain or gzip, of the source `shop`; the truth is
//! `{"profiles": [[device ids of one person], …]}`. With more orders the file is imported as it is and then in
//! random orders, each into a fresh store, and the content digests must be equal too.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a program for a person")]

use spoor::{Engine, Origin, TrackRequest};
use spoor_server::command::lines::{Line, Lines};
use spoor_server::protocol::json::{self, Body};
use spoor_tests::orders::{Grouping, Order, import};
use spoor_tests::shop;
use spoor_tests::truth::{Partition, partition_of, read_truth};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Default)]
struct Options {
    file: PathBuf,
    truth: PathBuf,
    orders: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options { orders: 1, ..Options::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--file" => options.file = PathBuf::from(value),
            "--truth" => options.truth = PathBuf::from(value),
            "--orders" => options.orders = value.parse().map_err(|_| format!("{value:?} is no number"))?,
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    if options.file.as_os_str().is_empty() || options.truth.as_os_str().is_empty() {
        return Err("--file and --truth are needed".to_owned());
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
        let Body::One(request) = json::read(text).map_err(wrong)? else {
            return Err(format!("line {number} holds several requests"));
        };
        requests.push(TrackRequest { origin: Origin::Import, ..*request });
    }
    Ok(requests)
}

/// Imports one order; returns how it groups the devices, and the content digest.
fn imported(
    order: Order,
    requests: &[TrackRequest],
    devices: &[String],
) -> Result<(Partition, String), String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let report = import(dir.path(), &shop::settings(), &order.of(requests), &mut |_| {})?;
    if !report.faults.is_empty() {
        return Err(format!("{order}: the store is not sound: {:?}", report.faults));
    }
    let engine = Engine::open(dir.path(), shop::settings()).map_err(|error| error.to_string())?;
    let partition = partition_of(&engine, devices)?;
    engine.close().map_err(|error| error.to_string())?;
    Ok((partition, report.content_digest))
}

/// Whether all orders give the truth, and one digest.
fn run(options: &Options) -> Result<bool, String> {
    let requests = read(&options.file)?;
    let text = std::fs::read_to_string(&options.truth).map_err(|error| error.to_string())?;
    let truth = read_truth(&text)?;
    let devices: Vec<String> = truth.iter().flatten().cloned().collect();
    let mut digests: Vec<String> = Vec::new();
    let mut right = true;
    for seed in 0..options.orders {
        let order = Order { grouping: Grouping::Sent, seed };
        let (partition, digest) = imported(order, &requests, &devices)?;
        let same = partition.intersection(&truth).count();
        println!("{order}: {} profiles, {same} of {} as known, {digest}", partition.len(), truth.len());
        for wrong in partition.difference(&truth).take(5) {
            eprintln!("not one profile, or not all of it: {wrong:?}");
        }
        right &= partition == truth;
        digests.push(digest);
    }
    digests.dedup();
    Ok(right && digests.len() <= 1)
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("spoor-truth: {reason}");
            ExitCode::from(2)
        }
    }
}
