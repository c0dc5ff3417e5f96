//! Whole honest witnesses of something else under this statement's public inputs, and this
//! statement's witness with one thing wrong: all refused.

use super::world::{Case, World};
use crate::circuit::checker::System;
use crate::circuit::{EmbedWitness, LeafWitness, SealWitness};
use crate::node::Node;
use ff::Field;

fn plus_one(node: Node) -> Node {
    Node::from_scalar(&(node.to_scalar::<blstrs::Scalar>() + blstrs::Scalar::ONE))
}

/// Asserts that every constraint holds, or that one does not.
macro_rules! accepted {
    ($world:expr, $case:expr) => {
        assert_eq!(System::of($case.circuit($world.bits)).broken(), None)
    };
}
macro_rules! refused {
    ($world:expr, $case:expr, $what:expr) => {
        assert!(
            System::of($case.circuit($world.bits)).broken().is_some(),
            "accepted: {}",
            $what
        )
    };
}

/// Every public input but the constant counts: none can be another.
fn public_inputs_count<W: Clone>(case: &Case<W>, refused: impl Fn(&Case<W>, &str)) {
    for index in 0..case.public.len() {
        let mut wrong = case.clone();
        wrong.public[index] = plus_one(wrong.public[index]);
        refused(&wrong, &format!("public input {index} changed"));
    }
}

fn under<W: Clone>(public: &Case<W>, witness: &Case<W>) -> Case<W> {
    Case {
        public: public.public.clone(),
        witness: witness.witness.clone(),
    }
}

#[test]
fn the_seal_circuit_refuses_what_belongs_elsewhere() {
    let world = World::new(2, "one");
    let other = World::new(2, "two");
    let honest = world.seal(&[45]);
    accepted!(world, honest);
    accepted!(other, other.seal(&[45]));
    for position in [44, 46, 45 ^ 8, 45 ^ 32, 1, 63] {
        refused!(
            world,
            under(&honest, &world.seal(&[position])),
            format!("the witness of position {position}")
        );
    }
    refused!(
        world,
        under(&honest, &other.seal(&[45])),
        "the witness of another sector"
    );
    // A parent of another node, honest where it stands.
    for slot in 0..6 {
        let mut wrong = honest.clone();
        let base = &mut wrong.witness[0].base;
        let replaced = base[slot].position;
        base[slot] = world.open_column(if replaced == 46 { 47 } else { 46 });
        refused!(world, wrong, format!("base parent {slot} of another node"));
        wrong.witness[0].base[slot].position = replaced;
        refused!(
            world,
            wrong,
            format!("base parent {slot} of another node, under its own position")
        );
        let mut wrong = honest.clone();
        wrong.witness[0].base[slot] = world.open_column(replaced ^ 8);
        refused!(world, wrong, format!("base parent {slot} of another lane"));
    }
    for slot in 0..8 {
        for distance in [1, 8, 24] {
            let mut wrong = honest.clone();
            let replaced = wrong.witness[0].expander[slot].position;
            wrong.witness[0].expander[slot] = world.open_column((replaced + distance) % 64);
            refused!(
                world,
                wrong,
                format!("expander parent {slot} of {distance} on")
            );
            wrong.witness[0].expander[slot].position = replaced;
            refused!(
                world,
                wrong,
                format!("expander parent {slot} of {distance} on, under its own position")
            );
        }
    }
    let mut wrong = honest.clone();
    wrong.witness[0].base.swap(1, 2);
    refused!(world, wrong, "two base parents swapped");
    let mut wrong = honest.clone();
    wrong.witness[0].expander.swap(0, 7);
    refused!(world, wrong, "two expander parents swapped");
}

#[test]
fn the_seal_circuit_refuses_a_wrong_label_path_root_or_replica() {
    let world = World::new(2, "one");
    let honest = world.seal(&[45]);
    public_inputs_count(&honest, |case, what| {
        // A lane's root that no parent lies in is not used by this challenge.
        let unused_columns = |lane: u64| {
            45 / world.lane_nodes != lane
                && world
                    .parents(45)
                    .expander
                    .iter()
                    .all(|parent| parent / world.lane_nodes != lane)
        };
        let changed = (0..case.public.len())
            .find(|i| case.public[*i] != honest.public[*i])
            .unwrap() as u64;
        let unused = match changed {
            1..=8 => unused_columns(changed - 1),
            9..=16 => changed - 9 != 45 / world.lane_nodes,
            _ => false,
        };
        if unused {
            accepted!(world, case);
        } else {
            refused!(world, case, what);
        }
    });
    let change = |what: &str, edit: &dyn Fn(&mut SealWitness)| {
        let mut wrong = honest.clone();
        edit(&mut wrong.witness[0]);
        refused!(world, wrong, what);
    };
    for layer in 0..8 {
        for slot in 0..6 {
            change("a base parent's label", &|witness| {
                let label = &mut witness.base[slot].labels[layer];
                *label = plus_one(*label);
            });
        }
        for slot in 0..8 {
            change("an expander parent's label", &|witness| {
                let label = &mut witness.expander[slot].labels[layer];
                *label = plus_one(*label);
            });
        }
    }
    for sibling in 0..7 {
        change("a sibling of the column", &|witness| {
            let sibling = &mut witness.column_siblings[0][sibling];
            *sibling = plus_one(*sibling);
        });
        change("a sibling of the key", &|witness| {
            let sibling = &mut witness.key_siblings[0][sibling];
            *sibling = plus_one(*sibling);
        });
        change("a sibling of a parent", &|witness| {
            let sibling = &mut witness.base[3].siblings[0][sibling];
            *sibling = plus_one(*sibling);
        });
    }
    change("the node's position", &|witness| witness.position ^= 1);
    change("the node's lane", &|witness| witness.position ^= 8);
}

#[test]
fn a_seal_proof_of_two_challenges_keeps_them_apart() {
    let world = World::new(2, "one");
    let honest = world.seal(&[45, 13]);
    accepted!(world, honest);
    refused!(
        world,
        under(&honest, &world.seal(&[13, 45])),
        "challenges swapped"
    );
    refused!(
        world,
        under(&honest, &world.seal(&[45, 45])),
        "one challenge twice"
    );
}

#[test]
fn the_embed_circuit_refuses_what_belongs_elsewhere() {
    let world = World::new(3, "one");
    let other = World::new(3, "two");
    let honest = world.embed(&[(3, 5), (60, 0)]);
    accepted!(world, honest);
    for (what, witness) in [
        ("another leaf", world.embed(&[(3, 6), (60, 0)])),
        ("another group", world.embed(&[(4, 5), (60, 0)])),
        ("groups swapped", world.embed(&[(60, 0), (3, 5)])),
        ("another sector", other.embed(&[(3, 5), (60, 0)])),
    ] {
        refused!(world, under(&honest, &witness), what);
    }
    let mut moved = under(&honest, &world.embed(&[(3, 6), (60, 0)]));
    moved.witness[0].position = 5;
    refused!(world, moved, "another leaf under this position");
    public_inputs_count(&honest, |case, what| refused!(world, case, what));
    let change = |what: &str, edit: &dyn Fn(&mut EmbedWitness)| {
        let mut wrong = honest.clone();
        edit(&mut wrong.witness[0]);
        refused!(world, wrong, what);
    };
    change("the key", &|w| w.key.leaf = plus_one(w.key.leaf));
    change("the data", &|w| w.data.leaf = plus_one(w.data.leaf));
    change("the replica", &|w| {
        w.replica.leaf = plus_one(w.replica.leaf)
    });
    change("key and replica", &|w| {
        w.key.leaf = plus_one(w.key.leaf);
        w.replica.leaf = plus_one(w.replica.leaf);
    });
    change("a path of the key", &|w| {
        w.key.siblings[0][2] = plus_one(w.key.siblings[0][2]);
    });
    change("data and key swapped", &|w| {
        std::mem::swap(&mut w.key, &mut w.data);
    });
}

#[test]
fn the_spacetime_circuit_refuses_what_belongs_elsewhere() {
    let world = World::new(2, "one");
    let other = World::new(2, "two");
    let indices: [u64; 16] = std::array::from_fn(|leaf| leaf as u64 * 3 % 8);
    let honest = world.spacetime(&indices);
    accepted!(world, honest);
    refused!(
        world,
        under(&honest, &other.spacetime(&indices)),
        "another sector"
    );
    public_inputs_count(&honest, |case, what| refused!(world, case, what));
    for leaf in 0..16 {
        let mut elsewhere = indices;
        elsewhere[leaf] ^= 1;
        let elsewhere = world.spacetime(&elsewhere);
        refused!(world, under(&honest, &elsewhere), "another leaf");
        let mut moved = under(&honest, &elsewhere);
        moved.witness[leaf].position ^= 1;
        refused!(world, moved, "another leaf under this position");
        let mut wrong = honest.clone();
        wrong.witness[leaf] = honest.witness[(leaf + 2) % 16].clone();
        refused!(world, wrong, "a leaf of the next lane");
        wrong.witness[leaf].position = honest.witness[leaf].position;
        refused!(world, wrong, "a leaf of the next lane under this position");
        let change = |what: &str, edit: &dyn Fn(&mut LeafWitness)| {
            let mut wrong = honest.clone();
            edit(&mut wrong.witness[leaf]);
            refused!(world, wrong, what);
        };
        change("the leaf", &|w| w.opening.leaf = plus_one(w.opening.leaf));
        change("a sibling", &|w| {
            w.opening.siblings[0][leaf % 7] = plus_one(w.opening.siblings[0][leaf % 7]);
        });
    }
}
