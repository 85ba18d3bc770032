//! How far a long command is: a bar where there is a terminal, else a line every few seconds. On standard error,
//! so that what a command prints can be piped.

use crate::limits::PROGRESS_LINE_MS;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Bytes,
    Events,
}

/// Progress towards an end that may not be known.
#[derive(Debug)]
pub(super) struct Progress {
    name: &'static str,
    unit: Unit,
    total: Option<u64>,
    /// `None` where there is no terminal.
    bar: Option<ProgressBar>,
    line_due: Instant,
}

impl Progress {
    pub(super) fn new(name: &'static str, unit: Unit, total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(name, unit, total));
        Self { name, unit, total, bar, line_due: Instant::now() + interval() }
    }

    /// Shows that `position` is reached; `done` says in words what has come of it.
    pub(super) fn set(&mut self, position: u64, done: impl FnOnce() -> String) {
        let now = Instant::now();
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            // Words change more slowly than a bar is worth drawing.
            if now >= self.line_due {
                bar.set_message(done());
                self.line_due = now + Duration::from_millis(BAR_WORDS_MS);
            }
        } else if now >= self.line_due {
            eprintln!("{}: {}, {}", self.name, self.count(position), done());
            self.line_due = now + interval();
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn count(&self, position: u64) -> String {
        let show = |value| match self.unit {
            Unit::Bytes => HumanBytes(value).to_string(),
            Unit::Events => HumanCount(value).to_string(),
        };
        match self.total {
            Some(total) => format!("{} of {}", show(position), show(total)),
            None => show(position),
        }
    }
}

/// How often the words beside a bar change, in milliseconds.
const BAR_WORDS_MS: u64 = 200;

fn interval() -> Duration {
    Duration::from_millis(PROGRESS_LINE_MS)
}

fn bar(name: &'static str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let template = match (unit, total) {
        (Unit::Bytes, Some(_)) => "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}",
        (Unit::Bytes, None) => "{prefix} {spinner} {bytes} {bytes_per_sec} {msg}",
        (Unit::Events, Some(_)) => "{prefix} {wide_bar} {human_pos}/{human_len} {per_sec} {eta} {msg}",
        (Unit::Events, None) => "{prefix} {spinner} {human_pos} {per_sec} {msg}",
    };
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    // A template that is not understood is replaced by the usual bar.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_prefix(name)
}
