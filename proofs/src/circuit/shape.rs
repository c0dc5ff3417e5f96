//! A circuit's shape: its counts and a digest over every constraint. Parameters belong to a shape;
//! tests pin it.

use super::AnyCircuit;
use super::number::{merge, order};
use crate::packing::PositionBits;
use crate::proof::{Circuit, CircuitId};
use bellman::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use ff::PrimeField;

/// Counts of a circuit, and a digest over every constraint of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Public inputs, the constant one included.
    pub inputs: usize,
    /// Other variables.
    pub variables: usize,
    /// Constraints.
    pub constraints: usize,
    /// BLAKE3 over the constraints, in order.
    pub digest: [u8; 32],
}

/// The shape of a circuit.
///
/// # Errors
/// None that a circuit without a witness is known to give; the type is `bellman`'s.
pub fn shape(id: CircuitId) -> Result<Shape, SynthesisError> {
    shape_of(
        id.circuit,
        PositionBits::of(id.class),
        id.per_proof as usize,
    )
}

/// The shape of a circuit over any number of levels.
pub(crate) fn shape_of(
    circuit: Circuit,
    bits: PositionBits,
    per_proof: usize,
) -> Result<Shape, SynthesisError> {
    let mut recorder = Recorder {
        inputs: 1,
        variables: 0,
        constraints: 0,
        hasher: blake3::Hasher::new_derive_key("holdfast 2026 circuit shape v1"),
    };
    let blank: AnyCircuit<blstrs::Scalar> = AnyCircuit::blank_of(circuit, bits, per_proof);
    bellman::Circuit::synthesize(blank, &mut recorder)?;
    let Recorder {
        inputs,
        variables,
        constraints,
        mut hasher,
    } = recorder;
    hasher.update(&(inputs as u64).to_le_bytes());
    hasher.update(&(variables as u64).to_le_bytes());
    Ok(Shape {
        inputs,
        variables,
        constraints,
        digest: *hasher.finalize().as_bytes(),
    })
}

/// Counts and hashes, and keeps nothing.
struct Recorder {
    inputs: usize,
    variables: usize,
    constraints: usize,
    hasher: blake3::Hasher,
}

impl Recorder {
    fn absorb<F: PrimeField<Repr = [u8; 32]>>(&mut self, combination: LinearCombination<F>) {
        let terms = merge(combination.as_ref().to_vec());
        let mut bytes = Vec::with_capacity(8 + 41 * terms.len());
        bytes.extend((terms.len() as u64).to_le_bytes());
        for (variable, coefficient) in &terms {
            let (auxiliary, index) = order(*variable);
            bytes.push(u8::from(auxiliary));
            bytes.extend((index as u64).to_le_bytes());
            bytes.extend(coefficient.to_repr());
        }
        self.hasher.update(&bytes);
    }
}

impl<F: PrimeField<Repr = [u8; 32]>> ConstraintSystem<F> for Recorder {
    type Root = Self;

    fn alloc<V, A, AR>(&mut self, _: A, _: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<F, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let variable = Variable::new_unchecked(Index::Aux(self.variables));
        self.variables += 1;
        Ok(variable)
    }

    fn alloc_input<V, A, AR>(&mut self, _: A, _: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<F, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let variable = Variable::new_unchecked(Index::Input(self.inputs));
        self.inputs += 1;
        Ok(variable)
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
        LB: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
        LC: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
    {
        self.absorb(a(LinearCombination::zero()));
        self.absorb(b(LinearCombination::zero()));
        self.absorb(c(LinearCombination::zero()));
        self.constraints += 1;
    }

    fn push_namespace<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn pop_namespace(&mut self) {}

    fn get_root(&mut self) -> &mut Self::Root {
        self
    }
}
