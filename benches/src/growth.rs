//! How a store behaves as it grows: the rate of each step of a long run, and how long it takes to open what that left.
//! Where the store ends up, and how it was stopped, the caller decides.

use crate::Fault;
use crate::embedded::Client;
use crate::usage::resident;
use spoor::model::Status;
use spoor::{Engine, Settings};
use std::path::Path;
use std::time::{Duration, Instant};

/// A step of a long run.
#[derive(Debug, Clone)]
pub struct Step {
    /// Events stored at its end.
    pub stored: u64,
    /// How long it took.
    pub took: Duration,
    /// Events stored a second in it.
    pub events_per_s: f64,
    /// The store at its end.
    pub status: Status,
    /// Memory of this process at its end, in bytes.
    pub resident_bytes: u64,
}

/// Stores events until there are `events`, in steps that end at the multiples of `step`, or a little after; `told` is
/// given each as it ends. Requests are in flight when this returns.
///
/// # Errors
/// If a request was not stored.
pub fn fill(
    client: &mut Client,
    events: u64,
    step: u64,
    mut told: impl FnMut(&Step),
) -> Result<Vec<Step>, Fault> {
    let mut steps = Vec::new();
    while client.stored < events {
        let (begun, before) = (Instant::now(), client.stored);
        // What was in flight has carried the last step beyond its end: this one is as much shorter, and none is left over.
        let goal = (before / step.max(1) + 1) * step.max(1);
        client.run(goal.min(events) - before, |_| {})?;
        let took = begun.elapsed();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let events_per_s = (client.stored - before) as f64 / took.as_secs_f64();
        let status = client.engine.status();
        let resident_bytes = resident(std::process::id())?.now_bytes;
        let step = Step { stored: client.stored, took, events_per_s, status, resident_bytes };
        told(&step);
        steps.push(step);
    }
    Ok(steps)
}

/// What an opening took.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Until the store could be used.
    pub took: Duration,
    /// The store then.
    pub status: Status,
}

impl Opened {
    /// Records that were after the last checkpoint, and so were applied.
    #[must_use]
    pub const fn after_checkpoint(&self) -> u64 {
        self.status.position - self.status.checkpoint_position
    }
}

/// Opens the store in `dir`, and says how long that took.
///
/// # Errors
/// If it cannot be opened.
pub fn open(dir: &Path, settings: &Settings) -> Result<(Engine, Opened), Fault> {
    let begun = Instant::now();
    let engine = Engine::open(dir, settings.clone())?;
    let took = begun.elapsed();
    let status = engine.status();
    Ok((engine, Opened { took, status }))
}
