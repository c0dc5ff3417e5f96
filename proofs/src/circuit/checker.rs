//! A constraint system that keeps everything, for tests: evaluates constraints, searches for
//! variables that nothing holds, and computes the rank of the Jacobian.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::number::{DERIVED, order};
use bellman::{Circuit, ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use ff::Field;
use std::collections::BTreeMap;

type Scalar = blstrs::Scalar;
type Row = Vec<((bool, usize), Scalar)>;

/// A synthesized circuit with its assignment.
pub(super) struct System {
    pub(super) inputs: Vec<Scalar>,
    pub(super) variables: Vec<Scalar>,
    /// Whether the constraints determine the variable from the witness.
    pub(super) derived: Vec<bool>,
    pub(super) constraints: Vec<(String, [Row; 3])>,
}

impl System {
    /// Synthesizes a circuit with public inputs and a witness.
    pub(super) fn of(circuit: impl Circuit<Scalar>) -> Self {
        let mut system = System {
            inputs: vec![Scalar::ONE],
            variables: Vec::new(),
            derived: Vec::new(),
            constraints: Vec::new(),
        };
        circuit.synthesize(&mut system).unwrap();
        system
    }

    fn value(&self, (auxiliary, index): (bool, usize)) -> Scalar {
        if auxiliary {
            self.variables[index]
        } else {
            self.inputs[index]
        }
    }

    fn sum(&self, row: &Row) -> Scalar {
        row.iter()
            .fold(Scalar::ZERO, |sum, (variable, coefficient)| {
                sum + self.value(*variable) * coefficient
            })
    }

    fn holds(&self, constraint: usize) -> bool {
        let [a, b, c] = &self.constraints[constraint].1;
        self.sum(a) * self.sum(b) == self.sum(c)
    }

    /// The first constraint that does not hold.
    pub(super) fn broken(&self) -> Option<&str> {
        (0..self.constraints.len())
            .find(|constraint| !self.holds(*constraint))
            .map(|constraint| self.constraints[constraint].0.as_str())
    }

    /// The variables that may be changed to another value without breaking any constraint. Each is
    /// tried alone, with several values.
    pub(super) fn loose(&mut self) -> Vec<usize> {
        assert_eq!(self.broken(), None, "the assignment must hold first");
        let mut touching = vec![Vec::new(); self.variables.len()];
        for (number, (_, rows)) in self.constraints.iter().enumerate() {
            for ((auxiliary, index), _) in rows.iter().flatten() {
                if *auxiliary && touching[*index].last() != Some(&number) {
                    touching[*index].push(number);
                }
            }
        }
        let mut loose = Vec::new();
        for (variable, constraints) in touching.iter().enumerate() {
            let honest = self.variables[variable];
            let others = [
                honest + Scalar::ONE,
                honest - Scalar::ONE,
                honest.double(),
                -honest,
                Scalar::ZERO,
                Scalar::ONE,
                Scalar::from(0x1234_5678_9abc_def1),
            ];
            for other in others {
                if other == honest {
                    continue;
                }
                self.variables[variable] = other;
                if constraints.iter().all(|constraint| self.holds(*constraint)) {
                    loose.push(variable);
                    break;
                }
            }
            self.variables[variable] = honest;
        }
        loose
    }

    /// The number of derived variables, and the rank of the constraints' Jacobian restricted to
    /// them, at this assignment.
    pub(super) fn derived_rank(&self) -> (usize, usize) {
        // The derivative of a * b - c is a' * b + a * b' - c'.
        let mut pivots: BTreeMap<usize, BTreeMap<usize, Scalar>> = BTreeMap::new();
        for (_, [a, b, c]) in &self.constraints {
            let mut row: BTreeMap<usize, Scalar> = BTreeMap::new();
            let factors = [self.sum(b), self.sum(a), -Scalar::ONE];
            for (terms, factor) in [a, b, c].into_iter().zip(factors) {
                for ((auxiliary, index), coefficient) in terms {
                    if *auxiliary && self.derived[*index] {
                        *row.entry(*index).or_insert(Scalar::ZERO) += *coefficient * factor;
                    }
                }
            }
            row.retain(|_, value| !bool::from(value.is_zero()));
            // The pivot of a row is its latest variable: a gate's own output, so little fills in.
            while let Some((column, value)) = row.last_key_value().map(|(c, v)| (*c, *v)) {
                let Some(pivot) = pivots.get(&column) else {
                    let inverse = value.invert().unwrap();
                    for entry in row.values_mut() {
                        *entry *= inverse;
                    }
                    pivots.insert(column, row);
                    break;
                };
                for (column, entry) in pivot {
                    let total = row.entry(*column).or_insert(Scalar::ZERO);
                    *total -= value * entry;
                    if bool::from(total.is_zero()) {
                        row.remove(column);
                    }
                }
            }
        }
        let derived = self.derived.iter().filter(|derived| **derived).count();
        (derived, pivots.len())
    }
}

fn row(combination: LinearCombination<Scalar>) -> Row {
    combination
        .as_ref()
        .iter()
        .map(|(variable, coefficient)| (order(*variable), *coefficient))
        .collect()
}

impl ConstraintSystem<Scalar> for System {
    type Root = Self;

    fn alloc<V, A, AR>(&mut self, mark: A, value: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.derived.push(mark().into() == DERIVED);
        self.variables.push(value()?);
        Ok(Variable::new_unchecked(Index::Aux(
            self.variables.len() - 1,
        )))
    }

    fn alloc_input<V, A, AR>(&mut self, _: A, value: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.inputs.push(value()?);
        Ok(Variable::new_unchecked(Index::Input(self.inputs.len() - 1)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, name: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        let rows = [
            row(a(LinearCombination::zero())),
            row(b(LinearCombination::zero())),
            row(c(LinearCombination::zero())),
        ];
        self.constraints.push((name().into(), rows));
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
