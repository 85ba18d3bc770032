//! User agents that were recognised before, so that a busy store parses each once.

use super::agent::parse_agent;
use super::truncated;
use crate::limits::{AGENT_CACHE_MAX_ITEMS, USER_AGENT_MAX_BYTES};
use hashbrown::HashMap;
use parking_lot::RwLock;
use std::sync::Arc;

/// A bounded memory, shared by all callers. A full half of recent ones takes the place of the half before, so
/// a flood of made-up user agents costs time and no more memory than the bound.
#[derive(Debug, Default)]
pub struct Agents {
    halves: RwLock<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    recent: HashMap<Box<str>, Arc<str>>,
    before: HashMap<Box<str>, Arc<str>>,
}

impl Agents {
    /// Device class, operating system and browser, parted by line feeds; empty where unknown.
    pub fn packed(&self, user_agent: &str) -> Arc<str> {
        let key = truncated(user_agent.trim(), USER_AGENT_MAX_BYTES);
        if let Some(known) = self.known(key) {
            return known;
        }
        let agent = parse_agent(key);
        let field = |text: &Option<String>| text.as_deref().unwrap_or("").replace('\n', " ");
        let packed = format!("{}\n{}\n{}", agent.device.as_str(), field(&agent.os), field(&agent.browser));
        let packed: Arc<str> = Arc::from(packed);
        let mut halves = self.halves.write();
        if halves.recent.len() >= AGENT_CACHE_MAX_ITEMS / 2 {
            halves.before = std::mem::take(&mut halves.recent);
        }
        halves.recent.insert(key.into(), Arc::clone(&packed));
        packed
    }

    fn known(&self, key: &str) -> Option<Arc<str>> {
        let halves = self.halves.read();
        halves.recent.get(key).or_else(|| halves.before.get(key)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_same_again_and_stays_within_its_bound() {
        let agents = Agents::default();
        let curl = agents.packed(" curl/8.5.0 ");
        assert_eq!(curl.split('\n').count(), 3);
        for number in 0..2 * AGENT_CACHE_MAX_ITEMS {
            agents.packed(&format!("an unknown client {number}"));
            assert_eq!(agents.packed("curl/8.5.0"), curl);
            let halves = agents.halves.read();
            assert!(halves.recent.len() + halves.before.len() <= AGENT_CACHE_MAX_ITEMS);
        }
    }
}
