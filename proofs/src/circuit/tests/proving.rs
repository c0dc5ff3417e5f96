//! Our prover makes the proofs that `bellman` makes.

use super::world::World;
use crate::circuit::{AnyCircuit, LeafWitness, SpacetimeCircuit};
use crate::node::Node;
use crate::packing::PositionBits;
use crate::params::generate::{Trapdoor, generate};
use crate::proof::{Circuit, CircuitId};
use crate::prove::create::create_proof;
use crate::sector::SectorClass;
use crate::tree::Opening;
use bellman::groth16::{Parameters, Proof};
use bellman::{ConstraintSystem, SynthesisError};
use blstrs::Bls12;
use ff::Field;
use rand::SeedableRng;
use std::array::from_fn;

type Scalar = blstrs::Scalar;

fn bytes(proof: &Proof<Bls12>) -> Vec<u8> {
    let mut bytes = Vec::new();
    proof.write(&mut bytes).unwrap();
    bytes
}

/// Asserts that both provers make the same proof, and tells whether it holds.
fn same<C: bellman::Circuit<Scalar>>(
    parameters: &Parameters<Bls12>,
    circuit: impl Fn() -> C,
    public: &[Scalar],
) -> bool {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(2);
    let (r, s) = (Scalar::random(&mut rng), Scalar::random(&mut rng));
    let ours = create_proof(circuit(), parameters, r, s).unwrap();
    let theirs = bellman::groth16::create_proof(circuit(), parameters, r, s).unwrap();
    assert_eq!(bytes(&ours), bytes(&theirs));
    let key = bellman::groth16::prepare_verifying_key(&parameters.vk);
    bellman::groth16::verify_proof(&key, &ours, public).is_ok()
}

fn parameters<C: bellman::Circuit<Scalar>>(blank: impl Fn() -> C) -> Parameters<Bls12> {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    generate(blank, &Trapdoor::random(&mut rng)).unwrap()
}

fn scalars(nodes: &[Node]) -> Vec<Scalar> {
    nodes.iter().map(|node| node.to_scalar()).collect()
}

/// Asserts that a case and the same under another public input are proven as `bellman` does, and
/// that only the first proof holds.
macro_rules! assert_same {
    ($world:expr, $kind:expr, $case:expr) => {
        let (world, mut case) = ($world, $case);
        let challenges = case.witness.len();
        let parameters =
            parameters(|| AnyCircuit::<Scalar>::blank_of($kind, world.bits, challenges));
        let public = scalars(&case.public);
        assert!(same(&parameters, || case.circuit(world.bits), &public));
        case.public[0] = Node::from_scalar(&(public[0] + Scalar::ONE));
        let public = scalars(&case.public);
        assert!(!same(&parameters, || case.circuit(world.bits), &public));
    };
}

#[test]
fn proofs_of_the_seal_circuit_are_those_of_bellman() {
    let world = World::new(2, "one");
    let case = world.seal(&[45]);
    assert_same!(world, Circuit::Seal, case);
}

#[test]
fn proofs_of_the_embed_circuit_are_those_of_bellman() {
    let world = World::new(3, "one");
    let case = world.embed(&[(3, 5), (60, 0)]);
    assert_same!(world, Circuit::Embed, case);
}

#[test]
fn proofs_of_the_spacetime_circuit_are_those_of_bellman() {
    let world = World::new(2, "one");
    let case = world.spacetime(&from_fn(|leaf| leaf as u64 * 3 % 8));
    assert_same!(world, Circuit::Spacetime, case);
}

#[test]
fn a_proof_of_real_size_is_that_of_bellman() {
    let id = CircuitId::spacetime(SectorClass::Mib8);
    let bits = PositionBits::of(id.class);
    let parameters = parameters(|| AnyCircuit::<Scalar>::blank(id));
    // Siblings of nothing: no root is right, but every variable has its value.
    let node = |index: usize| Node::derive("holdfast test of proving", &[&index.to_le_bytes()]);
    let public: Vec<Node> = (0..id.public_input_count()).map(node).collect();
    let circuit = || {
        let leaves = (0..16).map(|leaf| {
            Some(LeafWitness {
                position: 2_000 * leaf as u64 + 5,
                opening: Opening {
                    leaf: node(leaf),
                    siblings: (0..5)
                        .map(|level| from_fn(|i| node(1000 * leaf + 10 * level + i)))
                        .collect(),
                },
            })
        });
        AnyCircuit::Spacetime(SpacetimeCircuit {
            bits,
            public: Some(scalars(&public)),
            leaves: leaves.collect(),
        })
    };
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
    let (r, s) = (Scalar::random(&mut rng), Scalar::random(&mut rng));
    let start = std::time::Instant::now();
    let ours = create_proof(circuit(), &parameters, r, s).unwrap();
    let middle = start.elapsed();
    let theirs = bellman::groth16::create_proof(circuit(), &parameters, r, s).unwrap();
    println!("ours {middle:?}, bellman's {:?}", start.elapsed() - middle);
    assert_eq!(bytes(&ours), bytes(&theirs));
}

/// The public number is the witness, squared so many times; nothing else is in the circuit.
struct Squares {
    times: usize,
    base: Option<Scalar>,
}

impl bellman::Circuit<Scalar> for Squares {
    fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let missing = SynthesisError::AssignmentMissing;
        let mut value = self.base;
        let mut last = cs.alloc(|| "base", || value.ok_or(missing))?;
        for time in 1..=self.times {
            value = value.map(|value| value.square());
            let given = || value.ok_or(SynthesisError::AssignmentMissing);
            let next = if time == self.times {
                cs.alloc_input(|| "last", given)?
            } else {
                cs.alloc(|| "square", given)?
            };
            cs.enforce(|| "square", |a| a + last, |b| b + last, |c| c + next);
            last = next;
        }
        Ok(())
    }
}

#[test]
fn proofs_over_domains_of_every_small_size_are_those_of_bellman() {
    for times in [1, 2, 3, 5, 6, 7, 13, 14] {
        let parameters = parameters(|| Squares { times, base: None });
        for base in [2, 1, 0] {
            let base = Scalar::from(base);
            let public = base.pow_vartime([1 << times]);
            let circuit = || Squares {
                times,
                base: Some(base),
            };
            assert!(same(&parameters, circuit, &[public]));
        }
        // Unmasked, and an error on neither side.
        let circuit = || Squares {
            times,
            base: Some(Scalar::from(3)),
        };
        let ours = create_proof(circuit(), &parameters, Scalar::ZERO, Scalar::ZERO).unwrap();
        let theirs =
            bellman::groth16::create_proof(circuit(), &parameters, Scalar::ZERO, Scalar::ZERO);
        assert_eq!(bytes(&ours), bytes(&theirs.unwrap()));
    }
}

#[test]
fn parameters_of_another_circuit_are_refused() {
    let parameters = parameters(|| Squares {
        times: 3,
        base: None,
    });
    for times in [2, 4, 5] {
        let circuit = Squares {
            times,
            base: Some(Scalar::ONE),
        };
        let made = create_proof(circuit, &parameters, Scalar::ONE, Scalar::ONE);
        assert!(matches!(made, Err(SynthesisError::IoError(_))), "{times}");
    }
    let blank = Squares {
        times: 3,
        base: None,
    };
    let made = create_proof(blank, &parameters, Scalar::ONE, Scalar::ONE);
    assert!(matches!(made, Err(SynthesisError::AssignmentMissing)));
}
