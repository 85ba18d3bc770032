//! The naive model: the rules of sessions, profiles, traits and counters, read a second time.
//!
//! It keeps everything in lists in order of arrival and works every answer out from them anew. It uses the
//! plain types of the engine and none of its logic, so that an error in one reading shows as a difference.
//! The order of the files is that of a request: `accept` checks it, `choose` finds session and profile,
//! `identify` reads the identifiers of an event, `resolve` decides what becomes of each, `track` stores the
//! events and answers, `place` keeps the sessions, `facts` folds traits and consents, `numbers` works out a
//! session's figures, `reads` answers questions. `people` says who is one person, `acts` takes that back by
//! hand, `explain` says why, and `past` plays what was taken in again up to a time.

mod accept;
mod acts;
mod choose;
mod decimal;
mod expiry;
mod explain;
mod facts;
mod identify;
mod numbers;
mod past;
mod people;
mod place;
mod reads;
mod resolve;
mod track;

use facts::Operation;
use spoor::settings::{DEFAULT_SOURCE, SourceSettings, TraitKind};
use spoor::{Act, Consent, Event, Json, LinkReply, Settings, Timestamp, TrackRequest};
use std::fmt;
use std::sync::Arc;

/// A store that is a handful of lists.
#[derive(Debug, Clone)]
pub struct Model {
    settings: Arc<Settings>,
    last_stamp: Timestamp,
    sequence: u64,
    drawn: u64,
    devices: Vec<Device>,
    fragments: Vec<Fragment>,
    links: Vec<LinkRow>,
    /// How many times a link came to join.
    joined: u64,
    /// Identifiers that a joining link has, and the fragment by which whoever has one is told to have it.
    carriers: Vec<(Identifier, usize)>,
    merges: Vec<MergeRow>,
    /// Pairs of fragments that must not be in one profile.
    guards: Vec<[usize; 2]>,
    quarantined: Vec<Quarantined>,
    /// What acts have blocked.
    blocked: Vec<BlockedRow>,
    happened: Vec<Happened>,
    sessions: Vec<SessionRow>,
    events: Vec<EventRow>,
    kinds: Vec<(String, TraitKind)>,
    /// All that was taken in, to be played again up to a time.
    inputs: Vec<Input>,
}

/// Something that was taken in, with its place in time.
#[derive(Debug, Clone)]
enum Input {
    Request { stamp: Timestamp, received: Timestamp, request: TrackRequest },
    Act { stamp: Timestamp, received: Timestamp, act: Act },
    Tick(Timestamp),
}

/// A device.
#[derive(Debug, Clone)]
struct Device {
    key: DeviceKey,
    provisional: bool,
    /// The fragment to which its next event goes.
    holder: usize,
    /// Its first fragment.
    first: usize,
}

/// What one device knows of one person.
#[derive(Debug, Clone)]
struct Fragment {
    device: usize,
    id: String,
    created_at: Timestamp,
    /// Of a fragment that a switch made: the value that it was made for, and who held the device before.
    switched: Option<(Identifier, usize)>,
}

/// What a device is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DeviceKey {
    /// The id that was drawn for it.
    Drawn,
    /// An id that a trusted source brought, in its id space.
    Client { space: String, id: String },
    /// The user of a backend: source, namespace and value. Its id is drawn.
    Stands { source: String, identifier: Identifier },
}

/// A normalised value in its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Identifier {
    namespace: String,
    value: String,
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, self.value)
    }
}

/// A link, whatever has become of it: one for a fragment and what it is linked to.
#[derive(Debug, Clone)]
struct LinkRow {
    fragment: usize,
    to: LinkTo,
    verified: bool,
    /// Whether it may make one profile of two.
    joining: bool,
    state: State,
    /// The place in the log since which it holds as it does.
    came: u64,
    /// Its place in the order in which links came to join; 0 if it never did.
    order: u64,
    first: u64,
    last: u64,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LinkTo {
    Identifier(Identifier),
    Fragment { other: usize, kind: &'static str },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Holds,
    Cut,
    Suspended,
    Quarantined,
    Rejected,
    Expired,
}

/// A union of two profiles.
#[derive(Debug, Clone)]
struct MergeRow {
    id: String,
    sequence: u64,
    link: usize,
    /// The fragment of the link, and the one that it joined.
    ends: [usize; 2],
    /// Guards that were lifted for it.
    lifted: Vec<[usize; 2]>,
    undone: bool,
}

/// A link that waits for a decision, or has one.
#[derive(Debug, Clone)]
struct Quarantined {
    id: String,
    link: usize,
    code: &'static str,
    sequence: u64,
    at: Timestamp,
    decided: bool,
}

/// A value that an act blocked.
#[derive(Debug, Clone)]
struct BlockedRow {
    identifier: Identifier,
    sequence: u64,
    at: Timestamp,
}

/// Something that happened to who a fragment is.
#[derive(Debug, Clone)]
struct Happened {
    sequence: u64,
    at: Timestamp,
    kind: &'static str,
    fragment: usize,
    /// Of a merge, the fragment at its other end.
    other: Option<usize>,
    /// Of a switch, the fragment that had the device when it was decided.
    before: Option<usize>,
    identifier: Option<String>,
    code: Option<&'static str>,
    merge: Option<String>,
    profiles: Vec<String>,
    event: Option<String>,
}

#[derive(Debug, Clone)]
struct SessionRow {
    space: String,
    id: String,
    source: String,
    /// The fragments it has a part for, in the order in which the parts were opened.
    parts: Vec<usize>,
    /// The fragment of the current part.
    current: Option<usize>,
    /// Fragments of other known devices that were sent with it.
    met: Vec<usize>,
    shared: bool,
    ended_at: Option<Timestamp>,
    last_receipt: Timestamp,
    /// The fragment whose silence made it, for a session by inactivity.
    by_inactivity_of: Option<usize>,
    /// The session that it was bridged into.
    alias_of: Option<usize>,
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Session(usize),
    /// A session of its own, named by its sequence number.
    Implicit,
}

/// Within what an event id is unique.
#[derive(Debug, Clone, PartialEq)]
enum Scope {
    Session {
        space: String,
        id: String,
    },
    Device(usize),
    /// A user of a backend without a device so far.
    Key(DeviceKey),
    /// Nobody: the request, with this event alone.
    Content(Box<TrackRequest>),
}

#[derive(Debug, Clone)]
struct EventRow {
    sequence: u64,
    scope: Scope,
    place: Place,
    fragment: Option<usize>,
    time: Timestamp,
    received: Timestamp,
    source: String,
    user_agent: Option<String>,
    request_context: Option<Json>,
    /// As sent, its id and type trimmed, its id drawn if there was none.
    sent: Event,
    id: String,
    operations: Vec<(String, Operation)>,
    consents: Vec<(String, Consent)>,
    links: Vec<LinkReply>,
}

impl EventRow {
    /// The order of events: by time, then by a hash of the id, then by arrival.
    fn order(&self) -> (Timestamp, u64, u64) {
        (self.time, xxhash_rust::xxh3::xxh3_64(self.id.as_bytes()), self.sequence)
    }
}

impl Model {
    /// An empty store.
    #[must_use]
    pub fn new(mut settings: Settings) -> Self {
        if settings.sources.is_empty() {
            settings.sources.insert(DEFAULT_SOURCE.to_owned(), SourceSettings::default());
        }
        Self {
            settings: Arc::new(settings),
            last_stamp: Timestamp(0),
            sequence: 0,
            drawn: 0,
            devices: Vec::new(),
            fragments: Vec::new(),
            links: Vec::new(),
            joined: 0,
            carriers: Vec::new(),
            merges: Vec::new(),
            guards: Vec::new(),
            quarantined: Vec::new(),
            blocked: Vec::new(),
            happened: Vec::new(),
            sessions: Vec::new(),
            events: Vec::new(),
            kinds: Vec::new(),
            inputs: Vec::new(),
        }
    }

    /// An id that nobody else draws.
    fn draw(&mut self, what: &str) -> String {
        self.drawn += 1;
        format!("model-{what}-{}", self.drawn)
    }

    /// The receive stamp of the next event.
    fn stamp(&mut self, received: Timestamp) -> Timestamp {
        self.last_stamp = received.max(Timestamp(self.last_stamp.0 + 1));
        self.last_stamp
    }

    fn source(&self, name: &str) -> &SourceSettings {
        &self.settings.sources[name]
    }

    fn space(&self, source: &str) -> String {
        self.source(source).ids.clone().unwrap_or_else(|| source.to_owned())
    }

    /// The session that a row stands for now.
    fn resolve(&self, mut row: usize) -> usize {
        while let Some(into) = self.sessions[row].alias_of {
            row = into;
        }
        row
    }

    fn events_of_session(&self, row: usize) -> Vec<&EventRow> {
        let mut events: Vec<&EventRow> =
            self.events.iter().filter(|event| event.place == Place::Session(row)).collect();
        events.sort_by_key(|event| event.order());
        events
    }
}
