//! The two permutations on elements in eight lanes.

use super::field::{
    BITS, Element, Factor, Limbs, MASK, ORDER, add, broadcast, carried, multiply, reduce, scale,
    square, subtract, taken_off, zero,
};
use crate::poseidon2::{FULL_ROUNDS, PARTIAL_ROUNDS};
use std::arch::x86_64::*;

/// Constants in Montgomery form.
#[derive(Debug)]
pub(super) struct Table<const T: usize, const F: usize> {
    pub(super) full: [[Limbs; T]; FULL_ROUNDS],
    pub(super) partial: [Limbs; PARTIAL_ROUNDS],
    /// Of width 8, the diagonal. Of width 16, a half and the half of the inverse of each [`PAIRS`].
    pub(super) factors: [Factor; F],
    /// Brings an element into Montgomery form.
    pub(super) entry: Factor,
}

/// Width 16's diagonal is 1, then each of these and its opposite, then 7, -10 and 16.
pub(super) const PAIRS: [u8; 6] = [2, 3, 4, 5, 6, 8];
/// What [`partial16`] is written for.
const _: () = {
    let d = crate::poseidon2::SMALL_DIAGONAL_16;
    assert!(d[0] == 1 && d[13] == 7 && d[14] == -10 && d[15] == 16);
    let mut i = 0;
    while i < PAIRS.len() {
        assert!(d[2 * i + 1] == PAIRS[i] as i8 && d[2 * i + 2] == -d[2 * i + 1]);
        i += 1;
    }
};
/// How many r are added to make an element positive; see [`partial16`].
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

/// Width 8 on plain inputs with carried limbs, `N` times eight at once. The result, with the
/// feed-forward, is below 2r and carried.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn compress8<const N: usize>(
    table: &Table<8, 8>,
    inputs: &[[Element; N]; 8],
) -> [Element; N] {
    let mut state = [[zero(); N]; 8];
    for (element, input) in state.iter_mut().zip(inputs) {
        *element = scale(input, &table.entry);
    }
    let first = state[0];
    external(&mut state);
    for constants in &table.full[..FULL_ROUNDS / 2] {
        full_round(&mut state, constants);
    }
    let [mut one, mut others @ ..] = state;
    for element in others.iter_mut().chain([&mut one]) {
        for x in element {
            *x = reduce(x, false);
        }
    }
    let factors = &table.factors;
    let mut sum = [zero(); N];
    for constant in &table.partial {
        let mut rest = [zero(); N];
        let mut turn = |i: usize, others: &mut [[Element; N]; 7]| {
            for n in 0..N {
                let x = carried(add(&others[i][n], &sum[n]));
                rest[n] = add(&rest[n], &x);
                others[i][n] = scale1(&x, &factors[i + 1]);
            }
        };
        for x in &mut one {
            *x = carried(add(x, &broadcast(constant)));
        }
        let mut power = [zero(); N];
        for n in 0..N {
            power[n] = square1(&one[n]);
        }
        turn(0, &mut others);
        turn(1, &mut others);
        for n in 0..N {
            power[n] = square1(&power[n]);
        }
        turn(2, &mut others);
        turn(3, &mut others);
        for n in 0..N {
            power[n] = multiply1(&power[n], &one[n]);
        }
        turn(4, &mut others);
        turn(5, &mut others);
        turn(6, &mut others);
        for n in 0..N {
            one[n] = scale1(&power[n], &factors[0]);
            sum[n] = reduce(&add(&power[n], &rest[n]), false);
            one[n] = add(&one[n], &sum[n]);
        }
    }
    for element in &mut others {
        for n in 0..N {
            element[n] = add(&element[n], &sum[n]);
        }
    }
    let [a, b, c, d, e, f, g] = others;
    let mut state = [one, a, b, c, d, e, f, g];
    for constants in &table.full[FULL_ROUNDS / 2..] {
        full_round(&mut state, constants);
    }
    let mut out = [zero(); N];
    for n in 0..N {
        out[n] = reduce(&add(&state[0][n], &first[n]), false);
    }
    out
}

/// Width 16 on plain inputs with carried limbs. The result, with the feed-forward, is below 2r and
/// carried.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn compress16(table: &Table<16, 7>, inputs: &[Element; 16]) -> Element {
    let mut state = [[zero()]; 16];
    for (element, input) in state.iter_mut().zip(inputs) {
        *element = [scale1(input, &table.entry)];
    }
    let [first] = state[0];
    external(&mut state);
    for constants in &table.full[..FULL_ROUNDS / 2] {
        full_round(&mut state, constants);
    }
    let mut state = partial16(table, &state.map(|[element]| element)).map(|element| [element]);
    for constants in &table.full[FULL_ROUNDS / 2..] {
        full_round(&mut state, constants);
    }
    let [last] = state[0];
    reduce(&add(&last, &first), false)
}

/// The partial rounds of width 16, from positive elements below 2^12 r to ones below 13r.
///
/// Twelve elements stand in pairs s and t with opposite diagonal entries d and -d. A round brings
/// p = s + t and m = d (s - t) to `m + 2 sum` and `d^2 p`, where `sum` is that of all elements:
/// nothing is negative, only one of two is multiplied, and only p counts for the next sum. What
/// a round multiplies does not depend on its fifth power, so that the two are made together.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn partial16(table: &Table<16, 7>, state: &[Element; 16]) -> [Element; 16] {
    let mut one = reduce(&state[0], false);
    // What becomes p by adding twice the last sum, for this round and for the next.
    let mut these = [zero(); 6];
    let mut those = [zero(); 6];
    for i in 0..6 {
        let s = reduce(&state[2 * i + 1], false);
        let t = reduce(&state[2 * i + 2], false);
        these[i] = carried(add(&s, &t));
        those[i] = subtract(&s, &t);
    }
    those = [
        times::<2>(&those[0]),
        times::<3>(&those[1]),
        times::<4>(&those[2]),
        times::<5>(&those[3]),
        times::<6>(&those[4]),
        times::<8>(&those[5]),
    ];
    for m in &mut those {
        *m = reduce(&add(m, &broadcast(&BIASED)), true);
    }
    // What becomes the three others by adding the last sum.
    let mut single = [zero(); 3];
    for i in 0..3 {
        single[i] = reduce(&state[13 + i], false);
    }
    let mut sum = zero();
    let (mut now, mut next) = (&mut these, &mut those);
    for constant in &table.partial {
        let twice = add(&sum, &sum);
        let mut all = zero();
        let x = carried(add(&one, &broadcast(constant)));
        let second = square1(&x);
        pair::<2>(&mut now[0], &twice, &mut all);
        pair::<3>(&mut now[1], &twice, &mut all);
        pair::<4>(&mut now[2], &twice, &mut all);
        let fourth = square1(&second);
        pair::<5>(&mut now[3], &twice, &mut all);
        pair::<6>(&mut now[4], &twice, &mut all);
        pair::<8>(&mut now[5], &twice, &mut all);
        let power = multiply1(&fourth, &x);
        for i in 0..3 {
            single[i] = add(&single[i], &sum);
            all = add(&all, &single[i]);
        }
        single[0] = reduce(&times::<7>(&single[0]), false);
        let product = times::<10>(&single[1]);
        single[1] = reduce(&subtract(&broadcast(&BIASED), &product), true);
        single[2] = reduce(&times::<16>(&single[2]), false);
        let off = taken_off(&add(&power, &all), false);
        one = add(&power, &off);
        sum = carried(off);
        std::mem::swap(&mut now, &mut next);
    }
    let mut out = [zero(); 16];
    out[0] = one;
    for i in 0..6 {
        let p = carried(add(&now[i], &add(&sum, &sum)));
        let half = scale1(&p, &table.factors[0]);
        let other = scale1(&next[i], &table.factors[i + 1]);
        out[2 * i + 1] = add(&half, &other);
        let difference = add(&subtract(&half, &other), &broadcast(&BIASED));
        out[2 * i + 2] = reduce(&difference, true);
    }
    for i in 0..3 {
        out[13 + i] = add(&single[i], &sum);
    }
    out
}

/// One round of one pair: p of the last sum becomes m of the round after next. From below 1.1r and
/// twice that, by at most 64.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn pair<const D: u8>(x: &mut Element, twice: &Element, all: &mut Element) {
    let p = add(x, twice);
    *all = add(all, &p);
    *x = reduce(&times::<D>(&times::<D>(&p)), false);
}

/// Each limb times a small number, by additions and shifts.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn times<const D: u8>(x: &Element) -> Element {
    let mut out = *x;
    for limb in &mut out {
        let x = *limb;
        let twice = _mm512_add_epi64(x, x);
        let four = _mm512_slli_epi64::<2>(x);
        let eight = _mm512_slli_epi64::<3>(x);
        *limb = match D {
            2 => twice,
            3 => _mm512_add_epi64(twice, x),
            4 => four,
            5 => _mm512_add_epi64(four, x),
            6 => _mm512_add_epi64(four, twice),
            7 => _mm512_sub_epi64(eight, x),
            8 => eight,
            10 => _mm512_add_epi64(eight, twice),
            16 => _mm512_slli_epi64::<4>(x),
            // No other factor is in use.
            _ => _mm512_setzero_si512(),
        };
    }
    out
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn square1(x: &Element) -> Element {
    let [x] = square(&[*x]);
    x
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn scale1(x: &Element, factor: &Factor) -> Element {
    let [x] = scale(&[*x], factor);
    x
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn multiply1(x: &Element, y: &Element) -> Element {
    let [x] = multiply(&[*x], &[*y]);
    x
}

/// From positive elements below 2^11 r; leaves limbs below 2^59 and elements below 168r.
///
/// S-boxes go by twos, and while one two is squared first, the one before is squared again and the
/// one before that multiplied: three chains of dependent steps at a time.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn full_round<const N: usize, const T: usize>(
    state: &mut [[Element; N]; T],
    constants: &[Limbs; T],
) {
    let mut x = [[zero(); 2]; 3];
    let mut second = [zero(); 2];
    let mut fourth = [zero(); 2];
    let place = |k: usize, n: usize| if N == 1 { (2 * k + n, 0) } else { (k, n) };
    for k in 0..T * N / 2 + 2 {
        if k >= 2 {
            let powers = multiply(&fourth, &x[(k - 2) % 3]);
            for n in 0..2 {
                let (i, m) = place(k - 2, n);
                state[i][m] = powers[n];
            }
        }
        if k >= 1 && k <= T * N / 2 {
            fourth = square(&second);
        }
        if k < T * N / 2 {
            for n in 0..2 {
                let (i, m) = place(k, n);
                x[k % 3][n] = reduce(&add(&state[i][m], &broadcast(&constants[i])), false);
            }
            second = square(&x[k % 3]);
        }
    }
    external(state);
}

/// circ(2 M4, M4, ...): rows sum to 80 or 48, so carried limbs stay below 2^59.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn external<const N: usize, const T: usize>(state: &mut [[Element; N]; T]) {
    for n in 0..N {
        for limb in 0..5 {
            let mut sums = [_mm512_setzero_si512(); 4];
            for four in state.chunks_exact_mut(4) {
                let [a, b, c, d] = [
                    four[0][n][limb],
                    four[1][n][limb],
                    four[2][n][limb],
                    four[3][n][limb],
                ];
                let ab = _mm512_add_epi64(a, b);
                let cd = _mm512_add_epi64(c, d);
                let b2_cd = _mm512_add_epi64(_mm512_add_epi64(b, b), cd);
                let d2_ab = _mm512_add_epi64(_mm512_add_epi64(d, d), ab);
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
                    four[i][n][limb] = row[i];
                }
            }
            for four in state.chunks_exact_mut(4) {
                for i in 0..4 {
                    four[i][n][limb] = _mm512_add_epi64(four[i][n][limb], sums[i]);
                }
            }
        }
    }
}
