//! What the ledger holds, object by object. Each lives in the state tree under a key of its kind.

use crate::message::{DealSetProposal, GroupLayout, GroupRoot, ProviderOffer};
use crate::units::{
    Address, Amount, Deadline, Height, PackId, Period, Periods, ProviderId, SectorId, SectorNumber,
};
use holdfast_proofs::node::Node;
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::sector::SectorClass;
use serde::{Deserialize, Serialize};

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What it can spend.
    pub balance: Amount,
    /// The number that its next message carries.
    pub nonce: u64,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Its number.
    pub id: ProviderId,
    /// Holds the collateral and is paid.
    pub owner: Address,
    /// Signs acceptances and proofs.
    pub worker: Address,
    /// What it offers, and where.
    pub offer: ProviderOffer,
    /// All its collateral, locked and free.
    pub collateral: Amount,
    /// What of the collateral cannot be withdrawn now.
    pub locked: Amount,
    /// Rewards that vest, oldest first; they count as collateral.
    pub vesting: Vec<Vesting>,
    /// When it registered.
    pub since: Height,
    /// The number that its next sector carries.
    pub next_sector: SectorNumber,
    /// What it did so far: reputation is read off these.
    pub record: ProviderRecord,
}

/// Rewards that vest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vesting {
    /// In which period they become the owner's.
    pub due: Period,
    /// How much.
    pub amount: Amount,
}

/// Counts that only rise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRecord {
    /// Sectors proven at their deadline.
    pub proven: u64,
    /// Sectors that missed it.
    pub missed: u64,
    /// Promises broken.
    pub broken: u64,
    /// Frauds shown.
    pub frauds: u64,
    /// Minted for it.
    pub rewarded: Amount,
    /// Paid to it out of escrow.
    pub paid: Amount,
    /// Taken from it: fault fees, deposits, slashes.
    pub fined: Amount,
}

/// A sector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sector {
    /// Which.
    pub id: SectorId,
    /// Its size.
    pub class: SectorClass,
    /// Its replica id.
    pub replica: ReplicaId,
    /// Where it stands.
    pub status: SectorStatus,
    /// Lane roots of the columns (needed until the seal is proven).
    pub columns: [Node; 8],
    /// Root of the key tree.
    pub key_root: Node,
    /// Root of the replica tree.
    pub replica_root: Node,
    /// Lane roots of the replica tree.
    pub replica_lanes: [Node; 8],
    /// The deadline at which it is proven each period.
    pub deadline: Deadline,
    /// What its groups hold; a group that is not listed holds nothing.
    pub groups: Vec<GroupLayout>,
    /// The embed under way, one at a time.
    pub embed: Option<Embed>,
    /// Faulty periods in a row.
    pub faults: Periods,
    /// The last period whose deadline it was proven at.
    pub proven: Option<Period>,
}

/// Where a sector stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SectorStatus {
    /// Committed; its seal proof is due.
    PreCommitted {
        /// When the commitment was included: challenges come from the beacon D blocks later.
        at: Height,
    },
    /// Proven and earning, from this period on.
    Active {
        /// The first period whose deadline it must meet.
        from: Period,
    },
    /// Missed or declared; earns nothing and is fined until proven again.
    Faulty {
        /// Whether it will be proven at its next deadline.
        recovering: bool,
    },
    /// Gone; its number never serves again.
    Terminated {
        /// Since when.
        at: Height,
    },
}

/// An embed under way (DESIGN, *Embedding, step by step*).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embed {
    /// Included at: rho comes from the beacon D blocks later.
    pub committed: Height,
    /// The groups to be written, with all their pieces.
    pub groups: Vec<EmbedGroup>,
    /// Step 3, once done.
    pub replica: Option<EmbedReplica>,
}

/// One group of an embed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedGroup {
    /// What it will hold.
    pub layout: GroupLayout,
    /// Root of its keys.
    pub key_root: Node,
    /// Root of its data, computed by the ledger from the piece roots.
    pub data_root: Node,
}

/// Step 3 of an embed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedReplica {
    /// Included at: challenges come from the beacon D blocks later.
    pub committed: Height,
    /// Root of each written group.
    pub roots: Vec<GroupRoot>,
    /// What the lane roots become when the embed is proven.
    pub lanes: [Node; 8],
}

/// A deal set: one pack, n deals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealSet {
    /// Its name.
    pub id: PackId,
    /// As proposed.
    pub proposal: DealSetProposal,
    /// When it was included: `stored` begins here.
    pub at: Height,
    /// One a shard, in index order.
    pub deals: Vec<Deal>,
    /// What is left of the repair budget.
    pub repair_budget: Amount,
}

/// One deal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deal {
    /// Who stores it.
    pub provider: ProviderId,
    /// Where it stands.
    pub status: DealStatus,
    /// Roots of its piece, once accepted.
    pub piece_roots: Vec<Node>,
    /// What of the escrow is still held for it.
    pub escrow: Amount,
    /// Collateral of the provider locked for it.
    pub locked: Amount,
    /// Periods paid so far.
    pub paid: Periods,
    /// An opening demanded and not yet answered.
    pub demand: Option<Demand>,
}

/// Where a deal stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DealStatus {
    /// Funded; the provider has not accepted yet.
    Proposed,
    /// Accepted; its embed is not proven yet.
    Accepted,
    /// Embedded and proven: its term runs.
    Proven {
        /// In which sector.
        sector: SectorNumber,
        /// The first period that is paid.
        from: Period,
    },
    /// The term is over.
    Expired,
    /// Taken back by its owner before it was accepted.
    Cancelled,
    /// The provider broke its promise, lost the sector, or was shown a fraud.
    Failed {
        /// In one sentence.
        reason: String,
    },
}

/// An opening demanded on the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Which run of 127 bytes.
    pub quad: u64,
    /// Who demanded it.
    pub by: Address,
    /// Silence after this height is fraud.
    pub due: Height,
    /// The deposit.
    pub deposit: Amount,
}

/// A name and what it points at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// Rises with each publication.
    pub version: u64,
    /// Binary CID of the manifest root.
    #[serde(with = "serde_bytes")]
    pub root: Vec<u8>,
    /// When it was last published.
    pub at: Height,
}

/// The token's books: checked after every block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supply {
    /// All that was ever minted, genesis included.
    pub minted: Amount,
    /// All that was ever burnt.
    pub burnt: Amount,
    /// In accounts.
    pub balances: Amount,
    /// In collateral and deposits of providers, vesting included.
    pub collateral: Amount,
    /// In escrow of deals, repair budgets and demands.
    pub escrow: Amount,
}
