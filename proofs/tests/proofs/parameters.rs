//! Parameter files that pass every check of a file and make proofs that nobody accepts.

use crate::support::{CLASS, proven};
use bellman::groth16;
use blstrs::{Bls12, G1Affine, G1Projective, Scalar};
use ff::PrimeField;
use group::Group;
use group::prime::PrimeCurveAffine;
use holdfast_proofs::params::Parameters;
use holdfast_proofs::proof::CircuitId;
use holdfast_proofs::prove::{ProveError, Workers, prove_spacetime};
use holdfast_proofs::verify::PointError;
use pairing::Engine;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::fs;
use std::sync::Arc;

/// A point of the curve whose order divides the cofactor: every pairing takes it for the identity.
fn torsion() -> G1Affine {
    let point = (0u8..=255)
        .find_map(|x| {
            let mut bytes = [0; 48];
            (bytes[0], bytes[47]) = (0x80, x);
            let point = Option::<G1Affine>::from(G1Affine::from_compressed_unchecked(&bytes))?;
            (!bool::from(point.is_torsion_free())).then_some(point)
        })
        .unwrap();
    // Times the group's order, by doubling and adding: scalars are numbers below that order.
    let order_minus_one = (-Scalar::from(1)).to_repr();
    let mut sum = G1Projective::identity();
    for bit in (0..256).rev() {
        sum = sum.double();
        if order_minus_one[bit / 8] >> (bit % 8) & 1 == 1 {
            sum += point;
        }
    }
    (sum + point).into()
}

#[test]
fn a_parameter_file_that_makes_refused_proofs_is_found_out_before_anything_is_sent() {
    let proven = proven();
    let id = CircuitId::spacetime(CLASS);
    let torsion = torsion();
    assert!(!bool::from(torsion.is_identity()));
    let two = blstrs::G2Affine::generator();
    assert!(bool::from(Bls12::pairing(&torsion, &two).is_identity()));

    let file = |end: &str| format!("{id}.v1.{end}");
    let honest = fs::read(proven.parameters.join(file("params"))).unwrap();
    let key = fs::read(proven.parameters.join(file("key"))).unwrap();
    let substituted = |moved: &dyn Fn(&mut groth16::Parameters<Bls12>)| {
        let folder = tempfile::tempdir().unwrap();
        let mut inner = groth16::Parameters::read(honest.as_slice(), false).unwrap();
        moved(&mut inner);
        let mut bytes = Vec::new();
        inner.write(&mut bytes).unwrap();
        assert_eq!(bytes.len(), honest.len());
        let digest = format!(
            "{id} v1\nparams {}\nkey {}\n",
            blake3::hash(&bytes),
            blake3::hash(&key)
        );
        fs::write(folder.path().join(file("params")), bytes).unwrap();
        fs::write(folder.path().join(file("key")), &key).unwrap();
        fs::write(folder.path().join(file("digest")), digest).unwrap();
        // The file is whole and its verifying key is the network's.
        let parameters = Parameters::load(folder.path(), id, &proven.keys).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        prove_spacetime(
            &Workers::one(&parameters),
            &proven.sealed,
            &proven.spacetime.0,
            &mut rng,
        )
    };
    assert!(substituted(&|_| {}).is_ok());

    let plus = |point: &mut G1Affine| *point = (G1Projective::from(*point) + torsion).into();
    let in_h = |inner: &mut groth16::Parameters<Bls12>| plus(&mut Arc::make_mut(&mut inner.h)[1]);
    let in_l = |inner: &mut groth16::Parameters<Bls12>| {
        let l = Arc::make_mut(&mut inner.l);
        let last = l.len() - 1;
        plus(&mut l[last]);
    };
    // A point that anybody takes, and another than it was: the proof does not hold.
    let other = |inner: &mut groth16::Parameters<Bls12>| {
        let h = Arc::make_mut(&mut inner.h);
        h[1] = (G1Projective::from(h[1]) + G1Projective::generator()).into();
    };
    assert!(matches!(
        substituted(&other).unwrap_err(),
        ProveError::Unsatisfied { proof: 0 }
    ));
    for moved in [&in_h as &dyn Fn(&mut _), &in_l] {
        let error = substituted(moved).unwrap_err();
        assert!(
            error.to_string().contains("damaged or substituted"),
            "{error}"
        );
        assert!(
            matches!(
                error,
                ProveError::Parameters {
                    id: named,
                    proof: 0,
                    point: 'C',
                    why: PointError::Malformed,
                } if named == id
            ),
            "{error:?}"
        );
    }
}
