//! One request, one answer, on a connection that is kept.

use super::MEDIA_TYPE;
use super::decode::{Answer, AnswerError, Reply, answers, odd};
use super::encode;
use spoor::{Origin, TrackRequest};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What the server said instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// The error.
    pub error: AnswerError,
}

/// A connection that is open. After an error of the system's it is of no use any more, and what was asked may have been
/// done or not.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
    address: String,
    /// A header, or nothing.
    authorization: String,
}

impl Connection {
    /// Connects to `address`, such as `127.0.0.1:8420`.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(address: &str) -> io::Result<Self> {
        Self::start(address, String::new())
    }

    /// Connects to a server where a key is needed.
    ///
    /// # Errors
    /// What the system says; `InvalidInput` if the text is no key.
    pub fn open_with_key(address: &str, key: &str) -> io::Result<Self> {
        Self::start(address, authorization(key)?)
    }

    fn start(address: &str, authorization: String) -> io::Result<Self> {
        Ok(Self { reader: BufReader::new(connect(address)?), address: address.to_owned(), authorization })
    }

    /// Stores one request; durable and visible when this returns.
    ///
    /// # Errors
    /// What the system says; `InvalidData` if the server does not speak this form. Inside, what the server refuses.
    pub fn track(&mut self, request: &TrackRequest) -> io::Result<Result<Reply, Refused>> {
        let mut body = Vec::new();
        encode::alone(&mut body, request);
        let answers = self.exchange(request.origin, &body)?;
        Ok(match answers {
            Err(refused) => Err(refused),
            Ok(answers) => match <[Answer; 1]>::try_from(answers) {
                Ok([Answer::Reply(reply)]) => Ok(reply),
                _ => return Err(odd("one reply was expected")),
            },
        })
    }

    /// Stores a list of requests, all of the origin of the first; one answer to each.
    ///
    /// # Errors
    /// As [`Connection::track`].
    pub fn track_many(&mut self, requests: &[TrackRequest]) -> io::Result<Result<Vec<Answer>, Refused>> {
        let mut body = Vec::new();
        for request in requests {
            encode::item(&mut body, request);
        }
        let origin = requests.first().map(|request| request.origin).unwrap_or_default();
        self.exchange(origin, &body)
    }

    fn exchange(&mut self, origin: Origin, body: &[u8]) -> io::Result<Result<Vec<Answer>, Refused>> {
        let query = if origin == Origin::Import { "?origin=import" } else { "" };
        let head = format!(
            "POST /api/v1/track{query} HTTP/1.1\r\nhost: {}\r\n{}content-type: {MEDIA_TYPE}\r\n\
             content-length: {}\r\n\r\n",
            self.address,
            self.authorization,
            body.len()
        );
        self.reader.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let head = Head::read(&mut self.reader)?;
        let mut body = vec![0; head.length.ok_or_else(|| odd("an answer without a length"))?];
        self.reader.read_exact(&mut body)?;
        if head.status == 200 {
            return Ok(Ok(answers(&body)?));
        }
        Ok(Err(refused(head.status, &body)?))
    }
}

/// The header that shows a key.
pub(crate) fn authorization(key: &str) -> io::Result<String> {
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no key"));
    }
    Ok(format!("authorization: Bearer {key}\r\n"))
}

pub(crate) fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(stream)
}

/// On the level of HTTP errors are JSON, whatever was sent.
pub(crate) fn refused(status: u16, body: &[u8]) -> io::Result<Refused> {
    let body: serde_json::Value = serde_json::from_slice(body)?;
    let text = |name: &str| body.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let error = AnswerError {
        code: text("code").ok_or_else(|| odd("an error without a code"))?,
        message: text("message").unwrap_or_default(),
        field: text("field"),
        retry_after_ms: body.get("retry_after_ms").and_then(serde_json::Value::as_u64),
    };
    Ok(Refused { status, error })
}

/// What an answer's head says.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Of a body that is not in chunks.
    pub(crate) length: Option<usize>,
}

impl Head {
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Self> {
        let first = line(reader)?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut head = Self { status: status.ok_or_else(|| odd(&first))?, length: None };
        loop {
            let line = line(reader)?.to_ascii_lowercase();
            if line.is_empty() {
                return Ok(head);
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                head.length = value.trim().parse().ok();
            }
        }
    }
}

/// A line of a head, or that before a chunk.
pub(crate) fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
