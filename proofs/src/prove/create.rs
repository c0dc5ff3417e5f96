//! Making a Groth16 proof, on the thread that calls. For the same `r` and `s` it is the proof that
//! `bellman` makes, byte by byte (tested), in a fraction of the time.

use super::assignment::Assignment;
use super::multiples::{Bytes, sum1, sum2};
use super::quotient::quotient;
use bellman::SynthesisError;
use bellman::groth16::{Parameters, Proof};
use blstrs::{Bls12, Scalar};
use ff::PrimeField;
use group::Curve;
use group::prime::PrimeCurveAffine;

/// Makes the proof of a circuit. As with `bellman` an assignment that does not satisfy the circuit
/// gives a proof, which does not hold.
pub(crate) fn create_proof<C: bellman::Circuit<Scalar>>(
    circuit: C,
    parameters: &Parameters<Bls12>,
    r: Scalar,
    s: Scalar,
) -> Result<Proof<Bls12>, SynthesisError> {
    let key = &parameters.vk;
    if bool::from(key.delta_g1.is_identity() | key.delta_g2.is_identity()) {
        return Err(SynthesisError::UnexpectedIdentity);
    }
    let Assignment {
        inputs,
        variables,
        a,
        b,
        c,
        variables_in_a,
        inputs_in_b,
        variables_in_b,
        ..
    } = Assignment::of(circuit)?;

    let quotient = quotient(a, b, c)?;
    let in_a = inputs.iter().chain(held(&variables, &variables_in_a));
    let a = sum1(fit(&parameters.a, bytes(in_a))?)?;
    let in_b: Vec<&Scalar> = held(&inputs, &inputs_in_b)
        .chain(held(&variables, &variables_in_b))
        .collect();
    let in_b_times_r = in_b.iter().map(|value| (r * *value).to_repr()).collect();
    let b = sum2(fit(&parameters.b_g2, bytes(in_b.into_iter()))?)?;
    // B in G1 stands only in the third point, times r: one sum with the quotient and the variables.
    let outside = fit(&parameters.h, quotient)?
        .chain(fit(&parameters.l, bytes(variables.iter()))?)
        .chain(fit(&parameters.b_g1, in_b_times_r)?);
    let outside = sum1(outside)?;

    let a = a + key.delta_g1 * r + key.alpha_g1;
    let b = b + key.delta_g2 * s + key.beta_g2;
    // A carries its mask: times s it gives the rest of what masks the third point.
    let c = outside + a * s + key.beta_g1 * r;
    Ok(Proof {
        a: a.to_affine(),
        b: b.to_affine(),
        c: c.to_affine(),
    })
}

/// The values that are flagged.
fn held<'a>(values: &'a [Scalar], flags: &'a [bool]) -> impl Iterator<Item = &'a Scalar> {
    values
        .iter()
        .zip(flags)
        .filter_map(|(value, flag)| flag.then_some(value))
}

fn bytes<'a>(scalars: impl Iterator<Item = &'a Scalar>) -> Vec<Bytes> {
    scalars.map(Scalar::to_repr).collect()
}

/// Bases with their scalars; parameters of another circuit have another number of bases.
fn fit<G>(
    bases: &[G],
    scalars: Vec<Bytes>,
) -> Result<impl Iterator<Item = (&G, Bytes)>, SynthesisError> {
    if bases.len() != scalars.len() {
        let text = format!(
            "the parameters have {} points where the circuit needs {}",
            bases.len(),
            scalars.len()
        );
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text).into());
    }
    Ok(bases.iter().zip(scalars))
}
