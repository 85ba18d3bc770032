//! The sample of a web shop's traffic: see `data/README.md`.

use crate::target::wire::read_request;
use spoor::settings::{NamespaceSettings, ProfileIds, SourceSettings};
use spoor::{Origin, Settings, TrackRequest};

const SAMPLE: &str = include_str!("../data/shop-sample.jsonl");

/// The requests of the sample, in order, as an import.
///
/// # Panics
/// If the sample was damaged.
#[must_use]
pub fn requests() -> Vec<TrackRequest> {
    let request = |line| {
        let request = read_request(line).expect("a request of the sample");
        TrackRequest { origin: Origin::Import, ..request }
    };
    SAMPLE.lines().map(request).collect()
}

/// The settings that the sample needs: its one source brings its own profile ids, and its people have numbers.
#[must_use]
pub fn settings() -> Settings {
    let shop = SourceSettings {
        profile_ids: ProfileIds::Client,
        default_country: Some("AU".to_owned()),
        ..SourceSettings::default()
    };
    let mut settings = Settings { sources: [("shop".to_owned(), shop)].into(), ..Settings::default() };
    let number = NamespaceSettings { priority: 4, ..NamespaceSettings::default() };
    settings.identifiers.insert("ssn".to_owned(), number);
    settings
}

/// The device ids of the sample, each once.
#[must_use]
pub fn devices() -> Vec<String> {
    let mut devices: Vec<String> = requests().into_iter().filter_map(|request| request.profile).collect();
    devices.sort();
    devices.dedup();
    devices
}

/// The session ids of the sample, each once.
#[must_use]
pub fn sessions() -> Vec<String> {
    let mut sessions: Vec<String> = requests().into_iter().filter_map(|request| request.session).collect();
    sessions.sort();
    sessions.dedup();
    sessions
}
