//! Answers calls: the one place where requests meet the store. Knows no socket.
//!
//! Tracking takes no thread: the request goes to the writer, and what it answers wakes the task. Reads and acts may
//! wait for the disk, so each has a thread of the blocking pool, at most [`READS_MAX`] at once.

use super::access::{Access, Sender, challenge};
use super::answer;
use super::answer_body::AnswerBody;
use super::body::{self, Budget, Encoding, Share};
use super::caller::{self, Names};
use super::changes::{self, Feed, Following, Framing};
use super::errors::Problem;
use super::intake::{self, Form, Intake, Item};
use super::metrics::{self, Metrics};
use super::pages::{self, Question};
use super::routes::{ActCall, Call, Found, KeyRoute, Read, find};
use super::stream::{self, Surroundings, Terms};
use super::tracker;
use crate::access::keyring::{Caller, Keyring};
use crate::access::{KeyCall, SourceName};
use crate::limits::{ACT_MAX_BYTES, PARSE_INLINE_MAX_BYTES, READS_MAX};
use crate::openapi;
use crate::protocol::act;
use crate::protocol::compact::frames::{self, Payloads};
use crate::protocol::compact::read;
use crate::protocol::json::{self, Body};
use crate::protocol::keys;
use crate::protocol::write::{self, ErrorBody, StatusBody};
use crate::settings::Configuration;
use crate::store::Store;
use http_body_util::Full;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use serde::Serialize;
use spoor::{Act, Error, Origin, Rejection, TrackRequest};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

mod vendors;

/// What is needed to answer.
pub(super) struct Service {
    store: Arc<dyn Store>,
    intake: Arc<Intake>,
    feed: Feed,
    metrics: Arc<Metrics>,
    /// Tells this run of the server from others, so that a client can see whom it reached.
    instance: String,
    /// Whether connections are encrypted without anybody in front.
    tls: bool,
    names: Names,
    access: Arc<Access>,
    body_bytes: usize,
    body_decompressed_bytes: usize,
    body_timeout: Duration,
    request_timeout: Duration,
    idle_timeout: Duration,
    budget: Budget,
    asked: Semaphore,
    stopping: watch::Sender<bool>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("instance", &self.instance).finish_non_exhaustive()
    }
}

type Answer = Response<AnswerBody>;

impl Service {
    /// A service over `store`, for those whom `keyring` knows.
    #[must_use]
    pub(super) fn new(
        store: Arc<dyn Store>,
        configuration: &Configuration,
        keyring: Arc<Keyring>,
        instance: String,
    ) -> Self {
        let Configuration { server, engine, .. } = configuration;
        let metrics = Arc::new(Metrics::new(Arc::clone(&store), configuration.data_dir.clone()));
        Self {
            intake: Arc::new(Intake::new(Arc::clone(&store), engine, Arc::clone(&metrics))),
            feed: Feed::new(Arc::clone(&store), Arc::clone(&metrics)),
            metrics,
            store,
            instance,
            tls: server.tls.is_some(),
            names: Names::new(server.listen.ip(), &server.hosts),
            access: Arc::new(Access::new(keyring, configuration)),
            body_bytes: server.body_bytes,
            body_decompressed_bytes: server.body_decompressed_bytes,
            body_timeout: Duration::from_millis(server.body_timeout_ms),
            request_timeout: Duration::from_millis(server.request_timeout_ms),
            idle_timeout: Duration::from_millis(server.idle_timeout_ms),
            budget: Budget::new(server.bodies_bytes),
            asked: Semaphore::new(READS_MAX),
            stopping: watch::Sender::new(false),
        }
    }

    /// From here on `/readyz` says no, so that whoever balances load looks elsewhere, and streams end.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// A connection, while what is returned is held.
    pub(super) fn connection(&self) -> metrics::Counted {
        self.metrics.connection()
    }

    /// Answers a request; never fails, since a failure is an answer too.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let begun = Instant::now();
        let version = request.version();
        let (route, readers, outcome) = self.outcome(request, peer).await;
        let mut answer = outcome.unwrap_or_else(|problem| {
            self.metrics.refused(&problem.body.code);
            refuse(&problem, version)
        });
        if let Some(Readers { page, source }) = readers {
            self.access.pages().tell(answer.headers_mut(), page.as_ref(), source.as_ref());
        }
        let taken = begun.elapsed();
        self.metrics.answered(route, answer.status().as_u16(), taken);
        let taken_us = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(route, status = answer.status().as_u16(), taken_us, "answered");
        answer
    }

    /// The route as the log names it, the pages that may read the answer, and the answer.
    async fn outcome(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> (&'static str, Option<Readers>, Result<Answer, Problem>) {
        let (uri, headers) = (request.uri(), request.headers());
        if let Err(problem) = self.names.check(request.version(), uri, headers, !self.access.is_open()) {
            return ("-", None, Err(problem));
        }
        if let Some(question) = pages::question(request.method(), headers) {
            return ("preflight", None, self.permit(uri, question));
        }
        let page = self.names.other_page(uri, headers);
        let found = find(request.method(), uri.path(), uri.query());
        let route = found.as_ref().map_or("-", |found| found.route);
        // What is no call tells a page nothing that it must not know.
        let is_for_pages = found.as_ref().map_or(true, |found| found.call.is_for_pages());
        let admitted =
            found.and_then(|Found { call, .. }| Ok((self.access.admit(call.need(), uri, headers)?, call)));
        let source = admitted.as_ref().ok().and_then(|(caller, _)| caller.source()).cloned();
        let readers = is_for_pages.then(|| Readers { page: page.clone(), source });
        let outcome = match admitted {
            Ok((caller, call)) => {
                let sender = Sender::new(Arc::clone(&self.access), caller, page);
                self.call(call, request, peer, sender).await
            }
            Err(problem) => Err(problem),
        };
        (route, readers, outcome)
    }

    /// Answers what a browser asks before it sends for a page of another origin.
    fn permit(&self, uri: &Uri, question: Question) -> Result<Answer, Problem> {
        let found = find(&question.method, uri.path(), uri.query())?;
        if !found.call.is_for_pages() {
            let message = "a page of another origin may track, and nothing else";
            return Err(Problem::new("cross_origin", message));
        }
        let mut answer = respond(StatusCode::NO_CONTENT, Vec::new());
        answer.headers_mut().remove(CONTENT_TYPE);
        self.access.pages().permit(answer.headers_mut(), question)?;
        Ok(answer)
    }

    async fn call(
        self: &Arc<Self>,
        call: Call,
        request: Request<Incoming>,
        peer: SocketAddr,
        sender: Sender,
    ) -> Result<Answer, Problem> {
        self.check_caller(&call, &request, peer, sender.caller())?;
        match call {
            Call::Track(origin) => self.track(request, origin, sender).await,
            Call::Stream(origin) => self.stream(request, origin, sender),
            Call::Vendor(vendor) => self.vendor(vendor, request, sender).await,
            Call::Read(Read::Check) => self.read(Read::Check, None).await,
            Call::Read(read) => self.read(read, Some(self.request_timeout)).await,
            Call::Act { act: ActCall::Whole(act), dry_run } => self.act(act, dry_run).await,
            Call::Act { act: ActCall::InBody(unread), dry_run } => {
                let act = act::read(unread, &self.small_body(request, sender.caller()).await?)?;
                self.act(act, dry_run).await
            }
            Call::Keys(route) => self.keys(route, request, sender.caller()).await,
            Call::Changes(following) => self.changes(request.headers(), following, sender.caller()),
            Call::Metrics => self.metrics().await,
            Call::OpenApi => Ok(respond(StatusCode::OK, openapi::text().to_vec())),
            Call::Docs => {
                let page = Full::new(Bytes::from_static(openapi::page().as_bytes()));
                Ok(respond_as(StatusCode::OK, "text/html; charset=utf-8", AnswerBody::Whole(page)))
            }
            Call::Status => Ok(self.status()),
            Call::Health => Ok(respond(StatusCode::OK, br#"{"status":"ok"}"#.to_vec())),
            Call::Ready => self.ready(),
            Call::Tracker => Ok(tracker::answer(request.headers())),
        }
    }

    /// What not everybody may do who reaches the server.
    fn check_caller(
        &self,
        call: &Call,
        request: &Request<Incoming>,
        peer: SocketAddr,
        caller: &Caller,
    ) -> Result<(), Problem> {
        match call {
            Call::Track(Origin::Import) | Call::Stream(Origin::Import) => {
                let is_near = peer.ip().is_loopback() && !caller::is_forwarded(request.headers());
                if !is_near && !caller.has_key() {
                    let message =
                        "without a key history is imported from this machine only, and not through a proxy";
                    return Err(Problem::new("origin_forbidden", message));
                }
                self.names.check_page(request.uri(), request.headers())
            }
            // The key of an admin is no page's: if a browser sends it, it is not the page that has it.
            Call::Track(_) | Call::Stream(_) if caller.has_key() && caller.source().is_none() => {
                self.names.check_page(request.uri(), request.headers())
            }
            Call::Act { .. } | Call::Keys(KeyRoute::Add | KeyRoute::Revoke(_)) => {
                self.names.check_page(request.uri(), request.headers())?;
                // What somebody says in it, such as `dry_run`, would not hold.
                if request.method() == Method::DELETE && !request.body().is_end_stream() {
                    return Err(Problem::new("body_unexpected", "a DELETE takes parameters, and no body"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn changes(&self, headers: &HeaderMap, following: Following, caller: &Caller) -> Result<Answer, Problem> {
        let following = changes::resumed(headers, following)?;
        let framing = Framing::wanted(headers);
        let body = self.feed.follow(following, framing, caller.clone(), self.stopping.subscribe())?;
        let mut answer = respond_as(StatusCode::OK, framing.media_type(), AnswerBody::Stream(body));
        // A proxy that gathers answers before it passes them on would hold back the last changes.
        answer.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(answer)
    }

    async fn metrics(&self) -> Result<Answer, Problem> {
        let metrics = Arc::clone(&self.metrics);
        let question = move || Ok(metrics.text().map_err(|_| Problem::internal())?.into_bytes());
        let mut answer = self.ask(Some(self.request_timeout), question).await?;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::MEDIA_TYPE));
        Ok(answer)
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
        if *self.stopping.borrow() {
            return Err(Problem::new("closed", "the server is stopping"));
        }
        match self.store.failure() {
            // The reason may name files: it is for the operator, and where keys are needed anybody may call.
            Some(_) if !self.access.is_open() => {
                Err(Problem::new("closed", "the store has closed itself; the server's log says why"))
            }
            Some(reason) => Err(Problem::new("closed", format!("the store has closed itself: {reason}"))),
            None => Ok(respond(StatusCode::OK, br#"{"status":"ready"}"#.to_vec())),
        }
    }

    async fn read(&self, read: Read, timeout: Option<Duration>) -> Result<Answer, Problem> {
        let store = Arc::clone(&self.store);
        self.ask(timeout, move || Ok(answer::read(&*store, &read)?)).await
    }

    async fn act(&self, act: Act, dry_run: bool) -> Result<Answer, Problem> {
        let store = Arc::clone(&self.store);
        self.ask(Some(self.request_timeout), move || Ok(answer::act(&*store, act, dry_run)?)).await
    }

    /// Asks the store on a thread that may wait.
    async fn ask(
        &self,
        timeout: Option<Duration>,
        question: impl FnOnce() -> Result<Vec<u8>, Problem> + Send + 'static,
    ) -> Result<Answer, Problem> {
        let work = async {
            let Ok(_place) = self.asked.acquire().await else { return Err(Problem::internal()) };
            tokio::task::spawn_blocking(question).await.unwrap_or_else(|_| Err(Problem::internal()))
        };
        let text = within(timeout, work).await?;
        Ok(respond(StatusCode::OK, text))
    }

    async fn keys(
        &self,
        route: KeyRoute,
        request: Request<Incoming>,
        caller: &Caller,
    ) -> Result<Answer, Problem> {
        let call = match route {
            KeyRoute::List => KeyCall::List,
            KeyRoute::Revoke(id) => KeyCall::Revoke { id },
            KeyRoute::Add => {
                let new = keys::read(&self.small_body(request, caller).await?)?;
                self.access.check_new(&new)?;
                KeyCall::Add(new)
            }
        };
        let keyring = Arc::clone(self.access.keyring());
        self.ask(Some(self.request_timeout), move || Ok(answer::keys(&keyring, call)?)).await
    }

    /// The body of a call that a person makes. Who has lost their key while it came may do nothing any more.
    async fn small_body(&self, request: Request<Incoming>, caller: &Caller) -> Result<Bytes, Problem> {
        let (head, incoming) = request.into_parts();
        body::check_is_json(&head.headers)?;
        let encoding = Encoding::of(&head.headers)?;
        let mut share = self.budget.share();
        let most = ACT_MAX_BYTES.min(self.body_bytes);
        let bytes = body::read(incoming, most, self.body_timeout, &mut share).await?;
        let bytes = body::decompress(bytes, encoding, most, &mut share)?;
        if caller.is_revoked() { Err(Sender::ended()) } else { Ok(bytes) }
    }

    async fn track(
        self: &Arc<Self>,
        request: Request<Incoming>,
        origin: Origin,
        sender: Sender,
    ) -> Result<Answer, Problem> {
        let (head, incoming) = request.into_parts();
        let form = body::form(&head.headers)?;
        let wanted = Form::wanted(&head.headers, form);
        let encoding = Encoding::of(&head.headers)?;
        let user_agent = user_agent(&head.headers, origin);
        let mut share = self.budget.share();
        let bytes = body::read(incoming, self.body_bytes, self.body_timeout, &mut share).await?;
        let arrival = Arrival { bytes, form, wanted, encoding, origin, user_agent, sender };
        // A compressed body counts for what it may become.
        let weight = arrival.bytes.len() * if encoding == Encoding::Identity { 1 } else { 16 };
        // The share lives until the answer, and so bounds what waits in the mailbox as well.
        let (service, metrics) = (Arc::clone(self), Arc::clone(&self.metrics));
        let work = async move {
            let (submitted, _share) = if weight <= PARSE_INLINE_MAX_BYTES {
                (service.submit(arrival, &mut share)?, share)
            } else {
                // What nobody waits for any more is parsed and stored all the same: the answer says that it may be.
                let task = tokio::task::spawn_blocking(move || {
                    let submitted = service.submit(arrival, &mut share)?;
                    Ok::<_, Problem>((submitted, share))
                });
                task.await.unwrap_or_else(|_| Err(Problem::internal()))?
            };
            submitted.answer(wanted, &metrics).await
        };
        within(Some(self.request_timeout), work).await
    }

    fn stream(&self, request: Request<Incoming>, origin: Origin, sender: Sender) -> Result<Answer, Problem> {
        let (head, incoming) = request.into_parts();
        body::check_is_stream(&head.headers)?;
        let terms = Terms {
            frame_bytes: self.body_bytes,
            frame_timeout: self.body_timeout,
            idle_timeout: self.idle_timeout,
            request_timeout: self.request_timeout,
            sender,
            origin,
            user_agent: user_agent(&head.headers, origin),
        };
        let surroundings = Surroundings {
            intake: Arc::clone(&self.intake),
            budget: self.budget.clone(),
            stopping: self.stopping.subscribe(),
        };
        let body = AnswerBody::Stream(stream::begin(incoming, terms, surroundings));
        Ok(respond_with(StatusCode::OK, Form::Compact, body))
    }

    /// Parses and hands over; what comes back waits for the writer.
    fn submit(&self, arrival: Arrival, share: &mut Share) -> Result<Submitted, Problem> {
        let Arrival { bytes, form, wanted, encoding, origin, user_agent, sender } = arrival;
        let bytes = body::decompress(bytes, encoding, self.body_decompressed_bytes, share)?;
        let complete = |mut request: TrackRequest| {
            request.origin = if origin.is_import() { request.origin.imported() } else { origin };
            request.user_agent = request.user_agent.or_else(|| user_agent.clone());
            sender.admit(&mut request)?;
            Ok::<_, Rejection>(request)
        };
        match form {
            Form::Json => match json::read(&bytes)? {
                Body::One(request) => Ok(self.submit_one(complete(*request)?, wanted)),
                Body::Many(items) => {
                    Ok(self.submit_many(items.into_iter().map(|item| item.and_then(complete)), wanted))
                }
            },
            Form::Compact => match frames::payloads(&bytes)? {
                Payloads::One(payload) => Ok(self.submit_one(complete(read::request(payload)?)?, wanted)),
                Payloads::Many(items) => {
                    let requests = items.into_iter().map(|payload| read::request(payload).and_then(complete));
                    Ok(self.submit_many(requests, wanted))
                }
            },
        }
    }

    fn submit_one(&self, request: TrackRequest, form: Form) -> Submitted {
        Submitted::One(self.intake.submit(request, form))
    }

    /// Once one is told *overloaded*, so are those behind it: else they would overtake it.
    fn submit_many(
        &self,
        requests: impl Iterator<Item = Result<TrackRequest, Rejection>>,
        form: Form,
    ) -> Submitted {
        let mut full = false;
        let items = requests
            .map(|request| match request {
                Err(rejection) => Item::Known(Err(rejection.into())),
                Ok(_) if full => Item::Known(Err(Error::Overloaded.into())),
                Ok(request) => {
                    let item = self.intake.submit(request, form).settle();
                    full = matches!(&item, Item::Known(Err(problem)) if problem.is_retryable());
                    item
                }
            })
            .collect();
        Submitted::Many(items)
    }
}

/// Whose page may read an answer.
struct Readers {
    /// The page that sent, if it is of another origin.
    page: Option<HeaderValue>,
    /// The source for which it sent, where a key says so.
    source: Option<SourceName>,
}

/// A body before anybody looked into it.
struct Arrival {
    bytes: Bytes,
    form: Form,
    wanted: Form,
    encoding: Encoding,
    origin: Origin,
    user_agent: Option<String>,
    sender: Sender,
}

/// What was handed over.
enum Submitted {
    One(Item),
    Many(Vec<Item>),
}

impl Submitted {
    async fn answer(self, form: Form, metrics: &Metrics) -> Result<Answer, Problem> {
        match self {
            Self::One(item) => Ok(respond_in(StatusCode::OK, form, item.wait().await?)),
            Self::Many(items) => {
                let mut outcomes = Vec::with_capacity(items.len());
                for item in items {
                    outcomes.push(item.wait().await);
                }
                array(&outcomes, form, metrics)
            }
        }
    }
}

/// An array's answer: 200 with an error in the place of each bad item, unless nothing was taken and all of it may be
/// later: then the array as a whole is told to come again.
fn array(outcomes: &[Result<Vec<u8>, Problem>], form: Form, metrics: &Metrics) -> Result<Answer, Problem> {
    if let Some(Err(first)) = outcomes.first()
        && outcomes.iter().all(|outcome| matches!(outcome, Err(problem) if problem.is_retryable()))
    {
        return Err(first.clone());
    }
    for problem in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        metrics.refused(&problem.body.code);
    }
    Ok(respond_in(StatusCode::OK, form, intake::joined(outcomes, form)))
}

async fn within<T>(
    timeout: Option<Duration>,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let Some(timeout) = timeout else { return work.await };
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(Problem::no_answer_in_time()))
}

/// Longer ones are no user agents, and would go into the log with every request.
const USER_AGENT_MAX_BYTES: usize = 1_024;

/// The user agent that the headers name; that of an import is not the customer's.
fn user_agent(headers: &HeaderMap, origin: Origin) -> Option<String> {
    if origin.is_import() {
        return None;
    }
    let text = headers.get(USER_AGENT)?.to_str().ok()?.trim();
    (!text.is_empty() && text.len() <= USER_AGENT_MAX_BYTES).then(|| text.to_owned())
}

fn respond(status: StatusCode, text: Vec<u8>) -> Answer {
    respond_in(status, Form::Json, text)
}

fn respond_in(status: StatusCode, form: Form, bytes: Vec<u8>) -> Answer {
    respond_with(status, form, AnswerBody::Whole(Full::new(bytes.into())))
}

fn respond_with(status: StatusCode, form: Form, body: AnswerBody) -> Answer {
    respond_as(status, form.media_type(), body)
}

fn respond_as(status: StatusCode, media_type: &'static str, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
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
    if let Some(challenge) = challenge(problem.status) {
        headers.insert(WWW_AUTHENTICATE, challenge);
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
