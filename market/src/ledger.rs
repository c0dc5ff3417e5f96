//! The ledger as an ordering engine and the API see it: the rules over the store, and the messages
//! that wait.
//!
//! An engine asks four things of it: [`Ledger::propose`] a block, [`Ledger::check`] somebody
//! else's, [`Ledger::commit`] a certified one (again and again without harm), and
//! [`Ledger::blocks`] for those who catch up. No engine's type crosses this seam.

use crate::mempool::{Limits, Mempool, PoolRefusal};
use crate::store::{Commit, GenesisState, Head, StateView, Store, StoreError};
use crate::validator::ValidatorKeys;
use holdfast_market_core::admit::{AdmitError, Signed, admit};
use holdfast_market_core::block::{Block, CertifiedBlock, MAX_BYTES, MAX_MESSAGES};
use holdfast_market_core::build::{self, Turn};
use holdfast_market_core::execute::{BlockError, Execution, execute_knowing};
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::message::{SignedMessage, Unencodable, encode};
use holdfast_market_core::query;
use holdfast_market_core::rules::{GenesisError, Rules, genesis_writes};
use holdfast_market_core::tree::{self, MemoryTree, StateProof};
use holdfast_market_core::units::{
    Address, BlockId, Blocks, Height, MessageId, NetworkId, TreeRoot,
};
use holdfast_market_core::view::{ReadView, ViewError};
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::keys::VerifyingKeys;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The most blocks in one answer to [`Ledger::blocks`].
pub const MOST_BLOCKS: usize = 64;
/// The most bytes of them, where there is more than one.
pub const MOST_BLOCK_BYTES: usize = 16 << 20;

/// Blocks over one head of which it is remembered what they do.
const MOST_PREPARED: usize = 4;

/// Why the ledger cannot go on, or does not take a block or a message.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Genesis and keys do not make rules.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The state cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// Something that DAG-CBOR cannot carry.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// The block breaks a rule.
    #[error("block {height} is invalid: {source}")]
    Block {
        /// Its height.
        height: Height,
        /// The rule.
        source: BlockError,
    },
    /// The block says another state root than the chain has.
    #[error("block {height} says that the state root before it is {given}, and it is {expected}")]
    StateRoot {
        /// Its height.
        height: Height,
        /// What it says.
        given: TreeRoot,
        /// What it is.
        expected: TreeRoot,
    },
    /// The certificate does not make the block final.
    #[error("the certificate of block {0} is not its validators'")]
    Certificate(Height),
    /// The block is not the next one.
    #[error("block {given} cannot follow block {head}: the blocks between are missing")]
    Gap {
        /// The block's height.
        given: Height,
        /// Where the chain stands.
        head: Height,
    },
    /// Another block stands at its height.
    #[error("block {given} at height {height} is not the one committed there, {committed}")]
    Conflict {
        /// The height.
        height: Height,
        /// The block's name.
        given: BlockId,
        /// The name of the one that is final.
        committed: BlockId,
    },
}

impl LedgerError {
    /// Whether the disk refused: full, or broken. What was refused can be tried again on a ledger
    /// that is opened anew.
    pub fn is_the_disks(&self) -> bool {
        match self {
            Self::Store(error) => error.is_the_disks(),
            // What the database says, in words by then.
            Self::View(ViewError(reason)) => reason.starts_with("IO error"),
            _ => false,
        }
    }
}

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The rules refuse it.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// It cannot wait.
    #[error(transparent)]
    Pool(#[from] PoolRefusal),
    /// The ledger fails.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The block is new and now durable.
    New,
    /// It was there before.
    Known,
}

/// A state object and what shows it.
pub struct Proven {
    /// After which block.
    pub height: Height,
    /// The state tree's root after it; the next header carries it.
    pub state_root: TreeRoot,
    /// The object's bytes, or none.
    pub value: Option<Vec<u8>>,
    /// That the root holds it.
    pub proof: StateProof,
}

/// A block executed over the head and not yet committed.
struct Prepared {
    block: Block,
    execution: Execution,
    tree: jmt::storage::TreeUpdateBatch,
    head: Head,
}

/// A ledger: rules, store, and what waits.
pub struct Ledger {
    store: Store,
    rules: Rules,
    genesis: Genesis,
    network: NetworkId,
    verifying_keys: Vec<u8>,
    mempool: Mutex<Mempool>,
    head: watch::Sender<Head>,
    // Held by a commit from its first look at the head to its last write.
    committing: Mutex<()>,
    // Blocks that were built or checked over the head; of them one is committed next.
    prepared: Mutex<BTreeMap<BlockId, Prepared>>,
}

/// Nothing behind these locks is left half changed by a panic: each holder replaces whole values.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Opens the ledger of `genesis` in `folder`, or begins it there.
    ///
    /// # Errors
    /// A folder in use, of another network, or damaged; keys that are not the genesis'.
    pub fn open(
        folder: &Path,
        genesis: Genesis,
        verifying_keys: &VerifyingKeys,
    ) -> Result<Self, LedgerError> {
        let network = genesis.network()?;
        let mut rules = Rules::new(&genesis, verifying_keys)?;
        rules.verifier.use_blst();
        let first = first_state(&genesis, network)?;
        let store = Store::open(folder, network, &first)?;
        let (head, _) = watch::channel(store.head()?);
        Ok(Self {
            store,
            rules,
            network,
            verifying_keys: encode(verifying_keys)?,
            mempool: Mutex::new(Mempool::new(Limits::default())),
            head,
            committing: Mutex::new(()),
            prepared: Mutex::new(BTreeMap::new()),
            genesis,
        })
    }

    /// The network's id.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// Where the network began.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The verifying keys' DAG-CBOR.
    pub fn verifying_keys(&self) -> &[u8] {
        &self.verifying_keys
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The store, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The state as it stands.
    pub fn view(&self) -> StateView<'_> {
        self.store.view()
    }

    /// Where the chain stands.
    pub fn head(&self) -> Head {
        self.head.borrow().clone()
    }

    /// Tells when the head moves.
    pub fn follow(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Messages that wait for a block.
    pub fn pending(&self) -> usize {
        locked(&self.mempool).len()
    }

    /// All messages that wait for a block, each sender's in order.
    pub fn waiting(&self) -> Vec<SignedMessage> {
        locked(&self.mempool).candidates(usize::MAX, usize::MAX)
    }

    /// Whether this message waits for a block.
    pub fn is_pending(&self, id: &MessageId) -> bool {
        locked(&self.mempool).contains(id)
    }

    /// The number that the account's next message carries, counting those that wait.
    pub fn next_nonce(&self, sender: &Address, account_nonce: u64) -> u64 {
        locked(&self.mempool).next_nonce(sender, account_nonce)
    }

    /// The object under a state key at the head, or its absence, with a proof.
    ///
    /// # Errors
    /// The store fails.
    pub fn prove(&self, key: &[u8]) -> Result<Proven, LedgerError> {
        // A commit between the reads would mix two heights; there is one a block interval.
        let _committing = locked(&self.committing);
        let head = self.head();
        let value = self.view().get(key)?;
        let nodes = self.store.tree().with_value(value.clone());
        let (_, proof) = tree::prove(&nodes, head.height, key)?;
        Ok(Proven {
            height: head.height,
            state_root: head.state_root,
            value,
            proof,
        })
    }

    /// Takes a message in, to wait for a block.
    ///
    /// # Errors
    /// The rules refuse it, or there is no room for it.
    pub fn submit(&self, message: SignedMessage) -> Result<MessageId, SubmitError> {
        let bytes = encode(&message).map_err(LedgerError::from)?;
        let id = MessageId(*blake3::hash(&bytes).as_bytes());
        if self.is_pending(&id) {
            return Ok(id);
        }
        // The signature is checked outside the lock; what can change until then is checked again
        // inside, where a commit cannot come between.
        let next = self.head().height.after(Blocks(1));
        admit(&self.view(), &self.rules, &message, next)?;
        let mut mempool = locked(&self.mempool);
        let account =
            query::account(&self.view(), &message.message.sender).map_err(LedgerError::from)?;
        mempool.insert(id, message, bytes.len(), &account)?;
        Ok(id)
    }

    /// A block over the head, of what waits, for `builder` to sign: signed by nobody yet. Messages
    /// that no block can hold any more are dropped. `now` is in milliseconds since the epoch.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn propose(&self, builder: &ValidatorKeys, now: u64) -> Result<Block, LedgerError> {
        let head = self.head();
        let view = self.view();
        let candidates = locked(&self.mempool).candidates(MAX_MESSAGES, MAX_BYTES);
        let signed = self.signed(&candidates)?;
        let selection = build::select(&view, &self.rules, candidates, &signed)?;
        for (dropped, why) in &selection.dropped {
            let id = dropped.id()?;
            tracing::debug!("message {id} is dropped: {why}");
            locked(&self.mempool).drop_from(&id);
        }
        let turn = Turn {
            builder: builder.address(),
            beacon: builder.beacon().clone(),
            time: now,
            state_root: head.state_root,
        };
        let height = head.height.after(Blocks(1));
        let block = build::block(&view, &self.rules, &turn, selection.kept)
            .map_err(|source| LedgerError::Block { height, source })?;
        self.keep(self.prepare(&head, &block)?);
        Ok(block)
    }

    /// Checks a block of another builder: it follows the head and keeps every rule.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self, block: &Block) -> Result<(), LedgerError> {
        let head = self.head();
        self.keep(self.prepare(&head, block)?);
        Ok(())
    }

    /// Keeps what executing a block gave; of too many any goes, and is executed again if it must.
    fn keep(&self, prepared: Prepared) {
        let mut all = locked(&self.prepared);
        if all.len() >= MOST_PREPARED {
            all.pop_first();
        }
        all.insert(prepared.head.block, prepared);
    }

    /// Commits a certified block: durable when this returns. A block that is there already is
    /// taken again without effect; another one at its height, or one that leaves a gap, is refused.
    ///
    /// # Errors
    /// The block is not final, breaks a rule, or does not fit; or the disk fails.
    pub fn commit(&self, certified: &CertifiedBlock) -> Result<Committed, LedgerError> {
        let _committing = locked(&self.committing);
        let height = certified.block.header.height;
        let id = certified.block.header.id()?;
        let head = self.head();
        if height <= head.height {
            return self.known(height, id);
        }
        if height != head.height.after(Blocks(1)) {
            return Err(LedgerError::Gap {
                given: height,
                head: head.height,
            });
        }
        let validators = query::validators(&self.view())?;
        if !certified.is_final(self.network, &validators.next) {
            return Err(LedgerError::Certificate(height));
        }
        let ready = std::mem::take(&mut *locked(&self.prepared)).remove(&id);
        // The name covers the header, and the header the messages.
        let ready = ready.filter(|one| one.block == certified.block);
        let prepared = match ready {
            Some(prepared) => prepared,
            None => self.prepare(&head, &certified.block)?,
        };
        crash_point("market.commit.prepared");
        self.store.commit(&Commit {
            certified,
            outcomes: &prepared.execution.outcomes,
            writes: &prepared.execution.writes,
            tree: &prepared.tree,
            head: &prepared.head,
            // The rules have compared their root with the header's.
            named: &validators.after,
        })?;
        crash_point("market.commit.written");
        self.committed(&certified.block, prepared.head)?;
        crash_point("market.commit.told");
        Ok(Committed::New)
    }

    /// The committed blocks in `heights`, at most [`MOST_BLOCKS`] and [`MOST_BLOCK_BYTES`] of them.
    ///
    /// # Errors
    /// The store fails or is damaged.
    pub fn blocks(
        &self,
        heights: RangeInclusive<Height>,
    ) -> Result<Vec<CertifiedBlock>, LedgerError> {
        let mut blocks = Vec::new();
        for (height, bytes) in self.store.blocks(heights, MOST_BLOCKS, MOST_BLOCK_BYTES)? {
            blocks.push(self.store.read_block(height, &bytes)?);
        }
        Ok(blocks)
    }

    fn known(&self, height: Height, id: BlockId) -> Result<Committed, LedgerError> {
        let committed = match self.store.block(height)? {
            Some(block) => block.block.header.id()?,
            // Genesis has no block; it stands under the network's id.
            None => BlockId(self.network.0),
        };
        if committed == id {
            Ok(Committed::Known)
        } else {
            Err(LedgerError::Conflict {
                height,
                given: id,
                committed,
            })
        }
    }

    /// Those of the messages whose signatures this market has checked, when it took them in: they
    /// wait.
    fn signed(&self, messages: &[SignedMessage]) -> Result<Signed, LedgerError> {
        let names: Vec<MessageId> = messages
            .iter()
            .map(SignedMessage::id)
            .collect::<Result<_, _>>()?;
        let mempool = locked(&self.mempool);
        Ok(names
            .into_iter()
            .filter(|id| mempool.contains(id))
            .collect())
    }

    /// Executes a block over the head.
    fn prepare(&self, head: &Head, block: &Block) -> Result<Prepared, LedgerError> {
        let height = block.header.height;
        if block.header.state_root != head.state_root {
            return Err(LedgerError::StateRoot {
                height,
                given: block.header.state_root,
                expected: head.state_root,
            });
        }
        let signed = self.signed(&block.messages)?;
        let execution = execute_knowing(&self.view(), &self.rules, block, &signed)
            .map_err(|source| LedgerError::Block { height, source })?;
        let (state_root, tree) = tree::apply(&self.store.tree(), height, &execution.writes)?;
        Ok(Prepared {
            head: Head {
                height,
                block: block.header.id()?,
                state_root,
                time: block.header.time,
            },
            block: block.clone(),
            execution,
            tree,
        })
    }

    /// What follows a durable commit: the pool forgets what is served, followers hear of the head.
    fn committed(&self, block: &Block, head: Head) -> Result<(), LedgerError> {
        let senders: BTreeSet<Address> = block
            .messages
            .iter()
            .map(|message| message.message.sender)
            .collect();
        let next = head.height.after(Blocks(1));
        let mut mempool = locked(&self.mempool);
        let view = self.view();
        let settled = mempool.settle(&senders, next, |sender| query::account(&view, sender));
        self.head.send_replace(head);
        Ok(settled?)
    }
}

/// The state, tree and head at height 0.
fn first_state(genesis: &Genesis, network: NetworkId) -> Result<GenesisState, LedgerError> {
    let writes = genesis_writes(genesis)?;
    let (state_root, tree) = tree::apply(&MemoryTree::default(), Height(0), &writes)?;
    Ok(GenesisState {
        writes,
        tree,
        head: Head {
            height: Height(0),
            block: BlockId(network.0),
            state_root,
            time: genesis.time,
        },
    })
}

#[cfg(test)]
mod tests;
