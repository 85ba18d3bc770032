//! Obeys: files, threads, the log, the overlay and the index. Holds no policy.

mod background;
pub mod base;
pub mod checkpoint;
pub mod codec;
mod committer;
pub mod disk;
mod ending;
pub mod figures;
pub mod index;
pub mod layers;
pub mod log;
pub mod mailbox;
pub mod opening;
pub mod overlay;
pub mod postings;
pub mod published;
pub mod record;
pub mod shards;
pub mod writer;
