//! What the engine saw of validators that signed twice, as the ledger takes it.

use super::context::Bft;
use crate::ledger::{Ledger, LedgerError, SubmitError};
use crate::validator::ValidatorKeys;
use holdfast_market_core::equivocation::{Equivocation, SignedBallot, SignedOffer};
use holdfast_market_core::message::{Body, Message, SignedMessage};
use holdfast_market_core::query;
use holdfast_market_core::quote;
use holdfast_market_core::stake::ValidatorStatus;
use holdfast_market_core::units::{Address, Amount, Blocks};
use malachitebft_app_channel::app::types::MisbehaviorEvidence;
use std::collections::BTreeMap;

/// An accusation that is in no block after so many is not made again: others saw the same.
const VALIDITY: Blocks = Blocks(100);

/// One piece of evidence for each validator that signed twice.
fn shown(evidence: &MisbehaviorEvidence<Bft>) -> BTreeMap<Address, Equivocation> {
    let mut found = BTreeMap::new();
    for (key, pairs) in evidence.proposals.iter() {
        let offers = pairs.iter().find_map(|(first, second)| {
            let signed = |one: &malachitebft_app_channel::app::types::core::SignedProposal<Bft>| {
                Some(SignedOffer {
                    offer: one.message.offer()?,
                    signature: one.signature,
                })
            };
            Some(Equivocation::Offers {
                first: signed(first)?,
                second: signed(second)?,
            })
        });
        found.extend(offers.map(|offers| (key.0, offers)));
    }
    for (key, pairs) in evidence.votes.iter() {
        let ballots = pairs.iter().find_map(|(first, second)| {
            let signed = |one: &malachitebft_app_channel::app::types::core::SignedVote<Bft>| {
                Some(SignedBallot {
                    ballot: one.message.ballot()?,
                    signature: one.signature,
                })
            };
            Some(Equivocation::Ballots {
                first: signed(first)?,
                second: signed(second)?,
            })
        });
        found.extend(ballots.map(|ballots| (key.0, ballots)));
    }
    found
}

/// Sends what was seen to the ledger, paid by this validator's own account: the finder's share is
/// far above the fee. Where there is nothing to be taken, or the account is empty, it is only said.
pub fn accuse(
    ledger: &Ledger,
    keys: &ValidatorKeys,
    evidence: &MisbehaviorEvidence<Bft>,
) -> Result<(), LedgerError> {
    for (key, evidence) in shown(evidence) {
        tracing::warn!(validator = %key, "a validator has signed twice");
        let record = query::validator(&ledger.view(), &key)?;
        let slashed = |status| matches!(status, ValidatorStatus::Slashed { .. });
        if record.is_none_or(|record| slashed(record.status)) {
            continue;
        }
        let sender = keys.address();
        let account = query::account(&ledger.view(), &sender)?;
        let mut message = Message {
            sender,
            nonce: ledger.next_nonce(&sender, account.nonce),
            fee: Amount::ZERO,
            expiry: ledger.head().height.after(VALIDITY),
            body: Body::SubmitEquivocation { evidence },
        };
        message.fee = quote::fee(&query::economy(&ledger.view())?, &message)?;
        let signed = SignedMessage::new(ledger.network(), keys.consensus(), message)?;
        match ledger.submit(signed) {
            Ok(id) => tracing::info!(%id, "shown to the ledger"),
            Err(SubmitError::Ledger(error)) => return Err(error),
            Err(error) => tracing::warn!(%error, "the ledger is not shown it by this validator"),
        }
    }
    Ok(())
}
