//! What the ledger holds, object by object. Each lives in the state tree under a key of its kind.

use crate::block::Validator;
use crate::message::{DealSetProposal, GroupLayout, GroupRoot, ProviderOffer};
use crate::receipt::Tier;
use crate::units::{
    Address, Amount, BlockId, ByteCount, Deadline, Height, PackId, Period, Periods, ProposalId,
    ProviderId, SectorId, SectorNumber, Stake, TreeRoot,
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
    /// Since when it is leaving, where it is.
    pub retiring: Option<Height>,
    /// What it did so far: reputation is read off these.
    pub record: ProviderRecord,
}

/// A worker that a provider had before. It lies apart from the provider, because only a claim asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastWorker {
    /// Its key.
    pub worker: Address,
    /// The height of the block that replaced it.
    pub until: Height,
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
    /// The next period whose deadline it is held to.
    pub next: Period,
    /// The replica's lane roots at the challenge of a deadline, kept where an embed was proven
    /// inside that deadline's window: the deadline challenges these.
    pub window: Option<WindowRoots>,
    /// Collateral of the provider locked for it.
    pub locked: Amount,
}

/// Lane roots as they stood at the challenge of one period's deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRoots {
    /// Of which period.
    pub period: Period,
    /// Lane roots of the replica tree.
    pub lanes: [Node; 8],
}

/// Where a sector stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SectorStatus {
    /// Committed; its seal proof is due.
    PreCommitted {
        /// When the commitment was included: challenges come from the beacon D blocks later.
        at: Height,
        /// What of the collateral burns where no proof follows.
        deposit: Amount,
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
    /// Collateral locked for it, burnt where it is abandoned.
    pub deposit: Amount,
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

/// A deal set: one pack, n deals. In state its deals lie apart from it ([`DealSetRecord`]), because
/// each is paid by itself.
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

/// A deal set as it lies in state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealSetRecord {
    /// As proposed.
    pub proposal: DealSetProposal,
    /// When it was included.
    pub at: Height,
    /// What is left of the repair budget.
    pub repair_budget: Amount,
    /// What of it was taken from providers. Repairs are paid of it first, and what is left of it in
    /// the end burns: it is nobody's to be paid out.
    pub of_penalties: Amount,
    /// Deals that are not over yet; with the last one the rest of the budget returns to the owner.
    pub live: u8,
}

/// One deal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deal {
    /// Who pays for it.
    pub owner: Address,
    /// Who stores it.
    pub provider: ProviderId,
    /// The provider's worker when the set was included (or the repair was claimed). It signed the
    /// receipt, or the one before did, where it was replaced in between ([`PastWorker`]).
    pub worker: Address,
    /// Hot or cold.
    pub tier: Tier,
    /// Bytes of the shard.
    pub length: ByteCount,
    /// What a proven period pays.
    pub per_period: Amount,
    /// How many periods.
    pub term: Periods,
    /// Where it stands.
    pub status: DealStatus,
    /// The sector that it is being embedded in, or lies in.
    pub sector: Option<SectorNumber>,
    /// Roots of its piece, once accepted.
    pub piece_roots: Vec<Node>,
    /// What of the escrow is still held for it.
    pub escrow: Amount,
    /// Collateral of the provider locked for it.
    pub locked: Amount,
    /// Periods paid so far.
    pub paid: Periods,
    /// Periods given back so far, because their proof failed.
    pub refunded: Periods,
    /// The opening that is to be answered first. Others that were demanded wait behind it, apart
    /// from the deal, each with a later height and a deposit of its own.
    pub demand: Option<Demand>,
    /// Once it is over, and was not failed: when its collateral is freed, until it is.
    pub release: Option<Height>,
    /// What its loss has paid into the repair budget for the work of replacing it.
    pub set_aside: Amount,
    /// Repairs of it that were claimed and came to nothing. Each doubles the next one's deposit: or
    /// else whoever claims and lapses would keep the others from it for little.
    pub lapsed: u32,
    /// The provider has claimed its repair and has not proven it yet.
    pub repair: Option<Repair>,
}

impl Deal {
    /// Periods that are still to come by its term, however it stands.
    pub fn unsettled(&self) -> Periods {
        Periods(self.term.0.saturating_sub(self.settled().0))
    }

    /// Periods that are over: paid or given back.
    pub fn settled(&self) -> Periods {
        Periods(self.paid.0.saturating_add(self.refunded.0))
    }

    /// Periods that are still to come and paid for; none once it is over.
    pub fn left(&self) -> Periods {
        match self.status.is_held() {
            true => self.unsettled(),
            false => Periods(0),
        }
    }
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
    /// Not proven by the promised height: the escrow went back, and whoever holds the receipt can
    /// claim the penalty until the dispute window is over.
    Broken {
        /// Whether it was claimed.
        claimed: bool,
    },
    /// The provider lost the sector or was shown a fraud.
    Failed {
        /// In one sentence.
        reason: String,
    },
}

/// The repair of a lost shard, under way at the provider that the deal names now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The last height at which its embed may be proven.
    pub due: Height,
    /// Collateral locked for it, burnt where it is not finished in time.
    pub deposit: Amount,
    /// Paid for the work once the embed is proven.
    pub work: Amount,
    /// What of all that it took out of the repair budget was taken from providers.
    pub of_penalties: Amount,
    /// The deal's term before it was claimed: it comes back where the repair comes to nothing.
    pub term: Periods,
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
    /// The last lease of it; it stays here when it is over, because its token is never given again.
    pub lease: Option<Lease>,
    /// To whom its owner gives it, until that account takes it.
    pub offered: Option<Address>,
}

impl Name {
    /// The lease under which alone it can be published at `height`.
    pub fn held(&self, height: Height) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| height <= lease.until)
    }
}

/// A lease of a name: for so long only its holder publishes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who publishes.
    pub holder: Address,
    /// Rises with each lease of the name: what was begun under an earlier one is told from it.
    pub token: u64,
    /// The last height of it.
    pub until: Height,
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
    /// In escrow of deals, repair budgets, demands and channels.
    pub escrow: Amount,
    /// At stake with validators, on its way out there, and earned there and not collected.
    pub stake: Amount,
}

impl Supply {
    /// Whether every token that was minted and not burnt lies somewhere.
    pub fn balances_out(&self) -> bool {
        let held = self
            .balances
            .checked_add(self.collateral)
            .and_then(|sum| sum.checked_add(self.escrow))
            .and_then(|sum| sum.checked_add(self.stake));
        held.is_some() && held == self.minted.checked_sub(self.burnt)
    }
}

/// Who orders blocks: a header names the validators of the block after it, so both are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorSets {
    /// They order the next block.
    pub next: Vec<Validator>,
    /// They order the block after the next, whose header names them.
    pub after: Vec<Validator>,
}

/// The chain's own state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The last block's number; 0 at genesis.
    pub height: Height,
    /// The last block; the network id's bytes at genesis.
    pub last: BlockId,
    /// The last block's time.
    pub time: u64,
    /// `merkle-cbt` root over the last block's outcomes: the next header carries it.
    pub receipts_root: TreeRoot,
    /// The number that the next provider gets.
    pub next_provider: ProviderId,
    /// The number that the next proposal gets.
    pub next_proposal: ProposalId,
    /// All that is at stake with validators that were not slashed.
    pub staked: Stake,
    /// Bytes of sectors that are proven or held to be.
    pub capacity: ByteCount,
    /// The same, deadline by deadline: a new sector goes where least is.
    pub deadlines: Vec<ByteCount>,
    /// Which period rewards were last minted in.
    pub reward_period: Period,
    /// What was minted in it, the bonus for deals not counted.
    pub rewarded: Amount,
}
