//! The binary as a process that serves.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

/// A server process; killed if a test fails before it is stopped.
pub struct Served {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Served {
    /// Starts it on `data` at the address `listen`, and returns when it says that it serves.
    pub fn start(data: &Path, listen: &str) -> Self {
        Self::start_with(data, listen, &[])
    }

    /// [`Self::start`] with settings in its environment.
    pub fn start_with(data: &Path, listen: &str, settings: &[(&str, &Path)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_spoor"))
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut served = Self { child, log };
        let first = served.line();
        assert!(first.contains("serving"), "{first}");
        served
    }

    /// The next line of its log; empty once it has ended.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.log.read_line(&mut line).unwrap();
        line
    }

    /// Sends it a signal, such as `-TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Stops it as a service manager does; it must end cleanly.
    pub fn stop(mut self) {
        self.signal("-TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
