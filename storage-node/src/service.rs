//! What a storage node answers over QUIC.

mod assist;
mod payment;
mod put;
pub mod read;

use crate::journal::Journal;
use crate::room::Room;
use crate::shards::ShardStore;
use crate::till::Till;
use ed25519_dalek::SigningKey;
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::units::{Amount, Height, NetworkId, NodeKey, ProviderId};
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::protocol::{NodeStatus, Refusal, RefusalCode, Request, Response};
use holdfast_wire::quic::{Call, Peers, Turns};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Shards that are received at a time, and that wait for that; a further asker is told to come back.
const TRANSFERS: u32 = 16;
const TRANSFERS_WAITING: usize = 32;
/// Shards of packs that are coded at a time, over all uploads that are assisted: each takes 320 KiB
/// of memory.
const CODED_SHARDS: u32 = 64;
/// Uploads that wait for that.
const UPLOADS_WAITING: usize = 16;
/// Shards that are read and hashed at a time, for openings or to be sent, and channels that the ledger
/// is asked for, and askers that wait for that.
const OPENERS: u32 = 4;
const OPENERS_WAITING: usize = 64;
/// Who waits for one of these turns waits so long.
const TURN_TIME: Duration = Duration::from_secs(10);

/// What the service and the pipeline share.
pub struct Shared {
    /// The network.
    pub network: NetworkId,
    /// Its rules' numbers.
    pub parameters: Parameters,
    /// Signs receipts and the worker's messages.
    pub worker: SigningKey,
    /// The node's QUIC identity.
    pub node: NodeKey,
    /// The least price that is taken for a GiB and a period, hot.
    pub price: Amount,
    /// Who has paid what for reading.
    pub till: Till,
    /// What is promised, made and begun.
    pub journal: Journal,
    /// The plain bytes.
    pub shards: ShardStore,
    /// What may still be promised.
    pub room: Room,
    /// The node's number on the ledger, once it is registered.
    pub provider: watch::Receiver<Option<ProviderId>>,
    /// Whether it is leaving the network: then it promises nothing new.
    pub leaving: AtomicBool,
    /// How the node is, as the pipeline last saw it.
    pub status: watch::Receiver<NodeStatus>,
}

/// Whose turn it is, for each kind of work that takes memory or time.
struct Work {
    transfers: Turns,
    coding: Turns,
    opening: Turns,
    channels: Turns,
}

/// The service of one node; clones share everything.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
    peers: Peers,
    ledger: LedgerClient,
    turns: Arc<Work>,
    outboards: Arc<read::Outboards>,
}

impl Service {
    /// A service over what the node holds; `peers` carries shards to other nodes, and `ledger` says
    /// where those are.
    pub fn new(shared: Arc<Shared>, peers: Peers, ledger: LedgerClient) -> Self {
        Self {
            shared,
            peers,
            ledger,
            turns: Arc::new(Work {
                transfers: Turns::new(TRANSFERS, TRANSFERS_WAITING),
                coding: Turns::new(CODED_SHARDS, UPLOADS_WAITING),
                opening: Turns::new(OPENERS, OPENERS_WAITING),
                channels: Turns::new(OPENERS, OPENERS_WAITING),
            }),
            outboards: Arc::default(),
        }
    }

    /// Answers one request.
    pub async fn handle(self, call: Call) {
        let Call {
            peer,
            request,
            body,
            reply,
            ..
        } = call;
        let answered = match request {
            Request::PutShard(put) => {
                let response = match self.put_shard(&put, body).await {
                    Ok(receipt) => Response::Receipt(Box::new(receipt)),
                    Err(refusal) => Response::Refused(refusal),
                };
                reply.send(&response).await
            }
            Request::AssistPut(assist) => self.assist(assist, body, reply).await,
            Request::GetShard(get) => self.get_shard(get, reply).await,
            Request::GetPieceProof(get) => self.get_piece_proof(get, reply).await,
            Request::Status => reply.send(&Response::Status(self.status())).await,
            Request::Hello(_) => {
                let refusal = Refusal::new(RefusalCode::Malformed, "hello was said already");
                reply.refuse(refusal).await
            }
        };
        if let Err(error) = answered {
            tracing::debug!(%peer, %error, "an answer was not sent");
        }
    }

    /// How the node is, with the room as it is this moment.
    pub fn status(&self) -> NodeStatus {
        let mut status = self.shared.status.borrow().clone();
        status.free = self.shared.room.free();
        status.largest = self
            .shared
            .room
            .largest(self.shared.parameters.piece_levels);
        status
    }

    /// Refuses what would be a new promise of a node that is leaving.
    fn stays(&self) -> Result<(), Refusal> {
        match self.shared.leaving.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(Refusal::new(
                RefusalCode::Terms,
                "this node is leaving the network and takes no new shards; choose another provider",
            )),
        }
    }

    /// The provider's number and the ledger's height, where the node is ready to promise.
    fn standing(&self) -> Result<(ProviderId, Height), Refusal> {
        let provider = *self.shared.provider.borrow();
        let height = self.shared.status.borrow().height;
        match provider {
            Some(provider) if height > Height(0) => Ok((provider, height)),
            _ => Err(Refusal::new(
                RefusalCode::Busy,
                "this node is not registered on the ledger yet; ask again in a minute",
            )),
        }
    }
}
