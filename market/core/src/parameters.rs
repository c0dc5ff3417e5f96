//! The numbers of the rules, fixed in genesis (PROTOCOL, *Parameters*).

use crate::governance::Governance;
use crate::quote::{MAX_SECTOR_DEALS, MAX_SHARDS};
use crate::stake::Staking;
use crate::units::{Amount, Blocks, Periods};
use holdfast_proofs::challenge::MAX_EMBED_CHALLENGES;
use holdfast_proofs::proof::{Circuit, CircuitId, SPACETIME_CHALLENGES};
use holdfast_proofs::sector::{SectorClass, UNIT_LEVELS};
use serde::{Deserialize, Serialize};

/// Every number that a rule uses. Tests may define further sets, never weaker code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// Milliseconds between blocks, by the builder's clock.
    pub block_interval_ms: u64,
    /// Blocks in a proving period.
    pub period: Blocks,
    /// Deadlines in a period; the period is a multiple of it.
    pub deadlines: u32,
    /// Sector classes that may be sealed.
    pub classes: Vec<SectorClass>,
    /// Beacon delay D: a challenge is drawn at least this many blocks after what it challenges.
    pub beacon_delay: Blocks,
    /// A ticket may be at most this old at the pre-commit.
    pub ticket_age: Blocks,
    /// A seal proof is due this many blocks after the pre-commit.
    pub seal_due: Blocks,
    /// Challenges of a seal.
    pub seal_challenges: u32,
    /// Challenges of an embed over the changed groups, at least.
    pub embed_challenges: u32,
    /// Challenges of an embed in each piece of a changed group, at least.
    pub embed_challenges_per_piece: u32,
    /// Seal challenges in one Groth16 proof.
    pub seal_challenges_per_proof: u32,
    /// Embed challenges in one Groth16 proof.
    pub embed_challenges_per_proof: u32,
    /// Faulty periods before termination.
    pub faults_to_termination: Periods,
    /// An embed is to be proven this long after its deal set's inclusion.
    pub promise: Blocks,
    /// `CommitReplica` is due this long after `CommitEmbed`.
    pub replica_due: Blocks,
    /// `ProveEmbed` is due this long after `CommitReplica`.
    pub embed_due: Blocks,
    /// `AnswerOpening` is due this long after `DemandOpening`.
    pub opening_due: Blocks,
    /// How long after the end of a deal or sector its collateral stays.
    pub dispute_window: Blocks,
    /// Tree levels of the largest aligned subtree of a piece (the group of the smallest class).
    pub piece_levels: u32,
    /// Prices, collateral and rewards.
    pub economy: Economy,
    /// How stake chooses who orders blocks; where there is none, those of the genesis do for ever.
    pub staking: Option<Staking>,
    /// How stake moves prices, collateral and rewards; where there is none, they stay.
    pub governance: Option<Governance>,
}

/// What things cost and pay. The reasons stand in `docs/ECONOMY.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Economy {
    /// The least fee of a message.
    pub minimum_fee: Amount,
    /// Added to the least fee for each started KiB of the message.
    pub fee_per_kib: Amount,
    /// Collateral a GiB of proven capacity.
    pub collateral_per_gib: Amount,
    /// Collateral a GiB of bytes under deals, on top.
    pub deal_collateral_per_gib: Amount,
    /// The least collateral of a provider; sectors cannot lock it.
    pub minimum_collateral: Amount,
    /// Deposit of a pre-commit, burnt when no proof follows.
    pub seal_deposit: Amount,
    /// Deposit of an embed, burnt when it is abandoned.
    pub embed_deposit: Amount,
    /// Deposit of a demanded opening: half to the provider when it answers (half burns), back when it
    /// does not.
    pub opening_deposit: Amount,
    /// Deposit of a claimed repair, burnt where it is not proven in time.
    pub repair_deposit: Amount,
    /// What a repair pays for each GiB that it fetches, k shards, beside the price of storing: out of
    /// what was taken from whoever lost the shard.
    pub repair_per_gib: Amount,
    /// Fee of a faulty sector, a GiB and period.
    pub fault_fee_per_gib: Amount,
    /// Added to that where the fault was not declared before its challenge was known.
    pub missed_fee_per_gib: Amount,
    /// Share of a deal's penalty that goes to whoever shows it, in thousandths.
    pub finder_thousandths: u64,
    /// Minted in period 0, over all proven capacity, deals weighing more.
    pub reward_per_period: Amount,
    /// The most that a GiB of proven capacity earns a period, so that a small network is not flooded.
    pub reward_cap_per_gib: Amount,
    /// After so many periods the reward of a period halves.
    pub reward_halving: Periods,
    /// Weight of a byte under a deal, in tenths of an empty one's.
    pub deal_weight_tenths: u64,
    /// Rewards vest over so many periods.
    pub vesting: Periods,
    /// Share of a deal's payment that is burnt, in thousandths.
    pub burn_thousandths: u64,
    /// The least price of a deal, a GiB and period.
    pub minimum_price: Amount,
}

// Sixteen fits every integer.
#[allow(clippy::cast_possible_truncation)]
const SPACETIME_PER_PROOF: u32 = SPACETIME_CHALLENGES as u32;

impl Parameters {
    /// A development network: seconds where `main` has days, and far fewer challenges.
    pub fn dev() -> Self {
        Self {
            block_interval_ms: 1_000,
            period: Blocks(30),
            deadlines: 3,
            classes: vec![SectorClass::Mib8, SectorClass::Mib64],
            beacon_delay: Blocks(2),
            ticket_age: Blocks(300),
            seal_due: Blocks(600),
            seal_challenges: 2,
            embed_challenges: 8,
            embed_challenges_per_piece: 1,
            seal_challenges_per_proof: 2,
            embed_challenges_per_proof: 8,
            faults_to_termination: Periods(3),
            promise: Blocks(90),
            replica_due: Blocks(30),
            embed_due: Blocks(30),
            opening_due: Blocks(60),
            dispute_window: Blocks(10),
            piece_levels: 4,
            economy: Economy::dev(),
            staking: None,
            governance: None,
        }
    }

    /// Whether the numbers fit together; the sentence says which do not.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn check(&self) -> Result<(), String> {
        let economy = &self.economy;
        let fee = economy
            .fault_fee_per_gib
            .checked_add(economy.missed_fee_per_gib)
            .and_then(|fee| fee.0.checked_mul(u128::from(self.faults_to_termination.0)));
        let most_challenges = MAX_SECTOR_DEALS
            .saturating_mul(self.embed_challenges_per_piece.into())
            .saturating_add(self.embed_challenges.into());
        let rules = [
            (
                self.deadlines > 0 && self.deadlines <= 1 << 16,
                "a period has 1 to 65536 deadlines",
            ),
            (
                self.period.0 <= 1 << 32
                    && self.deadline_blocks().0 >= 2
                    && self.period.0
                        == self
                            .deadline_blocks()
                            .0
                            .saturating_mul(u64::from(self.deadlines)),
                "a period is a whole number of deadlines of at least two blocks, at most 2^32 blocks",
            ),
            (
                !self.classes.is_empty(),
                "at least one sector class is allowed",
            ),
            (
                self.beacon_delay.0 > 0,
                "the beacon delay is at least one block",
            ),
            (
                self.period.0.saturating_sub(self.deadline_blocks().0) > self.beacon_delay.0,
                "between two windows of a deadline there is time to recover",
            ),
            (
                self.beacon_delay < self.seal_due
                    && self.beacon_delay < self.replica_due
                    && self.beacon_delay < self.embed_due,
                "proofs are due after the beacon delay",
            ),
            (
                self.seal_challenges > 0
                    && self.seal_challenges_per_proof > 0
                    && self
                        .seal_challenges
                        .is_multiple_of(self.seal_challenges_per_proof),
                "seal challenges fill whole proofs",
            ),
            (
                self.embed_challenges > 0 && self.embed_challenges_per_proof > 0,
                "an embed has challenges",
            ),
            (
                most_challenges <= MAX_EMBED_CHALLENGES
                    && most_challenges.div_ceil(u64::from(self.embed_challenges_per_proof.max(1)))
                        <= Self::MAX_EMBED_PROOFS,
                "the proofs of the largest embed fit into a message",
            ),
            (
                [
                    self.ticket_age,
                    self.seal_due,
                    self.replica_due,
                    self.embed_due,
                    self.opening_due,
                ]
                .iter()
                .chain([&self.promise, &self.dispute_window])
                .all(|blocks| (1..=1 << 32).contains(&blocks.0)),
                "every span is 1 to 2^32 blocks",
            ),
            (
                self.faults_to_termination.0 > 0,
                "at least one fault is allowed before termination",
            ),
            (
                self.classes
                    .iter()
                    .all(|class| (UNIT_LEVELS..=class.group_levels()).contains(&self.piece_levels)),
                "a piece's largest subtree fits a group of every class",
            ),
            (
                fee.is_some_and(|fee| fee <= economy.collateral_per_gib.0),
                "a sector's collateral covers every fee until its termination",
            ),
            (
                economy.burn_thousandths <= 1000,
                "at most all of a payment is burnt",
            ),
            (
                economy.finder_thousandths <= 1000,
                "at most all of a penalty goes to its finder",
            ),
            (
                // What the finder leaves of a penalty is the most that the work can take of it.
                economy
                    .repair_per_gib
                    .0
                    .checked_mul(u128::from(MAX_SHARDS).saturating_mul(1000))
                    .zip(
                        economy
                            .deal_collateral_per_gib
                            .0
                            .checked_mul(1000u64.saturating_sub(economy.finder_thousandths).into()),
                    )
                    .is_some_and(|(work, penalty)| work <= penalty),
                "repairing a shard pays less than losing it costs, whoever finds it",
            ),
            (
                economy.reward_halving.0 > 0,
                "rewards halve after at least one period",
            ),
            (
                (1..=Self::MAX_VESTING).contains(&economy.vesting.0),
                "rewards vest over 1 to 1024 periods",
            ),
            (
                (10..=1000).contains(&economy.deal_weight_tenths),
                "a byte under a deal weighs 1 to 100 times an empty one",
            ),
            (
                economy
                    .amounts()
                    .into_iter()
                    .chain(self.staking.iter().flat_map(Staking::amounts))
                    .all(|amount| amount <= Self::MAX_AMOUNT),
                "no amount is above 2^80 grains, so that no product leaves the numbers",
            ),
            (
                self.governance.as_ref().is_none_or(|governance| {
                    (Amount(1)..=Self::MAX_AMOUNT).contains(&governance.deposit)
                }),
                "a proposal has a deposit, and none above 2^80 grains",
            ),
            (
                self.governance
                    .as_ref()
                    .is_none_or(|governance| governance.holds(economy)),
                "every number lies within the bounds that votes have",
            ),
            (
                self.governance.as_ref().is_none_or(|governance| {
                    let spans = [governance.voting, governance.notice];
                    let staking = self.staking.as_ref();
                    spans.iter().all(|span| (1..=1 << 32).contains(&span.0))
                        && staking.is_some_and(|staking| staking.unbonding >= governance.voting)
                }),
                "votes are by stake, and stake stays bound for as long as a vote goes on",
            ),
        ];
        let staking = self.staking.as_ref();
        let staking = staking.map(|staking| staking.rules(self.beacon_delay));
        let mut rules = rules.into_iter().chain(staking.into_iter().flatten());
        match rules.find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(rule.into()),
            None => Ok(()),
        }
    }

    /// Whether votes can have made the numbers these: a ledger that says others says nothing true.
    pub fn allows(&self, economy: &Economy) -> bool {
        match &self.governance {
            None => *economy == self.economy,
            Some(governance) => {
                let moved = Parameters {
                    economy: economy.clone(),
                    ..self.clone()
                };
                governance.holds(economy) && moved.check().is_ok()
            }
        }
    }

    const MAX_VESTING: u64 = 1024;
    /// A message has room for 2,680.
    const MAX_EMBED_PROOFS: u64 = 2600;
    const MAX_AMOUNT: Amount = Amount(1 << 80);

    /// The circuits that these parameters need keys for.
    pub fn circuits(&self) -> Vec<CircuitId> {
        let of_class = |class: &SectorClass| {
            [
                CircuitId {
                    circuit: Circuit::Seal,
                    class: *class,
                    per_proof: self.seal_challenges_per_proof,
                },
                CircuitId {
                    circuit: Circuit::Embed,
                    class: *class,
                    per_proof: self.embed_challenges_per_proof,
                },
                CircuitId {
                    circuit: Circuit::Spacetime,
                    class: *class,
                    per_proof: SPACETIME_PER_PROOF,
                },
            ]
        };
        self.classes.iter().flat_map(of_class).collect()
    }

    /// Blocks from one deadline's opening to the next.
    pub fn deadline_blocks(&self) -> Blocks {
        Blocks(self.period.0 / u64::from(self.deadlines.max(1)))
    }
}

impl Economy {
    fn amounts(&self) -> [Amount; 15] {
        [
            self.minimum_fee,
            self.fee_per_kib,
            self.collateral_per_gib,
            self.deal_collateral_per_gib,
            self.minimum_collateral,
            self.seal_deposit,
            self.embed_deposit,
            self.opening_deposit,
            self.repair_deposit,
            self.repair_per_gib,
            self.fault_fee_per_gib,
            self.missed_fee_per_gib,
            self.reward_per_period,
            self.reward_cap_per_gib,
            self.minimum_price,
        ]
    }

    fn dev() -> Self {
        Self {
            minimum_fee: Amount(1_000_000),
            fee_per_kib: Amount(100_000),
            collateral_per_gib: Amount::hold(100),
            deal_collateral_per_gib: Amount::hold(200),
            minimum_collateral: Amount::hold(10),
            seal_deposit: Amount::hold(1),
            embed_deposit: Amount::hold(1),
            opening_deposit: Amount::hold(1),
            repair_deposit: Amount::hold(1),
            repair_per_gib: Amount::hold(2),
            fault_fee_per_gib: Amount::hold(20),
            missed_fee_per_gib: Amount::hold(10),
            finder_thousandths: 100,
            reward_per_period: Amount::hold(50),
            reward_cap_per_gib: Amount::hold(50),
            reward_halving: Periods(1_000_000),
            deal_weight_tenths: 20,
            vesting: Periods(10),
            burn_thousandths: 100,
            minimum_price: Amount(100_000_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dev_parameters_fit_together_and_broken_ones_are_named() {
        assert_eq!(Parameters::dev().check(), Ok(()));
        type Spoil = fn(&mut Parameters);
        let broken: [(&str, Spoil); 12] = [
            ("deadlines", |p| p.deadlines = 7),
            ("classes", |p| p.classes.clear()),
            ("delay", |p| p.beacon_delay = Blocks(30)),
            ("collateral", |p| {
                p.economy.collateral_per_gib = Amount::hold(1)
            }),
            ("pieces", |p| p.piece_levels = 5),
            ("amounts", |p| p.economy.reward_per_period = Amount(1 << 81)),
            ("weight", |p| p.economy.deal_weight_tenths = 1001),
            ("repair", |p| p.economy.repair_per_gib = Amount::hold(3)),
            ("finder", |p| p.economy.finder_thousandths = 999),
            ("one deadline", |p| p.deadlines = 1),
            ("challenges", |p| p.embed_challenges_per_piece = 128),
            ("proofs", |p| {
                p.embed_challenges_per_piece = 8;
                p.embed_challenges_per_proof = 1;
            }),
        ];
        for (name, spoil) in broken {
            let mut parameters = Parameters::dev();
            spoil(&mut parameters);
            assert!(parameters.check().is_err(), "{name}");
        }
    }
}
