//! Byzantine fault tolerant ordering by Malachite: validators agree on each block, and more than two
//! thirds of their power sign it. The engine brings votes, timers and network; blocks, keys and
//! everything that is on disk but its own log are ours.

mod accuse;
pub mod candidates;
pub mod codec;
mod config;
pub mod context;
mod engine;
mod files;
pub mod guard;
mod host;
pub mod parts;
mod signing;
mod streams;
#[cfg(test)]
mod tests;

pub use candidates::CandidateError;
pub use engine::LOG_FILE;
pub use guard::GuardError;

use super::{Ordering, OrderingError};
use crate::ledger::Ledger;
use crate::validator::ValidatorKeys;
use engine::Engine;
use host::Host;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// Where a market meets the others.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// Where it listens for them.
    pub listen: SocketAddr,
    /// Where they listen: HOST:PORT each.
    pub peers: Vec<String>,
}

/// The engine of a market, a validator's or not.
#[derive(Clone)]
pub struct Bft {
    /// A validator's keys; whoever only follows has none.
    keys: Option<Arc<ValidatorKeys>>,
    /// The market's data folder.
    data: PathBuf,
    meeting: Meeting,
    #[cfg(test)]
    lie: Option<tests::Lie>,
}

impl Bft {
    /// The engine of a market whose data lie in `data`.
    pub fn new(keys: Option<Arc<ValidatorKeys>>, data: PathBuf, meeting: Meeting) -> Self {
        Self {
            keys,
            data,
            meeting,
            #[cfg(test)]
            lie: None,
        }
    }

    /// Orders with one engine until it is told to stop, or to begin anew as a validator.
    async fn order(
        &self,
        ledger: &Arc<Ledger>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Ended, OrderingError> {
        let (mut engine, watching) = Engine::start(self, ledger).await?;
        let keys = self.keys.clone().filter(|_| watching.is_none());
        let network = engine.network();
        let host = Host::new(Arc::clone(ledger), keys, &self.data, network);
        #[cfg(test)]
        let host = host.map(|host| host.telling(self.lie));
        let ended = match host {
            Ok(mut host) => loop {
                let message = tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => break Ok(Ended::Stopped),
                    message = engine.next() => message,
                };
                match message {
                    Ok(message) => {
                        if let Err(error) = host.answer(message).await {
                            break Err(error);
                        }
                    }
                    Err(error) => break Err(error),
                }
                if watching.is_some_and(|signed| ledger.head().height >= signed) {
                    break Ok(Ended::MaySign);
                }
            },
            Err(error) => Err(error),
        };
        engine.stop().await;
        ended
    }
}

/// How an engine ended that did not fail.
enum Ended {
    /// As it was told.
    Stopped,
    /// The others have passed the height for which this validator could not know what it signed.
    MaySign,
}

impl Ordering for Bft {
    async fn run(
        self,
        ledger: Arc<Ledger>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), OrderingError> {
        // A process that was killed after its last block may have kept no row of it.
        crate::history::record(&ledger, ledger.head().height)?;
        loop {
            match self.order(&ledger, &mut stop).await? {
                Ended::Stopped => return Ok(()),
                Ended::MaySign => tracing::info!("this validator votes again"),
            }
        }
    }
}
