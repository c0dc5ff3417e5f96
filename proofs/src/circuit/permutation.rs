//! Poseidon2 in a circuit, as a compression function: permutation plus feed-forward, first element.
//!
//! Only the S-box costs constraints, three each; everything linear stays in the combinations.
//! Through the partial rounds each element is a combination of the S-box outputs before them (a
//! variable for each element) and of the outputs in them (one a round). Its coefficients do not
//! depend on the witness, so a [`Plan`] computes them once: no combination is ever longer than
//! width plus rounds plus one.

// Indices are rounds and elements, below the lengths that the plan itself makes.
#![allow(clippy::indexing_slicing)]

use super::number::{DERIVED, Number, enforce};
use crate::poseidon2::{Constants, FULL_ROUNDS, PARTIAL_ROUNDS, constants8, constants16};
use bellman::{ConstraintSystem, SynthesisError, Variable};
use ff::PrimeField;

const HALF: usize = FULL_ROUNDS / 2;

/// The paper's M4, from which the external matrix circ(2 M4, M4, ..., M4) is made.
const M4: [[u64; 4]; 4] = [[5, 7, 1, 3], [4, 6, 1, 1], [1, 3, 5, 7], [1, 1, 4, 6]];

/// The linear parts of a permutation of width `T`, computed out.
pub(crate) struct Plan<F: 'static, const T: usize> {
    constants: &'static Constants<F, T>,
    external: [[F; T]; T],
    /// For each partial round the S-box's input: over the `T` outputs before the partial rounds,
    /// the outputs of the partial rounds so far, and one.
    partial: Vec<Vec<F>>,
    /// The elements after the partial rounds, over the same and all partial outputs.
    after: Vec<Vec<F>>,
}

impl<F: PrimeField, const T: usize> Plan<F, T> {
    fn new(constants: &'static Constants<F, T>) -> Self {
        let mut external = [[F::ZERO; T]; T];
        for (i, row) in external.iter_mut().enumerate() {
            for (j, entry) in row.iter_mut().enumerate() {
                let factor = if i / 4 == j / 4 { 2 } else { 1 };
                *entry = F::from(factor * M4[i % 4][j % 4]);
            }
        }
        // Rows over (T outputs, PARTIAL_ROUNDS outputs, one).
        let width = T + PARTIAL_ROUNDS + 1;
        let mut rows = vec![vec![F::ZERO; width]; T];
        for (row, coefficients) in rows.iter_mut().zip(&external) {
            row[..T].copy_from_slice(coefficients);
        }
        let mut partial = Vec::with_capacity(PARTIAL_ROUNDS);
        for round in 0..PARTIAL_ROUNDS {
            let mut input = rows[0][..T + round].to_vec();
            input.push(rows[0][width - 1] + constants.partial[round]);
            partial.push(input);
            rows[0] = vec![F::ZERO; width];
            rows[0][T + round] = F::ONE;
            let mut sum = vec![F::ZERO; width];
            for row in &rows {
                for (total, entry) in sum.iter_mut().zip(row) {
                    *total += entry;
                }
            }
            for (row, factor) in rows.iter_mut().zip(&constants.diagonal) {
                for (entry, total) in row.iter_mut().zip(&sum) {
                    *entry = *entry * factor + total;
                }
            }
        }
        Self {
            constants,
            external,
            partial,
            after: rows,
        }
    }

    /// Compresses `T` numbers to one.
    pub(crate) fn hash<CS: ConstraintSystem<F>>(
        &self,
        cs: &mut CS,
        inputs: &[&Number<F>; T],
    ) -> Result<Number<F>, SynthesisError> {
        // Before the rounds: the external matrix over the inputs.
        let mut state: Vec<Number<F>> = self
            .external
            .iter()
            .map(|row| Number::sum(row.iter().copied().zip(inputs.iter().copied())))
            .collect();
        let mut outputs = Vec::with_capacity(T);
        for round in 0..HALF {
            if round > 0 {
                state = self.mix(&outputs);
            }
            outputs = self.full_round(cs, round, &state)?;
        }

        let one = Number::constant::<CS>(F::ONE);
        let mut basis = outputs;
        let mut values = self.external_values(&basis);
        for (round, row) in self.partial.iter().enumerate() {
            let value = values
                .as_ref()
                .map(|v| v[0] + self.constants.partial[round]);
            let input = combine(row, &basis, &one, value);
            let output = fifth_power(cs, &input)?;
            if let (Some(values), Some(value)) = (&mut values, output.1.value) {
                values[0] = value;
                self.internal_values(values);
            }
            basis.push(output);
        }
        state = self
            .after
            .iter()
            .enumerate()
            .map(|(i, row)| combine(row, &basis, &one, values.as_ref().map(|v| v[i])))
            .collect();

        let mut outputs = Vec::with_capacity(T);
        for round in HALF..FULL_ROUNDS {
            if round > HALF {
                state = self.mix(&outputs);
            }
            outputs = self.full_round(cs, round, &state)?;
        }
        // Only the first element leaves, with the first input added.
        let first = self.mix_row(&self.external[0], &outputs);
        Ok(Number::sum([(F::ONE, &first), (F::ONE, inputs[0])]))
    }

    fn full_round<CS: ConstraintSystem<F>>(
        &self,
        cs: &mut CS,
        round: usize,
        state: &[Number<F>],
    ) -> Result<Vec<Output<F>>, SynthesisError> {
        state
            .iter()
            .zip(&self.constants.full[round])
            .map(|(element, constant)| {
                let constant = Number::constant::<CS>(*constant);
                fifth_power(cs, &Number::sum([(F::ONE, element), (F::ONE, &constant)]))
            })
            .collect()
    }

    fn mix(&self, outputs: &[Output<F>]) -> Vec<Number<F>> {
        self.external
            .iter()
            .map(|row| self.mix_row(row, outputs))
            .collect()
    }

    /// One row of the external matrix over S-box outputs, which are all different variables.
    fn mix_row(&self, row: &[F; T], outputs: &[Output<F>]) -> Number<F> {
        let value = row
            .iter()
            .zip(outputs)
            .try_fold(F::ZERO, |total, (factor, output)| {
                Some(total + *factor * output.1.value?)
            });
        let terms = row
            .iter()
            .zip(outputs)
            .map(|(factor, output)| (output.0, *factor))
            .collect();
        Number::distinct(value, terms)
    }

    fn external_values(&self, outputs: &[Output<F>]) -> Option<[F; T]> {
        let mut values = [F::ZERO; T];
        for (value, row) in values.iter_mut().zip(&self.external) {
            *value = self.mix_row(row, outputs).value?;
        }
        Some(values)
    }

    fn internal_values(&self, values: &mut [F; T]) {
        let sum = values.iter().fold(F::ZERO, |total, value| total + value);
        for (value, factor) in values.iter_mut().zip(&self.constants.diagonal) {
            *value = *value * factor + sum;
        }
    }
}

/// The output of an S-box: its variable, and the same as a number.
type Output<F> = (Variable, Number<F>);

/// The combination of a row over S-box outputs and one; the row's last entry is the constant.
fn combine<F: PrimeField>(
    row: &[F],
    basis: &[Output<F>],
    one: &Number<F>,
    value: Option<F>,
) -> Number<F> {
    let mut terms: Vec<(Variable, F)> = basis
        .iter()
        .zip(row)
        .map(|(output, coefficient)| (output.0, *coefficient))
        .collect();
    if let (Some(one), Some(constant)) = (one.as_variable(), row.last()) {
        terms.push((one, *constant));
    }
    Number::distinct(value, terms)
}

/// `x^5` in three constraints.
fn fifth_power<F: PrimeField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    input: &Number<F>,
) -> Result<Output<F>, SynthesisError> {
    let square = Number::allocate(cs, DERIVED, input.value.map(|value| value.square()))?;
    enforce(cs, "square", input, input, &square);
    let fourth = Number::allocate(cs, DERIVED, square.value.map(|value| value.square()))?;
    enforce(cs, "fourth", &square, &square, &fourth);
    let value = fourth.value.zip(input.value).map(|(a, b)| a * b);
    let variable = cs.alloc(
        || DERIVED,
        || value.ok_or(SynthesisError::AssignmentMissing),
    )?;
    let fifth = Number::variable(variable, value);
    // The input stands on the right again, so that `fourth` stays out of the query in G2.
    enforce(cs, "fifth", &fourth, input, &fifth);
    Ok((variable, fifth))
}

/// Both widths.
pub(crate) struct Hashes<F: 'static> {
    /// Columns and trees.
    pub(crate) eight: Plan<F, 8>,
    /// Labels.
    pub(crate) sixteen: Plan<F, 16>,
}

impl<F: PrimeField<Repr = [u8; 32]>> Hashes<F> {
    /// Computes both plans.
    pub(crate) fn new() -> Self {
        Self {
            eight: Plan::new(constants8()),
            sixteen: Plan::new(constants16()),
        }
    }
}
