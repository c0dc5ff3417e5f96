//! The light client: follows a ledger's headers over its API, keeps what it trusts in one small file,
//! and reads objects of the state that it has been shown.

mod kept;
#[cfg(test)]
mod tests;

use crate::ledger::{HEADER_PAGE, LedgerClient, LedgerError, ProvenState};
use holdfast_market_core::channel::Channel;
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::keys;
use holdfast_market_core::light::{LightBlock, LightChain, LightError, Line};
use holdfast_market_core::message::Unencodable;
use holdfast_market_core::proven::{self, ProofError};
use holdfast_market_core::state::{Account, Deal, Name, Provider, Sector};
use holdfast_market_core::tree::encode_proof;
use holdfast_market_core::units::{
    Address, BlockId, Blocks, ByteCount, DealId, Height, NetworkId, ProviderId, SectorId, TreeRoot,
};
use std::path::{Path, PathBuf};

/// The file that a light client keeps in the network's folder where no other is named.
pub const LIGHT_FILE: &str = "light.json";

/// Long polls for the one block that shows the newest state; each is held for 20 s.
const MOST_WAITS: u32 = 6;

/// Why a ledger is not followed, or something of it not shown.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// A header does not hold.
    #[error(transparent)]
    Light(#[from] LightError),
    /// An object is not shown.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The ledger gives no answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A genesis that DAG-CBOR cannot carry.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// The file is not as it was written.
    #[error(
        "{path} is damaged ({reason}); remove it to follow the chain from its genesis again, or begin at a block that you know with --trust"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A later program's file.
    #[error(
        "{path} has version {found} and this program reads version {}; use the program that wrote it, or remove it to follow the chain from its genesis again",
        kept::VERSION
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Another network's file.
    #[error(
        "{path} is of network {found}, not of {wanted}; give another file, or remove it to follow this network from its genesis"
    )]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: NetworkId,
        /// Which was asked for.
        wanted: NetworkId,
    },
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The ledger has fewer blocks than were followed.
    #[error(
        "the ledger at {api} gives no block {due}, and block {followed} was followed; ask another market, or wait until this one has caught up"
    )]
    Behind {
        /// Where it was asked.
        api: String,
        /// What was asked for.
        due: Height,
        /// Where the chain stands.
        followed: Height,
    },
    /// The chain does not go on.
    #[error(
        "no block came after block {0}, which would show the state after it; try again when the network orders blocks"
    )]
    Stands(Height),
    /// The ledger's state is not the chain's.
    #[error(
        "the ledger says that the state after block {height} has root {given}, and the next block says {followed}; ask another market"
    )]
    OtherRoot {
        /// After which block.
        height: Height,
        /// What the ledger said.
        given: TreeRoot,
        /// What the block that was followed says.
        followed: TreeRoot,
    },
    /// The chain has another block there.
    #[error("block {block} of height {height} is not on the chain that was followed")]
    NotOnChain {
        /// The height.
        height: Height,
        /// The block.
        block: BlockId,
    },
}

/// An object of the state as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven<T> {
    /// After which block.
    pub height: Height,
    /// The root that it was shown under, which the next block carries.
    pub state_root: TreeRoot,
    /// The bytes of its proof.
    pub proof: ByteCount,
    /// The object; none where it was shown that there is none.
    pub object: Option<T>,
}

/// Told of each step: which block was reached, and which is to be.
pub type Watch = Box<dyn Fn(Height, Height) + Send + Sync>;

/// A light client of one ledger.
pub struct LightClient {
    ledger: LedgerClient,
    chain: LightChain,
    path: PathBuf,
    watch: Watch,
}

impl LightClient {
    /// Goes on from what the file says, or from the genesis where there is none.
    ///
    /// # Errors
    /// A file that is damaged or another network's.
    pub fn open(genesis: &Genesis, ledger: LedgerClient, path: &Path) -> Result<Self, FollowError> {
        let chain = match kept::read(path, genesis.network()?)? {
            Some(chain) => chain,
            None => LightChain::begin(genesis)?,
        };
        Ok(Self::of(ledger, chain, path))
    }

    /// Begins anew at a block whose name is known from elsewhere, whatever the file says.
    ///
    /// # Errors
    /// The ledger has another block there, or the file cannot be written.
    pub async fn trust(
        genesis: &Genesis,
        ledger: LedgerClient,
        path: &Path,
        (height, block): (Height, BlockId),
    ) -> Result<Self, FollowError> {
        let given = ledger.header(height).await?;
        let chain = LightChain::trust(genesis.network()?, (height, block), given)?;
        kept::write(path, &chain)?;
        Ok(Self::of(ledger, chain, path))
    }

    fn of(ledger: LedgerClient, chain: LightChain, path: &Path) -> Self {
        Self {
            ledger,
            chain,
            path: path.to_owned(),
            watch: Box::new(|_, _| {}),
        }
    }

    /// Has each page that was followed told to `watch`.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// The chain as far as it was followed.
    pub fn chain(&self) -> &LightChain {
        &self.chain
    }

    /// Follows the chain as far as the ledger has it.
    ///
    /// # Errors
    /// A block that does not hold; the chain then stands before it.
    pub async fn follow(&mut self) -> Result<(), FollowError> {
        let head = self.ledger.status().await?.height;
        self.follow_to(head).await
    }

    async fn follow_to(&mut self, height: Height) -> Result<(), FollowError> {
        while self.chain.height() < height {
            let blocks = self.page(self.chain.height(), height).await?;
            let done = self.chain.follow(&blocks);
            // What held before the first block that did not is kept too.
            kept::write(&self.path, &self.chain)?;
            done?;
            (self.watch)(self.chain.height(), height);
        }
        Ok(())
    }

    /// The blocks after a height, to another one at most: at least one.
    async fn page(&self, after: Height, to: Height) -> Result<Vec<LightBlock>, FollowError> {
        let due = after.after(Blocks(1));
        let missing = to.0.saturating_sub(after.0);
        let limit = usize::try_from(missing)
            .unwrap_or(usize::MAX)
            .min(HEADER_PAGE);
        let blocks = self.ledger.headers(due, limit).await?;
        match blocks.is_empty() {
            false => Ok(blocks),
            true => Err(self.behind(due)),
        }
    }

    fn behind(&self, due: Height) -> FollowError {
        FollowError::Behind {
            api: self.ledger.api().to_owned(),
            due,
            followed: self.chain.height(),
        }
    }

    /// Whether a block is on the chain: follows it up to there, or shows by the headers between that
    /// it lies below what was followed.
    ///
    /// # Errors
    /// It is not, or the chain does not hold.
    pub async fn shows(&mut self, height: Height, block: BlockId) -> Result<(), FollowError> {
        self.follow_to(height).await?;
        let mut line = Line::from(height, block);
        while line.end().0 < self.chain.height() {
            let blocks = self.page(line.end().0, self.chain.height()).await?;
            for next in &blocks {
                line.push(&next.header).map_err(|error| match error {
                    LightError::NotLinked(_) => FollowError::NotOnChain { height, block },
                    other => other.into(),
                })?;
            }
        }
        match line.end() == (self.chain.height(), self.chain.block()) {
            true => Ok(()),
            false => Err(FollowError::NotOnChain { height, block }),
        }
    }

    /// The newest state under a key and the root that the chain has for it. The block after shows
    /// it, so this waits for that one.
    async fn state(&mut self, key: &[u8]) -> Result<(TreeRoot, ProvenState), FollowError> {
        let state = self.ledger.state(key).await?;
        let next = state.height.after(Blocks(1));
        if next <= self.chain.height() {
            return Err(self.behind(self.chain.height()));
        }
        let mut waits = 0;
        while self.ledger.wait(next).await?.height < next {
            waits += 1;
            if waits == MOST_WAITS {
                return Err(FollowError::Stands(state.height));
            }
        }
        self.follow_to(next).await?;
        match self.chain.header() {
            Some(header) if header.state_root == state.state_root => Ok((header.state_root, state)),
            header => Err(FollowError::OtherRoot {
                height: state.height,
                given: state.state_root,
                followed: header.map_or(TreeRoot([0; 32]), |header| header.state_root),
            }),
        }
    }

    async fn object<T>(
        &mut self,
        key: &[u8],
        check: impl FnOnce(TreeRoot, proven::Evidence<'_>) -> Result<Option<T>, ProofError>,
    ) -> Result<Proven<T>, FollowError> {
        let (state_root, state) = self.state(key).await?;
        let length = encode_proof(&state.proof).len();
        Ok(Proven {
            height: state.height,
            state_root,
            proof: ByteCount(u64::try_from(length).unwrap_or(u64::MAX)),
            object: check(state_root, state.evidence())?,
        })
    }

    /// An account, or that it never had tokens.
    ///
    /// # Errors
    /// It is not shown, or the chain does not hold.
    pub async fn account(&mut self, address: &Address) -> Result<Proven<Account>, FollowError> {
        let check = |root, evidence: proven::Evidence<'_>| proven::account(root, address, evidence);
        self.object(&keys::account(address), check).await
    }

    /// A provider, or that there is none of that number.
    ///
    /// # Errors
    /// As [`LightClient::account`].
    pub async fn provider(&mut self, id: ProviderId) -> Result<Proven<Provider>, FollowError> {
        let check = |root, evidence: proven::Evidence<'_>| proven::provider(root, id, evidence);
        self.object(&keys::provider(id), check).await
    }

    /// A sector, or that there is none of that number.
    ///
    /// # Errors
    /// As [`LightClient::account`].
    pub async fn sector(&mut self, id: SectorId) -> Result<Proven<Sector>, FollowError> {
        let check = |root, evidence: proven::Evidence<'_>| proven::sector(root, id, evidence);
        self.object(&keys::sector(id), check).await
    }

    /// A deal, or that there is none.
    ///
    /// # Errors
    /// As [`LightClient::account`].
    pub async fn deal(&mut self, id: &DealId) -> Result<Proven<Deal>, FollowError> {
        let check = |root, evidence: proven::Evidence<'_>| proven::deal(root, id, evidence);
        self.object(&keys::deal(id), check).await
    }

    /// A name, or that its owner has none of that label.
    ///
    /// # Errors
    /// As [`LightClient::account`].
    pub async fn name(
        &mut self,
        owner: &Address,
        label: &str,
    ) -> Result<Proven<Name>, FollowError> {
        let check =
            |root, evidence: proven::Evidence<'_>| proven::name(root, owner, label, evidence);
        self.object(&keys::name(owner, label), check).await
    }

    /// A channel, or that there is none.
    ///
    /// # Errors
    /// As [`LightClient::account`].
    pub async fn channel(
        &mut self,
        provider: ProviderId,
        payer: &Address,
    ) -> Result<Proven<Channel>, FollowError> {
        let check =
            |root, evidence: proven::Evidence<'_>| proven::channel(root, provider, payer, evidence);
        self.object(&keys::channel(provider, payer), check).await
    }
}

/// Shown without the function that watches.
impl std::fmt::Debug for LightClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LightClient")
            .field("ledger", &self.ledger)
            .field("chain", &self.chain)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
