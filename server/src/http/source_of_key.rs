//! Which source a call of another service's client is for, by the key that it brings. Knows no route.

use super::errors::Problem;
use spoor::Settings;

/// The sources by key: for the time being a source's name is its key.
#[derive(Debug)]
pub(super) struct SourceOfKey {
    names: Vec<String>,
}

impl SourceOfKey {
    /// The sources of `settings`.
    pub(super) fn new(settings: &Settings) -> Self {
        Self { names: settings.sources.keys().cloned().collect() }
    }

    /// The name of the source that `key` stands for; `None` is the default one. Where there is only one, any key
    /// stands for it, since clients insist on having one.
    ///
    /// # Errors
    /// `key_invalid`.
    pub(super) fn find(&self, key: Option<&str>) -> Result<Option<String>, Problem> {
        let named = key.and_then(|key| self.names.iter().find(|name| *name == key));
        match (named, self.names.as_slice()) {
            (Some(name), _) => Ok(Some(name.clone())),
            (None, []) => Ok(None),
            (None, [only]) => Ok(Some(only.clone())),
            (None, _) => Err(Problem::new("key_invalid", "no source has this key: name one of the sources")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spoor::settings::SourceSettings;

    fn found(sources: &[&str], key: Option<&str>) -> String {
        let sources = sources.iter().map(|name| ((*name).to_owned(), SourceSettings::default())).collect();
        match SourceOfKey::new(&Settings { sources, ..Settings::default() }).find(key) {
            Ok(name) => name.unwrap_or("-".to_owned()),
            Err(problem) => problem.body.code,
        }
    }

    #[test]
    fn a_key_names_a_source_or_there_is_only_one() {
        assert_eq!(found(&[], None), "-");
        assert_eq!(found(&[], Some("web")), "-");
        assert_eq!(found(&["web"], Some("anything")), "web");
        assert_eq!(found(&["app", "web"], Some("web")), "web");
        assert_eq!(found(&["app", "web"], Some("shop")), "key_invalid");
        assert_eq!(found(&["app", "web"], None), "key_invalid");
    }
}
