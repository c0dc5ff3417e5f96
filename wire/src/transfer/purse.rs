//! Paying for what is read: a reader's channels to providers, and the vouchers that it signs.
//!
//! A voucher is signed only for bytes that were received and verified, for at most [`READ_CREDIT`] that
//! was owed before this purse began to count, and for at most as much again that a provider says it sent
//! and that never came (a connection that broke). So a provider that lies gains no more than that from
//! a purse.

use crate::ledger::{LedgerError, SendError, Sender};
use crate::protocol::{PaymentDue, READ_CREDIT};
use ed25519_dalek::SigningKey;
use holdfast_market_core::channel::{Channel, Parties, SignedVoucher, Voucher};
use holdfast_market_core::message::{Body, Unencodable};
use holdfast_market_core::quote::{Unpayable, per_gib};
use holdfast_market_core::units::{Amount, ByteCount, NetworkId, ProviderId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    accounts: Mutex<BTreeMap<ProviderId, Arc<Account>>>,
    /// What deposits may still take.
    left: Mutex<Amount>,
    /// What was signed for so far.
    spent: Mutex<Amount>,
}

/// What is between the reader and one provider.
#[derive(Default)]
struct Account {
    numbers: Mutex<Numbers>,
    /// Held by whoever asks the ledger or sends it something.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Numbers {
    channel: Option<Channel>,
    /// A GiB's price, as the provider asks it and at most as it offers.
    price: Amount,
    /// What the last voucher says.
    promised: Amount,
    /// For what was verified since.
    unpaid: Amount,
    /// For what is under way.
    under_way: Amount,
    /// What was paid for bytes that never came.
    vain: Amount,
    /// Whether the provider has said how the account stands: this reader may have had a channel before,
    /// or have it elsewhere.
    is_known: bool,
}

impl Account {
    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read that is under way: what it costs is owed once it is verified, and expected until then.
pub(super) struct UnderWay {
    account: Arc<Account>,
    cost: Amount,
}

impl UnderWay {
    /// Its bytes were verified.
    pub(super) fn received(self) {
        let mut numbers = self.account.numbers();
        if numbers.channel.is_some() {
            numbers.unpaid = plus(numbers.unpaid, self.cost);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut numbers = self.account.numbers();
        numbers.under_way = numbers.under_way.saturating_sub(self.cost);
    }
}

fn plus(a: Amount, b: Amount) -> Amount {
    Amount(a.0.saturating_add(b.0))
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
            accounts: Mutex::default(),
            left: Mutex::new(most),
            spent: Mutex::default(),
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

    fn account(&self, provider: ProviderId) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.entry(provider).or_default().clone()
    }

    /// Whether the provider is to be asked how the account stands before anything is read.
    pub(super) fn is_unsure(&self, provider: ProviderId) -> bool {
        let account = self.account(provider);
        let numbers = account.numbers();
        numbers.channel.is_some() && !numbers.is_known
    }

    /// Begins a read that takes so many bytes to send.
    pub(super) fn begin(&self, provider: ProviderId, bytes: ByteCount) -> UnderWay {
        let account = self.account(provider);
        let mut numbers = account.numbers();
        let cost = per_gib(numbers.price, bytes).unwrap_or_default();
        numbers.under_way = plus(numbers.under_way, cost);
        drop(numbers);
        UnderWay { account, cost }
    }

    /// The voucher for everything had from a provider so far; nothing where none was asked for yet.
    ///
    /// # Errors
    /// A voucher that DAG-CBOR cannot carry.
    pub(super) fn voucher(
        &self,
        provider: ProviderId,
    ) -> Result<Option<Box<SignedVoucher>>, PurseError> {
        let account = self.account(provider);
        let mut numbers = account.numbers();
        let Some(channel) = &numbers.channel else {
            return Ok(None);
        };
        let (id, deposit) = (channel.id, channel.deposit);
        let owed = plus(numbers.promised, numbers.unpaid);
        let amount = owed.min(deposit).max(numbers.promised);
        let more = amount.saturating_sub(numbers.promised);
        numbers.unpaid = numbers.unpaid.saturating_sub(more);
        numbers.promised = amount;
        drop(numbers);
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        *spent = plus(*spent, more);
        drop(spent);
        let voucher = Voucher {
            channel: id,
            amount,
        };
        let signed = SignedVoucher::new(self.network, &self.key, voucher)?;
        Ok(Some(Box::new(signed)))
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
        let _turn = account.turn.lock().await;
        let (known, asked, price) = {
            let numbers = account.numbers();
            (numbers.channel.is_some(), numbers.is_known, numbers.price)
        };
        if !known || due.price != price {
            let offer = self.sender.client().provider(provider).await?.offer;
            if due.price > offer.read_price {
                return Err(PurseError::Dearer {
                    asked: due.price,
                    offered: offer.read_price,
                });
            }
            account.numbers().price = due.price;
        }
        // Who knows nothing of a channel that it knew may be right: it was closed.
        let unknown = due.paid.is_none() && due.owed == Amount::ZERO;
        if !known || (asked && unknown) {
            self.look_up(provider, &account).await?;
        } else {
            self.catch_up(&mut account.numbers(), due)?;
        }
        self.cover(provider, &account, bytes).await
    }

    /// Takes over what the ledger says of the channel.
    async fn look_up(&self, provider: ProviderId, account: &Account) -> Result<(), PurseError> {
        let channel = self.on_ledger(provider).await?;
        let mut numbers = account.numbers();
        let before = numbers.channel.as_ref().map(|channel| channel.id);
        if channel.as_ref().map(|channel| channel.id) != before {
            let redeemed = channel.as_ref().map(|channel| channel.redeemed);
            numbers.promised = redeemed.unwrap_or_default();
            (numbers.unpaid, numbers.is_known) = (Amount::ZERO, false);
        }
        numbers.channel = channel;
        Ok(())
    }

    async fn on_ledger(&self, provider: ProviderId) -> Result<Option<Channel>, PurseError> {
        let client = self.sender.client();
        match client
            .channel(provider, Parties::own(self.sender.address()))
            .await
        {
            Ok(channel) if channel.closing.is_some() => Err(PurseError::Closes),
            Ok(channel) => Ok(Some(channel)),
            Err(LedgerError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Goes on from what this reader has signed before or elsewhere, and makes good for what was sent
    /// in vain.
    fn catch_up(&self, numbers: &mut Numbers, due: &PaymentDue) -> Result<(), PurseError> {
        let Some(channel) = &numbers.channel else {
            return Ok(());
        };
        if let Some(paid) = &due.paid
            && paid.voucher.channel == channel.id
            && paid.is_signed(self.network)
        {
            numbers.promised = numbers.promised.max(paid.voucher.amount);
        }
        let known = plus(plus(numbers.promised, numbers.unpaid), numbers.under_way);
        let vain = due.owed.saturating_sub(known);
        let credit = per_gib(numbers.price, READ_CREDIT)?;
        // What this reader had last through the channel, before it began to count, is no more than that.
        let before = match numbers.is_known {
            true => numbers.vain,
            false => Amount::ZERO,
        };
        let all = plus(before, vain);
        if all > credit {
            return Err(PurseError::Overcharged {
                owed: due.owed,
                known: plus(known, credit.saturating_sub(before)),
            });
        }
        if numbers.is_known {
            numbers.vain = all;
        }
        numbers.is_known = true;
        numbers.unpaid = plus(numbers.unpaid, vain);
        Ok(())
    }

    /// Sees that the deposit covers what is owed, what is under way and the next bytes.
    async fn cover(
        &self,
        provider: ProviderId,
        account: &Account,
        bytes: ByteCount,
    ) -> Result<(), PurseError> {
        let (price, deposit, needed, is_open) = {
            let numbers = account.numbers();
            let owed = plus(plus(numbers.promised, numbers.unpaid), numbers.under_way);
            let channel = numbers.channel.as_ref();
            (
                numbers.price,
                channel.map_or(Amount::ZERO, |channel| channel.deposit),
                plus(owed, per_gib(numbers.price, bytes)?),
                channel.is_some(),
            )
        };
        if is_open && deposit >= needed {
            return Ok(());
        }
        let usual = per_gib(price, DEPOSIT_BYTES)?.max(deposit);
        let least = needed.saturating_sub(deposit).max(Amount(1));
        let floor = per_gib(price, READ_CREDIT)?;
        let more = self.take(least, floor, usual)?;
        let body = Body::OpenChannel {
            provider,
            deposit: more,
        };
        if let Err(error) = self.sender.send(body).await {
            self.give_back(more);
            return Err(error.into());
        }
        self.look_up(provider, account).await?;
        if !is_open {
            // Nobody has had anything through it.
            account.numbers().is_known = true;
        }
        Ok(())
    }

    /// Takes what a deposit is to have: `usual` where that leaves enough for others, not below
    /// `floor` where there is so much, and at least `least`.
    fn take(&self, least: Amount, floor: Amount, usual: Amount) -> Result<Amount, PurseError> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let more = usual
            .min(Amount(left.0 / PART))
            .max(floor.min(*left))
            .max(least);
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
                reader: Address(key().verifying_key().to_bytes()),
                provider: PROVIDER,
                opened: Height(7),
            },
            deposit: Amount(100 * MIB),
            redeemed: Amount::ZERO,
            until: None,
            closing: None,
        }
    }

    /// A purse with an open channel; its ledger is never asked.
    fn purse() -> Purse {
        let client = LedgerClient::new("http://127.0.0.1:1").unwrap();
        let sender = Sender::new(client, NETWORK, Parameters::dev(), key());
        let purse = Purse::new(NETWORK, key(), sender, Amount(1_000 * MIB));
        let account = purse.account(PROVIDER);
        let mut numbers = account.numbers();
        numbers.channel = Some(channel());
        numbers.price = PRICE;
        numbers.is_known = true;
        drop(numbers);
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

    fn signed(purse: &Purse) -> u128 {
        let voucher = purse.voucher(PROVIDER).unwrap().unwrap();
        assert!(voucher.is_signed(NETWORK));
        voucher.voucher.amount.0
    }

    #[tokio::test]
    async fn only_what_was_verified_is_signed_for() {
        let purse = purse();
        assert_eq!(signed(&purse), 0);
        purse.begin(PROVIDER, ByteCount(500)).received();
        purse.begin(PROVIDER, ByteCount(7)).received();
        assert_eq!(signed(&purse), 507);
        assert_eq!(signed(&purse), 507);
        assert_eq!(purse.spent(), Amount(507));
        // Never more than the deposit, whatever was had.
        purse.begin(PROVIDER, ByteCount(1 << 40)).received();
        assert_eq!(signed(&purse), 100 * MIB);
    }

    #[tokio::test]
    async fn what_never_came_is_paid_up_to_the_credit_and_never_again() {
        let purse = purse();
        purse.begin(PROVIDER, ByteCount(10)).received();
        meet(&purse, due(10 + 3 * MIB, None)).await.unwrap();
        assert_eq!(signed(&purse), 10 + 3 * MIB);
        // A MiB of the credit is left, for as long as it reads from it.
        let more = meet(&purse, due(10 + 4 * MIB + 1, None)).await;
        assert!(
            matches!(more, Err(PurseError::Overcharged { .. })),
            "{more:?}"
        );
        assert_eq!(signed(&purse), 10 + 3 * MIB);
        meet(&purse, due(10 + 4 * MIB, None)).await.unwrap();
        assert_eq!(signed(&purse), 10 + 4 * MIB);
        let all = meet(&purse, due(u128::MAX, None)).await;
        assert!(
            matches!(all, Err(PurseError::Overcharged { .. })),
            "{all:?}"
        );
    }

    #[tokio::test]
    async fn a_reader_goes_on_from_what_it_has_signed_elsewhere_and_from_nothing_that_it_has_not() {
        let purse = purse();
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
            assert_eq!(signed(&purse), 0);
        }
        let elsewhere = of(&key(), 7, 50 * MIB);
        meet(&purse, due(50 * MIB, Some(elsewhere))).await.unwrap();
        assert_eq!(signed(&purse), 50 * MIB);
        // It was spent elsewhere.
        assert_eq!(purse.spent(), Amount::ZERO);
    }

    #[tokio::test]
    async fn a_price_that_rises_on_the_way_is_not_paid() {
        let purse = purse();
        let dearer = PaymentDue {
            price: Amount(PRICE.0 + 1),
            ..due(0, None)
        };
        let refused = meet(&purse, dearer).await;
        assert!(matches!(refused, Err(PurseError::Ledger(_))), "{refused:?}");
        assert_eq!(purse.account(PROVIDER).numbers().price, PRICE);
    }

    #[tokio::test]
    async fn what_is_under_way_is_not_paid_as_if_it_never_came() {
        let purse = purse();
        let reads: Vec<_> = (0..3)
            .map(|_| purse.begin(PROVIDER, ByteCount(1 << 20)))
            .collect();
        // The provider has sent all three; none has arrived.
        meet(&purse, due(3 * MIB, None)).await.unwrap();
        assert_eq!(signed(&purse), 0);
        for read in reads {
            read.received();
        }
        assert_eq!(signed(&purse), 3 * MIB);
        // One that breaks off was sent in vain.
        drop(purse.begin(PROVIDER, ByteCount(1 << 20)));
        assert_eq!(signed(&purse), 3 * MIB);
        meet(&purse, due(4 * MIB, None)).await.unwrap();
        assert_eq!(signed(&purse), 4 * MIB);
    }

    #[tokio::test]
    async fn a_channel_through_which_nothing_was_read_is_read_through() {
        let purse = purse();
        purse.account(PROVIDER).numbers().is_known = false;
        meet(&purse, due(0, None)).await.unwrap();
        assert!(!purse.is_unsure(PROVIDER));
        purse.begin(PROVIDER, ByteCount(5)).received();
        assert_eq!(signed(&purse), 5);
    }

    #[tokio::test]
    async fn a_command_goes_on_from_where_the_one_before_has_ended() {
        let purse = purse();
        purse.account(PROVIDER).numbers().is_known = false;
        assert!(purse.is_unsure(PROVIDER));
        let before = Voucher {
            channel: channel().id,
            amount: Amount(20 * MIB),
        };
        let before = SignedVoucher::new(NETWORK, &key(), before).unwrap();
        // What it had last was not paid yet.
        meet(&purse, due(21 * MIB, Some(before))).await.unwrap();
        assert!(!purse.is_unsure(PROVIDER));
        purse.begin(PROVIDER, ByteCount(1 << 20)).received();
        assert_eq!(signed(&purse), 22 * MIB);
        // Nothing of that was in vain.
        meet(&purse, due(26 * MIB, None)).await.unwrap();
        assert_eq!(signed(&purse), 26 * MIB);
    }
}
