//! The Groth16 equation over either pairing library: reading keys and proofs strictly, one proof,
//! and many proofs under many keys at once.

mod combine;
mod library;

pub(crate) use library::Library;

use crate::node::Node;
use crate::proof::ProofBytes;
use bellman::groth16::{Proof, VerifyingKey};
use combine::{combination, multiple};
use ff::{Field, PrimeField};
use group::prime::PrimeCurveAffine;
use group::{Curve, Group, GroupEncoding};
use pairing::MillerLoopResult;
use std::collections::BTreeMap;

/// Why bytes are no point of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// Not on the curve, not in the subgroup, or not an encoding at all.
    #[error("it is no point of the group")]
    Malformed,
    /// The point encodes to other bytes than these.
    #[error("it is not written in its canonical form")]
    NonCanonical,
    /// The identity, which no honest proof or key contains.
    #[error("it is the identity")]
    Identity,
}

/// A verifying key ready for use.
pub(crate) struct Key<E: Library> {
    key: VerifyingKey<E>,
    /// e(alpha, beta).
    product: E::Gt,
    minus_gamma: E::G2Prepared,
    minus_delta: E::G2Prepared,
    /// For each public input, the constant one first: its point times 1 to 15.
    multiples: Vec<[E::G1Affine; 15]>,
}

impl<E: Library> Key<E> {
    /// Reads a key: every point in its group, none the identity, and the bytes exactly those that
    /// the key is written as.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, PointError> {
        let key = VerifyingKey::<E>::read(bytes).map_err(|_| PointError::Malformed)?;
        let mut written = Vec::with_capacity(bytes.len());
        key.write(&mut written)
            .map_err(|_| PointError::NonCanonical)?;
        if written != bytes {
            return Err(PointError::NonCanonical);
        }
        let identity = [key.alpha_g1, key.beta_g1, key.delta_g1]
            .iter()
            .chain(&key.ic)
            .any(|point| point.is_identity().into())
            || [key.beta_g2, key.gamma_g2, key.delta_g2]
                .iter()
                .any(|point| point.is_identity().into());
        if identity {
            return Err(PointError::Identity);
        }
        let multiples = key.ic.iter().map(|point| {
            let mut multiple = E::G1::identity();
            std::array::from_fn(|_| {
                multiple += *point;
                multiple.to_affine()
            })
        });
        Ok(Self {
            product: E::pairing(&key.alpha_g1, &key.beta_g2),
            minus_gamma: (-key.gamma_g2).into(),
            minus_delta: (-key.delta_g2).into(),
            multiples: multiples.collect(),
            key,
        })
    }

    /// The combination of the inputs' points, that of the constant one with `constant`. All points
    /// share their doublings: four bits of every scalar at a time, highest first.
    fn inputs(&self, inputs: &[E::Fr], constant: E::Fr) -> E::G1 {
        let scalars: Vec<[u8; 32]> = std::iter::once(&constant)
            .chain(inputs)
            .map(|scalar| scalar.to_repr())
            .collect();
        let mut sum = E::G1::identity();
        for byte in (0..32).rev() {
            for shift in [4, 0] {
                for _ in 0..4 {
                    sum = sum.double();
                }
                for (scalar, multiples) in scalars.iter().zip(&self.multiples) {
                    let digit = scalar.get(byte).map_or(0, |byte| byte >> shift & 15);
                    if let Some(multiple) = usize::from(digit)
                        .checked_sub(1)
                        .and_then(|index| multiples.get(index))
                    {
                        sum += *multiple;
                    }
                }
            }
        }
        sum
    }

    /// Public inputs that the key takes, the constant one not counted.
    pub(crate) fn input_count(&self) -> usize {
        self.key.ic.len().saturating_sub(1)
    }
}

fn point<G>(bytes: &[u8]) -> Result<G, PointError>
where
    G: PrimeCurveAffine + GroupEncoding,
{
    let mut encoding = G::Repr::default();
    if encoding.as_ref().len() != bytes.len() {
        return Err(PointError::Malformed);
    }
    encoding.as_mut().copy_from_slice(bytes);
    let point: G = Option::from(G::from_bytes(&encoding)).ok_or(PointError::Malformed)?;
    if point.is_identity().into() {
        return Err(PointError::Identity);
    }
    if point.to_bytes().as_ref() != bytes {
        return Err(PointError::NonCanonical);
    }
    Ok(point)
}

/// Reads a proof; on failure says which of its points A, B, C it is.
pub(crate) fn read_proof<E: Library>(bytes: &ProofBytes) -> Result<Proof<E>, (char, PointError)> {
    let (a, rest) = bytes.0.split_at(48);
    let (b, c) = rest.split_at(96);
    Ok(Proof {
        a: point(a).map_err(|error| ('A', error))?,
        b: point(b).map_err(|error| ('B', error))?,
        c: point(c).map_err(|error| ('C', error))?,
    })
}

/// A proof with everything that its equation needs.
pub(crate) struct Item<'k, E: Library> {
    pub(crate) key: &'k Key<E>,
    /// A number for the key: items of the same key have the same.
    pub(crate) key_number: usize,
    pub(crate) proof: Proof<E>,
    pub(crate) inputs: Vec<E::Fr>,
    /// Its coefficient in a batch, never zero.
    pub(crate) coefficient: u128,
}

impl<E: Library> Item<'_, E> {
    /// The equation of this proof alone: e(A, B) - e(IC(x), gamma) - e(C, delta) = e(alpha, beta).
    pub(crate) fn holds(&self) -> bool {
        if self.inputs.len() != self.key.input_count() {
            return false;
        }
        let inputs = self.key.inputs(&self.inputs, E::Fr::ONE).to_affine();
        let terms = [
            (&self.proof.a, &self.proof.b.into()),
            (&inputs, &self.key.minus_gamma),
            (&self.proof.c, &self.key.minus_delta),
        ];
        E::multi_miller_loop(&terms).final_exponentiation() == self.key.product
    }
}

/// The public inputs as the library's scalars.
pub(crate) fn scalars<F: PrimeField<Repr = [u8; 32]>>(inputs: &[Node]) -> Vec<F> {
    inputs.iter().map(|input| input.to_scalar()).collect()
}

/// Whether all equations hold, by one random combination with the items' coefficients: the product
/// over items of e(r A, B), and for each key of e(sum r IC(x), -gamma), e(sum r C, -delta) and
/// e(-sum r alpha, beta), is one.
pub(crate) fn all_hold<E: Library>(items: &[Item<'_, E>]) -> bool {
    struct Sums<'k, E: Library> {
        key: &'k Key<E>,
        inputs: Vec<E::Fr>,
        coefficients: E::Fr,
        c: Vec<(E::G1Affine, u128)>,
    }
    let mut sums: BTreeMap<usize, Sums<'_, E>> = BTreeMap::new();
    let mut left: Vec<E::G1> = Vec::with_capacity(items.len());
    for item in items {
        if item.inputs.len() != item.key.input_count() {
            return false;
        }
        let coefficient = E::Fr::from_u128(item.coefficient);
        left.push(multiple(&item.proof.a, item.coefficient));
        let sum = sums.entry(item.key_number).or_insert_with(|| Sums {
            key: item.key,
            inputs: vec![E::Fr::ZERO; item.inputs.len()],
            coefficients: E::Fr::ZERO,
            c: Vec::new(),
        });
        sum.c.push((item.proof.c, item.coefficient));
        sum.coefficients += coefficient;
        for (total, input) in sum.inputs.iter_mut().zip(&item.inputs) {
            *total += *input * coefficient;
        }
    }
    let mut left_affine = vec![E::G1Affine::identity(); left.len()];
    E::G1::batch_normalize(&left, &mut left_affine);
    let right = items.iter().map(|item| item.proof.b);
    let mut pairs: Vec<(E::G1Affine, E::G2Affine)> = left_affine.into_iter().zip(right).collect();
    for sum in sums.values() {
        let key = sum.key;
        let inputs = key.inputs(&sum.inputs, sum.coefficients);
        let alpha = key.key.alpha_g1 * -sum.coefficients;
        pairs.push((inputs.to_affine(), -key.key.gamma_g2));
        pairs.push((combination::<E::G1>(&sum.c).to_affine(), -key.key.delta_g2));
        pairs.push((alpha.to_affine(), key.key.beta_g2));
    }
    E::product_is_one(&pairs)
}
