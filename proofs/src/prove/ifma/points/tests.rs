//! The base field in lanes against that of `blstrs`.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::prove::ifma::field::gathered;
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

fn numbers() -> impl Strategy<Value = [[u64; 6]; 8]> {
    proptest::array::uniform8(number())
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
    fn the_base_field_is_that_of_blst(a in numbers(), b in numbers()) {
        if !available() {
            return Ok(());
        }
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

#[test]
fn places_are_added() {
    use blstrs::G1Projective;
    let g = G1Affine::generator();
    let two = G1Affine::from(G1Projective::from(g) + g);
    let Some(mut points) = InLanes::new::<G1Affine>(&[&g, &two], 10) else {
        return;
    };
    let p = |i| Place::new(i, false);
    let all: &mut dyn FnMut(Place, Place, usize) =
        &mut |a, b, to| Points::<G1Affine>::add(&mut points, a, b, to);
    all(p(0), p(1), 2);
    all(p(0), p(0), 3);
    all(p(0), Place::new(1, true), 4);
    all(p(0), p(9), 5);
    all(p(9), p(1), 6);
    Points::<G1Affine>::flush(&mut points);
    let at = |i| Points::<G1Affine>::at(&points, i);
    let g = G1Projective::from(g);
    let of = |n: u64| g * blstrs::Scalar::from(n);
    let mut wrong = vec![];
    for (i, e) in [of(1), of(2), of(3), of(2), -g, g, of(2)]
        .into_iter()
        .enumerate()
    {
        if at(i) != e {
            wrong.push(i);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
