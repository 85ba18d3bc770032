//! Where one frame ends and the next begins: in a body that is whole, and in one that is still coming. Knows nothing of
//! what is in a frame.
//!
//! A frame is a byte that says of what kind it is, its length as a varint, and so many bytes: one field of a message
//! that never needs to end.

use super::super::json::Body;
use super::wire::{BINARY_INVALID, varint};
use super::{ALONE, ITEM, read};
use hyper::body::Bytes;
use spoor::Rejection;
use spoor::limits::ARRAY_MAX_REQUESTS;

/// Where the payload of the frame at the beginning of `bytes` lies; `None` if its head is not whole yet.
fn head(bytes: &[u8]) -> Result<Option<(u8, usize, u64)>, Rejection> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    if !matches!(*kind, ITEM | ALONE) {
        return Err(broken(format!("a frame begins with {kind:#04x}, which is no kind of frame")));
    }
    let length = varint(rest).map_err(Rejection::from)?;
    Ok(length.map(|(length, taken)| (*kind, 1 + taken, length)))
}

fn broken(message: impl Into<String>) -> Rejection {
    Rejection { code: BINARY_INVALID, message: message.into(), field: None }
}

fn numbered(mut rejection: Rejection, index: usize) -> Rejection {
    rejection.message = format!("frame {index}: {}", rejection.message);
    rejection
}

/// What a whole body holds, before anybody looked into it.
#[derive(Debug, PartialEq, Eq)]
pub enum Payloads<'a> {
    /// One request that stands alone.
    One(&'a [u8]),
    /// A list, of at most [`ARRAY_MAX_REQUESTS`]. Read one by one, since a few bytes of a request become many in memory.
    Many(Vec<&'a [u8]>),
}

/// Takes a whole body apart.
///
/// # Errors
/// `binary_invalid` if its frames cannot be told apart, `array_too_long`.
pub fn payloads(bytes: &[u8]) -> Result<Payloads<'_>, Rejection> {
    let frames = split(bytes)?;
    if let [(ALONE, payload)] = frames.as_slice() {
        return Ok(Payloads::One(payload));
    }
    match frames.iter().position(|(kind, _)| *kind == ALONE) {
        Some(index) => Err(numbered(broken("a request that stands alone, among others"), index)),
        None => Ok(Payloads::Many(frames.into_iter().map(|(_, payload)| payload).collect())),
    }
}

/// Reads a whole body: one request that stands alone, or a list of them.
///
/// # Errors
/// [`Rejection`] if nothing in it can be accepted: its frames cannot be told apart, it is one request that breaks a
/// rule, or the list is too long.
pub fn body(bytes: &[u8]) -> Result<Body, Rejection> {
    Ok(match payloads(bytes)? {
        Payloads::One(payload) => Body::One(Box::new(read::request(payload)?)),
        Payloads::Many(payloads) => Body::Many(payloads.into_iter().map(read::request).collect()),
    })
}

fn split(mut bytes: &[u8]) -> Result<Vec<(u8, &[u8])>, Rejection> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let index = frames.len();
        let Some((kind, at, length)) = head(bytes).map_err(|fault| numbered(fault, index))? else {
            return Err(numbered(broken("the body ends within its length"), index));
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let parts = bytes.get(at..).and_then(|rest| rest.split_at_checked(length));
        let Some((payload, rest)) = parts else {
            return Err(numbered(broken("it is longer than the body"), index));
        };
        if index == ARRAY_MAX_REQUESTS {
            let message = format!("at most {ARRAY_MAX_REQUESTS} requests are accepted in one array");
            return Err(Rejection { code: "array_too_long", message, field: None });
        }
        frames.push((kind, payload));
        bytes = rest;
    }
    Ok(frames)
}

/// The frames of a stream, from the pieces in which it comes.
#[derive(Debug)]
pub struct Frames {
    most: usize,
    /// What came and belongs to no frame yet.
    piece: Bytes,
    /// The beginning of a frame that did not end with its piece; empty where there is none.
    begun: Vec<u8>,
}

impl Frames {
    /// Takes frames of payloads of at most `most` bytes.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { most, piece: Bytes::new(), begun: Vec::new() }
    }

    /// Adds the next piece, once [`Frames::take`] has said that it needs more.
    pub fn add(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    /// Whether a frame has begun and not ended.
    #[must_use]
    pub fn is_within(&self) -> bool {
        !self.begun.is_empty() || !self.piece.is_empty()
    }

    /// How many bytes of memory the frame that has begun needs, as far as that is known.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.begun.capacity()
    }

    /// The payload of the next frame; `None` if more must come first. A frame that came in one piece is not copied.
    ///
    /// # Errors
    /// `binary_invalid`, `body_too_large`: nothing after it can be read.
    pub fn take(&mut self) -> Result<Option<Bytes>, Rejection> {
        if self.begun.is_empty() {
            let Some((at, end)) = self.bounds(&self.piece)? else {
                self.begun.extend_from_slice(&std::mem::take(&mut self.piece));
                return Ok(None);
            };
            if end <= self.piece.len() {
                return Ok(Some(self.piece.split_to(end).slice(at..)));
            }
            self.begun.extend_from_slice(&std::mem::take(&mut self.piece));
            return Ok(None);
        }
        self.continued()
    }

    fn continued(&mut self) -> Result<Option<Bytes>, Rejection> {
        // The head may be parted too: it is taken byte by byte, which are few.
        let (at, end) = loop {
            if let Some(bounds) = self.bounds(&self.begun)? {
                break bounds;
            }
            if self.piece.is_empty() {
                return Ok(None);
            }
            self.begun.extend_from_slice(&self.piece.split_to(1));
        };
        let missing = end.saturating_sub(self.begun.len()).min(self.piece.len());
        self.begun.extend_from_slice(&self.piece.split_to(missing));
        if self.begun.len() < end {
            return Ok(None);
        }
        Ok(Some(Bytes::from(std::mem::take(&mut self.begun)).slice(at..)))
    }

    /// Where the payload of the first frame begins and ends; `None` if its head is not whole yet.
    fn bounds(&self, bytes: &[u8]) -> Result<Option<(usize, usize)>, Rejection> {
        let Some((kind, at, length)) = head(bytes)? else { return Ok(None) };
        if kind != ITEM {
            return Err(broken("a stream is of items: frames that begin with 0x0a"));
        }
        match usize::try_from(length) {
            Ok(length) if length <= self.most => Ok(Some((at, at + length))),
            _ => Err(Rejection {
                code: "body_too_large",
                message: format!("the frame is larger than {} bytes", self.most),
                field: None,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut bytes = vec![ITEM];
        // A length may be written longer than it needs to be.
        bytes.extend(if length % 2 == 0 { vec![length | 0x80, 0] } else { vec![length] });
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn frames_are_the_same_however_they_are_cut() {
        let payloads: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; usize::from(n) * 3]).collect();
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload)).collect();
        for size in [1, 2, 3, 7, 50, 1_000, bytes.len()] {
            let mut frames = Frames::new(1_000);
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                frames.add(Bytes::copy_from_slice(piece));
                while let Some(payload) = frames.take().unwrap() {
                    found.push(payload.to_vec());
                }
            }
            assert_eq!(found, payloads, "pieces of {size}");
            assert!(!frames.is_within());
        }
    }

    #[test]
    fn what_cannot_be_told_apart_is_named() {
        let code = |bytes: &[u8]| {
            body(bytes).map_or_else(|fault| format!("{}: {}", fault.code, fault.message), |_| "ok".into())
        };
        assert_eq!(code(&[]), "ok");
        assert_eq!(code(&[ITEM, 0]), "ok");
        assert!(code(&[ITEM, 0, 0x22]).starts_with("binary_invalid: frame 1: a frame begins with 0x22"));
        assert!(code(&[ITEM, 5, 1]).starts_with("binary_invalid: frame 0: it is longer"));
        assert!(code(&[ITEM]).starts_with("binary_invalid: frame 0: the body ends"));
        assert!(code(&[ITEM, 0, ALONE, 0]).starts_with("binary_invalid: frame 1"));
        let many = [ITEM, 0].repeat(ARRAY_MAX_REQUESTS);
        assert_eq!(code(&many), "ok");
        assert!(code(&[many, vec![ITEM, 0]].concat()).starts_with("array_too_long"));
        let mut frames = Frames::new(2);
        frames.add(Bytes::from_static(&[ITEM, 3]));
        assert_eq!(frames.take().unwrap_err().code, "body_too_large");
    }
}
