//! The same events in other orders and other groupings: the content digest must not tell them apart.
//!
//! Owns how requests are put into another order and grouped anew, and the import of each order into a fresh
//! store. It knows nothing of what the events mean. The program `spoor-orders` runs it over a whole file, a test
//! over the sample.

use crate::history::Dice;
use spoor::model::CheckReport;
use spoor::{Engine, Error, Event, Settings, Timestamp, TrackError, TrackRequest};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::mpsc;

/// Requests on their way at once; the engine's mailbox takes more.
const IN_FLIGHT: usize = 1_000;

/// Requests that joining puts into one, at most.
const JOINED_MAX_REQUESTS: u64 = 8;

/// How the events come in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// As they were sent.
    Sent,
    /// Neighbours of one session and profile, with the same context, are one request.
    Joined,
    /// Every event is a request of its own.
    Split,
}

impl Grouping {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sent, Self::Joined, Self::Split];

    /// The requests in this grouping; the dice say how many neighbours are joined each time.
    #[must_use]
    pub fn of(self, requests: Vec<TrackRequest>, dice: &mut Dice) -> Vec<TrackRequest> {
        match self {
            Self::Sent => requests,
            Self::Joined => joined(requests, dice),
            Self::Split => requests.into_iter().flat_map(split).collect(),
        }
    }
}

impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sent => "as sent",
            Self::Joined => "neighbours joined",
            Self::Split => "an event a request",
        })
    }
}

fn split(mut request: TrackRequest) -> Vec<TrackRequest> {
    let events = std::mem::take(&mut request.events);
    events.into_iter().map(|event| TrackRequest { events: vec![event], ..request.clone() }).collect()
}

/// Neighbours are those of one session that follow each other there, whatever other sessions sent in between.
///
/// An event that shares its millisecond with another of its session or profile stays alone: by the rules
/// (decision 3) events of one millisecond keep the order of the request that they came in, so there the grouping
/// matters on purpose.
fn joined(requests: Vec<TrackRequest>, dice: &mut Dice) -> Vec<TrackRequest> {
    let crowded = crowded(&requests);
    let mut joined: Vec<TrackRequest> = Vec::with_capacity(requests.len());
    let mut open: HashMap<(Option<String>, String), (usize, u64)> = HashMap::new();
    for request in requests {
        let session =
            request.session.clone().filter(|_| moments(&request).all(|(at, _)| !crowded.contains(&at)));
        let Some(session) = session else {
            joined.push(request);
            continue;
        };
        let of = (request.source.clone(), session);
        match open.get_mut(&of) {
            Some((place, room)) if *room > 0 && differ_in_events_only(&joined[*place], &request) => {
                *room -= 1;
                joined[*place].events.extend(request.events);
            }
            _ => {
                open.insert(of, (joined.len(), dice.below(JOINED_MAX_REQUESTS)));
                joined.push(request);
            }
        }
    }
    joined
}

/// A session or profile, and a millisecond.
type Moment = (String, Option<i64>);

/// Where and when the events of a request happened, and their ids.
fn moments(request: &TrackRequest) -> impl Iterator<Item = (Moment, Option<&str>)> {
    let names = [&request.session, &request.profile].into_iter().flatten();
    names.flat_map(|name| {
        let of = |event: &'_ Event| (name.clone(), event.time.map(Timestamp::millis));
        request.events.iter().map(move |event| (of(event), event.id.as_deref()))
    })
}

/// The moments of several events. One that was sent again is still one.
fn crowded(requests: &[TrackRequest]) -> HashSet<Moment> {
    let mut seen: HashMap<Moment, Option<&str>> = HashMap::new();
    let mut crowded = HashSet::new();
    for (moment, id) in requests.iter().flat_map(moments) {
        let first = *seen.entry(moment.clone()).or_insert(id);
        if first != id || id.is_none() {
            crowded.insert(moment);
        }
    }
    crowded
}

fn differ_in_events_only(one: &TrackRequest, other: &TrackRequest) -> bool {
    one.source == other.source
        && one.session == other.session
        && one.profile == other.profile
        && one.sent_at == other.sent_at
        && one.context == other.context
        && one.user_agent == other.user_agent
        && one.profile_less == other.profile_less
        && one.origin == other.origin
}

/// Stores the requests in this order in a new store in `dir`, checks it and closes it. `progress` hears, now and
/// then, how many requests are stored.
///
/// # Errors
/// What the store said: of a request that was rejected, too.
pub fn import(
    dir: &Path,
    settings: &Settings,
    requests: &[TrackRequest],
    progress: &mut dyn FnMut(usize),
) -> Result<CheckReport, String> {
    let engine = Engine::open(dir, settings.clone()).map_err(|error| error.to_string())?;
    submit_all(&engine, requests, progress)?;
    let report = engine.check().map_err(|error| error.to_string())?;
    engine.close().map_err(|error| error.to_string())?;
    Ok(report)
}

fn submit_all(
    engine: &Engine,
    requests: &[TrackRequest],
    progress: &mut dyn FnMut(usize),
) -> Result<(), String> {
    let (done, answers) = mpsc::channel();
    let heard = || -> Result<(), String> {
        match answers.recv().expect("this function holds a sender") {
            Ok(_) => Ok(()),
            Err(TrackError::Rejected(rejection)) => Err(format!("rejected: {}", rejection.message)),
            Err(TrackError::Failed(Error::Overloaded)) => Err("overloaded in spite of room".to_owned()),
            Err(TrackError::Failed(error)) => Err(error.to_string()),
        }
    };
    for (sent, request) in requests.iter().enumerate() {
        if sent >= IN_FLIGHT {
            heard()?;
        }
        let done = done.clone();
        // If nobody listens any more, the import has failed already.
        engine.submit(request.clone(), move |answer| drop(done.send(answer.map(drop))));
        if sent % IN_FLIGHT == 0 {
            progress(sent);
        }
    }
    (0..requests.len().min(IN_FLIGHT)).try_for_each(|_| heard())
}

/// One import of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The grouping.
    pub grouping: Grouping,
    /// Seed of the shuffle; 0 leaves the order as it was sent.
    pub seed: u64,
}

impl Order {
    /// `count` random orders in each grouping, and the order as sent; the groupings that change nothing are left
    /// out. The first is that of the file itself.
    #[must_use]
    pub fn all(requests: &[TrackRequest], count: u64) -> Vec<Self> {
        let several = requests.iter().any(|request| request.events.len() > 1);
        let tells = |grouping: &Grouping| *grouping != Grouping::Split || several;
        let orders = |grouping| (0..=count).map(move |seed| Self { grouping, seed });
        Grouping::ALL.into_iter().filter(tells).flat_map(orders).collect()
    }

    /// The requests in this order.
    #[must_use]
    pub fn of(self, requests: &[TrackRequest]) -> Vec<TrackRequest> {
        let mut dice = Dice::new(self.seed);
        let mut requests = self.grouping.of(requests.to_vec(), &mut dice);
        if self.seed > 0 {
            dice.shuffle(&mut requests);
        }
        requests
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seed {
            0 => write!(f, "{}, in order", self.grouping),
            seed => write!(f, "{}, order {seed}", self.grouping),
        }
    }
}

/// Removes requests for as long as the two orders still give different digests. Each try is two imports.
///
/// # Errors
/// As [`import`].
pub fn shortened(
    settings: &Settings,
    requests: Vec<TrackRequest>,
    [one, other]: [Order; 2],
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<TrackRequest>, String> {
    let mut rest = requests;
    let mut step = rest.len().div_ceil(2);
    while step > 0 {
        let mut from = 0;
        while from < rest.len() {
            let to = (from + step).min(rest.len());
            let without = [&rest[..from], &rest[to..]].concat();
            let digest = |order: Order| -> Result<String, String> {
                let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
                let report = import(dir.path(), settings, &order.of(&without), &mut |_| {})?;
                Ok(report.content_digest)
            };
            if digest(one)? == digest(other)? {
                from = to;
            } else {
                rest = without;
                progress(rest.len());
            }
        }
        step = if step == 1 { 0 } else { step.div_ceil(2) };
    }
    Ok(rest)
}
