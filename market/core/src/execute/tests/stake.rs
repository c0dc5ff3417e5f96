use super::world::{ACCOUNTS, VALIDATORS, World, address};
use crate::message::Body;
use crate::query;
use crate::stake::{MOST_STAKE, Staking, ValidatorRecord, ValidatorStatus};
use crate::state::Supply;
use crate::units::{Address, Amount, Height, Stake};
use proptest::prelude::*;

fn delegate(validator: usize, stake: u64) -> Body {
    Body::Delegate {
        validator: address(validator),
        stake: Stake(stake),
    }
}

fn unstake(validator: usize, stake: u64) -> Body {
    Body::Unstake {
        validator: address(validator),
        stake: Stake(stake),
    }
}

fn collect(validator: usize) -> Body {
    Body::CollectReward {
        validator: address(validator),
    }
}

fn record(world: &World, validator: usize) -> ValidatorRecord {
    query::validator(&world.view, &address(validator))
        .unwrap()
        .unwrap()
}

fn supply(world: &World) -> Supply {
    query::supply(&world.view).unwrap()
}

fn powers(world: &World) -> Vec<(Address, u64)> {
    let sets = query::validators(&world.view).unwrap();
    sets.next.iter().map(|one| (one.key, one.power)).collect()
}

#[test]
fn what_stands_behind_the_first_validators_is_part_of_the_supply() {
    let world = World::with_staking();
    world.check();
    assert_eq!(supply(&world).stake, Amount::hold(4_000));
    assert_eq!(
        supply(&world).minted,
        Amount::hold(4_000 + 1_000 * ACCOUNTS as u64)
    );
    assert_eq!(powers(&world).len(), 4);
}

#[test]
fn a_network_with_fixed_validators_takes_no_stake() {
    let mut world = World::new();
    world.refused(1, delegate(99, 1), "validators are those of its genesis");
    world.refused(1, unstake(99, 1), "validators are those of its genesis");
    world.refused(1, collect(99), "validators are those of its genesis");
}

#[test]
fn stake_is_power_two_blocks_later_and_none_once_it_is_taken_out() {
    let mut world = World::with_staking();
    let power = |world: &World| {
        let all = powers(world);
        all.into_iter()
            .find(|(key, _)| *key == address(98))
            .unwrap()
            .1
    };
    world.done(1, delegate(98, 50));
    assert_eq!(power(&world), 1_000);
    world.advance(1);
    assert_eq!(power(&world), 1_050);
    // By their stake they choose no place among the others.
    assert!(powers(&world).is_sorted());
    world.done(1, unstake(98, 20));
    world.advance(1);
    assert_eq!(power(&world), 1_030);
}

#[test]
fn unstaked_tokens_are_free_after_the_unbonding_and_not_before() {
    let mut world = World::with_staking();
    world.done(1, delegate(98, 50));
    world.done(1, unstake(98, 20));
    let due = world.height().after(Staking::dev().unbonding);
    let left = query::unbondings_of(&world.view, &address(1), 9).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].0, left[0].1), (address(98), due));
    assert_eq!(left[0].2.amount, Amount::hold(20));
    let before = world.account(1).balance;
    world.advance_to(Height(due.0 - 1));
    assert_eq!(world.account(1).balance, before);
    world.advance(1);
    let freed = world.account(1).balance.saturating_sub(before);
    assert_eq!(freed, Amount::hold(20));
    assert!(
        query::unbondings_of(&world.view, &address(1), 9)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_is_taken_out_twice_in_one_block_is_paid_out_together() {
    let mut world = World::with_staking();
    world.done(1, delegate(98, 50));
    world.block(vec![(1, unstake(98, 20)), (1, unstake(98, 5))]);
    let left = query::unbondings_of(&world.view, &address(1), 9).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].2.stake, Stake(25));
    let before = world.account(1).balance;
    world.advance(Staking::dev().unbonding.0);
    let freed = world.account(1).balance.saturating_sub(before);
    assert_eq!(freed, Amount::hold(25));
}

#[test]
fn a_stake_is_refused_where_it_cannot_stand() {
    let mut world = World::with_staking();
    world.refused(1, delegate(50, 1), "there is no validator");
    world.refused(1, delegate(98, 0), "the stake is 0");
    world.refused(1, delegate(98, u64::MAX), "the stake is");
    world.refused(1, delegate(98, MOST_STAKE.0), "the stake is");
    world.refused(1, delegate(98, 2_000), "fund it");
    let stake = Body::Stake {
        validator: address(98),
        stake: Stake(1),
    };
    world.refused(1, stake, "only the owner");
    world.done(1, delegate(98, 10));
    world.refused(1, unstake(98, 11), "has 10 HOLD at stake");
    world.refused(1, unstake(98, 0), "the stake is 0");
    world.refused(2, unstake(98, 1), "has 0 HOLD at stake");
    world.refused(2, collect(98), "has 0 HOLD at stake");
    world.refused(1, unstake(50, 1), "there is no validator");
}

#[test]
fn a_block_pays_its_builder_its_commission_and_all_who_stand_behind_it() {
    let mut world = World::with_staking();
    world.builder = 98;
    world.done(1, delegate(98, 1_000 - 1));
    let reward = Staking::dev().block_reward;
    let before = world.account(1).balance;
    let sign = |world: &World, body: Body| world.sign(1, 0, body).message.fee;
    let fee = sign(&world, collect(98));
    let minted = supply(&world).minted;
    // Block 1 found the delegation behind its builder.
    let each = reward.0 / 1_999;
    assert_eq!(record(&world, 98).earned.0, each);
    world.done(1, collect(98));
    assert_eq!(
        world.account(1).balance.0,
        before.0 + each * 999 - fee.0,
        "the block of the collection itself pays after it"
    );
    assert_eq!(supply(&world).minted.0 - minted.0, each * 1_999);
    assert_eq!(record(&world, 98).built, 2);
}

#[test]
fn a_missed_turn_costs_and_many_in_a_row_end_the_turns_until_it_says_it_is_back() {
    let mut world = World::with_staking();
    let staking = Staking::dev();
    // Validator 99 builds nothing any more.
    world.builder = 98;
    let mut turns = 0;
    for _ in 0..1_000 {
        if record(&world, 99).status == ValidatorStatus::Resting {
            break;
        }
        let height = Height(world.height().0 + 1);
        let sets = query::validators(&world.view).unwrap();
        let round = |round| {
            crate::finality::proposer(&sets.next, height, crate::units::Round(round)).unwrap()
        };
        // Whoever has the turn builds, and where it is 99's the next one does.
        let first = (0..16).find(|r| round(*r).key != address(99)).unwrap();
        turns += u64::from(first > 0);
        let builder = round(first).key;
        world.builder = *VALIDATORS.iter().find(|i| address(**i) == builder).unwrap();
        world.advance(1);
    }
    let rested = record(&world, 99);
    assert_eq!(rested.status, ValidatorStatus::Resting);
    assert_eq!(turns, u64::from(staking.missed_to_rest));
    assert_eq!(rested.missed, staking.missed_to_rest);
    assert_eq!(rested.owed.0, staking.missed_turn.0 * u128::from(turns));
    for index in [98, 97, 96] {
        assert_eq!(record(&world, index).owed, Amount::ZERO, "{index}");
    }
    world.advance(2);
    assert_eq!(powers(&world).len(), 3);
}

#[test]
fn the_last_validators_go_on_where_nobody_else_stands() {
    let mut world = World::with_staking();
    for index in VALIDATORS {
        // Each is its own owner; it needs tokens for the fee.
        world.done(
            1,
            Body::Transfer {
                to: address(index),
                amount: Amount::hold(1),
            },
        );
    }
    for index in VALIDATORS {
        world.done(index, unstake(index, 1_000));
    }
    world.advance(3);
    assert!(!powers(&world).is_empty());
    assert_eq!(record(&world, 99).stake, Stake(0));
}

/// One thing that happens: who does what with which validator, and how much.
fn events() -> impl Strategy<Value = Vec<(usize, u8, usize, u64)>> {
    let stake = prop_oneof![4 => 0u64..400, 1 => any::<u64>()];
    proptest::collection::vec((0..ACCOUNTS, 0u8..6, 0usize..4, stake), 10..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// `World::block` recounts every token after every block.
    #[test]
    fn random_stakes_lose_and_make_nothing(events in events()) {
        let mut world = World::with_staking();
        for (who, kind, validator, stake) in events {
            let validator = VALIDATORS[validator];
            world.builder = VALIDATORS[stake as usize % 4];
            let body = match kind {
                0 | 1 => delegate(validator, stake),
                2 => unstake(validator, stake),
                3 => collect(validator),
                4 => Body::SubmitEquivocation {
                    evidence: super::validator::two_ballots(&world, validator, world.height().0),
                },
                _ => Body::Transfer { to: address(who), amount: Amount(u128::from(stake)) },
            };
            world.send(who, body);
            if stake % 7 == 0 {
                world.advance(stake % 100);
            }
        }
        // Everybody leaves, and is paid out.
        for who in 0..ACCOUNTS {
            for (validator, delegation) in query::delegations_of(&world.view, &address(who), 9).unwrap() {
                world.done(who, Body::Unstake { validator, stake: delegation.stake });
            }
        }
        world.advance(Staking::dev().unbonding.0 + 1);
        prop_assert!(query::unbondings_of(&world.view, &address(1), 9).unwrap().is_empty());
    }
}
