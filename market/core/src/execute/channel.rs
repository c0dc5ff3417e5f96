//! Payment channels: a reader puts a deposit aside for one provider and signs cumulative vouchers as
//! it reads; the provider redeems the last of them. What a voucher says beyond the deposit is worth
//! nothing, so a reader can overdraw nobody. A budget for somebody else's reading is such a channel,
//! too: its payer and its reader are two.

use super::Context;
use super::due::Due;
use crate::channel::{Channel, ChannelId, Parties, SignedVoucher};
use crate::ledger::{add, take};
use crate::quote::MAX_SHARDS;
use crate::refusal::{Refusal, Stop, require, require_equal, require_range};
use crate::units::{Address, Amount, DealId, Height, PackId, ProviderId, ShardIndex};
use crate::view::ReadView;
use std::collections::BTreeSet;

/// Channels that one message closes, at most.
const MAX_REVOKED: u64 = 64;

impl<V: ReadView> Context<'_, V> {
    /// Opens the sender's channel to a provider, or adds to its deposit.
    pub(super) fn open_channel(
        &mut self,
        sender: &Address,
        provider: ProviderId,
        deposit: Amount,
    ) -> Result<(), Stop> {
        require(deposit != Amount::ZERO, || Refusal::Empty("the deposit"))?;
        self.ledger.provider(provider)?;
        let channel = self.deposited(provider, Parties::own(*sender), deposit)?;
        self.ledger.put_channel(&channel)
    }

    /// The channel with so much more in it, which its payer has paid; the caller writes it.
    fn deposited(
        &mut self,
        provider: ProviderId,
        parties: Parties,
        deposit: Amount,
    ) -> Result<Channel, Stop> {
        let channel = match self.ledger.channel_option(provider, &parties)? {
            Some(channel) => {
                require_open(&channel)?;
                Channel {
                    deposit: add(channel.deposit, deposit)?,
                    ..channel
                }
            }
            None => Channel {
                id: ChannelId {
                    payer: parties.payer,
                    reader: parties.reader,
                    provider,
                    opened: self.height,
                },
                deposit,
                redeemed: Amount::ZERO,
                until: None,
                closing: None,
            },
        };
        self.ledger.debit(&parties.payer, deposit)?;
        Ok(channel)
    }

    /// Opens a channel on which `reader` signs to each provider that holds a shard of the pack: what
    /// the reader spends with one of them is not lent a second time, as it would be out of one purse.
    pub(super) fn attach_read_budget(
        &mut self,
        sender: &Address,
        pack: &PackId,
        reader: &Address,
        deposit: Amount,
        providers: u8,
        until: Height,
    ) -> Result<(), Stop> {
        require_range(
            "the number of providers that are paid for",
            providers.into(),
            1,
            MAX_SHARDS.into(),
        )?;
        require(reader != sender, || Refusal::Mismatch {
            what: "the reader",
            found: "the payer itself".into(),
            expected: "another account; a channel of one's own opens by OpenChannel".into(),
        })?;
        // What is less than that is never worth redeeming.
        let least = self.parameters.economy.minimum_fee;
        require(deposit >= least, || Refusal::Mismatch {
            what: "the deposit for each provider",
            found: deposit.to_string(),
            expected: format!("at least {least}"),
        })?;
        require(until > self.height, || Refusal::TooLate {
            what: "the budget",
            last: until,
            height: self.height,
        })?;
        let n = self.ledger.deal_set(pack)?.proposal.pack.n;
        let mut holders = BTreeSet::new();
        for index in 0..n {
            let shard = DealId {
                pack: *pack,
                shard: ShardIndex(index),
            };
            let deal = self.ledger.deal(&shard)?;
            if deal.status.is_held() {
                holders.insert(deal.provider);
            }
        }
        require(!holders.is_empty(), || Refusal::State {
            what: format!("the deal set of pack {pack}"),
            found: "held by nobody",
            needed: "a shard that its provider has accepted and holds",
        })?;
        require(holders.len() <= usize::from(providers), || {
            Refusal::Mismatch {
                what: "the number of providers that hold a shard of the pack",
                found: holders.len().to_string(),
                expected: format!("at most the {providers} that are paid for"),
            }
        })?;
        let parties = Parties {
            payer: *sender,
            reader: *reader,
        };
        for provider in holders {
            let mut channel = self.deposited(provider, parties, deposit)?;
            let before = channel.until;
            let until = before.map_or(until, |before| before.max(until));
            if let Some(before) = before {
                self.unschedule(Due::Channel(provider, parties), before);
            }
            self.schedule(Due::Channel(provider, parties), until);
            channel.until = Some(until);
            self.ledger.put_channel(&channel)?;
        }
        Ok(())
    }

    /// Begins to close the sender's channel: until the dispute window is over its provider can still
    /// redeem what it has.
    pub(super) fn close_channel(
        &mut self,
        sender: &Address,
        provider: ProviderId,
    ) -> Result<(), Stop> {
        let channel = self.ledger.channel(provider, &Parties::own(*sender))?;
        require_open(&channel)?;
        self.begin_to_close(channel)
    }

    fn begin_to_close(&mut self, mut channel: Channel) -> Result<(), Stop> {
        let due = Due::Channel(channel.id.provider, channel.id.parties());
        if let Some(until) = channel.until.take() {
            self.unschedule(due, until);
        }
        let end = self.height.after(self.parameters.dispute_window);
        channel.closing = Some(end);
        self.schedule(due, end);
        self.ledger.put_channel(&channel)
    }

    /// Closes channels on which somebody else reads: each like one's own. Those that close already
    /// do not keep the others open.
    pub(super) fn revoke_grant(
        &mut self,
        sender: &Address,
        reader: &Address,
        providers: &[ProviderId],
    ) -> Result<(), Stop> {
        let count = providers.len() as u64;
        require_range("the number of providers", count, 1, MAX_REVOKED)?;
        require(providers.is_sorted_by(|a, b| a < b), || {
            Refusal::NotAscending("providers")
        })?;
        let parties = Parties {
            payer: *sender,
            reader: *reader,
        };
        let (mut closed, mut closing) = (0u32, None);
        for provider in providers {
            let channel = self.ledger.channel(*provider, &parties)?;
            match require_open(&channel) {
                Ok(()) => {
                    closed = closed.saturating_add(1);
                    self.begin_to_close(channel)?;
                }
                Err(refusal) => closing = Some(refusal),
            }
        }
        match closing {
            Some(refusal) if closed == 0 => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Pays a provider's owner what its last voucher says and was not paid yet.
    pub(super) fn redeem_voucher(
        &mut self,
        sender: &Address,
        signed: &SignedVoucher,
    ) -> Result<(), Stop> {
        let voucher = &signed.voucher;
        let ChannelId {
            reader,
            provider,
            opened,
            ..
        } = voucher.channel;
        let parties = voucher.channel.parties();
        let owner = self.by_worker(provider, sender)?.owner;
        let mut channel = self.ledger.channel(provider, &parties)?;
        require_equal("the channel's height", &opened, &channel.id.opened)?;
        let network = self.rules.network;
        require(signed.is_signed(network), || {
            Refusal::VoucherSignature(reader)
        })?;
        require(
            voucher.amount > channel.redeemed && voucher.amount <= channel.deposit,
            || Refusal::Voucher {
                amount: voucher.amount,
                redeemed: channel.redeemed,
                deposit: channel.deposit,
            },
        )?;
        let pay = take(voucher.amount, channel.redeemed, "a voucher")?;
        channel.redeemed = voucher.amount;
        self.ledger.put_channel(&channel)?;
        self.ledger.credit(&owner, pay)
    }

    /// The last block of a granted budget: it begins to close. Or the dispute window of a closing
    /// channel is over: the rest goes back to its payer.
    pub(super) fn channel_due(
        &mut self,
        provider: ProviderId,
        parties: &Parties,
    ) -> Result<(), Stop> {
        let channel = self.ledger.channel(provider, parties)?;
        if channel.closing.is_none() {
            return self.begin_to_close(channel);
        }
        let rest = channel.holds()?;
        self.ledger.remove_channel(&channel)?;
        self.ledger.credit(&parties.payer, rest)
    }
}

fn require_open(channel: &Channel) -> Result<(), Stop> {
    match channel.closing {
        None => Ok(()),
        Some(end) => Err(Refusal::ChannelCloses {
            provider: channel.id.provider,
            end,
        }
        .into()),
    }
}
