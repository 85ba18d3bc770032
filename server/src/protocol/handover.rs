//! Hand-overs as JSON: the body of each of the two calls in, and what is answered.
//!
//! Owns what the members are called. As with acts, a member that is not known is refused.

use super::json::{read_with, utf8};
use super::walk::{Seen, Text, Walk, reader};
use super::write;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use spoor::{Rejection, Timestamp};
use std::fmt;

/// What is sent in either of the calls.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The source that asks.
    pub source: Option<String>,
    /// Of the first call: the id of the device that hands over. Of the second: the token.
    pub what: String,
}

/// Reads `{"source"?,"profile"}`.
///
/// # Errors
/// [`Rejection`]: not UTF-8, not JSON, not an object, or a member is missing, unknown or not what it should be.
pub fn read_profile(bytes: &[u8]) -> Result<Asked, Rejection> {
    let HandoverMembers { source, profile, token } = members(bytes)?;
    complete(source, ("profile", profile), ("token", token))
}

/// Reads `{"source"?,"token"}`.
///
/// # Errors
/// As [`read_profile`].
pub fn read_token(bytes: &[u8]) -> Result<Asked, Rejection> {
    let HandoverMembers { source, profile, token } = members(bytes)?;
    complete(source, ("token", token), ("profile", profile))
}

fn members(bytes: &[u8]) -> Result<HandoverMembers, Rejection> {
    read_with(utf8(bytes)?, |walk, text| Members(walk).deserialize(text))
}

type Member = (&'static str, Option<String>);

fn complete(source: Option<String>, needed: Member, other: Member) -> Result<Asked, Rejection> {
    if other.1.is_some() {
        return Err(Rejection::new("member_unknown", other.0, UNKNOWN));
    }
    let missing = || Rejection::new("member_missing", needed.0, "this member must be there");
    Ok(Asked { source, what: needed.1.ok_or_else(missing)? })
}

const UNKNOWN: &str = "this call has no such member";

/// The members of both bodies.
#[derive(Debug, Default)]
pub(crate) struct HandoverMembers {
    source: Option<String>,
    profile: Option<String>,
    token: Option<String>,
}

reader! {
    Members -> HandoverMembers, "a hand-over (an object)", {
        fn visit_map<A: MapAccess<'de>>(self, mut found: A) -> Result<Self::Value, A::Error> {
            let Self(walk) = self;
            let mut members = HandoverMembers::default();
            let mut seen = Seen::default();
            while let Some(name) = seen.next(walk, &mut found)? {
                match &*name {
                    "source" => members.source = walk.member(&mut found, &name, Text(walk))?,
                    "profile" => members.profile = walk.member(&mut found, &name, Text(walk))?,
                    "token" => members.token = walk.member(&mut found, &name, Text(walk))?,
                    _ => {
                        walk.leave(&name);
                        return Err(walk.fail("member_unknown", UNKNOWN));
                    }
                }
            }
            Ok(members)
        }
    }
}

/// The answer of the first call.
#[must_use]
pub fn given(token: &str, expires_at: Timestamp) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        token: &'a str,
        expires_at: String,
    }
    write::text(&Body { token, expires_at: expires_at.to_string() })
}

/// The answer of the second: the new device's id, and nothing of whom it was joined to.
#[must_use]
pub fn accepted(id: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        profile: Profile<'a>,
    }
    #[derive(Serialize)]
    struct Profile<'a> {
        id: &'a str,
    }
    write::text(&Body { profile: Profile { id } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_its_members() {
        let asked = |source: Option<&str>| Asked { source: source.map(str::to_owned), what: "x".to_owned() };
        assert_eq!(read_profile(br#"{"profile":"x"}"#), Ok(asked(None)));
        assert_eq!(read_profile(br#"{"source":"web","profile":"x","token":null}"#), Ok(asked(Some("web"))));
        assert_eq!(read_token(br#"{"source":null,"token":"x"}"#), Ok(asked(None)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, code, field) in [
            (r#"{}"#, "member_missing", Some("token")),
            (r#"{"token":null}"#, "member_missing", Some("token")),
            (r#"{"token":1}"#, "wrong_type", Some("token")),
            (r#"{"token":"a","profile":"b"}"#, "member_unknown", Some("profile")),
            (r#"{"token":"a","session":"b"}"#, "member_unknown", Some("session")),
            (r#"{"token":"a","token":"b"}"#, "json_duplicate_key", Some("token")),
            ("[]", "wrong_type", None),
            ("", "json_invalid", None),
        ] {
            let outcome = read_token(body.as_bytes()).map_err(|rejection| (rejection.code, rejection.field));
            assert_eq!(outcome, Err((code, field.map(str::to_owned))), "{body}");
        }
        let no_token = read_profile(br#"{"token":"a"}"#).map_err(|rejection| rejection.field);
        assert_eq!(no_token, Err(Some("token".to_owned())));
    }
}
