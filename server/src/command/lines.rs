//! Lines of a file or of standard input, plain or gzip, none longer than a bound. Knows no JSON.

use crate::limits::LINE_MAX_BYTES;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Read from the system at once, in bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// A line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// Its bytes.
    Whole(&'a [u8]),
    /// It is longer than [`LINE_MAX_BYTES`]; what follows it is read all the same.
    TooLong,
}

/// The lines one after another.
pub struct Lines {
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
    position: Arc<AtomicU64>,
    total: Option<u64>,
    most: usize,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Counts what is read, before it is decompressed.
struct Counted<R> {
    inner: R,
    position: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.position.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Lines {
    /// Of a file, or of standard input if `path` is `-`.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Self::new(io::stdin(), None);
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        // A pipe with a name has no length either.
        let total = metadata.is_file().then_some(metadata.len());
        Self::new(file, total)
    }

    /// Of anything; `total` is its length in bytes, for the progress.
    ///
    /// # Errors
    /// What reading says.
    pub fn new(inner: impl Read + 'static, total: Option<u64>) -> io::Result<Self> {
        let position = Arc::new(AtomicU64::new(0));
        let counted = Counted { inner, position: Arc::clone(&position) };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, counted);
        let reader: Box<dyn BufRead> = if reader.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(reader)))
        } else {
            Box::new(reader)
        };
        Ok(Self { reader, line: Vec::new(), number: 0, position, total, most: LINE_MAX_BYTES })
    }

    /// Bytes read so far, as they are on disk.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Bytes in all, if known.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The next line and its number, from 1; `None` at the end.
    ///
    /// # Errors
    /// What reading says, such as that a gzip file is cut off.
    pub fn next_line(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        self.line.clear();
        let most = self.most as u64 + 1;
        let read = (&mut self.reader).take(most).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let ended = self.line.ends_with(b"\n");
        if !ended && self.line.len() > self.most {
            self.reader.skip_until(b'\n')?;
            return Ok(Some((self.number, Line::TooLong)));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some((self.number, Line::Whole(line.strip_suffix(b"\r").unwrap_or(line)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn all(mut lines: Lines) -> Vec<(u64, String)> {
        let mut out = Vec::new();
        while let Some((number, line)) = lines.next_line().unwrap() {
            let text = match line {
                Line::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Line::TooLong => "too long".to_owned(),
            };
            out.push((number, text));
        }
        out
    }

    fn expected(lines: &[&str]) -> Vec<(u64, String)> {
        (1..).zip(lines.iter().map(|&line| line.to_owned())).collect()
    }

    #[test]
    fn lines_end_as_they_end() {
        let read = |text: &'static [u8]| all(Lines::new(text, None).unwrap());
        assert_eq!(read(b"a\r\n\nb"), expected(&["a", "", "b"]));
        assert_eq!(read(b"a\n"), expected(&["a"]));
        assert_eq!(read(b""), expected(&[]));
    }

    #[test]
    fn a_long_line_does_not_hide_the_next() {
        let mut lines = Lines::new(&b"12345\n123456\n1234567\n12345"[..], None).unwrap();
        lines.most = 5;
        assert_eq!(all(lines), expected(&["12345", "too long", "too long", "12345"]));
    }

    #[test]
    fn gzip_is_found_by_its_first_bytes() {
        let member = |text: &str| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let file = [member("a\nb"), member("c\nd")].concat();
        let length = file.len() as u64;
        let mut lines = Lines::new(io::Cursor::new(file.clone()), Some(length)).unwrap();
        assert_eq!(lines.next_line().unwrap(), Some((1, Line::Whole(b"a"))));
        assert_eq!(lines.position(), length);
        assert_eq!(all(lines), [(2, "bc".to_owned()), (3, "d".to_owned())]);
        let cut = file[..file.len() - 5].to_vec();
        let mut lines = Lines::new(io::Cursor::new(cut), None).unwrap();
        let mut outcome = Ok(true);
        while outcome.as_ref().is_ok_and(|more| *more) {
            outcome = lines.next_line().map(|line| line.is_some());
        }
        assert!(outcome.is_err(), "a file that is cut off is no end");
    }
}
