//! Answers the calls of other services' clients: bodies as for our own, the mapping by [`crate::vendors`], and the
//! answers that they expect.

use super::super::errors::Problem;
use super::super::intake::Handed;
use super::super::vendor_routes::VendorCall;
use super::{Answer, Service, body, respond, user_agent, within};
use crate::http::body::{Encoding, Share};
use crate::limits::PARSE_INLINE_MAX_BYTES;
use crate::protocol::write::{self, Audience};
use crate::vendors::segment::browser::{Reached, rudder_settings, segment_settings};
use crate::vendors::segment::{self, Refused};
use crate::vendors::tracardi;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, StatusCode};
use spoor::{Error, Origin, Reply, TrackRequest};
use std::sync::Arc;

impl Service {
    /// Answers a call of another service's client.
    pub(super) async fn vendor(
        self: &Arc<Self>,
        call: VendorCall,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let (head, incoming) = request.into_parts();
        match call {
            VendorCall::Segment { call, key } => self.segment(call, key, head, incoming).await,
            VendorCall::SegmentSettings(key) => {
                self.source_of_key.find(Some(&key))?;
                Ok(respond(StatusCode::OK, write::text(&segment_settings(&key, reached(&head)))))
            }
            VendorCall::RudderSettings(key) => {
                let key = basic_user(&head.headers).or(key).unwrap_or_default();
                self.source_of_key.find(Some(&key))?;
                Ok(respond(StatusCode::OK, write::text(&rudder_settings(&key))))
            }
            VendorCall::TracardiTrack { profile_less } => {
                self.tracardi(head, incoming, move |bytes, _| {
                    let payload = tracardi::read(bytes, profile_less)?;
                    Ok((payload.source, payload.request, payload.warnings))
                })
                .await
            }
            VendorCall::Collect(collected) => {
                self.tracardi(head, incoming, move |bytes, is_form| {
                    let request = collected.request(tracardi::collected_body(bytes, is_form)?);
                    Ok((collected.source, request, Vec::new()))
                })
                .await
            }
            VendorCall::CollectQuery { collected, properties, pixel } => {
                let request = collected.request(properties);
                let told = self.track_for(&collected.source, request, &head.headers)?.told();
                let (reply, audience) = within(Some(self.request_timeout), told).await?;
                Ok(if pixel { picture() } else { tracardi_answer(&reply, &audience, &[]) })
            }
        }
    }

    async fn segment(
        self: &Arc<Self>,
        call: segment::Call,
        key: Option<String>,
        head: Parts,
        incoming: Incoming,
    ) -> Result<Answer, Problem> {
        let key = basic_user(&head.headers).or(key);
        let body = self.received(&head, incoming).await?;
        let work = move |service: &Self, bytes: &[u8]| {
            let messages = segment::read(call, bytes)?;
            let source = service.source_of_key.find(key.or(messages.write_key).as_deref())?;
            Ok(service.hand_in_all(messages.items, source.as_deref()))
        };
        let waiting = async {
            let (messages, _share) = self.in_body(body, work).await?;
            segment_answer(call, messages).await
        };
        within(Some(self.request_timeout), waiting).await
    }

    /// Once one is told *overloaded*, so are those behind it: else they would overtake it.
    fn hand_in_all(&self, messages: Vec<segment::Message>, source: Option<&str>) -> Vec<InHand> {
        let mut full = false;
        let in_hand = |segment::Message { id, call, request }: segment::Message| {
            let state = match request {
                Err(rejection) => State::Known(Err(rejection.into())),
                Ok(_) if full => State::Known(Err(Error::Overloaded.into())),
                Ok(request) => {
                    let request = TrackRequest { source: source.map(str::to_owned), ..request };
                    self.intake.hand_in(request).settle().map_or_else(State::Waiting, State::Known)
                }
            };
            full |= matches!(&state, State::Known(Err(problem)) if problem.is_retryable());
            InHand { id, call, state }
        };
        messages.into_iter().map(in_hand).collect()
    }

    /// Answers a body of one request in Tracardi's words. `read` is given the body, and whether it says to be a form.
    async fn tracardi<F>(
        self: &Arc<Self>,
        head: Parts,
        incoming: Incoming,
        read: F,
    ) -> Result<Answer, Problem>
    where
        F: FnOnce(&[u8], bool) -> Result<(String, TrackRequest, Vec<&'static str>), Problem> + Send + 'static,
    {
        let body = self.received(&head, incoming).await?;
        let headers = head.headers;
        let work = move |service: &Self, bytes: &[u8]| {
            let (source, request, warnings) = read(bytes, is_form(&headers))?;
            Ok((service.track_for(&source, request, &headers)?, warnings))
        };
        let waiting = async {
            let ((handed, warnings), _share) = self.in_body(body, work).await?;
            let (reply, audience) = handed.told().await?;
            Ok(tracardi_answer(&reply, &audience, &warnings))
        };
        within(Some(self.request_timeout), waiting).await
    }

    fn track_for(&self, source: &str, request: TrackRequest, headers: &HeaderMap) -> Result<Handed, Problem> {
        let source = self.source_of_key.find(Some(source))?;
        let agent = request.user_agent.or_else(|| user_agent(headers, Origin::Live));
        Ok(self.intake.hand_in(TrackRequest { source, user_agent: agent, ..request }))
    }

    async fn received(&self, head: &Parts, incoming: Incoming) -> Result<Received, Problem> {
        let encoding = Encoding::of(&head.headers)?;
        let mut share = self.budget.share();
        let bytes = body::read(incoming, self.body_bytes, self.body_timeout, &mut share).await?;
        Ok(Received { bytes, encoding, share })
    }

    /// Does `work` with a body: here if it is small, else on a thread that may take its time. The share bounds what
    /// waits, and is to live until the answer.
    async fn in_body<T, F>(self: &Arc<Self>, body: Received, work: F) -> Result<(T, Share), Problem>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &[u8]) -> Result<T, Problem> + Send + 'static,
    {
        let Received { bytes, encoding, mut share } = body;
        // A compressed body counts for what it may become; these clients do not always say that it is one.
        let is_plain = encoding == Encoding::Identity && !bytes.starts_with(&[0x1f, 0x8b]);
        let is_small = bytes.len() * if is_plain { 1 } else { 16 } <= PARSE_INLINE_MAX_BYTES;
        let service = Arc::clone(self);
        let work = move || {
            let bytes = body::decompress(bytes, encoding, service.body_decompressed_bytes, &mut share)?;
            Ok((work(&service, &bytes)?, share))
        };
        if is_small {
            return work();
        }
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::internal()))
    }
}

/// A body before anybody looked into it.
struct Received {
    bytes: Bytes,
    encoding: Encoding,
    share: Share,
}

/// One item of a batch on its way.
struct InHand {
    id: Option<String>,
    call: Option<segment::Call>,
    state: State,
}

enum State {
    Known(Result<(), Problem>),
    Waiting(Handed),
}

/// 200 with the items that were refused, so that one of them does not make the library throw away the others. What may
/// be accepted later makes it send all of them again, which stores nothing twice. A body in which nothing is right is
/// refused as a whole: nobody would look into a 200 for that.
async fn segment_answer(call: segment::Call, in_hand: Vec<InHand>) -> Result<Answer, Problem> {
    let (mut taken, mut refused, mut status) = (0, Vec::new(), None);
    let mut retry = None;
    for (index, InHand { id, call, state }) in in_hand.into_iter().enumerate() {
        let outcome = match state {
            State::Known(known) => known,
            State::Waiting(handed) => handed.stored().await,
        };
        match outcome {
            Ok(()) => taken += 1,
            Err(problem) if problem.status.is_server_error() => retry = retry.or(Some(problem)),
            Err(problem) => {
                status.get_or_insert(problem.status);
                refused.push(Refused::new(index, id, call, problem.body));
            }
        }
    }
    if let Some(problem) = retry {
        return Err(problem);
    }
    match status {
        Some(status) if taken == 0 => Err(refused_whole(call, status, refused)),
        _ => Ok(respond(StatusCode::OK, write::text(&segment::answer(taken, refused)))),
    }
}

/// The first refusal, for all of them.
fn refused_whole(call: segment::Call, status: StatusCode, refused: Vec<Refused>) -> Problem {
    let Some(first) = refused.into_iter().next() else { return Problem::internal() };
    let mut body = first.into_error();
    if call == segment::Call::Batch {
        body.field = body.field.map(|field| format!("batch[0].{field}"));
    }
    Problem { status, body, allow: None }
}

fn tracardi_answer(reply: &Reply, audience: &Audience, not_taken: &[&'static str]) -> Answer {
    respond(StatusCode::OK, write::text(&tracardi::answer(reply, audience, not_taken)))
}

fn picture() -> Answer {
    let mut answer = respond(StatusCode::OK, tracardi::PIXEL.to_vec());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    answer
}

/// The user of basic authentication, as which these libraries send their key. The password is empty.
fn basic_user(headers: &HeaderMap) -> Option<String> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let user = text.split(':').next().unwrap_or_default().trim();
    (!user.is_empty()).then(|| user.to_owned())
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
}

/// Where the client reached us, by its own words: they go back to nobody else.
fn reached(head: &Parts) -> Reached<'_> {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST.as_str()).or_else(|| head.uri.authority().map(|authority| authority.as_str()));
    Reached {
        authority: host.unwrap_or("localhost"),
        tls: text("x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https")),
    }
}
