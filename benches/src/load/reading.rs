//! Reads of profiles while others write: at a fixed rate, whatever the server does, each latency from when its read was
//! due. They have a thread of their own, and know nothing of what is written.

use super::http1::Http1;
use super::protocol::Protocol;
use super::schedule::{Pace, Schedule};
use super::{Plan, Target, Version};
use crate::Fault;
use crate::measure::{Measured, Window};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What is read, and how fast.
#[derive(Debug, Clone, Serialize)]
pub struct Reads {
    /// The server.
    pub address: SocketAddr,
    /// Reads due a second, of all connections together.
    pub reads_per_s: f64,
    /// Connections, each with one read in flight.
    pub connections: usize,
    /// Ids of profiles, of which each read takes any.
    #[serde(skip)]
    pub ids: Vec<String>,
    /// Not measured.
    #[serde(serialize_with = "super::seconds")]
    pub warm_up: Duration,
    /// Measured.
    #[serde(serialize_with = "super::seconds")]
    pub duration: Duration,
}

/// Reads that go on.
#[derive(Debug)]
pub struct Reading {
    thread: Option<JoinHandle<Result<Measured, Fault>>>,
    over: Arc<AtomicBool>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

impl Reading {
    /// Begins to read.
    ///
    /// # Errors
    /// If there is no id to read, or no thread to be had.
    pub fn begin(reads: Reads) -> Result<Self, Fault> {
        if reads.ids.is_empty() {
            return Err("there is no profile to read".into());
        }
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        // Its name says that it is the client's.
        let thread = std::thread::Builder::new().name("load-read".to_owned()).spawn(move || {
            let measured = read_all(&reads);
            // The time that it used is looked up by its name.
            while !seen.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            measured
        })?;
        Ok(Self { thread: Some(thread), over })
    }

    /// Waits until all are answered. Those that found their profile count as stored, all others as failed.
    ///
    /// # Errors
    /// If the server could not be read from.
    pub fn end(mut self) -> Result<Measured, Fault> {
        self.over.store(true, Relaxed);
        let thread = self.thread.take().ok_or("it was ended before")?;
        thread.join().map_err(|_| "the thread that reads panicked")?
    }
}

fn read_all(reads: &Reads) -> Result<Measured, Fault> {
    let target = Target::Http { address: reads.address, version: Version::One, protocol: Protocol::Json };
    let plan = Plan {
        pace: Pace::Open { requests_per_s: reads.reads_per_s },
        connections: reads.connections.max(1),
        warm_up: reads.warm_up,
        duration: reads.duration,
        ..Plan::new(target)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connections = Vec::new();
        for _ in 0..plan.connections {
            connections.push(Http1::connect(reads.address, Protocol::Json).await?);
        }
        let schedule = Arc::new(Schedule::new(&plan, Instant::now()));
        let pacer = schedule.start();
        let ids: Arc<[String]> = reads.ids.clone().into();
        let mut readers = JoinSet::new();
        for (number, connection) in (0..).zip(connections) {
            readers.spawn(
                Reader {
                    connection,
                    ids: Arc::clone(&ids),
                    rng: StdRng::seed_from_u64(number),
                    schedule: Arc::clone(&schedule),
                    window: plan.window(&schedule)?,
                }
                .run(),
            );
        }
        let mut windows = Vec::new();
        while let Some(reader) = readers.join_next().await {
            windows.push(reader.map_err(|error| error.to_string())??);
        }
        schedule.stop();
        if let Some(pacer) = pacer {
            // It ends at once.
            let _ = pacer.join();
        }
        plan.together(&schedule, windows)
    })
}

struct Reader {
    connection: Http1,
    ids: Arc<[String]>,
    rng: StdRng,
    schedule: Arc<Schedule>,
    window: Window,
}

impl Reader {
    async fn run(mut self) -> Result<Window, Fault> {
        while let Some(due) = self.schedule.next().await {
            let at = self.rng.random_range(0..self.ids.len());
            let Some(id) = self.ids.get(at) else { continue };
            let (status, ()) = self.connection.get(&format!("/api/v1/profiles/{id}"), |_| Ok(())).await?;
            let found = u64::from(status == 200);
            self.window.answered(due, Instant::now(), found, 0);
            self.window.troubled(due, 1 - found, 0);
        }
        Ok(self.window)
    }
}

/// Up to `most` ids of profiles of the server at `address`: those of events anywhere in its log, so that those of
/// merged profiles are among them, and of profiles that nobody has touched for long.
///
/// # Errors
/// If the server does not answer as ours does.
pub fn known_ids(address: SocketAddr, most: usize) -> Result<Vec<String>, Fault> {
    #[derive(Deserialize)]
    struct Status {
        position: u64,
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Http1::connect(address, Protocol::Json).await?;
        let status = connection.get("/api/v1/status", |body| Ok(serde_json::from_slice::<Status>(body)?));
        let position = status.await?.1.position;
        let mut rng = StdRng::seed_from_u64(position);
        let mut ids = BTreeSet::new();
        for _ in 0..most {
            let after = rng.random_range(0..position.max(1));
            let path = format!("/api/v1/events?after={after}&limit=1");
            ids.extend(connection.get(&path, profile_of_first).await?.1);
        }
        Ok(ids.into_iter().collect())
    })
}

fn profile_of_first(body: &[u8]) -> Result<Option<String>, Fault> {
    #[derive(Deserialize)]
    struct Page {
        items: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        profile: Option<String>,
    }
    let page: Page = serde_json::from_slice(body)?;
    Ok(page.items.into_iter().find_map(|item| item.profile))
}
