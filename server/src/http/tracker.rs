//! The tracker for browsers, as it is served: `/spoor.js`, without the comments of its source, which a page need not
//! wait for, compressed once, and told apart by what is in it. Knows no store and no source: what a page is, its own attributes
//! say. Called by the service.

use super::answer_body::AnswerBody;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::LazyLock;

const SOURCE: &str = include_str!("../../../tracker/spoor.js");

/// A day from the cache without a question, and a week more while the browser asks for a new one beside it: a page
/// never waits for its tracker, and what an upgrade changes is everywhere after two visits.
const CACHE: &str = "public, max-age=86400, stale-while-revalidate=604800";

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The script in the forms in which it is sent, each with its tag in quotes.
struct Script {
    plain: (Bytes, HeaderValue),
    /// None where it could not be compressed.
    gzip: Option<(Bytes, HeaderValue)>,
}

static FORMS: LazyLock<Script> = LazyLock::new(|| {
    let script = without_comments(SOURCE);
    let mut hasher = DefaultHasher::new();
    script.hash(&mut hasher);
    let hash = hasher.finish();
    let tagged = |bytes: Bytes, form: &str| {
        HeaderValue::from_str(&format!("\"{hash:016x}{form}\"")).ok().map(|tag| (bytes, tag))
    };
    let gzip = compressed(script.as_bytes()).and_then(|bytes| tagged(bytes.into(), "-gzip"));
    let plain = Bytes::from(script);
    let plain = tagged(plain.clone(), "").unwrap_or((plain, HeaderValue::from_static("\"\"")));
    Script { plain, gzip }
});

/// The script without lines that are comments and nothing else, but for the first, which says what it is.
fn without_comments(source: &str) -> String {
    let mut script = String::with_capacity(source.len());
    for (number, line) in source.lines().enumerate() {
        if number == 0 || !line.trim_start().starts_with("//") {
            script.push_str(line);
            script.push('\n');
        }
    }
    script
}

fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// Answers a request for the script, with its headers: the script, or 304 if the browser has it.
pub(super) fn answer(headers: &HeaderMap) -> Response<AnswerBody> {
    let gzip = FORMS.gzip.as_ref().filter(|_| takes_gzip(headers));
    let (bytes, tag) = gzip.unwrap_or(&FORMS.plain);
    let fresh = has(headers, tag);
    let body = if fresh { Bytes::new() } else { bytes.clone() };
    let mut answer = Response::new(AnswerBody::Whole(Full::new(body)));
    if fresh {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let told = answer.headers_mut();
    told.insert(CACHE_CONTROL, HeaderValue::from_static(CACHE));
    told.insert(ETAG, tag.clone());
    told.insert(VARY, HeaderValue::from_static("accept-encoding"));
    // Any page may load it, also one that checks its hash or lets in nothing of other origins.
    told.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    told.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    if !fresh {
        told.insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
        told.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if gzip.is_some() {
            told.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    answer
}

/// Whether gzip is named and not refused (RFC 9110, 12.5.3); `*` alone is not taken for it.
fn takes_gzip(headers: &HeaderMap) -> bool {
    words(headers, &ACCEPT_ENCODING).any(|word| {
        let (name, weight) = word.split_once(';').unwrap_or((word, ""));
        let zero = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.trim().parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !zero
    })
}

/// Whether the browser has what carries `tag` (RFC 9110, 13.1.2): weakly compared.
fn has(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    words(headers, &IF_NONE_MATCH)
        .any(|word| word == "*" || word.strip_prefix("W/").unwrap_or(word).as_bytes() == tag.as_bytes())
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values.flat_map(|value| value.to_str().unwrap_or_default().split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page waits for it: what it costs is kept in sight.
    const SCRIPT_MAX_BYTES: usize = 6_000;

    fn asked(pairs: &[(HeaderName, &'static str)]) -> Response<AnswerBody> {
        let pairs = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        answer(&HeaderMap::from_iter(pairs))
    }

    fn length(answer: &Response<AnswerBody>) -> u64 {
        hyper::body::Body::size_hint(answer.body()).exact().unwrap()
    }

    #[test]
    fn it_is_small() {
        let (gzip, _) = FORMS.gzip.as_ref().unwrap();
        assert!(gzip.len() < SCRIPT_MAX_BYTES, "{} bytes", gzip.len());
    }

    #[test]
    fn it_is_compressed_for_whoever_reads_that() {
        for (said, gzip) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("*", false),
        ] {
            let answer = asked(&[(ACCEPT_ENCODING, said)]);
            assert_eq!(answer.headers().contains_key(CONTENT_ENCODING), gzip, "{said}");
            assert_eq!(length(&answer) < FORMS.plain.0.len() as u64, gzip, "{said}");
        }
        assert_eq!(length(&asked(&[])), FORMS.plain.0.len() as u64);
    }

    #[test]
    fn it_is_its_source_without_comments() {
        assert_eq!(
            without_comments("// What it is.\n// How.\na; // b\n\n  // c\n  d;\n"),
            "// What it is.\na; // b\n\n  d;\n"
        );
        let script = std::str::from_utf8(&FORMS.plain.0).unwrap();
        assert_eq!(script.lines().filter(|line| line.trim_start().starts_with("//")).count(), 1);
        // A text over several lines might hold one that looks like a comment.
        assert!(SOURCE.lines().all(|line| line.matches('`').count() % 2 == 0));
    }

    #[test]
    fn whoever_has_it_is_not_sent_it_again() {
        let first = asked(&[(ACCEPT_ENCODING, "gzip")]);
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        for (known, status, bytes) in [
            (tag.clone(), 304, 0),
            (format!("W/{tag}"), 304, 0),
            (format!("\"other\", {tag}"), 304, 0),
            ("*".to_owned(), 304, 0),
            ("\"other\"".to_owned(), 200, length(&first)),
            // The tag of what is not compressed.
            (tag.replace("-gzip", ""), 200, length(&first)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            headers.insert(IF_NONE_MATCH, known.parse().unwrap());
            let answer = answer(&headers);
            assert_eq!((answer.status().as_u16(), length(&answer)), (status, bytes), "{known}");
            assert_eq!(answer.headers()[ETAG], tag.as_str());
            assert_eq!(answer.headers()[CACHE_CONTROL], CACHE);
        }
    }
}
