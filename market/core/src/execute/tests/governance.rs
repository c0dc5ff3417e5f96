use super::world::{World, address};
use crate::governance::{
    AmountParameter, Governance, ParameterChange, Proposal, ProposalStatus, ShareParameter,
};
use crate::message::Body;
use crate::parameters::Parameters;
use crate::query;
use crate::units::{Amount, ProposalId, Stake};

fn amount(parameter: AmountParameter, value: Amount) -> Body {
    Body::ProposeParameter {
        change: ParameterChange::Amount { parameter, value },
    }
}

/// Twice the fee of today.
fn dearer() -> Body {
    amount(AmountParameter::MinimumFee, Amount(2_000_000))
}

fn vote(proposal: u64, validator: usize, approve: bool) -> Body {
    Body::Vote {
        proposal: ProposalId(proposal),
        validator: address(validator),
        approve,
    }
}

fn delegate(validator: usize, stake: u64) -> Body {
    Body::Delegate {
        validator: address(validator),
        stake: Stake(stake),
    }
}

fn proposal(world: &World, id: u64) -> Proposal {
    query::proposal(&world.view, ProposalId(id))
        .unwrap()
        .unwrap()
}

fn numbers() -> Governance {
    Governance::dev(&Parameters::dev().economy)
}

/// Accounts 1 to 3 have 900 HOLD each at stake, more than a third of all, and 40 with another
/// validator.
fn staked() -> World {
    let mut world = World::with_staking();
    for who in 1..=3 {
        world.done(who, delegate(98, 900));
        world.done(who, delegate(97, 40));
    }
    world
}

#[test]
fn what_more_than_a_third_of_all_stake_wants_changes_after_the_notice() {
    let mut world = staked();
    let before = world.account(5).balance;
    world.done(5, dearer());
    let closes = proposal(&world, 0).closes;
    for who in 1..=3 {
        world.done(who, vote(0, 98, true));
    }
    assert_eq!(proposal(&world, 0).approving, Stake(2_700));
    world.advance_to(closes);
    let at = closes.after(numbers().notice);
    assert_eq!(proposal(&world, 0).status, ProposalStatus::Passed { at });
    // The deposit is back.
    let paid = before.saturating_sub(world.account(5).balance);
    assert!(paid < Amount::hold(1), "{paid}");
    let fee = |world: &World| query::economy(&world.view).unwrap().minimum_fee;
    world.advance(numbers().notice.0 - 1);
    assert_eq!(fee(&world), Amount(1_000_000));
    world.advance(1);
    assert_eq!(fee(&world), Amount(2_000_000));
    assert_eq!(proposal(&world, 0).status, ProposalStatus::Made);
    // A message of the old fee is in no block any more.
    let old = world.sign(5, world.account(5).nonce, dearer());
    let ledger = crate::admit::admit(&world.view, &world.rules, &old, world.height());
    let refused = ledger.unwrap_err().to_string();
    assert!(refused.contains("the least for this message"), "{refused}");
}

#[test]
fn what_too_few_want_or_more_are_against_does_not_pass_and_costs_its_deposit() {
    let mut world = staked();
    world.done(5, dearer());
    world.done(5, dearer());
    // 940 of 6,820 are for the first, and more are against the second than for it.
    world.done(1, vote(0, 98, true));
    world.done(1, vote(0, 97, true));
    for who in 1..=3 {
        world.done(who, vote(1, 98, who == 1));
    }
    let burnt = query::supply(&world.view).unwrap().burnt;
    world.advance_to(proposal(&world, 1).closes);
    for id in 0..2 {
        assert_eq!(proposal(&world, id).status, ProposalStatus::Rejected);
    }
    let now = query::supply(&world.view).unwrap().burnt;
    assert_eq!(now.0 - burnt.0, 2 * numbers().deposit.0);
    world.refused(2, vote(0, 98, true), "a vote was due");
}

#[test]
fn a_stake_votes_once_and_nothing_else_votes() {
    let mut world = staked();
    world.done(5, dearer());
    world.done(1, vote(0, 98, true));
    world.refused(1, vote(0, 98, false), "exists already");
    // What is taken out and staked anew is the same tokens: they are bound for longer than the vote.
    world.done(
        1,
        Body::Unstake {
            validator: address(98),
            stake: Stake(900),
        },
    );
    world.refused(1, vote(0, 98, true), "has 0 HOLD at stake");
    world.refused(1, delegate(96, 900), "fund it");
    world.refused(4, vote(0, 98, true), "has 0 HOLD at stake");
    world.refused(1, vote(7, 98, true), "there is no proposal");
    world.refused(1, vote(0, 50, true), "there is no validator");
    let height = world.height().0;
    let evidence = super::validator::two_ballots(&world, 97, height);
    world.done(4, Body::SubmitEquivocation { evidence });
    world.refused(1, vote(0, 97, true), "slashed");
}

#[test]
fn no_vote_crosses_the_bounds_of_the_genesis() {
    let mut world = staked();
    let (least, most) = (numbers().least, numbers().most);
    for value in [
        Amount(least.minimum_fee.0 - 1),
        Amount(most.minimum_fee.0 + 1),
        Amount(0),
        Amount(u128::MAX),
    ] {
        let body = amount(AmountParameter::MinimumFee, value);
        world.refused(5, body, "the number must lie between");
    }
    for value in [0, 501, u64::MAX] {
        let change = ParameterChange::Share {
            parameter: ShareParameter::BurnThousandths,
            value,
        };
        world.refused(
            5,
            Body::ProposeParameter { change },
            "the number must lie between",
        );
    }
    // Within its bounds, but then a sector's collateral would not cover its fees.
    let body = amount(AmountParameter::CollateralPerGib, Amount::hold(50));
    world.refused(5, body, "covers every fee");
    let mut poor = World::new();
    poor.refused(5, dearer(), "numbers are those of its genesis");
    poor.refused(5, vote(0, 98, true), "numbers are those of its genesis");
}

#[test]
fn of_two_changes_that_contradict_each_other_the_second_is_not_made() {
    let mut world = staked();
    // Either is possible with the numbers of today.
    world.done(5, amount(AmountParameter::FaultFeePerGib, Amount::hold(23)));
    world.done(
        5,
        amount(AmountParameter::CollateralPerGib, Amount::hold(91)),
    );
    for who in 1..=3 {
        world.block(vec![(who, vote(0, 98, true)), (who, vote(1, 98, true))]);
    }
    world.advance_to(proposal(&world, 1).closes.after(numbers().notice));
    assert_eq!(proposal(&world, 0).status, ProposalStatus::Made);
    assert_eq!(proposal(&world, 1).status, ProposalStatus::Impossible);
    let economy = query::economy(&world.view).unwrap();
    assert_eq!(economy.collateral_per_gib, Amount::hold(100));
    assert_eq!(economy.fault_fee_per_gib, Amount::hold(23));
}

#[test]
fn sectors_that_were_locked_under_other_numbers_go_on_with_what_was_locked() {
    let parameters = AmountParameter::CollateralPerGib;
    for value in [Amount::hold(90), Amount::hold(400)] {
        let mut world = staked();
        world.register();
        world.done(0, world.pre_commit(0));
        world.done(0, world.pre_commit(1));
        world.done(5, amount(parameters, value));
        for who in 1..=3 {
            world.done(who, vote(0, 98, true));
        }
        world.advance_to(proposal(&world, 0).closes.after(numbers().notice));
        assert_eq!(proposal(&world, 0).status, ProposalStatus::Made);
        // One is proven after the change, the other's deposit burns; `World::block` checks locks.
        world.activate(0);
        world.advance(world.rules.parameters.seal_due.0);
        assert_eq!(world.sector(1).locked, Amount::ZERO);
        // The first faulted out meanwhile.
        assert_eq!(world.sector(0).locked, Amount::ZERO);
        assert_eq!(world.provider().locked, Amount::ZERO);
    }
}

#[test]
fn stake_that_leaves_after_it_voted_makes_the_whole_no_smaller() {
    let mut world = World::with_staking();
    for who in 1..=3 {
        world.done(who, delegate(98, 500));
    }
    world.done(5, dearer());
    // 1,500 of 5,500 are for it; of 4,000, without them, that were more than a third.
    for who in 1..=3 {
        world.done(who, vote(0, 98, true));
        world.done(
            who,
            Body::Unstake {
                validator: address(98),
                stake: Stake(500),
            },
        );
    }
    assert_eq!(query::chain(&world.view).unwrap().staked, Stake(4_000));
    world.advance_to(proposal(&world, 0).closes);
    assert_eq!(proposal(&world, 0).status, ProposalStatus::Rejected);
}
