//! A provider's promise: the bytes are on its disk and will be sealed, embedded and proven.

use crate::units::{
    Amount, ByteCount, Height, PackId, Periods, ProviderId, ShardIndex, ShardRoot, Signature,
};
use serde::{Deserialize, Serialize};

/// How fast a shard is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The plain bytes are kept beside the replica and answered at once.
    Hot,
    /// Only the replica is kept; reading regenerates the key.
    Cold,
}

/// What a provider promises for one shard, for exactly these bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The pack that the shard belongs to (binds the owner, k, n and every shard's root).
    pub pack: PackId,
    /// Which shard.
    pub shard: ShardIndex,
    /// BLAKE3 of its bytes.
    pub root: ShardRoot,
    /// How many they are.
    pub length: ByteCount,
    /// Who promises.
    pub provider: ProviderId,
    /// Hot or cold.
    pub tier: Tier,
    /// Price of a GiB for a period, rounded up to a grain for the shard.
    pub price: Amount,
    /// How long, from the period after the embed is proven.
    pub term: Periods,
    /// The deal set must be on the ledger by this height, or the provider may drop the bytes.
    pub fund_by: Height,
}

/// A receipt with the signature of its provider's worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// What is promised.
    pub receipt: Receipt,
    /// ed25519 under [`crate::message::SigningContext::Receipt`].
    pub signature: Signature,
}
