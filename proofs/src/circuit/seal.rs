//! The seal circuit: at each challenge the columns of the node and of its fourteen parents open in
//! their lane's root, all eight labels recompute, and label 8 opens in its key lane root.

use super::number::{Number, WITNESS};
use super::opening::{Digit, Halves, allocate_digits, enforce_packed, integer, open};
use super::permutation::Hashes;
use super::{allocate_public, eight};
use crate::label::{LANE_BIT, LAYER_BIT};
use crate::node::Node;
use crate::packing::PositionBits;
use crate::proof::Circuit;
use crate::sector::LAYERS;
use bellman::{ConstraintSystem, SynthesisError};
use ff::PrimeField;

/// A parent's column and its opening in its lane.
#[derive(Clone)]
pub(crate) struct Column {
    /// The position in the sector.
    pub(crate) position: u64,
    /// The labels, layer 1 first.
    pub(crate) labels: [Node; LAYERS],
    /// The siblings of the column's hash in its lane, leaf level first.
    pub(crate) siblings: Vec<[Node; 7]>,
}

/// What shows one challenge. The node's own labels are not in it: they are computed.
#[derive(Clone)]
pub(crate) struct SealWitness {
    /// The node's position in the sector.
    pub(crate) position: u64,
    /// Its six parents in the lane.
    pub(crate) base: Vec<Column>,
    /// Its eight parents in the layer before.
    pub(crate) expander: Vec<Column>,
    /// The siblings of the node's column in its lane.
    pub(crate) column_siblings: Vec<[Node; 7]>,
    /// The siblings of the node's key in its lane.
    pub(crate) key_siblings: Vec<[Node; 7]>,
}

/// The circuit, with or without public inputs and witness.
pub(crate) struct SealCircuit<F> {
    pub(crate) bits: PositionBits,
    pub(crate) public: Option<Vec<F>>,
    pub(crate) challenges: Vec<Option<SealWitness>>,
}

/// What all challenges of a proof share.
struct Shared<'a, F: 'static> {
    hashes: &'a Hashes<F>,
    replica: Number<F>,
    columns: [Number<F>; 8],
    keys: [Number<F>; 8],
}

/// A column in the circuit.
struct Labels<F> {
    labels: Vec<Number<F>>,
    /// The root that its opening leads to.
    root: Number<F>,
}

impl<F: PrimeField<Repr = [u8; 32]>> bellman::Circuit<F> for SealCircuit<F> {
    fn synthesize<CS: ConstraintSystem<F>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let hashes = Hashes::new();
        let mut public = allocate_public(
            cs,
            Circuit::Seal,
            self.bits,
            self.challenges.len(),
            self.public.as_ref(),
        )?;
        let shared = Shared {
            hashes: &hashes,
            replica: public.next().ok_or(SynthesisError::Unsatisfiable)?,
            columns: eight(&mut public)?,
            keys: eight(&mut public)?,
        };
        let packed: Vec<_> = public.collect();
        let mut bits = Vec::new();
        for witness in &self.challenges {
            shared.challenge(cs, self.bits, witness.as_ref(), &mut bits)?;
        }
        enforce_packed(cs, &bits, &packed)
    }
}

impl<F: PrimeField<Repr = [u8; 32]>> Shared<'_, F> {
    fn challenge<CS: ConstraintSystem<F>>(
        &self,
        cs: &mut CS,
        position_bits: PositionBits,
        witness: Option<&SealWitness>,
        bits: &mut Vec<Number<F>>,
    ) -> Result<(), SynthesisError> {
        let lane_digits = position_bits.lane() / 3;
        let mut in_lane = allocate_digits(cs, witness.map(|w| w.position), lane_digits + 1)?;
        bits.extend(in_lane.iter().flatten().cloned());
        let lane = in_lane.pop().ok_or(SynthesisError::Unsatisfiable)?;
        // The node, its base parents and its key share a lane, and so the choice of its roots.
        let lane_columns = Halves::choose(cs, &lane, &self.columns)?;

        let mut base = Vec::with_capacity(6);
        for parent in 0..6 {
            let column = witness.and_then(|w| w.base.get(parent));
            let digits = allocate_digits(cs, column.map(|c| c.position), lane_digits)?;
            bits.extend(digits.iter().flatten().cloned());
            let column = self.column(cs, &digits, column)?;
            lane_columns.enforce_is(cs, &lane, &column.root);
            base.push(column.labels);
        }
        let mut expander = Vec::with_capacity(8);
        for parent in 0..8 {
            let column = witness.and_then(|w| w.expander.get(parent));
            let mut digits = allocate_digits(cs, column.map(|c| c.position), lane_digits + 1)?;
            bits.extend(digits.iter().flatten().cloned());
            let lane = digits.pop().ok_or(SynthesisError::Unsatisfiable)?;
            let column = self.column(cs, &digits, column)?;
            Halves::choose(cs, &lane, &self.columns)?.enforce_is(cs, &lane, &column.root);
            expander.push(column.labels);
        }

        let labels = self.labels(cs, &in_lane, &lane, &base, &expander)?;
        let siblings = witness.map(|w| &w.column_siblings);
        let root = self.open_column(cs, &labels, &in_lane, siblings)?;
        lane_columns.enforce_is(cs, &lane, &root);

        let key = labels.last().ok_or(SynthesisError::Unsatisfiable)?;
        let siblings = witness.map(|w| &w.key_siblings);
        let root = open(cs, self.hashes, key, &in_lane, siblings)?;
        Halves::choose(cs, &lane, &self.keys)?.enforce_is(cs, &lane, &root);
        Ok(())
    }

    /// The eight labels of the node. Base parents are of the same layer, expander parents of the
    /// layer before; layer 1 has zeros for them.
    fn labels<CS: ConstraintSystem<F>>(
        &self,
        cs: &mut CS,
        in_lane: &[Digit<F>],
        lane: &Digit<F>,
        base: &[Vec<Number<F>>],
        expander: &[Vec<Number<F>>],
    ) -> Result<Vec<Number<F>>, SynthesisError> {
        let index = integer(in_lane);
        let lane = integer(std::slice::from_ref(lane));
        let one = Number::constant::<CS>(F::ONE);
        let zero = Number::zero();
        let at = |parent: &'_ Vec<Number<F>>, layer: usize| parent.get(layer).cloned();
        let mut labels = Vec::with_capacity(LAYERS);
        for layer in 0..LAYERS {
            let position = Number::sum([
                (F::ONE, &index),
                (F::from(1 << LANE_BIT), &lane),
                (F::from((layer as u64 + 1) << LAYER_BIT), &one),
            ]);
            let mut inputs = vec![self.replica.clone(), position];
            for parent in base {
                inputs.push(at(parent, layer).ok_or(SynthesisError::Unsatisfiable)?);
            }
            for parent in expander {
                inputs.push(match layer.checked_sub(1) {
                    None => zero.clone(),
                    Some(before) => at(parent, before).ok_or(SynthesisError::Unsatisfiable)?,
                });
            }
            let inputs: [Number<F>; 16] = inputs
                .try_into()
                .map_err(|_| SynthesisError::Unsatisfiable)?;
            labels.push(self.hashes.sixteen.hash(cs, &inputs.each_ref())?);
        }
        Ok(labels)
    }

    /// A parent's column: its labels are witness, its root is computed.
    fn column<CS: ConstraintSystem<F>>(
        &self,
        cs: &mut CS,
        digits: &[Digit<F>],
        column: Option<&Column>,
    ) -> Result<Labels<F>, SynthesisError> {
        let mut labels = Vec::with_capacity(LAYERS);
        for layer in 0..LAYERS {
            let value = column
                .and_then(|column| column.labels.get(layer))
                .map(|label| label.to_scalar());
            labels.push(Number::allocate(cs, WITNESS, value)?);
        }
        let siblings = column.map(|column| &column.siblings);
        let root = self.open_column(cs, &labels, digits, siblings)?;
        Ok(Labels { labels, root })
    }

    fn open_column<CS: ConstraintSystem<F>>(
        &self,
        cs: &mut CS,
        labels: &[Number<F>],
        digits: &[Digit<F>],
        siblings: Option<&Vec<[Node; 7]>>,
    ) -> Result<Number<F>, SynthesisError> {
        let labels: Vec<&Number<F>> = labels.iter().collect();
        let labels: [&Number<F>; 8] = labels
            .try_into()
            .map_err(|_| SynthesisError::Unsatisfiable)?;
        let hash = self.hashes.eight.hash(cs, &labels)?;
        open(cs, self.hashes, &hash, digits, siblings)
    }
}
