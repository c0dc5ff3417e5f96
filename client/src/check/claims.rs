//! What is brought before the ledger: frauds, broken promises, demands.

use super::{Case, Done};
use crate::error::ClientError;
use crate::receipt::PortableReceipt;
use crate::session::Session;
use holdfast_market_core::message::{Body, PieceOpening};
use holdfast_market_core::quote::finder_share;
use holdfast_market_core::receipt::SignedReceipt;
use holdfast_market_core::schedule;
use holdfast_market_core::units::{Amount, DealId};
use holdfast_wire::ledger::SendError;
use holdfast_wire::ledger::sender::Executed;

/// Sends, and tells a refusal apart from a ledger that does not answer.
async fn send(session: &Session, body: Body) -> Result<Result<Executed, String>, ClientError> {
    match session.sender().send(body).await {
        Ok(executed) => Ok(Ok(executed)),
        Err(SendError::Refused { sentence, .. }) => Ok(Err(sentence)),
        Err(error @ SendError::Ledger(holdfast_wire::ledger::LedgerError::Refused { .. })) => {
            Ok(Err(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The finder's share of what the provider has locked for the deal.
fn reward(session: &Session, penalty: Amount) -> Amount {
    finder_share(&session.parameters().economy, penalty).unwrap_or_default()
}

pub(super) async fn show_fraud(
    session: &Session,
    case: &Case<'_>,
    opening: PieceOpening,
) -> Result<Done, ClientError> {
    let body = Body::SubmitFraud {
        deal: case.id,
        opening,
    };
    Ok(match send(session, body).await? {
        Ok(executed) => Done::FraudShown {
            height: executed.height,
            reward: reward(session, case.deal.locked),
            refund: case.deal.escrow,
        },
        Err(sentence) => Done::Refused(sentence),
    })
}

/// Claims a broken promise with what its provider signed; `words` say why where that is not here.
pub(super) async fn claim(
    session: &Session,
    case: &Case<'_>,
    receipt: Option<&PortableReceipt>,
    words: &mut String,
) -> Result<Option<Done>, ClientError> {
    let Some(receipt) = receipt.and_then(|receipt| signed(receipt, case.id)) else {
        words.push_str("; this wallet's folder has no receipt to claim it with");
        return Ok(None);
    };
    let before = session.ledger().provider(case.deal.provider).await?;
    let executed = match send(session, Body::ClaimBrokenPromise { receipt }).await? {
        Ok(executed) => executed,
        Err(sentence) => return Ok(Some(Done::Refused(sentence))),
    };
    // What a shard that was never accepted pays comes from what is free, if there is any.
    let penalty = if case.deal.piece_roots.is_empty() {
        let after = session.ledger().provider(case.deal.provider).await?;
        before.collateral.saturating_sub(after.collateral)
    } else {
        case.deal.locked
    };
    Ok(Some(Done::PromiseClaimed {
        height: executed.height,
        reward: reward(session, penalty),
    }))
}

fn signed(receipt: &PortableReceipt, id: DealId) -> Option<SignedReceipt> {
    let pack = receipt.packs.iter().find(|pack| pack.pack == id.pack)?;
    let mut signed = pack.signed.iter().map(|signed| &signed.receipt);
    signed.find(|one| one.receipt.shard == id.shard).cloned()
}

pub(super) async fn demand(
    session: &Session,
    deal: DealId,
    quad: u64,
) -> Result<Done, ClientError> {
    Ok(
        match send(session, Body::DemandOpening { deal, quad }).await? {
            Ok(executed) => Done::OpeningDemanded {
                quad,
                deposit: super::deposit(session),
                // Behind others' demands it may be a little later.
                due: schedule::opening_due(session.parameters(), executed.height, None),
            },
            Err(sentence) => Done::Refused(sentence),
        },
    )
}
