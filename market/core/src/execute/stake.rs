//! Putting tokens at stake with validators, and taking them out.

use super::Context;
use super::due::Due;
use crate::ledger::{add, take};
use crate::refusal::{Refusal, Stop, require, require_range};
use crate::stake::{Delegation, MOST_STAKE, Staking, Unbonding, ValidatorRecord, ValidatorStatus};
use crate::units::{Address, Amount, Height, Stake};
use crate::view::{ReadView, ViewError};

impl<V: ReadView> Context<'_, V> {
    /// The numbers of staking, where this network has it.
    pub(super) fn staking(&self) -> Result<Staking, Stop> {
        let staking = self.rules.parameters.staking.as_ref();
        Ok(staking.cloned().ok_or(Refusal::FixedValidators)?)
    }

    /// The owner's own stake: a validator without it orders nothing.
    pub(super) fn stake(
        &mut self,
        sender: &Address,
        validator: &Address,
        stake: Stake,
    ) -> Result<(), Stop> {
        let mut record = self.staked(validator)?;
        require(record.owner == *sender, || {
            Refusal::NotOwner(format!("validator {validator}"))
        })?;
        let staking = self.staking()?;
        let short = record.own < staking.least_stake;
        record.own = Stake(record.own.0.saturating_add(stake.0));
        // The delay begins with the stake: or else a key would wait without any, and be chosen once
        // the beacons that it is to sign can be foreseen.
        let waits = matches!(
            record.status,
            ValidatorStatus::Ready | ValidatorStatus::Waiting { .. }
        );
        if short && record.own >= staking.least_stake && waits {
            let until = self.height.after(staking.activation_delay);
            self.schedule(Due::Activation(*validator), until);
            record.status = ValidatorStatus::Waiting { until };
        }
        self.put_at_stake(sender, record, stake)
    }

    /// Somebody else's stake.
    pub(super) fn delegate(
        &mut self,
        sender: &Address,
        validator: &Address,
        stake: Stake,
    ) -> Result<(), Stop> {
        let record = self.staked(validator)?;
        require(record.owner != *sender, || Refusal::State {
            what: format!("validator {validator}"),
            found: "the sender's own",
            needed: "one of somebody else; its owner stakes",
        })?;
        self.put_at_stake(sender, record, stake)
    }

    fn put_at_stake(
        &mut self,
        sender: &Address,
        mut record: ValidatorRecord,
        stake: Stake,
    ) -> Result<(), Stop> {
        require(
            !matches!(record.status, ValidatorStatus::Slashed { .. }),
            || Refusal::State {
                what: format!("validator {}", record.key),
                found: "slashed",
                needed: "one that may order again",
            },
        )?;
        let room = MOST_STAKE.0.saturating_sub(record.stake.0);
        require_range("the stake", stake.0, 1, room)?;
        let mut delegation = self.ledger.delegation(sender, &record.key)?;
        self.settle(sender, &mut record, &mut delegation)?;
        self.ledger.debit(sender, stake.amount())?;
        record.stake = sum(record.stake, stake)?;
        delegation.stake = sum(delegation.stake, stake)?;
        self.ledger
            .put_delegation(sender, &record.key, &delegation)?;
        self.save(&record)
    }

    /// Takes stake out: it no longer counts from the next election on, and is paid out once nothing
    /// that was signed with it can be shown any more.
    pub(super) fn unstake(
        &mut self,
        sender: &Address,
        validator: &Address,
        stake: Stake,
    ) -> Result<(), Stop> {
        let unbonding = self.staking()?.unbonding;
        let mut record = self.staked(validator)?;
        let mut delegation = self.ledger.delegation(sender, validator)?;
        require_range("the stake", stake.0, 1, u64::MAX)?;
        let left = delegation.stake.checked_sub(stake);
        let left = left.ok_or(Refusal::NoStake {
            validator: *validator,
            have: delegation.stake,
            need: stake,
        })?;
        self.settle(sender, &mut record, &mut delegation)?;
        if record.owner == *sender {
            // What missed turns cost is paid before the owner's stake can leave.
            self.ledger.debit(sender, record.owed)?;
            self.ledger.burn(record.owed)?;
            record.owed = Amount::ZERO;
            record.own = less(record.own, stake)?;
        }
        let amount = record.unit_value().times(stake).ok_or(Refusal::Overflow)?;
        record.stake = less(record.stake, stake)?;
        delegation.stake = left;
        self.ledger.put_delegation(sender, validator, &delegation)?;
        self.save(&record)?;
        let due = self.height.after(unbonding);
        let leaving = match self.ledger.unbonding(sender, validator, due)? {
            Some(before) => Unbonding {
                stake: sum(before.stake, stake)?,
                amount: add(before.amount, amount)?,
                since: before.since,
            },
            None => Unbonding {
                stake,
                amount,
                since: self.height,
            },
        };
        self.schedule(Due::Unbonding(*sender, *validator), due);
        self.ledger
            .put_unbonding((sender, validator, due), Some(&leaving))
    }

    /// Pays what was earned, and to the owner its commission too.
    pub(super) fn collect_reward(
        &mut self,
        sender: &Address,
        validator: &Address,
    ) -> Result<(), Stop> {
        let mut record = self.staked(validator)?;
        let mut delegation = self.ledger.delegation(sender, validator)?;
        let mine = delegation.stake > Stake(0) || record.owner == *sender;
        require(mine, || Refusal::NoStake {
            validator: *validator,
            have: Stake(0),
            need: Stake(1),
        })?;
        self.settle(sender, &mut record, &mut delegation)?;
        self.ledger.put_delegation(sender, validator, &delegation)?;
        self.save(&record)
    }

    /// Pays an account what its stake has earned since it was last settled. The owner's part first
    /// pays what missed turns cost.
    fn settle(
        &mut self,
        account: &Address,
        record: &mut ValidatorRecord,
        delegation: &mut Delegation,
    ) -> Result<(), Stop> {
        let since = take(record.earned, delegation.settled, "what a stake earned")?;
        let mut gained = since.times(delegation.stake).ok_or(Refusal::Overflow)?;
        record.rewards = take(record.rewards, gained, "a validator's rewards")?;
        delegation.settled = record.earned;
        if record.owner == *account {
            gained = add(gained, record.commission)?;
            record.commission = Amount::ZERO;
            let paid = record.owed.min(gained);
            record.owed = record.owed.saturating_sub(paid);
            gained = gained.saturating_sub(paid);
            self.ledger.burn(paid)?;
        }
        self.ledger.credit(account, gained)
    }

    /// The unbonding is over: what of it still stands is paid out, the rest burns.
    pub(super) fn unbonding_due(
        &mut self,
        by: &Address,
        validator: &Address,
        due: Height,
    ) -> Result<(), Stop> {
        let missing = || ViewError("a stake that is due is missing from state".into());
        let leaving = self.ledger.unbonding(by, validator, due)?;
        let leaving = leaving.ok_or_else(missing)?;
        let record = self.ledger.validator_option(validator)?;
        let paid = leaving.pays(&record.ok_or_else(missing)?);
        let paid = paid.ok_or(Refusal::Overflow)?;
        self.ledger.put_unbonding((by, validator, due), None)?;
        self.ledger
            .burn(take(leaving.amount, paid, "a stake on its way out")?)?;
        self.ledger.credit(by, paid)
    }

    /// A validator, on a network where there is stake.
    pub(super) fn staked(&self, validator: &Address) -> Result<ValidatorRecord, Stop> {
        self.staking()?;
        self.ledger.validator(validator)
    }
}

fn sum(a: Stake, b: Stake) -> Result<Stake, Stop> {
    Ok(a.checked_add(b).ok_or(Refusal::Overflow)?)
}

fn less(a: Stake, b: Stake) -> Result<Stake, Stop> {
    let short = || ViewError("a validator has less at stake than one account has with it".into());
    Ok(a.checked_sub(b).ok_or_else(short)?)
}
