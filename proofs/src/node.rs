//! A node: one element of the scalar field of BLS12-381, the unit in which sectors, trees and
//! circuits count.

use ff::PrimeField;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// One field element as its canonical 32 little-endian bytes (the integer is below the order r).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Node([u8; 32]);

/// Thirty-two bytes that name an integer of at least r, so not the canonical form of any element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "these 32 bytes are not a canonical field element: the integer is not below the group order"
)]
pub struct NonCanonical;

/// The group order r, most significant word first.
const ORDER: [u64; 4] = [
    0x73ed_a753_299d_7d48,
    0x3339_d808_09a1_d805,
    0x53bd_a402_fffe_5bfe,
    0xffff_ffff_0000_0001,
];

impl Node {
    /// The zero element: what fills a sector before data does.
    pub const ZERO: Node = Node([0; 32]);

    /// Reads a canonical element.
    ///
    /// # Errors
    /// [`NonCanonical`] where the integer is not below r.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, NonCanonical> {
        // Words from the most significant down, compared as the integers they are.
        let (words, _) = bytes.as_chunks::<8>();
        let value = words.iter().rev().map(|word| u64::from_le_bytes(*word));
        if value.lt(ORDER) {
            Ok(Node(bytes))
        } else {
            Err(NonCanonical)
        }
    }

    /// The canonical little-endian bytes.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The same bytes, borrowed.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The element's bytes, from either library's scalar (both have the same representation).
    pub fn from_scalar<F: PrimeField<Repr = [u8; 32]>>(scalar: &F) -> Self {
        Node(scalar.to_repr())
    }

    /// The element in the asked library's form.
    pub fn to_scalar<F: PrimeField<Repr = [u8; 32]>>(self) -> F {
        // A `Node` is canonical by construction, so `from_repr` always succeeds; zero is unreachable.
        Option::<F>::from(F::from_repr(self.0)).unwrap_or(F::ZERO)
    }

    /// Bytes to a uniform element: BLAKE3 `derive_key` under `context`, 64 bytes out, reduced
    /// mod r (PROTOCOL, *Units and ids*). Every part is preceded by its length, so that no two
    /// lists of parts feed the hash the same bytes.
    pub fn derive(context: &str, parts: &[&[u8]]) -> Self {
        let mut wide = [0u8; 64];
        derive_reader(context, parts).fill(&mut wide);
        Node::from_scalar(&bls12_381::Scalar::from_bytes_wide(&wide))
    }
}

impl From<u64> for Node {
    /// The element of a small integer.
    fn from(integer: u64) -> Self {
        let mut bytes = [0; 32];
        if let Some(low) = bytes.first_chunk_mut::<8>() {
            *low = integer.to_le_bytes();
        }
        Node(bytes)
    }
}

/// The stream of bytes that `context` and `parts` derive: challenges are read from it.
pub(crate) fn derive_reader(context: &str, parts: &[&[u8]]) -> blake3::OutputReader {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize_xof()
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({self})")
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = crate::bytes::deserialize_fixed::<32, D>(deserializer)?;
        Node::from_bytes(bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_order_is_refused_and_the_element_below_it_is_read() {
        let minus_one = Node::from_scalar(&-bls12_381::Scalar::one());
        assert_eq!(Node::from_bytes(minus_one.to_bytes()), Ok(minus_one));
        let mut order = minus_one.to_bytes();
        order[0] += 1;
        assert_eq!(Node::from_bytes(order), Err(NonCanonical));
        assert_eq!(Node::from_bytes([0xff; 32]), Err(NonCanonical));
    }

    #[test]
    fn small_integers_are_the_elements_of_their_value() {
        for integer in [0, 1, 255, 256, 1 << 40 | 5 << 32 | 7, u64::MAX] {
            let scalar = bls12_381::Scalar::from(integer);
            assert_eq!(Node::from(integer), Node::from_scalar(&scalar));
        }
    }

    #[test]
    fn derived_elements_depend_on_context_and_on_where_parts_end() {
        let ab_c = Node::derive("holdfast test 1", &[b"ab", b"c"]);
        assert_ne!(ab_c, Node::derive("holdfast test 1", &[b"a", b"bc"]));
        assert_ne!(ab_c, Node::derive("holdfast test 2", &[b"ab", b"c"]));
    }
}
