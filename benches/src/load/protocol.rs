//! Requests as bytes and answers as counts. The one place that knows what the wire looks like: another protocol
//! is another arm of each `match` here.

use crate::Fault;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use spoor::TrackRequest;
use spoor_client::{Answer, MEDIA_TYPE, decode, encode};
use spoor_server::protocol::request::request;
use std::borrow::Cow;

/// How requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// JSON, as docs/protocol.md has it.
    Json,
    /// The compact form, a request and its answer.
    Binary,
    /// The compact form, requests and answers without end on a connection.
    Stream,
}

/// What a request came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// Events stored.
    pub stored: u64,
    /// Events that had been stored before.
    pub repeated: u64,
    /// Items that were refused; one if it was the whole request.
    pub failed: u64,
    /// Transactions that had to be tried again.
    pub retried: u64,
    /// The profile id that each item's device was given, in the order of the items; empty if all failed.
    pub profiles: Vec<Option<String>>,
}

impl Protocol {
    /// The media type of a request.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Binary | Self::Stream => MEDIA_TYPE,
        }
    }

    /// The path that takes requests.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Json | Self::Binary => "/api/v1/track",
            Self::Stream => "/api/v1/stream",
        }
    }

    /// Writes one item as an object, more as an array; of a stream, each as a frame. `out` is cleared first.
    ///
    /// # Errors
    /// None: what is made here can be written.
    pub fn write(self, items: &[TrackRequest], out: &mut Vec<u8>) -> Result<(), Fault> {
        out.clear();
        match (self, items) {
            (Self::Json, [one]) => serde_json::to_writer(out, &request(one))?,
            (Self::Json, many) => {
                let many: Vec<_> = many.iter().map(request).collect();
                serde_json::to_writer(out, &many)?;
            }
            (Self::Binary, [one]) => encode::alone(out, one),
            (Self::Binary | Self::Stream, many) => many.iter().for_each(|one| encode::item(out, one)),
        }
        Ok(())
    }

    /// Reads the answer to `items` items; of a stream, the frames that answer them.
    ///
    /// # Errors
    /// If it is not what a server answers.
    pub fn read(self, status: u16, body: &[u8], items: usize) -> Result<Answered, Fault> {
        match self {
            _ if status != 200 => Ok(Answered { failed: items as u64, ..Answered::default() }),
            Self::Json if items == 1 => {
                let mut all = Answered::default();
                all.take(serde_json::from_slice(body).map_err(|error| unreadable(&error, body))?);
                Ok(all)
            }
            Self::Json => {
                let many: Vec<Item<'_>> =
                    serde_json::from_slice(body).map_err(|error| unreadable(&error, body))?;
                let mut all = Answered::default();
                many.into_iter().for_each(|item| all.take(item));
                Ok(all)
            }
            Self::Binary | Self::Stream => {
                let mut all = Answered::default();
                for answer in decode::answers(body)? {
                    all.take_compact(answer)?;
                }
                Ok(all)
            }
        }
    }
}

fn unreadable(error: &serde_json::Error, body: &[u8]) -> Fault {
    let begin: String = String::from_utf8_lossy(body).chars().take(200).collect();
    format!("this is no answer to a tracking request: {error}: {begin}").into()
}

impl Answered {
    fn take(&mut self, item: Item<'_>) {
        if item.error.is_some() {
            self.failed += 1;
        }
        for event in &item.events {
            match event.status.as_ref() {
                "stored" => self.stored += 1,
                "duplicate" => self.repeated += 1,
                _ => self.failed += 1,
            }
        }
        self.profiles.push(item.profile.map(|profile| profile.id.into_owned()));
    }

    /// Counts an answer in the compact form.
    pub(super) fn take_compact(&mut self, answer: Answer) -> Result<(), Fault> {
        match answer {
            Answer::Reply(reply) => {
                for event in &reply.events {
                    match event.status {
                        Some("stored") => self.stored += 1,
                        Some("duplicate") => self.repeated += 1,
                        _ => self.failed += 1,
                    }
                }
                self.profiles.push(reply.profile.map(|profile| profile.id));
            }
            Answer::Error(_) => {
                self.failed += 1;
                self.profiles.push(None);
            }
            Answer::End { index, error } => {
                return Err(format!(
                    "the server ended the stream at {index}: {}: {}",
                    error.code, error.message
                )
                .into());
            }
        }
        Ok(())
    }
}

/// What a client reads of an answer.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    profile: Option<Profile<'a>>,
    #[serde(borrow, default)]
    events: Vec<Event<'a>>,
    #[serde(default)]
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Profile<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Shape, Traffic};
    use spoor::Timestamp;
    use spoor_server::protocol::compact::frames::body as compact;
    use spoor_server::protocol::json::{Body, read};

    #[test]
    fn what_is_written_is_read_by_the_server_as_it_was_made() {
        let mut traffic = Traffic::new(Shape { seed: 1, sessions: 9, ..Shape::default() }).unwrap();
        let made: Vec<_> = (0..200).map(|_| traffic.next(Timestamp(1_000)).0).collect();
        let mut bytes = Vec::new();
        Protocol::Json.write(&made, &mut bytes).unwrap();
        let Body::Many(items) = read(&bytes).unwrap() else { panic!("not many") };
        let read: Vec<_> = items.into_iter().map(|item| item.unwrap()).collect();
        assert_eq!(read, made);
    }

    #[test]
    fn the_compact_form_is_read_by_the_server_as_it_was_made_and_is_shorter() {
        let mut traffic = Traffic::new(Shape { seed: 1, sessions: 9, ..Shape::default() }).unwrap();
        let made: Vec<_> = (0..200).map(|_| traffic.next(Timestamp(1_000)).0).collect();
        let (mut json, mut many, mut frames, mut one) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Protocol::Json.write(&made, &mut json).unwrap();
        Protocol::Binary.write(&made, &mut many).unwrap();
        Protocol::Stream.write(&made, &mut frames).unwrap();
        let Body::Many(items) = compact(&many).unwrap() else { panic!("not many") };
        let read: Vec<_> = items.into_iter().map(|item| item.unwrap()).collect();
        assert_eq!((read, &frames), (made.clone(), &many));
        assert!(many.len() * 10 < json.len() * 9, "{} bytes, and {} of JSON", many.len(), json.len());
        Protocol::Binary.write(&made[..1], &mut one).unwrap();
        let Body::One(read) = compact(&one).unwrap() else { panic!("not one") };
        assert_eq!(*read, made[0]);
    }

    #[test]
    fn answers_are_counted() {
        let one = br#"{"profile":{"id":"p"},"events":[{"id":"a","seq":1,"status":"stored"},{"id":"b","status":"duplicate"}]}"#;
        let answered = Protocol::Json.read(200, one, 1).unwrap();
        assert_eq!((answered.stored, answered.repeated, answered.failed), (1, 1, 0));
        assert_eq!(answered.profiles, [Some("p".to_owned())]);
        let two =
            br#"[{"error":{"code":"x","message":"y"}},{"profile":null,"events":[{"status":"stored"}]}]"#;
        let answered = Protocol::Json.read(200, two, 2).unwrap();
        assert_eq!((answered.stored, answered.failed), (1, 1));
        assert_eq!(answered.profiles, [None, None]);
        assert_eq!(Protocol::Json.read(503, b"", 7).unwrap().failed, 7);
        assert!(Protocol::Json.read(200, b"<html>", 1).is_err());
    }
}
