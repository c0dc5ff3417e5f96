//! One of everything, the same in every run.

use holdfast_market_core::beacon::BeaconSecret;
use holdfast_market_core::block::{
    Block, Certificate, CertifiedBlock, Header, Outcome, OutcomeResult, Validator,
};
use holdfast_market_core::channel::{Channel, ChannelId, SignedVoucher, Voucher};
use holdfast_market_core::equivocation::{Equivocation, SignedBallot};
use holdfast_market_core::finality::{Ballot, BallotKind, Precommit};
use holdfast_market_core::genesis::{Balance, Genesis};
use holdfast_market_core::governance::{
    AmountParameter, ParameterChange, Proposal, ProposalStatus, ShareParameter,
};
use holdfast_market_core::message::*;
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::receipt::{Receipt, SignedReceipt, Tier};
use holdfast_market_core::slice;
use holdfast_market_core::stake::{
    Delegation, Orders, Unbonding, ValidatorRecord, ValidatorStatus,
};
use holdfast_market_core::state::*;
use holdfast_market_core::units::*;
use holdfast_proofs::node::Node;
use holdfast_proofs::piece::{PieceRoots, PieceShape, QuadOpening};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::sector::{Group, Lane, SectorClass};
use std::sync::OnceLock;

pub(crate) use ed25519_dalek::SigningKey;

/// The network of all samples.
pub(crate) const NETWORK: NetworkId = NetworkId([1; 32]);
/// The class of all sectors.
pub(crate) const CLASS: SectorClass = SectorClass::Mib8;
/// Tree levels of the largest subtree of a piece.
pub(crate) const LEVELS: u32 = 4;
/// The quad that is opened.
pub(crate) const QUAD: u64 = 11;
/// Bytes of the shard.
pub(crate) const SHARD_BYTES: u64 = 50_000;

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub(crate) fn address(number: u8) -> Address {
    Address(key(number).verifying_key().to_bytes())
}

pub(crate) fn node(number: u8) -> Node {
    Node::from_bytes([number & 0x3f; 32]).unwrap()
}

/// A shard's bytes.
pub(crate) fn shard() -> &'static [u8] {
    static SHARD: OnceLock<Vec<u8>> = OnceLock::new();
    SHARD.get_or_init(|| {
        let mut bytes = vec![0; SHARD_BYTES as usize];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    })
}

pub(crate) fn shard_root() -> ShardRoot {
    ShardRoot(*blake3::hash(shard()).as_bytes())
}

pub(crate) fn header() -> PackHeader {
    PackHeader {
        owner: address(1),
        nonce: 7,
        k: 2,
        n: 3,
        length: ByteCount(2 * SHARD_BYTES),
        shard_roots: vec![shard_root(), ShardRoot([2; 32]), ShardRoot([3; 32])],
        shard_length: ByteCount(SHARD_BYTES),
    }
}

pub(crate) fn pack() -> PackId {
    header().id().unwrap()
}

pub(crate) fn deal_id() -> DealId {
    DealId {
        pack: pack(),
        shard: ShardIndex(0),
    }
}

fn terms(provider: u64) -> ShardTerms {
    ShardTerms {
        provider: ProviderId(provider),
        tier: if provider == 0 { Tier::Hot } else { Tier::Cold },
        price: Amount(1_000),
        term: Periods(9),
        fund_by: Height(50),
    }
}

/// What provider `number` signed for its shard.
pub(crate) fn receipt(number: u8) -> SignedReceipt {
    let header = header();
    let terms = terms(number.into());
    let receipt = Receipt {
        pack: pack(),
        shard: ShardIndex(number),
        root: header.shard_roots[usize::from(number)],
        length: header.shard_length,
        provider: terms.provider,
        tier: terms.tier,
        price: terms.price,
        term: terms.term,
        fund_by: terms.fund_by,
    };
    let signature = SigningContext::Receipt
        .sign(NETWORK, &key(10 + number), &receipt)
        .unwrap();
    SignedReceipt { receipt, signature }
}

pub(crate) fn proposal() -> DealSetProposal {
    DealSetProposal {
        pack: header(),
        terms: (0..3).map(terms).collect(),
        repair_threshold: 2,
        repair_budget: Amount::ZERO,
    }
}

pub(crate) fn piece_roots() -> PieceRoots {
    PieceRoots::compute(shard(), SHARD_BYTES, LEVELS).unwrap()
}

pub(crate) fn shape() -> PieceShape {
    PieceShape::of(SHARD_BYTES, LEVELS).unwrap()
}

pub(crate) fn opening() -> PieceOpening {
    static OPENING: OnceLock<PieceOpening> = OnceLock::new();
    let make = || PieceOpening {
        quad: QUAD,
        slice: slice::encode(shard(), &(QUAD * 127..(QUAD + 1) * 127)).unwrap(),
        opening: QuadOpening::read(shard(), &shape(), QUAD).unwrap(),
    };
    OPENING.get_or_init(make).clone()
}

fn offer() -> ProviderOffer {
    ProviderOffer {
        node: NodeKey([4; 32]),
        endpoint: "127.0.0.1:4000".into(),
        price: Amount(900),
        read_price: Amount::ZERO,
    }
}

fn sector_id() -> SectorId {
    SectorId {
        provider: ProviderId(0),
        number: SectorNumber(2),
    }
}

fn layout() -> GroupLayout {
    GroupLayout {
        group: Group::new(9).unwrap(),
        subtrees: vec![
            PlacedSubtree {
                deal: deal_id(),
                subtree: 0,
                levels: 3,
                unit: 0,
            },
            PlacedSubtree {
                deal: deal_id(),
                subtree: 1,
                levels: 3,
                unit: 1,
            },
        ],
    }
}

fn roots() -> SectorRoots {
    SectorRoots {
        lanes: [node(5); 8],
        groups: vec![LaneGroups {
            lane: Lane::new(1).unwrap(),
            roots: [node(6); 8],
        }],
    }
}

fn lease_claim() -> LeaseClaim {
    LeaseClaim {
        owner: address(1),
        token: 4,
    }
}

/// One body of every kind.
pub(crate) fn bodies() -> Vec<Body> {
    let provider = ProviderId(0);
    let sector = sector_id();
    let amount = Amount(77);
    let proofs = vec![ProofBytes([9; 192]); 2];
    let sectors = vec![SectorNumber(0), SectorNumber(300)];
    vec![
        Body::Transfer {
            to: address(2),
            amount,
        },
        Body::PublishName {
            label: "catalogue".into(),
            version: 3,
            root: vec![1, 0x55, 0x1e, 32, 7],
            lease: Some(lease_claim()),
        },
        Body::TransferName {
            owner: address(1),
            label: "catalogue".into(),
            to: address(2),
        },
        Body::AcquireLease {
            label: "drive".into(),
            holder: address(2),
            blocks: Blocks(600),
            token: Some(4),
        },
        Body::ReleaseLease {
            lease: lease_claim(),
            label: "drive".into(),
        },
        Body::TopUpRepair {
            pack: pack(),
            amount,
        },
        Body::ClaimRepair {
            deal: deal_id(),
            provider,
        },
        Body::ProposeDealSet(proposal()),
        Body::CancelDealSet { pack: pack() },
        Body::RenewDealSet {
            pack: pack(),
            periods: Periods(7),
            least: 3,
        },
        Body::Retire {
            provider: ProviderId(3),
        },
        Body::EndSector {
            sector: sector_id(),
        },
        Body::RegisterProvider {
            worker: address(3),
            offer: offer(),
            collateral: amount,
        },
        Body::UpdateProvider {
            provider,
            worker: address(3),
            offer: offer(),
        },
        Body::AddCollateral { provider, amount },
        Body::WithdrawCollateral { provider, amount },
        Body::PreCommitSector(PreCommit {
            sector,
            class: CLASS,
            ticket: Height(4),
            columns: [node(1); 8],
            keys: [node(2); 8],
        }),
        Body::ProveSeal {
            sector,
            proofs: proofs.clone(),
        },
        Body::AcceptDeals {
            provider,
            deals: vec![Acceptance {
                shard: deal_id(),
                piece_roots: piece_roots().0,
            }],
        },
        Body::CommitEmbed(EmbedCommit {
            sector,
            groups: vec![layout()],
            keys: roots(),
        }),
        Body::CommitReplica(ReplicaCommit {
            sector,
            before: roots(),
            after: vec![GroupRoot {
                group: Group::new(9).unwrap(),
                root: node(7),
            }],
        }),
        Body::ProveEmbed {
            sector,
            proofs: proofs.clone(),
        },
        Body::ProveSpacetime {
            provider,
            period: Period(2),
            deadline: Deadline(1),
            proofs: vec![SpacetimeProof {
                sector: SectorNumber(2),
                proof: proofs[0],
            }],
        },
        Body::DeclareFault {
            provider,
            sectors: sectors.clone(),
        },
        Body::Recover { provider, sectors },
        Body::TerminateSector { sector },
        Body::ClaimBrokenPromise {
            receipt: receipt(0),
        },
        Body::DemandOpening {
            deal: deal_id(),
            quad: QUAD,
        },
        Body::AnswerOpening {
            deal: deal_id(),
            opening: opening(),
        },
        Body::SubmitFraud {
            deal: deal_id(),
            opening: opening(),
        },
        Body::OpenChannel {
            provider,
            deposit: Amount(9_000),
        },
        Body::AttachReadBudget {
            pack: pack(),
            reader: address(3),
            deposit: amount,
            providers: 6,
            until: Height(900),
        },
        Body::RevokeGrant {
            reader: address(3),
            providers: vec![provider, ProviderId(3)],
        },
        Body::CloseChannel { provider },
        Body::RedeemVoucher { voucher: voucher() },
        Body::RegisterValidator {
            owner: address(2),
            beacon: BeaconKey([3; 48]),
            possession: BeaconSignature([4; 96]),
            commission_thousandths: 50,
        },
        Body::UpdateValidator {
            beacon: BeaconKey([3; 48]),
            possession: BeaconSignature([4; 96]),
            commission_thousandths: 40,
        },
        Body::Stake {
            validator: address(2),
            stake: Stake(100),
        },
        Body::Delegate {
            validator: address(2),
            stake: Stake(7),
        },
        Body::Unstake {
            validator: address(2),
            stake: Stake(3),
        },
        Body::CollectReward {
            validator: address(2),
        },
        Body::SubmitEquivocation {
            evidence: equivocation(),
        },
        Body::ProposeParameter {
            change: ParameterChange::Amount {
                parameter: AmountParameter::MinimumPrice,
                value: Amount(7),
            },
        },
        Body::ProposeParameter {
            change: ParameterChange::Share {
                parameter: ShareParameter::BurnThousandths,
                value: 70,
            },
        },
        Body::Vote {
            proposal: ProposalId(4),
            validator: address(2),
            approve: true,
        },
    ]
}

pub(crate) fn message(body: Body) -> SignedMessage {
    let message = Message {
        sender: address(1),
        nonce: 3,
        fee: Amount(5_000),
        expiry: Height(77),
        body,
    };
    SignedMessage::new(NETWORK, &key(1), message).unwrap()
}

pub(crate) fn validator() -> Validator {
    let secret = BeaconSecret::from_seed(&[8; 32]);
    Validator {
        key: address(8),
        beacon: secret.public(),
        possession: secret.possession(),
        power: 1,
    }
}

pub(crate) fn block_header(height: u64, parent: BlockId) -> Header {
    Header {
        height: Height(height),
        parent,
        state_root: TreeRoot([2; 32]),
        transactions_root: TreeRoot([3; 32]),
        receipts_root: TreeRoot([4; 32]),
        time: 1_700_000_000_000,
        builder: address(8),
        beacon: BeaconSecret::from_seed(&[8; 32]).sign(NETWORK, Beacon([5; 32]), Height(height)),
        next_validators: TreeRoot([6; 32]),
    }
}

pub(crate) fn certificate(header: &Header) -> Certificate {
    let signature = SigningContext::Block
        .sign(NETWORK, &key(8), header)
        .unwrap();
    Certificate::Embedded { signature }
}

/// A certificate of one validator of one.
pub(crate) fn bft_certificate(header: &Header) -> Certificate {
    let ballot = Ballot {
        kind: BallotKind::Precommit,
        height: header.height,
        round: Round(1),
        block: Some(header.id().unwrap()),
        voter: address(8),
    };
    let signature = SigningContext::Ballot.sign(NETWORK, &key(8), &ballot);
    Certificate::Bft {
        round: Round(1),
        precommits: vec![Precommit {
            voter: address(8),
            signature: signature.unwrap(),
        }],
    }
}

pub(crate) fn validator_sets() -> ValidatorSets {
    ValidatorSets {
        next: vec![validator()],
        after: vec![validator(), validator()],
    }
}

pub(crate) fn block(bodies: Vec<Body>) -> CertifiedBlock {
    let header = block_header(3, BlockId([9; 32]));
    CertifiedBlock {
        certificate: certificate(&header),
        block: Block {
            header,
            messages: bodies.into_iter().map(message).collect(),
        },
    }
}

/// The same block, ordered by several.
pub(crate) fn bft_block() -> CertifiedBlock {
    let block = block(vec![]).block;
    CertifiedBlock {
        certificate: bft_certificate(&block.header),
        block,
    }
}

pub(crate) fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome {
            message: MessageId([1; 32]),
            result: OutcomeResult::Done,
        },
        Outcome {
            message: MessageId([2; 32]),
            result: OutcomeResult::Refused("there is no such provider".into()),
        },
    ]
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        name: "samples".into(),
        time: 1_700_000_000_000,
        parameters: Parameters::dev(),
        verifying_keys: crate::proofs::made_keys().digest(),
        balances: (0..4)
            .map(|number| Balance {
                account: address(number),
                amount: Amount::hold(1_000_000),
            })
            .collect(),
        validators: vec![validator()],
    }
}

pub(crate) fn provider() -> Provider {
    Provider {
        id: ProviderId(0),
        owner: address(1),
        worker: address(3),
        offer: offer(),
        collateral: Amount::hold(9),
        locked: Amount::hold(1),
        vesting: vec![Vesting {
            due: Period(4),
            amount: Amount(3),
        }],
        since: Height(2),
        next_sector: SectorNumber(3),
        retiring: None,
        record: ProviderRecord::default(),
    }
}

pub(crate) fn sector() -> Sector {
    Sector {
        id: sector_id(),
        class: CLASS,
        replica: ReplicaId(node(3)),
        status: SectorStatus::Active { from: Period(1) },
        columns: [node(1); 8],
        key_root: node(2),
        replica_root: node(3),
        replica_lanes: [node(4); 8],
        deadline: Deadline(2),
        groups: vec![layout()],
        embed: Some(Embed {
            committed: Height(40),
            groups: vec![EmbedGroup {
                layout: layout(),
                key_root: node(5),
                data_root: node(6),
            }],
            replica: Some(EmbedReplica {
                committed: Height(44),
                roots: vec![GroupRoot {
                    group: Group::new(9).unwrap(),
                    root: node(7),
                }],
                lanes: [node(8); 8],
            }),
            deposit: Amount(5),
        }),
        faults: Periods(0),
        proven: Some(Period(3)),
        next: Period(4),
        window: Some(WindowRoots {
            period: Period(3),
            lanes: [node(9); 8],
        }),
        locked: Amount(6),
    }
}

/// A channel that closes.
pub(crate) fn channel() -> Channel {
    Channel {
        id: ChannelId {
            payer: address(1),
            reader: address(2),
            provider: ProviderId(3),
            opened: Height(40),
        },
        deposit: Amount(9_000),
        redeemed: Amount(70),
        until: Some(Height(80)),
        closing: Some(Height(99)),
    }
}

pub(crate) fn voucher() -> SignedVoucher {
    let voucher = Voucher {
        channel: channel().id,
        amount: Amount(5_000),
    };
    SignedVoucher::new(NETWORK, &key(2), voucher).unwrap()
}

pub(crate) fn demand() -> Demand {
    Demand {
        quad: QUAD,
        by: address(2),
        due: Height(90),
        deposit: Amount(4),
    }
}

/// A deal in each of its states.
pub(crate) fn deals() -> Vec<Deal> {
    let sector = SectorNumber(2);
    [
        DealStatus::Proposed,
        DealStatus::Accepted,
        DealStatus::Proven {
            sector,
            from: Period(2),
        },
        DealStatus::Expired,
        DealStatus::Cancelled,
        DealStatus::Broken { claimed: true },
        DealStatus::Failed {
            reason: "its sector was lost".into(),
        },
    ]
    .map(|status| Deal {
        owner: address(1),
        provider: ProviderId(0),
        worker: address(3),
        tier: Tier::Hot,
        length: ByteCount(SHARD_BYTES),
        per_period: Amount(2),
        term: Periods(9),
        status,
        sector: Some(sector),
        piece_roots: piece_roots().0,
        escrow: Amount(18),
        locked: Amount(1),
        paid: Periods(1),
        refunded: Periods(0),
        demand: Some(demand()),
        release: Some(Height(70)),
        set_aside: Amount(2),
        lapsed: 1,
        repair: Some(Repair {
            due: Height(80),
            deposit: Amount(3),
            work: Amount(2),
            of_penalties: Amount(1),
            term: Periods(9),
        }),
    })
    .into()
}

pub(crate) fn deal_set_record() -> DealSetRecord {
    DealSetRecord {
        proposal: proposal(),
        at: Height(33),
        repair_budget: Amount(1),
        of_penalties: Amount(1),
        live: 3,
    }
}

pub(crate) fn deal_set() -> DealSet {
    DealSet {
        id: pack(),
        proposal: proposal(),
        at: Height(33),
        deals: deals(),
        repair_budget: Amount(1),
    }
}

pub(crate) fn name() -> Name {
    Name {
        version: 3,
        root: vec![1, 0x55, 0x1e, 32, 7],
        at: Height(12),
        lease: Some(Lease {
            holder: address(2),
            token: 4,
            until: Height(90),
        }),
        offered: Some(address(3)),
    }
}

pub(crate) fn equivocation() -> Equivocation {
    let signed = |block| SignedBallot {
        ballot: Ballot {
            kind: BallotKind::Precommit,
            height: Height(9),
            round: Round(1),
            block,
            voter: address(2),
        },
        signature: Signature([6; 64]),
    };
    Equivocation::Ballots {
        first: signed(Some(BlockId([1; 32]))),
        second: signed(None),
    }
}

pub(crate) fn validator_record() -> ValidatorRecord {
    ValidatorRecord {
        key: address(2),
        owner: address(1),
        beacon: BeaconKey([3; 48]),
        possession: BeaconSignature([4; 96]),
        commission_thousandths: 50,
        status: ValidatorStatus::Slashed {
            height: Height(9),
            thousandths: 100,
        },
        own: Stake(100),
        stake: Stake(107),
        earned: Amount(1),
        rewards: Amount(2),
        commission: Amount(3),
        owed: Amount(4),
        missed: 5,
        built: 6,
        orders: Some(Orders {
            from: Height(3),
            to: Some(Height(9)),
        }),
    }
}

pub(crate) fn delegation() -> Delegation {
    Delegation {
        stake: Stake(7),
        settled: Amount(1),
    }
}

pub(crate) fn unbonding() -> Unbonding {
    Unbonding {
        stake: Stake(7),
        amount: Amount::hold(7),
        since: Height(8),
    }
}

pub(crate) fn parameter_proposal() -> Proposal {
    Proposal {
        id: ProposalId(4),
        by: address(1),
        change: ParameterChange::Share {
            parameter: ShareParameter::FinderThousandths,
            value: 90,
        },
        deposit: Amount::hold(10),
        closes: Height(70),
        approving: Stake(7),
        rejecting: Stake(3),
        staked: Stake(20),
        status: ProposalStatus::Passed { at: Height(100) },
    }
}

pub(crate) fn supply() -> Supply {
    Supply {
        minted: Amount(u128::MAX),
        burnt: Amount(1),
        balances: Amount(2),
        collateral: Amount(3),
        escrow: Amount(4),
        stake: Amount(5),
    }
}

pub(crate) fn chain() -> Chain {
    Chain {
        height: Height(8),
        last: BlockId([1; 32]),
        time: 1_700_000_000_000,
        receipts_root: TreeRoot([2; 32]),
        next_provider: ProviderId(1),
        next_proposal: ProposalId(2),
        staked: Stake(4_000),
        capacity: ByteCount(8 << 20),
        deadlines: vec![ByteCount(8 << 20), ByteCount(0), ByteCount(0)],
        reward_period: Period(0),
        rewarded: Amount(10),
    }
}
