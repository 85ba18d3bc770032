//! Whom a client talks to, and its connection: the one place with a `match` over kinds of servers.

use super::Plan;
use super::http1::Http1;
use super::http2::Http2;
use super::protocol::{Answered, Protocol};
use super::streamed::Streamed;
use crate::Fault;
use crate::postgres::Postgres;
use clap::ValueEnum;
use serde::Serialize;
use spoor::TrackRequest;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub enum Version {
    /// HTTP/1.1, connections kept.
    #[value(name = "1.1")]
    #[serde(rename = "1.1")]
    One,
    /// HTTP/2 without TLS, the client knowing beforehand that the server speaks it.
    #[value(name = "2")]
    #[serde(rename = "2")]
    Two,
}

/// Whom requests are sent to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// A server of ours, or one that answers like it.
    Http {
        /// Where it listens.
        address: SocketAddr,
        /// Version of HTTP.
        version: Version,
        /// How requests are written.
        protocol: Protocol,
    },
    /// The cluster whose socket is in this folder; its tables are there.
    Postgres {
        /// Folder of the socket.
        socket: PathBuf,
    },
}

impl Target {
    /// Whether several clients can share a connection to it.
    const fn is_shared(&self) -> bool {
        matches!(
            self,
            Self::Http { version: Version::Two, .. } | Self::Http { protocol: Protocol::Stream, .. }
        )
    }
}

#[derive(Debug)]
pub(super) enum Connection {
    Http1(Http1),
    Http2(Http2),
    Streamed(Streamed),
    Postgres(Box<Postgres>),
}

impl Connection {
    /// A connection, or a stream of one, for each of `clients`.
    pub(super) async fn connect_all(plan: &Plan, clients: usize) -> Result<Vec<Self>, Fault> {
        let mut all = Vec::with_capacity(clients);
        if plan.streams > 1 && !plan.target.is_shared() {
            return Err("several requests at once on a connection take HTTP/2, or a stream".into());
        }
        while all.len() < clients {
            match &plan.target {
                Target::Http { version: Version::Two, protocol: Protocol::Stream, .. } => {
                    return Err("a stream is sent over HTTP/1.1 here".into());
                }
                Target::Http { address, protocol: Protocol::Stream, .. } => {
                    let stream = Streamed::connect(*address).await?;
                    all.extend((0..plan.streams).map(|_| Self::Streamed(stream.clone())));
                }
                Target::Http { address, version: Version::One, protocol } => {
                    all.push(Self::Http1(Http1::connect(*address, *protocol).await?));
                }
                Target::Http { address, version: Version::Two, protocol } => {
                    let connection = Http2::connect(*address, *protocol).await?;
                    all.extend((0..plan.streams).map(|_| Self::Http2(connection.clone())));
                }
                Target::Postgres { socket } => {
                    all.push(Self::Postgres(Box::new(Postgres::connect(socket).await?)));
                }
            }
        }
        Ok(all)
    }

    pub(super) async fn send(&mut self, items: &[TrackRequest]) -> Result<Answered, Fault> {
        match self {
            Self::Http1(connection) => connection.send(items).await,
            Self::Http2(connection) => connection.send(items).await,
            Self::Streamed(connection) => connection.send(items).await,
            Self::Postgres(connection) => connection.send(items).await,
        }
    }
}
