//! The binary `spoor`: everything is in the library, so that tests can have it too.

use std::process::ExitCode;

/// Requests are made on one thread and let go on another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    spoor_server::command::run()
}
