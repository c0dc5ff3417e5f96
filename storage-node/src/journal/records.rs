//! What the journal holds, record by record.

use holdfast_market_core::message::{EmbedCommit, GroupRoot, SignedMessage};
use holdfast_market_core::receipt::SignedReceipt;
use holdfast_market_core::units::{Height, MessageId, SectorNumber};
use holdfast_proofs::node::Node;
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::sector::{GROUPS, Group, SectorClass};
use serde::{Deserialize, Serialize};

/// A shard whose bytes are on this disk and were receipted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// What was promised; the same request gets the same receipt again.
    pub receipt: SignedReceipt,
    /// The sector whose room is set aside for it.
    pub sector: SectorNumber,
    /// The P8 roots of its subtrees, once computed.
    pub piece_roots: Option<Vec<Node>>,
    /// When the ledger was first seen without a living deal for it.
    pub ended: Option<Height>,
}

/// A sector and how far it has come; what the ledger knows of it is not repeated here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorRecord {
    /// Its size.
    pub class: SectorClass,
    /// The height whose beacon is the ticket: fixed before sealing starts.
    pub ticket: Height,
    /// Derived from the ticket.
    pub replica: ReplicaId,
    /// What the seal committed to, once its files are complete and synced.
    pub sealed: Option<SealedRoots>,
    /// The proofs of the seal, once made.
    pub seal_proofs: Option<Vec<ProofBytes>>,
    /// Whether the layers and columns that only the seal proof needs are gone.
    pub discarded: bool,
    /// One for each group, once sealed.
    pub groups: Vec<GroupState>,
    /// The embed under way.
    pub embed: Option<EmbedRecord>,
}

impl SectorRecord {
    /// A sector before its first label.
    pub fn new(class: SectorClass, ticket: Height, replica: ReplicaId) -> Self {
        Self {
            class,
            ticket,
            replica,
            sealed: None,
            seal_proofs: None,
            discarded: false,
            groups: Vec::new(),
            embed: None,
        }
    }

    /// The group's state, where the sector is sealed.
    pub fn group(&self, group: Group) -> Option<&GroupState> {
        self.groups.get(usize::from(group.index()))
    }

    /// Fills the groups after the seal: each replica is its key.
    pub fn start_groups(&mut self, roots: SealedRoots) {
        self.groups = roots
            .key_groups
            .iter()
            .map(|root| GroupState {
                root: *root,
                rho: None,
            })
            .collect();
        self.sealed = Some(roots);
    }
}

/// What a seal committed to: lane roots of columns and keys, and the keys' group roots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedRoots {
    /// Lane roots of the columns.
    pub columns: [Node; 8],
    /// Lane roots of the keys.
    pub keys: [Node; 8],
    /// Group roots of the keys, all 64 of them.
    pub key_groups: Vec<Node>,
}

impl SealedRoots {
    /// The key root of one group.
    pub fn key_group(&self, group: Group) -> Option<Node> {
        debug_assert_eq!(self.key_groups.len(), GROUPS);
        self.key_groups.get(usize::from(group.index())).copied()
    }
}

/// What stands in one group's place on this disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// The root of its replica.
    pub root: Node,
    /// The factor of its data; `None` as long as it holds none.
    pub rho: Option<Node>,
}

/// An embed under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedRecord {
    /// Step 1 as it was or will be sent.
    pub commit: EmbedCommit,
    /// The height at which the ledger took it; it names this embed among others of the sector.
    pub committed: Option<Height>,
    /// The factors and roots of the written groups, once the new bytes lie beside the old ones.
    pub written: Option<Vec<WrittenGroup>>,
    /// The proofs, once made.
    pub proofs: Option<Vec<ProofBytes>>,
}

/// One written group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenGroup {
    /// The group and its new root.
    pub root: GroupRoot,
    /// The factor of its data.
    pub rho: Node,
}

/// A message between its submission and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Its name.
    pub id: MessageId,
    /// The very bytes, so that a lost one is submitted again and not made anew.
    pub message: SignedMessage,
}
