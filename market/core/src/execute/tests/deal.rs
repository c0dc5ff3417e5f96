use super::world::{Case, World, address, deal_id};
use crate::message::{Body, DealSetProposal};
use crate::query;
use crate::quote;
use crate::state::DealStatus;
use crate::units::{Amount, ByteCount, Height, PackId, Periods, ProviderId};

fn with_provider() -> World {
    let mut world = World::new();
    world.register();
    world
}

#[test]
fn a_proposal_with_any_field_wrong_is_refused() {
    let mut world = with_provider();
    let cases: Vec<Case<DealSetProposal>> = vec![
        (|p| p.pack.owner = address(2), "the pack's owner"),
        (|p| p.pack.n = 0, "n is 0"),
        (|p| p.pack.n = 65, "n is 65"),
        (|p| p.pack.k = 0, "k is 0"),
        (|p| p.pack.k = 3, "k is 3"),
        (|p| p.repair_threshold = 0, "the repair threshold"),
        (|p| p.repair_threshold = 3, "the repair threshold"),
        (|p| p.pack.length = ByteCount(0), "the pack's length"),
        (
            |p| p.pack.length = ByteCount((64 << 20) + 1),
            "the pack's length",
        ),
        (
            |p| p.pack.shard_length = ByteCount(19_999),
            "the shards' length",
        ),
        (
            |p| p.pack.shard_roots.truncate(1),
            "the number of shard roots",
        ),
        (|p| p.terms.truncate(1), "the number of terms"),
        (|p| p.terms[1].provider = ProviderId(4), "no provider 4"),
        (|p| p.terms[1].term = Periods(0), "the term"),
        (|p| p.terms[0].term = Periods(u64::MAX), "the term"),
        (|p| p.terms[0].price = Amount(u128::MAX), "the price"),
        (|p| p.terms[0].price = Amount(0), "at least 0.1 HOLD"),
        (
            |p| p.terms[1].price = Amount(99_999_999),
            "at least 0.1 HOLD",
        ),
        (
            |p| p.terms[0].fund_by = Height(1),
            "the funding of a receipt",
        ),
        (|p| p.repair_budget = Amount::hold(2_000), "fund it"),
    ];
    for (spoil, reason) in cases {
        let mut proposal = world.proposal(1);
        spoil(&mut proposal);
        world.refused(1, Body::ProposeDealSet(proposal), reason);
    }
    let before = world.account(1).balance;
    let body = Body::ProposeDealSet(world.proposal(1));
    let fee = world
        .sign(1, world.account(1).nonce, body.clone())
        .message
        .fee;
    world.done(1, body.clone());
    world.refused(1, body, "exists already");
    let set = query::deal_sets_of(&world.view, &address(1))
        .unwrap()
        .remove(0);
    let escrow = quote::deal_set(&set.proposal).unwrap();
    assert_eq!(world.account(1).balance.0, before.0 - escrow.0 - 2 * fee.0);
    assert_eq!(set.deals.len(), 2);
    assert_eq!(
        query::deals_of(&world.view, ProviderId(0)).unwrap().len(),
        2
    );
}

#[test]
fn a_shard_below_a_unit_is_paid_as_one() {
    let mut world = with_provider();
    let mut proposal = world.proposal(1);
    proposal.pack.length = ByteCount(1);
    proposal.pack.shard_length = ByteCount(1);
    let pack = proposal.pack.id().unwrap();
    world.done(1, Body::ProposeDealSet(proposal));
    let deal = world.deal(&deal_id(pack, 0));
    assert_eq!(deal.per_period.to_string(), "0.000015259 HOLD");
    assert_eq!(deal.escrow.0, 3 * deal.per_period.0);
}

#[test]
fn only_what_nobody_accepted_can_be_cancelled() {
    let mut world = with_provider();
    let before = world.account(1).balance;
    let pack = world.propose(1);
    let cancel = Body::CancelDealSet { pack };
    world.refused(2, cancel.clone(), "only the owner");
    world.refused(
        1,
        Body::CancelDealSet {
            pack: PackId([9; 32]),
        },
        "no deal set",
    );
    world.done(0, world.accept(deal_id(pack, 0)));
    world.done(1, cancel.clone());
    assert_eq!(world.deal(&deal_id(pack, 0)).status, DealStatus::Accepted);
    assert_eq!(world.deal(&deal_id(pack, 1)).status, DealStatus::Cancelled);
    world.refused(1, cancel, "accepted or over");
    world.refused(
        0,
        world.accept(deal_id(pack, 1)),
        "is cancelled; this needs proposed",
    );
    // All of it, cancelled before anybody accepts, leaves nothing behind but fees.
    let other = world.propose(2);
    world.done(1, Body::CancelDealSet { pack: other });
    let set = query::deal_set(&world.view, &other).unwrap().unwrap();
    assert_eq!(set.repair_budget, Amount::ZERO);
    assert!(before.0 - world.account(1).balance.0 < Amount::hold(1).0);
}

#[test]
fn an_acceptance_binds_as_many_piece_roots_as_the_piece_has_subtrees() {
    let mut world = with_provider();
    let pack = world.propose(1);
    let good = world.accept(deal_id(pack, 0));
    let change = |change: fn(&mut Vec<crate::message::Acceptance>)| {
        let Body::AcceptDeals {
            provider,
            mut deals,
        } = good.clone()
        else {
            panic!("an acceptance");
        };
        change(&mut deals);
        Body::AcceptDeals { provider, deals }
    };
    world.refused(1, good.clone(), "only the worker");
    world.refused(0, change(Vec::clear), "the number of deals");
    world.refused(0, change(|d| d.push(d[0].clone())), "once each");
    world.refused(0, change(|d| d[0].shard.shard.0 = 2), "no deal");
    world.refused(
        0,
        change(|d| d[0].piece_roots.truncate(1)),
        "the number of piece roots",
    );
    world.refused(
        0,
        change(|d| {
            let root = d[0].piece_roots[0];
            d[0].piece_roots.push(root)
        }),
        "the number of piece roots",
    );
    world.done(0, good.clone());
    world.refused(0, good, "is accepted; this needs proposed");
    let deal = world.deal(&deal_id(pack, 0));
    let economy = &world.rules.parameters.economy;
    assert_eq!(
        deal.locked,
        quote::deal_collateral(economy, deal.length).unwrap()
    );
    assert_eq!(world.provider().locked, deal.locked);
}

#[test]
fn another_providers_deal_cannot_be_accepted() {
    let mut world = with_provider();
    world.done(
        2,
        Body::RegisterProvider {
            worker: address(2),
            offer: super::world::offer(),
            collateral: Amount::hold(20),
        },
    );
    let pack = world.propose(1);
    let Body::AcceptDeals { deals, .. } = world.accept(deal_id(pack, 0)) else {
        panic!("an acceptance");
    };
    let body = Body::AcceptDeals {
        provider: ProviderId(1),
        deals,
    };
    world.refused(2, body, "the deal's provider");
}

#[test]
fn a_cancelled_deal_does_not_spoil_the_acceptance_of_others() {
    let mut world = with_provider();
    let (first, second) = (world.propose(1), world.propose(2));
    let (cancelled, kept) = (deal_id(first, 0), deal_id(second, 0));
    let acceptances = [cancelled, kept].map(|id| match world.accept(id) {
        Body::AcceptDeals { mut deals, .. } => deals.remove(0),
        _ => panic!("an acceptance"),
    });
    let both = Body::AcceptDeals {
        provider: ProviderId(0),
        deals: acceptances.to_vec(),
    };
    world.done(1, Body::CancelDealSet { pack: first });
    world.done(0, both.clone());
    assert_eq!(world.deal(&cancelled).status, DealStatus::Cancelled);
    assert_eq!(world.deal(&kept).status, DealStatus::Accepted);
    assert_eq!(world.provider().locked, world.deal(&kept).locked);
    world.refused(0, both, "this needs proposed");
}
