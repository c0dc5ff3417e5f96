//! What readers owe this node, channel by channel, and the vouchers that they have given.
//!
//! A reader is sent at most [`READ_CREDIT`] more than it has paid for, and never more than its
//! deposit covers: a voucher beyond the deposit is worth nothing and is refused.

use holdfast_market_core::channel::{Channel, ChannelId, Parties, SignedVoucher};
use holdfast_market_core::quote::{Unpayable, per_gib};
use holdfast_market_core::units::{Amount, ByteCount, Height};
use holdfast_wire::protocol::{PaymentDue, READ_CREDIT};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A voucher is written down when it is worth this much reading more than the one before.
const KEPT_EVERY: ByteCount = ByteCount(1 << 20);
/// Channels that are remembered. Who is forgotten goes on from the voucher that was written down.
const CHANNELS: usize = 4096;

/// The accounts of those who read here.
#[derive(Debug)]
pub struct Till {
    price: Amount,
    tallies: Mutex<BTreeMap<Parties, Tally>>,
}

#[derive(Debug)]
struct Tally {
    id: ChannelId,
    deposit: Amount,
    closes: bool,
    /// For everything that was sent.
    owed: Amount,
    /// The highest voucher, and what of it is written down.
    paid: Option<SignedVoucher>,
    kept: Amount,
}

impl Tally {
    fn paid(&self) -> Amount {
        let paid = self.paid.as_ref();
        paid.map_or(Amount::ZERO, |signed| signed.voucher.amount)
    }
}

/// What comes of a voucher that is shown with a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The bytes may be sent. Where there is a voucher in it, that is to be written down first.
    Granted(Option<SignedVoucher>),
    /// Something has to be paid first.
    Due(PaymentDue),
    /// The channel is not known here, or holds less than what is asked of it takes: the ledger may
    /// know more.
    Unknown(PaymentDue),
    /// More than the channel holds.
    Overdrawn {
        /// What it holds.
        deposit: Amount,
    },
    /// The channel is being closed.
    Closes,
}

impl Till {
    /// A till of a node that takes `price` for reading a GiB; nothing is paid where that is zero.
    pub fn new(price: Amount) -> Self {
        Self {
            price,
            tallies: Mutex::default(),
        }
    }

    /// What reading a GiB costs.
    pub fn price(&self) -> Amount {
        self.price
    }

    fn tallies(&self) -> MutexGuard<'_, BTreeMap<Parties, Tally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said to who has no channel here.
    pub fn stranger(&self) -> PaymentDue {
        PaymentDue {
            price: self.price,
            owed: Amount::ZERO,
            paid: None,
        }
    }

    /// Takes what the ledger says of a channel, and the last voucher that was written down for it. False
    /// where there is no room for one more.
    pub fn learn(&self, channel: &Channel, written: Option<SignedVoucher>) -> bool {
        let mut tallies = self.tallies();
        let parties = channel.id.parties();
        if let Some(tally) = tallies.get_mut(&parties)
            && tally.id == channel.id
        {
            tally.deposit = channel.deposit;
            tally.closes = channel.closing.is_some();
            return true;
        }
        if tallies.len() >= CHANNELS {
            // Only who owes nothing and whose voucher is written down loses nothing by it.
            let settled = |tally: &Tally| tally.owed <= tally.paid() && tally.paid() <= tally.kept;
            let mut settled = tallies.iter().filter(|(_, tally)| settled(tally));
            let Some(any) = settled.next().map(|(parties, _)| *parties) else {
                return false;
            };
            tallies.remove(&any);
        }
        let written = written.filter(|signed| signed.voucher.channel == channel.id);
        let paid = written
            .as_ref()
            .map_or(Amount::ZERO, |signed| signed.voucher.amount);
        tallies.insert(
            parties,
            Tally {
                id: channel.id,
                deposit: channel.deposit,
                closes: channel.closing.is_some(),
                owed: paid.max(channel.redeemed),
                paid: written,
                kept: paid,
            },
        );
        true
    }

    /// Takes what the ledger says at a height of all channels to this node: those that are not there
    /// any more are worth nothing.
    pub fn sync(&self, channels: &BTreeMap<Parties, Channel>, height: Height) {
        self.tallies().retain(|parties, tally| {
            let channel = channels
                .get(parties)
                .filter(|channel| channel.id == tally.id);
            match channel {
                Some(channel) => {
                    tally.deposit = channel.deposit;
                    tally.closes = channel.closing.is_some();
                    true
                }
                // One that was opened since is not in the list yet.
                None => tally.id.opened > height,
            }
        });
    }

    /// Forgets every channel, where the ledger does not say what became of them: each is asked for anew.
    /// What was given for them and is not written down is answered.
    pub fn forget(&self) -> Vec<SignedVoucher> {
        // At once: a voucher that comes between would be forgotten with its channel.
        let tallies = std::mem::take(&mut *self.tallies());
        let unkept = tallies
            .into_values()
            .filter(|tally| tally.paid() > tally.kept);
        unkept.filter_map(|tally| tally.paid).collect()
    }

    /// Takes a voucher whose signature holds, and sees whether `bytes` may be sent for it. For no bytes
    /// it says how the account stands.
    ///
    /// # Errors
    /// A price beyond the numbers.
    pub fn take(&self, signed: &SignedVoucher, bytes: ByteCount) -> Result<Taken, Unpayable> {
        let cost = per_gib(self.price, bytes)?;
        let credit = per_gib(self.price, READ_CREDIT)?;
        let every = per_gib(self.price, KEPT_EVERY)?;
        let voucher = &signed.voucher;
        let mut tallies = self.tallies();
        let Some(tally) = tallies
            .get_mut(&voucher.channel.parties())
            .filter(|tally| tally.id == voucher.channel)
        else {
            return Ok(Taken::Unknown(self.stranger()));
        };
        if tally.closes {
            return Ok(Taken::Closes);
        }
        if voucher.amount > tally.deposit {
            return Ok(Taken::Overdrawn {
                deposit: tally.deposit,
            });
        }
        if voucher.amount > tally.paid() {
            tally.paid = Some(signed.clone());
        }
        let due = || PaymentDue {
            price: self.price,
            owed: tally.owed,
            paid: tally.paid.clone().map(Box::new),
        };
        if bytes == ByteCount(0) {
            return Ok(Taken::Due(due()));
        }
        let owed = Amount(tally.owed.0.saturating_add(cost.0));
        if owed > tally.deposit {
            return Ok(Taken::Unknown(due()));
        }
        if owed.saturating_sub(tally.paid()) > credit {
            return Ok(Taken::Due(due()));
        }
        tally.owed = owed;
        let unkept = tally.paid().saturating_sub(tally.kept);
        let keep = unkept > Amount::ZERO && unkept >= every;
        Ok(Taken::Granted(keep.then(|| tally.paid.clone()).flatten()))
    }

    /// Takes back what was counted for bytes that this node failed to send.
    pub fn not_sent(&self, channel: &ChannelId, bytes: ByteCount) {
        if let Some(tally) = self.tallies().get_mut(&channel.parties())
            && tally.id == *channel
            && let Ok(cost) = per_gib(self.price, bytes)
        {
            tally.owed = tally.owed.saturating_sub(cost);
        }
    }

    /// Notes that a voucher is written down.
    pub fn kept(&self, signed: &SignedVoucher) {
        let channel = &signed.voucher.channel;
        if let Some(tally) = self.tallies().get_mut(&channel.parties())
            && tally.id == *channel
        {
            tally.kept = tally.kept.max(signed.voucher.amount);
        }
    }

    /// Whether nobody has an account here.
    pub fn is_empty(&self) -> bool {
        self.tallies().is_empty()
    }

    /// Vouchers above those that are written down.
    pub fn unkept(&self) -> Vec<SignedVoucher> {
        let tallies = self.tallies();
        let unkept = tallies.values().filter(|tally| tally.paid() > tally.kept);
        unkept.filter_map(|tally| tally.paid.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ed25519_dalek::SigningKey;
    use holdfast_market_core::channel::Voucher;
    use holdfast_market_core::units::{Address, NetworkId, ProviderId};

    /// A grain a byte.
    const PRICE: Amount = Amount(1 << 30);
    const MIB: u64 = 1 << 20;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[1; 32])
    }

    fn channel(deposit: u64) -> Channel {
        Channel {
            id: ChannelId {
                payer: Address(key().verifying_key().to_bytes()),
                reader: Address(key().verifying_key().to_bytes()),
                provider: ProviderId(3),
                opened: Height(7),
            },
            deposit: Amount(deposit.into()),
            redeemed: Amount::ZERO,
            until: None,
            closing: None,
        }
    }

    fn voucher(channel: &Channel, amount: u64) -> SignedVoucher {
        let voucher = Voucher {
            channel: channel.id,
            amount: Amount(amount.into()),
        };
        SignedVoucher::new(NetworkId([1; 32]), &key(), voucher).unwrap()
    }

    fn take(till: &Till, signed: &SignedVoucher, bytes: u64) -> Taken {
        till.take(signed, ByteCount(bytes)).unwrap()
    }

    #[test]
    fn a_reader_has_its_credit_and_no_byte_more_until_it_pays() {
        let till = Till::new(PRICE);
        let channel = channel(100 * MIB);
        let nothing = voucher(&channel, 0);
        assert_eq!(
            take(&till, &nothing, 1),
            Taken::Unknown(till.stranger()),
            "a channel that the ledger was not asked about"
        );
        till.learn(&channel, None);
        for _ in 0..4 {
            assert_eq!(take(&till, &nothing, MIB), Taken::Granted(None));
        }
        let Taken::Due(due) = take(&till, &nothing, 1) else {
            panic!("a byte beyond the credit was granted");
        };
        assert_eq!((due.price, due.owed), (PRICE, Amount(u128::from(4 * MIB))));
        assert_eq!(due.paid, None);
        // What is paid for is credit again, and a voucher stands for all before it.
        let paid = voucher(&channel, 3 * MIB);
        assert_eq!(take(&till, &paid, MIB), Taken::Granted(Some(paid.clone())));
        till.kept(&paid);
        assert_eq!(take(&till, &nothing, MIB), Taken::Granted(None));
        let Taken::Due(due) = take(&till, &nothing, 2 * MIB) else {
            panic!("more than the credit was granted");
        };
        assert_eq!(due.paid, Some(Box::new(paid)));
    }

    #[test]
    fn a_voucher_beyond_the_deposit_is_worth_nothing() {
        let till = Till::new(PRICE);
        let channel = channel(2 * MIB);
        till.learn(&channel, None);
        let over = voucher(&channel, 2 * MIB + 1);
        let deposit = channel.deposit;
        assert_eq!(take(&till, &over, 1), Taken::Overdrawn { deposit });
        assert!(till.unkept().is_empty());
        // All of the deposit may be read for, and not a byte more, whatever is signed.
        let most = voucher(&channel, 2 * MIB);
        assert!(matches!(take(&till, &most, 2 * MIB), Taken::Granted(_)));
        assert!(matches!(take(&till, &most, 1), Taken::Unknown(_)));
        let more = Channel {
            deposit: Amount(u128::from(3 * MIB)),
            ..channel
        };
        till.learn(&more, None);
        assert!(matches!(take(&till, &over, MIB), Taken::Granted(_)));
    }

    #[test]
    fn what_was_written_down_is_what_a_restarted_node_goes_on_from() {
        let channel = Channel {
            redeemed: Amount(u128::from(MIB)),
            ..channel(100 * MIB)
        };
        let till = Till::new(PRICE);
        let written = voucher(&channel, 5 * MIB);
        till.learn(&channel, Some(written.clone()));
        let nothing = voucher(&channel, 0);
        assert_eq!(take(&till, &nothing, 4 * MIB), Taken::Granted(None));
        let Taken::Due(due) = take(&till, &nothing, 1) else {
            panic!("more than the credit was granted");
        };
        assert_eq!(due.owed, Amount(u128::from(9 * MIB)));
        assert_eq!(due.paid, Some(Box::new(written)));
        // A voucher of a channel before this one is not of this one.
        let mut anew = channel.clone();
        anew.id.opened = Height(50);
        till.learn(&anew, Some(voucher(&channel, 5 * MIB)));
        assert!(matches!(take(&till, &nothing, 1), Taken::Unknown(_)));
        assert_eq!(take(&till, &voucher(&anew, 0), MIB), Taken::Granted(None));
    }

    #[test]
    fn a_channel_that_the_ledger_has_no_more_is_worth_nothing() {
        let till = Till::new(PRICE);
        let channel = channel(100 * MIB);
        till.learn(&channel, None);
        let all = voucher(&channel, 100 * MIB);
        // The list is of before it was opened.
        till.sync(&BTreeMap::new(), Height(6));
        assert_eq!(
            take(&till, &voucher(&channel, 0), MIB),
            Taken::Granted(None)
        );
        let listed = BTreeMap::from([(channel.id.parties(), channel.clone())]);
        till.sync(&listed, Height(9));
        assert_eq!(
            take(&till, &voucher(&channel, 0), MIB),
            Taken::Granted(None)
        );
        till.sync(&BTreeMap::new(), Height(9));
        assert_eq!(take(&till, &all, MIB), Taken::Unknown(till.stranger()));
        // Nor is one while the ledger does not answer.
        till.learn(&channel, None);
        assert!(matches!(
            take(&till, &voucher(&channel, 1), MIB),
            Taken::Granted(_)
        ));
        assert_eq!(till.forget(), [voucher(&channel, 1)]);
        assert_eq!(take(&till, &all, MIB), Taken::Unknown(till.stranger()));
    }

    #[test]
    fn whoever_owes_is_not_forgotten_for_another() {
        let till = Till::new(PRICE);
        let of = |number: u64| {
            let mut channel = channel(100 * MIB);
            channel.id.payer.0[..8].copy_from_slice(&number.to_be_bytes());
            channel
        };
        for number in 0..CHANNELS as u64 {
            assert!(till.learn(&of(number), None));
            let nothing = voucher(&of(number), 0);
            assert_eq!(take(&till, &nothing, MIB), Taken::Granted(None));
        }
        let late = of(CHANNELS as u64);
        assert!(!till.learn(&late, None));
        // One that has paid and whose voucher is written down gives its place.
        let paid = voucher(&of(7), MIB);
        assert_eq!(
            take(&till, &paid, 0),
            Taken::Due(PaymentDue {
                price: PRICE,
                owed: Amount(u128::from(MIB)),
                paid: Some(Box::new(paid.clone())),
            })
        );
        till.kept(&paid);
        assert!(till.learn(&late, None));
        assert_eq!(
            take(&till, &voucher(&of(7), MIB), 1),
            Taken::Unknown(till.stranger())
        );
    }

    #[test]
    fn what_this_node_failed_to_send_is_not_owed_and_a_closing_channel_reads_nothing() {
        let till = Till::new(PRICE);
        let channel = channel(100 * MIB);
        till.learn(&channel, None);
        let nothing = voucher(&channel, 0);
        assert_eq!(take(&till, &nothing, 4 * MIB), Taken::Granted(None));
        till.not_sent(&channel.id, ByteCount(4 * MIB));
        assert_eq!(take(&till, &nothing, 4 * MIB), Taken::Granted(None));
        let closing = Channel {
            closing: Some(Height(90)),
            ..channel
        };
        till.learn(&closing, None);
        assert_eq!(take(&till, &nothing, 1), Taken::Closes);
    }
}
