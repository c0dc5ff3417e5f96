//! Accounts, providers, sectors, deals, names and the token's books.

use super::Shared;
use super::answer::{Answer, Failure, blocking, parse};
use crate::listing;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use holdfast_market_core::channel::{Channel, Parties};
use holdfast_market_core::query;
use holdfast_market_core::state::{Deal, DealSet, DealSetRecord, Name, Provider, Sector, Supply};
use holdfast_market_core::units::{Address, DealId, PackId, ProviderId, SectorId, SectorNumber};
use holdfast_market_core::view::ReadView;
use holdfast_wire::ledger::{AccountView, DEAL_SET_PAGE, LIST_PAGE, ProvenState, ProviderDeal};
use serde::Deserialize;

/// The longest label of a name.
const LONGEST_LABEL: usize = 64;

#[derive(Deserialize)]
pub struct Page {
    pub after: Option<String>,
}

pub type Paged = Result<Query<Page>, QueryRejection>;

pub async fn account(
    State(shared): State<Shared>,
    Path(address): Path<String>,
) -> Answer<AccountView> {
    let prefix = shared.current.genesis().address_prefix();
    let address = match address.starts_with(prefix) {
        true => Address::from_text(&address, prefix).map_err(|e| Failure::bad(e.to_string()))?,
        false => parse("address", &address)?,
    };
    blocking(&shared, move |ledger| {
        let account = query::account(&ledger.view(), &address)?;
        Ok(Json(AccountView {
            balance: account.balance,
            nonce: account.nonce,
            next_nonce: ledger.next_nonce(&address, account.nonce),
        }))
    })
    .await
}

pub async fn providers(State(shared): State<Shared>, page: Paged) -> Answer<Vec<Provider>> {
    let Query(page) = page?;
    let after: Option<ProviderId> = page
        .after
        .map(|after| parse("provider", &after))
        .transpose()?;
    blocking(&shared, move |ledger| {
        Ok(Json(query::providers(&ledger.view(), after, LIST_PAGE)?))
    })
    .await
}

fn no_provider(id: ProviderId) -> Failure {
    Failure::not_found(format!("there is no provider {id}"))
}

pub async fn provider(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<Provider> {
    let id: ProviderId = parse("provider", &id)?;
    blocking(&shared, move |ledger| {
        let provider = query::provider(&ledger.view(), id)?;
        provider.map(Json).ok_or_else(|| no_provider(id))
    })
    .await
}

pub async fn sectors(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    page: Paged,
) -> Answer<Vec<Sector>> {
    let id: ProviderId = parse("provider", &id)?;
    let Query(page) = page?;
    let after: Option<SectorNumber> = page
        .after
        .map(|after| parse("sector number", &after))
        .transpose()?;
    blocking(&shared, move |ledger| {
        let view = ledger.view();
        query::provider(&view, id)?.ok_or_else(|| no_provider(id))?;
        Ok(Json(listing::sectors(&view, id, after, LIST_PAGE)?))
    })
    .await
}

pub async fn deals(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    page: Paged,
) -> Answer<Vec<ProviderDeal>> {
    let id: ProviderId = parse("provider", &id)?;
    let Query(page) = page?;
    let after: Option<DealId> = page.after.map(|after| parse("deal", &after)).transpose()?;
    blocking(&shared, move |ledger| {
        let view = ledger.view();
        query::provider(&view, id)?.ok_or_else(|| no_provider(id))?;
        let deals = listing::deals_of(&view, id, after.as_ref(), LIST_PAGE)?;
        Ok(Json(with_terms(&view, deals)?))
    })
    .await
}

/// Deals with what their sets say of them. Deals of one pack follow each other, so each set is read
/// once.
fn with_terms(
    view: &impl ReadView,
    deals: Vec<(DealId, Deal)>,
) -> Result<Vec<ProviderDeal>, Failure> {
    let mut set: Option<(PackId, DealSetRecord)> = None;
    let mut found = Vec::new();
    for (id, deal) in deals {
        if set.as_ref().is_none_or(|(pack, _)| *pack != id.pack) {
            set = query::deal_set_record(view, &id.pack)?.map(|record| (id.pack, record));
        }
        let Some((_, record)) = &set else { continue };
        let proposal = &record.proposal;
        let position = id.shard.position();
        let (Some(root), Some(terms)) = (
            proposal.pack.shard_roots.get(position),
            proposal.terms.get(position),
        ) else {
            continue;
        };
        found.push(ProviderDeal {
            id,
            root: *root,
            length: proposal.pack.shard_length,
            terms: terms.clone(),
            at: record.at,
            deal,
        });
    }
    Ok(found)
}

pub async fn sector(
    State(shared): State<Shared>,
    Path((provider, number)): Path<(String, String)>,
) -> Answer<Sector> {
    let id = SectorId {
        provider: parse("provider", &provider)?,
        number: parse("sector number", &number)?,
    };
    blocking(&shared, move |ledger| {
        let sector = query::sector(&ledger.view(), id)?;
        sector
            .map(Json)
            .ok_or_else(|| Failure::not_found(format!("there is no sector {id}")))
    })
    .await
}

#[derive(Deserialize)]
pub struct OfOwner {
    owner: String,
    after: Option<String>,
}

pub async fn deal_sets(
    State(shared): State<Shared>,
    page: Result<Query<OfOwner>, QueryRejection>,
) -> Answer<Vec<DealSet>> {
    let Query(page) = page?;
    let owner: Address = parse("address", &page.owner)?;
    let after: Option<PackId> = page
        .after
        .map(|after| parse("pack id", &after))
        .transpose()?;
    blocking(&shared, move |ledger| {
        let view = ledger.view();
        Ok(Json(listing::deal_sets_of(
            &view,
            &owner,
            after,
            DEAL_SET_PAGE,
        )?))
    })
    .await
}

pub async fn deal_set(State(shared): State<Shared>, Path(pack): Path<String>) -> Answer<DealSet> {
    let pack: PackId = parse("pack id", &pack)?;
    blocking(&shared, move |ledger| {
        let set = query::deal_set(&ledger.view(), &pack)?;
        set.map(Json)
            .ok_or_else(|| Failure::not_found(format!("there is no deal set {pack}")))
    })
    .await
}

#[derive(Deserialize)]
pub struct OfPayer {
    payer: String,
    after: Option<String>,
}

pub async fn channels(
    State(shared): State<Shared>,
    page: Result<Query<OfPayer>, QueryRejection>,
) -> Answer<Vec<Channel>> {
    let Query(page) = page?;
    let payer: Address = parse("address", &page.payer)?;
    let after: Option<(ProviderId, Address)> = page
        .after
        .map(|after| parse("provider and reader", &after))
        .transpose()?;
    blocking(&shared, move |ledger| {
        let view = ledger.view();
        Ok(Json(query::channels_of(&view, &payer, after, LIST_PAGE)?))
    })
    .await
}

pub async fn channels_to(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    page: Paged,
) -> Answer<Vec<Channel>> {
    let id: ProviderId = parse("provider", &id)?;
    let Query(page) = page?;
    let after: Option<(Address, Address)> = page
        .after
        .map(|after| parse("payer and reader", &after))
        .transpose()?;
    let after = after.map(|(payer, reader)| Parties { payer, reader });
    blocking(&shared, move |ledger| {
        let view = ledger.view();
        query::provider(&view, id)?.ok_or_else(|| no_provider(id))?;
        let channels = query::channels_to(&view, id, after.as_ref(), LIST_PAGE)?;
        Ok(Json(channels))
    })
    .await
}

pub async fn channel(
    State(shared): State<Shared>,
    Path((provider, payer, reader)): Path<(String, String, String)>,
) -> Answer<Channel> {
    let provider: ProviderId = parse("provider", &provider)?;
    let payer: Address = parse("address", &payer)?;
    let reader: Address = parse("address", &reader)?;
    blocking(&shared, move |ledger| {
        let channel = query::channel(&ledger.view(), provider, &Parties { payer, reader })?;
        channel.map(Json).ok_or_else(|| {
            Failure::not_found(format!(
                "there is no channel to provider {provider} of {payer} for reading by {reader}"
            ))
        })
    })
    .await
}

pub async fn name(
    State(shared): State<Shared>,
    Path((owner, label)): Path<(String, String)>,
) -> Answer<Name> {
    let owner: Address = parse("address", &owner)?;
    if label.len() > LONGEST_LABEL {
        return Err(Failure::bad(format!(
            "a name has at most {LONGEST_LABEL} bytes"
        )));
    }
    blocking(&shared, move |ledger| {
        let view = ledger.view();
        if let Some(name) = query::name(&view, &owner, &label)? {
            return Ok(Json(name));
        }
        Err(Failure::not_found(
            match query::moved_name(&view, &owner, &label)? {
                Some(to) => format!("the name `{label}` of {owner} was given to {to}"),
                None => format!("{owner} has no name `{label}`"),
            },
        ))
    })
    .await
}

pub async fn supply(State(shared): State<Shared>) -> Answer<Supply> {
    blocking(&shared, |ledger| Ok(Json(query::supply(&ledger.view())?))).await
}

/// The longest state key.
const LONGEST_KEY: usize = 256;

pub async fn proof(State(shared): State<Shared>, Path(key): Path<String>) -> Answer<ProvenState> {
    if key.len() > LONGEST_KEY * 2 {
        return Err(Failure::bad("a state key is not that long"));
    }
    let key = hex::decode(&key)
        .map_err(|_| Failure::bad("a state key is given in hexadecimal, two digits a byte"))?;
    blocking(&shared, move |ledger| {
        let proven = ledger.prove(&key)?;
        Ok(Json(ProvenState {
            height: proven.height,
            state_root: proven.state_root,
            value: proven.value,
            proof: proven.proof,
        }))
    })
    .await
}
