//! `keys.json` in the data directory: the keys, with their hashes. Knows no rights but how they are written.
//!
//! It stands beside the log and not in it: what is in the log is kept for ever and read by whoever reads events, and a
//! store that is copied or made anew from its log must not bring back keys that were revoked. It is read once, when
//! the server starts, and written whole: a new file, synced, put in the place of the old one, and the directory synced,
//! so that after a loss of power there is the old file or the new one. Only its owner may read it.

use super::keyring::Kept;
use super::secret::Hash;
use super::{Key, Right};
use serde::{Deserialize, Serialize};
use spoor::Timestamp;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const NAME: &str = "keys.json";
const NEW_NAME: &str = "keys.json.new";
/// What the members mean. A file of another format is not guessed at.
const FORMAT: u32 = 1;
/// Reading and writing for the owner alone.
pub(crate) const OWNER_ONLY: u32 = 0o600;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    keys: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    name: String,
    right: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    created_at: String,
    /// SHA-256 of the key's text, in hexadecimal digits.
    hash: String,
}

/// Reads the keys; `None` if there is no file, and so never was a key.
///
/// # Errors
/// What the system says; or what is wrong with the file, which is named. A file that cannot be understood is no reason
/// to let anybody in.
pub(super) fn read(data_dir: &Path) -> io::Result<Option<Vec<Kept>>> {
    let path = data_dir.join(NAME);
    let wrong = |reason: String| io::Error::other(format!("{}: {reason}", path.display()));
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    keep_from_others(&path);
    let content: Content = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if content.format != FORMAT {
        return Err(wrong(format!("format {} is not known to this version", content.format)));
    }
    let keys: Option<Vec<Kept>> = content.keys.into_iter().map(kept).collect();
    keys.map(Some).ok_or_else(|| wrong("a key in it is not understood".to_owned()))
}

/// Takes the file from everybody but its owner, where somebody copied it back with other rights. Who has the hashes
/// has no key; but nobody else has to know who may call.
fn keep_from_others(path: &Path) {
    let Ok(mode) = std::fs::metadata(path).map(|found| found.permissions().mode() & 0o777) else { return };
    if mode & !OWNER_ONLY == 0 {
        return;
    }
    let file = path.display();
    match std::fs::set_permissions(path, Permissions::from_mode(OWNER_ONLY)) {
        Ok(()) => {
            tracing::warn!(%file, "others had rights to the file of keys (mode {mode:03o}); it is its owner's alone now");
        }
        Err(error) => {
            tracing::warn!(%file, %error, "others have rights to the file of keys (mode {mode:03o}), which stay");
        }
    }
}

/// Writes the keys. When it returns they are durable; when it fails the file has the old ones, or, where only the last
/// sync failed, the new ones, which the next start may find.
///
/// # Errors
/// What the system says, with the file's name.
pub(super) fn write<'a>(data_dir: &Path, keys: impl Iterator<Item = &'a Kept>) -> io::Result<()> {
    let content = Content { format: FORMAT, keys: keys.map(line).collect() };
    let path = data_dir.join(NAME);
    replace(data_dir, &path, &content)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn replace(data_dir: &Path, path: &Path, content: &Content) -> io::Result<()> {
    let new = data_dir.join(NEW_NAME);
    let mut text = serde_json::to_vec_pretty(content)?;
    text.push(b'\n');
    // One that a kill left behind may have another mode.
    if let Err(error) = std::fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(data_dir)?.sync_all()
}

fn kept(line: Line) -> Option<Kept> {
    let Line { id, name, right, source, created_at, hash } = line;
    let right = Right::read(&right, source.as_deref()).ok()?;
    let key = Key { id, name, right, created_at: Timestamp::parse(&created_at)? };
    Some(Kept { key, hash: Hash::from_hex(&hash)? })
}

fn line(kept: &Kept) -> Line {
    let Kept { key: Key { id, name, right, created_at }, hash } = kept;
    Line {
        id: id.clone(),
        name: name.clone(),
        right: right.word().to_owned(),
        source: right.source().map(ToString::to_string),
        created_at: created_at.to_string(),
        hash: hash.to_hex(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::SourceName;
    use super::*;

    fn one(right: Right) -> Kept {
        let created_at = Timestamp::from_millis(1_767_225_600_250);
        let key = Key { id: "0a1b".to_owned(), name: "the \"shop\"".to_owned(), right, created_at };
        Kept { key, hash: Hash::of("abc") }
    }

    #[test]
    fn what_is_written_is_read_again_and_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().is_none());
        let keys = [one(Right::Write(SourceName::new("shop"))), one(Right::Read), one(Right::Admin)];
        std::fs::write(dir.path().join(NEW_NAME), "left by a kill, and readable").unwrap();
        write(dir.path(), keys.iter()).unwrap();
        let found = read(dir.path()).unwrap().unwrap();
        assert_eq!(
            found.iter().map(|kept| &kept.key).collect::<Vec<_>>(),
            keys.each_ref().map(|kept| &kept.key)
        );
        assert!(found.iter().all(|kept| kept.hash.is(&Hash::of("abc"))));
        let mode = std::fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
        assert!(!dir.path().join(NEW_NAME).exists());
        // Copied back from somewhere.
        std::fs::set_permissions(dir.path().join(NAME), Permissions::from_mode(0o644)).unwrap();
        assert!(read(dir.path()).unwrap().is_some());
        let mode = std::fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
        write(dir.path(), [].iter()).unwrap();
        assert!(read(dir.path()).unwrap().unwrap().is_empty());
    }

    #[test]
    fn a_file_that_is_not_understood_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let line = r#"{"id":"a","name":"n","right":"read","created_at":"2026-01-01T00:00:00Z","hash":"00"}"#;
        for text in [
            "",
            "{}",
            r#"{"format":2,"keys":[]}"#,
            r#"{"format":1,"keys":[],"more":1}"#,
            &format!(r#"{{"format":1,"keys":[{line}]}}"#),
        ] {
            std::fs::write(dir.path().join(NAME), text).unwrap();
            let error = read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("keys.json: "), "{error}");
        }
    }
}
