//! A device that hands itself over, over HTTP: what each of the two calls takes, tells and refuses.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use spoor::settings::{Keys, ProfileIds, SourceSettings};
use spoor_server::http::{Server, serve};
use spoor_server::settings::Configuration;
use spoor_server::settings::origins::Origins;
use std::io::{Read, Write};
use std::net::TcpStream;

const GIVE: &str = "/api/v1/handover";
const ACCEPT: &str = "/api/v1/handover/accept";
const TEXT: &str = "content-type: text/plain\r\n";
const PAGE: &str = "https://shop.example";

struct Served {
    server: Server,
    configuration: Configuration,
    _dir: tempfile::TempDir,
}

/// Two sites, `web` and `blog`, in different id spaces, and sources that hand nothing over.
fn start() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let mut configuration = Configuration::default();
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    configuration.data_dir = dir.path().join("data");
    let public = SourceSettings { keys: Keys::Public, ..SourceSettings::default() };
    let client = SourceSettings { profile_ids: ProfileIds::Client, ..SourceSettings::default() };
    let backend = SourceSettings { server: true, ..SourceSettings::default() };
    let sources = [
        ("web", public.clone()),
        ("blog", public),
        ("shop", <_>::default()),
        ("app", client),
        ("crm", backend),
    ];
    for (name, source) in sources {
        configuration.engine.sources.insert(name.to_owned(), source);
    }
    configuration.origins.insert("web".to_owned(), Origins::Listed(vec![PAGE.to_owned()]));
    Served { server: serve(&configuration).unwrap(), configuration, _dir: dir }
}

/// Status, headers and body.
type Answer = (u16, String, Value);

impl Served {
    fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or_default())
    }

    fn post(&self, target: &str, body: &Value) -> Answer {
        self.send("POST", target, TEXT, &body.to_string())
    }

    fn get(&self, target: &str) -> Value {
        let (status, _, body) = self.send("GET", target, "", "");
        assert_eq!(status, 200, "{target}: {body}");
        body
    }

    fn visit(&self, source: &str, profile: Option<&str>) -> String {
        let events = json!([{"type": "look"}]);
        let (status, _, told) =
            self.post("/api/v1/track", &json!({"source": source, "profile": profile, "events": events}));
        assert_eq!(status, 200, "{told}");
        told["profile"]["id"].as_str().unwrap().to_owned()
    }

    fn token(&self, source: &str, profile: &str) -> String {
        let (status, _, told) = self.post(GIVE, &json!({"source": source, "profile": profile}));
        assert_eq!(status, 200, "{told}");
        told["token"].as_str().unwrap().to_owned()
    }

    fn position(&self) -> Value {
        self.get("/api/v1/status")["position"].clone()
    }
}

/// Status, code and field of a refusal.
fn refusal(answer: Answer) -> (u16, String, Option<String>) {
    let (status, _, body) = answer;
    assert!(body["message"].is_string(), "{status} {body}");
    (status, body["code"].as_str().unwrap().to_owned(), body["field"].as_str().map(str::to_owned))
}

fn no(status: u16, code: &str, field: &str) -> (u16, String, Option<String>) {
    (status, code.to_owned(), (!field.is_empty()).then(|| field.to_owned()))
}

#[test]
fn a_device_is_known_again_on_another_site_and_told_its_id_alone() {
    let served = start();
    let web = served.visit("web", None);
    let (status, _, given) = served.post(GIVE, &json!({"source": "web", "profile": web}));
    assert_eq!((status, given.as_object().unwrap().len()), (200, 2));
    let token = given["token"].as_str().unwrap();
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{token}");
    assert!(given["expires_at"].as_str().unwrap().ends_with('Z'));

    let (status, _, told) = served.post(ACCEPT, &json!({"source": "blog", "token": token}));
    let blog = told["profile"]["id"].as_str().unwrap().to_owned();
    assert_eq!((status, &told), (200, &json!({"profile": {"id": blog}})));
    assert_eq!(served.visit("blog", Some(&blog)), blog);
    assert_eq!(served.get(&format!("/api/v1/profiles/{blog}"))["ids"], json!([web, blog]));

    // A secret source is told as much.
    let token = served.token("shop", &blog);
    let (_, _, told) = served.post(ACCEPT, &json!({"source": "shop", "token": token}));
    assert_eq!(told["profile"].as_object().unwrap().len(), 1, "{told}");
    let history = served.get(&format!("/api/v1/profiles/{web}/history"));
    assert_eq!(history["items"][0]["kind"], "handed_over", "{history}");
    let merge = history["items"][0]["merge"].as_str().unwrap();
    assert_eq!(served.send("DELETE", &format!("/api/v1/merges/{merge}"), "", "").0, 200);
    assert_eq!(served.get(&format!("/api/v1/profiles/{web}"))["ids"], json!([web, blog]));
    served.server.shutdown().unwrap();
}

#[test]
fn what_is_refused_changes_nothing() {
    let served = start();
    let web = served.visit("web", None);
    let nobody = "01900000-0000-7000-8000-000000000001";
    let unknown = served.token("web", nobody);
    let before = served.position();
    let of = |source: &str, profile: &str| json!({"source": source, "profile": profile});
    for (body, expected) in [
        (of("web", "nobody"), no(404, "profile_unknown", "profile")),
        (of("web", ""), no(404, "profile_unknown", "profile")),
        (of("elsewhere", &web), no(422, "unknown_source", "source")),
        (json!({"profile": web}), no(422, "unknown_source", "source")),
        (of("app", &web), no(422, "handover_source", "source")),
        (of("crm", &web), no(422, "handover_source", "source")),
        (json!({"source": "web"}), no(400, "member_missing", "profile")),
        (json!({"source": "web", "profile": 1}), no(400, "wrong_type", "profile")),
        (json!({"source": "web", "token": "x"}), no(400, "member_unknown", "token")),
        (json!([]), no(400, "wrong_type", "")),
    ] {
        assert_eq!(refusal(served.post(GIVE, &body)), expected, "{body}");
    }
    let of = |source: &str, token: &str| json!({"source": source, "token": token});
    let mut changed = served.token("web", &web);
    // Within what is sealed.
    let tail = changed.split_off(80);
    changed.push_str(&tail.replace(|_| true, if tail.starts_with('A') { "B" } else { "A" }));
    for (body, expected) in [
        (of("blog", ""), no(400, "handover_malformed", "token")),
        (of("blog", "a token"), no(400, "handover_malformed", "token")),
        (of("blog", &"A".repeat(10_000)), no(400, "handover_malformed", "token")),
        (of("blog", &changed), no(403, "handover_invalid", "token")),
        (of("blog", &unknown), no(404, "profile_unknown", "profile")),
        // Used up all the same.
        (of("blog", &unknown), no(409, "handover_used", "token")),
        (json!({"source": "blog"}), no(400, "member_missing", "token")),
        (json!({"source": "blog", "profile": web}), no(400, "member_unknown", "profile")),
        (json!("x"), no(400, "wrong_type", "")),
    ] {
        assert_eq!(refusal(served.post(ACCEPT, &body)), expected, "{body}");
    }
    // A token that comes to a source that takes none is not used up.
    let token = served.token("web", &web);
    for source in ["app", "crm"] {
        let answer = served.post(ACCEPT, &of(source, &token));
        assert_eq!(refusal(answer), no(422, "handover_source", "source"));
    }
    assert_eq!(served.position(), before);
    assert_eq!(served.post(ACCEPT, &of("web", &token)).0, 200);
    assert_eq!(refusal(served.post(ACCEPT, &of("web", &token))), no(409, "handover_used", "token"));

    for target in [GIVE, ACCEPT] {
        let large = json!({"source": "web", "profile": "x".repeat(20_000)}).to_string();
        assert_eq!(refusal(served.send("POST", target, TEXT, &large)), no(413, "body_too_large", ""));
        let typed = "content-type: application/vnd.spoor.v1\r\n";
        let answer = served.send("POST", target, typed, "{}");
        assert_eq!(refusal(answer), no(415, "media_type_unsupported", ""));
        assert_eq!(refusal(served.send("GET", target, "", "")), no(405, "method_not_allowed", ""));
    }
    served.server.shutdown().unwrap();
}

#[test]
fn a_token_is_void_once_the_server_was_started_again() {
    let served = start();
    let web = served.visit("web", None);
    let tokens = [served.token("web", &web), served.token("web", &web)];
    assert_eq!(served.post(ACCEPT, &json!({"source": "blog", "token": tokens[0]})).0, 200);
    let Served { server, configuration, _dir } = served;
    server.shutdown().unwrap();
    let served = Served { server: serve(&configuration).unwrap(), configuration, _dir };
    let before = served.position();
    for token in tokens {
        let answer = served.post(ACCEPT, &json!({"source": "blog", "token": token}));
        assert_eq!(refusal(answer), no(403, "handover_invalid", "token"));
    }
    assert_eq!(served.position(), before);
    served.server.shutdown().unwrap();
}

#[test]
fn a_key_hands_over_for_its_source_and_a_page_as_it_may_track() {
    let served = start();
    let web = served.visit("web", None);
    let key = |right: &str, source: Option<&str>, admin: &str| {
        let headers = format!("content-type: application/json\r\nauthorization: Bearer {admin}\r\n");
        let body = json!({"name": "a", "right": right, "source": source}).to_string();
        served.send("POST", "/api/v1/keys", &headers, &body).2["key"].as_str().unwrap().to_owned()
    };
    let admin = key("admin", None, "none");
    let (of_web, of_blog) = (key("write", Some("web"), &admin), key("write", Some("blog"), &admin));
    let reader = key("read", None, &admin);

    let ask = |target: &str, key: &str, page: &str, body: &Value| {
        let origin = if page.is_empty() { String::new() } else { format!("origin: {page}\r\n") };
        served.send("POST", &format!("{target}?key={key}"), &format!("{TEXT}{origin}"), &body.to_string())
    };
    let mine = json!({"profile": web});
    let (status, head, given) = ask(GIVE, &of_web, PAGE, &mine);
    assert_eq!(status, 200, "{given}");
    assert!(head.contains(&format!("access-control-allow-origin: {PAGE}")), "{head}");
    let refused = ask(GIVE, &of_web, "https://other.example", &mine);
    assert_eq!(refusal(refused), no(403, "cross_origin", "source"));
    let other = json!({"source": "blog", "profile": web});
    assert_eq!(refusal(ask(GIVE, &of_web, "", &other)), no(403, "source_not_of_key", "source"));
    assert_eq!(refusal(served.post(GIVE, &mine)).1, "key_missing");
    let bearer = format!("{TEXT}authorization: Bearer {reader}\r\n");
    for target in [GIVE, ACCEPT] {
        let answer = served.send("POST", target, &bearer, &mine.to_string());
        assert_eq!(refusal(answer), no(403, "key_may_not", ""));
        // An admin's key is no page's.
        let headers = format!("{TEXT}origin: {PAGE}\r\nauthorization: Bearer {admin}\r\n");
        assert_eq!(refusal(served.send("POST", target, &headers, &mine.to_string())).1, "cross_origin");
        // What a browser asks before it sends another kind of body.
        let question = format!("origin: {PAGE}\r\naccess-control-request-method: POST\r\n");
        assert_eq!(served.send("OPTIONS", target, &question, "").0, 204);
    }
    // The other site's key takes it.
    let (status, _, told) = ask(ACCEPT, &of_blog, "", &json!({"token": given["token"]}));
    assert_eq!((status, told["profile"].as_object().unwrap().len()), (200, 1), "{told}");
    served.server.shutdown().unwrap();
}
