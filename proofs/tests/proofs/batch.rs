//! Many statements at once.

use crate::plus_one;
use crate::support::proven;
use ff::Field;
use group::GroupEncoding;
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::statement::Statement;
use holdfast_proofs::verify::{PointError, Verifier, VerifyError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_batch_names_exactly_the_statements_that_fail() {
    let proven = proven();
    let mut batch = Vec::new();
    for _ in 0..3 {
        batch.extend(proven.all());
    }
    // Wrong: the replica id of 0, a swapped proof in 4, an unreadable proof in 8.
    if let Statement::Seal(seal) = &mut batch[0].0 {
        seal.replica = ReplicaId(plus_one(seal.replica.0));
    }
    batch[4].1.swap(0, 1);
    batch[8].1[0].0[0] = 0;
    let expected: Vec<Result<(), VerifyError>> = (0..9)
        .map(|number| match number {
            0 | 4 => Err(VerifyError::Refused { proof: 0 }),
            8 => Err(VerifyError::Point {
                proof: 0,
                point: 'A',
                why: PointError::Malformed,
            }),
            _ => Ok(()),
        })
        .collect();
    assert_eq!(proven.verifier.verify_batch(&batch), expected);
    assert_eq!(proven.verifier.verify_batch_blst(&batch), expected);
}

#[test]
fn where_all_must_hold_the_first_that_does_not_is_named() {
    let proven = proven();
    let all: Vec<_> = (0..3).flat_map(|_| proven.all()).collect();
    let verify = |batch: &[_]| {
        let answer = proven.verifier.verify_all(batch);
        assert_eq!(proven.verifier.verify_all_blst(batch), answer);
        answer
    };
    assert_eq!(verify(&all), Ok(()));
    assert_eq!(verify(&[]), Ok(()));
    let spoiled = |numbers: &[usize]| {
        let mut batch = all.clone();
        for number in numbers {
            if let Statement::Spacetime(spacetime) = &mut batch[*number].0 {
                spacetime.lanes[0] = plus_one(spacetime.lanes[0]);
            } else {
                batch[*number].1.swap(0, 1);
            }
        }
        batch
    };
    let refused = |number, proof| Err((number, VerifyError::Refused { proof }));
    for number in 0..9 {
        assert_eq!(verify(&spoiled(&[number])), refused(number, 0));
    }
    assert_eq!(verify(&spoiled(&[7, 4, 8])), refused(4, 0));
    let mut last = all.clone();
    let end = last[6].1.len() - 1;
    last[6].1[end] = last[6].1[0];
    assert_eq!(verify(&last), refused(6, end));
    // What cannot be read is said before any equation is looked at.
    let mut unreadable = spoiled(&[0]);
    unreadable[5].1[0].0[0] = 0;
    assert!(matches!(
        verify(&unreadable),
        Err((5, VerifyError::Point { proof: 0, .. }))
    ));
}

#[test]
fn errors_that_would_cancel_in_a_plain_sum_are_found() {
    // C of one proof up and of another down by the same point: only coefficients tell.
    let proven = proven();
    let (statement, proofs) = &proven.spacetime;
    let shifted = |by: bls12_381::Scalar| {
        let mut proof = proofs[0];
        let c = bls12_381::G1Affine::from_compressed(proof.0[144..].try_into().unwrap()).unwrap();
        let c = bls12_381::G1Projective::from(c) + bls12_381::G1Affine::generator() * by;
        proof.0[144..].copy_from_slice(c.to_bytes().as_ref());
        (Statement::Spacetime(statement.clone()), vec![proof])
    };
    let batch = [
        shifted(bls12_381::Scalar::ONE),
        shifted(-bls12_381::Scalar::ONE),
    ];
    let expected = vec![Err(VerifyError::Refused { proof: 0 }); 2];
    assert_eq!(proven.verifier.verify_batch(&batch), expected);
    assert_eq!(proven.verifier.verify_batch_blst(&batch), expected);
}

#[test]
fn whoever_names_no_library_is_answered_by_the_one_that_was_chosen() {
    let proven = proven();
    let mut verifier = Verifier::from_keys(&proven.keys).unwrap();
    verifier.use_blst();
    let watched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&watched);
    verifier.watch(Box::new(move |_, proofs| {
        counted.fetch_add(proofs, Ordering::Relaxed);
        Box::new(|| {})
    }));
    let mut batch = proven.all();
    assert_eq!(verifier.verify_all(&batch), Ok(()));
    batch[1].1.swap(0, 1);
    assert_eq!(
        verifier.verify_all(&batch),
        proven.verifier.verify_all(&batch)
    );
    assert_eq!(
        verifier.verify_batch(&batch),
        proven.verifier.verify_batch(&batch)
    );
    for (statement, proofs) in &batch {
        assert_eq!(
            verifier.verify(statement, proofs),
            proven.verifier.verify(statement, proofs)
        );
    }
    let proofs: usize = batch.iter().map(|(_, proofs)| proofs.len()).sum();
    assert_eq!(watched.load(Ordering::Relaxed), 4 * proofs);
}
