//! Messages: what accounts, clients, owners and workers ask of the ledger (PROTOCOL, *Messages*).

use crate::channel::SignedVoucher;
use crate::equivocation::Equivocation;
use crate::governance::ParameterChange;
use crate::receipt::SignedReceipt;
use crate::receipt::Tier;
use crate::units::{
    Address, Amount, BeaconKey, BeaconSignature, Blocks, ByteCount, Deadline, DealId, Height,
    MessageId, NetworkId, NodeKey, PackId, Period, Periods, ProposalId, ProviderId, SectorId,
    SectorNumber, ShardIndex, ShardRoot, Signature, Stake,
};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use holdfast_proofs::node::Node;
use holdfast_proofs::piece::QuadOpening;
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::sector::{Group, Lane, SectorClass};
use serde::{Deserialize, Serialize};

/// What is signed: one context a kind, so that no signature serves for another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningContext {
    /// A ledger message.
    Message,
    /// A provider's receipt for a shard.
    Receipt,
    /// A block header.
    Block,
    /// A payer's voucher for what it has read.
    Voucher,
    /// A validator's vote on a block.
    Ballot,
    /// A validator's offer of a block in a round.
    Offer,
    /// What precedes the bytes of an offered block.
    Stream,
    /// An auditor's report.
    Audit,
}

impl SigningContext {
    const fn text(self) -> &'static str {
        match self {
            Self::Message => "holdfast 2026-11 ledger message signature",
            Self::Receipt => "holdfast 2026-11 shard receipt signature",
            Self::Block => "holdfast 2026-11 block header signature",
            Self::Voucher => "holdfast 2026-11 payment voucher signature",
            Self::Ballot => "holdfast 2026-11 validator ballot signature",
            Self::Offer => "holdfast 2026-11 block offer signature",
            Self::Stream => "holdfast 2026-11 block stream signature",
            Self::Audit => "holdfast 2026-11 audit report signature",
        }
    }

    /// What an ed25519 key signs: BLAKE3 of the context, the network and the value's DAG-CBOR.
    ///
    /// # Errors
    /// A value that DAG-CBOR cannot carry.
    pub fn digest<T: Serialize>(
        self,
        network: NetworkId,
        value: &T,
    ) -> Result<[u8; 32], Unencodable> {
        let body = encode(value)?;
        let mut hasher = blake3::Hasher::new_derive_key(self.text());
        hasher.update(network.as_bytes());
        hasher.update(&body);
        Ok(*hasher.finalize().as_bytes())
    }

    /// Signs `value` for `network`.
    ///
    /// # Errors
    /// A value that DAG-CBOR cannot carry.
    pub fn sign<T: Serialize>(
        self,
        network: NetworkId,
        key: &SigningKey,
        value: &T,
    ) -> Result<Signature, Unencodable> {
        Ok(Signature(
            key.sign(&self.digest(network, value)?).to_bytes(),
        ))
    }

    /// Whether `signature` is `signer`'s for `value` on `network` (strict: small-order keys and
    /// malleable signatures are refused).
    pub fn verify<T: Serialize>(
        self,
        network: NetworkId,
        signer: &[u8; 32],
        value: &T,
        signature: &Signature,
    ) -> bool {
        let (Ok(key), Ok(digest)) = (
            VerifyingKey::from_bytes(signer),
            self.digest(network, value),
        ) else {
            return false;
        };
        key.verify_strict(&digest, &ed25519_dalek::Signature::from_bytes(&signature.0))
            .is_ok()
    }
}

/// A value that DAG-CBOR cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value cannot be encoded as DAG-CBOR: {0}")]
pub struct Unencodable(String);

/// The canonical bytes of a ledger object: DAG-CBOR.
///
/// # Errors
/// A value that DAG-CBOR cannot carry.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Unencodable> {
    serde_ipld_dagcbor::to_vec(value).map_err(|error| Unencodable(error.to_string()))
}

/// Bytes that are no canonical DAG-CBOR of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Not of this shape.
    #[error("the bytes are not a well-formed {kind}: {reason}")]
    Malformed {
        /// What was expected.
        kind: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// It decodes, but re-encodes to other bytes.
    #[error("the bytes of this {0} are not its canonical encoding")]
    NotCanonical(&'static str),
}

/// Reads a ledger object and refuses bytes that are not exactly what [`encode`] writes.
///
/// # Errors
/// Malformed or non-canonical bytes.
pub fn decode<T: Serialize + for<'de> Deserialize<'de>>(
    kind: &'static str,
    bytes: &[u8],
) -> Result<T, Undecodable> {
    let malformed = |reason: String| Undecodable::Malformed { kind, reason };
    let value: T =
        serde_ipld_dagcbor::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    match encode(&value) {
        Ok(again) if again == bytes => Ok(value),
        Ok(_) => Err(Undecodable::NotCanonical(kind)),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// One message before it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who signs and pays the fee.
    pub sender: Address,
    /// The sender's next number; each serves once, in order.
    pub nonce: u64,
    /// What is paid for inclusion, also where the body is refused.
    pub fee: Amount,
    /// Not valid in blocks above this height.
    pub expiry: Height,
    /// What is asked.
    pub body: Body,
}

/// A message with its sender's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedMessage {
    /// What is signed.
    pub message: Message,
    /// ed25519 under [`SigningContext::Message`].
    pub signature: Signature,
}

impl SignedMessage {
    /// Signs `message`; the key must be its sender's.
    ///
    /// # Errors
    /// A message that DAG-CBOR cannot carry.
    pub fn new(
        network: NetworkId,
        key: &SigningKey,
        message: Message,
    ) -> Result<Self, Unencodable> {
        let signature = SigningContext::Message.sign(network, key, &message)?;
        Ok(Self { message, signature })
    }

    /// BLAKE3 of the whole, the name under which its outcome is looked up.
    ///
    /// # Errors
    /// A message that DAG-CBOR cannot carry.
    pub fn id(&self) -> Result<MessageId, Unencodable> {
        Ok(MessageId(*blake3::hash(&encode(self)?).as_bytes()))
    }
}

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

/// The shard index of a deal as a position in lists.
impl ShardIndex {
    /// The index as a list position.
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}
