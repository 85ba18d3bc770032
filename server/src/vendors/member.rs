//! Single members of messages, as libraries write them. Knows nothing of what they mean.

use crate::limits::FIELD_MAX_BYTES;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use spoor::{Json, JsonFault, Rejection, Timestamp};

/// A member as it stands in the message; `None` if it is absent or `null`.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// Reads a whole message, or an object in it.
///
/// # Errors
/// `json_invalid`, `json_duplicate_key`, `wrong_type`.
pub(super) fn message<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Rejection> {
    // A derived reader takes a list for an object, member by member, and names our types where it ends too early.
    if !text.trim_start().starts_with('{') {
        value_of::<IgnoredAny>(text)?;
        let message = "this is an object".to_owned();
        return Err(Rejection { code: "wrong_type", message, field: None });
    }
    value_of(text)
}

/// Reads any JSON, as far as `T` looks into it.
///
/// # Errors
/// As [`message`].
pub(super) fn value_of<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Rejection> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let code = match error.classify() {
            serde_json::error::Category::Data if message.starts_with("duplicate field") => {
                "json_duplicate_key"
            }
            serde_json::error::Category::Data => "wrong_type",
            _ => "json_invalid",
        };
        Rejection { code, message, field: None }
    })
}

/// The items of a list.
///
/// # Errors
/// `wrong_type`.
pub(super) fn list<'a>(raw: Raw<'a>, field: &str) -> Result<Option<Vec<&'a RawValue>>, Rejection> {
    let Some(raw) = raw else { return Ok(None) };
    let items = serde_json::from_str(raw.get());
    items.map(Some).map_err(|_| Rejection::new("wrong_type", field, "this is a list"))
}

/// `true` or `false`.
///
/// # Errors
/// `wrong_type`.
pub(super) fn flag(raw: Raw<'_>, field: &str) -> Result<Option<bool>, Rejection> {
    match raw.map(RawValue::get) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Rejection::new("wrong_type", field, "this is true or false")),
    }
}

/// Text without the blanks around it; an integer stands for its digits. Nothing but blanks is absent.
///
/// # Errors
/// `wrong_type`.
pub(super) fn text(raw: Raw<'_>, field: &str) -> Result<Option<String>, Rejection> {
    let Some(raw) = raw else { return Ok(None) };
    let wrong =
        || Rejection::new("wrong_type", field, "this is text, or an integer that stands for its digits");
    if is_integer(raw.get()) {
        return Ok(Some(raw.get().to_owned()));
    }
    let text: String = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A time. Without a zone it is taken for UTC, as libraries of languages whose times have none mean it.
///
/// # Errors
/// `wrong_type`, `time_invalid`.
pub(super) fn time(raw: Raw<'_>, field: &str) -> Result<Option<Timestamp>, Rejection> {
    let Some(text) = text(raw, field)? else { return Ok(None) };
    match Timestamp::parse(&text).or_else(|| Timestamp::parse(&format!("{text}Z"))) {
        Some(time) => Ok(Some(time)),
        None => Err(Rejection::new("time_invalid", field, "not a time: RFC 3339 between 1970 and 9999")),
    }
}

/// An object. An empty list stands for an empty one: PHP cannot tell them apart.
///
/// # Errors
/// `not_an_object`, and what is wrong with JSON that is not sound.
pub(super) fn object(raw: Raw<'_>, field: &str) -> Result<Option<Json>, Rejection> {
    let Some(raw) = raw else { return Ok(None) };
    let json = sound(raw.get(), field)?;
    if json.is_object() {
        return Ok(Some(json));
    }
    let is_empty_list = json.as_str().strip_prefix('[').is_some_and(|rest| rest.trim_start() == "]");
    if is_empty_list { Ok(None) } else { Err(Rejection::new("not_an_object", field, "this is an object")) }
}

/// Any value.
fn sound(text: &str, field: &str) -> Result<Json, Rejection> {
    Json::parse(text).map_err(|JsonFault { code, message, path }| {
        let joint = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        Rejection::new(code, bounded(format!("{field}{joint}{path}")), message)
    })
}

/// Names and values of an object that is known to be one.
pub(super) fn members(object: &Json) -> serde_json::Map<String, serde_json::Value> {
    match object.to_value() {
        serde_json::Value::Object(members) => members,
        _ => serde_json::Map::new(),
    }
}

/// A value of an object that was sound, as JSON again.
///
/// # Errors
/// As for JSON that is not sound; there is no reason for it to be.
pub(super) fn value(value: &serde_json::Value, field: &str) -> Result<Json, Rejection> {
    sound(&value.to_string(), field)
}

/// What is wrong with a part of a message, told of the whole.
pub(super) fn within(fault: Rejection, field: &str) -> Rejection {
    let field = fault.field.map_or_else(|| field.to_owned(), |inner| format!("{field}.{inner}"));
    Rejection { field: Some(bounded(field)), ..fault }
}

/// A field of bounded length: names in it come from the sender.
pub(super) fn bounded(mut field: String) -> String {
    let end = (0..=FIELD_MAX_BYTES).rev().find(|end| field.is_char_boundary(*end));
    field.truncate(end.unwrap_or_default());
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn ids_are_text_or_integers() {
        for (sent, expected) in [
            ("\" u-1 \"", Ok(Some("u-1"))),
            ("1001", Ok(Some("1001"))),
            ("-1", Ok(Some("-1"))),
            ("\"\"", Ok(None)),
            ("\" \\n\"", Ok(None)),
            ("1.5", Err("wrong_type")),
            ("true", Err("wrong_type")),
            ("[\"a\"]", Err("wrong_type")),
            ("\"\\ud800\"", Err("wrong_type")),
        ] {
            let found = text(Some(&raw(sent)), "userId").map_err(|rejection| rejection.code);
            assert_eq!(found, expected.map(|text| text.map(str::to_owned)), "{sent}");
        }
        assert_eq!(text(None, "userId").unwrap(), None);
    }

    #[test]
    fn a_message_is_an_object_and_nobody_is_told_what_we_call_it() {
        #[derive(Debug, Deserialize)]
        struct Ours<'a> {
            #[serde(borrow)]
            a: Raw<'a>,
        }
        for (sent, expected) in [
            ("{\"a\":1}", "1"),
            (" {}", "-"),
            ("[]", "wrong_type"),
            ("[1]", "wrong_type"),
            ("[1,2]", "wrong_type"),
            ("7", "wrong_type"),
            ("null", "wrong_type"),
            ("[1", "json_invalid"),
            ("{\"a\":1,\"a\":1}", "json_duplicate_key"),
            ("", "json_invalid"),
        ] {
            let found = match message::<Ours<'_>>(sent) {
                Ok(ours) => ours.a.map_or("-", RawValue::get).to_owned(),
                Err(rejection) => {
                    assert!(!rejection.message.contains("Ours"), "{}", rejection.message);
                    rejection.code.to_owned()
                }
            };
            assert_eq!(found, expected, "{sent}");
        }
    }

    #[test]
    fn lists_and_flags_are_what_they_should_be() {
        for (sent, items, says) in [
            ("[1, {}]", Some(2), None),
            ("[]", Some(0), None),
            ("{}", None, None),
            ("\"a\"", None, None),
            ("true", None, Some(true)),
            ("false", None, Some(false)),
            ("\"no\"", None, None),
            ("0", None, None),
        ] {
            let raw = raw(sent);
            let found = list(Some(&raw), "batch").ok().flatten().map(|items| items.len());
            assert_eq!(found, items, "{sent}");
            assert_eq!(flag(Some(&raw), "options.a").ok().flatten(), says, "{sent}");
        }
        assert_eq!((list(None, "batch").unwrap().is_none(), flag(None, "a").unwrap()), (true, None));
    }

    #[test]
    fn a_time_without_a_zone_is_utc() {
        for (sent, expected) in [
            ("\"2026-01-31T09:30:00.250Z\"", Ok("2026-01-31T09:30:00.250Z")),
            ("\"2026-01-31T09:30:00.250123\"", Ok("2026-01-31T09:30:00.250Z")),
            ("\"2026-01-31T09:30:00.250+01:00\"", Ok("2026-01-31T08:30:00.250Z")),
            ("1769851800000", Err("time_invalid")),
            ("\"yesterday\"", Err("time_invalid")),
        ] {
            let found = time(Some(&raw(sent)), "timestamp").map_err(|rejection| rejection.code);
            assert_eq!(found.map(|time| time.unwrap().to_string()), expected.map(str::to_owned), "{sent}");
        }
    }

    #[test]
    fn an_object_is_sound_or_named() {
        for (sent, expected) in [
            ("{\"a\":1}", "{\"a\":1}"),
            ("[ ]", "-"),
            ("[1]", "not_an_object properties"),
            ("\"a\"", "not_an_object properties"),
            ("{\"a\":{\"b\":1,\"b\":2}}", "json_duplicate_key properties.a.b"),
            ("{\"a\":[1e999]}", "json_number_too_large properties.a[0]"),
        ] {
            let found = match object(Some(&raw(sent)), "properties") {
                Ok(json) => json.map_or("-".to_owned(), |json| json.to_string()),
                Err(rejection) => format!("{} {}", rejection.code, rejection.field.unwrap()),
            };
            assert_eq!(found, expected, "{sent}");
        }
    }

    #[test]
    fn a_field_is_cut_between_characters() {
        assert_eq!(bounded("ä".repeat(FIELD_MAX_BYTES)).len(), FIELD_MAX_BYTES);
        assert_eq!(bounded("a".to_owned()), "a");
    }
}
