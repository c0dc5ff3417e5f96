#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod foreign;
mod forged;
mod proving;
mod world;

use super::checker::System;
use super::number::{DERIVED, Number, WITNESS};
use super::permutation::Hashes;
use super::*;
use crate::poseidon2::{hash8, hash16};
use crate::sector::SectorClass;
use ff::Field;
use world::World;

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
    let mut system = System::of(HashCircuit(values.clone()));
    assert_eq!(system.broken(), None);
    assert_eq!(
        system.inputs[1],
        hash16(values.as_slice().try_into().unwrap())
    );
    assert_eq!(system.inputs[2], hash8(values[..8].try_into().unwrap()));
    assert_eq!(system.constraints.len(), 555 + 363 + 2);
    assert_eq!(system.loose(), Vec::<usize>::new());
}

/// One variable is tied to nothing, another only to its square.
struct LooseCircuit;

impl bellman::Circuit<Scalar> for LooseCircuit {
    fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let free = Number::allocate(cs, DERIVED, Some(Scalar::from(7)))?;
        let bit = Number::allocate(cs, DERIVED, Some(Scalar::ONE))?;
        let inverse = Number::constant::<CS>(Scalar::ONE).minus(&bit);
        number::enforce(cs, "bit", &inverse, &bit, &Number::zero());
        number::enforce(cs, "nothing", &free, &Number::zero(), &Number::zero());
        Ok(())
    }
}

#[test]
fn the_search_finds_variables_that_nothing_holds() {
    let mut system = System::of(LooseCircuit);
    assert_eq!(system.loose(), vec![0, 1]);
    assert_eq!(system.derived_rank(), (2, 1));
}

fn assert_tight(circuit: AnyCircuit<Scalar>) {
    let mut system = System::of(circuit);
    assert_eq!(system.broken(), None);
    assert_eq!(system.loose(), Vec::<usize>::new());
    let (derived, rank) = system.derived_rank();
    assert!(derived > 1000, "{derived}");
    assert_eq!(derived, rank);
}

#[test]
fn every_variable_of_the_seal_circuit_is_held() {
    let world = World::new(2, "one");
    assert_tight(world.seal(&[45]).circuit(world.bits));
}

#[test]
fn every_variable_of_the_embed_circuit_is_held() {
    let world = World::new(3, "one");
    assert_tight(world.embed(&[(3, 5), (60, 0)]).circuit(world.bits));
}

#[test]
fn every_variable_of_the_spacetime_circuit_is_held() {
    let world = World::new(2, "one");
    let indices = std::array::from_fn(|leaf| leaf as u64 * 3 % 8);
    assert_tight(world.spacetime(&indices).circuit(world.bits));
}

#[test]
fn shapes_are_pinned() {
    // A new shape needs a new CIRCUIT_VERSION: parameters of the old one do not fit it.
    assert_eq!(CIRCUIT_VERSION, 1);
    let pinned = [
        (
            CircuitId::seal(SectorClass::Mib8, 2),
            20,
            79_628,
            "b4eff6b5f0c6ee7a",
        ),
        (
            CircuitId::seal(SectorClass::Mib64, 2),
            21,
            91_559,
            "5e7c718cec439368",
        ),
        (
            CircuitId::embed(SectorClass::Mib8, 8),
            34,
            35_649,
            "f41f476649cf880c",
        ),
        (
            CircuitId::embed(SectorClass::Mib64, 8),
            34,
            44_553,
            "44e4a97c01cbeb98",
        ),
        (
            CircuitId::spacetime(SectorClass::Mib8),
            10,
            29_857,
            "4d9cd93ad65a93ca",
        ),
        (
            CircuitId::spacetime(SectorClass::Mib64),
            11,
            35_826,
            "4746064d8f80bf9b",
        ),
    ];
    let found = pinned.map(|(id, ..)| {
        let shape = shape(id).unwrap();
        assert_eq!(shape.inputs, id.public_input_count() + 1);
        let digest = blake3::Hash::from_bytes(shape.digest).to_hex()[..16].to_owned();
        (id, shape.inputs, shape.constraints, digest)
    });
    let pinned = pinned
        .map(|(id, inputs, constraints, digest)| (id, inputs, constraints, digest.to_owned()));
    assert_eq!(found, pinned);
}
