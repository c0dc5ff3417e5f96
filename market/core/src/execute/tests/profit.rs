//! Dealing with oneself never pays: whatever accounts and providers in one hand do to each other,
//! they hold no more in the end than the same proven capacity would have brought them empty. And an
//! honest provider beside them loses nothing by it.

use super::play::{Event, Kind, Play, Step, account_of, brisk, event, kind};
use super::world::address;
use crate::ledger::Ledger;
use crate::message::{Body, SignedMessage};
use crate::query;
use crate::quote;
use crate::state::SectorStatus;
use crate::units::{Amount, ByteCount, Periods, SectorId};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Account 0 owns and runs the honest provider; these act as one.
const COALITION: [usize; 5] = [1, 2, 3, 4, 5];

/// A network so small that every proven sector earns what the cap allows: then what bare capacity
/// brings does not depend on the others.
fn small() -> Play {
    let mut parameters = brisk();
    parameters.economy.reward_per_period = Amount::hold(50);
    parameters.economy.reward_halving = Periods(1_000_000);
    Play::new(parameters, Amount::hold(1))
}

/// A play between the two, and what each would have without any deals.
struct Contest {
    play: Play,
    /// What the honest provider, and all the others, began with and earned by capacity alone, less
    /// fees.
    bare: [i128; 2],
}

fn side(account: usize) -> usize {
    usize::from(account != 0)
}

impl Contest {
    fn new() -> Self {
        let play = small();
        let each = Amount::hold(1_000).0 as i128;
        let mut contest = Self {
            play,
            bare: [each, 5 * each],
        };
        let beginning = contest.play.beginning();
        contest.block(beginning);
        contest
    }

    fn owner(&self, of: SectorId) -> usize {
        let provider = query::provider(&self.play.world.view, of.provider).unwrap();
        account_of(&provider.unwrap().owner).unwrap()
    }

    fn block(&mut self, bodies: Vec<(usize, Body)>) {
        let before = self.play.sectors();
        let messages: Vec<SignedMessage> = self.play.sign(bodies);
        self.play.block(&messages);
        for signed in &messages {
            let sender = account_of(&signed.message.sender).unwrap();
            self.bare[side(sender)] -= signed.message.fee.0 as i128;
        }
        let economy = &self.play.parameters().economy;
        let mut earned = [0, 0];
        for before in before {
            // Others may have come in between.
            let after = query::sector(&self.play.world.view, before.id).unwrap();
            let after = after.unwrap();
            // Its deadline has closed, and it was proven.
            if after.next > before.next
                && after.proven == Some(before.next)
                && !matches!(before.status, SectorStatus::PreCommitted { .. })
            {
                let bytes = ByteCount(after.class.bytes());
                let reward = quote::per_gib_floor(economy.reward_cap_per_gib, bytes).unwrap();
                earned[side(self.owner(after.id))] += reward.0 as i128;
            }
        }
        for (bare, earned) in self.bare.iter_mut().zip(earned) {
            *bare += earned;
        }
    }

    /// Everything that a side has, or that comes back to it where nobody is at fault.
    fn holds(&self) -> [i128; 2] {
        let view = &self.play.world.view;
        let ledger = Ledger::open(view).unwrap();
        let mut holds = [0u128; 2];
        let mut add = |account: usize, amount: u128| holds[side(account)] += amount;
        for account in std::iter::once(0).chain(COALITION) {
            add(account, self.play.world.account(account).balance.0);
            for set in query::deal_sets_of(view, &address(account)).unwrap() {
                add(account, set.repair_budget.0);
                add(account, set.deals.iter().map(|deal| deal.escrow.0).sum());
            }
        }
        for provider in self.play.providers() {
            let vesting: u128 = provider.vesting.iter().map(|one| one.amount.0).sum();
            let owner = account_of(&provider.owner).unwrap();
            add(owner, provider.collateral.0 + vesting);
            let channels = query::channels_to(view, provider.id, None, usize::MAX).unwrap();
            for channel in channels {
                let payer = account_of(&channel.id.payer).unwrap();
                add(payer, channel.deposit.0 - channel.redeemed.0);
            }
        }
        for (id, deal) in self.play.deals() {
            // What a repair under way is paid goes to who has begun it, or back.
            if let Some(repair) = &deal.repair {
                add(account_of(&deal.owner).unwrap(), repair.work.0);
            }
            let waiting = ledger.waiting_demands(&id).unwrap();
            for demand in deal.demand.iter().chain(&waiting) {
                add(account_of(&demand.by).unwrap(), demand.deposit.0);
            }
        }
        // Nothing is anywhere else.
        let supply = query::supply(view).unwrap();
        assert_eq!(holds[0] + holds[1], supply.minted.0 - supply.burnt.0);
        holds.map(|amount| amount as i128)
    }

    /// The honest provider does all that it should; the others choose what they leave undone.
    fn step(&mut self, step: &Step) {
        for block in 0..step.blocks {
            let mut bodies = Vec::new();
            if block == 0 {
                for event in &step.events {
                    let acts = self.play.act(event);
                    bodies.extend(acts.filter(|(who, body)| *who != 0 && self.is_theirs(body)));
                }
            }
            let idle = step.idle.rotate_left(block as u32);
            let chores = self.play.chores(idle).into_iter();
            bodies.extend(chores.filter(|(who, _)| *who != 0));
            let honest = self.play.chores(0).into_iter();
            bodies.extend(honest.filter(|(who, _)| *who == 0));
            self.block(bodies);
        }
    }

    /// The honest provider gave no receipts: nobody else can sign one for it.
    fn is_theirs(&self, body: &Body) -> bool {
        match body {
            Body::ClaimBrokenPromise { receipt } => receipt.receipt.provider.0 != 0,
            _ => true,
        }
    }

    /// Gain of the honest provider and of the others over bare capacity, fees given back, once what
    /// was begun has come to its end.
    fn end(mut self) -> [i128; 2] {
        let rest = Step {
            events: Vec::new(),
            idle: 0,
            blocks: 90,
        };
        self.step(&rest);
        self.play.world.check();
        let holds = self.holds();
        [holds[0] - self.bare[0], holds[1] - self.bare[1]]
    }
}

fn gains(steps: &[Step]) -> [i128; 2] {
    let mut contest = Contest::new();
    // Both have a sector from the beginning.
    let sectors = (0..2).map(|a| Event {
        who: usize::MAX,
        kind: Kind::PreCommit,
        a,
        b: 1,
        amount: Amount(0),
    });
    let seal: Vec<(usize, Body)> = sectors.filter_map(|one| contest.play.act(&one)).collect();
    assert_eq!(seal.len(), 2);
    contest.block(seal);
    for step in steps {
        contest.step(step);
    }
    contest.end()
}

/// Neither side has more, or less, than it may.
fn judge(steps: &[Step]) -> i128 {
    let [honest, coalition] = gains(steps);
    assert!(
        coalition <= 0,
        "it pays: {coalition} grains more than bare capacity, by {steps:?}"
    );
    assert!(
        honest >= 0,
        "an honest provider has lost {honest} grains, by {steps:?}"
    );
    coalition
}

#[test]
fn who_only_proves_has_what_bare_capacity_brings() {
    let idle = Step {
        events: Vec::new(),
        idle: 0,
        blocks: 60,
    };
    assert_eq!(gains(&[idle]), [0, 0]);
}

fn moves() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        proptest::collection::vec(event(), 0..5),
        any::<u32>(),
        any::<u32>(),
        any::<u32>(),
        1u64..6,
    );
    let step = step.prop_map(|(events, a, b, c, blocks)| Step {
        events,
        idle: a & b & c,
        blocks,
    });
    proptest::collection::vec(step, 12..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if super::long() { 1_500 } else { 16 }))]

    #[test]
    fn no_random_dealing_with_oneself_pays(steps in moves()) {
        judge(&steps);
    }
}

/// Changes one thing at a time, and keeps what costs no more than before.
#[test]
fn no_climb_from_dealing_to_better_dealing_reaches_a_profit() {
    let (climbs, tries) = if super::long() { (20, 400) } else { (2, 20) };
    let mut runner = TestRunner::deterministic();
    for _ in 0..climbs {
        let mut best = moves().new_tree(&mut runner).unwrap().current();
        let mut least = judge(&best);
        for _ in 0..tries {
            let mut steps = best.clone();
            let place = runner.rng().random_range(0..steps.len());
            match runner.rng().random_range(0..5u8) {
                0 => drop(steps.remove(place)),
                1 => {
                    let other = moves().new_tree(&mut runner).unwrap().current();
                    steps.insert(place, other[0].clone());
                }
                2 => steps[place].idle = 0,
                3 => {
                    let kind = kind().new_tree(&mut runner).unwrap().current();
                    for event in &mut steps[place].events {
                        event.kind = kind;
                    }
                }
                _ => {
                    let more = event().new_tree(&mut runner).unwrap().current();
                    steps[place].events.push(more);
                }
            }
            if steps.is_empty() {
                continue;
            }
            let gain = judge(&steps);
            if gain >= least {
                (best, least) = (steps, gain);
            }
        }
    }
}
