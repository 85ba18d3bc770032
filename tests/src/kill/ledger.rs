//! What every client was told, and whether the store agrees.

use super::Count;
use super::load::{Answer, Request};
use crate::connection::Connection;
use crate::history::Dice;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Events on one page of reading back.
const PAGE_EVENTS: usize = 1_000;
/// Acknowledged requests that are sent again in each round.
const SENT_AGAIN: u64 = 60;

/// What is known of a request.
#[derive(Debug)]
struct Entry {
    request: Request,
    /// Where its events were said to lie, or were found.
    first: Option<u64>,
    /// Whether its answer is still owed.
    unanswered: bool,
    /// The reading in which it was found last.
    found_in: u64,
}

/// All requests so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<u64, Entry>,
    /// Everything up to here was found in an earlier round.
    position: u64,
    reading: u64,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    seq: u64,
    id: String,
}

impl Ledger {
    /// Notes what a client was told.
    ///
    /// # Errors
    /// If it contradicts what was known.
    pub(super) fn note(&mut self, request: Request, answer: Answer, count: &mut Count) -> Result<(), String> {
        let number = request.number;
        let new = Entry { request, first: None, unanswered: false, found_in: 0 };
        let entry = self.entries.entry(number).or_insert(new);
        match answer {
            Answer::Stored(first) => {
                if entry.first.is_some_and(|known| known != first) {
                    return Err(format!("request {number} lies at {:?} and now at {first}", entry.first));
                }
                count.acknowledged += u64::from(entry.first.is_none());
                entry.first = Some(first);
            }
            Answer::Refused => {}
            Answer::None => {
                count.unanswered += 1;
                entry.unanswered = true;
            }
        }
        Ok(())
    }

    /// Reads the store back: what came since the last round, or all of it.
    ///
    /// # Errors
    /// What is lost, half there, doubled, elsewhere, or nobody's.
    pub(super) fn compare(
        &mut self,
        connection: &mut Connection,
        whole: bool,
        count: &mut Count,
    ) -> Result<(), String> {
        self.reading += 1;
        let begin = if whole { 0 } else { self.position };
        let mut events = if whole { 0 } else { count.events };
        let mut after = begin;
        let mut open: Option<(u64, u64, u64)> = None;
        loop {
            let path = format!("/api/v1/events?after={after}&limit={PAGE_EVENTS}");
            let (status, body) =
                connection.ask("GET", &path, "").map_err(|error| format!("reading back: {error}"))?;
            let page: Page = serde_json::from_str(&body).map_err(|_| format!("{path}: {status} {body}"))?;
            let Some(last) = page.items.last() else { break };
            after = last.seq;
            events += page.items.len() as u64;
            for item in &page.items {
                open = self.found(open, item, count)?;
            }
        }
        if let Some((number, events, _)) = open {
            return Err(format!("only {events} events of request {number} are there"));
        }
        for (number, entry) in &self.entries {
            let due = entry.first.is_some_and(|first| first > begin);
            if due && entry.found_in != self.reading {
                return Err(format!("request {number} was acknowledged at {:?} and is lost", entry.first));
            }
        }
        self.position = self.position.max(after);
        count.events = events;
        Ok(())
    }

    /// An event that was read. `open` is the request of which more must follow: number, events so far, first place.
    fn found(
        &mut self,
        open: Option<(u64, u64, u64)>,
        item: &Item,
        count: &mut Count,
    ) -> Result<Option<(u64, u64, u64)>, String> {
        let ids = item
            .id
            .split_once('-')
            .and_then(|(number, index)| Some((number.parse::<u64>().ok()?, index.parse::<u64>().ok()?)));
        let odd = || format!("event {} at {} comes when {open:?} is open", item.id, item.seq);
        let (number, index) = ids.ok_or_else(odd)?;
        let (so_far, first) = match open {
            None => (0, item.seq),
            Some((of, so_far, first)) if of == number => (so_far, first),
            Some(_) => return Err(odd()),
        };
        if index != so_far || item.seq != first + so_far {
            return Err(odd());
        }
        let Some(entry) = self.entries.get_mut(&number) else {
            return Err(format!("nobody sent event {} at {}", item.id, item.seq));
        };
        if so_far + 1 < entry.request.events {
            return Ok(Some((number, so_far + 1, first)));
        }
        match entry.first {
            Some(known) if known != first => {
                return Err(format!("request {number} lies at {known} and again at {first}"));
            }
            Some(_) if entry.found_in == self.reading => {
                return Err(format!("request {number} is read twice at {first}"));
            }
            Some(_) => {}
            None if !entry.unanswered => {
                return Err(format!("request {number} was refused and is at {first}"));
            }
            None => {
                count.unanswered_stored += 1;
                entry.first = Some(first);
            }
        }
        entry.found_in = self.reading;
        Ok(None)
    }

    /// Sends some of what is stored again: all of it must come back as repeats of the first. Returns how many.
    ///
    /// # Errors
    /// What was answered instead.
    pub(super) fn send_again(&self, connection: &mut Connection, dice: &mut Dice) -> Result<u64, String> {
        let mut sent = 0;
        let last = self.entries.last_key_value().map_or(0, |(number, _)| *number);
        for _ in 0..SENT_AGAIN {
            let from = dice.below(last + 1);
            let stored = self.entries.range(from..).find_map(|(_, entry)| Some((entry, entry.first?)));
            let Some((entry, first)) = stored else { continue };
            let answer = connection.ask("POST", "/api/v1/track", &entry.request.text());
            let (status, body) = answer.map_err(|error| format!("sending again: {error}"))?;
            if entry.request.read(status, &body)? != Some((first, true)) {
                return Err(format!("request {} lies at {first}; sent again: {body}", entry.request.number));
            }
            sent += 1;
        }
        Ok(sent)
    }

    /// The requests without an answer, so that they can be sent again.
    pub(super) fn take_unanswered(&mut self) -> Vec<Request> {
        let owed = self.entries.values_mut().filter(|entry| entry.unanswered);
        owed.map(|entry| {
            // One that is not there now was not written, unless it is sent again.
            entry.unanswered = false;
            entry.request.clone()
        })
        .collect()
    }
}
