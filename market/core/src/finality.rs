//! What validators sign when they agree on a block by Byzantine fault tolerant ordering (Buchman,
//! Kwon, Milosevic: *The latest gossip on BFT consensus*), and what makes a block final there. No
//! type of an engine: whoever follows or audits a chain needs none.

use crate::block::Validator;
use crate::message::SigningContext;
use crate::units::{Address, BlockId, Height, NetworkId, Round, Signature};
use serde::{Deserialize, Serialize};

/// Validators of a network, at most: a certificate stays small enough to be read by anybody.
pub const MOST_VALIDATORS: usize = 1024;
/// The power of all validators together, at most: sums and their threefold stay within 64 bits.
pub const MOST_POWER: u64 = u64::MAX / 3;

/// Which of a round's two votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BallotKind {
    /// The first: the proposal is right.
    Prevote,
    /// The second: more than two thirds have said so.
    Precommit,
}

/// A validator's vote, as it is signed ([`SigningContext::Ballot`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ballot {
    /// Which of the two.
    pub kind: BallotKind,
    /// For the block of this height.
    pub height: Height,
    /// In this round.
    pub round: Round,
    /// For this block, or for none in this round.
    pub block: Option<BlockId>,
    /// Whose.
    pub voter: Address,
}

/// A proposer's offer of a block, as it is signed ([`SigningContext::Offer`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The block's height.
    pub height: Height,
    /// The round that it is offered in.
    pub round: Round,
    /// The block.
    pub block: BlockId,
    /// The earlier round in which more than two thirds prevoted it, where there is one.
    pub valid_round: Option<Round>,
    /// Whose.
    pub proposer: Address,
}

impl Ballot {
    /// Whether the signature is the voter's.
    pub fn is_signed(&self, network: NetworkId, signature: &Signature) -> bool {
        SigningContext::Ballot.verify(network, self.voter.as_bytes(), self, signature)
    }
}

impl Offer {
    /// Whether the signature is the proposer's.
    pub fn is_signed(&self, network: NetworkId, signature: &Signature) -> bool {
        SigningContext::Offer.verify(network, self.proposer.as_bytes(), self, signature)
    }
}

/// One validator's precommit in a certificate; height, round and block are the certificate's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precommit {
    /// Whose.
    pub voter: Address,
    /// Of its [`Ballot`].
    pub signature: Signature,
}

/// Whether more than two thirds of the validators' power stand behind the block with valid
/// precommits of one round. They are in the order of their voters, none twice, all of validators: a
/// set of precommits is written in one way.
pub fn is_final(
    network: NetworkId,
    validators: &[Validator],
    place: (Height, Round, BlockId),
    precommits: &[Precommit],
) -> bool {
    is_final_by(validators, precommits, |_, precommit| {
        is_precommit(network, place, precommit)
    })
}

/// Whether the signature is its voter's, for that block.
pub(crate) fn is_precommit(
    network: NetworkId,
    (height, round, block): (Height, Round, BlockId),
    precommit: &Precommit,
) -> bool {
    let ballot = Ballot {
        kind: BallotKind::Precommit,
        height,
        round,
        block: Some(block),
        voter: precommit.voter,
    };
    ballot.is_signed(network, &precommit.signature)
}

/// [`is_final`], where `holds` says of each precommit, by its number, whether its signature holds.
pub(crate) fn is_final_by(
    validators: &[Validator],
    precommits: &[Precommit],
    holds: impl Fn(usize, &Precommit) -> bool,
) -> bool {
    let ascending = precommits
        .iter()
        .zip(precommits.iter().skip(1))
        .all(|(one, next)| one.voter < next.voter);
    if !ascending || precommits.len() > validators.len() {
        return false;
    }
    let total: u128 = validators.iter().map(|one| u128::from(one.power)).sum();
    let mut signed = 0u128;
    for (number, precommit) in precommits.iter().enumerate() {
        let Some(validator) = validators.iter().find(|one| one.key == precommit.voter) else {
            return false;
        };
        if !holds(number, precommit) {
            return false;
        }
        signed = signed.saturating_add(u128::from(validator.power));
    }
    signed.saturating_mul(3) > total.saturating_mul(2)
}

/// Odd, and the golden ratio's fraction of 2^64: multiples of it spread evenly over the numbers,
/// and the longer the stretch the more evenly (Knuth, *The Art of Computer Programming* 3, 6.4).
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Whose turn it is to offer a block: a pure function of its arguments. Over any longer stretch of
/// heights each validator has turns in proportion to its power, spread evenly. Round r of a height
/// has the proposer of round 0 of the height r later.
pub fn proposer(validators: &[Validator], height: Height, round: Round) -> Option<&Validator> {
    let total: u128 = validators.iter().map(|one| u128::from(one.power)).sum();
    let turn = height.0.wrapping_add(u64::from(round.0));
    let point = u128::from(turn.wrapping_mul(STEP)).checked_mul(total)? >> 64;
    let mut passed = 0u128;
    validators.iter().find(|one| {
        passed = passed.saturating_add(u128::from(one.power));
        point < passed
    })
}

#[cfg(test)]
mod tests;
