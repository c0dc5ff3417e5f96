//! A sector with damaged files: put right from what is there, else from keys that are made again.

use super::Healed;
use crate::error::NodeError;
use crate::journal::SectorRecord;
use crate::needs;
use crate::pipeline::embed::group_data;
use crate::pipeline::seal::seal_again_name;
use crate::pipeline::{Pipeline, View};
use crate::progress::Shown;
use crate::sectors::{Repair, SectorHandle, Sectors, remove_folder, sector_error};
use crate::service::Shared;
use crate::work::Lane;
use holdfast_market_core::state::{Sector, SectorStatus};
use holdfast_market_core::units::Height;
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::seal::{SealProgress, seal};
use holdfast_proofs::sealed::Sealed;
use holdfast_proofs::sector::{Group, SectorClass};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a repair works with.
struct Patient {
    shared: Arc<Shared>,
    sectors: Arc<Sectors>,
    healed: Healed,
    handle: SectorHandle,
    record: SectorRecord,
    sector: Sector,
    height: Height,
}

impl Pipeline {
    /// Begins to put right every sector in which damage was met.
    pub(super) fn heal_sectors(&mut self, view: &View) -> Result<(), NodeError> {
        let mut first = Ok(());
        for (number, repair) in self.sectors.damaged() {
            let record = self.shared.journal.sector(number)?;
            let (Some(record), Some(sector)) = (record, view.sectors.get(&number)) else {
                continue;
            };
            if matches!(sector.status, SectorStatus::Terminated { .. }) {
                continue;
            }
            let handle = match self.sectors.open(number, &record) {
                Ok(handle) => handle,
                Err(error) => {
                    first = first.and(Err(error));
                    continue;
                }
            };
            let patient = Patient {
                shared: self.shared.clone(),
                sectors: self.sectors.clone(),
                healed: self.healed.clone(),
                handle,
                record,
                sector: sector.clone(),
                height: view.height,
            };
            match repair {
                Repair::Look => {
                    let name = format!("put right sector {number}");
                    self.work
                        .start(Lane::Heal, &name, view.height, move || patient.look());
                }
                Repair::Seal => {
                    // Looked at here, so that a job begins as soon as nothing is in its way.
                    let others = self.sealing_now(Some(number))?;
                    if let Err(error) = patient.check_room(&others) {
                        first = first.and(Err(error));
                        continue;
                    }
                    let shown = Shown::new(self.sealing.clone(), number);
                    let job = move || patient.seal_again(&shown);
                    let name = seal_again_name(number);
                    self.work.start(Lane::Seal, &name, view.height, job);
                }
            }
        }
        first
    }
}

impl Patient {
    /// Reads every file and puts right what can be without keys.
    fn look(&self) -> Result<(), NodeError> {
        let number = self.handle.number();
        let mut mended = Vec::new();
        let mut keys_lost = Vec::new();
        let mut first = Ok(());
        for group in Group::all() {
            if !self.handle.read().group_damage(group).any() {
                continue;
            }
            match self.mend(group) {
                Ok(true) => mended.push(group.index()),
                Ok(false) => keys_lost.push(group.index()),
                Err(error) => first = first.and(Err(error)),
            }
        }
        self.drop_damaged_embed()?;
        if !mended.is_empty() {
            self.healed.say(format!(
                "sector {number}: groups {mended:?} were put right at height {}",
                self.height
            ));
        }
        first?;
        if keys_lost.is_empty() && !self.wants_layers() {
            // Left where a repair was killed when it was done.
            remove_folder(&self.sectors.beside(number))?;
            self.sectors.mended(number);
            return Ok(());
        }
        tracing::warn!(
            sector = %number,
            groups = ?keys_lost,
            "keys are lost: the sector is sealed again beside to have them back"
        );
        self.sectors.set_damaged(number, Repair::Seal);
        Ok(())
    }

    /// Puts a group right from its own leaves and its shards; false where it takes its keys.
    fn mend(&self, group: Group) -> Result<bool, NodeError> {
        let left = self.handle.read().restore_trees(group);
        let left = left.map_err(|error| self.handle.error(&error))?;
        if left.data && !self.data_from_shards(group)? {
            return Ok(false);
        }
        Ok(!left.replica)
    }

    /// Puts a group's plain data together again from its shards, where those are whole.
    fn data_from_shards(&self, group: Group) -> Result<bool, NodeError> {
        let mut layouts = self.sector.groups.iter();
        let Some(layout) = layouts.find(|layout| layout.group == group) else {
            return Ok(false);
        };
        // A shard that is damaged too is remembered by reading it, and comes back by its own way.
        let data = match group_data(&self.shared, &self.sector, layout) {
            Ok(data) => data,
            Err(error) => {
                tracing::warn!(%error, "a group's data cannot be put together from its shards");
                return Ok(false);
            }
        };
        match self.handle.read().restore_group_data(data) {
            Ok(()) => Ok(true),
            Err(holdfast_proofs::seal::SealError::Damaged { .. }) => {
                // One of the shards' files is another: found and named by reading them all.
                crate::pipeline::embed::check_shards(&self.shared, layout)?;
                Ok(false)
            }
            Err(error) => Err(self.handle.error(&error)),
        }
    }

    /// An embed whose files are damaged is written again: the same bytes come of it.
    fn drop_damaged_embed(&self) -> Result<(), NodeError> {
        // Nobody stages or embeds meanwhile.
        let sealed = self.handle.write();
        if !sealed.staged_damage() {
            return Ok(());
        }
        let number = self.handle.number();
        let Some(record) = self.shared.journal.sector(number)? else {
            return Ok(());
        };
        // Once its proof is made the ledger may take it at any moment, and then these are the bytes
        // that count: they are finished as they are, and put right like any other group.
        let on_ledger = self.sector.embed.as_ref().map(|embed| embed.committed);
        let unproven = record
            .embed
            .as_ref()
            .is_some_and(|embed| embed.proofs.is_none() && Some(embed.committed) == on_ledger);
        if unproven {
            let again = SectorRecord {
                embed: None,
                ..record
            };
            self.shared.journal.put_sector(number, &again)?;
            self.healed.say(format!(
                "sector {number}: files of an embed under way were damaged and are written again"
            ));
        }
        Ok(())
    }

    /// Whether the seal's proof still needs layers: of those, damage shows only when it is made.
    fn wants_layers(&self) -> bool {
        matches!(self.sector.status, SectorStatus::PreCommitted { .. })
            && self.record.seal_proofs.is_none()
            && !self.record.discarded
    }

    /// Seals the same replica in a folder beside and takes from it what is damaged here.
    fn seal_again(&self, shown: &Shown) -> Result<(), NodeError> {
        let number = self.handle.number();
        let beside = self.sectors.beside(number);
        let failed = |error| sector_error(number, &beside, &error);
        let damaged = |group| self.handle.read().group_damage(group).any();
        if !self.wants_layers() && !Group::all().any(damaged) {
            // Somebody has put the files back meanwhile.
            remove_folder(&beside)?;
            self.sectors.mended(number);
            return Ok(());
        }
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let (class, replica) = (self.record.class, self.record.replica);
        let mut progress = |progress: SealProgress| shown.at(progress);
        seal(&beside, class, replica, threads, &mut progress).map_err(failed)?;
        crash_point("heal.sealed-again");
        let groups = match self.take_over(&beside) {
            Ok(groups) => groups,
            Err(error) => {
                // What lies beside may be of a repair that was killed, and not whole: the next try
                // begins anew.
                remove_folder(&beside)?;
                return Err(error);
            }
        };
        crash_point("heal.taken-over");
        remove_folder(&beside)?;
        self.sectors.mended(number);
        self.healed.say(format!(
            "sector {number} was sealed again beside and groups {groups:?} were put right at height {}",
            self.height
        ));
        Ok(())
    }

    /// Takes what is damaged here from the replica that was sealed beside; answers which groups.
    fn take_over(&self, beside: &Path) -> Result<Vec<u8>, NodeError> {
        let number = self.handle.number();
        let again = Sealed::open(beside, self.record.class, self.record.replica)
            .map_err(|error| sector_error(number, beside, &error))?;
        if self.wants_layers() {
            let moved = self.handle.read().restore_layers(&again);
            moved.map_err(|error| self.handle.error(&error))?;
        }
        let mut groups = Vec::new();
        for group in Group::all() {
            if self.handle.read().group_damage(group).any() {
                self.mend_with(group, &again)?;
                groups.push(group.index());
            }
        }
        Ok(groups)
    }

    /// Puts a group right with its keys at hand.
    fn mend_with(&self, group: Group, again: &Sealed) -> Result<(), NodeError> {
        if self.mend(group)? {
            return Ok(());
        }
        let error = |error| self.handle.error(&error);
        let left = self.handle.read().group_damage(group);
        if left.data {
            // Without its shards the data is what is in the replica beside the key.
            self.handle
                .write()
                .restore_data(group, again)
                .map_err(error)?;
        }
        if left.replica {
            self.handle
                .read()
                .restore_replica(group, again)
                .map_err(error)?;
        }
        Ok(())
    }

    /// Looks first whether it can come to anything: sealing takes long.
    fn check_room(&self, others: &[(SectorClass, PathBuf)]) -> Result<(), NodeError> {
        let number = self.handle.number();
        let groups = self.sectors.path(number).join("groups");
        std::fs::create_dir_all(&groups).map_err(NodeError::file(&groups))?;
        let beside = self.sectors.beside(number);
        std::fs::create_dir_all(&beside).map_err(NodeError::file(&beside))?;
        needs::check(self.record.class, &beside, others)
    }
}
