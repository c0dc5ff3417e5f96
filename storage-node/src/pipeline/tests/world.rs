//! A node and its ledger, block by block: the node takes its steps only when a test says so, and
//! the ledger includes what a test lets it.

use super::ledger::{self, Ledger, kind, rich};
use crate::keys::{NodeKeys, address};
use crate::node::{Node, NodeConfig};
use crate::pipeline::Goal;
use crate::work::Lane;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use holdfast_market_core::block::OutcomeResult;
use holdfast_market_core::message::{
    Body, DealSetProposal, Message, PackHeader, ShardTerms, SignedMessage, encode,
};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::query;
use holdfast_market_core::quote;
use holdfast_market_core::receipt::{SignedReceipt, Tier};
use holdfast_market_core::state::{Deal, Provider, Sector};
use holdfast_market_core::units::{
    Amount, Blocks, ByteCount, DealId, Height, MessageId, Periods, ProviderId, SectorId,
    SectorNumber, ShardIndex, ShardRoot,
};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::params::ensure;
use holdfast_proofs::sector::SectorClass;
use holdfast_wire::network::NetworkFolder;
use holdfast_wire::protocol::{PutShard, Refusal, ShardOffer};
use holdfast_wire::quic;
use rand::SeedableRng;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use tempfile::TempDir;
use tokio::sync::OnceCell;

pub const CLASS: SectorClass = SectorClass::Mib8;
/// Shards of the packs here: four units each, and eight are a group.
pub const LENGTH: usize = 60_000;
const PROVIDER: ProviderId = ProviderId(0);

/// As on the development network, with fewer challenges a proof and a longer period, so that a
/// test meets a deadline only where it is about one.
fn parameters() -> Parameters {
    Parameters {
        classes: vec![CLASS],
        period: Blocks(240),
        promise: Blocks(60),
        replica_due: Blocks(10),
        ticket_age: Blocks(40),
        seal_challenges: 1,
        seal_challenges_per_proof: 1,
        embed_challenges: 2,
        embed_challenges_per_proof: 2,
        ..Parameters::dev()
    }
}

/// Proving parameters are kept in the build folder, beside those of the proofs' own tests.
fn proving() -> (PathBuf, VerifyingKeys) {
    let binary = std::env::current_exe().unwrap();
    // target/debug/deps/binary
    let folder = binary
        .ancestors()
        .nth(3)
        .unwrap()
        .join("tmp/proofs/parameters");
    let keys = ensure(&folder, &parameters().circuits(), &mut |_| {}).unwrap();
    (folder, keys)
}

fn client() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

pub struct World {
    ledger: Arc<Mutex<Ledger>>,
    network: NetworkFolder,
    folder: TempDir,
    node: Option<Node>,
    pub sectors: u32,
    pub retire: bool,
    pub price: Amount,
}

/// A world in which sector 0 is sealed and proven.
static SEALED: OnceCell<(Ledger, TempDir)> = OnceCell::const_new();

impl World {
    /// A node that is to have so many sectors and does not run yet.
    pub async fn new(sectors: u32) -> Self {
        let (_, keys) = proving();
        let folder = tempfile::tempdir().unwrap();
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        let node = NodeKeys::create(&folder.path().join("data"), &mut rng).unwrap();
        let balances = vec![rich(node.owner), rich(address(&client()))];
        let ledger = Ledger::new(parameters(), &keys, balances);
        Self::on(ledger, folder, sectors).await
    }

    /// One whose sector 0 is proven, empty, and long before its first deadline.
    pub async fn sealed() -> Self {
        let (ledger, data) = SEALED.get_or_init(seal).await;
        let folder = tempfile::tempdir().unwrap();
        copy(data.path(), &folder.path().join("data"));
        let mut world = Self::on(ledger.clone(), folder, 1).await;
        world.start();
        world.settle().await;
        // Its end point is another, which is said to the ledger.
        world.mine();
        world.settle().await;
        assert_eq!(world.posted(), [""; 0]);
        world
    }

    async fn on(ledger: Ledger, folder: TempDir, sectors: u32) -> Self {
        let (proving, keys) = proving();
        let genesis = ledger.genesis.clone();
        let ledger = Arc::new(Mutex::new(ledger));
        let api = ledger::serve(ledger.clone()).await;
        let keys = encode(&keys).unwrap();
        let path = folder.path().join("network");
        let network = NetworkFolder::create(&path, &genesis, &keys, &api, &proving).unwrap();
        Self {
            ledger,
            network,
            folder,
            node: None,
            sectors,
            retire: false,
            price: Amount::hold(1),
        }
    }

    pub fn start(&mut self) {
        let config = NodeConfig {
            network: self.network.clone(),
            data: self.data(),
            listen: "127.0.0.1:0".parse().unwrap(),
            goal: Goal {
                class: CLASS,
                sectors: self.sectors,
                retire: self.retire,
            },
            price: self.price,
            read_price: Amount::ZERO,
        };
        self.node = Some(Node::open(config).unwrap());
    }

    /// Lets the node answer over QUIC from now on. It is not to be killed after that: what it answers
    /// with holds its journal.
    pub fn serve(&mut self) {
        let (never, stop) = tokio::sync::watch::channel(false);
        let serving = self.node().serving(stop);
        tokio::spawn(async move {
            serving.await;
            drop(never);
        });
    }

    /// As a SIGKILL between two steps: nobody is told, and what is not on the disk is gone.
    pub fn kill(&mut self) {
        self.node = None;
    }

    pub fn node(&mut self) -> &mut Node {
        self.node.as_mut().unwrap()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    pub fn height(&self) -> Height {
        self.ledger().height()
    }

    /// Lets the node take every step that it can take at this height.
    pub async fn settle(&mut self) {
        let height = self.height();
        let node = self.node();
        loop {
            node.pipeline.tick(height).await;
            let work = node.pipeline.work.clone();
            let busy = || work.is_busy(&[Lane::Seal, Lane::Proof, Lane::Deadline, Lane::Heal]);
            // A job that ended in the meantime has left its sign.
            let moment = std::time::Duration::from_millis(1);
            let ended = tokio::time::timeout(moment, work.ended()).await.is_ok();
            if !ended && !busy() {
                return;
            }
            while busy() {
                work.ended().await;
            }
        }
    }

    /// The next block with everything that waits; the rules must take all of it.
    pub fn mine(&mut self) {
        self.mine_without("");
    }

    /// The next block, without messages of one kind.
    pub fn mine_without(&mut self, held: &str) {
        for (body, result) in self.ledger().mine(held) {
            assert_eq!(result, OutcomeResult::Done, "{}", kind(&body));
        }
    }

    pub fn mine_to(&mut self, height: Height) {
        while self.height() < height {
            self.mine();
        }
    }

    /// The names of messages that wait for a block, the node's endpoint's apart.
    pub fn posted(&self) -> Vec<String> {
        let ledger = self.ledger();
        let kinds = ledger.pool.iter().map(|one| kind(&one.message.body));
        kinds.filter(|kind| kind != "UpdateProvider").collect()
    }

    /// The names of the messages of one kind that wait.
    pub fn ids(&self, name: &str) -> Vec<MessageId> {
        let ledger = self.ledger();
        let pool = ledger.pool.iter();
        pool.filter(|one| kind(&one.message.body) == name)
            .map(|one| one.id().unwrap())
            .collect()
    }

    /// Goes on, block by block, until the node has sent a message of this kind.
    pub async fn until_posted(&mut self, name: &str) {
        for _ in 0..8 {
            self.settle().await;
            if self.posted().iter().any(|posted| posted == name) {
                return;
            }
            self.mine();
        }
        let troubles = &self.node().pipeline.troubles;
        panic!("no {name}: {troubles:?}");
    }

    /// The node has sent this; it ends, and the ledger forgets the message: the node sends the
    /// same bytes again. It ends once more and finds the message included when it is back.
    pub async fn ends_after_sending(&mut self, name: &str) {
        let sent = self.ids(name);
        assert_eq!(sent.len(), 1, "{name}");
        self.kill();
        self.ledger().pool.clear();
        self.start();
        self.settle().await;
        assert_eq!(self.ids(name), sent, "{name}");
        self.kill();
        self.mine();
        self.start();
        self.settle().await;
        assert!(!self.ids(name).contains(&sent[0]), "{name}");
    }

    /// A message of the client's.
    pub fn client_sends(&mut self, body: Body) {
        let mut ledger = self.ledger();
        let key = client();
        let sender = address(&key);
        let mut message = Message {
            sender,
            nonce: ledger.next_nonce(&sender),
            fee: Amount::ZERO,
            expiry: Height(u64::MAX),
            body,
        };
        message.fee = quote::fee(&ledger.rules.parameters.economy, &message).unwrap();
        let signed = SignedMessage::new(ledger.rules.network, &key, message).unwrap();
        ledger.submit(signed).unwrap();
    }

    /// Gives the node both shards of a new pack; answers the deal set on the receipts' terms.
    pub async fn put(&mut self, nonce: u64) -> DealSetProposal {
        let (pack, content) = Self::pack(nonce);
        let mut terms = Vec::new();
        for shard in 0..2 {
            let receipt = self.put_shard(&pack, &content, shard).await.unwrap();
            terms.push(ShardTerms {
                provider: receipt.receipt.provider,
                tier: receipt.receipt.tier,
                price: receipt.receipt.price,
                term: receipt.receipt.term,
                fund_by: receipt.receipt.fund_by,
            });
        }
        DealSetProposal {
            pack,
            terms,
            repair_threshold: 1,
            repair_budget: Amount(1_000),
        }
    }

    /// A pack of two equal shards, and the bytes of each.
    fn pack(nonce: u64) -> (PackHeader, Vec<u8>) {
        let content: Vec<u8> = (0..LENGTH as u64).map(|i| (i * nonce) as u8).collect();
        let root = ShardRoot(*blake3::hash(&content).as_bytes());
        let length = ByteCount(LENGTH as u64);
        let header = PackHeader {
            owner: address(&client()),
            nonce,
            k: 1,
            n: 2,
            length,
            shard_roots: vec![root, root],
            shard_length: length,
        };
        (header, content)
    }

    async fn put_shard(
        &mut self,
        pack: &PackHeader,
        content: &[u8],
        shard: u8,
    ) -> Result<SignedReceipt, Refusal> {
        let put = PutShard {
            header: pack.clone(),
            shard: ShardIndex(shard),
            offer: ShardOffer {
                tier: Tier::Hot,
                price: self.price,
                term: Periods(4),
            },
        };
        let (line, pieces) = tokio::sync::mpsc::channel(1);
        line.send(Bytes::from(content.to_vec())).await.unwrap();
        drop(line);
        let body = quic::Body::from_channel(pieces, pack.shard_length);
        self.node().service.put_shard(&put, body).await
    }

    /// Why the node does not take a shard of a new pack.
    pub async fn refuses_a_shard(&mut self, nonce: u64) -> String {
        let (pack, content) = Self::pack(nonce);
        self.put_shard(&pack, &content, 0)
            .await
            .unwrap_err()
            .sentence
    }

    /// Two deals on the ledger whose shards the node has.
    pub async fn funded(&mut self, nonce: u64) -> [DealId; 2] {
        let proposal = self.put(nonce).await;
        let deals = deals_of(&proposal);
        self.client_sends(Body::ProposeDealSet(proposal));
        self.mine();
        deals
    }

    pub fn provider(&self) -> Provider {
        query::provider(&self.ledger().view, PROVIDER)
            .unwrap()
            .unwrap()
    }

    pub fn sector(&self) -> Sector {
        let id = SectorId {
            provider: PROVIDER,
            number: SectorNumber(0),
        };
        query::sector(&self.ledger().view, id).unwrap().unwrap()
    }

    pub fn deal(&self, id: DealId) -> Deal {
        query::deal(&self.ledger().view, &id).unwrap().unwrap()
    }

    /// What the node says that it has put right, so far.
    pub fn healed(&mut self) -> Vec<String> {
        self.node().pipeline.healed.list()
    }

    pub fn trouble(&mut self, step: &str) -> String {
        let troubles = &self.node().pipeline.troubles;
        troubles.get(step).cloned().unwrap_or_default()
    }
}

pub fn deals_of(proposal: &DealSetProposal) -> [DealId; 2] {
    let pack = proposal.pack.id().unwrap();
    [0, 1].map(|shard| DealId {
        pack,
        shard: ShardIndex(shard),
    })
}

/// Registers and seals, ending the node wherever it has sent something.
async fn seal() -> (Ledger, TempDir) {
    let mut world = World::new(1).await;
    world.mine();
    world.start();
    for step in ["RegisterProvider", "Transfer", "PreCommitSector"] {
        world.until_posted(step).await;
        world.ends_after_sending(step).await;
    }
    // Layers and columns are kinds of the table too.
    let unknown = crate::damage::unknown(crate::damage::Owner::Node, &world.data());
    assert_eq!(unknown, Vec::<PathBuf>::new());
    world.until_posted("ProveSeal").await;
    let record = world.node().pipeline.shared.journal.sector(SectorNumber(0));
    assert!(record.unwrap().unwrap().seal_proofs.is_some());
    world.ends_after_sending("ProveSeal").await;
    world.mine();
    world.settle().await;
    world.kill();
    let data = tempfile::tempdir().unwrap();
    copy(&world.data(), data.path());
    let ledger = world.ledger().clone();
    (ledger, data)
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
