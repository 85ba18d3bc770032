//! Random histories: few sessions, few profiles, few event ids, so that everything collides with everything.
//!
//! A history is a list of [`Step`]s, so that one that goes wrong can be shown as a scenario. Times of receipt
//! grow by at least five milliseconds before a request that names its own clock, and the timeout of no source
//! is a whole second, so that what happens exactly on a boundary is left to scenarios that say so.

use crate::scenario::{BEGIN, PageOf, Player, Step, write_step};
use crate::target::Maker;
use serde_json::json;
use spoor::model::{AsOf, PageRequest};
use spoor::settings::{
    IdentificationPoint, Keys, Merges, NamespaceSettings, ProfileIds, Sessions, SourceSettings,
};
use spoor::{Act, Consent, Event, Json, Origin, Settings, Timestamp, TrackRequest, TraitOperations};
use std::collections::BTreeMap;

const SESSIONS: u64 = 5;
const CLIENT_IDS: u64 = 4;
const LABELS: u64 = 12;
const TIMEOUT_MS: i64 = 1_799_500;
/// After so long a link expires that is not said again.
const LEASE_MS: u64 = 5_399_499;
/// Replays that shortening a history may take.
const SHORTENING_MAX_PLAYS: usize = 400;

/// A small generator of numbers (splitmix64), the same on every machine.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// One that always gives the same numbers for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of a list.
    ///
    /// # Panics
    /// If it is empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = self.below(from.len() as u64);
        &from[usize::try_from(index).expect("an index")]
    }

    /// Puts a list into another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).expect("an index");
            list.swap(last, other);
        }
    }
}

/// Sources of every kind.
#[must_use]
pub fn settings() -> Settings {
    let source = || SourceSettings { inactivity_timeout_ms: TIMEOUT_MS, ..SourceSettings::default() };
    let space = |name: &str| Some(name.to_owned());
    Settings {
        sources: [
            ("web", source()),
            ("open", SourceSettings { keys: Keys::Public, ids: space("web"), ..source() }),
            ("shy", SourceSettings { merges: Merges::Never, ids: space("web"), ..source() }),
            ("shop", SourceSettings { ids: space("store"), profile_ids: ProfileIds::Client, ..source() }),
            ("till", SourceSettings { ids: space("store"), profile_ids: ProfileIds::Client, ..source() }),
            ("kiosk", SourceSettings { ids: space("store"), ..source() }),
            ("quiet", SourceSettings { sessions: Sessions::Inactivity, ..source() }),
            ("backend", SourceSettings { server: true, ..source() }),
        ]
        .into_iter()
        .map(|(name, source)| (name.to_owned(), source))
        .collect(),
        identifiers: namespaces(),
        identification: vec![
            IdentificationPoint {
                event: "purchase".to_owned(),
                source: "*".to_owned(),
                identifiers: [
                    ("card".to_owned(), "properties.card".to_owned()),
                    ("badge".to_owned(), "properties.badge".to_owned()),
                ]
                .into(),
                verified: false,
            },
            IdentificationPoint {
                event: "*".to_owned(),
                source: "open".to_owned(),
                identifiers: [("sworn".to_owned(), "traits.sworn".to_owned())].into(),
                verified: true,
            },
        ],
        ..Settings::default()
    }
}

/// Namespaces of every kind, with limits that are soon met.
fn namespaces() -> BTreeMap<String, NamespaceSettings> {
    let namespace = |priority: u32| NamespaceSettings { priority, ..NamespaceSettings::default() };
    let mut namespaces = Settings::default().identifiers;
    let more = [
        ("badge", NamespaceSettings { unique: true, fragments_max: 2, ..namespace(1) }),
        ("card", NamespaceSettings { values_per_profile: 2, fragments_max: 3, ..namespace(4) }),
        ("sworn", NamespaceSettings { merges: Merges::Verified, ..namespace(5) }),
        ("noted", NamespaceSettings { merges: Merges::Never, values_per_profile: 2, ..namespace(6) }),
        ("seat", NamespaceSettings { unique: true, merges: Merges::Verified, ..namespace(7) }),
        ("lease", NamespaceSettings { expires_after_ms: Some(LEASE_MS), ..namespace(8) }),
        ("pass", NamespaceSettings { unique: true, expires_after_ms: Some(LEASE_MS), ..namespace(9) }),
    ];
    namespaces.extend(more.map(|(name, namespace)| (name.to_owned(), namespace)));
    if let Some(email) = namespaces.get_mut("email") {
        email.blocked = vec!["Info@Example.com".to_owned()];
        email.blocked_patterns = vec!["^test".to_owned()];
    }
    namespaces
}

/// Namespaces, and how their values begin.
const VALUES: [(&str, &str, &str); 9] = [
    ("user_id", "u-", ""),
    ("email", "u", "@example.com"),
    ("badge", "b-", ""),
    ("card", "c-", ""),
    ("sworn", "s-", ""),
    ("noted", "n-", ""),
    ("seat", "t-", ""),
    ("lease", "l-", ""),
    ("pass", "p-", ""),
];

/// A history of so many requests, and at its end a look at everything.
#[must_use]
pub fn history(seed: u64, requests: usize) -> Vec<Step> {
    let mut maker = HistoryMaker {
        dice: Dice::new(seed),
        fresh: 0,
        sent: Vec::new(),
        now: BEGIN,
        pasts: Vec::new(),
        nameless: seed.is_multiple_of(3),
    };
    let mut steps = Vec::new();
    for _ in 0..requests {
        maker.add(&mut steps);
    }
    steps.extend(reads());
    steps
}

/// Reads of everything that a history may have made.
fn reads() -> Vec<Step> {
    let page = || PageRequest { limit: 7, ..PageRequest::default() };
    let mut steps = vec![Step::Check];
    let labels = (1..=LABELS * 3).map(|count| format!("P{count}"));
    let clients = (0..CLIENT_IDS).map(|count| format!("store:c-{count}"));
    for profile in labels.chain(clients) {
        steps.push(Step::Profile(profile.clone(), AsOf::default()));
        steps.push(Step::Pages(PageOf::Events, profile.clone(), page()));
        steps.push(Step::Pages(PageOf::Links, profile.clone(), page()));
        steps.push(Step::Pages(PageOf::Sessions, profile, PageRequest::default()));
    }
    let spaces = ["web", "store", "quiet", "backend"];
    let own = (0..SESSIONS).flat_map(|count| spaces.map(|space| format!("{space}:s-{count}")));
    for count in 2..=LABELS {
        steps.push(Step::Explain("P1".to_owned(), format!("P{count}")));
    }
    for (namespace, begin, end) in VALUES {
        let values = (0..4).map(|number| format!("{namespace}:{begin}{number}{end}"));
        steps.extend(values.map(|value| Step::Identifier(value, AsOf::default())));
    }
    for of in [PageOf::Quarantine, PageOf::Blocked] {
        steps.push(Step::Pages(of, "-".to_owned(), PageRequest::default()));
    }
    for session in own.chain((1..=LABELS).map(|count| format!("S{count}"))) {
        steps.push(Step::Session(session.clone()));
        steps.push(Step::Pages(PageOf::SessionEvents, session, page()));
    }
    steps
}

struct HistoryMaker {
    dice: Dice,
    fresh: u64,
    sent: Vec<TrackRequest>,
    now: Timestamp,
    /// Times at which nothing was received.
    pasts: Vec<Timestamp>,
    /// Whether events name nobody, so that devices stay apart.
    nameless: bool,
}

impl HistoryMaker {
    fn add(&mut self, steps: &mut Vec<Step>) {
        let again = if self.sent.is_empty() { None } else { Some(self.dice.pick(&self.sent).clone()) };
        let request = match again {
            Some(mut request) if self.dice.percent(20) => {
                self.vary(&mut request);
                request
            }
            _ => self.request(),
        };
        let minutes = if self.dice.percent(4) { 40 } else { 0 };
        let pause_us =
            5_000 + i64::try_from(self.dice.below(5_000)).expect("small") * 1_000 + minutes * 60_000_000;
        if request.sent_at.is_some() || self.dice.percent(85) {
            self.pasts.push(Timestamp(self.now.0 + pause_us - 1_000));
            self.now = Timestamp(self.now.0 + pause_us);
            steps.push(Step::Later(pause_us));
        }
        self.sent.push(request.clone());
        steps.push(Step::Track(Box::new(request)));
        match self.dice.below(100) {
            0..3 => steps.push(Step::Reopen),
            3..5 => steps.push(Step::Crash),
            5..8 => steps.push(Step::Check),
            8..14 => steps.push(Step::Profile(format!("P{}", self.dice.below(LABELS) + 1), AsOf::default())),
            50..54 => {
                let at = (!self.pasts.is_empty()).then(|| *self.dice.pick(&self.pasts));
                let until = self.dice.percent(50).then(|| self.time());
                steps.push(Step::Profile(self.label(), AsOf { at, until }));
            }
            20..50 if !self.nameless => {
                let act = self.act();
                let dry_run = self.dice.percent(15);
                steps.push(Step::Act(act.clone(), dry_run));
                // What was announced is what is done.
                if dry_run {
                    steps.push(Step::Act(act, false));
                }
            }
            14..20 => steps.push(Step::Session(format!("web:s-{}", self.dice.below(SESSIONS)))),
            _ => {}
        }
    }

    /// A repeat: as it was, or in another order, with another profile, or with something new.
    fn vary(&mut self, request: &mut TrackRequest) {
        self.dice.shuffle(&mut request.events);
        if self.dice.percent(30) {
            request.profile = self.profile();
        }
        if self.dice.percent(20) {
            let event = self.event();
            request.events.push(event);
        }
        if self.dice.percent(15) && !request.events.is_empty() {
            "view".clone_into(&mut request.events[0].event_type);
        }
    }

    fn request(&mut self) -> TrackRequest {
        let sources = ["web", "web", "open", "shy", "shop", "till", "kiosk", "quiet", "quiet", "backend"];
        let source = *self.dice.pick(&sources);
        let session = (!self.dice.percent(35)).then(|| format!("s-{}", self.dice.below(SESSIONS)));
        let wrong_clock = self.dice.percent(5);
        let origin = if self.dice.percent(5) { Origin::Import } else { Origin::Live };
        let context = self.dice.percent(20).then(|| {
            json_text(&json!({"page":{"url":"/context","referrer":"/before"},"campaign":{"source":"ads"}}))
        });
        TrackRequest {
            source: Some(source.to_owned()),
            session,
            profile: self.profile(),
            sent_at: wrong_clock.then(|| self.time()),
            context,
            user_agent: None,
            profile_less: self.dice.percent(6),
            origin,
            events: (0..=self.dice.below(4)).map(|_| self.event()).collect(),
        }
    }

    fn profile(&mut self) -> Option<String> {
        match self.dice.below(100) {
            0..35 => None,
            35..75 => Some(format!("P{}", self.dice.below(LABELS) + 1)),
            75..94 => Some(format!("c-{}", self.dice.below(CLIENT_IDS))),
            _ => Some("ghost".to_owned()),
        }
    }

    /// A whole second of the two hours before the beginning.
    fn time(&mut self) -> Timestamp {
        let seconds = i64::try_from(self.dice.below(7_200)).expect("small");
        Timestamp(BEGIN.0 - seconds * 1_000_000)
    }

    fn event(&mut self) -> Event {
        let event_type = *self.dice.pick(&["page-view", "page-view", "click", "purchase", "session-end"]);
        // An event without a time has one of its own; two of one time are ordered by their ids, if these are
        // drawn then differently by each target.
        let timeless = self.dice.percent(8);
        let future = self.dice.percent(2);
        let time = if future { Timestamp(BEGIN.0 + 9_000_000_000_000) } else { self.time() };
        self.fresh += 1;
        let id = match self.dice.below(100) {
            0..8 => self.fresh.saturating_sub(self.dice.below(6)),
            _ => self.fresh,
        };
        Event {
            id: (!timeless || self.dice.percent(50)).then(|| format!("e-{id}")),
            event_type: event_type.to_owned(),
            time: (!timeless).then_some(time),
            properties: self.properties(event_type),
            context: self.dice.percent(5).then(|| json_text(&json!({"page":{"url":"/event"}}))),
            identifiers: self.identifiers(),
            traits: self.traits(),
            consents: self.consents(),
        }
    }

    fn properties(&mut self, event_type: &str) -> Option<Json> {
        let page = format!("/{}", self.dice.below(4));
        match (event_type, self.dice.below(4)) {
            ("page-view", 0) => {
                Some(json_text(&json!({"url": format!("{page}?utm_source=mail&utm_term=a+b")})))
            }
            ("page-view", 1) => Some(json_text(&json!({"path": page, "referrer": "/from"}))),
            ("purchase", 0) => Some(json_text(&json!({"value": 19.95}))),
            ("purchase", 1) => {
                let cards = [json!("c-0"), json!(["c-1", "c-2"]), json!(["c-3", 5, true])];
                let badge = ["b-0", "b-1", "null"][usize::try_from(self.dice.below(3)).expect("small")];
                let card = self.dice.pick(&cards);
                Some(json_text(&json!({"value": 5, "card": card, "badge": badge})))
            }
            ("purchase", 2) => Some(json_text(&json!({"value": "much", "revenue": 3}))),
            _ => None,
        }
    }

    fn identifiers(&mut self) -> Vec<(String, String)> {
        let count = match self.dice.below(10) {
            0..3 => 1,
            3..5 => 2,
            5 => 4,
            _ => 0,
        };
        let count = if self.nameless { 0 } else { count };
        let mut identifiers: Vec<(String, String)> = (0..count).map(|_| self.identifier()).collect();
        identifiers.sort();
        identifiers.dedup_by(|a, b| a.0 == b.0);
        identifiers
    }

    fn identifier(&mut self) -> (String, String) {
        let number = self.dice.below(4);
        let (namespace, value) = match self.dice.below(20) {
            0..4 => ("user_id", format!("u-{number}")),
            4..8 => ("email", format!("U{number}@example.com")),
            8 => (
                "email",
                (*self.dice.pick(&["info@example.com", "test-1@example.com", "x", "null"])).to_owned(),
            ),
            9..12 => ("badge", format!("b-{number}")),
            12..15 => ("card", format!("c-{number}")),
            15 => ("sworn", format!("s-{number}")),
            16 => ("noted", format!("n-{number}")),
            17 => ("seat", format!("t-{number}")),
            18 => ("phone", format!("+6141234567{number}")),
            _ => ("nothing", format!("x-{number}")),
        };
        (namespace.to_owned(), value)
    }

    fn label(&mut self) -> String {
        format!("P{}", self.dice.below(LABELS) + 1)
    }

    fn act(&mut self) -> Act {
        let (namespace, value) = self.identifier();
        let identifier = format!("{namespace}:{value}");
        let back = self.dice.below(4) + 1;
        match self.dice.below(20) {
            0..6 => Act::Undo { merge: format!("m~{back}"), keep_apart: self.dice.percent(30) },
            6..9 => Act::Merge { profile: self.label(), other: self.label(), force: self.dice.percent(30) },
            9..12 => Act::Detach { profile: self.label(), identifier },
            12..14 => Act::Attach { profile: self.label(), identifier },
            14..17 => Act::Decide { quarantine: format!("q~{back}"), approve: self.dice.percent(60) },
            17 | 18 => Act::Block { identifier },
            _ => Act::Unblock { identifier },
        }
    }

    fn traits(&mut self) -> TraitOperations {
        let mut traits = TraitOperations::default();
        if !self.dice.percent(40) {
            return traits;
        }
        for _ in 0..=self.dice.below(3) {
            // The names of one kind are sometimes used with another, which is refused.
            let kind = if self.dice.percent(95) { self.dice.below(3) } else { 9 };
            let operation = self.dice.below(6);
            let small = i64::try_from(self.dice.below(5)).expect("small");
            let name = match (kind, operation) {
                (9, _) => format!("value-{}", self.dice.below(2)),
                (_, 0..3) => format!("value-{}", self.dice.below(3)),
                (_, 3) => format!("counter-{}", self.dice.below(2)),
                _ => format!("collection-{}", self.dice.below(2)),
            };
            let item = if small == 0 { json!(["a", "b", {"k": 1}]) } else { json!(small.to_string()) };
            match operation {
                0 if small == 3 => traits.set.push(("sworn".to_owned(), json_text(&json!("s-1")))),
                0 if small == 4 => traits.set.push((name, json_text(&json!(null)))),
                0 => traits.set.push((name, json_text(&json!(small)))),
                1 => traits.set_once.push((name, json_text(&json!(small * 10)))),
                2 => traits.unset.push(name),
                3 if small == 4 => traits.add.push((name, json_text(&json!("four")))),
                3 => traits
                    .add
                    .push((name, json_text(&json!(0.1 * f64::from(i32::try_from(small).expect("small")))))),
                4 => traits.append.push((name, json_text(&item))),
                _ => traits.remove.push((name, json_text(&item))),
            }
        }
        for list in
            [&mut traits.set, &mut traits.set_once, &mut traits.add, &mut traits.append, &mut traits.remove]
        {
            list.sort();
            list.dedup_by(|a, b| a.0 == b.0);
        }
        traits
    }

    fn consents(&mut self) -> Vec<(String, Consent)> {
        if !self.dice.percent(15) {
            return Vec::new();
        }
        let answer = if self.dice.percent(50) { Consent::Granted } else { Consent::Refused };
        vec![((*self.dice.pick(&["marketing", "stats"])).to_owned(), answer)]
    }
}

fn json_text(value: &serde_json::Value) -> Json {
    Json::from_value(value).expect("shallow")
}

/// Where two targets answer differently, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Index of the step.
    pub at: usize,
    /// What each answers.
    pub answers: [String; 2],
}

/// Plays a history against two new targets and finds the first step that they answer differently.
#[must_use]
pub fn difference(steps: &[Step], settings: &Settings, makers: [Maker; 2]) -> Option<Difference> {
    let mut players = makers.map(|maker| Player::new(maker, settings));
    for (at, step) in steps.iter().enumerate() {
        let answers = players.each_mut().map(|player| comparable(step, &player.step(step)));
        if answers[0] != answers[1] {
            return Some(Difference { at, answers });
        }
    }
    None
}

/// Sessions whose last events have one time, and links of one place, may stand in any order.
fn comparable(step: &Step, answer: &str) -> String {
    if matches!(step, Step::Act(Act::Unblock { .. }, _)) && answer == "not found identifier_unknown" {
        // What nobody ever had is not blocked either.
        return "conflict not_blocked".to_owned();
    }
    if matches!(step, Step::Explain(..)) {
        // Which identifiers are taken at a tie is nobody's business.
        let count = |line: &str| match line.strip_prefix("cut identifiers ") {
            Some(identifiers) => format!("cut {} identifiers", identifiers.split(' ').count()),
            None => line.to_owned(),
        };
        return answer.lines().map(count).collect::<Vec<_>>().join("\n");
    }
    if !matches!(step, Step::Pages(PageOf::Sessions | PageOf::Links, ..)) {
        return answer.to_owned();
    }
    let mut lines: Vec<&str> = answer.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// A history that two targets answer differently, made as short as can be, as a scenario.
#[must_use]
pub fn shortened(mut steps: Vec<Step>, settings: &Settings, makers: [Maker; 2]) -> String {
    let mut plays = 0;
    let mut piece = steps.len() / 2;
    let Some(mut found) = difference(&steps, settings, makers) else { return "no difference".to_owned() };
    steps.truncate(found.at + 1);
    while piece > 0 && plays < SHORTENING_MAX_PLAYS {
        let mut begin = 0;
        while begin < steps.len() && plays < SHORTENING_MAX_PLAYS {
            let mut fewer = steps.clone();
            fewer.drain(begin..(begin + piece).min(fewer.len()));
            plays += 1;
            match difference(&fewer, settings, makers) {
                Some(other) => {
                    fewer.truncate(other.at + 1);
                    steps = fewer;
                    found = other;
                }
                None => begin += piece,
            }
        }
        piece /= 2;
    }
    let written: Vec<String> = steps.iter().map(write_step).collect();
    let [first, second] = &found.answers;
    format!("{}\n----\n{first}\n  and\n{second}", written.join("\n\n"))
}
