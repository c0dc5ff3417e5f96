//! Pieces: a shard's bytes as nodes under a list of aligned subtrees.
//!
//! A piece is packed 127 bytes to four nodes and cut into subtrees of 8^3 nodes and up, largest
//! first, with zeros after the end; its commitment is the list of their roots. Those do not depend
//! on the sector class or on where the subtrees lie, so the market can compute a group's data root
//! from them alone.

mod opening;
mod packing;
mod placement;

pub use opening::{OpeningError, QuadOpening};
pub use packing::{NotData, QUAD_BYTES, QUAD_NODES, pack, pack_127, unpack, unpack_127};
pub use placement::{PlacementError, SubtreePlacement, group_data_root};

use crate::node::Node;
use crate::sector::{SectorClass, UNIT_DATA_BYTES, UNIT_LEVELS, UNIT_NODES};
use crate::tree::{level_above, zero_root};
use packing::pack_into;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};

/// The deepest subtree that a piece can be cut into: the group of the largest class.
pub const MAX_SUBTREE_LEVELS: u32 = SectorClass::Gib32.group_levels();

/// Why a length has no shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// Longer than the largest sector's data.
    #[error("a piece of {0} bytes is longer than any sector holds; cut it into several")]
    TooLong(u64),
    /// The network's largest subtree is not one that a group can hold.
    #[error(
        "subtrees of {0} levels do not fit; a network's largest has {UNIT_LEVELS} to {MAX_SUBTREE_LEVELS}"
    )]
    Levels(u32),
}

/// How a piece of some length is cut: the levels of its subtrees, largest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceShape {
    length: u64,
    subtrees: Vec<u32>,
}

impl PieceShape {
    /// The shape of so many bytes, in a network whose largest subtree has `max_levels` levels.
    ///
    /// # Errors
    /// A length beyond the largest sector, or levels that no group holds.
    pub fn of(length_bytes: u64, max_levels: u32) -> Result<Self, PieceError> {
        if !(UNIT_LEVELS..=MAX_SUBTREE_LEVELS).contains(&max_levels) {
            return Err(PieceError::Levels(max_levels));
        }
        if length_bytes > SectorClass::Gib32.data_bytes() {
            return Err(PieceError::TooLong(length_bytes));
        }
        let mut units = length_bytes.div_ceil(UNIT_DATA_BYTES);
        // At most eight of each size but the largest.
        let largest = usize::try_from(units / units_of(max_levels)).unwrap_or(0);
        let mut subtrees = Vec::with_capacity(largest.saturating_add(8 * 8));
        for levels in (UNIT_LEVELS..=max_levels).rev() {
            let size = units_of(levels);
            for _ in 0..units / size {
                subtrees.push(levels);
            }
            units %= size;
        }
        Ok(PieceShape {
            length: length_bytes,
            subtrees,
        })
    }

    /// Bytes of the piece before packing.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Units of 512 nodes that the piece takes up.
    pub fn units(&self) -> u64 {
        self.subtrees.iter().map(|levels| units_of(*levels)).sum()
    }

    /// Levels of each subtree, largest first; one root each.
    pub fn subtrees(&self) -> &[u32] {
        &self.subtrees
    }

    /// Which subtree the node of that index in the piece lies in, and its index there.
    pub fn locate(&self, node: u64) -> Option<(usize, u64)> {
        let mut rest = node;
        for (place, levels) in self.subtrees.iter().enumerate() {
            let nodes = units_of(*levels) * UNIT_NODES;
            if rest < nodes {
                return Some((place, rest));
            }
            rest -= nodes;
        }
        None
    }
}

/// Units in a subtree of at least [`UNIT_LEVELS`] levels.
const fn units_of(levels: u32) -> u64 {
    1 << (3 * levels.saturating_sub(UNIT_LEVELS))
}

/// The commitment to a piece: the roots of its subtrees, largest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PieceRoots(pub Vec<Node>);

impl PieceRoots {
    /// Reads the piece once and hashes it. Memory: about the largest subtree.
    ///
    /// # Errors
    /// Those of the reader, its end before `length` bytes, or a length that has no shape.
    pub fn compute(reader: impl Read, length: u64, max_levels: u32) -> io::Result<Self> {
        let shape = PieceShape::of(length, max_levels)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        SubtreeReader::new(reader, &shape)
            .map(|nodes| nodes.map(root_over))
            .collect::<io::Result<_>>()
            .map(PieceRoots)
    }
}

/// The root over a full level; zeros are not hashed again, since the last subtree ends in them.
fn root_over(nodes: Vec<Node>) -> Node {
    let mut level = nodes;
    let mut height = 0;
    while level.len() > 1 {
        let filled = level
            .iter()
            .rposition(|node| Some(*node) != zero_root(height));
        let used = filled.map_or(0, |last| last + 1).next_multiple_of(8);
        let full = level.len() / 8;
        let mut above = level_above(level.get(..used).unwrap_or(&level));
        height += 1;
        above.resize(full, zero_root(height).unwrap_or_default());
        level = above;
    }
    level.first().copied().unwrap_or_default()
}

/// Bytes that are read before they are packed: whole quads, and few enough to stay in the caches.
const READ_BYTES: usize = 256 * QUAD_BYTES;

/// Reads a piece's bytes and gives its nodes, one subtree at a time.
#[derive(Debug)]
pub struct SubtreeReader<'a, R> {
    reader: R,
    left: u64,
    subtrees: std::slice::Iter<'a, u32>,
}

impl<'a, R: Read> SubtreeReader<'a, R> {
    /// Starts at the piece's first byte.
    pub fn new(reader: R, shape: &'a PieceShape) -> Self {
        SubtreeReader {
            reader,
            left: shape.length,
            subtrees: shape.subtrees.iter(),
        }
    }
}

impl<R: Read> Iterator for SubtreeReader<'_, R> {
    type Item = io::Result<Vec<Node>>;

    fn next(&mut self) -> Option<Self::Item> {
        let units = units_of(*self.subtrees.next()?);
        let bytes = self.left.min(units * UNIT_DATA_BYTES);
        self.left -= bytes;
        let read = |reader: &mut R| {
            let full = usize::try_from(units * UNIT_NODES).map_err(io::Error::other)?;
            let mut nodes = Vec::with_capacity(full);
            let mut left = usize::try_from(bytes).map_err(io::Error::other)?;
            let mut data = vec![0; left.min(READ_BYTES)];
            while left > 0 {
                data.truncate(left);
                reader.read_exact(&mut data)?;
                left -= data.len();
                pack_into(&data, &mut nodes);
            }
            nodes.resize(full, Node::ZERO);
            Ok(nodes)
        };
        Some(read(&mut self.reader))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;
    use crate::tree::Tree;

    fn data(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        crate::node::derive_reader("holdfast test data", &[]).fill(&mut bytes);
        bytes
    }

    #[test]
    fn a_shape_is_largest_first_and_rounds_up_by_less_than_a_unit() {
        let of = |units: u64| PieceShape::of(units * UNIT_DATA_BYTES, 4).unwrap();
        assert_eq!(of(0).subtrees(), &[] as &[u32]);
        assert_eq!(of(1).subtrees(), &[3]);
        assert_eq!(of(8).subtrees(), &[4]);
        assert_eq!(of(26).subtrees(), &[4, 4, 4, 3, 3]);
        for length in [1, 16_255, 16_256, 16_257, 1_000_000] {
            let shape = PieceShape::of(length, 6).unwrap();
            assert_eq!(shape.units(), length.div_ceil(UNIT_DATA_BYTES));
            assert!(shape.subtrees().is_sorted_by(|a, b| a >= b));
        }
        assert_eq!(
            PieceShape::of(u64::MAX, 4),
            Err(PieceError::TooLong(u64::MAX))
        );
        assert_eq!(PieceShape::of(1, 2), Err(PieceError::Levels(2)));
        assert_eq!(PieceShape::of(1, 9), Err(PieceError::Levels(9)));
    }

    #[test]
    fn nodes_are_located_in_their_subtree() {
        let shape = PieceShape::of(9 * UNIT_DATA_BYTES, 4).unwrap();
        assert_eq!(shape.locate(4095), Some((0, 4095)));
        assert_eq!(shape.locate(4096), Some((1, 0)));
        assert_eq!(shape.locate(4096 + 512), None);
    }

    #[test]
    fn roots_are_those_of_the_packed_nodes_and_zeros() {
        for length in [1, 127, 128, 16_256, 20_000, 9 * 16_256 + 5] {
            let bytes = data(length);
            let roots = PieceRoots::compute(&*bytes, length as u64, 4).unwrap();
            let shape = PieceShape::of(length as u64, 4).unwrap();
            let mut nodes = pack(&bytes);
            nodes.resize(shape.units() as usize * 512, Node::ZERO);
            let mut rest = &nodes[..];
            for (levels, root) in shape.subtrees().iter().zip(&roots.0) {
                let (subtree, after) = rest.split_at(1 << (3 * levels));
                assert_eq!(Tree::build(subtree.to_vec()).unwrap().root(), *root);
                rest = after;
            }
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_reader_that_ends_early_is_refused() {
        let error = PieceRoots::compute(&data(99)[..], 100, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let error = PieceRoots::compute(&data(99)[..], 99, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
