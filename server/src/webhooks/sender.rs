//! One webhook: reads what happened, posts it, and goes on once it was taken.
//!
//! 1. A post is taken if it is answered with a status of 2xx. Any other answer, or none, is followed by a rest that
//!    doubles up to a bound, and by the same changes again, for as long as it takes.
//! 2. The place is written after what was posted was taken: what is lost by a stop between the two is that knowledge,
//!    so that changes come twice and never not.

use super::Bell;
use super::place::Place;
use super::signature::{SIGNATURE_HEADER, TIMESTAMP_HEADER, signature};
use crate::limits::{
    WEBHOOK_ANSWER_MS, WEBHOOK_BATCH_MAX, WEBHOOK_CONNECT_MS, WEBHOOK_RETRY_MAX_MS, WEBHOOK_RETRY_MS,
};
use crate::protocol::{change, write};
use crate::settings::{SettingsError, WebhookSettings};
use crate::store::Store;
use crate::tls::trusted;
use spoor::change::{Change, Happened};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ureq::Agent;

pub(super) struct Sender {
    name: String,
    settings: WebhookSettings,
    store: Arc<dyn Store>,
    bell: Arc<Bell>,
    place: Place,
    /// The last position that was dealt with.
    after: u64,
    /// What `place` holds.
    kept: u64,
    agent: Agent,
}

/// What the webhook called `name` posts with.
///
/// # Errors
/// What [`trusted::config`] says where its receiver shows a certificate.
pub(super) fn agent(name: &str, settings: &WebhookSettings) -> Result<Agent, SettingsError> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        // Elsewhere is not where the operator wanted it.
        .max_redirects(0)
        .timeout_connect(Some(Duration::from_millis(WEBHOOK_CONNECT_MS)))
        .timeout_global(Some(Duration::from_millis(WEBHOOK_ANSWER_MS)));
    if settings.is_encrypted() {
        config = config.tls_config(trusted::config(name, settings.ca.as_deref())?);
    }
    Ok(config.build().into())
}

/// Why a batch was not taken.
enum Trouble {
    /// The receiver; it may take it later.
    Refused(String),
    /// Ours: nothing can be read or kept any more.
    Over(String),
}

impl Sender {
    /// Begins where the webhook of this name stopped, at first with what happens from now on.
    pub(super) fn new(
        name: &str,
        settings: &WebhookSettings,
        agent: Agent,
        place: Place,
        store: Arc<dyn Store>,
        bell: Arc<Bell>,
    ) -> io::Result<Self> {
        let position = store.status().position;
        let after = place.read_or(position)?;
        if after > position {
            let message = format!(
                "webhook {name} has come to position {after}, and the store to {position}: it was restored from an \
                 older copy. Remove its file in webhooks/ to go on with what happens from now on"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let (name, settings) = (name.to_owned(), settings.clone());
        Ok(Self { name, settings, store, bell, place, after, kept: after, agent })
    }

    /// Until it is time to stop.
    pub(super) fn run(mut self) {
        let mut rest_ms = WEBHOOK_RETRY_MS;
        while self.bell.wait_beyond(self.after) {
            match self.step() {
                Ok(()) => rest_ms = WEBHOOK_RETRY_MS,
                Err(Trouble::Refused(reason)) => {
                    let (webhook, after) = (&self.name, self.after);
                    tracing::warn!(
                        webhook,
                        after,
                        reason,
                        rest_ms,
                        "a webhook was not taken; it is sent again"
                    );
                    if !self.bell.rest(Duration::from_millis(rest_ms)) {
                        return;
                    }
                    rest_ms = (rest_ms * 2).min(WEBHOOK_RETRY_MAX_MS);
                }
                Err(Trouble::Over(reason)) => {
                    tracing::error!(webhook = self.name, reason, "a webhook has ended");
                    return;
                }
            }
        }
    }

    /// Some changes further.
    fn step(&mut self) -> Result<(), Trouble> {
        let changes = self.store.changes_after(self.after, WEBHOOK_BATCH_MAX);
        let changes = changes.map_err(|error| Trouble::Over(error.to_string()))?;
        let Some(last) = changes.last().map(|change| change.seq.0) else { return Ok(()) };
        let wanted: Vec<&Change> = changes.iter().filter(|change| self.wants(change)).collect();
        if !wanted.is_empty() {
            self.post(&wanted)?;
        }
        self.after = last;
        // Where nothing is wanted for long, a stop costs some reading and nothing else.
        if !wanted.is_empty() || last - self.kept >= WEBHOOK_BATCH_MAX as u64 {
            self.place.write(last).map_err(|error| Trouble::Over(error.to_string()))?;
            self.kept = last;
        }
        Ok(())
    }

    fn wants(&self, change: &Change) -> bool {
        let events = &self.settings.events;
        match &change.happened {
            Happened::Event(stored) => events.is_empty() || events.contains(&stored.event.event_type),
            Happened::SessionEnded(_) | Happened::Act(_) | Happened::LinksExpired(_) => events.is_empty(),
        }
    }

    fn post(&self, changes: &[&Change]) -> Result<(), Trouble> {
        let mut body = b"{\"changes\":[".to_vec();
        for (number, found) in changes.iter().enumerate() {
            if number > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&write::text(&change::change(found)));
        }
        body.extend_from_slice(b"]}");
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = self
            .agent
            .post(&self.settings.url)
            .header("Content-Type", "application/json")
            .header(TIMESTAMP_HEADER, now_s.to_string())
            .header(SIGNATURE_HEADER, signature(&self.settings.secret, now_s, &body));
        match request.send(&body[..]) {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => {
                Err(Trouble::Refused(format!("it was answered with status {}", answer.status().as_u16())))
            }
            // The address may have a password in it, and errors do not name it.
            Err(error) => Err(Trouble::Refused(error.to_string())),
        }
    }
}
