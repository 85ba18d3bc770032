//! The routes of other services' clients. Text in, [`VendorCall`] out; answers nothing itself.
//!
//! Parameters that mean nothing here are ignored: these clients send what their own servers know.

use super::errors::Problem;
use super::routes::check_method;
use crate::vendors::segment;
use crate::vendors::tracardi::{Collected, collected_query};
use hyper::Method;
use spoor::Json;

/// A call of another service's client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VendorCall {
    /// `POST /v1/batch`, `/v1/track` and so on.
    Segment {
        /// What the path says of the body.
        call: segment::Call,
        /// The key in the query, where a browser cannot send it otherwise.
        key: Option<String>,
    },
    /// `GET /v1/projects/{key}/settings`
    SegmentSettings(String),
    /// `GET /sourceConfig`, with the key in the query.
    RudderSettings(Option<String>),
    /// `POST /track`
    TracardiTrack {
        /// `profile_less` of the query.
        profile_less: Option<bool>,
    },
    /// `POST /collect/{event type}/{source}[/{session}]`
    Collect(Collected),
    /// `GET` of the same: the properties stand in the query.
    CollectQuery {
        /// What the path says.
        collected: Collected,
        /// The properties.
        properties: Option<Json>,
        /// Whether a picture is the answer: `.../pixel.gif`.
        pixel: bool,
    },
}

/// Every route of theirs with its method. docs/access.md says who may call it.
pub const VENDOR_ROUTES: &[(&str, &str)] = &[
    ("POST", "/v1/batch"),
    ("POST", "/v1/{call}"),
    ("GET", "/v1/projects/{key}/settings"),
    ("GET", "/sourceConfig"),
    ("POST", "/track"),
    ("GET", "/collect/{type}/{source}"),
    ("POST", "/collect/{type}/{source}"),
    ("GET", "/collect/{type}/{source}/pixel.gif"),
];

impl VendorCall {
    /// The route as the log names it: without ids.
    #[must_use]
    pub const fn route(&self) -> &'static str {
        match self {
            Self::Segment { call: segment::Call::Batch, .. } => "/v1/batch",
            Self::Segment { .. } => "/v1/{call}",
            Self::SegmentSettings(_) => "/v1/projects/{key}/settings",
            Self::RudderSettings(_) => "/sourceConfig",
            Self::TracardiTrack { .. } => "/track",
            Self::Collect(_) | Self::CollectQuery { pixel: false, .. } => "/collect",
            Self::CollectQuery { pixel: true, .. } => "/collect/pixel.gif",
        }
    }
}

/// What asks for a picture, after the path of an event.
const PIXEL: &str = "pixel.gif";

/// Finds the call; `None` if the path is none of these.
///
/// # Errors
/// `method_not_allowed`, `parameter_invalid`.
pub fn find(method: &Method, segments: &[&str], query: Option<&str>) -> Option<Result<VendorCall, Problem>> {
    // Some clients end every path with a slash.
    let segments = match segments {
        [path @ .., ""] => path,
        path => path,
    };
    let query = query.unwrap_or_default();
    let posted = |call: VendorCall| check_method(method, "POST").map(|()| call);
    let got = |call: VendorCall| check_method(method, "GET, HEAD").map(|()| call);
    Some(match segments {
        ["v1", "projects", key, "settings"] => got(VendorCall::SegmentSettings((*key).to_owned())),
        ["sourceConfig"] => got(VendorCall::RudderSettings(parameter(query, "writeKey"))),
        ["v1", name] | ["beacon", "v1", name @ "batch"] => {
            let call = segment::Call::of_path(name)?;
            posted(VendorCall::Segment { call, key: parameter(query, "writeKey") })
        }
        ["track"] => check_method(method, "POST").and_then(|()| tracardi_track(query)),
        ["collect", event_type, source, rest @ ..] => {
            let (session, pixel) = match rest {
                [] => (None, false),
                [PIXEL] => (None, true),
                [session] => (Some(session), false),
                [session, PIXEL] => (Some(session), true),
                _ => return None,
            };
            let collected = Collected {
                event_type: (*event_type).to_owned(),
                source: (*source).to_owned(),
                session: session.map(|session| (*session).to_owned()),
            };
            collect(method, query, collected, pixel)
        }
        _ => return None,
    })
}

fn collect(method: &Method, query: &str, collected: Collected, pixel: bool) -> Result<VendorCall, Problem> {
    // A HEAD would store an event, and so is not answered for a GET.
    check_method(method, if pixel { "GET" } else { "GET, POST" })?;
    if method == Method::POST {
        return Ok(VendorCall::Collect(collected));
    }
    Ok(VendorCall::CollectQuery { collected, properties: collected_query(query)?, pixel })
}

fn tracardi_track(query: &str) -> Result<VendorCall, Problem> {
    let profile_less = match parameter(query, "profile_less").as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => {
            let message = "this parameter is true or false";
            return Err(Problem::field("parameter_invalid", "profile_less", message));
        }
    };
    Ok(VendorCall::TracardiTrack { profile_less })
}

fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(method: &str, target: &str) -> String {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match find(&method.parse().unwrap(), &segments, query) {
            None => "-".to_owned(),
            Some(Ok(VendorCall::Segment { call, key })) => format!("{call:?} {}", key.unwrap_or_default()),
            Some(Ok(VendorCall::Collect(of) | VendorCall::CollectQuery { collected: of, .. })) => {
                format!("{} {} {}", of.event_type, of.source, of.session.unwrap_or_default())
            }
            Some(Ok(call)) => format!("{call:?}"),
            Some(Err(problem)) => format!("{} {}", problem.body.code, problem.allow.unwrap_or_default()),
        }
    }

    #[test]
    fn each_path_has_its_call() {
        for (method, target, expected) in [
            ("POST", "/v1/batch", "Batch "),
            ("POST", "/v1/b?writeKey=web&x=1", "Batch web"),
            ("POST", "/beacon/v1/batch?writeKey=web", "Batch web"),
            ("POST", "/v1/identify/", "Identify "),
            ("POST", "/v1/a", "Alias "),
            ("GET", "/v1/t", "method_not_allowed POST"),
            ("POST", "/v1/purge", "-"),
            ("GET", "/v1/projects/web/settings", "SegmentSettings(\"web\")"),
            ("GET", "/sourceConfig/?p=npm&writeKey=web", "RudderSettings(Some(\"web\"))"),
            ("POST", "/track?profile_less=true", "TracardiTrack { profile_less: Some(true) }"),
            ("POST", "/track?profile_less=1", "parameter_invalid "),
            ("PUT", "/track", "method_not_allowed POST"),
            ("GET", "/collect/page-view/web?a=1", "page-view web "),
            ("POST", "/collect/page-view/web/s-1/", "page-view web s-1"),
            ("HEAD", "/collect/page-view/web", "method_not_allowed GET, POST"),
            ("GET", "/collect/open/mail/s-1/pixel.gif", "open mail s-1"),
            ("POST", "/collect/open/mail/pixel.gif", "method_not_allowed GET"),
            ("GET", "/collect/open", "-"),
            ("GET", "/collect/a/b/c/d", "-"),
            ("POST", "/api/v1/track", "-"),
        ] {
            assert_eq!(outcome(method, target), expected, "{method} {target}");
        }
    }
}
