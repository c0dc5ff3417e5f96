//! The replica id: no two providers and no two sectors share one.

use crate::node::Node;
use crate::sector::SectorClass;
use serde::{Deserialize, Serialize};

/// Names one sector's replica; the first input of every label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(pub Node);

/// What a replica id is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaSeed {
    /// The network's id.
    pub network: [u8; 32],
    /// The sector's size.
    pub class: SectorClass,
    /// The provider's number.
    pub provider: u64,
    /// The sector's number at its provider.
    pub number: u64,
    /// A beacon of bounded age.
    pub ticket: [u8; 32],
}

/// Version of the protocol and of the graph that replicas are bound to.
pub const PROTOCOL_VERSION: u32 = 1;

impl ReplicaId {
    /// Derives the id of one sector.
    pub fn derive(seed: &ReplicaSeed) -> Self {
        ReplicaId(Node::derive(
            "holdfast 2026-11 replica id",
            &[
                &seed.network,
                &PROTOCOL_VERSION.to_le_bytes(),
                seed.class.name().as_bytes(),
                &seed.provider.to_le_bytes(),
                &seed.number.to_le_bytes(),
                &seed.ticket,
            ],
        ))
    }
}
