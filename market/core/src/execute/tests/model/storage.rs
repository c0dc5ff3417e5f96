//! Sectors, embeds and the end of a block.

use super::books::{Channel, Embed, GIB, Model, Sector, Stand, Status, need, per_gib};
use crate::message::{EmbedCommit, PreCommit};
use crate::units::{Address, DealId, SectorId};
use holdfast_proofs::piece::PieceShape;
use std::collections::BTreeMap;

impl Model {
    fn full_lock(&self, bytes: u64) -> u128 {
        per_gib(self.p.economy.collateral_per_gib.0, bytes)
    }

    pub fn pre_commit(&mut self, sender: &Address, commit: &PreCommit) -> Option<()> {
        let id = commit.sector;
        self.worked(id.provider.0, sender)?;
        need(self.provider(id.provider.0)?.retiring.is_none())?;
        need(self.p.classes.contains(&commit.class))?;
        need(!self.sectors.contains_key(&id))?;
        let ticket = commit.ticket.0;
        need(ticket < self.height && ticket + self.p.ticket_age.0 >= self.height)?;
        let economy = &self.p.economy;
        let locked = self.full_lock(commit.class.bytes()) + economy.seal_deposit.0;
        need(self.free(id.provider.0) >= locked + economy.minimum_collateral.0)?;
        let sector = Sector {
            bytes: commit.class.bytes(),
            stand: Stand::PreCommitted(self.height),
            locked,
            deadline: 0,
            next: 0,
            proven: None,
            faults: 0,
            groups: BTreeMap::new(),
            embed: None,
        };
        self.sectors.insert(id, sector);
        Some(())
    }

    pub fn prove_seal(&mut self, sender: &Address, id: SectorId) -> Option<()> {
        self.worked(id.provider.0, sender)?;
        let Stand::PreCommitted(at) = self.sectors.get(&id)?.stand else {
            return None;
        };
        need(self.height > at + self.p.beacon_delay.0 && self.height <= at + self.p.seal_due.0)?;
        // The deadline with the fewest bytes; of several the one that opens soonest.
        let load = |deadline: u64| -> u64 {
            let there = self.sectors.values().filter(|sector| {
                sector.deadline == deadline
                    && !matches!(sector.stand, Stand::PreCommitted(_) | Stand::Terminated)
            });
            there.map(|sector| sector.bytes).sum()
        };
        let opens = |deadline: u64| {
            (self.period()..)
                .map(|period| self.window(period, deadline).0)
                .find(|open| *open > self.height)
                .unwrap()
        };
        let deadline = (0..u64::from(self.p.deadlines))
            .min_by_key(|deadline| (load(*deadline), opens(*deadline)))
            .unwrap();
        let next = (opens(deadline) - 1) / self.p.period.0;
        let full = self.full_lock(self.sectors[&id].bytes);
        let sector = self.sectors.get_mut(&id)?;
        sector.deadline = deadline;
        sector.next = next;
        sector.locked = full;
        sector.stand = Stand::Active;
        Some(())
    }

    pub fn prove(&mut self, id: SectorId, period: u64, deadline: u64) -> Option<()> {
        let (open, close) = self.window(period, deadline);
        need(self.height > open && self.height <= close)?;
        let sector = self.sectors.get_mut(&id)?;
        need(matches!(sector.stand, Stand::Active | Stand::Recovering))?;
        need(sector.deadline == deadline && sector.next == period)?;
        need(sector.proven != Some(period))?;
        sector.proven = Some(period);
        sector.stand = Stand::Active;
        Some(())
    }

    /// Before anyone can know the challenge.
    fn before_window(&self, sector: &Sector) -> Option<()> {
        let (open, _) = self.window(sector.next, sector.deadline);
        need(self.height + self.p.beacon_delay.0 <= open)
    }

    pub fn declare(&mut self, id: SectorId) -> Option<()> {
        let sector = self.sectors.get(&id)?;
        need(matches!(sector.stand, Stand::Active | Stand::Recovering))?;
        self.before_window(sector)?;
        self.sectors.get_mut(&id)?.stand = Stand::Faulty;
        Some(())
    }

    pub fn recover(&mut self, id: SectorId) -> Option<()> {
        let sector = self.sectors.get(&id)?;
        need(sector.stand == Stand::Faulty)?;
        self.before_window(sector)?;
        let full = self.full_lock(sector.bytes);
        need(self.free(id.provider.0) >= full - sector.locked)?;
        let sector = self.sectors.get_mut(&id)?;
        sector.locked = full;
        sector.stand = Stand::Recovering;
        Some(())
    }

    /// Leaving costs nothing where nobody can have a claim.
    pub fn end_sector(&mut self, sender: &Address, id: SectorId) -> Option<()> {
        self.worked(id.provider.0, sender)?;
        need(self.provider(id.provider.0)?.retiring.is_some())?;
        let sector = self.sectors.get(&id)?;
        need(sector.stand == Stand::Active && sector.embed.is_none())?;
        self.before_window(sector)?;
        for (deal, _) in sector.groups.values().flatten() {
            let deal = &self.deals[deal];
            let elsewhere = !deal.lies_in(id);
            need(elsewhere || !deal.is_held() && deal.locked == 0)?;
        }
        self.gone(id);
        Some(())
    }

    pub fn terminate(&mut self, sender: &Address, id: SectorId) -> Option<()> {
        self.worked(id.provider.0, sender)?;
        match self.sectors.get(&id)?.stand {
            Stand::Terminated => return None,
            Stand::PreCommitted(_) => self.abandon_seal(id),
            _ => self.lose(id),
        }
        Some(())
    }

    fn gone(&mut self, id: SectorId) {
        let sector = self.sectors.get_mut(&id).unwrap();
        sector.locked = 0;
        sector.groups.clear();
        sector.stand = Stand::Terminated;
    }

    fn abandon_seal(&mut self, id: SectorId) {
        let deposit = self.p.economy.seal_deposit.0;
        self.take(id.provider.0, deposit);
        self.burnt += deposit;
        self.gone(id);
    }

    fn abandon_embed(&mut self, id: SectorId) {
        let Some(embed) = self.sectors.get_mut(&id).unwrap().embed.take() else {
            return;
        };
        let deposit = self.p.economy.embed_deposit.0;
        self.take(id.provider.0, deposit);
        self.burnt += deposit;
        for (deal, _) in embed.groups.values().flatten() {
            let deal = self.deals.get_mut(deal).unwrap();
            let mine = deal.provider == id.provider.0 && deal.sector == Some(id.number.0);
            if deal.status == Status::Accepted && mine {
                deal.sector = None;
            }
        }
    }

    /// All that is locked for it burns and what is stored in it is lost.
    fn lose(&mut self, id: SectorId) {
        self.abandon_embed(id);
        let sector = self.sectors.get_mut(&id).unwrap();
        let locked = std::mem::take(&mut sector.locked);
        self.take(id.provider.0, locked);
        self.burnt += locked;
        for deal in self.stored(id) {
            self.fail(&deal, None);
        }
        self.gone(id);
    }

    /// The deals that are proven in a sector.
    fn stored(&self, id: SectorId) -> Vec<DealId> {
        let here = |deal: &super::books::Deal| {
            deal.provider == id.provider.0
                && matches!(deal.status, Status::Proven { sector, .. } if sector == id.number.0)
        };
        let deals = self.deals.iter().filter(|(_, deal)| here(deal));
        deals.map(|(id, _)| *id).collect()
    }

    pub fn commit_embed(&mut self, sender: &Address, commit: &EmbedCommit) -> Option<()> {
        let id = commit.sector;
        self.worked(id.provider.0, sender)?;
        let sector = self.sectors.get(&id)?;
        need(sector.stand == Stand::Active && sector.embed.is_none())?;
        let mut written = BTreeMap::new();
        for layout in &commit.groups {
            let placed = layout.subtrees.iter().map(|one| (one.deal, one.subtree));
            written.insert(layout.group.index(), placed.collect::<Vec<_>>());
            // A group of the smallest class has room for eight units.
            let size = layout
                .subtrees
                .iter()
                .map(|one| 1 << (3 * (one.levels - 3)));
            let room = sector.bytes / 64 / (512 * 32);
            need(size.sum::<u64>() <= room)?;
        }
        need(!written.is_empty() && written.len() == commit.groups.len())?;
        let mut least = self.p.economy.minimum_collateral.0;
        let mut whole = Vec::new();
        let mut new = Vec::new();
        for placed in written.values() {
            let mut tiers = Vec::new();
            for (deal_id, _) in placed {
                let deal = self.deals.get(deal_id)?;
                need(deal.provider == id.provider.0)?;
                match deal.status {
                    Status::Accepted => {
                        need(deal.sector.is_none())?;
                        if !new.contains(deal_id) {
                            new.push(*deal_id);
                            least = least.saturating_sub(deal.locked);
                        }
                    }
                    Status::Proven { sector, .. } => need(sector == id.number.0)?,
                    _ => return None,
                }
                whole.push(*deal_id);
                tiers.push(deal.tier);
            }
            need(tiers.iter().all(|tier| *tier == tiers[0]))?;
        }
        // What lives in a group that is written is in the sector afterwards, too.
        let mut after = sector.groups.clone();
        for (group, placed) in &written {
            let before = after.insert(*group, placed.clone()).unwrap_or_default();
            for (deal, _) in before {
                let live = &self.deals[&deal];
                if live.is_held() && live.lies_in(id) {
                    whole.push(deal);
                }
            }
        }
        for id in whole {
            let shape = PieceShape::of(self.deals[&id].length, self.p.piece_levels).unwrap();
            for subtree in 0..shape.subtrees().len() as u32 {
                // A piece that is new here may be listed where it lay before it was lost.
                let counts = |group: &u8| written.contains_key(group) || !new.contains(&id);
                let groups = after.iter().filter(|(group, _)| counts(group));
                let places = groups.flat_map(|(_, placed)| placed);
                need(places.filter(|place| **place == (id, subtree)).count() == 1)?;
            }
        }
        for deal in new {
            self.deals.get_mut(&deal)?.sector = Some(id.number.0);
        }
        need(self.free(id.provider.0) >= self.p.economy.embed_deposit.0 + least)?;
        let committed = self.height;
        self.sectors.get_mut(&id)?.embed = Some(Embed {
            committed,
            replica: None,
            groups: written,
        });
        Some(())
    }

    pub fn commit_replica(&mut self, sender: &Address, id: SectorId) -> Option<()> {
        self.worked(id.provider.0, sender)?;
        let (height, delay) = (self.height, self.p.beacon_delay.0);
        let due = self.p.replica_due.0;
        let embed = self.sectors.get_mut(&id)?.embed.as_mut()?;
        need(embed.replica.is_none())?;
        need(height > embed.committed + delay && height <= embed.committed + due)?;
        embed.replica = Some(height);
        Some(())
    }

    pub fn prove_embed(&mut self, sender: &Address, id: SectorId) -> Option<()> {
        self.worked(id.provider.0, sender)?;
        let embed = self.sectors.get(&id)?.embed.clone()?;
        let at = embed.replica?;
        need(self.height > at + self.p.beacon_delay.0 && self.height <= at + self.p.embed_due.0)?;
        let from = self.period() + 1;
        let mut landed = Vec::new();
        for (deal, _) in embed.groups.values().flatten() {
            if self.deals[deal].lies_in(id) && self.deals[deal].status == Status::Accepted {
                landed.push(*deal);
            }
        }
        for (deal, _) in embed.groups.values().flatten() {
            let promised = self.sets[&deal.pack].at + self.p.promise.0;
            let deal = self.deals.get_mut(deal)?;
            let here = (deal.provider, deal.sector) == (id.provider.0, Some(id.number.0));
            let due = deal.repair.as_ref().map_or(promised, |repair| repair.due);
            if here && deal.status == Status::Accepted && self.height <= due {
                let sector = id.number.0;
                deal.status = Status::Proven { sector, from };
                if let Some(repair) = deal.repair.take() {
                    let provider = self.provider(id.provider.0)?;
                    provider.paid += repair.work;
                    let owner = provider.owner;
                    self.credit(&owner, repair.work);
                }
            }
        }
        let sector = self.sectors.get_mut(&id)?;
        sector.embed = None;
        for placed in sector.groups.values_mut() {
            placed.retain(|(deal, _)| !landed.contains(deal));
        }
        sector.groups.extend(embed.groups);
        sector.groups.retain(|_, placed| !placed.is_empty());
        Some(())
    }

    /// The end of a block: deadlines with faults, payments, rewards and terminations; what was
    /// abandoned; promises; openings; dispute windows; vesting; channels.
    pub fn end(&mut self) {
        self.close_deadlines();
        let ids: Vec<SectorId> = self.sectors.keys().copied().collect();
        for id in &ids {
            if let Stand::PreCommitted(at) = self.sectors[id].stand
                && at + self.p.seal_due.0 == self.height
            {
                self.abandon_seal(*id);
            }
        }
        for id in ids {
            let due = self.sectors[&id]
                .embed
                .as_ref()
                .map(|embed| match embed.replica {
                    None => embed.committed + self.p.replica_due.0,
                    Some(at) => at + self.p.embed_due.0,
                });
            if due == Some(self.height) {
                self.abandon_embed(id);
            }
        }
        self.end_repairs();
        self.end_deals();
        self.vest();
        let due = |channel: &Channel| channel.closing == Some(self.height);
        let closed: Vec<_> = self
            .channels
            .iter()
            .filter(|(_, channel)| due(channel))
            .map(|(id, _)| *id)
            .collect();
        for id in closed {
            let channel = self.channels.remove(&id).unwrap();
            self.credit(&id.1, channel.deposit - channel.redeemed);
        }
    }

    fn close_deadlines(&mut self) {
        let closing: Vec<SectorId> = self
            .sectors
            .iter()
            .filter(|(_, sector)| {
                matches!(
                    sector.stand,
                    Stand::Active | Stand::Faulty | Stand::Recovering
                ) && self.window(sector.next, sector.deadline).1 == self.height
            })
            .map(|(id, _)| *id)
            .collect();
        let mut proven = Vec::new();
        for id in &closing {
            let economy = self.p.economy.clone();
            let sector = self.sectors.get_mut(id).unwrap();
            let period = sector.next;
            sector.next += 1;
            if sector.proven == Some(period) {
                sector.faults = 0;
                self.provider(id.provider.0).unwrap().proven += 1;
                proven.push(*id);
            } else {
                let declared = sector.stand == Stand::Faulty;
                let more = if declared {
                    0
                } else {
                    economy.missed_fee_per_gib.0
                };
                let rate = economy.fault_fee_per_gib.0 + more;
                let fee = per_gib(rate, sector.bytes).min(sector.locked);
                sector.locked -= fee;
                sector.faults += 1;
                sector.stand = Stand::Faulty;
                self.take(id.provider.0, fee);
                self.burnt += fee;
                self.provider(id.provider.0).unwrap().missed += 1;
            }
        }
        let mut paid = BTreeMap::new();
        for id in &closing {
            let settled = self.settle(*id, proven.contains(id));
            paid.insert(*id, settled);
        }
        for id in &proven {
            let (bytes, burnt) = paid[id];
            self.reward(*id, bytes, burnt);
        }
        for id in closing {
            if self.sectors[&id].faults >= self.p.faults_to_termination.0 {
                self.lose(id);
            }
        }
    }

    /// Pays a sector's deals for the period that closes, or gives its price back: bytes that were
    /// paid for, and what was burnt of that.
    fn settle(&mut self, id: SectorId, proven: bool) -> (u64, u128) {
        let period = self.sectors[&id].next - 1;
        let (mut bytes, mut burnt) = (0, 0);
        for deal_id in self.stored(id) {
            let deal = self.deals.get_mut(&deal_id).unwrap();
            let Status::Proven { from, .. } = deal.status else {
                continue;
            };
            if from > period {
                continue;
            }
            let (price, owner, length) = (deal.price, deal.owner, deal.length);
            if proven {
                deal.paid += 1;
                let share = (price * u128::from(self.p.economy.burn_thousandths)).div_ceil(1000);
                self.burnt += share;
                burnt += share;
                bytes += length;
                let provider = self.provider(id.provider.0).unwrap();
                provider.paid += price - share;
                let payee = provider.owner;
                self.credit(&payee, price - share);
            } else {
                deal.refunded += 1;
                self.credit(&owner, price);
            }
            let deal = &self.deals[&deal_id];
            if deal.paid + deal.refunded >= deal.term {
                self.finish(&deal_id, Status::Expired);
            }
        }
        (bytes, burnt)
    }

    fn reward(&mut self, id: SectorId, deal_bytes: u64, burnt: u128) {
        let economy = self.p.economy.clone();
        let now = self.period();
        let size = u128::from(self.sectors[&id].bytes);
        let capacity: u128 = self
            .sectors
            .values()
            .filter(|sector| !matches!(sector.stand, Stand::PreCommitted(_) | Stand::Terminated))
            .map(|sector| u128::from(sector.bytes))
            .sum();
        if self.pool.0 < now {
            self.pool = (now, 0);
        }
        let halvings = u32::try_from(now / economy.reward_halving.0).unwrap_or(u32::MAX);
        let first = economy.reward_per_period.0;
        let pool = first.checked_shr(halvings).unwrap_or(0);
        let base = (pool * size / capacity)
            .min(economy.reward_cap_per_gib.0 * size / GIB)
            .min(pool - self.pool.1);
        self.pool.1 += base;
        // Bytes under deals count more, by no more than what their payment burnt.
        let more = u128::from(economy.deal_weight_tenths - 10);
        let bonus = base * more * u128::from(deal_bytes) / (size * 10);
        let reward = base + bonus.min(burnt);
        if reward > 0 {
            self.minted += reward;
            let provider = self.provider(id.provider.0).unwrap();
            provider.rewarded += reward;
            *provider.vesting.entry(now + economy.vesting.0).or_default() += reward;
        }
    }

    /// What has vested is the owner's, except what is locked and nothing else covers.
    fn vest(&mut self) {
        let now = self.period();
        for id in 0..self.providers.len() as u64 {
            let locked = self.locked(id);
            let provider = self.provider(id).unwrap();
            let later = provider.vesting.split_off(&(now + 1));
            let due: u128 = std::mem::replace(&mut provider.vesting, later)
                .values()
                .sum();
            let rest = provider.collateral + provider.vesting.values().sum::<u128>();
            let kept = locked.saturating_sub(rest).min(due);
            provider.collateral += kept;
            let owner = provider.owner;
            self.credit(&owner, due - kept);
        }
    }
}
