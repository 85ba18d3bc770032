//! `kill -9` of a server under load, round after round on one directory, and what its clients were told against
//! what is there afterwards.
//!
//! 1. `load`: connections send requests whose sessions and profiles collide, some of them twice.
//! 2. At a random moment the process is killed (`process`), sometimes once more while it recovers.
//! 3. `ledger`: every acknowledged event is there exactly once and where it was said to be, no request is half
//!    there, nobody's event is there; requests without an answer may be there, and are sent again by some.
//! 4. The store is sound, and a rebuild of a copy gives the same digest.
//!
//! `links` does the same to requests that all say who one person is.
//!
//! Segments and generations are set so small that every kill meets checkpoints and sealing.

mod ledger;
mod links;
mod load;
pub mod process;

pub use links::run_links;

use crate::connection::Connection;
use crate::history::Dice;
use ledger::Ledger;
use load::{Sender, Shared};
use process::Server;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server's binary.
    pub binary: PathBuf,
    /// How often the server is killed.
    pub rounds: u32,
    /// Connections that send at once.
    pub connections: usize,
    /// Load before a kill lasts up to this, in milliseconds.
    pub load_max_ms: u64,
    /// The whole log is read and a copy rebuilt in each round whose number this divides, and in the last.
    pub whole_every: u32,
    /// Where chance begins.
    pub seed: u64,
}

/// What was seen, in one round or in all so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Rounds.
    pub rounds: u32,
    /// Kills: one each round, and those during recovery.
    pub kills: u32,
    /// Requests that were acknowledged.
    pub acknowledged: u64,
    /// Requests that were sent again and answered as repeats.
    pub repeats: u64,
    /// Requests whose answer a kill swallowed.
    pub unanswered: u64,
    /// Those of them that were stored all the same.
    pub unanswered_stored: u64,
    /// Events in the store.
    pub events: u64,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds, {} kills, {} acknowledged, {} repeats, {} without an answer of which {} stored, {} events",
            self.rounds,
            self.kills,
            self.acknowledged,
            self.repeats,
            self.unanswered,
            self.unanswered_stored,
            self.events
        )
    }
}

/// Plays all rounds in a directory of its own; `progress` is told after each.
///
/// # Errors
/// What was lost, half there, doubled or unsound; the directory is then kept, and named.
pub fn run(options: &Options, progress: &mut dyn FnMut(&Count)) -> Result<Count, String> {
    let directory = tempfile::tempdir().map_err(|error| format!("a temporary directory: {error}"))?;
    match Rounds::new(options, directory.path().to_owned()).and_then(|rounds| rounds.play(progress)) {
        Ok(count) => Ok(count),
        Err(reason) => Err(format!("{reason}\nkept: {}", directory.keep().display())),
    }
}

struct Rounds<'a> {
    options: &'a Options,
    server: Server,
    dice: Dice,
    shared: Arc<Shared>,
    senders: Vec<Sender>,
    ledger: Ledger,
    count: Count,
}

impl<'a> Rounds<'a> {
    fn new(options: &'a Options, directory: PathBuf) -> Result<Self, String> {
        let shared = Arc::new(Shared::default());
        let senders = (0..options.connections)
            .map(|number| Sender::new(&shared, options.seed.wrapping_mul(1_000) + number as u64))
            .collect();
        Ok(Self {
            options,
            server: Server::new(options.binary.clone(), directory)?,
            dice: Dice::new(options.seed),
            shared,
            senders,
            ledger: Ledger::default(),
            count: Count::default(),
        })
    }

    fn play(mut self, progress: &mut dyn FnMut(&Count)) -> Result<Count, String> {
        self.server.start()?;
        for round in 1..=self.options.rounds {
            let said = |reason: String| format!("round {round}, seed {}: {reason}", self.options.seed);
            let whole = round % self.options.whole_every == 0 || round == self.options.rounds;
            self.load().map_err(said)?;
            self.recover().map_err(said)?;
            self.verify(whole).map_err(said)?;
            self.count.rounds = round;
            progress(&self.count);
        }
        self.server.kill()?;
        Ok(self.count)
    }

    /// Load until the kill.
    fn load(&mut self) -> Result<(), String> {
        let pause = Duration::from_millis(20 + self.dice.below(self.options.load_max_ms.max(1)));
        let address = self.server.address()?;
        let senders = std::mem::take(&mut self.senders);
        let threads: Vec<_> = senders
            .into_iter()
            .map(|mut sender| {
                let address = address.clone();
                std::thread::spawn(move || {
                    let result = sender.send_until_killed(&address);
                    (sender, result)
                })
            })
            .collect();
        std::thread::sleep(pause);
        self.shared.expect_kill();
        let killed = self.server.kill();
        self.count.kills += 1;
        let mut fault = None;
        for thread in threads {
            let (mut sender, result) = thread.join().map_err(|_| "a sender panicked".to_owned())?;
            self.count.repeats += sender.take_repeats();
            for (request, answer) in sender.take_answers() {
                self.ledger.note(request, answer, &mut self.count)?;
            }
            fault = fault.or(result.err());
            self.senders.push(sender);
        }
        killed.and_then(|()| fault.map_or(Ok(()), Err))
    }

    /// Starts again; now and then that is cut short too.
    fn recover(&mut self) -> Result<(), String> {
        while self.dice.below(3) == 0 {
            self.server.spawn()?;
            std::thread::sleep(Duration::from_millis(self.dice.below(60)));
            self.server.kill()?;
            self.count.kills += 1;
        }
        self.shared.expect_no_kill();
        self.server.start()
    }

    fn verify(&mut self, whole: bool) -> Result<(), String> {
        let address = self.server.address()?;
        let mut connection = Connection::open(&address).map_err(|error| format!("connecting: {error}"))?;
        self.ledger.compare(&mut connection, whole, &mut self.count)?;
        self.ledger.compare_people(&mut connection)?;
        let repeated = self.ledger.send_again(&mut connection, &mut self.dice)?;
        self.count.repeats += repeated;
        for (number, request) in self.ledger.take_unanswered().into_iter().enumerate() {
            // Some clients try again, and some have gone.
            let to = self.senders.len();
            if self.dice.below(2) == 0
                && let Some(sender) = self.senders.get_mut(number % to)
            {
                sender.retry(request);
            }
        }
        let digest = self.server.check()?;
        if whole {
            let rebuilt = self.server.rebuilt_digest()?;
            if rebuilt != digest {
                return Err(format!("the store digest is {digest}, and {rebuilt} after a rebuild"));
            }
        }
        Ok(())
    }
}
