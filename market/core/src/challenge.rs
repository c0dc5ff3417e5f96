//! What a provider must prove, from state and beacons alone. The rules verify exactly these
//! statements and nodes prove exactly these.

use crate::message::GroupLayout;
use crate::parameters::Parameters;
use crate::state::{Embed, Sector};
use crate::units::{Beacon, DealId, Period};
use holdfast_proofs::challenge::{
    ChallengeError, ChangedGroup, EmbedCounts, PieceExtent, embed_challenges, embed_rho,
    seal_challenges, spacetime_challenges,
};
use holdfast_proofs::node::Node;
use holdfast_proofs::sector::{Group, Position, UNIT_NODES};
use holdfast_proofs::statement::{
    EmbedChallenge, EmbedStatement, SealStatement, SpacetimeStatement,
};
use std::collections::BTreeMap;

/// A statement that state does not allow (yet).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeFault {
    /// The replica roots are not committed yet.
    #[error("the embed's replica roots are not committed yet")]
    NoReplica,
    /// A group without its root: state is not what the rules wrote.
    #[error("group {} of the embed has no root", .0.index())]
    NoRoot(Group),
    /// The challenges cannot be drawn.
    #[error(transparent)]
    Challenges(#[from] ChallengeError),
}

/// The seal of a pre-committed sector; `beacon` is that of
/// [`crate::schedule::seal_challenge_height`].
pub fn seal_statement(parameters: &Parameters, sector: &Sector, beacon: &Beacon) -> SealStatement {
    SealStatement {
        class: sector.class,
        replica: sector.replica,
        columns: sector.columns,
        // Until anything is embedded, the replica is the key.
        keys: sector.replica_lanes,
        challenges: seal_challenges(
            beacon.as_bytes(),
            sector.replica,
            sector.class,
            parameters.seal_challenges,
        ),
    }
}

/// Rho of each group of an embed; `beacon` is that of [`crate::schedule::rho_height`].
pub fn rhos(sector: &Sector, embed: &Embed, beacon: &Beacon) -> Vec<(Group, Node)> {
    embed
        .groups
        .iter()
        .map(|group| {
            let rho = embed_rho(
                beacon.as_bytes(),
                sector.key_root,
                group.data_root,
                group.layout.group,
            );
            (group.layout.group, rho)
        })
        .collect()
}

/// The embed of a sector: `rho` is the beacon of [`crate::schedule::rho_height`], `challenge` that
/// of [`crate::schedule::embed_challenge_height`].
///
/// # Errors
/// Replica roots that are not committed yet.
pub fn embed_statement(
    parameters: &Parameters,
    sector: &Sector,
    embed: &Embed,
    rho: &Beacon,
    challenge: &Beacon,
) -> Result<EmbedStatement, ChallengeFault> {
    let replica = embed.replica.as_ref().ok_or(ChallengeFault::NoReplica)?;
    let rhos: BTreeMap<Group, Node> = rhos(sector, embed, rho).into_iter().collect();
    let roots: BTreeMap<Group, Node> = replica
        .roots
        .iter()
        .map(|root| (root.group, root.root))
        .collect();
    let groups: BTreeMap<Group, (Node, Node)> = embed
        .groups
        .iter()
        .map(|group| (group.layout.group, (group.key_root, group.data_root)))
        .collect();
    let counts = EmbedCounts {
        base: parameters.embed_challenges,
        per_piece: parameters.embed_challenges_per_piece,
    };
    let positions = embed_challenges(
        challenge.as_bytes(),
        sector.replica,
        sector.class,
        &changed_groups(embed.groups.iter().map(|group| &group.layout)),
        &counts,
        parameters.embed_challenges_per_proof,
    )?;
    let of = |position: Position| -> Result<EmbedChallenge, ChallengeFault> {
        let group = position.group(sector.class);
        let missing = ChallengeFault::NoRoot(group);
        let (key_root, data_root) = *groups.get(&group).ok_or(missing.clone())?;
        Ok(EmbedChallenge {
            position,
            rho: *rhos.get(&group).ok_or(missing.clone())?,
            key_root,
            data_root,
            replica_root: *roots.get(&group).ok_or(missing)?,
        })
    };
    Ok(EmbedStatement {
        class: sector.class,
        challenges: positions.into_iter().map(of).collect::<Result<_, _>>()?,
    })
}

/// Each subtree's nodes; pieces are numbered in the order in which they first appear.
pub(crate) fn changed_groups<'a>(
    layouts: impl Iterator<Item = &'a GroupLayout>,
) -> Vec<ChangedGroup> {
    let mut numbers: BTreeMap<DealId, u32> = BTreeMap::new();
    layouts
        .map(|layout| ChangedGroup {
            group: layout.group,
            pieces: layout
                .subtrees
                .iter()
                .map(|placed| {
                    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                    PieceExtent {
                        start: u64::from(placed.unit).saturating_mul(UNIT_NODES),
                        length: 8u64.saturating_pow(placed.levels),
                        piece: *numbers.entry(placed.deal).or_insert(next),
                    }
                })
                .collect(),
        })
        .collect()
}

/// The lane roots that a period's deadline challenges: those at its challenge, where an embed was
/// proven inside its window, else those of now.
pub fn spacetime_lanes(sector: &Sector, period: Period) -> [Node; 8] {
    match &sector.window {
        Some(window) if window.period == period => window.lanes,
        _ => sector.replica_lanes,
    }
}

/// The spacetime proof of a sector for a period; `beacon` is that of the window's first height.
pub fn spacetime_statement(sector: &Sector, period: Period, beacon: &Beacon) -> SpacetimeStatement {
    SpacetimeStatement {
        class: sector.class,
        lanes: spacetime_lanes(sector, period),
        challenges: spacetime_challenges(beacon.as_bytes(), sector.replica, sector.class),
    }
}
