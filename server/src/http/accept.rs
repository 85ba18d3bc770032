//! What `Accept` says of a media type (RFC 9110, 12.5.1). Knows no route.

use hyper::header::{ACCEPT, HeaderMap};

/// Whether the header names this type, and not as one that is not wanted (`q=0`). Types that stand for many, such as
/// `*/*`, name none.
pub(super) fn names(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(media_type)) && parts.all(is_wanted)
    })
}

/// False of the parameter that says no. What cannot be read says nothing.
fn is_wanted(parameter: &str) -> bool {
    let Some((name, weight)) = parameter.split_once('=') else { return true };
    !name.trim().eq_ignore_ascii_case("q") || weight.trim().parse::<f32>().map_or(true, |weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn a_type_is_named_unless_it_is_not_wanted() {
        for (sent, expected) in [
            ("text/event-stream", true),
            ("text/html, TEXT/Event-Stream", true),
            ("text/event-stream;q=0.5", true),
            ("text/event-stream; charset=utf-8; q=0.001", true),
            ("text/event-stream;q=perhaps", true),
            ("text/event-stream;q=0", false),
            ("text/event-stream; Q = 0.000", false),
            ("text/event-stream;charset=utf-8;q=0.0", false),
            ("application/x-ndjson, text/event-stream;q=0", false),
            ("*/*", false),
            ("text/*", false),
            ("text/event-stream-2", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(sent))]);
            assert_eq!(names(&headers, "text/event-stream"), expected, "{sent}");
        }
        assert!(!names(&HeaderMap::new(), "text/event-stream"));
        let two = ["text/html", "text/event-stream"].map(|sent| (ACCEPT, HeaderValue::from_static(sent)));
        assert!(names(&two.into_iter().collect(), "text/event-stream"));
    }
}
