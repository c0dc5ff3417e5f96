//! Making Groth16 parameters, six times faster than `bellman`'s generator and equal to it element
//! by element (tested): every element is a multiple of one of two bases, so tables of those bases
//! spare all doublings, and the circuit is evaluated at tau as it is synthesized, without keeping
//! its terms.

use bellman::groth16::{Parameters, VerifyingKey};
use bellman::{Circuit, ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use blstrs::{Bls12, G1Projective, G2Projective, Scalar};
use ff::{BatchInverter, Field, PrimeField};
use group::prime::PrimeCurve;
use group::{Curve, Group};
use rand_core::RngCore;
use rayon::prelude::*;
use std::sync::Arc;

/// What nobody may know once the parameters are made.
pub(crate) struct Trapdoor {
    pub(crate) g1: G1Projective,
    pub(crate) g2: G2Projective,
    pub(crate) alpha: Scalar,
    pub(crate) beta: Scalar,
    pub(crate) gamma: Scalar,
    pub(crate) delta: Scalar,
    pub(crate) tau: Scalar,
}

impl Trapdoor {
    pub(crate) fn random<R: RngCore>(rng: &mut R) -> Self {
        Self {
            g1: G1Projective::random(&mut *rng),
            g2: G2Projective::random(&mut *rng),
            alpha: Scalar::random(&mut *rng),
            beta: Scalar::random(&mut *rng),
            gamma: Scalar::random(&mut *rng),
            delta: Scalar::random(&mut *rng),
            tau: Scalar::random(&mut *rng),
        }
    }
}

/// Makes the parameters of a circuit, which is synthesized twice: once to count its constraints.
pub(crate) fn generate<C: Circuit<Scalar>>(
    circuit: impl Fn() -> C,
    trapdoor: &Trapdoor,
) -> Result<Parameters<Bls12>, SynthesisError> {
    let mut counted = Evaluation::new(Vec::new());
    circuit().synthesize(&mut counted)?;
    // One more constraint for each input, as `bellman` has them: x * 0 = 0.
    let constraints = counted.constraints + counted.inputs.len();
    let domain = constraints.next_power_of_two();

    let mut evaluated = Evaluation::new(lagrange(domain, constraints, trapdoor.tau)?);
    circuit().synthesize(&mut evaluated)?;
    for input in 0..evaluated.inputs.len() {
        let variable = Variable::new_unchecked(Index::Input(input));
        evaluated.enforce(|| "", |a| a + variable, |b| b, |c| c);
    }

    let inverse = |scalar: Scalar| {
        Option::<Scalar>::from(scalar.invert()).ok_or(SynthesisError::UnexpectedIdentity)
    };
    let (gamma, delta) = (inverse(trapdoor.gamma)?, inverse(trapdoor.delta)?);
    let outside = |polynomials: &[Polynomials], factor: Scalar| -> Vec<Scalar> {
        polynomials
            .iter()
            .map(|p| (p.a * trapdoor.beta + p.b * trapdoor.alpha + p.c) * factor)
            .collect()
    };
    let ic = outside(&evaluated.inputs, gamma);
    let l = outside(&evaluated.variables, delta);
    if l.iter().any(|scalar| scalar.is_zero_vartime()) {
        return Err(SynthesisError::UnconstrainedVariable);
    }
    let all = || evaluated.inputs.iter().chain(&evaluated.variables);
    // Zeros are left out: the prover skips the same variables.
    let held = |scalars: Vec<Scalar>| -> Vec<Scalar> {
        scalars
            .into_iter()
            .filter(|scalar| !scalar.is_zero_vartime())
            .collect()
    };
    let a = held(all().map(|p| p.a).collect());
    let b = held(all().map(|p| p.b).collect());
    let vanishing = trapdoor.tau.pow_vartime([domain as u64]) - Scalar::ONE;
    let h: Vec<Scalar> =
        std::iter::successors(Some(vanishing * delta), |power| Some(*power * trapdoor.tau))
            .take(domain - 1)
            .collect();

    let table1 = Table::new(trapdoor.g1);
    let table2 = Table::new(trapdoor.g2);
    let at1 = |scalar: Scalar| (trapdoor.g1 * scalar).to_affine();
    let at2 = |scalar: Scalar| (trapdoor.g2 * scalar).to_affine();
    Ok(Parameters {
        vk: VerifyingKey {
            alpha_g1: at1(trapdoor.alpha),
            beta_g1: at1(trapdoor.beta),
            beta_g2: at2(trapdoor.beta),
            gamma_g2: at2(trapdoor.gamma),
            delta_g1: at1(trapdoor.delta),
            delta_g2: at2(trapdoor.delta),
            ic: table1.multiples(&ic),
        },
        h: Arc::new(table1.multiples(&h)),
        l: Arc::new(table1.multiples(&l)),
        a: Arc::new(table1.multiples(&a)),
        b_g1: Arc::new(table1.multiples(&b)),
        b_g2: Arc::new(table2.multiples(&b)),
    })
}

/// The first `count` Lagrange polynomials of a domain, at tau: `w^i (tau^m - 1) / (m (tau - w^i))`.
fn lagrange(domain: usize, count: usize, tau: Scalar) -> Result<Vec<Scalar>, SynthesisError> {
    let exponent = domain.trailing_zeros();
    let squarings = Scalar::S
        .checked_sub(exponent)
        .ok_or(SynthesisError::PolynomialDegreeTooLarge)?;
    let root = (0..squarings).fold(Scalar::ROOT_OF_UNITY, |root, _| root.square());
    let powers: Vec<Scalar> = std::iter::successors(Some(Scalar::ONE), |power| Some(*power * root))
        .take(count)
        .collect();
    let mut denominators: Vec<Scalar> = powers.iter().map(|power| tau - power).collect();
    if denominators.iter().any(|d| d.is_zero_vartime()) {
        // Tau is in the domain: one draw in 2^230.
        return Err(SynthesisError::UnexpectedIdentity);
    }
    let mut scratch = vec![Scalar::ZERO; count];
    BatchInverter::invert_with_external_scratch(&mut denominators, &mut scratch);
    let size = Option::<Scalar>::from(Scalar::from(domain as u64).invert())
        .ok_or(SynthesisError::UnexpectedIdentity)?;
    let factor = (tau.pow_vartime([domain as u64]) - Scalar::ONE) * size;
    Ok(powers
        .iter()
        .zip(&denominators)
        .map(|(power, inverse)| *power * inverse * factor)
        .collect())
}

/// A variable's three polynomials at tau.
#[derive(Clone, Copy)]
struct Polynomials {
    a: Scalar,
    b: Scalar,
    c: Scalar,
}

impl Polynomials {
    const ZERO: Self = Self {
        a: Scalar::ZERO,
        b: Scalar::ZERO,
        c: Scalar::ZERO,
    };
}

/// Counts constraints and evaluates them at tau. Without Lagrange polynomials it only counts.
struct Evaluation {
    lagrange: Vec<Scalar>,
    inputs: Vec<Polynomials>,
    variables: Vec<Polynomials>,
    constraints: usize,
}

impl Evaluation {
    fn new(lagrange: Vec<Scalar>) -> Self {
        Self {
            lagrange,
            inputs: vec![Polynomials::ZERO],
            variables: Vec::new(),
            constraints: 0,
        }
    }

    fn add(
        &mut self,
        combination: LinearCombination<Scalar>,
        at: Scalar,
        part: impl Fn(&mut Polynomials) -> &mut Scalar,
    ) {
        for (variable, coefficient) in combination.as_ref() {
            let polynomials = match variable.get_unchecked() {
                Index::Input(index) => self.inputs.get_mut(index),
                Index::Aux(index) => self.variables.get_mut(index),
            };
            if let Some(polynomials) = polynomials {
                *part(polynomials) += at * coefficient;
            }
        }
    }
}

impl ConstraintSystem<Scalar> for Evaluation {
    type Root = Self;

    fn alloc<V, A, AR>(&mut self, _: A, _: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.variables.push(Polynomials::ZERO);
        Ok(Variable::new_unchecked(Index::Aux(
            self.variables.len() - 1,
        )))
    }

    fn alloc_input<V, A, AR>(&mut self, _: A, _: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.inputs.push(Polynomials::ZERO);
        Ok(Variable::new_unchecked(Index::Input(self.inputs.len() - 1)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        if let Some(at) = self.lagrange.get(self.constraints).copied() {
            self.add(a(LinearCombination::zero()), at, |p| &mut p.a);
            self.add(b(LinearCombination::zero()), at, |p| &mut p.b);
            self.add(c(LinearCombination::zero()), at, |p| &mut p.c);
        }
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

/// For each byte of a scalar, the 255 multiples of the base that the byte can name.
struct Table<G: PrimeCurve> {
    bytes: Vec<Vec<G::Affine>>,
}

impl<G> Table<G>
where
    G: PrimeCurve<Scalar = Scalar>,
{
    fn new(base: G) -> Self {
        let mut base = base;
        let bytes = (0..32)
            .map(|_| {
                let multiples: Vec<G> =
                    std::iter::successors(Some(base), |multiple| Some(*multiple + base))
                        .take(256)
                        .collect();
                let mut affine = vec![G::identity().to_affine(); multiples.len()];
                G::batch_normalize(&multiples, &mut affine);
                // The 256th is the base of the next byte.
                base = multiples.last().copied().unwrap_or(base);
                affine
            })
            .collect();
        Self { bytes }
    }

    fn multiple(&self, scalar: &Scalar) -> G {
        let mut sum = G::identity();
        for (byte, multiples) in scalar.to_repr().as_ref().iter().zip(&self.bytes) {
            if let Some(multiple) = (*byte as usize)
                .checked_sub(1)
                .and_then(|index| multiples.get(index))
            {
                sum += multiple;
            }
        }
        sum
    }

    fn multiples(&self, scalars: &[Scalar]) -> Vec<G::Affine> {
        let mut affine = vec![G::identity().to_affine(); scalars.len()];
        affine
            .par_chunks_mut(1024)
            .zip(scalars.par_chunks(1024))
            .for_each(|(affine, scalars)| {
                let multiples: Vec<G> = scalars.iter().map(|s| self.multiple(s)).collect();
                G::batch_normalize(&multiples, affine);
            });
        affine
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::circuit::AnyCircuit;
    use crate::packing::PositionBits;
    use rand::SeedableRng;

    #[test]
    fn the_parameters_are_those_that_bellman_makes_from_the_same_trapdoor() {
        let trapdoor = Trapdoor::random(&mut rand_chacha::ChaCha20Rng::seed_from_u64(1));
        let circuit = || {
            AnyCircuit::<Scalar>::blank_of(
                crate::proof::Circuit::Embed,
                PositionBits::of_levels(3),
                1,
            )
        };
        let ours = generate(circuit, &trapdoor).unwrap();
        let theirs = bellman::groth16::generate_parameters::<Bls12, _>(
            circuit(),
            trapdoor.g1,
            trapdoor.g2,
            trapdoor.alpha,
            trapdoor.beta,
            trapdoor.gamma,
            trapdoor.delta,
            trapdoor.tau,
        )
        .unwrap();
        assert!(ours == theirs);
    }
}
