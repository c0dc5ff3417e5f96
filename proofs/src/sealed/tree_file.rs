//! A group's nodes and the tree over them in one file: leaves first, level by level, root last.

// A digit is below eight.
#![allow(clippy::cast_possible_truncation)]

use crate::files::{Named, read_nodes, replace, write_nodes};
use crate::node::Node;
use crate::seal::SealError;
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
    /// Writes all levels of a tree.
    pub(crate) fn write(path: &Path, levels: &[Vec<Node>]) -> Result<(), SealError> {
        replace(path, |writer| {
            write_nodes(writer, levels.iter().flatten()).named("write", path)
        })
    }

    pub(crate) fn open(path: &Path, levels: u32) -> Result<Self, SealError> {
        let file = File::open(path).named("open", path)?;
        Ok(TreeFile {
            path: path.into(),
            file,
            levels,
        })
    }

    /// The opening of a leaf, not yet compared with a root.
    pub(crate) fn opening(&self, index: u64) -> Result<Opening, SealError> {
        let (mut start, mut place) = (0, index);
        let mut leaf = Node::ZERO;
        let mut siblings = Vec::new();
        for level in 0..self.levels {
            let family = read_nodes(&self.file, &self.path, start + place / 8 * 8, 8)?;
            let mut children = family.into_iter();
            let children: [Node; 8] = std::array::from_fn(|_| children.next().unwrap_or_default());
            if level == 0 {
                leaf = children
                    .get((place % 8) as usize)
                    .copied()
                    .unwrap_or_default();
            }
            siblings.push(siblings_of(&children, place % 8));
            start += 1 << (3 * (self.levels - level));
            place /= 8;
        }
        Ok(Opening { leaf, siblings })
    }

    /// Whether the file holds the tree of `root` whole, inner nodes too.
    pub(crate) fn check(&self, root: Node) -> Result<(), SealError> {
        let tree = Tree::over(self.leaves(root)?);
        let mut start = 0;
        for level in tree.levels() {
            if read_nodes(&self.file, &self.path, start, level.len())? != *level {
                return Err(SealError::Damaged {
                    path: self.path.clone(),
                });
            }
            start += level.len() as u64;
        }
        Ok(())
    }

    /// All leaves, if they hash to `root`.
    pub(crate) fn leaves(&self, root: Node) -> Result<Vec<Node>, SealError> {
        let count = 1usize << (3 * self.levels);
        let leaves = read_nodes(&self.file, &self.path, 0, count)?;
        match Tree::build(leaves) {
            Ok(tree) if tree.root() == root => Ok(tree.into_leaves()),
            _ => Err(SealError::Damaged {
                path: self.path.clone(),
            }),
        }
    }
}
