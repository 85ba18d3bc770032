//! `spoor key add`, `list` and `revoke`: who may call the server.
//!
//! Done in the file of the keys if this process has the directory, else by its server, for which a change holds at
//! once. What it did is printed as JSON; the text of a new key is printed this once and kept by nobody.

use super::reads::{PageText, printed};
use super::{CommandError, Place, arguments, reach};
use crate::access::keyring::{ChangeError, Keyring};
use crate::access::{KeyCall, NewKey, Right, SourceName};
use crate::http::answer;
use crate::protocol::write;
use crate::settings::Configuration;
use clap::{Args, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key: its text is printed this once. From the first on, nobody may call the server without one
    Add(AddArguments),
    /// Print all keys, without their text, the oldest first, as JSON lines
    List,
    /// Make a key no key any more, from this moment on
    Revoke(RevokeArguments),
}

/// Arguments of `spoor key add`.
#[derive(Debug, Args)]
pub(super) struct AddArguments {
    /// What you call it; several may have one name
    #[arg(value_parser = arguments::name)]
    name: String,
    #[command(flatten)]
    right: RightArguments,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RightArguments {
    /// To track for this source, and nothing else
    #[arg(long, value_name = "SOURCE", value_parser = arguments::name)]
    write: Option<String>,
    /// To read everything, and change nothing
    #[arg(long)]
    read: bool,
    /// To do everything
    #[arg(long)]
    admin: bool,
}

/// Arguments of `spoor key revoke`.
#[derive(Debug, Args)]
pub(super) struct RevokeArguments {
    /// The key's id, which `spoor key list` shows: the digits after `spoor_` in its text
    #[arg(value_parser = arguments::id)]
    id: String,
}

impl RightArguments {
    fn right(&self) -> Right {
        match &self.write {
            Some(source) => Right::Write(SourceName::new(source)),
            None if self.admin => Right::Admin,
            None => Right::Read,
        }
    }
}

impl KeyCommand {
    fn call(self) -> KeyCall {
        match self {
            Self::Add(AddArguments { name, right }) => KeyCall::Add(NewKey { name, right: right.right() }),
            Self::List => KeyCall::List,
            Self::Revoke(RevokeArguments { id }) => KeyCall::Revoke { id },
        }
    }
}

pub(super) fn run(configuration: &Configuration, what: KeyCommand) -> Result<ExitCode, CommandError> {
    let call = what.call();
    // A key may be made before the first start: without one a server that others reach does not start.
    let place = reach(configuration, matches!(call, KeyCall::Add(_)))?;
    let text = match &place {
        Place::Here(_) => here(configuration, call.clone())?,
        Place::Server(client) => client.keys(&call)?,
    };
    place.leave()?;
    match call {
        KeyCall::List => list(&text)?,
        KeyCall::Add(_) | KeyCall::Revoke { .. } => {
            println!("{}", write::indented(&String::from_utf8_lossy(&text)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// While this process has the directory.
fn here(configuration: &Configuration, call: KeyCall) -> Result<Vec<u8>, CommandError> {
    if let KeyCall::Add(new) = &call {
        new.check(&configuration.engine).map_err(|rejection| CommandError::Failed(rejection.to_string()))?;
    }
    let failed = |error: io::Error| CommandError::Failed(error.to_string());
    let keyring = Keyring::open(&configuration.data_dir).map_err(failed)?;
    answer::keys(&keyring, call).map_err(|error| match error {
        ChangeError::Rejected(rejection) => CommandError::Failed(rejection.to_string()),
        ChangeError::Failed(error) => failed(error),
    })
}

fn list(text: &[u8]) -> Result<(), CommandError> {
    let page: PageText<'_> = serde_json::from_slice(text)
        .map_err(|error| CommandError::Failed(format!("the page is not understood: {error}")))?;
    let mut out = io::stdout().lock();
    for item in &page.items {
        if !printed(out.write_all(&write::line(item)))? {
            break;
        }
    }
    Ok(())
}
