//! The naive model: the rules of sessions, profiles, traits and counters, read a second time.
//!
//! It keeps everything in lists in order of arrival and works every answer out from them anew. It uses the
//! plain types of the engine and none of its logic, so that an error in one reading shows as a difference.
//! The order of the files is that of a request: `accept` checks it, `choose` finds session and profile,
//! `track` stores the events and answers, `place` keeps the sessions, `facts` folds traits and
//! consents, `numbers` works out a session's figures, `reads` answers questions.

mod accept;
mod acts;
mod choose;
mod decimal;
mod explain;
mod facts;
mod numbers;
mod place;
mod reads;
mod track;

use facts::Operation;
use spoor::settings::{DEFAULT_SOURCE, SourceSettings, TraitKind};
use spoor::{Consent, Event, Json, Settings, Timestamp};

/// A store that is a handful of lists.
#[derive(Debug, Clone)]
pub struct Model {
    settings: Settings,
    last_stamp: Timestamp,
    sequence: u64,
    drawn: u64,
    devices: Vec<Device>,
    joins: Vec<Join>,
    sessions: Vec<SessionRow>,
    events: Vec<EventRow>,
    kinds: Vec<(String, TraitKind)>,
}

/// A device and its one fragment.
#[derive(Debug, Clone)]
struct Device {
    key: DeviceKey,
    id: String,
    provisional: bool,
    created_at: Timestamp,
}

/// What a device is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DeviceKey {
    /// The id that was drawn for it.
    Drawn,
    /// An id that a trusted source brought, in its id space.
    Client { space: String, id: String },
    /// The user of a backend: source, namespace and value. Its id is drawn.
    Stands { source: String, namespace: String, value: String },
}

/// Two devices that are one person, since an event.
#[derive(Debug, Clone)]
struct Join {
    devices: [usize; 2],
    sequence: u64,
}

#[derive(Debug, Clone)]
struct SessionRow {
    space: String,
    id: String,
    source: String,
    /// The devices it has a part for, in the order in which the parts were opened.
    parts: Vec<usize>,
    /// The device of the current part.
    current: Option<usize>,
    /// Other known devices that were sent with it.
    met: Vec<usize>,
    shared: bool,
    ended_at: Option<Timestamp>,
    last_receipt: Timestamp,
    /// The device whose silence made it, for a session by inactivity.
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
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Session {
        space: String,
        id: String,
    },
    Device(usize),
    /// An unknown profile id that was not adopted.
    Text {
        source: String,
        profile: String,
    },
    /// A user of a backend without a device so far.
    Key(DeviceKey),
    Source(String),
}

#[derive(Debug, Clone)]
struct EventRow {
    sequence: u64,
    scope: Scope,
    place: Place,
    device: Option<usize>,
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
            settings,
            last_stamp: Timestamp(0),
            sequence: 0,
            drawn: 0,
            devices: Vec::new(),
            joins: Vec::new(),
            sessions: Vec::new(),
            events: Vec::new(),
            kinds: Vec::new(),
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

    /// All devices of the person who has this one, oldest first.
    fn person(&self, device: usize) -> Vec<usize> {
        let mut members = vec![device];
        let mut next = 0;
        while let Some(&member) = members.get(next) {
            next += 1;
            for join in &self.joins {
                let [a, b] = join.devices;
                for (from, to) in [(a, b), (b, a)] {
                    if from == member && !members.contains(&to) {
                        members.push(to);
                    }
                }
            }
        }
        members.sort_unstable();
        members
    }

    fn same_person(&self, a: usize, b: usize) -> bool {
        self.person(a).contains(&b)
    }

    /// The sequence number at which two devices of one person became one; 0 for a device and itself.
    fn joined_at(&self, a: usize, b: usize) -> u64 {
        if a == b {
            return 0;
        }
        // Joins only ever add up: the first one after which the two are connected is the one.
        let mut reached = vec![a];
        let mut joins: Vec<&Join> = self.joins.iter().collect();
        joins.sort_by_key(|join| join.sequence);
        for (count, join) in joins.iter().enumerate() {
            reached.clear();
            reached.push(a);
            let mut next = 0;
            while let Some(&member) = reached.get(next) {
                next += 1;
                for known in &joins[..=count] {
                    let [c, d] = known.devices;
                    for (from, to) in [(c, d), (d, c)] {
                        if from == member && !reached.contains(&to) {
                            reached.push(to);
                        }
                    }
                }
            }
            if reached.contains(&b) {
                return join.sequence;
            }
        }
        u64::MAX
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
