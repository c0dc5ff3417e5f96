//! Whether ledger and model have the same.

use super::super::play::Play;
use super::super::world::{ACCOUNTS, address};
use super::books::{Model, Stand, Status};
use crate::query;
use crate::state::{DealStatus, SectorStatus};
use crate::units::{DealId, ProviderId};
use std::fmt::Debug;

/// Everything that either has, line by line: a difference is read at once.
#[derive(Default, PartialEq, Eq)]
struct Lines(Vec<String>);

impl Lines {
    fn add(&mut self, what: impl Debug, of: impl Debug) {
        self.0.push(format!("{what:?}: {of:?}"));
    }
}

/// Fails where they differ, and says where.
pub fn same(play: &Play, model: &Model) {
    let (ledger, model_lines) = (of_ledger(play), of_model(model));
    for (ledger, model) in ledger.0.iter().zip(&model_lines.0) {
        assert_eq!(ledger, model, "ledger (left) and model (right)");
    }
    assert_eq!(ledger.0.len(), model_lines.0.len());
}

fn of_ledger(play: &Play) -> Lines {
    let view = &play.world.view;
    let mut lines = Lines::default();
    for index in 0..ACCOUNTS {
        let account = play.world.account(index);
        lines.add(("account", index), (account.balance.0, account.nonce));
    }
    for one in play.providers() {
        let record = &one.record;
        let vesting: Vec<_> = one.vesting.iter().map(|v| (v.due.0, v.amount.0)).collect();
        lines.add(
            ("provider", one.id.0),
            (one.owner, one.worker, one.offer.price.0, one.collateral.0),
        );
        lines.add(
            ("locked, vesting, retiring", one.id.0),
            (one.locked.0, vesting, one.retiring.map(|height| height.0)),
        );
        let fined = (record.rewarded.0, record.paid.0, record.fined.0);
        let counts = (record.proven, record.missed, record.broken, record.frauds);
        lines.add(("record", one.id.0), (counts, fined));
        for (payer, channel) in query::channels_to(view, one.id, None, usize::MAX)
            .unwrap()
            .into_iter()
            .map(|channel| (channel.id.payer, channel))
        {
            let closing = channel.closing.map(|height| height.0);
            lines.add(
                ("channel", one.id.0, payer),
                (
                    channel.id.opened.0,
                    channel.deposit.0,
                    channel.redeemed.0,
                    closing,
                ),
            );
        }
    }
    for one in play.sectors() {
        let stand = match one.status {
            SectorStatus::PreCommitted { at, .. } => Stand::PreCommitted(at.0),
            SectorStatus::Active { .. } => Stand::Active,
            SectorStatus::Faulty { recovering: false } => Stand::Faulty,
            SectorStatus::Faulty { recovering: true } => Stand::Recovering,
            SectorStatus::Terminated { .. } => Stand::Terminated,
        };
        let groups: Vec<_> = one
            .groups
            .iter()
            .map(|layout| {
                let placed = layout.subtrees.iter().map(|one| (one.deal, one.subtree));
                (layout.group.index(), placed.collect::<Vec<_>>())
            })
            .collect();
        lines.add(
            ("sector", one.id),
            (stand, one.locked.0, one.deadline.0, one.next.0),
        );
        let proven = one.proven.map(|period| period.0);
        lines.add(("history", one.id), (proven, one.faults.0, groups));
        let embed = one.embed.map(|embed| {
            let replica = embed.replica.map(|replica| replica.committed.0);
            (embed.committed.0, replica, embed.deposit.0)
        });
        lines.add(("embed", one.id), embed);
    }
    let mut deals = play.deals();
    deals.sort_by_key(|(id, _)| *id);
    for (id, deal) in deals {
        let status = match deal.status {
            DealStatus::Proposed => Status::Proposed,
            DealStatus::Accepted => Status::Accepted,
            DealStatus::Proven { sector, from } => Status::Proven {
                sector: sector.0,
                from: from.0,
            },
            DealStatus::Expired => Status::Expired,
            DealStatus::Cancelled => Status::Cancelled,
            DealStatus::Broken { claimed } => Status::Broken { claimed },
            DealStatus::Failed { .. } => Status::Failed,
        };
        lines.add(("deal", id), (deal.owner, deal.provider.0, deal.worker));
        lines.add(("status", id), (status, deal.sector.map(|number| number.0)));
        lines.add(
            ("escrow", id),
            (deal.per_period.0, deal.escrow.0, deal.locked.0),
        );
        lines.add(("periods", id), (deal.term.0, deal.paid.0, deal.refunded.0));
        let release = deal.release.map(|height| height.0);
        let repair = deal.repair.as_ref();
        let repair = repair.map(|one| (one.due.0, one.deposit.0, one.work.0));
        lines.add(("repair", id), (release, deal.set_aside.0, repair));
        let waiting = crate::ledger::Ledger::open(view)
            .unwrap()
            .waiting_demands(&id)
            .unwrap();
        let demands: Vec<_> = deal
            .demand
            .iter()
            .chain(&waiting)
            .map(|one| (one.quad, one.by, one.due.0, one.deposit.0))
            .collect();
        lines.add(("demands", id), demands);
        if id.shard.0 == 0 {
            let set = query::deal_set_record(view, &id.pack).unwrap().unwrap();
            let owner = set.proposal.pack.owner;
            lines.add(
                ("set", id.pack),
                (
                    owner,
                    set.at.0,
                    (set.repair_budget.0, set.of_penalties.0),
                    set.live,
                ),
            );
        }
    }
    let supply = query::supply(view).unwrap();
    lines.add("minted and burnt", (supply.minted.0, supply.burnt.0));
    lines.add(
        "balances, collateral, escrow",
        (supply.balances.0, supply.collateral.0, supply.escrow.0),
    );
    lines
}

fn of_model(model: &Model) -> Lines {
    let mut lines = Lines::default();
    let (mut balances, mut collateral, mut escrow) = (0, 0, 0);
    for index in 0..ACCOUNTS {
        let account = &model.accounts[&address(index)];
        balances += account.balance;
        lines.add(("account", index), (account.balance, account.nonce));
    }
    for (id, one) in (0u64..).zip(&model.providers) {
        collateral += one.collateral + one.vesting.values().sum::<u128>();
        let vesting: Vec<_> = one.vesting.iter().map(|(due, v)| (*due, *v)).collect();
        lines.add(
            ("provider", id),
            (one.owner, one.worker, one.offer.price.0, one.collateral),
        );
        lines.add(
            ("locked, vesting, retiring", id),
            (model.locked(id), vesting, one.retiring),
        );
        let fined = (one.rewarded, one.paid, one.fined);
        let counts = (one.proven, one.missed, one.broken, one.frauds);
        lines.add(("record", id), (counts, fined));
        for ((_, payer), channel) in model
            .channels
            .range((id, crate::units::Address([0; 32]))..=(id, crate::units::Address([255; 32])))
        {
            escrow += channel.deposit - channel.redeemed;
            lines.add(
                ("channel", id, *payer),
                (
                    channel.opened,
                    channel.deposit,
                    channel.redeemed,
                    channel.closing,
                ),
            );
        }
    }
    for (id, one) in &model.sectors {
        let groups: Vec<_> = one.groups.iter().collect();
        lines.add(
            ("sector", *id),
            (one.stand, one.locked, one.deadline, one.next),
        );
        lines.add(("history", *id), (one.proven, one.faults, groups));
        let deposit = model.p.economy.embed_deposit.0;
        let embed = one
            .embed
            .as_ref()
            .map(|embed| (embed.committed, embed.replica, deposit));
        lines.add(("embed", *id), embed);
    }
    for (id, deal) in &model.deals {
        escrow += Model::escrow(deal);
        escrow += deal.demands.iter().map(|one| one.deposit).sum::<u128>();
        lines.add(
            ("deal", *id),
            (deal.owner, ProviderId(deal.provider).0, deal.worker),
        );
        lines.add(("status", *id), (deal.status, deal.sector));
        lines.add(
            ("escrow", *id),
            (deal.price, Model::escrow(deal), deal.locked),
        );
        lines.add(("periods", *id), (deal.term, deal.paid, deal.refunded));
        let repair = deal.repair.as_ref();
        let repair = repair.map(|one| (one.due, one.deposit, one.work));
        lines.add(("repair", *id), (deal.release, deal.set_aside, repair));
        escrow += deal.repair.as_ref().map_or(0, |one| one.work);
        let demands: Vec<_> = deal
            .demands
            .iter()
            .map(|one| (one.quad, one.by, one.due, one.deposit))
            .collect();
        lines.add(("demands", DealId { ..*id }), demands);
        if id.shard.0 == 0 {
            let set = &model.sets[&id.pack];
            escrow += set.budget;
            lines.add(
                ("set", id.pack),
                (
                    set.owner,
                    set.at,
                    (set.budget, set.fined),
                    model.live(&id.pack),
                ),
            );
        }
    }
    lines.add("minted and burnt", (model.minted, model.burnt));
    lines.add(
        "balances, collateral, escrow",
        (balances, collateral, escrow),
    );
    assert_eq!(balances + collateral + escrow, model.minted - model.burnt);
    lines
}
