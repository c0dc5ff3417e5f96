//! The native hash on 64-bit words: what verifies everywhere, and what seals where the processor
//! has no AVX-512.
//!
//! An element is four words in Montgomery form with R = 2^256. Since r is 0.453 R, a product of
//! a and b is below `0.453 a b / r + r`: no factor needs to be fully reduced. Linear layers work on
//! five words in two's complement, so that seven partial rounds add up without a reduction; bounds
//! are written where they arise.

// Indices are below the lengths of arrays; casts take a product's words apart.
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::{
    Constants, FULL_ROUNDS, Native, PARTIAL_ROUNDS, SMALL_DIAGONAL_16, constants8, constants16,
};
use crate::node::Node;
use ff::Field;
use std::array::from_fn;
use std::sync::OnceLock;

type Words = [u64; 4];
/// A signed integer of 320 bits.
type Wide = [u64; 5];

/// r, lowest word first.
const ORDER: Words = [
    0xffff_ffff_0000_0001,
    0x53bd_a402_fffe_5bfe,
    0x3339_d808_09a1_d805,
    0x73ed_a753_299d_7d48,
];
/// -1/r mod 2^64.
const NEGATIVE_INVERSE: u64 = 0xffff_fffe_ffff_ffff;
/// floor(2^304 / r), from r's top word: an integer's bits from 2^240 on, times this, by 2^64, is
/// its quotient by r.
const RECIPROCAL: u64 = ((1u128 << 112) / (ORDER[3] as u128 + 1)) as u64;
/// Partial rounds between reductions.
const BATCH: usize = 7;
/// 2^40 r, which is added before a reduction to what may be negative.
const BIAS: Wide = [
    ORDER[0] << 40,
    ORDER[1] << 40 | ORDER[0] >> 24,
    ORDER[2] << 40 | ORDER[1] >> 24,
    ORDER[3] << 40 | ORDER[2] >> 24,
    ORDER[3] >> 24,
];

/// A constant c to multiply by: `c 2^(64 (i + 1)) mod r` for each word i of the other factor, so
/// that the products add up to five words and a bit, of which one word is left to take off.
type Factor = [Words; 4];

/// The multiples of r that [`fold`] takes off: of entry i the largest within i 2^254.
const MULTIPLES: [Words; 16] = {
    let mut out = [[0; 4]; 16];
    let mut i = 0;
    while i < 16 {
        // 2^254 is 0.552r; no quotient below comes near an integer but 0.
        let times = (i as u64 * 552) / 1000;
        let mut carry = 0u128;
        let mut j = 0;
        while j < 4 {
            let word = ORDER[j] as u128 * times as u128 + carry;
            // What is above 2^256 is dropped here and from what it is taken off.
            out[i][j] = word as u64;
            carry = word >> 64;
            j += 1;
        }
        i += 1;
    }
    out
};

/// Constants in Montgomery form.
struct Table<const T: usize> {
    full: [[Wide; T]; FULL_ROUNDS],
    /// Plus the bias.
    partial: [Wide; PARTIAL_ROUNDS],
    diagonal: [Factor; T],
    /// Brings an element into Montgomery form.
    entry: Factor,
}

impl<const T: usize> Table<T> {
    fn new(constants: &Constants<Native, T>) -> Self {
        let r = Field::pow_vartime(&Native::from(2), [256]);
        let montgomery = |scalar: &Native| words(&Node::from_scalar(&(r * scalar)));
        let factor = |scalar: &Native| {
            from_fn(|i| {
                let power = Field::pow_vartime(&Native::from(2), [64 * (i as u64 + 1)]);
                words(&Node::from_scalar(&(power * scalar)))
            })
        };
        Table {
            full: constants
                .full
                .map(|round| round.map(|constant| widen(montgomery(&constant)))),
            partial: constants
                .partial
                .map(|constant| sum(&widen(montgomery(&constant)), &BIAS)),
            diagonal: constants.diagonal.map(|entry| factor(&entry)),
            entry: factor(&r),
        }
    }
}

/// Compresses sixteen nodes to one.
pub(super) fn hash16(inputs: &[Node; 16]) -> Node {
    static TABLE: OnceLock<Table<16>> = OnceLock::new();
    let table = TABLE.get_or_init(|| Table::new(constants16()));
    let mut state = inputs.each_ref().map(|input| load(input, &table.entry));
    let first = state[0];
    external(&mut state);
    for constants in &table.full[..FULL_ROUNDS / 2] {
        full_round(&mut state, constants);
    }
    // The full rounds leave elements below 160r, all positive: within 2^263.
    for element in &mut state[1..] {
        *element = widen(reduce(element));
    }
    for batch in table.partial.chunks(BATCH) {
        // Each round multiplies the largest magnitude by at most 32: from 2^255 to 2^290.
        for constant in batch {
            state[0] = widen(fifth_power(reduce(&sum(&state[0], constant))));
            internal16(&mut state);
        }
        for element in &mut state[1..] {
            *element = widen(reduce(&sum(element, &BIAS)));
        }
    }
    state[0] = widen(reduce(&sum(&state[0], &BIAS)));
    for constants in &table.full[FULL_ROUNDS / 2..] {
        full_round(&mut state, constants);
    }
    store(&sum(&state[0], &first))
}

/// Compresses eight nodes to one.
pub(super) fn hash8(inputs: &[Node; 8]) -> Node {
    static TABLE: OnceLock<Table<8>> = OnceLock::new();
    let table = TABLE.get_or_init(|| Table::new(constants8()));
    let mut state = inputs.each_ref().map(|input| load(input, &table.entry));
    let first = state[0];
    external(&mut state);
    for constants in &table.full[..FULL_ROUNDS / 2] {
        full_round(&mut state, constants);
    }
    for element in &mut state[1..] {
        *element = widen(reduce(element));
    }
    let mut one = state[0];
    let mut others: [Words; 7] = from_fn(|i| narrow(&state[i + 1]));
    for constant in &table.partial {
        let power = fifth_power(reduce(&sum(&one, constant)));
        // Eight elements below 2^256 each.
        let all = others
            .iter()
            .fold(widen(power), |all, element| sum(&all, &widen(*element)));
        let all = widen(reduce(&all));
        // Below 5r, and 1.01r.
        one = sum(&scaled(power, &table.diagonal[0]), &all);
        for (element, entry) in others.iter_mut().zip(&table.diagonal[1..]) {
            *element = fold(&sum(&scaled(*element, entry), &all));
        }
    }
    let mut state: [Wide; 8] = from_fn(|i| match i.checked_sub(1) {
        None => one,
        Some(i) => widen(others[i]),
    });
    for constants in &table.full[FULL_ROUNDS / 2..] {
        full_round(&mut state, constants);
    }
    store(&sum(&state[0], &first))
}

/// From positive elements within 2^296; leaves them below 160r.
#[inline(always)]
fn full_round<const T: usize>(state: &mut [Wide; T], constants: &[Wide; T]) {
    for (element, constant) in state.iter_mut().zip(constants) {
        *element = widen(fifth_power(reduce(&sum(element, constant))));
    }
    external(state);
}

/// x^5 of an element below 1.01r: the square is below 1.47r, its square below 1.98r, and the
/// product below 1.91r, all below 2^256 = 2.2r.
#[inline(always)]
fn fifth_power(x: Words) -> Words {
    product(square(square(x)), x)
}

/// circ(2 M4, M4, ...): rows sum to 80 or 48.
#[inline(always)]
fn external<const T: usize>(state: &mut [Wide; T]) {
    let mut sums = [[0; 5]; 4];
    for four in state.chunks_exact_mut(4) {
        let ab = sum(&four[0], &four[1]);
        let cd = sum(&four[2], &four[3]);
        let b2_cd = sum(&twice(&four[1]), &cd);
        let d2_ab = sum(&twice(&four[3]), &ab);
        let fourth = sum(&twice(&twice(&cd)), &d2_ab);
        let second = sum(&twice(&twice(&ab)), &b2_cd);
        let row = [sum(&d2_ab, &second), second, sum(&b2_cd, &fourth), fourth];
        for i in 0..4 {
            sums[i] = sum(&sums[i], &row[i]);
        }
        four.copy_from_slice(&row);
    }
    for four in state.chunks_exact_mut(4) {
        for i in 0..4 {
            four[i] = sum(&four[i], &sums[i]);
        }
    }
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

#[inline(always)]
fn sum(a: &Wide, b: &Wide) -> Wide {
    let mut carry = false;
    from_fn(|i| {
        let (word, out) = a[i].carrying_add(b[i], carry);
        carry = out;
        word
    })
}

#[inline(always)]
fn difference(a: &Wide, b: &Wide) -> Wide {
    let mut borrow = false;
    from_fn(|i| {
        let (word, out) = a[i].borrowing_sub(b[i], borrow);
        borrow = out;
        word
    })
}

#[inline(always)]
fn twice(a: &Wide) -> Wide {
    sum(a, a)
}

/// Times a small integer, mod 2^320: right for negative numbers too.
#[inline(always)]
fn times(a: &Wide, factor: u64) -> Wide {
    let mut carry = 0;
    from_fn(|i| {
        let (word, high) = a[i].carrying_mul(factor, carry);
        carry = high;
        word
    })
}

#[inline(always)]
fn widen([a, b, c, d]: Words) -> Wide {
    [a, b, c, d, 0]
}

#[inline(always)]
fn narrow(wide: &Wide) -> Words {
    [wide[0], wide[1], wide[2], wide[3]]
}

/// Takes off a multiple of r: from a positive integer below 2^296 to one below 1.01r.
///
/// The quotient is estimated from the bits above 2^240 and never too large; it falls short by less
/// than 1 for rounding, 2^-8 for the reciprocal and 2^-14 for the bits below.
#[inline(always)]
fn reduce(x: &Wide) -> Words {
    let top = x[4] << 16 | x[3] >> 48;
    let quotient = ((u128::from(top) * u128::from(RECIPROCAL)) >> 64) as u64;
    let multiple = times(&widen(ORDER), quotient);
    narrow(&difference(x, &multiple))
}

/// Takes off a multiple of r: from a positive integer below 8.8r = 2^254 * 16 to one below 1.6r.
#[inline(always)]
fn fold(x: &Wide) -> Words {
    let multiple = &MULTIPLES[(x[4] << 2 | x[3] >> 62) as usize & 15];
    narrow(&difference(x, &widen(*multiple)))
}

/// Times a constant, below 5r: four words below 2^64 times numbers below r, and less than 2^64 r
/// that is added to take off the lowest word.
#[inline(always)]
fn scaled(x: Words, factor: &Factor) -> Wide {
    let mut wide = [0u64; 6];
    for (word, multiple) in x.into_iter().zip(factor) {
        let mut carry = 0;
        for j in 0..4 {
            (wide[j], carry) = word.carrying_mul_add(multiple[j], wide[j], carry);
        }
        let over;
        (wide[4], over) = wide[4].overflowing_add(carry);
        wide[5] += u64::from(over);
    }
    let quotient = wide[0].wrapping_mul(NEGATIVE_INVERSE);
    let mut carry = 0;
    for j in 0..4 {
        (wide[j], carry) = quotient.carrying_mul_add(ORDER[j], wide[j], carry);
    }
    let over;
    (wide[4], over) = wide[4].overflowing_add(carry);
    [
        wide[1],
        wide[2],
        wide[3],
        wide[4],
        wide[5] + u64::from(over),
    ]
}

#[inline(always)]
fn product(a: Words, b: Words) -> Words {
    let mut wide = [0; 8];
    for i in 0..4 {
        let mut carry = 0;
        for j in 0..4 {
            (wide[i + j], carry) = a[i].carrying_mul_add(b[j], wide[i + j], carry);
        }
        wide[i + 4] = carry;
    }
    montgomery(wide)
}

/// Products of different words are made once and doubled.
#[inline(always)]
fn square(a: Words) -> Words {
    let mut wide = [0u64; 8];
    for i in 0..3 {
        let mut carry = 0;
        for j in i + 1..4 {
            (wide[i + j], carry) = a[i].carrying_mul_add(a[j], wide[i + j], carry);
        }
        wide[i + 4] = carry;
    }
    for i in (1..8).rev() {
        wide[i] = wide[i] << 1 | wide[i - 1] >> 63;
    }
    let mut carry = false;
    for (i, word) in a.into_iter().enumerate() {
        let (low, high) = word.carrying_mul(word, 0);
        (wide[2 * i], carry) = wide[2 * i].carrying_add(low, carry);
        (wide[2 * i + 1], carry) = wide[2 * i + 1].carrying_add(high, carry);
    }
    montgomery(wide)
}

/// Divides a product by R mod r.
#[inline(always)]
fn montgomery(mut wide: [u64; 8]) -> Words {
    let mut over = false;
    for i in 0..4 {
        let factor = wide[i].wrapping_mul(NEGATIVE_INVERSE);
        let mut carry = 0;
        for j in 0..4 {
            (wide[i + j], carry) = factor.carrying_mul_add(ORDER[j], wide[i + j], carry);
        }
        (wide[i + 4], over) = wide[i + 4].carrying_add(carry, over);
    }
    // Nothing is carried over: the result is below 2^256.
    [wide[4], wide[5], wide[6], wide[7]]
}

fn words(node: &Node) -> Words {
    let (words, _) = node.as_bytes().as_chunks::<8>();
    from_fn(|i| u64::from_le_bytes(words[i]))
}

/// A node in Montgomery form, below 5r.
fn load(node: &Node, entry: &Factor) -> Wide {
    scaled(words(node), entry)
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

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;
    use proptest::prelude::*;

    fn value(words: &[u64]) -> BigUint {
        let words = words.iter().rev();
        words.fold(BigUint::ZERO, |all, word| (all << 64) + word)
    }

    /// Any words, often all zeros or all ones.
    fn word() -> impl Strategy<Value = u64> {
        prop_oneof![
            3 => any::<u64>(),
            1 => Just(0),
            1 => Just(1),
            1 => Just(u64::MAX),
            1 => (0..64u32).prop_map(|bit| 1 << bit),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn constants_scale_any_words(
            x in proptest::array::uniform4(word()),
            c in proptest::array::uniform4(word()),
        ) {
            let order = value(&ORDER);
            // The largest entry too: every one of them is below r, and r - 1 in the extreme.
            for c in [value(&c) % &order, &order - 1u32] {
                let entry = |i: usize| {
                    let entry: BigUint = (&c << (64 * (i + 1))) % &order;
                    from_fn(|word| {
                        let word: BigUint = (&entry >> (64 * word)) & BigUint::from(u64::MAX);
                        u64::try_from(word).unwrap_or_default()
                    })
                };
                let got = value(&scaled(x, &from_fn(entry)));
                prop_assert_eq!(&got % &order, value(&x) * &c % &order);
                prop_assert!(got < &order * 5u32);
            }
            // Whatever the entries, so at the bound of their sum.
            let largest = [ORDER[0] - 1, ORDER[1], ORDER[2], ORDER[3]];
            let got = value(&scaled(x, &[largest; 4]));
            let sum: BigUint = x.iter().map(|word| value(&largest) * word).sum();
            prop_assert_eq!((&got << 64usize) % &order, sum % &order);
            prop_assert!(got < &order * 5u32);
        }

        #[test]
        fn folding_leaves_less_than_the_words_hold(
            mut x in proptest::array::uniform5(word()),
            step in 0u64..16,
        ) {
            // Below 16 times 2^254, whole multiples of which are where the quotient steps.
            let order = value(&ORDER);
            x[4] %= 4;
            let edge = BigUint::from(step) << 254usize;
            let multiple = &edge / &order * &order;
            let wide = |x: &BigUint| from_fn(|i| {
                let word: BigUint = (x >> (64 * i)) & BigUint::from(u64::MAX);
                u64::try_from(word).unwrap_or_default()
            });
            let below = if step == 0 { BigUint::ZERO } else { &edge - 1u32 };
            for x in [value(&x), edge, below, multiple] {
                let got = value(&fold(&wide(&x)));
                prop_assert_eq!(&got % &order, &x % &order);
                prop_assert!(got * 10u32 < &order * 16u32);
            }
        }
    }
}
