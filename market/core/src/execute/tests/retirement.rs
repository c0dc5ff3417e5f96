//! A provider leaves and takes everything with it that nobody has a claim to.

use super::world::{World, deal_id, group, sector_id};
use crate::message::Body;
use crate::schedule;
use crate::state::{DealStatus, SectorStatus};
use crate::units::{Amount, Height, ProviderId};

const RETIRE: Body = Body::Retire {
    provider: ProviderId(0),
};

fn end() -> Body {
    Body::EndSector {
        sector: sector_id(0),
    }
}

fn withdraw(amount: Amount) -> Body {
    Body::WithdrawCollateral {
        provider: ProviderId(0),
        amount,
    }
}

#[test]
fn a_provider_that_retires_promises_nothing_new() {
    let mut world = World::with_sector();
    world.refused(1, RETIRE, "only the owner");
    let waiting = world.propose(1);
    world.done(0, RETIRE);
    world.refused(0, RETIRE, "is retiring; this needs not retiring");
    world.refused(0, world.pre_commit(1), "is retiring");
    // What it has signed for it takes, and a receipt of before can still be funded.
    world.done(0, world.accept(deal_id(waiting, 0)));
    let mut late = world.proposal(2);
    for terms in &mut late.terms {
        terms.fund_by = Height(u64::MAX);
    }
    let mut in_time = late.clone();
    in_time.pack.nonce = 3;
    world.done(1, Body::ProposeDealSet(in_time));
    let since = world.provider().retiring.unwrap();
    world.advance_to(schedule::last_funding(&world.rules.parameters, since));
    world.refused(
        1,
        Body::ProposeDealSet(late),
        "a receipt of a provider that retires",
    );
}

#[test]
fn an_empty_sector_of_a_provider_that_retires_ends_and_costs_nothing() {
    let mut world = World::with_sector();
    world.done(0, RETIRE);
    world.prove_and_close(0);
    let before = world.provider();
    assert_ne!(before.locked, Amount::ZERO);
    world.done(0, end());
    let provider = world.provider();
    assert_eq!(provider.locked, Amount::ZERO);
    assert_eq!(provider.collateral, before.collateral);
    assert_eq!(provider.record.fined, before.record.fined);
    let sector = world.sector(0);
    assert!(matches!(sector.status, SectorStatus::Terminated { .. }));
    // Its deadline is not asked after any more.
    world.advance(200);
    assert_eq!(world.provider().record.missed, 0);
}

#[test]
fn a_sector_that_does_not_hold_what_it_proved_cannot_leave_for_nothing() {
    let mut world = World::with_sector();
    world.done(0, RETIRE);
    world.close(0);
    world.refused(0, end(), "is faulty; this needs active");
    // Nor may one leave that knows its challenge.
    let mut world = World::with_sector();
    world.done(0, RETIRE);
    world.prove_and_close(0);
    let sector = world.sector(0);
    let window = schedule::window(&world.rules.parameters, sector.next, sector.deadline);
    world.advance_to(schedule::last_choice(&world.rules.parameters, window));
    world.refused(0, end(), "leaving before this deadline");
    world.prove_and_close(0);
    world.done(0, end());
}

#[test]
fn deals_run_to_their_end_before_their_sector_leaves() {
    let (mut world, pack) = World::embedded();
    world.done(0, RETIRE);
    while world.deal(&deal_id(pack, 0)).status != DealStatus::Expired {
        world.prove_and_close(0);
    }
    // The deal is over, and what answers for it is locked until the dispute window is.
    let deal = world.deal(&deal_id(pack, 0));
    assert_ne!(deal.locked, Amount::ZERO);
    world.refused(0, end(), "holding what somebody may have a claim to");
    while world.deal(&deal_id(pack, 1)).locked != Amount::ZERO {
        world.prove_and_close(0);
    }
    let before = world.provider().collateral;
    world.done(0, end());
    assert_eq!(world.provider().collateral, before);
    assert_eq!(world.provider().locked, Amount::ZERO);
}

#[test]
fn a_sector_with_a_running_deal_or_an_embed_under_way_does_not_leave() {
    let (mut world, _) = World::embedded();
    world.done(0, RETIRE);
    world.prove_and_close(0);
    world.refused(0, end(), "holding what somebody may have a claim to");
    let mut world = World::with_sector();
    world.refused(0, end(), "is not retiring");
    let pack = world.accepted(1);
    let layout = world.layout(group(5), &[deal_id(pack, 0)]);
    world.done(0, world.commit_embed(vec![layout]));
    world.done(0, RETIRE);
    world.refused(0, end(), "holding what somebody may have a claim to");
    world.refused(1, end(), "only the worker");
}

/// The example of `docs/ECONOMY.md`.
#[test]
fn example_a_provider_that_leaves() {
    let parameters = crate::parameters::Parameters::dev();
    let last = schedule::past_worker_forgotten(&parameters, Height(1_000));
    assert_eq!(last, Height(1_190));
}

#[test]
fn the_least_collateral_is_free_once_no_receipt_can_be_claimed_any_more() {
    let mut world = World::new();
    world.register();
    let all = world.provider().collateral;
    world.done(0, RETIRE);
    let since = world.provider().retiring.unwrap();
    let last = schedule::past_worker_forgotten(&world.rules.parameters, since);
    world.advance_to(Height(last.0 - 1));
    world.refused(0, withdraw(all), "free collateral");
    world.done(0, withdraw(all));
    assert_eq!(world.provider().collateral, Amount::ZERO);
}
