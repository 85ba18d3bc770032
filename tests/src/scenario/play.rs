//! Playing steps against a target.

use super::parse::{PageOf, Scenario, Step, Written, parse};
use super::rename::Names;
use super::{BEGIN, render};
use crate::target::{Maker, Need, Target};
use spoor::model::{AsOf, Page, PageRequest, Profile, ReadError};
use spoor::settings::Keys;
use spoor::{Act, Origin, Settings, Timestamp, TrackRequest};
use std::path::Path;

/// Pages of one read that are followed before it counts as going on for ever.
const PAGES_MAX: usize = 1_000;

/// A target, its clock, and names for what it draws.
pub struct Player {
    target: Box<dyn Target>,
    now: Timestamp,
    /// Names for what the target draws.
    pub names: Names,
    last_sequence: u64,
    /// Names of the sources whose keys anybody may read.
    public: Vec<String>,
}

impl std::fmt::Debug for Player {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Player({})", self.target.name())
    }
}

impl Player {
    /// A player of an empty store.
    #[must_use]
    pub fn new(maker: Maker, settings: &Settings) -> Self {
        let public = settings.sources.iter().filter(|(_, source)| source.keys == Keys::Public);
        Self {
            target: maker(settings, BEGIN),
            now: BEGIN,
            names: Names::default(),
            last_sequence: 0,
            public: public.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// The target that is played against.
    pub fn target(&mut self) -> &mut dyn Target {
        &mut *self.target
    }

    /// Whether the target can do a step at all.
    #[must_use]
    pub fn can(&self, step: &Step) -> bool {
        let need = match step {
            Step::At(_) | Step::Later(_) => Need::Clock,
            Step::Track(request)
                if request.source.as_ref().is_some_and(|name| self.public.contains(name)) =>
            {
                Need::Whole
            }
            // What is clamped or corrected depends on the time of receipt.
            Step::Track(request) if request.sent_at.is_some() => Need::Clock,
            Step::Track(request) if request.events.iter().any(|event| event.time.is_none()) => Need::Clock,
            Step::Track(request) if request.origin == Origin::Import => Need::Import,
            Step::Wire(..) => Need::Wire,
            // What a person says of an identifier is seen at the time of its receipt.
            Step::Act(Act::Attach { .. } | Act::Decide { .. }, _) => Need::Clock,
            Step::Profile(_, as_of) | Step::Identifier(_, as_of) if as_of.at.is_some() => Need::Clock,
            _ => return true,
        };
        !self.target.lacks(need)
    }

    /// What a file expects, without the receive times where the target has a clock of its own.
    fn expected(&self, written: &Written) -> String {
        if !self.target.lacks(Need::Clock) {
            return written.expected.clone();
        }
        if !matches!(written.step, Step::Profile(..) | Step::Identifier(..)) {
            return self.without_times_of_acts(&written.expected);
        }
        let without = |line: &str| match line.strip_prefix("created ").and_then(|rest| rest.split_once(' ')) {
            Some((_, rest)) => rest.to_owned(),
            None => line.to_owned(),
        };
        written.expected.lines().map(without).collect::<Vec<_>>().join("\n")
    }

    /// Links that a person makes, or a block, are seen at the time of its receipt.
    fn without_times_of_acts(&self, answer: &str) -> String {
        let without = |line: &str| {
            if !self.target.lacks(Need::Clock) || !(line.contains(" hand ") || line.contains(" device ")) {
                return line.to_owned();
            }
            let is_time = |word: &&str| word.contains(':') && word.starts_with(|c: char| c.is_ascii_digit());
            line.split(' ').filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ")
        };
        answer.lines().map(without).collect::<Vec<_>>().join("\n")
    }

    /// Does a step and answers in lines.
    pub fn step(&mut self, step: &Step) -> String {
        let answer = self.lines(step).join("\n");
        self.without_times_of_acts(&answer)
    }

    fn lines(&mut self, step: &Step) -> Vec<String> {
        match step {
            Step::Track(request) => self.track(request),
            Step::Wire(path, body) => self.wire(path, body),
            Step::At(time) => self.set_clock(*time),
            Step::Later(us) => self.set_clock(Timestamp(self.now.0 + us)),
            Step::Reopen => self.again(|target| target.reopen()),
            Step::Crash => self.again(|target| target.crash()),
            Step::Check => self.check(),
            Step::Profile(label, as_of) => {
                let id = self.names.meant(label);
                let now = AsOf::default();
                let answer = if *as_of == now {
                    self.target.profile(&id)
                } else {
                    self.target.profile_as_of(&id, *as_of)
                };
                self.show_profile(answer)
            }
            Step::Identifier(identifier, as_of) => {
                // No id was asked for, so that any of the person's may stand there.
                let answer = self.target.profile_of_identifier(identifier, *as_of);
                self.show_profile(answer.map(|found| Profile { id: found.primary_id.clone(), ..found }))
            }
            Step::Act(act, dry_run) => self.act(act, *dry_run),
            Step::Explain(from, to) => {
                let (from, to) = (self.names.meant(from), self.names.meant(to));
                let answer = self.target.explain(&from, &to);
                self.show(answer, |explanation, names| render::explanation(&explanation, names))
            }
            Step::Session(label) => {
                let answer = self.target.session(&self.names.meant(label));
                self.show(answer, |session, names| render::session(&session, names))
            }
            Step::Pages(of, label, page) => self.pages(*of, label, page),
        }
    }

    fn set_clock(&mut self, now: Timestamp) -> Vec<String> {
        self.now = now;
        self.target.set_clock(now);
        Vec::new()
    }

    fn track(&mut self, request: &TrackRequest) -> Vec<String> {
        let mut request = request.clone();
        for id in [&mut request.profile, &mut request.session].into_iter().flatten() {
            let meant = self.names.meant(id);
            if meant == *id {
                self.names.note_sent(id);
            }
            *id = meant;
        }
        for id in request.events.iter().filter_map(|event| event.id.as_ref()) {
            self.names.note_sent(id);
        }
        match self.target.track(&request) {
            Ok(reply) => {
                for event in reply.events.iter().filter(|event| event.status == spoor::EventStatus::Stored) {
                    assert!(event.seq.0 > self.last_sequence, "sequence numbers grow: {reply:?}");
                    self.last_sequence = event.seq.0;
                }
                render::reply(&reply, &mut self.names)
            }
            Err(rejection) => render::rejection(&rejection),
        }
    }

    fn act(&mut self, act: &Act, dry_run: bool) -> Vec<String> {
        let mut act = act.clone();
        let ids: Vec<&mut String> = match &mut act {
            Act::Undo { merge, .. } => vec![merge],
            Act::Merge { profile, other, .. } => vec![profile, other],
            Act::Detach { profile, .. } | Act::Attach { profile, .. } => vec![profile],
            Act::Decide { quarantine, .. } => vec![quarantine],
            Act::Block { .. } | Act::Unblock { .. } => Vec::new(),
        };
        for id in ids {
            *id = self.names.meant(id);
        }
        match self.target.act(&act, dry_run) {
            Ok(reply) => {
                assert_eq!(reply.seq.is_none(), dry_run, "a preview takes no place in the log: {reply:?}");
                if let Some(seq) = reply.seq {
                    assert!(seq.0 > self.last_sequence, "sequence numbers grow: {reply:?}");
                    self.last_sequence = seq.0;
                }
                render::act_reply(&reply, &mut self.names)
            }
            Err(error) => render::act_error(&error),
        }
    }

    fn show_profile(&mut self, answer: Result<Profile, ReadError>) -> Vec<String> {
        let own_clock = self.target.lacks(Need::Clock);
        self.show(answer, |profile, names| render::profile(&profile, own_clock, names))
    }

    fn wire(&mut self, path: &str, body: &str) -> Vec<String> {
        let (status, answer) = self.target.send(path, body);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
        let mut errors: Vec<String> = Vec::new();
        let items = answer.as_array().cloned().unwrap_or_else(|| vec![answer]);
        for item in items {
            let error = if item["error"].is_object() { &item["error"] } else { &item };
            let member = |name: &str| error[name].as_str().unwrap_or("-").to_owned();
            errors.push(if error["code"].is_string() {
                format!("{} {}", member("code"), member("field"))
            } else {
                "accepted".to_owned()
            });
        }
        errors.insert(0, status.to_string());
        errors
    }

    /// Closes and opens; everything that is checked must be the same after it.
    fn again(&mut self, how: fn(&mut dyn Target)) -> Vec<String> {
        let before = self.target.check();
        how(&mut *self.target);
        let after = self.target.check();
        let digests = |report: &spoor::model::CheckReport| {
            (report.store_digest.clone(), report.content_digest.clone(), report.faults.clone())
        };
        assert_eq!(
            before.as_ref().map(digests),
            after.as_ref().map(digests),
            "the store after opening it again"
        );
        Vec::new()
    }

    fn check(&mut self) -> Vec<String> {
        match self.target.check() {
            Some(report) if !report.faults.is_empty() => report.faults,
            _ => vec!["sound".to_owned()],
        }
    }

    fn show<T>(
        &mut self,
        answer: Result<T, ReadError>,
        lines: impl FnOnce(T, &mut Names) -> Vec<String>,
    ) -> Vec<String> {
        match answer {
            Ok(found) => lines(found, &mut self.names),
            Err(error) => render::read_error(&error),
        }
    }

    fn pages(&mut self, of: PageOf, label: &str, page: &PageRequest) -> Vec<String> {
        let id = self.names.meant(label);
        let mut page = page.clone();
        let mut lines = Vec::new();
        for _ in 0..PAGES_MAX {
            let answer = self.page(of, &id, &page);
            match answer {
                Err(error) => return render::read_error(&error),
                Ok(found) => {
                    lines.extend(found.items);
                    page.cursor = found.cursor;
                }
            }
            if page.cursor.is_none() {
                return lines;
            }
            lines.push("-- next page".to_owned());
        }
        panic!("the pages of {label} do not end")
    }

    fn page(&mut self, of: PageOf, id: &str, page: &PageRequest) -> Result<Page<String>, ReadError> {
        let names = &mut self.names;
        Ok(match of {
            PageOf::Events => {
                shown(self.target.profile_events(id, page)?, |event| render::stored_event(event, names))
            }
            PageOf::SessionEvents => {
                shown(self.target.session_events(id, page)?, |event| render::stored_event(event, names))
            }
            PageOf::Links => shown(self.target.profile_links(id, page)?, |link| render::link(link, names)),
            PageOf::History => {
                shown(self.target.profile_history(id, page)?, |entry| render::history_entry(entry, names))
            }
            PageOf::Quarantine => {
                shown(self.target.quarantine(page)?, |waiting| render::quarantined(waiting, names))
            }
            PageOf::Blocked => shown(self.target.blocked(page)?, |value| render::blocked(value, names)),
            PageOf::Sessions => shown(self.target.profile_sessions(id, page)?, |session| {
                render::session(session, names)[0].clone()
            }),
        })
    }
}

fn shown<T>(page: Page<T>, mut item: impl FnMut(&T) -> String) -> Page<String> {
    Page { items: page.items.iter().map(&mut item).collect(), cursor: page.cursor }
}

/// How a scenario went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was answered as expected.
    Passed,
    /// The target cannot do it.
    LeftOut,
    /// The differences, for a person.
    Failed(String),
}

/// Plays a file against a new target. With `update` the target's answers are written into the file.
///
/// # Panics
/// If the file cannot be read, or is no scenario.
#[must_use]
pub fn play(path: &Path, maker: Maker, update: bool) -> Outcome {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let scenario = parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut player = Player::new(maker, &scenario.settings);
    // Bytes for a server are left out one by one; anything else that cannot be done changes all that follows.
    if scenario
        .steps
        .iter()
        .any(|written| !player.can(&written.step) && !matches!(written.step, Step::Wire(..)))
    {
        return Outcome::LeftOut;
    }
    let mut answers = Vec::new();
    let mut differences = String::new();
    for written in &scenario.steps {
        let answer =
            if player.can(&written.step) { player.step(&written.step) } else { written.expected.clone() };
        if answer != player.expected(written) {
            differences += &format!(
                "{}:{}: {} answers\n{answer}\n  and not\n{}\n\n",
                path.display(),
                written.line,
                player.target().name(),
                written.expected
            );
        }
        answers.push(answer);
    }
    if update && !differences.is_empty() {
        std::fs::write(path, updated(&text, &scenario, &answers)).expect("writing the scenario");
    }
    if differences.is_empty() || update { Outcome::Passed } else { Outcome::Failed(differences) }
}

/// The file with other answers.
fn updated(text: &str, scenario: &Scenario, answers: &[String]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out: Vec<&str> = Vec::new();
    let mut next = 0;
    for (written, answer) in scenario.steps.iter().zip(answers) {
        out.extend(&lines[next..written.answer_line]);
        next = written.answer_line + written.answer_lines;
        if !answer.is_empty() {
            out.push("----");
            out.extend(answer.lines());
        }
    }
    out.extend(&lines[next..]);
    out.join("\n") + "\n"
}
