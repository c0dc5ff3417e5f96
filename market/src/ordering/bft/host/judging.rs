//! The blocks that others offer or have decided: put together, and voted on by what is found of them.

use super::super::candidates::Candidate;
use super::super::context::{Bft, Height as EngineHeight, Key, Name};
use super::super::parts::Part;
use super::super::streams::Whole;
use super::{Host, aside, proposed};
use crate::ledger::LedgerError;
use crate::ordering::{OrderingError, now};
use bytes::Bytes;
use holdfast_market_core::block::{Block, transactions_root};
use holdfast_market_core::execute::BlockError;
use holdfast_market_core::message::{SigningContext, decode};
use holdfast_market_core::units::{Blocks, Height, Round};
use malachitebft_app_channel::app::engine::host::SyncedValueOutcome;
use malachitebft_app_channel::app::streaming::{StreamContent, StreamMessage};
use malachitebft_app_channel::app::types::core::{self, Validity};
use malachitebft_app_channel::app::types::{PeerId, ProposedValue};
use std::sync::Arc;

/// How far a block's time may be ahead of our clock, at least, when it is voted on.
const CLOCK_SKEW: u64 = 30_000;
/// The same in block intervals, where that is more.
const CLOCK_SKEW_BLOCKS: u64 = 10;
/// Rounds ahead of ours whose blocks are put together.
const ROUNDS_AHEAD: u32 = 10;
/// Rounds of a height that are looked through for a builder's turn, at most.
const MOST_ROUNDS: u32 = 10_000;
/// Different blocks of one proposer and round that are looked at, at most: an honest one has one.
const MOST_OF_A_ROUND: usize = 2;
/// Blocks of the height after the one being decided that wait for it, at most.
const MOST_EARLY: usize = 2;

/// What is found of a block that came with its announcement.
pub(super) enum Verdict {
    /// Its announcement does not fit it: nothing is said of the block.
    Nothing,
    /// It breaks a rule.
    Invalid,
    /// It is right, and kept.
    Valid,
}

impl Host {
    /// Takes a part in; says what is found of the block that it completes.
    pub(super) async fn part(
        &mut self,
        publisher: PeerId,
        message: StreamMessage<Part>,
    ) -> Result<Option<ProposedValue<Bft>>, OrderingError> {
        let key = (publisher.to_bytes(), message.stream_id.to_bytes().to_vec());
        let StreamContent::Data(part) = message.content else {
            return Ok(None);
        };
        let voters = match &part {
            Part::First(first) => self.voters(first.announcement.height)?,
            Part::Piece(_) => None,
        };
        let (network, round) = (self.ledger.network(), self.round);
        let next = self.ledger.head().height.after(Blocks(1));
        let announced = &mut self.announced;
        let whole = self.streams.take(key, message.sequence, part, |first| {
            let one = &first.announcement;
            // What a past round announced is not waited for any more.
            let rounds = match one.height == next {
                true => round.0..=round.0.saturating_add(ROUNDS_AHEAD),
                false => 0..=ROUNDS_AHEAD,
            };
            let is_near = rounds.contains(&one.round.0);
            let turn = voters.map(|voters| voters.proposer(one.height, one.round));
            let is_right = is_near
                && turn == Some(Key(one.proposer))
                && SigningContext::Stream.verify(
                    network,
                    one.proposer.as_bytes(),
                    one,
                    &first.signature,
                );
            let blocks = match is_right {
                true => announced.entry((one.height, one.round)).or_default(),
                false => return false,
            };
            if !blocks.contains(&one.block) && blocks.len() < MOST_OF_A_ROUND {
                blocks.push(one.block);
            }
            blocks.contains(&one.block)
        });
        let Some(whole) = whole else {
            return Ok(None);
        };
        let announcement = whole.first.announcement.clone();
        if announcement.height != next {
            if self.early.len() < MOST_EARLY {
                self.early.push(whole);
            }
            return Ok(None);
        }
        let validity = match self.judge(whole).await? {
            Verdict::Nothing => return Ok(None),
            Verdict::Invalid => Validity::Invalid,
            Verdict::Valid => Validity::Valid,
        };
        Ok(Some(proposed(
            (
                announcement.height,
                announcement.round,
                announcement.valid_round,
            ),
            Key(announcement.proposer),
            announcement.block,
            validity,
        )))
    }

    /// Looks at a block that came with its announcement, and keeps it where it is right.
    pub(super) async fn judge(&mut self, whole: Whole) -> Result<Verdict, OrderingError> {
        let Whole { first, bytes } = whole;
        let one = &first.announcement;
        let Some(voters) = self.voters(one.height)? else {
            return Ok(Verdict::Nothing);
        };
        if let Some(known) = self.candidates.get(&one.block) {
            let mut known = known.clone();
            if known.built.is_some() && known.first_of(one.round).is_none() {
                let id = one.block;
                if known.announced(first) {
                    self.candidates.keep(id, known)?;
                }
            }
            return Ok(Verdict::Valid);
        }
        let Ok(block) = decode::<Block>("block", &bytes) else {
            return Ok(Verdict::Nothing);
        };
        let header = &block.header;
        let builder = Key(header.builder);
        // Whoever offers a block anew says in which round it was prevoted; without that it is the
        // proposer's own.
        let is_turn = match one.valid_round {
            None => builder.0 == one.proposer,
            Some(round) => {
                // A round is near ours ([`Self::part`]), so this ends soon but where the network has
                // had no block for hours; then anybody has had a turn.
                round < one.round
                    && (0..=round.0.min(MOST_ROUNDS))
                        .any(|round| voters.proposer(one.height, Round(round)) == builder)
            }
        };
        let is_built = SigningContext::Block.verify(
            self.ledger.network(),
            header.builder.as_bytes(),
            header,
            &first.built,
        );
        // Other messages under an honest header are not the announced block, and say nothing of it.
        let fits = header.id().is_ok_and(|id| id == one.block) && header.height == one.height;
        if !fits || !is_turn || !is_built || !is_whole(&block) {
            return Ok(Verdict::Nothing);
        }
        let interval = u64::try_from(self.interval().as_millis()).unwrap_or(u64::MAX);
        let skew = interval.saturating_mul(CLOCK_SKEW_BLOCKS).max(CLOCK_SKEW);
        if header.time > now().saturating_add(skew) {
            return Ok(Verdict::Invalid);
        }
        let id = one.block;
        let candidate = Candidate {
            block,
            built: Some(first.built),
            firsts: vec![first],
        };
        match self.check(candidate).await? {
            Some(candidate) => {
                self.candidates.keep(id, candidate)?;
                Ok(Verdict::Valid)
            }
            None => Ok(Verdict::Invalid),
        }
    }

    /// Gives the candidate back where the ledger could take it.
    async fn check(&self, candidate: Candidate) -> Result<Option<Candidate>, OrderingError> {
        let ledger = Arc::clone(&self.ledger);
        let checked = aside(move || (ledger.check(&candidate.block), candidate));
        match checked.await? {
            (Ok(()), candidate) => Ok(Some(candidate)),
            (Err(error), candidate) if is_verdict(&error) => {
                tracing::warn!(
                    "block {} is refused: {error}",
                    candidate.block.header.height
                );
                Ok(None)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Looks at a block that others have decided; its certificate has been checked.
    pub(super) async fn synced(
        &mut self,
        (height, round, proposer): (Height, core::Round, Key),
        bytes: Bytes,
    ) -> Result<SyncedValueOutcome<Bft>, OrderingError> {
        let Ok(block) = decode::<Block>("block", &bytes) else {
            return Ok(SyncedValueOutcome::PeerFault);
        };
        let Ok(id) = block.header.id() else {
            return Ok(SyncedValueOutcome::PeerFault);
        };
        // The certificate is over the header: whoever sends other messages with it is a liar.
        if block.header.height != height || !is_whole(&block) {
            return Ok(SyncedValueOutcome::PeerFault);
        }
        let verdict = |validity| {
            SyncedValueOutcome::Verdict(ProposedValue {
                height: EngineHeight(height),
                round,
                valid_round: core::Round::Nil,
                proposer,
                value: Name(id),
                validity,
            })
        };
        if self.candidates.get(&id).is_some() {
            return Ok(verdict(Validity::Valid));
        }
        let candidate = Candidate {
            block,
            built: None,
            firsts: Vec::new(),
        };
        match self.check(candidate).await {
            Ok(Some(candidate)) => {
                self.candidates.keep(id, candidate)?;
                Ok(verdict(Validity::Valid))
            }
            Ok(None) => Ok(verdict(Validity::Invalid)),
            Err(error) => Err(error),
        }
    }
}

/// Whether the block's messages are those that its header names.
fn is_whole(block: &Block) -> bool {
    transactions_root(&block.messages).is_ok_and(|root| root == block.header.transactions_root)
}

/// Whether the error says that the block is wrong, and not that it could not be looked at.
fn is_verdict(error: &LedgerError) -> bool {
    match error {
        LedgerError::Block { source, .. } => !matches!(source, BlockError::State(_)),
        LedgerError::StateRoot { .. } | LedgerError::Unencodable(_) => true,
        _ => false,
    }
}
