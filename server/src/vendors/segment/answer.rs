//! What libraries are answered. Most look at the status alone; what stands in the body is for who looks into it.

use super::Call;
use crate::protocol::write::ErrorBody;
use crate::vendors::member::bounded;
use serde::Serialize;

/// An item that was refused.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// Its place in the batch, from 0.
    index: usize,
    /// The id by which its sender knows it.
    #[serde(rename = "messageId", skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Why.
    #[serde(flatten)]
    error: ErrorBody,
}

impl Refused {
    /// The item at `index`, refused with an error of ours.
    #[must_use]
    pub fn new(index: usize, id: Option<String>, call: Option<Call>, error: ErrorBody) -> Self {
        Self { index, id, error: in_their_words(call, error) }
    }

    /// The error alone, for a body in which nothing else was taken.
    #[must_use]
    pub fn into_error(self) -> ErrorBody {
        self.error
    }
}

/// The answer to a body of which so many items were taken.
#[must_use]
pub fn answer(taken: usize, refused: Vec<Refused>) -> impl Serialize {
    #[derive(Serialize)]
    struct Body {
        success: bool,
        accepted: usize,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        refused: Vec<Refused>,
    }
    Body { success: true, accepted: taken, refused }
}

/// The member of their message that a member of our request was made of.
fn in_their_words(call: Option<Call>, mut error: ErrorBody) -> ErrorBody {
    error.field = error.field.map(|field| bounded(theirs(call, &field)));
    error
}

fn theirs(call: Option<Call>, field: &str) -> String {
    let Some(of_event) = field.strip_prefix("events[0].") else {
        return match field {
            "profile" if call == Some(Call::Alias) => "previousId",
            "profile" => "anonymousId",
            "session" => "context.sessionId",
            "source" => "writeKey",
            other => other,
        }
        .to_owned();
    };
    match of_event {
        "id" => "messageId".to_owned(),
        "type" => "event".to_owned(),
        "identifiers.user_id" => "userId".to_owned(),
        other => match other.strip_prefix("traits.set").or_else(|| other.strip_prefix("traits")) {
            Some(_) if call == Some(Call::Group) => "groupId".to_owned(),
            Some(rest) => format!("traits{rest}"),
            None => other.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_member_of_the_message() {
        for (call, ours, expected) in [
            (Call::Track, "profile", "anonymousId"),
            (Call::Alias, "profile", "previousId"),
            (Call::Track, "events[0].type", "event"),
            (Call::Track, "events[0].id", "messageId"),
            (Call::Track, "events[0].identifiers.user_id", "userId"),
            (Call::Identify, "events[0].traits.set.plan", "traits.plan"),
            (Call::Identify, "events[0].traits", "traits"),
            (Call::Group, "events[0].traits.set.group_id", "groupId"),
            (Call::Track, "events[0].properties.a", "properties.a"),
            (Call::Track, "timestamp", "timestamp"),
        ] {
            assert_eq!(theirs(Some(call), ours), expected, "{ours}");
        }
    }
}
