//! `spoor preview`: what other rules would have made of all that is stored. Only on a directory that nobody else has
//! open: it keeps the whole state in memory, which a server should not have to.

use super::CommandError;
use super::rebuild::in_use;
use crate::settings::{self, Configuration, Flags};
use clap::Args;
use spoor::Engine;
use spoor::model::RulesPreview;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A TOML file of settings: the rules to try. Only what it says of sources, identifiers and identification counts
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// How many profiles are named that would be joined, and how many that would come apart
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    list: usize,
}

pub(super) fn run(configuration: &Configuration, arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let dir = &configuration.data_dir;
    if !dir.is_dir() {
        return Err(CommandError::Failed(format!("there is no store in {}", dir.display())));
    }
    let flags = Flags { config: Some(arguments.rules.clone()), data: None, listen: None };
    let rules = settings::load_from(&flags, &[])?.configuration.engine;
    let engine = match Engine::open(dir, configuration.engine.clone()) {
        Err(spoor::Error::Locked { .. }) => {
            return Err(in_use(dir, "a preview keeps the whole state in memory"));
        }
        opened => opened?,
    };
    let preview = engine.preview_rules(&rules, arguments.list);
    engine.close()?;
    print!("{}", text(&preview?));
    Ok(ExitCode::SUCCESS)
}

fn text(preview: &RulesPreview) -> String {
    let mut lines = vec![
        format!("events           {}", preview.events),
        format!("profiles         {}, now {}", preview.profiles_after, preview.profiles_before),
        format!("would be joined  {} of them, each of several now", preview.joined_profiles),
        format!("would come apart {} of those there are", preview.parted_profiles),
    ];
    for (count, what) in [
        (preview.ids_only_after, "ids of a second person at a device would be there"),
        (preview.ids_only_before, "ids of a second person at a device would not be there"),
        (preview.requests_refused, "requests would have been refused"),
        (preview.acts_left_out, "acts by hand were left out"),
    ] {
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    }
    lines.extend(preview.joined.iter().map(|ids| format!("joined: {}", ids.join(" "))));
    lines.extend(preview.parted.iter().map(|ids| format!("apart:  {}", ids.join(" "))));
    lines.join("\n") + "\n"
}
