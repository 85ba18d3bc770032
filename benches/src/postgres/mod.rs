//! PostgreSQL, the same work as a team would write it there ([`TABLES`]): a cluster of our own in a temporary
//! directory, reached by a Unix socket, with the durability that it comes with.

mod client;

pub use client::Postgres;

use crate::Fault;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Tables and functions.
pub const TABLES: &str = include_str!("tables.sql");

/// Where systems put the server's programs, besides the search path.
const USUAL_PLACES: [&str; 4] =
    ["/usr/lib/postgresql", "/usr/pgsql", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql/bin"];
/// How long it may take to start, or to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the server must say about each of these: that an answered transaction is on the disk.
const DURABILITY: [(&str, &str); 3] =
    [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")];

/// The cluster's folder in the place that it is given.
pub const FOLDER: &str = "cluster";

/// A cluster that runs; it stops when this is dropped, and its files go unless it was started in a place that stays.
#[derive(Debug)]
pub struct Cluster {
    server: Child,
    /// What the server said about itself.
    pub version: String,
    socket: tempfile::TempDir,
    place: PathBuf,
    /// The same, if it goes with this.
    own: Option<tempfile::TempDir>,
}

/// The folder of `initdb` and `postgres`, the newest if there are several.
///
/// # Errors
/// If there is none: where it was looked for, and how to get it.
pub fn find() -> Result<PathBuf, Fault> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(std::env::split_paths(&path).collect(), &USUAL_PLACES)
}

fn find_in(path: Vec<PathBuf>, usual_places: &[&str]) -> Result<PathBuf, Fault> {
    let mut places = path;
    for usual in usual_places {
        places.push(PathBuf::from(usual));
        let Ok(versions) = std::fs::read_dir(usual) else { continue };
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
        versions.sort_by_key(|path| std::cmp::Reverse(version_of(path)));
        places.extend(versions);
    }
    let there = |place: &PathBuf| place.join("initdb").is_file() && place.join("postgres").is_file();
    places.into_iter().find(there).ok_or_else(|| {
        format!(
            "PostgreSQL is not here: no folder of the search path, nor {}, has initdb and postgres; on Debian: apt-get install postgresql",
            usual_places.join(", ")
        )
        .into()
    })
}

fn version_of(bin: &Path) -> u32 {
    let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

impl Cluster {
    /// Makes a cluster below `dir`, on the disk to be measured, starts it and waits until it answers; then makes
    /// the tables. `memory_bytes` is what the machine has: a quarter of it, at most 2 GiB, are for its buffers.
    ///
    /// # Errors
    /// If PostgreSQL is not installed, cannot be started, or would not be durable.
    pub fn start(dir: &Path, memory_bytes: u64) -> Result<Self, Fault> {
        let own = tempfile::Builder::new().prefix("postgres-").tempdir_in(dir)?;
        let mut started = Self::start_in(own.path(), memory_bytes)?;
        started.own = Some(own);
        Ok(started)
    }

    /// Starts the cluster that is in `place`, such as one that was copied there, and makes one if there is none.
    /// `place` is given to the user that PostgreSQL runs as, and its files stay when this is dropped.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_in(place: &Path, memory_bytes: u64) -> Result<Self, Fault> {
        let bin = find()?;
        // The path of a socket may be at most some hundred bytes long.
        let socket = tempfile::Builder::new().prefix("pg-").tempdir_in("/tmp")?;
        let user = Servant::find()?;
        user.own(place)?;
        user.own(socket.path())?;
        let cluster = place.join(FOLDER);
        let new = !cluster.exists();
        if new {
            initialise(&bin, &user, &cluster)?;
        }
        let buffers_mib = (memory_bytes / 4).min(2 << 30) >> 20;
        let log = std::fs::File::create(place.join("log"))?;
        let server = user
            .command(&bin.join("postgres"))
            .arg("-D")
            .arg(&cluster)
            .arg("-k")
            .arg(socket.path())
            .args(["-c", "listen_addresses=", "-c", "max_wal_size=4GB", "-c", "max_connections=300"])
            .args(["-c", &format!("shared_buffers={buffers_mib}MB")])
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let version = String::new();
        let mut started = Self { server, version, socket, place: place.to_owned(), own: None };
        started.wait_until_ready(new)?;
        Ok(started)
    }

    /// Its first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Where its socket is.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// Bytes of its files.
    ///
    /// # Errors
    /// If they cannot be looked at.
    pub fn file_bytes(&self) -> Result<u64, Fault> {
        Ok(crate::usage::file_bytes(&self.place.join(FOLDER).join("base"))?)
    }

    /// What it does before it answers, as it says itself.
    #[must_use]
    pub fn durability() -> String {
        DURABILITY.map(|(name, value)| format!("{name}={value}")).join(", ")
    }

    fn wait_until_ready(&mut self, new: bool) -> Result<(), Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let end = Instant::now() + PATIENCE;
        runtime.block_on(async {
            let (client, connection) = loop {
                match client::config(self.socket.path()).connect(tokio_postgres::NoTls).await {
                    Ok(connected) => break connected,
                    Err(error) => {
                        let ended = self.server.try_wait()?;
                        if ended.is_some() || Instant::now() > end {
                            return Err(
                                format!("PostgreSQL did not start: {error}; {}", self.last_words()).into()
                            );
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            };
            tokio::spawn(async { drop(connection.await) });
            for (name, wanted) in DURABILITY {
                let row = client.query_one(&format!("SHOW {name}"), &[]).await?;
                let value: String = row.get(0);
                if value != wanted {
                    return Err(
                        format!("PostgreSQL has {name}={value}: this would compare unlike things").into()
                    );
                }
            }
            self.version = client.query_one("SHOW server_version", &[]).await?.get(0);
            if new {
                client.batch_execute(TABLES).await?;
            }
            Ok(())
        })
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.place.join("log")).unwrap_or_default();
        log.lines().rev().take(3).collect::<Vec<_>>().join(" / ")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGINT: connections are cut, and the files are left sound.
        let asked = Command::new("kill").arg("-INT").arg(self.server.id().to_string()).status();
        let end = Instant::now() + PATIENCE;
        while asked.is_ok() && Instant::now() < end {
            if !matches!(self.server.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn initialise(bin: &Path, user: &Servant, cluster: &Path) -> Result<(), Fault> {
    let made = user
        .command(&bin.join("initdb"))
        .args(["--auth=trust", "--username=bench", "--encoding=UTF8", "--locale=C", "-D"])
        .arg(cluster)
        .stdin(Stdio::null())
        .output()?;
    if made.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&made.stderr);
    Err(format!("initdb failed: {}", words.lines().collect::<Vec<_>>().join(" / ")).into())
}

/// The user that it runs as: PostgreSQL refuses to run as root.
#[derive(Debug)]
enum Servant {
    Ourselves,
    Other { user: u32, group: u32 },
}

impl Servant {
    fn find() -> Result<Self, Fault> {
        if procfs::process::Process::myself()?.uid()? != 0 {
            return Ok(Self::Ourselves);
        }
        let users = std::fs::read_to_string("/etc/passwd")?;
        let named = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut numbers = line.split(':').skip(2).map(str::parse::<u32>);
            Some(Self::Other { user: numbers.next()?.ok()?, group: numbers.next()?.ok()? })
        };
        let found = named("postgres").or_else(|| named("nobody"));
        found.ok_or_else(|| "PostgreSQL does not run as root, and there is no user to run it as".into())
    }

    /// Gives it `path` and all that is below.
    fn own(&self, path: &Path) -> std::io::Result<()> {
        let Self::Other { user, group } = *self else { return Ok(()) };
        if path.is_dir() {
            for entry in std::fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        chown(path, Some(user), Some(group))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // It looks at the folder that it is started in, and at settings of ours that are not for it.
        command.current_dir("/").env_remove("PGDATA").env("LC_ALL", "C");
        if let Self::Other { user, group } = *self {
            command.uid(user).gid(group);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_found_and_where_there_is_none_it_is_said_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let usual = dir.path().to_str().unwrap();
        let missing = find_in(vec![dir.path().to_owned()], &[usual]).unwrap_err().to_string();
        assert!(missing.contains("not here") && missing.contains(usual), "{missing}");
        assert!(missing.contains("apt-get install postgresql"), "{missing}");
        for version in ["9", "15"] {
            let bin = dir.path().join(version).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            std::fs::write(bin.join("initdb"), "").unwrap();
            std::fs::write(bin.join("postgres"), "").unwrap();
        }
        assert_eq!(find_in(Vec::new(), &[usual]).unwrap(), dir.path().join("15/bin"));
    }
}
