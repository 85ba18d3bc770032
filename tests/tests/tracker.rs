//! The tracker's page says what the tracker can: each attribute that the script reads, each call, each bound.

const SCRIPT: &str = include_str!("../../tracker/spoor.js");
const TYPES: &str = include_str!("../../tracker/spoor.d.ts");
const PAGE: &str = include_str!("../../docs/tracker.md");

/// The words that follow `mark` in a text.
fn words_after<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(mark)
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

/// `cookieDomain` as `data-cookie-domain`.
fn attribute(member: &str) -> String {
    let mut name = "data-".to_owned();
    for character in member.chars() {
        if character.is_uppercase() {
            name.push('-');
        }
        name.extend(character.to_lowercase());
    }
    name
}

#[test]
fn every_attribute_is_described() {
    let mut read: Vec<String> = words_after(SCRIPT, "said.").map(attribute).collect();
    read.sort();
    read.dedup();
    assert!(read.len() >= 7, "{read:?}");
    for name in &read {
        assert!(PAGE.contains(&format!("| `{name}` |")), "{name} is not in docs/tracker.md");
    }
    let described: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("| `data-")).collect();
    assert_eq!(described.len(), read.len(), "{described:?}");
}

#[test]
fn every_call_is_typed_and_described() {
    let interface = TYPES.split("export interface Spoor {").nth(1).expect("the calls");
    let interface = interface.split("\n}").next().expect("their end");
    let mut typed: Vec<&str> = words_after(interface, "\n  ").filter(|name| !name.is_empty()).collect();
    typed.sort_unstable();
    typed.dedup();
    let calls = SCRIPT.split("const calls = {").nth(1).expect("the calls");
    let calls = calls.split("\n  };").next().expect("their end");
    let mut known: Vec<&str> = words_after(calls, "\n    ")
        .filter(|name| !name.is_empty())
        .map(|name| if name == "async" { "flush" } else { name })
        .collect();
    known.sort_unstable();
    known.dedup();
    assert_eq!(typed, known);
    for name in known {
        assert!(PAGE.contains(&format!("`spoor.{name}(")), "{name} is not in docs/tracker.md");
    }
}

/// The bounds of the script by name, as the page lists them.
#[test]
fn every_bound_is_listed_with_its_value() {
    let mut checked = 0;
    for line in SCRIPT.lines().filter_map(|line| line.trim().strip_prefix("const ")) {
        let Some((name, value)) = line.split_once(" = ") else { continue };
        if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
            let value = value.trim_end_matches(';').replace('_', "");
            let row = PAGE.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.map(|row| row.replace(',', "")).unwrap_or_default();
            assert!(row.contains(&format!("| {value} |")), "{name}: {value}: {row}");
            checked += 1;
        }
    }
    assert!(checked >= 9, "{checked}");
}
