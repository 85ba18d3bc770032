//! When a connection has done nothing for too long. Knows bytes and requests under way, and no HTTP beyond the
//! first three letters.
//!
//! 1. Before its first request, and whenever a head has begun on HTTP/1, the head must be complete in time.
//! 2. Between requests a connection may rest for longer, since clients keep connections.
//! 3. While a request is under way its own time limits hold, and none of ours.
//!
//! hyper's time limit for heads holds between requests too, so that it could not tell the first two apart; and it
//! does not hold while the protocol is being found out.

use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the first byte of a head to its last.
    pub(super) headers: Duration,
    /// From one request to the next.
    pub(super) idle: Duration,
}

/// What one connection is doing.
#[derive(Debug)]
pub(super) struct Watch {
    patience: Patience,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests under way.
    busy: usize,
    /// Since when none is.
    idle_since: Instant,
    /// Since when a head has been on its way.
    head_since: Option<Instant>,
    /// Whether the first bytes were those of HTTP/2; `None` before there were any.
    http2: Option<bool>,
}

/// A request under way; over when it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Watch>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy = state.busy.saturating_sub(1);
        state.idle_since = Instant::now();
    }
}

impl Watch {
    /// Of a connection that has just been accepted.
    pub(super) fn new(patience: Patience) -> Arc<Self> {
        let now = Instant::now();
        let state = State { busy: 0, idle_since: now, head_since: Some(now), http2: None };
        Arc::new(Self { patience, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has begun.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        let mut state = self.state();
        state.busy += 1;
        state.head_since = None;
        Busy(Arc::clone(self))
    }

    fn received(&self, bytes: &[u8]) {
        let mut state = self.state();
        let http2 = *state.http2.get_or_insert(bytes.starts_with(b"PRI"));
        // On HTTP/2 what comes between requests is mostly the protocol's own talk.
        if !http2 && state.busy == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    /// Returns once the connection has been given up.
    pub(super) async fn given_up(&self) {
        loop {
            let until = {
                let state = self.state();
                match state.head_since {
                    // Not earlier than it may be, and at most so much later.
                    _ if state.busy > 0 => Instant::now() + self.patience.headers.min(self.patience.idle),
                    Some(since) => since + self.patience.headers,
                    None => state.idle_since + self.patience.idle,
                }
            };
            if until <= Instant::now() {
                return;
            }
            // A head may begin meanwhile, whose time is shorter.
            tokio::time::sleep_until(until.min(Instant::now() + self.patience.headers)).await;
        }
    }
}

/// A connection whose bytes are seen by its [`Watch`], once they are no longer encrypted.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
}

impl<S> Watched<S> {
    /// Lets `watch` see `stream`; in the form that hyper takes.
    pub(super) fn io(stream: S, watch: Arc<Watch>) -> TokioIo<Self> {
        TokioIo::new(Self { stream, watch })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        match buffer.filled().get(before..) {
            Some(bytes) if !bytes.is_empty() => self.watch.received(bytes),
            _ => {}
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
