//! The base field in lanes against that of `blstrs`.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::prove::ifma::field::gathered;
use blstrs::{G1Affine, G2Affine};
use ff::Field;
use group::Curve;
use group::prime::PrimeCurveAffine;
use proptest::prelude::*;
use std::array::from_fn;

/// p, in the words of `blst`.
const ORDER: [u64; 6] = words(BASE.order);

/// Numbers as `blst` keeps them, below p: anything, the extremes, and patterns that carry far.
fn number() -> impl Strategy<Value = [u64; 6]> {
    let below = |number: &[u64; 6]| number.iter().rev().lt(ORDER.iter().rev());
    let mut largest = ORDER;
    largest[0] -= 1;
    let limb = prop_oneof![Just(0), Just(1), Just((1u64 << 52) - 1), 0..1u64 << 52];
    let pattern = proptest::array::uniform8(limb).prop_map(|mut limbs| {
        limbs[7] &= 0xffff;
        words(limbs)
    });
    let whole = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
    let filled = proptest::array::uniform6(whole).prop_map(|mut words| {
        words[5] &= u64::MAX >> 4;
        words
    });
    prop_oneof![
        1 => Just([0; 6]),
        1 => Just([1, 0, 0, 0, 0, 0]),
        1 => Just(largest),
        1 => Just(words(ONE)),
        4 => pattern,
        4 => filled,
        8 => proptest::array::uniform6(any::<u64>()),
    ]
    .prop_filter("below the modulus", below)
}

/// Two for each lane; a list, since arrays of such strategies are too large for a test's stack.
fn numbers() -> impl Strategy<Value = Vec<[u64; 6]>> {
    proptest::collection::vec(number(), 16)
}

/// The G1 point with that x and any y, to compute with its x.
fn with(number: [u64; 6]) -> G1Affine {
    G1Affine::from_raw([[number], [[0; 6]]])
}

/// What lanes hold, out of either form: canonical words.
#[target_feature(enable = "avx512f,avx512ifma")]
fn out(lanes: &Lanes<8>) -> [[u64; 6]; 8] {
    let lanes = times(lanes, &broadcast(&TO_BLST), &BASE);
    scattered(&lanes).map(|number| words(BASE.once_less(number)))
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn into(numbers: [[u64; 6]; 8]) -> Lanes<8> {
    times(
        &gathered(&numbers.map(limbs)),
        &broadcast(&FROM_BLST),
        &BASE,
    )
}

/// Products, squares, sums, differences, and the difference reduced.
#[target_feature(enable = "avx512f,avx512ifma")]
fn operations(a: [[u64; 6]; 8], b: [[u64; 6]; 8]) -> [[[u64; 6]; 8]; 5] {
    let (a, b) = (into(a), into(b));
    let difference = plus(&minus(&a, &b), &broadcast(&BASE.eight));
    [
        out(&times(&a, &b, &BASE)),
        out(&squared(&a, &BASE)),
        out(&carried(&plus(&a, &b))),
        out(&carried(&difference)),
        out(&reduced(&difference, &BASE)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_base_field_is_that_of_blst(numbers in numbers()) {
        if !available() {
            return Ok(());
        }
        let (a, b): ([_; 8], [_; 8]) = (from_fn(|lane| numbers[lane]), from_fn(|lane| numbers[8 + lane]));
        // SAFETY: the processor has what the function is compiled for.
        let [product, square, sum, difference, reduced] = unsafe { operations(a, b) };
        for lane in 0..8 {
            let (a, b) = (with(a[lane]).x(), with(b[lane]).x());
            prop_assert_eq!(with(product[lane]).x(), a * b);
            prop_assert_eq!(with(square[lane]).x(), a * a);
            prop_assert_eq!(with(sum[lane]).x(), a + b);
            prop_assert_eq!(with(difference[lane]).x(), a - b);
            prop_assert_eq!(with(reduced[lane]).x(), a - b);
        }
    }
}

/// Eight numbers of the extension, by their parts.
type Parts = [[[u64; 6]; 8]; 2];

/// The number in a lane, of the type that `blstrs` does not name.
macro_rules! extended {
    ($parts:expr, $lane:expr) => {
        G2Affine::from_raw([$parts.map(|part| part[$lane]), [[0; 6]; 2]]).x()
    };
}

/// Products, squares, and inverses of the first and second where none is zero.
#[target_feature(enable = "avx512f,avx512ifma")]
fn extended_operations([a, b]: [Parts; 2]) -> ([Parts; 2], Option<[Parts; 2]>) {
    let parts = |x: Coordinates<2>| [out(&x[0]), out(&x[1])];
    let a = [into(a[0]), into(a[1])];
    let b = [into(b[0]), into(b[1])];
    let inverses = inverses([a, b]).map(|both| both.map(parts));
    let products = [parts(multiplied(&a, &b)), parts(squared_coordinates(&a))];
    (products, inverses)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_extension_is_that_of_blst(numbers in proptest::collection::vec(number(), 32)) {
        if !available() {
            return Ok(());
        }
        let part = |part: usize| from_fn(|lane| numbers[8 * part + lane]);
        let (a, b) = ([part(0), part(1)], [part(2), part(3)]);
        // SAFETY: the processor has what the function is compiled for.
        let ([product, square], inverses) = unsafe { extended_operations([a, b]) };
        let mut zero = false;
        for lane in 0..8 {
            let (a, b) = (extended!(a, lane), extended!(b, lane));
            prop_assert_eq!(extended!(product, lane), a * b);
            prop_assert_eq!(extended!(square, lane), a.square());
            zero |= a.is_zero_vartime() || b.is_zero_vartime();
            if let Some([of_a, of_b]) = inverses {
                prop_assert_eq!(extended!(of_a, lane) * a, Field::ONE);
                prop_assert_eq!(extended!(of_b, lane) * b, Field::ONE);
            }
        }
        prop_assert_eq!(inverses.is_none(), zero);
    }
}

#[test]
fn rows_become_columns() {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn columns(rows: &[[u64; 8]; 8]) -> [[u64; 8]; 8] {
        let [a, b, c, d, e, f, g, h] = rows;
        scattered(&gathered8([a, b, c, d, e, f, g, h]))
    }
    if available() {
        let rows: [[u64; 8]; 8] = from_fn(|i| from_fn(|j| (8 * i + j) as u64));
        // SAFETY: the processor has what the function is compiled for.
        assert_eq!(unsafe { columns(&rows) }, rows);
    }
}

/// Every kind of addition in one batch: of different points, equal ones, opposite ones, identities.
fn assert_places_are_added<G, const D: usize>()
where
    G: Raw<D> + PrimeCurveAffine<Scalar = blstrs::Scalar>,
{
    let multiple = |factor: i64| {
        let size = G::generator() * blstrs::Scalar::from(factor.unsigned_abs());
        if factor < 0 { -size } else { size }
    };
    let bases: Vec<G> = [1, 2, -2]
        .map(|factor| multiple(factor).to_affine())
        .to_vec();
    let bases: Vec<&G> = bases.iter().collect();
    let Some(mut points) = InLanes::new(&bases, 60) else {
        return;
    };
    // What lies at the first four places.
    let factors = [1, 2, -2, 0];
    let mut expected = Vec::new();
    for (left, factor) in factors.iter().enumerate() {
        for (right, other) in factors.iter().enumerate() {
            for (minus_left, minus_right) in [(false, false), (true, false), (true, true)] {
                // The identity has no sign.
                if (minus_left && left == 3) || (minus_right && right == 3) {
                    continue;
                }
                let sign = |minus| if minus { -1 } else { 1 };
                let (left, right) = (Place::new(left, minus_left), Place::new(right, minus_right));
                let to = 4 + expected.len();
                Points::<G>::add(&mut points, left, right, to);
                expected.push(factor * sign(minus_left) + other * sign(minus_right));
            }
        }
    }
    Points::<G>::flush(&mut points);
    for (index, factor) in expected.into_iter().enumerate() {
        let sum: G::Curve = Points::<G>::at(&points, 4 + index);
        assert!(sum == multiple(factor), "sum {index} is to be {factor}");
    }
}

#[test]
fn points_in_places_are_added() {
    assert_places_are_added::<G1Affine, 1>();
    assert_places_are_added::<G2Affine, 2>();
}
