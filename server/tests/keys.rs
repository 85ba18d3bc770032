//! `spoor key` from outside: before the first start, through the server that has the directory open, and after.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod process;

use process::Served;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spoor"));
    command.arg("--data").arg(data).args(arguments);
    command
}

/// What a command prints, which must end with `code`.
fn said(output: &Output, code: i32) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}{errors}");
    text + &errors
}

fn spoor(data: &Path, arguments: &[&str]) -> String {
    said(&command(data, arguments).output().unwrap(), 0)
}

fn refused(data: &Path, arguments: &[&str], code: i32) -> String {
    said(&command(data, arguments).output().unwrap(), code)
}

/// Id and text of a new key.
fn add(data: &Path, arguments: &[&str]) -> (String, String) {
    let made: Value = serde_json::from_str(&spoor(data, &[&["key", "add"], arguments].concat())).unwrap();
    (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
}

fn ids(data: &Path) -> Vec<String> {
    let lines = spoor(data, &["key", "list"]);
    lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The status of a call with a key, at the server whose address the directory names.
fn status(data: &Path, key: &str) -> u16 {
    let file: Value = serde_json::from_slice(&std::fs::read(data.join("server.json")).unwrap()).unwrap();
    let port = file["address"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "GET /api/v1/status HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn keys_are_made_listed_and_revoked_with_and_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let sentence = refused(&data, &["serve", "--listen", "0.0.0.0:0"], 2);
    assert!(sentence.contains("spoor key add"), "{sentence}");

    let (first, read) = add(&data, &["reports", "--read"]);
    let (second, _) = add(&data, &["the shop", "--write", "default"]);
    assert_eq!(ids(&data), [first.clone(), second.clone()]);
    assert!(!spoor(&data, &["key", "list"]).contains(&read), "a key is shown once");

    // Commands are let in by the directory, wherever the server listens.
    let served = Served::start(&data, "0.0.0.0:0");
    let mode = std::fs::metadata(data.join("server.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else may read the key of commands");
    assert_eq!(ids(&data), [first.clone(), second.clone()]);
    let (third, admin) = add(&data, &["me", "--admin"]);
    assert_eq!((status(&data, &read), status(&data, &admin)), (200, 200));
    spoor(&data, &["key", "revoke", &first]);
    assert_eq!((status(&data, &read), status(&data, &admin)), (401, 200));
    let lines = "{\"session\":\"s\",\"events\":[{\"id\":\"m\",\"type\":\"look\"}]}\n";
    let file = dir.path().join("history.jsonl");
    std::fs::write(&file, lines).unwrap();
    spoor(&data, &["import", file.to_str().unwrap()]);
    assert!(spoor(&data, &["export"]).contains("\"look\""));
    assert!(refused(&data, &["key", "revoke", &first], 1).contains("key_unknown"));
    // By SIGKILL: what a command has said holds after any stop.
    drop(served);

    let served = Served::start(&data, "127.0.0.1:0");
    assert_eq!((status(&data, &read), status(&data, &admin)), (401, 200));
    served.stop();
    assert_eq!(ids(&data), [second, third.clone()]);
    spoor(&data, &["key", "revoke", &third]);
}

#[test]
fn what_a_key_cannot_be_is_said_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (arguments, code, sentence) in [
        (&["key", "add", "a"][..], 2, "--write"),
        (&["key", "add", "a", "--read", "--admin"], 2, "cannot be used with"),
        (&["key", "add", "", "--read"], 2, "a name is expected"),
        (&["key", "list"], 1, "there is no store"),
        (&["key", "revoke", "0a1b"], 1, "there is no store"),
        (&["key", "add", "a", "--write", "nowhere"], 1, "unknown_source"),
    ] {
        let said = refused(&data, arguments, code);
        assert!(said.contains(sentence), "{arguments:?}: {said}");
    }
    assert!(!data.join("keys.json").exists());
}
