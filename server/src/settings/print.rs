//! `--print-config`: the settings that hold, as TOML that can be read back, but for the secrets of webhooks, each with where it comes from.

use super::layers::item_key;
use super::{
    Effective, KEYS, LOG_FORMATS, LOG_LEVELS, MERGES, NORMALIZERS, PROFILE_IDS, SESSIONS, TRAIT_KINDS,
    TRAIT_POLICIES, units,
};
use spoor::settings::{IdentificationPoint, Merges, NamespaceSettings, SourceSettings, TraitSettings};
use std::fmt::Write as _;
use toml::Value;

/// The settings as TOML; the comment on each line is `default`, `file`, `environment` or `flag`.
#[must_use]
pub fn print(effective: &Effective) -> String {
    let mut out = Printer { effective, text: String::new() };
    out.server();
    out.store();
    let engine = &effective.configuration.engine;
    for (name, source) in &engine.sources {
        out.source(name, source);
    }
    for (name, namespace) in &engine.identifiers {
        out.namespace(name, namespace);
    }
    for (index, point) in engine.identification.iter().enumerate() {
        out.identification(index, point);
    }
    for (name, setting) in &engine.traits {
        out.trait_setting(name, setting);
    }
    for (name, webhook) in &effective.configuration.webhooks {
        let mut lines = out.named_section("webhooks", name);
        // Neither the address, which may have a password in it, nor the secret is for whoever looks on.
        lines.put("events", webhook.events.clone());
        if let Some(ca) = &webhook.ca {
            lines.put("ca", ca.to_string_lossy().into_owned());
        }
    }
    out.text
}

struct Printer<'a> {
    effective: &'a Effective,
    text: String,
}

/// A section while it is written.
struct Lines<'p, 'a> {
    printer: &'p mut Printer<'a>,
    /// Dotted, without quotes: how origins are keyed.
    path: String,
}

impl<'a> Printer<'a> {
    fn section(&mut self, name: &str) -> Lines<'_, 'a> {
        self.open(name.to_owned(), &format!("[{name}]"))
    }

    fn named_section(&mut self, section: &str, name: &str) -> Lines<'_, 'a> {
        self.open(format!("{section}.{name}"), &format!("[{section}.{}]", quoted(name)))
    }

    fn open(&mut self, path: String, heading: &str) -> Lines<'_, 'a> {
        let blank = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{blank}{heading}");
        Lines { printer: self, path }
    }

    fn server(&mut self) {
        let server = &self.effective.configuration.server;
        let mut lines = self.section("server");
        lines.put("listen", server.listen.to_string());
        if let Some(tls) = &server.tls {
            lines.put("tls.certificate", tls.certificate.to_string_lossy().into_owned());
            lines.put("tls.key", tls.key.to_string_lossy().into_owned());
        }
        lines.put("hosts", server.hosts.clone());
        lines.put("log", word(&LOG_LEVELS, &server.log));
        lines.put("log_format", word(&LOG_FORMATS, &server.log_format));
        lines.size("body", server.body_bytes);
        lines.size("body_decompressed", server.body_decompressed_bytes);
        lines.size("bodies", server.bodies_bytes);
        lines.size("headers", server.headers_bytes);
        lines.put("connections", i64::try_from(server.connections).unwrap_or(i64::MAX));
        lines.put("streams", i64::from(server.streams));
        lines.put("headers_timeout", units::duration(server.headers_timeout_ms));
        lines.put("body_timeout", units::duration(server.body_timeout_ms));
        lines.put("request_timeout", units::duration(server.request_timeout_ms));
        lines.put("idle_timeout", units::duration(server.idle_timeout_ms));
        lines.put("shutdown_timeout", units::duration(server.shutdown_timeout_ms));
    }

    fn store(&mut self) {
        let configuration = &self.effective.configuration;
        let mut lines = self.section("store");
        lines.put("dir", configuration.data_dir.to_string_lossy().into_owned());
        lines.size("cache", configuration.engine.store.cache_bytes);
        lines.size("overlay", configuration.engine.store.overlay_bytes);
        lines.put("segment", units::size(configuration.engine.store.segment_bytes));
    }

    fn source(&mut self, name: &str, source: &SourceSettings) {
        let mut lines = self.named_section("sources", name);
        if let Some(ids) = &source.ids {
            lines.put("ids", ids.clone());
        }
        lines.put("keys", word(&KEYS, &source.keys));
        if let Some(origins) = lines.printer.effective.configuration.origins.get(name) {
            lines.put("origins", origins.words());
        }
        lines.put("profile_ids", word(&PROFILE_IDS, &source.profile_ids));
        lines.put("server", source.server);
        lines.put("sessions", word(&SESSIONS, &source.sessions));
        let timeout_ms = u64::try_from(source.inactivity_timeout_ms).unwrap_or_default();
        lines.put("inactivity_timeout", units::duration(timeout_ms));
        if let Some(country) = &source.default_country {
            lines.put("default_country", country.clone());
        }
        lines.put("conversions", source.conversions.clone());
        lines.put("page_views", source.page_views.clone());
        lines.merges(source.merges);
    }

    fn namespace(&mut self, name: &str, namespace: &NamespaceSettings) {
        let mut lines = self.named_section("identifiers", name);
        lines.put("normalize", word(&NORMALIZERS, &namespace.normalize));
        lines.put("priority", i64::from(namespace.priority));
        lines.put("unique", namespace.unique);
        lines.put("values_per_profile", i64::from(namespace.values_per_profile));
        lines.put("fragments_max", i64::from(namespace.fragments_max));
        lines.merges(namespace.merges);
        lines.put("blocked", namespace.blocked.clone());
        lines.put("blocked_patterns", namespace.blocked_patterns.clone());
        if let Some(after) = namespace.expires_after_ms {
            lines.put("expires_after", units::duration(after));
        }
    }

    fn identification(&mut self, index: usize, point: &IdentificationPoint) {
        let mut lines = self.open(item_key("identification", index), "[[identification]]");
        lines.put("event", point.event.clone());
        lines.put("source", point.source.clone());
        lines.put("verified", point.verified);
        for (namespace, path) in &point.identifiers {
            lines.put_as(
                &format!("identifiers.{namespace}"),
                &format!("identifiers.{}", quoted(namespace)),
                path.clone(),
            );
        }
    }

    fn trait_setting(&mut self, name: &str, setting: &TraitSettings) {
        let mut lines = self.named_section("traits", name);
        if let Some(kind) = &setting.kind {
            lines.put("kind", word(&TRAIT_KINDS, kind));
        }
        lines.put("policy", word(&TRAIT_POLICIES, &setting.policy));
    }
}

impl Lines<'_, '_> {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.put_as(name, name, value);
    }

    /// With another name in the text than among the origins.
    fn put_as(&mut self, name: &str, written: &str, value: impl Into<Value>) {
        let origin = self.printer.effective.origin(&format!("{}.{name}", self.path)).as_str();
        // Writing to a String cannot fail.
        let _ = writeln!(self.printer.text, "{written} = {}  # {origin}", value.into());
    }

    fn merges(&mut self, merges: Merges) {
        match merges {
            Merges::Always => self.put("merges", true),
            Merges::Never => self.put("merges", false),
            Merges::Verified => self.put("merges", word(&MERGES, &merges)),
        }
    }

    fn size(&mut self, name: &str, bytes: usize) {
        self.put(name, units::size(bytes as u64));
    }
}

/// A name as TOML writes it in a key.
fn quoted(name: &str) -> String {
    let bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { name.to_owned() } else { Value::from(name).to_string() }
}

/// The word that a choice is written with.
pub(super) fn word<T: PartialEq>(choices: &[(&'static str, T)], choice: &T) -> &'static str {
    choices.iter().find(|(_, other)| other == choice).map_or("", |(word, _)| word)
}
