//! `spoor check`: verifies the store and prints what it found. Ends with 1 if something is wrong.

use super::{CommandError, Place, reach};
use crate::protocol::write::CheckBody;
use crate::settings::Configuration;
use std::process::ExitCode;

pub(super) fn run(configuration: &Configuration) -> Result<ExitCode, CommandError> {
    let report = match reach(configuration, false)? {
        Place::Here(opened) => {
            let report = opened.store()?.check()?;
            opened.close()?;
            CheckBody::from(report)
        }
        Place::Server(client) => client.json("/api/v1/check")?,
    };
    print!("{}", text(&report));
    Ok(if report.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
