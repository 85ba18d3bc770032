//! Servers to be measured: started on a free port, on files of their own, and gone when dropped. The server of the
//! product is there in this process, which can be looked into, and as a process of its own, which is what runs
//! elsewhere.

use crate::Fault;
use crate::limit::{AppendOnly, OnlyTakes, ParseOnly};
use crate::metered::MeteredDisk;
use spoor::{Engine, Environment, Settings};
use spoor_server::http::address::Address;
use spoor_server::http::{Server, serve_store};
use spoor_server::settings::Configuration;
use spoor_server::store::Store;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a process may take until it listens, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server does with what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everything: the engine.
    Spoor,
    /// Nothing.
    ParseOnly,
    /// Appends it to a plain file, durably.
    AppendOnly,
}

/// A server in this process.
#[derive(Debug)]
pub struct Inside {
    server: Option<Server>,
    /// What the engine did to its files; `None` for the others.
    pub disk: Option<Arc<MeteredDisk>>,
}

impl Inside {
    /// Starts one, its files in `dir`, which is there. `settings` are the engine's.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(kind: Kind, dir: &Path, settings: &Settings) -> Result<Self, Fault> {
        let mut configuration = Configuration { engine: settings.clone(), ..Configuration::default() };
        configuration.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let disk = (kind == Kind::Spoor).then(|| Arc::new(MeteredDisk::default()));
        let store: Arc<dyn Store> = match (kind, &disk) {
            (Kind::ParseOnly, _) => Arc::new(OnlyTakes(ParseOnly::default())),
            (Kind::AppendOnly, _) => Arc::new(OnlyTakes(AppendOnly::create(&dir.join("appended"))?)),
            (Kind::Spoor, None) => Arc::new(Engine::open(dir.join("data"), settings.clone())?),
            (Kind::Spoor, Some(disk)) => {
                let environment = Environment { disk: disk.clone(), ..Environment::default() };
                Arc::new(Engine::open_with(dir.join("data"), settings.clone(), environment)?)
            }
        };
        let server = serve_store(&configuration, store, "bench".to_owned())?;
        Ok(Self { server: Some(server), disk })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If it was stopped.
    pub fn address(&self) -> Result<SocketAddr, Fault> {
        Ok(self.server.as_ref().ok_or("it was stopped")?.address())
    }

    /// Its store.
    ///
    /// # Errors
    /// If it was stopped.
    pub fn store(&self) -> Result<&Arc<dyn Store>, Fault> {
        Ok(self.server.as_ref().ok_or("it was stopped")?.store())
    }

    /// Stops it, and closes its store.
    ///
    /// # Errors
    /// If the store could not be closed cleanly.
    pub fn stop(mut self) -> Result<(), Fault> {
        self.server.take().map_or(Ok(()), |server| Ok(server.shutdown()?))
    }
}

/// The product's binary, as a process.
#[derive(Debug)]
pub struct Beside {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Beside {
    /// Starts `program` with its data in `dir`, which is there, and waits until it listens. `settings` are those of the
    /// traffic; of the store, it is told how much memory it may take.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(program: &Path, dir: &Path, settings: &Settings) -> Result<Self, Fault> {
        let (data, config) = (dir.join("data"), dir.join("spoor.toml"));
        std::fs::write(&config, configuration(settings))?;
        let mut child = Command::new(program)
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = Address::read(&data) {
                return Ok(Self { child, address: found.address });
            }
            if let Some(status) = child.try_wait()? {
                return Err(format!("{} ended: {status}", program.display()).into());
            }
            if Instant::now() > end {
                let _ = child.kill();
                return Err(format!("{} does not listen", program.display()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let end = Instant::now() + PATIENCE;
        while asked.is_ok() && Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Of one that has ended there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary that was built beside this program.
///
/// # Errors
/// If it was not.
pub fn built_beside() -> Result<PathBuf, Fault> {
    let own = std::env::current_exe()?;
    let folder = own.parent().ok_or("this program is in no folder")?;
    let program = folder.join("spoor");
    if program.is_file() {
        return Ok(program);
    }
    Err(format!("{} is not there: build it with the same profile", program.display()).into())
}

/// The memory of the store, and the sources and identifiers of the traffic, as an operator writes them.
fn configuration(settings: &Settings) -> String {
    let store = &settings.store;
    let mut out = format!(
        "[server]\nlog = \"warn\"\n[store]\ncache = \"{}B\"\noverlay = \"{}B\"\n",
        store.cache_bytes, store.overlay_bytes
    );
    for (name, source) in &settings.sources {
        let ids = match source.profile_ids {
            spoor::settings::ProfileIds::Client => "client",
            spoor::settings::ProfileIds::Server => "server",
        };
        // Writing to a string does not fail.
        let _ = writeln!(out, "[sources.{name}]\nkeys = \"secret\"\nprofile_ids = \"{ids}\"");
        let _ = writeln!(out, "inactivity_timeout = \"{}ms\"", source.inactivity_timeout_ms);
        if let Some(country) = &source.default_country {
            let _ = writeln!(out, "default_country = \"{country}\"");
        }
    }
    for (name, namespace) in &settings.identifiers {
        let _ = writeln!(out, "[identifiers.{name}]\npriority = {}", namespace.priority);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::settings;
    use spoor_server::settings::{Flags, load_from};

    #[test]
    fn the_process_is_told_what_the_traffic_needs() {
        let mut wanted = settings(30_000);
        (wanted.store.cache_bytes, wanted.store.overlay_bytes) = (48 << 20, 3_000_000);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spoor.toml");
        std::fs::write(&file, configuration(&wanted)).unwrap();
        let flags = Flags { config: Some(file), ..Flags::default() };
        let loaded = load_from(&flags, &[]).unwrap().configuration;
        assert_eq!(loaded.engine.sources, wanted.sources);
        assert_eq!(loaded.engine.store, wanted.store);
        assert_eq!(loaded.engine.identifiers["ssn"], wanted.identifiers["ssn"]);
    }
}
