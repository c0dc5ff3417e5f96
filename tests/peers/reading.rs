//! Providers that answer reads with anything but the bytes, claim to be another, or sign something
//! else than was asked.

use crate::met;
use crate::nodes::lies::Lie;
use crate::nodes::{self, Manner, NETWORK, Node, client, commit, hasty_client, network};
use ed25519_dalek::SigningKey;
use holdfast_market_core::message::PackHeader;
use holdfast_market_core::units::{Height, ProviderId, ShardIndex};
use holdfast_wire::protocol::ByteRange;
use holdfast_wire::quic::{Peers, node_key, server};
use holdfast_wire::transfer::{Fetcher, PeerFault, PutPlan, ShardSource, assisted_put, direct_put};
use std::io::Cursor;
use std::time::{Duration, Instant};

/// Nine stripes of three columns and a rest: a read has several segments, and each several groups.
const LENGTH: usize = 9 * 3 * 65_536 + 70_001;
/// Long enough for a slow machine, and far less than what a liar could cost by keeping us waiting.
const GOES_AROUND: Duration = Duration::from_secs(15);

pub fn pack() -> Vec<u8> {
    let mut bytes = vec![0; LENGTH];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

pub fn plan(header: &PackHeader, nodes: &[Node]) -> PutPlan {
    PutPlan {
        header: header.clone(),
        targets: nodes.iter().map(Node::target).collect(),
        fund_by: Height(50),
    }
}

async fn stored(peers: &Peers, nodes: &[Node], bytes: &[u8]) -> PackHeader {
    let header = commit(bytes);
    let plan = plan(&header, nodes);
    let assistant = plan.targets[2].target.clone();
    let source = Cursor::new(bytes.to_vec());
    let receipts = assisted_put(peers, &plan, &assistant, source, |_| {}).await;
    assert!(receipts.unwrap().iter().all(Result::is_ok));
    header
}

fn sources(nodes: &[Node]) -> Vec<ShardSource> {
    let numbered = (0..).zip(nodes);
    numbered.map(|(shard, node)| node.source(shard)).collect()
}

async fn read(
    peers: &Peers,
    header: &PackHeader,
    sources: Vec<ShardSource>,
) -> (Vec<u8>, Vec<PeerFault>) {
    let range = ByteRange {
        start: 0,
        end: LENGTH as u64,
    };
    let begun = Instant::now();
    let mut fetcher = Fetcher::new(peers, None, header, sources, range).unwrap();
    let bytes = fetcher.read_all().await.unwrap();
    assert!(begun.elapsed() < GOES_AROUND, "{:?}", begun.elapsed());
    (bytes, fetcher.faults())
}

/// Every lie, what is said of it, and whether it is one or only nothing in time.
const LIES: [(Lie, &str, bool); 14] = [
    (Lie::FirstGroup, "are not those of the shard's root", true),
    (Lie::MiddleGroup, "are not those of the shard's root", true),
    (Lie::LastByte, "are not those of the shard's root", true),
    (Lie::FirstPair, "are not those of the shard's root", true),
    (Lie::LaterPair, "are not those of the shard's root", true),
    (Lie::Longer, "it says that the shard has", true),
    (Lie::Shorter, "it says that the shard has", true),
    (Lie::More, "bytes after its end", true),
    (Lie::Less, "ended early", true),
    (Lie::BreaksOff, "", false),
    (Lie::AnotherRange, "", true),
    (Lie::AnotherShard, "are not those of the shard's root", true),
    (Lie::AnotherAnswer, "answered another question", false),
    (Lie::Rubbish, "", false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_lie_to_a_read_is_seen_said_by_name_and_gone_around() {
    let nodes = network(|_| Manner::Honest);
    let bytes = pack();
    let header = stored(&client(), &nodes, &bytes).await;
    for (lie, words, is_lie) in LIES {
        nodes[1].behave(Manner::Reads(lie));
        // A client of its own, which knows of no earlier trouble.
        let (read, faults) = read(&client(), &header, sources(&nodes)).await;
        assert!(read == bytes, "{lie:?}");
        assert!(!faults.is_empty(), "{lie:?} was not seen");
        for fault in &faults {
            assert_eq!(fault.provider, ProviderId(1), "{lie:?}: {fault}");
            assert_eq!(fault.lied, is_lie, "{lie:?}: {fault}");
            assert!(fault.reason.contains(words), "{lie:?}: {fault}");
            assert!(fault.reason.len() <= 400, "{lie:?}");
        }
        met(format!("a read answered with a lie: {lie:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_answers_slowly_or_never_at_any_step_of_a_read_is_gone_around() {
    let nodes = network(|_| Manner::Honest);
    let bytes = pack();
    let header = stored(&client(), &nodes, &bytes).await;
    for lie in [Lie::Silent, Lie::NoBody, Lie::ByteASecond] {
        nodes[1].behave(Manner::Reads(lie));
        let (read, _) = read(&client(), &header, sources(&nodes)).await;
        assert!(read == bytes, "{lie:?}");
        met(format!("a read answered slowly or never: {lie:?}"));
    }
    nodes[1].behave(Manner::Honest);
    for (step, endpoint, node) in unhelpful().await {
        let mut sources = sources(&nodes);
        sources[1].endpoint = endpoint;
        sources[1].node = node;
        let (read, _) = read(&client(), &header, sources).await;
        assert!(read == bytes, "{step}");
        met(format!("a read that ends {step}"));
    }
}

/// Who takes no connection, who takes one and says nothing, and who is somebody else than the ledger
/// says.
async fn unhelpful() -> Vec<(&'static str, String, holdfast_market_core::units::NodeKey)> {
    let key = |number: u8| SigningKey::from_bytes(&[number; 32]);
    // A socket that nobody reads; it lives as long as the test.
    let deaf = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nowhere = deaf.local_addr().unwrap().to_string();
    std::mem::forget(deaf);
    let silent = server(&key(61), "127.0.0.1:0".parse().unwrap()).unwrap();
    let at_hello = silent.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Some(incoming) = silent.accept().await {
            held.push(incoming.await);
        }
    });
    let other = Node::start(77, Manner::Honest);
    let elsewhere = other.target().target.endpoint;
    std::mem::forget(other);
    vec![
        ("at connect", nowhere, node_key(&key(60))),
        ("at hello", at_hello, node_key(&key(61))),
        ("at another's key", elsewhere, node_key(&key(62))),
    ]
}

/// What is signed instead of what was asked, and what is said of it.
const RECEIPTS: [(Manner, &str); 7] = [
    (Manner::SignsAnotherRoot, "another root"),
    (Manner::SignsAnotherTerm, "another term"),
    (Manner::SignsWithAnotherKey, "not signed by its worker"),
    (Manner::PromisesTooShort, "until height 49"),
    (Manner::ReplaysAnotherPack, "another pack"),
    (Manner::ReplaysAnotherNetwork, "not signed by its worker"),
    (Manner::SignsNothing, "no answer"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_old_or_other_receipt_is_worth_nothing_and_its_provider_is_named() {
    let bytes = pack();
    let header = commit(&bytes);
    for (manner, words) in RECEIPTS {
        let nodes = network(|number| if number == 4 { manner } else { Manner::Honest });
        let plan = plan(&header, &nodes);
        let source = Cursor::new(bytes.clone());
        let results = direct_put(&hasty_client(), &plan, source, |_| {}).await;
        let results = results.unwrap();
        for (index, result) in results.iter().enumerate() {
            assert_eq!(result.is_ok(), index != 4, "{manner:?} {result:?}");
        }
        let fault = results[4].as_ref().unwrap_err();
        assert_eq!(fault.provider, ProviderId(4));
        assert_eq!(fault.shard, ShardIndex(4));
        assert_eq!(fault.lied, manner != Manner::SignsNothing, "{fault}");
        assert!(fault.reason.contains(words), "{manner:?}: {fault}");
        met(format!("a receipt: {manner:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shard_is_given_to_nobody_who_does_not_answer_or_is_another() {
    let bytes = pack();
    let header = commit(&bytes);
    let nodes = network(|_| Manner::Honest);
    for (step, endpoint, node) in unhelpful().await {
        let mut plan = plan(&header, &nodes);
        plan.targets[4].target.endpoint = endpoint;
        plan.targets[4].target.node = node;
        let source = Cursor::new(bytes.clone());
        let results = direct_put(&hasty_client(), &plan, source, |_| {}).await;
        let failed = results.unwrap();
        let failed: Vec<_> = failed.iter().filter_map(|one| one.as_ref().err()).collect();
        assert_eq!(failed.len(), 1, "{step}");
        assert_eq!(failed[0].provider, ProviderId(4));
        assert!(!failed[0].lied, "{step}: {}", failed[0]);
        met(format!("a put that ends {step}"));
    }
    assert_eq!(nodes::client().network(), NETWORK);
}
