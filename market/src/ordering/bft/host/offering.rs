//! The block that this market offers, and those that it offers once more.

use super::super::candidates::Candidate;
use super::super::context::{Bft, Height as EngineHeight, Key, Name, round_to};
use super::super::parts::{Announcement, First, cut};
use super::{Host, aside};
use crate::ledger::LedgerError;
use crate::ordering::{OrderingError, now};
use bytes::Bytes;
use holdfast_market_core::message::{SigningContext, encode};
use holdfast_market_core::units::{BlockId, Blocks, ByteCount, Height, Round};
use malachitebft_app_channel::NetworkMsg;
use malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_app_channel::app::types::LocallyProposedValue;
use std::sync::Arc;

impl Host {
    /// The block that we offer in a round: once built it stays ours for the height.
    pub(super) async fn propose(
        &mut self,
        height: Height,
        round: Round,
    ) -> Result<Option<(First, LocallyProposedValue<Bft>)>, OrderingError> {
        let Some(keys) = self.keys.clone() else {
            return Ok(None);
        };
        let head = self.ledger.head().height;
        if height != head.after(Blocks(1)) {
            return Ok(None);
        }
        let (id, mut candidate) = match self.candidates.built_by(height, keys.address()) {
            Some((id, candidate)) => (*id, candidate.clone()),
            None => {
                let ledger = Arc::clone(&self.ledger);
                let builder = Arc::clone(&keys);
                let built = aside(move || {
                    let block = ledger.propose(&builder, now())?;
                    let built = SigningContext::Block.sign(
                        ledger.network(),
                        builder.consensus(),
                        &block.header,
                    )?;
                    Ok::<_, LedgerError>((block.header.id()?, block, built))
                });
                let (id, block, built) = built.await??;
                #[cfg(test)]
                let (id, block, built) = match self.lie {
                    Some(lie) => lie.tell(&self.ledger, &keys, block),
                    None => (id, block, built),
                };
                let candidate = Candidate {
                    block,
                    built: Some(built),
                    firsts: Vec::new(),
                };
                (id, candidate)
            }
        };
        let Some(first) = self.announce(&candidate, (round, None), id)? else {
            return Ok(None);
        };
        candidate.announced(first.clone());
        self.candidates.keep(id, candidate)?;
        let value = LocallyProposedValue::new(EngineHeight(height), round_to(round), Name(id));
        Ok(Some((first, value)))
    }

    /// A first part of ours.
    fn announce(
        &self,
        candidate: &Candidate,
        (round, valid_round): (Round, Option<Round>),
        id: BlockId,
    ) -> Result<Option<First>, OrderingError> {
        let (Some(keys), Some(built)) = (&self.keys, candidate.built) else {
            return Ok(None);
        };
        let bytes = encode(&candidate.block).map_err(LedgerError::from)?.len();
        let announcement = Announcement {
            height: candidate.block.header.height,
            round,
            valid_round,
            block: id,
            bytes: ByteCount(u64::try_from(bytes).unwrap_or(u64::MAX)),
            proposer: keys.address(),
        };
        let signature = SigningContext::Stream
            .sign(self.ledger.network(), keys.consensus(), &announcement)
            .map_err(LedgerError::from)?;
        Ok(Some(First {
            announcement,
            signature,
            built,
        }))
    }

    /// The first part with which a block that is known goes out once more.
    pub(super) fn announced_again(
        &mut self,
        height: Height,
        (round, valid_round): (Round, Option<Round>),
        proposer: Key,
        id: BlockId,
    ) -> Result<Option<First>, OrderingError> {
        let Some(candidate) = self.candidates.get(&id) else {
            return Ok(None);
        };
        if candidate.block.header.height != height {
            return Ok(None);
        }
        match &self.keys {
            Some(keys) if keys.address() == proposer.0 => {
                self.announce(candidate, (round, valid_round), id)
            }
            _ => Ok(candidate.first_of(round).cloned()),
        }
    }

    /// Sends a block that is kept.
    pub(super) async fn publish(&mut self, first: First) -> Result<(), OrderingError> {
        let Some(candidate) = self.candidates.get(&first.announcement.block) else {
            return Ok(());
        };
        let bytes = encode(&candidate.block).map_err(LedgerError::from)?;
        self.streamed = self.streamed.saturating_add(1);
        let announcement = &first.announcement;
        let mut stream = Vec::new();
        stream.extend(announcement.height.0.to_be_bytes());
        stream.extend(announcement.round.0.to_be_bytes());
        stream.extend(self.streamed.to_be_bytes());
        let stream = StreamId::new(Bytes::from(stream));
        for (number, part) in cut(first, &bytes) {
            let part = StreamMessage::new(stream.clone(), number, StreamContent::Data(part));
            let sent = self.network.send(NetworkMsg::PublishProposalPart(part));
            if sent.await.is_err() {
                // The engine has ended; that is seen where it is asked.
                return Ok(());
            }
        }
        Ok(())
    }
}
