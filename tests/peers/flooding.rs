//! Floods against a node that is a process of its own: whatever comes in whatever number, its memory
//! stays bounded, nothing is left behind, and honest clients are served meanwhile.

use crate::met;
use crate::network::{Network, Node, Reading, get, noise, options, owner, put, room, until};
use crate::stranger::{Strangers, ask, raw};
use bytes::Bytes;
use holdfast_client::session::Session;
use holdfast_faults::figures;
use holdfast_faults::is_long;
use holdfast_market_core::message::PackHeader;
use holdfast_market_core::receipt::Tier;
use holdfast_market_core::units::{
    Address, Amount, Blocks, ByteCount, PackId, Periods, ShardIndex, ShardRoot,
};
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::protocol::{ByteRange, GetPieceProof, GetShard, PutShard, Request, ShardOffer};
use quinn::{RecvStream, SendStream};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where it is set, this binary is the node: the ledger's address, and the node's folder after it.
const NODE: &str = "HOLDFAST_TEST_NODE";
const TEST: &str = "flooding::a_flooded_node_stays_small_and_serves_honest_clients_meanwhile";
/// What a node may take at most.
const MOST_MIB: f64 = 256.0;
/// Sectors of every node, each with room for two groups.
const SECTORS: u64 = 40;
/// Connections of a flood.
const CROWD: usize = 500;
/// The node's number among the owners.
const FLOODED: u64 = 5;

/// The node: its service, and nothing else, until it is killed.
async fn be_a_node(api: &str, folder: &Path) {
    let client = LedgerClient::new(api).unwrap();
    let genesis = client.genesis().await.unwrap();
    let network = client.status().await.unwrap().network;
    let rules = (network, genesis.parameters.clone());
    let node = Node::start(
        folder,
        rules,
        &client,
        &owner(FLOODED),
        Reading::default(),
        room(SECTORS),
    )
    .await;
    println!("flooded {} {}", node.address(), node.provider);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("room {} {}", node.free().0, node.files());
    }
}

/// The node's process; it ends with the test.
struct Flooded {
    child: Child,
    address: String,
    /// Room and files, as it last said.
    told: Arc<std::sync::Mutex<(u64, usize)>>,
}

impl Flooded {
    fn start(api: &str, folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(NODE, api)
            .env("HOLDFAST_TEST_FOLDER", folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("flooded ")?;
                Some(rest.split(' ').next()?.to_owned())
            })
            .unwrap();
        let told = Arc::new(std::sync::Mutex::new((0, 0)));
        let hears = told.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut words = line.split(' ').skip_while(|word| *word != "room").skip(1);
                if let (Some(free), Some(files)) = (words.next(), words.next()) {
                    *hears.lock().unwrap() = (free.parse().unwrap(), files.parse().unwrap());
                }
            }
        });
        Self {
            child,
            address,
            told,
        }
    }

    /// The most memory that it ever had resident.
    fn peak_mib(&self) -> f64 {
        let status = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(status).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024.0
    }

    fn told(&self) -> (u64, usize) {
        *self.told.lock().unwrap()
    }
}

impl Drop for Flooded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Honest clients, who store and read through all six nodes while the flood goes on.
struct Honest<'a> {
    network: &'a Network,
    session: &'a Session,
    number: u64,
}

impl Honest<'_> {
    async fn is_served(&mut self, flood: &str) {
        self.number += 1;
        let name = format!("object {}", self.number);
        let path = self.network.path(&name);
        std::fs::write(&path, noise(self.number, 60_000)).unwrap();
        let begun = Instant::now();
        let stored = put(self.session, &path, &options(&name, false)).await;
        let stored = stored.unwrap_or_else(|error| panic!("{flood}: {error}"));
        assert_eq!(stored.packs[0].shards.len(), 6, "{flood}");
        let stored_in = begun.elapsed();
        let back = get(self.session, &name, &self.network.path("back")).await;
        assert!(
            std::fs::read(back).unwrap() == std::fs::read(&path).unwrap(),
            "{flood}"
        );
        println!(
            "{flood}: stored in {:.1} s, read in {:.1} s",
            stored_in.as_secs_f64(),
            (begun.elapsed() - stored_in).as_secs_f64()
        );
    }
}

fn shard(nonce: u64, length: u64) -> PutShard {
    PutShard {
        header: PackHeader {
            owner: Address([8; 32]),
            nonce,
            k: 1,
            n: 1,
            length: ByteCount(length),
            shard_roots: vec![ShardRoot([3; 32])],
            shard_length: ByteCount(length),
        },
        shard: ShardIndex(0),
        offer: ShardOffer {
            tier: Tier::Hot,
            price: Amount::hold(1),
            term: Periods(4),
        },
    }
}

type Stream = (SendStream, RecvStream);

/// Half a shard, again and again, over a few connections.
async fn half_pieces(strangers: &Strangers, times: u64) {
    let piece = Bytes::from(vec![5; 100_000]);
    let crowd = strangers.crowd(10, true).await;
    let sent = AtomicU64::new(0);
    let send = |connection: quinn::Connection| {
        let (piece, sent) = (piece.clone(), &sent);
        async move {
            loop {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                if number >= times {
                    return;
                }
                let put = Request::PutShard(shard(number, 200_000));
                if let Some((mut stream, _)) = ask(&connection, &put, 200_000).await {
                    let writing = stream.write_chunk(piece.clone());
                    let _ = tokio::time::timeout(Duration::from_secs(1), writing).await;
                }
            }
        }
    };
    futures::future::join_all(crowd.into_iter().map(send)).await;
}

/// Transfers of which a byte comes now and then, as many as there are turns and more.
async fn dribbles(strangers: &Strangers, goes_on: Arc<AtomicBool>) {
    let mut streams: Vec<Stream> = Vec::new();
    let mut held = Vec::new();
    for (number, connection) in (0..).zip(strangers.crowd(60, true).await) {
        let put = Request::PutShard(shard((1 << 40) + number, 100_000));
        streams.extend(ask(&connection, &put, 100_000).await);
        held.push(connection);
    }
    while goes_on.load(Ordering::Relaxed) {
        for (stream, _) in &mut streams {
            let writing = stream.write_chunk(Bytes::from_static(b"x"));
            let _ = tokio::time::timeout(Duration::from_millis(10), writing).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Bodies that nobody reads, as much of each as the node takes.
async fn unread_bodies(
    strangers: &Strangers,
    crowd: usize,
) -> Vec<(quinn::Connection, Vec<Stream>)> {
    let one = |connection: quinn::Connection| async move {
        let mut streams = Vec::new();
        for _ in 0..8 {
            let Some((mut send, receive)) = ask(&connection, &Request::Status, 1 << 30).await
            else {
                break;
            };
            let writing = send.write_chunk(Bytes::from(vec![6; 8 << 20]));
            let _ = tokio::time::timeout(Duration::from_millis(300), writing).await;
            streams.push((send, receive));
        }
        (connection, streams)
    };
    let connections = strangers.crowd(crowd, true).await;
    futures::future::join_all(connections.into_iter().map(one)).await
}

/// Headers of the largest size, most of them never ended.
async fn large_headers(
    strangers: &Strangers,
    crowd: usize,
) -> Vec<(quinn::Connection, Vec<Stream>)> {
    let whole = Request::GetPieceProof(GetPieceProof {
        pack: PackId([1; 32]),
        shard: ShardIndex(0),
        quads: vec![u64::MAX; 7_200],
    });
    let whole = holdfast_wire::protocol::frame::to_bytes(&holdfast_wire::protocol::frame::Frame {
        message: whole,
        body: ByteCount(0),
    })
    .unwrap();
    assert!(whole.len() > 60_000);
    let one = |connection: quinn::Connection| {
        let whole = &whole;
        async move {
            let mut streams = Vec::new();
            for number in 0..6 {
                let sent = if number < 3 {
                    &whole[..]
                } else {
                    &whole[..whole.len() - 1]
                };
                streams.extend(raw(&connection, sent).await);
            }
            (connection, streams)
        }
    };
    let connections = strangers.crowd(crowd, true).await;
    futures::future::join_all(connections.into_iter().map(one)).await
}

/// The same range again and again, for as long as the flood goes on; how often.
async fn same_range(strangers: &Strangers, get: &GetShard, times: u64) -> u64 {
    let asked = AtomicU64::new(0);
    let crowd = strangers.crowd(16, true).await;
    let lanes = crowd.iter().flat_map(|connection| [connection; 8]);
    let lane = |connection: &quinn::Connection| {
        let (connection, asked, get) = (connection.clone(), &asked, get.clone());
        async move {
            while asked.fetch_add(1, Ordering::Relaxed) < times {
                let request = Request::GetShard(get.clone());
                let Some((mut send, mut receive)) = ask(&connection, &request, 0).await else {
                    return;
                };
                let _ = send.finish();
                let reading = receive.read_to_end(1 << 20);
                let _ = tokio::time::timeout(Duration::from_secs(30), reading).await;
            }
        }
    };
    futures::future::join_all(lanes.map(lane)).await;
    asked.load(Ordering::Relaxed)
}

/// Reads whose answers nobody takes.
async fn unread_answers(
    strangers: &Strangers,
    get: &GetShard,
    crowd: usize,
) -> Vec<(quinn::Connection, Vec<Stream>)> {
    let one = |connection: quinn::Connection| async move {
        let mut streams = Vec::new();
        for _ in 0..8 {
            streams.extend(ask(&connection, &Request::GetShard(get.clone()), 0).await);
        }
        (connection, streams)
    };
    let connections = strangers.crowd(crowd, true).await;
    futures::future::join_all(connections.into_iter().map(one)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flooded_node_stays_small_and_serves_honest_clients_meanwhile() {
    if let Ok(api) = std::env::var(NODE) {
        let folder = std::env::var_os("HOLDFAST_TEST_FOLDER").unwrap();
        be_a_node(&api, Path::new(&folder)).await;
        return;
    }
    let network = Network::promising(FLOODED, SECTORS, Blocks(1 << 20)).await;
    let flooded = Flooded::start(network.client.api(), &network.path("flooded"));
    let session = network.session();
    let strangers = Strangers::new(&flooded.address, session.network_id());
    let mut honest = Honest {
        network: &network,
        session: &session,
        number: 0,
    };
    honest.is_served("no flood").await;
    println!("at rest: {:.0} MiB", flooded.peak_mib());
    let peak = |flood: &str| {
        let mib = flooded.peak_mib();
        println!("{flood}: {mib:.0} MiB at most so far");
        assert!(mib <= MOST_MIB, "{flood}: {mib} MiB");
    };

    let silent = strangers.crowd(CROWD, false).await;
    honest.is_served("500 that say nothing").await;
    assert!(silent.len() > 100, "{}", silent.len());
    peak("500 that say nothing");
    met("a client that opens 500 connections and sends nothing");
    drop(silent);

    let greeted = strangers.crowd(CROWD, true).await;
    honest.is_served("500 that say hello").await;
    assert!(greeted.len() > 100, "{}", greeted.len());
    peak("500 that say hello");
    met("a client that opens 500 connections and says hello");
    drop(greeted);

    // Room and files, once what honest clients have stored is told.
    until_quiet(&flooded).await;
    let before = flooded.told();
    half_pieces(&strangers, 1000).await;
    peak("half a piece a thousand times");
    let told = flooded.told.clone();
    until("room and disk are as before", || {
        *told.lock().unwrap() == before
    })
    .await;
    honest.is_served("after a thousand halves").await;
    met("a client that sends half a piece a thousand times");

    let goes_on = Arc::new(AtomicBool::new(true));
    let dribbling = dribbles(&strangers, goes_on.clone());
    let serving = async {
        // Until they hold every turn.
        tokio::time::sleep(Duration::from_secs(3)).await;
        honest.is_served("60 transfers that dribble").await;
        goes_on.store(false, Ordering::Relaxed);
    };
    tokio::join!(dribbling, serving);
    peak("60 transfers that dribble");
    met("a client that sends a byte now and then");

    let held = unread_bodies(&strangers, CROWD).await;
    honest.is_served("bodies that nobody reads").await;
    peak("bodies that nobody reads");
    met("a client that sends bodies which nobody reads");
    drop(held);

    let held = large_headers(&strangers, CROWD).await;
    honest.is_served("headers of the largest size").await;
    peak("headers of the largest size");
    met("a client that sends headers of the largest size");
    drop(held);

    let range = stored_range(&session).await;
    let times = if is_long() { 1_000_000 } else { 20_000 };
    let flood = same_range(&strangers, &range, times);
    let (asked, ()) = tokio::join!(flood, honest.is_served("the same range again and again"));
    assert!(asked >= times);
    peak("the same range again and again");
    met("a client that asks for the same range a million times");

    let held = unread_answers(&strangers, &range, CROWD).await;
    honest.is_served("answers that nobody takes").await;
    peak("answers that nobody takes");
    met("a client that takes no answers");
    drop(held);

    // Whole shards, with the right root, until there is no room: what a node promised it holds until
    // the promise is void, and no longer.
    let refused = fill(&strangers).await;
    assert!(refused.contains("of sealed space"), "{refused}");
    peak("shards beyond its room");
    let name = "object 1";
    let back = get(&session, name, &network.path("after")).await;
    assert!(std::fs::read(back).unwrap() == noise(1, 60_000));
    met("a client that floods shards beyond the room");

    let mib = flooded.peak_mib();
    let conditions = format!(
        "VmHWM of a node's service in a process of its own after floods of {CROWD} connections from 8 addresses, honest puts and gets meanwhile"
    );
    figures::record("peak_rss_under_flood_mib", mib, "MiB", &conditions);
    session.close().await;
}

/// Waits until the node tells the same twice: honest shards are in.
async fn until_quiet(flooded: &Flooded) {
    let mut last = (0, 0);
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let told = flooded.told();
        if told == last && told != (0, 0) {
            return;
        }
        last = told;
    }
    panic!("the node's room does not come to rest: {last:?}");
}

/// A range of the first shard that the ledger says the flooded node has.
async fn stored_range(session: &Session) -> GetShard {
    let providers = session.ledger().providers().await.unwrap();
    let last = providers.iter().map(|provider| provider.id).max().unwrap();
    let deals = session.ledger().provider_deals(last).await.unwrap();
    let deal = deals.iter().max_by_key(|deal| deal.length.0).unwrap();
    GetShard {
        pack: deal.id.pack,
        shard: deal.id.shard,
        ranges: vec![ByteRange {
            start: 0,
            end: deal.length.0,
        }],
        voucher: None,
    }
}

/// Whole shards until one is refused; the refusal's sentence.
async fn fill(strangers: &Strangers) -> String {
    use holdfast_wire::protocol::{Response, frame};
    let connection = strangers.greeted().await.unwrap();
    let bytes = noise(99, 250_000);
    let root = ShardRoot(*blake3::hash(&bytes).as_bytes());
    for number in 0.. {
        let mut put = shard((1 << 50) + number, bytes.len() as u64);
        put.header.shard_roots = vec![root];
        let request = Request::PutShard(put);
        let (mut send, mut receive) = ask(&connection, &request, bytes.len() as u64)
            .await
            .unwrap();
        let _ = send.write_all(&bytes).await;
        let _ = send.finish();
        let answer = frame::read::<Response>("response", &mut receive)
            .await
            .unwrap();
        match answer.message {
            Response::Receipt(_) => assert!(number < 4 * SECTORS, "it takes more than it has"),
            Response::Refused(refusal) => return refusal.sentence,
            other => panic!("{other:?}"),
        }
    }
    unreachable!()
}
