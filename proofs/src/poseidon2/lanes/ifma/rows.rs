//! Canonical nodes to limbs in lanes, and back.

use super::field::{BITS, Element, MASK};
use crate::node::Node;
use crate::poseidon2::lanes::Row;
use std::arch::x86_64::*;

/// One node in each lane, as the integers that they are, in carried limbs.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn load(nodes: [&Node; 8]) -> Element {
    let two = |low: usize, high: usize| {
        let half = |i: usize| {
            let bytes: &[u8; 32] = nodes[i].as_bytes();
            // SAFETY: the pointer is to 32 bytes, any of which may be read, at any alignment.
            unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
        };
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(half(low)), half(high))
    };
    let (a, b, c, d) = (two(0, 4), two(1, 5), two(2, 6), two(3, 7));
    // Words 0 and 2, then 1 and 3, of nodes 0 and 1 with 4 and 5, and of 2 and 3 with 6 and 7.
    let [ab02, ab13] = [_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)];
    let [cd02, cd13] = [_mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d)];
    let low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    let high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    let w0 = _mm512_permutex2var_epi64(ab02, low, cd02);
    let w1 = _mm512_permutex2var_epi64(ab13, low, cd13);
    let w2 = _mm512_permutex2var_epi64(ab02, high, cd02);
    let w3 = _mm512_permutex2var_epi64(ab13, high, cd13);
    let mask = _mm512_set1_epi64(MASK as i64);
    let over = |low, high| _mm512_and_si512(_mm512_or_si512(low, high), mask);
    [
        _mm512_and_si512(w0, mask),
        over(_mm512_srli_epi64::<BITS>(w0), _mm512_slli_epi64::<12>(w1)),
        over(_mm512_srli_epi64::<40>(w1), _mm512_slli_epi64::<24>(w2)),
        over(_mm512_srli_epi64::<28>(w2), _mm512_slli_epi64::<36>(w3)),
        _mm512_srli_epi64::<16>(w3),
    ]
}

/// Carried limbs of integers of at most r, and r only for zero.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn store(&[a, b, c, d, e]: &Element) -> Row {
    let w0 = _mm512_or_si512(a, _mm512_slli_epi64::<BITS>(b));
    let w1 = _mm512_or_si512(_mm512_srli_epi64::<12>(b), _mm512_slli_epi64::<40>(c));
    let w2 = _mm512_or_si512(_mm512_srli_epi64::<24>(c), _mm512_slli_epi64::<28>(d));
    let w3 = _mm512_or_si512(_mm512_srli_epi64::<36>(d), _mm512_slli_epi64::<16>(e));
    let even = [_mm512_unpacklo_epi64(w0, w1), _mm512_unpacklo_epi64(w2, w3)];
    let odd = [_mm512_unpackhi_epi64(w0, w1), _mm512_unpackhi_epi64(w2, w3)];
    let low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    let high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    let two = |[low, high]: [__m512i; 2], which: __m512i| {
        let nodes = _mm512_permutex2var_epi64(low, which, high);
        // SAFETY: both are 64 bytes without padding, and any bytes are valid.
        unsafe { std::mem::transmute::<__m512i, [[u8; 32]; 2]>(nodes) }
    };
    let [[n0, n2], [n1, n3]] = [two(even, low), two(odd, low)];
    let [[n4, n6], [n5, n7]] = [two(even, high), two(odd, high)];
    [n0, n1, n2, n3, n4, n5, n6, n7].map(|bytes| Node::from_bytes(bytes).unwrap_or_default())
}
