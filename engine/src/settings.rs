//! What an operator decides. Plain data; `serde` names are those of the TOML file (design: docs/operations.md).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name of the source that a request without one belongs to, where no sources are declared.
pub const DEFAULT_SOURCE: &str = "default";

/// Everything the engine is told when it is opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Sizes and paces of the store.
    pub store: StoreSettings,
    /// The sources by name. Empty means one, [`DEFAULT_SOURCE`].
    pub sources: BTreeMap<String, SourceSettings>,
    /// Namespaces of identifiers. `user_id`, `email` and `phone` exist by default.
    pub identifiers: BTreeMap<String, NamespaceSettings>,
    /// Where identifiers stand in events beside their `identifiers` member.
    pub identification: Vec<IdentificationPoint>,
    /// Kinds and policies of traits, for those that need other than the default.
    pub traits: BTreeMap<String, TraitSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        let namespace = |normalize, priority, unique| NamespaceSettings {
            normalize,
            priority,
            unique,
            ..NamespaceSettings::default()
        };
        Self {
            store: StoreSettings::default(),
            sources: BTreeMap::new(),
            identifiers: BTreeMap::from([
                ("user_id".to_owned(), namespace(Normalizer::Text, 1, true)),
                ("email".to_owned(), namespace(Normalizer::Email, 2, false)),
                ("phone".to_owned(), namespace(Normalizer::Phone, 3, false)),
            ]),
            identification: Vec::new(),
            traits: BTreeMap::new(),
        }
    }
}

/// Sizes and paces of the store, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// Page cache of the index.
    pub cache_bytes: usize,
    /// What changed since the last checkpoint: both generations of the overlay together.
    pub overlay_bytes: usize,
    /// Size of a log segment.
    pub segment_bytes: u64,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { cache_bytes: 256 << 20, overlay_bytes: 192 << 20, segment_bytes: crate::limits::SEGMENT_BYTES }
    }
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceSettings {
    /// Its id space; by default its own name. Sources with one name here share session ids and client-made profile ids.
    pub ids: Option<String>,
    /// Whether its key can be kept.
    pub keys: Keys,
    /// Who makes profile ids. `client` needs secret keys.
    pub profile_ids: ProfileIds,
    /// A backend that speaks of many users: its identifiers name the device.
    pub server: bool,
    /// Who makes session ids.
    pub sessions: Sessions,
    /// After this much silence a session ends, in milliseconds.
    pub inactivity_timeout_ms: i64,
    /// Country of phone numbers without one, ISO 3166-1 alpha-2.
    pub default_country: Option<String>,
    /// Event types that count as conversions.
    pub conversions: Vec<String>,
    /// Event types that count as page views.
    pub page_views: Vec<String>,
    /// Whether what it says may join profiles.
    pub merges: Merges,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            ids: None,
            keys: Keys::Secret,
            profile_ids: ProfileIds::Server,
            server: false,
            sessions: Sessions::Client,
            inactivity_timeout_ms: 30 * 60 * 1_000,
            default_country: None,
            conversions: vec!["purchase".to_owned()],
            page_views: vec!["page-view".to_owned()],
            merges: Merges::Always,
        }
    }
}

/// Whether a source's key can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keys {
    /// Only servers have it.
    Secret,
    /// It is in a browser.
    Public,
}

/// Who makes profile ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileIds {
    /// The server; an id that it did not make is not adopted.
    Server,
    /// The source, which is trusted.
    Client,
}

/// Who makes session ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sessions {
    /// The client; without one every event opens a session of its own.
    Client,
    /// The client where it sends one, and the server, from the gaps between events, where it does not.
    Inactivity,
}

/// Values per profile of a namespace, where nothing is said.
pub const VALUES_PER_PROFILE_DEFAULT: u32 = 20;
/// Fragments per value of a namespace, where nothing is said.
pub const FRAGMENTS_MAX_DEFAULT: u32 = 1_000;

/// One namespace of identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceSettings {
    /// How values are made comparable.
    pub normalize: Normalizer,
    /// Lower goes first.
    pub priority: u32,
    /// One value per profile.
    pub unique: bool,
    /// Values that a profile may have; one more is quarantined. Has no meaning for a unique namespace.
    pub values_per_profile: u32,
    /// Fragments that may carry a value; one more is quarantined, or only warned of where the namespace is unique.
    pub fragments_max: u32,
    /// Whether a match may join profiles.
    pub merges: Merges,
    /// Values that identify nobody, in any form that the normaliser makes the same.
    pub blocked: Vec<String>,
    /// Regular expressions; a normalised value that one of them matches anywhere identifies nobody.
    pub blocked_patterns: Vec<String>,
    /// A link expires so many milliseconds after the latest event time at which it was said; `None`: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_after_ms: Option<u64>,
}

impl Default for NamespaceSettings {
    fn default() -> Self {
        Self {
            normalize: Normalizer::Text,
            priority: 100,
            unique: false,
            values_per_profile: VALUES_PER_PROFILE_DEFAULT,
            fragments_max: FRAGMENTS_MAX_DEFAULT,
            merges: Merges::Always,
            blocked: Vec::new(),
            blocked_patterns: Vec::new(),
            expires_after_ms: None,
        }
    }
}

/// Whether a match may join profiles, or only attach the identifier to each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merges {
    /// It may.
    #[default]
    Always,
    /// Only a verified link may: one from a secret source, or from an identification point that says so.
    Verified,
    /// It may not.
    Never,
}

/// A rule: on an event of this type, these property paths hold identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentificationPoint {
    /// Event type; `*` is any.
    pub event: String,
    /// Source; `*` is any.
    #[serde(default = "any_source")]
    pub source: String,
    /// Namespace to path, such as `properties.contact.email`, `context.user.id` or `traits.email`.
    pub identifiers: BTreeMap<String, String>,
    /// Whether what stands there was verified, such as by signing in.
    #[serde(default)]
    pub verified: bool,
}

fn any_source() -> String {
    "*".to_owned()
}

/// How the values of a namespace are made comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalizer {
    /// Trimmed, lower case, IDNA domain.
    Email,
    /// E.164 with the source's default country.
    Phone,
    /// Trimmed, Unicode NFC.
    Text,
}

/// One trait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraitSettings {
    /// Its kind; without it the first operation gives it.
    pub kind: Option<TraitKind>,
    /// Which of the fragments' values a profile shows.
    pub policy: TraitPolicy,
}

/// What operations a trait takes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, bincode::Encode, bincode::Decode,
)]
#[serde(rename_all = "lowercase")]
pub enum TraitKind {
    /// `set`, `set_once`, `unset`.
    Value,
    /// `add`.
    Counter,
    /// `append`, `remove`.
    Collection,
}

/// Which of the fragments' values a profile shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraitPolicy {
    /// The latest by event time.
    #[default]
    Latest,
    /// The earliest by event time.
    First,
    /// The largest number.
    Max,
    /// The smallest number.
    Min,
    /// True if any is.
    Any,
    /// True if all are.
    All,
}
