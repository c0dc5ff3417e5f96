//! Eight permutations in the lanes of AVX-512 registers, with 52-bit multiply-adds.
//!
//! An element is five limbs of 52 bits, each a register of eight lanes, in Montgomery form with
//! R = 2^260. r is below 2^254.86, and a product's result is `a b / R + (at most) r`, so factors of
//! up to 5r (their square is below R r) need no exact reduction; results are below 1.2r.
//!
//! Linear layers add and shift limbs without carrying. A limb is a signed 64-bit number and what
//! bounds it is written at each step; [`reduce`] brings an element back to 52-bit limbs and below
//! 1.5r.

// Calling code compiled for AVX-512, after the processor was asked for it, and reading a register's
// lanes: the two uses of `unsafe`, both in this file. Indices are below the lengths of arrays, and
// casts are of limbs, whose bounds are written where they arise.
#![allow(
    unsafe_code,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

use super::Row;
use crate::node::Node;
use crate::poseidon2::{Constants, FULL_ROUNDS, Native, PARTIAL_ROUNDS, constants8, constants16};
use ff::Field;
use std::arch::x86_64::*;
use std::array::from_fn;
use std::sync::OnceLock;

/// Bits of a limb.
const BITS: u32 = 52;
const MASK: u64 = (1 << BITS) - 1;
/// An element's limbs, the same in all lanes.
type Limbs = [u64; 5];
/// An element in each lane.
type Element = [__m512i; 5];

/// r, lowest limb first.
const ORDER: Limbs = limbs([
    0xffff_ffff_0000_0001,
    0x53bd_a402_fffe_5bfe,
    0x3339_d808_09a1_d805,
    0x73ed_a753_299d_7d48,
]);
/// -1/r mod 2^52.
const NEGATIVE_INVERSE: u64 = {
    // Newton's iteration doubles the bits that are right; r is 1 mod 2.
    let mut inverse = 1u64;
    let mut i = 0;
    while i < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(ORDER[0].wrapping_mul(inverse)));
        i += 1;
    }
    inverse.wrapping_neg() & MASK
};
/// 2^260 - r.
const COMPLEMENT: Limbs = {
    let mut out = [0; 5];
    let mut carry = 1;
    let mut i = 0;
    while i < 5 {
        let limb = (ORDER[i] ^ MASK) + carry;
        out[i] = limb & MASK;
        carry = limb >> BITS;
        i += 1;
    }
    out
};
/// floor(2^268 / r): an element's bits from 2^248 on, times this, by 2^20, is its quotient by r.
const RECIPROCAL: u64 = {
    // 2^268 / r = 2^60 / (r / 2^208), whose divisor is r's top limb; the limbs below it would
    // change the quotient by less than one in 2^33.
    (1 << 60) / (ORDER[4] + 1)
};
/// How many r are added to make an element positive; see [`internal16`].
const BIAS: u64 = 2048;
/// BIAS r, in limbs that are carried but for the highest.
const BIASED: Limbs = {
    let mut out = [0; 5];
    let mut carry = 0u128;
    let mut i = 0;
    while i < 5 {
        let limb = ORDER[i] as u128 * BIAS as u128 + carry;
        out[i] = if i == 4 {
            limb as u64
        } else {
            limb as u64 & MASK
        };
        carry = limb >> BITS;
        i += 1;
    }
    out
};

const fn limbs(words: [u64; 4]) -> Limbs {
    let [a, b, c, d] = words;
    [
        a & MASK,
        (a >> 52 | b << 12) & MASK,
        (b >> 40 | c << 24) & MASK,
        (c >> 28 | d << 36) & MASK,
        d >> 16,
    ]
}

const fn words([a, b, c, d, e]: Limbs) -> [u64; 4] {
    [
        a | b << 52,
        b >> 12 | c << 40,
        c >> 24 | d << 28,
        d >> 36 | e << 16,
    ]
}

fn node_words(node: &Node) -> [u64; 4] {
    let (words, _) = node.as_bytes().as_chunks::<8>();
    from_fn(|i| u64::from_le_bytes(words[i]))
}

/// Constants in Montgomery form.
struct Table<const T: usize> {
    full: [[Limbs; T]; FULL_ROUNDS],
    partial: [Limbs; PARTIAL_ROUNDS],
    diagonal: [Limbs; T],
    /// R^2, to bring an element into Montgomery form.
    square: Limbs,
}

impl<const T: usize> Table<T> {
    fn new(constants: &Constants<Native, T>) -> Self {
        let r = Native::from(2).pow_vartime([260]);
        let montgomery = |scalar: &Native| limbs(node_words(&Node::from_scalar(&(r * scalar))));
        Table {
            full: constants
                .full
                .map(|round| round.map(|constant| montgomery(&constant))),
            partial: constants.partial.map(|constant| montgomery(&constant)),
            diagonal: constants.diagonal.map(|entry| montgomery(&entry)),
            square: montgomery(&r),
        }
    }
}

/// Whether the processor can do this, and `HOLDFAST_SIMD=off` does not ask for what a processor
/// without it would do.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512ifma")
            && std::env::var_os("HOLDFAST_SIMD").is_none_or(|simd| simd != "off")
    })
}

/// Sixteen to one in each lane, where the processor can.
pub(super) fn hash16(inputs: &[Row; 16]) -> Option<Row> {
    static TABLE: OnceLock<Table<16>> = OnceLock::new();
    available().then(|| {
        let table = TABLE.get_or_init(|| Table::new(constants16()));
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { compress16(table, inputs) }
    })
}

/// Eight to one in each lane, where the processor can.
pub(super) fn hash8(inputs: &[Row; 8]) -> Option<Row> {
    static TABLE: OnceLock<Table<8>> = OnceLock::new();
    available().then(|| {
        let table = TABLE.get_or_init(|| Table::new(constants8()));
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { compress8(table, inputs) }
    })
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn compress16(table: &Table<16>, inputs: &[Row; 16]) -> Row {
    let mut state: [Element; 16] = from_fn(|_| [_mm512_setzero_si512(); 5]);
    for (element, input) in state.iter_mut().zip(inputs) {
        *element = load(input, &table.square);
    }
    let first = state[0];
    external(&mut state);
    for constants in &table.full[..FULL_ROUNDS / 2] {
        full_round(&mut state, constants);
    }
    // The full rounds leave limbs below 2^59 and elements below 90r, all positive.
    for element in &mut state[1..] {
        *element = reduce(element, false);
    }
    let (pairs, last) = table.partial.as_chunks::<2>();
    for [odd, even] in pairs {
        state[0] = power_of_first(&state[0], odd);
        internal16(&mut state, false);
        state[0] = power_of_first(&state[0], even);
        internal16(&mut state, true);
        for element in &mut state[1..] {
            *element = reduce(element, true);
        }
        state[0] = reduce(&state[0], true);
    }
    for constant in last {
        state[0] = power_of_first(&state[0], constant);
        internal16(&mut state, true);
        for element in &mut state {
            *element = reduce(element, true);
        }
    }
    for constants in &table.full[FULL_ROUNDS / 2..] {
        full_round(&mut state, constants);
    }
    store(&add(&state[0], &first))
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn compress8(table: &Table<8>, inputs: &[Row; 8]) -> Row {
    let mut state: [Element; 8] = from_fn(|_| [_mm512_setzero_si512(); 5]);
    for (element, input) in state.iter_mut().zip(inputs) {
        *element = load(input, &table.square);
    }
    let first = state[0];
    external(&mut state);
    for constants in &table.full[..FULL_ROUNDS / 2] {
        full_round(&mut state, constants);
    }
    for element in &mut state {
        *element = reduce(element, false);
    }
    for constant in &table.partial {
        state[0] = power_of_first(&state[0], constant);
        // Eight elements below 2.6r each.
        let sum = reduce(&sum(&state), false);
        for (element, entry) in state.iter_mut().zip(&table.diagonal) {
            // Below 1.2r and 1.1r.
            *element = carried(add(&multiply(element, &broadcast(entry)), &sum));
        }
    }
    for constants in &table.full[FULL_ROUNDS / 2..] {
        full_round(&mut state, constants);
    }
    store(&add(&state[0], &first))
}

/// From positive limbs below 2^59; leaves limbs below 2^59 and elements below 90r.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn full_round<const T: usize>(state: &mut [Element; T], constants: &[Limbs; T]) {
    for (element, constant) in state.iter_mut().zip(constants) {
        *element = fifth_power(&reduce(&add(element, &broadcast(constant)), false));
    }
    external(state);
}

/// The S-box of a partial round, on a positive element with positive limbs.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn power_of_first(element: &Element, constant: &Limbs) -> Element {
    fifth_power(&reduce(&add(element, &broadcast(constant)), false))
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn fifth_power(element: &Element) -> Element {
    let fourth = square(&square(element));
    multiply(&fourth, element)
}

/// All ones plus the small diagonal.
///
/// From carried limbs and elements below 1.5r, once gives limbs within 2^57 and elements within
/// 50r; the first of them, whose factor is 1, is positive in every limb. Twice gives limbs within
/// 2^62 and elements within 1500r. `bias` adds 2048r to each, so that all are positive again.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn internal16(s: &mut [Element; 16], bias: bool) {
    let mut sum = sum(s);
    if bias {
        sum = add(&sum, &broadcast(&BIASED));
    }
    for limb in 0..5 {
        let sum = sum[limb];
        let mut each = |i: usize, low: u32, high: Option<i32>, negative: bool| {
            let x = s[i][limb];
            let times = |shift: u32| _mm512_sll_epi64(x, _mm_cvtsi64_si128(i64::from(shift)));
            let mut product = times(low);
            match high {
                Some(shift) if shift >= 0 => {
                    product = _mm512_add_epi64(product, times(shift as u32))
                }
                // Minus once: 7 is 8 - 1.
                Some(_) => product = _mm512_sub_epi64(product, x),
                None => {}
            }
            s[i][limb] = if negative {
                _mm512_sub_epi64(sum, product)
            } else {
                _mm512_add_epi64(sum, product)
            };
        };
        each(0, 0, None, false);
        each(1, 1, None, false);
        each(2, 1, None, true);
        each(3, 1, Some(0), false);
        each(4, 1, Some(0), true);
        each(5, 2, None, false);
        each(6, 2, None, true);
        each(7, 2, Some(0), false);
        each(8, 2, Some(0), true);
        each(9, 2, Some(1), false);
        each(10, 2, Some(1), true);
        each(11, 3, None, false);
        each(12, 3, None, true);
        each(13, 3, Some(-1), false);
        each(14, 3, Some(1), true);
        each(15, 4, None, false);
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn sum<const T: usize>(state: &[Element; T]) -> Element {
    let mut sum = state[0];
    for element in &state[1..] {
        sum = add(&sum, element);
    }
    sum
}

/// circ(2 M4, M4, ...): rows sum to 80 or 48, so carried limbs stay below 2^59.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn external<const T: usize>(state: &mut [Element; T]) {
    for limb in 0..5 {
        let mut sums = [_mm512_setzero_si512(); 4];
        for four in state.chunks_exact_mut(4) {
            let [a, b, c, d] = [four[0][limb], four[1][limb], four[2][limb], four[3][limb]];
            let ab = _mm512_add_epi64(a, b);
            let cd = _mm512_add_epi64(c, d);
            let b2_cd = _mm512_add_epi64(_mm512_slli_epi64::<1>(b), cd);
            let d2_ab = _mm512_add_epi64(_mm512_slli_epi64::<1>(d), ab);
            let fourth = _mm512_add_epi64(_mm512_slli_epi64::<2>(cd), d2_ab);
            let second = _mm512_add_epi64(_mm512_slli_epi64::<2>(ab), b2_cd);
            let row = [
                _mm512_add_epi64(d2_ab, second),
                second,
                _mm512_add_epi64(b2_cd, fourth),
                fourth,
            ];
            for i in 0..4 {
                sums[i] = _mm512_add_epi64(sums[i], row[i]);
                four[i][limb] = row[i];
            }
        }
        for four in state.chunks_exact_mut(4) {
            for i in 0..4 {
                four[i][limb] = _mm512_add_epi64(four[i][limb], sums[i]);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn broadcast(limbs: &Limbs) -> Element {
    [
        _mm512_set1_epi64(limbs[0] as i64),
        _mm512_set1_epi64(limbs[1] as i64),
        _mm512_set1_epi64(limbs[2] as i64),
        _mm512_set1_epi64(limbs[3] as i64),
        _mm512_set1_epi64(limbs[4] as i64),
    ]
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn add(a: &Element, b: &Element) -> Element {
    [
        _mm512_add_epi64(a[0], b[0]),
        _mm512_add_epi64(a[1], b[1]),
        _mm512_add_epi64(a[2], b[2]),
        _mm512_add_epi64(a[3], b[3]),
        _mm512_add_epi64(a[4], b[4]),
    ]
}

/// Carries limbs upwards; the highest takes what comes.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn carried(mut x: Element) -> Element {
    let mask = _mm512_set1_epi64(MASK as i64);
    for i in 0..4 {
        x[i + 1] = _mm512_add_epi64(x[i + 1], _mm512_srai_epi64::<BITS>(x[i]));
        x[i] = _mm512_and_si512(x[i], mask);
    }
    x
}

/// Takes off a multiple of r: from a positive element below 2^12 r to carried limbs below 1.5r.
///
/// The quotient is estimated from the highest limb. It is never too large: where lower limbs may
/// be negative (`signed`) they take off less than 2^208 2^12, and a sixty-fourth of r is set aside.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn reduce(x: &Element, signed: bool) -> Element {
    let top = _mm512_srai_epi64::<40>(x[4]);
    let mut scaled = _mm512_mul_epu32(top, _mm512_set1_epi64(RECIPROCAL as i64));
    if signed {
        scaled = _mm512_sub_epi64(scaled, _mm512_set1_epi64(1 << 14));
    }
    let quotient = _mm512_srli_epi64::<20>(scaled);
    // Adding (2^260 - r) q is taking off q r, but for multiples of 2^260, which the mask drops.
    let complement = broadcast(&COMPLEMENT);
    let mut out = *x;
    for i in 0..5 {
        out[i] = _mm512_madd52lo_epu64(out[i], quotient, complement[i]);
        if i < 4 {
            out[i + 1] = _mm512_madd52hi_epu64(out[i + 1], quotient, complement[i]);
        }
    }
    let mut out = carried(out);
    out[4] = _mm512_and_si512(out[4], _mm512_set1_epi64(MASK as i64));
    out
}

/// The Montgomery product of two elements of carried limbs.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn multiply(a: &Element, b: &Element) -> Element {
    let mut wide = [_mm512_setzero_si512(); 10];
    for i in 0..5 {
        for j in 0..5 {
            wide[i + j] = _mm512_madd52lo_epu64(wide[i + j], a[i], b[j]);
            wide[i + j + 1] = _mm512_madd52hi_epu64(wide[i + j + 1], a[i], b[j]);
        }
    }
    montgomery(wide)
}

/// The Montgomery square: products of different limbs are made once and doubled.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn square(a: &Element) -> Element {
    let mut wide = [_mm512_setzero_si512(); 10];
    for i in 0..5 {
        for j in i + 1..5 {
            wide[i + j] = _mm512_madd52lo_epu64(wide[i + j], a[i], a[j]);
            wide[i + j + 1] = _mm512_madd52hi_epu64(wide[i + j + 1], a[i], a[j]);
        }
    }
    for limb in &mut wide[1..9] {
        *limb = _mm512_slli_epi64::<1>(*limb);
    }
    for i in 0..5 {
        wide[2 * i] = _mm512_madd52lo_epu64(wide[2 * i], a[i], a[i]);
        wide[2 * i + 1] = _mm512_madd52hi_epu64(wide[2 * i + 1], a[i], a[i]);
    }
    montgomery(wide)
}

/// Divides a product by R mod r. Its limbs are sums of at most ten 52-bit numbers.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn montgomery(mut wide: [__m512i; 10]) -> Element {
    let order = broadcast(&ORDER);
    let inverse = _mm512_set1_epi64(NEGATIVE_INVERSE as i64);
    for i in 0..5 {
        let factor = _mm512_madd52lo_epu64(_mm512_setzero_si512(), wide[i], inverse);
        for j in 0..5 {
            wide[i + j] = _mm512_madd52lo_epu64(wide[i + j], factor, order[j]);
            wide[i + j + 1] = _mm512_madd52hi_epu64(wide[i + j + 1], factor, order[j]);
        }
        // The low 52 bits are zero now.
        wide[i + 1] = _mm512_add_epi64(wide[i + 1], _mm512_srli_epi64::<BITS>(wide[i]));
    }
    carried([wide[5], wide[6], wide[7], wide[8], wide[9]])
}

/// Canonical nodes, one in each lane, to Montgomery form.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn load(row: &Row, square: &Limbs) -> Element {
    let lanes: [Limbs; 8] = from_fn(|lane| limbs(node_words(&row[lane])));
    let mut element = [_mm512_setzero_si512(); 5];
    for (i, limb) in element.iter_mut().enumerate() {
        *limb = _mm512_set_epi64(
            lanes[7][i] as i64,
            lanes[6][i] as i64,
            lanes[5][i] as i64,
            lanes[4][i] as i64,
            lanes[3][i] as i64,
            lanes[2][i] as i64,
            lanes[1][i] as i64,
            lanes[0][i] as i64,
        );
    }
    multiply(&element, &broadcast(square))
}

/// A positive element below 2^12 r in each lane, out of Montgomery form to canonical nodes.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn store(element: &Element) -> Row {
    let one = broadcast(&[1, 0, 0, 0, 0]);
    let plain = multiply(&reduce(element, false), &one);
    // SAFETY: both are 64 bytes without padding or invalid values.
    let limbs = plain.map(|limb| unsafe { std::mem::transmute::<__m512i, [u64; 8]>(limb) });
    from_fn(|lane| {
        let words = words(from_fn(|i| limbs[i][lane]));
        let mut bytes = [0; 32];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        // x / R mod r comes out at most r, and as r itself only for zero.
        Node::from_bytes(bytes).unwrap_or_default()
    })
}
