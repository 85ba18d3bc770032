//! How large the files of a data directory are, by what they are. Knows their names, and none of what is in them.

use std::path::Path;

/// Bytes of the log and of the index. What is removed or not there at this moment counts nothing.
pub(super) fn of(data_dir: &Path) -> [(&'static str, u64); 2] {
    let entries = std::fs::read_dir(data_dir.join("log")).into_iter().flatten().flatten();
    let log = entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum();
    let index = std::fs::metadata(data_dir.join("index.redb")).map_or(0, |file| file.len());
    [("log", log), ("index", index)]
}
