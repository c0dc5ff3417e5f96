//! Opening 127 bytes of a piece under its root: for sampling, for `AnswerOpening` and for fraud
//! proofs.

use super::packing::{QUAD_NODES, pack_127, unpack_127};
use super::{NotData, PieceRoots, PieceShape, SubtreeReader};
use crate::node::Node;
use crate::sector::UNIT_LEVELS;
use crate::tree::{NotOctary, Opening, Tree, root_of};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};

/// One quad, four nodes that hold 127 bytes, and its path to the root of its subtree. Two quads
/// are one family of eight, so they share the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuadOpening {
    /// The quad's nodes.
    pub nodes: [Node; 4],
    /// The family's other four nodes.
    pub others: [Node; 4],
    /// Siblings at each level above the family, lowest first.
    pub siblings: Vec<[Node; 7]>,
}

/// Why an opening does not show what it claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// The piece is shorter.
    #[error("the piece has no quad {0}")]
    NoSuchQuad(u64),
    /// The number of roots is not the shape's.
    #[error("the piece has {expected} subtrees but {given} roots")]
    Roots {
        /// Subtrees of the shape.
        expected: usize,
        /// Roots given.
        given: usize,
    },
    /// A path of another length than the subtree's.
    #[error("the path has {given} levels above its leaves' family; the subtree has {expected}")]
    Levels {
        /// The subtree's levels less one.
        expected: u32,
        /// Levels of the path.
        given: usize,
    },
    /// The path ends elsewhere.
    #[error("the path leads to another root than the piece's")]
    Root,
    /// The nodes hold more than data can.
    #[error(transparent)]
    NotData(#[from] NotData),
}

impl QuadOpening {
    /// Opens a quad, reading the piece from its first byte to the end of the quad's subtree.
    ///
    /// # Errors
    /// Those of the reader, and `NotFound` where the piece has no such quad.
    pub fn read(reader: impl Read, shape: &PieceShape, quad: u64) -> io::Result<Self> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, OpeningError::NoSuchQuad(quad));
        let (place, node) = locate(shape, quad).ok_or_else(missing)?;
        let nodes = SubtreeReader::new(reader, shape)
            .nth(place)
            .ok_or_else(missing)??;
        let tree = Tree::build(nodes).map_err(|error: NotOctary| io::Error::other(error))?;
        Self::of(&tree, node / QUAD_NODES as u64).ok_or_else(missing)
    }

    /// Opens a quad of a subtree.
    pub fn of(tree: &Tree, quad: u64) -> Option<Self> {
        let (family, half) = (usize::try_from(quad / 2).ok()?, quad % 2);
        let Opening { siblings, .. } = tree.opening(quad.checked_mul(QUAD_NODES as u64)?)?;
        let (families, _) = tree.levels().first()?.as_chunks::<8>();
        let (low, high) = halves(families.get(family)?);
        let (nodes, others) = if half == 0 { (low, high) } else { (high, low) };
        Some(QuadOpening {
            nodes,
            others,
            siblings: siblings.into_iter().skip(1).collect(),
        })
    }

    /// The root that this leads to from the quad of that index in its subtree.
    pub fn root(&self, quad: u64) -> Node {
        let (low, high) = if quad.is_multiple_of(2) {
            (&self.nodes, &self.others)
        } else {
            (&self.others, &self.nodes)
        };
        let mut family = low.iter().chain(high).copied();
        let family = std::array::from_fn(|_| family.next().unwrap_or_default());
        let opening = Opening {
            leaf: root_of(&family),
            siblings: self.siblings.clone(),
        };
        opening.root(quad / 2)
    }

    /// Checks the opening of a piece's quad against the piece's roots and gives its 127 bytes;
    /// those after the piece's end are zeros.
    ///
    /// # Errors
    /// Where the opening does not show it, and why.
    pub fn verify(
        &self,
        shape: &PieceShape,
        roots: &PieceRoots,
        quad: u64,
    ) -> Result<[u8; 127], OpeningError> {
        let counts = (shape.subtrees().len(), roots.0.len());
        if counts.0 != counts.1 {
            return Err(OpeningError::Roots {
                expected: counts.0,
                given: counts.1,
            });
        }
        let missing = OpeningError::NoSuchQuad(quad);
        let (place, node) = locate(shape, quad).ok_or(missing.clone())?;
        let levels = shape.subtrees().get(place).ok_or(missing.clone())?;
        let expected = levels.saturating_sub(1).max(UNIT_LEVELS - 1);
        if self.siblings.len() != expected as usize {
            return Err(OpeningError::Levels {
                expected,
                given: self.siblings.len(),
            });
        }
        if roots.0.get(place) != Some(&self.root(node / QUAD_NODES as u64)) {
            return Err(OpeningError::Root);
        }
        Ok(unpack_127(&self.nodes)?)
    }

    /// Whether the quad holds exactly these bytes: what a fraud proof disputes.
    pub fn holds(&self, bytes: &[u8; 127]) -> bool {
        self.nodes == pack_127(bytes)
    }
}

fn locate(shape: &PieceShape, quad: u64) -> Option<(usize, u64)> {
    shape.locate(quad.checked_mul(QUAD_NODES as u64)?)
}

fn halves(family: &[Node; 8]) -> ([Node; 4], [Node; 4]) {
    let [a, b, c, d, e, f, g, h] = *family;
    ([a, b, c, d], [e, f, g, h])
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;

    #[test]
    fn every_quad_of_a_piece_opens_to_its_bytes() {
        let mut bytes = vec![0; 9 * 16_256 + 500];
        crate::node::derive_reader("holdfast test data", &[]).fill(&mut bytes);
        let length = bytes.len() as u64;
        let roots = PieceRoots::compute(&*bytes, length, 4).unwrap();
        let shape = PieceShape::of(length, 4).unwrap();
        for quad in [0, 1, 2, 77, 1023, 1024, 1025, 1152, 1155, 1156, 1279] {
            let opening = QuadOpening::read(&*bytes, &shape, quad).unwrap();
            let shown = opening.verify(&shape, &roots, quad).unwrap();
            let start = bytes.len().min(quad as usize * 127);
            let expected = &bytes[start..bytes.len().min(start + 127)];
            assert_eq!(shown[..expected.len()], *expected);
            assert!(shown[expected.len()..].iter().all(|byte| *byte == 0));
            assert!(opening.holds(&shown));
            let mut other = shown;
            other[5] ^= 1;
            assert!(!opening.holds(&other));
            // After the end both quads of a family are zeros.
            if !expected.is_empty() {
                assert_eq!(
                    opening.verify(&shape, &roots, quad ^ 1),
                    Err(OpeningError::Root)
                );
            }
        }
        let error = QuadOpening::read(&*bytes, &shape, 1280).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_opening_that_does_not_fit_is_refused() {
        let bytes = vec![7; 1000];
        let roots = PieceRoots::compute(&*bytes, 1000, 4).unwrap();
        let shape = PieceShape::of(1000, 4).unwrap();
        let opening = QuadOpening::read(&*bytes, &shape, 3).unwrap();
        assert!(opening.verify(&shape, &roots, 3).is_ok());
        let verify = |opening: &QuadOpening| opening.verify(&shape, &roots, 3).unwrap_err();
        assert_eq!(
            verify(&QuadOpening {
                nodes: [Node::ZERO; 4],
                ..opening.clone()
            }),
            OpeningError::Root
        );
        let mut long = opening.clone();
        long.siblings.push([Node::ZERO; 7]);
        assert_eq!(
            verify(&long),
            OpeningError::Levels {
                expected: 2,
                given: 3
            }
        );
        let none = PieceRoots(vec![]);
        let error = OpeningError::Roots {
            expected: 1,
            given: 0,
        };
        assert_eq!(opening.verify(&shape, &none, 3), Err(error));
        assert_eq!(
            opening.verify(&shape, &roots, 128),
            Err(OpeningError::NoSuchQuad(128))
        );
        assert_eq!(
            opening.verify(&shape, &roots, u64::MAX),
            Err(OpeningError::NoSuchQuad(u64::MAX))
        );
    }

    #[test]
    fn nodes_that_no_bytes_pack_to_are_shown_to_be_so() {
        let largest = Node::from_scalar(&-bls12_381::Scalar::one());
        let tree = Tree::build(vec![largest; 512]).unwrap();
        let shape = PieceShape::of(100, 4).unwrap();
        let opening = QuadOpening::of(&tree, 9).unwrap();
        let roots = PieceRoots(vec![tree.root()]);
        assert_eq!(
            opening.verify(&shape, &roots, 9),
            Err(OpeningError::NotData(NotData(0)))
        );
    }
}
