//! The settings of sources and namespaces in the form in which decisions need them.

use crate::error::Error;
use crate::limits::{INACTIVITY_MAX_MS, INACTIVITY_MIN_MS, NAME_MAX_BYTES};
use crate::settings::{
    DEFAULT_SOURCE, Keys, NamespaceSettings, ProfileIds, Sessions, Settings, SourceSettings, TraitSettings,
};
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Id spaces that settings may not name: they are written before a colon in ids that the server makes.
const RESERVED_SPACES: [&str; 1] = ["implicit"];

/// One source, resolved.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub name: Box<str>,
    /// The name of its id space.
    pub space: Box<str>,
    /// Trusted to bring its own profile ids.
    pub trusted: bool,
    /// Its key can be kept.
    pub secret: bool,
    /// Speaks of many users.
    pub server: bool,
    /// The server makes sessions where none is sent.
    pub by_inactivity: bool,
    /// Silence after which a session ends, in milliseconds.
    pub timeout_ms: u32,
    /// Country of phone numbers without one.
    pub default_country: Option<Box<str>>,
    /// Event types that count as conversions.
    pub conversions: HashSet<Box<str>>,
    /// Event types that count as page views.
    pub page_views: HashSet<Box<str>>,
}

/// All that decisions ask of the settings.
#[derive(Debug)]
pub struct Registry {
    sources: HashMap<Box<str>, Arc<Source>>,
    /// Namespaces by name.
    pub namespaces: BTreeMap<String, NamespaceSettings>,
    /// Traits that need other than the default.
    pub traits: BTreeMap<String, TraitSettings>,
}

impl Registry {
    /// Resolves settings.
    ///
    /// # Errors
    /// [`Error::Settings`] names the key that contradicts another or is out of range.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let mut sources = HashMap::new();
        if settings.sources.is_empty() {
            let source = resolve(DEFAULT_SOURCE, &SourceSettings::default())?;
            sources.insert(source.name.clone(), Arc::new(source));
        }
        for (name, source) in &settings.sources {
            let source = resolve(name, source)?;
            sources.insert(source.name.clone(), Arc::new(source));
        }
        Ok(Self { sources, namespaces: settings.identifiers.clone(), traits: settings.traits.clone() })
    }

    /// The source of that name; without one, the default source if there is one.
    #[must_use]
    pub fn source(&self, name: Option<&str>) -> Option<&Arc<Source>> {
        self.sources.get(name.unwrap_or(DEFAULT_SOURCE))
    }
}

fn refuse<T>(name: &str, key: &str, reason: &str) -> Result<T, Error> {
    Err(Error::Settings { reason: format!("sources.{name}.{key}: {reason}") })
}

fn resolve(name: &str, settings: &SourceSettings) -> Result<Source, Error> {
    let space = settings.ids.as_deref().unwrap_or(name);
    for (key, text) in [("name", name), ("ids", space)] {
        if text.trim().is_empty() || text.trim() != text || text.len() > NAME_MAX_BYTES {
            return refuse(name, key, "must be 1 to 128 bytes without blanks around");
        }
        if text.contains(':') || RESERVED_SPACES.contains(&text) {
            return refuse(name, key, "must not contain a colon or be a reserved word");
        }
    }
    let trusted = settings.profile_ids == ProfileIds::Client;
    if trusted && settings.keys == Keys::Public {
        return refuse(
            name,
            "profile_ids",
            "\"client\" needs keys = \"secret\": whoever has the key could take any profile",
        );
    }
    if settings.server && settings.keys == Keys::Public {
        return refuse(
            name,
            "server",
            "true needs keys = \"secret\": whoever has the key could speak for any user",
        );
    }
    if !(INACTIVITY_MIN_MS..=INACTIVITY_MAX_MS).contains(&settings.inactivity_timeout_ms) {
        return refuse(name, "inactivity_timeout", "must lie between one second and seven days");
    }
    let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    Ok(Source {
        name: name.into(),
        space: space.into(),
        trusted,
        secret: settings.keys == Keys::Secret,
        server: settings.server,
        by_inactivity: settings.sessions == Sessions::Inactivity,
        timeout_ms: u32::try_from(settings.inactivity_timeout_ms).unwrap_or(u32::MAX),
        default_country: settings.default_country.as_deref().map(Into::into),
        conversions: boxed(&settings.conversions),
        page_views: boxed(&settings.page_views),
    })
}
