//! `spoor check`: verifies the store and prints what it found. Ends with 1 if something is wrong.
//!
//! The checksums of the index's pages are verified before it is opened: a server that has it open cannot.

use super::{CommandError, Place, reach};
use crate::limits::COMMAND_CHECK_MS;
use crate::protocol::write::CheckBody;
use crate::settings::Configuration;
use spoor::{Engine, Environment, Error};
use std::process::ExitCode;

pub(super) fn run(configuration: &Configuration) -> Result<ExitCode, CommandError> {
    verify_index(configuration)?;
    let report = match reach(configuration, false)? {
        Place::Here(opened) => {
            let report = opened.store()?.check()?;
            opened.close()?;
            CheckBody::from(report)
        }
        Place::Server(client) => client.json_within(COMMAND_CHECK_MS, "/api/v1/check")?,
    };
    print!("{}", text(&report));
    Ok(if report.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verify_index(configuration: &Configuration) -> Result<(), CommandError> {
    let dir = &configuration.data_dir;
    if !dir.is_dir() {
        return Ok(());
    }
    match Engine::verify_index(dir, &configuration.engine, &Environment::default()) {
        Err(Error::Locked { .. }) => Ok(()),
        verified => Ok(verified?),
    }
}

fn text(report: &CheckBody) -> String {
    let status = &report.status;
    let mut lines = vec![
        format!("position        {}", status.position),
        format!("checkpoint      {}", status.checkpoint_position),
        format!("events          {}", status.events),
        format!("sessions        {}", status.sessions),
        format!("profiles        {} of {} fragments", status.profiles, status.fragments),
        format!("store digest    {}", report.store_digest),
        format!("content digest  {}", report.content_digest),
    ];
    lines.extend(report.faults.iter().map(|fault| format!("fault           {fault}")));
    lines.push(if report.sound { "sound".to_owned() } else { format!("{} faults", report.faults.len()) });
    lines.join("\n") + "\n"
}
