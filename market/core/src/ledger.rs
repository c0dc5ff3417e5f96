//! State under the hands of the rules: typed objects over a read view, with a mark to return to.
//!
//! The books are kept here and nowhere else: whoever writes an account, a provider, a deal or a
//! deal set changes the matching sum by the difference between what it held and what it holds.

use crate::channel::{Channel, Parties};
use crate::governance::Proposal;
use crate::keys;
use crate::message::{decode, encode};
use crate::parameters::Economy;
use crate::refusal::{Refusal, Stop};
use crate::stake::{Delegation, Unbonding, ValidatorRecord};
use crate::state::{
    Account, Chain, Deal, DealSetRecord, Demand, Name, PastWorker, Provider, Sector, Supply,
    ValidatorSets,
};
use crate::units::{
    Address, Amount, Beacon, DealId, Height, PackId, ProposalId, ProviderId, SectorId, Stake,
};
use crate::view::{Entry, ReadView, ViewError, Writes, scan_start};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Reads one object of a view.
pub(crate) fn read<T>(
    view: &(impl ReadView + ?Sized),
    kind: &'static str,
    key: &[u8],
) -> Result<Option<T>, ViewError>
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    view.get(key)?
        .map(|bytes| decode(kind, &bytes).map_err(|error| ViewError(error.to_string())))
        .transpose()
}

/// Reads an object that every state has.
pub(crate) fn read_present<T>(
    view: &(impl ReadView + ?Sized),
    kind: &'static str,
    key: &[u8],
) -> Result<T, ViewError>
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    read(view, kind, key)?.ok_or_else(|| ViewError(format!("the {kind} is missing from state")))
}

pub(crate) fn bytes_of<T: Serialize>(value: &T) -> Result<Vec<u8>, ViewError> {
    encode(value).map_err(|error| ViewError(error.to_string()))
}

/// A key, and what the block had already written there, if it had.
type Replaced = (Vec<u8>, Option<Option<Vec<u8>>>);

/// The ledger while a block is executed.
pub(crate) struct Ledger<'v, V: ReadView> {
    view: &'v V,
    writes: Writes,
    /// What the writes since the mark replaced, newest last.
    undo: Vec<Replaced>,
    pub chain: Chain,
    supply: Supply,
    mark: (Chain, Supply),
}

impl<'v, V: ReadView> Ledger<'v, V> {
    pub fn open(view: &'v V) -> Result<Self, ViewError> {
        let chain: Chain = read_present(view, "chain", keys::CHAIN)?;
        let supply: Supply = read_present(view, "supply", keys::SUPPLY)?;
        Ok(Self {
            view,
            writes: BTreeMap::new(),
            undo: Vec::new(),
            mark: (chain.clone(), supply.clone()),
            chain,
            supply,
        })
    }

    /// Everything until the next [`Self::roll_back`] can be taken back.
    pub fn mark(&mut self) {
        self.undo.clear();
        self.mark = (self.chain.clone(), self.supply.clone());
    }

    /// Takes back everything since the mark.
    pub fn roll_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(value) => self.writes.insert(key, value),
                None => self.writes.remove(&key),
            };
        }
        (self.chain, self.supply) = self.mark.clone();
    }

    pub fn supply(&self) -> &Supply {
        &self.supply
    }

    /// All changes of the block.
    pub fn finish(mut self) -> Result<Writes, ViewError> {
        let (chain, supply) = (bytes_of(&self.chain)?, bytes_of(&self.supply)?);
        self.writes.insert(keys::CHAIN.to_vec(), Some(chain));
        self.writes.insert(keys::SUPPLY.to_vec(), Some(supply));
        Ok(self.writes)
    }

    pub fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let before = self.writes.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    fn put_object<T: Serialize>(&mut self, key: Vec<u8>, value: &T) -> Result<(), Stop> {
        let bytes = bytes_of(value)?;
        self.put(key, Some(bytes));
        Ok(())
    }

    // Books

    fn shift(sum: &mut Amount, before: Amount, after: Amount) -> Result<(), Stop> {
        *sum = sum
            .checked_sub(before)
            .ok_or_else(|| ViewError("the books hold less than an object in them".into()))?
            .checked_add(after)
            .ok_or(Refusal::Overflow)?;
        Ok(())
    }

    /// Tokens that come into being; the caller writes who holds them.
    pub fn mint(&mut self, amount: Amount) -> Result<(), Stop> {
        self.supply.minted = add(self.supply.minted, amount)?;
        Ok(())
    }

    /// Tokens that cease to be; the caller writes who no longer holds them.
    pub fn burn(&mut self, amount: Amount) -> Result<(), Stop> {
        self.supply.burnt = add(self.supply.burnt, amount)?;
        Ok(())
    }

    // Objects

    pub fn account(&self, address: &Address) -> Result<Account, ViewError> {
        Ok(read(self, "account", &keys::account(address))?.unwrap_or_default())
    }

    pub fn put_account(&mut self, address: &Address, account: &Account) -> Result<(), Stop> {
        let before = self.account(address)?.balance;
        Self::shift(&mut self.supply.balances, before, account.balance)?;
        self.put_object(keys::account(address), account)
    }

    /// Gives tokens to an account.
    pub fn credit(&mut self, address: &Address, amount: Amount) -> Result<(), Stop> {
        if amount == Amount::ZERO {
            return Ok(());
        }
        let mut account = self.account(address)?;
        account.balance = add(account.balance, amount)?;
        self.put_account(address, &account)
    }

    /// Takes tokens from an account that has them.
    pub fn debit(&mut self, address: &Address, amount: Amount) -> Result<(), Stop> {
        let mut account = self.account(address)?;
        account.balance = account
            .balance
            .checked_sub(amount)
            .ok_or_else(|| Refusal::Funds {
                have: account.balance,
                need: amount,
                missing: amount.saturating_sub(account.balance),
            })?;
        self.put_account(address, &account)
    }

    pub fn provider(&self, id: ProviderId) -> Result<Provider, Stop> {
        read(self, "provider", &keys::provider(id))?
            .ok_or(Refusal::NoProvider(id))
            .map_err(Stop::from)
    }

    pub fn put_provider(&mut self, provider: &Provider) -> Result<(), Stop> {
        let key = keys::provider(provider.id);
        let before = read::<Provider>(self, "provider", &key)?
            .map_or(Ok(Amount::ZERO), |before| before.holds())?;
        Self::shift(&mut self.supply.collateral, before, provider.holds()?)?;
        self.put_object(key, provider)
    }

    pub fn past_workers(&self, id: ProviderId) -> Result<Vec<PastWorker>, ViewError> {
        Ok(read(self, "list of past workers", &keys::past_workers(id))?.unwrap_or_default())
    }

    pub fn put_past_workers(&mut self, id: ProviderId, past: &Vec<PastWorker>) -> Result<(), Stop> {
        self.put_object(keys::past_workers(id), past)
    }

    pub fn sector_option(&self, id: SectorId) -> Result<Option<Sector>, ViewError> {
        read(self, "sector", &keys::sector(id))
    }

    pub fn sector(&self, id: SectorId) -> Result<Sector, Stop> {
        Ok(self.sector_option(id)?.ok_or(Refusal::NoSector(id))?)
    }

    pub fn put_sector(&mut self, sector: &Sector) -> Result<(), Stop> {
        self.put_object(keys::sector(sector.id), sector)
    }

    pub fn deal_set_option(&self, pack: &PackId) -> Result<Option<DealSetRecord>, ViewError> {
        read(self, "deal set", &keys::deal_set(pack))
    }

    pub fn deal_set(&self, pack: &PackId) -> Result<DealSetRecord, Stop> {
        Ok(self
            .deal_set_option(pack)?
            .ok_or(Refusal::NoDealSet(*pack))?)
    }

    pub fn put_deal_set(&mut self, pack: &PackId, set: &DealSetRecord) -> Result<(), Stop> {
        let before = self
            .deal_set_option(pack)?
            .map_or(Amount::ZERO, |before| before.repair_budget);
        Self::shift(&mut self.supply.escrow, before, set.repair_budget)?;
        self.put_object(keys::deal_set(pack), set)
    }

    pub fn deal(&self, id: &DealId) -> Result<Deal, Stop> {
        Ok(read(self, "deal", &keys::deal(id))?.ok_or(Refusal::NoDeal(*id))?)
    }

    pub fn put_deal(&mut self, id: &DealId, deal: &Deal) -> Result<(), Stop> {
        let key = keys::deal(id);
        let before =
            read::<Deal>(self, "deal", &key)?.map_or(Ok(Amount::ZERO), |before| before.holds())?;
        Self::shift(&mut self.supply.escrow, before, deal.holds()?)?;
        self.put_object(key, deal)
    }

    pub fn waiting_demands(&self, id: &DealId) -> Result<Vec<Demand>, ViewError> {
        Ok(read(self, "list of demands", &keys::demands(id))?.unwrap_or_default())
    }

    pub fn put_waiting_demands(&mut self, id: &DealId, demands: &Vec<Demand>) -> Result<(), Stop> {
        let before = deposits(&self.waiting_demands(id)?)?;
        Self::shift(&mut self.supply.escrow, before, deposits(demands)?)?;
        if demands.is_empty() {
            self.put(keys::demands(id), None);
            return Ok(());
        }
        self.put_object(keys::demands(id), demands)
    }

    pub fn channel_option(
        &self,
        provider: ProviderId,
        parties: &Parties,
    ) -> Result<Option<Channel>, ViewError> {
        read(self, "channel", &keys::channel(provider, parties))
    }

    pub fn channel(&self, provider: ProviderId, parties: &Parties) -> Result<Channel, Stop> {
        let channel = self.channel_option(provider, parties)?;
        Ok(channel.ok_or(Refusal::NoChannel {
            provider,
            reader: parties.reader,
        })?)
    }

    pub fn put_channel(&mut self, channel: &Channel) -> Result<(), Stop> {
        let (provider, parties) = (channel.id.provider, channel.id.parties());
        self.shift_channel(provider, &parties, channel.holds()?)?;
        self.put(keys::payer_channel(provider, &parties), Some(vec![1]));
        self.put_object(keys::channel(provider, &parties), channel)
    }

    pub fn remove_channel(&mut self, channel: &Channel) -> Result<(), Stop> {
        let (provider, parties) = (channel.id.provider, channel.id.parties());
        self.shift_channel(provider, &parties, Amount::ZERO)?;
        self.put(keys::payer_channel(provider, &parties), None);
        self.put(keys::channel(provider, &parties), None);
        Ok(())
    }

    fn shift_channel(
        &mut self,
        provider: ProviderId,
        parties: &Parties,
        after: Amount,
    ) -> Result<(), Stop> {
        let before = self
            .channel_option(provider, parties)?
            .map_or(Ok(Amount::ZERO), |before| before.holds())?;
        Self::shift(&mut self.supply.escrow, before, after)
    }

    pub fn validator(&self, key: &Address) -> Result<ValidatorRecord, Stop> {
        Ok(self
            .validator_option(key)?
            .ok_or(Refusal::NoValidator(*key))?)
    }

    pub fn validator_option(&self, key: &Address) -> Result<Option<ValidatorRecord>, ViewError> {
        read(self, "validator", &keys::validator(key))
    }

    pub fn put_validator(&mut self, record: &ValidatorRecord) -> Result<(), Stop> {
        let before = self
            .validator_option(&record.key)?
            .map_or(Ok(Amount::ZERO), |before| before.holds())?;
        Self::shift(&mut self.supply.stake, before, record.holds()?)?;
        self.put_object(keys::validator(&record.key), record)
    }

    pub fn delegation(&self, by: &Address, validator: &Address) -> Result<Delegation, ViewError> {
        Ok(read(self, "delegation", &keys::delegation(by, validator))?.unwrap_or_default())
    }

    /// What a delegation is worth lies in its validator's record.
    pub fn put_delegation(
        &mut self,
        by: &Address,
        validator: &Address,
        delegation: &Delegation,
    ) -> Result<(), Stop> {
        let key = keys::delegation(by, validator);
        if delegation.stake == Stake(0) {
            self.put(key, None);
            return Ok(());
        }
        self.put_object(key, delegation)
    }

    pub fn unbonding(
        &self,
        by: &Address,
        validator: &Address,
        due: Height,
    ) -> Result<Option<Unbonding>, ViewError> {
        let key = keys::unbonding(by, validator, due);
        read(self, "unbonding stake", &key)
    }

    pub fn put_unbonding(
        &mut self,
        (by, validator, due): (&Address, &Address, Height),
        unbonding: Option<&Unbonding>,
    ) -> Result<(), Stop> {
        let held = |one: Option<&Unbonding>| one.map_or(Amount::ZERO, |one| one.amount);
        let before = held(self.unbonding(by, validator, due)?.as_ref());
        Self::shift(&mut self.supply.stake, before, held(unbonding))?;
        let key = keys::unbonding(by, validator, due);
        match unbonding {
            Some(unbonding) => self.put_object(key, unbonding),
            None => {
                self.put(key, None);
                Ok(())
            }
        }
    }

    pub fn proposal(&self, id: ProposalId) -> Result<Proposal, Stop> {
        Ok(self.proposal_option(id)?.ok_or(Refusal::NoProposal(id))?)
    }

    fn proposal_option(&self, id: ProposalId) -> Result<Option<Proposal>, ViewError> {
        read(self, "proposal", &keys::proposal(id))
    }

    pub fn put_proposal(&mut self, proposal: &Proposal) -> Result<(), Stop> {
        let before = self
            .proposal_option(proposal.id)?
            .map_or(Amount::ZERO, |before| before.deposit);
        Self::shift(&mut self.supply.escrow, before, proposal.deposit)?;
        self.put_object(keys::proposal(proposal.id), proposal)
    }

    pub fn has_voted(
        &self,
        id: ProposalId,
        validator: &Address,
        by: &Address,
    ) -> Result<bool, ViewError> {
        Ok(self.get(&keys::vote(id, validator, by))?.is_some())
    }

    pub fn put_vote(&mut self, id: ProposalId, validator: &Address, by: &Address) {
        self.put(keys::vote(id, validator, by), Some(vec![1]));
    }

    pub fn put_economy(&mut self, economy: &Economy) -> Result<(), Stop> {
        self.put_object(keys::ECONOMY.to_vec(), economy)
    }

    pub fn validator_sets(&self) -> Result<ValidatorSets, ViewError> {
        read_present(self, "validators", keys::VALIDATORS)
    }

    pub fn put_validator_sets(&mut self, sets: &ValidatorSets) -> Result<(), Stop> {
        self.put_object(keys::VALIDATORS.to_vec(), sets)
    }

    pub fn name(&self, owner: &Address, label: &str) -> Result<Option<Name>, ViewError> {
        read(self, "name", &keys::name(owner, label))
    }

    pub fn put_name(&mut self, owner: &Address, label: &str, name: &Name) -> Result<(), Stop> {
        self.put_object(keys::name(owner, label), name)
    }

    pub fn moved_name(&self, owner: &Address, label: &str) -> Result<Option<Address>, ViewError> {
        read(self, "moved name", &keys::moved_name(owner, label))
    }

    /// Gives a name to another account: under its old owner's key lies from now on where it went.
    pub fn move_name(
        &mut self,
        from: &Address,
        to: &Address,
        label: &str,
        name: &Name,
    ) -> Result<(), Stop> {
        self.put(keys::name(from, label), None);
        self.put(keys::moved_name(to, label), None);
        self.put_object(keys::moved_name(from, label), to)?;
        self.put_name(to, label, name)
    }

    pub fn beacon(&self, height: Height) -> Result<Beacon, Stop> {
        Ok(read(self, "beacon", &keys::beacon(height))?.ok_or(Refusal::NoBeacon(height))?)
    }

    pub fn put_beacon(&mut self, height: Height, beacon: &Beacon) -> Result<(), Stop> {
        self.put_object(keys::beacon(height), beacon)
    }
}

impl<V: ReadView> ReadView for Ledger<'_, V> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        match self.writes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.view.get(key),
        }
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, ViewError> {
        let written: Vec<(&Vec<u8>, &Option<Vec<u8>>)> = self
            .writes
            .range::<[u8], _>((scan_start(prefix, after), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .collect();
        // Each written key can hide at most one stored entry.
        let stored = self
            .view
            .scan(prefix, after, limit.saturating_add(written.len()))?;
        let mut merged: BTreeMap<Vec<u8>, Option<Vec<u8>>> = stored
            .into_iter()
            .map(|(key, value)| (key, Some(value)))
            .collect();
        for (key, value) in written {
            merged.insert(key.clone(), value.clone());
        }
        Ok(merged
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .take(limit)
            .collect())
    }
}

impl Provider {
    /// Everything in its hands on the ledger: collateral and what vests.
    pub(crate) fn holds(&self) -> Result<Amount, Stop> {
        self.vesting
            .iter()
            .try_fold(self.collateral, |sum, vesting| add(sum, vesting.amount))
    }

    /// What of that nothing has locked.
    pub(crate) fn free(&self) -> Result<Amount, Stop> {
        Ok(crate::quote::free_collateral(self)?)
    }

    /// Locks collateral that is free.
    pub(crate) fn lock(&mut self, amount: Amount) -> Result<(), Stop> {
        let free = self.free()?;
        if free < amount {
            return Err(Refusal::Collateral {
                have: free,
                need: amount,
                missing: amount.saturating_sub(free),
            }
            .into());
        }
        self.locked = add(self.locked, amount)?;
        Ok(())
    }

    /// Locks collateral that is free, where at least `least` of it stays free.
    pub(crate) fn lock_above(&mut self, amount: Amount, least: Amount) -> Result<(), Stop> {
        let (free, need) = (self.free()?, add(amount, least)?);
        if free < need {
            return Err(Refusal::Collateral {
                have: free,
                need,
                missing: need.saturating_sub(free),
            }
            .into());
        }
        self.lock(amount)
    }

    /// Frees what was locked.
    pub(crate) fn unlock(&mut self, amount: Amount) -> Result<(), Stop> {
        self.locked = take(self.locked, amount, "locked collateral")?;
        Ok(())
    }

    /// Takes up to `amount` that is free: collateral first, then what vests last. What it took.
    pub(crate) fn fine(&mut self, amount: Amount) -> Result<Amount, Stop> {
        let fine = amount.min(self.free()?);
        let mut left = fine;
        let part = left.min(self.collateral);
        self.collateral = take(self.collateral, part, "collateral")?;
        left = left.saturating_sub(part);
        for vesting in self.vesting.iter_mut().rev() {
            let part = left.min(vesting.amount);
            vesting.amount = take(vesting.amount, part, "vesting")?;
            left = left.saturating_sub(part);
        }
        self.vesting
            .retain(|vesting| vesting.amount != Amount::ZERO);
        self.record.fined = add(self.record.fined, fine)?;
        Ok(fine)
    }

    /// Takes what was locked for something: it is always there.
    pub(crate) fn forfeit(&mut self, locked: Amount) -> Result<(), Stop> {
        self.unlock(locked)?;
        let taken = self.fine(locked)?;
        if taken == locked {
            Ok(())
        } else {
            Err(ViewError(format!("provider {} had less than it had locked", self.id)).into())
        }
    }
}

impl Deal {
    /// Tokens that lie in it: escrow, the deposit of a demand, and a repairer's pay.
    pub(crate) fn holds(&self) -> Result<Amount, Stop> {
        let demand = self.demand.as_ref().map(|demand| demand.deposit);
        let work = self.repair.as_ref().map(|repair| repair.work);
        [demand, work]
            .into_iter()
            .flatten()
            .try_fold(self.escrow, add)
    }
}

impl ValidatorRecord {
    /// Tokens that lie with it: every stake, and what was earned and not collected.
    pub(crate) fn holds(&self) -> Result<Amount, Stop> {
        let stakes = self.unit_value().times(self.stake);
        let earned = add(self.rewards, self.commission)?;
        add(stakes.ok_or(Refusal::Overflow)?, earned)
    }
}

impl Channel {
    /// Tokens that lie in it.
    pub(crate) fn holds(&self) -> Result<Amount, Stop> {
        take(self.deposit, self.redeemed, "the deposit of a channel")
    }
}

/// What lies in these demands.
fn deposits(demands: &[Demand]) -> Result<Amount, Stop> {
    demands
        .iter()
        .try_fold(Amount::ZERO, |sum, demand| add(sum, demand.deposit))
}

/// A sum, refused where it is beyond the numbers.
pub(crate) fn add(a: Amount, b: Amount) -> Result<Amount, Stop> {
    Ok(a.checked_add(b).ok_or(Refusal::Overflow)?)
}

/// A difference that the rules know not to be negative.
pub(crate) fn take(from: Amount, amount: Amount, what: &str) -> Result<Amount, Stop> {
    from.checked_sub(amount)
        .ok_or_else(|| Stop::Broken(ViewError(format!("{what} of {from} is less than {amount}"))))
}
