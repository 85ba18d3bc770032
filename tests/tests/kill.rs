//! A few rounds of killing the server under load, and while many say who they are; `spoor-kill` does a hundred.
//!
//! `SPOOR_KILL_ROUNDS` says how many (3), `SPOOR_BIN` which binary (the one built with these tests).
#![expect(clippy::panic, reason = "a test: a panic is its report")]

use spoor_tests::kill::{Options, run, run_links};
use std::path::PathBuf;

fn options(load_max_ms: u64) -> Options {
    let rounds = std::env::var("SPOOR_KILL_ROUNDS")
        .map_or(3, |text| text.parse().unwrap_or_else(|_| panic!("SPOOR_KILL_ROUNDS is no number")));
    let binary = std::env::var_os("SPOOR_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_spoor-under-test")), PathBuf::from);
    Options { binary, rounds, connections: 16, load_max_ms, whole_every: 1, seed: 7 }
}

#[test]
fn a_killed_server_has_lost_nothing_that_it_acknowledged() {
    let options = options(900);
    let count = run(&options, &mut |count| eprintln!("{count}")).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(count.rounds, options.rounds);
    assert!(count.acknowledged > 0 && count.unanswered > 0, "too little happened: {count}");
}

#[test]
fn two_hundred_links_at_once_make_one_profile_whenever_the_server_is_killed() {
    let options = options(0);
    let told = &mut |count: &_| eprintln!("{count}");
    let count = run_links(&options, told).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!((count.rounds, count.events), (options.rounds, u64::from(options.rounds) * 200));
    assert!(count.kills >= options.rounds && count.unanswered > 0, "too little happened: {count}");
}
