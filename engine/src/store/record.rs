//! A record of the log: stamp, command as received, decision.
//!
//! ```text
//! +---------+-------+-------------+------------+----------------+---------+----------+
//! | version | flags | received    | entropy    | command length | command | decision |
//! | u8      | u8    | i64, micros | u128, if   | u32            | bytes   | bytes    |
//! |         |       |             | flag 1     |                |         |          |
//! +---------+-------+-------------+------------+----------------+---------+----------+
//! ```
//!
//! All integers are little-endian. A record without a command (length 0) was decided by the engine itself:
//! session ends, a change of the rules. The entropy is there only if an id was drawn from it. With flag 2 the command
//! is an act, else a request.

use super::codec::{decode, encode_into};
use crate::act::Act;
use crate::core::decide::Stamp;
use crate::core::decision::Decision;
use crate::error::Error;
use crate::request::TrackRequest;
use crate::time::Timestamp;
use std::cell::RefCell;
use std::path::Path;

/// The version of records written now.
pub const RECORD_VERSION: u8 = 1;

const HAS_ENTROPY: u8 = 1;
const IS_ACT: u8 = 2;

/// Bytes of a request, as a record holds them.
#[must_use]
pub fn encode_command(request: &TrackRequest) -> Vec<u8> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(4_096));
    }
    // Grown once a thread; what is kept is as long as it must be.
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        encode_into(buffer, request);
        buffer.as_slice().to_vec()
    })
}

/// Bytes of an act, as a record holds them.
#[must_use]
pub fn encode_act(act: &Act) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(&mut out, act);
    out
}

/// What made a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause<'a> {
    /// A request; its bytes.
    Request(&'a [u8]),
    /// A person; the act's bytes.
    Act(&'a [u8]),
    /// The engine itself.
    Engine,
}

/// The bytes of a record, in the three parts of which they are the concatenation: what is before the command, the
/// command, and what is after it. The first and the last are made in `out`, which is cleared first.
#[must_use]
pub fn encode_record<'a>(
    out: &'a mut Vec<u8>,
    stamp: Stamp,
    drew: bool,
    cause: Cause<'a>,
    decision: &Decision,
) -> [&'a [u8]; 3] {
    out.clear();
    out.push(RECORD_VERSION);
    let (command, is_act) = match cause {
        Cause::Request(command) => (command, 0),
        Cause::Act(act) => (act, IS_ACT),
        Cause::Engine => (&[][..], 0),
    };
    out.push(is_act | if drew { HAS_ENTROPY } else { 0 });
    out.extend_from_slice(&stamp.received.0.to_le_bytes());
    if drew {
        out.extend_from_slice(&stamp.entropy.to_le_bytes());
    }
    let length = u32::try_from(command.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    let before = out.len();
    encode_into(out, decision);
    let (before, after) = out.split_at(before);
    [before, command, after]
}

/// A record, parsed as far as its borders.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// The stamp; entropy 0 if none was drawn from.
    pub stamp: Stamp,
    is_act: bool,
    command: &'a [u8],
    decision: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Finds the borders.
    ///
    /// # Errors
    /// [`Error::Damaged`] if `bytes` are no record of a version that is known.
    pub fn parse(bytes: &'a [u8], path: &Path) -> Result<Self, Error> {
        Self::split(bytes).ok_or_else(|| Error::Damaged {
            path: path.to_owned(),
            offset: 0,
            reason: "not a record of a known version".to_owned(),
        })
    }

    fn split(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        let [RECORD_VERSION, flags] = *head else { return None };
        let (received, rest) = rest.split_first_chunk::<8>()?;
        let (entropy, rest) = if flags & HAS_ENTROPY == 0 {
            (0, rest)
        } else {
            let (entropy, rest) = rest.split_first_chunk::<16>()?;
            (u128::from_le_bytes(*entropy), rest)
        };
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (command, decision) = rest.split_at_checked(length)?;
        let received = Timestamp(i64::from_le_bytes(*received));
        let is_act = flags & IS_ACT != 0;
        Some(Self { stamp: Stamp { received, entropy }, is_act, command, decision })
    }

    /// The request; `None` if a person acted, or the engine decided by itself.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn command(&self, path: &Path) -> Result<Option<TrackRequest>, Error> {
        if self.command.is_empty() || self.is_act {
            return Ok(None);
        }
        decode(self.command, path).map(Some)
    }

    /// The act; `None` if a request came, or the engine decided by itself.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn act(&self, path: &Path) -> Result<Option<Act>, Error> {
        if self.is_act { decode(self.command, path).map(Some) } else { Ok(None) }
    }

    /// The decision.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn decision(&self, path: &Path) -> Result<Decision, Error> {
        decode(self.decision, path)
    }
}

/// Sequence numbers that a decision takes.
#[must_use]
pub fn seqs_of(decision: &Decision) -> u32 {
    u32::try_from(decision.effects.iter().filter(|effect| effect.takes_seq()).count()).unwrap_or(u32::MAX)
}
