//! Who decides which block is next. An engine drives the ledger through its four calls (`propose`,
//! `check`, `commit`, `blocks`) and brings its own network and timers; the ledger knows nothing of
//! it but the certificate.

mod embedded;

#[cfg(test)]
pub(crate) mod conformance;

pub use embedded::Embedded;
#[cfg(test)]
pub(crate) use embedded::one_block;

use crate::ledger::{Ledger, LedgerError};
use std::future::Future;
use std::sync::Arc;
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
    /// A part of it died.
    #[error("the ordering engine failed: {0}")]
    Failed(String),
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
