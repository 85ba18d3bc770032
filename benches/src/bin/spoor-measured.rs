//! The server, as `spoor` is, for the tests of what measures it as a process of its own: cargo builds a package's tests
//! only with the binaries of that package.

use std::process::ExitCode;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    spoor_server::command::run()
}
