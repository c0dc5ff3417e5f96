use super::world::{CLASS, Case, World, address, deal_id, group, offer, sector_id};
use crate::message::{Body, PreCommit};
use crate::quote;
use crate::schedule;
use crate::state::SectorStatus;
use crate::units::{Amount, Height, ProviderId, SectorNumber};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::sector::SectorClass;

fn change(body: Body, change: impl FnOnce(&mut PreCommit)) -> Body {
    let Body::PreCommitSector(mut commit) = body else {
        panic!("a pre-commit");
    };
    change(&mut commit);
    Body::PreCommitSector(commit)
}

#[test]
fn a_provider_registers_changes_and_moves_its_collateral() {
    let mut world = World::new();
    let register = |collateral, endpoint: &str| {
        let mut offer = offer();
        offer.endpoint = endpoint.into();
        Body::RegisterProvider {
            worker: address(2),
            offer,
            collateral,
        }
    };
    world.refused(0, register(Amount::hold(9), "a:1"), "add 1 HOLD more");
    world.refused(0, register(Amount::hold(2_000), "a:1"), "fund it");
    world.refused(0, register(Amount::hold(20), ""), "the end point's length");
    world.refused(
        0,
        register(Amount::hold(20), &"a".repeat(129)),
        "the end point's length",
    );
    world.refused(0, register(Amount::hold(20), "a b:1\n"), "the end point");
    let mut cheap = offer();
    cheap.price = Amount(99_999_999);
    let cheap = Body::RegisterProvider {
        worker: address(2),
        offer: cheap,
        collateral: Amount::hold(20),
    };
    world.refused(0, cheap, "at least 0.1 HOLD");
    world.done(0, register(Amount::hold(20), "a:1"));
    let id = ProviderId(0);
    let update = |endpoint: &str| {
        let mut offer = offer();
        offer.endpoint = endpoint.into();
        Body::UpdateProvider {
            provider: id,
            worker: address(3),
            offer,
        }
    };
    world.refused(2, update("b:2"), "only the owner");
    world.refused(0, update(""), "the end point's length");
    world.done(0, update("b:2"));
    assert_eq!(world.provider().worker, address(3));
    assert_eq!(world.provider().offer.endpoint, "b:2");
    let add = |amount| Body::AddCollateral {
        provider: id,
        amount,
    };
    world.refused(1, add(Amount(1)), "only the owner");
    world.refused(0, add(Amount::ZERO), "empty");
    world.done(0, add(Amount::hold(5)));
    let withdraw = |amount| Body::WithdrawCollateral {
        provider: id,
        amount,
    };
    world.refused(1, withdraw(Amount(1)), "only the owner");
    world.refused(0, withdraw(Amount::hold(16)), "add 1 HOLD more");
    world.done(0, withdraw(Amount::hold(15)));
    assert_eq!(world.provider().collateral, Amount::hold(10));
    let nobody = Body::AddCollateral {
        provider: ProviderId(1),
        amount: Amount(1),
    };
    world.refused(0, nobody, "no provider 1");
}

#[test]
fn a_pre_commit_with_any_field_wrong_is_refused() {
    let mut world = World::new();
    world.register();
    world.advance(2);
    let good = world.pre_commit(0);
    world.refused(1, good.clone(), "only the worker");
    let cases: Vec<Case<PreCommit>> = vec![
        (|c| c.class = SectorClass::Mib512, "one of 8MiB, 64MiB"),
        (|c| c.ticket = Height(1_000), "the ticket's height"),
        (|c| c.sector.provider = ProviderId(7), "no provider 7"),
        (|c| c.ticket = Height(u64::MAX), "the ticket's height"),
    ];
    for (spoil, reason) in cases {
        world.refused(0, change(good.clone(), spoil), reason);
    }
    // The ticket of this very block is not known before it.
    let next = Height(world.height().0 + 1);
    world.refused(
        0,
        change(good.clone(), |c| c.ticket = next),
        "the ticket's height",
    );
    world.done(0, world.pre_commit(0));
    world.refused(0, world.pre_commit(0), "sector 0/0 exists already");
    let locked = world.provider().locked;
    let economy = &world.rules.parameters.economy;
    let collateral = quote::sector_collateral(economy, CLASS).unwrap();
    assert_eq!(locked.0, collateral.0 + economy.seal_deposit.0);
    // Collateral for one more 8 MiB sector at 1.78 HOLD each: 100 HOLD last for 50, and 10 stay free.
    let many = (1..60)
        .map(|number| (0, world.pre_commit(number)))
        .collect();
    let outcomes = world.block(many);
    let done = |o: &&crate::block::Outcome| o.result == crate::block::OutcomeResult::Done;
    assert_eq!(outcomes.iter().filter(done).count(), 49);
}

#[test]
fn a_ticket_that_is_too_old_is_refused() {
    let mut world = World::new();
    world.register();
    let old = world.pre_commit(0);
    world.advance(world.rules.parameters.ticket_age.0 + 1);
    world.refused(0, old, "the ticket's height");
}

#[test]
fn two_sectors_never_share_a_replica() {
    let mut world = World::new();
    world.register();
    world.done(0, world.pre_commit(0));
    world.done(0, world.pre_commit(1));
    assert_ne!(world.sector(0).replica, world.sector(1).replica);
    assert_eq!(world.provider().next_sector, SectorNumber(2));
}

#[test]
fn a_seal_that_nobody_proves_burns_its_deposit_and_its_number() {
    let mut world = World::new();
    world.register();
    world.done(0, world.pre_commit(0));
    let prove = Body::ProveSeal {
        sector: sector_id(0),
        proofs: vec![ProofBytes([0; 192])],
    };
    world.refused(0, prove.clone(), "before height");
    world.advance(2);
    world.refused(1, prove.clone(), "only the worker");
    world.refused(0, prove.clone(), "no verifying key");
    let other = Body::ProveSeal {
        sector: sector_id(9),
        proofs: vec![],
    };
    world.refused(0, other, "no sector 0/9");
    let SectorStatus::PreCommitted { at, .. } = world.sector(0).status else {
        panic!("pre-committed");
    };
    let before = world.provider();
    let due = schedule::seal_due(&world.rules.parameters, at);
    world.advance_to(due);
    assert!(matches!(
        world.sector(0).status,
        SectorStatus::Terminated { .. }
    ));
    let after = world.provider();
    assert_eq!(after.locked, Amount::ZERO);
    let deposit = world.rules.parameters.economy.seal_deposit;
    assert_eq!(after.collateral.0, before.collateral.0 - deposit.0);
    world.refused(0, prove, "is terminated; this needs pre-committed");
    world.refused(0, world.pre_commit(0), "exists already");
}

#[test]
fn activation_frees_the_deposit_and_spreads_sectors_over_deadlines() {
    let mut world = World::new();
    world.register();
    for number in 0..3 {
        world.done(0, world.pre_commit(number));
        world.activate(number);
    }
    let mut deadlines: Vec<u32> = (0..3).map(|n| world.sector(n).deadline.0).collect();
    deadlines.sort_unstable();
    assert_eq!(deadlines, [0, 1, 2]);
    let sector = world.sector(0);
    let (period, window) = schedule::next_window(&world.rules.parameters, &sector).unwrap();
    assert!(window.open > Height(2));
    assert_eq!(sector.status, SectorStatus::Active { from: period });
    let collateral = quote::sector_collateral(&world.rules.parameters.economy, CLASS).unwrap();
    assert_eq!(world.provider().locked.0, collateral.0 * 3);
}

#[test]
fn a_sector_given_up_costs_as_much_as_one_that_faults_out() {
    let mut given_up = World::with_sector();
    let before = given_up.provider().collateral;
    let terminate = Body::TerminateSector {
        sector: sector_id(0),
    };
    given_up.refused(1, terminate.clone(), "only the worker");
    given_up.done(0, terminate.clone());
    given_up.refused(0, terminate, "is terminated");
    let cost = before.0 - given_up.provider().collateral.0;
    let mut faulted = World::with_sector();
    for fault in 1..=3 {
        faulted.close(0);
        assert_eq!(faulted.provider().record.missed, fault);
    }
    assert!(matches!(
        faulted.sector(0).status,
        SectorStatus::Terminated { .. }
    ));
    assert_eq!(before.0 - faulted.provider().collateral.0, cost);
    assert_eq!(faulted.provider().locked, Amount::ZERO);
    // Nothing of it comes due afterwards.
    faulted.advance(60);
    given_up.advance(60);
    assert_eq!(faulted.provider().record.missed, 3);
    assert_eq!(given_up.provider().record.missed, 0);
}

#[test]
fn a_pre_commit_given_up_costs_its_deposit_at_once() {
    let mut world = World::new();
    world.register();
    world.done(0, world.pre_commit(0));
    world.done(
        0,
        Body::TerminateSector {
            sector: sector_id(0),
        },
    );
    let deposit = world.rules.parameters.economy.seal_deposit;
    assert_eq!(
        world.provider().collateral.0,
        Amount::hold(100).0 - deposit.0
    );
    assert_eq!(world.provider().locked, Amount::ZERO);
    world.advance(700);
}

#[test]
fn sectors_cannot_lock_the_least_collateral_and_acceptances_can() {
    let mut world = World::new();
    world.done(
        0,
        Body::RegisterProvider {
            worker: address(0),
            offer: offer(),
            collateral: Amount::hold(10),
        },
    );
    world.refused(0, world.pre_commit(0), "add 1.78125 HOLD more");
    let add = |amount| Body::AddCollateral {
        provider: ProviderId(0),
        amount,
    };
    world.done(0, add(Amount(1_781_250_000)));
    world.done(0, world.pre_commit(0));
    world.activate(0);
    // What is free is the least collateral and an embed's deposit: acceptances lock of it, and the
    // embed of what was accepted begins all the same.
    let pack = world.accepted(1);
    let deals = [deal_id(pack, 0), deal_id(pack, 1)];
    let locked: u128 = deals.iter().map(|id| world.deal(id).locked.0).sum();
    let free = |world: &World| crate::quote::free_collateral(&world.provider()).unwrap();
    assert_eq!(free(&world).0, Amount::hold(11).0 - locked);
    // One that brings no new deal has no claim to it.
    let empty = world.layout(group(5), &[]);
    world.refused(0, world.commit_embed(vec![empty]), "of free collateral");
    let layout = world.layout(group(5), &deals);
    world.done(0, world.commit_embed(vec![layout]));
    assert_eq!(free(&world).0, Amount::hold(10).0 - locked);
}
