//! The load generator: clients that send the traffic of a shop to a server, each on a connection or a stream of its
//! own with one request in flight, and note how long each answer took.
//!
//! In a *closed* loop each client sends its next request when it has the answer to the last: it measures how much
//! a server can do. In an *open* loop requests are due at a fixed rate, whatever the server does, and each latency
//! counts from when its request was due, not from when a client got round to sending it: it measures what a user
//! waits for.

pub mod protocol;

mod connection;
mod http1;
mod http2;
mod reading;
mod schedule;
mod streamed;

pub use connection::{Target, Version};
pub use reading::{Reading, Reads, known_ids};
pub use schedule::Pace;

use crate::Fault;
use crate::measure::{Measured, Window};
use crate::traffic::{Device, Traffic};
use connection::Connection;
use schedule::Schedule;
use serde::Serialize;
use spoor::{Clock, SystemClock, TrackRequest};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What is sent, and how fast.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// To whom.
    pub target: Target,
    /// When the next request is sent.
    pub pace: Pace,
    /// Connections.
    pub connections: usize,
    /// Requests in flight on each; more than one takes HTTP/2 or [`Protocol::Stream`](protocol::Protocol::Stream).
    pub streams: usize,
    /// Events in a request.
    pub batch: usize,
    /// Whether the events of a request are of one session, in one item; otherwise each is an item of its own, of
    /// any session.
    pub gathered: bool,
    /// Threads that send.
    pub threads: usize,
    /// Not measured, in seconds.
    #[serde(serialize_with = "seconds")]
    pub warm_up: Duration,
    /// Measured, in seconds.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl Plan {
    /// A closed loop of one event a request on one connection, for a second.
    #[must_use]
    pub const fn new(target: Target) -> Self {
        Self {
            target,
            pace: Pace::Closed,
            connections: 1,
            streams: 1,
            batch: 1,
            gathered: false,
            threads: 1,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(1),
        }
    }

    /// Clients: each wants traffic of its own.
    #[must_use]
    pub const fn clients(&self) -> usize {
        self.connections * self.streams
    }
}

/// Whoever wants to know how a run goes.
pub trait Watcher {
    /// The warm-up is over.
    ///
    /// # Errors
    /// Ends the run with it.
    fn begun(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// Ten times a second: how long it has been going on, and events stored so far.
    fn progress(&mut self, elapsed: Duration, stored: u64) {
        let _ = (elapsed, stored);
    }

    /// The measured stretch is over.
    ///
    /// # Errors
    /// As [`Watcher::begun`].
    fn ended(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// Nobody.
impl Watcher for () {}

/// What all threads share.
struct Common {
    plan: Plan,
    /// Passed once everybody is connected.
    connected: Barrier,
    /// Passed once there is a schedule.
    begun: Barrier,
    schedule: OnceLock<Arc<Schedule>>,
    /// Some client could not connect: nobody begins.
    lost: AtomicU64,
    stored: Arc<AtomicU64>,
    /// Threads that have sent everything. They stay until it is `over`: the time that they used is looked up by
    /// their names.
    done: AtomicUsize,
    over: AtomicBool,
}

impl Common {
    fn linger(&self) {
        self.done.fetch_add(1, Relaxed);
        while !self.over.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Sends `traffic`, a part to each client of `plan`. Returns what was measured, and the traffic, which goes on where
/// it was in the next run against the same store.
///
/// # Errors
/// If a connection breaks or an answer makes no sense. What a server refuses is counted, and no error.
pub fn run(
    plan: &Plan,
    mut traffic: Vec<Traffic>,
    watcher: &mut dyn Watcher,
) -> Result<(Measured, Vec<Traffic>), Fault> {
    if traffic.len() != plan.clients() {
        return Err(format!("{} clients, and traffic for {}", plan.clients(), traffic.len()).into());
    }
    // Each thread has whole connections.
    let threads = plan.threads.clamp(1, plan.connections);
    let common = Common {
        plan: plan.clone(),
        connected: Barrier::new(threads + 1),
        begun: Barrier::new(threads + 1),
        schedule: OnceLock::new(),
        lost: AtomicU64::new(0),
        stored: Arc::default(),
        done: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    };
    let mut shares = Vec::new();
    for thread in 0..threads {
        let connections = (plan.connections * (thread + 1) / threads) - (plan.connections * thread / threads);
        let rest = traffic.split_off((connections * plan.streams).min(traffic.len()));
        shares.push(std::mem::replace(&mut traffic, rest));
    }
    std::thread::scope(|scope| {
        let mut sending = Vec::new();
        for share in shares {
            let named = std::thread::Builder::new().name("load".to_owned());
            sending.push(named.spawn_scoped(scope, || {
                let sent = send(&common, share);
                common.linger();
                sent
            })?);
        }
        watch(&common, &sending, watcher)?;
        collect(&common, sending)
    })
}

fn watch<T>(
    common: &Common,
    sending: &[ScopedJoinHandle<'_, T>],
    watcher: &mut dyn Watcher,
) -> Result<(), Fault> {
    let plan = &common.plan;
    common.connected.wait();
    let begin = Instant::now();
    let schedule = common.schedule.get_or_init(|| Arc::new(Schedule::new(plan, begin)));
    common.begun.wait();
    let pacer = schedule.start();
    let (warm, end) = (schedule.warm(), schedule.end());
    let mut failed = None;
    let mut moments = [Some(warm), Some(end)];
    let done = || {
        let panicked = sending.iter().filter(|thread| thread.is_finished()).count();
        common.done.load(Relaxed) + panicked >= sending.len()
    };
    while !done() || moments.iter().any(Option::is_some) {
        let now = Instant::now();
        if done() && now < end {
            // They failed, and say why.
            break;
        }
        let [begun, ended] = &mut moments;
        if begun.take_if(|at| *at <= now).is_some() {
            failed = failed.or(watcher.begun().err());
        } else if ended.take_if(|at| *at <= now).is_some() {
            failed = failed.or(watcher.ended().err());
        }
        watcher.progress(now.saturating_duration_since(begin), common.stored.load(Relaxed));
        let next = moments.iter().flatten().min().map_or(TELL_EVERY, |at| at.saturating_duration_since(now));
        std::thread::sleep(next.min(TELL_EVERY));
    }
    common.over.store(true, Relaxed);
    schedule.stop();
    if let Some(pacer) = pacer {
        // It ends at once.
        let _ = pacer.join();
    }
    failed.map_or(Ok(()), Err)
}

type Sent = Result<(Vec<Window>, Vec<Traffic>), Fault>;

fn collect(
    common: &Common,
    sending: Vec<ScopedJoinHandle<'_, Sent>>,
) -> Result<(Measured, Vec<Traffic>), Fault> {
    let (mut all, mut traffic) = (Vec::new(), Vec::new());
    for thread in sending {
        let (windows, share) = thread.join().map_err(|_| "a thread of the load generator panicked")??;
        all.extend(windows);
        traffic.extend(share);
    }
    let schedule = common.schedule.get().ok_or("nothing was sent")?;
    Ok((common.plan.together(schedule, all)?, traffic))
}

impl Plan {
    /// What all clients measured, and what was due and nobody came to send.
    fn together(&self, schedule: &Schedule, windows: Vec<Window>) -> Result<Measured, Fault> {
        let mut given_up = self.window(schedule)?;
        for due in schedule.never_sent() {
            given_up.answered(due, schedule.given_up_at(), 0, 0);
            given_up.troubled(due, self.batch as u64, 0);
        }
        let mut measured = given_up.close();
        for window in windows {
            measured.add(&window.close())?;
        }
        Ok(measured)
    }

    fn window(&self, schedule: &Schedule) -> Result<Window, Fault> {
        match self.pace {
            Pace::Closed => Window::open(schedule.warm(), self.duration),
            Pace::Open { .. } => Window::open_by_due(schedule.warm(), self.duration),
        }
    }
}

/// A thread: connects its share of the clients, waits for the others, and sends until it is over.
fn send(common: &Common, traffic: Vec<Traffic>) -> Sent {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connected = Connection::connect_all(&common.plan, traffic.len()).await;
        if connected.is_err() {
            common.lost.fetch_add(1, Relaxed);
        }
        common.connected.wait();
        common.begun.wait();
        let schedule = Arc::clone(common.schedule.get().ok_or("no schedule")?);
        let connections = connected?;
        if common.lost.load(Relaxed) > 0 {
            return Ok((Vec::new(), traffic));
        }
        let mut clients = JoinSet::new();
        for (connection, traffic) in connections.into_iter().zip(traffic) {
            let client = Client {
                connection,
                traffic,
                schedule: Arc::clone(&schedule),
                window: common.plan.window(&schedule)?,
                batch: common.plan.batch,
                gathered: common.plan.gathered,
                stored: Arc::clone(&common.stored),
            };
            clients.spawn(client.run());
        }
        let (mut windows, mut traffic) = (Vec::new(), Vec::new());
        while let Some(client) = clients.join_next().await {
            let (window, part) = client.map_err(|error| error.to_string())??;
            windows.push(window);
            traffic.push(part);
        }
        Ok((windows, traffic))
    })
}

struct Client {
    connection: Connection,
    traffic: Traffic,
    schedule: Arc<Schedule>,
    window: Window,
    batch: usize,
    gathered: bool,
    /// Of all clients, for the progress.
    stored: Arc<AtomicU64>,
}

impl Client {
    async fn run(mut self) -> Result<(Window, Traffic), Fault> {
        while let Some(due) = self.schedule.next().await {
            let (items, devices) = self.make();
            let answered = self.connection.send(&items).await?;
            let now = Instant::now();
            self.window.answered(due, now, answered.stored, answered.repeated);
            self.window.troubled(
                if self.window.by_due() { due } else { now },
                answered.failed,
                answered.retried,
            );
            self.stored.fetch_add(answered.stored, Relaxed);
            for (device, profile) in devices.into_iter().zip(answered.profiles) {
                if let Some(profile) = profile
                    && self.traffic.waits(device)
                {
                    self.traffic.learn(device, &profile);
                }
            }
        }
        Ok((self.window, self.traffic))
    }

    fn make(&mut self) -> (Vec<TrackRequest>, Vec<Device>) {
        let now = SystemClock.now();
        if self.gathered {
            let (item, device) = self.traffic.next_gathered(now, self.batch);
            return (vec![without_agent(item)], vec![device]);
        }
        let made = (0..self.batch.max(1)).map(|_| self.traffic.next(now));
        made.map(|(item, device)| (without_agent(item), device)).unzip()
    }
}

/// The context says it, and the server finds it there: a client that says it twice would look for it in each.
fn without_agent(item: TrackRequest) -> TrackRequest {
    TrackRequest { user_agent: None, ..item }
}
