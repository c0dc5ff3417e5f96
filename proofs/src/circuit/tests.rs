#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use super::checker::System;
use super::number::{Number, WITNESS};
use super::permutation::Hashes;
use super::*;
use crate::poseidon2::{hash8, hash16};
use crate::sector::SectorClass;
use bellman::Circuit as _;
use ff::Field;

type Scalar = blstrs::Scalar;

/// Hashes its sixteen witness numbers, and the first eight of them.
struct HashCircuit(Vec<Scalar>);

impl bellman::Circuit<Scalar> for HashCircuit {
    fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let hashes = Hashes::new();
        let inputs: Vec<Number<Scalar>> = self
            .0
            .iter()
            .map(|value| Number::allocate(cs, WITNESS, Some(*value)).unwrap())
            .collect();
        let inputs: [Number<Scalar>; 16] = inputs.try_into().unwrap_or_else(|_| unreachable!());
        let wide = hashes.sixteen.hash(cs, &inputs.each_ref())?;
        let narrow = hashes
            .eight
            .hash(cs, inputs.each_ref().first_chunk().unwrap())?;
        let public = Number::public(cs, wide.value)?;
        number::enforce_equal(cs, "wide", &wide, &public);
        let public = Number::public(cs, narrow.value)?;
        number::enforce_equal(cs, "narrow", &narrow, &public);
        Ok(())
    }
}

#[test]
fn the_hash_in_the_circuit_is_the_native_one() {
    let values: Vec<Scalar> = (0..16)
        .map(|i| Scalar::from(i * i + 7).invert().unwrap())
        .collect();
    let system = System::of(HashCircuit(values.clone()));
    assert_eq!(system.broken(), None);
    assert_eq!(
        system.inputs[1],
        hash16(values.as_slice().try_into().unwrap())
    );
    assert_eq!(system.inputs[2], hash8(values[..8].try_into().unwrap()));
}

#[test]
fn shapes_print() {
    for id in [
        CircuitId::seal(SectorClass::Mib8, 2),
        CircuitId::embed(SectorClass::Mib8, 8),
        CircuitId::spacetime(SectorClass::Mib8),
    ] {
        let start = std::time::Instant::now();
        println!("{id} {:?} {:?}", shape(id).unwrap(), start.elapsed());
    }
}
