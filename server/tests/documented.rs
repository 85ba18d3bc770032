//! docs/protocol.md is true: its examples give the answers that it shows, and its tables name what the code names.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::Value;
use spoor_server::http::errors::CODES;
use spoor_server::http::serve;
use spoor_server::settings::{Configuration, units};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const PAGE: &str = include_str!("../../docs/protocol.md");

/// The text of each example, in order: requests and answers in turn.
fn examples() -> Vec<&'static str> {
    PAGE.split("```http\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn ask(address: SocketAddr, example: &str) -> (String, Value) {
    let (head, body) = example.split_once("\n\n").unwrap_or((example.trim_end(), ""));
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().map(|header| format!("{header}\r\n")).collect();
    let body = body.trim_end();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), serde_json::from_str(body).unwrap())
}

/// Whether `found` is what the page shows, where `…` stands for anything.
fn same(shown: &Value, found: &Value) -> bool {
    match (shown, found) {
        (Value::String(any), _) if any == "…" => true,
        (Value::Array(shown), Value::Array(found)) => {
            shown.len() == found.len() && shown.iter().zip(found).all(|(shown, found)| same(shown, found))
        }
        (Value::Object(shown), Value::Object(found)) => {
            shown.len() == found.len()
                && shown.iter().all(|(name, shown)| found.get(name).is_some_and(|found| same(shown, found)))
        }
        _ => shown == found,
    }
}

#[test]
fn every_example_gives_the_answer_that_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    let mut configuration = Configuration::default();
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    configuration.data_dir = dir.path().join("data");
    let server = serve(&configuration).unwrap();
    let examples = examples();
    assert!(examples.len() >= 20 && examples.len().is_multiple_of(2), "{}", examples.len());
    for pair in examples.chunks(2) {
        let (status, found) = ask(server.address(), pair[0]);
        let (shown_status, shown) = pair[1].split_once("\n\n").unwrap();
        let shown: Value = serde_json::from_str(shown).unwrap();
        assert_eq!(status, shown_status, "{}\n{found}", pair[0]);
        assert!(same(&shown, &found), "{}\nshown: {shown}\nfound: {found}", pair[0]);
    }
    server.shutdown().unwrap();
}

/// Rows of the page's tables, as cells.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    PAGE.lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect())
}

#[test]
fn the_page_lists_the_codes_of_the_table_and_no_others() {
    let mut listed: Vec<(String, u16)> =
        rows().filter_map(|cells| Some((cells.get(1)?.to_string(), cells.first()?.parse().ok()?))).collect();
    let mut known: Vec<_> = CODES.iter().map(|(code, status)| ((*code).to_owned(), *status)).collect();
    listed.sort();
    known.sort();
    assert_eq!(listed, known);
}

#[test]
fn the_page_shows_the_limits_that_hold() {
    let server = Configuration::default().server;
    let size = |bytes: usize| units::size(bytes as u64);
    let expected = [
        ("server.body", size(server.body_bytes)),
        ("server.body_decompressed", size(server.body_decompressed_bytes)),
        ("server.bodies", size(server.bodies_bytes)),
        ("server.headers", size(server.headers_bytes)),
        ("server.connections", server.connections.to_string()),
        ("server.streams", server.streams.to_string()),
        ("server.headers_timeout", units::duration(server.headers_timeout_ms)),
        ("server.body_timeout", units::duration(server.body_timeout_ms)),
        ("server.request_timeout", units::duration(server.request_timeout_ms)),
        ("server.idle_timeout", units::duration(server.idle_timeout_ms)),
    ];
    for (key, value) in expected {
        let row = rows().find(|cells| cells.get(2) == Some(&key)).unwrap_or_else(|| panic!("{key}"));
        let shown: String = row[1].chars().filter(|c| !matches!(c, ' ' | ',')).collect();
        assert!(shown.starts_with(&value), "{key}: {value} is shown as {shown}");
    }
}
