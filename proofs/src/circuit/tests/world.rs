//! A small sector, sealed and embedded natively in memory, with the witness of every challenge.

use crate::circuit::{
    AnyCircuit, Column, EmbedCircuit, EmbedWitness, LeafWitness, SealCircuit, SealWitness,
    SpacetimeCircuit,
};
use crate::label::position_element;
use crate::node::Node;
use crate::packing::{Packer, PositionBits};
use crate::poseidon2::{hash8_nodes, hash16_nodes};
use crate::sector::Lane;
use crate::tree::Tree;
use std::array::from_fn;

type Scalar = blstrs::Scalar;

/// Public inputs and witness of one circuit: tests mix those of different statements.
#[derive(Clone)]
pub(super) struct Case<W> {
    pub(super) public: Vec<Node>,
    pub(super) witness: Vec<W>,
}

/// The parents that the tests' graph gives a node: base in the lane, expander in the sector.
#[derive(Clone)]
pub(super) struct Parents {
    pub(super) base: [u64; 6],
    pub(super) expander: [u64; 8],
}

pub(super) struct World {
    pub(super) bits: PositionBits,
    pub(super) lane_nodes: u64,
    pub(super) replica: Node,
    /// Layer, then position.
    labels: Vec<Vec<Node>>,
    columns: Vec<Tree>,
    keys: Vec<Tree>,
    replicas: Vec<Tree>,
    key_groups: Vec<Tree>,
    data_groups: Vec<Tree>,
    replica_groups: Vec<Tree>,
    rho: Vec<Node>,
}

fn derive(seed: &str, name: &str, index: u64) -> Node {
    Node::derive(
        "holdfast test world",
        &[seed.as_bytes(), name.as_bytes(), &index.to_le_bytes()],
    )
}

impl World {
    /// A sector of 8^levels nodes; the seed decides replica id, data and rho.
    pub(super) fn new(levels: u32, seed: &str) -> Self {
        let nodes = 1u64 << (3 * levels);
        let lane_nodes = nodes / 8;
        let mut world = World {
            bits: PositionBits::of_levels(levels),
            lane_nodes,
            replica: derive(seed, "replica", 0),
            labels: Vec::new(),
            columns: Vec::new(),
            keys: Vec::new(),
            replicas: Vec::new(),
            key_groups: Vec::new(),
            data_groups: Vec::new(),
            replica_groups: Vec::new(),
            rho: (0..64).map(|group| derive(seed, "rho", group)).collect(),
        };
        for layer in 1..=8u32 {
            let mut labels = vec![Node::ZERO; nodes as usize];
            for position in 0..nodes {
                let (lane, index) = (position / lane_nodes, position % lane_nodes);
                let parents = world.parents(position);
                let mut inputs = vec![
                    world.replica,
                    Node::from_scalar(&Scalar::from(position_element(
                        layer,
                        Lane::new(lane as u8).unwrap(),
                        index,
                    ))),
                ];
                inputs.extend(parents.base.map(|parent| {
                    if index == 0 {
                        Node::ZERO
                    } else {
                        labels[(lane * lane_nodes + parent) as usize]
                    }
                }));
                inputs.extend(parents.expander.map(|parent| match world.labels.last() {
                    None => Node::ZERO,
                    Some(before) => before[parent as usize],
                }));
                labels[position as usize] = hash16_nodes(inputs.as_slice().try_into().unwrap());
            }
            world.labels.push(labels);
        }
        let columns: Vec<Node> = (0..nodes)
            .map(|position| hash8_nodes(&world.column(position)))
            .collect();
        let keys = world.labels[7].clone();
        let data: Vec<Node> = (0..nodes).map(|i| derive(seed, "data", i)).collect();
        let group_nodes = (nodes / 64).max(1);
        let replica: Vec<Node> = (0..nodes)
            .map(|i| {
                let rho = world.rho[(i / group_nodes) as usize % 64].to_scalar::<Scalar>();
                let embedded = keys[i as usize].to_scalar::<Scalar>()
                    + rho * data[i as usize].to_scalar::<Scalar>();
                Node::from_scalar(&embedded)
            })
            .collect();
        let trees = |leaves: &[Node], size: u64| -> Vec<Tree> {
            leaves
                .chunks(size as usize)
                .map(|leaves| Tree::build(leaves.to_vec()).unwrap())
                .collect()
        };
        world.columns = trees(&columns, lane_nodes);
        world.keys = trees(&keys, lane_nodes);
        world.replicas = trees(&replica, lane_nodes);
        world.key_groups = trees(&keys, group_nodes);
        world.data_groups = trees(&data, group_nodes);
        world.replica_groups = trees(&replica, group_nodes);
        world
    }

    pub(super) fn parents(&self, position: u64) -> Parents {
        let nodes = 8 * self.lane_nodes;
        let index = position % self.lane_nodes;
        Parents {
            base: from_fn(|i| index.saturating_sub(1 + i as u64 * i as u64)),
            expander: from_fn(|i| (position * 5 + 1 + 29 * i as u64) % nodes),
        }
    }

    fn column(&self, position: u64) -> [Node; 8] {
        from_fn(|layer| self.labels[layer][position as usize])
    }

    pub(super) fn open_column(&self, position: u64) -> Column {
        let (lane, index) = (position / self.lane_nodes, position % self.lane_nodes);
        Column {
            position,
            labels: self.column(position),
            siblings: self.columns[lane as usize].opening(index).unwrap().siblings,
        }
    }

    fn roots(trees: &[Tree]) -> Vec<Node> {
        trees.iter().map(Tree::root).collect()
    }

    pub(super) fn seal(&self, positions: &[u64]) -> Case<SealWitness> {
        let mut packer = Packer::default();
        let mut witness = Vec::new();
        for position in positions {
            let (lane, index) = (position / self.lane_nodes, position % self.lane_nodes);
            let parents = self.parents(*position);
            packer.push(*position, self.bits.sector());
            for parent in parents.base {
                packer.push(parent, self.bits.lane());
            }
            for parent in parents.expander {
                packer.push(parent, self.bits.sector());
            }
            witness.push(SealWitness {
                position: *position,
                base: parents
                    .base
                    .map(|parent| self.open_column(lane * self.lane_nodes + parent))
                    .to_vec(),
                expander: parents
                    .expander
                    .map(|parent| self.open_column(parent))
                    .to_vec(),
                column_siblings: self.open_column(*position).siblings,
                key_siblings: self.keys[lane as usize].opening(index).unwrap().siblings,
            });
        }
        let mut public = vec![self.replica];
        public.extend(Self::roots(&self.columns));
        public.extend(Self::roots(&self.keys));
        public.extend(packer.finish());
        Case { public, witness }
    }

    /// Challenges as (group, index in the group).
    pub(super) fn embed(&self, challenges: &[(usize, u64)]) -> Case<EmbedWitness> {
        let mut packer = Packer::default();
        let mut public = Vec::new();
        let mut witness = Vec::new();
        for (group, index) in challenges {
            packer.push(*index, self.bits.group());
            let trees = [
                &self.key_groups[*group],
                &self.data_groups[*group],
                &self.replica_groups[*group],
            ];
            public.extend(trees.map(Tree::root));
            public.push(self.rho[*group]);
            let [key, data, replica] = trees.map(|tree| tree.opening(*index).unwrap());
            witness.push(EmbedWitness {
                position: *index,
                key,
                data,
                replica,
            });
        }
        public.extend(packer.finish());
        Case { public, witness }
    }

    /// Sixteen indices in the lanes, two for each.
    pub(super) fn spacetime(&self, indices: &[u64; 16]) -> Case<LeafWitness> {
        let mut packer = Packer::default();
        let mut witness = Vec::new();
        for (leaf, index) in indices.iter().enumerate() {
            packer.push(*index, self.bits.lane());
            witness.push(LeafWitness {
                position: *index,
                opening: self.replicas[leaf / 2].opening(*index).unwrap(),
            });
        }
        let mut public = Self::roots(&self.replicas);
        public.extend(packer.finish());
        Case { public, witness }
    }
}

fn scalars(nodes: &[Node]) -> Option<Vec<Scalar>> {
    Some(nodes.iter().map(|node| node.to_scalar()).collect())
}

impl Case<SealWitness> {
    pub(super) fn circuit(&self, bits: PositionBits) -> AnyCircuit<Scalar> {
        AnyCircuit::Seal(SealCircuit {
            bits,
            public: scalars(&self.public),
            challenges: self.witness.iter().cloned().map(Some).collect(),
        })
    }
}

impl Case<EmbedWitness> {
    pub(super) fn circuit(&self, bits: PositionBits) -> AnyCircuit<Scalar> {
        AnyCircuit::Embed(EmbedCircuit {
            bits,
            public: scalars(&self.public),
            challenges: self.witness.iter().cloned().map(Some).collect(),
        })
    }
}

impl Case<LeafWitness> {
    pub(super) fn circuit(&self, bits: PositionBits) -> AnyCircuit<Scalar> {
        AnyCircuit::Spacetime(SpacetimeCircuit {
            bits,
            public: scalars(&self.public),
            leaves: self.witness.iter().cloned().map(Some).collect(),
        })
    }
}
