//! QUIC between nodes and clients: end points, identities, connections, requests.
//!
//! Both ends show an ed25519 raw public key (RFC 7250): there are no certificates and no names. A
//! client pins the key that it expects; a server takes any key and is told which one it was.

pub mod body;
mod doors;
pub mod pace;
pub mod peers;
pub mod serve;
#[cfg(test)]
mod tests;
mod tls;
mod windows;

pub use body::{Body, BodyError, BodyWriter};
pub use pace::{Pace, Turn, Turns};
pub use peers::{CallError, Connection, Exchange, Patience, Peers};
pub use serve::{Call, Limits, Reply, Service, serve};

use ed25519_dalek::SigningKey;
use holdfast_market_core::units::NodeKey;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The protocol's name in the TLS handshake.
const ALPN: &[u8] = b"holdfast/1";
/// The largest packet tried: 6500 was the fastest here, 8952 with segmentation offload lost 34%.
const LARGEST_PACKET: u16 = 6500;
/// What the kernel is asked to buffer at each socket; it may grant less.
const SOCKET_BUFFER: usize = 4 << 20;
/// A peer that says nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(20);
/// Said often enough that a quiet connection outlives [`IDLE`] and a NAT's memory.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Requests that a peer may have under way on one connection, once it has said hello.
const STREAMS: u32 = 16;
/// Packets of connections that are not accepted yet: they are accepted at once or refused.
const INCOMING: usize = 256;
/// Bytes of such packets, of one connection and of all.
const INCOMING_BYTES: (u64, u64) = (16 << 10, 2 << 20);

/// Why an end point was not opened.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Somebody else listens there.
    #[error("{0} is in use by another process; give another --listen address or stop that process")]
    InUse(SocketAddr),
    /// The operating system refused.
    #[error("{address}: {source}")]
    Io {
        /// Where.
        address: SocketAddr,
        /// What it says.
        source: io::Error,
    },
    /// The TLS library refused the set-up.
    #[error("the TLS set-up was refused: {0}")]
    Tls(String),
}

/// The key that names an end point.
pub fn node_key(key: &SigningKey) -> NodeKey {
    NodeKey(key.verifying_key().to_bytes())
}

/// An end point that accepts connections at `address` (port 0: any free one).
///
/// # Errors
/// An address in use, or the operating system's refusal.
pub fn server(identity: &SigningKey, address: SocketAddr) -> Result<Endpoint, EndpointError> {
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls::server(identity)?));
    let mut transport = transport();
    // Hello first, then the rest. Whoever wants to stay connected says so itself.
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .keep_alive_interval(None);
    config
        .transport_config(Arc::new(transport))
        .max_incoming(INCOMING)
        .incoming_buffer_size(INCOMING_BYTES.0)
        .incoming_buffer_size_total(INCOMING_BYTES.1);
    endpoint(address, Some(config))
}

/// An end point that only opens connections.
fn client() -> Result<Endpoint, EndpointError> {
    // Both families where the machine has both; a machine without IPv6 refuses the first.
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    endpoint(both, None).or_else(|_| endpoint(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), None))
}

fn endpoint(
    address: SocketAddr,
    server: Option<quinn::ServerConfig>,
) -> Result<Endpoint, EndpointError> {
    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => EndpointError::InUse(address),
        _ => EndpointError::Io { address, source },
    };
    let socket = socket(address).map_err(io_error)?;
    let mut config = EndpointConfig::default();
    config
        .max_udp_payload_size(LARGEST_PACKET)
        .map_err(|error| EndpointError::Tls(error.to_string()))?;
    Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime)).map_err(io_error)
}

fn socket(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A kernel that grants less is slower, not wrong.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn transport() -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(LARGEST_PACKET);
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(windows::WIDE))
        .receive_window(VarInt::from_u32(windows::NARROW))
        .send_window(u64::from(windows::NARROW))
        .mtu_discovery_config(Some(discovery))
        .enable_segmentation_offload(true)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    if let Ok(idle) = IdleTimeout::try_from(IDLE) {
        transport.max_idle_timeout(Some(idle));
    }
    transport
}
