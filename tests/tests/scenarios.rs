//! Plays `scenarios/*.txt` against everything that can play them.
#![expect(clippy::panic, reason = "a test: a panic is its report")]

use spoor_tests::scenario::{Outcome, files, play};
use spoor_tests::target::Served;
use spoor_tests::target::{Binary, Embedded, Maker, Naive};

/// Plays all files; at least `expected_min` of them must be playable.
fn play_all(maker: Maker, update: bool, expected_min: usize) {
    let mut failed = String::new();
    let mut played = 0;
    for file in files() {
        match play(&file, maker, update) {
            Outcome::Passed => played += 1,
            Outcome::LeftOut => eprintln!("left out: {}", file.display()),
            Outcome::Failed(differences) => failed += &differences,
        }
    }
    if !failed.is_empty() {
        panic!("{failed}");
    }
    assert!(played >= expected_min, "only {played} scenarios were played");
}

#[test]
fn the_model_answers_as_written() {
    play_all(Naive::make, std::env::var_os("UPDATE_EXPECT").is_some(), files().len());
}

#[test]
fn the_engine_answers_as_written() {
    play_all(Embedded::make, false, files().len());
}

#[test]
fn the_binary_answers_as_written() {
    play_all(Binary::make, false, 10);
}

#[test]
fn the_server_answers_as_written() {
    // All but those that tell more than a public source hears.
    play_all(Served::make, false, files().len() - 2);
}

#[test]
fn the_server_answers_as_written_in_the_compact_form_too() {
    play_all(Served::make_compact, false, files().len() - 2);
}
