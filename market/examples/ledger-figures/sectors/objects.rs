//! The objects of such a ledger. Their roots are drawn, not computed; all else is as the rules write
//! it: every deal lies in a sector, every sector is due, and the books balance.

use crate::Measured;
use crate::network::{CLASS, Network, address, key};
use holdfast_market_core::keys;
use holdfast_market_core::message::{
    DealSetProposal, GroupLayout, PackHeader, PlacedSubtree, ProviderOffer, ShardTerms, encode,
};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::quote;
use holdfast_market_core::receipt::Tier;
use holdfast_market_core::schedule;
use holdfast_market_core::state::{
    Chain, Deal, DealSetRecord, DealStatus, Provider, ProviderRecord, Sector, SectorStatus, Supply,
};
use holdfast_market_core::units::{
    Address, Amount, ByteCount, Deadline, DealId, Height, NodeKey, PackId, Period, Periods,
    ProviderId, SectorId, SectorNumber, ShardIndex, ShardRoot,
};
use holdfast_market_core::view::Writes;
use holdfast_proofs::node::Node;
use holdfast_proofs::piece::PieceShape;
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::sector::Group;
use std::ops::Range;

/// Deals of a set: three of them suffice.
pub const SHARDS: u8 = 6;
/// Bytes of a pack.
const PACK: ByteCount = ByteCount(1 << 20);
/// Sectors of a provider.
const EACH: u64 = 1_000;
/// Units of a group of 8 MiB.
const GROUP_UNITS: u64 = 8;
/// The phase of the queue that closes deadlines.
const DEADLINES: u8 = 0;

pub struct Objects {
    pub sectors: u64,
    pub sets: u64,
    parameters: Parameters,
    owner: Address,
    shape: Result<PieceShape, String>,
}

fn node(what: &str, number: u64, part: u8) -> Node {
    Node::derive(
        "holdfast figures node",
        &[what.as_bytes(), &number.to_le_bytes(), &[part]],
    )
}

fn nodes(what: &str, number: u64) -> [Node; 8] {
    std::array::from_fn(|part| node(what, number, u8::try_from(part).unwrap_or_default()))
}

impl Objects {
    /// A million sectors and a hundred thousand deal sets.
    pub fn million(network: &Network) -> Self {
        let parameters = network.genesis.parameters.clone();
        let length = quote::shard_length(3, PACK);
        let shape = PieceShape::of(length.0, parameters.piece_levels);
        Self {
            sectors: 1_000_000,
            sets: 100_000,
            parameters,
            owner: address(&key(0)),
            shape: shape.map_err(|error| error.to_string()),
        }
    }

    pub fn providers(&self) -> u64 {
        self.sectors.div_ceil(EACH)
    }

    pub fn sector_id(&self, place: u64) -> SectorId {
        SectorId {
            provider: ProviderId(place / EACH),
            number: SectorNumber(place % EACH),
        }
    }

    /// Shard by shard the sets lie in another part of the sectors, one deal in a sector.
    fn place_of(&self, set: u64, shard: u8) -> u64 {
        self.sectors / u64::from(SHARDS) * u64::from(shard) + set
    }

    fn deal_in(&self, place: u64) -> Option<(u64, u8)> {
        let part = self.sectors / u64::from(SHARDS);
        let (shard, set) = (place / part, place % part);
        let shard = u8::try_from(shard).ok().filter(|shard| *shard < SHARDS)?;
        (set < self.sets).then_some((set, shard))
    }

    fn header(&self, set: u64) -> PackHeader {
        let root = |shard: u8| {
            let bytes = [set.to_le_bytes().as_slice(), &[shard]].concat();
            ShardRoot(*blake3::hash(&bytes).as_bytes())
        };
        PackHeader {
            owner: self.owner,
            nonce: set,
            k: 3,
            n: SHARDS,
            length: PACK,
            shard_roots: (0..SHARDS).map(root).collect(),
            shard_length: quote::shard_length(3, PACK),
        }
    }

    pub fn pack(&self, set: u64) -> Measured<PackId> {
        Ok(self.header(set).id()?)
    }

    /// Writes these sectors, their providers, and the deal sets whose first deal lies in them.
    pub fn put(
        &self,
        range: Range<u64>,
        writes: &mut Writes,
        chain: &mut Chain,
        supply: &mut Supply,
    ) -> Measured {
        let mut held = Amount::ZERO;
        for place in range {
            if place.is_multiple_of(EACH) {
                held = held
                    .checked_add(self.put_provider(place / EACH, writes)?)
                    .ok_or("too much collateral")?;
                chain.next_provider = ProviderId(place / EACH + 1);
            }
            let sector = self.put_sector(place, writes)?;
            let bytes = sector.class.bytes();
            chain.capacity.0 += bytes;
            let load = usize::try_from(sector.deadline.0)?;
            chain.deadlines.get_mut(load).ok_or("no such deadline")?.0 += bytes;
            if let Some((set, 0)) = self.deal_in(place) {
                let escrow = self.put_set(set, writes)?;
                supply.escrow = supply.escrow.checked_add(escrow).ok_or("too much escrow")?;
                supply.minted = supply.minted.checked_add(escrow).ok_or("too much escrow")?;
            }
        }
        supply.collateral = supply.collateral.checked_add(held).ok_or("too much")?;
        supply.minted = supply.minted.checked_add(held).ok_or("too much")?;
        Ok(())
    }

    fn put_provider(&self, number: u64, writes: &mut Writes) -> Measured<Amount> {
        let economy = &self.parameters.economy;
        let sector = quote::sector_collateral(economy, CLASS)?;
        let deal = quote::deal_collateral(economy, quote::shard_length(3, PACK))?;
        let locked = Amount((sector.0 + deal.0) * u128::from(EACH));
        let collateral = Amount(locked.0 + economy.minimum_collateral.0);
        let provider = Provider {
            id: ProviderId(number),
            owner: address(&key(number)),
            worker: address(&key(number)),
            offer: ProviderOffer {
                node: NodeKey([7; 32]),
                endpoint: format!("node-{number}.example:4000"),
                price: Amount::hold(1),
                read_price: Amount::ZERO,
            },
            collateral,
            locked,
            vesting: Vec::new(),
            since: Height(0),
            next_sector: SectorNumber(EACH),
            retiring: None,
            record: ProviderRecord::default(),
        };
        writes.insert(keys::provider(provider.id), Some(encode(&provider)?));
        Ok(collateral)
    }

    fn put_sector(&self, place: u64, writes: &mut Writes) -> Measured<Sector> {
        let id = self.sector_id(place);
        let groups = match self.deal_in(place) {
            Some((set, shard)) => self.layout(set, shard)?,
            None => Vec::new(),
        };
        let lanes = nodes("replica", place);
        let sector = Sector {
            id,
            class: CLASS,
            replica: ReplicaId(node("id", place, 0)),
            status: SectorStatus::Active { from: Period(1) },
            columns: nodes("columns", place),
            key_root: node("key", place, 0),
            replica_root: node("root", place, 0),
            replica_lanes: lanes,
            deadline: Deadline(u32::try_from(place % u64::from(self.parameters.deadlines))?),
            groups,
            embed: None,
            faults: Periods(0),
            proven: None,
            next: Period(1),
            window: None,
            locked: quote::sector_collateral(&self.parameters.economy, CLASS)?,
        };
        writes.insert(keys::sector(id), Some(encode(&sector)?));
        let window = schedule::window(&self.parameters, sector.next, sector.deadline);
        let rest = [
            id.provider.0.to_be_bytes().as_slice(),
            &id.number.0.to_be_bytes(),
        ]
        .concat();
        writes.insert(keys::due(DEADLINES, window.close, &rest), Some(vec![1]));
        Ok(sector)
    }

    fn shape(&self) -> Measured<&PieceShape> {
        Ok(self.shape.as_ref().map_err(String::clone)?)
    }

    /// A whole piece from the first group on.
    fn layout(&self, set: u64, shard: u8) -> Measured<Vec<GroupLayout>> {
        let deal = DealId {
            pack: self.pack(set)?,
            shard: ShardIndex(shard),
        };
        let mut groups: Vec<GroupLayout> = Vec::new();
        let mut unit = 0u64;
        for (subtree, levels) in (0..).zip(self.shape()?.subtrees()) {
            if unit.is_multiple_of(GROUP_UNITS) {
                let group = u8::try_from(unit / GROUP_UNITS)?;
                groups.push(GroupLayout {
                    group: Group::new(group).ok_or("there is no such group")?,
                    subtrees: Vec::new(),
                });
            }
            let group = groups.last_mut().ok_or("there is no group")?;
            group.subtrees.push(PlacedSubtree {
                deal,
                subtree,
                levels: *levels,
                unit: u32::try_from(unit % GROUP_UNITS)?,
            });
            unit += 8u64.pow(levels.saturating_sub(3));
        }
        Ok(groups)
    }

    fn put_set(&self, set: u64, writes: &mut Writes) -> Measured<Amount> {
        let header = self.header(set);
        let (pack, owner, length) = (header.id()?, header.owner, header.shard_length);
        let (price, term) = (Amount::hold(1), Periods(100));
        let provider = |shard: u8| self.sector_id(self.place_of(set, shard)).provider;
        let terms = |shard: u8| ShardTerms {
            provider: provider(shard),
            tier: Tier::Hot,
            price,
            term,
            fund_by: Height(100),
        };
        let record = DealSetRecord {
            proposal: DealSetProposal {
                pack: header,
                terms: (0..SHARDS).map(terms).collect(),
                repair_threshold: 4,
                repair_budget: Amount::ZERO,
            },
            at: Height(1),
            repair_budget: Amount::ZERO,
            of_penalties: Amount::ZERO,
            live: SHARDS,
        };
        writes.insert(keys::deal_set(&pack), Some(encode(&record)?));
        writes.insert(keys::owner_deal_set(&owner, &pack), Some(vec![1]));
        let escrow = quote::shard_escrow(price, length, term)?;
        let mut whole = Amount::ZERO;
        for shard in 0..SHARDS {
            let id = DealId {
                pack,
                shard: ShardIndex(shard),
            };
            let sector = self.sector_id(self.place_of(set, shard)).number;
            let roots = (0u8..).zip(self.shape()?.subtrees());
            let deal = Deal {
                owner,
                provider: provider(shard),
                worker: address(&key(provider(shard).0)),
                tier: Tier::Hot,
                length,
                per_period: quote::shard_period(price, length)?,
                term,
                status: DealStatus::Proven {
                    sector,
                    from: Period(1),
                },
                sector: Some(sector),
                piece_roots: roots
                    .map(|(part, _)| node("piece", set * 64 + u64::from(shard), part))
                    .collect(),
                escrow,
                locked: quote::deal_collateral(&self.parameters.economy, length)?,
                paid: Periods(0),
                refunded: Periods(0),
                demand: None,
                release: None,
                set_aside: Amount::ZERO,
                lapsed: 0,
                repair: None,
            };
            writes.insert(keys::deal(&id), Some(encode(&deal)?));
            writes.insert(keys::provider_deal(deal.provider, &id), Some(vec![1]));
            whole = Amount(whole.0 + escrow.0);
        }
        Ok(whole)
    }
}
