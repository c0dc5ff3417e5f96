//! What an opening shows: whether a shard's two roots are of the same bytes in one place. The rules
//! and whoever samples a provider ask the same question.

use crate::message::PieceOpening;
use crate::slice;
use crate::units::{ByteCount, ShardRoot};
use holdfast_proofs::node::Node;
use holdfast_proofs::piece::{OpeningError, PieceRoots, PieceShape, QUAD_BYTES};
use std::ops::Range;

/// A shard's two roots.
#[derive(Clone, Copy, Debug)]
pub struct Roots<'a> {
    /// BLAKE3 of its bytes, as its provider signed for them.
    pub shard: ShardRoot,
    /// How many bytes.
    pub length: ByteCount,
    /// The roots of its piece, as its provider accepted the deal.
    pub piece: &'a [Node],
}

/// Why an opening shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unshown {
    /// The shard has no such quad.
    #[error("the shard has no quad {0}")]
    NoSuchQuad(u64),
    /// Its bytes are not under the shard root.
    #[error("it shows no bytes under the shard root")]
    Shard,
    /// Its nodes are not under the piece roots.
    #[error("it shows no nodes under the piece roots")]
    Piece,
}

/// The bytes of a quad; empty where the shard has no such.
pub fn quad_range(length: ByteCount, quad: u64) -> Range<u64> {
    let start = quad.saturating_mul(QUAD_BYTES as u64).min(length.0);
    let end = start.saturating_add(QUAD_BYTES as u64).min(length.0);
    start..end
}

/// How many quads a shard has.
pub const fn quads(length: ByteCount) -> u64 {
    length.0.div_ceil(QUAD_BYTES as u64)
}

/// The bytes that an opening shows under the shard root.
///
/// # Errors
/// Those of a quad that the shard does not have, or another slice.
pub fn shard_bytes(
    root: ShardRoot,
    length: ByteCount,
    opening: &PieceOpening,
) -> Result<Vec<u8>, Unshown> {
    if opening.quad >= quads(length) {
        return Err(Unshown::NoSuchQuad(opening.quad));
    }
    let range = quad_range(length, opening.quad);
    slice::verify(root.as_bytes(), length.0, &range, &opening.slice).map_err(|_| Unshown::Shard)
}

/// Whether both roots are of the same bytes at the opened quad. Where they are not, whoever signed
/// both has signed two roots of different bytes.
///
/// # Errors
/// An opening that is not under both roots shows nothing.
pub fn agrees(
    roots: &Roots<'_>,
    shape: &PieceShape,
    opening: &PieceOpening,
) -> Result<bool, Unshown> {
    let bytes = shard_bytes(roots.shard, roots.length, opening)?;
    let mut quad = [0u8; QUAD_BYTES];
    for (to, from) in quad.iter_mut().zip(bytes) {
        *to = from;
    }
    let piece = PieceRoots(roots.piece.to_vec());
    match opening.opening.verify(shape, &piece, opening.quad) {
        Ok(shown) => Ok(shown == quad),
        // Under the root, but no data at all: certainly not the shard's.
        Err(OpeningError::NotData(_)) => Ok(false),
        Err(_) => Err(Unshown::Piece),
    }
}
