//! A chain with six accounts of 1,000 HOLD; the first is the owner and worker of provider 0.

use super::super::due::Due;
use super::super::{Context, ProofTally, Proofs, run};
use crate::admit::Known;
use crate::beacon::{self, BeaconSecret};
use crate::block::{Block, Header, Outcome, OutcomeResult, Validator};
use crate::build::Turn;
use crate::genesis::{Balance, Genesis};
use crate::governance::Governance;
use crate::keys;
use crate::ledger::Ledger;
use crate::message::{
    Acceptance, Body, DealSetProposal, EmbedCommit, GroupLayout, LaneGroups, Message, PackHeader,
    PlacedSubtree, PreCommit, ProviderOffer, ReplicaCommit, SectorRoots, ShardTerms, SignedMessage,
};
use crate::parameters::Parameters;
use crate::query;
use crate::quote;
use crate::receipt::{Receipt, SignedReceipt, Tier};
use crate::refusal::Stop;
use crate::rules::{Rules, genesis_writes};
use crate::schedule;
use crate::stake::Staking;
use crate::state::{
    Account, Deal, DealStatus, Embed, EmbedGroup, EmbedReplica, Provider, Sector, SectorStatus,
};
use crate::units::{
    Address, Amount, BeaconKey, BeaconSignature, ByteCount, DealId, Height, NodeKey, PackId,
    Periods, ProviderId, SectorId, SectorNumber, ShardIndex, ShardRoot, TreeRoot,
};
use crate::view::{MemoryView, ReadView};
use ed25519_dalek::SigningKey;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::node::Node;
use holdfast_proofs::piece::{PieceRoots, PieceShape};
use holdfast_proofs::sector::{Group, Lane, SectorClass};
use holdfast_proofs::tree::root_of;
use holdfast_proofs::verify::Verifier;
use std::collections::BTreeMap;

pub const ACCOUNTS: usize = 6;
/// The keys of the validators of [`World::with_staking`].
pub const VALIDATORS: [usize; 4] = [99, 98, 97, 96];
pub const CLASS: SectorClass = SectorClass::Mib8;

/// How to spoil a body, and what the refusal must say.
pub type Case<T> = (fn(&mut T), &'static str);

pub struct World {
    pub rules: Rules,
    pub view: MemoryView,
    pub genesis: Genesis,
    /// Whose block the next is.
    pub builder: usize,
}

pub fn key(index: usize) -> SigningKey {
    SigningKey::from_bytes(&[index as u8 + 1; 32])
}

pub fn address(index: usize) -> Address {
    Address(key(index).verifying_key().to_bytes())
}

pub fn beacon_of(index: usize) -> BeaconSecret {
    BeaconSecret::from_seed(&[index as u8; 32])
}

pub fn node(text: &str) -> Node {
    Node::derive("holdfast test", &[text.as_bytes()])
}

pub fn sector_id(number: u64) -> SectorId {
    SectorId {
        provider: ProviderId(0),
        number: SectorNumber(number),
    }
}

pub fn offer() -> ProviderOffer {
    ProviderOffer {
        node: NodeKey([7; 32]),
        endpoint: "127.0.0.1:4000".into(),
        price: Amount::hold(1),
        read_price: Amount::hold(1),
    }
}

/// Key group roots of a made-up sector.
pub fn key_groups(number: u64) -> [[Node; 8]; 8] {
    std::array::from_fn(|lane| {
        std::array::from_fn(|group| node(&format!("key {number} {lane} {group}")))
    })
}

pub fn roots_of(groups: &[[Node; 8]; 8], touched: &[u8]) -> SectorRoots {
    SectorRoots {
        lanes: groups.map(|lane| root_of(&lane)),
        groups: touched
            .iter()
            .map(|lane| LaneGroups {
                lane: Lane::new(*lane).unwrap(),
                roots: groups[*lane as usize],
            })
            .collect(),
    }
}

pub fn group(index: u8) -> Group {
    Group::new(index).unwrap()
}

/// The bytes of shard `index` of the packs here.
pub fn shard_bytes(index: u8) -> Vec<u8> {
    (0..20_000u32).map(|i| (i % 241) as u8 ^ index).collect()
}

impl World {
    pub fn new() -> Self {
        Self::under(Parameters::dev(), &[(99, 1)])
    }

    /// With four validators of 1,000 HOLD each, chosen by stake.
    pub fn with_staking() -> Self {
        let parameters = Parameters {
            staking: Some(Staking::dev()),
            governance: Some(Governance::dev(&Parameters::dev().economy)),
            ..Parameters::dev()
        };
        Self::under(parameters, &VALIDATORS.map(|index| (index, 1_000)))
    }

    /// Validators by the index of their key, with their power; the first builds.
    pub fn under(parameters: Parameters, validators: &[(usize, u64)]) -> Self {
        Self::endowed(parameters, validators, Amount::hold(1_000))
    }

    /// Where every account begins with so much.
    pub fn endowed(parameters: Parameters, validators: &[(usize, u64)], each: Amount) -> Self {
        let validators: Vec<Validator> = validators
            .iter()
            .map(|(index, power)| {
                let beacon = beacon_of(*index);
                Validator {
                    key: address(*index),
                    beacon: beacon.public(),
                    possession: beacon.possession(),
                    power: *power,
                }
            })
            .collect();
        let genesis = Genesis {
            name: "test".into(),
            time: 0,
            parameters,
            verifying_keys: [0; 32],
            balances: (0..ACCOUNTS)
                .map(|index| Balance {
                    account: address(index),
                    amount: each,
                })
                .collect(),
            validators,
        };
        let rules = Rules {
            network: genesis.network().unwrap(),
            parameters: genesis.parameters.clone(),
            verifier: Verifier::from_keys(&VerifyingKeys::new()).unwrap(),
        };
        let mut view = MemoryView::default();
        view.apply(&genesis_writes(&genesis).unwrap());
        Self {
            rules,
            view,
            genesis,
            builder: 99,
        }
    }

    /// With provider 0, and a sector 0 that is proven.
    pub fn with_sector() -> Self {
        let mut world = Self::new();
        world.register();
        world.done(0, world.pre_commit(0));
        world.activate(0);
        world
    }

    pub fn height(&self) -> Height {
        query::chain(&self.view).unwrap().height
    }

    pub fn turn(&self) -> Turn {
        Turn {
            builder: address(99),
            beacon: beacon_of(99),
            time: 0,
            state_root: TreeRoot([0; 32]),
        }
    }

    pub fn sign(&self, who: usize, nonce: u64, body: Body) -> SignedMessage {
        let mut message = Message {
            sender: address(who),
            nonce,
            fee: Amount::ZERO,
            expiry: Height(u64::MAX),
            body,
        };
        message.fee = quote::fee(&self.rules.parameters.economy, &message).unwrap();
        SignedMessage::new(self.rules.network, &key(who), message).unwrap()
    }

    /// The next block's header. Beacons are made up: a BLS signature a block would take most of the
    /// tests' time. Headers have tests of their own, with real ones.
    pub fn header(&self) -> Header {
        let chain = query::chain(&self.view).unwrap();
        let height = Height(chain.height.0 + 1);
        let mut beacon = BeaconSignature([0; 96]);
        beacon.0[..8].copy_from_slice(&height.0.to_le_bytes());
        Header {
            height,
            parent: chain.last,
            state_root: TreeRoot([0; 32]),
            transactions_root: TreeRoot([0; 32]),
            receipts_root: chain.receipts_root,
            time: 0,
            builder: address(self.builder),
            beacon,
            next_validators: TreeRoot([0; 32]),
        }
    }

    /// One block with these messages, checked afterwards.
    pub fn block(&mut self, bodies: Vec<(usize, Body)>) -> Vec<Outcome> {
        let mut nonces: BTreeMap<usize, u64> = BTreeMap::new();
        let messages = bodies
            .into_iter()
            .map(|(who, body)| {
                let nonce = nonces.entry(who).or_insert_with(|| self.account(who).nonce);
                let signed = self.sign(who, *nonce, body);
                *nonce += 1;
                signed
            })
            .collect();
        let ledger = Ledger::open(&self.view).unwrap();
        let header = self.header();
        let block = Block { header, messages };
        let known = known(&block.messages);
        let execution = run(ledger, &self.rules, &block, &known).unwrap();
        self.view.apply(&execution.writes);
        self.check();
        execution.outcomes
    }

    pub fn send(&mut self, who: usize, body: Body) -> OutcomeResult {
        self.block(vec![(who, body)]).remove(0).result
    }

    pub fn done(&mut self, who: usize, body: Body) {
        assert_eq!(self.send(who, body), OutcomeResult::Done);
    }

    /// Refused for this reason, and without a trace but fee and nonce.
    pub fn refused(&mut self, who: usize, body: Body, reason: &str) {
        let before = self.view.clone();
        match self.send(who, body) {
            OutcomeResult::Refused(why) => assert!(why.contains(reason), "{why} / {reason}"),
            OutcomeResult::Done => panic!("done, but should be refused: {reason}"),
        }
        let kinds: [&[u8]; 12] = [
            keys::PROVIDER,
            keys::PROVIDER_DEAL,
            keys::MOVED_NAME,
            keys::SECTOR,
            keys::DEAL,
            keys::DEAL_SET,
            keys::CHANNEL,
            keys::PAYER_CHANNEL,
            keys::NAME,
            keys::DUE,
            keys::DELEGATION,
            keys::UNBONDING,
        ];
        // The block's end may have had something to do of its own.
        let next = Height(self.height().0);
        let quiet = before
            .scan(keys::DUE, None, usize::MAX)
            .unwrap()
            .iter()
            .all(|(key, _)| keys::due_height(key).unwrap() > next);
        if quiet {
            for kind in kinds {
                assert_eq!(
                    before.scan(kind, None, usize::MAX).unwrap(),
                    self.view.scan(kind, None, usize::MAX).unwrap()
                );
            }
        }
    }

    pub fn advance(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.block(Vec::new());
        }
    }

    pub fn advance_to(&mut self, height: Height) {
        assert!(self.height() <= height, "{} is past", height);
        self.advance(height.0 - self.height().0);
    }

    /// Conservation, and every lock accounted for and covered.
    pub fn check(&self) {
        let supply = query::supply(&self.view).unwrap();
        assert!(supply.balances_out(), "{supply:?}");
        assert_eq!(query::recount(&self.view).unwrap(), supply);
        let mut capacity = 0;
        for provider in query::providers(&self.view, None, usize::MAX).unwrap() {
            let mut locked = 0;
            for sector in query::sectors_of(&self.view, provider.id).unwrap() {
                locked += sector.locked.0;
                locked += sector.embed.as_ref().map_or(0, |embed| embed.deposit.0);
                if schedule::next_window(&self.rules.parameters, &sector).is_some() {
                    capacity += sector.class.bytes();
                }
            }
            for (_, deal) in query::deals_of(&self.view, provider.id).unwrap() {
                assert_eq!(deal.provider, provider.id);
                locked += deal.locked.0;
                locked += deal.repair.as_ref().map_or(0, |repair| repair.deposit.0);
                let rest = deal.term.0.saturating_sub(deal.paid.0 + deal.refunded.0);
                let expected = match deal.status {
                    DealStatus::Proposed | DealStatus::Accepted | DealStatus::Proven { .. } => {
                        deal.per_period.0 * u128::from(rest)
                    }
                    _ => 0,
                };
                assert_eq!(deal.escrow.0, expected, "{deal:?}");
            }
            assert_eq!(provider.locked.0, locked, "provider {}", provider.id);
            let vesting: u128 = provider.vesting.iter().map(|v| v.amount.0).sum();
            assert!(provider.collateral.0 + vesting >= locked);
        }
        for (key, _) in self.view.scan(keys::DEAL_SET, None, usize::MAX).unwrap() {
            self.check_deal_set(&keys::pack_at_end(&key).unwrap());
        }
        let chain = query::chain(&self.view).unwrap();
        assert_eq!(chain.capacity.0, capacity);
        assert_eq!(
            chain.deadlines.iter().map(|load| load.0).sum::<u64>(),
            capacity
        );
    }

    /// The set knows how many of its deals are not over, and has no budget after the last; each deal is
    /// listed at the provider that it names, and at no other.
    fn check_deal_set(&self, pack: &PackId) {
        let record = query::deal_set_record(&self.view, pack).unwrap().unwrap();
        let set = query::deal_set(&self.view, pack).unwrap().unwrap();
        let living = |deal: &&Deal| deal.status.is_living();
        let count = set.deals.iter().filter(living).count();
        assert_eq!(usize::from(record.live), count);
        assert!(count > 0 || record.repair_budget == Amount::ZERO);
        for (index, deal) in (0..).zip(&set.deals) {
            let listed = keys::provider_deal(deal.provider, &deal_id(*pack, index));
            assert!(self.view.get(&listed).unwrap().is_some(), "{deal:?}");
            assert!(deal.repair.is_none() || living(&deal) && deal.settled() < deal.term);
        }
    }

    /// Changes state by hand, as a proof would.
    pub fn by_hand<T>(
        &mut self,
        change: impl FnOnce(&mut Context<'_, MemoryView>) -> Result<T, Stop>,
    ) -> T {
        let ledger = Ledger::open(&self.view).unwrap();
        let mut context = Context {
            rules: &self.rules,
            parameters: self.rules.parameters_at(&self.view).unwrap(),
            height: ledger.chain.height,
            builder: address(self.builder),
            ledger,
            proofs: ProofTally::default(),
            closed: 0,
            taken: Proofs::Verified,
            elects: false,
        };
        let value = change(&mut context).unwrap();
        let writes = context.ledger.finish().unwrap();
        self.view.apply(&writes);
        self.check();
        value
    }

    // Objects

    pub fn account(&self, who: usize) -> Account {
        query::account(&self.view, &address(who)).unwrap()
    }

    pub fn provider(&self) -> Provider {
        query::provider(&self.view, ProviderId(0)).unwrap().unwrap()
    }

    pub fn sector(&self, number: u64) -> Sector {
        query::sector(&self.view, sector_id(number))
            .unwrap()
            .unwrap()
    }

    pub fn deal(&self, id: &DealId) -> Deal {
        query::deal(&self.view, id).unwrap().unwrap()
    }

    // Bodies and steps

    pub fn register(&mut self) {
        self.done(
            0,
            Body::RegisterProvider {
                worker: address(0),
                offer: offer(),
                collateral: Amount::hold(100),
            },
        );
    }

    pub fn pre_commit(&self, number: u64) -> Body {
        Body::PreCommitSector(PreCommit {
            sector: sector_id(number),
            class: CLASS,
            ticket: self.height(),
            columns: std::array::from_fn(|lane| node(&format!("columns {number} {lane}"))),
            keys: key_groups(number).map(|lane| root_of(&lane)),
        })
    }

    /// As a seal proof does.
    pub fn activate(&mut self, number: u64) {
        self.activate_sector(sector_id(number));
    }

    fn activate_sector(&mut self, id: SectorId) {
        let mut sector = query::sector(&self.view, id).unwrap().unwrap();
        let SectorStatus::PreCommitted { at, .. } = sector.status else {
            panic!("not pre-committed");
        };
        self.by_hand(|context| {
            let due = schedule::seal_due(&context.rules.parameters, at);
            context.unschedule(Due::Seal(sector.id), due);
            context.activate(&mut sector)
        });
    }

    /// Account `who` joins with a provider, and a sector 0 of it that is proven.
    pub fn join(&mut self, who: usize) -> ProviderId {
        let provider = query::chain(&self.view).unwrap().next_provider;
        let register = Body::RegisterProvider {
            worker: address(who),
            offer: offer(),
            collateral: Amount::hold(100),
        };
        self.done(who, register);
        let Body::PreCommitSector(mut commit) = self.pre_commit(0) else {
            panic!("a pre-commit");
        };
        commit.sector.provider = provider;
        let id = commit.sector;
        self.done(who, Body::PreCommitSector(commit));
        self.activate_sector(id);
        provider
    }

    /// As the steps of an embed do, for one deal in a group of its own.
    pub fn embed_by_hand(&mut self, id: SectorId, at: u8, deal: DealId) {
        let sector = query::sector(&self.view, id).unwrap().unwrap();
        let layout = self.layout(group(at), &[deal]);
        let height = self.height();
        self.by_hand(|context| {
            let mut placed = context.ledger.deal(&deal)?;
            placed.sector = Some(id.number);
            context.ledger.put_deal(&deal, &placed)?;
            let replica = EmbedReplica {
                committed: height,
                roots: Vec::new(),
                lanes: sector.replica_lanes,
            };
            let embed = Embed {
                committed: height,
                groups: vec![EmbedGroup {
                    layout,
                    key_root: node("key"),
                    data_root: node("data"),
                }],
                replica: Some(replica.clone()),
                deposit: Amount::ZERO,
            };
            context.land_embed(sector, &embed, &replica)
        });
    }

    /// Goes on to a height; every sector is proven meanwhile.
    pub fn prove_until(&mut self, height: Height) {
        while self.height() < height {
            for provider in query::providers(&self.view, None, usize::MAX).unwrap() {
                for mut sector in query::sectors_of(&self.view, provider.id).unwrap() {
                    let active = matches!(sector.status, SectorStatus::Active { .. });
                    if active && sector.proven != Some(sector.next) {
                        sector.proven = Some(sector.next);
                        self.by_hand(|context| context.ledger.put_sector(&sector));
                    }
                }
            }
            self.advance(1);
        }
    }

    /// As a spacetime proof does.
    pub fn prove(&mut self, number: u64) {
        let mut sector = self.sector(number);
        self.by_hand(|context| {
            sector.proven = Some(sector.next);
            sector.status = SectorStatus::Active { from: sector.next };
            context.ledger.put_sector(&sector)
        });
    }

    /// Goes on until the sector's next deadline has closed.
    pub fn close(&mut self, number: u64) {
        let sector = self.sector(number);
        let window = schedule::window(&self.rules.parameters, sector.next, sector.deadline);
        self.advance_to(window.close);
    }

    pub fn prove_and_close(&mut self, number: u64) {
        self.prove(number);
        self.close(number);
    }

    /// A pack of two shards of 20,000 bytes, k = 1, both with provider 0, by account 1.
    pub fn proposal(&self, nonce: u64) -> DealSetProposal {
        let terms = ShardTerms {
            provider: ProviderId(0),
            tier: Tier::Hot,
            price: Amount::hold(1),
            term: Periods(3),
            fund_by: Height(self.height().0 + 20),
        };
        DealSetProposal {
            pack: PackHeader {
                owner: address(1),
                nonce,
                k: 1,
                n: 2,
                length: ByteCount(20_000),
                shard_roots: (0..2)
                    .map(|i| ShardRoot(*blake3::hash(&shard_bytes(i)).as_bytes()))
                    .collect(),
                shard_length: ByteCount(20_000),
            },
            terms: vec![terms.clone(), terms],
            repair_threshold: 1,
            repair_budget: Amount(1_000),
        }
    }

    pub fn propose(&mut self, nonce: u64) -> PackId {
        let proposal = self.proposal(nonce);
        let id = proposal.pack.id().unwrap();
        self.done(1, Body::ProposeDealSet(proposal));
        id
    }

    pub fn piece_roots(&self, index: u8) -> Vec<Node> {
        let bytes = shard_bytes(index);
        let levels = self.rules.parameters.piece_levels;
        PieceRoots::compute(bytes.as_slice(), bytes.len() as u64, levels)
            .unwrap()
            .0
    }

    pub fn accept(&self, id: DealId) -> Body {
        self.accept_by(ProviderId(0), id)
    }

    pub fn accept_by(&self, provider: ProviderId, id: DealId) -> Body {
        Body::AcceptDeals {
            provider,
            deals: vec![Acceptance {
                shard: id,
                piece_roots: self.piece_roots(id.shard.0),
            }],
        }
    }

    pub fn accepted(&mut self, nonce: u64) -> PackId {
        let pack = self.propose(nonce);
        for index in 0..2 {
            self.done(0, self.accept(deal_id(pack, index)));
        }
        pack
    }

    /// A group that holds the whole pieces of these deals, one after the other.
    pub fn layout(&self, at: Group, deals: &[DealId]) -> GroupLayout {
        let shape = PieceShape::of(20_000, self.rules.parameters.piece_levels).unwrap();
        let mut unit = 0;
        let mut subtrees = Vec::new();
        for deal in deals {
            for (subtree, levels) in (0..).zip(shape.subtrees()) {
                subtrees.push(PlacedSubtree {
                    deal: *deal,
                    subtree,
                    levels: *levels,
                    unit,
                });
                unit += 8u32.pow(levels - 3);
            }
        }
        GroupLayout {
            group: at,
            subtrees,
        }
    }

    pub fn commit_embed(&self, layouts: Vec<GroupLayout>) -> Body {
        let mut lanes: Vec<u8> = layouts.iter().map(|l| l.group.lane().index()).collect();
        lanes.dedup();
        Body::CommitEmbed(EmbedCommit {
            sector: sector_id(0),
            groups: layouts,
            keys: roots_of(&key_groups(0), &lanes),
        })
    }

    /// The replica of group `at` over the sector's keys becomes a made-up root.
    pub fn commit_replica(&self, at: u8) -> Body {
        Body::CommitReplica(ReplicaCommit {
            sector: sector_id(0),
            before: roots_of(&key_groups(0), &[at / 8]),
            after: vec![crate::message::GroupRoot {
                group: group(at),
                root: node("replica"),
            }],
        })
    }

    /// As an embed proof does.
    pub fn land_embed(&mut self) {
        let mut sector = self.sector(0);
        let embed = sector.embed.take().unwrap();
        let replica = embed.replica.clone().unwrap();
        self.by_hand(|context| {
            let due = schedule::embed_due(&context.rules.parameters, &embed);
            context.unschedule(Due::Embed(sector.id), due);
            context.land_embed(sector, &embed, &replica)
        });
    }

    /// A pack whose two pieces lie proven in group 5 of sector 0.
    pub fn embedded() -> (Self, PackId) {
        let mut world = Self::with_sector();
        let pack = world.accepted(1);
        let layout = world.layout(group(5), &[deal_id(pack, 0), deal_id(pack, 1)]);
        world.done(0, world.commit_embed(vec![layout]));
        world.advance(2);
        world.done(0, world.commit_replica(5));
        world.advance(2);
        world.land_embed();
        (world, pack)
    }

    pub fn receipt(&self, proposal: &DealSetProposal, index: u8) -> SignedReceipt {
        let terms = &proposal.terms[index as usize];
        let receipt = Receipt {
            pack: proposal.pack.id().unwrap(),
            shard: ShardIndex(index),
            root: proposal.pack.shard_roots[index as usize],
            length: proposal.pack.shard_length,
            provider: terms.provider,
            tier: terms.tier,
            price: terms.price,
            term: terms.term,
            fund_by: terms.fund_by,
        };
        self.signed_receipt(receipt, 0)
    }

    pub fn signed_receipt(&self, receipt: Receipt, by: usize) -> SignedReceipt {
        let signature = crate::message::SigningContext::Receipt
            .sign(self.rules.network, &key(by), &receipt)
            .unwrap();
        SignedReceipt { receipt, signature }
    }
}

/// What a block's messages are known by, none of them from before.
pub fn known(messages: &[SignedMessage]) -> Vec<Known> {
    let encoded = crate::block::encoded(messages).unwrap();
    let unknown = crate::admit::Signed::default();
    encoded.iter().map(|one| Known::of(one, &unknown)).collect()
}

pub fn deal_id(pack: PackId, index: u8) -> DealId {
    DealId {
        pack,
        shard: ShardIndex(index),
    }
}

#[test]
fn a_genesis_whose_validator_proves_nothing_is_refused() {
    let world = World::new();
    let spoiled = |spoil: fn(&mut Genesis)| {
        let mut genesis = world.genesis.clone();
        spoil(&mut genesis);
        genesis_writes(&genesis)
    };
    assert!(spoiled(|_| ()).is_ok());
    assert!(spoiled(|g| g.validators.clear()).is_err());
    assert!(spoiled(|g| g.validators[0].possession = BeaconSignature([0; 96])).is_err());
    assert!(spoiled(|g| g.validators[0].beacon = BeaconKey([0; 48])).is_err());
    assert!(spoiled(|g| g.validators[0].power = 0).is_err());
    assert!(spoiled(|g| g.validators.push(g.validators[0].clone())).is_err());
    assert!(spoiled(|g| g.balances[0].amount = Amount(u128::MAX)).is_err());
    assert!(spoiled(|g| g.balances.push(g.balances[0].clone())).is_err());
    assert_eq!(
        query::beacon(&world.view, Height(0)).unwrap(),
        Some(beacon::at_genesis(world.rules.network))
    );
}
