//! The embed circuit: at each challenge key, data and replica open in their group's roots, and
//! `replica = key + rho * data`.

use super::allocate_public;
use super::number::{Number, WITNESS, enforce, enforce_equal};
use super::opening::{allocate_digits, enforce_packed, open};
use super::permutation::Hashes;
use crate::packing::PositionBits;
use crate::proof::Circuit;
use crate::tree::Opening;
use bellman::{ConstraintSystem, SynthesisError};
use ff::PrimeField;

/// What shows one challenge.
#[derive(Clone)]
pub(crate) struct EmbedWitness {
    /// The node's position in its group.
    pub(crate) position: u64,
    /// Its key in the group.
    pub(crate) key: Opening,
    /// Its data in the group.
    pub(crate) data: Opening,
    /// Its replica in the group.
    pub(crate) replica: Opening,
}

/// The circuit, with or without public inputs and witness.
pub(crate) struct EmbedCircuit<F> {
    pub(crate) bits: PositionBits,
    pub(crate) public: Option<Vec<F>>,
    pub(crate) challenges: Vec<Option<EmbedWitness>>,
}

impl<F: PrimeField<Repr = [u8; 32]>> bellman::Circuit<F> for EmbedCircuit<F> {
    fn synthesize<CS: ConstraintSystem<F>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let hashes = Hashes::new();
        let mut public = allocate_public(
            cs,
            Circuit::Embed,
            self.bits,
            self.challenges.len(),
            self.public.as_ref(),
        )?;
        let mut next = || public.next().ok_or(SynthesisError::Unsatisfiable);
        let mut groups = Vec::with_capacity(self.challenges.len());
        for _ in &self.challenges {
            groups.push(([next()?, next()?, next()?], next()?));
        }
        let packed: Vec<_> = public.collect();
        let mut bits = Vec::new();
        for (witness, (roots, rho)) in self.challenges.iter().zip(&groups) {
            let position = witness.as_ref().map(|w| w.position);
            let digits = allocate_digits(cs, position, self.bits.group() / 3)?;
            bits.extend(digits.iter().flatten().cloned());
            let openings = match witness {
                Some(w) => [Some(&w.key), Some(&w.data), Some(&w.replica)],
                None => [None; 3],
            };
            let mut leaves = Vec::with_capacity(3);
            for (opening, root) in openings.into_iter().zip(roots) {
                let value = opening.map(|opening| opening.leaf.to_scalar());
                let leaf = Number::allocate(cs, WITNESS, value)?;
                let siblings = opening.map(|opening| &opening.siblings);
                let found = open(cs, &hashes, &leaf, &digits, siblings)?;
                enforce_equal(cs, "root", &found, root);
                leaves.push(leaf);
            }
            let [key, data, replica] = leaves.as_slice() else {
                return Err(SynthesisError::Unsatisfiable);
            };
            enforce(cs, "embedded", data, rho, &replica.minus(key));
        }
        enforce_packed(cs, &bits, &packed)
    }
}
