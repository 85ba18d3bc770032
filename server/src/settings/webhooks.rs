//! What the settings say of webhooks: `[webhooks.NAME]`.

use super::layers::Section;
use super::{SettingsError, put};
use crate::limits::{WEBHOOK_NAME_MAX_BYTES, WEBHOOK_SECRET_MIN_BYTES};
use hyper::Uri;
use std::path::PathBuf;

/// Where changes are posted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WebhookSettings {
    /// The address, which begins with `http://` or `https://`.
    pub url: String,
    /// What bodies are signed with.
    pub secret: String,
    /// Only events of these types; without any, every change of every kind.
    pub events: Vec<String>,
    /// A PEM file of authorities that are trusted beside those of this machine.
    pub ca: Option<PathBuf>,
}

/// Without the secret, and without the address, which may have a password in it.
impl std::fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSettings").field("events", &self.events).finish_non_exhaustive()
    }
}

impl WebhookSettings {
    /// Whether the receiver shows a certificate.
    pub(crate) fn is_encrypted(&self) -> bool {
        let scheme = self.url.split_once(':').map_or("", |(scheme, _)| scheme);
        scheme.eq_ignore_ascii_case("https")
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
    let mut webhook = WebhookSettings::default();
    put(&mut webhook.url, section.text("url")?);
    put(&mut webhook.secret, section.text("secret")?);
    put(&mut webhook.events, section.texts("events")?);
    webhook.ca = section.text("ca")?.map(PathBuf::from);
    let refuse = |name: &str, reason: &str| Err(SettingsError::key(section.key(name), reason));
    let uri = webhook.url.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
    match uri.as_ref().and_then(Uri::scheme_str) {
        Some("https") => {}
        Some("http") if webhook.ca.is_some() => {
            return refuse("ca", "is of no use without https: an http:// address shows no certificate");
        }
        Some("http") => {}
        _ => return refuse("url", "must be an address such as https://hooks.shop.example/spoor"),
    }
    if webhook.secret.len() < WEBHOOK_SECRET_MIN_BYTES {
        let reason =
            format!("must have {WEBHOOK_SECRET_MIN_BYTES} bytes or more: whoever guesses it can pretend");
        return refuse("secret", &reason);
    }
    section.finish()?;
    Ok(webhook)
}
