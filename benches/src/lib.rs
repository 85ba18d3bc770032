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
pub mod plain;
pub mod rows;
pub mod simple;

pub mod postgres;

pub mod load;

pub mod report;

/// What ends a run early: anything at all, said to the person who started it.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;
