//! The worked examples of `docs/ECONOMY.md`, so that the page stays true.

use super::world::{CLASS, World, address, deal_id, sector_id};
use crate::message::Body;
use crate::parameters::Parameters;
use crate::query;
use crate::quote;
use crate::stake::Staking;
use crate::units::{Amount, Blocks, ByteCount, Height, Periods, Stake};

fn dev() -> Parameters {
    Parameters::dev()
}

#[test]
fn example_a_small_file() {
    // 1 MiB, 3 of 6, at 1 HOLD a GiB and period, for 10 periods.
    let shard = quote::shard_length(3, ByteCount(1 << 20));
    assert_eq!(shard, ByteCount(349_526));
    let period = quote::shard_period(Amount::hold(1), shard).unwrap();
    assert_eq!(period.to_string(), "0.000325522 HOLD");
    let escrow = quote::shard_escrow(Amount::hold(1), shard, Periods(10)).unwrap();
    assert_eq!(Amount(escrow.0 * 6).to_string(), "0.01953132 HOLD");
    let locked = quote::deal_collateral(&dev().economy, shard).unwrap();
    assert_eq!(locked.to_string(), "0.065104291 HOLD");
}

#[test]
fn example_what_a_node_locks() {
    let economy = dev().economy;
    let sector = quote::sector_collateral(&economy, CLASS).unwrap();
    assert_eq!(sector.to_string(), "0.78125 HOLD");
    let full = quote::deal_collateral(&economy, ByteCount(CLASS.data_bytes())).unwrap();
    assert_eq!(full.to_string(), "1.550292969 HOLD");
    let all = quote::provider_collateral(&dev(), CLASS, 4).unwrap();
    assert_eq!(all.to_string(), "27.326171876 HOLD");
}

#[test]
fn example_a_sector_that_is_lost() {
    let mut world = World::with_sector();
    let collateral = || Amount::hold(100).0;
    let mut costs = Vec::new();
    for _ in 0..3 {
        world.close(0);
        costs.push(Amount(collateral() - world.provider().collateral.0).to_string());
    }
    assert_eq!(costs, ["0.234375 HOLD", "0.390625 HOLD", "0.78125 HOLD"]);
    let mut world = World::with_sector();
    world.done(
        0,
        Body::TerminateSector {
            sector: sector_id(0),
        },
    );
    let cost = Amount(collateral() - world.provider().collateral.0);
    assert_eq!(cost.to_string(), "0.78125 HOLD");
}

#[test]
fn example_what_a_proven_period_earns() {
    let (mut world, pack) = World::embedded();
    let deal = world.deal(&deal_id(pack, 0));
    assert_eq!(deal.per_period.to_string(), "0.000018627 HOLD");
    while world.deal(&deal_id(pack, 0)).paid == Periods(0) {
        world.prove_and_close(0);
    }
    let record = world.provider().record;
    // Two deals, a tenth burnt, rounded up.
    assert_eq!(record.paid.to_string(), "0.000033528 HOLD");
    let bare = quote::per_gib_floor(Amount::hold(50), ByteCount(CLASS.bytes())).unwrap();
    assert_eq!(bare.to_string(), "0.390625 HOLD");
    // The bonus for deals is capped by the two burnt tenths.
    let bonus = record.rewarded.0 - bare.0 * u128::from(record.proven);
    assert_eq!(Amount(bonus).to_string(), "0.000003726 HOLD");
}

#[test]
fn example_fees() {
    let world = World::new();
    let transfer = Body::Transfer {
        to: address(1),
        amount: Amount::hold(1),
    };
    let fee = world.sign(0, 0, transfer).message.fee;
    assert_eq!(fee.to_string(), "0.0011 HOLD");
    let economy = &world.rules.parameters.economy;
    assert_eq!(
        quote::fee_of_size(economy, 100 * 1024).to_string(),
        "0.011 HOLD"
    );
}

#[test]
fn example_a_shard_that_is_replaced() {
    // The small file's shard, ten periods before its end.
    let economy = dev().economy;
    let shard = ByteCount(349_526);
    let penalty = quote::deal_collateral(&economy, shard).unwrap();
    assert_eq!(penalty.to_string(), "0.065104291 HOLD");
    let work = quote::repair_work(&economy, 3, shard).unwrap();
    assert_eq!(work.to_string(), "0.001953128 HOLD");
    let storing = quote::shard_escrow(Amount::hold(1), shard, Periods(10)).unwrap();
    assert_eq!(storing.to_string(), "0.00325522 HOLD");
    let burnt = Amount(penalty.0 - work.0 - storing.0);
    assert_eq!(burnt.to_string(), "0.059895943 HOLD");
}

#[test]
fn example_a_lease() {
    let mut world = World::new();
    let label = || String::from("drive");
    let publish = Body::PublishName {
        label: label(),
        version: 1,
        root: vec![1, 0x55, 0, 0],
        lease: None,
    };
    world.done(0, publish);
    world.advance_to(Height(99));
    let acquire = Body::AcquireLease {
        label: label(),
        holder: address(0),
        blocks: Blocks(60),
        token: None,
    };
    world.done(0, acquire.clone());
    let name = || crate::query::name(&world.view, &address(0), "drive");
    let lease = name().unwrap().unwrap().lease.unwrap();
    assert_eq!((lease.token, lease.until), (1, Height(159)));
    world.refused(0, acquire.clone(), "leased");
    world.advance_to(Height(159));
    world.done(0, acquire);
    let name = crate::query::name(&world.view, &address(0), "drive");
    assert_eq!(name.unwrap().unwrap().lease.unwrap().token, 2);
}

#[test]
fn example_a_budget_for_readers() {
    let (mut world, pack) = World::embedded();
    let attach = Body::AttachReadBudget {
        pack,
        reader: address(3),
        deposit: Amount::hold(5),
        providers: 1,
        until: Height(900),
    };
    let before = world.account(1);
    let fee = world.sign(1, before.nonce, attach.clone()).message.fee;
    assert_eq!(fee.to_string(), "0.0015 HOLD");
    world.done(1, attach);
    // Both shards are with one provider.
    let taken = Amount(before.balance.0 - world.account(1).balance.0);
    assert_eq!(taken.to_string(), "5.0015 HOLD");
}

#[test]
fn example_what_a_block_earns() {
    let mut world = World::with_staking();
    world.builder = 98;
    let minted = |world: &World| query::supply(&world.view).unwrap().minted;
    let before = minted(&world);
    world.done(
        1,
        Body::Delegate {
            validator: address(98),
            stake: Stake(999),
        },
    );
    let record = query::validator(&world.view, &address(98))
        .unwrap()
        .unwrap();
    assert_eq!(record.earned.to_string(), "0.000050025 HOLD");
    let whole = record.earned.times(Stake(999)).unwrap();
    assert_eq!(whole.to_string(), "0.049974975 HOLD");
    let left = Staking::dev().block_reward.0 - (minted(&world).0 - before.0);
    assert_eq!(Amount(left).to_string(), "0.000000025 HOLD");
}
