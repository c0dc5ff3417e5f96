//! What the engine asks, answered from the ledger: one question at a time, in order. Nothing is
//! answered that is not durable first.

mod judging;
mod offering;

use super::accuse::accuse;
use super::candidates::Candidates;
use super::codec::decided;
use super::config::timeouts;
use super::context::{Bft, Height as EngineHeight, Key, Name, Voters, round_of, round_to};
use super::streams::{Streams, Whole};
use crate::ledger::{Ledger, LedgerError};
use crate::ordering::OrderingError;
use crate::validator::ValidatorKeys;
use holdfast_market_core::block::{Certificate, CertifiedBlock};
use holdfast_market_core::finality::Precommit;
use holdfast_market_core::message::encode;
use holdfast_market_core::query;
use holdfast_market_core::state::ValidatorSets;
use holdfast_market_core::units::{BlockId, Blocks, Height, Round};
use holdfast_proofs::crash::crash_point;
use malachitebft_app_channel::app::engine::host::{HeightParams, Next};
use malachitebft_app_channel::app::types::ProposedValue;
use malachitebft_app_channel::app::types::core::{self, CommitCertificate, Validity};
use malachitebft_app_channel::app::types::sync::RawDecidedValue;
use malachitebft_app_channel::{AppMsg, NetworkMsg};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What is answered from.
pub struct Host {
    ledger: Arc<Ledger>,
    /// A validator's; whoever only follows has none.
    keys: Option<Arc<ValidatorKeys>>,
    candidates: Candidates,
    streams: Streams,
    /// Blocks that came before their height.
    early: Vec<Whole>,
    round: Round,
    /// Blocks that were announced for the height, by round: more than two of one are not looked at.
    announced: BTreeMap<(Height, Round), Vec<BlockId>>,
    streamed: u64,
    network: mpsc::Sender<NetworkMsg<Bft>>,
    #[cfg(test)]
    lie: Option<super::tests::Lie>,
}

/// Runs what waits for the disk or computes for long where that keeps nobody waiting.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OrderingError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| OrderingError::Failed(error.to_string()))
}

impl Host {
    /// The host of a market whose data lie in `data`.
    pub fn new(
        ledger: Arc<Ledger>,
        keys: Option<Arc<ValidatorKeys>>,
        data: &Path,
        network: mpsc::Sender<NetworkMsg<Bft>>,
    ) -> Result<Self, OrderingError> {
        let candidates = Candidates::open(data, ledger.network(), ledger.head().height)?;
        Ok(Self {
            ledger,
            keys,
            candidates,
            streams: Streams::default(),
            early: Vec::new(),
            round: Round(0),
            announced: BTreeMap::new(),
            streamed: 0,
            network,
            #[cfg(test)]
            lie: None,
        })
    }

    /// The same, offering blocks that are not right.
    #[cfg(test)]
    pub fn telling(self, lie: Option<super::tests::Lie>) -> Self {
        Self { lie, ..self }
    }

    /// Answers one question. A reply that nobody waits for any more is let go.
    pub async fn answer(&mut self, message: AppMsg<Bft>) -> Result<(), OrderingError> {
        match message {
            AppMsg::ConsensusReady { reply } => {
                let (height, parameters) = self.next_height()?;
                let _ = reply.send((height, parameters));
            }
            AppMsg::StartedRound {
                height,
                round,
                reply_value,
                ..
            } => {
                let values = self.started(height.0, round).await?;
                let _ = reply_value.send(values);
            }
            AppMsg::GetValue {
                height,
                round,
                reply,
                ..
            } => {
                let round = round_of(round).unwrap_or_default();
                // No reply: nothing is proposed, and the round passes.
                if let Some((first, value)) = self.propose(height.0, round).await? {
                    let _ = reply.send(value);
                    self.publish(first).await?;
                }
            }
            AppMsg::ExtendVote { reply, .. } => {
                let _ = reply.send(None);
            }
            AppMsg::VerifyVoteExtensions {
                extensions, reply, ..
            } => {
                let verdicts = extensions.into_iter().map(|(voter, ())| (voter, Ok(())));
                let _ = reply.send(verdicts.collect());
            }
            AppMsg::RestreamProposal {
                height,
                round,
                valid_round,
                address,
                value_id,
            } => {
                let rounds = (round_of(round).unwrap_or_default(), round_of(valid_round));
                if let Some(first) = self.announced_again(height.0, rounds, address, value_id)? {
                    self.publish(first).await?;
                }
            }
            AppMsg::GetHistoryMinHeight { reply } => {
                let _ = reply.send(EngineHeight(Height(1)));
            }
            AppMsg::ReceivedProposalPart {
                from,
                published_by,
                part,
                reply,
            } => {
                let value = self.part(published_by.unwrap_or(from), part).await?;
                let _ = reply.send(value);
            }
            AppMsg::Decided {
                certificate, reply, ..
            } => {
                self.decide(certificate).await?;
                let _ = reply.send(());
            }
            AppMsg::Finalized {
                evidence, reply, ..
            } => {
                if let Some(keys) = &self.keys {
                    accuse(&self.ledger, keys, &evidence)?;
                }
                let (height, parameters) = self.next_height()?;
                let _ = reply.send(Next::Start(height, parameters));
            }
            AppMsg::GetDecidedValues { range, reply } => {
                let _ = reply.send(self.decided(range.start().0, range.end().0).await?);
            }
            AppMsg::ProcessSyncedValue {
                height,
                round,
                proposer,
                value_bytes,
                reply,
            } => {
                let value = (height.0, round, proposer);
                let _ = reply.send(self.synced(value, value_bytes).await?);
            }
        }
        Ok(())
    }

    fn sets(&self) -> Result<ValidatorSets, OrderingError> {
        Ok(query::validators(&self.ledger.view()).map_err(LedgerError::from)?)
    }

    /// The validators of a height that is next, or the one after.
    fn voters(&self, height: Height) -> Result<Option<Voters>, OrderingError> {
        let next = self.ledger.head().height.after(Blocks(1));
        let sets = self.sets()?;
        let validators = match height {
            height if height == next => sets.next,
            height if height == next.after(Blocks(1)) => sets.after,
            _ => return Ok(None),
        };
        Ok(Voters::new(validators))
    }

    fn interval(&self) -> Duration {
        let parameters = &self.ledger.genesis().parameters;
        Duration::from_millis(parameters.block_interval_ms.max(1))
    }

    /// The height that is to be decided, its validators and how long each step waits.
    fn next_height(&self) -> Result<(EngineHeight, HeightParams<Bft>), OrderingError> {
        let height = self.ledger.head().height.after(Blocks(1));
        let voters = self.voters(height)?.ok_or_else(|| {
            OrderingError::Failed(format!(
                "block {height} has no validators that could order it"
            ))
        })?;
        let interval = self.interval();
        let parameters = HeightParams::new(voters, timeouts(interval), Some(interval));
        Ok((EngineHeight(height), parameters))
    }

    /// What is known of a height when a round of it begins.
    async fn started(
        &mut self,
        height: Height,
        round: core::Round,
    ) -> Result<Vec<ProposedValue<Bft>>, OrderingError> {
        self.round = round_of(round).unwrap_or_default();
        self.streams.forget_before(height, self.round);
        for whole in std::mem::take(&mut self.early) {
            if whole.first.announcement.height == height {
                self.judge(whole).await?;
            }
        }
        let Some(voters) = self.voters(height)? else {
            return Ok(Vec::new());
        };
        let known = self.candidates.at(height).filter_map(|(id, candidate)| {
            let (round, valid_round) = candidate.round()?;
            Some(proposed(
                (height, round, valid_round),
                voters.proposer(height, round),
                *id,
                Validity::Valid,
            ))
        });
        Ok(known.collect())
    }

    /// Commits what is decided. After a crash the same comes again.
    async fn decide(&mut self, certificate: CommitCertificate<Bft>) -> Result<(), OrderingError> {
        let height = certificate.height.0;
        if height <= self.ledger.head().height {
            return Ok(());
        }
        let missing = || {
            OrderingError::Failed(format!(
                "block {height}, which is decided, is not among the candidates of this market; remove its consensus log, and it fetches the block from the others"
            ))
        };
        let candidate = self.candidates.get(&certificate.value_id);
        let block = candidate.ok_or_else(missing)?.block.clone();
        let mut precommits: Vec<Precommit> = certificate
            .commit_signatures
            .iter()
            .map(|one| Precommit {
                voter: one.address.0,
                signature: one.signature,
            })
            .collect();
        precommits.sort_by_key(|one| one.voter);
        precommits.dedup_by_key(|one| one.voter);
        let certified = CertifiedBlock {
            block,
            certificate: Certificate::Bft {
                round: round_of(certificate.round).unwrap_or_default(),
                precommits,
            },
        };
        crash_point("validators.decided");
        let ledger = Arc::clone(&self.ledger);
        aside(move || {
            ledger.commit(&certified)?;
            crate::history::record(&ledger, height)
        })
        .await??;
        crash_point("validators.committed");
        self.candidates.forget(height);
        self.streams.forget(height);
        self.announced.retain(|(at, _), _| *at > height);
        Ok(())
    }

    /// Blocks for one who catches up, from `from` on without a gap.
    async fn decided(
        &self,
        from: Height,
        to: Height,
    ) -> Result<Vec<RawDecidedValue<Bft>>, OrderingError> {
        let ledger = Arc::clone(&self.ledger);
        let blocks = match aside(move || ledger.blocks(from..=to)).await? {
            Ok(blocks) => blocks,
            // Another market may have what this one has lost; it goes on ordering.
            Err(error) => {
                tracing::error!("blocks for another market cannot be read: {error}");
                return Ok(Vec::new());
            }
        };
        let mut values = Vec::new();
        for certified in &blocks {
            let header = &certified.block.header;
            // What one signer ordered before is no other's to vote on.
            let Certificate::Bft { round, precommits } = &certified.certificate else {
                break;
            };
            let id = header.id().map_err(LedgerError::from)?;
            let bytes = encode(&certified.block).map_err(LedgerError::from)?;
            let certificate = decided(header.height, *round, id, precommits);
            values.push(RawDecidedValue::new(bytes.into(), certificate));
        }
        Ok(values)
    }
}

fn proposed(
    (height, round, valid_round): (Height, Round, Option<Round>),
    proposer: Key,
    block: BlockId,
    validity: Validity,
) -> ProposedValue<Bft> {
    ProposedValue {
        height: EngineHeight(height),
        round: round_to(round),
        valid_round: valid_round.map_or(core::Round::Nil, round_to),
        // The round's, never the block's builder: the engine takes two of one round for a defect.
        proposer,
        value: Name(block),
        validity,
    }
}
