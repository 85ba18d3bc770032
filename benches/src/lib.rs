//! What Spoor costs, measured beside other ways to do the same work, on the same events.
//!
//! The programs are in `bin/`; what they share is here, in the order in which a run uses it.

pub mod agents;
pub mod traffic;
pub mod wire;

pub mod measure;
pub mod metered;
pub mod usage;

pub mod embedded;
pub mod grouped;
pub mod layout;
pub mod logged;
pub mod plain;
pub mod rows;
pub mod simple;
pub mod sqlite;

pub mod limit;
pub mod servers;

pub mod postgres;

pub mod filled;
pub mod growth;

pub mod load;

pub mod machine;
pub mod probe;

pub mod book;
pub mod page;
pub mod report;

pub mod suite;

/// What ends a run early: anything at all, said to the person who started it.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;
