//! Reading a range of a pack from any k of its shards: verified group by group, slow peers hedged,
//! lying and failing ones replaced.

use super::{PeerFault, Purse, list};
use crate::bao::{BaoError, encoded_length, verify_body};
use crate::erasure::{CodeError, Coder};
use crate::pack::range::Segment;
use crate::pack::{LayoutError, PackLayout};
use crate::protocol::{ByteRange, GetShard, PaymentDue, Request, Response, truncate};
use crate::quic::{CallError, Peers};
use bytes::Bytes;
use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
use holdfast_market_core::message::{PackHeader, Unencodable};
use holdfast_market_core::units::{ByteCount, NodeKey, PackId, ProviderId, ShardIndex, ShardRoot};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Segments that are read at once: hides the way there and back, bounds memory.
const AT_ONCE: usize = 3;
/// Where a peer sent nothing for so long, further ones are asked beside it.
const HEDGE: Duration = Duration::from_millis(800);
/// A peer that has not answered a segment in this time has failed.
const PEER_TIME: Duration = Duration::from_secs(20);
/// A deposit that is not made in this time is not waited for.
const PAYING_TIME: Duration = Duration::from_secs(90);
/// So often a peer may ask for payment before it sends one segment: for a channel, for what was sent
/// before, for a larger deposit.
const PAYMENTS: u32 = 6;
/// After so many failures a peer is not asked again in this fetch.
const FAILURES: u32 = 2;

/// Where one shard may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSource {
    /// Which shard.
    pub shard: ShardIndex,
    /// Whose it is.
    pub provider: ProviderId,
    /// Its QUIC identity.
    pub node: NodeKey,
    /// `host:port`.
    pub endpoint: String,
}

/// Why a range was not read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The pack's header has no layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The code refuses.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The range is not inside the pack.
    #[error("bytes {start} to {end} are not inside a pack of {length} bytes", start = range.start, end = range.end)]
    Range {
        /// What was asked for.
        range: ByteRange,
        /// The pack's bytes.
        length: ByteCount,
    },
    /// Too few shards can be read.
    #[error("{need} shards are needed and {have} could be read: {}", list(faults))]
    TooFew {
        /// How many were read.
        have: usize,
        /// How many are needed.
        need: u8,
        /// Who failed how.
        faults: Vec<PeerFault>,
    },
    /// A value that DAG-CBOR cannot carry.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// The task was stopped.
    #[error("the fetch was stopped: {0}")]
    Stopped(String),
}

/// Reads a range of a pack, piece by piece in order.
pub struct Fetcher {
    shared: Arc<Shared>,
    pieces: BoxStream<'static, Result<Bytes, FetchError>>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher")
            .field("pack", &self.shared.pack)
            .finish_non_exhaustive()
    }
}

struct Shared {
    peers: Peers,
    purse: Option<Arc<Purse>>,
    pack: PackId,
    layout: PackLayout,
    shard_length: ByteCount,
    sources: Vec<Candidate>,
    faults: Mutex<Vec<PeerFault>>,
    health: Mutex<Vec<Health>>,
}

struct Candidate {
    source: ShardSource,
    root: ShardRoot,
}

/// What this fetch knows of a candidate so far.
#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    slow: u32,
    lied: bool,
}

impl Health {
    const fn usable(self) -> bool {
        !self.lied && self.failures < FAILURES
    }
}

/// What one answer brings.
enum Read {
    /// The bytes, verified.
    Bytes(Vec<u8>),
    /// None before this is paid.
    Due(PaymentDue),
}

/// How far the reading from one candidate is.
#[derive(Default)]
struct Progress {
    verified: AtomicU64,
    /// Whether it waits for this side's payment.
    paying: AtomicBool,
}

/// Why one shard was not read.
enum Miss {
    /// Other bytes than the shard's, or another length.
    Lie(String),
    /// It will not be had from this peer: not found, cold, not answering.
    Gone(String),
    /// It may be had when asked again.
    Failed(String),
}

impl Fetcher {
    /// A fetch of `range` of the pack. `sources` says where its shards may be read; several may
    /// have the same shard. Providers that want to be paid for it are paid by `purse`; without one
    /// they are gone around.
    ///
    /// # Errors
    /// A header without layout, a range that is not inside the pack.
    pub fn new(
        peers: &Peers,
        purse: Option<Arc<Purse>>,
        header: &PackHeader,
        sources: Vec<ShardSource>,
        range: ByteRange,
    ) -> Result<Self, FetchError> {
        let layout = PackLayout::of(header)?;
        if range.start > range.end || range.end > header.length.0 {
            return Err(FetchError::Range {
                range,
                length: header.length,
            });
        }
        let sources: Vec<_> = sources
            .into_iter()
            .filter_map(|source| {
                let root = *header.shard_roots.get(source.shard.position())?;
                Some(Candidate { source, root })
            })
            .collect();
        let shared = Arc::new(Shared {
            peers: peers.clone(),
            purse,
            pack: header.id()?,
            layout,
            shard_length: header.shard_length,
            health: Mutex::new(
                sources
                    .iter()
                    .map(|candidate| Health {
                        slow: peers.is_troubled(candidate.source.node).into(),
                        ..Health::default()
                    })
                    .collect(),
            ),
            sources,
            faults: Mutex::default(),
        });
        let segments = futures::stream::iter(layout.segments(range));
        let reader = shared.clone();
        let pieces = segments
            .map(move |segment| read_segment(reader.clone(), segment))
            .buffered(AT_ONCE)
            .boxed();
        Ok(Self { shared, pieces })
    }

    /// The next bytes of the range, or nothing after its last.
    ///
    /// # Errors
    /// Fewer than k shards can be read; who failed how is in the error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        self.pieces.next().await.transpose()
    }

    /// All of the range, for one that fits memory.
    ///
    /// # Errors
    /// As [`Fetcher::next`].
    pub async fn read_all(&mut self) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Who failed how so far; the fetch went around them.
    pub fn faults(&self) -> Vec<PeerFault> {
        self.shared.faults()
    }
}

impl Shared {
    fn faults(&self) -> Vec<PeerFault> {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn health(&self, candidate: usize, change: impl FnOnce(&mut Health)) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(health) = health.get_mut(candidate) {
            change(health);
        }
    }

    fn stalled(&self, candidate: usize) {
        self.health(candidate, |health| {
            health.slow = health.slow.saturating_add(1);
        });
        if let Some(candidate) = self.sources.get(candidate) {
            self.peers.note_trouble(candidate.source.node);
        }
    }

    fn record(&self, candidate: usize, miss: Miss) {
        let (lied, reason) = match miss {
            Miss::Lie(reason) => {
                self.health(candidate, |health| health.lied = true);
                (true, reason)
            }
            Miss::Gone(reason) => {
                self.health(candidate, |health| health.failures = FAILURES);
                (false, reason)
            }
            Miss::Failed(reason) => {
                self.health(candidate, |health| {
                    health.failures = health.failures.saturating_add(1);
                });
                (false, reason)
            }
        };
        let Some(candidate) = self.sources.get(candidate) else {
            return;
        };
        self.peers.note_trouble(candidate.source.node);
        let mut reason = reason;
        truncate(&mut reason, 400);
        let fault = PeerFault {
            provider: candidate.source.provider,
            shard: candidate.source.shard,
            lied,
            reason,
            told_by: None,
        };
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        // Segments read at once meet the same fault; it is told once.
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }

    /// Candidates that may be asked, best first: those that did not fail or dawdle, then those
    /// that hold a wanted column.
    fn ranked(&self, columns: (u8, u8)) -> Vec<(usize, ShardIndex)> {
        let health = self
            .health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut ranked: Vec<_> = self
            .sources
            .iter()
            .zip(&health)
            .enumerate()
            .filter(|(_, (_, health))| health.usable())
            .map(|(candidate, (source, health))| {
                let shard = source.source.shard;
                let wanted = (columns.0..=columns.1).contains(&shard.0);
                let rank = (health.failures, health.slow, !wanted, shard);
                (rank, candidate, shard)
            })
            .collect();
        ranked.sort_unstable();
        ranked
            .into_iter()
            .map(|(_, candidate, shard)| (candidate, shard))
            .collect()
    }

    /// Asks one candidate for the segment's bytes of its shard, and pays for them where it wants that.
    async fn ask(
        &self,
        candidate: usize,
        range: ByteRange,
        progress: &Progress,
    ) -> Result<Vec<u8>, Miss> {
        let Some(candidate) = self.sources.get(candidate) else {
            return Err(Miss::Gone("no such candidate".into()));
        };
        let source = &candidate.source;
        for _ in 0..PAYMENTS {
            let reading = self.read(candidate, range, &progress.verified);
            let read = tokio::time::timeout(PEER_TIME, reading)
                .await
                .unwrap_or_else(|_| {
                    let seconds = PEER_TIME.as_secs();
                    Err(Miss::Failed(format!("it gave no answer in {seconds} s")))
                })?;
            let due = match read {
                Read::Bytes(bytes) => {
                    self.peers.note_success(source.node);
                    return Ok(bytes);
                }
                Read::Due(due) => due,
            };
            let Some(purse) = &self.purse else {
                let price = due.price;
                return Err(Miss::Gone(format!("it wants {price} for reading a GiB")));
            };
            // In a task of its own: a deposit that is under way is not forgotten with this read.
            let (purse, provider) = (purse.clone(), source.provider);
            let bytes = self.sent_for(range);
            let meeting = tokio::spawn(async move { purse.meet(provider, &due, bytes).await });
            progress.paying.store(true, Ordering::Relaxed);
            let met = tokio::time::timeout(PAYING_TIME, meeting).await;
            progress.paying.store(false, Ordering::Relaxed);
            match met {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => return Err(Miss::Gone(error.to_string())),
                Ok(Err(error)) => return Err(Miss::Failed(error.to_string())),
                Err(_) => {
                    let seconds = PAYING_TIME.as_secs();
                    let reason = format!("the ledger did not take its deposit in {seconds} s");
                    return Err(Miss::Failed(reason));
                }
            }
        }
        Err(Miss::Gone("it was paid as it asked and asks again".into()))
    }

    /// Bytes that go over the line for a range of a shard: what it costs.
    fn sent_for(&self, range: ByteRange) -> ByteCount {
        encoded_length(self.shard_length, &[range]).unwrap_or_default()
    }

    /// Asks once, with the voucher for everything had so far.
    async fn read(
        &self,
        candidate: &Candidate,
        range: ByteRange,
        verified: &AtomicU64,
    ) -> Result<Read, Miss> {
        let Candidate { source, root } = candidate;
        let (mut voucher, mut under_way, mut ranges) = (None, None, vec![range]);
        if let Some(purse) = &self.purse {
            let signed = purse.voucher(source.provider);
            voucher = signed.map_err(|error| Miss::Gone(error.to_string()))?;
            if purse.is_unsure(source.provider) {
                ranges.clear();
            } else {
                under_way = Some(purse.begin(source.provider, self.sent_for(range)));
            }
        }
        let asking = async {
            let connection = self.peers.connect(&source.endpoint, source.node).await?;
            let request = Request::GetShard(GetShard {
                pack: self.pack,
                shard: source.shard,
                ranges,
                voucher,
            });
            let exchange = connection.open(&request, ByteCount(0)).await?;
            exchange.answer().await
        };
        let (response, body) = asking.await.map_err(miss)?;
        match response {
            Response::Shard { length } if length == self.shard_length => {
                verify_body(*root, length, range, body, verified)
                    .await
                    .map(|bytes| {
                        if let Some(read) = under_way {
                            read.received();
                        }
                        Read::Bytes(bytes)
                    })
                    .map_err(|error| match error {
                        error if error.is_lie() => Miss::Lie(error.to_string()),
                        error @ (BaoError::Short | BaoError::Long) => Miss::Lie(error.to_string()),
                        error => Miss::Failed(error.to_string()),
                    })
            }
            Response::Shard { length } => Err(Miss::Lie(format!(
                "it says that the shard has {length} bytes, and it has {}",
                self.shard_length
            ))),
            Response::PaymentDue(due) => Ok(Read::Due(due)),
            _ => Err(Miss::Gone("it answered another question".into())),
        }
    }
}

fn miss(error: CallError) -> Miss {
    use crate::protocol::RefusalCode;
    let reason = error.to_string();
    match error {
        CallError::Refused(refusal) if refusal.code != RefusalCode::Busy => Miss::Gone(reason),
        CallError::Unreachable { .. }
        | CallError::OtherNetwork { .. }
        | CallError::Address(_)
        | CallError::Unexpected(_)
        | CallError::Frame(_) => Miss::Gone(reason),
        _ => Miss::Failed(reason),
    }
}

/// The columns of one segment as they come in.
struct Gathering {
    columns: Vec<Option<Vec<u8>>>,
    wanted: (u8, u8),
    k: u8,
}

impl Gathering {
    fn have(&self) -> usize {
        self.columns.iter().flatten().count()
    }

    fn has(&self, shard: ShardIndex) -> bool {
        self.columns
            .get(shard.position())
            .is_some_and(Option::is_some)
    }

    fn has_wanted(&self) -> bool {
        (self.wanted.0..=self.wanted.1).all(|column| self.has(ShardIndex(column)))
    }

    fn is_enough(&self) -> bool {
        self.have() >= usize::from(self.k) || self.has_wanted()
    }
}

/// A candidate that was asked for a segment's bytes.
struct Asked {
    candidate: usize,
    shard: ShardIndex,
    progress: Arc<Progress>,
    // What of it had come at the last look.
    seen: u64,
    // It sent nothing between two looks; what it still sends counts all the same.
    slow: bool,
}

impl Asked {
    /// Whether it was in order at the last look and has sent nothing since.
    fn stalls(&mut self) -> bool {
        let verified = self.progress.verified.load(Ordering::Relaxed);
        let paying = self.progress.paying.load(Ordering::Relaxed);
        let stalls = !self.slow && !paying && verified == self.seen;
        self.seen = verified;
        self.slow |= stalls;
        stalls
    }
}

async fn read_segment(shared: Arc<Shared>, segment: Segment) -> Result<Bytes, FetchError> {
    let layout = shared.layout;
    let k = usize::from(layout.k());
    let mut gathering = Gathering {
        columns: vec![None; usize::from(layout.n())],
        wanted: segment.columns,
        k: layout.k(),
    };
    let mut running = FuturesUnordered::new();
    let mut started: Vec<Asked> = Vec::new();
    // The wanted columns alone, where their holders are all in order; otherwise any k shards.
    let mut any = !only_wanted(&shared, &segment);
    loop {
        if gathering.is_enough() {
            break;
        }
        for (candidate, shard) in shared.ranked(segment.columns) {
            let wanted = (segment.columns.0..=segment.columns.1).contains(&shard.0);
            let under_way = started.iter().filter(|asked| !asked.slow).count();
            let enough = if any {
                gathering.have().saturating_add(under_way) >= k
            } else {
                !wanted
            };
            let known = gathering.has(shard)
                || started.iter().any(|asked| {
                    asked.candidate == candidate || (asked.shard == shard && !asked.slow)
                });
            if enough || known {
                continue;
            }
            let progress = Arc::<Progress>::default();
            started.push(Asked {
                candidate,
                shard,
                progress: progress.clone(),
                seen: 0,
                slow: false,
            });
            let asker = shared.clone();
            let range = segment.shard;
            running.push(async move {
                let result = asker.ask(candidate, range, &progress).await;
                (candidate, shard, result)
            });
        }
        if running.is_empty() {
            return Err(FetchError::TooFew {
                have: gathering.have(),
                need: layout.k(),
                faults: shared.faults(),
            });
        }
        match tokio::time::timeout(HEDGE, running.next()).await {
            Err(_) => {
                for asked in &mut started {
                    if asked.stalls() {
                        // Others are asked beside it, and before it from now on.
                        any = true;
                        shared.stalled(asked.candidate);
                    }
                }
            }
            Ok(None) => {}
            Ok(Some((candidate, shard, result))) => {
                started.retain(|asked| asked.candidate != candidate);
                match result {
                    Ok(bytes) => {
                        if let Some(column) = gathering.columns.get_mut(shard.position()) {
                            *column = Some(bytes);
                        }
                    }
                    Err(miss) => {
                        any = true;
                        shared.record(candidate, miss);
                    }
                }
            }
        }
    }
    drop(running);
    finish(layout, segment, gathering).await
}

/// Whether every wanted column has a holder in order.
fn only_wanted(shared: &Shared, segment: &Segment) -> bool {
    let ranked = shared.ranked(segment.columns);
    let health = shared
        .health
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    (segment.columns.0..=segment.columns.1).all(|column| {
        ranked.iter().any(|(candidate, shard)| {
            shard.0 == column
                && health
                    .get(*candidate)
                    .is_some_and(|health| health.slow == 0 && health.failures == 0)
        })
    })
}

/// Rebuilds missing data columns and puts the segment's bytes together.
async fn finish(
    layout: PackLayout,
    segment: Segment,
    gathering: Gathering,
) -> Result<Bytes, FetchError> {
    let rebuild = !gathering.has_wanted();
    let have = gathering.have();
    let mut columns = gathering.columns;
    let working = tokio::task::spawn_blocking(move || {
        if rebuild {
            Coder::new(layout.k(), layout.n())?.reconstruct_data(&mut columns)?;
        }
        layout
            .assemble(&segment, &columns)
            .map(Bytes::from)
            .ok_or(FetchError::TooFew {
                have,
                need: layout.k(),
                faults: vec![],
            })
    });
    working
        .await
        .map_err(|error| FetchError::Stopped(error.to_string()))?
}
