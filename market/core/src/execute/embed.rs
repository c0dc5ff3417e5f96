//! Embedding: pieces into groups of a sealed sector, in the five steps of DESIGN, section 2.

use super::Context;
use super::deal::shape_of;
use super::due::Due;
use crate::challenge;
use crate::message::{EmbedCommit, GroupLayout, PlacedSubtree, ReplicaCommit, SectorRoots};
use crate::quote::MAX_SECTOR_DEALS;
use crate::refusal::{Refusal, Stop, require, require_equal, require_range};
use crate::schedule;
use crate::state::{
    Deal, DealStatus, Embed, EmbedGroup, EmbedReplica, Sector, SectorStatus, WindowRoots,
};
use crate::units::{Address, DealId, Period, SectorId};
use crate::view::ReadView;
use holdfast_proofs::node::Node;
use holdfast_proofs::piece::{SubtreePlacement, group_data_root};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::sector::{GROUPS, Group, Lane};
use holdfast_proofs::statement::Statement;
use holdfast_proofs::tree::root_of;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Pieces in a group, at most.
const MAX_PIECES: usize = 64;

/// The deals of a layout, read once.
type Deals = BTreeMap<DealId, Deal>;

impl<V: ReadView> Context<'_, V> {
    /// Step 1: the piece lists of the groups that will be written.
    pub(super) fn commit_embed(
        &mut self,
        sender: &Address,
        commit: &EmbedCommit,
    ) -> Result<(), Stop> {
        let id = commit.sector;
        let mut provider = self.by_worker(id.provider, sender)?;
        let mut sector = self.ledger.sector(id)?;
        let SectorStatus::Active { .. } = sector.status else {
            return Err(sector.refuse_state("active"));
        };
        require(sector.embed.is_none(), || {
            Refusal::Exists(format!("an embed of sector {id}"))
        })?;
        let count = commit.groups.len() as u64;
        require_range("the number of groups", count, 1, GROUPS as u64)?;
        require(commit.groups.is_sorted_by(|a, b| a.group < b.group), || {
            Refusal::NotAscending("groups")
        })?;
        let written: Vec<Group> = commit.groups.iter().map(|layout| layout.group).collect();
        let keys = group_roots(sector.key_root, &commit.keys, &written, "the key roots")?;
        let mut deals = self.check_layouts(&sector, &commit.groups)?;
        let mut groups = Vec::with_capacity(commit.groups.len());
        for layout in &commit.groups {
            groups.push(EmbedGroup {
                layout: layout.clone(),
                key_root: root_in(&keys, layout.group)?,
                data_root: data_root(&sector, layout, &deals, self.parameters.piece_levels)?,
            });
        }
        let parameters = &self.parameters;
        // What acceptances have taken of the least collateral does not keep them from their embed.
        let mut least = parameters.economy.minimum_collateral;
        for (id, deal) in &mut deals {
            if deal.status == DealStatus::Accepted {
                least = least.saturating_sub(deal.locked);
                deal.sector = Some(sector.id.number);
                self.ledger.put_deal(id, deal)?;
            }
        }
        let deposit = parameters.economy.embed_deposit;
        provider.lock_above(deposit, least)?;
        self.ledger.put_provider(&provider)?;
        let embed = Embed {
            committed: self.height,
            groups,
            replica: None,
            deposit,
        };
        self.schedule(Due::Embed(id), schedule::embed_due(parameters, &embed));
        sector.embed = Some(embed);
        self.ledger.put_sector(&sector)
    }

    /// What the sector will hold: each piece of the written groups whole, every live piece still
    /// there, hot and cold apart. The deals of the written groups.
    fn check_layouts(&self, sector: &Sector, written: &[GroupLayout]) -> Result<Deals, Stop> {
        let mut deals = Deals::new();
        for layout in written {
            let mut tiers = Vec::new();
            let mut pieces = BTreeSet::new();
            for placed in &layout.subtrees {
                pieces.insert(placed.deal);
                let deal = match deals.entry(placed.deal) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => {
                        let deal = self.ledger.deal(&placed.deal)?;
                        check_embeddable(sector, &placed.deal, &deal)?;
                        unknown.insert(deal)
                    }
                };
                tiers.push(deal.tier);
            }
            let refuse = |why: &str| Refusal::Layout {
                group: layout.group,
                why: why.into(),
            };
            require(pieces.len() <= MAX_PIECES, || {
                refuse("it would hold more than 64 pieces")
            })?;
            require(
                tiers.windows(2).all(|pair| pair.first() == pair.last()),
                || refuse("hot and cold pieces cannot share a group"),
            )?;
        }
        // Live pieces of a rewritten group must be in the sector afterwards, too.
        let rewritten: BTreeSet<Group> = written.iter().map(|layout| layout.group).collect();
        let (replaced, untouched): (Vec<&GroupLayout>, Vec<&GroupLayout>) = sector
            .groups
            .iter()
            .partition(|layout| rewritten.contains(&layout.group));
        let mut whole = deals.clone();
        for placed in replaced.iter().flat_map(|layout| &layout.subtrees) {
            if let Entry::Vacant(unknown) = whole.entry(placed.deal) {
                let deal = self.ledger.deal(&placed.deal)?;
                // A deal that was lost and came back to its provider lies where it was written since.
                if deal.status.is_held() && lies_in(&deal, sector.id) {
                    unknown.insert(deal);
                }
            }
        }
        let mut counts: BTreeMap<(DealId, u32), u32> = BTreeMap::new();
        let after: Vec<&GroupLayout> = untouched.into_iter().chain(written).collect();
        let placed = after.iter().flat_map(|layout| &layout.subtrees);
        let all: BTreeSet<DealId> = placed.map(|placed| placed.deal).collect();
        require_range(
            "the number of deals in the sector",
            all.len() as u64,
            0,
            MAX_SECTOR_DEALS,
        )?;
        for layout in after {
            let is_written = rewritten.contains(&layout.group);
            for placed in &layout.subtrees {
                // Where it lay before it was lost and came back does not count.
                let is_new = |deal: &Deal| deal.status == DealStatus::Accepted;
                if !is_written && deals.get(&placed.deal).is_some_and(is_new) {
                    continue;
                }
                let count = counts.entry((placed.deal, placed.subtree)).or_default();
                *count = count.saturating_add(1);
            }
        }
        for (id, deal) in &whole {
            for subtree in 0..u32::try_from(deal.piece_roots.len()).unwrap_or(u32::MAX) {
                let count = counts.get(&(*id, subtree)).copied().unwrap_or(0);
                require(count == 1, || Refusal::Mismatch {
                    what: "the number of places of a piece's subtree",
                    found: format!("{count} for subtree {subtree} of deal {id}"),
                    expected: "1: every subtree of a piece lies in its sector once".into(),
                })?;
            }
        }
        Ok(deals)
    }

    /// Step 3: the replica roots of the written groups.
    pub(super) fn commit_replica(
        &mut self,
        sender: &Address,
        commit: &ReplicaCommit,
    ) -> Result<(), Stop> {
        let id = commit.sector;
        self.by_worker(id.provider, sender)?;
        let mut sector = self.ledger.sector(id)?;
        let parameters = &self.parameters;
        let Some(mut embed) = sector.embed.take().filter(|embed| embed.replica.is_none()) else {
            return Err(sector.refuse_state("an embed whose replica is not committed"));
        };
        let due = schedule::embed_due(parameters, &embed);
        let rho = schedule::rho_height(parameters, &embed);
        self.require_between("the replica's commitment", rho, due)?;
        let written: Vec<Group> = embed
            .groups
            .iter()
            .map(|group| group.layout.group)
            .collect();
        let named: Vec<Group> = commit.after.iter().map(|after| after.group).collect();
        require(written == named, || Refusal::Mismatch {
            what: "the list of groups",
            found: indices(&named),
            expected: indices(&written),
        })?;
        let mut groups = group_roots(
            sector.replica_root,
            &commit.before,
            &written,
            "the replica roots",
        )?;
        for after in &commit.after {
            if let Some(root) = groups
                .get_mut(&after.group.lane())
                .and_then(|roots| roots.get_mut(usize::from(after.group.index() % 8)))
            {
                *root = after.root;
            }
        }
        let mut lanes = sector.replica_lanes;
        for (lane, roots) in &groups {
            if let Some(root) = lanes.get_mut(usize::from(lane.index())) {
                *root = root_of(roots);
            }
        }
        embed.replica = Some(EmbedReplica {
            committed: self.height,
            roots: commit.after.clone(),
            lanes,
        });
        let next = schedule::embed_due(parameters, &embed);
        self.unschedule(Due::Embed(id), due);
        self.schedule(Due::Embed(id), next);
        sector.embed = Some(embed);
        self.ledger.put_sector(&sector)
    }

    /// Step 5: the proof.
    pub(super) fn prove_embed(
        &mut self,
        sender: &Address,
        id: SectorId,
        proofs: &[ProofBytes],
    ) -> Result<(), Stop> {
        let parameters = &self.parameters;
        self.by_worker(id.provider, sender)?;
        let mut sector = self.ledger.sector(id)?;
        let Some(embed) = sector.embed.take() else {
            return Err(sector.refuse_state("an embed with its replica committed"));
        };
        let Some(replica) = embed.replica.clone() else {
            return Err(sector.refuse_state("an embed with its replica committed"));
        };
        let due = schedule::embed_due(parameters, &embed);
        let drawn = schedule::embed_challenge_height(parameters, &replica);
        self.require_between("an embed's proof", drawn, due)?;
        let rho = self
            .ledger
            .beacon(schedule::rho_height(parameters, &embed))?;
        let beacon = self.ledger.beacon(drawn)?;
        let statement = challenge::embed_statement(parameters, &sector, &embed, &rho, &beacon)
            .map_err(|error| Refusal::Statement(error.to_string()))?;
        self.verify(id, Statement::Embed(statement), proofs)?;
        self.unschedule(Due::Embed(id), due);
        self.land_embed(sector, &embed, &replica)
    }

    /// The embed holds: roots and layout are the new ones, its deals are proven.
    pub(super) fn land_embed(
        &mut self,
        mut sector: Sector,
        embed: &Embed,
        replica: &EmbedReplica,
    ) -> Result<(), Stop> {
        let parameters = &self.parameters;
        let mut provider = self.ledger.provider(sector.id.provider)?;
        provider.unlock(embed.deposit)?;
        self.ledger.put_provider(&provider)?;
        // Inside a window the old roots are the ones that were challenged: from its first block on,
        // whose builder knew the challenge, and also where an earlier deadline is not closed yet.
        let period = schedule::period_of(parameters, self.height);
        let window = schedule::window(parameters, period, sector.deadline);
        let kept = sector.window.as_ref();
        if window.contains(self.height)
            && sector.next <= period
            && kept.is_none_or(|kept| kept.period < period)
        {
            sector.window = Some(WindowRoots {
                period,
                lanes: sector.replica_lanes,
            });
        }
        sector.replica_lanes = replica.lanes;
        sector.replica_root = root_of(&replica.lanes);
        let mut layouts: BTreeMap<Group, GroupLayout> = std::mem::take(&mut sector.groups)
            .into_iter()
            .map(|layout| (layout.group, layout))
            .collect();
        let mut embedded = BTreeMap::new();
        for id in embed_deals(embed) {
            let deal = self.ledger.deal(&id)?;
            if is_embedded_in(&deal, sector.id) {
                embedded.insert(id, deal);
            }
        }
        for layout in layouts.values_mut() {
            let subtrees = &mut layout.subtrees;
            subtrees.retain(|placed| !embedded.contains_key(&placed.deal));
        }
        for group in &embed.groups {
            layouts.insert(group.layout.group, group.layout.clone());
        }
        sector.groups = layouts
            .into_values()
            .filter(|layout| !layout.subtrees.is_empty())
            .collect();
        let from = Period(
            schedule::period_of(parameters, self.height)
                .0
                .saturating_add(1),
        );
        for (id, mut deal) in embedded {
            // A promise whose height has passed is broken, also where no block's end has had room
            // to say so yet.
            let due = match &deal.repair {
                Some(repair) => repair.due,
                None => {
                    let at = self.ledger.deal_set(&id.pack)?.at;
                    schedule::promise_height(&self.parameters, at)
                }
            };
            if self.height <= due {
                self.finish_repair(&id, &mut deal)?;
                deal.status = DealStatus::Proven {
                    sector: sector.id.number,
                    from,
                };
                self.ledger.put_deal(&id, &deal)?;
            }
        }
        sector.embed = None;
        self.ledger.put_sector(&sector)
    }

    /// An embed that goes no further: its deposit burns, its deals may be embedded anew. The
    /// caller writes the sector.
    pub(super) fn abandon_embed(&mut self, sector: &mut Sector) -> Result<(), Stop> {
        let Some(embed) = sector.embed.take() else {
            return Ok(());
        };
        self.unschedule(
            Due::Embed(sector.id),
            schedule::embed_due(&self.parameters, &embed),
        );
        let mut provider = self.ledger.provider(sector.id.provider)?;
        provider.forfeit(embed.deposit)?;
        self.ledger.put_provider(&provider)?;
        self.ledger.burn(embed.deposit)?;
        for id in embed_deals(&embed) {
            let mut deal = self.ledger.deal(&id)?;
            if is_embedded_in(&deal, sector.id) {
                deal.sector = None;
                self.ledger.put_deal(&id, &deal)?;
            }
        }
        Ok(())
    }
}

/// Whether an embed of that sector is to prove the deal. A deal that was lost and is repaired by another
/// provider is in no embed of the first, whatever the number of its sector.
fn is_embedded_in(deal: &Deal, sector: SectorId) -> bool {
    deal.status == DealStatus::Accepted && lies_in(deal, sector)
}

/// Whether that sector is where the deal's piece lies, or will: it may be listed in others, where it was
/// before it was lost.
pub(super) fn lies_in(deal: &Deal, sector: SectorId) -> bool {
    (deal.provider, deal.sector) == (sector.provider, Some(sector.number))
}

fn embed_deals(embed: &Embed) -> BTreeSet<DealId> {
    let placed = embed.groups.iter().flat_map(|group| &group.layout.subtrees);
    placed.map(|subtree| subtree.deal).collect()
}

fn indices(groups: &[Group]) -> String {
    let indices: Vec<String> = groups
        .iter()
        .map(|group| group.index().to_string())
        .collect();
    indices.join(", ")
}

/// Accepted and in no other embed, or proven in this very sector.
fn check_embeddable(sector: &Sector, id: &DealId, deal: &Deal) -> Result<(), Stop> {
    require_equal("a deal's provider", &deal.provider, &sector.id.provider)?;
    let fits = match deal.status {
        DealStatus::Accepted => deal.sector.is_none(),
        DealStatus::Proven { sector: number, .. } => number == sector.id.number,
        _ => false,
    };
    require(fits, || Refusal::State {
        what: format!("deal {id}"),
        found: match deal.sector {
            Some(_) if deal.status.is_held() => "embedded, or being embedded, in another sector",
            _ => deal.status.name(),
        },
        needed: "accepted and in no embed, or proven in this sector",
    })
}

/// The root of a group's data, from the piece roots that its deals were accepted with.
fn data_root(
    sector: &Sector,
    layout: &GroupLayout,
    deals: &Deals,
    piece_levels: u32,
) -> Result<Node, Stop> {
    let refuse = |why: String| Refusal::Layout {
        group: layout.group,
        why,
    };
    require(layout.subtrees.is_sorted_by(|a, b| a.unit < b.unit), || {
        refuse("its subtrees must be in ascending order of place".into())
    })?;
    let placement = |placed: &PlacedSubtree| -> Result<SubtreePlacement, Stop> {
        let missing = || refuse(format!("deal {} has no such subtree", placed.deal));
        let deal = deals.get(&placed.deal).ok_or_else(missing)?;
        let index = usize::try_from(placed.subtree).map_err(|_| missing())?;
        let root = deal.piece_roots.get(index).ok_or_else(missing)?;
        let shape = shape_of(deal.length, piece_levels)?;
        let levels = shape.subtrees().get(index).ok_or_else(missing)?;
        require_equal("a subtree's levels", &placed.levels, levels)?;
        Ok(SubtreePlacement {
            root: *root,
            levels: *levels,
            unit: placed.unit,
        })
    };
    let placements: Vec<_> = layout
        .subtrees
        .iter()
        .map(placement)
        .collect::<Result<_, _>>()?;
    group_data_root(sector.class, &placements).map_err(|error| refuse(error.to_string()).into())
}

/// The group roots of the touched lanes, where all of it hashes to `root`.
fn group_roots(
    root: Node,
    shown: &SectorRoots,
    touched: &[Group],
    what: &'static str,
) -> Result<BTreeMap<Lane, [Node; 8]>, Stop> {
    let lanes: BTreeSet<Lane> = touched.iter().map(|group| group.lane()).collect();
    let named: Vec<Lane> = shown.groups.iter().map(|groups| groups.lane).collect();
    require(lanes.iter().eq(named.iter()), || {
        Refusal::NotAscending("the lanes of the written groups")
    })?;
    require(root_of(&shown.lanes) == root, || Refusal::Roots(what))?;
    for groups in &shown.groups {
        let lane = shown.lanes.get(usize::from(groups.lane.index()));
        require(lane == Some(&root_of(&groups.roots)), || {
            Refusal::Roots(what)
        })?;
    }
    Ok(shown
        .groups
        .iter()
        .map(|groups| (groups.lane, groups.roots))
        .collect())
}

fn root_in(lanes: &BTreeMap<Lane, [Node; 8]>, group: Group) -> Result<Node, Stop> {
    let roots = lanes.get(&group.lane());
    let root = roots.and_then(|roots| roots.get(usize::from(group.index() % 8)));
    Ok(*root.ok_or(Refusal::Roots("the key roots"))?)
}
