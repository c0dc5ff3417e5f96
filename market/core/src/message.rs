//! Messages: what accounts, clients, owners and workers ask of the ledger (PROTOCOL, *Messages*).

mod body;
mod parts;

pub use body::Body;
pub use parts::{
    Acceptance, DealSetProposal, EmbedCommit, GroupLayout, GroupRoot, LaneGroups, LeaseClaim,
    PackHeader, PieceOpening, PlacedSubtree, PreCommit, ProviderOffer, ReplicaCommit, SectorRoots,
    ShardTerms, SpacetimeProof,
};

use crate::units::{Address, Amount, Height, MessageId, NetworkId, Signature};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// What is signed: one context a kind, so that no signature serves for another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningContext {
    /// A ledger message.
    Message,
    /// A provider's receipt for a shard.
    Receipt,
    /// A block header.
    Block,
    /// A payer's voucher for what it has read.
    Voucher,
    /// A validator's vote on a block.
    Ballot,
    /// A validator's offer of a block in a round.
    Offer,
    /// What precedes the bytes of an offered block.
    Stream,
    /// An auditor's report.
    Audit,
}

impl SigningContext {
    const fn text(self) -> &'static str {
        match self {
            Self::Message => "holdfast 2026-11 ledger message signature",
            Self::Receipt => "holdfast 2026-11 shard receipt signature",
            Self::Block => "holdfast 2026-11 block header signature",
            Self::Voucher => "holdfast 2026-11 payment voucher signature",
            Self::Ballot => "holdfast 2026-11 validator ballot signature",
            Self::Offer => "holdfast 2026-11 block offer signature",
            Self::Stream => "holdfast 2026-11 block stream signature",
            Self::Audit => "holdfast 2026-11 audit report signature",
        }
    }

    /// What an ed25519 key signs: BLAKE3 of the context, the network and the value's DAG-CBOR.
    ///
    /// # Errors
    /// A value that DAG-CBOR cannot carry.
    pub fn digest<T: Serialize>(
        self,
        network: NetworkId,
        value: &T,
    ) -> Result<[u8; 32], Unencodable> {
        let body = encode(value)?;
        let mut hasher = blake3::Hasher::new_derive_key(self.text());
        hasher.update(network.as_bytes());
        hasher.update(&body);
        Ok(*hasher.finalize().as_bytes())
    }

    /// Signs `value` for `network`.
    ///
    /// # Errors
    /// A value that DAG-CBOR cannot carry.
    pub fn sign<T: Serialize>(
        self,
        network: NetworkId,
        key: &SigningKey,
        value: &T,
    ) -> Result<Signature, Unencodable> {
        Ok(Signature(
            key.sign(&self.digest(network, value)?).to_bytes(),
        ))
    }

    /// Whether `signature` is `signer`'s for `value` on `network` (strict: small-order keys and
    /// malleable signatures are refused).
    pub fn verify<T: Serialize>(
        self,
        network: NetworkId,
        signer: &[u8; 32],
        value: &T,
        signature: &Signature,
    ) -> bool {
        let (Ok(key), Ok(digest)) = (
            VerifyingKey::from_bytes(signer),
            self.digest(network, value),
        ) else {
            return false;
        };
        key.verify_strict(&digest, &ed25519_dalek::Signature::from_bytes(&signature.0))
            .is_ok()
    }
}

/// A value that DAG-CBOR cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value cannot be encoded as DAG-CBOR: {0}")]
pub struct Unencodable(String);

/// The canonical bytes of a ledger object: DAG-CBOR.
///
/// # Errors
/// A value that DAG-CBOR cannot carry.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Unencodable> {
    serde_ipld_dagcbor::to_vec(value).map_err(|error| Unencodable(error.to_string()))
}

/// Bytes that are no canonical DAG-CBOR of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Not of this shape.
    #[error("the bytes are not a well-formed {kind}: {reason}")]
    Malformed {
        /// What was expected.
        kind: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// It decodes, but re-encodes to other bytes.
    #[error("the bytes of this {0} are not its canonical encoding")]
    NotCanonical(&'static str),
}

/// Reads a ledger object and refuses bytes that are not exactly what [`encode`] writes.
///
/// # Errors
/// Malformed or non-canonical bytes.
pub fn decode<T: Serialize + for<'de> Deserialize<'de>>(
    kind: &'static str,
    bytes: &[u8],
) -> Result<T, Undecodable> {
    let malformed = |reason: String| Undecodable::Malformed { kind, reason };
    let value: T =
        serde_ipld_dagcbor::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    match encode(&value) {
        Ok(again) if again == bytes => Ok(value),
        Ok(_) => Err(Undecodable::NotCanonical(kind)),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// One message before it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who signs and pays the fee.
    pub sender: Address,
    /// The sender's next number; each serves once, in order.
    pub nonce: u64,
    /// What is paid for inclusion, also where the body is refused.
    pub fee: Amount,
    /// Not valid in blocks above this height.
    pub expiry: Height,
    /// What is asked.
    pub body: Body,
}

/// A message with its sender's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedMessage {
    /// What is signed.
    pub message: Message,
    /// ed25519 under [`SigningContext::Message`].
    pub signature: Signature,
}

impl SignedMessage {
    /// Signs `message`; the key must be its sender's.
    ///
    /// # Errors
    /// A message that DAG-CBOR cannot carry.
    pub fn new(
        network: NetworkId,
        key: &SigningKey,
        message: Message,
    ) -> Result<Self, Unencodable> {
        let signature = SigningContext::Message.sign(network, key, &message)?;
        Ok(Self { message, signature })
    }

    /// BLAKE3 of the whole, the name under which its outcome is looked up.
    ///
    /// # Errors
    /// A message that DAG-CBOR cannot carry.
    pub fn id(&self) -> Result<MessageId, Unencodable> {
        Ok(MessageId(*blake3::hash(&encode(self)?).as_bytes()))
    }
}
