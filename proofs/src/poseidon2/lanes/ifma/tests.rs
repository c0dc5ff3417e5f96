//! Each step against integers of any size, at the extremes that its bounds allow.

use super::available;
use super::field::*;
use num_bigint::BigInt;
use proptest::prelude::*;
use std::arch::x86_64::*;
use std::array::from_fn;

/// Eight lanes of five limbs.
type Lanes = [[i64; 8]; 5];

#[target_feature(enable = "avx512f")]
fn element(lanes: &Lanes) -> Element {
    // SAFETY: both are 64 bytes without padding, and any bytes are valid.
    lanes.map(|limb| unsafe { std::mem::transmute::<[i64; 8], __m512i>(limb) })
}

#[target_feature(enable = "avx512f")]
fn lanes(element: &Element) -> Lanes {
    // SAFETY: both are 64 bytes without padding, and any bytes are valid.
    element.map(|limb| unsafe { std::mem::transmute::<__m512i, [i64; 8]>(limb) })
}

fn value(lanes: &Lanes, lane: usize) -> BigInt {
    let limbs = lanes.iter().rev();
    limbs.fold(BigInt::ZERO, |all, limb| (all << 52) + limb[lane])
}

fn of(limbs: &Limbs) -> BigInt {
    value(&limbs.map(|limb| [limb as i64; 8]), 0)
}

fn order() -> BigInt {
    of(&ORDER)
}

/// Whether a is c R mod r.
fn divided(c: &BigInt, a: &BigInt) -> bool {
    ((c << 260usize) - a) % order() == BigInt::ZERO
}

fn is_carried(lanes: &Lanes) -> bool {
    lanes
        .iter()
        .flatten()
        .all(|limb| (0..=MASK as i64).contains(limb))
}

/// Carried limbs, the highest at most `top`: uniform, and often all zeros or all ones.
fn limb(top: u64) -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => (0..=top).prop_map(|limb| limb as i64),
        1 => Just(0),
        1 => Just(1),
        1 => Just(top as i64),
        1 => Just(top as i64 - 1),
        1 => (0..52u32).prop_map(move |bit| ((1u64 << bit) & top) as i64),
    ]
}

/// An element below so many r, nearly.
fn below(times: u64) -> impl Strategy<Value = Lanes> {
    let top = (ORDER[4] * times).min(MASK + 1) - 1;
    (
        proptest::array::uniform4(proptest::array::uniform8(limb(MASK))),
        proptest::array::uniform8(limb(top)),
    )
        .prop_map(|([a, b, c, d], e)| [a, b, c, d, e])
}

/// Limbs anywhere within 2^62 and a highest limb that makes an element of 1/32 r to 4096r.
fn sums() -> impl Strategy<Value = Lanes> {
    let limb = || {
        prop_oneof![
            3 => -(1i64 << 62)..(1i64 << 62),
            1 => Just(1i64 << 62),
            1 => Just(-(1i64 << 62)),
            1 => Just(0),
        ]
    };
    let (low, high) = ((ORDER[4] / 32) as i64, (ORDER[4] * 4090) as i64);
    let top = prop_oneof![3 => low..high, 1 => Just(low), 1 => Just(high)];
    (
        proptest::array::uniform4(proptest::array::uniform8(limb())),
        proptest::array::uniform8(top),
    )
        .prop_map(|([a, b, c, d], e)| [a, b, c, d, e])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn products_are_products_of_any_carried_limbs(a in below(40), b in below(40)) {
        if !available() {
            return Ok(());
        }
        // SAFETY: the processor has the features.
        let (product, square) = unsafe {
            let (x, y) = (element(&a), element(&b));
            let ([product, again], [square]) = (multiply(&[x, y], &[y, x]), square(&[x]));
            prop_assert_eq!(lanes(&product), lanes(&again));
            (lanes(&product), lanes(&square))
        };
        prop_assert!(square[..4].iter().flatten().all(|limb| *limb >> 52 == 0));
        prop_assert!(product[..4].iter().flatten().all(|limb| *limb >> 52 == 0));
        for lane in 0..8 {
            let (x, y) = (value(&a, lane), value(&b, lane));
            let got = value(&product, lane);
            prop_assert!(divided(&got, &(&x * &y)));
            prop_assert!(got <= ((&x * &y) >> 260usize) + 2 * order());
            let got = value(&square, lane);
            prop_assert!(divided(&got, &(&x * &x)));
            prop_assert!(got <= ((&x * &x) >> 260usize) + 2 * order());
        }
    }

    #[test]
    fn fifth_powers_stay_as_small_as_they_are_said_to(x in below(9), y in below(2)) {
        if !available() {
            return Ok(());
        }
        // SAFETY: the processor has the features.
        let powers = unsafe {
            let factors = [element(&x), element(&y)];
            let powers = multiply(&square(&square(&factors)), &factors);
            [lanes(&powers[0]), lanes(&powers[1])]
        };
        for (power, most) in powers.iter().zip([28, 22]) {
            prop_assert!(is_carried(power));
            for lane in 0..8 {
                prop_assert!(value(power, lane) * 10 < order() * most);
            }
        }
    }

    #[test]
    fn constants_scale_any_carried_limbs(x in below(40), c in below(1)) {
        if !available() {
            return Ok(());
        }
        let c = value(&c, 0) % order();
        let factor = Factor(from_fn(|i| {
            let entry: BigInt = (&c << (52 * (i + 1))) % order();
            from_fn(|limb| {
                let limb: BigInt = (&entry >> (52 * limb)) & BigInt::from(MASK);
                u64::try_from(limb).unwrap_or_default()
            })
        }));
        // SAFETY: the processor has the features.
        let scaled = unsafe {
            let [scaled] = scale(&[element(&x)], &factor);
            lanes(&scaled)
        };
        prop_assert!(scaled.iter().flatten().all(|limb| (0..1 << 57).contains(limb)));
        for lane in 0..8 {
            let got = value(&scaled, lane);
            prop_assert!((&got - value(&x, lane) * &c) % order() == BigInt::ZERO);
            prop_assert!(got <= order() * 6);
        }
    }

    #[test]
    fn reduced_sums_are_below_one_and_a_tenth_of_the_order(x in sums()) {
        if !available() {
            return Ok(());
        }
        // SAFETY: the processor has the features.
        let (lazy, carried) = unsafe {
            let x = element(&x);
            (lanes(&taken_off(&x, true)), lanes(&reduce(&x, true)))
        };
        prop_assert!(is_carried(&carried));
        for lane in 0..8 {
            let got = value(&carried, lane);
            prop_assert_eq!(&got, &value(&lazy, lane));
            prop_assert!((&got - value(&x, lane)) % order() == BigInt::ZERO);
            prop_assert!(got * 10 <= order() * 11);
        }
    }

    #[test]
    fn positive_sums_reduce_from_zero_on(x in sums()) {
        if !available() {
            return Ok(());
        }
        let mut x = x.map(|limb| limb.map(i64::abs));
        for (lane, limb) in x[4].iter_mut().enumerate() {
            // From multiples of r, above and below, in some lanes, and zero.
            let multiple = *limb / ORDER[4] as i64 * ORDER[4] as i64;
            *limb = [*limb, multiple, multiple - 1, 0, 1, multiple + 1, *limb, *limb][lane].max(0);
        }
        // SAFETY: the processor has the features.
        let got = unsafe { lanes(&reduce(&element(&x), false)) };
        prop_assert!(is_carried(&got));
        for lane in 0..8 {
            let got = value(&got, lane);
            prop_assert!((&got - value(&x, lane)) % order() == BigInt::ZERO);
            prop_assert!(got * 10 <= order() * 11);
        }
    }

    #[test]
    fn elements_leave_montgomery_form_at_most_at_the_order(x in below(2)) {
        if !available() {
            return Ok(());
        }
        // SAFETY: the processor has the features.
        let got = unsafe { lanes(&plain(&element(&x))) };
        prop_assert!(is_carried(&got));
        for lane in 0..8 {
            let (got, x) = (value(&got, lane), value(&x, lane));
            prop_assert!(divided(&got, &x));
            prop_assert!(got < order() || got == order() && x % order() == BigInt::ZERO);
        }
    }
}
