//! What several commands take as an argument, read once: so that what cannot be is said before anything is opened or
//! asked. Knows no command.

/// An id that is not empty.
pub(super) fn id(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("an id is expected".to_owned()),
        id => Ok(id.to_owned()),
    }
}

/// A name that is not empty.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a name is expected".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// An identifier: a namespace and a value. Whether they can be one, the store says.
pub(super) fn identifier(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((namespace, value)) if !namespace.trim().is_empty() && !value.trim().is_empty() => {
            Ok(text.to_owned())
        }
        _ => Err("NS:VALUE is expected, such as email:ada@example.com".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(id(" space:a "), Ok("space:a".to_owned()));
        assert_eq!(identifier("email:a@b.example"), Ok("email:a@b.example".to_owned()));
        for text in ["", " "] {
            assert!(id(text).is_err() && name(text).is_err(), "{text:?}");
        }
        for text in ["", "foo", ":x", "foo:", "foo: "] {
            assert!(identifier(text).is_err(), "{text:?}");
        }
    }
}
