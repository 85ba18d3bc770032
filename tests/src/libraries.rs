//! The genuine client libraries of other services: installed from their registries, as tests/clients pins them, and
//! the web server that hands out the pages in which those for browsers run.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long installing may take, with registries that are slow.
const INSTALL_MAX: Duration = Duration::from_secs(600);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Runs a command to its end, within `most`; its output is the test's.
fn run(command: &mut Command, most: Duration, hint: &str) {
    let child = command.stdin(Stdio::null()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}\n{hint}"));
    finish(child, most, &format!("{command:?}\n{hint}"));
}

/// Waits for a process to end well, and no longer than `most`.
///
/// # Panics
/// If it does not: the message names `what` it was.
pub fn finish(mut child: Child, most: Duration, what: &str) {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return assert!(status.success(), "{status}: {what}");
        }
        if begun.elapsed() > most {
            child.kill().and_then(|()| child.wait()).expect("the end of a child");
            panic!("not done after {most:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder somewhere below the given one with the files of tests/clients, in which `install` has installed what `lock` names. Done once: what is
/// there from an earlier run for the same lock serves.
fn installed(below: &Path, name: &str, lock: &str, install: impl Fn(&Path)) -> PathBuf {
    let there = below.join("clients").join(name);
    std::fs::create_dir_all(&there).expect("a folder");
    let wanted = std::fs::read(folder().join(lock)).expect("the lock");
    let mark = there.join("installed");
    let is_there = std::fs::read(&mark).is_ok_and(|found| found == wanted);
    for entry in std::fs::read_dir(folder()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            std::fs::copy(&path, there.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    if !is_there {
        install(&there);
        std::fs::write(mark, wanted).expect("a mark");
    }
    there
}

/// The Node.js libraries, installed below a folder; the one in which their scripts run.
///
/// # Panics
/// If they cannot be installed: the message says what is needed.
#[must_use]
pub fn node(below: &Path) -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        installed(below, "node", "package-lock.json", |there| {
            let mut npm = Command::new("npm");
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(there);
            run(&mut npm, INSTALL_MAX, "this test needs Node.js 18 or newer with npm, and the npm registry");
        })
    })
}

/// The Python libraries, in the same way.
///
/// # Panics
/// If they cannot be installed: the message says what is needed.
#[must_use]
pub fn python(below: &Path) -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        installed(below, "python", "requirements.txt", |there| {
            let hint = "this test needs Python 3.9 or newer with venv (python3-venv), and PyPI";
            run(
                Command::new("python3").args(["-m", "venv", "--clear", "venv"]).current_dir(there),
                INSTALL_MAX,
                hint,
            );
            let mut pip = Command::new("venv/bin/python");
            pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "-r", "requirements.txt"])
                .current_dir(there);
            run(&mut pip, INSTALL_MAX, hint);
        })
    })
}

/// A process that ends with the test.
#[derive(Debug)]
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // What is left to do with a process that is already gone does not matter here.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What hands out the files of `there`, and passes everything else on to `server`; and its address.
///
/// # Panics
/// If there is no Node.js.
#[must_use]
pub fn front(there: &Path, server: &str) -> (Ended, String) {
    let mut front = Command::new("node")
        .args(["front.mjs", server])
        .current_dir(there)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let mut address = String::new();
    let said = front.stdout.take().expect("what it says");
    BufReader::new(said).read_line(&mut address).expect("an address");
    (Ended(front), address.trim().to_owned())
}
