//! What a message must be before a body is looked at: for the mempool, for builders, for blocks.

use crate::message::{SignedMessage, SigningContext, encode};
use crate::parameters::Economy;
use crate::query;
use crate::quote::{MAX_MESSAGE_BYTES, fee_of_work, work};
use crate::refusal::Refusal;
use crate::rules::Rules;
use crate::units::{Amount, Height, NetworkId};
use crate::view::{ReadView, ViewError};

/// A message that is not taken, or state that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The message is at fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store is at fault.
    #[error(transparent)]
    State(#[from] ViewError),
}

/// Whether a mempool should take the message for a block at `next` or later: signature, number not
/// used yet, expiry, fee, size, and a balance that pays the fee.
///
/// # Errors
/// The first of these that fails.
pub fn admit(
    view: &impl ReadView,
    rules: &Rules,
    signed: &SignedMessage,
    next: Height,
) -> Result<(), AdmitError> {
    let account = query::account(view, &signed.message.sender)?;
    let economy = query::economy(view)?;
    check(rules.network, &economy, signed, next, account.nonce)?;
    Ok(check_funds(account.balance, signed.message.fee)?)
}

/// The fee must be there.
pub(crate) fn check_funds(have: Amount, need: Amount) -> Result<(), Refusal> {
    if have < need {
        return Err(Refusal::Funds {
            have,
            need,
            missing: need.saturating_sub(have),
        });
    }
    Ok(())
}

/// What needs no state but the account's number; the encoded size.
pub(crate) fn check(
    network: NetworkId,
    economy: &Economy,
    signed: &SignedMessage,
    height: Height,
    next_nonce: u64,
) -> Result<usize, Refusal> {
    let message = &signed.message;
    let bytes = encode(signed)?.len();
    if bytes > MAX_MESSAGE_BYTES {
        return Err(Refusal::TooLarge {
            bytes,
            most: MAX_MESSAGE_BYTES,
        });
    }
    if message.expiry < height {
        return Err(Refusal::Expired {
            expiry: message.expiry,
            height,
        });
    }
    let least = fee_of_work(economy, bytes, work(&message.body));
    if message.fee < least {
        return Err(Refusal::FeeTooLow {
            offered: message.fee,
            least,
        });
    }
    if message.nonce < next_nonce {
        return Err(Refusal::NonceUsed {
            found: message.nonce,
            next: next_nonce,
        });
    }
    if SigningContext::Message.verify(
        network,
        message.sender.as_bytes(),
        message,
        &signed.signature,
    ) {
        Ok(bytes)
    } else {
        Err(Refusal::Signature)
    }
}

/// In a block, numbers have no gaps.
pub(crate) fn check_nonce(found: u64, next: u64) -> Result<(), Refusal> {
    if found > next {
        Err(Refusal::NonceGap { found, next })
    } else {
        Ok(())
    }
}
