//! The JSON reader: each kind of bad input with its code and path, and that no bytes break it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use proptest::prelude::*;
use spoor::{Consent, Origin, TrackRequest};
use spoor_server::protocol::act::{self, Unread};
use spoor_server::protocol::json::{Body, read};

/// `ok`, or code and path.
fn outcome(text: &str) -> String {
    match read(text.as_bytes()) {
        Ok(Body::One(_)) => "ok".to_owned(),
        Ok(Body::Many(items)) => items
            .iter()
            .map(|item| match item {
                Ok(_) => "ok".to_owned(),
                Err(r) => format!("{} {}", r.code, r.field.as_deref().unwrap_or("-")),
            })
            .collect::<Vec<_>>()
            .join(", "),
        Err(r) => format!("{} {}", r.code, r.field.as_deref().unwrap_or("-")),
    }
}

fn one(text: &str) -> TrackRequest {
    match read(text.as_bytes()) {
        Ok(Body::One(request)) => *request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_fault_has_its_code_and_its_path() {
    let deep = format!(r#"{{"context":{{"a":{}{}}}}}"#, "[".repeat(40), "]".repeat(40));
    let deep_unknown = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let many_names: String = (0..40).map(|n| format!(r#""n{n}":1,"#)).collect();
    let late_duplicate = format!(r#"{{"events":[{{"traits":{{"set":{{{many_names}"n30":2}}}}}}]}}"#);
    let table: &[(&str, &str)] = &[
        // What is accepted.
        ("{}", "ok"),
        (r#"{"source":null,"session":null,"events":null,"context":null,"sent_at":null}"#, "ok"),
        (r#"{"unknown":{"a":[1,2,{"b":null}]},"events":[{"type":"x","unknown":1}]}"#, "ok"),
        (r#"[]"#, ""),
        (" \n [{},{}] ", "ok, ok"),
        // Syntax.
        ("", "json_invalid -"),
        ("   ", "json_invalid -"),
        ("{", "json_invalid -"),
        ("{} x", "json_invalid -"),
        ("{'a':1}", "json_invalid -"),
        (r#"{"session":"a}"#, "json_invalid session"),
        (r#"{"session":"\ud800"}"#, "json_invalid session"),
        (r#"{"session":"a"#, "json_invalid session"),
        ("{\"session\":\"a\nb\"}", "json_invalid session"),
        (r#"{"events":[{"type":"x","properties":{"a":01}}]}"#, "json_invalid events[0].properties"),
        (r#"{"events":[{"type":"x","properties":{"a":"\ud800"}}]}"#, "json_invalid events[0].properties.a"),
        ("[{},", "json_invalid -"),
        ("[{}}", "json_invalid -"),
        ("[1", "json_invalid -"),
        // Types.
        ("1", "wrong_type -"),
        ("\"text\"", "wrong_type -"),
        ("null", "wrong_type -"),
        (r#"{"session":5}"#, "wrong_type session"),
        (r#"{"profile":{"id":"p"}}"#, "wrong_type profile"),
        (r#"{"source":["a"]}"#, "wrong_type source"),
        (r#"{"profile_less":"yes"}"#, "wrong_type profile_less"),
        (r#"{"context":[]}"#, "not_an_object context"),
        (r#"{"context":"x"}"#, "not_an_object context"),
        (r#"{"events":{}}"#, "wrong_type events"),
        (r#"{"events":[{"type":"a"},null,{"type":"b"}]}"#, "wrong_type events[1]"),
        (r#"{"events":[{"type":"a"},7]}"#, "wrong_type events[1]"),
        (r#"{"events":[{"id":7}]}"#, "wrong_type events[0].id"),
        (r#"{"events":[{"type":true}]}"#, "wrong_type events[0].type"),
        (r#"{"events":[{"properties":[]}]}"#, "not_an_object events[0].properties"),
        (r#"{"events":[{"identifiers":[]}]}"#, "wrong_type events[0].identifiers"),
        (r#"{"events":[{"identifiers":{"email":["a"]}}]}"#, "wrong_type events[0].identifiers.email"),
        (r#"{"events":[{"identifiers":{"crm":1.5}}]}"#, "wrong_type events[0].identifiers.crm"),
        (r#"{"events":[{},{},{"traits":{"set":["plan"]}}]}"#, "wrong_type events[2].traits.set"),
        (r#"{"events":[{"traits":{"unset":"plan"}}]}"#, "wrong_type events[0].traits.unset"),
        (r#"{"events":[{"traits":{"unset":["a",1]}}]}"#, "wrong_type events[0].traits.unset[1]"),
        (r#"{"events":[{"traits":{"unset":["a",null]}}]}"#, "wrong_type events[0].traits.unset[1]"),
        (r#"{"events":[{"consents":{"marketing":true}}]}"#, "wrong_type events[0].consents.marketing"),
        (r#"{"events":[{"consents":{"marketing":"yes"}}]}"#, "consent_invalid events[0].consents.marketing"),
        // Times.
        (r#"{"sent_at":5}"#, "wrong_type sent_at"),
        (r#"{"sent_at":"yesterday"}"#, "time_invalid sent_at"),
        (r#"{"events":[{"time":"1969-12-31T23:59:59.999Z"}]}"#, "time_invalid events[0].time"),
        (r#"{"events":[{"time":"2026-01-31"}]}"#, "time_invalid events[0].time"),
        (r#"{"events":[{"time":"2026-02-30T00:00:00Z"}]}"#, "time_invalid events[0].time"),
        (r#"{"events":[{"time":""}]}"#, "time_invalid events[0].time"),
        // Keys that stand twice.
        (r#"{"session":"a","session":"a"}"#, "json_duplicate_key session"),
        (r#"{"session":"a","sess\u0069on":"b"}"#, "json_duplicate_key session"),
        (r#"{"x":1,"x":2}"#, "json_duplicate_key x"),
        (r#"{"x":{"y":1,"y":2}}"#, "json_duplicate_key x.y"),
        (r#"{"events":[{"type":"a","type":"a"}]}"#, "json_duplicate_key events[0].type"),
        (r#"{"events":[{"identifiers":{"e":"a","e":"b"}}]}"#, "json_duplicate_key events[0].identifiers.e"),
        (r#"{"events":[{"traits":{"set":{"p":1,"p":2}}}]}"#, "json_duplicate_key events[0].traits.set.p"),
        (
            r#"{"events":[{"traits":{"set":{"p":{"q":1,"q":2}}}}]}"#,
            "json_duplicate_key events[0].traits.set.p.q",
        ),
        (r#"{"events":[{"properties":{"p":1,"p":2}}]}"#, "json_duplicate_key events[0].properties.p"),
        (
            r#"{"events":[{"properties":{"a":[1,{"b":{"p":1,"p":2}}]}}]}"#,
            "json_duplicate_key events[0].properties.a[1].b.p",
        ),
        (
            r#"{"events":[{"traits":{"set":{"x":[{"p":1,"p":2}]}}}]}"#,
            "json_duplicate_key events[0].traits.set.x[0].p",
        ),
        (&late_duplicate, "json_duplicate_key events[0].traits.set.n30"),
        // Numbers and depth.
        (
            r#"{"events":[{"properties":{"n":18446744073709551616}}]}"#,
            "json_number_too_large events[0].properties.n",
        ),
        (
            r#"{"events":[{"identifiers":{"crm":99999999999999999999}}]}"#,
            "json_number_too_large events[0].identifiers.crm",
        ),
        (r#"{"x":1e400}"#, "json_number_too_large x"),
        (r#"{"session":1e400}"#, "json_number_too_large session"),
        (&deep, "json_too_deep context"),
        (&deep_unknown, "json_too_deep x"),
        // One bad item does not fail the others.
        (r#"[{},{"session":5},{},7,null]"#, "ok, wrong_type session, ok, wrong_type -, wrong_type -"),
        (r#"[{"session":1e400},{}]"#, "json_number_too_large session, ok"),
    ];
    for (text, expected) in table {
        assert_eq!(&outcome(text), expected, "{}", text.get(..120).unwrap_or(text));
    }
}

#[test]
fn syntax_errors_name_line_and_column() {
    let rejection = read(b"{\n  \"session\": }").unwrap_err();
    assert!(rejection.message.contains("line 2 column 14"), "{}", rejection.message);
}

#[test]
fn bytes_that_are_not_utf8_are_named() {
    for bytes in [&b"\xff"[..], b"{\"session\":\"\xc3\"}", b"{\"session\":\"\xed\xa0\x80\"}"] {
        assert_eq!(read(bytes).unwrap_err().code, "utf8_invalid");
    }
}

#[test]
fn arrays_are_bounded() {
    let body = |items: usize| format!("[{}]", vec!["{}"; items].join(","));
    assert!(matches!(read(body(1_000).as_bytes()), Ok(Body::Many(items)) if items.len() == 1_000));
    assert_eq!(outcome(&body(1_001)), "array_too_long -");
    let bad = body(1_001).replacen("{}", "5", 1);
    assert_eq!(outcome(&bad), "array_too_long -");
}

#[test]
fn long_names_are_cut_in_paths() {
    let text = format!(r#"{{"events":[{{"identifiers":{{"{}":true}}}}]}}"#, "ä".repeat(1_000));
    let field = read(text.as_bytes()).unwrap_err().field.unwrap();
    assert!(field.starts_with("events[0].identifiers.ää") && field.len() <= 256, "{field}");
}

#[test]
fn everything_arrives() {
    let request =
        one(r#"{"source":"web","session":"s-1","profile":"p","sent_at":"2026-01-01T00:00:00+01:00",
            "context":{"user_agent":"Agent/1","page":{"url":"/"}},"profile_less":true,
            "events":[{"id":"m-1","type":"page-view","time":"2026-01-01T00:00:00.5Z","properties":{ "a" : 1 },
              "context":{"b":2},"identifiers":{"email":"Ada@Example.com","crm":1001,"none":null},
              "traits":{"set":{"plan":"pro","gone":null},"set_once":{"a":1},"unset":["x"],"add":{"visits":1},
                        "append":{"tags":["t"]},"remove":{"tags":"u"}},
              "consents":{"marketing":"granted","ads":"refused","none":null}}]}"#);
    assert_eq!(request.source.as_deref(), Some("web"));
    assert_eq!(request.session.as_deref(), Some("s-1"));
    assert_eq!(request.profile.as_deref(), Some("p"));
    assert_eq!(request.sent_at.unwrap().to_string(), "2025-12-31T23:00:00.000Z");
    assert_eq!(request.user_agent.as_deref(), Some("Agent/1"));
    assert!(request.profile_less);
    assert_eq!(request.origin, Origin::Live);
    let event = &request.events[0];
    assert_eq!(event.id.as_deref(), Some("m-1"));
    assert_eq!(event.event_type, "page-view");
    assert_eq!(event.time.unwrap().to_string(), "2026-01-01T00:00:00.500Z");
    assert_eq!(event.properties.as_ref().unwrap().as_str(), r#"{ "a" : 1 }"#);
    assert_eq!(event.context.as_ref().unwrap().as_str(), r#"{"b":2}"#);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(event.identifiers, [pair("email", "Ada@Example.com"), pair("crm", "1001")]);
    let shown = |list: &[(String, spoor::Json)]| {
        list.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(&event.traits.set), r#"plan="pro" gone=null"#);
    assert_eq!(shown(&event.traits.set_once), "a=1");
    assert_eq!(event.traits.unset, ["x"]);
    assert_eq!(shown(&event.traits.add), "visits=1");
    assert_eq!(shown(&event.traits.append), r#"tags=["t"]"#);
    assert_eq!(shown(&event.traits.remove), r#"tags="u""#);
    let consent = |name: &str, consent| (name.to_owned(), consent);
    assert_eq!(event.consents, [consent("marketing", Consent::Granted), consent("ads", Consent::Refused)]);
}

#[test]
fn the_user_agent_has_two_spellings_and_may_be_anything() {
    let agent = |context: &str| one(&format!(r#"{{"context":{context}}}"#)).user_agent;
    assert_eq!(agent(r#"{"userAgent":"A"}"#).as_deref(), Some("A"));
    assert_eq!(agent(r#"{"user_agent":"B","userAgent":"A"}"#).as_deref(), Some("B"));
    assert_eq!(agent(r#"{"user_agent":5,"userAgent":"A"}"#).as_deref(), Some("A"));
    assert_eq!(agent(r#"{"user_agent":" "}"#), None);
    assert_eq!(agent(r#"{"page":{"user_agent":"A"}}"#), None);
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader_of_acts(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "{", "}", "[", "]", ":", ",", "\"", "null", "true", "7", "\"profile\":", "\"other\":\"b\"",
                "\"force\":true", "\"identifier\":\"x:y\"", "\"decision\":\"reject\"", "\u{0}", "é",
            ]),
            0..12,
        )
    ) {
        let text = parts.concat();
        for act in [Unread::Merge, Unread::Block, Unread::Decide { quarantine: "q1-0".to_owned() }] {
            let read = act::read(act.clone(), text.as_bytes());
            let sound = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok();
            prop_assert!(sound || read.is_err(), "{act:?} {text}");
        }
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_almost_sound_request_breaks_the_reader(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"events\"", "\"type\"", "\"traits\"", "\"set\"", "\"unset\"",
                "\"identifiers\"", "\"email\"", "\"consents\"", "\"time\"", "\"context\"", "\"x\"", "null",
                "1", "-1.5e3", "1e999", "\"2026-01-01T00:00:00Z\"", "true", " ", "\"\\ud83d\"",
            ]),
            0..40,
        ),
    ) {
        let text = parts.concat();
        let accepted = read(text.as_bytes()).is_ok();
        let json = serde_json::from_str::<serde_json::Value>(&text);
        prop_assert!(!accepted || json.is_ok(), "accepted what is not JSON: {text}");
    }
}

#[test]
fn a_request_of_a_library_is_read_as_it_was_exported() {
    let sent = TrackRequest { profile: Some("a-1".to_owned()), origin: Origin::LibraryImport, ..one("{}") };
    let line = spoor_server::protocol::write::line(&spoor_server::protocol::request::request(&sent));
    let read = one(std::str::from_utf8(&line).unwrap());
    assert_eq!((read.origin.imported(), read.profile), (sent.origin, sent.profile));
    assert_eq!(one(r#"{"library":false}"#).origin, Origin::Live);
    assert_eq!(outcome(r#"{"library":1}"#), "wrong_type library");
}
