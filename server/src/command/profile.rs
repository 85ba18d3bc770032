//! `spoor profile ID`: one profile as JSON.

use super::client::segment;
use super::{CommandError, Place, reach};
use crate::protocol::write;
use crate::settings::Configuration;
use spoor::model::ReadError;
use std::process::ExitCode;

/// Arguments of `spoor profile`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Any id of the profile; space:id for one that a source brought
    id: String,
}

pub(super) fn run(configuration: &Configuration, arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let id = &arguments.id;
    let text = match reach(configuration, false)? {
        Place::Here(opened) => {
            let profile = opened.store()?.profile(id).map_err(|error| failed(id, &error))?;
            let text = write::text(&write::profile(&profile));
            opened.close()?;
            text
        }
        Place::Server(client) => client.get(&format!("/api/v1/profiles/{}", segment(id)))?,
    };
    println!("{}", write::indented(&String::from_utf8_lossy(&text)));
    Ok(ExitCode::SUCCESS)
}

fn failed(id: &str, error: &ReadError) -> CommandError {
    CommandError::Failed(match error {
        ReadError::NotFound => format!("no profile has the id {id}"),
        ReadError::AmbiguousId { candidates } => {
            format!("{id} stands for several profiles: ask for one of {}", candidates.join(", "))
        }
        ReadError::Rejected(rejection) => rejection.to_string(),
        ReadError::Failed(error) => error.to_string(),
    })
}
