//! Registers of eight 64-bit lanes, to and from memory: all the unsafe code of the arithmetic.
//!
//! What is compiled here for AVX-512 is only called by functions that are compiled for it too,
//! and those by [`super`] alone, after the processor was asked.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

/// Eight numbers, one for each lane.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn load(row: &[u64; 8]) -> __m512i {
    // SAFETY: the 64 bytes behind the reference are readable, and the load asks for no alignment.
    unsafe { _mm512_loadu_si512(row.as_ptr().cast()) }
}

/// The lanes' numbers.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn store(register: __m512i, row: &mut [u64; 8]) {
    // SAFETY: the 64 bytes behind the reference are writable, and the store asks for no alignment.
    unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), register) }
}

/// Asks for a value to be brought near, line by line of the cache.
#[inline]
pub(super) fn prefetch<T>(value: &T) {
    let start: *const T = value;
    for line in 0..size_of::<T>().div_ceil(64) {
        // SAFETY: a hint, which reads nothing that the program would see and cannot fault; it
        // needs nothing beyond SSE, which every x86-64 has.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.cast::<i8>().wrapping_add(64 * line)) }
    }
}

/// Rows to columns: lane j of row i becomes lane i of row j.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn transposed(rows: &[__m512i; 8]) -> [__m512i; 8] {
    let [a, b, c, d, e, f, g, h] = *rows;
    let even = quarters(
        _mm512_unpacklo_epi64(a, b),
        _mm512_unpacklo_epi64(c, d),
        _mm512_unpacklo_epi64(e, f),
        _mm512_unpacklo_epi64(g, h),
    );
    let odd = quarters(
        _mm512_unpackhi_epi64(a, b),
        _mm512_unpackhi_epi64(c, d),
        _mm512_unpackhi_epi64(e, f),
        _mm512_unpackhi_epi64(g, h),
    );
    [
        even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3],
    ]
}

/// The same of four rows of two lanes together.
#[target_feature(enable = "avx512f")]
#[inline]
fn quarters(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; 4] {
    let even = [
        _mm512_shuffle_i64x2::<0x88>(a, b),
        _mm512_shuffle_i64x2::<0x88>(c, d),
    ];
    let odd = [
        _mm512_shuffle_i64x2::<0xdd>(a, b),
        _mm512_shuffle_i64x2::<0xdd>(c, d),
    ];
    [
        _mm512_shuffle_i64x2::<0x88>(even[0], even[1]),
        _mm512_shuffle_i64x2::<0x88>(odd[0], odd[1]),
        _mm512_shuffle_i64x2::<0xdd>(even[0], even[1]),
        _mm512_shuffle_i64x2::<0xdd>(odd[0], odd[1]),
    ]
}
