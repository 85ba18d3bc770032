//! Who is who, over HTTP and the real engine: each kind of bad input gets its code and changes nothing, and what is
//! done can be taken back. The rules themselves are what the scenarios are about.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use spoor_server::http::{Server, serve};
use spoor_server::settings::{Flags, load_from};
use tempfile::TempDir;

const SETTINGS: &str = r#"
    [server]
    listen = "127.0.0.1:0"
    [identifiers.email]
    fragments_max = 2
    blocked = ["info@shop.example"]
    [[identification]]
    event = "sign-in"
    identifiers = { user_id = "properties.users" }
"#;

/// A server of its own, with three devices: `a` is user 1, `b` is user 2, of `c` nothing is known.
struct World {
    server: Server,
    ids: [String; 3],
    _directory: TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("spoor.toml");
        std::fs::write(&file, SETTINGS).unwrap();
        let data = directory.path().join("data");
        let flags = Flags { config: Some(file), data: Some(data), ..Flags::default() };
        let server = serve(&load_from(&flags, &[]).unwrap().configuration).unwrap();
        let mut world = Self { server, ids: Default::default(), _directory: directory };
        let identifiers = [
            json!({"user_id": "1", "email": "ada@example.com"}),
            json!({"user_id": "2", "email": "bob@example.com"}),
            json!({}),
        ];
        for (index, identifiers) in identifiers.into_iter().enumerate() {
            let event = json!({"type": "x", "identifiers": identifiers});
            let reply = world.track(&json!({"session": format!("s-{index}"), "events": [event]}));
            world.ids[index] = reply["profile"]["id"].as_str().unwrap().to_owned();
        }
        world
    }

    fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let uri = format!("http://{}/api/v1/{target}", self.server.address());
        let answer = match (method, body) {
            ("GET", _) => agent.get(uri).call(),
            ("DELETE", _) => agent.delete(uri).call(),
            (_, body) => {
                let body = body.map(Value::to_string).unwrap_or_default();
                agent.post(uri).header("content-type", "application/json").send(body)
            }
        };
        let mut answer = answer.unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap())
    }

    /// Status and code of what must not succeed, or the answer of what must.
    fn outcome(&self, method: &str, target: &str, body: Option<&Value>) -> String {
        let (status, answer) = self.ask(method, target, body);
        format!("{status} {}", answer["code"].as_str().unwrap_or("-"))
    }

    fn done(&self, method: &str, target: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.ask(method, target, body);
        assert_eq!(status, 200, "{method} {target}: {answer}");
        answer
    }

    fn track(&self, request: &Value) -> Value {
        self.done("POST", "track", Some(request))
    }

    /// The outcome and code of each identifier of an event on device `a`.
    fn links_of(&self, event: &Value) -> Vec<String> {
        let reply = self.track(&json!({"profile": self.ids[0], "session": "s-0", "events": [event]}));
        assert_eq!(reply["events"][0]["status"], "stored", "the event is stored all the same");
        let links = reply["events"][0]["links"].as_array().unwrap();
        links.iter().map(|link| format!("{} {}", link["outcome"], link["code"]).replace('"', "")).collect()
    }

    fn profile(&self, index: usize) -> Value {
        self.done("GET", &format!("profiles/{}", self.ids[index]), None)
    }

    /// Who is who, as far as anybody can ask: ids, identifiers and links of everybody, and what waits.
    fn people(&self) -> Vec<Value> {
        let mut people = vec![self.done("GET", "quarantine", None)["items"].clone()];
        for (index, id) in self.ids.iter().enumerate() {
            let profile = self.profile(index);
            people.extend([profile["ids"].clone(), profile["identifiers"].clone()]);
            people.push(self.done("GET", &format!("profiles/{id}/links"), None)["items"].clone());
        }
        people
    }

    fn digest(&self) -> String {
        let check = self.done("GET", "check", None);
        assert_eq!(check["faults"], json!([]));
        check["store_digest"].as_str().unwrap().to_owned()
    }
}

#[test]
fn identifiers_that_are_no_good_are_refused_and_nobody_gets_them() {
    let world = World::new();
    let (before, others) = (world.people(), [world.profile(1), world.profile(2)]);
    let sent = |identifiers: Value| json!({"type": "x", "identifiers": identifiers});
    let table = [
        (sent(json!({"fax": "1"})), "refused unknown_namespace"),
        (sent(json!({"email": "ada at example"})), "refused unlinkable"),
        (sent(json!({"email": "undefined"})), "refused junk"),
        (sent(json!({"email": "INFO@shop.example"})), "refused blocked"),
        (sent(json!({"email": "bob@example.com"})), "refused unique_conflict"),
    ];
    for (event, expected) in &table {
        assert_eq!(world.links_of(event), [*expected], "{event}");
    }
    let two = json!({"type": "sign-in", "properties": {"users": ["3", 4]}});
    assert_eq!(world.links_of(&two), ["refused two_values", "refused two_values"]);
    let request = json!({"profile_less": true, "session": "s-less", "events": [sent(json!({"email": "ada@example.com"}))]});
    let reply = world.track(&request);
    assert_eq!(reply["events"][0]["links"][0]["code"], "profile_less");
    assert_eq!(world.people(), before);
    assert_eq!([world.profile(1), world.profile(2)], others);
    assert_eq!(world.profile(0)["counters"]["events"], 1 + table.len() + 1);
    for nobodys in ["user_id:3", "user_id:4"] {
        let target = format!("profiles?identifier={nobodys}");
        assert_eq!(world.outcome("GET", &target, None), "404 not_found", "{nobodys}");
    }
    world.digest();
}

/// Told once, it is told again in the same words, and nothing is written.
#[test]
fn a_refusal_that_is_sent_again_changes_nothing() {
    let world = World::new();
    let table = [
        (json!({"fax": "1"}), "unknown_namespace"),
        (json!({"email": "ada at example"}), "unlinkable"),
        (json!({"email": "bob@example.com"}), "unique_conflict"),
    ];
    for (identifiers, code) in &table {
        let event = json!({"id": code, "type": "x", "identifiers": identifiers});
        let request = json!({"profile": world.ids[0], "session": "s-0", "events": [event]});
        let first = world.track(&request);
        let before = world.digest();
        let again = world.track(&request);
        assert_eq!(again["events"][0]["status"], "duplicate");
        assert_eq!(again["events"][0]["links"], first["events"][0]["links"]);
        assert_eq!(again["events"][0]["links"][0]["code"], *code);
        assert_eq!(world.digest(), before, "{code}");
    }
}

#[test]
fn acts_that_cannot_be_done_get_their_code_and_change_nothing() {
    let world = World::new();
    let [a, b, c] = &world.ids;
    let pair = |profile: &str, other: &str| Some(json!({"profile": profile, "other": other}));
    let value = |identifier: &str| Some(json!({"identifier": identifier}));
    let decision = |decision: &str| Some(json!({"decision": decision}));
    let attach = |id: &str| format!("profiles/{id}/identifiers");
    let table = [
        ("DELETE", "merges/m999-0".to_owned(), None, "404 merge_unknown"),
        ("DELETE", "merges/m1-7".to_owned(), None, "404 merge_unknown"),
        ("DELETE", "merges/nonsense".to_owned(), None, "404 merge_unknown"),
        ("DELETE", "merges/m999-0?keep_apart=true".to_owned(), None, "404 merge_unknown"),
        ("POST", "merges".to_owned(), pair(a, a), "409 same_profile"),
        ("POST", "merges".to_owned(), pair(a, b), "409 unique_conflict"),
        ("POST", "merges".to_owned(), pair("nobody", a), "404 not_found"),
        ("POST", "merges".to_owned(), pair(a, "nobody"), "404 not_found"),
        ("POST", attach(c), value("fax:1"), "422 unknown_namespace"),
        ("POST", attach(c), value("email:undefined"), "422 junk"),
        ("POST", attach(c), value("email:ada at example"), "422 unlinkable"),
        ("POST", attach(c), value("ada@example.com"), "422 identifier_invalid"),
        ("POST", attach(c), value("email:info@shop.example"), "409 blocked"),
        ("POST", attach(a), value("user_id:3"), "409 unique_conflict"),
        ("POST", attach("nobody"), value("user_id:3"), "404 not_found"),
        (
            "DELETE",
            format!("profiles/{a}/identifiers/email:bob%40example.com"),
            None,
            "404 identifier_unknown",
        ),
        (
            "DELETE",
            format!("profiles/{a}/identifiers/email:eve%40example.com"),
            None,
            "404 identifier_unknown",
        ),
        ("POST", "quarantine/q1-0".to_owned(), decision("approve"), "404 quarantine_unknown"),
        ("POST", "blocked".to_owned(), value("email:undefined"), "422 junk"),
        ("POST", "blocked".to_owned(), value("email:info@shop.example"), "409 blocked_already"),
        ("DELETE", "blocked/email:ada%40example.com".to_owned(), None, "409 not_blocked"),
    ];
    let before = world.digest();
    for (method, target, body, expected) in &table {
        // A preview is refused as the act itself is.
        let preview = format!("{target}{}dry_run=true", if target.contains('?') { "&" } else { "?" });
        for target in [target, &preview] {
            assert_eq!(world.outcome(method, target, body.as_ref()), *expected, "{method} {target} {body:?}");
            assert_eq!(world.digest(), before, "{method} {target} {body:?}");
        }
    }
}

#[test]
fn what_is_done_twice_is_told_so() {
    let world = World::new();
    let [a, _, c] = &world.ids;
    let pair = Some(json!({"profile": c, "other": a}));
    let before = world.digest();
    let preview = world.done("POST", "merges?dry_run=true", pair.as_ref());
    assert_eq!((&preview["seq"], world.digest()), (&Value::Null, before), "a preview does nothing");
    let sizes = |reply: &Value, side: &str| reply[side].as_array().unwrap().len();
    let merged = world.done("POST", "merges", pair.as_ref());
    assert_eq!((sizes(&merged, "before"), sizes(&merged, "after")), (2, 1));
    assert_eq!(sizes(&preview, "after"), 1);
    assert_eq!(world.profile(0)["ids"].as_array().unwrap().len(), 2);
    let before = world.digest();
    assert_eq!(world.outcome("POST", "merges", pair.as_ref()), "409 same_profile", "two ids of one profile");
    assert_eq!(world.digest(), before);
    let merge = merged["merge"].as_str().unwrap();
    let undo = format!("merges/{merge}?keep_apart=true");
    let undone = world.done("DELETE", &undo, None);
    assert_eq!((sizes(&undone, "before"), sizes(&undone, "after")), (1, 2));
    let explained = world.done("GET", &format!("explain?from={a}&to={c}"), None);
    assert_eq!(explained["same"], false);
    let before = world.digest();
    assert_eq!(world.outcome("DELETE", &undo, None), "409 merge_undone");
    assert_eq!(world.outcome("POST", "merges", pair.as_ref()), "409 kept_apart");
    assert_eq!(world.digest(), before);

    let bob = json!({"identifier": "email:bob@example.com"});
    world.done("POST", "blocked", Some(&bob));
    let before = world.digest();
    assert_eq!(world.outcome("POST", "blocked", Some(&bob)), "409 blocked_already");
    assert_eq!(world.outcome("POST", &format!("profiles/{c}/identifiers"), Some(&bob)), "409 blocked");
    assert_eq!(world.digest(), before);
    world.done("DELETE", "blocked/email%3Abob%40example.com", None);
    assert_eq!(world.outcome("DELETE", "blocked/email%3Abob%40example.com", None), "409 not_blocked");
}

#[test]
fn a_link_in_quarantine_is_decided_once() {
    let world = World::new();
    for session in ["q-1", "q-2"] {
        let event = json!({"type": "x", "identifiers": {"email": "ada@example.com"}});
        world.track(&json!({"session": session, "events": [event]}));
    }
    let waiting = world.done("GET", "quarantine", None);
    let [entry] = waiting["items"].as_array().unwrap().as_slice() else { panic!("{waiting}") };
    assert_eq!((&entry["code"], &entry["other"]), (&json!("fragments_max"), &json!(world.ids[0])));
    let target = format!("quarantine/{}", entry["id"].as_str().unwrap());
    world.done("POST", &target, Some(&json!({"decision": "reject"})));
    assert_eq!(world.done("GET", "quarantine", None)["items"], json!([]));
    let before = world.digest();
    for decision in ["approve", "reject"] {
        let body = json!({"decision": decision});
        assert_eq!(world.outcome("POST", &target, Some(&body)), "409 quarantine_decided");
    }
    assert_eq!(world.digest(), before);
}

#[test]
fn profiles_are_found_by_identifier_and_in_the_past() {
    let world = World::new();
    let before = world.digest();
    let found = world.done("GET", "profiles?identifier=email:Ada%40example.com", None);
    assert_eq!(found["id"], json!(world.ids[0]));
    let table = [
        ("profiles?identifier=email:nobody%40example.com", "404 not_found"),
        ("profiles?identifier=email", "422 identifier_invalid"),
        ("profiles?identifier=email:ada%40example.com&at=1970-01-01T00:00:00Z", "422 at_before_beginning"),
        ("profiles?identifier=email:ada%40example.com&at=soon", "400 time_invalid"),
        ("explain?from=x&to=y", "404 not_found"),
        ("profiles/nobody/links", "404 not_found"),
        ("profiles/nobody/history", "404 not_found"),
        ("quarantine?cursor=x", "400 cursor_invalid"),
    ];
    for (target, expected) in table {
        assert_eq!(world.outcome("GET", target, None), expected, "{target}");
    }
    let past = format!("profiles/{}?at=1970-01-01T00:00:00Z", world.ids[0]);
    assert_eq!(world.outcome("GET", &past, None), "422 at_before_beginning");
    assert_eq!(world.digest(), before, "a question changes nothing");
}
