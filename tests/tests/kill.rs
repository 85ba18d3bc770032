//! A few rounds of killing the server under load; the program `spoor-kill` does a hundred.
//!
//! `SPOOR_KILL_ROUNDS` says how many (3), `SPOOR_BIN` which binary (the one built with these tests).

use spoor_tests::kill::{Options, run};
use std::path::PathBuf;

#[test]
fn a_killed_server_has_lost_nothing_that_it_acknowledged() {
    let rounds = std::env::var("SPOOR_KILL_ROUNDS")
        .map_or(3, |text| text.parse().unwrap_or_else(|_| panic!("SPOOR_KILL_ROUNDS is no number")));
    let binary = std::env::var_os("SPOOR_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_spoor-under-test")), PathBuf::from);
    let options = Options { binary, rounds, connections: 16, load_max_ms: 900, whole_every: 1, seed: 7 };
    let count = run(&options, &mut |count| eprintln!("{count}")).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(count.rounds, rounds);
    assert!(count.acknowledged > 0 && count.unanswered > 0, "too little happened: {count}");
}
