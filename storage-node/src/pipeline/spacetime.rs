//! Deadlines: look before, prove within, and say in time what cannot be proven.

use super::{Pipeline, Signer, View};
use crate::error::NodeError;
use crate::outbox::DEADLINE;
use crate::sectors::SectorHandle;
use crate::work::Lane;
use holdfast_market_core::message::{Body, SpacetimeProof};
use holdfast_market_core::state::{Sector, SectorStatus};
use holdfast_market_core::units::{Blocks, Deadline, Height, Period, SectorNumber};
use holdfast_market_core::{challenge, schedule};
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::proof::{Circuit, CircuitId, ProofBytes, SPACETIME_CHALLENGES};
use holdfast_proofs::statement::Statement;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Proofs that are made and not executed yet, by period and sector. They are not journalled: a
/// node that is killed proves again.
pub(crate) type DeadlineProofs = Arc<Mutex<BTreeMap<(Period, SectorNumber), ProofBytes>>>;

/// A sector is looked at so many blocks before the last in which a fault can be declared.
const LOOK_BEFORE: Blocks = Blocks(4);
/// A proof goes into the block after the one that is known now, at the earliest.
const AHEAD: Blocks = Blocks(1);

/// A sector whose window is open.
struct Open {
    number: SectorNumber,
    sector: Sector,
    handle: SectorHandle,
}

impl Pipeline {
    /// Proves every sector whose window is open, and looks at those whose window is near.
    pub(crate) async fn prove_deadlines(&mut self, view: &View) -> Result<(), NodeError> {
        let mut open: BTreeMap<(Period, Deadline), Vec<Open>> = BTreeMap::new();
        let mut first = Ok(());
        for (number, record) in self.shared.journal.sectors()? {
            let Some(sector) = view.sectors.get(&number) else {
                continue;
            };
            let Some((period, window)) = schedule::next_window(&self.shared.parameters, sector)
            else {
                continue;
            };
            let last_choice = schedule::last_choice(&self.shared.parameters, window);
            let handle = match self.sectors.open(number, &record) {
                Ok(handle) => handle,
                Err(error) => {
                    let done = self.unreadable(view, sector, last_choice).await;
                    first = first.and(done).and(Err(error));
                    continue;
                }
            };
            let in_time = window.open <= view.height && view.height.after(AHEAD) <= window.close;
            let held = matches!(
                sector.status,
                SectorStatus::Active { .. } | SectorStatus::Faulty { recovering: true }
            );
            if in_time && held && sector.proven != Some(period) {
                open.entry((period, sector.deadline))
                    .or_default()
                    .push(Open {
                        number,
                        sector: sector.clone(),
                        handle,
                    });
            } else if view.height < last_choice {
                let done = self.look(view, sector, &handle, last_choice).await;
                first = first.and(done);
            }
        }
        self.forget_old_proofs(view);
        for ((period, deadline), sectors) in open {
            let done = self.prove_deadline(view, period, deadline, sectors).await;
            first = first.and(done);
        }
        first
    }

    async fn prove_deadline(
        &mut self,
        view: &View,
        period: Period,
        deadline: Deadline,
        sectors: Vec<Open>,
    ) -> Result<(), NodeError> {
        let purpose = format!("{DEADLINE}{period}/{deadline}");
        if self.outbox.waits(&purpose) {
            return Ok(());
        }
        if self.outbox.rests(&purpose, view.height) {
            // Refused: the next try proves anew, from what the sector is then.
            let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
            proofs.retain(|(of, _), _| *of != period);
            return Ok(());
        }
        let Some(provider) = &view.provider else {
            return Ok(());
        };
        let window = schedule::window(&self.shared.parameters, period, deadline);
        let mut made = Vec::new();
        let mut missing = Vec::new();
        {
            let proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
            for sector in sectors {
                match proofs.get(&(period, sector.number)) {
                    Some(proof) => made.push(SpacetimeProof {
                        sector: sector.number,
                        proof: *proof,
                    }),
                    None => missing.push(sector),
                }
            }
        }
        let name = format!("spacetime {period}/{deadline}");
        if !missing.is_empty() {
            let beacon = self.beacon(window.open).await?;
            let (prover, proofs, height) = (self.prover.clone(), self.proofs.clone(), view.height);
            let job = move || {
                let mut first = Ok(());
                for Open {
                    number,
                    sector,
                    handle,
                } in missing
                {
                    let statement = challenge::spacetime_statement(&sector, period, &beacon);
                    let id = CircuitId {
                        circuit: Circuit::Spacetime,
                        class: sector.class,
                        per_proof: u32::try_from(SPACETIME_CHALLENGES).unwrap_or(u32::MAX),
                    };
                    let statement = Statement::Spacetime(statement);
                    // One sector's damage does not cost the others their deadline.
                    match prover.prove(id, (number, &handle), &statement, height) {
                        Ok(made) => {
                            crash_point("node.spacetime.made");
                            if let Some(proof) = made.first() {
                                let mut proofs =
                                    proofs.lock().unwrap_or_else(PoisonError::into_inner);
                                proofs.insert((period, number), *proof);
                            }
                        }
                        Err(error) => first = first.and(Err(error)),
                    }
                }
                first
            };
            self.work.start(Lane::Deadline, &name, height, job);
        }
        // All in one message, once the job is through.
        let proving = self.work.running(Lane::Deadline).contains(&name);
        if made.is_empty() || proving {
            return Ok(());
        }
        let body = Body::ProveSpacetime {
            provider: provider.id,
            period,
            deadline,
            proofs: made,
        };
        self.post(
            view.height,
            Signer::Worker,
            &purpose,
            body,
            Some(window.close),
        )
        .await?;
        Ok(())
    }

    fn forget_old_proofs(&self, view: &View) {
        let now = schedule::period_of(&self.shared.parameters, view.height);
        let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        proofs.retain(|(period, _), _| *period >= now);
    }

    /// Reads a few leaves while a fault can still be declared or taken back.
    async fn look(
        &mut self,
        view: &View,
        sector: &Sector,
        handle: &SectorHandle,
        last: Height,
    ) -> Result<(), NodeError> {
        let faulty = sector.status == (SectorStatus::Faulty { recovering: false });
        let near = view.height.after(LOOK_BEFORE) >= last;
        if !faulty && !near {
            return Ok(());
        }
        let looked = if self.sectors.is_damaged(sector.id.number) {
            // A few leaves may read right where others do not.
            Err(NodeError::Sector {
                number: sector.id.number,
                path: self.sectors.path(sector.id.number),
                reason: "files are damaged and are being put right".into(),
            })
        } else {
            let handle = handle.clone();
            tokio::task::spawn_blocking(move || handle.check())
                .await
                .map_err(|error| NodeError::State(error.to_string()))?
        };
        match looked {
            Err(error) => {
                self.unreadable(view, sector, last).await?;
                Err(error)
            }
            Ok(()) => {
                self.unreadable.remove(&sector.id.number);
                if faulty && view.height.after(AHEAD) <= last {
                    let body = Body::Recover {
                        provider: sector.id.provider,
                        sectors: vec![sector.id.number],
                    };
                    let purpose = format!("recover/{}", sector.id.number);
                    self.post(view.height, Signer::Worker, &purpose, body, Some(last))
                        .await?;
                }
                Ok(())
            }
        }
    }

    /// A sector cannot be read: said before its challenge is known, it costs less.
    async fn unreadable(
        &mut self,
        view: &View,
        sector: &Sector,
        last: Height,
    ) -> Result<(), NodeError> {
        self.unreadable.insert(sector.id.number);
        let held = matches!(
            sector.status,
            SectorStatus::Active { .. } | SectorStatus::Faulty { recovering: true }
        );
        if held && view.height.after(AHEAD) <= last {
            let body = Body::DeclareFault {
                provider: sector.id.provider,
                sectors: vec![sector.id.number],
            };
            let purpose = format!("fault/{}", sector.id.number);
            self.post(view.height, Signer::Worker, &purpose, body, Some(last))
                .await?;
        }
        Ok(())
    }
}
