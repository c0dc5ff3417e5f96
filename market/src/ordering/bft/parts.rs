//! A block on its way: gossip carries it in parts. The first is signed by whose turn it is; nothing
//! of anybody else's is put together.

use super::context::Bft;
use holdfast_market_core::block::MAX_BYTES;
use holdfast_market_core::units::{Address, BlockId, ByteCount, Height, Round, Signature};
use malachitebft_app_channel::app::types::core::ProposalPart;
use serde::{Deserialize, Serialize};

/// Bytes of a block in one part. Few and large: the engine forgets the oldest of 128 events where
/// somebody is slow.
pub const PIECE_BYTES: usize = 512 << 10;
/// Bytes of a block as it travels, at most: its messages, and what they lie in.
pub const LONGEST_BLOCK: usize = MAX_BYTES + (64 << 10);

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Number 0: what follows.
    First(Box<First>),
    /// From number 1 on, in order: [`PIECE_BYTES`] of the block, the last one less.
    Piece(#[serde(with = "serde_bytes")] Vec<u8>),
}

impl ProposalPart<Bft> for Part {
    fn is_first(&self) -> bool {
        matches!(self, Self::First(_))
    }

    // Which is the last one is said by the first.
    fn is_last(&self) -> bool {
        false
    }
}

/// What follows, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct First {
    /// What follows.
    pub announcement: Announcement,
    /// Of the announcement, by its proposer
    /// ([`holdfast_market_core::message::SigningContext::Stream`]).
    pub signature: Signature,
    /// Of the block's header, by its builder
    /// ([`holdfast_market_core::message::SigningContext::Block`]): nobody puts messages under
    /// another's beacon.
    pub built: Signature,
}

/// A block that follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Its height.
    pub height: Height,
    /// The round that it is offered in.
    pub round: Round,
    /// The earlier round in which two thirds prevoted it, where there is one.
    pub valid_round: Option<Round>,
    /// Its name.
    pub block: BlockId,
    /// How long its bytes are.
    pub bytes: ByteCount,
    /// Whose turn it is.
    pub proposer: Address,
}

impl Announcement {
    /// How many pieces follow; none where the block is empty or longer than any.
    pub fn pieces(&self) -> Option<usize> {
        let bytes = usize::try_from(self.bytes.0).ok()?;
        (1..=LONGEST_BLOCK)
            .contains(&bytes)
            .then(|| bytes.div_ceil(PIECE_BYTES))
    }
}

/// The parts of a block with their numbers.
pub fn cut(first: First, block: &[u8]) -> impl Iterator<Item = (u64, Part)> {
    let pieces = block
        .chunks(PIECE_BYTES)
        .map(|piece| Part::Piece(piece.to_vec()));
    (0..).zip(std::iter::once(Part::First(Box::new(first))).chain(pieces))
}
