//! The quotient polynomial `(A B - C) / Z`, from the values of A, B and C at the constraints.
//!
//! Transforms to coefficients leave them in bit-reversed order and transforms to values take them
//! so, which spares every permutation but the last. `C` never leaves the coefficients: on the
//! coset `Z` is constant, so that dividing is linear, and six transforms suffice instead of seven.

use super::multiples::Bytes;
use bellman::SynthesisError;
use blstrs::Scalar;
use ff::{Field, PrimeField};

/// The coefficients of the quotient, all but the highest, which is zero for what holds.
pub(super) fn quotient(
    mut a: Vec<Scalar>,
    mut b: Vec<Scalar>,
    mut c: Vec<Scalar>,
) -> Result<Vec<Bytes>, SynthesisError> {
    let domain = Domain::over(a.len())?;
    let size = domain.size;
    let generator = Scalar::MULTIPLICATIVE_GENERATOR;
    let vanishing = generator.pow_vartime([size as u64]) - Scalar::ONE;
    let per_size = inverse(Scalar::from(size as u64))?;
    let divisor = inverse(vanishing)? * per_size;

    let shift = domain.powers(generator, per_size);
    for values in [&mut a, &mut b] {
        values.resize(size, Scalar::ZERO);
        domain.to_coefficients(values);
        for (coefficient, power) in values.iter_mut().zip(&shift) {
            *coefficient *= power;
        }
        domain.to_values(values);
    }
    for (a, b) in a.iter_mut().zip(&b) {
        *a *= b;
    }
    domain.to_coefficients(&mut a);
    c.resize(size, Scalar::ZERO);
    domain.to_coefficients(&mut c);
    let back = domain.powers(inverse(generator)?, divisor);
    for ((product, c), power) in a.iter_mut().zip(&c).zip(&back) {
        *product = *product * power - *c * divisor;
    }
    Ok((0..size - 1)
        .filter_map(|index| a.get(domain.reversed(index)))
        .map(Scalar::to_repr)
        .collect())
}

fn inverse(scalar: Scalar) -> Result<Scalar, SynthesisError> {
    Option::from(scalar.invert()).ok_or(SynthesisError::DivisionByZero)
}

/// The roots of unity of a power of two.
struct Domain {
    size: usize,
    /// For halves of 1, 2, 4 ... values: the powers of the root of twice as many.
    roots: Vec<Vec<Scalar>>,
    /// The same with the inverse root.
    inverses: Vec<Vec<Scalar>>,
}

impl Domain {
    /// The smallest domain of at least that many values.
    fn over(count: usize) -> Result<Self, SynthesisError> {
        let size = count.next_power_of_two();
        let exponent = size.trailing_zeros();
        // The same bound as `bellman`'s.
        if exponent >= Scalar::S {
            return Err(SynthesisError::PolynomialDegreeTooLarge);
        }
        let root = (exponent..Scalar::S).fold(Scalar::ROOT_OF_UNITY, |root, _| root.square());
        Ok(Self {
            size,
            roots: levels(root, exponent),
            inverses: levels(inverse(root)?, exponent),
        })
    }

    fn reversed(&self, index: usize) -> usize {
        let unused = usize::BITS - self.size.trailing_zeros();
        index.reverse_bits().checked_shr(unused).unwrap_or(0)
    }

    /// `factor * base^i`, in the order of the coefficients.
    fn powers(&self, base: Scalar, factor: Scalar) -> Vec<Scalar> {
        let powers: Vec<Scalar> = std::iter::successors(Some(factor), |power| Some(*power * base))
            .take(self.size)
            .collect();
        (0..self.size)
            .filter_map(|index| powers.get(self.reversed(index)).copied())
            .collect()
    }

    /// Values in order to coefficients in bit-reversed order, times the size.
    fn to_coefficients(&self, values: &mut [Scalar]) {
        for roots in self.inverses.iter().rev() {
            for block in values.chunks_exact_mut(2 * roots.len()) {
                let (low, high) = block.split_at_mut(roots.len());
                for ((low, high), root) in low.iter_mut().zip(high).zip(roots) {
                    let difference = *low - *high;
                    *low += *high;
                    *high = difference * root;
                }
            }
        }
    }

    /// Coefficients in bit-reversed order to values in order.
    fn to_values(&self, coefficients: &mut [Scalar]) {
        for roots in &self.roots {
            for block in coefficients.chunks_exact_mut(2 * roots.len()) {
                let (low, high) = block.split_at_mut(roots.len());
                for ((low, high), root) in low.iter_mut().zip(high).zip(roots) {
                    let right = *high * root;
                    *high = *low - right;
                    *low += right;
                }
            }
        }
    }
}

/// The powers of the root for each level, the smallest level first.
fn levels(root: Scalar, exponent: u32) -> Vec<Vec<Scalar>> {
    let mut levels = Vec::new();
    if let Some(top) = exponent.checked_sub(1) {
        let powers = std::iter::successors(Some(Scalar::ONE), |power| Some(*power * root));
        let mut level: Vec<Scalar> = powers.take(1 << top).collect();
        while level.len() > 1 {
            let next = level.iter().step_by(2).copied().collect();
            levels.push(std::mem::replace(&mut level, next));
        }
        levels.push(level);
    }
    levels.reverse();
    levels
}
