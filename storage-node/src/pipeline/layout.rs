//! Which pieces go where: the room that the service may promise, and the next embed of a sector.

use super::View;
use crate::error::NodeError;
use crate::journal::ShardRecord;
use crate::placement::{Occupancy, Piece, Pieces, occupancy};
use holdfast_market_core::message::{EmbedCommit, GroupLayout, LaneGroups, SectorRoots};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::state::{DealStatus, Sector};
use holdfast_market_core::units::{ByteCount, DealId, SectorNumber};
use holdfast_proofs::node::Node;
use holdfast_proofs::piece::PieceShape;
use holdfast_proofs::sector::{Group, Lane};
use std::collections::{BTreeMap, BTreeSet};

/// Deals that one embed takes at most.
const DEALS_PER_EMBED: usize = 64;

/// A shard as a piece.
pub(super) fn piece_of(
    parameters: &Parameters,
    deal: DealId,
    record: &ShardRecord,
) -> Result<Piece, NodeError> {
    let receipt = &record.receipt.receipt;
    let subtrees = subtrees_of(parameters, deal, receipt.length)?;
    Ok(Piece {
        deal,
        tier: receipt.tier,
        subtrees,
    })
}

fn subtrees_of(
    parameters: &Parameters,
    deal: DealId,
    length: ByteCount,
) -> Result<Vec<u32>, NodeError> {
    let shape = PieceShape::of(length.0, parameters.piece_levels)
        .map_err(|error| NodeError::State(format!("shard {deal}: {error}")))?;
    Ok(shape.subtrees().to_vec())
}

/// The pieces of every deal that binds.
pub(super) fn living_pieces(parameters: &Parameters, view: &View) -> Result<Pieces, NodeError> {
    view.deals
        .values()
        .filter(|deal| view.is_living(deal.id))
        .map(|deal| {
            let piece = Piece {
                deal: deal.id,
                tier: deal.terms.tier,
                subtrees: subtrees_of(parameters, deal.id, deal.length)?,
            };
            Ok((deal.id, piece))
        })
        .collect()
}

/// What stands in a sector, an embed under way included.
pub(super) fn standing(sector: &Sector, pieces: &Pieces) -> Result<Occupancy, NodeError> {
    let layouts: Vec<GroupLayout> = View::layouts(sector).cloned().collect();
    occupancy(sector.class, &layouts, pieces)
        .map_err(|error| NodeError::State(format!("sector {}: {error}", sector.id)))
}

/// Every deal that some layout of the ledger names.
pub(super) fn placed_deals(view: &View) -> BTreeSet<DealId> {
    view.sectors
        .values()
        .flat_map(View::layouts)
        .flat_map(|layout| layout.subtrees.iter().map(|placed| placed.deal))
        .collect()
}

/// The next embed of a sector: its accepted deals that wait, placed; `None` where there are none.
/// `homes` says for which sector each shard's room was set aside.
pub(super) fn next_embed(
    parameters: &Parameters,
    view: &View,
    sector: &Sector,
    homes: &BTreeMap<DealId, SectorNumber>,
    (keys, key_groups): (&[Node; 8], &[Node; 64]),
) -> Result<Option<EmbedCommit>, NodeError> {
    let pieces = living_pieces(parameters, view)?;
    let mut standing = standing(sector, &pieces)?;
    let placed = placed_deals(view);
    let mut waiting: Vec<&Piece> = view
        .deals
        .values()
        .filter(|deal| {
            deal.deal.status == DealStatus::Accepted
                && deal.deal.sector.is_none()
                && !placed.contains(&deal.id)
                && homes.get(&deal.id) == Some(&sector.id.number)
        })
        .filter_map(|deal| pieces.get(&deal.id))
        .collect();
    // The longest first: what is left over is then of any use.
    waiting.sort_by_key(|piece| (std::cmp::Reverse(piece.units()), piece.deal));
    let mut touched: BTreeSet<Group> = BTreeSet::new();
    for piece in waiting.into_iter().take(DEALS_PER_EMBED) {
        match standing.place(piece) {
            Some(groups) => touched.extend(groups),
            None => {
                tracing::warn!(deal = %piece.deal, sector = %sector.id, "an accepted piece finds no place")
            }
        }
    }
    if touched.is_empty() {
        return Ok(None);
    }
    Ok(Some(EmbedCommit {
        sector: sector.id,
        groups: touched
            .iter()
            .map(|group| standing.layout(*group))
            .collect(),
        keys: roots_of(keys, key_groups, &touched),
    }))
}

/// Lane roots, and the group roots of the lanes that are touched.
pub(super) fn roots_of(
    lanes: &[Node; 8],
    groups: &[Node; 64],
    touched: &BTreeSet<Group>,
) -> SectorRoots {
    let (by_lane, _) = groups.as_chunks::<8>();
    let touched: BTreeSet<Lane> = touched.iter().map(|group| group.lane()).collect();
    SectorRoots {
        lanes: *lanes,
        groups: touched
            .into_iter()
            .filter_map(|lane| {
                let roots = *by_lane.get(usize::from(lane.index()))?;
                Some(LaneGroups { lane, roots })
            })
            .collect(),
    }
}
