//! The answering side: accepts connections and requests within limits, and stops in order.

use super::body::{Body, BodyWriter, Inbound, WriteError};
use super::doors::{Door, Doors};
use super::pace::{Pace, Turns};
use super::windows::{GAVE_WAY, Width, Windows};
use super::{STREAMS, tls};
use crate::protocol::frame::{self, Frame, FrameError};
use crate::protocol::{HelloReply, PROTOCOL_VERSION, Refusal, RefusalCode, Request, Response};
use holdfast_market_core::units::{ByteCount, NetworkId, NodeKey, ProviderId};
use quinn::{Endpoint, Incoming, SendStream, VarInt};
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A request waits so long for its turn; then its asker is told to come back.
const TURN_TIME: Duration = Duration::from_secs(20);
/// An asker takes the answer's header in this time: there is always room for it on its way.
const TAKE_TIME: Duration = Duration::from_secs(5);

/// The end point remembers connections for a while that have ended. Where it has so many times as
/// many as may be open, an address whose connections end one after the other gets no further one.
const REMEMBERED: usize = 2;
/// Where it has so many times as many, nobody does.
const MOST_REMEMBERED: usize = 8;

/// How much is served at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all; for a further one an idle one is closed, of the address that has most.
    pub connections: usize,
    /// Connections from one address (one /64 of IPv6); the same holds.
    pub connections_per_address: usize,
    /// Connections of one key; further ones are refused.
    pub connections_per_key: usize,
    /// Requests under way in all; further ones wait, one a connection, and those that dawdle give
    /// way to them.
    pub requests: u32,
    /// Connections that have wide windows at a time.
    pub wide: usize,
    /// A connection's handshake and hello, and each request's header, must be there in this time.
    pub header_time: Duration,
    /// Requests under way may go on for this long after the order to stop.
    pub stop_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            connections_per_address: 64,
            connections_per_key: 8,
            requests: 128,
            wide: 16,
            header_time: Duration::from_secs(10),
            stop_time: Duration::from_secs(5),
        }
    }
}

/// Who answers.
#[derive(Clone, Debug)]
pub struct Service {
    /// The network that it is on; askers of another are refused.
    pub network: NetworkId,
    /// Its number on the ledger, once it is registered.
    pub provider: watch::Receiver<Option<ProviderId>>,
    /// How much it serves at once.
    pub limits: Limits,
}

/// One request, for its handler.
#[derive(Debug)]
pub struct Call {
    /// Who asks: the key that it proved to hold.
    pub peer: NodeKey,
    /// From where.
    pub address: SocketAddr,
    /// What.
    pub request: Request,
    /// The request's body.
    pub body: Body,
    /// The way to answer. Dropped without an answer, it resets the stream.
    pub reply: Reply,
}

/// The way to answer one request.
#[derive(Debug)]
pub struct Reply {
    stream: Option<SendStream>,
    pace: Arc<Pace>,
    width: Arc<Width>,
}

/// Why an answer was not sent.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The answer does not fit a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The asker is gone.
    #[error("the asker is gone: {0}")]
    Gone(String),
    /// The body was not written.
    #[error(transparent)]
    Body(#[from] WriteError),
}

impl Reply {
    /// Answers without a body.
    ///
    /// # Errors
    /// An asker that is gone, an answer beyond a frame's limit.
    pub async fn send(self, response: &Response) -> Result<(), ReplyError> {
        Ok(self.start(response, ByteCount(0)).await?.finish()?)
    }

    /// Refuses in one sentence.
    ///
    /// # Errors
    /// As [`Reply::send`].
    pub async fn refuse(self, refusal: Refusal) -> Result<(), ReplyError> {
        self.send(&Response::Refused(refusal)).await
    }

    /// Answers with a body of so many bytes.
    ///
    /// # Errors
    /// As [`Reply::send`].
    pub async fn start(
        mut self,
        response: &Response,
        body: ByteCount,
    ) -> Result<BodyWriter, ReplyError> {
        let header = frame::to_bytes(&Frame {
            message: response,
            body,
        })?;
        let Some(mut stream) = self.stream.take() else {
            return Err(ReplyError::Gone("the stream is closed".into()));
        };
        let taking = tokio::time::timeout(TAKE_TIME, stream.write_all(&header));
        taking
            .await
            .map_err(|_| ReplyError::Gone("it takes no answer".into()))?
            .map_err(|error| ReplyError::Gone(error.to_string()))?;
        Ok(BodyWriter::new(
            stream,
            body,
            self.pace.clone(),
            &self.width,
        ))
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.reset(VarInt::from_u32(super::body::RESET));
        }
    }
}

/// Serves until `stop` is done: `handler` is called for every request but `Hello`, which is
/// answered here. Then no more is accepted, requests under way have [`Limits::stop_time`], and the
/// end point is closed.
pub async fn serve<H, F>(
    endpoint: Endpoint,
    service: Service,
    stop: impl Future<Output = ()>,
    handler: H,
) where
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let limits = service.limits;
    let shared = Arc::new(Shared {
        // One of each connection waits at most.
        requests: Turns::new(limits.requests, usize::MAX),
        doors: Doors::new(limits.connections, limits.connections_per_address),
        windows: Windows::new(limits.wide),
        keys: Mutex::default(),
        service,
    });
    let mut connections = JoinSet::new();
    // Requests run in tasks of the connection; the receiver's copies tell them to stop.
    let (stopping, stopped) = watch::channel(false);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                // Half full: whoever has not shown that its address is its own shows it first, so
                // that forged addresses take no room and push nobody out.
                let remembered = endpoint.open_connections();
                let is_half_full = remembered.max(shared.doors.count()) >= limits.connections / 2;
                if is_half_full && incoming.may_retry() {
                    let _ = incoming.retry();
                    continue;
                }
                let address = incoming.remote_address().ip();
                let is_too_much = remembered >= limits.connections.saturating_mul(MOST_REMEMBERED);
                let is_much = remembered >= limits.connections.saturating_mul(REMEMBERED);
                if is_too_much || (is_much && shared.doors.is_restless(address)) {
                    incoming.refuse();
                    continue;
                }
                let Some(door) = shared.doors.enter(address) else {
                    incoming.refuse();
                    continue;
                };
                connections.spawn(connection(
                    incoming,
                    Arc::new(door),
                    shared.clone(),
                    stopped.clone(),
                    handler.clone(),
                ));
            }
        }
    }
    endpoint.set_server_config(None);
    let _ = stopping.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(shared.service.limits.stop_time, drained).await;
    endpoint.close(VarInt::from_u32(0), b"stopped");
    connections.shutdown().await;
    let _ = tokio::time::timeout(Duration::from_secs(2), endpoint.wait_idle()).await;
}

struct Shared {
    service: Service,
    requests: Turns,
    doors: Arc<Doors>,
    windows: Arc<Windows>,
    keys: Mutex<HashMap<NodeKey, usize>>,
}

impl Shared {
    /// Counts a connection of `key`, where it may have one more.
    fn admit(self: &Arc<Self>, key: NodeKey) -> Option<Admission> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let count = keys.entry(key).or_default();
        if *count >= self.service.limits.connections_per_key {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Admission {
            shared: self.clone(),
            key,
        })
    }
}

/// A counted connection; dropped, it is counted no more.
struct Admission {
    shared: Arc<Shared>,
    key: NodeKey,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut keys = self
            .shared
            .keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = keys.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                keys.remove(&self.key);
            }
        }
    }
}

/// What a connection's requests share.
struct Line {
    peer: NodeKey,
    address: SocketAddr,
    connection: quinn::Connection,
    door: Arc<Door>,
    width: Arc<Width>,
    greeted: AtomicBool,
    /// Held from a request's first byte until it has its turn: one of a connection waits in memory,
    /// the others wait in the connection's window.
    reading: tokio::sync::Mutex<()>,
}

async fn connection<H, F>(
    incoming: Incoming,
    door: Arc<Door>,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let greet_by = Instant::now() + shared.service.limits.header_time;
    let Ok(connecting) = incoming.accept() else {
        return;
    };
    let connected = tokio::select! {
        connected = tokio::time::timeout_at(greet_by, connecting) => connected,
        () = door.told_to_leave() => return,
    };
    let Ok(Ok(connection)) = connected else {
        return;
    };
    let Some(peer) = tls::peer_key(&connection) else {
        connection.close(VarInt::from_u32(1), b"no key was shown");
        return;
    };
    let Some(_admission) = shared.admit(peer) else {
        connection.close(VarInt::from_u32(2), b"too many connections of this key");
        return;
    };
    let line = Arc::new(Line {
        peer,
        address: connection.remote_address(),
        width: Width::of(connection.clone(), shared.windows.clone()),
        door,
        greeted: AtomicBool::new(false),
        reading: tokio::sync::Mutex::default(),
        connection: connection.clone(),
    });
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            () = line.door.told_to_leave() => {
                let reason = b"another connection needs this one's room";
                connection.close(VarInt::from_u32(GAVE_WAY), reason);
                return;
            }
            Some(_) = requests.join_next() => {}
            () = tokio::time::sleep_until(greet_by), if !line.greeted.load(Ordering::Acquire) => {
                connection.close(VarInt::from_u32(3), b"no hello");
                return;
            }
            stream = connection.accept_bi() => {
                let Ok((send, receive)) = stream else { return };
                requests.spawn(request(
                    send,
                    Inbound(receive),
                    shared.clone(),
                    line.clone(),
                    handler.clone(),
                ));
            }
        }
    }
    while requests.join_next().await.is_some() {}
}

async fn request<H, F>(
    send: SendStream,
    mut receive: Inbound,
    shared: Arc<Shared>,
    line: Arc<Line>,
    handler: H,
) where
    H: Fn(Call) -> F,
    F: Future<Output = ()>,
{
    let pace = Arc::new(Pace::of(line.address.ip()));
    let reply = Reply {
        stream: Some(send),
        pace: pace.clone(),
        width: line.width.clone(),
    };
    let reading = line.reading.lock().await;
    let service = &shared.service;
    let header = frame::read::<Request>("request", &mut receive.0);
    let frame: Frame<Request> = match tokio::time::timeout(service.limits.header_time, header).await
    {
        Ok(Ok(frame)) => frame,
        Ok(Err(FrameError::Io(_) | FrameError::Truncated)) | Err(_) => return,
        Ok(Err(error)) => {
            let refusal = Refusal::new(RefusalCode::Malformed, error.to_string());
            let _ = reply.refuse(refusal).await;
            return;
        }
    };
    if let Request::Hello(hello) = &frame.message {
        let answer = if hello.network == service.network && hello.version == PROTOCOL_VERSION {
            line.greeted.store(true, Ordering::Release);
            line.connection
                .set_max_concurrent_bi_streams(VarInt::from_u32(STREAMS));
            Response::Hello(HelloReply {
                network: service.network,
                provider: *service.provider.borrow(),
                version: PROTOCOL_VERSION,
            })
        } else {
            Response::Refused(Refusal::new(
                RefusalCode::OtherNetwork,
                format!(
                    "this node is on network {} and speaks version {PROTOCOL_VERSION}; the asker is on {} with version {}",
                    service.network, hello.network, hello.version
                ),
            ))
        };
        let _ = reply.send(&answer).await;
        return;
    }
    if !line.greeted.load(Ordering::Acquire) {
        let refusal = Refusal::new(
            RefusalCode::Malformed,
            "the first request of a connection is Hello",
        );
        let _ = reply.refuse(refusal).await;
        return;
    }
    let in_line = line.door.waits();
    let taken = shared.requests.take(&pace, 1, TURN_TIME).await;
    drop(in_line);
    let Some(_turn) = taken else {
        let refusal = Refusal::new(
            RefusalCode::Busy,
            "this node answers as many requests as it can; ask again in a moment",
        );
        let _ = reply.refuse(refusal).await;
        return;
    };
    let _busy = line.door.busy();
    drop(reading);
    let _held = line.width.hold();
    handler(Call {
        peer: line.peer,
        address: line.address,
        request: frame.message,
        body: Body::from_stream(receive, frame.body, pace, line.width.clone()),
        reply,
    })
    .await;
}
