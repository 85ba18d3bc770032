//! The stream of changes: what happened from a position on, and what happens next, for as long as the subscriber
//! reads.
//!
//! Each subscriber has a task that reads some changes, sends them, and reads more only once there is room for them in
//! the connection: whoever reads slowly holds a few batches and holds up nobody. When all is sent it waits for the
//! next position, which the store tells through one channel for all subscribers.
//!
//! 1. A stream with an end that was asked for, or one that the server's stop ends, is ended properly.
//! 2. Any other is broken off, so that nobody takes a part for the whole.
//!
//! Knows no route, and nothing of what a change says.

use super::accept;
use super::errors::Problem;
use super::metrics::Metrics;
use super::parameters::number;
use super::stream::{Pipe, StreamBody, piped};
use crate::access::keyring::Caller;
use crate::limits::{CHANGES_BATCH_MAX, CHANGES_HEARTBEAT_MS, CHANGES_READS_MAX, CHANGES_STALL_MS};
use crate::protocol::{change, write};
use crate::store::Store;
use hyper::HeaderMap;
use hyper::body::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Which changes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Following {
    /// Those after this position.
    pub after: u64,
    /// At most so many; without it they never end.
    pub limit: Option<usize>,
    /// Only those that have happened by now.
    pub until_now: bool,
}

/// How changes are parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// One JSON object a line.
    Lines,
    /// Server-sent events, whose id is the position.
    Events,
}

impl Framing {
    /// The one that `Accept` asks for.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        if accept::names(headers, Self::Events.media_type()) { Self::Events } else { Self::Lines }
    }

    /// What `Content-Type` calls it.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    /// What is sent before the first change.
    const fn greeting(self) -> Option<&'static [u8]> {
        match self {
            Self::Lines => None,
            Self::Events => Some(b"retry: 1000\n\n"),
        }
    }

    /// What is sent where nothing happens.
    const fn heartbeat(self) -> &'static [u8] {
        match self {
            Self::Lines => b"\n",
            Self::Events => b":\n\n",
        }
    }

    fn write(self, out: &mut Vec<u8>, seq: u64, line: &[u8]) {
        match self {
            Self::Lines => out.extend_from_slice(line),
            Self::Events => {
                out.extend_from_slice(format!("id: {seq}\ndata: ").as_bytes());
                // The line ends itself; an empty one ends the event.
                out.extend_from_slice(line);
                out.push(b'\n');
            }
        }
    }
}

/// Where a browser that lost its connection was: it says so in a header, and its address is still that of the first
/// time.
///
/// # Errors
/// `parameter_invalid` if it is no position.
pub(super) fn resumed(headers: &HeaderMap, following: Following) -> Result<Following, Problem> {
    let Some(last) = headers.get(LAST_EVENT_ID) else { return Ok(following) };
    match last.to_str().ok().and_then(|text| number(text.trim())) {
        Some(after) => Ok(Following { after, ..following }),
        None => {
            let message = "this header is the id of a change, which is its position";
            Err(Problem::field("parameter_invalid", "Last-Event-ID", message))
        }
    }
}

const LAST_EVENT_ID: &str = "last-event-id";

/// What all subscribers share.
pub(super) struct Feed {
    store: Arc<dyn Store>,
    /// The last position that readers see.
    published: Arc<watch::Sender<u64>>,
    reads: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Feed {
    /// Of `store`, which tells of each new position from now on.
    pub(super) fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        let published = Arc::new(watch::Sender::new(0));
        let told = Arc::downgrade(&published);
        store.on_published(Box::new(move |seq| {
            let Some(published) = told.upgrade() else { return false };
            published.send_if_modified(|before| raise(before, seq.0));
            true
        }));
        // What was published before it listened.
        let position = store.status().position;
        published.send_if_modified(|before| raise(before, position));
        Self { store, published, reads: Arc::new(Semaphore::new(CHANGES_READS_MAX)), metrics }
    }

    /// Begins a stream: what comes back is the body of its answer.
    ///
    /// # Errors
    /// `position_unknown` if the store has not come as far as the subscriber.
    pub(super) fn follow(
        &self,
        following: Following,
        framing: Framing,
        caller: Caller,
        stopping: watch::Receiver<bool>,
    ) -> Result<StreamBody, Problem> {
        let position = self.store.status().position;
        if following.after > position {
            let message =
                format!("this store has come to position {position}: it is not the one that was followed");
            return Err(Problem::field("position_unknown", "after", message));
        }
        let (pipe, body) = piped();
        let subscriber = Subscriber {
            store: Arc::clone(&self.store),
            published: self.published.subscribe(),
            reads: Arc::clone(&self.reads),
            after: following.after,
            left: following.limit,
            end: following.until_now.then_some(position),
            framing,
            caller,
            stopping,
        };
        tokio::spawn(subscriber.serve(pipe, Arc::clone(&self.metrics)));
        Ok(body)
    }
}

/// Whether `position` is beyond the one before, which it then replaces.
fn raise(before: &mut u64, position: u64) -> bool {
    let is_beyond = position > *before;
    *before = position.max(*before);
    is_beyond
}

/// One subscriber.
struct Subscriber {
    store: Arc<dyn Store>,
    published: watch::Receiver<u64>,
    reads: Arc<Semaphore>,
    /// The position of the last change that was sent.
    after: u64,
    /// How many are still wanted.
    left: Option<usize>,
    /// The position that is the last.
    end: Option<u64>,
    framing: Framing,
    /// Whose key may be revoked meanwhile: then it is over.
    caller: Caller,
    stopping: watch::Receiver<bool>,
}

/// Why a stream is over.
enum Over {
    /// It has all that was asked for, or the server stops.
    Complete,
    /// The subscriber is gone, or the store.
    Broken,
}

/// Some changes as bytes.
struct Batch {
    bytes: Vec<u8>,
    last: u64,
    changes: usize,
}

impl Subscriber {
    async fn serve(mut self, pipe: Pipe, metrics: Arc<Metrics>) {
        let Pipe { pieces, complete, busy } = pipe;
        let _busy = busy.await;
        let _counted = metrics.subscriber();
        let over = self.run(&pieces).await;
        if matches!(over, Over::Complete) {
            complete.store(true, Ordering::Release);
        }
    }

    async fn run(&mut self, pieces: &tokio::sync::mpsc::Sender<Bytes>) -> Over {
        if let Some(greeting) = self.framing.greeting()
            && let Err(over) = send(pieces, Bytes::from_static(greeting)).await
        {
            return over;
        }
        loop {
            let step = match self.wanted() {
                None => return Over::Complete,
                Some(0) => self.wait(pieces).await,
                Some(limit) => self.give(pieces, limit).await,
            };
            if let Err(over) = step {
                return over;
            }
        }
    }

    /// How many changes are there to be sent; `None` once all were that were asked for.
    fn wanted(&mut self) -> Option<usize> {
        if self.left == Some(0) || self.end.is_some_and(|end| self.after >= end) {
            return None;
        }
        // Marked as seen, so that waiting is for a later one.
        let published = *self.published.borrow_and_update();
        let there = self.end.unwrap_or(published).saturating_sub(self.after);
        let there = usize::try_from(there).unwrap_or(usize::MAX);
        Some(there.min(self.left.unwrap_or(usize::MAX)).min(CHANGES_BATCH_MAX))
    }

    async fn give(&mut self, pieces: &tokio::sync::mpsc::Sender<Bytes>, limit: usize) -> Result<(), Over> {
        if *self.stopping.borrow() {
            return Err(self.stopped());
        }
        if self.caller.is_revoked() {
            return Err(Over::Broken);
        }
        let Batch { bytes, last, changes } = self.read(limit).await?;
        send(pieces, bytes.into()).await?;
        self.after = last;
        self.left = self.left.map(|left| left.saturating_sub(changes));
        Ok(())
    }

    async fn read(&self, limit: usize) -> Result<Batch, Over> {
        let Ok(_place) = self.reads.acquire().await else { return Err(Over::Broken) };
        let (store, after, framing) = (Arc::clone(&self.store), self.after, self.framing);
        let read = tokio::task::spawn_blocking(move || {
            let changes = store.changes_after(after, limit)?;
            let mut batch = Batch { bytes: Vec::new(), last: after, changes: changes.len() };
            for found in &changes {
                framing.write(&mut batch.bytes, found.seq.0, &write::line(&change::change(found)));
                batch.last = found.seq.0;
            }
            Ok::<_, spoor::Error>(batch)
        });
        match read.await {
            Ok(Ok(batch)) if batch.changes > 0 => Ok(batch),
            Ok(Ok(_)) => {
                tracing::error!(after, "changes that were published are not there");
                Err(Over::Broken)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "changes could not be read");
                Err(Over::Broken)
            }
            Err(_) => Err(Over::Broken),
        }
    }

    /// Waits until something happens.
    async fn wait(&mut self, pieces: &tokio::sync::mpsc::Sender<Bytes>) -> Result<(), Over> {
        let stopped = self.stopped();
        tokio::select! {
            changed = self.published.changed() => changed.map_err(|_| Over::Broken),
            () = sleep(Duration::from_millis(CHANGES_HEARTBEAT_MS)) => {
                if self.store.failure().is_some() {
                    return Err(Over::Broken);
                }
                send(pieces, Bytes::from_static(self.framing.heartbeat())).await
            }
            () = pieces.closed() => Err(Over::Broken),
            () = stop(&mut self.stopping) => Err(stopped),
            () = self.caller.revoked() => Err(Over::Broken),
        }
    }

    /// What a stop of the server makes of a stream that has not come to its end.
    const fn stopped(&self) -> Over {
        match (self.left, self.end) {
            (None, None) => Over::Complete,
            _ => Over::Broken,
        }
    }
}

/// Returns once the server stops, or is gone.
async fn stop(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Waits until there is room, but not for ever.
async fn send(pieces: &tokio::sync::mpsc::Sender<Bytes>, piece: Bytes) -> Result<(), Over> {
    match timeout(Duration::from_millis(CHANGES_STALL_MS), pieces.send(piece)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Over::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
    }

    #[test]
    fn server_sent_events_are_for_those_who_ask() {
        let wanted = |value| Framing::wanted(&headers("accept", value));
        assert_eq!(wanted("text/event-stream"), Framing::Events);
        assert_eq!(wanted("text/html, text/event-stream;q=0.5"), Framing::Events);
        assert_eq!(wanted("text/event-stream;q=0"), Framing::Lines);
        assert_eq!(wanted("*/*"), Framing::Lines);
        assert_eq!(Framing::wanted(&HeaderMap::new()), Framing::Lines);
    }

    #[test]
    fn the_last_event_id_goes_before_the_address() {
        let following = Following { after: 3, limit: None, until_now: false };
        let after = |headers: &HeaderMap| resumed(headers, following).map(|following| following.after);
        assert_eq!(after(&HeaderMap::new()), Ok(3));
        assert_eq!(after(&headers(LAST_EVENT_ID, " 7")), Ok(7));
        for wrong in ["x", "+7", "07", "-1", ""] {
            let problem = after(&headers(LAST_EVENT_ID, wrong)).unwrap_err();
            assert_eq!(problem.body.field.as_deref(), Some("Last-Event-ID"), "{wrong}");
        }
    }

    #[test]
    fn an_event_of_a_stream_is_its_id_and_its_line() {
        let mut out = Vec::new();
        Framing::Events.write(&mut out, 7, b"{}\n");
        assert_eq!(out, b"id: 7\ndata: {}\n\n");
    }
}
