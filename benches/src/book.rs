//! The report of a run: what it was made on, what each variant came to, and how they compare. As text here, as
//! JSON by `serde`, as a page in [`crate::page`].

use crate::machine::Machine;
use crate::measure::{Counts, Latency, Measured, Point};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Everything that is known of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Book {
    /// What was asked.
    pub title: String,
    /// What it was made on.
    pub machine: Machine,
    /// What each variant came to, in the order in which they are told.
    pub entries: Vec<Entry>,
    /// How they compare.
    pub ratios: Vec<Ratio>,
    /// What was not measured, and why.
    pub left_out: Vec<String>,
    /// What was to be measured and failed, and how.
    pub failed: Vec<String>,
}

/// What one variant came to.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its short name.
    pub key: String,
    /// What it is.
    pub name: String,
    /// When an answer is given: what is on the disk by then.
    pub durability: String,
    /// How it was set up.
    pub settings: serde_json::Value,
    /// Length of the measured stretch, in seconds.
    pub seconds: f64,
    /// What was answered.
    pub counts: Counts,
    /// Events stored a second.
    pub events_per_s: f64,
    /// The same of every round, this one being in the middle.
    pub rounds_events_per_s: Vec<f64>,
    /// Times of requests, or of commits where there are no requests; where neither was noted, none.
    pub latency: Option<Latency>,
    /// The rate over time.
    pub points: Vec<Point>,
    /// What it cost.
    pub cost: Option<Cost>,
    /// Times of the syncs of the log in the same stretch.
    pub sync: Option<Latency>,
    /// Checkpoints that ended in it.
    pub checkpoints: Option<u64>,
    /// What was read meanwhile.
    pub reads: Option<Reads>,
    /// What only this variant has.
    pub figures: Vec<Figure>,
}

/// Profiles read while others wrote.
#[derive(Debug, Clone, Serialize)]
pub struct Reads {
    /// Reads that were answered with a profile, a second.
    pub reads_per_s: f64,
    /// Reads that were not.
    pub failed: u64,
    /// How long they took, from when each was due.
    pub latency: Latency,
}

/// A figure that stands for itself.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// Its short name.
    pub key: &'static str,
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
}

/// Processor time.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cost {
    /// Of the server, for each event stored, in microseconds.
    pub server_us_per_event: f64,
    /// Of the client, for each event stored, in microseconds.
    pub client_us_per_event: f64,
    /// Of the server's threads that live, by name, where they are known.
    pub threads_us_per_event: BTreeMap<String, f64>,
    /// Cores that somebody else used meanwhile, where it was looked at: figures with more than a tenth or so are
    /// blurred.
    pub cores_of_others: Option<f64>,
}

/// A comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    /// What is divided by what.
    pub name: String,
    /// What came out; nothing, if it was not measured.
    pub value: Option<f64>,
    /// What it is to be, if that was said.
    pub aim: Option<Aim>,
    /// Whether it is.
    pub verdict: Option<Verdict>,
}

/// What became of an aim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is so.
    Held,
    /// It is not.
    Missed,
    /// Nobody knows.
    NotMeasured,
}

impl Verdict {
    /// As a person reads it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Missed => "missed",
            Self::NotMeasured => "not measured",
        }
    }
}

/// What a figure is to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// So much, or more.
    AtLeast(f64),
    /// So much, or less.
    AtMost(f64),
}

impl Figure {
    /// The value with its unit, as a person reads it.
    #[must_use]
    pub fn amount(&self) -> String {
        let digits = if self.value >= 100.0 { 0 } else { 3 };
        format!("{:.digits$} {}", self.value, self.unit)
    }
}

impl Ratio {
    /// The value as a person reads it.
    #[must_use]
    pub fn figure(&self) -> String {
        self.value.map(|value| format!("{value:.3}")).unwrap_or_default()
    }
}

impl Aim {
    /// What becomes of it with `value`.
    #[must_use]
    pub fn verdict(self, value: Option<f64>) -> Verdict {
        let held = value.map(|value| match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        });
        match held {
            Some(true) => Verdict::Held,
            Some(false) => Verdict::Missed,
            None => Verdict::NotMeasured,
        }
    }
}

impl std::fmt::Display for Aim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
        }
    }
}

impl Entry {
    /// From what was measured.
    #[must_use]
    pub fn new(key: &str, name: &str, durability: &str, measured: &Measured) -> Self {
        Self {
            key: key.to_owned(),
            name: name.to_owned(),
            durability: durability.to_owned(),
            settings: serde_json::Value::Null,
            seconds: measured.seconds,
            counts: measured.counts,
            events_per_s: measured.events_per_s(),
            rounds_events_per_s: vec![measured.events_per_s()],
            latency: (measured.counts.requests > 0).then(|| measured.latency()),
            points: measured.points(),
            cost: None,
            sync: None,
            checkpoints: None,
            reads: None,
            figures: Vec::new(),
        }
    }

    /// The figure `key`.
    #[must_use]
    pub fn figure(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.key == key).map(|figure| figure.value)
    }

    /// Of several rounds the one in the middle, that of two the slower one.
    #[must_use]
    pub fn middle(mut rounds: Vec<Self>) -> Option<Self> {
        rounds.sort_by(|one, other| one.events_per_s.total_cmp(&other.events_per_s));
        let all: Vec<f64> = rounds.iter().map(|round| round.events_per_s).collect();
        let middle = (rounds.len().max(1) - 1) / 2;
        let mut entry = rounds.into_iter().nth(middle)?;
        entry.rounds_events_per_s = all;
        Some(entry)
    }
}

impl Book {
    /// The entry `key`.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Notes `value` under `name`, if there is one, or an aim that it should be held to.
    pub fn compare(&mut self, name: &str, value: Option<f64>, aim: Option<Aim>) {
        let value = value.filter(|value| value.is_finite());
        if value.is_some() || aim.is_some() {
            let verdict = aim.map(|aim| aim.verdict(value));
            self.ratios.push(Ratio { name: name.to_owned(), value, aim, verdict });
        }
    }

    /// The whole as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let machine = &self.machine;
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}\n", self.title);
        let _ = writeln!(
            out,
            "{} x {}, {} MiB, Linux {}, {}; commit {}, {} build; {}, load before: {:.1}",
            machine.cores,
            machine.processor,
            machine.memory_bytes >> 20,
            machine.kernel,
            machine.file_system,
            machine.commit,
            machine.build,
            machine.began_at,
            machine.load_before
        );
        self.write_entries(&mut out);
        self.write_ratios(&mut out);
        for reason in &self.left_out {
            let _ = writeln!(out, "not measured: {reason}");
        }
        for reason in &self.failed {
            let _ = writeln!(out, "FAILED: {reason}");
        }
        out
    }

    fn write_entries(&self, out: &mut String) {
        let width = self.entries.iter().map(|entry| entry.name.chars().count()).max().unwrap_or(0);
        let _ = writeln!(
            out,
            "\n{:width$} {:>9} {:>8} {:>8} {:>8} {:>9} {:>7} {:>7} {:>6} {:>6}",
            "", "events/s", "p50 ms", "p99 ms", "p99.9", "max", "srv us", "cli us", "others", "failed"
        );
        for entry in &self.entries {
            let _ = write!(out, "{:width$} {:>9.0}", entry.name, entry.events_per_s);
            match &entry.latency {
                Some(latency) => {
                    for us in [latency.p50_us, latency.p99_us, latency.p999_us] {
                        let _ = write!(out, " {:>8.3}", millis(us));
                    }
                    let _ = write!(out, " {:>9.3}", millis(latency.max_us));
                }
                None => out.push_str(&" ".repeat(37)),
            }
            match &entry.cost {
                Some(cost) => {
                    let _ = write!(
                        out,
                        " {:>7.1} {:>7.1} {:>6}",
                        cost.server_us_per_event,
                        cost.client_us_per_event,
                        cost.cores_of_others.map(|cores| format!("{cores:.2}")).unwrap_or_default()
                    );
                }
                None => out.push_str(&" ".repeat(23)),
            }
            let _ = writeln!(out, " {:>6}", entry.counts.failed);
        }
        out.push('\n');
        for entry in &self.entries {
            self.write_details(entry, out);
        }
    }

    fn write_details(&self, entry: &Entry, out: &mut String) {
        if let Some(sync) = &entry.sync {
            let _ = writeln!(
                out,
                "{}: syncs of the log p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms; {} checkpoints",
                entry.name,
                millis(sync.p50_us),
                millis(sync.p99_us),
                millis(sync.p999_us),
                entry.checkpoints.unwrap_or(0)
            );
        }
        if let Some(reads) = &entry.reads {
            let latency = &reads.latency;
            let _ = writeln!(
                out,
                "{}: {:.0} reads/s, p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms; {} failed",
                entry.name,
                reads.reads_per_s,
                millis(latency.p50_us),
                millis(latency.p99_us),
                millis(latency.p999_us),
                reads.failed
            );
        }
        for figure in &entry.figures {
            let _ = writeln!(out, "{}: {} {}", entry.name, figure.name, figure.amount());
        }
        let threads = entry.cost.iter().flat_map(|cost| &cost.threads_us_per_event);
        let threads: Vec<String> =
            threads.filter(|(_, us)| **us >= 0.05).map(|(name, us)| format!("{name} {us:.1}")).collect();
        if !threads.is_empty() {
            let _ = writeln!(out, "{}: CPU us an event: {}", entry.name, threads.join(", "));
        }
    }

    fn write_ratios(&self, out: &mut String) {
        let width = self.ratios.iter().map(|ratio| ratio.name.chars().count()).max().unwrap_or(0);
        if width > 0 {
            out.push('\n');
        }
        for ratio in &self.ratios {
            let _ = write!(out, "{:width$} {:>9}", ratio.name, ratio.figure());
            if let (Some(aim), Some(verdict)) = (ratio.aim, ratio.verdict) {
                let _ = write!(out, "  {aim}: {}", verdict.word());
            }
            out.push('\n');
        }
    }
}

/// Microseconds as milliseconds.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn millis(us: u64) -> f64 {
    us as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Window;
    use std::time::{Duration, Instant};

    fn entry(events: u64) -> Entry {
        let begin = Instant::now();
        let mut window = Window::open(begin, Duration::from_secs(1)).unwrap();
        window.answered(begin, begin + Duration::from_millis(2), events, 0);
        Entry::new("a", "a variant", "durable", &window.close())
    }

    #[test]
    fn the_middle_round_stands_for_all() {
        let middle = Entry::middle(vec![entry(30), entry(10), entry(20)]).unwrap();
        assert!((middle.events_per_s - 20.0).abs() < 1e-9);
        assert_eq!(middle.rounds_events_per_s.len(), 3);
        assert!((Entry::middle(vec![entry(30), entry(10)]).unwrap().events_per_s - 10.0).abs() < 1e-9);
        assert!(Entry::middle(Vec::new()).is_none());
    }

    #[test]
    fn an_aim_says_whether_it_is_held() {
        let machine = Machine::here(std::path::Path::new(".")).unwrap();
        let mut book = Book {
            title: "a run".to_owned(),
            machine,
            entries: vec![entry(30)],
            ratios: Vec::new(),
            left_out: vec!["something".to_owned()],
            failed: vec!["something else".to_owned()],
        };
        book.compare("rate", book.entry("a").map(|entry| entry.events_per_s), Some(Aim::AtLeast(31.0)));
        book.compare("wait", Some(2.0), Some(Aim::AtMost(2.0)));
        book.compare("nothing", None, None);
        book.compare("unknown", None, Some(Aim::AtLeast(8.0)));
        let text = book.text();
        assert!(text.contains("at least 31: missed") && text.contains("at most 2: held"), "{text}");
        assert!(text.contains("at least 8: not measured"), "{text}");
        assert!(
            text.contains("not measured: something") && text.contains("FAILED: something else"),
            "{text}"
        );
        assert_eq!(book.ratios.len(), 3);
        let json = serde_json::to_value(&book).unwrap();
        assert_eq!(json["ratios"][0]["verdict"], "missed");
        assert_eq!(json["ratios"][2]["verdict"], "not_measured");
        assert!(json["ratios"][2]["value"].is_null());
        let page = crate::page::html(&book);
        assert!(page.contains("Failed: something else"), "{page}");
        for cell in ["<td class='missed'>at least 31: missed", "<td class='held'>at most 2: held"] {
            assert!(page.contains(cell), "{page}");
        }
    }
}
