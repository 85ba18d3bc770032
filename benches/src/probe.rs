//! Looks at a server while it is measured: processor time, syncs, checkpoints. Knows nothing of what is sent.

use crate::Fault;
use crate::book::{Cost, Entry};
use crate::load::Watcher;
use crate::measure::{Latency, summed_up};
use crate::metered::MeteredDisk;
use crate::usage::{Spent, Usage, family_cpu_ns, machine_cpu_ns};
use indicatif::{ProgressBar, ProgressStyle};
use spoor_server::store::Store;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Threads of the load generator.
const CLIENT_THREADS: &str = "load";

/// Whose processor time is the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// That of this process, but for the load generator's threads.
    ThisProcess,
    /// That of a process and of those that it started.
    Process(u32),
    /// Nobody's that can be looked at.
    Nobody,
}

/// A look at one server.
pub struct Probe {
    of: Of,
    store: Option<Arc<dyn Store>>,
    disk: Option<Arc<MeteredDisk>>,
    bar: ProgressBar,
    before: Option<Reading>,
    spent: Option<(Spent, u64, u64)>,
    sync: Option<Latency>,
    checkpoint: u64,
    checkpoints: u64,
}

struct Reading {
    usage: Usage,
    server_ns: u64,
    machine_ns: u64,
}

impl Reading {
    fn now(of: Of) -> Result<Self, Fault> {
        let server_ns = match of {
            Of::Process(pid) => family_cpu_ns(pid)?,
            Of::ThisProcess | Of::Nobody => 0,
        };
        Ok(Self { usage: Usage::now()?, server_ns, machine_ns: machine_cpu_ns()? })
    }
}

impl Probe {
    /// One that says on a bar, if it is seen, how `name` goes.
    #[must_use]
    pub fn new(of: Of, name: &str, length: Duration) -> Self {
        let bar = ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {elapsed} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Self {
            of,
            store: None,
            disk: None,
            bar,
            before: None,
            spent: None,
            sync: None,
            checkpoint: 0,
            checkpoints: 0,
        }
    }

    /// Looks into `store` and its files as well.
    #[must_use]
    pub fn into(mut self, store: &Arc<dyn Store>, disk: Option<&Arc<MeteredDisk>>) -> Self {
        self.store = Some(Arc::clone(store));
        self.disk = disk.cloned();
        self
    }

    /// Adds what was seen to `entry`.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn note(self, entry: &mut Entry) {
        entry.sync = self.sync;
        entry.checkpoints = self.disk.is_some().then_some(self.checkpoints);
        let Some((spent, server_ns, machine_ns)) = self.spent else { return };
        let each = |ns: u64| ns as f64 / 1e3 / entry.counts.stored.max(1) as f64;
        let client_ns: u64 =
            spent.threads.iter().filter(|(name, _)| name.starts_with(CLIENT_THREADS)).map(|(_, ns)| ns).sum();
        let (server_ns, threads) = match self.of {
            Of::ThisProcess => (spent.cpu_ns.saturating_sub(client_ns), server_threads(&spent)),
            _ => (server_ns, BTreeMap::new()),
        };
        let others = machine_ns.saturating_sub(server_ns).saturating_sub(match self.of {
            Of::ThisProcess => client_ns,
            _ => spent.cpu_ns,
        });
        entry.cost = Some(Cost {
            server_us_per_event: each(server_ns),
            client_us_per_event: each(client_ns),
            threads_us_per_event: threads.into_iter().map(|(name, ns)| (name, each(ns))).collect(),
            cores_of_others: Some(others as f64 / 1e9 / spent.seconds),
        });
    }

    fn look_for_checkpoint(&mut self) {
        let Some(store) = &self.store else { return };
        let position = store.status().checkpoint_position;
        if position > self.checkpoint {
            self.checkpoint = position;
            self.checkpoints += 1;
        }
    }
}

fn server_threads(spent: &Spent) -> BTreeMap<String, u64> {
    let threads = spent.threads.iter().filter(|(name, _)| !name.starts_with(CLIENT_THREADS));
    threads.map(|(name, ns)| (name.clone(), *ns)).collect()
}

impl Watcher for Probe {
    fn begun(&mut self) -> Result<(), Fault> {
        self.look_for_checkpoint();
        self.checkpoints = 0;
        if let Some(disk) = &self.disk {
            disk.forget_sync_times()?;
        }
        self.before = Some(Reading::now(self.of)?);
        Ok(())
    }

    fn progress(&mut self, elapsed: Duration, stored: u64) {
        self.look_for_checkpoint();
        self.bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        self.bar.set_message(format!("{stored} events"));
    }

    fn ended(&mut self) -> Result<(), Fault> {
        if let Some(before) = &self.before {
            let after = Reading::now(self.of)?;
            self.spent = Some((
                after.usage.since(&before.usage),
                after.server_ns.saturating_sub(before.server_ns),
                after.machine_ns.saturating_sub(before.machine_ns),
            ));
        }
        if let Some(disk) = &self.disk {
            self.sync = Some(summed_up(&disk.sync_times()?));
        }
        self.bar.finish_and_clear();
        Ok(())
    }
}
