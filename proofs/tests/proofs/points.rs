//! Bytes that are no proof: malformed, non-canonical, identity and foreign points.

use crate::support::proven;
use group::{Group as _, GroupEncoding};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::statement::Statement;
use holdfast_proofs::verify::{PointError, VerifyError};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// Another proof of the same statement, as anybody can make it: (A / r, r B, C).
fn randomized(proof: &ProofBytes, r: bls12_381::Scalar) -> ProofBytes {
    let a = bls12_381::G1Affine::from_compressed(proof.0[..48].try_into().unwrap()).unwrap();
    let b = bls12_381::G2Affine::from_compressed(proof.0[48..144].try_into().unwrap()).unwrap();
    let mut bytes = *proof;
    let a: bls12_381::G1Affine = (a * r.invert().unwrap()).into();
    let b: bls12_381::G2Affine = (b * r).into();
    bytes.0[..48].copy_from_slice(&a.to_compressed());
    bytes.0[48..144].copy_from_slice(&b.to_compressed());
    bytes
}

#[test]
fn a_randomized_proof_still_verifies_so_bytes_name_nothing() {
    let proven = proven();
    let (statement, proofs) = &proven.spacetime;
    let other = randomized(&proofs[0], bls12_381::Scalar::from(7));
    assert_ne!(other, proofs[0]);
    assert_eq!(
        proven
            .verifier
            .verify_both(&Statement::Spacetime(statement.clone()), &[other]),
        Ok(())
    );
}

/// The field's order, big-endian: adding it to a coordinate gives the same point another name.
fn plus_field_order(coordinate: &mut [u8]) -> bool {
    let order = hex_bytes(
        "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
    );
    let flags = coordinate[0] & 0xe0;
    coordinate[0] &= 0x1f;
    let mut carry = 0;
    for (byte, add) in coordinate.iter_mut().zip(&order).rev() {
        let sum = u16::from(*byte) + u16::from(*add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    let fits = carry == 0 && coordinate[0] & 0xe0 == 0;
    coordinate[0] |= flags;
    fits
}

fn hex_bytes(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn points_that_are_no_points_are_refused_by_name() {
    let proven = proven();
    let (statement, proofs) = &proven.spacetime;
    let statement = Statement::Spacetime(statement.clone());
    let honest = proofs[0];
    let answer = |proof: ProofBytes| match proven.verifier.verify_both(&statement, &[proof]) {
        Err(VerifyError::Point {
            proof: 0,
            point,
            why,
        }) => (point, why),
        other => panic!("{other:?}"),
    };
    for (point, range) in [('A', 0..48), ('B', 48..144), ('C', 144..192)] {
        let with = |bytes: &[u8]| {
            let mut proof = honest;
            proof.0[range.clone()].copy_from_slice(bytes);
            answer(proof)
        };
        let honest = &honest.0[range.clone()];
        let mut bytes = vec![0; honest.len()];
        bytes[0] = 0xc0;
        assert_eq!(with(&bytes), (point, PointError::Identity));
        bytes[0] = 0xe0;
        assert_eq!(with(&bytes), (point, PointError::Malformed));
        bytes[0] = 0;
        assert_eq!(with(&bytes), (point, PointError::Malformed));
        assert_eq!(
            with(&vec![0xff; honest.len()]),
            (point, PointError::Malformed)
        );
        // The identity's flag on a point's bytes; no flag of compression at all.
        let mut flagged = honest.to_vec();
        flagged[0] |= 0x40;
        assert_eq!(with(&flagged), (point, PointError::Malformed));
        let mut plain = honest.to_vec();
        plain[0] &= 0x7f;
        assert_eq!(with(&plain), (point, PointError::Malformed));
        // Not on the curve: of the next few coordinates some are not.
        let off = (0..=255u8).any(|last| {
            let mut bytes = honest.to_vec();
            *bytes.last_mut().unwrap() = last;
            let mut proof = proofs[0];
            proof.0[range.clone()].copy_from_slice(&bytes);
            proven.verifier.verify_both(&statement, &[proof])
                == Err(VerifyError::Point {
                    proof: 0,
                    point,
                    why: PointError::Malformed,
                })
        });
        assert!(off);
    }
}

#[test]
fn a_coordinate_plus_the_field_order_is_refused() {
    let proven = proven();
    let (statement, proofs) = &proven.spacetime;
    let statement = Statement::Spacetime(statement.clone());
    // About a quarter of all coordinates leave room for the order in 381 bits.
    let found = (2..100u64).find_map(|r| {
        let mut proof = randomized(&proofs[0], bls12_381::Scalar::from(r));
        plus_field_order(&mut proof.0[..48]).then_some(proof)
    });
    assert!(matches!(
        proven.verifier.verify_both(&statement, &[found.unwrap()]),
        Err(VerifyError::Point {
            point: 'A',
            why: PointError::Malformed | PointError::NonCanonical,
            ..
        })
    ));
}

#[test]
fn points_outside_the_subgroup_are_refused() {
    let proven = proven();
    let (statement, proofs) = &proven.spacetime;
    let statement = Statement::Spacetime(statement.clone());
    let on_curve = (1..=255u8)
        .find_map(|x| {
            let mut bytes = [0; 48];
            bytes[0] = 0x80;
            bytes[47] = x;
            let point: Option<bls12_381::G1Affine> =
                bls12_381::G1Affine::from_compressed_unchecked(&bytes).into();
            point
                .filter(|point| !bool::from(point.is_torsion_free()))
                .map(|_| bytes)
        })
        .unwrap();
    let mut proof = proofs[0];
    proof.0[144..].copy_from_slice(&on_curve);
    assert_eq!(
        proven.verifier.verify_both(&statement, &[proof]),
        Err(VerifyError::Point {
            proof: 0,
            point: 'C',
            why: PointError::Malformed
        })
    );
}

#[test]
fn the_libraries_agree_on_damaged_proofs() {
    let proven = proven();
    let (statement, proofs) = &proven.spacetime;
    let statement = Statement::Spacetime(statement.clone());
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    for _ in 0..300 {
        let mut proof = proofs[0];
        match rng.gen_range(0..3) {
            0 => proof.0[rng.gen_range(0..192)] ^= 1 << rng.gen_range(0..8),
            1 => proof.0[[0, 48, 96, 144][rng.gen_range(0..4)]] = rng.r#gen(),
            _ => {
                let start = rng.gen_range(0..192);
                rng.fill(&mut proof.0[start..]);
            }
        }
        let answer = proven.verifier.verify_both(&statement, &[proof]);
        assert_ne!(answer, Err(VerifyError::Disagreement));
        assert!(answer.is_err() || proof == proofs[0], "{proof}");
    }
    // Points of the group chosen at random, in both libraries' encodings.
    for _ in 0..10 {
        let a = bls12_381::G1Projective::random(&mut rng);
        let bytes = a.to_bytes();
        let same = blstrs::G1Affine::from_compressed(bytes.as_ref().try_into().unwrap()).unwrap();
        assert_eq!(same.to_compressed(), bytes.as_ref());
    }
}
