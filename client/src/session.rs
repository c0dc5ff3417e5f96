//! A wallet on a network: what every command of a client starts from.

use crate::error::ClientError;
use crate::wallet::Wallet;
use holdfast_market_core::parameters::{Economy, Parameters};
use holdfast_market_core::units::{Address, Amount, NetworkId};
use holdfast_wire::ledger::{LedgerClient, LedgerError, Sender};
use holdfast_wire::network::NetworkFolder;
use holdfast_wire::quic::Peers;
use holdfast_wire::transfer::Purse;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a command may put into channels for reading, where nothing else is said.
pub const MOST_READING: Amount = Amount::hold(1);

/// The folder of the wallet where none is named: in the network's folder.
pub fn default_wallet(network: &Path) -> PathBuf {
    network.join("wallet")
}

/// A wallet, the ledger of its network, and connections to its providers.
#[derive(Debug)]
pub struct Session {
    network: NetworkFolder,
    wallet: Wallet,
    ledger: LedgerClient,
    sender: Sender,
    peers: Peers,
    purse: Arc<Purse>,
}

impl Session {
    /// Opens a network's folder and a wallet (by default the one in that folder). Nothing is
    /// asked of anybody yet.
    ///
    /// # Errors
    /// No network or no wallet there.
    pub fn open(network: &Path, wallet: Option<&Path>) -> Result<Self, ClientError> {
        let folder = NetworkFolder::open(network)?;
        let wallet = match wallet {
            Some(path) => Wallet::open(path)?,
            None => Wallet::open(&default_wallet(network))?,
        };
        let ledger = LedgerClient::new(folder.api())?;
        let sender = Sender::new(
            ledger.clone(),
            folder.network(),
            folder.genesis().parameters.clone(),
            wallet.key(),
        );
        let peers = Peers::new(wallet.node_key(), folder.network()).map_err(|error| {
            ClientError::failed(
                format!("this machine opens no UDP port: {error}"),
                "see whether a firewall or a limit of open files forbids it",
            )
        })?;
        let purse = Purse::new(folder.network(), wallet.key(), sender.clone(), MOST_READING);
        Ok(Self {
            purse: Arc::new(purse),
            network: folder,
            wallet,
            ledger,
            sender,
            peers,
        })
    }

    /// The wallet.
    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// Its account.
    pub fn address(&self) -> Address {
        self.sender.address()
    }

    /// An account as people see it on this network.
    pub fn text_of(&self, address: Address) -> String {
        address.to_text(self.network.genesis().address_prefix())
    }

    /// The network's folder.
    pub fn network(&self) -> &NetworkFolder {
        &self.network
    }

    /// The network's id.
    pub fn network_id(&self) -> NetworkId {
        self.network.network()
    }

    /// The rules' numbers.
    pub fn parameters(&self) -> &Parameters {
        &self.network.genesis().parameters
    }

    /// What things cost and pay now.
    ///
    /// # Errors
    /// A ledger that does not answer, or states what no vote can have made.
    pub async fn economy(&self) -> Result<Economy, LedgerError> {
        self.ledger.economy(self.parameters()).await
    }

    /// The ledger.
    pub fn ledger(&self) -> &LedgerClient {
        &self.ledger
    }

    /// Sends the wallet's messages.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Pays providers that want to be paid for reading.
    pub fn purse(&self) -> &Arc<Purse> {
        &self.purse
    }

    /// Connections to providers.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Tells the providers that it is over.
    pub async fn close(&self) {
        self.peers.close().await;
    }
}
