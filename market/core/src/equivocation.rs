//! Evidence that a validator said two things where it may say one.

use crate::finality::{Ballot, Offer};
use crate::units::{Address, Height, NetworkId, Signature};
use serde::{Deserialize, Serialize};

/// A ballot with its voter's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedBallot {
    /// What was signed.
    pub ballot: Ballot,
    /// The voter's.
    pub signature: Signature,
}

/// An offer with its proposer's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedOffer {
    /// What was signed.
    pub offer: Offer,
    /// The proposer's.
    pub signature: Signature,
}

/// Two statements of one validator that cannot both be honest. Nobody but the holder of its key can
/// make them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Equivocation {
    /// Two votes of one kind in one round, for different blocks (or for one and for none).
    Ballots {
        /// One of them.
        first: SignedBallot,
        /// The other.
        second: SignedBallot,
    },
    /// Two offers in one round.
    Offers {
        /// One of them.
        first: SignedOffer,
        /// The other.
        second: SignedOffer,
    },
}

/// Who said two things, about the block of which height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// The validator's consensus key.
    pub key: Address,
    /// Of the block that it was about.
    pub height: Height,
}

/// Why two statements show nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoEquivocation {
    /// They are of two validators, heights, rounds or kinds.
    #[error("the two statements are not of one validator for one vote of one round")]
    Apart,
    /// They say the same.
    #[error("the two statements say the same")]
    Same,
    /// One of them was not signed by whom it names.
    #[error("one of the two statements is not signed by the validator that it names")]
    Signature,
}

impl Equivocation {
    /// Whom the two statements show.
    ///
    /// # Errors
    /// Statements that an honest validator could have made, or that this one did not make.
    pub fn culprit(&self, network: NetworkId) -> Result<Culprit, NoEquivocation> {
        let (together, differ, signed, culprit) = match self {
            Self::Ballots { first, second } => {
                let (one, two) = (&first.ballot, &second.ballot);
                (
                    (one.kind, one.height, one.round, one.voter)
                        == (two.kind, two.height, two.round, two.voter),
                    one.block != two.block,
                    [first, second]
                        .iter()
                        .all(|one| one.ballot.is_signed(network, &one.signature)),
                    Culprit {
                        key: one.voter,
                        height: one.height,
                    },
                )
            }
            Self::Offers { first, second } => {
                let (one, two) = (&first.offer, &second.offer);
                (
                    (one.height, one.round, one.proposer) == (two.height, two.round, two.proposer),
                    one != two,
                    [first, second]
                        .iter()
                        .all(|one| one.offer.is_signed(network, &one.signature)),
                    Culprit {
                        key: one.proposer,
                        height: one.height,
                    },
                )
            }
        };
        if !together {
            return Err(NoEquivocation::Apart);
        }
        if !differ {
            return Err(NoEquivocation::Same);
        }
        if !signed {
            return Err(NoEquivocation::Signature);
        }
        Ok(culprit)
    }
}
