//! The stacked graph of one sector class: which labels a label is made of.
//!
//! **Base parents**, in the same layer and lane and the same in every lane: node i-1 and five by
//! DRSample (Alwen, Blocki and Harsha, 2017) in its bucket form: each node stands for five nodes of
//! a DRSample graph of in-degree two, and inherits their parents. Node 0 of a lane has none.
//!
//! **Expander parents**, in the layer before: node i, draw k is element 8i + k of a permutation of
//! as many elements as the sector has nodes; output `o` names node `o >> 3` of lane
//! `(lane + (o & 7)) mod 8`. Layer 1 has none.
//!
//! The permutation is a Feistel network of six rounds whose round functions are tables filled by
//! BLAKE3, so each is as random as the hash and a look-up is all that a parent costs. Its halves
//! may differ by one bit, which makes it a permutation of exactly the class's nodes: there is
//! nothing to walk over.

// Every index is masked to the table's length, which is a power of two of at most 2^15.
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use crate::node::derive_reader;
use crate::replica::PROTOCOL_VERSION;
use crate::sector::{Position, SectorClass};
use std::array::from_fn;

/// Base parents of a label.
pub const BASE_PARENTS: usize = 6;
/// Expander parents of a label.
pub const EXPANDER_PARENTS: usize = 8;
/// Nodes of the DRSample graph that one node stands for: the base parents but node i-1.
const BUCKET: u64 = BASE_PARENTS as u64 - 1;
/// Rounds of the Feistel network.
const FEISTEL_ROUNDS: usize = 6;

/// Where the parents of one node lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parents {
    /// In the same layer; the first is the node before. For node 0 of a lane, which has none and
    /// whose label takes zeros for them, the node itself.
    pub base: [Position; BASE_PARENTS],
    /// In the layer before; in layer 1 a label takes zeros for them.
    pub expander: [Position; EXPANDER_PARENTS],
}

/// The graph of one sector class; the same for every sector of it.
#[derive(Clone, Debug)]
pub struct Graph {
    class: SectorClass,
    base_key: [u8; 32],
    permutation: Permutation,
}

impl Graph {
    /// The graph of a class, at the version that replicas are bound to.
    pub fn new(class: SectorClass) -> Self {
        let version = PROTOCOL_VERSION.to_le_bytes();
        let mut base_key = [0; 32];
        derive_reader(
            "holdfast 2026-11 base graph",
            &[&version, class.name().as_bytes()],
        )
        .fill(&mut base_key);
        Graph {
            class,
            base_key,
            permutation: Permutation::new(class),
        }
    }

    /// The class that this is the graph of.
    pub const fn class(&self) -> SectorClass {
        self.class
    }

    /// The parents of the node at a position of the class.
    pub fn parents(&self, position: Position) -> Parents {
        let lane_nodes = self.class.lane_nodes();
        let lane = u64::from(position.lane(self.class).index());
        let index = position.in_lane(self.class);
        Parents {
            base: self
                .base_in_lane(index)
                .map(|parent| Position(lane * lane_nodes + parent)),
            expander: self
                .expander_draws(index)
                .map(|draw| Position(draw.lane_of(lane) * lane_nodes + draw.in_lane)),
        }
    }

    /// The base parents' indices in the lane, shared by all lanes; the index itself for node 0.
    pub(crate) fn base_in_lane(&self, index: u64) -> [u64; BASE_PARENTS] {
        let Some(before) = index.checked_sub(1) else {
            return [0; BASE_PARENTS];
        };
        let mut draws = [0u8; 12 * BUCKET as usize];
        blake3::Hasher::new_keyed(&self.base_key)
            .update(&index.to_le_bytes())
            .finalize_xof()
            .fill(&mut draws);
        let (draws, _) = draws.as_chunks::<12>();
        from_fn(|i| match i.checked_sub(1).and_then(|k| draws.get(k)) {
            None => before,
            Some([a, b, c, d, rest @ ..]) => {
                let bucket = index * BUCKET + (i as u64 - 1);
                let scale = u64::from(u32::from_le_bytes([*a, *b, *c, *d])) << 32;
                let distance = distance(bucket, scale, u64::from_le_bytes(*rest));
                // An edge inside the bucket would be the node itself; the node before stands in.
                ((bucket - distance) / BUCKET).min(before)
            }
        })
    }

    /// The expander parents, as a node in a lane and how far the lane is turned.
    pub(crate) fn expander_draws(&self, index: u64) -> [ExpanderDraw; EXPANDER_PARENTS] {
        from_fn(|k| {
            let output = self.permutation.apply(index * 8 + k as u64);
            ExpanderDraw {
                in_lane: output >> 3,
                turn: output & 7,
            }
        })
    }
}

/// An expander parent before the lane is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExpanderDraw {
    pub(crate) in_lane: u64,
    turn: u64,
}

impl ExpanderDraw {
    /// How far the lane is turned, 0 to 7.
    #[cfg(feature = "prove")]
    pub(crate) const fn turn(self) -> usize {
        self.turn as usize
    }

    /// The parent's lane, for a child in `lane`.
    pub(crate) const fn lane_of(self, lane: u64) -> u64 {
        (lane + self.turn) & 7
    }
}

/// A number below `bound` from 64 uniform bits: the high word of the product, whose bias is below
/// `bound / 2^64`.
pub(crate) fn below(uniform: u64, bound: u64) -> u64 {
    ((u128::from(uniform) * u128::from(bound)) >> 64) as u64
}

/// DRSample's `GetParent` for node `u`, counted from 0, at least 2: a scale j from 1 to
/// `log2(u + 1) + 1`, g = min(u, 2^j), then a distance from max(g / 2, 2) to g, all uniform.
fn distance(u: u64, scale: u64, within: u64) -> u64 {
    let scales = u64::from((u + 1).ilog2()) + 1;
    let most = u.min(2 << below(scale, scales));
    let least = (most / 2).max(2);
    least + below(within, most - least + 1)
}

/// A seeded permutation of 2^bits elements.
#[derive(Clone, Debug)]
struct Permutation {
    low_bits: u32,
    high_bits: u32,
    /// Round functions: even rounds from the low half to the high, odd ones back.
    rounds: [Vec<u16>; FEISTEL_ROUNDS],
}

impl Permutation {
    fn new(class: SectorClass) -> Self {
        let bits = 3 * class.levels();
        let high_bits = bits / 2;
        let low_bits = bits - high_bits;
        let version = PROTOCOL_VERSION.to_le_bytes();
        let mut stream = derive_reader(
            "holdfast 2026-11 expander graph",
            &[&version, class.name().as_bytes()],
        );
        let rounds = from_fn(|round| {
            let input_bits = if round % 2 == 0 { low_bits } else { high_bits };
            let mut bytes = vec![0; 2 << input_bits];
            stream.fill(&mut bytes);
            let (pairs, _) = bytes.as_chunks::<2>();
            pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
        });
        Permutation {
            low_bits,
            high_bits,
            rounds,
        }
    }

    fn masks(&self) -> (u64, u64) {
        ((1 << self.low_bits) - 1, (1 << self.high_bits) - 1)
    }

    fn apply(&self, input: u64) -> u64 {
        let (low_mask, high_mask) = self.masks();
        let mut low = input & low_mask;
        let mut high = input >> self.low_bits & high_mask;
        for pair in self.rounds.chunks_exact(2) {
            high ^= u64::from(pair[0][low as usize]) & high_mask;
            low ^= u64::from(pair[1][high as usize]) & low_mask;
        }
        high << self.low_bits | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invert(permutation: &Permutation, output: u64) -> u64 {
        let (low_mask, high_mask) = permutation.masks();
        let mut low = output & low_mask;
        let mut high = output >> permutation.low_bits & high_mask;
        for pair in permutation.rounds.chunks_exact(2).rev() {
            low ^= u64::from(pair[1][high as usize]) & low_mask;
            high ^= u64::from(pair[0][low as usize]) & high_mask;
        }
        high << permutation.low_bits | low
    }

    #[test]
    fn the_expander_is_a_permutation() {
        let class = SectorClass::Mib8;
        let permutation = Permutation::new(class);
        let mut seen = vec![false; class.nodes() as usize];
        for input in 0..class.nodes() {
            let output = permutation.apply(input);
            assert!(
                !std::mem::replace(&mut seen[output as usize], true),
                "{output} twice"
            );
            assert_eq!(invert(&permutation, output), input);
        }
        assert!(seen.into_iter().all(|hit| hit));
    }

    #[test]
    fn larger_classes_permute_within_their_nodes() {
        for class in SectorClass::ALL {
            let permutation = Permutation::new(class);
            for step in 0..2000 {
                let input = step * (class.nodes() / 2000);
                let output = permutation.apply(input);
                assert!(output < class.nodes());
                assert_eq!(invert(&permutation, output), input);
            }
        }
    }

    #[test]
    fn every_lane_is_drawn_equally_often() {
        let graph = Graph::new(SectorClass::Mib8);
        let mut turns = [0u64; 8];
        for index in 0..graph.class().lane_nodes() {
            for draw in graph.expander_draws(index) {
                turns[draw.turn as usize] += 1;
            }
        }
        // A permutation has each output once, so each turn is drawn by exactly an eighth.
        assert_eq!(turns, [graph.class().lane_nodes(); 8]);
    }

    #[test]
    fn parents_are_in_place_and_in_degree() {
        let class = SectorClass::Mib8;
        let graph = Graph::new(class);
        for index in (0..40).chain([1000, class.lane_nodes() - 1]) {
            for lane in [0, 3, 7] {
                let node = Position(lane * class.lane_nodes() + index);
                let parents = graph.parents(node);
                for base in parents.base {
                    assert_eq!(base.lane(class), node.lane(class));
                    assert!(index == 0 || base < node, "{node:?} {base:?}");
                }
                assert!(
                    parents
                        .expander
                        .iter()
                        .all(|parent| parent.0 < class.nodes())
                );
                if index == 0 {
                    assert_eq!(parents.base, [node; 6]);
                } else {
                    assert_eq!(parents.base[0].0, node.0 - 1);
                }
            }
        }
        assert_eq!(graph.base_in_lane(1), [0; 6]);
    }

    #[test]
    fn lanes_share_base_parents_and_turn_expander_parents() {
        let class = SectorClass::Mib64;
        let graph = Graph::new(class);
        let first = graph.parents(Position(12345));
        let third = graph.parents(Position(2 * class.lane_nodes() + 12345));
        for (a, b) in first.base.into_iter().zip(third.base) {
            assert_eq!(a.in_lane(class), b.in_lane(class));
        }
        for (a, b) in first.expander.into_iter().zip(third.expander) {
            assert_eq!(a.in_lane(class), b.in_lane(class));
            assert_eq!((a.lane(class).index() + 2) % 8, b.lane(class).index());
        }
    }

    #[test]
    fn base_distances_follow_drsample() {
        // DRSample: each scale (2^(j-1), 2^j] is drawn equally often, so the distances of distant
        // nodes are uniform in their logarithm. In buckets of five.
        let graph = Graph::new(SectorClass::Mib512);
        let start = graph.class().lane_nodes() / 2;
        let (count, mut by_scale) = (40_000u64, [0u64; 32]);
        for index in start..start + count {
            for parent in &graph.base_in_lane(index)[1..] {
                by_scale[((index - parent) * BUCKET).ilog2() as usize] += 1;
            }
        }
        let scales = f64::from((start * BUCKET).ilog2() + 1);
        let expected = (count * BUCKET) as f64 / scales;
        // Short distances fall together in their bucket; the longest scale is cut off by node 0.
        for (scale, drawn) in by_scale
            .iter()
            .enumerate()
            .take(scales as usize - 2)
            .skip(6)
        {
            let share = *drawn as f64 / expected;
            assert!((0.95..1.05).contains(&share), "scale {scale}: {share}");
        }
        let short: u64 = by_scale[..6].iter().sum();
        assert!(
            (5.5..6.7).contains(&(short as f64 / expected)),
            "{}",
            short as f64 / expected
        );
    }

    #[test]
    fn distances_stay_within_the_graph_at_the_extremes() {
        for u in [5, 6, 7, 8, 9, 31, 32, 1 << 33] {
            for scale in [0, u64::MAX] {
                for within in [0, u64::MAX] {
                    let distance = distance(u, scale, within);
                    assert!((2..=u).contains(&distance), "{u}: {distance}");
                }
            }
        }
    }

    #[test]
    fn the_graphs_are_pinned() {
        let digests = SectorClass::ALL.map(|class| {
            let graph = Graph::new(class);
            let mut hasher = blake3::Hasher::new();
            for step in 0..1000 {
                let parents = graph.parents(Position(step * (class.nodes() / 1000)));
                for parent in parents.base.iter().chain(&parents.expander) {
                    hasher.update(&parent.0.to_le_bytes());
                }
            }
            hasher.finalize().to_hex()[..16].to_owned()
        });
        assert_eq!(
            digests,
            [
                "a464ff63a5b1aeac",
                "3c44723065b66a59",
                "7acb4d19390b55b8",
                "eed3a754c7d3be6c",
                "4526da71d1bde132"
            ]
        );
    }
}
