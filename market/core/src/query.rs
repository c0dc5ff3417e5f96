//! Typed reads over any view: what the API, nodes and audits ask.

use crate::channel::{Channel, Parties};
use crate::governance::Proposal;
use crate::keys;
use crate::ledger::{read, read_present};
use crate::message::decode;
use crate::parameters::Economy;
use crate::stake::{Delegation, Unbonding, ValidatorRecord};
use crate::state::{
    Account, Chain, Deal, DealSet, DealSetRecord, Demand, Name, Provider, Sector, Supply,
    ValidatorSets,
};
use crate::units::{
    Address, Amount, Beacon, DealId, Height, PackId, ProposalId, ProviderId, SectorId,
};
use crate::view::{ReadView, ViewError};
use serde::{Deserialize, Serialize};

/// Entries read from the view at a time.
const PAGE: usize = 256;

/// An account; one that nobody ever paid is empty.
///
/// # Errors
/// The store cannot be read.
pub fn account(view: &impl ReadView, address: &Address) -> Result<Account, ViewError> {
    Ok(read(view, "account", &keys::account(address))?.unwrap_or_default())
}

/// A provider.
///
/// # Errors
/// The store cannot be read.
pub fn provider(view: &impl ReadView, id: ProviderId) -> Result<Option<Provider>, ViewError> {
    read(view, "provider", &keys::provider(id))
}

/// Providers with numbers above `after`, at most `limit`.
///
/// # Errors
/// The store cannot be read.
pub fn providers(
    view: &impl ReadView,
    after: Option<ProviderId>,
    limit: usize,
) -> Result<Vec<Provider>, ViewError> {
    list(
        view,
        "provider",
        keys::PROVIDER,
        after.map(keys::provider),
        limit,
    )
}

/// A sector.
///
/// # Errors
/// The store cannot be read.
pub fn sector(view: &impl ReadView, id: SectorId) -> Result<Option<Sector>, ViewError> {
    read(view, "sector", &keys::sector(id))
}

/// All sectors of a provider, terminated ones too.
///
/// # Errors
/// The store cannot be read.
pub fn sectors_of(view: &impl ReadView, provider: ProviderId) -> Result<Vec<Sector>, ViewError> {
    list(
        view,
        "sector",
        &keys::sectors_of(provider),
        None,
        usize::MAX,
    )
}

/// A deal.
///
/// # Errors
/// The store cannot be read.
pub fn deal(view: &impl ReadView, id: &DealId) -> Result<Option<Deal>, ViewError> {
    read(view, "deal", &keys::deal(id))
}

/// What of a deal set lies apart from its deals.
///
/// # Errors
/// The store cannot be read.
pub fn deal_set_record(
    view: &impl ReadView,
    pack: &PackId,
) -> Result<Option<DealSetRecord>, ViewError> {
    read(view, "deal set", &keys::deal_set(pack))
}

/// A deal set with its deals.
///
/// # Errors
/// The store cannot be read.
pub fn deal_set(view: &impl ReadView, pack: &PackId) -> Result<Option<DealSet>, ViewError> {
    let Some(record) = deal_set_record(view, pack)? else {
        return Ok(None);
    };
    Ok(Some(DealSet {
        id: *pack,
        proposal: record.proposal,
        at: record.at,
        deals: list(view, "deal", &keys::deals(pack), None, usize::MAX)?,
        repair_budget: record.repair_budget,
    }))
}

/// All deal sets of an owner.
///
/// # Errors
/// The store cannot be read.
pub fn deal_sets_of(view: &impl ReadView, owner: &Address) -> Result<Vec<DealSet>, ViewError> {
    let mut sets = Vec::new();
    each(view, &keys::owner_deal_sets(owner), None, |key, _| {
        if let Some(pack) = keys::pack_at_end(key)
            && let Some(set) = deal_set(view, &pack)?
        {
            sets.push(set);
        }
        Ok(true)
    })?;
    Ok(sets)
}

/// All deals that name a provider, by pack and shard.
///
/// # Errors
/// The store cannot be read.
pub fn deals_of(
    view: &impl ReadView,
    provider: ProviderId,
) -> Result<Vec<(DealId, Deal)>, ViewError> {
    let mut deals = Vec::new();
    each(view, &keys::provider_deals(provider), None, |key, _| {
        if let Some(id) = keys::deal_at_end(key)
            && let Some(deal) = deal(view, &id)?
        {
            deals.push((id, deal));
        }
        Ok(true)
    })?;
    Ok(deals)
}

/// The channel of these to a provider.
///
/// # Errors
/// The store cannot be read.
pub fn channel(
    view: &impl ReadView,
    provider: ProviderId,
    parties: &Parties,
) -> Result<Option<Channel>, ViewError> {
    read(view, "channel", &keys::channel(provider, parties))
}

/// Channels to a provider, those of parties above `after`, at most `limit`.
///
/// # Errors
/// The store cannot be read.
pub fn channels_to(
    view: &impl ReadView,
    provider: ProviderId,
    after: Option<&Parties>,
    limit: usize,
) -> Result<Vec<Channel>, ViewError> {
    let after = after.map(|parties| keys::channel(provider, parties));
    list(view, "channel", &keys::channels_to(provider), after, limit)
}

/// Channels of a payer, by provider and reader, those above `after`, at most `limit`.
///
/// # Errors
/// The store cannot be read.
pub fn channels_of(
    view: &impl ReadView,
    payer: &Address,
    after: Option<(ProviderId, Address)>,
    limit: usize,
) -> Result<Vec<Channel>, ViewError> {
    let mut channels = Vec::new();
    let parties = |reader: Address| Parties {
        payer: *payer,
        reader,
    };
    let after = after.map(|(provider, reader)| keys::payer_channel(provider, &parties(reader)));
    if limit == 0 {
        return Ok(channels);
    }
    each(view, &keys::payer_channels(payer), after, |key, _| {
        if let Some((provider, reader)) = keys::provider_and_reader_at_end(key)
            && let Some(channel) = channel(view, provider, &parties(reader))?
        {
            channels.push(channel);
        }
        Ok(channels.len() < limit)
    })?;
    Ok(channels)
}

/// A name.
///
/// # Errors
/// The store cannot be read.
pub fn name(view: &impl ReadView, owner: &Address, label: &str) -> Result<Option<Name>, ViewError> {
    read(view, "name", &keys::name(owner, label))
}

/// To whom a name went that was this owner's.
///
/// # Errors
/// The store cannot be read.
pub fn moved_name(
    view: &impl ReadView,
    owner: &Address,
    label: &str,
) -> Result<Option<Address>, ViewError> {
    read(view, "moved name", &keys::moved_name(owner, label))
}

/// The token's books as the rules keep them.
///
/// # Errors
/// The store cannot be read.
pub fn supply(view: &impl ReadView) -> Result<Supply, ViewError> {
    read_present(view, "supply", keys::SUPPLY)
}

/// The chain's own state.
///
/// # Errors
/// The store cannot be read.
pub fn chain(view: &impl ReadView) -> Result<Chain, ViewError> {
    read_present(view, "chain", keys::CHAIN)
}

/// Who orders blocks.
///
/// # Errors
/// The store cannot be read.
pub fn validators(view: &impl ReadView) -> Result<ValidatorSets, ViewError> {
    read_present(view, "validators", keys::VALIDATORS)
}

/// A validator that ever registered.
///
/// # Errors
/// The store cannot be read.
pub fn validator(
    view: &impl ReadView,
    key: &Address,
) -> Result<Option<ValidatorRecord>, ViewError> {
    read(view, "validator", &keys::validator(key))
}

/// Validators with keys above `after`, at most `limit`.
///
/// # Errors
/// The store cannot be read.
pub fn validator_records(
    view: &impl ReadView,
    after: Option<&Address>,
    limit: usize,
) -> Result<Vec<ValidatorRecord>, ViewError> {
    let after = after.map(keys::validator);
    list(view, "validator", keys::VALIDATOR, after, limit)
}

/// What an account has at stake, by validator, with at most `limit` of them.
///
/// # Errors
/// The store cannot be read.
pub fn delegations_of(
    view: &impl ReadView,
    by: &Address,
    limit: usize,
) -> Result<Vec<(Address, Delegation)>, ViewError> {
    let mut found = Vec::new();
    each(view, &keys::delegations_of(by), None, |key, bytes| {
        if let Some(validator) = keys::validator_at_end(key) {
            found.push((validator, object("delegation", bytes)?));
        }
        Ok(found.len() < limit)
    })?;
    Ok(found)
}

/// What of an account's stake is on its way out: from which validator, free at which height; at most
/// `limit`.
///
/// # Errors
/// The store cannot be read.
pub fn unbondings_of(
    view: &impl ReadView,
    by: &Address,
    limit: usize,
) -> Result<Vec<(Address, Height, Unbonding)>, ViewError> {
    let mut found = Vec::new();
    each(view, &keys::unbondings_of(by), None, |key, bytes| {
        if let Some((validator, due)) = keys::unbonding_at_end(key) {
            found.push((validator, due, object("unbonding stake", bytes)?));
        }
        Ok(found.len() < limit)
    })?;
    Ok(found)
}

/// What things cost and pay now.
///
/// # Errors
/// The store cannot be read.
pub fn economy(view: &impl ReadView) -> Result<Economy, ViewError> {
    read_present(view, "economy", keys::ECONOMY)
}

/// A proposal.
///
/// # Errors
/// The store cannot be read.
pub fn proposal(view: &impl ReadView, id: ProposalId) -> Result<Option<Proposal>, ViewError> {
    read(view, "proposal", &keys::proposal(id))
}

/// Proposals with numbers above `after`, at most `limit`.
///
/// # Errors
/// The store cannot be read.
pub fn proposals(
    view: &impl ReadView,
    after: Option<ProposalId>,
    limit: usize,
) -> Result<Vec<Proposal>, ViewError> {
    let after = after.map(keys::proposal);
    list(view, "proposal", keys::PROPOSAL, after, limit)
}

/// The beacon of a height, as long as the rules may ask for it
/// ([`crate::schedule::beacon_memory`]).
///
/// # Errors
/// The store cannot be read.
pub fn beacon(view: &impl ReadView, height: Height) -> Result<Option<Beacon>, ViewError> {
    read(view, "beacon", &keys::beacon(height))
}

/// The books counted anew over every object: what an audit compares with [`supply`].
///
/// # Errors
/// The store cannot be read, or holds more than the numbers can say.
pub fn recount(view: &impl ReadView) -> Result<Supply, ViewError> {
    let over = || ViewError("the tokens in state are beyond the numbers".into());
    let mut counted = supply(view)?;
    (counted.balances, counted.collateral) = Default::default();
    (counted.escrow, counted.stake) = Default::default();
    let add = |sum: &mut Amount, amount: Amount| {
        *sum = sum.checked_add(amount).ok_or_else(over)?;
        Ok::<_, ViewError>(())
    };
    each(view, keys::ACCOUNT, None, |_, bytes| {
        let account: Account = object("account", bytes)?;
        add(&mut counted.balances, account.balance)?;
        Ok(true)
    })?;
    each(view, keys::PROVIDER, None, |_, bytes| {
        let provider: Provider = object("provider", bytes)?;
        add(&mut counted.collateral, provider.collateral)?;
        for vesting in &provider.vesting {
            add(&mut counted.collateral, vesting.amount)?;
        }
        Ok(true)
    })?;
    each(view, keys::DEAL, None, |_, bytes| {
        let deal: Deal = object("deal", bytes)?;
        add(&mut counted.escrow, deal.escrow)?;
        if let Some(demand) = &deal.demand {
            add(&mut counted.escrow, demand.deposit)?;
        }
        if let Some(repair) = &deal.repair {
            add(&mut counted.escrow, repair.work)?;
        }
        Ok(true)
    })?;
    each(view, keys::DEMANDS, None, |_, bytes| {
        let demands: Vec<Demand> = object("list of demands", bytes)?;
        for demand in &demands {
            add(&mut counted.escrow, demand.deposit)?;
        }
        Ok(true)
    })?;
    each(view, keys::CHANNEL, None, |_, bytes| {
        let channel: Channel = object("channel", bytes)?;
        let holds = channel.deposit.checked_sub(channel.redeemed);
        add(&mut counted.escrow, holds.ok_or_else(over)?)?;
        Ok(true)
    })?;
    each(view, keys::VALIDATOR, None, |_, bytes| {
        let record: ValidatorRecord = object("validator", bytes)?;
        let stakes = record.unit_value().times(record.stake);
        add(&mut counted.stake, stakes.ok_or_else(over)?)?;
        add(&mut counted.stake, record.rewards)?;
        add(&mut counted.stake, record.commission)?;
        Ok(true)
    })?;
    each(view, keys::UNBONDING, None, |_, bytes| {
        let unbonding: Unbonding = object("unbonding stake", bytes)?;
        add(&mut counted.stake, unbonding.amount)?;
        Ok(true)
    })?;
    each(view, keys::PROPOSAL, None, |_, bytes| {
        let proposal: Proposal = object("proposal", bytes)?;
        add(&mut counted.escrow, proposal.deposit)?;
        Ok(true)
    })?;
    each(view, keys::DEAL_SET, None, |_, bytes| {
        let set: DealSetRecord = object("deal set", bytes)?;
        add(&mut counted.escrow, set.repair_budget)?;
        Ok(true)
    })?;
    Ok(counted)
}

fn object<T>(kind: &'static str, bytes: &[u8]) -> Result<T, ViewError>
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    decode(kind, bytes).map_err(|error| ViewError(error.to_string()))
}

fn list<T>(
    view: &impl ReadView,
    kind: &'static str,
    prefix: &[u8],
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Vec<T>, ViewError>
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    each(view, prefix, after, |_, bytes| {
        found.push(object(kind, bytes)?);
        Ok(found.len() < limit)
    })?;
    Ok(found)
}

/// Goes over a prefix page by page, until the end or until `visit` says false.
fn each(
    view: &impl ReadView,
    prefix: &[u8],
    mut after: Option<Vec<u8>>,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, ViewError>,
) -> Result<(), ViewError> {
    loop {
        let page = view.scan(prefix, after.as_deref(), PAGE)?;
        for (key, value) in &page {
            if !visit(key, value)? {
                return Ok(());
            }
        }
        match page.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}
