//! Payment channels: a reader puts a deposit aside for one provider and signs cumulative vouchers as
//! it reads; the provider redeems the last of them. What a voucher says beyond the deposit is worth
//! nothing, so a reader can overdraw nobody.

use super::Context;
use super::due::Due;
use crate::channel::{Channel, ChannelId, SignedVoucher};
use crate::ledger::{add, take};
use crate::refusal::{Refusal, Stop, require, require_equal};
use crate::units::{Address, Amount, ProviderId};
use crate::view::ReadView;

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
        let channel = match self.ledger.channel_option(provider, sender)? {
            Some(channel) => {
                require_open(&channel)?;
                Channel {
                    deposit: add(channel.deposit, deposit)?,
                    ..channel
                }
            }
            None => Channel {
                id: ChannelId {
                    payer: *sender,
                    provider,
                    opened: self.height,
                },
                deposit,
                redeemed: Amount::ZERO,
                closing: None,
            },
        };
        self.ledger.debit(sender, deposit)?;
        self.ledger.put_channel(&channel)
    }

    /// Begins to close the sender's channel: until the dispute window is over its provider can still
    /// redeem what it has.
    pub(super) fn close_channel(
        &mut self,
        sender: &Address,
        provider: ProviderId,
    ) -> Result<(), Stop> {
        let mut channel = self.ledger.channel(provider, sender)?;
        require_open(&channel)?;
        let end = self.height.after(self.parameters.dispute_window);
        channel.closing = Some(end);
        self.schedule(Due::Channel(provider, *sender), end);
        self.ledger.put_channel(&channel)
    }

    /// Pays a provider's owner what its last voucher says and was not paid yet.
    pub(super) fn redeem_voucher(
        &mut self,
        sender: &Address,
        signed: &SignedVoucher,
    ) -> Result<(), Stop> {
        let voucher = &signed.voucher;
        let ChannelId {
            payer,
            provider,
            opened,
        } = voucher.channel;
        let owner = self.by_worker(provider, sender)?.owner;
        let mut channel = self.ledger.channel(provider, &payer)?;
        require_equal("the channel's height", &opened, &channel.id.opened)?;
        let network = self.rules.network;
        require(signed.is_signed(network), || {
            Refusal::VoucherSignature(payer)
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

    /// The dispute window of a closing channel is over: the rest goes back.
    pub(super) fn channel_due(
        &mut self,
        provider: ProviderId,
        payer: &Address,
    ) -> Result<(), Stop> {
        let channel = self.ledger.channel(provider, payer)?;
        let rest = channel.holds()?;
        self.ledger.remove_channel(&channel)?;
        self.ledger.credit(payer, rest)
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
