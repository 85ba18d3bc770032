//! The tables of the index: their names in the file and the widths of their keys.
//!
//! It does not know what the rows mean. A table that is added, removed or given another shape
//! changes the file's format: raise the format number that the engine opens the index with, and
//! older files are rebuilt from the log.

use redb::TableDefinition;

/// A table of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "what the rows mean belongs to the code that writes them")]
pub enum TableId {
    SessionIds,
    Sessions,
    Parts,
    PartKeys,
    SessionParts,
    ServerIds,
    ClientIds,
    DeviceKeys,
    Devices,
    Fragments,
    Tallies,
    Traits,
    Consents,
    Persons,
    PersonTallies,
    PersonTraits,
    PersonConsents,
    IdentifierNos,
    Identifiers,
    Links,
    Directs,
    Lists,
    Repeats,
    Postings,
    FragmentParts,
    Names,
    NameTexts,
    Gaps,
    Due,
}

/// How long the keys and values of a table are. What has one width is found without looking up where it lies, and
/// costs no 4 bytes for its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Keys and values of any length. Each costs 4 bytes more for its length.
    Bytes,
    /// Keys are dense numbers of [`NUMBER_BYTES`], big-endian so that they sort by value; values of any
    /// length.
    Numbered,
    /// Keys of two such numbers; values of any length.
    Paired,
    /// Keys of [`ITEM_KEY_BYTES`], and no values.
    Items,
    /// Keys of three numbers, and no values.
    Triples,
    /// Keys of [`REPEAT_KEY_BYTES`] and values of [`REPEAT_VALUE_BYTES`], both big-endian.
    Repeats,
}

/// Does `$body` with the redb types of a shape's keys and values as `$K` and `$V`.
macro_rules! as_shape {
    ($shape:expr, $K:ident, $V:ident => $body:expr) => {
        match $shape {
            Shape::Bytes => as_shape!(@ $K = tables::AnyBytes, $V = tables::AnyBytes, $body),
            Shape::Numbered => as_shape!(@ $K = tables::NumberKey, $V = tables::AnyBytes, $body),
            Shape::Paired => as_shape!(@ $K = tables::PairKey, $V = tables::AnyBytes, $body),
            Shape::Items => as_shape!(@ $K = tables::ItemKey, $V = (), $body),
            Shape::Triples => as_shape!(@ $K = tables::TripleKey, $V = (), $body),
            Shape::Repeats => as_shape!(@ $K = tables::RepeatKey, $V = tables::RepeatValue, $body),
        }
    };
    (@ $K:ident = $key:ty, $V:ident = $value:ty, $body:expr) => {{
        type $K = $key;
        type $V = $value;
        $body
    }};
}
pub(super) use as_shape;

/// Width of a dense number as a key, in bytes.
pub const NUMBER_BYTES: usize = 8;
/// Width of a key of two numbers, in bytes.
pub const PAIR_BYTES: usize = 2 * NUMBER_BYTES;
/// Width of a key of three numbers, in bytes.
pub const TRIPLE_BYTES: usize = 3 * NUMBER_BYTES;
/// Width of a key of [`TableId::Lists`], in bytes: kind, whose list, item.
pub const ITEM_KEY_BYTES: usize = 1 + PAIR_BYTES;
/// Width of a key of [`TableId::Repeats`], in bytes.
pub const REPEAT_KEY_BYTES: usize = 16;
/// Width of a value of [`TableId::Repeats`], in bytes.
pub const REPEAT_VALUE_BYTES: usize = 8;

/// Key and value of any length, as redb types.
pub(super) type AnyBytes = &'static [u8];
/// A dense number, as a redb type.
pub(super) type NumberKey = &'static [u8; NUMBER_BYTES];
/// Two of them, as a redb type.
pub(super) type PairKey = &'static [u8; PAIR_BYTES];
/// Three of them, as a redb type.
pub(super) type TripleKey = &'static [u8; TRIPLE_BYTES];
/// A key of [`TableId::Lists`], as a redb type.
pub(super) type ItemKey = &'static [u8; ITEM_KEY_BYTES];
/// A key of [`TableId::Repeats`], as a redb type.
pub(super) type RepeatKey = &'static [u8; REPEAT_KEY_BYTES];
/// A value of [`TableId::Repeats`], as a redb type.
pub(super) type RepeatValue = &'static [u8; REPEAT_VALUE_BYTES];

/// What the index says about itself: format number and the meta of the last checkpoint.
pub(super) const ABOUT: TableDefinition<'static, &'static str, AnyBytes> = TableDefinition::new("about");
/// Key in [`ABOUT`]: the format number, 4 bytes little-endian.
pub(super) const ABOUT_FORMAT: &str = "format";
/// Key in [`ABOUT`]: what the last checkpoint was given as its meta.
pub(super) const ABOUT_META: &str = "meta";
/// Key in [`ABOUT`]: what the last rewriting was given as its mark, 8 bytes little-endian.
pub(super) const ABOUT_REWRITTEN: &str = "rewritten";

impl TableId {
    /// Every table, in the order of the enum.
    pub const ALL: [Self; 29] = [
        Self::SessionIds,
        Self::Sessions,
        Self::Parts,
        Self::PartKeys,
        Self::SessionParts,
        Self::ServerIds,
        Self::ClientIds,
        Self::DeviceKeys,
        Self::Devices,
        Self::Fragments,
        Self::Tallies,
        Self::Traits,
        Self::Consents,
        Self::Persons,
        Self::PersonTallies,
        Self::PersonTraits,
        Self::PersonConsents,
        Self::IdentifierNos,
        Self::Identifiers,
        Self::Links,
        Self::Directs,
        Self::Lists,
        Self::Repeats,
        Self::Postings,
        Self::FragmentParts,
        Self::Names,
        Self::NameTexts,
        Self::Gaps,
        Self::Due,
    ];

    /// Name of the table in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SessionIds => "session_ids",
            Self::Sessions => "sessions",
            Self::Parts => "parts",
            Self::PartKeys => "part_keys",
            Self::SessionParts => "session_parts",
            Self::ServerIds => "server_ids",
            Self::ClientIds => "client_ids",
            Self::DeviceKeys => "device_keys",
            Self::Devices => "devices",
            Self::Fragments => "fragments",
            Self::Tallies => "tallies",
            Self::Traits => "traits",
            Self::Consents => "consents",
            Self::Persons => "persons",
            Self::PersonTallies => "person_tallies",
            Self::PersonTraits => "person_traits",
            Self::PersonConsents => "person_consents",
            Self::IdentifierNos => "identifier_nos",
            Self::Identifiers => "identifiers",
            Self::Links => "links",
            Self::Directs => "directs",
            Self::Lists => "lists",
            Self::Repeats => "repeats",
            Self::Postings => "postings",
            Self::FragmentParts => "fragment_parts",
            Self::Names => "names",
            Self::NameTexts => "name_texts",
            Self::Gaps => "gaps",
            Self::Due => "due",
        }
    }

    /// How long its keys and values are. A key of another length is an error, never truncated.
    #[must_use]
    pub const fn shape(self) -> Shape {
        match self {
            Self::Sessions
            | Self::Parts
            | Self::Devices
            | Self::Fragments
            | Self::Tallies
            | Self::Traits
            | Self::Consents
            | Self::Persons
            | Self::PersonTallies
            | Self::PersonTraits
            | Self::PersonConsents
            | Self::Identifiers => Shape::Numbered,
            Self::PartKeys
            | Self::SessionParts
            | Self::ServerIds
            | Self::Links
            | Self::Directs
            | Self::Postings
            | Self::Due => Shape::Paired,
            Self::Lists => Shape::Items,
            Self::FragmentParts => Shape::Triples,
            Self::Repeats => Shape::Repeats,
            Self::SessionIds
            | Self::ClientIds
            | Self::DeviceKeys
            | Self::IdentifierNos
            | Self::Names
            | Self::NameTexts
            | Self::Gaps => Shape::Bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_every_table_once_in_order() {
        for (position, table) in TableId::ALL.iter().enumerate() {
            assert_eq!(*table as usize, position);
        }
        let mut names: Vec<_> = TableId::ALL.iter().map(|table| table.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TableId::ALL.len());
        assert!(!names.contains(&"about"));
        // A table added to the enum and forgotten in ALL would be the next position.
        assert_eq!(TableId::Due as usize + 1, TableId::ALL.len());
    }
}
