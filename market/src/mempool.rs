//! Messages that wait for a block.
//!
//! Every message here was admitted: signed, payable, next in its sender's order. A sender has a
//! share of the room and no more, its messages follow each other without a gap, and their fees
//! together are covered by its balance, so that filling the pool costs what filling blocks costs.
//! Where the pool is full, a message that pays more for a byte takes the place of those that pay
//! least.

use holdfast_market_core::message::SignedMessage;
use holdfast_market_core::state::Account;
use holdfast_market_core::units::{Address, Amount, Height, MessageId};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

/// How much waits at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages of all senders.
    pub messages: usize,
    /// Bytes of all senders.
    pub bytes: usize,
    /// Messages of one sender.
    pub sender_messages: usize,
    /// Bytes of one sender.
    pub sender_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages: 20_000,
            bytes: 64 << 20,
            sender_messages: 128,
            sender_bytes: 8 << 20,
        }
    }
}

/// Why a message does not wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolRefusal {
    /// Its number has served or waits already.
    #[error("nonce {given} is taken: the next one of this account is {next}")]
    NonceTaken {
        /// The message's.
        given: u64,
        /// What would be taken.
        next: u64,
    },
    /// Its number is too high.
    #[error("nonce {given} leaves a gap: the next one of this account is {next}")]
    NonceGap {
        /// The message's.
        given: u64,
        /// What would be taken.
        next: u64,
    },
    /// The sender's share is full.
    #[error(
        "this account already has {0} messages waiting for a block; send more when they are through"
    )]
    SenderFull(usize),
    /// The sender cannot pay for all that it sent.
    #[error("the fees of this account's waiting messages come to {fees}, and it has {balance}")]
    Fees {
        /// With this message.
        fees: Amount,
        /// What the account holds.
        balance: Amount,
    },
    /// No room at all, and none that pays less would make way.
    #[error("too many messages that pay as much wait for a block; try again in a moment")]
    Full,
}

struct Waiting {
    id: MessageId,
    message: SignedMessage,
    size: usize,
}

impl Waiting {
    /// Fee per byte.
    fn rate(&self) -> u128 {
        rate(&self.message, self.size)
    }
}

/// Fee per byte.
fn rate(message: &SignedMessage, size: usize) -> u128 {
    let size = u128::try_from(size.max(1)).unwrap_or(u128::MAX);
    message.message.fee.0 / size
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Queue {
    fn fees(&self) -> Option<Amount> {
        self.waiting.iter().try_fold(Amount::ZERO, |sum, one| {
            sum.checked_add(one.message.message.fee)
        })
    }
}

/// The pool.
#[derive(Default)]
pub struct Mempool {
    limits: Limits,
    queues: BTreeMap<Address, Queue>,
    ids: BTreeSet<MessageId>,
    bytes: usize,
}

impl Mempool {
    /// An empty pool of that size.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether this one waits.
    pub fn contains(&self, id: &MessageId) -> bool {
        self.ids.contains(id)
    }

    /// The number that the sender's next message carries, where some wait already.
    pub fn next_nonce(&self, sender: &Address, account_nonce: u64) -> u64 {
        self.queues
            .get(sender)
            .and_then(|queue| queue.waiting.back())
            .map_or(account_nonce, |last| {
                last.message.message.nonce.saturating_add(1)
            })
            .max(account_nonce)
    }

    /// Takes in a message that the rules admitted; `size` is its encoded length, `account` its
    /// sender's at the head. One that waits already is taken again without effect.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub fn insert(
        &mut self,
        id: MessageId,
        message: SignedMessage,
        size: usize,
        account: &Account,
    ) -> Result<(), PoolRefusal> {
        if self.ids.contains(&id) {
            return Ok(());
        }
        let sender = message.message.sender;
        let given = message.message.nonce;
        let next = self.next_nonce(&sender, account.nonce);
        if given < next {
            return Err(PoolRefusal::NonceTaken { given, next });
        }
        if given > next {
            return Err(PoolRefusal::NonceGap { given, next });
        }
        let none = Queue::default();
        let queue = self.queues.get(&sender).unwrap_or(&none);
        if queue.waiting.len() >= self.limits.sender_messages
            || queue.bytes.saturating_add(size) > self.limits.sender_bytes
        {
            return Err(PoolRefusal::SenderFull(queue.waiting.len()));
        }
        let fees = queue
            .fees()
            .and_then(|sum| sum.checked_add(message.message.fee))
            .unwrap_or(Amount(u128::MAX));
        if fees > account.balance {
            return Err(PoolRefusal::Fees {
                fees,
                balance: account.balance,
            });
        }
        let displaced = self
            .displaced(&sender, rate(&message, size), size)
            .ok_or(PoolRefusal::Full)?;
        for (other, keep) in displaced {
            self.truncate(&other, keep);
        }
        let queue = self.queues.entry(sender).or_default();
        queue.waiting.push_back(Waiting { id, message, size });
        queue.bytes = queue.bytes.saturating_add(size);
        self.bytes = self.bytes.saturating_add(size);
        self.ids.insert(id);
        Ok(())
    }

    /// Whose last messages make way for one of `sender` that pays `offered` for a byte, and how many
    /// each of them keeps: always the last one that pays least, so that no queue gets a gap. None
    /// where those that pay less are not enough.
    fn displaced(
        &self,
        sender: &Address,
        offered: u128,
        size: usize,
    ) -> Option<BTreeMap<Address, usize>> {
        let mut messages = self.ids.len().saturating_add(1);
        let mut bytes = self.bytes.saturating_add(size);
        let mut displaced = BTreeMap::new();
        if messages <= self.limits.messages && bytes <= self.limits.bytes {
            return Some(displaced);
        }
        let last = |other: Address, keep: usize| {
            let position = keep.checked_sub(1)?;
            let one = self.queues.get(&other)?.waiting.get(position)?;
            Some((std::cmp::Reverse(one.rate()), other, position, one.size))
        };
        let others = self.queues.iter().filter(|(other, _)| *other != sender);
        let mut tails: BinaryHeap<_> = others
            .filter_map(|(other, queue)| last(*other, queue.waiting.len()))
            .collect();
        while messages > self.limits.messages || bytes > self.limits.bytes {
            let (std::cmp::Reverse(least), other, keep, freed) = tails.pop()?;
            if least >= offered {
                return None;
            }
            messages = messages.saturating_sub(1);
            bytes = bytes.saturating_sub(freed);
            displaced.insert(other, keep);
            tails.extend(last(other, keep));
        }
        Some(displaced)
    }

    /// What the next block may carry, best payers first, each sender's in order, within bounds.
    /// They go on waiting until a block has them.
    pub fn candidates(&self, count: usize, bytes: usize) -> Vec<SignedMessage> {
        // Fee per byte, then those of whom the least was taken, then the lower address.
        type Rank = (u128, std::cmp::Reverse<usize>, std::cmp::Reverse<Address>);
        let rank = |sender: Address, position: usize| -> Option<Rank> {
            let one = self.queues.get(&sender)?.waiting.get(position)?;
            Some((
                one.rate(),
                std::cmp::Reverse(position),
                std::cmp::Reverse(sender),
            ))
        };
        let mut heap: BinaryHeap<Rank> = self
            .queues
            .keys()
            .filter_map(|sender| rank(*sender, 0))
            .collect();
        let (mut chosen, mut size) = (Vec::new(), 0usize);
        while chosen.len() < count {
            let Some((_, std::cmp::Reverse(position), std::cmp::Reverse(sender))) = heap.pop()
            else {
                break;
            };
            let Some(one) = self
                .queues
                .get(&sender)
                .and_then(|queue| queue.waiting.get(position))
            else {
                continue;
            };
            if size.saturating_add(one.size) > bytes {
                // The sender's later ones may not overtake it; other senders' may still fit.
                continue;
            }
            size = size.saturating_add(one.size);
            chosen.push(one.message.clone());
            heap.extend(rank(sender, position.saturating_add(1)));
        }
        chosen
    }

    /// Drops a message that would make a block invalid, and its sender's later ones with it.
    pub fn drop_from(&mut self, id: &MessageId) {
        let found = self.queues.iter().find_map(|(sender, queue)| {
            let position = queue.waiting.iter().position(|one| one.id == *id)?;
            Some((*sender, position))
        });
        if let Some((sender, position)) = found {
            self.truncate(&sender, position);
        }
    }

    /// After a block: drops what it carried, what no longer follows the account's number, what is
    /// past its expiry and what can no longer be paid for. `account` reads accounts at the new
    /// head, for the senders of the block; `next` is the height of the next block.
    pub fn settle<E>(
        &mut self,
        senders: &BTreeSet<Address>,
        next: Height,
        mut account: impl FnMut(&Address) -> Result<Account, E>,
    ) -> Result<(), E> {
        for sender in senders {
            if self.queues.contains_key(sender) {
                let account = account(sender)?;
                self.settle_sender(sender, &account);
            }
        }
        let expired: Vec<(Address, usize)> = self
            .queues
            .iter()
            .filter_map(|(sender, queue)| {
                let position = queue
                    .waiting
                    .iter()
                    .position(|one| one.message.message.expiry < next)?;
                Some((*sender, position))
            })
            .collect();
        for (sender, position) in expired {
            self.truncate(&sender, position);
        }
        Ok(())
    }

    fn settle_sender(&mut self, sender: &Address, account: &Account) {
        let Some(queue) = self.queues.get_mut(sender) else {
            return;
        };
        while let Some(first) = queue.waiting.front() {
            if first.message.message.nonce >= account.nonce {
                break;
            }
            if let Some(served) = queue.waiting.pop_front() {
                queue.bytes = queue.bytes.saturating_sub(served.size);
                self.bytes = self.bytes.saturating_sub(served.size);
                self.ids.remove(&served.id);
            }
        }
        let follows = queue
            .waiting
            .front()
            .is_none_or(|first| first.message.message.nonce == account.nonce);
        let mut fees = Amount::ZERO;
        let payable = queue
            .waiting
            .iter()
            .take_while(|one| {
                fees = fees
                    .checked_add(one.message.message.fee)
                    .unwrap_or(Amount(u128::MAX));
                fees <= account.balance
            })
            .count();
        self.truncate(sender, if follows { payable } else { 0 });
    }

    /// Keeps the first `keep` messages of a sender.
    fn truncate(&mut self, sender: &Address, keep: usize) {
        let Some(queue) = self.queues.get_mut(sender) else {
            return;
        };
        while queue.waiting.len() > keep {
            if let Some(dropped) = queue.waiting.pop_back() {
                queue.bytes = queue.bytes.saturating_sub(dropped.size);
                self.bytes = self.bytes.saturating_sub(dropped.size);
                self.ids.remove(&dropped.id);
            }
        }
        if queue.waiting.is_empty() {
            self.queues.remove(sender);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use holdfast_market_core::message::{Body, Message};
    use holdfast_market_core::units::Signature;

    const SMALL: Limits = Limits {
        messages: 10,
        bytes: 10_000,
        sender_messages: 4,
        sender_bytes: 4_000,
    };

    fn message(sender: u8, nonce: u64, fee: u128, expiry: u64) -> (MessageId, SignedMessage) {
        let message = SignedMessage {
            message: Message {
                sender: Address([sender; 32]),
                nonce,
                fee: Amount(fee),
                expiry: Height(expiry),
                body: Body::Transfer {
                    to: Address([9; 32]),
                    amount: Amount(1),
                },
            },
            signature: Signature([0; 64]),
        };
        (message.id().unwrap(), message)
    }

    fn account(balance: u128, nonce: u64) -> Account {
        Account {
            balance: Amount(balance),
            nonce,
        }
    }

    fn put(pool: &mut Mempool, sender: u8, nonce: u64, fee: u128) -> Result<(), PoolRefusal> {
        let (id, message) = message(sender, nonce, fee, 100);
        pool.insert(id, message, 100, &account(1_000, 0))
    }

    #[test]
    fn one_sender_fills_its_share_and_leaves_room_for_others() {
        let mut pool = Mempool::new(SMALL);
        for nonce in 0..4 {
            put(&mut pool, 1, nonce, 1).unwrap();
        }
        assert_eq!(put(&mut pool, 1, 4, 1), Err(PoolRefusal::SenderFull(4)));
        put(&mut pool, 2, 0, 1).unwrap();
        assert_eq!(pool.len(), 5);
    }

    #[test]
    fn the_whole_pool_is_bounded() {
        let mut pool = Mempool::new(SMALL);
        for sender in 0..10 {
            put(&mut pool, sender, 0, 1).unwrap();
        }
        assert_eq!(put(&mut pool, 11, 0, 1), Err(PoolRefusal::Full));
    }

    #[test]
    fn a_full_pool_lets_go_of_the_last_of_those_that_pay_least() {
        let mut pool = Mempool::new(Limits {
            sender_bytes: SMALL.bytes,
            ..SMALL
        });
        for nonce in 0..4 {
            put(&mut pool, 1, nonce, 100).unwrap();
        }
        for sender in 2..8 {
            put(&mut pool, sender, 0, 200).unwrap();
        }
        // As little as others pay is not enough; more takes the last of the cheapest queue.
        assert_eq!(put(&mut pool, 11, 0, 100), Err(PoolRefusal::Full));
        put(&mut pool, 11, 0, 300).unwrap();
        assert_eq!(pool.len(), 10);
        assert_eq!(pool.next_nonce(&Address([1; 32]), 0), 3);
        assert_eq!(pool.next_nonce(&Address([11; 32]), 0), 1);
        // One that needs the room of several has it, or changes nothing.
        let (id, long) = message(12, 0, 900_000, 100);
        let rich = account(1_000_000, 0);
        let before = pool.len();
        let (other, cheap) = message(13, 0, 1_000, 100);
        let refused = pool.insert(other, cheap, 9_500, &rich);
        assert_eq!((refused, pool.len()), (Err(PoolRefusal::Full), before));
        pool.insert(id, long, 9_500, &rich).unwrap();
        // 500 bytes are left for what others pay most for.
        let left: Vec<u128> = pool
            .candidates(100, 100_000)
            .iter()
            .map(|one| one.message.fee.0)
            .collect();
        assert_eq!(left, [900_000, 300, 200, 200, 200, 200]);
        assert_eq!(pool.bytes, 10_000);
        // Nobody displaces its own.
        let mut pool = Mempool::new(SMALL);
        for sender in 1..4 {
            for nonce in 0..if sender == 3 { 2 } else { 4 } {
                put(&mut pool, sender, nonce, 100).unwrap();
            }
        }
        put(&mut pool, 3, 2, 300).unwrap();
        assert_eq!(pool.next_nonce(&Address([3; 32]), 0), 3);
        assert_eq!(pool.len(), 10);
    }

    #[test]
    fn a_gap_and_a_taken_nonce_are_refused_with_the_next_one() {
        let mut pool = Mempool::new(SMALL);
        put(&mut pool, 1, 0, 1).unwrap();
        let next = 1;
        assert_eq!(
            put(&mut pool, 1, 2, 1),
            Err(PoolRefusal::NonceGap { given: 2, next })
        );
        assert_eq!(
            put(&mut pool, 1, 0, 2),
            Err(PoolRefusal::NonceTaken { given: 0, next })
        );
        // The same message again is no error: a client that lost the answer asks again.
        put(&mut pool, 1, 0, 1).unwrap();
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn fees_beyond_the_balance_are_refused() {
        let mut pool = Mempool::new(SMALL);
        put(&mut pool, 1, 0, 600).unwrap();
        assert_eq!(
            put(&mut pool, 1, 1, 600),
            Err(PoolRefusal::Fees {
                fees: Amount(1_200),
                balance: Amount(1_000)
            })
        );
    }

    #[test]
    fn candidates_go_by_fee_and_keep_each_senders_order() {
        let mut pool = Mempool::new(SMALL);
        put(&mut pool, 1, 0, 100).unwrap();
        put(&mut pool, 1, 1, 400).unwrap();
        put(&mut pool, 2, 0, 200).unwrap();
        let order: Vec<_> = pool
            .candidates(10, 10_000)
            .iter()
            .map(|one| (one.message.sender.0[0], one.message.nonce))
            .collect();
        assert_eq!(order, [(2, 0), (1, 0), (1, 1)]);
        assert_eq!(pool.candidates(2, 10_000).len(), 2);
        assert_eq!(pool.candidates(10, 250).len(), 2);
    }

    #[test]
    fn a_block_takes_its_messages_out_and_an_expired_one_takes_its_followers() {
        let mut pool = Mempool::new(SMALL);
        for nonce in 0..3 {
            put(&mut pool, 1, nonce, 1).unwrap();
        }
        let (id, short) = message(1, 3, 1, 5);
        pool.insert(id, short, 100, &account(1_000, 0)).unwrap();
        let senders = BTreeSet::from([Address([1; 32])]);
        pool.settle::<()>(&senders, Height(4), |_| Ok(account(1_000, 2)))
            .unwrap();
        assert_eq!(pool.len(), 2);
        pool.settle::<()>(&BTreeSet::new(), Height(6), |_| Ok(account(0, 0)))
            .unwrap();
        assert_eq!(pool.len(), 1);
        assert_eq!(pool.next_nonce(&Address([1; 32]), 2), 3);
        // The account moved past what waits: nothing of it can follow.
        pool.settle::<()>(&senders, Height(6), |_| Ok(account(1_000, 9)))
            .unwrap();
        assert!(pool.is_empty());
        assert_eq!(pool.candidates(10, 10_000).len(), 0);
    }

    #[test]
    fn dropping_an_invalid_message_drops_what_follows_it() {
        let mut pool = Mempool::new(SMALL);
        for nonce in 0..3 {
            put(&mut pool, 1, nonce, 1).unwrap();
        }
        put(&mut pool, 2, 0, 1).unwrap();
        pool.drop_from(&message(1, 1, 1, 100).0);
        assert_eq!(pool.len(), 2);
        assert_eq!(pool.next_nonce(&Address([1; 32]), 0), 1);
    }
}
