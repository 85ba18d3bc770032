//! What PostgreSQL does is the same work: events once, counters that add up, merges that move everything. Where it is
//! not installed there is nothing to try.
#![expect(clippy::unwrap_used, reason = "a test: a panic is its report")]

use spoor_benches::filled::{Contents, Filled, Peer};
use spoor_benches::load::{Plan, Target, run};
use spoor_benches::postgres::{Cluster, find};
use spoor_benches::traffic::{Shape, Traffic, settings};
use std::time::Duration;
use tokio_postgres::{Config, NoTls};

/// What must hold in the tables, each a query that gives true.
const SOUND: [(&str, &str); 6] = [
    (
        "sessions count their events",
        "SELECT NOT EXISTS (SELECT FROM session s WHERE s.events <> (SELECT count(*) FROM event e WHERE e.session = s.id))",
    ),
    (
        "profiles count those of their sessions",
        "SELECT NOT EXISTS (SELECT FROM profile p WHERE p.merged_into IS NULL AND p.events <> (SELECT coalesce(sum(s.events), 0) FROM session s WHERE s.profile = p.id))",
    ),
    (
        "profiles count their sessions",
        "SELECT NOT EXISTS (SELECT FROM profile p WHERE p.merged_into IS NULL AND p.sessions <> (SELECT count(*) FROM session s WHERE s.profile = p.id))",
    ),
    (
        "nothing is left with a merged profile",
        "SELECT NOT EXISTS (SELECT FROM (SELECT profile FROM session UNION SELECT profile FROM identifier) o JOIN profile p ON p.id = o.profile WHERE p.merged_into IS NOT NULL)",
    ),
    (
        "identified profiles have traits",
        "SELECT NOT EXISTS (SELECT FROM identifier i JOIN profile p ON p.id = i.profile WHERE p.traits->>'email' IS NULL)",
    ),
    ("there were merges", "SELECT count(*) > 20 FROM profile WHERE merged_into IS NOT NULL"),
];

#[test]
fn the_tables_hold_what_was_sent_once_and_add_up() {
    if let Err(reason) = find() {
        println!("nothing to try: {reason}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Whoever PostgreSQL runs as must be able to come here.
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let cluster = Cluster::start(dir.path(), 1 << 30).unwrap();
    let target = Target::Postgres { socket: cluster.socket().to_owned() };
    let plan = Plan { connections: 3, duration: Duration::from_millis(900), ..Plan::new(target) };
    let shape = Shape { seed: 8, sessions: 60, identify_per_mille: 300, ..Shape::default() };
    let traffic = Traffic::parts(shape, plan.clients()).unwrap();
    let (one, traffic) = run(&plan, traffic, &mut ()).unwrap();
    let (many, traffic) = run(&Plan { batch: 25, ..plan.clone() }, traffic, &mut ()).unwrap();
    let (gathered, _) = run(&Plan { batch: 10, gathered: true, ..plan.clone() }, traffic, &mut ()).unwrap();
    for measured in [&one, &many, &gathered] {
        assert!(measured.counts.stored > 0 && measured.counts.failed == 0, "{:?}", measured.counts);
    }
    assert!(one.counts.repeated + many.counts.repeated > 0);
    let measured = one.counts.stored + many.counts.stored + gathered.counts.stored;
    let events = sound(&cluster);
    assert!(events >= measured, "{events} events, {measured} answered as stored");
}

/// Looks at the tables; returns the number of events.
fn sound(cluster: &Cluster) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut config = Config::new();
        config.host_path(cluster.socket()).user("bench").dbname("postgres");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        for (what, query) in SOUND {
            assert!(client.query_one(query, &[]).await.unwrap().get::<_, bool>(0), "{what}");
        }
        let events: i64 = client.query_one("SELECT count(*) FROM event", &[]).await.unwrap().get(0);
        u64::try_from(events).unwrap()
    })
}

#[test]
fn a_cluster_is_filled_and_copied() {
    if let Err(reason) = find() {
        println!("nothing to try: {reason}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let shape = Shape { seed: 8, sessions: 60, identify_per_mille: 300, ..Shape::default() };
    let settings = settings(5_000);
    let contents = Contents { shape, events: 2_500, settings: &settings, memory_bytes: 1 << 30 };
    let filled = Filled::new(Peer::Postgres, dir.path(), &contents, &mut |_| ()).unwrap();
    let copied = tempfile::tempdir_in(dir.path()).unwrap();
    filled.copy_to(copied.path()).unwrap();
    let cluster = Cluster::start_in(copied.path(), 1 << 30).unwrap();
    assert_eq!(sound(&cluster), 2_500);
    let target = Target::Postgres { socket: cluster.socket().to_owned() };
    let plan = Plan { connections: 3, duration: Duration::from_millis(300), ..Plan::new(target) };
    let (more, _) = run(&plan, filled.traffic(plan.clients()).unwrap(), &mut ()).unwrap();
    assert!(more.counts.stored > 0 && more.counts.failed == 0, "{:?}", more.counts);
    assert!(sound(&cluster) >= 2_500 + more.counts.stored);
}
