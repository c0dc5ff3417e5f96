//! Octary trees of [`hash8_nodes`](crate::poseidon2::hash8_nodes): over columns, keys, data,
//! replicas and pieces alike.
//!
//! Depths are fixed by the class or the piece and every root has a field of its own, so inner
//! nodes and leaves need no tags.

use crate::node::Node;
use crate::poseidon2::{hash8_each, hash8_nodes};
use crate::sector::{ARITY, SectorClass};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// The deepest tree there is: over the largest sector class.
pub const MAX_LEVELS: u32 = SectorClass::Gib32.levels();

/// The root over eight roots: of groups to that of their lane, of lanes to that of the sector.
pub fn root_of(children: &[Node; 8]) -> Node {
    hash8_nodes(children)
}

/// The root over the 64 groups of a sector, by way of their lanes.
pub fn root_of_groups(groups: &[Node; 64]) -> Node {
    root_of(&lanes_of_groups(groups))
}

/// The lane roots over the 64 groups of a sector.
pub fn lanes_of_groups(groups: &[Node; 64]) -> [Node; 8] {
    let (lanes, _) = groups.as_chunks::<8>();
    let mut roots = [Node::ZERO; 8];
    for (root, lane) in roots.iter_mut().zip(lanes) {
        *root = root_of(lane);
    }
    roots
}

/// The root of a tree of that many levels whose leaves are all zero; none above [`MAX_LEVELS`].
pub fn zero_root(levels: u32) -> Option<Node> {
    static ROOTS: OnceLock<Vec<Node>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let next = |below: &Node| Some(root_of(&[*below; 8]));
        let count = MAX_LEVELS as usize + 1;
        std::iter::successors(Some(Node::ZERO), next)
            .take(count)
            .collect()
    });
    roots.get(levels as usize).copied()
}

/// A leaf and what its path to a root needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The leaf.
    pub leaf: Node,
    /// The seven siblings of each node of the path, leaf level first, in order.
    pub siblings: Vec<[Node; 7]>,
}

impl Opening {
    /// The root that this opening leads to from the leaf of that index. An index or a number of
    /// levels other than the tree's leads to another root: compare both first.
    pub fn root(&self, index: u64) -> Node {
        let mut rest = index;
        self.siblings.iter().fold(self.leaf, |node, siblings| {
            let digit = rest & 7;
            rest >>= 3;
            let mut siblings = siblings.iter();
            let children = std::array::from_fn(|i| {
                if i as u64 == digit {
                    node
                } else {
                    // Seven siblings and one node fill the eight places.
                    siblings.next().copied().unwrap_or(Node::ZERO)
                }
            });
            root_of(&children)
        })
    }

    /// Levels between the leaf and the root.
    pub fn levels(&self) -> u32 {
        u32::try_from(self.siblings.len()).unwrap_or(u32::MAX)
    }

    /// The same opening carried up to a higher root: `above` are the eight children of each
    /// further level, lowest first, and `index` is the leaf's in the higher tree.
    #[must_use]
    pub fn extended<'a>(
        mut self,
        index: u64,
        above: impl IntoIterator<Item = &'a [Node; 8]>,
    ) -> Self {
        for children in above {
            let digit = index.checked_shr(3 * self.levels()).unwrap_or(0) & 7;
            self.siblings.push(siblings_of(children, digit));
        }
        self
    }
}

/// The seven children other than the one at `digit`.
pub(crate) fn siblings_of(children: &[Node; 8], digit: u64) -> [Node; 7] {
    let mut others = children
        .iter()
        .enumerate()
        .filter(|(i, _)| *i as u64 != digit)
        .map(|(_, child)| *child);
    std::array::from_fn(|_| others.next().unwrap_or(Node::ZERO))
}

/// A number of leaves over which no octary tree is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} leaves do not fill an octary tree; their number must be a power of eight, at most 8^{MAX_LEVELS}"
)]
pub struct NotOctary(pub usize);

/// A whole tree in memory: an eighth larger than its leaves.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Leaves first, the root alone last.
    levels: Vec<Vec<Node>>,
}

impl Tree {
    /// Builds the tree over leaves whose number is a power of eight.
    ///
    /// # Errors
    /// [`NotOctary`] for another number of leaves.
    pub fn build(leaves: Vec<Node>) -> Result<Self, NotOctary> {
        let bits = leaves.len().checked_ilog2().unwrap_or(0);
        if !leaves.len().is_power_of_two() || !bits.is_multiple_of(3) || bits > 3 * MAX_LEVELS {
            return Err(NotOctary(leaves.len()));
        }
        Ok(Self::over(leaves))
    }

    /// The tree over leaves that are known to be a power of eight.
    pub(crate) fn over(leaves: Vec<Node>) -> Self {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last()
            && level.len() > 1
        {
            let next = level_above(level);
            levels.push(next);
        }
        Tree { levels }
    }

    /// The leaves.
    #[cfg(feature = "prove")]
    pub(crate) fn into_leaves(self) -> Vec<Node> {
        self.levels.into_iter().next().unwrap_or_default()
    }

    /// The root.
    pub fn root(&self) -> Node {
        let top = self.levels.last().and_then(|level| level.first());
        top.copied().unwrap_or(Node::ZERO)
    }

    /// The levels, leaves first.
    pub fn levels(&self) -> &[Vec<Node>] {
        &self.levels
    }

    /// The opening of a leaf; none where there is no such leaf.
    pub fn opening(&self, index: u64) -> Option<Opening> {
        let mut place = usize::try_from(index).ok()?;
        let (_, inner) = self.levels.split_last()?;
        let leaf = self.levels.first()?.get(place).copied()?;
        let mut siblings = Vec::with_capacity(inner.len());
        for level in inner {
            let (families, _) = level.as_chunks::<ARITY>();
            siblings.push(siblings_of(families.get(place / ARITY)?, place as u64 % 8));
            place /= ARITY;
        }
        Some(Opening { leaf, siblings })
    }
}

/// The parents of a whole level.
pub(crate) fn level_above(level: &[Node]) -> Vec<Node> {
    let (families, _) = level.as_chunks::<ARITY>();
    hash8_each(families)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn leaves(count: u64) -> Vec<Node> {
        (0..count)
            .map(|i| Node::derive("holdfast test", &[&i.to_le_bytes()]))
            .collect()
    }

    #[test]
    fn every_leaf_opens_to_the_root_and_only_at_its_place() {
        let leaves = leaves(512);
        let tree = Tree::build(leaves.clone()).unwrap();
        for (index, leaf) in (0u64..).zip(&leaves).step_by(37) {
            let opening = tree.opening(index).unwrap();
            assert_eq!((opening.leaf, opening.levels()), (*leaf, 3));
            assert_eq!(opening.root(index), tree.root());
            assert_ne!(opening.root(index ^ 1), tree.root());
            assert_ne!(opening.root(index ^ 64), tree.root());
            let mut changed = opening;
            changed.siblings[1][3] = Node::ZERO;
            assert_ne!(changed.root(index), tree.root());
        }
        assert!(tree.opening(512).is_none());
    }

    #[test]
    fn an_opening_of_a_subtree_extends_to_the_whole_tree() {
        let leaves = leaves(512);
        let whole = Tree::build(leaves.clone()).unwrap();
        let part = Tree::build(leaves[64 * 5..64 * 6].to_vec()).unwrap();
        let above: [Node; 8] = whole.levels()[2].as_slice().try_into().unwrap();
        let index = 64 * 5 + 43;
        let opening = part.opening(43).unwrap().extended(index, [&above]);
        assert_eq!(opening, whole.opening(index).unwrap());
    }

    #[test]
    fn only_powers_of_eight_make_a_tree() {
        for count in [0, 2, 7, 9, 16, 63, 4095] {
            let error = Tree::build(vec![Node::ZERO; count]).unwrap_err();
            assert_eq!(error, NotOctary(count));
        }
        let single = Tree::build(leaves(1)).unwrap();
        assert_eq!(single.root(), single.opening(0).unwrap().root(0));
    }

    #[test]
    fn zeros_have_the_roots_of_trees_of_zeros() {
        for levels in 0..4 {
            let tree = Tree::build(vec![Node::ZERO; 1 << (3 * levels)]).unwrap();
            assert_eq!(zero_root(levels), Some(tree.root()));
        }
        assert_eq!(zero_root(MAX_LEVELS + 1), None);
    }

    #[test]
    fn group_roots_hash_to_the_root_of_all_their_leaves() {
        let groups: [Node; 64] = leaves(64).try_into().unwrap();
        assert_eq!(
            root_of_groups(&groups),
            Tree::build(groups.to_vec()).unwrap().root()
        );
    }
}
