//! An endless request over HTTP/1.1: chunks out, chunks in, on one connection.

use super::connection::{Head, authorization, connect, line, refused};
use super::decode::{Answer, first_answer, odd};
use super::{MEDIA_TYPE, encode};
use spoor::TrackRequest;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;

/// Requests are gathered up to this before they are sent, in bytes; [`Sender::flush`] sends them at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Opens a stream to `address`, such as `127.0.0.1:8420`.
///
/// The server takes no more than it can answer: a sender waits in [`Sender::send`] until the receiver has read. So the
/// two are for two threads, unless fewer requests are sent than are ever on their way.
///
/// # Errors
/// What the system says.
pub fn stream(address: &str) -> io::Result<(Sender, Receiver)> {
    start(address, "")
}

/// [`stream`], to a server where a key is needed.
///
/// # Errors
/// What the system says; `InvalidInput` if the text is no key.
pub fn stream_with_key(address: &str, key: &str) -> io::Result<(Sender, Receiver)> {
    start(address, &authorization(key)?)
}

fn start(address: &str, authorization: &str) -> io::Result<(Sender, Receiver)> {
    let mut connection = connect(address)?;
    write!(
        connection,
        "POST /api/v1/stream HTTP/1.1\r\nhost: {address}\r\n{authorization}content-type: {MEDIA_TYPE}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    )?;
    let reader = BufReader::new(connection.try_clone()?);
    Ok((
        Sender { connection, gathered: Vec::new() },
        Receiver { reader, begun: false, over: false, bytes: Vec::new(), read_to: 0 },
    ))
}

/// The half that sends.
#[derive(Debug)]
pub struct Sender {
    connection: TcpStream,
    gathered: Vec<u8>,
}

impl Sender {
    /// Sends a request, soon: [`Sender::flush`] says at once.
    ///
    /// # Errors
    /// What the system says; the receiver may still get answers, and the end that says why.
    pub fn send(&mut self, request: &TrackRequest) -> io::Result<()> {
        encode::item(&mut self.gathered, request);
        if self.gathered.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    /// Sends what was gathered.
    ///
    /// # Errors
    /// What the system says.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let mut chunk = format!("{:x}\r\n", self.gathered.len()).into_bytes();
        chunk.append(&mut self.gathered);
        chunk.extend_from_slice(b"\r\n");
        self.connection.write_all(&chunk)
    }

    /// Says that this was all. The receiver gets the answers that are still to come, and then `None`.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.connection.write_all(b"0\r\n\r\n")
    }
}

/// The half that receives.
#[derive(Debug)]
pub struct Receiver {
    reader: BufReader<TcpStream>,
    begun: bool,
    over: bool,
    /// Of answers that have come; the first of them from `read_to` on.
    bytes: Vec<u8>,
    read_to: usize,
}

impl Receiver {
    /// The next answer; `None` at the end.
    ///
    /// # Errors
    /// What the system says; `ConnectionRefused` with code and message if the server takes no stream.
    pub fn receive(&mut self) -> io::Result<Option<Answer>> {
        loop {
            let unread = self.bytes.get(self.read_to..).unwrap_or_default();
            match first_answer(unread)? {
                Some((answer, taken)) => {
                    self.read_to += taken;
                    if answer.is_some() {
                        return Ok(answer);
                    }
                }
                None if self.over && unread.is_empty() => return Ok(None),
                None if self.over => return Err(odd("the answers end within one")),
                None => self.read_chunk()?,
            }
        }
    }

    fn read_chunk(&mut self) -> io::Result<()> {
        if !self.begun {
            self.read_head()?;
            self.begun = true;
        }
        let size = line(&mut self.reader)?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| odd("a chunk without a size"))?;
        self.bytes.drain(..self.read_to);
        self.read_to = 0;
        let before = self.bytes.len();
        (&mut self.reader).take(size as u64).read_to_end(&mut self.bytes)?;
        if self.bytes.len() - before < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.over = size == 0;
        line(&mut self.reader).map(drop)
    }

    fn read_head(&mut self) -> io::Result<()> {
        let head = Head::read(&mut self.reader)?;
        if head.status == 200 {
            return Ok(());
        }
        let mut body = vec![0; head.length.unwrap_or_default()];
        self.reader.read_exact(&mut body)?;
        let refused = refused(head.status, &body)?;
        let message = format!("{} {}: {}", refused.status, refused.error.code, refused.error.message);
        Err(io::Error::new(io::ErrorKind::ConnectionRefused, message))
    }
}
