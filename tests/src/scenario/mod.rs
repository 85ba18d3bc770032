//! Scenarios: readable files of steps and of what they must answer.
//!
//! A file begins with what it is about, in lines of `#`. Steps are separated by empty lines; a step is a
//! directive, its further lines, and, if it answers anything, `----` and the answer:
//!
//! ```text
//! settings                          sources, identifiers and traits as TOML; only as the first step
//! track source=web session=s-1      members: source session profile sent_at context user_agent,
//! event id=m-1 type=page-view       and the words profile_less and import; one line for each event: id type
//! ----                              time properties context identifiers set set_once unset add append remove consents
//! json                              a request as it is on the wire, in the lines below
//! wire /api/v1/track                bytes for a server; others leave the step out
//! at 10:30:00                       the clock shows this; `at +30m` moves it on (ms, s, m, h, d)
//! reopen                            close and open; `crash` opens what an unclean end leaves
//! check                             verify the store
//! profile P1                        reads: profile, session, events, sessions, session-events;
//! events P1 limit=2 type=click      pages take limit, type, from and to
//! profile P1 at=10:00:00            what was known then; until= takes what happened until then
//! identifier email:ada@example.com  the profile that has it
//! links P1                          and history P1, quarantine, explain P1 P2
//! undo m#4-0 keep_apart             acts: undo, merge P1 P2 force, detach P1 email:…, attach P1 email:…,
//! decide q#3-0 approve              decide … reject, block email:…, unblock email:…; dry_run only says what would be
//! handover P1                       a device is known again on another site
//! ```
//!
//! A value is a word, or JSON. A time without a date is of the scenario's first day, 2026-01-05, which begins
//! at 12:00:00. Ids that a target draws are shown as `P1` (profile), `S1` (session), `E1` (event) and `#1`
//! (sequence number; `m#1-0` is a merge and `q#1-0` a link in quarantine, and `m~1` the latest merge), numbered as they appear, and are
//! written so to name them. A comment may stand between
//! steps. With `UPDATE_EXPECT=1` the answers of the model are written into the files.

mod parse;
mod play;
mod rename;
mod render;

pub use parse::{PageOf, Step, parse};
pub use play::{Outcome, Player, play};
pub use rename::Names;
pub use render::write_step;

use std::path::PathBuf;

/// When scenarios begin: 2026-01-05T12:00:00Z.
pub const BEGIN: spoor::Timestamp = spoor::Timestamp(1_767_614_400_000_000);

/// The scenario files, by name.
///
/// # Panics
/// If they cannot be listed.
#[must_use]
pub fn files() -> Vec<PathBuf> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the directory of scenarios")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
}
