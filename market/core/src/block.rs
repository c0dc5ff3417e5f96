//! Blocks and what comes of their messages.

use crate::facts::Facts;
use crate::finality::{self, Precommit};
use crate::list;
use crate::message::{SignedMessage, SigningContext, Unencodable, encode};
use crate::units::{
    Address, BeaconKey, BeaconSignature, BlockId, Height, MessageId, NetworkId, Round, Signature,
    TreeRoot,
};
use serde::{Deserialize, Serialize};

/// Messages in a block, at most.
pub const MAX_MESSAGES: usize = 4096;
/// Bytes of a block's messages, at most.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Work of a block's messages, in proofs ([`crate::quote::work`]), at most, unless one message alone
/// has more: then no other of the block has any. A deadline's largest message fills a block.
pub const MAX_WORK: usize = 1024;

/// Whether a message of so much work has room in a block that has `used` already.
pub(crate) fn work_fits(used: usize, more: usize) -> bool {
    more == 0 || used == 0 || used.saturating_add(more) <= MAX_WORK
}

/// The root over a block's messages.
///
/// # Errors
/// A message that DAG-CBOR cannot carry.
pub fn transactions_root(messages: &[SignedMessage]) -> Result<TreeRoot, Unencodable> {
    Ok(list::root(&encoded(messages)?))
}

/// The canonical bytes of each message.
///
/// # Errors
/// A message that DAG-CBOR cannot carry.
pub(crate) fn encoded(messages: &[SignedMessage]) -> Result<Vec<Vec<u8>>, Unencodable> {
    messages.iter().map(encode).collect()
}

/// The root over a block's outcomes, of their [`Outcome::leaf`]s.
///
/// # Errors
/// An outcome that DAG-CBOR cannot carry.
pub fn receipts_root(outcomes: &[Outcome]) -> Result<TreeRoot, Unencodable> {
    let leaves: Vec<Vec<u8>> = outcomes
        .iter()
        .map(Outcome::leaf)
        .collect::<Result<_, _>>()?;
    Ok(list::root(&leaves))
}

/// What a header says of the validators that may order the next block.
///
/// # Errors
/// Validators that DAG-CBOR cannot carry.
pub fn validators_root(validators: &[Validator]) -> Result<TreeRoot, Unencodable> {
    Ok(TreeRoot(*blake3::hash(&encode(&validators)?).as_bytes()))
}

/// What a block says of itself; its hash is the block's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its number, from 1.
    pub height: Height,
    /// The block before; the network id's bytes at height 1.
    pub parent: BlockId,
    /// The state tree's root after the parent.
    pub state_root: TreeRoot,
    /// `merkle-cbt` root over this block's messages.
    pub transactions_root: TreeRoot,
    /// `merkle-cbt` root over the parent's outcomes.
    pub receipts_root: TreeRoot,
    /// Milliseconds since the Unix epoch by the builder's clock; informative.
    pub time: u64,
    /// Who built it.
    pub builder: Address,
    /// The builder's BLS signature over (previous beacon, height); the beacon is its hash.
    pub beacon: BeaconSignature,
    /// BLAKE3 of the DAG-CBOR of the validators that may order the next block.
    pub next_validators: TreeRoot,
}

impl Header {
    /// The block's name.
    ///
    /// # Errors
    /// A header that DAG-CBOR cannot carry.
    pub fn id(&self) -> Result<BlockId, Unencodable> {
        Ok(BlockId(*blake3::hash(&encode(self)?).as_bytes()))
    }
}

/// A block: header and messages in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it says of itself.
    pub header: Header,
    /// Executed in this order.
    pub messages: Vec<SignedMessage>,
}

/// Why a block is final. Our own versioned type: no engine's type crosses the seam.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Certificate {
    /// Embedded ordering: the single signer's signature over the header.
    #[serde(rename = "embedded/1")]
    Embedded {
        /// ed25519 under [`crate::message::SigningContext::Block`].
        signature: Signature,
    },
    /// Byzantine fault tolerant ordering: precommits of more than two thirds of the power.
    #[serde(rename = "bft/1")]
    Bft {
        /// The round that all of them are of.
        round: Round,
        /// In the order of their voters.
        precommits: Vec<Precommit>,
    },
}

/// A block with its certificate: what is stored, served and audited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedBlock {
    /// The block.
    pub block: Block,
    /// Why it is final.
    pub certificate: Certificate,
}

impl Certificate {
    /// Whether it makes the block with that header final for these validators.
    pub fn is_final(&self, header: &Header, network: NetworkId, validators: &[Validator]) -> bool {
        self.is_final_given(header, network, validators, &Facts::default())
    }

    /// The same, where some of its signatures were looked at before.
    pub(crate) fn is_final_given(
        &self,
        header: &Header,
        network: NetworkId,
        validators: &[Validator],
        facts: &Facts,
    ) -> bool {
        match self {
            // One signer: with more than one validator an embedded certificate shows nothing.
            Self::Embedded { signature } => {
                let found = facts.certificate(0);
                let holds = || found.unwrap_or_else(|| is_built(network, header, signature));
                matches!(validators, [only] if only.key == header.builder) && holds()
            }
            Self::Bft { round, precommits } => header.id().is_ok_and(|id| {
                let place = (header.height, *round, id);
                finality::is_final_by(validators, precommits, |number, precommit| {
                    let found = facts.certificate(number);
                    found.unwrap_or_else(|| finality::is_precommit(network, place, precommit))
                })
            }),
        }
    }

    /// How many signatures it has.
    pub(crate) fn signature_count(&self) -> usize {
        match self {
            Self::Embedded { .. } => 1,
            Self::Bft { precommits, .. } => precommits.len(),
        }
    }

    /// Whether each of them is its signer's, whoever that is.
    pub(crate) fn signatures_hold(&self, header: &Header, network: NetworkId) -> Vec<bool> {
        match self {
            Self::Embedded { signature } => vec![is_built(network, header, signature)],
            Self::Bft { round, precommits } => match header.id() {
                Ok(id) => {
                    let place = (header.height, *round, id);
                    let holds = |one| finality::is_precommit(network, place, one);
                    precommits.iter().map(holds).collect()
                }
                Err(_) => Vec::new(),
            },
        }
    }
}

/// Whether the signature over the header is its builder's.
fn is_built(network: NetworkId, header: &Header, signature: &Signature) -> bool {
    SigningContext::Block.verify(network, header.builder.as_bytes(), header, signature)
}

impl CertifiedBlock {
    /// Whether the certificate makes the block final for these validators.
    pub fn is_final(&self, network: NetworkId, validators: &[Validator]) -> bool {
        self.certificate
            .is_final(&self.block.header, network, validators)
    }
}

/// Who orders blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    /// Its consensus key.
    pub key: Address,
    /// Its beacon key.
    pub beacon: BeaconKey,
    /// Proof that it holds the beacon key: a signature with it over the key itself.
    pub possession: BeaconSignature,
    /// Its power.
    pub power: u64,
}

/// What came of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which message.
    pub message: MessageId,
    /// Done, or refused and why; a refused body costs its fee all the same.
    pub result: OutcomeResult,
}

impl Outcome {
    /// What the next header's root covers: which message, and done or refused. The sentence stands
    /// beside it: texts (some are a dependency's) may differ between two builds of the same rules
    /// and must not part their chains.
    ///
    /// # Errors
    /// An outcome that DAG-CBOR cannot carry.
    pub fn leaf(&self) -> Result<Vec<u8>, Unencodable> {
        match self.result {
            OutcomeResult::Done => encode(self),
            OutcomeResult::Refused(_) => encode(&Self {
                message: self.message,
                result: OutcomeResult::Refused(String::new()),
            }),
        }
    }
}

/// Done or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeResult {
    /// Executed.
    Done,
    /// Refused, in one sentence.
    Refused(String),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_words_of_a_refusal_are_no_part_of_the_root() {
        let outcome = |result| Outcome {
            message: MessageId([3; 32]),
            result,
        };
        let refused = |why: &str| outcome(OutcomeResult::Refused(why.into()));
        let root = |outcome| receipts_root(&[outcome]).unwrap();
        assert_eq!(root(refused("one wording")), root(refused("another")));
        let done = outcome(OutcomeResult::Done);
        assert_ne!(root(done.clone()), root(refused("one wording")));
        // What is done can be shown by its own encoding.
        assert_eq!(done.leaf().unwrap(), encode(&done).unwrap());
    }
}
