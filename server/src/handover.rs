//! Tokens by which a device hands itself over to another site: what stands in one, and that it is good once, for a
//! minute. Knows no request and no store; time is an input.
//!
//! ```text
//! +---------+----------+----------------------------------------------+
//! | version | nonce    | sealed                                       |
//! | u8      | 24 bytes | profile id: 16 bytes, end: u64; tag: 16 bytes |
//! +---------+----------+----------------------------------------------+
//! ```
//!
//! in base64 for addresses. A token travels in an address, and addresses end up in logs and histories: so it is not only
//! signed but sealed (XChaCha20-Poly1305), and whoever reads one does not learn the device's id, which is all that is
//! needed to track as that device.
//!
//! 1. The key is drawn for each run of the server. So a token of an earlier run is void, and what was used need be
//!    known in memory only, for as long as the token would be good: it is good once, across a restart too.
//! 2. The end is counted in milliseconds of this run, so that a clock that is set does not matter.
//! 3. A token is used up before anything is done with it. If that then fails, it is used up all the same.

use crate::limits::{HANDOVER_LIFETIME_MS, HANDOVERS_MAX_USED};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const ID_BYTES: usize = 16;
const END_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
const TOKEN_BYTES: usize = 1 + NONCE_BYTES + ID_BYTES + END_BYTES + TAG_BYTES;

type Nonce = [u8; NONCE_BYTES];

/// Gives tokens, and takes each back once.
pub struct Tokens {
    cipher: XChaCha20Poly1305,
    /// The end and the nonce of each token that was used and would be good still.
    used: Mutex<BTreeSet<(u64, Nonce)>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(..)")
    }
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is no token.
    Malformed,
    /// It was not given by this run of the server: made up, changed, or older.
    Invalid,
    /// Its minute is over.
    Expired,
    /// It was used before.
    Used,
    /// So many are remembered as used that no more can be. It is not used up.
    Full,
}

impl Tokens {
    /// With a key of its own.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new() -> io::Result<Self> {
        let cipher = XChaCha20Poly1305::new(&drawn::<KEY_BYTES>()?.into());
        Ok(Self { cipher, used: Mutex::default() })
    }

    /// A token for the device with this id, good from `now_ms` on. Remembers nothing.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn give(&self, profile: Uuid, now_ms: u64) -> io::Result<String> {
        let nonce: Nonce = drawn()?;
        let end_ms = now_ms.saturating_add(HANDOVER_LIFETIME_MS);
        let open = [profile.as_bytes().as_slice(), &end_ms.to_le_bytes()].concat();
        let payload = Payload { msg: &open, aad: &[VERSION] };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(io::Error::other)?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode([&[VERSION], nonce.as_slice(), &sealed].concat()))
    }

    /// Uses up a token; returns the id of the device that it is for. The time that this takes does not tell where a
    /// token that is made up differs from a good one.
    ///
    /// # Errors
    /// [`Fault`]; only [`Fault::Full`] may be another thing later.
    pub fn spend(&self, token: &str, now_ms: u64) -> Result<Uuid, Fault> {
        let (nonce, sealed) = split(token).ok_or(Fault::Malformed)?;
        let payload = Payload { msg: &sealed, aad: &[VERSION] };
        let open = self.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| Fault::Invalid)?;
        let (id, end) = open.split_first_chunk::<ID_BYTES>().ok_or(Fault::Invalid)?;
        let end_ms = u64::from_le_bytes(*end.first_chunk::<END_BYTES>().ok_or(Fault::Invalid)?);
        if now_ms >= end_ms {
            return Err(Fault::Expired);
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // Those whose end has come are told by it.
        *used = used.split_off(&(now_ms.saturating_add(1), [0; NONCE_BYTES]));
        if used.contains(&(end_ms, nonce)) {
            return Err(Fault::Used);
        }
        if used.len() >= HANDOVERS_MAX_USED {
            return Err(Fault::Full);
        }
        used.insert((end_ms, nonce));
        Ok(Uuid::from_bytes(*id))
    }
}

/// Nonce and sealed part of a token; `None` if it is none.
fn split(token: &str) -> Option<(Nonce, Vec<u8>)> {
    // A longer text is not read.
    if token.len() > TOKEN_BYTES.div_ceil(3) * 4 {
        return None;
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
    (*version == VERSION && bytes.len() == TOKEN_BYTES).then(|| (*nonce, sealed.to_vec()))
}

fn drawn<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

    #[test]
    fn a_token_is_good_once_and_for_a_minute() {
        let tokens = Tokens::new().unwrap();
        let (one, other) = (tokens.give(ID, 5).unwrap(), tokens.give(ID, 5).unwrap());
        assert_ne!(one, other);
        assert_eq!(tokens.spend(&one, 5), Ok(ID));
        assert_eq!(tokens.spend(&one, 5), Err(Fault::Used));
        let end = 5 + HANDOVER_LIFETIME_MS;
        assert_eq!(tokens.spend(&one, end - 1), Err(Fault::Used));
        assert_eq!(tokens.spend(&one, end), Err(Fault::Expired));
        assert_eq!(tokens.spend(&other, end), Err(Fault::Expired));
        assert_eq!(tokens.spend(&other, end - 1), Ok(ID));
    }

    #[test]
    fn what_is_used_is_forgotten_with_its_end_and_bounded_until_then() {
        let tokens = Tokens::new().unwrap();
        for _ in 0..HANDOVERS_MAX_USED {
            assert_eq!(tokens.spend(&tokens.give(ID, 0).unwrap(), 0), Ok(ID));
        }
        let late = tokens.give(ID, HANDOVER_LIFETIME_MS - 1).unwrap();
        assert_eq!(tokens.spend(&late, HANDOVER_LIFETIME_MS - 1), Err(Fault::Full));
        assert_eq!(tokens.spend(&late, HANDOVER_LIFETIME_MS), Ok(ID));
        assert_eq!(tokens.used.lock().unwrap().len(), 1);
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        let tokens = Tokens::new().unwrap();
        let token = tokens.give(ID, 0).unwrap();
        for text in [
            "",
            "a",
            "é",
            "AAAA",
            &token[1..],
            &format!("{token}A"),
            &format!("{token}="),
            &"A".repeat(1_000),
        ] {
            assert_eq!(tokens.spend(text, 0), Err(Fault::Malformed), "{text}");
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert_eq!(bytes.len(), TOKEN_BYTES);
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let fault = if bit < 8 { Fault::Malformed } else { Fault::Invalid };
            assert_eq!(tokens.spend(&BASE64_URL_SAFE_NO_PAD.encode(changed), 0), Err(fault), "bit {bit}");
        }
        // Of another run, whose key is another.
        assert_eq!(Tokens::new().unwrap().spend(&token, 0), Err(Fault::Invalid));
        assert_eq!(tokens.spend(&token, 0), Ok(ID));
    }

    /// An address is read by many.
    #[test]
    fn it_does_not_show_the_id() {
        let tokens = Tokens::new().unwrap();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(tokens.give(ID, 0).unwrap()).unwrap();
        assert!(bytes.windows(6).all(|part| !ID.as_bytes().windows(6).any(|of_id| of_id == part)));
    }
}
