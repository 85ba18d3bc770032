//! The server in this process: HTTP in front of an engine whose clock the test moves.

use super::http::{Backing, Http, source_of_devices};
use super::{Embedded, Need, Target};
use spoor::model::CheckReport;
use spoor::{Settings, Timestamp};
use spoor_server::http::{Server, serve_store};
use spoor_server::settings::Configuration;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A server on any free port.
#[derive(Debug)]
pub struct Served {
    engine: Embedded,
    configuration: Configuration,
    server: Option<Server>,
}

impl Served {
    /// One with an empty store.
    #[must_use]
    pub fn make(settings: &Settings, now: Timestamp) -> Box<dyn Target> {
        Box::new(Http::start(Self::new(settings, now)))
    }

    /// One that is sent requests in the compact form.
    #[must_use]
    pub fn make_compact(settings: &Settings, now: Timestamp) -> Box<dyn Target> {
        Box::new(Http::start_compact(Self::new(settings, now)))
    }

    fn new(settings: &Settings, now: Timestamp) -> Self {
        let mut configuration = Configuration { engine: settings.clone(), ..Configuration::default() };
        configuration.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { engine: Embedded::new(settings, now), configuration, server: None }
    }
}

impl Backing for Served {
    fn name(&self) -> &'static str {
        "served"
    }

    fn lacks(&self, _: Need) -> bool {
        false
    }

    fn start(&mut self) -> String {
        self.engine.open_if_closed();
        let store = Arc::new(self.engine.engine().clone());
        let server = serve_store(&self.configuration, store, "test".to_owned()).expect("a server");
        let address = server.address().to_string();
        self.server = Some(server);
        address
    }

    fn stop(&mut self, gently: bool) {
        if !gently {
            self.engine.switch_off();
        }
        if let Some(server) = self.server.take() {
            let stopped = server.shutdown();
            assert!(!gently || stopped.is_ok(), "stopping: {stopped:?}");
        }
        self.engine.let_go();
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.engine.set_clock(now);
    }

    fn check(&mut self) -> Option<CheckReport> {
        self.engine.check()
    }

    fn source_of_devices(&self) -> Option<String> {
        source_of_devices(&self.configuration.engine)
    }
}
