//! `server.json` in the data directory: where the server that has the directory open can be reached.
//!
//! The command line reads it when the directory is locked. It is there from when the server listens until it stops;
//! one that a killed server left behind does no harm, since it is only looked at while the lock is held, and names an
//! instance that the server at its address must confirm.

use crate::access::file::OWNER_ONLY;
use crate::access::secret::Secret;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const NAME: &str = "server.json";

/// Who serves a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Where it listens.
    pub address: SocketAddr,
    /// Which run of it: `GET /api/v1/status` says the same.
    pub instance: String,
    /// Its process, for a person.
    pub pid: u32,
    /// SHA-256 of the certificate that it shows, in hexadecimal digits, if it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// A key with which commands may do everything until it stops: so only its owner may read the file.
    #[serde(default)]
    pub key: Option<Secret>,
}

impl Address {
    /// Reads the file of `data_dir`; `None` if there is none, or it is not ours.
    #[must_use]
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(data_dir.join(NAME)).ok()?).ok()
    }

    /// Writes the file, whole or not at all. It goes when what is returned is dropped.
    ///
    /// # Errors
    /// What the system says.
    pub fn publish(&self, data_dir: &Path) -> io::Result<Published> {
        self.write(data_dir)?;
        Ok(Published(data_dir.join(NAME)))
    }

    /// Writes the file anew, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write(&self, data_dir: &Path) -> io::Result<()> {
        let path = data_dir.join(NAME);
        let new = data_dir.join("server.json.new");
        // One that a kill left behind may have another mode.
        let _ = std::fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&new)?;
        file.write_all(&serde_json::to_vec(self).map_err(io::Error::other)?)?;
        drop(file);
        std::fs::rename(&new, &path)
    }
}

/// The file while it is there.
#[derive(Debug)]
pub struct Published(PathBuf);

impl Drop for Published {
    fn drop(&mut self) {
        // Left behind it does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}
