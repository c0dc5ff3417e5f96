//! The engine's words for our things: what it agrees on is a block's name, 32 bytes; the block
//! itself never passes through it.

use holdfast_market_core::block::Validator;
use holdfast_market_core::finality::{self, Ballot, BallotKind, MOST_POWER, MOST_VALIDATORS};
use holdfast_market_core::units::{self, Address, BlockId};
use malachitebft_app_channel::app::types::core::{
    self, LinearTimeouts, NilOrVal, Round, SignedExtension, VoteType, VotingPower,
};
use std::fmt;

use super::parts::Part;

/// The context: it knows nothing that is not in the arguments.
#[derive(Clone, Copy, Debug)]
pub struct Bft;

/// A block's height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Height(pub units::Height);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Height for Height {
    const ZERO: Self = Self(units::Height(0));
    const INITIAL: Self = Self(units::Height(1));

    // Peers choose the operands.
    fn increment_by(&self, n: u64) -> Self {
        Self(units::Height(self.0.0.saturating_add(n)))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        Some(Self(units::Height(self.0.0.checked_sub(n)?)))
    }

    fn as_u64(&self) -> u64 {
        self.0.0
    }
}

/// A validator's address, which is its public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub Address);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Address for Key {}

/// What is agreed on: a block's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub BlockId);

impl core::Value for Name {
    type Id = BlockId;

    fn id(&self) -> BlockId {
        self.0
    }
}

/// ed25519 by the ledger's strict rules. The engine never sees a secret key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheme;

/// Bytes of another length than a key or a signature has.
#[derive(Clone, Copy, Debug)]
pub struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key has 32 bytes, a signature 64")
    }
}

impl core::SigningScheme for Scheme {
    type DecodingError = WrongLength;
    type Signature = units::Signature;
    type PublicKey = Key;
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<units::Signature, WrongLength> {
        Ok(units::Signature(bytes.try_into().map_err(|_| WrongLength)?))
    }

    fn encode_signature(signature: &units::Signature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<Key, WrongLength> {
        Ok(Key(Address(bytes.try_into().map_err(|_| WrongLength)?)))
    }

    fn encode_public_key(key: &Key) -> Vec<u8> {
        key.0.as_bytes().to_vec()
    }
}

/// A validator as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    key: Key,
    power: VotingPower,
}

impl core::Validator<Bft> for Voter {
    fn address(&self) -> &Key {
        &self.key
    }

    fn public_key(&self) -> &Key {
        &self.key
    }

    fn voting_power(&self) -> VotingPower {
        self.power
    }
}

/// The validators of a height, in the ledger's order; there is at least one, with power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voters {
    validators: Vec<Validator>,
    voters: Vec<Voter>,
    first: Voter,
    total: VotingPower,
}

impl Voters {
    /// Those of the ledger; none where they are none, too many or too powerful: the rules keep such
    /// a set from coming about.
    pub fn new(validators: Vec<Validator>) -> Option<Self> {
        let powers = validators.iter().map(|one| one.power);
        let total = powers.into_iter().try_fold(0u64, u64::checked_add)?;
        let fits = (1..=MOST_POWER).contains(&total) && validators.len() <= MOST_VALIDATORS;
        let voters: Vec<Voter> = validators
            .iter()
            .map(|one| Voter {
                key: Key(one.key),
                power: one.power,
            })
            .collect();
        let first = voters.first().filter(|_| fits)?.clone();
        Some(Self {
            validators,
            voters,
            first,
            total,
        })
    }

    /// Whose turn it is.
    pub fn proposer(&self, height: units::Height, round: units::Round) -> Key {
        let chosen = finality::proposer(&self.validators, height, round);
        // There is power in the set, and so there is somebody.
        chosen.map_or(self.first.key, |one| Key(one.key))
    }
}

impl core::ValidatorSet<Bft> for Voters {
    fn count(&self) -> usize {
        self.voters.len()
    }

    fn total_voting_power(&self) -> VotingPower {
        self.total
    }

    fn get_by_address(&self, address: &Key) -> Option<&Voter> {
        self.voters.iter().find(|one| one.key == *address)
    }

    fn get_by_index(&self, index: usize) -> Option<&Voter> {
        self.voters.get(index)
    }
}

/// A vote. What of it is signed is [`Ballot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Which of a round's two.
    pub kind: VoteType,
    /// For the block of this height.
    pub height: Height,
    /// In this round.
    pub round: Round,
    /// For this block, or for none.
    pub value: NilOrVal<BlockId>,
    /// Whose.
    pub voter: Key,
}

impl Vote {
    /// As it is signed; none for a vote of no round, which nobody casts.
    pub fn ballot(&self) -> Option<Ballot> {
        Some(Ballot {
            kind: match self.kind {
                VoteType::Prevote => BallotKind::Prevote,
                VoteType::Precommit => BallotKind::Precommit,
            },
            height: self.height.0,
            round: round_of(self.round)?,
            block: match self.value {
                NilOrVal::Nil => None,
                NilOrVal::Val(block) => Some(block),
            },
            voter: self.voter.0,
        })
    }
}

impl From<&Ballot> for Vote {
    fn from(ballot: &Ballot) -> Self {
        Self {
            kind: match ballot.kind {
                BallotKind::Prevote => VoteType::Prevote,
                BallotKind::Precommit => VoteType::Precommit,
            },
            height: Height(ballot.height),
            round: round_to(ballot.round),
            value: ballot.block.map_or(NilOrVal::Nil, NilOrVal::Val),
            voter: Key(ballot.voter),
        }
    }
}

/// The ledger's round; none before the first.
pub fn round_of(round: Round) -> Option<units::Round> {
    round.as_u32().map(units::Round)
}

/// The engine's round.
pub fn round_to(round: units::Round) -> Round {
    Round::new(round.0)
}

impl core::Vote<Bft> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockId> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Key {
        &self.voter
    }

    // Votes carry nothing besides: the engine is told so, and what came with one is dropped.
    fn extension(&self) -> Option<&SignedExtension<Bft>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Bft>> {
        None
    }

    fn extend(self, _: SignedExtension<Bft>) -> Self {
        self
    }
}

/// A proposal. What of it is signed is [`finality::Offer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Of the block of this height.
    pub height: Height,
    /// In this round.
    pub round: Round,
    /// The block.
    pub value: Name,
    /// The earlier round in which two thirds prevoted it; nil where there is none.
    pub pol_round: Round,
    /// Whose.
    pub proposer: Key,
}

impl Proposal {
    /// As it is signed; none for one of no round.
    pub fn offer(&self) -> Option<finality::Offer> {
        Some(finality::Offer {
            height: self.height.0,
            round: round_of(self.round)?,
            block: self.value.0,
            valid_round: round_of(self.pol_round),
            proposer: self.proposer.0,
        })
    }
}

impl From<&finality::Offer> for Proposal {
    fn from(offer: &finality::Offer) -> Self {
        Self {
            height: Height(offer.height),
            round: round_to(offer.round),
            value: Name(offer.block),
            pol_round: offer.valid_round.map_or(Round::Nil, round_to),
            proposer: Key(offer.proposer),
        }
    }
}

impl core::Proposal<Bft> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &Name {
        &self.value
    }

    fn take_value(self) -> Name {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &Key {
        &self.proposer
    }
}

impl core::Context for Bft {
    type Address = Key;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Voter;
    type ValidatorSet = Voters;
    type Timeouts = LinearTimeouts;
    type Value = Name;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Scheme;

    fn select_proposer<'a>(&self, voters: &'a Voters, height: Height, round: Round) -> &'a Voter {
        let key = voters.proposer(height.0, round_of(round).unwrap_or_default());
        let chosen = voters.voters.iter().find(|one| one.key == key);
        chosen.unwrap_or(&voters.first)
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: Name,
        pol_round: Round,
        proposer: Key,
    ) -> Proposal {
        Proposal {
            height,
            round,
            value,
            pol_round,
            proposer,
        }
    }

    fn new_prevote(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<BlockId>,
        voter: Key,
    ) -> Vote {
        Vote {
            kind: VoteType::Prevote,
            height,
            round,
            value,
            voter,
        }
    }

    fn new_precommit(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<BlockId>,
        voter: Key,
    ) -> Vote {
        Vote {
            kind: VoteType::Precommit,
            ..self.new_prevote(height, round, value, voter)
        }
    }
}
