//! Whom webhooks trust: the authorities of this machine, and those of a file beside.
//!
//! Those of the machine rather than a list that is built in: its operator adds to it and takes from it, for all
//! programs at once, and it does not age with this one.

use super::{certificates, provider, refused};
use crate::settings::SettingsError;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::sync::Arc;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// How the webhook called `name` verifies its receiver, with the authorities of the file `ca` too.
///
/// # Errors
/// Names the setting: the file cannot be read or has something else in it, or there is nobody to be trusted.
pub(crate) fn config(name: &str, ca: Option<&Path>) -> Result<TlsConfig, SettingsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut authorities = found.certs;
    if let Some(file) = ca {
        let key = format!("webhooks.{name}.ca");
        let own = certificates(&key, file)?;
        let mut sound = RootCertStore::empty();
        for certificate in &own {
            sound.add(certificate.clone()).map_err(|error| refused(&key, file, &error))?;
        }
        authorities.extend(own);
    }
    if authorities.is_empty() {
        let errors: String = found.errors.iter().map(|error| format!(" ({error})")).collect();
        let reason = format!(
            "this machine has no certificates of authorities{errors}: install them (ca-certificates), or name your \
             own with ca"
        );
        return Err(SettingsError { key: format!("webhooks.{name}.url"), reason });
    }
    let authority = |found: &CertificateDer<'_>| Certificate::from_der(found).to_owned();
    let roots = RootCerts::Specific(Arc::new(authorities.iter().map(authority).collect()));
    Ok(TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider()).build())
}
