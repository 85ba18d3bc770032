//! Random histories: two targets must answer every step alike.
//!
//! `SPOOR_HISTORIES` says how many (12), `SPOOR_HISTORY_REQUESTS` how long each is (60), `SPOOR_HISTORY_SEED` where
//! to begin (1).
#![expect(clippy::panic, clippy::expect_used, reason = "a test: a panic is its report")]

use spoor::model::{
    AsOf, BlockedValue, CheckReport, Explanation, HistoryEntry, Link, Page, PageRequest, Profile,
    QuarantinedLink, ReadError, Session, StoredEvent,
};
use spoor::{Act, ActError, ActReply, Rejection, Reply, Settings, Timestamp, TrackRequest};
use spoor_tests::history::{difference, history, settings, shortened};
use spoor_tests::scenario::Player;
use spoor_tests::target::{Embedded, Maker, Naive, Need, Target};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn compare(makers: [Maker; 2]) {
    let begin = number("SPOOR_HISTORY_SEED", 1);
    let requests = usize::try_from(number("SPOOR_HISTORY_REQUESTS", 60)).expect("a size");
    for seed in begin..begin + number("SPOOR_HISTORIES", 12) {
        let steps = history(seed, requests);
        if difference(&steps, &settings(), makers).is_some() {
            panic!("seed {seed}:\n{}", shortened(steps, &settings(), makers));
        }
    }
}

#[test]
fn the_engine_answers_like_the_model() {
    compare([Embedded::make, Naive::make]);
}

/// A history that never meets a rule says nothing about it.
#[test]
fn histories_meet_every_rule() {
    let mut seen = String::new();
    for seed in 1..=36 {
        let mut player = Player::new(Naive::make, &settings());
        for step in history(seed, 100) {
            seen += &player.step(&step);
            seen.push('\n');
        }
    }
    for word in [
        " created",
        " sent",
        " sent new",
        " recovered",
        " session_owner",
        "warning profile_unknown",
        "warning profile_mismatch",
        "warning session_shared",
        "warning clock_corrected",
        "  warning time_clamped",
        "  warning event_id_reused",
        "trait_kind",
        "trait_number",
        "profile_less",
        " duplicate ",
        " ended ",
        " shared",
        "profile none",
        "value ",
        "utm ",
        "consent marketing refused",
        "consent marketing granted",
        "trait counter-0 ",
        "trait collection-0 [",
        "ids P",
        " attached",
        " known",
        " merged m#",
        " switched ",
        "refused unique_conflict",
        "refused two_values",
        "refused kept_apart",
        "refused cut",
        "refused blocked",
        "refused junk",
        "refused unknown_namespace",
        "attached attach_only",
        "attached unverified",
        "quarantined values_per_profile",
        "quarantined fragments_max",
        "warning fragments_max",
        "warning profile_switched",
        "conflict merge_undone",
        "conflict same_profile",
        "conflict quarantine_decided",
        "conflict not_blocked",
        "removed ",
        "added ",
        " hand ",
        " device ",
        " session joined",
        "chain ",
        "cut identifiers",
        "preview",
    ] {
        assert!(seen.contains(word), "no history met {word:?}");
    }
    let joined = seen.lines().any(|line| line.contains(" ids ") && line.split(' ').count() > 6);
    assert!(joined, "no history joined two devices");
}

/// A target with a fault: it loses the `unset`s of requests that come with a profile id.
struct Forgetful(Box<dyn Target>);

impl Forgetful {
    fn make(settings: &Settings, now: Timestamp) -> Box<dyn Target> {
        Box::new(Self(Naive::make(settings, now)))
    }
}

impl Target for Forgetful {
    fn name(&self) -> &'static str {
        "forgetful"
    }
    fn lacks(&self, need: Need) -> bool {
        self.0.lacks(need)
    }
    fn track(&mut self, request: &TrackRequest) -> Result<Reply, Rejection> {
        let mut request = request.clone();
        if request.profile.is_some() {
            request.events.iter_mut().for_each(|event| event.traits.unset.clear());
        }
        self.0.track(&request)
    }
    fn send(&mut self, path: &str, body: &str) -> (u16, String) {
        self.0.send(path, body)
    }
    fn set_clock(&mut self, now: Timestamp) {
        self.0.set_clock(now);
    }
    fn reopen(&mut self) {
        self.0.reopen();
    }
    fn crash(&mut self) {
        self.0.crash();
    }
    fn check(&mut self) -> Option<CheckReport> {
        self.0.check()
    }
    fn profile(&mut self, id: &str) -> Result<Profile, ReadError> {
        self.0.profile(id)
    }
    fn profile_events(&mut self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        self.0.profile_events(id, page)
    }
    fn profile_sessions(&mut self, id: &str, page: &PageRequest) -> Result<Page<Session>, ReadError> {
        self.0.profile_sessions(id, page)
    }
    fn session(&mut self, id: &str) -> Result<Session, ReadError> {
        self.0.session(id)
    }
    fn session_events(&mut self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        self.0.session_events(id, page)
    }
    fn act(&mut self, act: &Act, dry_run: bool) -> Result<ActReply, ActError> {
        self.0.act(act, dry_run)
    }
    fn profile_as_of(&mut self, id: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        self.0.profile_as_of(id, as_of)
    }
    fn profile_of_identifier(&mut self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        self.0.profile_of_identifier(identifier, as_of)
    }
    fn profile_links(&mut self, id: &str, page: &PageRequest) -> Result<Page<Link>, ReadError> {
        self.0.profile_links(id, page)
    }
    fn profile_history(&mut self, id: &str, page: &PageRequest) -> Result<Page<HistoryEntry>, ReadError> {
        self.0.profile_history(id, page)
    }
    fn quarantine(&mut self, page: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError> {
        self.0.quarantine(page)
    }

    fn blocked(&mut self, page: &PageRequest) -> Result<Page<BlockedValue>, ReadError> {
        self.0.blocked(page)
    }
    fn explain(&mut self, from: &str, to: &str) -> Result<Explanation, ReadError> {
        self.0.explain(from, to)
    }
}

/// The comparison can fail, and then shows a short history.
#[test]
fn a_fault_is_found_and_shortened() {
    let makers: [Maker; 2] = [Forgetful::make, Naive::make];
    let steps = history(1, 60);
    assert!(difference(&steps, &settings(), makers).is_some(), "a lost unset must show");
    let shown = shortened(steps, &settings(), makers);
    assert!(shown.matches("\ntrack").count() <= 4, "not short:\n{shown}");
    assert!(shown.contains("unset=["), "not the cause:\n{shown}");
}
