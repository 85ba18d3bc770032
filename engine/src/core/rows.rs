//! The rows of the state: what decisions are made from and what they change.
//!
//! Nothing in a row is computed on reading that could not be computed again from the log. Rows refer to
//! each other by dense number; 0 stands for "none" in a key and is never given.

use super::consents::ConsentStates;
use super::numbers::Numbers;
use super::traits::{Order, TraitOperation, TraitState};
use crate::ids::{
    ConsentNo, DeviceNo, EventSeq, FragmentNo, IdentifierNo, NamespaceNo, PartNo, ProfileKey, SessionNo,
    SourceNo, SpaceNo, TraitNo,
};
use crate::limits::FRAGMENT_MAX_TRAITS;
use crate::settings::TraitKind;
use crate::time::Timestamp;
use bincode::{Decode, Encode};

/// What a name names; each kind is numbered by itself, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum NameKind {
    /// A source.
    Source,
    /// An id space.
    Space,
    /// An event type.
    EventType,
    /// A trait.
    Trait,
    /// The purpose of a consent.
    Consent,
    /// A parsed user agent: device class, operating system and browser, parted by line feeds.
    Agent,
    /// A namespace of identifiers.
    Namespace,
}

impl NameKind {
    /// Every kind, in the order of [`Counters::names`].
    pub const ALL: [Self; 7] = [
        Self::Source,
        Self::Space,
        Self::EventType,
        Self::Trait,
        Self::Consent,
        Self::Agent,
        Self::Namespace,
    ];

    /// Place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A name and its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameKey {
    /// The kind.
    pub kind: NameKind,
    /// The name.
    pub text: Box<str>,
}

/// The number of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct NameRow {
    /// Its number.
    pub no: u32,
    /// Of a trait: which operations it takes.
    pub trait_kind: Option<TraitKind>,
}

/// The name of a number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TextRow {
    /// The name.
    pub text: Box<str>,
    /// Of a trait: which operations it takes.
    pub trait_kind: Option<TraitKind>,
}

/// A session id within its id space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The id space.
    pub space: SpaceNo,
    /// The id, trimmed.
    pub id: Box<str>,
}

/// What a device of a `server` source stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct DeviceKey {
    /// The source.
    pub source: SourceNo,
    /// The namespace of the identifier.
    pub namespace: Box<str>,
    /// Its normalised value.
    pub value: Box<str>,
}

/// A visit.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SessionRow {
    /// Id space.
    pub space: SpaceNo,
    /// Source that opened it.
    pub source: SourceNo,
    /// Its id.
    pub id: Box<str>,
    /// Whether the server made the id (a session by inactivity).
    pub made: bool,
    /// Position of the event that opened it.
    pub created: EventSeq,
    /// Its first part and the fragment of it.
    pub first: PartOf,
    /// The part that a request without a known profile goes to.
    pub current: PartOf,
    /// How many parts it has; those after the first are listed by themselves.
    pub parts: u32,
    /// Fragments of other known profiles that were sent with it, at most
    /// [`crate::limits::SESSION_MAX_OTHER_PROFILES`] and one.
    pub met: Vec<FragmentNo>,
    /// It met too many and chooses nobody any more.
    pub shared: bool,
    /// It fell silent after its event of this time.
    pub silent_at: Option<Timestamp>,
    /// It was joined to an older one.
    pub alias_of: Option<SessionNo>,
    /// By the event of this position.
    pub alias_since: Option<EventSeq>,
}

/// A part and the fragment that it belongs to for ever; `None` while profile-less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PartOf {
    /// The part.
    pub part: PartNo,
    /// Its fragment.
    pub fragment: Option<FragmentNo>,
}

/// Place of an event in the order of event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Mark {
    /// Event time.
    pub time: Timestamp,
    /// Among events of one time: from the event id, so that the order of arrival does not matter.
    pub tie: u64,
    /// Its place in the log.
    pub seq: EventSeq,
}

/// One part of a session, or the events of one fragment that came without one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PartRow {
    /// The session; `None` for events without one.
    pub session: Option<SessionNo>,
    /// The fragment; `None` for profile-less events.
    pub fragment: Option<FragmentNo>,
    /// What is counted.
    pub numbers: Numbers,
    /// When its silence is looked at next, in milliseconds since 1970; 0 before its first event.
    pub due_ms: u64,
}

/// A browser, an app, or a server's account for one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct DeviceRow {
    /// The fragment to which its next event goes.
    pub holder: FragmentNo,
    /// The fragment that it was made with; others are listed under [`ListKind::Seats`].
    pub first: FragmentNo,
    /// Made only because a session came without a profile id, and nothing has confirmed it since.
    pub provisional: bool,
}

/// What is known from one device while one person used it: its place among fragments.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FragmentRow {
    /// Its device.
    pub device: DeviceNo,
    /// Its id outside.
    pub key: ProfileKey,
    /// Position at which it was made.
    pub created: EventSeq,
    /// When it was made (receive time).
    pub created_at: Timestamp,
    /// The larger side of the union that ended its time as a root, and the position of that union.
    pub parent: Option<(FragmentNo, EventSeq)>,
    /// Whether another root was joined to it.
    pub joined: bool,
    /// The part of its events without a session.
    pub implicit_part: Option<PartNo>,
    /// Sessions of more than one part in which it has one: they may count once for several fragments.
    pub split_sessions: Vec<SessionNo>,
    /// Of a further fragment of a device: the one that held the device when it was made.
    pub after: Option<FragmentNo>,
}

impl FragmentRow {
    /// Whether it is all there is of its person.
    #[must_use]
    pub const fn is_alone(&self) -> bool {
        self.parent.is_none() && !self.joined
    }
}

/// Counters of one fragment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct TallyRow {
    /// Events.
    pub events: u64,
    /// Page views.
    pub page_views: u64,
    /// Sessions with a row of their own.
    pub sessions: u64,
    /// Sessions made because none was sent.
    pub implicit_sessions: u64,
    /// Event time of the earliest event.
    pub first: Option<Timestamp>,
    /// Event time of the latest event.
    pub last: Option<Timestamp>,
}

/// Traits of one fragment, by number.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct TraitsRow(pub Vec<(TraitNo, TraitState)>);

impl TraitsRow {
    /// Applies an operation to the state of a trait, which is made if there is none.
    ///
    /// # Errors
    /// The code of the limit that it would go beyond; nothing is changed then.
    pub fn try_apply(
        &mut self,
        no: TraitNo,
        order: Order,
        operation: &TraitOperation,
    ) -> Result<(), &'static str> {
        match self.0.binary_search_by_key(&no, |(no, _)| *no) {
            Ok(place) => match self.0.get_mut(place) {
                Some((_, state)) => state.apply(order, operation).map(|_| ()),
                None => Ok(()),
            },
            Err(_) if self.0.len() >= FRAGMENT_MAX_TRAITS => Err("trait_limit"),
            Err(place) => {
                let mut state = TraitState::new(operation.kind());
                state.apply(order, operation)?;
                self.0.insert(place, (no, state));
                Ok(())
            }
        }
    }
}

impl TraitsRow {
    /// Applies an operation whatever the limits on the number of traits; one that the state of its trait refuses
    /// does nothing.
    pub fn apply(&mut self, no: TraitNo, order: Order, operation: &TraitOperation) {
        match self.0.binary_search_by_key(&no, |(no, _)| *no) {
            Ok(place) => {
                if let Some((_, state)) = self.0.get_mut(place) {
                    let _ = state.apply(order, operation);
                }
            }
            Err(place) => {
                let mut state = TraitState::new(operation.kind());
                if state.apply(order, operation).is_ok() {
                    self.0.insert(place, (no, state));
                }
            }
        }
    }
}

/// Consents of one fragment.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct ConsentsRow(pub ConsentStates);

/// What must be known of a person to decide about it; kept at its root once it has an identifier, a guard or a
/// second fragment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct PersonRow {
    /// How many fragments it has.
    pub fragments: u64,
    /// The oldest of them; its id is the person's.
    pub oldest: FragmentNo,
    /// Its identifiers, sorted.
    pub identifiers: Vec<IdentifierNo>,
    /// Guards: one of its fragments, and one that must not join it. Sorted.
    pub guards: Vec<(FragmentNo, FragmentNo)>,
    /// Sessions of more than one part in which it has one, sorted; of a person of several fragments only.
    pub split_sessions: Vec<SessionNo>,
    /// Position of the last change of its links.
    pub changed: EventSeq,
}

/// Consents of a person of several fragments, as the events and unions up to now left them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct PersonConsentsRow(pub Vec<(ConsentNo, StandingRefusals)>);

/// The refusals of one purpose that no grant has lifted; none of them: it is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct StandingRefusals {
    /// The fragments that refused, sorted, at most [`crate::limits::STANDING_REFUSALS_MAX`].
    pub by: Vec<FragmentNo>,
    /// Whether there are more.
    pub more: bool,
}

/// An identifier as a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct IdentifierKey {
    /// The namespace.
    pub namespace: NamespaceNo,
    /// The normalised value.
    pub value: Box<str>,
}

/// An identifier.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct IdentifierRow {
    /// Namespace and value.
    pub key: IdentifierKey,
    /// A fragment that carries it by a joining link: its root is the person who has it.
    pub owner: Option<FragmentNo>,
    /// How many fragments carry it by a link that holds.
    pub links: u64,
    /// The act that blocked it, while it is.
    pub blocked: Option<EventSeq>,
}

/// A fragment and an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct LinkKey {
    /// The fragment.
    pub fragment: FragmentNo,
    /// The identifier.
    pub identifier: IdentifierNo,
}

/// Two fragments; the smaller number first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct PairKey {
    /// The smaller.
    pub one: FragmentNo,
    /// The larger.
    pub other: FragmentNo,
}

impl PairKey {
    /// The pair of two fragments, in any order.
    #[must_use]
    pub fn of(one: FragmentNo, other: FragmentNo) -> Self {
        Self { one: one.min(other), other: one.max(other) }
    }
}

/// What holds of a link now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Standing {
    /// It holds and joins.
    Joins,
    /// It holds and joins nobody.
    Attaches,
    /// An act took it away; the same evidence does not bring it back.
    Cut,
    /// Its identifier is blocked. Whether it joined before.
    Suspended(bool),
    /// A limit stands in the way.
    Quarantined(Limit),
    /// It waited for a decision, and was refused.
    Rejected,
    /// Nobody said it again in time. Whoever says it again makes it hold again.
    Expired,
}

impl Standing {
    /// Whether the profile has the identifier by it.
    #[must_use]
    pub const fn holds(self) -> bool {
        matches!(self, Self::Joins | Self::Attaches)
    }
}

/// A limit that stands in the way of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Limit {
    /// Values of one namespace in one profile.
    ValuesPerProfile,
    /// Fragments that carry one value.
    FragmentsMax,
}

impl Limit {
    /// As a code in an answer.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ValuesPerProfile => "values_per_profile",
            Self::FragmentsMax => "fragments_max",
        }
    }
}

/// A time during which a link held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Span {
    /// Position of what began it.
    pub from: EventSeq,
    /// Position of what first began it: of one that goes on after its identifier was blocked, that of the one before.
    pub since: EventSeq,
    /// Position of what ended it.
    pub to: Option<EventSeq>,
    /// Whether it joined.
    pub joins: bool,
}

/// What is known of a link, whatever its ends.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LinkRow {
    /// What holds now.
    pub standing: Standing,
    /// Its place among all links, in the order in which they came to join; 0 before it joined.
    pub order: u64,
    /// When it held, in order.
    pub spans: Vec<Span>,
    /// Whether somebody vouches for it.
    pub verified: bool,
    /// The event or act that said so first.
    pub first_seq: EventSeq,
    /// The event or act that said so last.
    pub last_seq: EventSeq,
    /// The earliest event time at which it was said.
    pub first_seen: Timestamp,
    /// The latest event time at which it was said.
    pub last_seen: Timestamp,
    /// Of a link between two fragments: why.
    pub kind: Option<DirectKind>,
    /// The position that brought it into quarantine last, and its place among those of that position.
    pub entry: Option<(EventSeq, u16)>,
}

impl LinkRow {
    /// Whether it joins a fragment to the one that held the device before, since a value is blocked.
    #[must_use]
    pub fn gives_back(&self) -> bool {
        self.kind == Some(DirectKind::Device) && self.standing == Standing::Joins
    }
}

/// Why two fragments are one person without an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum DirectKind {
    /// A session came without a profile id, and came again with one.
    Session(SessionNo),
    /// Somebody said so.
    Hand,
    /// A blocked value had made them two on one device.
    Device,
}

impl DirectKind {
    /// As it is written in an answer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Hand => "hand",
            Self::Device => "device",
        }
    }
}

/// Lists of numbers that only grow. An item that does not hold any more is told by its own row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListKind {
    /// Fragments whose parent this fragment is, or was.
    Children,
    /// Identifiers that this fragment has, or had, a link to.
    Identifiers,
    /// Fragments that have, or had, a link to this identifier.
    Carriers,
    /// Fragments that have, or had, a direct link to this fragment.
    Directs,
    /// Further fragments of this device.
    Seats,
    /// Positions of what this fragment's traits, consents and identifiers come from.
    Operations,
    /// Positions of what happened to who this fragment is.
    History,
    /// Quarantined links, by the position that brought them, of the whole store (number 0).
    Quarantine,
    /// Acts that blocked a value, of the whole store (number 0).
    Blocked,
}

/// The list of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListKey {
    /// What is listed.
    pub kind: ListKind,
    /// Of what.
    pub of: u64,
}

/// The devices that carry one client-made profile id, one per id space.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClientIdRow(pub Vec<(SpaceNo, FragmentNo)>);

/// One day of one fragment in one source, for sessions by inactivity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GapKey {
    /// The fragment.
    pub fragment: FragmentNo,
    /// The source.
    pub source: SourceNo,
    /// Day since 1970 by event time.
    pub day: u32,
}

/// Sessions by inactivity with events on one day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct GapRow(pub Vec<SessionNo>);

/// The fragment that an event goes to, and how it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileAt {
    /// The fragment.
    pub fragment: FragmentNo,
    /// How it was found.
    pub reason: crate::reply::Reason,
}

/// One event in the list of its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// Its place in the log.
    pub seq: EventSeq,
    /// Its type.
    pub event_type: crate::ids::TypeNo,
    /// Event time.
    pub time: Timestamp,
    /// Whether it counts as a page view.
    pub page_view: bool,
}

/// Where an event id is unique, and its hash: the key under which a repeat is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepeatKey {
    /// See [`RepeatScope`].
    pub scope: u64,
    /// Hash of the event id, moved on by one for each event that was in its place before.
    pub hash: u64,
}

/// The first of these that was sent is where an event id is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatScope {
    /// A session.
    Session(SessionNo),
    /// A device: by profile id or device key.
    Device(DeviceNo),
    /// Nobody that is known: a hash of what was sent, and from which source.
    Content(u64),
}

impl RepeatScope {
    /// The kind in the two upper bits, the number below.
    #[must_use]
    pub const fn code(self) -> u64 {
        const BELOW: u64 = (1 << 62) - 1;
        match self {
            Self::Session(no) => no.0 & BELOW,
            Self::Device(no) => (1 << 62) | (no.0 & BELOW),
            Self::Content(hash) => (2 << 62) | (hash & BELOW),
        }
    }
}

/// The last numbers given, and what was counted over the whole store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Counters {
    /// Position.
    pub seq: EventSeq,
    /// Receive stamp of the latest event.
    pub received: Timestamp,
    /// Devices.
    pub device: DeviceNo,
    /// Fragments.
    pub fragment: FragmentNo,
    /// Sessions.
    pub session: SessionNo,
    /// Parts.
    pub part: PartNo,
    /// Names of each [`NameKind`].
    pub names: [u32; 7],
    /// Identifiers.
    pub identifier: IdentifierNo,
    /// Links that came to join, restored ones counted again.
    pub links: u64,
    /// Events.
    pub events: u64,
    /// Sessions that became an alias of an older one.
    pub bridged: u64,
    /// Hash of the rules of identity that were recorded last.
    pub rules: u64,
    /// Unions of two persons, less partings.
    pub unions: u64,
}

/// Calls `$callback` with the list of keyed tables: `name: Key => Row`. One list, so that the state, the
/// overlay and the index cannot disagree about what there is.
#[macro_export]
#[doc(hidden)]
macro_rules! for_each_table {
    ($callback:ident) => {
        $callback! {
            /// Number of a name.
            names, put_names: $crate::core::rows::NameKey => $crate::core::rows::NameRow, Names;
            /// Name of a number.
            texts, put_texts: ($crate::core::rows::NameKind, u32) => $crate::core::rows::TextRow, NameTexts;
            /// Session of an id.
            session_ids, put_session_ids: $crate::core::rows::SessionKey => $crate::ids::SessionNo, SessionIds;
            /// Sessions.
            sessions, put_sessions: $crate::ids::SessionNo => $crate::core::rows::SessionRow, Sessions;
            /// Parts of sessions.
            parts, put_parts: $crate::ids::PartNo => $crate::core::rows::PartRow, Parts;
            /// Part of a session for a fragment, after the first; fragment 0 stands for none.
            part_keys, put_part_keys: ($crate::ids::SessionNo, $crate::ids::FragmentNo) => $crate::ids::PartNo, PartKeys;
            /// Fragment of a profile id that the server made.
            server_ids, put_server_ids: uuid::Uuid => $crate::ids::FragmentNo, ServerIds;
            /// Fragments of a profile id that trusted sources brought.
            client_ids, put_client_ids: Box<str> => $crate::core::rows::ClientIdRow, ClientIds;
            /// Device of a server's user.
            device_keys, put_device_keys: $crate::core::rows::DeviceKey => $crate::ids::DeviceNo, DeviceKeys;
            /// Devices.
            devices, put_devices: $crate::ids::DeviceNo => $crate::core::rows::DeviceRow, Devices;
            /// Fragments.
            fragments, put_fragments: $crate::ids::FragmentNo => $crate::core::rows::FragmentRow, Fragments;
            /// Counters of fragments.
            tallies, put_tallies: $crate::ids::FragmentNo => $crate::core::rows::TallyRow, Tallies;
            /// Traits of fragments.
            traits, put_traits: $crate::ids::FragmentNo => $crate::core::rows::TraitsRow, Traits;
            /// Consents of fragments.
            consents, put_consents: $crate::ids::FragmentNo => $crate::core::rows::ConsentsRow, Consents;
            /// Persons, by root.
            persons, put_persons: $crate::ids::FragmentNo => $crate::core::rows::PersonRow, Persons;
            /// Counters of persons of several fragments, by root.
            person_tallies, put_person_tallies: $crate::ids::FragmentNo => $crate::core::rows::TallyRow, PersonTallies;
            /// Traits of persons of several fragments, by root.
            person_traits, put_person_traits: $crate::ids::FragmentNo => $crate::core::rows::TraitsRow, PersonTraits;
            /// Consents of persons of several fragments, by root.
            person_consents, put_person_consents: $crate::ids::FragmentNo => $crate::core::rows::PersonConsentsRow, PersonConsents;
            /// Numbers of identifiers.
            identifier_nos, put_identifier_nos: $crate::core::rows::IdentifierKey => $crate::ids::IdentifierNo, IdentifierNos;
            /// Identifiers.
            identifiers, put_identifiers: $crate::ids::IdentifierNo => $crate::core::rows::IdentifierRow, Identifiers;
            /// Links of fragments to identifiers.
            links, put_links: $crate::core::rows::LinkKey => $crate::core::rows::LinkRow, Links;
            /// Links between two fragments.
            directs, put_directs: $crate::core::rows::PairKey => $crate::core::rows::LinkRow, Directs;
            /// Sessions by inactivity.
            gaps, put_gaps: $crate::core::rows::GapKey => $crate::core::rows::GapRow, Gaps;
        }
    };
}
