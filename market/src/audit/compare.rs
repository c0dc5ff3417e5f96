//! What a market's folder holds, against what the blocks give: every object, every node of the tree at
//! the head, every outcome, and where each message is said to stand.

use super::AuditError;
use crate::store::Store;
use holdfast_market_core::audit::{Finding, Replay};
use holdfast_market_core::block::receipts_root;
use holdfast_market_core::message::encode;
use holdfast_market_core::query;
use holdfast_market_core::tree;
use holdfast_market_core::units::{Blocks, Height};
use holdfast_market_core::view::{ReadView, ViewError};
use jmt::storage::TreeReader;

/// State entries compared at a time.
const PAGE: usize = 1024;

fn finding(height: Height, reason: String) -> AuditError {
    Finding {
        height,
        message: None,
        reason,
    }
    .into()
}

/// Compares a folder that stands at `height` with a replay up to there. `whole` says that the replay
/// began at the genesis, so that its tree is node for node the folder's.
pub(super) fn compare(
    store: &Store,
    height: Height,
    replay: &Replay,
    whole: bool,
) -> Result<(), AuditError> {
    objects(store, height, replay)?;
    match whole {
        true => nodes(store, height, replay)?,
        false => proofs(store, height, replay)?,
    }
    outcomes(store, height, replay)
}

fn objects(store: &Store, height: Height, replay: &Replay) -> Result<(), AuditError> {
    let unreadable = |error: ViewError| finding(height, error.to_string());
    let (stored, replayed) = (store.view(), replay.view());
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = |view: &dyn Fn() -> Result<Vec<_>, ViewError>| view().map_err(unreadable);
        let ours = page(&|| replayed.scan(b"", after.as_deref(), PAGE))?;
        let theirs = page(&|| stored.scan(b"", after.as_deref(), PAGE))?;
        if ours != theirs {
            let differs = ours.iter().zip(&theirs).find(|(one, other)| one != other);
            let key = match differs {
                Some(((one, _), (other, _))) => Some(one.min(other)),
                // One of the pages is the other's beginning.
                None => {
                    let (short, long) = match ours.len() < theirs.len() {
                        true => (&ours, &theirs),
                        false => (&theirs, &ours),
                    };
                    long.get(short.len()).map(|(key, _)| key)
                }
            };
            let key = key.map_or_else(String::new, |key| name_of(key));
            return Err(finding(
                height,
                format!(
                    "the state stored in the folder is not the state that the blocks give: the object {key} differs"
                ),
            ));
        }
        match ours.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}

/// A state key as people can look it up: its kind, and the rest in hexadecimal.
fn name_of(key: &[u8]) -> String {
    let slash = key.iter().position(|byte| *byte == b'/');
    let (kind, rest) = match slash {
        Some(at) => key
            .split_at_checked(at.saturating_add(1))
            .unwrap_or((key, &[])),
        None => (key, &[][..]),
    };
    format!("{}{}", String::from_utf8_lossy(kind), hex::encode(rest))
}

/// Every node of the tree at the head, byte by byte.
fn nodes(store: &Store, height: Height, replay: &Replay) -> Result<(), AuditError> {
    let stored = store.tree();
    for (key, node) in replay.tree().nodes() {
        let found = stored.get_node_option(key);
        if !matches!(&found, Ok(Some(found)) if found == node) {
            let path = encode(key.nibble_path())
                .map(hex::encode)
                .unwrap_or_default();
            return Err(finding(
                Height(key.version()),
                format!(
                    "the state tree's node {path} that this block wrote is stored otherwise than the blocks give it, seen at block {height}"
                ),
            ));
        }
    }
    Ok(())
}

/// Every object, shown under the root by the stored nodes.
fn proofs(store: &Store, height: Height, replay: &Replay) -> Result<(), AuditError> {
    for (key, value) in replay.view().entries() {
        let nodes = store.tree().with_value(Some(value.clone()));
        let shown = tree::prove(&nodes, height, key)
            .is_ok_and(|(_, proof)| tree::is_shown(replay.state_root(), key, Some(value), &proof));
        if !shown {
            return Err(finding(
                height,
                format!(
                    "the state tree stored in the folder does not show the object {}",
                    name_of(key)
                ),
            ));
        }
    }
    Ok(())
}

fn outcomes(store: &Store, head: Height, replay: &Replay) -> Result<(), AuditError> {
    let mut height = Height(1);
    while height <= head {
        let next = height.after(Blocks(1));
        let expected = match store.block(next)? {
            Some(certified) if next <= head => Some(certified.block.header.receipts_root),
            _ => query::chain(replay.view())
                .ok()
                .map(|chain| chain.receipts_root),
        };
        let stored = store.outcomes(height)?;
        let found = stored
            .as_ref()
            .and_then(|outcomes| receipts_root(outcomes).ok());
        if found.is_none() || found != expected {
            return Err(finding(
                height,
                "the outcomes stored for it are not those that the chain commits to".into(),
            ));
        }
        for (position, outcome) in (0..).zip(stored.iter().flatten()) {
            let place = store.place(outcome.message)?;
            if place.is_none_or(|one| (one.height, one.position) != (height, position)) {
                return Err(Finding {
                    height,
                    message: Some(outcome.message),
                    reason: "the folder's index has this message at another place".into(),
                }
                .into());
            }
        }
        height = next;
    }
    Ok(())
}
