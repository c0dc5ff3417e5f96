//! What the journal holds, record by record.
//!
//! A record says only what neither the ledger nor the sector's own files say.

use holdfast_market_core::message::SignedMessage;
use holdfast_market_core::receipt::SignedReceipt;
use holdfast_market_core::units::{Height, MessageId, SectorNumber};
use holdfast_proofs::node::Node;
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::sector::SectorClass;
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
    /// When its deal was first seen to be over.
    pub ended: Option<Height>,
}

/// A sector and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorRecord {
    /// Its size.
    pub class: SectorClass,
    /// The height whose beacon is the ticket: fixed before sealing starts.
    pub ticket: Height,
    /// Derived from the ticket.
    pub replica: ReplicaId,
    /// Whether its files are complete and synced.
    pub sealed: bool,
    /// The proofs of the seal, once made.
    pub seal_proofs: Option<Vec<ProofBytes>>,
    /// Whether the layers, which only the seal proof needs, are gone.
    pub discarded: bool,
    /// The embed under way, from the write of its groups on.
    pub embed: Option<EmbedRecord>,
}

impl SectorRecord {
    /// A sector before its first label.
    pub fn new(class: SectorClass, ticket: Height, replica: ReplicaId) -> Self {
        Self {
            class,
            ticket,
            replica,
            sealed: false,
            seal_proofs: None,
            discarded: false,
            embed: None,
        }
    }
}

/// An embed whose groups lie written beside the old ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedRecord {
    /// The height at which the ledger took its first step; it names the embed among the sector's.
    pub committed: Height,
    /// The proofs, once made.
    pub proofs: Option<Vec<ProofBytes>>,
}

/// A message between its submission and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Its name.
    pub id: MessageId,
    /// The very bytes, so that a lost one is submitted again and not made anew.
    pub message: SignedMessage,
}
