//! The asking side: connections to pinned peers, kept and shared, and requests over them.

use super::body::{Body, BodyError, BodyWriter, Inbound, WriteError};
use super::windows::{Wide, Width, Windows};
use super::{EndpointError, node_key, tls, transport};
use crate::protocol::frame::{self, Frame, FrameError};
use crate::protocol::{Hello, HelloReply, PROTOCOL_VERSION, Refusal, Request, Response};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use holdfast_market_core::units::{ByteCount, NetworkId, NodeKey, ProviderId};
use quinn::{Endpoint, VarInt};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Connections that have wide windows at a time.
const WIDE: usize = 32;
/// Connections that are kept; beyond, closed ones are forgotten first, then all.
const KEPT: usize = 512;
/// For so long a peer that stalled or failed is asked after the others.
const TROUBLE: Duration = Duration::from_secs(60);
/// An address that did not answer is not tried again before.
const AGAIN: Duration = Duration::from_secs(3);

/// How long peers may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A peer that has not finished the handshake and said hello in this time is not there.
    pub connect: Duration,
    /// A peer must answer in this time: a node may sync a shard to a slow disk before it does, or
    /// wait for others that do.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(75),
        }
    }
}

/// Why a peer did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The address names no machine.
    #[error("`{0}` is no address; one looks like 203.0.113.7:4700")]
    Address(String),
    /// Nobody answers there, or somebody else does.
    #[error("{node} does not answer at {address} ({reason})")]
    Unreachable {
        /// Who was expected.
        node: NodeKey,
        /// Where.
        address: String,
        /// What the connection says.
        reason: String,
    },
    /// It is on another network.
    #[error("{node} is on network {found}, not on {wanted}")]
    OtherNetwork {
        /// Who.
        node: NodeKey,
        /// Its network.
        found: NetworkId,
        /// Ours.
        wanted: NetworkId,
    },
    /// It refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It answered something else than what was asked.
    #[error("the peer answered with another kind of message than {0}")]
    Unexpected(&'static str),
    /// Its answer cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Its body cannot be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Our body cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It took too long.
    #[error("the peer gave no answer in {} s", .0.as_secs())]
    Slow(Duration),
    /// It takes what is sent to it, and hardly any of it: it was given up.
    #[error("the peer takes less than {} KiB a second", .0 >> 10)]
    Dawdled(u64),
    /// It kept the others that store the pack waiting, and they go on without it.
    #[error("the peer kept the other providers waiting and was left behind")]
    LeftBehind,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// This side's set-up failed.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// Opens connections, keeps them, and opens them again when they broke.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    identity: SigningKey,
    network: NetworkId,
    patience: Patience,
    windows: Arc<Windows>,
    kept: Mutex<HashMap<(NodeKey, String), Slot>>,
    troubled: std::sync::Mutex<HashMap<NodeKey, Instant>>,
}

/// One peer's place: whoever comes second waits for the first one's handshake.
type Slot = Arc<Mutex<Place>>;

#[derive(Default)]
struct Place {
    connection: Option<Connection>,
    // When it last did not answer, and why.
    failed: Option<(Instant, String)>,
}

impl Place {
    fn open(&self) -> Option<&Connection> {
        self.connection
            .as_ref()
            .filter(|connection| connection.is_open())
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers")
            .field("node", &node_key(&self.shared.identity))
            .field("network", &self.shared.network)
            .finish_non_exhaustive()
    }
}

impl Peers {
    /// A client end point of its own that shows `identity`.
    ///
    /// # Errors
    /// The operating system's refusal.
    pub fn new(identity: SigningKey, network: NetworkId) -> Result<Self, EndpointError> {
        Self::patient(identity, network, Patience::default())
    }

    /// The same, with another patience.
    ///
    /// # Errors
    /// The operating system's refusal.
    pub fn patient(
        identity: SigningKey,
        network: NetworkId,
        patience: Patience,
    ) -> Result<Self, EndpointError> {
        Ok(Self {
            shared: Arc::new(Shared {
                endpoint: super::client()?,
                identity,
                network,
                patience,
                windows: Windows::new(WIDE),
                kept: Mutex::default(),
                troubled: std::sync::Mutex::default(),
            }),
        })
    }

    /// The network that its peers are on.
    pub fn network(&self) -> NetworkId {
        self.shared.network
    }

    /// A connection to the node that holds `node`, at `address` (`host:port`): the kept one, or a
    /// new one.
    ///
    /// # Errors
    /// Nobody there, another key, another network.
    pub async fn connect(&self, address: &str, node: NodeKey) -> Result<Connection, CallError> {
        let slot = self.slot(address, node).await;
        let mut place = slot.lock().await;
        if let Some(connection) = place.open() {
            return Ok(connection.clone());
        }
        let unreachable = |reason: String| CallError::Unreachable {
            node,
            address: address.to_owned(),
            reason,
        };
        if let Some((at, reason)) = &place.failed
            && at.elapsed() < AGAIN
        {
            return Err(unreachable(reason.clone()));
        }
        let patience = self.shared.patience.connect;
        let opened = tokio::time::timeout(patience, self.open(address, node))
            .await
            .unwrap_or_else(|_| {
                let seconds = patience.as_secs();
                Err(unreachable(format!("no answer in {seconds} s")))
            });
        match &opened {
            Ok(connection) => {
                place.connection = Some(connection.clone());
                place.failed = None;
            }
            Err(CallError::Unreachable { reason, .. }) => {
                place.failed = Some((Instant::now(), reason.clone()));
            }
            Err(_) => {}
        }
        opened
    }

    /// Remembers that a peer stalled or failed, so that others are asked first for a while.
    pub(crate) fn note_trouble(&self, node: NodeKey) {
        let mut troubled = self.troubled();
        troubled.retain(|_, at| at.elapsed() < TROUBLE);
        troubled.insert(node, Instant::now());
    }

    /// Forgets it: the peer gave what it was asked for.
    pub(crate) fn note_success(&self, node: NodeKey) {
        self.troubled().remove(&node);
    }

    /// Whether a peer stalled or failed a short time ago.
    pub(crate) fn is_troubled(&self, node: NodeKey) -> bool {
        self.troubled()
            .get(&node)
            .is_some_and(|at| at.elapsed() < TROUBLE)
    }

    fn troubled(&self) -> std::sync::MutexGuard<'_, HashMap<NodeKey, Instant>> {
        self.shared
            .troubled
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Closes every connection and waits until the peers have been told.
    pub async fn close(&self) {
        self.shared.endpoint.close(VarInt::from_u32(0), b"done");
        self.shared.endpoint.wait_idle().await;
    }

    async fn slot(&self, address: &str, node: NodeKey) -> Slot {
        let mut kept = self.shared.kept.lock().await;
        if kept.len() >= KEPT {
            kept.retain(|_, slot| slot.try_lock().map_or(true, |place| place.open().is_some()));
            if kept.len() >= KEPT {
                kept.clear();
            }
        }
        kept.entry((node, address.to_owned())).or_default().clone()
    }

    async fn open(&self, address: &str, node: NodeKey) -> Result<Connection, CallError> {
        let unreachable = |reason: String| CallError::Unreachable {
            node,
            address: address.to_owned(),
            reason,
        };
        let crypto = tls::client(&self.shared.identity, node)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport()));
        let mut reason = "the name has no address".to_owned();
        for resolved in resolve(address).await? {
            // The name is not sent and not checked: the key is.
            let connecting =
                self.shared
                    .endpoint
                    .connect_with(config.clone(), resolved, "holdfast.invalid");
            let connected = match connecting {
                Ok(connecting) => connecting.await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match connected {
                Ok(inner) => return self.greet(inner, node).await,
                Err(error) => reason = error,
            }
        }
        Err(unreachable(reason))
    }

    async fn greet(
        &self,
        inner: quinn::Connection,
        node: NodeKey,
    ) -> Result<Connection, CallError> {
        let network = self.shared.network;
        let mut connection = Connection {
            width: Width::of(inner.clone(), self.shared.windows.clone()),
            inner,
            node,
            provider: None,
            answer_time: self.shared.patience.answer,
        };
        let hello = Request::Hello(Hello {
            network,
            version: PROTOCOL_VERSION,
        });
        match connection.ask(&hello).await? {
            Response::Hello(HelloReply {
                network: found,
                provider,
                version: PROTOCOL_VERSION,
            }) if found == network => {
                connection.provider = provider;
                Ok(connection)
            }
            Response::Hello(reply) if reply.network != network => Err(CallError::OtherNetwork {
                node,
                found: reply.network,
                wanted: network,
            }),
            _ => Err(CallError::Unexpected("HelloReply")),
        }
    }
}

async fn resolve(address: &str) -> Result<Vec<SocketAddr>, CallError> {
    let bad = || CallError::Address(address.chars().take(128).collect());
    let resolved: Vec<_> = tokio::net::lookup_host(address)
        .await
        .map_err(|_| bad())?
        .take(4)
        .collect();
    if resolved.is_empty() {
        return Err(bad());
    }
    Ok(resolved)
}

/// A connection to one pinned peer that has said hello.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(super) inner: quinn::Connection,
    node: NodeKey,
    provider: Option<ProviderId>,
    width: Arc<Width>,
    answer_time: Duration,
}

impl Connection {
    /// Who is at the other end.
    pub const fn node(&self) -> NodeKey {
        self.node
    }

    /// Its number on the ledger, as it said when the connection was opened.
    pub const fn provider(&self) -> Option<ProviderId> {
        self.provider
    }

    /// Whether requests can be made over it.
    pub fn is_open(&self) -> bool {
        self.inner.close_reason().is_none()
    }

    /// Asks something that has no body, and expects an answer that has none.
    ///
    /// # Errors
    /// A refusal, a broken connection, an answer that is late or cannot be read.
    pub async fn ask(&self, request: &Request) -> Result<Response, CallError> {
        let exchange = self.open(request, ByteCount(0)).await?;
        let (response, mut body) = exchange.answer().await?;
        match body.chunk().await? {
            None => Ok(response),
            Some(_) => Err(CallError::Body(BodyError::Long)),
        }
    }

    /// Sends a request's header; its body follows through the exchange.
    ///
    /// # Errors
    /// A broken connection, a header beyond its limit.
    pub async fn open(&self, request: &Request, body: ByteCount) -> Result<Exchange, CallError> {
        let header = frame::to_bytes(&Frame {
            message: request,
            body,
        })?;
        let opening = tokio::time::timeout(self.answer_time, async {
            let (mut send, receive) = self
                .inner
                .open_bi()
                .await
                .map_err(|error| CallError::Broken(error.to_string()))?;
            send.write_all(&header)
                .await
                .map_err(|error| CallError::Broken(error.to_string()))?;
            Ok::<_, CallError>((send, receive))
        });
        let (send, receive) = opening
            .await
            .map_err(|_| CallError::Slow(self.answer_time))??;
        Ok(Exchange {
            writer: BodyWriter::new(send, body, Arc::default(), &self.width),
            receive: Inbound(receive),
            width: self.width.clone(),
            held: self.width.hold(),
            answer_time: self.answer_time,
        })
    }
}

/// A request under way: its body is written, then its answer is read.
#[derive(Debug)]
pub struct Exchange {
    writer: BodyWriter,
    receive: Inbound,
    width: Arc<Width>,
    held: Wide,
    answer_time: Duration,
}

impl Exchange {
    /// Writes the next bytes of the body. A peer that wants no more has answered already: the
    /// bytes are dropped and [`Exchange::answer`] says why.
    ///
    /// # Errors
    /// More bytes than were stated, a peer that takes nothing, a broken connection.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), CallError> {
        Ok(self.writer.write(bytes).await?)
    }

    /// Whether the peer wants no more.
    pub const fn is_stopped(&self) -> bool {
        self.writer.is_stopped()
    }

    /// Ends the body and reads the answer; a refusal is an error.
    ///
    /// # Errors
    /// Fewer bytes than were stated, a refusal, an answer that is late or cannot be read.
    pub async fn answer(self) -> Result<(Response, Body), CallError> {
        let Self {
            writer,
            mut receive,
            width,
            held: _held,
            answer_time,
        } = self;
        if writer.is_stopped() {
            drop(writer);
        } else {
            writer.finish()?;
        }
        let frame: Frame<Response> =
            tokio::time::timeout(answer_time, frame::read("response", &mut receive.0))
                .await
                .map_err(|_| CallError::Slow(answer_time))??;
        match frame.message {
            Response::Refused(refusal) => Err(CallError::Refused(Refusal::new(
                refusal.code,
                refusal.sentence,
            ))),
            response => {
                let body = Body::from_stream(receive, frame.body, Arc::default(), width);
                Ok((response, body))
            }
        }
    }
}
