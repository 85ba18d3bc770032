//! The server's process, and the command line on its directory.

use crate::connection::Connection;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it serves.
const READY_MAX: Duration = Duration::from_secs(60);

/// Small sizes, so that a kill meets a checkpoint or a segment that is being sealed; and no session that falls
/// silent by itself, since that would change the digest between two looks.
const SETTINGS: &str = r#"
[store]
overlay = "512KiB"
segment = "128KiB"

[sources.web]
inactivity_timeout = "7d"

[sources.shop]
profile_ids = "client"
inactivity_timeout = "7d"
"#;

/// A server that is killed and started again on one directory.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    directory: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// One that is not started, on a directory of its own.
    ///
    /// # Errors
    /// The settings cannot be written there.
    pub fn new(binary: PathBuf, directory: PathBuf) -> Result<Self, String> {
        Self::with(binary, directory, "")
    }

    /// [`Server::new`], with some settings more.
    ///
    /// # Errors
    /// As [`Server::new`].
    pub fn with(binary: PathBuf, directory: PathBuf, more: &str) -> Result<Self, String> {
        let new = Self { binary, directory, child: None };
        let settings = format!("{SETTINGS}\n{more}");
        std::fs::write(new.settings(), settings).map_err(|error| format!("settings: {error}"))?;
        Ok(new)
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn settings(&self) -> PathBuf {
        self.directory.join("spoor.toml")
    }

    fn command(&self, data: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--data").arg(data).arg("--config").arg(self.settings());
        command
    }

    /// Starts the process, and does not wait until it serves.
    ///
    /// # Errors
    /// What the system says.
    pub fn spawn(&mut self) -> Result<(), String> {
        let child = self
            .command(&self.data())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", self.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts the process and waits until it serves.
    ///
    /// # Errors
    /// It does not serve in time, or ended by itself.
    pub fn start(&mut self) -> Result<(), String> {
        self.spawn()?;
        let begun = Instant::now();
        while begun.elapsed() < READY_MAX {
            if let Ok(address) = self.address()
                && let Ok(mut connection) = Connection::open(&address)
                && connection.ask("GET", "/readyz", "").is_ok_and(|(status, _)| status == 200)
            {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(format!("the server ended by itself: {status}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("the server does not serve".to_owned())
    }

    /// Where the process listens, once it does. A file that an earlier one left behind names another process.
    ///
    /// # Errors
    /// It does not listen yet.
    pub fn address(&self) -> Result<String, String> {
        let pid = self.child.as_ref().map_or(0, Child::id);
        let text = std::fs::read(self.data().join("server.json")).map_err(|error| error.to_string())?;
        let file: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        match file["address"].as_str() {
            Some(address) if file["pid"] == pid => Ok(address.to_owned()),
            _ => Err("the server does not listen yet".to_owned()),
        }
    }

    /// SIGKILL: nothing is closed, flushed or said.
    ///
    /// # Errors
    /// It had ended before.
    pub fn kill(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("the server ended before it was killed: {status}"));
        }
        child.kill().and_then(|()| child.wait()).map(|_| ()).map_err(|error| format!("killing: {error}"))
    }

    /// `spoor check`, through the server; its store digest.
    ///
    /// # Errors
    /// What is unsound.
    pub fn check(&self) -> Result<String, String> {
        self.checked(&self.data())
    }

    /// The store digest of a copy after `spoor rebuild`. The copy is what a kill at this moment would leave behind,
    /// so the server is killed for it, and started again.
    ///
    /// # Errors
    /// What a command says.
    pub fn rebuilt_digest(&mut self) -> Result<String, String> {
        self.kill()?;
        let copy = self.directory.join("copy");
        copy_directory(&self.data(), &copy).map_err(|error| format!("copying: {error}"))?;
        let output =
            self.command(&copy).arg("rebuild").output().map_err(|error| format!("rebuild: {error}"))?;
        if !output.status.success() {
            return Err(format!("rebuild: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let digest = self.checked(&copy)?;
        std::fs::remove_dir_all(&copy).map_err(|error| format!("removing the copy: {error}"))?;
        self.start()?;
        Ok(digest)
    }

    fn checked(&self, data: &Path) -> Result<String, String> {
        let output = self.command(data).arg("check").output().map_err(|error| format!("check: {error}"))?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() || !said.ends_with("\nsound\n") {
            return Err(format!("check: {}\n{said}{complained}", output.status));
        }
        let digest = said.lines().find_map(|line| line.strip_prefix("store digest"));
        digest.map(|digest| digest.trim().to_owned()).ok_or_else(|| format!("check names no digest: {said}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A failed run is told already; what is left to do with the process does not matter.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn copy_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
