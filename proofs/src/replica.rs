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
    /// The element itself.
    pub const fn node(self) -> Node {
        self.0
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_seed_changes_the_id() {
        let seed = ReplicaSeed {
            network: [1; 32],
            class: SectorClass::Mib8,
            provider: 2,
            number: 3,
            ticket: [4; 32],
        };
        let others = [
            ReplicaSeed {
                network: [9; 32],
                ..seed
            },
            ReplicaSeed {
                class: SectorClass::Mib64,
                ..seed
            },
            ReplicaSeed {
                provider: 9,
                ..seed
            },
            ReplicaSeed { number: 9, ..seed },
            ReplicaSeed {
                ticket: [9; 32],
                ..seed
            },
        ];
        for other in others {
            assert_ne!(
                ReplicaId::derive(&seed),
                ReplicaId::derive(&other),
                "{other:?}"
            );
        }
        assert_eq!(
            ReplicaId::derive(&seed).node().to_string(),
            "3f4e6def4660329b7e1856426b5be2cfa73e45b0f9a7a340d5523954dc913d69"
        );
    }
}
