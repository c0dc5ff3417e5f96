//! Eight nodes to one: our Poseidon2 against Filecoin's Poseidon as `neptune` has it.

use crate::measure::{Figures, microseconds};
use blstrs::Scalar;
use ff::Field;
use generic_array::typenum::U8;
use holdfast_proofs::node::Node;
use holdfast_proofs::poseidon2::hash8_nodes;
use holdfast_proofs::poseidon2::lanes::{Row, hash8_lanes, kernel, scalar_kernel};
use neptune::Poseidon;
use neptune::poseidon::PoseidonConstants;
use std::array::from_fn;
use std::hint::black_box;

const ROUNDS: u32 = 7;
/// Calls in a round.
const CALLS: u32 = 2000;

pub fn measure(figures: &mut Figures) {
    let node = |i: usize| Node::derive("holdfast figures", &[&i.to_le_bytes()]);
    let eight: [Node; 8] = from_fn(node);
    let eights: [Row; 8] = from_fn(|i| from_fn(|lane| node(8 * i + lane)));
    let scalars: [Scalar; 8] = from_fn(|_| Scalar::random(rand::rngs::OsRng));
    let constants = PoseidonConstants::<Scalar, U8>::new();

    let [mut lanes, mut single, mut neptune] = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        let row = microseconds(CALLS, || {
            black_box(hash8_lanes(black_box(&eights)));
        });
        lanes = lanes.min(row / 8.0);
        single = single.min(microseconds(CALLS, || {
            black_box(hash8_nodes(black_box(&eight)));
        }));
        neptune = neptune.min(microseconds(CALLS, || {
            let mut hash = Poseidon::new_with_preimage(black_box(&scalars), &constants);
            black_box(hash.hash());
        }));
    }

    let ours = format!("Poseidon2, {}, a hash of the eight", kernel());
    let scalar = format!("Poseidon2, {}, one at a time", scalar_kernel());
    let theirs = "Poseidon of neptune 13, arity 8 over blstrs, one at a time";
    figures.row("hash8_us", lanes, "us", &ours);
    figures.row("hash8_scalar_us", single, "us", &scalar);
    figures.row("neptune8_us", neptune, "us", theirs);
    let against = |ours: &str| format!("{ours}, against {theirs}");
    figures.ratio("hash8_vs_neptune8", lanes, neptune, &against(&ours));
    figures.ratio(
        "hash8_scalar_vs_neptune8",
        single,
        neptune,
        &against(&scalar),
    );
}
