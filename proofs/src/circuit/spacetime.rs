//! The spacetime circuit: sixteen leaves of the replica, two in each lane, open in their lane's
//! root.

use super::number::{Number, WITNESS, enforce_equal};
use super::opening::{allocate_digits, enforce_packed, open};
use super::permutation::Hashes;
use super::{allocate_public, eight};
use crate::packing::PositionBits;
use crate::proof::Circuit;
use crate::tree::Opening;
use bellman::{ConstraintSystem, SynthesisError};
use ff::PrimeField;

/// What shows one leaf.
#[derive(Clone)]
pub(crate) struct LeafWitness {
    /// The leaf's position in its lane.
    pub(crate) position: u64,
    /// The leaf in its lane.
    pub(crate) opening: Opening,
}

/// The circuit, with or without public inputs and witness. Leaf i lies in lane i / 2.
pub(crate) struct SpacetimeCircuit<F> {
    pub(crate) bits: PositionBits,
    pub(crate) public: Option<Vec<F>>,
    pub(crate) leaves: Vec<Option<LeafWitness>>,
}

impl<F: PrimeField<Repr = [u8; 32]>> bellman::Circuit<F> for SpacetimeCircuit<F> {
    fn synthesize<CS: ConstraintSystem<F>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let hashes = Hashes::new();
        let mut public = allocate_public(
            cs,
            Circuit::Spacetime,
            self.bits,
            self.leaves.len(),
            self.public.as_ref(),
        )?;
        let lanes = eight(&mut public)?;
        let packed: Vec<_> = public.collect();
        let mut bits = Vec::new();
        let lanes = lanes.iter().flat_map(|lane| [lane, lane]);
        for (witness, lane) in self.leaves.iter().zip(lanes) {
            let position = witness.as_ref().map(|w| w.position);
            let digits = allocate_digits(cs, position, self.bits.lane() / 3)?;
            bits.extend(digits.iter().flatten().cloned());
            let value = witness.as_ref().map(|w| w.opening.leaf.to_scalar());
            let leaf = Number::allocate(cs, WITNESS, value)?;
            let siblings = witness.as_ref().map(|w| &w.opening.siblings);
            let root = open(cs, &hashes, &leaf, &digits, siblings)?;
            enforce_equal(cs, "root", &root, lane);
        }
        enforce_packed(cs, &bits, &packed)
    }
}
