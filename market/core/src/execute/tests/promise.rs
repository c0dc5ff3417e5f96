use super::world::{Case, World, address, deal_id, offer};
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

/// As after a flood of sets: promises wait so many blocks for a block's end with room for them.
fn backlog(world: &mut World, blocks: u64) {
    world.by_hand(|context| {
        let mut waiting = Vec::new();
        for (key, value) in
            crate::view::ReadView::scan(&context.ledger, crate::keys::DUE, None, 99)?
        {
            if key.starts_with(&crate::keys::due_phase(super::super::due::PROMISES)) {
                waiting.push((key, value));
            }
        }
        for (key, value) in waiting {
            context.ledger.put(key.clone(), None);
            let late = Height(crate::keys::due_height(&key).unwrap().0 + blocks);
            let rest = key[crate::keys::due_phase(0).len() + 8..].to_vec();
            let phase = super::super::due::PROMISES;
            context
                .ledger
                .put(crate::keys::due(phase, late, &rest), Some(value));
        }
        Ok(())
    });
}

#[test]
fn a_claim_does_not_wait_for_a_backlog_of_promises() {
    let mut world = World::with_sector();
    let proposal = world.proposal(1);
    let pack = proposal.pack.id().unwrap();
    world.done(1, Body::ProposeDealSet(proposal.clone()));
    let promise = schedule::promise_height(&world.rules.parameters, world.height());
    world.done(0, world.accept(deal_id(pack, 0)));
    backlog(&mut world, 40);
    world.advance_to(promise);
    assert_eq!(world.deal(&deal_id(pack, 0)).status, DealStatus::Accepted);
    world.done(2, claim(world.receipt(&proposal, 0)));
    world.done(3, claim(world.receipt(&proposal, 1)));
    for index in 0..2 {
        let status = world.deal(&deal_id(pack, index)).status;
        assert_eq!(status, DealStatus::Broken { claimed: true });
    }
    assert_eq!(world.provider().record.broken, 2);
    // What is then worked off late finds nothing left to do.
    world.advance(60);
    assert_eq!(world.provider().record.broken, 2);
}

#[test]
fn an_embed_after_the_promised_height_proves_no_deal() {
    let mut world = World::with_sector();
    let pack = world.accepted(1);
    backlog(&mut world, 40);
    let set = crate::query::deal_set(&world.view, &pack).unwrap().unwrap();
    let promise = schedule::promise_height(&world.rules.parameters, set.at);
    // The sector must live until then.
    while world.height().0 + 12 < promise.0 {
        let sector = world.sector(0);
        if sector.proven != Some(sector.next) {
            world.prove(0);
        }
        world.advance(1);
    }
    world.prove(0);
    let layout = world.layout(
        super::world::group(5),
        &[deal_id(pack, 0), deal_id(pack, 1)],
    );
    world.done(0, world.commit_embed(vec![layout]));
    world.advance(2);
    world.done(0, world.commit_replica(5));
    world.advance_to(Height(promise.0 + 1));
    world.land_embed();
    assert_eq!(world.deal(&deal_id(pack, 0)).status, DealStatus::Accepted);
    world.advance(60);
    let status = world.deal(&deal_id(pack, 0)).status;
    assert_eq!(status, DealStatus::Broken { claimed: false });
}

#[test]
fn a_flood_of_sets_delays_nobodys_refund() {
    let mut world = World::with_sector();
    // More sets than a block's end once worked off.
    let packs: Vec<_> = (0..150)
        .map(|nonce| {
            let mut proposal = world.proposal(nonce);
            proposal.terms[0].fund_by = Height(9_999);
            proposal.terms[1].fund_by = Height(9_999);
            (proposal.pack.id().unwrap(), proposal)
        })
        .collect();
    let bodies = packs
        .iter()
        .map(|(_, p)| (1, Body::ProposeDealSet(p.clone())));
    world.block(bodies.collect());
    world.advance(world.rules.parameters.promise.0);
    for (pack, _) in packs {
        let status = world.deal(&deal_id(pack, 1)).status;
        assert_eq!(status, DealStatus::Broken { claimed: false });
    }
}

fn worker(who: usize) -> Body {
    Body::UpdateProvider {
        provider: ProviderId(0),
        worker: address(who),
        offer: offer(),
    }
}

#[test]
fn a_change_of_the_worker_before_the_set_is_included_undoes_no_promise() {
    let mut world = World::with_sector();
    let proposal = world.proposal(1);
    // Worker 0 signed; its owner sees the proposal coming and puts another worker in before it.
    let outcomes = world.block(vec![
        (0, worker(3)),
        (0, worker(4)),
        (1, Body::ProposeDealSet(proposal.clone())),
    ]);
    assert!(
        outcomes
            .iter()
            .all(|o| o.result == crate::block::OutcomeResult::Done)
    );
    world.advance(world.rules.parameters.promise.0);
    // Worker 3 served inside one block only: no client ever saw it.
    let by = |who| claim(world.signed_receipt(world.receipt(&proposal, 0).receipt, who));
    let (unseen, first, now) = (by(3), by(0), by(4));
    world.refused(2, unseen, "signature");
    world.done(2, first);
    world.refused(2, now, "this needs broken");
}

#[test]
fn a_worker_replaced_long_before_answers_for_nothing_and_the_list_is_bounded() {
    let mut world = World::with_sector();
    world.done(0, worker(3));
    world.advance(world.rules.parameters.promise.0);
    let proposal = world.proposal(1);
    world.done(1, Body::ProposeDealSet(proposal.clone()));
    world.advance(world.rules.parameters.promise.0);
    world.refused(2, claim(world.receipt(&proposal, 0)), "signature");
    let receipt = world.receipt(&proposal, 0).receipt;
    world.done(2, claim(world.signed_receipt(receipt, 3)));
    for change in 0..16 {
        world.done(0, worker(4 + change % 2));
    }
    world.refused(0, worker(1), "another change of the worker");
    // An offer may always change.
    world.done(0, worker(5));
    world.advance(2 * world.rules.parameters.promise.0 + 20);
    world.done(0, worker(1));
}
