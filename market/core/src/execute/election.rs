//! The end of a builder's turn: what it earns, what those before it missed, and who orders next.

use super::Context;
use super::spacetime::declined;
use crate::block::Validator;
use crate::finality::proposer;
use crate::keys;
use crate::ledger::{add, take};
use crate::refusal::{Refusal, Stop};
use crate::schedule;
use crate::stake::{Orders, SET_DELAY, Staking, THOUSAND, ValidatorRecord, ValidatorStatus};
use crate::state::ValidatorSets;
use crate::units::{Address, Amount, Blocks, Round, Stake};
use crate::view::{ReadView, ViewError};
use std::collections::BTreeSet;

/// Rounds of a height whose proposers are looked at, at most: the work of a block stays bounded.
const MOST_ROUNDS: u32 = 16;

impl<V: ReadView> Context<'_, V> {
    /// Rewards the builder, charges those who had a turn before it in this height, and elects.
    pub(super) fn end_turn(&mut self) -> Result<(), Stop> {
        let Some(staking) = self.rules.parameters.staking.clone() else {
            return Ok(());
        };
        let sets = self.ledger.validator_sets()?;
        self.reward_builder(&staking)?;
        for missed in self.missed_turns(&sets.next) {
            self.charge_missed_turn(&missed, &staking)?;
        }
        let elected = if self.elects {
            self.elect(&staking)?
        } else {
            sets.after.clone()
        };
        // Somebody orders always: where nobody stands, those who did go on.
        let elected = if elected.is_empty() {
            sets.after.clone()
        } else {
            elected
        };
        let moved = ValidatorSets {
            next: sets.after.clone(),
            after: elected,
        };
        if moved == sets {
            return Ok(());
        }
        self.note_terms(&moved)?;
        self.ledger.put_validator_sets(&moved)
    }

    /// Notes from which height on, or up to which, a validator orders that joins or leaves.
    fn note_terms(&mut self, sets: &ValidatorSets) -> Result<(), Stop> {
        let keys = |set: &[Validator]| set.iter().map(|one| one.key).collect::<BTreeSet<_>>();
        let (next, after) = (keys(&sets.next), keys(&sets.after));
        for key in after.difference(&next) {
            let mut record = self.ledger.validator(key)?;
            let first = self.height.after(SET_DELAY);
            let from = record.orders.map_or(first, |orders| orders.from);
            record.orders = Some(Orders { from, to: None });
            self.save(&record)?;
        }
        for key in next.difference(&after) {
            let mut record = self.ledger.validator(key)?;
            let last = self.height.after(SET_DELAY).before(Blocks(1));
            if let Some(orders) = &mut record.orders {
                orders.to = Some(last);
            }
            self.save(&record)?;
        }
        Ok(())
    }

    /// Mints a block's reward to whoever built it: first what it owes, then its commission, and the
    /// rest to all who stand behind it. What cannot be parted evenly is not minted.
    fn reward_builder(&mut self, staking: &Staking) -> Result<(), Stop> {
        let missing = || ViewError("the builder is missing from the validators".into());
        let record = self.ledger.validator_option(&self.builder)?;
        let mut record = record.ok_or_else(missing)?;
        record.missed = 0;
        record.built = record.built.saturating_add(1);
        let slashed = matches!(record.status, ValidatorStatus::Slashed { .. });
        if !slashed && record.stake.0 > 0 {
            let now = schedule::period_of(&self.parameters, self.height);
            let halving = self.parameters.economy.reward_halving;
            let whole = declined(staking.block_reward, halving, now);
            let withheld = record.owed.min(whole);
            record.owed = record.owed.saturating_sub(withheld);
            let gained = whole.saturating_sub(withheld);
            let commission = share(gained, record.commission_thousandths)?;
            let rest = take(gained, commission, "a block's reward")?;
            let each = Amount(rest.0 / u128::from(record.stake.0));
            let parted = each.times(record.stake).ok_or(Refusal::Overflow)?;
            record.earned = add(record.earned, each)?;
            record.rewards = add(record.rewards, parted)?;
            record.commission = add(record.commission, commission)?;
            self.ledger.mint(add(parted, commission)?)?;
        }
        self.save(&record)
    }

    /// Who had a turn in this height before the builder's first, and built nothing.
    fn missed_turns(&self, validators: &[Validator]) -> BTreeSet<Address> {
        (0..MOST_ROUNDS)
            .map_while(|round| proposer(validators, self.height, Round(round)))
            .map(|one| one.key)
            .take_while(|key| *key != self.builder)
            .collect()
    }

    /// A turn can be withheld, and that is all by which a builder can steer a beacon: so it costs.
    fn charge_missed_turn(&mut self, key: &Address, staking: &Staking) -> Result<(), Stop> {
        let Some(mut record) = self.ledger.validator_option(key)? else {
            return Ok(());
        };
        record.owed = add(record.owed, staking.missed_turn)?;
        record.missed = record.missed.saturating_add(1);
        if record.status == ValidatorStatus::Ready && record.missed >= staking.missed_to_rest {
            record.status = ValidatorStatus::Resting;
        }
        self.save(&record)
    }

    /// Those with the most stake, the smaller key first where two have as much; in the order of their
    /// keys. Turns go along that order, and by its stake nobody chooses a place in it.
    fn elect(&self, staking: &Staking) -> Result<Vec<Validator>, Stop> {
        let most = staking.most_validators as usize;
        let ranked = self.ledger.scan(keys::RANK, None, most)?;
        let mut elected = Vec::with_capacity(ranked.len());
        for (key, _) in ranked {
            let strange = || ViewError("the validators' ranks have a strange key".into());
            let key = keys::validator_at_end(&key).ok_or_else(strange)?;
            elected.push(self.ledger.validator(&key)?.validator());
        }
        elected.sort_by_key(|one| one.key);
        Ok(elected)
    }

    /// Writes a validator and its place among those that may order.
    pub(super) fn save(&mut self, record: &ValidatorRecord) -> Result<(), Stop> {
        let staking = self.staking()?;
        let rank = |record: &ValidatorRecord| {
            let stands = record.stands(&staking);
            stands.then(|| keys::rank(record.stake, &record.key))
        };
        let before = self.ledger.validator_option(&record.key)?;
        let counts = |record: &ValidatorRecord| match record.status {
            ValidatorStatus::Slashed { .. } => Stake(0),
            _ => record.stake,
        };
        let rest = before.as_ref().map_or(Stake(0), counts);
        let rest = self.ledger.chain.staked.checked_sub(rest);
        let short = || ViewError("less is at stake in all than with one validator".into());
        let staked = rest.ok_or_else(short)?.checked_add(counts(record));
        self.ledger.chain.staked = staked.ok_or(Refusal::Overflow)?;
        let (old, new) = (before.as_ref().and_then(rank), rank(record));
        if old != new {
            self.elects = true;
            if let Some(old) = old {
                self.ledger.put(old, None);
            }
            if let Some(new) = new {
                self.ledger.put(new, Some(vec![1]));
            }
        }
        self.ledger.put_validator(record)
    }
}

/// Rounded down: for what is paid out.
fn share(amount: Amount, thousandths: u64) -> Result<Amount, Stop> {
    let product = amount.0.checked_mul(u128::from(thousandths));
    Ok(Amount(
        product.ok_or(Refusal::Overflow)? / u128::from(THOUSAND),
    ))
}
