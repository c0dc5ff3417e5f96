//! What the engine asks, answered from the ledger: one question at a time, in order. Nothing is
//! answered that is not durable first.

use super::accuse::accuse;
use super::candidates::{Candidate, Candidates};
use super::codec::decided;
use super::config::timeouts;
use super::context::{Bft, Height as EngineHeight, Key, Name, Voters, round_of, round_to};
use super::parts::{Announcement, First, Part, cut};
use super::streams::{Streams, Whole};
use crate::ledger::{Ledger, LedgerError};
use crate::ordering::{OrderingError, now};
use crate::validator::ValidatorKeys;
use bytes::Bytes;
use holdfast_market_core::block::{Block, Certificate, CertifiedBlock, transactions_root};
use holdfast_market_core::execute::BlockError;
use holdfast_market_core::finality::Precommit;
use holdfast_market_core::message::{SigningContext, decode, encode};
use holdfast_market_core::query;
use holdfast_market_core::state::ValidatorSets;
use holdfast_market_core::units::{BlockId, Blocks, ByteCount, Height, Round};
use holdfast_proofs::crash::crash_point;
use malachitebft_app_channel::app::engine::host::{HeightParams, Next, SyncedValueOutcome};
use malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_app_channel::app::types::core::{self, CommitCertificate, Validity};
use malachitebft_app_channel::app::types::sync::RawDecidedValue;
use malachitebft_app_channel::app::types::{LocallyProposedValue, PeerId, ProposedValue};
use malachitebft_app_channel::{AppMsg, NetworkMsg};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

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

/// What is found of a block that came with its announcement.
enum Verdict {
    /// Its announcement does not fit it: nothing is said of the block.
    Nothing,
    /// It breaks a rule.
    Invalid,
    /// It is right, and kept.
    Valid,
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

    /// The block that we offer in a round: once built it stays ours for the height.
    async fn propose(
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
    fn announced_again(
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
    async fn publish(&mut self, first: First) -> Result<(), OrderingError> {
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

    /// Takes a part in; says what is found of the block that it completes.
    async fn part(
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
    async fn judge(&mut self, whole: Whole) -> Result<Verdict, OrderingError> {
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

    /// Looks at a block that others have decided; its certificate has been checked.
    async fn synced(
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
