//! Where an audit reads: a market's API, the data folder of one, or a bundle.

use super::AuditError;
use super::bundle::{Bundle, BundleHead};
use super::compare;
use crate::ledger::{MOST_BLOCK_BYTES, MOST_BLOCKS};
use crate::store::{Store, StoreError};
use holdfast_market_core::audit::{Finding, Replay};
use holdfast_market_core::block::{CertifiedBlock, receipts_root};
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::keys;
use holdfast_market_core::query;
use holdfast_market_core::rules::GenesisError;
use holdfast_market_core::tree;
use holdfast_market_core::units::{BlockId, Height, NetworkId, TreeRoot};
use holdfast_market_core::view::ViewError;
use holdfast_wire::ledger::{LedgerClient, LedgerError as ClientError, ProvenState};
use std::sync::Arc;

/// A ledger to audit.
pub enum Source {
    /// Through the API of a market that runs.
    Api(LedgerClient),
    /// From a market's data folder, as it stands when it is opened.
    Folder(Box<Store>),
    /// From a bundle.
    Bundle(Box<Bundle>),
    /// Another's, but for one byte: what a drill audits.
    Changed {
        /// Whose all other bytes are.
        source: Arc<Source>,
        /// What is not as it is there.
        change: Change,
    },
}

/// What is not as a ledger has it.
pub enum Change {
    /// This block is given in the place of the one of its height.
    Block(Box<CertifiedBlock>),
    /// The state root that the ledger says it has.
    StateRoot,
}

/// What a ledger says of itself.
pub struct Claim {
    /// Where it stands.
    pub height: Height,
    /// The state tree's root after that block.
    pub state_root: TreeRoot,
    /// A state object with its proof, from an API.
    shown: Option<ProvenState>,
    /// What a bundle says beside this.
    head: Option<BundleHead>,
}

impl Source {
    /// Of which network it says it is.
    pub(super) async fn network(&self) -> Result<NetworkId, AuditError> {
        Ok(match self {
            Self::Api(client) => client.status().await?.network,
            Self::Folder(store) => store.network(),
            Self::Bundle(bundle) => bundle.head().network,
            Self::Changed { source, .. } => Box::pin(source.network()).await?,
        })
    }

    /// Whether nothing is added to it while it is read.
    pub(super) fn is_still(&self) -> bool {
        match self {
            Self::Api(_) => false,
            Self::Folder(_) | Self::Bundle(_) => true,
            Self::Changed { source, .. } => source.is_still(),
        }
    }

    pub(super) async fn claim(&self) -> Result<Claim, AuditError> {
        Ok(match self {
            Self::Api(client) => {
                let shown = client.state(keys::SUPPLY).await?;
                Claim {
                    height: shown.height,
                    state_root: shown.state_root,
                    shown: Some(shown),
                    head: None,
                }
            }
            Self::Folder(store) => {
                let head = store.head()?;
                Claim {
                    height: head.height,
                    state_root: head.state_root,
                    shown: None,
                    head: None,
                }
            }
            Self::Bundle(bundle) => {
                let head = bundle.head();
                Claim {
                    height: head.height,
                    state_root: head.state_root,
                    shown: None,
                    head: Some(head.clone()),
                }
            }
            Self::Changed { source, change } => {
                let mut claim = Box::pin(source.claim()).await?;
                if matches!(change, Change::StateRoot) {
                    claim.state_root.0[0] ^= 1;
                }
                claim
            }
        })
    }

    /// The next blocks from `from` on, none where there are none.
    pub(super) async fn blocks(
        &self,
        from: Height,
        head: Height,
    ) -> Result<Vec<CertifiedBlock>, AuditError> {
        if from > head {
            return Ok(Vec::new());
        }
        match self {
            Self::Api(client) => api_blocks(client, from, head).await,
            Self::Folder(store) => {
                let mut blocks = Vec::new();
                for (height, bytes) in store.blocks(from..=head, MOST_BLOCKS, MOST_BLOCK_BYTES)? {
                    match store.read_block(height, &bytes) {
                        Ok(block) => blocks.push(block),
                        // The blocks before it are replayed first: one of them may be worse.
                        Err(_) if !blocks.is_empty() => break,
                        Err(error) => return Err(undecodable(height, &error).into()),
                    }
                }
                Ok(blocks)
            }
            Self::Bundle(bundle) => bundle.blocks(from),
            Self::Changed { source, change } => {
                let mut blocks = Box::pin(source.blocks(from, head)).await?;
                if let Change::Block(other) = change {
                    let height = other.block.header.height;
                    let same = |block: &&mut CertifiedBlock| block.block.header.height == height;
                    if let Some(block) = blocks.iter_mut().find(same) {
                        block.clone_from(other);
                    }
                }
                Ok(blocks)
            }
        }
    }

    /// Where it stands, as a bundle says it.
    pub(super) async fn head(&self, genesis: &Genesis) -> Result<BundleHead, AuditError> {
        let network = genesis.network().map_err(GenesisError::from)?;
        let claim = self.claim().await?;
        let none = || Finding {
            height: claim.height,
            message: None,
            reason: "the ledger says it stands here and does not have this block".into(),
        };
        let (last, receipts_root) = if claim.height == Height(0) {
            (BlockId(network.0), receipts_root(&[])?)
        } else {
            let blocks = self.blocks(claim.height, claim.height).await?;
            let block = blocks.first().ok_or_else(none)?;
            let outcomes = match self {
                Self::Api(client) => client.outcomes(claim.height).await?,
                Self::Folder(store) => store.outcomes(claim.height)?.ok_or_else(none)?,
                Self::Bundle(bundle) => return Ok(bundle.head().clone()),
                Self::Changed { source, .. } => return Box::pin(source.head(genesis)).await,
            };
            (block.block.header.id()?, receipts_root(&outcomes)?)
        };
        Ok(BundleHead {
            network,
            height: claim.height,
            last,
            state_root: claim.state_root,
            receipts_root,
        })
    }

    /// Whether the replay came to what the ledger says of itself. `whole` says that it began at the
    /// genesis.
    pub(super) fn compare(
        &self,
        claim: &Claim,
        replay: &Replay,
        whole: bool,
    ) -> Result<(), AuditError> {
        let finding = |reason: String| Finding {
            height: claim.height,
            message: None,
            reason,
        };
        if claim.state_root != replay.state_root() {
            return Err(finding(format!(
                "the ledger says its state has root {}, replaying gives {}",
                claim.state_root,
                replay.state_root()
            ))
            .into());
        }
        if let Some(shown) = &claim.shown {
            let value = shown.value.as_deref();
            if !tree::is_shown(claim.state_root, keys::SUPPLY, value, &shown.proof) {
                return Err(finding(
                    "the ledger's proof of the token's books does not hold under its state root"
                        .into(),
                )
                .into());
            }
        }
        if let Some(head) = &claim.head {
            let unreadable = |error: ViewError| finding(error.to_string());
            let chain = query::chain(replay.view()).map_err(unreadable)?;
            let wrong = match (
                chain.last == head.last,
                chain.receipts_root == head.receipts_root,
            ) {
                (true, true) => None,
                (false, _) => Some("another last block than its blocks have"),
                (true, false) => Some("other outcomes of the last block than replaying gives"),
            };
            if let Some(wrong) = wrong {
                return Err(finding(format!("the bundle's head names {wrong}")).into());
            }
        }
        match self {
            Self::Api(_) | Self::Bundle(_) => Ok(()),
            Self::Folder(store) => compare::compare(store, claim.height, replay, whole),
            Self::Changed { source, .. } => source.compare(claim, replay, whole),
        }
    }
}

async fn api_blocks(
    client: &LedgerClient,
    from: Height,
    head: Height,
) -> Result<Vec<CertifiedBlock>, AuditError> {
    let most = u64::try_from(MOST_BLOCKS).unwrap_or(u64::MAX);
    let wanted = head.0.saturating_sub(from.0).saturating_add(1).min(most);
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
    match client.blocks(from, wanted).await {
        Ok(blocks) => Ok(blocks),
        // One of them is no block: read them one by one, so that it is named.
        Err(ClientError::Malformed { .. }) => match client.blocks(from, 1).await {
            Err(ClientError::Malformed { reason, .. }) => Err(Finding {
                height: from,
                message: None,
                reason: format!("its bytes are no block: {reason}"),
            }
            .into()),
            other => Ok(other?),
        },
        Err(error) => Err(error.into()),
    }
}

fn undecodable(height: Height, error: &StoreError) -> Finding {
    Finding {
        height,
        message: None,
        reason: match error {
            StoreError::Damaged { reason, .. } => reason.clone(),
            other => other.to_string(),
        },
    }
}
