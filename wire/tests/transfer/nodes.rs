//! Small storage nodes on loopback: honest ones, and ones that lie in one way each.
// Several test programs use it, each a part of it.
#![allow(dead_code)]

pub mod lies;

use ed25519_dalek::SigningKey;
use holdfast_market_core::message::{PackHeader, PieceOpening, SigningContext};
use holdfast_market_core::receipt::{Receipt, SignedReceipt, Tier};
use holdfast_market_core::units::{
    Address, Amount, ByteCount, Height, NetworkId, PackId, Periods, ProviderId, ShardIndex,
    ShardRoot,
};
use holdfast_proofs::piece::{PieceShape, QuadOpening};
use holdfast_wire::bao::Outboard;
use holdfast_wire::protocol::{
    ByteRange, PutShard, Refusal, RefusalCode, Request, Response, ShardOffer, ShardTarget,
};
use holdfast_wire::quic::{Body, Call, Limits, Patience, Peers, Service, node_key, serve, server};
use holdfast_wire::transfer::{
    PutTarget, ShardSource, assist, receive_shard, send_openings, send_shard,
};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const NETWORK: NetworkId = NetworkId([1; 32]);
/// Levels of a piece's largest subtree.
pub const PIECE_LEVELS: u32 = 4;

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Signs another root than it received.
    SignsAnotherRoot,
    /// Signs with another key than its worker's.
    SignsWithAnotherKey,
    /// Promises a longer term than was asked.
    SignsAnotherTerm,
    /// Its promise ends too early.
    PromisesTooShort,
    /// Serves a shard of which one byte is another, with hashes to match.
    ServesAnotherByte,
    /// Says another length.
    ServesAnotherLength,
    /// Answers nothing to a read.
    ReadsStall,
    /// Has lost everything.
    Lost,
    /// Opens other bytes, under the path of the right ones.
    OpensAnotherByte,
    /// Opens the quad after the one that was asked for.
    OpensAnotherQuad,
    /// Opens one quad less than was asked for.
    OpensFewer,
    /// Has no room.
    Refuses,
    /// Gives a receipt that it gave for another pack.
    ReplaysAnotherPack,
    /// Gives a receipt that it signed for another network.
    ReplaysAnotherNetwork,
    /// Takes the shard and never says anything.
    SignsNothing,
    /// Answers reads with a lie.
    Reads(lies::Lie),
    /// Spreads uploads dishonestly.
    Spreads(lies::Spread),
}

pub struct Node {
    pub provider: ProviderId,
    identity: SigningKey,
    worker: SigningKey,
    address: String,
    running: JoinHandle<()>,
    state: Arc<State>,
}

struct State {
    provider: ProviderId,
    worker: SigningKey,
    identity: SigningKey,
    folder: tempfile::TempDir,
    manner: Mutex<Manner>,
    peers: Peers,
    shards: Mutex<HashMap<(PackId, ShardIndex), (PathBuf, Outboard)>>,
    /// Whom it does not dial.
    unknown: Mutex<Option<ProviderId>>,
    /// Bytes that came in bodies of any kind.
    pub served: Mutex<u64>,
}

fn key(kind: u8, number: u64) -> SigningKey {
    let mut seed = [kind; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

impl Node {
    pub fn start(number: u64, manner: Manner) -> Self {
        let provider = ProviderId(number);
        let (identity, worker) = (key(1, number), key(2, number));
        let endpoint = server(&identity, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = endpoint.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            provider,
            worker: worker.clone(),
            identity: identity.clone(),
            folder: tempfile::tempdir().unwrap(),
            manner: Mutex::new(manner),
            peers: Peers::new(identity.clone(), NETWORK).unwrap(),
            shards: Mutex::default(),
            unknown: Mutex::default(),
            served: Mutex::default(),
        });
        let service = Service {
            network: NETWORK,
            provider: watch::channel(Some(provider)).1,
            limits: Limits::default(),
        };
        let shared = state.clone();
        let running = tokio::spawn(serve(
            endpoint,
            service,
            std::future::pending(),
            move |call| handle(shared.clone(), call),
        ));
        Self {
            provider,
            identity,
            worker,
            address,
            running,
            state,
        }
    }

    pub fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// Does not dial that provider when it assists.
    pub fn does_not_know(&self, provider: ProviderId) {
        *self.state.unknown.lock().unwrap() = Some(provider);
    }

    /// Ends as a SIGKILL does: nobody is told.
    pub async fn kill(&self) {
        self.running.abort();
        self.state.peers.close().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    pub fn answered_reads(&self) -> u64 {
        *self.state.served.lock().unwrap()
    }

    pub fn target(&self) -> PutTarget {
        PutTarget {
            target: ShardTarget {
                provider: self.provider,
                node: node_key(&self.identity),
                endpoint: self.address.clone(),
                offer: ShardOffer {
                    tier: Tier::Hot,
                    price: Amount(10),
                    term: Periods(5),
                },
            },
            worker: Address(self.worker.verifying_key().to_bytes()),
        }
    }

    pub fn source(&self, shard: u8) -> ShardSource {
        ShardSource {
            shard: ShardIndex(shard),
            provider: self.provider,
            node: node_key(&self.identity),
            endpoint: self.address.clone(),
        }
    }

    pub fn files(&self) -> usize {
        std::fs::read_dir(self.state.folder.path()).unwrap().count()
    }
}

async fn handle(state: Arc<State>, call: Call) {
    let Call {
        request,
        body,
        reply,
        ..
    } = call;
    let refused = |sentence: &str| Refusal::new(RefusalCode::NotFound, sentence);
    match request {
        Request::PutShard(put) => {
            let response = match store(&state, put, body).await {
                Ok(receipt) => Response::Receipt(Box::new(receipt)),
                Err(refusal) => Response::Refused(refusal),
            };
            let _ = reply.send(&response).await;
        }
        Request::AssistPut(put) => {
            let me = node_key(&state.identity);
            let local = |put, body| store(&state, put, body);
            let refusal = |target: &ShardTarget| {
                let unknown = *state.unknown.lock().unwrap() == Some(target.provider);
                unknown.then(|| format!("provider {} is not known", target.provider))
            };
            let manner = *state.manner.lock().unwrap();
            if let Manner::Spreads(how) = manner {
                if let Some(response) = lies::spread(how, &state, put, body).await {
                    let _ = reply.send(&response).await;
                }
                return;
            }
            let response = match assist(&state.peers, me, put, body, refusal, local).await {
                Ok(outcomes) => Response::Assisted(outcomes),
                Err(refusal) => Response::Refused(refusal),
            };
            let _ = reply.send(&response).await;
        }
        Request::GetShard(get) => {
            let manner = *state.manner.lock().unwrap();
            let shard = state
                .shards
                .lock()
                .unwrap()
                .get(&(get.pack, get.shard))
                .cloned();
            let Some((path, outboard)) = shard.filter(|_| manner != Manner::Lost) else {
                let _ = reply.refuse(refused("this shard is not stored here")).await;
                return;
            };
            *state.served.lock().unwrap() += 1;
            let mut bytes = std::fs::read(path).unwrap();
            let outboard = match manner {
                Manner::ServesAnotherByte => {
                    // In the last group, so that what comes before it is right.
                    *bytes.last_mut().unwrap() ^= 1;
                    Outboard::compute(outboard.length(), bytes.as_slice()).unwrap()
                }
                Manner::ServesAnotherLength => {
                    bytes.push(0);
                    Outboard::compute(ByteCount(bytes.len() as u64), bytes.as_slice()).unwrap()
                }
                Manner::Reads(lie) => {
                    lies::read(lie, reply, bytes, outboard, &get).await;
                    return;
                }
                Manner::ReadsStall => {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    return;
                }
                _ => outboard,
            };
            let _ = send_shard(reply, bytes, outboard, get.ranges).await;
        }
        Request::GetPieceProof(get) => {
            let manner = *state.manner.lock().unwrap();
            let shard = state
                .shards
                .lock()
                .unwrap()
                .get(&(get.pack, get.shard))
                .cloned();
            let Some((path, outboard)) = shard else {
                let _ = reply.refuse(refused("this shard is not stored here")).await;
                return;
            };
            let bytes = std::fs::read(path).unwrap();
            let mut openings: Vec<_> = get
                .quads
                .into_iter()
                .map(|quad| open(&bytes, &outboard, quad, manner))
                .collect();
            if manner == Manner::OpensFewer {
                openings.pop();
            }
            send_openings(reply, &openings).await.unwrap();
        }
        _ => drop(reply),
    }
}

fn open(bytes: &[u8], outboard: &Outboard, quad: u64, manner: Manner) -> PieceOpening {
    let shown = quad + u64::from(manner == Manner::OpensAnotherQuad);
    let length = bytes.len() as u64;
    let shape = PieceShape::of(length, PIECE_LEVELS).unwrap();
    let range = ByteRange {
        start: shown * 127,
        end: (shown * 127 + 127).min(length),
    };
    let mut slice = outboard.slice(bytes, &[range]).unwrap();
    let mut opening = QuadOpening::read(bytes, &shape, shown).unwrap();
    if manner == Manner::OpensAnotherByte {
        // The slice ends with bytes of the shard.
        *slice.last_mut().unwrap() ^= 1;
        opening.nodes[0] = opening.nodes[1];
    }
    PieceOpening {
        quad,
        slice,
        opening,
    }
}

async fn store(state: &State, put: PutShard, body: Body) -> Result<SignedReceipt, Refusal> {
    let manner = *state.manner.lock().unwrap();
    if manner == Manner::Refuses {
        return Err(Refusal::new(
            RefusalCode::NoRoom,
            "there is no room left here",
        ));
    }
    let pack = put.header.id().unwrap();
    let root = *put
        .header
        .shard_roots
        .get(put.shard.position())
        .ok_or_else(|| Refusal::new(RefusalCode::Malformed, "no such shard"))?;
    let path = state.folder.path().join(format!("{pack}-{}", put.shard));
    let length = put.header.shard_length;
    let outboard = receive_shard(body, &path, root, length)
        .await
        .map_err(|error| error.refusal())?;
    state
        .shards
        .lock()
        .unwrap()
        .insert((pack, put.shard), (path, outboard));
    let mut receipt = Receipt {
        pack,
        shard: put.shard,
        root,
        length,
        provider: state.provider,
        tier: put.offer.tier,
        price: put.offer.price,
        term: put.offer.term,
        fund_by: Height(100),
    };
    let mut signer = state.worker.clone();
    match manner {
        Manner::SignsAnotherRoot => receipt.root = ShardRoot([9; 32]),
        Manner::SignsAnotherTerm => receipt.term = Periods(6),
        Manner::PromisesTooShort => receipt.fund_by = Height(49),
        Manner::SignsWithAnotherKey => signer = key(3, 0),
        Manner::ReplaysAnotherPack => receipt.pack = PackId([8; 32]),
        Manner::SignsNothing => tokio::time::sleep(Duration::from_secs(120)).await,
        _ => {}
    }
    let network = match manner {
        Manner::ReplaysAnotherNetwork => NetworkId([2; 32]),
        _ => NETWORK,
    };
    let signature = SigningContext::Receipt
        .sign(network, &signer, &receipt)
        .unwrap();
    Ok(SignedReceipt { receipt, signature })
}

/// Six nodes and a header for each client's pack.
pub fn network(manner: impl Fn(u64) -> Manner) -> Vec<Node> {
    (0..6)
        .map(|number| Node::start(number, manner(number)))
        .collect()
}

/// A client that waits a few seconds for anybody.
pub fn hasty_client() -> Peers {
    let patience = Patience {
        connect: Duration::from_secs(2),
        answer: Duration::from_secs(4),
    };
    Peers::patient(key(4, 0), NETWORK, patience).unwrap()
}

pub fn client() -> Peers {
    Peers::new(key(4, 0), NETWORK).unwrap()
}

pub fn commit(bytes: &[u8]) -> PackHeader {
    let length = ByteCount(bytes.len() as u64);
    holdfast_wire::pack::encode::commit(Address([4; 32]), 1, (3, 6), length, bytes).unwrap()
}
