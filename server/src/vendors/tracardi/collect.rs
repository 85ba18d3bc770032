//! `/collect`: one event, named by the path, whose properties are the query or the body. Without a session it has no
//! profile, since nothing names one.

use super::event_type;
use crate::access::secret::PREFIX;
use crate::vendors::form::json_of;
use crate::vendors::member;
use serde_json::{Map, Value};
use spoor::{Event, Json, Rejection, TrackRequest};

/// A GIF of one transparent point: the answer to a page or a mail that can only ask for a picture.
pub const PIXEL: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\
    \x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// What the path of a call says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The type of the event.
    pub event_type: String,
    /// The source that it names.
    pub source: String,
    /// The session, if it names one.
    pub session: Option<String>,
}

impl Collected {
    /// What the store is asked, without the source.
    #[must_use]
    pub fn request(&self, properties: Option<Json>) -> TrackRequest {
        let event = Event { event_type: event_type(&self.event_type), properties, ..Event::default() };
        TrackRequest {
            session: self.session.clone(),
            profile_less: self.session.is_none(),
            events: vec![event],
            ..TrackRequest::default()
        }
    }
}

/// The properties that a query, or a form, holds: text by name, a list where a name stands more than once.
///
/// # Errors
/// None that a query could cause; what is wrong with it as JSON.
pub fn query(text: &str) -> Result<Option<Json>, Rejection> {
    let mut members: Map<String, Value> = Map::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        // A key says who sends, and is nothing that happened.
        if name == "key" && value.starts_with(PREFIX) {
            continue;
        }
        let value = Value::from(value);
        match members.get_mut(&*name) {
            None => drop(members.insert(name.into_owned(), value)),
            Some(Value::Array(list)) => list.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }
    if members.is_empty() {
        return Ok(None);
    }
    member::value(&Value::Object(members), "query").map(Some)
}

/// The properties that a body holds: a JSON object, or a form if it says to be one and is none.
///
/// # Errors
/// [`Rejection`] if it is neither.
pub fn body(bytes: &[u8], is_form: bool) -> Result<Option<Json>, Rejection> {
    let text = json_of(bytes)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    if is_form && !text.trim_start().starts_with(['{', '[']) {
        return query(&text);
    }
    let raw: &serde_json::value::RawValue = member::value_of(&text)?;
    member::object(Some(raw), "body")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(session: Option<&str>) -> Collected {
        Collected {
            event_type: "Page View".to_owned(),
            source: "web".to_owned(),
            session: session.map(str::to_owned),
        }
    }

    #[test]
    fn an_event_without_a_session_has_no_profile() {
        let request = collected(None).request(None);
        assert!(request.profile_less && request.session.is_none());
        let request = collected(Some("s-1")).request(query("a=1").unwrap());
        assert!(!request.profile_less && request.session.as_deref() == Some("s-1"));
        assert_eq!(request.events[0].event_type, "page-view");
        assert_eq!(request.events[0].properties.as_ref().unwrap().as_str(), r#"{"a":"1"}"#);
    }

    #[test]
    fn properties_are_what_query_or_body_hold() {
        let shown = |found: Result<Option<Json>, Rejection>| match found {
            Ok(json) => json.map_or("-".to_owned(), |json| json.to_string()),
            Err(rejection) => rejection.code.to_owned(),
        };
        assert_eq!(shown(query("")), "-");
        assert_eq!(shown(query("a=1&b=x+y&a=2&a=%C3%A4")), r#"{"a":["1","2","ä"],"b":"x y"}"#);
        for (sent, is_form, expected) in [
            (r#"{"a":1}"#, false, r#"{"a":1}"#),
            (r#"{"a":1}"#, true, r#"{"a":1}"#),
            ("a=1", true, r#"{"a":"1"}"#),
            ("a=1", false, "json_invalid"),
            ("[1]", false, "not_an_object"),
            ("{\"a\":", false, "json_invalid"),
            (" ", false, "-"),
        ] {
            assert_eq!(shown(body(sent.as_bytes(), is_form)), expected, "{sent}");
        }
    }

    #[test]
    fn the_picture_is_one_transparent_point() {
        assert_eq!(
            (&PIXEL[..6], &PIXEL[6..10], PIXEL.last()),
            (&b"GIF89a"[..], &[1, 0, 1, 0][..], Some(&b';'))
        );
    }
}
