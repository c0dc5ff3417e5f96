use super::world::{Case, World, deal_id};
use crate::message::Body;
use crate::receipt::{Receipt, SignedReceipt, Tier};
use crate::schedule;
use crate::state::DealStatus;
use crate::units::{Amount, ByteCount, Height, Periods, ProviderId, ShardRoot};

fn claim(receipt: SignedReceipt) -> Body {
    Body::ClaimBrokenPromise { receipt }
}

/// A set of which shard 0 was accepted and shard 1 was not, past its promise.
fn broken() -> (World, crate::message::DealSetProposal) {
    let mut world = World::with_sector();
    let proposal = world.proposal(1);
    let pack = proposal.pack.id().unwrap();
    world.done(1, Body::ProposeDealSet(proposal.clone()));
    world.done(0, world.accept(deal_id(pack, 0)));
    let at = crate::query::deal_set(&world.view, &pack)
        .unwrap()
        .unwrap()
        .at;
    let promise = schedule::promise_height(&world.rules.parameters, at);
    world.advance_to(Height(promise.0 - 1));
    world.refused(2, claim(world.receipt(&proposal, 0)), "this needs broken");
    (world, proposal)
}

#[test]
fn what_is_not_proven_by_its_promise_is_broken_and_its_escrow_returns() {
    let mut world = World::with_sector();
    let before = world.account(1).balance;
    let pack = world.accepted(1);
    world.advance(world.rules.parameters.promise.0);
    for index in 0..2 {
        let deal = world.deal(&deal_id(pack, index));
        assert_eq!(deal.status, DealStatus::Broken { claimed: false });
        assert_eq!(deal.escrow, Amount::ZERO);
        assert!(deal.locked > Amount::ZERO);
    }
    assert_eq!(world.provider().record.broken, 2);
    assert!(before.0 - world.account(1).balance.0 < Amount::hold(1).0 / 100);
    // Unclaimed, the collateral is free again after the dispute window.
    world.advance(world.rules.parameters.dispute_window.0);
    assert_eq!(world.deal(&deal_id(pack, 0)).locked, Amount::ZERO);
}

#[test]
fn a_proven_deal_is_not_broken() {
    let (mut world, pack) = World::embedded();
    for _ in 0..4 {
        if matches!(
            world.deal(&deal_id(pack, 0)).status,
            DealStatus::Proven { .. }
        ) {
            world.prove_and_close(0);
        }
    }
    assert!(matches!(
        world.deal(&deal_id(pack, 0)).status,
        DealStatus::Expired
    ));
    assert_eq!(world.provider().record.broken, 0);
}

#[test]
fn anyone_with_the_receipt_claims_a_broken_promise_once() {
    let (mut world, proposal) = broken();
    let pack = proposal.pack.id().unwrap();
    let locked = world.deal(&deal_id(pack, 0)).locked;
    let (holder, provider) = (world.account(2).balance, world.provider());
    let body = claim(world.receipt(&proposal, 0));
    let fee = world
        .sign(2, world.account(2).nonce, body.clone())
        .message
        .fee;
    world.done(2, body.clone());
    let finder = locked.0 / 10;
    assert_eq!(world.account(2).balance.0, holder.0 - fee.0 + finder);
    assert_eq!(provider.locked.0 - world.provider().locked.0, locked.0);
    assert_eq!(
        world.deal(&deal_id(pack, 0)).status,
        DealStatus::Broken { claimed: true }
    );
    world.refused(2, body, "this needs broken and not claimed yet");
    // The shard that was never accepted pays from what is free.
    let free = world.provider().collateral;
    world.done(3, claim(world.receipt(&proposal, 1)));
    assert!(world.provider().collateral < free);
    world.advance(20);
}

#[test]
fn a_receipt_on_other_terms_or_by_another_hand_claims_nothing() {
    let (mut world, proposal) = broken();
    world.advance(1);
    let good = world.receipt(&proposal, 0);
    let cases: Vec<Case<Receipt>> = vec![
        (|r| r.root = ShardRoot([0; 32]), "the receipt's shard root"),
        (|r| r.length = ByteCount(1), "the receipt's length"),
        (|r| r.provider = ProviderId(1), "the receipt's provider"),
        (|r| r.tier = Tier::Cold, "the receipt's tier"),
        (|r| r.price = Amount(1), "the receipt's price"),
        (|r| r.term = Periods(9), "the receipt's term"),
        (|r| r.fund_by = Height(9_999), "the receipt's last height"),
    ];
    for (spoil, reason) in cases {
        let mut receipt = good.receipt.clone();
        spoil(&mut receipt);
        world.refused(2, claim(world.signed_receipt(receipt, 0)), reason);
    }
    let forged = world.signed_receipt(good.receipt.clone(), 3);
    world.refused(2, claim(forged), "signature");
    world.advance(1);
    world.refused(2, claim(good), "was due by height");
}
