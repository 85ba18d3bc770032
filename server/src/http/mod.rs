//! The HTTP server: from a configuration to a running listener and back.
//!
//! Called by `spoor serve` and by tests, which bring a clock and take port 0.

pub mod address;
pub mod answer;
pub mod body;
pub mod changes;
pub mod errors;
pub mod routes;
pub mod targets;
pub mod vendor_routes;

mod accept;
mod access;
mod answer_body;
mod caller;
mod intake;
mod listener;
mod metrics;
mod pages;
mod parameters;
mod renewal;
mod service;
mod sizes;
mod source_of_key;
mod stream;
mod tracker;
mod watch;

use crate::access::keyring::Keyring;
use crate::command::StopSignals;
use crate::settings::{Configuration, SettingsError};
use crate::store::Store;
use crate::webhooks::{Agents, Webhooks};
use address::{Address, Published};
use renewal::Renewal;
use service::Service;
use spoor::{Engine, Environment};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Why a server did not start, or did not stop as it should.
#[derive(Debug)]
pub enum ServeError {
    /// The store.
    Store(spoor::Error),
    /// The address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is asked for would let anybody do everything.
    Settings(SettingsError),
    /// Anything else that the system refused.
    System(std::io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Settings(error) => error.fmt(f),
            Self::System(source) => source.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<spoor::Error> for ServeError {
    fn from(error: spoor::Error) -> Self {
        Self::Store(error)
    }
}

/// A server that runs, on threads of its own. Stops when it is dropped, as by [`Server::shutdown`].
pub struct Server {
    address: SocketAddr,
    store: Arc<dyn Store>,
    stop: tokio::sync::watch::Sender<bool>,
    /// The certificate that is shown, where connections are encrypted.
    renewal: Option<Renewal>,
    /// `None` once it has been stopped.
    running: Option<Running>,
}

struct Running {
    runtime: Runtime,
    listener: JoinHandle<()>,
    published: Option<Published>,
    webhooks: Option<Webhooks>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Opens the store of `configuration` and serves it. The server listens, and `server.json` says where, when this
/// returns.
///
/// # Errors
/// [`ServeError`].
pub fn serve(configuration: &Configuration) -> Result<Server, ServeError> {
    serve_with(configuration, Environment::default())
}

/// [`serve`] with files, time and randomness of the caller's.
///
/// # Errors
/// [`ServeError`].
pub fn serve_with(configuration: &Configuration, environment: Environment) -> Result<Server, ServeError> {
    let open_keys = || Keyring::open(&configuration.data_dir).map_err(ServeError::System);
    // Before the store is opened, which may take its time; and keys are read once nobody else can change them.
    check_exposure(configuration, &open_keys()?)?;
    let agents = Agents::of(configuration).map_err(ServeError::Settings)?;
    let shown = read_shown(configuration)?;
    let engine = Engine::open_with(&configuration.data_dir, configuration.engine.clone(), environment)?;
    let keyring = Arc::new(open_keys()?);
    let key = Some(keyring.command_key().clone());
    let instance = instance();
    let mut server = start(configuration, Arc::new(engine), instance.clone(), keyring, shown)?;
    let webhooks = Webhooks::start(configuration, agents, &server.store).map_err(ServeError::System)?;
    if let Some(running) = &mut server.running {
        running.webhooks = Some(webhooks);
    }
    let certificate = server.renewal.as_ref().map(Renewal::fingerprint);
    let address = Address { address: server.address, instance, pid: std::process::id(), certificate, key };
    if let Some(renewal) = &mut server.renewal {
        renewal.tell(&address, &configuration.data_dir);
    }
    match address.publish(&configuration.data_dir) {
        Ok(published) => {
            if let Some(running) = &mut server.running {
                running.published = Some(published);
            }
        }
        // A data directory of a test's own disk is no directory of the system's. Only the command line needs the file.
        Err(error) => {
            tracing::warn!(%error, "server.json cannot be written: commands will not find this server");
        }
    }
    Ok(server)
}

/// Anybody who reaches a server without keys can read and change everything.
fn check_exposure(configuration: &Configuration, keyring: &Keyring) -> Result<(), ServeError> {
    if keyring.has_keys() || configuration.server.listen.ip().is_loopback() {
        return Ok(());
    }
    let key = "server.listen".to_owned();
    Err(ServeError::Settings(SettingsError { key, reason: WITHOUT_KEYS.to_owned() }))
}

const WITHOUT_KEYS: &str = "without keys the server listens on loopback only, since anybody who reaches it could read \
     and change everything: make a key first, with spoor key add, or listen on 127.0.0.1 or [::1]";

/// Serves a store that is open; closes it in the end. No `server.json` is written, and keys that are made last as long
/// as the server.
///
/// # Errors
/// [`ServeError::Listen`], [`ServeError::Settings`], [`ServeError::System`].
pub fn serve_store(
    configuration: &Configuration,
    store: Arc<dyn Store>,
    instance: String,
) -> Result<Server, ServeError> {
    let keyring = Keyring::in_memory().map_err(ServeError::System)?;
    serve_store_with(configuration, store, instance, Arc::new(keyring))
}

/// [`serve_store`] with keys of the caller's.
///
/// # Errors
/// As [`serve_store`].
pub fn serve_store_with(
    configuration: &Configuration,
    store: Arc<dyn Store>,
    instance: String,
    keyring: Arc<Keyring>,
) -> Result<Server, ServeError> {
    let shown = read_shown(configuration)?;
    start(configuration, store, instance, keyring, shown)
}

/// The certificate of the settings, and where another may be put in its place.
fn read_shown(configuration: &Configuration) -> Result<Option<Renewal>, ServeError> {
    let files = configuration.server.tls.as_ref();
    files.map(Renewal::begin).transpose().map_err(ServeError::Settings)
}

fn start(
    configuration: &Configuration,
    store: Arc<dyn Store>,
    instance: String,
    keyring: Arc<Keyring>,
    renewal: Option<Renewal>,
) -> Result<Server, ServeError> {
    check_exposure(configuration, &keyring)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("spoor-http")
        .enable_all()
        .build()
        .map_err(ServeError::System)?;
    let wanted = configuration.server.listen;
    let listen = |source| ServeError::Listen { address: wanted, source };
    let listener = runtime.block_on(TcpListener::bind(wanted)).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let service = Service::new(Arc::clone(&store), configuration, keyring, instance);
    let service = Arc::new(service.map_err(ServeError::System)?);
    let settings = configuration.server.clone();
    runtime.spawn(tell_failure(Arc::clone(&store), stopped.clone()));
    let shown = renewal.as_ref().map(Renewal::shown);
    let listener =
        runtime.spawn(async move { listener::run(listener, service, &settings, shown, stopped).await });
    Ok(Server {
        address,
        store,
        stop,
        renewal,
        running: Some(Running { runtime, listener, published: None, webhooks: None }),
    })
}

/// How often it is looked whether the store has closed itself.
const FAILURE_LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// Says in the log, once, that the store has closed itself, and why; nobody may be asking just then.
async fn tell_failure(store: Arc<dyn Store>, mut stopped: tokio::sync::watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(FAILURE_LOOK) => {}
        }
        if let Some(reason) = store.failure() {
            tracing::error!(%reason, "the store has closed itself: nothing is accepted until it is opened again");
            return;
        }
    }
}

/// Different for each run: the process, and when it started.
fn instance() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", std::process::id(), since.as_micros())
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The store that it serves.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Listens for SIGTERM and SIGINT from here on: before anybody is told that the server serves, who may then stop it
    /// at once. Where connections are encrypted, SIGHUP from here on has the certificate read anew; else it stops
    /// the server as the others do.
    ///
    /// # Errors
    /// [`ServeError::System`] if they cannot be listened for.
    pub fn listen_for_signals(&self) -> Result<Option<StopSignals>, ServeError> {
        let Some(running) = &self.running else { return Ok(None) };
        let _inside = running.runtime.enter();
        if let Some(renewal) = &self.renewal {
            renewal.listen().map_err(ServeError::System)?;
        }
        StopSignals::listen(self.renewal.is_none()).map(Some).map_err(ServeError::System)
    }

    /// Waits for one of them; returns at once where the server has stopped already.
    pub fn wait_for(&self, signals: Option<StopSignals>) {
        if let (Some(running), Some(mut signals)) = (&self.running, signals) {
            running.runtime.block_on(signals.arrived());
        }
    }

    /// Stops: no connection is accepted any more, what was accepted is answered, the store is closed, `server.json`
    /// goes.
    ///
    /// # Errors
    /// [`ServeError::Store`] if the store could not be closed cleanly; nothing acknowledged is lost then.
    pub fn shutdown(mut self) -> Result<(), ServeError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), ServeError> {
        let Some(Running { runtime, listener, published, webhooks }) = self.running.take() else {
            return Ok(());
        };
        self.stop.send_replace(true);
        // It fails only if it panicked, which the log says.
        let _ = runtime.block_on(listener);
        drop(webhooks);
        let closed = self.store.close();
        drop(published);
        // Reads that still wait for the disk are not waited for.
        runtime.shutdown_background();
        Ok(closed?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "the store was not closed cleanly");
        }
    }
}
