//! Which call a path and a method stand for, with its parameters. Text in, [`Call`] out; answers nothing itself.

use super::changes::Following;
use super::errors::Problem;
use super::parameters::Parameters;
use super::vendor_routes::{self, VendorCall};
use crate::protocol::act::Unread;
use hyper::Method;
use percent_encoding::percent_decode_str;
use spoor::limits::PAGE_MAX_ITEMS;
use spoor::model::{AsOf, PageRequest};
use spoor::{Act, Origin};

/// A call of the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `POST /api/v1/track`
    Track(Origin),
    /// `POST /api/v1/stream`
    Stream(Origin),
    /// A call of another service's client.
    Vendor(VendorCall),
    /// A read, which needs a snapshot.
    Read(Read),
    /// A person decides who is who.
    Act {
        /// What is decided.
        act: ActCall,
        /// `dry_run=true`: only say what it would do.
        dry_run: bool,
    },
    /// `/api/v1/keys`
    Keys(KeyRoute),
    /// `GET /api/v1/changes`
    Changes(Following),
    /// `GET /api/v1/status`
    Status,
    /// `GET /healthz`
    Health,
    /// `GET /readyz`
    Ready,
    /// `GET /spoor.js`
    Tracker,
    /// `GET /metrics`
    Metrics,
    /// `GET /openapi.json`
    OpenApi,
    /// `GET /docs`
    Docs,
}

/// What is asked of keys, as far as path and method say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRoute {
    /// `GET /api/v1/keys`
    List,
    /// `POST /api/v1/keys`; the rest stands in the body.
    Add,
    /// `DELETE /api/v1/keys/{id}`
    Revoke(String),
}

/// The right that a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// None.
    Nothing,
    /// To track for the source of the key, or for any.
    Write,
    /// To read.
    Read,
    /// That of an admin.
    Admin,
}

/// Every route with its methods, each on a line of its own. docs/access.md says who may call it.
pub const ROUTES: &[(&str, &str)] = &[
    ("POST", "/api/v1/track"),
    ("POST", "/api/v1/stream"),
    ("GET", "/api/v1/profiles"),
    ("GET", "/api/v1/profiles/{id}"),
    ("GET", "/api/v1/profiles/{id}/events"),
    ("GET", "/api/v1/profiles/{id}/sessions"),
    ("GET", "/api/v1/profiles/{id}/links"),
    ("GET", "/api/v1/profiles/{id}/history"),
    ("POST", "/api/v1/profiles/{id}/identifiers"),
    ("DELETE", "/api/v1/profiles/{id}/identifiers/{identifier}"),
    ("GET", "/api/v1/explain"),
    ("POST", "/api/v1/merges"),
    ("DELETE", "/api/v1/merges/{id}"),
    ("GET", "/api/v1/quarantine"),
    ("POST", "/api/v1/quarantine/{id}"),
    ("GET", "/api/v1/blocked"),
    ("POST", "/api/v1/blocked"),
    ("DELETE", "/api/v1/blocked/{identifier}"),
    ("GET", "/api/v1/sessions/{id}"),
    ("GET", "/api/v1/sessions/{id}/events"),
    ("GET", "/api/v1/events"),
    ("GET", "/api/v1/requests"),
    ("GET", "/api/v1/check"),
    ("GET", "/api/v1/keys"),
    ("POST", "/api/v1/keys"),
    ("DELETE", "/api/v1/keys/{id}"),
    ("GET", "/api/v1/status"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/api/v1/changes"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/spoor.js"),
];

/// An act, as far as path and query say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActCall {
    /// Wholly: a DELETE.
    Whole(Act),
    /// The rest stands in the body of a POST.
    InBody(Unread),
}

/// A call that reads the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// `GET /api/v1/profiles/{id}`
    Profile(String, AsOf),
    /// `GET /api/v1/profiles?identifier={ns:value}`
    ProfileOf(String, AsOf),
    /// `GET /api/v1/profiles/{id}/events`
    ProfileEvents(String, PageRequest),
    /// `GET /api/v1/profiles/{id}/sessions`
    ProfileSessions(String, PageRequest),
    /// `GET /api/v1/profiles/{id}/links`
    ProfileLinks(String, PageRequest),
    /// `GET /api/v1/profiles/{id}/history`
    ProfileHistory(String, PageRequest),
    /// `GET /api/v1/explain?from={id}&to={id}`
    Explain {
        /// An id.
        from: String,
        /// Another.
        to: String,
    },
    /// `GET /api/v1/quarantine`
    Quarantine(PageRequest),
    /// `GET /api/v1/blocked`
    Blocked(PageRequest),
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
            Self::Stream(_) => "/api/v1/stream",
            Self::Vendor(vendor) => vendor.route(),
            Self::Read(read) => read.route(),
            Self::Act { act, .. } => act.route(),
            Self::Keys(KeyRoute::List | KeyRoute::Add) => "/api/v1/keys",
            Self::Keys(KeyRoute::Revoke(_)) => "/api/v1/keys/{id}",
            Self::Changes(_) => "/api/v1/changes",
            Self::Status => "/api/v1/status",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Tracker => "/spoor.js",
            Self::Metrics => "/metrics",
            Self::OpenApi => "/openapi.json",
            Self::Docs => "/docs",
        }
    }

    /// The right that it needs. Each call has its line: a new one is not open to anybody by being forgotten.
    #[must_use]
    pub const fn need(&self) -> Need {
        match self {
            // History is not one source's word about now, and a check costs what reading the whole store costs.
            Self::Track(origin) | Self::Stream(origin) if origin.is_import() => Need::Admin,
            Self::Track(_) | Self::Stream(_) => Need::Write,
            Self::Read(Read::Check) => Need::Admin,
            Self::Read(_) | Self::Changes(_) | Self::Metrics | Self::Status => Need::Read,
            Self::Act { .. } | Self::Keys(_) => Need::Admin,
            // The key of a vendor's call may stand in its body: it is asked for then.
            Self::Vendor(_) | Self::Health | Self::Ready | Self::Tracker | Self::OpenApi | Self::Docs => {
                Need::Nothing
            }
        }
    }

    /// Whether it is for pages of other origins, where the settings name them: only what a tracker calls. Each call
    /// has its line here too.
    #[must_use]
    pub const fn is_for_pages(&self) -> bool {
        match self {
            Self::Track(origin) | Self::Stream(origin) => !origin.is_import(),
            Self::Vendor(_) => true,
            // A page loads a script of another origin as any other; it does not read it.
            Self::Tracker => false,
            Self::Read(_)
            | Self::Act { .. }
            | Self::Keys(_)
            | Self::Status
            | Self::Health
            | Self::Ready
            | Self::Changes(_)
            | Self::Metrics
            | Self::OpenApi
            | Self::Docs => false,
        }
    }
}

impl Read {
    const fn route(&self) -> &'static str {
        match self {
            Self::Profile(..) => "/api/v1/profiles/{id}",
            Self::ProfileOf(..) => "/api/v1/profiles",
            Self::ProfileEvents(..) => "/api/v1/profiles/{id}/events",
            Self::ProfileSessions(..) => "/api/v1/profiles/{id}/sessions",
            Self::ProfileLinks(..) => "/api/v1/profiles/{id}/links",
            Self::ProfileHistory(..) => "/api/v1/profiles/{id}/history",
            Self::Explain { .. } => "/api/v1/explain",
            Self::Quarantine(_) => "/api/v1/quarantine",
            Self::Blocked(_) => "/api/v1/blocked",
            Self::Session(_) => "/api/v1/sessions/{id}",
            Self::SessionEvents(..) => "/api/v1/sessions/{id}/events",
            Self::Events { .. } => "/api/v1/events",
            Self::Requests { .. } => "/api/v1/requests",
            Self::Check => "/api/v1/check",
        }
    }
}

impl ActCall {
    const fn route(&self) -> &'static str {
        match self {
            Self::Whole(Act::Undo { .. }) => "/api/v1/merges/{id}",
            Self::Whole(Act::Merge { .. }) | Self::InBody(Unread::Merge) => "/api/v1/merges",
            Self::Whole(Act::Detach { .. }) => "/api/v1/profiles/{id}/identifiers/{identifier}",
            Self::Whole(Act::Attach { .. }) | Self::InBody(Unread::Attach { .. }) => {
                "/api/v1/profiles/{id}/identifiers"
            }
            Self::Whole(Act::Decide { .. }) | Self::InBody(Unread::Decide { .. }) => {
                "/api/v1/quarantine/{id}"
            }
            Self::Whole(Act::Block { .. }) | Self::InBody(Unread::Block) => "/api/v1/blocked",
            Self::Whole(Act::Unblock { .. }) => "/api/v1/blocked/{identifier}",
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
    if let Some(found) = vendor_routes::find(method, &segments, query) {
        return found.map(Call::Vendor);
    }
    let shape = match shape(&segments)? {
        Shape::Keys if method == Method::POST => Shape::NewKey,
        Shape::Blocked if method == Method::POST => Shape::Block,
        shape => shape,
    };
    check_method(method, shape.allow())?;
    call(shape, &mut Parameters::parse(query.unwrap_or_default())?)
}

/// Refuses a method that is not among those of `allow`.
pub(super) fn check_method(method: &Method, allow: &'static str) -> Result<(), Problem> {
    if allow.split(", ").any(|allowed| allowed == method.as_str()) {
        return Ok(());
    }
    let problem = Problem::new("method_not_allowed", format!("this route takes {allow}"));
    Err(Problem { allow: Some(allow), ..problem })
}

/// A route with its ids, before its parameters are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape<'a> {
    Track,
    Stream,
    Profiles,
    Profile(&'a str),
    ProfileEvents(&'a str),
    ProfileSessions(&'a str),
    ProfileLinks(&'a str),
    ProfileHistory(&'a str),
    ProfileIdentifiers(&'a str),
    ProfileIdentifier(&'a str, &'a str),
    Explain,
    Merges,
    Merge(&'a str),
    Quarantine,
    QuarantineEntry(&'a str),
    Blocked,
    Block,
    BlockedValue(&'a str),
    Session(&'a str),
    SessionEvents(&'a str),
    Events,
    Requests,
    Check,
    Keys,
    NewKey,
    Key(&'a str),
    Status,
    Health,
    Ready,
    Tracker,
    Changes,
    Metrics,
    OpenApi,
    Docs,
}

impl Shape<'_> {
    /// The methods that the route takes, as `Allow` lists them.
    const fn allow(self) -> &'static str {
        match self {
            Self::Track
            | Self::Stream
            | Self::ProfileIdentifiers(_)
            | Self::Merges
            | Self::QuarantineEntry(_) => "POST",
            Self::ProfileIdentifier(..) | Self::Merge(_) | Self::BlockedValue(_) | Self::Key(_) => "DELETE",
            Self::Keys | Self::NewKey | Self::Blocked | Self::Block => "GET, HEAD, POST",
            _ => "GET, HEAD",
        }
    }
}

fn shape<'a>(segments: &[&'a str]) -> Result<Shape<'a>, Problem> {
    if let ["api", "v1", rest @ ..] = segments {
        return shape_of_v1(rest).ok_or_else(unknown);
    }
    match segments {
        ["healthz"] => Ok(Shape::Health),
        ["readyz"] => Ok(Shape::Ready),
        ["spoor.js"] => Ok(Shape::Tracker),
        ["metrics"] => Ok(Shape::Metrics),
        ["openapi.json"] => Ok(Shape::OpenApi),
        ["docs"] => Ok(Shape::Docs),
        _ => Err(unknown()),
    }
}

fn unknown() -> Problem {
    Problem::new("route_unknown", "there is no such route; docs/protocol.md lists them")
}

fn shape_of_v1<'a>(segments: &[&'a str]) -> Option<Shape<'a>> {
    Some(match segments {
        ["track"] => Shape::Track,
        ["stream"] => Shape::Stream,
        ["profiles"] => Shape::Profiles,
        ["profiles", id] if !id.is_empty() => Shape::Profile(id),
        ["profiles", id, "events"] => Shape::ProfileEvents(id),
        ["profiles", id, "sessions"] => Shape::ProfileSessions(id),
        ["profiles", id, "links"] => Shape::ProfileLinks(id),
        ["profiles", id, "history"] => Shape::ProfileHistory(id),
        ["profiles", id, "identifiers"] => Shape::ProfileIdentifiers(id),
        ["profiles", id, "identifiers", identifier] if !identifier.is_empty() => {
            Shape::ProfileIdentifier(id, identifier)
        }
        ["explain"] => Shape::Explain,
        ["merges"] => Shape::Merges,
        ["merges", id] if !id.is_empty() => Shape::Merge(id),
        ["quarantine"] => Shape::Quarantine,
        ["quarantine", id] if !id.is_empty() => Shape::QuarantineEntry(id),
        ["blocked"] => Shape::Blocked,
        ["blocked", identifier] if !identifier.is_empty() => Shape::BlockedValue(identifier),
        ["sessions", id] if !id.is_empty() => Shape::Session(id),
        ["sessions", id, "events"] => Shape::SessionEvents(id),
        ["events"] => Shape::Events,
        ["requests"] => Shape::Requests,
        ["check"] => Shape::Check,
        ["keys"] => Shape::Keys,
        ["keys", id] if !id.is_empty() => Shape::Key(id),
        ["changes"] => Shape::Changes,
        ["status"] => Shape::Status,
        _ => return None,
    })
}

fn call(shape: Shape<'_>, parameters: &mut Parameters) -> Result<Call, Problem> {
    let call = match shape {
        Shape::Track => Call::Track(parameters.origin()?),
        Shape::Stream => Call::Stream(parameters.origin()?),
        Shape::Keys => Call::Keys(KeyRoute::List),
        Shape::NewKey => Call::Keys(KeyRoute::Add),
        Shape::Key(id) => Call::Keys(KeyRoute::Revoke(id.to_owned())),
        Shape::Status => Call::Status,
        Shape::Health => Call::Health,
        Shape::Ready => Call::Ready,
        Shape::Tracker => Call::Tracker,
        Shape::Changes => Call::Changes(Following {
            after: parameters.after()?,
            limit: parameters.limit()?,
            until_now: parameters.flag("until_now")?,
        }),
        Shape::Metrics => Call::Metrics,
        Shape::OpenApi => Call::OpenApi,
        Shape::Docs => Call::Docs,
        shape => match act(shape, parameters)? {
            Some(act) => Call::Act { act, dry_run: parameters.flag("dry_run")? },
            None => Call::Read(read(shape, parameters)?),
        },
    };
    parameters.finish()?;
    Ok(call)
}

/// The act that a route stands for, if it is one.
fn act(shape: Shape<'_>, parameters: &mut Parameters) -> Result<Option<ActCall>, Problem> {
    let owned = str::to_owned;
    Ok(Some(match shape {
        Shape::Merge(id) => {
            ActCall::Whole(Act::Undo { merge: owned(id), keep_apart: parameters.flag("keep_apart")? })
        }
        Shape::ProfileIdentifier(id, identifier) => {
            ActCall::Whole(Act::Detach { profile: owned(id), identifier: owned(identifier) })
        }
        Shape::BlockedValue(identifier) => ActCall::Whole(Act::Unblock { identifier: owned(identifier) }),
        Shape::Merges => ActCall::InBody(Unread::Merge),
        Shape::ProfileIdentifiers(id) => ActCall::InBody(Unread::Attach { profile: owned(id) }),
        Shape::QuarantineEntry(id) => ActCall::InBody(Unread::Decide { quarantine: owned(id) }),
        Shape::Block => ActCall::InBody(Unread::Block),
        _ => return Ok(None),
    }))
}

fn read(shape: Shape<'_>, parameters: &mut Parameters) -> Result<Read, Problem> {
    let owned = str::to_owned;
    Ok(match shape {
        Shape::Profiles => Read::ProfileOf(parameters.needed("identifier")?, parameters.as_of()?),
        Shape::Profile(id) => Read::Profile(owned(id), parameters.as_of()?),
        Shape::ProfileEvents(id) => Read::ProfileEvents(owned(id), parameters.events_page()?),
        Shape::ProfileSessions(id) => Read::ProfileSessions(owned(id), parameters.page()?),
        Shape::ProfileLinks(id) => Read::ProfileLinks(owned(id), parameters.plain_page()?),
        Shape::ProfileHistory(id) => Read::ProfileHistory(owned(id), parameters.plain_page()?),
        Shape::Explain => Read::Explain { from: parameters.needed("from")?, to: parameters.needed("to")? },
        Shape::Quarantine => Read::Quarantine(parameters.plain_page()?),
        Shape::Blocked => Read::Blocked(parameters.plain_page()?),
        Shape::Session(id) => Read::Session(owned(id)),
        Shape::SessionEvents(id) => Read::SessionEvents(owned(id), parameters.events_page()?),
        Shape::Events => {
            Read::Events { after: parameters.after()?, limit: parameters.limit()?.unwrap_or(PAGE_MAX_ITEMS) }
        }
        Shape::Requests => Read::Requests {
            after: parameters.after()?,
            limit: parameters.limit()?.unwrap_or(PAGE_MAX_ITEMS),
        },
        Shape::Check => Read::Check,
        // `call` and `act` have taken all others.
        _ => return Err(unknown()),
    })
}

fn decode(segment: &str) -> Result<String, Problem> {
    match percent_decode_str(segment).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Problem::new("utf8_invalid", "the path is not UTF-8 once its escapes are read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(method: &str, target: &str) -> String {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        match find(&method.parse().unwrap(), path, query) {
            Ok(Call::Read(Read::Profile(id, _) | Read::Session(id))) => format!("read {id}"),
            Ok(Call::Act { act: ActCall::Whole(act), dry_run }) => format!("{act:?} {dry_run}"),
            Ok(call) => call.route().to_owned(),
            Err(problem) => {
                let code = &problem.body.code;
                [code.as_str(), problem.body.field.as_deref().or(problem.allow).unwrap_or("")].join(" ")
            }
        }
    }

    /// The shapes are taken from this very file, so that one without a line in [`ROUTES`] shows.
    #[test]
    fn every_route_is_listed_and_found() {
        let mut shapes: Vec<String> = include_str!("routes.rs")
            .split_once("enum Shape<'a> {")
            .and_then(|(_, rest)| rest.split_once('}'))
            .map(|(names, _)| names.split_whitespace().map(|name| name.to_owned()).collect())
            .unwrap();
        shapes.iter_mut().for_each(|name| name.truncate(name.find(['(', ',']).unwrap_or(0)));
        shapes.retain(|name| name.starts_with(char::is_uppercase));
        for (method, path) in ROUTES {
            let method: Method = method.parse().unwrap();
            let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
            let found = match shape(&segments).unwrap() {
                Shape::Keys if method == Method::POST => Shape::NewKey,
                shape => shape,
            };
            assert!(found.allow().contains(method.as_str()), "{method} {path}");
            let name = format!("{found:?}");
            shapes.retain(|shape| *shape != name.split('(').next().unwrap());
            let query = match found {
                Shape::Profiles => Some("identifier=a:b"),
                Shape::Explain => Some("from=a&to=b"),
                _ => None,
            };
            assert_eq!(find(&method, path, query).unwrap().route(), *path, "{method}");
        }
        assert!(shapes.is_empty(), "without a line in ROUTES: {shapes:?}");
    }

    #[test]
    fn each_path_has_its_call() {
        let table = [
            ("POST", "/api/v1/track", "/api/v1/track"),
            ("POST", "/api/v1/track?origin=import", "/api/v1/track"),
            ("POST", "/api/v1/track?origin=x", "parameter_invalid origin"),
            ("GET", "/api/v1/track", "method_not_allowed POST"),
            ("POST", "/api/v1/stream?origin=import", "/api/v1/stream"),
            ("GET", "/api/v1/stream", "method_not_allowed POST"),
            ("GET", "/api/v1/profiles/a%2Fb%20%C3%A4", "read a/b ä"),
            ("HEAD", "/api/v1/profiles/a", "read a"),
            ("GET", "/api/v1/profiles/space:1001", "read space:1001"),
            ("GET", "/api/v1/profiles/%ff", "utf8_invalid "),
            ("GET", "/api/v1/profiles/", "route_unknown "),
            ("GET", "/api/v1/profiles/a?at=2026-01-01T00:00:00Z&until=2026-01-01T00:00:00Z", "read a"),
            ("GET", "/api/v1/profiles/a?at=x", "time_invalid at"),
            ("GET", "/api/v1/profiles/a?until=2026-13-01T00:00:00Z", "time_invalid until"),
            ("GET", "/api/v1/profiles/a?since=x", "parameter_unknown since"),
            (
                "GET",
                "/api/v1/profiles?identifier=email:a@b.example&at=2026-01-01T00:00:00Z",
                "/api/v1/profiles",
            ),
            ("GET", "/api/v1/profiles", "parameter_invalid identifier"),
            ("GET", "/api/v1/profiles?identifier=%20", "parameter_invalid identifier"),
            ("GET", "/api/v1/profiles/a/links?limit=1&cursor=x", "/api/v1/profiles/{id}/links"),
            ("GET", "/api/v1/profiles/a/links?type=x", "parameter_unknown type"),
            ("GET", "/api/v1/profiles/a/history", "/api/v1/profiles/{id}/history"),
            ("GET", "/api/v1/explain?from=a&to=b", "/api/v1/explain"),
            ("GET", "/api/v1/explain?from=a", "parameter_invalid to"),
            ("GET", "/api/v1/quarantine?limit=1", "/api/v1/quarantine"),
            ("POST", "/api/v1/quarantine", "method_not_allowed GET, HEAD"),
            ("POST", "/api/v1/quarantine/q1-0?dry_run=true", "/api/v1/quarantine/{id}"),
            ("POST", "/api/v1/merges", "/api/v1/merges"),
            ("POST", "/api/v1/merges?dry_run=yes", "parameter_invalid dry_run"),
            ("POST", "/api/v1/merges?keep_apart=true", "parameter_unknown keep_apart"),
            ("GET", "/api/v1/merges/m1-0", "method_not_allowed DELETE"),
            (
                "DELETE",
                "/api/v1/merges/m1-0?keep_apart=true&dry_run=true",
                "Undo { merge: \"m1-0\", keep_apart: true } true",
            ),
            ("POST", "/api/v1/profiles/a/identifiers", "/api/v1/profiles/{id}/identifiers"),
            (
                "DELETE",
                "/api/v1/profiles/a/identifiers/email:ada%40example.com",
                "Detach { profile: \"a\", identifier: \"email:ada@example.com\" } false",
            ),
            ("DELETE", "/api/v1/profiles/a/identifiers", "method_not_allowed POST"),
            ("POST", "/api/v1/blocked", "/api/v1/blocked"),
            ("DELETE", "/api/v1/blocked/x:a%2Fb", "Unblock { identifier: \"x:a/b\" } false"),
            ("DELETE", "/api/v1/blocked/", "route_unknown "),
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
            ("GET", "/api/v1/changes?after=5&limit=1&until_now=true", "/api/v1/changes"),
            ("GET", "/api/v1/changes?until_now=1", "parameter_invalid until_now"),
            ("POST", "/api/v1/changes", "method_not_allowed GET, HEAD"),
            ("GET", "/metrics", "/metrics"),
            ("GET", "/metrics?x=1", "parameter_unknown x"),
            ("GET", "/openapi.json", "/openapi.json"),
            ("GET", "/docs", "/docs"),
            ("GET", "/api/v1/check", "/api/v1/check"),
            ("GET", "/api/v1/keys", "/api/v1/keys"),
            ("POST", "/api/v1/keys?key=x", "/api/v1/keys"),
            ("DELETE", "/api/v1/keys", "method_not_allowed GET, HEAD, POST"),
            ("DELETE", "/api/v1/keys/0a1b", "/api/v1/keys/{id}"),
            ("GET", "/api/v1/keys/0a1b", "method_not_allowed DELETE"),
            ("GET", "/api/v1/status", "/api/v1/status"),
            ("GET", "/healthz", "/healthz"),
            ("GET", "/readyz", "/readyz"),
            ("GET", "/spoor.js", "/spoor.js"),
            ("POST", "/spoor.js", "method_not_allowed GET, HEAD"),
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
