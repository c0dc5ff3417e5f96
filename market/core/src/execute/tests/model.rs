//! The ledger beside a small model of it, under random messages: after every block both have the
//! same, token for token.

mod books;
mod compare;
mod deals;
mod storage;

use super::play::{Event, Kind, Play, Step, brisk, steps};
use crate::block::OutcomeResult;
use crate::message::Body;
use crate::units::{Amount, Beacon, Height, Periods};
use books::Model;
use proptest::prelude::*;

/// The ledger and the model of it.
struct Both {
    play: Play,
    model: Model,
}

impl Both {
    fn new() -> Self {
        Self::from(
            Play::new(brisk(), Amount::hold(1)),
            Amount::hold(1),
            Height(0),
        )
    }

    /// A play that begins after a block of that height.
    fn from(mut play: Play, unit: Amount, height: Height) -> Self {
        if height > Height(0) {
            play.world.by_hand(|context| {
                context.ledger.chain.height = height;
                for age in 0..20 {
                    let height = Height(height.0 - age);
                    context.ledger.put_beacon(height, &Beacon([7; 32]))?;
                }
                Ok(())
            });
        }
        let mut model = Model::new(&play, unit.0);
        model.height = height.0;
        let mut both = Self { play, model };
        let beginning = both.play.beginning();
        both.block(beginning);
        both
    }

    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
        self.wind_down(80);
    }

    fn block(&mut self, bodies: Vec<(usize, Body)>) {
        let messages = self.play.sign(bodies);
        let results = self.play.block(&messages);
        let expected = self.model.block(&messages);
        for ((signed, result), expected) in messages.iter().zip(&results).zip(&expected) {
            let done = *result == OutcomeResult::Done;
            assert_eq!(
                done, *expected,
                "at height {}: {result:?} of {:?}",
                self.model.height, signed.message
            );
        }
        compare::same(&self.play, &self.model);
    }

    fn step(&mut self, step: &Step) {
        for block in 0..step.blocks {
            let mut bodies = Vec::new();
            if block == 0 {
                bodies.extend(step.events.iter().filter_map(|event| self.play.act(event)));
            }
            bodies.extend(self.play.chores(step.idle.rotate_left(block as u32)));
            self.block(bodies);
        }
    }

    /// Nobody does anything any more: whatever was begun ends by itself.
    fn wind_down(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.block(Vec::new());
        }
        self.play.world.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if super::long() { 2_000 } else { 24 }))]

    #[test]
    fn the_ledger_and_its_model_have_the_same_after_every_block(steps in steps(30..60)) {
        Both::new().run(&steps);
    }
}

/// The largest numbers that a genesis may have.
fn largest() -> (Play, Amount) {
    let most = Amount(1 << 80);
    let mut parameters = brisk();
    let economy = &mut parameters.economy;
    for amount in [
        &mut economy.minimum_fee,
        &mut economy.fee_per_kib,
        &mut economy.collateral_per_gib,
        &mut economy.deal_collateral_per_gib,
        &mut economy.minimum_collateral,
        &mut economy.seal_deposit,
        &mut economy.embed_deposit,
        &mut economy.opening_deposit,
        &mut economy.reward_per_period,
        &mut economy.reward_cap_per_gib,
        &mut economy.minimum_price,
    ] {
        *amount = most;
    }
    economy.fault_fee_per_gib = Amount(most.0 / 6);
    economy.missed_fee_per_gib = Amount(most.0 / 6);
    economy.reward_halving = Periods(1);
    economy.deal_weight_tenths = 1_000;
    economy.burn_thousandths = 1_000;
    // The most that leaves something of a penalty to whoever repairs.
    economy.finder_thousandths = 500;
    economy.repair_per_gib = Amount(most.0 / 128);
    economy.repair_deposit = most;
    parameters.check().unwrap();
    // Six accounts of a thousand units are just below the most of a genesis.
    let unit = Amount((1 << 100) / 6_000);
    (Play::new(parameters, unit), unit)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if super::long() { 200 } else { 5 }))]

    #[test]
    fn nothing_leaves_the_numbers_where_each_is_the_largest_that_may_be(steps in steps(20..40)) {
        let (play, unit) = largest();
        Both::from(play, unit, Height(0)).run(&steps);
    }

    #[test]
    fn nothing_leaves_the_numbers_at_heights_that_no_chain_reaches(steps in steps(20..40), from in 34u32..63) {
        let play = Play::new(brisk(), Amount::hold(1));
        let height = Height(u64::MAX - (1 << from));
        Both::from(play, Amount::hold(1), height).run(&steps);
    }
}

/// What happened in a play, by status: so that the test above is known to come everywhere.
#[test]
fn random_hands_come_to_every_corner_of_the_model() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use std::collections::BTreeSet;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for _ in 0..24 {
        let steps = steps(70..71).new_tree(&mut runner).unwrap().current();
        let mut both = Both::new();
        for step in &steps {
            both.step(step);
            seen.extend(both.model.corners());
        }
    }
    for corner in books::CORNERS {
        assert!(seen.contains(corner), "{corner} is not among {seen:?}");
    }
}

/// A loss and its repair come together too seldom in random hands.
#[test]
fn a_lost_shard_is_repaired_in_the_ledger_and_in_its_model() {
    let event = |kind, a, b| Event {
        who: usize::MAX,
        kind,
        a,
        b,
        amount: Amount(500_000_000),
    };
    let mut both = Both::new();
    let mut play = |events: Vec<Event>, until: &str| {
        let mut events = Some(events);
        for _ in 0..40 {
            both.step(&Step {
                events: events.take().unwrap_or_default(),
                idle: 0,
                blocks: 1,
            });
            if both.model.corners().contains(until) {
                return;
            }
        }
        panic!("{until} is not among {:?}", both.model.corners());
    };
    let sectors = (0..3).map(|provider| event(Kind::PreCommit, provider, 1));
    play(sectors.collect(), "sector active");
    // Two shards, with the second provider and the third, for four hundred periods.
    play(vec![event(Kind::Propose, 4, 5)], "deal proven");
    play(vec![event(Kind::Terminate, 1, 0)], "deal failed");
    play(vec![event(Kind::Repair, 0, 0)], "a repair under way");
    play(Vec::new(), "a repair done");
}
