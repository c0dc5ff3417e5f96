//! Paying for what is read: a reader's channels to providers, and the vouchers that it signs.
//!
//! A voucher is signed only for bytes that were received and verified, and for at most
//! [`READ_CREDIT`] of those that a provider says it sent and that never came (a connection that
//! broke). So a provider that lies gains no more than that, once.

use crate::ledger::{LedgerError, SendError, Sender};
use crate::protocol::{PaymentDue, READ_CREDIT};
use ed25519_dalek::SigningKey;
use holdfast_market_core::channel::{Channel, SignedVoucher, Voucher};
use holdfast_market_core::message::{Body, Unencodable};
use holdfast_market_core::quote::{Unpayable, per_gib};
use holdfast_market_core::units::{Amount, ByteCount, NetworkId, ProviderId};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use tokio::sync::Mutex;

/// Reading that a first deposit is to cover. When it is used up as much again is added.
const DEPOSIT_BYTES: ByteCount = ByteCount(32 << 20);
/// No deposit takes more than this part of what may still be spent, unless it must: others are to be
/// read from, too.
const PART: u128 = 8;

/// Why a provider is not paid.
#[derive(Debug, thiserror::Error)]
pub enum PurseError {
    /// It asks for more than its offer on the ledger says.
    #[error("it asks {asked} for reading a GiB, and its offer on the ledger is {offered}")]
    Dearer {
        /// What it asks.
        asked: Amount,
        /// What it offers.
        offered: Amount,
    },
    /// It wants to be paid for what never came.
    #[error(
        "it says that {owed} is owed and {known} is; what it sent in vain is paid once at most"
    )]
    Overcharged {
        /// What it says.
        owed: Amount,
        /// What was received, at its price, and the credit.
        known: Amount,
    },
    /// The channel is being closed.
    #[error("the channel to it closes; read from it again after that, through a new one")]
    Closes,
    /// The limit of this reader's spending.
    #[error(
        "reading takes a deposit of {needed} more and {left} is left of what may be spent; allow more with --most"
    )]
    Limit {
        /// For the next deposit.
        needed: Amount,
        /// Of what may be spent.
        left: Amount,
    },
    /// The ledger cannot be asked.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The deposit was not made.
    #[error("the deposit was not made: {0}")]
    Deposit(#[from] SendError),
    /// A price beyond the numbers.
    #[error(transparent)]
    Unpayable(#[from] Unpayable),
    /// A value that DAG-CBOR cannot carry.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
}

/// A reader's money for reading. Nothing is asked or paid until a provider asks for it.
pub struct Purse {
    network: NetworkId,
    key: SigningKey,
    sender: Sender,
    accounts: std::sync::Mutex<BTreeMap<ProviderId, Arc<Mutex<Account>>>>,
    /// What deposits may still take.
    left: std::sync::Mutex<Amount>,
    /// What was signed for so far.
    spent: std::sync::Mutex<Amount>,
}

/// What is between the reader and one provider.
#[derive(Default)]
struct Account {
    channel: Option<Channel>,
    /// A GiB's price, by the provider's offer.
    price: Amount,
    /// What the last voucher says.
    promised: Amount,
    /// For what was verified since.
    unpaid: Amount,
    /// What was paid for bytes that never came.
    vain: Amount,
}

impl std::fmt::Debug for Purse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Purse")
            .field("payer", &self.sender.address())
            .finish_non_exhaustive()
    }
}

impl Purse {
    /// A purse of the account of `key`, whose messages `sender` sends, that puts at most `most` into
    /// channels.
    pub fn new(network: NetworkId, key: SigningKey, sender: Sender, most: Amount) -> Self {
        Self {
            network,
            key,
            sender,
            accounts: std::sync::Mutex::default(),
            left: std::sync::Mutex::new(most),
            spent: std::sync::Mutex::default(),
        }
    }

    /// Changes what may still be put into channels.
    pub fn allow(&self, most: Amount) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = most;
    }

    /// What was signed for so far.
    pub fn spent(&self) -> Amount {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn account(&self, provider: ProviderId) -> Arc<Mutex<Account>> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.entry(provider).or_default().clone()
    }

    /// The voucher for everything had from a provider so far; nothing where none was asked for yet.
    ///
    /// # Errors
    /// A voucher that DAG-CBOR cannot carry.
    pub(super) async fn voucher(
        &self,
        provider: ProviderId,
    ) -> Result<Option<Box<SignedVoucher>>, PurseError> {
        let account = self.account(provider);
        let mut account = account.lock().await;
        let Some(channel) = account.channel.clone() else {
            return Ok(None);
        };
        let owed = Amount(account.promised.0.saturating_add(account.unpaid.0));
        let amount = owed.min(channel.deposit).max(account.promised);
        let more = amount.saturating_sub(account.promised);
        account.unpaid = account.unpaid.saturating_sub(more);
        account.promised = amount;
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        *spent = Amount(spent.0.saturating_add(more.0));
        drop(spent);
        let voucher = Voucher {
            channel: channel.id,
            amount,
        };
        Ok(Some(Box::new(SignedVoucher::new(
            self.network,
            &self.key,
            voucher,
        )?)))
    }

    /// Notes bytes that were verified.
    pub(super) async fn received(&self, provider: ProviderId, bytes: ByteCount) {
        let account = self.account(provider);
        let mut account = account.lock().await;
        if account.channel.is_some()
            && let Ok(cost) = per_gib(account.price, bytes)
        {
            account.unpaid = Amount(account.unpaid.0.saturating_add(cost.0));
        }
    }

    /// Does what a provider asks before it sends `bytes`, where that is right: opens a channel, adds to
    /// its deposit, or makes good for what was sent in vain.
    ///
    /// # Errors
    /// What is not right is not done.
    pub(super) async fn meet(
        &self,
        provider: ProviderId,
        due: &PaymentDue,
        bytes: ByteCount,
    ) -> Result<(), PurseError> {
        let account = self.account(provider);
        let mut account = account.lock().await;
        if account.channel.is_none() {
            let offered = self
                .sender
                .client()
                .provider(provider)
                .await?
                .offer
                .read_price;
            if due.price > offered {
                return Err(PurseError::Dearer {
                    asked: due.price,
                    offered,
                });
            }
            account.price = offered;
            account.channel = self.on_ledger(provider).await?;
            account.promised = account
                .channel
                .as_ref()
                .map_or(Amount::ZERO, |channel| channel.redeemed);
        }
        if due.price > account.price {
            return Err(PurseError::Dearer {
                asked: due.price,
                offered: account.price,
            });
        }
        self.catch_up(&mut account, due)?;
        self.cover(provider, &mut account, bytes).await
    }

    async fn on_ledger(&self, provider: ProviderId) -> Result<Option<Channel>, PurseError> {
        let channel = self
            .sender
            .client()
            .channel(provider, self.sender.address());
        match channel.await {
            Ok(channel) if channel.closing.is_some() => Err(PurseError::Closes),
            Ok(channel) => Ok(Some(channel)),
            Err(LedgerError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Goes on from what this reader has signed before or elsewhere, and makes good for what was sent
    /// in vain.
    fn catch_up(&self, account: &mut Account, due: &PaymentDue) -> Result<(), PurseError> {
        let Some(channel) = &account.channel else {
            return Ok(());
        };
        if let Some(paid) = &due.paid
            && paid.voucher.channel == channel.id
            && paid.is_signed(self.network)
        {
            account.promised = account.promised.max(paid.voucher.amount);
        }
        let known = account.promised.0.saturating_add(account.unpaid.0);
        let vain = due.owed.0.saturating_sub(known);
        let credit = per_gib(account.price, READ_CREDIT)?;
        let all = account.vain.0.saturating_add(vain);
        if all > credit.0 {
            return Err(PurseError::Overcharged {
                owed: due.owed,
                known: Amount(known.saturating_add(credit.0.saturating_sub(account.vain.0))),
            });
        }
        account.vain = Amount(all);
        account.unpaid = Amount(account.unpaid.0.saturating_add(vain));
        Ok(())
    }

    /// Sees that the deposit covers what is owed and the next bytes.
    async fn cover(
        &self,
        provider: ProviderId,
        account: &mut Account,
        bytes: ByteCount,
    ) -> Result<(), PurseError> {
        let cost = per_gib(account.price, bytes)?;
        let owed = account.promised.0.saturating_add(account.unpaid.0);
        let needed = owed.saturating_add(cost.0);
        let deposit = account.channel.as_ref().map_or(0, |one| one.deposit.0);
        if account.channel.is_some() && deposit >= needed {
            return Ok(());
        }
        let usual = per_gib(account.price, DEPOSIT_BYTES)?.0.max(deposit);
        let least = needed.saturating_sub(deposit).max(1);
        let more = self.take(Amount(least), Amount(usual))?;
        let body = Body::OpenChannel {
            provider,
            deposit: more,
        };
        if let Err(error) = self.sender.send(body).await {
            self.give_back(more);
            return Err(error.into());
        }
        account.channel = self.on_ledger(provider).await?;
        Ok(())
    }

    /// Takes what a deposit is to have: `usual` where that leaves enough for others, and at least
    /// `least`.
    fn take(&self, least: Amount, usual: Amount) -> Result<Amount, PurseError> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let more = usual.min(Amount(left.0 / PART)).max(least);
        if more > *left {
            return Err(PurseError::Limit {
                needed: least,
                left: *left,
            });
        }
        *left = left.saturating_sub(more);
        Ok(more)
    }

    fn give_back(&self, amount: Amount) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = Amount(left.0.saturating_add(amount.0));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ledger::LedgerClient;
    use holdfast_market_core::channel::ChannelId;
    use holdfast_market_core::parameters::Parameters;
    use holdfast_market_core::units::{Address, Height};

    const NETWORK: NetworkId = NetworkId([1; 32]);
    const PROVIDER: ProviderId = ProviderId(3);
    /// A grain a byte.
    const PRICE: Amount = Amount(1 << 30);
    const MIB: u128 = 1 << 20;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    fn channel() -> Channel {
        Channel {
            id: ChannelId {
                payer: Address(key().verifying_key().to_bytes()),
                provider: PROVIDER,
                opened: Height(7),
            },
            deposit: Amount(100 * MIB),
            redeemed: Amount::ZERO,
            closing: None,
        }
    }

    /// A purse with an open channel; its ledger is never asked.
    async fn purse() -> Purse {
        let client = LedgerClient::new("http://127.0.0.1:1").unwrap();
        let sender = Sender::new(client, NETWORK, Parameters::dev(), key());
        let purse = Purse::new(NETWORK, key(), sender, Amount(1_000 * MIB));
        let account = purse.account(PROVIDER);
        let mut account = account.lock().await;
        account.channel = Some(channel());
        account.price = PRICE;
        drop(account);
        purse
    }

    fn due(owed: u128, paid: Option<SignedVoucher>) -> PaymentDue {
        PaymentDue {
            price: PRICE,
            owed: Amount(owed),
            paid: paid.map(Box::new),
        }
    }

    async fn meet(purse: &Purse, due: PaymentDue) -> Result<(), PurseError> {
        purse.meet(PROVIDER, &due, ByteCount(1)).await
    }

    async fn signed(purse: &Purse) -> u128 {
        let voucher = purse.voucher(PROVIDER).await.unwrap().unwrap();
        assert!(voucher.is_signed(NETWORK));
        voucher.voucher.amount.0
    }

    #[tokio::test]
    async fn only_what_was_verified_is_signed_for() {
        let purse = purse().await;
        assert_eq!(signed(&purse).await, 0);
        purse.received(PROVIDER, ByteCount(500)).await;
        purse.received(PROVIDER, ByteCount(7)).await;
        assert_eq!(signed(&purse).await, 507);
        assert_eq!(signed(&purse).await, 507);
        assert_eq!(purse.spent(), Amount(507));
        // Never more than the deposit, whatever was had.
        purse.received(PROVIDER, ByteCount(1 << 40)).await;
        assert_eq!(signed(&purse).await, 100 * MIB);
    }

    #[tokio::test]
    async fn what_never_came_is_paid_up_to_the_credit_and_never_again() {
        let purse = purse().await;
        purse.received(PROVIDER, ByteCount(10)).await;
        meet(&purse, due(10 + 3 * MIB, None)).await.unwrap();
        assert_eq!(signed(&purse).await, 10 + 3 * MIB);
        // A MiB of the credit is left, for as long as it reads from it.
        let more = meet(&purse, due(10 + 4 * MIB + 1, None)).await;
        assert!(
            matches!(more, Err(PurseError::Overcharged { .. })),
            "{more:?}"
        );
        assert_eq!(signed(&purse).await, 10 + 3 * MIB);
        meet(&purse, due(10 + 4 * MIB, None)).await.unwrap();
        assert_eq!(signed(&purse).await, 10 + 4 * MIB);
        let all = meet(&purse, due(u128::MAX, None)).await;
        assert!(
            matches!(all, Err(PurseError::Overcharged { .. })),
            "{all:?}"
        );
    }

    #[tokio::test]
    async fn a_reader_goes_on_from_what_it_has_signed_elsewhere_and_from_nothing_that_it_has_not() {
        let purse = purse().await;
        let of = |signer: &SigningKey, opened: u64, amount: u128| {
            let mut id = channel().id;
            id.opened = Height(opened);
            let voucher = Voucher {
                channel: id,
                amount: Amount(amount),
            };
            SignedVoucher::new(NETWORK, signer, voucher).unwrap()
        };
        let forger = SigningKey::from_bytes(&[6; 32]);
        for wrong in [of(&forger, 7, 50 * MIB), of(&key(), 6, 50 * MIB)] {
            let refused = meet(&purse, due(50 * MIB, Some(wrong))).await;
            assert!(matches!(refused, Err(PurseError::Overcharged { .. })));
            assert_eq!(signed(&purse).await, 0);
        }
        let elsewhere = of(&key(), 7, 50 * MIB);
        meet(&purse, due(50 * MIB, Some(elsewhere))).await.unwrap();
        assert_eq!(signed(&purse).await, 50 * MIB);
        // It was spent elsewhere.
        assert_eq!(purse.spent(), Amount::ZERO);
    }

    #[tokio::test]
    async fn a_price_that_rises_on_the_way_is_not_paid() {
        let purse = purse().await;
        let dearer = PaymentDue {
            price: Amount(PRICE.0 + 1),
            ..due(0, None)
        };
        let refused = meet(&purse, dearer).await;
        assert!(
            matches!(refused, Err(PurseError::Dearer { .. })),
            "{refused:?}"
        );
    }
}
