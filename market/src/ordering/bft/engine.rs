//! Starting and stopping the engine's actors.

use super::codec::Cbor;
use super::config::{EngineConfig, multiaddr};
use super::context::{Bft, Key};
use super::guard::{Guard, height_of_log};
use super::signing::{Checker, Pen};
use crate::ledger::Ledger;
use crate::ordering::OrderingError;
use holdfast_market_core::units::{Address, Blocks, Height};
use malachitebft_app_channel::app::config::NodeConfig;
use malachitebft_app_channel::app::engine::network::{NetworkIdentity, NetworkRef};
use malachitebft_app_channel::app::metrics::SharedRegistry;
use malachitebft_app_channel::app::types::Keypair;
use malachitebft_app_channel::app::types::codec::Codec;
use malachitebft_app_channel::spawn::spawn_network_actor;
use malachitebft_app_channel::{
    AppMsg, Channels, ConsensusContext, EngineBuilder, EngineHandle, NetworkMsg, RequestContext,
    Signer, SyncContext, WalContext,
};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The engine's log in the market's data folder. Its name carries the version of what is in it.
pub const LOG_FILE: &str = "consensus-1.wal";
/// The log of one who only watches, begun anew at each start. The validator's own stays as it is: as
/// long as it does not know the height that was signed for, every start watches.
pub const WATCH_LOG_FILE: &str = "consensus-watch.wal";
/// How long the engine may take to begin.
const BEGINNING: Duration = Duration::from_secs(15);
/// How long a part of the engine may take to end.
const ENDING: Duration = Duration::from_secs(5);
/// Between two tries at a log that an engine of before lets go of.
const RETRY: Duration = Duration::from_millis(50);

/// An engine that runs.
pub struct Engine {
    channels: Channels<Bft>,
    handle: EngineHandle,
    network: NetworkRef<Bft>,
    log: PathBuf,
    begun: bool,
}

fn failed(error: impl std::fmt::Display) -> OrderingError {
    OrderingError::Failed(error.to_string())
}

impl Engine {
    /// Starts the engine: as a validator, or, with the height that must be passed before this
    /// validator signs again, as one who only watches.
    pub async fn start(
        bft: &super::Bft,
        ledger: &Arc<Ledger>,
    ) -> Result<(Self, Option<Height>), OrderingError> {
        let own_log = bft.data.join(LOG_FILE);
        let guard = Guard::open(&bft.data)?;
        let watching = must_watch(&guard, &own_log, ledger.head().height)?;
        if let Some(signed) = watching {
            tracing::warn!(
                "this validator has signed for height {signed} and its log does not say what; it only watches until that height is decided"
            );
        }
        let log = match watching {
            None => own_log,
            Some(_) => {
                let log = bft.data.join(WATCH_LOG_FILE);
                wait_for_log(&log).await?;
                match std::fs::remove_file(&log) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(OrderingError::Log { path: log });
                    }
                    _ => log,
                }
            }
        };
        free_port(bft.meeting.listen)?;
        let listen = multiaddr(&bft.meeting.listen.to_string())?;
        let peers = bft.meeting.peers.iter().map(|peer| multiaddr(peer));
        let peers = peers.collect::<Result<Vec<_>, _>>()?;
        let network_id = ledger.network();
        let keys = bft.keys.clone().filter(|_| watching.is_none());
        let keypair = match &bft.keys {
            Some(keys) => {
                Keypair::ed25519_from_bytes(keys.network_seed().to_vec()).map_err(failed)?
            }
            None => Keypair::generate_ed25519(),
        };
        let peer = keypair.public().to_peer_id();
        let moniker = peer.to_string();
        let staking = ledger.genesis().parameters.staking.as_ref();
        // As many as there may be, and not as many as there are at the start.
        let most = staking.map_or(ledger.genesis().validators.len(), |staking| {
            staking.most_validators as usize
        });
        let config = EngineConfig::new(network_id, moniker.clone(), listen, peers, most);

        let checker = Box::new(Checker {
            network: network_id,
        });
        let (identity, consensus) = match keys {
            Some(keys) => {
                let address = keys.address();
                let pen = Pen::new(network_id, keys, guard);
                let proof = pen
                    .sign_validator_proof(address.as_bytes().to_vec(), peer.to_bytes())
                    .await
                    .map_err(failed)?;
                let proof = Cbor.encode(&proof).map_err(failed)?;
                let identity = NetworkIdentity::new_validator(
                    moniker.clone(),
                    keypair,
                    Key(address).to_string(),
                    proof,
                );
                let pen = Box::new(pen);
                (
                    identity,
                    ConsensusContext::new_validator(Key(address), checker, pen),
                )
            }
            None => (
                NetworkIdentity::new(moniker.clone(), keypair, None),
                // Nobody's address: whoever watches is no validator.
                ConsensusContext::new_full_node(Key(Address([0; 32])), checker),
            ),
        };
        wait_for_log(&log).await?;
        let registry = SharedRegistry::global().with_moniker(&moniker);
        let (network, sender) = spawn_network_actor::<Bft, Cbor>(
            identity,
            config.consensus(),
            config.value_sync(),
            &registry,
            Cbor,
        )
        .await
        .map_err(failed)?;
        let built = EngineBuilder::new(Bft, config)
            .with_custom_network(network.clone(), sender)
            .with_default_wal(WalContext::new(log.clone(), Cbor))
            .with_default_sync(SyncContext::new(Cbor))
            .with_default_consensus(consensus)
            .with_default_request(RequestContext::new(16))
            .build()
            .await;
        match built {
            Ok((channels, handle)) => Ok((
                Self {
                    channels,
                    handle,
                    network,
                    log,
                    begun: false,
                },
                watching,
            )),
            Err(error) => {
                let _ = network.stop_and_wait(None, Some(ENDING)).await;
                Err(failed(error))
            }
        }
    }

    /// Where parts of blocks go out.
    pub fn network(&self) -> mpsc::Sender<NetworkMsg<Bft>> {
        self.channels.network.clone()
    }

    /// Its next question.
    pub async fn next(&mut self) -> Result<AppMsg<Bft>, OrderingError> {
        let message = match self.begun {
            true => self.channels.consensus.recv().await,
            // A port that is taken is told to the engine's log and to nobody else.
            false => timeout(BEGINNING, self.channels.consensus.recv())
                .await
                .map_err(|_| {
                    OrderingError::Network(
                        "the engine does not begin: it cannot listen for other markets".into(),
                    )
                })?,
        };
        self.begun = true;
        match message {
            Some(message) => Ok(message),
            // The engine hangs on purpose where its log fails.
            None => match timeout(Duration::from_secs(1), &mut self.handle.handle).await {
                Err(_) => Err(OrderingError::Log {
                    path: self.log.clone(),
                }),
                Ok(_) => Err(failed("a part of it died; its log says which")),
            },
        }
    }

    /// Ends it: its port and its log are free when this returns.
    pub async fn stop(mut self) {
        // The network first: whoever kills its supervisor leaves its socket open.
        let _ = self.network.stop_and_wait(None, Some(ENDING)).await;
        self.handle.actor.stop(None);
        if timeout(ENDING, &mut self.handle.handle).await.is_err() {
            self.handle.actor.kill();
            let _ = timeout(ENDING, &mut self.handle.handle).await;
        }
        drop(self.channels);
        let _ = wait_for_log(&self.log).await;
    }
}

/// The height that must be passed before this validator signs again, where its log does not know
/// what it signed.
fn must_watch(guard: &Guard, log: &Path, head: Height) -> Result<Option<Height>, OrderingError> {
    let signed = guard.signed();
    if signed <= head {
        return Ok(None);
    }
    let logged = height_of_log(log).map_err(|_| OrderingError::Log {
        path: log.to_owned(),
    })?;
    let next = head.after(Blocks(1));
    Ok((signed > next || logged != Some(signed)).then_some(signed))
}

/// Whether the port is free: the engine would say nothing if it were not.
fn free_port(listen: SocketAddr) -> Result<(), OrderingError> {
    let bound = TcpListener::bind(listen);
    bound.map(drop).map_err(|error| {
        OrderingError::Network(format!(
            "{listen} cannot be listened on for other markets: {error}; choose another port"
        ))
    })
}

/// Waits until the log can be opened: the thread that had it lets it go a moment after its engine
/// has ended. A file that was killed while it was made holds nothing and is removed.
async fn wait_for_log(log: &Path) -> Result<(), OrderingError> {
    let mut waited = Duration::ZERO;
    loop {
        match std::fs::metadata(log) {
            Ok(data) if data.len() < 12 => {
                let _ = std::fs::remove_file(log);
                return Ok(());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            _ => {}
        }
        match malachitebft_app_channel::app::wal::Log::open(log) {
            Ok(_) => return Ok(()),
            Err(_) if waited < ENDING => {
                tokio::time::sleep(RETRY).await;
                waited = waited.saturating_add(RETRY);
            }
            Err(_) => {
                return Err(OrderingError::Log {
                    path: log.to_owned(),
                });
            }
        }
    }
}
