//! Obeys: files, threads, the log, the overlay and the index. Holds no policy.

pub mod disk;
pub mod log;
