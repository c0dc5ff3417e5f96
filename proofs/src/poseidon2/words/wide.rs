//! Integers of four and of five words, and multiples of r taken off them.

// Indices are below the lengths of arrays; casts take a product's words apart.
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::array::from_fn;

/// An integer below 2^256, lowest word first.
pub(super) type Words = [u64; 4];
/// A signed integer of 320 bits.
pub(super) type Wide = [u64; 5];

/// r, lowest word first: 0.4528 times 2^256.
pub(super) const ORDER: Words = [
    0xffff_ffff_0000_0001,
    0x53bd_a402_fffe_5bfe,
    0x3339_d808_09a1_d805,
    0x73ed_a753_299d_7d48,
];
/// floor(2^304 / r), from r's top word: an integer's bits from 2^240 on, times this, by 2^64, is
/// its quotient by r.
const RECIPROCAL: u64 = ((1u128 << 112) / (ORDER[3] as u128 + 1)) as u64;

/// How many multiples of 2^252 [`fold`] looks up: 2^252 is 0.13801r.
const STEPS: usize = 128;

/// The multiples of r that [`fold`] takes off: entry i is the largest within `i 2^252`.
#[repr(C, align(64))]
pub(super) struct Multiples(pub(super) [Words; STEPS]);

/// In memory once, since assembly reads it too.
pub(super) static MULTIPLES: Multiples = Multiples({
    let mut out = [[0; 4]; STEPS];
    let mut i = 0;
    let mut multiple = [0; 5];
    while i < STEPS {
        // A step is less than r, so that at most one more r fits.
        let next = plus_order(multiple);
        if (next[4] << 4 | next[3] >> 60) < i as u64 {
            multiple = next;
        }
        // What is above 2^256 is dropped here and from what it is taken off.
        out[i] = [multiple[0], multiple[1], multiple[2], multiple[3]];
        i += 1;
    }
    out
});

/// Adds r: for tables.
pub(super) const fn plus_order(x: Wide) -> Wide {
    let mut out = x;
    let mut carry = false;
    let mut i = 0;
    while i < 5 {
        let word = if i < 4 { ORDER[i] } else { 0 };
        let (low, over) = x[i].overflowing_add(word);
        let (low, again) = low.overflowing_add(carry as u64);
        out[i] = low;
        carry = over || again;
        i += 1;
    }
    out
}

#[inline(always)]
pub(super) fn sum(a: &Wide, b: &Wide) -> Wide {
    let mut carry = false;
    from_fn(|i| {
        let (word, out) = a[i].carrying_add(b[i], carry);
        carry = out;
        word
    })
}

#[inline(always)]
pub(super) fn difference(a: &Wide, b: &Wide) -> Wide {
    let mut borrow = false;
    from_fn(|i| {
        let (word, out) = a[i].borrowing_sub(b[i], borrow);
        borrow = out;
        word
    })
}

/// Times a small integer, mod 2^320: right for negative numbers too.
#[inline(always)]
pub(super) fn times(a: &Wide, factor: u64) -> Wide {
    let mut carry = 0;
    from_fn(|i| {
        let (word, high) = a[i].carrying_mul(factor, carry);
        carry = high;
        word
    })
}

#[inline(always)]
pub(super) fn widen([a, b, c, d]: Words) -> Wide {
    [a, b, c, d, 0]
}

#[inline(always)]
pub(super) fn narrow(wide: &Wide) -> Words {
    [wide[0], wide[1], wide[2], wide[3]]
}

/// Takes off a multiple of r: from a positive integer below 2^296 to one below 1.01r.
///
/// The quotient is estimated from the bits above 2^240 and never too large; it falls short by less
/// than 1 for rounding, 2^-8 for the reciprocal and 2^-14 for the bits below.
#[inline(always)]
pub(super) fn reduce(x: &Wide) -> Words {
    let top = x[4] << 16 | x[3] >> 48;
    let quotient = ((u128::from(top) * u128::from(RECIPROCAL)) >> 64) as u64;
    let multiple = times(&widen(ORDER), quotient);
    narrow(&difference(x, &multiple))
}

/// Takes off a multiple of r: from a positive integer below 2^259 = 17.66r to one below 1.1381r.
///
/// Between `i 2^252` and the next step, less than r is left at the step, and a step is added.
#[inline(always)]
pub(super) fn fold(x: &Wide) -> Words {
    let multiple = &MULTIPLES.0[((x[4] & 7) << 4 | x[3] >> 60) as usize];
    narrow(&difference(x, &widen(*multiple)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use num_bigint::BigUint;
    use proptest::prelude::*;

    pub(in super::super) fn value(words: &[u64]) -> BigUint {
        let words = words.iter().rev();
        words.fold(BigUint::ZERO, |all, word| (all << 64) + word)
    }

    /// The lowest words of an integer.
    pub(in super::super) fn words<const N: usize>(x: &BigUint) -> [u64; N] {
        from_fn(|i| {
            let word: BigUint = (x >> (64 * i)) & BigUint::from(u64::MAX);
            u64::try_from(word).unwrap_or_default()
        })
    }

    /// Any words, often all zeros or all ones.
    pub(in super::super) fn word() -> impl Strategy<Value = u64> {
        prop_oneof![
            3 => any::<u64>(),
            1 => Just(0),
            1 => Just(1),
            1 => Just(u64::MAX),
            1 => (0..64u32).prop_map(|bit| 1 << bit),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn folding_leaves_little_more_than_the_order(
            mut x in proptest::array::uniform5(word()),
            step in 0u64..128,
        ) {
            // Below 2^259. Steps are where another multiple may be taken off.
            let order = value(&ORDER);
            x[4] %= 8;
            let edge = BigUint::from(step) << 252usize;
            let multiple = &edge / &order * &order;
            let next = &multiple + &order - 1u32;
            let below = if step == 0 { BigUint::ZERO } else { &edge - 1u32 };
            let last = (BigUint::from(1u32) << 259usize) - 1u32;
            for x in [value(&x), edge, below, multiple, next.min(last.clone()), last] {
                let got = value(&fold(&words(&x)));
                prop_assert_eq!(&got % &order, &x % &order);
                prop_assert!(got * 10_000u32 < &order * 11_381u32);
            }
        }

        #[test]
        fn reducing_leaves_a_hundredth_more_than_the_order(
            mut x in proptest::array::uniform5(word()),
            multiple in any::<u32>(),
        ) {
            let order = value(&ORDER);
            x[4] >>= 24;
            let multiple = &order * multiple;
            let below = (BigUint::from(1u32) << 296usize) - 1u32;
            for x in [value(&x), &multiple + &order - 1u32, multiple, below] {
                let got = value(&reduce(&words(&x)));
                prop_assert_eq!(&got % &order, &x % &order);
                prop_assert!(got * 100u32 < &order * 101u32);
            }
        }
    }
}
