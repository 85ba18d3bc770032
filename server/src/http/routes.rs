//! Which call a path and a method stand for, with its parameters. Text in, [`Call`] out; answers nothing itself.

use super::errors::Problem;
use hyper::Method;
use percent_encoding::percent_decode_str;
use spoor::limits::PAGE_MAX_ITEMS;
use spoor::model::PageRequest;
use spoor::{Origin, Timestamp};

/// A call of the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `POST /api/v1/track`
    Track(Origin),
    /// A read, which needs a snapshot.
    Read(Read),
    /// `GET /api/v1/status`
    Status,
    /// `GET /healthz`
    Health,
    /// `GET /readyz`
    Ready,
}

/// A call that reads the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// `GET /api/v1/profiles/{id}`
    Profile(String),
    /// `GET /api/v1/profiles/{id}/events`
    ProfileEvents(String, PageRequest),
    /// `GET /api/v1/profiles/{id}/sessions`
    ProfileSessions(String, PageRequest),
    /// `GET /api/v1/sessions/{id}`
    Session(String),
    /// `GET /api/v1/sessions/{id}/events`
    SessionEvents(String, PageRequest),
    /// `GET /api/v1/events`
    Events {
        /// Sequence number after which the page begins.
        after: u64,
        /// At most so many.
        limit: usize,
    },
    /// `GET /api/v1/requests`
    Requests {
        /// Sequence number after which the page begins.
        after: u64,
        /// It ends at so many events.
        limit: usize,
    },
    /// `GET /api/v1/check`
    Check,
}

impl Call {
    /// The route as the log names it: without ids.
    #[must_use]
    pub const fn route(&self) -> &'static str {
        match self {
            Self::Track(_) => "/api/v1/track",
            Self::Read(Read::Profile(_)) => "/api/v1/profiles/{id}",
            Self::Read(Read::ProfileEvents(..)) => "/api/v1/profiles/{id}/events",
            Self::Read(Read::ProfileSessions(..)) => "/api/v1/profiles/{id}/sessions",
            Self::Read(Read::Session(_)) => "/api/v1/sessions/{id}",
            Self::Read(Read::SessionEvents(..)) => "/api/v1/sessions/{id}/events",
            Self::Read(Read::Events { .. }) => "/api/v1/events",
            Self::Read(Read::Requests { .. }) => "/api/v1/requests",
            Self::Read(Read::Check) => "/api/v1/check",
            Self::Status => "/api/v1/status",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
        }
    }
}

/// Finds the call.
///
/// # Errors
/// `route_unknown`, `method_not_allowed`, `parameter_unknown`, `parameter_invalid`, `limit_invalid`,
/// `time_invalid`, `utf8_invalid`.
pub fn find(method: &Method, path: &str, query: Option<&str>) -> Result<Call, Problem> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let segments = path.split('/').map(decode).collect::<Result<Vec<_>, _>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let shape = shape(&segments)?;
    let (reads, allow) = if shape == Shape::Track { (false, "POST") } else { (true, "GET, HEAD") };
    if !(if reads { matches!(*method, Method::GET | Method::HEAD) } else { *method == Method::POST }) {
        let problem = Problem::new("method_not_allowed", format!("this route takes {allow}"));
        return Err(Problem { allow: Some(allow), ..problem });
    }
    call(shape, &mut Parameters::parse(query.unwrap_or_default())?)
}

/// A route with its id, before its parameters are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape<'a> {
    Track,
    Profile(&'a str),
    ProfileEvents(&'a str),
    ProfileSessions(&'a str),
    Session(&'a str),
    SessionEvents(&'a str),
    Events,
    Requests,
    Check,
    Status,
    Health,
    Ready,
}

fn shape<'a>(segments: &[&'a str]) -> Result<Shape<'a>, Problem> {
    Ok(match segments {
        ["api", "v1", "track"] => Shape::Track,
        ["api", "v1", "profiles", id] if !id.is_empty() => Shape::Profile(id),
        ["api", "v1", "profiles", id, "events"] => Shape::ProfileEvents(id),
        ["api", "v1", "profiles", id, "sessions"] => Shape::ProfileSessions(id),
        ["api", "v1", "sessions", id] if !id.is_empty() => Shape::Session(id),
        ["api", "v1", "sessions", id, "events"] => Shape::SessionEvents(id),
        ["api", "v1", "events"] => Shape::Events,
        ["api", "v1", "requests"] => Shape::Requests,
        ["api", "v1", "check"] => Shape::Check,
        ["api", "v1", "status"] => Shape::Status,
        ["healthz"] => Shape::Health,
        ["readyz"] => Shape::Ready,
        _ => {
            return Err(Problem::new("route_unknown", "there is no such route; docs/protocol.md lists them"));
        }
    })
}

fn call(shape: Shape<'_>, parameters: &mut Parameters) -> Result<Call, Problem> {
    let owned = str::to_owned;
    let call = match shape {
        Shape::Track => Call::Track(parameters.origin()?),
        Shape::Profile(id) => Call::Read(Read::Profile(owned(id))),
        Shape::ProfileEvents(id) => Call::Read(Read::ProfileEvents(owned(id), parameters.events_page()?)),
        Shape::ProfileSessions(id) => Call::Read(Read::ProfileSessions(owned(id), parameters.page()?)),
        Shape::Session(id) => Call::Read(Read::Session(owned(id))),
        Shape::SessionEvents(id) => Call::Read(Read::SessionEvents(owned(id), parameters.events_page()?)),
        Shape::Events => Call::Read(Read::Events {
            after: parameters.after()?,
            limit: parameters.limit()?.unwrap_or(PAGE_MAX_ITEMS),
        }),
        Shape::Requests => Call::Read(Read::Requests {
            after: parameters.after()?,
            limit: parameters.limit()?.unwrap_or(PAGE_MAX_ITEMS),
        }),
        Shape::Check => Call::Read(Read::Check),
        Shape::Status => Call::Status,
        Shape::Health => Call::Health,
        Shape::Ready => Call::Ready,
    };
    parameters.finish()?;
    Ok(call)
}

fn decode(segment: &str) -> Result<String, Problem> {
    match percent_decode_str(segment).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Problem::new("utf8_invalid", "the path is not UTF-8 once its escapes are read")),
    }
}

/// The query: each getter takes its parameter out, and what is left is unknown.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::field("parameter_invalid", name, "this parameter stands twice"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(index).1)
    }

    fn origin(&mut self) -> Result<Origin, Problem> {
        match self.take("origin").as_deref() {
            None | Some("live") => Ok(Origin::Live),
            Some("import") => Ok(Origin::Import),
            Some(_) => Err(Problem::field("parameter_invalid", "origin", "origin is live or import")),
        }
    }

    fn after(&mut self) -> Result<u64, Problem> {
        match self.take("after") {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| {
                Problem::field("parameter_invalid", "after", "after is a sequence number, from 0")
            }),
        }
    }

    fn limit(&mut self) -> Result<Option<usize>, Problem> {
        let Some(text) = self.take("limit") else { return Ok(None) };
        match text.parse() {
            Ok(limit) if (1..=PAGE_MAX_ITEMS).contains(&limit) => Ok(Some(limit)),
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
                "not a time: RFC 3339 is expected; is its + escaped?",
            )),
        }
    }

    fn page(&mut self) -> Result<PageRequest, Problem> {
        Ok(PageRequest {
            limit: self.limit()?.unwrap_or(0),
            cursor: self.take("cursor"),
            event_type: None,
            from: self.time("from")?,
            to: self.time("to")?,
        })
    }

    fn events_page(&mut self) -> Result<PageRequest, Problem> {
        let event_type = self.take("type");
        Ok(PageRequest { event_type, ..self.page()? })
    }

    /// A parameter that does nothing would be an answer to another question than was asked.
    fn finish(&mut self) -> Result<(), Problem> {
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

    fn outcome(method: &str, target: &str) -> String {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        match find(&method.parse().unwrap(), path, query) {
            Ok(Call::Read(Read::Profile(id) | Read::Session(id))) => format!("read {id}"),
            Ok(call) => call.route().to_owned(),
            Err(problem) => {
                let code = &problem.body.code;
                [code.as_str(), problem.body.field.as_deref().or(problem.allow).unwrap_or("")].join(" ")
            }
        }
    }

    #[test]
    fn each_path_has_its_call() {
        let table = [
            ("POST", "/api/v1/track", "/api/v1/track"),
            ("POST", "/api/v1/track?origin=import", "/api/v1/track"),
            ("POST", "/api/v1/track?origin=x", "parameter_invalid origin"),
            ("GET", "/api/v1/track", "method_not_allowed POST"),
            ("GET", "/api/v1/profiles/a%2Fb%20%C3%A4", "read a/b ä"),
            ("HEAD", "/api/v1/profiles/a", "read a"),
            ("GET", "/api/v1/profiles/space:1001", "read space:1001"),
            ("GET", "/api/v1/profiles/%ff", "utf8_invalid "),
            ("GET", "/api/v1/profiles/", "route_unknown "),
            ("GET", "/api/v1/profiles/a?at=x", "parameter_unknown at"),
            ("POST", "/api/v1/profiles/a", "method_not_allowed GET, HEAD"),
            (
                "GET",
                "/api/v1/profiles/a/events?limit=5&cursor=x&type=t&from=2026-01-01T00:00:00Z",
                "/api/v1/profiles/{id}/events",
            ),
            ("GET", "/api/v1/profiles/a/events?limit=0", "limit_invalid limit"),
            ("GET", "/api/v1/profiles/a/events?limit=1001", "limit_invalid limit"),
            ("GET", "/api/v1/profiles/a/events?limit=5&limit=6", "parameter_invalid limit"),
            ("GET", "/api/v1/profiles/a/events?from=now", "time_invalid from"),
            ("GET", "/api/v1/profiles/a/sessions?type=t", "parameter_unknown type"),
            ("GET", "/api/v1/sessions/s", "read s"),
            ("GET", "/api/v1/sessions/s/events", "/api/v1/sessions/{id}/events"),
            ("GET", "/api/v1/events?after=5&limit=1", "/api/v1/events"),
            ("GET", "/api/v1/requests?after=5&limit=1", "/api/v1/requests"),
            ("GET", "/api/v1/events?after=-1", "parameter_invalid after"),
            ("GET", "/api/v1/check", "/api/v1/check"),
            ("GET", "/api/v1/status", "/api/v1/status"),
            ("GET", "/healthz", "/healthz"),
            ("GET", "/readyz", "/readyz"),
            ("DELETE", "/healthz", "method_not_allowed GET, HEAD"),
            ("GET", "/", "route_unknown "),
            ("GET", "/api/v1/track/", "route_unknown "),
            ("GET", "//api/v1/check", "route_unknown "),
        ];
        for (method, target, expected) in table {
            assert_eq!(outcome(method, target), expected, "{method} {target}");
        }
    }
}
