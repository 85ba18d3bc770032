//! What this process has used so far: processor time, bytes written, memory. Linux only, from `/proc`.

use crate::Fault;
use procfs::process::Process;
use procfs::{CurrentSI, KernelStats};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// A reading.
#[derive(Debug, Clone)]
pub struct Usage {
    /// When.
    pub at: Instant,
    /// Processor time of all threads, those that ended too, in nanoseconds.
    pub cpu_ns: u64,
    /// Processor time of the threads that live, by name, in nanoseconds.
    pub threads: BTreeMap<String, u64>,
    /// Bytes that were handed to the disks.
    pub written_bytes: u64,
    /// Memory in use.
    pub rss_bytes: u64,
}

impl Usage {
    /// Reads it now. Costs some tens of microseconds a thread.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn now() -> Result<Self, Fault> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let mut threads = BTreeMap::new();
        for task in process.tasks()?.flatten() {
            // A thread may end while it is looked at.
            if let (Ok(stat), Ok(time)) = (task.stat(), task.schedstat()) {
                *threads.entry(stat.comm).or_default() += time.sum_exec_runtime;
            }
        }
        Ok(Self {
            at: Instant::now(),
            cpu_ns: (stat.utime + stat.stime) * (1_000_000_000 / procfs::ticks_per_second()),
            threads,
            written_bytes: process.io()?.write_bytes,
            rss_bytes: process.status()?.vmrss.unwrap_or(0) * 1_024,
        })
    }

    /// Seconds, processor time and bytes written since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Spent {
        let threads = self.threads.iter().map(|(name, now_ns)| {
            let before_ns = before.threads.get(name).copied().unwrap_or(0);
            (name.clone(), now_ns.saturating_sub(before_ns))
        });
        Spent {
            seconds: self.at.duration_since(before.at).as_secs_f64(),
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
            threads: threads.collect(),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}

/// What was used between two readings.
#[derive(Debug, Clone, Default)]
pub struct Spent {
    /// Wall time.
    pub seconds: f64,
    /// Processor time of all threads, in nanoseconds.
    pub cpu_ns: u64,
    /// Processor time of the threads that live, by name, in nanoseconds.
    pub threads: BTreeMap<String, u64>,
    /// Bytes that were handed to the disks.
    pub written_bytes: u64,
}

impl Spent {
    /// Adds what was used between two other readings.
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.cpu_ns += other.cpu_ns;
        self.written_bytes += other.written_bytes;
        for (name, ns) in &other.threads {
            *self.threads.entry(name.clone()).or_default() += ns;
        }
    }
}

/// Memory of a process that is not on disk.
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    /// Now, in bytes.
    pub now_bytes: u64,
    /// The most that it ever was, in bytes.
    pub peak_bytes: u64,
}

/// Memory of the process `pid`.
///
/// # Errors
/// If `/proc` cannot be read, or it is gone.
pub fn resident(pid: u32) -> Result<Resident, Fault> {
    let status = Process::new(i32::try_from(pid)?)?.status()?;
    let bytes =
        |kib: Option<u64>| kib.map(|kib| kib << 10).ok_or("the system does not say how much memory it has");
    Ok(Resident { now_bytes: bytes(status.vmrss)?, peak_bytes: bytes(status.vmhwm)? })
}

/// Processor time of the process `pid` and of those that it started, ended or not, in nanoseconds.
///
/// # Errors
/// If `/proc` cannot be read, or it is gone.
pub fn family_cpu_ns(pid: u32) -> Result<u64, Fault> {
    let pid = i32::try_from(pid)?;
    let ns_per_tick = 1_000_000_000 / procfs::ticks_per_second();
    let head = Process::new(pid)?.stat()?;
    let ended = u64::try_from(head.cutime + head.cstime).unwrap_or(0);
    let mut ticks = head.utime + head.stime + ended;
    // One may end while it is looked at.
    for child in procfs::process::all_processes()?.flatten().filter_map(|process| process.stat().ok()) {
        if child.ppid == pid {
            ticks += child.utime + child.stime;
        }
    }
    Ok(ticks * ns_per_tick)
}

/// Processor time of the whole machine, in nanoseconds: what others use of it shows by comparison.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn machine_cpu_ns() -> Result<u64, Fault> {
    let all = KernelStats::current()?.total;
    let busy = all.user + all.nice + all.system + all.irq.unwrap_or(0) + all.softirq.unwrap_or(0);
    Ok((busy + all.steal.unwrap_or(0)) * (1_000_000_000 / procfs::ticks_per_second()))
}

/// Bytes of a file, or of all files below a directory.
///
/// # Errors
/// If one cannot be looked at.
pub fn file_bytes(path: &Path) -> std::io::Result<u64> {
    let about = std::fs::metadata(path)?;
    if about.is_file() {
        return Ok(about.len());
    }
    std::fs::read_dir(path)?.map(|entry| file_bytes(&entry?.path())).sum()
}
