//! TLS, by rustls: what the server shows, whom webhooks trust, and how a command knows the server of its directory.
//!
//! Owns the choice of protocols and of cryptography, which is one for all: TLS 1.2 and 1.3, by ring, which needs no
//! more than a C compiler to be built. Certificates are always verified; there is no setting against it.

pub(crate) mod pinned;
pub(crate) mod shown;
pub(crate) mod trusted;

use crate::settings::SettingsError;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// SHA-256 of a certificate, in hexadecimal digits.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The certificates of the PEM file that the setting `key` names, at least one.
fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let refused = |reason: &dyn std::fmt::Display| refused(key, file, reason);
    let bytes = std::fs::read(file).map_err(|error| refused(&error))?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, pem::Error>>();
    match found.map_err(|error| refused(&error))? {
        none if none.is_empty() => Err(refused(&"there is no certificate in it (PEM is expected)")),
        certificates => Ok(certificates),
    }
}

/// A setting that names a file which is not what it should be.
fn refused(key: &str, file: &Path, reason: &dyn std::fmt::Display) -> SettingsError {
    SettingsError { key: key.to_owned(), reason: format!("{}: {reason}", file.display()) }
}
