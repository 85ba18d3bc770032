//! A certificate that is replaced while the server runs: files are read anew at SIGHUP, and new connections are shown
//! what they hold. Where something is wrong with them, the old certificate stays.

use super::address::Address;
use crate::settings::{SettingsError, TlsSettings};
use crate::tls::shown::Shown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What is shown, and whence it comes.
#[derive(Debug)]
pub(super) struct Renewal {
    files: TlsSettings,
    shown: Arc<watch::Sender<Shown>>,
    /// What commands are told, and the data directory in which it stands.
    told: Option<(Address, PathBuf)>,
}

impl Renewal {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// As [`Shown::read`].
    pub(super) fn begin(files: &TlsSettings) -> Result<Self, SettingsError> {
        let shown = Arc::new(watch::Sender::new(Shown::read(files)?));
        Ok(Self { files: files.clone(), shown, told: None })
    }

    /// What is shown, now and later.
    pub(super) fn shown(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe()
    }

    /// SHA-256 of the certificate that is shown now.
    pub(super) fn fingerprint(&self) -> String {
        self.shown.borrow().fingerprint.clone()
    }

    /// Commands find the server by `address`, in `server.json` of `data_dir`: it has to name the new certificate too.
    pub(super) fn tell(&mut self, address: &Address, data_dir: &Path) {
        self.told = Some((address.clone(), data_dir.to_owned()));
    }

    /// Reads the files again whenever SIGHUP arrives from here on. Inside a runtime only, whose end is its end.
    pub(super) fn listen(&self) -> std::io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        let (files, shown, told) = (self.files.clone(), Arc::clone(&self.shown), self.told.clone());
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                renew(&files, &shown, told.as_ref());
            }
        });
        Ok(())
    }
}

fn renew(files: &TlsSettings, shown: &watch::Sender<Shown>, told: Option<&(Address, PathBuf)>) {
    let new = match Shown::read(files) {
        Ok(new) => new,
        Err(error) => {
            tracing::error!(%error, "the certificate was not replaced: the old one is shown");
            return;
        }
    };
    let certificate = Some(new.fingerprint.clone());
    shown.send_replace(new);
    if let Some((address, data_dir)) = told
        && let Err(error) = (Address { certificate, ..address.clone() }).write(data_dir)
    {
        tracing::warn!(%error, "server.json cannot be written: commands will not find this server");
    }
    tracing::info!("the certificate was read anew");
}
