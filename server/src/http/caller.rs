//! Who calls, as far as a request says it: by which name the server was called, from which page, through which proxy.
//!
//! A server without keys trusts its own machine, and a browser on that machine runs the pages of strangers. A page
//! reaches the server under a name of its own that it lets point here, and is then of one origin with it: nothing
//! but the name gives it away. So only names that cannot be a stranger's are answered. Where keys are needed the name
//! does not matter: such a page has none. Knows no route.

use super::errors::Problem;
use hyper::header::{FORWARDED, HOST, HeaderMap, HeaderValue, ORIGIN, VIA};
use hyper::http::uri::Authority;
use hyper::{Uri, Version};
use std::net::IpAddr;

/// The names that a server answers to.
#[derive(Debug)]
pub(super) struct Names {
    /// The address on which it listens.
    listen: IpAddr,
    /// What the settings say beside.
    more: Vec<String>,
}

impl Names {
    /// The names of a server that listens on `listen`, and is known as `more` to whoever stands in front of it.
    pub(super) fn new(listen: IpAddr, more: &[String]) -> Self {
        Self { listen, more: more.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Refuses a request under a name that is not ours; where keys are needed (`keyed`), only one under none.
    ///
    /// # Errors
    /// `host_missing`, `host_unknown`.
    pub(super) fn check(
        &self,
        version: Version,
        uri: &Uri,
        headers: &HeaderMap,
        keyed: bool,
    ) -> Result<(), Problem> {
        let mut named = version < Version::HTTP_11;
        for authority in authorities(uri, headers) {
            let ours = authority.as_ref().is_some_and(|authority| keyed || self.is_ours(authority.host()));
            if !ours {
                return Err(Problem::new(
                    "host_unknown",
                    "the Host header names another server: server.hosts",
                ));
            }
            named = true;
        }
        if named { Ok(()) } else { Err(Problem::new("host_missing", "a Host header is needed")) }
    }

    /// Refuses what a page of another origin sends. Pages may track; they do not decide who is who, nor make history.
    ///
    /// # Errors
    /// `cross_origin`.
    pub(super) fn check_page(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut pages = headers.get_all(ORIGIN).iter();
        let is_own = |page: Option<Authority>| {
            page.is_some_and(|page| {
                self.more.contains(&page.host().to_ascii_lowercase())
                    || authorities(uri, headers).any(|host| host.as_ref() == Some(&page))
            })
        };
        let page = |value: &HeaderValue| {
            let (_, authority) = value.to_str().ok()?.split_once("://")?;
            authority.parse().ok()
        };
        if pages.all(|value| is_own(page(value))) {
            return Ok(());
        }
        Err(Problem::new("cross_origin", "a page of another origin may not do this"))
    }

    /// The origin of the page that sends, if it is another than ours.
    pub(super) fn other_page(&self, uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
        let page = headers.get(ORIGIN)?;
        self.check_page(uri, headers).is_err().then(|| page.clone())
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        // Whoever names an address cannot let it point elsewhere.
        let ours = |address: IpAddr| address.is_loopback() || address == self.listen;
        host == "localhost" || address.parse().is_ok_and(ours) || self.more.contains(&host)
    }
}

/// What a request calls its server, in the request line and in the header. An item is `None` where that is no name.
fn authorities(uri: &Uri, headers: &HeaderMap) -> impl Iterator<Item = Option<Authority>> {
    let header = |value: &HeaderValue| value.to_str().ok()?.trim().parse().ok();
    uri.authority().cloned().map(Some).into_iter().chain(headers.get_all(HOST).iter().map(header))
}

/// Whether a proxy passed the request on: then its sender is not the one that the connection shows.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    [FORWARDED.as_str(), VIA.as_str(), "x-forwarded-for", "x-real-ip"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(outcome: Result<(), Problem>) -> String {
        outcome.map_or_else(|problem| problem.body.code, |()| "ok".to_owned())
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        HeaderMap::from_iter(pairs)
    }

    fn names() -> Names {
        Names::new([127, 0, 0, 5].into(), &["Spoor.shop.example".to_owned()])
    }

    #[test]
    fn only_names_that_are_no_strangers_are_answered() {
        for (host, expected) in [
            ("localhost", "ok"),
            ("LOCALHOST:8420", "ok"),
            ("127.0.0.1:1", "ok"),
            ("127.0.0.5:8420", "ok"),
            ("[::1]:8420", "ok"),
            ("spoor.shop.example", "ok"),
            ("evil.example:8420", "host_unknown"),
            ("localhost.evil.example", "host_unknown"),
            ("127.0.0.1.evil.example", "host_unknown"),
            ("192.0.2.1", "host_unknown"),
            ("", "host_unknown"),
            ("a b", "host_unknown"),
        ] {
            let named = headers(&[("host", host)]);
            assert_eq!(
                code(names().check(Version::HTTP_11, &Uri::from_static("/"), &named, false)),
                expected,
                "{host}"
            );
            let keyed = names().check(Version::HTTP_11, &Uri::from_static("/"), &named, true);
            let is_name = !matches!(host, "" | "a b");
            assert_eq!(code(keyed), if is_name { "ok" } else { "host_unknown" }, "{host}");
        }
        let none = HeaderMap::new();
        for keyed in [false, true] {
            let root = Uri::from_static("/");
            assert_eq!(code(names().check(Version::HTTP_11, &root, &none, keyed)), "host_missing");
            assert_eq!(code(names().check(Version::HTTP_10, &root, &none, keyed)), "ok");
        }
        let absolute = Uri::from_static("http://evil.example/");
        let ours = headers(&[("host", "localhost")]);
        assert_eq!(code(names().check(Version::HTTP_11, &absolute, &ours, false)), "host_unknown");
        assert_eq!(
            code(names().check(Version::HTTP_2, &Uri::from_static("http://localhost:1/"), &none, false)),
            "ok"
        );
    }

    #[test]
    fn a_page_acts_on_its_own_server_only() {
        for (origin, expected) in [
            ("http://localhost:8420", "ok"),
            ("https://spoor.shop.example", "ok"),
            ("http://localhost:3000", "cross_origin"),
            ("http://evil.example", "cross_origin"),
            ("http://127.0.0.1:8420", "cross_origin"),
            ("null", "cross_origin"),
        ] {
            let sent = headers(&[("host", "localhost:8420"), ("origin", origin)]);
            assert_eq!(code(names().check_page(&Uri::from_static("/"), &sent)), expected, "{origin}");
            let other = names().other_page(&Uri::from_static("/"), &sent);
            assert_eq!(other.is_some(), expected != "ok", "{origin}");
        }
        assert_eq!(code(names().check_page(&Uri::from_static("/"), &HeaderMap::new())), "ok");
    }

    #[test]
    fn a_proxy_shows() {
        assert!(is_forwarded(&headers(&[("x-forwarded-for", "192.0.2.1")])));
        assert!(is_forwarded(&headers(&[("via", "1.1 proxy")])));
        assert!(!is_forwarded(&headers(&[("host", "localhost")])));
    }
}
