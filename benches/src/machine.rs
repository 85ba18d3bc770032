//! What a run was made on: figures without it mean nothing.

use crate::Fault;
use procfs::Current;
use serde::Serialize;
use spoor::{Clock, SystemClock};
use std::path::Path;
use std::process::Command;

/// The machine, the program, and when.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processor.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Kernel.
    pub kernel: String,
    /// File system below the stores, and its device.
    pub file_system: String,
    /// Commit that was built; with a mark if files differed from it.
    pub commit: String,
    /// Profile of the build.
    pub build: &'static str,
    /// When the run began.
    pub began_at: String,
    /// Processes that wanted to run, on average over the minute before.
    pub load_before: f32,
}

impl Machine {
    /// This one, with stores below `dir`.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn here(dir: &Path) -> Result<Self, Fault> {
        let processors = procfs::CpuInfo::current()?;
        let processor = processors.model_name(0).unwrap_or("unknown").to_owned();
        Ok(Self {
            processor,
            cores: std::thread::available_parallelism()?.get(),
            memory_bytes: procfs::Meminfo::current()?.mem_total,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            file_system: file_system(dir)?,
            commit: commit(),
            build: if cfg!(debug_assertions) { "debug: its figures mean nothing" } else { "release" },
            began_at: SystemClock.now().to_string(),
            load_before: procfs::LoadAverage::current()?.one,
        })
    }
}

/// Of the mount that `dir` lies below.
fn file_system(dir: &Path) -> Result<String, Fault> {
    let dir = dir.canonicalize()?;
    let mounts = procfs::process::Process::myself()?.mountinfo()?;
    let below = mounts.into_iter().filter(|mount| dir.starts_with(&mount.mount_point));
    let nearest = below.max_by_key(|mount| mount.mount_point.as_os_str().len());
    Ok(nearest.map_or_else(
        || "unknown".to_owned(),
        |mount| format!("{} on {}", mount.fs_type, mount.mount_source.unwrap_or_default()),
    ))
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let said =
            Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changed) if changed.is_empty() => commit,
        _ => format!("{commit} with changes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_says_what_it_is() {
        let machine = Machine::here(Path::new(".")).unwrap();
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 20);
        assert!(machine.file_system.contains(" on "), "{}", machine.file_system);
        assert!(!machine.processor.is_empty() && !machine.kernel.is_empty());
    }
}
