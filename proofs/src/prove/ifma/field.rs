//! Prime fields in the lanes of AVX-512 registers, with 52-bit multiply-adds: eight elements of
//! `N` limbs side by side, in Montgomery form with R = 2^(52 N).
//!
//! Nothing is brought below the modulus before it leaves: limbs are *carried* when they are 52 bits
//! each, elements are *reduced* when they are carried and below 1.01 times the modulus p. R is
//! above 35p (scalars) or 2^34 p (coordinates), so that a product of carried factors whose product
//! is below R p is below 2p, and reduced but for a share of `a b / R`.

// Indices are constants below the number of limbs, also compared where both are; limbs are moved
// bit by bit into signed lanes.
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::absurd_extreme_comparisons
)]

use super::registers::{load, store, transposed};
use std::arch::x86_64::*;

/// Bits of a limb.
const BITS: u32 = 52;
const MASK: u64 = (1 << BITS) - 1;

/// Eight elements, limb by limb.
pub(super) type Lanes<const N: usize> = [__m512i; N];
/// A product before it is divided by R: the lower limbs and the higher.
pub(super) type Wide<const N: usize> = [[__m512i; N]; 2];

/// Does the same for each index below 8, which is a constant each time: what a loop indexes must
/// not stay in memory because the compiler leaves it a loop.
macro_rules! unrolled {
    ($index:ident < $count:ident $body:block) => {
        unrolled!(@ $index $count $body 0 1 2 3 4 5 6 7)
    };
    (@ $index:ident $count:ident $body:block $($value:literal)*) => {
        $({
            const $index: usize = $value;
            if $index < $count $body
        })*
    };
}

/// A prime modulus and what is computed from it.
pub(super) struct Modulus<const N: usize> {
    /// The modulus, lowest limb first.
    pub(super) order: [u64; N],
    /// Two times the modulus.
    pub(super) twice: [u64; N],
    /// Eight times the modulus.
    pub(super) eight: [u64; N],
    /// R minus the modulus.
    complement: [u64; N],
    /// -1/p mod 2^52.
    negative_inverse: u64,
    /// By how many bits the top limb is shifted so that the modulus has 17 left there.
    shift: u32,
    /// 2^40 by those bits, plus one.
    reciprocal: u64,
}

impl<const N: usize> Modulus<N> {
    pub(super) const fn new<const W: usize>(words: [u64; W]) -> Self {
        let order: [u64; N] = limbs(words);
        // Newton's iteration doubles the bits that are right; an odd number is its own inverse
        // mod 8.
        let mut inverse = order[0];
        let mut i = 0;
        while i < 5 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(order[0].wrapping_mul(inverse)));
            i += 1;
        }
        let mut complement = [0; N];
        let mut carry = 1;
        let mut i = 0;
        while i < N {
            let limb = (order[i] ^ MASK) + carry;
            complement[i] = limb & MASK;
            carry = limb >> BITS;
            i += 1;
        }
        let shift = u64::BITS - order[N - 1].leading_zeros() - 17;
        Self {
            order,
            twice: doubled(order),
            eight: doubled(doubled(doubled(order))),
            complement,
            negative_inverse: inverse.wrapping_neg() & MASK,
            shift,
            reciprocal: (1 << 40) / ((order[N - 1] >> shift) + 1),
        }
    }

    /// 2^exponent mod p.
    pub(super) const fn power_of_two(&self, exponent: usize) -> [u64; N] {
        let mut power = [0; N];
        power[0] = 1;
        let mut i = 0;
        while i < exponent {
            power = self.once_less(doubled(power));
            i += 1;
        }
        power
    }

    /// Takes the modulus off what is at least the modulus: carried and below 2p becomes canonical.
    pub(super) const fn once_less(&self, limbs: [u64; N]) -> [u64; N] {
        let mut less = [0; N];
        let mut borrow = 0;
        let mut i = 0;
        while i < N {
            let limb = limbs[i].wrapping_sub(self.order[i]).wrapping_sub(borrow);
            less[i] = limb & MASK;
            borrow = limb >> 63;
            i += 1;
        }
        if borrow == 1 { limbs } else { less }
    }
}

const fn doubled<const N: usize>(limbs: [u64; N]) -> [u64; N] {
    let mut out = [0; N];
    let mut carry = 0;
    let mut i = 0;
    while i < N {
        let limb = 2 * limbs[i] + carry;
        out[i] = limb & MASK;
        carry = limb >> BITS;
        i += 1;
    }
    out
}

/// Words of 64 bits to limbs.
#[inline]
pub(super) const fn limbs<const N: usize, const W: usize>(words: [u64; W]) -> [u64; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        let (word, bit) = (52 * i / 64, 52 * i % 64);
        let mut limb = words[word] >> bit;
        if bit > 12 && word + 1 < W {
            limb |= words[word + 1] << (64 - bit);
        }
        out[i] = limb & MASK;
        i += 1;
    }
    out
}

/// Limbs to words of 64 bits.
#[inline]
pub(super) const fn words<const N: usize, const W: usize>(limbs: [u64; N]) -> [u64; W] {
    let mut out = [0; W];
    let mut i = 0;
    while i < N {
        let (word, bit) = (52 * i / 64, 52 * i % 64);
        out[word] |= limbs[i] << bit;
        if bit > 12 && word + 1 < W {
            out[word + 1] |= limbs[i] >> (64 - bit);
        }
        i += 1;
    }
    out
}

/// The same element in all lanes.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn broadcast<const N: usize>(limbs: &[u64; N]) -> Lanes<N> {
    let mut out = [_mm512_setzero_si512(); N];
    for (register, limb) in out.iter_mut().zip(limbs) {
        *register = _mm512_set1_epi64(*limb as i64);
    }
    out
}

/// Eight elements, one in each lane.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn gathered<const N: usize>(elements: &[[u64; N]; 8]) -> Lanes<N> {
    let mut out = [_mm512_setzero_si512(); N];
    for (index, register) in out.iter_mut().enumerate() {
        let mut row = [0; 8];
        for (lane, element) in row.iter_mut().zip(elements) {
            *lane = element[index];
        }
        *register = load(&row);
    }
    out
}

/// The element in each lane.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn scattered<const N: usize>(lanes: &Lanes<N>) -> [[u64; N]; 8] {
    let mut out = [[0; N]; 8];
    for (index, register) in lanes.iter().enumerate() {
        let mut row = [0; 8];
        store(*register, &mut row);
        for (element, lane) in out.iter_mut().zip(row) {
            element[index] = lane;
        }
    }
    out
}

/// [`gathered`] for elements of eight limbs, which are read from where they lie.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn gathered8(elements: [&[u64; 8]; 8]) -> Lanes<8> {
    let mut rows = [_mm512_setzero_si512(); 8];
    for (row, element) in rows.iter_mut().zip(elements) {
        *row = load(element);
    }
    transposed(&rows)
}

/// Limb by limb, without carrying.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn plus<const N: usize>(a: &Lanes<N>, b: &Lanes<N>) -> Lanes<N> {
    let mut out = *a;
    unrolled!(I < N { out[I] = _mm512_add_epi64(a[I], b[I]); });
    out
}

/// Limb by limb, without carrying.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn minus<const N: usize>(a: &Lanes<N>, b: &Lanes<N>) -> Lanes<N> {
    let mut out = *a;
    unrolled!(I < N { out[I] = _mm512_sub_epi64(a[I], b[I]); });
    out
}

/// Those of `b` in the lanes of the mask, those of `a` in the others.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn blended<const N: usize>(mask: __mmask8, a: &Lanes<N>, b: &Lanes<N>) -> Lanes<N> {
    let mut out = *a;
    unrolled!(I < N { out[I] = _mm512_mask_blend_epi64(mask, a[I], b[I]); });
    out
}

/// Carries signed limbs of a positive element upwards.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn carried<const N: usize>(x: &Lanes<N>) -> Lanes<N> {
    let mask = _mm512_set1_epi64(MASK as i64);
    let mut x = *x;
    unrolled!(I < N {
        if I + 1 < N {
            x[I + 1] = _mm512_add_epi64(x[I + 1], _mm512_srai_epi64::<BITS>(x[I]));
            x[I] = _mm512_and_si512(x[I], mask);
        }
    });
    x
}

/// Takes off a multiple of p: from limbs within 2^55 and elements from p to 64p to reduced ones.
///
/// The quotient is estimated from the highest limb, less what the limbs below could take from it
/// (8 is a 2^13th of what the modulus has there), and so is never too large.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn reduced<const N: usize>(x: &Lanes<N>, modulus: &Modulus<N>) -> Lanes<N> {
    let top = _mm512_sra_epi64(x[N - 1], _mm_cvtsi64_si128(i64::from(modulus.shift)));
    let top = _mm512_sub_epi64(top, _mm512_set1_epi64(8));
    let scaled = _mm512_mul_epu32(top, _mm512_set1_epi64(modulus.reciprocal as i64));
    let quotient = _mm512_srli_epi64::<40>(scaled);
    // Adding (R - p) q is taking off q p, but for multiples of R, which the mask drops.
    let mut out = *x;
    unrolled!(I < N {
        let complement = _mm512_set1_epi64(modulus.complement[I] as i64);
        out[I] = _mm512_madd52lo_epu64(out[I], quotient, complement);
        if I + 1 < N {
            out[I + 1] = _mm512_madd52hi_epu64(out[I + 1], quotient, complement);
        }
    });
    let mut out = carried(&out);
    out[N - 1] = _mm512_and_si512(out[N - 1], _mm512_set1_epi64(MASK as i64));
    out
}

/// The product of carried factors.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn product<const N: usize>(a: &Lanes<N>, b: &Lanes<N>) -> Wide<N> {
    let mut wide = [[_mm512_setzero_si512(); N]; 2];
    unrolled!(I < N {
        unrolled!(J < N {
            let limb = &mut wide[(I + J) / N][(I + J) % N];
            *limb = _mm512_madd52lo_epu64(*limb, a[I], b[J]);
        });
        unrolled!(J < N {
            let limb = &mut wide[(I + J + 1) / N][(I + J + 1) % N];
            *limb = _mm512_madd52hi_epu64(*limb, a[I], b[J]);
        });
    });
    wide
}

/// The square of a carried element: products of different limbs are made once and doubled.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn wide_square<const N: usize>(a: &Lanes<N>) -> Wide<N> {
    let mut wide = [[_mm512_setzero_si512(); N]; 2];
    unrolled!(I < N {
        unrolled!(J < N {
            if J > I {
                let limb = &mut wide[(I + J) / N][(I + J) % N];
                *limb = _mm512_madd52lo_epu64(*limb, a[I], a[J]);
            }
        });
        unrolled!(J < N {
            if J > I {
                let limb = &mut wide[(I + J + 1) / N][(I + J + 1) % N];
                *limb = _mm512_madd52hi_epu64(*limb, a[I], a[J]);
            }
        });
    });
    unrolled!(I < N {
        wide[0][I] = _mm512_slli_epi64::<1>(wide[0][I]);
        wide[1][I] = _mm512_slli_epi64::<1>(wide[1][I]);
    });
    unrolled!(I < N {
        let limb = &mut wide[2 * I / N][2 * I % N];
        *limb = _mm512_madd52lo_epu64(*limb, a[I], a[I]);
        let limb = &mut wide[(2 * I + 1) / N][(2 * I + 1) % N];
        *limb = _mm512_madd52hi_epu64(*limb, a[I], a[I]);
    });
    wide
}

/// Divides by R mod p, with limbs within 2^60 and a quotient that is not negative.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn montgomery<const N: usize>(wide: &Wide<N>, modulus: &Modulus<N>) -> Lanes<N> {
    let mut wide = *wide;
    let inverse = _mm512_set1_epi64(modulus.negative_inverse as i64);
    unrolled!(I < N {
        let factor = _mm512_madd52lo_epu64(_mm512_setzero_si512(), wide[0][I], inverse);
        unrolled!(J < N {
            let limb = &mut wide[(I + J) / N][(I + J) % N];
            *limb = _mm512_madd52lo_epu64(
                *limb, factor, _mm512_set1_epi64(modulus.order[J] as i64));
        });
        // The low 52 bits are zero now; what is above them goes up last, as the next limb's other
        // summands do not wait for it.
        let carry = _mm512_srai_epi64::<BITS>(wide[0][I]);
        unrolled!(J < N {
            let limb = &mut wide[(I + J + 1) / N][(I + J + 1) % N];
            *limb = _mm512_madd52hi_epu64(
                *limb, factor, _mm512_set1_epi64(modulus.order[J] as i64));
        });
        let next = &mut wide[(I + 1) / N][(I + 1) % N];
        *next = _mm512_add_epi64(*next, carry);
    });
    carried(&wide[1])
}

/// The Montgomery product of carried factors.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn times<const N: usize>(a: &Lanes<N>, b: &Lanes<N>, modulus: &Modulus<N>) -> Lanes<N> {
    montgomery(&product(a, b), modulus)
}

/// The Montgomery square of a carried element.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn squared<const N: usize>(a: &Lanes<N>, modulus: &Modulus<N>) -> Lanes<N> {
    montgomery(&wide_square(a), modulus)
}

/// The lanes in which a carried element is a multiple of p.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn zeros<const N: usize>(a: &Lanes<N>, modulus: &Modulus<N>) -> __mmask8 {
    let mut one = [0; N];
    one[0] = 1;
    // a / R mod p comes out at most p, and as zero or p itself only for zero.
    let plain = times(a, &broadcast(&one), modulus);
    let (mut zero, mut order) = (0xff, 0xff);
    unrolled!(I < N {
        let limb = _mm512_set1_epi64(modulus.order[I] as i64);
        zero &= _mm512_testn_epi64_mask(plain[I], plain[I]);
        order &= _mm512_cmpeq_epi64_mask(plain[I], limb);
    });
    zero | order
}
