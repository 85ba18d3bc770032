//! The traffic of a shop, made up: the same for the same seed, but for the times and the ids that a server
//! gives to devices.
//!
//! Its shape is that of six months of a real shop's events: sessions of about nine events, some thousand of
//! them at once, so that events of different sessions interleave; half of the sessions by devices that were
//! there before; half of the devices of a source that brings its own profile ids; one event in twenty says
//! who it was; one request in fifty is sent twice. A request is about 590 bytes of JSON. Times are those of
//! the run.
//!
//! Making a request costs less than a microsecond: its long parts are copied from ones made beforehand.

use crate::Fault;
use crate::agents::agents;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use spoor::settings::{Keys, NamespaceSettings, ProfileIds, Settings, SourceSettings};
use spoor::{Event, Json, Timestamp, TrackRequest, TraitOperations};
use std::sync::Arc;
use uuid::Uuid;

/// Source that brings its own profile ids.
const TRUSTED: &str = "shop";
/// Source whose devices get their profile ids from the server.
const UNTRUSTED: &str = "web";

const CONTEXTS: u16 = 4_096;
const PAGES: u16 = 8_192;
const ENTRIES: u16 = 512;
/// Mean length of a session less one, in events.
const FURTHER_EVENTS: f64 = 8.3;
/// One request in so many is sent twice.
const REPEATED_EVERY: u32 = 50;
/// As in the real shop.
const DEVICES_A_PERSON: usize = 2;

/// Event types and how many of a thousand events have them, those of the real shop. What is missing says who
/// it was.
const TYPES: [(&str, u32); 16] = [
    ("page-view", 308),
    ("product-view", 209),
    ("search", 123),
    ("filter-results", 80),
    ("add-to-cart", 41),
    ("cart", 37),
    ("shipping-details", 29),
    ("wishlist-add", 25),
    ("payment-details", 22),
    ("account-page", 20),
    ("purchase", 14),
    ("review-page", 12),
    ("compare", 9),
    ("support-chat", 9),
    ("error-page", 8),
    ("payment-error", 4),
];

/// What a run may choose.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Shape {
    /// The same seed makes the same traffic.
    pub seed: u64,
    /// Sessions that are active at once.
    pub sessions: usize,
    /// Of a thousand events that are not the first of their session, so many say who it was.
    pub identify_per_mille: u32,
    /// Of a thousand sessions, so many are of devices that were there before.
    pub returning_per_mille: u32,
    /// Devices that there are at most; once there are as many, all sessions are of returning ones.
    pub devices_max: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            seed: 1,
            sessions: 4_000,
            identify_per_mille: 50,
            returning_per_mille: 500,
            devices_max: usize::MAX,
        }
    }
}

impl Shape {
    /// What each of `parts` makes of it.
    fn share(self, parts: u16) -> Self {
        let parts = usize::from(parts.max(1));
        Self {
            sessions: (self.sessions / parts).max(1),
            devices_max: (self.devices_max / parts).max(1),
            ..self
        }
    }

    /// Of the parts far apart, so that runs with neighbouring seeds share nothing.
    fn rng(self, part: u16) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (u64::from(part) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// The settings that the traffic needs. Sessions end after `inactivity_ms`: a run packs a day into seconds,
/// and sessions are to end in it as often as they begin.
#[must_use]
pub fn settings(inactivity_ms: i64) -> Settings {
    let mut settings = Settings::default();
    let source = |profile_ids| SourceSettings {
        profile_ids,
        keys: Keys::Secret,
        inactivity_timeout_ms: inactivity_ms,
        default_country: Some("AU".to_owned()),
        ..SourceSettings::default()
    };
    settings.sources.insert(TRUSTED.to_owned(), source(ProfileIds::Client));
    settings.sources.insert(UNTRUSTED.to_owned(), source(ProfileIds::Server));
    let ssn = NamespaceSettings { priority: 4, ..NamespaceSettings::default() };
    settings.identifiers.insert("ssn".to_owned(), ssn);
    settings
}

/// Number of a device within its traffic.
pub type Device = u32;

/// A source of requests without end.
pub struct Traffic {
    rng: StdRng,
    shape: Shape,
    texts: Arc<Texts>,
    /// Tells its persons from those of other parts.
    part: u16,
    devices: Vec<Owner>,
    visits: Vec<Visit>,
    made: u64,
}

/// The long parts of requests.
struct Texts {
    contexts: Vec<(Json, String)>,
    pages: Vec<(&'static str, Json)>,
    entries: Vec<Json>,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    /// Its profile id; 0 as long as the server gave it none.
    id: u128,
    /// Who has it, and the part of the traffic whose persons are counted by that number.
    person: u32,
    part: u16,
    context: u16,
    trusted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Visit {
    session: u128,
    device: Device,
    left: u16,
    last: Option<Sent>,
}

/// An event, as far as it differs from others.
#[derive(Debug, Clone, Copy)]
struct Sent {
    id: u128,
    time: Timestamp,
    says: Says,
}

#[derive(Debug, Clone, Copy)]
enum Says {
    Entry(u16),
    Page(u16),
    Who,
}

impl std::fmt::Debug for Traffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traffic").field("devices", &self.devices.len()).finish_non_exhaustive()
    }
}

impl Traffic {
    /// Traffic from the beginning.
    ///
    /// # Errors
    /// None, unless a text made here is no JSON.
    pub fn new(shape: Shape) -> Result<Self, Fault> {
        let mut rng = StdRng::seed_from_u64(shape.seed);
        let texts = Arc::new(Texts::new(&mut rng)?);
        Ok(Self::part(shape, texts, rng, 0, Vec::new()))
    }

    /// Traffic for clients that send side by side: each has sessions, devices and persons of its own, and a part
    /// of those that `shape` asks for, at least one.
    ///
    /// # Errors
    /// As [`Traffic::new`].
    pub fn parts(shape: Shape, parts: usize) -> Result<Vec<Self>, Fault> {
        let texts = Arc::new(Texts::new(&mut StdRng::seed_from_u64(shape.seed))?);
        let parts = u16::try_from(parts)?.max(1);
        let share = shape.share(parts);
        let part = |part| Self::part(share, Arc::clone(&texts), shape.rng(part), part, Vec::new());
        Ok((0..parts).map(part).collect())
    }

    /// As [`Traffic::parts`], after what this one has made, and without changing it: its devices are dealt to the
    /// parts, those of a person to the same one, and come back in new sessions.
    ///
    /// # Errors
    /// If there are more parts than are told apart.
    pub fn deal(&self, parts: usize) -> Result<Vec<Self>, Fault> {
        let parts = u16::try_from(parts)?.max(1);
        let mut dealt: Vec<Vec<Owner>> = vec![Vec::new(); usize::from(parts)];
        for (person, devices) in self.devices.chunks(DEVICES_A_PERSON).enumerate() {
            if let Some(hand) = dealt.get_mut(person % usize::from(parts)) {
                hand.extend_from_slice(devices);
            }
        }
        let share = self.shape.share(parts);
        let of_part = |(part, devices)| {
            // Its own new persons are those of no part so far.
            let part = self.part + 1 + part;
            Self::part(share, Arc::clone(&self.texts), self.shape.rng(part), part, devices)
        };
        Ok((0..parts).zip(dealt).map(of_part).collect())
    }

    fn part(shape: Shape, texts: Arc<Texts>, rng: StdRng, part: u16, devices: Vec<Owner>) -> Self {
        let mut traffic = Self { rng, shape, texts, part, devices, visits: Vec::new(), made: 0 };
        for _ in 0..shape.sessions.max(1) {
            let mut visit = traffic.new_visit();
            // As if they had been going on for a while.
            visit.left = traffic.rng.random_range(0..=visit.left);
            traffic.visits.push(visit);
        }
        traffic
    }

    /// The next request, with up to `events` new events of one session at `now`, as a client sends it that
    /// gathers; and the device that it comes from. Nothing is sent twice.
    pub fn next_gathered(&mut self, now: Timestamp, events: usize) -> (TrackRequest, Device) {
        let at = self.rng.random_range(0..self.visits.len());
        let mut visit = self.new_visit();
        let mut sent = Vec::with_capacity(events);
        for number in 0..events.max(1) {
            let says = self.says(number == 0);
            sent.push(Sent { id: self.rng.random(), time: now, says });
        }
        self.made += sent.len() as u64;
        visit.left = 0;
        visit.last = sent.last().copied();
        if let Some(place) = self.visits.get_mut(at) {
            *place = visit;
        }
        let mut request = self.request(&visit);
        request.events = sent.iter().map(|sent| self.event(visit.device, sent)).collect();
        (request, visit.device)
    }

    /// The next request, with its one event at `now`, and the device that it comes from.
    pub fn next(&mut self, now: Timestamp) -> (TrackRequest, Device) {
        let at = self.rng.random_range(0..self.visits.len());
        let Some(mut visit) = self.visits.get(at).copied() else {
            return (TrackRequest::default(), 0);
        };
        let again = self.rng.random_range(0..REPEATED_EVERY) == 0;
        let sent = match visit.last {
            Some(last) if again => last,
            _ => {
                if visit.left == 0 {
                    visit = self.new_visit();
                }
                visit.left -= 1;
                self.made += 1;
                let says = self.says(visit.last.is_none());
                Sent { id: self.rng.random(), time: now, says }
            }
        };
        visit.last = Some(sent);
        if let Some(place) = self.visits.get_mut(at) {
            *place = visit;
        }
        let mut request = self.request(&visit);
        request.events = vec![self.event(visit.device, &sent)];
        (request, visit.device)
    }

    /// Notes the profile id that a device was given, which it sends from now on.
    pub fn learn(&mut self, device: Device, id: &str) {
        let owner = usize::try_from(device).ok().and_then(|at| self.devices.get_mut(at));
        if let (Some(owner), Ok(id)) = (owner, Uuid::parse_str(id)) {
            owner.id = id.as_u128();
        }
    }

    /// Whether a device still waits for its profile id.
    #[must_use]
    pub fn waits(&self, device: Device) -> bool {
        usize::try_from(device).ok().and_then(|at| self.devices.get(at)).is_some_and(|owner| owner.id == 0)
    }

    /// Devices so far.
    #[must_use]
    pub const fn devices(&self) -> usize {
        self.devices.len()
    }

    /// Events so far, without those that were sent again.
    #[must_use]
    pub const fn made(&self) -> u64 {
        self.made
    }

    fn says(&mut self, first: bool) -> Says {
        if first {
            return Says::Entry(self.rng.random_range(0..ENTRIES));
        }
        if self.rng.random_range(0..1_000) < self.shape.identify_per_mille {
            return Says::Who;
        }
        Says::Page(self.rng.random_range(0..PAGES))
    }

    fn new_visit(&mut self) -> Visit {
        let known = self.devices.len();
        let returns = known > 0
            && (known >= self.shape.devices_max
                || self.rng.random_range(0..1_000) < self.shape.returning_per_mille);
        let device = if returns { self.returning(known) } else { self.new_device() };
        // A geometric number, so that some sessions are long.
        let chance: f64 = self.rng.random_range(f64::MIN_POSITIVE..1.0);
        let further = chance.ln() / (FURTHER_EVENTS / (FURTHER_EVENTS + 1.0)).ln();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 200")]
        let left = 1 + further.clamp(0.0, 199.0) as u16;
        Visit { session: self.rng.random(), device, left, last: None }
    }

    /// One that was there before, rather lately than long ago.
    fn returning(&mut self, known: usize) -> Device {
        let share: f64 = self.rng.random();
        #[expect(clippy::cast_precision_loss, reason = "a choice")]
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below the number of devices"
        )]
        let ago = (known as f64 * share * share) as usize;
        Device::try_from(known - 1 - ago.min(known - 1)).unwrap_or(0)
    }

    fn new_device(&mut self) -> Device {
        let trusted = self.rng.random();
        let id = if trusted { self.rng.random() } else { 0 };
        let context = self.rng.random_range(0..CONTEXTS);
        let person = u32::try_from(self.devices.len() / DEVICES_A_PERSON).unwrap_or(u32::MAX);
        self.devices.push(Owner { id, person, part: self.part, context, trusted });
        Device::try_from(self.devices.len() - 1).unwrap_or(Device::MAX)
    }

    fn owner(&self, device: Device) -> Owner {
        let owner = usize::try_from(device).ok().and_then(|at| self.devices.get(at));
        owner.copied().unwrap_or(Owner { id: 0, person: 0, part: 0, context: 0, trusted: false })
    }

    /// Without its events.
    fn request(&self, visit: &Visit) -> TrackRequest {
        let owner = self.owner(visit.device);
        let context = self.texts.contexts.get(usize::from(owner.context));
        TrackRequest {
            source: Some(if owner.trusted { TRUSTED } else { UNTRUSTED }.to_owned()),
            session: Some(text(visit.session)),
            profile: (owner.id != 0).then(|| text(owner.id)),
            context: context.map(|(json, _)| json.clone()),
            user_agent: context.map(|(_, agent)| agent.clone()),
            ..TrackRequest::default()
        }
    }

    fn event(&self, device: Device, sent: &Sent) -> Event {
        let event = Event { id: Some(text(sent.id)), time: Some(sent.time), ..Event::default() };
        match sent.says {
            Says::Entry(at) => {
                let properties = self.texts.entries.get(usize::from(at)).cloned();
                Event { event_type: "page-view".to_owned(), properties, ..event }
            }
            Says::Page(at) => match self.texts.pages.get(usize::from(at)) {
                Some((name, page)) => {
                    Event { event_type: (*name).to_owned(), properties: Some(page.clone()), ..event }
                }
                None => event,
            },
            Says::Who => {
                let owner = self.owner(device);
                who(event, owner.person, owner.part)
            }
        }
    }
}

fn text(id: u128) -> String {
    Uuid::from_u128(id).hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

const FIRST_NAMES: [&str; 8] = ["thomas", "quinn", "amelia", "jack", "isabella", "lachlan", "chloe", "harry"];
const LAST_NAMES: [&str; 8] =
    ["curthoys", "godfrey", "banasevich", "nguyen", "webb", "clarke", "ryan", "matthews"];
const CITIES: [&str; 8] =
    ["williamstown", "gawler east", "highton", "bondi", "fremantle", "newtown", "hobart", "cairns"];

fn pick<'a>(list: &[&'a str; 8], number: u32) -> &'a str {
    list.get(number as usize % list.len()).copied().unwrap_or_default()
}

fn who(event: Event, person: u32, part: u16) -> Event {
    let (first, last, city) =
        (pick(&FIRST_NAMES, person), pick(&LAST_NAMES, person / 8), pick(&CITIES, person / 64));
    let email = format!("{first}.{last}{person}@{part}.example.org");
    let ssn = format!("{part}-{}", 1_000_000 + person);
    let quoted = |text: &str| Json::parse(&format!("\"{text}\"")).ok();
    let set = [
        ("email", email.as_str()),
        ("ssn", &ssn),
        ("first_name", first),
        ("last_name", last),
        ("city", city),
        ("postcode", "3151"),
        ("state", "vic"),
        ("birthday", "19450122"),
    ];
    let set = set.into_iter().filter_map(|(name, value)| Some((name.to_owned(), quoted(value)?))).collect();
    Event {
        event_type: "identify".to_owned(),
        identifiers: vec![("email".to_owned(), email), ("ssn".to_owned(), ssn)],
        traits: TraitOperations { set, ..TraitOperations::default() },
        ..event
    }
}

impl Texts {
    fn new(rng: &mut StdRng) -> Result<Self, Fault> {
        Ok(Self { contexts: contexts(rng)?, pages: pages(rng)?, entries: entries(rng)? })
    }
}

fn contexts(rng: &mut StdRng) -> Result<Vec<(Json, String)>, Fault> {
    let agents = agents();
    let zones = ["Australia/Sydney", "Australia/Melbourne", "Australia/Perth", "Pacific/Auckland"];
    let context = |_| {
        let share: f64 = rng.random();
        #[expect(clippy::cast_precision_loss, reason = "a choice")]
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the length")]
        let at = (agents.len() as f64 * share * share) as usize;
        let agent = agents.get(at).cloned().unwrap_or_default();
        let zone = zones.get(rng.random_range(0..zones.len())).copied().unwrap_or_default();
        let ip = format!("203.0.{}.{}", rng.random_range(100..200), rng.random_range(1..255));
        let json = format!(r#"{{"ip":"{ip}","user_agent":"{agent}","locale":"en-AU","timezone":"{zone}"}}"#);
        Ok((json_of(&json)?, agent))
    };
    (0..usize::from(CONTEXTS)).map(context).collect()
}

fn pages(rng: &mut StdRng) -> Result<Vec<(&'static str, Json)>, Fault> {
    let total: u32 = TYPES.iter().map(|(_, share)| share).sum();
    let page = |_| {
        let mut at = rng.random_range(0..total);
        let mut name = "page-view";
        for (candidate, share) in TYPES {
            if at < share {
                name = candidate;
                break;
            }
            at -= share;
        }
        let path = match name {
            "product-view" | "add-to-cart" | "review-page" => {
                format!("/{}/{}", name.replace('-', "_"), rng.random_range(10_000..30_000))
            }
            _ => format!("/{}", name.replace('-', "_")),
        };
        let from = ["catalog", "home", "search", "product_view", "cart", "promo_page"];
        let from = from.get(rng.random_range(0..from.len())).copied().unwrap_or_default();
        let value = if name == "purchase" {
            format!(r#","value":{}.95,"currency":"AUD""#, rng.random_range(10..400))
        } else {
            String::new()
        };
        let json = format!(
            r#"{{"url":"https://shop.example{path}","path":"{path}","title":"{name}","referrer":"https://shop.example/{from}"{value}}}"#
        );
        Ok((name, json_of(&json)?))
    };
    (0..usize::from(PAGES)).map(page).collect()
}

fn entries(rng: &mut StdRng) -> Result<Vec<Json>, Fault> {
    let entry = |_| {
        let (source, campaign) = (rng.random_range(0..4_usize), rng.random_range(1..40));
        let source = ["google", "newsletter", "facebook", "bing"].get(source).copied().unwrap_or_default();
        let json = format!(
            r#"{{"name":"home","url":"https://shop.example/home?utm_source={source}&utm_medium=cpc&utm_campaign=brand-{campaign}","path":"/home","title":"Home","referrer":"https://www.{source}.com/"}}"#
        );
        json_of(&json)
    };
    (0..usize::from(ENTRIES)).map(entry).collect()
}

fn json_of(text: &str) -> Result<Json, Fault> {
    Json::parse(text).map_err(|fault| fault.message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json_bytes;
    use std::collections::{HashMap, HashSet};

    fn made(count: usize) -> Vec<TrackRequest> {
        let mut traffic = Traffic::new(Shape { seed: 7, sessions: 200, ..Shape::default() }).unwrap();
        (0..count).map(|_| traffic.next(Timestamp(0)).0).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_traffic() {
        assert_eq!(made(500), made(500));
    }

    #[test]
    fn it_has_the_shape_of_a_shop() {
        let requests = made(40_000);
        let mut sessions: HashMap<&str, HashSet<&str>> = HashMap::new();
        let mut repeated = 0;
        let mut bytes = 0;
        for request in &requests {
            let id = request.events[0].id.as_deref().unwrap();
            let new = sessions.entry(request.session.as_deref().unwrap()).or_default().insert(id);
            repeated += usize::from(!new);
            bytes += json_bytes(request);
        }
        let mean = |total: usize, of: usize| total as f64 / of as f64;
        let events = mean(requests.len() - repeated, sessions.len());
        assert!((8.0..10.5).contains(&events), "{events} events a session");
        let bytes = mean(bytes, requests.len());
        assert!((560.0..620.0).contains(&bytes), "{bytes} bytes a request");
        let share = mean(repeated, requests.len());
        assert!((0.015..0.025).contains(&share), "{share} repeated");
    }

    #[test]
    fn parts_share_no_session_and_no_person() {
        let shape = Shape { seed: 7, sessions: 40, ..Shape::default() };
        let mut sessions = HashSet::new();
        let mut persons = HashSet::new();
        let mut known = 0;
        for mut part in Traffic::parts(shape, 4).unwrap() {
            let made: Vec<_> = (0..2_000).map(|_| part.next(Timestamp(0)).0).collect();
            let of_part: HashSet<String> = made.iter().map(|one| one.session.clone().unwrap()).collect();
            let identifiers = made.iter().flat_map(|one| one.events[0].identifiers.clone());
            let persons_of_part: HashSet<_> = identifiers.collect();
            known += persons_of_part.len();
            assert!(of_part.is_disjoint(&sessions) && persons_of_part.is_disjoint(&persons));
            sessions.extend(of_part);
            persons.extend(persons_of_part);
        }
        assert!(known > 50, "{known}");
    }

    #[test]
    fn what_was_made_is_dealt_and_comes_back() {
        let shape = Shape { seed: 7, sessions: 40, ..Shape::default() };
        let mut before = Traffic::new(shape).unwrap();
        let first: Vec<_> = (0..4_000).map(|_| before.next(Timestamp(0)).0).collect();
        let new: HashSet<_> = first.iter().map(|one| one.events[0].id.clone()).collect();
        assert_eq!(before.made(), new.len() as u64);
        let sent = |made: &[TrackRequest]| -> (HashSet<_>, HashSet<_>) {
            let profiles = made.iter().filter_map(|one| one.profile.clone()).collect();
            (profiles, made.iter().flat_map(|one| one.events[0].identifiers.clone()).collect())
        };
        let (known, named) = sent(&first);
        let (mut devices, mut persons) = (HashSet::new(), HashSet::new());
        let mut named_again = 0;
        for mut part in before.deal(3).unwrap() {
            let made: Vec<_> = (0..2_000).map(|_| part.next(Timestamp(0)).0).collect();
            let (devices_of_part, persons_of_part) = sent(&made);
            named_again += persons_of_part.intersection(&named).count();
            assert!(devices_of_part.is_disjoint(&devices) && persons_of_part.is_disjoint(&persons));
            devices.extend(devices_of_part);
            persons.extend(persons_of_part);
        }
        let back = devices.intersection(&known).count();
        assert!(back > 50 && devices.len() > back + 50, "{back} of {}", devices.len());
        assert!(named_again > 10 && persons.len() > named_again + 10, "{named_again}");
    }

    #[test]
    fn the_number_of_devices_is_bounded_and_the_share_of_who_is_as_asked() {
        let shape =
            Shape { seed: 7, sessions: 10, identify_per_mille: 400, devices_max: 30, ..Shape::default() };
        let mut traffic = Traffic::new(shape).unwrap();
        let made: Vec<_> = (0..5_000).map(|_| traffic.next(Timestamp(0)).0).collect();
        assert_eq!(traffic.devices(), 30);
        let who = made.iter().filter(|one| one.events[0].event_type == "identify").count();
        assert!((1_500..2_100).contains(&who), "{who}");
    }

    #[test]
    fn a_device_sends_the_id_that_it_was_given() {
        let mut traffic = Traffic::new(Shape { seed: 7, sessions: 1, ..Shape::default() }).unwrap();
        let given = "0190b2c4-8d1e-7a3f-9bcd-0123456789ab";
        let mut seen = false;
        for _ in 0..200 {
            let (request, device) = traffic.next(Timestamp(0));
            if traffic.waits(device) {
                assert_eq!(request.profile, None);
                traffic.learn(device, given);
            } else if request.source.as_deref() == Some(UNTRUSTED) {
                assert_eq!(request.profile.as_deref(), Some(given));
                seen = true;
            }
        }
        assert!(seen);
    }
}
