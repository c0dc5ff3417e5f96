//! Whether a reader has paid for what it asks, where reading is paid.

use super::{Service, TURN_TIME};
use crate::till::Taken;
use holdfast_market_core::channel::SignedVoucher;
use holdfast_market_core::units::ByteCount;
use holdfast_wire::ledger::LedgerError;
use holdfast_wire::protocol::{GetShard, PaymentDue, READ_CREDIT, Refusal, RefusalCode};
use std::sync::Arc;

/// Why nothing is sent.
pub(super) enum Unpaid {
    /// Something has to be paid first.
    Due(PaymentDue),
    /// It cannot be paid like this.
    Refused(Refusal),
}

impl From<Refusal> for Unpaid {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn worthless(sentence: impl Into<String>) -> Unpaid {
    Unpaid::Refused(Refusal::new(RefusalCode::Voucher, sentence))
}

impl Service {
    /// Sees that what is asked, which takes so many bytes to send, is paid or within the reader's credit.
    pub(super) async fn paid_for(&self, get: &GetShard, bytes: ByteCount) -> Result<(), Unpaid> {
        let till = &self.shared.till;
        if till.price().0 == 0 {
            return Ok(());
        }
        if bytes > READ_CREDIT {
            let sentence = format!(
                "reading is paid here; ask for at most {} bytes at a time",
                READ_CREDIT.0
            );
            return Err(Refusal::new(RefusalCode::Malformed, sentence).into());
        }
        let Some(signed) = &get.voucher else {
            return Err(Unpaid::Due(till.stranger()));
        };
        let (provider, _) = self.standing()?;
        if signed.voucher.channel.provider != provider {
            return Err(worthless(format!(
                "the voucher is for provider {}, and this is provider {provider}",
                signed.voucher.channel.provider
            )));
        }
        if !signed.is_signed(self.shared.network) {
            return Err(worthless("the voucher is not signed by its reader"));
        }
        let mut taken = self.take(signed, bytes)?;
        if matches!(taken, Taken::Unknown(_) | Taken::Overdrawn { .. }) {
            // The channel may be new, or hold more by now.
            self.ask_for_channel(signed).await?;
            taken = self.take(signed, bytes)?;
        }
        match taken {
            Taken::Granted(None) => Ok(()),
            Taken::Granted(Some(voucher)) => self.keep(voucher).await,
            Taken::Due(due) | Taken::Unknown(due) => Err(Unpaid::Due(due)),
            Taken::Overdrawn { deposit } => Err(worthless(format!(
                "the voucher is for {} and the channel holds {deposit}; add to its deposit",
                signed.voucher.amount
            ))),
            Taken::Closes => Err(worthless("the channel closes; open a new one once it has")),
        }
    }

    fn take(&self, signed: &SignedVoucher, bytes: ByteCount) -> Result<Taken, Unpaid> {
        let taken = self.shared.till.take(signed, bytes);
        taken.map_err(|error| self.internal(&error).into())
    }

    async fn ask_for_channel(&self, signed: &SignedVoucher) -> Result<(), Unpaid> {
        let id = signed.voucher.channel;
        let turn = self
            .turns
            .channels
            .take(&Arc::default(), 1, TURN_TIME)
            .await;
        let _turn = turn.ok_or_else(|| {
            Refusal::new(
                RefusalCode::Busy,
                "this node is asking for as many channels as it can; ask again in a moment",
            )
        })?;
        match self.ledger.channel(id.provider, id.parties()).await {
            Ok(channel) => {
                let written = self.shared.journal.voucher(&id.parties());
                let written = written.map_err(|error| self.internal(&error))?;
                if self.shared.till.learn(&channel, written) {
                    return Ok(());
                }
                let sentence = "as many as this node remembers owe it something; ask again later";
                Err(Refusal::new(RefusalCode::Busy, sentence).into())
            }
            Err(LedgerError::NotFound(_)) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "a channel could not be looked up");
                Err(Refusal::new(
                    RefusalCode::Busy,
                    "the ledger does not say what the channel holds; ask again in a moment",
                )
                .into())
            }
        }
    }

    /// Writes a voucher down before more is sent for it.
    async fn keep(&self, voucher: SignedVoucher) -> Result<(), Unpaid> {
        let shared = self.shared.clone();
        let kept = tokio::task::spawn_blocking(move || {
            shared.journal.put_voucher(&voucher)?;
            shared.till.kept(&voucher);
            Ok::<_, crate::error::NodeError>(())
        });
        kept.await
            .map_err(|error| self.internal(&error))?
            .map_err(|error| self.internal(&error))?;
        Ok(())
    }
}
