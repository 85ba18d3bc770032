//! Reading scenario files.

use super::BEGIN;
use crate::target::wire::{Members, read_request};
use serde::Deserialize;
use serde_json::value::RawValue;
use spoor::model::AsOf;
use spoor::{Act, Consent, Event, Json, Origin, Settings, Timestamp, TrackRequest};

/// A scenario: settings, and steps with the lines that they stand on.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What the store is opened with.
    pub settings: Settings,
    /// The steps in order, and the answers that the file has for them.
    pub steps: Vec<Written>,
}

/// A step as it stands in a file.
#[derive(Debug, Clone)]
pub struct Written {
    /// Number of its first line, from 1.
    pub line: usize,
    /// Number of the first line after what is to be done, where an answer would begin.
    pub answer_line: usize,
    /// How many lines the answer has, with its `----`.
    pub answer_lines: usize,
    /// The step.
    pub step: Step,
    /// The answer that is expected.
    pub expected: String,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Store a request.
    Track(Box<TrackRequest>),
    /// Send bytes to a path.
    Wire(String, String),
    /// Show this time.
    At(Timestamp),
    /// Move the clock on, in microseconds.
    Later(i64),
    /// Close and open.
    Reopen,
    /// End uncleanly and open.
    Crash,
    /// Verify.
    Check,
    /// Read a profile, as of a past.
    Profile(String, AsOf),
    /// Read the profile that has an identifier, as of a past.
    Identifier(String, AsOf),
    /// Do something to who is who, or only say what it would do.
    Act(Act, bool),
    /// Ask how two ids are joined.
    Explain(String, String),
    /// Read a session.
    Session(String),
    /// Read all pages of something.
    Pages(PageOf, String, spoor::model::PageRequest),
}

/// What a page is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOf {
    /// The events of a profile.
    Events,
    /// The sessions of a profile.
    Sessions,
    /// The events of a session.
    SessionEvents,
    /// The links of a profile.
    Links,
    /// What happened to who a profile is.
    History,
    /// The links that wait for a decision; of no id.
    Quarantine,
    /// The values that people blocked; of no id.
    Blocked,
}

/// Reads a file.
///
/// # Errors
/// The line, and what is wrong with it.
pub fn parse(text: &str) -> Result<Scenario, String> {
    let mut scenario = Scenario { settings: Settings::default(), steps: Vec::new() };
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim().is_empty() || lines[at].starts_with('#') {
            at += 1;
            continue;
        }
        let begin = at;
        while at < lines.len() && !lines[at].trim().is_empty() {
            at += 1;
        }
        let block = &lines[begin..at];
        let wrong = |what: String| format!("line {}: {what}", begin + 1);
        if block[0] == "settings" {
            scenario.settings =
                toml::from_str(&block[1..].join("\n")).map_err(|error| wrong(error.to_string()))?;
            continue;
        }
        let told = block.iter().position(|line| *line == "----").unwrap_or(block.len());
        let expected = block.get(told + 1..).unwrap_or_default().join("\n");
        scenario.steps.push(Written {
            line: begin + 1,
            answer_line: begin + told,
            answer_lines: block.len() - told,
            step: step(&block[..told]).map_err(wrong)?,
            expected,
        });
    }
    Ok(scenario)
}

fn step(lines: &[&str]) -> Result<Step, String> {
    let (directive, rest) = lines[0].split_once(' ').unwrap_or((lines[0], ""));
    let body = lines[1..].join("\n");
    Ok(match directive {
        "track" => Step::Track(Box::new(track(rest, &lines[1..])?)),
        "json" => Step::Track(Box::new(read_request(&body)?)),
        "wire" => Step::Wire(rest.to_owned(), body),
        "at" => match rest.strip_prefix('+') {
            Some(duration) => Step::Later(duration_us(duration)?),
            None => Step::At(time(rest)?),
        },
        "reopen" => Step::Reopen,
        "crash" => Step::Crash,
        "check" => Step::Check,
        "profile" => as_of(rest).map(|(id, as_of)| Step::Profile(id, as_of))?,
        "identifier" => as_of(rest).map(|(identifier, as_of)| Step::Identifier(identifier, as_of))?,
        "session" => Step::Session(rest.to_owned()),
        "events" => pages(PageOf::Events, rest)?,
        "sessions" => pages(PageOf::Sessions, rest)?,
        "session-events" => pages(PageOf::SessionEvents, rest)?,
        "links" => pages(PageOf::Links, rest)?,
        "history" => pages(PageOf::History, rest)?,
        "blocked" => pages(PageOf::Blocked, &format!("- {rest}"))?,
        "quarantine" => pages(PageOf::Quarantine, &format!("- {rest}"))?,
        "explain" => {
            let (from, to) = rest.split_once(' ').ok_or("explaining takes two ids")?;
            Step::Explain(from.to_owned(), to.to_owned())
        }
        _ => act(directive, rest)?,
    })
}

fn as_of(rest: &str) -> Result<(String, AsOf), String> {
    let (id, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut as_of = AsOf::default();
    for (name, value) in members(rest)? {
        match name {
            "at" => as_of.at = Some(time(&value.text())?),
            "until" => as_of.until = Some(time(&value.text())?),
            other => return Err(format!("no such past: {other}")),
        }
    }
    Ok((id.to_owned(), as_of))
}

fn act(directive: &str, rest: &str) -> Result<Step, String> {
    let (options, ids): (Vec<&str>, Vec<&str>) = rest
        .split_whitespace()
        .partition(|word| ["keep_apart", "force", "dry_run", "approve", "reject"].contains(word));
    let has = |option: &str| options.contains(&option);
    let id = |at: usize| ids.get(at).map(|id| (*id).to_owned()).ok_or(format!("{directive} of what?"));
    let act = match directive {
        "undo" => Act::Undo { merge: id(0)?, keep_apart: has("keep_apart") },
        "merge" => Act::Merge { profile: id(0)?, other: id(1)?, force: has("force") },
        "detach" => Act::Detach { profile: id(0)?, identifier: id(1)? },
        "attach" => Act::Attach { profile: id(0)?, identifier: id(1)? },
        "decide" if has("approve") != has("reject") => {
            Act::Decide { quarantine: id(0)?, approve: has("approve") }
        }
        "block" => Act::Block { identifier: id(0)? },
        "unblock" => Act::Unblock { identifier: id(0)? },
        _ => return Err(format!("no such directive: {directive} {rest}")),
    };
    Ok(Step::Act(act, has("dry_run")))
}

fn duration_us(text: &str) -> Result<i64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or("a duration needs a unit")?;
    let (number, unit) = text.split_at(split);
    let number: i64 = number.parse().map_err(|_| format!("no duration: {text}"))?;
    let unit_us = match unit {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Err(format!("no duration: {text}")),
    };
    Ok(number * unit_us)
}

/// A time, in full or of the scenario's day.
fn time(text: &str) -> Result<Timestamp, String> {
    let date = BEGIN.to_string();
    let full = if text.contains('T') { text.to_owned() } else { format!("{}T{text}Z", &date[..10]) };
    Timestamp::parse(&full).ok_or_else(|| format!("no time: {text}"))
}

fn pages(of: PageOf, rest: &str) -> Result<Step, String> {
    let (id, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut page = spoor::model::PageRequest::default();
    for (name, value) in members(rest)? {
        match name {
            "limit" => page.limit = value.text().parse().map_err(|_| "limit is no number")?,
            "type" => page.event_type = Some(value.text()),
            "from" => page.from = Some(time(&value.text())?),
            "to" => page.to = Some(time(&value.text())?),
            other => return Err(format!("no such member of a page: {other}")),
        }
    }
    Ok(Step::Pages(of, id.to_owned(), page))
}

/// A word or a JSON text.
#[derive(Debug, Clone, Copy)]
struct Member<'a>(&'a str);

impl Member<'_> {
    fn text(self) -> String {
        serde_json::from_str::<String>(self.0).unwrap_or_else(|_| self.0.to_owned())
    }

    fn json(self) -> Result<Json, String> {
        Json::parse(self.0).map_err(|fault| format!("{}: {}", fault.code, self.0))
    }

    fn pairs(self) -> Result<Vec<(String, Json)>, String> {
        let members: Members<Box<RawValue>> = self.read()?;
        let json = |(name, value): (String, Box<RawValue>)| Ok((name, Member(value.get()).json()?));
        members.0.into_iter().map(json).collect()
    }

    fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, String> {
        serde_json::from_str(self.0).map_err(|error| format!("{error}: {}", self.0))
    }
}

/// Splits `name=value name=value word`.
fn members(mut rest: &str) -> Result<Vec<(&str, Member<'_>)>, String> {
    let mut members = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(members);
        }
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let name = &rest[..end];
        let Some(value) = rest[end..].strip_prefix('=') else {
            members.push((name, Member("")));
            rest = &rest[end..];
            continue;
        };
        let length = if value.starts_with(['{', '[', '"']) {
            let mut stream = serde_json::Deserializer::from_str(value).into_iter::<&RawValue>();
            let read = stream.next().transpose().map_err(|error| format!("{name}: {error}"))?;
            read.map_or(0, |raw| raw.get().len())
        } else {
            value.find(' ').unwrap_or(value.len())
        };
        members.push((name, Member(&value[..length])));
        rest = &value[length..];
    }
}

fn track(rest: &str, lines: &[&str]) -> Result<TrackRequest, String> {
    let mut request = TrackRequest::default();
    for (name, value) in members(rest)? {
        match name {
            "source" => request.source = Some(value.text()),
            "session" => request.session = Some(value.text()),
            "profile" => request.profile = Some(value.text()),
            "sent_at" => request.sent_at = Some(time(&value.text())?),
            "context" => request.context = Some(value.json()?),
            "user_agent" => request.user_agent = Some(value.text()),
            "profile_less" => request.profile_less = true,
            "import" => request.origin = Origin::Import,
            other => return Err(format!("no such member of a request: {other}")),
        }
    }
    for line in lines {
        let rest = line.strip_prefix("event").ok_or_else(|| format!("no event: {line}"))?;
        request.events.push(event(rest)?);
    }
    Ok(request)
}

fn event(rest: &str) -> Result<Event, String> {
    let mut event = Event::default();
    for (name, value) in members(rest)? {
        match name {
            "id" => event.id = Some(value.text()),
            "type" => event.event_type = value.text(),
            "time" => event.time = Some(time(&value.text())?),
            "properties" => event.properties = Some(value.json()?),
            "context" => event.context = Some(value.json()?),
            "identifiers" => event.identifiers = value.read::<Members<String>>()?.0,
            "set" => event.traits.set = value.pairs()?,
            "set_once" => event.traits.set_once = value.pairs()?,
            "unset" => event.traits.unset = value.read()?,
            "add" => event.traits.add = value.pairs()?,
            "append" => event.traits.append = value.pairs()?,
            "remove" => event.traits.remove = value.pairs()?,
            "consents" => event.consents = consents(value)?,
            other => return Err(format!("no such member of an event: {other}")),
        }
    }
    Ok(event)
}

fn consents(value: Member<'_>) -> Result<Vec<(String, Consent)>, String> {
    let members: Members<String> = value.read()?;
    let answer = |(name, answer): (String, String)| match answer.as_str() {
        "granted" => Ok((name, Consent::Granted)),
        "refused" => Ok((name, Consent::Refused)),
        _ => Err(format!("no consent: {answer}")),
    };
    members.0.into_iter().map(answer).collect()
}
