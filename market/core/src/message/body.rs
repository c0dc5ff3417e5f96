//! What a message can ask.

use super::parts::{
    Acceptance, DealSetProposal, EmbedCommit, LeaseClaim, PieceOpening, PreCommit, ProviderOffer,
    ReplicaCommit, SpacetimeProof,
};
use crate::channel::SignedVoucher;
use crate::equivocation::Equivocation;
use crate::governance::ParameterChange;
use crate::receipt::SignedReceipt;
use crate::units::{
    Address, Amount, BeaconKey, BeaconSignature, Blocks, Deadline, DealId, Height, PackId, Period,
    Periods, ProposalId, ProviderId, SectorId, SectorNumber, Stake,
};
use holdfast_proofs::proof::ProofBytes;
use serde::{Deserialize, Serialize};

/// What a message asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Gives tokens to another account.
    Transfer {
        /// To whom.
        to: Address,
        /// How much.
        amount: Amount,
    },
    /// Makes the sender's key that of a new validator (validator only).
    RegisterValidator {
        /// Who stakes for it and is paid its commission.
        owner: Address,
        /// Its beacon key.
        beacon: BeaconKey,
        /// Proof that it holds the beacon key.
        possession: BeaconSignature,
        /// The owner's share of what others' stakes earn, in thousandths.
        commission_thousandths: u64,
    },
    /// Gives a validator another beacon key or a lower commission, or says that it is back after it
    /// rested (validator only).
    UpdateValidator {
        /// Its beacon key from now on.
        beacon: BeaconKey,
        /// Proof that it holds the beacon key.
        possession: BeaconSignature,
        /// At most what it was.
        commission_thousandths: u64,
    },
    /// Puts tokens at stake with the sender's own validator (its owner only).
    Stake {
        /// Which.
        validator: Address,
        /// How much.
        stake: Stake,
    },
    /// Puts tokens at stake with somebody else's validator.
    Delegate {
        /// Which.
        validator: Address,
        /// How much.
        stake: Stake,
    },
    /// Takes the sender's stake out; it is free once the unbonding is over.
    Unstake {
        /// From which validator.
        validator: Address,
        /// How much.
        stake: Stake,
    },
    /// Pays the sender what its stake with a validator has earned.
    CollectReward {
        /// With which.
        validator: Address,
    },
    /// Shows that a validator said two things where it may say one.
    SubmitEquivocation {
        /// Both.
        evidence: Equivocation,
    },
    /// Asks all who stake to change one number.
    ProposeParameter {
        /// Which, and to what.
        change: ParameterChange,
    },
    /// Votes with what the sender has at stake with a validator.
    Vote {
        /// On what.
        proposal: ProposalId,
        /// Which of the sender's stakes.
        validator: Address,
        /// For it, or against it.
        approve: bool,
    },
    /// Points a name at a content identifier; versions only rise.
    PublishName {
        /// Which of the sender's names, 1 to 64 bytes.
        label: String,
        /// Greater than the version before.
        version: u64,
        /// Binary CID of the manifest root, at most 64 bytes.
        #[serde(with = "serde_bytes")]
        root: Vec<u8>,
        /// The lease under which it is published. Without one it is a name of the sender's that
        /// nobody has leased now.
        lease: Option<LeaseClaim>,
    },
    /// Gives a name to another account. Its owner says to whom, and that account takes it by the same
    /// message; said of the owner itself, an offer is taken back.
    TransferName {
        /// Whose it is.
        owner: Address,
        /// Which.
        label: String,
        /// Whose it becomes.
        to: Address,
    },
    /// Leases a name of the sender's: until the lease is over, only its holder publishes it.
    AcquireLease {
        /// Which of the sender's names.
        label: String,
        /// Who publishes it: the sender itself, or whom it authorises by this.
        holder: Address,
        /// For how long from this block on.
        blocks: Blocks,
        /// The token of the lease that is held now and goes on; none for a new one.
        token: Option<u64>,
    },
    /// Ends a lease before its time: its holder's or its owner's word.
    ReleaseLease {
        /// Which.
        lease: LeaseClaim,
        /// Of which of the owner's names.
        label: String,
    },
    /// Puts a deal set on the ledger and its price into escrow.
    ProposeDealSet(DealSetProposal),
    /// Buys a deal set more periods, from each provider that goes on at its deal's price. The same
    /// twice buys nothing the second time.
    RenewDealSet {
        /// Which.
        pack: PackId,
        /// So many periods are left afterwards, where fewer were.
        periods: Periods,
        /// Where fewer deals than this would have so many left, none is renewed.
        least: u8,
    },
    /// Adds to a deal set's repair budget, whoever sends it.
    TopUpRepair {
        /// Of which.
        pack: PackId,
        /// Moved from the sender's account.
        amount: Amount,
    },
    /// Takes over a lost shard, to rebuild and store it for the rest of its term (worker only).
    ClaimRepair {
        /// Which.
        deal: DealId,
        /// Who takes it over.
        provider: ProviderId,
    },
    /// Takes back what of a deal set no provider has accepted.
    CancelDealSet {
        /// Which.
        pack: PackId,
    },
    /// Makes the sender the owner of a new provider.
    RegisterProvider {
        /// The key that signs acceptances and proofs.
        worker: Address,
        /// What it offers.
        offer: ProviderOffer,
        /// Collateral moved from the owner's account.
        collateral: Amount,
    },
    /// Changes a provider's worker or offer (owner only).
    UpdateProvider {
        /// Which.
        provider: ProviderId,
        /// The key that signs from now on.
        worker: Address,
        /// What it offers from now on.
        offer: ProviderOffer,
    },
    /// Moves tokens from the owner's account to the collateral.
    AddCollateral {
        /// Whose.
        provider: ProviderId,
        /// How much.
        amount: Amount,
    },
    /// Takes back collateral that nothing needs.
    WithdrawCollateral {
        /// Whose.
        provider: ProviderId,
        /// How much.
        amount: Amount,
    },
    /// Begins the end of a provider (owner only): what it promised it keeps, and promises no more.
    Retire {
        /// Which.
        provider: ProviderId,
    },
    /// Commits to a sealed sector before its challenges are known.
    PreCommitSector(PreCommit),
    /// Proves the seal of a pre-committed sector.
    ProveSeal {
        /// Which.
        sector: SectorId,
        /// The proofs over its challenges, in order.
        proofs: Vec<ProofBytes>,
    },
    /// Accepts shards under deals and binds their piece roots.
    AcceptDeals {
        /// Who accepts.
        provider: ProviderId,
        /// What.
        deals: Vec<Acceptance>,
    },
    /// Commits the piece lists of the groups that will be written (embedding, step 1).
    CommitEmbed(EmbedCommit),
    /// Commits the replica roots of the written groups (step 3).
    CommitReplica(ReplicaCommit),
    /// Proves the embed (step 5).
    ProveEmbed {
        /// Which sector.
        sector: SectorId,
        /// The proofs over its challenges, in order.
        proofs: Vec<ProofBytes>,
    },
    /// Proves that sectors are still stored, at their deadline.
    ProveSpacetime {
        /// Whose.
        provider: ProviderId,
        /// Which period.
        period: Period,
        /// Which deadline of it.
        deadline: Deadline,
        /// One proof a sector.
        proofs: Vec<SpacetimeProof>,
    },
    /// Says before the challenge that sectors cannot be proven.
    DeclareFault {
        /// Whose.
        provider: ProviderId,
        /// Which.
        sectors: Vec<SectorNumber>,
    },
    /// Says that faulty sectors will be proven again from their next deadline.
    Recover {
        /// Whose.
        provider: ProviderId,
        /// Which.
        sectors: Vec<SectorNumber>,
    },
    /// Ends a sector of a provider that retires, which holds nothing: at no cost, or not at all.
    EndSector {
        /// Which.
        sector: SectorId,
    },
    /// Gives up a sector.
    TerminateSector {
        /// Which.
        sector: SectorId,
    },
    /// Claims the penalty of a shard that was receipted, funded and not proven in time.
    ClaimBrokenPromise {
        /// The promise.
        receipt: SignedReceipt,
    },
    /// Makes a provider open one quad (127 bytes) of a shard on the ledger.
    DemandOpening {
        /// Which deal.
        deal: DealId,
        /// Which run of 127 bytes, from 0.
        quad: u64,
    },
    /// Answers it.
    AnswerOpening {
        /// Which deal.
        deal: DealId,
        /// The four nodes and their paths under the piece roots, with the bytes' BLAKE3 proof.
        opening: PieceOpening,
    },
    /// Shows that a shard's two roots are of different bytes.
    SubmitFraud {
        /// Which deal.
        deal: DealId,
        /// The bytes under the shard root beside the nodes under the piece roots.
        opening: PieceOpening,
    },
    /// Opens the sender's channel to a provider, or adds to its deposit.
    OpenChannel {
        /// Who can be paid through it.
        provider: ProviderId,
        /// Moved from the sender's account.
        deposit: Amount,
    },
    /// Lets somebody else read a pack at the sender's cost: opens a channel to each provider that
    /// holds a shard of it, or adds to it.
    AttachReadBudget {
        /// What is to be read.
        pack: PackId,
        /// Who reads, and signs the vouchers.
        reader: Address,
        /// Moved from the sender's account into each of these channels.
        deposit: Amount,
        /// Into so many at most: where more providers hold a shard by then, nothing is moved.
        providers: u8,
        /// They begin to close at the end of this block; one that is open already never sooner than
        /// was said before.
        until: Height,
    },
    /// Closes channels of the sender's on which somebody else reads, before their time.
    RevokeGrant {
        /// Who reads.
        reader: Address,
        /// To which providers, ascending.
        providers: Vec<ProviderId>,
    },
    /// Closes the sender's channel once the dispute window is over.
    CloseChannel {
        /// To whom it is.
        provider: ProviderId,
    },
    /// Pays a provider what the voucher says and was not paid yet (worker only).
    RedeemVoucher {
        /// The reader's word.
        voucher: SignedVoucher,
    },
}
