use super::world::{VALIDATORS, World, address, beacon_of, key};
use crate::equivocation::{Equivocation, SignedBallot, SignedOffer};
use crate::finality::{Ballot, BallotKind, Offer};
use crate::message::{Body, SigningContext};
use crate::query;
use crate::stake::{Staking, ValidatorRecord, ValidatorStatus};
use crate::units::{Address, Amount, BeaconSignature, BlockId, Height, NetworkId, Round, Stake};

fn ballot(validator: usize, height: u64, block: u8) -> Ballot {
    Ballot {
        kind: BallotKind::Precommit,
        height: Height(height),
        round: Round(0),
        block: Some(BlockId([block; 32])),
        voter: address(validator),
    }
}

fn signed(network: NetworkId, signer: usize, ballot: Ballot) -> SignedBallot {
    SignedBallot {
        signature: SigningContext::Ballot
            .sign(network, &key(signer), &ballot)
            .unwrap(),
        ballot,
    }
}

/// A validator's votes for two blocks of one height.
pub fn two_ballots(world: &World, validator: usize, height: u64) -> Equivocation {
    let network = world.rules.network;
    Equivocation::Ballots {
        first: signed(network, validator, ballot(validator, height, 1)),
        second: signed(network, validator, ballot(validator, height, 2)),
    }
}

fn submit(evidence: Equivocation) -> Body {
    Body::SubmitEquivocation { evidence }
}

fn record(world: &World, validator: usize) -> ValidatorRecord {
    query::validator(&world.view, &address(validator))
        .unwrap()
        .unwrap()
}

fn ordering(world: &World) -> Vec<Address> {
    let sets = query::validators(&world.view).unwrap();
    sets.next.iter().map(|one| one.key).collect()
}

/// Account 5's key becomes that of a validator of account 0.
fn registration(commission_thousandths: u64) -> Body {
    let beacon = beacon_of(5);
    Body::RegisterValidator {
        owner: address(0),
        beacon: beacon.public(),
        possession: beacon.possession(),
        commission_thousandths,
    }
}

fn stake(stake: u64) -> Body {
    Body::Stake {
        validator: address(5),
        stake: Stake(stake),
    }
}

fn update(beacon: usize, commission_thousandths: u64) -> Body {
    let beacon = beacon_of(beacon);
    Body::UpdateValidator {
        beacon: beacon.public(),
        possession: beacon.possession(),
        commission_thousandths,
    }
}

#[test]
fn a_new_validator_orders_after_the_delay_and_with_its_owners_stake() {
    let mut world = World::with_staking();
    world.done(5, registration(100));
    world.advance(30);
    // The delay begins with the stake.
    world.done(0, stake(200));
    let active = world.height().after(Staking::dev().activation_delay);
    world.advance_to(Height(active.0 - 1));
    assert!(matches!(
        record(&world, 5).status,
        ValidatorStatus::Waiting { .. }
    ));
    world.advance(1);
    assert_eq!(record(&world, 5).status, ValidatorStatus::Ready);
    assert!(!ordering(&world).contains(&address(5)));
    world.advance(1);
    assert!(ordering(&world).contains(&address(5)));
    assert!(ordering(&world).is_sorted());
    // With less than the least of its owner it orders nothing, whatever others have put there.
    world.done(
        1,
        Body::Delegate {
            validator: address(5),
            stake: Stake(900),
        },
    );
    let out = Body::Unstake {
        validator: address(5),
        stake: Stake(101),
    };
    world.done(0, out);
    world.advance(1);
    assert!(!ordering(&world).contains(&address(5)));
}

#[test]
fn only_those_with_the_most_stake_order() {
    let mut world = World::with_staking();
    world
        .rules
        .parameters
        .staking
        .as_mut()
        .unwrap()
        .most_validators = 4;
    world.done(5, registration(0));
    world.done(0, stake(900));
    world.advance(20);
    assert!(!ordering(&world).contains(&address(5)));
    world.done(
        1,
        Body::Delegate {
            validator: address(5),
            stake: Stake(101),
        },
    );
    world.advance(1);
    assert_eq!(ordering(&world).len(), 4);
    assert!(ordering(&world).contains(&address(5)));
}

#[test]
fn a_registration_is_refused_by_what_is_wrong_with_it() {
    let mut world = World::new();
    world.refused(5, registration(0), "validators are those of its genesis");
    let mut world = World::with_staking();
    world.refused(5, registration(1_001), "the commission is 1001");
    let other = Body::RegisterValidator {
        owner: address(0),
        beacon: beacon_of(5).public(),
        possession: beacon_of(6).possession(),
        commission_thousandths: 0,
    };
    world.refused(5, other, "proof of possession");
    let none = Body::RegisterValidator {
        owner: address(0),
        beacon: beacon_of(5).public(),
        possession: BeaconSignature([0; 96]),
        commission_thousandths: 0,
    };
    world.refused(5, none, "proof of possession");
    world.refused(5, update(5, 0), "there is no validator");
    world.done(5, registration(100));
    world.refused(5, registration(100), "exists already");
    world.refused(5, update(5, 101), "the commission is 101");
    let other = Body::UpdateValidator {
        beacon: beacon_of(7).public(),
        possession: beacon_of(6).possession(),
        commission_thousandths: 0,
    };
    world.refused(5, other, "proof of possession");
    world.done(5, update(5, 50));
    assert_eq!(record(&world, 5).commission_thousandths, 50);
}

#[test]
fn another_beacon_key_waits_as_a_new_validator_does() {
    let mut world = World::with_staking();
    world.done(5, registration(0));
    world.done(0, stake(200));
    world.advance(20);
    assert!(ordering(&world).contains(&address(5)));
    // The same key again changes nothing.
    world.done(5, update(5, 0));
    assert_eq!(record(&world, 5).status, ValidatorStatus::Ready);
    world.done(5, update(7, 0));
    let first = world.height().after(Staking::dev().activation_delay);
    world.advance(1);
    assert!(!ordering(&world).contains(&address(5)));
    // Begun anew before it is over: the first delay's end activates nothing.
    world.done(5, update(8, 0));
    world.advance_to(first);
    assert!(!ordering(&world).contains(&address(5)));
    world.advance(4);
    assert!(ordering(&world).contains(&address(5)));
    let sets = query::validators(&world.view).unwrap();
    let mine = sets.next.iter().find(|one| one.key == address(5)).unwrap();
    assert_eq!(mine.beacon, beacon_of(8).public());
}

#[test]
fn two_votes_in_one_round_cost_everybody_who_stood_behind_them() {
    let mut world = World::with_staking();
    world.done(
        1,
        Body::Delegate {
            validator: address(98),
            stake: Stake(100),
        },
    );
    world.done(
        2,
        Body::Delegate {
            validator: address(98),
            stake: Stake(100),
        },
    );
    // Account 2 left before it happened and account 1 a part after.
    world.done(
        2,
        Body::Unstake {
            validator: address(98),
            stake: Stake(100),
        },
    );
    world.advance(5);
    let height = world.height();
    world.done(
        1,
        Body::Unstake {
            validator: address(98),
            stake: Stake(40),
        },
    );
    let burnt = query::supply(&world.view).unwrap().burnt;
    let finder = world.account(3).balance;
    let body = submit(two_ballots(&world, 98, height.0));
    let fee = world.sign(3, 0, body.clone()).message.fee;
    world.done(3, body.clone());
    // A tenth of 1,060 HOLD; a tenth of what is of the owner's 1,000 is the finder's.
    let (taken, found) = (Amount::hold(106).0, Amount::hold(10).0);
    assert_eq!(world.account(3).balance.0, finder.0 + found - fee.0);
    let now = query::supply(&world.view).unwrap().burnt;
    assert_eq!(now.0 - burnt.0, taken - found + fee.0);
    world.refused(3, body, "exists already");
    world.advance(1);
    assert!(!ordering(&world).contains(&address(98)));
    world.refused(
        1,
        Body::Delegate {
            validator: address(98),
            stake: Stake(1),
        },
        "slashed",
    );
    let (one, two) = (world.account(1).balance, world.account(2).balance);
    world.advance(Staking::dev().unbonding.0);
    assert_eq!(world.account(2).balance.0 - two.0, Amount::hold(100).0);
    assert_eq!(world.account(1).balance.0 - one.0, Amount::hold(36).0);
    // What stayed is worth nine tenths too.
    let one = world.account(1).balance;
    world.done(
        1,
        Body::Unstake {
            validator: address(98),
            stake: Stake(60),
        },
    );
    world.advance(Staking::dev().unbonding.0);
    let paid = world.account(1).balance.0 - one.0;
    let fees = Amount::hold(1).0;
    assert!(paid <= Amount::hold(54).0 && paid + fees > Amount::hold(54).0);
    assert_eq!(
        query::validator(&world.view, &address(98))
            .unwrap()
            .unwrap()
            .own,
        Stake(1_000)
    );
}

#[test]
fn statements_that_an_honest_validator_can_make_show_nothing() {
    let mut world = World::with_staking();
    world.advance(5);
    let network = world.rules.network;
    let one = ballot(98, 3, 1);
    let pair = |first: Ballot, second: Ballot| Equivocation::Ballots {
        first: signed(network, 98, first),
        second: signed(network, 98, second),
    };
    let cases = [
        (pair(one.clone(), one.clone()), "say the same"),
        (pair(one.clone(), ballot(98, 4, 2)), "not of one validator"),
        (
            pair(
                one.clone(),
                Ballot {
                    round: Round(1),
                    ..ballot(98, 3, 2)
                },
            ),
            "not of one validator",
        ),
        (
            pair(
                one.clone(),
                Ballot {
                    kind: BallotKind::Prevote,
                    ..ballot(98, 3, 2)
                },
            ),
            "not of one validator",
        ),
        (pair(one.clone(), ballot(97, 3, 2)), "not of one validator"),
        (
            Equivocation::Ballots {
                first: signed(network, 98, one.clone()),
                second: signed(network, 97, ballot(98, 3, 2)),
            },
            "not signed",
        ),
        (
            Equivocation::Ballots {
                first: signed(NetworkId([7; 32]), 98, one.clone()),
                second: signed(NetworkId([7; 32]), 98, ballot(98, 3, 2)),
            },
            "not signed",
        ),
        (two_ballots(&world, 50, 3), "there is no validator"),
        (two_ballots(&world, 98, 1_000), "cannot be included before"),
        (two_ballots(&world, 98, 0), "ordered no blocks"),
    ];
    for (evidence, reason) in cases {
        world.refused(1, submit(evidence), reason);
    }
    let old = two_ballots(&world, 98, 3);
    world.advance(Staking::dev().unbonding.0);
    world.refused(1, submit(old), "was due by height");
    for validator in VALIDATORS {
        let status = record(&world, validator).status;
        assert!(!matches!(status, ValidatorStatus::Slashed { .. }));
    }
}

#[test]
fn a_vote_for_none_beside_one_for_a_block_and_two_offers_are_evidence() {
    let network = World::with_staking().rules.network;
    let none = Ballot {
        block: None,
        ..ballot(98, 3, 1)
    };
    let ballots = Equivocation::Ballots {
        first: signed(network, 98, ballot(98, 3, 1)),
        second: signed(network, 98, none),
    };
    let offer = |block: u8| {
        let offer = Offer {
            height: Height(3),
            round: Round(0),
            block: BlockId([block; 32]),
            valid_round: None,
            proposer: address(98),
        };
        SignedOffer {
            signature: SigningContext::Offer
                .sign(network, &key(98), &offer)
                .unwrap(),
            offer,
        }
    };
    let offers = Equivocation::Offers {
        first: offer(1),
        second: offer(2),
    };
    for evidence in [ballots, offers] {
        let mut world = World::with_staking();
        world.advance(5);
        world.done(1, submit(evidence));
        assert!(matches!(
            record(&world, 98).status,
            ValidatorStatus::Slashed { .. }
        ));
    }
}

#[test]
fn who_is_slashed_for_a_later_block_first_answers_for_an_earlier_one_too() {
    let mut world = World::with_staking();
    world.done(
        1,
        Body::Delegate {
            validator: address(98),
            stake: Stake(100),
        },
    );
    world.advance(5);
    let earlier = world.height().0;
    world.done(
        1,
        Body::Unstake {
            validator: address(98),
            stake: Stake(100),
        },
    );
    let since = world.height();
    world.advance(5);
    world.done(2, submit(two_ballots(&world, 98, since.0 + 2)));
    // What left before that block is not touched, until the earlier one is shown.
    let supply = query::supply(&world.view).unwrap();
    world.refused(
        2,
        submit(two_ballots(&world, 98, since.0 + 3)),
        "exists already",
    );
    world.done(2, submit(two_ballots(&world, 98, earlier)));
    let now = query::supply(&world.view).unwrap();
    assert!(now.burnt.0 - supply.burnt.0 < Amount::hold(1).0);
    let before = world.account(1).balance;
    world.advance_to(since.after(Staking::dev().unbonding));
    assert_eq!(world.account(1).balance.0 - before.0, Amount::hold(90).0);
}

#[test]
fn a_validator_burns_nobodys_stake_for_heights_that_it_did_not_order() {
    let mut world = World::with_staking();
    world.done(5, registration(0));
    world.done(0, stake(200));
    let waiting = world.height().0;
    world.advance(20);
    world.refused(
        1,
        submit(two_ballots(&world, 5, waiting)),
        "ordered no blocks",
    );
    let first = record(&world, 5).orders.unwrap().from;
    assert_eq!(first.0, waiting + Staking::dev().activation_delay.0 + 2);
    world.done(
        0,
        Body::Unstake {
            validator: address(5),
            stake: Stake(200),
        },
    );
    let last = world.height().0 + 1;
    assert_eq!(record(&world, 5).orders.unwrap().to, Some(Height(last)));
    world.advance(5);
    world.refused(
        1,
        submit(two_ballots(&world, 5, last + 1)),
        "ordered no blocks",
    );
    let before = world.account(1).balance;
    let body = submit(two_ballots(&world, 5, last));
    let fee = world.sign(1, 0, body.clone()).message.fee;
    world.done(1, body);
    // Nothing of its owner's is left there, so there is nothing to be found.
    assert_eq!(world.account(1).balance.0, before.0 - fee.0);
    let left = query::unbondings_of(&world.view, &address(0), 9).unwrap();
    let due = left[0].1;
    let before = world.account(0).balance;
    world.advance_to(due);
    assert_eq!(world.account(0).balance.0 - before.0, Amount::hold(180).0);
}

#[test]
fn who_owes_more_than_its_stake_orders_no_more() {
    let mut world = World::with_staking();
    world.by_hand(|context| {
        let mut record = context.ledger.validator(&address(97))?;
        record.owed = Amount(Amount::hold(1_000).0 - 1);
        context.save(&record)
    });
    world.advance(1);
    assert!(ordering(&world).contains(&address(97)));
    // What it has at stake beside its owner's helps it to nothing.
    world.done(
        1,
        Body::Delegate {
            validator: address(97),
            stake: Stake(500),
        },
    );
    // It misses another turn.
    world.builder = 98;
    world.advance(20);
    assert!(!ordering(&world).contains(&address(97)));
}
