//! Results: an aligned table for people, JSON for programs.

use crate::metered::Traffic;
use crate::usage::Spent;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What one variant came to.
#[derive(Debug, Clone, Serialize)]
pub struct Result {
    /// The variant.
    pub name: String,
    /// Events stored in the measured time.
    pub events: u64,
    /// Events stored a second.
    pub events_per_s: f64,
    /// Processor time of the whole process for each, in microseconds, the client's among it.
    pub cpu_us_per_event: f64,
    /// Of that, by thread.
    pub threads_us_per_event: BTreeMap<String, f64>,
    /// Bytes that were handed to the disk for each.
    pub written_bytes_per_event: f64,
    /// Size of its files, in bytes.
    pub file_bytes: u64,
    /// Memory at the end, in bytes.
    pub rss_bytes: u64,
    /// Checkpoints that ended in the measured time.
    pub checkpoints: Option<usize>,
    /// Overlay at the beginning and at the end of it, in bytes.
    pub overlay_bytes: Option<(u64, u64)>,
    /// What was read and written in the measured time, by kind of file.
    pub disk: Vec<(&'static str, Traffic)>,
}

impl Result {
    /// From what was used.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn new(name: &str, events: u64, spent: &Spent, file_bytes: u64, rss_bytes: u64) -> Self {
        let each = |number: u64| number as f64 / events as f64;
        let mut threads: BTreeMap<String, f64> =
            spent.threads.iter().map(|(name, ns)| (name.clone(), each(*ns) / 1e3)).collect();
        let ended = spent.cpu_ns.saturating_sub(spent.threads.values().sum());
        threads.insert("(ended)".to_owned(), each(ended) / 1e3);
        Self {
            name: name.to_owned(),
            events,
            events_per_s: events as f64 / spent.seconds,
            cpu_us_per_event: each(spent.cpu_ns) / 1e3,
            threads_us_per_event: threads,
            written_bytes_per_event: each(spent.written_bytes),
            file_bytes,
            rss_bytes,
            checkpoints: None,
            overlay_bytes: None,
            disk: Vec::new(),
        }
    }
}

/// The results as a table, each rate beside those of the others in the columns at the right.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn table(results: &[Result]) -> String {
    let mut out = String::new();
    let width = results.iter().map(|result| result.name.len()).max().unwrap_or(0);
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "{:width$} {:>10} {:>9} {:>8} {:>9} {:>9} {:>8} {:>6}",
        "", "events/s", "events", "CPU us", "written B", "files MiB", "RSS MiB", "ckpts"
    );
    for result in results {
        let checkpoints = result.checkpoints.map_or_else(String::new, |count| count.to_string());
        let _ = writeln!(
            out,
            "{:width$} {:>10.0} {:>9} {:>8.2} {:>9.0} {:>9.1} {:>8.0} {:>6}",
            result.name,
            result.events_per_s,
            result.events,
            result.cpu_us_per_event,
            result.written_bytes_per_event,
            result.file_bytes as f64 / 1_048_576.0,
            result.rss_bytes as f64 / 1_048_576.0,
            checkpoints,
        );
    }
    out
}

/// Processor time by thread, in microseconds an event, where there is more than one thread.
#[must_use]
pub fn threads(results: &[Result]) -> String {
    let mut out = String::new();
    for result in results {
        let parts = result.threads_us_per_event.iter().filter(|(_, us)| **us >= 0.005);
        let parts: Vec<String> = parts.map(|(name, us)| format!("{name} {us:.2}")).collect();
        if parts.len() > 1 {
            let _ = writeln!(out, "{}: {}", result.name, parts.join(", "));
        }
    }
    out
}

/// Each rate divided by each other.
#[must_use]
pub fn ratios(results: &[Result]) -> String {
    let mut out = String::new();
    let width = results.iter().map(|result| result.name.len()).max().unwrap_or(0);
    for one in results {
        let _ = write!(out, "{:width$}", one.name);
        for other in results {
            let _ = write!(out, " {:>8.2}", one.events_per_s / other.events_per_s);
        }
        out.push('\n');
    }
    out
}

/// What the engine did to each kind of file, for each event.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn disks(results: &[Result]) -> String {
    let mut out = String::new();
    for result in results.iter().filter(|result| !result.disk.is_empty()) {
        let _ = writeln!(
            out,
            "{}\n  {:10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            result.name, "", "read B", "reads", "written B", "writes", "ev/sync", "sync us"
        );
        for (kind, traffic) in result.disk.iter().filter(|(_, traffic)| *traffic != Traffic::default()) {
            let each = |number: u64| number as f64 / result.events as f64;
            let _ = writeln!(
                out,
                "  {kind:10} {:>9.0} {:>9.3} {:>9.0} {:>9.3} {:>9.1} {:>9.0}",
                each(traffic.read_bytes),
                each(traffic.reads),
                each(traffic.written_bytes),
                each(traffic.writes),
                result.events as f64 / traffic.syncs as f64,
                traffic.sync_ns as f64 / traffic.syncs as f64 / 1e3,
            );
        }
    }
    out
}
