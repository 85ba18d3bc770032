//! HTTP: framing, limits, errors and shutdown, against a store that does what a test says. The same interface over
//! the real engine is what the scenarios and docs/protocol.md are run against.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod fake;

use fake::{Fake, Mood};
use serde_json::{Value, json};
use spoor::Act;
use spoor_server::http::{Server, serve_store};
use spoor_server::settings::Configuration;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn configuration() -> Configuration {
    let mut configuration = Configuration::default();
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    configuration.server.body_bytes = 64 << 10;
    configuration.server.body_decompressed_bytes = 256 << 10;
    configuration.server.headers_timeout_ms = 300;
    configuration.server.body_timeout_ms = 400;
    configuration.server.request_timeout_ms = 500;
    configuration.server.idle_timeout_ms = 1_000;
    configuration.server.shutdown_timeout_ms = 2_000;
    configuration
}

fn start(fake: &Arc<Fake>) -> Server {
    start_with(fake, &configuration())
}

fn start_with(fake: &Arc<Fake>, configuration: &Configuration) -> Server {
    serve_store(configuration, Arc::clone(fake) as _, "test".to_owned()).unwrap()
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    fn code(&self) -> String {
        format!("{} {}", self.status, self.json()["code"].as_str().unwrap_or("-"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Sends bytes as they are and reads one answer; `None` if the connection was closed without one.
fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> Option<Answer> {
    // A server that has said no may have closed its ear already.
    let _ = stream.write_all(bytes);
    read_answer(stream)
}

fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut text = Vec::new();
    let end = loop {
        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            _ => return None,
        }
    };
    let head = String::from_utf8(text[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
    answer.body = vec![0; length];
    stream.read_exact(&mut answer.body).ok()?;
    Some(answer)
}

fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address()).unwrap()
}

fn post_as(server: &Server, target: &str, headers: &str, body: &[u8]) -> Answer {
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    exchange(&mut connect(server), &[head.as_bytes(), body].concat()).unwrap()
}

fn post(server: &Server, body: &str) -> Answer {
    post_as(server, "/api/v1/track", "content-type: application/json\r\n", body.as_bytes())
}

fn get(server: &Server, target: &str) -> Answer {
    let head = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    exchange(&mut connect(server), head.as_bytes()).unwrap()
}

#[test]
fn a_request_is_answered_in_full_to_a_trusted_source() {
    let fake = Fake::new();
    let server = start(&fake);
    let answer = post(&server, r#"{"session":"s","profile":"p","events":[{"id":"m","type":"page-view"}]}"#);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({
            "profile": {"id": "device", "primary_id": "person", "reason": "session_owner", "created": false},
            "session": {"id": "s", "created": true},
            "events": [{"id": "m", "seq": 1, "status": "stored", "profile": "device",
                        "refused": [{"field": "traits.set.a", "code": "trait_kind"}],
                        "warnings": ["event_id_reused", "fragments_max"]}],
            "warnings": ["profile_mismatch"]
        })
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn a_public_source_learns_nothing_of_others() {
    let mut configuration = configuration();
    let public =
        spoor::settings::SourceSettings { keys: spoor::settings::Keys::Public, ..Default::default() };
    configuration.engine.sources.insert("web".to_owned(), public);
    let fake = Fake::new();
    let server = start_with(&fake, &configuration);
    let answer = post(
        &server,
        r#"{"source":" web ","session":"s","profile":"mine","events":[{"id":"m","type":"x"}]}"#,
    );
    assert_eq!(answer.json()["profile"], json!({"id": "mine", "reason": "sent", "created": false}),);
    assert_eq!(answer.json()["warnings"], json!([]));
    let text = String::from_utf8(answer.body).unwrap();
    assert!(!text.contains("person") && !text.contains("device"), "{text}");
}

/// The links of the one event of an answer.
fn links(answer: &Answer) -> Value {
    answer.json()["events"][0]["links"].clone()
}

#[test]
fn each_identifier_has_its_outcome_and_browsers_learn_nothing_from_it() {
    let mut configuration = configuration();
    let public =
        spoor::settings::SourceSettings { keys: spoor::settings::Keys::Public, ..Default::default() };
    configuration.engine.sources.insert("web".to_owned(), public);
    let fake = Fake::new();
    let server = start_with(&fake, &configuration);
    let answer = post(&server, r#"{"events":[{"id":"m","type":"x","identifiers":{"email":"a"}}]}"#);
    assert_eq!(
        links(&answer),
        json!([
            {"identifier": "email:a", "outcome": "attached"},
            {"identifier": "email:b", "outcome": "merged", "merge": "m7-0", "profiles": ["person", "other"]},
            {"identifier": "email:c", "outcome": "switched"},
            {"identifier": "email:d", "outcome": "refused", "code": "unique_conflict"},
            {"identifier": "email:e", "outcome": "refused", "code": "junk"},
            {"identifier": "email:f", "outcome": "quarantined", "code": "fragments_max", "quarantine": "q7-0"}
        ])
    );
    let answer = post(&server, r#"{"events":[{"id":"m","type":"x"}]}"#);
    assert_eq!(links(&answer), Value::Null, "an event without identifiers has no links");
    let answer =
        post(&server, r#"{"source":"web","events":[{"id":"m","type":"x","identifiers":{"email":"a"}}]}"#);
    let told: Vec<_> = ["a", "b", "c", "d", "e", "f"]
        .map(|value| match value {
            "e" => json!({"identifier": "email:e", "outcome": "refused", "code": "junk"}),
            _ => json!({"identifier": format!("email:{value}"), "outcome": "accepted"}),
        })
        .into();
    assert_eq!(links(&answer), json!(told));
    assert_eq!(answer.json()["events"][0]["warnings"], json!(["event_id_reused"]));
    let text = String::from_utf8(answer.body).unwrap();
    assert!(!text.contains("person") && !text.contains("m7-0") && !text.contains("q7-0"), "{text}");
}

/// Sends an act with a body.
fn decide(server: &Server, target: &str, body: &str) -> Answer {
    post_as(server, target, "content-type: application/json\r\n", body.as_bytes())
}

fn delete(server: &Server, target: &str) -> Answer {
    let head = format!("DELETE {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    exchange(&mut connect(server), head.as_bytes()).unwrap()
}

#[test]
fn pages_of_strangers_are_not_answered() {
    let fake = Fake::new();
    let server = start(&fake);
    let ask = |line: &str, headers: &str, body: &str| {
        let length = body.len();
        let text = format!("{line} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n{body}");
        exchange(&mut connect(&server), text.as_bytes()).unwrap()
    };
    let json = "content-type: application/json\r\n";
    let act = r#"{"identifier":"email:a@x.com"}"#;
    // A name that a page lets point here.
    let rebound = format!("host: evil.example:8420\r\norigin: http://evil.example:8420\r\n{json}");
    for (line, body) in [
        ("POST /api/v1/blocked?dry_run=true", act),
        ("DELETE /api/v1/merges/m7-0", ""),
        ("GET /api/v1/profiles/p", ""),
        ("POST /api/v1/track", "{}"),
    ] {
        assert_eq!(ask(line, &rebound, body).code(), "421 host_unknown", "{line}");
    }
    assert_eq!(ask("GET /healthz", "", "").code(), "400 host_missing");
    // A page of another server on this machine may track, and no more.
    let foreign = format!("host: localhost:8420\r\norigin: http://localhost:3000\r\n{json}");
    assert_eq!(ask("POST /api/v1/blocked", &foreign, act).code(), "403 cross_origin");
    assert_eq!(ask("DELETE /api/v1/merges/m7-0", &foreign, "").code(), "403 cross_origin");
    assert_eq!(ask("POST /api/v1/track?origin=import", &foreign, "{}").code(), "403 cross_origin");
    assert_eq!(ask("POST /api/v1/track", &foreign, r#"{"events":[{"type":"t"}]}"#).status, 200);
    assert!(fake.acts().is_empty(), "nothing was decided");
    let own = format!("host: localhost:8420\r\norigin: http://localhost:8420\r\n{json}");
    assert_eq!(ask("POST /api/v1/blocked?dry_run=true", &own, act).status, 200);
}

#[test]
fn a_delete_takes_no_body() {
    let fake = Fake::new();
    let server = start(&fake);
    let body = r#"{"dry_run":true}"#;
    let text = format!(
        "DELETE /api/v1/merges/m7-0 HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(&mut connect(&server), text.as_bytes()).unwrap();
    assert_eq!(answer.code(), "400 body_unexpected");
    assert!(fake.acts().is_empty());
}

#[test]
fn history_does_not_come_through_a_proxy() {
    let server = start(&Fake::new());
    let import = "/api/v1/track?origin=import";
    let event = br#"{"events":[{"type":"t"}]}"#;
    for header in
        ["x-forwarded-for: 8.8.8.8", "forwarded: for=8.8.8.8", "via: 1.1 proxy", "x-real-ip: 8.8.8.8"]
    {
        let answer = post_as(&server, import, &format!("{header}\r\n"), event);
        assert_eq!(answer.code(), "403 origin_forbidden", "{header}");
    }
    assert_eq!(post_as(&server, import, "", event).status, 200);
}

#[test]
fn acts_arrive_as_they_were_sent() {
    let fake = Fake::new();
    let server = start(&fake);
    let text = str::to_owned;
    let email = || text("email:ada@example.com");
    let answers = [
        decide(&server, "/api/v1/merges?dry_run=true", r#"{"profile":"a/b","other":"c"}"#),
        decide(&server, "/api/v1/merges", r#"{"profile":"a","other":"c","force":true}"#),
        delete(&server, "/api/v1/merges/m7-0?keep_apart=true"),
        delete(&server, "/api/v1/profiles/a%2Fb/identifiers/email:ada%40example.com"),
        decide(&server, "/api/v1/profiles/a/identifiers", r#"{"identifier":"email:ada@example.com"}"#),
        decide(&server, "/api/v1/quarantine/q7-0", r#"{"decision":"reject"}"#),
        decide(&server, "/api/v1/blocked", r#"{"identifier":"email:ada@example.com"}"#),
        delete(&server, "/api/v1/blocked/email%3Aada%40example.com?dry_run=true"),
    ];
    assert!(answers.iter().all(|answer| answer.status == 200));
    let expected = [
        (Act::Merge { profile: text("a/b"), other: text("c"), force: false }, true),
        (Act::Merge { profile: text("a"), other: text("c"), force: true }, false),
        (Act::Undo { merge: text("m7-0"), keep_apart: true }, false),
        (Act::Detach { profile: text("a/b"), identifier: email() }, false),
        (Act::Attach { profile: text("a"), identifier: email() }, false),
        (Act::Decide { quarantine: text("q7-0"), approve: false }, false),
        (Act::Block { identifier: email() }, false),
        (Act::Unblock { identifier: email() }, true),
    ];
    assert_eq!(fake.acts(), expected);
    assert_eq!(answers[0].json()["seq"], Value::Null, "a preview has no place in the log");
    let times = json!({"first_seen": "1970-01-01T00:00:00.000Z", "last_seen": "1970-01-01T00:00:00.001Z"});
    let direct = json!({
        "kind": "hand", "profile": "device", "other": "person", "state": "joined", "verified": true,
        "first_seq": 1, "last_seq": 7, "first_seen": times["first_seen"], "last_seen": times["last_seen"]
    });
    let identifier = json!({
        "kind": "identifier", "profile": "device", "identifier": "email:a@b.example", "state": "joined",
        "verified": true, "first_seq": 1, "last_seq": 7, "first_seen": times["first_seen"],
        "last_seen": times["last_seen"]
    });
    let size = |ids| json!({"primary_id": "person", "ids": ids, "sessions": 2, "events": 3});
    assert_eq!(
        answers[1].json(),
        json!({
            "seq": 8, "merge": "m8-0", "removed": [identifier], "added": [direct],
            "before": [size(1), size(2)], "after": [size(3)], "not_retaken": [6]
        })
    );
    assert_eq!(
        get(&server, "/api/v1/profiles/a/links").json(),
        json!({"items": [identifier, direct], "cursor": "next"})
    );
    assert_eq!(
        get(&server, "/api/v1/explain?from=a&to=b").json(),
        json!({"same": true, "chain": [identifier, direct], "cut_links": [direct], "cut_identifiers": null})
    );
}

#[test]
fn acts_that_are_not_sound_are_not_done() {
    let fake = Fake::new();
    let server = start(&fake);
    let merges = "/api/v1/merges";
    let posts = [
        (merges, "", "400 json_invalid"),
        (merges, "[]", "400 wrong_type"),
        (merges, r#"{"profile":"a"}"#, "400 member_missing"),
        (merges, r#"{"profile":"a","other":"b","dry_run":true}"#, "400 member_unknown"),
        (merges, r#"{"profile":"a","other":"b","force":"yes"}"#, "400 wrong_type"),
        ("/api/v1/merges?dry_run=1", r#"{"profile":"a","other":"b"}"#, "400 parameter_invalid"),
        ("/api/v1/merges?keep_apart=true", r#"{"profile":"a","other":"b"}"#, "400 parameter_unknown"),
        ("/api/v1/quarantine/q7-0", r#"{"decision":"later"}"#, "400 decision_invalid"),
        ("/api/v1/quarantine/q7-0", "{}", "400 member_missing"),
        ("/api/v1/blocked", r#"{"identifiers":["a"]}"#, "400 member_unknown"),
        ("/api/v1/profiles/a/identifiers", r#"{"identifier":null}"#, "400 member_missing"),
        ("/api/v1/merges/m7-0", "{}", "405 method_not_allowed"),
    ];
    for (target, body, expected) in posts {
        assert_eq!(decide(&server, target, body).code(), expected, "{target} {body}");
    }
    let body = br#"{"profile":"a","other":"b"}"#;
    for headers in ["", "content-type: text/plain\r\n"] {
        let answer = post_as(&server, merges, headers, body);
        assert_eq!(answer.code(), "415 media_type_unsupported", "any page could send {headers:?}");
    }
    let large = format!(r#"{{"profile":"{}"}}"#, "a".repeat(17 << 10));
    assert_eq!(decide(&server, merges, &large).code(), "413 body_too_large");
    let deletes = [
        ("unknown", "404 merge_unknown"),
        ("undone", "409 merge_undone"),
        ("odd", "409 a_code_of_the_engine"),
        ("lost", "404 a_code_of_the_engine"),
        ("broken", "503 indeterminate"),
        ("%ff", "400 utf8_invalid"),
        ("m7-0?keep_apart=perhaps", "400 parameter_invalid"),
        ("m7-0?force=true", "400 parameter_unknown"),
    ];
    for (id, expected) in deletes {
        let answer = delete(&server, &format!("{merges}/{id}"));
        assert_eq!(answer.code(), expected, "{id}");
        assert!(!String::from_utf8(answer.body).unwrap().contains("/secret"));
    }
    assert!(fake.acts().is_empty());
}

#[test]
fn the_past_and_identifiers_are_asked_for() {
    let fake = Fake::new();
    let server = start(&fake);
    let table = [
        ("profiles/a?at=2026-01-01T00:00:00Z", "200 -"),
        ("profiles/a?at=1970-01-01T00:00:00Z", "422 at_before_beginning"),
        ("profiles/a?at=yesterday", "400 time_invalid"),
        ("profiles/a?at=2026-01-01T00:00:00%2B01:00&until=2026-02-30T00:00:00Z", "400 time_invalid"),
        ("profiles?identifier=email:ada%40example.com", "200 -"),
        ("profiles?identifier=email:a&at=1970-01-01T00:00:00Z", "422 at_before_beginning"),
        ("profiles?identifier=fax:1", "422 unknown_namespace"),
        ("profiles?identifier=", "400 parameter_invalid"),
        ("profiles", "400 parameter_invalid"),
        ("explain?from=a", "400 parameter_invalid"),
        ("explain?from=a&to=none", "404 not_found"),
        ("profiles/a/links?from=2026-01-01T00:00:00Z", "400 parameter_unknown"),
        ("profiles/a/history?limit=0", "400 limit_invalid"),
    ];
    for (target, expected) in table {
        assert_eq!(get(&server, &format!("/api/v1/{target}")).code(), expected, "{target}");
    }
    assert_eq!(get(&server, "/api/v1/profiles/large").json()["fragments"], json!(3));
    assert_eq!(
        get(&server, "/api/v1/profiles/a/history").json()["items"],
        json!([{
            "seq": 7, "at": "1970-01-01T00:00:00.001Z", "kind": "merged", "profile": "device",
            "identifier": "email:a@b.example", "merge": "m7-0", "profiles": ["person", "other"], "event": "m"
        }])
    );
    assert_eq!(
        get(&server, "/api/v1/quarantine").json()["items"],
        json!([{
            "id": "q7-0", "profile": "device", "primary_id": "person", "identifier": "email:a@b.example",
            "code": "fragments_max", "seq": 7, "at": "1970-01-01T00:00:00.001Z", "other": "other"
        }])
    );
}

#[test]
fn what_arrives_is_what_was_sent() {
    let fake = Fake::new();
    let server = start(&fake);
    let agent = "user-agent: Header/1\r\n";
    post_as(&server, "/api/v1/track", agent, b"{}");
    post_as(&server, "/api/v1/track", agent, br#"{"context":{"user_agent":"Context/1"}}"#);
    post_as(&server, "/api/v1/track?origin=import", agent, b"{}");
    // What a library sent is imported as such; nobody else speaks as one.
    post_as(&server, "/api/v1/track?origin=import", agent, br#"{"library":true}"#);
    post_as(&server, "/api/v1/track", "", br#"{"library":true}"#);
    let seen: Vec<_> = fake.seen().into_iter().map(|r| (r.user_agent, r.origin)).collect();
    let agent = |text: &str| Some(text.to_owned());
    assert_eq!(
        seen,
        [
            (agent("Header/1"), spoor::Origin::Live),
            (agent("Context/1"), spoor::Origin::Live),
            (None, spoor::Origin::Import),
            (None, spoor::Origin::LibraryImport),
            (None, spoor::Origin::Live)
        ]
    );
}

#[test]
fn an_array_is_answered_item_by_item() {
    let fake = Fake::new();
    let server = start(&fake);
    let answer = post(&server, r#"[{"session":"a"},{"session":5},{"source":"nowhere"},{"session":"b"}]"#);
    assert_eq!(answer.status, 200);
    let items = answer.json();
    assert_eq!(items.as_array().unwrap().len(), 4);
    assert_eq!(items[0]["session"]["id"], "a");
    assert_eq!(items[1]["error"]["code"], "wrong_type");
    assert_eq!(items[1]["error"]["field"], "session");
    assert_eq!(items[2]["error"]["code"], "unknown_source");
    assert_eq!(items[3]["session"]["id"], "b");
    assert_eq!(post(&server, "[]").json(), json!([]));
}

#[test]
fn nothing_overtakes_what_was_told_overloaded() {
    let fake = Fake::new();
    let server = start(&fake);
    fake.mood(Mood::OverloadedAfter(1));
    let items = post(&server, r#"[{"session":"a"},{"session":"b"},{"session":"c"}]"#).json();
    assert_eq!(items[0]["session"]["id"], "a");
    assert_eq!(items[1]["error"]["code"], "overloaded");
    assert_eq!(items[1]["error"]["retry_after_ms"], 1_000);
    assert_eq!(items[2]["error"]["code"], "overloaded");
    assert_eq!(fake.seen().len(), 2, "the third was not even tried");
}

#[test]
fn the_stores_troubles_are_5xx_that_say_what_to_do() {
    let fake = Fake::new();
    let server = start(&fake);
    for (mood, code, retry) in [
        (Mood::OverloadedAfter(0), "503 overloaded", Some("1")),
        (Mood::Closed, "503 closed", Some("1")),
        (Mood::Indeterminate, "503 indeterminate", Some("1")),
        (Mood::Damaged, "500 storage_failed", None),
        (Mood::Silent, "503 request_timeout", Some("1")),
        (Mood::Forgetful, "500 internal", None),
    ] {
        fake.mood(mood);
        for body in ["{}", "[{},{}]"] {
            let answer = post(&server, body);
            let whole = body == "{}" || answer.status == 503;
            if whole {
                assert_eq!((answer.code().as_str(), answer.header("retry-after")), (code, retry), "{body}");
            } else {
                assert_eq!(answer.json()[0]["error"]["code"].as_str(), code.split(' ').nth(1), "{body}");
            }
            let text = String::from_utf8(answer.body).unwrap();
            assert!(!text.contains("/secret"), "no paths of the operator's: {text}");
        }
    }
}

#[test]
fn bodies_are_refused_by_kind() {
    let fake = Fake::new();
    let server = start(&fake);
    let table: &[(&str, &[u8], &str)] = &[
        ("content-type: application/json; charset=utf-8\r\n", b"{}", "200 -"),
        ("content-type: text/plain;charset=UTF-8\r\n", b"{}", "200 -"),
        ("", b"{}", "200 -"),
        ("content-type: application/xml\r\n", b"{}", "415 media_type_unsupported"),
        ("content-type: application/x-www-form-urlencoded\r\n", b"{}", "415 media_type_unsupported"),
        ("content-encoding: identity\r\n", b"{}", "200 -"),
        ("content-encoding: compress\r\n", b"{}", "415 encoding_unsupported"),
        ("content-encoding: gzip, gzip\r\n", b"{}", "415 encoding_unsupported"),
        ("content-encoding: gzip\r\n", b"{}", "400 encoding_invalid"),
        ("content-encoding: br\r\n", b"\xff\xff\xff", "400 encoding_invalid"),
        ("content-encoding: zstd\r\n", b"{}", "400 encoding_invalid"),
        ("content-encoding: deflate\r\n", b"{}", "400 encoding_invalid"),
        ("", b"", "400 json_invalid"),
        ("", b"{\"session\":\"\xff\"}", "400 utf8_invalid"),
        ("", &[b' '; (64 << 10) + 1], "413 body_too_large"),
    ];
    for (headers, body, expected) in table {
        assert_eq!(&post_as(&server, "/api/v1/track", headers, body).code(), expected, "{headers}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_bodies_are_read() {
    let fake = Fake::new();
    let server = start(&fake);
    let body = br#"{"session":"compressed"}"#;
    let zstd = ruzstd::encoding::compress_to_vec(&body[..], ruzstd::encoding::CompressionLevel::Fastest);
    // The same text as one uncompressed piece of a brotli stream (RFC 7932, 9.2), made by hand.
    let brotli = brotli_stored(body);
    let table = [
        ("content-encoding: gzip\r\n", gzip(body)),
        ("content-encoding: GZIP\r\n", gzip(body)),
        ("content-type: text/plain\r\n", gzip(body)),
        ("content-encoding: gzip\r\n", [gzip(&body[..5]), gzip(&body[5..])].concat()),
        ("content-encoding: deflate\r\n", zlib(body)),
        ("content-encoding: deflate\r\n", deflate(body)),
        ("content-encoding: zstd\r\n", zstd),
        ("content-encoding: br\r\n", brotli),
    ];
    for (headers, bytes) in table {
        let answer = post_as(&server, "/api/v1/track", headers, &bytes);
        assert_eq!(answer.json()["session"]["id"], "compressed", "{headers}");
    }
}

/// A brotli stream of one uncompressed meta-block and the empty last one.
fn brotli_stored(bytes: &[u8]) -> Vec<u8> {
    // WBITS=16: one 0 bit. ISLAST=0, MNIBBLES=4: 00, MLEN-1 in 16 bits, ISUNCOMPRESSED=1; then zeros to the byte.
    let length = u32::try_from(bytes.len() - 1).unwrap();
    let head = (length << 4) | (1 << 20);
    let mut out = head.to_le_bytes()[..3].to_vec();
    out.extend_from_slice(bytes);
    // ISLAST=1, ISLASTEMPTY=1.
    out.push(0b11);
    out
}

#[test]
fn bombs_do_not_go_off() {
    let fake = Fake::new();
    let server = start(&fake);
    let bomb = gzip(&vec![b' '; 8 << 20]);
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    assert_eq!(post_as(&server, "/api/v1/track", "", &bomb).code(), "413 body_too_large");
    let cut = gzip(&vec![b' '; 1_000]);
    assert_eq!(post_as(&server, "/api/v1/track", "", &cut[..cut.len() - 9]).code(), "400 encoding_invalid");
    // A window of 128 MiB is asked for in the first bytes of a frame (RFC 8878, 3.1.1.1.2).
    let greedy = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00];
    let answer = post_as(&server, "/api/v1/track", "content-encoding: zstd\r\n", &greedy);
    assert_eq!(answer.code(), "400 encoding_invalid");
}

#[test]
fn all_bodies_together_are_bounded() {
    let mut configuration = configuration();
    configuration.server.bodies_bytes = 100 << 10;
    let fake = Fake::new();
    let server = start_with(&fake, &configuration);
    let large = format!("{{\"x\":\"{}\"}}", " ".repeat(60 << 10));
    fake.mood(Mood::Silent);
    let mut first = connect(&server);
    let head =
        format!("POST /api/v1/track HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", large.len());
    first.write_all(&[head.as_bytes(), large.as_bytes()].concat()).unwrap();
    fake.wait_for(1);
    assert_eq!(post(&server, &large).code(), "503 overloaded");
    fake.mood(Mood::Sound);
    assert_eq!(read_answer(&mut first).unwrap().code(), "503 request_timeout");
    assert_eq!(post(&server, &large).status, 200, "the share was given back");
}

#[test]
fn routes_and_methods_are_named() {
    let fake = Fake::new();
    let server = start(&fake);
    assert_eq!(get(&server, "/").code(), "404 route_unknown");
    let answer = get(&server, "/api/v1/track");
    assert_eq!((answer.code().as_str(), answer.header("allow")), ("405 method_not_allowed", Some("POST")));
    let answer = post_as(&server, "/healthz", "", b"");
    assert_eq!(
        (answer.code().as_str(), answer.header("allow")),
        ("405 method_not_allowed", Some("GET, HEAD"))
    );
    assert_eq!(get(&server, "/api/v1/profiles/none").code(), "404 not_found");
    let answer = get(&server, "/api/v1/profiles/1001");
    assert_eq!(answer.code(), "409 ambiguous_id");
    assert!(answer.json()["message"].as_str().unwrap().contains("shop:1001, crm:1001"));
    assert_eq!(get(&server, "/api/v1/profiles/a/events?cursor=bad").code(), "400 cursor_invalid");
    assert_eq!(get(&server, "/api/v1/profiles/a/events?at=x").code(), "400 parameter_unknown");
}

#[test]
fn reads_have_the_documented_shape() {
    let fake = Fake::new();
    let server = start(&fake);
    let profile = get(&server, "/api/v1/profiles/a%2Fb").json();
    assert_eq!(
        profile,
        json!({
            "id": "a/b", "primary_id": "person", "ids": ["person", "a/b"],
            "traits": {"plan": "pro", "tags": [1, {"x": null}]},
            "identifiers": [{"namespace": "email", "value": "a@b.example",
                             "first_seen": "1970-01-01T00:00:00.500Z", "last_seen": "1970-01-01T00:00:01.000Z"}],
            "consents": {"ads": "refused", "marketing": "granted"},
            "counters": {"events": 3, "sessions": 2, "implicit_sessions": 1, "page_views": 1},
            "created_at": "1970-01-01T00:00:01.000Z", "first_seen": "1970-01-01T00:00:00.500Z", "last_seen": null
        })
    );
    let page = get(&server, "/api/v1/profiles/p/sessions?limit=1").json();
    assert_eq!(page["cursor"], "next");
    let session = json!({
        "id": "s", "source": "web", "profile": {"id": "device", "primary_id": "person"},
        "started_at": "1970-01-01T00:00:00.000Z", "last_seen": "1970-01-01T00:00:01.500Z", "duration_ms": 1500,
        "counters": {"events": 2, "page_views": 1, "conversions": 1}, "value": 19.90,
        "entry_page": "/", "bounce": false, "utm": {"source": "mail"}, "browser": "Firefox"
    });
    assert_eq!(page["items"], json!([session]));
    assert_eq!(get(&server, "/api/v1/sessions/s").json(), session);
    let events = get(&server, "/api/v1/sessions/s/events?type=page-view").json();
    assert_eq!(
        events,
        json!({"cursor": null, "items": [{
            "seq": 7, "id": "m", "type": "page-view", "time": "1970-01-01T00:00:00.000Z",
            "received_at": "1970-01-01T00:00:00.001Z", "source": "web", "session": "s", "profile": "device",
            "properties": {"a": 1}, "identifiers": {"email": "Ada@Example.com"}
        }]})
    );
    let log = get(&server, "/api/v1/events?after=6&limit=1").json();
    assert_eq!((&log["items"][0]["seq"], &log["cursor"]), (&json!(7), &json!("7")));
    assert_eq!(get(&server, "/api/v1/events?after=7").json(), json!({"items": [], "cursor": null}));
    let status = get(&server, "/api/v1/status").json();
    assert_eq!((&status["instance"], &status["events"]), (&json!("test"), &json!(7)));
    let check = get(&server, "/api/v1/check").json();
    assert_eq!((&check["sound"], &check["faults"]), (&json!(false), &json!(["a fault"])));
}

#[test]
fn health_is_of_the_process_and_readiness_of_the_store() {
    let fake = Fake::new();
    let server = start(&fake);
    assert_eq!(get(&server, "/healthz").status, 200);
    assert_eq!(get(&server, "/readyz").status, 200);
    fake.mood(Mood::Closed);
    assert_eq!(get(&server, "/healthz").status, 200);
    assert_eq!(get(&server, "/readyz").code(), "503 closed");
}

#[test]
fn connections_are_kept_and_pipelines_answered_in_order() {
    let fake = Fake::new();
    let server = start(&fake);
    let mut stream = connect(&server);
    let request = |body: &str| {
        format!(
            "POST /api/v1/track HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for _ in 0..3 {
        assert_eq!(exchange(&mut stream, request("{}").as_bytes()).unwrap().status, 200);
    }
    let three = ["a", "b", "c"].map(|id| request(&format!("{{\"session\":\"{id}\"}}"))).concat();
    stream.write_all(three.as_bytes()).unwrap();
    for id in ["a", "b", "c"] {
        assert_eq!(read_answer(&mut stream).unwrap().json()["session"]["id"], id);
    }
    // Longer than a head may take, shorter than a connection may rest.
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(exchange(&mut stream, request("{}").as_bytes()).unwrap().status, 200);
}

/// Milliseconds until the server closes the connection.
fn closed_after(stream: &mut TcpStream) -> u128 {
    let begun = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => begun.elapsed().as_millis(),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => begun.elapsed().as_millis(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_slow_are_not_awaited() {
    let fake = Fake::new();
    let server = start(&fake);
    // Nothing, half a head, half of the letters that begin HTTP/2, and such that begin HTTP/2 and go no further.
    for bytes in ["", "GET /healthz HT", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = connect(&server);
        stream.write_all(bytes.as_bytes()).unwrap();
        let ms = closed_after(&mut stream);
        assert!((250..2_500).contains(&ms), "{bytes}: {ms} ms");
    }
    // A second head that stops half-way has no more time than the first.
    let mut stream = connect(&server);
    assert_eq!(
        exchange(&mut stream, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap().status,
        200
    );
    stream.write_all(b"GET /he").unwrap();
    let ms = closed_after(&mut stream);
    assert!(ms < 950, "{ms} ms");
    // And one that rests is closed in the end.
    let mut stream = connect(&server);
    assert_eq!(
        exchange(&mut stream, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap().status,
        200
    );
    let ms = closed_after(&mut stream);
    assert!((900..3_000).contains(&ms), "{ms} ms");
}

#[test]
fn a_slow_body_is_told_so_and_a_cut_off_one_stores_nothing() {
    let fake = Fake::new();
    let server = start(&fake);
    let head = b"POST /api/v1/track HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{}";
    let answer = exchange(&mut connect(&server), head).unwrap();
    assert_eq!((answer.code().as_str(), answer.header("connection")), ("408 body_timeout", Some("close")));
    let mut stream = connect(&server);
    stream.write_all(head).unwrap();
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(get(&server, "/healthz").status, 200);
    assert!(fake.seen().is_empty());
}

#[test]
fn large_heads_are_refused() {
    let fake = Fake::new();
    let server = start(&fake);
    let head = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(20 << 10));
    // What was not read any more may reset the connection before the answer is.
    let answer = exchange(&mut connect(&server), head.as_bytes());
    assert!(answer.is_none_or(|answer| answer.status == 431));
    let answer = exchange(&mut connect(&server), b"\x16\x03\x01\x02\x00\r\n\r\n");
    assert!(answer.is_none_or(|answer| answer.status == 400), "TLS is not spoken here");
    assert_eq!(get(&server, "/healthz").status, 200);
}

#[test]
fn connections_beyond_the_most_wait() {
    let mut configuration = configuration();
    configuration.server.connections = 1;
    let fake = Fake::new();
    let server = start_with(&fake, &configuration);
    let mut first = connect(&server);
    assert_eq!(
        exchange(&mut first, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap().status,
        200
    );
    let mut second = connect(&server);
    second.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(second.read(&mut [0]).is_err(), "it was served beyond the most");
    drop(first);
    assert_eq!(read_answer(&mut second).unwrap().status, 200);
}

#[test]
fn shutdown_finishes_what_was_accepted_and_closes_the_store() {
    let fake = Fake::new();
    let server = start(&fake);
    let address = server.address();
    let mut resting = connect(&server);
    assert_eq!(
        exchange(&mut resting, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap().status,
        200
    );
    fake.mood(Mood::Slow(Duration::from_millis(300)));
    let mut busy = connect(&server);
    busy.write_all(b"POST /api/v1/track HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    fake.wait_for(1);
    let begun = Instant::now();
    server.shutdown().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    assert_eq!(read_answer(&mut busy).unwrap().status, 200);
    assert!(fake.is_closed());
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn http2_is_spoken_without_asking() {
    let fake = Fake::new();
    let server = start(&fake);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..2 {
            let body = http_body_util::Full::new(hyper::body::Bytes::from_static(br#"{"session":"h2"}"#));
            let request = hyper::Request::post("http://localhost/api/v1/track").body(body).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
            let json: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(json["session"]["id"], "h2");
        }
    });
}
