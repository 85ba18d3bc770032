//! Two hundred requests at once that all say who one person is, killed in the middle, and sent again until each has
//! its answer: one profile, and of every request its trait and its count.
//!
//! 1. Each round has a person of its own, with a device for each request. A device brings an address and a number,
//!    which make a ring, and some bring the user id: hardly one names what all others do, and all are one.
//! 2. The kill comes at a random moment: a little after they all begin, or when some have their answer. What has
//!    none is sent again to the server that was started anew, with the same event ids, and perhaps killed again.
//! 3. Then whoever was told *stored* is told *duplicate*, with the same place in the log.
//! 4. Persons of earlier rounds stay what they were.

use super::process::Server;
use super::{Count, Options};
use crate::connection::Connection;
use crate::history::Dice;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Requests at once.
const REQUESTS: usize = 200;
/// Addresses of a person, and numbers: not more than a profile may have.
const VALUES: usize = 10;
/// One request in so many brings the user id.
const USER_ID_EVERY: usize = 3;
/// Kills in a round, as long as something is without an answer.
const KILLS_MIN: u64 = 2;
/// At most.
const KILLS_MAX: u64 = 4;
/// The kill comes so long after the requests begin, at most.
const KILL_AFTER_MAX_US: u64 = 20_000;
/// Attempts without a kill; the server may answer *overloaded*.
const ATTEMPTS_MAX: u32 = 20;

/// Plays all rounds in a directory of its own; `progress` is told after each. Of the options, `connections` and
/// `load_max_ms` mean nothing here.
///
/// # Errors
/// What was lost, doubled, parted or unsound; the directory is then kept, and named.
pub fn run_links(options: &Options, progress: &mut dyn FnMut(&Count)) -> Result<Count, String> {
    let directory = tempfile::tempdir().map_err(|error| format!("a temporary directory: {error}"))?;
    match Links::new(options, directory.path().to_owned()).and_then(|links| links.play(progress)) {
        Ok(count) => Ok(count),
        Err(reason) => Err(format!("{reason}\nkept: {}", directory.keep().display())),
    }
}

/// When the server is killed.
#[derive(Debug, Clone, Copy)]
enum Kill {
    Never,
    AfterAnswers(usize),
    After(Duration),
}

/// What one request was told: its place in the log, and whether it had been there before.
type Told = Option<(u64, bool)>;

struct Links<'a> {
    options: &'a Options,
    server: Server,
    dice: Dice,
    count: Count,
}

impl<'a> Links<'a> {
    fn new(options: &'a Options, directory: PathBuf) -> Result<Self, String> {
        let server = Server::new(options.binary.clone(), directory)?;
        Ok(Self { options, server, dice: Dice::new(options.seed), count: Count::default() })
    }

    fn play(mut self, progress: &mut dyn FnMut(&Count)) -> Result<Count, String> {
        self.server.start()?;
        for round in 1..=self.options.rounds {
            self.round(round)
                .map_err(|reason| format!("round {round}, seed {}: {reason}", self.options.seed))?;
            progress(&self.count);
        }
        self.server.kill()?;
        Ok(self.count)
    }

    fn round(&mut self, round: u32) -> Result<(), String> {
        let mut places = vec![None; REQUESTS];
        for _ in 0..KILLS_MIN + self.dice.below(KILLS_MAX - KILLS_MIN + 1) {
            let missing = places.iter().filter(|place| place.is_none()).count();
            if missing == 0 {
                break;
            }
            let kill = self.moment(missing);
            self.send(round, &mut places, kill)?;
            self.count.kills += 1;
            self.server.start()?;
        }
        for _ in 0..ATTEMPTS_MAX {
            if places.iter().any(Option::is_none) {
                self.send(round, &mut places, Kill::Never)?;
            }
        }
        self.count.rounds = round;
        self.verify(round, &places)
    }

    fn moment(&mut self, missing: usize) -> Kill {
        if self.dice.below(3) == 0 {
            Kill::After(Duration::from_micros(self.dice.below(KILL_AFTER_MAX_US)))
        } else {
            Kill::AfterAnswers(usize::try_from(self.dice.below(missing as u64)).unwrap_or_default())
        }
    }

    /// Sends all at once that have no place so far, and notes the places that are told.
    fn send(&mut self, round: u32, places: &mut [Option<u64>], kill: Kill) -> Result<(), String> {
        let missing: Vec<usize> = (0..REQUESTS).filter(|number| places[*number].is_none()).collect();
        let told = self.all_at_once(round, &missing, kill)?;
        for (number, told) in missing.into_iter().zip(told) {
            match told {
                None => self.count.unanswered += 1,
                Some((place, repeat)) => {
                    places[number] = Some(place);
                    self.count.acknowledged += 1;
                    self.count.repeats += u64::from(repeat);
                    // It was told nothing before, so that its first answer was swallowed by a kill.
                    self.count.unanswered_stored += u64::from(repeat);
                }
            }
        }
        Ok(())
    }

    fn all_at_once(&mut self, round: u32, numbers: &[usize], kill: Kill) -> Result<Vec<Told>, String> {
        let address = self.server.address()?;
        let begin = Barrier::new(numbers.len() + 1);
        let (answers, killed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let one = |number: usize| {
            let connection = Connection::open(&address);
            begin.wait();
            let told = connection
                .and_then(|mut connection| connection.ask("POST", "/api/v1/track", &request(round, number)));
            answers.fetch_add(1, Ordering::SeqCst);
            match told {
                Ok((status, body)) => read(status, &body),
                Err(_) if killed.load(Ordering::SeqCst) => Ok(None),
                Err(error) => Err(format!("the connection broke before the server was killed: {error}")),
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = numbers.iter().map(|number| scope.spawn(|| one(*number))).collect();
            begin.wait();
            match kill {
                Kill::Never => {}
                Kill::After(pause) => std::thread::sleep(pause),
                Kill::AfterAnswers(count) => {
                    while answers.load(Ordering::SeqCst) < count {
                        std::thread::yield_now();
                    }
                }
            }
            let kill = if matches!(kill, Kill::Never) {
                Ok(())
            } else {
                killed.store(true, Ordering::SeqCst);
                self.server.kill()
            };
            let told =
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a panic".to_owned())));
            let told = told.collect::<Result<Vec<Told>, String>>();
            kill.and(told)
        })
    }

    fn verify(&mut self, round: u32, places: &[Option<u64>]) -> Result<(), String> {
        let whole = round.is_multiple_of(self.options.whole_every) || round == self.options.rounds;
        let address = self.server.address()?;
        let mut connection = Connection::open(&address).map_err(|error| format!("connecting: {error}"))?;
        for (number, place) in places.iter().enumerate() {
            let asked = connection.ask("POST", "/api/v1/track", &request(round, number));
            let (status, body) = asked.map_err(|error| format!("sending again: {error}"))?;
            let told = read(status, &body)?;
            if told != place.map(|place| (place, true)) {
                return Err(format!("request {number} lies at {place:?}; sent again: {body}"));
            }
        }
        self.count.repeats += REQUESTS as u64;
        let rounds = if whole { 1..=round } else { round..=round };
        rounds.into_iter().try_for_each(|round| compare(&mut connection, round))?;
        self.count.events = u64::from(round) * REQUESTS as u64;
        let digest = self.server.check()?;
        if whole {
            let rebuilt = self.server.rebuilt_digest()?;
            if rebuilt != digest {
                return Err(format!("the store digest is {digest}, and {rebuilt} after a rebuild"));
            }
        }
        Ok(())
    }
}

fn device(round: u32, number: usize) -> String {
    format!("l-{round}-{number}")
}

/// A request of a device of its own, the same text each time.
fn request(round: u32, number: usize) -> String {
    let (email, phone) = (number % VALUES, (number + number / VALUES % 2) % VALUES);
    let mut event = json!({
        "id": format!("l-{round}-{number}"),
        "type": "sign-in",
        "traits": {"set": {format!("of-{number}"): number}, "add": {"count": 1}},
        "identifiers": {
            "email": format!("r{round}-{email}@shop.example"),
            "phone": format!("+61412{round:05}{phone}"),
        },
    });
    if number.is_multiple_of(USER_ID_EVERY) {
        event["identifiers"]["user_id"] = json!(format!("r{round}"));
    }
    json!({"source": "shop", "profile": device(round, number), "events": [event]}).to_string()
}

/// Where the event of an answer lies, and whether it was there before; `None` if the server had no room for it.
fn read(status: u16, body: &str) -> Result<Told, String> {
    if status == 503 || status == 429 {
        return Ok(None);
    }
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let event = &answer["events"][0];
    let refused = event["links"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|link| !matches!(link["outcome"].as_str(), Some("attached" | "known" | "merged")));
    match (status, event["seq"].as_u64(), event["status"].as_str()) {
        (200, Some(place), Some(told)) if !refused => Ok(Some((place, told == "duplicate"))),
        _ => Err(format!("{status} {body}")),
    }
}

/// The person of a round has all that was said of it, whichever device is asked.
fn compare(connection: &mut Connection, round: u32) -> Result<(), String> {
    for number in [0, REQUESTS / 2, REQUESTS - 1] {
        let path = format!("/api/v1/profiles/{}", device(round, number));
        let asked = connection.ask("GET", &path, "");
        let (status, body) = asked.map_err(|error| format!("reading a profile: {error}"))?;
        let profile: Value = serde_json::from_str(&body).unwrap_or_default();
        let ids = profile["ids"].as_array().map_or(0, Vec::len);
        let identifiers = profile["identifiers"].as_array().map_or(0, Vec::len);
        let of = |number: &usize| profile["traits"][format!("of-{number}")] == json!(number);
        let traits = (0..REQUESTS).filter(of).count();
        let counts = (profile["counters"]["events"].as_u64(), profile["traits"]["count"].as_u64());
        let all = Some(REQUESTS as u64);
        let right = status == 200 && (ids, traits, identifiers) == (REQUESTS, REQUESTS, 2 * VALUES + 1);
        if !right || counts != (all, all) {
            return Err(format!(
                "the person of round {round}: {status}, {ids} ids, {traits} traits, {identifiers} identifiers, {counts:?} counted"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_for_what_it_says() {
        let answer = |outcome: &str, status: &str| {
            let event = json!({"seq": 7, "status": status, "links": [{"outcome": outcome}]});
            read(200, &json!({"events": [event]}).to_string())
        };
        assert_eq!(answer("merged", "stored"), Ok(Some((7, false))));
        assert_eq!(answer("merged", "duplicate"), Ok(Some((7, true))));
        assert!(answer("quarantined", "stored").is_err(), "nothing stands in the way of these links");
        assert_eq!(read(503, "{}"), Ok(None));
        assert!(read(500, "{}").is_err() && read(200, "{}").is_err());
    }

    /// Whoever brings an address or a number is joined to the next, round and round.
    #[test]
    fn all_requests_of_a_round_are_one_person() {
        let mut groups: Vec<Vec<String>> = Vec::new();
        for number in 0..REQUESTS {
            let request: Value = serde_json::from_str(&request(1, number)).expect("JSON");
            let said = request["events"][0]["identifiers"].as_object().expect("identifiers");
            let mut group: Vec<String> = said.values().map(Value::to_string).collect();
            groups.retain(|other| {
                let apart = other.iter().all(|value| !group.contains(value));
                group.extend(other.iter().filter(|_| !apart).cloned());
                apart
            });
            groups.push(group);
        }
        assert_eq!(groups.len(), 1);
        assert_ne!(request(1, 0), request(2, 0));
    }
}
