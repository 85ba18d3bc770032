//! Webhooks: in order, without gaps, signed, however the receiver and the server behave.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use serde_json::Value;
use spoor_server::http::{Server, serve};
use spoor_server::settings::{Configuration, WebhookSettings};
use spoor_server::webhooks::signature::signature;
use spoor_tests::connection::Connection;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SECRET: &str = "a long random text";

/// What a receiver was sent, and took.
#[derive(Default)]
struct Received {
    /// Headers, by their names in lower case, and body of each post that was taken.
    taken: Vec<(BTreeMap<String, String>, String)>,
    posts: usize,
}

/// Takes what it is sent, but for the posts of these numbers, of which it answers one half badly and the other not at
/// all.
fn receiver(refused: &'static [usize]) -> (String, Arc<Mutex<Received>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let received = Arc::new(Mutex::new(Received::default()));
    let shared = Arc::clone(&received);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || while answer(stream.as_ref().unwrap(), &shared, refused).is_some() {});
        }
    });
    (url, received)
}

/// One post of a connection; `None` if there is none any more.
fn answer(mut stream: &std::net::TcpStream, shared: &Mutex<Received>, refused: &[usize]) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    assert_eq!(lines[0], "POST /hook HTTP/1.1");
    let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> =
        headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    let mut received = shared.lock().unwrap();
    received.posts += 1;
    let number = received.posts;
    if refused.contains(&number) {
        if number.is_multiple_of(2) {
            stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").ok()?;
            return Some(());
        }
        return None;
    }
    received.taken.push((headers, String::from_utf8(body).unwrap()));
    stream.write_all(b"HTTP/1.1 204 Taken\r\n\r\n").ok()
}

fn seqs(received: &Mutex<Received>) -> Vec<u64> {
    let received = received.lock().unwrap();
    let bodies = received.taken.iter().map(|(_, body)| serde_json::from_str::<Value>(body).unwrap());
    bodies
        .flat_map(|body| body["changes"].as_array().unwrap().clone())
        .map(|change| change["seq"].as_u64().unwrap())
        .collect()
}

fn wait_for(received: &Mutex<Received>, last: u64) {
    let begun = Instant::now();
    while seqs(received).last() != Some(&last) {
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?} instead of {last}", seqs(received));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn started(dir: &std::path::Path, webhooks: &[(&str, &str, &[&str])]) -> Server {
    let mut configuration = Configuration::default();
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    configuration.data_dir = dir.join("data");
    for (name, url, events) in webhooks {
        let events = events.iter().map(|event| (*event).to_owned()).collect();
        let settings = WebhookSettings { url: (*url).to_owned(), secret: SECRET.to_owned(), events };
        configuration.webhooks.insert((*name).to_owned(), settings);
    }
    serve(&configuration).unwrap()
}

fn track(server: &Server, from: u64, to: u64) {
    let mut connection = Connection::open(&server.address().to_string()).unwrap();
    for number in from..to {
        let kind = if number % 10 == 0 { "purchase" } else { "page-view" };
        let body = format!(r#"{{"session":"s-{}","events":[{{"type":"{kind}"}}]}}"#, number % 7);
        assert_eq!(connection.ask("POST", "/api/v1/track", &body).unwrap().0, 200);
    }
}

#[test]
fn everything_is_taken_in_order_whoever_fails_in_between() {
    let dir = tempfile::tempdir().unwrap();
    // What was before a webhook is there is not for it.
    let server = started(dir.path(), &[]);
    track(&server, 1, 4);
    server.shutdown().unwrap();

    let (url, received) = receiver(&[1, 4, 5]);
    let (some_url, some) = receiver(&[2]);
    let hooks: &[(&str, &str, &[&str])] = &[("all", &url, &[]), ("some", &some_url, &["purchase"])];
    let server = started(dir.path(), hooks);
    track(&server, 4, 150);
    wait_for(&received, 149);
    server.shutdown().unwrap();

    // While it is stopped nobody is told, and nothing is forgotten.
    let server = started(dir.path(), hooks);
    track(&server, 150, 301);
    wait_for(&received, 300);
    wait_for(&some, 300);
    server.shutdown().unwrap();

    let mut seen = seqs(&received);
    // A stop may have come between a post and the note that it was taken.
    let posted = seen.len();
    seen.dedup();
    assert!(posted - seen.len() <= 100, "{posted}");
    assert_eq!(seen, (4..=300).collect::<Vec<_>>());
    let purchases: Vec<u64> = (4..=300).filter(|number| number % 10 == 0).collect();
    assert_eq!(seqs(&some), purchases);
    let (posts, taken) = {
        let received = received.lock().unwrap();
        (received.posts, received.taken.len())
    };
    assert_eq!(posts - taken, 3, "those that were refused, and no others");
    assert_signed(&received);
}

fn assert_signed(received: &Mutex<Received>) {
    for (headers, body) in &received.lock().unwrap().taken {
        let timestamp: u64 = headers["spoor-timestamp"].parse().unwrap();
        assert_eq!(headers["spoor-signature"], signature(SECRET, timestamp, body.as_bytes()));
        assert_ne!(headers["spoor-signature"], signature("another secret text", timestamp, body.as_bytes()));
        assert_eq!(headers["content-type"], "application/json");
        assert!(serde_json::from_str::<Value>(body).unwrap()["changes"].as_array().unwrap().len() <= 100);
    }
}

#[test]
fn a_store_that_is_older_than_what_a_webhook_has_seen_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("data/webhooks")).unwrap();
    std::fs::write(dir.path().join("data/webhooks/all"), "7\n").unwrap();
    let mut configuration = Configuration::default();
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    configuration.data_dir = dir.path().join("data");
    let settings = WebhookSettings {
        url: "http://127.0.0.1:9/".to_owned(),
        secret: SECRET.to_owned(),
        events: Vec::new(),
    };
    configuration.webhooks.insert("all".to_owned(), settings);
    let refused = serve(&configuration).unwrap_err().to_string();
    assert!(refused.contains("webhook all has come to position 7"), "{refused}");
}
