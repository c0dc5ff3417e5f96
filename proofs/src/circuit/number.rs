//! A number in a circuit: a linear combination of variables, with its value where there is one.

use bellman::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use ff::PrimeField;

/// Marks a variable that the witness brings: labels, siblings, position bits, data.
pub(crate) const WITNESS: &str = "witness";
/// Marks a variable that the constraints determine from the witness.
pub(crate) const DERIVED: &str = "derived";

/// A linear combination in which no variable occurs twice.
#[derive(Clone)]
pub(crate) struct Number<F> {
    /// What it evaluates to, when proving.
    pub(crate) value: Option<F>,
    terms: Vec<(Variable, F)>,
}

impl<F: PrimeField> Number<F> {
    /// Zero.
    pub(crate) fn zero() -> Self {
        Self {
            value: Some(F::ZERO),
            terms: Vec::new(),
        }
    }

    /// A fixed number.
    pub(crate) fn constant<CS: ConstraintSystem<F>>(value: F) -> Self {
        Self {
            value: Some(value),
            terms: vec![(CS::one(), value)],
        }
    }

    /// One variable.
    pub(crate) fn variable(variable: Variable, value: Option<F>) -> Self {
        Self {
            value,
            terms: vec![(variable, F::ONE)],
        }
    }

    /// The sum of `factor * number` over the list; a variable that occurs in several is one term.
    pub(crate) fn sum<'a>(parts: impl IntoIterator<Item = (F, &'a Self)>) -> Self
    where
        F: 'a,
    {
        let mut value = Some(F::ZERO);
        let mut terms = Vec::new();
        for (factor, part) in parts {
            value = value
                .zip(part.value)
                .map(|(total, value)| total + value * factor);
            terms.extend(
                part.terms
                    .iter()
                    .map(|(variable, coefficient)| (*variable, *coefficient * factor)),
            );
        }
        Self {
            value,
            terms: merge(terms),
        }
    }

    /// The difference of two numbers.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        Self::sum([(F::ONE, self), (-F::ONE, other)])
    }

    /// A combination of variables that are all different, with its value computed elsewhere.
    pub(crate) fn distinct(value: Option<F>, terms: Vec<(Variable, F)>) -> Self {
        Self { value, terms }
    }

    /// Adds the terms to a linear combination of `bellman`.
    pub(crate) fn add_to(&self, combination: LinearCombination<F>) -> LinearCombination<F> {
        self.terms
            .iter()
            .fold(combination, |sum, (variable, coefficient)| {
                sum + (*coefficient, *variable)
            })
    }

    /// A new variable with the mark `WITNESS` or `DERIVED`.
    pub(crate) fn allocate<CS: ConstraintSystem<F>>(
        cs: &mut CS,
        mark: &'static str,
        value: Option<F>,
    ) -> Result<Self, SynthesisError> {
        let variable = cs.alloc(|| mark, || value.ok_or(SynthesisError::AssignmentMissing))?;
        Ok(Self::variable(variable, value))
    }

    /// A new public input.
    pub(crate) fn public<CS: ConstraintSystem<F>>(
        cs: &mut CS,
        value: Option<F>,
    ) -> Result<Self, SynthesisError> {
        let variable = cs.alloc_input(
            || "public",
            || value.ok_or(SynthesisError::AssignmentMissing),
        )?;
        Ok(Self::variable(variable, value))
    }

    /// The only variable of a number that is one.
    pub(crate) fn as_variable(&self) -> Option<Variable> {
        match self.terms.as_slice() {
            [(variable, coefficient)] if *coefficient == F::ONE => Some(*variable),
            _ => None,
        }
    }
}

/// `a * b = c`.
pub(crate) fn enforce<F: PrimeField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    name: &'static str,
    a: &Number<F>,
    b: &Number<F>,
    c: &Number<F>,
) {
    cs.enforce(
        || name,
        |zero| a.add_to(zero),
        |zero| b.add_to(zero),
        |zero| c.add_to(zero),
    );
}

/// `a = b`, as `(a - b) * 1 = 0`.
pub(crate) fn enforce_equal<F: PrimeField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    name: &'static str,
    a: &Number<F>,
    b: &Number<F>,
) {
    cs.enforce(
        || name,
        |zero| a.minus(b).add_to(zero),
        |zero| zero + CS::one(),
        |zero| zero,
    );
}

/// Orders variables: public ones first.
pub(crate) fn order(variable: Variable) -> (bool, usize) {
    match variable.get_unchecked() {
        Index::Input(index) => (false, index),
        Index::Aux(index) => (true, index),
    }
}

/// One term for each variable, in order, none of them zero.
pub(crate) fn merge<F: PrimeField>(mut terms: Vec<(Variable, F)>) -> Vec<(Variable, F)> {
    terms.sort_by_key(|(variable, _)| order(*variable));
    let mut merged: Vec<(Variable, F)> = Vec::with_capacity(terms.len());
    for (variable, coefficient) in terms {
        match merged.last_mut() {
            Some((last, total)) if order(*last) == order(variable) => *total += coefficient,
            _ => merged.push((variable, coefficient)),
        }
    }
    merged.retain(|(_, coefficient)| !coefficient.is_zero_vartime());
    merged
}
