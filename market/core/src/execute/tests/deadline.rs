use super::world::{CLASS, World, deal_id};
use crate::message::{Body, SpacetimeProof};
use crate::query;
use crate::quote;
use crate::schedule;
use crate::state::{DealStatus, SectorStatus};
use crate::units::{
    Amount, ByteCount, Deadline, Height, Period, Periods, ProviderId, SectorNumber,
};
use holdfast_proofs::proof::ProofBytes;

fn fee(world: &World, declared: bool) -> u128 {
    let economy = &world.rules.parameters.economy;
    let missed = if declared {
        0
    } else {
        economy.missed_fee_per_gib.0
    };
    let rate = Amount(economy.fault_fee_per_gib.0 + missed);
    quote::per_gib(rate, ByteCount(CLASS.bytes())).unwrap().0
}

fn numbers(list: &[u64]) -> Vec<SectorNumber> {
    list.iter().map(|number| SectorNumber(*number)).collect()
}

fn declare(sectors: &[u64]) -> Body {
    Body::DeclareFault {
        provider: ProviderId(0),
        sectors: numbers(sectors),
    }
}

fn recover(sectors: &[u64]) -> Body {
    Body::Recover {
        provider: ProviderId(0),
        sectors: numbers(sectors),
    }
}

fn window(world: &World) -> schedule::Window {
    schedule::next_window(&world.rules.parameters, &world.sector(0))
        .unwrap()
        .1
}

#[test]
fn a_proven_deadline_is_rewarded_and_the_reward_vests() {
    let mut world = World::with_sector();
    let before = world.account(0).balance;
    world.prove_and_close(0);
    let provider = world.provider();
    assert_eq!(provider.record.proven, 1);
    let economy = world.rules.parameters.economy.clone();
    // One sector alone is capped, so that a small network is not flooded.
    let cap = quote::per_gib_floor(economy.reward_cap_per_gib, ByteCount(CLASS.bytes())).unwrap();
    assert_eq!(provider.record.rewarded, cap);
    assert_eq!(provider.vesting.len(), 1);
    assert_eq!(provider.collateral, Amount::hold(100));
    for _ in 0..economy.vesting.0 + 1 {
        world.prove_and_close(0);
    }
    assert!(world.account(0).balance.0 >= before.0 + cap.0);
    assert!(world.provider().vesting.len() as u64 <= economy.vesting.0 + 1);
}

#[test]
fn a_missed_deadline_costs_a_fee_and_pays_nothing() {
    let mut world = World::with_sector();
    world.close(0);
    let provider = world.provider();
    assert_eq!(provider.record.missed, 1);
    assert_eq!(
        provider.collateral.0,
        Amount::hold(100).0 - fee(&world, false)
    );
    assert!(provider.vesting.is_empty());
    assert_eq!(
        world.sector(0).status,
        SectorStatus::Faulty { recovering: false }
    );
    assert_eq!(world.sector(0).faults, Periods(1));
    // The next one is a known fault: without the surcharge.
    world.close(0);
    let both = fee(&world, false) + fee(&world, true);
    assert_eq!(world.provider().collateral.0, Amount::hold(100).0 - both);
}

#[test]
fn a_fault_can_be_declared_and_recovered_only_before_the_challenge_is_known() {
    let mut world = World::with_sector();
    world.prove_and_close(0);
    world.refused(1, declare(&[0]), "only the worker");
    world.refused(0, declare(&[]), "the number of sectors");
    world.refused(0, declare(&[0, 0]), "ascending");
    world.refused(0, declare(&[5]), "no sector 0/5");
    world.refused(0, recover(&[0]), "is active; this needs faulty");
    world.done(0, declare(&[0]));
    world.refused(0, declare(&[0]), "is faulty; this needs active");
    world.done(0, recover(&[0]));
    world.done(0, declare(&[0]));
    let delay = world.rules.parameters.beacon_delay;
    let last = window(&world).open.before(delay);
    world.advance_to(Height(last.0 - 1));
    world.done(0, recover(&[0]));
    // Whoever builds the blocks from here to the window knows the challenge ahead of the others.
    world.refused(0, declare(&[0]), "was due by height");
    world.prove_and_close(0);
    world.done(0, declare(&[0]));
    let last = window(&world).open.before(delay);
    world.advance_to(last);
    world.refused(0, recover(&[0]), "was due by height");
    let collateral = world.provider().collateral.0;
    world.close(0);
    assert_eq!(
        world.provider().collateral.0,
        collateral - fee(&world, true)
    );
    world.done(0, recover(&[0]));
    let last = window(&world).open.before(delay);
    world.advance_to(last);
    world.refused(0, declare(&[0]), "was due by height");
    world.prove_and_close(0);
    assert_eq!(world.sector(0).faults, Periods(0));
    assert!(matches!(
        world.sector(0).status,
        SectorStatus::Active { .. }
    ));
}

#[test]
fn recovering_fills_up_what_fees_took_from_the_sectors_lock() {
    let mut world = World::with_sector();
    let full = world.sector(0).locked;
    world.close(0);
    assert_eq!(world.sector(0).locked.0, full.0 - fee(&world, false));
    world.done(0, recover(&[0]));
    assert_eq!(world.sector(0).locked, full);
    assert_eq!(world.provider().locked, full);
}

#[test]
fn spacetime_proofs_outside_their_window_or_place_are_refused() {
    let mut world = World::with_sector();
    let sector = world.sector(0);
    let (period, deadline) = (sector.next, sector.deadline);
    let prove = |period, deadline, sectors: &[u64]| Body::ProveSpacetime {
        provider: ProviderId(0),
        period,
        deadline,
        proofs: sectors
            .iter()
            .map(|number| SpacetimeProof {
                sector: SectorNumber(*number),
                proof: ProofBytes([0; 192]),
            })
            .collect(),
    };
    let open = window(&world).open;
    world.advance_to(Height(open.0 - 1));
    world.refused(0, prove(period, deadline, &[0]), "before height");
    assert_eq!(world.height(), open);
    world.refused(1, prove(period, deadline, &[0]), "only the worker");
    world.refused(0, prove(period, deadline, &[]), "the number of proofs");
    world.refused(0, prove(period, deadline, &[0, 0]), "ascending");
    world.refused(0, prove(period, deadline, &[3]), "no sector 0/3");
    world.refused(0, prove(period, Deadline(9), &[0]), "the deadline");
    world.refused(
        0,
        prove(Period(period.0 + 1), deadline, &[0]),
        "before height",
    );
    world.refused(0, prove(period, deadline, &[0]), "no verifying key");
    world.prove(0);
    world.refused(0, prove(period, deadline, &[0]), "exists already");
    world.close(0);
    world.refused(0, prove(period, deadline, &[0]), "was due by height");
}

#[test]
fn deals_are_paid_period_by_period_and_expire() {
    let (mut world, pack) = World::embedded();
    let id = deal_id(pack, 0);
    let DealStatus::Proven { from, .. } = world.deal(&id).status else {
        panic!("proven");
    };
    while world.sector(0).next < from {
        world.prove_and_close(0);
    }
    let price = world.deal(&id).per_period;
    let burnt_before = query::supply(&world.view).unwrap().burnt;
    world.prove_and_close(0);
    let burnt = price.0.div_ceil(10);
    let deal = world.deal(&id);
    assert_eq!((deal.paid, deal.refunded), (Periods(1), Periods(0)));
    assert_eq!(world.provider().record.paid.0, 2 * (price.0 - burnt));
    assert_eq!(
        query::supply(&world.view).unwrap().burnt.0 - burnt_before.0,
        2 * burnt
    );
    // The second period fails: the owner gets its price back.
    let owner = world.account(1).balance;
    world.close(0);
    assert_eq!(world.account(1).balance.0, owner.0 + 2 * price.0);
    world.done(0, recover(&[0]));
    let owner = world.account(1).balance;
    world.prove_and_close(0);
    let deal = world.deal(&id);
    assert_eq!(deal.status, DealStatus::Expired);
    assert_eq!((deal.paid, deal.refunded), (Periods(2), Periods(1)));
    assert_eq!(deal.escrow, Amount::ZERO);
    // With the last deal the repair budget comes back.
    assert_eq!(world.account(1).balance.0, owner.0 + 1_000);
    assert!(deal.locked > Amount::ZERO);
    world.advance(world.rules.parameters.dispute_window.0);
    assert_eq!(world.deal(&id).locked, Amount::ZERO);
    assert_eq!(world.provider().locked, world.sector(0).locked);
}

#[test]
fn dealing_with_oneself_earns_no_more_than_the_price_burns() {
    let (mut with, pack) = World::embedded();
    let mut without = World::with_sector();
    let DealStatus::Proven { from, .. } = with.deal(&deal_id(pack, 0)).status else {
        panic!("proven");
    };
    for world in [&mut with, &mut without] {
        while world.sector(0).next <= from {
            world.prove_and_close(0);
        }
    }
    let rewards = |world: &World| world.provider().record.rewarded.0;
    let bonus = rewards(&with) - rewards(&without);
    let burnt = 2 * with.deal(&deal_id(pack, 0)).per_period.0.div_ceil(10);
    assert!(bonus > 0 && bonus <= burnt, "{bonus} of {burnt}");
}

#[test]
fn a_sector_that_faults_out_fails_its_deals_and_pays_for_their_repair() {
    let (mut world, pack) = World::embedded();
    let owner = world.account(1).balance;
    let escrow = 2 * world.deal(&deal_id(pack, 0)).escrow.0;
    for _ in 0..3 {
        world.close(0);
    }
    let deal = world.deal(&deal_id(pack, 1));
    assert!(matches!(deal.status, DealStatus::Failed { .. }), "{deal:?}");
    assert_eq!((deal.locked, deal.escrow), (Amount::ZERO, Amount::ZERO));
    // Escrow and the owner's repair budget end with the owner, and what the first failed deal paid into
    // it burns.
    assert_eq!(world.account(1).balance.0, owner.0 + escrow + 1_000);
    assert_eq!(world.provider().locked, Amount::ZERO);
}

/// The deadline that sector 0 missed waits for a block's end with room, as behind many others.
fn behind() -> World {
    let mut world = World::with_sector();
    let missed = window(&world).close;
    world.by_hand(|context| {
        let deadline = super::super::due::Due::Deadline(super::world::sector_id(0));
        context.unschedule(deadline, missed);
        context.schedule(deadline, Height(missed.0 + 20));
        Ok(())
    });
    world.advance_to(Height(missed.0 + 2));
    assert_eq!(world.provider().record.missed, 0);
    world
}

#[test]
fn a_provider_recovers_also_where_the_missed_deadline_is_not_closed_yet() {
    let mut world = behind();
    world.done(0, recover(&[0]));
    let sector = world.sector(0);
    assert_eq!(sector.status, SectorStatus::Faulty { recovering: true });
    assert_eq!(sector.faults, Periods(1));
    assert_eq!(world.provider().record.missed, 1);
}

#[test]
fn messages_close_late_deadlines_within_a_blocks_budget_only() {
    let mut world = behind();
    world.by_hand(|context| {
        context.closed = 2048;
        let owner = super::world::address(0);
        let refused = context.recover(&owner, ProviderId(0), &numbers(&[0]));
        assert!(format!("{refused:?}").contains("behind"), "{refused:?}");
        context.closed = 2047;
        context.recover(&owner, ProviderId(0), &numbers(&[0]))
    });
    assert_eq!(world.provider().record.missed, 1);
}
