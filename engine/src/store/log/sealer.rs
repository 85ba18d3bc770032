//! The thread that seals full segments, one after the other.

use super::pace::Pace;
use super::seal::seal;
use super::segment::OpenSegment;
use super::shared::{Segment, Shared};
use crate::error::Error;
use crate::limits::SEAL_QUEUE_MAX_SEGMENTS;
use crate::store::background::give_way;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// The writer's end. Dropping it stops the thread, leaving an unfinished file that the next opening removes.
pub(super) struct Sealer {
    queue: Option<Sender<Arc<OpenSegment>>>,
    thread: Option<JoinHandle<()>>,
    status: Arc<Status>,
}

#[derive(Default)]
struct Status {
    pace: Pace,
    progress: Mutex<Progress>,
    idle: Condvar,
}

#[derive(Default)]
struct Progress {
    waiting: usize,
    failure: Option<Error>,
}

impl Sealer {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Io`] if there can be none.
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, Error> {
        let (queue, segments) = bounded(SEAL_QUEUE_MAX_SEGMENTS);
        let status = Arc::new(Status::default());
        let (own, dir) = (Arc::clone(&status), shared.dir.clone());
        let thread = Builder::new()
            .name("log-seal".to_owned())
            .spawn(move || {
                give_way();
                run(&shared, &own, &segments);
            })
            .map_err(Error::io(&dir))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), status })
    }

    /// Hands over a segment that nobody appends to any more. Waits while the queue is full.
    pub(super) fn submit(&self, segment: Arc<OpenSegment>) {
        self.status.progress.lock().waiting += 1;
        let sent = self.queue.as_ref().is_some_and(|queue| queue.send(segment).is_ok());
        if !sent {
            let mut progress = self.status.progress.lock();
            progress.waiting -= 1;
            progress.failure.get_or_insert_with(|| Error::Closed {
                reason: "the thread that seals segments is gone".into(),
            });
        }
    }

    /// What sealing failed of, if it did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.status.progress.lock().failure.clone()
    }

    /// Waits until all that was handed over is sealed, without pauses.
    ///
    /// # Errors
    /// What sealing failed of.
    pub(super) fn wait_idle(&self) -> Result<(), Error> {
        self.status.pace.hurry();
        let mut progress = self.status.progress.lock();
        while progress.waiting > 0 && progress.failure.is_none() {
            self.status.idle.wait(&mut progress);
        }
        self.status.pace.relax();
        progress.failure.clone().map_or(Ok(()), Err)
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.status.pace.stop();
        self.status.pace.hurry();
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook, and nothing is lost by it.
            let _ = thread.join();
        }
    }
}

/// Tells who waits that the thread ended, even if it ended by a panic.
struct Farewell<'a>(&'a Status);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        let mut progress = self.0.progress.lock();
        progress.failure.get_or_insert_with(|| Error::Closed {
            reason: "the thread that seals segments has ended".into(),
        });
        self.0.idle.notify_all();
    }
}

fn run(shared: &Shared, status: &Status, segments: &Receiver<Arc<OpenSegment>>) {
    let _farewell = Farewell(status);
    for segment in segments {
        let stopped = status.pace.stopped() || status.progress.lock().failure.is_some();
        let result = if stopped { Ok(()) } else { replace(shared, &segment, &status.pace) };
        let mut progress = status.progress.lock();
        progress.waiting -= 1;
        if let Err(error) = result {
            progress.failure.get_or_insert(error);
        }
        status.idle.notify_all();
    }
}

/// Seals, publishes, unlinks.
pub(super) fn replace(shared: &Shared, segment: &OpenSegment, pace: &Pace) -> Result<(), Error> {
    let Some(sealed) = seal(&*shared.disk, &shared.dir, segment, pace)? else { return Ok(()) };
    shared.publish(Segment::Sealed(Arc::new(sealed)));
    match shared.disk.remove(&segment.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(&segment.path)(error)),
        _ => Ok(()),
    }
}
