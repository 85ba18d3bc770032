//! The one place where rows and records become bytes.
//!
//! bincode 2 with variable-length integers. It has no maintainer any more, so nothing outside this file may
//! know of it, and golden files (tests of `record.rs`) hold what it writes. Keys are big-endian, so that
//! their bytes sort as they do.

use crate::core::rows::{
    DeviceKey, GapKey, IdentifierKey, LinkKey, ListKey, NameKey, NameKind, PairKey, RepeatKey, SessionKey,
};
use crate::error::Error;
use crate::ids::{DeviceNo, FragmentNo, IdentifierNo, PartNo, SessionNo};
use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use std::path::Path;
use uuid::Uuid;

/// Largest value that is decoded, in bytes.
const DECODE_MAX_BYTES: usize = 64 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<DECODE_MAX_BYTES>> =
    bincode::config::standard().with_limit::<DECODE_MAX_BYTES>();

/// Appends the bytes of `value`.
pub fn encode_into<T: bincode::Encode>(out: &mut Vec<u8>, value: &T) {
    // Encoding into memory fails only for types that refuse to be encoded, and there are none.
    let encoded = bincode::encode_into_std_write(value, out, CONFIG);
    debug_assert!(encoded.is_ok(), "{encoded:?}");
}

/// The bytes of `value`.
#[must_use]
pub fn encode<T: bincode::Encode>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    encode_into(&mut out, value);
    out
}

/// The value of `bytes`, all of which it must take.
///
/// # Errors
/// [`Error::Damaged`] names the file.
pub fn decode<T: bincode::Decode<()>>(bytes: &[u8], path: &Path) -> Result<T, Error> {
    match bincode::decode_from_slice::<T, _>(bytes, CONFIG) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok(_) => Err(damaged(path, "bytes are left over".to_owned())),
        Err(error) => Err(damaged(path, error.to_string())),
    }
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::Damaged { path: path.to_owned(), offset: 0, reason }
}

/// A key of the index, as bytes that sort as the key does.
pub trait KeyBytes {
    /// Appends the bytes.
    fn write_key(&self, out: &mut Vec<u8>);

    /// The bytes.
    fn key_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        self.write_key(&mut out);
        out
    }
}

macro_rules! number_key {
    ($($name:ty),*) => {$(
        impl KeyBytes for $name {
            fn write_key(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0.to_be_bytes());
            }
        }
    )*};
}
number_key!(SessionNo, PartNo, DeviceNo, FragmentNo, IdentifierNo);

impl KeyBytes for IdentifierKey {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.namespace.0.to_be_bytes());
        out.extend_from_slice(self.value.as_bytes());
    }
}

impl KeyBytes for LinkKey {
    fn write_key(&self, out: &mut Vec<u8>) {
        self.fragment.write_key(out);
        self.identifier.write_key(out);
    }
}

impl KeyBytes for PairKey {
    fn write_key(&self, out: &mut Vec<u8>) {
        self.one.write_key(out);
        self.other.write_key(out);
    }
}

impl KeyBytes for ListKey {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        out.extend_from_slice(&self.of.to_be_bytes());
    }
}

impl KeyBytes for Uuid {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl KeyBytes for Box<str> {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl KeyBytes for NameKey {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        out.extend_from_slice(self.text.as_bytes());
    }
}

impl KeyBytes for (NameKind, u32) {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.push(self.0 as u8);
        out.extend_from_slice(&self.1.to_be_bytes());
    }
}

impl KeyBytes for SessionKey {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.space.0.to_be_bytes());
        out.extend_from_slice(self.id.as_bytes());
    }
}

impl KeyBytes for (SessionNo, FragmentNo) {
    fn write_key(&self, out: &mut Vec<u8>) {
        self.0.write_key(out);
        self.1.write_key(out);
    }
}

impl KeyBytes for DeviceKey {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.source.0.to_be_bytes());
        let length = u16::try_from(self.namespace.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.namespace.as_bytes());
        out.extend_from_slice(self.value.as_bytes());
    }
}

impl KeyBytes for GapKey {
    fn write_key(&self, out: &mut Vec<u8>) {
        self.fragment.write_key(out);
        out.extend_from_slice(&self.source.0.to_be_bytes());
        out.extend_from_slice(&self.day.to_be_bytes());
    }
}

impl RepeatKey {
    /// Scope above, hash below.
    #[must_use]
    pub fn as_u128(self) -> u128 {
        (u128::from(self.scope) << 64) | u128::from(self.hash)
    }
}
