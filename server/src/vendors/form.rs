//! Bodies by what they hold, not by what their headers say: JSON arrives as `text/plain`, as form data, and as a form's
//! member in base64. Knows nothing of what a message means.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use spoor::Rejection;
use std::borrow::Cow;

/// The member of a form that holds a message.
const MEMBER: &str = "data";

/// The JSON text of a body: the body itself, or the `data` of a form, plain or in base64.
///
/// # Errors
/// `utf8_invalid`; what is no JSON either is told when it is read.
pub(super) fn json_of(bytes: &[u8]) -> Result<Cow<'_, str>, Rejection> {
    let text = std::str::from_utf8(bytes).map_err(|error| Rejection {
        code: "utf8_invalid",
        message: format!("the text is not UTF-8: byte {} begins no character", error.valid_up_to()),
        field: None,
    })?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with(['{', '[']) {
        return Ok(Cow::Borrowed(text));
    }
    let data = form_urlencoded::parse(text.as_bytes()).find(|(name, _)| name == MEMBER);
    let Some((_, data)) = data else { return Ok(Cow::Borrowed(text)) };
    if data.trim_start().starts_with(['{', '[']) {
        return Ok(Cow::Owned(data.into_owned()));
    }
    Ok(from_base64(&data).map_or(Cow::Borrowed(text), Cow::Owned))
}

/// Text out of base64 of any alphabet, padded or not; a `+` that a form made a blank of is read as one again.
fn from_base64(text: &str) -> Option<String> {
    let text = text.trim().replace(' ', "+");
    let engines = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
    let bytes = engines.iter().find_map(|engine| engine.decode(&text).ok())?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_by_what_it_holds() {
        for (body, expected) in [
            (" {\"a\":1}", " {\"a\":1}"),
            ("\u{feff}[1]", "[1]"),
            ("data=%7B%22a%22%3A1%7D&verbose=1", "{\"a\":1}"),
            ("data=eyJhIjoxfQ%3D%3D", "{\"a\":1}"),
            ("verbose=1&data=eyJhIjoxfQ", "{\"a\":1}"),
            ("data=%21%21", "data=%21%21"),
            ("hello", "hello"),
            ("", ""),
        ] {
            assert_eq!(json_of(body.as_bytes()).unwrap(), expected, "{body}");
        }
        assert_eq!(json_of(b"{\"a\":\"\xff\"}").unwrap_err().code, "utf8_invalid");
    }
}
