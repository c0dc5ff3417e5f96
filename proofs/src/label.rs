//! What a label hashes: `P16(replica id, position, 6 base parents, 8 expander parents)`. Sealing
//! and the seal circuit take the order of inputs and the position's element from here.

use crate::sector::{LAYERS, Lane};

/// Bit of the position element at which the lane begins; the index in the lane is below it.
pub const LANE_BIT: u32 = 32;
/// Bit of the position element at which the layer begins.
pub const LAYER_BIT: u32 = 40;

/// The integer of a label's second input. It packs layer (1 to 8), lane and index in the lane
/// (below 2^27 in the largest class) in disjoint bits, so no two labels of a replica share it.
pub const fn position_element(layer: u32, lane: Lane, in_lane: u64) -> u64 {
    debug_assert!(layer >= 1 && layer as usize <= LAYERS && in_lane < 1 << LANE_BIT);
    (layer as u64) << LAYER_BIT | (lane.index() as u64) << LANE_BIT | in_lane
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sector::SectorClass;
    use std::collections::BTreeSet;

    #[test]
    fn layer_lane_and_node_never_share_an_element() {
        let last = SectorClass::Gib32.lane_nodes() - 1;
        let mut seen = BTreeSet::new();
        for layer in 1..=8 {
            for lane in Lane::all() {
                for node in [0, 1, last] {
                    assert!(seen.insert(position_element(layer, lane, node)));
                }
            }
        }
        assert_eq!(
            position_element(3, Lane::new(5).unwrap(), 7),
            3 << 40 | 5 << 32 | 7
        );
    }
}
