//! The real server in a process of its own.
//!
//! The binary is the one that `SPOOR_BIN` names, or the one that was built beside the tests. It has the
//! machine's clock, so that scenarios that move the time are not for it.

use super::http::{Backing, Http, source_of_devices};
use super::{Need, Target};
use spoor::model::CheckReport;
use spoor::settings::{Keys, Merges, Normalizer, ProfileIds, Sessions};
use spoor::{Settings, Timestamp};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A process and its directory.
#[derive(Debug)]
pub struct Binary {
    directory: TempDir,
    child: Option<Child>,
    source_of_devices: Option<String>,
}

impl Binary {
    /// One with an empty store. The time is not used: the server has its own.
    #[must_use]
    pub fn make(settings: &Settings, _: Timestamp) -> Box<dyn Target> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("spoor.toml");
        std::fs::write(file, configuration(settings)).expect("a file of settings");
        let source_of_devices = source_of_devices(settings);
        Box::new(Http::start(Self { directory, child: None, source_of_devices }))
    }
}

impl Backing for Binary {
    fn name(&self) -> &'static str {
        "binary"
    }

    fn lacks(&self, need: Need) -> bool {
        need == Need::Clock
    }

    fn start(&mut self) -> String {
        // The port is free now; that somebody takes it before the server does is possible and shows at once.
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let address = format!("127.0.0.1:{port}");
        let child = Command::new(path())
            .arg("serve")
            .arg("--data")
            .arg(self.directory.path().join("data"))
            .arg("--listen")
            .arg(&address)
            .arg("--config")
            .arg(self.directory.path().join("spoor.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server's binary");
        self.child = Some(child);
        address
    }

    fn stop(&mut self, gently: bool) {
        let Some(mut child) = self.child.take() else { return };
        if gently {
            let asked = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
            assert!(asked.is_ok_and(|status| status.success()), "asking the server to stop");
        } else {
            child.kill().expect("killing the server");
        }
        child.wait().expect("the end of the server");
    }

    fn set_clock(&mut self, _: Timestamp) {
        panic!("the server has the machine's clock")
    }

    fn check(&mut self) -> Option<CheckReport> {
        None
    }

    fn source_of_devices(&self) -> Option<String> {
        self.source_of_devices.clone()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // What is left to do with a process that is already gone does not matter here.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn path() -> PathBuf {
    if let Some(path) = std::env::var_os("SPOOR_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("the path of this test");
    test.ancestors().nth(2).expect("the build directory").join("spoor")
}

/// The settings as an operator writes them.
fn configuration(settings: &Settings) -> String {
    let mut out = String::new();
    for (name, source) in &settings.sources {
        out += &format!("[sources.{name:?}]\n");
        if let Some(ids) = &source.ids {
            out += &format!("ids = {ids:?}\n");
        }
        if let Some(country) = &source.default_country {
            out += &format!("default_country = {country:?}\n");
        }
        let keys = if source.keys == Keys::Public { "public" } else { "secret" };
        let makers = if source.profile_ids == ProfileIds::Client { "client" } else { "server" };
        let sessions = if source.sessions == Sessions::Inactivity { "inactivity" } else { "client" };
        out += &format!("keys = {keys:?}\nprofile_ids = {makers:?}\nsessions = {sessions:?}\n");
        out += &format!("server = {}\nconversions = {:?}\n", source.server, source.conversions);
        out += &format!("page_views = {:?}\n", source.page_views);
        out += &format!("inactivity_timeout = \"{}ms\"\n", source.inactivity_timeout_ms);
        out += merges(source.merges);
    }
    for (name, namespace) in &settings.identifiers {
        let normalize = match namespace.normalize {
            Normalizer::Email => "email",
            Normalizer::Phone => "phone",
            Normalizer::Text => "text",
        };
        out += &format!("[identifiers.{name:?}]\nnormalize = {normalize:?}\n");
        out += &format!("priority = {}\nunique = {}\n", namespace.priority, namespace.unique);
        out += &format!("values_per_profile = {}\n", namespace.values_per_profile);
        out += &format!("fragments_max = {}\n", namespace.fragments_max);
        out += merges(namespace.merges);
        out += &format!("blocked = {:?}\n", namespace.blocked);
        out += &format!("blocked_patterns = {:?}\n", namespace.blocked_patterns);
    }
    for point in &settings.identification {
        out += &format!("[[identification]]\nevent = {:?}\nsource = {:?}\n", point.event, point.source);
        out += &format!("verified = {}\n", point.verified);
        for (namespace, path) in &point.identifiers {
            out += &format!("identifiers.{namespace:?} = {path:?}\n");
        }
    }
    for (name, settings) in &settings.traits {
        out += &format!("[traits.{name:?}]\npolicy = \"{:?}\"\n", settings.policy).to_lowercase();
        if let Some(kind) = settings.kind {
            out += &format!("kind = \"{kind:?}\"\n").to_lowercase();
        }
    }
    out
}

fn merges(merges: Merges) -> &'static str {
    match merges {
        Merges::Always => "merges = true\n",
        Merges::Verified => "merges = \"verified\"\n",
        Merges::Never => "merges = false\n",
    }
}
