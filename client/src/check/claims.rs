//! What is brought before the ledger: frauds, broken promises, demands.

use super::{Case, Done};
use crate::receipt::PortableReceipt;
use crate::session::Session;
use holdfast_market_core::keys;
use holdfast_market_core::message::{Body, PieceOpening, decode};
use holdfast_market_core::quote::{deal_collateral, finder_share, free_collateral};
use holdfast_market_core::receipt::SignedReceipt;
use holdfast_market_core::schedule;
use holdfast_market_core::state::Demand;
use holdfast_market_core::units::{Amount, DealId, Height};
use holdfast_wire::ledger::sender::Executed;
use holdfast_wire::ledger::{LedgerError, SendError};
use std::time::Duration;

/// How often something is tried where the ledger does not answer or has no room.
const TRIES: u32 = 3;
/// Before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends; why it did not come about is what was done about a shard.
async fn send(session: &Session, body: Body) -> Result<Executed, Done> {
    let mut tries = TRIES;
    loop {
        tries = tries.saturating_sub(1);
        match session.sender().send(body.clone()).await {
            Ok(executed) => return Ok(executed),
            Err(SendError::Refused { sentence, .. }) => return Err(Done::Refused(sentence)),
            Err(SendError::Ledger(error)) if error.is_transient() && tries > 0 => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(SendError::Ledger(error @ LedgerError::Refused { .. }))
                if !error.is_transient() =>
            {
                return Err(Done::Refused(error.to_string()));
            }
            Err(error) => return Err(Done::Failed(error.to_string())),
        }
    }
}

/// The finder's share of a penalty. It is asked for before anything is sent: what cannot be known is
/// not said to be nothing.
async fn reward(session: &Session, penalty: Amount) -> Result<Amount, Done> {
    let economy = session.economy().await;
    let economy = economy.map_err(|error| Done::Failed(error.to_string()))?;
    finder_share(&economy, penalty).map_err(|error| Done::Failed(error.to_string()))
}

pub(super) async fn show_fraud(session: &Session, case: &Case<'_>, opening: PieceOpening) -> Done {
    let body = Body::SubmitFraud {
        deal: case.id,
        opening,
    };
    let reward = match reward(session, case.deal.locked).await {
        Ok(reward) => reward,
        Err(done) => return done,
    };
    match send(session, body).await {
        Ok(executed) => Done::FraudShown {
            height: executed.height,
            reward,
            refund: case.deal.escrow,
        },
        Err(done) => done,
    }
}

/// Claims a broken promise with what its provider signed; `words` say why where that is not here.
pub(super) async fn claim(
    session: &Session,
    case: &Case<'_>,
    receipt: Option<&PortableReceipt>,
    words: &mut String,
) -> Option<Done> {
    let Some(receipt) = receipt.and_then(|receipt| signed(receipt, case.id)) else {
        words.push_str("; this wallet's folder has no receipt to claim it with");
        return None;
    };
    let penalty = match penalty(session, case).await {
        Ok(penalty) => penalty,
        Err(error) => return Some(Done::Failed(error.to_string())),
    };
    let reward = match reward(session, penalty).await {
        Ok(reward) => reward,
        Err(done) => return Some(done),
    };
    Some(
        match send(session, Body::ClaimBrokenPromise { receipt }).await {
            Ok(executed) => Done::PromiseClaimed {
                height: executed.height,
                reward,
            },
            Err(done) => done,
        },
    )
}

/// What a broken promise costs its provider: what accepting it has locked. What was never accepted
/// is paid from what is free, if there is any.
async fn penalty(session: &Session, case: &Case<'_>) -> Result<Amount, LedgerError> {
    if !case.deal.piece_roots.is_empty() {
        return Ok(case.deal.locked);
    }
    let provider = session.ledger().provider(case.deal.provider).await?;
    let free = free_collateral(&provider).unwrap_or_default();
    let economy = &session.economy().await?;
    Ok(deal_collateral(economy, case.length()).map_or(free, |full| full.min(free)))
}

fn signed(receipt: &PortableReceipt, id: DealId) -> Option<SignedReceipt> {
    let pack = receipt.packs.iter().find(|pack| pack.pack == id.pack)?;
    let mut signed = pack.signed.iter().map(|signed| &signed.receipt);
    signed.find(|one| one.receipt.shard == id.shard).cloned()
}

pub(super) async fn demand(session: &Session, deal: DealId, quad: u64) -> Done {
    let deposit = match super::deposit(session).await {
        Ok(deposit) => deposit,
        Err(error) => return Done::Failed(error.to_string()),
    };
    match send(session, Body::DemandOpening { deal, quad }).await {
        Ok(executed) => Done::OpeningDemanded {
            quad,
            deposit,
            // Behind others' demands it may be a little later.
            due: schedule::opening_due(session.parameters(), executed.height, None),
        },
        Err(done) => done,
    }
}

/// When the opening is due that this wallet has demanded already. Others' demands keep nobody from
/// their own: a provider could make them.
pub(super) async fn demanded(session: &Session, case: &Case<'_>) -> Option<Height> {
    let first = case.deal.demand.as_ref()?;
    let by_this_wallet = |demand: &Demand| demand.by == session.address();
    if by_this_wallet(first) {
        return Some(first.due);
    }
    let waiting = session
        .ledger()
        .state(&keys::demands(&case.id))
        .await
        .ok()?;
    let waiting: Vec<Demand> = decode("list of demands", &waiting.value?).ok()?;
    let own = waiting.into_iter().find(by_this_wallet);
    own.map(|demand| demand.due)
}
