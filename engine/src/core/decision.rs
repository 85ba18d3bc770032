//! What was decided: every number and id given, every choice made, as data.
//!
//! Decisions are in the log for ever. Variants are only ever added at the end, and a field never changes
//! its meaning: golden files hold the encoding of each.

use super::decimal::Decimal;
use super::rows::{DeviceKey, NameKind};
use super::traits::TraitOperation;
use crate::ids::{
    AgentNo, ConsentNo, DeviceNo, FragmentNo, PartNo, ProfileKey, SessionNo, SourceNo, SpaceNo, TraitNo,
    TypeNo,
};
use crate::request::Consent;
use crate::settings::TraitKind;
use crate::time::Timestamp;
use bincode::{Decode, Encode};

/// The effects of one record, in the order in which they are applied.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Decision {
    /// The effects.
    pub effects: Vec<Effect>,
}

/// One effect.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Effect {
    /// An event is stored. Takes one sequence number.
    Event(EventEffect),
    /// A name gets a number.
    Name {
        /// What it names.
        kind: NameKind,
        /// Its number.
        no: u32,
        /// The name.
        text: Box<str>,
        /// Of a trait: the operations it takes from now on.
        trait_kind: Option<TraitKind>,
    },
    /// A device is made, with its first fragment.
    Device {
        /// Its number.
        device: DeviceNo,
        /// The number of its fragment.
        fragment: FragmentNo,
        /// The fragment's id outside.
        key: ProfileKey,
        /// Made only because a session came without a profile id.
        provisional: bool,
        /// What it stands for in a `server` source.
        device_key: Option<DeviceKey>,
    },
    /// A session is opened; its first part follows.
    Session {
        /// Its number.
        session: SessionNo,
        /// Its id space.
        space: SpaceNo,
        /// Its source.
        source: SourceNo,
        /// Its id.
        id: Box<str>,
        /// Whether the server made the id.
        made: bool,
        /// Its first part.
        part: PartNo,
        /// The fragment of that part.
        fragment: Option<FragmentNo>,
        /// Silence after which it ends, in milliseconds.
        timeout_ms: u32,
    },
    /// A further part of a session is opened.
    Part {
        /// Its number.
        part: PartNo,
        /// The session.
        session: SessionNo,
        /// Its fragment.
        fragment: Option<FragmentNo>,
        /// Silence after which the session ends, in milliseconds.
        timeout_ms: u32,
    },
    /// The part for events without a session is opened.
    ImplicitPart {
        /// Its number.
        part: PartNo,
        /// Its fragment.
        fragment: FragmentNo,
    },
    /// From here on a request without a known profile goes to this part.
    Current {
        /// The session.
        session: SessionNo,
        /// The part.
        part: PartNo,
        /// The part's fragment.
        fragment: Option<FragmentNo>,
    },
    /// A device is no longer provisional.
    Settled {
        /// The device.
        device: DeviceNo,
    },
    /// Two profiles become one: the root of fewer fragments points to the other.
    Join {
        /// The root that ends.
        child: FragmentNo,
        /// The root that stays.
        parent: FragmentNo,
        /// The evidence.
        cause: JoinCause,
    },
    /// A session met another known profile.
    Met {
        /// The session.
        session: SessionNo,
        /// Fragment of the other profile.
        fragment: FragmentNo,
        /// Whether it thereby counts as shared.
        shared: bool,
    },
    /// A session by inactivity has an event on this day.
    Gap {
        /// Its fragment.
        fragment: FragmentNo,
        /// Its source.
        source: SourceNo,
        /// Day since 1970.
        day: u32,
        /// The session.
        session: SessionNo,
    },
    /// A late event closed the gap between two sessions by inactivity.
    Bridge {
        /// The older one, which stays.
        kept: SessionNo,
        /// The other one, whose id becomes an alias.
        alias: SessionNo,
    },
    /// A session fell silent. Takes one sequence number.
    Ended {
        /// The session.
        session: SessionNo,
        /// Time of its last event.
        at: Timestamp,
    },
}

/// Why two profiles are one.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum JoinCause {
    /// A session that had come without a profile id came again with one.
    Session(SessionNo),
}

/// An event as decided.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct EventEffect {
    /// Its place in the request.
    pub index: u16,
    /// The part it goes to; `None` for a profile-less event without a session.
    pub part: Option<PartNo>,
    /// Its type.
    pub event_type: TypeNo,
    /// Event time, corrected.
    pub time: Timestamp,
    /// Hash of its id; the upper half orders events of one time.
    pub id_hash: u64,
    /// Where a repeat finds it: scope, and steps from `id_hash`. `None` if there was no room.
    pub repeat: Option<(u64, u8)>,
    /// See the constants of [`EventEffect`].
    pub flags: u8,
    /// Value of a conversion.
    pub value: Option<Decimal>,
    /// Its user agent, or number 0.
    pub agent: AgentNo,
    /// Trait operations accepted: trait, order within the event, operation.
    pub traits: Vec<(TraitNo, u16, TraitOperation)>,
    /// Consents accepted.
    pub consents: Vec<(ConsentNo, Consent)>,
}

impl EventEffect {
    /// Flag: counts as a page view.
    pub const PAGE_VIEW: u8 = 1;
    /// Flag: counts as a conversion.
    pub const CONVERSION: u8 = 2;
    /// Flag: ends its session.
    pub const SESSION_END: u8 = 4;

    /// Whether a flag is set.
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Orders events of one time.
    #[must_use]
    pub const fn tie(&self) -> u64 {
        tie_of(self.id_hash)
    }
}

/// Orders events of one time by their ids: the upper half of the hash, which is enough, and short in a row.
#[must_use]
pub const fn tie_of(id_hash: u64) -> u64 {
    id_hash >> 32
}
