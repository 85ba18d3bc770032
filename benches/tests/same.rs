//! That all stores do the same work: sent the same requests, one at a time or many at once, they come to the same
//! sessions, profiles and merges. PostgreSQL is left out where it is not installed.
#![expect(clippy::unwrap_used, reason = "a test: a panic is its report")]

use redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};
use spoor::{Clock, SystemClock};
use spoor_benches::embedded::Client;
use spoor_benches::grouped::{GroupStore, fill};
use spoor_benches::postgres::{Cluster, Postgres, find};
use spoor_benches::simple::Simple;
use spoor_benches::sqlite::Sqlite;
use spoor_benches::traffic::{Shape, Traffic, settings};
use std::path::Path;
use tokio_postgres::{Config, NoTls};

const EVENTS: u64 = 800;
/// So that none ends while it is compared.
const INACTIVITY_MS: i64 = 3_600_000;

/// What a store came to.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    events: u64,
    sessions: u64,
    /// Profiles that were ever made, and those that are left.
    made: u64,
    left: u64,
}

fn traffic() -> Traffic {
    let shape = Shape { seed: 11, sessions: 30, identify_per_mille: 200, ..Shape::default() };
    Traffic::new(shape).unwrap()
}

fn spoor(dir: &Path) -> Came {
    let mut client = Client::open(&dir.join("data"), settings(INACTIVITY_MS), traffic(), 1).unwrap();
    client.fill(EVENTS, |_| ()).unwrap();
    let status = client.engine.status();
    client.engine.close().unwrap();
    Came { events: status.events, sessions: status.sessions, made: status.fragments, left: status.profiles }
}

fn sqlite(dir: &Path, group: usize) -> Came {
    let path = dir.join(format!("{group}.sqlite"));
    let mut store = Sqlite::create(&path).unwrap();
    fill(&mut store, &mut traffic(), EVENTS, group, &mut |_| ()).unwrap();
    let events = store.stored();
    drop(store);
    let rows = rusqlite::Connection::open(path).unwrap();
    let count = |table: &str| -> u64 {
        let count: i64 =
            rows.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        count.try_into().unwrap()
    };
    Came { events, sessions: count("session"), made: count("profile_id"), left: count("profile") }
}

fn redb(dir: &Path) -> Came {
    let path = dir.join("bench.redb");
    let mut store = Simple::create(&path).unwrap();
    fill(&mut store, &mut traffic(), EVENTS, 1, &mut |_| ()).unwrap();
    let events = store.stored();
    drop(store);
    let database = redb::Database::open(path).unwrap();
    let read = database.begin_read().unwrap();
    let profiles: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("profiles");
    let ids: TableDefinition<'_, &str, u64> = TableDefinition::new("profile_ids");
    let sessions: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sessions");
    Came {
        events,
        sessions: read.open_table(sessions).unwrap().len().unwrap(),
        made: read.open_table(ids).unwrap().len().unwrap(),
        left: read.open_table(profiles).unwrap().len().unwrap(),
    }
}

fn postgres(dir: &Path, batch: usize) -> Came {
    let cluster = Cluster::start(dir, 1 << 30).unwrap();
    let mut traffic = traffic();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = Postgres::connect(cluster.socket()).await.unwrap();
        while traffic.made() < EVENTS {
            let left = usize::try_from(EVENTS - traffic.made()).unwrap();
            let (items, devices): (Vec<_>, Vec<_>) =
                (0..batch.min(left)).map(|_| traffic.next(SystemClock.now())).unzip();
            let answered = connection.send(&items).await.unwrap();
            for (device, profile) in devices.into_iter().zip(answered.profiles) {
                if traffic.waits(device) {
                    traffic.learn(device, &profile.unwrap());
                }
            }
        }
        let mut config = Config::new();
        config.host_path(cluster.socket()).user("bench").dbname("postgres");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        let query = "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM session), count(*), \
                     count(*) FILTER (WHERE merged_into IS NULL) FROM profile";
        let row = client.query_one(query, &[]).await.unwrap();
        let count = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap();
        Came { events: count(0), sessions: count(1), made: count(2), left: count(3) }
    })
}

#[test]
fn all_stores_come_to_the_same() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let ours = spoor(dir.path());
    assert_eq!(ours.events, EVENTS);
    assert!(ours.made > ours.left + 10, "hardly any merges: {ours:?}");
    assert_eq!(sqlite(dir.path(), 1), ours, "SQLite");
    assert_eq!(redb(dir.path()), ours, "redb");
    match find() {
        Ok(_) => {
            assert_eq!(postgres(dir.path(), 1), ours, "PostgreSQL");
            // By sets, and event by event: devices learn their ids at the same places.
            assert_eq!(postgres(dir.path(), 100), sqlite(dir.path(), 100), "PostgreSQL, 100 a call");
        }
        Err(reason) => println!("not compared: {reason}"),
    }
}
