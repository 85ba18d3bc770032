//! Random requests of people who keep their sessions to themselves, and in which nothing is decided for good.
//!
//! Owns the people, their devices of every kind, and what these send: events with ids and times of their own, no
//! limit, switch, refusal or quarantine. So what must not depend on the order of arrival, nor on a merge that was
//! taken back, can be compared. Who is who is left to the store: devices of one person may share an identifier or
//! not. It knows nothing of what is compared.

use crate::history::Dice;
use crate::scenario::BEGIN;
use serde_json::json;
use spoor::settings::{
    IdentificationPoint, Keys, Merges, NamespaceSettings, ProfileIds, Sessions, SourceSettings, TraitPolicy,
    TraitSettings,
};
use spoor::{Consent, Event, Json, Settings, Timestamp, TrackRequest, TraitOperations};
use std::collections::BTreeMap;

/// Silence that ends a session by inactivity: events are further apart now and then.
const TIMEOUT_MS: i64 = 300_000;
const AGENTS: [&str; 2] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E148 Safari/604.1",
];

/// A namespace that nobody of a crowd says anything of, and that names no device.
pub const SLIP: &str = "slip";

/// What a crowd is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manner {
    /// All say of themselves what anybody else might, so that everybody may turn out to be one. Else each has values
    /// of their own, and one of each unique namespace.
    pub shared_values: bool,
    /// A device with an id sometimes sends its session without it.
    pub forgetful: bool,
    /// Many events share their millisecond, though not within a request.
    pub crowded_times: bool,
    /// Unique namespaces are left out.
    pub nothing_unique: bool,
}

/// Sources of every kind, and namespaces whose limits nobody meets.
#[must_use]
pub fn settings() -> Settings {
    let source = || SourceSettings {
        inactivity_timeout_ms: TIMEOUT_MS,
        conversions: vec!["purchase".to_owned()],
        ..SourceSettings::default()
    };
    let named =
        || SourceSettings { profile_ids: ProfileIds::Client, ids: Some("store".to_owned()), ..source() };
    let sources = [
        ("shop", named()),
        ("till", named()),
        ("shy", SourceSettings { merges: Merges::Never, ..named() }),
        ("quiet", SourceSettings { sessions: Sessions::Inactivity, ..named() }),
        ("web", source()),
        ("open", SourceSettings { keys: Keys::Public, ..source() }),
        ("backend", SourceSettings { server: true, ..source() }),
    ];
    let namespace = |priority: u32| NamespaceSettings { priority, ..NamespaceSettings::default() };
    let mut identifiers = Settings::default().identifiers;
    let more = [
        ("badge", NamespaceSettings { unique: true, ..namespace(1) }),
        ("card", namespace(4)),
        ("sworn", NamespaceSettings { merges: Merges::Verified, ..namespace(5) }),
        ("noted", NamespaceSettings { merges: Merges::Never, ..namespace(6) }),
        (SLIP, namespace(9)),
    ];
    identifiers.extend(more.map(|(name, namespace)| (name.to_owned(), namespace)));
    Settings {
        sources: sources.map(|(name, source)| (name.to_owned(), source)).into(),
        identifiers,
        identification: vec![IdentificationPoint {
            event: "purchase".to_owned(),
            source: "*".to_owned(),
            identifiers: [("sworn".to_owned(), "properties.account".to_owned())].into(),
            verified: true,
        }],
        traits: policies(),
        ..Settings::default()
    }
}

/// A trait for each policy.
fn policies() -> BTreeMap<String, TraitSettings> {
    let policies = [
        ("first", TraitPolicy::First),
        ("max", TraitPolicy::Max),
        ("min", TraitPolicy::Min),
        ("any", TraitPolicy::Any),
        ("all", TraitPolicy::All),
    ];
    policies.map(|(name, policy)| (name.to_owned(), TraitSettings { kind: None, policy })).into()
}

/// What names a device.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Device {
    /// An id that it sends to any of these sources.
    Named(String),
    /// The one session that it has, with a source.
    Session(&'static str),
    /// An identifier that it carries.
    User,
}

/// Somebody.
#[derive(Debug, Clone)]
struct Person {
    devices: Vec<Device>,
}

/// People, and what they have sent so far.
#[derive(Debug, Clone)]
pub struct Crowd {
    dice: Dice,
    manner: Manner,
    people: Vec<Person>,
    events: u64,
}

/// By what a store is asked for what it knows of a crowd.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Ids of devices.
    pub devices: Vec<String>,
    /// Ids of sessions.
    pub sessions: Vec<String>,
    /// Identifiers.
    pub identifiers: Vec<String>,
}

impl Crowd {
    /// Some people who have sent nothing yet.
    #[must_use]
    pub fn new(seed: u64, manner: Manner) -> Self {
        let mut dice = Dice::new(seed);
        let people = (0..3 + dice.below(3))
            .map(|person| {
                let devices = (0..=dice.below(3)).map(|device| match dice.below(6) {
                    0..3 => Device::Named(format!("d-{person}-{device}")),
                    3 => Device::Session("web"),
                    4 => Device::Session("open"),
                    _ => Device::User,
                });
                Person { devices: devices.collect() }
            })
            .collect();
        Self { dice, manner, people, events: 0 }
    }

    /// How many people there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// The dice, for what goes on between two requests.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// So many requests of anybody, some of them sent twice.
    pub fn requests(&mut self, count: usize) -> Vec<TrackRequest> {
        let mut requests: Vec<TrackRequest> = Vec::with_capacity(count);
        for _ in 0..count {
            let again =
                (!requests.is_empty() && self.dice.percent(10)).then(|| self.dice.pick(&requests).clone());
            let request = again.unwrap_or_else(|| self.request());
            requests.push(request);
        }
        requests
    }

    /// A request of anybody.
    pub fn request(&mut self) -> TrackRequest {
        let person = usize::try_from(self.dice.below(self.people.len() as u64)).expect("an index");
        self.request_of(person)
    }

    /// A request of one of a person's devices.
    pub fn request_of(&mut self, person: usize) -> TrackRequest {
        let devices = self.people[person].devices.clone();
        let device = usize::try_from(self.dice.below(devices.len() as u64)).expect("an index");
        let mut request = self.addressed(&devices[device], person, device);
        let nobody = request.session.is_some() && self.dice.percent(5);
        if nobody {
            request.profile_less = true;
            request.profile = None;
        }
        request.events = (0..=self.dice.below(3)).map(|index| self.event(person, index)).collect();
        if devices[device] == Device::User {
            for event in &mut request.events {
                if event.identifiers.is_empty() {
                    event.identifiers.push(self.identifier(person));
                }
            }
        }
        request
    }

    /// Whose it is, and by what that is told.
    fn addressed(&mut self, device: &Device, person: usize, place: usize) -> TrackRequest {
        let mut request = TrackRequest {
            context: self.dice.percent(20).then(|| text(&json!({"campaign":{"source":"ads"}}))),
            user_agent: self.dice.percent(60).then(|| (*self.dice.pick(&AGENTS)).to_owned()),
            ..TrackRequest::default()
        };
        let source = match device {
            Device::Session(source) => {
                request.session = Some(format!("s-{person}-{place}"));
                source
            }
            Device::User => "backend",
            Device::Named(id) => {
                request.profile = Some(id.clone());
                let source = *self.dice.pick(&["shop", "shop", "till", "shy", "quiet"]);
                let sends_session = self.dice.percent(60);
                if sends_session {
                    request.session = Some(format!("s-{person}-{place}-{}", self.dice.below(3)));
                    if self.manner.forgetful && self.dice.percent(30) {
                        request.profile = None;
                    }
                }
                source
            }
        };
        request.source = Some(source.to_owned());
        request
    }

    fn event(&mut self, person: usize, index: u64) -> Event {
        self.events += 1;
        let event_type = *self.dice.pick(&["page-view", "page-view", "click", "purchase", "session-end"]);
        // Within a request no two events share their millisecond: their places decide there.
        let ms = if self.manner.crowded_times {
            self.dice.below(40) * 60_000 + index
        } else {
            self.dice.below(7_000) * 1_000 + self.events % 1_000
        };
        let properties = match (event_type, self.dice.below(3)) {
            ("page-view", 0) => Some(text(&json!({"url": format!("/{}?utm_source=mail", self.events)}))),
            ("page-view", 1) => Some(text(&json!({"path": "/p", "referrer": "/from"}))),
            ("purchase", 0) => Some(text(&json!({"value": 19.95}))),
            ("purchase", 1) => Some(text(&json!({"value": 5, "account": self.value("s", person)}))),
            _ => None,
        };
        let count = self.dice.below(5).saturating_sub(2);
        let mut identifiers: Vec<(String, String)> = (0..count).map(|_| self.identifier(person)).collect();
        identifiers.sort();
        identifiers.dedup_by(|one, other| one.0 == other.0);
        Event {
            id: Some(format!("e-{}", self.events)),
            event_type: event_type.to_owned(),
            time: Some(Timestamp(BEGIN.0 - 7_200_000_000 + i64::try_from(ms).expect("small") * 1_000)),
            properties,
            identifiers,
            traits: self.traits(),
            consents: self.consents(),
            ..Event::default()
        }
    }

    /// One of the values that a person may say.
    fn value(&mut self, kind: &str, person: usize) -> String {
        let number = self.dice.below(3);
        if self.manner.shared_values { format!("{kind}{number}") } else { format!("{kind}{person}-{number}") }
    }

    fn identifier(&mut self, person: usize) -> (String, String) {
        let unique = !self.manner.shared_values && !self.manner.nothing_unique;
        let (namespace, value) = match self.dice.below(12) {
            0 | 1 if unique => ("user_id", format!("u-{person}")),
            2 if unique => ("badge", format!("b-{person}")),
            0..6 => ("email", format!("{}@example.com", self.value("u", person))),
            6..9 => ("card", self.value("c", person)),
            9 | 10 => ("sworn", self.value("s", person)),
            _ => ("noted", self.value("n", person)),
        };
        (namespace.to_owned(), value)
    }

    fn traits(&mut self) -> TraitOperations {
        let mut traits = TraitOperations::default();
        for _ in 0..self.dice.below(3) {
            let small = self.dice.below(4);
            let which = self.dice.below(2);
            let item = if small == 0 { json!(["a", "b"]) } else { json!(small.to_string()) };
            // A choice among fragments depends on how many there are, and that on which request came first.
            let kinds = if self.manner.forgetful { 6 } else { 8 };
            match self.dice.below(kinds) {
                6 => {
                    let name = (*self.dice.pick(&["first", "max", "min"])).to_owned();
                    traits.set.push((name, text(&json!(self.events % 17))));
                }
                7 => {
                    let name = (*self.dice.pick(&["any", "all"])).to_owned();
                    traits.set.push((name, text(&json!(small > 1))));
                }
                0 if small == 3 => traits.set.push((format!("value-{which}"), text(&json!(null)))),
                0 => traits.set.push((format!("value-{which}"), text(&json!(self.events)))),
                1 => traits.set_once.push((format!("value-{which}"), text(&json!(self.events)))),
                2 => traits.unset.push(format!("value-{which}")),
                3 => {
                    let number = 0.1 + f64::from(u32::try_from(small).expect("small"));
                    traits.add.push((format!("counter-{which}"), text(&json!(number))));
                }
                4 => traits.append.push((format!("collection-{which}"), text(&item))),
                _ => traits.remove.push((format!("collection-{which}"), text(&item))),
            }
        }
        for list in
            [&mut traits.set, &mut traits.set_once, &mut traits.add, &mut traits.append, &mut traits.remove]
        {
            list.sort();
            list.dedup_by(|one, other| one.0 == other.0);
        }
        traits
    }

    fn consents(&mut self) -> Vec<(String, Consent)> {
        if !self.dice.percent(25) {
            return Vec::new();
        }
        let answer = if self.dice.percent(50) { Consent::Granted } else { Consent::Refused };
        vec![("marketing".to_owned(), answer)]
    }
}

impl Asked {
    /// All names in some requests.
    #[must_use]
    pub fn of(requests: &[TrackRequest]) -> Self {
        let space = |source: &str| match source {
            "shop" | "till" | "shy" | "quiet" => "store".to_owned(),
            own => own.to_owned(),
        };
        let mut asked = Self::default();
        for request in requests {
            let space = space(request.source.as_deref().unwrap_or_default());
            asked.devices.extend(request.profile.iter().map(|id| format!("{space}:{id}")));
            asked.sessions.extend(request.session.iter().map(|id| format!("{space}:{id}")));
            let identifiers = request.events.iter().flat_map(|event| &event.identifiers);
            asked.identifiers.extend(identifiers.map(|(namespace, value)| format!("{namespace}:{value}")));
        }
        for names in [&mut asked.devices, &mut asked.sessions, &mut asked.identifiers] {
            names.sort();
            names.dedup();
        }
        asked
    }
}

fn text(value: &serde_json::Value) -> Json {
    Json::from_value(value).expect("shallow")
}
