//! Our prover against `bellman`'s, on a real statement.

use super::create::create_proof;
use super::{ProveError, Scalar, begin, spacetime_circuit};
use crate::params::Parameters;
use crate::sealed::Sealed;
use crate::statement::{SpacetimeStatement, Statement};
use bellman::SynthesisError;
use bellman::groth16::Proof;
use blstrs::Bls12;
use ff::Field;
use rand_core::{CryptoRng, RngCore};
use std::time::{Duration, Instant};

/// How long the first proof of a statement took on one thread, once by each prover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// By the prover of this crate.
    pub ours: Duration,
    /// By `bellman`'s.
    pub bellman: Duration,
}

/// Proves the same with both provers, synthesis included, and measures them. It must not be
/// called in a thread of a pool: `bellman` would wait for that pool.
///
/// # Errors
/// Those of proving, and proofs that differ.
pub fn compare_with_bellman<R: RngCore + CryptoRng>(
    parameters: &Parameters,
    sealed: &Sealed,
    statement: &SpacetimeStatement,
    rng: &mut R,
) -> Result<Comparison, ProveError> {
    let (_, inputs) = begin(parameters, &Statement::Spacetime(statement.clone()))?;
    let inputs = inputs.first().ok_or(ProveError::Unsatisfied { proof: 0 })?;
    let (r, s) = (Scalar::random(&mut *rng), Scalar::random(&mut *rng));
    let circuit = || spacetime_circuit(sealed, statement, inputs);
    let (mine, ours) = timed(circuit()?, |circuit| {
        create_proof(circuit, &parameters.inner, r, s)
    })?;
    let (theirs, bellman) = timed(circuit()?, |circuit| {
        bellman::groth16::create_proof(circuit, &parameters.inner, r, s)
    })?;
    if mine != theirs {
        return Err(ProveError::Unsatisfied { proof: 0 });
    }
    Ok(Comparison { ours, bellman })
}

fn timed<C>(
    circuit: C,
    create: impl FnOnce(C) -> Result<Proof<Bls12>, SynthesisError>,
) -> Result<(Proof<Bls12>, Duration), ProveError> {
    let start = Instant::now();
    let proof = create(circuit).map_err(|source| ProveError::Synthesis { proof: 0, source })?;
    Ok((proof, start.elapsed()))
}
