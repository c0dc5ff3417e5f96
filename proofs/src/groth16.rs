//! The Groth16 equation over either pairing library: reading keys and proofs strictly, one proof,
//! and many proofs under many keys at once.

use crate::node::Node;
use crate::proof::ProofBytes;
use bellman::groth16::{PreparedVerifyingKey, Proof, VerifyingKey};
use ff::PrimeField;
use group::{Curve, Group, GroupEncoding, prime::PrimeCurveAffine};
use pairing::{MillerLoopResult, MultiMillerLoop};

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
pub(crate) struct Key<E: MultiMillerLoop> {
    key: VerifyingKey<E>,
    prepared: PreparedVerifyingKey<E>,
    gamma: E::G2Prepared,
    delta: E::G2Prepared,
    beta: E::G2Prepared,
}

impl<E: MultiMillerLoop> Key<E> {
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
        Ok(Self {
            prepared: bellman::groth16::prepare_verifying_key(&key),
            gamma: key.gamma_g2.into(),
            delta: key.delta_g2.into(),
            beta: key.beta_g2.into(),
            key,
        })
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
pub(crate) fn read_proof<E: MultiMillerLoop>(
    bytes: &ProofBytes,
) -> Result<Proof<E>, (char, PointError)> {
    let (a, rest) = bytes.0.split_at(48);
    let (b, c) = rest.split_at(96);
    Ok(Proof {
        a: point(a).map_err(|error| ('A', error))?,
        b: point(b).map_err(|error| ('B', error))?,
        c: point(c).map_err(|error| ('C', error))?,
    })
}

/// A proof with everything that its equation needs.
pub(crate) struct Item<'k, E: MultiMillerLoop> {
    pub(crate) key: &'k Key<E>,
    /// A number for the key: items of the same key have the same.
    pub(crate) key_number: usize,
    pub(crate) proof: Proof<E>,
    pub(crate) inputs: Vec<E::Fr>,
    /// Its coefficient in a batch, never zero.
    pub(crate) coefficient: u128,
}

impl<E: MultiMillerLoop> Item<'_, E> {
    /// The equation of this proof alone.
    pub(crate) fn holds(&self) -> bool {
        bellman::groth16::verify_proof(&self.key.prepared, &self.proof, &self.inputs).is_ok()
    }
}

/// The public inputs as the library's scalars.
pub(crate) fn scalars<F: PrimeField<Repr = [u8; 32]>>(inputs: &[Node]) -> Vec<F> {
    inputs.iter().map(|input| input.to_scalar()).collect()
}

/// Whether all equations hold, by one random combination with the items' coefficients:
/// the product over items of e(r A, B), and for each key of e(-sum r IC(x), gamma),
/// e(-sum r C, delta) and e(-sum r alpha, beta), is one.
pub(crate) fn all_hold<E: MultiMillerLoop>(items: &[Item<'_, E>]) -> bool {
    struct Sums<'k, E: MultiMillerLoop> {
        key: &'k Key<E>,
        inputs: Vec<E::Fr>,
        c: E::G1,
    }
    let mut sums: std::collections::BTreeMap<usize, Sums<'_, E>> = Default::default();
    let mut left: Vec<E::G1Affine> = Vec::with_capacity(items.len());
    let mut right: Vec<E::G2Prepared> = Vec::with_capacity(items.len());
    for item in items {
        let coefficient = E::Fr::from_u128(item.coefficient);
        left.push((item.proof.a * coefficient).to_affine());
        right.push(item.proof.b.into());
        let sum = sums.entry(item.key_number).or_insert_with(|| Sums {
            key: item.key,
            inputs: vec![<E::Fr as ff::Field>::ZERO; item.key.key.ic.len()],
            c: E::G1::identity(),
        });
        if item.inputs.len() != item.key.input_count() {
            return false;
        }
        sum.c += item.proof.c * coefficient;
        let one = <E::Fr as ff::Field>::ONE;
        for (total, input) in sum
            .inputs
            .iter_mut()
            .zip(std::iter::once(&one).chain(&item.inputs))
        {
            *total += *input * coefficient;
        }
    }
    let mut shared: Vec<(E::G1Affine, &E::G2Prepared)> = Vec::with_capacity(3 * sums.len());
    for sum in sums.values() {
        let mut inputs = E::G1::identity();
        for (base, scalar) in sum.key.key.ic.iter().zip(&sum.inputs) {
            inputs += *base * *scalar;
        }
        // The first scalar belongs to the constant one: it is the sum of the coefficients.
        let Some(total) = sum.inputs.first() else {
            return false;
        };
        shared.push(((-inputs).to_affine(), &sum.key.gamma));
        shared.push(((-sum.c).to_affine(), &sum.key.delta));
        shared.push(((sum.key.key.alpha_g1 * -*total).to_affine(), &sum.key.beta));
    }
    let terms: Vec<(&E::G1Affine, &E::G2Prepared)> = left
        .iter()
        .zip(&right)
        .chain(shared.iter().map(|(point, prepared)| (point, *prepared)))
        .collect();
    E::multi_miller_loop(&terms)
        .final_exponentiation()
        .is_identity()
        .into()
}
