//! An import into the store of a running server: requests are posted in arrays, in order, until the server has said
//! something final of each.

use super::Sink;
use super::tally::{Failed, Origination, Rejected, Tally};
use crate::command::client::{CallError, Client};
use crate::limits::{IMPORT_ATTEMPTS_MAX, IMPORT_BATCH_BYTES, IMPORT_BATCH_MAX_REQUESTS, IMPORT_RETRY_MS};
use crate::protocol::json;
use crate::protocol::write::ErrorBody;
use serde::Deserialize;
use spoor::EventStatus;
use std::time::Duration;

/// To a running server, in arrays.
pub(super) struct ServerSink {
    client: Client,
    tally: Tally,
    batch: Vec<Posted>,
    batch_bytes: usize,
}

/// A request as text, and where it comes from.
struct Posted {
    origination: Origination,
    text: Box<str>,
}

/// What the server says of one request.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Error { error: ErrorBody },
    Reply { events: Vec<ToldEvent> },
}

#[derive(Deserialize)]
struct ToldEvent {
    status: String,
}

impl ServerSink {
    pub(super) fn new(client: Client, tally: Tally) -> Self {
        Self { client, tally, batch: Vec::new(), batch_bytes: 0 }
    }

    fn add(&mut self, origination: Origination, text: &str) -> Result<(), String> {
        self.batch_bytes += text.len();
        self.batch.push(Posted { origination, text: text.into() });
        if self.batch.len() >= IMPORT_BATCH_MAX_REQUESTS || self.batch_bytes >= IMPORT_BATCH_BYTES {
            self.post_all()?;
        }
        Ok(())
    }

    /// Posts the batch, in order, until the server has said something final of each.
    fn post_all(&mut self) -> Result<(), String> {
        self.batch_bytes = 0;
        let mut rest = std::mem::take(&mut self.batch);
        let mut most = rest.len();
        let mut attempts = 0;
        while !rest.is_empty() {
            let count = most.clamp(1, rest.len());
            let part = rest.get(..count).unwrap_or(&rest);
            match self.client.import::<Vec<Told>>(&array(part)) {
                Ok(told) if told.len() == count => {
                    let taken = self.count(part, told);
                    rest.drain(..taken);
                    attempts = 0;
                    if taken < count {
                        pause(1);
                    }
                }
                Ok(_) => {
                    return Err("the server answered with another number of items than it got".to_owned());
                }
                Err(CallError::Refused { body, .. }) if body.code == "overloaded" => pause(1),
                Err(CallError::Refused { status: 400..=499, .. }) if count > 1 => most = count / 2,
                Err(CallError::Refused { status: 400..=499, body }) => {
                    let posted = rest.remove(0);
                    let (line, item) = posted.origination;
                    self.tally.reject(Rejected { line, item, error: body });
                }
                Err(CallError::Unreachable(_) | CallError::Refused { .. })
                    if attempts < IMPORT_ATTEMPTS_MAX =>
                {
                    attempts += 1;
                    pause(attempts);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Counts answers up to the first that was told *overloaded*; those behind it were too. Returns how many.
    fn count(&mut self, part: &[Posted], told: Vec<Told>) -> usize {
        for (index, (posted, told)) in part.iter().zip(told).enumerate() {
            match told {
                Told::Error { error } if error.retry_after_ms.is_some() => return index,
                Told::Error { error } => {
                    let (line, item) = posted.origination;
                    self.tally.reject(Rejected { line, item, error });
                }
                Told::Reply { events } => {
                    self.tally.answered(events.iter().map(|event| match event.status.as_str() {
                        "duplicate" => EventStatus::Duplicate,
                        _ => EventStatus::Stored,
                    }));
                }
            }
        }
        part.len()
    }
}

fn pause(attempts: u32) {
    std::thread::sleep(Duration::from_millis(IMPORT_RETRY_MS) * attempts.min(20));
}

fn array(part: &[Posted]) -> Vec<u8> {
    let texts: Vec<&str> = part.iter().map(|posted| &*posted.text).collect();
    format!("[{}]", texts.join(",")).into_bytes()
}

impl Sink for ServerSink {
    /// Only the syntax is looked at here, so that a broken line does not break the array it would stand in.
    fn put(&mut self, line: u64, text: &[u8]) -> Result<(), String> {
        let sound = std::str::from_utf8(text)
            .ok()
            .filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        match sound {
            Some(text) if text.trim_start().starts_with('[') => match json::split(text) {
                Ok(items) => {
                    for (index, item) in items.into_iter().enumerate() {
                        self.add((line, Some(index)), item)?;
                    }
                }
                Err(rejection) => self.reject(Rejected { line, item: None, error: rejection.into() }),
            },
            Some(text) => self.add((line, None), text)?,
            None => match json::read(text) {
                Err(rejection) => self.reject(Rejected { line, item: None, error: rejection.into() }),
                Ok(_) => self.reject(Rejected::new(line, None, "json_invalid", "not JSON")),
            },
        }
        Ok(())
    }

    fn reject(&mut self, rejected: Rejected) {
        self.tally.reject(rejected);
    }

    fn done(&self) -> String {
        self.tally.numbers()
    }

    fn finish(mut self, outcome: Result<(), String>) -> Result<Tally, Failed> {
        let outcome = outcome.and_then(|()| self.post_all());
        self.tally.close(outcome)
    }
}
