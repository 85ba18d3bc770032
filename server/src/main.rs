//! The binary `spoor`: everything is in the library, so that tests can have it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    spoor_server::command::run()
}
