//! The quotient polynomial in lanes: as in `super::super::quotient`, eight butterflies at a time.
//!
//! Down to blocks of 64 values a register holds values that follow each other. Such a block is then
//! transposed, so that the last three levels too run between registers, and the coefficients stay
//! so until the way back. Values are plain, only constants are in Montgomery form: what a product
//! of two values lacks for that is made up for by a constant after it.

// Calling code compiled for AVX-512, after the processor was asked for it, is the use of `unsafe`.
// Indices are below the lengths of arrays, and those of the domain's positions.
#![allow(unsafe_code, clippy::indexing_slicing)]

use super::available;
use super::field::{
    Lanes, Modulus, broadcast, carried, gathered, limbs, minus, plus, reduced, scattered, times,
    words,
};
use super::registers::transposed;
use crate::prove::multiples::Bytes;
use blstrs::Scalar;
use ff::{Field, PrimeField};
use std::arch::x86_64::*;

/// The scalars' field, as in [`Modulus`]: factors whose product is at most 35 times that of two
/// moduli. Values are at most 2r, between levels at most 1.2r.
static SCALARS: Modulus<5> = Modulus::new([
    0xffff_ffff_0000_0001,
    0x53bd_a402_fffe_5bfe,
    0x3339_d808_09a1_d805,
    0x73ed_a753_299d_7d48,
]);

type Eight = Lanes<5>;

/// What the quotient is computed with; `size` is a power of two that no side exceeds.
pub(in crate::prove) struct Sides<'a> {
    pub(in crate::prove) size: usize,
    pub(in crate::prove) a: &'a [Scalar],
    pub(in crate::prove) b: &'a [Scalar],
    pub(in crate::prove) c: &'a [Scalar],
    /// The root of unity of that order, and its inverse.
    pub(in crate::prove) root: Scalar,
    pub(in crate::prove) inverse_root: Scalar,
    /// What moves the domain, and its inverse.
    pub(in crate::prove) shift: Scalar,
    pub(in crate::prove) inverse_shift: Scalar,
    /// 1 / size.
    pub(in crate::prove) per_size: Scalar,
    /// 1 / size, by what vanishes on the domain, on the moved one.
    pub(in crate::prove) divisor: Scalar,
}

/// The coefficients of the quotient, as many as the size. None where the processor lacks what it
/// takes, and for sizes that do not fill the registers.
pub(in crate::prove) fn quotient(sides: &Sides<'_>) -> Option<Vec<Bytes>> {
    (available() && sides.size >= 64).then(|| {
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { divided(sides) }
    })
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn divided(sides: &Sides<'_>) -> Vec<Bytes> {
    let size = sides.size;
    let to_coefficients = Roots::of(sides.inverse_root, size);
    let to_values = Roots::of(sides.root, size);
    let shift = Powers::of(sides.shift, sides.per_size, size);
    let moved = |side: &[Scalar]| {
        let mut values = eights(side, size);
        to_coefficients.inwards(&mut values);
        shift.multiply(&mut values);
        to_values.outwards(&mut values);
        values
    };
    let mut a = moved(sides.a);
    let b = moved(sides.b);
    for (a, b) in a.iter_mut().zip(&b) {
        *a = times(a, b, &SCALARS);
    }
    drop(b);
    to_coefficients.inwards(&mut a);
    let mut c = eights(sides.c, size);
    to_coefficients.inwards(&mut c);
    Powers::of(sides.inverse_shift, sides.divisor * radix(), size).multiply(&mut a);

    let divisor = broadcast(&constant(sides.divisor));
    let high = broadcast(&SCALARS.eight);
    let mut quotient = vec![[0; 32]; size];
    for (index, (a, c)) in a.iter().zip(&c).enumerate() {
        let c = times(c, &divisor, &SCALARS);
        let difference = reduced(&plus(&minus(a, &c), &high), &SCALARS);
        for (lane, number) in scattered(&difference).into_iter().enumerate() {
            let position = 64 * (index / 8) + 8 * lane + index % 8;
            quotient[reversed(position, size)] = bytes(SCALARS.once_less(number));
        }
    }
    quotient
}

/// R = 2^260.
fn radix() -> Scalar {
    Scalar::from(2).pow_vartime([260])
}

fn plain(scalar: &Scalar) -> [u64; 5] {
    let bytes = scalar.to_repr();
    let (chunks, _) = bytes.as_chunks::<8>();
    limbs::<5, 4>(std::array::from_fn(|i| u64::from_le_bytes(chunks[i])))
}

fn bytes(number: [u64; 5]) -> Bytes {
    let mut bytes = [0; 32];
    let (chunks, _) = bytes.as_chunks_mut::<8>();
    for (chunk, word) in chunks.iter_mut().zip(words::<5, 4>(number)) {
        *chunk = word.to_le_bytes();
    }
    bytes
}

/// A constant in Montgomery form.
fn constant(scalar: Scalar) -> [u64; 5] {
    plain(&(scalar * radix()))
}

/// The bits of an index below a power of two, the other way round.
fn reversed(index: usize, size: usize) -> usize {
    let unused = usize::BITS - size.trailing_zeros();
    index.reverse_bits().checked_shr(unused).unwrap_or(0)
}

/// Values and then zeros.
#[target_feature(enable = "avx512f,avx512ifma")]
fn eights(values: &[Scalar], size: usize) -> Vec<Eight> {
    let mut eights = Vec::with_capacity(size / 8);
    for values in values.chunks(8) {
        let mut lanes = [[0; 5]; 8];
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = plain(value);
        }
        eights.push(gathered(&lanes));
    }
    eights.resize(size / 8, [_mm512_setzero_si512(); 5]);
    eights
}

/// The powers of a number in the order of coefficients: bit-reversed, in blocks of 64 that are
/// transposed. A power is the product of one for its place in the block and one for the block.
struct Powers {
    places: [Eight; 8],
    blocks: Vec<[u64; 5]>,
}

impl Powers {
    /// `factor * base^i`.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn of(base: Scalar, factor: Scalar, size: usize) -> Self {
        let blocks = size / 64;
        let in_order: Vec<[u64; 5]> =
            std::iter::successors(Some(factor), |power| Some(*power * base))
                .take(blocks)
                .map(constant)
                .collect();
        let step = base.pow_vartime([blocks as u64]);
        let mut places = [[_mm512_setzero_si512(); 5]; 8];
        for (register, place) in places.iter_mut().enumerate() {
            let mut lanes = [[0; 5]; 8];
            for (lane, power) in lanes.iter_mut().enumerate() {
                let exponent = reversed(8 * lane + register, 64) as u64;
                *power = constant(step.pow_vartime([exponent]));
            }
            *place = gathered(&lanes);
        }
        Self {
            places,
            blocks: (0..blocks)
                .map(|block| in_order[reversed(block, blocks)])
                .collect(),
        }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn multiply(&self, coefficients: &mut [Eight]) {
        for (block, power) in coefficients.chunks_exact_mut(8).zip(&self.blocks) {
            let power = broadcast(power);
            for (coefficient, place) in block.iter_mut().zip(&self.places) {
                let moved = times(coefficient, place, &SCALARS);
                *coefficient = times(&moved, &power, &SCALARS);
            }
        }
    }
}

/// The powers of a root of unity for each level.
struct Roots {
    /// For halves of 8, 16, 32 ... values, the powers of the root of twice as many.
    levels: Vec<Vec<Eight>>,
    /// The powers of the eighth root, each in all lanes.
    eighths: [Eight; 4],
}

impl Roots {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn of(root: Scalar, size: usize) -> Self {
        let mut levels = Vec::new();
        let (mut root, mut half) = (root, size / 2);
        while half >= 8 {
            let mut lanes = [[0; 5]; 8];
            let mut power = radix();
            for lane in &mut lanes {
                *lane = plain(&power);
                power *= root;
            }
            // The eighth power, by which the next eight follow.
            let step = broadcast(&plain(&power));
            let mut eight = gathered(&lanes);
            let mut level = Vec::with_capacity(half / 8);
            for _ in 0..half / 8 {
                level.push(eight);
                eight = times(&eight, &step, &SCALARS);
            }
            levels.push(level);
            root = root.square();
            half /= 2;
        }
        levels.reverse();
        let mut eighths = [[_mm512_setzero_si512(); 5]; 4];
        let mut power = radix();
        for eighth in &mut eighths {
            *eighth = broadcast(&plain(&power));
            power *= root;
        }
        Self { levels, eighths }
    }

    /// Values in order to coefficients, times the size. Depth first: what fits a cache stays there.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn inwards(&self, values: &mut [Eight]) {
        if values.len() > 8 {
            self.part(values);
            let (low, high) = values.split_at_mut(values.len() / 2);
            self.inwards(low);
            self.inwards(high);
            return;
        }
        for length in [8, 4, 2] {
            for part in values.chunks_exact_mut(length) {
                self.part(part);
            }
        }
        transpose(values);
        for i in 0..4 {
            (values[i], values[i + 4]) = parted(&values[i], &values[i + 4], &self.eighths[i]);
        }
        for i in [0, 1, 4, 5] {
            let root = &self.eighths[2 * (i % 4)];
            (values[i], values[i + 2]) = parted(&values[i], &values[i + 2], root);
        }
        for i in [0, 2, 4, 6] {
            (values[i], values[i + 1]) = sum_and_difference(&values[i], &values[i + 1]);
        }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn part(&self, values: &mut [Eight]) {
        let roots = self.level(values.len());
        let (low, high) = values.split_at_mut(values.len() / 2);
        for ((low, high), root) in low.iter_mut().zip(high).zip(roots) {
            (*low, *high) = parted(low, high, root);
        }
    }

    /// Coefficients to values in order.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn outwards(&self, values: &mut [Eight]) {
        if values.len() > 8 {
            let (low, high) = values.split_at_mut(values.len() / 2);
            self.outwards(low);
            self.outwards(high);
            self.join(values);
            return;
        }
        for i in [0, 2, 4, 6] {
            (values[i], values[i + 1]) = sum_and_difference(&values[i], &values[i + 1]);
        }
        for i in [0, 1, 4, 5] {
            let root = &self.eighths[2 * (i % 4)];
            (values[i], values[i + 2]) = joined(&values[i], &values[i + 2], root);
        }
        for i in 0..4 {
            (values[i], values[i + 4]) = joined(&values[i], &values[i + 4], &self.eighths[i]);
        }
        transpose(values);
        for length in [2, 4, 8] {
            for part in values.chunks_exact_mut(length) {
                self.join(part);
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn join(&self, values: &mut [Eight]) {
        let roots = self.level(values.len());
        let (low, high) = values.split_at_mut(values.len() / 2);
        for ((low, high), root) in low.iter_mut().zip(high).zip(roots) {
            (*low, *high) = joined(low, high, root);
        }
    }

    /// The roots for so many registers, of which half are on either side.
    fn level(&self, registers: usize) -> &[Eight] {
        &self.levels[registers.trailing_zeros() as usize - 1]
    }
}

/// A block of 64 values.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn transpose(values: &mut [Eight]) {
    for limb in 0..5 {
        let mut rows = [_mm512_setzero_si512(); 8];
        for (row, value) in rows.iter_mut().zip(values.iter()) {
            *row = value[limb];
        }
        for (value, column) in values.iter_mut().zip(transposed(&rows)) {
            value[limb] = column;
        }
    }
}

/// The sum, and the difference times a root.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn parted(low: &Eight, high: &Eight, root: &Eight) -> (Eight, Eight) {
    // One modulus more, for a quotient that is not negative.
    let sum = plus(&plus(low, high), &broadcast(&SCALARS.order));
    let difference = carried(&plus(&minus(low, high), &broadcast(&SCALARS.twice)));
    (reduced(&sum, &SCALARS), times(&difference, root, &SCALARS))
}

/// Sum and difference with what is high times a root.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn joined(low: &Eight, high: &Eight, root: &Eight) -> (Eight, Eight) {
    sum_and_difference(low, &times(high, root, &SCALARS))
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn sum_and_difference(low: &Eight, high: &Eight) -> (Eight, Eight) {
    let sum = plus(&plus(low, high), &broadcast(&SCALARS.order));
    let difference = plus(&minus(low, high), &broadcast(&SCALARS.eight));
    (reduced(&sum, &SCALARS), reduced(&difference, &SCALARS))
}
