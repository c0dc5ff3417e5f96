//! What a storage node answers over QUIC.

mod assist;
mod put;
pub mod read;

use crate::journal::Journal;
use crate::room::Room;
use crate::shards::ShardStore;
use ed25519_dalek::SigningKey;
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::units::{Amount, Height, NetworkId, NodeKey, ProviderId};
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::protocol::{NodeStatus, Refusal, RefusalCode, Request, Response};
use holdfast_wire::quic::{Call, Peers};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// Shards that are received at a time; a further asker is told to come back.
const TRANSFERS: usize = 16;

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
    /// What is promised, made and begun.
    pub journal: Journal,
    /// The plain bytes.
    pub shards: ShardStore,
    /// What may still be promised.
    pub room: Room,
    /// The node's number on the ledger, once it is registered.
    pub provider: watch::Receiver<Option<ProviderId>>,
    /// How the node is, as the pipeline last saw it.
    pub status: watch::Receiver<NodeStatus>,
}

/// The service of one node; clones share everything.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
    peers: Peers,
    ledger: LedgerClient,
    transfers: Arc<Semaphore>,
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
            transfers: Arc::new(Semaphore::new(TRANSFERS)),
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
