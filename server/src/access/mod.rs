//! Who may do what: keys, each with one right, and where they are kept.
//!
//! Owns the rights and the key as everybody may see it; `secret` is the part that nobody keeps, `file` is where keys
//! outlive the process, `keyring` is asked on every call. Knows no request and no route: `http/access.rs` says what a
//! call needs, and the command line what a person types.

pub(crate) mod file;
pub mod keyring;
pub mod secret;

use spoor::limits::NAME_MAX_BYTES;
use spoor::settings::{DEFAULT_SOURCE, Settings};
use spoor::{Rejection, Timestamp};
use std::fmt;
use std::sync::Arc;

/// The name of a source, as a write key has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceName(Arc<str>);

impl SourceName {
    /// A name, without the blanks around it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.trim().into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key is for. None includes another, but that an admin may do all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// To send what happened at one source, and nothing else.
    Write(SourceName),
    /// To read everything, and change nothing.
    Read,
    /// Everything: to track for any source, import, read, decide who is who, and make keys.
    Admin,
}

impl Right {
    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Write(_) => "write",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    /// The source of a write key.
    #[must_use]
    pub const fn source(&self) -> Option<&SourceName> {
        match self {
            Self::Write(source) => Some(source),
            Self::Read | Self::Admin => None,
        }
    }

    /// A right from its word and the source that stands beside it.
    ///
    /// # Errors
    /// `right_invalid`; `member_missing` for a write key without a source, `member_unknown` for another with one.
    pub fn read(word: &str, source: Option<&str>) -> Result<Self, Rejection> {
        let right = match (word, source) {
            ("write", Some(source)) => return Ok(Self::Write(SourceName::new(source))),
            ("write", None) => {
                let message = "a write key is for one source, which must be named";
                return Err(Rejection::new("member_missing", "source", message));
            }
            ("read", _) => Self::Read,
            ("admin", _) => Self::Admin,
            _ => {
                let message = "a right is \"write\", \"read\" or \"admin\"";
                return Err(Rejection::new("right_invalid", "right", message));
            }
        };
        match source {
            None => Ok(right),
            Some(_) => Err(Rejection::new("member_unknown", "source", "only a write key has a source")),
        }
    }
}

/// A key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Tells it from all others, and is no secret: it stands in the key's own text.
    pub id: String,
    /// What a person calls it. Two may have one name, such as while one takes the other's place.
    pub name: String,
    /// What it is for.
    pub right: Right,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What can be asked of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCall {
    /// All of them.
    List,
    /// A new one.
    Add(NewKey),
    /// One is to be no key any more.
    Revoke {
        /// Its id.
        id: String,
    },
}

/// A key before it has an id and a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What a person calls it.
    pub name: String,
    /// What it is for.
    pub right: Right,
}

impl NewKey {
    /// Refuses a key that would be good for nothing: without a name that a person can read, or for a source that
    /// `settings` do not have.
    ///
    /// # Errors
    /// `name_empty`, `name_too_long`, `name_invalid`, `unknown_source`.
    pub fn check(&self, settings: &Settings) -> Result<(), Rejection> {
        if self.name.trim().is_empty() {
            return Err(Rejection::new("name_empty", "name", "a key has a name, by which a person knows it"));
        }
        if self.name.trim().len() > NAME_MAX_BYTES {
            let message = format!("a name has at most {NAME_MAX_BYTES} bytes");
            return Err(Rejection::new("name_too_long", "name", message));
        }
        if self.name.chars().any(is_unseen) {
            let message = "a name has no control characters, and none that turn the direction of writing";
            return Err(Rejection::new("name_invalid", "name", message));
        }
        match self.right.source().map(SourceName::as_str) {
            Some(source) if !is_declared(source, settings) => {
                let message = "the settings declare no such source";
                Err(Rejection::new("unknown_source", "source", message))
            }
            _ => Ok(()),
        }
    }
}

/// Characters that nobody sees and that change what is seen of others: with them a name looks like another one in a
/// list, or moves the cursor of a terminal (Unicode TR 36, 2.5: bidirectional text spoofing).
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// Without any source there is one.
fn is_declared(source: &str, settings: &Settings) -> bool {
    settings.sources.contains_key(source) || (settings.sources.is_empty() && source == DEFAULT_SOURCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(outcome: Result<T, Rejection>) -> (&'static str, Option<String>) {
        outcome.err().map_or(("ok", None), |rejection| (rejection.code, rejection.field))
    }

    #[test]
    fn a_right_is_a_word_and_for_writing_a_source() {
        assert_eq!(Right::read("write", Some(" shop ")), Ok(Right::Write(SourceName::new("shop"))));
        assert_eq!(Right::read("read", None), Ok(Right::Read));
        assert_eq!(Right::read("admin", None), Ok(Right::Admin));
        for (word, source, expected, field) in [
            ("write", None, "member_missing", "source"),
            ("read", Some("shop"), "member_unknown", "source"),
            ("admin", Some("shop"), "member_unknown", "source"),
            ("Admin", None, "right_invalid", "right"),
            ("", Some("shop"), "right_invalid", "right"),
        ] {
            assert_eq!(code(Right::read(word, source)), (expected, Some(field.to_owned())), "{word}");
        }
    }

    #[test]
    fn a_key_that_is_good_for_nothing_is_refused() {
        let mut settings = Settings::default();
        let key = |name: &str, right| NewKey { name: name.to_owned(), right };
        let write = |source| Right::Write(SourceName::new(source));
        assert_eq!(code(key("a", write("default")).check(&settings)).0, "ok");
        assert_eq!(code(key("a", write("shop")).check(&settings)).0, "unknown_source");
        settings.sources.insert("shop".to_owned(), spoor::settings::SourceSettings::default());
        assert_eq!(code(key("a", write("shop")).check(&settings)).0, "ok");
        assert_eq!(code(key("a", write("default")).check(&settings)).0, "unknown_source");
        assert_eq!(code(key(" ", Right::Read).check(&settings)).0, "name_empty");
        assert_eq!(code(key(&"n".repeat(129), Right::Read).check(&settings)).0, "name_too_long");
        assert_eq!(code(key(&"n".repeat(128), Right::Read).check(&settings)).0, "ok");
        for name in
            ["a\nb", "\u{1b}[2Ja", "a\0", "a\u{202e}b", "\u{2066}a", "a\u{200f}", "a\u{2028}b", "\u{feff}a"]
        {
            assert_eq!(code(key(name, Right::Read).check(&settings)).0, "name_invalid", "{name:?}");
        }
        for name in ["der Läden", "می\u{200c}خواهم", "👩\u{200d}💻", "שלום"] {
            assert_eq!(code(key(name, Right::Read).check(&settings)).0, "ok", "{name:?}");
        }
    }
}
