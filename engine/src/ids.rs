//! Names of things: dense numbers inside, text outside.
//!
//! Dense numbers are given in order of arrival and are a function of the log. They never leave the
//! engine, except for [`EventSeq`].

use bincode::{Decode, Encode};
use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

number! {
    /// Position in the log: every event and every other fact has one, without gaps, from 1.
    EventSeq(u64)
}
number! {
    /// A source.
    SourceNo(u32)
}
number! {
    /// An id space.
    SpaceNo(u32)
}
number! {
    /// An event type.
    TypeNo(u32)
}
number! {
    /// A trait name.
    TraitNo(u32)
}
number! {
    /// A consent name.
    ConsentNo(u32)
}
number! {
    /// A parsed user agent.
    AgentNo(u32)
}
number! {
    /// A namespace of identifiers.
    NamespaceNo(u32)
}
number! {
    /// An identifier: namespace and value.
    IdentifierNo(u64)
}
number! {
    /// A device.
    DeviceNo(u64)
}
number! {
    /// A fragment.
    FragmentNo(u64)
}
number! {
    /// A session with a row of its own.
    SessionNo(u64)
}
number! {
    /// A part of a session, or the events of one fragment that came without a session.
    PartNo(u64)
}

/// What a profile id is outside: made by the server, or by a trusted source in its id space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum ProfileKey {
    /// Made by the server.
    Server(#[bincode(with_serde)] Uuid),
    /// Brought by a source with `profile_ids = "client"`; unique within the id space.
    Client {
        /// The id space of the source.
        space: SpaceNo,
        /// The id as sent, trimmed.
        id: Box<str>,
    },
}
