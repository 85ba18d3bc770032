//! `sources.NAME.origins`: the pages of other origins that may send to a source, and read what it is answered.

use super::SettingsError;
use super::layers::Section;

/// Which pages those are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Those of any origin: `"*"`.
    Any,
    /// Those of these, each as a browser writes it in `Origin`.
    Listed(Vec<String>),
}

impl Origins {
    /// Whether a page of this origin is among them.
    #[must_use]
    pub fn admit(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(origins) => origins.iter().any(|listed| listed == origin),
        }
    }

    /// As they are written in a file.
    pub(super) fn words(&self) -> Vec<String> {
        match self {
            Self::Any => vec![ANY.to_owned()],
            Self::Listed(origins) => origins.clone(),
        }
    }
}

const ANY: &str = "*";

/// Takes the setting out of the section of a source; `None` if it is not there.
pub(super) fn read(section: &mut Section) -> Result<Option<Origins>, SettingsError> {
    let Some(words) = section.words("origins")? else { return Ok(None) };
    if words == [ANY] {
        return Ok(Some(Origins::Any));
    }
    match words.iter().find(|word| !is_origin(word)) {
        Some(word) => {
            let reason = format!(
                "\"{word}\" is no origin: such as \"https://shop.example\" or \"http://localhost:3000\" is expected, \
                 in small letters and without a path, or \"*\" alone"
            );
            Err(SettingsError::key(section.key("origins"), reason))
        }
        None => Ok(Some(Origins::Listed(words))),
    }
}

/// Scheme, host and perhaps a port: what browsers send, which is compared letter by letter.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_default = matches!(
        (scheme, authority.rsplit_once(':')),
        ("http", Some((_, "80"))) | ("https", Some((_, "443")))
    );
    let bare = |c: char| {
        c.is_ascii_graphic() && !c.is_ascii_uppercase() && !matches!(c, '/' | '?' | '#' | '@' | '*' | ',')
    };
    !scheme.is_empty()
        && !authority.is_empty()
        && !is_default
        && authority.chars().all(bare)
        && scheme.chars().all(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for origin in [
            "https://shop.example",
            "http://localhost:3000",
            "http://[::1]:8080",
            "capacitor://localhost",
            "chrome-extension://abc",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for text in [
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://Shop.example",
            "https://*.shop.example",
            "https://shop.example:443",
            "http://shop.example:80",
            "https://a@shop.example",
            "null",
            "",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
