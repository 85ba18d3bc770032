//! The text of a key, `spoor_ID_SECRET`, and the hash by which it is known again.
//!
//! The secret is 32 bytes drawn at random. Its hash is one round of SHA-256 without salt: that is too little for a
//! password, which people choose and others guess, and enough for 256 bits that nobody can guess. So a key costs
//! nothing worth counting on every call.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use subtle::ConstantTimeEq;

/// What every key begins with, so that a person, and a scanner for lost keys, knows it for one of ours.
/// What every key begins with.
pub const PREFIX: &str = "spoor_";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;
const HASH_BYTES: usize = 32;

/// The whole text of a key. Does not show itself in a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Draws the key with this id.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn draw(id: &str) -> io::Result<Self> {
        Ok(Self(format!("{PREFIX}{id}_{}", drawn::<SECRET_BYTES>()?)))
    }

    /// The text, for the one who is to have it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// By which it is known again.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Draws an id.
///
/// # Errors
/// The system has no randomness to give.
pub fn draw_id() -> io::Result<String> {
    drawn::<ID_BYTES>()
}

fn drawn<const N: usize>() -> io::Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(hex(&bytes))
}

/// The id of the key that a text says it is. No proof of anything.
#[must_use]
pub fn claimed_id(text: &str) -> Option<&str> {
    let (id, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
    Some(id)
}

/// What is kept of a key.
#[derive(Clone)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// The hash of a key's whole text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether the two are the same, in a time that does not tell where they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// As 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// From [`Self::to_hex`]; `None` if it is not that.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; HASH_BYTES];
        if text.len() != 2 * HASH_BYTES || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(..)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_id_and_256_bits_that_nobody_else_has() {
        let id = draw_id().unwrap();
        let (one, other) = (Secret::draw(&id).unwrap(), Secret::draw(&id).unwrap());
        assert_eq!(one.text().len(), "spoor_".len() + 12 + 1 + 64);
        assert_eq!(claimed_id(one.text()), Some(id.as_str()));
        assert_ne!(one.text(), other.text());
        assert!(one.hash().is(&Hash::of(one.text())));
        assert!(!one.hash().is(&other.hash()));
        assert_eq!(format!("{one:?}{:?}", one.hash()), "Secret(..)Hash(..)");
        for text in ["", "spoor_", "spoor_1", "sk_1_2"] {
            assert_eq!(claimed_id(text), None, "{text}");
        }
    }

    /// The first test vector of FIPS 180-4: what is in a file must be found again by every later version.
    #[test]
    fn the_hash_is_sha_256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of("abc").to_hex(), expected);
        assert!(Hash::from_hex(expected).unwrap().is(&Hash::of("abc")));
        for text in ["", "ba78", &expected.replace('b', "x"), &expected.replace("ba", "+a")] {
            assert!(Hash::from_hex(text).is_none(), "{text}");
        }
    }
}
