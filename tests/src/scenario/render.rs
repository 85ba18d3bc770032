//! Answers, and steps, as text.

use super::rename::Names;
use super::{BEGIN, PageOf, Step};
use serde_json::Value;
use spoor::model::{
    AsOf, BlockedValue, Explanation, HistoryEntry, Link, LinkEnds, Profile, QuarantinedLink, ReadError,
    Session, StoredEvent,
};
use spoor::{
    Act, ActError, ActReply, Consent, Event, EventReply, Json, LinkReply, Origin, Reason, Rejection, Reply,
    SessionReply, Timestamp, TrackRequest,
};

/// A time of the scenario's day without the date, any other in full.
fn clock(time: Timestamp) -> String {
    let (shown, day) = (time.to_string(), BEGIN.to_string());
    match shown.strip_prefix(&day[..11]) {
        Some(rest) => rest.trim_end_matches('Z').trim_end_matches(".000").to_owned(),
        None => shown,
    }
}

fn word(consent: Consent) -> &'static str {
    match consent {
        Consent::Granted => "granted",
        Consent::Refused => "refused",
    }
}

pub(super) fn rejection(rejection: &Rejection) -> Vec<String> {
    vec![format!("rejected {} {}", rejection.code, rejection.field.as_deref().unwrap_or("-"))]
}

pub(super) fn read_error(error: &ReadError) -> Vec<String> {
    vec![match error {
        ReadError::NotFound => "not found".to_owned(),
        ReadError::AmbiguousId { .. } => "ambiguous".to_owned(),
        ReadError::Rejected(rejection) => format!("rejected {}", rejection.code),
        ReadError::Failed(error) => panic!("reading: {error}"),
    }]
}

fn session_reply(session: &SessionReply, names: &mut Names) -> String {
    let created = if session.created { " created" } else { "" };
    format!("session {}{created}", names.session(&session.id))
}

pub(super) fn reply(reply: &Reply, names: &mut Names) -> Vec<String> {
    // Sequence numbers and sessions appear first with their events, so these are named first.
    let events: Vec<String> = reply.events.iter().flat_map(|event| event_reply(event, names)).collect();
    let mut lines = vec![match &reply.profile {
        None => "profile none".to_owned(),
        Some(profile) => {
            let (id, primary) = (names.profile(&profile.id), names.profile(&profile.primary_id));
            let usual = profile.created == (profile.reason == Reason::Created);
            let made = match (usual, profile.created) {
                (true, _) => "",
                (false, true) => " new",
                (false, false) => " old",
            };
            format!("profile {id} primary {primary} {}{made}", profile.reason.as_str())
        }
    }];
    lines.push(match &reply.session {
        None => "session none".to_owned(),
        Some(session) => session_reply(session, names),
    });
    lines.extend(events);
    let mut warnings = reply.warnings.clone();
    warnings.sort_unstable();
    lines.extend(warnings.iter().map(|warning| format!("warning {warning}")));
    lines
}

fn event_reply(event: &EventReply, names: &mut Names) -> Vec<String> {
    let sequence = names.sequence(event.seq.0);
    let mut line = format!("{} {} {sequence}", names.event(&event.id), event.status.as_str());
    if let Some(session) = &event.session {
        line += &format!(" {}", session_reply(session, names));
    }
    if let Some(profile) = &event.profile {
        line += &format!(" profile {}", names.profile(profile));
    }
    let mut lines = vec![line];
    // JSON objects have no order, and what was sent as one may come in another.
    let mut refused: Vec<String> =
        event.refused.iter().map(|(path, code)| format!("  refused {path} {code}")).collect();
    refused.sort();
    lines.extend(refused);
    lines.extend(link_replies(&event.links, names));
    let mut warnings = event.warnings.clone();
    warnings.sort_unstable();
    lines.extend(warnings.iter().map(|warning| format!("  warning {warning}")));
    lines
}

/// In the order in which they were decided; those that could not be read come last, since nothing orders them.
fn link_replies(links: &[LinkReply], names: &mut Names) -> Vec<String> {
    const UNREAD: [&str; 4] = ["profile_less", "unknown_namespace", "junk", "unlinkable"];
    let mut unread = Vec::new();
    let mut lines = Vec::new();
    for link in links {
        let mut line = format!("  link {} {}", quoted_if_odd(&link.identifier), link.outcome.as_str());
        if let Some(code) = link.code {
            line += &format!(" {code}");
        }
        for id in [&link.merge, &link.quarantine].into_iter().flatten() {
            line += &format!(" {}", names.placed(id));
        }
        for profile in &link.profiles {
            line += &format!(" {}", names.profile(profile));
        }
        let of = if link.code.is_some_and(|code| UNREAD.contains(&code)) { &mut unread } else { &mut lines };
        of.push(line);
    }
    unread.sort();
    lines.extend(unread);
    lines
}

fn quoted_if_odd(text: &str) -> String {
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') {
        quoted(text)
    } else {
        text.to_owned()
    }
}

pub(super) fn act_reply(reply: &ActReply, names: &mut Names) -> Vec<String> {
    let mut done = match reply.seq {
        Some(seq) => format!("done {}", names.sequence(seq.0)),
        None => "preview".to_owned(),
    };
    // What a preview would be numbered is known to nobody.
    if let Some(merge) = reply.merge.as_ref().filter(|_| reply.seq.is_some()) {
        done += &format!(" {}", names.placed(merge));
    }
    let mut lines = vec![done];
    let preview = reply.seq.is_none();
    for (word, links) in [("removed", &reply.removed), ("added", &reply.added)] {
        let mut shown: Vec<String> = links
            .iter()
            .map(|link| {
                let shown = match word {
                    "removed" if preview => ends(link, names),
                    _ if preview => planned(link, names),
                    _ => self::link(link, names),
                };
                format!("{word} {shown}")
            })
            .collect();
        shown.sort();
        lines.extend(shown);
    }
    for (word, profiles) in [("before", &reply.before), ("after", &reply.after)] {
        let mut shown: Vec<String> = profiles
            .iter()
            .map(|profile| {
                format!(
                    "{word} {} ids {} sessions {} events {}",
                    names.profile(&profile.primary_id),
                    profile.ids,
                    profile.sessions,
                    profile.events
                )
            })
            .collect();
        shown.sort();
        lines.extend(shown);
    }
    if !reply.not_retaken.is_empty() {
        let places: Vec<String> = reply.not_retaken.iter().map(|seq| names.sequence(seq.0)).collect();
        lines.push(format!("not retaken {}", places.join(" ")));
    }
    lines
}

pub(super) fn act_error(error: &ActError) -> Vec<String> {
    vec![match error {
        ActError::NotFound(rejection) => format!("not found {}", rejection.code),
        ActError::Conflict(rejection) => format!("conflict {}", rejection.code),
        ActError::Rejected(rejection) => format!("rejected {}", rejection.code),
        ActError::Failed(error) => panic!("an act: {error}"),
    }]
}

/// What a link joins, without its times.
fn ends(link: &Link, names: &mut Names) -> String {
    match &link.ends {
        LinkEnds::Identifier { profile, identifier } => {
            format!("{} {}", names.profile(profile), quoted_if_odd(identifier))
        }
        LinkEnds::Profiles { profile, other, kind } => {
            format!("{} {} {kind}", names.profile(profile), names.profile(other))
        }
    }
}

/// A link that would be made, with all but its places in the log.
fn planned(link: &Link, names: &mut Names) -> String {
    let ends = ends(link, names);
    let verified = if link.verified { " verified" } else { "" };
    let [first, last] = [link.first_seen, link.last_seen].map(clock);
    format!("{ends} {}{verified} first {first} last {last}", link.state.as_str())
}

pub(super) fn link(link: &Link, names: &mut Names) -> String {
    let ends = ends(link, names);
    let verified = if link.verified { " verified" } else { "" };
    let [first, last] = [(link.first_seq, link.first_seen), (link.last_seq, link.last_seen)]
        .map(|(seq, time)| format!("{} {}", names.sequence(seq.0), clock(time)));
    format!("{ends} {}{verified} first {first} last {last}", link.state.as_str())
}

pub(super) fn history_entry(entry: &HistoryEntry, names: &mut Names) -> String {
    let mut line =
        format!("{} {} {}", names.sequence(entry.seq.0), entry.kind, names.profile(&entry.profile));
    if let Some(identifier) = &entry.identifier {
        line += &format!(" {}", quoted_if_odd(identifier));
    }
    if let Some(code) = entry.code {
        line += &format!(" {code}");
    }
    if let Some(merge) = &entry.merge {
        line += &format!(" {}", names.placed(merge));
    }
    for profile in &entry.profiles {
        line += &format!(" {}", names.profile(profile));
    }
    if let Some(event) = &entry.event {
        line += &format!(" event {}", names.event(event));
    }
    line
}

pub(super) fn quarantined(waiting: &QuarantinedLink, names: &mut Names) -> String {
    let other =
        waiting.other.as_ref().map_or_else(String::new, |other| format!(" other {}", names.profile(other)));
    format!(
        "{} {} primary {} {} {}{other} {}",
        names.placed(&waiting.id),
        names.profile(&waiting.profile),
        names.profile(&waiting.primary_id),
        quoted_if_odd(&waiting.identifier),
        waiting.code,
        names.sequence(waiting.seq.0),
    )
}

pub(super) fn blocked(value: &BlockedValue, names: &mut Names) -> String {
    format!(
        "{} suspended {} {}",
        quoted_if_odd(&value.identifier),
        value.suspended,
        names.sequence(value.seq.0)
    )
}

pub(super) fn explanation(explanation: &Explanation, names: &mut Names) -> Vec<String> {
    let mut lines = vec![if explanation.same { "same" } else { "two" }.to_owned()];
    lines.extend(explanation.chain.iter().map(|link| format!("chain {}", ends(link, names))));
    let mut cut: Vec<String> =
        explanation.cut_links.iter().map(|link| format!("cut {}", ends(link, names))).collect();
    cut.sort();
    lines.extend(cut);
    if let Some(identifiers) = &explanation.cut_identifiers {
        lines.push(format!("cut identifiers {}", identifiers.join(" ")));
    }
    lines
}

/// `own_clock`: the target has the machine's clock, so that receive times are not shown.
pub(super) fn profile(profile: &Profile, own_clock: bool, names: &mut Names) -> Vec<String> {
    let ids: Vec<String> = profile.ids.iter().map(|id| names.profile(id)).collect();
    let counters = profile.counters;
    let mut lines = vec![
        format!(
            "profile {} primary {} ids {}",
            names.profile(&profile.id),
            names.profile(&profile.primary_id),
            ids.join(" ")
        ),
        format!(
            "events {} sessions {} implicit {} page_views {}",
            counters.events, counters.sessions, counters.implicit_sessions, counters.page_views
        ),
    ];
    let seen = |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), clock);
    let created = if own_clock { String::new() } else { format!("created {} ", clock(profile.created_at)) };
    lines.push(format!("{created}first {} last {}", seen(profile.first_seen), seen(profile.last_seen)));
    lines.extend(profile.identifiers.iter().map(|identifier| {
        let name = quoted_if_odd(&format!("{}:{}", identifier.namespace, identifier.value));
        format!(
            "identifier {name} first {} last {}",
            clock(identifier.first_seen),
            clock(identifier.last_seen)
        )
    }));
    lines.extend(profile.traits.iter().map(|(name, value)| format!("trait {name} {}", value.to_value())));
    lines.extend(profile.consents.iter().map(|(name, answer)| format!("consent {name} {}", word(*answer))));
    lines
}

pub(super) fn session(session: &Session, names: &mut Names) -> Vec<String> {
    let profile = match &session.profile {
        None => "profile none".to_owned(),
        Some(profile) => {
            format!("profile {} primary {}", names.profile(&profile.id), names.profile(&profile.primary_id))
        }
    };
    let shared = if session.shared { " shared" } else { "" };
    let counters = session.counters;
    let bounce = if session.bounce { " bounce" } else { "" };
    let ended = session.ended_at.map_or_else(String::new, |time| format!(" ended {}", clock(time)));
    let mut lines = vec![
        format!("session {} source {} {profile}{shared}", names.session(&session.id), session.source),
        format!(
            "events {} page_views {} conversions {}{bounce}",
            counters.events, counters.page_views, counters.conversions
        ),
        format!(
            "started {} last {}{ended} duration_ms {}",
            clock(session.started_at),
            clock(session.last_seen),
            session.duration_ms
        ),
    ];
    let named = [
        ("value", &session.value),
        ("entry", &session.entry_page),
        ("exit", &session.exit_page),
        ("referrer", &session.referrer),
    ];
    lines.extend(named.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?))));
    if !session.utm.is_empty() {
        let mut utm: Vec<String> =
            session.utm.iter().map(|(name, value)| format!("{name}={value}")).collect();
        utm.sort();
        lines.push(format!("utm {}", utm.join(" ")));
    }
    let agent: Vec<&str> =
        [&session.device, &session.os, &session.browser].into_iter().flatten().map(String::as_str).collect();
    if !agent.is_empty() {
        lines.push(format!("agent {}", agent.join(", ")));
    }
    lines
}

pub(super) fn stored_event(event: &StoredEvent, names: &mut Names) -> String {
    let profile = event.profile.as_ref().map_or_else(|| "none".to_owned(), |id| names.profile(id));
    let mut line = format!(
        "{} {} {} {} source {} session {} profile {profile}",
        clock(event.time),
        event.event_type,
        names.event(&event.id),
        names.sequence(event.seq.0),
        event.source,
        names.session(&event.session),
    );
    if let Some(properties) = &event.properties {
        line += &format!(" {}", properties.to_value());
    }
    if !event.identifiers.is_empty() {
        let identifiers: Vec<String> = event
            .identifiers
            .iter()
            .map(|(namespace, value)| format!("{namespace}:{}", quoted(value)))
            .collect();
        line += &format!(" {}", identifiers.join(" "));
    }
    line
}

/// A step as a scenario file has it, to show a history that went wrong.
#[must_use]
pub fn write_step(step: &Step) -> String {
    match step {
        Step::Track(request) => write_request(request),
        Step::Wire(path, body) => format!("wire {path}\n{body}"),
        Step::At(time) => format!("at {time}"),
        Step::Later(us) => format!("at +{}ms", us / 1_000),
        Step::Reopen => "reopen".to_owned(),
        Step::Crash => "crash".to_owned(),
        Step::Check => "check".to_owned(),
        Step::Profile(id, as_of) => format!("profile {id}{}", write_past(*as_of)),
        Step::Identifier(identifier, as_of) => format!("identifier {identifier}{}", write_past(*as_of)),
        Step::Act(act, dry_run) => format!("{}{}", write_act(act), if *dry_run { " dry_run" } else { "" }),
        Step::Explain(from, to) => format!("explain {from} {to}"),
        Step::Session(id) => format!("session {id}"),
        Step::Pages(PageOf::Events, id, _) => format!("events {id}"),
        Step::Pages(PageOf::Sessions, id, _) => format!("sessions {id}"),
        Step::Pages(PageOf::SessionEvents, id, _) => format!("session-events {id}"),
        Step::Pages(PageOf::Links, id, _) => format!("links {id}"),
        Step::Pages(PageOf::History, id, _) => format!("history {id}"),
        Step::Pages(PageOf::Quarantine, ..) => "quarantine".to_owned(),
        Step::Pages(PageOf::Blocked, ..) => "blocked".to_owned(),
    }
}

fn write_past(as_of: AsOf) -> String {
    let member =
        |name: &str, time: Option<Timestamp>| time.map_or_else(String::new, |time| format!(" {name}={time}"));
    member("at", as_of.at) + &member("until", as_of.until)
}

fn write_act(act: &Act) -> String {
    let word = |holds: bool, word: &str| if holds { format!(" {word}") } else { String::new() };
    match act {
        Act::Undo { merge, keep_apart } => format!("undo {merge}{}", word(*keep_apart, "keep_apart")),
        Act::Merge { profile, other, force } => format!("merge {profile} {other}{}", word(*force, "force")),
        Act::Detach { profile, identifier } => format!("detach {profile} {identifier}"),
        Act::Attach { profile, identifier } => format!("attach {profile} {identifier}"),
        Act::Decide { quarantine, approve } => {
            format!("decide {quarantine} {}", if *approve { "approve" } else { "reject" })
        }
        Act::Block { identifier } => format!("block {identifier}"),
        Act::Unblock { identifier } => format!("unblock {identifier}"),
    }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn write_request(request: &TrackRequest) -> String {
    let mut out = "track".to_owned();
    let texts = [
        ("source", &request.source),
        ("session", &request.session),
        ("profile", &request.profile),
        ("user_agent", &request.user_agent),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            out += &format!(" {name}={}", quoted(value));
        }
    }
    if let Some(time) = request.sent_at {
        out += &format!(" sent_at={time}");
    }
    if let Some(context) = &request.context {
        out += &format!(" context={context}");
    }
    if request.profile_less {
        out += " profile_less";
    }
    if request.origin == Origin::Import {
        out += " import";
    }
    for event in &request.events {
        out += &format!("\nevent{}", write_event(event));
    }
    out
}

fn write_event(event: &Event) -> String {
    let mut out = String::new();
    if let Some(id) = &event.id {
        out += &format!(" id={}", quoted(id));
    }
    out += &format!(" type={}", quoted(&event.event_type));
    if let Some(time) = event.time {
        out += &format!(" time={time}");
    }
    let jsons = [("properties", &event.properties), ("context", &event.context)];
    out.extend(jsons.iter().filter_map(|(name, json)| Some(format!(" {name}={}", json.as_ref()?))));
    let object = |members: Vec<String>| format!("{{{}}}", members.join(","));
    let traits = &event.traits;
    let pairs: [(&str, &[(String, Json)]); 5] = [
        ("set", &traits.set),
        ("set_once", &traits.set_once),
        ("add", &traits.add),
        ("append", &traits.append),
        ("remove", &traits.remove),
    ];
    for (name, list) in pairs.iter().filter(|(_, list)| !list.is_empty()) {
        let members = list.iter().map(|(name, json)| format!("{}:{json}", quoted(name))).collect();
        out += &format!(" {name}={}", object(members));
    }
    if !traits.unset.is_empty() {
        let names: Vec<String> = traits.unset.iter().map(|name| quoted(name)).collect();
        out += &format!(" unset=[{}]", names.join(","));
    }
    if !event.identifiers.is_empty() {
        let members = event.identifiers.iter().map(|(ns, value)| format!("{}:{}", quoted(ns), quoted(value)));
        out += &format!(" identifiers={}", object(members.collect()));
    }
    if !event.consents.is_empty() {
        let members =
            event.consents.iter().map(|(name, answer)| format!("{}:\"{}\"", quoted(name), word(*answer)));
        out += &format!(" consents={}", object(members.collect()));
    }
    out
}
