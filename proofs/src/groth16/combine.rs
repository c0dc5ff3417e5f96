//! Points times the coefficients of a batch. Nothing here is secret.

use group::prime::PrimeCurve;

/// Bits of a coefficient.
const BITS: u32 = 128;
/// The widest window. Wider ones serve more points than a batch has.
const WIDEST: u32 = 10;

/// A point times a coefficient.
pub(super) fn multiple<G: PrimeCurve>(point: &G::Affine, coefficient: u128) -> G {
    (0..BITS).rev().fold(G::identity(), |sum, bit| {
        let sum = sum.double();
        if coefficient >> bit & 1 == 1 {
            sum + point
        } else {
            sum
        }
    })
}

/// The sum of all points, each times its coefficient, by buckets (Pippenger 1976): in a window of
/// bits the points of one digit are added up first, and each digit's sum is multiplied once.
pub(super) fn combination<G: PrimeCurve>(terms: &[(G::Affine, u128)]) -> G {
    // In a window a point costs one addition and a digit two.
    let size = terms.len().checked_ilog2().unwrap_or(0);
    let width = size.saturating_sub(2).clamp(1, WIDEST);
    let mask = (1u128 << width) - 1;
    let mut buckets = vec![G::identity(); 1 << width];
    let mut sum = G::identity();
    for window in (0..BITS.div_ceil(width)).rev() {
        for _ in 0..width {
            sum = sum.double();
        }
        buckets.fill(G::identity());
        for (point, coefficient) in terms {
            let digit = usize::try_from(coefficient >> (window * width) & mask).unwrap_or(0);
            if let Some(bucket) = buckets.get_mut(digit) {
                *bucket += point;
            }
        }
        // Each digit's points times the digit: the sum of the sums from every digit upwards.
        let mut from_here = G::identity();
        for bucket in buckets.iter().skip(1).rev() {
            from_here += bucket;
            sum += from_here;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use bls12_381::{G1Affine, G1Projective};
    use group::Curve;
    use proptest::prelude::*;

    fn point(number: u64) -> G1Affine {
        (G1Projective::generator() * bls12_381::Scalar::from(number)).to_affine()
    }

    /// Coefficients at the edges of windows, and any.
    fn coefficient() -> impl Strategy<Value = u128> {
        prop_oneof![
            Just(1),
            Just(u128::MAX),
            Just(1 << 127),
            (0..128u32).prop_map(|bit| 1 << bit),
            any::<u128>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn buckets_give_the_sum_of_the_multiples(
            terms in proptest::collection::vec((0u64..20, coefficient()), 0..700),
        ) {
            let terms: Vec<_> = terms
                .into_iter()
                .map(|(number, coefficient)| (point(number), coefficient))
                .collect();
            let one_by_one: G1Projective = terms
                .iter()
                .map(|(point, coefficient)| multiple::<G1Projective>(point, *coefficient))
                .sum();
            prop_assert_eq!(combination::<G1Projective>(&terms), one_by_one);
        }
    }

    #[test]
    fn a_multiple_is_what_the_library_says() {
        for coefficient in [1u128, 2, 3, u128::MAX, 1 << 127, 0x1234_5678_9abc_def0] {
            let scalar = <bls12_381::Scalar as ff::PrimeField>::from_u128(coefficient);
            let expected = G1Projective::generator() * scalar;
            assert_eq!(
                multiple::<G1Projective>(&G1Affine::generator(), coefficient),
                expected
            );
        }
    }
}
