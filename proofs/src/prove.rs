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
use crate::sealed::{ColumnOpening, Reach, Sealed};
use crate::sector::Position;
use crate::statement::{
    EmbedStatement, SealStatement, SpacetimeStatement, Statement, StatementError,
};
use bellman::SynthesisError;
use create::create_proof;
use ff::Field;
use rand_core::{CryptoRng, RngCore};

type Scalar = blstrs::Scalar;

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
    /// What the sector holds is not what the statement says.
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

/// Proves that a sector was sealed. Its layers must still be there, and nothing embedded.
///
/// # Errors
/// Parameters of another circuit, files that are missing or damaged, or a statement that is not
/// this sector's.
pub fn prove_seal<R: RngCore + CryptoRng>(
    parameters: &Parameters,
    sealed: &Sealed,
    statement: &SealStatement,
    rng: &mut R,
) -> Result<Vec<ProofBytes>, ProveError> {
    let graph = Graph::new(statement.class);
    let bits = PositionBits::of(statement.class);
    let (per_proof, inputs) = begin(parameters, &Statement::Seal(statement.clone()))?;
    let mut proofs = Vec::with_capacity(inputs.len());
    for (inputs, challenges) in inputs.iter().zip(statement.challenges.chunks(per_proof)) {
        let challenges: Result<Vec<_>, ProveError> = challenges
            .iter()
            .map(|position| Ok(Some(seal_witness(sealed, &graph, *position)?)))
            .collect();
        let circuit = AnyCircuit::Seal(SealCircuit {
            bits,
            public: Some(scalars(inputs)),
            challenges: challenges?,
        });
        proofs.push(prove_one(parameters, circuit, inputs, proofs.len(), rng)?);
    }
    Ok(proofs)
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
    parameters: &Parameters,
    sealed: &Sealed,
    statement: &EmbedStatement,
    rng: &mut R,
) -> Result<Vec<ProofBytes>, ProveError> {
    let class = statement.class;
    let bits = PositionBits::of(class);
    let (per_proof, inputs) = begin(parameters, &Statement::Embed(statement.clone()))?;
    let mut proofs = Vec::with_capacity(inputs.len());
    for (inputs, challenges) in inputs.iter().zip(statement.challenges.chunks(per_proof)) {
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
        let circuit = AnyCircuit::Embed(EmbedCircuit {
            bits,
            public: Some(scalars(inputs)),
            challenges: witnesses?,
        });
        proofs.push(prove_one(parameters, circuit, inputs, proofs.len(), rng)?);
    }
    Ok(proofs)
}

/// Proves that the replica is there.
///
/// # Errors
/// Parameters of another circuit, files that are missing or damaged, or a statement that is not
/// this sector's.
pub fn prove_spacetime<R: RngCore + CryptoRng>(
    parameters: &Parameters,
    sealed: &Sealed,
    statement: &SpacetimeStatement,
    rng: &mut R,
) -> Result<Vec<ProofBytes>, ProveError> {
    let (_, inputs) = begin(parameters, &Statement::Spacetime(statement.clone()))?;
    let mut proofs = Vec::with_capacity(inputs.len());
    for inputs in &inputs {
        let circuit = spacetime_circuit(sealed, statement, inputs)?;
        proofs.push(prove_one(parameters, circuit, inputs, proofs.len(), rng)?);
    }
    Ok(proofs)
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

/// Proves one circuit with its public inputs.
fn prove_one<R: RngCore + CryptoRng>(
    parameters: &Parameters,
    circuit: AnyCircuit<Scalar>,
    inputs: &[Node],
    proof: usize,
    rng: &mut R,
) -> Result<ProofBytes, ProveError> {
    let (r, s) = (Scalar::random(&mut *rng), Scalar::random(&mut *rng));
    // Where proving panics, this proof fails and the process goes on.
    let made = std::thread::scope(|scope| {
        scope
            .spawn(|| create_proof(circuit, &parameters.inner, r, s))
            .join()
    });
    let synthesis = |source| ProveError::Synthesis { proof, source };
    let made = made
        .map_err(|_| ProveError::Panicked { proof })?
        .map_err(synthesis)?;
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
