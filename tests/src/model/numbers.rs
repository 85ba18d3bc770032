//! A session's figures, worked out from its events.

use super::decimal::Decimal;
use super::{EventRow, Model};
use serde_json::Value;
use spoor::Json;
use spoor::model::{Session, SessionCounters, SessionProfile};

impl Model {
    /// The session of a row that is no alias.
    pub(super) fn session_of_row(&self, row: usize) -> Session {
        let session = &self.sessions[row];
        let events = self.events_of_session(row);
        let (first, last) = (events[0], events[events.len() - 1]);
        let views: Vec<&&EventRow> = events.iter().filter(|event| self.is_page_view(event)).collect();
        let conversions: Vec<&&EventRow> = events.iter().filter(|event| self.is_conversion(event)).collect();
        let values: Vec<Decimal> = conversions.iter().filter_map(|event| value(event)).collect();
        let value = (!values.is_empty())
            .then(|| values.iter().fold(Decimal::default(), |sum, value| sum.plus(*value)).to_string());
        let agent = first.user_agent.as_deref().unwrap_or_default();
        Session {
            id: session.id.clone(),
            source: session.source.clone(),
            profile: session.current.map(|fragment| SessionProfile {
                id: self.fragments[fragment].id.clone(),
                primary_id: self.primary_id(fragment),
            }),
            started_at: first.time,
            last_seen: last.time,
            ended_at: session.ended_at,
            duration_ms: u64::try_from(last.time.millis() - first.time.millis()).unwrap_or(0),
            counters: SessionCounters {
                events: events.len() as u64,
                page_views: views.len() as u64,
                conversions: conversions.len() as u64,
            },
            value,
            entry_page: views.first().and_then(|event| page(event)),
            exit_page: views.last().and_then(|event| page(event)),
            bounce: views.len() <= 1 && conversions.is_empty(),
            referrer: referrer(first),
            utm: utm(first),
            device: known(agent, DEVICES),
            os: known(agent, SYSTEMS),
            browser: known(agent, BROWSERS),
            shared: session.shared,
        }
    }

    pub(super) fn is_page_view(&self, event: &EventRow) -> bool {
        self.source(&event.source).page_views.contains(&event.sent.event_type)
    }

    fn is_conversion(&self, event: &EventRow) -> bool {
        self.source(&event.source).conversions.contains(&event.sent.event_type)
    }
}

/// The user agents of the scenarios: a word in them, and what it says. The first that is found holds.
const DEVICES: &[(&str, &str)] =
    &[("Googlebot", "bot"), ("iPhone", "mobile"), ("iPad", "tablet"), ("Windows NT", "desktop")];
const SYSTEMS: &[(&str, &str)] = &[("iPhone", "iOS"), ("iPad", "iOS"), ("Windows NT", "Windows")];
const BROWSERS: &[(&str, &str)] = &[("Firefox/", "Firefox"), ("iPhone", "Mobile Safari")];

fn known(agent: &str, table: &[(&str, &str)]) -> Option<String> {
    table.iter().find(|(word, _)| agent.contains(word)).map(|(_, name)| (*name).to_owned())
}

fn tree(json: Option<&Json>) -> Value {
    json.map_or(Value::Null, Json::to_value)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A member of the event's context, else of the request's.
fn context(event: &EventRow, pointer: &str) -> Option<String> {
    [event.sent.context.as_ref(), event.request_context.as_ref()]
        .into_iter()
        .find_map(|json| tree(json).pointer(pointer).and_then(text))
}

fn page(event: &EventRow) -> Option<String> {
    let properties = tree(event.sent.properties.as_ref());
    text(&properties["url"]).or_else(|| text(&properties["path"])).or_else(|| context(event, "/page/url"))
}

fn referrer(event: &EventRow) -> Option<String> {
    text(&tree(event.sent.properties.as_ref())["referrer"]).or_else(|| context(event, "/page/referrer"))
}

fn value(event: &EventRow) -> Option<Decimal> {
    let properties = tree(event.sent.properties.as_ref());
    let number = |member: &str| match &properties[member] {
        Value::Number(number) => Decimal::read(&number.to_string()),
        _ => None,
    };
    number("value").or_else(|| number("revenue"))
}

/// From the query of the page; without any there, from the campaign of the context.
fn utm(event: &EventRow) -> Vec<(String, String)> {
    const NAMES: [&str; 5] = ["source", "medium", "campaign", "term", "content"];
    let page = page(event).unwrap_or_default();
    let query = page.split('#').next().unwrap_or_default().split_once('?').map_or("", |(_, query)| query);
    let mut found = Vec::new();
    for name in NAMES {
        let member = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values =
            member.filter(|(key, _)| *key == format!("utm_{name}")).map(|(_, value)| plain(value));
        if let Some(value) = values.next().filter(|value| !value.is_empty()) {
            found.push((name.to_owned(), value));
        }
    }
    // A campaign is taken whole from one place: the event's context, else the request's.
    for json in [event.sent.context.as_ref(), event.request_context.as_ref()] {
        if found.is_empty() {
            let campaign = &tree(json)["campaign"];
            let member = |name: &str| text(&campaign[if name == "campaign" { "name" } else { name }]);
            found = NAMES.iter().filter_map(|name| Some(((*name).to_owned(), member(name)?))).collect();
        }
    }
    found
}

/// Undoes the encoding of a query.
fn plain(encoded: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = encoded.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
