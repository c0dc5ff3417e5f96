//! `holdfast audit`, without the command line: reads a ledger's blocks from its API, its folder or a
//! bundle, replays them from the genesis in this process, and compares what comes out with what the
//! ledger says of itself. Trusts the genesis alone, and where it resumes its own checkpoint.

pub mod bundle;
pub mod checkpoint;
mod compare;
pub mod drill;
pub mod parallel;
pub mod report;
mod run;
mod source;
mod stopwatch;
#[cfg(test)]
mod tests;

pub use source::Source;
pub use stopwatch::{ProofFigures, ProofsByKind};

use crate::store::StoreError;
use bundle::BundleError;
use checkpoint::{CheckpointError, Keeper};
use holdfast_market_core::audit::{AuditReport, Finding, History, Replay, Subject};
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::message::Unencodable;
use holdfast_market_core::rules::GenesisError;
use holdfast_market_core::state::Supply;
use holdfast_market_core::units::{BlockId, Height, NetworkId, TreeRoot};
use holdfast_market_core::view::ViewError;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_wire::ledger::LedgerError as ClientError;
use run::Run;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stopwatch::Stopwatch;

/// What an audit verifies proofs with: said in every report.
pub const VERIFIER: &str = "pure Rust (bls12_381, ed25519-dalek, bls-signatures)";

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
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An object that cannot be encoded.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// The ledger is of another network.
    #[error("the ledger is of network {found}, not of {expected}; name the folder of its network")]
    OtherNetwork {
        /// Whose it is.
        found: NetworkId,
        /// Whose was asked for.
        expected: NetworkId,
    },
    /// The checkpoint is ahead of the ledger.
    #[error(
        "the checkpoint stands at block {checkpoint}, and the ledger at {ledger}; give an audit of this ledger another checkpoint"
    )]
    Ahead {
        /// Where the checkpoint stands.
        checkpoint: Height,
        /// Where the ledger does.
        ledger: Height,
    },
    /// The replay's thread ended.
    #[error("the replay could not go on: {0}")]
    Stopped(String),
}

impl From<ViewError> for AuditError {
    fn from(error: ViewError) -> Self {
        Self::Stopped(error.to_string())
    }
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
    /// Seconds that all of it took.
    pub seconds: f64,
    /// The block after which this audit went on from its own checkpoint; it has not verified those
    /// before it again.
    pub resumed_after: Option<Height>,
    /// What verified the proofs.
    pub verifier: &'static str,
    /// What each kind of proof binds, in sentences.
    pub binds: Vec<String>,
    /// What the audit cannot show, in sentences.
    pub limits: Vec<String>,
}

impl Audit {
    fn new(
        report: AuditReport,
        stopwatch: &Stopwatch,
        spent: Duration,
        resumed_after: Option<Height>,
    ) -> Self {
        Self {
            network: report.network,
            height: report.height,
            last: report.last,
            state_root: report.state_root,
            done: report.done,
            refused: report.refused,
            proofs: ProofsByKind::new(report.proofs, stopwatch),
            conserved: report.supply.balances_out(),
            supply: report.supply,
            seconds: spent.as_secs_f64(),
            resumed_after,
            verifier: VERIFIER,
            binds: report.binds,
            limits: report.limits,
        }
    }
}

/// What is told of an audit's progress.
pub type Watch = Arc<dyn Fn(Progress) + Send + Sync>;

/// How an audit is done.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// On so many cores; on all where nothing is said.
    pub threads: Option<NonZeroUsize>,
    /// Goes on from this checkpoint, where it is there, and keeps it.
    pub checkpoint: Option<PathBuf>,
    /// Also tells what blocks did with this provider or sector.
    pub subject: Option<Subject>,
}

/// Audits a ledger up to where it stands when the replay gets there, on all cores.
///
/// # Errors
/// The first block or message that does not hold, or a ledger that cannot be read.
pub async fn audit(
    genesis: &Genesis,
    verifying_keys: &VerifyingKeys,
    source: Source,
    watch: Watch,
) -> Result<Audit, AuditError> {
    let audited = audit_with(genesis, verifying_keys, &source, Options::default(), watch).await;
    audited.map(|(audit, _)| audit)
}

/// The same as it is asked for, and the history of what was to be followed, where it is there.
///
/// # Errors
/// As [`audit`], or a checkpoint that cannot be resumed.
pub async fn audit_with(
    genesis: &Genesis,
    verifying_keys: &VerifyingKeys,
    source: &Source,
    options: Options,
    watch: Watch,
) -> Result<(Audit, Option<History>), AuditError> {
    let started = Instant::now();
    let expected = genesis.network().map_err(GenesisError::from)?;
    let found = source.network().await?;
    if found != expected {
        return Err(AuditError::OtherNetwork { found, expected });
    }
    let keeper = options.checkpoint.map(Keeper::new);
    let resumed = match &keeper {
        Some(keeper) => keeper.resume(genesis, verifying_keys)?,
        None => None,
    };
    let whole = resumed.is_none();
    let mut replay = match resumed {
        Some(replay) => replay,
        None => Replay::new(genesis, verifying_keys)?,
    };
    let stopwatch = Arc::new(Stopwatch::default());
    replay.watch(stopwatch.watch());
    if let Some(subject) = options.subject {
        replay.follow(subject);
    }
    let threads = options.threads.unwrap_or_else(parallel::cores);
    let mut run = Run::new(replay, threads, keeper, watch)?;
    let resumed_after = (!whole).then(|| run.height());
    // The ledger goes on while it is audited: go up to what it claims, and see whether it has
    // claimed more by then. At most as far as the second claim, so that this ends.
    let mut claim = source.claim().await?;
    if claim.height < run.height() {
        return Err(AuditError::Ahead {
            checkpoint: run.height(),
            ledger: claim.height,
        });
    }
    run = run.up_to(source, claim.height).await?;
    if !source.is_still() {
        claim = source.claim().await?;
        run = run.up_to(source, claim.height).await?;
    }
    source.compare(&claim, &run.replay, whole)?;
    let report = run.replay.finish()?;
    if let Some(keeper) = &mut run.keeper {
        keeper.keep(&run.replay)?;
    }
    let history = match options.subject {
        Some(subject) => History::new(subject, run.events, run.replay.view())?,
        None => None,
    };
    let audit = Audit::new(report, &stopwatch, started.elapsed(), resumed_after);
    Ok((audit, history))
}
