//! Answers the two calls by which a device is known again on another site: a token for the one that it is on, and the
//! token taken back on the one that it came to. What a token is stands in [`crate::handover`].

use super::super::access::Sender;
use super::super::errors::Problem;
use super::super::routes::HandoverStep;
use super::{Answer, Service, body, respond};
use crate::limits::HANDOVER_LIFETIME_MS;
use crate::protocol::handover;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use spoor::{Act, Clock, SystemClock, Timestamp};
use std::sync::Arc;
use uuid::Uuid;

impl Service {
    /// Gives a token, or takes one.
    pub(super) async fn handover(
        self: &Arc<Self>,
        step: HandoverStep,
        request: Request<Incoming>,
        sender: Sender,
    ) -> Result<Answer, Problem> {
        body::check_is_text(request.headers())?;
        let bytes = self.body_of(request, sender.caller()).await?;
        let mut asked = match step {
            HandoverStep::Give => handover::read_profile(&bytes)?,
            HandoverStep::Accept => handover::read_token(&bytes)?,
        };
        sender.admit_source(&mut asked.source)?;
        sender.check_hands_over(asked.source.as_deref())?;
        let now_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        match step {
            HandoverStep::Give => self.give(&asked.what, now_ms),
            HandoverStep::Accept => self.accept(self.handovers.spend(&asked.what, now_ms)?).await,
        }
    }

    /// The store is not asked: whether there is such a device shows when the token is taken.
    fn give(&self, profile: &str, now_ms: u64) -> Result<Answer, Problem> {
        let Ok(profile) = Uuid::parse_str(profile.trim()) else {
            let message = "this is no id that a server gives";
            return Err(Problem::field("profile_unknown", "profile", message));
        };
        let token = self.handovers.give(profile, now_ms).map_err(|error| {
            tracing::error!(%error, "the system has no randomness to give");
            Problem::internal()
        })?;
        let lifetime_us = i64::try_from(HANDOVER_LIFETIME_MS).unwrap_or(i64::MAX).saturating_mul(1_000);
        let expires_at = Timestamp(SystemClock.now().0.saturating_add(lifetime_us));
        Ok(respond(StatusCode::OK, handover::given(&token, expires_at)))
    }

    async fn accept(&self, profile: Uuid) -> Result<Answer, Problem> {
        let store = Arc::clone(&self.store);
        self.ask(Some(self.request_timeout), move || {
            let done = store.act(Act::Handover { profile: profile.to_string() }, false)?;
            Ok(handover::accepted(&done.created.ok_or_else(Problem::internal)?))
        })
        .await
    }
}
