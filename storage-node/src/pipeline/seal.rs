//! Sealing: ticket -> layers -> pre-commit -> D blocks -> proof -> layers discarded.

use super::{Pipeline, Signer, View};
use crate::error::NodeError;
use crate::journal::SectorRecord;
use crate::needs;
use crate::progress::Shown;
use crate::sectors::sector_error;
use crate::work::Lane;
use holdfast_market_core::message::{Body, PreCommit};
use holdfast_market_core::state::{Provider, Sector, SectorStatus};
use holdfast_market_core::units::{Blocks, Height, SectorId, SectorNumber};
use holdfast_market_core::{challenge, schedule};
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::proof::{Circuit, CircuitId};
use holdfast_proofs::replica::{ReplicaId, ReplicaSeed};
use holdfast_proofs::seal::seal;
use holdfast_proofs::sector::SectorClass;
use holdfast_proofs::statement::Statement;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// A pre-commit is sent only where its ticket will not be too old for so many blocks yet.
const TICKET_MARGIN: Blocks = Blocks(3);

/// The job that seals a sector.
fn seal_name(number: SectorNumber) -> String {
    format!("seal {number}")
}

/// The job that seals one beside to have its keys again.
pub(crate) fn seal_again_name(number: SectorNumber) -> String {
    format!("seal sector {number} again")
}

impl Pipeline {
    /// Takes the next step of every sector that is not proven yet, and begins a new one where
    /// some are missing.
    pub(crate) async fn keep_sectors(&mut self, view: &View) -> Result<(), NodeError> {
        let Some(provider) = &view.provider else {
            return Ok(());
        };
        let mut living = 0u32;
        let mut unsealed = 0usize;
        let mut highest = None;
        // One sector's trouble keeps no other from its next step.
        let mut done = Ok(());
        for (number, record) in self.shared.journal.sectors()? {
            highest = Some(number);
            match view.sectors.get(&number) {
                // Nobody waits for it, and a commitment to it would be refused.
                None if provider.retiring.is_some() => {
                    if !self.work.is_busy(&[Lane::Seal]) {
                        self.sectors.remove(number)?;
                        self.shared.journal.forget_sector(number)?;
                    }
                }
                None => {
                    unsealed = unsealed.saturating_add(usize::from(!record.sealed));
                    living = living.saturating_add(1);
                    done = done.and(self.until_pre_commit(view, number, record).await);
                }
                Some(sector) => match sector.status {
                    SectorStatus::PreCommitted { at, .. } => {
                        living = living.saturating_add(1);
                        done = done.and(self.prove_seal(view, sector, at, record).await);
                    }
                    SectorStatus::Active { .. } | SectorStatus::Faulty { .. } => {
                        living = living.saturating_add(1);
                        done = done.and(self.discard_layers(number, record));
                    }
                    // A job that works on it would bring files of it back.
                    SectorStatus::Terminated { .. }
                        if self.work.is_busy(&[Lane::Heal, Lane::Seal, Lane::Proof]) => {}
                    SectorStatus::Terminated { .. } => {
                        tracing::warn!(sector = %number, "the sector is terminated: its files go");
                        self.sectors.remove(number)?;
                        self.shared.journal.forget_sector(number)?;
                    }
                },
            }
        }
        let stays = !self.goal.retire && provider.retiring.is_none();
        if stays && living < self.goal.sectors && unsealed < self.work.places(Lane::Seal) {
            done = done.and(self.begin_sector(view, provider, highest).await);
        }
        done
    }

    /// Fixes the next sector's number and ticket; sealing starts at the next step.
    async fn begin_sector(
        &mut self,
        view: &View,
        provider: &Provider,
        highest: Option<SectorNumber>,
    ) -> Result<(), NodeError> {
        let after = highest.map_or(0, |number| number.0.saturating_add(1));
        let number = SectorNumber(provider.next_sector.0.max(after));
        if !self.has_room(self.goal.class, number)? {
            return Ok(());
        }
        let ticket = view.height;
        let beacon = self.beacon(ticket).await?;
        let replica = ReplicaId::derive(&ReplicaSeed {
            network: self.shared.network.0,
            class: self.goal.class,
            provider: provider.id.0,
            number: number.0,
            ticket: beacon.0,
        });
        // Whatever lies there is of no sector that the journal knows.
        self.sectors.remove(number)?;
        let record = SectorRecord::new(self.goal.class, ticket, replica);
        self.shared.journal.put_sector(number, &record)?;
        crash_point("node.seal.begun");
        tracing::info!(sector = %number, ticket = %ticket, class = %self.goal.class, "sealing begins");
        self.start_seal(view.height, number, record);
        Ok(())
    }

    async fn until_pre_commit(
        &mut self,
        view: &View,
        number: SectorNumber,
        record: SectorRecord,
    ) -> Result<(), NodeError> {
        let purpose = format!("precommit/{number}");
        if self.outbox.waits(&purpose) {
            return Ok(());
        }
        let last = record.ticket.after(self.shared.parameters.ticket_age);
        let sealing = self.work.running(Lane::Seal).contains(&seal_name(number));
        if view.height.after(TICKET_MARGIN) > last && !sealing {
            tracing::warn!(sector = %number, "its ticket is too old by now: it is sealed anew");
            self.shared.journal.forget_sector(number)?;
            return self.sectors.remove(number);
        }
        if !record.sealed {
            if !sealing && self.has_room(record.class, number)? {
                self.start_seal(view.height, number, record);
            }
            return Ok(());
        }
        let Some(provider) = &view.provider else {
            return Ok(());
        };
        let handle = self.sectors.open(number, &record)?;
        let commitment = handle.read().commitment().clone();
        let body = Body::PreCommitSector(PreCommit {
            sector: SectorId {
                provider: provider.id,
                number,
            },
            class: record.class,
            ticket: record.ticket,
            columns: commitment.columns,
            keys: commitment.keys,
        });
        self.post(view.height, Signer::Worker, &purpose, body, Some(last))
            .await?;
        Ok(())
    }

    /// Seals in the background; layers that an earlier process finished are kept.
    fn start_seal(&self, height: Height, number: SectorNumber, record: SectorRecord) {
        let (shared, path) = (self.shared.clone(), self.sectors.path(number));
        let shown = self.sealing.clone();
        let job = move || {
            let shown = Shown::new(shown, number);
            // Sealed since the record was read: its folder may have a handle by now, and only one.
            if shared.journal.sector(number)?.is_some_and(|now| now.sealed) {
                return Ok(());
            }
            let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            let begun = std::time::Instant::now();
            let mut tenth = 0;
            let mut progress = |progress: holdfast_proofs::seal::SealProgress| {
                shown.at(progress);
                let now = progress.done.saturating_mul(10) / progress.total.max(1);
                if now > tenth {
                    tenth = now;
                    tracing::info!(sector = %number, percent = now.saturating_mul(10), "sealing");
                }
            };
            seal(&path, record.class, record.replica, threads, &mut progress)
                .map_err(|error| sector_error(number, &path, &error))?;
            let sealed = SectorRecord {
                sealed: true,
                ..record
            };
            shared.journal.put_sector(number, &sealed)?;
            crash_point("node.seal.recorded");
            let seconds = begun.elapsed().as_secs();
            tracing::info!(sector = %number, seconds, "sealed");
            Ok(())
        };
        self.work.start(Lane::Seal, &seal_name(number), height, job);
    }

    /// Whether a sector can be sealed now. One for which there is no room beside those that are being
    /// sealed waits for them; where there are none, what it lacks is an error.
    fn has_room(&self, class: SectorClass, number: SectorNumber) -> Result<bool, NodeError> {
        let others = self.sealing_now(Some(number))?;
        match needs::check(class, &self.sectors.path(number), &others) {
            Ok(()) => Ok(true),
            Err(NodeError::Memory { .. } | NodeError::Disk { .. }) if !others.is_empty() => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// What is being sealed, all but one: its class, and where.
    pub(crate) fn sealing_now(
        &self,
        but: Option<SectorNumber>,
    ) -> Result<Vec<(SectorClass, PathBuf)>, NodeError> {
        let running = self.work.running(Lane::Seal);
        let mut sealing = Vec::new();
        for (number, record) in self.shared.journal.sectors()? {
            if Some(number) == but {
                continue;
            }
            if running.contains(&seal_name(number)) {
                sealing.push((record.class, self.sectors.path(number)));
            } else if running.contains(&seal_again_name(number)) {
                sealing.push((record.class, self.sectors.beside(number)));
            }
        }
        Ok(sealing)
    }

    async fn prove_seal(
        &mut self,
        view: &View,
        sector: &Sector,
        at: Height,
        record: SectorRecord,
    ) -> Result<(), NodeError> {
        let number = sector.id.number;
        let drawn = schedule::seal_challenge_height(&self.shared.parameters, at);
        if view.height < drawn {
            return Ok(());
        }
        if let Some(proofs) = record.seal_proofs {
            let body = Body::ProveSeal {
                sector: sector.id,
                proofs,
            };
            let due = schedule::seal_due(&self.shared.parameters, at);
            let purpose = format!("seal/{number}");
            self.post(view.height, Signer::Worker, &purpose, body, Some(due))
                .await?;
            return Ok(());
        }
        let beacon = self.beacon(drawn).await?;
        let statement = challenge::seal_statement(&self.shared.parameters, sector, &beacon);
        let id = CircuitId {
            circuit: Circuit::Seal,
            class: record.class,
            per_proof: self.shared.parameters.seal_challenges_per_proof,
        };
        let handle = self.sectors.open(number, &record)?;
        let (shared, prover, height) = (self.shared.clone(), self.prover.clone(), view.height);
        let shown = self.sealing.clone();
        let job = move || {
            let shown = Shown::new(shown, number);
            shown.proving();
            let statement = Statement::Seal(statement);
            let proofs = prover.prove(id, (number, &handle), &statement, height)?;
            let proven = SectorRecord {
                seal_proofs: Some(proofs),
                ..record
            };
            crash_point("node.seal-proof.made");
            shared.journal.put_sector(number, &proven)?;
            crash_point("node.seal-proof.recorded");
            Ok(())
        };
        self.work
            .start(Lane::Proof, &format!("seal proof {number}"), height, job);
        Ok(())
    }

    /// The seal is proven: its layers serve no more.
    fn discard_layers(
        &self,
        number: SectorNumber,
        mut record: SectorRecord,
    ) -> Result<(), NodeError> {
        if record.discarded {
            return Ok(());
        }
        let handle = self.sectors.open(number, &record)?;
        handle
            .read()
            .discard_layers()
            .map_err(|error| handle.error(&error))?;
        crash_point("node.layers.discarded");
        record.discarded = true;
        record.seal_proofs = None;
        self.shared.journal.put_sector(number, &record)?;
        tracing::info!(sector = %number, "the seal is proven on the ledger: its layers are gone");
        Ok(())
    }
}
