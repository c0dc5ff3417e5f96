//! Objects of the ledger shown by a proof under a state root, or their absence: what a light client
//! asks, one function a kind. The state root of a header is that of the state after its parent.

use crate::channel::Channel;
use crate::keys;
use crate::message::{Undecodable, decode};
use crate::state::{Account, Deal, Name, Provider, Sector};
use crate::tree::{StateProof, is_shown};
use crate::units::{Address, DealId, ProviderId, SectorId, TreeRoot};
use serde::{Deserialize, Serialize};

/// The bytes of a state object that are read, at most: a sector whose every group is full and being
/// written anew has less than half of it.
pub const LONGEST_OBJECT: usize = 2 << 20;

/// Why an object is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The proof is for something else.
    #[error(
        "the {kind} is not shown: its proof does not hold under state root {root}; ask another market"
    )]
    NotShown {
        /// What was to be shown.
        kind: &'static str,
        /// Under which root.
        root: TreeRoot,
    },
    /// Too long to be read.
    #[error("the {kind} has {length} bytes, and {LONGEST_OBJECT} are read; use a newer program")]
    TooLong {
        /// What was to be shown.
        kind: &'static str,
        /// Its bytes.
        length: usize,
    },
    /// The state has it, and it cannot be read.
    #[error("the state holds what this program cannot read; use a newer one: {0}")]
    Undecodable(#[from] Undecodable),
}

/// What a ledger answers: an object's bytes, or none, and the proof.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The object's DAG-CBOR; none where it is said that there is no such object.
    pub value: Option<&'a [u8]>,
    /// What shows it.
    pub proof: &'a StateProof,
}

fn shown<T>(
    root: TreeRoot,
    kind: &'static str,
    key: &[u8],
    evidence: Evidence<'_>,
) -> Result<Option<T>, ProofError>
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    let Evidence { value, proof } = evidence;
    let length = value.map_or(0, <[u8]>::len);
    if length > LONGEST_OBJECT {
        return Err(ProofError::TooLong { kind, length });
    }
    if !is_shown(root, key, value, proof) {
        return Err(ProofError::NotShown { kind, root });
    }
    Ok(value.map(|bytes| decode(kind, bytes)).transpose()?)
}

/// An account, or that it never had tokens.
///
/// # Errors
/// It is not shown.
pub fn account(
    root: TreeRoot,
    address: &Address,
    evidence: Evidence<'_>,
) -> Result<Option<Account>, ProofError> {
    shown(root, "account", &keys::account(address), evidence)
}

/// A provider, or that no such number was given.
///
/// # Errors
/// It is not shown.
pub fn provider(
    root: TreeRoot,
    id: ProviderId,
    evidence: Evidence<'_>,
) -> Result<Option<Provider>, ProofError> {
    shown(root, "provider", &keys::provider(id), evidence)
}

/// A sector, or that it was never committed.
///
/// # Errors
/// It is not shown.
pub fn sector(
    root: TreeRoot,
    id: SectorId,
    evidence: Evidence<'_>,
) -> Result<Option<Sector>, ProofError> {
    shown(root, "sector", &keys::sector(id), evidence)
}

/// A deal, or that there is none.
///
/// # Errors
/// It is not shown.
pub fn deal(
    root: TreeRoot,
    id: &DealId,
    evidence: Evidence<'_>,
) -> Result<Option<Deal>, ProofError> {
    shown(root, "deal", &keys::deal(id), evidence)
}

/// A name, or that its owner has none of that label.
///
/// # Errors
/// It is not shown.
pub fn name(
    root: TreeRoot,
    owner: &Address,
    label: &str,
    evidence: Evidence<'_>,
) -> Result<Option<Name>, ProofError> {
    shown(root, "name", &keys::name(owner, label), evidence)
}

/// A channel, or that there is none.
///
/// # Errors
/// It is not shown.
pub fn channel(
    root: TreeRoot,
    provider: ProviderId,
    payer: &Address,
    evidence: Evidence<'_>,
) -> Result<Option<Channel>, ProofError> {
    shown(root, "channel", &keys::channel(provider, payer), evidence)
}

#[cfg(test)]
mod tests;
