//! What happened, as JSON: a change for each position of the log, as docs/changes.md describes it. Owns the names of
//! its members.

use super::identity::{LinkReplyBody, link_reply};
use super::request::{Consents, TraitsBody};
use super::write::{self, Audience};
use serde::Serialize;
use serde_json::value::RawValue;
use spoor::change::{
    Acted, Change, EventStored, ExpiredLink, Happened, Merged, ProfileIds, SessionEnded, SessionsJoined,
};
use spoor::{Act, TraitOperations};

/// One change.
#[must_use]
pub fn change(change: &Change) -> impl Serialize + use<'_> {
    #[derive(Serialize)]
    struct Body<'a, H> {
        seq: u64,
        at: String,
        kind: &'static str,
        #[serde(flatten)]
        happened: H,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        created: &'a [String],
        #[serde(skip_serializing_if = "Vec::is_empty")]
        merges: Vec<MergedBody<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        profiles: Vec<ProfileIdsBody<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        sessions_joined: Vec<SessionsJoinedBody<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rules: Option<&'a RawValue>,
    }
    let Change { seq, at, happened, created, merges, profiles, sessions_joined, rules } = change;
    let kind = match happened {
        Happened::Event(_) => "event",
        Happened::SessionEnded(_) => "session_ended",
        Happened::Act(acted) => acted.kind,
        Happened::LinksExpired(_) => "links_expired",
    };
    Body {
        seq: seq.0,
        at: at.to_string(),
        kind,
        happened: happened_body(happened),
        created,
        merges: merges.iter().map(merged).collect(),
        profiles: profiles.iter().map(profile_ids).collect(),
        sessions_joined: sessions_joined.iter().map(joined).collect(),
        rules: rules.as_deref().and_then(declared),
    }
}

/// Rules as JSON. Those that hold when nothing is declared are the empty text.
fn declared(rules: &str) -> Option<&RawValue> {
    serde_json::from_str(if rules.is_empty() { "{}" } else { rules }).ok()
}

/// The members that depend on the kind.
#[derive(Serialize)]
struct HappenedBody<'a, E> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<E>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traits: Option<TraitsBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consents: Option<Consents<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<LinkReplyBody<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ends_session: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionEndedBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<ActBody<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expired: Vec<ExpiredBody<'a>>,
}

fn happened_body(happened: &Happened) -> impl Serialize + use<'_> {
    let mut body = HappenedBody {
        event: None,
        traits: None,
        consents: None,
        links: Vec::new(),
        ends_session: false,
        session: None,
        act: None,
        expired: Vec::new(),
    };
    match happened {
        Happened::Event(stored) => {
            let EventStored { event, traits, consents, links, ends_session } = &**stored;
            body.event = Some(write::event(event));
            body.traits = (*traits != TraitOperations::default()).then(|| TraitsBody::of(traits));
            body.consents = (!consents.is_empty()).then_some(Consents(consents));
            body.links = links.iter().map(|link| link_reply(link, &Audience::Trusted)).collect();
            body.ends_session = *ends_session;
        }
        Happened::SessionEnded(ended) => body.session = Some(session_ended(ended)),
        Happened::Act(Acted { kind: _, act }) => body.act = Some(act_body(act)),
        Happened::LinksExpired(links) => body.expired = links.iter().map(expired).collect(),
    }
    body
}

#[derive(Serialize)]
struct ExpiredBody<'a> {
    profile: &'a str,
    identifier: &'a str,
}

fn expired(link: &ExpiredLink) -> ExpiredBody<'_> {
    let ExpiredLink { profile, identifier } = link;
    ExpiredBody { profile, identifier }
}

#[derive(Serialize)]
struct SessionEndedBody<'a> {
    id: &'a str,
    source: &'a str,
    profile: Option<&'a str>,
    last_seen: String,
}

fn session_ended(ended: &SessionEnded) -> SessionEndedBody<'_> {
    let SessionEnded { session, source, profile, last_seen } = ended;
    SessionEndedBody { id: session, source, profile: profile.as_deref(), last_seen: last_seen.to_string() }
}

/// What was asked for, under the names by which it is asked for.
#[derive(Serialize, Default)]
struct ActBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    merge: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keep_apart: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    identifier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantine: Option<&'a str>,
}

fn act_body(act: &Act) -> ActBody<'_> {
    let none = ActBody::default();
    match act {
        Act::Undo { merge, keep_apart } => ActBody { merge: Some(merge), keep_apart: *keep_apart, ..none },
        Act::Merge { profile, other, force } => {
            ActBody { profile: Some(profile), other: Some(other), force: *force, ..none }
        }
        Act::Detach { profile, identifier } | Act::Attach { profile, identifier } => {
            ActBody { profile: Some(profile), identifier: Some(identifier), ..none }
        }
        // The kind says how it was decided.
        Act::Decide { quarantine, approve: _ } => ActBody { quarantine: Some(quarantine), ..none },
        Act::Block { identifier } | Act::Unblock { identifier } => {
            ActBody { identifier: Some(identifier), ..none }
        }
    }
}

#[derive(Serialize)]
struct MergedBody<'a> {
    merge: &'a str,
    profiles: &'a [String],
    primary_id: &'a str,
}

fn merged(merged: &Merged) -> MergedBody<'_> {
    let Merged { merge, profiles, primary_id } = merged;
    MergedBody { merge, profiles, primary_id }
}

#[derive(Serialize)]
struct ProfileIdsBody<'a> {
    primary_id: &'a str,
    ids: &'a [String],
}

fn profile_ids(profile: &ProfileIds) -> ProfileIdsBody<'_> {
    let ProfileIds { primary_id, ids } = profile;
    ProfileIdsBody { primary_id, ids }
}

#[derive(Serialize)]
struct SessionsJoinedBody<'a> {
    session: &'a str,
    into: &'a str,
}

fn joined(joined: &SessionsJoined) -> SessionsJoinedBody<'_> {
    let SessionsJoined { session, into } = joined;
    SessionsJoinedBody { session, into }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spoor::{EventSeq, Timestamp};

    #[test]
    fn a_return_to_the_rules_that_nobody_declared_is_told() {
        let act = Act::Block { identifier: "email:a@b.example".to_owned() };
        let told = |rules: Option<&str>| {
            let change = Change {
                seq: EventSeq(7),
                at: Timestamp(0),
                happened: Happened::Act(Acted { kind: "blocked", act: act.clone() }),
                created: Vec::new(),
                merges: Vec::new(),
                profiles: Vec::new(),
                sessions_joined: Vec::new(),
                rules: rules.map(Into::into),
            };
            String::from_utf8(write::text(&super::change(&change))).unwrap()
        };
        let plain = r#"{"seq":7,"at":"1970-01-01T00:00:00.000Z","kind":"blocked","act":{"identifier":"email:a@b.example"}"#;
        assert_eq!(told(None), format!("{plain}}}"));
        assert_eq!(told(Some("")), format!("{plain},\"rules\":{{}}}}"));
        assert_eq!(told(Some("{\"a\":1}")), format!("{plain},\"rules\":{{\"a\":1}}}}"));
    }
}
