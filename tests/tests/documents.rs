//! The documents are true where a machine can tell: examples are played, links lead somewhere, and tables name
//! what the code names.
#![expect(clippy::panic, clippy::expect_used, reason = "a test: a panic is its report")]

use spoor_server::settings::{Flags, load_from, print, units};
use spoor_tests::scenario::{Outcome, play};
use spoor_tests::target::{Embedded, Maker, Naive};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const RULES: &str = include_str!("../../docs/sessions-and-profiles.md");
const IDENTITY: &str = include_str!("../../docs/identity.md");
const OPERATIONS: &str = include_str!("../../docs/operations.md");
const ARCHITECTURE: &str = include_str!("../../docs/architecture.md");
const ENGINE_LIMITS: &str = include_str!("../../engine/src/limits.rs");
const SERVER_LIMITS: &str = include_str!("../../server/src/limits.rs");

const ARCHITECTURE_MAX_LINES: usize = 200;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn play_examples(page: &str, maker: Maker) -> usize {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let examples: Vec<_> = page.split("```scenario\n").skip(1).collect();
    for (number, example) in examples.iter().enumerate() {
        let text = example.split("```").next().expect("the end of an example");
        let file = directory.path().join(format!("example-{}.txt", number + 1));
        std::fs::write(&file, text).expect("a file");
        match play(&file, maker, false) {
            Outcome::Passed => {}
            Outcome::LeftOut => panic!("example {} cannot be played:\n{text}", number + 1),
            Outcome::Failed(differences) => panic!("{differences}"),
        }
    }
    examples.len()
}

#[test]
fn the_examples_of_the_rules_give_the_answers_that_they_show() {
    for maker in [Embedded::make as Maker, Naive::make] {
        assert!(play_examples(RULES, maker) >= 10);
        assert!(play_examples(IDENTITY, maker) >= 4);
    }
}

/// All files of one kind below a folder, without what is built.
fn files_below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && name != ".git" {
                files_below(&path, extension, found);
            }
        } else if name.ends_with(extension) {
            found.push(path);
        }
    }
}

/// A heading as the fragment of an address.
fn fragment(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn every_link_between_files_leads_somewhere() {
    let mut pages = Vec::new();
    files_below(&root(), ".md", &mut pages);
    let mut checked = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { page.clone() } else { page.parent().expect("a folder").join(path) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&target).expect("a page");
                let found = text.lines().any(|line| line.starts_with('#') && fragment(line) == heading);
                assert!(found, "{}: {link}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

/// Files that sources name in comments and messages, such as `docs/protocol.md`.
#[test]
fn every_document_that_a_source_names_is_there() {
    let mut sources = Vec::new();
    for folder in ["engine", "server", "tests", "benches"] {
        files_below(&root().join(folder), ".rs", &mut sources);
    }
    for source in sources {
        let text = std::fs::read_to_string(&source).expect("a source");
        for rest in text.split("docs/").skip(1) {
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '/')).collect();
            let name = name.trim_end_matches('.');
            assert!(
                !name.ends_with(".md") || root().join("docs").join(name).exists(),
                "{}: docs/{name}",
                source.display()
            );
        }
    }
}

#[test]
fn the_architecture_can_be_read_in_one_sitting() {
    let lines = ARCHITECTURE.lines().count();
    assert!(lines <= ARCHITECTURE_MAX_LINES, "{lines} lines");
}

#[test]
fn the_code_map_names_every_file_that_it_lists() {
    let mut checked = 0;
    for folder in ["engine/src", "engine/src/core", "engine/src/store"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
            let named =
                [format!("`{name}`"), format!("`{name}/`"), format!("`{name}.rs`"), format!("src/{name}")];
            assert!(name == "mod" || named.iter().any(|name| ARCHITECTURE.contains(name)), "{folder}/{name}");
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

/// The cells of the tables' rows, without their code marks.
fn rows(page: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    page.lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect())
}

/// What holds when nothing is said, by dotted key, as `--print-config` prints it; with a source and a trait, so
/// that their keys are there.
fn defaults() -> BTreeMap<String, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("spoor.toml");
    std::fs::write(&file, "[sources.NAME]\n[identifiers.NAME]\n[traits.NAME]\n").expect("a file");
    let flags = Flags { config: Some(file), ..Flags::default() };
    let printed = print(&load_from(&flags, &[]).expect("sound settings"));
    let mut section = "";
    let mut defaults = BTreeMap::new();
    for line in printed.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, value)) = line.split_once(" = ") {
            let value = value.split("  # ").next().expect("a value").replace('"', "");
            defaults.insert(format!("{section}.{key}"), value);
        }
    }
    defaults
}

#[test]
fn every_setting_is_listed_with_its_default() {
    for (key, value) in defaults() {
        let Some(row) = rows(OPERATIONS).find(|cells| cells.first() == Some(&key.as_str())) else {
            let by_default = ["user_id", "email", "phone"].iter().any(|name| key.contains(name));
            assert!(by_default, "{key} is not in docs/operations.md");
            continue;
        };
        assert_eq!(row.get(1).map(|cell| cell.replace('"', "")), Some(value), "{key}");
    }
}

/// The bounds of both files: name and value.
fn bounds() -> BTreeMap<String, u64> {
    let mut bounds = BTreeMap::new();
    for line in ENGINE_LIMITS.lines().chain(SERVER_LIMITS.lines()) {
        let Some(rest) = line.strip_prefix("pub const ") else { continue };
        let (name, rest) = rest.split_once(':').expect("a type");
        let value = rest.split_once('=').expect("a value").1.trim().trim_end_matches(';');
        bounds.insert(name.to_owned(), value_of(value, &bounds));
    }
    bounds
}

/// The value of a constant: numbers and earlier bounds with `+`, `*` and `<<`, loosest first as in Rust.
fn value_of(text: &str, bounds: &BTreeMap<String, u64>) -> u64 {
    let text = text.trim();
    if let Some((left, right)) = text.split_once("<<") {
        return value_of(left, bounds) << value_of(right, bounds);
    }
    if let Some((left, right)) = text.split_once('+') {
        return value_of(left, bounds) + value_of(right, bounds);
    }
    if let Some((left, right)) = text.split_once('*') {
        return value_of(left, bounds) * value_of(right, bounds);
    }
    let number = text.replace('_', "").parse();
    number.unwrap_or_else(|_| bounds.get(text).copied().unwrap_or_else(|| panic!("{text}")))
}

#[test]
fn every_bound_is_listed_with_its_value() {
    let bounds = bounds();
    assert!(bounds.len() > 60, "{}", bounds.len());
    for (name, value) in &bounds {
        let row = rows(OPERATIONS)
            .find(|cells| cells.first() == Some(&name.as_str()))
            .unwrap_or_else(|| panic!("{name} is not in docs/operations.md"));
        let expected = match name {
            name if name.ends_with("_BYTES") => units::size(*value),
            name if name.ends_with("_MS") => units::duration(*value),
            _ => value.to_string(),
        };
        let shown: String = row[1].chars().filter(|c| !matches!(c, ' ' | ',')).collect();
        assert_eq!(shown, expected, "{name}");
    }
}
