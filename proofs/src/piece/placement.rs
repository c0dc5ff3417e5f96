//! Where pieces lie in a group, and the group's data root from their roots alone.

use crate::node::Node;
use crate::sector::{SectorClass, UNIT_LEVELS};
use crate::tree::{root_of, zero_root};

/// One subtree of a piece at its place in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubtreePlacement {
    /// The subtree's root.
    pub root: Node,
    /// Its levels.
    pub levels: u32,
    /// Where it starts, in units of 512 nodes from the group's start; a multiple of its size.
    pub unit: u32,
}

/// Why subtrees do not make a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Smaller than a unit or larger than the group.
    #[error("a subtree of {levels} levels does not fit in a group of {group_levels} levels")]
    Levels {
        /// The subtree's levels.
        levels: u32,
        /// The group's.
        group_levels: u32,
    },
    /// Not at a multiple of its own size.
    #[error(
        "a subtree of {levels} levels cannot start at unit {unit}; it must be aligned to its size"
    )]
    Unaligned {
        /// The subtree's levels.
        levels: u32,
        /// Where it was put.
        unit: u32,
    },
    /// After the group's end.
    #[error("a subtree at unit {unit} lies outside its group of {units} units")]
    OutsideGroup {
        /// Where it was put.
        unit: u32,
        /// Units in the group.
        units: u64,
    },
    /// On another subtree.
    #[error("the subtree at unit {unit} overlaps the one before it")]
    Overlap {
        /// Where the second one starts.
        unit: u32,
    },
}

/// The root of a group's data: the placed subtrees, and zeros everywhere else.
///
/// # Errors
/// A subtree that is unaligned, outside the group, or over another.
pub fn group_data_root(
    class: SectorClass,
    placements: &[SubtreePlacement],
) -> Result<Node, PlacementError> {
    let group_levels = class.group_levels();
    let units = class.group_units();
    let mut sorted = placements.to_vec();
    sorted.sort_by_key(|placement| placement.unit);
    let mut end = 0;
    for SubtreePlacement { levels, unit, .. } in sorted.iter().copied() {
        if !(UNIT_LEVELS..=group_levels).contains(&levels) {
            return Err(PlacementError::Levels {
                levels,
                group_levels,
            });
        }
        let (start, size) = (u64::from(unit), 1u64 << (3 * (levels - UNIT_LEVELS)));
        if start % size != 0 {
            return Err(PlacementError::Unaligned { levels, unit });
        }
        if start >= units {
            return Err(PlacementError::OutsideGroup { unit, units });
        }
        if start < end {
            return Err(PlacementError::Overlap { unit });
        }
        // Aligned and starting inside, so it ends inside: the group's size is a multiple of it.
        end = start + size;
    }
    Ok(root_between(&sorted, group_levels, 0))
}

/// The root of the aligned block of `levels` levels at unit `start`, from the placements in it.
fn root_between(placements: &[SubtreePlacement], levels: u32, start: u64) -> Node {
    match placements {
        // Levels are at most those of a group, for which there is a root of zeros.
        [] => zero_root(levels).unwrap_or_default(),
        [only] if only.levels == levels => only.root,
        _ => {
            let size = 1u64 << (3 * levels.saturating_sub(1 + UNIT_LEVELS));
            let mut rest = placements;
            let children = std::array::from_fn(|child| {
                let (from, to) = (
                    start + child as u64 * size,
                    start + (child as u64 + 1) * size,
                );
                let inside = rest.partition_point(|placement| u64::from(placement.unit) < to);
                let (here, after) = rest.split_at(inside);
                rest = after;
                root_between(here, levels.saturating_sub(1), from)
            });
            root_of(&children)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;
    use crate::tree::Tree;
    use proptest::prelude::*;

    const CLASS: SectorClass = SectorClass::Mib64;

    fn placement(levels: u32, unit: u32) -> SubtreePlacement {
        SubtreePlacement {
            root: Node::derive("holdfast test", &[&unit.to_le_bytes()]),
            levels,
            unit,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]

        #[test]
        fn the_root_is_that_of_all_the_nodes(filled in 0u64..=u64::MAX, coarse in any::<u8>()) {
            // Eighths of the group are either one subtree of four levels or units of three.
            let mut nodes = vec![Node::ZERO; CLASS.group_nodes() as usize];
            let mut placements = Vec::new();
            let mut fill = |levels: u32, unit: u32| {
                let (start, size) = (unit as usize * 512, 1usize << (3 * levels));
                for (i, node) in nodes[start..start + size].iter_mut().enumerate() {
                    *node = Node::from_bytes(
                        std::array::from_fn(|b| if b < 8 { (i as u64 + u64::from(unit)).to_le_bytes()[b] } else { 0 })
                    ).unwrap();
                }
                let root = Tree::build(nodes[start..start + size].to_vec()).unwrap().root();
                placements.push(SubtreePlacement { root, levels, unit });
            };
            // Few of them: the naive root hashes every node.
            for unit in (0..64u32).filter(|unit| filled >> unit & 1 == 1).take(9) {
                if coarse >> (unit / 8) & 1 == 0 { fill(3, unit) }
            }
            for eighth in (0..8u32).filter(|eighth| coarse >> eighth & 1 == 1).take(2) {
                fill(4, eighth * 8);
            }
            placements.reverse();
            let root = group_data_root(CLASS, &placements).unwrap();
            prop_assert_eq!(root, Tree::build(nodes).unwrap().root());
        }
    }

    #[test]
    fn placements_that_do_not_fit_are_refused() {
        let root = |placements: &[SubtreePlacement]| group_data_root(CLASS, placements);
        assert_eq!(root(&[]), Ok(zero_root(CLASS.group_levels()).unwrap()));
        let whole = placement(5, 0);
        assert_eq!(root(&[whole]), Ok(whole.root));
        for levels in [0, 2, 6, 40] {
            let error = PlacementError::Levels {
                levels,
                group_levels: 5,
            };
            assert_eq!(root(&[placement(levels, 0)]), Err(error));
        }
        let unaligned = PlacementError::Unaligned { levels: 4, unit: 4 };
        assert_eq!(root(&[placement(4, 4)]), Err(unaligned));
        let outside = PlacementError::OutsideGroup {
            unit: 64,
            units: 64,
        };
        assert_eq!(root(&[placement(3, 64)]), Err(outside));
        for (a, b) in [
            (placement(4, 8), placement(3, 9)),
            (placement(3, 8), placement(3, 8)),
        ] {
            assert_eq!(root(&[a, b]), Err(PlacementError::Overlap { unit: b.unit }));
        }
        // A large one over a small one at the same place, in either order.
        let over = [placement(3, 8), placement(4, 8)];
        assert_eq!(root(&over), Err(PlacementError::Overlap { unit: 8 }));
    }
}
