//! Who is one profile, as the engine has it and as it is known from elsewhere.
//!
//! Owns the reading of a truth and its comparison with a store. It knows no rule of identity. The program
//! `spoor-truth` runs it over a whole file, a test over a sample.

use crate::target::wire::read_request;
use spoor::{Engine, Origin, TrackRequest};
use std::collections::{BTreeMap, BTreeSet};

const PEOPLE: &str = include_str!("../data/people-sample.jsonl");
const PEOPLE_TRUTH: &str = include_str!("../data/people-sample.truth.json");

/// Groups of device ids, each one person's.
pub type Partition = BTreeSet<BTreeSet<String>>;

/// Reads `{"profiles": [[device ids of one person], …]}`.
///
/// # Errors
/// What is wrong with it.
pub fn read_truth(text: &str) -> Result<Partition, String> {
    #[derive(serde::Deserialize)]
    struct Truth {
        profiles: Partition,
    }
    let truth: Truth = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(truth.profiles)
}

/// How a store groups these devices: those with one primary id are one person's.
///
/// # Errors
/// Of a device that the store does not know.
pub fn partition_of(engine: &Engine, devices: &[String]) -> Result<Partition, String> {
    let snapshot = engine.snapshot().map_err(|error| error.to_string())?;
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for device in devices {
        let profile = snapshot.profile(device).map_err(|error| format!("{device}: {error:?}"))?;
        groups.entry(profile.primary_id).or_default().insert(device.clone());
    }
    Ok(groups.into_values().collect())
}

/// Requests of people with several devices each, as an import.
///
/// # Panics
/// If the sample was damaged.
#[must_use]
pub fn people() -> Vec<TrackRequest> {
    let request = |line| {
        let request = read_request(line).expect("a request of the sample");
        TrackRequest { origin: Origin::Import, ..request }
    };
    PEOPLE.lines().map(request).collect()
}

/// Who they are.
///
/// # Panics
/// If the sample was damaged.
#[must_use]
pub fn people_truth() -> Partition {
    read_truth(PEOPLE_TRUTH).expect("the truth of the sample")
}
