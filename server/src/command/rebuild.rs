//! `spoor rebuild`: the index anew from the log. Only on a directory that nobody else has open.

use super::CommandError;
use crate::http::address::Address;
use crate::settings::Configuration;
use spoor::{Engine, Environment};
use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(configuration: &Configuration) -> Result<ExitCode, CommandError> {
    let dir = &configuration.data_dir;
    if !dir.is_dir() {
        return Err(CommandError::Failed(format!("there is no store in {}", dir.display())));
    }
    match Engine::rebuild(dir, configuration.engine.clone(), Environment::default()) {
        Ok(()) => {
            let engine = Engine::open(dir, configuration.engine.clone())?;
            let status = engine.status();
            engine.close()?;
            println!(
                "rebuilt from the log up to {}: {} events, {} sessions, {} profiles",
                status.position, status.events, status.sessions, status.profiles
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(spoor::Error::Locked { .. }) => Err(in_use(dir, "a rebuild replaces the index under it")),
        Err(error) => Err(error.into()),
    }
}

/// Who has the directory open, and why that must end first.
pub(super) fn in_use(dir: &Path, since: &str) -> CommandError {
    let who = Address::read(dir).map_or_else(
        || "another process".to_owned(),
        |server| format!("the server at {} (process {})", server.address, server.pid),
    );
    CommandError::Failed(format!("{} is open in {who}: stop it first, since {since}", dir.display()))
}
