//! What pages of other origins may send, and which of the answers their browsers let them read: CORS.
//!
//! A browser sends much for a page without asking, and lets it read the answer only if that names the page's origin. So
//! `sources.NAME.origins` does two things: a page that it does not name is refused, and one that it names can read what
//! it is told. Without the setting a page may send what needs no question, and reads nothing.
//!
//! 1. A question (a preflight) shows no key: it is answered yes where any source has the page.
//! 2. An error is readable too: a library that cannot read a 400 takes it for a broken line, and sends again.
//! 3. The origin is named as it was sent and never as `*`, which holds neither for beacons nor for `Authorization`;
//!    so the answer is another for another origin, which `Vary` says to whoever keeps it.
//!
//! An origin proves nothing of who sends: what is no browser writes there what it likes.

use super::errors::Problem;
use crate::access::SourceName;
use crate::limits::PREFLIGHT_MAX_AGE_MS;
use crate::settings::Configuration;
use crate::settings::origins::Origins;
use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use std::collections::BTreeMap;

/// The pages that each source has.
#[derive(Debug)]
pub(super) struct Pages {
    origins: BTreeMap<String, Origins>,
}

/// What a browser asks before it sends for a page.
pub(super) struct Question {
    /// The page.
    page: HeaderValue,
    /// What it wants to do.
    pub(super) method: Method,
    /// The headers that it wants to set.
    headers: Option<HeaderValue>,
}

/// Reads a question; `None` if the request is none.
pub(super) fn question(method: &Method, headers: &HeaderMap) -> Option<Question> {
    if method != Method::OPTIONS {
        return None;
    }
    Some(Question {
        page: headers.get(ORIGIN)?.clone(),
        method: headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok()?.parse().ok()?,
        headers: headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
    })
}

impl Pages {
    /// Those of these settings.
    pub(super) fn new(configuration: &Configuration) -> Self {
        Self { origins: configuration.origins.clone() }
    }

    /// Whether a page of another origin may send to a source.
    pub(super) fn may_send(&self, source: &str, page: &HeaderValue) -> bool {
        self.origins.get(source).is_none_or(|origins| admits(origins, page))
    }

    /// Whether it may read what it is answered: by this source, or, where it is not known which, by any.
    fn may_read(&self, source: Option<&SourceName>, page: &HeaderValue) -> bool {
        match source {
            Some(source) => self.origins.get(source.as_str()).is_some_and(|origins| admits(origins, page)),
            None => self.origins.values().any(|origins| admits(origins, page)),
        }
    }

    /// Lets the browser show an answer to its page, if it may read it.
    pub(super) fn tell(
        &self,
        answer: &mut HeaderMap,
        page: Option<&HeaderValue>,
        source: Option<&SourceName>,
    ) {
        if self.origins.is_empty() {
            return;
        }
        answer.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(page) = page.filter(|page| self.may_read(source, page)) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page.clone());
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
        }
    }

    /// Answers a question about a call that is for pages, beside what [`Self::tell`] says.
    ///
    /// # Errors
    /// `cross_origin`.
    pub(super) fn permit(&self, answer: &mut HeaderMap, question: Question) -> Result<(), Problem> {
        let Question { page, method, headers } = question;
        if !self.may_read(None, &page) {
            return Err(Problem::new("cross_origin", NOT_NAMED));
        }
        self.tell(answer, Some(&page), None);
        let varying = "Access-Control-Request-Method, Access-Control-Request-Headers";
        answer.append(VARY, HeaderValue::from_static(varying));
        if let Ok(method) = HeaderValue::from_str(method.as_str()) {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, method);
        }
        // Any header may be set: those that nobody here looks at do nothing.
        if let Some(headers) = headers {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_MAX_AGE_MS / 1_000));
        Ok(())
    }
}

/// Why a page may not.
pub(super) const NOT_NAMED: &str = "the settings do not name this page among sources.NAME.origins";

fn admits(origins: &Origins, page: &HeaderValue) -> bool {
    page.to_str().is_ok_and(|page| origins.admit(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Pages {
        let mut configuration = Configuration::default();
        let listed = Origins::Listed(vec!["https://shop.example".to_owned()]);
        configuration.origins.insert("web".to_owned(), listed);
        configuration.origins.insert("closed".to_owned(), Origins::Listed(Vec::new()));
        Pages::new(&configuration)
    }

    fn told(pages: &Pages, page: &'static str, source: Option<&str>) -> Option<String> {
        let mut answer = HeaderMap::new();
        let source = source.map(SourceName::new);
        pages.tell(&mut answer, Some(&HeaderValue::from_static(page)), source.as_ref());
        assert_eq!(answer[VARY], "Origin");
        Some(answer.get(ACCESS_CONTROL_ALLOW_ORIGIN)?.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_source_has_the_pages_that_its_setting_names() {
        let pages = pages();
        let (shop, other) = ("https://shop.example", "https://other.example");
        for (source, page, send, read) in [
            ("web", shop, true, true),
            ("web", other, false, false),
            ("closed", shop, false, false),
            ("unsaid", shop, true, false),
        ] {
            let may_send = pages.may_send(source, &HeaderValue::from_static(page));
            assert_eq!(may_send, send, "{source} {page}");
            assert_eq!(told(&pages, page, Some(source)).as_deref(), read.then_some(page), "{source} {page}");
        }
        assert_eq!(told(&pages, shop, None).as_deref(), Some(shop));
        assert_eq!(told(&pages, other, None), None);
    }

    #[test]
    fn any_page_is_named_as_it_is() {
        let mut configuration = Configuration::default();
        configuration.origins.insert("web".to_owned(), Origins::Any);
        let pages = Pages::new(&configuration);
        for page in ["https://shop.example", "null"] {
            assert_eq!(told(&pages, page, Some("web")).as_deref(), Some(page));
        }
        let mut nothing = HeaderMap::new();
        Pages::new(&Configuration::default()).tell(&mut nothing, None, None);
        assert!(nothing.is_empty());
    }
}
