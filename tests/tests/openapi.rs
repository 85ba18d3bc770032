//! `/openapi.json` says what the server does: every route, method, parameter and code, and no other; and what is made
//! up from it at random is answered as it says.
//!
//! The last needs Python 3 with `venv`, and installs schemathesis from PyPI below the target folder, once.
//! `SPOOR_SCHEMATHESIS` says how many examples each operation gets (8); with 0 it is left out.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use regex::Regex;
use serde_json::Value;
use spoor::settings::{ProfileIds, SourceSettings};
use spoor_server::http::errors::CODES;
use spoor_server::http::routes::find;
use spoor_server::http::serve;
use spoor_server::openapi::document;
use spoor_server::settings::Configuration;
use spoor_tests::connection::Connection;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROUTES: &str = include_str!("../../server/src/http/routes/table.rs");
const PARAMETERS: &str = include_str!("../../server/src/http/parameters.rs");
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Path, method and description of each operation.
fn operations() -> Vec<(String, String, Value)> {
    let mut operations = Vec::new();
    for (path, methods) in document()["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    operations
}

/// The path with something in the place of each name.
fn filled(path: &str) -> String {
    Regex::new(r"\{[a-z]+\}").unwrap().replace_all(path, "a").into_owned()
}

fn code_before_tests() -> &'static str {
    ROUTES.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn every_method_is_described_and_nothing_else() {
    let mut allowed: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, _, _) in operations() {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let method = method.to_owned();
            match find(&method.parse().unwrap(), &filled(&path), None) {
                Err(problem) if problem.body.code == "method_not_allowed" => {}
                Err(problem) if problem.body.code == "route_unknown" => panic!("{path} is no route"),
                Ok(found) => {
                    assert_eq!(found.route, path);
                    allowed.insert((path.clone(), method));
                }
                // A parameter that it needs.
                Err(_) => {
                    allowed.insert((path.clone(), method));
                }
            }
        }
    }
    let described: BTreeSet<_> = operations().into_iter().map(|(path, method, _)| (path, method)).collect();
    assert_eq!(described, allowed);
}

/// Something that a parameter may be.
fn valid(parameter: &Value) -> &'static str {
    match parameter["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap() {
        "Time" => "2026-01-01T00:00:00Z",
        "Flag" => "true",
        "Limit" | "Position" => "1",
        "Origin" => "live",
        _ => "a",
    }
}

#[test]
fn every_parameter_is_described_and_nothing_else() {
    let names = Regex::new(r#"(?:take|flag|needed|time)\("([a-z_]+)"\)"#).unwrap();
    let code = [code_before_tests(), PARAMETERS].concat();
    let known: BTreeSet<&str> = names.captures_iter(&code).map(|of| of.get(1).unwrap().as_str()).collect();
    assert!(known.len() > 10, "{known:?}");
    for (path, method, operation) in operations() {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let of_query: Vec<&Value> =
            parameters.iter().filter(|parameter| parameter["in"] == "query").collect();
        let needed = of_query.iter().filter(|parameter| parameter["required"] == true);
        let needed: Vec<String> = needed
            .map(|parameter| format!("{}={}", parameter["name"].as_str().unwrap(), valid(parameter)))
            .collect();
        let ask = |query: &[String]| find(&method.parse().unwrap(), &filled(&path), Some(&query.join("&")));
        assert!(ask(&needed).is_ok(), "{method} {path}: {:?}", ask(&needed));
        for name in &known {
            let described = of_query.iter().find(|parameter| parameter["name"] == *name);
            if described.is_some_and(|parameter| parameter["required"] == true) {
                continue;
            }
            let value = described.map_or("a", |parameter| valid(parameter));
            let query = [needed.clone(), vec![format!("{name}={value}")]].concat();
            let unknown = ask(&query).is_err_and(|problem| problem.body.code == "parameter_unknown");
            assert_eq!(described.is_none(), unknown, "{method} {path}?{name}: {:?}", ask(&query));
            assert!(described.is_none() || ask(&query).is_ok(), "{method} {path}?{name}={value}");
        }
    }
}

#[test]
fn every_code_is_described_under_its_status() {
    let document = document();
    let mut described: Vec<(String, u16)> = Vec::new();
    for (name, refusal) in document["components"]["responses"].as_object().unwrap() {
        let status = name.strip_prefix("Refused").unwrap().parse().unwrap();
        let schema = &refusal["content"]["application/json"]["schema"];
        for code in schema["allOf"][1]["properties"]["code"]["enum"].as_array().unwrap() {
            described.push((code.as_str().unwrap().to_owned(), status));
        }
    }
    let mut known: Vec<_> = CODES.iter().map(|(code, status)| ((*code).to_owned(), *status)).collect();
    described.sort();
    known.sort();
    assert_eq!(described, known);
    let used: BTreeSet<u16> = operations()
        .iter()
        .flat_map(|(_, _, operation)| {
            operation["responses"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        })
        .filter_map(|status| status.parse().ok())
        .collect();
    for (code, status) in CODES {
        assert!(used.contains(status), "no operation is refused with {status} {code}");
    }
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    for reference in &found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        // A stream's items stand in its description.
        let used = name == "Change" || found.contains(&format!("#/components/schemas/{name}").as_str());
        assert!(used, "{name}");
    }
}

fn run(command: &mut Command) {
    let said = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, problems) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{command:?}\n{out}\n{problems}");
}

/// The program, installed once for each version.
fn schemathesis() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SCHEMATHESIS.replace("==", "-"));
    let program = target.join("bin").join("schemathesis");
    let whole = target.join("installed");
    if !whole.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&target));
        run(Command::new(target.join("bin").join("pip")).args(["install", "--quiet", SCHEMATHESIS]));
        std::fs::write(&whole, "").unwrap();
    }
    program
}

/// Somebody with two devices, a session and all that can be said of them.
fn fill(address: &str) {
    let event = r#"{"id":"m-1","type":"page-view","properties":{"url":"/shoes?utm_source=news"},
        "identifiers":{"email":"ada@example.com"},"traits":{"set":{"plan":"pro"},"add":{"visits":1}},
        "consents":{"marketing":"granted"}}"#;
    let agent = r#"{"user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}"#;
    let mut connection = Connection::open(address).unwrap();
    for (session, profile) in [("s-1", "ada-1"), ("s-2", "ada-2")] {
        let request = format!(
            r#"{{"session":"{session}","profile":"{profile}","context":{agent},"events":[{event}]}}"#
        );
        let (status, answer) = connection.ask("POST", "/api/v1/track", &request).unwrap();
        assert_eq!(status, 200, "{answer}");
    }
}

#[test]
fn what_is_made_up_from_the_description_is_answered_as_it_says() {
    let examples = std::env::var("SPOOR_SCHEMATHESIS").unwrap_or_else(|_| "8".to_owned());
    if examples == "0" {
        return;
    }
    let program = schemathesis();
    let dir = tempfile::tempdir().unwrap();
    let mut configuration = Configuration::default();
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    configuration.data_dir = dir.path().join("data");
    let shop = SourceSettings { profile_ids: ProfileIds::Client, ..SourceSettings::default() };
    configuration.engine.sources.insert("default".to_owned(), shop);
    let server = serve(&configuration).unwrap();
    fill(&server.address().to_string());
    let before = server.store().status();
    let mut command = Command::new("timeout");
    command.arg("600").arg(program).current_dir(dir.path());
    command.arg("--config-file").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/schemathesis.toml"));
    command.args(["run", &format!("http://{}/openapi.json", server.address())]);
    command.args(["--max-examples", &examples, "--no-color", "--generation-deterministic"]);
    command.args(["--checks", "not_a_server_error,status_code_conformance"]);
    command.args(["--checks", "content_type_conformance,response_schema_conformance"]);
    run(&mut command);
    let status = server.store().status();
    assert!(status.position > before.position, "nothing that was made up was stored: {status:?}");
    server.shutdown().unwrap();
}
