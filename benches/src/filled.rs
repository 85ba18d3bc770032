//! Stores that hold events before anything is measured: the same events for each kind of store, made once, and copied
//! for each run, so that all runs begin alike. Knows nothing of what is measured.

use crate::Fault;
use crate::embedded::Client;
use crate::grouped::{GroupStore, fill};
use crate::postgres::{Cluster, FOLDER, Postgres};
use crate::simple::Simple;
use crate::sqlite::Sqlite;
use crate::traffic::{Shape, Traffic};
use spoor::{Clock, Settings, SystemClock};
use std::fs;
use std::path::Path;

/// Requests in flight while the engine is filled, and those of a commit or a call of the others.
const AT_ONCE: usize = 1_000;

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// The engine's.
    Spoor,
    /// A cluster of PostgreSQL.
    Postgres,
    /// A database of SQLite.
    Sqlite,
    /// A database of redb in the simple layout.
    Redb,
}

/// What stores are filled with.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// The first events of this.
    pub shape: Shape,
    /// How many.
    pub events: u64,
    /// Of the engine.
    pub settings: &'a Settings,
    /// What the machine has, of which PostgreSQL takes a part.
    pub memory_bytes: u64,
}

/// A store that holds events, closed; its files go when it is dropped.
#[derive(Debug)]
pub struct Filled {
    files: tempfile::TempDir,
    traffic: Traffic,
}

impl Filled {
    /// Fills a store of `peer` in a folder of its own below `dir`. `told` is told how many events there are, now and then.
    ///
    /// # Errors
    /// If the store fails, or is not installed.
    pub fn new(
        peer: Peer,
        dir: &Path,
        contents: &Contents<'_>,
        told: &mut dyn FnMut(u64),
    ) -> Result<Self, Fault> {
        let Contents { settings, memory_bytes, shape, events } = *contents;
        let files = tempfile::Builder::new().prefix("filled-").tempdir_in(dir)?;
        let mut traffic = Traffic::new(shape)?;
        let place = files.path().join(peer.file());
        match peer {
            Peer::Spoor => {
                let mut client = Client::open(&place, settings.clone(), traffic, AT_ONCE as u64)?;
                client.fill(events, told)?;
                client.engine.close()?;
                traffic = client.into_traffic();
            }
            Peer::Postgres => {
                fill_postgres(&Cluster::start_in(files.path(), memory_bytes)?, &mut traffic, events, told)?;
            }
            Peer::Sqlite => grouped(&mut Sqlite::create(&place)?, &mut traffic, events, told)?,
            Peer::Redb => grouped(&mut Simple::create(&place)?, &mut traffic, events, told)?,
        }
        Ok(Self { files, traffic })
    }

    /// Copies its files to `dir`, under the name that [`Peer::file`] gives them, and syncs them, so that they are
    /// not written while something is measured.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn copy_to(&self, dir: &Path) -> Result<(), Fault> {
        Ok(copy(self.files.path(), dir)?)
    }

    /// Traffic for `clients` that goes on where the store is: its devices come back.
    ///
    /// # Errors
    /// As [`Traffic::deal`].
    pub fn traffic(&self, clients: usize) -> Result<Vec<Traffic>, Fault> {
        self.traffic.deal(clients)
    }

    /// Bytes of its files.
    ///
    /// # Errors
    /// If they cannot be looked at.
    pub fn file_bytes(&self) -> Result<u64, Fault> {
        Ok(crate::usage::file_bytes(self.files.path())?)
    }
}

impl Peer {
    /// The name of its file or folder.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Spoor => "data",
            Self::Postgres => FOLDER,
            Self::Sqlite => "bench.sqlite",
            Self::Redb => "bench.redb",
        }
    }
}

fn grouped(
    store: &mut dyn GroupStore,
    traffic: &mut Traffic,
    events: u64,
    told: &mut dyn FnMut(u64),
) -> Result<(), Fault> {
    fill(store, traffic, events, AT_ONCE, told)
}

fn fill_postgres(
    cluster: &Cluster,
    traffic: &mut Traffic,
    events: u64,
    told: &mut dyn FnMut(u64),
) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Postgres::connect(cluster.socket()).await?;
        while traffic.made() < events {
            let left = usize::try_from(events - traffic.made())?;
            let now = SystemClock.now();
            let (items, devices): (Vec<_>, Vec<_>) =
                (0..left.min(AT_ONCE)).map(|_| traffic.next(now)).unzip();
            let answered = connection.send(&items).await?;
            for (device, profile) in devices.into_iter().zip(answered.profiles) {
                if let Some(profile) = profile
                    && traffic.waits(device)
                {
                    traffic.learn(device, &profile);
                }
            }
            told(traffic.made());
        }
        // As it would be by itself after a while, in a store that is used.
        connection.analyze().await
    })
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            fs::set_permissions(&to, entry.metadata()?.permissions())?;
            copy(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
            fs::File::open(&to)?.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::settings;

    const EVENTS: u64 = 1_500;

    fn filled(peer: Peer) -> (Filled, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let shape = Shape { seed: 4, sessions: 60, ..Shape::default() };
        let settings = settings(5_000);
        let contents = Contents { shape, events: EVENTS, settings: &settings, memory_bytes: 1 << 30 };
        let filled = Filled::new(peer, dir.path(), &contents, &mut |_| ()).unwrap();
        let copied = tempfile::tempdir().unwrap();
        filled.copy_to(copied.path()).unwrap();
        assert!(filled.file_bytes().unwrap() > 0);
        (filled, copied)
    }

    /// Stores hold each event once, and take what comes after.
    fn goes_on(store: &mut dyn GroupStore, filled: &Filled) {
        assert_eq!(store.stored(), EVENTS);
        let mut traffic = filled.traffic(2).unwrap();
        fill(store, &mut traffic[1], 500, 64, &mut |_| ()).unwrap();
        assert_eq!(store.stored(), EVENTS + 500);
    }

    #[test]
    fn a_copy_holds_the_same_events_whatever_the_store() {
        let (engine, copied) = filled(Peer::Spoor);
        let settings = settings(5_000);
        let mut client = {
            let mut traffic = engine.traffic(3).unwrap();
            let data = copied.path().join(Peer::Spoor.file());
            Client::open(&data, settings, traffic.remove(0), 10).unwrap()
        };
        assert_eq!(client.engine.status().events, EVENTS);
        let (devices, profiles) = (client.engine.status().fragments, client.engine.status().profiles);
        client.fill(500, |_| ()).unwrap();
        assert_eq!(client.engine.status().events, EVENTS + 500);
        // Most sessions are of devices that were there before.
        assert!(client.engine.status().fragments < devices + 60, "{devices}");
        assert!(profiles > 0 && profiles < devices, "{profiles} of {devices}");
        client.engine.close().unwrap();
        let (sqlite, copied) = filled(Peer::Sqlite);
        goes_on(&mut Sqlite::open(&copied.path().join(Peer::Sqlite.file())).unwrap(), &sqlite);
        let (redb, copied) = filled(Peer::Redb);
        goes_on(&mut Simple::open(&copied.path().join(Peer::Redb.file())).unwrap(), &redb);
    }
}
