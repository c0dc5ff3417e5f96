//! Bytes in nodes: 127 bytes, 1016 bits, fill four elements of 254 bits.

use crate::node::Node;

/// Bytes that are packed together.
pub const QUAD_BYTES: usize = 127;
/// Nodes that hold them.
pub const QUAD_NODES: usize = 4;

/// A node that holds more than 254 bits, so was not made from data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node {0} is not packed data: it has more than 254 bits")]
pub struct NotData(pub usize);

/// Packs 127 bytes: node k holds bits 254k to 254k + 253, the first bit lowest.
pub fn pack_127(bytes: &[u8; QUAD_BYTES]) -> [Node; QUAD_NODES] {
    let mut wide = [0u8; 128];
    for (to, from) in wide.iter_mut().zip(bytes) {
        *to = *from;
    }
    let words = words_of(&wide);
    std::array::from_fn(|k| {
        let bits = std::array::from_fn(|i| word_at(&words, 254 * k + 64 * i));
        node_of(bits)
    })
}

/// Four words of which the low 254 bits count, as a node: below 2^254, so canonical.
fn node_of([a, b, c, d]: [u64; 4]) -> Node {
    let mut bytes = [0; 32];
    let (places, _) = bytes.as_chunks_mut::<8>();
    for (place, word) in places.iter_mut().zip([a, b, c, d & (u64::MAX >> 2)]) {
        *place = word.to_le_bytes();
    }
    Node::from_bytes(bytes).unwrap_or_default()
}

fn words_of(bytes: &[u8; 128]) -> [u64; 16] {
    let (words, _) = bytes.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    std::array::from_fn(|_| words.next().unwrap_or(0))
}

/// The 64 bits from bit `start` on; zeros after the end.
fn word_at(words: &[u64], start: usize) -> u64 {
    let word = |i: usize| words.get(i).copied().unwrap_or(0);
    let (place, shift) = (start / 64, start % 64);
    match shift {
        0 => word(place),
        _ => word(place) >> shift | word(place + 1) << (64 - shift),
    }
}

/// The 127 bytes of four nodes.
///
/// # Errors
/// [`NotData`] names the first of the four that has more than 254 bits.
pub fn unpack_127(nodes: &[Node; QUAD_NODES]) -> Result<[u8; QUAD_BYTES], NotData> {
    let mut wide = [0u64; 17];
    for (k, node) in nodes.iter().enumerate() {
        let (words, _) = node.as_bytes().as_chunks::<8>();
        for (i, word) in words.iter().enumerate() {
            let value = u64::from_le_bytes(*word);
            if i == 3 && value >> 62 != 0 {
                return Err(NotData(k));
            }
            let (place, shift) = ((254 * k + 64 * i) / 64, (254 * k + 64 * i) % 64);
            let high = if shift == 0 { 0 } else { value >> (64 - shift) };
            for (at, part) in [(place, value << shift), (place + 1, high)] {
                if let Some(slot) = wide.get_mut(at) {
                    *slot |= part;
                }
            }
        }
    }
    let mut bytes = wide.iter().flat_map(|word| word.to_le_bytes());
    Ok(std::array::from_fn(|_| bytes.next().unwrap_or(0)))
}

/// Packs bytes of any length, with zeros after the end up to whole quads.
pub fn pack(bytes: &[u8]) -> Vec<Node> {
    let mut nodes = Vec::with_capacity(bytes.len().div_ceil(QUAD_BYTES) * QUAD_NODES);
    pack_into(bytes, &mut nodes);
    nodes
}

/// Appends what [`pack`] makes of the bytes.
pub(super) fn pack_into(bytes: &[u8], nodes: &mut Vec<Node>) {
    let (quads, rest) = bytes.as_chunks::<QUAD_BYTES>();
    for quad in quads {
        nodes.extend(pack_127(quad));
    }
    if !rest.is_empty() {
        let mut last = [0; QUAD_BYTES];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        nodes.extend(pack_127(&last));
    }
}

/// The bytes of whole quads of nodes; nodes after the last whole quad are left out.
///
/// # Errors
/// [`NotData`] names the first node that has more than 254 bits.
pub fn unpack(nodes: &[Node]) -> Result<Vec<u8>, NotData> {
    let (quads, _) = nodes.as_chunks::<QUAD_NODES>();
    let mut bytes = Vec::with_capacity(quads.len() * QUAD_BYTES);
    for (place, quad) in quads.iter().enumerate() {
        let unpacked = unpack_127(quad).map_err(|NotData(k)| NotData(place * QUAD_NODES + k))?;
        bytes.extend_from_slice(&unpacked);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    /// Bit by bit, as the definition reads.
    fn naive(bytes: &[u8; 127]) -> [[u8; 32]; 4] {
        let mut nodes = [[0u8; 32]; 4];
        for bit in 0..1016 {
            let (node, place) = (bit / 254, bit % 254);
            nodes[node][place / 8] |= (bytes[bit / 8] >> (bit % 8) & 1) << (place % 8);
        }
        nodes
    }

    proptest! {
        #[test]
        fn packing_is_bit_by_bit_and_comes_back(
            bytes in proptest::collection::vec(any::<u8>(), 127)
        ) {
            let bytes: [u8; 127] = bytes.try_into().unwrap();
            let nodes = pack_127(&bytes);
            prop_assert_eq!(nodes.map(Node::to_bytes), naive(&bytes));
            prop_assert_eq!(unpack_127(&nodes), Ok(bytes));
        }

        #[test]
        fn any_length_comes_back_with_zeros(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let nodes = pack(&bytes);
            prop_assert_eq!(nodes.len(), bytes.len().div_ceil(127) * 4);
            let mut back = unpack(&nodes).unwrap();
            prop_assert!(back.split_off(bytes.len()).iter().all(|byte| *byte == 0));
            prop_assert_eq!(back, bytes);
        }
    }

    #[test]
    fn a_node_of_more_bits_is_not_data() {
        let mut nodes = pack(&[255; 254]);
        let largest = Node::from_scalar(&-bls12_381::Scalar::one());
        nodes[6] = largest;
        assert_eq!(unpack(&nodes), Err(NotData(6)));
    }
}
