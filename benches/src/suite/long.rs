//! What takes long by its nature: a store that grows, and the memory of a server whose store has grown.

use super::runs::{EMBEDDED_IN_FLIGHT, ENGINE_DURABILITY, Run, told};
use crate::Fault;
use crate::book::{Entry, Figure};
use crate::embedded::Client;
use crate::filled::Peer;
use crate::growth::{Opened, Step, fill, open};
use crate::load::protocol::Protocol;
use crate::load::{Plan, Target, Version, run as send};
use crate::measure::Point;
use crate::probe::Of;
use crate::servers::Beside;
use crate::traffic::Traffic;
use crate::usage::{Usage, resident};
use serde_json::json;
use std::time::Duration;

/// Events of a step, of which the first and the last are compared.
const STEP_MAX_EVENTS: u64 = 1_000_000;
/// A store that grows to less than so many steps has smaller ones.
const STEPS_MIN: u64 = 3;
/// How long a server that was just started is left alone before its memory is looked at.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// How long it is sent to at a time until it stores in that time, and how often at most.
const WARMED_BY: Duration = Duration::from_millis(200);
const WARMED_MAX_TIMES: usize = 100;
/// What a server may take besides its cache and what changed, in bytes: 128 MB.
const BESIDES_BYTES: usize = 128_000_000;

/// Fills a store, stops as a kill would with requests in flight, and opens it; then once more after a clean stop.
pub(super) fn growth(run: &Run<'_>) -> Result<Entry, Fault> {
    let dir = run.dir()?;
    let data = dir.path().join("data");
    let settings = run.settings();
    let events = run.options.stored_events;
    let traffic = Traffic::new(run.options.shape)?;
    let mut client = Client::open(&data, settings.clone(), traffic, EMBEDDED_IN_FLIGHT)?;
    let before = Usage::now()?;
    let step = (events / STEPS_MIN).clamp(1, STEP_MAX_EVENTS);
    let steps = fill(&mut client, events, step, |_| ())?;
    let spent = Usage::now()?.since(&before);
    client.engine.abandon();
    let (engine, killed) = open(&data, &settings)?;
    engine.close()?;
    if killed.status.events < client.stored {
        let lost = client.stored - killed.status.events;
        return Err(format!("{lost} events that were answered are gone after a kill").into());
    }
    let (engine, stopped) = open(&data, &settings)?;
    engine.close()?;
    let mut entry = run.embedded_entry(ENGINE_DURABILITY, client.stored, &spent);
    entry.settings = json!({ "in_flight": EMBEDDED_IN_FLIGHT, "store": settings.store, "traffic": run.options.shape, "events": events, "step": step });
    entry.points = points(&steps);
    entry.figures = growth_figures(&steps, &killed, &stopped);
    run.stored(entry)
}

fn points(steps: &[Step]) -> Vec<Point> {
    let mut at_s = 0.0;
    let point = |step: &Step| {
        at_s += step.took.as_secs_f64();
        Point { at_s, events_per_s: step.events_per_s, worst_us: 0 }
    };
    steps.iter().map(point).collect()
}

fn growth_figures(steps: &[Step], killed: &Opened, stopped: &Opened) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let (Some(first), Some(last)) = (steps.first(), steps.last()) {
        for (key, step) in [("first_rate", first), ("last_rate", last)] {
            let name = format!("rate of the step up to {} events", step.stored);
            figures.push(Figure { key, name, value: step.events_per_s, unit: "events/s" });
        }
    }
    for (key, how, opened) in
        [("opened_killed", "a kill", killed), ("opened_stopped", "a clean stop", stopped)]
    {
        let name = format!("opening after {how}, {} records after the checkpoint", opened.after_checkpoint());
        figures.push(Figure { key, name, value: opened.took.as_secs_f64(), unit: "s" });
    }
    figures
}

/// The server as a process: what it takes when it was just made, and at most while it is written to and read from, its
/// store holding events.
pub(super) fn memory(run: &mut Run<'_>) -> Result<Entry, Fault> {
    let program = run.options.server_program()?;
    let settings = run.settings();
    let idle = {
        let dir = run.dir()?;
        let server = Beside::start(&program, dir.path(), &settings)?;
        std::thread::sleep(SETTLED_AFTER);
        resident(server.pid())?.now_bytes
    };
    let (connections, batch) = (run.options.batch_connections, run.options.batch);
    let (dir, traffic) = run.begin(Peer::Spoor, run.options.stored_events, connections)?;
    let server = Beside::start(&program, dir.path(), &settings)?;
    let opened = resident(server.pid())?.now_bytes;
    let target = Target::Http { address: server.address, version: Version::One, protocol: Protocol::Json };
    let plan = Plan { duration: run.options.half_duration, ..run.plan(target, connections, batch) };
    let traffic = warmed(&plan, traffic)?;
    let mut probe = run.probe(Of::Process(server.pid()), plan.warm_up + plan.duration);
    let reading = run.read_beside(server.address, &plan)?;
    let (measured, _) = send(&plan, traffic, &mut probe)?;
    let reads = reading.end()?;
    let most = resident(server.pid())?.peak_bytes;
    let mut entry = run.entry(ENGINE_DURABILITY, &measured);
    entry.settings = json!({ "load": plan, "store": settings.store, "traffic": run.options.shape, "stored_before": run.options.stored_events });
    entry.reads = Some(told(&reads));
    probe.note(&mut entry);
    let limit = (settings.store.cache_bytes + settings.store.overlay_bytes + BESIDES_BYTES) as u64;
    entry.figures = [
        ("idle_mib", "fresh, idle", idle),
        ("opened_mib", "opened, idle", opened),
        ("most_mib", "the most while it was written to and read from", most),
        ("limit_mib", "cache, overlay and 128 MB", limit),
    ]
    .map(|(key, name, bytes)| Figure { key, name: name.to_owned(), value: mib(bytes), unit: "MiB" })
    .into();
    run.stored(entry)
}

/// Sends until something is stored while it is looked at: a process makes some things once, for its first requests, which
/// may take longer than what is measured.
fn warmed(plan: &Plan, traffic: Vec<Traffic>) -> Result<Vec<Traffic>, Fault> {
    let short = Plan { warm_up: Duration::ZERO, duration: WARMED_BY, ..plan.clone() };
    let mut traffic = traffic;
    for _ in 0..WARMED_MAX_TIMES {
        let (measured, rest) = send(&short, traffic, &mut ())?;
        traffic = rest;
        if measured.counts.stored > 0 {
            break;
        }
    }
    Ok(traffic)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
