//! Affine additions of points, eight at a time. The denominators of a batch are multiplied up lane
//! by lane, in two chains whose multiplications overlap, and share one inversion.
//!
//! Coordinates are `D` numbers of the base field: one in G1; two in G2, of which the second is
//! times the square root of -1. In memory they are carried and at most 2p; what is computed from
//! them stays far below the 2^17 p at which factors would be too large.

// Calling code compiled for AVX-512, after the processor was asked for it, is the use of `unsafe`.
// Indices are places that the caller has asked for, of which there are as many as it asked for.
#![allow(unsafe_code, clippy::indexing_slicing)]

use super::available;
use super::field::{
    Lanes, Modulus, blended, broadcast, carried, gathered8, limbs, minus, montgomery, plus,
    product, reduced, scattered, squared, times, words, zeros,
};
use super::raw::{Raw, inverse};
use super::registers::{prefetch, store, transposed};
use crate::prove::multiples::{Place, Points};
use group::Group;
use std::arch::x86_64::*;

/// The base field, in which `blst` has R = 2^384.
static BASE: Modulus<8> = Modulus::new([
    0xb9fe_ffff_ffff_aaab,
    0x1eab_fffe_b153_ffff,
    0x6730_d2a0_f6b0_f624,
    0x6477_4b84_f385_12bf,
    0x4b1b_a7b6_434b_acd7,
    0x1a01_11ea_397f_e69a,
]);
const ONE: [u64; 8] = BASE.power_of_two(416);
/// What a number with R = 2^384 is multiplied by to have R = 2^416; one R is divided off.
const FROM_BLST: [u64; 8] = BASE.power_of_two(448);
const TO_BLST: [u64; 8] = BASE.power_of_two(384);

/// A point in memory; the identity has nothing but zeros, as no other point of the groups has.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Point<const D: usize> {
    x: [[u64; 8]; D],
    y: [[u64; 8]; D],
}

impl<const D: usize> Point<D> {
    const IDENTITY: Self = Self {
        x: [[0; 8]; D],
        y: [[0; 8]; D],
    };
}

/// A coordinate in each lane.
type Coordinates<const D: usize> = [Lanes<8>; D];

/// Eight additions: lines through two points, or tangents.
#[derive(Clone, Copy)]
struct Eight<const D: usize> {
    /// The left points.
    x: Coordinates<D>,
    y: Coordinates<D>,
    /// The sum of both x.
    sum: Coordinates<D>,
    numerator: Coordinates<D>,
    denominator: Coordinates<D>,
    /// The product of the denominators before, in the same lane and chain.
    product: Coordinates<D>,
    /// The lanes whose result is x and y as they stand here.
    given: __mmask8,
}

/// How many additions share an inversion.
const BATCH: usize = 512;

/// Points at places, added in lanes.
pub(in crate::prove) struct InLanes<const D: usize> {
    points: Vec<Point<D>>,
    /// Additions that wait: left, right, and where to.
    sums: Vec<(Place, Place, usize)>,
    /// Copies that wait for what the additions before them read.
    copies: Vec<(Place, usize)>,
    eights: Vec<[Eight<D>; 2]>,
}

impl<const D: usize> InLanes<D> {
    /// The bases at the first places, then so many identities. None where the processor lacks what
    /// it takes: holding one is the proof that it does not.
    pub(in crate::prove) fn new<G: Raw<D>>(bases: &[&G], more: usize) -> Option<Self> {
        if !available() {
            return None;
        }
        let mut points = Vec::with_capacity(bases.len() + more);
        points.extend(bases.iter().map(|base| {
            let [x, y] = base.raw();
            Point {
                x: x.map(limbs),
                y: y.map(limbs),
            }
        }));
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { times_constant(&mut points, &FROM_BLST) };
        points.resize(bases.len() + more, Point::IDENTITY);
        Some(Self {
            points,
            sums: Vec::with_capacity(BATCH),
            copies: Vec::with_capacity(BATCH),
            eights: Vec::with_capacity(BATCH / 16),
        })
    }
}

impl<G: Raw<D>, const D: usize> Points<G> for InLanes<D> {
    #[inline]
    fn add(&mut self, left: Place, right: Place, to: usize) {
        prefetch(&self.points[left.index()]);
        prefetch(&self.points[right.index()]);
        self.sums.push((left, right, to));
        if self.sums.len() == BATCH {
            Points::<G>::flush(self);
        }
    }

    #[inline]
    fn copy(&mut self, from: Place, to: usize) {
        self.copies.push((from, to));
        if self.copies.len() == BATCH {
            Points::<G>::flush(self);
        }
    }

    fn flush(&mut self) {
        // SAFETY: `self` was made after the processor was found to have the features that the
        // function is compiled for.
        unsafe { self.flush_lanes() }
    }

    fn at(&self, place: usize) -> G::Curve {
        let point = self.points[place];
        if point.y == [[0; 8]; D] {
            return G::Curve::identity();
        }
        let mut point = [point];
        // SAFETY: as above.
        unsafe { times_constant(&mut point, &TO_BLST) };
        let [Point { x, y }] = point;
        let canonical = |number| words(BASE.once_less(number));
        G::from_raw([x.map(canonical), y.map(canonical)]).to_curve()
    }
}

/// Multiplies coordinates that are carried: leaves them at most p plus next to nothing.
#[target_feature(enable = "avx512f,avx512ifma")]
fn times_constant<const D: usize>(points: &mut [Point<D>], constant: &[u64; 8]) {
    let constant = broadcast(constant);
    for points in points.chunks_mut(8) {
        let mut eight = [Point::IDENTITY; 8];
        eight[..points.len()].copy_from_slice(points);
        for i in 0..D {
            let [a, b, c, d, e, f, g, h] = &eight;
            let x = [a, b, c, d, e, f, g, h].map(|point| &point.x[i]);
            let y = [a, b, c, d, e, f, g, h].map(|point| &point.y[i]);
            let x = transposed(&times(&gathered8(x), &constant, &BASE));
            let y = transposed(&times(&gathered8(y), &constant, &BASE));
            for ((point, x), y) in points.iter_mut().zip(x).zip(y) {
                store(x, &mut point.x[i]);
                store(y, &mut point.y[i]);
            }
        }
    }
}

impl<const D: usize> InLanes<D> {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn flush_lanes(&mut self) {
        let pairs = self.sums.len().div_ceil(16);
        if self.eights.len() < pairs {
            self.eights.resize(pairs, [nothing_to_add(); 2]);
        }
        let eights = &mut self.eights[..pairs];
        for (pair, sums) in eights.iter_mut().zip(self.sums.chunks(16)) {
            let (first, second) = sums.split_at(sums.len().min(8));
            read(&mut pair[0], &self.points, first);
            read(&mut pair[1], &self.points, second);
        }
        // Everything that waits has been read, but by the copies themselves, which never write
        // behind what a later one reads.
        for (from, to) in self.copies.drain(..) {
            let mut point = self.points[from.index()];
            if from.is_negative() {
                point.y = point.y.map(negated);
            }
            self.points[to] = point;
        }
        let inverses = match inverses(multiply_up(eights)) {
            Some(inverses) => inverses,
            // Points with the same x are among them.
            None => {
                for eight in eights.as_flattened_mut() {
                    resolve(eight);
                }
                inverses(multiply_up(eights)).unwrap_or([zero(); 2])
            }
        };
        let mut inverses = inverses;
        for (pair, sums) in eights.iter().zip(self.sums.chunks(16)).rev() {
            let solved = solve(pair, &mut inverses);
            for ((x, y), sums) in solved.iter().zip(sums.chunks(8)) {
                for i in 0..D {
                    let (x, y) = (transposed(&x[i]), transposed(&y[i]));
                    for (((_, _, to), x), y) in sums.iter().zip(x).zip(y) {
                        store(x, &mut self.points[*to].x[i]);
                        store(y, &mut self.points[*to].y[i]);
                    }
                }
            }
        }
        self.sums.clear();
    }
}

/// 2p less a number.
fn negated(number: [u64; 8]) -> [u64; 8] {
    let mut out = [0; 8];
    let mut borrow = 0;
    for ((out, twice), limb) in out.iter_mut().zip(BASE.twice).zip(number) {
        let difference = twice.wrapping_sub(limb).wrapping_sub(borrow);
        *out = difference & ((1 << 52) - 1);
        borrow = difference >> 63;
    }
    out
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn zero<const D: usize>() -> Coordinates<D> {
    [[_mm512_setzero_si512(); 8]; D]
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn one<const D: usize>() -> Coordinates<D> {
    let mut one = zero();
    one[0] = broadcast(&ONE);
    one
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn nothing_to_add<const D: usize>() -> Eight<D> {
    Eight {
        x: zero(),
        y: zero(),
        sum: zero(),
        numerator: zero(),
        denominator: zero(),
        product: zero(),
        given: 0,
    }
}

/// Reads up to eight additions from the points in memory.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn read<const D: usize>(eight: &mut Eight<D>, points: &[Point<D>], sums: &[(Place, Place, usize)]) {
    let identity = Point::IDENTITY;
    let (mut left, mut right) = ([&identity; 8], [&identity; 8]);
    let (mut minus_left, mut minus_right) = (0, 0);
    for (lane, (from_left, from_right, _)) in sums.iter().enumerate() {
        left[lane] = &points[from_left.index()];
        right[lane] = &points[from_right.index()];
        minus_left |= u8::from(from_left.is_negative()) << lane;
        minus_right |= u8::from(from_right.is_negative()) << lane;
    }
    let twice = broadcast(&BASE.twice);
    // The lanes whose points are the identity.
    let (mut no_left, mut no_right) = (0xff, 0xff);
    let (mut right_x, mut right_y) = (zero::<D>(), zero::<D>());
    for i in 0..D {
        let x = gathered8(left.map(|point| &point.x[i]));
        let y = gathered8(left.map(|point| &point.y[i]));
        right_x[i] = gathered8(right.map(|point| &point.x[i]));
        right_y[i] = gathered8(right.map(|point| &point.y[i]));
        no_left &= nothing(&y);
        no_right &= nothing(&right_y[i]);
        let y = blended(minus_left, &y, &minus(&twice, &y));
        right_y[i] = blended(minus_right, &right_y[i], &minus(&twice, &right_y[i]));
        eight.x[i] = x;
        eight.y[i] = y;
        eight.sum[i] = plus(&x, &right_x[i]);
        eight.denominator[i] = carried(&plus(&minus(&right_x[i], &x), &twice));
        eight.numerator[i] = carried(&plus(&minus(&right_y[i], &y), &twice));
    }
    eight.given = no_left | no_right;
    if eight.given != 0 {
        let one = one::<D>();
        for i in 0..D {
            eight.x[i] = blended(no_left, &eight.x[i], &right_x[i]);
            eight.y[i] = blended(no_left, &eight.y[i], &right_y[i]);
            eight.denominator[i] = blended(eight.given, &eight.denominator[i], &one[i]);
        }
    }
}

/// The lanes that are zero in every limb.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn nothing(number: &Lanes<8>) -> __mmask8 {
    let mut any = number[0];
    for limb in &number[1..] {
        any = _mm512_or_si512(any, *limb);
    }
    _mm512_testn_epi64_mask(any, any)
}

/// Notes the products of the denominators on the way, and gives both chains' products.
#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply_up<const D: usize>(eights: &mut [[Eight<D>; 2]]) -> [Coordinates<D>; 2] {
    let mut chains = [one(); 2];
    for pair in eights {
        for (chain, eight) in chains.iter_mut().zip(pair) {
            eight.product = *chain;
            *chain = multiplied(chain, &eight.denominator);
        }
    }
    chains
}

/// The inverses of both, in all lanes; none if one of them is zero.
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverses<const D: usize>([left, right]: [Coordinates<D>; 2]) -> Option<[Coordinates<D>; 2]> {
    // The product of more and more lanes, until all lanes hold that of all.
    let eighth = multiplied(&left, &right);
    let quarter = multiplied(&eighth, &exchanged::<4, D>(&eighth));
    let half = multiplied(&quarter, &exchanged::<2, D>(&quarter));
    let whole = multiplied(&half, &exchanged::<1, D>(&half));
    let mut norm = whole[0];
    if D == 2 {
        // (a + b i) (a - b i)
        let squares = plus(&squared(&norm, &BASE), &squared(&whole[D - 1], &BASE));
        norm = carried(&squares);
    }
    let [norm, ..] = scattered(&times(&norm, &broadcast(&TO_BLST), &BASE));
    let norm = limbs(inverse(words(BASE.once_less(norm)))?);
    let norm = times(&broadcast(&norm), &broadcast(&FROM_BLST), &BASE);
    let mut inverse = whole;
    if D == 1 {
        inverse[0] = norm;
    } else {
        inverse[0] = times(&whole[0], &norm, &BASE);
        let conjugate = carried(&minus(&broadcast(&BASE.eight), &whole[D - 1]));
        inverse[D - 1] = times(&conjugate, &norm, &BASE);
    }
    let inverse = multiplied(&inverse, &exchanged::<1, D>(&half));
    let inverse = multiplied(&inverse, &exchanged::<2, D>(&quarter));
    let inverse = multiplied(&inverse, &exchanged::<4, D>(&eighth));
    Some([multiplied(&inverse, &right), multiplied(&inverse, &left)])
}

/// Exchanges lanes that are so far apart.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn exchanged<const APART: usize, const D: usize>(numbers: &Coordinates<D>) -> Coordinates<D> {
    let mut out = *numbers;
    for number in &mut out {
        for limb in number {
            *limb = match APART {
                4 => _mm512_shuffle_i64x2::<0x4e>(*limb, *limb),
                2 => _mm512_shuffle_i64x2::<0xb1>(*limb, *limb),
                _ => _mm512_permutex_epi64::<0xb1>(*limb),
            };
        }
    }
    out
}

/// Makes tangents of the points that are to be doubled; opposite ones give the identity.
#[target_feature(enable = "avx512f,avx512ifma")]
fn resolve<const D: usize>(eight: &mut Eight<D>) {
    let (mut same_x, mut same_y) = (0xff, 0xff);
    for i in 0..D {
        same_x &= zeros(&eight.denominator[i], &BASE);
        same_y &= zeros(&eight.numerator[i], &BASE);
    }
    if same_x == 0 {
        return;
    }
    let (doubled, opposite) = (same_x & same_y, same_x & !same_y);
    let square = squared_coordinates(&eight.x);
    let (zero, one) = (zero::<D>(), one::<D>());
    for i in 0..D {
        let thrice = carried(&plus(&square[i], &plus(&square[i], &square[i])));
        // No point of the groups has order two: y is not zero where both are the same.
        let twice = carried(&plus(&eight.y[i], &eight.y[i]));
        eight.numerator[i] = blended(doubled, &eight.numerator[i], &thrice);
        let denominator = blended(doubled, &eight.denominator[i], &twice);
        eight.denominator[i] = blended(opposite, &denominator, &one[i]);
        eight.x[i] = blended(opposite, &eight.x[i], &zero[i]);
        eight.y[i] = blended(opposite, &eight.y[i], &zero[i]);
    }
    eight.given |= opposite;
}

/// The sums, from the inverses of the denominators' products; leaves those of what comes before.
///
/// Each step is taken for both chains before the next: the processor begins the second while the
/// first still waits for its carries.
#[target_feature(enable = "avx512f,avx512ifma")]
fn solve<const D: usize>(
    pair: &[Eight<D>; 2],
    inverses: &mut [Coordinates<D>; 2],
) -> [(Coordinates<D>, Coordinates<D>); 2] {
    let twice = broadcast(&BASE.twice);
    let high = broadcast(&BASE.eight);
    let mut slope = [zero::<D>(); 2];
    let mut across = [zero::<D>(); 2];
    let mut out = [(zero::<D>(), zero::<D>()); 2];
    for k in 0..2 {
        slope[k] = multiplied(&inverses[k], &pair[k].product);
    }
    for k in 0..2 {
        inverses[k] = multiplied(&inverses[k], &pair[k].denominator);
    }
    for k in 0..2 {
        slope[k] = multiplied(&slope[k], &pair[k].numerator);
    }
    for k in 0..2 {
        let square = squared_coordinates(&slope[k]);
        for i in 0..D {
            let x = reduced(&plus(&minus(&square[i], &pair[k].sum[i]), &high), &BASE);
            across[k][i] = carried(&plus(&minus(&pair[k].x[i], &x), &twice));
            out[k].0[i] = x;
        }
    }
    for k in 0..2 {
        let y = multiplied(&slope[k], &across[k]);
        for (i, y) in y.iter().enumerate() {
            out[k].1[i] = reduced(&plus(&minus(y, &pair[k].y[i]), &high), &BASE);
        }
    }
    for (eight, (x, y)) in pair.iter().zip(&mut out) {
        if eight.given != 0 {
            for i in 0..D {
                x[i] = blended(eight.given, &x[i], &eight.x[i]);
                // A sign may have left limbs that are not carried.
                y[i] = blended(eight.given, &y[i], &carried(&eight.y[i]));
            }
        }
    }
    out
}

/// The product of numbers that are carried and below 64p; at most 2.01p.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn multiplied<const D: usize>(a: &Coordinates<D>, b: &Coordinates<D>) -> Coordinates<D> {
    let mut out = zero();
    if D == 1 {
        out[0] = times(&a[0], &b[0], &BASE);
        return out;
    }
    let (a, b) = ([a[0], a[D - 1]], [b[0], b[D - 1]]);
    let first = product(&a[0], &b[0]);
    let second = product(&a[1], &b[1]);
    let mut mixed = product(&carried(&plus(&a[0], &a[1])), &carried(&plus(&b[0], &b[1])));
    let mut difference = first;
    for half in 0..2 {
        difference[half] = minus(&difference[half], &second[half]);
        mixed[half] = minus(&minus(&mixed[half], &first[half]), &second[half]);
    }
    // R p keeps it from being negative.
    difference[1] = plus(&difference[1], &broadcast(&BASE.order));
    out[0] = montgomery(&difference, &BASE);
    out[D - 1] = montgomery(&mixed, &BASE);
    out
}

/// The square of numbers that are carried and below 4p; at most 2.01p.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn squared_coordinates<const D: usize>(a: &Coordinates<D>) -> Coordinates<D> {
    let mut out = zero();
    if D == 1 {
        out[0] = squared(&a[0], &BASE);
        return out;
    }
    // (a + b i)^2 = (a + b) (a - b) + 2 a b i
    let [a, b] = [a[0], a[D - 1]];
    let sum = carried(&plus(&a, &b));
    let difference = carried(&plus(&minus(&a, &b), &broadcast(&BASE.eight)));
    out[0] = times(&sum, &difference, &BASE);
    out[D - 1] = times(&carried(&plus(&a, &a)), &b, &BASE);
    out
}

#[cfg(test)]
mod tests;
