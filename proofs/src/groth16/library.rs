//! What a pairing library does in its own way: the product of many pairings.

use ff::PrimeField;
use group::Group;
use pairing::MultiMillerLoop;

/// A pairing library.
pub(crate) trait Library: MultiMillerLoop<Fr: PrimeField<Repr = [u8; 32]>> {
    /// Whether the product of the pairings of all pairs is one. A pair with an identity in it
    /// counts as one.
    fn product_is_one(pairs: &[(Self::G1Affine, Self::G2Affine)]) -> bool;
}

impl Library for bls12_381::Bls12 {
    fn product_is_one(pairs: &[(Self::G1Affine, Self::G2Affine)]) -> bool {
        let prepared: Vec<bls12_381::G2Prepared> =
            pairs.iter().map(|(_, right)| (*right).into()).collect();
        let terms: Vec<_> = pairs.iter().map(|(left, _)| left).zip(&prepared).collect();
        Self::multi_miller_loop(&terms)
            .final_exponentiation()
            .is_identity()
            .into()
    }
}

#[cfg(feature = "prove")]
impl Library for blstrs::Bls12 {
    /// Through blst itself, whose loop over eight pairs shares its squarings and keeps no lines:
    /// blstrs runs one loop a pair, over 20 kB of prepared lines each.
    fn product_is_one(pairs: &[(Self::G1Affine, Self::G2Affine)]) -> bool {
        use group::prime::PrimeCurveAffine;
        // The hash and its domain are those of signatures, and of no use to raw pairs.
        let mut product = blst::Pairing::new(false, &[]);
        let mut any = false;
        for (left, right) in pairs {
            if bool::from(left.is_identity() | right.is_identity()) {
                continue;
            }
            product.raw_aggregate(right.as_ref(), left.as_ref());
            any = true;
        }
        !any || product.as_fp12().final_exp() == blst::blst_fp12::default()
    }
}

#[cfg(all(test, feature = "prove"))]
mod tests {
    use super::*;
    use ff::Field;
    use group::Curve;
    use group::prime::PrimeCurveAffine;

    /// Pairs of the generators' multiples whose products sum to `sum`, as many as factors.
    fn pairs<E: Library>(factors: &[(u64, u64)], sum: u64) -> Vec<(E::G1Affine, E::G2Affine)> {
        let left = |scalar: E::Fr| (E::G1::generator() * scalar).to_affine();
        let right = |scalar: E::Fr| (E::G2::generator() * scalar).to_affine();
        let mut total = E::Fr::from(sum);
        let mut pairs = Vec::new();
        for (a, b) in factors {
            let (a, b) = (E::Fr::from(*a), E::Fr::from(*b));
            pairs.push((left(a), right(b)));
            total -= a * b;
        }
        pairs.push((left(total), right(E::Fr::ONE)));
        pairs
    }

    fn both(factors: &[(u64, u64)], sum: u64) -> bool {
        let pure = bls12_381::Bls12::product_is_one(&pairs::<bls12_381::Bls12>(factors, sum));
        let blst = blstrs::Bls12::product_is_one(&pairs::<blstrs::Bls12>(factors, sum));
        assert_eq!(pure, blst, "{factors:?} {sum}");
        blst
    }

    #[test]
    fn both_libraries_say_whether_a_product_is_one() {
        // Up to three of blst's rounds of eight, one pair more and one less.
        for count in [0, 1, 6, 7, 8, 15, 16, 17] {
            let factors: Vec<(u64, u64)> = (0..count).map(|at| (at + 3, 2 * at + 1)).collect();
            assert!(both(&factors, 0), "{count}");
            assert!(!both(&factors, 1), "{count}");
        }
    }

    #[test]
    fn a_pair_with_an_identity_counts_as_one() {
        assert!(both(&[(0, 5)], 0));
        assert!(both(&[(5, 0)], 0));
        assert!(both(&[(0, 0), (3, 4), (0, 9)], 0));
        assert!(!both(&[(0, 5)], 1));
        assert!(!both(&[(5, 0), (0, 0)], 7));
        assert!(blstrs::Bls12::product_is_one(&[]));
        assert!(bls12_381::Bls12::product_is_one(&[]));
        let identities = [(blstrs::G1Affine::identity(), blstrs::G2Affine::identity())];
        assert!(blstrs::Bls12::product_is_one(&identities));
    }
}
