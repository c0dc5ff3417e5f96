//! Keeping what is stored for longer: its deals run on at their own prices.

use crate::catalogue::{Catalogue, ObjectRecord};
use crate::error::ClientError;
use crate::meter::Meter;
use crate::placement::Quote;
use crate::session::Session;
use holdfast_market_core::message::Body;
use holdfast_market_core::quote::{fee_of_size, renewal};
use holdfast_market_core::state::{DealSet, Provider};
use holdfast_market_core::units::{Amount, PackId, Periods, ProviderId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Bytes of the message that renews a deal set, at most: for the quote.
const MESSAGE_BYTES: usize = 512;

/// What was renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Renewed {
    /// The object's name.
    pub name: String,
    /// Those of its packs that had fewer periods left.
    pub packs: Vec<RenewedPack>,
    /// More in escrow for it.
    pub escrow: Amount,
}

/// One pack of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenewedPack {
    /// Which.
    pub pack: PackId,
    /// Shards that are kept for so long.
    pub kept: usize,
    /// Whose shards are not: they ask more by now, leave, or have failed.
    pub left_out: Vec<ProviderId>,
}

/// A pack that is to be renewed.
struct Step {
    data_shards: u8,
    pack: RenewedPack,
    escrow: Amount,
    /// The same where a period ends before the message is in a block.
    at_most: Amount,
}

/// Sees to it that every pack of `objects` is kept for at least `term` periods from now. What is
/// kept for so long already costs nothing, so the same command again pays nothing twice.
///
/// # Errors
/// A pack too few of whose shards can be renewed, or too little money: before anything is paid. Or a
/// ledger that fails on the way; then the same command goes on from there.
pub async fn renew(
    session: &Session,
    objects: &[&ObjectRecord],
    term: Periods,
    meter: &Meter,
) -> Result<Vec<Renewed>, ClientError> {
    let _held = session.wallet().lock(session.network_id())?;
    meter.wait("asking the ledger");
    let mut providers = BTreeMap::new();
    let mut steps = Vec::with_capacity(objects.len());
    for object in objects {
        let mut packs = Vec::new();
        for pack in object.packs.iter().flatten() {
            let set = session.ledger().deal_set(*pack).await?;
            for deal in &set.deals {
                if let Entry::Vacant(unknown) = providers.entry(deal.provider) {
                    unknown.insert(session.ledger().provider(deal.provider).await?);
                }
            }
            packs.extend(step(&object.name, &set, &providers, term)?);
        }
        steps.push(packs);
    }
    let count = steps.iter().map(Vec::len).sum::<usize>() as u128;
    let fee = fee_of_size(&session.parameters().economy, MESSAGE_BYTES);
    let account = session.ledger().account(session.address()).await?;
    let quote = Quote {
        escrow: sum(steps.iter().flatten().map(|step| step.at_most)),
        fees: Amount(fee.0.saturating_mul(count)),
        balance: account.balance,
    };
    quote.check(&session.text_of(session.address()))?;
    meter.wait("renewing");
    let mut renewed = Vec::with_capacity(objects.len());
    for (object, packs) in objects.iter().zip(steps) {
        for step in &packs {
            let body = Body::RenewDealSet {
                pack: step.pack.pack,
                periods: term,
                least: step.data_shards,
            };
            session.sender().send(body).await?;
        }
        renewed.push(Renewed {
            name: object.name.clone(),
            escrow: sum(packs.iter().map(|step| step.escrow)),
            packs: packs.into_iter().map(|step| step.pack).collect(),
        });
    }
    Ok(renewed)
}

/// The objects of these names; all where none is named.
///
/// # Errors
/// There is no object of a name.
pub fn named<'a>(
    catalogue: &'a Catalogue,
    names: &[String],
) -> Result<Vec<&'a ObjectRecord>, ClientError> {
    if names.is_empty() {
        return Ok(catalogue.objects().iter().collect());
    }
    names
        .iter()
        .map(|name| crate::get::find(catalogue, name))
        .collect()
}

fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    Amount(amounts.fold(0, |sum, amount| sum.saturating_add(amount.0)))
}

/// What it takes for a pack to be kept for `term` periods; nothing where it is anyway.
fn step(
    name: &str,
    set: &DealSet,
    providers: &BTreeMap<ProviderId, Provider>,
    term: Periods,
) -> Result<Option<Step>, ClientError> {
    let header = &set.proposal.pack;
    let later = Periods(term.0.saturating_add(1));
    let (mut prices, mut most, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for (terms, deal) in set.proposal.terms.iter().zip(&set.deals) {
        let price = |term| match providers.get(&deal.provider) {
            Some(provider) => renewal(deal, terms.price, provider, term)
                .map_err(|error| ClientError::refused(error.to_string(), "give a shorter --term")),
            None => Ok(None),
        };
        match price(term)? {
            Some(now) => {
                prices.push(now);
                most.extend(price(later)?);
            }
            None => left_out.push(deal.provider),
        }
    }
    let (kept, escrow) = (prices.len(), sum(prices.into_iter()));
    if kept < usize::from(header.k) {
        return Err(ClientError::refused(
            format!(
                "`{name}` cannot be kept for {} periods: of the {} shards of its pack {} {kept} can be, and {} are needed",
                term.0, header.n, set.id, header.k
            ),
            "the other providers ask more by now, leave, or have failed: fetch it while its term runs and store it again under another --name; nothing was paid",
        ));
    }
    let step = Step {
        data_shards: header.k,
        escrow,
        at_most: sum(most.into_iter()),
        pack: RenewedPack {
            pack: set.id,
            kept,
            left_out,
        },
    };
    Ok((escrow != Amount::ZERO).then_some(step))
}
