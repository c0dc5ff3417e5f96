//! Deals: proposal, acceptance, cancelling, and the ways in which one ends.

use super::Context;
use super::due::Due;
use crate::keys;
use crate::ledger::{add, take};
use crate::message::{Acceptance, DealSetProposal};
use crate::quote::{self, MAX_PACK_BYTES, MAX_SHARDS, MAX_TERM};
use crate::refusal::{Refusal, Stop, require, require_equal, require_range};
use crate::schedule;
use crate::state::{Deal, DealSetRecord, DealStatus};
use crate::units::{Address, Amount, ByteCount, DealId, PackId, Periods, ProviderId, ShardIndex};
use crate::view::ReadView;
use holdfast_proofs::piece::PieceShape;
use std::collections::BTreeSet;

/// Deals that one message accepts, at most.
const MAX_ACCEPTANCES: u64 = 1024;

impl DealStatus {
    /// In a word, for refusals.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Accepted => "accepted",
            Self::Proven { .. } => "proven",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Broken { .. } => "broken",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether bytes are (or will be) held for it: its piece may lie in a group.
    pub(crate) const fn is_held(&self) -> bool {
        matches!(self, Self::Accepted | Self::Proven { .. })
    }

    /// Whether it is not over: with the last such deal of a set the repair budget is paid out.
    pub(super) const fn is_living(&self) -> bool {
        matches!(self, Self::Proposed | Self::Accepted | Self::Proven { .. })
    }

    /// Whether its shard was to be there and is not: somebody else may repair it.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Failed { .. })
    }
}

/// The refusal of a deal that stands otherwise than needed.
pub(super) fn refuse_deal(id: &DealId, deal: &Deal, needed: &'static str) -> Stop {
    Refusal::State {
        what: format!("deal {id}"),
        found: deal.status.name(),
        needed,
    }
    .into()
}

/// The shape of a deal's piece.
pub(super) fn shape_of(length: ByteCount, levels: u32) -> Result<PieceShape, Stop> {
    PieceShape::of(length.0, levels).map_err(|error| {
        Refusal::Malformed {
            what: "the shard's length",
            why: error.to_string(),
        }
        .into()
    })
}

impl<V: ReadView> Context<'_, V> {
    pub(super) fn propose_deal_set(
        &mut self,
        sender: &Address,
        proposal: &DealSetProposal,
    ) -> Result<(), Stop> {
        let pack = &proposal.pack;
        require_equal("the pack's owner", &pack.owner, sender)?;
        require_range("n", pack.n.into(), 1, MAX_SHARDS.into())?;
        require_range("k", pack.k.into(), 1, pack.n.into())?;
        require_range(
            "the repair threshold",
            proposal.repair_threshold.into(),
            pack.k.into(),
            pack.n.into(),
        )?;
        require_range("the pack's length", pack.length.0, 1, MAX_PACK_BYTES)?;
        let length = quote::shard_length(pack.k, pack.length);
        require_equal("the shards' length", &pack.shard_length, &length)?;
        let n = usize::from(pack.n);
        require_equal("the number of shard roots", &pack.shard_roots.len(), &n)?;
        require_equal("the number of terms", &proposal.terms.len(), &n)?;
        shape_of(length, self.parameters.piece_levels)?;
        let id = pack.id()?;
        require(self.ledger.deal_set_option(&id)?.is_none(), || {
            Refusal::Exists(format!("the deal set of pack {id}"))
        })?;
        for terms in &proposal.terms {
            require_range("the term", terms.term.0, 1, MAX_TERM.0)?;
            self.require_price(terms.price)?;
            require(terms.fund_by >= self.height, || Refusal::TooLate {
                what: "the funding of a receipt",
                last: terms.fund_by,
                height: self.height,
            })?;
        }
        self.ledger.debit(sender, quote::deal_set(proposal)?)?;
        self.ledger.put_deal_set(
            &id,
            &DealSetRecord {
                proposal: proposal.clone(),
                at: self.height,
                repair_budget: proposal.repair_budget,
                of_penalties: Amount::ZERO,
                live: pack.n,
            },
        )?;
        self.ledger
            .put(keys::owner_deal_set(sender, &id), Some(vec![1]));
        for (index, terms) in (0u8..).zip(&proposal.terms) {
            let provider = self.ledger.provider(terms.provider)?;
            self.require_fundable(&provider)?;
            let worker = provider.worker;
            let shard = DealId {
                pack: id,
                shard: ShardIndex(index),
            };
            let deal = Deal {
                owner: *sender,
                provider: terms.provider,
                worker,
                tier: terms.tier,
                length,
                per_period: quote::shard_period(terms.price, length)?,
                term: terms.term,
                status: DealStatus::Proposed,
                sector: None,
                piece_roots: Vec::new(),
                escrow: quote::shard_escrow(terms.price, length, terms.term)?,
                locked: Amount::ZERO,
                paid: Periods(0),
                refunded: Periods(0),
                demand: None,
                release: None,
                set_aside: Amount::ZERO,
                lapsed: 0,
                repair: None,
            };
            self.ledger.put_deal(&shard, &deal)?;
            let key = keys::provider_deal(terms.provider, &shard);
            self.ledger.put(key, Some(vec![1]));
        }
        let due = schedule::promise_height(&self.parameters, self.height);
        self.schedule(Due::Promise(id), due);
        Ok(())
    }

    /// Every deal pays for the room that it takes and for the work at its deadlines.
    pub(super) fn require_price(&self, price: Amount) -> Result<(), Stop> {
        let least = self.parameters.economy.minimum_price;
        require(price >= least, || Refusal::Mismatch {
            what: "the price a GiB and period",
            found: price.to_string(),
            expected: format!("at least {least}"),
        })
    }

    /// Gives back the escrow of every deal that no provider has accepted.
    pub(super) fn cancel_deal_set(&mut self, sender: &Address, pack: &PackId) -> Result<(), Stop> {
        let set = self.ledger.deal_set(pack)?;
        require(set.proposal.pack.owner == *sender, || {
            Refusal::NotOwner(format!("the deal set of pack {pack}"))
        })?;
        let mut cancelled = 0u32;
        for index in 0..set.proposal.pack.n {
            let id = DealId {
                pack: *pack,
                shard: ShardIndex(index),
            };
            let deal = self.ledger.deal(&id)?;
            // A repair under way is the owner's standing word to whoever has begun it.
            if deal.status == DealStatus::Proposed && deal.repair.is_none() {
                self.finish_deal(&id, deal, DealStatus::Cancelled)?;
                cancelled = cancelled.saturating_add(1);
            }
        }
        require(cancelled > 0, || Refusal::State {
            what: format!("the deal set of pack {pack}"),
            found: "accepted or over in all its deals",
            needed: "a deal that no provider has accepted",
        })
    }

    /// Every deal whose provider goes on has so many periods left afterwards, at its own price.
    pub(super) fn renew_deal_set(
        &mut self,
        sender: &Address,
        pack: &PackId,
        periods: Periods,
        least: u8,
    ) -> Result<(), Stop> {
        require_range("the number of periods", periods.0, 1, MAX_TERM.0)?;
        let set = self.ledger.deal_set(pack)?;
        let n = set.proposal.pack.n;
        require(set.proposal.pack.owner == *sender, || {
            Refusal::NotOwner(format!("the deal set of pack {pack}"))
        })?;
        require_range("the least number of deals", least.into(), 1, n.into())?;
        let mut kept = 0u8;
        for (index, terms) in (0u8..).zip(&set.proposal.terms) {
            let id = DealId {
                pack: *pack,
                shard: ShardIndex(index),
            };
            let mut deal = self.ledger.deal(&id)?;
            let provider = self.ledger.provider(deal.provider)?;
            let Some(price) = quote::renewal(&deal, terms.price, &provider, periods)? else {
                continue;
            };
            kept = kept.saturating_add(1);
            if price != Amount::ZERO {
                self.require_price(terms.price)?;
                self.ledger.debit(sender, price)?;
                deal.escrow = add(deal.escrow, price)?;
                deal.term = Periods(deal.settled().0.saturating_add(periods.0));
                self.ledger.put_deal(&id, &deal)?;
            }
        }
        require_range(
            "the number of deals that can have so many periods left",
            kept.into(),
            least.into(),
            n.into(),
        )
    }

    pub(super) fn accept_deals(
        &mut self,
        sender: &Address,
        id: ProviderId,
        deals: &[Acceptance],
    ) -> Result<(), Stop> {
        let parameters = &self.parameters;
        let mut provider = self.by_worker(id, sender)?;
        require_range(
            "the number of deals",
            deals.len() as u64,
            1,
            MAX_ACCEPTANCES,
        )?;
        let mut seen = BTreeSet::new();
        let (mut accepted, mut over) = (0u32, None);
        for acceptance in deals {
            let shard = &acceptance.shard;
            require(seen.insert(*shard), || Refusal::NotAscending("deals"))?;
            let mut deal = self.ledger.deal(shard)?;
            // Its owner may cancel it in the same block, and once it is lost somebody else may have it:
            // that must not spoil the others' acceptance.
            if deal.provider != id {
                over = require_equal("the deal's provider", &id, &deal.provider).err();
                continue;
            }
            if deal.status != DealStatus::Proposed {
                over = Some(refuse_deal(shard, &deal, "proposed"));
                continue;
            }
            accepted = accepted.saturating_add(1);
            let shape = shape_of(deal.length, parameters.piece_levels)?;
            require_equal(
                "the number of piece roots",
                &acceptance.piece_roots.len(),
                &shape.subtrees().len(),
            )?;
            deal.locked = quote::deal_collateral(&parameters.economy, deal.length)?;
            provider.lock(deal.locked)?;
            deal.piece_roots = acceptance.piece_roots.clone();
            deal.status = DealStatus::Accepted;
            self.ledger.put_deal(shard, &deal)?;
        }
        match over {
            Some(refusal) if accepted == 0 => Err(refusal),
            _ => self.ledger.put_provider(&provider),
        }
    }

    /// A deal ends without blame (or its promise is broken and the claim is open): what is left of
    /// its escrow returns to its owner, its collateral stays until the dispute window is over.
    pub(super) fn finish_deal(
        &mut self,
        id: &DealId,
        mut deal: Deal,
        status: DealStatus,
    ) -> Result<(), Stop> {
        self.ledger.credit(&deal.owner, deal.escrow)?;
        deal.escrow = Amount::ZERO;
        deal.status = status;
        if deal.status != DealStatus::Cancelled {
            let at = self.height.after(self.parameters.dispute_window);
            self.schedule(Due::Release(*id), at);
            deal.release = Some(at);
        }
        self.ledger.put_deal(id, &deal)?;
        self.one_deal_less(&id.pack)
    }

    /// With the last deal the repair budget returns to the owner, and what of it were penalties burns:
    /// or else a provider would carry out its least collateral by a penalty on a deal of its friend's.
    fn one_deal_less(&mut self, pack: &PackId) -> Result<(), Stop> {
        let mut set = self.ledger.deal_set(pack)?;
        set.live = set.live.saturating_sub(1);
        if set.live == 0 {
            let own = take(set.repair_budget, set.of_penalties, "a repair budget")?;
            self.ledger.burn(set.of_penalties)?;
            self.ledger.credit(&set.proposal.pack.owner, own)?;
            (set.repair_budget, set.of_penalties) = Default::default();
        }
        self.ledger.put_deal_set(pack, &set)
    }

    /// A deal fails by its provider's fault: all that is locked for it is taken, and what a repair
    /// under way has staked.
    pub(super) fn fail_deal(
        &mut self,
        id: &DealId,
        mut deal: Deal,
        why: &str,
        finder: Option<&Address>,
    ) -> Result<(), Stop> {
        self.abandon_repair(id, &mut deal)?;
        let mut provider = self.ledger.provider(deal.provider)?;
        provider.forfeit(deal.locked)?;
        self.ledger.put_provider(&provider)?;
        let penalty = deal.locked;
        deal.locked = Amount::ZERO;
        self.distribute(&mut deal, id, penalty, finder)?;
        if let Some(demand) = deal.demand.take() {
            self.unschedule(Due::Opening(*id), demand.due);
            // The deposit leaves the deal before it reaches the account.
            self.ledger.put_deal(id, &deal)?;
            self.ledger.credit(&demand.by, demand.deposit)?;
            let waiting = self.ledger.waiting_demands(id)?;
            self.ledger.put_waiting_demands(id, &Vec::new())?;
            for demand in waiting {
                self.ledger.credit(&demand.by, demand.deposit)?;
            }
        }
        if deal.status.is_living() {
            self.ledger.credit(&deal.owner, deal.escrow)?;
            deal.escrow = Amount::ZERO;
            self.one_deal_less(&id.pack)?;
        }
        deal.status = DealStatus::Failed { reason: why.into() };
        self.ledger.put_deal(id, &deal)
    }

    /// A penalty already taken from a provider: the finder's share, then what replacing the shard
    /// for the rest of its term costs into the repair budget, then fire. The caller writes the deal.
    pub(super) fn distribute(
        &mut self,
        deal: &mut Deal,
        id: &DealId,
        penalty: Amount,
        finder: Option<&Address>,
    ) -> Result<(), Stop> {
        let mut rest = penalty;
        if let Some(finder) = finder {
            let reward = quote::finder_share(&self.parameters.economy, penalty)?;
            self.ledger.credit(finder, reward)?;
            rest = take(rest, reward, "a penalty")?;
        }
        let mut set = self.ledger.deal_set(&id.pack)?;
        let others = if deal.status.is_living() {
            set.live.saturating_sub(1)
        } else {
            set.live
        };
        // With nothing left to repair, the budget is about to be paid out: nothing goes into it.
        if others > 0 {
            let repair = self.set_aside(&set, deal, rest)?;
            set.repair_budget = add(set.repair_budget, repair)?;
            set.of_penalties = add(set.of_penalties, repair)?;
            rest = take(rest, repair, "a penalty")?;
            self.ledger.put_deal_set(&id.pack, &set)?;
        }
        self.ledger.burn(rest)
    }

    /// The dispute window of a finished deal is over: its collateral is free, unless an opening is
    /// still owed.
    pub(super) fn release_deal(&mut self, id: &DealId) -> Result<(), Stop> {
        let mut deal = self.ledger.deal(id)?;
        if let Some(demand) = &deal.demand {
            let at = demand.due.after(crate::units::Blocks(1));
            self.schedule(Due::Release(*id), at);
            deal.release = Some(at);
            return self.ledger.put_deal(id, &deal);
        }
        let mut provider = self.ledger.provider(deal.provider)?;
        provider.unlock(deal.locked)?;
        self.ledger.put_provider(&provider)?;
        deal.locked = Amount::ZERO;
        deal.release = None;
        self.ledger.put_deal(id, &deal)
    }
}
