//! Pages follow each other without a gap or a repeat.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use super::{deal_sets, deal_sets_of, deals_of};
use holdfast_market_core::keys;
use holdfast_market_core::message::{DealSetProposal, PackHeader, encode};
use holdfast_market_core::receipt::Tier;
use holdfast_market_core::state::{Deal, DealSetRecord, DealStatus};
use holdfast_market_core::units::{
    Address, Amount, ByteCount, DealId, Height, PackId, Periods, ProviderId, ShardIndex,
};
use holdfast_market_core::view::{MemoryView, Writes};

const OWNER: Address = Address([1; 32]);
const PROVIDER: ProviderId = ProviderId(4);

/// Packs 0 to 6; two shards each at the provider; even packs are the owner's.
fn view() -> MemoryView {
    let mut writes = Writes::new();
    for pack in 0..7u8 {
        let id = PackId([pack; 32]);
        let owner = if pack % 2 == 0 {
            OWNER
        } else {
            Address([2; 32])
        };
        let record = DealSetRecord {
            proposal: DealSetProposal {
                pack: PackHeader {
                    owner,
                    nonce: 0,
                    k: 1,
                    n: 2,
                    length: ByteCount(1),
                    shard_roots: vec![],
                    shard_length: ByteCount(1),
                },
                terms: vec![],
                repair_threshold: 1,
                repair_budget: Amount::ZERO,
            },
            at: Height(1),
            repair_budget: Amount::ZERO,
            of_penalties: Amount::ZERO,
            live: 2,
        };
        writes.insert(keys::deal_set(&id), Some(encode(&record).unwrap()));
        writes.insert(keys::owner_deal_set(&owner, &id), Some(vec![]));
        for shard in 0..2 {
            let shard = ShardIndex(shard);
            let deal = DealId { pack: id, shard };
            let value = Deal {
                owner,
                provider: PROVIDER,
                worker: Address([0; 32]),
                tier: Tier::Hot,
                length: ByteCount(1),
                per_period: Amount(1),
                term: Periods(1),
                status: DealStatus::Proposed,
                sector: None,
                piece_roots: vec![],
                escrow: Amount(1),
                locked: Amount::ZERO,
                paid: Periods(0),
                refunded: Periods(0),
                demand: None,
                release: None,
                set_aside: Amount::ZERO,
                lapsed: 0,
                repair: None,
            };
            writes.insert(keys::deal(&deal), Some(encode(&value).unwrap()));
            writes.insert(keys::provider_deal(PROVIDER, &deal), Some(vec![]));
        }
    }
    let mut view = MemoryView::default();
    view.apply(&writes);
    view
}

#[test]
fn pages_of_deals_and_deal_sets_follow_each_other_without_gap_or_repeat() {
    let view = view();
    let mut deals = Vec::new();
    loop {
        let after = deals.last().copied();
        let page = deals_of(&view, PROVIDER, after.as_ref(), 3).unwrap();
        if page.is_empty() {
            break;
        }
        deals.extend(page.into_iter().map(|(id, _)| id));
    }
    let names: Vec<_> = deals.iter().map(|id| (id.pack.0[0], id.shard.0)).collect();
    let expected: Vec<_> = (0..7).flat_map(|pack| [(pack, 0), (pack, 1)]).collect();
    assert_eq!(names, expected);

    let first = deal_sets(&view, None, 4).unwrap();
    let rest = deal_sets(&view, first.last().map(|one| one.id), 4).unwrap();
    let packs: Vec<_> = first.iter().chain(&rest).map(|one| one.id.0[0]).collect();
    assert_eq!(packs, (0..7).collect::<Vec<_>>());
    assert!(first.iter().all(|one| one.deals.len() == 2));

    let owned = deal_sets_of(&view, &OWNER, Some(PackId([0; 32])), 9).unwrap();
    let packs: Vec<_> = owned.iter().map(|one| one.id.0[0]).collect();
    assert_eq!(packs, [2, 4, 6]);
    assert_eq!(deals_of(&view, ProviderId(5), None, 9).unwrap(), []);
}
