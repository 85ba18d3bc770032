//! `/metrics` tells what docs/operations.md says, and nothing that a client sent.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use spoor_server::http::serve;
use spoor_server::settings::Configuration;
use spoor_tests::connection::Connection;
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../docs/operations.md");

/// Names in the page's table, and the labels of each.
fn listed() -> BTreeSet<(String, Vec<String>)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `spoor_"));
    let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    cells
        .map(|cells| {
            let labels = cells[2].split(", ").map(|label| label.trim_matches('`').to_owned());
            (cells[1].trim_matches('`').to_owned(), labels.filter(|label| !label.is_empty()).collect())
        })
        .collect()
}

/// Names in an answer, and the labels of each. A histogram has one name.
fn told(text: &str) -> BTreeSet<(String, Vec<String>)> {
    let mut told = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let ends = ["_bucket", "_sum", "_count"];
        let name = ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let names = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once('='));
        let names = names.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
        told.insert((name.to_owned(), names.collect()));
    }
    told
}

/// The value of a series, written as it is told.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
}

#[test]
fn the_metrics_are_those_of_the_page_and_count_what_happens() {
    let dir = tempfile::tempdir().unwrap();
    let mut configuration = Configuration::default();
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    configuration.data_dir = dir.path().join("data");
    let server = serve(&configuration).unwrap();
    let mut connection = Connection::open(&server.address().to_string()).unwrap();
    let mut ask = |method: &str, path: &str, body: &str| connection.ask(method, path, body).unwrap();
    let event = |session: &str, id: &str| {
        format!(
            r#"{{"session":"{session}","events":[{{"id":"{id}","type":"t","identifiers":{{"email":"ada@example.com"}}}}]}}"#
        )
    };
    let many = format!("[{},{{\"session\":5}}]", event("secret-2", "m-2"));
    for body in [event("secret-1", "m-1"), event("secret-1", "m-1"), many] {
        assert_eq!(ask("POST", "/api/v1/track", &body).0, 200, "{body}");
    }
    assert_eq!(ask("GET", "/api/v1/profiles/secret-3", "").0, 404);
    assert_eq!(ask("DELETE", "/api/v1/merges/m2-0", "").0, 200);
    let (status, text) = ask("GET", "/metrics", "");
    assert_eq!(status, 200);
    assert_eq!(told(&text), listed());
    assert!(text.ends_with("# EOF\n"));
    for (series, expected) in [
        ("spoor_events_total{outcome=\"stored\"}", 2.0),
        ("spoor_events_total{outcome=\"duplicate\"}", 1.0),
        ("spoor_links_total{outcome=\"merged\"}", 1.0),
        ("spoor_requests_total{route=\"/api/v1/track\",status=\"200\"}", 3.0),
        ("spoor_requests_total{route=\"/api/v1/profiles/{id}\",status=\"404\"}", 1.0),
        ("spoor_request_duration_seconds_count{route=\"/api/v1/track\"}", 3.0),
        ("spoor_refusals_total{code=\"wrong_type\"}", 1.0),
        ("spoor_refusals_total{code=\"not_found\"}", 1.0),
        ("spoor_merges_total", 1.0),
        ("spoor_partings_total", 1.0),
        ("spoor_group_events_count", 3.0),
        ("spoor_group_events_sum", 3.0),
        ("spoor_commit_duration_seconds_count", 3.0),
        ("spoor_position", 3.0),
        ("spoor_stored_events", 2.0),
        ("spoor_connections", 1.0),
    ] {
        assert!((value(&text, series) - expected).abs() < 1e-9, "{series}\n{text}");
    }
    assert!(value(&text, "spoor_store_bytes{part=\"log\"}") > 0.0);
    for sent in ["ada", "secret", "m-1"] {
        assert!(!text.contains(sent), "{sent} in\n{text}");
    }
    server.shutdown().unwrap();
}
