//! Proving with blstrs. Every proof is read back from the bytes that are given out, and verified, as
//! any verifier would.

mod assignment;
mod compare;
pub(crate) mod create;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod multiples;
mod portable;
mod quotient;

pub use compare::{Comparison, compare_with_bellman};

use crate::circuit::{
    AnyCircuit, Column, EmbedCircuit, EmbedWitness, LeafWitness, SealCircuit, SealWitness,
    SpacetimeCircuit,
};
use crate::graph::Graph;
use crate::groth16::{Item, PointError, read_proof, scalars};
use crate::node::Node;
use crate::packing::PositionBits;
use crate::params::Parameters;
use crate::proof::{CircuitId, PROOF_BYTES, ProofBytes};
use crate::seal::SealError;
use crate::sealed::{ColumnOpening, Manifest, Reach, Sealed};
use crate::sector::Position;
use crate::statement::{
    EmbedStatement, SealStatement, SpacetimeStatement, Statement, StatementError,
};
use bellman::SynthesisError;
use create::create_proof;
use ff::Field;
use rand_core::{CryptoRng, RngCore};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

type Scalar = blstrs::Scalar;

/// Of a proof's memory, with constraints rounded up to the domain of their transforms.
const BYTES_PER_CONSTRAINT: u64 = 1200;

/// Why a statement could not be proven.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The parameters are for another circuit.
    #[error("the statement needs the circuit {needed}, the parameters are for {found}")]
    OtherCircuit {
        /// The circuit of the statement.
        needed: CircuitId,
        /// The circuit of the parameters.
        found: CircuitId,
    },
    /// The statement cannot be proven at all.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The sector's files do not give what the proof needs.
    #[error(transparent)]
    Sector(#[from] SealError),
    /// The statement is about another sector, or about what this one held before.
    #[error(
        "{path} has other roots than the statement says: the sector has changed since, or it is another; ask for a proof of what it holds now",
        path = path.display()
    )]
    OtherRoots {
        /// The sector's manifest.
        path: PathBuf,
    },
    /// What was proven is not what the statement says.
    #[error(
        "proof {proof} does not hold: the sector's files do not show the statement, its roots, replica id or challenges are others, or the parameters are damaged"
    )]
    Unsatisfied {
        /// Which proof.
        proof: usize,
    },
    /// The parameters led to a point that every verifier refuses.
    #[error(
        "the parameters of {id} are damaged or substituted: point {point} of proof {proof} is refused by every verifier ({why}); nothing was sent; replace the .params, .key and .digest files of {id} by a copy from where the network's keys come from"
    )]
    Parameters {
        /// The circuit of the parameters.
        id: CircuitId,
        /// Which proof.
        proof: usize,
        /// Which of its points A, B, C.
        point: char,
        /// What is wrong with it.
        why: PointError,
    },
    /// `bellman` reported an error.
    #[error("proof {proof} could not be made: {source}")]
    Synthesis {
        /// Which proof.
        proof: usize,
        /// What `bellman` said.
        source: SynthesisError,
    },
    /// The prover's thread panicked.
    #[error("proof {proof} could not be made: its thread panicked, see the log")]
    Panicked {
        /// Which proof.
        proof: usize,
    },
}

/// How proofs are made: with which parameters, on how many threads, and who is told.
pub struct Workers<'a> {
    /// Of the circuit that is proven.
    pub parameters: &'a Parameters,
    /// Proofs that are made at a time; each takes memory of its own.
    pub threads: NonZeroUsize,
    /// Told after each proof how many are made.
    pub made: &'a (dyn Fn(usize) + Sync),
}

impl<'a> Workers<'a> {
    /// One proof at a time, and nobody is told.
    pub fn one(parameters: &'a Parameters) -> Self {
        Self {
            parameters,
            threads: NonZeroUsize::MIN,
            made: &|_| {},
        }
    }

    /// Makes a proof for each list of public inputs, of the circuit that `circuit` gives for it. The
    /// masks are drawn before, in order: proofs do not depend on the number of threads.
    fn run<R: RngCore + CryptoRng>(
        &self,
        inputs: &[Vec<Node>],
        circuit: impl Fn(usize, &[Node]) -> Result<AnyCircuit<Scalar>, ProveError> + Sync,
        rng: &mut R,
    ) -> Result<Vec<ProofBytes>, ProveError> {
        let masks: Vec<(Scalar, Scalar)> = inputs
            .iter()
            .map(|_| (Scalar::random(&mut *rng), Scalar::random(&mut *rng)))
            .collect();
        let jobs: Vec<_> = inputs.iter().zip(masks).enumerate().collect();
        let (next, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failed = AtomicBool::new(false);
        let work = || {
            let mut proofs = Vec::new();
            // After a failure no proof is begun: the statement is not proven anyway.
            while !failed.load(Ordering::Relaxed)
                && let Some((proof, (inputs, masks))) =
                    jobs.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let proving = || {
                    let circuit = circuit(*proof, inputs)?;
                    prove_one(self.parameters, circuit, inputs, *proof, *masks)
                };
                // Where proving panics, this proof fails and the process goes on: what it worked
                // on is its own.
                let result = catch_unwind(AssertUnwindSafe(proving))
                    .unwrap_or(Err(ProveError::Panicked { proof: *proof }));
                failed.fetch_or(result.is_err(), Ordering::Relaxed);
                (self.made)(made.fetch_add(1, Ordering::Relaxed) + 1);
                proofs.push((*proof, result));
            }
            proofs
        };
        let threads = self.threads.get().min(jobs.len());
        let mut results: Vec<(usize, Result<ProofBytes, ProveError>)> =
            std::thread::scope(|scope| {
                let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                let done = workers.into_iter().map(|worker| worker.join());
                done.flat_map(|proofs| proofs.unwrap_or_else(|panic| resume_unwind(panic)))
                    .collect()
            });
        results.sort_by_key(|(proof, _)| *proof);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// Proves that a sector was sealed. Its layers must still be there, and nothing embedded.
///
/// # Errors
/// Parameters of another circuit, files that are missing or damaged, or a statement that is not
/// this sector's.
pub fn prove_seal<R: RngCore + CryptoRng>(
    workers: &Workers<'_>,
    sealed: &Sealed,
    statement: &SealStatement,
    rng: &mut R,
) -> Result<Vec<ProofBytes>, ProveError> {
    let graph = Graph::new(statement.class);
    let bits = PositionBits::of(statement.class);
    let (per_proof, inputs) = begin(workers.parameters, &Statement::Seal(statement.clone()))?;
    let commitment = sealed.commitment();
    let same = (statement.class, statement.replica) == (sealed.class(), sealed.replica())
        && (statement.columns, statement.keys) == (commitment.columns, commitment.keys);
    same_roots(sealed, same)?;
    let chunks: Vec<_> = statement.challenges.chunks(per_proof).collect();
    let circuit = |proof: usize, inputs: &[Node]| {
        let challenges = chunks.get(proof).copied().unwrap_or_default();
        let challenges: Result<Vec<_>, ProveError> = challenges
            .iter()
            .map(|position| Ok(Some(seal_witness(sealed, &graph, *position)?)))
            .collect();
        Ok(AnyCircuit::Seal(SealCircuit {
            bits,
            public: Some(scalars(inputs)),
            challenges: challenges?,
        }))
    };
    workers.run(&inputs, circuit, rng)
}

fn seal_witness(
    sealed: &Sealed,
    graph: &Graph,
    position: Position,
) -> Result<SealWitness, ProveError> {
    let parents = graph.parents(position);
    Ok(SealWitness {
        position: position.0,
        base: columns(sealed, &parents.base)?,
        expander: columns(sealed, &parents.expander)?,
        column_siblings: sealed.column_opening(position)?.opening.siblings,
        key_siblings: sealed.key_opening(position, Reach::Lane)?.siblings,
    })
}

fn columns(sealed: &Sealed, parents: &[Position]) -> Result<Vec<Column>, SealError> {
    parents
        .iter()
        .map(|parent| {
            let ColumnOpening { labels, opening } = sealed.column_opening(*parent)?;
            Ok(Column {
                position: parent.0,
                labels,
                siblings: opening.siblings,
            })
        })
        .collect()
}

/// Proves that staged groups were embedded.
///
/// # Errors
/// Parameters of another circuit, groups that are not written, or a statement that is not this
/// sector's.
pub fn prove_embed<R: RngCore + CryptoRng>(
    workers: &Workers<'_>,
    sealed: &Sealed,
    statement: &EmbedStatement,
    rng: &mut R,
) -> Result<Vec<ProofBytes>, ProveError> {
    let class = statement.class;
    let bits = PositionBits::of(class);
    let (per_proof, inputs) = begin(workers.parameters, &Statement::Embed(statement.clone()))?;
    same_roots(sealed, class == sealed.class())?;
    for challenge in &statement.challenges {
        let roots = sealed.embedded_roots(challenge.position.group(class))?;
        let same = (roots.rho, roots.key) == (challenge.rho, challenge.key_root)
            && (roots.data, roots.replica) == (challenge.data_root, challenge.replica_root);
        same_roots(sealed, same)?;
    }
    let chunks: Vec<_> = statement.challenges.chunks(per_proof).collect();
    let circuit = |proof: usize, inputs: &[Node]| {
        let challenges = chunks.get(proof).copied().unwrap_or_default();
        let witnesses: Result<Vec<_>, ProveError> = challenges
            .iter()
            .map(|challenge| {
                let opening = sealed.embed_opening(challenge.position)?;
                Ok(Some(EmbedWitness {
                    position: challenge.position.in_group(class),
                    key: opening.key,
                    data: opening.data,
                    replica: opening.replica,
                }))
            })
            .collect();
        Ok(AnyCircuit::Embed(EmbedCircuit {
            bits,
            public: Some(scalars(inputs)),
            challenges: witnesses?,
        }))
    };
    workers.run(&inputs, circuit, rng)
}

/// Proves that the replica is there.
///
/// # Errors
/// Parameters of another circuit, files that are missing or damaged, or a statement that is not
/// this sector's.
pub fn prove_spacetime<R: RngCore + CryptoRng>(
    workers: &Workers<'_>,
    sealed: &Sealed,
    statement: &SpacetimeStatement,
    rng: &mut R,
) -> Result<Vec<ProofBytes>, ProveError> {
    let (_, inputs) = begin(workers.parameters, &Statement::Spacetime(statement.clone()))?;
    let same = statement.class == sealed.class() && statement.lanes == sealed.replica_lanes();
    same_roots(sealed, same)?;
    let circuit = |_: usize, inputs: &[Node]| spacetime_circuit(sealed, statement, inputs);
    workers.run(&inputs, circuit, rng)
}

fn spacetime_circuit(
    sealed: &Sealed,
    statement: &SpacetimeStatement,
    inputs: &[Node],
) -> Result<AnyCircuit<Scalar>, ProveError> {
    let leaves: Result<Vec<_>, ProveError> = statement
        .challenges
        .iter()
        .map(|position| {
            Ok(Some(LeafWitness {
                position: position.in_lane(statement.class),
                opening: sealed.replica_opening(*position, Reach::Lane)?,
            }))
        })
        .collect();
    Ok(AnyCircuit::Spacetime(SpacetimeCircuit {
        bits: PositionBits::of(statement.class),
        public: Some(scalars(inputs)),
        leaves: leaves?,
    }))
}

/// Bytes of memory that one proof of a circuit takes at most, beside its parameters.
///
/// # Errors
/// A circuit that cannot be synthesized; none here is known.
pub fn memory_of_proof(id: CircuitId) -> Result<u64, SynthesisError> {
    let constraints = crate::circuit::shape(id)?.constraints;
    Ok(BYTES_PER_CONSTRAINT.saturating_mul(constraints.next_power_of_two() as u64))
}

/// Checks that the parameters fit, and gives challenges a proof and the proofs' public inputs.
fn begin(
    parameters: &Parameters,
    statement: &Statement,
) -> Result<(usize, Vec<Vec<Node>>), ProveError> {
    let found = parameters.id();
    let needed = statement.circuit_id(found.per_proof);
    if needed != found {
        return Err(ProveError::OtherCircuit { needed, found });
    }
    let inputs = statement.public_inputs(found.per_proof)?;
    Ok((found.per_proof as usize, inputs))
}

/// Refuses a statement that was found to have other roots than the sector, by the file that has
/// them: nothing would come of it but a proof that does not hold.
fn same_roots(sealed: &Sealed, same: bool) -> Result<(), ProveError> {
    match same {
        true => Ok(()),
        false => Err(ProveError::OtherRoots {
            path: Manifest::path(&sealed.dir),
        }),
    }
}

/// Proves one circuit with its public inputs.
fn prove_one(
    parameters: &Parameters,
    circuit: AnyCircuit<Scalar>,
    inputs: &[Node],
    proof: usize,
    (r, s): (Scalar, Scalar),
) -> Result<ProofBytes, ProveError> {
    let synthesis = |source| ProveError::Synthesis { proof, source };
    let made = create_proof(circuit, &parameters.inner, r, s).map_err(synthesis)?;
    let mut bytes = ProofBytes([0u8; PROOF_BYTES]);
    made.write(bytes.0.as_mut_slice())
        .map_err(|error| synthesis(error.into()))?;
    // The points of parameters are not checked when they are loaded, and the pairing is blind to
    // what lies outside the subgroup: what verifiers read is what is checked here.
    let read = read_proof(&bytes).map_err(|(point, why)| ProveError::Parameters {
        id: parameters.id(),
        proof,
        point,
        why,
    })?;
    let item = Item {
        key: &parameters.key,
        key_number: 0,
        proof: read,
        inputs: scalars(inputs),
        coefficient: 1,
    };
    // `bellman` makes a proof of anything; only one that holds is worth sending.
    if !item.holds() {
        return Err(ProveError::Unsatisfied { proof });
    }
    Ok(bytes)
}
