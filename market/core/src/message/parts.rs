//! What messages are made of.

use super::{Unencodable, encode};
use crate::receipt::Tier;
use crate::units::{
    Address, Amount, ByteCount, DealId, Height, NodeKey, PackId, Periods, ProviderId, SectorId,
    SectorNumber, ShardRoot,
};
use holdfast_proofs::node::Node;
use holdfast_proofs::piece::QuadOpening;
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::sector::Group;
use holdfast_proofs::sector::Lane;
use holdfast_proofs::sector::SectorClass;
use serde::{Deserialize, Serialize};

/// A lease, as whoever acts under it names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseClaim {
    /// Whose name is leased.
    pub owner: Address,
    /// The token of the lease.
    pub token: u64,
}

/// What a provider offers, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderOffer {
    /// Its QUIC identity.
    pub node: NodeKey,
    /// `host:port` of its QUIC end point, at most 128 bytes.
    pub endpoint: String,
    /// The least price that it takes for a GiB and a period, hot.
    pub price: Amount,
    /// What a GiB read from it costs, paid by vouchers; nothing where reading is free.
    pub read_price: Amount,
}

/// A deal set as its owner proposes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealSetProposal {
    /// What is stored.
    pub pack: PackHeader,
    /// Terms of each shard, in index order: n of them.
    pub terms: Vec<ShardTerms>,
    /// Healthy shards below which a repair may be claimed, k to n.
    pub repair_threshold: u8,
    /// Set aside for repairs.
    pub repair_budget: Amount,
}

/// A pack: what is coded together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackHeader {
    /// Whose.
    pub owner: Address,
    /// The owner's own number for it, random.
    pub nonce: u64,
    /// Shards that suffice.
    pub k: u8,
    /// Shards in all.
    pub n: u8,
    /// Bytes of ciphertext.
    pub length: ByteCount,
    /// BLAKE3 of each shard, in index order: n of them.
    pub shard_roots: Vec<ShardRoot>,
    /// Bytes of each shard (all shards of a pack are of one length).
    pub shard_length: ByteCount,
}

impl PackHeader {
    /// The pack's name: BLAKE3 over all of it.
    ///
    /// # Errors
    /// A header that DAG-CBOR cannot carry.
    pub fn id(&self) -> Result<PackId, Unencodable> {
        let mut hasher = blake3::Hasher::new_derive_key("holdfast 2026-11 pack id");
        hasher.update(&encode(self)?);
        Ok(PackId(*hasher.finalize().as_bytes()))
    }
}

/// On what terms one shard is stored: what its receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardTerms {
    /// By whom.
    pub provider: ProviderId,
    /// Hot or cold.
    pub tier: Tier,
    /// Price of a GiB for a period.
    pub price: Amount,
    /// For how long.
    pub term: Periods,
    /// The receipt's last height for this proposal.
    pub fund_by: Height,
}

/// A commitment to a sealed sector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreCommit {
    /// Which; the number serves once.
    pub sector: SectorId,
    /// Its size.
    pub class: SectorClass,
    /// The height whose beacon is the ticket.
    pub ticket: Height,
    /// Lane roots of the columns.
    pub columns: [Node; 8],
    /// Lane roots of the keys.
    pub keys: [Node; 8],
}

/// One accepted shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The shard.
    pub shard: DealId,
    /// P8 roots of its aligned subtrees, largest first.
    pub piece_roots: Vec<Node>,
}

/// Roots that hash up to a sector's root: its lanes, and the groups of the touched lanes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorRoots {
    /// All lane roots.
    pub lanes: [Node; 8],
    /// The eight group roots of each touched lane, lanes ascending.
    pub groups: Vec<LaneGroups>,
}

/// The group roots of one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneGroups {
    /// Which lane.
    pub lane: Lane,
    /// Its group roots.
    pub roots: [Node; 8],
}

/// Step 1 of an embed: which pieces lie where in which groups; keys opened down to the groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedCommit {
    /// Which sector.
    pub sector: SectorId,
    /// The groups that will be written, ascending, each with all its pieces (kept ones too).
    pub groups: Vec<GroupLayout>,
    /// The key tree, down to the touched lanes' groups.
    pub keys: SectorRoots,
}

/// What one group holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLayout {
    /// Which group.
    pub group: Group,
    /// The subtrees in it, ascending by place.
    pub subtrees: Vec<PlacedSubtree>,
}

/// One subtree of a piece in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedSubtree {
    /// Whose piece.
    pub deal: DealId,
    /// Which of its piece roots.
    pub subtree: u32,
    /// Its tree levels, as the piece's shape has them.
    pub levels: u32,
    /// Where: units of 512 nodes from the group's start, aligned to the subtree's size.
    pub unit: u32,
}

/// Step 3 of an embed: the replica roots of the written groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaCommit {
    /// Which sector.
    pub sector: SectorId,
    /// The replica tree as it stands, down to the touched lanes' groups.
    pub before: SectorRoots,
    /// The new root of each written group, ascending.
    pub after: Vec<GroupRoot>,
}

/// A group and its root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRoot {
    /// Which group.
    pub group: Group,
    /// Its root.
    pub root: Node,
}

/// The proof of one sector at its deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpacetimeProof {
    /// Which sector.
    pub sector: SectorNumber,
    /// Its proof.
    pub proof: ProofBytes,
}

/// One quad of a shard under both its roots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceOpening {
    /// Which run of 127 bytes.
    pub quad: u64,
    /// The quad's bytes under the shard root: a verified slice ([`crate::slice`]).
    #[serde(with = "serde_bytes")]
    pub slice: Vec<u8>,
    /// The quad's nodes under the piece roots.
    pub opening: QuadOpening,
}
