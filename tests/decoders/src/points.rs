//! Points of both groups in both encodings, in both pairing libraries.
//!
//! Read as keys and proofs are read: a point of the subgroup that is written as the very bytes which
//! it was read from. Without the second half the libraries differ: blstrs takes a compressed point
//! and whatever follows it where an uncompressed one is due.

use crate::read::usual;
use crate::{Answer, Bounds, Decoder, Form};
use bls12_381::{G1Affine, G1Projective, G2Affine, G2Projective, Scalar};

/// A short run reads so many points of each kind.
const POINT_CALLS: u32 = 1_000;

pub(crate) fn decoders() -> Vec<Decoder> {
    let points = |name, decode, seeds| Decoder {
        bounds: Bounds::HEAVY,
        calls: POINT_CALLS,
        ..usual(name, Form::Bytes, decode, seeds)
    };
    vec![
        points("g1-compressed", g1_compressed, || {
            g1_points()
                .map(|point| point.to_compressed().to_vec())
                .into()
        }),
        points("g1-uncompressed", g1_uncompressed, || {
            g1_points()
                .map(|point| point.to_uncompressed().to_vec())
                .into()
        }),
        points("g2-compressed", g2_compressed, || {
            g2_points()
                .map(|point| point.to_compressed().to_vec())
                .into()
        }),
        points("g2-uncompressed", g2_uncompressed, || {
            g2_points()
                .map(|point| point.to_uncompressed().to_vec())
                .into()
        }),
    ]
}

fn g1_points() -> [G1Affine; 4] {
    [1, 2, 77, 1 << 40].map(|factor| (G1Projective::generator() * Scalar::from(factor)).into())
}

fn g2_points() -> [G2Affine; 4] {
    [1, 2, 77, 1 << 40].map(|factor| (G2Projective::generator() * Scalar::from(factor)).into())
}

/// Both libraries read the same point of the bytes, or both none.
macro_rules! agreement {
    ($name:ident, $point:ident, $length:literal, $read:ident, $write:ident) => {
        fn $name(bytes: &[u8]) -> Answer {
            let Ok(bytes) = <&[u8; $length]>::try_from(bytes) else {
                return Answer::Refused;
            };
            let pure: Option<bls12_381::$point> = bls12_381::$point::$read(bytes).into();
            let blst: Option<blstrs::$point> = blstrs::$point::$read(bytes).into();
            let pure = pure.filter(|point| point.$write() == *bytes);
            let blst = blst.filter(|point| point.$write() == *bytes);
            match (pure, blst) {
                (None, None) => Answer::Refused,
                (Some(pure), Some(blst)) => {
                    assert_eq!(pure.to_compressed(), blst.to_compressed());
                    assert_eq!(pure.to_uncompressed(), blst.to_uncompressed());
                    assert!(bool::from(pure.is_torsion_free() & blst.is_torsion_free()));
                    Answer::Read
                }
                (pure, blst) => panic!(
                    "the libraries disagree: in pure Rust {}, in assembly {}",
                    if pure.is_some() { "a point" } else { "none" },
                    if blst.is_some() { "a point" } else { "none" }
                ),
            }
        }
    };
}

agreement!(g1_compressed, G1Affine, 48, from_compressed, to_compressed);
agreement!(
    g1_uncompressed,
    G1Affine,
    96,
    from_uncompressed,
    to_uncompressed
);
agreement!(g2_compressed, G2Affine, 96, from_compressed, to_compressed);
agreement!(
    g2_uncompressed,
    G2Affine,
    192,
    from_uncompressed,
    to_uncompressed
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proofs;
    use group::Group;

    /// The field's order, big-endian.
    const FIELD: &str = "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";

    /// A point times the group's order, by doubling and adding: a scalar is a number below it.
    fn times_order<G: Group>(point: G) -> G {
        let minus_one = (-Scalar::one()).to_bytes();
        let mut sum = G::identity();
        for bit in (0..256).rev() {
            sum = sum.double();
            if minus_one[bit / 8] >> (bit % 8) & 1 == 1 {
                sum += point;
            }
        }
        sum + point
    }

    /// On the curve and not in the subgroup: some point, its part of small order, and that part
    /// beside a point of the subgroup. Pairings do not see the small part.
    fn g1_outside() -> Vec<G1Affine> {
        let some = (1u8..)
            .find_map(|x| {
                let mut bytes = [0; 48];
                (bytes[0], bytes[47]) = (0x80, x);
                let point: Option<G1Affine> = G1Affine::from_compressed_unchecked(&bytes).into();
                point.filter(|point| !bool::from(point.is_torsion_free()))
            })
            .unwrap();
        let small = times_order(G1Projective::from(some));
        assert!(!bool::from(small.is_identity()));
        // (0, 2) and (0, -2) are of order three.
        let three = [0x80, 0xa0].map(|flags| {
            let mut bytes = [0; 48];
            bytes[0] = flags;
            G1Affine::from_compressed_unchecked(&bytes).unwrap()
        });
        let triple = G1Projective::from(three[0]);
        assert!(bool::from((triple + triple + triple).is_identity()));
        let beside = small + G1Projective::generator();
        vec![some, small.into(), beside.into(), three[0], three[1]]
    }

    fn g2_outside() -> Vec<G2Affine> {
        let some = (1u8..)
            .find_map(|x| {
                let mut bytes = [0; 96];
                (bytes[0], bytes[95]) = (0x80, x);
                let point: Option<G2Affine> = G2Affine::from_compressed_unchecked(&bytes).into();
                point.filter(|point| !bool::from(point.is_torsion_free()))
            })
            .unwrap();
        let small = times_order(G2Projective::from(some));
        assert!(!bool::from(small.is_identity()));
        let beside = small + G2Projective::generator();
        vec![some, small.into(), beside.into()]
    }

    /// An honest encoding with every combination of its three flags, and each of its coordinates
    /// replaced by what is no coordinate: the field's order, one less, itself plus the order, all
    /// ones, zero.
    fn spoiled(honest: &[u8]) -> Vec<Vec<u8>> {
        let field = hex::decode(FIELD).unwrap();
        let mut spoiled = Vec::new();
        let mut flagged = |bytes: &[u8]| {
            for flags in 0..8u8 {
                let mut bytes = bytes.to_vec();
                bytes[0] = bytes[0] & 0x1f | flags << 5;
                spoiled.push(bytes);
            }
        };
        flagged(honest);
        flagged(&vec![0; honest.len()]);
        for at in (0..honest.len()).step_by(48) {
            let mut coordinate = honest[at..at + 48].to_vec();
            let flags = if at == 0 { coordinate[0] & 0xe0 } else { 0 };
            coordinate[0] ^= flags;
            let below = [&field[..47], &[0xaa]].concat();
            for number in [
                field.clone(),
                below,
                sum(&coordinate, &field),
                vec![0xff; 48],
                vec![0; 48],
            ] {
                let mut bytes = honest.to_vec();
                bytes[at..at + 48].copy_from_slice(&number);
                flagged(&bytes);
            }
        }
        spoiled
    }

    fn sum(one: &[u8], other: &[u8]) -> Vec<u8> {
        let mut carry = 0;
        let mut sum: Vec<u8> = one
            .iter()
            .zip(other)
            .rev()
            .map(|(one, other)| {
                let sum = u16::from(*one) + u16::from(*other) + carry;
                carry = sum >> 8;
                sum as u8
            })
            .collect();
        sum.reverse();
        sum
    }

    /// The one encoding in `hostile` that is honest, or the identity's, is read; no other is.
    fn only_honest(decode: fn(&[u8]) -> Answer, honest: &[u8], identity: &[u8], negative: &[u8]) {
        assert_eq!(decode(honest), Answer::Read);
        assert_eq!(decode(identity), Answer::Read, "the curve's identity");
        assert_eq!(decode(negative), Answer::Read, "the negative point");
        for bytes in spoiled(honest) {
            let known = bytes == honest || bytes == identity || bytes == negative;
            let read = decode(&bytes) == Answer::Read;
            assert_eq!(read, known, "{}", hex::encode(&bytes));
        }
    }

    #[test]
    fn both_libraries_refuse_every_wrong_flag_and_coordinate() {
        for point in g1_points() {
            let none = G1Affine::identity();
            let (one, two) = (point.to_compressed(), none.to_compressed());
            only_honest(g1_compressed, &one, &two, &(-point).to_compressed());
            let (one, two) = (point.to_uncompressed(), none.to_uncompressed());
            only_honest(g1_uncompressed, &one, &two, &(-point).to_uncompressed());
        }
        for point in g2_points() {
            let none = G2Affine::identity();
            let (one, two) = (point.to_compressed(), none.to_compressed());
            only_honest(g2_compressed, &one, &two, &(-point).to_compressed());
            let (one, two) = (point.to_uncompressed(), none.to_uncompressed());
            only_honest(g2_uncompressed, &one, &two, &(-point).to_uncompressed());
        }
    }

    #[test]
    fn both_libraries_refuse_points_outside_the_subgroup() {
        for point in g1_outside() {
            assert_eq!(g1_compressed(&point.to_compressed()), Answer::Refused);
            assert_eq!(g1_uncompressed(&point.to_uncompressed()), Answer::Refused);
        }
        for point in g2_outside() {
            assert_eq!(g2_compressed(&point.to_compressed()), Answer::Refused);
            assert_eq!(g2_uncompressed(&point.to_uncompressed()), Answer::Refused);
        }
    }

    #[test]
    fn both_libraries_refuse_scalars_from_the_order_on() {
        let minus_one = (-Scalar::one()).to_bytes();
        assert_eq!(proofs::node(&minus_one), Answer::Read);
        let mut number = minus_one;
        for more in 1..=3 {
            number[0] = minus_one[0] + more;
            assert_eq!(
                proofs::node(&number),
                Answer::Refused,
                "the order and {more}"
            );
        }
        // Twice the order less two, still below 2^256; every power of two from there on.
        assert_eq!(proofs::node(&[0xff; 32]), Answer::Refused);
        for bit in 0..256 {
            let mut number = [0; 32];
            number[bit / 8] = 1 << (bit % 8);
            let below = bit < 255;
            assert_eq!(proofs::node(&number) == Answer::Read, below, "2^{bit}");
        }
    }

    #[test]
    fn both_libraries_refuse_the_same_points_in_proofs_and_keys() {
        let decoder = |name| crate::find(name).unwrap();
        let (proof, key) = (decoder("proof"), decoder("verifying-key-points"));
        let honest = (proof.seeds)().remove(0);
        let g1: Vec<Vec<u8>> = g1_outside()
            .iter()
            .map(|point| point.to_compressed().to_vec())
            .chain(spoiled(&honest[..48]))
            .chain([G1Affine::identity().to_compressed().to_vec()])
            .collect();
        let g2: Vec<Vec<u8>> = g2_outside()
            .iter()
            .map(|point| point.to_compressed().to_vec())
            .chain(spoiled(&honest[48..144]))
            .chain([G2Affine::identity().to_compressed().to_vec()])
            .collect();
        for (at, points) in [(0, &g1), (48, &g2), (144, &g1)] {
            for point in points {
                let mut bytes = honest.clone();
                bytes[at..at + point.len()].copy_from_slice(point);
                // That the libraries agree is the decoder's own law.
                let taken = (proof.decode)(&bytes) == Answer::Read;
                // Only the sign of an honest point makes another point of the group.
                let unsigned = |point: &[u8]| [&[point[0] & !0x20], &point[1..]].concat();
                let valid = [&honest[..48], &honest[48..144], &honest[144..]]
                    .iter()
                    .any(|known| unsigned(known) == unsigned(point));
                assert!(valid || !taken, "{}", hex::encode(&bytes));
            }
        }
        let honest = (key.seeds)().remove(0);
        // Alpha, beta twice, gamma, delta twice, and the first input after its count.
        for (at, length) in [
            (0, 96),
            (96, 96),
            (192, 192),
            (384, 192),
            (576, 96),
            (672, 192),
            (868, 96),
        ] {
            let outside: Vec<Vec<u8>> = if length == 96 {
                let points = g1_outside();
                points
                    .iter()
                    .map(|point| point.to_uncompressed().to_vec())
                    .collect()
            } else {
                let points = g2_outside();
                points
                    .iter()
                    .map(|point| point.to_uncompressed().to_vec())
                    .collect()
            };
            let identity = [&[0x40][..], &vec![0; length - 1]].concat();
            let hostile = outside
                .into_iter()
                .chain(spoiled(&honest[at..at + length]))
                .chain([identity]);
            for point in hostile {
                let mut bytes = honest.clone();
                bytes[at..at + length].copy_from_slice(&point);
                let taken = (key.decode)(&bytes) == Answer::Read;
                assert_eq!(taken, bytes == honest, "{}", hex::encode(&point));
            }
        }
    }
}
