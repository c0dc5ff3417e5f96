//! Redeeming what readers have signed for.

use super::{Pipeline, Signer, View};
use crate::error::NodeError;
use crate::outbox::ledger;
use holdfast_market_core::channel::{Channel, Parties};
use holdfast_market_core::message::Body;
use holdfast_market_core::quote;
use holdfast_market_core::units::Amount;
use std::collections::BTreeMap;

/// A voucher is redeemed once it brings so many times what that costs, or its channel closes.
const WORTH: u128 = 50;
/// Bytes of the message.
const MESSAGE: usize = 1 << 10;
/// Messages of one height, at most: deadlines are not to wait for them.
const MOST: usize = 16;

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
        let mut vouchers = shared.journal.vouchers()?;
        if vouchers.is_empty() && shared.till.is_empty() {
            return Ok(());
        }
        let channels = match self.ledger.channels_to(provider).await {
            Ok(channels) => channels,
            Err(error) => {
                self.forget_readers()?;
                return Err(ledger(error));
            }
        };
        let channels: BTreeMap<Parties, Channel> = channels
            .into_iter()
            .map(|channel| (channel.id.parties(), channel))
            .collect();
        shared.till.sync(&channels, view.height);
        let fee = quote::fee_of_size(&view.parameters.economy, MESSAGE);
        let worth = Amount(fee.0.saturating_mul(WORTH));
        // The dearest first, so that none is lost behind many small ones.
        vouchers.sort_by_key(|signed| std::cmp::Reverse(signed.voucher.amount));
        let (mut sent, mut done) = (0, Ok(()));
        for signed in vouchers {
            let voucher = &signed.voucher;
            let parties = voucher.channel.parties();
            let channel = channels
                .get(&parties)
                .filter(|channel| channel.id == voucher.channel);
            let Some(channel) = channel else {
                // One that was opened since is not in the list yet.
                if voucher.channel.opened <= view.height {
                    done = done.and(shared.journal.forget_voucher(&voucher.channel));
                }
                continue;
            };
            let unpaid = voucher.amount.saturating_sub(channel.redeemed);
            let least = match channel.closing {
                Some(_) => fee,
                None => worth,
            };
            if unpaid <= least || sent >= MOST {
                continue;
            }
            let purpose = format!("redeem/{}/{}", parties.payer, parties.reader);
            let last = channel.closing;
            let body = Body::RedeemVoucher { voucher: signed };
            let posted = self.post(view.height, Signer::Worker, &purpose, body, last);
            match posted.await {
                Ok(posted) => sent += usize::from(posted),
                Err(error) => done = done.and(Err(error)),
            }
        }
        done
    }

    /// Where the ledger does not say what became of the channels, nobody reads on credit.
    pub(crate) fn forget_readers(&self) -> Result<(), NodeError> {
        for signed in self.shared.till.forget() {
            self.shared.journal.put_voucher(&signed)?;
        }
        Ok(())
    }
}
