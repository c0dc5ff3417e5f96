//! A small network in random hands: several owners, providers and clients, who mostly do what their
//! part is and sometimes anything else. What a proof would show is taken as shown: a message whose
//! proofs are all that the rules would still look at does what it does with proofs that hold.

use super::super::due::Due;
use super::super::{Context, ProofTally, Proofs};
use super::world::{
    ACCOUNTS, CLASS, World, address, group, key, known, node, offer, roots_of, shard_bytes,
};
use crate::block::OutcomeResult;
use crate::channel::{Channel, SignedVoucher, Voucher};
use crate::ledger::Ledger;
use crate::message::{
    Acceptance, Body, DealSetProposal, EmbedCommit, GroupLayout, GroupRoot, Message, PackHeader,
    PieceOpening, PlacedSubtree, PreCommit, ProviderOffer, ReplicaCommit, ShardTerms,
    SignedMessage, SpacetimeProof,
};
use crate::parameters::Parameters;
use crate::query;
use crate::receipt::{Receipt, Tier};
use crate::schedule;
use crate::slice;
use crate::state::{Deal, DealStatus, Provider, Sector, SectorStatus};
use crate::units::{
    Address, Amount, Blocks, ByteCount, DealId, Height, Periods, ProviderId, SectorId,
    SectorNumber, ShardRoot,
};
use crate::view::MemoryView;
use holdfast_proofs::node::Node;
use holdfast_proofs::piece::{PieceRoots, PieceShape, QuadOpening};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::sector::SectorClass;
use holdfast_proofs::tree::root_of;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Parameters under which everything comes round soon, and the pool is smaller than what is proven
/// could take from it.
pub fn brisk() -> Parameters {
    let mut parameters = Parameters::dev();
    parameters.period = Blocks(12);
    parameters.ticket_age = Blocks(10);
    parameters.seal_due = Blocks(8);
    parameters.promise = Blocks(24);
    parameters.replica_due = Blocks(5);
    parameters.embed_due = Blocks(5);
    parameters.opening_due = Blocks(10);
    parameters.dispute_window = Blocks(5);
    parameters.economy.minimum_collateral = Amount::hold(2);
    parameters.economy.reward_per_period = Amount::hold(1);
    parameters.economy.reward_halving = Periods(7);
    parameters.economy.vesting = Periods(2);
    parameters.check().unwrap();
    parameters
}

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Transfer,
    Publish,
    Register,
    Update,
    AddCollateral,
    Withdraw,
    Retire,
    PreCommit,
    Terminate,
    EndSector,
    Propose,
    Cancel,
    Accept,
    Renew,
    DeclareFault,
    Recover,
    Claim,
    TopUp,
    Repair,
    Demand,
    Answer,
    Fraud,
    OpenChannel,
    CloseChannel,
    Redeem,
    CommitEmbed,
}

/// Often what leads far, seldom what ends much.
const KINDS: [(u32, Kind); 26] = [
    (1, Kind::Transfer),
    (1, Kind::Publish),
    (1, Kind::Register),
    (2, Kind::Update),
    (2, Kind::AddCollateral),
    (3, Kind::Withdraw),
    (1, Kind::Retire),
    (5, Kind::PreCommit),
    (1, Kind::Terminate),
    (2, Kind::EndSector),
    (9, Kind::Propose),
    (3, Kind::Cancel),
    (3, Kind::Accept),
    (4, Kind::Renew),
    (2, Kind::DeclareFault),
    (4, Kind::Recover),
    (6, Kind::Claim),
    (2, Kind::TopUp),
    (8, Kind::Repair),
    (5, Kind::Demand),
    (3, Kind::Answer),
    (3, Kind::Fraud),
    (3, Kind::OpenChannel),
    (2, Kind::CloseChannel),
    (4, Kind::Redeem),
    (2, Kind::CommitEmbed),
];

/// One thing that somebody does, and three numbers that shape it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Of this account where there is one, otherwise of whoever should.
    pub who: usize,
    pub kind: Kind,
    pub a: u64,
    pub b: u64,
    pub amount: Amount,
}

/// What happens in some blocks in a row: events in the first, and which chores are left undone.
#[derive(Clone, Debug)]
pub struct Step {
    pub events: Vec<Event>,
    pub idle: u32,
    pub blocks: u64,
}

pub fn kind() -> impl Strategy<Value = Kind> {
    let kinds = KINDS
        .iter()
        .map(|(weight, kind)| (*weight, Just(*kind)))
        .collect();
    proptest::strategy::Union::new_weighted(kinds)
}

pub fn event() -> impl Strategy<Value = Event> {
    let number = || prop_oneof![8 => 0u64..8, 3 => 0u64..200, 1 => any::<u64>()];
    let amount = prop_oneof![
        6 => (1u128..3_000).prop_map(|part| part * 10_000_000),
        2 => 1u128..10_000,
        1 => any::<u128>(),
        1 => Just(0u128),
    ];
    (0..ACCOUNTS * 5, kind(), number(), number(), amount).prop_map(|(who, kind, a, b, amount)| {
        Event {
            who,
            kind,
            a,
            b,
            amount: Amount(amount),
        }
    })
}

pub fn steps(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    // Most chores are done: a bit is set where three of three are.
    let idle = (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(a, b, c)| a & b & c);
    let step = (proptest::collection::vec(event(), 0..4), idle, 1u64..7).prop_map(
        |(events, idle, blocks)| Step {
            events,
            idle,
            blocks,
        },
    );
    proptest::collection::vec(step, count)
}

/// The bytes of a shard; where its provider lies, those that its piece is of.
pub fn bytes(shard: u8, length: u64, lie: bool) -> Vec<u8> {
    let mut bytes = shard_bytes(shard);
    bytes.truncate(length as usize);
    if lie {
        bytes[0] ^= 1;
    }
    bytes
}

/// A quad under the shard's root, and under the roots of the piece.
pub fn opening(shard: u8, length: u64, lie: bool, quad: u64, levels: u32) -> Option<PieceOpening> {
    if quad >= length.div_ceil(127) {
        return None;
    }
    let shape = PieceShape::of(length, levels).unwrap();
    let range = quad * 127..(quad * 127 + 127).min(length);
    let piece = bytes(shard, length, lie);
    Some(PieceOpening {
        quad,
        slice: slice::encode(&bytes(shard, length, false), &range).unwrap(),
        opening: QuadOpening::read(piece.as_slice(), &shape, quad).unwrap(),
    })
}

pub fn piece_roots(shard: u8, length: u64, lie: bool, levels: u32) -> Vec<Node> {
    let bytes = bytes(shard, length, lie);
    PieceRoots::compute(bytes.as_slice(), length, levels)
        .unwrap()
        .0
}

fn keys_of(id: SectorId) -> [[Node; 8]; 8] {
    std::array::from_fn(|lane| {
        std::array::from_fn(|group| node(&format!("key {id} {lane} {group}")))
    })
}

pub struct Play {
    pub world: World,
    pub proposals: Vec<DealSetProposal>,
    /// What prices and deposits are counted in.
    unit: u128,
    /// The replica's group roots, as whoever proves them knows them.
    replicas: BTreeMap<SectorId, [[Node; 8]; 8]>,
}

impl Play {
    /// Everybody begins with a thousand units.
    pub fn new(parameters: Parameters, unit: Amount) -> Self {
        let unit = unit.0;
        Self {
            world: World::endowed(parameters, &[(99, 1)], Amount(unit * 1_000)),
            proposals: Vec::new(),
            unit,
            replicas: BTreeMap::new(),
        }
    }

    /// Three providers: account 0 owns and runs the first, account 1 owns the second and account 2
    /// runs it, account 3 owns and runs the third.
    pub fn beginning(&self) -> Vec<(usize, Body)> {
        let register = |worker| Body::RegisterProvider {
            worker: address(worker),
            offer: self.offer(1, 1),
            collateral: Amount(self.unit * 50),
        };
        vec![(0, register(0)), (1, register(2)), (3, register(3))]
    }

    /// An offer at so many parts of a unit.
    fn offer(&self, parts: u64, of: u64) -> ProviderOffer {
        ProviderOffer {
            price: Amount(self.unit * u128::from(parts) / u128::from(of)),
            ..offer()
        }
    }

    pub fn parameters(&self) -> &Parameters {
        &self.world.rules.parameters
    }

    fn levels(&self) -> u32 {
        self.parameters().piece_levels
    }

    /// The next block's height.
    fn next(&self) -> Height {
        Height(self.world.height().0 + 1)
    }

    pub fn providers(&self) -> Vec<Provider> {
        query::providers(&self.world.view, None, usize::MAX).unwrap()
    }

    pub fn sectors(&self) -> Vec<Sector> {
        self.providers()
            .iter()
            .flat_map(|provider| query::sectors_of(&self.world.view, provider.id).unwrap())
            .collect()
    }

    pub fn deals(&self) -> Vec<(DealId, Deal)> {
        self.providers()
            .iter()
            .flat_map(|provider| query::deals_of(&self.world.view, provider.id).unwrap())
            .collect()
    }

    fn channels(&self) -> Vec<Channel> {
        let of = |provider| query::channels_to(&self.world.view, provider, None, usize::MAX);
        let providers = self.providers();
        let channels = providers
            .iter()
            .flat_map(|provider| of(provider.id).unwrap());
        channels.collect()
    }

    fn deal(&self, id: &DealId) -> Option<Deal> {
        query::deal(&self.world.view, id).unwrap()
    }

    /// Signs what can be paid for, in order.
    pub fn sign(&self, bodies: Vec<(usize, Body)>) -> Vec<SignedMessage> {
        let mut accounts: Vec<_> = (0..ACCOUNTS).map(|i| self.world.account(i)).collect();
        let mut messages = Vec::new();
        for (who, body) in bodies {
            let signed = self.world.sign(who, accounts[who].nonce, body);
            if let Some(rest) = accounts[who].balance.checked_sub(signed.message.fee) {
                accounts[who].balance = rest;
                accounts[who].nonce += 1;
                messages.push(signed);
            }
        }
        messages
    }

    /// One block with these messages; whether each was done.
    pub fn block(&mut self, messages: &[SignedMessage]) -> Vec<OutcomeResult> {
        let header = self.world.header();
        let mut landed = Vec::new();
        let ledger = Ledger::open(&self.world.view).unwrap();
        let mut context = Context {
            rules: &self.world.rules,
            parameters: self.world.rules.parameters_at(&ledger).unwrap(),
            height: header.height,
            builder: header.builder,
            ledger,
            proofs: ProofTally::default(),
            closed: 0,
            taken: Proofs::Verified,
            elects: false,
        };
        context.begin(&header).unwrap();
        context.charge_all(messages, &known(messages)).unwrap();
        let mut results = Vec::new();
        for signed in messages {
            let mut result = context.message(&signed.message).unwrap();
            if matches!(&result, OutcomeResult::Refused(why) if why.contains("no verifying key")) {
                landed.extend(as_proven(&mut context, &signed.message));
                result = OutcomeResult::Done;
            }
            results.push(result);
        }
        context.ledger.mark();
        context.end_block().unwrap();
        assert!(context.ledger.supply().balances_out());
        let writes = context.ledger.finish().unwrap();
        self.world.view.apply(&writes);
        for (id, roots) in landed {
            let groups = self.replicas.get_mut(&id).unwrap();
            for (group, root) in roots {
                groups[usize::from(group / 8)][usize::from(group % 8)] = root;
            }
        }
        for signed in messages {
            if let Body::PreCommitSector(commit) = &signed.message.body {
                self.replicas
                    .entry(commit.sector)
                    .or_insert_with(|| keys_of(commit.sector));
            }
        }
        results
    }

    /// What everybody's software does in the next block by itself: proofs, acceptances, answers. A
    /// set bit leaves one undone.
    pub fn chores(&self, idle: u32) -> Vec<(usize, Body)> {
        let mut chores = Vec::new();
        for provider in self.providers() {
            let Some(worker) = account_of(&provider.worker) else {
                continue;
            };
            self.storage_chores(&provider, &mut |body| chores.push((worker, body)));
        }
        let done = |index: usize| idle.rotate_right((index as u32 * 5) % 32) & 1 == 0;
        let mut index = 0;
        chores.retain(|_| {
            index += 1;
            done(index)
        });
        chores
    }

    fn storage_chores(&self, provider: &Provider, chore: &mut impl FnMut(Body)) {
        let (next, parameters) = (self.next(), self.parameters());
        let deals = query::deals_of(&self.world.view, provider.id).unwrap();
        let mut new = Vec::new();
        for (id, deal) in &deals {
            match deal.status {
                DealStatus::Proposed => chore(self.accept(id, deal, false)),
                DealStatus::Accepted if deal.sector.is_none() => new.push(*id),
                _ => {}
            }
            // It takes its time, so that demands come to wait.
            if let Some(demand) = &deal.demand
                && demand.due.before(Blocks(parameters.opening_due.0 / 2)) < next
            {
                chore(self.answer(id, deal, demand.quad));
            }
        }
        for sector in query::sectors_of(&self.world.view, provider.id).unwrap() {
            let id = sector.id;
            let held = match sector.status {
                SectorStatus::PreCommitted { at, .. } => {
                    if next > schedule::seal_challenge_height(parameters, at) {
                        chore(Body::ProveSeal {
                            sector: id,
                            proofs: vec![ProofBytes([1; 192])],
                        });
                    }
                    continue;
                }
                SectorStatus::Terminated { .. } => continue,
                SectorStatus::Active { .. } | SectorStatus::Faulty { recovering: true } => true,
                SectorStatus::Faulty { recovering: false } => false,
            };
            let window = schedule::window(parameters, sector.next, sector.deadline);
            if !held && next <= schedule::last_choice(parameters, window) {
                chore(Body::Recover {
                    provider: id.provider,
                    sectors: vec![id.number],
                });
            }
            if held
                && sector.proven != Some(sector.next)
                && next > window.open
                && window.contains(next)
            {
                chore(self.prove(&sector));
            }
            match &sector.embed {
                None if held => {
                    if let Some(body) = self.commit_embed(&sector, &new) {
                        new.clear();
                        chore(body);
                    }
                }
                None => {}
                Some(embed) => match &embed.replica {
                    None if next > schedule::rho_height(parameters, embed) => {
                        let groups = embed.groups.iter().map(|group| group.layout.group);
                        chore(self.commit_replica(id, groups.map(|group| group.index())));
                    }
                    Some(replica)
                        if next > schedule::embed_challenge_height(parameters, replica) =>
                    {
                        chore(Body::ProveEmbed {
                            sector: id,
                            proofs: vec![ProofBytes([1; 192]); 2],
                        });
                    }
                    _ => {}
                },
            }
        }
    }

    fn prove(&self, sector: &Sector) -> Body {
        Body::ProveSpacetime {
            provider: sector.id.provider,
            period: sector.next,
            deadline: sector.deadline,
            proofs: vec![SpacetimeProof {
                sector: sector.id.number,
                proof: ProofBytes([1; 192]),
            }],
        }
    }

    fn accept(&self, id: &DealId, deal: &Deal, lie: bool) -> Body {
        Body::AcceptDeals {
            provider: deal.provider,
            deals: vec![Acceptance {
                shard: *id,
                piece_roots: piece_roots(id.shard.0, deal.length.0, lie, self.levels()),
            }],
        }
    }

    /// Whether the piece that a deal was accepted with is of other bytes than its shard.
    pub fn lies(&self, id: &DealId, deal: &Deal) -> bool {
        !deal.piece_roots.is_empty()
            && deal.piece_roots != piece_roots(id.shard.0, deal.length.0, false, self.levels())
    }

    fn answer(&self, id: &DealId, deal: &Deal, quad: u64) -> Body {
        let lie = self.lies(id, deal);
        let opening = opening(id.shard.0, deal.length.0, lie, quad, self.levels());
        Body::AnswerOpening {
            deal: *id,
            opening: opening.unwrap(),
        }
    }

    /// Puts new deals into the first group that has room beside what lives there and is of its tier.
    fn commit_embed(&self, sector: &Sector, new: &[DealId]) -> Option<Body> {
        let first = self.deal(new.first()?)?;
        let units = |deal: &Deal| {
            PieceShape::of(deal.length.0, self.levels())
                .unwrap()
                .units()
        };
        for index in 0..64u8 {
            let there = sector
                .groups
                .iter()
                .find(|layout| layout.group.index() == index);
            let mut deals: Vec<DealId> = Vec::new();
            let (mut used, mut fits) = (0, true);
            for placed in there.iter().flat_map(|layout| &layout.subtrees) {
                let deal = self.deal(&placed.deal).unwrap();
                if deal.status.is_held() && !deals.contains(&placed.deal) {
                    deals.push(placed.deal);
                    used += units(&deal);
                    fits &= deal.tier == first.tier;
                }
            }
            let before = deals.len();
            for id in new {
                let deal = self.deal(id)?;
                if fits && deal.tier == first.tier && used + units(&deal) <= 8 {
                    used += units(&deal);
                    deals.push(*id);
                }
            }
            if deals.len() > before {
                return Some(self.embed_of(sector.id, vec![(index, deals)]));
            }
        }
        None
    }

    fn embed_of(&self, sector: SectorId, groups: Vec<(u8, Vec<DealId>)>) -> Body {
        let mut layouts = Vec::new();
        for (index, deals) in groups {
            let mut unit = 0;
            let mut subtrees = Vec::new();
            for id in deals {
                let Some(deal) = self.deal(&id) else { continue };
                let shape = PieceShape::of(deal.length.0, self.levels()).unwrap();
                for (subtree, levels) in (0..).zip(shape.subtrees()) {
                    subtrees.push(PlacedSubtree {
                        deal: id,
                        subtree,
                        levels: *levels,
                        unit,
                    });
                    unit += 8u32.pow(levels - 3);
                }
            }
            layouts.push(GroupLayout {
                group: group(index),
                subtrees,
            });
        }
        let mut lanes: Vec<u8> = layouts.iter().map(|l| l.group.lane().index()).collect();
        lanes.dedup();
        Body::CommitEmbed(EmbedCommit {
            sector,
            groups: layouts,
            keys: roots_of(&keys_of(sector), &lanes),
        })
    }

    fn commit_replica(&self, sector: SectorId, groups: impl Iterator<Item = u8>) -> Body {
        let groups: Vec<u8> = groups.collect();
        let mut lanes: Vec<u8> = groups.iter().map(|group| group / 8).collect();
        lanes.dedup();
        let height = self.next();
        Body::CommitReplica(ReplicaCommit {
            sector,
            before: roots_of(&self.replicas[&sector], &lanes),
            after: groups
                .iter()
                .map(|index| GroupRoot {
                    group: group(*index),
                    root: node(&format!("replica {sector} {index} {height}")),
                })
                .collect(),
        })
    }

    /// What an event asks, and of whom, where it makes sense at all.
    pub fn act(&mut self, event: &Event) -> Option<(usize, Body)> {
        let Event { a, b, kind, .. } = *event;
        let amount = self.amount(event);
        let providers = self.providers();
        let provider = match providers.len() {
            0 => None,
            count => providers.get(a as usize % (count + (a > 190) as usize)),
        };
        // Mostly what still stands, seldom what is over.
        let mut sectors = self.sectors();
        let gone = |sector: &Sector| matches!(sector.status, SectorStatus::Terminated { .. });
        if a % 8 != 7 && !sectors.iter().all(gone) {
            sectors.retain(|sector| !gone(sector));
        }
        let sector = pick(&sectors, a);
        let deals = self.deals();
        let held: Vec<_> = deals
            .iter()
            .filter(|(_, deal)| deal.status.is_held())
            .cloned()
            .collect();
        let deal = pick(&held, a).filter(|_| b % 8 != 7).or(pick(&deals, a));
        let recent = self.proposals.len().saturating_sub(4);
        let pack = pick(&self.proposals[recent..], a);
        let owner = provider.and_then(|provider| account_of(&provider.owner));
        let worker = provider.and_then(|provider| account_of(&provider.worker));
        let id = provider.map_or(ProviderId(a), |provider| provider.id);
        let client = b as usize % ACCOUNTS;
        let of_sector = sector.and_then(|sector| {
            let holder = providers.iter().find(|p| p.id == sector.id.provider)?;
            account_of(&holder.worker)
        });
        let of_deal = deal.and_then(|(_, deal)| {
            let holder = providers.iter().find(|p| p.id == deal.provider)?;
            account_of(&holder.worker)
        });
        let (right, body) = match kind {
            Kind::Transfer => (
                Some(a as usize % ACCOUNTS),
                Body::Transfer {
                    to: address(client),
                    amount,
                },
            ),
            Kind::Publish => (
                Some(client),
                Body::PublishName {
                    label: if a % 2 == 0 { "a" } else { "b" }.into(),
                    version: b,
                    root: vec![1, 0x55, 0, 0],
                    lease: None,
                },
            ),
            Kind::Register => {
                if providers.len() >= 4 {
                    return None;
                }
                let offer = self.offer(1, 1 + b % 3);
                let body = Body::RegisterProvider {
                    worker: address(a as usize % ACCOUNTS),
                    offer,
                    collateral: Amount(amount.0.saturating_add(self.unit * 20)),
                };
                (Some(client), body)
            }
            Kind::Update => {
                let offer = self.offer(b % 4, 1);
                let worker = if b % 3 == 0 {
                    address(client)
                } else {
                    provider?.worker
                };
                let body = Body::UpdateProvider {
                    provider: id,
                    worker,
                    offer,
                };
                (owner, body)
            }
            Kind::AddCollateral => (
                owner,
                Body::AddCollateral {
                    provider: id,
                    amount,
                },
            ),
            Kind::Withdraw => {
                let body = Body::WithdrawCollateral {
                    provider: id,
                    amount: self.withdrawn(provider?, amount, b),
                };
                (owner, body)
            }
            Kind::Retire if b % 3 == 0 => (owner, Body::Retire { provider: id }),
            Kind::Retire => return None,
            Kind::PreCommit => {
                let number = if b % 5 == 0 {
                    b
                } else {
                    provider?.next_sector.0
                };
                (worker, self.pre_commit(id, number, b))
            }
            Kind::Terminate => {
                let sector = sector?.id;
                (of_sector, Body::TerminateSector { sector })
            }
            Kind::EndSector => {
                let sector = sector?.id;
                (of_sector, Body::EndSector { sector })
            }
            Kind::Propose => {
                let proposal = self.proposal(client, event, &providers);
                self.proposals.push(proposal.clone());
                (Some(client), Body::ProposeDealSet(proposal))
            }
            Kind::Cancel => {
                let pack = &pack?.pack;
                let body = Body::CancelDealSet {
                    pack: pack.id().unwrap(),
                };
                (account_of(&pack.owner), body)
            }
            Kind::Accept => {
                let (id, deal) = deal?;
                (of_deal, self.accept(id, deal, b % 2 == 0))
            }
            Kind::Renew => {
                let pack = &pack?.pack;
                let body = Body::RenewDealSet {
                    pack: pack.id().unwrap(),
                    periods: Periods(b % 6),
                    least: (amount.0 % 3) as u8,
                };
                (account_of(&pack.owner), body)
            }
            Kind::DeclareFault | Kind::Recover => {
                let sector = sector?.id;
                let mut sectors = vec![sector.number];
                if b % 5 == 0 {
                    sectors.push(SectorNumber(sector.number.0 + 1));
                }
                let provider = sector.provider;
                let body = match kind {
                    Kind::Recover => Body::Recover { provider, sectors },
                    _ => Body::DeclareFault { provider, sectors },
                };
                (of_sector, body)
            }
            Kind::Claim => self.claim(&deals, a, b)?,
            Kind::TopUp => {
                let body = Body::TopUpRepair {
                    pack: pack?.pack.id().unwrap(),
                    amount: Amount(amount.0 / 4),
                };
                (Some(client), body)
            }
            Kind::Repair => {
                let lost = deals.iter().filter(|(_, deal)| deal.status.is_lost());
                let lost: Vec<_> = lost.collect();
                let (deal, found) = pick(&lost, b).copied().or(deal)?;
                // Mostly one that may: who had it last may not, nor who has another of the pack.
                let may = |one: &&Provider| {
                    let mut others = deals.iter().filter(|(other, _)| other.pack == deal.pack);
                    let holds = |deal: &Deal| deal.status.is_living() && deal.provider == one.id;
                    one.id != found.provider && !others.any(|(_, other)| holds(other))
                };
                let chosen = providers
                    .iter()
                    .find(may)
                    .filter(|_| a % 8 != 7)
                    .or(provider)?;
                let body = Body::ClaimRepair {
                    deal: *deal,
                    provider: chosen.id,
                };
                (account_of(&chosen.worker), body)
            }
            Kind::Demand => {
                // Where one waits already, others come to wait behind it.
                let asked = held.iter().find(|(_, deal)| deal.demand.is_some());
                let (deal, found) = asked.filter(|_| a % 2 == 0).or(deal)?;
                let quads = found.length.0.div_ceil(127);
                let quad = if b < 100 { b % quads } else { b };
                (Some(client), Body::DemandOpening { deal: *deal, quad })
            }
            Kind::Answer | Kind::Fraud => {
                let (deal, found) = deal?;
                let quad = match &found.demand {
                    Some(demand) if b % 4 != 0 => demand.quad,
                    _ => b % found.length.0.div_ceil(127),
                };
                let lie = self.lies(deal, found) ^ (b % 7 == 6);
                let opening = opening(deal.shard.0, found.length.0, lie, quad, self.levels())?;
                let deal = *deal;
                match kind {
                    Kind::Fraud => (Some(client), Body::SubmitFraud { deal, opening }),
                    _ => (of_deal, Body::AnswerOpening { deal, opening }),
                }
            }
            Kind::OpenChannel => {
                let body = Body::OpenChannel {
                    provider: id,
                    deposit: amount,
                };
                (Some(client), body)
            }
            Kind::CloseChannel => {
                let payer = pick(&self.channels(), b).map(|channel| channel.id);
                let payer = payer.filter(|channel| channel.provider == id);
                let payer = payer.map_or(Some(client), |channel| account_of(&channel.payer));
                (payer, Body::CloseChannel { provider: id })
            }
            Kind::Redeem => {
                let channels = self.channels();
                let channel = pick(&channels, b)?;
                let holder = channel.id.provider.0 as usize;
                let worker = account_of(&providers.get(holder)?.worker);
                let most = channel.deposit.0;
                let amount = if b % 4 == 0 {
                    amount.0
                } else {
                    amount.0 % (most + 1)
                };
                let voucher = Voucher {
                    channel: channel.id,
                    amount: Amount(amount),
                };
                let payer = account_of(&channel.id.payer)?;
                let signer = if b % 9 == 8 { client } else { payer };
                let network = self.world.rules.network;
                let voucher = SignedVoucher::new(network, &key(signer), voucher).unwrap();
                (worker, Body::RedeemVoucher { voucher })
            }
            Kind::CommitEmbed => {
                let sector = sector?.id;
                let mut chosen: Vec<DealId> = deals.iter().map(|(id, _)| *id).collect();
                let from = a as usize % chosen.len().max(1);
                chosen.rotate_left(from);
                chosen.truncate(1 + b as usize % 3);
                let mut groups = vec![((b % 3) as u8, chosen.clone())];
                if b % 4 == 3 {
                    groups.push((9, chosen.split_off(chosen.len() / 2)));
                }
                (of_sector, self.embed_of(sector, groups))
            }
        };
        let who = if event.who < ACCOUNTS {
            event.who
        } else {
            right?
        };
        Some((who, body))
    }

    /// The event's amount, which is in HOLD, in units; the largest stay what they are.
    fn amount(&self, event: &Event) -> Amount {
        let scaled = event.amount.0.checked_mul(self.unit);
        Amount(scaled.map_or(event.amount.0, |amount| amount / Amount::hold(1).0))
    }

    /// All that can be taken back, one grain more, or so much.
    fn withdrawn(&self, provider: &Provider, amount: Amount, b: u64) -> Amount {
        let least = self.parameters().economy.minimum_collateral;
        let free = crate::quote::free_collateral(provider).unwrap();
        let free = free.min(provider.collateral.saturating_sub(least));
        match b % 4 {
            0 => free,
            1 => Amount(free.0 + 1),
            _ => amount,
        }
    }

    fn pre_commit(&self, provider: ProviderId, number: u64, b: u64) -> Body {
        let id = SectorId {
            provider,
            number: SectorNumber(number),
        };
        let age = if b < 100 { b % 12 } else { b };
        Body::PreCommitSector(PreCommit {
            sector: id,
            class: if b % 4 == 3 {
                SectorClass::Mib64
            } else {
                CLASS
            },
            ticket: Height(self.world.height().0.saturating_sub(age)),
            columns: std::array::from_fn(|lane| node(&format!("columns {id} {lane}"))),
            keys: keys_of(id).map(|lane| root_of(&lane)),
        })
    }

    fn proposal(&self, owner: usize, event: &Event, providers: &[Provider]) -> DealSetProposal {
        let Event { a, b, .. } = *event;
        let amount = self.amount(event);
        let n = 1 + (a % 3) as u8;
        let length = ByteCount(if a % 2 == 0 { 200 } else { 20_000 });
        let count = providers.len().max(1) as u64;
        let price = match b % 8 {
            7 => amount,
            few => Amount(self.unit * u128::from(1 + few % 4)),
        };
        let terms = |shard: u64| ShardTerms {
            provider: ProviderId((a + shard) % count),
            tier: if (a + shard).is_multiple_of(5) {
                Tier::Cold
            } else {
                Tier::Hot
            },
            price,
            // Long enough that a lost shard's collateral does not pay for all of it, sometimes.
            term: Periods(1 + (b + shard) % 4 + if b % 6 == 5 { 400 } else { 0 }),
            fund_by: Height(self.world.height().0 + b % 8),
        };
        let nonce = if b % 17 == 16 {
            0
        } else {
            self.proposals.len() as u64
        };
        DealSetProposal {
            pack: PackHeader {
                owner: address(owner),
                nonce,
                k: 1,
                n,
                length,
                shard_roots: (0..n)
                    .map(|i| ShardRoot(*blake3::hash(&bytes(i, length.0, false)).as_bytes()))
                    .collect(),
                shard_length: length,
            },
            terms: (0..n.into()).map(terms).collect(),
            repair_threshold: n,
            repair_budget: Amount(amount.0 % self.unit),
        }
    }

    /// A receipt of one of the deals that may be broken, mostly signed by who should have.
    fn claim(&self, deals: &[(DealId, Deal)], a: u64, b: u64) -> Option<(Option<usize>, Body)> {
        let broken: Vec<_> = deals
            .iter()
            .filter(|(_, deal)| matches!(deal.status, DealStatus::Broken { .. }))
            .collect();
        let (id, deal) = pick(&broken, a).copied().or(pick(deals, a))?;
        let set = query::deal_set_record(&self.world.view, &id.pack).unwrap()?;
        let terms = &set.proposal.terms[id.shard.position()];
        let receipt = Receipt {
            pack: id.pack,
            shard: id.shard,
            root: set.proposal.pack.shard_roots[id.shard.position()],
            length: deal.length,
            provider: deal.provider,
            tier: deal.tier,
            price: Amount(terms.price.0 + u128::from(b % 13 == 12)),
            term: terms.term,
            fund_by: terms.fund_by,
        };
        let signer = match b % 6 {
            5 => b as usize / 6 % ACCOUNTS,
            4 => {
                let past = query::provider(&self.world.view, deal.provider).unwrap()?;
                account_of(&past.owner)?
            }
            _ => account_of(&deal.worker)?,
        };
        let receipt = self.world.signed_receipt(receipt, signer);
        let claim = Body::ClaimBrokenPromise { receipt };
        Some((Some(b as usize % ACCOUNTS), claim))
    }
}

/// Does what the message does with proofs that hold; what became of replicas by it.
fn as_proven(
    context: &mut Context<'_, MemoryView>,
    message: &Message,
) -> Option<(SectorId, Vec<(u8, Node)>)> {
    context.ledger.mark();
    let parameters = &context.rules.parameters;
    match &message.body {
        Body::ProveSeal { sector, .. } => {
            let mut sector = context.ledger.sector(*sector).unwrap();
            let SectorStatus::PreCommitted { at, .. } = sector.status else {
                panic!("not pre-committed");
            };
            context.unschedule(Due::Seal(sector.id), schedule::seal_due(parameters, at));
            context.activate(&mut sector).unwrap();
            None
        }
        Body::ProveEmbed { sector, .. } => {
            let mut sector = context.ledger.sector(*sector).unwrap();
            let id = sector.id;
            let embed = sector.embed.take().unwrap();
            let replica = embed.replica.clone().unwrap();
            context.unschedule(Due::Embed(id), schedule::embed_due(parameters, &embed));
            context.land_embed(sector, &embed, &replica).unwrap();
            let roots = replica.roots.iter();
            Some((id, roots.map(|one| (one.group.index(), one.root)).collect()))
        }
        Body::ProveSpacetime {
            provider,
            period,
            deadline,
            proofs,
        } => {
            for proof in proofs {
                let id = SectorId {
                    provider: *provider,
                    number: proof.sector,
                };
                let mut sector = context.sector_for_period(id, *period, *deadline).unwrap();
                sector.proven = Some(*period);
                sector.status = SectorStatus::Active { from: *period };
                context.ledger.put_sector(&sector).unwrap();
            }
            None
        }
        other => panic!("{other:?} has no proofs"),
    }
}

pub fn account_of(of: &Address) -> Option<usize> {
    static ADDRESSES: std::sync::OnceLock<[Address; ACCOUNTS]> = std::sync::OnceLock::new();
    let addresses = ADDRESSES.get_or_init(|| std::array::from_fn(address));
    addresses.iter().position(|address| address == of)
}

/// One of them, where there is one.
pub fn pick<T>(from: &[T], number: u64) -> Option<&T> {
    match from.len() {
        0 => None,
        count => from.get(number as usize % count),
    }
}
