//! Who may call what: every route with every kind of key, what a write key is bound to, what ends when a key does,
//! and what pages of other origins may do. Against a server over a store of its own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use spoor::settings::{Keys, SourceSettings};
use spoor::{Event, TrackRequest};
use spoor_client::{Connection, stream_with_key};
use spoor_server::http::routes;
use spoor_server::http::vendor_routes::VENDOR_ROUTES;
use spoor_server::http::{ServeError, Server, serve};
use spoor_server::settings::Configuration;
use spoor_server::settings::origins::Origins;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A server over an empty directory, with a source of each kind.
struct Served {
    server: Server,
    configuration: Configuration,
    _dir: tempfile::TempDir,
}

impl Served {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut Configuration)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut configuration = Configuration::default();
        configuration.server.listen = "127.0.0.1:0".parse().unwrap();
        configuration.data_dir = dir.path().join("data");
        let public = SourceSettings { keys: Keys::Public, ..SourceSettings::default() };
        configuration.engine.sources.insert("web".to_owned(), public);
        configuration.engine.sources.insert("shop".to_owned(), SourceSettings::default());
        change(&mut configuration);
        Self { server: serve(&configuration).unwrap(), configuration, _dir: dir }
    }

    fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        ask(self.server.address(), method, target, headers, body)
    }

    /// With a key, in JSON.
    fn json(&self, method: &str, target: &str, key: &str, body: &Value) -> Answer {
        let headers = format!("authorization: Bearer {key}\r\ncontent-type: application/json\r\n");
        self.ask(method, target, &headers, &body.to_string())
    }

    /// Makes a key, with that of an admin; returns its id and text.
    fn add(&self, admin: &str, right: &str, source: Option<&str>) -> (String, String) {
        let body = json!({"name": "for a test", "right": right, "source": source});
        let answer = self.json("POST", "/api/v1/keys", admin, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let body = answer.json();
        (body["id"].as_str().unwrap().to_owned(), body["key"].as_str().unwrap().to_owned())
    }

    /// The first key, which anybody on this machine can make.
    fn admin(&self) -> String {
        self.add("none", "admin", None).1
    }

    fn revoke(&self, admin: &str, id: &str) {
        let answer = self.ask("DELETE", &format!("/api/v1/keys/{id}"), &bearer(admin), "");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body))
    }

    /// The status of success, or the code.
    fn code(&self) -> String {
        if self.status < 300 {
            self.status.to_string()
        } else {
            self.json()["code"].as_str().unwrap().to_owned()
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    fn headers(&self, name: &str) -> Vec<&str> {
        let values = self.head.lines().filter_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        });
        values.collect()
    }
}

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

fn ask(address: SocketAddr, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}{length}\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {target}: {answer}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

// ---- every route with every kind of key

const PAGE: &str = "../docs/access.md";
const BEGIN: &str = "<!-- made by server/tests/access.rs: begin -->\n";
const END: &str = "<!-- made by server/tests/access.rs: end -->\n";

/// Calls that are a route with a parameter, and need another right than the route.
const BESIDE: [(&str, &str); 2] =
    [("POST", "/api/v1/track?origin=import"), ("POST", "/api/v1/stream?origin=import")];

/// A target that the route takes, headers and a body.
fn sample(method: &str, path: &str) -> (String, &'static str, &'static str) {
    let target = [
        ("{id}", "nobody"),
        ("{identifier}", "email:nobody@shop.example"),
        ("{call}", "track"),
        ("{key}", "shop"),
        ("{type}", "look"),
        ("{source}", "shop"),
    ]
    .iter()
    .fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    let query = match path {
        "/api/v1/profiles" => "?identifier=email:nobody@shop.example",
        "/api/v1/explain" => "?from=nobody&to=nobody",
        "/api/v1/changes" => "?until_now=true",
        _ => "",
    };
    let (headers, body) = match (method, path.split('?').next().unwrap()) {
        ("POST", "/api/v1/stream") => ("content-type: application/vnd.spoor.v1\r\ncontent-length: 0\r\n", ""),
        ("POST", "/api/v1/track") => ("", r#"{"source":"shop","events":[{"type":"look"}]}"#),
        ("POST", "/v1/batch") => ("", r#"{"batch":[{"type":"track","event":"look","anonymousId":"a"}]}"#),
        ("POST", "/track") => ("", r#"{"source":{"id":"shop"},"events":[{"type":"look"}]}"#),
        ("POST", _) => ("content-type: application/json\r\n", "{}"),
        _ => ("", ""),
    };
    (format!("{target}{query}"), headers, body)
}

#[test]
fn the_page_shows_what_every_route_says_to_every_kind_of_key() {
    let served = Served::start();
    let admin = served.admin();
    let (_, write) = served.add(&admin, "write", Some("shop"));
    let (_, read) = served.add(&admin, "read", None);
    let (id, revoked) = served.add(&admin, "admin", None);
    served.revoke(&admin, &id);
    let made_up = format!("spoor_{id}_{}", "0".repeat(64));
    let callers = [None, Some(&write), Some(&read), Some(&admin), Some(&revoked), Some(&made_up)]
        .map(|key| key.map(|key| bearer(key)));

    let mut table = String::from(
        "| call | no key | write | read | admin | revoked | made up |\n|---|---|---|---|---|---|---|\n",
    );
    for (method, path) in routes::all().chain(VENDOR_ROUTES.iter().chain(&BESIDE).copied()) {
        let (target, headers, body) = sample(method, path);
        let mut row = format!("| `{method} {path}` |");
        for caller in &callers {
            let headers = format!("{}{headers}", caller.as_deref().unwrap_or_default());
            let answer = served.ask(method, &target, &headers, body);
            assert!(answer.status < 500, "{method} {target}: {} {}", answer.status, answer.body);
            let is_no = matches!(answer.status, 401 | 403);
            assert_eq!(
                answer.header("www-authenticate").is_some(),
                answer.status == 401,
                "{method} {target}"
            );
            let cell = if is_no { format!("`{}`", answer.code()) } else { "yes".to_owned() };
            write!(row, " {cell} |").unwrap();
        }
        table.push_str(&row);
        table.push('\n');
    }

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&page, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(shown, table, "with UPDATE_EXPECT=1 the page is written anew");
    }
    served.server.shutdown().unwrap();
}

// ---- the first key, and the address

fn refusal(configuration: &Configuration) -> String {
    match serve(configuration) {
        Err(ServeError::Settings(error)) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it serves"),
    }
}

#[test]
fn only_with_a_key_does_a_server_listen_where_others_reach_it() {
    let Served { server, mut configuration, _dir } = Served::start();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        configuration.server.listen = address.parse().unwrap();
        let sentence = refusal(&configuration);
        assert!(sentence.starts_with("settings: server.listen: without keys "), "{sentence}");
        assert!(sentence.contains("spoor key add"), "{sentence}");
    }
    server.shutdown().unwrap();

    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    let near = Served { server: serve(&configuration).unwrap(), configuration, _dir };
    let (id, key) = near.add("none", "read", None);
    let Served { server, mut configuration, _dir } = near;
    server.shutdown().unwrap();

    configuration.server.listen = "0.0.0.0:0".parse().unwrap();
    let server = serve(&configuration).unwrap();
    let near = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    // Under any name: a page that lets its own point here has no key.
    for host in ["spoor.shop.example", "192.0.2.1:8420"] {
        let mut stream = TcpStream::connect(near).unwrap();
        let head = format!("GET /api/v1/status HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        stream.write_all(format!("{head}{}\r\n", bearer(&key)).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(ask(near, "GET", "/api/v1/status", "", "").code(), "key_missing");
    server.shutdown().unwrap();

    // Once all keys are gone it is closed, and not open: also on loopback.
    let keys: Value = {
        let path = configuration.data_dir.join("keys.json");
        let mut keys: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(keys["keys"][0]["id"], json!(id));
        keys["keys"] = json!([]);
        std::fs::write(&path, keys.to_string()).unwrap();
        keys
    };
    assert!(refusal(&configuration).contains("without keys"), "{keys}");
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    let server = serve(&configuration).unwrap();
    assert_eq!(ask(server.address(), "GET", "/api/v1/status", "", "").code(), "key_missing");
    server.shutdown().unwrap();
}

#[test]
fn keys_are_kept_as_hashes_and_outlive_the_server() {
    let served = Served::start();
    let admin = served.admin();
    let (id, write) = served.add(&admin, "write", Some("shop"));
    let listed = served.ask("GET", "/api/v1/keys", &bearer(&admin), "");
    let item = listed.json()["items"][1].clone();
    assert_eq!((&item["id"], &item["right"], &item["source"]), (&json!(id), &json!("write"), &json!("shop")));
    assert!(!listed.body.contains(&write) && item["key"].is_null(), "{}", listed.body);
    let Served { server, configuration, _dir } = served;
    server.shutdown().unwrap();

    let file: PathBuf = configuration.data_dir.join("keys.json");
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in [&admin, &write] {
        assert!(!text.contains(secret.rsplit('_').next().unwrap()), "{text}");
    }
    let again = Served { server: serve(&configuration).unwrap(), configuration, _dir };
    assert_eq!(again.ask("GET", "/api/v1/status", &bearer(&admin), "").status, 200);
    assert_eq!(again.ask("GET", "/api/v1/status", "", "").code(), "key_missing");
    again.server.shutdown().unwrap();
}

#[test]
fn a_key_that_is_good_for_nothing_is_not_made() {
    let served = Served::start();
    for (body, code) in [
        (json!({"name": "a", "right": "write", "source": "nowhere"}), "unknown_source"),
        (json!({"name": " ", "right": "read"}), "name_empty"),
        (json!({"name": "a", "right": "write"}), "member_missing"),
        (json!({"name": "a", "right": "everything"}), "right_invalid"),
        (json!([]), "wrong_type"),
    ] {
        assert_eq!(served.json("POST", "/api/v1/keys", "none", &body).code(), code, "{body}");
    }
    let gone = served.ask("DELETE", "/api/v1/keys/nobody", "", "");
    assert_eq!((gone.status, gone.code().as_str()), (404, "key_unknown"));
    // A page on this machine makes no keys, and none of all this has made one.
    let page = "origin: http://evil.example\r\ncontent-type: text/plain\r\n";
    let first = json!({"name": "mine", "right": "admin"}).to_string();
    assert_eq!(served.ask("POST", "/api/v1/keys", page, &first).code(), "cross_origin");
    assert_eq!(served.ask("GET", "/api/v1/keys", "", "").json()["items"], json!([]));
    served.server.shutdown().unwrap();
}

// ---- what a write key is bound to

#[test]
fn a_write_key_sends_for_its_source_alone() {
    let served = Served::start();
    let admin = served.admin();
    let (_, shop) = served.add(&admin, "write", Some("shop"));
    let (_, web) = served.add(&admin, "write", Some("web"));
    let event = json!([{"type": "look"}]);
    let track = |key: &str, body: &Value| served.json("POST", "/api/v1/track", key, body);

    assert_eq!(track(&shop, &json!({"events": event})).code(), "200");
    assert_eq!(track(&shop, &json!({"source": " shop", "events": event})).code(), "200");
    let other = track(&shop, &json!({"source": "web", "events": event}));
    assert_eq!((other.status, other.code().as_str()), (403, "source_not_of_key"));
    assert_eq!(other.json()["field"], json!("source"));
    let array = track(&shop, &json!([{"events": event}, {"source": "web", "events": event}])).json();
    assert!(array[0]["events"].is_array(), "{array}");
    assert_eq!(array[1]["error"]["code"], json!("source_not_of_key"));

    // The key decides what is told, not what the request says of itself.
    assert!(track(&shop, &json!({"events": event})).json()["profile"]["primary_id"].is_string());
    let told = track(&web, &json!({"events": event})).json();
    assert!(told["profile"]["id"].is_string() && told["profile"]["primary_id"].is_null(), "{told}");
    assert_eq!(track(&admin, &json!({"source": "web", "events": event})).code(), "200");

    // The same of what libraries of other services send, and an admin's key is for whom it names.
    let library = |key: &str, named: Option<&str>| {
        let mut body = json!({"event": "look", "anonymousId": "a", "messageId": format!("m-{named:?}")});
        if let Some(named) = named {
            body["writeKey"] = json!(named);
        }
        served.json("POST", "/v1/track", key, &body).code()
    };
    assert_eq!(library(&web, Some("shop")), "source_not_of_key");
    assert_eq!(library(&web, Some(&shop)), "source_not_of_key");
    for (key, named) in [(&web, Some(web.as_str())), (&web, None), (&admin, Some("shop"))] {
        assert_eq!(library(key, named), "200", "{named:?}");
    }
    assert_eq!(library(&admin, None), "unknown_source", "there are two");

    let sources = |answer: Answer| -> Vec<String> {
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["source"].as_str().unwrap().to_owned()).collect()
    };
    let events = served.ask("GET", "/api/v1/events", &bearer(&admin), "");
    assert_eq!(sources(events), ["shop", "shop", "shop", "shop", "web", "web", "web", "web", "shop"]);
    served.server.shutdown().unwrap();
}

#[test]
fn knowing_an_id_gives_no_right_to_read() {
    let served = Served::start();
    let admin = served.admin();
    let (_, web) = served.add(&admin, "write", Some("web"));
    let sent = json!({"session": "s-1", "events": [{"type": "look"}]});
    let id = served.json("POST", "/api/v1/track", &web, &sent).json()["profile"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for target in [format!("/api/v1/profiles/{id}"), "/api/v1/sessions/s-1".to_owned()] {
        assert_eq!(served.ask("GET", &target, &bearer(&web), "").code(), "key_may_not");
        assert_eq!(served.ask("GET", &format!("{target}?key={web}"), "", "").code(), "key_may_not");
        assert_eq!(served.ask("GET", &target, &bearer(&admin), "").code(), "200");
    }
    served.server.shutdown().unwrap();
}

#[test]
fn a_page_shows_its_key_in_the_address_and_others_do_not() {
    let served = Served::start();
    let admin = served.admin();
    let (_, web) = served.add(&admin, "write", Some("web"));
    let (_, shop) = served.add(&admin, "write", Some("shop"));
    let body = r#"{"events":[{"type":"look"}]}"#;
    let beacon = |key: &str| {
        served.ask("POST", &format!("/api/v1/track?key={key}"), "content-type: text/plain\r\n", body)
    };
    assert_eq!(beacon(&web).code(), "200");
    for secret in [&shop, &admin] {
        let refused = beacon(secret);
        assert_eq!((refused.status, refused.code().as_str()), (403, "key_may_not"));
        assert_eq!(refused.json()["field"], json!("key"));
    }
    // Basic authentication, the key as the user name: what the libraries of others send.
    use base64::Engine as _;
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("{shop}:"));
    let answer = served.ask("POST", "/api/v1/track", &format!("authorization: Basic {basic}\r\n"), body);
    assert_eq!(answer.code(), "200");
    served.server.shutdown().unwrap();
}

#[test]
fn the_client_of_the_compact_form_shows_a_key() {
    let served = Served::start();
    let admin = served.admin();
    let (_, shop) = served.add(&admin, "write", Some("shop"));
    let address = served.server.address().to_string();
    let event = Event { event_type: "look".to_owned(), ..Event::default() };
    let mut request = TrackRequest { events: vec![event], ..TrackRequest::default() };
    let none = Connection::open(&address).unwrap().track(&request).unwrap().unwrap_err();
    assert_eq!((none.status, none.error.code.as_str()), (401, "key_missing"));
    let mut connection = Connection::open_with_key(&address, &shop).unwrap();
    assert!(connection.track(&request).unwrap().is_ok());

    let (mut sender, mut receiver) = stream_with_key(&address, &shop).unwrap();
    sender.send(&request).unwrap();
    request.source = Some("web".to_owned());
    sender.send(&request).unwrap();
    sender.finish().unwrap();
    assert!(matches!(receiver.receive().unwrap(), Some(spoor_client::Answer::Reply(_))));
    match receiver.receive().unwrap() {
        Some(spoor_client::Answer::Error(error)) => assert_eq!(error.code, "source_not_of_key"),
        other => panic!("{other:?}"),
    }
    assert!(Connection::open_with_key(&address, "a\r\nb: c").is_err());
    served.server.shutdown().unwrap();
}

// ---- what ends when a key does

/// Begins a stream and leaves it open.
fn begin_stream(served: &Served, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "POST /api/v1/stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\
         content-type: application/vnd.spoor.v1\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream
}

fn rest_of(mut stream: TcpStream) -> String {
    let mut rest = Vec::new();
    // The server may reset the connection of a client that does not end its side.
    let _ = stream.read_to_end(&mut rest);
    String::from_utf8_lossy(&rest).into_owned()
}

#[test]
fn a_revoked_key_is_good_for_nothing_from_that_moment_on() {
    let served = Served::start();
    let unlocked = begin_stream(&served, "");
    let admin = served.admin();
    assert!(
        rest_of(unlocked).contains("key_invalid"),
        "nobody is let in by having come before the first key"
    );

    let (id, write) = served.add(&admin, "write", Some("shop"));
    let (_, other) = served.add(&admin, "write", Some("shop"));
    let stream = begin_stream(&served, &bearer(&write));
    let kept = begin_stream(&served, &bearer(&other));
    // A request whose body comes too late: it has been let in when the server asks for the rest.
    let body = r#"{"events":[{"type":"look"}]}"#;
    let mut slow = TcpStream::connect(served.server.address()).unwrap();
    let head = format!(
        "POST /api/v1/track HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nexpect: 100-continue\r\n\
         {}content-length: {}\r\n\r\n",
        bearer(&write),
        body.len()
    );
    slow.write_all(head.as_bytes()).unwrap();
    let mut goes_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    slow.read_exact(&mut goes_on).unwrap();
    assert!(goes_on.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&goes_on));
    slow.write_all(&body.as_bytes()[..5]).unwrap();

    served.revoke(&admin, &id);
    assert_eq!(served.ask("POST", "/api/v1/track", &bearer(&write), body).code(), "key_invalid");
    assert!(rest_of(stream).contains("key_invalid"));
    slow.write_all(&body.as_bytes()[5..]).unwrap();
    let late = rest_of(slow);
    assert!(late.starts_with("HTTP/1.1 401") && late.contains("key_invalid"), "{late}");
    let status = served.ask("GET", "/api/v1/status", &bearer(&admin), "").json();
    assert_eq!(status["events"], json!(0), "{status}");

    // Other keys, and what they began, go on.
    let mut going = kept;
    going.write_all(b"0\r\n\r\n").unwrap();
    let rest = rest_of(going);
    assert!(rest.ends_with("0\r\n\r\n") && !rest.contains("key_invalid"), "{rest}");
    served.server.shutdown().unwrap();
}

#[test]
fn with_a_key_history_comes_from_anywhere() {
    let served = Served::start();
    let body = r#"{"source":"shop","events":[{"type":"look"}]}"#;
    let import = |headers: &str| served.ask("POST", "/api/v1/track?origin=import", headers, body).code();
    let proxied = "x-forwarded-for: 192.0.2.1\r\n";
    assert_eq!(import(proxied), "origin_forbidden");
    let admin = served.admin();
    assert_eq!(import(&format!("{proxied}{}", bearer(&admin))), "200");
    assert_eq!(import(&format!("origin: http://evil.example\r\n{}", bearer(&admin))), "cross_origin");
    served.server.shutdown().unwrap();
}

// ---- pages of other origins

const SHOP: &str = "https://shop.example";
const EVIL: &str = "https://evil.example";

fn from(page: &str) -> String {
    format!("origin: {page}\r\n")
}

fn with_pages() -> Served {
    Served::start_with(|configuration| {
        configuration.origins.insert("web".to_owned(), Origins::Listed(vec![SHOP.to_owned()]));
    })
}

fn preflight(served: &Served, page: &str, method: &str, target: &str) -> Answer {
    let headers = format!(
        "{}access-control-request-method: {method}\r\naccess-control-request-headers: authorization,content-type\r\n",
        from(page)
    );
    served.ask("OPTIONS", target, &headers, "")
}

/// Whether the answer lets a browser show it to the page.
fn may_read(answer: &Answer, page: &str) -> bool {
    let allowed = answer.header("access-control-allow-origin");
    assert!(allowed.is_none_or(|allowed| allowed == page), "{}", answer.head);
    assert_ne!(allowed, Some("*"), "it does not go with credentials");
    assert_eq!(allowed.is_some(), answer.header("access-control-allow-credentials") == Some("true"));
    allowed.is_some()
}

#[test]
fn a_browser_that_asks_first_is_told_what_the_settings_say() {
    let served = with_pages();
    let yes = preflight(&served, SHOP, "POST", "/api/v1/track");
    assert_eq!((yes.status, yes.body.as_str()), (204, ""));
    assert!(may_read(&yes, SHOP));
    assert_eq!(yes.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(yes.header("access-control-allow-headers"), Some("authorization,content-type"));
    assert_eq!(yes.header("access-control-max-age"), Some("600"));
    assert!(yes.headers("vary").contains(&"Origin"));
    for (page, method, target, code) in [
        (EVIL, "POST", "/api/v1/track", "cross_origin"),
        ("null", "POST", "/api/v1/track", "cross_origin"),
        (SHOP, "POST", "/api/v1/merges", "cross_origin"),
        (SHOP, "GET", "/api/v1/profiles/a", "cross_origin"),
        (SHOP, "POST", "/api/v1/track?origin=import", "cross_origin"),
        (SHOP, "DELETE", "/api/v1/track", "method_not_allowed"),
        (SHOP, "POST", "/nowhere", "route_unknown"),
    ] {
        let no = preflight(&served, page, method, target);
        assert_eq!(no.code(), code, "{page} {method} {target}");
        assert_eq!(no.header("access-control-allow-origin"), None, "{page} {method} {target}");
    }
    assert_eq!(
        served.ask("OPTIONS", "/api/v1/track", "", "").code(),
        "method_not_allowed",
        "no browser asks so"
    );
    served.server.shutdown().unwrap();
}

#[test]
fn a_page_sends_and_reads_where_the_settings_name_it() {
    let served = with_pages();
    let admin = served.admin();
    let (_, web) = served.add(&admin, "write", Some("web"));
    let (_, shop) = served.add(&admin, "write", Some("shop"));
    let body = r#"{"events":[{"type":"look"}]}"#;
    let send = |page: &str, headers: &str, body: &str| {
        let answer = served.ask("POST", "/api/v1/track", &format!("{}{headers}", from(page)), body);
        assert!(answer.headers("vary").contains(&"Origin"), "{}", answer.head);
        (answer.code(), may_read(&answer, page))
    };
    let told = |code: &str, read| (code.to_owned(), read);
    assert_eq!(send(SHOP, &bearer(&web), body), told("200", true));
    assert_eq!(send(EVIL, &bearer(&web), body), told("cross_origin", false));
    // Where the settings say nothing, what needs no question is taken, and not shown to the page.
    assert_eq!(send(SHOP, &bearer(&shop), body), told("200", false));
    // Errors are shown as well: also where nobody knows yet whose they are.
    assert_eq!(send(SHOP, &bearer(&web), "{"), told("json_invalid", true));
    assert_eq!(send(SHOP, "", body), told("key_missing", true));
    assert_eq!(send(SHOP, &bearer("spoor_0_0"), body), told("key_invalid", true));
    assert_eq!(send(EVIL, "", body), told("key_missing", false));
    // An admin's key is no page's, and what admins read is not for pages.
    assert_eq!(send(SHOP, &bearer(&admin), body), told("cross_origin", true));
    for target in ["/collect/look/web", "/collect/look/shop"] {
        let answer = served.ask("GET", target, &format!("{}{}", from(SHOP), bearer(&admin)), "");
        assert_eq!(answer.code(), "cross_origin", "{target}");
    }
    // A key in the address of an event is nothing that happened.
    let collected = served.ask("GET", &format!("/collect/look/web?key={web}&a=1"), "", "");
    assert_eq!(collected.code(), "200");
    let events = served.ask("GET", "/api/v1/events", &bearer(&admin), "").json();
    assert_eq!(events["items"].as_array().unwrap().last().unwrap()["properties"], json!({"a": "1"}));
    let read = served.ask("GET", "/api/v1/status", &format!("{}{}", from(SHOP), bearer(&admin)), "");
    assert_eq!((read.status, may_read(&read, SHOP)), (200, false));
    // Whoever sends no Origin is no page.
    assert_eq!(served.ask("POST", "/api/v1/track", &bearer(&web), body).code(), "200");
    served.server.shutdown().unwrap();
}

#[test]
fn without_keys_the_source_that_is_named_decides_for_the_page() {
    let served = with_pages();
    let send = |page: &str, source: &str| {
        let body = format!(r#"{{"source":"{source}","events":[{{"type":"look"}}]}}"#);
        served.ask("POST", "/api/v1/track", &from(page), &body).code()
    };
    assert_eq!(send(SHOP, "web"), "200");
    assert_eq!(send(EVIL, "web"), "cross_origin");
    assert_eq!(send(EVIL, "shop"), "200");
    served.server.shutdown().unwrap();
}
