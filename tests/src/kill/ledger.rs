//! What every client was told, and whether the store agrees.

use super::Count;
use super::load::{Answer, PEOPLE, Request, email_of};
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

#[derive(Debug, Clone, Deserialize)]
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
        let mut read = |after| {
            let path = format!("/api/v1/events?after={after}&limit={PAGE_EVENTS}");
            let (status, body) =
                connection.ask("GET", &path, "").map_err(|error| format!("reading back: {error}"))?;
            let page: Page = serde_json::from_str(&body).map_err(|_| format!("{path}: {status} {body}"))?;
            Ok(page.items)
        };
        self.compare_with(&mut read, whole, count)
    }

    /// `read` gives some events after a position, in order; none at the end.
    fn compare_with(
        &mut self,
        read: &mut dyn FnMut(u64) -> Result<Vec<Item>, String>,
        whole: bool,
        count: &mut Count,
    ) -> Result<(), String> {
        self.reading += 1;
        let begin = if whole { 0 } else { self.position };
        let mut events = if whole { 0 } else { count.events };
        let mut after = begin;
        let mut open: Option<(u64, u64, u64)> = None;
        loop {
            let items = read(after)?;
            let Some(last) = items.last() else { break };
            after = last.seq;
            events += items.len() as u64;
            for item in &items {
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

    /// Whoever said who they are is one profile with all who said the same, and each said it once.
    ///
    /// # Errors
    /// What is parted, joined wrongly, lost or counted twice.
    pub(super) fn compare_people(&self, connection: &mut Connection) -> Result<(), String> {
        let stored = || self.entries.values().filter(|entry| entry.first.is_some());
        // Addresses are 0 to PEOPLE, numbers follow; whoever names both joins them.
        let mut group: Vec<u64> = (0..2 * PEOPLE).collect();
        for (email, phone) in stored().filter_map(|entry| entry.request.links()) {
            let (kept, gone) = (group.get(at(email)).copied(), group.get(at(PEOPLE + phone)).copied());
            group.iter_mut().filter(|of| Some(**of) == gone).for_each(|of| *of = kept.unwrap_or(*of));
        }
        for person in 0..PEOPLE {
            let same = |email: u64| group.get(at(email)) == group.get(at(person));
            let links = stored().filter_map(|entry| entry.request.links());
            let said = links.clone().filter(|(email, _)| same(*email)).count() as u64;
            if !links.clone().any(|(email, _)| email == person) {
                continue;
            }
            let path = format!("/api/v1/profiles?identifier=email:{}", email_of(person));
            let (status, body) =
                connection.ask("GET", &path, "").map_err(|error| format!("reading a person: {error}"))?;
            let profile: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            let ids = profile["ids"].as_array().map_or(0, Vec::len) as u64;
            let fragments = profile["fragments"].as_u64().unwrap_or(ids);
            let linked = profile["traits"]["linked"].as_u64();
            if status != 200 || fragments != said || linked != Some(said) {
                return Err(format!(
                    "{said} said that they are person {person}: {status}, {fragments} ids, {linked:?} counted"
                ));
            }
        }
        Ok(())
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

fn at(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the clients of three requests were told: one is acknowledged at 1, one without an answer, one refused.
    fn ledger() -> Ledger {
        let (mut ledger, mut count) = (Ledger::default(), Count::default());
        for (number, answer) in [(0, Answer::Stored(1)), (1, Answer::None), (2, Answer::Refused)] {
            let request = Request { number, events: 2, ..Request::default() };
            ledger.note(request, answer, &mut count).expect("nothing contradicts it");
        }
        ledger
    }

    /// Compares with a store that holds these events from 1 on.
    fn compare(ledger: &mut Ledger, ids: &[&str], whole: bool) -> Result<Count, String> {
        let items: Vec<Item> = (1..).zip(ids).map(|(seq, id)| Item { seq, id: (*id).to_owned() }).collect();
        let mut count = Count::default();
        let mut read = |after| Ok(items.iter().filter(|item| item.seq > after).take(3).cloned().collect());
        ledger.compare_with(&mut read, whole, &mut count).map(|()| count)
    }

    #[test]
    fn what_was_told_may_be_there_with_or_without_what_was_not_answered() {
        assert_eq!(compare(&mut ledger(), &["0-0", "0-1"], true).map(|count| count.events), Ok(2));
        let mut ledger = ledger();
        let all = ["0-0", "0-1", "1-0", "1-1"];
        assert_eq!(compare(&mut ledger, &all, false).map(|count| count.unanswered_stored), Ok(1));
        assert_eq!(compare(&mut ledger, &all, true).map(|count| count.unanswered_stored), Ok(0));
        compare(&mut ledger, &all[..2], true).expect_err("what was seen once must stay");
    }

    #[test]
    fn every_kind_of_loss_is_found() {
        for (what, ids) in [
            ("lost", &[][..]),
            ("half there", &["0-0"]),
            ("elsewhere", &["1-0", "1-1", "0-0", "0-1"]),
            ("doubled", &["0-0", "0-1", "0-0", "0-1"]),
            ("in another order", &["0-1", "0-0"]),
            ("torn apart", &["0-0", "1-0", "0-1", "1-1"]),
            ("half there without an answer", &["0-0", "0-1", "1-0"]),
            ("refused and there", &["0-0", "0-1", "2-0", "2-1"]),
            ("nobody's", &["0-0", "0-1", "3-0", "3-1"]),
        ] {
            assert!(compare(&mut ledger(), ids, true).is_err(), "{what} was not found");
        }
    }
}
