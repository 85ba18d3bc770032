//! What reads answer with, as plain data. The wire form of it is the server's business.

use crate::ids::EventSeq;
use crate::json::Json;
use crate::request::Consent;
use crate::time::Timestamp;
use std::fmt;

/// One person.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The id that was asked for: of one of its devices.
    pub id: String,
    /// The id of its oldest fragment.
    pub primary_id: String,
    /// Its ids, oldest fragment first: all of them, up to [`crate::limits::PROFILE_MAX_IDS`].
    pub ids: Vec<String>,
    /// How many fragments it has: more than `ids` lists, where it has more than those.
    pub fragments: u64,
    /// Its identifiers, by namespace and value.
    pub identifiers: Vec<ProfileIdentifier>,
    /// Name and value as JSON, by name.
    pub traits: Vec<(String, Json)>,
    /// Purpose and answer, by purpose.
    pub consents: Vec<(String, Consent)>,
    /// What was counted.
    pub counters: ProfileCounters,
    /// When the oldest fragment was made (receive time).
    pub created_at: Timestamp,
    /// Event time of the earliest event, if there is one.
    pub first_seen: Option<Timestamp>,
    /// Event time of the latest event, if there is one.
    pub last_seen: Option<Timestamp>,
}

/// An identifier that a profile has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileIdentifier {
    /// Its namespace.
    pub namespace: String,
    /// Its normalised value.
    pub value: String,
    /// Event time at which it was first seen.
    pub first_seen: Timestamp,
    /// Event time at which it was last seen.
    pub last_seen: Timestamp,
}

/// One link: the evidence that a fragment carries an identifier, or that two fragments are one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it joins.
    pub ends: LinkEnds,
    /// What holds of it.
    pub state: LinkState,
    /// Whether a source or an identification point vouches for it.
    pub verified: bool,
    /// The event, or the act, that said so first.
    pub first_seq: EventSeq,
    /// The event, or the act, that said so last.
    pub last_seq: EventSeq,
    /// Event time of the first.
    pub first_seen: Timestamp,
    /// Event time of the last.
    pub last_seen: Timestamp,
}

/// What a link joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEnds {
    /// A fragment and an identifier.
    Identifier {
        /// The fragment's id.
        profile: String,
        /// `namespace:value`.
        identifier: String,
    },
    /// Two fragments, directly.
    Profiles {
        /// One's id.
        profile: String,
        /// The other's.
        other: String,
        /// Why: `session`, `hand` or `device`.
        kind: &'static str,
    },
}

/// What holds of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// It joins.
    Joined,
    /// It is known and joins nobody.
    Attached,
    /// It was taken away and does not come back by itself.
    Cut,
    /// Its identifier is blocked.
    Suspended,
    /// It waits for a decision.
    Quarantined,
    /// The decision was against it.
    Rejected,
    /// It was not said again in time.
    Expired,
}

impl LinkState {
    /// As it is written in an answer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Attached => "attached",
            Self::Cut => "cut",
            Self::Suspended => "suspended",
            Self::Quarantined => "quarantined",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }
}

/// Something that happened to who a profile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its place in the log.
    pub seq: EventSeq,
    /// When it was received.
    pub at: Timestamp,
    /// What: `created`, `attached`, `known`, `merged`, `switched`, `refused`, `quarantined`, `expired`, or the name of an act.
    pub kind: &'static str,
    /// The fragment's id.
    pub profile: String,
    /// `namespace:value`, where it is about one.
    pub identifier: Option<String>,
    /// The reason, where there is one.
    pub code: Option<&'static str>,
    /// The merge's id, where two profiles became one.
    pub merge: Option<String>,
    /// The primary ids of the profiles that were joined or parted, as they were before.
    pub profiles: Vec<String>,
    /// The event that said so; `None` for an act.
    pub event: Option<String>,
}

/// How two ids are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether they are one profile.
    pub same: bool,
    /// The links from one to the other, in that order; empty if they are two, or one fragment.
    pub chain: Vec<Link>,
    /// The fewest links whose removal parts them.
    pub cut_links: Vec<Link>,
    /// The fewest identifiers whose removal parts them; `None` if no identifiers do.
    pub cut_identifiers: Option<Vec<String>>,
}

/// A link that waits for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedLink {
    /// The id by which it is decided.
    pub id: String,
    /// The fragment's id.
    pub profile: String,
    /// The profile's.
    pub primary_id: String,
    /// `namespace:value`.
    pub identifier: String,
    /// The limit that stands in the way: `values_per_profile` or `fragments_max`.
    pub code: &'static str,
    /// The event that brought it first.
    pub seq: EventSeq,
    /// When that was received.
    pub at: Timestamp,
    /// Primary id of the profile that it would join, if there is one.
    pub other: Option<String>,
}

/// A value that a person blocked, and that is blocked still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedValue {
    /// `namespace:value`.
    pub identifier: String,
    /// The act that blocked it.
    pub seq: EventSeq,
    /// When that was done.
    pub at: Timestamp,
    /// How many links to it are suspended.
    pub suspended: u64,
}

/// Counters of a profile: exact, each event and each session id once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProfileCounters {
    /// Events.
    pub events: u64,
    /// Sessions, implicit ones among them.
    pub sessions: u64,
    /// Sessions made because none was sent.
    pub implicit_sessions: u64,
    /// Events of the types that their source counts as page views.
    pub page_views: u64,
}

/// One session: the sum of its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// The client's id, or the server's for a session by inactivity.
    pub id: String,
    /// Name of the source that opened it.
    pub source: String,
    /// The profile that its events go to now; `None` while it is profile-less.
    pub profile: Option<SessionProfile>,
    /// Event time of its first event.
    pub started_at: Timestamp,
    /// Event time of its last event.
    pub last_seen: Timestamp,
    /// When it ended: the time of its `session-end`, or of its last event if it fell silent.
    pub ended_at: Option<Timestamp>,
    /// From first to last event, in milliseconds.
    pub duration_ms: u64,
    /// What was counted.
    pub counters: SessionCounters,
    /// Sum of the values of its conversions, as a decimal number.
    pub value: Option<String>,
    /// Page of its earliest page view.
    pub entry_page: Option<String>,
    /// Page of its latest page view.
    pub exit_page: Option<String>,
    /// One page view at most, and no conversion.
    pub bounce: bool,
    /// Referrer of its first event.
    pub referrer: Option<String>,
    /// UTM values of its first event: `source`, `medium`, `campaign`, `term`, `content`.
    pub utm: Vec<(String, String)>,
    /// Device class of its first event: `desktop`, `mobile`, `tablet`, `bot`, ...
    pub device: Option<String>,
    /// Operating system of its first event.
    pub os: Option<String>,
    /// Browser of its first event.
    pub browser: Option<String>,
    /// Whether it met too many profiles and chooses nobody any more.
    pub shared: bool,
}

/// The profile of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionProfile {
    /// Id of the device.
    pub id: String,
    /// Id of the person.
    pub primary_id: String,
}

/// Counters of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// Events.
    pub events: u64,
    /// Page views.
    pub page_views: u64,
    /// Conversions.
    pub conversions: u64,
}

/// One stored event.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its place in the log.
    pub seq: EventSeq,
    /// The sender's id, or the one drawn for it.
    pub id: String,
    /// What happened.
    pub event_type: String,
    /// When, by the sender's clock, corrected.
    pub time: Timestamp,
    /// When it was received.
    pub received_at: Timestamp,
    /// Name of its source.
    pub source: String,
    /// Its session.
    pub session: String,
    /// Id of its device's fragment; `None` if it is profile-less.
    pub profile: Option<String>,
    /// A JSON object.
    pub properties: Option<Json>,
    /// The request's context.
    pub context: Option<Json>,
    /// The event's own context.
    pub event_context: Option<Json>,
    /// Namespace and value as sent.
    pub identifiers: Vec<(String, String)>,
}

/// A page of anything, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end. Opaque.
    pub cursor: Option<String>,
}

/// Which items, and how many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// At most so many items; 0 means [`crate::limits::PAGE_DEFAULT_ITEMS`].
    pub limit: usize,
    /// From the answer before.
    pub cursor: Option<String>,
    /// Only events of this type.
    pub event_type: Option<String>,
    /// Only items at or after this event time.
    pub from: Option<Timestamp>,
    /// Only items before this event time.
    pub to: Option<Timestamp>,
}

/// Which past a profile is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AsOf {
    /// What was known at this receive time; `None` is now.
    pub at: Option<Timestamp>,
    /// Only what happened up to this event time, under the identity known then.
    pub until: Option<Timestamp>,
}

/// Why a read has no answer.
#[derive(Debug, Clone)]
pub enum ReadError {
    /// Nothing has this id.
    NotFound,
    /// The id names different things in different id spaces: ask with `space:id`.
    AmbiguousId {
        /// The unambiguous forms.
        candidates: Vec<String>,
    },
    /// The cursor or the limits of the page are not sound.
    Rejected(crate::error::Rejection),
    /// The store failed.
    Failed(crate::error::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("nothing has this id"),
            Self::AmbiguousId { candidates } => {
                write!(f, "the id is used in several id spaces; ask for one of: {}", candidates.join(", "))
            }
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<crate::error::Error> for ReadError {
    fn from(error: crate::error::Error) -> Self {
        Self::Failed(error)
    }
}

/// The state of the store in numbers, for operators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Last published sequence number.
    pub position: u64,
    /// Last sequence number that the index on disk covers.
    pub checkpoint_position: u64,
    /// Events stored.
    pub events: u64,
    /// Sessions with a row of their own.
    pub sessions: u64,
    /// Fragments.
    pub fragments: u64,
    /// Profiles: fragments less those that were joined to another.
    pub profiles: u64,
    /// Bytes that the overlay holds, estimated.
    pub overlay_bytes: u64,
    /// Requests waiting for the writer.
    pub mailbox_requests: u64,
}

/// What other rules would have made of all that is stored, beside what is. Ids are those of profiles that both know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesPreview {
    /// Events that were decided anew.
    pub events: u64,
    /// Acts by hand, which were left out.
    pub acts_left_out: u64,
    /// Requests that the other rules would have refused.
    pub requests_refused: u64,
    /// Profiles that there are.
    pub profiles_before: u64,
    /// Profiles that there would be.
    pub profiles_after: u64,
    /// Ids that there are and would not be: a device's for a second person at it.
    pub ids_only_before: u64,
    /// Ids that there would be and are not.
    pub ids_only_after: u64,
    /// How many profiles there would be that are several now.
    pub joined_profiles: u64,
    /// How many profiles there are that would be several.
    pub parted_profiles: u64,
    /// Of those that would be one, each with the primary ids of what they are now; at most as many as were asked for.
    pub joined: Vec<Vec<String>>,
    /// Of those that would be several, each with the primary ids of what it would be; at most as many as were asked
    /// for.
    pub parted: Vec<Vec<String>>,
}

/// What the store counted of its own work since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Groups by the events in them; acts and session ends count as one each.
    pub group_events: Distribution,
    /// Groups by the time that the disk took for them, in microseconds.
    pub commit_us: Distribution,
    /// Checkpoints by the time that they took, in milliseconds.
    pub checkpoint_ms: Distribution,
    /// Since the last checkpoint was done, or since opening, in milliseconds.
    pub checkpoint_age_ms: u64,
    /// Unions of two profiles.
    pub merges: u64,
    /// Profiles that came apart.
    pub partings: u64,
}

/// How many numbers there were, by their size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Bounds, ascending, and how many were not larger than each, but larger than the one before.
    pub below: Vec<(u64, u64)>,
    /// How many were larger than all bounds.
    pub beyond: u64,
    /// Sum of all.
    pub sum: u64,
}

/// What `check` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The numbers.
    pub status: Status,
    /// Digest over everything, sequence numbers and stamps included: 64 hexadecimal digits.
    pub store_digest: String,
    /// Digest over what was said, whatever the order of arrival: 64 hexadecimal digits.
    pub content_digest: String,
    /// Invariants that do not hold; empty if the store is sound.
    pub faults: Vec<String>,
}
