//! The compact form over HTTP: one request, lists, and streams over HTTP/1.1 and HTTP/2 with all that can go wrong on
//! the way, against a store that does what a test says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod fake;

use fake::{Fake, Mood};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame};
use spoor::{Event, TrackRequest};
use spoor_client::{Answer, Connection, MEDIA_TYPE, Receiver, Sender, decode, encode, stream};
use spoor_server::http::{Server, serve_store};
use spoor_server::limits::STREAM_IN_FLIGHT_MAX_REQUESTS;
use spoor_server::settings::Configuration;
use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

fn configuration() -> Configuration {
    let mut configuration = Configuration::default();
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    configuration.server.body_bytes = 64 << 10;
    configuration.server.body_decompressed_bytes = 256 << 10;
    configuration.server.headers_timeout_ms = 500;
    configuration.server.body_timeout_ms = 400;
    configuration.server.request_timeout_ms = 2_000;
    configuration.server.idle_timeout_ms = 1_000;
    configuration.server.shutdown_timeout_ms = 5_000;
    configuration
}

fn start(fake: &Arc<Fake>) -> Server {
    start_with(fake, &configuration())
}

fn start_with(fake: &Arc<Fake>, configuration: &Configuration) -> Server {
    serve_store(configuration, Arc::clone(fake) as _, "test".to_owned()).unwrap()
}

fn open(server: &Server) -> (Sender, Receiver) {
    stream(&server.address().to_string()).unwrap()
}

/// A request whose session says which it is.
fn numbered(number: usize) -> TrackRequest {
    let event = Event { event_type: "x".to_owned(), id: Some(format!("m-{number}")), ..Event::default() };
    TrackRequest { session: Some(format!("s-{number}")), events: vec![event], ..TrackRequest::default() }
}

fn session_of(answer: &Answer) -> String {
    match answer {
        Answer::Reply(reply) => reply.session.as_ref().unwrap().id.clone(),
        Answer::Error(error) => error.code.clone(),
        Answer::End { index, error } => format!("end {index} {}", error.code),
    }
}

fn rest(receiver: &mut Receiver) -> Vec<String> {
    let mut answers = Vec::new();
    while let Some(answer) = receiver.receive().unwrap() {
        answers.push(session_of(&answer));
    }
    answers
}

fn sessions(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("s-{number}")).collect()
}

fn seen(fake: &Fake) -> Vec<String> {
    fake.seen().into_iter().map(|request| request.session.unwrap()).collect()
}

fn framed(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    numbers.for_each(|number| encode::item(&mut bytes, &numbered(number)));
    bytes
}

#[test]
fn one_request_and_a_list_are_answered_in_their_form() {
    let fake = Fake::new();
    let server = start(&fake);
    let mut connection = Connection::open(&server.address().to_string()).unwrap();
    let reply = connection.track(&numbered(7)).unwrap().unwrap();
    let profile = reply.profile.unwrap();
    assert_eq!((profile.id.as_str(), profile.primary_id.as_deref()), ("device", Some("person")));
    assert_eq!((profile.reason, profile.created), (Some("session_owner"), false));
    assert_eq!(reply.warnings, ["profile_mismatch"]);
    let event = &reply.events[0];
    assert_eq!((event.id.as_str(), event.seq, event.status), ("m-7", 1, Some("stored")));
    assert_eq!(
        (event.refused[0].field.as_str(), event.refused[0].code.as_str()),
        ("traits.set.a", "trait_kind")
    );
    assert_eq!(fake.seen(), [numbered(7)]);

    let nowhere = TrackRequest { source: Some("nowhere".to_owned()), ..numbered(2) };
    let refused = connection.track(&nowhere).unwrap().unwrap_err();
    assert_eq!((refused.status, refused.error.code.as_str()), (422, "unknown_source"));
    let answers = connection.track_many(&[numbered(1), nowhere, numbered(3)]).unwrap().unwrap();
    assert_eq!(answers.iter().map(session_of).collect::<Vec<_>>(), ["s-1", "unknown_source", "s-3"]);
    assert_eq!(connection.track_many(&[]).unwrap().unwrap(), []);

    fake.mood(Mood::OverloadedAfter(1));
    let answers = connection.track_many(&[numbered(1), numbered(2), numbered(3)]).unwrap().unwrap();
    assert_eq!(answers.iter().map(session_of).collect::<Vec<_>>(), ["s-1", "overloaded", "overloaded"]);
    let refused = connection.track_many(&[numbered(1)]).unwrap().unwrap_err();
    assert_eq!((refused.status, refused.error.retry_after_ms), (503, Some(1_000)));
}

/// Posts bytes; the status, the answer's type and its body.
fn post(server: &Server, path: &str, headers: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap().to_owned();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), kind, answer[end + 4..].to_vec())
}

#[test]
fn the_answer_has_the_form_that_is_asked_for() {
    let fake = Fake::new();
    let server = start(&fake);
    let compact = format!("content-type: {MEDIA_TYPE}\r\n");
    let mut alone = Vec::new();
    encode::alone(&mut alone, &numbered(1));
    let json = br#"{"session":"s-1","events":[{"type":"x","id":"m-1"}]}"#;
    let form = |headers: &str, body: &[u8]| {
        let (status, kind, bytes) = post(&server, "/api/v1/track", headers, body);
        let read = match kind.as_str() {
            MEDIA_TYPE => session_of(&decode::answers(&bytes).unwrap()[0]),
            _ => serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["session"]["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        };
        assert_eq!((status, read.as_str()), (200, "s-1"));
        kind
    };
    assert_eq!(form(&compact, &alone), MEDIA_TYPE);
    assert_eq!(form(&format!("{compact}accept: */*\r\n"), &alone), MEDIA_TYPE);
    assert_eq!(form(&format!("{compact}accept: application/json\r\n"), &alone), "application/json");
    assert_eq!(form("", json), "application/json");
    assert_eq!(form(&format!("accept: text/html;q=0.5, {MEDIA_TYPE};q=1\r\n"), json), MEDIA_TYPE);
    assert_eq!(form(&format!("accept: {MEDIA_TYPE}, application/json\r\n"), json), "application/json");
    let seen = fake.seen();
    assert!(seen.iter().all(|request| *request == numbered(1)), "{seen:?}");
}

#[test]
fn what_is_no_message_is_refused_as_json() {
    let server = start(&Fake::new());
    let compact = format!("content-type: {MEDIA_TYPE}\r\n");
    let code = |path: &str, headers: &str, body: &[u8]| {
        let (status, kind, bytes) = post(&server, path, headers, body);
        assert_eq!(kind, "application/json");
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        format!("{status} {}", json["code"].as_str().unwrap())
    };
    assert_eq!(code("/api/v1/track", &compact, b"{}"), "400 binary_invalid");
    assert_eq!(code("/api/v1/track", &compact, &[0x12, 5, 1]), "400 binary_invalid");
    assert_eq!(code("/api/v1/track", &compact, &[0x12, 2, 0x0a, 0xff]), "400 binary_invalid");
    assert_eq!(code("/api/v1/track", &compact, &[0x12, 3, 0x0a, 1, 0xff]), "400 utf8_invalid");
    assert_eq!(code("/api/v1/stream", "", b"{}"), "415 media_type_unsupported");
    let gzip = format!("{compact}content-encoding: gzip\r\n");
    assert_eq!(code("/api/v1/stream", &gzip, b""), "415 encoding_unsupported");
}

#[test]
fn a_compressed_body_is_read() {
    let fake = Fake::new();
    let server = start(&fake);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&framed(0..100)).unwrap();
    let headers = format!("content-type: {MEDIA_TYPE}\r\ncontent-encoding: gzip\r\n");
    let (status, _, body) = post(&server, "/api/v1/track", &headers, &encoder.finish().unwrap());
    let answers = decode::answers(&body).unwrap();
    assert_eq!((status, answers.iter().map(session_of).collect::<Vec<_>>()), (200, sessions(0..100)));
}

#[test]
fn thousands_of_frames_are_answered_in_order() {
    let fake = Fake::new();
    let server = start(&fake);
    let (mut sender, mut receiver) = open(&server);
    let sending = std::thread::spawn(move || {
        (0..5_000).for_each(|number| sender.send(&numbered(number)).unwrap());
        sender.finish().unwrap();
    });
    assert_eq!(rest(&mut receiver), sessions(0..5_000));
    sending.join().unwrap();
    assert_eq!(seen(&fake), sessions(0..5_000));
}

#[test]
fn an_answer_comes_before_the_next_request_is_sent() {
    let server = start(&Fake::new());
    let (mut sender, mut receiver) = open(&server);
    for number in 0..20 {
        sender.send(&numbered(number)).unwrap();
        sender.flush().unwrap();
        assert_eq!(session_of(&receiver.receive().unwrap().unwrap()), format!("s-{number}"));
    }
    sender.finish().unwrap();
    assert!(receiver.receive().unwrap().is_none());
}

/// One with a long answer.
fn long(number: usize) -> TrackRequest {
    let mut request = numbered(number);
    request.events[0].id = Some("m".repeat(2_000));
    request
}

#[test]
fn a_reader_that_is_slow_holds_the_writer_up_and_loses_nothing() {
    const ALL: usize = 15_000;
    let mut configuration = configuration();
    configuration.server.idle_timeout_ms = 20_000;
    let fake = Fake::new();
    let server = start_with(&fake, &configuration);
    let (mut sender, mut receiver) = open(&server);
    let sending = std::thread::spawn(move || {
        (0..ALL).for_each(|number| sender.send(&long(number)).unwrap());
        sender.finish().unwrap();
    });
    fake.wait_for(1);
    // What the two sockets, and the server between them, hold is far less than all.
    let mut before = 0;
    while before < fake.seen().len() {
        before = fake.seen().len();
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!((1..ALL / 2).contains(&before), "{before} were taken without a reader");
    assert_eq!(rest(&mut receiver), sessions(0..ALL));
    sending.join().unwrap();
}

#[test]
fn no_more_is_taken_than_may_be_in_flight() {
    let fake = Fake::new();
    let server = start(&fake);
    fake.mood(Mood::Silent);
    let (mut sender, mut receiver) = open(&server);
    let sending = std::thread::spawn(move || {
        (0..3_000).for_each(|number| sender.send(&numbered(number)).unwrap());
        sender.finish().unwrap();
    });
    fake.wait_for(STREAM_IN_FLIGHT_MAX_REQUESTS);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(fake.seen().len(), STREAM_IN_FLIGHT_MAX_REQUESTS);
    // The first is given up after its time, in its place; then there is a place for one more.
    assert_eq!(session_of(&receiver.receive().unwrap().unwrap()), "request_timeout");
    fake.wait_for(STREAM_IN_FLIGHT_MAX_REQUESTS + 1);
    drop(receiver);
    drop(server);
    sending.join().unwrap();
}

#[test]
fn a_reader_that_never_reads_is_given_up() {
    let fake = Fake::new();
    let server = start(&fake);
    let (mut sender, receiver) = open(&server);
    let begun = Instant::now();
    let failed = (0..).find_map(|number| sender.send(&numbered(number)).err()).unwrap();
    assert!(matches!(failed.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{failed}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    drop(receiver);
}

/// A stream whose bytes the test writes itself.
fn open_raw(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /api/v1/stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {MEDIA_TYPE}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// All answers of a raw stream until it ends.
fn raw_answers(mut stream: TcpStream) -> Vec<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let mut rest = &text[text.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4..];
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
        if size == 0 {
            return decode::answers(&body).unwrap().iter().map(session_of).collect();
        }
    }
}

#[test]
fn a_writer_that_is_slow_is_awaited() {
    let fake = Fake::new();
    let server = start(&fake);
    let mut stream = open_raw(&server);
    for byte in framed(0..12) {
        stream.write_all(&chunk(&[byte])).unwrap();
        std::thread::sleep(Duration::from_millis(3));
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(raw_answers(stream), sessions(0..12));
}

#[test]
fn a_bad_frame_ends_the_stream_after_the_answers_before_it() {
    let mut broken_inside = framed(0..2);
    broken_inside.extend([0x0a, 2, 0x12, 0x7f]);
    broken_inside.extend(framed(3..4));
    let mut alone = framed(0..2);
    encode::alone(&mut alone, &numbered(2));
    let too_large = [framed(0..2), vec![0x0a, 0xff, 0xff, 0x7f]].concat();
    let no_frame = [framed(0..2), b"{}".to_vec()].concat();
    let half = [framed(0..2), vec![0x0a, 9, 1]].concat();
    let cases = [
        (broken_inside, "end 2 binary_invalid"),
        (alone, "end 2 binary_invalid"),
        (too_large, "end 2 body_too_large"),
        (no_frame, "end 2 binary_invalid"),
        (half, "end 2 body_incomplete"),
    ];
    for (bytes, expected) in cases {
        let fake = Fake::new();
        let server = start(&fake);
        let mut stream = open_raw(&server);
        stream.write_all(&chunk(&bytes)).unwrap();
        stream.write_all(b"0\r\n\r\n").unwrap();
        assert_eq!(raw_answers(stream), ["s-0", "s-1", expected]);
        assert_eq!(seen(&fake), ["s-0", "s-1"]);
    }
}

#[test]
fn the_end_is_heard_by_a_client_that_goes_on() {
    let server = start(&Fake::new());
    let (mut sender, mut receiver) = open(&server);
    let too_large = TrackRequest { source: Some("x".repeat(100 << 10)), ..numbered(1) };
    let sending = std::thread::spawn(move || {
        sender.send(&numbered(0)).unwrap();
        sender.send(&too_large).unwrap();
        while sender.send(&numbered(2)).is_ok() {}
    });
    assert_eq!(session_of(&receiver.receive().unwrap().unwrap()), "s-0");
    assert_eq!(session_of(&receiver.receive().unwrap().unwrap()), "end 1 body_too_large");
    drop(receiver);
    sending.join().unwrap();
}

#[test]
fn a_rejected_request_is_an_error_in_its_place() {
    let fake = Fake::new();
    let server = start(&fake);
    let (mut sender, mut receiver) = open(&server);
    let nowhere = TrackRequest { source: Some("nowhere".to_owned()), ..numbered(1) };
    let too_many = TrackRequest { events: vec![Event::default(); 1_001], ..numbered(3) };
    for request in [numbered(0), nowhere, numbered(2), too_many, numbered(4)] {
        sender.send(&request).unwrap();
    }
    sender.finish().unwrap();
    assert_eq!(rest(&mut receiver), ["s-0", "unknown_source", "s-2", "too_many_events", "s-4"]);
}

#[test]
fn a_large_frame_is_read_where_it_holds_up_nobody() {
    let mut configuration = configuration();
    configuration.server.body_bytes = 1 << 20;
    configuration.server.body_decompressed_bytes = 1 << 20;
    let fake = Fake::new();
    let server = start_with(&fake, &configuration);
    let (mut sender, mut receiver) = open(&server);
    let event = Event { event_type: "y".repeat(500), ..Event::default() };
    let large = TrackRequest { events: vec![event; 1_000], ..numbered(1) };
    for request in [&numbered(0), &large, &numbered(2)] {
        sender.send(request).unwrap();
    }
    sender.finish().unwrap();
    assert_eq!(rest(&mut receiver), sessions(0..3));
    assert_eq!(fake.seen()[1], large);
}

#[test]
fn nothing_overtakes_what_found_no_room() {
    let fake = Fake::new();
    let server = start(&fake);
    fake.mood(Mood::OverloadedAfter(3));
    let (mut sender, mut receiver) = open(&server);
    (0..6).for_each(|number| sender.send(&numbered(number)).unwrap());
    sender.finish().unwrap();
    fake.wait_for(6);
    let tried = seen(&fake);
    assert!(tried[3..].iter().all(|session| session == "s-3"), "{tried:?}");
    fake.mood(Mood::Sound);
    assert_eq!(rest(&mut receiver), sessions(0..6));
}

#[test]
fn a_stream_that_finds_no_room_for_too_long_ends() {
    let mut configuration = configuration();
    configuration.server.request_timeout_ms = 200;
    let fake = Fake::new();
    let server = start_with(&fake, &configuration);
    fake.mood(Mood::OverloadedAfter(0));
    let (mut sender, mut receiver) = open(&server);
    sender.send(&numbered(0)).unwrap();
    sender.finish().unwrap();
    assert_eq!(rest(&mut receiver), ["end 0 overloaded"]);
}

#[test]
fn what_was_sent_before_a_connection_broke_is_stored() {
    let fake = Fake::new();
    let server = start(&fake);
    let mut stream = open_raw(&server);
    let bytes = framed(0..101);
    stream.write_all(&chunk(&bytes)[..bytes.len()]).unwrap();
    fake.wait_for(100);
    drop(stream);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(seen(&fake), sessions(0..100));
    // And the server has forgotten the connection: it would be awaited else.
    let begun = Instant::now();
    server.shutdown().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_client_that_is_silent_is_told_so() {
    let server = start(&Fake::new());
    let mut half = open_raw(&server);
    half.write_all(&chunk(&[0x0a, 5, 1])).unwrap();
    let begun = Instant::now();
    let answers = std::thread::spawn(move || raw_answers_open(half)).join().unwrap();
    assert_eq!(answers, ["end 0 body_timeout"]);
    assert!((300..900).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let mut idle = open_raw(&server);
    idle.write_all(&chunk(&framed(0..1))).unwrap();
    let begun = Instant::now();
    assert_eq!(raw_answers_open(idle), ["s-0", "end 1 body_timeout"]);
    assert!((900..2_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

/// Answers until the end of the stream is told, and no further: the client has not ended its half.
fn raw_answers_open(mut stream: TcpStream) -> Vec<String> {
    let mut found = Vec::new();
    let mut bytes = Vec::new();
    let mut piece = [0; 4_096];
    while !found.iter().any(|answer: &String| answer.starts_with("end")) {
        let size = stream.read(&mut piece).unwrap();
        assert!(size > 0, "the connection was closed without an end: {found:?}");
        bytes.extend_from_slice(&piece[..size]);
        let whole = [&bytes[..], b"0\r\n\r\n"].concat();
        found = from_chunks(&whole);
    }
    found
}

fn from_chunks(text: &[u8]) -> Vec<String> {
    let Some(head) = text.windows(4).position(|four| four == b"\r\n\r\n") else { return Vec::new() };
    let mut rest = &text[head + 4..];
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    decode::answers(&body).unwrap().iter().map(session_of).collect()
}

#[test]
fn a_server_that_stops_answers_what_it_took_and_says_where_it_ended() {
    let fake = Fake::new();
    let server = start(&fake);
    fake.mood(Mood::Slow(Duration::from_millis(150)));
    let (mut sender, mut receiver) = open(&server);
    let sending = std::thread::spawn(move || {
        for number in 0.. {
            if sender.send(&numbered(number)).and_then(|()| sender.flush()).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    fake.wait_for(50);
    let stopping = std::thread::spawn(move || server.shutdown().unwrap());
    let mut answers = Vec::new();
    let end = loop {
        match receiver.receive().unwrap().unwrap() {
            Answer::End { index, error } => break (usize::try_from(index).unwrap(), error.code),
            answer => answers.push(session_of(&answer)),
        }
    };
    assert_eq!(end, (answers.len(), "closed".to_owned()));
    assert_eq!(answers, sessions(0..answers.len()));
    assert_eq!(seen(&fake), answers);
    drop(receiver);
    stopping.join().unwrap();
    sending.join().unwrap();
    assert!(fake.is_closed());
}

/// A body whose pieces come over a channel, for hyper's client.
struct Pieces(tokio::sync::mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Opens a stream over HTTP/2.
async fn open_http2(server: &Server) -> (tokio::sync::mpsc::Sender<Bytes>, hyper::body::Incoming) {
    let connection = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(connection);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let (pieces, body) = tokio::sync::mpsc::channel(1);
    let request = hyper::Request::post("http://localhost/api/v1/stream").header("content-type", MEDIA_TYPE);
    let response = client.send_request(request.body(Pieces(body)).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    (pieces, response.into_body())
}

async fn next_answers(incoming: &mut hyper::body::Incoming, bytes: &mut Vec<u8>) -> Option<Vec<String>> {
    let frame = incoming.frame().await?;
    bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
    let mut answers = Vec::new();
    while let Some((answer, taken)) = decode::first_answer(bytes).unwrap() {
        answers.extend(answer.as_ref().map(session_of));
        bytes.drain(..taken);
    }
    Some(answers)
}

fn with_http2(test: impl AsyncFnOnce()) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
}

#[test]
fn http2_carries_streams_with_slow_readers_too() {
    let fake = Fake::new();
    let server = start(&fake);
    with_http2(async || {
        let (pieces, mut incoming) = open_http2(&server).await;
        let all = framed(0..8_000);
        tokio::spawn(async move {
            for piece in all.chunks(777) {
                pieces.send(Bytes::copy_from_slice(piece)).await.unwrap();
            }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (mut answers, mut bytes) = (Vec::new(), Vec::new());
        while let Some(more) = next_answers(&mut incoming, &mut bytes).await {
            answers.extend(more);
        }
        assert_eq!(answers, sessions(0..8_000));
    });
    assert_eq!(seen(&fake), sessions(0..8_000));
}

#[test]
fn an_http2_stream_ends_alone() {
    let fake = Fake::new();
    let server = start(&fake);
    with_http2(async || {
        let (pieces, mut incoming) = open_http2(&server).await;
        let (mut answers, mut bytes) = (Vec::new(), Vec::new());
        pieces.send(framed(0..3).into()).await.unwrap();
        while answers.len() < 3 {
            answers.extend(next_answers(&mut incoming, &mut bytes).await.unwrap());
        }
        pieces.send(Bytes::from_static(b"\x22")).await.unwrap();
        drop(pieces);
        while let Some(more) = next_answers(&mut incoming, &mut bytes).await {
            answers.extend(more);
        }
        assert_eq!(answers, ["s-0", "s-1", "s-2", "end 3 binary_invalid"]);
        // Given up in the middle of a frame.
        let (pieces, incoming) = open_http2(&server).await;
        pieces.send([framed(3..4), vec![0x0a, 100]].concat().into()).await.unwrap();
        while fake.seen().len() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop((pieces, incoming));
    });
    assert_eq!(seen(&fake), sessions(0..4));
    server.shutdown().unwrap();
}
