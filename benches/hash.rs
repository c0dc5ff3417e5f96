//! What one hash costs here: single, eight lanes at once, and a label with its parents drawn.
//!
//! `cargo bench --profile dev --bench hash` (the dev profile is optimised); a sector of 8 MiB has 2.1 million labels.
//! `./dev figures peers` sets the hash beside that of another network.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holdfast_proofs::graph::Graph;
use holdfast_proofs::node::Node;
use holdfast_proofs::poseidon2::lanes::{Row, hash8_lanes, hash16_lanes, kernel};
use holdfast_proofs::poseidon2::{hash8, hash8_nodes, hash16, hash16_nodes};
use holdfast_proofs::sector::{Position, SectorClass};
use std::array::from_fn;
use std::hint::black_box;

fn node(index: usize) -> Node {
    Node::derive("holdfast bench", &[&index.to_le_bytes()])
}

fn single(criterion: &mut Criterion) {
    let nodes: [Node; 16] = from_fn(node);
    let eight: [Node; 8] = from_fn(node);
    let scalars = nodes.map(|node| node.to_scalar::<bls12_381::Scalar>());
    let eight_scalars = eight.map(|node| node.to_scalar::<bls12_381::Scalar>());
    let mut group = criterion.benchmark_group("hash");
    group.bench_function("hash8", |bench| {
        bench.iter(|| hash8_nodes(black_box(&eight)))
    });
    group.bench_function("hash16", |bench| {
        bench.iter(|| hash16_nodes(black_box(&nodes)))
    });
    // What a build that only verifies does.
    group.bench_function("hash8 generic", |bench| {
        bench.iter(|| hash8(black_box(&eight_scalars)))
    });
    group.bench_function("hash16 generic", |bench| {
        bench.iter(|| hash16(black_box(&scalars)))
    });
}

fn lanes(criterion: &mut Criterion) {
    let rows: [Row; 16] = from_fn(|i| from_fn(|lane| node(8 * i + lane)));
    let eight: [Row; 8] = from_fn(|i| from_fn(|lane| node(8 * i + lane)));
    let mut group = criterion.benchmark_group(format!("lanes, {}", kernel()));
    group.throughput(Throughput::Elements(8));
    group.bench_function("hash8", |bench| {
        bench.iter(|| hash8_lanes(black_box(&eight)))
    });
    group.bench_function("hash16", |bench| {
        bench.iter(|| hash16_lanes(black_box(&rows)))
    });
    let graph = Graph::new(SectorClass::Gib4);
    let mut index = 0u64;
    group.bench_function("label", |bench| {
        bench.iter(|| {
            index = (index + 1) % SectorClass::Gib4.lane_nodes();
            black_box(graph.parents(Position(index)));
            hash16_lanes(black_box(&rows))
        });
    });
}

criterion_group!(benches, single, lanes);
criterion_main!(benches);
