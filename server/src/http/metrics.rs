//! What the server counts of its work, and its store's numbers, in the form that Prometheus reads. docs/operations.md
//! says what each is.
//!
//! Labels are routes, statuses and codes of ours: nothing that a client sent, and few enough to keep for ever.

use super::sizes;
use crate::store::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use spoor::model::{Distribution, Figures, Status};
use spoor::{EventStatus, Reply};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What `Content-Type` calls the form.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the time that an answer takes, in seconds.
const LATENCY_BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

/// The server's counts.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    latency: Family<OfRoute, Histogram>,
    /// Of `events`, found once: most requests count here.
    stored: Counter,
    duplicate: Counter,
    links: Family<Outcome, Counter>,
    refusals: Family<Code, Counter>,
    connections: Gauge,
    subscribers: Gauge,
}

/// One more for as long as it is held.
#[derive(Debug)]
pub(super) struct Counted(Gauge);

impl Counted {
    fn one_more(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Of a server of `store`, whose files are in `data_dir`.
    pub(super) fn new(store: Arc<dyn Store>, data_dir: PathBuf) -> Self {
        let mut registry = Registry::with_prefix("spoor");
        let requests = Family::default();
        registry.register("requests", "Requests answered, by route and status", requests.clone());
        let histogram: fn() -> Histogram = || Histogram::new(LATENCY_BOUNDS);
        let latency = Family::new_with_constructor(histogram);
        registry.register(
            "request_duration_seconds",
            "Time from a request's head to its answer",
            latency.clone(),
        );
        let events = Family::<Outcome, Counter>::default();
        let of_events = |status: EventStatus| {
            let outcome = Outcome { outcome: status.as_str() };
            Counter::clone(&events.get_or_create(&outcome))
        };
        let (stored, duplicate) = (of_events(EventStatus::Stored), of_events(EventStatus::Duplicate));
        registry.register("events", "Events answered, by what became of them", events.clone());
        let links = Family::default();
        registry.register("links", "Identifiers of stored events, by what became of them", links.clone());
        let refusals = Family::default();
        registry.register(
            "refusals",
            "Requests, and items of arrays and streams, refused by code",
            refusals.clone(),
        );
        let connections = Gauge::default();
        registry.register("connections", "Connections that are open", connections.clone());
        let subscribers = Gauge::default();
        registry.register("subscribers", "Streams of changes that are open", subscribers.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", version);
        registry.register_collector(Box::new(OfStore { store, data_dir }));
        Self { registry, requests, latency, stored, duplicate, links, refusals, connections, subscribers }
    }

    /// A request was answered.
    pub(super) fn answered(&self, route: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Answered { route, status: u32::from(status) }).inc();
        self.latency.get_or_create(&OfRoute { route }).observe(took.as_secs_f64());
    }

    /// A tracking request has its reply.
    pub(super) fn replied(&self, reply: &Reply) {
        let (mut stored, mut duplicate) = (0, 0);
        for event in &reply.events {
            match event.status {
                EventStatus::Stored => stored += 1,
                // Its links are the first's, which were counted.
                EventStatus::Duplicate => {
                    duplicate += 1;
                    continue;
                }
            }
            for link in &event.links {
                self.links.get_or_create(&Outcome { outcome: link.outcome.as_str() }).inc();
            }
        }
        self.stored.inc_by(stored);
        self.duplicate.inc_by(duplicate);
    }

    /// A request, or an item of many, was refused with a code of the table.
    pub(super) fn refused(&self, code: &str) {
        self.refusals.get_or_create(&Code { code: code.to_owned() }).inc();
    }

    /// A connection, while what is returned is held.
    pub(super) fn connection(&self) -> Counted {
        Counted::one_more(&self.connections)
    }

    /// A stream of changes, while what is returned is held.
    pub(super) fn subscriber(&self) -> Counted {
        Counted::one_more(&self.subscribers)
    }

    /// All of it now, as text. Looks at the sizes of the store's files.
    ///
    /// # Errors
    /// Never, with metrics that can be written.
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// What the store tells when it is asked.
struct OfStore {
    store: Arc<dyn Store>,
    data_dir: PathBuf,
}

impl fmt::Debug for OfStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfStore").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

impl Collector for OfStore {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut to = Writer(&mut encoder);
        to.status(&self.store.status())?;
        to.figures(&self.store.figures())?;
        let failed = u64::from(self.store.failure().is_some());
        to.gauge("store_failed", "1 once the store has closed itself", failed)?;
        to.sizes(&self.data_dir)
    }
}

/// Writes numbers that are asked for, beside those that are kept.
struct Writer<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Writer<'_, '_> {
    fn status(&mut self, status: &Status) -> fmt::Result {
        let Status {
            position,
            checkpoint_position,
            events,
            sessions,
            fragments,
            profiles,
            overlay_bytes,
            mailbox_requests,
        } = *status;
        self.gauge("position", "Last position of the log that readers see", position)?;
        self.gauge(
            "checkpoint_position",
            "Last position that the index on disk covers",
            checkpoint_position,
        )?;
        let length = position.saturating_sub(checkpoint_position);
        self.gauge("checkpoint_lag", "Positions that the next opening reads from the log", length)?;
        self.gauge("stored_events", "Events in the store", events)?;
        self.gauge("stored_sessions", "Sessions in the store", sessions)?;
        self.gauge("stored_fragments", "Ids of devices in the store", fragments)?;
        self.gauge("stored_profiles", "Profiles in the store", profiles)?;
        self.gauge("overlay_bytes", "Memory for what changed since the last checkpoint", overlay_bytes)?;
        self.gauge("mailbox_requests", "Requests that wait for the writer", mailbox_requests)
    }

    fn figures(&mut self, figures: &Figures) -> fmt::Result {
        let Figures { group_events, commit_us, checkpoint_ms, checkpoint_age_ms, merges, partings } = figures;
        self.histogram("group_events", "Positions of the log that one sync made durable", group_events, 1.0)?;
        self.histogram("commit_duration_seconds", "Time that the disk took for a group", commit_us, 1e6)?;
        self.histogram("checkpoint_duration_seconds", "Time that a checkpoint took", checkpoint_ms, 1e3)?;
        let age_s = checkpoint_age_ms / 1_000;
        self.gauge("checkpoint_age_seconds", "Since the last checkpoint, or since opening", age_s)?;
        self.counter("merges", "Profiles that became one with another", *merges)?;
        self.counter("partings", "Profiles that came apart by an act", *partings)
    }

    fn sizes(&mut self, data_dir: &std::path::Path) -> fmt::Result {
        let help = "Bytes of the store's files";
        let mut family = self.0.encode_descriptor("store_bytes", help, None, MetricType::Gauge)?;
        for (part, bytes) in sizes::of(data_dir) {
            family.encode_family(&Part { part })?.encode_gauge(&signed(bytes))?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&signed(value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)
    }

    /// `unit` is how many of the numbers make one of what is shown.
    #[expect(clippy::cast_precision_loss, reason = "a sum of this size is read as about so much")]
    fn histogram(&mut self, name: &str, help: &str, numbers: &Distribution, unit: f64) -> fmt::Result {
        let mut buckets: Vec<(f64, u64)> =
            numbers.below.iter().map(|(bound, count)| (*bound as f64 / unit, *count)).collect();
        // The encoder writes this bound as +Inf.
        buckets.push((f64::MAX, numbers.beyond));
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(numbers.sum as f64 / unit, count, &buckets, None)
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
