//! The certificate that the server shows, with its key: read at the start, and anew when it is told to.

use super::{certificates, fingerprint, provider, refused};
use crate::settings::{SettingsError, TlsSettings};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;

const CERTIFICATE: &str = "server.tls.certificate";
const KEY: &str = "server.tls.key";

/// What a server shows those who connect.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// For each handshake.
    pub(crate) config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, by which a command knows it again.
    pub(crate) fingerprint: String,
}

impl Shown {
    /// Reads both files. HTTP/2 goes before HTTP/1.1, where the client speaks both.
    ///
    /// # Errors
    /// Names the setting and the file: one cannot be read, is not what it should be, or does not belong to the other.
    pub(crate) fn read(files: &TlsSettings) -> Result<Self, SettingsError> {
        let chain = certificates(CERTIFICATE, &files.certificate)?;
        let fingerprint = chain.first().map(fingerprint).unwrap_or_default();
        let of_key = |reason: &dyn std::fmt::Display| refused(KEY, &files.key, reason);
        let bytes = std::fs::read(&files.key).map_err(|error| of_key(&error))?;
        let key = PrivateKeyDer::from_pem_slice(&bytes)
            .map_err(|_| of_key(&"there is no private key in it (PEM without a password is expected)"))?;
        let of_both = |error: rustls::Error| match error {
            rustls::Error::InconsistentKeys(_) => {
                of_key(&format!("it is not the key of {}", files.certificate.display()))
            }
            rustls::Error::InvalidCertificate(_) => refused(CERTIFICATE, &files.certificate, &error),
            error => of_key(&error),
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(of_both)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(of_both)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), fingerprint })
    }
}
