//! Identifier values made comparable, and refused where they identify nobody.
//!
//! Owns the normal forms and the list of junk. Knows nothing of namespaces, of blocked values or of who has a value
//! already. Called when a request is prepared; the result is recorded, so that a newer list or a newer library
//! changes no history.

use crate::limits::IDENTIFIER_MAX_BYTES;
use crate::settings::Normalizer;
use phonenumber::country::Id as Country;
use unicode_normalization::{UnicodeNormalization, is_nfkc};

/// The code of a value that stands for "nobody" or "nothing known".
pub const JUNK: &str = "junk";
/// The code of a value that is not of the form that its namespace asks for.
pub const UNLINKABLE: &str = "unlinkable";

/// The normal form of an identifier's value. Normalising it again gives the same, whatever the default country.
///
/// - `text`: trimmed, Unicode NFC;
/// - `email`: trimmed, lower case, the domain in its ASCII form (`ada@bücher.example` is
///   `ada@xn--bcher-kva.example`);
/// - `phone`: E.164 (`+61412345678`). A number without country code is read as one of `default_country` (ISO 3166-1
///   alpha-2, in any case); it must be a valid number there. Numbers with an extension are not one person's.
///
/// # Errors
/// [`JUNK`] for a value that stands for nobody, [`UNLINKABLE`] for one that cannot be read, has control characters or
/// is longer than [`IDENTIFIER_MAX_BYTES`].
pub fn normalize(
    normalizer: Normalizer,
    raw: &str,
    default_country: Option<&str>,
) -> Result<String, &'static str> {
    if raw.len() > IDENTIFIER_MAX_BYTES {
        return Err(UNLINKABLE);
    }
    let text = trimmed(raw);
    if is_junk(text) {
        return Err(JUNK);
    }
    let normal = match normalizer {
        Normalizer::Text => normalize_text(text),
        Normalizer::Email => normalize_email(text),
        Normalizer::Phone => normalize_phone(text, default_country),
    }?;
    // The normal form may be junk where the raw one was not yet, or be longer.
    if is_junk(&normal) {
        return Err(JUNK);
    }
    if normal.len() > IDENTIFIER_MAX_BYTES { Err(UNLINKABLE) } else { Ok(normal) }
}

/// Without white space at the ends, and without the marks of no width that come along when text is copied.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|character: char| {
        character.is_whitespace()
            || matches!(character, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
    })
}

/// What programs and people write where they know nobody; compared in lower case.
const JUNK_WORDS: &[&str] = &[
    "null",
    "(null)",
    "<null>",
    "nil",
    "undefined",
    "none",
    "(none)",
    "nan",
    "[object object]",
    "object object",
    "{}",
    "[]",
    "\"\"",
    "''",
    "anonymous",
    "anon",
    "guest",
    "unknown",
    "(unknown)",
    "not set",
    "(not set)",
    "not available",
    "n/a",
    "true",
    "false",
    "-1",
    "redacted",
    "deleted",
    "(empty)",
    "empty",
];

fn is_junk(text: &str) -> bool {
    let is_nothing = |character: char| {
        matches!(character, '0' | '-' | '_' | '.' | '\u{2010}'..='\u{2015}') || character.is_whitespace()
    };
    let lower = text.to_lowercase();
    text.chars().all(is_nothing)
        || JUNK_WORDS.contains(&lower.as_str())
        || is_unfilled(&lower)
        || lower.split_whitespace().all(|word| NO_VALUES.contains(&word))
}

/// What programs write for no value, and twice where a name has two parts.
const NO_VALUES: &[&str] = &["null", "undefined", "none", "nan", "nil"];

/// A template whose variable nobody filled in.
fn is_unfilled(text: &str) -> bool {
    [("{{", "}}"), ("${", "}"), ("<%", "%>"), ("[[", "]]")]
        .iter()
        .any(|(begin, end)| text.starts_with(begin) && text.ends_with(end))
}

fn normalize_text(text: &str) -> Result<String, &'static str> {
    if text.chars().any(char::is_control) {
        return Err(UNLINKABLE);
    }
    let composed: String = text.nfc().collect();
    Ok(trimmed(&composed).to_owned())
}

/// Addresses that people type into forms to get past them. The domains are other people's, and so are not refused.
const JUNK_ADDRESSES: &[&str] = &[
    "a@a.com",
    "aa@aa.com",
    "a@b.com",
    "a@b.c",
    "abc@abc.com",
    "abc@xyz.com",
    "asd@asd.com",
    "asdf@asdf.com",
    "email@email.com",
    "email@example.com",
    "example@example.com",
    "example@email.com",
    "fake@fake.com",
    "foo@bar.com",
    "foo@foo.com",
    "mail@mail.com",
    "me@me.com",
    "na@na.com",
    "name@email.com",
    "name@example.com",
    "no@email.com",
    "no@mail.com",
    "no@no.com",
    "noemail@noemail.com",
    "none@email.com",
    "none@none.com",
    "noone@noone.com",
    "nope@nope.com",
    "qwe@qwe.com",
    "qwerty@qwerty.com",
    "sample@email.tst",
    "sample@example.com",
    "test@email.com",
    "test@example.com",
    "test@test.com",
    "test@test.test",
    "user@domain.com",
    "user@email.com",
    "user@example.com",
    "x@x.com",
    "xx@xx.com",
    "xxx@xxx.com",
    "you@email.com",
    "you@example.com",
    "your@email.com",
    "youremail@email.com",
    "yourname@email.com",
];

/// Local parts that are nobody's at any domain.
const JUNK_LOCAL_PARTS: &[&str] = &[
    "null",
    "undefined",
    "nan",
    "noreply",
    "no-reply",
    "no_reply",
    "donotreply",
    "do-not-reply",
    "do_not_reply",
    "noemail",
    "no-email",
];

/// The soft hyphen, and what has no width.
const INVISIBLE: &[char] =
    &['\u{AD}', '\u{200B}', '\u{200C}', '\u{200D}', '\u{200E}', '\u{200F}', '\u{2060}', '\u{FEFF}'];

/// Longest local part and longest domain of an address, in bytes (RFC 5321, section 4.5.3.1).
const LOCAL_PART_MAX_BYTES: usize = 64;
const DOMAIN_MAX_BYTES: usize = 253;
/// Longest label of a domain, in bytes (RFC 1035, section 2.3.4).
const LABEL_MAX_BYTES: usize = 63;

fn normalize_email(text: &str) -> Result<String, &'static str> {
    let (local, domain) = text.rsplit_once('@').ok_or(UNLINKABLE)?;
    let local: String = local.to_lowercase().nfc().collect();
    // What RFC 5322 allows without quotes, and what RFC 6531 adds to it; quoted ones are not in use.
    let allowed = |character: char| match character {
        '.' => true,
        'a'..='z' | '0'..='9' => true,
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' | '^' | '_' | '`' | '{'
        | '|' | '}' | '~' => true,
        _ => !character.is_ascii() && !character.is_control() && !character.is_whitespace(),
    };
    // Letters that only look like others, such as full-width ones, and marks that nobody sees.
    let disguised = !is_nfkc(&local) || local.contains(INVISIBLE);
    if local.is_empty() || local.len() > LOCAL_PART_MAX_BYTES || !local.chars().all(allowed) || disguised {
        return Err(UNLINKABLE);
    }
    let address = format!("{local}@{}", normalize_domain(domain)?);
    let junk = JUNK_LOCAL_PARTS.contains(&local.as_str()) || JUNK_ADDRESSES.contains(&address.as_str());
    if junk { Err(JUNK) } else { Ok(address) }
}

/// The ASCII form of a domain name with at least two labels, the last of which is no number.
fn normalize_domain(domain: &str) -> Result<String, &'static str> {
    let ascii =
        idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::STD3).map_err(|_| UNLINKABLE)?;
    let ascii = ascii.strip_suffix('.').unwrap_or(&ascii);
    let label_is_sound = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_MAX_BYTES
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let (_, top) = ascii.rsplit_once('.').ok_or(UNLINKABLE)?;
    let top_is_number = top.bytes().all(|byte| byte.is_ascii_digit());
    if ascii.len() > DOMAIN_MAX_BYTES || top_is_number || !ascii.split('.').all(label_is_sound) {
        return Err(UNLINKABLE);
    }
    Ok(ascii.to_owned())
}

/// Most digits of a number as people write it: 15 by E.164 and a prefix to dial abroad.
const PHONE_MAX_DIGITS: usize = 19;
/// Most digits of a number in its E.164 form, the country's code among them (ITU-T E.164, 6.1).
const E164_MAX_DIGITS: usize = 15;
/// Digits that people type into forms to get past them.
const JUNK_DIGITS: &str = "01234567890123456789";
const JUNK_DIGITS_BACKWARDS: &str = "98765432109876543210";
/// A run of neighbouring digits this long is one of them.
const JUNK_RUN_MIN_DIGITS: usize = 5;

fn normalize_phone(text: &str, default_country: Option<&str>) -> Result<String, &'static str> {
    let dialled = dialled(text)?;
    let digits = dialled.trim_start_matches('+');
    if are_junk_digits(digits) {
        return Err(JUNK);
    }
    if digits.len() > PHONE_MAX_DIGITS {
        return Err(UNLINKABLE);
    }
    // Behind a `+` stands the country's code, and the default has no say: the library would let it strip digits, so
    // that one E.164 number became two.
    let abroad = dialled.strip_prefix("00").map(|rest| format!("+{rest}"));
    let (normal, national) = match abroad.map(|abroad| e164(None, &abroad)) {
        // Numbers are written with `00` far beyond the countries where one dials it.
        Some(Ok(number)) => number,
        _ if dialled.starts_with('+') => e164(None, &dialled)?,
        _ => e164(Some(default_country.and_then(country).ok_or(UNLINKABLE)?), &dialled)?,
    };
    // The library takes a few numbers, read as of a country, whose E.164 form it then refuses or reads otherwise.
    if normal != dialled && e164(None, &normal)?.0 != normal {
        return Err(UNLINKABLE);
    }
    let junk = are_junk_digits(&national) || are_junk_digits(normal.trim_start_matches('+'));
    if junk { Err(JUNK) } else { Ok(normal) }
}

/// The E.164 form of a number, and its part without the country's code. It must have the form of the country's
/// numbers; whether its range is in use is not asked, since that changes from one release of the library to the next.
fn e164(country: Option<Country>, dialled: &str) -> Result<(String, String), &'static str> {
    let number = phonenumber::parse(country, dialled).map_err(|_| UNLINKABLE)?;
    let national = number.national().to_string();
    let countries = phonenumber::metadata::DATABASE.by_code(&number.country().code());
    let has_form = |of: &&phonenumber::metadata::Metadata| of.descriptors().general().is_match(&national);
    if !countries.is_some_and(|countries| countries.iter().any(has_form)) {
        return Err(UNLINKABLE);
    }
    let normal = number.format().mode(phonenumber::Mode::E164).to_string();
    if normal.trim_start_matches('+').len() > E164_MAX_DIGITS {
        return Err(UNLINKABLE);
    }
    Ok((normal, number.national().value().to_string()))
}

/// Whether `code` (ISO 3166-1 alpha-2) is a country whose numbers can be read without their country code.
#[must_use]
pub fn has_numbers(code: &str) -> bool {
    country(code).is_some()
}

/// A country that the library has numbers of. It panics over one that it knows by name alone, such as Antarctica.
fn country(code: &str) -> Option<Country> {
    let country: Country = code.trim().to_ascii_uppercase().parse().ok()?;
    phonenumber::metadata::DATABASE.by_id(country.as_ref()).is_some().then_some(country)
}

/// The digits alone, behind a `+` if there was one. Letters are refused and not read as digits: `1-800-FLOWERS` is
/// nobody's, and the library would find a number in nearly any text.
fn dialled(text: &str) -> Result<String, &'static str> {
    let text: String = text.nfkc().collect();
    let text = trimmed(&text);
    let text = text.strip_prefix("tel:").unwrap_or(text);
    if !looks_dialled(text) {
        return Err(UNLINKABLE);
    }
    let mut dialled = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '0'..='9' => dialled.push(character),
            '+' if dialled.is_empty() => dialled.push('+'),
            '-' | '.' | '/' | '(' | ')' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
            _ if character.is_whitespace() => {}
            _ => return Err(UNLINKABLE),
        }
    }
    Ok(dialled)
}

/// Whether a text is written as numbers are. The library reads the digits alone, and would find a number in a date, an
/// amount or a negative number: then everybody who was born on one day would be one person.
fn looks_dialled(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '('));
    begins && !is_date(text) && !is_decimal(text)
}

/// Day, month and year in the usual orders, parted by one sign: `12/05/1980`, `1980-05-12`, `5.12.80`.
fn is_date(text: &str) -> bool {
    let signs: String = text.chars().filter(|character| !character.is_ascii_digit()).collect();
    if !["//", "--", "..", "\u{2010}\u{2010}"].contains(&signs.as_str()) {
        return false;
    }
    let parts: Vec<&str> = text.split(|character: char| !character.is_ascii_digit()).collect();
    let number = |part: &str| part.parse::<u32>().unwrap_or(u32::MAX);
    let of_a_month = |part: &str| (1..=2).contains(&part.len()) && (1..=31).contains(&number(part));
    let year = |part: &str| part.len() == 2 || (part.len() == 4 && (1900..=2100).contains(&number(part)));
    let [first, second, third] = parts.as_slice() else { return false };
    let year_last = of_a_month(first) && of_a_month(second) && number(first).min(number(second)) <= 12;
    let year_first = of_a_month(second) && of_a_month(third) && number(second) <= 12;
    (year_last && year(third)) || (year_first && first.len() == 4 && year(first))
}

/// A number with one or two decimals, as spreadsheets and programs write numbers that they hold as fractions.
fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(whole, rest)| digits(whole) && digits(rest) && rest.len() <= 2)
}

/// No digit at all, one digit over and over, or digits in a row.
fn are_junk_digits(digits: &str) -> bool {
    let first = digits.chars().next();
    let all_the_same = digits.chars().all(|digit| Some(digit) == first);
    let in_a_row = digits.len() >= JUNK_RUN_MIN_DIGITS
        && (JUNK_DIGITS.contains(digits) || JUNK_DIGITS_BACKWARDS.contains(digits));
    all_the_same || in_a_row
}

#[cfg(test)]
mod tests {
    use super::*;
    use Normalizer::{Email, Phone, Text};
    use proptest::prelude::*;

    fn normal(normalizer: Normalizer, raw: &str) -> String {
        match normalize(normalizer, raw, Some("AU")) {
            Ok(value) => value,
            Err(code) => format!("! {code}"),
        }
    }

    #[test]
    fn text_is_trimmed_and_composed() {
        assert_eq!(normal(Text, "  C-1001\u{200B}\n"), "C-1001");
        assert_eq!(normal(Text, "Zoe\u{308}"), "Zo\u{EB}");
        assert_eq!(normal(Text, "Case Stays"), "Case Stays");
        assert_eq!(normal(Text, "a\u{0}b"), "! unlinkable");
        assert_eq!(normal(Text, &"x".repeat(IDENTIFIER_MAX_BYTES)), "x".repeat(IDENTIFIER_MAX_BYTES));
        assert_eq!(normal(Text, &"x".repeat(IDENTIFIER_MAX_BYTES + 1)), "! unlinkable");
    }

    #[test]
    fn addresses_are_lower_case_with_an_ascii_domain() {
        for (raw, expected) in [
            (" Ada@Example.COM ", "ada@example.com"),
            ("ada+news@example.com", "ada+news@example.com"),
            ("ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
            ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
            ("ada@example.com.", "ada@example.com"),
            ("Jörg@example.com", "jörg@example.com"),
            ("ada@日本。jp", "ada@xn--wgv71a.jp"),
        ] {
            assert_eq!(normal(Email, raw), expected, "{raw}");
        }
    }

    #[test]
    fn what_is_no_address_is_unlinkable() {
        for raw in [
            "ada",
            "ada@",
            "@example.com",
            "ada@localhost",
            "ada@127.0.0.1",
            "ada@exa mple.com",
            "a da@example.com",
            "Ada <ada@example.com>",
            "ada@b@example.com",
            "ada@example..com",
            "ada@.com",
            "ada,bob@example.com",
            "\"ada\"@example.com",
            "ada@exa_mple.com",
            "ada@xn--\u{80}.com",
            "ada@a/b.com",
            "a@-b.com",
            "a@b-.com",
            "a\u{AD}da@example.com",
            "\u{FF41}da@example.com",
        ] {
            assert_eq!(normal(Email, raw), "! unlinkable", "{raw}");
        }
        assert_eq!(normal(Email, &format!("{}@example.com", "a".repeat(65))), "! unlinkable");
        assert_eq!(normal(Email, &format!("a@{}.com", "a".repeat(64))), "! unlinkable");
    }

    #[test]
    fn numbers_become_e164() {
        for (raw, expected) in [
            ("0412 345 678", "+61412345678"),
            ("+61 (0)412-345-678", "+61412345678"),
            ("61412345678", "+61412345678"),
            ("+641100000000", "+641100000000"),
            ("0011 61 412 345 678", "+61412345678"),
            ("tel:+61-412-345-678", "+61412345678"),
            ("(02) 9374 4000", "+61293744000"),
            ("+44 20 7946 0958", "+442079460958"),
            ("+1 (650) 253-0000", "+16502530000"),
            ("0412.345.678", "+61412345678"),
            ("0412/345678", "+61412345678"),
            ("02-9374-4000", "+61293744000"),
            ("+39 06 1234 5679", "+390612345679"),
            ("\u{202A}+49\u{A0}30\u{A0}901820\u{202C}", "+4930901820"),
            ("＋４９ ３０ ９０１８２０", "+4930901820"),
        ] {
            assert_eq!(normal(Phone, raw), expected, "{raw}");
        }
        // In no range that is in use now, and written with the usual prefix of another country.
        assert_eq!(normal(Phone, "0441 408 436"), "+61441408436");
        assert_eq!(normal(Phone, "0061 441 408 436"), "+61441408436");
        assert_eq!(normalize(Phone, "+641100000000", Some("NZ")), Ok("+641100000000".to_owned()));
        assert_eq!(normalize(Phone, "030 901820", Some("de")), Ok("+4930901820".to_owned()));
        assert_eq!(normalize(Phone, "650-253-0000", Some("US")), Ok("+16502530000".to_owned()));
    }

    #[test]
    fn what_is_no_number_is_unlinkable() {
        for raw in [
            "12",
            "+61 412",
            "1-800-FLOWERS",
            "ada@example.com",
            "0412345678 x12",
            "+999 123 456 789 012",
            "0412+345678",
            "+1 555",
        ] {
            assert_eq!(normal(Phone, raw), "! unlinkable", "{raw}");
        }
        for raw in [
            "12/05/1980",
            "5.12.80",
            "1980-05-12",
            "1980\u{2010}05\u{2010}12",
            "412345678.0",
            "412345678.50",
            "-412345678",
            "\u{2212}412345678",
            "/0412345678",
        ] {
            assert_eq!(normal(Phone, raw), "! unlinkable", "{raw}");
        }
        assert_eq!(normalize(Phone, "0412345678", None), Err(UNLINKABLE), "of which country?");
        // Read as dialled in Italy it would be valid, and +78770000000 is not.
        assert_eq!(normalize(Phone, "0078770000000", Some("IT")), Err(UNLINKABLE));
        for country in ["AQ", "XX", "", "Australia", "ü"] {
            assert_eq!(normalize(Phone, "0412345678", Some(country)), Err(UNLINKABLE), "{country}");
            assert_eq!(
                normalize(Phone, "+61412345678", Some(country)),
                Ok("+61412345678".to_owned()),
                "{country}"
            );
        }
    }

    #[test]
    fn junk_is_junk_in_every_namespace() {
        for raw in [
            "",
            "  ",
            "null",
            "NULL",
            "undefined",
            "None",
            "NaN",
            "[object Object]",
            "anonymous",
            "Guest",
            "unknown",
            "true",
            "FALSE",
            "0",
            "000000",
            "-",
            "--",
            "-1",
            "00000000-0000-0000-0000-000000000000",
            "\u{2014}",
            "n/a",
            "\u{FEFF}null\u{200B}",
            "undefined undefined",
            "{{user_id}}",
            "${user}",
            "<%= user.id %>",
        ] {
            for normalizer in [Text, Email, Phone] {
                assert_eq!(normal(normalizer, raw), "! junk", "{normalizer:?} {raw:?}");
            }
        }
        for raw in [
            "Test@Test.com",
            "no-reply@shop.example",
            "null@example.com",
            "user@EXAMPLE.com",
            "asdf@asdf.com",
        ] {
            assert_eq!(normal(Email, raw), "! junk", "{raw}");
        }
        for raw in
            ["1234567890", "0123456789", "9999999999", "(000) 000-0000", "+1 111 111 1111", "987654321", "+"]
        {
            assert_eq!(normal(Phone, raw), "! junk", "{raw}");
        }
        for raw in ["nullable", "guest7", "100", "1", "-2", "truest"] {
            assert_eq!(normal(Text, raw), raw);
        }
    }

    #[test]
    fn a_number_has_no_more_digits_than_numbers_have() {
        // The library takes it, as a number of the Ivory Coast with seven digits too many.
        assert_eq!(normalize(Phone, "01100000000000000", Some("CI")), Err(UNLINKABLE));
    }

    fn check(raw: &str, country: Option<&str>) {
        for normalizer in [Text, Email, Phone] {
            match normalize(normalizer, raw, country) {
                Ok(value) => {
                    for country in [country, None, Some("US")] {
                        assert_eq!(
                            normalize(normalizer, &value, country),
                            Ok(value.clone()),
                            "{normalizer:?} {raw:?}"
                        );
                    }
                }
                Err(code) => assert!([JUNK, UNLINKABLE].contains(&code)),
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_normalised_once_and_for_all(raw in "\\PC{0,40}|.{0,600}") {
            check(&raw, Some("AU"));
        }

        #[test]
        fn any_address_is(raw in "[ \u{200B}]?[A-Za-zΑ-ΩßİÅ.+_'0-9\u{300}-\u{308}]{1,12}@[A-Za-zßİ。.ü0-9\u{300}-\u{308}-]{1,12}\\.(com|рф|ÉÉ|xn--p1ai)") {
            check(&raw, None);
        }

        #[test]
        fn any_number_is(
            raw in "(\\+|00|011|0|\\(|tel:)?[0-9 ]{1,22}|\\+(1|7|39|44|49|52|54|61|81|86|225|229|380|599|800|883)[0-9]{4,12}",
            country in prop::sample::select(vec!["AU", "US", "IT", "AR", "MX", "BR", "KZ", "SM", "VA", "GG", "DE", "NZ", "CI", "AQ"])
        ) {
            check(&raw, Some(country));
        }
    }
}
