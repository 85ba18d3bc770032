//! The engine, embedded: one event a request, a fixed number of requests in flight.
//!
//! One thread makes the requests, submits them, and takes the answers back, each put into words as a caller
//! would have it. What it does is within the measured time; making requests is measured apart, to be told
//! from the rest ([`making_ns`]).

use crate::Fault;
use crate::metered::{self, MeteredDisk};
use crate::traffic::{Device, Traffic};
use crate::usage::{Spent, Usage};
use crossbeam_channel::{Receiver, Sender, unbounded};
use spoor::model::Status;
use spoor::{Answer, Clock, Engine, Environment, EventStatus, Settings, SystemClock, TrackError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often the state of the store is looked at, in requests.
const LOOK_EVERY: u64 = 1_024;

/// The overlay counts as no fuller at the end of a stretch if it is by less than one part in so many.
const OVERLAY_SLACK: u64 = 10;

/// A run whose overlay keeps growing ends after so many times the events that were to be measured.
const GIVE_UP: u64 = 4;

/// How long an answer may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

type Answered = (Device, Result<Answer, TrackError>);

/// The client of one store.
#[derive(Debug)]
pub struct Client {
    /// The store.
    pub engine: Engine,
    disk: Arc<MeteredDisk>,
    traffic: Traffic,
    in_flight_max: u64,
    in_flight: u64,
    sender: Sender<Answered>,
    answers: Receiver<Answered>,
    /// Events stored so far.
    pub stored: u64,
    /// Events that had been stored before.
    pub repeated: u64,
}

/// A stretch of a run between the ends of two checkpoints.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// Events stored.
    pub events: u64,
    /// Checkpoints that ended in it, the last one with it.
    pub checkpoints: usize,
    /// Time, processor, bytes.
    pub spent: Spent,
    /// State at its beginning.
    pub before: Status,
    /// State at its end.
    pub after: Status,
    /// Memory at its end.
    pub rss_bytes: u64,
    /// What was read and written, by kind of file.
    pub disk: Vec<(&'static str, metered::Traffic)>,
}

impl Client {
    /// Opens the store in `path`, of which it keeps `in_flight_max` requests in flight.
    ///
    /// # Errors
    /// If the store cannot be opened.
    pub fn open(
        path: &Path,
        settings: Settings,
        traffic: Traffic,
        in_flight_max: u64,
    ) -> Result<Self, Fault> {
        Self::open_on(MeteredDisk::default(), path, settings, traffic, in_flight_max)
    }

    /// [`Client::open`], on a disk of one's own.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(
        disk: MeteredDisk,
        path: &Path,
        settings: Settings,
        traffic: Traffic,
        in_flight_max: u64,
    ) -> Result<Self, Fault> {
        let disk = Arc::new(disk);
        let environment = Environment { disk: disk.clone(), ..Environment::default() };
        let engine = Engine::open_with(path, settings, environment)?;
        let (sender, answers) = unbounded();
        Ok(Self {
            engine,
            disk,
            traffic,
            in_flight_max,
            in_flight: 0,
            sender,
            answers,
            stored: 0,
            repeated: 0,
        })
    }

    /// Submits one request, once there is room for it.
    ///
    /// # Errors
    /// If a request was not stored.
    pub fn submit(&mut self) -> Result<(), Fault> {
        while self.in_flight >= self.in_flight_max {
            self.wait_for_one()?;
        }
        let (request, device) = self.traffic.next(SystemClock.now());
        let sender = self.sender.clone();
        // The receiver lives as long as the client does.
        self.engine.submit(request, move |answer| drop(sender.send((device, answer))));
        self.in_flight += 1;
        Ok(())
    }

    fn wait_for_one(&mut self) -> Result<(), Fault> {
        let (device, answer) = self.answers.recv_timeout(PATIENCE)?;
        self.take(device, answer)?;
        while let Ok((device, answer)) = self.answers.try_recv() {
            self.take(device, answer)?;
        }
        Ok(())
    }

    fn take(&mut self, device: Device, answer: Result<Answer, TrackError>) -> Result<(), Fault> {
        self.in_flight -= 1;
        let reply = answer?.reply();
        for event in &reply.events {
            match event.status {
                EventStatus::Stored => self.stored += 1,
                EventStatus::Duplicate => self.repeated += 1,
            }
        }
        if let Some(profile) = reply.profile
            && self.traffic.waits(device)
        {
            self.traffic.learn(device, &profile.id);
        }
        Ok(())
    }

    /// Waits until everything is answered.
    ///
    /// # Errors
    /// If a request was not stored.
    pub fn settle(&mut self) -> Result<(), Fault> {
        while self.in_flight > 0 {
            self.wait_for_one()?;
        }
        Ok(())
    }

    /// Goes on until `events` more are stored. `progress` is told how many, now and then.
    ///
    /// # Errors
    /// If a request was not stored.
    pub fn run(&mut self, events: u64, mut progress: impl FnMut(u64)) -> Result<(), Fault> {
        let goal = self.stored + events;
        let mut submitted = 0;
        while self.stored < goal {
            self.submit()?;
            submitted += 1;
            if submitted % LOOK_EVERY == 0 {
                progress(self.stored);
            }
        }
        Ok(())
    }

    /// Goes on until its traffic has made `events` events, and all are answered. `progress` is told, now and then, how
    /// many are stored.
    ///
    /// # Errors
    /// If a request was not stored.
    pub fn fill(&mut self, events: u64, mut progress: impl FnMut(u64)) -> Result<(), Fault> {
        let mut submitted = 0;
        while self.traffic.made() < events {
            self.submit()?;
            submitted += 1;
            if submitted % LOOK_EVERY == 0 {
                progress(self.stored);
            }
        }
        self.settle()
    }

    /// The traffic, to go on with.
    #[must_use]
    pub fn into_traffic(self) -> Traffic {
        self.traffic
    }

    /// Goes on until a checkpoint ends.
    fn run_to_checkpoint(&mut self, progress: &mut impl FnMut(u64)) -> Result<Status, Fault> {
        let before = self.engine.status().checkpoint_position;
        loop {
            for _ in 0..LOOK_EVERY {
                self.submit()?;
            }
            progress(self.stored);
            let status = self.engine.status();
            if status.checkpoint_position > before {
                return Ok(status);
            }
        }
    }

    /// Warms up until `warm_up` events are stored and a checkpoint has ended. Then goes on until, between the
    /// ends of two checkpoints, `events` were stored and the overlay became no fuller; or, if that never
    /// happens, until four times as many were stored: the overlays in the result tell.
    ///
    /// # Errors
    /// If a request was not stored.
    pub fn steady(
        &mut self,
        warm_up: u64,
        events: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<Stretch, Fault> {
        let warm = self.stored + warm_up;
        let mut status = self.run_to_checkpoint(&mut progress)?;
        while self.stored < warm {
            status = self.run_to_checkpoint(&mut progress)?;
        }
        let mut marks = vec![self.mark(status)?];
        let last = self.stored + events.saturating_mul(GIVE_UP);
        loop {
            let status = self.run_to_checkpoint(&mut progress)?;
            let end = self.mark(status)?;
            let given_up = self.stored >= last;
            let begin = marks.iter().enumerate().find(|(_, begin)| {
                let level = begin.status.overlay_bytes + begin.status.overlay_bytes / OVERLAY_SLACK;
                end.stored >= begin.stored + events && (given_up || status.overlay_bytes <= level)
            });
            if let Some((at, begin)) = begin {
                return Ok(Stretch {
                    events: end.stored - begin.stored,
                    checkpoints: marks.len() - at,
                    spent: end.usage.since(&begin.usage),
                    before: begin.status,
                    after: status,
                    rss_bytes: end.usage.rss_bytes,
                    disk: end
                        .disk
                        .iter()
                        .zip(&begin.disk)
                        .map(|(end, begin)| (end.0, end.1.since(&begin.1)))
                        .collect(),
                });
            }
            marks.push(end);
        }
    }

    fn mark(&self, status: Status) -> Result<Mark, Fault> {
        Ok(Mark { stored: self.stored, usage: Usage::now()?, status, disk: self.disk.traffic() })
    }
}

/// The end of a checkpoint.
#[derive(Debug)]
struct Mark {
    stored: u64,
    usage: Usage,
    status: Status,
    disk: [(&'static str, metered::Traffic); 5],
}

/// What making one request costs, in nanoseconds of processor time.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn making_ns(traffic: &mut Traffic, requests: u32) -> Result<u64, Fault> {
    let before = Usage::now()?;
    for _ in 0..requests {
        std::hint::black_box(traffic.next(SystemClock.now()));
    }
    Ok(Usage::now()?.since(&before).cpu_ns / u64::from(requests.max(1)))
}
