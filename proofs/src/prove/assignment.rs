//! The constraint system of the prover: a circuit's variables, and its constraints evaluated as
//! they are stated.

use bellman::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use blstrs::Scalar;
use ff::Field;

/// What a synthesized circuit leaves to be proven.
pub(super) struct Assignment {
    /// The public inputs, the constant one first.
    pub(super) inputs: Vec<Scalar>,
    /// The other variables.
    pub(super) variables: Vec<Scalar>,
    /// For each constraint `a * b = c` the three sides.
    pub(super) a: Vec<Scalar>,
    pub(super) b: Vec<Scalar>,
    pub(super) c: Vec<Scalar>,
    /// Which variables stand in some `a`; inputs do in any case.
    pub(super) variables_in_a: Vec<bool>,
    /// Which inputs and variables stand in some `b`.
    pub(super) inputs_in_b: Vec<bool>,
    pub(super) variables_in_b: Vec<bool>,
    /// The last combination of several terms, and its value: an S-box states its input thrice.
    last: (LinearCombination<Scalar>, Scalar),
}

impl Assignment {
    /// Synthesizes a circuit, with one more constraint for each input: x * 0 = 0.
    pub(super) fn of<C: bellman::Circuit<Scalar>>(circuit: C) -> Result<Self, SynthesisError> {
        let mut assignment = Self {
            inputs: vec![Scalar::ONE],
            variables: Vec::new(),
            a: Vec::new(),
            b: Vec::new(),
            c: Vec::new(),
            variables_in_a: Vec::new(),
            inputs_in_b: vec![false],
            variables_in_b: Vec::new(),
            last: (LinearCombination::zero(), Scalar::ZERO),
        };
        circuit.synthesize(&mut assignment)?;
        assignment.a.extend_from_slice(&assignment.inputs);
        let constraints = assignment.a.len();
        assignment.b.resize(constraints, Scalar::ZERO);
        assignment.c.resize(constraints, Scalar::ZERO);
        Ok(assignment)
    }

    /// The value of a combination. A variable that this system did not give out counts as zero.
    fn value(&mut self, combination: LinearCombination<Scalar>) -> Scalar {
        if same(&combination, &self.last.0) {
            return self.last.1;
        }
        let mut sum = Scalar::ZERO;
        let mut known = true;
        for (variable, coefficient) in combination.as_ref() {
            let value = match variable.get_unchecked() {
                Index::Input(index) => self.inputs.get(index),
                Index::Aux(index) => self.variables.get(index),
            };
            match value {
                Some(value) if *coefficient == Scalar::ONE => sum += value,
                Some(value) => sum += *value * coefficient,
                None => known = false,
            }
        }
        // What is not known yet may be later.
        if known && combination.as_ref().len() > 1 {
            self.last = (combination, sum);
        }
        sum
    }
}

fn same(left: &LinearCombination<Scalar>, right: &LinearCombination<Scalar>) -> bool {
    let (left, right) = (left.as_ref(), right.as_ref());
    left.len() == right.len()
        && left.iter().zip(right).all(|(left, right)| {
            left.0.get_unchecked() == right.0.get_unchecked() && left.1 == right.1
        })
}

/// Marks the inputs and variables that stand in a combination with a coefficient that is not zero.
fn mark_held(
    combination: &LinearCombination<Scalar>,
    mut inputs: Option<&mut [bool]>,
    variables: &mut [bool],
) {
    for (variable, coefficient) in combination.as_ref() {
        if coefficient.is_zero_vartime() {
            continue;
        }
        match (variable.get_unchecked(), &mut inputs) {
            (Index::Input(index), Some(inputs)) => mark(inputs, index),
            (Index::Input(_), None) => {}
            (Index::Aux(index), _) => mark(variables, index),
        }
    }
}

fn mark(flags: &mut [bool], index: usize) {
    if let Some(flag) = flags.get_mut(index) {
        *flag = true;
    }
}

impl ConstraintSystem<Scalar> for Assignment {
    type Root = Self;

    fn alloc<V, A, AR>(&mut self, _: A, value: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let variable = Variable::new_unchecked(Index::Aux(self.variables.len()));
        self.variables.push(value()?);
        self.variables_in_a.push(false);
        self.variables_in_b.push(false);
        Ok(variable)
    }

    fn alloc_input<V, A, AR>(&mut self, _: A, value: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let variable = Variable::new_unchecked(Index::Input(self.inputs.len()));
        self.inputs.push(value()?);
        self.inputs_in_b.push(false);
        Ok(variable)
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        let a = a(LinearCombination::zero());
        mark_held(&a, None, &mut self.variables_in_a);
        let value = self.value(a);
        self.a.push(value);

        let b = b(LinearCombination::zero());
        mark_held(&b, Some(&mut self.inputs_in_b), &mut self.variables_in_b);
        let value = self.value(b);
        self.b.push(value);

        let value = self.value(c(LinearCombination::zero()));
        self.c.push(value);
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
