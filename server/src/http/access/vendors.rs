//! What the calls of other services' clients may do, by the key that they bring. Theirs may stand where ours may not:
//! in a body, a path or a parameter of their own. Where nobody needs a key, what stands there is the name of a source.

use super::{Access, Scheme, Sender, Shown, credentials, shown};
use crate::http::errors::Problem;
use crate::http::routes::Need;
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap};

/// Whom a call is for, and who sends it.
pub(in crate::http) struct Entry {
    /// `None` is the default one.
    pub(in crate::http) source: Option<String>,
    pub(in crate::http) sender: Sender,
}

impl Shown {
    /// What stood in an address, but in a place of theirs.
    pub(in crate::http) fn in_address(text: String) -> Self {
        Self { text, in_address: true }
    }

    fn in_body(text: String) -> Self {
        Self { text, in_address: false }
    }
}

impl Access {
    /// The key in one of its usual places. Where nobody needs one, only basic authentication is looked at, in which
    /// libraries name their source.
    ///
    /// # Errors
    /// `key_invalid`: what is shown cannot be a key.
    pub(in crate::http) fn shown(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<Shown>, Problem> {
        if self.is_open() { Ok(name_shown(headers)) } else { shown(uri, headers) }
    }

    /// Whom a call is for, by the key that it brings; where there are no keys, by the name that stands in its place.
    ///
    /// # Errors
    /// `key_missing`, `key_invalid`, `key_may_not`.
    pub(in crate::http) fn entry(&self, key: Option<Shown>, sender: Sender) -> Result<Entry, Problem> {
        if self.is_open() {
            let source = self.source_of_key.find(key.as_ref().map(|key| key.text.as_str()))?;
            let caller = self.admit_shown(Need::Write, None)?;
            return Ok(Entry { source, sender: sender.of(caller) });
        }
        let caller = self.admit_shown(Need::Write, key)?;
        let source = match caller.source() {
            Some(source) => Some(source.as_str().to_owned()),
            // An admin's key is for any source: for the only one, if there is one.
            None => self.source_of_key.find(None).unwrap_or_default(),
        };
        Ok(Entry { source, sender: sender.of(caller) })
    }

    /// Whom a call of a library is for. What its body says is its key, unless one is shown in a usual place: then it is
    /// the same once more, or names the source beside it.
    ///
    /// # Errors
    /// As [`Self::entry`].
    pub(in crate::http) fn library_entry(
        &self,
        shown: Option<Shown>,
        in_body: Option<String>,
        sender: Sender,
    ) -> Result<Entry, Problem> {
        let Some(shown) = shown else {
            return self.entry(in_body.map(Shown::in_body), sender);
        };
        let named = in_body.filter(|text| *text != shown.text && !self.is_open());
        let entry = self.entry(Some(shown), sender)?;
        Ok(Entry { source: named.or(entry.source), ..entry })
    }

    /// Whom a call is for that names a source, in its body or in its address: that is a key, or the name of a source
    /// beside a key that is shown in a usual place.
    ///
    /// # Errors
    /// As [`Self::entry`].
    pub(in crate::http) fn named_entry(
        &self,
        (uri, headers): (&Uri, &HeaderMap),
        named: Shown,
        sender: Sender,
    ) -> Result<Entry, Problem> {
        let beside = if self.is_open() { None } else { shown(uri, headers)? };
        match beside {
            Some(shown) => Ok(Entry { source: Some(named.text), ..self.entry(Some(shown), sender)? }),
            None => self.entry(Some(named), sender),
        }
    }
}

/// The user of basic authentication, whatever else is shown. The password is empty.
fn name_shown(headers: &HeaderMap) -> Option<Shown> {
    let (Scheme::Basic, user) = credentials(headers.get(AUTHORIZATION)?)? else { return None };
    let name = user.trim();
    (!name.is_empty()).then(|| Shown::in_body(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    #[test]
    fn where_nobody_needs_a_key_only_basic_authentication_names_a_source() {
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        for (sent, expected) in [
            (basic("web:"), Some("web")),
            (basic(" web :x"), Some("web")),
            (basic(":web"), None),
            (basic("web"), None),
            ("Basic ???".to_owned(), None),
            ("Bearer web".to_owned(), None),
            (String::new(), None),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, sent.parse().unwrap())]);
            assert_eq!(name_shown(&headers).map(|shown| shown.text).as_deref(), expected, "{sent}");
        }
        assert!(name_shown(&HeaderMap::new()).is_none());
    }
}
