//! The compact form: its test vectors, read and written both ways; that it says the same as JSON; that no bytes break
//! it; and that it is what its schema in docs/protocol.md says, by somebody else's reading of that.
#![expect(clippy::unwrap_used, reason = "a test: a panic is its report")]

use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use spoor::{
    Consent, Event, EventReply, EventStatus, Json, LinkOutcome, LinkReply, ProfileReply, Reason, Reply,
    SessionReply, Timestamp, TrackRequest, TraitOperations,
};
use spoor_client::{decode, encode};
use spoor_server::protocol::compact::frames::{Frames, body};
use spoor_server::protocol::compact::{read, write};
use spoor_server::protocol::json::{self, Body};
use spoor_server::protocol::write::{Audience, ErrorBody};
use spoor_server::protocol::{request, write as json_write};
use spoor_tests::target::compact::{answer_as_json, reply_as_json};
use spoor_tests::target::wire::read_reply;
use std::path::PathBuf;

const PAGE: &str = include_str!("../../docs/protocol.md");

/// A test vector: what stands in it as JSON, and the bytes of it.
struct Vector {
    file: PathBuf,
    json: String,
    bytes: Vec<u8>,
}

impl Vector {
    /// All whose names begin like this, and the one of the page.
    fn all(kind: &str) -> Vec<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/compact");
        let mut vectors = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            if file.file_name().unwrap().to_str().unwrap().starts_with(kind) {
                let text = std::fs::read_to_string(&file).unwrap();
                vectors.push(Self::parse(file, &text));
            }
        }
        let page = PAGE.split("```compact\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        vectors
            .extend(page.filter(|text| text.starts_with(kind)).map(|text| Self::parse(PathBuf::new(), text)));
        vectors
    }

    /// A title, the JSON on one line, and the bytes; each part begins after an empty line. After `#` a line is a remark.
    fn parse(file: PathBuf, text: &str) -> Self {
        let mut parts = text.splitn(3, "\n\n").skip(1);
        let json = parts.next().unwrap().trim().to_owned();
        let lines = parts.next().unwrap_or_default().lines();
        let plain = lines.map(|line| line.split('#').next().unwrap());
        let digits: Vec<char> = plain.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        Self { file, json, bytes: digits.chunks(2).map(byte).collect() }
    }

    /// Compares with `found`, or puts it in the place of what stands there if that is wanted.
    fn assert_bytes(&self, found: &[u8]) {
        if std::env::var_os("UPDATE_EXPECT").is_some() && !self.file.as_os_str().is_empty() {
            let text = std::fs::read_to_string(&self.file).unwrap();
            let title = text.split("\n\n").next().unwrap();
            let hex: Vec<String> = found.iter().map(|byte| format!("{byte:02x}")).collect();
            let lines: Vec<String> = hex.chunks(32).map(|line| line.join(" ")).collect();
            std::fs::write(&self.file, format!("{title}\n\n{}\n\n{}\n", self.json, lines.join("\n")))
                .unwrap();
            return;
        }
        assert_eq!(hex(&self.bytes), hex(found), "{}: {}", self.file.display(), self.json);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the client writes for a body.
fn encoded(body: &Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    match body {
        Body::One(request) => encode::alone(&mut bytes, request),
        Body::Many(items) => items.iter().for_each(|item| encode::item(&mut bytes, item.as_ref().unwrap())),
    }
    bytes
}

#[test]
fn the_requests_of_the_vectors_are_read_and_written() {
    let vectors = Vector::all("request");
    assert!(vectors.len() >= 5, "{}", vectors.len());
    for vector in vectors {
        let expected = json::read(vector.json.as_bytes()).unwrap();
        vector.assert_bytes(&encoded(&expected));
        assert_eq!(body(&encoded(&expected)).unwrap(), expected, "{}", vector.json);
    }
}

/// What the server writes for answers that are given as JSON.
fn written(answers: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for answer in answers.as_array().unwrap() {
        let error = |value: &Value| serde_json::from_value::<ErrorBody>(value.clone()).unwrap();
        if let Some(end) = answer.get("end") {
            write::end(&mut bytes, end["index"].as_u64().unwrap(), &error(&end["error"]));
        } else if let Some(value) = answer.get("error") {
            write::error(&mut bytes, &error(value));
        } else {
            write::reply(&mut bytes, &read_reply(answer), &Audience::Trusted);
        }
    }
    bytes
}

fn read_answers(bytes: &[u8]) -> Value {
    decode::answers(bytes).unwrap().iter().map(answer_as_json).collect()
}

#[test]
fn the_answers_of_the_vectors_are_written_and_read() {
    let vectors = Vector::all("answer");
    assert!(vectors.len() >= 4, "{}", vectors.len());
    for vector in vectors {
        let expected: Value = serde_json::from_str(&vector.json).unwrap();
        let bytes = written(&expected);
        vector.assert_bytes(&bytes);
        assert_eq!(read_answers(&bytes), expected);
    }
}

/// The schema of the page.
fn schema() -> DescriptorPool {
    let text = PAGE.split("```proto\n").nth(1).unwrap().split("```").next().unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("spoor.proto"), text).unwrap();
    let files = protox::compile(["spoor.proto"], [directory.path()]).unwrap();
    DescriptorPool::from_file_descriptor_set(files).unwrap()
}

/// Takes bytes apart as the schema says, and puts together what has a name in it.
fn again(pool: &DescriptorPool, message: &str, bytes: &[u8]) -> Vec<u8> {
    use prost_reflect::prost::Message;
    let descriptor = pool.get_message_by_name(&format!("spoor.v1.{message}")).unwrap();
    let read = DynamicMessage::decode(descriptor.clone(), bytes).unwrap();
    let named = serde_json::to_value(&read).unwrap();
    DynamicMessage::deserialize(descriptor, named).unwrap().encode_to_vec()
}

#[test]
fn the_schema_of_the_page_names_every_field() {
    let pool = schema();
    for (kind, message) in [("request", "Requests"), ("answer", "Answers")] {
        for vector in Vector::all(kind) {
            assert_eq!(hex(&again(&pool, message, &vector.bytes)), hex(&vector.bytes), "{}", vector.json);
        }
    }
}

fn code(payload: &[u8]) -> String {
    match read::request(payload) {
        Ok(_) => "ok".to_owned(),
        Err(fault) => format!("{} {}", fault.code, fault.field.as_deref().unwrap_or("-")),
    }
}

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128 && number < 16);
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

#[test]
fn each_fault_has_the_code_that_it_has_in_json() {
    let event = |bytes: &[u8]| field(9, bytes);
    let second = |bytes: &[u8]| [event(b""), event(bytes)].concat();
    let pair = |name: &str, value: &[u8]| [field(1, name.as_bytes()), field(2, value)].concat();
    let traits = |bytes: &[u8]| event(&field(8, bytes));
    let at = |mut micros: u64| {
        let mut bytes = vec![0x20];
        while micros >= 0x80 {
            bytes.push(micros.to_le_bytes()[0] | 0x80);
            micros >>= 7;
        }
        bytes.push(micros.to_le_bytes()[0]);
        bytes
    };
    let table: &[(Vec<u8>, &str)] = &[
        (vec![], "ok"),
        // What came later, of all wire types that can be passed over.
        ([vec![0x78, 1, 0x7d, 1, 2, 3, 4, 0x79, 1, 2, 3, 4, 5, 6, 7, 8], field(15, b"new")].concat(), "ok"),
        (event(&[0x78, 1]), "ok"),
        // The form.
        (vec![0x0a], "binary_invalid -"),
        (vec![0x0a, 0xff], "binary_invalid -"),
        (vec![0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], "binary_invalid -"),
        (vec![0x7b], "binary_invalid -"),
        (vec![0x02, 0], "binary_invalid -"),
        (second(&[0x1a, 9]), "binary_invalid events[1]"),
        (event(&field(7, &[0x0a, 9])), "binary_invalid events[0].identifiers"),
        // Types and texts.
        (vec![0x08, 1], "wrong_type source"),
        (field(8, b"x"), "wrong_type profile_less"),
        (field(3, b"short"), "wrong_type session"),
        (vec![0x48, 1], "wrong_type events[0]"),
        (field(2, b"\xff"), "utf8_invalid session"),
        (second(&field(3, b"\xc3")), "utf8_invalid events[1].type"),
        (event(&field(7, &pair("email", b"\xff"))), "utf8_invalid events[0].identifiers.email"),
        (traits(&field(3, b"\xff")), "utf8_invalid events[0].traits.unset[0]"),
        // Twice.
        ([field(1, b"a"), field(1, b"b")].concat(), "json_duplicate_key source"),
        ([field(2, b"a"), field(3, &[0; 16])].concat(), "json_duplicate_key session"),
        (
            event(&[field(7, &pair("e", b"a")), field(7, &pair("e", b"b"))].concat()),
            "json_duplicate_key events[0].identifiers.e",
        ),
        (
            traits(&[field(1, &pair("p", b"1")), field(1, &pair("p", b"2"))].concat()),
            "json_duplicate_key events[0].traits.set.p",
        ),
        // JSON.
        (field(7, b"{"), "json_invalid context"),
        (field(7, b""), "json_invalid context"),
        (field(7, b"[]"), "not_an_object context"),
        (field(7, b"null"), "ok"),
        (second(&field(5, br#"{"a":1,"a":2}"#)), "json_duplicate_key events[1].properties"),
        (second(&field(5, br#"{"a":18446744073709551616}"#)), "json_number_too_large events[1].properties"),
        (
            second(&field(5, [&b"[".repeat(40)[..], &b"]".repeat(40)].concat().as_slice())),
            "json_too_deep events[1].properties",
        ),
        (traits(&field(4, &pair("visits", b"x"))), "json_invalid events[0].traits.add.visits"),
        (traits(&field(4, &field(1, b"visits"))), "json_invalid events[0].traits.add.visits"),
        // Times and consents.
        ([&[0x30][..], &[0xff; 9], &[1]].concat(), "time_invalid sent_at"),
        (event(&at(253_402_300_799_999_999)), "ok"),
        (event(&at(253_402_300_800_000_000)), "time_invalid events[0].time"),
        (event(&field(9, &field(1, b"ads"))), "consent_invalid events[0].consents.ads"),
        (
            event(&field(9, &[field(1, b"ads"), vec![0x10, 3]].concat())),
            "consent_invalid events[0].consents.ads",
        ),
        // Few bytes that would become much.
        ([0x4a, 0].repeat(1_001), "too_many_events events"),
        ([0x4a, 0].repeat(1_000), "ok"),
    ];
    for (bytes, expected) in table {
        assert_eq!(&code(bytes), expected, "{}", hex(bytes));
    }
}

#[test]
fn the_latest_time_is_that_of_json() {
    let request = |time: &str| format!(r#"{{"sent_at":"{time}"}}"#);
    let latest = json::read(request("9999-12-31T23:59:59.999999Z").as_bytes()).unwrap();
    assert_eq!(body(&encoded(&latest)).unwrap(), latest);
    assert!(json::read(request("9999-12-31T23:59:59.999999-00:01").as_bytes()).is_err());
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,8}",
        "\\PC{0,6}",
        any::<u128>().prop_map(|bits| uuid_of(bits).to_string()),
        any::<u128>().prop_map(|bits| uuid_of(bits).to_uppercase()),
    ]
}

/// A UUID in its usual form.
fn uuid_of(bits: u128) -> String {
    let digits = format!("{bits:032x}");
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![Just(0), 0_i64..=253_402_207_200_999_999].prop_map(Timestamp)
}

fn value() -> impl Strategy<Value = Json> {
    let texts = ["null", "1", "-1.50e3", "\"ä\"", "[1, {\"a\":null}]", "{ }", "18446744073709551615", "true"];
    proptest::sample::select(texts.to_vec()).prop_map(|text| Json::parse(text).unwrap())
}

fn object() -> impl Strategy<Value = Json> {
    let texts = ["{}", "{ \"url\" : \"/a\\u00e4\" }", "{\"a\":{\"b\":[]}}", "{\"user_agent\":5}"];
    proptest::sample::select(texts.to_vec()).prop_map(|text| Json::parse(text).unwrap())
}

fn some<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(strategy)
}

fn named<T: std::fmt::Debug>(values: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<(String, T)>> {
    proptest::collection::btree_map(name(), values, 0..4).prop_map(|map| map.into_iter().collect())
}

fn traits() -> impl Strategy<Value = TraitOperations> {
    let unset = proptest::collection::vec(name(), 0..3);
    (named(value()), named(value()), unset, named(value()), named(value()), named(value())).prop_map(
        |(set, set_once, unset, add, append, remove)| TraitOperations {
            set,
            set_once,
            unset,
            add,
            append,
            remove,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let consent = prop_oneof![Just(Consent::Granted), Just(Consent::Refused)];
    (
        (some(name()), name(), some(time()), some(object()), some(object())),
        (named(name()), traits(), named(consent)),
    )
        .prop_map(|((id, event_type, time, properties, context), (identifiers, traits, consents))| {
            Event { id, event_type, time, properties, context, identifiers, traits, consents }
        })
}

fn track_request() -> impl Strategy<Value = TrackRequest> {
    let agents = proptest::sample::select(vec![None, Some("Agent/1")]);
    (
        (some(name()), some(name()), some(name()), some(time()), some(object())),
        (any::<bool>(), proptest::collection::vec(event(), 0..4), agents),
    )
        .prop_map(|((source, session, profile, sent_at, context), (profile_less, events, agent))| {
            // The user agent stands in the context, so that the two agree.
            let with_agent = || Json::parse(r#"{"user_agent":"Agent/1"}"#).ok();
            TrackRequest {
                source,
                session,
                profile,
                sent_at,
                context: agent.map_or(context, |_| with_agent()),
                user_agent: agent.map(str::to_owned),
                profile_less,
                events,
                ..TrackRequest::default()
            }
        })
}

fn words() -> impl Strategy<Value = Vec<&'static str>> {
    let codes = vec!["clock_corrected", "profile_switched", "event_id_reused"];
    proptest::sample::subsequence(codes.clone(), 0..=codes.len())
}

fn link_reply() -> impl Strategy<Value = LinkReply> {
    let outcomes = vec![
        LinkOutcome::Attached,
        LinkOutcome::Known,
        LinkOutcome::Merged,
        LinkOutcome::Switched,
        LinkOutcome::Refused,
        LinkOutcome::Quarantined,
    ];
    let code = some(proptest::sample::select(vec!["junk", "cut", "fragments_max"]));
    let profiles = proptest::collection::vec(name(), 0..3);
    (name(), proptest::sample::select(outcomes), code, some(name()), profiles, some(name())).prop_map(
        |(identifier, outcome, code, merge, profiles, quarantine)| LinkReply {
            identifier,
            outcome,
            code,
            merge,
            profiles,
            quarantine,
        },
    )
}

fn session_reply() -> impl Strategy<Value = SessionReply> {
    (name(), any::<bool>()).prop_map(|(id, created)| SessionReply { id, created })
}

fn event_reply() -> impl Strategy<Value = EventReply> {
    let status = prop_oneof![Just(EventStatus::Stored), Just(EventStatus::Duplicate)];
    let links = proptest::collection::vec(link_reply(), 0..3);
    let refused = proptest::collection::vec((name(), Just("trait_kind")), 0..3);
    (name(), any::<u64>(), status, some(session_reply()), some(name()), links, refused, words()).prop_map(
        |(id, seq, status, session, profile, links, refused, warnings)| EventReply {
            id,
            seq: spoor::EventSeq(seq),
            status,
            session,
            profile,
            links,
            refused,
            warnings,
        },
    )
}

fn reply() -> impl Strategy<Value = Reply> {
    let reasons = vec![Reason::Created, Reason::Sent, Reason::Recovered, Reason::SessionOwner];
    let profile = (name(), name(), proptest::sample::select(reasons), any::<bool>())
        .prop_map(|(id, primary_id, reason, created)| ProfileReply { id, primary_id, reason, created });
    let events = proptest::collection::vec(event_reply(), 0..4);
    (some(profile), some(session_reply()), events, words())
        .prop_map(|(profile, session, events, warnings)| Reply { profile, session, events, warnings })
}

fn audience() -> impl Strategy<Value = Audience> {
    prop_oneof![
        Just(Audience::Trusted),
        some(name()).prop_map(|sent_profile| Audience::Public { sent_profile }),
    ]
}

proptest! {
    #[test]
    fn what_the_client_writes_is_what_the_server_reads_and_json_says_the_same(sent in track_request()) {
        prop_assert_eq!(&read::request(&encode::payload(&sent)).unwrap(), &sent);
        let json = json_write::text(&request::request(&sent));
        prop_assert_eq!(json::read(&json).unwrap(), Body::One(Box::new(sent)));
    }

    #[test]
    fn a_reply_says_the_same_in_both_forms(reply in reply(), audience in audience()) {
        let mut bytes = Vec::new();
        write::reply(&mut bytes, &reply, &audience);
        let answers = decode::answers(&bytes).unwrap();
        let [spoor_client::Answer::Reply(read)] = &answers[..] else { panic!("{answers:?}") };
        let json = json_write::text(&json_write::reply(&reply, &audience));
        prop_assert_eq!(reply_as_json(read), serde_json::from_slice::<Value>(&json).unwrap());
    }

    #[test]
    fn no_bytes_break_the_readers(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (read::request(&bytes), body(&bytes), decode::answers(&bytes));
        let mut frames = Frames::new(100);
        frames.add(bytes.into());
        while let Ok(Some(_)) = frames.take() {}
    }

    #[test]
    fn no_almost_sound_request_breaks_the_reader(
        sent in track_request(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut bytes = encode::payload(&sent);
        prop_assume!(!bytes.is_empty());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(read) = read::request(&bytes) {
            // What was read is a request like any other.
            prop_assert_eq!(read::request(&encode::payload(&read)).unwrap(), read);
        }
    }

    #[test]
    fn no_almost_sound_answer_breaks_the_client(
        reply in reply(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = Vec::new();
        write::reply(&mut bytes, &reply, &Audience::Trusted);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode::answers(&bytes);
    }
}
