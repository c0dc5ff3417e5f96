//! Both ends on loopback: identities, limits, bodies of the wrong length, an orderly stop.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use super::*;
use crate::protocol::frame::{self, Frame};
use crate::protocol::{Hello, NodeStatus, PROTOCOL_VERSION, RefusalCode, Request, Response};
use bytes::Bytes;
use holdfast_market_core::units::{ByteCount, NetworkId, PackId, ProviderId, ShardIndex};
use std::sync::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

const HERE: NetworkId = NetworkId([1; 32]);

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

struct Server {
    address: String,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

/// What the handler of the tests does, by the length of the asked shard index.
async fn answer(call: Call, seen: Arc<Mutex<Vec<NodeKey>>>) {
    seen.lock().unwrap().push(call.peer);
    let Call {
        request,
        mut body,
        reply,
        ..
    } = call;
    match request {
        Request::Status => {
            let status = NodeStatus {
                provider: Some(ProviderId(7)),
                ..NodeStatus::default()
            };
            reply.send(&Response::Status(status)).await.unwrap();
        }
        // A body is read to its end and its length is told.
        Request::GetShard(get) if get.shard.0 == 0 => {
            let response = match body.read_all(ByteCount(1 << 30)).await {
                Ok(bytes) => Response::Shard {
                    length: ByteCount(bytes.len() as u64),
                },
                Err(error) => Response::Refused(crate::protocol::Refusal::new(
                    RefusalCode::WrongBytes,
                    error.to_string(),
                )),
            };
            let _ = reply.send(&response).await;
        }
        // A body is announced and broken off.
        Request::GetShard(get) if get.shard.0 == 1 => {
            let response = Response::Shard {
                length: ByteCount(0),
            };
            let mut writer = reply.start(&response, ByteCount(100)).await.unwrap();
            writer.write(Bytes::from_static(&[1; 50])).await.unwrap();
            drop(writer);
        }
        // A body is read to its end, and the answer takes longer than a wide connection may be idle.
        Request::GetShard(get) if get.shard.0 == 3 => {
            body.read_all(ByteCount(1 << 30)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(8)).await;
            let _ = reply.send(&Response::PieceOpenings).await;
        }
        // Slow.
        Request::GetShard(_) => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let _ = reply.send(&Response::PieceOpenings).await;
        }
        _ => drop(reply),
    }
}

fn start(limits: Limits) -> (Server, Arc<Mutex<Vec<NodeKey>>>) {
    let endpoint = server(&key(1), loopback()).unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let seen: Arc<Mutex<Vec<NodeKey>>> = Arc::default();
    let record = seen.clone();
    let service = Service {
        network: HERE,
        provider: watch::channel(Some(ProviderId(7))).1,
        limits,
    };
    let running = tokio::spawn(serve(
        endpoint,
        service,
        async {
            let _ = stopped.await;
        },
        move |call| answer(call, record.clone()),
    ));
    let server = Server {
        address,
        stop: Some(stop),
        running,
    };
    (server, seen)
}

fn get(shard: u8) -> Request {
    Request::GetShard(crate::protocol::GetShard {
        pack: PackId([0; 32]),
        shard: ShardIndex(shard),
        ranges: vec![],
        voucher: None,
    })
}

#[tokio::test]
async fn both_ends_know_each_others_key() {
    let (server, seen) = start(Limits::default());
    let peers = Peers::new(key(2), HERE).unwrap();
    let connection = peers
        .connect(&server.address, node_key(&key(1)))
        .await
        .unwrap();
    assert_eq!(connection.provider(), Some(ProviderId(7)));
    let Response::Status(status) = connection.ask(&Request::Status).await.unwrap() else {
        panic!("no status");
    };
    assert_eq!(status.provider, Some(ProviderId(7)));
    assert_eq!(*seen.lock().unwrap(), [node_key(&key(2))]);
}

#[tokio::test]
async fn a_server_with_another_key_than_the_pinned_one_is_refused() {
    let (server, seen) = start(Limits::default());
    let peers = Peers::new(key(2), HERE).unwrap();
    let error = peers
        .connect(&server.address, node_key(&key(3)))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Unreachable { node, .. } if node == node_key(&key(3))));
    assert!(seen.lock().unwrap().is_empty());
    peers
        .connect(&server.address, node_key(&key(1)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_peer_of_another_network_is_refused_by_name() {
    let (server, _) = start(Limits::default());
    let elsewhere = NetworkId([2; 32]);
    let peers = Peers::new(key(2), elsewhere).unwrap();
    let error = peers
        .connect(&server.address, node_key(&key(1)))
        .await
        .unwrap_err();
    let CallError::Refused(refusal) = error else {
        panic!("{error}");
    };
    assert_eq!(refusal.code, RefusalCode::OtherNetwork);
    assert!(refusal.sentence.contains(&HERE.to_string()));
    assert!(refusal.sentence.contains(&elsewhere.to_string()));
}

#[tokio::test]
async fn an_address_in_use_is_refused_by_name() {
    let first = server(&key(1), loopback()).unwrap();
    let address = first.local_addr().unwrap();
    let error = server(&key(2), address).unwrap_err();
    assert!(matches!(error, EndpointError::InUse(found) if found == address));
}

#[tokio::test]
async fn a_body_arrives_whole_however_long() {
    let (server, _) = start(Limits::default());
    let peers = Peers::new(key(2), HERE).unwrap();
    let connection = peers
        .connect(&server.address, node_key(&key(1)))
        .await
        .unwrap();
    for length in [0u64, 1, 65_536, 5_000_000] {
        let mut exchange = connection.open(&get(0), ByteCount(length)).await.unwrap();
        let bytes = Bytes::from(vec![9; length as usize]);
        for piece in bytes.chunks(40_000) {
            exchange.write(bytes.slice_ref(piece)).await.unwrap();
        }
        let (response, _) = exchange.answer().await.unwrap();
        let length = ByteCount(length);
        assert_eq!(response, Response::Shard { length });
    }
}

#[tokio::test]
async fn our_own_body_of_another_length_than_stated_is_never_sent_as_whole() {
    let (server, _) = start(Limits::default());
    let peers = Peers::new(key(2), HERE).unwrap();
    let connection = peers
        .connect(&server.address, node_key(&key(1)))
        .await
        .unwrap();
    let mut exchange = connection.open(&get(0), ByteCount(10)).await.unwrap();
    exchange.write(Bytes::from_static(b"abc")).await.unwrap();
    let error = exchange.answer().await.unwrap_err();
    assert!(matches!(
        error,
        CallError::Write(body::WriteError::Length(7))
    ));
    let mut exchange = connection.open(&get(0), ByteCount(2)).await.unwrap();
    let error = exchange
        .write(Bytes::from_static(b"abc"))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        CallError::Write(body::WriteError::Length(2))
    ));
}

/// A connection below the library's own checks, as a hostile peer has it.
async fn raw(address: &str) -> quinn::Connection {
    let endpoint = client().unwrap();
    let crypto = tls::client(&key(9), node_key(&key(1))).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let address = address.parse().unwrap();
    let connecting = endpoint.connect_with(config, address, "holdfast.invalid");
    connecting.unwrap().await.unwrap()
}

async fn raw_ask(
    connection: &quinn::Connection,
    bytes: &[u8],
) -> Result<Response, frame::FrameError> {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    let frame: Frame<Response> = frame::read("response", &mut receive).await?;
    Ok(frame.message)
}

fn framed(message: Request, body: u64) -> Vec<u8> {
    let body = ByteCount(body);
    frame::to_bytes(&Frame { message, body }).unwrap()
}

fn hello() -> Vec<u8> {
    let hello = Hello {
        network: HERE,
        version: PROTOCOL_VERSION,
    };
    framed(Request::Hello(hello), 0)
}

#[tokio::test]
async fn a_peers_body_that_is_longer_or_shorter_than_stated_is_refused() {
    let (server, _) = start(Limits::default());
    let connection = raw(&server.address).await;
    raw_ask(&connection, &hello()).await.unwrap();
    for (stated, sent, reason) in [
        (10u64, 9usize, "ended 1 bytes before"),
        (10, 11, "longer than its stated"),
        (0, 1, "longer than its stated"),
        (1, 0, "ended 1 bytes before"),
        (u64::MAX, 5, "longer than its stated"),
    ] {
        let mut bytes = framed(get(0), stated);
        bytes.extend_from_slice(&vec![5; sent]);
        let Response::Refused(refusal) = raw_ask(&connection, &bytes).await.unwrap() else {
            panic!("{stated} stated and {sent} sent were taken");
        };
        assert!(refusal.sentence.contains(reason), "{}", refusal.sentence);
    }
    let mut bytes = framed(get(0), 3);
    bytes.extend_from_slice(b"abc");
    assert!(matches!(
        raw_ask(&connection, &bytes).await.unwrap(),
        Response::Shard {
            length: ByteCount(3)
        }
    ));
}

#[tokio::test]
async fn a_request_before_hello_and_a_malformed_one_are_refused() {
    let (server, seen) = start(Limits::default());
    let connection = raw(&server.address).await;
    let response = raw_ask(&connection, &framed(Request::Status, 0))
        .await
        .unwrap();
    assert!(matches!(response, Response::Refused(refusal) if refusal.sentence.contains("Hello")));
    raw_ask(&connection, &hello()).await.unwrap();
    for garbage in [&b"\0\0\0\x05hello"[..], b"\xff\xff\xff\xff", b"\0\0\0\0"] {
        let response = raw_ask(&connection, garbage).await.unwrap();
        assert!(matches!(response, Response::Refused(refusal)
            if refusal.code == RefusalCode::Malformed));
    }
    // Cut off inside the header: nobody is left to be answered.
    assert!(raw_ask(&connection, b"\0\0\0\x09abc").await.is_err());
    assert!(seen.lock().unwrap().is_empty());
    raw_ask(&connection, &framed(Request::Status, 0))
        .await
        .unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answers_body_that_is_broken_off_is_an_error() {
    let (server, _) = start(Limits::default());
    let peers = Peers::new(key(2), HERE).unwrap();
    let connection = peers
        .connect(&server.address, node_key(&key(1)))
        .await
        .unwrap();
    let exchange = connection.open(&get(1), ByteCount(0)).await.unwrap();
    // The reset may overtake the header.
    if let Ok((_, mut body)) = exchange.answer().await {
        assert!(body.read_all(ByteCount(1000)).await.is_err());
    }
}

#[tokio::test]
async fn a_key_has_so_many_connections_and_a_silent_one_is_closed() {
    let limits = Limits {
        connections_per_key: 2,
        header_time: Duration::from_millis(400),
        ..Limits::default()
    };
    let (server, _) = start(limits);
    let first = raw(&server.address).await;
    raw_ask(&first, &hello()).await.unwrap();
    let silent = raw(&server.address).await;
    let third = raw(&server.address).await;
    let refused = tokio::time::timeout(Duration::from_secs(5), third.closed())
        .await
        .unwrap();
    assert!(
        refused.to_string().contains("too many connections"),
        "{refused}"
    );
    let closed = tokio::time::timeout(Duration::from_secs(5), silent.closed())
        .await
        .unwrap();
    assert!(closed.to_string().contains("no hello"), "{closed}");
    // The one that said hello stays, and there is room for another again.
    raw_ask(&first, &framed(Request::Status, 0)).await.unwrap();
    let fourth = raw(&server.address).await;
    raw_ask(&fourth, &hello()).await.unwrap();
    // A header that is begun and not ended is given up, and the connection goes on.
    let (mut send, mut receive) = first.open_bi().await.unwrap();
    send.write_all(b"\0\0").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), receive.read_to_end(10));
    assert!(ended.await.unwrap().is_err());
    raw_ask(&first, &framed(Request::Status, 0)).await.unwrap();
}

#[tokio::test]
async fn in_a_full_server_the_one_that_is_idle_longest_gives_way_to_a_newcomer() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let (server, _) = start(limits);
    let node = node_key(&key(1));
    let askers = [2, 3].map(|number| Peers::new(key(number), HERE).unwrap());
    let mut connections = Vec::new();
    for peers in &askers {
        // The second is asked to show its address first, and does.
        let connection = peers.connect(&server.address, node).await.unwrap();
        connection.ask(&Request::Status).await.unwrap();
        connections.push(connection);
    }
    // The first is at work, so the second is the one that is idle.
    let working = connections[0].open(&get(2), ByteCount(0)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let third = Peers::new(key(4), HERE).unwrap();
    let connection = third.connect(&server.address, node).await.unwrap();
    connection.ask(&Request::Status).await.unwrap();
    assert_eq!(working.answer().await.unwrap().0, Response::PieceOpenings);
    let gone = |connection: &Connection| {
        let inner = connection.inner.clone();
        async move { tokio::time::timeout(Duration::from_secs(5), inner.closed()).await }
    };
    let reason = gone(&connections[1]).await.unwrap().to_string();
    assert!(reason.contains("room"), "{reason}");
    assert!(connections[0].is_open());
    // It comes back, at the cost of whoever is idle longest now.
    let again = askers[1].connect(&server.address, node).await.unwrap();
    again.ask(&Request::Status).await.unwrap();
    gone(&connection).await.unwrap();
    assert!(connections[0].is_open());
}

#[tokio::test]
async fn a_full_server_whose_connections_are_all_at_work_refuses() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let (server, _) = start(limits);
    let node = node_key(&key(1));
    let [first, second] = [2, 3].map(|number| Peers::new(key(number), HERE).unwrap());
    let connection = first.connect(&server.address, node).await.unwrap();
    let working = connection.open(&get(2), ByteCount(0)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = second.connect(&server.address, node).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    working.answer().await.unwrap();
}

#[tokio::test]
async fn garbage_before_hello_does_not_put_off_its_hour() {
    let limits = Limits {
        header_time: Duration::from_millis(800),
        ..Limits::default()
    };
    let (server, _) = start(limits);
    let begun = std::time::Instant::now();
    let silent = raw(&server.address).await;
    // A request every now and then, none of them hello.
    while silent.close_reason().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        let _ = raw_ask(&silent, &framed(Request::Status, 0)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let reason = silent.close_reason().unwrap().to_string();
    assert!(reason.contains("no hello"), "{reason}");
}

#[tokio::test]
async fn a_request_waits_for_its_turn_and_one_that_dawdles_gives_it_up() {
    let limits = Limits {
        requests: 1,
        ..Limits::default()
    };
    let (server, _) = start(limits);
    let node = node_key(&key(1));
    let [slow, honest] = [2, 3].map(|number| Peers::new(key(number), HERE).unwrap());
    let connection = slow.connect(&server.address, node).await.unwrap();
    let mut dawdling = connection.open(&get(0), ByteCount(1000)).await.unwrap();
    dawdling.write(Bytes::from_static(b"x")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = std::time::Instant::now();
    let other = honest.connect(&server.address, node).await.unwrap();
    other.ask(&Request::Status).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    dawdling.write(Bytes::from(vec![0; 999])).await.unwrap();
    let Err(CallError::Refused(refusal)) = dawdling.answer().await else {
        panic!("it was answered");
    };
    assert!(refusal.sentence.contains("slowly"), "{refusal}");
}

#[tokio::test]
async fn what_nobody_reads_takes_no_more_than_a_narrow_window() {
    let (server, _) = start(Limits::default());
    let connection = raw(&server.address).await;
    raw_ask(&connection, &hello()).await.unwrap();
    // Bodies of requests whose handler does not read them, on as many streams as there may be.
    let begun = std::time::Instant::now();
    let mut taken = 0;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&framed(get(2), 1 << 30)).await.unwrap();
        let piece = [0; 4096];
        let pause = Duration::from_millis(30);
        while let Ok(Ok(written)) = tokio::time::timeout(pause, send.write(&piece)).await {
            taken += written;
        }
        streams.push((send, receive));
    }
    // The first handler has not ended yet; until then nothing was given back.
    if begun.elapsed() < Duration::from_millis(290) {
        assert!(
            taken <= windows::NARROW as usize,
            "{taken} bytes were taken"
        );
    }
    assert!(taken > 0);
}

#[tokio::test]
async fn a_wide_connection_that_waits_for_an_answer_is_not_idle() {
    let limits = Limits {
        wide: 1,
        ..Limits::default()
    };
    let (server, _) = start(limits);
    let node = node_key(&key(1));
    let [first, second] = [2, 3].map(|number| Peers::new(key(number), HERE).unwrap());
    let long = Bytes::from(vec![1; 200_000]);
    let length = ByteCount(long.len() as u64);
    let connection = first.connect(&server.address, node).await.unwrap();
    let mut waiting = connection.open(&get(3), length).await.unwrap();
    waiting.write(long.clone()).await.unwrap();
    let answer = tokio::spawn(waiting.answer());
    tokio::time::sleep(Duration::from_millis(6500)).await;
    // This one would be wide, too.
    let other = second.connect(&server.address, node).await.unwrap();
    let mut exchange = other.open(&get(0), length).await.unwrap();
    exchange.write(long).await.unwrap();
    exchange.answer().await.unwrap();
    assert_eq!(answer.await.unwrap().unwrap().0, Response::PieceOpenings);
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_server_stops() {
    let (mut server, _) = start(Limits::default());
    let peers = Peers::new(key(2), HERE).unwrap();
    let node = node_key(&key(1));
    let connection = peers.connect(&server.address, node).await.unwrap();
    let exchange = connection.open(&get(2), ByteCount(0)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.take().unwrap().send(()).unwrap();
    let (response, _) = exchange.answer().await.unwrap();
    assert_eq!(response, Response::PieceOpenings);
    tokio::time::timeout(Duration::from_secs(5), server.running)
        .await
        .unwrap()
        .unwrap();
    assert!(connection.ask(&Request::Status).await.is_err());
}

#[tokio::test]
async fn a_broken_connection_is_opened_again() {
    let (mut server, _) = start(Limits::default());
    let peers = Peers::new(key(2), HERE).unwrap();
    let node = node_key(&key(1));
    let first = peers.connect(&server.address, node).await.unwrap();
    server.stop.take().unwrap().send(()).unwrap();
    server.running.await.unwrap();
    first.ask(&Request::Status).await.unwrap_err();
    let endpoint = super::server(&key(1), server.address.parse().unwrap()).unwrap();
    let service = Service {
        network: HERE,
        provider: watch::channel(None).1,
        limits: Limits::default(),
    };
    let running = tokio::spawn(serve(endpoint, service, std::future::pending(), |call| {
        answer(call, Arc::default())
    }));
    let second = peers.connect(&server.address, node).await.unwrap();
    assert_eq!(second.provider(), None);
    second.ask(&Request::Status).await.unwrap();
    running.abort();
}
