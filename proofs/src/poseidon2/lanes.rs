//! Eight hashes at once, one in each lane of a sector: with AVX-512 IFMA where the processor has
//! it, one after the other where it does not.

#[cfg(target_arch = "x86_64")]
mod ifma;

use super::{hash8_nodes, hash16_nodes};
use crate::node::Node;
use std::array::from_fn;

/// One node in each lane.
pub type Row = [Node; 8];

/// Compresses sixteen nodes to one in each lane: input i of lane l is `inputs[i][l]`.
pub fn hash16_lanes(inputs: &[Row; 16]) -> Row {
    #[cfg(target_arch = "x86_64")]
    if let Some(hashes) = ifma::hash16(inputs) {
        return hashes;
    }
    from_fn(|lane| hash16_nodes(&inputs.map(|input| input[lane])))
}

/// Compresses eight nodes to one in each lane: input i of lane l is `inputs[i][l]`.
pub fn hash8_lanes(inputs: &[Row; 8]) -> Row {
    let [row] = hash8_rows([inputs.each_ref()]);
    row
}

/// Compresses eight nodes to one in each lane, for two families of rows at once: faster than one
/// after the other.
pub fn hash8_two(families: [[&Row; 8]; 2]) -> [Row; 2] {
    hash8_rows(families)
}

fn hash8_rows<const N: usize>(families: [[&Row; 8]; N]) -> [Row; N] {
    hash8_nodes_of(families.map(|rows| rows.map(|row| row.each_ref())))
}

/// Input i of lane l of family n is `inputs[n][i][l]`.
fn hash8_nodes_of<const N: usize>(inputs: [[[&Node; 8]; 8]; N]) -> [Row; N] {
    #[cfg(target_arch = "x86_64")]
    if let Some(hashes) = ifma::hash8(inputs) {
        return hashes;
    }
    inputs.map(|inputs| from_fn(|lane| hash8_nodes(&inputs.map(|input| *input[lane]))))
}

/// Compresses each family of eight, in lanes sixteen families at a time.
pub(super) fn hash8_each(families: &[[Node; 8]]) -> Vec<Node> {
    if !in_lanes() {
        return families.iter().map(hash8_nodes).collect();
    }
    let mut parents = Vec::with_capacity(families.len());
    let (sixteens, rest) = families.as_chunks::<16>();
    for sixteen in sixteens {
        let half = |n: usize| from_fn(|i| from_fn(|lane| &sixteen[8 * n + lane][i]));
        parents.extend(hash8_nodes_of([half(0), half(1)]).iter().flatten());
    }
    let (eights, rest) = rest.as_chunks::<8>();
    for eight in eights {
        let [row] = hash8_nodes_of([from_fn(|i| from_fn(|lane| &eight[lane][i]))]);
        parents.extend(row);
    }
    parents.extend(rest.iter().map(hash8_nodes));
    parents
}

/// Whether lanes are hashed at once here.
pub fn in_lanes() -> bool {
    #[cfg(target_arch = "x86_64")]
    if ifma::available() {
        return true;
    }
    false
}

/// What hashes here: for benches and for what a provider is told at set-up.
pub fn kernel() -> &'static str {
    if in_lanes() {
        "AVX-512 IFMA, eight lanes at once"
    } else {
        scalar_kernel()
    }
}

/// What hashes a node that comes alone, here.
pub fn scalar_kernel() -> &'static str {
    super::words::kernel()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation)]
    use super::*;
    use proptest::prelude::*;

    /// Uniform nodes, and now and then the extremes of the field and single bits.
    fn node() -> impl Strategy<Value = Node> {
        let minus = |small: u64| Node::from_scalar(&-bls12_381::Scalar::from(small));
        prop_oneof![
            8 => any::<[u8; 16]>().prop_map(|bytes| Node::derive("holdfast test", &[&bytes])),
            1 => Just(Node::ZERO),
            1 => Just(Node::from_scalar(&bls12_381::Scalar::one())),
            1 => Just(minus(1)),
            1 => Just(minus(2)),
            2 => (0u32..255).prop_map(|bit| {
                let mut bytes = [0; 32];
                bytes[bit as usize / 8] = 1 << (bit % 8);
                Node::from_bytes(bytes).unwrap_or_default()
            }),
            // All ones below a bit: whole limbs and words of ones.
            2 => (0u32..255).prop_map(|bit| {
                Node::from_bytes(from_fn(|i| {
                    let left = (bit as usize).saturating_sub(8 * i).min(8);
                    ((1u16 << left) - 1) as u8
                }))
                .unwrap_or_default()
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn lanes_hash_as_single_nodes_do(
            inputs in proptest::collection::vec(proptest::array::uniform8(node()), 16)
        ) {
            let wide: [Row; 16] = from_fn(|i| inputs[i]);
            let expected: Row = from_fn(|lane| hash16_nodes(&wide.map(|input| input[lane])));
            prop_assert_eq!(hash16_lanes(&wide), expected);
            let half: [Row; 8] = from_fn(|i| inputs[i]);
            let expected: Row = from_fn(|lane| hash8_nodes(&half.map(|input| input[lane])));
            prop_assert_eq!(hash8_lanes(&half), expected);
            let other: [Row; 8] = from_fn(|i| inputs[8 + i]);
            let beside: Row = from_fn(|lane| hash8_nodes(&other.map(|input| input[lane])));
            let two = hash8_two([half.each_ref(), other.each_ref()]);
            prop_assert_eq!(two, [expected, beside]);
        }
    }

    #[test]
    fn equal_extremes_in_every_place_hash_as_single_nodes_do() {
        let largest = Node::from_scalar(&-bls12_381::Scalar::one());
        for extreme in [Node::ZERO, largest] {
            assert_eq!(
                hash16_lanes(&[[extreme; 8]; 16]),
                [hash16_nodes(&[extreme; 16]); 8]
            );
            assert_eq!(
                hash8_lanes(&[[extreme; 8]; 8]),
                [hash8_nodes(&[extreme; 8]); 8]
            );
        }
    }

    #[test]
    fn families_are_hashed_in_order_whatever_their_number() {
        let families: Vec<[Node; 8]> = (0u64..16 + 8 + 3)
            .map(|i| from_fn(|j| Node::derive("holdfast test", &[&i.to_le_bytes(), &[j as u8]])))
            .collect();
        let expected: Vec<Node> = families.iter().map(hash8_nodes).collect();
        assert_eq!(hash8_each(&families), expected);
    }
}
