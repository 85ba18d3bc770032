//! Every code that an answer can carry, with its HTTP status: the one table. docs/protocol.md lists the same.
//!
//! A client's mistake is a 4xx; 503 says that trying again later makes sense; 500 is the store's own trouble,
//! which the log explains.

use crate::access::keyring::{ChangeError, Stranger};
use crate::limits::RETRY_AFTER_MS;
use crate::protocol::write::ErrorBody;
use hyper::StatusCode;
use spoor::model::ReadError;
use spoor::{ActError, Error, Rejection, TrackError};

/// Code and status of every error, by status.
pub const CODES: &[(&str, u16)] = &[
    // The bytes are not what they should be.
    ("binary_invalid", 400),
    ("body_incomplete", 400),
    ("body_unexpected", 400),
    ("consent_invalid", 400),
    ("decision_invalid", 400),
    ("encoding_invalid", 400),
    ("host_missing", 400),
    ("json_duplicate_key", 400),
    ("json_invalid", 400),
    ("json_number_too_large", 400),
    ("json_too_deep", 400),
    ("limit_invalid", 400),
    ("member_missing", 400),
    ("member_unknown", 400),
    ("not_an_object", 400),
    ("parameter_invalid", 400),
    ("parameter_unknown", 400),
    ("right_invalid", 400),
    ("time_invalid", 400),
    ("utf8_invalid", 400),
    ("wrong_type", 400),
    ("cursor_invalid", 400),
    // Nobody knows who they are.
    ("key_invalid", 401),
    ("key_missing", 401),
    // They may not do this.
    ("cross_origin", 403),
    ("key_may_not", 403),
    ("origin_forbidden", 403),
    ("source_not_of_key", 403),
    // There is no such thing.
    ("identifier_unknown", 404),
    ("key_unknown", 404),
    ("merge_unknown", 404),
    ("not_found", 404),
    ("quarantine_unknown", 404),
    ("route_unknown", 404),
    ("method_not_allowed", 405),
    ("body_timeout", 408),
    // The state does not allow it.
    ("ambiguous_id", 409),
    ("blocked", 409),
    ("blocked_already", 409),
    ("fragments_max", 409),
    ("kept_apart", 409),
    ("keys_max", 409),
    ("merge_undone", 409),
    ("not_blocked", 409),
    ("position_unknown", 409),
    ("quarantine_decided", 409),
    ("same_profile", 409),
    ("unique_conflict", 409),
    ("values_per_profile", 409),
    // Too large.
    ("array_too_long", 413),
    ("body_too_large", 413),
    ("request_too_large", 413),
    // Not a form that is read here.
    ("encoding_unsupported", 415),
    ("media_type_unsupported", 415),
    // Another server is meant.
    ("host_unknown", 421),
    // Well-formed, and not acceptable.
    ("at_before_beginning", 422),
    ("id_empty", 422),
    ("id_too_long", 422),
    ("identifier_invalid", 422),
    ("junk", 422),
    ("name_empty", 422),
    ("name_repeated", 422),
    ("name_invalid", 422),
    ("name_too_long", 422),
    ("too_many_consents", 422),
    ("too_many_events", 422),
    ("too_many_identifiers", 422),
    ("too_many_traits", 422),
    ("type_empty", 422),
    ("type_unknown", 422),
    ("unknown_namespace", 422),
    ("unknown_source", 422),
    ("unlinkable", 422),
    ("value_too_long", 422),
    // The store's trouble.
    ("internal", 500),
    ("storage_failed", 500),
    ("closed", 503),
    ("indeterminate", 503),
    ("overloaded", 503),
    ("request_timeout", 503),
    ("snapshot_too_old", 503),
];

/// The status of a code that the table names.
fn status(code: &str) -> Option<StatusCode> {
    let (_, status) = CODES.iter().find(|(known, _)| *known == code)?;
    StatusCode::from_u16(*status).ok()
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What the table says of its code.
    pub status: StatusCode,
    /// What is sent.
    pub body: ErrorBody,
    /// For `method_not_allowed`: what is.
    pub allow: Option<&'static str>,
}

impl Problem {
    /// A problem without a member at fault.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Rejection { code, message: message.into(), field: None }.into()
    }

    /// A problem with a parameter or a member.
    #[must_use]
    pub fn field(code: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Rejection::new(code, field, message).into()
    }

    /// A bug of ours.
    #[must_use]
    pub fn internal() -> Self {
        Self::new("internal", "the server failed; its log says why")
    }

    /// The writer did not answer for too long.
    #[must_use]
    pub fn no_answer_in_time() -> Self {
        Self::new("request_timeout", "no answer in time; what was sent may still be stored")
    }

    /// Whether the same request may be accepted later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }
}

impl Problem {
    /// With a status for a code of the engine's that the table does not name.
    fn or_status(rejection: Rejection, otherwise: StatusCode) -> Self {
        let status = status(rejection.code).unwrap_or(otherwise);
        let mut body = ErrorBody::from(rejection);
        body.retry_after_ms = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_MS);
        Self { status, body, allow: None }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        Self::or_status(rejection, StatusCode::UNPROCESSABLE_ENTITY)
    }
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Self {
        match error {
            ActError::NotFound(rejection) => Self::or_status(rejection, StatusCode::NOT_FOUND),
            ActError::Conflict(rejection) => Self::or_status(rejection, StatusCode::CONFLICT),
            ActError::Rejected(rejection) => rejection.into(),
            ActError::Failed(error) => error.into(),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match &error {
            Error::Overloaded => Self::new("overloaded", error.to_string()),
            // The reason may name files of the operator's: it stands in the log and in `/readyz` of the operator.
            Error::Closed { .. } => Self::new("closed", "the store is closed; nothing was written"),
            Error::Indeterminate { .. } => Self::new(
                "indeterminate",
                "the store failed while the request waited: it may or may not have been written",
            ),
            Error::SnapshotTooOld => Self::new("snapshot_too_old", "reading took too long; try again"),
            Error::Io { .. }
            | Error::Damaged { .. }
            | Error::IndexUnusable { .. }
            | Error::Locked { .. }
            | Error::Settings { .. } => {
                tracing::error!(%error, "the store failed");
                Self::new("storage_failed", "the store failed; the server's log says why")
            }
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Rejected(rejection) => rejection.into(),
            ChangeError::Failed(error) => {
                tracing::error!(%error, "the keys could not be written: the old ones hold");
                Self::new("storage_failed", "the keys could not be written; the server's log says why")
            }
        }
    }
}

impl From<Stranger> for Problem {
    fn from(stranger: Stranger) -> Self {
        match stranger {
            Stranger::Missing => Self::new("key_missing", "this call needs a key: Authorization: Bearer KEY"),
            Stranger::Invalid => Self::new("key_invalid", "this is no key, or one that was revoked"),
        }
    }
}

impl From<TrackError> for Problem {
    fn from(error: TrackError) -> Self {
        match error {
            TrackError::Rejected(rejection) => rejection.into(),
            TrackError::Failed(error) => error.into(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound => Self::new("not_found", "nothing here has this id"),
            ReadError::AmbiguousId { candidates } => Self::new(
                "ambiguous_id",
                format!("this stands for several profiles; ask for one of {}", candidates.join(", ")),
            ),
            ReadError::Rejected(rejection) => rejection.into(),
            ReadError::Failed(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_once_and_have_a_status_for_errors() {
        for (index, (code, number)) in CODES.iter().enumerate() {
            assert!(CODES[index + 1..].iter().all(|(other, _)| other != code), "{code} stands twice");
            assert!((400..600).contains(number), "{code}");
        }
    }

    #[test]
    fn only_what_may_pass_is_worth_another_try() {
        let overloaded = Problem::from(Error::Overloaded);
        assert_eq!((overloaded.status.as_u16(), overloaded.body.retry_after_ms), (503, Some(RETRY_AFTER_MS)));
        let rejected = Problem::from(Rejection::new("a_code_of_the_engine", "x", "no"));
        assert_eq!((rejected.status.as_u16(), rejected.body.retry_after_ms), (422, None));
    }
}
