//! A whole network in one process: a market with its ledger, its ordering and its API, and storage
//! nodes that register on it and take in, keep and serve shards over QUIC. Their sectors are said to
//! be sealed and are not: what a client does is over before anything is embedded.
// Several test programs use it, each a part of it.
#![allow(dead_code)]

#[path = "manner.rs"]
mod manner;

pub use manner::Manner;

use bls12_381::{G1Affine, G2Affine};
use ed25519_dalek::SigningKey;
use holdfast_client::meter::Meter;
use holdfast_client::put::PutOptions;
use holdfast_client::session::Session;
use holdfast_client::wallet::Wallet;
use holdfast_market::run::{Config, Market, OrderedBy, init};
use holdfast_market_core::channel::SignedVoucher;
use holdfast_market_core::genesis::{Balance, Genesis};
use holdfast_market_core::message::{Acceptance, Body, ProviderOffer, encode};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::receipt::Tier;
use holdfast_market_core::units::{
    Address, Amount, Blocks, ByteCount, DealId, Height, NetworkId, PackId, Periods, ProviderId,
    SectorNumber, ShardIndex,
};
use holdfast_node::error::NodeError;
use holdfast_node::journal::Journal;
use holdfast_node::placement::{Occupancy, Piece};
use holdfast_node::room::Room;
use holdfast_node::service::{Service, Shared};
use holdfast_node::shards::ShardStore;
use holdfast_node::till::Till;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::piece::PieceRoots;
use holdfast_proofs::sector::SectorClass;
use holdfast_wire::ledger::{LedgerClient, Sender};
use holdfast_wire::network::NetworkFolder;
use holdfast_wire::protocol::{NodeStatus, Request};
use holdfast_wire::quic::{self, Limits, Peers, node_key};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a node takes for a GiB and a period.
const PRICE: Amount = Amount::hold(1);
/// What the wallet has at first.
pub const WEALTH: Amount = Amount::hold(1_000);
/// Groups of a sector that are free: shards of 254 KiB at most, so that a pack of three of them is
/// small and an object of a megabyte has several.
const FREE_GROUPS: usize = 2;
const GROUPS: usize = 64;
/// Levels of a subtree that fills a group.
const GROUP_LEVELS: u32 = 4;

/// What a node takes for reading a GiB.
#[derive(Clone, Copy, Default)]
pub struct Reading {
    /// By its offer on the ledger.
    pub offered: Amount,
    /// What it asks of who reads.
    pub asked: Amount,
}

/// A storage node: its service, without the pipeline behind it.
pub struct Node {
    pub provider: ProviderId,
    shared: Arc<Shared>,
    peers: Peers,
    tasks: Vec<JoinHandle<()>>,
    closed: watch::Sender<bool>,
    assisted: Arc<AtomicU64>,
    manner: Arc<Mutex<Manner>>,
    address: String,
    sender: Sender,
    named: watch::Sender<Option<ProviderId>>,
}

impl Node {
    /// Starts to answer, registers, and follows the ledger's height.
    pub async fn start(
        folder: &Path,
        (network, parameters): (NetworkId, Parameters),
        client: &LedgerClient,
        owner: &SigningKey,
        reading: Reading,
        room: Room,
    ) -> Self {
        let manner = Arc::new(Mutex::new(Manner::Honest));
        let (identity, worker) = (derived(owner, 1), derived(owner, 2));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let endpoint = quic::server(&identity, address).unwrap();
        let (name_provider, provider) = watch::channel(None);
        let (show_status, status) = watch::channel(NodeStatus::default());
        std::fs::create_dir_all(folder).unwrap();
        let shared = Arc::new(Shared {
            network,
            parameters: parameters.clone(),
            worker: worker.clone(),
            node: node_key(&identity),
            price: PRICE,
            till: Till::new(reading.asked),
            journal: Journal::open(&folder.join("node.db")).unwrap(),
            shards: ShardStore::open(&folder.join("shards")).unwrap(),
            room,
            provider: provider.clone(),
            leaving: Default::default(),
            status,
        });
        let offer = ProviderOffer {
            node: node_key(&identity),
            endpoint: endpoint.local_addr().unwrap().to_string(),
            price: PRICE,
            read_price: reading.offered,
        };
        let offer_address = offer.endpoint.clone();
        let peers = Peers::new(identity, network).unwrap();
        let service = Service::new(shared.clone(), peers.clone(), client.clone());
        let (closed, doors) = watch::channel(false);
        let assisted = Arc::new(AtomicU64::new(0));
        let counter = assisted.clone();
        let (manners, held) = (manner.clone(), shared.clone());
        let outer = quic::Service {
            network,
            provider,
            limits: Limits::default(),
        };
        let serving = tokio::spawn(quic::serve(
            endpoint,
            outer,
            std::future::pending(),
            move |call| {
                let (service, mut doors) = (service.clone(), doors.clone());
                let (manner, held) = (*manners.lock().unwrap(), held.clone());
                let waits = matches!(call.request, Request::PutShard(_));
                if matches!(call.request, Request::AssistPut(_)) {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                async move {
                    if waits {
                        // The door is never taken away while somebody stands before it.
                        let _ = doors.wait_for(|closed| !closed).await;
                    }
                    if let Some(call) = manner.answer(&held, call).await {
                        service.handle(call).await;
                    }
                }
            },
        ));
        let follower = client.clone();
        let following = tokio::spawn(async move {
            let mut next = Height(1);
            loop {
                match follower.wait(next).await {
                    Ok(status) => {
                        show_status.send_modify(|shown| shown.height = status.height);
                        next = status.height.after(Blocks(1));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        });
        let sender = Sender::new(client.clone(), network, parameters, owner.clone());
        let registration = Body::RegisterProvider {
            worker: address_of(&worker),
            offer,
            collateral: Amount::hold(100),
        };
        sender.send(registration).await.unwrap();
        let providers = client.providers().await.unwrap();
        let mine = |one: &&holdfast_market_core::state::Provider| one.owner == sender.address();
        let provider = providers.iter().find(mine).unwrap().id;
        name_provider.send(Some(provider)).unwrap();
        Self {
            provider,
            shared,
            peers,
            tasks: vec![serving, following],
            closed,
            assisted,
            manner,
            address: offer_address,
            sender,
            named: name_provider,
        }
    }

    /// Where it answers.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Says in each hello from now on that it is that provider.
    pub fn claim(&self, provider: ProviderId) {
        self.named.send_replace(Some(provider));
    }

    /// Lies in one way from now on.
    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Accepts its deals of a pack, with the roots of its bytes or of others.
    pub async fn accept(&self, pack: PackId, spoil: impl Fn(&mut Vec<u8>)) {
        let mut deals = Vec::new();
        for (deal, record) in self.shared.journal.shards().unwrap() {
            if deal.pack != pack {
                continue;
            }
            let length = record.receipt.receipt.length.0;
            let mut bytes = std::fs::read(self.shared.shards.path(deal)).unwrap();
            spoil(&mut bytes);
            let levels = self.shared.parameters.piece_levels;
            let roots = PieceRoots::compute(&*bytes, length, levels).unwrap();
            deals.push(Acceptance {
                shard: deal,
                piece_roots: roots.0,
            });
        }
        self.as_worker(Body::AcceptDeals {
            provider: self.provider,
            deals,
        })
        .await;
    }

    /// Begins to leave the network.
    pub async fn retire(&self) {
        let provider = self.provider;
        self.sender.send(Body::Retire { provider }).await.unwrap();
        self.shared.leaving.store(true, Ordering::SeqCst);
    }

    async fn as_worker(&self, body: Body) {
        let fees = Body::Transfer {
            to: address_of(&self.shared.worker),
            amount: Amount::hold(1),
        };
        self.sender.send(fees).await.unwrap();
        let worker = Sender::new(
            self.sender.client().clone(),
            self.shared.network,
            self.shared.parameters.clone(),
            self.shared.worker.clone(),
        );
        worker.send(body).await.unwrap();
    }

    /// The highest voucher of every payer, written down or not.
    pub fn vouchers(&self) -> Vec<SignedVoucher> {
        for signed in self.shared.till.unkept() {
            self.shared.journal.put_voucher(&signed).unwrap();
            self.shared.till.kept(&signed);
        }
        self.shared.journal.vouchers().unwrap()
    }

    /// Redeems a voucher, paying its worker's fee first.
    pub async fn redeem(&self, voucher: SignedVoucher) {
        self.as_worker(Body::RedeemVoucher { voucher }).await;
    }

    /// Files of shards, whole or not.
    pub fn files(&self) -> usize {
        std::fs::read_dir(self.shared.shards.folder())
            .unwrap()
            .count()
    }

    /// What it may still promise.
    pub fn free(&self) -> ByteCount {
        self.shared.room.free()
    }

    /// From now on shards wait at the door.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Those that wait come in.
    pub fn open(&self) {
        self.closed.send_replace(false);
    }

    /// Shards that it has signed for.
    pub fn shards(&self) -> usize {
        self.shared.journal.shards().unwrap().len()
    }

    /// What it has signed for, and where the bytes lie.
    pub fn shard_files(&self) -> Vec<(DealId, PathBuf)> {
        let shards = self.shared.journal.shards().unwrap().into_iter();
        let path = |deal| (deal, self.shared.shards.path(deal));
        shards.map(|(deal, _)| path(deal)).collect()
    }

    /// The shards whose files it has met damaged.
    pub fn damaged(&self) -> Vec<DealId> {
        let damaged = self.shared.shards.damaged().into_iter();
        damaged.map(|(deal, _)| deal).collect()
    }

    /// Has a shard again from others of its pack, as its pipeline would.
    pub async fn rebuild(&self, client: &LedgerClient, deal: DealId) -> Result<(), NodeError> {
        let rebuilt =
            holdfast_node::heal::rebuild(&self.shared, &self.peers, None, client, deal).await;
        rebuilt.map(drop)
    }

    /// Uploads that it was asked to spread.
    pub fn assisted(&self) -> u64 {
        self.assisted.load(Ordering::SeqCst)
    }

    /// Ends as a SIGKILL does: nobody is told.
    pub async fn kill(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.peers.close().await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A market and its nodes; they end with it.
pub struct Network {
    folder: tempfile::TempDir,
    pub nodes: Vec<Node>,
    pub client: LedgerClient,
    stop: watch::Sender<bool>,
}

impl Network {
    /// A network of so many nodes with so many sectors each, and a wallet that has [`WEALTH`].
    pub async fn start(nodes: u64, sectors: u64) -> Self {
        // Promises, of which nobody here makes good, that no test outlives.
        Self::promising(nodes, sectors, Blocks(1 << 20)).await
    }

    /// The same, with so many blocks for a promise, and one owner more who has no node yet.
    pub async fn promising(nodes: u64, sectors: u64, promise: Blocks) -> Self {
        Self::make(nodes, sectors, promise, |_| Reading::default()).await
    }

    /// A network whose nodes charge for reading, each as `reading` says of its number.
    pub async fn charging(nodes: u64, sectors: u64, reading: fn(usize) -> Reading) -> Self {
        Self::make(nodes, sectors, Blocks(1 << 20), reading).await
    }

    async fn make(
        nodes: u64,
        sectors: u64,
        promise: Blocks,
        reading: fn(usize) -> Reading,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network");
        let wallet = Wallet::create(&path.join("wallet"), None).unwrap();
        let owners: Vec<_> = (0..=nodes).map(owner).collect();
        let data = folder.path().join("market");
        let validator = init(&data, &mut rand::rngs::OsRng).unwrap();
        // Quick blocks.
        let parameters = Parameters {
            block_interval_ms: 40,
            promise,
            // A check, and what it sends, fits in.
            dispute_window: Blocks(50),
            opening_due: Blocks(250),
            classes: vec![SectorClass::Mib8],
            ..Parameters::dev()
        };
        let verifying_keys = keys_of_no_circuit(&parameters);
        let balance = |account, amount| Balance { account, amount };
        let mut balances = vec![balance(wallet.address(), WEALTH)];
        let owned = owners.iter().map(address_of);
        balances.extend(owned.map(|owner| balance(owner, Amount::hold(200))));
        let genesis = Genesis {
            name: "loopback".into(),
            time: 1_700_000_000_000,
            parameters,
            verifying_keys: verifying_keys.digest(),
            balances,
            validators: vec![validator],
        };
        let market = Market::open(Config {
            genesis: genesis.clone(),
            verifying_keys: verifying_keys.clone(),
            data,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ordering: OrderedBy::Embedded,
            forward: Vec::new(),
        });
        let market = market.await.unwrap();
        let api = format!("http://{}", market.address().unwrap());
        let keys = encode(&verifying_keys).unwrap();
        NetworkFolder::create(&path, &genesis, &keys, &api, Path::new("none")).unwrap();
        let client = LedgerClient::new(&api).unwrap();
        let rules = (market.network(), genesis.parameters.clone());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move { market.run(stopped).await.unwrap() });
        let mut network = Self {
            nodes: Vec::new(),
            client: client.clone(),
            stop,
            folder,
        };
        for (number, owner) in owners.iter().enumerate().take(nodes as usize) {
            let at = network.path(&format!("node {number}"));
            let reading = reading(number);
            let node =
                Node::start(&at, rules.clone(), &client, owner, reading, room(sectors)).await;
            network.nodes.push(node);
        }
        network
    }

    /// A path of that name in a folder that ends with the network.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder that commands take as `--network`; the wallet is in it.
    pub fn at(&self) -> PathBuf {
        self.path("network")
    }

    /// The wallet on this network.
    pub fn session(&self) -> Session {
        Session::open(&self.at(), None).unwrap()
    }

    /// Another wallet, which has nothing.
    pub fn poor_session(&self, name: &str) -> Session {
        let path = self.path(name);
        Wallet::create(&path, None).unwrap();
        Session::open(&self.at(), Some(&path)).unwrap()
    }

    /// A second folder of the network, whose API is at another address.
    pub fn folder_by_way_of(&self, name: &str, api: &str) -> PathBuf {
        let folder = NetworkFolder::open(&self.at()).unwrap();
        let keys = folder.verifying_keys().unwrap();
        let path = self.path(name);
        NetworkFolder::create(&path, folder.genesis(), &keys, api, Path::new("none")).unwrap();
        path
    }

    /// Shards that the nodes have signed for.
    pub fn shards(&self) -> Vec<usize> {
        self.nodes.iter().map(Node::shards).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Three of six for ten periods.
pub fn options(name: &str, direct: bool) -> PutOptions {
    PutOptions {
        name: Some(name.into()),
        terms: holdfast_client::journal::StorageTerms {
            data_shards: 3,
            total_shards: 6,
            term: Periods(10),
        },
        direct,
        replace: false,
    }
}

/// Stores what is at `path`.
pub async fn put(
    session: &Session,
    path: &Path,
    options: &PutOptions,
) -> Result<holdfast_client::put::Stored, holdfast_client::error::ClientError> {
    holdfast_client::put::put(session, path, options, &Meter::hidden()).await
}

/// Fetches an object of the wallet's catalogue into a new folder, and says where it is.
pub async fn get(session: &Session, name: &str, to: &Path) -> PathBuf {
    let catalogue = holdfast_client::published::current(session).await.unwrap();
    let record = holdfast_client::get::find(&catalogue, name).unwrap();
    let got = holdfast_client::get::get(session, record, to, false, &Meter::hidden()).await;
    got.unwrap().path
}

/// Waits until something holds, for at most 20 s.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in 20 s: {what}");
}

/// Bytes that no compressor and no accident makes; the same every time.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut output =
        blake3::Hasher::new_keyed(blake3::hash(&seed.to_le_bytes()).as_bytes()).finalize_xof();
    output.fill(&mut bytes);
    bytes
}

/// Who owns the node of that number.
pub fn owner(number: u64) -> SigningKey {
    derived(&SigningKey::from_bytes(&[7; 32]), 10 + number)
}

fn derived(key: &SigningKey, number: u64) -> SigningKey {
    let mut hasher = blake3::Hasher::new_keyed(&key.to_bytes());
    SigningKey::from_bytes(hasher.update(&number.to_le_bytes()).finalize().as_bytes())
}

fn address_of(key: &SigningKey) -> Address {
    Address(key.verifying_key().to_bytes())
}

/// Sectors of which all but the last groups are taken.
pub fn room(sectors: u64) -> Room {
    let room = Room::default();
    let sectors = (0..sectors).map(|number| {
        let mut occupancy = Occupancy::empty(SectorClass::Mib8);
        let taken = Piece {
            deal: DealId {
                pack: PackId([0; 32]),
                shard: ShardIndex(0),
            },
            tier: Tier::Hot,
            subtrees: vec![GROUP_LEVELS; GROUPS - FREE_GROUPS],
        };
        occupancy.place(&taken).unwrap();
        (SectorNumber(number), occupancy)
    });
    let sectors: BTreeMap<_, _> = sectors.collect();
    room.refresh(sectors, Vec::new(), &BTreeSet::new());
    room
}

/// Verifying keys that are well-formed points and belong to no circuit, so that no proof ever
/// verifies; none is made here.
fn keys_of_no_circuit(parameters: &Parameters) -> VerifyingKeys {
    let one = G1Affine::generator().to_uncompressed();
    let two = G2Affine::generator().to_uncompressed();
    let keys = parameters.circuits().into_iter().map(|id| {
        // As `bellman` writes them: alpha, beta twice, gamma, delta twice, then the inputs.
        let mut bytes = [&one[..], &one, &two, &two, &one, &two].concat();
        let inputs = u32::try_from(id.public_input_count() + 1).unwrap();
        bytes.extend(inputs.to_be_bytes());
        for _ in 0..inputs {
            bytes.extend(one);
        }
        (id, bytes)
    });
    keys.collect()
}
