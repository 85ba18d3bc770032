//! Acts from JSON: the body of a call that decides who is who in, [`Act`] out.
//!
//! Owns what the members of such bodies are called. The rules of `json.rs` hold, but for one: a member that the act
//! does not have is refused, since an act whose `dry_run` or `force` stands in the wrong place would do another thing
//! than was asked.

use super::json::read_with;
use super::walk::{Flag, Seen, Text, Walk, reader};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use spoor::{Act, Rejection};
use std::fmt;

/// An act of which the path has said its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// `{"profile","other","force"?}`
    Merge,
    /// `{"identifier"}`
    Attach {
        /// The fragment's id.
        profile: String,
    },
    /// `{"decision"}`: `approve` or `reject`
    Decide {
        /// The entry's id.
        quarantine: String,
    },
    /// `{"identifier"}`
    Block,
}

/// Reads what the body says of an act.
///
/// # Errors
/// [`Rejection`]: not UTF-8, not JSON, not an object, or a member is missing, unknown or not what it should be.
pub fn read(act: Unread, bytes: &[u8]) -> Result<Act, Rejection> {
    let text = super::json::utf8(bytes)?;
    let members = read_with(text, |walk, text| Members(walk).deserialize(text))?;
    let (act, rest) = complete(act, members)?;
    match rest.first_name() {
        Some(name) => Err(unknown(name)),
        None => Ok(act),
    }
}

fn complete(act: Unread, mut members: ActMembers) -> Result<(Act, ActMembers), Rejection> {
    let act = match act {
        Unread::Merge => Act::Merge {
            profile: needed("profile", members.profile.take())?,
            other: needed("other", members.other.take())?,
            force: members.force.take().unwrap_or_default(),
        },
        Unread::Attach { profile } => {
            Act::Attach { profile, identifier: needed("identifier", members.identifier.take())? }
        }
        Unread::Block => Act::Block { identifier: needed("identifier", members.identifier.take())? },
        Unread::Decide { quarantine } => {
            let decision = needed("decision", members.decision.take())?;
            let approve = match decision.as_str() {
                "approve" => true,
                "reject" => false,
                _ => {
                    let message = "a decision is \"approve\" or \"reject\"";
                    return Err(Rejection::new("decision_invalid", "decision", message));
                }
            };
            Act::Decide { quarantine, approve }
        }
    };
    Ok((act, members))
}

fn needed(name: &str, value: Option<String>) -> Result<String, Rejection> {
    value.ok_or_else(|| Rejection::new("member_missing", name, "this member must be there"))
}

fn unknown(name: &str) -> Rejection {
    Rejection::new("member_unknown", name, "this act has no such member")
}

/// The members of all acts.
#[derive(Debug, Default)]
pub(crate) struct ActMembers {
    profile: Option<String>,
    other: Option<String>,
    force: Option<bool>,
    identifier: Option<String>,
    decision: Option<String>,
}

impl ActMembers {
    fn first_name(&self) -> Option<&'static str> {
        let names = [
            ("profile", self.profile.is_some()),
            ("other", self.other.is_some()),
            ("force", self.force.is_some()),
            ("identifier", self.identifier.is_some()),
            ("decision", self.decision.is_some()),
        ];
        names.into_iter().find(|(_, there)| *there).map(|(name, _)| name)
    }
}

reader! {
    Members -> ActMembers, "an act (an object)", {
        fn visit_map<A: MapAccess<'de>>(self, mut found: A) -> Result<Self::Value, A::Error> {
            let Self(walk) = self;
            let mut members = ActMembers::default();
            let mut seen = Seen::default();
            while let Some(name) = seen.next(walk, &mut found)? {
                match &*name {
                    "profile" => members.profile = walk.member(&mut found, &name, Text(walk))?,
                    "other" => members.other = walk.member(&mut found, &name, Text(walk))?,
                    "force" => members.force = Some(walk.member(&mut found, &name, Flag(walk))?),
                    "identifier" => members.identifier = walk.member(&mut found, &name, Text(walk))?,
                    "decision" => members.decision = walk.member(&mut found, &name, Text(walk))?,
                    _ => {
                        walk.leave(&name);
                        return Err(walk.fail("member_unknown", "this act has no such member"));
                    }
                }
            }
            Ok(members)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(act: &Unread, body: &str) -> Result<Act, (&'static str, Option<String>)> {
        read(act.clone(), body.as_bytes()).map_err(|rejection| (rejection.code, rejection.field))
    }

    #[test]
    fn each_act_has_its_members() {
        let attach = Unread::Attach { profile: "p".to_owned() };
        let decide = Unread::Decide { quarantine: "q1-0".to_owned() };
        let text = str::to_owned;
        let merge = |force| Act::Merge { profile: text("a"), other: text("b"), force };
        let table = [
            (&Unread::Merge, r#"{"profile":"a","other":"b"}"#, merge(false)),
            (&Unread::Merge, r#"{"profile":"a","other":"b","force":true,"decision":null}"#, merge(true)),
            (
                &attach,
                r#"{"identifier":"email:a@b.example"}"#,
                Act::Attach { profile: text("p"), identifier: text("email:a@b.example") },
            ),
            (&Unread::Block, r#"{"identifier":"x:y"}"#, Act::Block { identifier: text("x:y") }),
            (&decide, r#"{"decision":"reject"}"#, Act::Decide { quarantine: text("q1-0"), approve: false }),
            (&decide, r#"{"decision":"approve"}"#, Act::Decide { quarantine: text("q1-0"), approve: true }),
        ];
        for (act, body, expected) in table {
            assert_eq!(outcome(act, body), Ok(expected), "{body}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let decide = Unread::Decide { quarantine: String::new() };
        let table = [
            (&Unread::Merge, r#"{"profile":"a"}"#, "member_missing", Some("other")),
            (&Unread::Merge, r#"{"profile":"a","other":null}"#, "member_missing", Some("other")),
            (
                &Unread::Merge,
                r#"{"profile":"a","other":"b","dry_run":true}"#,
                "member_unknown",
                Some("dry_run"),
            ),
            (
                &Unread::Merge,
                r#"{"profile":"a","other":"b","decision":"x"}"#,
                "member_unknown",
                Some("decision"),
            ),
            (&Unread::Merge, r#"{"profile":1,"other":"b"}"#, "wrong_type", Some("profile")),
            (&Unread::Merge, r#"{"profile":"a","profile":"b"}"#, "json_duplicate_key", Some("profile")),
            (&Unread::Merge, "[]", "wrong_type", None),
            (&Unread::Merge, "", "json_invalid", None),
            (&Unread::Merge, "{} {}", "json_invalid", None),
            (&decide, r#"{"decision":"maybe"}"#, "decision_invalid", Some("decision")),
            (&Unread::Block, "{}", "member_missing", Some("identifier")),
        ];
        for (act, body, code, field) in table {
            assert_eq!(outcome(act, body), Err((code, field.map(str::to_owned))), "{body}");
        }
    }
}
