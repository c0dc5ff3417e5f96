//! The ledger beside a small model of it, under random messages: after every block both have the
//! same, token for token.

mod books;
mod compare;
mod deals;
mod storage;

use super::play::{Play, Step, brisk, steps};
use crate::block::OutcomeResult;
use crate::message::Body;
use books::Model;
use proptest::prelude::*;

/// The ledger and the model of it.
struct Both {
    play: Play,
    model: Model,
    done: u32,
}

impl Both {
    fn new() -> Self {
        let play = Play::new(brisk());
        let model = Model::new(&play);
        let mut both = Self {
            play,
            model,
            done: 0,
        };
        both.block(Play::beginning());
        both
    }

    fn block(&mut self, bodies: Vec<(usize, Body)>) {
        let messages = self.play.sign(bodies);
        let results = self.play.block(&messages);
        let expected = self.model.block(&messages);
        for ((signed, result), expected) in messages.iter().zip(&results).zip(&expected) {
            let done = *result == OutcomeResult::Done;
            self.done += u32::from(done);
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
        let mut both = Both::new();
        for step in &steps {
            both.step(step);
        }
        both.wind_down(80);
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
    for _ in 0..12 {
        let steps = steps(40..41).new_tree(&mut runner).unwrap().current();
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
