//! Pages of lists: what the API and the explorer show of things that may be many.

#[cfg(test)]
mod tests;

use holdfast_market_core::keys;
use holdfast_market_core::message::decode;
use holdfast_market_core::query;
use holdfast_market_core::state::{Deal, DealSet, Sector};
use holdfast_market_core::units::{Address, DealId, PackId, ProviderId, SectorId, SectorNumber};
use holdfast_market_core::view::{ReadView, ViewError};

/// A provider's sectors with numbers above `after`.
///
/// # Errors
/// The state cannot be read.
pub fn sectors(
    view: &impl ReadView,
    provider: ProviderId,
    after: Option<SectorNumber>,
    limit: usize,
) -> Result<Vec<Sector>, ViewError> {
    let after = after.map(|number| keys::sector(SectorId { provider, number }));
    let entries = view.scan(&keys::sectors_of(provider), after.as_deref(), limit)?;
    let sectors = entries.iter().map(|(_, bytes)| decode("sector", bytes));
    sectors
        .map(|sector| sector.map_err(|error| ViewError(error.to_string())))
        .collect()
}

/// The deals that name a provider, above `after`.
///
/// # Errors
/// The state cannot be read.
pub fn deals_of(
    view: &impl ReadView,
    provider: ProviderId,
    after: Option<&DealId>,
    limit: usize,
) -> Result<Vec<(DealId, Deal)>, ViewError> {
    let after = after.map(|deal| keys::provider_deal(provider, deal));
    let entries = view.scan(&keys::provider_deals(provider), after.as_deref(), limit)?;
    let mut deals = Vec::new();
    for (key, _) in &entries {
        if let Some(id) = keys::deal_at_end(key)
            && let Some(deal) = query::deal(view, &id)?
        {
            deals.push((id, deal));
        }
    }
    Ok(deals)
}

/// All deal sets, by pack, above `after`.
///
/// # Errors
/// The state cannot be read.
pub fn deal_sets(
    view: &impl ReadView,
    after: Option<PackId>,
    limit: usize,
) -> Result<Vec<DealSet>, ViewError> {
    let after = after.map(|pack| keys::deal_set(&pack));
    packs(view, keys::DEAL_SET, after, limit)
}

/// An owner's deal sets, by pack, above `after`.
///
/// # Errors
/// The state cannot be read.
pub fn deal_sets_of(
    view: &impl ReadView,
    owner: &Address,
    after: Option<PackId>,
    limit: usize,
) -> Result<Vec<DealSet>, ViewError> {
    let after = after.map(|pack| keys::owner_deal_set(owner, &pack));
    packs(view, &keys::owner_deal_sets(owner), after, limit)
}

fn packs(
    view: &impl ReadView,
    prefix: &[u8],
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Vec<DealSet>, ViewError> {
    let mut sets = Vec::new();
    for (key, _) in view.scan(prefix, after.as_deref(), limit)? {
        if let Some(pack) = keys::pack_at_end(&key)
            && let Some(set) = query::deal_set(view, &pack)?
        {
            sets.push(set);
        }
    }
    Ok(sets)
}
