//! The server's binary, whole, built with the tests, so that they never meet an older one.

use std::process::ExitCode;

fn main() -> ExitCode {
    spoor_server::command::run()
}
