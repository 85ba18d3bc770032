//! Settings as text, layer over layer: file, environment, flags; and which layer each key came from.
//!
//! Knows the shape of the layers and not what the keys mean: `mod.rs` reads them through [`Section`],
//! which refuses every key that nobody asked for.

use super::{SettingsError, units};
use std::collections::BTreeMap;
use toml::{Table, Value};

/// Where the value of a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Built in.
    Default,
    /// The TOML file.
    File,
    /// An environment variable.
    Environment,
    /// A flag of the command line.
    Flag,
}

impl Origin {
    /// As `--print-config` names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        }
    }
}

/// All layers in one table, and the origins.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) table: Table,
    pub(super) origins: BTreeMap<String, Origin>,
}

impl Layers {
    /// Lays the text of a TOML file on top.
    pub(super) fn file(&mut self, text: &str) -> Result<(), SettingsError> {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| SettingsError::file(error.to_string().trim_end()))?;
        note(&mut self.origins, "", &table);
        self.table = table;
        Ok(())
    }

    /// Lays one value on top: `section.name`, as text. A section may be one inside another, such as `server.tls`.
    pub(super) fn set(&mut self, section: &str, name: &str, text: &str, origin: Origin) {
        let mut table = &mut self.table;
        for part in section.split('.') {
            let entry = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            // A file that has something else in the section's place is refused when the section is read.
            let Value::Table(inner) = entry else { return };
            table = inner;
        }
        table.insert(name.to_owned(), Value::String(text.to_owned()));
        self.origins.insert(format!("{section}.{name}"), origin);
    }

    /// Takes a section out to read it.
    pub(super) fn section(&mut self, name: &str) -> Result<Section, SettingsError> {
        take_table(&mut self.table, name, name)
    }

    /// Takes a list of sections out, `[[name]]`; each is called `name[0]` and so on.
    pub(super) fn sections(&mut self, name: &str) -> Result<Vec<Section>, SettingsError> {
        let expected = |other: &Value| {
            SettingsError::key(name, format!("a list of tables is expected, this is {}", other.type_str()))
        };
        let items = match self.table.remove(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(expected(&other)),
        };
        let section = |(index, item)| match item {
            Value::Table(table) => Ok(Section { path: item_key(name, index), table }),
            other => Err(expected(&other)),
        };
        items.into_iter().enumerate().map(section).collect()
    }
}

/// The key of an item of a list of tables.
pub(super) fn item_key(list: &str, index: usize) -> String {
    format!("{list}[{index}]")
}

fn note(origins: &mut BTreeMap<String, Origin>, path: &str, table: &Table) {
    for (name, value) in table {
        let key = join(path, name);
        match value {
            Value::Table(inner) => note(origins, &key, inner),
            Value::Array(items) if items.iter().any(Value::is_table) => {
                for (index, item) in items.iter().enumerate() {
                    note(origins, &item_key(&key, index), item.as_table().unwrap_or(&Table::new()));
                }
            }
            _ => drop(origins.insert(key, Origin::File)),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn take_table(from: &mut Table, name: &str, path: &str) -> Result<Section, SettingsError> {
    match from.remove(name) {
        None => Ok(Section { path: path.to_owned(), table: Table::new() }),
        Some(Value::Table(table)) => Ok(Section { path: path.to_owned(), table }),
        Some(other) => {
            Err(SettingsError::key(path, format!("a table is expected, this is {}", other.type_str())))
        }
    }
}

/// One table of settings while it is read: each getter takes its key out, and what is left at the end is unknown.
#[derive(Debug)]
pub(super) struct Section {
    path: String,
    table: Table,
}

impl Section {
    /// The dotted key of one of its members.
    pub(super) fn key(&self, name: &str) -> String {
        if name.is_empty() { self.path.clone() } else { join(&self.path, name) }
    }

    /// The names of the members that are left.
    pub(super) fn names(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    /// A section inside this one.
    pub(super) fn section(&mut self, name: &str) -> Result<Self, SettingsError> {
        let key = self.key(name);
        take_table(&mut self.table, name, &key)
    }

    /// Every member that is left, each as a section of its own.
    pub(super) fn sections(mut self) -> Result<Vec<(String, Self)>, SettingsError> {
        let names = self.names();
        names.into_iter().map(|name| Ok((name.clone(), self.section(&name)?))).collect()
    }

    fn take<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.table.remove(name) else { return Ok(None) };
        match read(&value) {
            Some(read) => Ok(Some(read)),
            None => {
                Err(SettingsError::key(self.key(name), format!("{expected} is expected, this is {value}")))
            }
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, SettingsError> {
        self.take(name, "text", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, SettingsError> {
        self.take(name, "a list of text", |value| {
            value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        })
    }

    /// A list of words; from the environment it comes as text, with commas between.
    pub(super) fn words(&mut self, name: &str) -> Result<Option<Vec<String>>, SettingsError> {
        self.take(name, "a list of text", |value| match value {
            Value::String(text) => Some(text.split(',').map(|word| word.trim().to_owned()).collect()),
            other => other.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        })
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, SettingsError> {
        self.take(name, "true or false", Value::as_bool)
    }

    /// A whole number; from the environment it comes as text.
    pub(super) fn number<T: TryFrom<i64>>(&mut self, name: &str) -> Result<Option<T>, SettingsError> {
        self.take(name, "a whole number in range", |value| {
            let number = match value {
                Value::String(text) => text.trim().parse().ok()?,
                other => other.as_integer()?,
            };
            T::try_from(number).ok()
        })
    }

    /// A size in bytes.
    pub(super) fn size<T: TryFrom<u64>>(&mut self, name: &str) -> Result<Option<T>, SettingsError> {
        self.take(name, "a size with its unit, such as \"256MiB\",", |value| {
            T::try_from(units::parse_size(value.as_str()?)?).ok()
        })
    }

    /// A duration in milliseconds.
    pub(super) fn duration<T: TryFrom<u64>>(&mut self, name: &str) -> Result<Option<T>, SettingsError> {
        self.take(name, "a duration with its unit, such as \"30m\",", |value| {
            T::try_from(units::parse_duration(value.as_str()?)?).ok()
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, SettingsError> {
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        self.take(name, &words.join(" or "), |value| {
            let text = value.as_str()?;
            choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice)
        })
    }

    /// True, false, or one of a few words.
    pub(super) fn flag_or_word<T: Copy>(
        &mut self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, SettingsError> {
        let bare = |word: &str| matches!(word, "true" | "false");
        let shown = |word: &str| if bare(word) { word.to_owned() } else { format!("\"{word}\"") };
        let words: Vec<String> = choices.iter().map(|(word, _)| shown(word)).collect();
        self.take(name, &words.join(" or "), |value| {
            let word = match value {
                Value::Boolean(flag) => flag.to_string(),
                Value::String(word) if !bare(word) => word.clone(),
                _ => return None,
            };
            choices.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice)
        })
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) -> Result<(), SettingsError> {
        match self.table.keys().next() {
            Some(name) => Err(SettingsError::key(self.key(name), "unknown key")),
            None => Ok(()),
        }
    }
}
