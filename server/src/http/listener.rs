//! Accepts connections, encrypted or not, and sees them to their end. Knows HTTP's framing and bounds, and no route.

use super::answer_body::AnswerBody;
use super::service::Service;
use super::watch::{Patience, Watch, Watched};
use crate::settings::ServerSettings;
use crate::tls::shown::Shown;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// A connection that was given up may still say goodbye for this long, in milliseconds.
const FAREWELL_MS: u64 = 1_000;
/// Pause after the system refused a connection, as it does when too many files are open, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 50;

/// What all connections share.
struct Shared {
    service: Arc<Service>,
    builder: Builder<TokioExecutor>,
    patience: Patience,
    /// What is shown at each handshake: it may be another certificate than at the one before.
    shown: Option<watch::Receiver<Shown>>,
    stop: watch::Receiver<bool>,
}

/// Accepts until `stop` turns true; returns once the last connection is over, or after the time given for that.
pub(super) async fn run(
    listener: TcpListener,
    service: Arc<Service>,
    settings: &ServerSettings,
    shown: Option<watch::Receiver<Shown>>,
    mut stop: watch::Receiver<bool>,
) {
    let shared = Arc::new(Shared {
        service: Arc::clone(&service),
        builder: builder(settings),
        patience: Patience {
            headers: Duration::from_millis(settings.headers_timeout_ms),
            idle: Duration::from_millis(settings.idle_timeout_ms),
        },
        shown,
        stop: stop.clone(),
    });
    let places = Arc::new(Semaphore::new(settings.connections));
    tokio::select! {
        () = accept(&listener, &shared, &places) => {}
        () = stopped(&mut stop) => {}
    }
    drop(listener);
    service.stop();
    let all = u32::try_from(settings.connections).unwrap_or(u32::MAX);
    let patience = Duration::from_millis(settings.shutdown_timeout_ms);
    if tokio::time::timeout(patience, places.acquire_many(all)).await.is_err() {
        tracing::warn!("connections were cut off: they did not end within server.shutdown_timeout");
    }
}

/// Returns once the server is told to stop, or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn builder(settings: &ServerSettings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Watch` bounds the time for heads.
        .header_read_timeout(None)
        // With `pipeline_flush` hyper would buffer answers without end for a client that does not read them.
        .max_buf_size(settings.headers_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams)
        .max_header_list_size(u32::try_from(settings.headers_bytes).unwrap_or(u32::MAX))
        .adaptive_window(true);
    builder
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>, places: &Arc<Semaphore>) {
    loop {
        // Without a place the next connection waits in the system's queue.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(connection(stream, peer, Arc::clone(shared), place));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, place: OwnedSemaphorePermit) {
    // Answers are small and whole: waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let watch = Watch::new(shared.patience);
    let _counted = shared.service.connection();
    match &shared.shown {
        None => serve(stream, peer, &shared, watch).await,
        Some(shown) => {
            let acceptor = TlsAcceptor::from(Arc::clone(&shown.borrow().config));
            let mut stop = shared.stop.clone();
            // A handshake has the time of the first head, and is the client's business as all of a connection.
            tokio::select! {
                Ok(stream) = acceptor.accept(stream) => serve(stream, peer, &shared, watch).await,
                () = watch.given_up() => {}
                () = stopped(&mut stop) => {}
                else => {}
            }
        }
    }
    drop(place);
}

/// Answers what is asked on a connection, until its end.
async fn serve<S>(stream: S, peer: SocketAddr, shared: &Shared, watch: Arc<Watch>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(|request| {
        let busy = watch.busy();
        let service = Arc::clone(&shared.service);
        async move {
            let mut answer = service.answer(request, peer).await;
            if let AnswerBody::Stream(body) = answer.body_mut() {
                body.keep(busy);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let io = Watched::io(stream, Arc::clone(&watch));
    let mut stop = shared.stop.clone();
    let mut connection = std::pin::pin!(shared.builder.serve_connection(io, answer));
    // What goes wrong on a connection is the client's business, who sees it.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = watch.given_up() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(Duration::from_millis(FAREWELL_MS), connection).await;
        }
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            // A head that is half there is not awaited for longer than heads are.
            tokio::select! {
                _ = connection => {}
                () = watch.given_up() => {}
            }
        }
    }
}
