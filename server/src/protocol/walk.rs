//! The ground under the JSON reader: where in the text we are, what went wrong there, and the readers of
//! single values. Knows nothing of what the members mean; `json.rs` does.
//!
//! A reader that fails returns serde's error and nothing else; on the way out each level adds its own
//! name to the path, so a sound request pays nothing for it.

use crate::limits::FIELD_MAX_BYTES;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use spoor::{Json, Rejection, Timestamp};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

/// What one reading has found to be wrong, and where.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Innermost first.
    path: RefCell<Vec<Segment>>,
    /// A rule of ours that was broken; without it the error is serde's.
    fault: RefCell<Option<(&'static str, String)>>,
}

#[derive(Debug)]
enum Segment {
    Member(String),
    Item(usize),
    /// Several steps at once, inside a value that is kept as text.
    Inside(String),
}

impl Walk {
    /// Fails with a code and a sentence of ours.
    pub(crate) fn fail<E: serde::de::Error>(&self, code: &'static str, message: impl Into<String>) -> E {
        *self.fault.borrow_mut() = Some((code, message.into()));
        E::custom("refused")
    }

    /// Reads the value of the member `name`.
    pub(crate) fn member<'de, A, S>(&self, members: &mut A, name: &str, seed: S) -> Result<S::Value, A::Error>
    where
        A: MapAccess<'de>,
        S: DeserializeSeed<'de>,
    {
        members.next_value_seed(seed).inspect_err(|_| self.leave(name))
    }

    /// Reads the item `index` of an array.
    pub(crate) fn item<'de, A, S>(
        &self,
        items: &mut A,
        index: usize,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error>
    where
        A: SeqAccess<'de>,
        S: DeserializeSeed<'de>,
    {
        items.next_element_seed(seed).inspect_err(|_| self.path.borrow_mut().push(Segment::Item(index)))
    }

    /// Adds a name to the path of an error that is on its way out.
    pub(crate) fn leave(&self, name: &str) {
        self.path.borrow_mut().push(Segment::Member(name.to_owned()));
    }

    /// The rejection that `error` stands for.
    pub(crate) fn rejection(&self, error: &serde_json::Error) -> Rejection {
        let field = self.field();
        if let Some((code, message)) = self.fault.borrow_mut().take() {
            return Rejection { code, message, field };
        }
        let message = error.to_string();
        let (code, message) = match error.classify() {
            serde_json::error::Category::Data => ("wrong_type", without_position(&message).to_owned()),
            _ if message.starts_with("number out of range") => ("json_number_too_large", message),
            _ => ("json_invalid", message),
        };
        Rejection { code, message, field }
    }

    fn field(&self) -> Option<String> {
        let mut text = String::new();
        for segment in self.path.borrow().iter().rev() {
            match segment {
                Segment::Member(name) if text.is_empty() => text.push_str(name),
                Segment::Member(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                Segment::Inside(path) => {
                    text.push_str(if text.is_empty() || path.starts_with('[') { "" } else { "." });
                    text.push_str(path);
                }
                Segment::Item(index) => text.push_str(&format!("[{index}]")),
            }
        }
        let end = (0..=FIELD_MAX_BYTES).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        (!text.is_empty()).then_some(text)
    }
}

/// serde_json's position is that of the place it had read up to, which helps only where the syntax is broken.
pub(super) fn without_position(message: &str) -> &str {
    message.rfind(" at line ").and_then(|at| message.get(..at)).unwrap_or(message)
}

/// The names of one object, each of which may stand there once.
#[derive(Debug, Default)]
pub(crate) struct Seen<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

/// Up to here comparing all is faster than hashing.
const FEW: usize = 16;

impl<'de> Seen<'de> {
    /// The next name, if the object has one more; fails if it stood there before.
    pub(crate) fn next<A: MapAccess<'de>>(
        &mut self,
        walk: &Walk,
        members: &mut A,
    ) -> Result<Option<Cow<'de, str>>, A::Error> {
        let Some(name) = members.next_key_seed(Name)? else { return Ok(None) };
        if self.add(name.clone()) {
            return Ok(Some(name));
        }
        walk.leave(&name);
        Err(walk.fail("json_duplicate_key", "this key stands twice in one object"))
    }

    /// Adds a name; false if it was there.
    pub(super) fn add(&mut self, name: Cow<'de, str>) -> bool {
        if self.few.contains(&name) || self.many.contains(&name) {
            return false;
        }
        if self.few.len() < FEW {
            self.few.push(name);
        } else {
            self.many.insert(name);
        }
        true
    }
}

/// The name of a member, borrowed where it holds no escape.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Declares a reader of one value: what it takes, and what `null` stands for, where it is taken.
macro_rules! reader {
    ($(#[$doc:meta])* $name:ident -> $value:ty, $expecting:literal, $(null $null:expr,)? { $($visits:tt)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name<'w>(
            #[allow(dead_code, reason = "all readers are made in one way; some need no more than serde's errors")]
            pub(crate) &'w Walk,
        );

        impl<'de> DeserializeSeed<'de> for $name<'_> {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                deserializer.deserialize_any(self)
            }
        }

        impl<'de> Visitor<'de> for $name<'_> {
            type Value = $value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expecting)
            }

            $(fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok($null)
            })?

            $($visits)*
        }
    };
}

pub(crate) use reader;

reader! {
    /// Text.
    Text -> Option<String>, "text", null None, {
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_owned()))
        }
    }
}

reader! {
    /// True or false; `null` is false.
    Flag -> bool, "true or false", null false, {
        fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
            Ok(value)
        }
    }
}

reader! {
    /// A time.
    Time -> Option<Timestamp>, "a time as text (RFC 3339)", null None, {
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            match Timestamp::parse(text) {
                Some(time) => Ok(Some(time)),
                None => Err(self.0.fail(
                    "time_invalid",
                    "not a time: RFC 3339 between 1970 and 9999 is expected, such as 2026-01-31T09:30:00.250Z",
                )),
            }
        }
    }
}

reader! {
    /// The value of an identifier: text, or an integer, which stands for its digits.
    IdentifierValue -> Option<String>, "text or an integer", null None, {
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_owned()))
        }

        fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
            Ok(Some(value.to_string()))
        }

        fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
            Ok(Some(value.to_string()))
        }

        // An integer that fits no 64 bits arrives as f64, and has lost digits on the way.
        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
            if value.abs() >= 9_223_372_036_854_775_808.0 {
                return Err(self.0.fail("json_number_too_large", "a number beyond 64 bits: send it as text"));
            }
            Err(E::invalid_type(serde::de::Unexpected::Float(value), &self))
        }
    }
}

reader! {
    /// A list of text.
    TextList -> Vec<String>, "a list of text", null Vec::new(), {
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(text) = self.0.item(&mut items, list.len(), Name)? {
                list.push(text.into_owned());
            }
            Ok(list)
        }
    }
}

/// Any JSON value, checked and kept as text; `null` is kept.
#[derive(Clone, Copy)]
pub(crate) struct AnyJson<'w>(pub(crate) &'w Walk);

impl<'de> DeserializeSeed<'de> for AnyJson<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
        Json::parse(raw.get()).map_err(|fault| {
            if !fault.path.is_empty() {
                self.0.path.borrow_mut().push(Segment::Inside(fault.path));
            }
            self.0.fail(fault.code, without_position(&fault.message))
        })
    }
}

/// A JSON object, checked and kept as text.
#[derive(Clone, Copy)]
pub(crate) struct JsonObject<'w>(pub(crate) &'w Walk);

impl<'de> DeserializeSeed<'de> for JsonObject<'_> {
    type Value = Option<Json>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let json = AnyJson(self.0).deserialize(deserializer)?;
        match json {
            json if json.is_null() => Ok(None),
            json if json.is_object() => Ok(Some(json)),
            _ => Err(self.0.fail("not_an_object", "must be a JSON object")),
        }
    }
}
