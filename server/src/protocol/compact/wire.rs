//! The ground under the compact form: numbers, fields and their faults. Knows nothing of what fields mean; `read.rs`
//! and `write.rs` do.
//!
//! The form is that of Protocol Buffers (protobuf.dev, "Encoding"), of which three of the wire types are enough. Reading
//! is total: each step either takes bytes or fails, nothing recurses, and a length is compared with what is there
//! before anything is taken.

use crate::limits::FIELD_MAX_BYTES;
use spoor::Rejection;

/// Why bytes were not read, with the path of the member at fault, innermost first.
#[derive(Debug)]
pub(super) struct Fault {
    code: &'static str,
    message: String,
    path: Vec<Segment>,
}

#[derive(Debug)]
enum Segment {
    Member(String),
    Item(usize),
}

/// What reading gives. The fault is boxed, since sound requests should not pay for its size.
pub(super) type Read<T> = Result<T, Box<Fault>>;

/// A fault without a path.
pub(super) fn fault<T>(code: &'static str, message: impl Into<String>) -> Read<T> {
    Err(Box::new(Fault { code, message: message.into(), path: Vec::new() }))
}

/// The code for bytes of which nobody can tell where things begin and end.
pub(super) const BINARY_INVALID: &str = "binary_invalid";

/// A fault of the form itself.
pub(super) fn broken<T>(message: &'static str) -> Read<T> {
    fault(BINARY_INVALID, message)
}

/// Adds names to the path of a fault on its way out.
pub(super) trait Within {
    /// Inside the member `name`.
    fn within(self, name: &str) -> Self;
    /// Inside the item `index` of the member `name`.
    fn within_item(self, name: &str, index: usize) -> Self;
}

impl<T> Within for Read<T> {
    fn within(self, name: &str) -> Self {
        self.map_err(|mut fault| {
            fault.path.push(Segment::Member(name.to_owned()));
            fault
        })
    }

    fn within_item(self, name: &str, index: usize) -> Self {
        self.map_err(|mut fault| {
            fault.path.extend([Segment::Item(index), Segment::Member(name.to_owned())]);
            fault
        })
    }
}

impl From<Box<Fault>> for Rejection {
    fn from(fault: Box<Fault>) -> Self {
        let mut field = String::new();
        for segment in fault.path.iter().rev() {
            match segment {
                Segment::Member(name) => {
                    field.push_str(if field.is_empty() { "" } else { "." });
                    field.push_str(name);
                }
                Segment::Item(index) => field.push_str(&format!("[{index}]")),
            }
        }
        let end = (0..=FIELD_MAX_BYTES).rev().find(|end| field.is_char_boundary(*end));
        field.truncate(end.unwrap_or_default());
        Self { code: fault.code, message: fault.message, field: (!field.is_empty()).then_some(field) }
    }
}

/// A number of 7 bits a byte, lowest first; the highest bit of a byte says that another follows. `None` if the bytes
/// end in it.
///
/// # Errors
/// `binary_invalid` if it is beyond 64 bits.
pub(super) fn varint(bytes: &[u8]) -> Read<Option<(u64, usize)>> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return broken("a number beyond 64 bits");
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 10 { broken("a number beyond 64 bits") } else { Ok(None) }
}

/// The fields of one message, in the order in which they stand.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    value: Value<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of four or eight bytes: of no member that is known.
    Fixed,
}

impl<'a> Fields<'a> {
    pub(super) const fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Read<Option<Field<'a>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.number()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return broken("a field of a wire type that is not used here"),
        };
        if tag >> 3 == 0 {
            return broken("a field with the number 0");
        }
        Ok(Some(Field { number: tag >> 3, value }))
    }

    fn number(&mut self) -> Read<u64> {
        let Some((value, length)) = varint(self.rest)? else {
            return broken("the message ends within a number");
        };
        self.rest = self.rest.get(length..).unwrap_or_default();
        Ok(value)
    }

    fn take(&mut self, length: u64) -> Read<&'a [u8]> {
        let taken = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let Some((taken, rest)) = taken else { return broken("a field is longer than its message") };
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Field<'a> {
    /// Its bytes.
    pub(super) fn bytes(&self) -> Read<&'a [u8]> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => fault("wrong_type", "bytes were expected, with their length before them"),
        }
    }

    /// Its text, not copied.
    pub(super) fn text(&self) -> Read<&'a str> {
        std::str::from_utf8(self.bytes()?).or_else(|error| {
            fault(
                "utf8_invalid",
                format!("the text is not UTF-8: byte {} begins no character", error.valid_up_to()),
            )
        })
    }

    /// Its number.
    pub(super) fn number_value(&self) -> Read<u64> {
        match self.value {
            Value::Number(number) => Ok(number),
            _ => fault("wrong_type", "a number was expected"),
        }
    }

    /// A UUID of 16 bytes, in its usual form.
    pub(super) fn uuid(&self) -> Read<String> {
        match <[u8; 16]>::try_from(self.bytes()?) {
            Ok(bytes) => Ok(uuid::Uuid::from_bytes(bytes).to_string()),
            Err(_) => fault("wrong_type", "a UUID is 16 bytes"),
        }
    }
}

/// Which members of a message have been read: each may stand there once, since other readers would take the last.
#[derive(Debug, Default)]
pub(super) struct Once(u32);

impl Once {
    /// Marks the member `number`, of at most 31.
    pub(super) fn mark(&mut self, number: u32, name: &str) -> Read<()> {
        let bit = 1_u32.checked_shl(number).unwrap_or_default();
        if self.0 & bit != 0 {
            return fault("json_duplicate_key", "this member stands twice in one message").within(name);
        }
        self.0 |= bit;
        Ok(())
    }
}

/// Writes the fields of one message.
#[derive(Debug)]
pub(super) struct Message<'a>(&'a mut Vec<u8>);

impl<'a> Message<'a> {
    /// Appends to `out`.
    pub(super) const fn to(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(low_bits(value) | 0x80);
            value >>= 7;
        }
        self.0.push(low_bits(value));
    }

    /// A number; 0 is what is read where nothing stands, and is left out.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(value);
        }
    }

    /// Text, also where it is empty.
    pub(super) fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// Text, where there is some.
    pub(super) fn some_text(&mut self, field: u32, text: Option<&str>) {
        if let Some(text) = text {
            self.text(field, text);
        }
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// An id: as 16 bytes in the field after `field` if it is a UUID in its usual form, else as text in `field`.
    pub(super) fn id(&mut self, field: u32, id: &str) {
        match canonical_uuid(id) {
            Some(uuid) => self.bytes(field + 1, uuid.as_bytes()),
            None => self.text(field, id),
        }
    }

    /// A message in a message.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Message<'_>)) {
        self.varint(u64::from(field) << 3 | 2);
        // Nearly all are shorter than 128 bytes, whose length is one byte; others are moved by what is missing.
        let at = self.0.len();
        self.0.push(0);
        write(&mut Message(self.0));
        let length = (self.0.len() - at - 1) as u64;
        if length < 0x80 {
            if let Some(byte) = self.0.get_mut(at) {
                *byte = low_bits(length);
            }
            return;
        }
        let mut bytes = Vec::with_capacity(10);
        Message(&mut bytes).varint(length);
        self.0.splice(at..=at, bytes);
    }
}

const fn low_bits(value: u64) -> u8 {
    (value & 0x7f) as u8
}

/// The UUID that a text is, if it is written in the one way in which it would be written again: 36 characters, small
/// letters.
fn canonical_uuid(text: &str) -> Option<uuid::Uuid> {
    let small = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    (text.len() == 36 && text.bytes().all(small)).then(|| uuid::Uuid::try_parse(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, 1 << 35, u64::MAX] {
            let mut bytes = Vec::new();
            Message(&mut bytes).varint(value);
            assert_eq!(varint(&bytes).unwrap(), Some((value, bytes.len())));
            assert_eq!(varint(&bytes[..bytes.len() - 1]).unwrap(), None);
        }
        assert!(varint(&[0xff; 10]).is_err());
        assert!(varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]).is_err());
    }

    #[test]
    fn only_a_uuid_that_is_written_as_we_write_it_is_packed() {
        assert!(canonical_uuid("0190a3c4-5b6d-7e8f-9a0b-1c2d3e4f5061").is_some());
        for text in [
            "0190A3C4-5B6D-7E8F-9A0B-1C2D3E4F5061",
            "0190a3c45b6d7e8f9a0b1c2d3e4f5061",
            "{0190a3c4-5b6d-7e8f-9a0b-1c2d3e4f50}",
            "0190a3c4-5b6d-7e8f-9a0b-1c2d3e4f506-",
            "------------------------------------",
        ] {
            assert!(canonical_uuid(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_long_message_in_a_message_has_its_length() {
        let mut bytes = Vec::new();
        Message(&mut bytes).message(1, |inner| inner.message(2, |inner| inner.text(3, &"x".repeat(300))));
        let outer = Fields::of(&bytes).next().unwrap().unwrap();
        let inner = Fields::of(outer.bytes().unwrap()).next().unwrap().unwrap();
        let text = Fields::of(inner.bytes().unwrap()).next().unwrap().unwrap();
        assert_eq!((outer.number, inner.number, text.number), (1, 2, 3));
        assert_eq!(text.text().unwrap().len(), 300);
    }
}
