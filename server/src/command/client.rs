//! Talks to the server that has a directory open. Knows the routes that commands need, and retries nothing itself.

use super::CommandError;
use crate::access::KeyCall;
use crate::access::secret::Secret;
use crate::http::address::Address;
use crate::http::routes::Read;
use crate::http::targets::{self, ActRequest};
use crate::limits::{COMMAND_ANSWER_MS, COMMAND_STATUS_MS};
use crate::protocol::write::ErrorBody;
use crate::tls::pinned::Pinned;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use spoor::Act;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use ureq::http::Response;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, Body, RequestBuilder};

/// Time to reach the server, in seconds: it is on this machine.
const CONNECT_SECONDS: u64 = 5;
/// Largest answer, in bytes: a page of the largest events.
const ANSWER_MAX_BYTES: u64 = 1 << 30;

/// A server on this machine.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    base: String,
    key: Option<Secret>,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum CallError {
    /// The server said no.
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        body: ErrorBody,
    },
    /// It could not be reached, or the connection broke: the call may have happened.
    Unreachable(String),
    /// It took the call and said nothing for so long: the call may have happened.
    Silent {
        /// How long, in milliseconds.
        waited_ms: u64,
    },
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { body, .. } => {
                write!(f, "the server says {}: {}", body.code, body.message)?;
                body.field.as_ref().map_or(Ok(()), |field| write!(f, " ({field})"))
            }
            Self::Unreachable(reason) => write!(f, "the server cannot be reached: {reason}"),
            Self::Silent { waited_ms } => write!(
                f,
                "the server has the directory open and did not answer within {} s: is it stopped?",
                waited_ms / 1_000
            ),
        }
    }
}

impl From<CallError> for CommandError {
    fn from(error: CallError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Client {
    /// Reaches the server at `address` and makes sure that it is the one that wrote it there.
    pub(super) fn connect(address: &Address) -> Result<Self, CommandError> {
        #[derive(Deserialize)]
        struct Instance {
            instance: String,
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(CONNECT_SECONDS)))
            .build();
        let (agent, scheme) = match &address.certificate {
            None => (Agent::from(config), "http"),
            Some(certificate) => {
                let pinned = Pinned::new(certificate.clone())
                    .map_err(|error| CallError::Unreachable(error.to_string()))?;
                let connector = ().chain(TcpConnector::default()).chain(pinned);
                (Agent::with_parts(config, connector, DefaultResolver::default()), "https")
            }
        };
        let base = format!("{scheme}://{}", reachable(address.address));
        let client = Self { agent, base, key: address.key.clone() };
        let found: Instance = client.json_within(COMMAND_STATUS_MS, "/api/v1/status")?;
        if found.instance != address.instance {
            return Err(CommandError::Failed(format!(
                "at {} is another server than the one that has the directory open",
                address.address
            )));
        }
        Ok(client)
    }

    /// `GET path`, as text.
    pub(super) fn get(&self, path: &str) -> Result<Vec<u8>, CallError> {
        self.get_within(COMMAND_ANSWER_MS, path)
    }

    /// `GET path`, read as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.json_within(COMMAND_ANSWER_MS, path)
    }

    /// `GET path`, read as JSON, of a server that may take so long.
    pub(super) fn json_within<T: DeserializeOwned>(&self, wait_ms: u64, path: &str) -> Result<T, CallError> {
        read(&self.get_within(wait_ms, path)?)
    }

    fn get_within(&self, wait_ms: u64, path: &str) -> Result<Vec<u8>, CallError> {
        let request = self.with_key(self.agent.get(format!("{}{path}", self.base)));
        let limited = request.config().timeout_global(Some(Duration::from_millis(wait_ms))).build();
        answer(wait_ms, limited.call())
    }

    /// Asks what `read` asks.
    pub(super) fn read(&self, read: &Read) -> Result<Vec<u8>, CallError> {
        self.get(&targets::read(read))
    }

    /// Has an act done, or previewed.
    pub(super) fn act(&self, act: &Act, dry_run: bool) -> Result<Vec<u8>, CallError> {
        self.send(targets::act(act, dry_run))
    }

    /// Asks of keys, or has them changed.
    pub(super) fn keys(&self, call: &KeyCall) -> Result<Vec<u8>, CallError> {
        match targets::keys(call) {
            ActRequest { target, .. } if *call == KeyCall::List => self.get(&target),
            change => self.send(change),
        }
    }

    fn send(&self, ActRequest { target, body }: ActRequest) -> Result<Vec<u8>, CallError> {
        let uri = format!("{}{target}", self.base);
        let wait = Some(Duration::from_millis(COMMAND_ANSWER_MS));
        let outcome = match body {
            Some(body) => {
                let limited = self.with_key(self.agent.post(uri)).config().timeout_global(wait).build();
                limited.header("content-type", "application/json").send(body.to_string())
            }
            None => self.with_key(self.agent.delete(uri)).config().timeout_global(wait).build().call(),
        };
        answer(COMMAND_ANSWER_MS, outcome)
    }

    /// Shows the key that the server made for commands; one without keys does not look at it.
    fn with_key<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {}", key.text())),
            None => request,
        }
    }

    /// Posts an array of requests as history.
    pub(super) fn import<T: DeserializeOwned>(&self, array: &[u8]) -> Result<T, CallError> {
        let request = self.with_key(self.agent.post(format!("{}/api/v1/track?origin=import", self.base)));
        let limited = request.config().timeout_global(Some(Duration::from_millis(COMMAND_ANSWER_MS))).build();
        read(&answer(COMMAND_ANSWER_MS, limited.header("content-type", "application/json").send(array))?)
    }
}

/// Where a server can be called that listens on all addresses of its machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn answer(wait_ms: u64, outcome: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, CallError> {
    let unreachable = |error: ureq::Error| match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            CallError::Unreachable(error.to_string())
        }
        ureq::Error::Timeout(_) => CallError::Silent { waited_ms: wait_ms },
        error => CallError::Unreachable(error.to_string()),
    };
    let mut response = outcome.map_err(unreachable)?;
    let status = response.status().as_u16();
    let body =
        response.body_mut().with_config().limit(ANSWER_MAX_BYTES).read_to_vec().map_err(unreachable)?;
    if status == 200 {
        return Ok(body);
    }
    Err(CallError::Refused { status, body: read(&body)? })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body)
        .map_err(|error| CallError::Unreachable(format!("its answer is not understood: {error}")))
}
