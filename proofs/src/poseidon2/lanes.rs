//! Eight hashes at once, one in each lane of a sector.

use super::{hash8_nodes, hash16_nodes};
use crate::node::Node;
use std::array::from_fn;

/// One node in each lane.
pub type Row = [Node; 8];

/// Compresses sixteen nodes to one in each lane: input i of lane l is `inputs[i][l]`.
pub fn hash16_lanes(inputs: &[Row; 16]) -> Row {
    from_fn(|lane| hash16_nodes(&from_fn(|i| inputs[i][lane])))
}

/// Compresses eight nodes to one in each lane: input i of lane l is `inputs[i][l]`.
pub fn hash8_lanes(inputs: &[Row; 8]) -> Row {
    from_fn(|lane| hash8_nodes(&from_fn(|i| inputs[i][lane])))
}
