//! The model's state and its simplest rules, written from ECONOMY and PROTOCOL, in plain numbers:
//! nothing that can be counted is kept, so locks, escrow, capacity and sums are counted anew
//! whenever they are asked for, and every block looks at everything for what is due.

use super::super::play::Play;
use super::super::world::{ACCOUNTS, address};
use crate::channel::SignedVoucher;
use crate::message::{Body, ProviderOffer, SignedMessage};
use crate::parameters::Parameters;
use crate::receipt::Tier;
use crate::units::{Address, DealId, NetworkId, PackId, SectorId};
use std::collections::{BTreeMap, BTreeSet};

pub const GIB: u128 = 1 << 30;

#[derive(Clone, Default)]
pub struct Account {
    pub balance: u128,
    pub nonce: u64,
}

#[derive(Clone)]
pub struct Provider {
    pub owner: Address,
    pub worker: Address,
    pub offer: ProviderOffer,
    pub collateral: u128,
    /// By the period in which it is the owner's.
    pub vesting: BTreeMap<u64, u128>,
    pub retiring: Option<u64>,
    /// Workers of before, and the height that replaced each.
    pub past: Vec<(Address, u64)>,
    pub proven: u64,
    pub missed: u64,
    pub broken: u64,
    pub frauds: u64,
    pub rewarded: u128,
    pub paid: u128,
    pub fined: u128,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stand {
    PreCommitted(u64),
    Active,
    Faulty,
    Recovering,
    Terminated,
}

#[derive(Clone)]
pub struct Embed {
    pub committed: u64,
    pub replica: Option<u64>,
    pub groups: BTreeMap<u8, Vec<(DealId, u32)>>,
}

#[derive(Clone)]
pub struct Sector {
    pub bytes: u64,
    pub stand: Stand,
    pub locked: u128,
    pub deadline: u64,
    /// The period that it is held to next.
    pub next: u64,
    pub proven: Option<u64>,
    pub faults: u64,
    /// Which subtrees of which deals lie in which group.
    pub groups: BTreeMap<u8, Vec<(DealId, u32)>>,
    pub embed: Option<Embed>,
}

#[derive(Clone)]
pub struct Set {
    pub owner: Address,
    pub at: u64,
    pub n: u8,
    pub k: u8,
    pub threshold: u8,
    pub budget: u128,
    /// What of the budget were penalties.
    pub fined: u128,
}

#[derive(Clone)]
pub struct Repair {
    pub due: u64,
    pub deposit: u128,
    pub work: u128,
    pub fined: u128,
    pub term: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Proposed,
    Accepted,
    Proven { sector: u64, from: u64 },
    Expired,
    Cancelled,
    Broken { claimed: bool },
    Failed,
}

#[derive(Clone)]
pub struct Demand {
    pub quad: u64,
    pub by: Address,
    pub due: u64,
    pub deposit: u128,
}

#[derive(Clone)]
pub struct Deal {
    pub owner: Address,
    pub provider: u64,
    pub worker: Address,
    pub tier: Tier,
    pub length: u64,
    /// For a GiB and period, and what it costs a period.
    pub rate: u128,
    pub price: u128,
    pub term: u64,
    pub first_term: u64,
    pub first_provider: u64,
    pub fund_by: u64,
    pub status: Status,
    /// The sector that it is embedded in, or being so.
    pub sector: Option<u64>,
    pub was_accepted: bool,
    /// Its piece is of other bytes than its shard.
    pub lie: bool,
    pub locked: u128,
    pub paid: u64,
    pub refunded: u64,
    pub demands: Vec<Demand>,
    /// When the dispute window after it is over.
    pub release: Option<u64>,
    /// Of what its loss paid, what is for the work of replacing it.
    pub set_aside: u128,
    /// Repairs of it that came to nothing.
    pub lapsed: u32,
    pub repair: Option<Repair>,
    /// What lay in it has gone back to the repair budget already.
    pub escrow_went_back: bool,
}

#[derive(Clone)]
pub struct Channel {
    pub opened: u64,
    pub deposit: u128,
    pub redeemed: u128,
    pub closing: Option<u64>,
}

#[derive(Clone)]
pub struct Model {
    pub p: Parameters,
    pub network: NetworkId,
    pub height: u64,
    pub accounts: BTreeMap<Address, Account>,
    pub providers: Vec<Provider>,
    pub sectors: BTreeMap<SectorId, Sector>,
    pub sets: BTreeMap<PackId, Set>,
    pub deals: BTreeMap<DealId, Deal>,
    pub channels: BTreeMap<(u64, Address), Channel>,
    pub names: BTreeMap<(Address, String), u64>,
    pub minted: u128,
    pub burnt: u128,
    /// The last period in which something was minted, and what, bonuses not counted.
    pub pool: (u64, u128),
}

/// What a test over random hands should come to.
pub const CORNERS: [&str; 16] = [
    "sector active",
    "sector faulty",
    "sector recovering",
    "sector terminated",
    "deal proven",
    "deal expired",
    "deal cancelled",
    "deal broken",
    "deal claimed",
    "deal failed",
    "deals renewed",
    "demands wait",
    "an embed under way",
    "a provider that retires",
    "a past worker",
    "a channel that closes",
];

/// Goes on only where it holds: otherwise the message is refused.
pub fn need(holds: bool) -> Option<()> {
    holds.then_some(())
}

pub fn per_gib(rate: u128, bytes: u64) -> u128 {
    // More than anybody has, where it is more than the numbers hold.
    match rate.checked_mul(bytes.into()) {
        Some(product) => product.div_ceil(GIB),
        None => u128::MAX,
    }
}

impl Model {
    pub fn new(play: &Play, unit: u128) -> Self {
        let accounts: BTreeMap<Address, Account> = (0..ACCOUNTS)
            .map(|index| {
                let balance = unit * 1_000;
                (address(index), Account { balance, nonce: 0 })
            })
            .collect();
        let minted = accounts.values().map(|account| account.balance).sum();
        Self {
            p: play.parameters().clone(),
            network: play.world.rules.network,
            height: 0,
            accounts,
            providers: Vec::new(),
            sectors: BTreeMap::new(),
            sets: BTreeMap::new(),
            deals: BTreeMap::new(),
            channels: BTreeMap::new(),
            names: BTreeMap::new(),
            minted,
            burnt: 0,
            pool: (0, 0),
        }
    }

    /// Executes a block; whether each message was done.
    pub fn block(&mut self, messages: &[SignedMessage]) -> Vec<bool> {
        self.height += 1;
        for signed in messages {
            let fee = signed.message.fee.0;
            self.burnt += fee;
            let account = self.accounts.get_mut(&signed.message.sender).unwrap();
            account.balance -= fee;
            account.nonce += 1;
        }
        let mut done = Vec::new();
        for signed in messages {
            let before = self.clone();
            let result = self.message(&signed.message.sender, &signed.message.body);
            if result.is_none() {
                *self = before;
            }
            done.push(result.is_some());
        }
        self.end();
        done
    }

    fn message(&mut self, sender: &Address, body: &Body) -> Option<()> {
        match body {
            Body::Transfer { to, amount } => {
                need(amount.0 > 0)?;
                self.debit(sender, amount.0)?;
                self.credit(to, amount.0);
                Some(())
            }
            Body::TopUpRepair { pack, amount } => {
                need(amount.0 > 0 && self.sets.contains_key(pack) && self.live(pack) > 0)?;
                self.debit(sender, amount.0)?;
                self.sets.get_mut(pack)?.budget += amount.0;
                Some(())
            }
            Body::ClaimRepair { deal, provider } => self.claim_repair(sender, deal, provider.0),
            Body::PublishName { label, version, .. } => {
                let name = (*sender, label.clone());
                need(self.names.get(&name).is_none_or(|last| version > last))?;
                self.names.insert(name, *version);
                Some(())
            }
            Body::ProposeDealSet(proposal) => self.propose(sender, proposal),
            Body::RenewDealSet {
                pack,
                periods,
                least,
            } => self.renew(sender, pack, periods.0, *least),
            Body::CancelDealSet { pack } => self.cancel(sender, pack),
            Body::RegisterProvider {
                worker,
                offer,
                collateral,
            } => {
                need(offer.price.0 >= self.p.economy.minimum_price.0)?;
                need(collateral.0 >= self.p.economy.minimum_collateral.0)?;
                self.debit(sender, collateral.0)?;
                self.providers.push(Provider {
                    owner: *sender,
                    worker: *worker,
                    offer: offer.clone(),
                    collateral: collateral.0,
                    vesting: BTreeMap::new(),
                    retiring: None,
                    past: Vec::new(),
                    proven: 0,
                    missed: 0,
                    broken: 0,
                    frauds: 0,
                    rewarded: 0,
                    paid: 0,
                    fined: 0,
                });
                Some(())
            }
            Body::UpdateProvider {
                provider,
                worker,
                offer,
            } => self.update(sender, provider.0, worker, offer),
            Body::AddCollateral { provider, amount } => {
                need(amount.0 > 0)?;
                self.owned(provider.0, sender)?;
                self.debit(sender, amount.0)?;
                self.provider(provider.0)?.collateral += amount.0;
                Some(())
            }
            Body::WithdrawCollateral { provider, amount } => {
                self.withdraw(sender, provider.0, amount.0)
            }
            Body::Retire { provider } => {
                self.owned(provider.0, sender)?;
                let height = self.height;
                let provider = self.provider(provider.0)?;
                need(provider.retiring.is_none())?;
                provider.retiring = Some(height);
                Some(())
            }
            Body::PreCommitSector(commit) => self.pre_commit(sender, commit),
            Body::ProveSeal { sector, .. } => self.prove_seal(sender, *sector),
            Body::AcceptDeals { provider, deals } => self.accept(sender, provider.0, deals),
            Body::CommitEmbed(commit) => self.commit_embed(sender, commit),
            Body::CommitReplica(commit) => self.commit_replica(sender, commit.sector),
            Body::ProveEmbed { sector, .. } => self.prove_embed(sender, *sector),
            Body::ProveSpacetime {
                provider,
                period,
                deadline,
                proofs,
            } => {
                self.worked(provider.0, sender)?;
                for proof in proofs {
                    let id = SectorId {
                        provider: *provider,
                        number: proof.sector,
                    };
                    self.prove(id, period.0, deadline.0.into())?;
                }
                Some(())
            }
            Body::DeclareFault { provider, sectors } => {
                self.worked(provider.0, sender)?;
                for number in sectors {
                    self.declare(SectorId {
                        provider: *provider,
                        number: *number,
                    })?;
                }
                Some(())
            }
            Body::Recover { provider, sectors } => {
                self.worked(provider.0, sender)?;
                for number in sectors {
                    self.recover(SectorId {
                        provider: *provider,
                        number: *number,
                    })?;
                }
                Some(())
            }
            Body::EndSector { sector } => self.end_sector(sender, *sector),
            Body::TerminateSector { sector } => self.terminate(sender, *sector),
            Body::ClaimBrokenPromise { receipt } => self.claim(sender, receipt),
            Body::DemandOpening { deal, quad } => self.demand(sender, deal, *quad),
            Body::AnswerOpening { deal, opening } => self.answer(sender, deal, opening),
            Body::SubmitFraud { deal, opening } => self.show_fraud(sender, deal, opening),
            Body::OpenChannel { provider, deposit } => {
                need(deposit.0 > 0)?;
                self.provider(provider.0)?;
                self.debit(sender, deposit.0)?;
                let opened = self.height;
                let channel = self
                    .channels
                    .entry((provider.0, *sender))
                    .or_insert(Channel {
                        opened,
                        deposit: 0,
                        redeemed: 0,
                        closing: None,
                    });
                need(channel.closing.is_none())?;
                channel.deposit += deposit.0;
                Some(())
            }
            Body::CloseChannel { provider } => {
                let end = self.height + self.p.dispute_window.0;
                let channel = self.channels.get_mut(&(provider.0, *sender))?;
                need(channel.closing.is_none())?;
                channel.closing = Some(end);
                Some(())
            }
            Body::RedeemVoucher { voucher } => self.redeem(sender, voucher),
            Body::TransferName { .. }
            | Body::AcquireLease { .. }
            | Body::ReleaseLease { .. }
            | Body::AttachReadBudget { .. }
            | Body::RevokeGrant { .. } => unreachable!("random hands send none of these"),
            // Networks whose validators and numbers are those of their genesis.
            Body::RegisterValidator { .. }
            | Body::UpdateValidator { .. }
            | Body::Stake { .. }
            | Body::Delegate { .. }
            | Body::Unstake { .. }
            | Body::CollectReward { .. }
            | Body::SubmitEquivocation { .. }
            | Body::ProposeParameter { .. }
            | Body::Vote { .. } => None,
        }
    }

    fn redeem(&mut self, sender: &Address, signed: &SignedVoucher) -> Option<()> {
        let voucher = &signed.voucher;
        let id = voucher.channel;
        self.worked(id.provider.0, sender)?;
        let owner = self.provider(id.provider.0)?.owner;
        need(signed.is_signed(self.network))?;
        let channel = self.channels.get_mut(&(id.provider.0, id.payer))?;
        need(channel.opened == id.opened.0)?;
        need(voucher.amount.0 > channel.redeemed && voucher.amount.0 <= channel.deposit)?;
        let pay = voucher.amount.0 - channel.redeemed;
        channel.redeemed = voucher.amount.0;
        self.credit(&owner, pay);
        Some(())
    }

    fn update(
        &mut self,
        sender: &Address,
        id: u64,
        worker: &Address,
        offer: &ProviderOffer,
    ) -> Option<()> {
        need(offer.price.0 >= self.p.economy.minimum_price.0)?;
        self.owned(id, sender)?;
        let (height, remembered) = (self.height, self.answers_for());
        let provider = self.provider(id)?;
        if provider.worker != *worker {
            provider
                .past
                .retain(|(_, until)| height <= until + remembered);
            // Who served within one block only was never seen.
            if provider
                .past
                .last()
                .is_none_or(|(_, until)| *until != height)
            {
                need(provider.past.len() < 16)?;
                let before = provider.worker;
                provider.past.push((before, height));
            }
        }
        provider.worker = *worker;
        provider.offer = offer.clone();
        Some(())
    }

    /// For so long after its last receipt a worker, or a provider that retires, is answered for.
    pub fn answers_for(&self) -> u64 {
        2 * self.p.promise.0 + self.p.dispute_window.0
    }

    fn withdraw(&mut self, sender: &Address, id: u64, amount: u128) -> Option<()> {
        need(amount > 0)?;
        self.owned(id, sender)?;
        let free = self.free(id);
        let over = self.height;
        let remembered = self.answers_for();
        let least = self.p.economy.minimum_collateral.0;
        let provider = self.provider(id)?;
        let least = match provider.retiring {
            Some(since) if over > since + remembered => 0,
            _ => least,
        };
        need(amount <= free)?;
        need(amount <= provider.collateral.saturating_sub(least))?;
        provider.collateral -= amount;
        self.credit(sender, amount);
        Some(())
    }

    // Books

    pub fn debit(&mut self, from: &Address, amount: u128) -> Option<()> {
        let account = self.accounts.get_mut(from)?;
        account.balance = account.balance.checked_sub(amount)?;
        Some(())
    }

    pub fn credit(&mut self, to: &Address, amount: u128) {
        self.accounts.get_mut(to).unwrap().balance += amount;
    }

    pub fn provider(&mut self, id: u64) -> Option<&mut Provider> {
        self.providers.get_mut(usize::try_from(id).ok()?)
    }

    pub fn owned(&mut self, id: u64, sender: &Address) -> Option<()> {
        need(self.provider(id)?.owner == *sender)
    }

    pub fn worked(&mut self, id: u64, sender: &Address) -> Option<()> {
        need(self.provider(id)?.worker == *sender)
    }

    /// All that is locked of a provider's collateral.
    pub fn locked(&self, id: u64) -> u128 {
        let of_sectors = self
            .sectors
            .iter()
            .filter(|(sector, _)| sector.provider.0 == id)
            .map(|(_, sector)| {
                let embed = sector.embed.as_ref();
                sector.locked + embed.map_or(0, |_| self.p.economy.embed_deposit.0)
            });
        let of_deals = self.deals.values().filter(|deal| deal.provider == id);
        let of_deals = of_deals.map(|deal| {
            let repair = deal.repair.as_ref();
            deal.locked + repair.map_or(0, |repair| repair.deposit)
        });
        of_sectors.sum::<u128>() + of_deals.sum::<u128>()
    }

    pub fn free(&self, id: u64) -> u128 {
        let provider = &self.providers[id as usize];
        let holds = provider.collateral + provider.vesting.values().sum::<u128>();
        holds
            .checked_sub(self.locked(id))
            .expect("locks are covered")
    }

    /// Takes from the collateral, then from what vests last. The caller says what was locked.
    pub fn take(&mut self, id: u64, amount: u128) {
        let provider = self.provider(id).unwrap();
        provider.fined += amount;
        let part = amount.min(provider.collateral);
        provider.collateral -= part;
        let mut rest = amount - part;
        while rest > 0 {
            let mut last = provider.vesting.last_entry().expect("it was there");
            let part = rest.min(*last.get());
            *last.get_mut() -= part;
            rest -= part;
            if *last.get() == 0 {
                last.remove();
            }
        }
    }

    pub fn escrow(deal: &Deal) -> u128 {
        match deal.status {
            Status::Proposed | Status::Accepted | Status::Proven { .. } => {
                deal.price * u128::from(deal.term - deal.paid - deal.refunded)
            }
            _ => 0,
        }
    }

    /// Deals of a set that are not over.
    pub fn live(&self, pack: &PackId) -> u8 {
        let of_set = self.deals.iter().filter(|(id, _)| id.pack == *pack);
        of_set
            .filter(|(_, deal)| {
                matches!(
                    deal.status,
                    Status::Proposed | Status::Accepted | Status::Proven { .. }
                )
            })
            .count() as u8
    }

    // Time

    pub fn period(&self) -> u64 {
        (self.height - 1) / self.p.period.0
    }

    /// The first and last height of a deadline's window.
    pub fn window(&self, period: u64, deadline: u64) -> (u64, u64) {
        let length = self.p.period.0 / u64::from(self.p.deadlines);
        let open = period * self.p.period.0 + deadline * length + 1;
        (open, open + length - 1)
    }

    /// What it has come to, by name.
    pub fn corners(&self) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        for sector in self.sectors.values() {
            seen.insert(
                match sector.stand {
                    Stand::PreCommitted(_) => "sector pre-committed",
                    Stand::Active => "sector active",
                    Stand::Faulty => "sector faulty",
                    Stand::Recovering => "sector recovering",
                    Stand::Terminated => "sector terminated",
                }
                .to_owned(),
            );
            if sector.embed.is_some() {
                seen.insert("an embed under way".into());
            }
        }
        for deal in self.deals.values() {
            let name = match deal.status {
                Status::Proposed => "deal proposed",
                Status::Accepted => "deal accepted",
                Status::Proven { .. } => "deal proven",
                Status::Expired => "deal expired",
                Status::Cancelled => "deal cancelled",
                Status::Broken { claimed: false } => "deal broken",
                Status::Broken { claimed: true } => "deal claimed",
                Status::Failed => "deal failed",
            };
            seen.insert(name.into());
            if deal.term > deal.first_term {
                seen.insert("deals renewed".into());
            }
            if deal.repair.is_some() {
                seen.insert("a repair under way".into());
            }
            if deal.provider != deal.first_provider && matches!(deal.status, Status::Proven { .. })
            {
                seen.insert("a repair done".into());
            }
            if deal.demands.len() > 1 {
                seen.insert("demands wait".into());
            }
        }
        for provider in &self.providers {
            if provider.retiring.is_some() {
                seen.insert("a provider that retires".into());
            }
            if !provider.past.is_empty() {
                seen.insert("a past worker".into());
            }
        }
        if self
            .channels
            .values()
            .any(|channel| channel.closing.is_some())
        {
            seen.insert("a channel that closes".into());
        }
        seen
    }
}
