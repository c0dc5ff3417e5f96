//! Shards that were lost, and who replaces them.

use super::world::{World, address, deal_id, group, sector_id};
use crate::message::{Body, DealSetProposal};
use crate::parameters::Parameters;
use crate::query;
use crate::quote;
use crate::schedule;
use crate::state::{Deal, DealStatus};
use crate::units::{Amount, ByteCount, DealId, Height, PackId, Periods, ProviderId, SectorId};
use proptest::prelude::*;

/// Who repairs: account 3 with provider 2.
const REPAIRER: usize = 3;
const LOSER: ProviderId = ProviderId(0);
const KEEPER: ProviderId = ProviderId(1);
const SECOND: ProviderId = ProviderId(2);
const THIRD: ProviderId = ProviderId(3);

fn claim(deal: DealId, provider: ProviderId) -> Body {
    Body::ClaimRepair { deal, provider }
}

fn sector_of(provider: ProviderId) -> SectorId {
    SectorId {
        provider,
        ..sector_id(0)
    }
}

/// Four providers, of accounts 0, 2, 3 and 4, each with a sector.
fn four() -> World {
    let mut world = World::with_sector();
    for who in 2..5 {
        world.join(who);
    }
    // Every sector has met its next deadline before anything else happens.
    world.prove_until(Height(world.height().0 + 1));
    world
}

/// Any of two shards suffices; the first is the loser's, the second another's, and one is too few.
fn proposal(world: &World, budget: Amount) -> DealSetProposal {
    let mut proposal = world.proposal(1);
    proposal.terms[1].provider = KEEPER;
    proposal.repair_threshold = 2;
    proposal.repair_budget = budget;
    proposal
}

/// Both shards are proven.
fn stored(budget: Amount) -> (World, PackId) {
    let mut world = four();
    let proposal = proposal(&world, budget);
    let pack = proposal.pack.id().unwrap();
    world.done(1, Body::ProposeDealSet(proposal));
    world.done(0, world.accept(deal_id(pack, 0)));
    world.done(2, world.accept_by(KEEPER, deal_id(pack, 1)));
    world.embed_by_hand(sector_of(LOSER), 5, deal_id(pack, 0));
    world.embed_by_hand(sector_of(KEEPER), 5, deal_id(pack, 1));
    (world, pack)
}

fn give_up(world: &mut World, who: usize, provider: ProviderId) {
    let sector = sector_of(provider);
    world.done(who, Body::TerminateSector { sector });
}

/// The first shard is lost with its sector.
fn lost() -> (World, DealId) {
    let (mut world, pack) = stored(Amount::ZERO);
    give_up(&mut world, 0, LOSER);
    (world, deal_id(pack, 0))
}

fn budget(world: &World, pack: &PackId) -> Amount {
    query::deal_set_record(&world.view, pack)
        .unwrap()
        .unwrap()
        .repair_budget
}

fn fees(world: &World, who: usize, body: &Body) -> u128 {
    let nonce = world.account(who).nonce;
    world.sign(who, nonce, body.clone()).message.fee.0
}

fn work(world: &World, deal: &Deal) -> Amount {
    quote::repair_work(&world.rules.parameters.economy, 1, deal.length).unwrap()
}

#[test]
fn a_lost_shard_is_repaired_at_its_price_and_the_work_is_paid_once_it_is_proven() {
    let (mut world, id) = lost();
    let before = world.deal(&id);
    let work = work(&world, &before);
    assert_eq!(before.set_aside, work);
    // What was taken from the loser pays for the work and for the rest of the term.
    let rest = 3 * before.per_period.0;
    assert_eq!(budget(&world, &id.pack).0, work.0 + rest);
    world.done(REPAIRER, claim(id, SECOND));
    let claimed = world.deal(&id);
    assert_eq!(claimed.status, DealStatus::Proposed);
    assert_eq!(
        (claimed.provider, claimed.worker),
        (SECOND, address(REPAIRER))
    );
    assert_eq!((claimed.escrow.0, claimed.term), (rest, Periods(3)));
    assert_eq!(budget(&world, &id.pack), Amount::ZERO);
    assert!(query::deals_of(&world.view, LOSER).unwrap().is_empty());
    let accept = world.accept_by(SECOND, id);
    let paid = world.account(REPAIRER).balance.0 - fees(&world, REPAIRER, &accept);
    world.done(REPAIRER, accept);
    let locked = query::provider(&world.view, SECOND)
        .unwrap()
        .unwrap()
        .locked;
    world.embed_by_hand(sector_of(SECOND), 7, id);
    assert_eq!(world.account(REPAIRER).balance.0, paid + work.0);
    let provider = query::provider(&world.view, SECOND).unwrap().unwrap();
    let deposit = world.rules.parameters.economy.repair_deposit;
    assert_eq!(locked.0 - provider.locked.0, deposit.0);
    let repaired = world.deal(&id);
    assert!(matches!(repaired.status, DealStatus::Proven { .. }));
    assert_eq!((repaired.repair, repaired.set_aside), (None, Amount::ZERO));
    // It runs like any other from there, past the heights that were said for the first.
    let end = world.height().0 + 200;
    world.prove_until(Height(end));
    let over = world.deal(&id);
    assert_eq!(over.status, DealStatus::Expired);
    assert_eq!((over.paid, over.refunded), (Periods(3), Periods(0)));
    assert_eq!(over.locked, Amount::ZERO);
    let record = query::provider(&world.view, SECOND)
        .unwrap()
        .unwrap()
        .record;
    let burnt = 3 * before.per_period.0.div_ceil(10);
    assert_eq!(record.paid.0, work.0 + rest - burnt);
    assert_eq!(record.broken, 0);
}

#[test]
fn a_claim_with_any_field_wrong_is_refused() {
    let (mut world, pack) = stored(Amount(1_000));
    let id = deal_id(pack, 0);
    world.refused(REPAIRER, claim(id, SECOND), "is proven; this needs failed");
    give_up(&mut world, 0, LOSER);
    world.refused(1, claim(id, SECOND), "only the worker of provider 2");
    world.refused(REPAIRER, claim(id, ProviderId(9)), "no provider 9");
    world.refused(REPAIRER, claim(deal_id(pack, 2), SECOND), "no deal");
    let elsewhere = deal_id(PackId([9; 32]), 0);
    world.refused(REPAIRER, claim(elsewhere, SECOND), "no deal set");
    world.refused(
        REPAIRER,
        claim(deal_id(pack, 1), SECOND),
        "is proven; this needs failed",
    );
    world.refused(0, claim(id, LOSER), "the repairing provider");
    world.refused(2, claim(id, KEEPER), "exists already");
    world.done(4, Body::Retire { provider: THIRD });
    world.refused(4, claim(id, THIRD), "retiring");
    let poor = Body::WithdrawCollateral {
        provider: SECOND,
        amount: Amount(Amount::hold(89).0),
    };
    world.done(REPAIRER, poor);
    world.refused(REPAIRER, claim(id, SECOND), "free collateral");
    let more = Body::AddCollateral {
        provider: SECOND,
        amount: Amount::hold(50),
    };
    world.done(REPAIRER, more);
    world.done(REPAIRER, claim(id, SECOND));
    world.refused(
        REPAIRER,
        claim(id, SECOND),
        "is proposed; this needs failed",
    );
    // Who has claimed it accepts it, and nobody else.
    world.refused(0, world.accept(id), "the deal's provider");
}

#[test]
fn nothing_is_repaired_above_the_owners_threshold() {
    let mut world = four();
    let mut proposal = proposal(&world, Amount::hold(1));
    proposal.repair_threshold = 1;
    let pack = proposal.pack.id().unwrap();
    world.done(1, Body::ProposeDealSet(proposal));
    world.done(0, world.accept(deal_id(pack, 0)));
    world.done(2, world.accept_by(KEEPER, deal_id(pack, 1)));
    world.embed_by_hand(sector_of(LOSER), 5, deal_id(pack, 0));
    give_up(&mut world, 0, LOSER);
    let body = claim(deal_id(pack, 0), SECOND);
    world.refused(REPAIRER, body, "its owner has repairs below 1 only");
}

#[test]
fn a_budget_that_does_not_pay_for_the_rest_of_the_term_is_topped_up_by_anybody() {
    let (mut world, pack) = stored(Amount::ZERO);
    let id = deal_id(pack, 0);
    let top_up = |amount| Body::TopUpRepair { pack, amount };
    world.refused(5, top_up(Amount::ZERO), "the amount is empty");
    world.refused(5, top_up(Amount::hold(1_000)), "fund it with");
    world.refused(
        5,
        Body::TopUpRepair {
            pack: PackId([9; 32]),
            amount: Amount(1),
        },
        "no deal set",
    );
    // A deal that runs longer than the penalty of its loss pays for.
    let renewed = Body::RenewDealSet {
        pack,
        periods: Periods(400),
        least: 2,
    };
    world.done(1, renewed);
    give_up(&mut world, 0, LOSER);
    let deal = world.deal(&id);
    let need = 400 * deal.per_period.0 + work(&world, &deal).0;
    let missing = Amount(need - budget(&world, &pack).0);
    let sentence = format!("top it up with {missing} more");
    world.refused(REPAIRER, claim(id, SECOND), &sentence);
    world.done(5, top_up(Amount(missing.0 - 1)));
    world.refused(
        REPAIRER,
        claim(id, SECOND),
        "top it up with 0.000000001 HOLD more",
    );
    world.done(5, top_up(Amount(1)));
    world.done(REPAIRER, claim(id, SECOND));
    assert_eq!(world.deal(&id).term, Periods(400));
}

#[test]
fn a_repair_runs_no_longer_than_the_rest_of_its_set() {
    let (mut world, pack) = stored(Amount::hold(1));
    let id = deal_id(pack, 0);
    give_up(&mut world, 0, LOSER);
    while world.deal(&deal_id(pack, 1)).paid == Periods(0) {
        world.prove_until(Height(world.height().0 + 1));
    }
    world.done(REPAIRER, claim(id, SECOND));
    let deal = world.deal(&id);
    assert_eq!(
        (deal.term, deal.escrow.0),
        (Periods(2), 2 * deal.per_period.0)
    );
}

#[test]
fn a_repair_that_is_not_finished_in_time_burns_its_deposit_and_another_claims_it() {
    for accepts in [false, true] {
        let (mut world, id) = lost();
        let before = budget(&world, &id.pack);
        let fresh = query::provider(&world.view, SECOND).unwrap().unwrap();
        world.done(REPAIRER, claim(id, SECOND));
        let due = schedule::repair_due(&world.rules.parameters, world.height());
        if accepts {
            world.done(REPAIRER, world.accept_by(SECOND, id));
        }
        // What accepting locked goes the way of every lost shard's.
        let penalty = world.deal(&id).locked;
        // Others go on, so that the set does.
        let renewed = Body::RenewDealSet {
            pack: id.pack,
            periods: Periods(9),
            least: 1,
        };
        world.done(1, renewed);
        world.prove_until(Height(due.0 - 1));
        assert!(world.deal(&id).repair.is_some());
        world.prove_until(due);
        let deal = world.deal(&id);
        assert!(matches!(deal.status, DealStatus::Failed { .. }), "{deal:?}");
        assert_eq!((deal.escrow, deal.locked), (Amount::ZERO, Amount::ZERO));
        assert!(budget(&world, &id.pack) >= before);
        let provider = query::provider(&world.view, SECOND).unwrap().unwrap();
        let deposit = world.rules.parameters.economy.repair_deposit;
        assert_eq!(
            provider.record.fined.0 - fresh.record.fined.0,
            deposit.0 + penalty.0
        );
        assert_eq!(provider.record.broken, 1);
        world.refused(REPAIRER, claim(id, SECOND), "the repairing provider");
        world.refused(REPAIRER, world.accept_by(SECOND, id), "this needs proposed");
        world.done(4, claim(id, THIRD));
        world.done(4, world.accept_by(THIRD, id));
        world.embed_by_hand(sector_of(THIRD), 5, id);
        assert!(matches!(world.deal(&id).status, DealStatus::Proven { .. }));
    }
}

/// A backlog may put the end of a claim off, but an embed after its height proves nothing.
#[test]
fn an_embed_after_the_repairs_height_does_not_finish_it() {
    let (mut world, id) = lost();
    world.done(REPAIRER, claim(id, SECOND));
    world.done(REPAIRER, world.accept_by(SECOND, id));
    let due = world.deal(&id).repair.unwrap().due;
    world.by_hand(|context| {
        let repair = super::super::due::Due::Repair(id);
        context.unschedule(repair, due);
        context.schedule(repair, Height(due.0 + 5));
        Ok(())
    });
    world.prove_until(Height(due.0 + 1));
    world.embed_by_hand(sector_of(SECOND), 7, id);
    assert_eq!(world.deal(&id).status, DealStatus::Accepted);
    assert!(world.deal(&id).repair.is_some());
}

#[test]
fn the_budget_goes_back_with_the_last_deal_and_not_while_a_repair_is_under_way() {
    let (mut world, id) = lost();
    let of_penalties = |world: &World| {
        let set = query::deal_set_record(&world.view, &id.pack).unwrap();
        set.unwrap().of_penalties.0
    };
    let rest = budget(&world, &id.pack).0 - of_penalties(&world);
    world.done(REPAIRER, claim(id, SECOND));
    let owner = world.account(1).balance;
    let other = world.deal(&deal_id(id.pack, 1));
    give_up(&mut world, 2, KEEPER);
    // The escrow of the second is back; the claim still lives, and so does the budget.
    assert_eq!(world.account(1).balance.0, owner.0 + other.escrow.0);
    let own = work(&world, &other).0 + other.escrow.0;
    assert_eq!(budget(&world, &id.pack).0, own);
    let due = world.deal(&id).repair.unwrap().due;
    world.prove_until(due);
    assert_eq!(budget(&world, &id.pack), Amount::ZERO);
    // What it had put there itself; what the lost deals paid is burnt.
    assert_eq!(of_penalties(&world), 0);
    let back = owner.0 + other.escrow.0 + rest;
    assert_eq!(world.account(1).balance.0, back);
    world.refused(
        4,
        claim(id, THIRD),
        "is over; this needs a deal that is not over",
    );
    let top_up = Body::TopUpRepair {
        pack: id.pack,
        amount: Amount(1),
    };
    world.refused(5, top_up, "is over");
}

#[test]
fn an_owner_does_not_take_back_what_a_repairer_has_begun() {
    let (mut world, id) = lost();
    world.done(REPAIRER, claim(id, SECOND));
    let cancel = Body::CancelDealSet { pack: id.pack };
    world.refused(1, cancel, "accepted or over");
    assert!(world.deal(&id).repair.is_some());
}

/// The loser's embed with the shard is still under way when another has it, in a sector of the same
/// number.
fn taken_over() -> (World, DealId) {
    let mut world = four();
    let proposal = proposal(&world, Amount::hold(1));
    let id = deal_id(proposal.pack.id().unwrap(), 0);
    world.done(1, Body::ProposeDealSet(proposal));
    world.done(0, world.accept(id));
    world.done(2, world.accept_by(KEEPER, deal_id(id.pack, 1)));
    let layout = world.layout(super::world::group(5), &[id]);
    world.done(0, world.commit_embed(vec![layout]));
    world.advance(2);
    world.done(0, world.commit_replica(5));
    world.by_hand(|context| {
        let deal = context.ledger.deal(&id)?;
        context.fail_deal(&id, deal, "its two roots are of different bytes", None)
    });
    world.done(REPAIRER, claim(id, SECOND));
    world.done(REPAIRER, world.accept_by(SECOND, id));
    world.by_hand(|context| {
        let mut deal = context.ledger.deal(&id)?;
        deal.sector = Some(sector_of(SECOND).number);
        context.ledger.put_deal(&id, &deal)
    });
    (world, id)
}

#[test]
fn an_embed_of_the_one_who_lost_a_shard_does_nothing_for_who_repairs_it() {
    let (mut world, id) = taken_over();
    let before = world.deal(&id);
    world.advance(2);
    world.land_embed();
    assert_eq!(world.deal(&id), before);
    // What lies in the loser's groups keeps it from nothing.
    world.done(0, Body::Retire { provider: LOSER });
    let (_, window) = schedule::next_window(&world.rules.parameters, &world.sector(0)).unwrap();
    world.prove_until(window.close);
    let sector = sector_id(0);
    world.done(0, Body::EndSector { sector });
    assert_eq!(world.deal(&id), before);
}

#[test]
fn the_end_of_the_sector_that_lost_a_shard_does_nothing_to_who_repairs_it() {
    let (mut world, id) = taken_over();
    let before = world.deal(&id);
    give_up(&mut world, 0, LOSER);
    assert_eq!(world.deal(&id), before);
}

#[test]
fn a_fraud_of_the_repairer_returns_what_the_repair_took_and_burns_its_deposit() {
    let (mut world, id) = lost();
    let before = budget(&world, &id.pack);
    world.done(REPAIRER, claim(id, SECOND));
    world.done(REPAIRER, world.accept_by(SECOND, id));
    let demand = Body::DemandOpening { deal: id, quad: 0 };
    world.done(5, demand);
    let fresh = query::provider(&world.view, SECOND)
        .unwrap()
        .unwrap()
        .record;
    let locked = world.deal(&id).locked;
    // Silence is fraud.
    world.prove_until(world.deal(&id).demand.unwrap().due);
    let deal = world.deal(&id);
    assert!(matches!(deal.status, DealStatus::Failed { .. }));
    assert_eq!((deal.repair.clone(), deal.demand.clone()), (None, None));
    let after = query::provider(&world.view, SECOND)
        .unwrap()
        .unwrap()
        .record;
    let deposit = world.rules.parameters.economy.repair_deposit;
    assert_eq!(after.fined.0 - fresh.fined.0, locked.0 + deposit.0);
    assert!(budget(&world, &id.pack) >= before);
    assert_eq!(deal.set_aside, work(&world, &deal));
}

/// The first shard is lost by silence, repaired by the second provider, and lost with its sector.
fn lost_twice() -> (World, DealId) {
    let (mut world, pack) = stored(Amount::hold(1));
    let id = deal_id(pack, 0);
    world.done(5, Body::DemandOpening { deal: id, quad: 0 });
    world.prove_until(world.deal(&id).demand.unwrap().due);
    world.done(REPAIRER, claim(id, SECOND));
    world.done(REPAIRER, world.accept_by(SECOND, id));
    world.embed_by_hand(sector_of(SECOND), 7, id);
    give_up(&mut world, REPAIRER, SECOND);
    assert!(matches!(world.deal(&id).status, DealStatus::Failed { .. }));
    (world, id)
}

#[test]
fn who_lost_a_shard_may_have_it_again_after_another_and_write_it_where_there_is_room() {
    let (mut world, id) = lost_twice();
    let old = |world: &World| world.sector(0).groups.clone();
    // What lay there once is still listed, and is nobody's piece any more.
    assert_eq!(old(&world), [world.layout(group(5), &[id])]);
    world.done(0, claim(id, LOSER));
    world.done(0, world.accept(id));
    let twice = vec![world.layout(group(5), &[id]), world.layout(group(6), &[id])];
    world.refused(0, world.commit_embed(twice), "2 for subtree 0");
    let written = world.layout(group(6), &[id]);
    world.done(0, world.commit_embed(vec![written.clone()]));
    world.advance(2);
    world.done(0, world.commit_replica(6));
    world.advance(2);
    world.land_embed();
    assert_eq!(old(&world), std::slice::from_ref(&written));
    assert!(matches!(world.deal(&id).status, DealStatus::Proven { .. }));
    // It stays there whole when that group is written again.
    let empty = |world: &World, at| world.layout(group(at), &[]);
    let without = world.commit_embed(vec![empty(&world, 6)]);
    world.refused(0, without, "0 for subtree 0");
    let beside = world.commit_embed(vec![empty(&world, 5), written]);
    world.done(0, beside);
}

#[test]
fn a_shard_that_another_has_by_now_does_not_spoil_the_acceptance_of_the_rest() {
    let (mut world, id) = lost();
    world.done(REPAIRER, claim(id, SECOND));
    let mut more = proposal(&world, Amount::ZERO);
    more.pack.nonce = 7;
    let own = deal_id(more.pack.id().unwrap(), 0);
    world.done(1, Body::ProposeDealSet(more));
    let mut both = world.accept(id);
    let (Body::AcceptDeals { deals, .. }, Body::AcceptDeals { deals: rest, .. }) =
        (&mut both, world.accept(own))
    else {
        panic!("acceptances accept deals");
    };
    deals.extend(rest);
    world.done(0, both);
    assert_eq!(world.deal(&own).status, DealStatus::Accepted);
    assert_eq!(world.deal(&id).provider, SECOND);
    assert_eq!(world.deal(&id).status, DealStatus::Proposed);
}

/// It came back to who lost it first, and lies in another sector of it.
fn lies_elsewhere() -> (World, DealId) {
    let (mut world, id) = lost_twice();
    world.done(0, claim(id, LOSER));
    world.done(0, world.accept(id));
    world.by_hand(|context| {
        let mut deal = context.ledger.deal(&id)?;
        deal.sector = Some(crate::units::SectorNumber(1));
        context.ledger.put_deal(&id, &deal)
    });
    (world, id)
}

#[test]
fn a_shard_that_lies_in_another_sector_by_now_does_not_keep_its_old_group_from_being_written() {
    let (mut world, _) = lies_elsewhere();
    let empty = world.layout(group(5), &[]);
    world.done(0, world.commit_embed(vec![empty]));
}

#[test]
fn a_shard_that_lies_in_another_sector_by_now_does_not_keep_its_old_one_from_ending() {
    let (mut world, id) = lies_elsewhere();
    assert_eq!(world.sector(0).groups, [world.layout(group(5), &[id])]);
    world.done(0, Body::Retire { provider: LOSER });
    // Past the window of the deadline that is open.
    world.prove_until(Height(world.height().0 + 2));
    let sector = sector_of(LOSER);
    world.done(0, Body::EndSector { sector });
}

/// A set whose first shard was never accepted; its promise is broken now.
fn promise_broken(claimed: bool) -> (World, DealId) {
    let mut world = four();
    let proposal = proposal(&world, Amount::hold(1));
    let id = deal_id(proposal.pack.id().unwrap(), 0);
    world.done(1, Body::ProposeDealSet(proposal.clone()));
    world.done(2, world.accept_by(KEEPER, deal_id(id.pack, 1)));
    world.embed_by_hand(sector_of(KEEPER), 5, deal_id(id.pack, 1));
    let renewed = Body::RenewDealSet {
        pack: id.pack,
        periods: Periods(9),
        least: 1,
    };
    world.done(1, renewed);
    let promise = world.rules.parameters.promise.0;
    world.prove_until(Height(world.height().0 + promise));
    if claimed {
        let receipt = world.receipt(&proposal, 0);
        world.done(5, Body::ClaimBrokenPromise { receipt });
    }
    (world, id)
}

#[test]
fn a_broken_promise_is_repaired_once_nobody_can_claim_it_and_only_a_claimed_one_pays_the_work() {
    for claimed in [true, false] {
        let (mut world, id) = promise_broken(claimed);
        world.refused(REPAIRER, claim(id, SECOND), "whose provider still answers");
        let end = world.deal(&id).release.unwrap();
        world.prove_until(end);
        let before = budget(&world, &id.pack);
        world.done(REPAIRER, claim(id, SECOND));
        let deal = world.deal(&id);
        let work = match claimed {
            true => work(&world, &deal),
            false => Amount::ZERO,
        };
        assert_eq!(deal.repair.clone().unwrap().work, work);
        let taken = before.0 - budget(&world, &id.pack).0;
        assert_eq!(taken, work.0 + 3 * deal.per_period.0);
        world.done(REPAIRER, world.accept_by(SECOND, id));
        world.embed_by_hand(sector_of(SECOND), 7, id);
        assert!(matches!(world.deal(&id).status, DealStatus::Proven { .. }));
    }
}

/// All that accounts 0, 3 and 5 and their providers 0 and 2 have: the loser, the repairer and a finder
/// are one.
fn wealth(world: &World) -> u128 {
    let accounts: u128 = [0, 3, 5]
        .map(|who| world.account(who).balance.0)
        .iter()
        .sum();
    let provider = |id| {
        let provider = query::provider(&world.view, id).unwrap().unwrap();
        let vesting: u128 = provider.vesting.iter().map(|one| one.amount.0).sum();
        provider.collateral.0 + vesting
    };
    accounts + provider(LOSER) + provider(SECOND)
}

#[test]
fn losing_a_shard_and_repairing_it_under_another_name_does_not_pay() {
    let fail = |world: &mut World, id: DealId| {
        // As cheap as a loss can be: shown by a friend, in a sector that stays.
        world.by_hand(|context| {
            let deal = context.ledger.deal(&id)?;
            context.fail_deal(
                &id,
                deal,
                "its two roots are of different bytes",
                Some(&address(5)),
            )
        });
    };
    let outcome = |loses: bool| {
        let (mut world, pack) = stored(Amount::hold(10));
        let id = deal_id(pack, 0);
        if loses {
            fail(&mut world, id);
            world.done(REPAIRER, claim(id, SECOND));
            world.done(REPAIRER, world.accept_by(SECOND, id));
            world.embed_by_hand(sector_of(SECOND), 7, id);
        }
        world.prove_until(Height(400));
        assert_eq!(world.deal(&id).status, DealStatus::Expired);
        wealth(&world)
    };
    let (honest, cheat) = (outcome(false), outcome(true));
    let (world, pack) = stored(Amount::ZERO);
    let deal = world.deal(&deal_id(pack, 0));
    // The finder's tenth and the work come back of the penalty; fees come on top of what is left.
    let lost = deal.locked.0 - deal.locked.0 / 10 - work(&world, &deal).0;
    assert!(cheat + lost <= honest, "{cheat} {honest} {lost}");
}

/// However long the shard is and however many it takes to rebuild it, whatever a friend finds.
#[test]
fn the_work_of_a_repair_is_never_more_than_what_a_finder_leaves_of_the_penalty() {
    let economy = Parameters::dev().economy;
    for k in 1..=quote::MAX_SHARDS {
        for length in [1, 16 * 1024, 16 * 1024 + 1, 349_526, 1 << 20, 64 << 20] {
            let length = ByteCount(length);
            let penalty = quote::deal_collateral(&economy, length).unwrap();
            let found = quote::finder_share(&economy, penalty).unwrap();
            let work = quote::repair_work(&economy, k, length).unwrap();
            assert!(work.0 + found.0 < penalty.0, "{k} {length}");
        }
    }
}

/// One of the many things that can happen to a set: what, to which shard, by whom, and how much of it.
fn happens(world: &mut World, pack: PackId, (kind, shard, who, number): (u8, u8, usize, u64)) {
    let id = deal_id(pack, shard);
    let deal = world.deal(&id);
    let provider = ProviderId(who as u64 - 1);
    let body = match kind {
        0..=2 => claim(id, provider),
        3 | 4 => world.accept_by(deal.provider, id),
        5 => Body::TopUpRepair {
            pack,
            amount: Amount(number.into()),
        },
        6 => Body::RenewDealSet {
            pack,
            periods: Periods(number % 9 + 1),
            least: 1,
        },
        7 => Body::CancelDealSet { pack },
        8 => Body::DemandOpening {
            deal: id,
            quad: number % 100,
        },
        9 | 10 if deal.status == DealStatus::Accepted => {
            let sector = sector_of(deal.provider);
            return world.embed_by_hand(sector, (number % 64) as u8, id);
        }
        11 if deal.locked != Amount::ZERO => {
            return world.by_hand(|context| {
                context.fail_deal(&id, deal, "shown a fraud", Some(&address(5)))
            });
        }
        _ => {
            let height = Height(world.height().0 + number % 40);
            return world.prove_until(height);
        }
    };
    let signer = match kind {
        0..=2 => who,
        // Providers 0 to 3 are those of accounts 0, 2, 3 and 4.
        3 | 4 if deal.provider == LOSER => 0,
        3 | 4 => deal.provider.0 as usize + 1,
        _ => 1,
    };
    world.send(signer, body);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Each block counts the books anew, every lock and every listing; in the end nothing is left over.
    #[test]
    fn whatever_happens_to_a_set_its_tokens_end_with_somebody(
        events in proptest::collection::vec((0u8..14, 0u8..2, 2usize..5, 0u64..1_000), 10..40)
    ) {
        let (mut world, pack) = stored(Amount::hold(1));
        for event in events {
            happens(&mut world, pack, event);
        }
        let end = Height(world.height().0 + 30 * 12 + 200);
        world.prove_until(end);
        let set = query::deal_set_record(&world.view, &pack).unwrap().unwrap();
        prop_assert_eq!((set.live, set.repair_budget), (0, Amount::ZERO));
        prop_assert_eq!(query::supply(&world.view).unwrap().escrow, Amount::ZERO);
    }
}

#[test]
fn what_is_taken_from_a_provider_and_not_used_for_a_repair_burns_in_the_end() {
    // Account 1 owns the deals of a provider that is its friend's, and shows that they hold nothing.
    let mut world = World::with_sector();
    let pack = world.propose(7);
    let id = deal_id(pack, 0);
    let mut body = world.accept(id);
    if let Body::AcceptDeals { deals, .. } = &mut body {
        // Of the other shard's bytes.
        deals[0].piece_roots = world.piece_roots(1);
    }
    world.done(0, body);
    let locked = world.deal(&id).locked;
    let together = |world: &World| {
        let provider = world.provider();
        let set = query::deal_set_record(&world.view, &pack).unwrap().unwrap();
        world.account(0).balance.0
            + world.account(1).balance.0
            + provider.collateral.0
            + set.repair_budget.0
    };
    let before = together(&world);
    world.by_hand(|context| {
        let deal = context.ledger.deal(&id)?;
        context.fail_deal(&id, deal, "shown", Some(&address(1)))
    });
    let set = |world: &World| query::deal_set_record(&world.view, &pack).unwrap().unwrap();
    assert!(set(&world).of_penalties > Amount::ZERO);
    world.done(1, Body::CancelDealSet { pack });
    assert_eq!(set(&world).of_penalties, Amount::ZERO);
    assert_eq!(set(&world).repair_budget, Amount::ZERO);
    // The finder's tenth, and what the escrow gave back, is all that is left of it among them.
    let found = quote::finder_share(&world.rules.parameters.economy, locked).unwrap();
    let lost = before + 2 * world.deal(&id).per_period.0 * 3 - together(&world);
    assert!(lost + found.0 >= locked.0, "{lost} {found} {locked}");
}

#[test]
fn a_claim_that_lapsed_makes_the_next_one_dearer_and_takes_nothing_from_the_term() {
    let (mut world, id) = lost();
    let economy = world.rules.parameters.economy.clone();
    let renewal = |periods, least| Body::RenewDealSet {
        pack: id.pack,
        periods: Periods(periods),
        least,
    };
    // The other shard lives for long enough.
    world.done(1, renewal(40, 1));
    let before = world.deal(&id);
    for (lapsed, (who, provider)) in [(REPAIRER, SECOND), (4, THIRD), (REPAIRER, SECOND)]
        .into_iter()
        .enumerate()
    {
        let deposit = economy.repair_deposit.0 << lapsed;
        world.done(who, claim(id, provider));
        let repair = world.deal(&id).repair.unwrap();
        assert_eq!(repair.deposit.0, deposit);
        // The owner does not pay into what a repairer may let lapse.
        let both = renewal(50, 2);
        let few = "the number of deals that can have so many periods left";
        world.refused(1, both, few);
        let burnt = query::supply(&world.view).unwrap().burnt;
        world.prove_until(repair.due);
        assert!(query::supply(&world.view).unwrap().burnt.0 - burnt.0 >= deposit);
        let deal = world.deal(&id);
        assert_eq!((deal.term, deal.lapsed), (before.term, lapsed as u32 + 1));
        world.prove_until(deal.release.unwrap_or(repair.due));
    }
}
