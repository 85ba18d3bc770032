//! What the writer is asked for, and what it shares with everyone.

use super::figures::Counting;
use super::published::Published;
use crate::core::acts::{Deed, Plan, Refusal};
use crate::core::outcome::Outcome;
use crate::core::prepare::Command;
use crate::core::rows::RepeatKey;
use crate::core::sources::Registry;
use crate::error::{Error, TrackError};
use crate::ids::EventSeq;
use crate::time::Clock;
use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Whoever waits for a request.
pub type Done = Box<dyn FnOnce(Result<(Box<Command>, Outcome), TrackError>) + Send>;

/// A request on its way to the writer.
pub struct TrackJob {
    /// The request.
    pub command: Box<Command>,
    /// Random bits for its stamp.
    pub entropy: u128,
    /// A repeat key that was not in the index as of that checkpoint, so that it need not be asked again.
    pub absent: Option<(RepeatKey, EventSeq)>,
    /// Called once.
    pub done: Done,
}

/// An act on its way to the writer.
pub struct ActJob {
    /// Its bytes for the record; `None` if nobody acted, and the engine does it by itself.
    pub encoded: Option<Vec<u8>>,
    /// What it is.
    pub deed: Deed,
    /// What it comes to, if that was worked out before.
    pub plan: Option<Box<Plan>>,
    /// Whether the writer must work it out if the plan does not hold any more.
    pub insist: bool,
    /// Called once.
    pub done: Sender<Result<Acted, Error>>,
}

/// What became of an act.
#[derive(Debug)]
pub enum Acted {
    /// It is durable, at this position.
    Done(EventSeq, Box<Plan>),
    /// The state does not allow it.
    Refused(Refusal),
    /// The plan does not hold any more: another is needed.
    Stale,
}

/// What the writer is asked for.
pub enum Message {
    /// Store a request.
    Track(TrackJob),
    /// Do what a person decided.
    Act(Box<ActJob>),
    /// End the sessions that fell silent; answers how many.
    Tick(Sender<Result<u64, Error>>),
    /// Write what changed to the index.
    Checkpoint(Sender<Result<(), Error>>),
    /// Write what changed to the index, and stop.
    Close(Sender<Result<(), Error>>),
    /// Stop where it stands, as if the process had been killed: for tests of what comes after.
    Abandon,
}

/// What the writer shares with everyone.
#[derive(Debug)]
pub struct Shared {
    /// What readers see.
    pub published: Arc<Published>,
    /// Why nothing is taken any more.
    pub failure: Mutex<Option<Arc<str>>>,
    /// How many callers are between looking at `failure` and having sent: the writer goes only when there is
    /// none, so that every message is answered.
    pub senders: AtomicUsize,
    /// The settings.
    pub registry: Registry,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted of the work.
    pub counting: Counting,
}

/// A caller that is about to send.
#[derive(Debug)]
pub struct Sending<'a>(&'a AtomicUsize);

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    /// Announces that a message will be sent, while the answer is held.
    ///
    /// # Errors
    /// [`Error::Closed`] if nothing is taken any more.
    pub fn sending(&self) -> Result<Sending<'_>, Error> {
        self.senders.fetch_add(1, Ordering::SeqCst);
        let sending = Sending(&self.senders);
        match self.closed() {
            Some(error) => Err(error),
            None => Ok(sending),
        }
    }

    /// The error that everyone gets from now on, if there is one.
    #[must_use]
    pub fn closed(&self) -> Option<Error> {
        self.failure.lock().as_ref().map(|reason| Error::Closed { reason: Arc::clone(reason) })
    }

    /// Takes nothing more from now on, unless that is so already.
    pub fn fail(&self, error: &Error) {
        let mut failure = self.failure.lock();
        failure.get_or_insert_with(|| error.to_string().into());
    }
}

/// The way to the writer. Cheap to clone; while one is held, the writer waits for messages.
#[derive(Debug, Clone)]
pub struct Door {
    /// What the writer shares.
    pub shared: Arc<Shared>,
    /// Its mailbox.
    pub mailbox: Sender<Message>,
}

impl Door {
    /// Sends a message and waits for its answer.
    ///
    /// # Errors
    /// [`Error::Closed`], or what the writer answers.
    pub fn ask<T>(&self, message: impl FnOnce(Sender<Result<T, Error>>) -> Message) -> Result<T, Error> {
        let (sender, receiver) = bounded(1);
        let sending = self.shared.sending()?;
        self.mailbox.send(message(sender)).map_err(|_| self.gone())?;
        drop(sending);
        receiver.recv().map_err(|_| self.gone())?
    }

    /// Why nothing is taken any more.
    #[must_use]
    pub fn gone(&self) -> Error {
        self.shared.closed().unwrap_or_else(|| Error::Closed { reason: "the writer is gone".into() })
    }
}
