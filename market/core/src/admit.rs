//! What a message must be before a body is looked at: for the mempool, for builders, for blocks.

use crate::message::{SignedMessage, SigningContext, encode};
use crate::parameters::Economy;
use crate::query;
use crate::quote::{MAX_MESSAGE_BYTES, fee_of_work, work};
use crate::refusal::Refusal;
use crate::rules::Rules;
use crate::units::{Amount, Height, MessageId, NetworkId};
use crate::view::{ReadView, ViewError};
use std::collections::BTreeSet;

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

/// Messages whose signatures whoever asks has found right before, on the same network. A name is a
/// hash of message and signature, so nobody else's signature and no other message passes by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed(BTreeSet<MessageId>);

impl FromIterator<MessageId> for Signed {
    fn from_iter<T: IntoIterator<Item = MessageId>>(names: T) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Signed {
    /// Whether that one's signature is known to be right.
    pub fn contains(&self, id: &MessageId) -> bool {
        self.0.contains(id)
    }
}

/// What a message's bytes say, computed once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// How many they are.
    pub bytes: usize,
    /// The name under which its outcome is looked up.
    pub id: MessageId,
    /// Whether its signature is known to be right.
    pub is_signed: bool,
}

impl Known {
    /// Of a message with this encoding.
    pub fn of(encoded: &[u8], signed: &Signed) -> Self {
        let id = MessageId(*blake3::hash(encoded).as_bytes());
        Self {
            bytes: encoded.len(),
            id,
            is_signed: signed.contains(&id),
        }
    }
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
    let encoded = encode(signed).map_err(Refusal::from)?;
    let known = Known::of(&encoded, &Signed::default());
    check(rules.network, &economy, signed, known, next, account.nonce)?;
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

/// What needs no state but the account's number.
pub(crate) fn check(
    network: NetworkId,
    economy: &Economy,
    signed: &SignedMessage,
    known: Known,
    height: Height,
    next_nonce: u64,
) -> Result<(), Refusal> {
    let (message, bytes) = (&signed.message, known.bytes);
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
    let is_signed = known.is_signed
        || SigningContext::Message.verify(
            network,
            message.sender.as_bytes(),
            message,
            &signed.signature,
        );
    match is_signed {
        true => Ok(()),
        false => Err(Refusal::Signature),
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
