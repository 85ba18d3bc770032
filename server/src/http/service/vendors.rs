//! Answers the calls of other services' clients: bodies as for our own, the mapping by [`crate::vendors`], and the
//! answers that they expect.

use super::super::access::vendors::Entry;
use super::super::access::{Sender, Shown};
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
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
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
        sender: Sender,
    ) -> Result<Answer, Problem> {
        let (head, incoming) = request.into_parts();
        match call {
            VendorCall::Segment { call, key } => self.segment(call, key, head, incoming, sender).await,
            VendorCall::SegmentSettings(key) => {
                self.access.entry(Some(Shown::in_address(key.clone())), sender)?;
                Ok(respond(StatusCode::OK, write::text(&segment_settings(&key, reached(&head, self.tls)))))
            }
            VendorCall::RudderSettings(key) => {
                let shown =
                    self.access.shown(&head.uri, &head.headers)?.or_else(|| key.map(Shown::in_address));
                let key = shown.as_ref().map(|shown| shown.text.clone()).unwrap_or_default();
                self.access.entry(shown, sender)?;
                Ok(respond(StatusCode::OK, write::text(&rudder_settings(&key))))
            }
            VendorCall::TracardiTrack { profile_less } => {
                let named = Named { sender, in_address: false };
                self.tracardi(head, incoming, named, move |bytes, _| {
                    let payload = tracardi::read(bytes, profile_less)?;
                    Ok((payload.source, payload.request, payload.warnings))
                })
                .await
            }
            VendorCall::Collect(collected) => {
                let named = Named { sender, in_address: true };
                self.tracardi(head, incoming, named, move |bytes, is_form| {
                    let request = collected.request(tracardi::collected_body(bytes, is_form)?);
                    Ok((collected.source, request, Vec::new()))
                })
                .await
            }
            VendorCall::CollectQuery { collected, properties, pixel } => {
                let request = collected.request(properties);
                let named = Named { sender, in_address: true };
                let told = self.track_for(&collected.source, request, &head, named)?.told();
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
        sender: Sender,
    ) -> Result<Answer, Problem> {
        let shown = self.access.shown(&head.uri, &head.headers)?.or_else(|| key.map(Shown::in_address));
        let body = self.received(&head, incoming).await?;
        let work = move |service: &Self, bytes: &[u8]| {
            let messages = segment::read(call, bytes)?;
            let entry = service.access.library_entry(shown, messages.write_key, sender)?;
            Ok(service.hand_in_all(messages.items, &entry))
        };
        let waiting = async {
            let (messages, _share) = self.in_body(body, work).await?;
            segment_answer(call, messages).await
        };
        within(Some(self.request_timeout), waiting).await
    }

    /// Once one is told *overloaded*, so are those behind it: else they would overtake it.
    fn hand_in_all(&self, messages: Vec<segment::Message>, entry: &Entry) -> Vec<InHand> {
        let mut full = false;
        let in_hand = |segment::Message { id, call, request }: segment::Message| {
            let admitted = request.and_then(|request| {
                let mut request = TrackRequest { source: entry.source.clone(), ..request };
                entry.sender.admit(&mut request).map(|()| request)
            });
            let state = match admitted {
                Err(rejection) => State::Known(Err(rejection.into())),
                Ok(_) if full => State::Known(Err(Error::Overloaded.into())),
                Ok(request) => {
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
        named: Named,
        read: F,
    ) -> Result<Answer, Problem>
    where
        F: FnOnce(&[u8], bool) -> Result<(String, TrackRequest, Vec<&'static str>), Problem> + Send + 'static,
    {
        let body = self.received(&head, incoming).await?;
        let work = move |service: &Self, bytes: &[u8]| {
            let (source, request, warnings) = read(bytes, is_form(&head.headers))?;
            Ok((service.track_for(&source, request, &head, named)?, warnings))
        };
        let waiting = async {
            let ((handed, warnings), _share) = self.in_body(body, work).await?;
            let (reply, audience) = handed.told().await?;
            Ok(tracardi_answer(&reply, &audience, &warnings))
        };
        within(Some(self.request_timeout), waiting).await
    }

    /// Hands in a request of Tracardi's form. What it names as its source is a key, or the name of a source beside a key
    /// that stands in a usual place.
    fn track_for(
        &self,
        source: &str,
        request: TrackRequest,
        head: &Parts,
        named: Named,
    ) -> Result<Handed, Problem> {
        let agent = request.user_agent.or_else(|| user_agent(&head.headers, Origin::Live));
        let mut request = TrackRequest { user_agent: agent, ..request };
        let as_key = Shown { text: source.to_owned(), in_address: named.in_address };
        let entry = self.access.named_entry((&head.uri, &head.headers), as_key, named.sender)?;
        request.source = entry.source;
        entry.sender.admit(&mut request)?;
        Ok(self.intake.hand_in(request))
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

/// Who sends, and whether what names the source stands in the address.
struct Named {
    sender: Sender,
    in_address: bool,
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

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
}

/// Where the client reached us, by its own words: they go back to nobody else.
fn reached(head: &Parts, tls: bool) -> Reached<'_> {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST.as_str()).or_else(|| head.uri.authority().map(|authority| authority.as_str()));
    Reached {
        authority: host.unwrap_or("localhost"),
        tls: tls || text("x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https")),
    }
}
