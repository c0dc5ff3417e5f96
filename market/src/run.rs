//! `holdfast market init` and `holdfast market run`, without the command line.

use crate::api;
use crate::ledger::{Ledger, LedgerError};
use crate::ordering::{Embedded, Ordering, OrderingError};
use crate::server::{self, ServeError};
use crate::validator::{KeyError, ValidatorKeys};
use holdfast_market_core::block::Validator;
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::units::NetworkId;
use holdfast_proofs::keys::VerifyingKeys;
use rand_core::{CryptoRng, RngCore};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Why a market does not run (any more).
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The validator's keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The socket.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The ordering.
    #[error(transparent)]
    Ordering(#[from] OrderingError),
}

/// What a market needs.
pub struct Config {
    /// Where the network began.
    pub genesis: Genesis,
    /// Its verifying keys.
    pub verifying_keys: VerifyingKeys,
    /// Where the ledger and the validator's keys lie.
    pub data: PathBuf,
    /// Where the API is served; port 0 takes any free one.
    pub listen: SocketAddr,
}

/// Makes a validator's keys in `data` and says what genesis says of them.
///
/// # Errors
/// There are keys already, or the folder cannot be written.
pub fn init(data: &Path, random: &mut (impl RngCore + CryptoRng)) -> Result<Validator, RunError> {
    Ok(ValidatorKeys::create(data, random)?.validator(1))
}

/// A market that has opened its ledger and listens, and orders nothing yet.
pub struct Market {
    ledger: Arc<Ledger>,
    engine: Embedded,
    listener: TcpListener,
}

impl Market {
    /// Opens everything that can fail at the start.
    ///
    /// # Errors
    /// The folder is in use, of another network or damaged; the port is in use; there are no keys,
    /// or not those of a validator.
    pub async fn open(config: Config) -> Result<Self, RunError> {
        // First the socket: a port in use is the commonest reason, and costs nothing to find.
        let listener = server::listen(config.listen).await?;
        let engine = Embedded::new(ValidatorKeys::load(&config.data)?);
        let opened = tokio::task::spawn_blocking(move || {
            Ledger::open(&config.data, config.genesis, &config.verifying_keys)
        });
        let ledger = opened
            .await
            .map_err(|error| OrderingError::Failed(error.to_string()))??;
        engine.check(&ledger)?;
        Ok(Self {
            ledger: Arc::new(ledger),
            engine,
            listener,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The network's id.
    pub fn network(&self) -> NetworkId {
        self.ledger.network()
    }

    /// The ledger.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// Orders blocks and serves the API until `stop` turns true; then both end cleanly.
    ///
    /// # Errors
    /// The ordering cannot go on; the API has ended too.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<(), RunError> {
        // Our own stop: raised by the caller's, or by an engine that fails.
        let (raise, stopped) = watch::channel(false);
        let router = api::router(Arc::clone(&self.ledger), stopped.clone());
        let serving = server::serve(self.listener, router, stopped.clone());
        let ordering = async {
            let result = self.engine.run(self.ledger, stop).await;
            // Nobody may listen any more, and then there is nothing left to stop.
            let _ = raise.send(true);
            result
        };
        let ((), ordered) = tokio::join!(serving, ordering);
        Ok(ordered?)
    }
}
