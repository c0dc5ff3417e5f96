//! Stake: what stands behind those who order blocks, what it earns and what it answers for.

use crate::block::Validator;
use crate::finality::{MOST_POWER, MOST_VALIDATORS};
use crate::units::{
    Address, Amount, BeaconKey, BeaconSignature, Blocks, GRAINS_PER_HOLD, Height, Stake,
};
use serde::{Deserialize, Serialize};

/// At stake with one validator, at most: the power of all together stays within its bounds.
pub const MOST_STAKE: Stake = Stake(MOST_POWER / MOST_VALIDATORS as u64);
/// A stake counts, or counts no more, from so many blocks after the message that moves it: the next
/// block's set is fixed then.
pub const SET_DELAY: Blocks = Blocks(2);
/// All of a share in thousandths.
pub const THOUSAND: u64 = 1000;

/// The numbers of validators that stake chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staking {
    /// Validators that order at a time, at most: those with the most stake.
    pub most_validators: u32,
    /// A validator orders only while its owner has at least so much at stake with it.
    pub least_stake: Stake,
    /// From a registration, a new beacon key or a return until a validator may order: nobody chooses
    /// a beacon key or a moment once the beacons that it would sign can be foreseen.
    pub activation_delay: Blocks,
    /// From unstaking until the tokens are free. They answer for what was signed before.
    pub unbonding: Blocks,
    /// Minted for a block, to its builder and to who stands behind it; declines as other rewards do.
    pub block_reward: Amount,
    /// What a validator owes for a turn in which it built nothing.
    pub missed_turn: Amount,
    /// After so many missed turns in a row a validator rests until it says that it is back.
    pub missed_to_rest: u32,
    /// Share of the stake that two statements where one is allowed cost, in thousandths.
    pub slash_thousandths: u64,
}

impl Staking {
    /// A development network's: minutes where `main` has weeks.
    pub fn dev() -> Self {
        Self {
            most_validators: 16,
            least_stake: Stake(100),
            activation_delay: Blocks(10),
            unbonding: Blocks(300),
            block_reward: Amount(100_000_000),
            missed_turn: Amount(200_000_000),
            missed_to_rest: 50,
            slash_thousandths: 100,
        }
    }

    /// The rules that these numbers must meet, each with its sentence.
    pub(crate) fn rules(&self, beacon_delay: Blocks) -> [(bool, &'static str); 7] {
        let spans = [self.activation_delay, self.unbonding];
        [
            (
                (1..=MOST_VALIDATORS).contains(&(self.most_validators as usize)),
                "at least one validator orders blocks, and at most 1024",
            ),
            (
                self.least_stake.0 > 0 && self.least_stake <= MOST_STAKE,
                "a validator has something at stake, and no more than its power can say",
            ),
            (
                spans.iter().all(|span| (1..=1 << 32).contains(&span.0)),
                "every span is 1 to 2^32 blocks",
            ),
            (
                self.activation_delay > beacon_delay && self.activation_delay > SET_DELAY,
                "a validator is known for longer than a beacon can be foreseen before it orders",
            ),
            (
                self.unbonding > SET_DELAY && self.unbonding >= self.activation_delay,
                "stake stays bound until what was signed with it can be shown",
            ),
            (
                self.missed_to_rest > 0,
                "a validator may miss at least one turn",
            ),
            (
                self.slash_thousandths <= THOUSAND,
                "at most all of a stake is taken",
            ),
        ]
    }

    /// Its amounts, for the bound on all amounts.
    pub(crate) fn amounts(&self) -> [Amount; 2] {
        [self.block_reward, self.missed_turn]
    }
}

/// A validator as the ledger keeps it. It is never forgotten, so a key serves once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorRecord {
    /// Its consensus key: who it is.
    pub key: Address,
    /// Stakes for it and is paid its commission; may be kept cold.
    pub owner: Address,
    /// Its beacon key.
    pub beacon: BeaconKey,
    /// Proof that it holds the beacon key.
    pub possession: BeaconSignature,
    /// Its owner's share of what others' stakes earn, in thousandths. It never rises.
    pub commission_thousandths: u64,
    /// Where it stands.
    pub status: ValidatorStatus,
    /// Its owner's stake.
    pub own: Stake,
    /// All stake, its owner's included: its power.
    pub stake: Stake,
    /// What a unit of stake has earned since it registered.
    pub earned: Amount,
    /// Minted for those who stake here and not collected yet.
    pub rewards: Amount,
    /// The owner's commission, not collected yet.
    pub commission: Amount,
    /// What missed turns cost and was not paid yet.
    pub owed: Amount,
    /// Turns missed in a row.
    pub missed: u32,
    /// Blocks that it built.
    pub built: u64,
    /// The heights that it ordered, or is to order.
    pub orders: Option<Orders>,
}

/// The heights from which to which a validator was one of those who order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The first ever.
    pub from: Height,
    /// The last; none while it goes on.
    pub to: Option<Height>,
}

/// Where a validator stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValidatorStatus {
    /// Registered, has a new beacon key, or came back: may order once the delay is over.
    Waiting {
        /// From the end of this block on.
        until: Height,
    },
    /// May order, if enough is at stake with it.
    Ready,
    /// Missed too many turns.
    Resting,
    /// Said two things where it may say one; never orders again.
    Slashed {
        /// The height of the block that it said them about.
        height: Height,
        /// What of every stake was taken.
        thousandths: u64,
    },
}

impl ValidatorRecord {
    /// What a unit of stake here is worth: a HOLD, or what is left of it.
    pub fn unit_value(&self) -> Amount {
        let left = match self.status {
            ValidatorStatus::Slashed { thousandths, .. } => THOUSAND.saturating_sub(thousandths),
            _ => THOUSAND,
        };
        Amount(GRAINS_PER_HOLD / u128::from(THOUSAND) * u128::from(left))
    }

    /// Its power and keys as headers and certificates name them.
    pub fn validator(&self) -> Validator {
        Validator {
            key: self.key,
            beacon: self.beacon,
            possession: self.possession,
            power: self.stake.0,
        }
    }

    /// Whether it was one of those who order at that height, or between two of its times.
    pub fn ordered(&self, height: Height) -> bool {
        self.orders.is_some_and(|orders| {
            orders.from <= height && orders.to.is_none_or(|last| height <= last)
        })
    }

    /// Whether it is to be chosen from when validators are elected.
    pub fn stands(&self, staking: &Staking) -> bool {
        self.status == ValidatorStatus::Ready
            && self.own >= staking.least_stake
            // Whoever owes more than it has at stake withholds turns for nothing.
            && self.own.amount() > self.owed
    }
}

/// What one account has at stake with one validator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// How much.
    pub stake: Stake,
    /// What a unit had earned when this was last settled.
    pub settled: Amount,
}

/// Stake that is on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbonding {
    /// How much stake it was.
    pub stake: Stake,
    /// What it was worth when it was taken out.
    pub amount: Amount,
    /// In which block it was taken out.
    pub since: Height,
}

impl Unbonding {
    /// What of it is paid out in the end: what was signed while it stood behind the validator is
    /// answered for.
    pub fn pays(&self, record: &ValidatorRecord) -> Option<Amount> {
        match record.status {
            ValidatorStatus::Slashed { height, .. } if height < self.since.after(SET_DELAY) => {
                Some(self.amount.min(record.unit_value().times(self.stake)?))
            }
            _ => Some(self.amount),
        }
    }
}
