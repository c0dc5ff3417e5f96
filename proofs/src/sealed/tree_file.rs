//! A group's nodes and the tree over them in one file: leaves first, then the levels from the roots
//! of units up, the group's root last.
//!
//! The two levels between are an eighth of the leaves and worth 72 hashes: an opening makes those of
//! its unit again, so that trees cost a 448th of the sector on the disk and not a seventh.

// A digit is below eight, and a node's place in its unit below 512.
#![allow(clippy::cast_possible_truncation)]

use crate::files::{self, Named, read_nodes, replace, write_nodes};
use crate::node::Node;
use crate::seal::SealError;
use crate::sector::{UNIT_LEVELS, UNIT_NODES};
use crate::tree::{Opening, Tree, siblings_of};
use std::fs::File;
use std::path::{Path, PathBuf};

/// An open tree file.
pub(crate) struct TreeFile {
    path: PathBuf,
    file: File,
    levels: u32,
}

impl TreeFile {
    /// Writes a tree, leaves first; of its levels those that are kept.
    pub(crate) fn write<'a>(
        path: &Path,
        levels: impl IntoIterator<Item = &'a Vec<Node>>,
    ) -> Result<(), SealError> {
        let kept = (0..).zip(levels).filter(|(level, _)| is_kept(*level));
        replace(path, |writer| {
            write_nodes(writer, kept.flat_map(|(_, nodes)| nodes)).named("write", path)
        })
    }

    pub(crate) fn open(path: &Path, levels: u32) -> Result<Self, SealError> {
        let file = files::open(path)?;
        Ok(TreeFile {
            path: path.into(),
            file,
            levels,
        })
    }

    /// The opening of a leaf, not yet compared with a root.
    pub(crate) fn opening(&self, index: u64) -> Result<Opening, SealError> {
        let unit = index / UNIT_NODES;
        let leaves = read_nodes(
            &self.file,
            &self.path,
            unit * UNIT_NODES,
            UNIT_NODES as usize,
        )?;
        let in_unit = Tree::over(leaves).opening(index % UNIT_NODES);
        let mut opening = in_unit.ok_or_else(|| self.damaged())?;
        let (mut start, mut place) = (self.leaf_count(), unit);
        for level in UNIT_LEVELS..self.levels {
            let family = read_nodes(&self.file, &self.path, start + place / 8 * 8, 8)?;
            let mut children = family.into_iter();
            let children = std::array::from_fn(|_| children.next().unwrap_or_default());
            opening.siblings.push(siblings_of(&children, place % 8));
            start += 1 << (3 * (self.levels - level));
            place /= 8;
        }
        Ok(opening)
    }

    /// Whether the file holds the tree of `root` whole, inner nodes too.
    pub(crate) fn check(&self, root: Node) -> Result<(), SealError> {
        let tree = Tree::over(self.leaves(root)?);
        let kept = (0..)
            .zip(tree.levels())
            .filter(|(level, _)| is_kept(*level));
        let mut start = 0;
        for (_, level) in kept {
            if read_nodes(&self.file, &self.path, start, level.len())? != *level {
                return Err(self.damaged());
            }
            start += level.len() as u64;
        }
        Ok(())
    }

    /// All leaves, if they hash to `root`.
    pub(crate) fn leaves(&self, root: Node) -> Result<Vec<Node>, SealError> {
        let count = self.leaf_count() as usize;
        let leaves = read_nodes(&self.file, &self.path, 0, count)?;
        match Tree::build(leaves) {
            Ok(tree) if tree.root() == root => Ok(tree.into_leaves()),
            _ => Err(self.damaged()),
        }
    }

    const fn leaf_count(&self) -> u64 {
        1 << (3 * self.levels)
    }

    fn damaged(&self) -> SealError {
        SealError::Damaged {
            path: self.path.clone(),
        }
    }
}

/// Whether the nodes of a level are in the file; leaves are level 0.
const fn is_kept(level: u32) -> bool {
    level == 0 || level >= UNIT_LEVELS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn trees_cost_less_than_a_hundredth_of_their_leaves_and_every_leaf_opens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tree");
        let leaves = (0u64..8 * 4096).map(|i| Node::derive("holdfast test", &[&i.to_le_bytes()]));
        let tree = Tree::over(leaves.collect());
        TreeFile::write(&path, tree.levels()).unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(length < 8 * 4096 * 32 * 101 / 100, "{length} bytes");
        let file = TreeFile::open(&path, 5).unwrap();
        file.check(tree.root()).unwrap();
        for index in (0..8 * 4096).step_by(511) {
            assert_eq!(file.opening(index).unwrap(), tree.opening(index).unwrap());
        }
        // A node of any level that is kept: found by the look at everything.
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 40_000, 8 * 4096 * 32 + 5, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let refused = file.check(tree.root()).unwrap_err();
            assert!(
                matches!(&refused, SealError::Damaged { path: named } if *named == path),
                "{refused}"
            );
        }
    }
}
