//! How far a webhook has come: one number in a file of the data directory, whole and durable at any time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The folder of the data directory in which places are.
const FOLDER: &str = "webhooks";

/// The file of one webhook.
#[derive(Debug)]
pub(super) struct Place {
    file: PathBuf,
    folder: PathBuf,
}

impl Place {
    /// Of the webhook called `name`, which is fit for a file's name.
    pub(super) fn new(data_dir: &Path, name: &str) -> Self {
        let folder = data_dir.join(FOLDER);
        Self { file: folder.join(name), folder }
    }

    /// The position that it has come to; at first `otherwise`, which is kept.
    pub(super) fn read_or(&self, otherwise: u64) -> io::Result<u64> {
        match fs::read_to_string(&self.file) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let message = format!("{} does not hold a position", self.file.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.folder)?;
                self.write(otherwise)?;
                Ok(otherwise)
            }
            Err(error) => Err(error),
        }
    }

    /// Durable when it returns; at every moment before, the old number stands.
    pub(super) fn write(&self, position: u64) -> io::Result<()> {
        let new = self.file.with_extension("new");
        let mut file = File::create(&new)?;
        writeln!(file, "{position}")?;
        file.sync_all()?;
        fs::rename(&new, &self.file)?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_and_nonsense_is_not_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), "orders");
        assert_eq!(place.read_or(7).unwrap(), 7);
        assert_eq!(place.read_or(9).unwrap(), 7, "the first time counts");
        place.write(12).unwrap();
        assert_eq!(Place::new(dir.path(), "orders").read_or(0).unwrap(), 12);
        assert_eq!(Place::new(dir.path(), "others").read_or(0).unwrap(), 0);
        fs::write(dir.path().join("webhooks/orders"), "12 or so").unwrap();
        assert!(place.read_or(0).is_err());
    }
}
