//! `holdfast audit`, without the command line: reads a ledger's blocks from its API or its folder,
//! replays them from the genesis in this process, and compares what comes out with what the ledger
//! says of itself. Trusts the genesis alone.

mod source;
#[cfg(test)]
mod tests;

pub use source::Source;

use crate::store::StoreError;
use holdfast_market_core::audit::{AuditReport, Finding, Replay};
use holdfast_market_core::block::CertifiedBlock;
use holdfast_market_core::execute::ProofTally;
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::rules::GenesisError;
use holdfast_market_core::state::Supply;
use holdfast_market_core::units::{BlockId, Blocks, Height, NetworkId, TreeRoot};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::proof::Circuit;
use holdfast_wire::ledger::LedgerError as ClientError;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of one Groth16 proof.
const PROOF_BYTES: u64 = 192;

/// Why an audit ends without a report.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The ledger is not what it should be.
    #[error("the audit failed at {0}")]
    Finding(#[from] Finding),
    /// The genesis and its keys make no rules.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The API.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger is of another network.
    #[error("the ledger is of network {found}, not of {expected}; name the folder of its network")]
    OtherNetwork {
        /// Whose it is.
        found: NetworkId,
        /// Whose was asked for.
        expected: NetworkId,
    },
    /// The replay's thread ended.
    #[error("the replay could not go on: {0}")]
    Stopped(String),
}

/// How far an audit is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Replayed up to here.
    pub height: Height,
    /// Of so many.
    pub head: Height,
    /// Proofs verified again so far.
    pub proofs: u64,
}

/// Proofs of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ProofFigures {
    /// How many were verified again.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seconds that this took.
    pub seconds: f64,
}

impl ProofFigures {
    fn of(count: u64, spent: Duration) -> Self {
        Self {
            count,
            bytes: count.saturating_mul(PROOF_BYTES),
            seconds: spent.as_secs_f64(),
        }
    }
}

/// Time spent on verifying, by circuit: seal, embed, spacetime.
#[derive(Default)]
struct Stopwatch([AtomicU64; 3]);

impl Stopwatch {
    fn of(&self, circuit: Circuit) -> &AtomicU64 {
        let [seal, embed, spacetime] = &self.0;
        match circuit {
            Circuit::Seal => seal,
            Circuit::Embed => embed,
            Circuit::Spacetime => spacetime,
        }
    }

    fn spent(&self, circuit: Circuit) -> Duration {
        Duration::from_nanos(self.of(circuit).load(Ordering::Relaxed))
    }

    /// What tells it of each verification.
    fn watch(self: &Arc<Self>) -> holdfast_proofs::verify::Watch {
        let watch = Arc::clone(self);
        Box::new(move |circuit, _| {
            let (watch, started) = (Arc::clone(&watch), Instant::now());
            Box::new(move || {
                let spent = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
                watch.of(circuit).fetch_add(spent, Ordering::Relaxed);
            })
        })
    }
}

/// Proofs by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ProofsByKind {
    /// Of seals.
    pub seal: ProofFigures,
    /// Of embeds.
    pub embed: ProofFigures,
    /// Of spacetime.
    pub spacetime: ProofFigures,
}

impl ProofsByKind {
    fn new(tally: ProofTally, watch: &Stopwatch) -> Self {
        let figures = |count, circuit| ProofFigures::of(count, watch.spent(circuit));
        Self {
            seal: figures(tally.seal, Circuit::Seal),
            embed: figures(tally.embed, Circuit::Embed),
            spacetime: figures(tally.spacetime, Circuit::Spacetime),
        }
    }
}

/// What held.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// Of which network.
    pub network: NetworkId,
    /// The last block replayed.
    pub height: Height,
    /// Its name.
    pub last: BlockId,
    /// The state tree's root after it: replayed here, and the ledger says the same.
    pub state_root: TreeRoot,
    /// Messages done.
    pub done: u64,
    /// Messages refused.
    pub refused: u64,
    /// Proofs verified again.
    pub proofs: ProofsByKind,
    /// The token's books, recounted over every object.
    pub supply: Supply,
    /// Whether every token that was minted and not burnt lies somewhere.
    pub conserved: bool,
    /// Seconds that the replay took.
    pub seconds: f64,
    /// What the audit cannot show, in sentences.
    pub limits: Vec<String>,
}

impl Audit {
    fn new(report: AuditReport, run: &Stopwatch, spent: Duration) -> Self {
        Self {
            network: report.network,
            height: report.height,
            last: report.last,
            state_root: report.state_root,
            done: report.done,
            refused: report.refused,
            proofs: ProofsByKind::new(report.proofs, run),
            conserved: report.supply.balances_out(),
            supply: report.supply,
            seconds: spent.as_secs_f64(),
            limits: report.limits,
        }
    }
}

/// What is told of an audit's progress.
pub type Watch = Arc<dyn Fn(Progress) + Send + Sync>;

/// Audits a ledger up to where it stands when the replay gets there.
///
/// # Errors
/// The first block or message that does not hold, or a ledger that cannot be read.
pub async fn audit(
    genesis: &Genesis,
    verifying_keys: &VerifyingKeys,
    source: Source,
    watch: Watch,
) -> Result<Audit, AuditError> {
    let expected = genesis.network().map_err(GenesisError::from)?;
    let found = source.network().await?;
    if found != expected {
        return Err(AuditError::OtherNetwork { found, expected });
    }
    let stopwatch = Arc::new(Stopwatch::default());
    let mut replay = Replay::new(genesis, verifying_keys)?;
    replay.watch(stopwatch.watch());
    let mut run = Run {
        replay,
        height: Height(0),
        proofs: 0,
        spent: Duration::ZERO,
        watch,
    };
    // The ledger goes on while it is audited: go up to what it claims, and see whether it has
    // claimed more by then. At most as far as the second claim, so that this ends.
    let mut claim = source.claim().await?;
    run = run.up_to(&source, claim.height).await?;
    if !source.is_still() {
        claim = source.claim().await?;
        run = run.up_to(&source, claim.height).await?;
    }
    source.compare(&claim, &run.replay)?;
    Ok(Audit::new(run.replay.finish()?, &stopwatch, run.spent))
}

/// A replay under way.
struct Run {
    replay: Replay,
    height: Height,
    proofs: u64,
    spent: Duration,
    watch: Watch,
}

impl Run {
    /// Replays up to `head`, reading the next blocks while these are executed.
    async fn up_to(mut self, source: &Source, head: Height) -> Result<Self, AuditError> {
        let mut next = source.blocks(self.height.after(Blocks(1)), head).await?;
        while self.height < head {
            let blocks = std::mem::take(&mut next);
            let Some(last) = blocks.last().map(|one| one.block.header.height) else {
                return Err(missing(self.height.after(Blocks(1)), head).into());
            };
            let replaying = tokio::task::spawn_blocking(move || self.push(blocks, head));
            let reading = async {
                match last < head {
                    true => source.blocks(last.after(Blocks(1)), head).await,
                    false => Ok(Vec::new()),
                }
            };
            let (replayed, read) = tokio::join!(replaying, reading);
            // What was replayed comes first: it names the lower height.
            self = replayed.map_err(|error| AuditError::Stopped(error.to_string()))??;
            next = read?;
        }
        Ok(self)
    }

    fn push(mut self, blocks: Vec<CertifiedBlock>, head: Height) -> Result<Self, Finding> {
        let started = Instant::now();
        for certified in &blocks {
            let expected = self.height.after(Blocks(1));
            let found = certified.block.header.height;
            if found != expected {
                return Err(Finding {
                    height: expected,
                    message: None,
                    reason: format!("the ledger gives block {found} in its place"),
                });
            }
            let step = self.replay.push(certified)?;
            self.height = step.height;
            self.proofs = self.proofs.saturating_add(step.proofs.total());
            (self.watch)(Progress {
                height: self.height,
                head,
                proofs: self.proofs,
            });
        }
        self.spent = self.spent.saturating_add(started.elapsed());
        Ok(self)
    }
}

fn missing(height: Height, head: Height) -> Finding {
    Finding {
        height,
        message: None,
        reason: format!("the ledger says it stands at {head} and does not have this block"),
    }
}
