//! HTTP/2 without TLS: several clients share a connection, a stream each.

use super::protocol::{Answered, Protocol};
use crate::Fault;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use spoor::TrackRequest;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A client's share of a connection; one request at a time.
#[derive(Debug, Clone)]
pub struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    protocol: Protocol,
    uri: String,
}

impl Http2 {
    /// Connects. Clones share the connection.
    ///
    /// # Errors
    /// If nobody listens, or does not speak HTTP/2.
    pub async fn connect(address: SocketAddr, protocol: Protocol) -> Result<Self, Fault> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // It ends with the last client; why it ended before shows in each request.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender, protocol, uri: format!("http://{address}{}", protocol.path()) })
    }

    /// Sends items and waits for what they came to.
    ///
    /// # Errors
    /// If the connection breaks, or the answer makes no sense.
    pub async fn send(&mut self, items: &[TrackRequest]) -> Result<Answered, Fault> {
        let mut body = Vec::new();
        self.protocol.write(items, &mut body)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.uri)
            .header(CONTENT_TYPE, self.protocol.media_type())
            .body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        self.protocol.read(status, &body, items.len())
    }
}
