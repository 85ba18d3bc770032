//! What is measured: the variants, each with its short name and what it is.

use super::Options;
use clap::ValueEnum;

/// Connections to PostgreSQL with a hundred events a call, where fewer than to the others do better.
pub(super) const POSTGRES_FEW: usize = 4;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Variant {
    /// The server, one event a request.
    Spoor,
    /// The same server, which only parses.
    Parse,
    /// The same server, which only appends.
    Append,
    /// PostgreSQL, one event a function call.
    Postgres,
    /// SQLite, one event a commit.
    Sqlite,
    /// redb with its indexes, 64 events a commit.
    Redb,
    /// The server, many events a request.
    SpoorBatch,
    /// The same server, which only parses.
    ParseBatch,
    /// The same server, which only appends.
    AppendBatch,
    /// PostgreSQL, many events a function call, as many connections as the servers.
    PostgresBatch,
    /// The same with four connections.
    PostgresBatchFew,
    /// SQLite, many events a commit.
    SqliteBatch,
    /// redb with its indexes, as many events a commit.
    RedbBatch,
    /// The server, many events a request, in the compact form.
    SpoorBinary,
    /// The server, one connection.
    SpoorAlone,
    /// The server that only appends, one connection.
    AppendAlone,
    /// The engine in this process, 1,000 requests in flight.
    Engine,
    /// redb, appending the bytes that it logged.
    Rows,
    /// A plain file, appending them.
    Plain,
    /// redb with its indexes, 1,000 events a commit.
    RedbThousand,
    /// The server at half the rate that it reached, in an open loop.
    Half,
    /// The same in a store that holds events.
    HalfFilled,
    /// The same while profiles are read.
    Reading,
    /// The engine in this process, while its store grows; then the opening of what that left.
    Growth,
    /// The memory of the server as a process: fresh, and under load in a store that holds events.
    Memory,
}

impl Variant {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 25] = [
        Self::Spoor,
        Self::Parse,
        Self::Append,
        Self::Postgres,
        Self::Sqlite,
        Self::Redb,
        Self::SpoorBatch,
        Self::ParseBatch,
        Self::AppendBatch,
        Self::PostgresBatch,
        Self::PostgresBatchFew,
        Self::SqliteBatch,
        Self::RedbBatch,
        Self::SpoorBinary,
        Self::SpoorAlone,
        Self::AppendAlone,
        Self::Engine,
        Self::Rows,
        Self::Plain,
        Self::RedbThousand,
        Self::Half,
        Self::HalfFilled,
        Self::Reading,
        Self::Growth,
        Self::Memory,
    ];

    /// Its short name.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Spoor => "spoor",
            Self::Parse => "parse",
            Self::Append => "append",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
            Self::Redb => "redb",
            Self::SpoorBatch => "spoor-batch",
            Self::ParseBatch => "parse-batch",
            Self::AppendBatch => "append-batch",
            Self::PostgresBatch => "postgres-batch",
            Self::PostgresBatchFew => "postgres-batch-few",
            Self::SqliteBatch => "sqlite-batch",
            Self::RedbBatch => "redb-batch",
            Self::SpoorBinary => "spoor-binary",
            Self::SpoorAlone => "spoor-alone",
            Self::AppendAlone => "append-alone",
            Self::Engine => "engine",
            Self::Rows => "rows",
            Self::Plain => "plain",
            Self::RedbThousand => "redb-thousand",
            Self::Half => "half",
            Self::HalfFilled => "half-filled",
            Self::Reading => "reading",
            Self::Growth => "growth",
            Self::Memory => "memory",
        }
    }

    /// What it is, in the sizes of a run.
    #[must_use]
    pub fn name(self, options: &Options) -> String {
        let (one, many, batch) = (options.connections, options.batch_connections, options.batch);
        let filled = options.stored_events;
        match self {
            Self::Spoor => format!("HTTP, {one} connections"),
            Self::Parse => format!("HTTP that only parses, {one} connections"),
            Self::Append => format!("HTTP that only appends, {one} connections"),
            Self::Postgres => format!("PostgreSQL, a call each, {one} connections"),
            Self::Sqlite => "SQLite, a commit each".to_owned(),
            Self::Redb => "redb with its indexes, 64 a commit".to_owned(),
            Self::SpoorBatch => format!("HTTP, {batch} a request, {many} connections"),
            Self::ParseBatch => format!("HTTP that only parses, {batch} a request"),
            Self::AppendBatch => format!("HTTP that only appends, {batch} a request"),
            Self::PostgresBatch => format!("PostgreSQL, {batch} a call, {many} connections"),
            Self::PostgresBatchFew => format!("PostgreSQL, {batch} a call, {POSTGRES_FEW} connections"),
            Self::SqliteBatch => format!("SQLite, {batch} a commit"),
            Self::RedbBatch => format!("redb with its indexes, {batch} a commit"),
            Self::SpoorBinary => format!("HTTP, binary, {batch} a request, {many} connections"),
            Self::SpoorAlone => "HTTP, 1 connection".to_owned(),
            Self::AppendAlone => "HTTP that only appends, 1 connection".to_owned(),
            Self::Engine => "embedded, 1,000 in flight".to_owned(),
            Self::Rows => "redb, its bytes, 1,000 a commit".to_owned(),
            Self::Plain => "plain file, its bytes, 1,000 a sync".to_owned(),
            Self::RedbThousand => "redb with its indexes, 1,000 a commit".to_owned(),
            Self::Half => format!("HTTP at half load, {one} connections"),
            Self::HalfFilled => format!("HTTP at half load, {filled} events stored"),
            Self::Reading => format!("HTTP at half load, {filled} events stored, and reads"),
            Self::Growth => format!("embedded, until {filled} events are stored"),
            Self::Memory => format!("memory of the server, {filled} events stored, and reads"),
        }
    }

    /// Whether it runs at half of what [`Variant::Spoor`] reaches.
    #[must_use]
    pub const fn is_half(self) -> bool {
        matches!(self, Self::Half | Self::HalfFilled | Self::Reading)
    }

    /// Whether it runs once, after the rounds: it takes long, or the figures of the rounds.
    #[must_use]
    pub const fn runs_once(self) -> bool {
        self.is_half() || matches!(self, Self::Growth | Self::Memory)
    }

    /// Whether it needs PostgreSQL.
    #[must_use]
    pub const fn takes_postgres(self) -> bool {
        matches!(self, Self::Postgres | Self::PostgresBatch | Self::PostgresBatchFew)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Size;
    use super::*;
    use std::collections::HashSet;
    use std::path::Path;

    #[test]
    fn all_are_there_once_and_have_names_of_their_own() {
        assert_eq!(Variant::ALL.len(), Variant::value_variants().len());
        let keys: HashSet<&str> = Variant::ALL.iter().map(|variant| variant.key()).collect();
        let options = Options::new(Size::Small, Path::new("."));
        let names: HashSet<String> = Variant::ALL.iter().map(|variant| variant.name(&options)).collect();
        assert_eq!((keys.len(), names.len()), (Variant::ALL.len(), Variant::ALL.len()));
        for variant in Variant::ALL {
            assert_eq!(Variant::from_str(variant.key(), false), Ok(variant));
        }
    }
}
