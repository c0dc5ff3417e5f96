//! A node's keys: one phrase in the data folder, three keys of it.

use crate::error::NodeError;
use ed25519_dalek::SigningKey;
use holdfast_market_core::units::{Address, NodeKey};
use holdfast_proofs::durable::create_folder;
use holdfast_wire::keys::{KeyFile, Phrase, Role};
use rand::{CryptoRng, RngCore};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The phrase's file in the data folder.
pub const PHRASE_FILE: &str = "phrase.key";

/// The keys of a storage node.
pub struct NodeKeys {
    /// Collateral and payout.
    pub owner: SigningKey,
    /// Acceptances, proofs and receipts.
    pub worker: SigningKey,
    /// The QUIC identity.
    pub node: SigningKey,
}

impl std::fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKeys({})", address(&self.owner))
    }
}

/// What a new node is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeIdentity {
    /// The address that is to hold its collateral: send tokens there.
    pub owner: Address,
    /// The address that signs for it.
    pub worker: Address,
    /// Its QUIC identity.
    pub node: NodeKey,
    /// Where its phrase lies.
    pub phrase: PathBuf,
}

impl NodeKeys {
    /// Makes a phrase in the data folder, which is made where it is missing.
    ///
    /// # Errors
    /// A folder that has a phrase already, or cannot be written.
    pub fn create(
        data: &Path,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<NodeIdentity, NodeError> {
        create_folder(data, 0o700).map_err(NodeError::file(data))?;
        let phrase = Phrase::generate(rng).map_err(|error| NodeError::Start(error.to_string()))?;
        let path = data.join(PHRASE_FILE);
        KeyFile::create(&path, &phrase).map_err(|error| NodeError::Start(error.to_string()))?;
        Ok(Self::of(&phrase).identity(path))
    }

    /// Reads the phrase of the data folder.
    ///
    /// # Errors
    /// A folder without one, or a file that is none or that others can read.
    pub fn read(data: &Path) -> Result<Self, NodeError> {
        let path = data.join(PHRASE_FILE);
        if !path.exists() {
            return Err(NodeError::Start(format!(
                "{} has no keys; make them with `holdfast node init --data {}`",
                data.display(),
                data.display()
            )));
        }
        let phrase = KeyFile::read(&path).map_err(|error| NodeError::Start(error.to_string()))?;
        Ok(Self::of(&phrase))
    }

    fn of(phrase: &Phrase) -> Self {
        Self {
            owner: phrase.key(Role::Owner),
            worker: phrase.key(Role::Worker),
            node: phrase.key(Role::Node),
        }
    }

    fn identity(&self, phrase: PathBuf) -> NodeIdentity {
        NodeIdentity {
            owner: address(&self.owner),
            worker: address(&self.worker),
            node: holdfast_wire::quic::node_key(&self.node),
            phrase,
        }
    }
}

/// The address that a key signs for.
pub fn address(key: &SigningKey) -> Address {
    Address(key.verifying_key().to_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn keys_are_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("node");
        let error = NodeKeys::read(&data).unwrap_err().to_string();
        assert!(error.contains("holdfast node init"), "{error}");
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        let made = NodeKeys::create(&data, &mut rng).unwrap();
        let read = NodeKeys::read(&data).unwrap();
        assert_eq!(made, read.identity(data.join(PHRASE_FILE)));
        assert!(NodeKeys::create(&data, &mut rng).is_err());
    }
}
