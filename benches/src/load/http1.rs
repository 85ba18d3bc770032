//! HTTP/1.1 with keep-alive, as little of it as a client of our own server needs: on the same two cores as the
//! server, what the client spends is missing in the figures. Answers must say their length.

use super::protocol::{Answered, Protocol};
use crate::Fault;
use spoor::TrackRequest;
use std::io::Write as _;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest head of an answer, in bytes.
const HEAD_MAX_BYTES: usize = 16 << 10;
/// Longest body of an answer, in bytes.
const BODY_MAX_BYTES: usize = 64 << 20;

/// One connection; one request at a time.
#[derive(Debug)]
pub struct Http1 {
    stream: TcpStream,
    protocol: Protocol,
    host: String,
    body: Vec<u8>,
    out: Vec<u8>,
    read: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: usize,
    /// Where the body begins.
    end: usize,
}

impl Head {
    /// Length of the answer with its body.
    const fn whole(&self) -> usize {
        self.end + self.length
    }
}

impl Http1 {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub async fn connect(address: SocketAddr, protocol: Protocol) -> Result<Self, Fault> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let host = address.to_string();
        Ok(Self { stream, protocol, host, body: Vec::new(), out: Vec::new(), read: Vec::new() })
    }

    /// Sends items and waits for what they came to.
    ///
    /// # Errors
    /// If the connection breaks, or the answer makes no sense.
    pub async fn send(&mut self, items: &[TrackRequest]) -> Result<Answered, Fault> {
        self.protocol.write(items, &mut self.body)?;
        self.out.clear();
        write!(
            self.out,
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
            self.protocol.path(),
            self.host,
            self.protocol.media_type(),
            self.body.len()
        )?;
        self.out.extend_from_slice(&self.body);
        let head = self.exchange().await?;
        let answered = self.protocol.read(head.status, self.answer(&head), items.len())?;
        self.read.drain(..head.whole());
        Ok(answered)
    }

    /// Asks for `path`, which is written as it goes over the wire. Returns the status, and hands the body to `look`.
    ///
    /// # Errors
    /// If the connection breaks, or `look` fails.
    pub async fn get<T>(
        &mut self,
        path: &str,
        look: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<(u16, T), Fault> {
        self.out.clear();
        write!(self.out, "GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.host)?;
        let head = self.exchange().await?;
        let found = look(self.answer(&head))?;
        self.read.drain(..head.whole());
        Ok((head.status, found))
    }

    /// Sends what is in `out`, and waits until the answer is whole.
    async fn exchange(&mut self) -> Result<Head, Fault> {
        self.stream.write_all(&self.out).await?;
        let head = self.head().await?;
        while self.read.len() < head.whole() {
            self.more().await?;
        }
        Ok(head)
    }

    fn answer(&self, head: &Head) -> &[u8] {
        self.read.get(head.end..head.whole()).unwrap_or_default()
    }

    async fn head(&mut self) -> Result<Head, Fault> {
        loop {
            if let Some(head) = head(&self.read)? {
                return Ok(head);
            }
            if self.read.len() > HEAD_MAX_BYTES {
                return Err("the head of an answer has no end".into());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Fault> {
        self.read.reserve(16 << 10);
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}

/// The head, once it is whole.
fn head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let Some(blank) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(bytes.get(..blank).unwrap_or_default())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or("no status")?.parse()?;
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse()?);
        }
    }
    let length = length.ok_or("an answer does not say its length")?;
    if length > BODY_MAX_BYTES {
        return Err(format!("an answer of {length} bytes").into());
    }
    Ok(Some(Head { status, length, end: blank + 4 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\ndate: x\r\n\r\nbody";
        assert_eq!(head(text).unwrap(), Some(Head { status: 503, length: 12, end: text.len() - 4 }));
        assert_eq!(head(&text[..40]).unwrap(), None);
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").is_err());
    }
}
