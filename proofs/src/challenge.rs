//! Challenges: which nodes a proof opens, drawn from the chain's beacon after the commitments.
//!
//! All draws are independent and with replacement, which is what the soundness bound counts.

use crate::graph::below;
use crate::node::{Node, derive_reader};
use crate::replica::ReplicaId;
use crate::sector::{ARITY, Group, Lane, Position, SectorClass};
use std::collections::{BTreeMap, BTreeSet};

/// Spacetime challenges in each lane of a sector.
pub const SPACETIME_PER_LANE: usize = 2;
/// Spacetime challenges of a sector.
pub const SPACETIME_CHALLENGES: usize = SPACETIME_PER_LANE * ARITY;
/// The most challenges that one embed may draw, whatever its parameters and pieces.
pub const MAX_EMBED_CHALLENGES: u64 = 1 << 16;

/// Uniform numbers from a beacon, for one use.
struct Draws(blake3::OutputReader);

impl Draws {
    fn new(context: &str, beacon: &[u8; 32], replica: ReplicaId, class: SectorClass) -> Self {
        let parts: [&[u8]; 3] = [beacon, replica.0.as_bytes(), class.name().as_bytes()];
        Draws(derive_reader(context, &parts))
    }

    fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        below(u64::from_le_bytes(bytes), bound)
    }
}

/// The nodes whose columns and labels a seal proof shows. Node 0 of a lane is never drawn: it has
/// no base parents.
pub fn seal_challenges(
    beacon: &[u8; 32],
    replica: ReplicaId,
    class: SectorClass,
    count: u32,
) -> Vec<Position> {
    let mut draws = Draws::new("holdfast 2026-11 seal challenges", beacon, replica, class);
    let challenged = class.lane_nodes() - 1;
    (0..count)
        .map(|_| {
            let draw = draws.below(challenged * ARITY as u64);
            Position(draw / challenged * class.lane_nodes() + draw % challenged + 1)
        })
        .collect()
}

/// The factor of a group's data: bound to the sector's key, to the data and to a later beacon, so
/// that nobody can choose data, key or factor to fit the others.
pub fn embed_rho(beacon: &[u8; 32], key_root: Node, data_root: Node, group: Group) -> Node {
    Node::derive(
        "holdfast 2026-11 embed rho",
        &[
            beacon,
            key_root.as_bytes(),
            data_root.as_bytes(),
            &[group.index()],
        ],
    )
}

/// A run of nodes of one piece in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceExtent {
    /// The first node, counted in the group.
    pub start: u64,
    /// How many nodes.
    pub length: u64,
    /// The piece's number in the embed: a piece may have extents in several groups.
    pub piece: u32,
}

/// A group that an embed writes, and every piece in it after that, kept ones too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedGroup {
    /// Which group.
    pub group: Group,
    /// The pieces' nodes in it.
    pub pieces: Vec<PieceExtent>,
}

/// How many challenges an embed draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbedCounts {
    /// Over all changed groups, at least.
    pub base: u32,
    /// In each piece of a changed group, at least.
    pub per_piece: u32,
}

/// Why an embed's challenges cannot be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// Nothing changes.
    #[error("an embed must change at least one group")]
    NoGroup,
    /// A group stands twice in the list.
    #[error("group {} is listed twice; list each changed group once", .0.index())]
    GroupTwice(Group),
    /// An extent has no node or leaves its group.
    #[error(
        "piece {} has {} nodes from node {} of group {}, which has only {available} nodes",
        .extent.piece, .extent.length, .extent.start, .group.index()
    )]
    OutsideGroup {
        /// Where it should lie.
        group: Group,
        /// What lies outside.
        extent: PieceExtent,
        /// Nodes in a group of the class.
        available: u64,
    },
    /// More than [`MAX_EMBED_CHALLENGES`], or no challenge at all in a proof.
    #[error(
        "{count} challenges, {per_proof} a proof, cannot be drawn: at most {MAX_EMBED_CHALLENGES}, and at least one a proof"
    )]
    Count {
        /// What the counts and pieces add up to.
        count: u64,
        /// Challenges in one proof.
        per_proof: u32,
    },
}

/// The nodes that an embed proof opens: `base` over the changed groups, then `per_piece` in each
/// piece in order of its number, then more over the changed groups up to whole proofs.
///
/// # Errors
/// A list that names no group, one twice, or nodes outside it, or counts that are too large.
pub fn embed_challenges(
    beacon: &[u8; 32],
    replica: ReplicaId,
    class: SectorClass,
    changed: &[ChangedGroup],
    counts: &EmbedCounts,
    per_proof: u32,
) -> Result<Vec<Position>, ChallengeError> {
    let pieces = extents_by_piece(class, changed)?;
    let drawn = u64::from(counts.base) + u64::from(counts.per_piece) * pieces.len() as u64;
    let error = ChallengeError::Count {
        count: drawn,
        per_proof,
    };
    let total = drawn
        .checked_next_multiple_of(u64::from(per_proof))
        .filter(|total| (1..=MAX_EMBED_CHALLENGES).contains(total))
        .ok_or(error)?;
    let mut draws = Draws::new("holdfast 2026-11 embed challenges", beacon, replica, class);
    let whole: Vec<(u64, u64)> = changed
        .iter()
        .map(|changed| (start_of(class, changed.group), class.group_nodes()))
        .collect();
    let mut challenges = Vec::new();
    let mut draw = |extents: &[(u64, u64)], count: u64| {
        for _ in 0..count {
            challenges.push(draw_in(&mut draws, extents));
        }
    };
    draw(&whole, u64::from(counts.base));
    for extents in pieces.values() {
        draw(extents, u64::from(counts.per_piece));
    }
    draw(&whole, total - drawn);
    Ok(challenges)
}

const fn start_of(class: SectorClass, group: Group) -> u64 {
    group.index() as u64 * class.group_nodes()
}

/// Start and length of each piece's extents in the sector, by the piece's number.
fn extents_by_piece(
    class: SectorClass,
    changed: &[ChangedGroup],
) -> Result<BTreeMap<u32, Vec<(u64, u64)>>, ChallengeError> {
    if changed.is_empty() {
        return Err(ChallengeError::NoGroup);
    }
    let mut seen = BTreeSet::new();
    let mut pieces: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    for ChangedGroup {
        group,
        pieces: extents,
    } in changed
    {
        if !seen.insert(*group) {
            return Err(ChallengeError::GroupTwice(*group));
        }
        for extent in extents {
            let end = extent.start.checked_add(extent.length);
            if extent.length == 0 || end.is_none_or(|end| end > class.group_nodes()) {
                return Err(ChallengeError::OutsideGroup {
                    group: *group,
                    extent: *extent,
                    available: class.group_nodes(),
                });
            }
            let start = start_of(class, *group) + extent.start;
            pieces
                .entry(extent.piece)
                .or_default()
                .push((start, extent.length));
        }
    }
    Ok(pieces)
}

/// A uniform node of the extents together.
fn draw_in(draws: &mut Draws, extents: &[(u64, u64)]) -> Position {
    // Lengths are at most those of 64 groups for each extent, so the sum is far below 2^64.
    let mut left = draws.below(extents.iter().map(|(_, length)| length).sum());
    for (start, length) in extents {
        if left < *length {
            return Position(start + left);
        }
        left -= length;
    }
    // Unreachable: the draw is below the sum of the lengths.
    Position(0)
}

/// The leaves that a sector opens in a deadline: two in each lane, in the lanes' order.
pub fn spacetime_challenges(
    beacon: &[u8; 32],
    replica: ReplicaId,
    class: SectorClass,
) -> [Position; SPACETIME_CHALLENGES] {
    let mut draws = Draws::new(
        "holdfast 2026-11 spacetime challenges",
        beacon,
        replica,
        class,
    );
    let mut lanes = Lane::all().flat_map(|lane| [lane; SPACETIME_PER_LANE]);
    std::array::from_fn(|_| {
        let lane = lanes.next().map_or(0, |lane| u64::from(lane.index()));
        Position(lane * class.lane_nodes() + draws.below(class.lane_nodes()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;

    const CLASS: SectorClass = SectorClass::Mib8;

    fn replica() -> ReplicaId {
        ReplicaId(Node::derive("holdfast test", &[b"replica"]))
    }

    fn changed(group: u8, pieces: &[(u64, u64, u32)]) -> ChangedGroup {
        let extent = |&(start, length, piece)| PieceExtent {
            start,
            length,
            piece,
        };
        ChangedGroup {
            group: Group::new(group).unwrap(),
            pieces: pieces.iter().map(extent).collect(),
        }
    }

    #[test]
    fn seal_challenges_cover_all_lanes_and_never_their_first_node() {
        let challenges = seal_challenges(&[1; 32], replica(), CLASS, 4000);
        let mut lanes = [0; 8];
        for challenge in &challenges {
            assert!(challenge.0 < CLASS.nodes());
            assert_ne!(challenge.in_lane(CLASS), 0);
            lanes[challenge.lane(CLASS).index() as usize] += 1;
        }
        assert!(
            lanes.iter().all(|count| (400..600).contains(count)),
            "{lanes:?}"
        );
        assert_ne!(
            challenges,
            seal_challenges(&[2; 32], replica(), CLASS, 4000)
        );
        // More challenges begin with the same ones.
        assert_eq!(
            challenges[..3],
            seal_challenges(&[1; 32], replica(), CLASS, 3)
        );
    }

    #[test]
    fn spacetime_opens_two_leaves_in_each_lane() {
        let challenges = spacetime_challenges(&[1; 32], replica(), CLASS);
        for (i, challenge) in challenges.iter().enumerate() {
            assert_eq!(challenge.lane(CLASS).index() as usize, i / 2);
        }
    }

    #[test]
    fn an_embed_draws_over_groups_and_in_every_piece_up_to_whole_proofs() {
        let groups = [
            changed(3, &[(0, 512, 7), (512, 512, 1)]),
            changed(9, &[(64, 5, 7)]),
        ];
        let counts = EmbedCounts {
            base: 8,
            per_piece: 3,
        };
        let drawn = embed_challenges(&[1; 32], replica(), CLASS, &groups, &counts, 5).unwrap();
        assert_eq!(drawn.len(), 15);
        let group = |position: &Position| position.group(CLASS).index();
        assert!(
            drawn
                .iter()
                .all(|position| [3, 9].contains(&group(position)))
        );
        for position in &drawn[8..11] {
            assert_eq!(group(position), 3);
            assert!((512..1024).contains(&position.in_group(CLASS)));
        }
        for position in &drawn[11..14] {
            let range = if group(position) == 3 { 0..512 } else { 64..69 };
            assert!(range.contains(&position.in_group(CLASS)));
        }
    }

    #[test]
    fn an_embed_that_makes_no_sense_is_refused() {
        let draw = |groups: &[ChangedGroup], base, per_piece, per_proof| {
            let counts = EmbedCounts { base, per_piece };
            embed_challenges(&[1; 32], replica(), CLASS, groups, &counts, per_proof)
        };
        let one = [changed(1, &[(0, 512, 0)])];
        assert!(draw(&one, 8, 1, 4).is_ok());
        assert_eq!(draw(&[], 8, 1, 4), Err(ChallengeError::NoGroup));
        let twice = [changed(1, &[]), changed(1, &[])];
        assert!(matches!(
            draw(&twice, 8, 1, 4),
            Err(ChallengeError::GroupTwice(_))
        ));
        for (start, length) in [(0, 0), (0, 4097), (4096, 1), (u64::MAX, 2)] {
            let outside = [changed(1, &[(start, length, 0)])];
            let error = draw(&outside, 8, 1, 4).unwrap_err();
            assert!(
                matches!(error, ChallengeError::OutsideGroup { .. }),
                "{error}"
            );
        }
        for (base, per_piece, per_proof) in [
            (8, 1, 0),
            (0, 0, 4),
            (u32::MAX, 1, 4),
            (8, u32::MAX, 4),
            (8, 1, u32::MAX),
        ] {
            let error = draw(&one, base, per_piece, per_proof).unwrap_err();
            assert!(matches!(error, ChallengeError::Count { .. }), "{error}");
        }
    }

    #[test]
    fn rho_depends_on_everything_it_binds() {
        let (a, b) = (Node::derive("t", &[b"a"]), Node::derive("t", &[b"b"]));
        let group = |index| Group::new(index).unwrap();
        let rho = embed_rho(&[1; 32], a, b, group(0));
        assert_ne!(rho, embed_rho(&[2; 32], a, b, group(0)));
        assert_ne!(rho, embed_rho(&[1; 32], b, b, group(0)));
        assert_ne!(rho, embed_rho(&[1; 32], a, a, group(0)));
        assert_ne!(rho, embed_rho(&[1; 32], a, b, group(1)));
    }
}
