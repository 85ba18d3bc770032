//! Answers calls: the one place where requests meet the store. Knows no socket.
//!
//! Tracking takes no thread: the request goes to the writer, and what it answers wakes the task. Reads may wait for
//! the disk, so each has a thread of the blocking pool, at most [`READS_MAX`] at once.

use super::body::{self, Budget, Encoding, Share};
use super::errors::Problem;
use super::routes::{Call, Read, find};
use crate::limits::{PARSE_INLINE_MAX_BYTES, READS_MAX};
use crate::protocol::json::{self, Body};
use crate::protocol::request;
use crate::protocol::write::{self, Audience, CheckBody, ErrorBody, ItemError, StatusBody};
use crate::settings::Configuration;
use crate::store::{LazyReply, Store};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use serde::Serialize;
use spoor::model::{Page, StoredEvent};
use spoor::settings::{DEFAULT_SOURCE, Keys};
use spoor::{Error, Origin, TrackError, TrackRequest};
use std::collections::HashSet;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};

/// What is needed to answer.
pub(super) struct Service {
    store: Arc<dyn Store>,
    /// Names of the sources whose keys are in browsers.
    public_sources: HashSet<String>,
    /// Tells this run of the server from others, so that a client can see whom it reached.
    instance: String,
    body_bytes: usize,
    body_decompressed_bytes: usize,
    body_timeout: Duration,
    request_timeout: Duration,
    budget: Budget,
    reads: Semaphore,
    stopping: AtomicBool,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("instance", &self.instance).finish_non_exhaustive()
    }
}

type Answer = Response<Full<Bytes>>;

impl Service {
    /// A service over `store`.
    #[must_use]
    pub(super) fn new(store: Arc<dyn Store>, configuration: &Configuration, instance: String) -> Self {
        let Configuration { server, engine, .. } = configuration;
        let public = engine.sources.iter().filter(|(_, source)| source.keys == Keys::Public);
        Self {
            store,
            public_sources: public.map(|(name, _)| name.clone()).collect(),
            instance,
            body_bytes: server.body_bytes,
            body_decompressed_bytes: server.body_decompressed_bytes,
            body_timeout: Duration::from_millis(server.body_timeout_ms),
            request_timeout: Duration::from_millis(server.request_timeout_ms),
            budget: Budget::new(server.bodies_bytes),
            reads: Semaphore::new(READS_MAX),
            stopping: AtomicBool::new(false),
        }
    }

    /// From here on `/readyz` says no, so that whoever balances load looks elsewhere.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Answers a request; never fails, since a failure is an answer too.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let begun = Instant::now();
        let version = request.version();
        let (route, outcome) = match find(request.method(), request.uri().path(), request.uri().query()) {
            Ok(call) => (call.route(), self.call(call, request, peer).await),
            Err(problem) => ("-", Err(problem)),
        };
        let answer = outcome.unwrap_or_else(|problem| refuse(&problem, version));
        let taken_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(route, status = answer.status().as_u16(), taken_us, "answered");
        answer
    }

    async fn call(
        self: &Arc<Self>,
        call: Call,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Answer, Problem> {
        match call {
            Call::Track(Origin::Import) if !peer.ip().is_loopback() => {
                Err(Problem::new("origin_forbidden", "only from this machine can history be imported"))
            }
            Call::Track(origin) => self.track(request, origin).await,
            Call::Read(Read::Check) => self.read(Read::Check, None).await,
            Call::Read(read) => self.read(read, Some(self.request_timeout)).await,
            Call::Status => Ok(self.status()),
            Call::Health => Ok(respond(StatusCode::OK, br#"{"status":"ok"}"#.to_vec())),
            Call::Ready => self.ready(),
        }
    }

    fn status(&self) -> Answer {
        #[derive(Serialize)]
        struct Body<'a> {
            instance: &'a str,
            version: &'static str,
            #[serde(flatten)]
            status: StatusBody,
        }
        let status = self.store.status().into();
        let body = Body { instance: &self.instance, version: env!("CARGO_PKG_VERSION"), status };
        respond(StatusCode::OK, write::text(&body))
    }

    fn ready(&self) -> Result<Answer, Problem> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Problem::new("closed", "the server is stopping"));
        }
        match self.store.failure() {
            Some(reason) => Err(Problem::new("closed", format!("the store has closed itself: {reason}"))),
            None => Ok(respond(StatusCode::OK, br#"{"status":"ready"}"#.to_vec())),
        }
    }

    async fn read(&self, read: Read, timeout: Option<Duration>) -> Result<Answer, Problem> {
        let store = Arc::clone(&self.store);
        let work = async {
            let Ok(_place) = self.reads.acquire().await else { return Err(internal()) };
            let task = tokio::task::spawn_blocking(move || read_store(&*store, read));
            task.await.unwrap_or_else(|_| Err(internal()))
        };
        let text = within(timeout, work).await?;
        Ok(respond(StatusCode::OK, text))
    }

    async fn track(self: &Arc<Self>, request: Request<Incoming>, origin: Origin) -> Result<Answer, Problem> {
        let (head, incoming) = request.into_parts();
        body::check_media_type(&head.headers)?;
        let encoding = Encoding::of(&head.headers)?;
        let user_agent = (origin == Origin::Live).then(|| user_agent(&head.headers)).flatten();
        let mut share = self.budget.share();
        let bytes = body::read(incoming, self.body_bytes, self.body_timeout, &mut share).await?;
        let arrival = Arrival { bytes, encoding, origin, user_agent };
        // A compressed body counts for what it may become.
        let weight = arrival.bytes.len() * if encoding == Encoding::Identity { 1 } else { 16 };
        // The share lives until the answer, and so bounds what waits in the mailbox as well.
        let (submitted, _share) = if weight <= PARSE_INLINE_MAX_BYTES {
            (self.submit(arrival, &mut share)?, share)
        } else {
            let service = Arc::clone(self);
            let task = tokio::task::spawn_blocking(move || {
                let submitted = service.submit(arrival, &mut share)?;
                Ok::<_, Problem>((submitted, share))
            });
            task.await.unwrap_or_else(|_| Err(internal()))?
        };
        within(Some(self.request_timeout), submitted.answer()).await
    }

    /// Parses and hands over; what comes back waits for the writer.
    fn submit(&self, arrival: Arrival, share: &mut Share) -> Result<Submitted, Problem> {
        let Arrival { bytes, encoding, origin, user_agent } = arrival;
        let bytes = body::decompress(bytes, encoding, self.body_decompressed_bytes, share)?;
        let complete = |mut request: TrackRequest| {
            request.origin = origin;
            request.user_agent = request.user_agent.or_else(|| user_agent.clone());
            request
        };
        match json::read(&bytes)? {
            Body::One(request) => Ok(Submitted::One(self.submit_one(complete(*request)))),
            Body::Many(items) => {
                let requests = items.into_iter().map(|item| item.map(complete).map_err(Problem::from));
                Ok(Submitted::Many(self.submit_many(requests)))
            }
        }
    }

    fn submit_one(&self, request: TrackRequest) -> Item {
        let audience = self.audience(&request);
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |answer| {
            // The receiver is gone if the client is; the request is stored all the same.
            let _ = sender.send(answer);
        });
        self.store.submit(request, done);
        Item::Waiting(receiver, audience)
    }

    /// Once one is told *overloaded*, so are those behind it: else they would overtake it.
    fn submit_many(&self, requests: impl Iterator<Item = Result<TrackRequest, Problem>>) -> Vec<Item> {
        let mut full = false;
        requests
            .map(|request| match request {
                Err(problem) => Item::Known(Err(problem)),
                Ok(_) if full => Item::Known(Err(Error::Overloaded.into())),
                Ok(request) => {
                    let item = self.submit_one(request).settle();
                    full = matches!(&item, Item::Known(Err(problem)) if problem.is_retryable());
                    item
                }
            })
            .collect()
    }

    fn audience(&self, request: &TrackRequest) -> Audience {
        let source = request.source.as_deref().map_or(DEFAULT_SOURCE, str::trim);
        if self.public_sources.contains(source) {
            Audience::Public { sent_profile: request.profile.as_deref().map(|id| id.trim().to_owned()) }
        } else {
            Audience::Trusted
        }
    }
}

/// A body before anybody looked into it.
struct Arrival {
    bytes: Bytes,
    encoding: Encoding,
    origin: Origin,
    user_agent: Option<String>,
}

/// What was handed over.
enum Submitted {
    One(Item),
    Many(Vec<Item>),
}

/// One request on its way.
enum Item {
    /// Its text, or why there is none.
    Known(Result<Vec<u8>, Problem>),
    /// The writer has it.
    Waiting(oneshot::Receiver<Result<LazyReply, TrackError>>, Audience),
}

impl Item {
    /// Takes the answer if it is there already, as it is for what is rejected or finds the mailbox full.
    fn settle(self) -> Self {
        let Self::Waiting(mut receiver, audience) = self else { return self };
        match receiver.try_recv() {
            Ok(answer) => Self::Known(written(answer, &audience)),
            Err(oneshot::error::TryRecvError::Empty) => Self::Waiting(receiver, audience),
            Err(oneshot::error::TryRecvError::Closed) => Self::Known(Err(internal())),
        }
    }

    async fn wait(self) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Known(known) => known,
            Self::Waiting(receiver, audience) => match receiver.await {
                Ok(answer) => written(answer, &audience),
                Err(_) => Err(internal()),
            },
        }
    }
}

fn written(answer: Result<LazyReply, TrackError>, audience: &Audience) -> Result<Vec<u8>, Problem> {
    let reply = answer?();
    Ok(write::text(&write::reply(&reply, audience)))
}

impl Submitted {
    async fn answer(self) -> Result<Answer, Problem> {
        match self {
            Self::One(item) => Ok(respond(StatusCode::OK, item.wait().await?)),
            Self::Many(items) => {
                let mut outcomes = Vec::with_capacity(items.len());
                for item in items {
                    outcomes.push(item.wait().await);
                }
                array(&outcomes)
            }
        }
    }
}

/// An array's answer: 200 with an error in the place of each bad item, unless nothing was taken and all of it may be
/// later: then the array as a whole is told to come again.
fn array(outcomes: &[Result<Vec<u8>, Problem>]) -> Result<Answer, Problem> {
    if let Some(Err(first)) = outcomes.first()
        && outcomes.iter().all(|outcome| matches!(outcome, Err(problem) if problem.is_retryable()))
    {
        return Err(first.clone());
    }
    let mut text = vec![b'['];
    for (index, outcome) in outcomes.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        match outcome {
            Ok(reply) => text.extend_from_slice(reply),
            Err(problem) => text.extend_from_slice(&write::text(&ItemError { error: &problem.body })),
        }
    }
    text.push(b']');
    Ok(respond(StatusCode::OK, text))
}

fn read_store(store: &dyn Store, read: Read) -> Result<Vec<u8>, Problem> {
    Ok(match read {
        Read::Profile(id) => write::text(&write::profile(&store.profile(&id)?)),
        Read::ProfileEvents(id, page) => {
            write::text(&write::page(&store.profile_events(&id, &page)?, write::event))
        }
        Read::ProfileSessions(id, page) => {
            write::text(&write::page(&store.profile_sessions(&id, &page)?, write::session))
        }
        Read::Session(id) => write::text(&write::session(&store.session(&id)?)),
        Read::SessionEvents(id, page) => {
            write::text(&write::page(&store.session_events(&id, &page)?, write::event))
        }
        Read::Events { after, limit } => {
            write::text(&write::page(&log_page(store.events_after(after, limit)?, limit), write::event))
        }
        Read::Requests { after, limit } => {
            let items = store.requests_after(after, limit)?;
            let cursor = items.last().map(|(seq, _)| seq.0.to_string());
            write::text(&write::page(&Page { items, cursor }, |(seq, request)| {
                request::logged(*seq, request)
            }))
        }
        Read::Check => write::text(&CheckBody::from(store.check()?)),
    })
}

/// A page in log order: the cursor is what to send as `after`.
fn log_page(items: Vec<StoredEvent>, limit: usize) -> Page<StoredEvent> {
    let cursor = items.last().filter(|_| items.len() >= limit).map(|event| event.seq.0.to_string());
    Page { items, cursor }
}

async fn within<T>(
    timeout: Option<Duration>,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let Some(timeout) = timeout else { return work.await };
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
        Err(Problem::new("request_timeout", "no answer in time; what was sent may still be stored"))
    })
}

/// Longer ones are no user agents, and would go into the log with every request.
const USER_AGENT_MAX_BYTES: usize = 1_024;

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(USER_AGENT)?.to_str().ok()?.trim();
    (!text.is_empty() && text.len() <= USER_AGENT_MAX_BYTES).then(|| text.to_owned())
}

fn internal() -> Problem {
    Problem::new("internal", "the server failed; its log says why")
}

fn respond(status: StatusCode, text: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn refuse(problem: &Problem, version: Version) -> Answer {
    let body: &ErrorBody = &problem.body;
    let mut answer = respond(problem.status, write::text(body));
    let headers = answer.headers_mut();
    if let Some(after_ms) = body.retry_after_ms {
        headers.insert(RETRY_AFTER, HeaderValue::from(after_ms.div_ceil(1_000)));
    }
    if let Some(allow) = problem.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    // The rest of the body may still be on its way; HTTP/2 resets the stream instead.
    if problem.status == StatusCode::REQUEST_TIMEOUT && version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}
