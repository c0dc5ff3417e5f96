//! A storage node: its data folder, its end point, and the pipeline behind them.

use crate::error::NodeError;
use crate::heal::{Healed, Scrub};
use crate::journal::Journal;
use crate::keys::NodeKeys;
use crate::outbox::Outbox;
use crate::pipeline::{Goal, Pipeline};
use crate::progress::Sealings;
use crate::prover::Prover;
use crate::report::REPORT_FILE;
use crate::room::Room;
use crate::sectors::Sectors;
use crate::service::{Service, Shared};
use crate::shards::ShardStore;
use crate::till::Till;
use crate::work::Work;
use holdfast_market_core::message::{ProviderOffer, decode};
use holdfast_market_core::units::{Amount, NetworkId, ProviderId};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_wire::folder::{DataFolder, FolderError, FolderKind, patiently};
use holdfast_wire::ledger::{LedgerClient, Sender};
use holdfast_wire::network::NetworkFolder;
use holdfast_wire::protocol::NodeStatus;
use holdfast_wire::quic::{self, Limits, Peers, node_key};
use holdfast_wire::transfer::Purse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::available_parallelism;
use tokio::sync::watch;

/// What a node takes for a GiB and a period where nothing else is said.
pub const DEFAULT_PRICE: Amount = Amount::hold(1);

/// What a running node may put into channels to others, to read what makes a damaged shard again.
const REPAIR_READING: Amount = Amount::hold(10);

/// How a node is to run.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The network that it is part of.
    pub network: NetworkFolder,
    /// Its data folder.
    pub data: PathBuf,
    /// Where its QUIC end point listens; peers reach it there.
    pub listen: SocketAddr,
    /// What it is to have.
    pub goal: Goal,
    /// The least price that it takes for a GiB and a period, hot.
    pub price: Amount,
    /// What it takes for reading a GiB; nothing where that is zero.
    pub read_price: Amount,
}

/// A node that is ready to run.
pub struct Node {
    // Held, and so locked, as long as the node lives.
    _folder: DataFolder,
    network: NetworkId,
    endpoint: quinn::Endpoint,
    address: SocketAddr,
    pub(crate) service: Service,
    pub(crate) pipeline: Pipeline,
    provider: watch::Receiver<Option<ProviderId>>,
    sealing: watch::Receiver<Sealings>,
}

impl Node {
    /// Opens the data folder and the end point. Nothing is asked of the ledger yet.
    ///
    /// # Errors
    /// Keys, folder, journal, network or socket that cannot be used, each in one sentence.
    pub fn open(config: NodeConfig) -> Result<Self, NodeError> {
        let network = config.network.network();
        let genesis = config.network.genesis();
        let parameters = genesis.parameters.clone();
        if !parameters.classes.contains(&config.goal.class) {
            let classes: Vec<_> = parameters
                .classes
                .iter()
                .map(|class| class.name())
                .collect();
            return Err(NodeError::Start(format!(
                "sectors of {} are not allowed on this network; choose --class {}",
                config.goal.class,
                classes.join(" or ")
            )));
        }
        let keys = NodeKeys::read(&config.data)?;
        let folder = patiently(
            || DataFolder::open(&config.data, FolderKind::Node, network),
            |error| matches!(error, FolderError::InUse { .. }),
        )
        .map_err(start)?;
        let data = folder.path().to_owned();
        let verifying = verifying_keys(&config.network)?;
        let journal = patiently(
            || Journal::open(&data.join("node.db")),
            |error| matches!(error, NodeError::JournalInUse { .. }),
        )?;
        let shards = ShardStore::open(&data.join("shards"))?;
        let records = journal.shards()?;
        let known: BTreeSet<_> = records.iter().map(|(id, _)| *id).collect();
        shards.keep_only(&known)?;
        for (deal, record) in records {
            // One that is missing or short is remembered, and put right as soon as the ledger answers.
            if let Err(error) = shards.file(deal, record.receipt.receipt.length) {
                tracing::error!(%error, "a shard is damaged");
            }
        }
        // A record that cannot be read is said now, and not when it is needed.
        journal.sectors()?;
        let ledger = LedgerClient::new(config.network.api()).map_err(start)?;
        let outbox = Outbox::open(ledger.clone(), network, parameters.clone(), &journal)?;
        if config.listen.ip().is_unspecified() {
            return Err(NodeError::Start(format!(
                "peers cannot reach a node at {}; give the address that they reach it at with --listen",
                config.listen.ip()
            )));
        }
        let endpoint = quic::server(&keys.node, config.listen).map_err(start)?;
        let address = endpoint
            .local_addr()
            .map_err(|error| NodeError::Start(format!("{}: {error}", config.listen)))?;
        let peers = Peers::new(keys.node.clone(), network).map_err(start)?;
        let (provider_sender, provider) = watch::channel(None);
        let (status_sender, status) = watch::channel(NodeStatus::default());
        let (sealing_sender, sealing) = watch::channel(Sealings::default());
        let node = node_key(&keys.node);
        let sender = Sender::new(
            ledger.clone(),
            network,
            parameters.clone(),
            keys.owner.clone(),
        );
        let purse = Purse::new(network, keys.owner.clone(), sender, REPAIR_READING);
        let purse = Arc::new(purse);
        let shared = Arc::new(Shared {
            network,
            parameters,
            worker: keys.worker.clone(),
            node,
            price: config.price,
            till: Till::new(config.read_price),
            journal,
            shards,
            room: Room::default(),
            provider: provider.clone(),
            leaving: AtomicBool::new(false),
            status,
        });
        let service = Service::new(shared.clone(), peers.clone(), ledger.clone());
        let pipeline = Pipeline {
            shared,
            ledger,
            owner: keys.owner.clone(),
            offer: ProviderOffer {
                node,
                endpoint: address.to_string(),
                price: config.price,
                read_price: config.read_price,
            },
            goal: config.goal,
            outbox,
            work: Work::new(available_parallelism().unwrap_or(NonZeroUsize::MIN)),
            sectors: Arc::new(Sectors::new(&data.join("sectors"))),
            prover: Arc::new(Prover::new(config.network.parameters(), verifying)),
            proofs: Default::default(),
            peers,
            purse,
            scrub: Scrub::default(),
            healed: Healed::default(),
            sealing: sealing_sender,
            report: data.join(REPORT_FILE),
            provider: provider_sender,
            status: status_sender,
            beacons: BTreeMap::new(),
            troubles: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            started: None,
            aside: None,
        };
        Ok(Self {
            _folder: folder,
            network,
            endpoint,
            address,
            service,
            pipeline,
            provider,
            sealing,
        })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How far the seals under way are.
    pub fn sealing(&self) -> watch::Receiver<Sealings> {
        self.sealing.clone()
    }

    /// Serves and follows the ledger until `stop` is true.
    pub async fn run(mut self, stop: watch::Receiver<bool>) {
        let serving = self.serving(stop.clone());
        tokio::join!(serving, self.pipeline.follow(stopped(stop)));
    }

    /// Answers over QUIC until `stop` is true.
    pub(crate) fn serving(&self, stop: watch::Receiver<bool>) -> impl Future<Output = ()> + use<> {
        let service = quic::Service {
            network: self.network,
            provider: self.provider.clone(),
            limits: Limits::default(),
        };
        let handler = self.service.clone();
        quic::serve(self.endpoint.clone(), service, stopped(stop), move |call| {
            handler.clone().handle(call)
        })
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone will never say stop; then the process is ending anyway.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn verifying_keys(network: &NetworkFolder) -> Result<VerifyingKeys, NodeError> {
    let bytes = network.verifying_keys().map_err(start)?;
    let keys: VerifyingKeys = decode("list of verifying keys", &bytes).map_err(start)?;
    if keys.digest() != network.genesis().verifying_keys {
        return Err(NodeError::Start(format!(
            "the verifying keys in {} are not those of its genesis; get the folder again from where you have it",
            network.path().display()
        )));
    }
    Ok(keys)
}

fn start(error: impl std::fmt::Display) -> NodeError {
    NodeError::Start(error.to_string())
}
