//! Real sectors of 8 MiB, and other proofs of what one proof shows.

use crate::Measured;
use crate::network::CLASS;
use bls12_381::{G1Affine, G2Affine, Scalar};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::seal::{SealCommitment, seal};
use holdfast_proofs::sealed::Sealed;
use std::num::NonZeroUsize;
use std::path::Path;

/// Seals a sector in a folder of its own.
pub fn sealed(folder: &Path, replica: ReplicaId) -> Measured<(Sealed, SealCommitment)> {
    let commitment = seal(folder, CLASS, replica, NonZeroUsize::MIN, &mut |_| {})?;
    Ok((Sealed::open(folder, CLASS, replica)?, commitment))
}

/// Another proof of the same: whoever has a Groth16 proof can make it, without its secrets
/// (A by a scalar, B by its inverse).
pub fn disguised(proof: &ProofBytes, scalar: u64) -> Measured<ProofBytes> {
    let scalar = Scalar::from(scalar);
    let inverse = Option::from(scalar.invert()).ok_or("no proof is made of nothing")?;
    let inverse: Scalar = inverse;
    let (a, rest) = proof.0.split_at(48);
    let (b, c) = rest.split_at(96);
    let no_point = || "a point of the proof cannot be read";
    let a: Option<G1Affine> = G1Affine::from_compressed(a.try_into()?).into();
    let b: Option<G2Affine> = G2Affine::from_compressed(b.try_into()?).into();
    let a = G1Affine::from(a.ok_or_else(no_point)? * scalar).to_compressed();
    let b = G2Affine::from(b.ok_or_else(no_point)? * inverse).to_compressed();
    let bytes = [a.as_slice(), b.as_slice(), c].concat();
    Ok(ProofBytes(
        bytes.try_into().map_err(|_| "a proof has another length")?,
    ))
}
