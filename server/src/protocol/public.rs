//! What a public source is told of a reply: what its device knows, and what follows from what was sent alone. So
//! nobody learns from a browser's key who else is there, or whether an address is a customer's.
//!
//! Takes parts of a reply away, before it is written in any form ([`super::write::Audience`] leaves out what is not
//! written at all). That the device has one id, whoever sits at it, is the engine's doing. Called by the server's
//! intake, for public sources alone.

use spoor::{EventStatus, ProfileReply, Reason, Reply};

/// Codes of operations that are refused because of what the profile holds already: that of another person holds
/// other things, and which person's it is must not show.
const REFUSED_BY_CONTENT: [&str; 2] = ["trait_limit", "consent_limit"];

/// What begins the id of a session that holds one event alone.
const IMPLICIT: &str = "implicit:";

/// The reply as a public source gets it. `session_sent`: whether the request named its session.
#[must_use]
pub fn told(mut reply: Reply, session_sent: bool) -> Reply {
    reply.profile = reply.profile.take().and_then(|profile| own_profile(profile, &reply, session_sent));
    // Sessions that the server makes end where another person begins.
    let named = |id: &str| session_sent || id.starts_with(IMPLICIT);
    reply.session = reply.session.filter(|session| named(&session.id));
    for event in &mut reply.events {
        event.session = event.session.take().filter(|session| named(&session.id));
        event.refused.retain(|(_, code)| !REFUSED_BY_CONTENT.contains(code));
    }
    reply
}

/// A profile that neither a session nor an id led to was found by an event that says the same. Whoever says the same
/// need not be the same device, and gets no id of another's: only one that this very request made.
fn own_profile(profile: ProfileReply, reply: &Reply, session_sent: bool) -> Option<ProfileReply> {
    if session_sent || profile.reason != Reason::Recovered {
        return Some(profile);
    }
    let stored = reply.events.iter().rev().find(|event| event.status == EventStatus::Stored)?;
    let id = stored.profile.clone()?;
    Some(ProfileReply { primary_id: id.clone(), id, reason: Reason::Created, created: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use spoor::{EventReply, EventSeq, SessionReply};

    fn event(status: EventStatus, profile: &str) -> EventReply {
        EventReply {
            id: "1".to_owned(),
            seq: EventSeq(1),
            status,
            session: Some(SessionReply { id: "0190".to_owned(), created: true }),
            profile: Some(profile.to_owned()),
            links: Vec::new(),
            refused: vec![
                ("traits.set.x".to_owned(), "trait_limit"),
                ("traits.add.y".to_owned(), "trait_kind"),
            ],
            warnings: Vec::new(),
        }
    }

    fn reply(events: Vec<EventReply>) -> Reply {
        let id = "theirs".to_owned();
        let profile = ProfileReply { primary_id: id.clone(), id, reason: Reason::Recovered, created: false };
        let session = Some(SessionReply { id: "0190".to_owned(), created: false });
        Reply { profile: Some(profile), session, events, warnings: Vec::new() }
    }

    #[test]
    fn a_repeat_found_by_its_content_names_nobody() {
        let told_of = told(reply(vec![event(EventStatus::Duplicate, "theirs")]), false);
        assert_eq!((told_of.profile, told_of.session), (None, None));
        let mixed = vec![event(EventStatus::Stored, "mine"), event(EventStatus::Duplicate, "theirs")];
        let profile = told(reply(mixed), false).profile.unwrap();
        assert_eq!((profile.id.as_str(), profile.created), ("mine", true));
    }

    #[test]
    fn whoever_names_the_session_is_told_of_it() {
        let told_of = told(reply(vec![event(EventStatus::Stored, "theirs")]), true);
        assert_eq!(told_of.profile.unwrap().id, "theirs");
        assert_eq!(told_of.session.unwrap().id, "0190");
    }

    #[test]
    fn what_others_hold_does_not_show() {
        let told_of = told(reply(vec![event(EventStatus::Stored, "theirs")]), false);
        assert_eq!(told_of.events[0].session, None);
        assert_eq!(told_of.events[0].refused, [("traits.add.y".to_owned(), "trait_kind")]);
    }
}
