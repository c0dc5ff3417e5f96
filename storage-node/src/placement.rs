//! Where pieces lie in a sector: aligned subtrees in groups, hot and cold apart.
//!
//! Subtrees are powers of eight units long and aligned to their length, so a group is a buddy
//! allocator: a subtree goes into the smallest free block that holds it. With lengths that divide
//! each other this loses no room to the order in which pieces come.

use holdfast_market_core::message::{GroupLayout, PlacedSubtree};
use holdfast_market_core::quote::MAX_SECTOR_DEALS;
use holdfast_market_core::receipt::Tier;
use holdfast_market_core::units::DealId;
use holdfast_proofs::sector::{Group, SectorClass, UNIT_LEVELS};
use std::collections::{BTreeMap, BTreeSet};

/// Pieces that may share one group (DESIGN, section 2).
pub const PIECES_PER_GROUP: usize = 64;

/// A piece as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Whose.
    pub deal: DealId,
    /// Hot and cold never share a group.
    pub tier: Tier,
    /// Levels of its subtrees, in the order of its roots (largest first).
    pub subtrees: Vec<u32>,
}

impl Piece {
    /// Units that the piece takes.
    pub fn units(&self) -> u64 {
        self.subtrees
            .iter()
            .map(|levels| units_of(*levels).unwrap_or(u64::MAX))
            .fold(0, u64::saturating_add)
    }
}

/// Why a layout of the ledger cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// A subtree lies outside its group or not at a multiple of its length.
    #[error("subtree {subtree} of {deal} at unit {unit} of group {group} is out of place")]
    OutOfPlace {
        /// Whose.
        deal: DealId,
        /// Which.
        subtree: u32,
        /// Where.
        group: u8,
        /// At which unit.
        unit: u32,
    },
    /// Two subtrees overlap.
    #[error("subtree {subtree} of {deal} overlaps another in group {group}")]
    Overlap {
        /// Whose.
        deal: DealId,
        /// Which.
        subtree: u32,
        /// Where.
        group: u8,
    },
    /// Hot and cold pieces in one group.
    #[error("group {0} would hold hot and cold pieces")]
    MixedTiers(u8),
}

/// Units in a subtree of that many levels; none below the smallest subtree.
pub fn units_of(levels: u32) -> Option<u64> {
    1u64.checked_shl(levels.checked_sub(UNIT_LEVELS)?.checked_mul(3)?)
}

/// One group's units.
#[derive(Clone, Debug)]
struct GroupMap {
    group: Group,
    tier: Option<Tier>,
    taken: Vec<bool>,
    subtrees: Vec<PlacedSubtree>,
    deals: BTreeSet<DealId>,
    /// Deals that are over. The ledger lists and counts them until the group is written anew.
    over: BTreeSet<DealId>,
}

impl GroupMap {
    fn free(&self) -> u64 {
        self.taken.iter().filter(|taken| !**taken).count() as u64
    }

    fn admits(&self, deal: DealId, tier: Tier) -> bool {
        self.tier.is_none_or(|own| own == tier)
            && (self.deals.len() < PIECES_PER_GROUP || self.deals.contains(&deal))
    }

    /// The start of the smallest free block of at least `length` units, and that block's length.
    fn best_block(&self, length: u64) -> Option<(u64, u64)> {
        self.blocks()
            .into_iter()
            .filter(|(_, block)| *block >= length)
            .min_by_key(|(start, block)| (*block, *start))
    }

    /// The free units as the largest aligned blocks that they make: start and length of each.
    fn blocks(&self) -> Vec<(u64, u64)> {
        let total = self.taken.len() as u64;
        let mut blocks = Vec::new();
        let mut start = 0;
        while start < total {
            let (mut block, mut size) = (0, 1);
            while size <= total && start.is_multiple_of(size) && self.is_free(start, size) {
                block = size;
                size *= 8;
            }
            if block > 0 {
                blocks.push((start, block));
            }
            start += block.max(1);
        }
        blocks
    }

    fn is_free(&self, start: u64, length: u64) -> bool {
        self.range(start, length).is_some_and(|range| {
            self.taken
                .get(range)
                .is_some_and(|units| !units.contains(&true))
        })
    }

    fn range(&self, start: u64, length: u64) -> Option<std::ops::Range<usize>> {
        let end = start.checked_add(length)?;
        Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    fn take(
        &mut self,
        tier: Tier,
        placed: PlacedSubtree,
        length: u64,
    ) -> Result<(), PlacementError> {
        let group = self.group.index();
        let start = u64::from(placed.unit);
        let (deal, subtree) = (placed.deal, placed.subtree);
        if self.tier.is_some_and(|own| own != tier) {
            return Err(PlacementError::MixedTiers(group));
        }
        let range = self.range(start, length);
        let units = range.and_then(|range| self.taken.get_mut(range));
        let Some(units) = units.filter(|_| length > 0 && start % length == 0) else {
            return Err(PlacementError::OutOfPlace {
                deal,
                subtree,
                group,
                unit: placed.unit,
            });
        };
        if units.contains(&true) {
            return Err(PlacementError::Overlap {
                deal,
                subtree,
                group,
            });
        }
        units.fill(true);
        self.tier = Some(tier);
        self.deals.insert(deal);
        self.subtrees.push(placed);
        Ok(())
    }
}

/// Which units of a sector are taken, and by what.
#[derive(Clone, Debug)]
pub struct Occupancy {
    class: SectorClass,
    groups: Vec<GroupMap>,
}

impl Occupancy {
    /// A sector that holds nothing.
    pub fn empty(class: SectorClass) -> Self {
        let units = usize::try_from(class.group_units()).unwrap_or(0);
        let groups = Group::all()
            .map(|group| GroupMap {
                group,
                tier: None,
                taken: vec![false; units],
                subtrees: Vec::new(),
                deals: BTreeSet::new(),
                over: BTreeSet::new(),
            })
            .collect();
        Self { class, groups }
    }

    /// The sector's class.
    pub fn class(&self) -> SectorClass {
        self.class
    }

    /// Units that nothing takes.
    pub fn free_units(&self) -> u64 {
        self.groups.iter().map(GroupMap::free).sum()
    }

    /// Units that a piece of one tier could take: groups of the other tier do not count, and a
    /// sector with all the deals that the ledger lets it have takes no more.
    pub fn free_units_for(&self, tier: Tier) -> u64 {
        if !self.takes_a_deal() {
            return 0;
        }
        self.groups
            .iter()
            .filter(|group| group.tier.is_none_or(|own| own == tier))
            .map(GroupMap::free)
            .sum()
    }

    /// Whether one deal more may live here, as the ledger counts.
    fn takes_a_deal(&self) -> bool {
        count(self.groups.iter().flat_map(|group| &group.deals)) < MAX_SECTOR_DEALS
    }

    /// Deals that the ledger would count here.
    fn listed(&self) -> u64 {
        let groups = self.groups.iter();
        count(groups.flat_map(|group| group.deals.union(&group.over)))
    }

    /// Units of the longest piece of one tier that fits now, where a piece's largest subtree has
    /// `max_levels` levels.
    pub fn largest_units(&self, tier: Tier, max_levels: u32) -> u64 {
        let Some(cap) = units_of(max_levels).filter(|_| self.takes_a_deal()) else {
            return 0;
        };
        let mut blocks: BTreeMap<u64, u64> = BTreeMap::new();
        let usable = |group: &&GroupMap| {
            group.tier.is_none_or(|own| own == tier) && group.deals.len() < PIECES_PER_GROUP
        };
        for group in self.groups.iter().filter(usable) {
            for (_, length) in group.blocks() {
                let (size, count) = if length > cap {
                    (cap, length / cap)
                } else {
                    (length, 1)
                };
                let entry = blocks.entry(size).or_default();
                *entry = entry.saturating_add(count);
            }
        }
        // A piece has at most seven subtrees of each length but the largest.
        blocks
            .into_iter()
            .map(|(size, count)| {
                size.saturating_mul(if size == cap { count } else { count.min(7) })
            })
            .fold(0, u64::saturating_add)
    }

    /// Takes over one subtree that stands on the ledger.
    ///
    /// # Errors
    /// A place outside the group, unaligned, taken, or in a group of the other tier.
    pub fn occupy(
        &mut self,
        group: Group,
        tier: Tier,
        placed: PlacedSubtree,
        levels: u32,
    ) -> Result<(), PlacementError> {
        let out_of_place = PlacementError::OutOfPlace {
            deal: placed.deal,
            subtree: placed.subtree,
            group: group.index(),
            unit: placed.unit,
        };
        let length = units_of(levels).ok_or_else(|| out_of_place.clone())?;
        self.groups
            .get_mut(usize::from(group.index()))
            .ok_or(out_of_place)?
            .take(tier, placed, length)
    }

    /// Places a whole piece; where it does not fit, nothing changes and `None` is answered.
    /// Otherwise the groups that it went into.
    pub fn place(&mut self, piece: &Piece) -> Option<BTreeSet<Group>> {
        if piece.units() > self.free_units_for(piece.tier) {
            return None;
        }
        // A group that is written sheds the deals that are over: where the sector lists too many,
        // the piece goes where there are such.
        let (tried, touched) = self
            .with(piece, |_| true)
            .or_else(|| self.with(piece, |map| !map.over.is_empty()))?;
        *self = tried;
        Some(touched)
    }

    /// The same with a piece in groups of a choice, and the groups that it went into.
    fn with(
        &self,
        piece: &Piece,
        may: impl Fn(&GroupMap) -> bool,
    ) -> Option<(Self, BTreeSet<Group>)> {
        let mut tried = self.clone();
        let mut touched = BTreeSet::new();
        for (index, levels) in (0u32..).zip(&piece.subtrees) {
            let length = units_of(*levels)?;
            let (map, start) = tried
                .groups
                .iter_mut()
                .filter(|map| map.admits(piece.deal, piece.tier))
                .filter(|map| touched.contains(&map.group) || may(map))
                .filter_map(|map| {
                    let (start, block) = map.best_block(length)?;
                    Some((block, map, start))
                })
                // Of equal blocks, the one in a group that this piece or others are in already.
                .min_by_key(|(block, map, start)| (*block, map.deals.is_empty(), map.group, *start))
                .map(|(_, map, start)| (map, start))?;
            let placed = PlacedSubtree {
                deal: piece.deal,
                subtree: index,
                levels: *levels,
                unit: u32::try_from(start).ok()?,
            };
            touched.insert(map.group);
            map.take(piece.tier, placed, length).ok()?;
            map.over.clear();
        }
        (tried.listed() <= MAX_SECTOR_DEALS).then_some((tried, touched))
    }

    /// What a group holds, as the ledger lists it.
    pub fn layout(&self, group: Group) -> GroupLayout {
        let mut subtrees = self
            .groups
            .get(usize::from(group.index()))
            .map(|map| map.subtrees.clone())
            .unwrap_or_default();
        subtrees.sort_by_key(|placed| placed.unit);
        GroupLayout { group, subtrees }
    }
}

/// The levels of every living piece's subtrees and its tier, by deal: what is needed to read a
/// layout.
pub type Pieces = BTreeMap<DealId, Piece>;

/// How many different ones.
fn count<'a>(deals: impl Iterator<Item = &'a DealId>) -> u64 {
    deals.collect::<BTreeSet<_>>().len() as u64
}

/// A sector's occupancy from layouts of the ledger; pieces that `pieces` does not list (expired
/// ones) leave their room free, and count as deals of the sector until their group is written.
///
/// # Errors
/// Layouts that no rule would have let stand.
pub fn occupancy(
    class: SectorClass,
    layouts: &[GroupLayout],
    pieces: &Pieces,
) -> Result<Occupancy, PlacementError> {
    let mut occupancy = Occupancy::empty(class);
    for layout in layouts {
        for placed in &layout.subtrees {
            let Some(piece) = pieces.get(&placed.deal) else {
                let map = occupancy.groups.get_mut(usize::from(layout.group.index()));
                if let Some(map) = map {
                    map.over.insert(placed.deal);
                }
                continue;
            };
            let levels = usize::try_from(placed.subtree)
                .ok()
                .and_then(|index| piece.subtrees.get(index))
                .copied()
                .unwrap_or(0);
            occupancy.occupy(layout.group, piece.tier, placed.clone(), levels)?;
        }
    }
    Ok(occupancy)
}

#[cfg(test)]
mod tests;
