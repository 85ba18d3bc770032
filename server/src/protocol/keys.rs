//! Keys as JSON: the body that asks for a new one, and what is told of those that are there.
//!
//! Owns what the members are called. As with acts, a member that is not known is refused: a key with a right that was
//! written in the wrong place would be another key than was asked for.

use super::json::{read_with, utf8};
use super::walk::{Seen, Text, Walk, reader};
use super::write;
use crate::access::secret::Secret;
use crate::access::{Key, NewKey, Right, SourceName};
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};
use spoor::Rejection;
use std::fmt;

/// Reads `{"name","right","source"?}`.
///
/// # Errors
/// [`Rejection`]: not UTF-8, not JSON, not an object, or a member is missing, unknown or not what it should be.
pub fn read(bytes: &[u8]) -> Result<NewKey, Rejection> {
    let members = read_with(utf8(bytes)?, |walk, text| Members(walk).deserialize(text))?;
    let KeyMembers { name, right, source } = members;
    let missing = |name| Rejection::new("member_missing", name, "this member must be there");
    let name = name.ok_or_else(|| missing("name"))?;
    let right = right.ok_or_else(|| missing("right"))?;
    Ok(NewKey { name, right: Right::read(&right, source.as_deref())? })
}

/// A body that [`read`] reads.
#[must_use]
pub fn body(new: &NewKey) -> Value {
    json!({"name": new.name, "right": new.right.word(), "source": new.right.source().map(SourceName::as_str)})
}

/// The members of the body.
#[derive(Debug, Default)]
pub(crate) struct KeyMembers {
    name: Option<String>,
    right: Option<String>,
    source: Option<String>,
}

reader! {
    Members -> KeyMembers, "a key (an object)", {
        fn visit_map<A: MapAccess<'de>>(self, mut found: A) -> Result<Self::Value, A::Error> {
            let Self(walk) = self;
            let mut members = KeyMembers::default();
            let mut seen = Seen::default();
            while let Some(name) = seen.next(walk, &mut found)? {
                match &*name {
                    "name" => members.name = walk.member(&mut found, &name, Text(walk))?,
                    "right" => members.right = walk.member(&mut found, &name, Text(walk))?,
                    "source" => members.source = walk.member(&mut found, &name, Text(walk))?,
                    _ => {
                        walk.leave(&name);
                        return Err(walk.fail("member_unknown", "a key has no such member"));
                    }
                }
            }
            Ok(members)
        }
    }
}

#[derive(Serialize)]
struct KeyBody<'a> {
    id: &'a str,
    name: &'a str,
    right: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    created_at: String,
    /// Of a new one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl<'a> KeyBody<'a> {
    fn of(key: &'a Key, secret: Option<&'a Secret>) -> Self {
        let Key { id, name, right, created_at } = key;
        let source = right.source().map(SourceName::as_str);
        let created_at = created_at.to_string();
        Self { id, name, right: right.word(), source, created_at, key: secret.map(Secret::text) }
    }
}

/// All keys, as a page that has no next one.
#[must_use]
pub fn list(keys: &[Key]) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        items: Vec<KeyBody<'a>>,
        cursor: Option<&'a str>,
    }
    write::text(&List { items: keys.iter().map(|key| KeyBody::of(key, None)).collect(), cursor: None })
}

/// One key; with its secret if it is new.
#[must_use]
pub fn key(key: &Key, secret: Option<&Secret>) -> Vec<u8> {
    write::text(&KeyBody::of(key, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(body: &str) -> Result<NewKey, (&'static str, Option<String>)> {
        read(body.as_bytes()).map_err(|rejection| (rejection.code, rejection.field))
    }

    #[test]
    fn a_body_that_is_written_is_read_again() {
        for right in [Right::Write(SourceName::new("a b")), Right::Read, Right::Admin] {
            let new = NewKey { name: "the \"shop\"".to_owned(), right };
            assert_eq!(outcome(&body(&new).to_string()), Ok(new));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, code, field) in [
            (r#"{"right":"read"}"#, "member_missing", Some("name")),
            (r#"{"name":"a"}"#, "member_missing", Some("right")),
            (r#"{"name":"a","right":"write"}"#, "member_missing", Some("source")),
            (r#"{"name":"a","right":"read","source":"shop"}"#, "member_unknown", Some("source")),
            (r#"{"name":"a","right":"all"}"#, "right_invalid", Some("right")),
            (r#"{"name":"a","right":"read","rights":"admin"}"#, "member_unknown", Some("rights")),
            (r#"{"name":"a","name":"b","right":"read"}"#, "json_duplicate_key", Some("name")),
            (r#"{"name":1,"right":"read"}"#, "wrong_type", Some("name")),
            ("[]", "wrong_type", None),
            ("", "json_invalid", None),
        ] {
            assert_eq!(outcome(body), Err((code, field.map(str::to_owned))), "{body}");
        }
    }
}
