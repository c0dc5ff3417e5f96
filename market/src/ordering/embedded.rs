//! The embedded ordering: one signer, a timer, and the same commit path as any engine's.

use super::{Ordering, OrderingError, now};
use crate::ledger::{Ledger, LedgerError};
use crate::validator::ValidatorKeys;
use holdfast_market_core::block::{Certificate, CertifiedBlock};
use holdfast_market_core::message::SigningContext;
use holdfast_market_core::query;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// One signer orders alone.
#[derive(Clone)]
pub struct Embedded {
    keys: Arc<ValidatorKeys>,
}

impl Embedded {
    /// The engine of that signer.
    pub fn new(keys: ValidatorKeys) -> Self {
        Self {
            keys: Arc::new(keys),
        }
    }

    /// Whether the signer may order this ledger's blocks.
    ///
    /// # Errors
    /// It is none of the validators.
    pub fn check(&self, ledger: &Ledger) -> Result<(), OrderingError> {
        let key = self.keys.address();
        let validators = query::validators(&ledger.view()).map_err(LedgerError::from)?;
        match validators.next.iter().any(|one| one.key == key) {
            true => Ok(()),
            false => Err(OrderingError::NotAValidator { key }),
        }
    }
}

/// Builds, signs and commits one block.
pub(crate) fn one_block(
    ledger: &Ledger,
    keys: &ValidatorKeys,
    now: u64,
) -> Result<CertifiedBlock, LedgerError> {
    let block = ledger.propose(keys, now)?;
    let signature =
        SigningContext::Block.sign(ledger.network(), keys.consensus(), &block.header)?;
    let certified = CertifiedBlock {
        block,
        certificate: Certificate::Embedded { signature },
    };
    ledger.commit(&certified)?;
    Ok(certified)
}

impl Ordering for Embedded {
    async fn run(
        self,
        ledger: Arc<Ledger>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), OrderingError> {
        self.check(&ledger)?;
        // A process that was killed after its last block may have kept no row of it.
        crate::history::record(&ledger, ledger.head().height)?;
        let interval = ledger.genesis().parameters.block_interval_ms.max(1);
        let mut timer = tokio::time::interval(Duration::from_millis(interval));
        // After a block that took longer than an interval the next one keeps its distance.
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                _ = timer.tick() => {}
            }
            let (ledger, keys) = (Arc::clone(&ledger), Arc::clone(&self.keys));
            let built = tokio::task::spawn_blocking(move || {
                let certified = one_block(&ledger, &keys, now())?;
                crate::history::record(&ledger, certified.block.header.height)?;
                Ok::<_, LedgerError>(certified)
            });
            let certified = built
                .await
                .map_err(|error| OrderingError::Failed(error.to_string()))??;
            let header = &certified.block.header;
            tracing::debug!(
                "block {} with {} messages",
                header.height,
                certified.block.messages.len()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::ordering::conformance::conforms;
    use crate::testing::Network;

    #[tokio::test]
    async fn the_embedded_engine_conforms() {
        conforms(|network| Embedded::new(network.validator())).await;
    }

    #[test]
    fn a_clock_that_is_set_an_hour_forth_and_back_stops_nothing_and_no_block_is_older_than_its_parent()
     {
        let network = Network::new("clock");
        let ledger = network.open();
        let keys = network.validator();
        const NOON: u64 = 1_800_000_000_000;
        const HOUR: u64 = 3_600_000;
        let clocks = [NOON, NOON + HOUR, NOON + 1, NOON - HOUR, 0, NOON + HOUR + 1];
        let mut times = Vec::new();
        for clock in clocks {
            let block = one_block(&ledger, &keys, clock).unwrap();
            times.push(block.block.header.time);
        }
        let last = NOON + HOUR;
        assert_eq!(times, [NOON, last, last, last, last, last + 1]);
        assert_eq!(ledger.head().height.0, clocks.len() as u64);
    }

    #[tokio::test]
    async fn a_key_that_genesis_does_not_name_orders_nothing() {
        let network = Network::new("stranger");
        let stranger = Embedded::new(ValidatorKeys::from_seed(&[9; 32]));
        let (_stop, stopped) = watch::channel(false);
        let error = stranger
            .run(Arc::new(network.open()), stopped)
            .await
            .unwrap_err();
        assert!(matches!(error, OrderingError::NotAValidator { .. }));
    }
}
