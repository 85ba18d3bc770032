//! One client of the server over HTTP/1.1, on a connection that is kept: no more than load and crash tests need.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A connection that is open.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
    address: String,
}

impl Connection {
    /// Connects to `address`, such as `127.0.0.1:8420`.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self { reader: BufReader::new(stream), address: address.to_owned() })
    }

    /// Sends a request and waits for the status and the body of its answer.
    ///
    /// # Errors
    /// What the system says, and `UnexpectedEof` if the server went away: the request may have been done or not.
    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.reader.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let status =
            status.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| odd(&status))?;
        let mut length = None;
        loop {
            let line = self.line()?.to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
        }
        let mut body = vec![0; length.ok_or_else(|| odd("an answer without a length"))?];
        self.reader.read_exact(&mut body)?;
        Ok((status, String::from_utf8(body).map_err(|_| odd("an answer that is no text"))?))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
