//! Names for what a target draws, so that two targets can be compared.

use std::collections::{BTreeMap, BTreeSet};

/// Labels in order of appearance, both ways.
#[derive(Debug, Default)]
pub struct Names {
    labels: BTreeMap<(char, String), String>,
    drawn: BTreeMap<String, String>,
    counts: BTreeMap<char, usize>,
    sent: BTreeSet<String>,
    placed: Vec<String>,
}

impl Names {
    /// Notes a text that a request sent as an id: it is shown as it is.
    pub fn note_sent(&mut self, text: &str) {
        self.sent.insert(text.trim().to_owned());
    }

    /// How a profile id is shown.
    pub fn profile(&mut self, id: &str) -> String {
        self.label('P', id)
    }

    /// How a session id is shown.
    pub fn session(&mut self, id: &str) -> String {
        match id.strip_prefix("implicit:") {
            Some(sequence) => format!("implicit:{}", self.label('#', sequence)),
            None => self.label('S', id),
        }
    }

    /// How an event id is shown.
    pub fn event(&mut self, id: &str) -> String {
        self.label('E', id)
    }

    /// How a sequence number is shown.
    pub fn sequence(&mut self, sequence: u64) -> String {
        self.label('#', &sequence.to_string())
    }

    /// How the id of a merge, or of a link in quarantine, is shown: `m4711-0` as `m#4-0`.
    pub fn placed(&mut self, id: &str) -> String {
        let (kind, rest) = id.split_at(id.len().min(1));
        let shown = match rest.split_once('-') {
            Some((sequence, number)) => format!("{kind}{}-{number}", self.label('#', sequence)),
            None => id.to_owned(),
        };
        if !self.placed.contains(&shown) {
            self.placed.push(shown.clone());
        }
        shown
    }

    /// The text that a label stands for, `m~2` for the last merge but one; a text that is no label stands for itself.
    #[must_use]
    pub fn meant(&self, text: &str) -> String {
        if let Some(drawn) = self.drawn.get(text) {
            return drawn.clone();
        }
        if let Some((kind, back)) = text.split_once('~') {
            let of_kind: Vec<&String> = self.placed.iter().filter(|id| id.starts_with(kind)).collect();
            let back: usize = back.parse().unwrap_or(0);
            let at = of_kind.len().checked_sub(back).filter(|_| back > 0);
            return at.map_or_else(|| text.to_owned(), |at| self.meant(of_kind[at]));
        }
        let placed = text.split_at_checked(1).and_then(|(kind, rest)| Some((kind, rest.split_once('-')?)));
        match placed {
            Some((kind, (sequence, number))) if sequence.starts_with('#') => {
                format!("{kind}{}-{number}", self.meant(sequence))
            }
            _ => text.to_owned(),
        }
    }

    /// The labels of one kind, such as `P`.
    #[must_use]
    pub fn all(&self, kind: char) -> Vec<String> {
        (1..=self.counts.get(&kind).copied().unwrap_or(0)).map(|count| format!("{kind}{count}")).collect()
    }

    fn label(&mut self, kind: char, drawn: &str) -> String {
        if kind != '#' && self.sent.contains(drawn) {
            return drawn.to_owned();
        }
        if let Some(label) = self.labels.get(&(kind, drawn.to_owned())) {
            return label.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let label = format!("{kind}{count}");
        self.labels.insert((kind, drawn.to_owned()), label.clone());
        self.drawn.insert(label.clone(), drawn.to_owned());
        label
    }
}
