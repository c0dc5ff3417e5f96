//! Arithmetic mod r in eight lanes, with 52-bit multiply-adds.
//!
//! An element is five limbs of 52 bits, each a register of eight lanes, in Montgomery form with
//! R = 2^260. r is below 2^254.86, so 35r is below R. A factor must have *carried* limbs, all below
//! 2^52: it is then positive and below 35r, and that is all that a product asks of it. A limb of a
//! sum is a signed 64-bit number, and what bounds it is written where it is added up.
//!
//! Functions take `N` elements at once: one product is a chain of dependent steps, and two of them
//! side by side keep both multipliers busy.

use std::arch::x86_64::*;

/// Bits of a limb.
pub(super) const BITS: u32 = 52;
pub(super) const MASK: u64 = (1 << BITS) - 1;
/// An element's limbs, the same in all lanes.
pub(super) type Limbs = [u64; 5];
/// An element in each lane.
pub(super) type Element = [__m512i; 5];

/// r, lowest limb first.
pub(super) const ORDER: Limbs = limbs([
    0xffff_ffff_0000_0001,
    0x53bd_a402_fffe_5bfe,
    0x3339_d808_09a1_d805,
    0x73ed_a753_299d_7d48,
]);
/// -1/r mod 2^52.
pub(super) const NEGATIVE_INVERSE: u64 = {
    // Newton's iteration doubles the bits that are right; r is 1 mod 2.
    let mut inverse = 1u64;
    let mut i = 0;
    while i < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(ORDER[0].wrapping_mul(inverse)));
        i += 1;
    }
    inverse.wrapping_neg() & MASK
};
/// `(r NEGATIVE_INVERSE + 1) / 2^52`, below r: w + w (r NEGATIVE_INVERSE) is 2^52 w times this.
const LIFT: Limbs = {
    let mut product = [0u64; 6];
    let mut carry = 1u128;
    let mut i = 0;
    while i < 5 {
        let limb = ORDER[i] as u128 * NEGATIVE_INVERSE as u128 + carry;
        product[i] = limb as u64 & MASK;
        carry = limb >> BITS;
        i += 1;
    }
    product[5] = carry as u64;
    // The lowest limb has become zero.
    [product[1], product[2], product[3], product[4], product[5]]
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

pub(super) const fn limbs([a, b, c, d]: [u64; 4]) -> Limbs {
    [
        a & MASK,
        (a >> 52 | b << 12) & MASK,
        (b >> 40 | c << 24) & MASK,
        (c >> 28 | d << 36) & MASK,
        d >> 16,
    ]
}

/// A constant c to multiply by: `c 2^(52 (i + 1)) mod r` for each limb i of the other factor, so
/// that its products add up to six limbs, of which one is left to take off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor(pub(super) [Limbs; 5]);

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn zero() -> Element {
    [_mm512_setzero_si512(); 5]
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn all(limb: u64) -> __m512i {
    _mm512_set1_epi64(limb as i64)
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn broadcast(limbs: &Limbs) -> Element {
    [
        all(limbs[0]),
        all(limbs[1]),
        all(limbs[2]),
        all(limbs[3]),
        all(limbs[4]),
    ]
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn add(a: &Element, b: &Element) -> Element {
    [
        _mm512_add_epi64(a[0], b[0]),
        _mm512_add_epi64(a[1], b[1]),
        _mm512_add_epi64(a[2], b[2]),
        _mm512_add_epi64(a[3], b[3]),
        _mm512_add_epi64(a[4], b[4]),
    ]
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn subtract(a: &Element, b: &Element) -> Element {
    [
        _mm512_sub_epi64(a[0], b[0]),
        _mm512_sub_epi64(a[1], b[1]),
        _mm512_sub_epi64(a[2], b[2]),
        _mm512_sub_epi64(a[3], b[3]),
        _mm512_sub_epi64(a[4], b[4]),
    ]
}

/// Carries limbs upwards; the highest takes what comes.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn carried(mut x: Element) -> Element {
    let mask = all(MASK);
    for i in 0..4 {
        x[i + 1] = _mm512_add_epi64(x[i + 1], _mm512_srai_epi64::<BITS>(x[i]));
        x[i] = _mm512_and_si512(x[i], mask);
    }
    x
}

/// Takes off a multiple of r: from a positive element below 2^12 r to carried limbs below 1.5r.
/// Limbs may be anything; where they may be negative, see [`taken_off`].
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn reduce(x: &Element, signed: bool) -> Element {
    carried(taken_off(x, signed))
}

/// Takes off a multiple of r: from a positive element below 2^12 r, with limbs within 2^62, to a
/// positive one below 1.5r, with limbs that have grown by less than 2^53.
///
/// The quotient is estimated from the highest limb and never too large: where lower limbs may be
/// negative (`signed`) they take off less than 2^208 2^12, and a sixty-fourth of r is set aside,
/// which the element must have.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn taken_off(x: &Element, signed: bool) -> Element {
    let top = _mm512_srai_epi64::<40>(x[4]);
    let mut scaled = _mm512_mul_epu32(top, all(RECIPROCAL));
    if signed {
        scaled = _mm512_sub_epi64(scaled, all(1 << 14));
    }
    let quotient = _mm512_srli_epi64::<20>(scaled);
    // Adding (2^260 - r) q is taking off q r, but for multiples of 2^260.
    let complement = broadcast(&COMPLEMENT);
    let mut out = *x;
    for i in 0..5 {
        out[i] = _mm512_madd52lo_epu64(out[i], quotient, complement[i]);
    }
    // The lowest limb of the complement has 32 bits and the quotient 12: nothing above 2^52.
    for i in 1..4 {
        out[i + 1] = _mm512_madd52hi_epu64(out[i + 1], quotient, complement[i]);
    }
    // Those are dropped. The highest limb of what is left is below 2^48 and, where lower ones hold
    // more than their 52 bits, above -2^12.
    let room = all(1 << 20);
    let highest = _mm512_and_si512(_mm512_add_epi64(out[4], room), all(MASK));
    out[4] = _mm512_sub_epi64(highest, room);
    out
}

/// Montgomery products of carried factors a and b: carried, below `(a b / 35.3r + 2) r`.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn multiply<const N: usize>(a: &[Element; N], b: &[Element; N]) -> [Element; N] {
    let mut wide = [[_mm512_setzero_si512(); 10]; N];
    for i in 0..5 {
        for n in 0..N {
            for j in 0..5 {
                wide[n][i + j] = _mm512_madd52lo_epu64(wide[n][i + j], a[n][i], b[n][j]);
            }
            for j in 0..5 {
                wide[n][i + j + 1] = _mm512_madd52hi_epu64(wide[n][i + j + 1], a[n][i], b[n][j]);
            }
        }
    }
    montgomery(wide)
}

/// Montgomery squares: products of different limbs are made once and doubled.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn square<const N: usize>(a: &[Element; N]) -> [Element; N] {
    let mut wide = [[_mm512_setzero_si512(); 10]; N];
    for i in 0..4 {
        for n in 0..N {
            for j in i + 1..5 {
                wide[n][i + j] = _mm512_madd52lo_epu64(wide[n][i + j], a[n][i], a[n][j]);
            }
            for j in i + 1..5 {
                wide[n][i + j + 1] = _mm512_madd52hi_epu64(wide[n][i + j + 1], a[n][i], a[n][j]);
            }
        }
    }
    for wide in &mut wide {
        for limb in &mut wide[1..9] {
            *limb = _mm512_add_epi64(*limb, *limb);
        }
    }
    for n in 0..N {
        for i in 0..5 {
            wide[n][2 * i] = _mm512_madd52lo_epu64(wide[n][2 * i], a[n][i], a[n][i]);
            wide[n][2 * i + 1] = _mm512_madd52hi_epu64(wide[n][2 * i + 1], a[n][i], a[n][i]);
        }
    }
    montgomery(wide)
}

/// Divides products by R mod r. Their limbs are sums of at most ten 52-bit numbers and gain as
/// many again.
///
/// The lowest limb w is taken off by adding `w NEGATIVE_INVERSE r`, which needs no product to find
/// its factor and whose own 52 lowest bits cancel w; but that factor has 104 bits. The four limbs
/// that go so add less than 2^208 2^52 r, and the fifth, with a factor of 52 bits, less than R r:
/// the quotient by R grows by less than r for each.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn montgomery<const N: usize>(mut wide: [[__m512i; 10]; N]) -> [Element; N] {
    let lift = broadcast(&LIFT);
    for i in 0..4 {
        for wide in &mut wide {
            // Multiply-adds take the lowest 52 bits of a factor; those above are carried.
            let low = wide[i];
            for j in 0..5 {
                wide[i + j + 1] = _mm512_madd52lo_epu64(wide[i + j + 1], low, lift[j]);
            }
            for j in 0..5 {
                wide[i + j + 2] = _mm512_madd52hi_epu64(wide[i + j + 2], low, lift[j]);
            }
            wide[i + 1] = _mm512_add_epi64(wide[i + 1], _mm512_srli_epi64::<BITS>(low));
        }
    }
    let mut out = [zero(); N];
    for n in 0..N {
        let [.., a, b, c, d, e, f] = wide[n];
        out[n] = carried(last_limb([a, b, c, d, e, f]));
    }
    out
}

/// Takes the lowest of six limbs off, by a multiple of r that is below 2^52 r.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn last_limb(mut x: [__m512i; 6]) -> Element {
    let order = broadcast(&ORDER);
    let factor = _mm512_madd52lo_epu64(_mm512_setzero_si512(), x[0], all(NEGATIVE_INVERSE));
    for j in 1..5 {
        x[j] = _mm512_madd52lo_epu64(x[j], factor, order[j]);
    }
    for j in 0..5 {
        x[j + 1] = _mm512_madd52hi_epu64(x[j + 1], factor, order[j]);
    }
    // The product's low half would bring the low 52 bits to 2^52, or leave them zero if they are.
    let carry = _mm512_srli_epi64::<BITS>(_mm512_add_epi64(x[0], all(MASK)));
    x[1] = _mm512_add_epi64(x[1], carry);
    [x[1], x[2], x[3], x[4], x[5]]
}

/// Products of carried elements and a constant, below 6r, with limbs below 2^57 not carried.
///
/// Five limbs below 2^52, times numbers below r, and less than 2^52 r that is added to take off the
/// lowest limb.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn scale<const N: usize>(x: &[Element; N], factor: &Factor) -> [Element; N] {
    let mut wide = [[_mm512_setzero_si512(); 6]; N];
    for i in 0..5 {
        let factor = broadcast(&factor.0[i]);
        for n in 0..N {
            for j in 0..5 {
                wide[n][j] = _mm512_madd52lo_epu64(wide[n][j], x[n][i], factor[j]);
            }
            for j in 0..5 {
                wide[n][j + 1] = _mm512_madd52hi_epu64(wide[n][j + 1], x[n][i], factor[j]);
            }
        }
    }
    let mut out = [zero(); N];
    for n in 0..N {
        out[n] = last_limb(wide[n]);
    }
    out
}

/// Out of Montgomery form: from carried limbs below 2r to carried limbs of at most r, and r only
/// for a multiple of r.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn plain(x: &Element) -> Element {
    let mut out = *x;
    for _ in 0..5 {
        // Each time the quotient by 2^52 of a number and at most 2^52 - 1 times r. In all the sum
        // below is `x + r (R - 1)` or less, over R: at most r and a fraction.
        let [a, b, c, d, e] = out;
        out = last_limb([a, b, c, d, e, _mm512_setzero_si512()]);
    }
    carried(out)
}
