//! `holdfast market init` and `holdfast market run`, without the command line.

use crate::api;
use crate::current::{Current, Paused};
use crate::forward::Forwarder;
use crate::ledger::{Ledger, LedgerError};
use crate::ordering::{Bft, Embedded, Meeting, Ordering, OrderingError};
use crate::server::{self, ServeError};
use crate::validator::{KeyError, ValidatorKeys};
use holdfast_market_core::block::Validator;
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::units::NetworkId;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_wire::room;
use rand_core::{CryptoRng, RngCore};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
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
    /// What is no other market's API.
    #[error(transparent)]
    Forward(#[from] holdfast_wire::ledger::LedgerError),
    /// One signer for a network whose validators may become others.
    #[error(
        "stake chooses this network's validators, and one signer alone cannot follow it; run it with `--ordering bft`"
    )]
    Staked,
    /// One signer for a network of several.
    #[error(
        "this network has {validators} validators, and one signer alone cannot order its blocks; run it with `--ordering bft`"
    )]
    Several {
        /// How many.
        validators: usize,
    },
}

/// How blocks are ordered.
#[derive(Clone, Debug)]
pub enum OrderedBy {
    /// By this market alone.
    Embedded,
    /// Together with other markets.
    Bft(Meeting),
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
    /// How blocks are ordered.
    pub ordering: OrderedBy,
    /// The APIs of other markets, which get every message that comes in here.
    pub forward: Vec<String>,
}

/// Makes a validator's keys in `data` and says what genesis says of them.
///
/// # Errors
/// There are keys already, or the folder cannot be written.
pub fn init(data: &Path, random: &mut (impl RngCore + CryptoRng)) -> Result<Validator, RunError> {
    Ok(ValidatorKeys::create(data, random)?.validator(1))
}

/// Between two looks at a disk that refuses to write.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks whether the last answer from a ledger that is to be closed has been given.
const CLOSING: Duration = Duration::from_millis(20);
/// Room that there must be before a ledger is opened anew: the database writes out what it had in
/// memory, at most half of this, and begins new files.
const ROOM: u64 = 64 << 20;

/// The engine that orders.
#[derive(Clone)]
enum Engine {
    Embedded(Embedded),
    Bft(Bft),
}

impl Engine {
    fn new(config: &Config) -> Result<Self, RunError> {
        let validators = config.genesis.validators.len();
        match &config.ordering {
            OrderedBy::Embedded if validators > 1 => Err(RunError::Several { validators }),
            OrderedBy::Embedded if config.genesis.parameters.staking.is_some() => {
                Err(RunError::Staked)
            }
            OrderedBy::Embedded => {
                let keys = ValidatorKeys::load(&config.data)?;
                Ok(Self::Embedded(Embedded::new(keys)))
            }
            OrderedBy::Bft(meeting) => {
                // Whoever has no keys follows, and checks what the others order.
                let keys = match ValidatorKeys::load(&config.data) {
                    Ok(keys) => Some(Arc::new(keys)),
                    Err(KeyError::Absent(_)) => None,
                    Err(error) => return Err(error.into()),
                };
                let data = config.data.clone();
                Ok(Self::Bft(Bft::new(keys, data, meeting.clone())))
            }
        }
    }

    fn check(&self, ledger: &Ledger) -> Result<(), OrderingError> {
        match self {
            Self::Embedded(engine) => engine.check(ledger),
            Self::Bft(_) => Ok(()),
        }
    }

    async fn run(
        self,
        ledger: Arc<Ledger>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), OrderingError> {
        match self {
            Self::Embedded(engine) => engine.run(ledger, stop).await,
            Self::Bft(engine) => engine.run(ledger, stop).await,
        }
    }
}

/// A market that has opened its ledger and listens, and orders nothing yet.
pub struct Market {
    current: Arc<Current>,
    engine: Engine,
    forwarder: Forwarder,
    listener: TcpListener,
    data: PathBuf,
    verifying_keys: VerifyingKeys,
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
        let engine = Engine::new(&config)?;
        let forwarder = Forwarder::start(&config.forward)?;
        let (data, keys) = (config.data.clone(), config.verifying_keys.clone());
        let opened =
            tokio::task::spawn_blocking(move || Ledger::open(&data, config.genesis, &keys));
        let ledger = opened
            .await
            .map_err(|error| OrderingError::Failed(error.to_string()))??;
        engine.check(&ledger)?;
        Ok(Self {
            current: Arc::new(Current::new(Arc::new(ledger))),
            engine,
            forwarder,
            listener,
            data: config.data,
            verifying_keys: config.verifying_keys,
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
        self.current.network()
    }

    /// The ledger as it is served.
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current)
    }

    /// Orders blocks and serves the API until `stop` turns true; then both end cleanly. While the
    /// disk refuses to write, it orders nothing and says so; it goes on by itself.
    ///
    /// # Errors
    /// The ordering cannot go on; the API has ended too.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<(), RunError> {
        // Our own stop: raised by the caller's, or by an engine that fails.
        let (raise, stopped) = watch::channel(false);
        let router = api::router(Arc::clone(&self.current), self.forwarder, stopped.clone());
        let serving = server::serve(self.listener, router, stopped.clone());
        let reopening = Reopening {
            current: self.current,
            data: self.data,
            verifying_keys: self.verifying_keys,
        };
        let ordering = async {
            let result = reopening.order(self.engine, stop).await;
            // Nobody may listen any more, and then there is nothing left to stop.
            let _ = raise.send(true);
            result
        };
        let ((), ordered) = tokio::join!(serving, ordering);
        Ok(ordered?)
    }
}

/// What it takes to go on after a disk that refused.
struct Reopening {
    current: Arc<Current>,
    data: PathBuf,
    verifying_keys: VerifyingKeys,
}

impl Reopening {
    /// Lets the engine order until `stop`; where the disk refuses, waits until it does not, and
    /// lets it go on.
    async fn order(
        &self,
        engine: Engine,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), OrderingError> {
        loop {
            let Ok(ledger) = self.current.ledger() else {
                return Ok(());
            };
            let error = match engine.clone().run(ledger, stop.clone()).await {
                Err(error) if self.is_the_disks(&error).await => error,
                ended => return ended,
            };
            self.pause(&error);
            if !self.until_open(&mut stop).await? {
                return Ok(());
            }
            tracing::info!("the disk takes writes again: the market goes on");
        }
    }

    /// Whether the disk refused. Where a candidate or the engine's log could not be used, or a part of
    /// the engine died, only the disk itself can say.
    async fn is_the_disks(&self, error: &OrderingError) -> bool {
        match error {
            OrderingError::Ledger(error) => error.is_the_disks(),
            OrderingError::Candidate(_) | OrderingError::Log { .. } | OrderingError::Failed(_) => {
                let data = self.data.clone();
                let room = tokio::task::spawn_blocking(move || room::check(&data, ROOM)).await;
                !matches!(room, Ok(Ok(())))
            }
            _ => false,
        }
    }

    fn pause(&self, error: &dyn std::error::Error) {
        let sentence = format!(
            "the market's disk refuses to write, so it makes no blocks and takes no messages until the disk does: {error}"
        );
        tracing::error!("{sentence}");
        self.current.pause(Paused(sentence));
    }

    /// Waits for the disk and opens the ledger anew: a database that has failed once takes nothing
    /// more. False where it was told to stop.
    async fn until_open(&self, stop: &mut watch::Receiver<bool>) -> Result<bool, LedgerError> {
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(false),
                () = tokio::time::sleep(PAUSE) => {}
            }
            let data = self.data.clone();
            let room = tokio::task::spawn_blocking(move || room::check(&data, ROOM)).await;
            if !matches!(room, Ok(Ok(()))) {
                continue;
            }
            if let Some(ledger) = self.current.take() {
                waiting = ledger.waiting();
                // Answers that are being given still hold it; no new one begins.
                let mut held = Some(ledger);
                while let Some(Err(ledger)) = held.take().map(Arc::try_unwrap) {
                    held = Some(ledger);
                    tokio::time::sleep(CLOSING).await;
                }
            }
            let (data, keys) = (self.data.clone(), self.verifying_keys.clone());
            let genesis = self.current.genesis().clone();
            let opened =
                tokio::task::spawn_blocking(move || Ledger::open(&data, genesis, &keys)).await;
            match opened {
                Ok(Ok(ledger)) => {
                    for message in waiting {
                        // One that is in a block by now, or cannot be any more, waits no longer.
                        let _ = ledger.submit(message);
                    }
                    self.current.resume(Arc::new(ledger));
                    return Ok(true);
                }
                Ok(Err(error)) if error.is_the_disks() => self.pause(&error),
                Ok(Err(error)) => return Err(error),
                Err(error) => self.pause(&error),
            }
        }
    }
}
