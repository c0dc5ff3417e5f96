//! Sectors: pre-commit, seal proof, faults, recovery, termination.

use super::Context;
use super::due::Due;
use super::embed::lies_in;
use crate::challenge;
use crate::ledger::{add, take};
use crate::message::PreCommit;
use crate::quote;
use crate::refusal::{Refusal, Stop, require, require_equal, require_range};
use crate::schedule;
use crate::state::{DealStatus, Sector, SectorStatus};
use crate::units::{
    Address, Amount, ByteCount, Deadline, DealId, Height, Period, ProviderId, SectorId,
    SectorNumber,
};
use crate::view::{ReadView, ViewError};
use holdfast_proofs::proof::{Circuit, ProofBytes};
use holdfast_proofs::replica::{ReplicaId, ReplicaSeed};
use holdfast_proofs::statement::Statement;
use holdfast_proofs::tree::root_of;
use std::collections::BTreeSet;

/// Sectors that one message names, at most.
pub(super) const MAX_SECTORS: u64 = 256;

/// Deals, and the sectors that they lie in, whose late deadlines the messages of one block close, at
/// most.
const MAX_CAUGHT_UP: usize = 2048;

impl SectorStatus {
    /// In two words, for refusals.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::PreCommitted { .. } => "pre-committed",
            Self::Active { .. } => "active",
            Self::Faulty { recovering: false } => "faulty",
            Self::Faulty { recovering: true } => "recovering",
            Self::Terminated { .. } => "terminated",
        }
    }
}

impl Sector {
    /// The deals whose pieces lie in its groups, each once.
    pub fn deals(&self) -> BTreeSet<DealId> {
        let placed = self.groups.iter().flat_map(|group| &group.subtrees);
        placed.map(|subtree| subtree.deal).collect()
    }

    pub(super) fn refuse_state(&self, needed: &'static str) -> Stop {
        Refusal::State {
            what: format!("sector {}", self.id),
            found: self.status.name(),
            needed,
        }
        .into()
    }
}

impl<V: ReadView> Context<'_, V> {
    pub(super) fn pre_commit(&mut self, sender: &Address, commit: &PreCommit) -> Result<(), Stop> {
        let parameters = &self.parameters;
        let id = commit.sector;
        let mut provider = self.by_worker(id.provider, sender)?;
        require(provider.retiring.is_none(), || Refusal::State {
            what: format!("provider {}", id.provider),
            found: "retiring",
            needed: "not retiring",
        })?;
        require(parameters.classes.contains(&commit.class), || {
            let classes: Vec<_> = parameters
                .classes
                .iter()
                .map(|class| class.name())
                .collect();
            Refusal::Mismatch {
                what: "the sector's class",
                found: commit.class.to_string(),
                expected: format!("one of {}", classes.join(", ")),
            }
        })?;
        require(self.ledger.sector_option(id)?.is_none(), || {
            Refusal::Exists(format!("sector {id}"))
        })?;
        require_range(
            "the ticket's height",
            commit.ticket.0,
            self.height.before(parameters.ticket_age).0,
            self.height.0.saturating_sub(1),
        )?;
        let ticket = self.ledger.beacon(commit.ticket)?;
        let collateral = quote::sector_collateral(&parameters.economy, commit.class)?;
        let locked = add(collateral, parameters.economy.seal_deposit)?;
        provider.lock_above(locked, parameters.economy.minimum_collateral)?;
        let next = id.number.0.saturating_add(1).max(provider.next_sector.0);
        provider.next_sector = SectorNumber(next);
        self.ledger.put_provider(&provider)?;
        let replica = ReplicaId::derive(&ReplicaSeed {
            network: *self.rules.network.as_bytes(),
            class: commit.class,
            provider: id.provider.0,
            number: id.number.0,
            ticket: *ticket.as_bytes(),
        });
        let key_root = root_of(&commit.keys);
        self.ledger.put_sector(&Sector {
            id,
            class: commit.class,
            replica,
            status: SectorStatus::PreCommitted {
                at: self.height,
                deposit: parameters.economy.seal_deposit,
            },
            columns: commit.columns,
            key_root,
            replica_root: key_root,
            replica_lanes: commit.keys,
            deadline: Deadline(0),
            groups: Vec::new(),
            embed: None,
            faults: Default::default(),
            proven: None,
            next: Period(0),
            window: None,
            locked,
        })?;
        let due = schedule::seal_due(parameters, self.height);
        self.schedule(Due::Seal(id), due);
        Ok(())
    }

    pub(super) fn prove_seal(
        &mut self,
        sender: &Address,
        id: SectorId,
        proofs: &[ProofBytes],
    ) -> Result<(), Stop> {
        let parameters = &self.parameters;
        self.by_worker(id.provider, sender)?;
        let mut sector = self.ledger.sector(id)?;
        let SectorStatus::PreCommitted { at, .. } = sector.status else {
            return Err(sector.refuse_state("pre-committed"));
        };
        let drawn = schedule::seal_challenge_height(parameters, at);
        let due = schedule::seal_due(parameters, at);
        self.require_between("a seal's proof", drawn, due)?;
        let beacon = self.ledger.beacon(drawn)?;
        let statement = challenge::seal_statement(parameters, &sector, &beacon);
        self.verify(id, Statement::Seal(statement), proofs)?;
        self.unschedule(Due::Seal(id), due);
        self.activate(&mut sector)
    }

    /// The seal holds: the sector gets its deadline and is held to it from its next window on.
    pub(super) fn activate(&mut self, sector: &mut Sector) -> Result<(), Stop> {
        let parameters = &self.parameters;
        let SectorStatus::PreCommitted { deposit, .. } = sector.status else {
            return Err(sector.refuse_state("pre-committed"));
        };
        let mut provider = self.ledger.provider(sector.id.provider)?;
        provider.unlock(deposit)?;
        self.ledger.put_provider(&provider)?;
        sector.locked = take(sector.locked, deposit, "a sector's collateral")?;
        sector.deadline = self.emptiest_deadline();
        sector.next = schedule::first_period_after(parameters, sector.deadline, self.height);
        sector.status = SectorStatus::Active { from: sector.next };
        self.change_capacity(sector, |bytes, sector| bytes.checked_add(sector))?;
        self.ledger.put_sector(sector)?;
        self.schedule_deadline(sector);
        Ok(())
    }

    /// Where the fewest bytes are proven; among equals the one that opens soonest.
    fn emptiest_deadline(&self) -> Deadline {
        let parameters = &self.parameters;
        let opens = |deadline: Deadline| {
            let period = schedule::first_period_after(parameters, deadline, self.height);
            schedule::window(parameters, period, deadline).open
        };
        let loads = self.ledger.chain.deadlines.iter();
        (0u32..)
            .zip(loads)
            .map(|(index, load)| (*load, opens(Deadline(index)), Deadline(index)))
            .min()
            .map_or(Deadline(0), |(_, _, deadline)| deadline)
    }

    fn change_capacity(
        &mut self,
        sector: &Sector,
        change: impl Fn(u64, u64) -> Option<u64>,
    ) -> Result<(), Stop> {
        let wrong = || ViewError("the proven capacity does not add up".into());
        let chain = &mut self.ledger.chain;
        let bytes = sector.class.bytes();
        let place = sector.deadline.0 as usize;
        let load = chain.deadlines.get_mut(place).ok_or_else(wrong)?;
        *load = ByteCount(change(load.0, bytes).ok_or_else(wrong)?);
        chain.capacity = ByteCount(change(chain.capacity.0, bytes).ok_or_else(wrong)?);
        Ok(())
    }

    pub(super) fn schedule_deadline(&mut self, sector: &Sector) {
        let window = schedule::window(&self.parameters, sector.next, sector.deadline);
        self.schedule(Due::Deadline(sector.id), window.close);
    }

    fn unschedule_deadline(&mut self, sector: &Sector) {
        let window = schedule::window(&self.parameters, sector.next, sector.deadline);
        self.unschedule(Due::Deadline(sector.id), window.close);
    }

    /// The height lies after `drawn` (its beacon is known to whoever proves) and not after `due`.
    pub(super) fn require_between(
        &self,
        what: &'static str,
        drawn: Height,
        due: Height,
    ) -> Result<(), Stop> {
        let first = Height(drawn.0.saturating_add(1));
        require(self.height >= first, || Refusal::TooEarly {
            what,
            first,
            height: self.height,
        })?;
        require(self.height <= due, || Refusal::TooLate {
            what,
            last: due,
            height: self.height,
        })
    }

    /// Verifies all of a statement's proofs together, and counts them.
    pub(super) fn verify(
        &mut self,
        sector: SectorId,
        statement: Statement,
        proofs: &[ProofBytes],
    ) -> Result<(), Stop> {
        let circuit = statement.circuit();
        self.shown(vec![(statement, proofs.to_vec())])
            .map_err(|(_, why)| Refusal::Proof { sector, why })?;
        let count = proofs.len() as u64;
        let tally = match circuit {
            Circuit::Seal => &mut self.proofs.seal,
            Circuit::Embed => &mut self.proofs.embed,
            Circuit::Spacetime => &mut self.proofs.spacetime,
        };
        *tally = tally.saturating_add(count);
        Ok(())
    }

    /// Sectors named by a message of their worker.
    fn named_sectors(
        &self,
        sender: &Address,
        provider: ProviderId,
        numbers: &[SectorNumber],
    ) -> Result<Vec<Sector>, Stop> {
        self.by_worker(provider, sender)?;
        require_range(
            "the number of sectors",
            numbers.len() as u64,
            1,
            MAX_SECTORS,
        )?;
        require(numbers.is_sorted_by(|a, b| a < b), || {
            Refusal::NotAscending("sectors")
        })?;
        let sector = |number: &SectorNumber| {
            self.ledger.sector(SectorId {
                provider,
                number: *number,
            })
        };
        numbers.iter().map(sector).collect()
    }

    /// Before anyone can know the challenge of its next deadline: afterwards a choice would be an
    /// escape.
    fn require_before_window(&self, what: &'static str, sector: &Sector) -> Result<(), Stop> {
        let parameters = &self.parameters;
        let window = schedule::window(parameters, sector.next, sector.deadline);
        let last = schedule::last_choice(parameters, window);
        require(self.height <= last, || Refusal::TooLate {
            what,
            last,
            height: self.height,
        })
    }

    pub(super) fn declare_fault(
        &mut self,
        sender: &Address,
        provider: ProviderId,
        numbers: &[SectorNumber],
    ) -> Result<(), Stop> {
        for sector in self.named_sectors(sender, provider, numbers)? {
            let mut sector = self.caught_up(sector)?;
            match sector.status {
                SectorStatus::Active { .. } | SectorStatus::Faulty { recovering: true } => {}
                _ => return Err(sector.refuse_state("active")),
            }
            self.require_before_window("a declaration for this deadline", &sector)?;
            sector.status = SectorStatus::Faulty { recovering: false };
            self.ledger.put_sector(&sector)?;
        }
        Ok(())
    }

    /// Fees have eaten into what is locked for the sector: it is filled up again.
    pub(super) fn recover(
        &mut self,
        sender: &Address,
        provider: ProviderId,
        numbers: &[SectorNumber],
    ) -> Result<(), Stop> {
        for sector in self.named_sectors(sender, provider, numbers)? {
            let mut sector = self.caught_up(sector)?;
            if sector.status != (SectorStatus::Faulty { recovering: false }) {
                return Err(sector.refuse_state("faulty"));
            }
            self.require_before_window("a recovery for this deadline", &sector)?;
            let economy = &self.parameters.economy;
            let full = quote::sector_collateral(economy, sector.class)?.max(sector.locked);
            let mut holder = self.ledger.provider(provider)?;
            holder.lock(take(full, sector.locked, "a sector's collateral")?)?;
            self.ledger.put_provider(&holder)?;
            sector.locked = full;
            sector.status = SectorStatus::Faulty { recovering: true };
            self.ledger.put_sector(&sector)?;
        }
        Ok(())
    }

    pub(super) fn terminate_sector(&mut self, sender: &Address, id: SectorId) -> Result<(), Stop> {
        self.by_worker(id.provider, sender)?;
        let sector = self.ledger.sector(id)?;
        match sector.status {
            SectorStatus::Terminated { .. } => Err(sector.refuse_state("not terminated")),
            SectorStatus::PreCommitted { at, .. } => {
                let due = schedule::seal_due(&self.parameters, at);
                self.unschedule(Due::Seal(id), due);
                self.abandon_seal(sector)
            }
            SectorStatus::Active { .. } | SectorStatus::Faulty { .. } => {
                self.unschedule_deadline(&sector);
                self.end_sector(sector, "its sector was given up")
            }
        }
    }

    /// A sector of a provider that retires ends, and costs nothing: it has missed no deadline, the next
    /// challenge of it is not known to anybody, and nobody can have a claim to what lies in it: no
    /// deal of it runs or answers for anything, and none is being embedded.
    pub(super) fn end_empty_sector(&mut self, sender: &Address, id: SectorId) -> Result<(), Stop> {
        let provider = self.by_worker(id.provider, sender)?;
        require(provider.retiring.is_some(), || Refusal::State {
            what: format!("provider {}", id.provider),
            found: "not retiring",
            needed: "retiring",
        })?;
        let sector = self.ledger.sector(id)?;
        let sector = self.caught_up(sector)?;
        if !matches!(sector.status, SectorStatus::Active { .. }) {
            return Err(sector.refuse_state("active"));
        }
        self.require_before_window("leaving before this deadline", &sector)?;
        let holding = || Refusal::State {
            what: format!("sector {id}"),
            found: "holding what somebody may have a claim to",
            needed: "no embed under way, and no deal that runs or still answers for something",
        };
        require(sector.embed.is_none(), holding)?;
        for deal in sector.deals() {
            let deal = self.ledger.deal(&deal)?;
            // One that was lost and lies elsewhere by now is no concern of this sector any more.
            let over = !lies_in(&deal, id) || !deal.status.is_held() && deal.locked == Amount::ZERO;
            require(over, holding)?;
        }
        self.unschedule_deadline(&sector);
        self.change_capacity(&sector, |bytes, sector| bytes.checked_sub(sector))?;
        let mut provider = self.ledger.provider(id.provider)?;
        provider.unlock(sector.locked)?;
        self.ledger.put_provider(&provider)?;
        self.put_terminated(sector)
    }

    /// The sector is gone; what was locked for it is free or burnt by now.
    fn put_terminated(&mut self, mut sector: Sector) -> Result<(), Stop> {
        sector.locked = Amount::ZERO;
        sector.groups.clear();
        sector.window = None;
        sector.status = SectorStatus::Terminated { at: self.height };
        self.ledger.put_sector(&sector)
    }

    /// A pre-commit without a proof: its deposit burns, the rest is free again.
    pub(super) fn abandon_seal(&mut self, sector: Sector) -> Result<(), Stop> {
        let SectorStatus::PreCommitted { deposit, .. } = sector.status else {
            return Err(sector.refuse_state("pre-committed"));
        };
        let mut provider = self.ledger.provider(sector.id.provider)?;
        provider.forfeit(deposit)?;
        provider.unlock(take(sector.locked, deposit, "a sector's collateral")?)?;
        self.ledger.put_provider(&provider)?;
        self.ledger.burn(deposit)?;
        self.put_terminated(sector)
    }

    /// A proven sector ends, given up or faulted out: all that is locked for it burns, and its
    /// deals fail.
    pub(super) fn end_sector(&mut self, mut sector: Sector, why: &str) -> Result<(), Stop> {
        self.abandon_embed(&mut sector)?;
        let mut provider = self.ledger.provider(sector.id.provider)?;
        provider.forfeit(sector.locked)?;
        self.ledger.put_provider(&provider)?;
        self.ledger.burn(sector.locked)?;
        self.change_capacity(&sector, |bytes, sector| bytes.checked_sub(sector))?;
        for id in sector.deals() {
            let deal = self.ledger.deal(&id)?;
            let here = matches!(deal.status, DealStatus::Proven { sector: number, .. }
                if number == sector.id.number && deal.provider == sector.id.provider);
            if here {
                self.fail_deal(&id, deal, why, None)?;
            }
        }
        self.put_terminated(sector)
    }

    /// The sector once the deadlines that no block's end had room for are closed. The room for that
    /// in messages is bounded: all together, it counts where a message is refused afterwards.
    fn caught_up(&mut self, mut sector: Sector) -> Result<Sector, Stop> {
        while let Some((_, window)) = schedule::next_window(&self.parameters, &sector)
            && window.close < self.height
        {
            let more = sector.deals().len().saturating_add(1);
            let closed = self.closed.saturating_add(more);
            require(closed <= MAX_CAUGHT_UP, || Refusal::State {
                what: format!("sector {}", sector.id),
                found: "behind: an earlier deadline of it is not closed yet",
                needed: "that deadline closed; send it again in a later block",
            })?;
            self.closed = closed;
            let id = sector.id;
            self.unschedule_deadline(&sector);
            self.close_deadlines(vec![sector])?;
            sector = self.ledger.sector(id)?;
        }
        Ok(sector)
    }

    /// The sector that a proof of its worker names for a period, held to that period now.
    pub(super) fn sector_for_period(
        &mut self,
        id: SectorId,
        period: Period,
        deadline: Deadline,
    ) -> Result<Sector, Stop> {
        let sector = self.ledger.sector(id)?;
        let held = |sector: &Sector| match sector.status {
            SectorStatus::Active { .. } | SectorStatus::Faulty { recovering: true } => Ok(()),
            _ => Err(sector.refuse_state("active or recovering")),
        };
        held(&sector)?;
        require_equal("the sector's deadline", &deadline, &sector.deadline)?;
        let sector = self.caught_up(sector)?;
        held(&sector)?;
        require_equal("the period", &period, &sector.next)?;
        require(sector.proven != Some(period), || {
            Refusal::Exists(format!("the proof of sector {id} for period {period}"))
        })?;
        Ok(sector)
    }
}
