//! What a hash multiplies with: in Rust here, and in assembly (`adx`) where the processor has the
//! instructions.
//!
//! Elements are below 2^256 = 2.208r, in Montgomery form with R = 2^256.

// Indices are below the lengths of arrays.
#![allow(clippy::indexing_slicing)]

use super::wide::{ORDER, Wide, Words, fold, sum};

/// -1/r mod 2^64.
pub(super) const NEGATIVE_INVERSE: u64 = 0xffff_fffe_ffff_ffff;

/// A constant c to multiply by: `c 2^(64 (i + 1)) mod r` for each word i of the other factor, so
/// that the products add up to five words and a bit, of which one word is left to take off.
pub(super) type Factor = [Words; 4];

/// Multiplication of elements. All of it is right for any words that keep the bounds, and writes
/// where it is told: what is read next as words was written as words.
pub(super) trait Arithmetic: Copy {
    /// x^2 / R mod r, below `0.4529 x^2 / r + r (1 + 2^-63)`; that has to be below 2^256, which it
    /// is for x below 1.633r.
    fn square(self, x: &Words, out: &mut Words);

    /// x times y by R mod r, below `0.4529 x y / r + r (1 + 2^-63)`, which has to be below 2^256.
    fn multiply(self, x: &mut Words, y: &Words);

    /// x times c plus an integer: from any words and an integer below 12.6r to one below 1.1381r.
    ///
    /// The four words, below 2^64, times entries of the factor, below r, and less than 2^64 r that
    /// is added to take off the lowest word, make less than 5r; with the integer less than the
    /// 17.66r = 2^259 that [`fold`] takes.
    fn scale(self, x: &mut Words, factor: &Factor, plus: &Wide);
}

/// Plain Rust, for every processor.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Arithmetic for Portable {
    #[inline(always)]
    fn square(self, x: &Words, out: &mut Words) {
        *out = square(*x);
    }

    #[inline(always)]
    fn multiply(self, x: &mut Words, y: &Words) {
        *x = product(*x, *y);
    }

    /// Inlined in all the places where it is used it took a third longer.
    #[inline(never)]
    fn scale(self, x: &mut Words, factor: &Factor, plus: &Wide) {
        *x = fold(&sum(&scaled(*x, factor), plus));
    }
}

/// Times a constant, below 5r.
#[inline(always)]
fn scaled(x: Words, factor: &Factor) -> Wide {
    let mut wide = [0u64; 6];
    for (word, multiple) in x.into_iter().zip(factor) {
        let mut carry = 0;
        for j in 0..4 {
            (wide[j], carry) = word.carrying_mul_add(multiple[j], wide[j], carry);
        }
        let over;
        (wide[4], over) = wide[4].overflowing_add(carry);
        // At most one for each word.
        wide[5] = wide[5].wrapping_add(u64::from(over));
    }
    let quotient = wide[0].wrapping_mul(NEGATIVE_INVERSE);
    let mut carry = 0;
    for j in 0..4 {
        (wide[j], carry) = quotient.carrying_mul_add(ORDER[j], wide[j], carry);
    }
    let over;
    (wide[4], over) = wide[4].overflowing_add(carry);
    [
        wide[1],
        wide[2],
        wide[3],
        wide[4],
        wide[5].wrapping_add(u64::from(over)),
    ]
}

/// x y / R mod r, at most r for a factor of one.
#[inline(always)]
pub(super) fn product(x: Words, y: Words) -> Words {
    let mut wide = [0; 8];
    for i in 0..4 {
        let mut carry = 0;
        for j in 0..4 {
            (wide[i + j], carry) = x[i].carrying_mul_add(y[j], wide[i + j], carry);
        }
        wide[i + 4] = carry;
    }
    montgomery(wide)
}

/// Products of different words are made once and doubled.
#[inline(always)]
fn square(x: Words) -> Words {
    let mut wide = [0u64; 8];
    for i in 0..3 {
        let mut carry = 0;
        for j in i + 1..4 {
            (wide[i + j], carry) = x[i].carrying_mul_add(x[j], wide[i + j], carry);
        }
        wide[i + 4] = carry;
    }
    for i in (1..8).rev() {
        wide[i] = wide[i] << 1 | wide[i - 1] >> 63;
    }
    let mut carry = false;
    for (i, word) in x.into_iter().enumerate() {
        let (low, high) = word.carrying_mul(word, 0);
        (wide[2 * i], carry) = wide[2 * i].carrying_add(low, carry);
        (wide[2 * i + 1], carry) = wide[2 * i + 1].carrying_add(high, carry);
    }
    montgomery(wide)
}

/// Divides a product by R mod r.
#[inline(always)]
fn montgomery(mut wide: [u64; 8]) -> Words {
    let mut over = false;
    for i in 0..4 {
        let factor = wide[i].wrapping_mul(NEGATIVE_INVERSE);
        let mut carry = 0;
        for j in 0..4 {
            (wide[i + j], carry) = factor.carrying_mul_add(ORDER[j], wide[i + j], carry);
        }
        (wide[i + 4], over) = wide[i + 4].carrying_add(carry, over);
    }
    // Nothing is carried over: the result is below 2^256.
    [wide[4], wide[5], wide[6], wide[7]]
}

#[cfg(test)]
mod tests {
    use super::super::wide::tests::{value, word, words};
    use super::*;
    use crate::node::Node;
    use crate::poseidon2::words::{Check, check_each};
    use bls12_381::Scalar;
    use ff::PrimeField;
    use num_bigint::BigUint;
    use proptest::prelude::*;
    use std::array::from_fn;

    /// 2^n.
    fn power_of_two(n: usize) -> Scalar {
        Scalar::from(2).pow_vartime(&[n as u64, 0, 0, 0])
    }

    /// 2^-n.
    fn halved(n: usize) -> Scalar {
        power_of_two(n).invert().unwrap_or(Scalar::zero())
    }

    /// The library's scalar of any words.
    fn scalar(words: &[u64]) -> Scalar {
        let words = words.iter().rev();
        words.fold(Scalar::zero(), |all, word| {
            all * power_of_two(64) + Scalar::from(*word)
        })
    }

    fn factor(c: &Scalar) -> Factor {
        from_fn(|i| words(&value_of(&(power_of_two(64 * (i + 1)) * c))))
    }

    fn value_of(scalar: &Scalar) -> BigUint {
        BigUint::from_bytes_le(&scalar.to_repr())
    }

    /// Words, and the extremes: 0, 1, r - 1, r, limbs of ones, and the largest below a bound.
    fn extremes(bound: &BigUint) -> Vec<Words> {
        let order = value(&ORDER);
        let ones = |bits: usize| (BigUint::from(1u32) << bits) - 1u32;
        [
            BigUint::ZERO,
            BigUint::from(1u32),
            &order - 1u32,
            order.clone(),
            &order + 1u32,
            ones(64),
            ones(128),
            ones(192),
            ones(255),
            ones(256),
            bound - 1u32,
        ]
        .iter()
        .filter(|x| *x < bound)
        .map(words)
        .collect()
    }

    struct Product {
        x: Words,
        y: Words,
        square: bool,
    }

    impl Check for Product {
        fn with(&self, arithmetic: impl Arithmetic, name: &str) {
            let Product { x, y, square } = *self;
            let mut got = x;
            if square {
                arithmetic.square(&x, &mut got);
            } else {
                arithmetic.multiply(&mut got, &y);
            }
            let expected = scalar(&x) * scalar(&y) * halved(256);
            assert_eq!(scalar(&got), expected, "{name}: {x:x?} {y:x?}");
            let order = value(&ORDER);
            let by_radix: BigUint = (value(&x) * value(&y)) >> 256usize;
            let most = by_radix + &order + (&order >> 63usize) + 1u32;
            assert!(value(&got) <= most, "{name}: {x:x?} {y:x?}");
        }
    }

    fn check_product(x: Words, y: Words, square: bool) {
        check_each(&Product { x, y, square });
    }

    struct Scaling {
        x: Words,
        factor: Factor,
        plus: Wide,
        expected: Scalar,
    }

    impl Check for Scaling {
        fn with(&self, arithmetic: impl Arithmetic, name: &str) {
            let mut got = self.x;
            arithmetic.scale(&mut got, &self.factor, &self.plus);
            let Scaling { x, plus, .. } = self;
            assert_eq!(scalar(&got), self.expected, "{name}: {x:x?} {plus:x?}");
            let order = value(&ORDER);
            assert!(
                value(&got) * 10_000u32 < order * 11_381u32,
                "{name}: {x:x?} {plus:x?}"
            );
        }
    }

    /// x times c plus an integer, as the library computes it.
    fn check_scale(x: Words, c: &Scalar, plus: Wide) {
        check_each(&Scaling {
            x,
            factor: factor(c),
            plus,
            expected: scalar(&x) * c + scalar(&plus),
        });
    }

    /// The bounds of the factors: 1.633r for a square, and with one factor of any words the other
    /// below r, so that the product stays below 2^256.
    fn bounds() -> [BigUint; 3] {
        let order = value(&ORDER);
        [
            &order * 1633u32 / 1000u32,
            BigUint::from(1u32) << 256usize,
            order,
        ]
    }

    #[test]
    fn products_hold_at_the_extremes() {
        let [squares, any, order] = bounds();
        for x in extremes(&squares) {
            check_product(x, x, true);
        }
        for x in extremes(&any) {
            for y in extremes(&order) {
                check_product(x, y, false);
                check_product(y, x, false);
            }
        }
    }

    #[test]
    fn scaling_holds_at_the_extremes() {
        let [_, any, _] = bounds();
        let ones = [u64::MAX, u64::MAX, u64::MAX, u64::MAX, 0];
        // 12.6r, the largest that may be added.
        let most: Wide = words(&(value(&ORDER) * 126u32 / 10u32));
        let largest = [ORDER[0] - 1, ORDER[1], ORDER[2], ORDER[3]];
        for x in extremes(&any) {
            for plus in [[0; 5], ones, most] {
                for c in [Scalar::zero(), Scalar::one(), -Scalar::one()] {
                    check_scale(x, &c, plus);
                }
                // Whatever the entries, so at the bound of their sum.
                let words: Scalar = x.iter().map(|word| Scalar::from(*word)).sum();
                check_each(&Scaling {
                    x,
                    factor: [largest; 4],
                    plus,
                    expected: scalar(&plus) - words * halved(64),
                });
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn any_words_multiply_as_the_library_multiplies(
            x in proptest::array::uniform4(word()),
            y in proptest::array::uniform4(word()),
        ) {
            let [squares, _, order] = bounds();
            let y = words(&(value(&y) % order));
            check_product(x, y, false);
            check_product(y, x, false);
            let x = words(&(value(&x) % squares));
            check_product(x, x, true);
        }

        #[test]
        fn any_words_are_scaled_as_the_library_scales(
            x in proptest::array::uniform4(word()),
            c in any::<[u8; 16]>(),
            mut plus in proptest::array::uniform5(word()),
        ) {
            let c: Scalar = Node::derive("holdfast test", &[&c]).to_scalar();
            // Below 12r.
            plus[4] %= 5;
            check_scale(x, &c, plus);
        }
    }
}
