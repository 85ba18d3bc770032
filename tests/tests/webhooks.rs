//! Webhooks: in order, without gaps, signed, however the receiver and the server behave.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its report"
)]

use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use spoor_server::http::{ServeError, Server, serve};
use spoor_server::settings::{Configuration, WebhookSettings};
use spoor_server::webhooks::signature::signature;
use spoor_tests::connection::Connection;
use spoor_tests::history::Dice;
use spoor_tests::kill::process;
use spoor_tests::receiver::{Fate, Post, Receiver};
use spoor_tests::subscription::Subscription;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SECRET: &str = "a long random text";

/// Of the posts of these numbers one half is answered badly and the other not at all.
fn refusing(refused: &'static [usize]) -> impl FnMut(usize) -> Fate + Send {
    |number| match refused.contains(&number) {
        true if number.is_multiple_of(2) => Fate::Refuse,
        true => Fate::BreakOff,
        false => Fate::Take,
    }
}

fn webhook(url: &str) -> WebhookSettings {
    WebhookSettings { url: url.to_owned(), secret: SECRET.to_owned(), ..WebhookSettings::default() }
}

fn configuration(dir: &Path, webhooks: &[(&str, WebhookSettings)]) -> Configuration {
    let mut configuration = Configuration::default();
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    configuration.data_dir = dir.join("data");
    let webhooks = webhooks.iter().map(|(name, settings)| ((*name).to_owned(), settings.clone()));
    configuration.webhooks = webhooks.collect();
    configuration
}

fn started(dir: &Path, webhooks: &[(&str, WebhookSettings)]) -> Server {
    serve(&configuration(dir, webhooks)).unwrap()
}

fn track(server: &Server, from: u64, to: u64) {
    let mut connection = Connection::open(&server.address().to_string()).unwrap();
    for number in from..to {
        let kind = if number % 10 == 0 { "purchase" } else { "page-view" };
        let body = format!(r#"{{"session":"s-{}","events":[{{"type":"{kind}"}}]}}"#, number % 7);
        assert_eq!(connection.ask("POST", "/api/v1/track", &body).unwrap().0, 200);
    }
}

#[test]
fn everything_is_taken_in_order_whoever_fails_in_between() {
    let dir = tempfile::tempdir().unwrap();
    // What was before a webhook is there is not for it.
    let server = started(dir.path(), &[]);
    track(&server, 1, 4);
    server.shutdown().unwrap();

    let received = Receiver::start(refusing(&[1, 4, 5]));
    let some = Receiver::start(refusing(&[2]));
    let purchases = WebhookSettings { events: vec!["purchase".to_owned()], ..webhook(&some.url) };
    let hooks = [("all", webhook(&received.url)), ("some", purchases)];
    let server = started(dir.path(), &hooks);
    track(&server, 4, 150);
    received.wait_for(149);
    server.shutdown().unwrap();

    // While it is stopped nobody is told, and nothing is forgotten.
    let server = started(dir.path(), &hooks);
    track(&server, 150, 301);
    received.wait_for(300);
    some.wait_for(300);
    server.shutdown().unwrap();

    let mut seen = received.seqs();
    // A stop may have come between a post and the note that it was taken.
    let posted = seen.len();
    seen.dedup();
    assert!(posted - seen.len() <= 100, "{posted}");
    assert_eq!(seen, (4..=300).collect::<Vec<_>>());
    let purchases: Vec<u64> = (4..=300).filter(|number| number % 10 == 0).collect();
    assert_eq!(some.seqs(), purchases);
    let refused = received.posts().len() - received.taken().len();
    assert_eq!(refused, 3, "those that were refused, and no others");
    received.posts().iter().for_each(assert_signed);
}

fn assert_signed(Post { headers, body, .. }: &Post) {
    let timestamp: u64 = headers["spoor-timestamp"].parse().unwrap();
    assert_eq!(headers["spoor-signature"], signature(SECRET, timestamp, body.as_bytes()));
    assert_ne!(headers["spoor-signature"], signature("another secret text", timestamp, body.as_bytes()));
    assert_eq!(headers["content-type"], "application/json");
    assert!(serde_json::from_str::<Value>(body).unwrap()["changes"].as_array().unwrap().len() <= 100);
}

#[test]
fn a_store_that_is_older_than_what_a_webhook_has_seen_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("data/webhooks")).unwrap();
    std::fs::write(dir.path().join("data/webhooks/all"), "7\n").unwrap();
    let configuration = configuration(dir.path(), &[("all", webhook("http://127.0.0.1:9/"))]);
    let refused = serve(&configuration).unwrap_err().to_string();
    assert!(refused.contains("webhook all has come to position 7"), "{refused}");
}

/// A receiver that shows a certificate which no authority of this machine issued, and that certificate as a file.
fn encrypted(dir: &Path) -> (Receiver, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let chain = vec![made.cert.der().clone()];
    let config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let file = dir.join("authority.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    (Receiver::start_encrypted(Arc::new(config), refusing(&[2])), file)
}

#[test]
fn a_receiver_is_told_over_tls_if_its_certificate_is_trusted_and_not_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (dir.path().join("own"), dir.path().join("other"));
    for dir in [&own, &other] {
        std::fs::create_dir(dir).unwrap();
    }
    let (trusted, ca) = encrypted(&own);
    let (stranger, _) = encrypted(&other);
    let with_ca = |url: &str| WebhookSettings { ca: Some(ca.clone()), ..webhook(url) };
    // The right certificate under a name that it is not for.
    let misnamed = trusted.url.replace("localhost", "127.0.0.1");
    let hooks = [
        ("stranger", with_ca(&stranger.url)),
        ("misnamed", with_ca(&misnamed)),
        ("own", with_ca(&trusted.url)),
    ];
    let server = started(dir.path(), &hooks);
    track(&server, 1, 31);
    trusted.wait_for(30);
    server.shutdown().unwrap();
    let mut seen = trusted.seqs();
    seen.dedup();
    assert_eq!(seen, (1..=30).collect::<Vec<_>>());
    trusted.posts().iter().for_each(assert_signed);
    assert!(stranger.posts().is_empty(), "not even a post may reach a stranger");
    for (name, place) in [("stranger", "0"), ("misnamed", "0"), ("own", "30")] {
        let kept = std::fs::read_to_string(dir.path().join("data/webhooks").join(name)).unwrap();
        assert_eq!(kept.trim(), place, "{name}");
    }
}

#[test]
fn a_file_of_authorities_that_is_none_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("authority.pem");
    for (text, reason) in [(None, "No such file"), (Some("text"), "there is no certificate in it")] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let hook = WebhookSettings { ca: Some(file.clone()), ..webhook("https://localhost:9/") };
        match serve(&configuration(dir.path(), &[("own", hook)])).unwrap_err() {
            ServeError::Settings(error) => {
                assert_eq!(error.key, "webhooks.own.ca");
                assert!(error.reason.contains("authority.pem") && error.reason.contains(reason), "{error}");
            }
            other => panic!("{other}"),
        }
    }
}

/// One post in five fails, and not always before it was taken.
fn unreliable(seed: u64) -> impl FnMut(usize) -> Fate + Send {
    let mut dice = Dice::new(seed);
    move |_| match dice.below(20) {
        0 | 1 => Fate::Refuse,
        2 => Fate::BreakOff,
        3 => Fate::TakeUntold,
        _ => Fate::Take,
    }
}

/// Sends events of a few devices until the server is gone.
fn send_until_killed(address: &str, sender: u64, numbers: &AtomicU64) {
    let Ok(mut connection) = Connection::open(address) else { return };
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let kind = if number.is_multiple_of(5) { "purchase" } else { "page-view" };
        let body = format!(
            r#"{{"source":"web","session":"s-{sender}-{}","events":[{{"id":"m-{number}","type":"{kind}"}}]}}"#,
            number % 5
        );
        match connection.ask("POST", "/api/v1/track", &body) {
            Ok((status, answer)) => assert!(status == 200 || status == 503, "{status} {answer}"),
            Err(_) => return,
        }
    }
}

/// Each post goes on where the one before it ended, or says the same again from its beginning, and is without gaps in
/// `all`, the positions that are wanted. Returns the positions that were taken, each once.
fn assert_resumed(posts: &[Post], all: &[u64]) -> Vec<u64> {
    let mut taken: Vec<u64> = Vec::new();
    let mut before: Option<(usize, usize)> = None;
    for post in posts {
        assert_signed(post);
        let seqs = post.seqs();
        let begin = all.iter().position(|seq| *seq == seqs[0]).unwrap();
        let end = begin + seqs.len();
        assert_eq!(all[begin..end], seqs, "a gap, or another order");
        match before {
            None => assert_eq!(begin, 0),
            Some((again, further)) => {
                assert!(
                    begin == again || (begin == further && taken.len() == further),
                    "{begin} after {again}..{further}"
                );
            }
        }
        before = Some((begin, end));
        if matches!(post.fate, Fate::Take | Fate::TakeUntold) {
            taken.extend(all.get(taken.len()..end).unwrap_or_default());
        }
    }
    taken
}

/// `SPOOR_KILL_ROUNDS` says how often (25).
#[test]
fn a_server_that_is_killed_again_and_again_tells_everything_at_least_once_and_in_order() {
    let rounds = std::env::var("SPOOR_KILL_ROUNDS").map_or(25, |text| text.parse::<u32>().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (all, some) = (Receiver::start(unreliable(1)), Receiver::start(unreliable(2)));
    let hook = |name: &str, url: &str, more: &str| {
        format!("[webhooks.{name}]\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n{more}\n")
    };
    let hooks = hook("all", &all.url, "") + &hook("some", &some.url, "events = [\"purchase\"]");
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_spoor-under-test"));
    let mut server = process::Server::with(binary, dir.path().to_owned(), &hooks).unwrap();
    let (numbers, mut dice) = (AtomicU64::new(1), Dice::new(3));
    let mut rounds_with_posts = 0;
    for _ in 0..rounds {
        server.start().unwrap();
        let address = server.address().unwrap();
        let before = all.posts().len();
        std::thread::scope(|scope| {
            for sender in 0..3 {
                let (address, numbers) = (&address, &numbers);
                scope.spawn(move || send_until_killed(address, sender, numbers));
            }
            std::thread::sleep(Duration::from_millis(20 + dice.below(300)));
            server.kill().unwrap();
        });
        rounds_with_posts += u32::from(all.posts().len() > before);
    }
    assert!(rounds_with_posts > rounds / 2, "{rounds_with_posts} of {rounds}: too little happened");

    server.start().unwrap();
    all.take_all();
    some.take_all();
    let target = "/api/v1/changes?until_now=true";
    let changes = Subscription::open(&server.address().unwrap(), target, "").unwrap().rest().unwrap();
    let changes: Vec<Value> = changes.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seq = |change: &Value| change["seq"].as_u64().unwrap();
    let everything: Vec<u64> = changes.iter().map(seq).collect();
    let is_purchase = |change: &&Value| change["event"]["type"] == "purchase";
    let purchases: Vec<u64> = changes.iter().filter(is_purchase).map(seq).collect();
    assert!(everything.len() > 200 && purchases.len() > 20, "{}", everything.len());
    for (receiver, wanted) in [(&all, &everything), (&some, &purchases)] {
        receiver.wait_for(*wanted.last().unwrap());
        let posts = receiver.posts();
        assert_eq!(assert_resumed(&posts, wanted), *wanted);
        assert!(posts.iter().any(|post| post.fate != Fate::Take), "nothing failed");
        // What was told is what happened, also where it was told before the kill that followed.
        for change in posts.iter().flat_map(Post::changes) {
            assert_eq!(change, changes[usize::try_from(seq(&change)).unwrap() - 1]);
        }
    }
    server.kill().unwrap();
}
