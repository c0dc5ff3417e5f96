//! The ledger that a market serves now. One whose disk refuses to write is paused: it is still read
//! as long as it is open, takes no messages, and is opened anew when the disk takes writes again.

use crate::ledger::Ledger;
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::units::NetworkId;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Why there is no ledger, or none that takes messages; the sentence says what is to be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Paused(pub String);

struct State {
    ledger: Option<Arc<Ledger>>,
    paused: Option<Paused>,
}

/// The ledger as the API sees it.
pub struct Current {
    genesis: Genesis,
    network: NetworkId,
    verifying_keys: Vec<u8>,
    state: RwLock<State>,
}

impl Current {
    /// Of a ledger that is open.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self {
            genesis: ledger.genesis().clone(),
            network: ledger.network(),
            verifying_keys: ledger.verifying_keys().to_vec(),
            state: RwLock::new(State {
                ledger: Some(ledger),
                paused: None,
            }),
        }
    }

    /// Where the network began.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The network's id.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// The verifying keys' DAG-CBOR.
    pub fn verifying_keys(&self) -> &[u8] {
        &self.verifying_keys
    }

    /// The ledger, for reading.
    ///
    /// # Errors
    /// It is being opened anew.
    pub fn ledger(&self) -> Result<Arc<Ledger>, Paused> {
        let state = self.read();
        let closed = || {
            let sentence = "the market opens its ledger anew; try again in a moment";
            state.paused.clone().unwrap_or(Paused(sentence.into()))
        };
        state.ledger.clone().ok_or_else(closed)
    }

    /// Whether messages are taken.
    ///
    /// # Errors
    /// Why not.
    pub fn takes_messages(&self) -> Result<(), Paused> {
        match &self.read().paused {
            Some(paused) => Err(paused.clone()),
            None => Ok(()),
        }
    }

    /// From here on no messages are taken.
    pub fn pause(&self, paused: Paused) {
        self.write().paused = Some(paused);
    }

    /// Takes the ledger away, to be closed and opened anew.
    pub fn take(&self) -> Option<Arc<Ledger>> {
        self.write().ledger.take()
    }

    /// Serves a ledger that was opened anew.
    pub fn resume(&self, ledger: Arc<Ledger>) {
        *self.write() = State {
            ledger: Some(ledger),
            paused: None,
        };
    }

    // Whole values are replaced behind the lock: a panic leaves nothing half changed.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
