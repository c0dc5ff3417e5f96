//! The native hash on 64-bit words: what verifies everywhere, and what seals where the processor
//! has no AVX-512.
//!
//! An element is four words in Montgomery form with R = 2^256. Since r is 0.453 R, a product of
//! a and b is below `0.453 a b / r + r`: no factor needs to be fully reduced. Linear layers work on
//! five words in two's complement; bounds are written where they arise.
//!
//! Multiplication is in Rust, and in a build that proves also in assembly, for processors with
//! `mulx`, `adcx` and `adox`. That is no vector code, and stays in use with `HOLDFAST_SIMD=off`.

// Indices are below the lengths of arrays.
#![allow(clippy::indexing_slicing)]

#[cfg(all(feature = "prove", target_arch = "x86_64"))]
mod adx;
mod arithmetic;
mod wide;

use super::{
    Constants, FULL_ROUNDS, Native, PARTIAL_ROUNDS, SMALL_DIAGONAL_16, constants8, constants16,
};
use crate::node::Node;
use arithmetic::{Arithmetic, Factor, Portable, product};
use ff::Field;
use std::array::from_fn;
use std::sync::OnceLock;
use wide::{ORDER, Wide, Words, difference, reduce, sum, times, widen};

/// Partial rounds of width 16 between reductions.
const BATCH: usize = 7;
/// 2^40 r, which is added before a reduction to what may be negative.
const BIAS: Wide = [
    ORDER[0] << 40,
    ORDER[1] << 40 | ORDER[0] >> 24,
    ORDER[2] << 40 | ORDER[1] >> 24,
    ORDER[3] << 40 | ORDER[2] >> 24,
    ORDER[3] >> 24,
];

/// Constants in Montgomery form.
struct Table<const T: usize> {
    full: [[Wide; T]; FULL_ROUNDS],
    partial: [Wide; PARTIAL_ROUNDS],
    /// Brings an element into Montgomery form.
    entry: Factor,
}

/// 2^256, by which a number in Montgomery form is multiplied.
fn montgomery_radix() -> Native {
    Field::pow_vartime(&Native::from(2), [256])
}

fn factor(scalar: &Native) -> Factor {
    from_fn(|i| {
        let power = Field::pow_vartime(&Native::from(2), [64 * (i as u64 + 1)]);
        words(&Node::from_scalar(&(power * scalar)))
    })
}

impl<const T: usize> Table<T> {
    /// With something that is added to the constants of partial rounds.
    fn new(constants: &Constants<Native, T>, bias: &Wide) -> Self {
        let radix = montgomery_radix();
        let montgomery = |scalar: &Native| widen(words(&Node::from_scalar(&(radix * scalar))));
        Table {
            full: constants
                .full
                .each_ref()
                .map(|round| round.each_ref().map(montgomery)),
            partial: constants
                .partial
                .map(|constant| sum(&montgomery(&constant), bias)),
            entry: factor(&radix),
        }
    }
}

/// The table of width 8, and what its internal matrix multiplies by.
struct Table8 {
    table: Table<8>,
    /// Of element 0 the diagonal's entry and one, of the others the diagonal's entries.
    first: Factor,
    others: [Factor; 7],
}

impl Table8 {
    fn new(constants: &Constants<Native, 8>) -> Self {
        let [first, others @ ..] = &constants.diagonal;
        Table8 {
            table: Table::new(constants, &[0; 5]),
            first: factor(&(first + Native::ONE)),
            others: others.each_ref().map(factor),
        }
    }
}

/// What hashes one node at a time here.
#[cfg(feature = "prove")]
pub(super) fn kernel() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if adx::Adx::detect().is_some() {
        return "scalar, mulx and adcx";
    }
    "scalar, portable"
}

/// Compresses sixteen nodes to one.
pub(super) fn hash16(inputs: &[Node; 16]) -> Node {
    #[cfg(all(feature = "prove", target_arch = "x86_64"))]
    if let Some(adx) = adx::Adx::detect() {
        return hash16_with(adx, inputs);
    }
    hash16_with(Portable, inputs)
}

/// Compresses eight nodes to one.
pub(super) fn hash8(inputs: &[Node; 8]) -> Node {
    #[cfg(all(feature = "prove", target_arch = "x86_64"))]
    if let Some(adx) = adx::Adx::detect() {
        return hash8_with(adx, inputs);
    }
    hash8_with(Portable, inputs)
}

fn hash16_with(arithmetic: impl Arithmetic, inputs: &[Node; 16]) -> Node {
    static TABLE: OnceLock<Table<16>> = OnceLock::new();
    let table = TABLE.get_or_init(|| Table::new(constants16(), &BIAS));
    let elements = load(arithmetic, inputs, &table.entry);
    let mut state = [[0; 5]; 16];
    external(&elements, &mut state);
    for constants in &table.full[..FULL_ROUNDS / 2] {
        full_round(arithmetic, &mut state, constants);
    }
    // The full rounds leave elements below 169r, all positive: within 2^263.
    for element in &mut state[1..] {
        *element = widen(reduce(element));
    }
    for batch in table.partial.chunks(BATCH) {
        // Each round multiplies the largest magnitude by at most 32: from 2^255 to 2^290.
        for constant in batch {
            let mut one = [reduce(&sum(&state[0], constant))];
            fifth_powers(arithmetic, &mut one, &mut [[0; 4]], &mut [[0; 4]]);
            state[0] = widen(one[0]);
            internal16(&mut state);
        }
        for element in &mut state[1..] {
            *element = widen(reduce(&sum(element, &BIAS)));
        }
    }
    state[0] = widen(reduce(&sum(&state[0], &BIAS)));
    for constants in &table.full[FULL_ROUNDS / 2..] {
        full_round(arithmetic, &mut state, constants);
    }
    store(&sum(&state[0], &widen(elements[0])))
}

fn hash8_with(arithmetic: impl Arithmetic, inputs: &[Node; 8]) -> Node {
    static TABLE: OnceLock<Table8> = OnceLock::new();
    let all = TABLE.get_or_init(|| Table8::new(constants8()));
    let table = &all.table;
    let elements = load(arithmetic, inputs, &table.entry);
    let mut state = [[0; 5]; 8];
    external(&elements, &mut state);
    for constants in &table.full[..FULL_ROUNDS / 2] {
        full_round(arithmetic, &mut state, constants);
    }
    let mut one = [reduce(&sum(&state[0], &table.partial[0]))];
    let mut others: [Words; 7] = from_fn(|i| reduce(&state[i + 1]));
    let [mut square, mut fourth] = [[0; 4]; 2];
    fifth_powers(arithmetic, &mut one, &mut [square], &mut [fourth]);
    let [mut one] = one;
    // Here element 0 has been through the S-box, and the internal matrix is due. What becomes of
    // the others is needed only at the end of the next round: it is computed between the steps
    // of that round's S-box, each of which waits for the one before.
    let [b, c, d, e, f, g, h] = &all.others;
    for constant in &table.partial[1..] {
        let (sum_of_all, of_others) = sums(&one, &others);
        arithmetic.scale(&mut one, &all.first, &sum(&of_others, constant));
        arithmetic.scale(&mut others[0], b, &sum_of_all);
        arithmetic.scale(&mut others[1], c, &sum_of_all);
        arithmetic.square(&one, &mut square);
        arithmetic.scale(&mut others[2], d, &sum_of_all);
        arithmetic.scale(&mut others[3], e, &sum_of_all);
        arithmetic.square(&square, &mut fourth);
        arithmetic.scale(&mut others[4], f, &sum_of_all);
        arithmetic.scale(&mut others[5], g, &sum_of_all);
        arithmetic.multiply(&mut one, &fourth);
        arithmetic.scale(&mut others[6], h, &sum_of_all);
    }
    let (sum_of_all, of_others) = sums(&one, &others);
    arithmetic.scale(&mut one, &all.first, &of_others);
    scale_each(arithmetic, &mut others, &all.others, &sum_of_all);
    let [b, c, d, e, f, g, h] = others;
    let mut state = [one, b, c, d, e, f, g, h].map(widen);
    for constants in &table.full[FULL_ROUNDS / 2..] {
        full_round(arithmetic, &mut state, constants);
    }
    store(&sum(&state[0], &widen(elements[0])))
}

/// The sum of all elements and of all but the first: below 10.1r and 8r, since a fifth power is
/// below 2.11r, and the others, out of [`Arithmetic::scale`], are below 1.1381r.
#[inline(always)]
fn sums(first: &Words, others: &[Words; 7]) -> (Wide, Wide) {
    let of_others = others
        .iter()
        .fold([0; 5], |all, element| sum(&all, &widen(*element)));
    (sum(&of_others, &widen(*first)), of_others)
}

/// Not unrolled into its callers, as [`fifth_powers`]: their code would outgrow the caches.
#[inline(never)]
fn scale_each(
    arithmetic: impl Arithmetic,
    elements: &mut [Words],
    factors: &[Factor],
    plus: &Wide,
) {
    for (element, factor) in elements.iter_mut().zip(factors) {
        arithmetic.scale(element, factor, plus);
    }
}

/// From positive elements within 2^296; leaves them below 169r.
fn full_round<const T: usize>(
    arithmetic: impl Arithmetic,
    state: &mut [Wide; T],
    constants: &[Wide; T],
) {
    let mut elements: [Words; T] = from_fn(|i| reduce(&sum(&state[i], &constants[i])));
    fifth_powers(
        arithmetic,
        &mut elements,
        &mut [[0; 4]; T],
        &mut [[0; 4]; T],
    );
    external(&elements, state);
}

/// x^5 of elements below 1.1381r: the square is below 1.59r, its square below 2.14r, and the
/// product below 2.11r, all below 2^256 = 2.208r.
///
/// All squares come first, then theirs, then the products: each of those three waits for the one
/// before, and meanwhile the processor has the other elements'.
#[inline(never)]
fn fifth_powers(
    arithmetic: impl Arithmetic,
    elements: &mut [Words],
    squares: &mut [Words],
    fourths: &mut [Words],
) {
    for (element, square) in elements.iter().zip(&mut *squares) {
        arithmetic.square(element, square);
    }
    for (square, fourth) in squares.iter().zip(&mut *fourths) {
        arithmetic.square(square, fourth);
    }
    for (element, fourth) in elements.iter_mut().zip(&*fourths) {
        arithmetic.multiply(element, fourth);
    }
}

/// circ(2 M4, M4, ...): rows sum to 80 or 48.
///
/// Multiples are sums with what is there: compilers make slow shifts of what is doubled.
#[inline(never)]
fn external<const T: usize>(elements: &[Words; T], state: &mut [Wide; T]) {
    let mut sums = [[0; 5]; 4];
    for (elements, four) in elements.chunks_exact(4).zip(state.chunks_exact_mut(4)) {
        let [a, b, c, d] = from_fn(|i| widen(elements[i]));
        let ab = sum(&a, &b);
        let cd = sum(&c, &d);
        let b2_cd = sum(&b, &sum(&b, &cd));
        let d2_ab = sum(&d, &sum(&d, &ab));
        let fourth = four_times_and(&cd, &d2_ab);
        let second = four_times_and(&ab, &b2_cd);
        let first = sum(&d2_ab, &second);
        let third = sum(&b2_cd, &fourth);
        for (i, row) in [first, second, third, fourth].into_iter().enumerate() {
            sums[i] = sum(&sums[i], &row);
            four[i] = row;
        }
    }
    for four in state.chunks_exact_mut(4) {
        for i in 0..4 {
            four[i] = sum(&four[i], &sums[i]);
        }
    }
}

#[inline(always)]
fn four_times_and(x: &Wide, plus: &Wide) -> Wide {
    sum(x, &sum(x, &sum(x, &sum(x, plus))))
}

/// All ones plus the small diagonal.
#[inline(always)]
fn internal16(state: &mut [Wide; 16]) {
    let all = state[1..]
        .iter()
        .fold(state[0], |all, element| sum(&all, element));
    for (element, factor) in state.iter_mut().zip(SMALL_DIAGONAL_16) {
        let product = times(element, u64::from(factor.unsigned_abs()));
        *element = if factor < 0 {
            difference(&all, &product)
        } else {
            sum(&all, &product)
        };
    }
}

fn words(node: &Node) -> Words {
    let (words, _) = node.as_bytes().as_chunks::<8>();
    from_fn(|i| u64::from_le_bytes(words[i]))
}

/// Nodes in Montgomery form, below 1.1381r.
fn load<const T: usize>(
    arithmetic: impl Arithmetic,
    nodes: &[Node; T],
    entry: &Factor,
) -> [Words; T] {
    let mut elements = nodes.each_ref().map(words);
    enter(arithmetic, &mut elements, entry);
    elements
}

/// Not unrolled into its callers, as [`fifth_powers`].
#[inline(never)]
fn enter(arithmetic: impl Arithmetic, elements: &mut [Words], entry: &Factor) {
    for element in elements {
        arithmetic.scale(element, entry, &[0; 5]);
    }
}

/// A positive integer below 2^296, out of Montgomery form.
fn store(wide: &Wide) -> Node {
    let plain = product(reduce(wide), [1, 0, 0, 0]);
    let mut bytes = [0; 32];
    for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(plain) {
        *place = word.to_le_bytes();
    }
    // x / R mod r comes out at most r, and as r itself only for zero.
    Node::from_bytes(bytes).unwrap_or_default()
}

/// A check to run with each arithmetic that this processor has.
#[cfg(test)]
trait Check {
    fn with(&self, arithmetic: impl Arithmetic, name: &str);
}

#[cfg(test)]
fn check_each(check: &impl Check) {
    check.with(Portable, "portable");
    #[cfg(all(feature = "prove", target_arch = "x86_64"))]
    if let Some(adx) = adx::Adx::detect() {
        check.with(adx, "adx");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bls12_381::Scalar;
    use proptest::prelude::*;

    /// The hashes of the first eight and of all sixteen nodes against the library's.
    struct Hashes([Node; 16]);

    impl Check for Hashes {
        fn with(&self, arithmetic: impl Arithmetic, name: &str) {
            let inputs = self.0;
            let pure = super::super::hash16(&inputs.map(|node| node.to_scalar::<Scalar>()));
            let got = hash16_with(arithmetic, &inputs);
            assert_eq!(got, Node::from_scalar(&pure), "{name}");
            let inputs: [Node; 8] = from_fn(|i| inputs[i]);
            let pure = super::super::hash8(&inputs.map(|node| node.to_scalar::<Scalar>()));
            let got = hash8_with(arithmetic, &inputs);
            assert_eq!(got, Node::from_scalar(&pure), "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn each_arithmetic_hashes_as_the_library_does(
            inputs in proptest::array::uniform16(any::<(u8, [u8; 16])>())
        ) {
            let largest = Node::from_scalar(&-Scalar::one());
            check_each(&Hashes(inputs.map(|(kind, bytes)| match kind % 8 {
                0 => Node::ZERO,
                1 => largest,
                _ => Node::derive("holdfast test", &[&bytes]),
            })));
        }
    }

    #[test]
    fn each_arithmetic_hashes_equal_extremes_as_the_library_does() {
        for node in [
            Node::ZERO,
            Node::from(1),
            Node::from_scalar(&-Scalar::one()),
        ] {
            check_each(&Hashes([node; 16]));
        }
    }
}
