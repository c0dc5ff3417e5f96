//! How a stored object is, by what the ledger says of its deals and sectors.

use holdfast_market_core::state::{Deal, DealSet, DealStatus, Sector, SectorStatus};
use holdfast_market_core::units::{PackId, ProviderId, SectorId, SectorNumber, ShardIndex};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The states a user sees, everywhere the same words (DESIGN, section 4), from best to worst once
/// an object is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectState {
    /// Only here: nothing was sent yet.
    Local,
    /// Some of it was sent, not all of it is paid for.
    Uploading,
    /// Embedded by all its providers and proven on the chain.
    Proven,
    /// Every provider signed for it and it is paid; not everything is proven yet.
    Stored,
    /// Fewer than n shards are healthy, at least k.
    Degraded,
    /// Fewer than k shards are healthy.
    Lost,
}

impl fmt::Display for ObjectState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Local => "local",
            Self::Uploading => "uploading",
            Self::Proven => "proven",
            Self::Stored => "stored",
            Self::Degraded => "degraded",
            Self::Lost => "lost",
        })
    }
}

/// How one shard is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardHealth {
    /// Which.
    pub shard: ShardIndex,
    /// Who has it.
    pub provider: ProviderId,
    /// In which sector, once proven.
    pub sector: Option<SectorNumber>,
    /// In a few words.
    pub status: String,
    /// Whether it can be counted on.
    pub healthy: bool,
    /// Whether it is proven.
    pub proven: bool,
    /// Periods paid so far.
    pub paid_periods: u64,
    /// Periods that it is paid for and that are still to come.
    pub periods_left: u64,
}

/// How one pack is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackHealth {
    /// Which.
    pub pack: PackId,
    /// Its state.
    pub state: ObjectState,
    /// Shards that suffice.
    pub data_shards: u8,
    /// Shards that can be counted on.
    pub healthy: usize,
    /// Its shards; none where the ledger does not know it.
    pub shards: Vec<ShardHealth>,
}

/// The sectors that deals lie in.
pub type Sectors = BTreeMap<SectorId, Sector>;

impl PackHealth {
    /// How a pack is that the ledger does not know.
    pub const fn unknown(pack: PackId, data_shards: u8) -> Self {
        Self {
            pack,
            state: ObjectState::Lost,
            data_shards,
            healthy: 0,
            shards: Vec::new(),
        }
    }

    /// How a pack is, by its deal set.
    pub fn of(set: &DealSet, sectors: &Sectors) -> Self {
        let shards: Vec<ShardHealth> = (0..=u8::MAX)
            .zip(&set.deals)
            .map(|(shard, deal)| shard_health(ShardIndex(shard), deal, sectors))
            .collect();
        let header = &set.proposal.pack;
        let healthy = shards.iter().filter(|shard| shard.healthy).count();
        let proven = shards.iter().filter(|shard| shard.proven).count();
        let state = if healthy < usize::from(header.k) {
            ObjectState::Lost
        } else if healthy < usize::from(header.n) {
            ObjectState::Degraded
        } else if proven < usize::from(header.n) {
            ObjectState::Stored
        } else {
            ObjectState::Proven
        };
        Self {
            pack: set.id,
            state,
            data_shards: header.k,
            healthy,
            shards,
        }
    }
}

/// The state of an object is that of its worst pack.
pub fn object_state(packs: &[PackHealth]) -> ObjectState {
    packs
        .iter()
        .map(|pack| pack.state)
        .max()
        .unwrap_or(ObjectState::Lost)
}

fn shard_health(shard: ShardIndex, deal: &Deal, sectors: &Sectors) -> ShardHealth {
    let mut health = ShardHealth {
        shard,
        provider: deal.provider,
        sector: None,
        status: String::new(),
        healthy: false,
        proven: false,
        paid_periods: deal.paid.0,
        periods_left: deal.left().0,
    };
    match &deal.status {
        // It is lost until the repair is proven.
        DealStatus::Proposed | DealStatus::Accepted if deal.repair.is_some() => {
            health.status = "being repaired".into();
        }
        DealStatus::Proposed => {
            health.healthy = true;
            health.status = "promised".into();
        }
        DealStatus::Accepted => {
            health.healthy = true;
            health.status = "accepted".into();
        }
        DealStatus::Proven { sector, .. } => {
            health.sector = Some(*sector);
            let id = SectorId {
                provider: deal.provider,
                number: *sector,
            };
            let standing = sectors.get(&id).map(|sector| &sector.status);
            health.healthy = matches!(standing, Some(SectorStatus::Active { .. }));
            health.proven = health.healthy;
            health.status = match standing {
                Some(SectorStatus::Active { .. }) => "proven",
                Some(SectorStatus::Faulty { recovering: true }) => "faulty, recovering",
                Some(SectorStatus::Faulty { recovering: false }) => "faulty",
                Some(SectorStatus::Terminated { .. }) => "sector terminated",
                Some(SectorStatus::PreCommitted { .. }) | None => "sector unknown",
            }
            .into();
        }
        DealStatus::Expired => health.status = "term over".into(),
        DealStatus::Cancelled => health.status = "cancelled".into(),
        DealStatus::Failed { reason } => health.status = format!("failed: {reason}"),
        DealStatus::Broken { .. } => health.status = "promise broken".into(),
    }
    health
}

#[cfg(test)]
mod tests {
    use super::*;
    use DealStatus::{Accepted, Cancelled, Expired, Proposed};
    use ObjectState::{Degraded, Lost, Proven, Stored};
    use holdfast_market_core::message::{DealSetProposal, PackHeader};
    use holdfast_market_core::receipt::Tier;
    use holdfast_market_core::units::{
        Address, Amount, ByteCount, Deadline, Height, Period, Periods,
    };
    use holdfast_proofs::node::Node;
    use holdfast_proofs::replica::{ReplicaId, ReplicaSeed};
    use holdfast_proofs::sector::SectorClass;

    fn proven() -> DealStatus {
        DealStatus::Proven {
            sector: SectorNumber(0),
            from: Period(3),
        }
    }

    fn failed() -> DealStatus {
        DealStatus::Failed {
            reason: "the promise was broken".into(),
        }
    }

    /// A 2-of-3 pack whose deals stand as given, with every provider's sector active but `faulty`.
    fn state(statuses: [DealStatus; 3], faulty: &[u64]) -> PackHealth {
        let deals = statuses.into_iter().zip(0..);
        let set = DealSet {
            id: PackId([0; 32]),
            proposal: DealSetProposal {
                pack: PackHeader {
                    owner: Address([0; 32]),
                    nonce: 1,
                    k: 2,
                    n: 3,
                    length: ByteCount(10),
                    shard_roots: vec![],
                    shard_length: ByteCount(5),
                },
                terms: vec![],
                repair_threshold: 2,
                repair_budget: Amount::ZERO,
            },
            at: Height(9),
            deals: deals
                .map(|(status, provider)| deal(status, provider))
                .collect(),
            repair_budget: Amount::ZERO,
        };
        let sectors = (0..3).map(|provider| sector(provider, faulty.contains(&provider)));
        PackHealth::of(&set, &sectors.map(|sector| (sector.id, sector)).collect())
    }

    fn deal(status: DealStatus, provider: u64) -> Deal {
        Deal {
            owner: Address([0; 32]),
            provider: ProviderId(provider),
            worker: Address([1; 32]),
            tier: Tier::Hot,
            length: ByteCount(5),
            per_period: Amount(1),
            term: Periods(9),
            status,
            sector: Some(SectorNumber(0)),
            piece_roots: vec![],
            escrow: Amount(1),
            locked: Amount(1),
            paid: Periods(4),
            refunded: Periods(0),
            demand: None,
            release: None,
            set_aside: Amount::ZERO,
            lapsed: 0,
            repair: None,
        }
    }

    fn sector(provider: u64, faulty: bool) -> Sector {
        let zero = Node::ZERO;
        Sector {
            id: SectorId {
                provider: ProviderId(provider),
                number: SectorNumber(0),
            },
            class: SectorClass::Mib8,
            replica: ReplicaId::derive(&ReplicaSeed {
                network: [0; 32],
                class: SectorClass::Mib8,
                provider,
                number: 0,
                ticket: [0; 32],
            }),
            status: if faulty {
                SectorStatus::Faulty { recovering: false }
            } else {
                SectorStatus::Active { from: Period(1) }
            },
            columns: [zero; 8],
            key_root: zero,
            replica_root: zero,
            replica_lanes: [zero; 8],
            deadline: Deadline(0),
            groups: vec![],
            embed: None,
            faults: Periods(0),
            proven: None,
            next: Period(1),
            window: None,
            locked: Amount::ZERO,
        }
    }

    #[test]
    fn a_pack_is_as_good_as_its_deals() {
        let table: [([DealStatus; 3], &[u64], ObjectState); 12] = [
            ([Proposed, Proposed, Proposed], &[], Stored),
            ([Proposed, Accepted, proven()], &[], Stored),
            ([proven(), proven(), proven()], &[], Proven),
            ([proven(), proven(), proven()], &[1], Degraded),
            ([proven(), proven(), proven()], &[0, 1], Lost),
            ([proven(), proven(), Accepted], &[2], Stored),
            ([proven(), proven(), failed()], &[], Degraded),
            ([proven(), failed(), failed()], &[], Lost),
            ([proven(), proven(), Cancelled], &[], Degraded),
            ([Expired, Expired, Expired], &[], Lost),
            ([Proposed, Accepted, failed()], &[], Degraded),
            ([proven(), Accepted, failed()], &[0], Lost),
        ];
        for (statuses, faulty, expected) in table {
            let name = format!("{statuses:?} {faulty:?}");
            assert_eq!(state(statuses, faulty).state, expected, "{name}");
        }
    }

    #[test]
    fn an_object_is_as_good_as_its_worst_pack() {
        let good = state([proven(), proven(), proven()], &[]);
        let fair = state([proven(), proven(), Accepted], &[]);
        let poor = state([proven(), proven(), failed()], &[]);
        let gone = PackHealth::unknown(PackId([0; 32]), 2);
        assert_eq!(object_state(std::slice::from_ref(&good)), Proven);
        assert_eq!(object_state(&[good.clone(), fair.clone()]), Stored);
        assert_eq!(object_state(&[fair, poor.clone(), good]), Degraded);
        assert_eq!(object_state(&[poor, gone]), Lost);
        assert_eq!(object_state(&[]), Lost);
    }

    #[test]
    fn a_shard_says_in_words_how_it_is() {
        let pack = state([proven(), proven(), failed()], &[1]);
        let words: Vec<&str> = pack.shards.iter().map(|shard| &*shard.status).collect();
        assert_eq!(
            words,
            ["proven", "faulty", "failed: the promise was broken"]
        );
        assert_eq!(pack.healthy, 1);
    }
}
