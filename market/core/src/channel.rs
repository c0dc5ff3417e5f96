//! Channels for paying a provider bit by bit, off the ledger: what is signed, and what the ledger
//! keeps.

use crate::message::{SigningContext, Unencodable};
use crate::units::{Address, Amount, Height, NetworkId, ProviderId, Signature};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

/// One channel. A payer has one at a time to a provider; the height tells it from those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChannelId {
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub provider: ProviderId,
    /// The block that it was opened in.
    pub opened: Height,
}

/// What the ledger keeps of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Which.
    pub id: ChannelId,
    /// All that was ever put into it.
    pub deposit: Amount,
    /// What of that its provider has been paid.
    pub redeemed: Amount,
    /// Once it closes: the last height at which a voucher is redeemed. Then the rest goes back.
    pub closing: Option<Height>,
}

/// What a payer owes for everything that it has had through a channel so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// Through which channel.
    pub channel: ChannelId,
    /// All of it: a later voucher stands for those before.
    pub amount: Amount,
}

/// A voucher with its payer's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedVoucher {
    /// What is owed.
    pub voucher: Voucher,
    /// ed25519 under [`SigningContext::Voucher`].
    pub signature: Signature,
}

impl SignedVoucher {
    /// Signs a voucher; the key must be its payer's.
    ///
    /// # Errors
    /// A voucher that DAG-CBOR cannot carry.
    pub fn new(
        network: NetworkId,
        key: &SigningKey,
        voucher: Voucher,
    ) -> Result<Self, Unencodable> {
        let signature = SigningContext::Voucher.sign(network, key, &voucher)?;
        Ok(Self { voucher, signature })
    }

    /// Whether its payer signed it for this network.
    pub fn is_signed(&self, network: NetworkId) -> bool {
        let payer = &self.voucher.channel.payer;
        SigningContext::Voucher.verify(network, &payer.0, &self.voucher, &self.signature)
    }
}
