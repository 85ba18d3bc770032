//! One subscriber of the stream of changes over HTTP/1.1: lines as they come, and whether the stream was ended or
//! broken off.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a line may take: a sign of life comes earlier.
const LINE_MAX: Duration = Duration::from_secs(30);

/// A stream that is open.
#[derive(Debug)]
pub struct Subscription {
    /// Status of the answer.
    pub status: u16,
    /// Its headers, in lower case.
    pub head: String,
    reader: BufReader<TcpStream>,
    /// What came and is no whole line yet.
    rest: Vec<u8>,
    ended: bool,
}

impl Subscription {
    /// Asks the server at `address` for `target`; `headers` end with a line break each.
    ///
    /// # Errors
    /// What the system says, and `UnexpectedEof` if the server went away.
    pub fn open(address: &str, target: &str, headers: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LINE_MAX))?;
        write!(stream, "GET {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n")?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok(Self { status, head: head.to_lowercase(), reader, rest: Vec::new(), ended: false })
    }

    /// The next line, which may be empty; `None` once the stream was ended properly.
    ///
    /// # Errors
    /// `UnexpectedEof` if it was broken off, `WouldBlock` if nothing comes.
    pub fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line = String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData)?;
                return Ok(Some(line.trim_end_matches('\n').to_owned()));
            }
            if self.ended {
                return Ok(None);
            }
            self.chunk()?;
        }
    }

    /// All lines that are not empty, to the proper end.
    ///
    /// # Errors
    /// As [`Subscription::line`].
    pub fn rest(mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(line) = self.line()? {
            if !line.is_empty() {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    fn chunk(&mut self) -> io::Result<()> {
        let mut size = String::new();
        if self.reader.read_line(&mut size)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut bytes = vec![0; size + 2];
        self.reader.read_exact(&mut bytes)?;
        bytes.truncate(size);
        self.ended = size == 0;
        self.rest.extend(bytes);
        Ok(())
    }
}
