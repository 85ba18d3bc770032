//! Which call a path and a method stand for, with its parameters. Text in, [`Call`] out; answers nothing itself. Our own
//! routes stand in `table`, those of other services' clients in `vendor_routes`.

pub(crate) mod operation;
pub(crate) mod route;
pub(crate) mod table;

use super::changes::Following;
use super::errors::Problem;
use super::parameters::Parameters;
use super::vendor_routes::{self, VendorCall};
use crate::protocol::act::Unread;
use hyper::Method;
use percent_encoding::percent_decode_str;
use spoor::model::{AsOf, PageRequest};
use spoor::{Act, Origin};
use table::ROUTES;

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

/// A call, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The route as the log names it: without ids.
    pub route: &'static str,
    /// What is asked.
    pub call: Call,
}

/// Every method of every path of ours. docs/access.md says who may call it.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.iter().map(|route| (route.method, route.path))
}

/// Finds the call.
///
/// # Errors
/// `route_unknown`, `method_not_allowed`, `parameter_unknown`, `parameter_invalid`, `limit_invalid`,
/// `time_invalid`, `utf8_invalid`.
pub fn find(method: &Method, path: &str, query: Option<&str>) -> Result<Found, Problem> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let segments = path.split('/').map(decode).collect::<Result<Vec<_>, _>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let Some(found) = vendor_routes::find(method, &segments, query) {
        return found.map(|vendor| Found { route: vendor.route(), call: Call::Vendor(vendor) });
    }
    let there = || ROUTES.iter().filter(|route| route.is_at(&segments));
    // What is true of a GET is true of a HEAD.
    let wanted = if method == Method::HEAD { "GET" } else { method.as_str() };
    let Some(route) = there().find(|route| route.method == wanted) else {
        let takes = |method: &str| there().any(|route| route.method == method);
        return match allowed(takes("GET"), takes("POST"), takes("DELETE")) {
            Some(allow) => Err(not_allowed(allow)),
            None => Err(Problem::new("route_unknown", "there is no such route; docs/protocol.md lists them")),
        };
    };
    let mut parameters = Parameters::parse(query.unwrap_or_default())?;
    let call = route.call(&segments, &mut parameters)?;
    parameters.finish()?;
    Ok(Found { route: route.path, call })
}

/// How `Allow` lists the methods that a path takes; `None` if it takes none.
const fn allowed(get: bool, post: bool, delete: bool) -> Option<&'static str> {
    Some(match (get, post, delete) {
        (true, true, true) => "GET, HEAD, POST, DELETE",
        (true, true, false) => "GET, HEAD, POST",
        (true, false, true) => "GET, HEAD, DELETE",
        (true, false, false) => "GET, HEAD",
        (false, true, true) => "POST, DELETE",
        (false, true, false) => "POST",
        (false, false, true) => "DELETE",
        (false, false, false) => return None,
    })
}

/// Refuses a method that is not among those of `allow`.
pub(super) fn check_method(method: &Method, allow: &'static str) -> Result<(), Problem> {
    if allow.split(", ").any(|allowed| allowed == method.as_str()) {
        return Ok(());
    }
    Err(not_allowed(allow))
}

fn not_allowed(allow: &'static str) -> Problem {
    let problem = Problem::new("method_not_allowed", format!("this route takes {allow}"));
    Problem { allow: Some(allow), ..problem }
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
            Ok(Found { call: Call::Read(Read::Profile(id, _) | Read::Session(id)), .. }) => {
                format!("read {id}")
            }
            Ok(Found { call: Call::Act { act: ActCall::Whole(act), dry_run }, .. }) => {
                format!("{act:?} {dry_run}")
            }
            Ok(found) => found.route.to_owned(),
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
            ("GET", "/api/v1/changes?after=01", "parameter_invalid after"),
            ("GET", "/api/v1/changes?after=%2B1", "parameter_invalid after"),
            ("GET", "/api/v1/changes?limit=010", "limit_invalid limit"),
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
            ("GET", "/api/v1/profiles//events", "route_unknown "),
            ("PUT", "/api/v1/blocked", "method_not_allowed GET, HEAD, POST"),
        ];
        for (method, target, expected) in table {
            assert_eq!(outcome(method, target), expected, "{method} {target}");
        }
    }
}
