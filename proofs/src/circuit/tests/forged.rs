//! Proofs made all the same from a witness that does not satisfy: neither library takes them.

use super::world::{Case, World};
use crate::circuit::{AnyCircuit, EmbedWitness, SealWitness};
use crate::groth16::{Item, Key, Library, read_proof, scalars};
use crate::node::Node;
use crate::packing::PositionBits;
use crate::params::generate::{Trapdoor, generate};
use crate::proof::{Circuit, ProofBytes};
use bellman::groth16::{
    Parameters, VerifyingKey, create_random_proof, prepare_verifying_key, verify_proof,
};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

struct Prover {
    parameters: Parameters<blstrs::Bls12>,
    key: Vec<u8>,
    rng: ChaCha20Rng,
}

fn holds<E: Library>(key: &[u8], public: &[Node], proof: &ProofBytes) -> bool {
    let reference = VerifyingKey::<E>::read(key).unwrap();
    let key = Key::<E>::read(key).unwrap();
    let item = Item {
        key: &key,
        key_number: 0,
        proof: read_proof(proof).unwrap(),
        inputs: scalars(public),
        coefficient: 1,
    };
    // `bellman`'s own verification, which ours must equal.
    let prepared = prepare_verifying_key(&reference);
    let expected = verify_proof(&prepared, &item.proof, &item.inputs).is_ok();
    assert_eq!(item.holds(), expected);
    expected
}

impl Prover {
    fn new(circuit: Circuit, bits: PositionBits, per_proof: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let blank = || AnyCircuit::blank_of(circuit, bits, per_proof);
        let parameters = generate(blank, &Trapdoor::random(&mut rng)).unwrap();
        let mut key = Vec::new();
        parameters.vk.write(&mut key).unwrap();
        Self {
            parameters,
            key,
            rng,
        }
    }

    /// Proves whatever the circuit holds; says whether the proof shows its public inputs.
    fn proves<W>(
        &mut self,
        case: &Case<W>,
        circuit: impl Fn(&Case<W>) -> AnyCircuit<blstrs::Scalar>,
    ) -> bool {
        let proof = create_random_proof(circuit(case), &self.parameters, &mut self.rng).unwrap();
        let mut bytes = [0; 192];
        proof.write(bytes.as_mut_slice()).unwrap();
        let bytes = ProofBytes(bytes);
        let pure = holds::<bls12_381::Bls12>(&self.key, &case.public, &bytes);
        assert_eq!(
            pure,
            holds::<blstrs::Bls12>(&self.key, &case.public, &bytes)
        );
        pure
    }
}

#[test]
fn a_forged_embed_proof_is_refused() {
    let world = World::new(3, "one");
    let other = World::new(3, "two");
    let mut prover = Prover::new(Circuit::Embed, world.bits, 1);
    let honest = world.embed(&[(3, 5)]);
    let circuit = |case: &Case<EmbedWitness>| case.circuit(world.bits);
    assert!(prover.proves(&honest, circuit));
    for witness in [
        world.embed(&[(3, 4)]),
        world.embed(&[(4, 5)]),
        other.embed(&[(3, 5)]),
    ] {
        let forged = Case {
            public: honest.public.clone(),
            witness: witness.witness,
        };
        assert!(!prover.proves(&forged, circuit));
    }
    let mut forged = honest.clone();
    forged.witness[0].data.leaf = Node::ZERO;
    assert!(!prover.proves(&forged, circuit));
    let mut forged = honest.clone();
    forged.witness[0].key.siblings[0].swap(0, 1);
    assert!(!prover.proves(&forged, circuit));
    for input in 0..honest.public.len() {
        let mut forged = honest.clone();
        forged.public[input] = Node::ZERO;
        assert!(!prover.proves(&forged, circuit), "public input {input}");
    }
}

#[test]
fn a_forged_seal_proof_is_refused() {
    let world = World::new(2, "one");
    let mut prover = Prover::new(Circuit::Seal, world.bits, 1);
    let honest = world.seal(&[45]);
    let circuit = |case: &Case<SealWitness>| case.circuit(world.bits);
    assert!(prover.proves(&honest, circuit));
    let mut label = honest.clone();
    label.witness[0].expander[2].labels[6] = Node::ZERO;
    let mut parent = honest.clone();
    let position = parent.witness[0].base[1].position;
    parent.witness[0].base[1] = world.open_column(position ^ 1);
    parent.witness[0].base[1].position = position;
    let mut path = honest.clone();
    path.witness[0].key_siblings[0][3] = Node::ZERO;
    let mut replica = honest.clone();
    replica.public[0] = Node::ZERO;
    for (what, forged) in [
        ("label", label),
        ("parent", parent),
        ("path", path),
        ("replica", replica),
    ] {
        assert!(!prover.proves(&forged, circuit), "{what}");
    }
}
