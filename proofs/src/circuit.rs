//! The three statements as `bellman` circuits, generic over the library's scalar and over the
//! number of octary levels, so that tests can search small ones exhaustively.
//!
//! A circuit takes its public inputs and its witness apart: what an honest witness of something
//! else does under these public inputs is then a plain test. `SECURITY.md` has the statements.

#[cfg(test)]
mod checker;
mod embed;
mod number;
mod opening;
mod permutation;
mod seal;
mod shape;
mod spacetime;
#[cfg(test)]
mod tests;

pub use shape::{Shape, shape};

pub(crate) use embed::{EmbedCircuit, EmbedWitness};
pub(crate) use seal::{Column, SealCircuit, SealWitness};
pub(crate) use spacetime::{LeafWitness, SpacetimeCircuit};

use crate::packing::PositionBits;
use crate::proof::{Circuit, CircuitId};
use crate::statement::public_input_count;
use bellman::{ConstraintSystem, SynthesisError};
use ff::PrimeField;
use number::Number;

/// Version of the circuits. It stands in the name of a parameter file, and goes up whenever a
/// pinned shape changes.
pub const CIRCUIT_VERSION: u32 = 1;

/// A circuit of any of the three kinds.
pub(crate) enum AnyCircuit<F> {
    Seal(SealCircuit<F>),
    Embed(EmbedCircuit<F>),
    Spacetime(SpacetimeCircuit<F>),
}

impl<F> AnyCircuit<F> {
    /// The circuit without a witness, as parameters are made from it.
    pub(crate) fn blank(id: CircuitId) -> Self {
        Self::blank_of(
            id.circuit,
            PositionBits::of(id.class),
            id.per_proof as usize,
        )
    }

    /// The same over any number of levels.
    pub(crate) fn blank_of(circuit: Circuit, bits: PositionBits, per_proof: usize) -> Self {
        fn none<W>(count: usize) -> Vec<Option<W>> {
            (0..count).map(|_| None).collect()
        }
        match circuit {
            Circuit::Seal => Self::Seal(SealCircuit {
                bits,
                public: None,
                challenges: none(per_proof),
            }),
            Circuit::Embed => Self::Embed(EmbedCircuit {
                bits,
                public: None,
                challenges: none(per_proof),
            }),
            Circuit::Spacetime => Self::Spacetime(SpacetimeCircuit {
                bits,
                public: None,
                leaves: none(per_proof),
            }),
        }
    }
}

impl<F: PrimeField<Repr = [u8; 32]>> bellman::Circuit<F> for AnyCircuit<F> {
    fn synthesize<CS: ConstraintSystem<F>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        match self {
            Self::Seal(circuit) => circuit.synthesize(cs),
            Self::Embed(circuit) => circuit.synthesize(cs),
            Self::Spacetime(circuit) => circuit.synthesize(cs),
        }
    }
}

/// Allocates all public inputs of a circuit.
fn allocate_public<F: PrimeField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    circuit: Circuit,
    bits: PositionBits,
    per_proof: usize,
    values: Option<&Vec<F>>,
) -> Result<std::vec::IntoIter<Number<F>>, SynthesisError> {
    let count = public_input_count(circuit, bits, per_proof);
    if values.is_some_and(|values| values.len() != count) {
        return Err(SynthesisError::Unsatisfiable);
    }
    let inputs: Result<Vec<_>, _> = (0..count)
        .map(|index| Number::public(cs, values.and_then(|values| values.get(index)).copied()))
        .collect();
    Ok(inputs?.into_iter())
}

/// The next eight public inputs: the roots of the lanes.
fn eight<F>(
    inputs: &mut impl Iterator<Item = Number<F>>,
) -> Result<[Number<F>; 8], SynthesisError> {
    let eight: Vec<_> = inputs.take(8).collect();
    eight.try_into().map_err(|_| SynthesisError::Unsatisfiable)
}
