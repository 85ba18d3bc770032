//! JSON text that is known to be sound: the form in which properties, contexts and trait values travel.
//!
//! It is checked once, at the edge, and carried as text: nothing inside rebuilds a tree of it.

use crate::limits::JSON_MAX_DEPTH;
use bincode::{Decode, Encode};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

/// One JSON value as text: valid, no deeper than [`JSON_MAX_DEPTH`], no key twice in one object,
/// integers within 64 bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Json(Box<str>);

/// Why a text is not accepted as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonFault {
    /// `json_invalid`, `json_too_deep`, `json_duplicate_key` or `json_number_too_large`.
    pub code: &'static str,
    /// One sentence for a person.
    pub message: String,
    /// Where in the value, such as `items[2].name`; empty if it is the value itself.
    pub path: String,
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for JsonFault {}

impl Json {
    /// Checks `text` and takes it.
    ///
    /// # Errors
    /// [`JsonFault`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, JsonFault> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        // serde_json has a limit of 128 of its own; ours is lower and comes first.
        Check { depth: 0, steps: None }
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end())
            .map_err(|error| located(fault(&error), text))?;
        Ok(Self(text.trim().into()))
    }

    /// From a tree, which cannot hold a key twice.
    ///
    /// # Errors
    /// [`JsonFault`] if it is too deep.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, JsonFault> {
        Self::parse(&value.to_string())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tree.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(&self.0).unwrap_or(serde_json::Value::Null)
    }

    /// Whether the value is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.0.starts_with('{')
    }

    /// Whether the value is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }
}

/// The text itself.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const TOO_DEEP: &str = "nested too deeply";
const DUPLICATE: &str = "key given twice: ";
const TOO_LARGE: &str = "number beyond 64 bits";

fn fault(error: &serde_json::Error) -> JsonFault {
    let message = error.to_string();
    let code = if message.starts_with(TOO_DEEP) {
        "json_too_deep"
    } else if message.starts_with(DUPLICATE) {
        "json_duplicate_key"
    } else if message.starts_with(TOO_LARGE) || message.starts_with("number out of range") {
        "json_number_too_large"
    } else {
        "json_invalid"
    };
    JsonFault { code, message, path: String::new() }
}

/// A fault with its place. What is too deep is so as a whole, and the way there is long.
fn located(fault: JsonFault, text: &str) -> JsonFault {
    if fault.code == "json_too_deep" { fault } else { JsonFault { path: path_of_fault(text), ..fault } }
}

/// Where a fault of `text` lies: found by walking it once more, so that sound values do not pay for it.
fn path_of_fault(text: &str) -> String {
    let steps = RefCell::new(Vec::new());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // That it fails is why we are here.
    let _ = Check { depth: 0, steps: Some(&steps) }.deserialize(&mut deserializer);
    let mut path: String = steps.into_inner().into_iter().rev().collect();
    if path.starts_with('.') {
        path.remove(0);
    }
    path
}

/// Walks a value and keeps nothing of it.
#[derive(Clone, Copy)]
struct Check<'s> {
    depth: usize,
    /// The steps to a fault, innermost first, if they are asked for.
    steps: Option<&'s RefCell<Vec<String>>>,
}

impl Check<'_> {
    fn left(self, step: impl FnOnce() -> String) {
        if let Some(steps) = self.steps {
            steps.borrow_mut().push(step());
        }
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= JSON_MAX_DEPTH {
            return Err(E::custom(format_args!("{TOO_DEEP} (more than {JSON_MAX_DEPTH} levels)")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    // serde_json hands an integer that fits neither u64 nor i64 over as f64. Every f64 from 2^53 on is an
    // integer, so nothing with a fraction is caught here.
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        if value.abs() >= 18_446_744_073_709_551_616.0 || value < -9_223_372_036_854_775_808.0 {
            return Err(E::custom(TOO_LARGE));
        }
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut index = 0;
        while items.next_element_seed(inner).inspect_err(|_| self.left(|| format!("[{index}]")))?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut seen = Keys::default();
        while let Some(key) = members.next_key_seed(Key)? {
            let step = self.steps.map(|_| format!(".{key}"));
            if let Err(key) = seen.add(key) {
                self.left(|| format!(".{key}"));
                return Err(A::Error::custom(format_args!("{DUPLICATE}{key}")));
            }
            members.next_value_seed(inner).inspect_err(|_| self.left(|| step.unwrap_or_default()))?;
        }
        Ok(())
    }
}

/// Up to so many keys of one object, comparing all is faster than hashing.
const KEYS_FEW: usize = 16;

/// The keys of one object, each of which may stand there once.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    /// Adds a key; gives it back if it was there.
    fn add(&mut self, key: Cow<'de, str>) -> Result<(), Cow<'de, str>> {
        if self.few.contains(&key) || self.many.contains(&key) {
            return Err(key);
        }
        if self.few.len() < KEYS_FEW {
            self.few.push(key);
        } else {
            self.many.insert(key);
        }
        Ok(())
    }
}

/// A key, borrowed where it holds no escape.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        Json::parse(text).map_or_else(|fault| fault.code, |_| "ok")
    }

    #[test]
    fn a_fault_says_where_it_lies() {
        let path = |text: &str| Json::parse(text).unwrap_err().path;
        assert_eq!(path(r#"{"a":{"b":[0,{"c":1,"c":2}]}}"#), "a.b[1].c");
        assert_eq!(path(r#"[1,[{"c":18446744073709551616}]]"#), "[1][0].c");
        assert_eq!(path(r#"{"a":1,"a":2}"#), "a");
    }

    #[test]
    fn a_key_that_stands_twice_is_found_among_few_and_many_and_however_it_is_written() {
        let object = |keys: usize, again: &str| {
            let members: Vec<String> = (0..keys).map(|key| format!(r#""k{key}":1"#)).collect();
            format!("{{{},\"{again}\":1}}", members.join(","))
        };
        for keys in [1, KEYS_FEW - 1, KEYS_FEW, KEYS_FEW + 1, 3 * KEYS_FEW] {
            assert_eq!(code(&object(keys, "other")), "ok", "{keys}");
            assert_eq!(code(&object(keys, "k0")), "json_duplicate_key", "{keys}");
            assert_eq!(code(&object(keys, &format!("k{}", keys - 1))), "json_duplicate_key", "{keys}");
            assert_eq!(code(&object(keys, r"\u006b0")), "json_duplicate_key", "{keys}");
        }
    }

    #[test]
    fn each_rule_has_its_code() {
        assert_eq!(code(r#" {"a":[1,2.5,"x",null,true],"b":{"a":1}} "#), "ok");
        assert_eq!(code(r#"{"a":1"#), "json_invalid");
        assert_eq!(code(r#"{"a":1} x"#), "json_invalid");
        assert_eq!(code(r#"{"a":1,"a":2}"#), "json_duplicate_key");
        assert_eq!(code("18446744073709551615"), "ok");
        assert_eq!(code("18446744073709551616"), "json_number_too_large");
        assert_eq!(code("-9223372036854775809"), "ok", "rounds to -2^63");
        assert_eq!(code("1e400"), "json_number_too_large");
        assert_eq!(code(&format!("{}{}", "[".repeat(32), "]".repeat(32))), "ok");
        assert_eq!(code(&format!("{}{}", "[".repeat(33), "]".repeat(33))), "json_too_deep");
    }
}
