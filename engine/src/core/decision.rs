//! What was decided: every number and id given, every choice made, as data.
//!
//! Decisions are in the log for ever. Variants are only ever added at the end, and a field never changes
//! its meaning: golden files hold the encoding of each.

use super::decimal::Decimal;
use super::rows::{DeviceKey, DirectKind, Limit, LinkKey, NameKind, PairKey, Standing};
use super::traits::TraitOperation;
use crate::ids::{
    AgentNo, ConsentNo, DeviceNo, EventSeq, FragmentNo, IdentifierNo, NamespaceNo, PartNo, ProfileKey,
    SessionNo, SourceNo, SpaceNo, TraitNo, TypeNo,
};
use crate::reply::LinkOutcome;
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
    /// A further part of a session is opened; with a fragment, the session goes on with it.
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
    /// An identifier gets a number.
    Identifier {
        /// Its number.
        no: IdentifierNo,
        /// Its namespace.
        namespace: NamespaceNo,
        /// Its normalised value.
        value: Box<str>,
    },
    /// A fragment carries an identifier, says an event; or an act, which has no event time of its own.
    Link {
        /// The fragment.
        fragment: FragmentNo,
        /// The identifier.
        identifier: IdentifierNo,
        /// Whether it joins. A link that joins already goes on to.
        joins: bool,
        /// Whether somebody vouches for it.
        verified: bool,
        /// Event time.
        time: Timestamp,
    },
    /// Two fragments are one person without an identifier.
    Direct {
        /// One.
        one: FragmentNo,
        /// The other.
        other: FragmentNo,
        /// Why.
        kind: DirectKind,
        /// Time of the event or act that says so.
        time: Timestamp,
    },
    /// A device gets a further fragment.
    Fragment {
        /// Its number.
        fragment: FragmentNo,
        /// The device.
        device: DeviceNo,
        /// Its id outside.
        key: ProfileKey,
    },
    /// Somebody else sits at a device: its next event goes to this fragment.
    Holder {
        /// The device.
        device: DeviceNo,
        /// The fragment.
        fragment: FragmentNo,
    },
    /// A link waits for a decision.
    Quarantine {
        /// The fragment.
        fragment: FragmentNo,
        /// The identifier.
        identifier: IdentifierNo,
        /// The limit that stands in the way.
        limit: Limit,
        /// How many of this position were quarantined before it.
        place: u16,
        /// Whether somebody vouches for it.
        verified: bool,
        /// Event time.
        time: Timestamp,
    },
    /// What became of the identifiers of the event that follows.
    Identified {
        /// The fragment that the event goes to.
        fragment: Option<FragmentNo>,
        /// In the order decided.
        results: Vec<LinkResult>,
    },
    /// A link does not hold any more, for now or for good.
    Loosen {
        /// What it joins.
        ends: Ends,
        /// Why.
        standing: Standing,
    },
    /// A link that was suspended holds again.
    Restore {
        /// The fragment.
        fragment: FragmentNo,
        /// The identifier.
        identifier: IdentifierNo,
        /// Whether it joins.
        joins: bool,
    },
    /// An identifier is blocked, or is not any more.
    Blocked {
        /// The identifier.
        identifier: IdentifierNo,
        /// Which.
        blocked: bool,
    },
    /// Two fragments must not be in one profile, or may again.
    Guard {
        /// One.
        one: FragmentNo,
        /// The other.
        other: FragmentNo,
        /// Which.
        stands: bool,
    },
    /// What the links of some persons give, now that some were taken away. Persons that are joined by them only
    /// are named by no move.
    Regroup {
        /// The roots of before.
        roots: Vec<FragmentNo>,
        /// Fragments whose parent is another now, with the position of the union.
        moves: Vec<(FragmentNo, Option<(FragmentNo, EventSeq)>)>,
        /// The roots of now that were none before.
        new_roots: Vec<FragmentNo>,
    },
    /// A person acted; what came of it stands before this. Takes one sequence number.
    Acted,
    /// The rules of identity are these from here on: the settings, as JSON.
    Ruled(Box<str>),
    /// Links were not said again in time; what came of it stands before this. Takes one sequence number.
    Expired,
}

impl Effect {
    /// Whether it takes a sequence number.
    #[must_use]
    pub const fn takes_seq(&self) -> bool {
        matches!(self, Self::Event(_) | Self::Ended { .. } | Self::Acted | Self::Expired)
    }
}

/// What a link joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Ends {
    /// A fragment and an identifier.
    Identifier(LinkKey),
    /// Two fragments.
    Pair(PairKey),
}

/// Why two profiles are one: the link that came last.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum JoinCause {
    /// Of two fragments.
    Direct(PairKey),
    /// Of a fragment and an identifier that another profile had.
    Link {
        /// The link.
        link: LinkKey,
        /// The fragment by which the other profile had it.
        carrier: FragmentNo,
    },
}

/// What became of one identifier of an event.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LinkResult {
    /// Name of its namespace.
    pub namespace: Box<str>,
    /// Its normalised value, or as sent where it could not be read.
    pub value: Box<str>,
    /// The outcome.
    pub outcome: LinkOutcome,
    /// The reason.
    pub code: Option<LinkCode>,
    /// Which of the merges of this event it made.
    pub merge: Option<u16>,
    /// Oldest fragments of the two profiles as they were before, this event's first.
    pub sides: Option<(FragmentNo, FragmentNo)>,
    /// Of a switch: the fragment that the event would have gone to.
    pub from: Option<FragmentNo>,
    /// Of a link in quarantine: the position that brought it there, and its place among those of that position.
    pub entry: Option<(EventSeq, u16)>,
}

impl LinkResult {
    /// Whether an event at a position decided it by who had what then, so that it might have come out otherwise:
    /// a switch, a quarantine, a conflict.
    #[must_use]
    pub fn is_decided_at(&self, seq: EventSeq) -> bool {
        match self.outcome {
            LinkOutcome::Switched => true,
            LinkOutcome::Quarantined => self.entry.is_some_and(|(of, _)| of == seq),
            LinkOutcome::Refused => self.code.is_some_and(LinkCode::is_conflict),
            _ => false,
        }
    }
}

/// The reason of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[expect(missing_docs, reason = "docs/identity.md says what each means, under the name that `as_str` gives")]
pub enum LinkCode {
    ProfileLess,
    UnknownNamespace,
    Junk,
    Unlinkable,
    Blocked,
    Cut,
    Rejected,
    TwoValues,
    UniqueConflict,
    KeptApart,
    ValuesPerProfile,
    FragmentsMax,
    AttachOnly,
    Unverified,
    Expired,
}

impl LinkCode {
    /// Whether who had what at that moment decided it, and not the value or an earlier decision: such refusals are
    /// part of a profile's history.
    #[must_use]
    pub const fn is_conflict(self) -> bool {
        matches!(self, Self::UniqueConflict | Self::KeptApart)
    }

    /// As it is written in an answer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProfileLess => "profile_less",
            Self::UnknownNamespace => "unknown_namespace",
            Self::Junk => "junk",
            Self::Unlinkable => "unlinkable",
            Self::Blocked => "blocked",
            Self::Cut => "cut",
            Self::Rejected => "rejected",
            Self::TwoValues => "two_values",
            Self::UniqueConflict => "unique_conflict",
            Self::KeptApart => "kept_apart",
            Self::ValuesPerProfile => "values_per_profile",
            Self::FragmentsMax => "fragments_max",
            Self::AttachOnly => "attach_only",
            Self::Unverified => "unverified",
            Self::Expired => "expired",
        }
    }
}

impl From<Limit> for LinkCode {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::ValuesPerProfile => Self::ValuesPerProfile,
            Limit::FragmentsMax => Self::FragmentsMax,
        }
    }
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
