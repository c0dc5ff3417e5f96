//! The JSON shapes of the API that are no objects of the core's own.

use holdfast_market_core::block::OutcomeResult;
use holdfast_market_core::message::ShardTerms;
use holdfast_market_core::proven::Evidence;
use holdfast_market_core::state::Deal;
use holdfast_market_core::tree::StateProof;
use holdfast_market_core::units::{
    Address, Amount, Beacon, BlockId, ByteCount, DealId, Height, MessageId, NetworkId, ShardRoot,
    Stake, TreeRoot,
};
use serde::{Deserialize, Serialize};

/// Providers, sectors or deals in one answer; `?after=` asks for those that follow.
pub const LIST_PAGE: usize = 1_000;

/// Deal sets in one answer: each may be large.
pub const DEAL_SET_PAGE: usize = 100;

/// Headers in one answer to `GET /v1/headers`, at most.
pub const HEADER_PAGE: usize = 512;

/// `GET /v1/status`: where the ledger stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// The network's id.
    pub network: NetworkId,
    /// The network's name.
    pub name: String,
    /// The last block's height; 0 before the first.
    pub height: Height,
    /// Its time, in milliseconds since the Unix epoch.
    pub time: u64,
    /// Its id; the network's id before the first block.
    pub header_id: BlockId,
    /// Messages that wait for a block.
    pub pending: u64,
}

/// `GET /v1/accounts/{hex}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// What it can spend.
    pub balance: Amount,
    /// The number that its next message carries by the ledger's state.
    pub nonce: u64,
    /// The same, counting the messages that wait for a block.
    pub next_nonce: u64,
}

/// `GET /v1/beacon/{height}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeaconView {
    /// The beacon.
    pub beacon: Beacon,
}

/// Answer to `POST /v1/messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// Under which its outcome is looked up.
    pub id: MessageId,
}

/// `GET /v1/messages/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum MessageStatus {
    /// Never seen, or forgotten.
    Unknown,
    /// Waits for a block.
    Pending,
    /// In a block.
    Included {
        /// Which.
        height: Height,
        /// What came of it.
        result: OutcomeResult,
    },
}

/// One element of `GET /v1/providers/{id}/deals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderDeal {
    /// The deal.
    pub id: DealId,
    /// BLAKE3 of the shard.
    pub root: ShardRoot,
    /// Bytes of the shard.
    pub length: ByteCount,
    /// On what terms.
    pub terms: ShardTerms,
    /// When the deal set was included.
    pub at: Height,
    /// Where it stands.
    pub deal: Deal,
}

/// `GET /v1/stakes/{address}`: what an account has at stake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StakesView {
    /// With each validator.
    pub stakes: Vec<StakeView>,
    /// What is on its way out.
    pub unbonding: Vec<UnbondingView>,
}

/// A stake with one validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StakeView {
    /// The validator's consensus key.
    pub validator: Address,
    /// How much.
    pub stake: Stake,
    /// What it has earned and not collected, an owner's commission not counted.
    pub earned: Amount,
}

/// Stake on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnbondingView {
    /// From which validator.
    pub validator: Address,
    /// How much it was worth when it was taken out.
    pub amount: Amount,
    /// It is free at the end of this block.
    pub due: Height,
}

/// `GET /v1/proofs/{key}`: a state object with what shows it under the state root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProvenState {
    /// After which block; the next header carries the root.
    pub height: Height,
    /// The state tree's root after that block.
    pub state_root: TreeRoot,
    /// The object's DAG-CBOR; none where the ledger has no such object.
    #[serde(with = "optional_hex")]
    pub value: Option<Vec<u8>>,
    /// To be checked with [`holdfast_market_core::proven`]; hexadecimal of
    /// [`holdfast_market_core::tree::encode_proof`].
    #[serde(with = "hex_proof")]
    pub proof: StateProof,
}

impl ProvenState {
    /// What [`holdfast_market_core::proven`] checks.
    pub fn evidence(&self) -> Evidence<'_> {
        Evidence {
            value: self.value.as_deref(),
            proof: &self.proof,
        }
    }
}

/// The body of every failing answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// One sentence.
    pub error: String,
}

mod hex_proof {
    use holdfast_market_core::tree::{LONGEST_STATE_PROOF, StateProof, decode_proof, encode_proof};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::borrow::Cow;

    pub fn serialize<S: Serializer>(proof: &StateProof, serializer: S) -> Result<S::Ok, S::Error> {
        hex::encode(encode_proof(proof)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<StateProof, D::Error> {
        let text = Cow::<'de, str>::deserialize(d)?;
        if text.len() > LONGEST_STATE_PROOF * 2 {
            return Err(D::Error::custom("no state proof is that long"));
        }
        let bytes = hex::decode(&*text).map_err(D::Error::custom)?;
        decode_proof(&bytes).map_err(D::Error::custom)
    }
}

mod optional_hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(hex::encode).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(hex::decode).transpose().map_err(Error::custom)
    }
}
