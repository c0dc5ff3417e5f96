//! Sums against single multiples, and in lanes against without.
#![allow(clippy::unwrap_used)]

use super::*;
use ff::{Field, PrimeField};
use group::Curve;
use rand::{Rng, SeedableRng};

/// A sum of the module, for either group.
type Sum<G> = fn(&[G], &[Scalar]) -> <G as PrimeCurveAffine>::Curve;

fn terms<'a, G>(bases: &'a [G], scalars: &[Scalar]) -> impl Iterator<Item = (&'a G, Bytes)> {
    bases.iter().zip(scalars.iter().map(Scalar::to_repr))
}

/// As the processor can, and without lanes: both must be the same.
fn in_g1(bases: &[G1Affine], scalars: &[Scalar]) -> G1Projective {
    let sum = sum1(terms(bases, scalars)).unwrap();
    let plain = one_by_one1(&Terms::of(terms(bases, scalars)).unwrap());
    assert!(sum == plain, "{} terms", bases.len());
    sum
}

fn in_g2(bases: &[G2Affine], scalars: &[Scalar]) -> G2Projective {
    let sum = sum2(terms(bases, scalars)).unwrap();
    let plain = one_by_one2(&Terms::of(terms(bases, scalars)).unwrap());
    assert!(sum == plain, "{} terms", bases.len());
    sum
}

fn assert_sum<G: PrimeCurveAffine<Scalar = Scalar>>(sum: Sum<G>, bases: &[G], scalars: &[Scalar]) {
    let expected = bases
        .iter()
        .zip(scalars)
        .fold(G::Curve::identity(), |sum, (base, scalar)| {
            sum + base.to_curve() * scalar
        });
    assert!(sum(bases, scalars) == expected, "{} terms", bases.len());
}

fn check<G: PrimeCurveAffine<Scalar = Scalar>>(sum: Sum<G>, seed: u64, counts: &[usize]) {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
    for count in counts {
        let bases: Vec<G> = (0..*count)
            .map(|_| (G::generator() * Scalar::random(&mut rng)).to_affine())
            .collect();
        let scalars: Vec<Scalar> = (0..*count)
            .map(|index| match index % 7 {
                0 => Scalar::ZERO,
                1 => Scalar::ONE,
                2 => -Scalar::ONE,
                3 => Scalar::from(rng.r#gen::<u16>() as u64),
                4 => -Scalar::from(rng.r#gen::<u16>() as u64),
                _ => Scalar::random(&mut rng),
            })
            .collect();
        assert_sum(sum, &bases, &scalars);
    }
}

#[test]
fn sums_in_both_groups_are_those_of_single_multiples() {
    check(in_g1, 1, &[0, 1, 2, 3, 40, 700, 3000]);
    check(in_g2, 2, &[0, 1, 5, 300]);
}

#[test]
fn points_that_repeat_and_points_that_cancel_are_summed() {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
    let point = blstrs::G1Projective::random(&mut rng).to_affine();
    let scalar = Scalar::random(&mut rng);
    for pattern in [
        vec![(point, scalar); 5],
        vec![(point, scalar), (-point, scalar)],
        vec![(point, scalar), (point, -scalar), (point, Scalar::ONE)],
        vec![
            (point, scalar),
            (-point, scalar),
            (point, scalar),
            (-point, scalar),
        ],
        vec![(point, scalar); 1100],
    ] {
        let (bases, scalars): (Vec<_>, Vec<_>) = pattern.into_iter().unzip();
        assert_sum(in_g1, &bases, &scalars);
    }
}

/// Sums of few different points, so that they meet again and cancel in every round.
fn check_few<G: PrimeCurveAffine<Scalar = Scalar>>(sum: Sum<G>, seed: u64, counts: &[usize]) {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
    for count in counts {
        let few: Vec<G> = [1u64, 2, 3, 5]
            .into_iter()
            .map(|factor| (G::generator() * Scalar::from(factor)).to_affine())
            .flat_map(|point| [point, -point])
            .collect();
        let (bases, scalars): (Vec<G>, Vec<Scalar>) = (0..*count)
            .map(|_| {
                let size = Scalar::from(u64::from(rng.r#gen::<u8>() % 8));
                let scalar = if rng.r#gen() { size } else { -size };
                (few[rng.r#gen::<usize>() % few.len()], scalar)
            })
            .unzip();
        assert_sum(sum, &bases, &scalars);
    }
}

#[test]
fn few_points_with_small_scalars_are_summed_in_both_groups() {
    check_few(in_g1, 4, &[2, 3, 4, 8, 9, 16, 17, 100, 600, 2000]);
    check_few(in_g2, 5, &[2, 3, 9, 17, 100, 600]);
}

#[test]
fn a_base_that_is_the_identity_is_refused_unless_its_scalar_is_zero() {
    let base = G1Affine::identity();
    assert!(matches!(
        sum1([(&base, Scalar::ONE.to_repr())].into_iter()),
        Err(SynthesisError::UnexpectedIdentity)
    ));
    let sum = sum1([(&base, [0; 32])].into_iter()).unwrap();
    assert!(bool::from(sum.is_identity()));
}

#[test]
fn digits_of_every_width_make_up_the_scalar() {
    let scalars = [
        Scalar::ZERO,
        Scalar::ONE,
        -Scalar::ONE,
        -Scalar::from(12_345),
    ];
    for width in 3..=15 {
        for scalar in scalars {
            let recoded = recoded(&words(&scalar.to_repr()), &halves(width));
            let made = (0..windows(width))
                .rev()
                .fold(Scalar::ZERO, |made, window| {
                    let digit = Digit::new(window, width).of(&recoded);
                    assert!(digit.unsigned_abs() <= 1 << (width - 1));
                    let size = Scalar::from(u64::from(digit.unsigned_abs()));
                    made * Scalar::from(1 << width) + if digit < 0 { -size } else { size }
                });
            assert_eq!(made, scalar, "width {width}");
        }
    }
}
