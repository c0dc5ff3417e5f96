//! Poseidon2 over the scalar field of BLS12-381: the one permutation of labels, columns, trees,
//! pieces and circuits.
//!
//! Widths 8 and 16, S-box x^5, 8 full and 57 partial rounds; permutation plus feed-forward, first
//! element, as a compression function. Width 8 equals the published instance; width 16 takes its
//! round constants from the same derivation and an internal diagonal of small integers, so that
//! the internal layer needs additions only (`SECURITY.md`, *Hash*).
//!
//! One round constant is added *before* each S-box. The order, which circuits follow: external
//! matrix; four full rounds (add constants, S-box on every element, external matrix); 57 partial
//! rounds (add the constant to element 0, S-box on element 0, internal matrix); four full rounds.

// Widths are constants and every index here is below its array's length by construction.
#![allow(clippy::indexing_slicing)]

#[cfg(test)]
mod conditions;
mod derive;
#[cfg(feature = "prove")]
pub mod lanes;
mod words;

use crate::node::Node;
use ff::PrimeField;
use std::any::{Any, TypeId};
use std::sync::{PoisonError, RwLock};

/// Full rounds: half before the partial rounds and half after.
pub const FULL_ROUNDS: usize = 8;
/// Partial rounds, for both widths.
pub const PARTIAL_ROUNDS: usize = 57;

/// The internal matrix of width 16 is all ones plus this diagonal: sixteen distinct integers
/// (equal ones would leave an invariant subspace), neither 0 nor -1, the cheapest by additions for
/// which the published conditions hold (checked in `conditions`).
pub const SMALL_DIAGONAL_16: [i8; 16] = [1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 8, -8, 7, -10, 16];

/// What a permutation of width `T` is made of, in one library's scalar.
#[derive(Debug)]
pub struct Constants<F, const T: usize> {
    /// Added to all elements in each full round; the first four before the partial rounds.
    pub full: [[F; T]; FULL_ROUNDS],
    /// Added to element 0 in each partial round.
    pub partial: [F; PARTIAL_ROUNDS],
    /// The internal matrix is all ones plus this diagonal: element i becomes
    /// `diagonal[i] * state[i] + sum(state)`.
    pub diagonal: [F; T],
}

/// The constants of width 8.
pub fn constants8<F: PrimeField<Repr = [u8; 32]>>() -> &'static Constants<F, 8> {
    cached(derive::constants8::<F>)
}

/// The constants of width 16.
pub fn constants16<F: PrimeField<Repr = [u8; 32]>>() -> &'static Constants<F, 16> {
    cached(derive::constants16::<F>)
}

/// One entry for each scalar type and width in use: at most four.
type Cache = Vec<(TypeId, &'static (dyn Any + Send + Sync))>;

/// The value of type `V`, made once in the life of the process.
fn cached<V: Any + Send + Sync>(make: fn() -> V) -> &'static V {
    static CACHE: RwLock<Cache> = RwLock::new(Vec::new());
    let find = |cache: &Cache| {
        let (_, value) = cache.iter().find(|(key, _)| *key == TypeId::of::<V>())?;
        value.downcast_ref::<V>()
    };
    if let Some(value) = find(&CACHE.read().unwrap_or_else(PoisonError::into_inner)) {
        return value;
    }
    let mut cache = CACHE.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = find(&cache) {
        return value;
    }
    let value: &'static V = Box::leak(Box::new(make()));
    cache.push((TypeId::of::<V>(), value));
    value
}

/// Compresses eight elements to one.
pub fn hash8<F: PrimeField<Repr = [u8; 32]>>(inputs: &[F; 8]) -> F {
    let mut state = *inputs;
    constants8::<F>().permute(&mut state);
    state[0] + inputs[0]
}

/// Compresses sixteen elements to one.
pub fn hash16<F: PrimeField<Repr = [u8; 32]>>(inputs: &[F; 16]) -> F {
    let mut state = *inputs;
    constants16::<F>().permute(&mut state);
    state[0] + inputs[0]
}

/// Compresses eight nodes to one: the step of every tree.
pub fn hash8_nodes(children: &[Node; 8]) -> Node {
    words::hash8(children)
}

/// Compresses each family of eight: a whole level of a tree.
pub fn hash8_each(families: &[[Node; 8]]) -> Vec<Node> {
    #[cfg(feature = "prove")]
    return lanes::hash8_each(families);
    #[cfg(not(feature = "prove"))]
    families.iter().map(hash8_nodes).collect()
}

/// Compresses sixteen nodes to one: the step of a label.
pub fn hash16_nodes(inputs: &[Node; 16]) -> Node {
    words::hash16(inputs)
}

/// The scalar of native arithmetic: assembly where it is compiled in.
#[cfg(feature = "prove")]
pub(crate) type Native = blstrs::Scalar;
/// The scalar of native arithmetic: pure Rust in a build that only verifies.
#[cfg(not(feature = "prove"))]
pub(crate) type Native = bls12_381::Scalar;

impl<F: PrimeField> Constants<F, 8> {
    /// The permutation.
    pub fn permute(&self, state: &mut [F; 8]) {
        self.rounds(state, |state| {
            let sum = sum(state);
            for (element, factor) in state.iter_mut().zip(&self.diagonal) {
                *element *= factor;
                *element += &sum;
            }
        });
    }
}

impl<F: PrimeField> Constants<F, 16> {
    /// The permutation.
    pub fn permute(&self, state: &mut [F; 16]) {
        self.rounds(state, internal16);
    }
}

impl<F: PrimeField, const T: usize> Constants<F, T> {
    #[inline(always)]
    fn rounds(&self, state: &mut [F; T], internal: impl Fn(&mut [F; T])) {
        external(state);
        let (first, last) = self.full.split_at(FULL_ROUNDS / 2);
        for constants in first {
            full_round(state, constants);
        }
        for constant in &self.partial {
            state[0] += constant;
            fifth_power(&mut state[0]);
            internal(state);
        }
        for constants in last {
            full_round(state, constants);
        }
    }
}

#[inline(always)]
fn full_round<F: PrimeField, const T: usize>(state: &mut [F; T], constants: &[F; T]) {
    for (element, constant) in state.iter_mut().zip(constants) {
        *element += constant;
        fifth_power(element);
    }
    external(state);
}

#[inline(always)]
fn fifth_power<F: PrimeField>(element: &mut F) {
    let fourth = element.square().square();
    *element *= &fourth;
}

#[inline(always)]
fn sum<F: PrimeField, const T: usize>(state: &[F; T]) -> F {
    let mut sum = state[0];
    for element in &state[1..] {
        sum += element;
    }
    sum
}

/// circ(2 M4, M4, ..., M4), with the paper's M4 in eight additions and four doublings.
#[inline(always)]
fn external<F: PrimeField, const T: usize>(state: &mut [F; T]) {
    let mut sums = [F::ZERO; 4];
    for four in state.chunks_exact_mut(4) {
        let [a, b, c, d] = [four[0], four[1], four[2], four[3]];
        let ab = a + b;
        let cd = c + d;
        let b2_cd = b.double() + cd;
        let d2_ab = d.double() + ab;
        let fourth = cd.double().double() + d2_ab;
        let second = ab.double().double() + b2_cd;
        let row = [d2_ab + second, second, b2_cd + fourth, fourth];
        for i in 0..4 {
            sums[i] += &row[i];
        }
        four.copy_from_slice(&row);
    }
    for four in state.chunks_exact_mut(4) {
        for i in 0..4 {
            four[i] += &sums[i];
        }
    }
}

/// All ones plus [`SMALL_DIAGONAL_16`], by additions.
#[inline(always)]
fn internal16<F: PrimeField>(s: &mut [F; 16]) {
    let sum = sum(s);
    let twice: [F; 16] = std::array::from_fn(|i| s[i].double());
    s[0] += &sum;
    s[1] = sum + twice[1];
    s[2] = sum - twice[2];
    s[3] += twice[3] + sum;
    s[4] = sum - (s[4] + twice[4]);
    s[5] = sum + twice[5].double();
    s[6] = sum - twice[6].double();
    s[7] += twice[7].double() + sum;
    s[8] = sum - (s[8] + twice[8].double());
    s[9] = sum + (twice[9] + twice[9].double());
    s[10] = sum - (twice[10] + twice[10].double());
    s[11] = sum + twice[11].double().double();
    s[12] = sum - twice[12].double().double();
    s[13] = sum + twice[13].double().double() - s[13];
    s[14] = sum - (twice[14] + twice[14].double().double());
    s[15] = sum + twice[15].double().double().double();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bls12_381::Scalar;
    use ff::Field;
    use proptest::prelude::*;
    use zkhash::ark_ff::{BigInteger, PrimeField as ArkField};
    use zkhash::fields::bls12::FpBLS12;
    use zkhash::poseidon2::{poseidon2::Poseidon2, poseidon2_instance_bls12 as published};

    fn node(element: &FpBLS12) -> Node {
        let bytes: [u8; 32] = element.into_bigint().to_bytes_le().try_into().unwrap();
        Node::from_bytes(bytes).unwrap()
    }

    fn nodes<const T: usize>() -> impl Strategy<Value = [Node; T]> {
        proptest::array::uniform(
            any::<[u8; 16]>().prop_map(|b| Node::derive("holdfast test", &[&b])),
        )
    }

    #[test]
    fn width_8_has_the_published_constants() {
        let ours = constants8::<Scalar>();
        let partial = 4..4 + PARTIAL_ROUNDS;
        let mut full = ours.full.iter();
        for (round, theirs) in published::RC8.iter().enumerate() {
            if partial.contains(&round) {
                assert_eq!(
                    Node::from_scalar(&ours.partial[round - 4]),
                    node(&theirs[0])
                );
            } else {
                let ours: Vec<Node> = full.next().unwrap().iter().map(Node::from_scalar).collect();
                assert_eq!(ours, theirs.iter().map(node).collect::<Vec<_>>());
            }
        }
        let diagonal: Vec<Node> = ours.diagonal.iter().map(Node::from_scalar).collect();
        assert_eq!(
            diagonal,
            published::MAT_DIAG8_M_1
                .iter()
                .map(node)
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_small_diagonal_is_the_one_that_the_additions_compute() {
        let diagonal = constants16::<Scalar>().diagonal;
        for (i, small) in SMALL_DIAGONAL_16.iter().enumerate() {
            let magnitude = Scalar::from(u64::from(small.unsigned_abs()));
            let value = if *small < 0 { -magnitude } else { magnitude };
            assert_eq!(diagonal[i], value);
            let mut unit = [Scalar::ZERO; 16];
            unit[i] = Scalar::ONE;
            internal16(&mut unit);
            for (j, entry) in unit.into_iter().enumerate() {
                assert_eq!(
                    entry,
                    if i == j {
                        value + Scalar::ONE
                    } else {
                        Scalar::ONE
                    }
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn width_8_is_the_published_permutation(input in nodes::<8>()) {
            let reference = Poseidon2::new(&published::POSEIDON2_BLS_8_PARAMS);
            let theirs: Vec<FpBLS12> =
                input.iter().map(|n| FpBLS12::from_le_bytes_mod_order(n.as_bytes())).collect();
            let mut ours = input.map(|n| n.to_scalar::<Scalar>());
            constants8().permute(&mut ours);
            let ours: Vec<Node> = ours.iter().map(Node::from_scalar).collect();
            prop_assert_eq!(ours, reference.permutation(&theirs).iter().map(node).collect::<Vec<_>>());
        }

        #[test]
        fn native_hashing_equals_hashing_in_pure_rust(input in nodes::<16>()) {
            let pure = hash16(&input.map(|n| n.to_scalar::<Scalar>()));
            prop_assert_eq!(hash16_nodes(&input), Node::from_scalar(&pure));
            let half: [Node; 8] = input[..8].try_into().unwrap();
            let pure = hash8(&half.map(|n| n.to_scalar::<Scalar>()));
            prop_assert_eq!(hash8_nodes(&half), Node::from_scalar(&pure));
        }
    }

    #[test]
    fn native_hashing_holds_at_the_extremes_of_the_field() {
        let largest = Node::from_scalar(&-Scalar::one());
        for mask in [0u32, 1, 2, 0x8000, 0x5555, 0x00ff, 0xfffe, 0xffff] {
            let place = |i: usize| {
                if mask >> i & 1 == 1 {
                    largest
                } else {
                    Node::ZERO
                }
            };
            let input: [Node; 16] = std::array::from_fn(place);
            let pure = hash16(&input.map(|n| n.to_scalar::<Scalar>()));
            assert_eq!(hash16_nodes(&input), Node::from_scalar(&pure), "{mask:x}");
            let half: [Node; 8] = std::array::from_fn(place);
            let pure = hash8(&half.map(|n| n.to_scalar::<Scalar>()));
            assert_eq!(hash8_nodes(&half), Node::from_scalar(&pure), "{mask:x}");
        }
    }

    /// Computed a second time by a separate program from the paper's matrices written out.
    #[test]
    fn hashes_of_counting_inputs_are_pinned() {
        let count = |i: usize| Node::from_scalar(&Scalar::from(i as u64));
        assert_eq!(
            hash8_nodes(&std::array::from_fn(count)).to_string(),
            "44fd57557c3d286df2cfb2e1c9dd8765d488b0cbd645253b47c495a3e5708a63"
        );
        assert_eq!(
            hash16_nodes(&std::array::from_fn(count)).to_string(),
            "f2dc8ffde805675be2c64e647bf350bd7622b5f824811ff7c25f1524cc718d49"
        );
    }
}
