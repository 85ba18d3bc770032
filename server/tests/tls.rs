//! Encrypted connections: who is let in, what files are refused at the start, a certificate replaced while the server
//! runs, and the commands that talk to such a server.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod process;

use process::Served;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use spoor_server::http::{ServeError, Server, serve};
use spoor_server::settings::{Configuration, TlsSettings};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An authority of the test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for a server of this machine, and its key, both as PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// What a client speaks with that trusts it.
    fn client(&self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

/// Both files of a server, in a directory.
fn files(dir: &Path, (certificate, key): &(String, String)) -> TlsSettings {
    let files = TlsSettings { certificate: dir.join("cert.pem"), key: dir.join("key.pem") };
    std::fs::write(&files.certificate, certificate).unwrap();
    std::fs::write(&files.key, key).unwrap();
    files
}

fn configuration(dir: &Path, tls: TlsSettings) -> Configuration {
    let mut configuration = Configuration::default();
    configuration.server.listen = "127.0.0.1:0".parse().unwrap();
    configuration.server.tls = Some(tls);
    configuration.data_dir = dir.join("data");
    configuration
}

fn started(dir: &Path, authority: &Authority) -> Server {
    serve(&configuration(dir, files(dir, &authority.issue()))).unwrap()
}

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

/// A connection on which the handshake is done.
fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<Encrypted> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// One request over HTTP/1.1; the answer as text.
fn ask(mut stream: Encrypted, method: &str, target: &str, body: &str) -> String {
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const TRACK: &str = r#"{"session":"s-1","events":[{"id":"m-1","type":"page-view"}]}"#;

#[test]
fn a_server_with_a_certificate_speaks_tls_only() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = started(dir.path(), &authority);
    let at = server.address();
    for protocols in [&[][..], &[&b"http/1.1"[..]]] {
        let stream = connect(at, authority.client(protocols)).unwrap();
        assert!(ask(stream, "GET", "/readyz", "").starts_with("HTTP/1.1 200 "));
    }
    let stream = connect(at, authority.client(&[])).unwrap();
    let answer = ask(stream, "POST", "/api/v1/track", TRACK);
    assert!(answer.contains(r#""status":"stored""#), "{answer}");
    // What browser libraries are told to call is encrypted too.
    let stream = connect(at, authority.client(&[])).unwrap();
    let answer = ask(stream, "GET", "/v1/projects/default/settings", "");
    assert!(answer.contains(r#""protocol":"https""#), "{answer}");

    // Whoever does not trust the authority does not speak.
    let refused = connect(at, Authority::new().client(&[])).unwrap_err();
    assert!(refused.to_string().contains("invalid peer certificate"), "{refused}");
    // Nothing is answered without encryption, and nothing of it spoils the server.
    let mut plain = TcpStream::connect(at).unwrap();
    plain.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let stream = connect(at, authority.client(&[])).unwrap();
    assert!(ask(stream, "GET", "/api/v1/sessions/s-1", "").starts_with("HTTP/1.1 200 "));
    server.shutdown().unwrap();
}

#[test]
fn http_2_is_agreed_upon_in_the_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = started(dir.path(), &authority);
    let client = authority.client(&[b"h2", b"http/1.1"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let status = runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(client).connect(name, tcp).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let executor = hyper_util::rt::TokioExecutor::new();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::post("https://localhost/api/v1/track")
            .header("content-type", "application/json")
            .body(http_body_util::Full::new(hyper::body::Bytes::from(TRACK)));
        sender.send_request(request.unwrap()).await.unwrap().status()
    });
    assert_eq!(status, 200);
    server.shutdown().unwrap();
}

#[test]
fn a_handshake_that_hangs_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let mut configuration = configuration(dir.path(), files(dir.path(), &authority.issue()));
    configuration.server.headers_timeout_ms = 200;
    configuration.server.connections = 2;
    let server = serve(&configuration).unwrap();
    // Nothing, and the beginning of a greeting: both take a place, until they are given up.
    let begun = Instant::now();
    let mut hanging = [&b""[..], &[0x16, 0x03, 0x01, 0x01]].map(|bytes| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    });
    let stream = connect(server.address(), authority.client(&[])).unwrap();
    assert!(ask(stream, "GET", "/healthz", "").starts_with("HTTP/1.1 200 "));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    for stream in &mut hanging {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        match stream.read(&mut [0; 8]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    }
    // One that hangs when the server stops is not waited for.
    let _hanging = TcpStream::connect(server.address()).unwrap();
    server.shutdown().unwrap();
}

#[test]
fn files_that_are_not_what_they_should_be_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.issue();
    let (_, other) = authority.issue();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (cert, key, other) =
        (file("cert.pem", &certificate), file("key.pem", &key), file("other.pem", &other));
    let (none, empty) = (dir.path().join("none.pem"), file("empty.pem", ""));
    let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let refused = |certificate: &PathBuf, key: &PathBuf| {
        let tls = TlsSettings { certificate: certificate.clone(), key: key.clone() };
        match serve(&configuration(dir.path(), tls)).unwrap_err() {
            ServeError::Settings(error) => error.to_string(),
            other => panic!("{other}"),
        }
    };
    for (certificate, of_key, setting, named, reason) in [
        (&none, &key, "certificate", "none.pem", "No such file"),
        (&empty, &key, "certificate", "empty.pem", "there is no certificate in it"),
        (&key, &key, "certificate", "key.pem", "there is no certificate in it"),
        (&broken, &key, "certificate", "broken.pem", "invalid peer certificate"),
        (&cert, &none, "key", "none.pem", "No such file"),
        (&cert, &cert, "key", "cert.pem", "there is no private key in it"),
        (&cert, &other, "key", "other.pem", "it is not the key of"),
    ] {
        let said = refused(certificate, of_key);
        assert!(said.starts_with(&format!("settings: server.tls.{setting}: ")), "{said}");
        assert!(said.contains(named) && said.contains(reason), "{said}");
    }
    assert!(!dir.path().join("data/log").exists(), "nothing was opened");
}

fn spoor(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spoor")).arg("--data").arg(data).args(arguments).output().unwrap()
}

/// Where the server of `data` listens, as its commands know it.
fn address(data: &Path) -> SocketAddr {
    let text = std::fs::read(data.join("server.json")).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["address"].as_str().unwrap().parse().unwrap()
}

fn is_trusted(data: &Path, authority: &Authority) -> bool {
    connect(address(data), authority.client(&[])).is_ok()
}

#[test]
fn a_certificate_is_replaced_while_the_server_runs_and_commands_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (first, second) = (Authority::new(), Authority::new());
    let tls = files(dir.path(), &first.issue());
    let environment = [
        ("SPOOR_SERVER_TLS_CERTIFICATE", tls.certificate.as_path()),
        ("SPOOR_SERVER_TLS_KEY", tls.key.as_path()),
    ];
    let mut served = Served::start_with(&data, "127.0.0.1:0", &environment);
    let lines = dir.path().join("lines");
    std::fs::write(&lines, format!("{TRACK}\n")).unwrap();
    let imported = spoor(&data, &["import", lines.to_str().unwrap()]);
    assert_eq!(imported.status.code(), Some(0), "{}", String::from_utf8_lossy(&imported.stderr));
    assert!(is_trusted(&data, &first) && !is_trusted(&data, &second));

    std::fs::write(&tls.certificate, "half a file").unwrap();
    served.signal("-HUP");
    let said = served.line();
    assert!(said.contains("the old one is shown") && said.contains("cert.pem"), "{said}");
    assert!(is_trusted(&data, &first));

    files(dir.path(), &second.issue());
    served.signal("-HUP");
    assert!(served.line().contains("read anew"));
    assert!(is_trusted(&data, &second) && !is_trusted(&data, &first));
    let checked = spoor(&data, &["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));

    // Another certificate than the one that the file names is not taken.
    let file = data.join("server.json");
    let mut told: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    told["certificate"] = json!("00".repeat(32));
    std::fs::write(&file, told.to_string()).unwrap();
    let refused = spoor(&data, &["check"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("the server cannot be reached") && said.contains("certificate"), "{said}");
    served.stop();
}
