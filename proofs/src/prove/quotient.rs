//! The quotient polynomial `(A B - C) / Z`, from the values of A, B and C at the constraints.
//!
//! Transforms to coefficients leave them in bit-reversed order and transforms to values take them
//! so, which spares every permutation but the last. `C` never leaves the coefficients: on the
//! coset `Z` is constant, so that dividing is linear, and six transforms suffice instead of seven.

#[cfg(target_arch = "x86_64")]
use super::ifma::Sides;
use super::multiples::Bytes;
use bellman::SynthesisError;
use blstrs::Scalar;
use ff::{Field, PrimeField};

/// The coefficients of the quotient, all but the highest, which is zero for what holds.
pub(super) fn quotient(
    a: Vec<Scalar>,
    b: Vec<Scalar>,
    c: Vec<Scalar>,
) -> Result<Vec<Bytes>, SynthesisError> {
    let size = a.len().next_power_of_two();
    #[cfg(target_arch = "x86_64")]
    if let Some(mut quotient) = in_lanes(size, &a, &b, &c)? {
        quotient.truncate(size - 1);
        return Ok(quotient);
    }
    one_by_one(size, a, b, c)
}

/// None where the processor cannot, or the domain is too small to fill the lanes.
#[cfg(target_arch = "x86_64")]
fn in_lanes(
    size: usize,
    a: &[Scalar],
    b: &[Scalar],
    c: &[Scalar],
) -> Result<Option<Vec<Bytes>>, SynthesisError> {
    let root = root(size)?;
    let (per_size, divisor) = divisors(size)?;
    let shift = Scalar::MULTIPLICATIVE_GENERATOR;
    Ok(super::ifma::quotient(&Sides {
        size,
        a,
        b,
        c,
        root,
        inverse_root: inverse(root)?,
        shift,
        inverse_shift: inverse(shift)?,
        per_size,
        divisor,
    }))
}

fn one_by_one(
    size: usize,
    mut a: Vec<Scalar>,
    mut b: Vec<Scalar>,
    mut c: Vec<Scalar>,
) -> Result<Vec<Bytes>, SynthesisError> {
    let domain = Domain::of(size)?;
    let (per_size, divisor) = divisors(size)?;
    let generator = Scalar::MULTIPLICATIVE_GENERATOR;
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

/// The root of unity of a power of two.
fn root(size: usize) -> Result<Scalar, SynthesisError> {
    let exponent = size.trailing_zeros();
    // The same bound as `bellman`'s.
    if exponent >= Scalar::S {
        return Err(SynthesisError::PolynomialDegreeTooLarge);
    }
    Ok((exponent..Scalar::S).fold(Scalar::ROOT_OF_UNITY, |root, _| root.square()))
}

/// 1 / size, and that by the value of Z on the coset.
fn divisors(size: usize) -> Result<(Scalar, Scalar), SynthesisError> {
    let vanishing = Scalar::MULTIPLICATIVE_GENERATOR.pow_vartime([size as u64]) - Scalar::ONE;
    let per_size = inverse(Scalar::from(size as u64))?;
    Ok((per_size, inverse(vanishing)? * per_size))
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
    fn of(size: usize) -> Result<Self, SynthesisError> {
        let root = root(size)?;
        let exponent = size.trailing_zeros();
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

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn the_quotient_in_lanes_is_that_of_single_butterflies() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        for exponent in 6..=11 {
            let size = 1usize << exponent;
            let mut side = |count: usize| -> Vec<Scalar> {
                (0..count)
                    .map(|_| match rng.r#gen::<u8>() % 5 {
                        0 => Scalar::ZERO,
                        1 => Scalar::ONE,
                        2 => -Scalar::ONE,
                        _ => Scalar::random(&mut rng),
                    })
                    .collect()
            };
            for [a, b, c] in [
                [side(size), side(size), side(size)],
                [side(size - 3), side(size - 3), side(size - 3)],
                [-Scalar::ONE; 3].map(|most| vec![most; size]),
                [Scalar::ONE; 3].map(|one| vec![one; size]),
            ] {
                let Some(mut quotient) = in_lanes(size, &a, &b, &c).unwrap() else {
                    return;
                };
                quotient.truncate(size - 1);
                assert!(quotient == one_by_one(size, a, b, c).unwrap(), "{size}");
            }
        }
    }
}
