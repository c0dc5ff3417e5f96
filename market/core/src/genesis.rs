//! Where a network begins: its parameters, keys, first balances and first validators.

use crate::block::Validator;
use crate::message::{Unencodable, encode};
use crate::parameters::Parameters;
use crate::units::{Address, Amount, NetworkId};
use serde::{Deserialize, Serialize};

/// The first state of a network; its hash is the network's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// `main`, or another name; on any other network addresses begin with `thold`.
    pub name: String,
    /// Milliseconds since the Unix epoch at which it was made.
    pub time: u64,
    /// The rules' numbers.
    pub parameters: Parameters,
    /// BLAKE3 digest of the verifying keys (`holdfast_proofs::verify::VerifyingKeys::digest`).
    #[serde(with = "digest")]
    pub verifying_keys: [u8; 32],
    /// First balances; their sum is what exists at height 0.
    pub balances: Vec<Balance>,
    /// Who orders blocks at first.
    pub validators: Vec<Validator>,
}

/// A first balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Whose.
    pub account: Address,
    /// How much.
    pub amount: Amount,
}

impl Genesis {
    /// The network's id.
    ///
    /// # Errors
    /// A genesis that DAG-CBOR cannot carry.
    pub fn network(&self) -> Result<NetworkId, Unencodable> {
        Ok(NetworkId(*blake3::hash(&encode(self)?).as_bytes()))
    }

    /// The prefix of addresses on this network.
    pub fn address_prefix(&self) -> &'static str {
        if self.name == "main" { "hold" } else { "thold" }
    }
}

mod digest {
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        holdfast_proofs::bytes::serialize_fixed(bytes, serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        holdfast_proofs::bytes::deserialize_fixed(deserializer)
    }
}
