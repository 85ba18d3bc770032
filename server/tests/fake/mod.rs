//! A store that answers as a test wants it to.

#![allow(dead_code, reason = "each test needs some of it")]

use spoor::change::Change;
use spoor::model::{
    AsOf, BlockedValue, CheckReport, Explanation, Figures, HistoryEntry, Link, LinkEnds, LinkState, Page,
    PageRequest, Profile, ProfileCounters, ProfileIdentifier, QuarantinedLink, ReadError, Session,
    SessionCounters, SessionProfile, Status, StoredEvent,
};
use spoor::{
    Act, ActError, ActReply, Consent, Error, EventReply, EventSeq, EventStatus, Json, LinkOutcome, LinkReply,
    ProfileReply, ProfileSize, Reason, Rejection, Reply, SessionReply, Timestamp, TrackError, TrackRequest,
};
use spoor_server::store::{Done, LazyReply, Listener, Store};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What becomes of requests.
#[derive(Debug, Clone)]
pub(crate) enum Mood {
    /// They are stored.
    Sound,
    /// So many are stored, and the mailbox is full.
    OverloadedAfter(usize),
    /// They are stored after a while.
    Slow(Duration),
    /// They wait for ever.
    Silent,
    /// They are dropped without an answer, as by a panic.
    Forgetful,
    Closed,
    Indeterminate,
    Damaged,
}

pub(crate) struct Fake(Mutex<State>);

struct State {
    mood: Mood,
    seen: Vec<TrackRequest>,
    acts: Vec<(Act, bool)>,
    waiting: Vec<Done>,
    closed: bool,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            mood: Mood::Sound,
            seen: Vec::new(),
            acts: Vec::new(),
            waiting: Vec::new(),
            closed: false,
        };
        Arc::new(Self(Mutex::new(state)))
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.0.lock().unwrap().mood = mood;
    }

    pub(crate) fn seen(&self) -> Vec<TrackRequest> {
        self.0.lock().unwrap().seen.clone()
    }

    /// The acts that came, and whether they were previews.
    pub(crate) fn acts(&self) -> Vec<(Act, bool)> {
        self.0.lock().unwrap().acts.clone()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().unwrap().closed
    }

    pub(crate) fn wait_for(&self, requests: usize) {
        let begun = Instant::now();
        while self.seen().len() < requests {
            assert!(begun.elapsed() < Duration::from_secs(5), "no request came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn reply(request: &TrackRequest) -> Reply {
    let session = request.session.clone().unwrap_or_else(|| "implicit:1".to_owned());
    Reply {
        profile: Some(ProfileReply {
            id: "device".to_owned(),
            primary_id: "person".to_owned(),
            reason: Reason::SessionOwner,
            created: false,
        }),
        session: Some(SessionReply { id: session, created: true }),
        events: request
            .events
            .iter()
            .map(|event| EventReply {
                id: event.id.clone().unwrap_or_default(),
                seq: EventSeq(1),
                status: EventStatus::Stored,
                session: None,
                profile: Some("device".to_owned()),
                links: if event.identifiers.is_empty() { Vec::new() } else { link_replies() },
                refused: vec![("traits.set.a".to_owned(), "trait_kind")],
                warnings: vec!["event_id_reused", "fragments_max"],
            })
            .collect(),
        warnings: vec!["profile_mismatch"],
    }
}

/// One of each kind.
fn link_replies() -> Vec<LinkReply> {
    let link = |identifier: &str, outcome, code| LinkReply {
        identifier: identifier.to_owned(),
        outcome,
        code,
        merge: (outcome == LinkOutcome::Merged).then(|| "m7-0".to_owned()),
        profiles: if outcome == LinkOutcome::Merged {
            vec!["person".to_owned(), "other".to_owned()]
        } else {
            Vec::new()
        },
        quarantine: (outcome == LinkOutcome::Quarantined).then(|| "q7-0".to_owned()),
    };
    vec![
        link("email:a", LinkOutcome::Attached, None),
        link("email:b", LinkOutcome::Merged, None),
        link("email:c", LinkOutcome::Switched, None),
        link("email:d", LinkOutcome::Refused, Some("unique_conflict")),
        link("email:e", LinkOutcome::Refused, Some("junk")),
        link("email:f", LinkOutcome::Quarantined, Some("fragments_max")),
    ]
}

fn link(ends: LinkEnds) -> Link {
    Link {
        ends,
        state: LinkState::Joined,
        verified: true,
        first_seq: EventSeq(1),
        last_seq: EventSeq(7),
        first_seen: Timestamp::from_millis(0),
        last_seen: Timestamp::from_millis(1),
    }
}

fn direct_link() -> Link {
    link(LinkEnds::Profiles { profile: "device".to_owned(), other: "person".to_owned(), kind: "hand" })
}

fn identifier_link() -> Link {
    link(LinkEnds::Identifier { profile: "device".to_owned(), identifier: "email:a@b.example".to_owned() })
}

impl Store for Fake {
    fn submit(&self, request: TrackRequest, done: Done) {
        let mut state = self.0.lock().unwrap();
        state.seen.push(request.clone());
        let mood = match &mut state.mood {
            Mood::OverloadedAfter(0) => Mood::OverloadedAfter(0),
            Mood::OverloadedAfter(left) => {
                *left -= 1;
                Mood::Sound
            }
            mood => mood.clone(),
        };
        if matches!(mood, Mood::Silent) {
            return state.waiting.push(done);
        }
        drop(state);
        let secret = || Arc::<str>::from("/secret/path");
        let failed = |error| Err(TrackError::Failed(error));
        let stored = move || {
            if request.source.as_deref() == Some("nowhere") {
                let rejection = Rejection::new("unknown_source", "source", "no such source");
                return Err(TrackError::Rejected(rejection));
            }
            Ok(Box::new(move || reply(&request)) as LazyReply)
        };
        match mood {
            Mood::Sound => done(stored()),
            Mood::Slow(time) => drop(std::thread::spawn(move || {
                std::thread::sleep(time);
                done(stored());
            })),
            Mood::OverloadedAfter(_) => done(failed(Error::Overloaded)),
            Mood::Closed => done(failed(Error::Closed { reason: secret() })),
            Mood::Indeterminate => done(failed(Error::Indeterminate { reason: secret() })),
            Mood::Damaged => {
                done(failed(Error::Damaged { path: "/secret".into(), offset: 0, reason: "x".to_owned() }));
            }
            Mood::Silent | Mood::Forgetful => {}
        }
    }

    fn act(&self, act: Act, dry_run: bool) -> Result<ActReply, ActError> {
        let mut state = self.0.lock().unwrap();
        if let Act::Undo { merge, .. } = &act {
            let no = |code| Rejection::new(code, "merge", "no");
            match merge.as_str() {
                "unknown" => return Err(ActError::NotFound(no("merge_unknown"))),
                "undone" => return Err(ActError::Conflict(no("merge_undone"))),
                "odd" => return Err(ActError::Conflict(no("a_code_of_the_engine"))),
                "lost" => return Err(ActError::NotFound(no("a_code_of_the_engine"))),
                "broken" => {
                    return Err(ActError::Failed(Error::Indeterminate { reason: Arc::from("/secret/path") }));
                }
                _ => {}
            }
        }
        state.acts.push((act, dry_run));
        let size = |ids| ProfileSize { primary_id: "person".to_owned(), ids, sessions: 2, events: 3 };
        Ok(ActReply {
            seq: (!dry_run).then_some(EventSeq(8)),
            merge: Some("m8-0".to_owned()),
            removed: vec![identifier_link()],
            added: vec![direct_link()],
            before: vec![size(1), size(2)],
            after: vec![size(3)],
            not_retaken: vec![EventSeq(6)],
        })
    }

    fn profile_of_identifier(&self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        match identifier.split_once(':') {
            Some(("email", _)) => self.profile_as_of("device", as_of),
            _ => Err(ReadError::Rejected(Rejection::new(
                "unknown_namespace",
                "identifier",
                "no such namespace",
            ))),
        }
    }

    fn profile_links(&self, _: &str, _: &PageRequest) -> Result<Page<Link>, ReadError> {
        Ok(Page { items: vec![identifier_link(), direct_link()], cursor: Some("next".to_owned()) })
    }

    fn profile_history(&self, _: &str, _: &PageRequest) -> Result<Page<HistoryEntry>, ReadError> {
        let entry = HistoryEntry {
            seq: EventSeq(7),
            at: Timestamp::from_millis(1),
            kind: "merged",
            profile: "device".to_owned(),
            identifier: Some("email:a@b.example".to_owned()),
            code: None,
            merge: Some("m7-0".to_owned()),
            profiles: vec!["person".to_owned(), "other".to_owned()],
            event: Some("m".to_owned()),
        };
        Ok(Page { items: vec![entry], cursor: None })
    }

    fn quarantine(&self, _: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError> {
        let entry = QuarantinedLink {
            id: "q7-0".to_owned(),
            profile: "device".to_owned(),
            primary_id: "person".to_owned(),
            identifier: "email:a@b.example".to_owned(),
            code: "fragments_max",
            seq: EventSeq(7),
            at: Timestamp::from_millis(1),
            other: Some("other".to_owned()),
        };
        Ok(Page { items: vec![entry], cursor: None })
    }

    fn blocked(&self, _: &PageRequest) -> Result<Page<BlockedValue>, ReadError> {
        let entry = BlockedValue {
            identifier: "email:a@b.example".to_owned(),
            seq: EventSeq(7),
            at: Timestamp::from_millis(1),
            suspended: 1,
        };
        Ok(Page { items: vec![entry], cursor: None })
    }

    fn explain(&self, from: &str, to: &str) -> Result<Explanation, ReadError> {
        if from == "none" || to == "none" {
            return Err(ReadError::NotFound);
        }
        Ok(Explanation {
            same: true,
            chain: vec![identifier_link(), direct_link()],
            cut_links: vec![direct_link()],
            cut_identifiers: None,
        })
    }

    fn profile_as_of(&self, id: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        if as_of.at.is_some_and(|at| at < Timestamp::from_millis(1)) {
            let rejection = Rejection::new("at_before_beginning", "at", "nothing was known then");
            return Err(ReadError::Rejected(rejection));
        }
        match id {
            "none" => return Err(ReadError::NotFound),
            "1001" => {
                let candidates = vec!["shop:1001".to_owned(), "crm:1001".to_owned()];
                return Err(ReadError::AmbiguousId { candidates });
            }
            _ => {}
        }
        let json = |text: &str| Json::parse(text).unwrap();
        Ok(Profile {
            id: id.to_owned(),
            primary_id: "person".to_owned(),
            ids: vec!["person".to_owned(), id.to_owned()],
            fragments: if id == "large" { 3 } else { 2 },
            identifiers: vec![ProfileIdentifier {
                namespace: "email".to_owned(),
                value: "a@b.example".to_owned(),
                first_seen: Timestamp::from_millis(500),
                last_seen: Timestamp::from_millis(1_000),
            }],
            traits: vec![
                ("plan".to_owned(), json("\"pro\"")),
                ("tags".to_owned(), json("[1,\n{\"x\":null}]")),
            ],
            consents: vec![("ads".to_owned(), Consent::Refused), ("marketing".to_owned(), Consent::Granted)],
            counters: ProfileCounters { events: 3, sessions: 2, implicit_sessions: 1, page_views: 1 },
            created_at: Timestamp::from_millis(1_000),
            first_seen: Some(Timestamp::from_millis(500)),
            last_seen: None,
        })
    }

    fn profile_events(&self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        self.session_events(id, page)
    }

    fn profile_sessions(&self, id: &str, _: &PageRequest) -> Result<Page<Session>, ReadError> {
        Ok(Page { items: vec![self.session(id)?], cursor: Some("next".to_owned()) })
    }

    fn session(&self, _: &str) -> Result<Session, ReadError> {
        Ok(Session {
            id: "s".to_owned(),
            source: "web".to_owned(),
            profile: Some(SessionProfile { id: "device".to_owned(), primary_id: "person".to_owned() }),
            started_at: Timestamp::from_millis(0),
            last_seen: Timestamp::from_millis(1_500),
            ended_at: None,
            duration_ms: 1_500,
            counters: SessionCounters { events: 2, page_views: 1, conversions: 1 },
            value: Some("19.90".to_owned()),
            entry_page: Some("/".to_owned()),
            exit_page: None,
            bounce: false,
            referrer: None,
            utm: vec![("source".to_owned(), "mail".to_owned())],
            device: None,
            os: None,
            browser: Some("Firefox".to_owned()),
            shared: false,
        })
    }

    fn session_events(&self, _: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        if page.cursor.as_deref() == Some("bad") {
            return Err(ReadError::Rejected(Rejection::new("cursor_invalid", "cursor", "not one of ours")));
        }
        Ok(Page { items: self.events_after(6, 1)?, cursor: None })
    }

    fn events_after(&self, after: u64, _: usize) -> Result<Vec<StoredEvent>, Error> {
        let event = StoredEvent {
            seq: EventSeq(7),
            id: "m".to_owned(),
            event_type: "page-view".to_owned(),
            time: Timestamp::from_millis(0),
            received_at: Timestamp::from_millis(1),
            source: "web".to_owned(),
            session: "s".to_owned(),
            profile: Some("device".to_owned()),
            properties: Some(Json::parse("{\"a\":\n1}").unwrap()),
            context: None,
            event_context: None,
            identifiers: vec![("email".to_owned(), "Ada@Example.com".to_owned())],
        };
        Ok(if after < 7 { vec![event] } else { Vec::new() })
    }

    fn requests_after(&self, after: u64, _: usize) -> Result<Vec<(EventSeq, TrackRequest)>, Error> {
        let request = TrackRequest { session: Some("s".to_owned()), ..TrackRequest::default() };
        Ok(if after < 7 { vec![(EventSeq(7), request)] } else { Vec::new() })
    }

    fn changes_after(&self, _: u64, _: usize) -> Result<Vec<Change>, Error> {
        Ok(Vec::new())
    }

    fn on_published(&self, _: Listener) {}

    fn figures(&self) -> Figures {
        Figures::default()
    }

    fn check(&self) -> Result<CheckReport, Error> {
        Ok(CheckReport {
            status: self.status(),
            store_digest: "0".repeat(64),
            content_digest: "1".repeat(64),
            faults: vec!["a fault".to_owned()],
        })
    }

    fn status(&self) -> Status {
        Status { position: 7, events: 7, ..Status::default() }
    }

    fn failure(&self) -> Option<Arc<str>> {
        matches!(self.0.lock().unwrap().mood, Mood::Closed).then(|| Arc::from("the disk is full"))
    }

    fn close(&self) -> Result<(), Error> {
        self.0.lock().unwrap().closed = true;
        Ok(())
    }
}
