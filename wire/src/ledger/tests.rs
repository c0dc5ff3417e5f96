//! The client and the sender against a server that answers what each test tells it to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use holdfast_market_core::message::Body;
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::quote;
use holdfast_market_core::units::{Amount, NetworkId};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const NETWORK: NetworkId = NetworkId([1; 32]);

/// A request: its line (`GET /path`) and its body.
pub(crate) type Asked = (String, Vec<u8>);

/// Serves one request a connection; `answer` gives status and body.
pub(crate) async fn start(
    answer: impl Fn(&str, &[u8]) -> (u16, Vec<u8>) + Send + Sync + 'static,
) -> (LedgerClient, Arc<Mutex<Vec<Asked>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let record = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let (line, body) = loop {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap();
                bytes.extend_from_slice(&buffer[..read]);
                if let Some(asked) = parse(&bytes) {
                    break asked;
                }
                assert!(read > 0, "the request is cut off");
            };
            let (status, answer) = answer(&line, &body);
            record.lock().unwrap().push((line, body));
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                answer.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    let client = LedgerClient::new(&format!("http://{address}")).unwrap();
    (client, seen)
}

fn parse(bytes: &[u8]) -> Option<Asked> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    let body = bytes[end + 4..].get(..length)?.to_vec();
    let line = head.lines().next().unwrap();
    let line = line.rsplit_once(' ').unwrap().0.to_owned();
    Some((line, body))
}

fn status(height: u64) -> Vec<u8> {
    serde_json::to_vec(&LedgerStatus {
        network: NETWORK,
        name: "test".into(),
        height: Height(height),
        time: 0,
        header_id: holdfast_market_core::units::BlockId([0; 32]),
        pending: 0,
    })
    .unwrap()
}

fn account(next_nonce: u64) -> Vec<u8> {
    serde_json::to_vec(&AccountView {
        balance: Amount::hold(5),
        nonce: 0,
        next_nonce,
    })
    .unwrap()
}

fn error(sentence: &str) -> Vec<u8> {
    serde_json::to_vec(&ApiError {
        error: sentence.into(),
    })
    .unwrap()
}

#[tokio::test]
async fn a_ledger_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = LedgerClient::new(&api).unwrap();
    let error = client.status().await.unwrap_err();
    assert!(error.is_transient());
    assert!(error.to_string().contains(&api), "{error}");
    for wrong in [
        "",
        "127.0.0.1:80",
        "https://x",
        "http://",
        "ftp://x",
        "http:///",
    ] {
        let client = LedgerClient::new(wrong);
        assert!(matches!(client, Err(LedgerError::Address(_))), "{wrong}");
    }
}

#[tokio::test]
async fn failing_malformed_and_endless_answers_are_errors_that_say_so() {
    let (client, _) = start(|line, _| match line {
        "GET /v1/status" => (200, b"{\"height\": \"seven\"}".to_vec()),
        "GET /v1/supply" => (404, error("there is\u{1b}[2J no such thing")),
        "GET /v1/providers" => (503, b"<html>".to_vec()),
        line if line.contains("accounts") => (429, error("this account has enough")),
        "GET /v1/genesis" => (200, vec![0xff; 100]),
        _ => (200, vec![b' '; ANSWER_LIMIT + 1]),
    })
    .await;
    assert!(matches!(
        client.status().await,
        Err(LedgerError::Malformed { .. })
    ));
    let missing = client.supply().await.unwrap_err();
    assert!(matches!(missing, LedgerError::NotFound(sentence)
        if sentence == "there is\u{fffd}[2J no such thing"));
    let failing = client.providers().await.unwrap_err();
    assert!(failing.is_transient(), "{failing}");
    let busy = client.account(Address([1; 32])).await.unwrap_err();
    assert!(busy.is_transient(), "{busy}");
    assert!(matches!(
        client.genesis().await,
        Err(LedgerError::Malformed { .. })
    ));
    let endless = client.verifying_keys().await.unwrap_err();
    assert!(endless.to_string().contains("longer than"), "{endless}");
}

#[tokio::test]
async fn a_names_label_is_one_path_segment_whatever_it_holds() {
    let (client, seen) = start(|_, _| (404, error("no such name"))).await;
    let owner = Address([0xab; 32]);
    let _ = client.name(owner, "a/../b c?d").await;
    let line = seen.lock().unwrap()[0].0.clone();
    assert_eq!(line, format!("GET /v1/names/{owner}/a%2F..%2Fb%20c%3Fd"));
}

#[tokio::test]
async fn a_sender_takes_the_next_nonce_after_a_race_and_pays_the_quoted_fee() {
    let posts = Arc::new(Mutex::new(Vec::new()));
    let store = posts.clone();
    let (client, _) = start(move |line, body| match line {
        line if line.starts_with("GET /v1/accounts/") => {
            (200, account(3 + store.lock().unwrap().len() as u64))
        }
        line if line.starts_with("GET /v1/messages/") => {
            // Forgotten once, so that it is sent again; then included.
            if store.lock().unwrap().len() < 3 {
                return (200, b"{\"status\":\"unknown\"}".to_vec());
            }
            (
                200,
                b"{\"status\":\"included\",\"height\":12,\"result\":\"done\"}".to_vec(),
            )
        }
        "POST /v1/messages" => {
            let mut posts = store.lock().unwrap();
            posts.push(body.to_vec());
            if posts.len() == 1 {
                return (409, error("the nonce is used"));
            }
            let id = MessageId(*blake3::hash(body).as_bytes());
            (200, serde_json::to_vec(&Submitted { id }).unwrap())
        }
        _ => (200, status(10)),
    })
    .await;
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let parameters = Parameters::dev();
    let sender = Sender::new(client, NETWORK, parameters.clone(), key);
    let transfer = Body::Transfer {
        to: Address([2; 32]),
        amount: Amount(1),
    };
    let executed = sender.send(transfer).await.unwrap();
    assert_eq!(executed.height, Height(12));
    let posts: Vec<SignedMessage> = posts
        .lock()
        .unwrap()
        .iter()
        .map(|bytes| decode("message", bytes).unwrap())
        .collect();
    assert_eq!(posts.len(), 3);
    assert_eq!((posts[0].message.nonce, posts[1].message.nonce), (3, 4));
    assert_eq!(posts[1], posts[2], "sent again, the same bytes");
    assert_eq!(executed.id, posts[1].id().unwrap());
    let fee = quote::fee(&parameters.economy, &posts[1].message).unwrap();
    assert_eq!(posts[1].message.fee, fee);
    assert!(!format!("{sender:?}").contains("7, 7"));
}

#[tokio::test]
async fn a_refused_message_and_an_expired_one_are_told_apart() {
    for refused in [true, false] {
        let asked = Arc::new(Mutex::new(0u64));
        let (client, _) = start(move |line, _| match line {
            line if line.starts_with("GET /v1/accounts/") => (200, account(0)),
            line if line.starts_with("GET /v1/messages/") && refused => (
                200,
                b"{\"status\":\"included\",\"height\":4,\"result\":{\"refused\":\"too poor\"}}"
                    .to_vec(),
            ),
            line if line.starts_with("GET /v1/messages/") => {
                (200, b"{\"status\":\"pending\"}".to_vec())
            }
            "POST /v1/messages" => {
                let id = MessageId([0; 32]);
                (200, serde_json::to_vec(&Submitted { id }).unwrap())
            }
            _ => {
                // A block a question.
                let mut asked = asked.lock().unwrap();
                *asked += 100;
                (200, status(*asked))
            }
        })
        .await;
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let sender = Sender::new(client, NETWORK, Parameters::dev(), key);
        let transfer = Body::Transfer {
            to: Address([2; 32]),
            amount: Amount(1),
        };
        let error = sender.send(transfer).await.unwrap_err();
        if refused {
            assert!(
                matches!(error, SendError::Refused { height: Height(4), sentence }
                if sentence == "too poor")
            );
        } else {
            assert!(matches!(error, SendError::Expired(_)), "{error}");
        }
    }
}
