//! What the market and the node read from their databases and files, and what the market is asked.

use crate::read::{answer, encoded, json, object, plain, usual};
use crate::{Answer, Bounds, Decoder, FEW_CALLS, Form, files, proofs, sample};
use axum::body::Body;
use axum::http::Request;
use holdfast_market::current::Current;
use holdfast_market::history::Row;
use holdfast_market::ledger::Ledger;
use holdfast_market::store::Head;
use holdfast_market::store::columns::{Place, read_node};
use holdfast_market::validator::{KEY_FILE, KeyError, ValidatorKeys};
use holdfast_market_core::channel::SignedVoucher;
use holdfast_market_core::genesis::{Balance, Genesis};
use holdfast_market_core::message::{Body as MessageBody, Message, SignedMessage, encode};
use holdfast_market_core::quote;
use holdfast_market_core::units::*;
use holdfast_node::journal::{EmbedRecord, OutboxEntry, SectorRecord, ShardRecord};
use holdfast_node::report::NodeReport;
use holdfast_proofs::checked::{with_check, without_check};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::replica::ReplicaId;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{KeyHash, OwnedValue, Version};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, OnceLock};

pub(crate) fn decoders() -> Vec<Decoder> {
    let cbor = |name, decode, seeds| usual(name, Form::Cbor, decode, seeds);
    vec![
        cbor("journal-shard", plain::<ShardRecord>, || {
            encoded([ShardRecord {
                receipt: sample::receipt(0),
                sector: SectorNumber(2),
                piece_roots: Some(sample::piece_roots().0),
                ended: Some(Height(90)),
            }])
        }),
        cbor("journal-sector", plain::<SectorRecord>, || {
            let fresh = SectorRecord::new(sample::CLASS, Height(4), ReplicaId(sample::node(3)));
            let proofs = Some(vec![ProofBytes([9; 192]); 2]);
            encoded([
                SectorRecord {
                    sealed: true,
                    seal_proofs: proofs.clone(),
                    embed: Some(EmbedRecord {
                        committed: Height(40),
                        proofs,
                    }),
                    ..fresh.clone()
                },
                fresh,
            ])
        }),
        cbor("journal-voucher", plain::<SignedVoucher>, || {
            encoded([sample::voucher()])
        }),
        cbor("journal-outbox", plain::<OutboxEntry>, || {
            encoded(sample::bodies().into_iter().map(|body| {
                let message = sample::message(body);
                OutboxEntry {
                    id: message.id().unwrap(),
                    message,
                }
            }))
        }),
        Decoder {
            calls: FEW_CALLS,
            ..usual("node-report", Form::Json, node_report, || {
                vec![
                    REPORT
                        .replace("HEX", &sample::address(1).to_string())
                        .into_bytes(),
                ]
            })
        },
        cbor("store-head", plain::<Head>, || {
            encoded([Head {
                height: Height(8),
                block: BlockId([1; 32]),
                state_root: TreeRoot([2; 32]),
                time: 1_700_000_000_000,
            }])
        }),
        cbor("store-history", plain::<Row>, || {
            encoded([Row {
                capacity: ByteCount(8 << 20),
                supply: sample::supply(),
                proven: 3,
                missed: 1,
            }])
        }),
        usual("store-message-place", Form::Bytes, place, || {
            let place = Place {
                height: Height(7_000_000_000),
                position: 3,
            };
            vec![place.to_bytes().to_vec()]
        }),
        cbor("store-tree-node", tree_node, tree_nodes),
        Decoder {
            calls: FEW_CALLS,
            ..usual("validator-key-file", Form::Json, validator_key, || {
                vec![honest_key().to_vec()]
            })
        },
        Decoder {
            bounds: Bounds::HEAVY,
            calls: 1_000,
            ..usual("api-request", Form::Text, api_request, api_requests)
        },
        Decoder {
            bounds: Bounds::HEAVY,
            calls: 1_000,
            ..cbor("api-message-body", api_message, || {
                vec![encode(&payment(0)).unwrap()]
            })
        },
    ]
}

/// A node's report of itself.
const REPORT: &str = r#"{
  "running": true,
  "status": {"provider": 3, "capacity": 8388608, "free": 8000000, "largest": 8000000, "staged": 0,
    "stored": 9, "sealing": 0, "active": 1, "faulty": 0, "price": "900", "height": 9},
  "provider": 3, "node": "HEX", "endpoint": "127.0.0.1:4000", "owner": "HEX", "balance": "5",
  "worker": "HEX", "worker_balance": "6", "collateral": "7", "locked": "1", "vesting": "0",
  "paid": "0", "rewarded": "0", "fined": "0", "read_price": "2", "vouchers": "3", "retiring": 7,
  "sectors": [{"number": 0, "class": "8MiB", "state": "active", "deals": 1, "groups": 1,
    "embed": null, "proven": 3}],
  "staged": 0, "stored": 1, "next_deadline": 40,
  "proofs": [{"kind": "seal", "sector": 0, "height": 4, "proofs": 1, "bytes": 192, "seconds": 1.5}],
  "working": ["piece roots"], "troubles": [], "healed": ["a shard was read again"]
}"#;

/// A report is for eyes; whatever it is, it is shown or refused.
fn node_report(bytes: &[u8]) -> Answer {
    let path = files::folder("node-report").join("status.json");
    std::fs::write(&path, with_check(bytes)).unwrap();
    match NodeReport::read(&path) {
        Err(_) => Answer::Refused,
        Ok(_) => answer(Some(json::<NodeReport>(bytes).expect("it was read"))),
    }
}

fn place(bytes: &[u8]) -> Answer {
    let place = Place::from_bytes(bytes);
    if let Some(place) = place {
        assert!(place.to_bytes() == bytes);
    }
    answer(place)
}

fn tree_nodes() -> Vec<Vec<u8>> {
    use holdfast_market_core::tree;
    use holdfast_market_core::view::Writes;
    let writes: Writes = (0..40u8)
        .map(|number| (vec![number; 3], Some(vec![number; 9])))
        .collect();
    let empty = tree::MemoryTree::default();
    let (_, batch) = tree::apply(&empty, Height(0), &writes).unwrap();
    encoded(batch.node_batch.nodes().values().take(20))
}

fn tree_node(bytes: &[u8]) -> Answer {
    let read: Option<Node> = read_node(bytes).ok();
    if let Some(node) = &read {
        crate::read::canonical(node, bytes);
        // A damaged tree gives an error or a proof that shows nothing.
        let tree = OneNode(node.clone());
        let _ = holdfast_market_core::tree::prove(&tree, Height(0), b"chain");
    }
    answer(read)
}

/// A tree that is the same node wherever one looks.
struct OneNode(Node);

impl TreeReader for OneNode {
    fn get_node_option(&self, _: &NodeKey) -> Result<Option<Node>, anyhow::Error> {
        Ok(Some(self.0.clone()))
    }

    fn get_value_option(
        &self,
        _: Version,
        _: KeyHash,
    ) -> Result<Option<OwnedValue>, anyhow::Error> {
        Ok(Some(vec![7]))
    }

    fn get_rightmost_leaf(&self) -> Result<Option<(NodeKey, LeafNode)>, anyhow::Error> {
        Ok(None)
    }
}

fn honest_key() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        use rand_core::SeedableRng;
        let folder = files::folder("honest-key");
        let mut random = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        ValidatorKeys::create(&folder, &mut random).unwrap();
        without_check(&std::fs::read(folder.join(KEY_FILE)).unwrap()).unwrap()
    })
}

/// A key file says its kind and its seed, in one way and nothing else.
fn validator_key(bytes: &[u8]) -> Answer {
    let folder = files::folder("validator-key-file");
    let path = folder.join(KEY_FILE);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    match ValidatorKeys::load(&folder) {
        Err(KeyError::Malformed(_)) => Answer::Refused,
        Err(error) => panic!("{error}"),
        Ok(keys) => {
            let said: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            let fields = said.as_object().unwrap();
            assert_eq!(fields.len(), 2, "a field that nobody reads was taken");
            let seed = fields["seed"].as_str().unwrap();
            assert_eq!(seed, seed.to_lowercase(), "a seed has one spelling");
            let seed: [u8; 32] = hex::decode(seed).unwrap().try_into().unwrap();
            assert_eq!(keys.address(), ValidatorKeys::from_seed(&seed).address());
            Answer::Read
        }
    }
}

/// A market without a socket: its routes over a ledger that does not move.
struct Market {
    service: TowerToHyperService<axum::Router>,
    runtime: tokio::runtime::Runtime,
}

pub(crate) fn market_genesis() -> Genesis {
    let keys = ValidatorKeys::from_seed(&[8; 32]);
    Genesis {
        balances: vec![Balance {
            account: sample::address(1),
            amount: Amount::hold(1_000_000),
        }],
        validators: vec![keys.validator(1)],
        ..sample::genesis()
    }
}

fn market() -> &'static Market {
    static MARKET: OnceLock<Market> = OnceLock::new();
    MARKET.get_or_init(|| {
        let folder = files::folder("market");
        let ledger = Ledger::open(&folder, market_genesis(), proofs::made_keys()).unwrap();
        // A market that is told to stop answers long polls at once.
        let (_, stopped) = tokio::sync::watch::channel(true);
        Market {
            service: TowerToHyperService::new(holdfast_market::api::router(
                Arc::new(Current::new(Arc::new(ledger))),
                holdfast_market::forward::Forwarder::default(),
                stopped,
            )),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    })
}

/// No answer of an empty ledger is longer.
const LONGEST_ANSWER: usize = 1 << 20;

/// Whatever is asked, the market answers it and has no fault of its own.
fn ask(request: Request<Body>) -> Answer {
    let market = market();
    let status = market.runtime.block_on(async {
        let response = market.service.call(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), LONGEST_ANSWER)
            .await
            .expect("an answer that is not endless");
        assert!(
            status.is_success() || body.len() < 4_000,
            "the refusal is long"
        );
        status
    });
    assert!(!status.is_server_error(), "the market fails with {status}");
    match status.as_u16() {
        200 | 404 | 409 => Answer::Read,
        _ => Answer::Refused,
    }
}

/// A line with method and target, then the body.
fn api_request(bytes: &[u8]) -> Answer {
    let line = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let (line, body) = bytes.split_at(line);
    let Some(space) = line.iter().position(|byte| *byte == b' ') else {
        return Answer::Refused;
    };
    let (method, target) = line.split_at(space);
    let request = Request::builder()
        .method(method)
        .uri(&target[1..])
        .body(Body::from(body.get(1..).unwrap_or_default().to_vec()));
    match request {
        Err(_) => Answer::Refused,
        Ok(request) => ask(request),
    }
}

fn api_requests() -> Vec<Vec<u8>> {
    let address = sample::address(1);
    let hex = address.to_string();
    let (text, pack) = (address.to_text("thold"), sample::pack());
    let key = hex::encode(holdfast_market_core::keys::account(&address));
    [
        "/v1/status".to_owned(),
        "/v1/genesis".to_owned(),
        "/v1/verifying-keys".to_owned(),
        "/v1/wait?height=7".to_owned(),
        "/v1/blocks?from=1&limit=5".to_owned(),
        "/v1/outcomes/1".to_owned(),
        "/v1/beacon/0".to_owned(),
        format!("/v1/messages/{hex}"),
        format!("/v1/accounts/{hex}"),
        format!("/v1/accounts/{text}"),
        "/v1/providers?after=3".to_owned(),
        "/v1/providers/0".to_owned(),
        "/v1/providers/0/sectors?after=1".to_owned(),
        format!("/v1/providers/0/deals?after={pack}.3"),
        "/v1/sectors/0/1".to_owned(),
        format!("/v1/deal-sets?owner={hex}&after={pack}"),
        format!("/v1/deal-sets/{pack}"),
        format!("/v1/names/{hex}/catalogue"),
        "/v1/supply".to_owned(),
        format!("/v1/proofs/{key}"),
        "/".to_owned(),
        "/blocks?before=9".to_owned(),
        "/blocks/1".to_owned(),
        "/providers".to_owned(),
        "/providers/0".to_owned(),
        "/sectors/0/0".to_owned(),
        "/deal-sets".to_owned(),
        format!("/deal-sets/{pack}"),
        format!("/accounts/{hex}"),
    ]
    .iter()
    .map(|target| format!("GET {target}\n").into_bytes())
    .collect()
}

pub(crate) fn payment(nonce: u64) -> SignedMessage {
    let genesis = market_genesis();
    let mut message = Message {
        sender: sample::address(1),
        nonce,
        fee: Amount::ZERO,
        expiry: Height(1_000),
        body: MessageBody::Transfer {
            to: sample::address(2),
            amount: Amount(5),
        },
    };
    message.fee = quote::fee(&genesis.parameters.economy, &message).unwrap();
    SignedMessage::new(genesis.network().unwrap(), &sample::key(1), message).unwrap()
}

/// A message that the market takes is the honest one.
fn api_message(bytes: &[u8]) -> Answer {
    let request = Request::post("/v1/messages").body(Body::from(bytes.to_vec()));
    let answer = ask(request.unwrap());
    if answer == Answer::Read {
        assert!(
            object::<SignedMessage>(bytes) == Some(payment(0)),
            "a forged message is taken"
        );
    }
    answer
}
