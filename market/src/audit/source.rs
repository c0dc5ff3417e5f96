//! Where an audit reads: a market's API, or the data folder of one.

use super::AuditError;
use crate::ledger::{MOST_BLOCK_BYTES, MOST_BLOCKS};
use crate::store::{Store, StoreError};
use holdfast_market_core::audit::{Finding, Replay};
use holdfast_market_core::block::{CertifiedBlock, receipts_root};
use holdfast_market_core::keys;
use holdfast_market_core::tree;
use holdfast_market_core::units::{Blocks, Height, NetworkId, TreeRoot};
use holdfast_market_core::view::{ReadView, ViewError};
use holdfast_wire::ledger::{LedgerClient, LedgerError as ClientError, ProvenState};

/// State entries compared at a time.
const PAGE: usize = 1024;

/// A ledger to audit.
pub enum Source {
    /// Through the API of a market that runs.
    Api(LedgerClient),
    /// From a market's data folder, as it stands when it is opened.
    Folder(Box<Store>),
}

/// What a ledger says of itself.
pub struct Claim {
    /// Where it stands.
    pub height: Height,
    /// The state tree's root after that block.
    pub state_root: TreeRoot,
    /// A state object with its proof, from an API.
    shown: Option<ProvenState>,
}

impl Source {
    /// Of which network it says it is.
    pub(super) async fn network(&self) -> Result<NetworkId, AuditError> {
        Ok(match self {
            Self::Api(client) => client.status().await?.network,
            Self::Folder(store) => store.network(),
        })
    }

    /// Whether nothing is added to it while it is read.
    pub(super) fn is_still(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    pub(super) async fn claim(&self) -> Result<Claim, AuditError> {
        Ok(match self {
            Self::Api(client) => {
                let shown = client.state(keys::SUPPLY).await?;
                Claim {
                    height: shown.height,
                    state_root: shown.state_root,
                    shown: Some(shown),
                }
            }
            Self::Folder(store) => {
                let head = store.head()?;
                Claim {
                    height: head.height,
                    state_root: head.state_root,
                    shown: None,
                }
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
        }
    }

    /// Whether the replay came to what the ledger says of itself.
    pub(super) fn compare(&self, claim: &Claim, replay: &Replay) -> Result<(), AuditError> {
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
        match self {
            Self::Api(_) => Ok(()),
            Self::Folder(store) => compare_folder(store, claim.height, replay),
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

/// Every object of the folder's state, and the outcomes of every block, against the replay.
fn compare_folder(store: &Store, height: Height, replay: &Replay) -> Result<(), AuditError> {
    let finding = |height, reason: String| Finding {
        height,
        message: None,
        reason,
    };
    let unreadable = |error: ViewError| finding(height, error.to_string());
    let (stored, replayed) = (store.view(), replay.view());
    let mut after: Option<Vec<u8>> = None;
    loop {
        let ours = replayed
            .scan(b"", after.as_deref(), PAGE)
            .map_err(unreadable)?;
        let theirs = stored
            .scan(b"", after.as_deref(), PAGE)
            .map_err(unreadable)?;
        if ours != theirs {
            return Err(finding(
                height,
                "the state stored in the folder is not the state that the blocks give".into(),
            )
            .into());
        }
        match ours.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => break,
        }
    }
    compare_outcomes(store, height, replay)
}

fn compare_outcomes(store: &Store, head: Height, replay: &Replay) -> Result<(), AuditError> {
    let mut height = Height(1);
    while height <= head {
        let next = height.after(Blocks(1));
        let expected = match store.block(next)? {
            Some(certified) if next <= head => Some(certified.block.header.receipts_root),
            _ => holdfast_market_core::query::chain(replay.view())
                .ok()
                .map(|chain| chain.receipts_root),
        };
        let found = store
            .outcomes(height)?
            .and_then(|outcomes| receipts_root(&outcomes).ok());
        if found.is_none() || found != expected {
            return Err(Finding {
                height,
                message: None,
                reason: "the outcomes stored for it are not those that the chain commits to".into(),
            }
            .into());
        }
        height = next;
    }
    Ok(())
}
