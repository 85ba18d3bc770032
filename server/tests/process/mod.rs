//! The binary as a process that serves.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server process; killed if a test fails before it is stopped.
pub struct Served(Child);

impl Served {
    /// Starts it on `data` at the address `listen`, and returns when it says that it serves.
    pub fn start(data: &Path, listen: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_spoor"))
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut first).unwrap();
        assert!(first.contains("serving"), "{first}");
        Self(child)
    }

    /// Sends it a signal, such as `-TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Stops it as a service manager does; it must end cleanly.
    pub fn stop(mut self) {
        self.signal("-TERM");
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
