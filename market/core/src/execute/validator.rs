//! Registering validators, and showing what one did that none may do.

use super::Context;
use super::due::Due;
use crate::beacon;
use crate::equivocation::Equivocation;
use crate::ledger::take;
use crate::quote;
use crate::refusal::{Refusal, Stop, require, require_range};
use crate::stake::{THOUSAND, ValidatorRecord, ValidatorStatus};
use crate::units::{Address, Amount, BeaconKey, BeaconSignature, Height, Stake};
use crate::view::ReadView;

impl<V: ReadView> Context<'_, V> {
    /// The sender's key becomes a validator's. It orders once the delay is over and its owner has
    /// enough at stake.
    ///
    /// Two validators may name one beacon key: only who holds its secret can sign a turn with it.
    pub(super) fn register_validator(
        &mut self,
        key: &Address,
        owner: &Address,
        (beacon, possession): (&BeaconKey, &BeaconSignature),
        commission_thousandths: u64,
    ) -> Result<(), Stop> {
        let staking = self.staking()?;
        require(self.ledger.validator_option(key)?.is_none(), || {
            Refusal::Exists(format!("validator {key}"))
        })?;
        require_range("the commission", commission_thousandths, 0, THOUSAND)?;
        require(beacon::is_possessed(beacon, possession), || {
            Refusal::Possession
        })?;
        let until = self.height.after(staking.activation_delay);
        self.schedule(Due::Activation(*key), until);
        self.save(&ValidatorRecord {
            key: *key,
            owner: *owner,
            beacon: *beacon,
            possession: *possession,
            commission_thousandths,
            status: ValidatorStatus::Waiting { until },
            own: Stake(0),
            stake: Stake(0),
            earned: Amount::ZERO,
            rewards: Amount::ZERO,
            commission: Amount::ZERO,
            owed: Amount::ZERO,
            missed: 0,
            built: 0,
            orders: None,
        })
    }

    /// Another beacon key, a lower commission, or a return. A new key and a return wait as a new
    /// validator does.
    pub(super) fn update_validator(
        &mut self,
        key: &Address,
        (beacon, possession): (&BeaconKey, &BeaconSignature),
        commission_thousandths: u64,
    ) -> Result<(), Stop> {
        let staking = self.staking()?;
        let mut record = self.ledger.validator(key)?;
        let most = record.commission_thousandths;
        require_range("the commission", commission_thousandths, 0, most)?;
        let same = (&record.beacon, &record.possession) == (beacon, possession);
        require(same || beacon::is_possessed(beacon, possession), || {
            Refusal::Possession
        })?;
        record.commission_thousandths = commission_thousandths;
        let other_key = record.beacon != *beacon;
        record.beacon = *beacon;
        record.possession = *possession;
        match record.status {
            ValidatorStatus::Slashed { .. } => {
                return Err(Refusal::State {
                    what: format!("validator {key}"),
                    found: "slashed",
                    needed: "a new validator with another key",
                }
                .into());
            }
            ValidatorStatus::Ready | ValidatorStatus::Waiting { .. } if !other_key => {}
            ValidatorStatus::Ready | ValidatorStatus::Waiting { .. } | ValidatorStatus::Resting => {
                let until = self.height.after(staking.activation_delay);
                self.schedule(Due::Activation(*key), until);
                record.status = ValidatorStatus::Waiting { until };
                record.missed = 0;
            }
        }
        self.save(&record)
    }

    /// The delay is over, if it was not begun anew since.
    pub(super) fn activation_due(&mut self, key: &Address, at: Height) -> Result<(), Stop> {
        let mut record = self.ledger.validator(key)?;
        if record.status == (ValidatorStatus::Waiting { until: at }) {
            record.status = ValidatorStatus::Ready;
            self.save(&record)?;
        }
        Ok(())
    }

    /// Takes a share of every stake with the validator that is shown, and ends its turns for good.
    pub(super) fn submit_equivocation(
        &mut self,
        finder: &Address,
        evidence: &Equivocation,
    ) -> Result<(), Stop> {
        let staking = self.staking()?;
        let culprit = evidence.culprit(self.rules.network)?;
        let mut record = self.ledger.validator(&culprit.key)?;
        require(culprit.height <= self.height, || Refusal::TooEarly {
            what: "the evidence",
            first: culprit.height,
            height: self.height,
        })?;
        require(record.ordered(culprit.height), || Refusal::State {
            what: format!("validator {} at height {}", record.key, culprit.height),
            found: "one that ordered no blocks",
            needed: "one that ordered them",
        })?;
        // Stake that left before is free by then.
        let last = culprit.height.after(staking.unbonding);
        require(self.height <= last, || Refusal::TooLate {
            what: "the evidence",
            last,
            height: self.height,
        })?;
        if let ValidatorStatus::Slashed {
            height,
            thousandths,
        } = record.status
        {
            // Shown before, for a later block: whoever left between the two answers as well. Nothing
            // more is taken from those who stayed, and nobody is paid for it.
            require(culprit.height < height, || {
                Refusal::Exists(format!("a slash of validator {}", record.key))
            })?;
            record.status = ValidatorStatus::Slashed {
                height: culprit.height,
                thousandths,
            };
            return self.save(&record);
        }
        let before = record.unit_value();
        record.status = ValidatorStatus::Slashed {
            height: culprit.height,
            thousandths: staking.slash_thousandths,
        };
        let each = take(before, record.unit_value(), "a stake")?;
        let taken = each.times(record.stake).ok_or(Refusal::Overflow)?;
        // Of the owner's stake alone: nobody is paid for what others had put with it.
        let own = each.times(record.own).ok_or(Refusal::Overflow)?;
        let reward = quote::finder_share(&self.parameters.economy, own)?;
        self.save(&record)?;
        self.ledger.credit(finder, reward)?;
        self.ledger.burn(take(taken, reward, "a slash")?)
    }
}
