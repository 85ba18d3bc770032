//! What holds and whence: built-in defaults, then a TOML file, then the environment, then flags.
//!
//! Owns the names of all settings. Every key that is unknown, of the wrong type or in contradiction with
//! another is an error that names it: a setting that does nothing is worse than a server that does not start.

pub mod origins;
pub mod units;

mod identity;
mod layers;
mod print;
mod webhooks;

use crate::limits;
use identity::{Declared, read_merges, read_namespace, read_points};
use layers::{Layers, Section};
use origins::Origins;
use spoor::limits::{ID_MAX_BYTES, INACTIVITY_MAX_MS, INACTIVITY_MIN_MS, NAME_MAX_BYTES};
use spoor::settings::{
    Keys, Merges, Normalizer, ProfileIds, Sessions, SourceSettings, StoreSettings, TraitKind, TraitPolicy,
    TraitSettings,
};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use layers::Origin;
pub use print::print;
pub use webhooks::WebhookSettings;

/// The key that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// The dotted key, or the environment variable; empty if the file is no TOML or cannot be read.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl SettingsError {
    fn key(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }

    fn file(reason: impl Into<String>) -> Self {
        Self::key("", reason)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "settings: {}", self.reason),
            key => write!(f, "settings: {key}: {}", self.reason),
        }
    }
}

impl std::error::Error for SettingsError {}

/// Everything that a server is told. [`Configuration::default`] is what holds when nothing is said.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// The listener and its bounds.
    pub server: ServerSettings,
    /// The pages of other origins that may send to a source, by its name, where the settings say anything of it.
    pub origins: BTreeMap<String, Origins>,
    /// The data directory.
    pub data_dir: PathBuf,
    /// What the engine is told.
    pub engine: spoor::Settings,
    /// Where changes are posted, by name.
    pub webhooks: BTreeMap<String, WebhookSettings>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            server: ServerSettings::default(),
            origins: BTreeMap::new(),
            data_dir: PathBuf::from("./spoor-data"),
            engine: spoor::Settings::default(),
            webhooks: BTreeMap::new(),
        }
    }
}

/// The listener and its bounds. The defaults are those of [`crate::limits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where to listen; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// What it shows those who connect; without it, connections are not encrypted.
    pub tls: Option<TlsSettings>,
    /// Names beside those of this machine under which it is called, such as by a proxy in front of it.
    pub hosts: Vec<String>,
    /// What the log shows.
    pub log: LogLevel,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Largest body as sent, in bytes.
    pub body_bytes: usize,
    /// Largest body once decompressed, in bytes.
    pub body_decompressed_bytes: usize,
    /// All bodies in memory at once, in bytes.
    pub bodies_bytes: usize,
    /// Largest request line and headers, in bytes.
    pub headers_bytes: usize,
    /// Connections at once.
    pub connections: usize,
    /// Streams at once on one HTTP/2 connection.
    pub streams: u32,
    /// Time to send the headers, in milliseconds.
    pub headers_timeout_ms: u64,
    /// Time to send the body, in milliseconds.
    pub body_timeout_ms: u64,
    /// Time for the answer, in milliseconds.
    pub request_timeout_ms: u64,
    /// A connection without a request for this long is closed, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Time to finish what was accepted, in milliseconds.
    pub shutdown_timeout_ms: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8420),
            tls: None,
            hosts: Vec::new(),
            log: LogLevel::Info,
            log_format: LogFormat::Text,
            body_bytes: limits::BODY_MAX_BYTES,
            body_decompressed_bytes: limits::BODY_DECOMPRESSED_MAX_BYTES,
            bodies_bytes: limits::BODIES_MAX_BYTES,
            headers_bytes: limits::HEADERS_MAX_BYTES,
            connections: limits::CONNECTIONS_MAX,
            streams: limits::STREAMS_MAX,
            headers_timeout_ms: limits::HEADERS_TIMEOUT_MS,
            body_timeout_ms: limits::BODY_TIMEOUT_MS,
            request_timeout_ms: limits::REQUEST_TIMEOUT_MS,
            idle_timeout_ms: limits::IDLE_TIMEOUT_MS,
            shutdown_timeout_ms: limits::SHUTDOWN_TIMEOUT_MS,
        }
    }
}

/// The files of TLS, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate, followed by those between it and an authority.
    pub certificate: PathBuf,
    /// Its private key, without a password.
    pub key: PathBuf,
}

/// What the log shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what stops the server or loses its store.
    Error,
    /// And what an operator should look into.
    Warn,
    /// And starts and stops.
    Info,
    /// And each request: route, status, time taken.
    Debug,
}

const LOG_LEVELS: [(&str, LogLevel); 4] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
];

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for a person.
    Text,
    /// One JSON object a line.
    Json,
}

const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const KEYS: [(&str, Keys); 2] = [("secret", Keys::Secret), ("public", Keys::Public)];
const PROFILE_IDS: [(&str, ProfileIds); 2] = [("server", ProfileIds::Server), ("client", ProfileIds::Client)];
const SESSIONS: [(&str, Sessions); 2] = [("client", Sessions::Client), ("inactivity", Sessions::Inactivity)];
const NORMALIZERS: [(&str, Normalizer); 3] =
    [("email", Normalizer::Email), ("phone", Normalizer::Phone), ("text", Normalizer::Text)];
/// Beside `true` and `false`, which are words in TOML.
const MERGES: [(&str, Merges); 3] =
    [("true", Merges::Always), ("false", Merges::Never), ("verified", Merges::Verified)];
const TRAIT_KINDS: [(&str, TraitKind); 3] =
    [("value", TraitKind::Value), ("counter", TraitKind::Counter), ("collection", TraitKind::Collection)];
const TRAIT_POLICIES: [(&str, TraitPolicy); 6] = [
    ("latest", TraitPolicy::Latest),
    ("first", TraitPolicy::First),
    ("max", TraitPolicy::Max),
    ("min", TraitPolicy::Min),
    ("any", TraitPolicy::Any),
    ("all", TraitPolicy::All),
];

/// What the flags of the command line say; `None` where they say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
}

/// A configuration, and where each key of it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// What holds.
    pub configuration: Configuration,
    origins: BTreeMap<String, Origin>,
}

impl Effective {
    /// Where the value of a dotted key comes from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).copied().unwrap_or(Origin::Default)
    }
}

/// Reads the settings of this process: file, environment, flags.
///
/// # Errors
/// [`SettingsError`] names the first key that is wrong.
pub fn load(flags: &Flags) -> Result<Effective, SettingsError> {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect();
    load_from(flags, &environment)
}

/// [`load`] with an environment of the caller's.
///
/// # Errors
/// As [`load`].
pub fn load_from(flags: &Flags, environment: &[(String, String)]) -> Result<Effective, SettingsError> {
    let mut layers = Layers::default();
    let file = environment.iter().find(|(name, _)| name == CONFIG_VARIABLE).map(|(_, path)| Path::new(path));
    if let Some(path) = flags.config.as_deref().or(file) {
        let text = std::fs::read_to_string(path)
            .map_err(|error| SettingsError::file(format!("{}: {error}", path.display())))?;
        layers.file(&text)?;
    }
    for (variable, value) in environment {
        if let Some((section, name)) = variable_key(variable)? {
            layers.set(section, &name, value, Origin::Environment);
        }
    }
    if let Some(listen) = &flags.listen {
        layers.set("server", "listen", listen, Origin::Flag);
    }
    if let Some(data) = &flags.data {
        let text = data.to_str().ok_or_else(|| SettingsError::key("store.dir", "the path is not UTF-8"))?;
        layers.set("store", "dir", text, Origin::Flag);
    }
    read(layers)
}

/// Names the TOML file, as `--config` does.
const CONFIG_VARIABLE: &str = "SPOOR_CONFIG";

const SERVER_NAMES: [&str; 15] = [
    "listen",
    "hosts",
    "log",
    "log_format",
    "body",
    "body_decompressed",
    "bodies",
    "headers",
    "connections",
    "streams",
    "headers_timeout",
    "body_timeout",
    "request_timeout",
    "idle_timeout",
    "shutdown_timeout",
];
const TLS_NAMES: [&str; 2] = ["certificate", "key"];
const STORE_NAMES: [&str; 4] = ["dir", "cache", "overlay", "segment"];

/// The section and name that an environment variable sets; `None` if it is none of ours.
fn variable_key(variable: &str) -> Result<Option<(&'static str, String)>, SettingsError> {
    for (prefix, section, names) in [
        ("SPOOR_SERVER_TLS_", "server.tls", &TLS_NAMES[..]),
        ("SPOOR_SERVER_", "server", &SERVER_NAMES),
        ("SPOOR_STORE_", "store", &STORE_NAMES),
    ] {
        let Some(name) = variable.strip_prefix(prefix) else { continue };
        let name = name.to_ascii_lowercase();
        if names.contains(&name.as_str()) {
            return Ok(Some((section, name)));
        }
        // Kubernetes sets such variables for a service that is called `spoor-server` or `spoor-store`.
        if name == "port" || name.starts_with("port_") || name.starts_with("service_") {
            return Ok(None);
        }
        return Err(SettingsError::key(variable, format!("there is no setting {section}.{name}")));
    }
    Ok(None)
}

fn read(mut layers: Layers) -> Result<Effective, SettingsError> {
    let server = read_server(layers.section("server")?)?;
    let mut configuration = Configuration { server, ..Configuration::default() };
    let engine = &mut configuration.engine;
    let mut store = layers.section("store")?;
    if let Some(dir) = store.text("dir")? {
        if dir.trim().is_empty() {
            return Err(SettingsError::key("store.dir", "it must name a directory"));
        }
        configuration.data_dir = PathBuf::from(dir);
    }
    put(&mut engine.store.cache_bytes, store.size("cache")?);
    put(&mut engine.store.overlay_bytes, store.size("overlay")?);
    put(&mut engine.store.segment_bytes, store.size("segment")?);
    store.finish()?;
    check_store(&engine.store)?;
    for (name, mut section) in layers.section("sources")?.sections()? {
        named("sources", &name, ID_MAX_BYTES)?;
        if let Some(origins) = origins::read(&mut section)? {
            configuration.origins.insert(name.clone(), origins);
        }
        engine.sources.insert(name, read_source(section)?);
    }
    for (name, section) in layers.section("identifiers")?.sections()? {
        let before = engine.identifiers.remove(&name);
        let namespace = read_namespace(section, &name, before)?;
        engine.identifiers.insert(name, namespace);
    }
    for (name, section) in layers.section("traits")?.sections()? {
        named("traits", &name, NAME_MAX_BYTES)?;
        engine.traits.insert(name, read_trait(section)?);
    }
    engine.identification = read_points(layers.sections("identification")?, &Declared { settings: engine })?;
    for (name, section) in layers.section("webhooks")?.sections()? {
        let webhook = webhooks::read_webhook(section, &name)?;
        configuration.webhooks.insert(name, webhook);
    }
    match layers.table.keys().next() {
        Some(key) => Err(SettingsError::key(key, "unknown key")),
        None => Ok(Effective { configuration, origins: layers.origins }),
    }
}

fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn named(section: &str, name: &str, most: usize) -> Result<(), SettingsError> {
    if name.trim().is_empty() || name.trim() != name || name.len() > most {
        let reason = format!("the name must be 1 to {most} bytes without blanks around it");
        return Err(SettingsError::key(format!("{section}.\"{name}\""), reason));
    }
    Ok(())
}

fn read_server(mut section: Section) -> Result<ServerSettings, SettingsError> {
    let mut server = ServerSettings::default();
    let key = section.key("listen");
    if let Some(text) = section.text("listen")? {
        server.listen = parse_address(&text)
            .ok_or_else(|| SettingsError::key(key, format!("{text} is no address such as 127.0.0.1:8420")))?;
    }
    server.tls = read_tls(section.section("tls")?)?;
    put(&mut server.hosts, section.words("hosts")?);
    put(&mut server.log, section.choice("log", &LOG_LEVELS)?);
    put(&mut server.log_format, section.choice("log_format", &LOG_FORMATS)?);
    put(&mut server.body_bytes, section.size("body")?);
    put(&mut server.body_decompressed_bytes, section.size("body_decompressed")?);
    put(&mut server.bodies_bytes, section.size("bodies")?);
    put(&mut server.headers_bytes, section.size("headers")?);
    put(&mut server.connections, section.number("connections")?);
    put(&mut server.streams, section.number("streams")?);
    put(&mut server.headers_timeout_ms, section.duration("headers_timeout")?);
    put(&mut server.body_timeout_ms, section.duration("body_timeout")?);
    put(&mut server.request_timeout_ms, section.duration("request_timeout")?);
    put(&mut server.idle_timeout_ms, section.duration("idle_timeout")?);
    put(&mut server.shutdown_timeout_ms, section.duration("shutdown_timeout")?);
    section.finish()?;
    check_server(&server)?;
    Ok(server)
}

/// Both files, or none.
fn read_tls(mut section: Section) -> Result<Option<TlsSettings>, SettingsError> {
    let mut file = |name: &str| match section.text(name)? {
        Some(path) if path.trim().is_empty() => {
            Err(SettingsError::key(section.key(name), "it must name a file"))
        }
        path => Ok(path.map(PathBuf::from)),
    };
    let files = (file("certificate")?, file("key")?);
    let missing = |name: &str| Err(SettingsError::key(section.key(name), "needed beside the other one"));
    let tls = match files {
        (Some(certificate), Some(key)) => Some(TlsSettings { certificate, key }),
        (None, None) => None,
        (None, Some(_)) => return missing("certificate"),
        (Some(_), None) => return missing("key"),
    };
    section.finish()?;
    Ok(tls)
}

fn parse_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?)),
        None => text.parse().ok(),
    }
}

fn check_server(server: &ServerSettings) -> Result<(), SettingsError> {
    let rules = [
        (
            server.hosts.iter().any(|host| host.is_empty() || host.contains([':', '/', ' ', '*'])),
            "server.hosts",
            "names are expected, such as \"spoor.shop.example\", without scheme and port",
        ),
        (server.body_bytes == 0, "server.body", "must be more than nothing"),
        (
            server.body_decompressed_bytes < server.body_bytes,
            "server.body_decompressed",
            "must not be less than server.body",
        ),
        (
            server.bodies_bytes < server.body_bytes.saturating_add(server.body_decompressed_bytes),
            "server.bodies",
            "must hold at least one body: server.body and server.body_decompressed together",
        ),
        (server.headers_bytes < limits::HEADERS_MIN_BYTES, "server.headers", "must be 8KiB or more"),
        (server.connections == 0, "server.connections", "must be 1 or more"),
        (server.connections > CONNECTIONS_LIMIT, "server.connections", "must be 1000000 or less"),
        (server.streams == 0, "server.streams", "must be 1 or more"),
        (server.headers_timeout_ms == 0, "server.headers_timeout", "must be more than nothing"),
        (server.body_timeout_ms == 0, "server.body_timeout", "must be more than nothing"),
        (server.request_timeout_ms == 0, "server.request_timeout", "must be more than nothing"),
        (server.idle_timeout_ms == 0, "server.idle_timeout", "must be more than nothing"),
        (server.headers_timeout_ms > TIMEOUT_LIMIT_MS, "server.headers_timeout", TIMEOUT_TOO_LONG),
        (server.body_timeout_ms > TIMEOUT_LIMIT_MS, "server.body_timeout", TIMEOUT_TOO_LONG),
        (server.request_timeout_ms > TIMEOUT_LIMIT_MS, "server.request_timeout", TIMEOUT_TOO_LONG),
        (server.idle_timeout_ms > TIMEOUT_LIMIT_MS, "server.idle_timeout", TIMEOUT_TOO_LONG),
        (server.shutdown_timeout_ms > TIMEOUT_LIMIT_MS, "server.shutdown_timeout", TIMEOUT_TOO_LONG),
    ];
    match rules.into_iter().find(|(broken, ..)| *broken) {
        Some((_, key, reason)) => Err(SettingsError::key(key, reason)),
        None => Ok(()),
    }
}

fn check_store(store: &StoreSettings) -> Result<(), SettingsError> {
    let rules = [
        (store.cache_bytes == 0, "store.cache", "must be more than nothing"),
        (store.overlay_bytes < OVERLAY_MIN_BYTES, "store.overlay", "must be 128KiB or more"),
        (store.segment_bytes < SEGMENT_MIN_BYTES, "store.segment", "must be 64KiB or more"),
    ];
    match rules.into_iter().find(|(broken, ..)| *broken) {
        Some((_, key, reason)) => Err(SettingsError::key(key, reason)),
        None => Ok(()),
    }
}

/// Two generations of the smallest size that the engine makes.
const OVERLAY_MIN_BYTES: usize = 2 * spoor::limits::GENERATION_MIN_BYTES;

/// A segment is a file of its own, and the next one is there before it is needed.
const SEGMENT_MIN_BYTES: u64 = 64 << 10;

/// Whoever writes more means something else, such as no limit at all.
const TIMEOUT_LIMIT_MS: u64 = 7 * 86_400_000;

/// Far above what a process may have open, and below what a semaphore can count.
const CONNECTIONS_LIMIT: usize = 1_000_000;

const TIMEOUT_TOO_LONG: &str = "must be 7d or less";

fn read_source(mut section: Section) -> Result<SourceSettings, SettingsError> {
    let mut source = SourceSettings { ids: section.text("ids")?, ..SourceSettings::default() };
    put(&mut source.keys, section.choice("keys", &KEYS)?);
    put(&mut source.profile_ids, section.choice("profile_ids", &PROFILE_IDS)?);
    put(&mut source.server, section.flag("server")?);
    put(&mut source.sessions, section.choice("sessions", &SESSIONS)?);
    put(&mut source.inactivity_timeout_ms, section.duration("inactivity_timeout")?);
    source.default_country = section.text("default_country")?;
    put(&mut source.conversions, section.texts("conversions")?);
    put(&mut source.page_views, section.texts("page_views")?);
    put(&mut source.merges, read_merges(&mut section)?);
    check_source(&section, &source)?;
    section.finish()?;
    Ok(source)
}

fn check_source(section: &Section, source: &SourceSettings) -> Result<(), SettingsError> {
    let public = source.keys == Keys::Public;
    let country = source.default_country.as_deref();
    let rules = [
        (
            public && source.profile_ids == ProfileIds::Client,
            "profile_ids",
            "\"client\" contradicts keys = \"public\": whoever has the key of a browser could name any profile",
        ),
        (
            public && source.server,
            "server",
            "true contradicts keys = \"public\": a backend's key is not in a browser",
        ),
        (
            !(INACTIVITY_MIN_MS..=INACTIVITY_MAX_MS).contains(&source.inactivity_timeout_ms),
            "inactivity_timeout",
            "must be from 1s to 7d",
        ),
        (
            country.is_some_and(|code| code.len() != 2 || !code.bytes().all(|b| b.is_ascii_uppercase())),
            "default_country",
            "two capital letters (ISO 3166-1) are expected, such as \"AU\"",
        ),
        (
            country.is_some_and(|code| !spoor::core::normalize::has_numbers(code)),
            "default_country",
            "no country with telephone numbers of its own has this code (ISO 3166-1)",
        ),
        (
            source.ids.as_deref().is_some_and(|ids| ids.trim().is_empty() || ids.len() > ID_MAX_BYTES),
            "ids",
            "the name of an id space must be 1 to 128 bytes",
        ),
    ];
    match rules.into_iter().find(|(broken, ..)| *broken) {
        Some((_, name, reason)) => Err(SettingsError::key(section.key(name), reason)),
        None => Ok(()),
    }
}

fn read_trait(mut section: Section) -> Result<TraitSettings, SettingsError> {
    let mut setting =
        TraitSettings { kind: section.choice("kind", &TRAIT_KINDS)?, ..TraitSettings::default() };
    put(&mut setting.policy, section.choice("policy", &TRAIT_POLICIES)?);
    let is_value = matches!(setting.kind, None | Some(TraitKind::Value));
    if !is_value && setting.policy != TraitPolicy::Latest {
        let reason = "chooses among values; counters are summed and collections united";
        return Err(SettingsError::key(section.key("policy"), reason));
    }
    section.finish()?;
    Ok(setting)
}
