//! Who decides which block is next. An engine drives the ledger through its four calls (`propose`,
//! `check`, `commit`, `blocks`) and brings its own network and timers; the ledger knows nothing of
//! it but the certificate.

pub mod bft;
mod embedded;

#[cfg(test)]
pub(crate) mod conformance;

pub use bft::{Bft, CandidateError, GuardError, Meeting};
pub use embedded::Embedded;
#[cfg(test)]
pub(crate) use embedded::one_block;

use crate::ledger::{Ledger, LedgerError};
use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Why an engine stopped though nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum OrderingError {
    /// The ledger cannot go on.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Its keys are not among the validators.
    #[error(
        "the validator key in this folder ({key}) is not one of this network's validators; use the folder whose key the genesis names"
    )]
    NotAValidator {
        /// Its address.
        key: holdfast_market_core::units::Address,
    },
    /// What waits to be decided cannot be kept.
    #[error(transparent)]
    Candidate(#[from] CandidateError),
    /// What this validator has signed is not known.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Other markets cannot be met.
    #[error("{0}")]
    Network(String),
    /// The engine's log is in use, damaged, or cannot be written.
    #[error(
        "the log of the ordering engine, {path}, cannot be used: the disk is full, or the file is damaged or in use; it is tried once more at the next start, and where it fails again, remove it: this validator then only watches until the others are a block further"
    )]
    Log {
        /// The file.
        path: std::path::PathBuf,
    },
    /// A part of it died.
    #[error("the ordering engine failed: {0}")]
    Failed(String),
}

/// Milliseconds since the Unix epoch by this machine's clock.
fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An ordering engine.
pub trait Ordering: Send + 'static {
    /// Orders blocks into `ledger` until `stop` turns true. Where it returns, no commit is under
    /// way any more.
    fn run(
        self,
        ledger: Arc<Ledger>,
        stop: watch::Receiver<bool>,
    ) -> impl Future<Output = Result<(), OrderingError>> + Send;
}
