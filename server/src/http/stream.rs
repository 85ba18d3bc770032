//! The endless request: frames in, answers out, in their order, for as long as both sides like.
//!
//! Two tasks share the work. `take` reads frames, decodes them and hands them over; `give` waits for what becomes of
//! them and sends it. Between them is a queue of bounded length: when it is full, because the writer is slow or the
//! client does not read its answers, `take` takes no more, and in the end the client's bytes wait in its own socket.
//!
//! 1. What is wrong with one request is answered in its place, and the stream goes on.
//! 2. Where frames cannot be told apart any more, and when the server stops, the answers to all that was taken are
//!    followed by the end, which names the first frame that was not.
//! 3. *Overloaded* is waited for here, so that nothing in a stream overtakes anything.
//! 4. When the key of a stream is revoked, it ends as in 2.
//! 5. A client that is gone gets no answers; what was taken is stored all the same.

use super::access::Sender;
use super::body::{Budget, Share};
use super::errors::Problem;
use super::intake::{Form, Intake, Item};
use super::watch::Busy;
use crate::limits::{
    PARSE_INLINE_MAX_BYTES, STREAM_ANSWERS_BYTES, STREAM_FAREWELL_MS, STREAM_IN_FLIGHT_MAX_REQUESTS,
    STREAM_RETRY_MS,
};
use crate::protocol::compact::frames::Frames;
use crate::protocol::compact::{read, write};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use spoor::{Origin, Rejection, TrackRequest};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

/// What holds for one stream.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// Largest payload of a frame, in bytes.
    pub(super) frame_bytes: usize,
    /// Time for a frame from its first byte to its last.
    pub(super) frame_timeout: Duration,
    /// Time between frames, and time for the client to make room for answers.
    pub(super) idle_timeout: Duration,
    /// Time for the answer to a frame.
    pub(super) request_timeout: Duration,
    /// Who sends.
    pub(super) sender: Sender,
    /// Whether requests are history.
    pub(super) origin: Origin,
    /// The user agent of requests that name none.
    pub(super) user_agent: Option<String>,
}

/// What a stream needs of the server.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) intake: Arc<Intake>,
    pub(super) budget: Budget,
    /// Turns true when the server stops.
    pub(super) stopping: watch::Receiver<bool>,
}

/// Begins a stream: what comes back is the body of its answer.
pub(super) fn begin(incoming: Incoming, terms: Terms, surroundings: Surroundings) -> StreamBody {
    // One of them is with `give` while it is awaited.
    let (items, taken) = mpsc::channel(STREAM_IN_FLIGHT_MAX_REQUESTS - 1);
    let (pieces, answers) = mpsc::channel(1);
    let complete = Arc::new(AtomicBool::new(false));
    let (busy, kept) = oneshot::channel();
    tokio::spawn(give(taken, pieces, terms.clone(), kept, Arc::clone(&complete)));
    let frames = Frames::new(terms.frame_bytes);
    let begun_share = surroundings.budget.share();
    let taker = Taker { frames, taken: 0, begun: None, begun_share, terms, surroundings, items };
    tokio::spawn(taker.run(incoming));
    StreamBody { answers, complete, busy: Some(busy) }
}

/// The answers of a stream as a body. Fails, so that the connection or the HTTP/2 stream is reset, if they end before
/// their time.
#[derive(Debug)]
pub(super) struct StreamBody {
    answers: mpsc::Receiver<Bytes>,
    complete: Arc<AtomicBool>,
    busy: Option<oneshot::Sender<Busy>>,
}

impl StreamBody {
    /// The connection is busy for as long as answers are given. A client that reads none has a body that nobody asks
    /// for more, so that it is not the body that could say so.
    pub(super) fn keep(&mut self, busy: Busy) {
        if let Some(keeper) = self.busy.take() {
            // The giver is gone only if it had nothing to give.
            let _ = keeper.send(busy);
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.answers.poll_recv(context).map(|piece| match piece {
            Some(piece) => Some(Ok(Frame::data(piece))),
            None if self.complete.load(Ordering::Acquire) => None,
            None => Some(Err(io::ErrorKind::TimedOut.into())),
        })
    }
}

/// What `take` passes to `give`.
enum Taken {
    /// A request, with its share of the memory for bodies, which it has until it is answered.
    Request(Item, Share),
    /// The stream ends before the frame of this number.
    End(u64, Problem),
}

/// One stream's reading half.
struct Taker {
    frames: Frames,
    /// How many frames were taken.
    taken: u64,
    /// When the frame that is not whole yet began.
    begun: Option<Instant>,
    /// Memory for the frame that is not whole yet.
    begun_share: Share,
    terms: Terms,
    surroundings: Surroundings,
    items: mpsc::Sender<Taken>,
}

/// Why no more frames are taken.
enum Stop {
    /// The client said all that it had to say, or is gone.
    Over,
    /// Something that the client is told.
    Ended(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Ended(problem)
    }
}

impl Taker {
    async fn run(mut self, mut incoming: Incoming) {
        let Err(Stop::Ended(problem)) = self.take(&mut incoming).await else { return };
        if self.items.send(Taken::End(self.taken, problem)).await.is_err() {
            return;
        }
        // A connection that is closed while bytes are still coming is reset, and the answers before the end could be
        // lost with it: so the client may finish its sentence.
        let rest = async { while let Some(Ok(_)) = incoming.frame().await {} };
        let _ = timeout(Duration::from_millis(STREAM_FAREWELL_MS), rest).await;
    }

    /// Never returns without a reason.
    async fn take(&mut self, incoming: &mut Incoming) -> Result<(), Stop> {
        loop {
            if *self.surroundings.stopping.borrow() {
                return Err(stopping().into());
            }
            if self.terms.sender.caller().is_revoked() {
                return Err(Sender::ended().into());
            }
            match self.frames.take().map_err(|rejection| self.numbered(rejection))? {
                Some(payload) => {
                    self.begun = None;
                    self.begun_share = self.surroundings.budget.share();
                    // A place first: what is handed over must have somewhere to wait.
                    let place = self.items.reserve().await.map_err(|_| Stop::Over)?;
                    place.send(self.submit(payload).await?);
                    self.taken += 1;
                }
                None => self.read(incoming).await?,
            }
        }
    }

    /// Waits for more bytes.
    async fn read(&mut self, incoming: &mut Incoming) -> Result<(), Stop> {
        let within = self.frames.is_within();
        let until = if within {
            *self.begun.get_or_insert_with(Instant::now) + self.terms.frame_timeout
        } else {
            Instant::now() + self.terms.idle_timeout
        };
        self.begun_share.reach(self.frames.held_bytes())?;
        let mut stopping_now = self.surroundings.stopping.clone();
        let piece = tokio::select! {
            piece = tokio::time::timeout_at(until, incoming.frame()) => piece,
            _ = stopping_now.wait_for(|stop| *stop) => return Err(stopping().into()),
            () = self.terms.sender.caller().revoked() => return Err(Sender::ended().into()),
        };
        match piece {
            Ok(Some(Ok(piece))) => {
                // Trailers say nothing here.
                if let Ok(bytes) = piece.into_data() {
                    self.frames.add(bytes);
                }
                Ok(())
            }
            Ok(Some(Err(_))) => Err(Stop::Over),
            Ok(None) if within => {
                let problem = Problem::new("body_incomplete", "the stream ended within a frame");
                Err(problem.into())
            }
            Ok(None) => Err(Stop::Over),
            Err(_) => Err(Problem::new("body_timeout", late(within)).into()),
        }
    }

    /// Hands over one request, as soon as there is room for it.
    async fn submit(&self, payload: Bytes) -> Result<Taken, Stop> {
        let until = Instant::now() + self.terms.request_timeout;
        loop {
            match self.try_submit(payload.clone()).await {
                Err(problem) if problem.body.code == OVERLOADED && Instant::now() < until => {
                    if self.items.is_closed() {
                        return Err(Stop::Over);
                    }
                    sleep(Duration::from_millis(STREAM_RETRY_MS)).await;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Fails where the stream cannot go on, or must wait.
    async fn try_submit(&self, payload: Bytes) -> Result<Taken, Problem> {
        let mut share = self.surroundings.budget.share();
        share.reach(payload.len())?;
        let item = match decode(payload).await?.and_then(|request| self.complete(request)) {
            Ok(request) => self.surroundings.intake.submit(request, Form::Compact).settle(),
            Err(rejection) if rejection.code == BINARY_INVALID => return Err(self.numbered(rejection)),
            Err(rejection) => Item::Known(Err(rejection.into())),
        };
        match item {
            Item::Known(Err(problem)) if problem.body.code == OVERLOADED => Err(problem),
            item => Ok(Taken::Request(item, share)),
        }
    }

    fn complete(&self, mut request: TrackRequest) -> Result<TrackRequest, Rejection> {
        request.origin = self.terms.origin;
        request.user_agent = request.user_agent.or_else(|| self.terms.user_agent.clone());
        self.terms.sender.admit(&mut request)?;
        Ok(request)
    }

    fn numbered(&self, mut rejection: Rejection) -> Problem {
        rejection.message = format!("frame {}: {}", self.taken, rejection.message);
        rejection.into()
    }
}

const OVERLOADED: &str = "overloaded";
const BINARY_INVALID: &str = "binary_invalid";

fn stopping() -> Problem {
    Problem::new("closed", "the server is stopping; this frame and those after it were not taken")
}

const fn late(within: bool) -> &'static str {
    if within {
        "a frame did not arrive in time"
    } else {
        "no frame came for as long as a connection may rest"
    }
}

/// Decodes a request; a large one where it holds up nobody else.
async fn decode(payload: Bytes) -> Result<Result<TrackRequest, Rejection>, Problem> {
    if payload.len() <= PARSE_INLINE_MAX_BYTES {
        return Ok(read::request(&payload));
    }
    tokio::task::spawn_blocking(move || read::request(&payload)).await.map_err(|_| Problem::internal())
}

/// Sends answers in the order of their requests, as many at once as are there.
async fn give(
    mut taken: mpsc::Receiver<Taken>,
    pieces: mpsc::Sender<Bytes>,
    terms: Terms,
    busy: oneshot::Receiver<Busy>,
    complete: Arc<AtomicBool>,
) {
    let _busy = busy.await;
    let mut ahead = None;
    loop {
        let next = match ahead.take() {
            Some(next) => next,
            None => match taken.recv().await {
                Some(next) => next,
                None => break,
            },
        };
        let mut out = Vec::new();
        write_answer(&mut out, next, terms.request_timeout).await;
        while out.len() < STREAM_ANSWERS_BYTES
            && let Ok(next) = taken.try_recv()
        {
            match settled(next) {
                next @ Taken::Request(Item::Waiting { .. }, _) => {
                    ahead = Some(next);
                    break;
                }
                next => write_answer(&mut out, next, terms.request_timeout).await,
            }
        }
        // A client that does not read is given up: from here on its connection rests, and ends like one that does.
        let Ok(Ok(())) = timeout(terms.idle_timeout, pieces.send(out.into())).await else { return };
    }
    complete.store(true, Ordering::Release);
}

fn settled(taken: Taken) -> Taken {
    match taken {
        Taken::Request(item, share) => Taken::Request(item.settle(), share),
        end @ Taken::End(..) => end,
    }
}

async fn write_answer(out: &mut Vec<u8>, taken: Taken, patience: Duration) {
    match taken {
        Taken::End(index, problem) => write::end(out, index, &problem.body),
        Taken::Request(item, _share) => {
            let outcome = timeout(patience, item.wait()).await;
            match outcome.unwrap_or_else(|_| Err(Problem::no_answer_in_time())) {
                Ok(reply) => out.extend_from_slice(&reply),
                Err(problem) => write::error(out, &problem.body),
            }
        }
    }
}
