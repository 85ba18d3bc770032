//! The settings of sources and namespaces in the form in which decisions need them.

use super::normalize::normalize;
use crate::error::Error;
use crate::limits::{
    EXPIRY_MAX_MS, EXPIRY_MIN_MS, IDENTIFICATION_MAX_POINTS, INACTIVITY_MAX_MS, INACTIVITY_MIN_MS,
    NAME_MAX_BYTES, VALUES_PER_PROFILE_MAX,
};
use crate::request::TrackRequest;
use crate::settings::{
    DEFAULT_SOURCE, IdentificationPoint, Keys, Merges, NamespaceSettings, Normalizer, ProfileIds, Sessions,
    Settings, SourceSettings, TraitSettings,
};
use crate::time::Timestamp;
use hashbrown::{HashMap, HashSet};
use regex::RegexSet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Id spaces that settings may not name: they are written before a colon in ids that the server makes.
const RESERVED_SPACES: [&str; 1] = ["implicit"];

/// One source, resolved.
#[derive(Debug, Clone)]
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
    /// Whether what it says may join profiles.
    pub merges: Merges,
}

impl Source {
    /// The same source where a client library of another service speaks for it; see
    /// [`crate::Origin::is_library`]. Whoever has a public key may name a device that way, and no user: a user's
    /// device of a backend is not a browser's to write to.
    fn of_libraries(&self) -> Self {
        Self { trusted: true, server: self.secret, by_inactivity: true, ..self.clone() }
    }

    /// The source of what a person does.
    #[must_use]
    pub fn of_an_act() -> Self {
        Self {
            name: "".into(),
            space: "".into(),
            // So that an act settles no device: nobody has sent its id.
            trusted: true,
            secret: true,
            server: false,
            by_inactivity: false,
            timeout_ms: 0,
            default_country: None,
            conversions: HashSet::new(),
            page_views: HashSet::new(),
            merges: Merges::Always,
        }
    }
}

/// One namespace of identifiers, resolved.
#[derive(Debug)]
pub struct Namespace {
    /// How values are made comparable.
    pub normalize: Normalizer,
    /// Lower goes first.
    pub priority: u32,
    /// One value per profile.
    pub unique: bool,
    /// Values that a profile may have.
    pub values_per_profile: usize,
    /// Fragments that may carry a value.
    pub fragments_max: u64,
    /// Whether a match may join profiles.
    pub merges: Merges,
    /// Normalised values that identify nobody.
    pub blocked: HashSet<Box<str>>,
    /// Patterns of such values.
    pub blocked_patterns: RegexSet,
    /// Milliseconds after which a link expires that was not said again; `None`: never.
    pub expires_after_ms: Option<i64>,
}

impl Namespace {
    /// Whether a link that was said last at an event time of `last_seen` has expired at `now`.
    #[must_use]
    pub fn has_expired(&self, last_seen: Timestamp, now: Timestamp) -> bool {
        self.expires_after_ms.is_some_and(|after| last_seen.millis().saturating_add(after) <= now.millis())
    }
}

/// All that decisions ask of the settings.
#[derive(Debug)]
pub struct Registry {
    sources: HashMap<Box<str>, Arc<Source>>,
    /// The same, for requests of client libraries.
    of_libraries: HashMap<Box<str>, Arc<Source>>,
    /// Namespaces by name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Traits that need other than the default.
    pub traits: BTreeMap<String, TraitSettings>,
    points: Vec<IdentificationPoint>,
    /// What of the settings decides who is who, as JSON, and its hash: a change of it is recorded.
    pub rules: (Box<str>, u64),
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
        let of_libraries =
            sources.iter().map(|(name, source)| (name.clone(), Arc::new(source.of_libraries()))).collect();
        let mut namespaces = BTreeMap::new();
        for (name, namespace) in &settings.identifiers {
            namespaces.insert(name.clone(), resolve_namespace(name, namespace)?);
        }
        check_points(settings, &namespaces)?;
        let points = settings.identification.clone();
        let rules = rules_of(settings);
        let hash = rules_hash(&rules);
        let rules = (rules.into(), hash);
        Ok(Self { sources, of_libraries, namespaces, traits: settings.traits.clone(), points, rules })
    }

    /// The identification points for an event type of a source.
    pub fn points_of<'a>(
        &'a self,
        event_type: &'a str,
        source: &'a str,
    ) -> impl Iterator<Item = &'a IdentificationPoint> + 'a {
        let is = |pattern: &str, name: &str| pattern == "*" || pattern == name;
        self.points.iter().filter(move |point| is(&point.event, event_type) && is(&point.source, source))
    }

    /// The shortest time after which links of some namespace expire; `None` if none ever do.
    #[must_use]
    pub fn expires_soonest_ms(&self) -> Option<i64> {
        self.namespaces.values().filter_map(|namespace| namespace.expires_after_ms).min()
    }

    /// The source of that name; without one, the default source if there is one.
    #[must_use]
    pub fn source(&self, name: Option<&str>) -> Option<&Arc<Source>> {
        self.sources.get(name.unwrap_or(DEFAULT_SOURCE))
    }

    /// The source of a request, as it is for who sent it.
    #[must_use]
    pub fn source_of(&self, request: &TrackRequest) -> Option<&Arc<Source>> {
        let name = request.source.as_deref();
        if request.origin.is_library() {
            return self.of_libraries.get(name.unwrap_or(DEFAULT_SOURCE));
        }
        self.source(name)
    }
}

/// What of the settings decides who is who, as JSON; empty if it is what holds when nothing is said.
fn rules_of(settings: &Settings) -> String {
    let differs = |source: &&SourceSettings| {
        source.merges != Merges::Always || source.default_country.is_some() || source.keys != Keys::Secret
    };
    let sources: BTreeMap<&String, _> = settings
        .sources
        .iter()
        .filter(|(_, source)| differs(source))
        .map(|(name, source)| (name, (source.keys, source.merges, &source.default_country)))
        .collect();
    let nothing_said = Settings::default();
    if sources.is_empty()
        && settings.identifiers == nothing_said.identifiers
        && settings.identification == nothing_said.identification
    {
        return String::new();
    }
    let rules = serde_json::json!({
        "identifiers": settings.identifiers,
        "identification": settings.identification,
        "sources": sources,
    });
    rules.to_string()
}

/// By which rules are compared; 0 for those that hold when nothing is said.
#[must_use]
pub fn rules_hash(rules: &str) -> u64 {
    if rules.is_empty() { 0 } else { xxhash_rust::xxh3::xxh3_64(rules.as_bytes()) }
}

fn refuse<T>(name: &str, key: &str, reason: &str) -> Result<T, Error> {
    Err(Error::Settings { reason: format!("sources.{name}.{key}: {reason}") })
}

fn refuse_namespace<T>(name: &str, key: &str, reason: impl Into<String>) -> Result<T, Error> {
    Err(Error::Settings { reason: format!("identifiers.{name}.{key}: {}", reason.into()) })
}

fn resolve_namespace(name: &str, settings: &NamespaceSettings) -> Result<Namespace, Error> {
    if name.trim().is_empty() || name.trim() != name || name.len() > NAME_MAX_BYTES || name.contains(':') {
        return refuse_namespace(
            name,
            "name",
            "must be 1 to 128 bytes without blanks around and without a colon",
        );
    }
    if settings.values_per_profile == 0 || settings.values_per_profile > VALUES_PER_PROFILE_MAX {
        return refuse_namespace(
            name,
            "values_per_profile",
            format!("must be from 1 to {VALUES_PER_PROFILE_MAX}"),
        );
    }
    if settings.fragments_max == 0 {
        return refuse_namespace(name, "fragments_max", "must be at least 1");
    }
    if settings.expires_after_ms.is_some_and(|after| !(EXPIRY_MIN_MS..=EXPIRY_MAX_MS).contains(&after)) {
        return refuse_namespace(name, "expires_after", "must lie between one second and 36,500 days");
    }
    let blocked_patterns = match RegexSet::new(&settings.blocked_patterns) {
        Ok(patterns) => patterns,
        Err(fault) => return refuse_namespace(name, "blocked_patterns", fault.to_string()),
    };
    // A value may be written in any way that the normaliser understands; a number as people dial it at home is not
    // one of them, since namespaces have no country.
    let blocked = settings.blocked.iter().flat_map(|value| {
        let normal = normalize(settings.normalize, value, None).ok().map(Into::into);
        [Some(value.trim().into()), normal].into_iter().flatten()
    });
    Ok(Namespace {
        normalize: settings.normalize,
        priority: settings.priority,
        unique: settings.unique,
        values_per_profile: usize::try_from(settings.values_per_profile).unwrap_or(usize::MAX),
        fragments_max: u64::from(settings.fragments_max),
        merges: settings.merges,
        blocked: blocked.collect(),
        blocked_patterns,
        expires_after_ms: settings.expires_after_ms.map(|after| i64::try_from(after).unwrap_or(i64::MAX)),
    })
}

fn check_points(settings: &Settings, namespaces: &BTreeMap<String, Namespace>) -> Result<(), Error> {
    let refuse = |place: usize, key: &str, reason: &str| {
        Err(Error::Settings { reason: format!("identification[{place}].{key}: {reason}") })
    };
    if settings.identification.len() > IDENTIFICATION_MAX_POINTS {
        return refuse(IDENTIFICATION_MAX_POINTS, "event", "there are too many points");
    }
    for (place, point) in settings.identification.iter().enumerate() {
        let declared = settings.sources.contains_key(&point.source)
            || point.source == "*"
            || (settings.sources.is_empty() && point.source == DEFAULT_SOURCE);
        if !declared {
            return refuse(place, "source", "no source has this name");
        }
        if point.event.trim().is_empty() || point.identifiers.is_empty() {
            return refuse(place, "event", "an event type and at least one path are needed");
        }
        for (namespace, path) in &point.identifiers {
            if !namespaces.contains_key(namespace) {
                return refuse(place, &format!("identifiers.{namespace}"), "no namespace has this name");
            }
            let begins = ["properties.", "context.", "traits."]
                .iter()
                .any(|root| path.strip_prefix(root).is_some_and(|rest| !rest.is_empty()));
            if !begins {
                let reason = "a path begins with properties., context. or traits.";
                return refuse(place, &format!("identifiers.{namespace}"), reason);
            }
        }
    }
    Ok(())
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
        merges: settings.merges,
    })
}
