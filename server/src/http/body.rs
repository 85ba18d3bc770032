//! Bodies: from a connection into memory, within time and size, and out of their compression.
//!
//! Knows nothing of what a body says. All bodies together are bounded by a [`Budget`]: whoever would exceed it is
//! told *overloaded*, instead of the process being killed for its memory.

use super::errors::Problem;
use super::intake::Form;
use crate::limits::ZSTD_WINDOW_MAX_BYTES;
use crate::protocol::compact::MEDIA_TYPE;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Bytes};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 alone, since clients send both under this name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// What `Content-Encoding` says. A client may name several that do nothing, and one that does.
    ///
    /// # Errors
    /// `encoding_unsupported`.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut found = Self::Identity;
        for value in headers.get_all(CONTENT_ENCODING) {
            for name in value.to_str().unwrap_or("?").split(',') {
                let encoding = match name.trim().to_ascii_lowercase().as_str() {
                    "" | "identity" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    "br" => Self::Brotli,
                    "zstd" => Self::Zstd,
                    _ => return Err(unsupported()),
                };
                if found != Self::Identity {
                    return Err(unsupported());
                }
                found = encoding;
            }
        }
        Ok(found)
    }
}

fn unsupported() -> Problem {
    Problem::new("encoding_unsupported", "Content-Encoding may be one of gzip, deflate, br, zstd, identity")
}

/// The form in which a body says that it is. `text/plain` is what `sendBeacon` can send unasked, and holds JSON.
///
/// # Errors
/// `media_type_unsupported`.
pub fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    match media_type(headers).to_ascii_lowercase().as_str() {
        "" | JSON | "text/plain" => Ok(Form::Json),
        MEDIA_TYPE => Ok(Form::Compact),
        _ => Err(Problem::new(
            "media_type_unsupported",
            format!("Content-Type must be application/json, text/plain or {MEDIA_TYPE}"),
        )),
    }
}

/// Refuses a stream that says to be something else than the compact form, or to be compressed.
///
/// # Errors
/// `media_type_unsupported`, `encoding_unsupported`.
pub fn check_is_stream(headers: &HeaderMap) -> Result<(), Problem> {
    if !media_type(headers).eq_ignore_ascii_case(MEDIA_TYPE) {
        return Err(Problem::new("media_type_unsupported", format!("Content-Type must be {MEDIA_TYPE}")));
    }
    if Encoding::of(headers)? != Encoding::Identity {
        return Err(Problem::new("encoding_unsupported", "a stream is not compressed"));
    }
    Ok(())
}

/// Refuses a body that does not say to be JSON: what any page in a browser on this machine may send unasked says
/// something else or nothing, and a page is not to decide who is who.
///
/// # Errors
/// `media_type_unsupported`.
pub fn check_is_json(headers: &HeaderMap) -> Result<(), Problem> {
    if media_type(headers).eq_ignore_ascii_case(JSON) {
        return Ok(());
    }
    Err(Problem::new("media_type_unsupported", "Content-Type must be application/json"))
}

/// Refuses a body that says to be something else than JSON or text: what a tracker sends beside its events.
///
/// # Errors
/// `media_type_unsupported`.
pub fn check_is_text(headers: &HeaderMap) -> Result<(), Problem> {
    match form(headers) {
        Ok(Form::Json) => Ok(()),
        _ => {
            let message = "Content-Type must be application/json or text/plain";
            Err(Problem::new("media_type_unsupported", message))
        }
    }
}

const JSON: &str = "application/json";

fn media_type(headers: &HeaderMap) -> &str {
    let Some(value) = headers.get(CONTENT_TYPE) else { return "" };
    value.to_str().unwrap_or("?").split(';').next().unwrap_or_default().trim()
}

/// The memory that all bodies share.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Semaphore>);

/// Bodies are counted in pieces of this, in bytes.
const PIECE_BYTES: usize = 1 << 10;

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / PIECE_BYTES).min(Semaphore::MAX_PERMITS))))
    }

    /// A share of nothing, to be grown.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { budget: self.clone(), pieces: 0, permit: None }
    }
}

/// What one request has of the budget; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    pieces: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Takes `bytes` more.
    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        let permit = self.budget.0.clone().try_acquire_many_owned(pieces).map_err(|_| {
            Problem::new("overloaded", "too many large bodies at once; nothing was written, try again")
        })?;
        match &mut self.permit {
            Some(all) => all.merge(permit),
            None => self.permit = Some(permit),
        }
        self.pieces += pieces as usize;
        Ok(())
    }

    /// Makes the share hold at least `bytes`.
    pub(super) fn reach(&mut self, bytes: usize) -> Result<(), Problem> {
        let held = self.pieces * PIECE_BYTES;
        if bytes > held { self.grow(bytes - held) } else { Ok(()) }
    }
}

/// Reads a body of at most `most` bytes within `timeout`.
///
/// # Errors
/// `body_too_large`, `body_timeout`, `body_incomplete`, `overloaded`.
pub async fn read<B>(body: B, most: usize, timeout: Duration, share: &mut Share) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > most as u64 {
        return Err(too_large(most));
    }
    tokio::time::timeout(timeout, collect(body, most, share)).await.unwrap_or_else(|_| {
        Err(Problem::new(
            "body_timeout",
            format!("the body did not arrive within {} ms", timeout.as_millis()),
        ))
    })
}

async fn collect<B>(mut body: B, most: usize, share: &mut Share) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut all: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Problem::new("body_incomplete", "the body ended before its time"));
        };
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len() + all.len() + data.len();
        if length > most {
            return Err(too_large(most));
        }
        share.reach(length)?;
        // Most bodies come in one piece, which then is not copied.
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            // What is still to come is what the client says: believed up to a bound.
            let to_come = usize::try_from(body.size_hint().lower()).unwrap_or(MOVED_MAX_BYTES);
            all.reserve(length + to_come.min(MOVED_MAX_BYTES));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

fn too_large(most: usize) -> Problem {
    Problem::new("body_too_large", format!("the body is larger than {most} bytes"))
}

/// Takes a body out of its compression, up to `most` bytes.
///
/// A body that begins like gzip is taken for gzip even if nothing says so: no JSON begins like that, and there are
/// clients that cannot set the header.
///
/// # Errors
/// `encoding_invalid`, `body_too_large`, `overloaded`.
pub fn decompress(body: Bytes, encoding: Encoding, most: usize, share: &mut Share) -> Result<Bytes, Problem> {
    let bytes = &*body;
    match encoding {
        Encoding::Identity if !bytes.starts_with(&[0x1f, 0x8b]) => {
            if bytes.len() > most {
                Err(too_large(most))
            } else {
                Ok(body)
            }
        }
        Encoding::Identity | Encoding::Gzip => inflate(flate2::read::MultiGzDecoder::new(bytes), most, share),
        Encoding::Deflate if is_zlib(bytes) => inflate(flate2::read::ZlibDecoder::new(bytes), most, share),
        Encoding::Deflate => inflate(flate2::read::DeflateDecoder::new(bytes), most, share),
        Encoding::Brotli => inflate(brotli_decompressor::Decompressor::new(bytes, 4_096), most, share),
        Encoding::Zstd => {
            let decoder =
                ruzstd::decoding::StreamingDecoder::new_with_max_window_size(bytes, ZSTD_WINDOW_MAX_BYTES)
                    .map_err(|_| invalid())?;
            inflate(decoder, most, share)
        }
    }
}

/// RFC 1950, 2.2: method 8, and the first two bytes as a number divide by 31.
fn is_zlib(bytes: &[u8]) -> bool {
    match bytes {
        [first, second, ..] => first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31),
        _ => false,
    }
}

/// Grown by as much at a time, in bytes.
const STEP_BYTES: usize = 64 << 10;
/// A body beyond this, in bytes, gets room for the largest at once. Room that is not written to costs no memory, and
/// a body that is moved each time it has doubled is in memory two and three times.
const MOVED_MAX_BYTES: usize = 1 << 20;

fn inflate(mut decoder: impl Read, most: usize, share: &mut Share) -> Result<Bytes, Problem> {
    let mut out = Vec::new();
    loop {
        share.grow(STEP_BYTES)?;
        let next = out.len() + STEP_BYTES;
        if next > out.capacity() && next > MOVED_MAX_BYTES {
            out.reserve_exact(most + 2 * STEP_BYTES - out.len());
        }
        let read = (&mut decoder).take(STEP_BYTES as u64).read_to_end(&mut out).map_err(|_| invalid())?;
        if out.len() > most {
            return Err(too_large(most));
        }
        if read == 0 {
            return Ok(out.into());
        }
    }
}

fn invalid() -> Problem {
    Problem::new("encoding_invalid", "the body is not what its Content-Encoding says, or is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::{Frame, SizeHint};
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A body that arrives in these pieces, and says how much is to come.
    struct Pieces(VecDeque<Bytes>, u64);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }

        fn size_hint(&self) -> SizeHint {
            let mut hint = SizeHint::new();
            hint.set_lower(self.1);
            hint
        }
    }

    fn collected(pieces: &[&'static [u8]], to_come: u64, most: usize) -> Result<Bytes, Problem> {
        let body = Pieces(pieces.iter().map(|piece| Bytes::from_static(piece)).collect(), to_come);
        let mut share = Budget::new(1 << 20).share();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(collect(body, most, &mut share))
    }

    #[test]
    fn a_body_in_pieces_is_the_pieces_in_their_order() {
        for to_come in [0, 4, u64::MAX] {
            assert_eq!(collected(&[], to_come, 9).unwrap(), "");
            assert_eq!(collected(&[b"abc"], to_come, 9).unwrap(), "abc");
            assert_eq!(collected(&[b"abc", b"de", b"f"], to_come, 6).unwrap(), "abcdef");
            assert_eq!(collected(&[b"", b"ab", b"", b"c"], to_come, 9).unwrap(), "abc");
            assert_eq!(
                collected(&[b"abc", b"de", b"f"], to_come, 5).unwrap_err().body.code,
                "body_too_large"
            );
        }
    }
}
