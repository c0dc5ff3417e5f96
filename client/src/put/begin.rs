//! Before anything is sent: what an earlier try left, where the packs go, what it costs.

use super::work::funded;
use crate::catalogue::{Catalogue, ObjectId, ObjectRecord};
use crate::error::ClientError;
use crate::journal::{Journal, Plan, StorageTerms};
use crate::packing::{plan, record};
use crate::placement::{LiveProvider, Quote, Survey};
use crate::published::published;
use crate::session::Session;
use crate::walk::Source;
use holdfast_market_core::message::Body;
use holdfast_market_core::quote::{fee_of_size, shard_escrow, shard_length};
use holdfast_market_core::state::DealStatus;
use holdfast_market_core::units::{Amount, ByteCount};
use holdfast_wire::ledger::SendError;
use holdfast_wire::pack::PackLayout;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a proposal beside its shards, and a shard's, at most: for the quote.
const PROPOSAL_BYTES: usize = 700;
const PROPOSAL_SHARD_BYTES: usize = 200;

/// What an earlier try left behind.
pub(super) enum Earlier {
    /// Nothing that matters now.
    Nothing,
    /// The same upload: it goes on.
    Same(Journal),
    /// One of the source as it was before, paid for in whole: its name may be published by now.
    Paid(Journal),
}

pub(super) fn check_terms(terms: StorageTerms) -> Result<(), ClientError> {
    PackLayout::new(terms.data_shards, terms.total_shards, ByteCount(1)).map_err(|error| {
        ClientError::failed(
            error.to_string(),
            "give --data-shards and --total-shards, for example 3 and 6",
        )
    })?;
    if terms.term.0 == 0 {
        return Err(ClientError::failed(
            "a term of no periods stores nothing",
            "give --term in proving periods, for example 180",
        ));
    }
    Ok(())
}

/// Whether what an upload has paid for so far can still be read, or its name points there already: one
/// that was left for so long that its deals are over is begun anew.
pub(super) async fn stands(session: &Session, journal: &Journal) -> Result<bool, ClientError> {
    let root = ObjectId::of(&journal.progress.catalogue);
    if published(session)
        .await?
        .is_some_and(|name| name.root == root.to_bytes())
    {
        return Ok(true);
    }
    for pack in journal
        .progress
        .packs
        .iter()
        .filter(|pack| pack.funded.is_some())
    {
        let set = session.ledger().deal_set(pack.header.id()?).await?;
        let alive = set.deals.iter().filter(|deal| {
            matches!(
                deal.status,
                DealStatus::Proposed | DealStatus::Accepted | DealStatus::Proven { .. }
            )
        });
        if alive.count() < usize::from(pack.header.k) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The interrupted upload of the same source. One of a source that has changed since, and that is
/// not paid for in whole, is cleaned up: what no provider has accepted is taken back.
pub(super) async fn earlier(
    session: &Session,
    catalogue: &Catalogue,
    source: &Source,
    name: &str,
    terms: StorageTerms,
) -> Result<Earlier, ClientError> {
    let wallet = session.wallet();
    let journals = wallet.journal()?;
    let found = Journal::find(&journals, wallet.wrapping_key(), &source.root, name)?;
    let Some(journal) = found else {
        return Ok(Earlier::Nothing);
    };
    if stands(session, &journal).await? {
        if journal.plan.source == *source && journal.plan.terms == terms {
            return Ok(Earlier::Same(journal));
        }
        if journal.is_paid() {
            // What was stored under its name since is what its owner wants.
            let plan = &journal.plan;
            let own = record(plan, Vec::new(), &wallet.wrapping_key())?.id;
            let since = |object: &ObjectRecord| {
                object.name == plan.name && object.id != own && object.stored >= plan.begun
            };
            if catalogue.objects().iter().any(since) {
                journal.remove()?;
                return Ok(Earlier::Nothing);
            }
            // A catalogue may be read from its last pack: cancelled, the wallet's list would be lost.
            return Ok(Earlier::Paid(journal));
        }
    }
    for pack in &journal.progress.packs {
        let pack = pack.header.id()?;
        if funded(session, pack).await?.is_some() {
            match session.sender().send(Body::CancelDealSet { pack }).await {
                // Accepted already: it runs to its term.
                Ok(_) | Err(SendError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    journal.remove()?;
    Ok(Earlier::Nothing)
}

pub(super) async fn begin(
    session: &Session,
    source: Source,
    name: &str,
    terms: StorageTerms,
    survey: &Survey,
    catalogue: &Catalogue,
) -> Result<Journal, ClientError> {
    let code = (terms.data_shards, terms.total_shards);
    let capacity = survey.pack_capacity(code.0, code.1)?;
    let bytes = source.bytes();
    if capacity.0 < crate::stream::SEALED_CHUNK_BYTES as u64 {
        // Also an empty file takes something: the list of files, and the list of objects.
        let least = ByteCount(bytes.0.max(crate::stream::SEALED_CHUNK_BYTES as u64));
        return Err(survey.too_little_room(code, &[least]));
    }
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let begun = catalogue.next_moment(clock);
    let plan = plan(source, name, terms, capacity, catalogue, begun)?;
    let lengths: Vec<ByteCount> = plan.packs.iter().map(|pack| pack.length).collect();
    let assigned = survey.assign(code, &lengths)?;
    quote(session, &plan, &assigned)
        .await?
        .check(&session.text_of(session.address()))?;
    let wallet = session.wallet();
    Journal::begin(&wallet.journal()?, wallet.wrapping_key(), plan)
}

/// What the planned object costs at these providers.
pub(super) async fn quote(
    session: &Session,
    plan: &Plan,
    assigned: &[Vec<LiveProvider>],
) -> Result<Quote, ClientError> {
    let terms = plan.terms;
    let mut escrow = Amount::ZERO;
    for (pack, providers) in plan.packs.iter().zip(assigned) {
        let shard = shard_length(terms.data_shards, pack.length);
        for provider in providers {
            let price = provider.target.offer.price;
            let cost = shard_escrow(price, shard, terms.term).map_err(|error| {
                ClientError::refused(error.to_string(), "give a shorter --term")
            })?;
            escrow = Amount(escrow.0.saturating_add(cost.0));
        }
    }
    let economy = &session.economy().await?;
    let shards = usize::from(terms.total_shards).saturating_mul(PROPOSAL_SHARD_BYTES);
    let proposal = fee_of_size(economy, PROPOSAL_BYTES.saturating_add(shards));
    let packs = u128::try_from(plan.packs.len()).unwrap_or(u128::MAX);
    let name = fee_of_size(economy, PROPOSAL_BYTES);
    let fees = proposal.0.saturating_mul(packs).saturating_add(name.0);
    let account = session.ledger().account(session.address()).await?;
    Ok(Quote {
        escrow,
        fees: Amount(fees),
        balance: account.balance,
    })
}
