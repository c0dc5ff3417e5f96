//! Labels: one layer from the layer before.
//!
//! Expander parents lie anywhere in the layer before, so their rows come from main memory. Which
//! they are does not depend on any label: they are drawn some nodes ahead and asked for then.

use super::{LayerFile, SealError, prefetch};
use crate::graph::{BASE_PARENTS, EXPANDER_PARENTS, ExpanderDraw, Graph};
use crate::label::position_element;
use crate::node::Node;
use crate::poseidon2::lanes::{Row, hash16_lanes};
use crate::sector::Lane;

/// Nodes between drawing a parent and hashing it, a divisor of every lane: about 50 microseconds,
/// many times what memory takes, and 14 KiB of rows, which the nearest cache holds beside a hash.
const AHEAD: usize = 4;

/// In place of parents that there are not: base parents of node 0, expander parents in layer 1.
const NONE: Row = [Node::ZERO; 8];

/// The parents of one node in all lanes.
#[derive(Clone, Copy)]
struct Drawn {
    base: [u64; BASE_PARENTS],
    expander: [ExpanderDraw; EXPANDER_PARENTS],
}

/// Draws the parents of a node and asks for their rows.
fn draw(graph: &Graph, index: u64, previous: &[Row], current: &[Row]) -> Drawn {
    let drawn = Drawn {
        base: graph.base_in_lane(index),
        expander: graph.expander_draws(index),
    };
    for draw in &drawn.expander {
        prefetch::row(previous, draw.in_lane);
    }
    for parent in drawn.base {
        // Those that are not there yet are in the cache when they are.
        prefetch::row(current, parent);
    }
    drawn
}

/// Labels one layer, row by row.
pub(super) fn make_layer(
    graph: &Graph,
    file: LayerFile,
    previous: &[Row],
    current: &mut Vec<Row>,
    mut made: impl FnMut(&Row, u64) -> Result<(), SealError>,
) -> Result<(), SealError> {
    current.clear();
    let nodes = file.class.lane_nodes();
    let mut ahead: [Drawn; AHEAD] =
        std::array::from_fn(|index| draw(graph, index as u64, previous, current));
    let mut inputs = [NONE; 2 + BASE_PARENTS + EXPANDER_PARENTS];
    if let Some(id) = inputs.first_mut() {
        *id = [file.replica.node(); 8];
    }
    let mut index = 0;
    while index < nodes {
        for drawn in &mut ahead {
            fill(&mut inputs, file.layer, index, drawn, previous, current);
            *drawn = draw(graph, (index + AHEAD as u64) % nodes, previous, current);
            let row = hash16_lanes(&inputs);
            current.push(row);
            index += 1;
            made(&row, index)?;
        }
    }
    Ok(())
}

/// What the labels of a node hash, but for the replica id, which stays.
fn fill(
    inputs: &mut [Row; 2 + BASE_PARENTS + EXPANDER_PARENTS],
    layer: u32,
    index: u64,
    drawn: &Drawn,
    previous: &[Row],
    current: &[Row],
) {
    fn at(rows: &[Row], index: u64) -> &Row {
        let row = usize::try_from(index)
            .ok()
            .and_then(|index| rows.get(index));
        row.unwrap_or(&NONE)
    }
    let [_, position, parents @ ..] = inputs;
    for (lane, slot) in Lane::all().zip(position) {
        *slot = Node::from(position_element(layer, lane, index));
    }
    let (base, expander) = parents.split_at_mut(BASE_PARENTS);
    for (slot, parent) in base.iter_mut().zip(drawn.base) {
        *slot = *at(current, parent);
    }
    for (slot, draw) in expander.iter_mut().zip(drawn.expander) {
        // Lane l takes its parent from lane l + turn.
        let (before, from) = at(previous, draw.in_lane).split_at(draw.turn());
        for (slot, node) in slot.iter_mut().zip(from.iter().chain(before)) {
            *slot = *node;
        }
    }
}
