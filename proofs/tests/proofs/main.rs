//! Proofs of a real sector, from its sealing on: what verifies, and everything that must not.
#![cfg(feature = "prove")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod bad_input;
mod batch;
mod parameters;
mod points;
mod statements;
mod support;

use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::node::Node;
use holdfast_proofs::proof::{Circuit, CircuitId, ProofBytes};
use holdfast_proofs::statement::Statement;
use holdfast_proofs::verify::{KeyError, PointError, Verifier, VerifyError};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use support::{CLASS, Proven, proven};

fn plus_one(node: Node) -> Node {
    Node::from_scalar(&(node.to_scalar::<bls12_381::Scalar>() + bls12_381::Scalar::one()))
}

fn refused(proven: &Proven, statement: Statement, proofs: &[ProofBytes], what: &str) {
    let answer = proven.verifier.verify_both(&statement, proofs);
    assert!(
        matches!(answer, Err(VerifyError::Refused { .. })),
        "{what}: {answer:?}"
    );
}

#[test]
fn honest_proofs_verify_in_both_libraries_alone_and_in_a_batch() {
    let proven = proven();
    for (statement, proofs) in proven.all() {
        assert_eq!(proven.verifier.verify_both(&statement, &proofs), Ok(()));
    }
    let batch = proven.all();
    assert_eq!(proven.verifier.verify_batch(&batch), vec![Ok(()); 3]);
    assert_eq!(proven.verifier.verify_batch_blst(&batch), vec![Ok(()); 3]);
    assert_eq!(proven.verifier.verify_batch(&[]), vec![]);
}

#[test]
fn a_statement_that_is_not_the_sectors_is_not_proven() {
    use holdfast_proofs::prove::{ProveError, Workers, prove_seal, prove_spacetime};
    let proven = proven();
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let parameters = proven.parameters(CircuitId::spacetime(CLASS));
    let mut statement = proven.spacetime.0.clone();
    statement.lanes[3] = plus_one(statement.lanes[3]);
    assert!(matches!(
        prove_spacetime(
            &Workers::one(&parameters),
            &proven.sealed,
            &statement,
            &mut rng
        ),
        Err(ProveError::OtherRoots { .. })
    ));
    assert!(matches!(
        prove_seal(
            &Workers::one(&parameters),
            &proven.sealed,
            &proven.seal.0,
            &mut rng
        ),
        Err(ProveError::OtherCircuit { .. })
    ));
    // Also from inside the thread pool that the prover itself uses.
    let statement = proven.spacetime.0.clone();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let proofs = pool
        .install(|| {
            prove_spacetime(
                &Workers::one(&parameters),
                &proven.sealed,
                &statement,
                &mut rng,
            )
        })
        .unwrap();
    assert_eq!(
        proven
            .verifier
            .verify_both(&Statement::Spacetime(statement), &proofs),
        Ok(())
    );
}

#[test]
fn proofs_under_another_networks_parameters_are_refused() {
    let proven = proven();
    let (statement, proofs) = &proven.embed;
    let id = CircuitId::embed(CLASS, 2);
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let others = holdfast_proofs::params::Parameters::create(id, &mut rng).unwrap();
    let keys = [(id, others.verifying_key())].into_iter().collect();
    let verifier = Verifier::from_keys(&keys).unwrap();
    assert_eq!(
        verifier.verify_both(&Statement::Embed(statement.clone()), proofs),
        Err(VerifyError::Refused { proof: 0 })
    );
    assert_eq!(verifier.per_proof(Circuit::Embed, CLASS), Some(2));
    assert_eq!(verifier.per_proof(Circuit::Seal, CLASS), None);
}

#[test]
fn keys_that_are_damaged_ambiguous_or_of_another_circuit_are_refused() {
    let proven = proven();
    let id = CircuitId::spacetime(CLASS);
    let honest = proven.keys.get(id).unwrap().to_vec();
    let error = |keys: &[(CircuitId, Vec<u8>)]| {
        Verifier::from_keys(&keys.iter().cloned().collect::<VerifyingKeys>())
            .err()
            .unwrap()
    };
    let damaged = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut key = honest.clone();
        edit(&mut key);
        error(&[(id, key)])
    };
    let point = |why| KeyError::Point { id, why };
    assert_eq!(
        damaged(&|key| key.truncate(key.len() - 1)),
        point(PointError::Malformed)
    );
    assert_eq!(damaged(&Vec::clear), point(PointError::Malformed));
    assert_eq!(damaged(&|key| key[5] ^= 1), point(PointError::Malformed));
    assert_eq!(damaged(&|key| key.push(0)), point(PointError::NonCanonical));
    // Alpha, the first point, as the identity.
    assert_eq!(
        damaged(&|key| {
            key[..96].fill(0);
            key[0] = 0x40;
        }),
        point(PointError::Identity)
    );
    assert!(matches!(
        error(&[(CircuitId::seal(CLASS, 1), honest.clone())]),
        KeyError::InputCount { found: 9, .. }
    ));
    let (one, two) = (CircuitId::embed(CLASS, 2), CircuitId::embed(CLASS, 1));
    let key = proven.keys.get(one).unwrap().to_vec();
    assert!(matches!(
        error(&[(one, key.clone()), (two, key)]),
        KeyError::Ambiguous { .. } | KeyError::InputCount { .. }
    ));
}
