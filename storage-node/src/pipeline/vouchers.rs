//! Redeeming what readers have signed for.

use super::{Pipeline, Signer, View};
use crate::error::NodeError;
use crate::outbox::ledger;
use holdfast_market_core::channel::Channel;
use holdfast_market_core::message::Body;
use holdfast_market_core::quote;
use holdfast_market_core::units::{Address, Amount};
use std::collections::BTreeMap;

/// A voucher is redeemed once it brings so many times what that costs, or its channel closes.
const WORTH: u128 = 50;
/// Bytes of the message.
const MESSAGE: usize = 1 << 10;

impl Pipeline {
    /// Writes vouchers down, and redeems those that are worth it or would be lost.
    pub(crate) async fn redeem_vouchers(&mut self, view: &View) -> Result<(), NodeError> {
        let Some(provider) = view.provider.as_ref().map(|provider| provider.id) else {
            return Ok(());
        };
        let shared = self.shared.clone();
        for signed in shared.till.unkept() {
            shared.journal.put_voucher(&signed)?;
            shared.till.kept(&signed);
        }
        let vouchers = shared.journal.vouchers()?;
        if vouchers.is_empty() {
            return Ok(());
        }
        let channels = self.ledger.channels_to(provider).await.map_err(ledger)?;
        let channels: BTreeMap<Address, Channel> = channels
            .into_iter()
            .map(|channel| (channel.id.payer, channel))
            .collect();
        let fee = quote::fee_of_size(&shared.parameters.economy, MESSAGE);
        let worth = Amount(fee.0.saturating_mul(WORTH));
        for signed in vouchers {
            let voucher = &signed.voucher;
            let payer = voucher.channel.payer;
            let channel = channels
                .get(&payer)
                .filter(|channel| channel.id == voucher.channel);
            let Some(channel) = channel else {
                shared.journal.forget_voucher(&payer)?;
                continue;
            };
            shared.till.learn(channel, Some(signed.clone()));
            let unpaid = voucher.amount.saturating_sub(channel.redeemed);
            if unpaid == Amount::ZERO || (unpaid < worth && channel.closing.is_none()) {
                continue;
            }
            let purpose = format!("redeem/{payer}");
            let last = channel.closing;
            let body = Body::RedeemVoucher { voucher: signed };
            self.post(view.height, Signer::Worker, &purpose, body, last)
                .await?;
        }
        Ok(())
    }
}
