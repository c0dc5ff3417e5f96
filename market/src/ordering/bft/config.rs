//! The engine's numbers, each with its reason.

use super::codec::MOST_SYNCED;
use super::parts::PIECE_BYTES;
use crate::ordering::OrderingError;
use bytesize::ByteSize;
use holdfast_market_core::units::NetworkId;
use malachitebft_app_channel::app::config::{
    ChannelNames, ConsensusConfig, DiscoveryConfig, NodeConfig, P2pConfig, ProtocolNames,
    PubSubMaxSizePerTopic, ValuePayload, ValueSyncConfig,
};
use malachitebft_app_channel::app::net::Multiaddr;
use malachitebft_app_channel::app::types::core::LinearTimeouts;
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of an answer to one who catches up, at most: a longest block with its certificate is less.
const LONGEST_ANSWER: u64 = 24 << 20;

/// What one engine is given.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    moniker: String,
    consensus: ConsensusConfig,
    sync: ValueSyncConfig,
}

impl EngineConfig {
    /// For a network, listening there and calling those.
    pub fn new(
        network: NetworkId,
        moniker: String,
        listen: Multiaddr,
        peers: Vec<Multiaddr>,
        validators: usize,
    ) -> Self {
        let mut p2p = P2pConfig {
            listen_addr: listen,
            persistent_peers: peers,
            // A home network's validators, and every one of a testnet, share an address.
            discovery: DiscoveryConfig {
                max_connections_per_ip: 64,
                // More than that: nobody takes every place from one address.
                num_inbound_peers: 256,
                ip_throttle_duration: Duration::ZERO,
                ..DiscoveryConfig::default()
            },
            // What is in a part besides the piece is little.
            pubsub_max_size_per_topic: PubSubMaxSizePerTopic {
                consensus: Some(ByteSize::b(1 << 20)),
                proposal_parts: Some(ByteSize::b(PIECE_BYTES as u64 + (8 << 10))),
                liveness: Some(ByteSize::b(1 << 20)),
            },
            rpc_max_size: ByteSize::b(LONGEST_ANSWER + (1 << 20)),
            ..P2pConfig::default()
        };
        // Nobody of another network is listened to.
        let named = |what: &str| format!("/holdfast/{network}/{what}/1");
        p2p.protocol_names = ProtocolNames {
            consensus: named("consensus"),
            discovery_kad: named("kad"),
            discovery_regres: named("peers"),
            sync: named("sync"),
            validator_proof: named("validator"),
        };
        // The library takes names of at most 64 bytes here, and panics at longer ones.
        let short: String = network.to_string().chars().take(24).collect();
        let named = |what: &str| format!("/holdfast/{short}/{what}/1");
        p2p.channel_names = ChannelNames {
            consensus: named("votes"),
            proposal_parts: named("parts"),
            sync: named("heads"),
            liveness: named("rounds"),
        };
        Self {
            moniker,
            consensus: ConsensusConfig {
                enabled: true,
                p2p,
                // Only what the ledger has checked is voted for.
                value_payload: ValuePayload::ProposalAndParts,
                // Two votes each in some rounds, for a height that we have not begun.
                queue_per_height_capacity: validators.saturating_mul(8).max(500),
                ..ConsensusConfig::default()
            },
            sync: ValueSyncConfig {
                enabled: true,
                // At each decision: whoever falls behind hears of it within a block.
                status_update_interval: Duration::ZERO,
                max_response_size: ByteSize::b(LONGEST_ANSWER),
                parallel_requests: 4,
                // Twice 4 x 16 blocks may wait in memory, each at most some 8 MiB.
                batch_size: MOST_SYNCED / 4,
                max_concurrent_inbound_requests: 4,
                max_pending_inbound_requests: 16,
                ..ValueSyncConfig::default()
            },
        }
    }
}

/// Where a peer is, in the network library's words: a socket or a host's name and port.
///
/// # Errors
/// Neither.
pub fn multiaddr(peer: &str) -> Result<Multiaddr, OrderingError> {
    // TCP: the library's QUIC gives a connection up after 0.3 s of silence, which a machine that
    // seals does not keep.
    let text = match peer.parse::<SocketAddr>() {
        Ok(SocketAddr::V4(socket)) => format!("/ip4/{}/tcp/{}", socket.ip(), socket.port()),
        Ok(SocketAddr::V6(socket)) => format!("/ip6/{}/tcp/{}", socket.ip(), socket.port()),
        Err(_) => {
            let (host, port) = peer.rsplit_once(':').unwrap_or((peer, ""));
            format!("/dns/{host}/tcp/{port}")
        }
    };
    text.parse().map_err(|_| {
        OrderingError::Network(format!(
            "{peer} is no place of another market; give HOST:PORT, where it listens for markets"
        ))
    })
}

impl NodeConfig for EngineConfig {
    fn moniker(&self) -> &str {
        &self.moniker
    }

    fn consensus(&self) -> &ConsensusConfig {
        &self.consensus
    }

    fn consensus_mut(&mut self) -> &mut ConsensusConfig {
        &mut self.consensus
    }

    fn value_sync(&self) -> &ValueSyncConfig {
        &self.sync
    }

    fn value_sync_mut(&mut self) -> &mut ValueSyncConfig {
        &mut self.sync
    }
}

/// How long each step waits. A proposer's time covers building, sending, and executing on every
/// validator; where that takes longer the next round has more.
pub fn timeouts(interval: Duration) -> LinearTimeouts {
    let propose = (interval * 3).clamp(Duration::from_secs(1), Duration::from_secs(6));
    let vote = interval.clamp(Duration::from_millis(300), Duration::from_secs(1));
    LinearTimeouts {
        propose,
        propose_delta: propose / 4,
        prevote: vote,
        prevote_delta: vote / 2,
        precommit: vote,
        precommit_delta: vote / 2,
        rebroadcast: propose,
        max_timeout: Duration::from_secs(30),
    }
}
