//! Hands requests to the store and brings back what became of them, in the form in which it is sent. Knows no
//! connection, and no status but those of problems.

use super::accept;
use super::errors::Problem;
use super::metrics::Metrics;
use crate::protocol::write::{self, Audience, ErrorBody, ItemError};
use crate::protocol::{compact, public};
use crate::store::{LazyReply, Store};
use hyper::HeaderMap;
use spoor::settings::{DEFAULT_SOURCE, Keys, Settings};
use spoor::{Reply, TrackError, TrackRequest};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::oneshot;

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As JSON.
    Json,
    /// As `application/vnd.spoor.v1`.
    Compact,
}

impl Form {
    /// What `Content-Type` calls it.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Compact => compact::MEDIA_TYPE,
        }
    }

    /// The form that `Accept` asks for; without one of ours in it, that in which was sent.
    #[must_use]
    pub fn wanted(headers: &HeaderMap, sent: Self) -> Self {
        let names = |form: Self| accept::names(headers, form.media_type());
        match (names(Self::Json), names(Self::Compact)) {
            (true, false) => Self::Json,
            (false, true) => Self::Compact,
            _ => sent,
        }
    }
}

/// Where requests are handed in.
pub(super) struct Intake {
    store: Arc<dyn Store>,
    /// Names of the sources whose keys are in browsers.
    public_sources: HashSet<String>,
    metrics: Arc<Metrics>,
}

impl Intake {
    /// In front of `store`, whose sources `settings` describe.
    pub(super) fn new(store: Arc<dyn Store>, settings: &Settings, metrics: Arc<Metrics>) -> Self {
        let public = settings.sources.iter().filter(|(_, source)| source.keys == Keys::Public);
        Self { store, public_sources: public.map(|(name, _)| name.clone()).collect(), metrics }
    }

    /// Where replies are counted, and problems in the place of one should be.
    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Hands over one request, whose answer is wanted in `form`.
    pub(super) fn submit(&self, request: TrackRequest, form: Form) -> Item {
        let Handed { receiver, reader } = self.hand_in(request);
        Item::Waiting { receiver, reader, form }
    }

    /// Hands over one request, whose answer somebody else puts into words.
    pub(super) fn hand_in(&self, request: TrackRequest) -> Handed {
        let reader = self.reader(&request);
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |answer| {
            // The receiver is gone if the client is; the request is stored all the same.
            let _ = sender.send(answer);
        });
        self.store.submit(request, done);
        Handed { receiver, reader }
    }

    fn reader(&self, request: &TrackRequest) -> Reader {
        let source = request.source.as_deref().map_or(DEFAULT_SOURCE, str::trim);
        let audience = if self.public_sources.contains(source) {
            Audience::Public { sent_profile: request.profile.as_deref().map(|id| id.trim().to_owned()) }
        } else {
            Audience::Trusted
        };
        Reader { audience, session_sent: request.session.is_some(), metrics: self.metrics() }
    }
}

/// Who reads the reply, and what they named.
pub(super) struct Reader {
    audience: Audience,
    session_sent: bool,
    metrics: Arc<Metrics>,
}

impl Reader {
    /// Counts what nobody will read.
    fn count(&self, answer: Result<LazyReply, TrackError>) -> Result<(), Problem> {
        self.metrics.replied(&answer?());
        Ok(())
    }
}

/// One request that the writer has, or that was turned away.
pub(super) struct Handed {
    receiver: oneshot::Receiver<Result<LazyReply, TrackError>>,
    reader: Reader,
}

impl Handed {
    /// Waits for the reply, as far as its reader may know it.
    pub(super) async fn told(self) -> Result<(Reply, Audience), Problem> {
        let Self { receiver, reader } = self;
        match receiver.await {
            Ok(answer) => Ok((told(answer?(), &reader), reader.audience)),
            Err(_) => Err(Problem::internal()),
        }
    }

    /// Waits until the request is stored, whatever the reply says.
    pub(super) async fn stored(self) -> Result<(), Problem> {
        match self.receiver.await {
            Ok(answer) => self.reader.count(answer),
            Err(_) => Err(Problem::internal()),
        }
    }

    /// [`Handed::stored`] for what is answered already, as it is for what is rejected or finds the mailbox full.
    pub(super) fn settle(mut self) -> Result<Result<(), Problem>, Self> {
        match self.receiver.try_recv() {
            Ok(answer) => Ok(self.reader.count(answer)),
            Err(oneshot::error::TryRecvError::Empty) => Err(self),
            Err(oneshot::error::TryRecvError::Closed) => Ok(Err(Problem::internal())),
        }
    }
}

/// What of a reply its reader may know.
fn told(reply: Reply, Reader { audience, session_sent, metrics }: &Reader) -> Reply {
    metrics.replied(&reply);
    match audience {
        Audience::Trusted => reply,
        Audience::Public { .. } => public::told(reply, *session_sent),
    }
}

/// One request on its way.
pub(super) enum Item {
    /// Its reply as bytes, or why there is none.
    Known(Result<Vec<u8>, Problem>),
    /// The writer has it.
    Waiting { receiver: oneshot::Receiver<Result<LazyReply, TrackError>>, reader: Reader, form: Form },
}

impl Item {
    /// Takes the answer if it is there already, as it is for what is rejected or finds the mailbox full.
    pub(super) fn settle(self) -> Self {
        let Self::Waiting { mut receiver, reader, form } = self else { return self };
        match receiver.try_recv() {
            Ok(answer) => Self::Known(written(answer, &reader, form)),
            Err(oneshot::error::TryRecvError::Empty) => Self::Waiting { receiver, reader, form },
            Err(oneshot::error::TryRecvError::Closed) => Self::Known(Err(Problem::internal())),
        }
    }

    /// Waits for the answer.
    pub(super) async fn wait(self) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Known(known) => known,
            Self::Waiting { receiver, reader, form } => match receiver.await {
                Ok(answer) => written(answer, &reader, form),
                Err(_) => Err(Problem::internal()),
            },
        }
    }
}

fn written(answer: Result<LazyReply, TrackError>, reader: &Reader, form: Form) -> Result<Vec<u8>, Problem> {
    let (reply, audience) = (told(answer?(), reader), &reader.audience);
    Ok(match form {
        Form::Json => write::text(&write::reply(&reply, audience)),
        Form::Compact => {
            let mut bytes = Vec::new();
            compact::write::reply(&mut bytes, &reply, audience);
            bytes
        }
    })
}

/// The answers to an array in their order, an error in the place of each item that has one.
pub(super) fn joined(outcomes: &[Result<Vec<u8>, Problem>], form: Form) -> Vec<u8> {
    let replies = outcomes.iter().map(|outcome| outcome.as_ref().map_or(0, Vec::len) + 1);
    let mut bytes = Vec::with_capacity(replies.sum::<usize>() + 1);
    for outcome in outcomes {
        if form == Form::Json {
            bytes.push(if bytes.is_empty() { b'[' } else { b',' });
        }
        match outcome {
            Ok(reply) => bytes.extend_from_slice(reply),
            Err(problem) => in_its_place(&mut bytes, &problem.body, form),
        }
    }
    if form == Form::Json {
        if bytes.is_empty() {
            bytes.push(b'[');
        }
        bytes.push(b']');
    }
    bytes
}

fn in_its_place(bytes: &mut Vec<u8>, error: &ErrorBody, form: Form) {
    match form {
        Form::Json => bytes.extend_from_slice(&write::text(&ItemError { error })),
        Form::Compact => compact::write::error(bytes, error),
    }
}
