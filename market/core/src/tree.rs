//! The authenticated state: a `jmt` tree with BLAKE3 over the hashes of keys, so that anyone can be
//! shown a balance, a deal or a sector with a proof under a header's state root.

use crate::message::Undecodable;
use crate::units::{Height, TreeRoot};
use crate::view::{ViewError, Writes};
use jmt::proof::SparseMerkleProof;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader, TreeUpdateBatch};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, RootHash, SimpleHasher, Version};
use std::collections::BTreeMap;

/// BLAKE3 as `jmt` asks for it.
#[derive(Clone, Default)]
pub struct Blake3(blake3::Hasher);

impl SimpleHasher for Blake3 {
    fn new() -> Self {
        Self::default()
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// A proof that a key has a value, or that there is none.
pub type StateProof = SparseMerkleProof<Blake3>;

/// Where a state key lies in the tree.
pub fn key_hash(key: &[u8]) -> KeyHash {
    KeyHash(*blake3::hash(key).as_bytes())
}

fn unreadable(error: impl std::fmt::Display) -> ViewError {
    ViewError(format!("the state tree says: {error:#}"))
}

/// The tree after the block at `height` (genesis is 0) changed `writes`: its root, and the nodes to
/// store and to drop. `reader` holds the tree after the block before.
///
/// # Errors
/// The tree cannot be read.
pub fn apply(
    reader: &impl TreeReader,
    height: Height,
    writes: &Writes,
) -> Result<(TreeRoot, TreeUpdateBatch), ViewError> {
    let set = writes
        .iter()
        .map(|(key, value)| (key_hash(key), value.clone()));
    let (root, batch) = JellyfishMerkleTree::<_, Blake3>::new(reader)
        .put_value_set(set, height.0)
        .map_err(unreadable)?;
    Ok((TreeRoot(root.0), batch))
}

/// The value under a key after the block at `height`, with its proof.
///
/// # Errors
/// The tree cannot be read, or no longer holds that height.
pub fn prove(
    reader: &impl TreeReader,
    height: Height,
    key: &[u8],
) -> Result<(Option<OwnedValue>, StateProof), ViewError> {
    JellyfishMerkleTree::<_, Blake3>::new(reader)
        .get_with_proof(key_hash(key), height.0)
        .map_err(unreadable)
}

/// Whether `proof` shows that `key` has that value (or none) under `root`.
pub fn is_shown(root: TreeRoot, key: &[u8], value: Option<&[u8]>, proof: &StateProof) -> bool {
    proof.verify(RootHash(root.0), key_hash(key), value).is_ok()
}

/// The bytes of a state proof, at most: a leaf, and a neighbour of each of the 256 levels.
pub const LONGEST_STATE_PROOF: usize = 1 + 64 + 4 + 256 * 65;

/// A state proof as it is sent and kept: `jmt`'s own Borsh.
pub fn encode_proof(proof: &StateProof) -> Vec<u8> {
    // Memory takes every list that memory holds; what is empty is no proof.
    borsh::to_vec(proof).unwrap_or_default()
}

/// Reads what [`encode_proof`] wrote.
///
/// # Errors
/// Bytes that are too many, or no proof, or not its one encoding.
pub fn decode_proof(bytes: &[u8]) -> Result<StateProof, Undecodable> {
    const KIND: &str = "state proof";
    let malformed = |reason: String| Undecodable::Malformed { kind: KIND, reason };
    if bytes.len() > LONGEST_STATE_PROOF {
        return Err(malformed(format!(
            "it has {} bytes, and none has more than {LONGEST_STATE_PROOF}",
            bytes.len()
        )));
    }
    let proof: StateProof =
        borsh::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    match encode_proof(&proof) == bytes {
        true => Ok(proof),
        false => Err(Undecodable::NotCanonical(KIND)),
    }
}

/// The newest tree in memory: for audits and tests.
#[derive(Debug, Default)]
pub struct MemoryTree {
    nodes: BTreeMap<NodeKey, Node>,
    values: BTreeMap<KeyHash, OwnedValue>,
}

/// What takes a block's changes of a [`MemoryTree`] back.
#[derive(Debug)]
pub(crate) struct TreeUndo {
    nodes: Vec<(NodeKey, Option<Node>)>,
    values: Vec<(KeyHash, Option<OwnedValue>)>,
}

impl MemoryTree {
    /// Takes over a block's changes and drops what they replace; the root after them.
    ///
    /// # Errors
    /// A height that does not follow the one before.
    pub fn apply(&mut self, height: Height, writes: &Writes) -> Result<TreeRoot, ViewError> {
        self.exchange(height, writes).map(|(root, _)| root)
    }

    /// The same, and what takes it back.
    pub(crate) fn exchange(
        &mut self,
        height: Height,
        writes: &Writes,
    ) -> Result<(TreeRoot, TreeUndo), ViewError> {
        let (root, batch) = apply(self, height, writes)?;
        let mut undo = TreeUndo {
            nodes: Vec::new(),
            values: Vec::new(),
        };
        for stale in &batch.stale_node_index_batch {
            let before = self.nodes.remove(&stale.node_key);
            undo.nodes.push((stale.node_key.clone(), before));
        }
        for (key, node) in batch.node_batch.nodes() {
            let before = self.nodes.insert(key.clone(), node.clone());
            undo.nodes.push((key.clone(), before));
        }
        for ((_, key), value) in batch.node_batch.values() {
            let before = match value {
                Some(value) => self.values.insert(*key, value.clone()),
                None => self.values.remove(key),
            };
            undo.values.push((*key, before));
        }
        Ok((root, undo))
    }

    /// Takes the last changes back.
    pub(crate) fn take_back(&mut self, undo: TreeUndo) {
        for (key, before) in undo.nodes.into_iter().rev() {
            match before {
                Some(node) => self.nodes.insert(key, node),
                None => self.nodes.remove(&key),
            };
        }
        for (key, before) in undo.values.into_iter().rev() {
            match before {
                Some(value) => self.values.insert(key, value),
                None => self.values.remove(&key),
            };
        }
    }

    /// Its nodes, in the order of their keys.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeKey, &Node)> {
        self.nodes.iter()
    }
}

impl TreeReader for MemoryTree {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        Ok(self.nodes.get(key).cloned())
    }

    fn get_value_option(
        &self,
        _newest: Version,
        key: KeyHash,
    ) -> anyhow::Result<Option<OwnedValue>> {
        Ok(self.values.get(&key).cloned())
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        Ok(self
            .nodes
            .iter()
            .filter_map(|(key, node)| match node {
                Node::Leaf(leaf) => Some((key.clone(), leaf.clone())),
                _ => None,
            })
            .max_by_key(|(_, leaf)| leaf.key_hash()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn writes(entries: &[(&str, Option<&str>)]) -> Writes {
        entries
            .iter()
            .map(|(key, value)| {
                (
                    key.as_bytes().to_vec(),
                    value.map(|v| v.as_bytes().to_vec()),
                )
            })
            .collect()
    }

    #[test]
    fn a_value_and_its_absence_are_shown_under_the_root() {
        let mut tree = MemoryTree::default();
        tree.apply(Height(0), &writes(&[("a", Some("1")), ("b", Some("2"))]))
            .unwrap();
        let root = tree
            .apply(Height(1), &writes(&[("a", None), ("c", Some("3"))]))
            .unwrap();
        for (key, value) in [("a", None), ("b", Some("2")), ("c", Some("3"))] {
            let (found, proof) = prove(&tree, Height(1), key.as_bytes()).unwrap();
            assert_eq!(found.as_deref(), value.map(str::as_bytes));
            assert!(is_shown(
                root,
                key.as_bytes(),
                value.map(str::as_bytes),
                &proof
            ));
            assert!(!is_shown(root, key.as_bytes(), Some(b"4"), &proof));
            assert!(!is_shown(
                TreeRoot([9; 32]),
                key.as_bytes(),
                value.map(str::as_bytes),
                &proof
            ));
        }
    }

    #[test]
    fn the_root_depends_on_the_entries_and_not_on_how_they_came() {
        let mut at_once = MemoryTree::default();
        at_once
            .apply(Height(0), &writes(&[("x", Some("0"))]))
            .unwrap();
        let one = at_once
            .apply(Height(1), &writes(&[("a", Some("1")), ("b", Some("2"))]))
            .unwrap();
        let mut step_by_step = MemoryTree::default();
        step_by_step
            .apply(Height(0), &writes(&[("x", Some("0")), ("b", Some("9"))]))
            .unwrap();
        step_by_step
            .apply(Height(1), &writes(&[("b", Some("2"))]))
            .unwrap();
        let two = step_by_step
            .apply(Height(2), &writes(&[("a", Some("1"))]))
            .unwrap();
        assert_eq!(one, two);
    }
}
