//! Where a replay stands, taken out and put back, so that a long audit can be interrupted.

use super::{Finding, Place, Replay};
use crate::genesis::Genesis;
use crate::query;
use crate::rules::{GenesisError, Rules};
use crate::tree::MemoryTree;
use crate::units::{Height, NetworkId};
use crate::view::{MemoryView, ViewError};
use holdfast_proofs::keys::VerifyingKeys;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a replay knows beside its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Of which network.
    pub network: NetworkId,
    /// The last block that was replayed.
    pub height: Height,
    place: Place,
}

/// Why a replay cannot go on from where it is said to have stood.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The genesis and its keys make no rules.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// Of another network.
    #[error("it is of network {found}, not of {expected}")]
    OtherNetwork {
        /// Whose it is.
        found: NetworkId,
        /// Whose was asked for.
        expected: NetworkId,
    },
    /// It contradicts itself.
    #[error("its parts do not fit together: {0}")]
    Mismatch(&'static str),
    /// Its state cannot be read.
    #[error(transparent)]
    State(#[from] ViewError),
    /// Its books do not add up.
    #[error(transparent)]
    Books(#[from] Finding),
}

impl Replay {
    /// What it knows beside its state.
    ///
    /// # Errors
    /// Its state cannot be read.
    pub fn saved(&self) -> Result<Saved, ViewError> {
        Ok(Saved {
            network: self.rules.network,
            height: query::chain(&self.view)?.height,
            place: self.place.clone(),
        })
    }

    /// Goes on from there. The state must have the root that it had, and the books must add up; that
    /// the blocks before it hold is taken from whoever saved it.
    ///
    /// # Errors
    /// Parts that are another network's or do not fit together.
    pub fn restore(
        genesis: &Genesis,
        keys: &VerifyingKeys,
        saved: Saved,
        entries: BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<Self, RestoreError> {
        let rules = Rules::new(genesis, keys)?;
        if saved.network != rules.network {
            return Err(RestoreError::OtherNetwork {
                found: saved.network,
                expected: rules.network,
            });
        }
        let writes = entries
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect();
        let mut tree = MemoryTree::default();
        if tree.apply(saved.height, &writes)? != saved.place.state_root {
            return Err(RestoreError::Mismatch(
                "the state has another root than it says",
            ));
        }
        let view = MemoryView::from(entries);
        if query::chain(&view)?.height != saved.height {
            return Err(RestoreError::Mismatch(
                "the state is of another height than it says",
            ));
        }
        let replay = Self {
            rules,
            view,
            tree,
            place: saved.place,
            subject: None,
        };
        replay.recount()?;
        Ok(replay)
    }
}
