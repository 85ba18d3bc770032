//! Who calls, by the key that a request shows, and what they may do. Knows no connection and no body.
//!
//! What the calls of other services' clients show is read in `vendors`.
//!
//! A key is shown as `Authorization: Bearer KEY`; as the user name of basic authentication, in which the libraries of
//! others send theirs; or as `key` in the query, where a page can set no header. An address ends up in the logs of
//! whoever stands between, and in the histories of browsers: so only the write key of a public source may stand there,
//! which anybody can read in the page anyway.

pub(super) mod vendors;

use super::errors::Problem;
use super::pages::{NOT_NAMED, Pages};
use super::parameters::KEY;
use super::routes::Need;
use super::source_of_key::SourceOfKey;
use crate::access::keyring::{Caller, Keyring, Stranger};
use crate::access::{NewKey, Right, SourceName};
use crate::settings::Configuration;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{StatusCode, Uri};
use spoor::settings::{DEFAULT_SOURCE, Keys, Settings};
use spoor::{Rejection, TrackRequest};
use std::collections::HashSet;
use std::sync::Arc;

/// Asked of every call whether it may be made.
#[derive(Debug)]
pub(super) struct Access {
    keyring: Arc<Keyring>,
    /// Names of the sources whose keys are in browsers.
    public_sources: HashSet<SourceName>,
    pages: Pages,
    source_of_key: SourceOfKey,
    settings: Settings,
}

/// A key as it was shown.
pub(super) struct Shown {
    /// Its text, or what is taken for it.
    pub(super) text: String,
    /// In the address, where secrets do not belong.
    pub(super) in_address: bool,
}

impl Access {
    /// By these keys, to the sources of these settings.
    pub(super) fn new(keyring: Arc<Keyring>, configuration: &Configuration) -> Self {
        let sources = configuration.engine.sources.iter();
        let public = sources.filter(|(_, source)| source.keys == Keys::Public);
        Self {
            keyring,
            public_sources: public.map(|(name, _)| SourceName::new(name)).collect(),
            pages: Pages::new(configuration),
            source_of_key: SourceOfKey::new(&configuration.engine),
            settings: configuration.engine.clone(),
        }
    }

    /// The keys themselves.
    pub(super) fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Refuses a new key that would be good for nothing under these settings.
    pub(super) fn check_new(&self, new: &NewKey) -> Result<(), Rejection> {
        new.check(&self.settings)
    }

    /// What pages of other origins may do.
    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Whether nobody needs a key.
    pub(super) fn is_open(&self) -> bool {
        self.keyring.is_open()
    }

    /// Lets a call through that needs this right, or not, by the key that the request shows in its usual places.
    ///
    /// # Errors
    /// `key_missing`, `key_invalid`, `key_may_not`.
    pub(super) fn admit(&self, need: Need, uri: &Uri, headers: &HeaderMap) -> Result<Caller, Problem> {
        // Libraries send some key even where there is none to send: it is not looked at.
        let looked_at = need != Need::Nothing && !self.is_open();
        let shown = if looked_at { shown(uri, headers)? } else { None };
        self.admit_shown(need, shown)
    }

    /// The same by a key that stood anywhere, such as in a body or a path.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub(super) fn admit_shown(&self, need: Need, shown: Option<Shown>) -> Result<Caller, Problem> {
        if need == Need::Nothing {
            return Ok(Caller::nobody());
        }
        let caller = self.keyring.caller(shown.as_ref().map(|shown| shown.text.as_str()))?;
        let is_public = caller.source().is_some_and(|source| self.public_sources.contains(source));
        if caller.has_key() && shown.is_some_and(|shown| shown.in_address) && !is_public {
            let message = "a secret key does not belong in an address, where others read it: use a header";
            return Err(Problem::field("key_may_not", KEY, message));
        }
        if reaches(caller.right(), need) { Ok(caller) } else { Err(may_not(need)) }
    }
}

/// The key in one of its usual places; `None` if the request shows no key there.
///
/// # Errors
/// `key_invalid`: what is shown cannot be a key.
fn shown(uri: &Uri, headers: &HeaderMap) -> Result<Option<Shown>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            let (_, text) = credentials(value).ok_or(Stranger::Invalid)?;
            Ok(Some(Shown { text, in_address: false }))
        }
        (None, _) => Ok(in_query(uri).map(|text| Shown { text, in_address: true })),
        (Some(_), Some(_)) => Err(Stranger::Invalid.into()),
    }
}

/// How a key is written in the header `Authorization`.
enum Scheme {
    Bearer,
    Basic,
}

/// The key in `Bearer KEY`, or in `Basic`, where it is the user name and the password says nothing.
fn credentials(value: &HeaderValue) -> Option<(Scheme, String)> {
    let (scheme, rest) = value.to_str().ok()?.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((Scheme::Bearer, rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(rest).ok()?).ok()?;
    let (name, _) = pair.split_once(':')?;
    Some((Scheme::Basic, name.to_owned()))
}

fn in_query(uri: &Uri) -> Option<String> {
    let pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.into_iter().find(|(name, _)| name == KEY).map(|(_, value)| value.into_owned())
}

/// The one place that says what each right is good for.
fn reaches(right: Option<&Right>, need: Need) -> bool {
    match right {
        Some(Right::Admin) => true,
        Some(Right::Write(_)) => matches!(need, Need::Nothing | Need::Write),
        Some(Right::Read) => matches!(need, Need::Nothing | Need::Read),
        None => need == Need::Nothing,
    }
}

fn may_not(need: Need) -> Problem {
    let needed = match need {
        Need::Nothing => "no key",
        Need::Write => "a write key",
        Need::Read => "a read key",
        Need::Admin => "an admin key",
    };
    Problem::new("key_may_not", format!("this call needs {needed}, and the one shown is another"))
}

/// Who sends tracking requests: asked of each of them, when it is handed over.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    access: Arc<Access>,
    caller: Caller,
    /// The origin of the page that sends, if it is not one of ours.
    page: Option<HeaderValue>,
}

impl Sender {
    /// A caller that was admitted, on a page of another origin or on none.
    pub(super) fn new(access: Arc<Access>, caller: Caller, page: Option<HeaderValue>) -> Self {
        Self { access, caller, page }
    }

    /// The same page with another caller: one whose key was found later.
    pub(super) fn of(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// Who that is.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Makes the source of the key that of the request, and refuses what the key or the page may not send. A key that
    /// was revoked while the body came is none.
    ///
    /// # Errors
    /// `key_invalid`, `key_may_not`, `source_not_of_key`, `cross_origin`.
    pub(super) fn admit(&self, request: &mut TrackRequest) -> Result<(), Rejection> {
        if self.caller.is_revoked() {
            return Err(Rejection { code: "key_invalid", message: REVOKED.to_owned(), field: None });
        }
        match self.caller.right() {
            // The key of an admin is no page's: if a browser sends it, it is not the page that has it.
            Some(Right::Admin) if self.caller.has_key() && self.page.is_some() => {
                let message = "a page of another origin cannot use an admin's key".to_owned();
                return Err(Rejection { code: "cross_origin", message, field: None });
            }
            Some(Right::Admin) => {}
            Some(Right::Write(source)) => own(request, source)?,
            Some(Right::Read) | None => {
                let message = "this call needs a write key".to_owned();
                return Err(Rejection { code: "key_may_not", message, field: None });
            }
        }
        let source = request.source.as_deref().map_or(DEFAULT_SOURCE, str::trim);
        match &self.page {
            Some(page) if !self.access.pages.may_send(source, page) => {
                Err(Rejection::new("cross_origin", "source", NOT_NAMED))
            }
            _ => Ok(()),
        }
    }

    /// What a stream is told that ends because its key does.
    pub(super) fn ended() -> Problem {
        Problem::new("key_invalid", REVOKED)
    }
}

const REVOKED: &str = "the key was revoked, or nobody needed one when this began";

fn own(request: &mut TrackRequest, source: &SourceName) -> Result<(), Rejection> {
    match request.source.as_deref() {
        Some(named) if named.trim() != source.as_str() => {
            let message = format!("the key is for the source {source}, and this names another");
            Err(Rejection::new("source_not_of_key", "source", message))
        }
        _ => {
            request.source = Some(source.as_str().to_owned());
            Ok(())
        }
    }
}

/// How a request that shows no key, or a wrong one, is told what to do (RFC 9110, 11.6.1). Not `Basic`, at which a
/// browser would ask its user for a password.
pub(super) fn challenge(status: StatusCode) -> Option<HeaderValue> {
    (status == StatusCode::UNAUTHORIZED).then(|| HeaderValue::from_static("Bearer realm=\"spoor\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use spoor::settings::SourceSettings;

    fn code<T>(outcome: Result<T, Problem>) -> String {
        outcome.err().map_or_else(|| "ok".to_owned(), |problem| problem.body.code)
    }

    fn access() -> (Access, impl Fn(&Access, Right) -> String) {
        let mut configuration = Configuration::default();
        let public = SourceSettings { keys: Keys::Public, ..SourceSettings::default() };
        configuration.engine.sources.insert("web".to_owned(), public);
        configuration.engine.sources.insert("shop".to_owned(), SourceSettings::default());
        let access = Access::new(Arc::new(Keyring::in_memory().unwrap()), &configuration);
        let add = |access: &Access, right| {
            let new = NewKey { name: "a".to_owned(), right };
            access.keyring().add(new).unwrap().1.text().to_owned()
        };
        (access, add)
    }

    fn basic(name: &str, password: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
    }

    fn sent(authorization: &[&str]) -> HeaderMap {
        authorization.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_key_is_shown_in_one_of_three_ways() {
        let (access, add) = access();
        let plain = Uri::from_static("/");
        for shown in [sent(&[]), sent(&["Bearer x"]), sent(&["garbage"])] {
            assert_eq!(code(access.admit(Need::Admin, &plain, &shown)), "ok", "nobody needs a key yet");
        }
        let key = add(&access, Right::Write(SourceName::new("web")));
        let bearer = format!("Bearer {key}");
        for (authorization, expected) in [
            (vec![], "key_missing"),
            (vec![bearer.as_str()], "ok"),
            (vec![&*format!("bearer  {key} ")], "ok"),
            (vec![&*basic(&key, "")], "ok"),
            (vec![&*basic(&key, "whatever")], "ok"),
            (vec![&*basic("", &key)], "key_invalid"),
            (vec!["Basic ???"], "key_invalid"),
            (vec![&*BASE64_STANDARD.encode(&key)], "key_invalid"),
            (vec!["Digest x"], "key_invalid"),
            (vec![key.as_str()], "key_invalid"),
            (vec!["Bearer"], "key_invalid"),
            (vec![""], "key_invalid"),
            (vec![bearer.as_str(), bearer.as_str()], "key_invalid"),
        ] {
            let outcome = access.admit(Need::Write, &plain, &sent(&authorization));
            assert_eq!(code(outcome), expected, "{authorization:?}");
        }
        let odd = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff").unwrap())]);
        assert_eq!(code(access.admit(Need::Write, &plain, &odd)), "key_invalid");
        let query: Uri = format!("/?a=b&key={key}").parse().unwrap();
        assert_eq!(code(access.admit(Need::Write, &query, &sent(&[]))), "ok");
        assert_eq!(code(access.admit(Need::Write, &query, &sent(&["Bearer x"]))), "key_invalid");
    }

    #[test]
    fn only_what_is_public_anyway_may_stand_in_an_address() {
        let (access, add) = access();
        let write = |source| Right::Write(SourceName::new(source));
        for (right, expected) in
            [(write("web"), "ok"), (write("shop"), "key_may_not"), (Right::Admin, "key_may_not")]
        {
            let key = add(&access, right);
            let query: Uri = format!("/?key={key}").parse().unwrap();
            assert_eq!(code(access.admit(Need::Write, &query, &sent(&[]))), expected);
            for (in_address, expected) in [(true, expected), (false, "ok")] {
                let shown = Some(Shown { text: key.clone(), in_address });
                assert_eq!(code(access.admit_shown(Need::Write, shown)), expected);
            }
        }
        let made_up: Uri = Uri::from_static("/?key=spoor_0a1b_00");
        assert_eq!(code(access.admit(Need::Write, &made_up, &sent(&[]))), "key_invalid");
        assert_eq!(code(access.admit_shown(Need::Write, None)), "key_missing");
    }

    #[test]
    fn a_right_reaches_what_it_is_for() {
        let (access, add) = access();
        let plain = Uri::from_static("/");
        for (right, write, read, admin) in [
            (Right::Write(SourceName::new("shop")), "ok", "key_may_not", "key_may_not"),
            (Right::Read, "key_may_not", "ok", "key_may_not"),
            (Right::Admin, "ok", "ok", "ok"),
        ] {
            let source = right.source().cloned();
            let headers = sent(&[&format!("Bearer {}", add(&access, right))]);
            for (need, expected) in [(Need::Write, write), (Need::Read, read), (Need::Admin, admin)] {
                assert_eq!(code(access.admit(need, &plain, &headers)), expected, "{need:?}");
            }
            if write == "ok" {
                let caller = access.admit(Need::Write, &plain, &headers).unwrap();
                assert_eq!(caller.source(), source.as_ref());
            }
        }
    }

    #[test]
    fn a_request_is_of_the_source_of_its_key() {
        let (access, add) = access();
        let access = Arc::new(access);
        let headers = sent(&[&format!("Bearer {}", add(&access, Right::Write(SourceName::new("shop"))))]);
        let caller = access.admit(Need::Write, &Uri::from_static("/"), &headers).unwrap();
        let sender = Sender::new(Arc::clone(&access), caller, None);
        for (named, expected) in
            [(None, Ok("shop")), (Some(" shop "), Ok("shop")), (Some("web"), Err("source_not_of_key"))]
        {
            let mut request = TrackRequest { source: named.map(str::to_owned), ..TrackRequest::default() };
            let outcome = sender.admit(&mut request).map(|()| request.source.as_deref().unwrap());
            assert_eq!(outcome.map_err(|rejection| rejection.code), expected);
        }
        let nobody = Sender::new(Arc::clone(&access), Caller::nobody(), None);
        assert_eq!(nobody.admit(&mut TrackRequest::default()).unwrap_err().code, "key_may_not");
        let key = access.keyring().list().pop().unwrap();
        access.keyring().revoke(&key.id).unwrap();
        assert_eq!(sender.admit(&mut TrackRequest::default()).unwrap_err().code, "key_invalid");
    }
}
