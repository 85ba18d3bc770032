//! Answers in their compact form. Owns the numbers of their fields; what a reader may see was decided before, where
//! the JSON of the same answer is made.

use super::super::identity::LinkReplyBody;
use super::super::write::{
    Audience, ErrorBody, EventBody, ProfileReplyBody, ReplyBody, SessionReplyBody, reply_body,
};
use super::wire::Message;
use spoor::Reply;

/// The field of the message that an answer's body is: one answer.
const ANSWER: u32 = 1;

/// How a profile was found, from 1 on.
const REASONS: [&str; 4] = ["created", "sent", "recovered", "session_owner"];
/// Whether an event was stored, from 1 on.
const STATUSES: [&str; 2] = ["stored", "duplicate"];
/// What became of an identifier, from 1 on.
const OUTCOMES: [&str; 7] = ["attached", "known", "merged", "switched", "refused", "quarantined", "accepted"];

/// The number of a word; 0, which is read as one that came later, for none of the list.
fn number_of(words: &[&str], word: &str) -> u64 {
    words.iter().position(|known| *known == word).map_or(0, |index| index as u64 + 1)
}

/// Appends the reply to one request.
pub fn reply(out: &mut Vec<u8>, reply: &Reply, audience: &Audience) {
    let body = reply_body(reply, audience);
    Message::to(out).message(ANSWER, |answer| answer.message(1, |message| write_reply(message, &body)));
}

/// Appends an error in the place of a reply.
pub fn error(out: &mut Vec<u8>, error: &ErrorBody) {
    Message::to(out).message(ANSWER, |answer| answer.message(2, |message| write_error(message, error)));
}

/// Appends the end of a stream, from whose frame `index` on nothing was taken.
pub fn end(out: &mut Vec<u8>, index: u64, error: &ErrorBody) {
    Message::to(out).message(ANSWER, |answer| {
        answer.message(3, |end| {
            end.number(1, index);
            end.message(2, |message| write_error(message, error));
        });
    });
}

fn write_error(message: &mut Message<'_>, error: &ErrorBody) {
    let ErrorBody { code, message: sentence, field, retry_after_ms } = error;
    message.text(1, code);
    message.text(2, sentence);
    message.some_text(3, field.as_deref());
    message.number(4, retry_after_ms.unwrap_or_default());
}

fn write_reply(message: &mut Message<'_>, reply: &ReplyBody<'_>) {
    let ReplyBody { profile, session, events, warnings } = reply;
    if let Some(profile) = profile {
        message.message(1, |message| write_profile(message, profile));
    }
    if let Some(session) = session {
        message.message(2, |message| write_session(message, session));
    }
    for event in events {
        message.message(3, |message| write_event(message, event));
    }
    texts(message, 4, warnings);
}

fn texts(message: &mut Message<'_>, field: u32, texts: &[&str]) {
    for text in texts {
        message.text(field, text);
    }
}

fn write_profile(message: &mut Message<'_>, profile: &ProfileReplyBody<'_>) {
    let ProfileReplyBody { id, primary_id, reason, created } = profile;
    message.id(1, id);
    if let Some(primary_id) = primary_id {
        message.id(3, primary_id);
    }
    message.number(5, number_of(&REASONS, reason));
    message.number(6, u64::from(*created));
}

fn write_session(message: &mut Message<'_>, session: &SessionReplyBody<'_>) {
    let SessionReplyBody { id, created } = session;
    message.id(1, id);
    message.number(3, u64::from(*created));
}

fn write_event(message: &mut Message<'_>, event: &EventBody<'_>) {
    let EventBody { id, seq, status, session, profile, links, refused, warnings } = event;
    message.id(1, id);
    message.number(3, *seq);
    message.number(4, number_of(&STATUSES, status));
    if let Some(session) = session {
        message.message(5, |message| write_session(message, session));
    }
    if let Some(profile) = profile {
        message.id(6, profile);
    }
    for link in links {
        message.message(8, |message| write_link(message, link));
    }
    for operation in refused {
        message.message(9, |message| {
            message.text(1, operation.field);
            message.text(2, operation.code);
        });
    }
    texts(message, 10, warnings);
}

fn write_link(message: &mut Message<'_>, link: &LinkReplyBody<'_>) {
    let LinkReplyBody { identifier, outcome, code, merge, profiles, quarantine } = link;
    message.text(1, identifier);
    message.number(2, number_of(&OUTCOMES, outcome));
    message.some_text(3, *code);
    message.some_text(4, *merge);
    for profile in *profiles {
        message.message(5, |message| message.id(1, profile));
    }
    message.some_text(6, *quarantine);
}

#[cfg(test)]
mod tests {
    use super::*;
    use spoor::{EventStatus, LinkOutcome, Reason};

    #[test]
    fn every_word_of_a_reply_has_a_number() {
        let reasons = [Reason::Created, Reason::Sent, Reason::Recovered, Reason::SessionOwner];
        assert_eq!(reasons.map(|reason| number_of(&REASONS, reason.as_str())), [1, 2, 3, 4]);
        let statuses = [EventStatus::Stored, EventStatus::Duplicate];
        assert_eq!(statuses.map(|status| number_of(&STATUSES, status.as_str())), [1, 2]);
        let outcomes = [
            LinkOutcome::Attached,
            LinkOutcome::Known,
            LinkOutcome::Merged,
            LinkOutcome::Switched,
            LinkOutcome::Refused,
            LinkOutcome::Quarantined,
        ];
        assert_eq!(outcomes.map(|outcome| number_of(&OUTCOMES, outcome.as_str())), [1, 2, 3, 4, 5, 6]);
        assert_eq!(number_of(&OUTCOMES, "accepted"), 7);
    }
}
