//! README.md is true: its requests, sent to the binary in the order of the page, give the answers that it shows.
//!
//! Ids that the server draws and times differ from run to run: an id is followed from where an answer shows it
//! to where a later command names it, and a time must be one.
#![expect(clippy::panic, clippy::expect_used, reason = "a test: a panic is its report")]

use serde_json::Value;
use spoor::Timestamp;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("../../README.md");
const WORKSPACE: &str = include_str!("../../Cargo.toml");
const SERVER: &str = include_str!("../../server/Cargo.toml");
const CHECKS: &str = include_str!("../../.ci/run");

/// What the page says that the server listens on.
const SHOWN_ADDRESS: &str = "127.0.0.1:8420";
const READY_MAX: Duration = Duration::from_secs(20);
const ID_BYTES: usize = 36;

/// The page's blocks of one language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    PAGE.split(&begin)
        .skip(1)
        .map(|rest| rest.split("```").next().expect("the end of a block").trim())
        .collect()
}

/// The server as the page starts it: without a word, in the directory where it is called. Only the port is
/// another.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let binary = binary();
        let child = Command::new(&binary)
            .current_dir(directory)
            .env("SPOOR_SERVER_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{}, which `cargo test --workspace` builds: {error}", binary.display())
            });
        let mut server = Self { child, address: String::new() };
        let begun = Instant::now();
        while server.address.is_empty() {
            assert!(begun.elapsed() < READY_MAX, "the server does not serve");
            std::thread::sleep(Duration::from_millis(20));
            let written = std::fs::read(directory.join("spoor-data/server.json")).unwrap_or_default();
            let written: Value = serde_json::from_slice(&written).unwrap_or_default();
            server.address = written.get("address").and_then(Value::as_str).unwrap_or_default().to_owned();
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What is left to do with a process that is already gone does not matter here.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The one that `SPOOR_BIN` names, or the one that was built beside this test.
fn binary() -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().expect("the path of this test");
        test.ancestors().nth(2).expect("the build directory").join("spoor")
    };
    std::env::var_os("SPOOR_BIN").map_or_else(beside, PathBuf::from)
}

/// The words of a command as a shell parts them, as far as the page needs it: blanks and single quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, piece) in command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.last_mut().expect("a word").push_str(piece);
            continue;
        }
        for (index, plain) in piece.split_whitespace().enumerate() {
            let begins = index > 0 || piece.starts_with(char::is_whitespace);
            if begins && words.last().is_some_and(|word| !word.is_empty()) {
                words.push(String::new());
            }
            words.last_mut().expect("a word").push_str(plain);
        }
        if piece.ends_with(char::is_whitespace) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Sends what `curl` would send.
fn curl(command: &str) -> Value {
    let mut words = words(command).into_iter();
    assert_eq!(words.next().as_deref(), Some("curl"), "{command}");
    let (mut url, mut headers, mut body) = (String::new(), String::new(), None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-H" => headers += &format!("{}\r\n", words.next().expect("a header")),
            "-d" => body = Some(words.next().expect("a body")),
            _ => url = word,
        }
    }
    if body.is_some() && !headers.to_lowercase().contains("content-type:") {
        headers += "content-type: application/x-www-form-urlencoded\r\n";
    }
    let method = if body.is_some() { "POST" } else { "GET" };
    let (address, path) =
        url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("an address");
    let body = body.unwrap_or_default();
    let mut stream = TcpStream::connect(address).expect("the server listens");
    write!(
        stream,
        "{method} /{path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: curl/8.5.0\r\naccept: */*\r\n\
         connection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sending");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 200 "), "{command}\n{answer}");
    serde_json::from_str(body).expect("JSON")
}

/// Whether text has the form of an id that the server draws.
fn is_id(text: &str) -> bool {
    let right = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == ID_BYTES && text.bytes().enumerate().all(right)
}

/// Compares an answer with the one on the page, and notes which id stands for which.
fn compare(shown: &Value, found: &Value, ids: &mut HashMap<String, String>) {
    match (shown, found) {
        (Value::Object(shown), Value::Object(found)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(shown), names(found));
            shown.iter().for_each(|(name, shown)| compare(shown, found.get(name).expect("the name"), ids));
        }
        (Value::Array(shown), Value::Array(found)) => {
            assert_eq!(shown.len(), found.len());
            shown.iter().zip(found).for_each(|(shown, found)| compare(shown, found, ids));
        }
        (Value::String(shown), Value::String(found)) if is_id(shown) => {
            assert!(is_id(found), "{found}");
            assert_eq!(ids.entry(shown.clone()).or_insert_with(|| found.clone()), found);
        }
        (Value::String(shown), Value::String(found)) if Timestamp::parse(shown).is_some() => {
            assert!(Timestamp::parse(found).is_some(), "{found}");
        }
        _ => assert_eq!(shown, found),
    }
}

#[test]
fn every_request_gives_the_answer_that_the_page_shows() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(directory.path());
    let requests: Vec<_> = blocks("sh").into_iter().filter(|block| block.starts_with("curl ")).collect();
    let answers = blocks("json");
    assert!(requests.len() >= 3);
    assert_eq!(requests.len(), answers.len());
    let mut ids: HashMap<String, String> = HashMap::new();
    for (request, answer) in requests.iter().zip(answers) {
        assert!(request.contains(SHOWN_ADDRESS), "{request}");
        let mut command = request.replace(SHOWN_ADDRESS, &server.address);
        for (shown, found) in &ids {
            command = command.replace(shown, found);
        }
        let shown = serde_json::from_str(answer).expect("JSON on the page");
        compare(&shown, &curl(&command), &mut ids);
    }
    assert_eq!(ids.len(), 1, "one id was drawn, and followed");
}

/// `cargo run` without a package runs the only binary of the only default member; that it serves without a word
/// is what the test above relies on.
#[test]
fn the_other_commands_are_those_of_the_workspace() {
    let others: Vec<_> = blocks("sh").into_iter().filter(|block| !block.starts_with("curl ")).collect();
    let [run, test] = others.as_slice() else { panic!("two commands: {others:?}") };
    assert_eq!(*run, "cargo run --release");
    let manifest = |text: &str| text.parse::<toml::Table>().expect("a manifest");
    let members = manifest(WORKSPACE)["workspace"]["default-members"].clone();
    assert_eq!(members.as_array().expect("a list"), &[toml::Value::from("server")]);
    let server = manifest(SERVER);
    let binaries = server["bin"].as_array().expect("a list");
    assert_eq!(binaries.len(), 1);
    assert_eq!(binaries[0]["name"].as_str(), Some("spoor"));
    assert!(CHECKS.lines().any(|line| line.trim_end().ends_with(test)), ".ci/run runs {test}");
}

#[test]
fn the_address_and_the_directory_are_the_defaults() {
    let configuration = spoor_server::settings::Configuration::default();
    assert_eq!(configuration.server.listen.to_string(), SHOWN_ADDRESS);
    assert_eq!(configuration.data_dir, Path::new("./spoor-data"));
}
