//! Roots of lists (a block's messages, its outcomes) and proofs that something is in one:
//! `merkle-cbt` with BLAKE3.
//!
//! The crate takes an inner node for a leaf and believes the prover's index and count (tried), so
//! leaves, inner nodes and roots are hashed under contexts of their own, the root binds the count,
//! and a proof's place is computed here from its checked index.

use crate::units::TreeRoot;
use merkle_cbt::merkle_tree::{CBMT, Merge, MerkleProof};
use serde::{Deserialize, Serialize};

const LEAF: &str = "holdfast 2026-11 list leaf";
const INNER: &str = "holdfast 2026-11 list inner node";
const ROOT: &str = "holdfast 2026-11 list root";

struct Blake3Merge;

impl Merge for Blake3Merge {
    type Item = [u8; 32];

    fn merge(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(INNER);
        hasher.update(left);
        hasher.update(right);
        *hasher.finalize().as_bytes()
    }
}

type Tree = CBMT<[u8; 32], Blake3Merge>;

fn leaf(item: &[u8]) -> [u8; 32] {
    blake3::derive_key(LEAF, item)
}

fn bind(count: u32, top: &[u8; 32]) -> TreeRoot {
    let mut hasher = blake3::Hasher::new_derive_key(ROOT);
    hasher.update(&count.to_le_bytes());
    hasher.update(top);
    TreeRoot(*hasher.finalize().as_bytes())
}

fn leaves<T: AsRef<[u8]>>(items: &[T]) -> (u32, Vec<[u8; 32]>) {
    let leaves: Vec<[u8; 32]> = items.iter().map(|item| leaf(item.as_ref())).collect();
    (u32::try_from(leaves.len()).unwrap_or(u32::MAX), leaves)
}

/// The root of a list.
pub fn root<T: AsRef<[u8]>>(items: &[T]) -> TreeRoot {
    let (count, leaves) = leaves(items);
    bind(count, &Tree::build_merkle_root(&leaves))
}

/// That an item is in a list at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Items of the list.
    pub count: u32,
    /// The item's place, from 0.
    pub index: u32,
    /// Hashes beside its path.
    #[serde(with = "hashes")]
    pub lemmas: Vec<[u8; 32]>,
}

impl Membership {
    /// Shows that `items[index]` is there.
    pub fn prove<T: AsRef<[u8]>>(items: &[T], index: u32) -> Option<Self> {
        let (count, leaves) = leaves(items);
        if index >= count {
            return None;
        }
        let proof = Tree::build_merkle_proof(&leaves, &[index])?;
        Some(Self {
            count,
            index,
            lemmas: proof.lemmas().to_vec(),
        })
    }

    /// Whether `item` is at this place of the list with that root.
    pub fn holds(&self, root: TreeRoot, item: &[u8]) -> bool {
        let Some(place) = self
            .count
            .checked_add(self.index)
            .map(|sum| sum.wrapping_sub(1))
        else {
            return false;
        };
        // A path is at most 32 long; more lemmas are refused before they are hashed.
        if self.index >= self.count || self.lemmas.len() > 32 {
            return false;
        }
        MerkleProof::<[u8; 32], Blake3Merge>::new(vec![place], self.lemmas.clone())
            .root(&[leaf(item)])
            .is_some_and(|top| bind(self.count, &top) == root)
    }
}

mod hashes {
    use crate::units::TreeRoot;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(hashes: &[[u8; 32]], serializer: S) -> Result<S::Ok, S::Error> {
        let list: Vec<TreeRoot> = hashes.iter().map(|hash| TreeRoot(*hash)).collect();
        list.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<[u8; 32]>, D::Error> {
        let list = Vec::<TreeRoot>::deserialize(d)?;
        Ok(list.into_iter().map(|root| root.0).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn items(count: u8) -> Vec<Vec<u8>> {
        (0..count).map(|i| vec![i; 3]).collect()
    }

    #[test]
    fn every_item_of_lists_of_every_small_size_is_shown_at_its_place_only() {
        for count in 1..18 {
            let items = items(count);
            let root = root(&items);
            for index in 0..u32::from(count) {
                let proof = Membership::prove(&items, index).unwrap();
                for (other, item) in (0u32..).zip(&items) {
                    assert_eq!(proof.holds(root, item), other == index);
                }
                for (count, index) in [
                    (proof.count, (index + 1) % proof.count),
                    (proof.count + 1, index),
                    (proof.count - 1, index),
                    (u32::MAX, index),
                    (0, index),
                    (index, index),
                ] {
                    let lie = Membership {
                        count,
                        index,
                        lemmas: proof.lemmas.clone(),
                    };
                    if lie != proof {
                        assert!(!lie.holds(root, &items[proof.index as usize]));
                    }
                }
            }
        }
    }

    #[test]
    fn an_inner_node_is_no_item_and_no_list_stands_for_another() {
        let (a, b, c) = (leaf(b"a"), leaf(b"b"), leaf(b"c"));
        let list = root(&["a", "b", "c"]);
        let inner = Blake3Merge::merge(&b, &c);
        let forged = Membership {
            count: 2,
            index: 0,
            lemmas: vec![a],
        };
        assert!(!forged.holds(list, &inner));
        assert_ne!(root::<&str>(&[]), root(&[""]));
        assert_ne!(root(&["a"]), root(&["a", "a"]));
        assert_ne!(root(&["a", "b"]), root(&["b", "a"]));
    }
}
