//! The published conditions, computed: round numbers by the security script, and internal matrices
//! without invariant subspaces.
//!
//! The matrices' condition (Poseidon2, section 5.3) is that the minimal polynomials of M, M^2, ...,
//! M^2t are irreducible of degree t. Where the characteristic polynomial f of M is irreducible, a
//! root x generates the field of r^t elements, the minimal polynomial of M^i is that of x^i, which
//! is always irreducible and of degree t unless x^i lies in the subfield of r^(t/2) elements.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use super::derive::{Grain, REFUSED_DIAGONALS_8, round_constants};
use super::*;
use bls12_381::Scalar;
use ff::Field;

/// Coefficients, lowest first.
type Polynomial = Vec<Scalar>;

fn trimmed(mut a: Polynomial) -> Polynomial {
    while a.last() == Some(&Scalar::ZERO) {
        a.pop();
    }
    a
}

fn product(a: &[Scalar], b: &[Scalar]) -> Polynomial {
    let mut out = vec![Scalar::ZERO; (a.len() + b.len()).saturating_sub(1)];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            out[i + j] += x * y;
        }
    }
    out
}

fn remainder(a: &[Scalar], modulus: &[Scalar]) -> Polynomial {
    let mut a = trimmed(a.to_vec());
    let inverse = modulus.last().unwrap().invert().unwrap();
    while a.len() >= modulus.len() {
        let factor = a.last().unwrap() * inverse;
        let shift = a.len() - modulus.len();
        for (i, coefficient) in modulus.iter().enumerate() {
            a[shift + i] -= factor * coefficient;
        }
        a = trimmed(a);
    }
    a
}

fn coprime(a: &[Scalar], b: &[Scalar]) -> bool {
    let (mut a, mut b) = (trimmed(a.to_vec()), trimmed(b.to_vec()));
    while !b.is_empty() {
        let rest = remainder(&a, &b);
        a = std::mem::replace(&mut b, rest);
    }
    a.len() == 1
}

fn minus(a: &[Scalar], b: &[Scalar]) -> Polynomial {
    let at = |p: &[Scalar], i: usize| p.get(i).copied().unwrap_or(Scalar::ZERO);
    trimmed(
        (0..a.len().max(b.len()))
            .map(|i| at(a, i) - at(b, i))
            .collect(),
    )
}

/// det(x I - M) for M = all ones + diagonal: prod(x - d_i) - sum over i of prod over j != i.
fn characteristic(diagonal: &[Scalar]) -> Polynomial {
    let without = |skipped: Option<usize>| {
        diagonal
            .iter()
            .enumerate()
            .filter(|(i, _)| Some(*i) != skipped)
            .fold(vec![Scalar::ONE], |all, (_, entry)| {
                product(&all, &[-entry, Scalar::ONE])
            })
    };
    (0..diagonal.len()).fold(without(None), |all, i| minus(&all, &without(Some(i))))
}

/// `a` to the group order, mod f: the Frobenius map.
fn frobenius(a: &[Scalar], f: &[Scalar]) -> Polynomial {
    let mut order = (-Scalar::ONE).to_bytes();
    order[0] += 1; // r - 1 is even
    let mut out = vec![Scalar::ONE];
    for bit in (0..256).rev() {
        out = remainder(&product(&out, &out), f);
        if order[bit / 8] >> (bit % 8) & 1 == 1 {
            out = remainder(&product(&out, a), f);
        }
    }
    out
}

/// `a` under the Frobenius map `times` times.
fn conjugate(a: &[Scalar], times: usize, f: &[Scalar]) -> Polynomial {
    (0..times).fold(a.to_vec(), |a, _| frobenius(&a, f))
}

fn conditions_hold(diagonal: &[Scalar]) -> bool {
    let t = diagonal.len(); // a power of two: the only maximal subfield is that of half the degree
    let f = characteristic(diagonal);
    let x = vec![Scalar::ZERO, Scalar::ONE];
    let halfway = conjugate(&x, t / 2, &f);
    // Rabin's test.
    if !coprime(&f, &minus(&halfway, &x)) || conjugate(&halfway, t / 2, &f) != x {
        return false;
    }
    let mut power = vec![Scalar::ONE];
    let mut conjugated = vec![Scalar::ONE];
    (1..=2 * t).all(|_| {
        power = remainder(&product(&power, &x), &f);
        conjugated = remainder(&product(&conjugated, &halfway), &f);
        power != conjugated
    })
}

#[test]
fn the_internal_matrix_of_width_16_has_no_invariant_subspace() {
    let diagonal = constants16::<Scalar>().diagonal;
    assert!(conditions_hold(&diagonal));
    // The check can fail: two equal entries share an eigenvector.
    let mut equal = diagonal;
    equal[1] = equal[0];
    assert!(!conditions_hold(&equal));
}

#[test]
fn the_internal_matrix_of_width_8_is_the_first_drawn_that_has_no_invariant_subspace() {
    let mut grain = Grain::new(8);
    let _ = round_constants::<Scalar, 8>(&mut grain);
    for draw in 0..=REFUSED_DIAGONALS_8 {
        let diagonal: [Scalar; 8] =
            std::array::from_fn(|_| grain.reduced::<Scalar>() - Scalar::ONE);
        assert_eq!(
            conditions_hold(&diagonal),
            draw == REFUSED_DIAGONALS_8,
            "draw {draw}"
        );
    }
}

/// The security script's inequalities for x^5 and 128 bits over a field of 255 bits.
fn secure(t: f64, full: f64, partial: f64) -> bool {
    let security = 128f64;
    let order_bits = 254.857; // log2 r
    let log5_2 = 1.0 / 5f64.log2();
    let statistical = if security <= (order_bits - 2f64).floor() * (t + 1.0) {
        6.0
    } else {
        10.0
    };
    let interpolation = 1.0 + (log5_2 * security).ceil() + (t.ln() / 5f64.ln()).ceil() - partial;
    let groebner_1 = log5_2 * security - partial;
    let groebner_2 = t - 1.0 + log5_2 * (security / (t + 1.0)).min(order_bits / 2.0) - partial;
    let groebner_3 = (t - 2.0 + security / (2.0 * 5f64.log2()) - partial) / (t - 1.0);
    let least = [
        statistical,
        interpolation,
        groebner_1,
        groebner_2,
        groebner_3,
    ]
    .into_iter()
    .fold(0f64, |most, bound| most.max(bound.ceil()));
    // The addition of eprint 2023/537.
    let third = (t / 3.0).floor();
    let under = third * (full / 2.0) + partial + 5.0;
    let over = (full - 1.0) * t + partial + third + under;
    let mut binomial_bits = 0f64;
    let mut i = 1f64;
    while i <= under {
        binomial_bits += ((over - under + i) / i).log2();
        i += 1.0;
    }
    full >= least && (2.0 * binomial_bits).ceil() >= security
}

#[test]
fn the_round_numbers_are_the_security_scripts() {
    for t in [8usize, 16] {
        let mut best: Option<(usize, usize, usize)> = None;
        for partial in 1..500usize {
            for full in (4..100usize).step_by(2) {
                if secure(t as f64, full as f64, partial as f64) {
                    // The margin: two full rounds, and 7.5% of the partial ones.
                    let (full, partial) = (full + 2, (partial as f64 * 1.075).ceil() as usize);
                    let candidate = (t * full + partial, full, partial);
                    if best.is_none_or(|best| (candidate.0, candidate.1) < (best.0, best.1)) {
                        best = Some(candidate);
                    }
                }
            }
        }
        let (_, full, partial) = best.unwrap();
        assert_eq!((full, partial), (FULL_ROUNDS, PARTIAL_ROUNDS), "width {t}");
    }
}
