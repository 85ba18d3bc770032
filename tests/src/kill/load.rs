//! Clients that send until the server is gone.

use crate::connection::Connection;
use crate::history::Dice;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Sessions that all connections share; few, so that they meet.
const SESSIONS: u64 = 40;
/// Profile ids that are remembered for other connections to send.
const PROFILES_MAX: usize = 32;
/// Acknowledged requests that a connection may send again.
const RECENT_MAX: usize = 64;

/// One request in so many says who it is: a device of its own, with an address and a number that others share.
const LINKS_EVERY: u64 = 64;
/// Addresses and numbers that are shared.
pub(super) const PEOPLE: u64 = 10;

/// A request, small enough that all of them can be kept: its text follows from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// Different for each.
    pub(super) number: u64,
    /// How many events it has.
    pub(super) events: u64,
    pub(super) source: &'static str,
    pub(super) session: Option<u64>,
    pub(super) profile: Option<Arc<str>>,
}

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Stored; its events lie from here on, one after the other.
    Stored(u64),
    /// Not written.
    Refused,
    /// Nothing: the connection broke.
    None,
}

impl Request {
    /// Whether it says who it is: the address of this one, and the number of the next.
    pub(super) fn links(&self) -> Option<(u64, u64)> {
        let person = (self.number / LINKS_EVERY) % PEOPLE;
        (self.number % LINKS_EVERY == 0).then_some((person, (person + self.number / 7) % PEOPLE))
    }

    /// The text that is sent, the same each time.
    pub(super) fn text(&self) -> String {
        let filling = "x".repeat(usize::try_from(self.number % 300).unwrap_or_default());
        let events: Vec<Value> = (0..self.events)
            .map(|index| {
                json!({
                    "id": format!("{}-{index}", self.number),
                    "type": if index % 2 == 0 { "page-view" } else { "click" },
                    "properties": {"url": format!("/{}", self.number % 7), "filling": filling},
                    "traits": {"set": {"last": self.number}, "add": {"sum": 1}},
                })
            })
            .collect();
        let mut request = json!({"source": self.source, "events": events});
        if let Some((email, phone)) = self.links() {
            request["source"] = json!("web");
            request["session"] = json!(format!("l-{}", self.number));
            let event = &mut request["events"][0];
            event["identifiers"] = json!({"email": email_of(email), "phone": format!("+6141234560{phone}")});
            event["traits"]["add"]["linked"] = json!(1);
            return request.to_string();
        }
        if let Some(session) = self.session {
            request["session"] = json!(format!("s-{session}"));
        }
        if let Some(profile) = &self.profile {
            request["profile"] = json!(**profile);
        }
        request.to_string()
    }

    /// Reads the answer to this request: where its events lie, and whether they had been there before.
    ///
    /// # Errors
    /// An answer that a sound server does not give.
    pub(super) fn read(&self, status: u16, body: &str) -> Result<Option<(u64, bool)>, String> {
        let odd = || Err(format!("request {}: {status} {body}", self.number));
        if status == 503 || status == 429 {
            return Ok(None);
        }
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        let Some(events) = answer["events"].as_array().filter(|_| status == 200) else { return odd() };
        let seqs: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
        let Some(&first) = seqs.first() else { return odd() };
        let in_line = seqs.iter().copied().eq(first..first + self.events);
        let repeats = events.iter().filter(|event| event["status"] == "duplicate").count();
        if !in_line || (repeats != 0 && repeats != events.len()) {
            return odd();
        }
        Ok(Some((first, repeats > 0)))
    }
}

/// A shared address.
pub(super) fn email_of(person: u64) -> String {
    format!("p-{person}@shop.example")
}

/// What the connections share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    next: AtomicU64,
    kill_expected: AtomicBool,
    profiles: Mutex<Vec<Arc<str>>>,
}

impl Shared {
    /// From here on a connection may break.
    pub(super) fn expect_kill(&self) {
        self.kill_expected.store(true, Ordering::SeqCst);
    }

    /// From here on it may not.
    pub(super) fn expect_no_kill(&self) {
        self.kill_expected.store(false, Ordering::SeqCst);
    }

    fn remember(&self, profile: &str, dice: &mut Dice) {
        let mut profiles = self.profiles.lock().unwrap_or_else(PoisonError::into_inner);
        if profiles.len() < PROFILES_MAX {
            profiles.push(profile.into());
        } else if let Some(place) =
            usize::try_from(dice.below(PROFILES_MAX as u64)).ok().and_then(|at| profiles.get_mut(at))
        {
            *place = profile.into();
        }
    }

    fn profile(&self, dice: &mut Dice) -> Option<Arc<str>> {
        let profiles = self.profiles.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(dice.below(PROFILES_MAX as u64 * 2)).ok()?;
        profiles.get(at).cloned()
    }
}

/// One connection's client.
#[derive(Debug)]
pub(super) struct Sender {
    shared: Arc<Shared>,
    dice: Dice,
    retries: Vec<Request>,
    recent: VecDeque<(Request, u64)>,
    answers: Vec<(Request, Answer)>,
    repeats: u64,
}

impl Sender {
    pub(super) fn new(shared: &Arc<Shared>, seed: u64) -> Self {
        Self {
            shared: Arc::clone(shared),
            dice: Dice::new(seed),
            retries: Vec::new(),
            recent: VecDeque::new(),
            answers: Vec::new(),
            repeats: 0,
        }
    }

    /// Has a request that got no answer sent again.
    pub(super) fn retry(&mut self, request: Request) {
        self.retries.push(request);
    }

    /// What was sent, and the answers, since the last call.
    pub(super) fn take_answers(&mut self) -> Vec<(Request, Answer)> {
        std::mem::take(&mut self.answers)
    }

    /// Requests that were answered as repeats since the last call.
    pub(super) fn take_repeats(&mut self) -> u64 {
        std::mem::take(&mut self.repeats)
    }

    /// Sends one request after the other until the connection breaks.
    pub(super) fn send_until_killed(&mut self, address: &str) -> Result<(), String> {
        let Ok(mut connection) = Connection::open(address) else { return self.broken("connecting") };
        loop {
            if self.dice.below(8) == 0 && !self.recent.is_empty() {
                if !self.send_again(&mut connection)? {
                    return Ok(());
                }
                continue;
            }
            let request = self.retries.pop().unwrap_or_else(|| self.request());
            let Ok((status, body)) = connection.ask("POST", "/api/v1/track", &request.text()) else {
                self.answers.push((request, Answer::None));
                return self.broken("sending");
            };
            match request.read(status, &body)? {
                None => self.answers.push((request, Answer::Refused)),
                Some((first, repeat)) => {
                    self.repeats += u64::from(repeat);
                    self.note_profile(&body);
                    if self.recent.len() == RECENT_MAX {
                        self.recent.pop_front();
                    }
                    self.recent.push_back((request.clone(), first));
                    self.answers.push((request, Answer::Stored(first)));
                }
            }
        }
    }

    /// Sends an acknowledged request again; returns whether the connection held.
    fn send_again(&mut self, connection: &mut Connection) -> Result<bool, String> {
        let at = usize::try_from(self.dice.below(self.recent.len() as u64)).unwrap_or_default();
        let Some((request, first)) = self.recent.get(at) else { return Ok(true) };
        let Ok((status, body)) = connection.ask("POST", "/api/v1/track", &request.text()) else {
            return self.broken("sending again").map(|()| false);
        };
        match request.read(status, &body)? {
            Some((again, true)) if again == *first => self.repeats += 1,
            None => {}
            _ => return Err(format!("request {} lies at {first}; sent again: {body}", request.number)),
        }
        Ok(true)
    }

    fn request(&mut self) -> Request {
        let shop = self.dice.below(4) == 0;
        let profile = if shop && self.dice.below(2) == 0 {
            Some(format!("c-{}", self.dice.below(10)).into())
        } else {
            self.shared.profile(&mut self.dice)
        };
        Request {
            number: self.shared.next.fetch_add(1, Ordering::Relaxed),
            events: 1 + self.dice.below(5),
            source: if shop { "shop" } else { "web" },
            session: (self.dice.below(5) > 0).then(|| self.dice.below(SESSIONS)),
            profile,
        }
    }

    fn note_profile(&mut self, body: &str) {
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        if let Some(profile) = answer["profile"]["id"].as_str().filter(|_| self.dice.below(20) == 0) {
            self.shared.remember(profile, &mut self.dice);
        }
    }

    fn broken(&self, what: &str) -> Result<(), String> {
        if self.shared.kill_expected.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(format!("{what}: the connection broke before the server was killed"))
    }
}
