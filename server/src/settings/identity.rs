//! What the settings say of identifiers: `[identifiers.NAME]` and `[[identification]]`.
//!
//! The engine checks the same once more, for those who embed it; here each fault is named by its key before anything
//! is opened.

use super::layers::Section;
use super::print::word;
use super::{MERGES, NORMALIZERS, SettingsError, named, put};
use regex::Regex;
use spoor::core::normalize::{UNLINKABLE, normalize};
use spoor::limits::{
    EXPIRY_MAX_MS, EXPIRY_MIN_MS, IDENTIFICATION_MAX_POINTS, NAME_MAX_BYTES, VALUES_PER_PROFILE_MAX,
};
use spoor::settings::{DEFAULT_SOURCE, IdentificationPoint, Merges, NamespaceSettings};
use std::collections::BTreeMap;

/// Where a path of an identification point may begin.
const ROOTS: [&str; 3] = ["properties.", "context.", "traits."];
const ANY: &str = "*";

/// `before` is what holds for a namespace that exists by default.
pub(super) fn read_namespace(
    mut section: Section,
    name: &str,
    before: Option<NamespaceSettings>,
) -> Result<NamespaceSettings, SettingsError> {
    named("identifiers", name, NAME_MAX_BYTES)?;
    if name.contains(':') {
        let reason = "the name must not contain a colon, which ends it where an identifier is written";
        return Err(SettingsError::key(format!("identifiers.\"{name}\""), reason));
    }
    let mut namespace = before.unwrap_or_default();
    put(&mut namespace.normalize, section.choice("normalize", &NORMALIZERS)?);
    put(&mut namespace.priority, section.number("priority")?);
    put(&mut namespace.unique, section.flag("unique")?);
    put(&mut namespace.values_per_profile, section.number("values_per_profile")?);
    put(&mut namespace.fragments_max, section.number("fragments_max")?);
    put(&mut namespace.merges, read_merges(&mut section)?);
    put(&mut namespace.blocked, section.texts("blocked")?);
    put(&mut namespace.blocked_patterns, section.texts("blocked_patterns")?);
    put(&mut namespace.expires_after_ms, section.duration("expires_after")?.map(Some));
    check_namespace(&section, &namespace)?;
    section.finish()?;
    Ok(namespace)
}

/// `true`, `false` or `"verified"`.
pub(super) fn read_merges(section: &mut Section) -> Result<Option<Merges>, SettingsError> {
    section.flag_or_word("merges", &MERGES)
}

fn check_namespace(section: &Section, namespace: &NamespaceSettings) -> Result<(), SettingsError> {
    let refuse = |name: &str, reason: String| Err(SettingsError::key(section.key(name), reason));
    if !(1..=VALUES_PER_PROFILE_MAX).contains(&namespace.values_per_profile) {
        return refuse("values_per_profile", format!("must be from 1 to {VALUES_PER_PROFILE_MAX}"));
    }
    if namespace.fragments_max == 0 {
        return refuse("fragments_max", "must be 1 or more".to_owned());
    }
    if namespace.expires_after_ms.is_some_and(|after| !(EXPIRY_MIN_MS..=EXPIRY_MAX_MS).contains(&after)) {
        return refuse("expires_after", "must lie between one second and 36500 days".to_owned());
    }
    if namespace.blocked.iter().any(|value| value.trim().is_empty()) {
        return refuse("blocked", "an empty value identifies nobody anyway".to_owned());
    }
    for value in &namespace.blocked {
        if normalize(namespace.normalize, value, None) == Err(UNLINKABLE) {
            let what = word(&NORMALIZERS, &namespace.normalize);
            let reason = format!("{value:?} blocks nothing: it cannot be read as {what} without a country");
            return refuse("blocked", reason);
        }
    }
    for pattern in &namespace.blocked_patterns {
        if let Err(error) = Regex::new(pattern) {
            let text = error.to_string();
            let cause = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            return refuse("blocked_patterns", format!("{pattern:?} is no regular expression: {cause}"));
        }
    }
    Ok(())
}

/// The names that an identification point may use.
pub(super) struct Declared<'a> {
    pub(super) settings: &'a spoor::Settings,
}

impl Declared<'_> {
    fn has_source(&self, name: &str) -> bool {
        let sources = &self.settings.sources;
        name == ANY || sources.contains_key(name) || (sources.is_empty() && name == DEFAULT_SOURCE)
    }
}

/// Reads all identification points.
pub(super) fn read_points(
    sections: Vec<Section>,
    declared: &Declared<'_>,
) -> Result<Vec<IdentificationPoint>, SettingsError> {
    if sections.len() > IDENTIFICATION_MAX_POINTS {
        let reason = format!("at most {IDENTIFICATION_MAX_POINTS} entries are read");
        return Err(SettingsError::key("identification", reason));
    }
    sections.into_iter().map(|section| read_point(section, declared)).collect()
}

fn read_point(mut section: Section, declared: &Declared<'_>) -> Result<IdentificationPoint, SettingsError> {
    let event = section.text("event")?.unwrap_or_default();
    if event.trim().is_empty() || event.trim() != event || event.len() > NAME_MAX_BYTES {
        let reason = format!("an event type of 1 to {NAME_MAX_BYTES} bytes is needed, or \"*\" for any");
        return Err(SettingsError::key(section.key("event"), reason));
    }
    let source = section.text("source")?.unwrap_or_else(|| ANY.to_owned());
    if !declared.has_source(&source) {
        let reason = format!("no source {source:?} is declared; \"*\" is any");
        return Err(SettingsError::key(section.key("source"), reason));
    }
    let verified = section.flag("verified")?.unwrap_or_default();
    let identifiers = read_paths(section.section("identifiers")?, declared)?;
    section.finish()?;
    Ok(IdentificationPoint { event, source, identifiers, verified })
}

fn read_paths(
    mut section: Section,
    declared: &Declared<'_>,
) -> Result<BTreeMap<String, String>, SettingsError> {
    let mut paths = BTreeMap::new();
    for namespace in section.names() {
        let key = section.key(&namespace);
        let path = section.text(&namespace)?.unwrap_or_default();
        if !declared.settings.identifiers.contains_key(&namespace) {
            return Err(SettingsError::key(key, format!("no namespace {namespace:?} is declared")));
        }
        let rooted = ROOTS.iter().any(|root| path.strip_prefix(root).is_some_and(is_path));
        if !rooted {
            let reason = format!(
                "a path such as properties.email is expected, this is {path:?}: it begins with \
                 properties, context or traits"
            );
            return Err(SettingsError::key(key, reason));
        }
        paths.insert(namespace, path);
    }
    if paths.is_empty() {
        let reason = "at least one namespace and its path are needed";
        return Err(SettingsError::key(section.key(""), reason));
    }
    Ok(paths)
}

fn is_path(rest: &str) -> bool {
    rest.split('.').all(|name| !name.is_empty())
}
