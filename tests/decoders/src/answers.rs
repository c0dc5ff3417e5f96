//! What clients and nodes read from a ledger's API.

use crate::read::{answer, json, plain_json, texts, usual};
use crate::{Answer, Bounds, Decoder, FEW_CALLS, Form, sample};
use holdfast_market_core::block::{Outcome, OutcomeResult};
use holdfast_market_core::channel::Channel;
use holdfast_market_core::state::{DealSet, Name, Provider, Sector, Supply};
use holdfast_market_core::tree::{self, MemoryTree};
use holdfast_market_core::units::*;
use holdfast_market_core::view::Writes;
use holdfast_wire::ledger::{
    AccountView, ApiError, BeaconView, LedgerClient, LedgerError, LedgerStatus, MessageStatus,
    ProvenState, ProviderDeal, Submitted,
};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Mutex, OnceLock};

pub(crate) fn decoders() -> Vec<Decoder> {
    let text = |name, decode, seeds| usual(name, Form::Json, decode, seeds);
    vec![
        text("api-status", plain_json::<LedgerStatus>, || {
            texts([status()])
        }),
        text("api-account", plain_json::<AccountView>, || {
            texts([AccountView {
                balance: Amount(u128::MAX),
                nonce: 3,
                next_nonce: u64::MAX,
            }])
        }),
        text("api-beacon", plain_json::<BeaconView>, || {
            texts([BeaconView {
                beacon: Beacon([7; 32]),
            }])
        }),
        text("api-submitted", plain_json::<Submitted>, || {
            texts([Submitted {
                id: MessageId([7; 32]),
            }])
        }),
        text("api-message", plain_json::<MessageStatus>, || {
            let included = |result| MessageStatus::Included {
                height: Height(9),
                result,
            };
            texts([
                MessageStatus::Unknown,
                MessageStatus::Pending,
                included(OutcomeResult::Done),
                included(OutcomeResult::Refused("no such provider".into())),
            ])
        }),
        text("api-outcomes", plain_json::<Vec<Outcome>>, || {
            texts([sample::outcomes()])
        }),
        text("api-providers", plain_json::<Vec<Provider>>, || {
            texts([vec![sample::provider(); 2]])
        }),
        text("api-channels", plain_json::<Vec<Channel>>, || {
            texts([vec![sample::channel(); 2]])
        }),
        text("api-sectors", plain_json::<Vec<Sector>>, || {
            texts([vec![sample::sector()]])
        }),
        text(
            "api-provider-deals",
            plain_json::<Vec<ProviderDeal>>,
            || {
                let terms = sample::proposal().terms[0].clone();
                let deals = sample::deals().into_iter();
                let deals = deals.map(|deal| ProviderDeal {
                    id: sample::deal_id(),
                    root: sample::shard_root(),
                    length: ByteCount(sample::SHARD_BYTES),
                    terms: terms.clone(),
                    at: Height(33),
                    deal,
                });
                texts([deals.collect::<Vec<_>>()])
            },
        ),
        text("api-deal-sets", plain_json::<Vec<DealSet>>, || {
            texts([vec![sample::deal_set()]])
        }),
        text("api-name", plain_json::<Name>, || texts([sample::name()])),
        text("api-supply", plain_json::<Supply>, || {
            texts([sample::supply()])
        }),
        text("api-error", plain_json::<ApiError>, || {
            texts([ApiError {
                error: "there is no provider 7".into(),
            }])
        }),
        text("api-state-proof", state_proof, || {
            KEYS.iter().map(|key| honest_proof(key)).collect()
        }),
        Decoder {
            bounds: Bounds::HEAVY,
            calls: FEW_CALLS,
            ..usual("api-http-answer", Form::Text, http_answer, || {
                let body = serde_json::to_string(&status()).unwrap();
                let length = body.len();
                vec![
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"),
                    format!(
                        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
                    ),
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}"),
                ]
                .into_iter()
                .map(String::into_bytes)
                .collect()
            })
        },
    ]
}

fn status() -> LedgerStatus {
    LedgerStatus {
        network: sample::NETWORK,
        name: "samples".into(),
        height: Height(8),
        time: 1_700_000_000_000,
        header_id: BlockId([3; 32]),
        pending: 2,
    }
}

const KEYS: [&[u8]; 3] = [b"account/a", b"account/z", b"chain"];

fn state() -> &'static (TreeRoot, MemoryTree) {
    static STATE: OnceLock<(TreeRoot, MemoryTree)> = OnceLock::new();
    STATE.get_or_init(|| {
        let mut tree = MemoryTree::default();
        let writes: Writes = (0..40u8)
            .map(|number| (vec![number; 3], Some(vec![number; 9])))
            .chain([(b"chain".to_vec(), Some(b"the chain".to_vec()))])
            .chain([(b"account/a".to_vec(), Some(b"rich".to_vec()))])
            .collect();
        let root = tree.apply(Height(0), &writes).unwrap();
        (root, tree)
    })
}

fn value(key: &[u8]) -> Option<Vec<u8>> {
    let (_, tree) = state();
    tree::prove(tree, Height(0), key).unwrap().0
}

fn honest_proof(key: &[u8]) -> Vec<u8> {
    let (state_root, tree) = state();
    let (value, proof) = tree::prove(tree, Height(0), key).unwrap();
    serde_json::to_vec(&ProvenState {
        height: Height(0),
        state_root: *state_root,
        value,
        proof,
    })
    .unwrap()
}

/// What is shown under the honest root is what the state holds.
fn state_proof(bytes: &[u8]) -> Answer {
    let read = json::<ProvenState>(bytes);
    if let Some(proven) = &read {
        for key in KEYS {
            let shown = proven.value.as_deref();
            if tree::is_shown(state().0, key, shown, &proven.proof) {
                assert_eq!(proven.value, value(key), "a wrong value is shown");
            }
        }
    }
    answer(read)
}

/// A ledger that answers whatever it is told to, and a client of it.
struct Ledger {
    client: LedgerClient,
    runtime: tokio::runtime::Runtime,
}

/// What the ledger answers next.
static NEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn ledger() -> &'static Ledger {
    static LEDGER: OnceLock<Ledger> = OnceLock::new();
    LEDGER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
                        _ => break,
                    }
                }
                let answer = NEXT.lock().unwrap().clone();
                let _ = stream.write_all(&answer);
            }
        });
        Ledger {
            client: LedgerClient::new(&format!("http://{address}")).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    })
}

/// An answer, its head included, gives a status or an error; never both, and never a wait.
fn http_answer(bytes: &[u8]) -> Answer {
    let ledger = ledger();
    *NEXT.lock().unwrap() = bytes.to_vec();
    match ledger.runtime.block_on(ledger.client.status()) {
        Ok(_) => Answer::Read,
        Err(LedgerError::Address(address)) => panic!("{address} is an address"),
        Err(error) => {
            assert!(error.to_string().len() < 4_000, "the refusal is long");
            Answer::Refused
        }
    }
}
