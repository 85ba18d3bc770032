//! Kills a server under load, again and again, and looks for what it lost: see [`spoor_tests::kill`].
//!
//! `spoor-kill [--requests mixed|links] [--rounds 100] [--connections 16] [--load-ms 1500] [--seed N] [--spoor BINARY]`
//!
//! *mixed* is all kinds of requests, *links* two hundred at once that say who one person is.
#![expect(clippy::print_stderr, reason = "a program for a person")]

use spoor_tests::kill::{Count, Options, run, run_links};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Rounds between two readings of the whole log.
const WHOLE_EVERY: u32 = 10;

/// What plays the rounds.
type Run = fn(&Options, &mut dyn FnMut(&Count)) -> Result<Count, String>;

fn options() -> Result<(Run, Options), String> {
    let beside = std::env::current_exe().map_err(|error| error.to_string())?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut options = Options {
        binary: beside.with_file_name("spoor-under-test"),
        rounds: 100,
        connections: 16,
        load_max_ms: 1_500,
        whole_every: WHOLE_EVERY,
        seed: u64::from(since.subsec_nanos()),
    };
    let mut chosen: Run = run;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u32>().map_err(|_| format!("{name}: {value:?} is no number"));
        match name.as_str() {
            "--requests" if value == "mixed" => chosen = run,
            "--requests" if value == "links" => chosen = run_links,
            "--rounds" => options.rounds = number()?.max(1),
            "--connections" => options.connections = number()?.max(1) as usize,
            "--load-ms" => options.load_max_ms = u64::from(number()?),
            "--seed" => options.seed = u64::from(number()?),
            "--spoor" => options.binary = PathBuf::from(value),
            _ => return Err(format!("unknown argument {name} {value}")),
        }
    }
    Ok((chosen, options))
}

fn main() -> ExitCode {
    let (run, options) = match options() {
        Ok(chosen) => chosen,
        Err(reason) => {
            eprintln!("spoor-kill: {reason}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let of = options.rounds;
    eprintln!("killing {} for {of} rounds, seed {}", options.binary.display(), options.seed);
    let result = run(&options, &mut |count| {
        eprintln!("{:>4} s of {of} rounds: {count}", begun.elapsed().as_secs());
    });
    match result {
        Ok(count) => {
            println!("nothing acknowledged was lost: {count}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("spoor-kill: {reason}");
            ExitCode::FAILURE
        }
    }
}
