//! The API over a real listener, asked by the client that everybody uses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{LONG_ANSWER, MOST_REQUESTS, Shared, blocking, with_room};
use crate::forward::Forwarder;
use crate::run::{Market, RunError};
use crate::testing::{Network, address, transfer};
use axum::body::Body;
use axum::response::Response;
use ed25519_dalek::SigningKey;
use holdfast_market_core::block::OutcomeResult;
use holdfast_market_core::keys;
use holdfast_market_core::message::encode;
use holdfast_market_core::tree;
use holdfast_market_core::units::{
    Address, Amount, BlockId, Height, MessageId, PackId, ProviderId, SectorId, SectorNumber,
};
use holdfast_wire::ledger::{LedgerClient, LedgerError, MessageStatus};
use holdfast_wire::light::{FollowError, LightClient};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

struct Running {
    network: Network,
    address: SocketAddr,
    client: LedgerClient,
    stop: watch::Sender<bool>,
    market: JoinHandle<Result<(), RunError>>,
}

impl Running {
    async fn start(name: &str) -> Self {
        let network = Network::new(name);
        let market = Market::open(network.config()).await.unwrap();
        let address = market.address().unwrap();
        let (stop, stopped) = watch::channel(false);
        Self {
            client: LedgerClient::new(&format!("http://{address}")).unwrap(),
            market: tokio::spawn(market.run(stopped)),
            network,
            address,
            stop,
        }
    }

    async fn end(self) -> Network {
        self.stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(10), self.market)
            .await
            .expect("a clean stop in time")
            .unwrap()
            .unwrap();
        self.network
    }

    /// Sends bytes as they are and returns the whole answer.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str) -> String {
        self.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ))
        .await
    }
}

async fn included(client: &LedgerClient, id: MessageId) -> (Height, OutcomeResult) {
    for _ in 0..200 {
        if let MessageStatus::Included { height, result } = client.message(id).await.unwrap() {
            return (height, result);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("message {id} is in no block");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_in_and_everything_about_it_comes_out() {
    let running = Running::start("round trip").await;
    let (client, network) = (&running.client, &running.network);
    let status = client.status().await.unwrap();
    assert_eq!(status.network, network.genesis.network().unwrap());
    assert_eq!(client.genesis().await.unwrap(), network.genesis);
    assert_eq!(
        client.verifying_keys().await.unwrap(),
        encode(&network.verifying_keys).unwrap()
    );

    let receiver = Address([3; 32]);
    let message = network.transfer(0, receiver, Amount::hold(5));
    let id = client.submit(&message).await.unwrap();
    assert_eq!(id, message.id().unwrap());
    let (height, result) = included(client, id).await;
    assert_eq!(result, OutcomeResult::Done);
    let outcomes = client.outcomes(height).await.unwrap();
    assert_eq!(outcomes.iter().filter(|one| one.message == id).count(), 1);
    let blocks = client.blocks(height, 1).await.unwrap();
    assert_eq!(blocks[0].block.messages, std::slice::from_ref(&message));
    let account = client.account(receiver).await.unwrap();
    assert_eq!((account.balance, account.next_nonce), (Amount::hold(5), 0));
    let sender = client.account(address(&network.rich)).await.unwrap();
    assert_eq!((sender.nonce, sender.next_nonce), (1, 1));
    assert!(client.supply().await.unwrap().balances_out());

    // A long poll answers when the height is there.
    let ahead = client.status().await.unwrap().height.0 + 3;
    assert!(client.wait(Height(ahead)).await.unwrap().height.0 >= ahead);
    // The beacon of a block is the one that its header gives.
    let header = &client.blocks(Height(2), 1).await.unwrap()[0].block.header;
    assert_eq!(
        client.beacon(Height(2)).await.unwrap(),
        holdfast_market_core::beacon::value(&header.beacon)
    );
    // A state object is shown under the root that a later header carries.
    let shown = client.state(&keys::account(&receiver)).await.unwrap();
    client.wait(Height(shown.height.0 + 1)).await.unwrap();
    let next = client.blocks(Height(shown.height.0 + 1), 1).await.unwrap();
    assert_eq!(next[0].block.header.state_root, shown.state_root);
    assert!(tree::is_shown(
        shown.state_root,
        &keys::account(&receiver),
        shown.value.as_deref(),
        &shown.proof
    ));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_light_client_follows_a_market_and_is_shown_what_it_asks_for() {
    let running = Running::start("light").await;
    let (client, network) = (&running.client, &running.network);
    let receiver = Address([3; 32]);
    let message = network.transfer(0, receiver, Amount::hold(5));
    let (height, _) = included(client, client.submit(&message).await.unwrap()).await;
    let path = network.data().join("light.json");
    let open = || LightClient::open(&network.genesis, client.clone(), &path);
    let mut light = open().unwrap();
    let shown = light.account(&receiver).await.unwrap();
    assert_eq!(shown.object.unwrap().balance, Amount::hold(5));
    assert!(shown.height >= height && shown.proof.0 > 0);
    assert_eq!(light.chain().height(), Height(shown.height.0 + 1));
    let shown = light.account(&Address([4; 32])).await.unwrap();
    assert_eq!(shown.object, None);
    let sector = SectorId {
        provider: ProviderId(0),
        number: SectorNumber(0),
    };
    assert_eq!(light.sector(sector).await.unwrap().object, None);
    // What the market says of a block is so, and of another one at its height is not.
    let block = client.blocks(height, 1).await.unwrap()[0].block.header.id();
    light.shows(height, block.unwrap()).await.unwrap();
    let other = light.shows(height, BlockId([7; 32])).await;
    assert!(matches!(other, Err(FollowError::NotOnChain { .. })));
    // From a block that is named, the same chain.
    let begun = client.header(Height(2)).await.unwrap();
    let place = (Height(2), begun.header.id().unwrap());
    let elsewhere = network.data().join("elsewhere.json");
    let late = LightClient::trust(&network.genesis, client.clone(), &elsewhere, place).await;
    let mut late = late.unwrap();
    late.follow().await.unwrap();
    let (height, block) = (light.chain().height(), light.chain().block());
    late.shows(height, block).await.unwrap();
    assert_eq!(open().unwrap().chain().block(), block);
    // No more than was asked for, and no more than there is room for.
    client.wait_until(Height(9)).await.unwrap();
    assert_eq!(client.headers(Height(2), 3).await.unwrap().len(), 3);
    assert!(client.headers(Height(1), usize::MAX).await.unwrap().len() >= 9);
    assert_eq!(client.headers(Height(1 << 40), 3).await.unwrap(), []);
    let missing = client.header(Height(1 << 40)).await;
    assert!(matches!(missing, Err(LedgerError::NotFound(_))));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said_in_one_sentence() {
    let running = Running::start("nothing").await;
    let client = &running.client;
    let missing = |error: LedgerError| match error {
        LedgerError::NotFound(sentence) => assert!(sentence.contains("no"), "{sentence}"),
        other => panic!("{other}"),
    };
    missing(client.provider(ProviderId(7)).await.unwrap_err());
    missing(client.sectors(ProviderId(7)).await.unwrap_err());
    missing(client.provider_deals(ProviderId(7)).await.unwrap_err());
    let sector = SectorId {
        provider: ProviderId(7),
        number: SectorNumber(0),
    };
    missing(client.sector(sector).await.unwrap_err());
    missing(client.deal_set(PackId([1; 32])).await.unwrap_err());
    missing(client.name(Address([1; 32]), "a b/ü").await.unwrap_err());
    missing(client.outcomes(Height(1 << 40)).await.unwrap_err());
    missing(client.beacon(Height(1 << 40)).await.unwrap_err());
    assert_eq!(client.providers().await.unwrap(), []);
    assert_eq!(client.deal_sets_of(Address([1; 32])).await.unwrap(), []);
    assert_eq!(client.blocks(Height(1 << 40), 5).await.unwrap(), []);
    assert_eq!(
        client.message(MessageId([1; 32])).await.unwrap(),
        MessageStatus::Unknown
    );
    for (path, status) in [
        ("/nowhere", "404"),
        ("/v1/providers/-1", "400"),
        ("/v1/sectors/1/x", "400"),
        ("/v1/accounts/zz", "400"),
        ("/v1/accounts/hold1x", "400"),
        ("/v1/blocks", "400"),
        ("/v1/blocks?from=x", "400"),
        ("/v1/headers", "400"),
        ("/v1/headers?from=1&limit=-1", "400"),
        ("/v1/headers/01", "400"),
        ("/v1/headers/0", "404"),
        ("/v1/wait", "400"),
        ("/v1/messages/00", "400"),
        ("/v1/proofs/0g", "400"),
        ("/v1/deal-sets?owner=1", "400"),
        ("/v1/names/00/x", "400"),
        ("/v1/messages", "405"),
    ] {
        let answer = running.get(path).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {answer}"
        );
        assert!(answer.contains("{\"error\":\""), "{path}: {answer}");
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_cannot_be_taken_are_refused_with_a_reason() {
    let running = Running::start("refusals").await;
    let (client, network) = (&running.client, &running.network);
    let refused = |error: LedgerError| match error {
        LedgerError::Refused { status, sentence } => (status, sentence),
        other => panic!("{other}"),
    };
    let to = Address([3; 32]);
    // Nonces ahead of the account's leave a gap; served ones are taken.
    let gap = network.transfer(5, to, Amount(1));
    assert_eq!(refused(client.submit(&gap).await.unwrap_err()).0, 409);
    let first = network.transfer(0, to, Amount(1));
    let id = client.submit(&first).await.unwrap();
    included(client, id).await;
    let other = network.transfer(0, to, Amount(2));
    let (status, sentence) = refused(client.submit(&other).await.unwrap_err());
    assert_eq!(status, 409, "{sentence}");
    // A signature of another key, a fee too low, an account without funds.
    let mut forged = network.transfer(1, to, Amount(1));
    forged.message.nonce = 2;
    let (status, sentence) = refused(client.submit(&forged).await.unwrap_err());
    assert!(
        status == 400 && sentence.contains("signature"),
        "{sentence}"
    );
    let poor = SigningKey::from_bytes(&[8; 32]);
    let unfunded = transfer(&network.genesis, &poor, 0, to, Amount(1));
    assert_eq!(refused(client.submit(&unfunded).await.unwrap_err()).0, 400);
    // Bytes that are no message, and too many of them.
    for body in ["", "hello", "\u{a1}"] {
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = running.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let long = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999\r\n\r\n";
    assert!(running.raw(long).await.starts_with("HTTP/1.1 413"));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_dribble_keep_nobody_waiting_and_are_given_up() {
    let running = Running::start("dribble").await;
    running.client.wait(Height(1)).await.unwrap();
    // More than there are turns for requests, and more than may be read at once.
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        slow.push(stream);
    }
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = Instant::now();
    running.client.status().await.unwrap();
    running.client.supply().await.unwrap();
    assert!(
        before.elapsed() < Duration::from_secs(2),
        "{:?}",
        before.elapsed()
    );
    let mut answer = vec![0; 64];
    let reading = slow[0].read(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(30), reading).await;
    let answer = String::from_utf8_lossy(&answer[..read.unwrap().unwrap()]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // A message is taken in, though others still dribble.
    let id = running.network.transfer(0, Address([3; 32]), Amount(1));
    running.client.submit(&id).await.unwrap();
    // One that does not say how long it is, and is too long, is cut at the limit.
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..16 {
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 64];
    let read = stream.read(&mut answer).await.unwrap_or(0);
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    drop((slow, silent));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_a_long_poll_and_the_next_start_goes_on() {
    let running = Running::start("stop").await;
    running.client.wait(Height(3)).await.unwrap();
    let waiting = {
        let client = running.client.clone();
        tokio::spawn(async move { client.wait(Height(1 << 40)).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = Instant::now();
    let network = running.end().await;
    assert!(before.elapsed() < Duration::from_secs(3));
    let answered = waiting.await.unwrap().unwrap();
    assert!(answered.height >= Height(3));

    let market = Market::open(network.config()).await.unwrap();
    assert!(market.current().ledger().unwrap().head().height >= answered.height);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_of_the_explorer_is_whole_and_runs_no_script() {
    let running = Running::start("pages <b>&").await;
    let (client, network) = (&running.client, &running.network);
    let id = client
        .submit(&network.transfer(0, Address([3; 32]), Amount(1)))
        .await
        .unwrap();
    let (height, _) = included(client, id).await;
    // Past two deadlines, so that the charts have lines.
    client.wait_until(Height(25)).await.unwrap();
    let rich = address(&network.rich);
    for (path, says) in [
        ("/".to_owned(), "The books balance"),
        ("/".to_owned(), "<polyline"),
        ("/blocks".to_owned(), "Builder"),
        ("/blocks?before=5".to_owned(), "/blocks/4"),
        (format!("/blocks/{height}"), "gives 0.000000001 HOLD"),
        ("/providers".to_owned(), "No provider has registered"),
        ("/deal-sets".to_owned(), "Nothing is stored yet"),
        (format!("/accounts/{rich}"), "HOLD"),
    ] {
        let answer = running.get(&path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(answer.contains(says), "{path} lacks {says}: {answer}");
        assert!(answer.contains("width=device-width"), "{path}");
        assert!(!answer.contains("<script"), "{path}");
        assert!(!answer.contains("pages <b>&"), "{path} is not escaped");
        assert!(
            answer.to_lowercase().contains("content-security-policy"),
            "{path}"
        );
    }
    for path in [
        "/blocks/999999",
        "/providers/9",
        "/sectors/1/1",
        "/accounts/x",
    ] {
        let answer = running.get(path).await;
        assert!(
            answer.starts_with("HTTP/1.1 40") && answer.contains("Nothing to show"),
            "{path}: {answer}"
        );
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_is_held_by_the_work_though_its_asker_has_gone() {
    let network = Network::new("turns");
    let market = Market::open(network.config()).await.unwrap();
    let (_stop, stopped) = watch::channel(false);
    let shared = Shared::new(market.current(), Forwarder::default(), stopped);
    let (begun, begins) = tokio::sync::oneshot::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let asking = shared.clone();
    let asker = tokio::spawn(async move {
        let work = blocking(&asking, move |_| {
            begun.send(()).unwrap();
            let _ = ends.recv();
            Ok(())
        });
        let _ = work.await;
    });
    begins.await.unwrap();
    asker.abort();
    assert!(asker.await.unwrap_err().is_cancelled());
    assert_eq!(shared.working.available_permits(), MOST_REQUESTS - 1);
    end.send(()).unwrap();
    let all = u32::try_from(MOST_REQUESTS).unwrap();
    let back = shared.working.acquire_many(all);
    let back = tokio::time::timeout(Duration::from_secs(30), back).await;
    drop(back.unwrap().unwrap());
}

#[tokio::test]
async fn a_long_answer_has_room_until_its_last_byte_is_sent() {
    let answer = || Response::new(Body::from(vec![5; LONG_ANSWER + 1024]));
    let kibibytes = LONG_ANSWER / 1024 + 1;
    let room = Arc::new(Semaphore::new(kibibytes + 10));
    let first = with_room(&room, answer()).await;
    assert_eq!(room.available_permits(), 10);
    assert_eq!(with_room(&room, answer()).await.status(), 503);
    let short = Response::new(Body::from(vec![5; LONG_ANSWER]));
    assert_eq!(with_room(&room, short).await.status(), 200);
    let bytes = axum::body::to_bytes(first.into_body(), usize::MAX).await;
    let mut bytes = bytes.unwrap();
    assert_eq!(bytes.len(), LONG_ANSWER + 1024);
    let last = bytes.split_off(LONG_ANSWER);
    drop(bytes);
    assert_eq!(room.available_permits(), 10);
    drop(last);
    assert_eq!(room.available_permits(), kibibytes + 10);
}
