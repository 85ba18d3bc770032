//! The binary from outside: import, profile, check, export and rebuild, on a directory of their own and through the
//! server that has it open.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod process;

use process::Served;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const LISTEN: &str = "127.0.0.1:0";

fn spoor(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spoor")).arg("--data").arg(data).args(arguments).output().unwrap()
}

/// Standard output of a command that must end with `code`.
fn said(output: &Output, code: i32) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}{errors}");
    text
}

fn complaint(output: &Output, code: i32) -> String {
    said(output, code);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const LINES: &str = concat!(
    r#"{"session":"s-1","events":[{"id":"m-1","type":"page-view","time":"2026-01-01T00:00:00Z","#,
    r#""properties":{"a":"x"},"traits":{"set":{"plan":"pro"}}}]}"#,
    "\n",
    r#"[{"session":"s-1","events":[{"id":"m-2","type":"purchase","time":"2026-01-01T00:01:00Z"}]},{"session":7}]"#,
    "\n",
    "{broken\n",
    r#"{"session":"s-2","events":[{"type":""}]}"#,
    "\n",
);

const REJECTED: [&str; 3] = [
    r#"{"line":2,"item":1,"code":"wrong_type","message":"invalid type: integer `7`, expected text","field":"session"}"#,
    r#"{"line":3,"code":"json_invalid","message":"key must be a string at line 1 column 2"}"#,
    r#"{"line":4,"code":"type_empty","message":"must not be empty","field":"events[0].type"}"#,
];

fn import(data: &Path, file: &Path, stored: u64, duplicate: u64) {
    let rejected = file.with_extension("rejected");
    let output = spoor(data, &["import", file.to_str().unwrap(), "--rejected", rejected.to_str().unwrap()]);
    let text = said(&output, 1);
    let first = format!("5 requests: {stored} events stored, {duplicate} duplicate; 3 requests rejected");
    assert_eq!(text.lines().next(), Some(first.as_str()));
    let mut written: Vec<_> = std::fs::read_to_string(rejected).unwrap().lines().map(str::to_owned).collect();
    written.sort();
    assert_eq!(written, REJECTED);
}

/// The exported events; and what a profile of one of them says.
fn look(data: &Path) -> (Vec<Value>, Value) {
    let exported = said(&spoor(data, &["export"]), 0);
    let events: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = events[0]["profile"].as_str().unwrap();
    let profile = serde_json::from_str(&said(&spoor(data, &["profile", id]), 0)).unwrap();
    assert!(said(&spoor(data, &["check"]), 0).ends_with("\nsound\n"));
    let gone = complaint(&spoor(data, &["profile", "a/b ?"]), 1);
    assert!(gone.contains("no profile has the id") || gone.contains("not_found"), "{gone}");
    (events, profile)
}

#[test]
fn commands_do_the_same_on_a_directory_and_through_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lines");
    std::fs::write(&file, LINES).unwrap();
    let zipped = dir.path().join("zipped");
    let mut encoder =
        flate2::write::GzEncoder::new(std::fs::File::create(&zipped).unwrap(), flate2::Compression::fast());
    encoder.write_all(LINES.as_bytes()).unwrap();
    encoder.finish().unwrap();

    let alone = dir.path().join("alone");
    import(&alone, &file, 2, 0);
    import(&alone, &zipped, 0, 2);
    let (events, profile) = look(&alone);

    let served = dir.path().join("served");
    let server = Served::start(&served, LISTEN);
    import(&served, &file, 2, 0);
    import(&served, &zipped, 0, 2);
    let (events_served, profile_served) = look(&served);
    let refused = complaint(&spoor(&served, &["rebuild"]), 1);
    assert!(refused.contains("is open in the server at 127.0.0.1:"), "{refused}");
    server.stop();
    assert!(!served.join("server.json").exists());

    let facts = |event: &Value| {
        ["seq", "id", "type", "time", "source", "session", "properties"].map(|m| event[m].clone())
    };
    assert_eq!(
        events.iter().map(facts).collect::<Vec<_>>(),
        events_served.iter().map(facts).collect::<Vec<_>>()
    );
    assert_eq!(events[0]["time"], "2026-01-01T00:00:00.000Z", "an import corrects no clock");
    assert_eq!(profile["traits"], serde_json::json!({"plan": "pro"}));
    assert_eq!(
        (&profile["counters"], &profile["traits"]),
        (&profile_served["counters"], &profile_served["traits"])
    );

    let before = said(&spoor(&served, &["check"]), 0);
    assert!(said(&spoor(&served, &["rebuild"]), 0).starts_with("rebuilt from the log"));
    let digests = |text: &str| {
        text.lines().filter(|line| line.contains("digest")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(digests(&said(&spoor(&served, &["check"]), 0)), digests(&before));
}

const PEOPLE: &str = concat!(
    r#"{"session":"a","events":[{"id":"1","type":"x","identifiers":{"email":"ada@example.com"}}]}"#,
    "\n",
    r#"{"session":"b","events":[{"id":"1","type":"x","identifiers":{"user_id":"7"}}]}"#,
    "\n",
    r#"{"session":"b","events":[{"id":"2","type":"x","identifiers":{"email":"ada@example.com"}}]}"#,
    "\n",
);

fn json(output: &Output) -> Value {
    serde_json::from_str(&said(output, 0)).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    said(output, 0).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asks and decides who two devices are, and takes it back.
fn identify(data: &Path) -> Vec<String> {
    let by_email = &["profile", "--identifier", "email:Ada@example.com"];
    let profile = json(&spoor(data, by_email));
    let ids: Vec<_> =
        profile["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    let [first, second] = ids.as_slice() else { panic!("{profile}") };
    let mut seen = vec![profile["identifiers"].to_string()];
    let kinds = |entries: &[Value]| entries.iter().map(|entry| entry["kind"].to_string()).collect::<Vec<_>>();
    let history = lines(&spoor(data, &["history", second]));
    let merge = history.iter().find_map(|entry| entry["merge"].as_str()).unwrap().to_owned();
    seen.extend(kinds(&history));
    seen.push(lines(&spoor(data, &["links", first])).len().to_string());
    seen.push(json(&spoor(data, &["explain", first, second]))["chain"].as_array().unwrap().len().to_string());

    let preview = json(&spoor(data, &["undo", &merge, "--dry-run"]));
    assert_eq!(preview["seq"], Value::Null);
    let undone = json(&spoor(data, &["undo", &merge, "--keep-apart"]));
    assert_eq!(preview["after"].as_array().unwrap().len(), undone["after"].as_array().unwrap().len());
    seen.push(complaint(&spoor(data, &["undo", &merge]), 1));
    seen.push(complaint(&spoor(data, &["merge", first, second]), 1));
    let merged = json(&spoor(data, &["merge", first, second, "--force"]));
    seen.push(merged["after"].as_array().unwrap().len().to_string());
    json(&spoor(data, &["detach", second, "user_id:7"]));
    json(&spoor(data, &["attach", second, "user_id:8"]));
    seen.push(complaint(&spoor(data, &["attach", second, "fax:1"]), 1));
    json(&spoor(data, &["block", "email:ada@example.com"]));
    seen.push(complaint(&spoor(data, &["block", "email:ada@example.com"]), 1));
    json(&spoor(data, &["unblock", "email:ada@example.com"]));
    assert!(lines(&spoor(data, &["quarantine", "list"])).is_empty());
    seen.push(complaint(&spoor(data, &["quarantine", "approve", "q1-0"]), 1));
    seen.push(complaint(&spoor(data, &["profile", first, "--at", "1970-01-01T00:00:00Z"]), 1));
    assert!(said(&spoor(data, &["check"]), 0).ends_with("\nsound\n"));
    seen
}

#[test]
fn other_rules_are_tried_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (data, rules) = (dir.path().join("data"), dir.path().join("rules.toml"));
    let file = dir.path().join("requests.jsonl");
    let request = |session: &str| {
        let event =
            serde_json::json!({"id": session, "type": "t", "identifiers": {"email": "ada@example.com"}});
        serde_json::json!({"session": session, "events": [event]}).to_string()
    };
    std::fs::write(&file, [request("s-1"), request("s-2")].join("\n")).unwrap();
    said(&spoor(&data, &["import", file.to_str().unwrap()]), 0);
    std::fs::write(&rules, "[identifiers.email]\nnormalize = \"email\"\nmerges = false\n").unwrap();
    let tried = |arguments: &[&str]| {
        let start = ["preview", "--rules", rules.to_str().unwrap()];
        spoor(&data, &[&start[..], arguments].concat())
    };
    let before = said(&spoor(&data, &["check"]), 0);
    let text = said(&tried(&[]), 0);
    assert!(text.contains("profiles         2, now 1\n"), "{text}");
    let apart: Vec<&str> = text.lines().filter(|line| line.starts_with("apart:  ")).collect();
    assert_eq!(apart.len(), 1, "{text}");
    assert!(!said(&tried(&["--list", "0"]), 0).contains("apart:"));
    assert_eq!(said(&spoor(&data, &["check"]), 0), before);

    std::fs::write(&rules, "[identifiers.email]\nmerges = \"perhaps\"\n").unwrap();
    assert!(complaint(&tried(&[]), 2).contains("identifiers.email.merges"));
    let server = Served::start(&data, LISTEN);
    std::fs::write(&rules, "").unwrap();
    assert!(complaint(&tried(&[]), 1).contains("stop it first, since a preview keeps"));
    server.stop();
}

/// The code that a complaint names, which the two ways word differently around it.
fn code_of(complaint: &str) -> &str {
    const CODES: [&str; 6] = [
        "merge_undone",
        "kept_apart",
        "unknown_namespace",
        "blocked_already",
        "quarantine_unknown",
        "at_before_beginning",
    ];
    CODES.into_iter().find(|code| complaint.contains(code)).unwrap_or(complaint)
}

#[test]
fn who_is_who_is_asked_and_decided_on_a_directory_and_through_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lines");
    std::fs::write(&file, PEOPLE).unwrap();
    let (alone, served) = (dir.path().join("alone"), dir.path().join("served"));
    for data in [&alone, &served] {
        said(&spoor(data, &["import", file.to_str().unwrap()]), 0);
    }
    let here = identify(&alone);
    let server = Served::start(&served, LISTEN);
    let there = identify(&served);
    server.stop();
    let codes = |seen: &[String]| seen.iter().map(|text| code_of(text).to_owned()).collect::<Vec<_>>();
    let timeless = |mut seen: Vec<String>| seen.split_off(1);
    assert_eq!(timeless(codes(&here)), timeless(codes(&there)));
    assert!(codes(&here).iter().any(|code| code == "kept_apart"), "{here:?}");
    let wrong = spoor(&alone, &["profile", "x", "--at", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2), "a time that is none is an argument that is wrong");
    for arguments in [
        &["profile"][..],
        &["profile", ""],
        &["profile", "x", "--identifier", "email:y"],
        &["profile", "--identifier", "y"],
        &["explain", "x", " "],
        &["detach", "x", "email:"],
        &["block", ":y"],
        &["quarantine"],
    ] {
        assert_eq!(spoor(&alone, arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn standard_input_is_read_and_an_export_can_be_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_spoor"))
        .args(["import", "-", "--data"])
        .arg(dir.path().join("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = "{\"events\":[{\"type\":\"x\"},{\"type\":\"y\",\"properties\":{\"a\":\t1}}]}\n";
    child.stdin.take().unwrap().write_all(line.repeat(700).as_bytes()).unwrap();
    let text = said(&child.wait_with_output().unwrap(), 0);
    assert_eq!(text, "700 requests: 1400 events stored, 0 duplicate; 0 requests rejected\n");
    let file = dir.path().join("events");
    let data = dir.path().join("data");
    said(&spoor(&data, &["export", file.to_str().unwrap()]), 0);
    let exported = std::fs::read_to_string(&file).unwrap();
    let seqs: Vec<u64> = exported
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs.len(), 1_400);
    assert!(seqs.is_sorted_by(|a, b| a < b));
    let rest = said(&spoor(&data, &["export", "--after", &seqs[1_398].to_string()]), 0);
    assert_eq!(rest.lines().count(), 1);
    let to_standard_output = said(&spoor(&data, &["export", "-", "--after", &seqs[1_398].to_string()]), 0);
    assert_eq!(to_standard_output, rest);
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    for command in [&["profile", "x"][..], &["check"], &["export"], &["rebuild"]] {
        let text = complaint(&spoor(&none, command), 1);
        assert!(text.contains("there is no store in"), "{text}");
    }
    assert!(!none.exists());
    let text = complaint(&spoor(&none, &["--listen", "0.0.0.0:80"]), 2);
    assert!(text.contains("server.listen") && text.contains("loopback only"), "{text}");
    let text = complaint(&spoor(&none, &["import", "/nowhere/at/all"]), 1);
    assert!(text.contains("/nowhere/at/all"), "{text}");
    assert_eq!(spoor(&none, &["no-such-command"]).status.code(), Some(2));
    let text = said(&spoor(&none, &["serve", "--print-config"]), 0);
    assert!(text.contains("  # flag") && text.contains("listen = \"127.0.0.1:8420\"  # default"), "{text}");
}

#[test]
fn a_stopped_server_is_named_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), LISTEN);
    served.signal("-STOP");
    let begun = std::time::Instant::now();
    let said = complaint(&spoor(dir.path(), &["check"]), 1);
    assert!(said.contains("did not answer within 5 s: is it stopped?"), "{said}");
    assert!(begun.elapsed().as_secs() < 20);
    served.signal("-CONT");
    served.stop();
}

#[test]
fn a_server_that_says_that_it_serves_can_be_stopped_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        Served::start(dir.path(), LISTEN).stop();
    }
}

/// By itself and through the server: the requests of one store make another of the same content.
#[test]
fn exported_requests_can_be_imported() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let path = |name: &str| file(name).to_str().unwrap().to_owned();
    std::fs::write(file("lines.jsonl"), LINES).unwrap();
    said(&spoor(&file("one"), &["import", &path("lines.jsonl")]), 1);
    said(&spoor(&file("one"), &["export", "--requests", &path("requests.jsonl")]), 0);
    let served = Served::start(&file("one"), LISTEN);
    said(&spoor(&file("one"), &["export", "--requests", &path("served.jsonl")]), 0);
    served.stop();
    let requests = std::fs::read_to_string(file("requests.jsonl")).unwrap();
    assert_eq!(requests.lines().count(), 2);
    assert_eq!(std::fs::read_to_string(file("served.jsonl")).unwrap(), requests);
    said(&spoor(&file("two"), &["import", &path("requests.jsonl")]), 0);
    let content = |store: &str| {
        let checked = said(&spoor(&file(store), &["check"]), 0);
        checked.lines().find(|line| line.starts_with("content digest")).unwrap().to_owned()
    };
    assert_eq!(content("two"), content("one"));
}

#[test]
fn check_verifies_the_checksums_of_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let lines = dir.path().join("lines.jsonl");
    std::fs::write(&lines, LINES).unwrap();
    let data = dir.path().join("data");
    said(&spoor(&data, &["import", lines.to_str().unwrap()]), 1);
    let before = said(&spoor(&data, &["check"]), 0);
    let index = data.join("index.redb");
    let mut bytes = std::fs::read(&index).unwrap();
    // The id of the session, as a key: nobody who opens the store looks at it.
    let key = bytes.windows(3).position(|window| window == b"s-1").unwrap();
    bytes[key] ^= 1;
    std::fs::write(&index, &bytes).unwrap();
    let damaged = complaint(&spoor(&data, &["check"]), 1);
    assert!(damaged.contains("index") && damaged.contains("spoor rebuild"), "{damaged}");
    said(&spoor(&data, &["rebuild"]), 0);
    let line = |text: &str| text.lines().find(|line| line.starts_with("store digest")).unwrap().to_owned();
    assert_eq!(line(&said(&spoor(&data, &["check"]), 0)), line(&before));
}
