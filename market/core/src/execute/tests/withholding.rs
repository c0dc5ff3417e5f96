//! What a builder can gain by withholding its turns: the one choice that it has over a beacon.

use super::world::{World, address, beacon_of};
use crate::beacon;
use crate::finality::proposer;
use crate::query;
use crate::stake::Staking;
use crate::units::{Beacon, Height, NetworkId, Round};

const NETWORK: NetworkId = NetworkId([3; 32]);
const HEIGHTS: u32 = 480;

/// Validators of equal stake; the first `own` of them are the adversary's.
struct Coalition {
    set: Vec<crate::block::Validator>,
    own: Vec<crate::units::Address>,
}

impl Coalition {
    fn new(all: usize, own: usize) -> Self {
        let world = World::under(
            crate::parameters::Parameters {
                staking: Some(Staking::dev()),
                ..crate::parameters::Parameters::dev()
            },
            &(0..all)
                .map(|index| (99 - index, 1_000))
                .collect::<Vec<_>>(),
        );
        Self {
            set: query::validators(&world.view).unwrap().next,
            own: (0..own).map(|index| address(99 - index)).collect(),
        }
    }

    fn is_own(&self, height: Height, round: u32) -> bool {
        let turn = proposer(&self.set, height, Round(round)).unwrap();
        self.own.contains(&turn.key)
    }

    /// The longest run of heights that all are the adversary's turn.
    fn longest_run(&self, heights: u64) -> u64 {
        let (mut longest, mut run) = (0, 0);
        for height in 1..=heights {
            run = if self.is_own(Height(height), 0) {
                run + 1
            } else {
                0
            };
            longest = longest.max(run);
        }
        longest
    }
}

/// The beacon of a height if the validator of that round builds it.
fn built(coalition: &Coalition, previous: Beacon, height: Height, round: u32) -> Beacon {
    let turn = proposer(&coalition.set, height, Round(round)).unwrap();
    let index = (0..16)
        .find(|index| address(99 - index) == turn.key)
        .unwrap();
    beacon::value(&beacon_of(99 - index).sign(NETWORK, previous, height))
}

/// Whether a challenge drawn from a beacon misses what the adversary has lost: an eighth passes.
fn suits(beacon: &Beacon) -> bool {
    beacon.0[0] < 32
}

#[test]
fn a_withheld_turn_is_one_more_draw_and_costs_what_it_is_to_cost() {
    let coalition = Coalition::new(4, 1);
    let (mut honest, mut withholding, mut turns, mut withheld) = (0u32, 0u32, 0u32, 0u32);
    for seed in 0..HEIGHTS {
        let previous = Beacon(*blake3::hash(&seed.to_le_bytes()).as_bytes());
        let height = Height(1 + u64::from(seed));
        let first = built(&coalition, previous, height, 0);
        honest += u32::from(suits(&first));
        let mut drawn = first;
        if coalition.is_own(height, 0) {
            turns += 1;
            if !suits(&first) {
                withheld += 1;
                // The next round's proposer is another's, and its beacon nobody else knows.
                let round = (1..16).find(|round| !coalition.is_own(height, *round));
                drawn = built(&coalition, previous, height, round.unwrap());
            }
        }
        withholding += u32::from(suits(&drawn));
    }
    // A quarter of the heights is its own, and in each it draws once more at the most.
    assert!((HEIGHTS / 5..=HEIGHTS / 3).contains(&turns), "{turns}");
    let gained = withholding - honest;
    assert!(gained <= withheld / 4, "{gained} of {withheld}");
    assert!(withheld * 8 >= turns * 5, "{withheld} of {turns}");
    // What each costs: the reward that it does not get, and the fine that it owes.
    let mut world = World::with_staking();
    let sets = query::validators(&world.view).unwrap();
    let turn = |height, round| {
        proposer(&sets.next, Height(height), Round(round))
            .unwrap()
            .key
    };
    let height = (1..50)
        .find(|height| turn(*height, 0) == address(99))
        .unwrap();
    while world.height().0 + 1 < height {
        let builder = turn(world.height().0 + 1, 0);
        world.builder = (96..100).find(|index| address(*index) == builder).unwrap();
        world.advance(1);
    }
    let record = |world: &World| {
        query::validator(&world.view, &address(99))
            .unwrap()
            .unwrap()
    };
    let before = record(&world);
    let next = (1..16)
        .map(|round| turn(height, round))
        .find(|key| *key != address(99));
    world.builder = (96..100)
        .find(|index| address(*index) == next.unwrap())
        .unwrap();
    world.advance(1);
    let after = record(&world);
    assert_eq!(after.rewards, before.rewards);
    assert_eq!(after.owed.0 - before.owed.0, Staking::dev().missed_turn.0);
    assert!(Staking::dev().missed_turn > Staking::dev().block_reward);
}

#[test]
fn no_tolerated_coalition_has_turns_for_as_long_as_the_beacon_is_delayed() {
    // Whoever has every turn from what is challenged to its challenge knows it in advance. The
    // development network's delay of 2 is for four validators; the main network's is 20.
    let delay = crate::parameters::Parameters::dev().beacon_delay.0;
    assert!(Coalition::new(4, 1).longest_run(20_000) < delay);
    for (all, own) in [(7, 2), (10, 3), (13, 4), (16, 5)] {
        let longest = Coalition::new(all, own).longest_run(20_000);
        assert!(longest <= 2, "{own} of {all}: {longest}");
    }
}
