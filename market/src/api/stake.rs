//! Validators, stakes, votes, and the numbers that votes move.

use super::Shared;
use super::answer::{Answer, Failure, blocking, parse};
use super::objects::Paged;
use axum::Json;
use axum::extract::{Path, Query, State};
use holdfast_market_core::governance::Proposal;
use holdfast_market_core::parameters::Economy;
use holdfast_market_core::query;
use holdfast_market_core::stake::ValidatorRecord;
use holdfast_market_core::units::{Address, Amount, ProposalId};
use holdfast_wire::ledger::{LIST_PAGE, StakeView, StakesView, UnbondingView};

pub async fn economy(State(shared): State<Shared>) -> Answer<Economy> {
    blocking(&shared, |ledger| Ok(Json(query::economy(&ledger.view())?))).await
}

pub async fn validators(State(shared): State<Shared>, page: Paged) -> Answer<Vec<ValidatorRecord>> {
    let Query(page) = page?;
    let after: Option<Address> = page
        .after
        .map(|after| parse("validator", &after))
        .transpose()?;
    blocking(&shared, move |ledger| {
        let found = query::validator_records(&ledger.view(), after.as_ref(), LIST_PAGE)?;
        Ok(Json(found))
    })
    .await
}

pub async fn validator(
    State(shared): State<Shared>,
    Path(key): Path<String>,
) -> Answer<ValidatorRecord> {
    let key: Address = parse("validator", &key)?;
    blocking(&shared, move |ledger| {
        let found = query::validator(&ledger.view(), &key)?;
        found
            .map(Json)
            .ok_or_else(|| Failure::not_found(format!("there is no validator {key}")))
    })
    .await
}

pub async fn stakes(State(shared): State<Shared>, Path(by): Path<String>) -> Answer<StakesView> {
    let by: Address = parse("address", &by)?;
    blocking(&shared, move |ledger| {
        let view = ledger.view();
        let mut stakes = Vec::new();
        for (validator, delegation) in query::delegations_of(&view, &by, LIST_PAGE)? {
            let record = query::validator(&view, &validator)?;
            let since = record.map(|record| record.earned.saturating_sub(delegation.settled));
            let earned = since.and_then(|since| since.times(delegation.stake));
            stakes.push(StakeView {
                validator,
                stake: delegation.stake,
                earned: earned.unwrap_or(Amount::ZERO),
            });
        }
        let unbonding = query::unbondings_of(&view, &by, LIST_PAGE)?;
        let unbonding = unbonding
            .into_iter()
            .map(|(validator, due, leaving)| UnbondingView {
                validator,
                amount: leaving.amount,
                due,
            });
        Ok(Json(StakesView {
            stakes,
            unbonding: unbonding.collect(),
        }))
    })
    .await
}

pub async fn proposals(State(shared): State<Shared>, page: Paged) -> Answer<Vec<Proposal>> {
    let Query(page) = page?;
    let after: Option<ProposalId> = page
        .after
        .map(|after| parse("proposal", &after))
        .transpose()?;
    blocking(&shared, move |ledger| {
        Ok(Json(query::proposals(&ledger.view(), after, LIST_PAGE)?))
    })
    .await
}
