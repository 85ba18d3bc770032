//! What SQLite and redb do alike: the way from a request to its rows, found and written event by event. Here is the
//! loop; what a row is, and where it lies, each says for itself ([`Layout`]).

use crate::Fault;
use spoor::{Clock, Event, Json, SystemClock, TrackRequest};
use uuid::Uuid;

/// A session and its profile, if they are there.
pub type Found<L> = Option<(<L as Layout>::Session, <L as Layout>::Profile)>;

/// Rows of sessions, profiles, events and identifiers, in one transaction. Each call fails if the store cannot be read
/// or written.
pub trait Layout {
    /// A session that was found or made.
    type Session;
    /// Number of a profile, given in the order in which they are made.
    type Profile: Copy + Ord;

    /// A session that is there, and its profile.
    fn session(&mut self, id: &str) -> Result<Found<Self>, Fault>
    where
        Self: Sized;

    /// The profile that an id leads to.
    fn profile(&mut self, id: &str) -> Result<Option<Self::Profile>, Fault>;

    /// Makes a profile.
    fn new_profile(&mut self, id: &str, now: i64) -> Result<Self::Profile, Fault>;

    /// Makes a session.
    fn new_session(&mut self, id: &str, profile: Self::Profile, now: i64) -> Result<Self::Session, Fault>;

    /// Stores an event; whether it was not there yet.
    fn insert(
        &mut self,
        session: &Self::Session,
        request: &TrackRequest,
        event: &Event,
        time: i64,
    ) -> Result<bool, Fault>;

    /// Counts an event in its session and its profile.
    fn count(
        &mut self,
        session: &Self::Session,
        profile: Self::Profile,
        counted: &Counted,
    ) -> Result<(), Fault>;

    /// The profile that has an identifier.
    fn owner(&mut self, namespace: &str, value: &str) -> Result<Option<Self::Profile>, Fault>;

    /// Gives a profile an identifier that nobody has.
    fn own(&mut self, namespace: &str, value: &str, profile: Self::Profile) -> Result<(), Fault>;

    /// Moves everything of `loser` to `winner`, for good.
    fn merge(&mut self, winner: Self::Profile, loser: Self::Profile) -> Result<(), Fault>;

    /// Sets traits of a profile.
    fn set_traits(&mut self, profile: Self::Profile, traits: &[(String, Json)]) -> Result<(), Fault>;

    /// The id that a client is told.
    fn profile_id(&mut self, profile: Self::Profile) -> Result<String, Fault>;
}

/// What an event counts as.
#[derive(Debug)]
pub struct Counted {
    /// Whether it is the first of its session.
    pub new_session: bool,
    /// Its time, in microseconds.
    pub time: i64,
    /// Whether it is a page view.
    pub view: bool,
    /// Whether it is a conversion.
    pub conversion: bool,
    /// The page that was viewed.
    pub page: Option<String>,
}

/// Stores a request. Returns the id of its profile, and how many of its events were new.
///
/// # Errors
/// If the store cannot be read or written.
pub fn store<L: Layout>(rows: &mut L, request: &TrackRequest) -> Result<(String, u64), Fault> {
    let now = SystemClock.now().0;
    let id = request.session.as_deref().ok_or("a session id is missing")?;
    let known = rows.session(id)?;
    let mut new_session = known.is_none();
    let (session, mut profile) = match known {
        Some(known) => known,
        None => {
            let profile = profile_of(rows, request.profile.as_deref(), now)?;
            (rows.new_session(id, profile, now)?, profile)
        }
    };
    let mut stored = 0;
    for event in &request.events {
        let time = event.time.map_or(now, |time| time.0);
        if rows.insert(&session, request, event, time)? {
            rows.count(&session, profile, &Counted::of(event, time, new_session))?;
            new_session = false;
            profile = identify(rows, profile, event)?;
            stored += 1;
        }
    }
    Ok((rows.profile_id(profile)?, stored))
}

/// The profile of the id that was sent, or a new one.
fn profile_of<L: Layout>(rows: &mut L, sent: Option<&str>, now: i64) -> Result<L::Profile, Fault> {
    match sent {
        Some(id) => match rows.profile(id)? {
            Some(profile) => Ok(profile),
            None => rows.new_profile(id, now),
        },
        None => rows.new_profile(&Uuid::from_u128(rand::random()).to_string(), now),
    }
}

/// What an event says about who it was. If another profile has its identifier, the younger of the two becomes a part
/// of the older. Returns the profile that has it then.
fn identify<L: Layout>(rows: &mut L, profile: L::Profile, event: &Event) -> Result<L::Profile, Fault> {
    let mut profile = profile;
    for (namespace, value) in &event.identifiers {
        match rows.owner(namespace, value)? {
            Some(owner) if owner == profile => {}
            Some(owner) => {
                let (winner, loser) = (owner.min(profile), owner.max(profile));
                rows.merge(winner, loser)?;
                profile = winner;
            }
            None => rows.own(namespace, value, profile)?,
        }
    }
    if !event.traits.set.is_empty() {
        rows.set_traits(profile, &event.traits.set)?;
    }
    Ok(profile)
}

impl Counted {
    fn of(event: &Event, time: i64, new_session: bool) -> Self {
        let view = event.event_type == "page-view";
        Self {
            new_session,
            time,
            view,
            conversion: event.event_type == "purchase",
            page: event.properties.as_ref().filter(|_| view).and_then(page),
        }
    }
}

fn page(properties: &Json) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Page {
        path: Option<String>,
    }
    serde_json::from_str::<Page>(properties.as_str()).ok()?.path
}
