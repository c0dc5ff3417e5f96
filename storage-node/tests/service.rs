//! The service over real QUIC on loopback: shards go in, receipts and ranges come out, and nothing
//! that is refused stays behind.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs
)]

#[path = "service/http.rs"]
mod http;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use holdfast_market_core::message::{PackHeader, ProviderOffer, SigningContext};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::receipt::{SignedReceipt, Tier};
use holdfast_market_core::state::Provider;
use holdfast_market_core::units::{
    Address, Amount, ByteCount, DealId, Height, NetworkId, Periods, ProviderId, SectorNumber,
    ShardIndex, ShardRoot,
};
use holdfast_node::journal::Journal;
use holdfast_node::placement::Occupancy;
use holdfast_node::room::Room;
use holdfast_node::service::{Service, Shared};
use holdfast_node::shards::ShardStore;
use holdfast_node::till::Till;
use holdfast_proofs::piece::{PieceRoots, PieceShape};
use holdfast_proofs::sector::SectorClass;
use holdfast_wire::bao::{verify_body, verify_slice};
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::protocol::{
    AssistPut, ByteRange, GetPieceProof, GetShard, NodeStatus, PutShard, Refusal, RefusalCode,
    Request, Response, ShardOffer, ShardOutcome, ShardTarget,
};
use holdfast_wire::quic::{self, CallError, Limits, Peers, node_key};
use holdfast_wire::transfer::piece_openings;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

const NETWORK: NetworkId = NetworkId([5; 32]);

struct Node {
    shared: Arc<Shared>,
    key: SigningKey,
    address: String,
    peers: Peers,
    _stop: watch::Sender<bool>,
}

/// Provider 3 over `data` with one empty sector of 8 MiB; it knows no other.
async fn node(data: &Path) -> Node {
    let ledger = http::serve(|_, _| (404, Vec::new())).await;
    provider(3, data, &ledger).await
}

/// A provider over `data` with one empty sector of 8 MiB and a ledger at that address.
async fn provider(number: u8, data: &Path, ledger: &str) -> Node {
    let key = SigningKey::from_bytes(&[number; 32]);
    let (_, provider) = watch::channel(Some(ProviderId(number.into())));
    let (_, status) = watch::channel(NodeStatus {
        height: Height(10),
        ..NodeStatus::default()
    });
    let room = Room::default();
    let sectors = BTreeMap::from([(SectorNumber(0), Occupancy::empty(SectorClass::Mib8))]);
    room.refresh(sectors, Vec::new(), &BTreeSet::new());
    let shared = Arc::new(Shared {
        network: NETWORK,
        parameters: Parameters::dev(),
        worker: SigningKey::from_bytes(&[2; 32]),
        node: node_key(&key),
        price: Amount(100),
        till: Till::new(Amount::ZERO),
        journal: Journal::open(&data.join("node.db")).unwrap(),
        shards: ShardStore::open(&data.join("shards")).unwrap(),
        room,
        provider: provider.clone(),
        leaving: Default::default(),
        status,
    });
    let endpoint = quic::server(&key, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    let peers = Peers::new(key.clone(), NETWORK).unwrap();
    let ledger = LedgerClient::new(ledger).unwrap();
    let service = Service::new(shared.clone(), peers, ledger);
    let (stop, mut stopped) = watch::channel(false);
    let outer = quic::Service {
        network: NETWORK,
        provider,
        limits: Limits::default(),
    };
    tokio::spawn(quic::serve(
        endpoint,
        outer,
        async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        },
        move |call| service.clone().handle(call),
    ));
    Node {
        shared,
        key,
        address,
        peers: Peers::new(SigningKey::from_bytes(&[9; 32]), NETWORK).unwrap(),
        _stop: stop,
    }
}

/// A pack of one column and its copy, so that shard 0 is the content itself.
fn put_of(content: &[u8], nonce: u64) -> PutShard {
    let root = ShardRoot(*blake3::hash(content).as_bytes());
    PutShard {
        header: PackHeader {
            owner: Address([8; 32]),
            nonce,
            k: 1,
            n: 2,
            length: ByteCount(content.len() as u64),
            shard_roots: vec![root, root],
            shard_length: ByteCount(content.len() as u64),
        },
        shard: ShardIndex(0),
        offer: ShardOffer {
            tier: Tier::Hot,
            price: Amount(100),
            term: Periods(4),
        },
    }
}

fn deal_of(put: &PutShard) -> DealId {
    DealId {
        pack: put.header.id().unwrap(),
        shard: put.shard,
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

impl Node {
    async fn put(&self, put: &PutShard, content: &[u8]) -> Result<SignedReceipt, CallError> {
        let connection = self
            .peers
            .connect(&self.address, node_key(&self.key))
            .await?;
        let request = Request::PutShard(put.clone());
        let length = ByteCount(content.len() as u64);
        let mut exchange = connection.open(&request, length).await?;
        for piece in content.chunks(50_000) {
            exchange.write(Bytes::copy_from_slice(piece)).await?;
        }
        match exchange.answer().await?.0 {
            Response::Receipt(receipt) => Ok(*receipt),
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&self, put: &PutShard, content: &[u8]) -> Refusal {
        match self.put(put, content).await {
            Err(CallError::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.shared.shards.folder())
            .unwrap()
            .count()
    }
}

#[tokio::test]
async fn a_shard_that_is_put_is_receipted_kept_and_read_back_in_verified_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path()).await;
    let content = content(300_000);
    let put = put_of(&content, 1);
    let free = node.shared.room.free();
    let receipt = node.put(&put, &content).await.unwrap();
    assert!(SigningContext::Receipt.verify(
        NETWORK,
        node.shared.worker.verifying_key().as_bytes(),
        &receipt.receipt,
        &receipt.signature
    ));
    assert_eq!(receipt.receipt.root, put.header.shard_roots[0]);
    assert_eq!(receipt.receipt.provider, ProviderId(3));
    assert_eq!(receipt.receipt.fund_by, Height(100));
    assert!(node.shared.room.free() < free);

    let connection = node
        .peers
        .connect(&node.address, node_key(&node.key))
        .await
        .unwrap();
    for (start, end) in [(0, 300_000), (16_000, 17_000), (299_999, 300_000)] {
        let range = ByteRange { start, end };
        let request = Request::GetShard(GetShard {
            pack: deal_of(&put).pack,
            shard: put.shard,
            ranges: vec![range],
            voucher: None,
        });
        let exchange = connection.open(&request, ByteCount(0)).await.unwrap();
        let (response, body) = exchange.answer().await.unwrap();
        let Response::Shard { length } = response else {
            panic!("{response:?}");
        };
        let bytes = verify_body(
            receipt.receipt.root,
            length,
            range,
            body,
            &AtomicU64::new(0),
        )
        .await
        .unwrap();
        assert_eq!(bytes, content[start as usize..end as usize]);
    }

    // Both roots open to the same bytes.
    let quads = vec![0, 1000, 2362];
    let openings = piece_openings(&connection, deal_of(&put).pack, put.shard, quads.clone())
        .await
        .unwrap();
    let shape = PieceShape::of(300_000, 4).unwrap();
    let roots = PieceRoots::compute(content.as_slice(), 300_000, 4).unwrap();
    for (quad, opening) in quads.into_iter().zip(openings) {
        let data = opening.opening.verify(&shape, &roots, quad).unwrap();
        let start = quad * 127;
        let end = (start + 127).min(300_000);
        let range = ByteRange { start, end };
        let bytes = verify_slice(
            receipt.receipt.root,
            ByteCount(300_000),
            range,
            &opening.slice,
        )
        .unwrap();
        assert_eq!(bytes, content[start as usize..end as usize]);
        assert_eq!(bytes, data[..bytes.len()]);
    }
    let beyond = piece_openings(&connection, deal_of(&put).pack, put.shard, vec![2363]).await;
    assert!(matches!(beyond, Err(CallError::Refused(_))));
}

#[tokio::test]
async fn the_same_request_gets_the_same_receipt_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(70_000);
    let put = put_of(&content, 1);
    let first = {
        let node = node(folder.path()).await;
        let first = node.put(&put, &content).await.unwrap();
        assert_eq!(node.put(&put, &content).await.unwrap(), first);
        let mut other = put.clone();
        other.offer.term = Periods(5);
        assert_eq!(
            node.refused(&other, &content).await.code,
            RefusalCode::Terms
        );
        node.peers.close().await;
        first
    };
    // The old node's tasks let go of the journal when they are stopped.
    let node = loop {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if Journal::open(&folder.path().join("node.db")).is_ok() {
            break node(folder.path()).await;
        }
    };
    assert_eq!(node.put(&put, &content).await.unwrap(), first);
    assert_eq!(node.files(), 1);
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path()).await;
    let content = content(200_000);
    let put = put_of(&content, 1);
    let free = node.shared.room.free();
    let mut damaged = content.clone();
    damaged[150_000] ^= 1;
    assert_eq!(
        node.refused(&put, &damaged).await.code,
        RefusalCode::WrongBytes
    );
    assert_eq!(
        node.refused(&put, &content[1..]).await.code,
        RefusalCode::Malformed
    );
    assert_eq!(node.files(), 0);
    assert_eq!(node.shared.room.free(), free);
    assert!(node.shared.journal.shards().unwrap().is_empty());
    // And the right bytes are still welcome.
    node.put(&put, &content).await.unwrap();
}

#[tokio::test]
async fn offers_that_are_not_taken_are_refused_in_a_sentence_with_figures() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path()).await;
    let content = content(1000);
    /// What is asked otherwise, the refusal's code, and a word of its sentence.
    type Case = (fn(&mut PutShard), RefusalCode, &'static str);
    let cases: [Case; 6] = [
        (|put| put.offer.tier = Tier::Cold, RefusalCode::Terms, "hot"),
        (
            |put| put.offer.price = Amount(99),
            RefusalCode::Terms,
            "0.000000099 HOLD",
        ),
        (
            |put| put.offer.term = Periods(0),
            RefusalCode::Terms,
            "0 periods",
        ),
        (
            |put| put.shard = ShardIndex(7),
            RefusalCode::Malformed,
            "none of number 7",
        ),
        (
            |put| put.header.shard_length = ByteCount(999),
            RefusalCode::Malformed,
            "999",
        ),
        (
            |put| put.header.shard_roots.clear(),
            RefusalCode::Malformed,
            "0 shard roots",
        ),
    ];
    for (spoil, code, words) in cases {
        let mut put = put_of(&content, 1);
        spoil(&mut put);
        let refusal = node.refused(&put, &content).await;
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(refusal.sentence.contains(words), "{refusal}");
    }
    let large = vec![0; 9 << 20];
    let refusal = node.refused(&put_of(&large, 2), &large).await;
    assert_eq!(refusal.code, RefusalCode::NoRoom);
    assert!(refusal.sentence.contains("8323072"), "{refusal}");
    assert_eq!(node.files(), 0);
}

#[tokio::test]
async fn shards_that_come_at_once_get_no_more_room_than_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path()).await;
    // Each takes 21 of 64 groups.
    let content = content(21 * 8 * 16_256);
    let puts: Vec<_> = (0..5).map(|nonce| put_of(&content, nonce)).collect();
    let results = futures::future::join_all(puts.iter().map(|put| node.put(put, &content))).await;
    let kept = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(kept, 3);
    for result in results {
        if let Err(error) = result {
            let CallError::Refused(refusal) = error else {
                panic!("{error}");
            };
            assert_eq!(refusal.code, RefusalCode::NoRoom, "{refusal}");
        }
    }
    assert_eq!(node.files(), 3);
}

/// A transfer of which one byte has come, and which has dawdled for longer than is suffered where
/// others need its room.
async fn dawdling(node: &Node, put: &PutShard, length: usize) -> quic::Exchange {
    let exchange = begun(node, put, length).await;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    exchange
}

async fn begun(node: &Node, put: &PutShard, length: usize) -> quic::Exchange {
    let identity = SigningKey::from_bytes(&[10; 32]);
    let peers = Peers::new(identity, NETWORK).unwrap();
    let connection = peers.connect(&node.address, node_key(&node.key));
    let connection = connection.await.unwrap();
    let request = Request::PutShard(put.clone());
    let opening = connection.open(&request, ByteCount(length as u64));
    let mut exchange = opening.await.unwrap();
    exchange.write(Bytes::from_static(&[0])).await.unwrap();
    exchange
}

#[tokio::test]
async fn a_slow_transfer_stays_where_its_end_would_make_room_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path()).await;
    let slow = content(70_000);
    let mut transfer = dawdling(&node, &put_of(&slow, 1), slow.len()).await;
    // No sector is so large.
    let large = vec![0; 9 << 20];
    let refusal = node.refused(&put_of(&large, 2), &large).await;
    assert_eq!(refusal.code, RefusalCode::NoRoom);
    // The same shard twice: the second is told so.
    let other = content(80_000);
    let twice = begun(&node, &put_of(&other, 3), other.len()).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let refusal = node.refused(&put_of(&other, 3), &other).await;
    assert_eq!(refusal.code, RefusalCode::Busy, "{refusal}");
    drop(twice);
    transfer
        .write(Bytes::from(slow[1..].to_vec()))
        .await
        .unwrap();
    let (response, _) = transfer.answer().await.unwrap();
    assert!(matches!(response, Response::Receipt(_)), "{response:?}");
}

#[tokio::test]
async fn a_slow_transfer_gives_its_room_to_a_shard_that_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path()).await;
    // 60 of 64 groups, and then 21.
    let length = 60 * 8 * 16_256;
    let mut transfer = dawdling(&node, &put_of(&content(length), 1), length).await;
    let needed = content(21 * 8 * 16_256);
    let put = put_of(&needed, 2);
    // Larger than what is left, and not than what the slow one has.
    node.put(&put, &needed).await.unwrap();
    while !transfer.is_stopped() {
        let piece = Bytes::from(vec![0; 50_000]);
        transfer.write(piece).await.unwrap();
    }
    let Err(CallError::Refused(refusal)) = transfer.answer().await.map(drop) else {
        panic!("the slow one was answered");
    };
    assert!(refusal.sentence.contains("slowly"), "{refusal}");
}

#[tokio::test]
async fn a_damaged_file_is_never_sent() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path()).await;
    let content = content(100_000);
    let put = put_of(&content, 1);
    node.put(&put, &content).await.unwrap();
    let path = node.shared.shards.path(deal_of(&put));
    let connection = node
        .peers
        .connect(&node.address, node_key(&node.key))
        .await
        .unwrap();
    let request = Request::GetShard(GetShard {
        pack: deal_of(&put).pack,
        shard: put.shard,
        ranges: vec![ByteRange {
            start: 0,
            end: 100_000,
        }],
        voucher: None,
    });
    let mut damaged = content.clone();
    damaged[99_000] ^= 1;
    for bytes in [&damaged[..], &content[..99_999], &[]] {
        std::fs::write(&path, bytes).unwrap();
        let exchange = connection.open(&request, ByteCount(0)).await.unwrap();
        let Err(CallError::Refused(refusal)) = exchange.answer().await else {
            panic!("a damaged shard was answered");
        };
        assert_eq!(refusal.code, RefusalCode::Internal);
    }
    std::fs::remove_file(&path).unwrap();
    assert!(connection.ask(&request).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_goes_on_when_its_asker_is_gone_keeps_its_turn() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::time::Duration;
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path()).await;
    let content = content(1000);
    let put = put_of(&content, 1);
    node.put(&put, &content).await.unwrap();
    // Whoever opens a pipe waits until somebody writes to it.
    let path = node.shared.shards.path(deal_of(&put));
    std::fs::remove_file(&path).unwrap();
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let request = Request::GetPieceProof(GetPieceProof {
        pack: deal_of(&put).pack,
        shard: put.shard,
        quads: vec![0],
    });
    let hasty = Peers::new(SigningKey::from_bytes(&[10; 32]), NETWORK).unwrap();
    let connection = hasty.connect(&node.address, node_key(&node.key));
    let connection = connection.await.unwrap();
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(connection.open(&request, ByteCount(0)).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(asked);
    hasty.close().await;
    let connection = node.peers.connect(&node.address, node_key(&node.key));
    let asking = async { connection.await.unwrap().ask(&request).await };
    let answer = tokio::time::timeout(Duration::from_secs(30), asking).await;
    let mut pipe = std::fs::OpenOptions::new();
    pipe.read(true).write(true).open(&path).unwrap();
    let Ok(Err(CallError::Refused(refusal))) = answer else {
        panic!("it got a turn: {answer:?}");
    };
    assert_eq!(refusal.code, RefusalCode::Busy, "{refusal}");
}

/// What the ledger says of a node.
fn on_ledger(id: u64, node: &Node) -> Provider {
    Provider {
        id: ProviderId(id),
        owner: Address([6; 32]),
        worker: Address([7; 32]),
        offer: ProviderOffer {
            node: node_key(&node.key),
            endpoint: node.address.clone(),
            price: Amount(100),
            read_price: Amount::ZERO,
        },
        collateral: Amount(0),
        locked: Amount(0),
        vesting: Vec::new(),
        since: Height(0),
        next_sector: SectorNumber(0),
        retiring: None,
        record: Default::default(),
    }
}

#[tokio::test]
async fn an_upload_that_contradicts_itself_is_refused_before_the_ledger_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let ledger = http::serve(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        (404, Vec::new())
    })
    .await;
    let node = provider(3, folder.path(), &ledger).await;
    let content = content(1000);
    let put = put_of(&content, 1);
    let target = |provider: u64| ShardTarget {
        provider: ProviderId(provider),
        node: holdfast_market_core::units::NodeKey([8; 32]),
        endpoint: "127.0.0.1:1".into(),
        offer: put.offer.clone(),
    };
    let connection = node
        .peers
        .connect(&node.address, node_key(&node.key))
        .await
        .unwrap();
    for (n, targets, length) in [(0, 200, 1000), (255, 255, 1000), (2, 200, 1000), (2, 2, 7)] {
        let request = Request::AssistPut(AssistPut {
            header: PackHeader {
                n,
                shard_roots: vec![ShardRoot([1; 32]); n.into()],
                ..put.header.clone()
            },
            targets: (0..targets).map(target).collect(),
        });
        let mut exchange = connection.open(&request, ByteCount(length)).await.unwrap();
        let body = vec![0; usize::try_from(length).unwrap()];
        exchange.write(Bytes::from(body)).await.unwrap();
        let Err(CallError::Refused(refusal)) = exchange.answer().await.map(drop) else {
            panic!("{n} shards and {targets} targets were not refused");
        };
        assert_eq!(refusal.code, RefusalCode::Malformed, "{refusal}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_assists_dials_only_providers_of_the_ledger_where_the_ledger_says_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let listed = Arc::new(std::sync::Mutex::new(BTreeMap::<String, Provider>::new()));
    let providers = listed.clone();
    let ledger = http::serve(move |line, _| {
        let number = line.rsplit('/').next().unwrap();
        match providers.lock().unwrap().get(number) {
            Some(provider) => (200, serde_json::to_vec(provider).unwrap()),
            None => (404, Vec::new()),
        }
    })
    .await;
    let assistant = provider(3, &folder.path().join("3"), &ledger).await;
    let other = provider(4, &folder.path().join("4"), &ledger).await;
    listed
        .lock()
        .unwrap()
        .insert("4".into(), on_ledger(4, &other));
    // Somebody who has nothing to do with storage, and must not hear of any of this.
    let bystander = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    bystander.set_nonblocking(true).unwrap();
    let elsewhere = bystander.local_addr().unwrap().to_string();

    let content = content(200_000);
    let put = put_of(&content, 9);
    let target = |provider: u64, node: &Node| ShardTarget {
        provider: ProviderId(provider),
        node: node_key(&node.key),
        endpoint: node.address.clone(),
        offer: put.offer.clone(),
    };
    let honest = target(4, &other);
    let spoiled = |spoil: &dyn Fn(&mut ShardTarget)| {
        let mut target = honest.clone();
        spoil(&mut target);
        target
    };
    let cases = [
        (
            spoiled(&|target| target.endpoint = elsewhere.clone()),
            "by the ledger, not at",
        ),
        (
            spoiled(&|target| target.node = holdfast_market_core::units::NodeKey([8; 32])),
            "another QUIC identity",
        ),
        (
            spoiled(&|target| {
                target.provider = ProviderId(5);
                target.endpoint = elsewhere.clone();
            }),
            "provider 5 is not on the ledger",
        ),
        (honest.clone(), ""),
    ];
    let connection = assistant
        .peers
        .connect(&assistant.address, node_key(&assistant.key))
        .await
        .unwrap();
    for (spoiled, reason) in cases {
        let request = Request::AssistPut(AssistPut {
            header: put.header.clone(),
            targets: vec![target(3, &assistant), spoiled],
        });
        let length = ByteCount(content.len() as u64);
        let mut exchange = connection.open(&request, length).await.unwrap();
        exchange.write(Bytes::from(content.clone())).await.unwrap();
        let Response::Assisted(outcomes) = exchange.answer().await.unwrap().0 else {
            panic!("another answer");
        };
        // The assistant's own shard is stored, whatever the other target is.
        assert!(matches!(outcomes[0], ShardOutcome::Receipt(_)));
        match &outcomes[1] {
            ShardOutcome::Receipt(receipt) => {
                assert_eq!(reason, "");
                assert_eq!(receipt.receipt.provider, ProviderId(4));
                assert_eq!(other.files(), 1);
            }
            ShardOutcome::Failed(sentence) => {
                assert!(
                    !reason.is_empty() && sentence.contains(reason),
                    "{sentence}"
                );
                assert_eq!(other.files(), 0);
            }
        }
    }
    let heard = bystander.recv_from(&mut [0; 1]).unwrap_err();
    assert_eq!(heard.kind(), std::io::ErrorKind::WouldBlock);
}
