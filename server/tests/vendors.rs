//! The routes of other services' clients over the real engine: bodies as their libraries send them, and the answers
//! that they expect. The libraries themselves are run by tests/tests/clients.rs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod fake;

use fake::{Fake, Mood};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use spoor::settings::{Keys, SourceSettings};
use spoor_server::http::{Server, serve, serve_store};
use spoor_server::settings::Configuration;
use std::io::Write;
use std::sync::Arc;
use tempfile::TempDir;

fn configuration() -> Configuration {
    let mut configuration = Configuration::default();
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    configuration
}

/// A server over an empty store, with sources of these names; the name `web` has a public key.
fn start(sources: &[&str]) -> (Server, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut configuration = configuration();
    configuration.data_dir = directory.path().join("data");
    for name in sources {
        let keys = if *name == "web" { Keys::Public } else { Keys::Secret };
        let source = SourceSettings { keys, ..SourceSettings::default() };
        configuration.engine.sources.insert((*name).to_owned(), source);
    }
    (serve(&configuration).unwrap(), directory)
}

struct Answer {
    status: u16,
    media_type: String,
    retry_after: Option<String>,
    bytes: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// Status, code and field of an error, both of which stand at the top of the body.
    fn error(&self) -> String {
        let body = self.json();
        assert!(body["message"].is_string(), "{body}");
        let text = |name: &str| body[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", self.status, text("code"), text("field"))
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn answer(found: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut found = found.unwrap();
    let header = |name: &str| found.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (media_type, retry_after) = (header("content-type").unwrap(), header("retry-after"));
    let status = found.status().as_u16();
    Answer { status, media_type, retry_after, bytes: found.body_mut().read_to_vec().unwrap() }
}

fn get(server: &Server, target: &str) -> Answer {
    answer(agent().get(format!("http://{}{target}", server.address())).call())
}

fn post_as(server: &Server, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = agent().post(format!("http://{}{target}", server.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request.send(body))
}

fn post(server: &Server, target: &str, body: &Value) -> Answer {
    post_as(server, target, &[("content-type", "application/json")], body.to_string().as_bytes())
}

fn profile(server: &Server, of: &str) -> Value {
    let answer = get(server, &format!("/api/v1/profiles{of}"));
    assert_eq!(answer.status, 200, "{of}: {}", answer.json());
    answer.json()
}

/// Types and sources of all events, in the order of the log.
fn stored(server: &Server) -> Vec<(String, String)> {
    let page = get(server, "/api/v1/events?after=0&limit=1000").json();
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (text(event, "type"), text(event, "source")))
        .collect()
}

fn types(server: &Server) -> Vec<String> {
    stored(server).into_iter().map(|(event_type, _)| event_type).collect()
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_good_in_a_batch_is_stored_and_what_is_bad_is_named() {
    let (server, _directory) = start(&[]);
    let answer = post(
        &server,
        "/v1/batch",
        &json!({"writeKey": "any", "sentAt": "2026-01-31T09:30:00Z", "batch": [
            {"type": "track", "messageId": "m-1", "anonymousId": "a-1", "event": "Order Completed"},
            {"type": "track", "messageId": "m-2", "anonymousId": "a-1"},
            {"type": "purge", "messageId": "m-3", "anonymousId": "a-1"},
            {"type": "page", "messageId": "m-4", "anonymousId": "a".repeat(129)},
            {"type": "track", "messageId": "m-5", "anonymousId": "a-1", "event": "e".repeat(129)},
            5,
            {"type": "identify", "messageId": "m-7", "anonymousId": "a-1", "traits": {" ": 1}},
            {"type": "page", "messageId": "m-8", "anonymousId": "a-1", "properties": {"url": "/shoes"}},
        ]}),
    );
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!((&body["success"], &body["accepted"]), (&json!(true), &json!(2)));
    let refused: Vec<String> = body["refused"].as_array().unwrap().iter().map(told_of).collect();
    assert_eq!(
        refused,
        [
            "1 m-2 member_missing event",
            "2 m-3 type_unknown type",
            "3 m-4 id_too_long anonymousId",
            "4 m-5 name_too_long event",
            "5 - wrong_type -",
            "6 m-7 name_empty traits",
        ]
    );
    assert_eq!(types(&server), ["Order Completed", "page-view"]);
    assert_eq!(profile(&server, "/a-1")["counters"]["page_views"], 1);
}

fn told_of(refused: &Value) -> String {
    let text = |name: &str| refused[name].as_str().unwrap_or("-").to_owned();
    assert!(refused["message"].is_string());
    format!("{} {} {} {}", refused["index"], text("messageId"), text("code"), text("field"))
}

#[test]
fn a_body_in_which_nothing_is_right_is_refused_as_a_whole() {
    let (server, _directory) = start(&[]);
    for (target, body, expected) in [
        ("/v1/batch", json!({"batch": [{"type": "track"}, 5]}), "400 member_missing batch[0].anonymousId"),
        ("/v1/track", json!({"anonymousId": "a"}), "400 member_missing event"),
        ("/v1/i", json!({"anonymousId": "a".repeat(129)}), "422 id_too_long anonymousId"),
        ("/v1/batch", json!({}), "400 member_missing batch"),
        ("/v1/batch", json!({"batch": 5}), "400 wrong_type batch"),
        ("/v1/batch", json!({"batch": vec![0; 2_501]}), "413 array_too_long batch"),
        ("/v1/track", json!([]), "400 wrong_type -"),
    ] {
        assert_eq!(post(&server, target, &body).error(), expected, "{target} {body}");
    }
    let broken = post_as(&server, "/v1/batch", &[("content-type", "application/json")], b"{\"batch\":[");
    assert_eq!(broken.error(), "400 json_invalid -");
    assert_eq!(get(&server, "/v1/track").error(), "405 method_not_allowed -");
    assert_eq!(
        post(&server, "/v1/batch", &json!({"batch": []})).json(),
        json!({"success": true, "accepted": 0})
    );
    assert_eq!(types(&server), Vec::<String>::new());
}

#[test]
fn a_body_is_read_by_what_it_holds() {
    let (server, _directory) = start(&[]);
    let item = |id: &str| format!(r#"{{"anonymousId":"a-1","messageId":"{id}","event":"click"}}"#);
    const FORM: &str = "application/x-www-form-urlencoded";
    let in_form =
        format!("data={}", form_urlencoded::byte_serialize(item("m-4").as_bytes()).collect::<String>());
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(Headers, Vec<u8>); 5] = [
        (&[("content-type", "text/plain")], item("m-1").into_bytes()),
        (&[("content-type", FORM), ("content-encoding", "gzip")], gzipped(&item("m-2"))),
        (&[("content-type", "text/plain")], gzipped(&item("m-3"))),
        (&[("content-type", FORM)], in_form.into_bytes()),
        (&[("content-type", "image/png")], item("m-5").into_bytes()),
    ];
    for (headers, body) in cases {
        let answer = post_as(&server, "/v1/track", headers, &body);
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"success": true, "accepted": 1})),
            "{headers:?}"
        );
    }
    assert_eq!(profile(&server, "/a-1")["counters"]["events"], 5);
}

#[test]
fn what_may_be_taken_later_is_sent_again_as_a_whole_and_stored_once() {
    let fake = Fake::new();
    let server = serve_store(&configuration(), Arc::clone(&fake) as _, "test".to_owned()).unwrap();
    let item = |id: &str| json!({"type": "track", "event": "x", "anonymousId": "a-1", "messageId": id});
    let batch = json!({"batch": [item("m-1"), item("m-2"), item("m-3")]});
    for (mood, expected) in [
        (Mood::OverloadedAfter(1), "503 overloaded -"),
        (Mood::Indeterminate, "503 indeterminate -"),
        (Mood::Closed, "503 closed -"),
        (Mood::Damaged, "500 storage_failed -"),
    ] {
        fake.mood(mood);
        let answer = post(&server, "/v1/batch", &batch);
        assert_eq!(answer.error(), expected);
        assert_eq!(answer.retry_after.is_some(), answer.status == 503, "{expected}");
    }
    let sent: Vec<_> = fake.seen().iter().map(|request| request.events[0].id.clone().unwrap()).collect();
    assert_eq!(sent[..2], ["m-1", "m-2"], "what came after the one that was turned away would overtake it");
    assert_eq!(sent[2], "m-1");

    let (server, _directory) = start(&[]);
    for _ in 0..3 {
        assert_eq!(post(&server, "/v1/batch", &batch).json()["accepted"], 3);
    }
    assert_eq!(types(&server).len(), 3);
}

#[test]
fn the_history_before_a_login_is_the_users_and_the_next_user_is_another() {
    let (server, _directory) = start(&[]);
    let traits = json!({"email": "Ada@Example.com", "plan": "pro"});
    let ok =
        |target: &str, body: Value| assert_eq!(post(&server, target, &body).status, 200, "{target} {body}");
    ok("/v1/t", json!({"anonymousId": "a-1", "messageId": "m-1", "event": "click"}));
    ok(
        "/v1/i",
        json!({"anonymousId": "a-1", "messageId": "m-2", "userId": "u-1", "context": {"traits": traits}}),
    );
    ok("/v1/t", json!({"userId": "u-1", "messageId": "m-3", "event": "bought"}));
    ok(
        "/v1/g",
        json!({"userId": "u-1", "messageId": "m-4", "groupId": "g-1", "traits": {"email": "g@shop.example"}}),
    );
    ok("/v1/t", json!({"anonymousId": "a-2", "messageId": "m-5", "event": "click"}));
    ok("/v1/a", json!({"previousId": "a-2", "userId": "u-1", "messageId": "m-6"}));
    ok("/v1/a", json!({"anonymousId": "a-1", "previousId": "u-1", "userId": "u-1", "messageId": "m-7"}));
    // Somebody else logs in, on the same browser and without a reset.
    ok("/v1/i", json!({"anonymousId": "a-1", "messageId": "m-8", "userId": "u-2"}));
    ok("/v1/t", json!({"anonymousId": "a-1", "messageId": "m-9", "userId": "u-2", "event": "click"}));

    let ada = profile(&server, "?identifier=email:ada@example.com");
    assert_eq!(ada["counters"]["events"], 7);
    assert_eq!(ada["traits"], json!({"email": "Ada@Example.com", "plan": "pro", "group_id": "g-1"}));
    for id in ["a-1", "a-2"] {
        assert_eq!(profile(&server, &format!("/{id}"))["primary_id"], ada["primary_id"], "{id}");
    }
    let other = profile(&server, "?identifier=user_id:u-2");
    assert_ne!(other["primary_id"], ada["primary_id"]);
    assert_eq!(other["counters"]["events"], 2);
    assert_eq!(get(&server, "/api/v1/profiles?identifier=email:g@shop.example").status, 404);
}

#[test]
fn a_key_names_the_source() {
    let (server, _directory) = start(&["shop", "web"]);
    let item = json!({"anonymousId": "a-1", "event": "click"});
    let with_key = |key: &str| json!({"anonymousId": "a-1", "event": "click", "writeKey": key});
    // The user `web` without a password, as RFC 7617 has it.
    let basic = [("authorization", "Basic d2ViOg==")];
    assert_eq!(post_as(&server, "/v1/t", &basic, with_key("shop").to_string().as_bytes()).status, 200);
    assert_eq!(post(&server, "/v1/t", &with_key("shop")).status, 200);
    assert_eq!(post(&server, "/beacon/v1/batch?writeKey=web", &json!({"batch": []})).status, 200);
    for (target, body) in [("/v1/t", item), ("/v1/t", with_key("else"))] {
        assert_eq!(post(&server, target, &body).error(), "401 key_invalid -");
    }
    assert_eq!(get(&server, "/v1/projects/else/settings").error(), "401 key_invalid -");
    assert_eq!(post(&server, "/track", &json!({"source": {"id": "else"}})).error(), "401 key_invalid -");
    assert_eq!(get(&server, "/collect/click/else").error(), "401 key_invalid -");
    let sources: Vec<_> = stored(&server).into_iter().map(|(_, source)| source).collect();
    assert_eq!(sources, ["web", "shop"]);
}

#[test]
fn browser_libraries_are_told_to_send_to_where_they_asked() {
    let (server, _directory) = start(&[]);
    let settings = get(&server, "/v1/projects/web/settings").json();
    let destination = &settings["integrations"]["Segment.io"];
    assert_eq!(destination["apiHost"], format!("{}/v1", server.address()));
    assert_eq!(destination["apiKey"], "web");
    let config = get(&server, "/sourceConfig/?p=npm&v=3.34.1&build=modern&writeKey=web").json();
    assert_eq!((&config["source"]["enabled"], &config["source"]["destinations"]), (&json!(true), &json!([])));
    assert!(config["source"]["config"].is_object());
}

#[test]
fn tracardis_payload_is_answered_in_its_shape() {
    let (server, _directory) = start(&[]);
    let payload = |session: &str, profile: Value, events: Value| {
        json!({"source": {"id": "web"}, "session": {"id": session}, "profile": profile, "device": {"id": "d"},
               "options": {"debugger": true}, "metadata": {"time": {"insert": "datetime.now()"}}, "events": events})
    };
    let event = |kind: &str| json!([{"type": kind, "id": "m-1", "properties": {"a": 1}, "tags": ["x"]}]);
    let first = post(&server, "/track", &payload("s-1", Value::Null, event("Page View")));
    assert_eq!(first.status, 200);
    let (body, id) = (first.json(), first.json()["profile"]["id"].clone());
    let expected = json!({"task": "1", "ux": [], "response": {}, "events": ["m-1"], "profile": {"id": id},
                          "session": {"id": "s-1"}, "errors": [], "warnings": []});
    assert_eq!((body, types(&server)), (expected, vec!["page-view".to_owned()]));

    let lost = post(&server, "/track", &payload("s-1", json!({"id": ""}), event("click"))).json();
    assert_eq!(lost["profile"]["id"], id, "the session brings it back");
    let forged = post(&server, "/track", &payload("s-2", json!({"id": "mine"}), event("click"))).json();
    assert_ne!(forged["profile"]["id"], "mine");
    assert_eq!(forged["warnings"], json!(["profile_unknown"]));
    let back = post(&server, "/track", &payload("s-3", json!({"id": id}), event("click"))).json();
    assert_eq!((&back["profile"]["id"], &back["session"]["id"]), (&id, &json!("s-3")));

    let empty = post(&server, "/track", &json!({"source": {"id": "web"}, "events": []}));
    assert_eq!((empty.status, &empty.json()["profile"]), (200, &json!({"id": null})));
    let less = post(&server, "/track?profile_less=true", &payload("s-4", Value::Null, event("click"))).json();
    assert_eq!((&less["profile"]["id"], &less["session"]["id"]), (&Value::Null, &json!("s-4")));
}

#[test]
fn a_list_is_no_object_and_nobody_learns_what_types_are_called_here() {
    let (server, _directory) = start(&[]);
    let item = r#"["track",null,"a-1"]"#;
    for (target, body, field) in [
        ("/v1/track", item.to_owned(), None),
        ("/v1/batch", "[]".to_owned(), None),
        ("/v1/batch", "[1,2,3,[]]".to_owned(), None),
        ("/v1/batch", r#"{"batch":{"a":1}}"#.to_owned(), Some("batch")),
        ("/v1/batch", format!(r#"{{"batch":[{item}]}}"#), None),
        ("/v1/batch", r#"{"batch":["a",5,null]}"#.to_owned(), None),
        ("/track", r#"[{"id":"web"}]"#.to_owned(), None),
        ("/track", r#"{"source":{"id":"web"},"events":{}}"#.to_owned(), Some("events")),
        ("/track", r#"{"source":{"id":"web"},"events":[["a"]]}"#.to_owned(), Some("events[0]")),
        (
            "/track",
            r#"{"source":{"id":"web"},"session":{"id":"s"},"events":[{"type":"a"}],"options":{"saveSession":"no"}}"#
                .to_owned(),
            Some("options.saveSession"),
        ),
    ] {
        let answer = post_as(&server, target, &[("content-type", "application/json")], body.as_bytes());
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("wrong_type")), "{body}");
        if field.is_some() {
            assert_eq!(answer.json()["field"].as_str(), field, "{body}");
        }
        let said = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(!said.contains("struct") && !said.contains("sequence"), "{said}");
    }
    assert_eq!(types(&server), Vec::<String>::new());
}

#[test]
fn what_tracardi_fails_at_is_a_clients_mistake_with_a_name() {
    let (server, _directory) = start(&[]);
    for (body, expected) in [
        (json!({"events": []}), "400 member_missing source.id"),
        (json!({"source": {"id": "web"}, "session": "s"}), "400 not_an_object session"),
        (json!({"source": {"id": "web"}, "events": [{"type": " "}]}), "422 type_empty events[0].type"),
        (json!({"source": {"id": "web"}, "events": [5]}), "400 wrong_type events[0]"),
        (json!({"source": {"id": "web"}, "events": 5}), "400 wrong_type events"),
        (
            json!({"source": {"id": "web"}, "session": {"id": "s".repeat(129)}, "events": []}),
            "422 id_too_long session",
        ),
        (json!("track"), "400 wrong_type -"),
    ] {
        assert_eq!(post(&server, "/track", &body).error(), expected, "{body}");
    }
    assert_eq!(get(&server, "/track").error(), "405 method_not_allowed -");
    assert_eq!(types(&server), Vec::<String>::new());
}

#[test]
fn an_event_needs_no_payload() {
    let (server, _directory) = start(&[]);
    let without = get(&server, "/collect/Page%20View/web?url=/shoes&tag=a&tag=b").json();
    assert_eq!(without["profile"]["id"], Value::Null);
    let one = get(&server, "/collect/click/web/s-1?a=1").json();
    let two = post(&server, "/collect/click/web/s-1", &json!({"a": 1})).json();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let three = post_as(&server, "/collect/click/web/s-1/", &form, b"a=1&b=x+y").json();
    assert!(one["profile"]["id"].is_string());
    for answer in [&two, &three] {
        assert_eq!(answer["profile"]["id"], one["profile"]["id"], "the session's");
    }
    let broken = post_as(&server, "/collect/click/web/s-1", &[("content-type", "text/plain")], b"{\"a\":");
    assert_eq!(broken.error(), "400 json_invalid -");
    let events = get(&server, "/api/v1/events?after=0&limit=10").json();
    let properties: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| &event["properties"]).collect();
    assert_eq!(
        properties,
        [
            &json!({"url": "/shoes", "tag": ["a", "b"]}),
            &json!({"a": "1"}),
            &json!({"a": 1}),
            &json!({"a": "1", "b": "x y"})
        ]
    );
    assert_eq!(types(&server)[0], "page-view");
}

#[test]
fn a_picture_is_an_event() {
    let (server, _directory) = start(&[]);
    for target in ["/collect/open/mail/s-1/pixel.gif?campaign=may", "/collect/open/mail/pixel.gif"] {
        let answer = get(&server, target);
        assert_eq!((answer.status, answer.media_type.as_str()), (200, "image/gif"));
        assert!(answer.bytes.starts_with(b"GIF89a"));
    }
    assert_eq!(types(&server), ["open", "open"]);
    assert_eq!(get(&server, "/api/v1/sessions/s-1").json()["counters"]["events"], 1);
}

#[test]
fn a_browsers_key_is_told_of_no_other_profile() {
    let (server, _directory) = start(&["web"]);
    let payload = |session: &str, events: Value| json!({"source": {"id": "web"}, "session": {"id": session}, "events": events});
    let id = |answer: &Answer| answer.json()["profile"]["id"].as_str().unwrap().to_owned();
    let ada = post(&server, "/track", &payload("s-1", json!([{"type": "click"}])));
    let bob = post(&server, "/track", &payload("s-2", json!([{"type": "click"}])));
    assert_ne!(id(&ada), id(&bob));
    // Bob's id in Ada's session: what is said of it is what was sent.
    let mut crossed = payload("s-1", json!([{"type": "click"}]));
    crossed["profile"] = json!({"id": id(&bob)});
    let crossed = post(&server, "/track", &crossed);
    assert_eq!((id(&crossed), &crossed.json()["warnings"]), (id(&bob), &json!([])));
    let answer = post(&server, "/v1/i", &json!({"anonymousId": "a-1", "userId": "u-1"}));
    assert_eq!(answer.json(), json!({"success": true, "accepted": 1}));
}
