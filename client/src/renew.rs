//! Keeping what is stored for longer: its deals run on at their own prices.

use crate::catalogue::{Catalogue, ObjectRecord};
use crate::error::ClientError;
use crate::meter::Meter;
use crate::placement::Quote;
use crate::session::Session;
use holdfast_market_core::message::Body;
use holdfast_market_core::quote::{fee_of_size, renewal};
use holdfast_market_core::state::{DealSet, DealStatus, Provider};
use holdfast_market_core::units::{Amount, PackId, Periods, ProviderId};
use holdfast_wire::ledger::LedgerError;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Bytes of the message that renews a deal set, at most: for the quote.
const MESSAGE_BYTES: usize = 512;

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Renewed {
    /// The object's name.
    pub name: String,
    /// Why it cannot be kept for so long, where it cannot: then nothing of it was renewed.
    pub refused: Option<String>,
    /// Its packs.
    pub packs: Vec<RenewedPack>,
    /// More in escrow for it, as it was quoted.
    pub escrow: Amount,
}

/// One pack of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenewedPack {
    /// Which.
    pub pack: PackId,
    /// Shards that are paid for so long; of one whose sector fails at a deadline that period's price
    /// comes back.
    pub kept: usize,
    /// More in escrow for it; none where all of them were paid for so long already.
    pub escrow: Amount,
    /// Whose shards are not: they ask more by now, leave, or have failed.
    pub left_out: Vec<ProviderId>,
}

/// A pack that is to be renewed.
struct Step {
    data_shards: u8,
    pack: RenewedPack,
    /// Its escrow where a period ends before the message is in a block.
    at_most: Amount,
}

/// Sees to it that every pack of `objects` is kept for at least `term` periods from now. What is
/// kept for so long already costs nothing, so the same command again pays nothing twice. An object
/// that cannot be kept hinders no other.
///
/// # Errors
/// Too little money: before anything is paid. Or a ledger that fails on the way; then the same
/// command goes on from there.
pub async fn renew(
    session: &Session,
    objects: &[&ObjectRecord],
    term: Periods,
    meter: &Meter,
) -> Result<Vec<Renewed>, ClientError> {
    let _held = session.wallet().lock(session.network_id())?;
    meter.wait("asking the ledger");
    let mut providers = BTreeMap::new();
    let mut plans = Vec::with_capacity(objects.len());
    for object in objects {
        plans.push(steps(session, object, &mut providers, term).await?);
    }
    let paid = || plans.iter().flatten().flatten().filter(|step| step.pays());
    let fee = fee_of_size(&session.economy().await?, MESSAGE_BYTES);
    let account = session.ledger().account(session.address()).await?;
    let quote = Quote {
        escrow: sum(paid().map(|step| step.at_most)),
        fees: Amount(fee.0.saturating_mul(paid().count() as u128)),
        balance: account.balance,
    };
    quote.check(&session.text_of(session.address()))?;
    meter.wait("renewing");
    for step in paid() {
        let body = Body::RenewDealSet {
            pack: step.pack.pack,
            periods: term,
            least: step.data_shards,
        };
        session.sender().send(body).await?;
    }
    let renewed = objects.iter().zip(plans).map(|(object, plan)| {
        let (steps, refused) = match plan {
            Ok(steps) => (steps, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        Renewed {
            name: object.name.clone(),
            refused,
            escrow: sum(steps.iter().map(|step| step.pack.escrow)),
            packs: steps.into_iter().map(|step| step.pack).collect(),
        }
    });
    Ok(renewed.collect())
}

impl Step {
    fn pays(&self) -> bool {
        self.pack.escrow != Amount::ZERO
    }
}

/// What it takes for an object to be kept for so long, or why it cannot be.
async fn steps(
    session: &Session,
    object: &ObjectRecord,
    providers: &mut BTreeMap<ProviderId, Provider>,
    term: Periods,
) -> Result<Result<Vec<Step>, String>, ClientError> {
    let mut steps = Vec::new();
    for pack in object.packs.iter().flatten() {
        let set = match session.ledger().deal_set(*pack).await {
            Ok(set) => set,
            Err(LedgerError::NotFound(_)) => {
                return Ok(Err(format!("the ledger does not know its pack {pack}")));
            }
            Err(error) => return Err(error.into()),
        };
        for deal in &set.deals {
            if let Entry::Vacant(unknown) = providers.entry(deal.provider) {
                unknown.insert(session.ledger().provider(deal.provider).await?);
            }
        }
        match step(&set, providers, term)? {
            Ok(step) => steps.push(step),
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(steps))
}

/// The objects of these names, each once; all where none is named.
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
    let mut objects: Vec<&ObjectRecord> = Vec::with_capacity(names.len());
    for name in names {
        let object = crate::get::find(catalogue, name)?;
        if !objects.iter().any(|known| known.id == object.id) {
            objects.push(object);
        }
    }
    Ok(objects)
}

fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    Amount(amounts.fold(0, |sum, amount| sum.saturating_add(amount.0)))
}

/// What it takes for a pack to be kept for `term` periods, or why it cannot be.
fn step(
    set: &DealSet,
    providers: &BTreeMap<ProviderId, Provider>,
    term: Periods,
) -> Result<Result<Step, String>, ClientError> {
    let header = &set.proposal.pack;
    let later = Periods(term.0.saturating_add(1));
    let (mut prices, mut most, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let mut waiting = 0usize;
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
            None if deal.status == DealStatus::Proposed => waiting = waiting.saturating_add(1),
            None => left_out.push(deal.provider),
        }
    }
    let (kept, n) = (prices.len(), set.deals.len());
    if kept < usize::from(header.k) {
        let pack = set.id;
        let why = match waiting {
            0 => format!(
                "of the {n} shards of its pack {pack} {kept} can be renewed and {} are needed; the other providers ask more by now, leave, or have failed: store it again while it can still be fetched",
                header.k
            ),
            _ => format!(
                "{waiting} of the {n} shards of its pack {pack} are not accepted by their providers yet; run this again in some minutes"
            ),
        };
        return Ok(Err(why));
    }
    Ok(Ok(Step {
        data_shards: header.k,
        at_most: sum(most.into_iter()),
        pack: RenewedPack {
            pack: set.id,
            kept,
            escrow: sum(prices.into_iter()),
            left_out,
        },
    }))
}
