//! Channels for paying a provider bit by bit, off the ledger: what is signed, and what the ledger
//! keeps.

use crate::message::{SigningContext, Unencodable};
use crate::units::{Address, Amount, Height, NetworkId, ProviderId, Signature};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

/// Whose deposit a channel is, and who reads on it. Between these two and a provider there is one
/// channel at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Parties {
    /// Who pays.
    pub payer: Address,
    /// Who signs the vouchers.
    pub reader: Address,
}

impl Parties {
    /// A payer that reads for itself.
    pub const fn own(payer: Address) -> Self {
        Self {
            payer,
            reader: payer,
        }
    }

    /// Both keys' bytes, one after the other: for stores.
    pub fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let (payer, reader) = bytes.split_at_mut(32);
        payer.copy_from_slice(self.payer.as_bytes());
        reader.copy_from_slice(self.reader.as_bytes());
        bytes
    }
}

/// One channel; the height tells it from those that its parties had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChannelId {
    /// Who pays.
    pub payer: Address,
    /// Who signs the vouchers: the payer itself, or whom it has granted a budget for reading.
    pub reader: Address,
    /// Who is paid.
    pub provider: ProviderId,
    /// The block that it was opened in.
    pub opened: Height,
}

impl ChannelId {
    /// Who pays, and who reads.
    pub const fn parties(&self) -> Parties {
        Parties {
            payer: self.payer,
            reader: self.reader,
        }
    }
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
    /// A budget granted to somebody else: it begins to close at the end of this block.
    pub until: Option<Height>,
    /// Once it closes: the last height at which a voucher is redeemed. Then the rest goes back.
    pub closing: Option<Height>,
}

/// What is owed for everything that was read through a channel so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// Through which channel.
    pub channel: ChannelId,
    /// All of it: a later voucher stands for those before.
    pub amount: Amount,
}

/// A voucher with its reader's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedVoucher {
    /// What is owed.
    pub voucher: Voucher,
    /// ed25519 under [`SigningContext::Voucher`].
    pub signature: Signature,
}

impl SignedVoucher {
    /// Signs a voucher; the key must be its reader's.
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

    /// Whether its reader signed it for this network.
    pub fn is_signed(&self, network: NetworkId) -> bool {
        let reader = &self.voucher.channel.reader;
        SigningContext::Voucher.verify(network, &reader.0, &self.voucher, &self.signature)
    }
}
