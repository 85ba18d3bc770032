//! The query of a request: what stands in it, read by name. Knows no route.

use super::errors::Problem;
use spoor::limits::PAGE_MAX_ITEMS;
use spoor::model::{AsOf, PageRequest};
use spoor::{Origin, Timestamp};
use std::str::FromStr;

/// The parameter in which a page shows its key, where it can set no header.
pub(super) const KEY: &str = "key";

/// A number in the one way in which it is written: digits, without a sign or zeros before them.
pub(super) fn number<T: FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// The query: each getter takes its parameter out, and what is left is unknown.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::field("parameter_invalid", name, "this parameter stands twice"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        // It says who calls, and nothing of what: `access.rs` has looked at it, or nobody needs a key.
        pairs.retain(|(name, _)| name != KEY);
        Ok(Self(pairs))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(index).1)
    }

    /// One without which the call means nothing.
    pub(super) fn needed(&mut self, name: &'static str) -> Result<String, Problem> {
        self.take(name)
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| Problem::field("parameter_invalid", name, "this route needs this parameter"))
    }

    /// `true` or `false`; false if it is not there.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, Problem> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::field("parameter_invalid", name, "this parameter is true or false")),
        }
    }

    pub(super) fn origin(&mut self) -> Result<Origin, Problem> {
        match self.take("origin").as_deref() {
            None | Some("live") => Ok(Origin::Live),
            Some("import") => Ok(Origin::Import),
            Some(_) => Err(Problem::field("parameter_invalid", "origin", "origin is live or import")),
        }
    }

    pub(super) fn after(&mut self) -> Result<u64, Problem> {
        match self.take("after") {
            None => Ok(0),
            Some(text) => number(&text).ok_or_else(|| {
                Problem::field("parameter_invalid", "after", "after is a sequence number, from 0")
            }),
        }
    }

    pub(super) fn limit(&mut self) -> Result<Option<usize>, Problem> {
        let Some(text) = self.take("limit") else { return Ok(None) };
        match number(&text) {
            Some(limit) if (1..=PAGE_MAX_ITEMS).contains(&limit) => Ok(Some(limit)),
            _ => {
                let message = format!("limit is a number from 1 to {PAGE_MAX_ITEMS}");
                Err(Problem::field("limit_invalid", "limit", message))
            }
        }
    }

    fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        match Timestamp::parse(&text) {
            Some(time) => Ok(Some(time)),
            None => Err(Problem::field(
                "time_invalid",
                name,
                "not a time: RFC 3339 between 1970 and 9999 is expected; is its + escaped?",
            )),
        }
    }

    pub(super) fn as_of(&mut self) -> Result<AsOf, Problem> {
        Ok(AsOf { at: self.time("at")?, until: self.time("until")? })
    }

    /// Of what has no event time of its own: links, what happened to a profile, quarantine.
    pub(super) fn plain_page(&mut self) -> Result<PageRequest, Problem> {
        Ok(PageRequest {
            limit: self.limit()?.unwrap_or(0),
            cursor: self.take("cursor"),
            ..PageRequest::default()
        })
    }

    pub(super) fn page(&mut self) -> Result<PageRequest, Problem> {
        Ok(PageRequest { from: self.time("from")?, to: self.time("to")?, ..self.plain_page()? })
    }

    pub(super) fn events_page(&mut self) -> Result<PageRequest, Problem> {
        Ok(PageRequest { event_type: self.take("type"), ..self.page()? })
    }

    /// A parameter that does nothing would be an answer to another question than was asked.
    pub(super) fn finish(&mut self) -> Result<(), Problem> {
        match self.0.pop() {
            Some((name, _)) => {
                Err(Problem::field("parameter_unknown", name, "this route has no such parameter"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_in_one_way() {
        for (text, expected) in [("0", Some(0)), ("7", Some(7)), ("18446744073709551615", Some(u64::MAX))] {
            assert_eq!(number::<u64>(text), expected, "{text}");
        }
        for text in ["", "00", "01", "+1", "-1", " 1", "1.0", "1e3", "٣", "18446744073709551616"] {
            assert_eq!(number::<u64>(text), None, "{text}");
        }
    }
}
