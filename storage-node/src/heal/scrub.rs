//! The slow look at everything: what no deadline and no reader meets is found before it is needed.

use crate::error::NodeError;
use crate::pipeline::{Pipeline, View};
use crate::sectors::Repair;
use crate::work::Lane;
use holdfast_market_core::state::SectorStatus;
use holdfast_market_core::units::{Blocks, DealId, Height, SectorNumber};
use holdfast_proofs::sector::Group;
use rand::Rng;
use std::ops::Bound;

/// Steps in a proving period: in each, one group of a sector and one shard are read whole.
const STEPS: u64 = 16;
/// Groups of a sector.
const GROUPS: u8 = 64;

/// Where the look is.
#[derive(Debug)]
pub struct Scrub {
    /// The height of its next step; none before the first block.
    due: Option<Height>,
    /// The group that was read last.
    pub(crate) group: (SectorNumber, u8),
    /// The shard that was read last.
    shard: Option<DealId>,
}

impl Default for Scrub {
    /// Somewhere: a node that is started again and again should not read the same few each time.
    fn default() -> Self {
        Self {
            due: None,
            group: (SectorNumber(0), rand::thread_rng().gen_range(0..GROUPS)),
            shard: None,
        }
    }
}

impl Pipeline {
    /// Takes the next step where it is due.
    pub(super) fn look_further(&mut self, view: &View) -> Result<(), NodeError> {
        let pause = Blocks((self.shared.parameters.period.0 / STEPS).max(1));
        let due = *self.scrub.due.get_or_insert(view.height.after(pause));
        if view.height < due {
            return Ok(());
        }
        let group = self.next_group(view)?;
        let shard = self.next_shard()?;
        let (shared, sectors) = (self.shared.clone(), self.sectors.clone());
        let mut unopened = None;
        let handle = match group {
            None => None,
            Some((number, group)) => match self.shared.journal.sector(number)? {
                // One that cannot be opened keeps the others from nothing.
                Some(record) => match self.sectors.open(number, &record) {
                    Ok(handle) => Some((handle, group)),
                    Err(error) => {
                        unopened = Some(error);
                        None
                    }
                },
                None => None,
            },
        };
        let read = shard.and_then(|shard| Some((shard, self.shared.journal.shard(shard).ok()??)));
        let job = move || {
            if let Some((handle, group)) = handle {
                let damage = handle.read().group_damage(group);
                if damage.any() {
                    let number = handle.number();
                    tracing::error!(sector = %number, group = group.index(), ?damage, "a group is damaged");
                    if !sectors.is_damaged(number) {
                        sectors.set_damaged(number, Repair::Look);
                    }
                }
            }
            if let Some((shard, record)) = read {
                let receipt = &record.receipt.receipt;
                let read = shared
                    .shards
                    .read_checked(shard, receipt.root, receipt.length);
                if let Err(error) = read {
                    // Remembered by having been read; what comes of it is told where it is put right.
                    tracing::error!(%error, "a shard is damaged");
                }
            }
            Ok(())
        };
        if self
            .work
            .start(Lane::Heal, "look for damage", view.height, job)
        {
            self.scrub.due = Some(view.height.after(pause));
            if let Some((number, group)) = group {
                self.scrub.group = (number, group.index());
            }
            self.scrub.shard = shard;
        }
        unopened.map_or(Ok(()), Err)
    }

    /// The group after the last one, sector by sector.
    fn next_group(&self, view: &View) -> Result<Option<(SectorNumber, Group)>, NodeError> {
        let held = |number: &SectorNumber| {
            let status = view.sectors.get(number).map(|sector| &sector.status);
            matches!(
                status,
                Some(SectorStatus::Active { .. } | SectorStatus::Faulty { .. })
            )
        };
        let numbers: Vec<SectorNumber> = self
            .shared
            .journal
            .sectors()?
            .into_iter()
            .map(|(number, _)| number)
            .filter(held)
            .collect();
        let (last, group) = self.scrub.group;
        if numbers.contains(&last)
            && let Some(group) = Group::new(group.saturating_add(1))
        {
            return Ok(Some((last, group)));
        }
        let after = numbers.iter().find(|number| **number > last);
        let next = after.or(numbers.first());
        Ok(next.and_then(|number| Some((*number, Group::new(0)?))))
    }

    /// The shard after the last one, round and round.
    fn next_shard(&self) -> Result<Option<DealId>, NodeError> {
        let records = self.shared.journal.shards()?;
        let all: std::collections::BTreeSet<DealId> =
            records.into_iter().map(|(deal, _)| deal).collect();
        let after = match self.scrub.shard {
            Some(last) => all
                .range((Bound::Excluded(last), Bound::Unbounded))
                .next()
                .copied(),
            None => None,
        };
        Ok(after.or_else(|| all.first().copied()))
    }
}
