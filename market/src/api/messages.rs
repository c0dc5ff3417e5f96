//! Taking messages in, and saying what became of them.

use super::Shared;
use super::answer::{Answer, Failure, blocking, parse};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use holdfast_market_core::message::{SignedMessage, decode};
use holdfast_market_core::quote::MAX_MESSAGE_BYTES;
use holdfast_market_core::units::{Height, MessageId};
use holdfast_wire::ledger::{MessageStatus, Submitted};

/// The longest body of a request: the largest message that the rules admit.
pub const LONGEST_BODY: usize = MAX_MESSAGE_BYTES;

pub async fn submit(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Submitted> {
    let body = body?;
    shared.current.takes_messages()?;
    let forwarder = shared.forwarder.clone();
    blocking(&shared, move |ledger| {
        let message: SignedMessage = decode("signed message", &body)?;
        let known = ledger.is_pending(&message.id()?);
        let id = ledger.submit(message.clone())?;
        if !known {
            forwarder.send(message);
        }
        Ok(Json(Submitted { id }))
    })
    .await
}

pub async fn look_up(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Answer<MessageStatus> {
    let id: MessageId = parse("message id", &id)?;
    blocking(&shared, move |ledger| {
        if ledger.is_pending(&id) {
            return Ok(Json(MessageStatus::Pending));
        }
        let Some(place) = ledger.store().place(id)? else {
            return Ok(Json(MessageStatus::Unknown));
        };
        let outcomes = ledger.store().outcomes(place.height)?.unwrap_or_default();
        let position = usize::try_from(place.position).unwrap_or(usize::MAX);
        let outcome = outcomes
            .into_iter()
            .nth(position)
            .filter(|outcome| outcome.message == id)
            .ok_or_else(|| no_outcome(place.height))?;
        Ok(Json(MessageStatus::Included {
            height: place.height,
            result: outcome.result,
        }))
    })
    .await
}

fn no_outcome(height: Height) -> Failure {
    Failure::not_found(format!(
        "the block at height {height} has no outcome of this message"
    ))
}
