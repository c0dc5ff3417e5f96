//! Following a chain by its headers alone, from one that is trusted: who ordered each block, and
//! which state root stands in it. Pure, and no larger than one header and its validators.
//!
//! # Which signatures are enough
//! A header names its parent by hash, and the validators of the block after it. So of a run of
//! headers that link, under one set of validators, one certificate at the run's end is enough: who
//! precommits a block precommits all that it names, and more than two thirds of the power did. But a
//! set is believed only from a header that the set before has certified: a header that names other
//! validators needs its own certificate, or whoever forged it could name himself and sign the rest.
//! By induction each set that is believed was named by a block that the set before it made final.
//!
//! That holds as long as no set that was followed has a third of its power, or more, with those who
//! lie: also not later, when the stake behind it is free again. Who was away for longer than stake
//! is bound begins at a block that he knows from elsewhere ([`LightChain::trust`]).

use crate::block::{Certificate, Header, Validator, validators_root};
use crate::finality::MOST_VALIDATORS;
use crate::genesis::Genesis;
use crate::message::Unencodable;
use crate::units::{BlockId, Blocks, Height, NetworkId, TreeRoot};
use serde::{Deserialize, Serialize};

/// What is read of a block to follow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightBlock {
    /// What the block says of itself.
    pub header: Header,
    /// Why it is final. A block between two others, which names no other validators than the one
    /// before it, does without.
    pub certificate: Option<Certificate>,
    /// The validators that the header names, where they are others than those that the header
    /// before it names.
    pub next_validators: Option<Vec<Validator>>,
}

/// Why a block is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LightError {
    /// Below what was followed, or the same.
    #[error(
        "block {given} is not above block {followed}, which was followed already; ask for the blocks after it"
    )]
    Older {
        /// Its height.
        given: Height,
        /// Where the chain stands.
        followed: Height,
    },
    /// A gap.
    #[error(
        "block {given} came where block {expected} was due; ask for the blocks from {expected} on"
    )]
    Gap {
        /// Its height.
        given: Height,
        /// The next one.
        expected: Height,
    },
    /// Another parent.
    #[error(
        "block {0} does not follow the block before it: it names another parent, so it is of another network or forged; ask another market"
    )]
    NotLinked(Height),
    /// The certificate is missing where one is needed.
    #[error(
        "block {0} comes without a certificate, and needs one: it is the last, or names other validators; ask another market"
    )]
    NoCertificate(Height),
    /// The certificate does not make it final.
    #[error(
        "the certificate of block {0} does not hold: not more than two thirds of the validators' power have signed for it on this network; ask another market"
    )]
    Certificate(Height),
    /// The list of validators is missing where one is needed.
    #[error("block {0} names other validators and comes without their list; ask another market")]
    NoValidators(Height),
    /// The list is not the one that the header names.
    #[error(
        "the validators beside block {0} are not those that its header names; ask another market"
    )]
    Validators(Height),
    /// A list that nobody can be ordered by, or that is too long.
    #[error("block {height} names {count} validators, and a network has 1 to {MOST_VALIDATORS}")]
    Count {
        /// The block's height; 0 is the genesis.
        height: Height,
        /// How many.
        count: usize,
    },
    /// Not the block that is trusted.
    #[error(
        "block {height} is {found}, and {wanted} is trusted; see whether the block's name is right, or ask another market"
    )]
    OtherBlock {
        /// The height.
        height: Height,
        /// What was given.
        found: BlockId,
        /// What is trusted.
        wanted: BlockId,
    },
    /// A value that DAG-CBOR cannot carry.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
}

/// A chain as far as it was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightChain {
    network: NetworkId,
    /// The last block that is known to be final; none at the genesis.
    header: Option<Header>,
    block: BlockId,
    /// They order the next block.
    validators: Vec<Validator>,
    validators_root: TreeRoot,
}

impl LightChain {
    /// Begins at the genesis, which is all that is trusted.
    ///
    /// # Errors
    /// A genesis without validators, or that DAG-CBOR cannot carry.
    pub fn begin(genesis: &Genesis) -> Result<Self, LightError> {
        let network = genesis.network()?;
        count(Height(0), &genesis.validators)?;
        Ok(Self {
            network,
            header: None,
            block: BlockId(network.0),
            validators_root: validators_root(&genesis.validators)?,
            validators: genesis.validators.clone(),
        })
    }

    /// Begins at a block that is trusted because its name is known from elsewhere. Its certificate
    /// is not looked at: who made it is not known.
    ///
    /// # Errors
    /// Another block, or validators that it does not name.
    pub fn trust(
        network: NetworkId,
        (height, block): (Height, BlockId),
        given: LightBlock,
    ) -> Result<Self, LightError> {
        let found = given.header.id()?;
        if (given.header.height, found) != (height, block) {
            return Err(LightError::OtherBlock {
                height,
                found,
                wanted: block,
            });
        }
        let validators = given
            .next_validators
            .ok_or(LightError::NoValidators(height))?;
        Self::at(network, given.header, validators)
    }

    /// Goes on where a header and the validators that it names were kept.
    ///
    /// # Errors
    /// Validators that it does not name.
    pub fn at(
        network: NetworkId,
        header: Header,
        validators: Vec<Validator>,
    ) -> Result<Self, LightError> {
        named(&header, &validators)?;
        Ok(Self {
            network,
            block: header.id()?,
            validators_root: header.next_validators,
            header: Some(header),
            validators,
        })
    }

    /// Of which network it is.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// The last block's height; 0 at the genesis.
    pub fn height(&self) -> Height {
        self.header
            .as_ref()
            .map_or(Height(0), |header| header.height)
    }

    /// The last block; the network id's bytes at the genesis.
    pub fn block(&self) -> BlockId {
        self.block
    }

    /// The last block's header; none at the genesis. Its state root is that of the state after the
    /// block before.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Who orders the next block.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// Follows the blocks after the last one, in order. Every certificate and every list that comes
    /// is checked, needed or not. Where something does not hold the chain stands at the last block
    /// before it that came with a certificate which holds.
    ///
    /// # Errors
    /// The first block that does not follow, and why; or a last one without a certificate.
    pub fn follow(&mut self, blocks: &[LightBlock]) -> Result<(), LightError> {
        let (mut height, mut parent) = (self.height(), self.block);
        for block in blocks {
            let header = &block.header;
            let given = header.height;
            if given <= height {
                return Err(LightError::Older {
                    given,
                    followed: height,
                });
            }
            let expected = height.after(Blocks(1));
            if given != expected {
                return Err(LightError::Gap { given, expected });
            }
            if header.parent != parent {
                return Err(LightError::NotLinked(given));
            }
            (height, parent) = (given, header.id()?);
            let changed = header.next_validators != self.validators_root;
            if let Some(validators) = &block.next_validators {
                named(header, validators)?;
            }
            let Some(certificate) = &block.certificate else {
                match changed {
                    true => return Err(LightError::NoCertificate(given)),
                    false => continue,
                }
            };
            if !certificate.is_final(header, self.network, &self.validators) {
                return Err(LightError::Certificate(given));
            }
            if changed {
                let validators = block.next_validators.clone();
                self.validators = validators.ok_or(LightError::NoValidators(given))?;
                self.validators_root = header.next_validators;
            }
            (self.header, self.block) = (Some(header.clone()), parent);
        }
        match height == self.height() {
            true => Ok(()),
            false => Err(LightError::NoCertificate(height)),
        }
    }
}

fn count(height: Height, validators: &[Validator]) -> Result<(), LightError> {
    match validators.len() {
        1..=MOST_VALIDATORS => Ok(()),
        count => Err(LightError::Count { height, count }),
    }
}

/// Whether these are the validators that a header names.
fn named(header: &Header, validators: &[Validator]) -> Result<(), LightError> {
    count(header.height, validators)?;
    match validators_root(validators)? == header.next_validators {
        true => Ok(()),
        false => Err(LightError::Validators(header.height)),
    }
}

/// Headers from one on, each the parent of the next: shows that a block lies below another one
/// without a signature, since each names its parent by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    height: Height,
    block: BlockId,
}

impl Line {
    /// Begins at a block.
    pub fn from(height: Height, block: BlockId) -> Self {
        Self { height, block }
    }

    /// Where it ends.
    pub fn end(&self) -> (Height, BlockId) {
        (self.height, self.block)
    }

    /// Goes on by the next header.
    ///
    /// # Errors
    /// A header of another height, or with another parent.
    pub fn push(&mut self, header: &Header) -> Result<(), LightError> {
        let expected = self.height.after(Blocks(1));
        if header.height != expected {
            return Err(LightError::Gap {
                given: header.height,
                expected,
            });
        }
        if header.parent != self.block {
            return Err(LightError::NotLinked(header.height));
        }
        (self.height, self.block) = (header.height, header.id()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
