//! What the settings say of webhooks: `[webhooks.NAME]`.

use super::layers::Section;
use super::{SettingsError, put};
use crate::limits::{WEBHOOK_NAME_MAX_BYTES, WEBHOOK_SECRET_MIN_BYTES};
use hyper::Uri;

/// Where changes are posted.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// The address, which begins with `http://`.
    pub url: String,
    /// What bodies are signed with.
    pub secret: String,
    /// Only events of these types; without any, every change of every kind.
    pub events: Vec<String>,
}

/// Without the secret, and without the address, which may have a password in it.
impl std::fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSettings").field("events", &self.events).finish_non_exhaustive()
    }
}

pub(super) fn read_webhook(mut section: Section, name: &str) -> Result<WebhookSettings, SettingsError> {
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > WEBHOOK_NAME_MAX_BYTES || !name.chars().all(fit) {
        let reason = format!(
            "the name is also that of a file: up to {WEBHOOK_NAME_MAX_BYTES} letters from a to z, digits, - and _"
        );
        return Err(SettingsError::key(format!("webhooks.{name}"), reason));
    }
    let mut webhook = WebhookSettings { url: String::new(), secret: String::new(), events: Vec::new() };
    put(&mut webhook.url, section.text("url")?);
    put(&mut webhook.secret, section.text("secret")?);
    put(&mut webhook.events, section.texts("events")?);
    let refuse = |name: &str, reason: &str| Err(SettingsError::key(section.key(name), reason));
    let uri = webhook.url.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
    match uri.as_ref().and_then(Uri::scheme_str) {
        Some("http") => {}
        Some("https") => {
            return refuse("url", "https is not spoken yet: let a proxy on this machine pass it on");
        }
        _ => return refuse("url", "must be an address such as http://127.0.0.1:9000/spoor"),
    }
    if webhook.secret.len() < WEBHOOK_SECRET_MIN_BYTES {
        let reason =
            format!("must have {WEBHOOK_SECRET_MIN_BYTES} bytes or more: whoever guesses it can pretend");
        return refuse("secret", &reason);
    }
    section.finish()?;
    Ok(webhook)
}
