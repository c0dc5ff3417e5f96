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
        };
        circuit.synthesize(&mut assignment)?;
        assignment.a.extend_from_slice(&assignment.inputs);
        let constraints = assignment.a.len();
        assignment.b.resize(constraints, Scalar::ZERO);
        assignment.c.resize(constraints, Scalar::ZERO);
        Ok(assignment)
    }

    /// The value of a combination; `seen` is told each input (false) and variable (true) in it. A
    /// variable that this system did not give out counts as zero.
    fn value(
        &self,
        combination: &LinearCombination<Scalar>,
        mut seen: impl FnMut(bool, usize),
    ) -> Scalar {
        let mut sum = Scalar::ZERO;
        for (variable, coefficient) in combination.as_ref() {
            if coefficient.is_zero_vartime() {
                continue;
            }
            let value = match variable.get_unchecked() {
                Index::Input(index) => {
                    seen(false, index);
                    self.inputs.get(index)
                }
                Index::Aux(index) => {
                    seen(true, index);
                    self.variables.get(index)
                }
            };
            match value {
                Some(value) if *coefficient == Scalar::ONE => sum += value,
                Some(value) => sum += *value * coefficient,
                None => {}
            }
        }
        sum
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
        let mut in_a = std::mem::take(&mut self.variables_in_a);
        let value = self.value(&a(LinearCombination::zero()), |variable, index| {
            if variable {
                mark(&mut in_a, index);
            }
        });
        self.variables_in_a = in_a;
        self.a.push(value);

        let mut inputs = std::mem::take(&mut self.inputs_in_b);
        let mut variables = std::mem::take(&mut self.variables_in_b);
        let value = self.value(&b(LinearCombination::zero()), |variable, index| {
            mark(
                if variable {
                    &mut variables
                } else {
                    &mut inputs
                },
                index,
            );
        });
        self.inputs_in_b = inputs;
        self.variables_in_b = variables;
        self.b.push(value);

        let value = self.value(&c(LinearCombination::zero()), |_, _| {});
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
